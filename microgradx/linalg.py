"""Linear algebra over the last two axes, by NumPy's LAPACK, with gradients of every order.

The decompositions are host operations: one row each says what comes out, how NumPy computes it, and the gradient,
written in operations. The formulas are those of Giles, An extended collection of matrix derivative results for
forward and reverse mode algorithmic differentiation (2008), and for least squares Golub and Pereyra (1973). The rest
is composed. Matrices are float32 or float64; leading axes are a batch, except in ``lstsq`` and ``pinv``. Of a matrix
that holds an inf or a nan all results are nan.
"""
from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from microgradx._core.structured import HostOperation
from microgradx._core.tensor import Tensor, pad
from microgradx._core.views import axis_of
from microgradx.creation import eye
from microgradx.errors import DTypeError, Error, OptionError, ShapeError, name_errors
from microgradx.typing import Data, Function

__all__ = ["LinAlgError", "cholesky", "det", "eigh", "eigvalsh", "inv", "lstsq", "matrix_norm", "pinv", "slogdet",
           "solve", "svdvals", "vector_norm"]


class LinAlgError(Error, np.linalg.LinAlgError):
    """A matrix is singular or not positive definite, or an iteration did not converge."""


class SlogDet(NamedTuple):
    """det = sign * exp(logabsdet)."""
    sign: Tensor
    logabsdet: Tensor


class Eigh(NamedTuple):
    """a @ eigenvectors = eigenvectors * eigenvalues."""
    eigenvalues: Tensor
    eigenvectors: Tensor


class LeastSquares(NamedTuple):
    """What ``lstsq`` gives: residuals are sums of squares, one per column."""
    solution: Tensor
    residuals: Tensor
    rank: int
    singular_values: Tensor


Result: TypeAlias = tuple[tuple[int, ...], Any]             # shape and dtype
One: TypeAlias = Callable[..., Tensor]                      # operations by what they give
Two: TypeAlias = Callable[..., tuple[Tensor, Tensor]]


# ----- what is asked of operands ---------------------------------------------------------------------------------

def matrices(op: str, *xs: Data, square: bool = True) -> list[Tensor]:
    """Tensors of one float dtype that hold matrices, the first of them square ones."""
    tensors = [x if isinstance(x, Tensor) else Tensor(x) for x in xs]
    a = tensors[0]
    if a.dtype.kind != "f" or len({x.dtype for x in tensors}) > 1:
        raise DTypeError(f"{op}: all float32 or all float64, not {', '.join(str(x.dtype) for x in tensors)}")
    if a.ndim < 2:
        raise ShapeError(f"{op}: of shape {a.shape}, which has no rows and columns")
    if square and a.shape[-2] != a.shape[-1]:
        raise ShapeError(f"{op}: of shape {a.shape}, which is not square ({a.shape[-2]} != {a.shape[-1]})")
    return tensors


def by_numpy(name: str, results: Function, compute: Function, vjps: list[list[Function]]) -> HostOperation:
    """The host operation whose results ``compute`` gives; where LAPACK fails the error tells the operation.

    The results of a matrix with an inf or a nan in it are nan: LAPACK may give any numbers for it.
    """
    def forward(*arrays: npt.NDArray[Any]) -> None:
        outs, (a, *rest) = arrays[:count], arrays[count:]
        sound = np.isfinite(a).all((-2, -1))
        if not sound.all():
            a = np.where(sound[..., None, None], a, np.eye(*a.shape[-2:], dtype=a.dtype))
        try:
            found = compute(a, *rest)
        except np.linalg.LinAlgError as error:
            raise LinAlgError(f"{name}: shape {a.shape}: {error}") from None
        for out, x in zip(outs, found if count == 2 else (found,), strict=True):
            out[...] = x
            out[~sound] = np.nan

    count = len(vjps)
    return HostOperation(name, results, forward, vjps)


# ----- the decompositions ----------------------------------------------------------------------------------------

