"""Convolution and pooling over (m, channels, ...): functions, and modules of the same arguments.

A window of ``kernel_size`` moves by ``stride`` over the input, which ``padding`` widens on both sides; its taps lie
``dilation`` apart. Along an axis of n elements it finds (n + 2 padding - dilation (kernel_size - 1) - 1) // stride + 1
places. Each is an integer, or one per axis.
"""
from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np

from microgradx._core.nets import convolution, pooling
from microgradx._core.tensor import Tensor
from microgradx.arrays import tensor
from microgradx.errors import OptionError, ShapeError, name_errors
from microgradx.nn import init
from microgradx.nn.module import Module, Parameter
from microgradx.random import generator
from microgradx.typing import Data, DType, Seed

FUNCTIONS = ["avg_pool2d", "conv1d", "conv2d", "max_pool2d"]
__all__ = ["AvgPool2d", "Conv1d", "Conv2d", "MaxPool2d"]

LARGEST = 2**31 - 1

Integers: TypeAlias = int | tuple[int, ...]              # one for all axes, or one per axis
Padding: TypeAlias = int | tuple[int, ...] | str
Sides: TypeAlias = tuple[tuple[int, int], ...]           # before and after, per axis


def _integers(op: str, name: str, value: Any, axes: int, least: int) -> tuple[int, ...]:
    """``value`` as a tuple of ``axes`` integers, none below ``least``."""
    numbers = tuple(value) if isinstance(value, (tuple, list)) else (value,) * axes
    if len(numbers) != axes or any(isinstance(n, bool) or not isinstance(n, (int, np.integer))
                                   or not least <= n <= LARGEST for n in numbers):
        raise OptionError(f"{op}: {name} is an integer >= {least}" + f" or {axes} of them" * (axes > 1)
                          + f", not {value!r}")
    return tuple(map(int, numbers))


def _batch(op: str, x: Data, axes: int) -> tuple[Tensor, bool]:
    """``x`` as (m, channels, ...) and whether m was missing."""
    x = tensor(x)
    if x.ndim not in (axes + 1, axes + 2):
        raise ShapeError(f"{op}: an input of {axes + 2} axes, or {axes + 1} without the batch, not of shape {x.shape}")
    return (x, False) if x.ndim == axes + 2 else (x.unsqueeze(0), True)


# ----- convolution -----------------------------------------------------------------------------------------------

