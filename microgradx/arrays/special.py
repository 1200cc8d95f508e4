"""Special functions: composed of rows of the table, or computed by NumPy with a gradient written in operations.

Formulas are of the NIST Digital Library of Mathematical Functions (DLMF), where no other source stands. Numbers are
computed in float64 and rounded to the dtype of the operand.
"""
from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from microgradx._core.launch import compute
from microgradx._core.structured import HostOperation
from microgradx._core.tensor import Tensor
from microgradx.arrays.common import beside, broadcast, floats, of_tensor
from microgradx.errors import OptionError, name_errors
from microgradx.typing import Data, Function

__all__ = ["digamma", "erfinv", "i0", "igamma", "igammac", "lgamma", "mvlgamma", "polygamma", "sinc"]

METHODS = __all__

Array = npt.NDArray[Any]


def by_numpy(name: str, function: Callable[..., Array], vjp: Function) -> Callable[..., Tensor]:
    """The elementwise host operation ``function``, over float64; ``vjp(g, y, x, *options)`` is its gradient."""
    def forward(out: Array, x: Array, *options: Any) -> None:
        out[...] = function(x.astype(np.float64), *options)
    return HostOperation(name, lambda x, *_: [(x.shape, x.dtype)], forward, [[vjp]])


# ----- gamma ---------------------------------------------------------------------------------------------------------

def _lgamma_of_one(x: float) -> float:
    if x <= 0 and x == math.floor(x) or math.isinf(x):
        return math.inf
    return math.lgamma(x)


_lgamma_of_each = np.frompyfunc(_lgamma_of_one, 1, 1)


def _log_gamma(x: Array) -> Array:
    return np.asarray(_lgamma_of_each(x)).astype(np.float64)


BERNOULLI = [1 / 6, -1 / 30, 1 / 42, -1 / 30, 5 / 66, -691 / 2730, 7 / 6, -3617 / 510, 43867 / 798, -174611 / 330]


def _hurwitz(s: float, q: Array) -> Array:
    """The sum of (k + q)^-s over k >= 0, for q > 0 and s > 1: Euler and Maclaurin, DLMF 25.11.28 behind 12 terms."""
    first = 12
    total = sum((q + k) ** -s for k in range(first))
    a = q + first
    total = total + a ** (1 - s) / (s - 1) + 0.5 * a ** -s
    factor, power = s, a ** (-s - 1)
    for j, b in enumerate(BERNOULLI):
        total = total + b / math.factorial(2 * j + 2) * factor * power
        factor *= (s + 2 * j + 1) * (s + 2 * j + 2)
        power = power / (a * a)
    return np.asarray(total)


def _digamma(x: Array) -> Array:
    """DLMF 5.11.2 behind 10 steps of 5.5.2; 5.5.4 for numbers below 0."""
    below = x < 0
    y = np.where(below, 1 - x, x)
    total = np.zeros_like(x)
    for _ in range(10):
        small = y < 10
        total = total - np.where(small, 1 / y, 0)
        y = np.where(small, y + 1, y)
    series = sum(b / (2 * j + 2) * y ** (-2.0 * j - 2) for j, b in enumerate(BERNOULLI))
    total = total + np.log(y) - 0.5 / y - series
    fraction = x - np.round(x)
    total = np.where(below, total - np.pi / np.tan(np.pi * fraction), total)
    total = np.where(below & (fraction == 0), np.nan, total)
    total = np.where(x == 0, np.copysign(np.inf, -x), total)
    return np.where(x == np.inf, np.inf, np.where(x == -np.inf, np.nan, total))


def _polygamma(x: Array, n: int) -> Array:
    """(-1)^(n+1) n! zeta(n + 1, x), DLMF 5.15.2."""
    if n == 0:
        return _digamma(x)
    with np.errstate(all="ignore"):
        return np.asarray((-1) ** (n + 1) * math.factorial(n) * _hurwitz_of_any(n + 1, x))


def _hurwitz_of_any(s: int, q: Array) -> Array:
    """``_hurwitz`` for an integer s, also below 0: the terms there are those of two series upwards; inf at integers."""
    steps = np.where(np.isfinite(q), np.maximum(np.ceil(-q), 0), 0)
    up = q + steps                              # 0 .. 1 where q is below 0
    pole = (up == 0) | (steps > 0) & (up == 1)
    up = np.where(pole, 0.5, up)
    below = np.where(steps > 0, 1 - up, 1.0)
    terms = np.where(steps > 0, _hurwitz(s, below) - _hurwitz(s, below + steps), 0)
    found = np.where(np.isposinf(q), 0.0, _hurwitz(s, np.where(np.isposinf(q), 1.0, up)) + (-1) ** s * terms)
    return np.where(pole, np.inf, np.where(np.isneginf(q), np.nan, found))


