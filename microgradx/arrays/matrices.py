"""What torch has of linear algebra outside of ``linalg``, as functions and methods of ``Tensor``."""
from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from microgradx import linalg
from microgradx._core.launch import compute
from microgradx._core.tensor import Tensor
from microgradx.arrays.common import of_tensor, tensor
from microgradx.linalg import SlogDet, inv, matrix_exp, matrix_power
from microgradx.linalg import cholesky_inverse as cholesky_inverse
from microgradx.linalg import cholesky_solve as cholesky_solve
from microgradx.linalg import lu_unpack as lu_unpack
from microgradx.names import make_public
from microgradx.typing import Data

__all__ = ["cholesky", "cholesky_inverse", "cholesky_solve", "det", "inverse", "logdet", "lu", "lu_solve", "lu_unpack",
           "matrix_exp", "matrix_power", "pinverse", "qr", "slogdet", "svd", "triangular_solve"]

METHODS = [name for name in __all__ if name not in ("lu_unpack",)]


class Decomposed(NamedTuple):
    """x = U @ diag(S) @ V^T."""
    U: Tensor
    S: Tensor
    V: Tensor


@of_tensor
def cholesky(x: Tensor, upper: bool = False) -> Tensor:
    """``linalg.cholesky``: L with L L^T = x, or with ``upper`` L^T."""
    return linalg.cholesky(x, upper=upper)


@of_tensor
def det(x: Tensor) -> Tensor:
    """``linalg.det``: the determinant."""
    return linalg.det(x)


@of_tensor
def slogdet(x: Tensor) -> SlogDet:
    """``linalg.slogdet``: the sign of the determinant and the logarithm of its size."""
    return linalg.slogdet(x)


@of_tensor
def logdet(x: Tensor) -> Tensor:
    """``linalg.logdet``: the logarithm of the determinant."""
    return linalg.logdet(x)


@of_tensor
def inverse(x: Tensor) -> Tensor:
    """``linalg.inv``: the inverse."""
    return inv(x)


@of_tensor
def pinverse(x: Tensor, rcond: float = 1e-15) -> Tensor:
    """``linalg.pinv``: the pseudo-inverse; singular values up to ``rcond`` times the largest count as 0."""
    return linalg.pinv(x, rtol=rcond)


@of_tensor
def qr(x: Tensor, some: bool = True) -> linalg.QR:
    """``linalg.qr``: (Q, R), reduced, or complete unless ``some``."""
    return linalg.qr(x, "reduced" if some else "complete")


@of_tensor
def svd(x: Tensor, some: bool = True, compute_uv: bool = True) -> Decomposed:
    """(U, S, V) with x = U diag(S) V^T: V, not its transpose as ``linalg.svd`` has it.

    Reduced, or full unless ``some``; without ``compute_uv`` U and V are zeros.
    """
    u, s, vh = linalg.svd(x, not some)
    if not compute_uv:
        m, n = x.shape[-2:]
        u, vh = (Tensor(np.zeros((*x.shape[:-2], k, k), x.dtype)) for k in (m, n))
    return Decomposed(u, s, vh.mT)


@of_tensor
def lu(x: Tensor, pivot: bool = True, get_infos: bool = False) -> Any:
    """``linalg.lu_factor``: L and U in one matrix, and the rows exchanged.

    With ``get_infos`` also, for each matrix, 0 or which pivot, counted from 1, is the first that is 0.
    """
    found = linalg.lu_factor(x, pivot=pivot)
    return (*found, compute(_first_zero, found.LU.detach())) if get_infos else found


def _first_zero(x: npt.NDArray[Any]) -> npt.NDArray[Any]:
    zero = np.diagonal(x, 0, -2, -1) == 0
    first: npt.NDArray[Any] = np.where(zero.any(-1), zero.argmax(-1) + 1, 0) if zero.shape[-1] else np.zeros(
        zero.shape[:-1], np.int64)
    return first


@of_tensor
def triangular_solve(b: Tensor, A: Data, upper: bool = True, transpose: bool = False,
                     unitriangular: bool = False) -> tuple[Tensor, Tensor]:
    """(x, A) with A x = b, or with ``transpose`` A^T x = b, of a triangle of A: ``linalg.solve_triangular``."""
    a = tensor(A)
    if transpose:
        return linalg.solve_triangular(a.mT, b, upper=not upper, unitriangular=unitriangular), a
    return linalg.solve_triangular(a, b, upper=upper, unitriangular=unitriangular), a


@of_tensor
def lu_solve(b: Tensor, LU_data: Data, LU_pivots: Data) -> Tensor:
    """x with a x = b, of what ``lu`` gives for a: ``linalg.lu_solve``, which takes b last."""
    return linalg.lu_solve(LU_data, LU_pivots, b)


make_public(__name__)