def _both_sides(op: str, padding: Padding, kernel: Sequence[int], stride: Sequence[int],
                dilation: Sequence[int]) -> Sides:
    """((before, after), ...) of a number, 'valid' or 'same'."""
    if padding == "same":
        if any(s != 1 for s in stride):
            raise OptionError(f"{op}: padding='same' goes with stride 1, not {stride}")
        totals = [d * (k - 1) for k, d in zip(kernel, dilation)]
        return tuple((total // 2, total - total // 2) for total in totals)
    if isinstance(padding, str) and padding != "valid":
        raise OptionError(f"{op}: padding is 'same', 'valid', an integer or one per axis, not {padding!r}")
    return tuple((n, n) for n in _integers(op, "padding", 0 if padding == "valid" else padding, len(kernel), 0))


def _convolve(axes: int, x: Data, weight: Data, bias: Data | None, stride: Integers, padding: Padding,
              dilation: Integers, groups: int) -> Tensor:
    op = f"conv{axes}d"
    x, alone = _batch(op, x, axes)
    weight, bias = tensor(weight), None if bias is None else tensor(bias)
    if weight.ndim != axes + 2:
        raise ShapeError(f"{op}: a weight of {axes + 2} axes, (out, in / groups, ...), not of shape {weight.shape}")
    steps, spacing = _integers(op, "stride", stride, axes, 1), _integers(op, "dilation", dilation, axes, 1)
    groups, = _integers(op, "groups", groups, 1, 1)
    sides = _both_sides(op, padding, weight.shape[2:], steps, spacing)
    if axes == 1:                               # one row
        x, weight, steps, spacing = x.unsqueeze(2), weight.unsqueeze(2), (1, *steps), (1, *spacing)
        sides = ((0, 0), *sides)
    y = convolution(op, x, weight, bias, steps, sides, spacing, groups)
    y = y.squeeze(2) if axes == 1 else y
    return y.squeeze(0) if alone else y


def conv1d(x: Data, weight: Data, bias: Data | None = None, stride: Integers = 1, padding: Padding = 0,
           dilation: Integers = 1, groups: int = 1) -> Tensor:
    """Cross-correlation along one axis: (m, in, n), (out, in / groups, k), (out,) -> (m, out, places).

    As ``conv2d``; ``padding`` may be 'same' or 'valid'.

    >>> import microgradx as mgx
    >>> from microgradx.nn import functional as F
    >>> F.conv1d(mgx.Tensor([[[1.0, 2.0, 4.0, 7.0]]]), mgx.Tensor([[[-1.0, 1.0]]]))
    Tensor([[[1., 2., 3.]]])
    """
    return _convolve(1, x, weight, bias, stride, padding, dilation, groups)


def conv2d(x: Data, weight: Data, bias: Data | None = None, stride: Integers = 1, padding: Padding = 0,
           dilation: Integers = 1, groups: int = 1) -> Tensor:
    """y[o, r, c] = sum over i, j, k of weight[o, i, j, k] x[i, r + j, c + k] + bias[o], for every image.

    (m, in, h, w), (out, in / groups, kh, kw), (out,) -> (m, out, rows, columns); m may be missing. ``padding`` with
    zeros may also be 'valid' (none) or 'same' (as many places as elements, for stride 1). With ``groups`` the
    channels are split, and each part of the outputs reads its part of the inputs.

    Raises ``ShapeError`` for channels that do not fit and for windows larger than the padded input.

    >>> import microgradx as mgx
    >>> from microgradx.nn import functional as F
    >>> x = mgx.Tensor([[[[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]]])
    >>> F.conv2d(x, mgx.Tensor([[[[1.0, 0.0], [0.0, 1.0]]]]))
    Tensor([[[[6., 8.]]]])
    """
    return _convolve(2, x, weight, bias, stride, padding, dilation, groups)


class _Conv(Module):
    axes = 0

    def __init__(self, in_channels: int, out_channels: int, kernel_size: Integers, stride: Integers = 1,
                 padding: Padding = 0, dilation: Integers = 1, groups: int = 1, bias: bool = True, dtype: DType = None,
                 rng: Seed = None) -> None:
        op = type(self).__name__
        self.in_channels, self.out_channels, self.groups = (
            _integers(op, name, n, 1, 1)[0] for name, n in (
                ("in_channels", in_channels), ("out_channels", out_channels), ("groups", groups)))
        for name, n in (("in_channels", in_channels), ("out_channels", out_channels)):
            if n % groups:
                raise OptionError(f"{op}: {name}={n} is no multiple of groups={groups}")
        self.kernel_size = _integers(op, "kernel_size", kernel_size, self.axes, 1)
        self.stride = _integers(op, "stride", stride, self.axes, 1)
        self.dilation = _integers(op, "dilation", dilation, self.axes, 1)
        _both_sides(op, padding, self.kernel_size, self.stride, self.dilation)
        self.padding = padding if isinstance(padding, str) else _integers(op, "padding", padding, self.axes, 0)
        rng, dtype = generator(rng), np.dtype(dtype or "float32")
        shape = (out_channels, in_channels // groups, *self.kernel_size)
        limit = 1 / math.sqrt(math.prod(shape[1:]))
        self.weight = init.uniform_(Parameter(np.empty(shape, dtype)), -limit, limit, rng)
        self.bias = init.uniform_(Parameter(np.empty(out_channels, dtype)), -limit, limit, rng) if bias else None

    def forward(self, x: Data) -> Tensor:
        return _convolve(self.axes, x, self.weight, self.bias, self.stride, self.padding, self.dilation, self.groups)

    def extra_repr(self) -> str:
        usual = {"padding": (0,) * self.axes, "dilation": (1,) * self.axes, "groups": 1}
        return (f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, stride={self.stride}"
                + "".join(f", {name}={getattr(self, name)}" for name in usual if getattr(self, name) != usual[name])
                + ", bias=False" * (self.bias is None))


class Conv1d(_Conv):
    """``conv1d`` with a trained ``weight`` (out, in / groups, k) and ``bias`` (out,): (m, in, n) -> (m, out, places).

    Both start as U(-l, l) with l = 1 / sqrt(in / groups * k), torch's default.

    >>> from microgradx import nn
    >>> nn.Conv1d(4, 6, 3, padding="same", bias=False)
    Conv1d(4, 6, kernel_size=(3,), stride=(1,), padding=same, bias=False)
    """
    axes = 1


class Conv2d(_Conv):
    """``conv2d`` with a trained ``weight`` (out, in / groups, kh, kw) and ``bias`` (out,).

    (m, in, h, w) -> (m, out, rows, columns). Both start as U(-l, l) with l = 1 / sqrt(in / groups * kh * kw), torch's
    default. ``rng``: a Generator, a seed, or None for the shared generator; ``dtype``: float32 unless told.

    >>> import microgradx as mgx
    >>> from microgradx import nn
    >>> layer = nn.Conv2d(3, 16, 3, stride=2, padding=1, rng=0)
    >>> layer
    Conv2d(3, 16, kernel_size=(3, 3), stride=(2, 2), padding=(1, 1))
    >>> layer(mgx.Tensor([[[[0.0] * 32] * 32] * 3])).shape
    (1, 16, 16, 16)
    """
    axes = 2


# ----- pooling ---------------------------------------------------------------------------------------------------

def _pool(op: str, x: Tensor, kernel_size: Integers, stride: Integers | None, padding: Integers, dilation: Integers,
          ceil_mode: bool) -> tuple[Any, tuple[int, ...], tuple[int, ...], Sides]:
    """What ``pooling`` makes of (m, channels, h, w), the kernel, and the padding on both sides.

    With ``ceil_mode`` there is more padding behind where a window would begin within the input but reach beyond.
    """
    kernel = _integers(op, "kernel_size", kernel_size, 2, 1)
    steps = kernel if stride is None else _integers(op, "stride", stride, 2, 1)
    ahead, spacing = _integers(op, "padding", padding, 2, 0), _integers(op, "dilation", dilation, 2, 1)
    sides: Sides = ()
    for n, k, s, p, d in zip(x.shape[2:], kernel, steps, ahead, spacing):
        reach = d * (k - 1) + 1
        if p > reach // 2:
            raise OptionError(f"{op}: padding {ahead} is more than half of the window, kernel_size {kernel}"
                              + f" with dilation {spacing}" * (spacing != (1, 1)))
        last = -(-(n + 2 * p - reach) // s) * s                        # where the last window begins
        sides += (p, last + reach - n - p if ceil_mode and last < n + p else p),
    return pooling(op, x, kernel, steps, sides, spacing), kernel, steps, sides


def max_pool2d(x: Data, kernel_size: Integers, stride: Integers | None = None, padding: Integers = 0,
               dilation: Integers = 1, ceil_mode: bool = False, return_indices: bool = False) -> Any:
    """The largest element of each window: (m, channels, h, w) -> (m, channels, rows, columns); m may be missing.

    ``stride`` is ``kernel_size`` unless told, so that windows do not overlap. Padding never wins; a nan does. The
    gradient goes to the first of equal elements. With ``ceil_mode`` windows may reach beyond the padded input, if they
    begin within it or ahead of it; ``return_indices`` gives also where each maximum lies in its flattened (h, w).

    >>> import microgradx as mgx
    >>> from microgradx.nn import functional as F
    >>> F.max_pool2d(mgx.Tensor([[[1.0, 2.0, 5.0, 0.0], [3.0, 4.0, 6.0, 7.0]]]), 2)
    Tensor([[[4., 7.]]])
    """
    x, alone = _batch("max_pool2d", x, 2)
    both = _pool("max_pool2d", x, kernel_size, stride, padding, dilation, ceil_mode)[0]
    values, places = (y.squeeze(0) for y in both) if alone else both
    return (values, places) if return_indices else values


def avg_pool2d(x: Data, kernel_size: Integers, stride: Integers | None = None, padding: Integers = 0,
               ceil_mode: bool = False, count_include_pad: bool = True) -> Tensor:
    """The mean of each window: (m, channels, h, w) -> (m, channels, rows, columns); m may be missing.

    ``stride`` is ``kernel_size`` unless told. Padding counts as zeros, or not at all without ``count_include_pad``;
    what windows with ``ceil_mode`` (see ``max_pool2d``) find beyond it never counts.

    >>> import microgradx as mgx
    >>> from microgradx.nn import functional as F
    >>> F.avg_pool2d(mgx.Tensor([[[1.0, 2.0, 5.0, 0.0], [3.0, 4.0, 6.0, 7.0]]]), 2)
    Tensor([[[2.5, 4.5]]])
    """
    x, alone = _batch("avg_pool2d", x, 2)
    y: Tensor
    y, kernel, steps, sides = _pool("avg_pool2d", x, kernel_size, stride, padding, 1, ceil_mode)
    counted = [p if count_include_pad else 0 for p, _ in sides]
    if all(after == p == c for (p, after), c in zip(sides, counted)):
        y = y * (1 / math.prod(kernel))
    else:
        ones = Tensor(np.ones((1, 1, *(n + 2 * c for n, c in zip(x.shape[2:], counted))), y.dtype))
        beyond = tuple((p - c, after - c) for (p, after), c in zip(sides, counted))
        y = y / pooling("avg_pool2d", ones, kernel, steps, beyond, (1, 1))
    return y.squeeze(0) if alone else y


class MaxPool2d(Module):
    """``max_pool2d`` as a module; the last two arguments stand in torch's order.

    >>> from microgradx import nn
    >>> nn.MaxPool2d(2)
    MaxPool2d(kernel_size=2, stride=2, padding=0, dilation=1, ceil_mode=False)
    """

    def __init__(self, kernel_size: Integers, stride: Integers | None = None, padding: Integers = 0,
                 dilation: Integers = 1, return_indices: bool = False, ceil_mode: bool = False) -> None:
        self.kernel_size, self.stride = kernel_size, kernel_size if stride is None else stride
        self.padding, self.dilation, self.return_indices, self.ceil_mode = padding, dilation, return_indices, ceil_mode

    def forward(self, x: Data) -> Any:
        return max_pool2d(x, self.kernel_size, self.stride, self.padding, self.dilation, self.ceil_mode,
                          self.return_indices)

    def extra_repr(self) -> str:
        return (f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}, "
                f"dilation={self.dilation}, ceil_mode={self.ceil_mode}")


class AvgPool2d(Module):
    """``avg_pool2d`` as a module.

    >>> from microgradx import nn
    >>> nn.AvgPool2d((2, 3), stride=1)
    AvgPool2d(kernel_size=(2, 3), stride=1, padding=0)
    """

    def __init__(self, kernel_size: Integers, stride: Integers | None = None, padding: Integers = 0,
                 ceil_mode: bool = False, count_include_pad: bool = True) -> None:
        self.kernel_size, self.stride = kernel_size, kernel_size if stride is None else stride
        self.padding, self.ceil_mode, self.count_include_pad = padding, ceil_mode, count_include_pad

    def forward(self, x: Data) -> Tensor:
        return avg_pool2d(x, self.kernel_size, self.stride, self.padding, self.ceil_mode, self.count_include_pad)

    def extra_repr(self) -> str:
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"


name_errors(__name__, "forward")
