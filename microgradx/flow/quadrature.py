"""Gaussian expectations of any activation, to about 1e-12, kinks and plateaus included.

An activation is cut, once, into panels on which it and its slope are polynomials of degree 15 to 1e-8; Gauss-Legendre
sums of 16 points, exact to degree 31, double the digits. A border at which the panels on both sides do not meet is a
kink. An expectation is then a sum over Gauss-Legendre panels whose
borders are those of the activation and some of the Gaussian's own, so no panel has a kink inside.
"""
import functools
import math

import numpy as np

from microgradx._core.graph import enable_grad
from microgradx._core.ops import Differentiable
from microgradx._core.tensor import Tensor
from microgradx.errors import DTypeError, OptionError, ignored
from microgradx.flow.settings import FAILURES
from microgradx.nn import Module
from microgradx.nn import functional as F
from microgradx.nn.layers import MODULES

__all__ = ["Activation", "activation", "elementwise", "nodes", "product"]

legendre = np.polynomial.legendre
NODES, WEIGHTS = legendre.leggauss(16)
SPECTRUM = (WEIGHTS[:, None] * legendre.legvander(NODES, 15) * (np.arange(16) + 0.5)).T     # values -> coefficients
DERIVE = legendre.legvander(NODES, 14) @ legendre.legder(SPECTRUM)                          # values -> slopes
LEFT, RIGHT = (-1.0) ** np.arange(16) @ SPECTRUM, SPECTRUM.sum(axis=0)                      # values -> those at -1, 1
BORDERS = np.linspace(-10.0, 10.0, 11)                  # of a standard Gaussian, of which 1e-23 lies outside
HALVINGS, MOST = 45, 4096
ALIASES = {"swish": "silu", "linear": "clone", "identity": "clone"}


def panels(borders):
    """Gauss-Legendre points and weights between neighbouring borders: (..., P+1) -> (..., 16 P), twice."""
    half = np.diff(borders)[..., None] / 2
    shape = (*half.shape[:-2], half.shape[-2] * 16)
    return (borders[..., :-1, None] + half * (1 + NODES)).reshape(shape), (half * WEIGHTS).reshape(shape)


