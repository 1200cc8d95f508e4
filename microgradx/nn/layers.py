"""Layers: Linear, Bilinear, Embedding, Dropout, Flatten, and every activation as a module."""
from __future__ import annotations

import math
from typing import Any, Literal, Self

import numpy as np

from microgradx._core.array import get_default_dtype
from microgradx._core.tensor import Tensor, linear_
from microgradx._core.views import axis_of
from microgradx.errors import DTypeError, OptionError, ShapeError
from microgradx.names import make_public
from microgradx.nn import functional as F
from microgradx.nn import init as initial
from microgradx.nn.containers import ModuleList as ModuleList  # pickles of 0.1.0 know them by this module
from microgradx.nn.containers import Sequential as Sequential
from microgradx.nn.module import Module
from microgradx.nn.parameter import Parameter
from microgradx.random import generator
from microgradx.typing import Data, DType, Seed

__all__ = ["AlphaDropout", "Bilinear", "CELU", "CosineSimilarity", "Dropout", "Dropout1d", "Dropout2d", "Dropout3d",
           "ELU", "Embedding", "EmbeddingBag", "FeatureAlphaDropout", "Flatten", "GELU", "GLU", "Hardshrink",
           "Hardsigmoid", "Hardswish", "Hardtanh", "Identity", "LeakyReLU", "Linear", "LogSigmoid", "LogSoftmax",
           "Mish", "PReLU", "PairwiseDistance", "RReLU", "ReLU", "ReLU6", "Residual", "SELU", "SiLU", "Sigmoid",
           "Softmax", "Softmax2d", "Softmin", "Softplus", "Softshrink", "Softsign", "Tanh", "Tanhshrink", "Threshold",
           "Unflatten"]


def sizes_of(op: str, *sizes: int, least: int = 0) -> None:
    """Check that sizes are integers, none below ``least``."""
    for n in sizes:
        if isinstance(n, bool) or not isinstance(n, (int, np.integer)) or n < least:
            raise OptionError(f"{op}: sizes are integers >= {least}, not {sizes}")


def parameter(shape: int | tuple[int, ...], dtype: DType = None) -> Tensor:
    """A parameter that is yet to be filled; the default dtype unless told."""
    return Parameter(np.empty(shape, dtype or get_default_dtype()))


class Linear(Module):
    """x @ weight^T + bias: (..., in_features) -> (..., out_features).

    ``weight`` has shape (out_features, in_features), ``bias`` (out_features,); both start as U(-l, l) with
    l = 1/sqrt(in_features), torch's default, whose variance is a third of LeCun's 1/in_features. ``nn.init`` has better
    ones. ``rng``: a Generator, a seed, or None for the shared generator; ``dtype``: the default dtype unless told.

    >>> from microgradx import nn
    >>> layer = nn.Linear(3, 2, rng=0)
    >>> layer
    Linear(in_features=3, out_features=2, bias=True)
    >>> layer(nn.Parameter([[1.0, 2.0, 3.0]])).shape
    (1, 2)
    """
    former = {"n_in": "in_features", "n_out": "out_features"}
    weight: Tensor
    bias: Tensor | None

    def __init__(self, in_features: int, out_features: int, bias: bool = True, dtype: DType = None,
                 rng: Seed = None) -> None:
        sizes_of("Linear", in_features, out_features)
        self.in_features, self.out_features = in_features, out_features
        self.weight = parameter((out_features, in_features), dtype)
        self.bias = parameter(out_features, dtype) if bias else None
        self.reset_parameters(rng)

    def reset_parameters(self, rng: Seed = None) -> None:
        """Draw the weight and the bias as at the beginning."""
        rng, limit = generator(rng), 1 / math.sqrt(self.in_features) if self.in_features else 0.0
        for p in (self.weight, self.bias):
            if p is not None:
                initial.uniform_(p, -limit, limit, rng)

    def forward(self, input: Data) -> Tensor:
        return linear_(input, self.weight, self.bias)

    def extra_repr(self) -> str:
        return f"in_features={self.in_features}, out_features={self.out_features}, bias={self.bias is not None}"


