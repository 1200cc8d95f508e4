"""Linear algebra over the last two axes, with gradients of every order.

Triangular systems, Cholesky factors and ``solve`` are rows of ``csrc/kernels.def``. The other decompositions are host
operations, by NumPy's LAPACK. One line each says what comes out, how it is computed, and the gradient, written in
operations. The formulas are those of Giles, An extended collection of matrix derivative results for
forward and reverse mode algorithmic differentiation (2008); for the singular value decomposition Townsend,
Differentiating the singular value decomposition (2016); for QR Walter and Lehmann, Algorithmic differentiation of
linear algebra functions (2010); for LU de Hoog, Anderssen and Lukas, Differentiation of matrix functionals using
triangular factorization (2011); for the exponential Mathias, A chain rule for matrix functions (1996); for least
squares and pseudo-inverses Golub and Pereyra (1973). The rest is composed. Matrices are float32 or float64; leading
axes are a batch. Of a matrix that holds an inf or a nan all results are nan.

Vectors of equal singular values or eigenvalues are defined but for what turns them into each other: gradients through
them leave that out, where torch gives inf or nan.
"""
from __future__ import annotations

import bisect
import math
from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from microgradx._core.creation import integers
from microgradx._core.graph import is_grad_enabled
from microgradx._core.launch import composite, compute, stretches
from microgradx._core.structured import HostOperation, KernelOperation, power_of
from microgradx._core.tensor import Tensor, concat, pad, stack
from microgradx._core.views import axis_of
from microgradx.creation import real
from microgradx.errors import DTypeError, Error, OptionError, ShapeError
from microgradx.names import make_public
from microgradx.typing import Axes, Data, Function

__all__ = ["LinAlgError", "cholesky", "cholesky_ex", "cholesky_inverse", "cholesky_solve", "cond", "cross", "det",
           "diagonal", "eigh", "eigvalsh", "householder_product", "inv", "inv_ex", "inverse", "logdet", "lstsq", "lu",
           "lu_factor", "lu_solve", "lu_unpack", "matmul", "matrix_exp", "matrix_norm", "matrix_power", "matrix_rank",
           "matrix_transpose", "multi_dot", "norm", "outer", "pinv", "qr", "slogdet", "solve", "solve_ex",
           "solve_triangular", "svd", "svdvals", "tensorinv", "tensorsolve", "trace", "vander", "vecdot", "vector_norm"]


class LinAlgError(Error, np.linalg.LinAlgError, RuntimeError):
    """A matrix is singular or not positive definite, or an iteration did not converge."""


class SlogDet(NamedTuple):
    """det = sign * exp(logabsdet)."""
    sign: Tensor
    logabsdet: Tensor


class Eigh(NamedTuple):
    """a @ eigenvectors = eigenvectors * eigenvalues."""
    eigenvalues: Tensor
    eigenvectors: Tensor


class QR(NamedTuple):
    """a = Q @ R."""
    Q: Tensor
    R: Tensor


class SVD(NamedTuple):
    """a = U[..., :k] @ diag(S) @ Vh[..., :k, :]."""
    U: Tensor
    S: Tensor
    Vh: Tensor


class LU(NamedTuple):
    """a = P @ L @ U."""
    P: Tensor
    L: Tensor
    U: Tensor


class CholeskyEx(NamedTuple):
    """What ``cholesky_ex`` gives: L, and for each matrix 0 where there is one."""
    L: Tensor
    info: Tensor


class InvEx(NamedTuple):
    """What ``inv_ex`` gives: the inverse, and for each matrix 0 where there is one."""
    inverse: Tensor
    info: Tensor


class SolveEx(NamedTuple):
    """What ``solve_ex`` gives: x, and for each matrix 0 where there is one."""
    result: Tensor
    info: Tensor


class Factors(NamedTuple):
    """What ``lu_factor`` gives: L below the diagonal and U from it on, and the rows exchanged, counted from 1."""
    LU: Tensor
    pivots: Tensor


class LeastSquares(NamedTuple):
    """What ``lstsq`` gives: residuals are sums of squares, one per column, or empty; the rank is int64, one per matrix.
    """
    solution: Tensor
    residuals: Tensor
    rank: Tensor
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
    def forward(*arrays: Any) -> None:
        lead = arrays[count].shape[:-2]
        alike = all(x.shape[:1] == lead[:1] and x.ndim > 2 for x in arrays[count:] if isinstance(x, np.ndarray))
        for part in stretches(arrays[count], 0) if lead and alike else [...]:   # signals are handled between these
            whole(*(x[part] if isinstance(x, np.ndarray) else x for x in arrays))

    def whole(*arrays: Any) -> None:
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


# ----- by kernels: triangular systems, Cholesky factors, systems by LU ---------------------------------------------

def by_kernel(name: str, results: Function, sizes: Function, vjps: list[list[Function]], failure: str,
              row: str | None = None) -> KernelOperation:
    """The operation that the row of its name, or ``row``, carries out on a batch of square matrices and on what they
    are applied to. A matrix that the row refuses raises ``LinAlgError``."""
    def refuse(position: int, a: Tensor, *_: Any) -> None:
        raise LinAlgError(f"{name}: shape {a.shape}: {failure}")

    return KernelOperation(name, results, sizes, vjps, refuse, row)


def _sizes(a: Tensor, b: Tensor) -> tuple[tuple[int, ...], tuple[()]]:
    """How many systems, equations and columns."""
    return (math.prod(a.shape[:-2]), a.shape[-1], b.shape[-1]), ()


def _like_columns(a: Tensor, b: Tensor, *_: Any) -> list[Result]:
    return [(b.shape, b.dtype)]


def _triangle_vjp(g: Tensor, x: Tensor, t: Tensor, b: Tensor, transposed: bool, upper: bool, unit: bool) -> Tensor:
    back = _triangular(t, g, not transposed, upper, unit)
    whole = -(x @ back.mT if transposed else back @ x.mT)
    return whole.triu(int(unit)) if upper else whole.tril(-int(unit))


def _columns_vjp(g: Tensor, x: Tensor, t: Tensor, b: Tensor, transposed: bool, upper: bool, unit: bool) -> Tensor:
    return _triangular(t, g, not transposed, upper, unit)


_triangular: One = by_kernel("solve_triangular", _like_columns,
                             lambda t, b, *flags: (_sizes(t, b)[0] + flags, ()), [[_triangle_vjp, _columns_vjp]],
                             "Singular matrix")


def _cholesky_vjp(g: Tensor, low: Tensor, a: Tensor) -> Tensor:
    inner = _copied(low.mT @ g) / 2
    left = _triangular(low, inner, True, False, False)
    found = _triangular(low, left.mT, True, False, False)
    return (found + found.mT) / 2


_cholesky: One = by_kernel("cholesky", lambda a: [(a.shape, a.dtype)],
                           lambda a: ((math.prod(a.shape[:-2]), a.shape[-1]), ()), [[_cholesky_vjp]],
                           "Matrix is not positive definite")


def _solved(a: Tensor, b: Tensor) -> list[Result]:
    n = a.shape[-1]
    return [(b.shape, b.dtype), ((*a.shape[:-2], n + 1, n), a.dtype)]


def _solve_back(g: Tensor, factors: Tensor, a: Tensor) -> Tensor:
    """What solves a^T: by the factors of a that are there, or as a function of a."""
    return _solve(a.mT, g)[0] if is_grad_enabled() else _solve_transposed(factors, g)


_solve: Two = by_kernel("solve", _solved, _sizes, [[lambda g, x, factors, a, b: -(_solve_back(g, factors, a) @ x.mT),
                                                    lambda g, x, factors, a, b: _solve_back(g, factors, a)], []],
                        "Singular matrix")
