from collections.abc import Callable
from typing import Any, ParamSpec, Self, TypeVar

P = ParamSpec("P")
R = TypeVar("R")

def is_grad_enabled() -> bool: ...

class Entry: ...

class Entered:
    def push(self, state: Any) -> None: ...
    def pop(self) -> Any: ...

class _GradMode:
    on: bool | None

    def __init__(self) -> None: ...
    def __enter__(self) -> Self: ...
    def __exit__(self, kind: object, error: object, trace: object) -> None: ...
    def __call__(self, function: Callable[P, R]) -> Callable[P, R]: ...

class no_grad(_GradMode):
    on: bool

class enable_grad(_GradMode):
    on: bool