class Bilinear(Module):
    """x1^T weight[k] x2 + bias[k] for every k: (..., in1_features), (..., in2_features) -> (..., out_features).

    ``weight`` has shape (out_features, in1_features, in2_features), ``bias`` (out_features,); both start as U(-l, l)
    with l = 1/sqrt(in1_features).

    >>> from microgradx import nn
    >>> nn.Bilinear(3, 4, 2, rng=0)(nn.Parameter([[1.0, 2.0, 3.0]]), nn.Parameter([[0.0, 0.0, 1.0, 0.0]])).shape
    (1, 2)
    """
    weight: Tensor
    bias: Tensor | None

    def __init__(self, in1_features: int, in2_features: int, out_features: int, bias: bool = True,
                 dtype: DType = None, rng: Seed = None) -> None:
        sizes_of("Bilinear", in1_features, in2_features, out_features, least=1)
        self.in1_features, self.in2_features, self.out_features = in1_features, in2_features, out_features
        self.weight = parameter((out_features, in1_features, in2_features), dtype)
        self.bias = parameter(out_features, dtype) if bias else None
        self.reset_parameters(rng)

    def reset_parameters(self, rng: Seed = None) -> None:
        """Draw the weight and the bias as at the beginning."""
        rng, limit = generator(rng), 1 / math.sqrt(self.in1_features)
        for p in (self.weight, self.bias):
            if p is not None:
                initial.uniform_(p, -limit, limit, rng)

    def forward(self, input1: Tensor, input2: Tensor) -> Tensor:
        return F.bilinear(input1, input2, self.weight, self.bias)

    def extra_repr(self) -> str:
        return (f"in1_features={self.in1_features}, in2_features={self.in2_features}, "
                f"out_features={self.out_features}, bias={self.bias is not None}")


# ----- rows by number ------------------------------------------------------------------------------------------------

class Embedding(Module):
    """Row ``id`` of ``weight`` for every id: integers (...) -> (..., embedding_dim).

    ``weight`` (num_embeddings, embedding_dim) starts as N(0, 1). The row ``padding_idx`` starts as 0 and gets no
    gradient. ``max_norm``, ``scale_grad_by_freq`` and ``sparse`` of torch are refused with ``OptionError``.

    >>> from microgradx import nn
    >>> layer = nn.Embedding(27, 4)
    >>> layer([[0, 26], [3, 3]]).shape
    (2, 2, 4)
    """
    former = {"count": "num_embeddings", "width": "embedding_dim"}
    weight: Tensor

    def __init__(self, num_embeddings: int, embedding_dim: int, padding_idx: int | None = None,
                 max_norm: float | None = None, scale_grad_by_freq: bool = False, sparse: bool = False,
                 dtype: DType = None, rng: Seed = None) -> None:
        sizes_of("Embedding", num_embeddings, embedding_dim)
        F.refuse_embedding_options("Embedding", max_norm, scale_grad_by_freq, sparse)
        self.num_embeddings, self.embedding_dim = num_embeddings, embedding_dim
        self.padding_idx = F.padding_row("Embedding", padding_idx, num_embeddings)
        self.weight = parameter((num_embeddings, embedding_dim), dtype)
        self.reset_parameters(rng)

    @classmethod
    def from_pretrained(cls, embeddings: Data, freeze: bool = True, padding_idx: int | None = None) -> Self:
        """A layer whose ``weight`` is a copy of ``embeddings`` (num_embeddings, embedding_dim), not trained if
        ``freeze``.

        >>> from microgradx import nn
        >>> nn.Embedding.from_pretrained([[1.0, 2.0], [3.0, 4.0]])([1])
        Tensor([[3., 4.]])
        """
        weight = Tensor(embeddings.detach() if isinstance(embeddings, Tensor) else embeddings)
        if weight.ndim != 2 or weight.dtype.kind != "f":
            raise ShapeError(f"{cls.__name__}.from_pretrained: floats (num_embeddings, embedding_dim), not "
                             f"{weight.dtype} of shape {weight.shape}")
        rows, width = weight.shape
        layer = cls(rows, width, padding_idx, dtype=weight.dtype)
        layer.weight.data.copy_(weight)
        layer.weight.requires_grad = not freeze
        return layer

    def reset_parameters(self, rng: Seed = None) -> None:
        """Draw the weight as at the beginning."""
        initial.normal_(self.weight, rng=rng)
        if self.padding_idx is not None:
            self.weight.data[self.padding_idx].zero_()

    def forward(self, input: Data) -> Tensor:
        return F.embedding(input, self.weight, self.padding_idx)

    def extra_repr(self) -> str:
        return f"{self.num_embeddings}, {self.embedding_dim}" + (
            f", padding_idx={self.padding_idx}" if self.padding_idx is not None else "")


