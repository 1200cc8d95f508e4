"""A mixture of distributions of one kind."""
from __future__ import annotations

from typing import Any, Self

from microgradx._core.tensor import Tensor
from microgradx.distributions.categorical import Categorical
from microgradx.distributions.constraints import Constraint
from microgradx.distributions.distribution import Distribution, Size
from microgradx.errors import OptionError
from microgradx.names import make_public

__all__ = ["MixtureSameFamily"]


class MixtureSameFamily(Distribution):
    """The k distributions along the last axis of a batch, of which ``mixture_distribution`` picks one for each draw.

    >>> import microgradx as mgx
    >>> from microgradx.distributions import Categorical, MixtureSameFamily, Normal
    >>> mixture = MixtureSameFamily(Categorical(probs=[0.5, 0.5]), Normal(mgx.Tensor([-1.0, 3.0]), 1.0))
    >>> mixture.mean
    Tensor(1.)
    """

    def __init__(self, mixture_distribution: Categorical, component_distribution: Distribution,
                 validate_args: bool | None = None) -> None:
        mixture, component = mixture_distribution, component_distribution
        if not isinstance(mixture, Categorical) or not isinstance(component, Distribution):
            raise OptionError("MixtureSameFamily: a Categorical and a Distribution, not a "
                              f"{type(mixture).__name__} and a {type(component).__name__}")
        shape = component.batch_shape
        if not shape or shape[-1] != mixture.param_shape[-1]:
            raise OptionError(f"MixtureSameFamily: {mixture.param_shape[-1]} chances for components of batch shape "
                              f"{shape}")
        self.mixture_distribution, self.component_distribution = mixture, component
        super().__init__(shape[:-1], component.event_shape, validate_args)

    @property
    def support(self) -> Constraint:                                    # type: ignore[override]
        return self.component_distribution.support

    def expand(self, batch_shape: Size, _instance: Any = None) -> Self:
        k = self.component_distribution.batch_shape[-1]
        return type(self)(self.mixture_distribution.expand(batch_shape),
                          self.component_distribution.expand((*batch_shape, k)))

    def _shares(self) -> Tensor:
        p = self.mixture_distribution.probs
        return p.reshape(*p.shape, *[1] * len(self._event_shape))

    def _over_components(self, x: Tensor) -> Tensor:
        return (self._shares() * x).sum(-1 - len(self._event_shape))

    @property
    def mean(self) -> Tensor:
        return self._over_components(self.component_distribution.mean)

    @property
    def variance(self) -> Tensor:
        away = self.component_distribution.mean - self.mean.unsqueeze(-1 - len(self._event_shape))
        return self._over_components(self.component_distribution.variance + away.square())

    def sample(self, sample_shape: Size = ()) -> Tensor:
        drawn, events = self.component_distribution.sample(sample_shape), len(self._event_shape)
        axis = drawn.ndim - 1 - events
        shape = drawn.shape[:axis]
        at = self.mixture_distribution.expand(self._batch_shape).sample(sample_shape).reshape(
            *shape, 1, *[1] * events).expand(*shape, 1, *self._event_shape)
        return drawn.gather(axis, at).squeeze(axis)

    def log_prob(self, value: Any) -> Tensor:
        x = value if isinstance(value, Tensor) else Tensor(value)
        each = self.component_distribution.log_prob(x.unsqueeze(x.ndim - len(self._event_shape)))
        return (each + self.mixture_distribution.logits).logsumexp(-1)

    def cdf(self, value: Any) -> Tensor:
        x = value if isinstance(value, Tensor) else Tensor(value)
        return (self.component_distribution.cdf(x.unsqueeze(-1)) * self.mixture_distribution.probs).sum(-1)


make_public(__name__)
