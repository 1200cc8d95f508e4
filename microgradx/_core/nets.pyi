from typing import Any

from microgradx._core.array import Array
from microgradx._core.tensor import Tensor

class Windows: ...

def convolution(op: str, x: Array, w: Array, b: Array | None, stride: tuple[int, ...],
                padding: tuple[tuple[int, int], ...], dilation: tuple[int, ...],
                groups: int) -> Tensor: ...
def pooling(op: str, x: Array, kernel: tuple[int, ...], stride: tuple[int, ...],
            padding: tuple[tuple[int, int], ...], dilation: tuple[int, ...]) -> Any: ...
def normalization(x: Array, w: Array | None, b: Array | None, n: int, centred: bool,
                  eps: float) -> tuple[Tensor, Tensor]: ...