class EmbeddingBag(Module):
    """Sum, mean or maximum of the rows of ``weight`` in each bag: integers (m, n) -> (m, embedding_dim).

    Ids in one line (n,) are cut into bags that begin at ``offsets``. ``F.embedding_bag`` with a trained ``weight``
    (num_embeddings, embedding_dim), which starts as N(0, 1).

    >>> from microgradx import nn
    >>> nn.EmbeddingBag(9, 3)([0, 4, 4, 1], [0, 3]).shape
    (2, 3)
    """
    weight: Tensor

    def __init__(self, num_embeddings: int, embedding_dim: int, max_norm: float | None = None,
                 scale_grad_by_freq: bool = False, mode: str = "mean", sparse: bool = False,
                 include_last_offset: bool = False, padding_idx: int | None = None, dtype: DType = None,
                 rng: Seed = None) -> None:
        sizes_of("EmbeddingBag", num_embeddings, embedding_dim)
        F.refuse_embedding_options("EmbeddingBag", max_norm, scale_grad_by_freq, sparse)
        self.num_embeddings, self.embedding_dim, self.mode = num_embeddings, embedding_dim, mode
        self.include_last_offset = include_last_offset
        self.padding_idx = F.padding_row("EmbeddingBag", padding_idx, num_embeddings)
        self.weight = parameter((num_embeddings, embedding_dim), dtype)
        self.reset_parameters(rng)

    def reset_parameters(self, rng: Seed = None) -> None:
        """Draw the weight as at the beginning."""
        initial.normal_(self.weight, rng=rng)
        if self.padding_idx is not None:
            self.weight.data[self.padding_idx].zero_()

    def forward(self, input: Data, offsets: Data | None = None, per_sample_weights: Data | None = None) -> Tensor:
        return F.embedding_bag(input, self.weight, offsets, self.mode, per_sample_weights, self.include_last_offset,
                               self.padding_idx)

    def extra_repr(self) -> str:
        return f"{self.num_embeddings}, {self.embedding_dim}, mode={self.mode!r}" + (
            f", padding_idx={self.padding_idx}" if self.padding_idx is not None else "")


# ----- dropout -------------------------------------------------------------------------------------------------------

class Dropout(Module):
    """In training, each element is 0 with probability ``p``, else divided by 1 - p; in evaluation x -> x.

    Srivastava et al. (2014). ``inplace``: written into x. ``rng``: a Generator, a seed, or None for the shared
    generator.

    >>> from microgradx import nn
    >>> nn.Dropout(0.5, rng=0)(nn.Parameter([1.0, 1.0, 1.0, 1.0])).tolist()
    [0.0, 2.0, 0.0, 2.0]
    """
    later = {"inplace": False}
    function: Any = staticmethod(F.dropout)

    def __init__(self, p: float = 0.5, inplace: bool = False, rng: Seed = None) -> None:
        self.p, self.inplace = F.probability(type(self).__name__, p), inplace
        self.rng = rng if rng is None else generator(rng)

    def forward(self, input: Tensor) -> Tensor:
        y: Tensor = self.function(input, self.p, self.training, self.inplace, rng=self.rng)
        return y

    def extra_repr(self) -> str:
        return f"p={self.p}, inplace={self.inplace}"


