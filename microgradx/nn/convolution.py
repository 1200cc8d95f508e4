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

from microgradx._core.array import get_default_dtype
from microgradx._core.nets import convolution, pooling, transposed_convolution
from microgradx._core.tensor import Tensor, stack
from microgradx.arrays.common import tensor
from microgradx.errors import OptionError, ShapeError
from microgradx.names import make_public
from microgradx.nn import init
from microgradx.nn.module import Module
from microgradx.nn.padding import MODES, pad
from microgradx.nn.parameter import Parameter
from microgradx.random import generator
from microgradx.typing import Data, DType, Seed

FUNCTIONS = ["adaptive_avg_pool1d", "adaptive_avg_pool2d", "adaptive_max_pool1d", "adaptive_max_pool2d", "avg_pool1d",
             "avg_pool2d", "conv1d", "conv2d", "conv_transpose1d", "conv_transpose2d", "max_pool1d", "max_pool2d"]
__all__ = ["AdaptiveAvgPool1d", "AdaptiveAvgPool2d", "AdaptiveMaxPool1d", "AdaptiveMaxPool2d", "AvgPool1d", "AvgPool2d",
           "Conv1d", "Conv2d", "ConvTranspose1d", "ConvTranspose2d", "MaxPool1d", "MaxPool2d"]

LARGEST = 2**31 - 1

Integers: TypeAlias = int | tuple[int, ...]              # one for all axes, or one per axis
Padding: TypeAlias = int | tuple[int, ...] | str
Sides: TypeAlias = tuple[tuple[int, int], ...]           # before and after, per axis


def integers_of(op: str, name: str, value: Any, axes: int, least: int) -> tuple[int, ...]:
    """``value`` as a tuple of ``axes`` integers, none below ``least``."""
    numbers = tuple(value) if isinstance(value, (tuple, list)) else (value,)
    numbers = numbers * axes if len(numbers) == 1 else numbers
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
    return tuple((n, n) for n in integers_of(op, "padding", 0 if padding == "valid" else padding, len(kernel), 0))


def _convolve(axes: int, x: Data, weight: Data, bias: Data | None, stride: Integers, padding: Padding,
              dilation: Integers, groups: int) -> Tensor:
    op = f"conv{axes}d"
    x, alone = _batch(op, x, axes)
    weight, bias = tensor(weight), None if bias is None else tensor(bias)
    if weight.ndim != axes + 2:
        raise ShapeError(f"{op}: a weight of {axes + 2} axes, (out, in / groups, ...), not of shape {weight.shape}")
    steps, spacing = integers_of(op, "stride", stride, axes, 1), integers_of(op, "dilation", dilation, axes, 1)
    groups, = integers_of(op, "groups", groups, 1, 1)
    sides = _both_sides(op, padding, weight.shape[2:], steps, spacing)
    if axes == 1:                               # one row
        x, weight, steps, spacing = x.unsqueeze(2), weight.unsqueeze(2), (1, *steps), (1, *spacing)
        sides = ((0, 0), *sides)
    y = convolution(op, x, weight, bias, steps, sides, spacing, groups)
    y = y.squeeze(2) if axes == 1 else y
    return y.squeeze(0) if alone else y


def conv1d(input: Data, weight: Data, bias: Data | None = None, stride: Integers = 1, padding: Padding = 0,
           dilation: Integers = 1, groups: int = 1) -> Tensor:
    """Cross-correlation along one axis: (m, in, n), (out, in / groups, k), (out,) -> (m, out, places).

    As ``conv2d``; ``padding`` may be 'same' or 'valid'.

    >>> import microgradx as mgx
    >>> from microgradx.nn import functional as F
    >>> F.conv1d(mgx.Tensor([[[1.0, 2.0, 4.0, 7.0]]]), mgx.Tensor([[[-1.0, 1.0]]]))
    Tensor([[[1., 2., 3.]]])
    """
    return _convolve(1, input, weight, bias, stride, padding, dilation, groups)


