"""Layers: Linear, Embedding, Dropout, containers, and every activation as a module."""
from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from typing import Any, Literal, Self

import numpy as np

from microgradx._core.tensor import Tensor, linear_
from microgradx.errors import DTypeError, Error, OptionError, ShapeError, described, name_errors
from microgradx.nn import functional as F
from microgradx.nn import init
from microgradx.nn.module import CheckedOptions, Module, Parameter
from microgradx.random import generator
from microgradx.typing import Data, DType, Seed

__all__ = ["CELU", "Dropout", "ELU", "Embedding", "Flatten", "GELU", "Hardshrink", "Hardsigmoid", "Hardswish",
           "Hardtanh", "Identity", "LeakyReLU", "Linear", "LogSigmoid", "LogSoftmax", "Mish", "ModuleList", "PReLU",
           "ReLU", "ReLU6", "Residual", "SELU", "Sequential", "SiLU", "Sigmoid", "Softmax", "Softplus", "Softshrink",
           "Softsign", "Tanh", "Tanhshrink", "Threshold"]


def sizes_of(op: str, *sizes: int, least: int = 0) -> None:
    """Check that sizes are integers, none below ``least``."""
    for n in sizes:
        if isinstance(n, bool) or not isinstance(n, (int, np.integer)) or n < least:
            raise OptionError(f"{op}: sizes are integers >= {least}, not {sizes}")


def parameter(shape: int | tuple[int, ...], dtype: DType = None) -> Tensor:
    """A parameter that is yet to be filled; float32 unless told."""
    return Parameter(np.empty(shape, dtype or "float32"))


class Linear(Module):
    """x @ weight^T + bias: (..., n_in) -> (..., n_out).

    ``weight`` has shape (n_out, n_in), ``bias`` (n_out,); both start as U(-1/sqrt(n_in), 1/sqrt(n_in)), torch's
    default, whose variance is a third of LeCun's 1/n_in. ``nn.init`` has better ones. ``rng``: a Generator,
    a seed, or None for the shared generator; ``dtype``: float32 unless told.

    >>> from microgradx import nn
    >>> layer = nn.Linear(3, 2, rng=0)
    >>> layer
    Linear(3, 2)
    >>> layer(nn.Parameter([[1.0, 2.0, 3.0]])).shape
    (1, 2)
    """

    def __init__(self, n_in: int, n_out: int, bias: bool = True, dtype: DType = None, rng: Seed = None) -> None:
        sizes_of("Linear", n_in, n_out)
        self.n_in, self.n_out = n_in, n_out
        rng, limit = generator(rng), 1 / math.sqrt(n_in) if n_in else 0.0
        self.weight = init.uniform_(parameter((n_out, n_in), dtype), -limit, limit, rng)
        self.bias = init.uniform_(parameter(n_out, dtype), -limit, limit, rng) if bias else None

    def forward(self, x: Data) -> Tensor:
        return linear_(x, self.weight, self.bias)

    def extra_repr(self) -> str:
        return f"{self.n_in}, {self.n_out}" + ("" if self.bias is not None else ", bias=False")


class Embedding(Module):
    """Row ``id`` of ``weight`` for every id: integers (...) -> (..., width).

    ``weight`` (count, width) starts as N(0, 1). The row ``padding_idx`` starts as 0 and gets no gradient.

    >>> from microgradx import nn
    >>> layer = nn.Embedding(27, 4)
    >>> layer([[0, 26], [3, 3]]).shape
    (2, 2, 4)
    """

    def __init__(self, count: int, width: int, padding_idx: int | None = None, dtype: DType = None,
                 rng: Seed = None) -> None:
        sizes_of("Embedding", count, width)
        if padding_idx is not None and not -count <= padding_idx < count:
            raise OptionError(f"Embedding: padding_idx={padding_idx} is not one of the {count} rows")
        self.count, self.width = count, width
        self.padding_idx = padding_idx if padding_idx is None else padding_idx % count
        self.weight = init.normal_(parameter((count, width), dtype), rng=rng)
        if padding_idx is not None:
            self.weight.data[self.padding_idx].zero_()

    def forward(self, ids: Data) -> Tensor:
        return F.embedding(ids, self.weight, self.padding_idx)

    def extra_repr(self) -> str:
        return f"{self.count}, {self.width}" + (f", padding_idx={self.padding_idx}" if self.padding_idx is not None
                                                else "")


class Dropout(Module):
    """In training, each element is 0 with probability ``p``, else divided by 1 - p; in evaluation x -> x.

    Srivastava et al. (2014). ``rng``: a Generator, a seed, or None for the shared generator.

    >>> from microgradx import nn
    >>> nn.Dropout(0.5, rng=0)(nn.Parameter([1.0, 1.0, 1.0, 1.0])).tolist()
    [0.0, 2.0, 0.0, 2.0]
    """

    def __init__(self, p: float = 0.5, rng: Seed = None) -> None:
        self.p, self.rng = F.probability("Dropout", p), rng if rng is None else generator(rng)

    def forward(self, x: Tensor) -> Tensor:
        return F.dropout(x, self.p, self.training, self.rng)

    def extra_repr(self) -> str:
        return f"p={self.p}"


