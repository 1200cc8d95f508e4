"""Other sizes for images and rows: interpolation, sampling at any positions, shuffled channels, columns of windows."""
from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from microgradx._core.tensor import Tensor
from microgradx.arrays.common import tensor
from microgradx.errors import DTypeError, OptionError, ShapeError
from microgradx.names import make_public
from microgradx.nn.convolution import Integers, adaptive_average, integers_of
from microgradx.nn.module import Module
from microgradx.nn.padding import pad
from microgradx.typing import Data

FUNCTIONS = ["affine_grid", "channel_shuffle", "fold", "grid_sample", "interpolate", "pixel_shuffle", "pixel_unshuffle",
             "unfold", "upsample", "upsample_bilinear", "upsample_nearest"]
__all__ = ["ChannelShuffle", "Fold", "PixelShuffle", "PixelUnshuffle", "Unfold", "Upsample", "UpsamplingBilinear2d",
           "UpsamplingNearest2d"]

# Mode: for which numbers of axes behind the channels.
MODES = {"nearest": (1, 2, 3), "nearest-exact": (1, 2, 3), "linear": (1,), "bilinear": (2,), "trilinear": (3,),
         "bicubic": (2,), "area": (1, 2, 3)}
Taps = list[tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]]      # which elements an output reads, by what factor


# ----- interpolation -------------------------------------------------------------------------------------------------

def interpolate(input: Data, size: int | Sequence[int] | None = None,
                scale_factor: float | Sequence[float] | None = None, mode: str = "nearest",
                align_corners: bool | None = None, recompute_scale_factor: bool | None = None) -> Tensor:
    """(m, channels, ...) with its last axes at another ``size``, or ``scale_factor`` times as long, rounded down.

    ``mode``: "nearest", "nearest-exact" (which rounds to the nearest centre), "linear", "bilinear" or "trilinear" for
    one, two or three axes, "bicubic" (Keys 1981, a = -0.75), "area" (means). ``align_corners``: the first and last
    elements of both lie on each other; else the outer edges do. With ``recompute_scale_factor`` the positions follow
    from the sizes, not from the factor.

    Raises ``ShapeError`` for a mode that is not for so many axes, ``OptionError`` for other options that do not fit.

    >>> import microgradx as mgx
    >>> from microgradx.nn import functional as F
    >>> F.interpolate(mgx.Tensor([[[1.0, 2.0]]]), scale_factor=2)
    Tensor([[[1., 1., 2., 2.]]])
    >>> F.interpolate(mgx.Tensor([[[1.0, 2.0]]]), size=3, mode="linear", align_corners=True)
    Tensor([[[1. , 1.5, 2. ]]])
    """
    x = tensor(input)
    axes = x.ndim - 2
    if mode not in MODES:
        raise OptionError(f"interpolate: mode is one of {', '.join(MODES)}, not {mode!r}")
    if axes not in MODES[mode]:
        counts = " or ".join(str(n + 2) for n in MODES[mode])
        raise ShapeError(f"interpolate: mode {mode!r} is for an input of {counts} axes, not of shape {x.shape}")
    if x.dtype.kind != "f":
        raise DTypeError(f"interpolate: of float32 or float64, not {x.dtype}")
    if align_corners is not None and mode in ("nearest", "nearest-exact", "area"):
        raise OptionError(f"interpolate: align_corners={align_corners} goes with the linear modes and bicubic, not "
                          f"{mode!r}")
    if (size is None) == (scale_factor is None):
        raise OptionError(f"interpolate: either size or scale_factor is given, not size={size}, "
                          f"scale_factor={scale_factor}")
    if size is not None:
        if recompute_scale_factor:
            raise OptionError("interpolate: recompute_scale_factor goes with scale_factor, not with size")
        sizes = integers_of("interpolate", "size", size, axes, 1)
        scales: list[float | None] = [None] * axes
    else:
        factors = _factors(scale_factor, axes)
        sizes = tuple(math.floor(n * f) for n, f in zip(x.shape[2:], factors))
        scales = [None if recompute_scale_factor else f for f in factors]
    if 0 in sizes or 0 in x.shape[2:]:
        raise ShapeError(f"interpolate: from shape {x.shape} to {sizes}, which has no elements")
    if mode == "area":
        return adaptive_average("interpolate", x, sizes)
    for at, (n, out, scale) in enumerate(zip(x.shape[2:], sizes, scales)):
        if n == out and "linear" in mode or mode == "nearest" and axes == 2 and out in (n, 2 * n):
            scale = None                        # as torch: here the sizes tell, whatever the factor was
        if n != out or scale not in (None, 1):
            x = _read(x, 2 + at, _taps(mode, n, out, scale, bool(align_corners)))
    return x.clone() if x is input else x                       # of the size that it has


