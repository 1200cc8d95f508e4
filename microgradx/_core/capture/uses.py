"""What a function's code does with the variables around it, read off its bytecode.

A variable that the code only writes to, as in ``runs.append(1)``, ``count += 1`` or ``seen["x"] = 1``, decides nothing
that the function computes: it is a note. All others are used.
"""
from __future__ import annotations

import dis
import types
from functools import cache, lru_cache

__all__ = ["Uses", "uses_of"]

VARIABLES = {"LOAD_GLOBAL", "LOAD_NAME", "LOAD_DEREF", "LOAD_CLASSDEREF", "LOAD_FROM_DICT_OR_DEREF",
             "LOAD_FROM_DICT_OR_GLOBALS"}
ATTRIBUTES = {"LOAD_ATTR", "LOAD_METHOD", "LOAD_SUPER_ATTR"}
STORES = {"STORE_GLOBAL", "STORE_NAME", "STORE_DEREF"}
ADDS = {"append", "appendleft", "add", "extend", "insert", "update"}         # methods of containers that return nothing
# a float that moves is no float to what asks for its very type
EXACT = {"type", "json", "dumps", "dump", "Decimal", "Fraction", "struct", "pack"}


class Uses:
    """Of a code object and those within it."""

    def __init__(self, code: types.CodeType) -> None:
        self.variables: set[str] = set()            # whose values count
        self.notes: set[str] = set()                # that are only written to
        self.attributes: set[str] = set()           # names that are looked up in objects
        self.asked: set[str] = set()                # of these those that may be missing
        self.stored: set[str] = set()               # names that are assigned or counted on in objects
        self._read(code)
        self.notes -= self.variables
        self.needs_exact_floats = not EXACT.isdisjoint(self.variables | self.attributes)

    def _read(self, code: types.CodeType) -> None:
        steps = [step for step in dis.get_instructions(code) if step.opname != "CACHE"]
        for i, step in enumerate(steps):
            if step.opname == "STORE_ATTR":
                self.stored.add(step.argval)
            elif step.opname in ATTRIBUTES and not (i and steps[i - 1].opname == "COPY"):      # not: o.calls += 1
                self.attributes.add(step.argval)
            elif step.opname in VARIABLES:
                (self.notes if _is_note(steps, i) else self.variables).add(step.argval)
        by_name = not {"getattr", "hasattr", "attrgetter", "__getattribute__"}.isdisjoint(self.variables)
        for part in code.co_consts:
            if isinstance(part, types.CodeType):
                self._read(part)
            elif by_name and isinstance(part, str) and part.isidentifier():
                self.attributes.add(part)
                self.asked.add(part)


def _effect(step: dis.Instruction) -> int:
    return dis.stack_effect(step.opcode, step.arg if step.opcode >= dis.HAVE_ARGUMENT else None, jump=False)


def _is_note(steps: list[dis.Instruction], i: int) -> bool:
    """Does the variable that step ``i`` loads end in a statement that writes to it, and in nothing else?

    The stack is followed from there until what the load has put on it is gone.
    """
    name, depth, copied, adds = steps[i].argval, _effect(steps[i]), False, False
    for step in steps[i + 1:]:
        kind, before = step.opname, depth
        if kind in _jumps() or kind.startswith(("RETURN", "YIELD")):
            return False
        if kind == "COPY" and before == 1 + (steps[i + 1] is not step):
            copied = True
        if kind in ("LOAD_ATTR", "LOAD_METHOD") and before == 1 and step.argval in ADDS:
            adds = True
        depth += _effect(step)
        if depth > 0:
            continue
        if kind == "POP_TOP":
            return adds
        if kind == "STORE_SUBSCR":                  # the stack holds a value, a container, a key
            return before == 2 or before == 3 and copied
        if kind == "STORE_ATTR":                    # a value, an object
            return before == 1 or before == 2 and copied
        return kind in STORES and step.argval == name
    return False


@cache
def _jumps() -> frozenset[str]:
    return frozenset(dis.opname[code] for code in (*dis.hasjrel, *dis.hasjabs))


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
