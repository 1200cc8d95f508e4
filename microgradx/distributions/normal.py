"""The normal distribution."""
from __future__ import annotations

import math
from typing import Any

from microgradx._core.tensor import Tensor
from microgradx.arrays.special import ndtr, ndtri
from microgradx.distributions import constraints
from microgradx.distributions.distribution import Distribution, Size, broadcast_shapes, floats
from microgradx.names import make_public
from microgradx.random import randn

__all__ = ["Normal"]


class LocScale(Distribution):
    """What distributions with a location and a scale share."""
    arg_constraints = {"loc": constraints.real, "scale": constraints.positive}
    has_rsample = True
    loc: Tensor
    scale: Tensor

    def __init__(self, loc: Any, scale: Any, validate_args: bool | None = None) -> None:
        loc, scale = floats(type(self).__name__, loc, scale)
        shape = broadcast_shapes(type(self).__name__, loc.shape, scale.shape)
        self.loc, self.scale = loc.expand(shape), scale.expand(shape)
        super().__init__(shape, (), validate_args)

    @property
    def mean(self) -> Tensor:
        return self.loc

    @property
    def mode(self) -> Tensor:
        return self.loc


class Normal(LocScale):
    """Normal numbers with the mean ``loc`` and the standard deviation ``scale``: numbers, or tensors that broadcast.

    >>> import microgradx as mgx
    >>> from microgradx.distributions import Normal
    >>> unit = Normal(0.0, 1.0)
    >>> unit.log_prob(mgx.Tensor([0.0, 1.0]))
    Tensor([-0.9189385, -1.4189385])
    >>> unit.sample((2, 3)).shape
    (2, 3)
    """

    @property
    def variance(self) -> Tensor:
        return self.scale.square()

    @property
    def stddev(self) -> Tensor:
        return self.scale

    def rsample(self, sample_shape: Size = ()) -> Tensor:
        return self.loc + randn(self._extended_shape(sample_shape), dtype=self.loc.dtype) * self.scale

    def log_prob(self, value: Any) -> Tensor:
        x = self._value(value)
        return -((x - self.loc) / self.scale).square() / 2 - self.scale.log() - math.log(2 * math.pi) / 2

    def cdf(self, value: Any) -> Tensor:
        return ndtr((self._value(value) - self.loc) / self.scale)

    def icdf(self, value: Any) -> Tensor:
        x = value if isinstance(value, Tensor) else Tensor(value)
        return self.loc + self.scale * ndtri(x)

    def entropy(self) -> Tensor:
        return 0.5 + 0.5 * math.log(2 * math.pi) + self.scale.log()


make_public(__name__)
