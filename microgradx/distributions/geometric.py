"""The geometric distribution."""
from __future__ import annotations

from typing import Any

import numpy as np

from microgradx._core.tensor import Tensor
from microgradx.distributions import constraints
from microgradx.distributions.bernoulli import OneProbability
from microgradx.distributions.distribution import Size
from microgradx.names import make_public
from microgradx.random import rand

__all__ = ["Geometric"]


class Geometric(OneProbability):
    """How many trials fail before the first success, whose chance is ``probs``.

    >>> from microgradx.distributions import Geometric
    >>> Geometric(0.25).mean
    Tensor(3.)
    """
    support = constraints.nonnegative_integer

    @property
    def mean(self) -> Tensor:
        return 1 / self.probs - 1

    @property
    def mode(self) -> Tensor:
        return self.probs.detach() * 0

    @property
    def variance(self) -> Tensor:
        return (1 / self.probs - 1) / self.probs

    def sample(self, sample_shape: Size = ()) -> Tensor:
        p = self.probs.detach()
        u = rand(self._extended_shape(sample_shape), dtype=p.dtype).clip(float(np.finfo(p.dtype).tiny))
        return (u.log() / (-p).log1p()).floor()

    def log_prob(self, value: Any) -> Tensor:
        p = self.probs
        return self._value(value).astype(p.dtype).xlogy(1 - p) + p.log()

    def entropy(self) -> Tensor:
        logits = self.logits
        return (logits.softplus() - self.probs * logits) / self.probs


make_public(__name__)
