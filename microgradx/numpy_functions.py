"""Functions of NumPy that mean something else under our name of theirs, or that we have under none, over Tensors.

``FUNCTIONS`` has them by NumPy's name, "linalg.norm", with NumPy's parameters as far as they mean something for a
Tensor. ``interop`` calls them where NumPy is called with a Tensor; the results have a graph.
"""
from __future__ import annotations

import operator
from typing import Any

import numpy as np

from microgradx import arrays, functional, indexing, linalg
from microgradx._core.structured import power_of
from microgradx._core.tensor import Tensor, concat, pad, stack
from microgradx._core.views import axis_of
from microgradx.arrays.common import axes_of, broadcast, floats, tensor
from microgradx.einsum import einsum
from microgradx.errors import OptionError, ShapeError
from microgradx.typing import Function

__all__ = ["FUNCTIONS"]


def merged(x: Tensor, axis: Any) -> tuple[Tensor, int]:
    """x with several axes as the last one, and which axis that is; all of them for None."""
    if axis is None:
        return x.reshape(-1), 0
    axes = axes_of("quantile", axis, x.ndim)
    if len(axes) == 1:
        return x, axes[0]
    rest = tuple(d for d in range(x.ndim) if d not in axes)
    return x.permute(rest + axes).reshape((*(x.shape[d] for d in rest), -1)), len(rest)


def shares(x: Any, q: Any, axis: Any, keepdims: bool, method: str, find: Function, scale: float = 1.0) -> Tensor:
    """Quantiles over one axis or several."""
    x = tensor(x)
    x = x if x.dtype.kind == "f" else x.astype(np.float64)
    flat, d = merged(x, axis)
    wanted = q / scale if isinstance(q, Tensor) else Tensor(np.asarray(q, np.float64) / scale)
    given = wanted.astype(x.dtype) if wanted.ndim == 0 else wanted.reshape(-1).astype(x.dtype)
    found: Tensor = find(flat, given, d, interpolation=method)
    kept = tuple(1 if d in axes_of("quantile", axis, x.ndim) else n for d, n in enumerate(x.shape))
    rest = kept if keepdims else found.shape[min(wanted.ndim, 1):]
    return found.reshape(wanted.shape + rest)


def quantile(a: Any, q: Any, axis: Any = None, *, method: str = "linear", keepdims: bool = False) -> Tensor:
    return shares(a, q, axis, keepdims, method, indexing.quantile)


def nanquantile(a: Any, q: Any, axis: Any = None, *, method: str = "linear", keepdims: Any = False) -> Tensor:
    return shares(a, q, axis, keepdims, method, indexing.nanquantile)


def percentile(a: Any, q: Any, axis: Any = None, *, method: str = "linear", keepdims: bool = False) -> Tensor:
    return shares(a, q, axis, keepdims, method, indexing.quantile, 100)


def nanpercentile(a: Any, q: Any, axis: Any = None, *, method: str = "linear", keepdims: Any = False) -> Tensor:
    return shares(a, q, axis, keepdims, method, indexing.nanquantile, 100)


def median(a: Any, axis: Any = None, *, keepdims: bool = False) -> Tensor:
    return shares(a, 0.5, axis, keepdims, "linear", indexing.quantile)


def nanmedian(a: Any, axis: Any = None, *, keepdims: Any = False) -> Tensor:
    return shares(a, 0.5, axis, keepdims, "linear", indexing.nanquantile)


def filled(x: Any, number: float) -> Tensor:
    """x with a number where it is nan."""
    y = tensor(x)
    return y if y.dtype.kind != "f" else (y != y).where(number, y)


def nanmax(a: Any, axis: Any = None, *, keepdims: Any = False) -> Tensor:
    x, empty = filled(a, -np.inf), (tensor(a) != tensor(a)).all(axis, keepdims)
    return x.amax(axis, keepdims) if x.dtype.kind != "f" else empty.where(np.nan, x.amax(axis, keepdims))


def nanmin(a: Any, axis: Any = None, *, keepdims: Any = False) -> Tensor:
    x, empty = filled(a, np.inf), (tensor(a) != tensor(a)).all(axis, keepdims)
    return x.amin(axis, keepdims) if x.dtype.kind != "f" else empty.where(np.nan, x.amin(axis, keepdims))


def nanstd(a: Any, axis: Any = None, *, ddof: float = 0, keepdims: Any = False) -> Tensor:
    x = floats(a)
    unit = power_of(filled(x, 0.0), axis)                       # in which no distance from a mean overflows
    away = filled(x / unit - arrays.nanmean(x / unit, axis, True), 0.0)
    left = (x == x).sum(axis, keepdims).astype(x.dtype) - ddof
    found = (away.norm(2, axis, True) / left.reshape(unit.shape).sqrt() * unit).reshape(left.shape)
    return (left > 0).where(found, np.nan)


