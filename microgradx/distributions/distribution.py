"""The base of distributions: shapes, checks, draws."""
from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any, ClassVar, Self

import numpy as np

from microgradx._core.array import get_default_dtype
from microgradx._core.graph import no_grad
from microgradx._core.tensor import Tensor
from microgradx.distributions.constraints import Constraint, real
from microgradx.errors import DTypeError, NotImplementedError_, OptionError, ShapeError
from microgradx.names import make_public

__all__ = ["Distribution"]

Size = Sequence[int]


def broadcast_shapes(op: str, *shapes: tuple[int, ...]) -> tuple[int, ...]:
    """The shape to which all of them broadcast."""
    try:
        return tuple(np.broadcast_shapes(*shapes))
    except ValueError:
        raise ShapeError(f"{op}: shapes {' and '.join(map(str, shapes))} do not broadcast") from None


def floats(op: str, *values: Any) -> list[Tensor]:
    """Tensors of one float dtype: that of the tensors among them, for numbers the default dtype."""
    kinds = [v.dtype for v in values if isinstance(v, (Tensor, np.ndarray, np.generic)) and v.dtype.kind == "f"]
    kind = max(kinds) if kinds else np.dtype(get_default_dtype())
    tensors = []
    for v in values:
        if isinstance(v, (str, bytes)) or v is None:
            raise DTypeError(f"{op}: a parameter is a number or a tensor, not {type(v).__name__}")
        t = v if isinstance(v, Tensor) else Tensor(np.asarray(v))
        tensors.append(t if t.dtype == kind else t.astype(kind))
    return tensors


class Distribution:
    """A distribution, or a batch of them: ``batch_shape`` says how many, ``event_shape`` what one draw is.

    A subclass has its parameters as attributes, with ``arg_constraints`` for them and a ``support`` for its values, and
    defines ``log_prob`` and ``sample`` or ``rsample``; ``rsample``, where ``has_rsample``, gives draws with gradients
    by the parameters. Draws come from the shared generator, which ``manual_seed`` restarts, and are drawn again at each
    replay of a compiled function.

    Raises ``OptionError`` for parameters and values out of their range, unless ``validate_args=False``.
    """
    arg_constraints: ClassVar[dict[str, Constraint]] = {}
    support: Constraint = real
    has_rsample: bool = False
    has_enumerate_support: bool = False
    shared: ClassVar[tuple[str, ...]] = ()              # parameters that all of a batch have together
    _validate_args = True

    def __init__(self, batch_shape: Size = (), event_shape: Size = (), validate_args: bool | None = None) -> None:
        self._batch_shape, self._event_shape = tuple(batch_shape), tuple(event_shape)
        if validate_args is not None:
            self._validate_args = validate_args
        if self._validate_args:
            for name, constraint in self.arg_constraints.items():
                if name in vars(self):
                    constraint.require(type(self).__name__, name, vars(self)[name])

    @staticmethod
    def set_default_validate_args(value: bool) -> None:
        """Whether parameters and values are checked where nothing is said."""
        if value not in (True, False):
            raise OptionError(f"set_default_validate_args: {value!r} is not True or False")
        Distribution._validate_args = value

    @property
    def batch_shape(self) -> tuple[int, ...]:
        """The shape of the batch of distributions."""
        return self._batch_shape

    @property
    def event_shape(self) -> tuple[int, ...]:
        """The shape of one draw of one of them."""
        return self._event_shape

    def expand(self, batch_shape: Size, _instance: Any = None) -> Self:
        """The same with its parameters expanded to another batch shape."""
        other, axes, shape = copy.copy(self), len(self._batch_shape), tuple(batch_shape)
        for name, value in vars(self).items():
            if isinstance(value, Tensor) and name not in self.shared:
                vars(other)[name] = value.expand(shape + value.shape[axes:])
        other._batch_shape = shape
        return other

    def _extended_shape(self, sample_shape: Size = ()) -> tuple[int, ...]:
        """The shape of draws."""
        lengths = (sample_shape,) if isinstance(sample_shape, int) else tuple(sample_shape)
        return lengths + self._batch_shape + self._event_shape

    def _value(self, value: Any) -> Tensor:
        """A value as a tensor that fits the distribution."""
        x = value if isinstance(value, Tensor) else Tensor(value)
        if self._validate_args:
            op, events = type(self).__name__, len(self._event_shape)
            if x.shape[x.ndim - events:] != self._event_shape:
                raise ShapeError(f"{op}: values of shape {x.shape} do not end in the event shape {self._event_shape}")
            broadcast_shapes(op, x.shape, self._batch_shape + self._event_shape)
            self.support.require(op, "the value", x)
        return x

    def sample(self, sample_shape: Size = ()) -> Tensor:
        """Draws of shape sample_shape + batch_shape + event_shape, without gradients."""
        with no_grad():
            return self.rsample(sample_shape).detach()

    def rsample(self, sample_shape: Size = ()) -> Tensor:
        """Draws with gradients by the parameters."""
        raise NotImplementedError_(f"{type(self).__name__}: draws have no gradient by the parameters; sample() gives "
                                  "draws without, and the log_prob of a draw has one")

    def log_prob(self, value: Any) -> Tensor:
        """The logarithm of the density, or of the chance, of a value."""
        raise NotImplementedError_(f"{type(self).__name__} has no log_prob")

    def cdf(self, value: Any) -> Tensor:
        """The chance of a draw of at most this value."""
        raise NotImplementedError_(f"{type(self).__name__} has no cdf")

    def icdf(self, value: Any) -> Tensor:
        """The value that a draw does not exceed with this chance."""
        raise NotImplementedError_(f"{type(self).__name__} has no icdf")

    def entropy(self) -> Tensor:
        """The expectation of -log_prob."""
        raise NotImplementedError_(f"{type(self).__name__} has no entropy")

    def enumerate_support(self, expand: bool = True) -> Tensor:
        """All values that a draw may have, along a new first axis."""
        raise NotImplementedError_(f"{type(self).__name__} has no finite number of values")

    def perplexity(self) -> Tensor:
        """exp of the entropy."""
        return self.entropy().exp()

    @property
    def mean(self) -> Tensor:
        """The expectation."""
        raise NotImplementedError_(f"{type(self).__name__} has no mean")

    @property
    def variance(self) -> Tensor:
        """The expectation of the square of the distance from the mean."""
        raise NotImplementedError_(f"{type(self).__name__} has no variance")

    @property
    def stddev(self) -> Tensor:
        """The root of the variance."""
        return self.variance.sqrt()

    @property
    def mode(self) -> Tensor:
        """The value of the largest density or chance."""
        raise NotImplementedError_(f"{type(self).__name__} has no mode")

    def _enumerated(self, values: Tensor, expand: bool) -> Tensor:
        shaped = values.reshape(-1, *[1] * len(self._batch_shape))
        return shaped.expand(-1, *self._batch_shape) if expand else shaped

    def __repr__(self) -> str:
        given = [(name, vars(self)[name]) for name in self.arg_constraints if name in vars(self)]
        return f"{type(self).__name__}({', '.join(f'{n}: {t.item() if t.size == 1 else t.shape}' for n, t in given)})"


make_public(__name__)
