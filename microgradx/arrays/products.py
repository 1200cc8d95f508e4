"""Products of vectors and matrices, and distances, over ``@`` and sums."""
from __future__ import annotations

import math

import numpy as np

from microgradx import linalg
from microgradx._core.structured import power_of
from microgradx._core.tensor import Tensor
from microgradx._core.views import axis_of
from microgradx.arrays.common import broadcast, of_tensor, tensor, with_axes
from microgradx.errors import DTypeError, OptionError, ShapeError
from microgradx.linalg import vecdot
from microgradx.names import make_public
from microgradx.typing import Data

__all__ = ["addbmm", "addmv", "addr", "baddbmm", "cdist", "chain_matmul", "cross", "dist", "ger", "inner", "kron",
           "pdist", "renorm", "vdot", "vecdot"]

METHODS = "addbmm addmv addr baddbmm cross dist ger inner kron renorm vdot vecdot".split()


def factor(op: str, a: Tensor, b: Data, *ndims: int) -> Tensor:
    """``b`` as a tensor that may be multiplied with ``a``: both have so many axes, and the same batch."""
    b = tensor(b)
    if (a.ndim, b.ndim) != ndims:
        raise ShapeError(f"{op}: shapes {a.shape} and {b.shape} have {a.ndim} and {b.ndim} axes, not {ndims[0]} and "
                         f"{ndims[1]}")
    if ndims == (3, 3) and a.shape[0] != b.shape[0]:
        raise ShapeError(f"{op}: shapes {a.shape} and {b.shape} do not align ({a.shape[0]} != {b.shape[0]})")
    return b


def added(op: str, x: Tensor, product: Tensor, beta: float, alpha: float) -> Tensor:
    """beta x + alpha product, in the shape of the product; with ``beta`` 0 whatever is in x is not read."""
    if product.dtype.kind != "f" and not (float(beta).is_integer() and float(alpha).is_integer()):
        raise DTypeError(f"{op}: of integers beta={beta} and alpha={alpha} are integers")
    product = product if alpha == 1 else product * alpha
    if len(np.broadcast_shapes(x.shape, product.shape)) > product.ndim:
        raise ShapeError(f"{op}: shape {x.shape} does not broadcast to that of the product, {product.shape}")
    return product if beta == 0 else (x if beta == 1 else x * beta) + product


@of_tensor
def addmv(x: Tensor, mat: Data, vec: Data, *, beta: float = 1, alpha: float = 1) -> Tensor:
    """beta x + alpha mat @ vec, for a matrix and a vector."""
    a = tensor(mat)
    return added("addmv", x, a @ factor("addmv", a, vec, 2, 1), beta, alpha)


@of_tensor
def addr(x: Tensor, vec1: Data, vec2: Data, *, beta: float = 1, alpha: float = 1) -> Tensor:
    """beta x + alpha times the outer product of two vectors."""
    a = tensor(vec1)
    return added("addr", x, a.outer(factor("addr", a, vec2, 1, 1)), beta, alpha)


@of_tensor
def baddbmm(x: Tensor, batch1: Data, batch2: Data, *, beta: float = 1, alpha: float = 1) -> Tensor:
    """beta x + alpha batch1 @ batch2, for batches of matrices (b, m, k) and (b, k, n)."""
    a = tensor(batch1)
    return added("baddbmm", x, a @ factor("baddbmm", a, batch2, 3, 3), beta, alpha)


@of_tensor
def addbmm(x: Tensor, batch1: Data, batch2: Data, *, beta: float = 1, alpha: float = 1) -> Tensor:
    """beta x + alpha times the sum over the batch of batch1 @ batch2: (b, m, k) and (b, k, n) give (m, n)."""
    a = tensor(batch1)
    return added("addbmm", x, (a @ factor("addbmm", a, batch2, 3, 3)).sum(0), beta, alpha)


def chain_matmul(*matrices: Data) -> Tensor:
    """The product of matrices: ``linalg.multi_dot``, in the order that takes the fewest multiplications.

    >>> import microgradx as mgx
    >>> mgx.chain_matmul(mgx.ones(2, 3), mgx.ones(3, 1), mgx.ones(1, 2)).tolist()
    [[3.0, 3.0], [3.0, 3.0]]
    """
    xs = [tensor(x) for x in matrices]
    return xs[0].clone() if len(xs) == 1 else linalg.product_of("chain_matmul", xs)


@of_tensor
def inner(a: Tensor, b: Data) -> Tensor:
    """The sums of products over the last axes of both; a product where one has no axes.

    >>> import microgradx as mgx
    >>> mgx.inner(mgx.ones(2, 3), mgx.ones(4, 3)).shape
    (2, 4)
    """
    b = tensor(b)
    if not a.ndim or not b.ndim:
        return a * b
    if a.shape[-1] != b.shape[-1]:
        raise ShapeError(f"inner: shapes {a.shape} and {b.shape} do not align ({a.shape[-1]} != {b.shape[-1]})")
    rows, columns = math.prod(a.shape[:-1]), math.prod(b.shape[:-1])
    return (a.reshape(rows, a.shape[-1]) @ b.reshape(columns, b.shape[-1]).T).reshape(a.shape[:-1] + b.shape[:-1])


@of_tensor
def vdot(a: Tensor, b: Data) -> Tensor:
    """The sum of products of two vectors."""
    b = tensor(b)
    if a.ndim != 1 or b.ndim != 1 or a.size != b.size:
        raise ShapeError(f"vdot: shapes {a.shape} and {b.shape} are not two vectors of one length")
    return a @ b


