"""Order, indices and masks: what is sorted, picked or written by position. As ``arrays``: functions and methods."""
from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from microgradx._core.creation import integers
from microgradx._core.launch import by_parts, capturing, composite, compute, note_as_it_is
from microgradx._core.structured import HostOperation, KernelOperation, sort_along
from microgradx._core.tensor import Tensor, attach
from microgradx._core.views import along, axis_of, check_along
from microgradx.arrays.common import as_operand, at, broadcast, least_axes, of_line, of_tensor, tensor
from microgradx.errors import DTypeError, IndexError_, OptionError, ShapeError
from microgradx.inplace import in_place
from microgradx.names import make_public
from microgradx.typing import Axis, Data, Function

__all__ = ["argsort", "argwhere", "bincount", "bucketize", "diagonal_scatter", "histc", "histogram", "index_add",
           "index_copy", "index_fill", "index_put", "index_reduce", "index_select", "isin", "kthvalue", "masked_fill",
           "masked_scatter", "masked_select", "median", "mode", "msort", "nanmedian", "nanquantile", "nonzero", "put",
           "quantile", "scatter", "scatter_reduce", "searchsorted", "select_scatter", "slice_scatter", "sort", "take",
           "take_along_axis", "take_along_dim", "topk", "unique", "unique_consecutive", "unravel_index"]

METHODS = [name for name in __all__ if name not in ("bucketize", "isin", "searchsorted", "unravel_index")]


# ----- order -----------------------------------------------------------------------------------------------------

class Sorted(NamedTuple):
    """What ``sort``, ``topk`` and ``median`` along an axis give."""
    values: Tensor
    indices: Tensor


def _sort_into(out: npt.NDArray[Any], x: npt.NDArray[Any], axis: int, descending: bool) -> None:
    by_parts(_sort_part, out, x, axis, (axis, descending))


def _sort_part(out: npt.NDArray[Any], x: npt.NDArray[Any], axis: int, descending: bool) -> None:
    if descending:                              # a stable sort of what is read backwards, itself read backwards
        out[...] = x.shape[axis] - 1 - np.flip(np.argsort(np.flip(x, axis), axis, kind="stable"), axis)
    else:
        out[...] = np.argsort(x, axis, kind="stable")


_argsort: Callable[..., Tensor] = HostOperation("argsort", lambda x, *_: [(x.shape, np.int64)], _sort_into)


@of_tensor
@of_line
def argsort(x: Tensor, axis: int = -1, descending: bool = False, stable: bool = True) -> Tensor:
    """The positions that sort ``x`` along ``axis``; equal elements keep their order, whether ``stable`` asks for it or
    not; nan counts as the largest."""
    return in_order(x.detach(), axis_of("argsort", axis, x.ndim), bool(descending)).indices


def in_order(x: Tensor, d: int, descending: bool) -> Sorted:
    """(values, indices) along axis d."""
    if x.dtype.kind == "f" and x.shape[d] < 2**32:
        return Sorted(*sort_along(x, d, descending))
    order = _argsort(x, d, descending)
    return Sorted(x.gather(d, order), order)


@of_tensor
@of_line
def sort(x: Tensor, axis: int = -1, descending: bool = False, stable: bool = True) -> Sorted:
    """(values, indices), in order along ``axis``; equal elements keep theirs, whether ``stable`` asks for it or not;
    nan counts as the largest.

    >>> import microgradx as mgx
    >>> mgx.sort(mgx.Tensor([3.0, 1.0, 2.0]))
    Sorted(values=Tensor([1., 2., 3.]), indices=Tensor([1, 2, 0], dtype=int64))
    """
    return in_order(x, axis_of("sort", axis, x.ndim), bool(descending))


def _sizes_along(x: Tensor, d: int, rank: int, k: int, descending: bool) -> tuple[tuple[int, ...], tuple[()]]:
    return (math.prod(x.shape[:d]), x.shape[d], math.prod(x.shape[d + 1:]), rank, k, int(descending)), ()


_select: Callable[..., Tensor] = KernelOperation(
    "select", lambda x, d, rank, k, descending: [((*x.shape[:d], k, *x.shape[d + 1:]), np.int64)], _sizes_along)


@composite("select")
def _select_by_sorting(x: Tensor, *, rank: int, k: int, descending: int, **sizes: int) -> Tensor:
    if rank < 0:
        return Tensor(_middle(x.numpy(), 1, rank == -2))
    return in_order(x, 1, bool(descending)).indices[:, rank:rank + k]


def places_in_order(x: Tensor, d: int, rank: int, k: int, descending: bool) -> Tensor:
    """Where the elements of the ranks from ``rank`` on, counted from 0, are along axis d."""
    if x.dtype.kind == "f" and x.shape[d] < 2**32 and x.size:
        return _select(x.detach(), d, rank, k, descending)
    return at(argsort(x, d, descending), d, slice(rank, rank + k)).clone()


@of_tensor
@of_line
def topk(x: Tensor, k: int, axis: int = -1, largest: bool = True, sorted: bool = True) -> Sorted:
    """(values, indices) of the ``k`` largest, or smallest, elements along ``axis``, in order, whether ``sorted`` asks
    for it or not.

    >>> import microgradx as mgx
    >>> mgx.topk(mgx.Tensor([3.0, 1.0, 2.0]), 2).values
    Tensor([3., 2.])
    """
    d = axis_of("topk", axis, x.ndim)
    if not 0 <= k <= x.shape[d]:
        raise OptionError(f"topk: {k} of axis {d} of length {x.shape[d]} ({k} is not within 0..{x.shape[d]})")
    order = places_in_order(x, d, 0, k, bool(largest))
    return Sorted(x.gather(d, order), order)


