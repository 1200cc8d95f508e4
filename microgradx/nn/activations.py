"""Activations as functions: each calls the method of its name, with torch's names for its parameters."""
from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from microgradx._core.ops import Differentiable
from microgradx._core.tensor import Tensor
from microgradx.errors import DTypeError, described

__all__ = ["sigmoid", "tanh", "relu", "relu6", "leaky_relu", "elu", "selu", "celu", "gelu", "silu", "mish", "softplus",
           "softsign", "logsigmoid", "hardtanh", "hardsigmoid", "hardswish", "hardshrink", "softshrink", "tanhshrink",
           "threshold", "softmax", "log_softmax"]


def refused(name: str, x: object, error: Exception) -> Exception:
    """The error for an ``x`` that is no Tensor: what another library calls by the same name is not called."""
    return error if isinstance(x, Differentiable) else DTypeError(f"{name}: of a Tensor, not {described(x)}")


def _elementwise(name: str) -> Callable[[Tensor], Tensor]:
    method: Callable[[Tensor], Tensor] = getattr(Differentiable, name)

    def function(x: Tensor, /) -> Tensor:
        try:
            return method(x)
        except TypeError as error:
            raise refused(name, x, error) from None

    function.__name__ = function.__qualname__ = name
    function.__doc__ = f"``x.{name}()``, elementwise."
    return function


sigmoid = _elementwise("sigmoid")
tanh = _elementwise("tanh")
relu = _elementwise("relu")
relu6 = _elementwise("relu6")
selu = _elementwise("selu")
silu = _elementwise("silu")
mish = _elementwise("mish")
softplus = _elementwise("softplus")
softsign = _elementwise("softsign")
logsigmoid = _elementwise("logsigmoid")
hardsigmoid = _elementwise("hardsigmoid")
hardswish = _elementwise("hardswish")
tanhshrink = _elementwise("tanhshrink")


def leaky_relu(x: Tensor, /, negative_slope: float = 0.01) -> Tensor:
    """``x.leaky_relu(negative_slope)``, elementwise."""
    return Differentiable.leaky_relu(x, negative_slope)


def elu(x: Tensor, /, alpha: float = 1.0) -> Tensor:
    """``x.elu(alpha)``, elementwise."""
    return Differentiable.elu(x, alpha)


def celu(x: Tensor, /, alpha: float = 1.0) -> Tensor:
    """``x.celu(alpha)``, elementwise."""
    return Differentiable.celu(x, alpha)


def gelu(x: Tensor, /, approximate: Literal["none", "tanh"] = "none") -> Tensor:
    """``x.gelu(approximate)``, elementwise."""
    return Differentiable.gelu(x, approximate)


def hardtanh(x: Tensor, /, min_val: float = -1.0, max_val: float = 1.0) -> Tensor:
    """``x.hardtanh(min_val, max_val)``, elementwise."""
    return Differentiable.hardtanh(x, min_val, max_val)


def hardshrink(x: Tensor, /, lambd: float = 0.5) -> Tensor:
    """``x.hardshrink(lambd)``, elementwise."""
    return Differentiable.hardshrink(x, lambd)


def softshrink(x: Tensor, /, lambd: float = 0.5) -> Tensor:
    """``x.softshrink(lambd)``, elementwise."""
    return Differentiable.softshrink(x, lambd)


def threshold(x: Tensor, /, threshold: float = 0.0, value: float = 0.0) -> Tensor:
    """``x.threshold(threshold, value)``, elementwise."""
    return Differentiable.threshold(x, threshold, value)


def softmax(x: Tensor, /, axis: int = -1, *, dim: int | None = None) -> Tensor:
    """``x.softmax(axis)``: along ``axis``, which torch calls ``dim``."""
    try:
        return x.softmax(axis, dim=dim)
    except TypeError as error:
        raise refused("softmax", x, error) from None


def log_softmax(x: Tensor, /, axis: int = -1, *, dim: int | None = None) -> Tensor:
    """``x.log_softmax(axis)``: along ``axis``, which torch calls ``dim``."""
    try:
        return x.log_softmax(axis, dim=dim)
    except TypeError as error:
        raise refused("log_softmax", x, error) from None


# Activation: the defaults of its parameters, which all have one.
ACTIVATIONS = {name: dict(zip(globals()[name].__code__.co_varnames[1:], globals()[name].__defaults__ or ()))
               for name in __all__}
