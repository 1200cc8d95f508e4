from contextlib import AbstractContextManager
from typing import Any, NamedTuple

from microgradx._core.tensor import Function
from microgradx.nn.module import Module

__all__ = ["observed", "summary"]

def observed(model: Module, note: Function) -> AbstractContextManager[None]: ...

class Row(NamedTuple):
    name: str
    kind: str
    shape: Any
    parameters: int

class Summary(list[Any]):
    total: Any
    trainable: Any

def summary(model: Module, *inputs: Any) -> Summary: ...
