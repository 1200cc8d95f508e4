from collections.abc import Iterable
from typing import Any

from microgradx._core.tensor import Function

__all__ = ["compile"]

def compile(function: Function | None = None, *, passes: Iterable[str] = ..., check: bool = False) -> Any: ...
