"""The exponential distribution."""
from __future__ import annotations

from typing import Any

from microgradx._core.tensor import Tensor
from microgradx.distributions import constraints
from microgradx.distributions.distribution import Distribution, Size, floats
from microgradx.names import make_public
from microgradx.random import rand

__all__ = ["Exponential"]


class Exponential(Distribution):
    """The density rate exp(-rate x) for x >= 0.

    >>> from microgradx.distributions import Exponential
    >>> Exponential(2.0).mean
    Tensor(0.5)
    """
    arg_constraints = {"rate": constraints.positive}
    support = constraints.nonnegative
    has_rsample = True

    def __init__(self, rate: Any, validate_args: bool | None = None) -> None:
        self.rate, = floats("Exponential", rate)
        super().__init__(self.rate.shape, (), validate_args)

    @property
    def mean(self) -> Tensor:
        return 1 / self.rate

    @property
    def mode(self) -> Tensor:
        return self.rate.detach() * 0

    @property
    def stddev(self) -> Tensor:
        return 1 / self.rate

    @property
    def variance(self) -> Tensor:
        return 1 / self.rate.square()

    def rsample(self, sample_shape: Size = ()) -> Tensor:
        return -(-rand(self._extended_shape(sample_shape), dtype=self.rate.dtype)).log1p() / self.rate

    def log_prob(self, value: Any) -> Tensor:
        return self.rate.log() - self.rate * self._value(value)

    def cdf(self, value: Any) -> Tensor:
        return -(-self.rate * self._value(value)).expm1()

    def icdf(self, value: Any) -> Tensor:
        x = value if isinstance(value, Tensor) else Tensor(value)
        return -(-x).log1p() / self.rate

    def entropy(self) -> Tensor:
        return 1 - self.rate.log()


make_public(__name__)
