"""Mean-field theory of wide random nets, for any activation: moments, maps of a layer, fixed points, phases.

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

from microgradx.errors import OptionError
from microgradx.flow.metrics import depth_scale
from microgradx.flow.quadrature import activation, nodes, product

__all__ = ["Moments", "Phase", "chi", "correlation_map", "edge_of_chaos", "edge_point", "fixed_correlation",
           "fixed_variance", "moments", "phase", "variance_map"]

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
