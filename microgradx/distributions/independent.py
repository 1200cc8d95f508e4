"""A batch of distributions as one of vectors."""
from __future__ import annotations

from typing import Any, Self

from microgradx._core.tensor import Tensor
from microgradx.distributions.constraints import Constraint
from microgradx.distributions.distribution import Distribution, Size
from microgradx.errors import OptionError
from microgradx.names import make_public

__all__ = ["Independent"]


class Independent(Distribution):
    """``base_distribution`` whose last ``reinterpreted_batch_ndims`` axes of the batch belong to the event.

    >>> import microgradx as mgx
    >>> from microgradx.distributions import Independent, Normal
    >>> vectors = Independent(Normal(mgx.zeros(5, 3), 1.0), 1)
    >>> vectors.batch_shape, vectors.event_shape, vectors.log_prob(mgx.zeros(3)).shape
    ((5,), (3,), (5,))
    """

    def __init__(self, base_distribution: Distribution, reinterpreted_batch_ndims: int,
                 validate_args: bool | None = None) -> None:
        n, shape = reinterpreted_batch_ndims, base_distribution.batch_shape
        if not isinstance(n, int) or not 0 <= n <= len(shape):
            raise OptionError(f"Independent: reinterpreted_batch_ndims={n!r} of a batch of shape {shape}")
        self.base_dist, self.reinterpreted_batch_ndims = base_distribution, n
        at = len(shape) - n
        super().__init__(shape[:at], shape[at:] + base_distribution.event_shape, validate_args)

    @property
    def has_rsample(self) -> bool:                                      # type: ignore[override]
        return self.base_dist.has_rsample

    @property
    def support(self) -> Constraint:                                    # type: ignore[override]
        return self.base_dist.support

    def _sum(self, x: Tensor) -> Tensor:
        n = self.reinterpreted_batch_ndims
        return x.sum(tuple(range(-n, 0))) if n else x

    def expand(self, batch_shape: Size, _instance: Any = None) -> Self:
        own = self.base_dist.batch_shape[len(self._batch_shape):]
        return type(self)(self.base_dist.expand((*batch_shape, *own)), self.reinterpreted_batch_ndims)

    @property
    def mean(self) -> Tensor:
        return self.base_dist.mean

    @property
    def mode(self) -> Tensor:
        return self.base_dist.mode

    @property
    def variance(self) -> Tensor:
        return self.base_dist.variance

    def sample(self, sample_shape: Size = ()) -> Tensor:
        return self.base_dist.sample(sample_shape)

    def rsample(self, sample_shape: Size = ()) -> Tensor:
        return self.base_dist.rsample(sample_shape)

    def log_prob(self, value: Any) -> Tensor:
        return self._sum(self.base_dist.log_prob(value))

    def entropy(self) -> Tensor:
        return self._sum(self.base_dist.entropy())

    def __repr__(self) -> str:
        return f"Independent({self.base_dist}, {self.reinterpreted_batch_ndims})"


make_public(__name__)