def nanvar(a: Any, axis: Any = None, *, ddof: float = 0, keepdims: Any = False) -> Tensor:
    return nanstd(a, axis, ddof=ddof, keepdims=keepdims).square()


def average(a: Any, axis: Any = None, weights: Any = None, *, keepdims: Any = False) -> Tensor:
    x = floats(a)
    if weights is None:
        return x.mean(axis, keepdims)
    w = tensor(weights)
    w = w if w.dtype.kind == "f" else w.astype(x.dtype)
    if w.shape != x.shape:
        if not isinstance(axis, int) or w.shape != (x.shape[axis],):
            raise ShapeError(f"average: weights of shape {w.shape} for an array of shape {x.shape} along axis {axis}")
        d = axis_of("average", axis, x.ndim)
        w = w.reshape((1,) * d + w.shape + (1,) * (x.ndim - d - 1)).expand(x.shape)
    return (x * w).sum(axis, keepdims) / w.sum(axis, keepdims)


def cov(m: Any, y: Any = None, rowvar: bool = True, bias: bool = False, ddof: Any = None, fweights: Any = None,
        aweights: Any = None) -> Tensor:
    x = tensor(m)
    x = x if rowvar or x.ndim < 2 else x.T
    if y is not None:
        other = tensor(y)
        x = arrays.vstack([x, other if rowvar or other.ndim < 2 else other.T])
    return arrays.cov(x, ddof=ddof if ddof is not None else 0 if bias else 1, fweights=fweights, aweights=aweights)


def corrcoef(x: Any, y: Any = None, rowvar: bool = True) -> Tensor:
    rows = tensor(x)
    rows = rows if rowvar or rows.ndim < 2 else rows.T
    if y is not None:
        other = tensor(y)
        rows = arrays.vstack([rows, other if rowvar or other.ndim < 2 else other.T])
    return arrays.corrcoef(rows)


def gradient(f: Any, *varargs: Any, axis: Any = None, edge_order: int = 1) -> Any:
    x = tensor(f)
    axes = axes_of("gradient", axis, x.ndim)
    spacing = list(varargs) if len(varargs) == len(axes) else list(varargs or [1]) * len(axes)
    found = arrays.gradient(x, spacing=spacing, axis=axes, edge_order=edge_order)
    return found[0] if len(found) == 1 else tuple(found)


def sort(a: Any, axis: Any = -1) -> Tensor:
    return indexing.sort(tensor(a).reshape(-1) if axis is None else a, -1 if axis is None else axis).values


def split(ary: Any, indices_or_sections: Any, axis: int = 0) -> list[Tensor]:
    x = tensor(ary)
    if isinstance(indices_or_sections, (int, np.integer)) and x.shape[axis] % indices_or_sections:
        raise ShapeError(f"split: axis {axis} of length {x.shape[axis]} has no {indices_or_sections} pieces of one "
                         "length")
    return list(arrays.tensor_split(x, indices_or_sections, axis))


def append(arr: Any, values: Any, axis: Any = None) -> Tensor:
    parts = [tensor(arr), tensor(values)]
    return concat([x.reshape(-1) for x in parts] if axis is None else parts, axis or 0)


def delete(arr: Any, obj: Any, axis: Any = None) -> Tensor:
    x = tensor(arr)
    x, d = (x.reshape(-1), 0) if axis is None else (x, axis_of("delete", axis, x.ndim))
    kept = np.delete(np.arange(x.shape[d]), obj)
    return x[(slice(None),) * d + (kept,)]


def select(condlist: Any, choicelist: Any, default: Any = 0) -> Tensor:
    if len(condlist) != len(choicelist) or not condlist:
        raise ShapeError(f"select: {len(condlist)} conditions for {len(choicelist)} choices")
    choices = [tensor(x) for x in choicelist]
    found = Tensor(default, dtype=choices[0].dtype) if not isinstance(default, Tensor) else default
    for mask, choice in zip(reversed(condlist), reversed(choices), strict=True):
        found = functional.where(tensor(mask), choice, found)
    return found


def interp(x: Any, xp: Any, fp: Any, left: Any = None, right: Any = None) -> Tensor:
    points, places, y = tensor(x), tensor(xp), tensor(fp)
    if places.ndim != 1 or places.shape != y.shape or places.size < 2:
        raise ShapeError(f"interp: places of shape {places.shape} and numbers of shape {y.shape}")
    k = indexing.searchsorted(places.detach(), points.detach(), right=True).clip(1, places.size - 1)
    low, gap = places[k - 1], places[k] - places[k - 1]
    found = y[k - 1] + (y[k] - y[k - 1]) * ((points - low) / gap)
    found = (points < places[0]).where(y[0] if left is None else left, found)
    return (points > places[-1]).where(y[-1] if right is None else right, found)


