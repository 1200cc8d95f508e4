"""The beta distribution."""
from __future__ import annotations

from typing import Any

from microgradx._core.tensor import Tensor
from microgradx.arrays.special import digamma
from microgradx.distributions import constraints
from microgradx.distributions.distribution import Distribution, Size, broadcast_shapes, floats
from microgradx.distributions.functions import log_beta, standard_gamma
from microgradx.names import make_public

__all__ = ["Beta"]


class Beta(Distribution):
    """The density x^(a - 1) (1 - x)^(b - 1) / B(a, b) from 0 to 1: a is ``concentration1``, b ``concentration0``.

    >>> from microgradx.distributions import Beta
    >>> Beta(1.0, 3.0).mean
    Tensor(0.25)
    """
    arg_constraints = {"concentration1": constraints.positive, "concentration0": constraints.positive}
    support = constraints.unit_interval
    has_rsample = True
    concentration1: Tensor
    concentration0: Tensor

    def __init__(self, concentration1: Any, concentration0: Any, validate_args: bool | None = None) -> None:
        a, b = floats("Beta", concentration1, concentration0)
        shape = broadcast_shapes("Beta", a.shape, b.shape)
        self.concentration1, self.concentration0 = a.expand(shape), b.expand(shape)
        super().__init__(shape, (), validate_args)

    @property
    def mean(self) -> Tensor:
        return self.concentration1 / (self.concentration1 + self.concentration0)

    @property
    def variance(self) -> Tensor:
        total = self.concentration1 + self.concentration0
        return self.concentration1 / total * (self.concentration0 / total) / (total + 1)

    def rsample(self, sample_shape: Size = ()) -> Tensor:
        shape = self._extended_shape(sample_shape)
        one, other = (standard_gamma(c.expand(shape)) for c in (self.concentration1, self.concentration0))
        return one / (one + other)

    def log_prob(self, value: Any) -> Tensor:
        x, a, b = self._value(value), self.concentration1, self.concentration0
        return (a - 1).xlogy(x) + (b - 1).xlogy(1 - x) - log_beta(a, b)

    def entropy(self) -> Tensor:
        a, b = self.concentration1, self.concentration0
        return (log_beta(a, b) - (a - 1) * digamma(a) - (b - 1) * digamma(b) + (a + b - 2) * digamma(a + b))


make_public(__name__)
