"""Layers: Linear, Embedding, Dropout, containers, and every activation as a module."""
import math

import numpy as np

from microgradx._core.tensor import linear_
from microgradx.errors import DTypeError, OptionError, ShapeError
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

__all__ = ["Dropout", "Embedding", "Flatten", "Identity", "Linear", "ModuleList", "PReLU", "Residual", "Sequential",
           *MODULES]


def sizes_of(op, *sizes, least=0):
    """Check that sizes are integers, none below ``least``."""
    for n in sizes:
        if isinstance(n, bool) or not isinstance(n, (int, np.integer)) or n < least:
            raise OptionError(f"{op}: sizes are integers >= {least}, not {sizes}")


def parameter(shape, dtype=None):
    """A parameter that is yet to be filled; float32 unless told."""
    return Parameter(np.empty(shape, dtype or "float32"))


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
        sizes_of("Linear", n_in, n_out)
        self.n_in, self.n_out = n_in, n_out
        rng, limit = generator(rng), 1 / math.sqrt(n_in) if n_in else 0.0
        self.weight = init.uniform_(parameter((n_out, n_in), dtype), -limit, limit, rng)
        self.bias = init.uniform_(parameter(n_out, dtype), -limit, limit, rng) if bias else None

    def forward(self, x):
        return linear_(x, self.weight, self.bias)

    def extra_repr(self):
        return f"{self.n_in}, {self.n_out}" + ("" if self.bias is not None else ", bias=False")


class Embedding(Module):
    """Row ``id`` of ``weight`` for every id: integers (...) -> (..., width).

    ``weight`` (count, width) starts as N(0, 1). The row ``padding_idx`` starts as 0 and gets no gradient.

    >>> from microgradx import nn
    >>> layer = nn.Embedding(27, 4)
    >>> layer([[0, 26], [3, 3]]).shape
    (2, 2, 4)
    """

    def __init__(self, count, width, padding_idx=None, dtype=None, rng=None):
        sizes_of("Embedding", count, width)
        if padding_idx is not None and not -count <= padding_idx < count:
            raise OptionError(f"Embedding: padding_idx={padding_idx} is not one of the {count} rows")
        self.count, self.width = count, width
        self.padding_idx = padding_idx if padding_idx is None else padding_idx % count
        self.weight = init.normal_(parameter((count, width), dtype), rng=rng)
        if padding_idx is not None:
            self.weight.data[self.padding_idx].zero_()

    def forward(self, ids):
        return F.embedding(ids, self.weight, self.padding_idx)

    def extra_repr(self):
        return f"{self.count}, {self.width}" + (f", padding_idx={self.padding_idx}" if self.padding_idx is not None
                                                else "")


class Dropout(Module):
    """In training, each element is 0 with probability ``p``, else divided by 1 - p; in evaluation x -> x.

    Srivastava et al. (2014). ``rng``: a NumPy Generator, a seed, or None for the shared generator.

    >>> from microgradx import nn
    >>> nn.Dropout(0.5, rng=0)(nn.Parameter([1.0, 1.0, 1.0, 1.0])).tolist()
    [2.0, 2.0, 2.0, 0.0]
    """

    def __init__(self, p=0.5, rng=None):
        self.p, self.rng = F.probability("Dropout", p), rng if rng is None else generator(rng)

    def forward(self, x):
        return F.dropout(x, self.p, self.training, self.rng)

    def extra_repr(self):
        return f"p={self.p}"


class ModuleList(Module):
    """Modules by number, called by whoever holds them: their parameters are found, which those in a list are not.

    >>> from microgradx import nn
    >>> blocks = nn.ModuleList(nn.Linear(3, 3) for _ in range(2))
    >>> [name for name, _ in blocks.append(nn.Tanh()).named_parameters()]
    ['0.weight', '0.bias', '1.weight', '1.bias']
    """

    def __init__(self, modules=()):
        self.extend(modules)

    def __len__(self):
        return len(self._modules)

    def __iter__(self):
        return self.children()

    def __getitem__(self, at):
        modules = list(self.children())
        return ModuleList(modules[at]) if isinstance(at, slice) else modules[at]

    def __setitem__(self, at, module):
        setattr(self, list(self._modules)[at], self._module(at, module))

    def append(self, module):
        """Add a module at the end; returns the container."""
        setattr(self, str(len(self)), self._module(len(self), module))
        return self

    def extend(self, modules):
        """Add modules at the end; returns the container."""
        for module in modules:
            self.append(module)
        return self

    def _module(self, at, module):
        if not isinstance(module, Module):
            raise DTypeError(f"{type(self).__name__}: position {at} is a Module, not {type(module).__name__}"
                             + (" (make an instance: Name())" if isinstance(module, type) else ""))
        return module


class Sequential(ModuleList):
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
            setattr(self, str(name), self._module(name, module))

    def forward(self, x):
        attributes = self.__dict__
        for name in self._modules:
            x = attributes[name](x)
        return x

    def __getitem__(self, at):
        return Sequential(*super().__getitem__(at)) if isinstance(at, slice) else super().__getitem__(at)


class Residual(Module):
    """x + scale * module(x): the way past a module along which signals and gradients keep their size.

    He et al. (2016). ``scale`` below 1, 1/sqrt(depth) say, keeps the sum of many from growing. Raises
    ``ShapeError`` if the module changes the shape.

    >>> from microgradx import nn
    >>> nn.Residual(nn.Tanh(), scale=0.5)(nn.Parameter([0.0, 100.0])).tolist()
    [0.0, 100.5]
    """

    def __init__(self, module, scale=1.0):
        if not isinstance(module, Module):
            raise DTypeError(f"Residual: around a Module, not {type(module).__name__}")
        self.module, self.scale = module, scale

    def forward(self, x):
        y = self.module(x)
        if y.shape != x.shape:
            raise ShapeError(f"Residual: the module makes {y.shape} of {x.shape} ({y.shape} != {x.shape})")
        return x + (y if self.scale == 1 else y * self.scale)

    def extra_repr(self):
        return "" if self.scale == 1 else f"scale={self.scale}"


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
