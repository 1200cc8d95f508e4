"""The categorical distribution."""
from __future__ import annotations

from typing import Any

import numpy as np

from microgradx._core.tensor import Tensor
from microgradx.distributions import constraints
from microgradx.distributions.bernoulli import clipped, probs_or_logits
from microgradx.distributions.distribution import Distribution, Size, broadcast_shapes
from microgradx.errors import ShapeError
from microgradx.names import make_public
from microgradx.random import rand

__all__ = ["Categorical"]


class Classes(Distribution):
    """What distributions over n classes share: ``probs`` and ``logits`` (..., n), normalised."""
    arg_constraints = {"probs": constraints.weights, "logits": constraints.real_vector}

    def __init__(self, probs: Any = None, logits: Any = None, validate_args: bool | None = None) -> None:
        op = type(self).__name__
        name, given = probs_or_logits(op, probs, logits)
        if given.ndim < 1 or given.shape[-1] == 0:
            raise ShapeError(f"{op}: {name} of at least one class along the last axis, not of shape {given.shape}")
        vars(self)[name] = given
        super().__init__(given.shape[:-1], self._event_of(given.shape[-1]), validate_args)
        vars(self)[name] = (given / given.sum(-1, keepdims=True) if name == "probs" else
                            given - given.logsumexp(-1, keepdims=True))

    def _event_of(self, n: int) -> tuple[int, ...]:
        """The shape of a draw from n classes."""
        return (n,)

    def __getattr__(self, name: str) -> Tensor:
        if name == "probs" and "logits" in vars(self):
            return self.logits.softmax(-1)
        if name == "logits" and "probs" in vars(self):
            return clipped(self.probs).log()
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    @property
    def param_shape(self) -> tuple[int, ...]:
        """The shape of ``probs`` and ``logits``."""
        return self._given().shape

    def _given(self) -> Tensor:
        found: Tensor = vars(self)["probs" if "probs" in vars(self) else "logits"]
        return found

    @property
    def _num_events(self) -> int:
        return self._given().shape[-1]

    def _draw(self, lengths: tuple[int, ...]) -> Tensor:
        """Classes, int64: the first of n exponential clocks that go off with the chances as rates."""
        p = self.probs.detach()
        clocks = -(-rand(*lengths, self._num_events, dtype=p.dtype)).log1p() / p
        return clocks.argmin(-1)

    def _entropy(self) -> Tensor:
        logits = self.logits.clip(float(np.finfo(self.logits.dtype).min))
        return -(self.probs * logits).sum(-1)

    def _one_hot(self, at: Tensor) -> Tensor:
        return (at.unsqueeze(-1) == Tensor(np.arange(self._num_events))).astype(self._given().dtype)


class Categorical(Classes):
    """Classes 0 to n - 1, int64, with the chances ``probs`` or with ``logits`` (..., n), which are normalised.

    >>> import microgradx as mgx
    >>> from microgradx.distributions import Categorical
    >>> policy = Categorical(logits=mgx.zeros(4))
    >>> action = policy.sample()
    >>> policy.log_prob(action).exp(), policy.entropy()
    (Tensor(0.25), Tensor(1.3862944))
    """
    has_enumerate_support = True

    def _event_of(self, n: int) -> tuple[int, ...]:
        return ()

    @property
    def support(self) -> constraints.Constraint:                        # type: ignore[override]
        return constraints.integer_interval(0, self._num_events - 1)

    @property
    def mean(self) -> Tensor:
        return self.probs[..., 0].detach() * float("nan")

    @property
    def variance(self) -> Tensor:
        return self.probs[..., 0].detach() * float("nan")

    @property
    def mode(self) -> Tensor:
        return self.probs.detach().argmax(-1)

    def sample(self, sample_shape: Size = ()) -> Tensor:
        return self._draw(self._extended_shape(sample_shape))

    def log_prob(self, value: Any) -> Tensor:
        at, logits = self._value(value).astype("int64"), self.logits
        shape = broadcast_shapes("Categorical", at.shape, self._batch_shape)
        picked = logits.expand(*shape, self._num_events).gather(-1, at.expand(shape).unsqueeze(-1))
        return picked.squeeze(-1)

    def entropy(self) -> Tensor:
        return self._entropy()

    def enumerate_support(self, expand: bool = True) -> Tensor:
        return self._enumerated(Tensor(np.arange(self._num_events)), expand)


make_public(__name__)