def _factors(scale_factor: Any, axes: int) -> tuple[float, ...]:
    factors = tuple(scale_factor) if isinstance(scale_factor, (tuple, list)) else (scale_factor,) * axes
    if len(factors) != axes or any(isinstance(f, bool) or not isinstance(f, (int, float, np.number))
                                   or not 0 < f < math.inf for f in factors):
        raise OptionError("interpolate: scale_factor is a finite number > 0" + f" or {axes} of them" * (axes > 1)
                          + f", not {scale_factor!r}")
    return tuple(map(float, factors))


def _taps(mode: str, n: int, out: int, scale: float | None, corners: bool) -> Taps:
    """What each of ``out`` elements reads of ``n``."""
    step = n / out if scale is None else 1 / scale
    k = np.arange(out)
    if mode.startswith("nearest"):              # in single precision, as torch: at halves the rounding decides
        shift = np.float32(0.5 if mode == "nearest-exact" else 0.0)
        at = np.floor((k.astype("float32") + shift) * np.float32(step)).astype("int64")
        return [(at.clip(0, n - 1), np.ones(out))]
    if corners:
        position = k * ((n - 1) / (out - 1) if out > 1 else 0.0)
    else:
        position = (k + 0.5) * step - 0.5
        position = position if mode == "bicubic" else position.clip(0)
    low = np.floor(position).astype("int64")
    t = position - low
    if mode != "bicubic":
        low = low.clip(0, n - 1)
        return [(low, 1 - t), ((low + 1).clip(0, n - 1), t)]
    return [((low + d).clip(0, n - 1), _cubic(abs(t - d))) for d in (-1, 0, 1, 2)]


