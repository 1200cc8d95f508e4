"""The distribution of a map of draws."""
from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

from microgradx._core.graph import no_grad
from microgradx._core.tensor import Tensor
from microgradx.distributions.distribution import Distribution, Size
from microgradx.distributions.transforms import Transform
from microgradx.errors import DTypeError
from microgradx.names import make_public

__all__ = ["TransformedDistribution"]


class TransformedDistribution(Distribution):
    """The distribution of transforms(x), x drawn from ``base_distribution``: one ``Transform``, or one after the other.

    >>> from microgradx.distributions import Normal, TransformedDistribution
    >>> from microgradx.distributions.transforms import ExpTransform
    >>> TransformedDistribution(Normal(0.0, 1.0), [ExpTransform()]).log_prob(1.0)
    Tensor(-0.9189385)
    """

    def __init__(self, base_distribution: Distribution, transforms: Transform | Sequence[Transform],
                 validate_args: bool | None = None) -> None:
        self.base_dist = base_distribution
        self.transforms = [transforms] if isinstance(transforms, Transform) else list(transforms)
        for t in self.transforms:
            if not isinstance(t, Transform):
                raise DTypeError(f"TransformedDistribution: a transform is a Transform, not {type(t).__name__}")
        super().__init__(base_distribution.batch_shape, base_distribution.event_shape, validate_args)

    @property
    def has_rsample(self) -> bool:                                      # type: ignore[override]
        return self.base_dist.has_rsample

    def expand(self, batch_shape: Size, _instance: Any = None) -> Self:
        return type(self)(self.base_dist.expand(batch_shape), self.transforms)

    def _map(self, x: Tensor) -> Tensor:
        for t in self.transforms:
            x = t(x)
        return x

    def sample(self, sample_shape: Size = ()) -> Tensor:
        with no_grad():
            return self._map(self.base_dist.sample(sample_shape))

    def rsample(self, sample_shape: Size = ()) -> Tensor:
        return self._map(self.base_dist.rsample(sample_shape))

    def log_prob(self, value: Any) -> Tensor:
        y = value if isinstance(value, Tensor) else Tensor(value)
        total, events = None, tuple(range(-len(self._event_shape), 0))
        for t in reversed(self.transforms):
            x = t.inv(y)
            slope = t.log_abs_det_jacobian(x, y)
            slope = slope.sum(events) if events else slope
            total, y = slope if total is None else total + slope, x
        log_prob = self.base_dist.log_prob(y)
        return log_prob if total is None else log_prob - total

    def cdf(self, value: Any) -> Tensor:
        y = value if isinstance(value, Tensor) else Tensor(value)
        for t in reversed(self.transforms):
            y = t.inv(y)
        return self.base_dist.cdf(y)

    def icdf(self, value: Any) -> Tensor:
        return self._map(self.base_dist.icdf(value))

    def __repr__(self) -> str:
        return f"TransformedDistribution({self.base_dist}, {self.transforms})"


make_public(__name__)