class Dropout1d(Dropout):
    """As ``Dropout``, of whole channels of (m, channels, n) or (channels, n): Tompson et al. (2015)."""
    function = staticmethod(F.dropout1d)


class Dropout2d(Dropout):
    """As ``Dropout``, of whole channels of (m, channels, h, w) or (channels, h, w): Tompson et al. (2015)."""
    function = staticmethod(F.dropout2d)


class Dropout3d(Dropout):
    """As ``Dropout``, of whole channels of (m, channels, d, h, w) or (channels, d, h, w)."""
    function = staticmethod(F.dropout3d)


class AlphaDropout(Dropout):
    """Dropout that keeps mean 0 and variance 1 behind SELU: Klambauer et al. (2017)."""
    function = staticmethod(F.alpha_dropout)


class FeatureAlphaDropout(Dropout):
    """As ``AlphaDropout``, of whole channels: the indices of the first two axes."""
    function = staticmethod(F.feature_alpha_dropout)


# ----- shapes and distances ------------------------------------------------------------------------------------------

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
    """x -> x, whatever it is made with."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        pass

    def forward(self, input: Any) -> Any:
        return input


class Flatten(Module):
    """All axes from ``start_dim`` to ``end_dim`` as one: (m, ...) -> (m, n)."""
    former = {"start_axis": "start_dim", "end_axis": "end_dim"}

    def __init__(self, start_dim: int = 1, end_dim: int = -1) -> None:
        self.start_dim, self.end_dim = start_dim, end_dim

    def forward(self, input: Tensor) -> Tensor:
        return input.flatten(self.start_dim, self.end_dim)

    def extra_repr(self) -> str:
        return f"start_dim={self.start_dim}, end_dim={self.end_dim}"


class Unflatten(Module):
    """The axis ``dim`` as several, of lengths ``unflattened_size``: the reverse of ``Flatten``.

    >>> import microgradx as mgx
    >>> from microgradx import nn
    >>> nn.Unflatten(1, (2, 3))(mgx.zeros(5, 6)).shape
    (5, 2, 3)
    """

    def __init__(self, dim: int, unflattened_size: tuple[int, ...]) -> None:
        self.dim, self.unflattened_size = dim, tuple(unflattened_size)

    def forward(self, input: Tensor) -> Tensor:
        at = axis_of("Unflatten", self.dim, input.ndim)
        return input.reshape(*input.shape[:at], *self.unflattened_size, *input.shape[at + 1:])

    def extra_repr(self) -> str:
        return f"dim={self.dim}, unflattened_size={self.unflattened_size}"


class CosineSimilarity(Module):
    """``functional.cosine_similarity`` along the axis ``dim`` as a module.

    >>> import microgradx as mgx
    >>> from microgradx import nn
    >>> nn.CosineSimilarity(dim=0)(mgx.Tensor([1.0, 0.0]), mgx.Tensor([2.0, 0.0])).item()
    1.0
    """

    def __init__(self, dim: int = 1, eps: float = 1e-8) -> None:
        self.dim, self.eps = dim, eps

    def forward(self, x1: Tensor, x2: Data) -> Tensor:
        return F.cosine_similarity(x1, x2, self.dim, self.eps)


class PairwiseDistance(Module):
    """``functional.pairwise_distance`` as a module: (..., n), (..., n) -> (...)."""

    def __init__(self, p: float = 2.0, eps: float = 1e-6, keepdim: bool = False) -> None:
        self.p, self.eps, self.keepdim = p, eps, keepdim

    def forward(self, x1: Tensor, x2: Data) -> Tensor:
        return F.pairwise_distance(x1, x2, self.p, self.eps, self.keepdim)


class PReLU(Module):
    """x where x > 0, else weight * x, with ``weight`` trained: one number, or one per index of axis 1.

    He et al. (2015). ``weight`` has shape (num_parameters,) and starts at ``init``.
    """
    later = {"num_parameters": 1, "init": 0.25}
    weight: Tensor

    def __init__(self, num_parameters: int = 1, init: float = 0.25, dtype: DType = None) -> None:
        sizes_of("PReLU", num_parameters, least=1)
        self.num_parameters, self.init = num_parameters, init
        self.weight = parameter(num_parameters, dtype)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Fill the weight with ``init``."""
        initial.constant_(self.weight, self.init)

    def forward(self, input: Tensor) -> Tensor:
        return F.prelu(input, self.weight)

    def extra_repr(self) -> str:
        return f"num_parameters={self.num_parameters}"