Operation = Callable[..., Tensor]
_log_gamma_op: Operation = by_numpy("lgamma", _log_gamma, lambda g, y, x: g * _polygamma_op(x, 0))
_polygamma_op: Operation = by_numpy("polygamma", _polygamma, lambda g, y, x, n: g * _polygamma_op(x, n + 1))


@of_tensor
def lgamma(x: Tensor) -> Tensor:
    """ln |gamma(x)|; inf at 0, -1, -2, ... Gradient: ``digamma``.

    >>> import microgradx as mgx
    >>> mgx.lgamma(mgx.Tensor([5.0])).exp()
    Tensor([24.])
    """
    return _log_gamma_op(floats(x))


@of_tensor
def digamma(x: Tensor) -> Tensor:
    """The derivative of ``lgamma``; an infinity at 0, nan at -1, -2, ... Gradient: ``polygamma(1, x)``."""
    return _polygamma_op(floats(x), 0)


def polygamma(n: Any, x: Any) -> Tensor:
    """The derivative of order ``n`` of ``digamma``; as a method ``x.polygamma(n)``. Gradient: that of order n + 1.

    >>> import microgradx as mgx
    >>> mgx.polygamma(1, mgx.Tensor([1.0])) * 6
    Tensor([9.869604])
    """
    n, x = (x, n) if isinstance(n, Tensor) and not isinstance(x, Tensor) else (n, x)
    if not isinstance(n, int) or n < 0:
        raise OptionError(f"polygamma: an order is an integer that is not negative, not {n!r}")
    return _polygamma_op(floats(x), n)


@of_tensor
def mvlgamma(x: Tensor, p: int) -> Tensor:
    """The logarithm of the multivariate gamma function of dimension ``p``: of x > (p - 1) / 2. DLMF 35.3.4.

    >>> import microgradx as mgx
    >>> mgx.mvlgamma(mgx.Tensor([3.0]), 1).exp()
    Tensor([2.])
    """
    if not isinstance(p, int) or p < 1:
        raise OptionError(f"mvlgamma: p is an integer from 1 on, not {p!r}")
    x = floats(x)
    halves = Tensor(np.arange(p) / 2, dtype=x.dtype)
    return lgamma(x.unsqueeze(-1) - halves).sum(-1) + p * (p - 1) / 4 * math.log(math.pi)


def _lower_gamma(a: Array, x: Array) -> Array:
    """The share of gamma(a) below x: the series DLMF 8.7.1, or 1 - the continued fraction 8.9.2 where x > a + 1."""
    with np.errstate(all="ignore"):
        scale = np.exp(a * np.log(x) - x - _log_gamma(a))
        term = total = 1 / a
        for k in range(1, 500):
            term = term * x / (a + k)
            total = total + term
        low = scale * total
        b = x + 1 - a
        c, d = np.full_like(b, 1e300), 1 / b
        fraction = d
        for k in range(1, 300):                 # Lentz; Numerical Recipes, 6.2
            top = -k * (k - a)
            b = b + 2
            d, c = 1 / (top * d + b), b + top / c
            fraction = fraction * d * c
        high = 1 - scale * fraction
        found = np.where(x > a + 1, high, low)
        found = np.where(x == 0, 0.0, np.where(a == 0, 1.0, np.where(x == np.inf, 1.0, found)))
        return np.where((x < 0) | (a < 0) | np.isnan(x) | np.isnan(a), np.nan, found)


def _upper_gamma(a: Array, x: Array) -> Array:
    with np.errstate(all="ignore"):
        scale = np.exp(a * np.log(x) - x - _log_gamma(a))
        b = x + 1 - a
        c, d = np.full_like(b, 1e300), 1 / b
        fraction = d
        for k in range(1, 300):
            top = -k * (k - a)
            b = b + 2
            d, c = 1 / (top * d + b), b + top / c
            fraction = fraction * d * c
        return np.where((x > a + 1) & (a > 0) & (x < np.inf), scale * fraction, 1 - _lower_gamma(a, x))


def _share(name: str, function: Callable[[Array, Array], Array], sign: float) -> Callable[..., Tensor]:
    def forward(out: Array, a: Array, x: Array) -> None:
        out[...] = function(a.astype(np.float64), x.astype(np.float64))

    def slope(g: Tensor, y: Tensor, a: Tensor, x: Tensor) -> Tensor:
        return g * sign * ((a - 1) * x.log() - x - lgamma(a)).exp()

    def unknown(g: Tensor, y: Tensor, a: Tensor, x: Tensor) -> Tensor:
        raise OptionError(f"{name}: there is no derivative with respect to the first argument")

    return HostOperation(name, lambda a, x: [(a.shape, a.dtype)], forward, [[unknown, slope]])


