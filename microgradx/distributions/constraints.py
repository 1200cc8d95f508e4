"""What parameters and values of distributions may be: a test of an array, and the words of messages."""
from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from microgradx._core.launch import compute
from microgradx._core.tensor import Tensor
from microgradx.errors import OptionError


class Constraint(NamedTuple):
    """``fits(array)`` is True where its numbers, or along the last ``axes`` axes its parts, are ``words``."""
    words: str
    fits: Callable[[npt.NDArray[Any]], Any]
    axes: int = 0

    def __str__(self) -> str:
        return self.words

    def require(self, op: str, what: str, x: Tensor) -> None:
        """Raise ``OptionError`` unless all of ``x`` fits; in the replays of a program, too, that uses it."""
        def check(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
            fits = np.asarray(self.fits(array))
            if not fits.all():
                wrong = array if fits.ndim == 0 else array[~fits]
                raise OptionError(f"{op}: {what} is not {self.words}: {wrong.ravel()[:3].tolist()!r:.60} "
                                  f"{'is' if wrong.size == 1 else 'are'} in it")
            return np.zeros(())
        compute(check, x.detach())


def _is_simplex(x: npt.NDArray[Any]) -> Any:
    return (x >= 0).all(-1) & (abs(x.sum(-1) - 1) < 1e-6 * (1 if x.dtype == np.float64 else 10))


def _is_one_hot(x: npt.NDArray[Any]) -> Any:
    return ((x == 0) | (x == 1)).all(-1) & (x.sum(-1) == 1)


def _is_lower(x: npt.NDArray[Any]) -> Any:
    return (np.tril(x) == x).all((-2, -1)) & (np.diagonal(x, axis1=-2, axis2=-1) > 0).all(-1)


def _is_positive_definite(x: npt.NDArray[Any]) -> Any:
    if not np.isfinite(x).all() or not np.allclose(x, x.swapaxes(-2, -1), atol=1e-6):
        return False
    return (np.linalg.eigvalsh(x) > 0).all(-1)


real = Constraint("a real number", lambda x: ~np.isnan(x))
positive = Constraint("above 0", lambda x: x > 0)
nonnegative = Constraint("0 or above", lambda x: x >= 0)
unit_interval = Constraint("from 0 to 1", lambda x: (x >= 0) & (x <= 1))
boolean = Constraint("0 or 1", lambda x: (x == 0) | (x == 1))
nonnegative_integer = Constraint("an integer from 0 on", lambda x: (x >= 0) & (x == np.floor(x)))
real_vector = Constraint("a vector of real numbers", lambda x: ~np.isnan(x).any(-1), 1)
simplex = Constraint("shares that add up to 1", _is_simplex, 1)
weights = Constraint("weights, 0 or above and not all 0", lambda x: (x >= 0).all(-1) & (x.sum(-1) > 0), 1)
one_hot = Constraint("a vector of zeros with a single 1", _is_one_hot, 1)
lower_cholesky = Constraint("a lower triangular matrix with a diagonal above 0", _is_lower, 2)
positive_definite = Constraint("a symmetric positive definite matrix", _is_positive_definite, 2)


def integer_interval(low: int, high: int) -> Constraint:
    """Integers from ``low`` to ``high``."""
    return Constraint(f"an integer from {low} to {high}", lambda x: (x >= low) & (x <= high) & (x == np.floor(x)))