def conv2d(input: Data, weight: Data, bias: Data | None = None, stride: Integers = 1, padding: Padding = 0,
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
    return _convolve(2, input, weight, bias, stride, padding, dilation, groups)


class _Conv(Module):
    axes, transposed = 0, False
    later = {"padding_mode": "zeros"}
    weight: Tensor
    bias: Tensor | None

    def __init__(self, in_channels: int, out_channels: int, kernel_size: Integers, stride: Integers = 1,
                 padding: Padding = 0, dilation: Integers = 1, groups: int = 1, bias: bool = True,
                 padding_mode: str = "zeros", dtype: DType = None, rng: Seed = None) -> None:
        self._prepare(in_channels, out_channels, kernel_size, stride, dilation, groups)
        op = type(self).__name__
        if padding_mode not in ("zeros", *MODES[1:]):
            raise OptionError(f"{op}: padding_mode is 'zeros', {', '.join(map(repr, MODES[1:]))}, not {padding_mode!r}")
        sides = _both_sides(op, padding, self.kernel_size, self.stride, self.dilation)
        self.padding_mode, self._widths = padding_mode, tuple(n for pair in reversed(sides) for n in pair)
        self.padding = padding if isinstance(padding, str) else integers_of(op, "padding", padding, self.axes, 0)
        self._make((out_channels, in_channels // groups, *self.kernel_size), bias, dtype, rng)

    def _prepare(self, in_channels: int, out_channels: int, kernel_size: Integers, stride: Integers,
                 dilation: Integers, groups: int) -> None:
        """The attributes that both kinds of convolution have."""
        op = type(self).__name__
        self.in_channels, self.out_channels, self.groups = (
            integers_of(op, name, n, 1, 1)[0] for name, n in (
                ("in_channels", in_channels), ("out_channels", out_channels), ("groups", groups)))
        for name, n in (("in_channels", in_channels), ("out_channels", out_channels)):
            if n % groups:
                raise OptionError(f"{op}: {name}={n} is no multiple of groups={groups}")
        self.kernel_size = integers_of(op, "kernel_size", kernel_size, self.axes, 1)
        self.stride = integers_of(op, "stride", stride, self.axes, 1)
        self.dilation = integers_of(op, "dilation", dilation, self.axes, 1)

    def _make(self, shape: tuple[int, ...], bias: bool, dtype: DType, rng: Seed) -> None:
        dtype = np.dtype(dtype or get_default_dtype())
        self.weight = Parameter(np.empty(shape, dtype))
        self.bias = Parameter(np.empty(self.out_channels, dtype)) if bias else None
        self.reset_parameters(rng)

    def reset_parameters(self, rng: Seed = None) -> None:
        """Draw the weight and the bias as at the beginning."""
        rng, limit = generator(rng), 1 / math.sqrt(math.prod(self.weight.shape[1:]))
        for p in (self.weight, self.bias):
            if p is not None:
                init.uniform_(p, -limit, limit, rng)

    def forward(self, input: Data) -> Tensor:
        if self.padding_mode == "zeros":
            return _convolve(self.axes, input, self.weight, self.bias, self.stride, self.padding, self.dilation,
                             self.groups)
        wider = pad(input, self._widths, self.padding_mode)
        return _convolve(self.axes, wider, self.weight, self.bias, self.stride, 0, self.dilation, self.groups)

    def extra_repr(self) -> str:
        usual = {"padding": (0,) * self.axes, "dilation": (1,) * self.axes, "output_padding": (0,) * self.axes,
                 "groups": 1}
        return (f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, stride={self.stride}"
                + "".join(f", {name}={getattr(self, name)}" for name in usual
                          if getattr(self, name, usual[name]) != usual[name])
                + ", bias=False" * (self.bias is None)
                + (f", padding_mode={self.padding_mode}" if self.padding_mode != "zeros" else ""))


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
    default. ``rng``: a Generator, a seed, or None for the shared generator; ``dtype``: the default dtype unless told.

    >>> import microgradx as mgx
    >>> from microgradx import nn
    >>> layer = nn.Conv2d(3, 16, 3, stride=2, padding=1, rng=0)
    >>> layer
    Conv2d(3, 16, kernel_size=(3, 3), stride=(2, 2), padding=(1, 1))
    >>> layer(mgx.Tensor([[[[0.0] * 32] * 32] * 3])).shape
    (1, 16, 16, 16)
    """
    axes = 2


# ----- transposed convolution ------------------------------------------------------------------------------------

def _convolve_back(axes: int, input: Data, weight: Data, bias: Data | None, stride: Integers, padding: Integers,
                   output_padding: Integers, groups: int, dilation: Integers) -> Tensor:
    op = f"conv_transpose{axes}d"
    x, alone = _batch(op, input, axes)
    weight, bias = tensor(weight), None if bias is None else tensor(bias)
    if weight.ndim != axes + 2:
        raise ShapeError(f"{op}: a weight of {axes + 2} axes, (in, out / groups, ...), not of shape {weight.shape}")
    steps, spacing = integers_of(op, "stride", stride, axes, 1), integers_of(op, "dilation", dilation, axes, 1)
    ahead, more = (integers_of(op, name, value, axes, 0) for name, value in (
        ("padding", padding), ("output_padding", output_padding)))
    groups, = integers_of(op, "groups", groups, 1, 1)
    if any(n >= max(s, d) for n, s, d in zip(more, steps, spacing)):
        raise OptionError(f"{op}: output_padding={more} is not below the stride {steps} or the dilation {spacing}")
    sides = tuple((p, p - max(0, n - s + 1)) for p, n, s in zip(ahead, more, steps))   # as many windows as elements
    size = tuple((n - 1) * s - 2 * p + d * (k - 1) + a + 1 for n, s, p, d, k, a in zip(
        x.shape[2:], steps, ahead, spacing, weight.shape[2:], more))
    if axes == 1:                               # one row
        x, weight = x.unsqueeze(2), weight.unsqueeze(2)
        size, steps, sides, spacing = (1, *size), (1, *steps), ((0, 0), *sides), (1, *spacing)
    y = transposed_convolution(op, x, weight, size, steps, sides, spacing, groups)
    if bias is not None:
        if bias.shape != (y.shape[1],):
            raise ShapeError(f"{op}: weight {weight.shape} in {groups} groups and bias {bias.shape} do not fit "
                             f"({y.shape[1]} filters)")
        y = y + bias.reshape(-1, 1, 1)
    y = y.squeeze(2) if axes == 1 else y
    return y.squeeze(0) if alone else y


def conv_transpose1d(input: Data, weight: Data, bias: Data | None = None, stride: Integers = 1, padding: Integers = 0,
                     output_padding: Integers = 0, groups: int = 1, dilation: Integers = 1) -> Tensor:
    """The transpose of ``conv1d``: (m, in, n), (in, out / groups, k), (out,) -> (m, out, places).

    >>> import microgradx as mgx
    >>> from microgradx.nn import functional as F
    >>> F.conv_transpose1d(mgx.Tensor([[[1.0, 2.0]]]), mgx.Tensor([[[1.0, 10.0]]]), stride=2)
    Tensor([[[ 1., 10.,  2., 20.]]])
    """
    return _convolve_back(1, input, weight, bias, stride, padding, output_padding, groups, dilation)


def conv_transpose2d(input: Data, weight: Data, bias: Data | None = None, stride: Integers = 1, padding: Integers = 0,
                     output_padding: Integers = 0, groups: int = 1, dilation: Integers = 1) -> Tensor:
    """The transpose of ``conv2d``, which is its gradient for the input: every element of ``input`` adds itself, times
    the weight, to a window of the output.

    (m, in, h, w), (in, out / groups, kh, kw), (out,) -> (m, out, rows, columns); m may be missing. There are
    (h - 1) stride - 2 padding + dilation (kh - 1) + output_padding + 1 rows.

    Raises ``ShapeError`` for what does not fit, ``OptionError`` for an ``output_padding`` that is not below the stride
    or the dilation.
    """
    return _convolve_back(2, input, weight, bias, stride, padding, output_padding, groups, dilation)


class _ConvTranspose(_Conv):
    transposed = True

    def __init__(self, in_channels: int, out_channels: int, kernel_size: Integers, stride: Integers = 1,
                 padding: Integers = 0, output_padding: Integers = 0, groups: int = 1, bias: bool = True,
                 dilation: Integers = 1, padding_mode: str = "zeros", dtype: DType = None, rng: Seed = None) -> None:
        self._prepare(in_channels, out_channels, kernel_size, stride, dilation, groups)
        op = type(self).__name__
        if padding_mode != "zeros":
            raise OptionError(f"{op}: padding_mode is 'zeros', not {padding_mode!r}")
        self.padding_mode = padding_mode
        self.padding: Any = integers_of(op, "padding", padding, self.axes, 0)
        self.output_padding = integers_of(op, "output_padding", output_padding, self.axes, 0)
        self._make((in_channels, out_channels // groups, *self.kernel_size), bias, dtype, rng)

    def forward(self, input: Data, output_size: Sequence[int] | None = None) -> Tensor:
        more = self.output_padding if output_size is None else self._more(tensor(input), output_size)
        return _convolve_back(self.axes, input, self.weight, self.bias, self.stride, self.padding, more, self.groups,
                              self.dilation)

    def _more(self, x: Tensor, output_size: Sequence[int]) -> tuple[int, ...]:
        """The output padding that leads to ``output_size``."""
        sizes = tuple(output_size)[-self.axes:]
        least = [(n - 1) * s - 2 * p + d * (k - 1) + 1 for n, s, p, d, k in zip(
            x.shape[-self.axes:], self.stride, self.padding, self.dilation, self.kernel_size)]
        more = tuple(n - low for n, low in zip(sizes, least))
        if len(sizes) != self.axes or any(not 0 <= n < s for n, s in zip(more, self.stride)):
            raise ShapeError(f"{type(self).__name__}: output_size={tuple(output_size)} is not between {tuple(least)} "
                             f"and {tuple(n + s - 1 for n, s in zip(least, self.stride))}")
        return more


class ConvTranspose1d(_ConvTranspose):
    """``conv_transpose1d`` with a trained ``weight`` (in, out / groups, k) and ``bias`` (out,).

    (m, in, n) -> (m, out, places). Both start as U(-l, l) with l = 1 / sqrt(out / groups * k), torch's default.
    """
    axes = 1


class ConvTranspose2d(_ConvTranspose):
    """``conv_transpose2d`` with a trained ``weight`` (in, out / groups, kh, kw) and ``bias`` (out,).

    (m, in, h, w) -> (m, out, rows, columns). Both start as U(-l, l) with l = 1 / sqrt(out / groups * kh * kw), torch's
    default. ``forward(x, output_size)`` chooses among the sizes that lead to one input.

    >>> import microgradx as mgx
    >>> from microgradx import nn
    >>> layer = nn.ConvTranspose2d(3, 2, 3, stride=2, padding=1, output_padding=1)
    >>> layer(mgx.zeros(1, 3, 4, 4)).shape
    (1, 2, 8, 8)
    """
    axes = 2


# ----- pooling ---------------------------------------------------------------------------------------------------

def _pool(op: str, x: Tensor, kernel_size: Integers, stride: Integers | None, padding: Integers, dilation: Integers,
          ceil_mode: bool) -> tuple[Any, tuple[int, ...], tuple[int, ...], Sides]:
    """What ``pooling`` makes of (m, channels, h, w), the kernel, and the padding on both sides.

    With ``ceil_mode`` there is more padding behind where a window would begin within the input but reach beyond.
    """
    kernel = integers_of(op, "kernel_size", kernel_size, 2, 1)
    steps = kernel if stride is None else integers_of(op, "stride", stride, 2, 1)
    ahead, spacing = integers_of(op, "padding", padding, 2, 0), integers_of(op, "dilation", dilation, 2, 1)
    sides: Sides = ()
    for n, k, s, p, d in zip(x.shape[2:], kernel, steps, ahead, spacing):
        reach = d * (k - 1) + 1
        if p > reach // 2:
            raise OptionError(f"{op}: padding {ahead} is more than half of the window, kernel_size {kernel}"
                              + f" with dilation {spacing}" * (spacing != (1, 1)))
        last = -(-(n + 2 * p - reach) // s) * s                        # where the last window begins
        sides += (p, last + reach - n - p if ceil_mode and last < n + p else p),
    return pooling(op, x, kernel, steps, sides, spacing), kernel, steps, sides


def _as_rows(op: str, *values: Integers | None) -> list[Any]:
    """Options for one axis as those for two, of which the first is as long as a row is high."""
    names = ("kernel_size", "stride", "padding", "dilation")
    return [None if value is None else (low, *integers_of(op, name, value, 1, low))
            for name, value, low in zip(names, values, (1, 1, 0, 1))]


def max_pool1d(input: Data, kernel_size: Integers, stride: Integers | None = None, padding: Integers = 0,
               dilation: Integers = 1, ceil_mode: bool = False, return_indices: bool = False) -> Any:
    """As ``max_pool2d``, along one axis: (m, channels, n) -> (m, channels, places).

    >>> import microgradx as mgx
    >>> from microgradx.nn import functional as F
    >>> F.max_pool1d(mgx.Tensor([[1.0, 3.0, 2.0, 0.0]]), 2)
    Tensor([[3., 2.]])
    """
    x, alone = _batch("max_pool1d", input, 1)
    kernel, steps, ahead, spacing = _as_rows("max_pool1d", kernel_size, stride, padding, dilation)
    both = _pool("max_pool1d", x.unsqueeze(2), kernel, steps, ahead, spacing, ceil_mode)[0]
    values, places = (y.squeeze(2).squeeze(0) if alone else y.squeeze(2) for y in both)
    return (values, places) if return_indices else values


def avg_pool1d(input: Data, kernel_size: Integers, stride: Integers | None = None, padding: Integers = 0,
               ceil_mode: bool = False, count_include_pad: bool = True) -> Tensor:
    """As ``avg_pool2d``, along one axis: (m, channels, n) -> (m, channels, places).

    >>> import microgradx as mgx
    >>> from microgradx.nn import functional as F
    >>> F.avg_pool1d(mgx.Tensor([[1.0, 3.0, 2.0, 0.0]]), 2)
    Tensor([[2., 1.]])
    """
    x, alone = _batch("avg_pool1d", input, 1)
    kernel, steps, ahead = _as_rows("avg_pool1d", kernel_size, stride, padding)
    y = _mean_pool("avg_pool1d", x.unsqueeze(2), kernel, steps, ahead, ceil_mode, count_include_pad).squeeze(2)
    return y.squeeze(0) if alone else y


def max_pool2d(input: Data, kernel_size: Integers, stride: Integers | None = None, padding: Integers = 0,
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
    x, alone = _batch("max_pool2d", input, 2)
    both = _pool("max_pool2d", x, kernel_size, stride, padding, dilation, ceil_mode)[0]
    values, places = (y.squeeze(0) for y in both) if alone else both
    return (values, places) if return_indices else values


def avg_pool2d(input: Data, kernel_size: Integers, stride: Integers | None = None, padding: Integers = 0,
               ceil_mode: bool = False, count_include_pad: bool = True,
               divisor_override: int | None = None) -> Tensor:
    """The mean of each window: (m, channels, h, w) -> (m, channels, rows, columns); m may be missing.

    ``stride`` is ``kernel_size`` unless told. Padding counts as zeros, or not at all without ``count_include_pad``;
    what windows with ``ceil_mode`` (see ``max_pool2d``) find beyond it never counts. ``divisor_override``: the sum
    divided by that number.

    >>> import microgradx as mgx
    >>> from microgradx.nn import functional as F
    >>> F.avg_pool2d(mgx.Tensor([[[1.0, 2.0, 5.0, 0.0], [3.0, 4.0, 6.0, 7.0]]]), 2)
    Tensor([[[2.5, 4.5]]])
    """
    x, alone = _batch("avg_pool2d", input, 2)
    y = _mean_pool("avg_pool2d", x, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override)
    return y.squeeze(0) if alone else y


DRIFTING = 1 << 14      # the sum of so many numbers of float32 drifts, so it is made in float64


def _mean_pool(op: str, x: Tensor, kernel_size: Integers, stride: Integers | None, padding: Integers, ceil_mode: bool,
               count_include_pad: bool, divisor: int | None = None) -> Tensor:
    y: Tensor
    if x.dtype == np.float32 and math.prod(integers_of(op, "kernel_size", kernel_size, 2, 1)) >= DRIFTING:
        y = _mean_pool(op, x.astype(np.float64), kernel_size, stride, padding, ceil_mode, count_include_pad, divisor)
        return y.astype(np.float32)
    y, kernel, steps, sides = _pool(op, x, kernel_size, stride, padding, 1, ceil_mode)
    if divisor is not None:
        if isinstance(divisor, bool) or not isinstance(divisor, (int, np.integer)) or divisor == 0:
            raise OptionError(f"{op}: divisor_override={divisor!r} is not an integer other than 0")
        return y / divisor
    counted = [p if count_include_pad else 0 for p, _ in sides]
    if all(after == p == c for (p, after), c in zip(sides, counted)):
        return y / math.prod(kernel)
    ones = Tensor(np.ones((1, 1, *(n + 2 * c for n, c in zip(x.shape[2:], counted))), y.dtype))
    beyond = tuple((p - c, after - c) for (p, after), c in zip(sides, counted))
    counts: Tensor = pooling(op, ones, kernel, steps, beyond, (1, 1))
    return y / counts


# ----- pooling to a size ---------------------------------------------------------------------------------------------

Sizes: TypeAlias = int | None | Sequence[int | None]


def _adaptive(op: str, x: Data, output_size: Sizes, axes: int) -> tuple[Tensor, bool, tuple[int, ...]]:
    """``x`` as (m, channels, ...), whether m was missing, and the sizes, in which None is that of ``x``."""
    x, alone = _batch(op, x, axes)
    sizes = tuple(output_size) if isinstance(output_size, (tuple, list)) else (output_size,) * axes
    found = tuple(n if out is None else out for n, out in zip(x.shape[2:], sizes)) if len(sizes) == axes else sizes
    sizes = integers_of(op, "output_size", found, axes, 1)
    if 0 in x.shape[2:]:
        raise ShapeError(f"{op}: shape {x.shape} has no elements to take to {sizes}")
    return x, alone, sizes


def _parts(n: int, out: int) -> tuple[list[int], list[int]]:
    """Where each of ``out`` parts of ``n`` elements begins and ends; they may overlap by one."""
    return [k * n // out for k in range(out)], [-(-(k + 1) * n // out) for k in range(out)]


def adaptive_average(op: str, x: Tensor, sizes: tuple[int, ...]) -> Tensor:
    """The means of as many parts of the last axes as ``sizes`` says: (m, channels, ...)."""
    if len(sizes) == 1:
        return adaptive_average(op, x.unsqueeze(2), (1, *sizes)).squeeze(2)
    if len(sizes) == 2 and all(n % out == 0 for n, out in zip(x.shape[2:], sizes)):
        return _mean_pool("avg_pool2d", x, tuple(n // out for n, out in zip(x.shape[2:], sizes)), None, 0, False, True)
    for axis, (n, out) in enumerate(zip(x.shape[2:], sizes), 2):
        if n != out:                                            # no sum has numbers of other parts, even times 0
            line = x.transpose(axis, -1)
            parts = [line[..., low:high].mean(-1) for low, high in zip(*_parts(n, out))]
            x = stack(parts, -1).transpose(axis, -1)
    return x


def adaptive_avg_pool1d(input: Data, output_size: int) -> Tensor:
    """(m, channels, n) -> (m, channels, output_size): the means of so many parts, as equal as they can be.

    >>> import microgradx as mgx
    >>> from microgradx.nn import functional as F
    >>> F.adaptive_avg_pool1d(mgx.Tensor([[1.0, 3.0, 5.0, 7.0]]), 2)
    Tensor([[2., 6.]])
    """
    x, alone, sizes = _adaptive("adaptive_avg_pool1d", input, output_size, 1)
    y = adaptive_average("adaptive_avg_pool1d", x, sizes)
    return y.squeeze(0) if alone else y


def adaptive_avg_pool2d(input: Data, output_size: Sizes) -> Tensor:
    """(m, channels, h, w) -> (m, channels, *output_size): the means of so many parts; m may be missing.

    Part k of h rows goes from floor(k h / out) to ceil((k + 1) h / out). None is the size of the input.

    >>> import microgradx as mgx
    >>> from microgradx.nn import functional as F
    >>> F.adaptive_avg_pool2d(mgx.Tensor([[[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]]), 1)
    Tensor([[[3.5]]])
    """
    x, alone, sizes = _adaptive("adaptive_avg_pool2d", input, output_size, 2)
    y = adaptive_average("adaptive_avg_pool2d", x, sizes)
    return y.squeeze(0) if alone else y


def _adaptive_max(op: str, input: Data, output_size: Sizes, axes: int, return_indices: bool) -> Any:
    x, alone, sizes = _adaptive(op, input, output_size, axes)
    shape = x.shape[2:]
    at = None                                           # where in its flattened axes each element lies
    for axis in range(axes + 1, 1, -1):                 # the last axis first: of equal elements the first one wins
        n, out = x.shape[axis], sizes[axis - 2]
        low, high = (np.array(part) for part in _parts(n, out))
        read = np.minimum(low[:, None] + np.arange((high - low).max()), high[:, None] - 1)
        x, place = x[(*[slice(None)] * axis, read)].max(axis + 1)
        column = Tensor(low.reshape(-1, *[1] * (x.ndim - axis - 1))) + place
        if at is None:
            at = column
        else:
            at = at.gather(axis, column) + column * shape[-1]
    values, places = (y.squeeze(0) for y in (x, at)) if alone else (x, at)      # type: ignore[union-attr]
    return (values, places) if return_indices else values


def adaptive_max_pool1d(input: Data, output_size: int, return_indices: bool = False) -> Any:
    """As ``adaptive_avg_pool1d``, of the largest elements; with ``return_indices`` also where they are."""
    return _adaptive_max("adaptive_max_pool1d", input, output_size, 1, return_indices)


def adaptive_max_pool2d(input: Data, output_size: Sizes, return_indices: bool = False) -> Any:
    """As ``adaptive_avg_pool2d``, of the largest elements; with ``return_indices`` also where they lie in (h, w),
    flattened."""
    return _adaptive_max("adaptive_max_pool2d", input, output_size, 2, return_indices)


class _Adaptive(Module):
    function: Any = staticmethod(adaptive_avg_pool1d)

    def __init__(self, output_size: Sizes) -> None:
        self.output_size = output_size

    def forward(self, input: Data) -> Tensor:
        y: Tensor = self.function(input, self.output_size)
        return y

    def extra_repr(self) -> str:
        return f"output_size={self.output_size}"


class AdaptiveAvgPool1d(_Adaptive):
    """``adaptive_avg_pool1d`` as a module."""


class AdaptiveAvgPool2d(_Adaptive):
    """``adaptive_avg_pool2d`` as a module.

    >>> from microgradx import nn
    >>> nn.AdaptiveAvgPool2d((1, 1))
    AdaptiveAvgPool2d(output_size=(1, 1))
    """
    function = staticmethod(adaptive_avg_pool2d)


class AdaptiveMaxPool1d(Module):
    """``adaptive_max_pool1d`` as a module."""
    function: Any = staticmethod(adaptive_max_pool1d)

    def __init__(self, output_size: Sizes, return_indices: bool = False) -> None:
        self.output_size, self.return_indices = output_size, return_indices

    def forward(self, input: Data) -> Any:
        return self.function(input, self.output_size, self.return_indices)

    def extra_repr(self) -> str:
        return f"output_size={self.output_size}"


class AdaptiveMaxPool2d(AdaptiveMaxPool1d):
    """``adaptive_max_pool2d`` as a module."""
    function = staticmethod(adaptive_max_pool2d)


class MaxPool1d(Module):
    """``max_pool1d`` as a module; the last two arguments stand in torch's order."""
    function: Any = staticmethod(max_pool1d)

    def __init__(self, kernel_size: Integers, stride: Integers | None = None, padding: Integers = 0,
                 dilation: Integers = 1, return_indices: bool = False, ceil_mode: bool = False) -> None:
        self.kernel_size, self.stride = kernel_size, kernel_size if stride is None else stride
        self.padding, self.dilation, self.return_indices, self.ceil_mode = padding, dilation, return_indices, ceil_mode

    def forward(self, input: Data) -> Any:
        return self.function(input, self.kernel_size, self.stride, self.padding, self.dilation, self.ceil_mode,
                             self.return_indices)

    def extra_repr(self) -> str:
        return (f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}, "
                f"dilation={self.dilation}, ceil_mode={self.ceil_mode}")


class MaxPool2d(MaxPool1d):
    """``max_pool2d`` as a module; the last two arguments stand in torch's order.

    >>> from microgradx import nn
    >>> nn.MaxPool2d(2)
    MaxPool2d(kernel_size=2, stride=2, padding=0, dilation=1, ceil_mode=False)
    """
    function = staticmethod(max_pool2d)


class AvgPool1d(Module):
    """``avg_pool1d`` as a module."""
    later = {"divisor_override": None}
    function: Any = staticmethod(avg_pool1d)

    def __init__(self, kernel_size: Integers, stride: Integers | None = None, padding: Integers = 0,
                 ceil_mode: bool = False, count_include_pad: bool = True) -> None:
        kernel, steps, ahead = _as_rows("AvgPool1d", kernel_size, kernel_size if stride is None else stride, padding)
        self._keep(kernel[1:], steps[1:], ahead[1:], ceil_mode, count_include_pad)

    def _keep(self, kernel_size: Integers, stride: Integers | None, padding: Integers, ceil_mode: bool,
              count_include_pad: bool) -> None:
        self.kernel_size, self.stride = kernel_size, kernel_size if stride is None else stride
        self.padding, self.ceil_mode, self.count_include_pad = padding, ceil_mode, count_include_pad

    def forward(self, input: Data) -> Tensor:
        y: Tensor = self.function(input, self.kernel_size, self.stride, self.padding, self.ceil_mode,
                                  self.count_include_pad)
        return y

    def extra_repr(self) -> str:
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"


class AvgPool2d(AvgPool1d):
    """``avg_pool2d`` as a module.

    >>> from microgradx import nn
    >>> nn.AvgPool2d((2, 3), stride=1)
    AvgPool2d(kernel_size=(2, 3), stride=1, padding=0)
    """
    function = staticmethod(avg_pool2d)

    def __init__(self, kernel_size: Integers, stride: Integers | None = None, padding: Integers = 0,
                 ceil_mode: bool = False, count_include_pad: bool = True, divisor_override: int | None = None) -> None:
        self._keep(kernel_size, stride, padding, ceil_mode, count_include_pad)
        self.divisor_override = divisor_override

    def forward(self, input: Data) -> Tensor:
        return avg_pool2d(input, self.kernel_size, self.stride, self.padding, self.ceil_mode, self.count_include_pad,
                          self.divisor_override)


make_public(__name__)
