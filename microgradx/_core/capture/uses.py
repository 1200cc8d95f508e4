"""What a function's code does with the variables around it, read off its bytecode.

A variable to which the code only writes constants, as in ``runs.append(1)``, ``count += 1`` or ``seen["x"] = 1``,
decides nothing that the function computes: it is a note. All others are used.
"""
from __future__ import annotations

import dis
import types
from functools import lru_cache
from typing import Any

__all__ = ["Uses", "uses_of"]

VARIABLES = {"LOAD_GLOBAL", "LOAD_NAME", "LOAD_DEREF", "LOAD_CLASSDEREF", "LOAD_FROM_DICT_OR_DEREF",
             "LOAD_FROM_DICT_OR_GLOBALS"}
CELLS = "DEREF"                 # ends the names of steps on variables that functions within functions share
ATTRIBUTES = {"LOAD_ATTR", "LOAD_METHOD", "LOAD_SUPER_ATTR", "IMPORT_FROM"}
STORES = {"STORE_GLOBAL", "STORE_NAME", "STORE_DEREF", "DELETE_GLOBAL", "DELETE_NAME", "DELETE_DEREF"}
BY_NAME = {"getattr", "hasattr", "setattr", "delattr", "attrgetter", "vars", "__getattribute__", "__dict__"}
# a float that moves is no float to what asks for its very type
EXACT = {"type", "json", "dumps", "dump", "Decimal", "Fraction", "struct", "pack"}
# The statements that leave a note, after the load of the variable: constants are C, names of the variable itself N, of
# attributes A. Where the name begins with "set", a constant precedes the load.
NOTES = {"increase": ["C", "BINARY_OP", "N"],                                               # count += 1
         "increase item": ["C", "COPY", "COPY", "BINARY_SUBSCR", "C", "BINARY_OP", "SWAP", "SWAP", "STORE_SUBSCR"],
         "increase attribute": ["COPY", "A", "C", "BINARY_OP", "SWAP", "STORE_ATTR"],       # o.count += 1
         "add": ["ADD", "C", "CALL", "POP_TOP"],                                            # log.append("x")
         "set item": ["C", "STORE_SUBSCR"],                                                 # seen["x"] = 1
         "set attribute": ["STORE_ATTR"]}                                                   # o.done = True
ADDS = {"append", "appendleft", "add"}


class Uses:
    """Of a code object and those within it."""

    def __init__(self, code: types.CodeType) -> None:
        self.variables: set[str] = set()            # whose values count
        self.notes: dict[str, set[tuple[str, Any]]] = {}    # that are written to: (one of NOTES, item or attribute)
        self.attributes: set[str] = set()           # names that are looked up or assigned in objects
        self.asked: set[str] = set()                # of these those that may be missing
        self.imports: set[str] = set()              # modules that are imported inside
        self.closure = code.co_freevars
        self._read(code)
        for name in self.variables & self.notes.keys():     # an attribute may be one for itself
            self.notes[name] = {note for note in self.notes[name] if note[0].endswith("attribute")}
        self.needs_exact_floats = not EXACT.isdisjoint(self.variables | self.attributes)

    def _read(self, code: types.CodeType) -> None:
        steps = [step for step in dis.get_instructions(code)
                 if step.opname not in {"CACHE", "PRECALL", "NOP", "PUSH_NULL"}]
        catches = any(step.opname == "CHECK_EXC_MATCH" for step in steps)
        noted: set[int] = set()                     # offsets of what belongs to notes
        for i, step in enumerate(steps):
            if step.opname.endswith(CELLS) and step.argval not in self.closure:
                continue                            # a variable of the function's own, that a comprehension reads
            if step.opname in VARIABLES:
                note = _note_at(steps, i)
                if note:
                    at = steps[i + 1 + NOTES[note].index("A") if "A" in NOTES[note] else i + 1]
                    self.notes.setdefault(step.argval, set()).add((note, at.argval))
                    noted.update(range(i, i + 1 + len(NOTES[note])))
                else:
                    self.variables.add(step.argval)
            elif i in noted:
                continue
            elif step.opname in STORES:
                self.variables.add(step.argval)
            elif step.opname == "IMPORT_NAME":
                self.imports.add(step.argval)
            elif step.opname in ATTRIBUTES:
                self.attributes.add(step.argval)
                if catches:
                    self.asked.add(step.argval)
            elif step.opname in {"STORE_ATTR", "DELETE_ATTR"}:
                self.attributes.add(step.argval)
                self.asked.add(step.argval)
        by_name = not BY_NAME.isdisjoint(self.variables | self.attributes)
        for part in code.co_consts:
            if isinstance(part, types.CodeType):
                self._read(part)
            elif by_name and isinstance(part, str):
                self.attributes.update(part.split("."))
                self.asked.update(part.split("."))


def _note_at(steps: list[dis.Instruction], i: int) -> str | None:
    """Which of `NOTES` the statement leaves if that is all that it does with the variable that step ``i`` loads."""
    for name, form in NOTES.items():
        part = steps[i + 1:i + 1 + len(form)]
        if len(part) == len(form) and all(_is(*pair, steps[i].argval) for pair in zip(part, form, strict=True)) \
                and (not name.startswith("set") or i and _is(steps[i - 1], "C", "")):
            return name
    return None


def _is(step: dis.Instruction, kind: str, name: str) -> bool:
    if kind == "C":
        return step.opname in {"LOAD_CONST", "LOAD_SMALL_INT"}
    if kind == "N":
        return step.opname in STORES and step.argval == name
    if kind == "A":
        return step.opname == "LOAD_ATTR"
    if kind == "ADD":
        return step.opname in {"LOAD_ATTR", "LOAD_METHOD"} and step.argval in ADDS
    return step.opname == kind or kind == "BINARY_SUBSCR" and step.opname == "BINARY_OP" and step.argrepr == "[]"


@lru_cache(4096)
def uses_of(code: types.CodeType) -> Uses:
    """What ``code`` does with the variables around it.

    >>> from microgradx._core.capture.uses import uses_of
    >>> def function(x):
    ...     runs.append(1)
    ...     count[0] += 1
    ...     return x * scale + settings.shift
    >>> uses = uses_of(function.__code__)
    >>> sorted(uses.notes), sorted(uses.variables), "shift" in uses.attributes
    (['count', 'runs'], ['scale', 'settings'], True)
    """
    return Uses(code)
