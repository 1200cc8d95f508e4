"""The gamma distribution."""
from __future__ import annotations

from typing import Any

from microgradx._core.tensor import Tensor
from microgradx.arrays.special import digamma, lgamma
from microgradx.distributions import constraints
from microgradx.distributions.distribution import Distribution, Size, broadcast_shapes, floats
from microgradx.distributions.functions import gammainc, standard_gamma
from microgradx.names import make_public

__all__ = ["Gamma"]


class Gamma(Distribution):
    """The density rate^c x^(c - 1) exp(-rate x) / Gamma(c), c the ``concentration``.

    Draws have gradients by both parameters, by the concentration of the first order: implicit reparameterisation,
    Figurnov, Mohamed and Mnih (2018).

    >>> from microgradx.distributions import Gamma
    >>> Gamma(3.0, 2.0).mean, Gamma(3.0, 2.0).variance
    (Tensor(1.5), Tensor(0.75))
    """
    arg_constraints = {"concentration": constraints.positive, "rate": constraints.positive}
    support = constraints.nonnegative
    has_rsample = True
    concentration: Tensor
    rate: Tensor

    def __init__(self, concentration: Any, rate: Any, validate_args: bool | None = None) -> None:
        c, rate = floats("Gamma", concentration, rate)
        shape = broadcast_shapes("Gamma", c.shape, rate.shape)
        self.concentration, self.rate = c.expand(shape), rate.expand(shape)
        super().__init__(shape, (), validate_args)

    @property
    def mean(self) -> Tensor:
        return self.concentration / self.rate

    @property
    def mode(self) -> Tensor:
        return ((self.concentration - 1) / self.rate).relu()

    @property
    def variance(self) -> Tensor:
        return self.concentration / self.rate / self.rate

    def rsample(self, sample_shape: Size = ()) -> Tensor:
        return standard_gamma(self.concentration.expand(self._extended_shape(sample_shape))) / self.rate

    def log_prob(self, value: Any) -> Tensor:
        x, c = self._value(value), self.concentration
        result: Tensor = c.xlogy(self.rate) + (c - 1).xlogy(x) - self.rate * x - lgamma(c)
        return result

    def cdf(self, value: Any) -> Tensor:
        x = self._value(value) * self.rate
        result: Tensor = gammainc(self.concentration.expand(x.shape), x)
        return result

    def entropy(self) -> Tensor:
        c = self.concentration
        result: Tensor = c - self.rate.log() + lgamma(c) + (1 - c) * digamma(c)
        return result


make_public(__name__)
