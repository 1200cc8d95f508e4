"""Layers: Linear, Sequential, and every activation as a module."""
import math

import numpy as np

from microgradx._core.tensor import linear_
from microgradx.errors import DTypeError, OptionError
from microgradx.nn import functional as F
from microgradx.nn import init
from microgradx.nn.module import Module, Parameter
from microgradx.random import generator

# Activation as a module: the function it calls. Parameters and their defaults are the function's.
MODULES = {
    "Sigmoid": "sigmoid", "Tanh": "tanh", "ReLU": "relu", "ReLU6": "relu6", "LeakyReLU": "leaky_relu", "ELU": "elu",
    "SELU": "selu", "CELU": "celu", "GELU": "gelu", "SiLU": "silu", "Mish": "mish",
    "Softplus": "softplus", "Softsign": "softsign", "LogSigmoid": "logsigmoid", "Hardtanh": "hardtanh",
    "Hardsigmoid": "hardsigmoid", "Hardswish": "hardswish", "Hardshrink": "hardshrink", "Softshrink": "softshrink",
    "Tanhshrink": "tanhshrink", "Threshold": "threshold", "Softmax": "softmax", "LogSoftmax": "log_softmax"}

__all__ = ["Flatten", "Identity", "Linear", "PReLU", "Sequential", *MODULES]


class Linear(Module):
    """x @ weight^T + bias: (..., n_in) -> (..., n_out).

    ``weight`` has shape (n_out, n_in), ``bias`` (n_out,); both start as U(-1/sqrt(n_in), 1/sqrt(n_in)), torch's
    default, whose variance is a third of LeCun's 1/n_in. ``nn.init`` has better ones. ``rng``: a NumPy Generator,
    a seed, or None for the shared generator; ``dtype``: float32 unless told.

    >>> from microgradx import nn
    >>> layer = nn.Linear(3, 2, rng=0)
    >>> layer
    Linear(3, 2)
    >>> layer(nn.Parameter([[1.0, 2.0, 3.0]])).shape
    (1, 2)
    """

    def __init__(self, n_in, n_out, bias=True, dtype=None, rng=None):
        for n in (n_in, n_out):
            if isinstance(n, bool) or not isinstance(n, (int, np.integer)) or n < 0:
                raise OptionError(f"Linear: sizes are integers >= 0, not ({n_in!r}, {n_out!r})")
        self.n_in, self.n_out = n_in, n_out
        rng, limit = generator(rng), 1 / math.sqrt(n_in) if n_in else 0.0
        dtype = np.dtype(dtype or "float32")
        self.weight = init.uniform_(Parameter(np.empty((n_out, n_in), dtype)), -limit, limit, rng)
        self.bias = init.uniform_(Parameter(np.empty(n_out, dtype)), -limit, limit, rng) if bias else None

    def forward(self, x):
        return linear_(x, self.weight, self.bias)

    def extra_repr(self):
        return f"{self.n_in}, {self.n_out}" + ("" if self.bias is not None else ", bias=False")


class Sequential(Module):
    """Modules applied one after the other.

    ``net[i]`` is a module, ``net[i:j]`` a Sequential of the same modules. A dict names them.

    >>> from microgradx import nn
    >>> net = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2))
    >>> len(net), net[1], net[-1]
    (3, Tanh(), Linear(4, 2))
    """

    def __init__(self, *modules):
        named = modules[0] if len(modules) == 1 and isinstance(modules[0], dict) else dict(enumerate(modules))
        for name, module in named.items():
            if not isinstance(module, Module):
                raise DTypeError(f"Sequential: position {name} is a Module, not {type(module).__name__}"
                                 + (" (make an instance: Name())" if isinstance(module, type) else ""))
            setattr(self, str(name), module)

    def forward(self, x):
        attributes = self.__dict__
        for name in self._modules:
            x = attributes[name](x)
        return x

    def __len__(self):
        return len(self._modules)

    def __iter__(self):
        return self.children()

    def __getitem__(self, at):
        modules = list(self.children())
        return Sequential(*modules[at]) if isinstance(at, slice) else modules[at]

    def append(self, module):
        """Add a module at the end; returns the Sequential."""
        if not isinstance(module, Module):
            raise DTypeError(f"Sequential: append takes a Module, not {type(module).__name__}")
        setattr(self, str(len(self)), module)
        return self


class Identity(Module):
    """x -> x."""

    def forward(self, x):
        return x


class Flatten(Module):
    """All axes from ``start_axis`` to ``end_axis`` as one: (m, ...) -> (m, n)."""

    def __init__(self, start_axis=1, end_axis=-1):
        self.start_axis, self.end_axis = start_axis, end_axis

    def forward(self, x):
        return x.flatten(self.start_axis, self.end_axis)


class PReLU(Module):
    """x where x > 0, else weight * x, with ``weight`` trained: one number, or one per index of axis 1.

    He et al. (2015). ``weight`` has shape (count,) and starts at ``start``.
    """

    def __init__(self, count=1, start=0.25, dtype=None):
        self.weight = Parameter(np.full(count, start, dtype or "float32"))

    def forward(self, x):
        return F.prelu(x, self.weight)

    def extra_repr(self):
        return f"{self.weight.size}"


class _Activation(Module):
    """An activation without state; subclasses are made from ``MODULES``."""
    method, defaults = "", {}

    def __init__(self, *args, **kwargs):
        names = list(self.defaults)
        given = dict(zip(names, args)) | kwargs
        if len(args) > len(names) or set(kwargs) - set(names) or set(names[:len(args)]) & set(kwargs):
            raise OptionError(f"{type(self).__name__}: takes ({', '.join(names)}), not args {args}, {kwargs}")
        self.arguments = tuple((self.defaults | given).values())

    def forward(self, x):
        return getattr(x, self.method)(*self.arguments)

    def extra_repr(self):
        return ", ".join(f"{name}={value!r}" for name, value in zip(self.defaults, self.arguments))


for _name, _method in MODULES.items():
    _defaults = F.ACTIVATIONS[_method]
    globals()[_name] = type(_name, (_Activation,), {
        "method": _method, "defaults": _defaults, "__module__": __name__,
        "__doc__": f"``x.{_method}({', '.join(f'{p}={v!r}' for p, v in _defaults.items())})`` as a module."})
