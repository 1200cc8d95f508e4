"""Special functions: composed of rows of the table, or SciPy's, with gradients written in operations.

Formulas are of the NIST Digital Library of Mathematical Functions (DLMF), where no other source stands. SciPy computes
in float64, and the result is rounded to the dtype of the operand.
"""
from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from microgradx._core.launch import by_parts
from microgradx._core.structured import HostOperation
from microgradx._core.tensor import Tensor
from microgradx.arrays.common import as_operand, broadcast, floats, of_tensor
from microgradx.errors import OptionError
from microgradx.names import make_public
from microgradx.typing import Data, Function

__all__ = ["digamma", "erfinv", "i0", "igamma", "igammac", "lgamma", "mvlgamma", "polygamma", "sinc"]

METHODS = __all__

Array = npt.NDArray[Any]


def by_scipy(name: str, slope: Function, write: Function | None = None) -> Callable[..., Tensor]:
    """The elementwise host operation ``scipy.special.name``, over float64; ``slope(y, x, *options)`` is its derivative.

    ``options`` come first in SciPy, as the order of ``polygamma``. Where SciPy has no such function, or gives other
    numbers at the ends, ``write(special, *options, x)`` computes it. As of the rows of the table, no gradient comes
    from where none arrives, whatever the derivative is.
    """
    def part(out: Array, x: Array, *options: Any) -> None:
        from scipy import special  # imported late: it takes 100 ms
        x = x.astype(np.float64)
        out[...] = write(special, *options, x) if write else getattr(special, name)(*options, x)

    def forward(out: Array, x: Array, *options: Any) -> None:
        by_parts(part, out, x, None, options)
    return HostOperation(name, lambda x, *_: [(x.shape, x.dtype)], forward,
                         [[lambda g, y, x, *options: g.mul_no_nan(slope(y, x, *options))]])


# ----- gamma ---------------------------------------------------------------------------------------------------------

def _log_gamma(special: Any, x: Array) -> Array:
    """SciPy's is -inf at -inf, where C's is inf, and inf below 1e-305, where it is -ln |x|."""
    near = (np.abs(x) < 1e-300) & (x != 0)
    found: Array = np.where(near, -np.log(np.where(near, np.abs(x), 1)), special.gammaln(np.where(near, 1, x)))
    return np.where(x == -np.inf, np.inf, found)


Operation = Callable[..., Tensor]
_polygamma: Operation = by_scipy("polygamma", lambda y, x, n: _polygamma(x, n + 1))
_digamma: Operation = by_scipy("digamma", lambda y, x: _polygamma(x, 1))
_lgamma: Operation = by_scipy("lgamma", lambda y, x: _digamma(x), _log_gamma)


@of_tensor
def lgamma(x: Tensor) -> Tensor:
    """ln |gamma(x)|; inf at 0, -1, -2, ... Gradient: ``digamma``.

    >>> import microgradx as mgx
    >>> mgx.lgamma(mgx.Tensor([5.0])).exp()
    Tensor([24.])
    """
    return _lgamma(floats(x))


@of_tensor
def digamma(x: Tensor) -> Tensor:
    """The derivative of ``lgamma``; an infinity at 0, nan at -1, -2, ... Gradient: ``polygamma(1, x)``."""
    return _digamma(floats(x))


def polygamma(n: Any, x: Any) -> Tensor:
    """The derivative of order ``n`` of ``digamma``; as a method ``x.polygamma(n)``. Gradient: that of order n + 1.

    >>> import microgradx as mgx
    >>> mgx.polygamma(1, mgx.Tensor([1.0])) * 6
    Tensor([9.869604])
    """
    n, x = (x, n) if isinstance(n, Tensor) and not isinstance(x, Tensor) else (n, x)
    if not isinstance(n, int) or n < 0:
        raise OptionError(f"polygamma: an order is an integer that is not negative, not {n!r}")
    return _polygamma(floats(x), n) if n else _digamma(floats(x))


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


def _share(name: str, scipys: str, sign: float) -> Callable[..., Tensor]:
    def forward(out: Array, a: Array, x: Array) -> None:
        from scipy import special
        out[...] = getattr(special, scipys)(a.astype(np.float64), x.astype(np.float64))

    def slope(g: Tensor, y: Tensor, a: Tensor, x: Tensor) -> Tensor:
        return g.mul_no_nan(sign * ((a - 1) * x.log() - x - lgamma(a)).exp())

    def unknown(g: Tensor, y: Tensor, a: Tensor, x: Tensor) -> Tensor:
        raise OptionError(f"{name}: there is no derivative with respect to the first argument")

    return HostOperation(name, lambda a, x: [(a.shape, a.dtype)], forward, [[unknown, slope]])


_igamma, _igammac = _share("igamma", "gammainc", 1.0), _share("igammac", "gammaincc", -1.0)


