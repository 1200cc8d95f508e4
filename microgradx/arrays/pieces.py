"""Joining, cutting and laying out: what has a name for stacking, splitting, grids and shapes."""
from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from microgradx import linalg
from microgradx._core.creation import integers
from microgradx._core.tensor import Tensor, concat, stack
from microgradx._core.tensor import pad as widen
from microgradx._core.views import axis_of
from microgradx.arrays.common import at, axes_of, broadcast, least_axes, of_tensor, tensor, with_axes
from microgradx.errors import DTypeError, OptionError, ShapeError
from microgradx.names import make_public
from microgradx.typing import Axes, Data

__all__ = ["adjoint", "atleast_1d", "atleast_2d", "atleast_3d", "block_diag", "broadcast_shapes", "broadcast_tensors",
           "cartesian_prod", "column_stack", "combinations", "constant_pad_nd", "diag_embed", "diagflat", "dsplit",
           "dstack", "expand_as", "expand_dims", "fliplr", "flipud", "hsplit", "meshgrid", "narrow",
           "permute_dims", "reshape_as", "rot90", "row_stack", "select", "split_with_sizes", "swapdims",
           "tensor_split", "tril_indices", "triu_indices", "unflatten", "unfold", "vander", "view_as", "vsplit"]

METHODS = """adjoint diag_embed diagflat dsplit expand_as fliplr flipud hsplit narrow reshape_as rot90
             select split_with_sizes swapdims tensor_split unflatten unfold view_as vsplit""".split()


# ----- at least so many axes, and stacks ---------------------------------------------------------------------------

def every(op: str, one: Callable[[Tensor], Tensor], tensors: tuple[Any, ...]) -> Any:
    """``one`` of the only tensor, or of each of several, which may come as a list."""
    if len(tensors) == 1 and isinstance(tensors[0], (list, tuple)) and all(
            isinstance(x, (Tensor, np.ndarray, list, tuple)) for x in tensors[0]):
        return tuple(one(tensor(x)) for x in tensors[0])
    if not tensors:
        raise ShapeError(f"{op}: of no tensors")
    found = tuple(one(tensor(x)) for x in tensors)
    return found if len(found) > 1 else found[0]


def three_axes(x: Tensor) -> Tensor:
    """(n,) as (1, n, 1), (m, n) as (m, n, 1): NumPy's rule."""
    x = with_axes(x, 2)
    return x if x.ndim > 2 else x.unsqueeze(-1)


def atleast_1d(*tensors: Any) -> Any:
    """With at least one axis; of several tensors, or of a list of them, a tuple."""
    return every("atleast_1d", lambda x: with_axes(x, 1), tensors)


def atleast_2d(*tensors: Any) -> Any:
    """With at least two axes, (n,) as (1, n); of several tensors a tuple."""
    return every("atleast_2d", lambda x: with_axes(x, 2), tensors)


def atleast_3d(*tensors: Any) -> Any:
    """With at least three axes, (n,) as (1, n, 1) and (m, n) as (m, n, 1); of several tensors a tuple."""
    return every("atleast_3d", three_axes, tensors)


def column_stack(tensors: Iterable[Data]) -> Tensor:
    """Joined along the second axis, where (n,) counts as a column (n, 1).

    >>> import microgradx as mgx
    >>> mgx.column_stack([mgx.Tensor([1.0, 2.0]), mgx.Tensor([3.0, 4.0])])
    Tensor([[1., 3.],
            [2., 4.]])
    """
    return concat([x if x.ndim > 1 else x.reshape(x.size, 1) for x in map(tensor, tensors)], 1)


def dstack(tensors: Iterable[Data]) -> Tensor:
    """Joined along the third axis, where (n,) counts as (1, n, 1) and (m, n) as (m, n, 1)."""
    return concat([three_axes(tensor(x)) for x in tensors], 2)


def row_stack(tensors: Iterable[Data]) -> Tensor:
    """Joined along the first axis, where (n,) counts as (1, n): ``vstack``."""
    return concat([with_axes(tensor(x), 2) for x in tensors], 0)