_igamma, _igammac = _share("igamma", _lower_gamma, 1.0), _share("igammac", _upper_gamma, -1.0)


@of_tensor
def igamma(x: Tensor, other: Data) -> Tensor:
    """The regularized lower incomplete gamma function P(x, other). Gradient: with respect to ``other`` alone; that with
    respect to x raises.

    >>> import microgradx as mgx
    >>> mgx.igamma(mgx.Tensor([1.0]), mgx.Tensor([0.0]))
    Tensor([0.])
    """
    a, b = broadcast("igamma", floats(x), floats(beside(x, other)))
    return _igamma(a, b)


@of_tensor
def igammac(x: Tensor, other: Data) -> Tensor:
    """The regularized upper incomplete gamma function Q(x, other) = 1 - P(x, other), without cancellation.

    >>> import microgradx as mgx
    >>> mgx.igammac(mgx.Tensor([1.0]), mgx.Tensor([0.0]))
    Tensor([1.])
    """
    a, b = broadcast("igammac", floats(x), floats(beside(x, other)))
    return _igammac(a, b)


# ----- the error function's relatives --------------------------------------------------------------------------------

def _normal_quantile(q: Array, tail: Array) -> Array:
    """The number below which q + 1/2 of a normal distribution is, where ``tail`` is the smaller share beyond it.
    Wichura (1988), algorithm AS 241."""
    def ratio(r: Array, top: list[float], bottom: list[float]) -> Array:
        return np.polyval(top, r) / np.polyval(bottom, r)

    with np.errstate(all="ignore"):
        r = 0.180625 - q * q
        middle = q * ratio(r, [2509.0809287301226727, 33430.575583588128105, 67265.770927008700853,
                               45921.953931549871457, 13731.693765509461125, 1971.5909503065514427,
                               133.14166789178437745, 3.387132872796366608],
                           [5226.495278852545925, 28729.085735721942674, 39307.89580009271061, 21213.794301586595867,
                            5394.1960214247511077, 687.1870074920579083, 42.313330701600911252, 1.0])
        r = np.sqrt(-np.log(tail))
        near = ratio(r - 1.6, [7.7454501427834140764e-4, 0.0227238449892691845833, 0.24178072517745061177,
                               1.27045825245236838258, 3.64784832476320460504, 5.7694972214606914055,
                               4.6303378461565452959, 1.42343711074968357734],
                     [1.05075007164441684324e-9, 5.475938084995344946e-4, 0.0151986665636164571966,
                      0.14810397642748007459, 0.68976733498510000455, 1.6763848301838038494, 2.05319162663775882187,
                      1.0])
        far = ratio(r - 5, [2.01033439929228813265e-7, 2.71155556874348757815e-5, 0.0012426609473880784386,
                            0.026532189526576123093, 0.29656057182850489123, 1.7848265399172913358,
                            5.4637849111641143699, 6.6579046435011037772],
                    [2.04426310338993978564e-15, 1.4215117583164458887e-7, 1.8463183175100546818e-5,
                     7.868691311456132591e-4, 0.0148753612908506148525, 0.13692988092273580531, 0.59983220655588793769,
                     1.0])
        outer = np.sign(q) * np.where(r <= 5, near, far)
        return np.where(np.abs(q) <= 0.425, middle, np.where(tail == 0, np.sign(q) * np.inf, outer))


def _erfinv(x: Array) -> Array:
    found = _normal_quantile(x / 2, (1 - np.abs(x)) / 2) / math.sqrt(2)
    return np.where(np.abs(x) > 1, np.nan, found)


def _ndtri(p: Array) -> Array:
    found = _normal_quantile(p - 0.5, np.minimum(p, 1 - p))
    return np.where((p < 0) | (p > 1), np.nan, found)


def _erfcx(x: Array) -> Array:
    """e^(x^2) erfc(x): from 2 on by the continued fraction DLMF 7.9.2, below by the C library's erfc."""
    large = x >= 2
    t = np.where(large, x, 2.0)
    fraction = t
    for k in range(120, 0, -1):
        fraction = t + (k / 2) / fraction
    small = np.where(large, 0.0, x)
    erfc = np.asarray(np.frompyfunc(math.erfc, 1, 1)(small)).astype(np.float64)
    with np.errstate(all="ignore"):
        return np.where(large, 1 / (math.sqrt(math.pi) * fraction), np.exp(small * small) * erfc)


