"""Activations as functions: each calls the method of its name, with torch's names for its parameters.

``inplace=True``, where torch has it, writes the result into the tensor given, whose graph goes on from there.
"""
from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any, Literal, ParamSpec

from microgradx._core.tensor import Tensor
from microgradx.errors import DTypeError, OptionError, described
from microgradx.names import public
from microgradx.typing import DType

P = ParamSpec("P")

__all__ = ["sigmoid", "tanh", "relu", "relu6", "leaky_relu", "elu", "selu", "celu", "gelu", "silu", "mish", "softplus",
           "softsign", "logsigmoid", "hardtanh", "hardsigmoid", "hardswish", "hardshrink", "softshrink", "tanhshrink",
           "threshold", "softmax", "log_softmax", "softmin", "relu_", "leaky_relu_", "elu_", "selu_", "celu_",
           "hardtanh_", "threshold_"]


def _activation(function: Callable[P, Tensor], most: int = 255) -> Callable[P, Tensor]:
    """``function`` of a Tensor alone: calls of up to ``most`` arguments by position, in which nothing is written in
    place, go to the method of its name."""
    name = function.__name__
    places = [p.name for p in inspect.signature(function).parameters.values() if p.kind is p.POSITIONAL_OR_KEYWORD]

    @functools.wraps(function)
    def checked(*args: P.args, **kwargs: P.kwargs) -> Tensor:
        x = args[0] if args else kwargs.get("input")
        if not isinstance(x, Tensor) and (args or "input" in kwargs):
            raise DTypeError(f"{name}: of a Tensor, not {described(x)}")
        return function(*args, **kwargs)

    most = min(most, places.index("inplace") if "inplace" in places else len(places))
    direct = getattr(Tensor, name, None)
    same = direct and _defaults(function)[1:most] == _defaults(direct)[1:most]
    return public(checked, direct=direct, kind=Tensor, least=1 if same else most, most=most)


def _defaults(function: Callable[..., Any]) -> list[Any]:
    return [p.default for p in inspect.signature(function).parameters.values()]


@_activation
def sigmoid(input: Tensor) -> Tensor:
    """``input.sigmoid()``, elementwise."""
    return input.sigmoid()


@_activation
def tanh(input: Tensor) -> Tensor:
    """``input.tanh()``, elementwise."""
    return input.tanh()


@_activation
def relu(input: Tensor, inplace: bool = False) -> Tensor:
    """``input.relu()``, elementwise."""
    return input.relu() if not inplace else input.relu_()


@_activation
def relu6(input: Tensor, inplace: bool = False) -> Tensor:
    """``input.relu6()``, elementwise."""
    return input.relu6() if not inplace else input.relu6_()


@_activation
def leaky_relu(input: Tensor, negative_slope: float = 0.01, inplace: bool = False) -> Tensor:
    """``input.leaky_relu(negative_slope)``, elementwise."""
    return input.leaky_relu(negative_slope) if not inplace else input.leaky_relu_(negative_slope)


@_activation
def elu(input: Tensor, alpha: float = 1.0, inplace: bool = False) -> Tensor:
    """``input.elu(alpha)``, elementwise."""
    return input.elu(alpha) if not inplace else input.elu_(alpha)


@_activation
def selu(input: Tensor, inplace: bool = False) -> Tensor:
    """``input.selu()``, elementwise."""
    return input.selu() if not inplace else input.selu_()


@_activation
def celu(input: Tensor, alpha: float = 1.0, inplace: bool = False) -> Tensor:
    """``input.celu(alpha)``, elementwise."""
    return input.celu(alpha) if not inplace else input.celu_(alpha)


@_activation
def gelu(input: Tensor, approximate: Literal["none", "tanh"] = "none") -> Tensor:
    """``input.gelu(approximate)``, elementwise."""
    return input.gelu(approximate)


@_activation
def silu(input: Tensor, inplace: bool = False) -> Tensor:
    """``input.silu()``, elementwise."""
    return input.silu() if not inplace else input.silu_()


@_activation
def mish(input: Tensor, inplace: bool = False) -> Tensor:
    """``input.mish()``, elementwise."""
    return input.mish() if not inplace else input.mish_()


@_activation
def softsign(input: Tensor) -> Tensor:
    """``input.softsign()``, elementwise."""
    return input.softsign()


@_activation
def logsigmoid(input: Tensor) -> Tensor:
    """``input.logsigmoid()``, elementwise."""
    return input.logsigmoid()


