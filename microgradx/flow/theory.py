"""What to expect of a net before it runs: mean-field theory of wide random nets, for any activation.

Pre-activations are z ~ N(0, q), the same q for all units of a layer; weights have variance var_w / n_in, biases var_b.
From layer to layer

    q  <-  var_w E phi(z)^2 + var_b             the variance of z
    c  <- (var_w E phi(u) phi(v) + var_b) / q   the correlation of two samples, u and v ~ N(0, q) with correlation c
    chi =  var_w E phi'(z)^2                    the factor on differences of samples, forward, and on errors, backward

Poole et al. (2016), Schoenholz et al. (2017). An activation is whatever ``flow.quadrature.activation`` takes: a name, a
module, a callable. Expectations are good to about 1e-12.
"""
import math
from typing import NamedTuple

import numpy as np

from microgradx.errors import OptionError, ShapeError
from microgradx.flow.metrics import depth_scale, without_graph
from microgradx.flow.quadrature import activation, nodes, product

__all__ = ["SCHEMES", "Expected", "Moments", "Phase", "Scale", "chi", "correlation_map", "edge_of_chaos", "edge_point",
           "expected", "fixed_correlation", "fixed_variance", "moments", "phase", "scale", "scheme", "variance_map"]

LEAST, MOST = 1e-14, 1e14               # variances beyond are 0 and inf


class Moments(NamedTuple):
    """E phi, E phi^2, E phi'^2, E phi'^4, E phi phi', E z phi phi' over z ~ N(0, q)."""
    mean: float
    square: float
    slope_square: float
    slope_fourth: float
    cross: float
    stretch: float


def moments(phi, q=1.0):
    """The ``Moments`` of an activation at variance ``q``; at q = 0 the limit, where phi has a kink there.

    >>> from microgradx.flow import theory
    >>> sigmoid = theory.moments("sigmoid")
    >>> round(sigmoid.square, 6), round(sigmoid.slope_square, 6), round(sigmoid.slope_fourth, 6)
    (0.293379, 0.044836, 0.002286)
    """
    phi = activation(phi)
    z, weights = nodes(phi, q)
    y, g = phi(z), phi.slope(z)
    return Moments(*(float(weights @ f) for f in (y, y * y, g * g, g**4, y * g, z * y * g)))


# ----- maps and fixed points -----------------------------------------------------------------------------------------

def variance_map(phi, q, var_w=1.0, var_b=0.0):
    """The next layer's q: var_w E phi^2 + var_b.

    >>> from microgradx.flow import theory
    >>> round(theory.variance_map("relu", 3.0, var_w=2.0), 12)
    3.0
    """
    return var_w * moments(phi, q).square + var_b


def correlation_map(phi, c, q, var_w=1.0, var_b=0.0):
    """The next layer's c at a variance q that has settled.

    >>> from microgradx.flow import theory
    >>> round(theory.correlation_map("relu", 0.0, q=1.0, var_w=2.0), 9)           # 1/pi
    0.318309886
    """
    return (var_w * product(phi, q, c) + var_b) / q


def chi(phi, q=1.0, var_w=1.0):
    """var_w E phi'^2: the factor per layer on the variance of an error, backward, and of a small difference, forward.

    >>> from microgradx.flow import theory
    >>> q = theory.fixed_variance("sigmoid", var_w=1.0, var_b=1.0)               # Nielsen's initialisation
    >>> x = theory.chi("sigmoid", q)
    >>> round(x, 7), round(x**-0.5, 4)                                          # adjacent layers learn 4.88 times apart
    (0.0419597, 4.8818)
    """
    return var_w * moments(phi, q).slope_square


def fixed_variance(phi, var_w=1.0, var_b=0.0, start=1.0):
    """q*: where the variance of a deep net that begins at ``start`` settles; 0.0 or inf where it does not stop.

    >>> from microgradx.flow import theory
    >>> round(theory.fixed_variance("tanh", 1.76095, 0.05), 3), theory.fixed_variance("relu", 1.5)
    (0.57, 0.0)
    """
    def excess(q):
        return variance_map(phi, q, var_w, var_b) - q

    first = excess(start)
    if abs(first) <= 1e-12 * start:
        return float(start)
    step, q = 10 ** math.copysign(0.25, first), start
    while LEAST < q < MOST:
        q, before = q * step, q
        now = excess(q)
        if now * first < 0 and abs(now) > 1e-12 * q:                            # beyond rounding
            return _root(excess, *sorted((before, q)))
    return math.inf if first > 0 else 0.0


