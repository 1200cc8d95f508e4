"""The distribution of exp(x) for a normal x."""
from __future__ import annotations

from typing import Any

from microgradx._core.tensor import Tensor
from microgradx.distributions import constraints
from microgradx.distributions.distribution import Size
from microgradx.distributions.normal import LocScale, Normal
from microgradx.names import make_public

__all__ = ["LogNormal"]


class LogNormal(LocScale):
    """exp of normal numbers with the mean ``loc`` and the standard deviation ``scale``.

    >>> from microgradx.distributions import LogNormal
    >>> LogNormal(0.0, 1.0).mean
    Tensor(1.6487212)
    """
    support = constraints.positive

    def _normal(self) -> Normal:
        return Normal(self.loc, self.scale, validate_args=False)

    @property
    def mean(self) -> Tensor:
        return (self.loc + self.scale.square() / 2).exp()

    @property
    def mode(self) -> Tensor:
        return (self.loc - self.scale.square()).exp()

    @property
    def variance(self) -> Tensor:
        return self.scale.square().expm1() * (2 * self.loc + self.scale.square()).exp()

    def rsample(self, sample_shape: Size = ()) -> Tensor:
        return self._normal().rsample(sample_shape).exp()

    def log_prob(self, value: Any) -> Tensor:
        x = self._value(value).log()
        return self._normal().log_prob(x) - x

    def cdf(self, value: Any) -> Tensor:
        return self._normal().cdf(self._value(value).log())

    def icdf(self, value: Any) -> Tensor:
        return self._normal().icdf(value).exp()

    def entropy(self) -> Tensor:
        return self._normal().entropy() + self.loc


make_public(__name__)
