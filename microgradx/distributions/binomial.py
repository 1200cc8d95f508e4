"""The binomial distribution."""
from __future__ import annotations

from typing import Any

import numpy as np

from microgradx._core.tensor import Tensor
from microgradx.arrays.special import lgamma
from microgradx.distributions import constraints
from microgradx.distributions.bernoulli import OneProbability
from microgradx.distributions.distribution import Size
from microgradx.errors import OptionError
from microgradx.names import make_public
from microgradx.random import rand

__all__ = ["Binomial"]


class Binomial(OneProbability):
    """How many of ``total_count`` trials succeed, each with the chance ``probs``.

    >>> from microgradx.distributions import Binomial
    >>> Binomial(2, 0.5).log_prob(1.0).exp()
    Tensor(0.5)
    """
    has_enumerate_support = True

    def __init__(self, total_count: int = 1, probs: Any = None, logits: Any = None,
                 validate_args: bool | None = None) -> None:
        if isinstance(total_count, bool) or not isinstance(total_count, int) or total_count < 0:
            raise OptionError(f"Binomial: total_count={total_count!r} is not an integer >= 0")
        self.total_count = total_count
        super().__init__(probs, logits, validate_args)

    @property
    def support(self) -> constraints.Constraint:                        # type: ignore[override]
        return constraints.integer_interval(0, self.total_count)

    @property
    def mean(self) -> Tensor:
        return self.total_count * self.probs

    @property
    def mode(self) -> Tensor:
        return ((self.total_count + 1) * self.probs.detach()).floor().clip(hi=self.total_count)

    @property
    def variance(self) -> Tensor:
        return self.total_count * self.probs * (1 - self.probs)

    def sample(self, sample_shape: Size = ()) -> Tensor:
        p = self.probs.detach()
        trials = rand(self.total_count, *self._extended_shape(sample_shape), dtype=p.dtype) < p
        return trials.astype(p.dtype).sum(0)

    def log_prob(self, value: Any) -> Tensor:
        n, logits = self.total_count, self.logits
        x = self._value(value).astype(logits.dtype)
        choices = lgamma(Tensor(n + 1.0, dtype=logits.dtype)) - lgamma(x + 1) - lgamma(n - x + 1)
        result: Tensor = choices + x * logits - n * logits.softplus()
        return result

    def entropy(self) -> Tensor:
        log_prob = self.log_prob(self.enumerate_support(False))
        return -(log_prob.exp() * log_prob).sum(0)

    def enumerate_support(self, expand: bool = True) -> Tensor:
        return self._enumerated(Tensor(np.arange(self.total_count + 1), dtype=self.probs.dtype), expand)


make_public(__name__)
