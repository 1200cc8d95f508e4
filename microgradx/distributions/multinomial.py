"""The multinomial distribution."""
from __future__ import annotations

from typing import Any

import numpy as np

from microgradx._core.tensor import Tensor
from microgradx.arrays.special import lgamma
from microgradx.distributions import constraints
from microgradx.distributions.binomial import Binomial
from microgradx.distributions.categorical import Classes
from microgradx.distributions.distribution import Size
from microgradx.errors import OptionError
from microgradx.names import make_public

__all__ = ["Multinomial"]


class Multinomial(Classes):
    """How often each class comes in ``total_count`` draws, with the chances ``probs`` or with ``logits``.

    >>> from microgradx.distributions import Multinomial
    >>> Multinomial(4, [0.25, 0.75]).mean
    Tensor([1., 3.])
    """

    def __init__(self, total_count: int = 1, probs: Any = None, logits: Any = None,
                 validate_args: bool | None = None) -> None:
        if isinstance(total_count, bool) or not isinstance(total_count, int) or total_count < 0:
            raise OptionError(f"Multinomial: total_count={total_count!r} is not an integer >= 0")
        self.total_count = total_count
        super().__init__(probs, logits, validate_args)

    @property
    def support(self) -> constraints.Constraint:                        # type: ignore[override]
        n = self.total_count
        return constraints.Constraint(f"counts that add up to {n}", lambda x: (
            (x >= 0) & (x == np.floor(x))).all(-1) & (x.sum(-1) == n), 1)

    @property
    def mean(self) -> Tensor:
        return self.probs * self.total_count

    @property
    def variance(self) -> Tensor:
        return self.total_count * self.probs * (1 - self.probs)

    def sample(self, sample_shape: Size = ()) -> Tensor:
        return self._one_hot(self._draw((self.total_count, *self._extended_shape(sample_shape)[:-1]))).sum(0)

    def log_prob(self, value: Any) -> Tensor:
        x, logits = self._value(value).astype(self._given().dtype), self.logits
        logits = ((x == 0) & (logits == -float("inf"))).where(0.0, logits)
        result: Tensor = lgamma(x.sum(-1) + 1) - lgamma(x + 1).sum(-1) + (logits * x).sum(-1)
        return result

    def entropy(self) -> Tensor:
        n, p = self.total_count, self.probs
        counts = Tensor(np.arange(1, n + 1), dtype=p.dtype).reshape(-1, *[1] * p.ndim)
        chances = Binomial(n, p, validate_args=False).log_prob(counts).exp()
        result: Tensor = (n * self._entropy() - lgamma(Tensor(n + 1.0, dtype=p.dtype))
                          + (chances * lgamma(counts + 1)).sum((0, -1)))
        return result


make_public(__name__)