@_activation
def hardtanh(input: Tensor, min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False) -> Tensor:
    """``input.hardtanh(min_val, max_val)``, elementwise."""
    return input.hardtanh(min_val, max_val) if not inplace else input.hardtanh_(min_val, max_val)


@_activation
def hardsigmoid(input: Tensor, inplace: bool = False) -> Tensor:
    """``input.hardsigmoid()``, elementwise."""
    return input.hardsigmoid() if not inplace else input.hardsigmoid_()


@_activation
def hardswish(input: Tensor, inplace: bool = False) -> Tensor:
    """``input.hardswish()``, elementwise."""
    return input.hardswish() if not inplace else input.hardswish_()


@_activation
def hardshrink(input: Tensor, lambd: float = 0.5) -> Tensor:
    """``input.hardshrink(lambd)``, elementwise."""
    return input.hardshrink(lambd)


@_activation
def softshrink(input: Tensor, lambd: float = 0.5) -> Tensor:
    """``input.softshrink(lambd)``, elementwise."""
    return input.softshrink(lambd)


@_activation
def tanhshrink(input: Tensor) -> Tensor:
    """``input.tanhshrink()``, elementwise."""
    return input.tanhshrink()


@_activation
def threshold(input: Tensor, threshold: float = 0.0, value: float = 0.0, inplace: bool = False) -> Tensor:
    """``input.threshold(threshold, value)``, elementwise."""
    return input.threshold(threshold, value) if not inplace else input.threshold_(threshold, value)


@functools.partial(_activation, most=1)       # a beta is more than the method knows
def softplus(input: Tensor, beta: float = 1.0, threshold: float = 20.0) -> Tensor:
    """log(1 + exp(beta x)) / beta, elementwise; x itself where beta x is above ``threshold``.

    With the default ``threshold`` nothing is cut off: the formula is exact there, and differs from x by less than 3e-9.
    """
    if beta == 1.0 and threshold == 20.0:
        return input.softplus()
    if beta == 0:
        raise OptionError("softplus: beta=0 divides by 0")
    scaled = input * beta
    smooth = scaled.softplus() / beta
    return smooth if threshold == 20.0 else (scaled > threshold).where(input, smooth)


@_activation
def softmax(input: Tensor, axis: int = -1, *, dim: int | None = None, dtype: DType = None) -> Tensor:
    """``input.softmax(axis)``: along ``axis``, which torch calls ``dim``; converted to ``dtype`` first."""
    return (input if dtype is None else input.astype(dtype)).softmax(axis, dim=dim)


@_activation
def log_softmax(input: Tensor, axis: int = -1, *, dim: int | None = None, dtype: DType = None) -> Tensor:
    """``input.log_softmax(axis)``: along ``axis``, which torch calls ``dim``; converted to ``dtype`` first."""
    return (input if dtype is None else input.astype(dtype)).log_softmax(axis, dim=dim)


@_activation
def softmin(input: Tensor, axis: int = -1, *, dim: int | None = None, dtype: DType = None) -> Tensor:
    """``softmax(-input)`` along ``axis``, which torch calls ``dim``."""
    return softmax(-input, axis, dim=dim, dtype=dtype)


# ----- in place ------------------------------------------------------------------------------------------------------

@_activation
def relu_(input: Tensor) -> Tensor:
    """``relu`` in place."""
    return input.relu_()


@_activation
def leaky_relu_(input: Tensor, negative_slope: float = 0.01) -> Tensor:
    """``leaky_relu`` in place."""
    return input.leaky_relu_(negative_slope)


@_activation
def elu_(input: Tensor, alpha: float = 1.0) -> Tensor:
    """``elu`` in place."""
    return input.elu_(alpha)


@_activation
def selu_(input: Tensor) -> Tensor:
    """``selu`` in place."""
    return input.selu_()


@_activation
def celu_(input: Tensor, alpha: float = 1.0) -> Tensor:
    """``celu`` in place."""
    return input.celu_(alpha)


@_activation
def hardtanh_(input: Tensor, min_val: float = -1.0, max_val: float = 1.0) -> Tensor:
    """``hardtanh`` in place."""
    return input.hardtanh_(min_val, max_val)


@_activation
def threshold_(input: Tensor, threshold: float, value: float) -> Tensor:
    """``threshold`` in place."""
    return input.threshold_(threshold, value)


# Activation: the defaults of what its method takes, which all have one.
ACTIVATIONS = {name: {p.name: p.default for p in inspect.signature(globals()[name]).parameters.values()
                      if p.kind is p.POSITIONAL_OR_KEYWORD and p.name not in ("input", "inplace")}
               for name in __all__ if name != "softmin" and not name.endswith("_")}
