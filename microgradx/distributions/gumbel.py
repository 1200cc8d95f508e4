"""The Gumbel distribution."""
from __future__ import annotations

import math
from typing import Any

import numpy as np

from microgradx._core.tensor import Tensor
from microgradx.distributions.distribution import Size
from microgradx.distributions.normal import LocScale
from microgradx.names import make_public
from microgradx.random import rand

__all__ = ["Gumbel"]


def standard_gumbel(shape: tuple[int, ...], dtype: Any) -> Tensor:
    """Draws with loc 0 and scale 1."""
    tiny = float(np.finfo(dtype).tiny)
    return -(-rand(shape, dtype=dtype).clip(tiny, 1 - float(np.finfo(dtype).eps)).log()).log()


class Gumbel(LocScale):
    """The distribution of the maximum of many: its cdf is exp(-exp(-(x - loc) / scale)).

    >>> from microgradx.distributions import Gumbel
    >>> Gumbel(0.0, 1.0).log_prob(0.0)
    Tensor(-1.)
    """

    @property
    def mean(self) -> Tensor:
        return self.loc + self.scale * float(np.euler_gamma)

    @property
    def variance(self) -> Tensor:
        return (math.pi**2 / 6) * self.scale.square()

    @property
    def stddev(self) -> Tensor:
        return math.pi / math.sqrt(6) * self.scale

    def rsample(self, sample_shape: Size = ()) -> Tensor:
        return self.loc + self.scale * standard_gumbel(self._extended_shape(sample_shape), self.loc.dtype)

    def log_prob(self, value: Any) -> Tensor:
        y = (self.loc - self._value(value)) / self.scale
        return y - y.exp() - self.scale.log()

    def cdf(self, value: Any) -> Tensor:
        return (-((self.loc - self._value(value)) / self.scale).exp()).exp()

    def icdf(self, value: Any) -> Tensor:
        x = value if isinstance(value, Tensor) else Tensor(value)
        return self.loc - self.scale * (0.0 - x.log()).log()           # not -0 at 1, where the slope is inf

    def entropy(self) -> Tensor:
        return self.scale.log() + (1 + float(np.euler_gamma))


make_public(__name__)
