"""Normalisation: functions, and modules of the same arguments.

Each takes a set of elements to mean 0 and variance 1, then scales and shifts them by trained numbers:

    layer_norm    the last axes of one sample       Ba, Kiros and Hinton (2016)
    rms_norm      the same, by the mean square      Zhang and Sennrich (2019)
    group_norm    a group of channels of one sample Wu and He (2018)
    batch_norm    one channel of the whole batch    Ioffe and Szegedy (2015)
    instance_norm one channel of one sample         Ulyanov, Vedaldi and Lempitsky (2016)

The variance divides by the number of elements. ``eps`` is added to it.
"""
from __future__ import annotations

import functools
import math
from collections.abc import Iterator, Sequence

import numpy as np

from microgradx._core.array import get_default_dtype
from microgradx._core.creation import plain
from microgradx._core.graph import no_grad
from microgradx._core.nets import normalization
from microgradx._core.structured import power_of
from microgradx._core.tensor import Tensor
from microgradx.creation import real
from microgradx.errors import DTypeError, OptionError, ShapeError
from microgradx.names import make_public
from microgradx.nn.module import Module
from microgradx.nn.padding import pad
from microgradx.nn.parameter import Parameter
from microgradx.typing import Data, DType

FUNCTIONS = ["batch_norm", "group_norm", "instance_norm", "layer_norm", "local_response_norm", "rms_norm"]
__all__ = ["BatchNorm1d", "BatchNorm2d", "BatchNorm3d", "GroupNorm", "InstanceNorm1d", "InstanceNorm2d",
           "InstanceNorm3d", "LayerNorm", "LocalResponseNorm", "RMSNorm"]


def _fits(op: str, x: Tensor, shape: tuple[int, ...], **given: Data | None) -> Iterator[Tensor | None]:
    """What is given as tensors, None or of that shape and of the dtype of ``x``."""
    for name, value in given.items():
        value = value if value is None or isinstance(value, Tensor) else Tensor(value, dtype=x.dtype)
        if value is not None and value.shape != shape:
            raise ShapeError(f"{op}: {name} has shape {value.shape}, not {shape} ({value.shape} != {shape})")
        if value is not None and value.dtype != x.dtype:
            raise DTypeError(f"{op}: dtypes {x.dtype} and, of {name}, {value.dtype} do not mix (x.float() converts)")
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


class _Norm(Module):
    """What the modules share: the trained numbers, 1 and 0 to begin with."""
    weight: Tensor | None
    bias: Tensor | None

    def _affine(self, shape: int | tuple[int, ...], weight: bool, bias: bool, dtype: DType) -> None:
        dtype = np.dtype(dtype or get_default_dtype())
        self.register_parameter("weight", Parameter(np.ones(shape, dtype)) if weight else None)
        self.register_parameter("bias", Parameter(np.zeros(shape, dtype)) if bias else None)

    def reset_parameters(self) -> None:
        """Make the weight 1 and the bias 0 again."""
        for p, start in ((self.weight, 1.0), (self.bias, 0.0)):
            if p is not None:
                p.data.fill_(start)


# ----- over the last axes ----------------------------------------------------------------------------------------

def _over_last(op: str, x: Data, normalized_shape: int | Sequence[int], weight: Data | None, bias: Data | None,
               centred: bool, eps: float) -> Tensor:
    x, shape = _tensor(op, x), _shape(op, normalized_shape)
    if x.shape[-len(shape):] != shape:
        raise ShapeError(f"{op}: the last axes of shape {x.shape} are not {shape} ({x.shape[-len(shape):]} != {shape})")
    weight, bias = _fits(op, x, shape, weight=weight, bias=bias)
    n = math.prod(shape)
    return normalization(x, weight, bias, n, 1, n, centred, real(op, "eps", eps))[0]


def layer_norm(input: Data, normalized_shape: int | Sequence[int], weight: Data | None = None, bias: Data | None = None,
               eps: float = 1e-5) -> Tensor:
    """(x - mean) / sqrt(variance + eps) * weight + bias over the last axes, which have ``normalized_shape``.

    ``weight`` and ``bias``, of that shape, may be missing. Raises ``ShapeError`` for axes that differ.

    >>> import microgradx as mgx
    >>> from microgradx.nn import functional as F
    >>> F.layer_norm(mgx.Tensor([[1.0, 3.0], [-2.0, 2.0]]), (2,), eps=0.0)
    Tensor([[-1.,  1.],
            [-1.,  1.]])
    """
    return _over_last("layer_norm", input, normalized_shape, weight, bias, True, eps)


