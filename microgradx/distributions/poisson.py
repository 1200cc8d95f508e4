"""The Poisson distribution."""
from __future__ import annotations

from typing import Any

from microgradx._core.tensor import Tensor
from microgradx.arrays.special import lgamma
from microgradx.distributions import constraints
from microgradx.distributions.distribution import Distribution, Size, floats
from microgradx.names import make_public
from microgradx.random import poisson

__all__ = ["Poisson"]


class Poisson(Distribution):
    """Counts where ``rate`` are expected.

    >>> from microgradx.distributions import Poisson
    >>> Poisson(2.0).log_prob(0.0)
    Tensor(-2.)
    """
    arg_constraints = {"rate": constraints.nonnegative}
    support = constraints.nonnegative_integer

    def __init__(self, rate: Any, validate_args: bool | None = None) -> None:
        self.rate, = floats("Poisson", rate)
        super().__init__(self.rate.shape, (), validate_args)

    @property
    def mean(self) -> Tensor:
        return self.rate

    @property
    def mode(self) -> Tensor:
        return self.rate.floor()

    @property
    def variance(self) -> Tensor:
        return self.rate

    def sample(self, sample_shape: Size = ()) -> Tensor:
        return poisson(self.rate.detach().expand(self._extended_shape(sample_shape)))

    def log_prob(self, value: Any) -> Tensor:
        x = self._value(value).astype(self.rate.dtype)
        result: Tensor = x.xlogy(self.rate) - self.rate - lgamma(x + 1)
        return result


make_public(__name__)
