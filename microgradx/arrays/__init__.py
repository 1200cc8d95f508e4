"""Axes, repetition, tests and products: a few lines each over the methods of ``Tensor``.

So gradients of every order follow. What stands in ``METHODS`` is also a method of ``Tensor``, the same object; torch's
``dim``, ``dims`` and ``keepdim`` are accepted for ``axis`` and ``keepdims``. What is given first may be a list or an
array. Axes are counted from the end where they are negative; one that does not exist raises.
"""
from __future__ import annotations

import builtins
import math
from collections.abc import Callable, Iterable
from typing import Any, overload

import numpy as np

from microgradx._core.creation import integers, lengths
from microgradx._core.structured import power_of
from microgradx._core.tensor import Tensor, attach, concat, pad
from microgradx._core.value import Value
from microgradx._core.value import dot as dot_of_values
from microgradx._core.views import axis_of
from microgradx.arrays import elementwise, matrices, pieces, products, special, statistics
from microgradx.arrays.common import at, axes_of, broadcast, floats, least_axes, of_line, of_tensor, tensor, with_axes
from microgradx.arrays.elementwise import *
from microgradx.arrays.matrices import *
from microgradx.arrays.pieces import *
from microgradx.arrays.products import *
from microgradx.arrays.special import *
from microgradx.arrays.statistics import *
from microgradx.creation import real
from microgradx.errors import DTypeError, OptionError, ShapeError
from microgradx.names import make_public
from microgradx.inplace import in_place
from microgradx.typing import Axes, Axis, Data, DType, Lengths, Number

rounded, clipped, logits = Tensor.round, Tensor.clip, Tensor.logit            # the rows
METHODS = """addmm allclose bmm broadcast_to chunk clamp cumprod diag diagonal dot flip isclose isfinite isinf
             isnan mm moveaxis movedim mv ravel repeat repeat_interleave roll swapaxes tile trace unbind""".split()

IN_PLACE = """addbmm addmm addmv addr baddbmm bitwise_and bitwise_left_shift bitwise_not bitwise_or bitwise_right_shift
              bitwise_xor clamp clamp_max clamp_min clip copysign cumprod deg2rad digamma erfinv float_power
              floor_divide frac gcd heaviside i0 igamma igammac lcm ldexp lgamma logical_and logical_not logical_or
              logical_xor logit mvlgamma nan_to_num nextafter polygamma rad2deg renorm round sgn sinc""".split()

__all__ = ["addmm", "all", "allclose", "any", "bmm", "broadcast_to", "cat", "chunk", "clamp", "concatenate",
           "cosine_similarity", "cumprod", "diag", "diagonal", "dot", "flip", "glu", "hstack", "isclose", "isfinite",
           "isinf", "isnan", "mm", "moveaxis", "movedim", "mv", "normalize", "ravel", "repeat", "repeat_interleave",
           "roll", "swapaxes", "tensordot", "tile", "trace", "unbind", "vstack"]

PARTS = (elementwise, matrices, pieces, products, special, statistics)
__all__ += [name for part in PARTS for name in part.__all__]
METHODS += [name for part in PARTS for name in part.METHODS]


# ----- axes ------------------------------------------------------------------------------------------------------

@of_tensor
def broadcast_to(x: Tensor, *shape: Lengths) -> Tensor:
    """A view broadcast to ``shape``, as ``expand``."""
    return x.expand(*shape)


@of_tensor
def ravel(x: Tensor) -> Tensor:
    """All axes as one."""
    return x.reshape(-1)


@of_tensor
def swapaxes(x: Tensor, axis0: int, axis1: int) -> Tensor:
    """Two axes exchanged. A view."""
    return x.transpose(axis0, axis1)


@of_tensor
def movedim(x: Tensor, source: Axes, destination: Axes) -> Tensor:
    """The axes ``source`` at the places ``destination``, the others in their order. A view.

    >>> import microgradx as mgx
    >>> mgx.movedim(mgx.ones(2, 3, 4), 0, -1).shape
    (3, 4, 2)
    """
    source, destination = axes_of("movedim", source, x.ndim), axes_of("movedim", destination, x.ndim)
    if len(source) != len(destination):
        raise ShapeError(f"movedim: {len(source)} axes for {len(destination)} places")
    order = [d for d in range(x.ndim) if d not in source]
    for place, d in sorted(zip(destination, source, strict=True)):
        order.insert(place, d)
    return x.permute(tuple(order[:x.ndim]))