_inverse: Two = by_kernel("inv", _solved, _sizes, [[lambda g, y, factors, a, unit: -(y.mT @ g @ y.mT),
                                                    lambda g, y, factors, a, unit: _solve_back(g, factors, a)], []],
                          "Singular matrix", "solve")
_solve_transposed: One = by_kernel("solve_transposed", _like_columns,
                                   lambda factors, b: (_sizes(b, b)[0][:1] + b.shape[-2:], ()), [], "")


def _inv(a: Tensor) -> Tensor:
    return _inverse(a, Tensor(np.eye(a.shape[-1]), dtype=a.dtype).expand(a.shape))[0]


@composite("solve_triangular")
def _triangular_by_numpy(t: Tensor, b: Tensor, *, transposed: int, upper: int, unit: int, **sizes: Any) -> Tensor:
    part = np.triu(t.numpy(), unit) if upper else np.tril(t.numpy(), -unit)
    part = part + unit * np.eye(part.shape[-1])
    return Tensor(np.linalg.solve(np.swapaxes(part, -1, -2) if transposed else part, b.numpy()))


@composite("cholesky")
def _cholesky_by_numpy(a: Tensor, **sizes: Any) -> Tensor:
    return Tensor(np.linalg.cholesky((a.numpy() + np.swapaxes(a.numpy(), -1, -2)) / 2))


@composite("solve")
def _solve_by_numpy(a: Tensor, b: Tensor, **sizes: Any) -> tuple[Tensor, Tensor]:
    factors, pivots = lu_factor(a)
    return Tensor(np.linalg.solve(a.numpy(), b.numpy())), concat([factors, (pivots - 1).unsqueeze(-2)], -2)


@composite("solve_transposed")
def _solve_transposed_by_numpy(factors: Tensor, b: Tensor, **sizes: Any) -> Tensor:
    p, low, up = lu_unpack(factors[..., :-1, :], factors[..., -1, :].astype(np.int64) + 1)
    return Tensor(np.linalg.solve((p @ low @ up).mT.numpy(), b.numpy()))


# ----- the decompositions ----------------------------------------------------------------------------------------

def _spread(g: Tensor) -> Tensor:
    """A number per matrix, to be multiplied with it."""
    return g[..., None, None]


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


