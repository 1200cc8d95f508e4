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
    try:
        return input.sigmoid()
    except AttributeError as error:
        raise _refused("sigmoid", input, error) from None


def tanh(input: Tensor) -> Tensor:
    """``input.tanh()``, elementwise."""
    try:
        return input.tanh()
    except AttributeError as error:
        raise _refused("tanh", input, error) from None


def relu(input: Tensor, inplace: bool = False) -> Tensor:
    """``input.relu()``, elementwise."""
    try:
        return input.relu() if not inplace else input.relu_()
    except AttributeError as error:
        raise _refused("relu", input, error) from None


def relu6(input: Tensor, inplace: bool = False) -> Tensor:
    """``input.relu6()``, elementwise."""
    try:
        return input.relu6() if not inplace else input.relu6_()
    except AttributeError as error:
        raise _refused("relu6", input, error) from None


def leaky_relu(input: Tensor, negative_slope: float = 0.01, inplace: bool = False) -> Tensor:
    """``input.leaky_relu(negative_slope)``, elementwise."""
    try:
        return input.leaky_relu(negative_slope) if not inplace else input.leaky_relu_(negative_slope)
    except AttributeError as error:
        raise _refused("leaky_relu", input, error) from None


def elu(input: Tensor, alpha: float = 1.0, inplace: bool = False) -> Tensor:
    """``input.elu(alpha)``, elementwise."""
    try:
        return input.elu(alpha) if not inplace else input.elu_(alpha)
    except AttributeError as error:
        raise _refused("elu", input, error) from None


def selu(input: Tensor, inplace: bool = False) -> Tensor:
    """``input.selu()``, elementwise."""
    try:
        return input.selu() if not inplace else input.selu_()
    except AttributeError as error:
        raise _refused("selu", input, error) from None


def celu(input: Tensor, alpha: float = 1.0, inplace: bool = False) -> Tensor:
    """``input.celu(alpha)``, elementwise."""
    try:
        return input.celu(alpha) if not inplace else input.celu_(alpha)
    except AttributeError as error:
        raise _refused("celu", input, error) from None


def gelu(input: Tensor, approximate: Literal["none", "tanh"] = "none") -> Tensor:
    """``input.gelu(approximate)``, elementwise."""
    try:
        return input.gelu(approximate)
    except AttributeError as error:
        raise _refused("gelu", input, error) from None


def silu(input: Tensor, inplace: bool = False) -> Tensor:
    """``input.silu()``, elementwise."""
    try:
        return input.silu() if not inplace else input.silu_()
    except AttributeError as error:
        raise _refused("silu", input, error) from None


def mish(input: Tensor, inplace: bool = False) -> Tensor:
    """``input.mish()``, elementwise."""
    try:
        return input.mish() if not inplace else input.mish_()
    except AttributeError as error:
        raise _refused("mish", input, error) from None


def softsign(input: Tensor) -> Tensor:
    """``input.softsign()``, elementwise."""
    try:
        return input.softsign()
    except AttributeError as error:
        raise _refused("softsign", input, error) from None


def logsigmoid(input: Tensor) -> Tensor:
    """``input.logsigmoid()``, elementwise."""
    try:
        return input.logsigmoid()
    except AttributeError as error:
        raise _refused("logsigmoid", input, error) from None


def hardtanh(input: Tensor, min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False) -> Tensor:
    """``input.hardtanh(min_val, max_val)``, elementwise."""
    try:
        return input.hardtanh(min_val, max_val) if not inplace else input.hardtanh_(min_val, max_val)
    except AttributeError as error:
        raise _refused("hardtanh", input, error) from None


def hardsigmoid(input: Tensor, inplace: bool = False) -> Tensor:
    """``input.hardsigmoid()``, elementwise."""
    try:
        return input.hardsigmoid() if not inplace else input.hardsigmoid_()
    except AttributeError as error:
        raise _refused("hardsigmoid", input, error) from None


def hardswish(input: Tensor, inplace: bool = False) -> Tensor:
    """``input.hardswish()``, elementwise."""
    try:
        return input.hardswish() if not inplace else input.hardswish_()
    except AttributeError as error:
        raise _refused("hardswish", input, error) from None