def _spread(g: Tensor) -> Tensor:
    """A number per matrix, to be multiplied with it."""
    return g[..., None, None]


def _cholesky_vjp(g: Tensor, low: Tensor, a: Tensor) -> Tensor:
    n = a.shape[-1]
    half = Tensor(np.tril(np.ones((n, n))) - np.eye(n) / 2, dtype=a.dtype)
    return solve(low.mT, solve(low.mT, ((low.mT @ g) * half).mT).mT)


def _eigenvectors_vjp(g: Tensor, w: Tensor, v: Tensor, a: Tensor) -> Tensor:
    gap = w[..., None, :] - w[..., :, None]
    return v @ ((gap == 0).where(0.0, 1 / gap) * (v.mT @ g)) @ v.mT


def _cofactors(a: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """The derivative of det, by singular values: exact for singular matrices, too."""
    u, s, vt = np.linalg.svd(a)
    others = np.where(np.eye(s.shape[-1], dtype=bool), 1, s[..., None, :]).prod(-1)
    signs = np.linalg.det(u) * np.linalg.det(vt)
    cofactors: npt.NDArray[Any] = signs[..., None, None] * (u * others[..., None, :] @ vt)
    return cofactors


def _cofactors_vjp(g: Tensor, c: Tensor, a: Tensor) -> Tensor:
    v = inv(a).mT
    return (g * v).sum((-2, -1), keepdims=True) * c - c @ g.mT @ v


def _lstsq_vjp(g: Tensor, x: Tensor, s: Tensor, a: Tensor, b: Tensor) -> Tensor:
    z = _lstsq(a.mT, g)[0]
    rest = g - _lstsq(a, a @ g)[0]
    return (b - a @ x) @ _lstsq(a, z)[0].mT - z @ x.mT + _lstsq(a.mT, x)[0] @ rest.mT


def _least_squares(a: npt.NDArray[Any], b: npt.NDArray[Any]) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """(solution, singular values); nan for a column of b with an inf or a nan, for LAPACK would print a line of it."""
    sound = np.isfinite(b).all(0)
    solution, _, _, values = np.linalg.lstsq(a, np.where(sound, b, 0))
    solution[:, ~sound] = np.nan
    return solution, values


def _like(a: Tensor) -> list[Result]:
    return [(a.shape, a.dtype)]


def _numbers(a: Tensor) -> Result:
    return (a.shape[:-2], a.dtype)


_cholesky: One = by_numpy("cholesky", _like, np.linalg.cholesky, [[_cholesky_vjp]])
_solve: One = by_numpy("solve", lambda a, b: _like(b), np.linalg.solve,
                       [[lambda g, x, a, b: -(_solve(a.mT, g) @ x.mT), lambda g, x, a, b: _solve(a.mT, g)]])
_inv: One = by_numpy("inv", _like, np.linalg.inv, [[lambda g, y, a: -(y.mT @ g @ y.mT)]])
_det: One = by_numpy("det", lambda a: [_numbers(a)], np.linalg.det, [[lambda g, y, a: _spread(g) * _cofactor(a)]])
_cofactor: One = by_numpy("det", _like, _cofactors, [[_cofactors_vjp]])
_slogdet: Two = by_numpy("slogdet", lambda a: [_numbers(a)] * 2, np.linalg.slogdet,
                         [[], [lambda g, sign, y, a: _spread(g) * inv(a).mT]])
_eigh: Two = by_numpy("eigh", lambda a: [(a.shape[:-1], a.dtype), (a.shape, a.dtype)], np.linalg.eigh,
                      [[lambda g, w, v, a: (v * g[..., None, :]) @ v.mT], [_eigenvectors_vjp]])
_lstsq: Two = by_numpy("lstsq", lambda a, b: [((a.shape[1], b.shape[1]), a.dtype), ((min(a.shape),), a.dtype)],
                       _least_squares,
                       [[_lstsq_vjp, lambda g, x, s, a, b: _lstsq(a.mT, g)[0]], []])


# ----- functions -------------------------------------------------------------------------------------------------

def cholesky(a: Data) -> Tensor:
    """The lower triangular L with L L^T = (a + a^T) / 2, of positive definite (..., n, n).

    Raises ``LinAlgError`` where a matrix is not positive definite.

    >>> import microgradx as mgx
    >>> mgx.linalg.cholesky(mgx.Tensor([[4.0, 2.0], [2.0, 5.0]]))
    Tensor([[2., 0.],
            [1., 2.]])
    """
    a, = matrices("cholesky", a)
    return _cholesky((a + a.mT) / 2)


def solve(a: Data, b: Data) -> Tensor:
    """x with a @ x = b: (..., n, n) and (n,) or (..., n, k), leading axes broadcast.

    Raises ``LinAlgError`` for a singular matrix.

    >>> import microgradx as mgx
    >>> mgx.linalg.solve(mgx.Tensor([[2.0, 0.0], [0.0, 4.0]]), mgx.Tensor([2.0, 2.0]))
    Tensor([1. , 0.5])
    """
    a, b = matrices("solve", a, b)
    if b.ndim == 0 or a.shape[-1] != b.shape[-2 if b.ndim > 1 else 0]:
        raise ShapeError(f"solve: shapes {a.shape} and {b.shape} do not align"
                         + (f" ({a.shape[-1]} != {b.shape[-2 if b.ndim > 1 else 0]})" if b.ndim else ""))
    if b.ndim == 1:
        return solve(a, b.unsqueeze(1)).squeeze(-1)
    try:
        lead = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    except ValueError:
        raise ShapeError(f"solve: leading axes of {a.shape} and {b.shape} do not broadcast") from None
    return _solve(a.expand(lead + a.shape[-2:]), b.expand(lead + b.shape[-2:]))


def inv(a: Data) -> Tensor:
    """The inverse of (..., n, n). Raises ``LinAlgError`` for a singular matrix.

    >>> import microgradx as mgx
    >>> mgx.linalg.inv(mgx.Tensor([[2.0, 0.0], [0.0, 4.0]]))
    Tensor([[0.5 , 0.  ],
            [0.  , 0.25]])
    """
    return _inv(*matrices("inv", a))


def det(a: Data) -> Tensor:
    """The determinant of (..., n, n). Its gradient is right at singular matrices; the second order needs an inverse.

    >>> import microgradx as mgx
    >>> mgx.linalg.det(mgx.Tensor([[2.0, 0.0], [0.0, 4.0]]))
    Tensor(8.)
    """
    return _det(*matrices("det", a))


def slogdet(a: Data) -> SlogDet:
    """(sign, logabsdet) of (..., n, n): the determinant where it would overflow; (0, -inf) for a singular matrix."""
    return SlogDet(*_slogdet(*matrices("slogdet", a)))


def eigh(a: Data) -> Eigh:
    """(eigenvalues, eigenvectors) of (a + a^T) / 2, for (..., n, n): (..., n) ascending and (..., n, n), in columns.

    An eigenvector is known up to its sign, and gradients through eigenvectors of equal eigenvalues leave out what is
    not defined: what turns them into each other.

    >>> import microgradx as mgx
    >>> mgx.linalg.eigh(mgx.Tensor([[2.0, 0.0], [0.0, 1.0]])).eigenvalues
    Tensor([1., 2.])
    """
    a, = matrices("eigh", a)
    return Eigh(*_eigh((a + a.mT) / 2))


def eigvalsh(a: Data) -> Tensor:
    """The eigenvalues that ``eigh`` gives."""
    return eigh(a).eigenvalues


def svdvals(a: Data) -> Tensor:
    """The singular values of (..., m, n), the largest first: (..., min(m, n)).

    They are the largest eigenvalues of [[0, a], [a^T, 0]], Golub and Kahan (1965), which squares nothing.

    >>> import microgradx as mgx
    >>> mgx.linalg.svdvals(mgx.Tensor([[3.0, 0.0], [0.0, 4.0]]))
    Tensor([4., 3.])
    """
    a, = matrices("svdvals", a, square=False)
    m, n = a.shape[-2:]
    corner = pad(a, [(0, 0)] * (a.ndim - 2) + [(0, n), (m, 0)])
    return eigvalsh(2 * corner)[..., max(m, n):][..., ::-1].abs()


def lstsq(a: Data, b: Data) -> LeastSquares:
    """x of the least |a x - b|, and of these the shortest: (m, n) and (m,) or (m, k), any rank.

    Gives (solution, residuals, rank, singular_values). Gradients hold where the rank does not change nearby.

    >>> import microgradx as mgx
    >>> mgx.linalg.lstsq(mgx.Tensor([[1.0], [1.0]]), mgx.Tensor([1.0, 3.0])).solution
    Tensor([2.])
    """
    a, b = matrices("lstsq", a, b, square=False)
    if a.ndim != 2 or b.ndim not in (1, 2) or a.shape[0] != b.shape[0]:
        raise ShapeError(f"lstsq: shapes {a.shape} and {b.shape} do not align; (m, n) and (m,) or (m, k) do")
    x, s = _lstsq(a, b if b.ndim == 2 else b.unsqueeze(1))
    x = x if b.ndim == 2 else x.squeeze(1)
    rank = int((s > np.finfo(a.dtype).eps * max(a.shape) * s.amax()).sum()) if s.size else 0
    return LeastSquares(x, (a @ x - b).square().sum(0), rank, s)


def pinv(a: Data) -> Tensor:
    """The pseudo-inverse of (m, n), by ``lstsq``."""
    a, = matrices("pinv", a, square=False)
    return lstsq(a, eye(a.shape[0], dtype=a.dtype)).solution


def vector_norm(x: Data, ord: float = 2, axis: int | tuple[int, ...] | None = None, keepdims: bool = False) -> Tensor:
    """(sum |x|^ord)^(1/ord) over ``axis``, as ``Tensor.norm``."""
    return (x if isinstance(x, Tensor) else Tensor(x)).norm(ord, axis, keepdims)


def matrix_norm(a: Data, ord: float | str = "fro", axis: tuple[int, int] = (-2, -1), keepdims: bool = False) -> Tensor:
    """The norm of the matrices in the two axes ``axis``.

    'fro': root of the sum of squares; 'nuc', 2, -2: sum, largest, smallest of the singular values; 1, -1: largest,
    smallest sum of |a| over a column; inf, -inf: over a row.

    >>> import microgradx as mgx
    >>> mgx.linalg.matrix_norm(mgx.Tensor([[3.0, 0.0], [0.0, 4.0]]), "nuc")
    Tensor(7.)
    """
    a, = matrices("matrix_norm", a, square=False)
    down, across = (axis_of("matrix_norm", d, a.ndim) for d in axis)
    if down == across:
        raise ShapeError(f"matrix_norm: axis {across} is named twice in {axis}")
    x = a.permute(tuple(d for d in range(a.ndim) if d not in (down, across)) + (down, across))
    if ord == "fro":
        x = x.norm(2, (-2, -1))
    elif ord == "nuc":
        x = svdvals(x).sum(-1)
    elif ord in (2, -2):
        x = svdvals(x)[..., 0 if ord == 2 else -1]
    elif ord in (1, -1, np.inf, -np.inf):
        sums = x.abs().sum(-2 if abs(ord) == 1 else -1)
        x = sums.amax(-1) if ord > 0 else sums.amin(-1)
    else:
        raise OptionError(f"matrix_norm: ord is 'fro', 'nuc', 1, -1, 2, -2, inf or -inf, not {ord!r}")
    return x.reshape(tuple(1 if d in (down, across) else n for d, n in enumerate(a.shape))) if keepdims else x


name_errors(__name__)