class Activation:
    """A function of one number with its slope, on float64 arrays.

    ``function``: the name of an activation or of an elementwise operation, a module without parameters, a callable on
    Tensors (whose slope is differentiated), or a callable on arrays (whose slope is that of its interpolant).

    Raises ``OptionError`` for an unknown name, and for what is not elementwise or not piecewise smooth.

    >>> from microgradx.flow.quadrature import Activation
    >>> Activation("hardtanh").kinks(8.0)
    array([-1.,  1.])
    """

    def __init__(self, function):
        self.name = function if isinstance(function, str) else getattr(function, "__name__", type(function).__name__)
        self.name = MODULES.get(self.name, self.name)
        if isinstance(function, str):
            name = ALIASES.get(function, function)
            if not hasattr(Differentiable, name) and name not in F.ACTIVATIONS:
                raise OptionError(f"activation: no elementwise operation is called {function!r}")
            function = getattr(F, name) if name in F.ACTIVATIONS else lambda x: getattr(x, name)()
        elif isinstance(function, Module):
            if next(function.parameters(), None) is not None:
                raise OptionError(f"activation: {self.name} has parameters; give a function of x")
            function = function.forward                             # without its hooks
        elif not callable(function):
            raise DTypeError(f"activation: a name or a callable, not {type(function).__name__}")
        self.function, self.limit, self.of_tensors = function, 0.0, False
        with ignored(TypeError):                                    # it takes arrays only
            self.of_tensors = isinstance(function(Tensor([0.5])), Tensor)
        if self.of_tensors and self._takes_arrays() and not self._keeps_graph():
            self.of_tensors = False
        self.tolerance = 1e-8 if self.of_tensors else 1e-12         # the slope of an interpolant loses three digits
        two, one = self(np.array([0.5, -1.5])), self(np.array([0.5]))
        if two.shape != (2,) or one.shape != (1,) or two[0] != one[0]:
            raise OptionError(f"activation: {self.name} is not elementwise")

    def _takes_arrays(self):
        with ignored(AttributeError, TypeError):
            return isinstance(self.function(np.array([0.5])), np.ndarray)
        return False

    def _keeps_graph(self):
        """Is the gradient that comes back the slope? It is not where ``np.where`` and its like made an array."""
        z, h = np.array([-2.17, -0.93, -0.21, 0.41, 1.33, 2.61]), 1e-6
        slope = (self._both(z + h, slope=False)[0] - self._both(z - h, slope=False)[0]) / (2 * h)
        return bool(np.allclose(self._both(z)[1], slope, rtol=1e-3, atol=1e-3, equal_nan=True))

    def __repr__(self):
        return f"Activation({self.name})"

    def __call__(self, z):
        """phi(z)."""
        return self._both(z, slope=False)[0]

    def slope(self, z):
        """phi'(z)."""
        if self.of_tensors:
            return self._both(z)[1]
        borders = self.borders(float(np.abs(z).max(initial=1.0)))
        at = np.clip(np.searchsorted(borders, z, side="right") - 1, 0, len(borders) - 2)
        t = 2 * (z - borders[at]) / (borders[at + 1] - borders[at]) - 1
        return legendre.legval(t, self._derivative[:, at], tensor=False)

    def _both(self, z, slope=True):
        """phi(z) and phi'(z), which is 0 here for a callable on arrays."""
        shape, z = np.shape(z), np.ravel(z)
        if not self.of_tensors:
            with np.errstate(all="ignore"):
                y = np.asarray(self.function(z), np.float64)
            return y.reshape(shape) if y.shape == z.shape else y, np.zeros(shape)
        with enable_grad():
            x = Tensor(z, requires_grad=slope)
            y = self.function(x)
        if y.requires_grad:
            y.backward(np.ones(y.shape))
        g = np.zeros(shape) if x.grad is None else np.asarray(x.grad).reshape(shape)
        y = np.asarray(y.detach(), np.float64)
        return y.reshape(shape) if y.shape == z.shape else y, g

    @functools.cached_property
    def largest(self):
        """The largest |phi'| on [-16, 16], to about 1e-5."""
        return float(np.abs(self.slope(np.linspace(-16, 16, 6401))).max())

    # ----- where it is smooth ------------------------------------------------------------------------------------

    def borders(self, limit):
        """The borders of its panels in [-limit, limit], and some beyond."""
        if limit > self.limit:
            self.limit = max(16.0, 2.0 ** math.ceil(math.log2(limit)))
            powers = self.limit * 0.5 ** np.arange(math.log2(self.limit) + 1)
            start = np.concatenate([-powers, [0.0], powers[::-1]])
            self._kinks = self._jumps(self._halved(start))
            self._borders = self._halved(np.union1d(start, self._kinks))
            half = np.diff(self._borders) / 2
            values = self(panels(self._borders)[0]).reshape(-1, 16)
            self._derivative = legendre.legder(SPECTRUM @ values.T) / half
        return self._borders

    def kinks(self, limit):
        """Where phi or its slope jumps, among the ``borders``."""
        self.borders(limit)
        return self._kinks

    def _halved(self, borders):
        """The borders after halving panels until all are smooth, or very narrow."""
        low, high, done = borders[:-1], borders[1:], [borders[[0, -1]]]
        for _ in range(HALVINGS):
            rough = np.zeros(len(low), bool)
            for f in self._both((low + high)[:, None] / 2 + (high - low)[:, None] / 2 * NODES):
                size, tail = np.abs(f).max(axis=1), np.abs(f @ SPECTRUM.T)[:, -3:].max(axis=1)
                rough |= ~(tail <= self.tolerance * np.maximum(size, 1e-6 * np.median(size)))
            done += [low[~rough], high[~rough]]
            middle, low, high = ((low + high) / 2)[rough], low[rough], high[rough]
            if len(low) > MOST:
                raise OptionError(f"activation: {self.name} is not piecewise smooth")
            if not len(low):
                break
            low, high = np.concatenate([low, middle]), np.concatenate([middle, high])
        return np.unique(np.concatenate([*done, low, high]))

    def _jumps(self, borders):
        """Borders at which phi or its slope differs from one side to the other, and what halving closed in on."""
        y, g = (f.reshape(-1, 16) for f in self._both(panels(borders)[0]))
        half = np.diff(borders) / 2
        g = g if self.of_tensors else y @ DERIVE.T / half[:, None]
        slack = 1e3 * self.tolerance * np.maximum(1.0, np.abs(y).max(axis=1))
        jumps = np.zeros(len(borders) - 2, bool)
        for f, unit in ((y, np.ones(len(half))), (g, half)):
            difference = np.abs((f @ LEFT)[1:] - (f @ RIGHT)[:-1])
            jumps |= difference * np.minimum(unit[1:], unit[:-1]) > np.maximum(slack[1:], slack[:-1])
        narrow = half < 1e-7 * self.limit
        jumps &= ~(narrow[1:] | narrow[:-1])
        runs = np.split(np.flatnonzero(narrow), np.flatnonzero(np.diff(np.flatnonzero(narrow)) > 1) + 1)
        closed = [run[half[run].argmin()] for run in runs if len(run)]
        return np.union1d(borders[1:-1][jumps], [(borders[k] + borders[k + 1]) / 2 for k in closed])


