"""Order, indices and masks: what is sorted, picked or written by position. As ``arrays``: functions and methods."""
from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from microgradx._core.launch import by_parts, capturing
from microgradx._core.structured import HostOperation
from microgradx._core.tensor import Tensor, attach
from microgradx._core.views import along, axis_of, check_along
from microgradx.arrays import at, broadcast, of_tensor, tensor
from microgradx.errors import DTypeError, IndexError_, OptionError, ShapeError, name_errors
from microgradx.typing import Axis, Data

__all__ = ["argsort", "index_add", "index_select", "masked_fill", "masked_select", "median", "scatter", "sort",
           "take_along_axis", "take_along_dim", "topk"]

METHODS = __all__


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
def argsort(x: Tensor, axis: int = -1, descending: bool = False) -> Tensor:
    """The positions that sort ``x`` along ``axis``; equal elements keep their order, nan counts as the largest."""
    if x.ndim == 0:
        return argsort(x.reshape(1), axis, descending).reshape(())
    return _argsort(x, axis_of("argsort", axis, x.ndim), bool(descending))


@of_tensor
def sort(x: Tensor, axis: int = -1, descending: bool = False) -> Sorted:
    """(values, indices), in order along ``axis``; equal elements keep theirs, nan counts as the largest.

    >>> import microgradx as mgx
    >>> mgx.sort(mgx.Tensor([3.0, 1.0, 2.0]))
    Sorted(values=Tensor([1., 2., 3.]), indices=Tensor([1, 2, 0], dtype=int64))
    """
    if x.ndim == 0:
        return Sorted(*(y.reshape(()) for y in sort(x.reshape(1), axis, descending)))
    d = axis_of("sort", axis, x.ndim)
    order = argsort(x, d, descending)
    return Sorted(x.gather(d, order), order)


@of_tensor
def topk(x: Tensor, k: int, axis: int = -1, largest: bool = True) -> Sorted:
    """(values, indices) of the ``k`` largest, or smallest, elements along ``axis``, the first in order first.

    >>> import microgradx as mgx
    >>> mgx.topk(mgx.Tensor([3.0, 1.0, 2.0]), 2).values
    Tensor([3., 2.])
    """
    d = axis_of("topk", axis, x.ndim)
    if not 0 <= k <= x.shape[d]:
        raise OptionError(f"topk: {k} of axis {d} of length {x.shape[d]} ({k} is not within 0..{x.shape[d]})")
    order = at(argsort(x, d, largest), d, slice(k)).clone()
    return Sorted(x.gather(d, order), order)


def _middle(x: npt.NDArray[Any], axis: int) -> npt.NDArray[np.int64]:
    """Where the median stands along ``axis``."""
    n, nans = x.shape[axis], np.isnan(x).sum(axis, keepdims=True)
    place = np.where(nans, n - nans, (n - 1) // 2)                      # nans stand at the end: the first of them
    return np.take_along_axis(np.argsort(x, axis, kind="stable"), place, axis)


_argmedian: Callable[..., Tensor] = HostOperation(
    "median", lambda x, axis: [(x.shape[:axis] + (1,) + x.shape[axis + 1:], np.int64)],
    lambda out, x, axis: np.copyto(out, _middle(x, axis)))


_median: Callable[..., Tensor] = HostOperation(
    "median", lambda x: [((), x.dtype)], lambda out, x: np.copyto(out, x[_middle(x, 0)[0]]),
    [[lambda g, y, x: (x == y).astype(x.dtype) * (g / (x == y).sum().astype(x.dtype))]])


@of_tensor
def median(x: Tensor, axis: Axis = None, keepdims: bool = False) -> Any:
    """The middle element, of an even number the lower, as torch; nan if one is nan. Along ``axis`` (values, indices).

    Without an axis the gradient is split evenly among elements equal to the median.

    >>> import microgradx as mgx
    >>> mgx.median(mgx.Tensor([4.0, 1.0, 3.0, 2.0]))
    Tensor(2.)
    """
    flat = x.reshape(-1) if axis is None or x.ndim == 0 else x
    d = axis_of("median", 0 if axis is None else axis, flat.ndim)
    if flat.shape[d] == 0:
        raise ShapeError(f"median: of no elements, shape {x.shape}" + ("" if axis is None else f" along axis {d}"))
    if axis is None:
        return _median(flat).reshape((1,) * x.ndim if keepdims else ())
    place = _argmedian(flat, d)
    values = flat.gather(d, place)
    if x.ndim == 0:
        return Sorted(values.reshape(()), place.reshape(()))
    return Sorted(values, place) if keepdims else Sorted(values.squeeze(d), place.squeeze(d))


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
    bad = index[(index < -length) | (index >= length)]
    if bad.size:
        raise IndexError_(f"{op}: index {bad[0]} is out of range for axis {axis} of length {length}")
    return index


@of_tensor
def index_select(x: Tensor, axis: int, index: Data) -> Tensor:
    """What stands at the positions ``index`` along ``axis``.

    >>> import microgradx as mgx
    >>> mgx.index_select(mgx.Tensor([1.0, 2.0, 3.0]), 0, [2, 0])
    Tensor([3., 1.])
    """
    d = axis_of("index_select", axis, x.ndim)
    return at(x, d, positions("index_select", index, d, x.shape[d]))


@of_tensor
def index_add(x: Tensor, axis: int, index: Data, source: Data, *, alpha: float = 1) -> Tensor:
    """A copy with ``alpha * source`` added at the positions ``index`` along ``axis``; a position may repeat.

    >>> import microgradx as mgx
    >>> mgx.index_add(mgx.Tensor([0.0, 0.0]), 0, [1, 1], mgx.Tensor([1.0, 2.0]))
    Tensor([0., 3.])
    """
    d, source = axis_of("index_add", axis, x.ndim), tensor(source)
    index = positions("index_add", index, d, x.shape[d])
    expected = x.shape[:d] + index.shape + x.shape[d + 1:]
    if source.shape != expected:
        raise ShapeError(f"index_add: a source of shape {source.shape} for {index.size} positions along axis {d} of "
                         f"shape {x.shape} ({source.shape} != {expected})")
    grid = tensor(index).reshape((-1,) + (1,) * (x.ndim - d - 1)).expand(expected)
    return x.scatter_add(d, grid, source if alpha == 1 else source * alpha)


@of_tensor
def scatter(x: Tensor, axis: int, index: Data, source: Any) -> Tensor:
    """A copy with ``source[i, j]`` written at ``[index[i, j], j]`` for axis 0, and so on; the last of several stays.

    ``source`` may be a number.

    >>> import microgradx as mgx
    >>> mgx.scatter(mgx.zeros(3), 0, [2, 0], mgx.Tensor([1.0, 5.0]))
    Tensor([5., 0., 1.])
    """
    d, index, out = axis_of("scatter", axis, x.ndim), tensor(index), x.clone()
    check_along("scatter", x, d, index)
    if isinstance(source, (Tensor, np.ndarray)) and source.ndim:
        if source.ndim != index.ndim or max(m - n for m, n in zip(index.shape, source.shape, strict=True)) > 0:
            raise ShapeError(f"scatter: index of shape {index.shape} exceeds the source's {source.shape}")
        source = source[tuple(map(slice, index.shape))]
    out[along(index, d)] = source
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
    return not isinstance(value, (float, np.floating)) or float(value).is_integer()


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


take_along_axis = take_along_dim
attach({name: globals()[name] for name in METHODS})


name_errors(__name__)