def block_diag(*tensors: Data) -> Tensor:
    """The matrices, numbers and rows (1, n) given one below and right of the other, with 0 elsewhere.

    >>> import microgradx as mgx
    >>> mgx.block_diag(mgx.ones(1, 2), mgx.Tensor(3.0))
    Tensor([[1., 1., 0.],
            [0., 0., 3.]])
    """
    if len(tensors) == 1 and isinstance(tensors[0], (list, tuple)):
        raise DTypeError("block_diag: the matrices are given one by one: block_diag(*matrices)")
    blocks = [with_axes(tensor(x), 2) for x in tensors] or [Tensor(np.zeros((1, 0), np.float32))]
    for x in blocks:
        if x.ndim > 2:
            raise ShapeError(f"block_diag: of at most two axes, not of shape {x.shape}")
    width, left, rows = sum(x.shape[1] for x in blocks), 0, []
    for x in blocks:
        rows.append(widen(x, ((0, 0), (left, width - left - x.shape[1]))))
        left += x.shape[1]
    return concat(rows, 0)


MOST_EMPTY = 2**20                              # pieces more than elements; beyond, nobody means it


# ----- cut in pieces -----------------------------------------------------------------------------------------------

@of_tensor
def tensor_split(x: Tensor, indices_or_sections: Any, axis: int = 0) -> tuple[Tensor, ...]:
    """Views along ``axis``: so many of nearly one length, the longer ones first, or cut before the indices listed.

    >>> import microgradx as mgx
    >>> [part.tolist() for part in mgx.tensor_split(mgx.arange(5), 3)]
    [[0, 1], [2, 3], [4]]
    """
    return split_at("tensor_split", x, indices_or_sections, axis)