class ModuleList(Module):
    """Modules by number, called by whoever holds them: their parameters are found, which those in a list are not.

    >>> from microgradx import nn
    >>> blocks = nn.ModuleList(nn.Linear(3, 3) for _ in range(2))
    >>> [name for name, _ in blocks.append(nn.Tanh()).named_parameters()]
    ['0.weight', '0.bias', '1.weight', '1.bias']
    """

    def __init__(self, modules: Iterable[Module] = ()) -> None:
        self.extend(modules)

    def __len__(self) -> int:
        return len(self._modules)

    def __iter__(self) -> Iterator[Module]:
        return self.children()

    def __getitem__(self, at: Any) -> Any:
        modules = list(self.children())
        return ModuleList(modules[at]) if isinstance(at, slice) else modules[at]

    def __setitem__(self, at: int, module: Module) -> None:
        setattr(self, list(self._modules)[at], self._module(at, module))

    def append(self, module: Module) -> Self:
        """Add a module at the end; returns the container."""
        setattr(self, str(len(self)), self._module(len(self), module))
        return self

    def extend(self, modules: Iterable[Module]) -> Self:
        """Add modules at the end; returns the container."""
        for module in modules:
            self.append(module)
        return self

    def _module(self, at: int | str, module: Any) -> Module:
        if not isinstance(module, Module):
            raise DTypeError(f"{type(self).__name__}: position {at} is a Module, not {type(module).__name__}"
                             + (" (make an instance: Name())" if isinstance(module, type) else
                                " of torch; microgradx.flow.torch.same makes one of ours of it"
                                if type(module).__module__.startswith("torch.") else ""))
        return module


MISFITS = (ShapeError, DTypeError)          # what a layer raises that does not fit what comes before it


def _named(error: Error, name: str, module: Module, x: Any) -> Error:
    """The error with the layer that raised it, by its dotted name."""
    at, kind, given, text = getattr(error, "layer", None) or (
        "", repr(module) if not module._modules else type(module).__name__,
        f"{x.dtype} of shape {x.shape}" if isinstance(x, Tensor) else described(x), str(error))
    at = f"{name}.{at}" if at else name
    named = type(error)(f"Sequential: layer {at}, {kind}, got {given}: {text}")
    named.layer = at, kind, given, text                                     # type: ignore[attr-defined]
    return named


class Sequential(ModuleList):
    """Modules applied one after the other.

    ``net[i]`` is a module, ``net[i:j]`` a Sequential of the same modules. A dict names them.

    >>> from microgradx import nn
    >>> net = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2))
    >>> len(net), net[1], net[-1]
    (3, Tanh(), Linear(4, 2))
    """

    def __init__(self, *modules: Module | dict[str, Module]) -> None:
        named = modules[0] if len(modules) == 1 and isinstance(modules[0], dict) else dict(enumerate(modules))
        for name, module in named.items():
            setattr(self, str(name), self._module(name, module))

    def forward(self, x: Any) -> Any:
        attributes = self.__dict__
        for name in self._modules:
            try:
                x = attributes[name](x)
            except MISFITS as error:
                raise _named(error, name, attributes[name], x).with_traceback(error.__traceback__) from None
        return x

    def __getitem__(self, at: Any) -> Any:
        return Sequential(*super().__getitem__(at)) if isinstance(at, slice) else super().__getitem__(at)


class Residual(Module):
    """x + scale * module(x): the way past a module along which signals and gradients keep their size.

    He et al. (2016). ``scale`` below 1, 1/sqrt(depth) say, keeps the sum of many from growing. Raises
    ``ShapeError`` if the module changes the shape.

    >>> from microgradx import nn
    >>> nn.Residual(nn.Tanh(), scale=0.5)(nn.Parameter([0.0, 100.0])).tolist()
    [0.0, 100.5]
    """

    def __init__(self, module: Module, scale: float = 1.0) -> None:
        if not isinstance(module, Module):
            raise DTypeError(f"Residual: around a Module, not {type(module).__name__}")
        self.module, self.scale = module, scale

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.module(x)
        if y.shape != x.shape:
            raise ShapeError(f"Residual: the module makes {y.shape} of {x.shape} ({y.shape} != {x.shape})")
        return x + (y if self.scale == 1 else y * self.scale)

    def extra_repr(self) -> str:
        return "" if self.scale == 1 else f"scale={self.scale}"


class Identity(Module):
    """x -> x."""

    def forward(self, x: Any) -> Any:
        return x


class Flatten(Module):
    """All axes from ``start_axis`` to ``end_axis`` as one: (m, ...) -> (m, n)."""

    def __init__(self, start_axis: int = 1, end_axis: int = -1) -> None:
        self.start_axis, self.end_axis = start_axis, end_axis

    def forward(self, x: Tensor) -> Tensor:
        return x.flatten(self.start_axis, self.end_axis)