_erfinv_op = by_numpy("erfinv", _erfinv, lambda g, y, x: g * (y * y).exp() * (math.sqrt(math.pi) / 2))
_ndtri_op = by_numpy("ndtri", _ndtri, lambda g, y, x: g * (y * y / 2).exp() * math.sqrt(2 * math.pi))
_erfcx_op = by_numpy("erfcx", _erfcx, lambda g, y, x: g * (2 * x * y - 2 / math.sqrt(math.pi)))


@of_tensor
def erfinv(x: Tensor) -> Tensor:
    """The number with erf(y) = x; infinities at -1 and 1, nan beyond. Gradient: sqrt(pi)/2 e^(y^2).

    >>> import microgradx as mgx
    >>> mgx.erfinv(mgx.erf(mgx.Tensor([0.5])))
    Tensor([0.5])
    """
    return _erfinv_op(floats(x))


@of_tensor
def ndtr(x: Tensor) -> Tensor:
    """The normal distribution function: (1 + erf(x / sqrt(2))) / 2, without cancellation. Gradient: its density.

    >>> import microgradx as mgx
    >>> mgx.special.ndtr(mgx.Tensor([0.0]))
    Tensor([0.5])
    """
    return (floats(x) * -math.sqrt(0.5)).erfc() * 0.5


@of_tensor
def ndtri(x: Tensor) -> Tensor:
    """The inverse of ``ndtr``; infinities at 0 and 1, nan beyond.

    >>> import microgradx as mgx
    >>> mgx.special.ndtri(mgx.Tensor([0.5]))
    Tensor([0.])
    """
    return _ndtri_op(floats(x))


@of_tensor
def erfcx(x: Tensor) -> Tensor:
    """e^(x^2) erfc(x), without underflow. Gradient: 2 x y - 2 / sqrt(pi).

    >>> import microgradx as mgx
    >>> mgx.special.erfcx(mgx.Tensor([0.0]))
    Tensor([1.])
    """
    return _erfcx_op(floats(x))


@of_tensor
def log_ndtr(x: Tensor) -> Tensor:
    """ln(ndtr(x)), without underflow.

    >>> import microgradx as mgx
    >>> round(mgx.special.log_ndtr(mgx.Tensor([-100.0])).item(), 1)
    -5005.5
    """
    x = floats(x)
    low = x < -1
    left, right = low.where(x, -1.0), low.where(-1.0, x)
    return low.where((erfcx(left * -math.sqrt(0.5)) / 2).log() - left * left / 2,
                     (-((right * math.sqrt(0.5)).erfc() / 2)).log1p())


# ----- Bessel functions ----------------------------------------------------------------------------------------------

def _bessel(x: Array, order: int) -> Array:
    """e^-|x| I_order(x), order 0 or 1: the mean of DLMF 10.32.3 over 64 places, exact up to 30; then 10.40.1."""
    size = np.abs(x)
    near = np.minimum(size, 30.0)
    places = np.cos((np.arange(32) + 0.5) * (np.pi / 64))
    total = np.zeros_like(size)
    for c in places:
        total = total + (np.cosh(near * c) if order == 0 else c * np.sinh(near * c))
    inner = total / 32 * np.exp(-near)
    large = np.maximum(size, 30.0)
    term = series = np.ones_like(size)
    for k in range(1, 25):
        term = term * -((4 * order * order - (2 * k - 1) ** 2) / (8 * k * large))
        series = series + term
    with np.errstate(all="ignore"):
        outer = np.where(large == np.inf, 0.0, series / np.sqrt(2 * np.pi * large))
    found = np.where(size <= 30, inner, outer)
    found = np.where(np.isnan(x), np.nan, found)
    return found if order == 0 else np.copysign(1, x) * found


def _unscaled(x: Array, order: int) -> Array:
    with np.errstate(all="ignore"):
        half = np.exp(np.abs(x) / 2)            # e^x may overflow where the result does not
        return np.where(np.isinf(x), np.copysign(np.inf, x if order else np.abs(x)), _bessel(x, order) * half * half)


def _over(y: Tensor, x: Tensor, at_zero: float) -> Tensor:
    """y / x, and what it is at 0."""
    zero = x == 0
    return zero.where(at_zero, y / zero.where(1.0, x))


