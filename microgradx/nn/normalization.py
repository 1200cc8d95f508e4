"""Normalisation: functions, and modules of the same arguments.

Each takes a set of elements to mean 0 and variance 1, then scales and shifts them by trained numbers:

    layer_norm    the last axes of one sample       Ba, Kiros and Hinton (2016)
    rms_norm      the same, by the mean square      Zhang and Sennrich (2019)
    group_norm    a group of channels of one sample Wu and He (2018)
    batch_norm    one channel of the whole batch    Ioffe and Szegedy (2015)

The variance divides by the number of elements. ``eps`` is added to it.
"""
from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np

from microgradx._core.graph import no_grad
from microgradx._core.nets import normalization
from microgradx._core.tensor import Tensor
from microgradx.creation import plain, real
from microgradx.errors import DTypeError, OptionError, ShapeError, name_errors
from microgradx.nn.module import Module, Parameter
from microgradx.typing import Data, DType

FUNCTIONS = ["batch_norm", "group_norm", "layer_norm", "rms_norm"]
__all__ = ["BatchNorm1d", "BatchNorm2d", "GroupNorm", "LayerNorm", "RMSNorm"]


def _fits(op: str, x: Tensor, shape: tuple[int, ...], **given: Data | None) -> Iterator[Tensor | None]:
    """What is given as tensors, None or of that shape and of the dtype of ``x``."""
    for name, value in given.items():
        value = value if value is None or isinstance(value, Tensor) else Tensor(value, dtype=x.dtype)
        if value is not None and value.shape != shape:
            raise ShapeError(f"{op}: {name} has shape {value.shape}, not {shape} ({value.shape} != {shape})")
        if value is not None and value.dtype != x.dtype:
            raise DTypeError(f"{op}: dtypes {x.dtype} and, of {name}, {value.dtype} do not mix (astype converts)")
        yield value


def _tensor(op: str, x: Data) -> Tensor:
    x = x if isinstance(x, Tensor) else Tensor(x)
    if x.dtype.kind != "f":
        raise DTypeError(f"{op}: of float32 or float64, not {x.dtype}")
    return x


def _shape(op: str, shape: int | Sequence[int]) -> tuple[int, ...]:
    """The axes that are normalised, of a number or a sequence."""
    numbers = tuple(shape) if isinstance(shape, (tuple, list)) else (shape,)
    if not numbers or any(isinstance(n, bool) or not isinstance(n, (int, np.integer)) or n < 0 for n in numbers):
        raise OptionError(f"{op}: normalized_shape is an integer >= 0 or several, not {shape!r}")
    return tuple(map(int, numbers))


def _channels(op: str, n: int) -> int:
    if isinstance(n, bool) or not isinstance(n, (int, np.integer)) or n < 1:
        raise OptionError(f"{op}: the number of channels or groups is an integer >= 1, not {n!r}")
    return int(n)


def _affine(module: Module, shape: int | tuple[int, ...], weight: bool, bias: bool, dtype: DType) -> None:
    """The trained numbers: 1 and 0 to begin with."""
    dtype = np.dtype(dtype or "float32")
    module.weight = Parameter(np.ones(shape, dtype)) if weight else None
    module.bias = Parameter(np.zeros(shape, dtype)) if bias else None


def _scaled(y: Tensor, weight: Tensor | None, bias: Tensor | None) -> Tensor:
    """y * weight + bias, one of each per index of axis 1."""
    across = (-1, *[1] * (y.ndim - 2))
    y = y if weight is None else y * weight.reshape(across)
    return y if bias is None else y + bias.reshape(across)


# ----- over the last axes ----------------------------------------------------------------------------------------

