"""The normal distribution of vectors."""
from __future__ import annotations

import math
from typing import Any

import numpy as np

from microgradx._core.tensor import Tensor
from microgradx.distributions import constraints
from microgradx.distributions.distribution import Distribution, Size, broadcast_shapes, floats
from microgradx.errors import OptionError, ShapeError
from microgradx.linalg import cholesky, inv, solve_triangular
from microgradx.names import make_public
from microgradx.random import randn

__all__ = ["MultivariateNormal"]


class MultivariateNormal(Distribution):
    """Normal vectors with the mean ``loc`` (..., n) and one of three matrices (..., n, n): their covariance, its
    inverse, the ``precision_matrix``, or ``scale_tril``, its lower triangular root.

    >>> import microgradx as mgx
    >>> from microgradx.distributions import MultivariateNormal
    >>> pair = MultivariateNormal(mgx.zeros(2), mgx.eye(2))
    >>> pair.log_prob(mgx.zeros(2)), pair.event_shape
    (Tensor(-1.837877), (2,))
    """
    arg_constraints = {"loc": constraints.real_vector, "covariance_matrix": constraints.positive_definite,
                       "precision_matrix": constraints.positive_definite, "scale_tril": constraints.lower_cholesky}
    support = constraints.real_vector
    has_rsample = True
    loc: Tensor

    def __init__(self, loc: Any, covariance_matrix: Any = None, precision_matrix: Any = None, scale_tril: Any = None,
                 validate_args: bool | None = None) -> None:
        given = {name: m for name, m in (("covariance_matrix", covariance_matrix), (
            "precision_matrix", precision_matrix), ("scale_tril", scale_tril)) if m is not None}
        if len(given) != 1:
            raise OptionError("MultivariateNormal: covariance_matrix, precision_matrix or scale_tril, one of them")
        (name, matrix), = given.items()
        loc, matrix = floats("MultivariateNormal", loc, matrix)
        if loc.ndim < 1 or matrix.ndim < 2 or matrix.shape[-2:] != (loc.shape[-1],) * 2:
            raise ShapeError(f"MultivariateNormal: loc (..., n) and {name} (..., n, n), not of shapes {loc.shape} and "
                             f"{matrix.shape}")
        n, batch = loc.shape[-1], broadcast_shapes("MultivariateNormal", loc.shape[:-1], matrix.shape[:-2])
        self.loc = loc.expand(*batch, n)
        vars(self)[name] = matrix.expand(*batch, n, n)
        super().__init__(batch, (n,), validate_args)
        self._root: Tensor = (vars(self)[name] if name == "scale_tril" else cholesky(vars(self)[name])
                              if name == "covariance_matrix" else _root_of_inverse(vars(self)[name]))

    def __getattr__(self, name: str) -> Tensor:
        if name not in ("scale_tril", "covariance_matrix", "precision_matrix") or "_root" not in vars(self):
            raise AttributeError(f"'MultivariateNormal' object has no attribute {name!r}")
        if name == "scale_tril":
            return self._root
        covariance = self._root @ self._root.mT
        return covariance if name == "covariance_matrix" else inv(covariance)

    @property
    def mean(self) -> Tensor:
        return self.loc

    @property
    def mode(self) -> Tensor:
        return self.loc

    @property
    def variance(self) -> Tensor:
        return self._root.square().sum(-1)

    def _half_log_det(self) -> Tensor:
        return (self._root * Tensor(np.eye(self._event_shape[0]), dtype=self._root.dtype)).sum(-1).log().sum(-1)

    def rsample(self, sample_shape: Size = ()) -> Tensor:
        noise = randn(self._extended_shape(sample_shape), dtype=self.loc.dtype)
        return self.loc + (self._root @ noise.unsqueeze(-1)).squeeze(-1)

    def log_prob(self, value: Any) -> Tensor:
        away = self._value(value) - self.loc
        root = self._root.expand(*away.shape, away.shape[-1])
        square = solve_triangular(root, away.unsqueeze(-1), upper=False).square().sum((-2, -1))
        return -0.5 * (away.shape[-1] * math.log(2 * math.pi) + square) - self._half_log_det()

    def entropy(self) -> Tensor:
        return 0.5 * self._event_shape[0] * (1 + math.log(2 * math.pi)) + self._half_log_det()


def _root_of_inverse(precision: Tensor) -> Tensor:
    """The lower triangular root of the inverse, which is not computed: that of the reversed matrix is its transpose."""
    low = cholesky(precision.flip((-2, -1))).flip((-2, -1)).mT
    return solve_triangular(low, Tensor(np.eye(low.shape[-1]), dtype=low.dtype).expand(*low.shape), upper=False)


make_public(__name__)