def _middle(x: npt.NDArray[Any], axis: int, skip_nan: bool) -> npt.NDArray[np.int64]:
    """Where the median stands along ``axis``."""
    n, nans = x.shape[axis], np.isnan(x).sum(axis, keepdims=True)       # nans stand at the end
    place = np.maximum((n - nans - 1) // 2, 0) if skip_nan else np.where(nans, n - nans, (n - 1) // 2)
    return np.take_along_axis(np.argsort(x, axis, kind="stable"), place, axis)


def _middle_part(out: npt.NDArray[Any], x: npt.NDArray[Any], axis: int, skip_nan: bool) -> None:
    out[...] = _middle(x, axis, skip_nan)


_argmedian: Callable[..., Tensor] = HostOperation(
    "median", lambda x, axis, _: [(x.shape[:axis] + (1,) + x.shape[axis + 1:], np.int64)],
    lambda out, x, axis, skip_nan: by_parts(_middle_part, out, x, axis, (axis, skip_nan)))


def _median_vjp(g: Tensor, y: Tensor, x: Tensor, _: bool) -> Tensor:
    """g in equal shares to the elements that are the median."""
    alike = ((x == y) | (x != x) & (y != y)).astype(x.dtype)
    return alike * (g / alike.sum())


def middle_place(x: Tensor, d: int, skip_nan: bool) -> Tensor:
    """Where the median stands along axis d."""
    if x.dtype.kind == "f" and x.shape[d] < 2**32 and x.size:
        return _select(x.detach(), d, -2 if skip_nan else -1, 1, False)
    return _argmedian(x, d, skip_nan)


_median: Callable[..., Tensor] = HostOperation(
    "median", lambda x, _: [((), x.dtype)],
    lambda out, x, skip_nan: np.copyto(out, x[middle_place(Tensor(x), 0, skip_nan).item()]), [[_median_vjp]])


def middle(op: str, x: Tensor, axis: Axis, keepdims: bool, skip_nan: bool) -> Any:
    """The median, of all elements or of those that are not nan."""
    flat = x.reshape(-1) if axis is None or x.ndim == 0 else x
    d = axis_of(op, 0 if axis is None else axis, flat.ndim)
    if flat.shape[d] == 0:
        raise ShapeError(f"{op}: of no elements, shape {x.shape}" + ("" if axis is None else f" along axis {d}"))
    if axis is None:
        return _median(flat, skip_nan).reshape((1,) * x.ndim if keepdims else ())
    place = middle_place(flat, d, skip_nan)
    values = flat.gather(d, place)
    if x.ndim == 0:
        return Sorted(values.reshape(()), place.reshape(()))
    return Sorted(values, place) if keepdims else Sorted(values.squeeze(d), place.squeeze(d))


@of_tensor
def median(x: Tensor, axis: Axis = None, keepdims: bool = False) -> Any:
    """The middle element, of an even number the lower, as torch; nan if one is nan. Along ``axis`` (values, indices).

    Without an axis the gradient is split evenly among elements equal to the median.

    >>> import microgradx as mgx
    >>> mgx.median(mgx.Tensor([4.0, 1.0, 3.0, 2.0]))
    Tensor(2.)
    """
    return middle("median", x, axis, keepdims, False)


@of_tensor
def nanmedian(x: Tensor, axis: Axis = None, keepdims: bool = False) -> Any:
    """``median`` of the elements that are not nan; nan where there are none."""
    return middle("nanmedian", x, axis, keepdims, True)


@of_tensor
def msort(x: Tensor) -> Tensor:
    """In order along the first axis."""
    return sort(x, 0).values


@of_tensor
@of_line
def kthvalue(x: Tensor, k: int, axis: int = -1, keepdims: bool = False) -> Sorted:
    """(value, index) of the ``k``-th smallest element along ``axis``, counted from 1.

    >>> import microgradx as mgx
    >>> mgx.kthvalue(mgx.Tensor([3.0, 1.0, 2.0]), 2)
    Sorted(values=Tensor(2.), indices=Tensor(2, dtype=int64))
    """
    d, (count,) = axis_of("kthvalue", axis, x.ndim), integers("kthvalue", "k", (k,))
    if not 1 <= count <= x.shape[d]:
        raise OptionError(f"kthvalue: k={count} is not within 1..{x.shape[d]}, the length of axis {d}")
    place = places_in_order(x, d, count - 1, 1, False)
    return picked(x, d, place, keepdims)


def picked(x: Tensor, d: int, place: Tensor, keepdims: bool) -> Sorted:
    """The elements at the positions ``place``, of which there is one along axis d, and these."""
    values = x.gather(d, place)
    return Sorted(values, place) if keepdims else Sorted(values.squeeze(d), place.squeeze(d))


def _mode_into(out: npt.NDArray[Any], x: npt.NDArray[Any], axis: int) -> None:
    order = np.argsort(x, axis, kind="stable")
    ordered = np.moveaxis(np.take_along_axis(x, order, axis), axis, -1)
    n = ordered.shape[-1]
    new = np.ones(ordered.shape, bool)
    new[..., 1:] = ordered[..., 1:] != ordered[..., :-1]
    since = np.maximum.accumulate(np.where(new, np.arange(n), 0), -1)
    last = np.argmax(np.arange(n) - since, -1)[..., None]       # where the first of the longest runs ends
    out[...] = np.moveaxis(np.take_along_axis(np.moveaxis(order, axis, -1), last, -1), -1, axis)


_argmode: Callable[..., Tensor] = HostOperation(
    "mode", lambda x, axis: [(x.shape[:axis] + (1,) + x.shape[axis + 1:], np.int64)], _mode_into)


@of_tensor
@of_line
def mode(x: Tensor, axis: int = -1, keepdims: bool = False) -> Sorted:
    """(value, index) of the element that is most frequent along ``axis``: the smallest of several, its last place.

    >>> import microgradx as mgx
    >>> mgx.mode(mgx.Tensor([2.0, 1.0, 2.0])).values
    Tensor(2.)
    """
    d = axis_of("mode", axis, x.ndim)
    if x.shape[d] == 0:
        raise ShapeError(f"mode: of no elements, shape {x.shape} along axis {d}")
    return picked(x, d, _argmode(x, d), keepdims)


INTERPOLATIONS = ("linear", "lower", "higher", "midpoint", "nearest")


@of_tensor
def quantile(x: Tensor, q: Data, axis: Axis = None, keepdims: bool = False, *,
             interpolation: str = "linear") -> Tensor:
    """The numbers below which the shares ``q`` (0 to 1) of the elements along ``axis``, or of all, are.

    ``q`` is a number, or 1-D: then the first axis of the result has one entry for each. Between two elements
    ``interpolation`` is "linear", "lower", "higher", "nearest" or "midpoint". nan if one element is nan.

    >>> import microgradx as mgx
    >>> mgx.quantile(mgx.Tensor([1.0, 2.0, 4.0]), 0.75)
    Tensor(3.)
    """
    return shares("quantile", x, q, axis, keepdims, interpolation, False)


@of_tensor
def nanquantile(x: Tensor, q: Data, axis: Axis = None, keepdims: bool = False, *,
                interpolation: str = "linear") -> Tensor:
    """``quantile`` of the elements that are not nan; nan where there are none."""
    return shares("nanquantile", x, q, axis, keepdims, interpolation, True)


def shares(op: str, x: Tensor, q: Data, axis: Axis, keepdims: bool, interpolation: str, skip_nan: bool) -> Tensor:
    """The quantiles ``q`` by sorting: between the two elements at the rank q (count - 1)."""
    if x.dtype.kind != "f":
        raise DTypeError(f"{op}: of floats, not of {x.dtype}")
    if interpolation not in INTERPOLATIONS:
        raise OptionError(f"{op}: interpolation={interpolation!r} is none of {', '.join(INTERPOLATIONS)}")
    q = Tensor(q, dtype=x.dtype) if isinstance(q, (int, float)) else tensor(q)
    if q.ndim > 1 or q.dtype != x.dtype:
        raise ShapeError(f"{op}: q is a number or has one axis and the dtype of x, {x.dtype}; it is {q.dtype} of "
                         f"shape {q.shape}")
    if not capturing() and not bool(((q >= 0) & (q <= 1)).sum() == q.size):
        raise OptionError(f"{op}: q is within 0..1, not {q.tolist()}")
    flat = x.reshape(-1) if axis is None or x.ndim == 0 else x
    d = axis_of(op, 0 if axis is None else axis, flat.ndim)
    n = flat.shape[d]
    if n == 0:
        raise ShapeError(f"{op}: of no elements, shape {x.shape}")
    ordered = sort(flat, d).values.transpose(d, -1)
    whole = (ordered == ordered).sum(-1, keepdims=True).astype(x.dtype)     # how many are not nan
    row = q.reshape(-1)
    if skip_nan:
        rank = row * (whole - 1).clip(0.0, None)
    else:
        rank = (whole < n).where(n - 1.0, (row * (n - 1)).expand(ordered.shape[:-1] + row.shape))
    below = rank.round() if interpolation == "nearest" else rank.ceil() if interpolation == "higher" else rank.floor()
    found = ordered.gather(-1, below.astype(np.int64))
    if interpolation in ("linear", "midpoint"):
        above = ordered.gather(-1, rank.ceil().astype(np.int64))
        weight = Tensor(0.5, dtype=x.dtype) if interpolation == "midpoint" else rank - below
        ends = (found.abs() == np.inf) | (above.abs() == np.inf)            # whose difference may be no number
        mean = (above == found).where(found, found * (1 - weight) + above * weight)
        found = ends.where(mean, found.lerp(above, weight))
    found = found.transpose(d, -1)              # the quantiles in the place of the axis
    order = (d, *(k for k in range(found.ndim) if k != d))
    found = found.permute(order)
    rest = flat.shape[:d] + flat.shape[d + 1:]
    if keepdims:
        rest = (1,) * x.ndim if axis is None else x.shape[:d] + (1,) * bool(x.ndim) + x.shape[d + 1:]
    return found.reshape(q.shape + rest)


# ----- indices and masks -----------------------------------------------------------------------------------------

def positions(op: str, index: Data, axis: int, length: int) -> Tensor | npt.NDArray[np.int64]:
    """An index of one axis: int64, one-dimensional, within ``length``."""
    index = tensor(index)
    if index.dtype != np.int64 and index.size:
        raise DTypeError(f"{op}: an index is an int64 tensor, not {index.dtype}")
    if index.ndim > 1:
        raise ShapeError(f"{op}: an index has one axis, not shape {index.shape}")
    if capturing():                                                         # checked when it is used
        return index.reshape(-1)
    index = np.array(index, np.int64).reshape(-1)
    if index.size and not -length <= index.min() <= index.max() < length:
        bad = index[(index < -length) | (index >= length)]
        raise IndexError_(f"{op}: index {bad[0]} is out of range for axis {axis} of length {length}")
    return index


@of_tensor
@of_line
def index_select(x: Tensor, axis: int, index: Data) -> Tensor:
    """What stands at the positions ``index`` along ``axis``.

    >>> import microgradx as mgx
    >>> mgx.index_select(mgx.Tensor([1.0, 2.0, 3.0]), 0, [2, 0])
    Tensor([3., 1.])
    """
    d = axis_of("index_select", axis, x.ndim)
    return at(x, d, positions("index_select", index, d, x.shape[d]))


@of_tensor
@of_line
def index_add(x: Tensor, axis: int, index: Data, source: Data, *, alpha: float = 1) -> Tensor:
    """A copy with ``alpha * source`` added at the positions ``index`` along ``axis``; a position may repeat.

    >>> import microgradx as mgx
    >>> mgx.index_add(mgx.Tensor([0.0, 0.0]), 0, [1, 1], mgx.Tensor([1.0, 2.0]))
    Tensor([0., 3.])
    """
    d, index, source = slots("index_add", x, axis, index, source)
    expected = source.shape
    grid = tensor(index).reshape((-1,) + (1,) * (x.ndim - d - 1)).expand(expected)
    return x.scatter_add(d, grid, source if alpha == 1 else source * alpha)


def slots(op: str, x: Tensor, axis: int, index: Data, source: Data) -> tuple[int, Any, Tensor]:
    """The axis, the positions along it, and the source, which has one part for each."""
    d, source = axis_of(op, axis, x.ndim), tensor(source)
    index = positions(op, index, d, x.shape[d])
    expected = x.shape[:d] + index.shape + x.shape[d + 1:]
    source = source.reshape(expected) if source.ndim == 0 and index.size == 1 and x.size <= x.shape[d] else source
    if source.shape != expected:
        raise ShapeError(f"{op}: a source of shape {source.shape} for {index.size} positions along axis {d} of "
                         f"shape {x.shape} ({source.shape} != {expected})")
    return d, index, source


@of_tensor
@of_line
def index_copy(x: Tensor, axis: int, index: Data, source: Data) -> Tensor:
    """A copy with ``source`` written at the positions ``index`` along ``axis``; the last of several stays.

    >>> import microgradx as mgx
    >>> mgx.index_copy(mgx.zeros(3), 0, [2, 0], mgx.Tensor([1.0, 5.0]))
    Tensor([5., 0., 1.])
    """
    d, index, source = slots("index_copy", x, axis, index, source)
    if source.dtype != x.dtype:
        raise DTypeError(f"index_copy: a source of {source.dtype} for a tensor of {x.dtype}")
    out = x.clone()
    out[(slice(None),) * d + (index,)] = source
    return out


@of_tensor
@of_line
def index_fill(x: Tensor, axis: int, index: Data, value: Data) -> Tensor:
    """A copy with the number ``value`` at the positions ``index`` along ``axis``.

    >>> import microgradx as mgx
    >>> mgx.index_fill(mgx.zeros(3), 0, [2, 0], 7.0)
    Tensor([7., 0., 7.])
    """
    d, out = axis_of("index_fill", axis, x.ndim), x.clone()
    if isinstance(value, Tensor) and value.ndim:
        raise ShapeError(f"index_fill: a value is a number or a tensor without axes, not of shape {value.shape}")
    out[(slice(None),) * d + (positions("index_fill", index, d, x.shape[d]),)] = value
    return out


@of_tensor
def index_put(x: Tensor, indices: Sequence[Data], values: Data, accumulate: bool = False) -> Tensor:
    """A copy with ``values`` at ``x[indices]``, a tuple of tensors of integers that broadcast, or of masks; where
    ``accumulate`` they are added, and a position may repeat.

    >>> import microgradx as mgx
    >>> mgx.index_put(mgx.zeros(3), (mgx.arange(2),), mgx.Tensor([1.0, 2.0]))
    Tensor([1., 2., 0.])
    """
    key, values = tuple(None if k is None else tensor(k) for k in indices), as_operand(x, values)
    if values.dtype != x.dtype:
        raise DTypeError(f"index_put: values of {values.dtype} for a tensor of {x.dtype}")
    if not accumulate:
        out = x.clone()
        out[tuple(slice(None) if k is None else k for k in key)] = values
        return out
    numbers = Tensor(np.arange(x.size).reshape(x.shape))[tuple(slice(None) if k is None else k for k in key)]
    try:
        values = values.expand(numbers.shape)
    except ShapeError:
        raise ShapeError(f"index_put: values of shape {values.shape} for {numbers.shape} positions") from None
    return x.reshape(-1).scatter_add(0, numbers.reshape(-1), values.reshape(-1)).reshape(x.shape)


@of_tensor
def scatter(x: Tensor, axis: int, index: Data, source: Any, *, reduce: str | None = None) -> Tensor:
    """A copy with ``source[i, j]`` written at ``[index[i, j], j]`` for axis 0, and so on; the last of several stays.

    ``source`` may be a number. With ``reduce`` "add" or "multiply" it is added to what is there, or multiplied with it.

    >>> import microgradx as mgx
    >>> mgx.scatter(mgx.zeros(3), 0, [2, 0], mgx.Tensor([1.0, 5.0]))
    Tensor([5., 0., 1.])
    """
    if reduce is not None:
        if reduce not in ("add", "multiply"):
            raise OptionError(f"scatter: reduce={reduce!r} is neither 'add' nor 'multiply'")
        index = tensor(index)
        if x.dtype.kind != "f" and isinstance(source, (float, np.floating)) and is_whole(source):
            source = int(source)
        parts = source if isinstance(source, Tensor) else as_operand(x, source).expand(index.shape)
        return scatter_reduce(x, axis, index, parts, "sum" if reduce == "add" else "prod")
    d, index, out = axis_of("scatter", axis, x.ndim), tensor(index), x.clone()
    if x.ndim == 0:
        return scatter(x.reshape(1), 0, index.reshape(-1), source, reduce=reduce).reshape(())
    if index.ndim == 0:                             # a point counts as a line of one
        index = index.reshape(1)
    check_along("scatter", x, d, index)
    if isinstance(source, (Tensor, np.ndarray)) and source.ndim:
        if source.ndim != index.ndim or max(m - n for m, n in zip(index.shape, source.shape, strict=True)) > 0:
            raise ShapeError(f"scatter: index of shape {index.shape} exceeds the source's {source.shape}")
        source = source[tuple(map(slice, index.shape))]
    out[along(index, d)] = source
    return out


REDUCTIONS = ("sum", "prod", "mean", "amax", "amin")


@of_tensor
@of_line
def scatter_reduce(x: Tensor, axis: int, index: Data, source: Data, reduce: str, *,
                   include_self: bool = True) -> Tensor:
    """x with all of ``source`` that ``index`` sends to an element, as in ``scatter_add``, reduced with it.

    ``reduce`` is "sum", "prod", "mean", "amax" or "amin"; without ``include_self`` what x has at these elements does
    not count. The gradient of a maximum is split evenly among ties. "prod" takes memory for all pairs of positions
    and parts of the source along ``axis``.

    >>> import microgradx as mgx
    >>> mgx.scatter_reduce(mgx.zeros(2), 0, [0, 1, 0], mgx.Tensor([3.0, 1.0, 2.0]), "amax")
    Tensor([3., 1.])
    """
    if reduce not in REDUCTIONS:
        raise OptionError(f"scatter_reduce: reduce={reduce!r} is none of {', '.join(REDUCTIONS)}")
    d, index, source = axis_of("scatter_reduce", axis, x.ndim), tensor(index), tensor(source)
    if index.ndim == 0:
        index, source = index.reshape(1), source.reshape(1)
    check_along("scatter_reduce", x, d, index)
    if source.dtype != x.dtype:
        raise DTypeError(f"scatter_reduce: a source of {source.dtype} for a tensor of {x.dtype}")
    if source.ndim != index.ndim or max(m - n for m, n in zip(index.shape, source.shape, strict=True)) > 0:
        raise ShapeError(f"scatter_reduce: index of shape {index.shape} exceeds the source's {source.shape}")
    source = source[tuple(map(slice, index.shape))]
    if not index.size:
        return x.clone()
    zeros = Tensor(np.zeros(x.shape, np.int64))
    counts = zeros.scatter_add(d, index, Tensor(np.ones(index.shape, np.int64)))
    touched = counts > 0
    if reduce in ("sum", "mean"):
        base = x if include_self else touched.where(Tensor(np.zeros((), x.dtype)), x)
        total = base.scatter_add(d, index, source)
        if reduce == "sum":
            return total
        parts = touched.where(counts + int(include_self), 1)
        return total / parts.astype(x.dtype) if x.dtype.kind == "f" else total // parts
    if reduce == "prod":
        return products(x, d, index, source, touched, include_self)
    return ties(x, d, index, source, touched, include_self, reduce == "amax")


def products(x: Tensor, d: int, index: Tensor, source: Tensor, touched: Tensor, include_self: bool) -> Tensor:
    """``scatter_reduce`` by products: every part of the source with every position, 1 where it does not belong."""
    places = Tensor(np.arange(x.shape[d]).reshape((-1,) + (1,) * (x.ndim - d)))
    one = Tensor(np.ones((), x.dtype))
    found = (index.unsqueeze(d) == places).where(source.unsqueeze(d), one).prod(d + 1)
    region = tuple(slice(n if k != d else x.shape[d]) for k, n in enumerate(index.shape))
    whole = Tensor(np.ones(x.shape, x.dtype))
    whole[region] = found
    return whole * (x if include_self else touched.where(one, x))


# 0, with the gradient of its operand: at an infinity, too, of which x - x.detach() is nan
_nothing: Function = HostOperation("scatter_reduce", lambda x: [(x.shape, x.dtype)], lambda out, x: out.fill(0),
                                   [[lambda g, y, x: g]])


def ties(x: Tensor, d: int, index: Tensor, source: Tensor, touched: Tensor, include_self: bool,
         largest: bool) -> Tensor:
    """``scatter_reduce`` by the largest or the smallest: found first, then as the mean of all that are equal to it."""
    start = x.detach() if include_self else touched.where(Tensor(lowest(x.dtype, largest)), x.detach())
    top = compute(_extremes, start, index, source.detach(), d, largest)
    if x.dtype.kind != "f":
        return top
    mine = (x == top) if include_self else ((x == top) & ~touched)
    theirs = source == top.gather(d, index)
    parts = theirs.where(_nothing(source), 0.0)
    same = mine.where(_nothing(x), 0.0).scatter_add(d, index, parts)
    count = mine.astype(x.dtype).scatter_add(d, index, theirs.astype(x.dtype))
    return top + same / (count > 0).where(count, 1.0)


def lowest(dtype: Any, largest: bool) -> Any:
    """What every number is larger than, or smaller."""
    if dtype.kind == "f":
        return np.array(-np.inf if largest else np.inf, dtype)
    low, high = (False, True) if dtype == np.bool_ else (np.iinfo(dtype).min, np.iinfo(dtype).max)
    return np.array(low if largest else high, dtype)


def _extremes(start: Any, index: Any, source: Any, axis: int, largest: bool) -> Any:
    out = start.copy()
    (np.maximum if largest else np.minimum).at(out, along(index, axis), source)
    return out


@of_tensor
def index_reduce(x: Tensor, axis: int, index: Data, source: Data, reduce: str, *,
                 include_self: bool = True) -> Tensor:
    """``scatter_reduce`` of whole parts of ``source``, as ``index_add``: "prod", "mean", "amax" or "amin"."""
    if reduce not in REDUCTIONS[1:]:
        raise OptionError(f"index_reduce: reduce={reduce!r} is none of {', '.join(REDUCTIONS[1:])}")
    if x.ndim == 0:
        return index_reduce(x.reshape(1), axis, index, tensor(source).reshape(-1), reduce,
                            include_self=include_self).reshape(())
    d, index, source = slots("index_reduce", x, axis, index, source)
    grid = tensor(index).reshape((-1,) + (1,) * (x.ndim - d - 1)).expand(source.shape)
    return scatter_reduce(x, d, grid, source, reduce, include_self=include_self)


@of_tensor
def take(x: Tensor, index: Data, axis: Axis = None) -> Tensor:
    """The elements at the positions ``index`` of the flattened tensor, in the shape of ``index``; with ``axis``, as
    NumPy, along that.

    >>> import microgradx as mgx
    >>> mgx.take(mgx.Tensor([[1.0, 2.0], [3.0, 4.0]]), [[3], [0]]).tolist()
    [[4.0], [1.0]]
    """
    index = tensor(index)
    if index.dtype != np.int64:
        if index.size:
            raise DTypeError(f"take: an index is an int64 tensor, not {index.dtype}")
        index = index.astype(np.int64)
    if axis is None:
        return x.reshape(-1)[index]
    return at(x, axis_of("take", axis, x.ndim), index)


@of_tensor
def put(x: Tensor, index: Data, source: Data, accumulate: bool = False) -> Tensor:
    """A copy with ``source`` at the positions ``index`` of the flattened tensor, or with ``accumulate`` added there.

    >>> import microgradx as mgx
    >>> mgx.put(mgx.zeros(3), [0, 0], mgx.Tensor([1.0, 2.0]), accumulate=True).tolist()
    [3.0, 0.0, 0.0]
    """
    index, source = tensor(index), tensor(source)
    if index.size != source.size:
        raise ShapeError(f"put: {source.size} numbers for {index.size} positions")
    return index_put(x.reshape(-1), (index.reshape(-1),), source.reshape(-1), accumulate).reshape(x.shape)


@of_tensor
def select_scatter(x: Tensor, source: Data, axis: int, index: int) -> Tensor:
    """A copy with ``source`` at ``x.select(axis, index)``."""
    least_axes("select_scatter", x)
    return written("select_scatter", x, (slice(None),) * axis_of("select_scatter", axis, x.ndim) + (index,), source)


@of_tensor
def slice_scatter(x: Tensor, source: Data, axis: int = 0, start: int | None = None, end: int | None = None,
                  step: int = 1) -> Tensor:
    """A copy with ``source`` at ``x[start:end:step]`` along ``axis``."""
    if x.ndim == 0 or step < 1:
        raise ShapeError(f"slice_scatter: of shape {x.shape} with step {step}")
    key = (slice(None),) * axis_of("slice_scatter", axis, x.ndim) + (slice(start, end, step),)
    return written("slice_scatter", x, key, source)


@of_tensor
def diagonal_scatter(x: Tensor, source: Data, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Tensor:
    """A copy with ``source`` on the diagonal ``offset`` of two axes, as ``diagonal`` reads it."""
    i, k = axis_of("diagonal_scatter", axis1, x.ndim), axis_of("diagonal_scatter", axis2, x.ndim)
    if i == k:
        raise ShapeError(f"diagonal_scatter: axis {k} is named twice")
    down, across = max(-offset, 0), max(offset, 0)
    line = np.arange(max(min(x.shape[i] - down, x.shape[k] - across), 0))
    order = (*(d for d in range(x.ndim) if d not in (i, k)), i, k)
    found = written("diagonal_scatter", x.permute(order), (..., line + down, line + across), source)
    return found.permute(tuple(order.index(d) for d in range(x.ndim)))


def written(op: str, x: Tensor, key: tuple[Any, ...], source: Data) -> Tensor:
    """A copy with ``source``, in its shape, at x[key]."""
    out, source = x.clone(), tensor(source)
    shape = x.detach()[key].shape
    if source.shape != shape:
        raise ShapeError(f"{op}: a source of shape {source.shape}, not {shape}")
    out[key] = source
    return out


@of_tensor
def take_along_dim(x: Tensor, index: Data, axis: Axis = None) -> Tensor:
    """``gather`` with the index as the second argument; the other axes broadcast. Without an axis of the flattened.

    >>> import microgradx as mgx
    >>> x = mgx.Tensor([[3.0, 1.0], [2.0, 4.0]])
    >>> mgx.take_along_dim(x, mgx.argsort(x, 1), 1)
    Tensor([[1., 3.],
            [2., 4.]])
    """
    index = tensor(index)
    if axis is None:
        return x.reshape(-1).gather(0, index.reshape(-1))
    d = axis_of("take_along_dim", axis, x.ndim)
    if index.ndim != x.ndim:
        raise ShapeError(f"take_along_dim: an index of {index.ndim} axes for an array of {x.ndim} "
                         f"({index.ndim} != {x.ndim})")
    x, index = broadcast("take_along_dim", x, index, skip=(d,))
    return x.gather(d, index)


def masked(op: str, x: Tensor, mask: Data) -> list[Tensor]:
    """``x`` and ``mask``, which is bool, in their common shape."""
    mask = tensor(mask)
    if mask.dtype != np.bool_:
        raise DTypeError(f"{op}: a mask is bool, not {mask.dtype}")
    return broadcast(op, x, mask)


def is_whole(value: Data) -> bool:
    """Whether integers can store ``value`` as it is."""
    if isinstance(value, (Tensor, np.ndarray)):
        return value.dtype.kind != "f"
    return not isinstance(value, (float, np.floating)) or float(value).is_integer() and -2**63 <= float(value) < 2**63


@of_tensor
def masked_fill(x: Tensor, mask: Data, value: Data) -> Tensor:
    """``value`` where ``mask``, which broadcasts, else ``x``.

    >>> import microgradx as mgx
    >>> x = mgx.Tensor([1.0, -2.0])
    >>> mgx.masked_fill(x, x < 0, 0.0)
    Tensor([1., 0.])
    """
    if x.dtype.kind != "f" and not is_whole(value):
        raise DTypeError(f"masked_fill: {value!r} cannot be stored as {x.dtype}")
    x, mask = masked("masked_fill", x, mask)
    return mask.where(value if isinstance(value, Tensor) else Tensor(value, dtype=x.dtype), x)


@of_tensor
def masked_select(x: Tensor, mask: Data) -> Tensor:
    """The elements of ``x`` where ``mask``, in one row; both broadcast."""
    x, mask = masked("masked_select", x, mask)
    return x[mask]


@of_tensor
def masked_scatter(x: Tensor, mask: Data, source: Data) -> Tensor:
    """A copy with the elements of ``source``, one after the other, where ``mask``, which broadcasts to x.

    >>> import microgradx as mgx
    >>> mgx.masked_scatter(mgx.zeros(3), mgx.tensor([True, False, True]), mgx.Tensor([1.0, 2.0]))
    Tensor([1., 0., 2.])
    """
    x, mask = masked("masked_scatter", x, mask)
    source = tensor(source).reshape(-1)
    if source.dtype != x.dtype:
        raise DTypeError(f"masked_scatter: a source of {source.dtype} for a tensor of {x.dtype}")
    number = mask.reshape(-1).cumsum(0)
    if not capturing() and x.size and int(number[-1].item()) > source.size:
        raise ShapeError(f"masked_scatter: {source.size} numbers for {number[-1].item()} places of the mask")
    if not source.size:
        return x.clone()
    return mask.where(source[(number - 1).clip(0, source.size - 1)].reshape(x.shape), x)


# ----- what has as many results as the numbers make -----------------------------------------------------------------

def counted(op: str) -> None:
    """A captured program cannot know how many there are."""
    if capturing():
        note_as_it_is(f"{op} gives as many elements as the numbers make")


@of_tensor
def argwhere(x: Tensor) -> Tensor:
    """The positions of what is not 0, one per row: (count, x.ndim), int64.

    >>> import microgradx as mgx
    >>> mgx.argwhere(mgx.Tensor([0.0, 5.0, 7.0])).tolist()
    [[1], [2]]
    """
    counted("argwhere")
    return compute(np.argwhere, x.detach())


@of_tensor
def nonzero(x: Tensor, *, as_tuple: bool = False) -> Any:
    """``argwhere``; with ``as_tuple`` one tensor of positions per axis, as an index takes them."""
    found = argwhere(x.reshape(1) if as_tuple and x.ndim == 0 else x)
    return tuple(found[:, k] for k in range(found.shape[1])) if as_tuple else found


@of_tensor
def unique(x: Tensor, sorted: bool = True, return_inverse: bool = False, return_counts: bool = False,
           axis: Axis = None) -> Any:
    """The different elements in order, whether ``sorted`` asks for it or not; with ``axis`` the different parts.

    With ``return_inverse`` also the place of each element among them, with ``return_counts`` how often each is there.
    The gradient of a value goes to the first element that has it.

    >>> import microgradx as mgx
    >>> mgx.unique(mgx.Tensor([3.0, 1.0, 3.0]), return_counts=True)
    (Tensor([1., 3.]), Tensor([1, 2], dtype=int64))
    """
    counted("unique")
    d = None if axis is None else axis_of("unique", axis, x.ndim)
    if x.ndim == 0 and d is not None:
        x = x.reshape(1)
    _, first, inverse, counts = np.unique(x.detach().numpy(), True, True, True, axis=d, equal_nan=False)
    inverse = inverse.reshape(x.shape if d is None else -1)
    found = (x.reshape(-1)[first] if d is None else at(x, d, first), *(
        Tensor(part) for part, wanted in ((inverse, return_inverse), (counts, return_counts))
                               if wanted))
    return found if len(found) > 1 else found[0]


@of_tensor
def unique_consecutive(x: Tensor, return_inverse: bool = False, return_counts: bool = False,
                       axis: Axis = None) -> Any:
    """The elements, or parts along ``axis``, without those equal to the one before; otherwise as ``unique``.

    >>> import microgradx as mgx
    >>> mgx.unique_consecutive(mgx.Tensor([3.0, 3.0, 1.0, 3.0])).tolist()
    [3.0, 1.0, 3.0]
    """
    counted("unique_consecutive")
    flat = x.reshape(-1) if axis is None or x.ndim == 0 else x
    d = axis_of("unique_consecutive", 0 if axis is None else axis, flat.ndim)
    rows = np.moveaxis(flat.detach().numpy(), d, 0)
    new = np.ones(len(rows), bool)
    new[1:] = (rows[1:] != rows[:-1]).any(tuple(range(1, rows.ndim)))
    inverse = (np.cumsum(new) - 1).astype(np.int64)
    counts = np.bincount(inverse, minlength=int(new.sum())).astype(np.int64) if len(rows) else np.zeros(0, np.int64)
    found = (at(flat, d, np.flatnonzero(new)), *(
        Tensor(part) for part, wanted in ((inverse.reshape(x.shape if axis is None else -1), return_inverse),
                                          (counts, return_counts)) if wanted))
    return found if len(found) > 1 else found[0]


@of_tensor
def bincount(x: Tensor, weights: Data | None = None, minlength: int = 0) -> Tensor:
    """How often each number from 0 on is among the integers of x, (n,), or the sum of their ``weights``.

    >>> import microgradx as mgx
    >>> mgx.bincount(mgx.tensor([0, 2, 2])).tolist()
    [1, 0, 2]
    """
    counted("bincount")
    (least,) = integers("bincount", "minlength", (minlength,))
    if x.dtype.kind == "f" and x.size or x.ndim != 1 or least < 0:
        raise DTypeError(f"bincount: of integers with one axis and minlength >= 0, not of {x.dtype} of shape {x.shape} "
                         f"and {least}")
    array = x.detach().numpy().astype(np.int64)
    if array.size and array.min() < 0:
        raise OptionError(f"bincount: numbers are not negative ({array.min()} < 0)")
    if weights is None:
        return Tensor(np.bincount(array, minlength=least).astype(np.int64))
    w = tensor(weights)
    if w.shape != array.shape:
        raise ShapeError(f"bincount: weights of shape {w.shape} for {array.size} numbers")
    count = max(least, int(array.max(initial=-1)) + 1)
    w = w if w.dtype.kind == "f" else w.astype(np.float64)
    return Tensor(np.zeros(count, w.dtype)).scatter_add(0, Tensor(array), w)


# ----- bins and places ----------------------------------------------------------------------------------------------

def bounds(op: str, x: Tensor, bins: int, low: float, high: float) -> tuple[float, float]:
    """The range of a histogram: that of the numbers where low and high are equal."""
    if bins < 1:
        raise OptionError(f"{op}: into {bins} bins")
    low, high = float(low), float(high)
    if low == high and x.size:
        low, high = float(x.detach().amin().item()), float(x.detach().amax().item())
    if not (np.isfinite(low) and np.isfinite(high)) or low > high:
        raise OptionError(f"{op}: the range from {low} to {high} is none")
    return (low - 1, high + 1) if low == high and op == "histc" else (low, high)


@of_tensor
def histc(x: Tensor, bins: int = 100, min: float = 0, max: float = 0) -> Tensor:
    """How many elements are in each of ``bins`` equal bins from ``min`` to ``max``, or from the smallest to the largest
    where both are equal; in the dtype of x. No gradient.

    >>> import microgradx as mgx
    >>> mgx.histc(mgx.Tensor([0.0, 1.0, 1.0]), bins=2).tolist()
    [1.0, 2.0]
    """
    (count,) = integers("histc", "bins", (bins,))
    counted("histc")
    low, high = bounds("histc", x, count, min, max)
    numbers, _ = np.histogram(x.detach().numpy(), count, (low, high))
    return Tensor(numbers.astype(x.dtype if x.dtype.kind == "f" else np.int64))


class Histogram(NamedTuple):
    """What ``histogram`` gives: one number per bin, and the edges of the bins, one more."""
    hist: Tensor
    bin_edges: Tensor


@of_tensor
def histogram(x: Tensor, bins: Any, *, range: Sequence[float] | None = None, weight: Data | None = None,
              density: bool = False) -> Histogram:
    """(how many elements are in each bin, edges): ``bins`` equal bins over ``range``, or between the edges ``bins``.

    ``weight`` counts each element as so much, and has a gradient; with ``density`` the integral over the bins is 1.

    >>> import microgradx as mgx
    >>> mgx.histogram(mgx.Tensor([0.0, 1.0, 1.0]), 2).hist.tolist()
    [1.0, 2.0]
    """
    counted("histogram")
    if x.dtype.kind != "f":
        raise DTypeError(f"histogram: of floats, not of {x.dtype}")
    given = None if weight is None else tensor(weight)
    if given is not None and given.shape != x.shape:
        raise ShapeError(f"histogram: weights of shape {given.shape} for elements of shape {x.shape}")
    if isinstance(bins, int):
        edges: Any = bins
        low, high = bounds("histogram", x, bins, *(range or ((0.0, 0.0) if x.size else (0.0, 1.0))))
    else:
        edges, low, high = tensor(bins).detach().numpy(), 0.0, 0.0
        if edges.ndim != 1 or edges.size < 2 or (np.diff(edges) < 0).any():
            raise OptionError("histogram: edges are 1-D, at least two, in order")
    flat = x.detach().numpy().reshape(-1)
    w = None if given is None else given.detach().numpy().reshape(-1).astype(np.float64)
    numbers, edges = np.histogram(flat, edges, (low, high) if isinstance(bins, int) else None, density, w)
    hist, ends = Tensor(numbers.astype(x.dtype)), Tensor(np.asarray(edges).astype(x.dtype))
    if given is not None and given.requires_grad:
        within = np.flatnonzero((flat >= edges[0]) & (flat <= edges[-1]))
        places = np.searchsorted(edges[1:-1], flat[within], "right")
        hist = Tensor(np.zeros(len(edges) - 1, given.dtype)).scatter_add(0, places, given.reshape(-1)[within])
        hist = (hist / (hist.sum() * Tensor(np.diff(edges), dtype=hist.dtype)) if density else hist).astype(x.dtype)
    return Histogram(hist, ends)


def _search(places: npt.NDArray[Any], x: npt.NDArray[Any], side: Any) -> npt.NDArray[Any]:
    found = np.empty(x.shape, np.int64)
    for lead in np.ndindex(places.shape[:-1]):
        rows = (*lead, ...)
        by_parts(_search_part, found[rows], x[rows], None, (places[lead], side))
    return found


def _search_part(found: npt.NDArray[Any], x: npt.NDArray[Any], places: npt.NDArray[Any], side: Any) -> None:
    found[...] = np.searchsorted(places, x, side)


@of_tensor
def searchsorted(sorted_sequence: Tensor, input: Data, *, out_int32: bool = False, right: bool = False,
                 side: str | None = None, sorter: Data | None = None) -> Tensor:
    """Where each of ``input`` would have to be put in ``sorted_sequence``, (n,), so that it stays in order; int64.

    Before elements equal to it, or with ``right`` or ``side="right"`` behind them. A sequence (..., n) has one row for
    each row of ``input`` (..., m). ``sorter`` gives the order of a sequence that is in none. ``out_int32`` changes
    nothing: integers have one width.

    >>> import microgradx as mgx
    >>> mgx.searchsorted(mgx.Tensor([1.0, 3.0, 5.0]), mgx.Tensor([3.0, 6.0])).tolist()
    [1, 3]
    """
    x = as_operand(sorted_sequence, input)
    if side not in (None, "left", "right") or side == "left" and right:
        raise OptionError(f"searchsorted: side={side!r} and right={right} do not go together")
    if sorter is not None:
        order = tensor(sorter)
        if order.shape != sorted_sequence.shape:
            raise ShapeError(f"searchsorted: a sorter of shape {order.shape} for a sequence of "
                             f"{sorted_sequence.shape}")
        sorted_sequence = sorted_sequence.gather(-1, order)
    if sorted_sequence.ndim == 0 or sorted_sequence.ndim > 1 and sorted_sequence.shape[:-1] != x.shape[:-1]:
        raise ShapeError(f"searchsorted: rows of shape {sorted_sequence.shape} for values of shape {x.shape}")
    return compute(_search, sorted_sequence.detach(), x.detach(), "right" if right or side == "right" else "left")


@of_tensor
def bucketize(x: Tensor, boundaries: Data, *, out_int32: bool = False, right: bool = False) -> Tensor:
    """The number of the bucket of each element, between ``boundaries`` (n,) in order: ``searchsorted`` the other way.

    >>> import microgradx as mgx
    >>> mgx.bucketize(mgx.Tensor([0.0, 3.0, 9.0]), [1.0, 3.0, 5.0]).tolist()
    [0, 1, 3]
    """
    edges = tensor(boundaries)
    if edges.ndim != 1:
        raise ShapeError(f"bucketize: boundaries have one axis, not shape {edges.shape}")
    return searchsorted(edges, x, out_int32=out_int32, right=right)


@of_tensor
def isin(elements: Tensor, test_elements: Data, *, assume_unique: bool = False, invert: bool = False) -> Tensor:
    """Where an element is among ``test_elements``, or with ``invert`` where not; a mask. ``assume_unique`` changes
    nothing.

    >>> import microgradx as mgx
    >>> mgx.isin(mgx.Tensor([1, 2, 3]), [2, 3]).tolist()
    [False, True, True]
    """
    found = compute(_isin, elements.detach(), as_operand(elements, test_elements).detach())
    return ~found if invert else found


def _isin(x: npt.NDArray[Any], among: npt.NDArray[Any]) -> npt.NDArray[Any]:
    return np.isin(x, among)


@of_tensor
def unravel_index(indices: Tensor, shape: Any) -> tuple[Tensor, ...]:
    """The positions along each axis of ``shape`` of elements of the flattened tensor.

    >>> import microgradx as mgx
    >>> [k.tolist() for k in mgx.unravel_index(mgx.tensor([3]), (2, 2))]
    [[1], [1]]
    """
    lengths = integers("unravel_index", "lengths", (tuple(shape) if isinstance(shape, (list, tuple)) else shape,))
    if indices.dtype != np.int64:
        raise DTypeError(f"unravel_index: of int64, not of {indices.dtype}")
    found, rest = [], indices
    for n in reversed(lengths):
        found.append(rest % n)
        rest = rest // n
    return tuple(reversed(found))


# ----- in place, as methods -----------------------------------------------------------------------------------------

def scatter_add(x: Tensor, axis: int, index: Data, source: Data) -> Tensor:
    """As the method."""
    return x.scatter_add(axis, tensor(index), source)


take_along_axis = take_along_dim
attach({name: globals()[name] for name in METHODS})
WRITTEN: list[Callable[..., Tensor]] = [
    of_tensor(scatter_add), scatter, scatter_reduce, index_add, index_copy, index_fill, index_put, index_reduce,
    masked_fill, masked_scatter, put]
attach({f.__name__: f for f in map(in_place, WRITTEN)})


make_public(__name__)