def convolve(a: Any, v: Any, mode: str = "full") -> Tensor:
    x, y = tensor(a), tensor(v)
    if x.ndim != 1 or y.ndim != 1 or not x.size or not y.size:
        raise ShapeError(f"convolve: shapes {x.shape} and {y.shape} are not two vectors of at least one element")
    if mode not in ("full", "same", "valid"):
        raise OptionError(f"convolve: mode={mode!r} is none of 'full', 'same' and 'valid'")
    x, y = (x, y) if x.size >= y.size else (y, x)
    m, n = x.size, y.size
    wide = pad(x, (n - 1, n - 1))
    found = wide[np.arange(m + n - 1)[:, None] + np.arange(n)[::-1]] @ (y if y.dtype == x.dtype else y.astype(x.dtype))
    cut = {"full": (0, m + n - 1), "same": ((n - 1) // 2, (n - 1) // 2 + m), "valid": (n - 1, m)}[mode]
    return found[slice(*cut)]


def correlate(a: Any, v: Any, mode: str = "valid") -> Tensor:
    return convolve(a, tensor(v).flip(0), mode)


def block(arrays_: Any) -> Tensor:
    def depth(x: Any) -> int:
        return 1 + max(map(depth, x)) if isinstance(x, list) else 0

    def joined(x: Any, level: int) -> Tensor:
        if not isinstance(x, list):
            return tensor(x)
        parts = [joined(part, level - 1) for part in x]
        ndim = max(total, *(part.ndim for part in parts))
        parts = [part.reshape((1,) * (ndim - part.ndim) + part.shape) for part in parts]
        return concat(parts, ndim - level)

    total = depth(arrays_)
    found = joined(arrays_, total)
    return found if found.ndim >= total else found.reshape((1,) * (total - found.ndim) + found.shape)


def ediff1d(ary: Any, to_end: Any = None, to_begin: Any = None) -> Tensor:
    found = arrays.diff(tensor(ary).reshape(-1))
    ends = [None if x is None else tensor(x).reshape(-1) for x in (to_begin, to_end)]
    return concat([x for x in (ends[0], found, ends[1]) if x is not None])


def cumulative(name: str) -> Function:
    def call(x: Any, /, *, axis: Any = None, include_initial: bool = False) -> Tensor:
        x = tensor(x)
        if axis is None and x.ndim != 1:
            raise ShapeError(f"cumulative_{name}: of shape {x.shape} an axis must be given")
        d = axis_of(f"cumulative_{name}", 0 if axis is None else axis, x.ndim)
        found = getattr(x, f"cum{name}")(d)
        return found if not include_initial else pad(found, [(int(k == d), 0) for k in range(x.ndim)],
                                                     0 if name == "sum" else 1)
    return call


def moment(name: str) -> Function:
    """``mean``, ``std`` and so on, with no dtype to choose."""
    def call(a: Any, axis: Any = None, *, ddof: float = 0, keepdims: Any = False, correction: Any = None) -> Tensor:
        x = tensor(a)
        x = x if x.dtype.kind == "f" else x.astype(np.float64)
        found: Tensor = getattr(x, name)(axis, ddof if correction is None else correction, bool(keepdims))
        return found
    return call


def norm(x: Any, ord: Any = None, axis: Any = None, keepdims: bool = False) -> Tensor:
    return linalg.norm(floats(x), ord, axis, keepdims)


def dot(a: Any, b: Any) -> Any:
    return arrays.tensordot(a, b, ([-1], [-min(np.ndim(b), 2)])) if np.ndim(a) and np.ndim(b) else a * b


def unique(ar: Any, return_index: bool = False, return_inverse: bool = False, return_counts: bool = False,
           axis: Any = None, *, equal_nan: bool = True) -> Any:
    x = tensor(ar)
    flat = x.reshape(-1) if axis is None else x
    _, first, inverse, counts = np.unique(x.detach().numpy(), True, True, True, axis, equal_nan=equal_nan)
    values = flat[(slice(None),) * (0 if axis is None else axis_of("unique", axis, x.ndim)) + (first,)]
    found = (values, *(Tensor(part) for part, wanted in (
        (first, return_index), (inverse, return_inverse), (counts, return_counts)) if wanted))
    return found if len(found) > 1 else found[0]


def meshgrid(*xi: Any, indexing: str = "xy") -> tuple[Tensor, ...]:
    return arrays.meshgrid(*xi, indexing=indexing)


def swapped(x: Any, axis: int, start: int = 0) -> Tensor:
    y = tensor(x)
    d = axis_of("rollaxis", axis, y.ndim)
    start = start + y.ndim if start < 0 else start
    return y.movedim(d, start - 1 if d < start else start)


FUNCTIONS: dict[str, Function] = {f.__name__: f for f in (
    append, average, block, convolve, corrcoef, correlate, cov, delete, dot, ediff1d, gradient, interp, median,
    meshgrid, nanmax, nanmedian, nanmin, nanpercentile, nanquantile, nanstd, nanvar, percentile, quantile, select, sort,
    split, unique)} | {
    "array_split": lambda ary, indices_or_sections, axis=0: list(arrays.tensor_split(ary, indices_or_sections, axis)),
    "broadcast_arrays": lambda *args: broadcast("broadcast_arrays", *map(tensor, args)),
    "compress": lambda condition, a, axis=None: (tensor(a).reshape(-1) if axis is None else tensor(a))[
        (slice(None),) * (axis or 0) + (np.flatnonzero(condition),)],
    "cross": lambda a, b, axisa=-1, axisb=-1, axisc=-1, axis=None: arrays.movedim(linalg.cross(
        arrays.movedim(a, axisa if axis is None else axis, -1), arrays.movedim(b, axisb if axis is None else axis, -1)),
        -1, axisc if axis is None else axis),
    "cumulative_prod": cumulative("prod"), "cumulative_sum": cumulative("sum"), "einsum": einsum,
    "dsplit": lambda ary, indices_or_sections: list(arrays.dsplit(ary, indices_or_sections)),
    "hsplit": lambda ary, indices_or_sections: list(arrays.hsplit(ary, indices_or_sections)),
    "vsplit": lambda ary, indices_or_sections: list(arrays.vsplit(ary, indices_or_sections)),
    "expand_dims": arrays.expand_dims, "extract": lambda condition, arr: tensor(arr).reshape(-1)[
        np.flatnonzero(condition)],
    "fix": lambda x: tensor(x).trunc(), "linalg.norm": norm, "std": moment("std"), "var": moment("var"),
    "linalg.matmul": lambda x1, x2: linalg.matmul(x1, x2), "linalg.outer": lambda x1, x2: linalg.outer(x1, x2),
    "linalg.tensordot": lambda x1, x2, *, axes=2: arrays.tensordot(x1, x2, axes),
    "linalg.vecdot": lambda x1, x2, *, axis=-1: linalg.vecdot(x1, x2, axis),
    "linalg.cross": lambda x1, x2, *, axis=-1: linalg.cross(x1, x2, axis),
    "matrix_transpose": lambda x: linalg.matrix_transpose(x),
    "linalg.matrix_transpose": lambda x: linalg.matrix_transpose(x),
    "nancumprod": lambda a, axis=None: filled(a, 1.0).cumprod(axis),
    "nancumsum": lambda a, axis=None: filled(a, 0.0).cumsum(axis),
    "nanprod": lambda a, axis=None, *, keepdims=False: filled(a, 1.0).prod(axis, bool(keepdims)),
    "nonzero": lambda a: indexing.nonzero(a, as_tuple=True), "partition": lambda a, kth, axis=-1: sort(a, axis),
    "permute_dims": lambda a, axes=None: tensor(a).transpose() if axes is None else tensor(a).permute(axes),
    "ptp": lambda a, axis=None, *, keepdims=False: tensor(a).amax(axis, bool(keepdims)) - tensor(a).amin(
        axis, bool(keepdims)),
    "real": tensor, "real_if_close": tensor, "rollaxis": swapped, "sinc": lambda x: arrays.sinc(x),
    "searchsorted": lambda a, v, side="left", sorter=None: indexing.searchsorted(a, v, side=side, sorter=sorter),
    "stack": lambda arrays, axis=0: stack(arrays, axis),
    "take": lambda a, indices, axis=None: indexing.take(a, tensor(indices).astype(np.int64), axis),
    "transpose": lambda a, axes=None: tensor(a).transpose() if axes is None else tensor(a).permute(axes),
    "union1d": lambda ar1, ar2: unique(append(ar1, ar2)), "unstack": lambda x, *, axis=0: arrays.unbind(x, axis),
    "vdot": lambda a, b: arrays.vdot(tensor(a).reshape(-1), tensor(b).reshape(-1)),
    "where": lambda condition, *of: functional.where(condition, *of) if of else indexing.nonzero(
        condition, as_tuple=True)}


def numpys(name: str) -> Any:
    """NumPy's function of that name; None before the version that has it."""
    try:
        return operator.attrgetter(name)(np)
    except AttributeError:
        return None