def rms_norm(input: Data, normalized_shape: int | Sequence[int], weight: Data | None = None,
             eps: float | None = None) -> Tensor:
    """x / sqrt(mean(x^2) + eps) * weight over the last axes; ``eps`` is that of the dtype unless told.

    >>> import microgradx as mgx
    >>> from microgradx.nn import functional as F
    >>> F.rms_norm(mgx.Tensor([[3.0, 3.0], [1.0, -1.0]]), (2,), eps=0.0)
    Tensor([[ 1.,  1.],
            [ 1., -1.]])
    """
    x = _tensor("rms_norm", input)
    return _over_last("rms_norm", x, normalized_shape, weight, None, False,
                      float(np.finfo(x.dtype).eps) if eps is None else eps)


class LayerNorm(_Norm):
    """``layer_norm`` with a trained ``weight`` (starts as 1) and ``bias`` (0) of ``normalized_shape``.

    >>> from microgradx import nn
    >>> nn.LayerNorm(5)
    LayerNorm((5,), eps=1e-05, elementwise_affine=True, bias=True)
    """

    def __init__(self, normalized_shape: int | Sequence[int], eps: float = 1e-5, elementwise_affine: bool = True,
                 bias: bool = True, dtype: DType = None) -> None:
        self.normalized_shape, self.eps = _shape("LayerNorm", normalized_shape), eps
        self.elementwise_affine = elementwise_affine
        self._affine(self.normalized_shape, elementwise_affine, elementwise_affine and bias, dtype)

    def forward(self, input: Data) -> Tensor:
        return layer_norm(input, self.normalized_shape, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        return (f"{self.normalized_shape}, eps={self.eps}, elementwise_affine={self.elementwise_affine}, "
                f"bias={self.bias is not None}")


class RMSNorm(_Norm):
    """``rms_norm`` with a trained ``weight`` (starts as 1) of ``normalized_shape``.

    >>> from microgradx import nn
    >>> nn.RMSNorm(4)
    RMSNorm((4,), eps=None, elementwise_affine=True)
    """

    def __init__(self, normalized_shape: int | Sequence[int], eps: float | None = None,
                 elementwise_affine: bool = True, dtype: DType = None) -> None:
        self.normalized_shape, self.eps = _shape("RMSNorm", normalized_shape), eps
        self.elementwise_affine = elementwise_affine
        self._affine(self.normalized_shape, elementwise_affine, False, dtype)

    def forward(self, input: Data) -> Tensor:
        return rms_norm(input, self.normalized_shape, self.weight, self.eps)

    def extra_repr(self) -> str:
        return f"{self.normalized_shape}, eps={self.eps}, elementwise_affine={self.elementwise_affine}"


# ----- over channels ---------------------------------------------------------------------------------------------

def group_norm(input: Data, num_groups: int, weight: Data | None = None, bias: Data | None = None,
               eps: float = 1e-5) -> Tensor:
    """Each of ``num_groups`` equal parts of axis 1, with all later axes, is normalised: (m, channels, ...).

    ``weight`` and ``bias`` (channels,) may be missing. Raises ``ShapeError`` where groups do not divide the channels.

    >>> import microgradx as mgx
    >>> from microgradx.nn import functional as F
    >>> F.group_norm(mgx.Tensor([[1.0, 3.0, 10.0, 30.0]]), 2, eps=0.0)
    Tensor([[-1.,  1., -1.,  1.]])
    """
    x, groups = _tensor("group_norm", input), _channels("group_norm", num_groups)
    if x.ndim < 2 or x.shape[1] % groups:
        raise ShapeError(f"group_norm: shape {x.shape} has " + (
            "no axis of channels" if x.ndim < 2 else f"{x.shape[1]} channels, no multiple of {groups} groups"))
    channels = x.shape[1]
    weight, bias = _fits("group_norm", x, (channels,), weight=weight, bias=bias)
    n = channels // groups * math.prod(x.shape[2:])
    return normalization(x, weight, bias, n, groups, channels // groups, True, real("group_norm", "eps", eps))[0]


class GroupNorm(_Norm):
    """``group_norm`` with a trained ``weight`` (starts as 1) and ``bias`` (0) per channel.

    >>> from microgradx import nn
    >>> nn.GroupNorm(2, 4)
    GroupNorm(2, 4, eps=1e-05, affine=True, bias=True)
    """

    def __init__(self, num_groups: int, num_channels: int, eps: float = 1e-5, affine: bool = True,
                 dtype: DType = None, *, bias: bool = True) -> None:
        self.num_groups, self.num_channels = _channels("GroupNorm", num_groups), _channels("GroupNorm", num_channels)
        if num_channels % num_groups:
            raise OptionError(f"GroupNorm: {num_channels} channels are no multiple of {num_groups} groups")
        self.eps, self.affine = eps, affine
        self._affine(num_channels, affine, affine and bias, dtype)

    def forward(self, input: Data) -> Tensor:
        return group_norm(input, self.num_groups, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        return f"{self.num_groups}, {self.num_channels}, eps={self.eps}, affine={self.affine}, " \
               f"bias={self.bias is not None}"


def _by_channel(op: str, rows: Tensor, channels: int, running: tuple[Tensor | None, Tensor | None],
                affine: tuple[Tensor | None, Tensor | None], momentum: float | Tensor, eps: float) -> Tensor:
    """Every row normalised; row r is of channel r % channels. The ``running`` mean and variance, those that there are,
    move by ``momentum`` towards the means over the rows of a channel."""
    m, n = rows.shape
    momentum = plain(op, "momentum", momentum)
    y, stats = normalization(rows, affine[0], affine[1], n, channels, 1, True, real(op, "eps", eps))
    with no_grad():
        for kept, now in zip(running, (stats[0], stats[1] * (n / (n - 1))), strict=True):
            if kept is not None:
                now = now if m == channels else now.reshape(-1, channels).mean(0)
                kept.copy_(kept * (1 - momentum) + now * momentum)
    return y


def batch_norm(input: Data, running_mean: Tensor | None, running_var: Tensor | None, weight: Data | None = None,
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
    x = _tensor("batch_norm", input)
    if x.ndim < 2:
        raise ShapeError(f"batch_norm: shape {x.shape} has no axis of channels")
    channels = x.shape[1]
    running_mean, running_var, weight, bias = _fits("batch_norm", x, (channels,), running_mean=running_mean,
                                                    running_var=running_var, weight=weight, bias=bias)
    if not training:
        if running_mean is None or running_var is None:
            raise OptionError("batch_norm: outside training a running mean and variance are needed")
        across = (-1, *[1] * (x.ndim - 2))
        scale = (running_var + eps).rsqrt()
        scale = scale if weight is None else scale * weight
        y = (x - running_mean.reshape(across)) * scale.reshape(across)
        return y if bias is None else y + bias.reshape(across)
    n = math.prod(x.shape) // channels if channels else 0
    if n < 2:
        raise ShapeError(f"batch_norm: {n} elements per channel in training, shape {x.shape}; a variance needs two "
                         f"({n} < 2)")
    rows = x.transpose(0, 1)
    y = _by_channel("batch_norm", rows.reshape(channels, n), channels, (running_mean, running_var), (weight, bias),
                    momentum, eps)
    return y.reshape(rows.shape).transpose(0, 1).contiguous()


class _Running(_Norm):
    """What batch and instance normalisation share: running statistics per channel."""
    axes: tuple[int, ...] = ()
    running_mean: Tensor | None
    running_var: Tensor | None
    num_batches_tracked: Tensor | None

    def _keep(self, num_features: int, eps: float, momentum: float | None, affine: bool, track_running_stats: bool,
              dtype: DType, bias: bool) -> None:
        self.num_features = _channels(type(self).__name__, num_features)
        self.eps, self.momentum, self.affine, self.track_running_stats = eps, momentum, affine, track_running_stats
        self._affine(num_features, affine, affine and bias, dtype)
        dtype = np.dtype(dtype or get_default_dtype())
        for name, start in (("running_mean", np.zeros(num_features, dtype)),
                            ("running_var", np.ones(num_features, dtype)), ("num_batches_tracked", np.int64(0))):
            self.register_buffer(name, Tensor(start) if track_running_stats else None)

    def _running(self) -> tuple[Tensor | None, Tensor | None]:
        """The running statistics that a call reads or moves, if any."""
        return (None, None) if self.training and not self.track_running_stats else (self.running_mean, self.running_var)

    def reset_running_stats(self) -> None:
        """Forget the running statistics: mean 0, variance 1, no batch."""
        if self.running_mean is not None and self.running_var is not None and self.num_batches_tracked is not None:
            self.running_mean.zero_()
            self.running_var.fill_(1.0)
            self.num_batches_tracked.zero_()

    def reset_parameters(self) -> None:
        """``reset_running_stats``, and the weight 1 and the bias 0 again."""
        self.reset_running_stats()
        super().reset_parameters()

    def _check(self, x: Tensor) -> None:
        if x.ndim not in self.axes:
            raise ShapeError(f"{type(self).__name__}: an input of {' or '.join(map(str, self.axes))} axes, not of "
                             f"shape {x.shape}")

    def extra_repr(self) -> str:
        return (f"{self.num_features}, eps={self.eps}, momentum={self.momentum}, affine={self.affine}, "
                f"bias={self.bias is not None}, track_running_stats={self.track_running_stats}")


class _BatchNorm(_Running):
    def __init__(self, num_features: int, eps: float = 1e-5, momentum: float | None = 0.1, affine: bool = True,
                 track_running_stats: bool = True, dtype: DType = None, *, bias: bool = True) -> None:
        self._keep(num_features, eps, momentum, affine, track_running_stats, dtype, bias)

    def forward(self, input: Tensor) -> Tensor:
        self._check(input)
        tracked = self.num_batches_tracked if self.training and self.track_running_stats else None
        count = None if tracked is None else tracked + 1
        momentum: float | Tensor | None = self.momentum
        if momentum is None:                                    # a plain average, if there is any
            momentum = 0.0 if count is None else 1 / count.astype("float64")
        y = batch_norm(input, *self._running(), self.weight, self.bias,
                       self.training or not self.track_running_stats, momentum, self.eps)
        if tracked is not None and count is not None:
            tracked.copy_(count)
        return y


class BatchNorm1d(_BatchNorm):
    """``batch_norm`` of (m, channels) or (m, channels, n), with a trained ``weight`` (starts as 1) and ``bias`` (0).

    The running mean and variance are buffers; they are used after ``eval()``. ``momentum`` None: their plain average
    over all batches. Without ``track_running_stats`` there are none, and the batch's are used always.

    >>> from microgradx import nn
    >>> layer = nn.BatchNorm1d(3)
    >>> layer
    BatchNorm1d(3, eps=1e-05, momentum=0.1, affine=True, bias=True, track_running_stats=True)
    >>> list(layer.state_dict())
    ['weight', 'bias', 'running_mean', 'running_var', 'num_batches_tracked']
    """
    axes = (2, 3)


class BatchNorm2d(_BatchNorm):
    """As ``BatchNorm1d``, of (m, channels, h, w)."""
    axes = (4,)


class BatchNorm3d(_BatchNorm):
    """As ``BatchNorm1d``, of (m, channels, d, h, w)."""
    axes = (5,)


# ----- channels of single samples --------------------------------------------------------------------------------

def instance_norm(input: Data, running_mean: Tensor | None = None, running_var: Tensor | None = None,
                  weight: Data | None = None, bias: Data | None = None, use_input_stats: bool = True,
                  momentum: float | Tensor = 0.1, eps: float = 1e-5) -> Tensor:
    """Each channel of each sample is normalised over all later axes: (m, channels, ...).

    By its own mean and variance, towards whose means over the samples the running ones, if there are any, move by
    ``momentum``; without ``use_input_stats`` by the running ones. Raises ``ShapeError`` for channels of one element.

    >>> import microgradx as mgx
    >>> from microgradx.nn import functional as F
    >>> F.instance_norm(mgx.Tensor([[[1.0, 3.0], [5.0, 9.0]]]), eps=0.0)
    Tensor([[[-1.,  1.],
             [-1.,  1.]]])
    """
    x = _tensor("instance_norm", input)
    if x.ndim < 3:
        raise ShapeError(f"instance_norm: (m, channels, ...) with axes behind the channels, not shape {x.shape}")
    m, channels, *rest = x.shape
    if not use_input_stats:
        return batch_norm(x, running_mean, running_var, weight, bias, False, 0.0, eps)
    running_mean, running_var, weight, bias = _fits("instance_norm", x, (channels,), running_mean=running_mean,
                                                    running_var=running_var, weight=weight, bias=bias)
    n = math.prod(rest)
    if n < 2:
        raise ShapeError(f"instance_norm: {n} elements per channel, shape {x.shape}; a variance needs two ({n} < 2)")
    y = _by_channel("instance_norm", x.reshape(m * channels, n), channels, (running_mean, running_var), (weight, bias),
                    momentum, eps)
    return y.reshape(x.shape)


class _InstanceNorm(_Running):
    def __init__(self, num_features: int, eps: float = 1e-5, momentum: float | None = 0.1, affine: bool = False,
                 track_running_stats: bool = False, dtype: DType = None, *, bias: bool = True) -> None:
        self._keep(num_features, eps, momentum, affine, track_running_stats, dtype, bias)

    def forward(self, input: Tensor) -> Tensor:
        self._check(input)
        alone = input.ndim == self.axes[0]
        x = input.unsqueeze(0) if alone else input
        if x.shape[1] != self.num_features and (self.weight is not None or self.running_mean is not None):
            raise ShapeError(f"{type(self).__name__}: {self.num_features} channels, not {x.shape[1]} of shape "
                             f"{input.shape} ({self.num_features} != {x.shape[1]})")
        momentum = 0.0 if self.momentum is None else self.momentum
        y = instance_norm(x, *self._running(), self.weight, self.bias,
                          self.training or not self.track_running_stats, momentum, self.eps)
        return y.squeeze(0) if alone else y


class InstanceNorm1d(_InstanceNorm):
    """``instance_norm`` of (m, channels, n) or (channels, n). With ``affine`` it has a trained ``weight`` (starts as 1)
    and ``bias`` (0); with ``track_running_stats`` buffers, which are used after ``eval()``.

    >>> from microgradx import nn
    >>> nn.InstanceNorm1d(3)
    InstanceNorm1d(3, eps=1e-05, momentum=0.1, affine=False, bias=False, track_running_stats=False)
    """
    axes = (2, 3)


class InstanceNorm2d(_InstanceNorm):
    """As ``InstanceNorm1d``, of (m, channels, h, w) or (channels, h, w)."""
    axes = (3, 4)


class InstanceNorm3d(_InstanceNorm):
    """As ``InstanceNorm1d``, of (m, channels, d, h, w) or (channels, d, h, w)."""
    axes = (4, 5)


def local_response_norm(input: Data, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0) -> Tensor:
    """x / (k + alpha mean(x^2))^beta, the mean over ``size`` neighbouring channels: (m, channels, ...).

    Channels beyond the ends count as 0. Krizhevsky, Sutskever and Hinton (2012), whose alpha is this one over ``size``.

    >>> import microgradx as mgx
    >>> from microgradx.nn import functional as F
    >>> F.local_response_norm(mgx.Tensor([[[3.0]]]), 1, alpha=1.0, beta=0.5, k=0.0)
    Tensor([[[1.]]])
    """
    x = _tensor("local_response_norm", input)
    if x.ndim < 3:
        raise ShapeError(f"local_response_norm: (m, channels, ...) with axes behind the channels, not shape {x.shape}")
    size, channels = _channels("local_response_norm", size), x.shape[1]
    wide = pad(x, [0, 0] * (x.ndim - 2) + [size // 2, (size - 1) // 2])
    windows, magnitudes = ([y[:, at:at + channels] for at in range(size)] for y in (wide, wide.detach().abs()))
    largest = functools.reduce(Tensor.maximum, magnitudes)
    unit = power_of(largest.unsqueeze(0), 0).squeeze(0)
    unit = (unit > float(np.finfo(x.dtype).max) ** 0.25).where(unit, 1.0)       # in which no square overflows
    total = functools.reduce(Tensor.add, [(window / unit).square() for window in windows])
    y: Tensor = x * unit**-beta / (total * (alpha / size) + k / unit / unit) ** beta * unit**-beta
    return y


class LocalResponseNorm(Module):
    """``local_response_norm`` as a module.

    >>> from microgradx import nn
    >>> nn.LocalResponseNorm(2)
    LocalResponseNorm(2, alpha=0.0001, beta=0.75, k=1.0)
    """

    def __init__(self, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0) -> None:
        self.size, self.alpha, self.beta, self.k = _channels("LocalResponseNorm", size), alpha, beta, k

    def forward(self, input: Data) -> Tensor:
        return local_response_norm(input, self.size, self.alpha, self.beta, self.k)

    def extra_repr(self) -> str:
        return f"{self.size}, alpha={self.alpha}, beta={self.beta}, k={self.k}"


make_public(__name__)