def _over_last(op: str, x: Data, normalized_shape: int | Sequence[int], weight: Data | None, bias: Data | None,
               centred: bool, eps: float) -> Tensor:
    x, shape = _tensor(op, x), _shape(op, normalized_shape)
    if x.shape[-len(shape):] != shape:
        raise ShapeError(f"{op}: the last axes of shape {x.shape} are not {shape} ({x.shape[-len(shape):]} != {shape})")
    weight, bias = _fits(op, x, shape, weight=weight, bias=bias)
    return normalization(x, weight, bias, math.prod(shape), centred, real(op, "eps", eps))[0]


def layer_norm(x: Data, normalized_shape: int | Sequence[int], weight: Data | None = None, bias: Data | None = None,
               eps: float = 1e-5) -> Tensor:
    """(x - mean) / sqrt(variance + eps) * weight + bias over the last axes, which have ``normalized_shape``.

    ``weight`` and ``bias``, of that shape, may be missing. Raises ``ShapeError`` for axes that differ.

    >>> import microgradx as mgx
    >>> from microgradx.nn import functional as F
    >>> F.layer_norm(mgx.Tensor([[1.0, 3.0], [-2.0, 2.0]]), (2,), eps=0.0)
    Tensor([[-1.,  1.],
            [-1.,  1.]])
    """
    return _over_last("layer_norm", x, normalized_shape, weight, bias, True, eps)


def rms_norm(x: Data, normalized_shape: int | Sequence[int], weight: Data | None = None,
             eps: float | None = None) -> Tensor:
    """x / sqrt(mean(x^2) + eps) * weight over the last axes; ``eps`` is that of the dtype unless told.

    >>> import microgradx as mgx
    >>> from microgradx.nn import functional as F
    >>> F.rms_norm(mgx.Tensor([[3.0, 3.0], [1.0, -1.0]]), (2,), eps=0.0)
    Tensor([[ 1.,  1.],
            [ 1., -1.]])
    """
    x = _tensor("rms_norm", x)
    return _over_last("rms_norm", x, normalized_shape, weight, None, False,
                      float(np.finfo(x.dtype).eps) if eps is None else eps)


