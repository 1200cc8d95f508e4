"""Functions that densities need: of the gamma distribution and of the error function, with their derivatives."""
from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from microgradx._core import generator as core
from microgradx._core.generator import Generator
from microgradx._core.launch import by_parts
from microgradx._core.structured import HostOperation
from microgradx._core.tensor import Tensor
from microgradx.arrays.special import lgamma
from microgradx.errors import GraphError
from microgradx.random import generator as generator_of

Array = npt.NDArray[Any]


def _like(x: Tensor, *_: Any) -> list[tuple[tuple[int, ...], Any]]:
    return [(x.shape, x.dtype)]


def log_beta(a: Tensor, b: Tensor) -> Tensor:
    """The logarithm of the beta function."""
    result: Tensor = lgamma(a) + lgamma(b) - lgamma(a + b)
    return result


def log1p_square(x: Tensor) -> Tensor:
    """log(1 + x^2), also where x^2 overflows."""
    far = x.abs() > 1
    near, large = far.where(0.0, x), far.where(x, 1.0).abs()
    return far.where(2 * large.log() + large.reciprocal().square().log1p(), near.square().log1p())


# ----- the incomplete gamma function, and draws of the gamma distribution --------------------------------------------

WEIGHTS = np.array([1.0, -9.0, 45.0]) / 60              # of central differences of order 6, from far to near


def _slope_of_log(function: Any, a: Array, x: Array) -> Array:
    """The derivative by ``a`` of the logarithm of ``function(a, x)``."""
    h = 0.02 * np.minimum(a, np.sqrt(a))                # of the scale on which it changes
    total = np.zeros_like(x)
    for weight, k in zip(WEIGHTS, (3, 2, 1)):
        total += weight * (np.log(function(a + k * h, x)) - np.log(function(a - k * h, x)))
    slope: Array = total / h
    return slope


def slope_of_gammainc(a: Array, x: Array) -> Array:
    """The derivative of the regularised lower incomplete gamma function P(a, x) by a.

    By differences of log P below the median and of log(1 - P) above it, where each is smooth and exact: 1e-9 of it.
    """
    from scipy import special
    a, x = np.broadcast_arrays(np.asarray(a, np.float64), np.asarray(x, np.float64))
    low, high = special.gammainc(a, x), special.gammaincc(a, x)
    with np.errstate(all="ignore"):
        left = low * _slope_of_log(special.gammainc, a, x)
        right = -high * _slope_of_log(special.gammaincc, a, x)
    slope: Array = np.where(low < high, left, right)
    return slope


def _draw_slope_into(out: Array, a: Array, x: Array) -> None:
    """How a draw x moves with the concentration a: -(dP/da) / (dP/dx), implicit reparameterisation."""
    from scipy import special
    a, x = a.astype(np.float64), np.maximum(x, np.finfo(x.dtype).tiny).astype(np.float64)
    with np.errstate(all="ignore"):
        density = np.exp((a - 1) * np.log(x) - x - special.gammaln(a))
        slope = -slope_of_gammainc(a, x) / density
    out[...] = np.where(np.isfinite(slope), slope, 0.0)


def _refuse(g: Tensor, *_: Any) -> Tensor:
    raise GraphError("gamma: a draw of the gamma, beta or Dirichlet distribution has no second derivative by its "
                     "concentration")


_draw_slope = HostOperation("gamma", lambda a, x: [(x.shape, x.dtype)], _draw_slope_into, [[_refuse, _refuse]])


def _gamma_into(out: Array, a: Array, seed: Array) -> None:
    by_parts(_gamma_part, out, a, None, (np.random.default_rng(int(seed)),))


def _gamma_part(out: Array, a: Array, rng: np.random.Generator) -> None:
    out[...] = np.maximum(rng.standard_gamma(a.astype(np.float64)), np.finfo(out.dtype).tiny)


_standard_gamma = HostOperation("gamma", _like, _gamma_into,
                                [[lambda g, y, a, seed: g * _draw_slope(a, y), lambda g, *_: None]])


def draw_seed() -> Tensor:
    """A number of the shared generator that seeds one of NumPy's: another one at each replay of a program."""
    shared = generator_of(None)
    assert isinstance(shared, Generator)
    return core.integers(shared, (), 0, 1 << 63)


def standard_gamma(concentration: Tensor) -> Tensor:
    """Draws of the gamma distribution with rate 1, with their gradient by the concentration.

    Figurnov, Mohamed and Mnih (2018), implicit reparameterisation.
    """
    drawn: Tensor = _standard_gamma(concentration, draw_seed())
    return drawn


def _gammainc_into(out: Array, a: Array, x: Array) -> None:
    from scipy import special
    out[...] = special.gammainc(a, x)


def _gammainc_slope_into(out: Array, a: Array, x: Array) -> None:
    out[...] = slope_of_gammainc(a, x)


def _refuse_slope(g: Tensor, *_: Any) -> Tensor:
    raise GraphError("gammainc: there is no second derivative by the concentration")


_gammainc_slope = HostOperation("gammainc", lambda a, x: [(x.shape, x.dtype)], _gammainc_slope_into,
                                [[_refuse_slope, _refuse_slope]])
gammainc = HostOperation("gammainc", lambda a, x: [(x.shape, x.dtype)], _gammainc_into, [[
    lambda g, y, a, x: g * _gammainc_slope(a, x),
    lambda g, y, a, x: g * ((a - 1) * x.log() - x - lgamma(a)).exp()]])
