"""The Cauchy distribution."""
from __future__ import annotations

import math
from typing import Any

from microgradx._core.tensor import Tensor
from microgradx.distributions.distribution import Size
from microgradx.distributions.functions import log1p_square
from microgradx.distributions.normal import LocScale
from microgradx.names import make_public
from microgradx.random import rand

__all__ = ["Cauchy"]


class Cauchy(LocScale):
    """The density 1 / (pi scale (1 + ((x - loc) / scale)^2)), which has no mean.

    >>> from microgradx.distributions import Cauchy
    >>> Cauchy(0.0, 1.0).cdf(1.0)
    Tensor(0.75)
    """

    @property
    def mean(self) -> Tensor:
        return self.loc.detach() * math.nan

    @property
    def variance(self) -> Tensor:
        return self.loc.detach() * 0 + math.inf

    def rsample(self, sample_shape: Size = ()) -> Tensor:
        u = rand(self._extended_shape(sample_shape), dtype=self.loc.dtype)
        return self.loc + self.scale * (math.pi * (u - 0.5)).tan()

    def log_prob(self, value: Any) -> Tensor:
        away = (self._value(value) - self.loc) / self.scale
        return -math.log(math.pi) - self.scale.log() - log1p_square(away)

    def cdf(self, value: Any) -> Tensor:
        return self.scale.atan2(self.loc - self._value(value)) / math.pi     # of which no tail cancels

    def icdf(self, value: Any) -> Tensor:
        x = value if isinstance(value, Tensor) else Tensor(value)
        low, high = x < 0.25, x > 0.75                          # there 1/2 would take the digits of x or of 1 - x
        tail = 1 / (math.pi * low.where(x, high.where(1 - x, 0.25))).tan()
        away = (low | high).where(low.where(-tail, tail), (math.pi * (x - 0.5)).tan())
        return away * self.scale + self.loc

    def entropy(self) -> Tensor:
        return math.log(4 * math.pi) + self.scale.log()


make_public(__name__)
