"""Categorical distributions whose draws are rows of 0 with a single 1."""
from __future__ import annotations

from typing import Any

import numpy as np

from microgradx._core.tensor import Tensor
from microgradx.distributions import constraints
from microgradx.distributions.categorical import Classes
from microgradx.distributions.distribution import Size
from microgradx.names import make_public

__all__ = ["OneHotCategorical", "OneHotCategoricalStraightThrough"]


class OneHotCategorical(Classes):
    """Rows of 0 with a 1 at the class, with the chances ``probs`` or with ``logits``.

    >>> from microgradx.distributions import OneHotCategorical
    >>> OneHotCategorical(probs=[0.0, 1.0]).sample((2,)).tolist()
    [[0.0, 1.0], [0.0, 1.0]]
    """
    support = constraints.one_hot
    has_enumerate_support = True

    @property
    def mean(self) -> Tensor:
        return self.probs

    @property
    def mode(self) -> Tensor:
        return self._one_hot(self.probs.detach().argmax(-1))

    @property
    def variance(self) -> Tensor:
        return self.probs * (1 - self.probs)

    def sample(self, sample_shape: Size = ()) -> Tensor:
        return self._one_hot(self._draw(self._extended_shape(sample_shape)[:-1]))

    def log_prob(self, value: Any) -> Tensor:
        return (self.logits * self._value(value)).sum(-1)

    def entropy(self) -> Tensor:
        return self._entropy()

    def enumerate_support(self, expand: bool = True) -> Tensor:
        n = self._num_events
        rows = Tensor(np.eye(n), dtype=self._given().dtype).reshape(n, *[1] * len(self._batch_shape), n)
        return rows.expand(n, *self._batch_shape, n) if expand else rows


class OneHotCategoricalStraightThrough(OneHotCategorical):
    """``OneHotCategorical`` whose draws have the gradient of ``probs``: Bengio, Leonard and Courville (2013)."""
    has_rsample = True

    def rsample(self, sample_shape: Size = ()) -> Tensor:
        return self.sample(sample_shape) + (self.probs - self.probs.detach())


make_public(__name__)
