"""Bernoulli draws made continuous."""
from __future__ import annotations

from typing import Any

import numpy as np

from microgradx._core.tensor import Tensor
from microgradx.distributions import constraints
from microgradx.distributions.bernoulli import OneProbability
from microgradx.distributions.distribution import Size, floats
from microgradx.distributions.transformed_distribution import TransformedDistribution
from microgradx.distributions.transforms import SigmoidTransform
from microgradx.names import make_public
from microgradx.random import rand

__all__ = ["LogitRelaxedBernoulli", "RelaxedBernoulli"]


class LogitRelaxedBernoulli(OneProbability):
    """log(y / (1 - y)) of a draw y of ``RelaxedBernoulli``."""
    support = constraints.real
    has_rsample = True
    shared = ("temperature",)
    temperature: Tensor

    def __init__(self, temperature: Any, probs: Any = None, logits: Any = None,
                 validate_args: bool | None = None) -> None:
        super().__init__(probs, logits, validate_args)
        given = vars(self)["probs" if "probs" in vars(self) else "logits"]
        _, self.temperature = floats("RelaxedBernoulli", given, temperature)

    def rsample(self, sample_shape: Size = ()) -> Tensor:
        logits = self.logits
        eps = float(np.finfo(logits.dtype).eps)
        u = rand(self._extended_shape(sample_shape), dtype=logits.dtype).clip(eps, 1 - eps)
        return (u.log() - (-u).log1p() + logits) / self.temperature

    def log_prob(self, value: Any) -> Tensor:
        away = self.logits - self._value(value) * self.temperature
        return self.temperature.log() + away - 2 * away.softplus()


class RelaxedBernoulli(TransformedDistribution):
    """Numbers between 0 and 1, near one of them at a low ``temperature``, with gradients: Maddison et al. (2017).

    >>> from microgradx.distributions import RelaxedBernoulli
    >>> RelaxedBernoulli(0.5, probs=0.3).rsample((4,)).shape
    (4,)
    """

    def __init__(self, temperature: Any, probs: Any = None, logits: Any = None,
                 validate_args: bool | None = None) -> None:
        base = LogitRelaxedBernoulli(temperature, probs, logits, validate_args)
        super().__init__(base, SigmoidTransform(), validate_args)

    def expand(self, batch_shape: Size, _instance: Any = None) -> Any:
        return TransformedDistribution(self.base_dist.expand(batch_shape), self.transforms)

    def __getattr__(self, name: str) -> Any:
        if name in ("temperature", "probs", "logits") and "base_dist" in vars(self):
            return getattr(self.base_dist, name)
        raise AttributeError(f"'RelaxedBernoulli' object has no attribute {name!r}")


make_public(__name__)