def _all_but_two(s: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """The products of all numbers but i and j, for i != j, without a division: by those before, between and behind."""
    n = s.shape[-1]
    one = np.ones((*s.shape[:-1], 1))
    before = np.concatenate([one, s[..., :-1].cumprod(-1)], -1)[..., :, None]
    behind = np.concatenate([s[..., :0:-1].cumprod(-1)[..., ::-1], one], -1)[..., None, :]
    right = np.triu(np.ones((n, n), bool), 1)
    upto = np.where(right, s[..., None, :], 1).cumprod(-1)
    between = np.concatenate([np.ones_like(upto[..., :1]), upto[..., :-1]], -1)
    half = np.where(right, before * between * behind, 0)
    found: npt.NDArray[Any] = half + np.swapaxes(half, -1, -2)
    return found


def _change_of_cofactors(a: npt.NDArray[Any], g: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """The second derivative of det in the direction g, by singular values: exact for singular matrices, too.

    Of a diagonal matrix it is the sum over i != j of (g_ii h_jj - g_ij h_ji) times all other numbers.
    """
    if not a.shape[-1]:
        return np.zeros(a.shape)
    u, s, vt = np.linalg.svd(a.astype(np.float64))
    turned, others = np.swapaxes(u, -1, -2) @ g @ np.swapaxes(vt, -1, -2), _all_but_two(s)
    inner = -others * np.swapaxes(turned, -1, -2)
    along = np.arange(s.shape[-1])
    inner[..., along, along] = (others @ turned[..., along, along, None])[..., 0]
    signs = np.linalg.det(u) * np.linalg.det(vt)
    found: npt.NDArray[Any] = signs[..., None, None] * (u @ inner @ vt)
    return found


def _third_of_det(h: Tensor, y: Tensor, a: Tensor, g: Tensor) -> Tensor:
    """The derivative of the second one of det along g and h, of a matrix that has an inverse."""
    v = _inv(a)
    vg, vh = v @ g, v @ h
    g_trace, h_trace = (x.diagonal(0, -2, -1).sum(-1)[..., None, None] for x in (vg, vh))
    both = vg @ vh
    pair = g_trace * h_trace - both.diagonal(0, -2, -1).sum(-1)[..., None, None]
    inner = pair * v - h_trace * (vg @ v) - g_trace * (vh @ v) + both @ v + vh @ vg @ v
    return _spread(_det(a)) * inner.mT


def _lstsq_vjp(g: Tensor, x: Tensor, s: Tensor, a: Tensor, b: Tensor, rcond: float) -> Tensor:
    z = _lstsq(a.mT, g, rcond)[0]
    rest = g - _lstsq(a, a @ g, rcond)[0]
    return (b - a @ x) @ _lstsq(a, z, rcond)[0].mT - z @ x.mT + _lstsq(a.mT, x, rcond)[0] @ rest.mT


def _least_squares(a: npt.NDArray[Any], b: npt.NDArray[Any],
                   rcond: float) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """(solution, singular values); nan for a column of b with an inf or a nan, for LAPACK would print a line of it."""
    lead, (m, n), k = a.shape[:-2], a.shape[-2:], b.shape[-1]
    solution, values = np.empty((*lead, n, k), a.dtype), np.empty((*lead, min(m, n)), a.dtype)
    for at in np.ndindex(lead):
        sound = np.isfinite(b[at]).all(0)
        solution[at], _, _, values[at] = np.linalg.lstsq(a[at], np.where(sound, b[at], 0), rcond)
        solution[at][:, ~sound] = np.nan
    return solution, values


def _pseudo_inverse(a: npt.NDArray[Any], bounds: npt.NDArray[Any]) -> npt.NDArray[Any]:
    u, s, vh = np.linalg.svd(a, False)
    large = s > np.maximum(bounds[..., 0], bounds[..., 1] * s.max(-1, keepdims=True, initial=0))
    inverted = np.where(large, 1 / np.where(large, s, 1), 0)
    found: npt.NDArray[Any] = (np.swapaxes(vh, -1, -2) * inverted[..., None, :]) @ np.swapaxes(u, -1, -2)
    return found


def _pinv_vjp(g: Tensor, y: Tensor, a: Tensor, bounds: Tensor) -> Tensor:
    left, right = g.mT - a @ (y @ g.mT), g.mT - (g.mT @ y) @ a
    return (left @ y) @ y.mT + y.mT @ (y @ right) - y.mT @ g @ y.mT


def _qr_reduced(a: npt.NDArray[Any]) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    q, r = np.linalg.qr(a)
    return q, r


def _no_gradient(g: Tensor, *_: Any) -> Tensor:
    raise OptionError("qr: mode='complete' of more rows than columns has no derivative, for the columns that complete "
                      "Q are not defined; mode='reduced' has one")


def _copied(m: Tensor) -> Tensor:
    """The lower triangle of m, copied to the upper one."""
    return m.tril() + m.tril(-1).mT


def _by_r(x: Tensor, r: Tensor) -> Tensor:
    """x R^-T."""
    return solve_triangular(r, x.mT, upper=True).mT


def _pack_svd(a: npt.NDArray[Any], full: bool) -> npt.NDArray[Any]:
    """U, S and Vh in a row: an operation has two results at most."""
    u, s, vh = np.linalg.svd(a, full)
    lead = a.shape[:-2]
    return np.concatenate([x.reshape((*lead, math.prod(x.shape[len(lead):]))) for x in (u, s, vh)], -1)


def _svd_sizes(a: Tensor, full: bool) -> tuple[int, int, int]:
    """How many singular values, columns of U and rows of Vh there are."""
    m, n = a.shape[-2:]
    k = min(m, n)
    return (k, m, n) if full else (k, k, k)


def _packed_size(a: Tensor, full: bool) -> list[Result]:
    k, columns, rows = _svd_sizes(a, full)
    return [((*a.shape[:-2], a.shape[-2] * columns + k + rows * a.shape[-1]), a.dtype)]


def _unpack_svd(packed: Tensor, a: Tensor, full: bool) -> tuple[Tensor, Tensor, Tensor]:
    (k, columns, rows), (m, n), lead = _svd_sizes(a, full), a.shape[-2:], a.shape[:-2]
    first, second = m * columns, m * columns + k
    return (packed[..., :first].reshape((*lead, m, columns)), packed[..., first:second],
            packed[..., second:].reshape((*lead, rows, n)))


def _svd_vjp(g: Tensor, y: Tensor, a: Tensor, full: bool) -> Tensor:
    k = min(a.shape[-2:])
    (u, s, vh), (gu, gs, gvh) = ((u[..., :k], s, vh[..., :k, :]) for u, s, vh in (
        _unpack_svd(x, a, full) for x in (y, g)))
    row, column = s[..., None, :], s[..., :, None]
    gap = (row - column) * (row + column)
    apart = (gap == 0).where(0.0, 1 / (gap == 0).where(1.0, gap))
    inverted = (s == 0).where(0.0, 1 / (s == 0).where(1.0, s))
    left, right = u.mT @ gu, vh @ gvh.mT
    inner = (apart * (left - left.mT)) * row + column * (apart * (right - right.mT))
    inner = inner + gs[..., None, :] * Tensor(np.eye(k), dtype=a.dtype)
    total = u @ inner @ vh
    total = total + ((gu - u @ left) * inverted[..., None, :]) @ vh
    return total + u @ (inverted[..., :, None] * (gvh - right.mT @ vh))


def _exponential(a: npt.NDArray[Any]) -> npt.NDArray[Any]:
    from scipy.linalg import expm  # imported late: it takes 50 ms
    y: npt.NDArray[Any] = expm(a.astype(np.float64))
    return y


def _exponential_vjp(g: Tensor, y: Tensor, a: Tensor) -> Tensor:
    """The block above the diagonal of exp([[a^T, g], [0, a^T]]): Najfeld and Havel (1995)."""
    n = a.shape[-1]
    top, bottom = concat([a.mT, g], -1), concat([Tensor(np.zeros(a.shape, a.dtype)), a.mT], -1)
    return _matrix_exp(concat([top, bottom], -2))[..., :n, n:]


def _pivots(a: npt.NDArray[Any], pivot: bool) -> npt.NDArray[Any]:
    """The rows exchanged at each step of LU with partial pivoting, from 0 on."""
    x = np.array(a, np.float64)
    flat = x.reshape((math.prod(x.shape[:-2]), *x.shape[-2:]))
    k = min(x.shape[-2:])
    found, batch = np.tile(np.arange(k), (len(flat), 1)), np.arange(len(flat))
    for i in range(k if pivot else 0):
        best = i + np.abs(flat[:, i:, i]).argmax(1)
        found[:, i] = best
        flat[batch, best], flat[:, i] = flat[:, i].copy(), flat[batch, best].copy()
        top = flat[:, i, i]
        ratio = flat[:, i + 1:, i] / np.where(top == 0, 1, top)[:, None]
        flat[:, i + 1:, i:] -= ratio[:, :, None] * flat[:, None, i, i:]
    return found.reshape((*a.shape[:-2], k))


def _order(pivots: npt.NDArray[Any], rows: int) -> npt.NDArray[Any]:
    """Which row of the matrix each row is after the exchanges."""
    flat = pivots.reshape((math.prod(pivots.shape[:-1]), pivots.shape[-1]))
    order, batch = np.tile(np.arange(rows), (len(flat), 1)), np.arange(len(flat))
    for i in range(flat.shape[1]):
        order[batch, flat[:, i]], order[:, i] = order[:, i].copy(), order[batch, flat[:, i]].copy()
    return order.reshape((*pivots.shape[:-1], rows))


def _eliminate(a: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """L below the diagonal and U from it on, of square matrices whose rows are in order."""
    x = np.array(a, np.float64)
    for i in range(x.shape[-1]):
        top = x[..., i, i]
        x[..., i + 1:, i] /= np.where(top == 0, 1, top)[..., None]
        x[..., i + 1:, i + 1:] -= x[..., i + 1:, i, None] * x[..., None, i, i + 1:]
    return x


def _eliminate_vjp(g: Tensor, y: Tensor, a: Tensor) -> Tensor:
    low, up = unit_lower(y), y.triu()
    inner = (low.mT @ g.tril(-1)).tril(-1) + (g.triu() @ up.mT).triu()
    inner = solve_triangular(low.mT, inner, upper=True, unitriangular=True)
    return _by_r(inner, up)


def unit_lower(x: Tensor) -> Tensor:
    """The lower triangle with 1 on the diagonal."""
    return x.tril(-1) + Tensor(np.eye(x.shape[-2], x.shape[-1]), dtype=x.dtype)


def _like(a: Tensor, *_: float) -> list[Result]:
    return [(a.shape, a.dtype)]


def _numbers(a: Tensor) -> Result:
    return (a.shape[:-2], a.dtype)


_det: One = by_numpy("det", lambda a: [_numbers(a)], np.linalg.det, [[lambda g, y, a: _spread(g) * _cofactor(a)]])
_cofactor: One = by_numpy("det", _like, _cofactors, [[lambda g, y, a: _cofactor_change(a, g)]])
_cofactor_change: One = by_numpy("det", _like, _change_of_cofactors,
                                 [[_third_of_det, lambda h, y, a, g: _cofactor_change(a, h)]])
_slogdet: Two = by_numpy("slogdet", lambda a: [_numbers(a)] * 2, np.linalg.slogdet,
                         [[], [lambda g, sign, y, a: _spread(g) * _inv(a).mT]])
_eigh: Two = by_numpy("eigh", lambda a: [(a.shape[:-1], a.dtype), (a.shape, a.dtype)], np.linalg.eigh,
                      [[lambda g, w, v, a: (v * g[..., None, :]) @ v.mT], [_eigenvectors_vjp]])
_pinv: One = by_numpy("pinv", lambda a, *_: [((*a.shape[:-2], a.shape[-1], a.shape[-2]), a.dtype)], _pseudo_inverse,
                      [[_pinv_vjp, lambda g, y, a, bounds: bounds * 0.0]])
_qr: Two = by_numpy("qr", lambda a: [(a.shape, a.dtype), ((*a.shape[:-2], a.shape[-1], a.shape[-1]), a.dtype)],
                    _qr_reduced,
                    [[lambda g, q, r, a: _by_r(g - q @ _copied(g.mT @ q), r)],
                     [lambda g, q, r, a: _by_r(q @ _copied(r @ g.triu().mT), r)]])
_svd: One = by_numpy("svd", _packed_size, _pack_svd, [[_svd_vjp]])
_matrix_exp: One = by_numpy("matrix_exp", _like, _exponential, [[_exponential_vjp]])
_lu: One = by_numpy("lu", _like, _eliminate, [[_eliminate_vjp]])
_qr_complete: Two = by_numpy("qr", lambda a: [((*a.shape[:-1], a.shape[-2]), a.dtype), (a.shape, a.dtype)],
                             lambda a: np.linalg.qr(a, "complete"), [[_no_gradient], [_no_gradient]])
_lstsq: Two = by_numpy("lstsq", lambda a, b, _: [((*a.shape[:-2], a.shape[-1], b.shape[-1]), a.dtype),
                                                 ((*a.shape[:-2], min(a.shape[-2:])), a.dtype)], _least_squares,
                       [[_lstsq_vjp, lambda g, x, s, a, b, rcond: _lstsq(a.mT, g, rcond)[0]], []])


# ----- functions -------------------------------------------------------------------------------------------------

def cholesky(a: Data, *, upper: bool = False) -> Tensor:
    """The lower triangular L with L L^T = (a + a^T) / 2, of positive definite (..., n, n); with ``upper`` L^T.

    Raises ``LinAlgError`` where a matrix is not positive definite.

    >>> import microgradx as mgx
    >>> mgx.linalg.cholesky(mgx.Tensor([[4.0, 2.0], [2.0, 5.0]]))
    Tensor([[2., 0.],
            [1., 2.]])
    """
    a, = matrices("cholesky", a)
    low = _cholesky(a)
    return low.mT if upper else low


def solve(a: Data, b: Data, *, left: bool = True) -> Tensor:
    """x with a @ x = b: (..., n, n) and (n,) or (..., n, k), leading axes broadcast; without ``left`` with x @ a = b.

    A b of (..., n) is a vector for each matrix, unless it may hold matrices. Raises ``LinAlgError`` for a singular
    matrix.

    >>> import microgradx as mgx
    >>> mgx.linalg.solve(mgx.Tensor([[2.0, 0.0], [0.0, 4.0]]), mgx.Tensor([2.0, 2.0]))
    Tensor([1. , 0.5])
    """
    a, b = matrices("solve", a, b)
    vectors = are_vectors(a, b)
    if not left:
        return solve(a.mT, b) if vectors else solve(a.mT, b.mT).mT
    if vectors:
        return solve(a, b.unsqueeze(-1)).squeeze(-1)
    if b.ndim == 0 or a.shape[-1] != b.shape[-2 if b.ndim > 1 else 0]:
        raise ShapeError(f"solve: shapes {a.shape} and {b.shape} do not align"
                         + (f" ({a.shape[-1]} != {b.shape[-2 if b.ndim > 1 else 0]})" if b.ndim else ""))
    return _solve(*batched("solve", a, b))[0]


def are_vectors(a: Tensor, b: Tensor) -> bool:
    """Does b hold vectors for the matrices of a: one for all of them, or one for each where b cannot be matrices?"""
    if b.ndim == 1:
        return a.shape[-2] == b.shape[0]
    return b.shape == a.shape[:-1] and b.shape[-2] != a.shape[-2]


def batched(op: str, a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """Two tensors of matrices with their leading axes broadcast."""
    if a.shape[:-2] == b.shape[:-2]:
        return a, b
    try:
        lead = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    except ValueError:
        raise ShapeError(f"{op}: leading axes of {a.shape} and {b.shape} do not broadcast") from None
    return a.expand(lead + a.shape[-2:]), b.expand(lead + b.shape[-2:])


def solve_triangular(a: Data, b: Data, *, upper: bool, left: bool = True, unitriangular: bool = False) -> Tensor:
    """x with a @ x = b, of which only the ``upper`` or the lower triangle of a, (..., n, n), is read; b is (..., n, k).

    Without ``left`` x @ a = b; with ``unitriangular`` the diagonal of a counts as 1. Raises ``LinAlgError`` where the
    diagonal holds a 0.

    >>> import microgradx as mgx
    >>> a, b = mgx.Tensor([[2.0, 1.0], [9.0, 1.0]]), mgx.Tensor([[3.0], [1.0]])
    >>> mgx.linalg.solve_triangular(a, b, upper=True).tolist()
    [[1.0], [1.0]]
    """
    a, b = matrices("solve_triangular", a, b)
    if b.ndim < 2 or b.shape[-2 if left else -1] != a.shape[-1]:
        raise ShapeError(f"solve_triangular: shapes {a.shape} and {b.shape} do not align")
    t, columns = batched("solve_triangular", a, b if left else b.mT)
    x = _triangular(t, columns, not left, bool(upper), bool(unitriangular))
    return x if left else x.mT


def cholesky_solve(b: Data, L: Data, *, upper: bool = False) -> Tensor:
    """x with L L^T x = b, for a lower triangular L, (..., n, n), as ``cholesky`` gives it, or with ``upper`` for L^T.

    >>> import microgradx as mgx
    >>> mgx.linalg.cholesky_solve(mgx.Tensor([[4.0]]), mgx.Tensor([[2.0]]))
    Tensor([[1.]])
    """
    low, b = matrices("cholesky_solve", L, b)
    low = low.mT if upper else low
    low, b = batched("cholesky_solve", low, b)
    return _triangular(low, _triangular(low, b, False, False, False), True, False, False)


def cholesky_inverse(L: Data, upper: bool = False) -> Tensor:
    """The inverse of L L^T, for a lower triangular L, (..., n, n), or with ``upper`` of L^T L.

    >>> import microgradx as mgx
    >>> mgx.linalg.cholesky_inverse(mgx.Tensor([[2.0]]))
    Tensor([[0.25]])
    """
    low, = matrices("cholesky_inverse", L)
    return cholesky_solve(Tensor(np.eye(low.shape[-1]), dtype=low.dtype), low, upper=upper)


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


def logdet(a: Data) -> Tensor:
    """The logarithm of the determinant of (..., n, n): nan where it is negative, -inf for a singular matrix.

    >>> import microgradx as mgx
    >>> mgx.linalg.logdet(mgx.Tensor([[2.0, 0.0], [0.0, 0.5]]))
    Tensor(0.)
    """
    sign, size = slogdet(a)
    return (sign < 0).where(np.nan, size)


def symmetric(op: str, a: Data, UPLO: str | None) -> Tensor:
    """(a + a^T) / 2; with ``UPLO`` the numbers of one triangle, and the gradient of the mean."""
    a, = matrices(op, a)
    mean = (a + a.mT) / 2
    if UPLO is None:
        return mean
    if UPLO not in ("L", "U"):
        raise OptionError(f"{op}: UPLO={UPLO!r} is neither 'L' nor 'U'")
    given = a.detach()
    one = given.tril() + given.tril(-1).mT if UPLO == "L" else given.triu() + given.triu(1).mT
    return one + (mean - mean.detach())


def eigh(a: Data, UPLO: str | None = None) -> Eigh:
    """(eigenvalues, eigenvectors) of (a + a^T) / 2, for (..., n, n): (..., n) ascending and (..., n, n), in columns.

    With ``UPLO`` "L" or "U" the numbers are those of the lower or the upper triangle. An eigenvector is known up to its
    sign, and gradients through eigenvectors of equal eigenvalues leave out what is not defined: what turns them into
    each other. That is missing from the third derivative of the other eigenvalues on, which is right only where all
    differ.

    >>> import microgradx as mgx
    >>> mgx.linalg.eigh(mgx.Tensor([[2.0, 0.0], [0.0, 1.0]])).eigenvalues
    Tensor([1., 2.])
    """
    return Eigh(*_eigh(symmetric("eigh", a, UPLO)))


def eigvalsh(a: Data, UPLO: str | None = None) -> Tensor:
    """The eigenvalues that ``eigh`` gives."""
    return Eigh(*_eigh(symmetric("eigvalsh", a, UPLO))).eigenvalues


def qr(a: Data, mode: str = "reduced") -> QR:
    """(Q, R) with a = Q @ R for (..., m, n), k = min(m, n): Q (..., m, k) with orthonormal columns, R (..., k, n) upper
    triangular. ``mode="r"`` gives an empty Q, ``mode="complete"`` a square one and R (..., m, n).

    The signs of the diagonal of R are those of LAPACK. Gradients need the first k columns independent; of a complete
    factorization of m > n rows a gradient raises ``OptionError``, as the last columns of Q are not defined.

    >>> import microgradx as mgx
    >>> mgx.linalg.qr(mgx.Tensor([[3.0, 1.0], [4.0, 2.0]])).R.abs().diagonal().tolist()     # doctest: +ELLIPSIS
    [5.0, 0.4...]
    """
    a, = matrices("qr", a, square=False)
    if mode not in ("reduced", "complete", "r"):
        raise OptionError(f"qr: mode={mode!r} is none of 'reduced', 'complete' and 'r'")
    m, n = a.shape[-2:]
    if mode == "complete" and m > n:
        return QR(*_qr_complete(a))
    q, r = _qr(a[..., :m] if n > m else a)
    if n > m:
        r = concat([r, q.mT @ a[..., m:]], -1)
    return QR(Tensor(np.zeros(0, a.dtype)) if mode == "r" else q, r)


def svd(a: Data, full_matrices: bool = True) -> SVD:
    """(U, S, Vh) with a = U[..., :k] @ diag(S) @ Vh[..., :k, :] for (..., m, n), k = min(m, n).

    S (..., k) is in order, the largest first; U (..., m, m) and Vh (..., n, n) are orthogonal, and without
    ``full_matrices`` only their first k columns and rows. The sign of a column of U and its row of Vh is LAPACK's. The
    columns and rows beyond k, and directions of equal or zero singular values, take no part in gradients.

    >>> import microgradx as mgx
    >>> mgx.linalg.svd(mgx.Tensor([[3.0, 0.0], [0.0, 4.0]])).S
    Tensor([4., 3.])
    """
    a, = matrices("svd", a, square=False)
    return SVD(*_unpack_svd(_svd(a, bool(full_matrices)), a, bool(full_matrices)))


def svdvals(a: Data) -> Tensor:
    """The singular values of (..., m, n), the largest first: (..., min(m, n)).

    They are the largest eigenvalues of [[0, a], [a^T, 0]], Golub and Kahan (1965), which squares nothing. As of
    ``eigh``, third derivatives are right only where all of them differ; a 0 is two equal eigenvalues.

    >>> import microgradx as mgx
    >>> mgx.linalg.svdvals(mgx.Tensor([[3.0, 0.0], [0.0, 4.0]]))
    Tensor([4., 3.])
    """
    a, = matrices("svdvals", a, square=False)
    m, n = a.shape[-2:]
    corner = pad(a, [(0, 0)] * (a.ndim - 2) + [(0, n), (m, 0)])
    return eigvalsh(2 * corner)[..., max(m, n):][..., ::-1].abs()


DRIVERS = (None, "gels", "gelsd", "gelss", "gelsy")         # of LAPACK: there is one way here, by singular values


def lstsq(a: Data, b: Data, rcond: float | None = None, *, driver: str | None = None) -> LeastSquares:
    """x of the least |a x - b|, and of these the shortest: (..., m, n) and (m,), (..., m) or (..., m, k), any rank.

    Gives (solution, residuals, rank, singular_values). Singular values up to ``rcond`` times the largest count as 0,
    max(m, n) eps unless given. All of LAPACK's ``driver`` names are accepted, and singular values used for each.
    Residuals (..., k), with k = 1 for vectors, are given where m > n, with "gelsd" and "gelss" only if every matrix has
    rank n; else they are empty, of shape (0,).

    Gradients hold where the rank does not change nearby. Raises ``ShapeError`` for shapes that do not align.

    >>> import microgradx as mgx
    >>> mgx.linalg.lstsq(mgx.Tensor([[1.0], [1.0]]), mgx.Tensor([1.0, 3.0])).solution
    Tensor([2.])
    """
    a, b = matrices("lstsq", a, b, square=False)
    if driver not in DRIVERS:
        raise OptionError(f"lstsq: driver={driver!r} is none of {', '.join(map(repr, DRIVERS))}")
    if are_vectors(a, b):
        found = lstsq(a, b.unsqueeze(-1), rcond, driver=driver)
        return found._replace(solution=found.solution.squeeze(-1))
    if b.ndim < 2 or a.shape[-2] != b.shape[-2]:
        raise ShapeError(f"lstsq: shapes {a.shape} and {b.shape} do not align; (..., m, n) and (m,), (..., m) or "
                         "(..., m, k) do")
    a, b = batched("lstsq", a, b)
    share = float(np.finfo(a.dtype).eps) * max(a.shape[-2:]) if rcond is None else real("lstsq", "rcond", rcond)
    of_a, of_b = power_of(a, (-2, -1)), power_of(b, (-2, -1))       # nothing overflows in units of these
    x, s = _lstsq(a / of_a, b / of_b, share)
    x, s = x * (of_b / of_a), s * of_a.squeeze(-1)
    rank = (s > share * s.amax(-1, True) if s.shape[-1] else s > s).sum(-1)
    m, n = a.shape[-2:]
    given = m > n and (driver not in ("gelsd", "gelss") or bool((rank == n).all()))
    return LeastSquares(x, (a @ x - b).square().sum(-2) if given else Tensor(np.zeros(0, a.dtype)), rank, s)


def pinv(a: Data, rcond: Any = None, hermitian: bool = False, *, atol: Any = None, rtol: Any = None) -> Tensor:
    """The pseudo-inverse of (..., m, n): (..., n, m). Singular values up to the larger of ``atol``, 0 unless given, and
    ``rtol`` (or ``rcond``) times the largest, max(m, n) eps unless ``atol`` is given, count as 0. Both may be tensors
    with a number per matrix.

    With ``hermitian`` the matrix is taken to be symmetric, (a + a^T) / 2. Gradients hold where the rank does not change
    nearby.

    >>> import microgradx as mgx
    >>> mgx.linalg.pinv(mgx.Tensor([[2.0], [0.0]]))
    Tensor([[0.5, 0. ]])
    """
    a, = matrices("pinv", a, square=hermitian)
    bounds = stack([operand(t) for t in tolerances(a, atol, rcond if rtol is None else rtol)], -1)
    return _pinv((a + a.mT) / 2 if hermitian else a, bounds.expand((*a.shape[:-2], 1, 2)))


def tolerances(a: Tensor, atol: Any, rtol: Any) -> tuple[Any, Any]:
    """The bounds of singular values that count as 0: two numbers, or two tensors to compare with the values."""
    of_tensors = isinstance(atol, Tensor) or isinstance(rtol, Tensor)
    if rtol is None:
        rtol = 0.0 if isinstance(atol, Tensor) or atol else float(np.finfo(a.dtype).eps) * max(a.shape[-2:])
    atol = 0.0 if atol is None else atol
    if not of_tensors:
        return float(atol), float(rtol)
    first, second = (Tensor(t, dtype=a.dtype).expand(a.shape[:-2]).unsqueeze(-1) for t in (atol, rtol))
    return first, second


def matrix_rank(a: Data, tol: Any = None, *, atol: Any = None, rtol: Any = None, hermitian: bool = False) -> Tensor:
    """How many singular values of (..., m, n), or with ``hermitian`` eigenvalues by size, are larger than the larger of
    ``atol`` (or ``tol``) and ``rtol`` times the largest, with the defaults of ``pinv``; int64. Both may be tensors with
    a number per matrix.

    >>> import microgradx as mgx
    >>> mgx.linalg.matrix_rank(mgx.ones(3, 2))
    Tensor(1, dtype=int64)
    """
    a, = matrices("matrix_rank", a, square=hermitian)
    a = a.detach()
    if not min(a.shape[-2:]):
        return Tensor(np.zeros(a.shape[:-2], np.int64))
    values = eigvalsh(a).abs() if hermitian else svdvals(a)
    least, share = tolerances(a, tol if atol is None else atol, rtol)
    count: Tensor = (values > (values.amax(-1, True) * share).clip(least, None)).sum(-1)
    return count


def matrix_exp(a: Data) -> Tensor:
    """1 + a + a a / 2 + a a a / 6 + ... of (..., n, n).

    >>> import microgradx as mgx
    >>> mgx.linalg.matrix_exp(mgx.Tensor([[0.0, 1.0], [0.0, 0.0]]))
    Tensor([[1., 1.],
            [0., 1.]])
    """
    a, = matrices("matrix_exp", a)
    return _matrix_exp(a)


def matrix_power(a: Data, n: int) -> Tensor:
    """a @ a @ ... with ``n`` factors, by squaring; of the inverse where n is negative, the unit matrix for 0.

    >>> import microgradx as mgx
    >>> mgx.linalg.matrix_power(mgx.Tensor([[1.0, 1.0], [0.0, 1.0]]), 3).tolist()
    [[1.0, 3.0], [0.0, 1.0]]
    """
    a, = matrices("matrix_power", a)
    (count,) = integers("matrix_power", "n", (n,))
    a = inv(a) if count < 0 else a
    found, count = None, abs(count)
    while count:
        if count % 2:
            found = a if found is None else found @ a
        count //= 2
        a = a @ a if count else a
    if found is None:
        return Tensor(np.ones(a.shape, np.bool_)).where(Tensor(np.eye(a.shape[-1]), dtype=a.dtype), a)
    return found.clone()


def householder_product(a: Data, tau: Data) -> Tensor:
    """The first n columns of H_1 H_2 ... H_k, H_i = 1 - tau_i v_i v_i^T, for a (..., m, n), m >= n, and tau (..., k),
    k <= n: v_i is column i of a below the diagonal, 1 on it and 0 above, as LAPACK's geqrf leaves them.

    >>> import microgradx as mgx
    >>> mgx.linalg.householder_product(mgx.Tensor([[3.0], [1.0]]), mgx.Tensor([1.0])).tolist()
    [[0.0], [-1.0]]
    """
    a, t = matrices("householder_product", a, tau, square=False)
    m, n = a.shape[-2:]
    if n > m or not t.ndim or t.shape[:-1] != a.shape[:-2] or t.shape[-1] > n:
        raise ShapeError("householder_product: (..., m, n) with m >= n and (..., k) with k <= n, not "
                         f"{a.shape} and {t.shape}")
    vectors = unit_lower(a)
    q = Tensor(np.ones(a.shape, np.bool_)).where(Tensor(np.eye(m, n), dtype=a.dtype), a)
    for i in reversed(range(t.shape[-1])):
        v = vectors[..., i:i + 1]
        q = q - t[..., i:i + 1, None] * (v @ (v.mT @ q))
    return q


def cholesky_ex(a: Data, *, upper: bool = False, check_errors: bool = False) -> CholeskyEx:
    """(L, info), ``cholesky`` of each matrix: info is 0, or how many rows and columns have the first minor that is not
    positive definite; L is nan there, and no gradient comes from it. With ``check_errors`` ``LinAlgError`` is raised
    instead.

    >>> import microgradx as mgx
    >>> mgx.linalg.cholesky_ex(mgx.Tensor([[[4.0]], [[-1.0]]])).info.tolist()
    [0, 1]
    """
    a, = matrices("cholesky_ex", a)
    info = compute(_minors, (a.detach() + a.detach().mT) / 2)
    replaced = sound("cholesky_ex", a, info, check_errors)
    return CholeskyEx(only_sound(cholesky(replaced, upper=upper), _spread(info)), info)


def inv_ex(a: Data, *, check_errors: bool = False) -> InvEx:
    """(inverse, info), ``inv`` of each matrix: info is 0, or the number of the first pivot that is 0; the inverse is
    nan there, and no gradient comes from it. With ``check_errors`` ``LinAlgError`` is raised instead.

    >>> import microgradx as mgx
    >>> mgx.linalg.inv_ex(mgx.Tensor([[1.0, 1.0], [1.0, 1.0]])).info.item()
    2
    """
    a, = matrices("inv_ex", a)
    info = compute(_zero_pivots, a.detach())
    return InvEx(only_sound(inv(sound("inv_ex", a, info, check_errors)), _spread(info)), info)


def solve_ex(a: Data, b: Data, *, left: bool = True, check_errors: bool = False) -> SolveEx:
    """(x, info), ``solve`` of each system, with info as ``inv_ex`` gives it.

    >>> import microgradx as mgx
    >>> mgx.linalg.solve_ex(mgx.Tensor([[2.0]]), mgx.Tensor([[4.0]])).result
    Tensor([[2.]])
    """
    a, b = matrices("solve_ex", a, b)
    info = compute(_zero_pivots, a.detach())
    x = solve(sound("solve_ex", a, info, check_errors), b, left=left)
    return SolveEx(only_sound(x, info.unsqueeze(-1) if are_vectors(a, b) else _spread(info)), info)


def sound(op: str, a: Tensor, info: Tensor, check: bool) -> Tensor:
    """The matrices whose info is 0, and unit matrices in place of the others, which with ``check`` raise."""
    if check and bool((info != 0).any()):
        raise LinAlgError(f"{op}: info {info.tolist()}; a matrix is singular or not positive definite")
    return _spread(info == 0).where(a, Tensor(np.eye(a.shape[-1]), dtype=a.dtype))


def only_sound(x: Tensor, info: Tensor) -> Tensor:
    """The results whose info is 0, and nan in place of the others."""
    return (info == 0).where(x, np.nan)


def _zero_pivots(a: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """For each matrix 0, or the number of the first pivot that is 0.

    Whether there is one is for ``solve`` to say, which would raise. Where roundings hide from ``lu_factor`` which one,
    it is the smallest.
    """
    found = np.zeros(a.shape[:-2], np.int64)
    singular = np.array([_fails(_inv, a[at]) for at in np.ndindex(found.shape)], bool).reshape(found.shape)
    for at in np.argwhere(singular):
        pivots = np.abs(lu_factor(Tensor(a[tuple(at)])).LU.diagonal().numpy())
        found[tuple(at)] = 1 + pivots.argmin()
    return found


def _minors(a: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """For each matrix 0, or the order of the first leading minor that is not positive definite."""
    found = np.zeros(a.shape[:-2], np.int64)
    for at in np.ndindex(found.shape):
        one = a[at]
        if not _is_positive_definite(one):
            found[at] = 1 + bisect.bisect_left(range(len(one)), True,
                                               key=lambda k: not _is_positive_definite(one[:k + 1, :k + 1]))
    return found


def _fails(function: One, a: npt.NDArray[Any]) -> bool:
    try:
        function(Tensor(a))
    except LinAlgError:
        return True
    return False


def _is_positive_definite(a: npt.NDArray[Any]) -> bool:
    return bool(np.isfinite(a).all()) and not _fails(_cholesky, a)


def lu_factor(a: Data, *, pivot: bool = True) -> Factors:
    """(LU, pivots) of (..., m, n): L without its diagonal of 1 below that of U, and the row exchanged at each step,
    counted from 1, as LAPACK's getrf has them.

    >>> import microgradx as mgx
    >>> mgx.linalg.lu_factor(mgx.Tensor([[1.0, 2.0], [2.0, 4.0]]))
    Factors(LU=Tensor([[2. , 4. ],
            [0.5, 0. ]]), pivots=Tensor([2, 2], dtype=int64))
    """
    a, = matrices("lu_factor", a, square=False)
    swaps = compute(_pivots, a.detach(), bool(pivot))
    order = compute(_order, swaps, a.shape[-2])
    rows = a.gather(-2, order.unsqueeze(-1).expand(a.shape))
    k = min(a.shape[-2:])
    square = _lu(rows[..., :k, :k])
    if a.shape[-1] > k:
        right = solve_triangular(square, rows[..., :, k:], upper=False, unitriangular=True)
        square = concat([square, right], -1)
    elif a.shape[-2] > k:
        below = solve_triangular(square, rows[..., k:, :], upper=True, left=False)
        square = concat([square, below], -2)
    return Factors(square, swaps + 1)


def lu_unpack(LU_data: Data, LU_pivots: Data) -> LU:
    """(P, L, U) with a = P @ L @ U, of what ``lu_factor`` gives for a.

    >>> import microgradx as mgx
    >>> mgx.linalg.lu_unpack(*mgx.linalg.lu_factor(mgx.Tensor([[0.0, 2.0], [1.0, 0.0]]))).P.tolist()
    [[0.0, 1.0], [1.0, 0.0]]
    """
    x, = matrices("lu_unpack", LU_data, square=False)
    pivots = LU_pivots if isinstance(LU_pivots, Tensor) else Tensor(np.asarray(LU_pivots))
    m, k = x.shape[-2], min(x.shape[-2:])
    if pivots.shape != (*x.shape[:-2], k) or pivots.dtype != np.int64:
        raise ShapeError(f"lu_unpack: pivots of {pivots.dtype} and shape {pivots.shape} for factors of shape {x.shape}")
    order = compute(_order, pivots - 1, m)
    exchange = (order.unsqueeze(-2) == Tensor(np.arange(m)[:, None])).astype(x.dtype)
    return LU(exchange, unit_lower(x[..., :, :k]), x[..., :k, :].triu())


def lu(a: Data, *, pivot: bool = True) -> LU:
    """(P, L, U) with a = P @ L @ U for (..., m, n), k = min(m, n): P exchanges rows, L (..., m, k) is lower triangular
    with 1 on its diagonal, U (..., k, n) upper triangular. Without ``pivot`` no rows are exchanged.

    >>> import microgradx as mgx
    >>> mgx.linalg.lu(mgx.Tensor([[1.0, 2.0], [2.0, 5.0]])).U.tolist()
    [[2.0, 5.0], [0.0, -0.5]]
    """
    return lu_unpack(*lu_factor(a, pivot=pivot))


def lu_solve(LU: Data, pivots: Data, b: Data, *, left: bool = True, adjoint: bool = False) -> Tensor:
    """x with a @ x = b, of what ``lu_factor`` gives for square a; with ``adjoint`` a^T @ x = b, without ``left``
    x @ a = b.

    >>> import microgradx as mgx
    >>> mgx.linalg.lu_solve(*mgx.linalg.lu_factor(mgx.Tensor([[2.0]])), mgx.Tensor([[4.0]]))
    Tensor([[2.]])
    """
    x, b = matrices("lu_solve", LU, b)
    p, low, up = lu_unpack(x, pivots)
    if not left:
        return lu_solve(x, pivots, b.mT, adjoint=not adjoint).mT
    if adjoint:
        return p @ solve_triangular(low.mT, solve_triangular(up.mT, b, upper=False), upper=True, unitriangular=True)
    return solve_triangular(up, solve_triangular(low, p.mT @ b, upper=False, unitriangular=True), upper=True)


# ----- products ------------------------------------------------------------------------------------------------------

def operand(x: Data) -> Tensor:
    """A tensor of any dtype."""
    return x if isinstance(x, Tensor) else Tensor(x)


def multi_dot(tensors: Any) -> Tensor:
    """The product of matrices in the order that takes the fewest multiplications; the first and the last may be
    vectors. Cormen et al., Introduction to Algorithms, 15.2.

    >>> import microgradx as mgx
    >>> mgx.linalg.multi_dot([mgx.ones(2, 3), mgx.ones(3, 1), mgx.ones(1, 2)]).tolist()
    [[3.0, 3.0], [3.0, 3.0]]
    """
    return product_of("multi_dot", [operand(x) for x in tensors])


def product_of(op: str, xs: list[Tensor]) -> Tensor:
    """``multi_dot``, under another name in errors."""
    if len(xs) < 2:
        raise ShapeError(f"{op}: of at least two matrices, not {len(xs)}")
    row, column = xs[0].ndim == 1, xs[-1].ndim == 1
    chain = [xs[0].unsqueeze(0) if row else xs[0], *xs[1:-1], xs[-1].unsqueeze(1) if column else xs[-1]]
    for x in chain:
        if x.ndim != 2:
            raise ShapeError(f"{op}: of matrices, not of shape {x.shape}")
    for a, b in zip(chain, chain[1:], strict=False):
        if a.shape[1] != b.shape[0]:
            raise ShapeError(f"{op}: shapes {a.shape} and {b.shape} do not align ({a.shape[1]} != {b.shape[0]})")
    lengths, count = [chain[0].shape[0], *(x.shape[1] for x in chain)], len(chain)
    best: dict[tuple[int, int], tuple[int, int]] = {(k, k): (0, k) for k in range(count)}   # multiplications, the cut
    for span in range(1, count):
        for i in range(count - span):
            j = i + span
            best[i, j] = min((best[i, k][0] + best[k + 1, j][0] + lengths[i] * lengths[k + 1] * lengths[j + 1], k)
                             for k in range(i, j))

    def multiplied(i: int, j: int) -> Tensor:
        k = best[i, j][1]
        return chain[i] if i == j else multiplied(i, k) @ multiplied(k + 1, j)

    found = multiplied(0, count - 1)
    return found.reshape(() if row and column else (found.size,)) if row or column else found


def vecdot(x: Data, y: Data, axis: int = -1) -> Tensor:
    """The sums of products along ``axis``; the other axes broadcast.

    >>> import microgradx as mgx
    >>> mgx.linalg.vecdot(mgx.Tensor([[1.0, 2.0], [3.0, 4.0]]), mgx.Tensor([1.0, -1.0]))
    Tensor([-1., -1.])
    """
    a, b = operand(x), operand(y)
    product = a * b
    return product.sum(axis_of("vecdot", axis, product.ndim))


def cross(x: Data, other: Data, axis: int = -1) -> Tensor:
    """The cross product along ``axis``, of length 3; the other axes broadcast.

    >>> import microgradx as mgx
    >>> mgx.linalg.cross(mgx.Tensor([1.0, 0.0, 0.0]), mgx.Tensor([0.0, 1.0, 0.0]))
    Tensor([0., 0., 1.])
    """
    a, b = operand(x), operand(other)
    d = axis_of("cross", axis, max(a.ndim, b.ndim))
    if a.ndim != b.ndim:
        raise ShapeError(f"cross: shapes {a.shape} and {b.shape} have {a.ndim} and {b.ndim} axes")
    if not a.ndim or a.shape[d] != 3 or b.shape[d] != 3:
        raise ShapeError(f"cross: axis {d} of shapes {a.shape} and {b.shape} is not of length 3")
    before = (slice(None),) * d
    (a0, a1, a2), (b0, b1, b2) = ([t[(*before, k)] for k in range(3)] for t in (a, b))
    return stack([a1 * b2 - a2 * b1, a2 * b0 - a0 * b2, a0 * b1 - a1 * b0], d)


def outer(a: Data, b: Data) -> Tensor:
    """All products of two vectors."""
    return operand(a).outer(b)


def matmul(a: Data, b: Data) -> Tensor:
    """The matrix product, as ``@``."""
    return operand(a) @ b


def matrix_transpose(a: Data) -> Tensor:
    """The last two axes exchanged, ``a.mT``. A view.

    >>> import microgradx as mgx
    >>> mgx.linalg.matrix_transpose(mgx.ones(2, 3)).shape
    (3, 2)
    """
    x = operand(a)
    if x.ndim < 2:
        raise ShapeError(f"matrix_transpose: of shape {x.shape}, which has no rows and columns")
    return x.mT


def diagonal(a: Data, *, offset: int = 0, axis1: int = -2, axis2: int = -1) -> Tensor:
    """The diagonal of the last two axes, ``Tensor.diagonal`` with them.

    >>> import microgradx as mgx
    >>> mgx.linalg.diagonal(mgx.Tensor([[1.0, 2.0], [3.0, 4.0]]), offset=1)
    Tensor([2.])
    """
    return operand(a).diagonal(offset, axis1, axis2)


def trace(a: Data, *, offset: int = 0) -> Tensor:
    """The sums of the diagonals of the last two axes.

    >>> import microgradx as mgx
    >>> mgx.linalg.trace(mgx.Tensor([[1.0, 2.0], [3.0, 4.0]]))
    Tensor(5.)
    """
    return diagonal(a, offset=offset).sum(-1)


def vander(x: Data, *, N: int | None = None) -> Tensor:
    """The powers 1, x, ..., x^(N-1) of each element, along a new last axis; N is the length of the last unless given.

    >>> import microgradx as mgx
    >>> mgx.linalg.vander(mgx.Tensor([2.0, 3.0]), N=3).tolist()
    [[1.0, 2.0, 4.0], [1.0, 3.0, 9.0]]
    """
    t = operand(x)
    t = t if t.ndim else t.reshape(1)
    (count,) = integers("vander", "N", (t.shape[-1] if N is None else N,))
    if count < 0 or N is not None and count < 2:
        raise OptionError(f"vander: N={count} is less than 2")
    return powers(t, count)


def powers(x: Tensor, count: int) -> Tensor:
    """1, x, ..., x^(count-1) along a new last axis, by products: exact for integers, and differentiable at 0."""
    x = x.astype(np.int64) if x.dtype == np.bool_ else x
    one, others = Tensor(np.ones((*x.shape, min(count, 1)), x.dtype)), max(count - 1, 0)
    return concat([one, x.unsqueeze(-1).expand(*x.shape, others).cumprod(-1)], -1)


def tensorinv(a: Data, ind: int = 2) -> Tensor:
    """The inverse of ``tensordot(a, ., ind)``: of (*first, *last), ``ind`` axes first, (*last, *first).

    >>> import microgradx as mgx
    >>> mgx.linalg.tensorinv(mgx.eye(6).reshape(2, 3, 6)).shape
    (6, 2, 3)
    """
    x = operand(a)
    first, last = x.shape[:ind], x.shape[ind:]
    n = int(np.prod(first))
    if ind < 1 or n * n != x.size or not n:
        raise ShapeError(f"tensorinv: shape {x.shape} is not square with {ind} axes first")
    return inv(x.reshape(n, n)).reshape(last + first)


def tensorsolve(a: Data, b: Data, axes: Axes = None) -> Tensor:
    """x with tensordot(a, x, x.ndim) = b: of (*b.shape, *x.shape); the axes ``axes`` of a are moved to its end first.

    >>> import microgradx as mgx
    >>> mgx.linalg.tensorsolve(mgx.eye(6).reshape(2, 3, 6), mgx.ones(2, 3)).tolist()
    [1.0, 1.0, 1.0, 1.0, 1.0, 1.0]
    """
    x, y = operand(a), operand(b)
    if axes is not None:
        last = [axis_of("tensorsolve", d, x.ndim) for d in (axes if isinstance(axes, (tuple, list)) else (axes,))]
        x = x.permute((*(d for d in range(x.ndim) if d not in last), *last))
    shape = x.shape[y.ndim:]
    if int(np.prod(shape)) ** 2 != x.size or y.size ** 2 != x.size:
        raise ShapeError(f"tensorsolve: shapes {x.shape} and {y.shape} do not align")
    return solve(x.reshape(y.size, y.size), y.reshape(-1)).reshape(shape)


# ----- norms ---------------------------------------------------------------------------------------------------------

def vector_norm(x: Data, ord: float = 2, axis: Axes = None, keepdims: bool = False) -> Tensor:
    """(sum |x|^ord)^(1/ord) over ``axis``, as ``Tensor.norm``."""
    return operand(x).norm(ord, axis, keepdims)


def matrix_norm(a: Data, ord: float | str = "fro", axis: Any = (-2, -1), keepdims: bool = False) -> Tensor:
    """The norm of the matrices in the two axes ``axis``.

    'fro': root of the sum of squares; 'nuc', 2, -2: sum, largest, smallest of the singular values; 1, -1: largest,
    smallest sum of |a| over a column; inf, -inf: over a row.

    >>> import microgradx as mgx
    >>> mgx.linalg.matrix_norm(mgx.Tensor([[3.0, 0.0], [0.0, 4.0]]), "nuc")
    Tensor(7.)
    """
    a, = matrices("matrix_norm", a, square=False)
    if len(axis) != 2:
        raise ShapeError(f"matrix_norm: of two axes, not of {axis}")
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


def norm(x: Data, ord: Any = None, axis: Axes = None, keepdims: bool = False) -> Tensor:
    """``matrix_norm`` over two axes, or of a matrix where ``ord`` is given; else ``vector_norm`` over ``axis`` or all.

    >>> import microgradx as mgx
    >>> mgx.linalg.norm(mgx.Tensor([[3.0, 0.0], [0.0, 4.0]])), mgx.linalg.norm(mgx.Tensor([3.0, -4.0]), 1)
    (Tensor(5.), Tensor(7.))
    """
    x = operand(x)
    pair = tuple(axis) if isinstance(axis, (tuple, list)) else axis
    if ord is None:
        return vector_norm(x, 2, pair, keepdims)
    if isinstance(pair, tuple) and len(pair) == 2 or pair is None and x.ndim == 2:
        return matrix_norm(x, ord, (0, 1) if pair is None else pair, keepdims)
    if pair is None and x.ndim != 1 or isinstance(ord, str):
        raise ShapeError(f"norm: ord={ord!r} is of one or two axes, not of shape {x.shape} with axis={axis}")
    return vector_norm(x, ord, pair, keepdims)


def cond(a: Data, p: Any = None) -> Tensor:
    """The condition number of (..., n, n), norm(a) norm(inverse of a), in one of the norms of ``matrix_norm``; in 2 and
    -2, the default 2, that of (..., m, n) by singular values. inf for a singular matrix in these.

    >>> import microgradx as mgx
    >>> mgx.linalg.cond(mgx.Tensor([[4.0, 0.0], [0.0, 2.0]]))
    Tensor(2.)
    """
    if p in (None, 2, -2):
        a, = matrices("cond", a, square=False)
        values = svdvals(a / power_of(a, (-2, -1)))
        large, small = values[..., 0], values[..., -1]
        return small / large if p == -2 else large / small
    a, = matrices("cond", a)
    return matrix_norm(a, p) * matrix_norm(inv(a), p)


inverse = inv


make_public(__name__)
