from typing import Any

from microgradx._core.tensor import Data, DType, Seed, Tensor
from microgradx.nn.module import Module

__all__ = ["AvgPool2d", "Conv1d", "Conv2d", "MaxPool2d"]

def conv1d(x: Data, weight: Data, bias: Data | None = None, stride: int | tuple[int, ...] = 1,
           padding: int | tuple[int, ...] | str = 0, dilation: int | tuple[int, ...] = 1,
           groups: int = 1) -> Tensor: ...
def conv2d(x: Data, weight: Data, bias: Data | None = None, stride: int | tuple[int, ...] = 1,
           padding: int | tuple[int, ...] | str = 0, dilation: int | tuple[int, ...] = 1,
           groups: int = 1) -> Tensor: ...

class Conv1d(Module):
    weight: Tensor
    bias: Tensor | None
    axes: Any
    def __init__(self, in_channels: int, out_channels: int, kernel_size: int | tuple[int, ...],
                 stride: int | tuple[int, ...] = 1, padding: int | tuple[int, ...] | str = 0,
                 dilation: int | tuple[int, ...] = 1, groups: int = 1, bias: bool = True, dtype: DType = None,
                 rng: Seed = None) -> None: ...
    def forward(self, x: Data) -> Tensor: ...
    def extra_repr(self) -> str: ...

class Conv2d(Module):
    weight: Tensor
    bias: Tensor | None
    axes: Any
    def __init__(self, in_channels: int, out_channels: int, kernel_size: int | tuple[int, ...],
                 stride: int | tuple[int, ...] = 1, padding: int | tuple[int, ...] | str = 0,
                 dilation: int | tuple[int, ...] = 1, groups: int = 1, bias: bool = True, dtype: DType = None,
                 rng: Seed = None) -> None: ...
    def forward(self, x: Data) -> Tensor: ...
    def extra_repr(self) -> str: ...

def max_pool2d(x: Data, kernel_size: int | tuple[int, ...], stride: int | tuple[int, ...] | None = None,
               padding: int | tuple[int, ...] = 0, dilation: int | tuple[int, ...] = 1, ceil_mode: bool = False,
               return_indices: bool = False) -> Any: ...
def avg_pool2d(x: Data, kernel_size: int | tuple[int, ...], stride: int | tuple[int, ...] | None = None,
               padding: int | tuple[int, ...] = 0, ceil_mode: bool = False,
               count_include_pad: bool = True) -> Tensor: ...

class MaxPool2d(Module):
    def __init__(self, kernel_size: int | tuple[int, ...], stride: int | tuple[int, ...] | None = None,
                 padding: int | tuple[int, ...] = 0, dilation: int | tuple[int, ...] = 1, return_indices: bool = False,
                 ceil_mode: bool = False) -> None: ...
    def forward(self, x: Data) -> Any: ...
    def extra_repr(self) -> str: ...

class AvgPool2d(Module):
    def __init__(self, kernel_size: int | tuple[int, ...], stride: int | tuple[int, ...] | None = None,
                 padding: int | tuple[int, ...] = 0, ceil_mode: bool = False,
                 count_include_pad: bool = True) -> None: ...
    def forward(self, x: Data) -> Tensor: ...
    def extra_repr(self) -> str: ...
