"""Padding: a tensor widened, or cropped, at the ends of its last axes, as a function and as modules.

Widths are in torch's order: (before, after) of the last axis, then of the last but one, and so on. A negative width
crops. What is added is a constant, or comes from the tensor: ``reflect`` mirrors it without its edge, ``replicate``
repeats its edge, ``circular`` goes on at its other end.
"""
from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from microgradx._core.tensor import Tensor
from microgradx._core.tensor import pad as pad_constant
from microgradx.arrays.common import tensor
from microgradx.errors import OptionError, ShapeError
from microgradx.names import make_public
from microgradx.nn.module import Module
from microgradx.typing import Data

FUNCTIONS = ["pad"]
__all__ = ["CircularPad1d", "CircularPad2d", "CircularPad3d", "ConstantPad1d", "ConstantPad2d", "ConstantPad3d",
           "ReflectionPad1d", "ReflectionPad2d", "ReflectionPad3d", "ReplicationPad1d", "ReplicationPad2d",
           "ReplicationPad3d", "ZeroPad1d", "ZeroPad2d", "ZeroPad3d"]

MODES = ("constant", "reflect", "replicate", "circular")


def pad(input: Data, pad: Sequence[int], mode: str = "constant", value: float | None = None) -> Tensor:
    """``input`` with ``pad[0]`` elements more before and ``pad[1]`` after along the last axis, ``pad[2]`` and
    ``pad[3]`` along the last but one, and so on.

    ``mode``: "constant" (``value``, 0 unless told), "reflect", "replicate" or "circular"; these three need an axis
    ahead of those that are padded. Raises ``OptionError`` for widths that are no such pairs and for an unknown mode,
    ``ShapeError`` for widths that the axis has no elements for.

    >>> import microgradx as mgx
    >>> from microgradx.nn import functional as F
    >>> F.pad(mgx.Tensor([[1.0, 2.0, 3.0]]), (2, 1), mode="reflect")
    Tensor([[3., 2., 1., 2., 3., 2.]])
    """
    x, widths = tensor(input), _widths("pad", pad)
    if mode not in MODES:
        raise OptionError(f"pad: mode is {', '.join(map(repr, MODES[:-1]))} or {MODES[-1]!r}, not {mode!r}")
    if len(widths) > x.ndim - (mode != "constant"):
        raise ShapeError(f"pad: {len(widths)} pairs of widths, mode {mode!r}, for shape {x.shape} of {x.ndim} axes")
    if mode == "constant":
        return _constant(x, widths, 0.0 if value is None else value)
    if value is not None:
        raise OptionError(f"pad: value={value!r} goes with mode='constant', not {mode!r}")
    if mode == "circular" and any(n < 0 for pair in widths for n in pair):      # goes on at the end of what is left
        x = _constant(x, [(min(before, 0), min(after, 0)) for before, after in widths], 0.0)
        widths = [(max(before, 0), max(after, 0)) for before, after in widths]
    for at, (before, after) in enumerate(widths, 1):
        if before or after:
            read = _elements(mode, x.shape[-at], before, after)
            x = x[(..., read, *[slice(None)] * (at - 1))]
    return x


def _widths(op: str, widths: Any) -> list[tuple[int, int]]:
    """(before, after) for the last axis, the last but one, ..."""
    numbers = list(widths) if isinstance(widths, (tuple, list)) else None
    if numbers is None or len(numbers) % 2 or any(isinstance(n, bool) or not isinstance(n, (int, np.integer))
                                                  for n in numbers):
        raise OptionError(f"{op}: widths are an even number of integers, (before, after) of the last axis first, not "
                          f"{widths!r}")
    return list(zip(map(int, numbers[::2]), map(int, numbers[1::2])))


def _constant(x: Tensor, widths: list[tuple[int, int]], value: float) -> Tensor:
    for at, (before, after) in enumerate(widths, 1):
        if x.shape[-at] + min(before, 0) + min(after, 0) < 0:
            raise ShapeError(f"pad: ({before}, {after}) crops more than axis {-at} of shape {x.shape} has")
    if any(n < 0 for pair in widths for n in pair):
        crops = [slice(max(-before, 0), x.shape[-at] - max(-after, 0)) for at, (before, after) in enumerate(widths, 1)]
        x = x[(..., *reversed(crops))]
    every = [(0, 0)] * (x.ndim - len(widths)) + [(max(b, 0), max(a, 0)) for b, a in reversed(widths)]
    return pad_constant(x, every, value) if any(pair != (0, 0) for pair in every) else x