@of_tensor
def igamma(x: Tensor, other: Data) -> Tensor:
    """The regularized lower incomplete gamma function P(x, other). Gradient: with respect to ``other`` alone; that with
    respect to x raises.

    >>> import microgradx as mgx
    >>> mgx.igamma(mgx.Tensor([1.0]), mgx.Tensor([0.0]))
    Tensor([0.])
    """
    a, b = broadcast("igamma", floats(x), floats(as_operand(x, other)))
    return _igamma(a, b)


@of_tensor
def igammac(x: Tensor, other: Data) -> Tensor:
    """The regularized upper incomplete gamma function Q(x, other) = 1 - P(x, other), without cancellation.

    >>> import microgradx as mgx
    >>> mgx.igammac(mgx.Tensor([1.0]), mgx.Tensor([0.0]))
    Tensor([1.])
    """
    a, b = broadcast("igammac", floats(x), floats(as_operand(x, other)))
    return _igammac(a, b)


# ----- the error function's relatives --------------------------------------------------------------------------------

def _repeated(special: Any, n: int, x: Array) -> Array:
    """e^(x^2) times the integral of erfc taken n times, whose derivative is -2 (n + 1) times the next: DLMF 7.18.4.

    Above 1 by the continued fraction of the ratio of two of them (Gautschi 1961), for there the recurrence upwards
    cancels; else by the recurrence, 7.18.7.
    """
    if n == 0:
        found: Array = special.erfcx(x)
        return found
    far = np.where(x > 1, x, np.inf)                    # where every ratio is 0
    ratio, product = np.zeros(x.shape), np.ones(x.shape)
    for k in range(n + 200, 0, -1):
        ratio = 1 / (2 * far + 2 * (k + 1) * ratio)
        if k <= n:
            product = product * ratio
    near = np.where(x > 1, 1, x)
    before, last = np.full(x.shape, 2 / math.sqrt(math.pi)), special.erfcx(near)
    for k in range(1, n + 1):
        before, last = last, (before - 2 * near * last) / (2 * k)
    wide: Array = np.where(x > 1, special.erfcx(far) * product, last)
    return wide


def _of_ndtr(y: Tensor, x: Tensor) -> Tensor:
    """The density over ``ndtr``: nothing of it under- or overflows where the other cancels."""
    right = x > 0
    least = right.where(0.0, x) * -math.sqrt(0.5)
    return right.where(x.normpdf() / ndtr(right.where(x, 0.0)), math.sqrt(2 / math.pi) / _erfcx(least, 0))


_erfinv = by_scipy("erfinv", lambda y, x: (y * y).exp() * (math.sqrt(math.pi) / 2))
_ndtri = by_scipy("ndtri", lambda y, x: (y * y / 2).exp() * math.sqrt(2 * math.pi))
_erfcx: Operation = by_scipy("erfcx", lambda y, x, n: _erfcx(x, n + 1) * (-2 * (n + 1)), _repeated)
_log_ndtr = by_scipy("log_ndtr", _of_ndtr)


@of_tensor
def erfinv(x: Tensor) -> Tensor:
    """The number with erf(y) = x; infinities at -1 and 1, nan beyond. Gradient: sqrt(pi)/2 e^(y^2).

    >>> import microgradx as mgx
    >>> mgx.erfinv(mgx.erf(mgx.Tensor([0.5])))
    Tensor([0.5])
    """
    return _erfinv(floats(x))


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
    return _ndtri(floats(x))


@of_tensor
def erfcx(x: Tensor) -> Tensor:
    """e^(x^2) erfc(x), without underflow. Gradient: 2 x y - 2 / sqrt(pi), without cancellation.

    >>> import microgradx as mgx
    >>> mgx.special.erfcx(mgx.Tensor([0.0]))
    Tensor([1.])
    """
    return _erfcx(floats(x), 0)


@of_tensor
def log_ndtr(x: Tensor) -> Tensor:
    """ln(ndtr(x)), without underflow. Gradient: the density over ndtr(x), which is -x far below 0.

    >>> import microgradx as mgx
    >>> round(mgx.special.log_ndtr(mgx.Tensor([-100.0])).item(), 1)
    -5005.5
    """
    return _log_ndtr(floats(x))


# ----- Bessel functions ----------------------------------------------------------------------------------------------

def _bessel(special: Any, n: int, x: Array) -> Array:
    """I_n(x). SciPy's is nan at the infinities, and those of the orders from 2 on at the smallest numbers."""
    if n < 2:
        return np.where(np.isinf(x), np.sign(x) ** n * np.inf, (special.i1 if n else special.i0)(x))
    with np.errstate(under="ignore"):
        small = (x / 2) ** n / math.factorial(n)
    middle = (np.abs(x) > 1e-20) & (np.abs(x) < 1e4)
    return np.where(middle, special.iv(n, np.where(middle, x, 1)), np.where(np.abs(x) <= 1e-20, small, x**n))