def hardshrink(input: Tensor, lambd: float = 0.5) -> Tensor:
    """``input.hardshrink(lambd)``, elementwise."""
    try:
        return input.hardshrink(lambd)
    except AttributeError as error:
        raise _refused("hardshrink", input, error) from None


def softshrink(input: Tensor, lambd: float = 0.5) -> Tensor:
    """``input.softshrink(lambd)``, elementwise."""
    try:
        return input.softshrink(lambd)
    except AttributeError as error:
        raise _refused("softshrink", input, error) from None


def tanhshrink(input: Tensor) -> Tensor:
    """``input.tanhshrink()``, elementwise."""
    try:
        return input.tanhshrink()
    except AttributeError as error:
        raise _refused("tanhshrink", input, error) from None


def threshold(input: Tensor, threshold: float = 0.0, value: float = 0.0, inplace: bool = False) -> Tensor:
    """``input.threshold(threshold, value)``, elementwise."""
    try:
        return input.threshold(threshold, value) if not inplace else input.threshold_(threshold, value)
    except AttributeError as error:
        raise _refused("threshold", input, error) from None


def softplus(input: Tensor, beta: float = 1.0, threshold: float = 20.0) -> Tensor:
    """log(1 + exp(beta x)) / beta, elementwise; x itself where beta x is above ``threshold``.

    With the default ``threshold`` nothing is cut off: the formula is exact there, and differs from x by less than 3e-9.
    """
    try:
        if beta == 1.0 and threshold == 20.0:
            return input.softplus()
        if beta == 0:
            raise OptionError("softplus: beta=0 divides by 0")
        scaled = input * beta
        smooth = scaled.softplus() / beta
        return smooth if threshold == 20.0 else (scaled > threshold).where(input, smooth)
    except (AttributeError, TypeError) as error:
        raise _refused("softplus", input, error) from None


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
    try:
        return softmax(-input, axis, dim=dim, dtype=dtype)
    except (AttributeError, TypeError) as error:
        raise _refused("softmin", input, error) from None


# ----- in place ------------------------------------------------------------------------------------------------------

def relu_(input: Tensor) -> Tensor:
    """``relu`` in place."""
    try:
        return input.relu_()
    except AttributeError as error:
        raise _refused("relu_", input, error) from None


def leaky_relu_(input: Tensor, negative_slope: float = 0.01) -> Tensor:
    """``leaky_relu`` in place."""
    try:
        return input.leaky_relu_(negative_slope)
    except AttributeError as error:
        raise _refused("leaky_relu_", input, error) from None


def elu_(input: Tensor, alpha: float = 1.0) -> Tensor:
    """``elu`` in place."""
    try:
        return input.elu_(alpha)
    except AttributeError as error:
        raise _refused("elu_", input, error) from None


def selu_(input: Tensor) -> Tensor:
    """``selu`` in place."""
    try:
        return input.selu_()
    except AttributeError as error:
        raise _refused("selu_", input, error) from None


def celu_(input: Tensor, alpha: float = 1.0) -> Tensor:
    """``celu`` in place."""
    try:
        return input.celu_(alpha)
    except AttributeError as error:
        raise _refused("celu_", input, error) from None


def hardtanh_(input: Tensor, min_val: float = -1.0, max_val: float = 1.0) -> Tensor:
    """``hardtanh`` in place."""
    try:
        return input.hardtanh_(min_val, max_val)
    except AttributeError as error:
        raise _refused("hardtanh_", input, error) from None


def threshold_(input: Tensor, threshold: float, value: float) -> Tensor:
    """``threshold`` in place."""
    try:
        return input.threshold_(threshold, value)
    except AttributeError as error:
        raise _refused("threshold_", input, error) from None


# Activation: the defaults of what its method takes, which all have one.
ACTIVATIONS = {name: {p.name: p.default for p in inspect.signature(globals()[name]).parameters.values()
                      if p.kind is p.POSITIONAL_OR_KEYWORD and p.name not in ("input", "inplace")}
               for name in __all__ if name != "softmin" and not name.endswith("_")}