def split_at(op: str, x: Tensor, where: Any, axis: int) -> tuple[Tensor, ...]:
    """``tensor_split``, under another name in errors."""
    least_axes(op, x)
    d = axis_of(op, axis, x.ndim)
    n = x.shape[d]
    where = where.tolist() if isinstance(where, (Tensor, np.ndarray)) else where
    if isinstance(where, (list, tuple)):
        cuts = [slice(k, None).indices(n)[0] for k in integers(op, "indices", where)]
    else:
        (count,) = integers(op, "the number of pieces", (where,))
        if not 1 <= count <= n + MOST_EMPTY:
            raise ShapeError(f"{op}: an axis of length {n} into {count} pieces")
        cuts = [k * (n // count) + min(k, n % count) for k in range(1, count)]
    return tuple(at(x, d, slice(first, max(first, last))) for first, last in itertools.pairwise([0, *cuts, n]))


def equal_split(op: str, x: Tensor, where: Any, axis: int, least: int) -> tuple[Tensor, ...]:
    """``tensor_split`` along ``axis`` into pieces of one length."""
    least_axes(op, x, least)
    if not isinstance(where, (list, tuple, Tensor, np.ndarray)):
        (count,) = integers(op, "the number of pieces", (where,))
        if count < 1 or x.shape[axis] % count:
            raise ShapeError(f"{op}: axis {axis} of length {x.shape[axis]} has no {count} pieces of one length")
    return split_at(op, x, where, axis)


@of_tensor
def hsplit(x: Tensor, indices_or_sections: Any) -> tuple[Tensor, ...]:
    """``tensor_split`` along the second axis, or the only one, into pieces of one length."""
    return equal_split("hsplit", x, indices_or_sections, min(max(x.ndim - 1, 0), 1), 1)


@of_tensor
def vsplit(x: Tensor, indices_or_sections: Any) -> tuple[Tensor, ...]:
    """``tensor_split`` along the first axis of two or more, into pieces of one length."""
    return equal_split("vsplit", x, indices_or_sections, 0, 2)


@of_tensor
def dsplit(x: Tensor, indices_or_sections: Any) -> tuple[Tensor, ...]:
    """``tensor_split`` along the third axis, into pieces of one length."""
    return equal_split("dsplit", x, indices_or_sections, 2, 3)


@of_tensor
def split_with_sizes(x: Tensor, sizes: Sequence[int], axis: int = 0) -> tuple[Tensor, ...]:
    """Views of the lengths listed along ``axis``.

    >>> import microgradx as mgx
    >>> [part.shape for part in mgx.split_with_sizes(mgx.ones(3), [1, 2])]
    [(1,), (2,)]
    """
    return x.split(list(sizes), axis)


@of_tensor
def narrow(x: Tensor, axis: int, start: int, length: int) -> Tensor:
    """The view of ``length`` elements from ``start`` on along ``axis``.

    >>> import microgradx as mgx
    >>> mgx.narrow(mgx.arange(5), 0, 1, 3).tolist()
    [1, 2, 3]
    """
    least_axes("narrow", x)
    d = axis_of("narrow", axis, x.ndim)
    (first,), (count,) = integers("narrow", "the start", (start,)), integers("narrow", "a length", (length,))
    n = x.shape[d]
    begin = first + n if first < 0 else first
    if not 0 <= begin <= begin + count <= n:
        raise ShapeError(f"narrow: {count} elements from {first} on along axis {d} of length {n}")
    return at(x, d, slice(begin, begin + count))


@of_tensor
def select(x: Tensor, axis: int, index: int) -> Tensor:
    """The view ``x[index]`` along ``axis``, without that axis."""
    least_axes("select", x)
    d, (k,) = axis_of("select", axis, x.ndim), integers("select", "an index", (index,))
    return at(x, d, k)


@of_tensor
def unfold(x: Tensor, axis: int, size: int, step: int) -> Tensor:
    """All windows of ``size`` elements along ``axis``, every ``step``; the window is the last axis of the result.

    >>> import microgradx as mgx
    >>> mgx.unfold(mgx.arange(4), 0, 2, 1).tolist()
    [[0, 1], [1, 2], [2, 3]]
    """
    d, (length, by) = axis_of("unfold", axis, x.ndim), integers("unfold", "sizes", (size, step))
    n = x.shape[d] if x.ndim else 1
    if not 0 <= length <= n or by < 1:
        raise ShapeError(f"unfold: windows of {length} every {by} along axis {d} of length {n}")
    if x.ndim == 0:
        return x.reshape(1)[:length]
    windows = np.arange(0, n - length + 1, by)[:, None] + np.arange(length)
    found = at(x, d, windows)
    return found.permute(tuple(k for k in range(found.ndim) if k != d + 1) + (d + 1,))


@of_tensor
def unflatten(x: Tensor, axis: int, sizes: Sequence[int]) -> Tensor:
    """One axis as several, of the lengths ``sizes``, one of which may be -1.

    >>> import microgradx as mgx
    >>> mgx.unflatten(mgx.ones(2, 6), 1, (3, -1)).shape
    (2, 3, 2)
    """
    d, lengths = axis_of("unflatten", axis, x.ndim), integers("unflatten", "lengths", tuple(sizes))
    if not lengths:
        raise ShapeError("unflatten: into no axes")
    n, rest = x.shape[d] if x.ndim else 1, math.prod(k for k in lengths if k != -1)
    filled = tuple(n // rest if k == -1 and rest else k for k in lengths)
    if lengths.count(-1) > 1 or min(filled) < 0 or math.prod(filled) != n:
        raise ShapeError(f"unflatten: axis {d} of length {n} has no lengths {lengths}")
    return x.reshape(x.shape[:d] + filled + x.shape[d + 1:])


# ----- shapes ------------------------------------------------------------------------------------------------------

@of_tensor
def expand_as(x: Tensor, other: Tensor) -> Tensor:
    """A view broadcast to the shape of ``other``."""
    return x.expand(other.shape)


@of_tensor
def view_as(x: Tensor, other: Tensor) -> Tensor:
    """The shape of ``other``, which has as many elements."""
    return x.reshape(other.shape)


reshape_as = view_as


@of_tensor
def swapdims(x: Tensor, axis0: int, axis1: int) -> Tensor:
    """Two axes exchanged. A view."""
    return x.transpose(axis0, axis1)


@of_tensor
def adjoint(x: Tensor) -> Tensor:
    """The last two axes exchanged, ``x.mT``: there are no complex numbers."""
    if x.ndim < 2:
        raise ShapeError(f"adjoint: of shape {x.shape}, which has no rows and columns")
    return x.mT


@of_tensor
def permute_dims(x: Tensor, axes: Sequence[int]) -> Tensor:
    """The axes in another order: ``permute`` of a tuple. A view.

    >>> import microgradx as mgx
    >>> mgx.permute_dims(mgx.ones(2, 3), (1, 0)).shape
    (3, 2)
    """
    return x.permute(tuple(axes))


@of_tensor
def expand_dims(x: Tensor, axis: Axes = 0) -> Tensor:
    """With axes of length 1 put in at ``axis``, an int or several places in the result. A view.

    >>> import microgradx as mgx
    >>> mgx.expand_dims(mgx.ones(2), (0, 2)).shape
    (1, 2, 1)
    """
    places: Any = axis if isinstance(axis, (tuple, list)) else (axis,)
    for d in sorted(axes_of("expand_dims", tuple(places), x.ndim + len(places))):
        x = x.unsqueeze(d)
    return x


def broadcast_shapes(*shapes: Any) -> tuple[int, ...]:
    """The shape to which tensors of these shapes broadcast.

    >>> import microgradx as mgx
    >>> mgx.broadcast_shapes((2, 1), (3,))
    (2, 3)
    """
    given = [integers("broadcast_shapes", "lengths", (shape,)) for shape in shapes]
    try:
        return np.broadcast_shapes(*given)
    except ValueError:
        raise ShapeError(f"broadcast_shapes: shapes {' and '.join(map(str, given))} do not broadcast") from None


def broadcast_tensors(*tensors: Any) -> tuple[Tensor, ...]:
    """Views of the tensors in their common shape."""
    given = tensors[0] if len(tensors) == 1 and isinstance(tensors[0], (list, tuple)) else tensors
    return tuple(broadcast("broadcast_tensors", *map(tensor, given)))


@of_tensor
def fliplr(x: Tensor) -> Tensor:
    """The second axis reversed. A view."""
    least_axes("fliplr", x, 2)
    return x[:, ::-1]


@of_tensor
def flipud(x: Tensor) -> Tensor:
    """The first axis reversed. A view."""
    least_axes("flipud", x, 1)
    return x[::-1]


@of_tensor
def rot90(x: Tensor, k: int = 1, axes: Sequence[int] = (0, 1)) -> Tensor:
    """Turned by ``k`` right angles in the plane of two axes, from the first towards the second. A view.

    >>> import microgradx as mgx
    >>> mgx.rot90(mgx.Tensor([[1.0, 2.0], [3.0, 4.0]])).tolist()
    [[2.0, 4.0], [1.0, 3.0]]
    """
    plane, (turns,) = axes_of("rot90", tuple(axes), x.ndim), integers("rot90", "k", (k,))
    if len(plane) != 2:
        raise ShapeError(f"rot90: a plane has two axes, not {tuple(axes)}")
    i, j = plane
    if turns % 4 == 2:
        return at(at(x, i, slice(None, None, -1)), j, slice(None, None, -1))
    if turns % 4 == 1:
        return at(x, j, slice(None, None, -1)).transpose(i, j)
    return at(x.transpose(i, j), j, slice(None, None, -1)) if turns % 4 else x.clone()


@of_tensor
def constant_pad_nd(x: Tensor, pad: Sequence[int], value: float = 0) -> Tensor:
    """``value`` before and after: (before, after) of the last axis first; negative numbers cut."""
    widths = integers("constant_pad_nd", "widths", tuple(pad))
    if len(widths) % 2 or len(widths) > 2 * x.ndim:
        raise ShapeError(f"constant_pad_nd: {len(widths)} widths for {x.ndim} axes")
    pairs = [(0, 0)] * x.ndim
    for k, (before, after) in enumerate(zip(widths[::2], widths[1::2], strict=True)):
        d = x.ndim - 1 - k
        if x.shape[d] + before + after < 0:
            raise ShapeError(f"constant_pad_nd: nothing is left of axis {d} of length {x.shape[d]} after cutting "
                             f"{(before, after)}")
        x = at(x, d, slice(max(-before, 0), x.shape[d] - max(-after, 0)))
        pairs[d] = (max(before, 0), max(after, 0))
    return widen(x, pairs, value)


# ----- diagonals ---------------------------------------------------------------------------------------------------

@of_tensor
def diag_embed(x: Tensor, offset: int = 0, axis1: int = -2, axis2: int = -1) -> Tensor:
    """Matrices with the last axis of x on their diagonal ``offset``, in the axes ``axis1`` and ``axis2``, else 0.

    >>> import microgradx as mgx
    >>> mgx.diag_embed(mgx.Tensor([[1.0, 2.0]])).tolist()
    [[[1.0, 0.0], [0.0, 2.0]]]
    """
    i, j = axes_of("diag_embed", (axis1, axis2), x.ndim + 1)
    least_axes("diag_embed", x)
    (shift,) = integers("diag_embed", "the offset", (offset,))
    if i > j:
        shift = -shift
    n, down, across = x.shape[-1], max(-shift, 0), max(shift, 0)
    square = Tensor(np.eye(n, dtype=np.bool_)).where(x.unsqueeze(-1).expand((*x.shape, n)),
                                                     Tensor(np.zeros((), x.dtype)))
    full = widen(square, [(0, 0)] * (x.ndim - 1) + [(down, across), (across, down)])
    order: list[int] = list(range(x.ndim - 1))
    for place, d in sorted([(min(i, j), x.ndim - 1), (max(i, j), x.ndim)]):
        order.insert(place, d)
    return full.permute(tuple(order))


@of_tensor
def diagflat(x: Tensor, k: int = 0) -> Tensor:
    """The matrix with all elements of x on its diagonal ``k`` and 0 elsewhere."""
    return diag_embed(x.reshape(-1), k)


def fill_diagonal_(x: Tensor, fill_value: float, wrap: bool = False) -> Tensor:
    """Write ``fill_value`` on the main diagonal of x, which has two axes, or more of one length; ``wrap`` goes on with
    it below a square in a tall matrix."""
    if x.ndim < 2 or x.ndim > 2 and len(set(x.shape)) > 1:
        raise ShapeError(f"fill_diagonal_: of two axes, or more of one length, not of shape {x.shape}")
    n = min(x.shape)
    if not wrap or x.ndim > 2 or x.shape[0] <= x.shape[1]:
        x[(np.arange(n),) * x.ndim] = fill_value
        return x
    flat = np.arange(0, x.size, x.shape[1] + 1)
    x[flat // x.shape[1], flat % x.shape[1]] = fill_value
    return x


def triangle_indices(op: str, cut: Any, row: int, col: int | None, offset: int, dtype: Any, device: Any) -> Tensor:
    """The rows and columns, (2, count), of the elements that ``cut`` keeps."""
    if device not in (None, "cpu"):
        raise OptionError(f"{op}: device={device!r} is none; microgradx runs on the CPU, 'cpu'")
    rows, columns, k = integers(op, "lengths", (row, row if col is None else col, offset))
    if min(rows, columns) < 0:
        raise ShapeError(f"{op}: lengths are not negative: {(rows, columns)}")
    found = Tensor(np.stack(cut(rows, k, columns)).astype(np.int64))
    return found if dtype is None else found.astype(dtype)


def tril_indices(row: int, col: int | None = None, offset: int = 0, *, dtype: Any = None,
                 device: Any = None) -> Tensor:
    """The positions of the lower triangle of (row, col), up to diagonal ``offset``: rows and columns, (2, count)."""
    return triangle_indices("tril_indices", np.tril_indices, row, col, offset, dtype, device)


def triu_indices(row: int, col: int | None = None, offset: int = 0, *, dtype: Any = None,
                 device: Any = None) -> Tensor:
    """The positions of the upper triangle of (row, col), from diagonal ``offset`` on: rows and columns, (2, count)."""
    return triangle_indices("triu_indices", np.triu_indices, row, col, offset, dtype, device)


# ----- grids -------------------------------------------------------------------------------------------------------

def meshgrid(*tensors: Any, indexing: str = "ij") -> tuple[Tensor, ...]:
    """Each of the 1-D tensors along an axis of its own, expanded to the grid of all; with ``indexing="xy"`` the first
    two axes are exchanged.

    >>> import microgradx as mgx
    >>> [g.tolist() for g in mgx.meshgrid(mgx.arange(2), mgx.arange(2))]
    [[[0, 0], [1, 1]], [[0, 1], [0, 1]]]
    """
    given = tensors[0] if len(tensors) == 1 and isinstance(tensors[0], (list, tuple)) else tensors
    xs = [tensor(x) for x in given]
    if indexing not in ("ij", "xy"):
        raise OptionError(f"meshgrid: indexing={indexing!r} is neither 'ij' nor 'xy'")
    for x in xs:
        if x.ndim > 1:
            raise ShapeError(f"meshgrid: of tensors with one axis, not of shape {x.shape}")
    grid = broadcast("meshgrid", *(x.reshape((1,) * k + (x.size,) + (1,) * (len(xs) - 1 - k))
                                   for k, x in enumerate(xs)))
    return tuple(g.transpose(0, 1) if indexing == "xy" and len(xs) > 1 else g for g in grid)


def cartesian_prod(*tensors: Data) -> Tensor:
    """All choices of one element of each of the 1-D tensors, one per row.

    >>> import microgradx as mgx
    >>> mgx.cartesian_prod(mgx.arange(2), mgx.arange(2)).tolist()
    [[0, 0], [0, 1], [1, 0], [1, 1]]
    """
    xs = [tensor(x) for x in tensors]
    if not xs or any(x.ndim != 1 for x in xs):
        raise ShapeError(f"cartesian_prod: of tensors with one axis, not of {[x.shape for x in xs]}")
    return xs[0] if len(xs) == 1 else stack([g.reshape(-1) for g in meshgrid(*xs)], 1)


@of_tensor
def combinations(x: Tensor, r: int = 2, with_replacement: bool = False) -> Tensor:
    """All choices of ``r`` elements of a 1-D tensor in their order, one per row.

    >>> import microgradx as mgx
    >>> mgx.combinations(mgx.arange(3)).tolist()
    [[0, 1], [0, 2], [1, 2]]
    """
    (count,) = integers("combinations", "r", (r,))
    if x.ndim != 1 or count < 0:
        raise ShapeError(f"combinations: of one axis, not of shape {x.shape}, and r = {count} is not negative")
    if count == 0 or count > x.size and not (with_replacement and x.size):
        return Tensor(np.zeros((0, count) if count else 0, x.dtype))
    choose = itertools.combinations_with_replacement if with_replacement else itertools.combinations
    return x[np.array(list(choose(range(x.size), count)), np.int64).reshape(-1, count)]


@of_tensor
def vander(x: Tensor, N: int | None = None, increasing: bool = False) -> Tensor:
    """The powers of a 1-D tensor, one element per row: x^(N-1), ..., x, 1, or the other way round."""
    (count,) = integers("vander", "N", (x.size if N is None else N,))
    if x.ndim != 1 or count < 0:
        raise ShapeError(f"vander: of one axis, not of shape {x.shape}, and N = {count} is not negative")
    columns = linalg.powers(x, count)
    return columns if increasing else columns[:, ::-1]


make_public(__name__)