def _scaled_bessel(special: Any, n: int, x: Array) -> Array:
    """e^-|x| I_n(x), by DLMF 10.40.1 where SciPy's of the orders from 2 on loses digits or is nan."""
    if n < 2:
        found: Array = (special.i1e if n else special.i0e)(x)
        return found
    size = np.abs(x)
    middle, large = (size > 1e-20) & (size < 1e4), np.where(size < 1e4, 1e4, size)
    series = term = np.ones(x.shape)
    for k in range(1, 20):
        term = term * -(4 * n * n - (2 * k - 1) ** 2) / (8 * k * large)
        series = series + term
    far = np.sign(x) ** n * series / np.sqrt(2 * math.pi * large)
    with np.errstate(under="ignore"):
        small = (x / 2) ** n / math.factorial(n)
    return np.where(middle, special.ive(n, np.where(middle, x, 1)), np.where(size <= 1e-20, small, far))


def _neighbours(function: Operation, x: Tensor, n: int) -> Tensor:
    """The derivative of I_n: the mean of I_(n-1) and I_(n+1), in which nothing cancels. DLMF 10.29.1."""
    return (function(x, n - 1) + function(x, n + 1)) * 0.5 if n else function(x, 1)


_iv: Operation = by_scipy("iv", lambda y, x, n: _neighbours(_iv, x, n), _bessel)
_ive: Operation = by_scipy("ive", lambda y, x, n: _neighbours(_ive, x, n) - x.sign() * y, _scaled_bessel)


@of_tensor
def i0(x: Tensor) -> Tensor:
    """The modified Bessel function of the first kind of order 0. Gradient: that of order 1.

    >>> import microgradx as mgx
    >>> mgx.i0(mgx.Tensor([0.0]))
    Tensor([1.])
    """
    return _iv(floats(x), 0)


@of_tensor
def i1(x: Tensor) -> Tensor:
    """The modified Bessel function of the first kind of order 1. Gradient: the mean of those of orders 0 and 2.

    >>> import microgradx as mgx
    >>> mgx.special.i1(mgx.Tensor([0.0]))
    Tensor([0.])
    """
    return _iv(floats(x), 1)


@of_tensor
def i0e(x: Tensor) -> Tensor:
    """e^-|x| i0(x), without overflow.

    >>> import microgradx as mgx
    >>> mgx.special.i0e(mgx.Tensor([0.0]))
    Tensor([1.])
    """
    return _ive(floats(x), 0)


@of_tensor
def i1e(x: Tensor) -> Tensor:
    """e^-|x| i1(x), without overflow.

    >>> import microgradx as mgx
    >>> mgx.special.i1e(mgx.Tensor([0.0]))
    Tensor([0.])
    """
    return _ive(floats(x), 1)


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


_entr = by_scipy("entr", lambda y, x: -1 - x.log(), lambda special, x: special.entr(x) + 0.0)     # not -0 at 1


@of_tensor
def entr(x: Tensor) -> Tensor:
    """-x ln(x); 0 at 0, -inf below. Gradient: -ln(x) - 1; inf at 0, nan below.

    >>> import microgradx as mgx
    >>> mgx.special.entr(mgx.Tensor([0.0, 1.0, -1.0])).tolist()
    [0.0, 0.0, -inf]
    """
    return _entr(floats(x))


@of_tensor
def xlog1py(x: Tensor, other: Data) -> Tensor:
    """x ln(1 + other); 0 where x is 0, unless other is nan. Gradient: ln(1 + other), x / (1 + other).

    >>> import microgradx as mgx
    >>> mgx.special.xlog1py(mgx.Tensor([0.0]), -1.0)
    Tensor([0.])
    """
    a, b = floats(x), floats(as_operand(x, other))
    defined = (a != 0) | (b != b) | (b > -1)    # else 0, of which no number more is known
    log = defined.where(b, 0.0).log1p()
    return defined.where((b != b).where(a * log, a.mul_no_nan(log)), 0.0)


def _write_zeta(out: Array, s: Array, q: Array) -> None:
    from scipy import special
    out[...] = special.zeta(s.astype(np.float64), q.astype(np.float64))


def _no_slope(g: Tensor, y: Tensor, s: Tensor, q: Tensor) -> Tensor:
    raise OptionError("zeta: there is no derivative with respect to the first argument")


_zeta: Operation = HostOperation("zeta", lambda s, q: [(s.shape, np.result_type(s.dtype, q.dtype))], _write_zeta,
                                 [[_no_slope, lambda g, y, s, q: g.mul_no_nan(-s * _zeta(s + 1, q))]])


@of_tensor
def zeta(x: Tensor, other: Data) -> Tensor:
    """The Hurwitz zeta function: the sum of (k + other)^-x over k >= 0, for x > 1; inf at 1. Gradient: with respect to
    ``other`` alone, -x zeta(x + 1, other); that with respect to x raises.

    >>> import microgradx as mgx
    >>> mgx.special.zeta(mgx.Tensor([2.0]), 1.0) * 6
    Tensor([9.869604])
    """
    return _zeta(*broadcast("zeta", floats(x), floats(as_operand(x, other))))


make_public(__name__)
