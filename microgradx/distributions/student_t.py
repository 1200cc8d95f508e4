"""Student's t distribution."""
from __future__ import annotations

import math
from typing import Any

from microgradx._core.tensor import Tensor
from microgradx.arrays.special import digamma, lgamma
from microgradx.distributions import constraints
from microgradx.distributions.distribution import Distribution, Size, broadcast_shapes, floats
from microgradx.distributions.functions import log1p_square, standard_gamma
from microgradx.names import make_public
from microgradx.random import randn

__all__ = ["StudentT"]


class StudentT(Distribution):
    """A normal number over the root of an independent mean square of ``df`` others, times ``scale``, plus ``loc``.

    >>> from microgradx.distributions import StudentT
    >>> StudentT(4.0).variance
    Tensor(2.)
    """
    arg_constraints = {"df": constraints.positive, "loc": constraints.real, "scale": constraints.positive}
    has_rsample = True
    df: Tensor
    loc: Tensor
    scale: Tensor

    def __init__(self, df: Any, loc: Any = 0.0, scale: Any = 1.0, validate_args: bool | None = None) -> None:
        given = floats("StudentT", df, loc, scale)
        shape = broadcast_shapes("StudentT", *[t.shape for t in given])
        self.df, self.loc, self.scale = (t.expand(shape) for t in given)
        super().__init__(shape, (), validate_args)

    @property
    def mean(self) -> Tensor:
        return (self.df > 1).where(self.loc, math.nan)

    @property
    def mode(self) -> Tensor:
        return self.loc

    @property
    def variance(self) -> Tensor:
        defined = (self.df > 2).where(self.df, 3.0)
        many = self.scale.square() * defined / (defined - 2)
        return (self.df > 2).where(many, (self.df > 1).where(math.inf, self.df.detach() * math.nan))

    def rsample(self, sample_shape: Size = ()) -> Tensor:
        shape = self._extended_shape(sample_shape)
        square = 2 * standard_gamma(self.df.expand(shape) / 2)
        return self.loc + self.scale * randn(shape, dtype=self.loc.dtype) * (square / self.df).rsqrt()

    def _log_norm(self) -> Tensor:
        half = self.df / 2
        norm: Tensor = (0.5 * self.df.log() + 0.5 * math.log(math.pi) + lgamma(half) - lgamma(half + 0.5))
        return norm

    def log_prob(self, value: Any) -> Tensor:
        y = (self._value(value) - self.loc) / self.scale
        return -0.5 * (self.df + 1) * log1p_square(y / self.df.sqrt()) - self._log_norm() - self.scale.log()

    def entropy(self) -> Tensor:
        half = self.df / 2
        return (self.scale.log() + (half + 0.5) * (digamma(half + 0.5) - digamma(half)) + self._log_norm())


make_public(__name__)
