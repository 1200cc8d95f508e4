"""Objects that stand in for floats while a function is recorded: floats to all who ask.

Some arithmetic is recorded; all else (a comparison, a function of the C library, its digits) is answered with the
number that it is now, which is then read.
"""
import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

METHODS = ("abs", "add", "bool", "ceil", "divmod", "eq", "float", "floor", "floordiv", "format", "ge", "gt", "hash",
           "int", "le", "lt", "mod", "mul", "ne", "neg", "pos", "pow", "radd", "rdivmod", "reduce", "reduce_ex", "repr",
           "rfloordiv", "rmod", "rmul", "round", "rpow", "rsub", "rtruediv", "str", "sub", "truediv", "trunc")


def behave_as_floats(kind: type, plain: Callable[[Any], Any], recorded: Mapping[str, Callable[..., Any]],
                     declined: tuple[type, ...] = ()) -> None:
    """Let the objects of ``kind`` do what floats do.

    ``plain(o)`` is the number of one of them, or ``o``; ``recorded`` has the special methods, by their names without
    underscores, that do not read it; with an operand of a type of ``declined`` that operand decides.
    """
    def answer(name: str) -> Callable[..., Any]:
        function = getattr(math, name) if name in ("ceil", "floor", "trunc") else None

        def method(self: Any, *others: Any) -> Any:
            if any(type(o) in declined for o in others):
                return NotImplemented
            if function is not None:
                return function(plain(self))
            return getattr(plain(self), f"__{name}__")(*[plain(o) for o in others])
        return method

    for name in METHODS:
        setattr(kind, f"__{name}__", recorded.get(name) or answer(name))
    methods: dict[str, Callable[..., Any]] = {
        "__getattr__": lambda self, name: getattr(plain(self), name),
        "__array__": lambda self, dtype=None, copy=None: np.array(plain(self), dtype),
        "__array_ufunc__": lambda self, ufunc, method, *inputs, **kwargs: getattr(ufunc, method)(
            *[plain(o) for o in inputs], **kwargs)}
    for name, method in methods.items():
        setattr(kind, name, method)


def both_ways(combined: Callable[[int, Any, Any], Any], opcodes: Mapping[str, int]) -> dict[str, Callable[..., Any]]:
    """``recorded`` for some operators: ``combined(opcode, a, b)`` whichever operand comes first."""
    recorded: dict[str, Callable[..., Any]] = {}
    for name, opcode in opcodes.items():
        recorded[name] = lambda self, other, op=opcode: combined(op, self, other)
        recorded[f"r{name}"] = lambda self, other, op=opcode: combined(op, other, self)
    return recorded