def _cubic(d: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """The cubic convolution kernel at a distance 0 <= d <= 2."""
    factors: npt.NDArray[np.float64] = np.where(d <= 1, _near(d), _far(d))
    return factors


KEYS = -0.75                                        # a in Keys (1981), eq. 15


def _near(d: Any) -> Any:
    """The kernel of cubic convolution at a distance up to 1."""
    return ((KEYS + 2) * d - (KEYS + 3)) * d * d + 1


def _far(d: Any) -> Any:
    """The kernel of cubic convolution at a distance from 1 to 2."""
    return ((KEYS * d - 5 * KEYS) * d + 8 * KEYS) * d - 4 * KEYS


def _read(x: Tensor, axis: int, taps: Taps) -> Tensor:
    """The sum of the elements along ``axis`` that the taps read, times their factors."""
    behind = x.ndim - axis - 1
    terms = []
    for at, factor in taps:
        term = x[(*[slice(None)] * axis, at)]
        if len(taps) > 1:
            term = term * Tensor(factor.reshape(-1, *[1] * behind), dtype=x.dtype)
        terms.append(term)
    total = terms[0]
    for term in terms[1:]:
        total = total + term
    return total


def upsample(input: Data, size: int | Sequence[int] | None = None,
             scale_factor: float | Sequence[float] | None = None, mode: str = "nearest",
             align_corners: bool | None = None) -> Tensor:
    """``interpolate`` by its former name."""
    return interpolate(input, size, scale_factor, mode, align_corners)


def upsample_nearest(input: Data, size: int | Sequence[int] | None = None,
                     scale_factor: float | Sequence[float] | None = None) -> Tensor:
    """``interpolate`` to the nearest elements."""
    return interpolate(input, size, scale_factor)


def upsample_bilinear(input: Data, size: int | Sequence[int] | None = None,
                      scale_factor: float | Sequence[float] | None = None) -> Tensor:
    """``interpolate`` of (m, channels, h, w), bilinear with aligned corners."""
    return interpolate(input, size, scale_factor, "bilinear", True)


class Upsample(Module):
    """``functional.interpolate`` as a module.

    >>> import microgradx as mgx
    >>> from microgradx import nn
    >>> nn.Upsample(scale_factor=2, mode="bilinear")(mgx.zeros(1, 3, 4, 4)).shape
    (1, 3, 8, 8)
    """

    def __init__(self, size: int | Sequence[int] | None = None, scale_factor: float | Sequence[float] | None = None,
                 mode: str = "nearest", align_corners: bool | None = None,
                 recompute_scale_factor: bool | None = None) -> None:
        self.size, self.mode, self.align_corners = size, mode, align_corners
        self.scale_factor = float(scale_factor) if isinstance(scale_factor, (int, float)) else scale_factor
        self.recompute_scale_factor = recompute_scale_factor

    def forward(self, input: Data) -> Tensor:
        return interpolate(input, self.size, self.scale_factor, self.mode, self.align_corners,
                           self.recompute_scale_factor)

    def extra_repr(self) -> str:
        return (f"scale_factor={self.scale_factor!r}" if self.scale_factor is not None else f"size={self.size!r}"
                ) + f", mode={self.mode!r}"


class UpsamplingNearest2d(Upsample):
    """``Upsample`` of (m, channels, h, w) to the nearest elements."""

    def __init__(self, size: int | Sequence[int] | None = None,
                 scale_factor: float | Sequence[float] | None = None) -> None:
        Upsample.__init__(self, size, scale_factor, "nearest")


class UpsamplingBilinear2d(Upsample):
    """``Upsample`` of (m, channels, h, w), bilinear with aligned corners."""

    def __init__(self, size: int | Sequence[int] | None = None,
                 scale_factor: float | Sequence[float] | None = None) -> None:
        Upsample.__init__(self, size, scale_factor, "bilinear", True)


# ----- channels and places -------------------------------------------------------------------------------------------

def _image(op: str, x: Data, least: int = 3) -> Tensor:
    x = tensor(x)
    if x.ndim < least:
        raise ShapeError(f"{op}: an input (..., channels, h, w), not of shape {x.shape}")
    return x


def _divides(op: str, name: str, n: int, by: int) -> int:
    if n % by:
        raise ShapeError(f"{op}: {n} {name} are no multiple of {by}")
    return n // by


def pixel_shuffle(input: Data, upscale_factor: int) -> Tensor:
    """(..., c r^2, h, w) -> (..., c, h r, w r): r^2 channels become the r by r places of a pixel. Shi et al. (2016).

    >>> import microgradx as mgx
    >>> from microgradx.nn import functional as F
    >>> F.pixel_shuffle(mgx.Tensor([[[1.0]], [[2.0]], [[3.0]], [[4.0]]]), 2)
    Tensor([[[1., 2.],
             [3., 4.]]])
    """
    x, (r,) = _image("pixel_shuffle", input), integers_of("pixel_shuffle", "upscale_factor", upscale_factor, 1, 1)
    *ahead, channels, h, w = x.shape
    c = _divides("pixel_shuffle", "channels", channels, r * r)
    n = len(ahead)
    y = x.reshape(*ahead, c, r, r, h, w).permute(*range(n + 1), n + 3, n + 1, n + 4, n + 2)
    return y.reshape(*ahead, c, h * r, w * r)


def pixel_unshuffle(input: Data, downscale_factor: int) -> Tensor:
    """(..., c, h r, w r) -> (..., c r^2, h, w): the reverse of ``pixel_shuffle``."""
    x = _image("pixel_unshuffle", input)
    r, = integers_of("pixel_unshuffle", "downscale_factor", downscale_factor, 1, 1)
    *ahead, c, height, width = x.shape
    h, w = _divides("pixel_unshuffle", "rows", height, r), _divides("pixel_unshuffle", "columns", width, r)
    n = len(ahead)
    y = x.reshape(*ahead, c, h, r, w, r).permute(*range(n + 1), n + 2, n + 4, n + 1, n + 3)
    return y.reshape(*ahead, c * r * r, h, w)


def channel_shuffle(input: Data, groups: int) -> Tensor:
    """(m, channels, ...) with the channels of ``groups`` equal parts taken in turns. Zhang et al. (2018)."""
    x, (groups,) = _image("channel_shuffle", input), integers_of("channel_shuffle", "groups", groups, 1, 1)
    n = _divides("channel_shuffle", "channels", x.shape[1], groups)
    return x.reshape(x.shape[0], groups, n, *x.shape[2:]).transpose(1, 2).reshape(x.shape)


class PixelShuffle(Module):
    """``functional.pixel_shuffle`` as a module: (..., c r^2, h, w) -> (..., c, h r, w r)."""

    def __init__(self, upscale_factor: int) -> None:
        self.upscale_factor = upscale_factor

    def forward(self, input: Data) -> Tensor:
        return pixel_shuffle(input, self.upscale_factor)

    def extra_repr(self) -> str:
        return f"upscale_factor={self.upscale_factor}"


class PixelUnshuffle(Module):
    """``functional.pixel_unshuffle`` as a module: (..., c, h r, w r) -> (..., c r^2, h, w)."""

    def __init__(self, downscale_factor: int) -> None:
        self.downscale_factor = downscale_factor

    def forward(self, input: Data) -> Tensor:
        return pixel_unshuffle(input, self.downscale_factor)

    def extra_repr(self) -> str:
        return f"downscale_factor={self.downscale_factor}"


class ChannelShuffle(Module):
    """``functional.channel_shuffle`` as a module."""

    def __init__(self, groups: int) -> None:
        self.groups = groups

    def forward(self, input: Data) -> Tensor:
        return channel_shuffle(input, self.groups)

    def extra_repr(self) -> str:
        return f"groups={self.groups}"


# ----- columns of windows --------------------------------------------------------------------------------------------

def _places(op: str, size: Sequence[int], kernel_size: Integers, dilation: Integers, padding: Integers,
            stride: Integers) -> tuple[tuple[int, ...], tuple[int, ...], list[npt.NDArray[np.int64]]]:
    """The kernel; the padding; for each axis which element of the padded image is under each tap of each window."""
    kernel, spacing, ahead, steps = (integers_of(op, name, value, 2, least) for name, value, least in (
        ("kernel_size", kernel_size, 1), ("dilation", dilation, 1), ("padding", padding, 0), ("stride", stride, 1)))
    found = []
    for n, k, d, p, s in zip(size, kernel, spacing, ahead, steps):
        reach, room = d * (k - 1) + 1, n + 2 * p
        if reach > room:
            raise ShapeError(f"{op}: windows of {kernel} do not fit an image of {tuple(size)} padded by {ahead} "
                             f"({reach} > {room})")
        found.append(d * np.arange(k)[:, None] + s * np.arange((room - reach) // s + 1))
    return kernel, ahead, found


def unfold(input: Data, kernel_size: Integers, dilation: Integers = 1, padding: Integers = 0,
           stride: Integers = 1) -> Tensor:
    """The windows of (m, c, h, w) as columns: (m, c kh kw, number of windows); m may be missing.

    >>> import microgradx as mgx
    >>> from microgradx.nn import functional as F
    >>> F.unfold(mgx.Tensor([[[1.0, 2.0, 3.0]]]), (1, 2))
    Tensor([[1., 2.],
            [2., 3.]])
    """
    x = tensor(input)
    if x.ndim not in (3, 4):
        raise ShapeError(f"unfold: an input of 4 axes, or 3 without the batch, not of shape {x.shape}")
    kernel, ahead, (rows, columns) = _places("unfold", x.shape[-2:], kernel_size, dilation, padding, stride)
    x = pad(x, (ahead[1], ahead[1], ahead[0], ahead[0])) if any(ahead) else x
    windows = x[..., rows[:, None, :, None], columns[None, :, None, :]]         # (m, c, kh, kw, oh, ow)
    c = x.shape[-3]
    return windows.reshape(*x.shape[:-3], c * math.prod(kernel), rows.shape[1] * columns.shape[1])


def fold(input: Data, output_size: Integers, kernel_size: Integers, dilation: Integers = 1, padding: Integers = 0,
         stride: Integers = 1) -> Tensor:
    """Columns (m, c kh kw, number of windows) added up at their places in images (m, c, *output_size); m may be
    missing.

    The transpose of ``unfold``, not its inverse: where windows overlap their numbers are added.

    >>> import microgradx as mgx
    >>> from microgradx.nn import functional as F
    >>> F.fold(mgx.ones(2, 2), (1, 3), (1, 2))
    Tensor([[[1., 2., 1.]]])
    """
    x = tensor(input)
    size = integers_of("fold", "output_size", output_size, 2, 1)
    kernel, ahead, (rows, columns) = _places("fold", size, kernel_size, dilation, padding, stride)
    taps, count = math.prod(kernel), rows.shape[1] * columns.shape[1]
    if x.ndim not in (2, 3) or x.shape[-2] % taps or x.shape[-1] != count:
        raise ShapeError(f"fold: columns (m, c * {taps}, {count}) for {size}, or without the batch, not of shape "
                         f"{x.shape}")
    alone = x.ndim == 2
    x = x.unsqueeze(0) if alone else x
    m, c = x.shape[0], x.shape[1] // taps
    high, wide = size[0] + 2 * ahead[0], size[1] + 2 * ahead[1]
    at = (rows[:, None, :, None] * wide + columns[None, :, None, :]).reshape(-1)
    y = Tensor(np.zeros((m, c, high * wide), x.dtype)).index_add(2, at, x.reshape(m, c, taps * count))
    y = y.reshape(m, c, high, wide)[:, :, ahead[0]:high - ahead[0], ahead[1]:wide - ahead[1]]
    return y.squeeze(0) if alone else y


class Unfold(Module):
    """``functional.unfold`` as a module."""

    def __init__(self, kernel_size: Integers, dilation: Integers = 1, padding: Integers = 0,
                 stride: Integers = 1) -> None:
        self.kernel_size, self.dilation, self.padding, self.stride = kernel_size, dilation, padding, stride

    def forward(self, input: Data) -> Tensor:
        return unfold(input, self.kernel_size, self.dilation, self.padding, self.stride)

    def extra_repr(self) -> str:
        return (f"kernel_size={self.kernel_size}, dilation={self.dilation}, padding={self.padding}, "
                f"stride={self.stride}")


# ----- sampling at any positions -----------------------------------------------------------------------------------

def affine_grid(theta: Data, size: Sequence[int], align_corners: bool | None = None) -> Tensor:
    """The positions that ``grid_sample`` reads for an affine map: theta (m, 2, 3) and size (m, channels, h, w) give
    (m, h, w, 2); theta (m, 3, 4) and size (m, channels, d, h, w) give (m, d, h, w, 3).

    Position (x, y) of the result is theta @ (x, y, 1), where -1 and 1 are the ends of each axis of the output: the
    centres of the outer elements with ``align_corners``, else their outer edges. Jaderberg et al. (2015).

    >>> import microgradx as mgx
    >>> from microgradx.nn import functional as F
    >>> F.affine_grid(mgx.Tensor([[[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]]), (1, 1, 1, 2))
    Tensor([[[[-0.5,  0. ],
              [ 0.5,  0. ]]]])
    """
    t, lengths = tensor(theta), integers_of("affine_grid", "size", size, len(size), 1)
    axes = len(lengths) - 2
    if t.dtype.kind != "f":
        raise DTypeError(f"affine_grid: theta is float32 or float64, not {t.dtype}")
    if axes not in (2, 3) or t.shape != (lengths[0], axes, axes + 1):
        raise ShapeError("affine_grid: theta (m, 2, 3) and size (m, channels, h, w), or (m, 3, 4) and (m, channels, d, "
                         f"h, w), not {t.shape} and {tuple(size)}")
    ends = [1.0 if align_corners else (n - 1) / n for n in lengths[2:]]
    places = [np.linspace(-end, end, n) if n > 1 else np.zeros(1) for n, end in zip(lengths[2:], ends, strict=True)]
    grid = np.stack([*np.meshgrid(*places, indexing="ij")[::-1], np.ones(lengths[2:])], -1)
    found: Tensor = Tensor(grid.reshape(1, -1, axes + 1), dtype=t.dtype) @ t.mT
    return found.reshape((lengths[0], *lengths[2:], axes))


def grid_sample(input: Data, grid: Data, mode: str = "bilinear", padding_mode: str = "zeros",
                align_corners: bool | None = None) -> Tensor:
    """The input, read at the positions of a grid: (m, channels, h, w) at (m, rows, columns, 2) gives (m, channels,
    rows, columns); (m, channels, d, h, w) at (m, ..., 3) likewise.

    The last axis of the grid is (x, y) or (x, y, z), x along the last axis of the input; -1 and 1 are its ends, as in
    ``affine_grid``. ``mode``: "bilinear", "nearest", or for images "bicubic" (Keys 1981, a = -0.75). Positions outside
    read 0, the nearest element with ``padding_mode="border"``, or are mirrored at the ends with "reflection"; where
    these two read an end, it has no gradient of the position, and neither has any "nearest" element. A nan is -1.

    Raises ``ShapeError``, ``DTypeError`` and ``OptionError`` for shapes, dtypes and options that do not fit.

    >>> import microgradx as mgx
    >>> from microgradx.nn import functional as F
    >>> F.grid_sample(mgx.Tensor([[[[1.0, 3.0]]]]), mgx.Tensor([[[[0.0, 0.0], [0.5, 0.0]]]]))
    Tensor([[[[2., 3.]]]])
    """
    x, g = tensor(input), tensor(grid)
    axes = x.ndim - 2
    if x.dtype.kind != "f" or g.dtype != x.dtype:
        raise DTypeError(f"grid_sample: both float32 or both float64, not {x.dtype} and {g.dtype}")
    if axes not in (2, 3) or g.ndim != x.ndim or g.shape[0] != x.shape[0] or g.shape[-1] != axes or not x.size:
        raise ShapeError("grid_sample: (m, channels, h, w) and (m, rows, columns, 2), or one more axis and 3, not "
                         f"{x.shape} and {g.shape}")
    if mode not in ("bilinear", "nearest", "bicubic") or mode == "bicubic" and axes == 3:
        raise OptionError("grid_sample: mode is 'bilinear', 'nearest', or for two axes 'bicubic', not " + repr(mode))
    if padding_mode not in ("zeros", "border", "reflection"):
        raise OptionError(f"grid_sample: padding_mode is 'zeros', 'border' or 'reflection', not {padding_mode!r}")
    g = g.isnan().where(-1.0, g)
    aligned, lengths, places = bool(align_corners), x.shape[2:], g.shape[1:-1]
    taps = [_neighbours(g[..., axes - 1 - d].reshape((len(g), -1)), n, mode, padding_mode, aligned)
            for d, n in enumerate(lengths)]
    flat = x.reshape((*x.shape[:2], -1))
    total: Tensor | None = None
    for chosen in itertools.product(*taps):
        at, factor = chosen[0]
        for n, (index, share) in zip(lengths[1:], chosen[1:], strict=True):
            at, factor = at * n + index, factor * share
        read = flat.gather(2, at.unsqueeze(1).expand((len(x), x.shape[1], at.shape[1]))) * factor.unsqueeze(1)
        total = read if total is None else total + read
    assert total is not None
    return total.reshape((*x.shape[:2], *places))


def _neighbours(g: Tensor, n: int, mode: str, padding_mode: str, aligned: bool) -> list[tuple[Tensor, Tensor]]:
    """Which elements of an axis of n elements positions read: (numbers of elements, factors, 0 outside)."""
    place = (g + 1) * ((n - 1) / 2) if aligned else ((g + 1) * n - 1) / 2
    if mode != "bicubic":
        place = _inside(place, n, padding_mode, aligned)
    if mode == "nearest":
        nowhere = Tensor(np.zeros(g.shape, np.bool_))
        taps = [(place.detach().round(), nowhere.where(g, 1.0))]                # a gradient of g that is 0
    else:
        low = place.detach().floor()
        t = place - low
        if mode == "bilinear":
            taps = [(low, 1 - t), (low + 1, t)]
        else:
            taps = [(_inside(low + k, n, padding_mode, aligned), factor) for k, factor in (
                (-1, _far(t + 1)), (0, _near(t)), (1, _near(1 - t)), (2, _far(2 - t)))]
    return [(at.clip(0, n - 1).astype(np.int64), ((at >= 0) & (at <= n - 1)).where(factor, 0.0)) for at, factor in taps]


def _inside(place: Tensor, n: int, padding_mode: str, aligned: bool) -> Tensor:
    """Positions, moved into an axis of n elements by the rule; "zeros" leaves them outside."""
    if padding_mode == "zeros":
        return place.clip(-2, n + 1)
    if padding_mode == "reflection":
        low, span = (0.0, n - 1.0) if aligned else (-0.5, float(n))
        if span == 0:
            return place * 0.0
        away = (place - low).abs()
        flips = (away.detach() / span).floor()
        rest = away - flips * span
        place = (flips % 2 == 0).where(rest, span - rest) + low
    inside = (place > 0) & (place < n - 1)                                     # at the ends nothing follows the grid
    return inside.where(place, place.detach().clip(0, n - 1))


class Fold(Module):
    """``functional.fold`` as a module."""

    def __init__(self, output_size: Integers, kernel_size: Integers, dilation: Integers = 1, padding: Integers = 0,
                 stride: Integers = 1) -> None:
        self.output_size = output_size
        self.kernel_size, self.dilation, self.padding, self.stride = kernel_size, dilation, padding, stride

    def forward(self, input: Data) -> Tensor:
        return fold(input, self.output_size, self.kernel_size, self.dilation, self.padding, self.stride)

    def extra_repr(self) -> str:
        return (f"output_size={self.output_size}, kernel_size={self.kernel_size}, dilation={self.dilation}, "
                f"padding={self.padding}, stride={self.stride}")


make_public(__name__)
