"""Hooks of tensors and of modules, in the order of their registration."""
from collections.abc import Callable
from typing import Any
from weakref import ref


class Hooks(dict[object, Callable[..., Any]]):
    """Whom to call. A dict that handles need not keep alive."""


def notify() -> None:
    """Called when a hook is removed. ``launch`` gives the function that tells captured calls of it."""


class Handle:
    """A registered hook; ``remove()`` or the end of a ``with`` takes it out. It keeps nothing alive."""

    def __init__(self, hooks: Hooks, hook: Callable[..., Any]) -> None:
        self.hooks, self.key = ref(hooks), object()
        hooks[self.key] = hook

    def remove(self) -> None:
        if (self.hooks() or Hooks()).pop(self.key, None) is not None:
            notify()

    def __enter__(self) -> "Handle":
        return self

    def __exit__(self, *exc: object) -> None:
        self.remove()