@of_tensor
def diagonal(x: Tensor, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Tensor:
    """The diagonal of the axes ``axis1`` and ``axis2``, as the last axis; ``offset`` > 0 is above it, < 0 below.

    >>> import microgradx as mgx
    >>> mgx.diagonal(mgx.Tensor([[1.0, 2.0], [3.0, 4.0]]), 1)
    Tensor([2.])
    """
    i, k = axes_of("diagonal", (axis1, axis2), x.ndim)
    down, across = max(-offset, 0), max(offset, 0)
    along = np.arange(max(min(x.shape[i] - down, x.shape[k] - across), 0))
    rest = tuple(d for d in range(x.ndim) if d not in (i, k))
    return x.permute(rest + (i, k))[..., along + down, along + across]


@of_tensor
def diag(x: Tensor, k: int = 0) -> Tensor:
    """Of a matrix its diagonal ``k``; of (n,) the matrix with that diagonal and 0 elsewhere.

    >>> import microgradx as mgx
    >>> mgx.diag([1.0, 2.0])
    Tensor([[1., 0.],
            [0., 2.]])
    """
    if x.ndim == 2:
        return diagonal(x, k)
    if x.ndim != 1:
        raise ShapeError(f"diag: of one or two axes, not of shape {x.shape}")
    down, across = max(-k, 0), max(k, 0)
    square = Tensor(np.eye(x.size, dtype=bool)).where(x, Tensor(0, dtype=x.dtype))
    return pad(square, ((down, across), (across, down)))


@of_tensor
def trace(x: Tensor, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Tensor:
    """The sum of ``diagonal(x, offset, axis1, axis2)``."""
    return diagonal(x, offset, axis1, axis2).sum(-1)


# ----- repetition and rotation -----------------------------------------------------------------------------------

def several(x: Tensor, axis: int, times: int, place: int) -> Tensor:
    """``times`` copies along ``axis``: side by side (place = axis) or element by element (place = axis + 1)."""
    outer, inner = math.prod(x.shape[:place]), math.prod(x.shape[place:])
    wide = x.reshape(outer, 1, inner).expand(outer, times, inner).clone()
    return wide.reshape(x.shape[:axis] + (times * x.shape[axis],) + x.shape[axis + 1:])


@of_tensor
def tile(x: Tensor, *reps: Lengths) -> Tensor:
    """The whole of ``x``, ``reps`` times along each axis; what torch calls ``repeat``.

    >>> import microgradx as mgx
    >>> mgx.tile(mgx.Tensor([1.0, 2.0]), 2, 2)
    Tensor([[1., 2., 1., 2.],
            [1., 2., 1., 2.]])
    """
    reps = lengths("tile", reps, "repetitions")
    ndim = max(x.ndim, len(reps))
    x, reps = x.reshape((1,) * (ndim - x.ndim) + x.shape), (1,) * (ndim - len(reps)) + reps
    for d, times in enumerate(reps):
        x = x if times == 1 else several(x, d, times, d)
    return x if set(reps) - {1} else x.clone()


@of_tensor
def repeat(x: Tensor, repeats: Data, *more: Data, axis: Axis = None) -> Tensor:
    """Each element ``repeats`` times, an int or one per index of ``axis``; without an axis, of the flattened tensor.

    NumPy's ``repeat``; torch's ``x.repeat(2, 1)`` is ``x.tile(2, 1)``. So that the two are not confused, ``axis`` is
    given by name; ``repeat_interleave`` takes it by position, too.

    >>> import microgradx as mgx
    >>> mgx.repeat(mgx.Tensor([1.0, 2.0]), 2)
    Tensor([1., 1., 2., 2.])
    """
    if more:
        given = ", ".join(map(str, (repeats, *more)))
        raise OptionError(f"repeat: each element a number of times, as NumPy's; x.tile({given}) repeats the whole, as "
                          f"torch's x.repeat({given}) does")
    return repeated("repeat", x, repeats, axis, None)


@of_tensor
def repeat_interleave(x: Tensor, repeats: Data, axis: Axis = None, *, output_size: int | None = None) -> Tensor:
    """Each element ``repeats`` times, an int or one per index of ``axis``; without an axis, of the flattened tensor.

    Raises ``ShapeError`` where ``output_size`` is given and is not the length of the axis of the result.

    >>> import microgradx as mgx
    >>> mgx.repeat_interleave(mgx.Tensor([[1.0, 2.0]]), 2, 0).tolist()
    [[1.0, 2.0], [1.0, 2.0]]
    """
    return repeated("repeat_interleave", x, repeats, axis, output_size)


def repeated(op: str, x: Tensor, repeats: Data, axis: Axis, output_size: int | None) -> Tensor:
    if axis is None or x.ndim == 0:
        x = x.reshape(-1)
    axis = axis_of(op, 0 if axis is None else axis, x.ndim)
    try:
        counts = np.asarray(repeats)
    except ValueError:                          # a ragged list
        counts = np.array(None)
    if counts.dtype.kind not in "iu":
        raise DTypeError(f"{op}: counts are integers, not {repeats!r}")
    if counts.size and counts.min() < 0:
        raise ShapeError(f"{op}: counts are not negative ({counts.min()} < 0)")
    total = int(counts.sum()) * (x.shape[axis] if counts.size == 1 else 1)
    if output_size is not None and output_size != total:
        raise ShapeError(f"{op}: output_size={output_size}, and the counts sum up to {total}")
    if counts.ndim == 0:
        return several(x, axis, int(counts), axis + 1)
    if counts.shape not in ((1,), (x.shape[axis],)):
        raise ShapeError(f"{op}: counts of shape {counts.shape} for axis {axis} of length {x.shape[axis]}")
    return at(x, axis, np.repeat(np.arange(x.shape[axis]), counts))


@of_tensor
def flip(x: Tensor, axis: Axes = None) -> Tensor:
    """The order along ``axis`` reversed: an int, a tuple, or None for all. A view."""
    axes = axes_of("flip", axis, x.ndim)
    return x[tuple(slice(None, None, -1 if d in axes else None) for d in range(x.ndim))]


@of_tensor
@of_line
def roll(x: Tensor, shifts: int | tuple[int, ...], axis: Axes = None) -> Tensor:
    """Moved on by ``shifts`` along ``axis``, what falls off comes in again; without an axis through the whole.

    >>> import microgradx as mgx
    >>> mgx.roll(mgx.Tensor([1.0, 2.0, 3.0]), 1)
    Tensor([3., 1., 2.])
    """
    if axis is None:
        return roll(x.reshape(-1), shifts, 0).reshape(x.shape)
    shifts, axes = integers("roll", "shifts", (shifts,)), axis if isinstance(axis, (tuple, list)) else (axis,)
    if len(shifts) != len(axes):
        raise ShapeError(f"roll: {len(shifts)} shifts for {len(axes)} axes")
    for shift, d in zip(shifts, (axis_of("roll", d, x.ndim) for d in axes), strict=True):
        first = -shift % max(x.shape[d], 1)
        x = concat([at(x, d, slice(first, None)), at(x, d, slice(first))], d)
    return x


def rows(op: str, tensors: Iterable[Data], ndim: int) -> list[Tensor]:
    """Tensors with at least ``ndim`` axes."""
    xs = [tensor(x) for x in tensors]
    if not xs:
        raise ShapeError(f"{op}: of no tensors")
    return [with_axes(x, ndim) for x in xs]


def hstack(tensors: Iterable[Data]) -> Tensor:
    """Join along the second axis, or along the only one."""
    xs = rows("hstack", tensors, 1)
    return concat(xs, min(xs[0].ndim - 1, 1))


def vstack(tensors: Iterable[Data]) -> Tensor:
    """Join along the first axis, where (n,) counts as (1, n)."""
    return concat(rows("vstack", tensors, 2), 0)


@of_tensor
def chunk(x: Tensor, chunks: int, axis: int = 0) -> tuple[Tensor, ...]:
    """At most ``chunks`` views along ``axis``, of one length but for the last; torch's rule.

    >>> import microgradx as mgx
    >>> [part.tolist() for part in mgx.chunk(mgx.arange(5), 2)]
    [[0, 1, 2], [3, 4]]
    """
    least_axes("chunk", x)
    d, (count,) = axis_of("chunk", axis, x.ndim), integers("chunk", "the number of chunks", (chunks,))
    if count < 1:
        raise ShapeError(f"chunk: into {count} pieces")
    return x.split(-(-x.shape[d] // count), d) if x.shape[d] else x.split([0] * count, d)


@of_tensor
def unbind(x: Tensor, axis: int = 0) -> tuple[Tensor, ...]:
    """The views ``x[0], x[1], ...`` along ``axis``."""
    least_axes("unbind", x)
    d = axis_of("unbind", axis, x.ndim)
    return tuple(at(x, d, k) for k in range(x.shape[d]))


# ----- tests of elements -----------------------------------------------------------------------------------------

@of_tensor
def isnan(x: Tensor) -> Tensor:
    """Where x is nan."""
    return x != x


@of_tensor
def isinf(x: Tensor) -> Tensor:
    """Where x is inf or -inf."""
    return x.detach().abs() == np.inf


@of_tensor
def isfinite(x: Tensor) -> Tensor:
    """Where x is a number and neither inf nor -inf."""
    return x.detach().abs() < np.inf


@of_tensor
def isclose(x: Tensor, other: Data, rtol: float = 1e-5, atol: float = 1e-8, equal_nan: bool = False) -> Tensor:
    """Where |x - other| <= atol + rtol |other|."""
    with np.errstate(all="ignore"):
        a, b = (np.asarray(t.detach()) for t in broadcast("isclose", x, tensor(other)))
        return Tensor(np.isclose(a, b, real("isclose", "rtol", rtol), real("isclose", "atol", atol), bool(equal_nan)))


@of_tensor
def allclose(x: Tensor, other: Data, rtol: float = 1e-5, atol: float = 1e-8, equal_nan: bool = False) -> bool:
    """Whether ``isclose`` holds everywhere: True or False."""
    return bool(isclose(x, other, rtol, atol, equal_nan).all())


@of_tensor
def any(x: Tensor, axis: Axes = None, keepdims: bool = False) -> Tensor:
    """Whether an element along ``axis`` is not 0; a bool tensor."""
    return x.any(axis, keepdims)


@of_tensor
def all(x: Tensor, axis: Axes = None, keepdims: bool = False) -> Tensor:
    """Whether no element along ``axis`` is 0; a bool tensor."""
    return x.all(axis, keepdims)


# ----- products --------------------------------------------------------------------------------------------------

def product(op: str, *ndims: int) -> Callable[[Data, Data], Tensor]:
    """The matrix product of operands with so many axes."""
    def call(a: Tensor, b: Data) -> Tensor:
        return a @ products.factor(op, a, b, *ndims)

    call.__name__ = call.__qualname__ = op
    call.__doc__ = f"The matrix product of operands with {ndims[0]} and {ndims[1]} axes."
    return of_tensor(call)


mm, mv, bmm, dot_of_tensors = product("mm", 2, 2), product("mv", 2, 1), product("bmm", 3, 3), product("dot", 1, 1)


@overload
def dot(a: Tensor, b: Data) -> Tensor: ...
@overload
def dot(a: Iterable[Number], b: Iterable[Number]) -> Value: ...
def dot(a: Any, b: Any) -> Any:
    """The sum of products of two 1-D tensors; of two equally long sequences with Values among them, as one node.

    >>> import microgradx as mgx
    >>> mgx.dot(mgx.Tensor([1.0, 2.0]), mgx.Tensor([3.0, 4.0]))
    Tensor(11.)
    >>> mgx.dot([mgx.Value(1.0), 2.0], [3.0, 4.0]).data
    11.0
    """
    return (dot_of_tensors if isinstance(a, Tensor) or isinstance(b, Tensor) else dot_of_values)(a, b)


@of_tensor
def addmm(x: Tensor, mat1: Data, mat2: Data, *, beta: float = 1, alpha: float = 1) -> Tensor:
    """beta x + alpha mat1 @ mat2 for matrices; with ``beta`` 0 whatever is in x is not read."""
    scaled = mm(mat1, mat2) if alpha == 1 else mm(mat1, mat2) * alpha
    return scaled if beta == 0 else scaled + (x if beta == 1 else x * beta)


@of_tensor
def tensordot(a: Tensor, b: Data, axes: Any = 2) -> Tensor:
    """The sum of products over ``axes``: so many last axes of a and first of b, or a pair of lists of axes.

    >>> import microgradx as mgx
    >>> mgx.tensordot(mgx.ones(2, 3, 4), mgx.ones(4, 3), ([1, 2], [1, 0])).tolist()
    [12.0, 12.0]
    """
    b = tensor(b)
    if isinstance(axes, (tuple, list)):
        i, k = axes_of("tensordot", axes[0], a.ndim), axes_of("tensordot", axes[1], b.ndim)
    elif not 0 <= axes <= min(a.ndim, b.ndim):
        raise ShapeError(f"tensordot: {axes} axes of shapes {a.shape} and {b.shape}")
    else:
        i, k = tuple(range(a.ndim - axes, a.ndim)), tuple(range(axes))
    summed, also = tuple(a.shape[d] for d in i), tuple(b.shape[d] for d in k)
    if summed != also:
        raise ShapeError(f"tensordot: shapes {a.shape} and {b.shape} do not align over axes {i} and {k} "
                         f"({summed} != {also})")
    rows, columns = (tuple(d for d in range(x.ndim) if d not in used) for x, used in ((a, i), (b, k)))
    shape = tuple(a.shape[d] for d in rows) + tuple(b.shape[d] for d in columns)
    m, n, c = (math.prod(x.shape[d] for d in axes) for x, axes in ((a, rows), (b, columns), (a, i)))
    return (a.permute(rows + i).reshape(m, c) @ b.permute(k + columns).reshape(c, n)).reshape(shape)


@of_tensor
@of_line
def cumprod(x: Tensor, axis: Axis = None, *, dtype: DType = None) -> Tensor:
    """Running products along ``axis``, or without one of the flattened tensor, by doubling: exact gradients where
    elements are 0. Integers and masks give int64; ``dtype`` converts first."""
    if dtype is not None:
        return cumprod(x.astype(dtype), axis).astype(dtype)
    if axis is None:
        return cumprod(x.reshape(-1), 0)
    d, reach = axis_of("cumprod", axis, x.ndim), 1
    x = x.astype(np.int64) if x.dtype == np.bool_ else x.clone()
    while reach < x.shape[d]:                   # each holds the product of the last `reach` elements up to it
        head, tail = at(x, d, slice(reach)), at(x, d, slice(reach, None))
        x = concat([head, tail * at(x, d, slice(-reach))], d)
        reach *= 2
    return x


@of_tensor
def normalize(x: Tensor, p: float = 2, axis: int = 1, eps: float = 1e-12) -> Tensor:
    """x / max(norm of x, eps), the norm of order ``p`` along ``axis``.

    >>> import microgradx as mgx
    >>> mgx.normalize(mgx.Tensor([[3.0, 4.0]]))
    Tensor([[0.6, 0.8]])
    """
    axis_of("normalize", axis, x.ndim)
    unit = power_of(x, axis)
    unit = (unit > eps).where(unit, 1.0) if p else Tensor(1.0, dtype=unit.dtype)    # no norm overflows in these units
    row = x / unit
    return row / row.norm(p, axis, keepdims=True).maximum(eps / unit)


@of_tensor
def cosine_similarity(a: Tensor, b: Data, axis: int = 1, eps: float = 1e-8) -> Tensor:
    """The cosine of the angle between a and b, which broadcast, along ``axis``; norms below ``eps`` count as eps."""
    a, b = broadcast("cosine_similarity", a, tensor(b))
    axis_of("cosine_similarity", axis, a.ndim)
    return (normalize(a, 2, axis, eps) * normalize(b, 2, axis, eps)).sum(axis)


@of_tensor
def glu(x: Tensor, axis: int = -1) -> Tensor:
    """a sigmoid(b), where a and b are the halves of x along ``axis``. Dauphin et al. (2017), eq. 1.

    >>> import microgradx as mgx
    >>> mgx.glu(mgx.Tensor([4.0, 0.0]))
    Tensor([2.])
    """
    least_axes("glu", x)
    d = axis_of("glu", axis, x.ndim)
    half, odd = divmod(x.shape[d], 2)
    if odd:
        raise ShapeError(f"glu: axis {d} of shape {x.shape} has no halves ({x.shape[d]} is odd)")
    return at(x, d, slice(half)) * at(x, d, slice(half, None)).sigmoid()


# ----- in place, as methods ------------------------------------------------------------------------------------

def add_(x: Tensor, other: Data, *, alpha: float = 1) -> Tensor:
    """x += alpha other."""
    x += other if alpha == 1 else tensor(other) * alpha
    return x


def sub_(x: Tensor, other: Data, *, alpha: float = 1) -> Tensor:
    """x -= alpha other."""
    x -= other if alpha == 1 else tensor(other) * alpha
    return x


def mul_(x: Tensor, other: Data) -> Tensor:
    """x *= other."""
    x *= other
    return x


def div_(x: Tensor, other: Data, *, rounding_mode: str | None = None) -> Tensor:
    """x /= other, rounded as ``div`` does."""
    if rounding_mode is not None:
        return divided(x, other, rounding_mode=rounding_mode)
    x /= other
    return x


def addcmul_(x: Tensor, tensor1: Data, tensor2: Data, *, value: float = 1) -> Tensor:
    """x += value tensor1 tensor2."""
    return add_(x, tensor(tensor1) * tensor2, alpha=value)


def addcdiv_(x: Tensor, tensor1: Data, tensor2: Data, *, value: float = 1) -> Tensor:
    """x += value tensor1 / tensor2."""
    return add_(x, tensor(tensor1) / tensor2, alpha=value)


# ----- torch's names -------------------------------------------------------------------------------------------

@of_tensor
def clamp(x: Tensor, min: Data | None = None, max: Data | None = None) -> Tensor:
    """``x.clip(min, max)``."""
    return x.clip(min, max)


# Methods that have more options here than the rows of their names, which Values share.

def add(x: Tensor, other: Data, *, alpha: float = 1) -> Tensor:
    """x + alpha other."""
    return x + (other if alpha == 1 else tensor(other) * alpha)


def sub(x: Tensor, other: Data, *, alpha: float = 1) -> Tensor:
    """x - alpha other."""
    return x - (other if alpha == 1 else tensor(other) * alpha)


def div(x: Tensor, other: Data, *, rounding_mode: str | None = None) -> Tensor:
    """x / other; ``rounding_mode`` "floor" rounds down, as ``//`` does, and "trunc" towards 0.

    >>> import microgradx as mgx
    >>> mgx.Tensor([-3.0]).div(2, rounding_mode="trunc")
    Tensor([-1.])
    """
    if rounding_mode == "floor":
        return x // other
    if rounding_mode == "trunc":
        if builtins.all(t.dtype.kind == "i" if isinstance(t, Tensor) else isinstance(t, int) for t in (x, other)):
            down, rest = x // other, x % other              # by 0 both are 0
            return down + ((rest != 0) & ((x < 0) != (tensor(other) < 0)))
        return (x / other).trunc()
    if rounding_mode is not None:
        raise OptionError(f"div: rounding_mode is None, 'floor' or 'trunc', not {rounding_mode!r}")
    return x / other


divided = in_place(div)


def round(x: Tensor, decimals: int = 0) -> Tensor:
    """The nearest number with ``decimals`` digits behind the point, the even one of two; negative ones round to tens.

    >>> import microgradx as mgx
    >>> mgx.Tensor([0.126, 2.5]).round(decimals=2)
    Tensor([0.13, 2.5 ])
    """
    digits, = integers("round", "decimals", ((decimals,),))
    if digits == 0:
        return rounded(x)
    if builtins.abs(digits) > (38 if x.dtype == np.float32 else 308):       # all digits, or none
        return x.clone() if digits > 0 else x * 0.0
    scale = 10.0 ** builtins.abs(digits)
    return builtins.round(x * 1.0, digits) if digits > 0 else rounded(x / scale) * scale


def logit(x: Tensor, eps: float | None = None) -> Tensor:
    """log(x / (1 - x)), of x held between ``eps`` and 1 - eps, if that is given.

    >>> import microgradx as mgx
    >>> mgx.Tensor([0.0, 0.5]).logit(0.5)
    Tensor([0., 0.])
    """
    return logits(x if eps is None else clipped(floats(x), real("logit", "eps", eps), 1 - eps))


def clip(x: Tensor, min: Data | None = None, max: Data | None = None, *, lo: Data | None = None,
         hi: Data | None = None) -> Tensor:
    """x, held between ``min`` and ``max``, also called lo and hi; None leaves a side open."""
    return clipped(x, lo if min is None else min, hi if max is None else max)


# ----- second names, and methods ---------------------------------------------------------------------------------

moveaxis = movedim
cat = concatenate = concat
make_public(__name__)
attach({name: globals()[name] for name in METHODS})
attach({f"{name}_": in_place(globals()[name]) for name in IN_PLACE})
attach({f.__name__: f for f in (add, sub, div, round, clip, logit, add_, sub_, mul_, div_, addcmul_, addcdiv_,
                                pieces.fill_diagonal_)})
