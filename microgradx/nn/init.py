"""Starting values: functions that fill a tensor in place, outside any graph, and return it.

The variance of a weight decides whether signals and errors keep their size from layer to layer. With n_in and
n_out connections into and out of a unit, per weight:

    xavier   gain^2 * 2 / (n_in + n_out)     Glorot and Bengio (2010): tanh, both directions at once
    he       2 / ((1 + slope^2) * n_in)      He et al. (2015): ReLU; slope of its negative side
    lecun    1 / n_in                        LeCun et al. (1998): sigmoid, tanh, SELU

``rng`` is a NumPy Generator, a seed, or None (``microgradx.random``). Numbers are drawn in double precision and
rounded, so a float32 and a float64 net of one seed start alike.
"""
import math

from microgradx._core.graph import no_grad
from microgradx._core.tensor import Tensor
from microgradx.errors import DTypeError, OptionError, ShapeError
from microgradx.random import generator

__all__ = ["constant_", "fans", "he_normal_", "he_uniform_", "lecun_normal_", "lecun_uniform_", "normal_", "ones_",
           "uniform_", "xavier_normal_", "xavier_uniform_", "zeros_"]


def fans(tensor):
    """(n_in, n_out) of a weight of shape (out, in, ...); further axes are a kernel's and multiply both.

    >>> from microgradx import nn
    >>> nn.init.fans(nn.Linear(3, 2).weight)
    (3, 2)
    """
    shape = _tensor("fans", tensor).shape
    if len(shape) < 2:
        raise ShapeError(f"fans: a weight has shape (out, in, ...), not {shape}")
    return shape[1] * math.prod(shape[2:]), shape[0] * math.prod(shape[2:])


def _tensor(op, tensor):
    if not isinstance(tensor, Tensor) or tensor.dtype.kind != "f":
        raise DTypeError(f"{op}: fills a float Tensor, not "
                         f"{tensor.dtype if isinstance(tensor, Tensor) else type(tensor).__name__}")
    return tensor


def _write(op, tensor, array):
    with no_grad():
        return _tensor(op, tensor).copy_(array)


def constant_(tensor, value):
    """Every element is ``value``."""
    with no_grad():
        return _tensor("constant_", tensor).fill_(value)


def zeros_(tensor):
    """Every element is 0."""
    return constant_(tensor, 0.0)


def ones_(tensor):
    """Every element is 1."""
    return constant_(tensor, 1.0)


def normal_(tensor, mean=0.0, std=1.0, rng=None):
    """Gaussian with the given mean and standard deviation."""
    if not std >= 0:
        raise OptionError(f"normal_: std={std} is negative")
    return _write("normal_", tensor, generator(rng).standard_normal(_tensor("normal_", tensor).shape) * std + mean)


def uniform_(tensor, low=0.0, high=1.0, rng=None):
    """Uniform on [low, high)."""
    if not low <= high:
        raise OptionError(f"uniform_: low={low} is above high={high}")
    return _write("uniform_", tensor, generator(rng).random(_tensor("uniform_", tensor).shape) * (high - low) + low)


def _normal(tensor, variance, rng):
    return normal_(tensor, 0.0, math.sqrt(variance), rng)


def _uniform(tensor, variance, rng):
    limit = math.sqrt(3 * variance)                     # U(-a, a) has variance a^2 / 3
    return uniform_(tensor, -limit, limit, rng)


def _per(n):
    return 1 / n if n else 0.0                          # an empty weight has nothing to scale


def xavier_normal_(tensor, gain=1.0, rng=None):
    """N(0, gain^2 * 2 / (n_in + n_out)).

    >>> from microgradx import nn
    >>> w = nn.init.xavier_normal_(nn.Linear(300, 200).weight, rng=0)
    >>> round(float(w.numpy().std()) * 250**0.5, 2)
    1.0
    """
    return _normal(tensor, 2 * gain**2 * _per(sum(fans(tensor))), rng)


def xavier_uniform_(tensor, gain=1.0, rng=None):
    """U(-a, a) with the variance of ``xavier_normal_``."""
    return _uniform(tensor, 2 * gain**2 * _per(sum(fans(tensor))), rng)


def he_normal_(tensor, slope=0.0, rng=None):
    """N(0, 2 / ((1 + slope^2) n_in)); ``slope`` is that of a leaky ReLU for negative x."""
    return _normal(tensor, 2 / (1 + slope**2) * _per(fans(tensor)[0]), rng)


def he_uniform_(tensor, slope=0.0, rng=None):
    """U(-a, a) with the variance of ``he_normal_``."""
    return _uniform(tensor, 2 / (1 + slope**2) * _per(fans(tensor)[0]), rng)


def lecun_normal_(tensor, rng=None):
    """N(0, 1 / n_in)."""
    return _normal(tensor, _per(fans(tensor)[0]), rng)


def lecun_uniform_(tensor, rng=None):
    """U(-a, a) with the variance of ``lecun_normal_``."""
    return _uniform(tensor, _per(fans(tensor)[0]), rng)