class RReLU(Module):
    """``functional.rrelu`` as a module: slopes for negative x are drawn in training, and their mean after
    ``eval()``."""

    def __init__(self, lower: float = 1 / 8, upper: float = 1 / 3, inplace: bool = False, rng: Seed = None) -> None:
        self.lower, self.upper, self.inplace = lower, upper, inplace
        self.rng = rng if rng is None else generator(rng)

    def forward(self, input: Tensor) -> Tensor:
        return F.rrelu(input, self.lower, self.upper, self.training, self.inplace, rng=self.rng)

    def extra_repr(self) -> str:
        return f"lower={self.lower}, upper={self.upper}" + ", inplace=True" * self.inplace


# ----- activations as modules ----------------------------------------------------------------------------------------

class _Activation(Module):
    """An activation without state: ``method`` names it, ``arguments`` are those of its method.

    With ``inplace`` the method is the one that writes into the tensor.
    """
    method = ""
    inplace = False

    def __init__(self) -> None:
        self._keep()

    def _keep(self, *arguments: Any, inplace: bool = False) -> None:
        self.arguments = arguments
        if inplace:
            self.inplace, self.method = True, f"{self.method}_"

    def forward(self, input: Tensor) -> Tensor:
        y: Tensor = getattr(input, self.method)(*self.arguments)
        return y

    def extra_repr(self) -> str:
        shown = [f"{name}={value!r}" for name, value in zip(F.ACTIVATIONS[type(self).method], self.arguments)]
        return ", ".join(shown + ["inplace=True"] * self.inplace)


class Sigmoid(_Activation):
    """``x.sigmoid()`` as a module."""
    method = "sigmoid"


class Tanh(_Activation):
    """``x.tanh()`` as a module."""
    method = "tanh"


class ReLU(_Activation):
    """``x.relu()`` as a module."""
    method = "relu"

    def __init__(self, inplace: bool = False) -> None:
        self._keep(inplace=inplace)


class ReLU6(_Activation):
    """``x.relu6()`` as a module."""
    method = "relu6"

    def __init__(self, inplace: bool = False) -> None:
        self._keep(inplace=inplace)


class LeakyReLU(_Activation):
    """``x.leaky_relu(negative_slope=0.01)`` as a module."""
    method = "leaky_relu"

    def __init__(self, negative_slope: float = 0.01, inplace: bool = False) -> None:
        self._keep(negative_slope, inplace=inplace)


class ELU(_Activation):
    """``x.elu(alpha=1.0)`` as a module."""
    method = "elu"

    def __init__(self, alpha: float = 1.0, inplace: bool = False) -> None:
        self._keep(alpha, inplace=inplace)


class SELU(_Activation):
    """``x.selu()`` as a module."""
    method = "selu"

    def __init__(self, inplace: bool = False) -> None:
        self._keep(inplace=inplace)


class CELU(_Activation):
    """``x.celu(alpha=1.0)`` as a module."""
    method = "celu"

    def __init__(self, alpha: float = 1.0, inplace: bool = False) -> None:
        self._keep(alpha, inplace=inplace)


class GELU(_Activation):
    """``x.gelu(approximate="none")`` as a module."""
    method = "gelu"

    def __init__(self, approximate: Literal["none", "tanh"] = "none") -> None:
        self._keep(approximate)


class SiLU(_Activation):
    """``x.silu()`` as a module."""
    method = "silu"

    def __init__(self, inplace: bool = False) -> None:
        self._keep(inplace=inplace)


class Mish(_Activation):
    """``x.mish()`` as a module."""
    method = "mish"

    def __init__(self, inplace: bool = False) -> None:
        self._keep(inplace=inplace)