def _elements(mode: str, n: int, before: int, after: int) -> npt.NDArray[np.int64]:
    """Which of ``n`` elements stand where, ``before`` the first of them to ``after`` the last."""
    most = {"reflect": n - 1, "circular": n, "replicate": np.inf if n else 0}[mode]
    if max(before, after) > most or before + n + after < 0:
        raise ShapeError(f"pad: widths ({before}, {after}) in mode {mode!r} for an axis of {n} elements "
                         + (f"({max(before, after)} > {most})" if max(before, after) > most else
                            f"({before + n + after} < 0)"))
    at = np.arange(-before, n + after)
    if mode == "replicate":
        return at.clip(0, n - 1)
    if mode == "circular":
        return at % max(n, 1)
    return n - 1 - abs(n - 1 - abs(at))


# ----- modules -------------------------------------------------------------------------------------------------------

class _Pad(Module):
    """``pad`` by a number, or by two for each of the last ``axes`` axes."""
    axes, mode = 1, "constant"
    value: float | None = None

    def __init__(self, padding: int | Sequence[int]) -> None:
        self.padding = self._widths(padding)

    def _widths(self, padding: int | Sequence[int]) -> tuple[int, ...]:
        whole = isinstance(padding, (int, np.integer)) and not isinstance(padding, bool)
        widths = _widths(type(self).__name__, [padding] * (2 * self.axes) if whole else padding)
        if len(widths) != self.axes:
            raise OptionError(f"{type(self).__name__}: padding is an integer or {2 * self.axes} of them, not "
                              f"{padding!r}")
        return tuple(n for pair in widths for n in pair)

    def forward(self, input: Tensor) -> Tensor:
        if input.ndim not in (self.axes + 1, self.axes + 2):
            raise ShapeError(f"{type(self).__name__}: an input of {self.axes + 2} axes, or {self.axes + 1} without the "
                             f"batch, not of shape {input.shape}")
        return pad(input, self.padding, self.mode, self.value)

    def extra_repr(self) -> str:
        return f"{self.padding}"


class ConstantPad1d(_Pad):
    """The last axis of (m, channels, n) widened by ``padding``, a number or (before, after), with ``value``."""
    value: float

    def __init__(self, padding: int | Sequence[int], value: float) -> None:
        self.padding, self.value = self._widths(padding), value

    def extra_repr(self) -> str:
        return f"padding={self.padding}, value={self.value}"


class ConstantPad2d(ConstantPad1d):
    """As ``ConstantPad1d``, of (m, channels, h, w): (left, right, top, bottom).

    >>> import microgradx as mgx
    >>> from microgradx import nn
    >>> nn.ConstantPad2d((1, 0, 0, 1), 9.0)(mgx.Tensor([[[1.0, 2.0]]]))
    Tensor([[[9., 1., 2.],
             [9., 9., 9.]]])
    """
    axes = 2


class ConstantPad3d(ConstantPad1d):
    """As ``ConstantPad1d``, of (m, channels, d, h, w)."""
    axes = 3


class ZeroPad1d(_Pad):
    """The last axis of (m, channels, n) widened by ``padding`` zeros, a number or (before, after)."""


class ZeroPad2d(_Pad):
    """As ``ZeroPad1d``, of (m, channels, h, w): (left, right, top, bottom)."""
    axes = 2


class ZeroPad3d(_Pad):
    """As ``ZeroPad1d``, of (m, channels, d, h, w)."""
    axes = 3


class ReflectionPad1d(_Pad):
    """The last axis of (m, channels, n) widened by ``padding`` elements, mirrored at its edges."""
    mode = "reflect"


class ReflectionPad2d(ReflectionPad1d):
    """As ``ReflectionPad1d``, of (m, channels, h, w): (left, right, top, bottom)."""
    axes = 2


class ReflectionPad3d(ReflectionPad1d):
    """As ``ReflectionPad1d``, of (m, channels, d, h, w)."""
    axes = 3


class ReplicationPad1d(_Pad):
    """The last axis of (m, channels, n) widened by ``padding`` elements that repeat its edges."""
    mode = "replicate"


class ReplicationPad2d(ReplicationPad1d):
    """As ``ReplicationPad1d``, of (m, channels, h, w): (left, right, top, bottom)."""
    axes = 2


class ReplicationPad3d(ReplicationPad1d):
    """As ``ReplicationPad1d``, of (m, channels, d, h, w)."""
    axes = 3


class CircularPad1d(_Pad):
    """The last axis of (m, channels, n) widened by ``padding`` elements from its other end."""
    mode = "circular"


class CircularPad2d(CircularPad1d):
    """As ``CircularPad1d``, of (m, channels, h, w): (left, right, top, bottom)."""
    axes = 2


class CircularPad3d(CircularPad1d):
    """As ``CircularPad1d``, of (m, channels, d, h, w)."""
    axes = 3


make_public(__name__)
