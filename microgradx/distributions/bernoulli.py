"""The Bernoulli distribution."""
from __future__ import annotations

from typing import Any

import numpy as np

from microgradx._core.tensor import Tensor
from microgradx.distributions import constraints
from microgradx.distributions.distribution import Distribution, Size, floats
from microgradx.errors import OptionError
from microgradx.names import make_public
from microgradx.random import rand

__all__ = ["Bernoulli"]


def probs_or_logits(op: str, probs: Any, logits: Any) -> tuple[str, Tensor]:
    """The one that is given, and its name."""
    if (probs is None) == (logits is None):
        raise OptionError(f"{op}: probs or logits, one of them")
    name = "probs" if logits is None else "logits"
    return name, floats(op, probs if logits is None else logits)[0]


def clipped(probs: Tensor) -> Tensor:
    """Chances that have finite logits."""
    least = float(np.finfo(probs.dtype).eps)
    return probs.clip(least, 1 - least)


class OneProbability(Distribution):
    """What distributions of one chance share: ``probs``, and ``logits``, log(p / (1 - p))."""
    arg_constraints = {"probs": constraints.unit_interval, "logits": constraints.real}

    def __init__(self, probs: Any = None, logits: Any = None, validate_args: bool | None = None) -> None:
        name, given = probs_or_logits(type(self).__name__, probs, logits)
        vars(self)[name] = given
        super().__init__(given.shape, (), validate_args)

    def __getattr__(self, name: str) -> Tensor:
        if name == "probs" and "logits" in vars(self):
            return self.logits.sigmoid()
        if name == "logits" and "probs" in vars(self):
            p = clipped(self.probs)
            return p.log() - (-p).log1p()
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")


class Bernoulli(OneProbability):
    """1 with the chance ``probs``, else 0; or with ``logits``, log(p / (1 - p)).

    >>> from microgradx.distributions import Bernoulli
    >>> Bernoulli(probs=0.25).log_prob(1.0).exp()
    Tensor(0.25)
    """
    support = constraints.boolean
    has_enumerate_support = True

    @property
    def mean(self) -> Tensor:
        return self.probs

    @property
    def mode(self) -> Tensor:
        p = self.probs.detach()
        return (p == 0.5).where(float("nan"), (p > 0.5).astype(p.dtype))

    @property
    def variance(self) -> Tensor:
        return self.probs * (1 - self.probs)

    def sample(self, sample_shape: Size = ()) -> Tensor:
        p = self.probs.detach()
        return (rand(self._extended_shape(sample_shape), dtype=p.dtype) < p).astype(p.dtype)

    def log_prob(self, value: Any) -> Tensor:
        logits = self.logits
        return self._value(value) * logits - logits.softplus()

    def entropy(self) -> Tensor:
        logits = self.logits
        return logits.softplus() - self.probs * logits

    def enumerate_support(self, expand: bool = True) -> Tensor:
        return self._enumerated(Tensor(np.arange(2), dtype=self.probs.dtype), expand)


make_public(__name__)
