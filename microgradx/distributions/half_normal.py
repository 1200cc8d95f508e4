"""The distribution of the absolute value of a normal number."""
from __future__ import annotations

import math
from typing import Any

from microgradx._core.tensor import Tensor
from microgradx.arrays.special import erfinv
from microgradx.distributions import constraints
from microgradx.distributions.distribution import Distribution, Size, floats
from microgradx.distributions.normal import Normal
from microgradx.names import make_public

__all__ = ["HalfNormal"]


class HalfNormal(Distribution):
    """abs(x) for a normal x with mean 0 and standard deviation ``scale``.

    >>> from microgradx.distributions import HalfNormal
    >>> HalfNormal(1.0).variance                # 1 - 2 / pi
    Tensor(0.36338022)
    """
    arg_constraints = {"scale": constraints.positive}
    support = constraints.nonnegative
    has_rsample = True

    def __init__(self, scale: Any, validate_args: bool | None = None) -> None:
        self.scale, = floats("HalfNormal", scale)
        super().__init__(self.scale.shape, (), validate_args)

    def _normal(self) -> Normal:
        return Normal(0.0, self.scale, validate_args=False)

    @property
    def mean(self) -> Tensor:
        return self.scale * math.sqrt(2 / math.pi)

    @property
    def mode(self) -> Tensor:
        return self.scale.detach() * 0

    @property
    def variance(self) -> Tensor:
        return self.scale.square() * (1 - 2 / math.pi)

    def rsample(self, sample_shape: Size = ()) -> Tensor:
        return self._normal().rsample(sample_shape).abs()

    def log_prob(self, value: Any) -> Tensor:
        x = self._value(value)
        return (x >= 0).where(self._normal().log_prob(x) + math.log(2), -math.inf)

    def cdf(self, value: Any) -> Tensor:
        return (self._value(value) / (self.scale * math.sqrt(2))).erf()

    def icdf(self, value: Any) -> Tensor:
        x = value if isinstance(value, Tensor) else Tensor(value)
        away: Tensor = erfinv(x)
        return self.scale * away * math.sqrt(2)

    def entropy(self) -> Tensor:
        return self._normal().entropy() - math.log(2)


make_public(__name__)
