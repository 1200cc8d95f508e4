"""Functions of tensors that nets are made of: activations, the linear map; the costs come from ``nn.costs``."""
import inspect

import numpy as np

from microgradx._core.tensor import Tensor, linear_
from microgradx.errors import IndexError_, ShapeError
from microgradx.nn.costs import *       # noqa: F403
from microgradx.nn.costs import __all__ as _costs

# Activation: the defaults of its parameters, in the order in which the row of the table takes them.
ACTIVATIONS = {
    "sigmoid": {}, "tanh": {}, "relu": {}, "relu6": {}, "leaky_relu": {"negative_slope": 0.01}, "elu": {"alpha": 1.0},
    "selu": {}, "celu": {"alpha": 1.0}, "gelu": {"approximate": "none"}, "silu": {}, "mish": {}, "softplus": {},
    "softsign": {}, "logsigmoid": {}, "hardtanh": {"min_val": -1.0, "max_val": 1.0}, "hardsigmoid": {},
    "hardswish": {}, "hardshrink": {"lambd": 0.5}, "softshrink": {"lambd": 0.5}, "tanhshrink": {},
    "threshold": {"threshold": 0.0, "value": 0.0}, "softmax": {"axis": -1}, "log_softmax": {"axis": -1}}

__all__ = [*ACTIVATIONS, *_costs, "linear", "one_hot", "prelu"]


def _activation(name, defaults):
    """The function ``name(x, *parameters)`` for the method of that name."""
    values = tuple(defaults.values())

    def function(x, *args, **kwargs):
        if kwargs or len(args) > len(values):
            given = signature.bind(x, *args, **kwargs)
            given.apply_defaults()
            args = given.args[1:]
        return getattr(x, name)(*args, *values[len(args):])

    parameter = inspect.Parameter
    signature = inspect.Signature([parameter("x", parameter.POSITIONAL_ONLY)] + [
        parameter(p, parameter.POSITIONAL_OR_KEYWORD, default=value) for p, value in defaults.items()])
    function.__name__ = function.__qualname__ = name
    function.__signature__ = signature
    function.__doc__ = f"``x.{name}({', '.join(defaults)})``, elementwise." if "softmax" not in name else \
        f"``x.{name}(axis)``: along ``axis``."
    return function


globals().update({name: _activation(name, defaults) for name, defaults in ACTIVATIONS.items()})


def prelu(x, weight):
    """x where x > 0, else weight * x. ``weight`` holds one number, or one per index of axis 1 of ``x``."""
    if weight.size > 1 and x.ndim > 2:
        weight = weight.reshape(weight.size, *[1] * (x.ndim - 2))
    return x.prelu(weight)


def linear(x, weight, bias=None):
    """x @ weight^T + bias: (..., in), (out, in), (out,) -> (..., out).

    >>> import microgradx as mgx
    >>> from microgradx.nn import functional as F
    >>> F.linear(mgx.Tensor([[1.0, 2.0]]), mgx.Tensor([[3.0, 4.0]]), mgx.Tensor([0.5]))
    Tensor([[11.5]])
    """
    return linear_(x, weight, bias)


def one_hot(labels, classes, dtype="float32"):
    """Rows of 0 with a 1 at the label: int (m,) -> (m, classes).

    >>> from microgradx.nn import functional as F
    >>> F.one_hot([2, 0], 3)
    Tensor([[0., 0., 1.],
            [1., 0., 0.]])
    """
    labels = np.asarray(labels)
    if labels.ndim != 1 or labels.size and labels.dtype.kind not in "iu":
        raise ShapeError(f"one_hot: labels are integers of shape (m,), not {labels.dtype} of shape {labels.shape}")
    out = np.zeros((len(labels), classes), dtype)
    if labels.size and not 0 <= labels.min() <= labels.max() < classes:
        raise IndexError_(f"one_hot: a label is not one of the {classes} classes ({labels.min()}..{labels.max()})")
    out[np.arange(len(labels)), labels.astype(np.int64)] = 1
    return Tensor(out)
