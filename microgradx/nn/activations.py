"""Activations as functions: each calls the method of its name, with torch's names for its parameters.

``inplace=True``, where torch has it, writes the result into the tensor given, whose graph goes on from there.
"""
from __future__ import annotations

import inspect
from typing import Literal

from microgradx._core.tensor import Tensor
from microgradx.errors import DTypeError, OptionError, described
from microgradx.typing import DType

__all__ = ["sigmoid", "tanh", "relu", "relu6", "leaky_relu", "elu", "selu", "celu", "gelu", "silu", "mish", "softplus",
           "softsign", "logsigmoid", "hardtanh", "hardsigmoid", "hardswish", "hardshrink", "softshrink", "tanhshrink",
           "threshold", "softmax", "log_softmax", "softmin", "relu_", "leaky_relu_", "elu_", "selu_", "celu_",
           "hardtanh_", "threshold_"]


def _refused(name: str, x: object, error: Exception) -> Exception:
    """The error for an ``x`` that is no Tensor."""
    return error if isinstance(x, Tensor) else DTypeError(f"{name}: of a Tensor, not {described(x)}")


def sigmoid(input: Tensor) -> Tensor:
    """``input.sigmoid()``, elementwise."""
    return input.sigmoid()


def tanh(input: Tensor) -> Tensor:
    """``input.tanh()``, elementwise."""
    return input.tanh()


def relu(input: Tensor, inplace: bool = False) -> Tensor:
    """``input.relu()``, elementwise."""
    return input.relu() if not inplace else input.relu_()


def relu6(input: Tensor, inplace: bool = False) -> Tensor:
    """``input.relu6()``, elementwise."""
    return input.relu6() if not inplace else input.relu6_()


def leaky_relu(input: Tensor, negative_slope: float = 0.01, inplace: bool = False) -> Tensor:
    """``input.leaky_relu(negative_slope)``, elementwise."""
    return input.leaky_relu(negative_slope) if not inplace else input.leaky_relu_(negative_slope)


def elu(input: Tensor, alpha: float = 1.0, inplace: bool = False) -> Tensor:
    """``input.elu(alpha)``, elementwise."""
    return input.elu(alpha) if not inplace else input.elu_(alpha)


def selu(input: Tensor, inplace: bool = False) -> Tensor:
    """``input.selu()``, elementwise."""
    return input.selu() if not inplace else input.selu_()


def celu(input: Tensor, alpha: float = 1.0, inplace: bool = False) -> Tensor:
    """``input.celu(alpha)``, elementwise."""
    return input.celu(alpha) if not inplace else input.celu_(alpha)


def gelu(input: Tensor, approximate: Literal["none", "tanh"] = "none") -> Tensor:
    """``input.gelu(approximate)``, elementwise."""
    return input.gelu(approximate)


def silu(input: Tensor, inplace: bool = False) -> Tensor:
    """``input.silu()``, elementwise."""
    return input.silu() if not inplace else input.silu_()


def mish(input: Tensor, inplace: bool = False) -> Tensor:
    """``input.mish()``, elementwise."""
    return input.mish() if not inplace else input.mish_()


def softsign(input: Tensor) -> Tensor:
    """``input.softsign()``, elementwise."""
    return input.softsign()


def logsigmoid(input: Tensor) -> Tensor:
    """``input.logsigmoid()``, elementwise."""
    return input.logsigmoid()


def hardtanh(input: Tensor, min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False) -> Tensor:
    """``input.hardtanh(min_val, max_val)``, elementwise."""
    return input.hardtanh(min_val, max_val) if not inplace else input.hardtanh_(min_val, max_val)


def hardsigmoid(input: Tensor, inplace: bool = False) -> Tensor:
    """``input.hardsigmoid()``, elementwise."""
    return input.hardsigmoid() if not inplace else input.hardsigmoid_()


def hardswish(input: Tensor, inplace: bool = False) -> Tensor:
    """``input.hardswish()``, elementwise."""
    return input.hardswish() if not inplace else input.hardswish_()


def hardshrink(input: Tensor, lambd: float = 0.5) -> Tensor:
    """``input.hardshrink(lambd)``, elementwise."""
    return input.hardshrink(lambd)


def softshrink(input: Tensor, lambd: float = 0.5) -> Tensor:
    """``input.softshrink(lambd)``, elementwise."""
    return input.softshrink(lambd)


def tanhshrink(input: Tensor) -> Tensor:
    """``input.tanhshrink()``, elementwise."""
    return input.tanhshrink()


def threshold(input: Tensor, threshold: float = 0.0, value: float = 0.0, inplace: bool = False) -> Tensor:
    """``input.threshold(threshold, value)``, elementwise."""
    return input.threshold(threshold, value) if not inplace else input.threshold_(threshold, value)


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


def softmax(input: Tensor, axis: int = -1, *, dim: int | None = None, dtype: DType = None) -> Tensor:
    """``input.softmax(axis)``: along ``axis``, which torch calls ``dim``; converted to ``dtype`` first."""
    try:
        return (input if dtype is None else input.astype(dtype)).softmax(axis, dim=dim)
    except (AttributeError, TypeError) as error:
        raise _refused("softmax", input, error) from None


def log_softmax(input: Tensor, axis: int = -1, *, dim: int | None = None, dtype: DType = None) -> Tensor:
    """``input.log_softmax(axis)``: along ``axis``, which torch calls ``dim``; converted to ``dtype`` first."""
    try:
        return (input if dtype is None else input.astype(dtype)).log_softmax(axis, dim=dim)
    except (AttributeError, TypeError) as error:
        raise _refused("log_softmax", input, error) from None


def softmin(input: Tensor, axis: int = -1, *, dim: int | None = None, dtype: DType = None) -> Tensor:
    """``softmax(-input)`` along ``axis``, which torch calls ``dim``."""
    return softmax(-input, axis, dim=dim, dtype=dtype)


# ----- in place ------------------------------------------------------------------------------------------------------

def relu_(input: Tensor) -> Tensor:
    """``relu`` in place."""
    return input.relu_()


def leaky_relu_(input: Tensor, negative_slope: float = 0.01) -> Tensor:
    """``leaky_relu`` in place."""
    return input.leaky_relu_(negative_slope)


def elu_(input: Tensor, alpha: float = 1.0) -> Tensor:
    """``elu`` in place."""
    return input.elu_(alpha)


def selu_(input: Tensor) -> Tensor:
    """``selu`` in place."""
    return input.selu_()


def celu_(input: Tensor, alpha: float = 1.0) -> Tensor:
    """``celu`` in place."""
    return input.celu_(alpha)


def hardtanh_(input: Tensor, min_val: float = -1.0, max_val: float = 1.0) -> Tensor:
    """``hardtanh`` in place."""
    return input.hardtanh_(min_val, max_val)


def threshold_(input: Tensor, threshold: float, value: float) -> Tensor:
    """``threshold`` in place."""
    return input.threshold_(threshold, value)


# Activation: the defaults of what its method takes, which all have one.
ACTIVATIONS = {name: {p.name: p.default for p in inspect.signature(globals()[name]).parameters.values()
                      if p.kind is p.POSITIONAL_OR_KEYWORD and p.name not in ("input", "inplace")}
               for name in __all__ if name != "softmin" and not name.endswith("_")}
