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

from microgradx._core.launch import by_parts, compute
from microgradx._core.structured import HostOperation
from microgradx._core.tensor import Tensor
from microgradx.arrays.common import as_operand, broadcast, floats, of_tensor
from microgradx.errors import OptionError
from microgradx.names import make_public
from microgradx.typing import Data, Function

__all__ = ["digamma", "erfinv", "i0", "igamma", "igammac", "lgamma", "mvlgamma", "polygamma", "sinc"]

METHODS = __all__

Array = npt.NDArray[Any]


def by_scipy(name: str, vjp: Function, ours: str | None = None) -> Callable[..., Tensor]:
    """The elementwise host operation ``scipy.special.name``, over float64; ``vjp(g, y, x, *options)`` is its gradient.

    ``options`` come first in SciPy, as the order of ``polygamma``. ``ours`` names the operation, where that differs.
    """
    def part(out: Array, x: Array, *options: Any) -> None:
        from scipy import special  # imported late: it takes 100 ms
        out[...] = getattr(special, name)(*options, x.astype(np.float64))

    def forward(out: Array, x: Array, *options: Any) -> None:
        by_parts(part, out, x, None, options)
    return HostOperation(ours or name, lambda x, *_: [(x.shape, x.dtype)], forward, [[vjp]])


# ----- gamma ---------------------------------------------------------------------------------------------------------

Operation = Callable[..., Tensor]
_polygamma: Operation = by_scipy("polygamma", lambda g, y, x, n: g * _polygamma(x, n + 1))
_digamma: Operation = by_scipy("digamma", lambda g, y, x: g * _polygamma(x, 1))
_lgamma: Operation = by_scipy("gammaln", lambda g, y, x: g * _digamma(x), "lgamma")


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
        return g * sign * ((a - 1) * x.log() - x - lgamma(a)).exp()

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

_erfinv = by_scipy("erfinv", lambda g, y, x: g * (y * y).exp() * (math.sqrt(math.pi) / 2))
_ndtri = by_scipy("ndtri", lambda g, y, x: g * (y * y / 2).exp() * math.sqrt(2 * math.pi))
_erfcx = by_scipy("erfcx", lambda g, y, x: g * (2 * x * y - 2 / math.sqrt(math.pi)))
_log_ndtr = by_scipy("log_ndtr", lambda g, y, x: g * (-x * x / 2 - y).exp() / math.sqrt(2 * math.pi))


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
    """e^(x^2) erfc(x), without underflow. Gradient: 2 x y - 2 / sqrt(pi).

    >>> import microgradx as mgx
    >>> mgx.special.erfcx(mgx.Tensor([0.0]))
    Tensor([1.])
    """
    return _erfcx(floats(x))


@of_tensor
def log_ndtr(x: Tensor) -> Tensor:
    """ln(ndtr(x)), without underflow.

    >>> import microgradx as mgx
    >>> round(mgx.special.log_ndtr(mgx.Tensor([-100.0])).item(), 1)
    -5005.5
    """
    return _log_ndtr(floats(x))


# ----- Bessel functions ----------------------------------------------------------------------------------------------

def _over(y: Tensor, x: Tensor, at_zero: float) -> Tensor:
    """y / x, and what it is at 0."""
    zero = x == 0
    return zero.where(at_zero, y / zero.where(1.0, x))


_i0: Operation = by_scipy("i0", lambda g, y, x: g * _i1(x))
_i1: Operation = by_scipy("i1", lambda g, y, x: g * (_i0(x) - _over(y, x, 0.5)))
_i0e: Operation = by_scipy("i0e", lambda g, y, x: g * (_i1e(x) - x.sign() * y))
_i1e: Operation = by_scipy("i1e", lambda g, y, x: g * (_i0e(x) - x.sign() * y - _over(y, x, 0.5)))


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
    a, b = floats(x), floats(as_operand(x, other))
    defined = (a != 0) | (b != b) | (b > -1)    # else 0, of which no number more is known
    return defined.where(a * defined.where(b, 0.0).log1p(), 0.0)


@of_tensor
def zeta(x: Tensor, other: Data) -> Tensor:
    """The Hurwitz zeta function: the sum of (k + other)^-x over k >= 0, for x > 1; inf at 1. No gradient."""
    a, b = broadcast("zeta", floats(x), floats(as_operand(x, other)))
    return compute(_zeta, a.detach(), b.detach())


def _zeta(s: Array, q: Array) -> Array:
    from scipy import special
    found: Array = special.zeta(s.astype(np.float64), q.astype(np.float64)).astype(np.result_type(s, q))
    return found


make_public(__name__)