class Softplus(_Activation):
    """``x.softplus(beta=1.0, threshold=20.0)`` as a module."""
    method = "softplus"

    def __init__(self, beta: float = 1.0, threshold: float = 20.0) -> None:
        self._keep(beta, threshold)

    def forward(self, input: Tensor) -> Tensor:
        return F.softplus(input, *self.arguments)


class Softsign(_Activation):
    """``x.softsign()`` as a module."""
    method = "softsign"


class LogSigmoid(_Activation):
    """``x.logsigmoid()`` as a module."""
    method = "logsigmoid"


class Hardtanh(_Activation):
    """``x.hardtanh(min_val=-1.0, max_val=1.0)`` as a module."""
    method = "hardtanh"

    def __init__(self, min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False) -> None:
        self._keep(min_val, max_val, inplace=inplace)


class Hardsigmoid(_Activation):
    """``x.hardsigmoid()`` as a module."""
    method = "hardsigmoid"

    def __init__(self, inplace: bool = False) -> None:
        self._keep(inplace=inplace)


class Hardswish(_Activation):
    """``x.hardswish()`` as a module."""
    method = "hardswish"

    def __init__(self, inplace: bool = False) -> None:
        self._keep(inplace=inplace)


class Hardshrink(_Activation):
    """``x.hardshrink(lambd=0.5)`` as a module."""
    method = "hardshrink"

    def __init__(self, lambd: float = 0.5) -> None:
        self._keep(lambd)

    def extra_repr(self) -> str:
        return repr(self.arguments[0])


class Softshrink(_Activation):
    """``x.softshrink(lambd=0.5)`` as a module."""
    method = "softshrink"

    def __init__(self, lambd: float = 0.5) -> None:
        self._keep(lambd)

    def extra_repr(self) -> str:
        return repr(self.arguments[0])


class Tanhshrink(_Activation):
    """``x.tanhshrink()`` as a module."""
    method = "tanhshrink"


class Threshold(_Activation):
    """``x.threshold(threshold=0.0, value=0.0)`` as a module."""
    method = "threshold"

    def __init__(self, threshold: float = 0.0, value: float = 0.0, inplace: bool = False) -> None:
        self._keep(threshold, value, inplace=inplace)


class _AlongAxis(Module):
    """A function along ``axis``, which torch calls ``dim``."""
    function: Any = staticmethod(F.softmax)

    def __setstate__(self, state: dict[str, Any]) -> None:
        """In 0.1.0 the axis was the one of the ``arguments``."""
        super().__setstate__(state if "axis" in state else state | {"axis": state["arguments"][0]})

    def __init__(self, axis: int = -1) -> None:
        self.axis = -1 if axis is None else axis

    def forward(self, input: Tensor) -> Tensor:
        y: Tensor = self.function(input, self.axis)
        return y

    def extra_repr(self) -> str:
        return f"dim={self.axis}"


class Softmax(_AlongAxis):
    """``x.softmax(axis=-1)`` as a module; torch's ``dim`` is another name of ``axis``."""


class LogSoftmax(_AlongAxis):
    """``x.log_softmax(axis=-1)`` as a module."""
    function = staticmethod(F.log_softmax)


class Softmin(_AlongAxis):
    """``(-x).softmax(axis=-1)`` as a module."""
    function = staticmethod(F.softmin)


class GLU(_AlongAxis):
    """``functional.glu(x, axis=-1)`` as a module."""
    function = staticmethod(F.glu)


class Softmax2d(Module):
    """Softmax over the channels of (m, channels, h, w) or (channels, h, w)."""

    def __init__(self) -> None:
        pass

    def forward(self, input: Tensor) -> Tensor:
        if input.ndim not in (3, 4):
            raise ShapeError(f"Softmax2d: an input of 4 axes, or 3 without the batch, not of shape {input.shape}")
        return input.softmax(-3)


# Activation as a module: the function it calls.
MODULES = {activation.__name__: activation.method for activation in _Activation.__subclasses__()}
MODULES.update(Softmax="softmax", LogSoftmax="log_softmax")


make_public(__name__)
