"""Categorical draws made continuous."""
from __future__ import annotations

from typing import Any

from microgradx._core.tensor import Tensor
from microgradx.arrays.special import lgamma
from microgradx.distributions import constraints
from microgradx.distributions.categorical import Classes
from microgradx.distributions.distribution import Size, floats
from microgradx.distributions.gumbel import standard_gumbel
from microgradx.distributions.transformed_distribution import TransformedDistribution
from microgradx.distributions.transforms import ExpTransform
from microgradx.names import make_public

__all__ = ["ExpRelaxedCategorical", "RelaxedOneHotCategorical"]


class ExpRelaxedCategorical(Classes):
    """The logarithm of a draw of ``RelaxedOneHotCategorical``."""
    support = constraints.real_vector
    has_rsample = True
    shared = ("temperature",)
    temperature: Tensor

    def __init__(self, temperature: Any, probs: Any = None, logits: Any = None,
                 validate_args: bool | None = None) -> None:
        super().__init__(probs, logits, validate_args)
        _, self.temperature = floats("RelaxedOneHotCategorical", self._given(), temperature)

    def rsample(self, sample_shape: Size = ()) -> Tensor:
        logits = self.logits
        scores = (logits + standard_gumbel(self._extended_shape(sample_shape), logits.dtype)) / self.temperature
        return scores - scores.logsumexp(-1, keepdims=True)

    def log_prob(self, value: Any) -> Tensor:
        n, heat = self._num_events, self.temperature
        scores = self.logits - self._value(value) * heat
        scores = (scores - scores.logsumexp(-1, keepdims=True)).sum(-1)
        result: Tensor = scores + lgamma(Tensor(float(n), dtype=scores.dtype)) + (n - 1) * heat.log()
        return result


class RelaxedOneHotCategorical(TransformedDistribution):
    """Shares that add up to 1, near a single 1 at a low ``temperature``, with gradients: Jang, Gu and Poole (2017).

    >>> from microgradx.distributions import RelaxedOneHotCategorical
    >>> RelaxedOneHotCategorical(0.5, logits=[0.0, 1.0]).rsample((4,)).shape
    (4, 2)
    """

    def __init__(self, temperature: Any, probs: Any = None, logits: Any = None,
                 validate_args: bool | None = None) -> None:
        base = ExpRelaxedCategorical(temperature, probs, logits, validate_args)
        super().__init__(base, ExpTransform(), validate_args)

    def expand(self, batch_shape: Size, _instance: Any = None) -> Any:
        return TransformedDistribution(self.base_dist.expand(batch_shape), self.transforms)

    def __getattr__(self, name: str) -> Any:
        if name in ("temperature", "probs", "logits") and "base_dist" in vars(self):
            return getattr(self.base_dist, name)
        raise AttributeError(f"'RelaxedOneHotCategorical' object has no attribute {name!r}")


make_public(__name__)
