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
    try:
        return x.sigmoid()
    except AttributeError as error:
        raise _refused("sigmoid", x, error) from None


def tanh(x: Tensor, /) -> Tensor:
    """``x.tanh()``, elementwise."""
    try:
        return x.tanh()
    except AttributeError as error:
        raise _refused("tanh", x, error) from None


def relu(x: Tensor, /) -> Tensor:
    """``x.relu()``, elementwise."""
    try:
        return x.relu()
    except AttributeError as error:
        raise _refused("relu", x, error) from None


def relu6(x: Tensor, /) -> Tensor:
    """``x.relu6()``, elementwise."""
    try:
        return x.relu6()
    except AttributeError as error:
        raise _refused("relu6", x, error) from None


def leaky_relu(x: Tensor, /, negative_slope: float = 0.01) -> Tensor:
    """``x.leaky_relu(negative_slope)``, elementwise."""
    try:
        return x.leaky_relu(negative_slope)
    except AttributeError as error:
        raise _refused("leaky_relu", x, error) from None


def elu(x: Tensor, /, alpha: float = 1.0) -> Tensor:
    """``x.elu(alpha)``, elementwise."""
    try:
        return x.elu(alpha)
    except AttributeError as error:
        raise _refused("elu", x, error) from None


def selu(x: Tensor, /) -> Tensor:
    """``x.selu()``, elementwise."""
    try:
        return x.selu()
    except AttributeError as error:
        raise _refused("selu", x, error) from None


def celu(x: Tensor, /, alpha: float = 1.0) -> Tensor:
    """``x.celu(alpha)``, elementwise."""
    try:
        return x.celu(alpha)
    except AttributeError as error:
        raise _refused("celu", x, error) from None


def gelu(x: Tensor, /, approximate: Literal["none", "tanh"] = "none") -> Tensor:
    """``x.gelu(approximate)``, elementwise."""
    try:
        return x.gelu(approximate)
    except AttributeError as error:
        raise _refused("gelu", x, error) from None


def silu(x: Tensor, /) -> Tensor:
    """``x.silu()``, elementwise."""
    try:
        return x.silu()
    except AttributeError as error:
        raise _refused("silu", x, error) from None


def mish(x: Tensor, /) -> Tensor:
    """``x.mish()``, elementwise."""
    try:
        return x.mish()
    except AttributeError as error:
        raise _refused("mish", x, error) from None


def softplus(x: Tensor, /) -> Tensor:
    """``x.softplus()``, elementwise."""
    try:
        return x.softplus()
    except AttributeError as error:
        raise _refused("softplus", x, error) from None


def softsign(x: Tensor, /) -> Tensor:
    """``x.softsign()``, elementwise."""
    try:
        return x.softsign()
    except AttributeError as error:
        raise _refused("softsign", x, error) from None


def logsigmoid(x: Tensor, /) -> Tensor:
    """``x.logsigmoid()``, elementwise."""
    try:
        return x.logsigmoid()
    except AttributeError as error:
        raise _refused("logsigmoid", x, error) from None


def hardtanh(x: Tensor, /, min_val: float = -1.0, max_val: float = 1.0) -> Tensor:
    """``x.hardtanh(min_val, max_val)``, elementwise."""
    try:
        return x.hardtanh(min_val, max_val)
    except AttributeError as error:
        raise _refused("hardtanh", x, error) from None


def hardsigmoid(x: Tensor, /) -> Tensor:
    """``x.hardsigmoid()``, elementwise."""
    try:
        return x.hardsigmoid()
    except AttributeError as error:
        raise _refused("hardsigmoid", x, error) from None


def hardswish(x: Tensor, /) -> Tensor:
    """``x.hardswish()``, elementwise."""
    try:
        return x.hardswish()
    except AttributeError as error:
        raise _refused("hardswish", x, error) from None


def hardshrink(x: Tensor, /, lambd: float = 0.5) -> Tensor:
    """``x.hardshrink(lambd)``, elementwise."""
    try:
        return x.hardshrink(lambd)
    except AttributeError as error:
        raise _refused("hardshrink", x, error) from None


def softshrink(x: Tensor, /, lambd: float = 0.5) -> Tensor:
    """``x.softshrink(lambd)``, elementwise."""
    try:
        return x.softshrink(lambd)
    except AttributeError as error:
        raise _refused("softshrink", x, error) from None


def tanhshrink(x: Tensor, /) -> Tensor:
    """``x.tanhshrink()``, elementwise."""
    try:
        return x.tanhshrink()
    except AttributeError as error:
        raise _refused("tanhshrink", x, error) from None


def threshold(x: Tensor, /, threshold: float = 0.0, value: float = 0.0) -> Tensor:
    """``x.threshold(threshold, value)``, elementwise."""
    try:
        return x.threshold(threshold, value)
    except AttributeError as error:
        raise _refused("threshold", x, error) from None


def softmax(x: Tensor, /, axis: int = -1, *, dim: int | None = None) -> Tensor:
    """``x.softmax(axis)``: along ``axis``, which torch calls ``dim``."""
    try:
        return x.softmax(axis, dim=dim)
    except (AttributeError, TypeError) as error:
        raise _refused("softmax", x, error) from None


def log_softmax(x: Tensor, /, axis: int = -1, *, dim: int | None = None) -> Tensor:
    """``x.log_softmax(axis)``: along ``axis``, which torch calls ``dim``."""
    try:
        return x.log_softmax(axis, dim=dim)
    except (AttributeError, TypeError) as error:
        raise _refused("log_softmax", x, error) from None


# Activation: the defaults of its parameters, which all have one.
ACTIVATIONS = {name: dict(zip(globals()[name].__code__.co_varnames[1:], globals()[name].__defaults__ or ()))
               for name in __all__}
