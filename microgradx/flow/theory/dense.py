"""Dense layers one after another, and convolutions that wrap around: what theory needs of each, and the profile."""
import math
from typing import NamedTuple

import numpy as np

from microgradx.errors import OptionError, ShapeError
from microgradx.flow.metrics import without_graph
from microgradx.flow.quadrature import product
from microgradx.flow.theory.meanfield import moments

__all__ = ["SCHEMES", "Expected", "Scale", "expected", "scale", "scheme"]


class Scale(NamedTuple):
    """What theory needs of a layer: connections into and out of a unit, n_in Var(W), Var(b), and its activation."""
    n_in: int
    n_out: int
    var_w: float
    var_b: float = 0.0
    activation: object = "linear"


def scale(weight, bias=None, activation="linear"):
    """The ``Scale`` of actual weights (n_out, n_in, ...) and biases (n_out,), or None. Further axes are a kernel's.

    >>> from microgradx.flow import theory
    >>> theory.scale([[1.0, -1.0], [1.0, 1.0], [-1.0, 1.0]], activation="tanh")
    Scale(n_in=2, n_out=3, var_w=2.0, var_b=0.0, activation='tanh')
    """
    weight = np.asarray(without_graph(weight), np.float64)
    if weight.ndim < 2 or not weight.size:
        raise ShapeError(f"scale: a weight has shape (n_out, n_in, ...), neither 0, not {weight.shape}")
    kernel = math.prod(weight.shape[2:])
    n_in, n_out = weight.shape[1] * kernel, weight.shape[0] * kernel
    var_b = 0.0 if bias is None else float(np.square(np.asarray(without_graph(bias), np.float64)).mean())
    return Scale(n_in, n_out, n_in * float(np.square(weight).mean()), var_b, activation)


# (var_w, var_b) of an initialisation, from (n_in, n_out).
SCHEMES = {"lecun": lambda n_in, n_out: (1.0, 0.0), "he": lambda n_in, n_out: (2.0, 0.0),
           "xavier": lambda n_in, n_out: (2 * n_in / (n_in + n_out), 0.0),
           "orthogonal": lambda n_in, n_out: (n_in / max(n_in, n_out), 0.0),
           "default": lambda n_in, n_out: (1 / 3, 1 / (3 * n_in)),              # U(-1/sqrt(n_in), 1/sqrt(n_in)), both
           "nielsen": lambda n_in, n_out: (1.0, 1.0)}                           # Nielsen (2015), chapter 3


def scheme(name, sizes, activation):
    """The ``Scale`` of every layer of an MLP with ``sizes`` units, initialised by a scheme; the last layer is linear.

    Raises ``OptionError`` for a name that is not in ``SCHEMES``.

    >>> from microgradx.flow import theory
    >>> [s.var_w for s in theory.scheme("xavier", [300, 100, 100], "tanh")]
    [1.5, 1.0]
    """
    if name not in SCHEMES:
        raise OptionError(f"scheme: {name!r} is none of {', '.join(SCHEMES)}")
    pairs = list(zip(sizes, sizes[1:]))
    return [Scale(n_in, n_out, *SCHEMES[name](n_in, n_out), "linear" if k == len(pairs) - 1 else activation)
            for k, (n_in, n_out) in enumerate(pairs)]


class Expected(NamedTuple):
    """The expected profile of a net; arrays (L,), from the first layer to the last.

    q: mean z^2. square: mean a^2. cosine: of z, between two samples. signal: variance of a over the samples. chi: its
    factor on errors, were all layers as wide. error: the error norm D_l over D_L. gain: D_l / D_(l+1), nan at the last.
    """
    q: np.ndarray
    square: np.ndarray
    cosine: np.ndarray
    signal: np.ndarray
    chi: np.ndarray
    error: np.ndarray
    gain: np.ndarray


def expected(layers, square=1.0, cosine=0.0):
    """The ``Expected`` profile of a net of layers (a list of ``Scale``) for inputs with mean x^2 = ``square`` and mean
    cosine ``cosine`` between two samples.

    gain_l^2 = n_out var_w / n_in of the layer above, times E phi'^2 of this one.

    >>> from microgradx.flow import theory
    >>> deep = theory.expected(theory.scheme("he", [100] * 5, "relu"))
    >>> [round(e, 9) for e in deep.error.tolist()], [round(q, 9) for q in deep.q.tolist()]
    ([1.0, 1.0, 1.0, 1.0], [2.0, 2.0, 2.0, 2.0])
    """
    rows, pair = [], square * cosine                            # `pair`: mean x x' over two samples
    for layer in layers:
        q, overlap = layer.var_w * square + layer.var_b, layer.var_w * pair + layer.var_b
        c = min(overlap / q, 1.0) if q > 0 else 1.0
        found, pair = moments(layer.activation, q), product(layer.activation, q, c)
        square = found.square
        rows.append((q, square, c, max(square - pair, 0.0), layer.var_w * found.slope_square, found.slope_square))
    q, squares, cosines, signal, factor, slopes = np.array(rows).T
    above = np.array([layer.n_out * layer.var_w / layer.n_in for layer in layers])[1:]
    gain = np.append(np.sqrt(above * slopes[:-1]), math.nan)
    error = np.append(np.cumprod(gain[-2::-1])[::-1], 1.0)
    return Expected(q, squares, cosines, signal, factor, error, gain)