_i0: Operation = by_numpy("i0", lambda x: _unscaled(x, 0), lambda g, y, x: g * _i1(x))
_i1: Operation = by_numpy("i1", lambda x: _unscaled(x, 1), lambda g, y, x: g * (_i0(x) - _over(_i1(x), x, 0.5)))
_i0e: Operation = by_numpy("i0e", lambda x: _bessel(x, 0), lambda g, y, x: g * (_i1e(x) - x.sign() * y))
_i1e: Operation = by_numpy("i1e", lambda x: _bessel(x, 1),
                           lambda g, y, x: g * (_i0e(x) - x.sign() * y - _over(_i1e(x), x, 0.5)))


@of_tensor
def i0(x: Tensor) -> Tensor:
    """The modified Bessel function of the first kind of order 0. Gradient: that of order 1.

    >>> import microgradx as mgx
    >>> mgx.i0(mgx.Tensor([0.0]))
    Tensor([1.])
    """
    return _i0(floats(x))


@of_tensor
def i1(x: Tensor) -> Tensor:
    """The modified Bessel function of the first kind of order 1. Gradient: i0(x) - i1(x) / x; 1/2 at 0.

    >>> import microgradx as mgx
    >>> mgx.special.i1(mgx.Tensor([0.0]))
    Tensor([0.])
    """
    return _i1(floats(x))


@of_tensor
def i0e(x: Tensor) -> Tensor:
    """e^-|x| i0(x), without overflow.

    >>> import microgradx as mgx
    >>> mgx.special.i0e(mgx.Tensor([0.0]))
    Tensor([1.])
    """
    return _i0e(floats(x))


@of_tensor
def i1e(x: Tensor) -> Tensor:
    """e^-|x| i1(x), without overflow.

    >>> import microgradx as mgx
    >>> mgx.special.i1e(mgx.Tensor([0.0]))
    Tensor([0.])
    """
    return _i1e(floats(x))


# ----- others --------------------------------------------------------------------------------------------------------

@of_tensor
def sinc(x: Tensor) -> Tensor:
    """sin(pi x) / (pi x), 1 at 0; near 0 by its series, so that derivatives of every order are right there.

    >>> import microgradx as mgx
    >>> mgx.sinc(mgx.Tensor([0.0, 0.0]))
    Tensor([1., 1.])
    """
    u = floats(x) * math.pi
    near = u.detach().abs() < 0.5
    small, large = near.where(u, 0.0).square(), near.where(1.0, u)
    series: Any = 0.0
    for k in range(8, -1, -1):                  # up to u^16 / 17!
        series = series * small + (-1) ** k / math.factorial(2 * k + 1)
    return near.where(series, large.sin() / large)


@of_tensor
def entr(x: Tensor) -> Tensor:
    """-x ln(x); 0 at 0, -inf below. Gradient: -ln(x) - 1; inf at 0.

    >>> import microgradx as mgx
    >>> mgx.special.entr(mgx.Tensor([0.0, 1.0, -1.0])).tolist()
    [0.0, 0.0, -inf]
    """
    x = floats(x)
    return (x < 0).where(-np.inf, 0.0 - x.xlogy(x))


@of_tensor
def xlog1py(x: Tensor, other: Data) -> Tensor:
    """x ln(1 + other); 0 where x is 0, unless other is nan. Gradient: ln(1 + other), x / (1 + other).

    >>> import microgradx as mgx
    >>> mgx.special.xlog1py(mgx.Tensor([0.0]), -1.0)
    Tensor([0.])
    """
    a, b = floats(x), floats(beside(x, other))
    defined = (a != 0) | (b != b) | (b > -1)    # else 0, of which no number more is known
    return defined.where(a * defined.where(b, 0.0).log1p(), 0.0)


@of_tensor
def zeta(x: Tensor, other: Data) -> Tensor:
    """The Hurwitz zeta function: the sum of (k + other)^-x over k >= 0, for x > 1; inf at 1. No gradient."""
    a, b = broadcast("zeta", floats(x), floats(beside(x, other)))
    return compute(_zeta, a.detach(), b.detach())


def _zeta(s: Array, q: Array) -> Array:
    dtype = np.result_type(s, q)
    s, q = np.broadcast_arrays(s.astype(np.float64), q.astype(np.float64))
    found = np.empty(s.shape)
    with np.errstate(all="ignore"):
        for at in np.ndindex(s.shape):
            a, b = float(s[at]), float(q[at])
            if not a > 1:
                found[at] = math.inf if a == 1 else math.nan
            elif b > 0:
                found[at] = _hurwitz(a, np.array(b))
            elif b == math.floor(b):
                found[at] = math.inf
            elif a != math.floor(a):
                found[at] = math.nan
            else:
                found[at] = _hurwitz_of_any(int(a), np.array(b))
    return found.astype(dtype)


name_errors(__name__)
