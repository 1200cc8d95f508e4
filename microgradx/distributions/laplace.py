"""The Laplace distribution."""
from __future__ import annotations

from typing import Any

from microgradx._core.tensor import Tensor
from microgradx.distributions.distribution import Size
from microgradx.distributions.normal import LocScale
from microgradx.names import make_public
from microgradx.random import rand

__all__ = ["Laplace"]


class Laplace(LocScale):
    """The density exp(-abs(x - loc) / scale) / (2 scale).

    >>> from microgradx.distributions import Laplace
    >>> Laplace(0.0, 0.5).log_prob(1.0)
    Tensor(-2.)
    """

    @property
    def variance(self) -> Tensor:
        return 2 * self.scale.square()

    @property
    def stddev(self) -> Tensor:
        return 2**0.5 * self.scale

    def rsample(self, sample_shape: Size = ()) -> Tensor:
        u = rand(self._extended_shape(sample_shape), dtype=self.loc.dtype) - 0.5
        return self.loc - self.scale * u.sign() * (-2 * u.abs()).clip(-1 + 1e-7).log1p()

    def log_prob(self, value: Any) -> Tensor:
        return -(2 * self.scale).log() - (self._value(value) - self.loc).abs() / self.scale

    def cdf(self, value: Any) -> Tensor:
        x = self._value(value) - self.loc
        low = x < 0
        tail = 0.5 * (low.where(x, -x) / self.scale).exp()
        return low.where(tail, 1 - tail)

    def icdf(self, value: Any) -> Tensor:
        x = value if isinstance(value, Tensor) else Tensor(value)
        low = x < 0.5
        away = (2 * low.where(x, 1 - x)).log()
        return self.loc + self.scale * low.where(away, -away)

    def entropy(self) -> Tensor:
        return 1 + (2 * self.scale).log()


make_public(__name__)
