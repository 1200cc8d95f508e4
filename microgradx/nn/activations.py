"""Activations as functions: each calls the method of its name, with torch's names for its parameters."""
from __future__ import annotations

from typing import Literal

from microgradx._core.tensor import Tensor
from microgradx.errors import DTypeError, described

__all__ = ["sigmoid", "tanh", "relu", "relu6", "leaky_relu", "elu", "selu", "celu", "gelu", "silu", "mish", "softplus",
           "softsign", "logsigmoid", "hardtanh", "hardsigmoid", "hardswish", "hardshrink", "softshrink", "tanhshrink",
           "threshold", "softmax", "log_softmax"]


def _refused(name: str, x: object, error: Exception) -> Exception:
    """The error for an ``x`` that is no Tensor."""
    return error if isinstance(x, Tensor) else DTypeError(f"{name}: of a Tensor, not {described(x)}")


def sigmoid(x: Tensor, /) -> Tensor:
    """``x.sigmoid()``, elementwise."""
    return x.sigmoid()


def tanh(x: Tensor, /) -> Tensor:
    """``x.tanh()``, elementwise."""
    return x.tanh()


def relu(x: Tensor, /) -> Tensor:
    """``x.relu()``, elementwise."""
    return x.relu()


def relu6(x: Tensor, /) -> Tensor:
    """``x.relu6()``, elementwise."""
    return x.relu6()


def leaky_relu(x: Tensor, /, negative_slope: float = 0.01) -> Tensor:
    """``x.leaky_relu(negative_slope)``, elementwise."""
    return x.leaky_relu(negative_slope)


def elu(x: Tensor, /, alpha: float = 1.0) -> Tensor:
    """``x.elu(alpha)``, elementwise."""
    return x.elu(alpha)


def selu(x: Tensor, /) -> Tensor:
    """``x.selu()``, elementwise."""
    return x.selu()


def celu(x: Tensor, /, alpha: float = 1.0) -> Tensor:
    """``x.celu(alpha)``, elementwise."""
    return x.celu(alpha)


def gelu(x: Tensor, /, approximate: Literal["none", "tanh"] = "none") -> Tensor:
    """``x.gelu(approximate)``, elementwise."""
    return x.gelu(approximate)


def silu(x: Tensor, /) -> Tensor:
    """``x.silu()``, elementwise."""
    return x.silu()


def mish(x: Tensor, /) -> Tensor:
    """``x.mish()``, elementwise."""
    return x.mish()


def softplus(x: Tensor, /) -> Tensor:
    """``x.softplus()``, elementwise."""
    return x.softplus()


def softsign(x: Tensor, /) -> Tensor:
    """``x.softsign()``, elementwise."""
    return x.softsign()


def logsigmoid(x: Tensor, /) -> Tensor:
    """``x.logsigmoid()``, elementwise."""
    return x.logsigmoid()


def hardtanh(x: Tensor, /, min_val: float = -1.0, max_val: float = 1.0) -> Tensor:
    """``x.hardtanh(min_val, max_val)``, elementwise."""
    return x.hardtanh(min_val, max_val)


def hardsigmoid(x: Tensor, /) -> Tensor:
    """``x.hardsigmoid()``, elementwise."""
    return x.hardsigmoid()


def hardswish(x: Tensor, /) -> Tensor:
    """``x.hardswish()``, elementwise."""
    return x.hardswish()


def hardshrink(x: Tensor, /, lambd: float = 0.5) -> Tensor:
    """``x.hardshrink(lambd)``, elementwise."""
    return x.hardshrink(lambd)


def softshrink(x: Tensor, /, lambd: float = 0.5) -> Tensor:
    """``x.softshrink(lambd)``, elementwise."""
    return x.softshrink(lambd)


def tanhshrink(x: Tensor, /) -> Tensor:
    """``x.tanhshrink()``, elementwise."""
    return x.tanhshrink()


def threshold(x: Tensor, /, threshold: float = 0.0, value: float = 0.0) -> Tensor:
    """``x.threshold(threshold, value)``, elementwise."""
    return x.threshold(threshold, value)


def softmax(x: Tensor, /, axis: int = -1, *, dim: int | None = None) -> Tensor:
    """``x.softmax(axis)``: along ``axis``, which torch calls ``dim``."""
    try:
        return x.softmax(axis, dim=dim)
    except TypeError as error:
        raise _refused("softmax", x, error) from None


def log_softmax(x: Tensor, /, axis: int = -1, *, dim: int | None = None) -> Tensor:
    """``x.log_softmax(axis)``: along ``axis``, which torch calls ``dim``."""
    try:
        return x.log_softmax(axis, dim=dim)
    except TypeError as error:
        raise _refused("log_softmax", x, error) from None


# Activation: the defaults of its parameters, which all have one.
ACTIVATIONS = {name: dict(zip(globals()[name].__code__.co_varnames[1:], globals()[name].__defaults__ or ()))
               for name in __all__}
