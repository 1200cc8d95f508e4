from collections.abc import Callable, Hashable, Sequence
from typing import Any

import numpy as np

from microgradx._core.value import Value
from microgradx.typing import Number

Array = np.ndarray[Any, np.dtype[np.float64]]

class Tape:
    """A traced function. ``parameters`` are the Values that it uses beside its arguments."""

    parameters: tuple[Value, ...]
    many: bool
    outputs: tuple[int, ...]

    def __new__(cls, purpose: str, fn: Callable[..., Any], structure: Hashable, by_row: Sequence[bool]) -> Tape: ...
    def replay(self, values: Sequence[Number]) -> Value | tuple[Value, ...]: ...
    def sweep(self, given: Sequence[Array], n: int, outs: list[Array], backward: bool = False, mean: bool = False,
              dparameters: Array | None = None, dgiven: list[Array] | None = None) -> None: ...

class Steps: ...
class Columns: ...

class compile_values:
    """A function of Values and numbers, traced at its first call and replayed at every later one."""

    def __init__(self, fn: Callable[..., Any]) -> None: ...
    def __call__(self, *args: Any) -> Any: ...