def elementwise(function):
    """``function`` as an ``Activation``, or None for what is none or has no slope."""
    with ignored(*FAILURES):
        found = Activation(function)
        if not found.of_tensors:
            found.borders(16.0)                                     # its slope is that of an interpolant between them
        return found
    return None


@functools.lru_cache(256)
def activation(function):
    """``function`` as an ``Activation``; the panels of one are found once.

    >>> from microgradx.flow.quadrature import activation
    >>> activation("relu") is activation("relu")
    True
    """
    return function if isinstance(function, Activation) else Activation(function)


# ----- expectations --------------------------------------------------------------------------------------------------

def nodes(phi, q):
    """Points z (N,) and weights (N,) with E f(z) = weights @ f(z) for z ~ N(0, q) and f made of phi and its slope.

    Raises ``OptionError`` for a variance that is negative or not finite.

    >>> from microgradx.flow.quadrature import nodes
    >>> z, weights = nodes("relu", 4.0)
    >>> float((weights @ z**2).round(12)), float((weights @ (z > 0)).round(12))
    (4.0, 0.5)
    """
    if not 0 <= q < math.inf:
        raise OptionError(f"expectation: the variance q={q} is not a finite number >= 0")
    s = math.sqrt(max(q, 1e-24))                            # at q = 0 the mean of both sides of a kink
    z, weights = panels(_within(activation(phi).borders(10 * s), BORDERS * s))
    return z, weights * _density(z / s) / s


def product(phi, q, c, slope=False):
    """E f(u) f(v), f = phi or its slope, for u, v ~ N(0, q) with correlation ``c``.

    u = r x + s y, v = ±r x + s y' with r^2 = q |c|, s^2 = q (1 - |c|): so it is the mean over x of g(r x) g(±r x),
    where g(m) = E f(m + s y) is f without its kinks, but steep where they were if s is small.

    >>> from microgradx.flow.quadrature import product
    >>> round(product("relu", 1.0, 0.0) * 2, 12)                      # 1/pi
    0.318309886184
    """
    phi = activation(phi)
    f = phi.slope if slope else phi
    if not -1 <= c <= 1:
        raise OptionError(f"expectation: the correlation c={c} is not between -1 and 1")
    z, weights = nodes(phi, q)
    q = max(q, 1e-24)
    r, s = math.sqrt(q * abs(c)), math.sqrt(q * (1 - abs(c)))
    if s < 1e-9 * r:
        return float(weights @ (f(z) * f(z if c > 0 else -z)))
    if r < 1e-9 * s:
        return float(weights @ f(z)) ** 2
    limit = 10 * (r + s)
    own, kinks = phi.borders(limit), phi.kinks(limit)
    steep = (kinks[:, None] + s * np.array([-9, -5, -2.5, -1, 0, 1, 2.5, 5, 9])).ravel()
    m, weights = panels(_within(np.union1d(own, steep), BORDERS * r))
    weights = weights * _density(m / r) / r
    own = own[np.abs(own) < limit] if 10 * s > np.diff(own).min() else kinks    # the panels are wider than the window

    def smoothed(m):
        inside = np.clip((own - m[:, None]) / s, BORDERS[0], BORDERS[-1])
        y, w = panels(np.sort(np.concatenate([inside, np.broadcast_to(BORDERS, (len(m), len(BORDERS)))], axis=1)))
        return (w * _density(y) * f(m[:, None] + s * y)).sum(axis=1)

    g = smoothed(m)
    return float(weights @ (g * (g if c > 0 else smoothed(-m))))


def _within(borders, frame):
    """Both together, inside the frame."""
    return np.union1d(borders[(borders > frame[0]) & (borders < frame[-1])], frame)


def _density(u):
    return np.exp(-0.5 * u * u) / math.sqrt(2 * math.pi)
