"""How the functions over tensors take their arguments: the decorator ``of_tensor``, axes, dtypes, broadcasting."""
from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Container
from typing import Any, Concatenate, ParamSpec, TypeVar

import numpy as np

from microgradx._core.array import get_default_dtype
from microgradx._core.tensor import Tensor
from microgradx._core.tensor import tensor as new_tensor
from microgradx._core.views import axis_of
from microgradx.errors import ArgumentError, DTypeError, ShapeError
from microgradx.names import public
from microgradx.typing import Axes, Data

P = ParamSpec("P")
R = TypeVar("R")


def tensor(x: Data) -> Tensor:
    """A tensor as it is, else what ``mgx.tensor`` makes of ``x``, whose integers and masks stay what they are."""
    return x if isinstance(x, Tensor) else new_tensor(x)


def as_operand(x: Tensor, other: Data) -> Tensor:
    """``other`` as a tensor; a number does not change the dtype of ``x``, except that a float makes floats."""
    if isinstance(other, (bool, int, float)) and not (
            isinstance(other, float) and x.dtype.kind != "f" or x.dtype == np.bool_ and not isinstance(other, bool)):
        return new_tensor(other, dtype=x.dtype)
    return tensor(other)


def floats(x: Data) -> Tensor:
    """A float tensor as it is; integers and masks in the default dtype."""
    x = tensor(x)
    return x if x.dtype.kind == "f" else x.astype(get_default_dtype())


def no_floats(op: str, *xs: Tensor) -> None:
    """Raise ``DTypeError`` unless all tensors hold integers or masks."""
    for x in xs:
        if x.dtype.kind == "f":
            raise DTypeError(f"{op}: of integers and masks, not of {x.dtype}")


def of_tensor(function: Callable[Concatenate[Tensor, P], R]) -> Callable[Concatenate[Data, P], R]:
    """``function`` of a Tensor, for all that makes one; keywords of other libraries lead here by ``names.KEYWORDS``."""
    name, first = function.__name__, next(iter(inspect.signature(function).parameters))

    @functools.wraps(function)
    def converted(*args: Any, **kwargs: Any) -> R:
        if args and first in kwargs:
            raise ArgumentError(f"{name}: {first} is given twice, by its place and by its name")
        if not args and first not in kwargs:
            raise ArgumentError(f"{name}: the first argument, {first}, is missing")
        x, *rest = args or (kwargs.pop(first),)
        return function(tensor(x), *rest, **kwargs)

    return public(converted, direct=function, kind=Tensor)


def of_line(function: Callable[P, R]) -> Callable[P, R]:
    """``function`` of a tensor and an axis, for a tensor without axes, too: it counts as one element along an axis."""
    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        x = args[0]
        if x.ndim:
            return function(*args, **kwargs)
        found: Any = function(x.reshape(1), *args[1:], **kwargs)
        if isinstance(found, Tensor):
            return found.reshape(()) if found.size == 1 else found
        return type(found)(*(y.reshape(()) if y.size == 1 else y for y in found))

    return call


def axes_of(op: str, axis: Axes, ndim: int) -> tuple[int, ...]:
    """None (all), an axis or several as a tuple of numbers from 0 on, each once."""
    named = range(ndim) if axis is None else axis if isinstance(axis, (tuple, list)) else (axis,)
    axes = tuple(axis_of(op, d, ndim) for d in named)
    if len(set(axes)) < len(axes):
        raise ShapeError(f"{op}: an axis is named twice in {axis!r}")
    return axes


def at(x: Tensor, axis: int, key: Any) -> Tensor:
    """x[key] along ``axis``."""
    return x[(slice(None),) * axis + (key,)]


def broadcast(op: str, *xs: Tensor, skip: Container[int] = ()) -> list[Tensor]:
    """Tensors expanded to their common shape, but for the axes in ``skip``."""
    shapes = [tuple(1 if d in skip else n for d, n in enumerate(x.shape)) for x in xs]
    try:
        common = np.broadcast_shapes(*shapes)
    except ValueError:
        raise ShapeError(f"{op}: shapes {' and '.join(str(x.shape) for x in xs)} do not broadcast") from None
    return [x.expand(tuple(x.shape[d] if d in skip else n for d, n in enumerate(common))) for x in xs]


def least_axes(op: str, x: Tensor, count: int = 1) -> None:
    """Raise ``ShapeError`` unless x has so many axes."""
    if x.ndim < count:
        raise ShapeError(f"{op}: of at least {count} {'axis' if count == 1 else 'axes'}, not of shape {x.shape}")


def with_axes(x: Tensor, ndim: int) -> Tensor:
    """``x`` with axes of length 1 before its own, where it has fewer than ``ndim``."""
    return x if x.ndim >= ndim else x.reshape((1,) * (ndim - x.ndim) + x.shape)
