"""A compiled module is the module: its parameters, modes and attributes are one; only calls are replayed."""
from __future__ import annotations

import copy
from typing import Any

from microgradx._core.capture.compiled import Compiled

__all__: list[str] = []


class CompiledModule:
    """What ``mgx.compile(net)`` returns is one of these and of the net's own class, and has the net's attributes.

    Both share one ``__dict__``, so parameters, buffers, children, hooks, ``train()`` and whatever else is set on either
    is seen on both. A call goes to the captured programs; ``explain()`` and ``programs`` are those of the compiled
    function, and their ``function`` is the net.
    """

    __slots__ = ("_compiled",)
    _compiled: Any                          # Compiled, which would be taken for a method here

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._compiled(*args, **kwargs)

    def explain(self) -> str:
        """What was captured, as text."""
        return str(self._compiled.explain())

    @property
    def programs(self) -> list[Any]:
        """The programs captured so far."""
        return list(self._compiled.programs)

    def __reduce_ex__(self, protocol: Any) -> Any:
        return compiled_module, (self._compiled,)

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        return compiled_module(copy.deepcopy(self._compiled, memo))

    def __copy__(self) -> Any:
        one = self._compiled
        return compiled_module(Compiled(copy.copy(one.function), one.passes, one.shared, one.size))


_classes: dict[type, type] = {}


def compiled_module(compiled: Compiled) -> Any:
    """The module that ``compiled`` calls, as one whose calls are replayed."""
    if isinstance(compiled.function, CompiledModule):           # of a compiled module: of the module once more
        inner = compiled.function._compiled.function
        compiled = Compiled(inner, compiled.passes, compiled.shared, compiled.size)
    kind = type(compiled.function)
    if kind not in _classes:
        _classes[kind] = type(kind.__name__, (CompiledModule, kind), {"__slots__": (), "__module__": kind.__module__,
                                                                      "__qualname__": kind.__qualname__})
    module: Any = object.__new__(_classes[kind])
    object.__setattr__(module, "__dict__", compiled.function.__dict__)
    object.__setattr__(module, "_compiled", compiled)
    return module