def fixed_correlation(phi, q, var_w=1.0, var_b=0.0):
    """c*: what the correlation of any two samples becomes; 1 in the ordered phase, less in the chaotic one.

    >>> from microgradx.flow import theory
    >>> q = theory.fixed_variance("tanh", 2.0, 0.05)
    >>> round(theory.fixed_correlation("tanh", q, 2.0, 0.05), 5)
    0.74408
    """
    def excess(c):
        return correlation_map(phi, c, q, var_w, var_b) - c

    if chi(phi, q, var_w) <= 1 + 1e-9:
        return 1.0
    if abs(excess(0.0)) < 1e-12:
        return 0.0
    below = 1 - 1e-3                    # near c = 1 the map is above the diagonal's slope, so the other root is below
    while excess(below) > 0 and below < 1 - 1e-12:
        below = 1 - (1 - below) / 10
    return _root(excess, 0.0, below) if excess(below) < 0 else 1.0


def _root(f, low, high):
    from scipy.optimize import brentq  # imported late: it takes 0.2 s
    return float(brentq(f, low, high, xtol=1e-15 * high, rtol=1e-13))


class Phase(NamedTuple):
    """Where a deep net ends: ``q``, ``c``; ``chi`` at q; the layers over which q and c get there, ``xi_q``, ``xi_c``.

    Errors vanish at chi < 1 and explode at chi > 1; nets train to a depth of about 6 xi_c.
    """
    q: float
    c: float
    chi: float
    xi_q: float
    xi_c: float


def phase(phi, var_w=1.0, var_b=0.0, start=1.0):
    """The ``Phase`` of an activation with an initialisation; of nans where q grows without end.

    xi_c = -1 / ln(var_w E phi'(u) phi'(v)) at c*; xi_q = -1 / ln of the slope of the variance map, which is
    var_w E[z phi phi'] / q, the same as var_w E[phi'^2 + phi phi''] where phi'' exists.

    >>> from microgradx.flow import theory
    >>> round(theory.phase("tanh", 1.4, 0.05).xi_c, 2)
    10.73
    """
    q = fixed_variance(phi, var_w, var_b, start)
    if q == math.inf:
        return Phase(q, *[math.nan] * 4)
    at = max(q, LEAST)
    found = moments(phi, at)
    c = fixed_correlation(phi, at, var_w, var_b)
    return Phase(q, c, var_w * found.slope_square, depth_scale(_one(var_w * found.stretch / at)),
                 depth_scale(_one(var_w * product(phi, at, c, slope=True))))


def _one(factor):
    """1 where rounding keeps a factor from being 1."""
    return 1.0 if abs(factor - 1) < 1e-12 else factor


def edge_point(phi, q):
    """(var_w, var_b) at which q is a fixed point with chi = 1: (1 / E phi'^2, q - var_w E phi^2).

    ``var_b`` may come out negative: then no net is critical at this q. Nor need q be stable.

    >>> from microgradx.flow import theory
    >>> [round(v, 6) for v in theory.edge_point("gelu", (3 + 17**0.5) / 2)]
    [1.983058, 0.172922]
    """
    found = moments(phi, q)
    var_w = 1 / found.slope_square
    return var_w, q - var_w * found.square


def edge_of_chaos(phi, var_b=0.0):
    """var_w at which errors neither vanish nor explode, with biases of variance ``var_b`` and q settled.

    Raises ``OptionError`` where there is none at which q is stable, as for GELU and swish at most var_b.

    >>> from microgradx.flow import theory
    >>> round(theory.edge_of_chaos("tanh", 0.05), 5), round(theory.edge_of_chaos("relu"), 12)
    (1.76095, 2.0)
    """
    grid = np.geomspace(1e-6, 1e6, 97)
    excess = np.array([edge_point(phi, q)[1] for q in grid]) - var_b
    if var_b == 0 and moments(phi, 0.0).square < 1e-20:                         # q* = 0, if nothing drives q away
        var_w = edge_point(phi, 0.0)[0]
        if variance_map(phi, 1e-3, var_w) <= 1e-3 * (1 + 1e-9):
            return var_w
    for k in np.flatnonzero(excess[:-1] * excess[1:] < 0):
        q = _root(lambda q: edge_point(phi, q)[1] - var_b, grid[k], grid[k + 1])
        var_w = edge_point(phi, q)[0]
        if var_w * moments(phi, q).stretch / q <= 1:
            return var_w
    raise OptionError(f"edge_of_chaos: {activation(phi).name} has no critical point with var_b={var_b} at which the "
                      "variance is stable")


# ----- layer by layer ------------------------------------------------------------------------------------------------

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
