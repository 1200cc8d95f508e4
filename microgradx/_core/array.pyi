from typing import Any, NoReturn

import numpy as np
import numpy.typing as npt
from typing_extensions import CapsuleType

from microgradx._core.ops import Differentiable

def get_default_dtype() -> np.dtype[Any]: ...
def set_default_dtype(dtype: npt.DTypeLike) -> None: ...
def allocated_bytes(restart: bool = False) -> tuple[int, int]: ...

class Node:
    """How an array was made: operands, what the backward pass needs, hooks."""

    @property
    def next_functions(self) -> tuple[tuple[Node | None, int], ...]: ...
    def name(self) -> str: ...

class Window:
    """The same bytes: for launches that NumPy carries out. It asks for a buffer, and where that fails for an array."""

    def __array__(self, dtype: object = None, copy: object = None) -> NoReturn: ...

class Array(Differentiable):
    """Storage, geometry and node; the body of ``Tensor``."""

    @property
    def ndim(self) -> int: ...
    @property
    def size(self) -> int: ...
    def __dlpack__(self, *, stream: int | None = None, max_version: tuple[int, int] | None = None,
                   dl_device: tuple[int, int] | None = None, copy: bool | None = None) -> CapsuleType: ...
    def __dlpack_device__(self) -> tuple[int, int]: ...
