"""The uniform distribution."""
from __future__ import annotations

from typing import Any

from microgradx._core.tensor import Tensor
from microgradx.distributions import constraints
from microgradx.distributions.distribution import Distribution, Size, broadcast_shapes, floats
from microgradx.names import make_public
from microgradx.random import rand

__all__ = ["Uniform"]


class Uniform(Distribution):
    """Numbers with low <= x < high, all as likely.

    >>> from microgradx.distributions import Uniform
    >>> Uniform(0.0, 4.0).log_prob(1.0).exp()
    Tensor(0.25)
    """
    arg_constraints = {"low": constraints.real, "high": constraints.real}
    has_rsample = True
    low: Tensor
    high: Tensor

    def __init__(self, low: Any, high: Any, validate_args: bool | None = None) -> None:
        low, high = floats("Uniform", low, high)
        shape = broadcast_shapes("Uniform", low.shape, high.shape)
        self.low, self.high = low.expand(shape), high.expand(shape)
        super().__init__(shape, (), validate_args)
        if self._validate_args:
            constraints.Constraint("above 0", lambda x: x > 0).require("Uniform", "high - low", self.high - self.low)

    @property
    def support(self) -> constraints.Constraint:                        # type: ignore[override]
        low, high = (t.detach() for t in (self.low, self.high))
        if low.size == 0:
            return constraints.real
        return constraints.Constraint("between low and high", lambda x: (x >= low.numpy()) & (x <= high.numpy()))

    @property
    def mean(self) -> Tensor:
        return (self.low + self.high) / 2

    @property
    def variance(self) -> Tensor:
        return (self.high - self.low).square() / 12

    def rsample(self, sample_shape: Size = ()) -> Tensor:
        u = rand(self._extended_shape(sample_shape), dtype=self.low.dtype)
        return self.low + u * (self.high - self.low)

    def log_prob(self, value: Any) -> Tensor:
        x = self._value(value)
        inside = ((x >= self.low) & (x < self.high)).astype(self.low.dtype)
        return inside.log() - (self.high - self.low).log()

    def cdf(self, value: Any) -> Tensor:
        return ((self._value(value) - self.low) / (self.high - self.low)).clip(0, 1)

    def icdf(self, value: Any) -> Tensor:
        x = value if isinstance(value, Tensor) else Tensor(value)
        return x * (self.high - self.low) + self.low

    def entropy(self) -> Tensor:
        return (self.high - self.low).log()


make_public(__name__)