@of_tensor
def ger(x: Tensor, vec2: Data) -> Tensor:
    """All products of two vectors: ``outer``."""
    return x.outer(vec2)


@of_tensor
def kron(a: Tensor, b: Data) -> Tensor:
    """The Kronecker product: b times each element of a, in blocks; the one with fewer axes gets leading ones.

    >>> import microgradx as mgx
    >>> mgx.kron(mgx.Tensor([1.0, 2.0]), mgx.Tensor([1.0, 10.0])).tolist()
    [1.0, 10.0, 2.0, 20.0]
    """
    b = tensor(b)
    ndim = max(a.ndim, b.ndim)
    a, b = with_axes(a, ndim), with_axes(b, ndim)
    spread = tuple(n for pair in zip(a.shape, (1,) * ndim, strict=True) for n in pair)
    filled = tuple(n for pair in zip((1,) * ndim, b.shape, strict=True) for n in pair)
    return (a.reshape(spread) * b.reshape(filled)).reshape(tuple(
        m * n for m, n in zip(a.shape, b.shape, strict=True)))


@of_tensor
def cross(x: Tensor, other: Data, axis: int | None = None) -> Tensor:
    """The cross product along ``axis``, of length 3; the first such axis where none is given.

    >>> import microgradx as mgx
    >>> mgx.cross(mgx.Tensor([1.0, 0.0, 0.0]), mgx.Tensor([0.0, 1.0, 0.0]))
    Tensor([0., 0., 1.])
    """
    a, b = broadcast("cross", x, tensor(other))
    if axis is None:
        axis = next((d for d, n in enumerate(a.shape) if n == 3), None)
        if axis is None:
            raise ShapeError(f"cross: shape {a.shape} has no axis of length 3")
    return linalg.cross(a, b, axis)


# ----- distances ---------------------------------------------------------------------------------------------------

@of_tensor
def dist(x: Tensor, other: Data, p: float = 2) -> Tensor:
    """The norm of order ``p`` of x - other, which broadcast."""
    return (x - tensor(other)).norm(p)


@of_tensor
def cdist(x1: Tensor, x2: Data, p: float = 2.0, compute_mode: str = "use_mm_for_euclid_dist_if_necessary") -> Tensor:
    """The distances of order ``p`` of each row of ``x1`` from each of ``x2``: (..., m, k), (..., n, k) -> (..., m, n).

    The gradient of a distance 0 is 0. Distances are taken of differences, whatever ``compute_mode`` (one of torch's
    three) says: that is the more exact of torch's ways.

    >>> import microgradx as mgx
    >>> mgx.cdist(mgx.Tensor([[0.0, 0.0]]), mgx.Tensor([[3.0, 4.0]]))
    Tensor([[5.]])
    """
    a, b = x1, tensor(x2)
    modes = [f"{use}use_mm_for_euclid_dist{when}" for use, when in (("", "_if_necessary"), ("", ""), ("donot_", ""))]
    if compute_mode not in modes:
        raise OptionError(f"cdist: compute_mode={compute_mode!r} is none of {', '.join(map(repr, modes))}")
    if a.ndim < 2 or b.ndim < 2 or a.shape[-1] != b.shape[-1]:
        raise ShapeError(f"cdist: shapes {a.shape} and {b.shape} do not align; (..., m, k) and (..., n, k) do")
    if p < 0:
        raise OptionError(f"cdist: p={p} is negative")
    a, b = broadcast("cdist", a.unsqueeze(-2), b.unsqueeze(-3))
    return (a - b).norm(p, -1)


@of_tensor
def pdist(x: Tensor, p: float = 2.0) -> Tensor:
    """The distances of order ``p`` of the rows of (n, k), each pair once: (n (n - 1) / 2,).

    >>> import microgradx as mgx
    >>> mgx.pdist(mgx.Tensor([[0.0], [1.0], [3.0]]))
    Tensor([1., 3., 2.])
    """
    if x.ndim != 2:
        raise ShapeError(f"pdist: of two axes, not of shape {x.shape}")
    if p < 0:
        raise OptionError(f"pdist: p={p} is negative")
    i, j = np.triu_indices(x.shape[0], 1)
    return (x[i] - x[j]).norm(p, -1)


@of_tensor
def renorm(x: Tensor, p: float, axis: int, maxnorm: float) -> Tensor:
    """Each ``x[k]`` along ``axis`` scaled down to the norm ``maxnorm`` of order ``p``, where its norm is larger.

    >>> import microgradx as mgx
    >>> mgx.renorm(mgx.Tensor([[3.0, 4.0], [0.3, 0.4]]), 2, 0, 1).tolist()[1]
    [0.30000001192092896, 0.4000000059604645]
    """
    d = axis_of("renorm", axis, x.ndim)
    if x.ndim < 2 or not p > 0 or maxnorm < 0:
        raise OptionError(f"renorm: of at least two axes with p > 0 and maxnorm >= 0, not of shape {x.shape} with "
                          f"p={p}, maxnorm={maxnorm}")
    others = tuple(k for k in range(x.ndim) if k != d)
    unit = power_of(x, others)                                  # in which no square of a norm overflows
    row = x / unit
    norm = row.norm(p, others, True)
    return (norm > maxnorm / unit).where(row * (maxnorm / (norm + 1e-7 / unit)), x)


make_public(__name__)
