from collections.abc import Callable, Hashable, Sequence
from typing import Any

import numpy as np

from microgradx._core.value import Value

Array = np.ndarray[Any, np.dtype[np.float64]]

class Tape:
    """A traced function. ``parameters`` are the Values that it uses beside its arguments."""

    parameters: tuple[Value, ...]
    many: bool
    outputs: tuple[int, ...]

    def __new__(cls, purpose: str, fn: Callable[..., Any], structure: Hashable, by_row: Sequence[bool]) -> Tape: ...
    def sweep(self, given: Sequence[Array], n: int, outs: list[Array], backward: bool = False, mean: bool = False,
              dparameters: Array | None = None, dgiven: list[Array] | None = None) -> None: ...

class Steps: ...
class Columns: ...
