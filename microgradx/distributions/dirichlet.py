"""The Dirichlet distribution."""
from __future__ import annotations

from typing import Any

from microgradx._core.tensor import Tensor
from microgradx.arrays.special import digamma, lgamma
from microgradx.distributions import constraints
from microgradx.distributions.distribution import Distribution, Size, floats
from microgradx.distributions.functions import standard_gamma
from microgradx.errors import ShapeError
from microgradx.names import make_public

__all__ = ["Dirichlet"]


class Dirichlet(Distribution):
    """Shares that add up to 1, with a ``concentration`` for each along the last axis.

    >>> from microgradx.distributions import Dirichlet
    >>> Dirichlet([1.0, 3.0]).mean
    Tensor([0.25, 0.75])
    """
    arg_constraints = {"concentration": constraints.Constraint("above 0", lambda x: x > 0, 1)}
    support = constraints.simplex
    has_rsample = True

    def __init__(self, concentration: Any, validate_args: bool | None = None) -> None:
        self.concentration, = floats("Dirichlet", concentration)
        if self.concentration.ndim < 1:
            raise ShapeError("Dirichlet: the concentrations stand along an axis, and there is none")
        super().__init__(self.concentration.shape[:-1], self.concentration.shape[-1:], validate_args)

    @property
    def mean(self) -> Tensor:
        return self.concentration / self.concentration.sum(-1, keepdims=True)

    @property
    def variance(self) -> Tensor:
        total = self.concentration.sum(-1, keepdims=True)
        return self.concentration / total * ((total - self.concentration) / total) / (total + 1)

    def rsample(self, sample_shape: Size = ()) -> Tensor:
        drawn = standard_gamma(self.concentration.expand(self._extended_shape(sample_shape)))
        return drawn / drawn.sum(-1, keepdims=True)

    def log_prob(self, value: Any) -> Tensor:
        c = self.concentration
        result: Tensor = (c - 1).xlogy(self._value(value)).sum(-1) + lgamma(c.sum(-1)) - lgamma(c).sum(-1)
        return result

    def entropy(self) -> Tensor:
        c, k = self.concentration, self.concentration.shape[-1]
        total = c.sum(-1)
        result: Tensor = (lgamma(c).sum(-1) - lgamma(total) - (k - total) * digamma(total)
                          - ((c - 1) * digamma(c)).sum(-1))
        return result


make_public(__name__)
