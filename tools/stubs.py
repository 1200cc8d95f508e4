#!/usr/bin/env python3
"""Write the stubs of the methods of Tensor that Python modules attach, from these functions' annotations.

    python tools/stubs.py               renews the region in microgradx/_core/tensor.pyi
    python tools/stubs.py --check       writes nothing; exits with 1 if the region is not as it would be written

It needs the built package. Methods written in Cython have their stubs by hand above the region.
"""
import inspect
import re
import sys
import types
from pathlib import Path

import microgradx  # noqa: F401  attaches the methods
from microgradx._core.public import Public
from microgradx._core.tensor import Tensor
from microgradx.names import ALIASES, KEYWORDS

STUB = Path(__file__).resolve().parents[1] / "microgradx/_core/tensor.pyi"
BEGIN = "    # Written by tools/stubs.py from the functions that are attached: edit these, then run it."
END = "    # The end of what tools/stubs.py writes."
BUILTINS = re.compile(r"(?<![\w.])(bool|int|float)(?!\w)")         # within the class these are methods
KNOWN = {"Any", "Axes", "Axis", "DType", "Data", "Lengths", "Seed", "Count", "Tensor", "bool", "float", "int", "str"}
WITH_OPTIONS = ("add", "clip", "div", "sub")           # more than the methods of Differentiable, which Values share
FAMILIAR = ("dim", "dims", "keepdim", "dim0", "dim1", "dim2")       # what a type checker has to know, too


def annotation(text):
    """An annotation as it is written in the class."""
    if text is inspect.Parameter.empty:
        return "Any"
    text = text if isinstance(text, str) else getattr(text, "__name__", str(text))
    known = text in KNOWN if text.replace(".", "").isidentifier() else True
    return BUILTINS.sub(r"_\1", text) if known else "Any"


def parameter(p, default):
    stars = {p.VAR_POSITIONAL: "*", p.VAR_KEYWORD: "**"}.get(p.kind, "")
    written = f"{stars}{p.name}: {annotation(p.annotation)}"
    return written if default is p.empty else f"{written} = {'...' if default is ... else repr(default)}"


def method(name, function):
    """The stub of a method."""
    first, *others = inspect.signature(function).parameters.values()
    returns = annotation(inspect.signature(function).return_annotation)
    if returns == "Any" and name.endswith("_") and hasattr(function, "__wrapped__"):        # of a row: in place
        returns = "Tensor"
    if isinstance(vars(Tensor)[name], property):
        return f"    @property\n    def {name}(self) -> {returns}: ..."
    given = {p.name for p in others}
    renamed = {theirs: next(o for o in KEYWORDS[theirs] if o in given) for theirs in FAMILIAR
               if theirs not in given and any(o in given for o in KEYWORDS[theirs])
               and hasattr(function, "__wrapped__")}
    plain = [p for p in others if p.kind in (p.POSITIONAL_OR_KEYWORD, p.VAR_POSITIONAL)]
    named = [p for p in others if p.kind in (p.KEYWORD_ONLY, p.VAR_KEYWORD)]
    last = max((at for at, p in enumerate(plain) if p.default is p.empty), default=-1)
    optional = {p.name for at, p in enumerate(plain) if at >= last and p.name in renamed.values()
                and p.kind is p.POSITIONAL_OR_KEYWORD}
    parts = ["self", *(parameter(p, ... if p.name in optional and p.default is p.empty else p.default) for p in plain)]
    by_name = [parameter(p, p.default) for p in named]
    for theirs, ours in renamed.items():
        p = next(p for p in others if p.name == ours)
        if p.kind is p.KEYWORD_ONLY or ours in optional or p.default is not p.empty:
            by_name.insert(0, f"{theirs}: {annotation(p.annotation)} = ...")
    if by_name:
        parts += ["*"] * (not any(p.kind is p.VAR_POSITIONAL for p in plain) and "**" not in by_name[0]) + by_name
    lines = [f"    def {name}("]
    for at, part in enumerate(parts):
        last = f") -> {returns}: ..." if at == len(parts) - 1 else ","
        if len(lines[-1]) + len(part) + len(last) > 119:
            lines.append(" " * (8 + len(name)))
        lines[-1] += (" " if lines[-1][-1] not in "( " else "") + part + last
    lines[0] += "  # type: ignore[override]" * (name in WITH_OPTIONS)
    return "\n".join(lines)


def region():
    """What stands between the two marks."""
    lines = []
    for name, attribute in sorted(vars(Tensor).items()):
        function = attribute.fget if isinstance(attribute, property) else attribute
        in_c = isinstance(function, Public) and not isinstance(function.__wrapped__, types.FunctionType)
        if isinstance(function, (types.FunctionType, Public)) and not name.startswith("__") and not in_c:
            lines.append(method(name, function))
        elif name in ALIASES:
            lines.append(method(name, function).replace("-> Any", "-> Tensor"))
    return "\n".join(lines)


def main():
    text = STUB.read_text()
    head, _, rest = text.partition(BEGIN)
    _, _, tail = rest.partition(END)
    new = f"{head}{BEGIN}\n{region()}\n{END}{tail}"
    if "--check" in sys.argv:
        sys.exit(None if new == text else f"{STUB.name} is not renewed: run python tools/stubs.py")
    STUB.write_text(new)


if __name__ == "__main__":
    main()