class PReLU(Module):
    """x where x > 0, else weight * x, with ``weight`` trained: one number, or one per index of axis 1.

    He et al. (2015). ``weight`` has shape (count,) and starts at ``start``.
    """

    def __init__(self, count: int = 1, start: float = 0.25, dtype: DType = None) -> None:
        self.weight = Parameter(np.full(count, start, dtype or "float32"))

    def forward(self, x: Tensor) -> Tensor:
        return F.prelu(x, self.weight)

    def extra_repr(self) -> str:
        return f"{self.weight.size}"


# ----- activations as modules ------------------------------------------------------------------------------------

class _Activation(CheckedOptions):
    """An activation without state: ``method`` names it, ``arguments`` are those of its method."""
    method = ""

    def __init__(self) -> None:
        self.arguments: tuple[Any, ...] = ()

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = getattr(x, self.method)(*self.arguments)
        return y

    def extra_repr(self) -> str:
        return ", ".join(f"{name}={value!r}" for name, value in zip(F.ACTIVATIONS[self.method], self.arguments))


class Sigmoid(_Activation):
    """``x.sigmoid()`` as a module."""
    method = "sigmoid"


class Tanh(_Activation):
    """``x.tanh()`` as a module."""
    method = "tanh"


class ReLU(_Activation):
    """``x.relu()`` as a module."""
    method = "relu"


class ReLU6(_Activation):
    """``x.relu6()`` as a module."""
    method = "relu6"


class LeakyReLU(_Activation):
    """``x.leaky_relu(negative_slope=0.01)`` as a module."""
    method = "leaky_relu"

    def __init__(self, negative_slope: float = 0.01) -> None:
        self.arguments = (negative_slope,)


class ELU(_Activation):
    """``x.elu(alpha=1.0)`` as a module."""
    method = "elu"

    def __init__(self, alpha: float = 1.0) -> None:
        self.arguments = (alpha,)


class SELU(_Activation):
    """``x.selu()`` as a module."""
    method = "selu"


class CELU(_Activation):
    """``x.celu(alpha=1.0)`` as a module."""
    method = "celu"

    def __init__(self, alpha: float = 1.0) -> None:
        self.arguments = (alpha,)


class GELU(_Activation):
    """``x.gelu(approximate="none")`` as a module."""
    method = "gelu"

    def __init__(self, approximate: Literal["none", "tanh"] = "none") -> None:
        self.arguments = (approximate,)


class SiLU(_Activation):
    """``x.silu()`` as a module."""
    method = "silu"


class Mish(_Activation):
    """``x.mish()`` as a module."""
    method = "mish"


class Softplus(_Activation):
    """``x.softplus()`` as a module."""
    method = "softplus"


class Softsign(_Activation):
    """``x.softsign()`` as a module."""
    method = "softsign"


class LogSigmoid(_Activation):
    """``x.logsigmoid()`` as a module."""
    method = "logsigmoid"


class Hardtanh(_Activation):
    """``x.hardtanh(min_val=-1.0, max_val=1.0)`` as a module."""
    method = "hardtanh"

    def __init__(self, min_val: float = -1.0, max_val: float = 1.0) -> None:
        self.arguments = (min_val, max_val)


class Hardsigmoid(_Activation):
    """``x.hardsigmoid()`` as a module."""
    method = "hardsigmoid"


class Hardswish(_Activation):
    """``x.hardswish()`` as a module."""
    method = "hardswish"


class Hardshrink(_Activation):
    """``x.hardshrink(lambd=0.5)`` as a module."""
    method = "hardshrink"

    def __init__(self, lambd: float = 0.5) -> None:
        self.arguments = (lambd,)


class Softshrink(_Activation):
    """``x.softshrink(lambd=0.5)`` as a module."""
    method = "softshrink"

    def __init__(self, lambd: float = 0.5) -> None:
        self.arguments = (lambd,)


class Tanhshrink(_Activation):
    """``x.tanhshrink()`` as a module."""
    method = "tanhshrink"


class Threshold(_Activation):
    """``x.threshold(threshold=0.0, value=0.0)`` as a module."""
    method = "threshold"

    def __init__(self, threshold: float = 0.0, value: float = 0.0) -> None:
        self.arguments = (threshold, value)


class Softmax(_Activation):
    """``x.softmax(axis=-1)`` as a module."""
    method = "softmax"

    def __init__(self, axis: int = -1) -> None:
        self.arguments = (axis,)

    def forward(self, x: Tensor) -> Tensor:
        return F.softmax(x, *self.arguments)


class LogSoftmax(_Activation):
    """``x.log_softmax(axis=-1)`` as a module."""
    method = "log_softmax"

    def __init__(self, axis: int = -1) -> None:
        self.arguments = (axis,)

    def forward(self, x: Tensor) -> Tensor:
        return F.log_softmax(x, *self.arguments)


# Activation as a module: the function it calls.
MODULES = {activation.__name__: activation.method for activation in _Activation.__subclasses__()}


name_errors(__name__, "forward")