class LayerNorm(Module):
    """``layer_norm`` with a trained ``weight`` (starts as 1) and ``bias`` (0) of ``normalized_shape``.

    >>> from microgradx import nn
    >>> nn.LayerNorm(5)
    LayerNorm((5,), eps=1e-05, elementwise_affine=True, bias=True)
    """
    weight: Tensor | None
    bias: Tensor | None

    def __init__(self, normalized_shape: int | Sequence[int], eps: float = 1e-5, elementwise_affine: bool = True,
                 bias: bool = True, dtype: DType = None) -> None:
        self.normalized_shape, self.eps = _shape("LayerNorm", normalized_shape), eps
        self.elementwise_affine = elementwise_affine
        _affine(self, self.normalized_shape, elementwise_affine, elementwise_affine and bias, dtype)

    def forward(self, x: Data) -> Tensor:
        return layer_norm(x, self.normalized_shape, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        return (f"{self.normalized_shape}, eps={self.eps}, elementwise_affine={self.elementwise_affine}, "
                f"bias={self.bias is not None}")


class RMSNorm(Module):
    """``rms_norm`` with a trained ``weight`` (starts as 1) of ``normalized_shape``.

    >>> from microgradx import nn
    >>> nn.RMSNorm(4)
    RMSNorm((4,), eps=None, elementwise_affine=True)
    """
    weight: Tensor | None

    def __init__(self, normalized_shape: int | Sequence[int], eps: float | None = None,
                 elementwise_affine: bool = True, dtype: DType = None) -> None:
        self.normalized_shape, self.eps = _shape("RMSNorm", normalized_shape), eps
        self.elementwise_affine = elementwise_affine
        _affine(self, self.normalized_shape, elementwise_affine, False, dtype)

    def forward(self, x: Data) -> Tensor:
        return rms_norm(x, self.normalized_shape, self.weight, self.eps)

    def extra_repr(self) -> str:
        return f"{self.normalized_shape}, eps={self.eps}, elementwise_affine={self.elementwise_affine}"


# ----- over channels ---------------------------------------------------------------------------------------------

def group_norm(x: Data, num_groups: int, weight: Data | None = None, bias: Data | None = None,
               eps: float = 1e-5) -> Tensor:
    """Each of ``num_groups`` equal parts of axis 1, with all later axes, is normalised: (m, channels, ...).

    ``weight`` and ``bias`` (channels,) may be missing. Raises ``ShapeError`` where groups do not divide the channels.

    >>> import microgradx as mgx
    >>> from microgradx.nn import functional as F
    >>> F.group_norm(mgx.Tensor([[1.0, 3.0, 10.0, 30.0]]), 2, eps=0.0)
    Tensor([[-1.,  1., -1.,  1.]])
    """
    x, groups = _tensor("group_norm", x), _channels("group_norm", num_groups)
    if x.ndim < 2 or x.shape[1] % groups:
        raise ShapeError(f"group_norm: shape {x.shape} has " + (
            "no axis of channels" if x.ndim < 2 else f"{x.shape[1]} channels, no multiple of {groups} groups"))
    channels = x.shape[1]
    weight, bias = _fits("group_norm", x, (channels,), weight=weight, bias=bias)
    n = channels // groups * math.prod(x.shape[2:])
    return _scaled(normalization(x, None, None, n, True, real("group_norm", "eps", eps))[0], weight, bias)


class GroupNorm(Module):
    """``group_norm`` with a trained ``weight`` (starts as 1) and ``bias`` (0) per channel.

    >>> from microgradx import nn
    >>> nn.GroupNorm(2, 4)
    GroupNorm(2, 4, eps=1e-05, affine=True, bias=True)
    """
    weight: Tensor | None
    bias: Tensor | None

    def __init__(self, num_groups: int, num_channels: int, eps: float = 1e-5, affine: bool = True, bias: bool = True,
                 dtype: DType = None) -> None:
        self.num_groups, self.num_channels = _channels("GroupNorm", num_groups), _channels("GroupNorm", num_channels)
        if num_channels % num_groups:
            raise OptionError(f"GroupNorm: {num_channels} channels are no multiple of {num_groups} groups")
        self.eps, self.affine = eps, affine
        _affine(self, num_channels, affine, affine and bias, dtype)

    def forward(self, x: Data) -> Tensor:
        return group_norm(x, self.num_groups, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        return f"{self.num_groups}, {self.num_channels}, eps={self.eps}, affine={self.affine}, " \
               f"bias={self.bias is not None}"


def batch_norm(x: Data, running_mean: Tensor | None, running_var: Tensor | None, weight: Data | None = None,
               bias: Data | None = None, training: bool = False, momentum: float | Tensor = 0.1,
               eps: float = 1e-5) -> Tensor:
    """Each channel, index of axis 1, is normalised over the batch and all later axes: (m, channels, ...).

    In ``training`` by mean and variance of the batch, towards which the running ones, if there are any, move by
    ``momentum``; the running variance is the unbiased one, divided by n - 1. Otherwise by the running ones.

    Raises ``ShapeError`` for a batch of one element per channel in training: it has no variance.

    >>> import microgradx as mgx
    >>> from microgradx.nn import functional as F
    >>> mean, var = mgx.Tensor([0.0]), mgx.Tensor([1.0])
    >>> F.batch_norm(mgx.Tensor([[1.0], [3.0]]), mean, var, training=True, momentum=0.5, eps=0.0)
    Tensor([[-1.],
            [ 1.]])
    >>> mean, var
    (Tensor([1.]), Tensor([1.5]))
    """
    x = _tensor("batch_norm", x)
    if x.ndim < 2:
        raise ShapeError(f"batch_norm: shape {x.shape} has no axis of channels")
    channels = x.shape[1]
    running_mean, running_var, weight, bias = _fits("batch_norm", x, (channels,), running_mean=running_mean,
                                                    running_var=running_var, weight=weight, bias=bias)
    if not training:
        if running_mean is None or running_var is None:
            raise OptionError("batch_norm: outside training a running mean and variance are needed")
        across = (-1, *[1] * (x.ndim - 2))
        return _scaled((x - running_mean.reshape(across)) * (running_var + eps).rsqrt().reshape(across), weight, bias)
    n = math.prod(x.shape) // channels if channels else 0
    if n < 2:
        raise ShapeError(f"batch_norm: {n} elements per channel in training, shape {x.shape}; a variance needs two "
                         f"({n} < 2)")
    rows = x.transpose(0, 1)
    momentum = plain("batch_norm", "momentum", momentum)
    y, stats = normalization(rows.reshape(channels, n), None, None, n, True, real("batch_norm", "eps", eps))
    with no_grad():
        for running, now in ((running_mean, stats[0]), (running_var, stats[1] * (n / (n - 1)))):
            if running is not None:
                running.copy_(running * (1 - momentum) + now * momentum)
    return _scaled(y.reshape(rows.shape).transpose(0, 1), weight, bias)


class _BatchNorm(Module):
    axes: tuple[int, ...] = ()
    weight: Tensor | None
    bias: Tensor | None
    running_mean: Tensor | None
    running_var: Tensor | None
    num_batches_tracked: Tensor | None

    def __init__(self, num_features: int, eps: float = 1e-5, momentum: float | None = 0.1, affine: bool = True,
                 track_running_stats: bool = True, dtype: DType = None) -> None:
        self.num_features = _channels(type(self).__name__, num_features)
        self.eps, self.momentum, self.affine, self.track_running_stats = eps, momentum, affine, track_running_stats
        _affine(self, num_features, affine, affine, dtype)
        dtype = np.dtype(dtype or "float32")
        for name, start in (("running_mean", np.zeros(num_features, dtype)),
                            ("running_var", np.ones(num_features, dtype)), ("num_batches_tracked", np.int64(0))):
            self.register_buffer(name, Tensor(start) if track_running_stats else None)

    def forward(self, x: Tensor) -> Tensor:
        op = type(self).__name__
        if x.ndim not in self.axes:
            raise ShapeError(f"{op}: an input of {' or '.join(map(str, self.axes))} axes, not of shape {x.shape}")
        tracked = self.num_batches_tracked if self.training and self.track_running_stats else None
        count = None if tracked is None else tracked + 1
        momentum: float | Tensor | None = self.momentum
        if momentum is None:                                    # a plain average, if there is any
            momentum = 0.0 if count is None else 1 / count.astype("float64")
        y = batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias,
                       self.training or not self.track_running_stats, momentum, self.eps)
        if tracked is not None and count is not None:
            tracked.copy_(count)
        return y

    def extra_repr(self) -> str:
        return (f"{self.num_features}, eps={self.eps}, momentum={self.momentum}, affine={self.affine}, "
                f"track_running_stats={self.track_running_stats}")


class BatchNorm1d(_BatchNorm):
    """``batch_norm`` of (m, channels) or (m, channels, n), with a trained ``weight`` (starts as 1) and ``bias`` (0).

    The running mean and variance are buffers; they are used after ``eval()``. ``momentum`` None: their plain average
    over all batches. Without ``track_running_stats`` there are none, and the batch's are used always.

    >>> from microgradx import nn
    >>> layer = nn.BatchNorm1d(3)
    >>> layer
    BatchNorm1d(3, eps=1e-05, momentum=0.1, affine=True, track_running_stats=True)
    >>> list(layer.state_dict())
    ['weight', 'bias', 'running_mean', 'running_var', 'num_batches_tracked']
    """
    axes = (2, 3)


class BatchNorm2d(_BatchNorm):
    """As ``BatchNorm1d``, of (m, channels, h, w)."""
    axes = (4,)


name_errors(__name__, "forward")
