"""Means, spreads, differences and integrals along an axis, those that leave nan out, and running maxima."""
from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from microgradx._core.creation import integers
from microgradx._core.structured import HostOperation, power_of
from microgradx._core.tensor import Tensor, concat
from microgradx._core.views import axis_of
from microgradx.arrays.common import at, axes_of, floats, least_axes, of_tensor, tensor
from microgradx.errors import DTypeError, OptionError, ShapeError
from microgradx.names import make_public
from microgradx.typing import Axes, Axis, Data

__all__ = ["aminmax", "corrcoef", "count_nonzero", "cov", "cummax", "cummin", "cumulative_trapezoid", "diff",
           "gradient", "logcumsumexp", "nanmean", "nansum", "std_mean", "trapezoid", "trapz", "var_mean"]

METHODS = """aminmax corrcoef count_nonzero cov cummax cummin diff logcumsumexp nanmean nansum""".split()


class Running(NamedTuple):
    """What ``cummax`` and ``cummin`` give."""
    values: Tensor
    indices: Tensor


class MinMax(NamedTuple):
    """What ``aminmax`` gives."""
    min: Tensor
    max: Tensor


# ----- counts and moments ------------------------------------------------------------------------------------------

@of_tensor
def count_nonzero(x: Tensor, axis: Axes = None, keepdims: bool = False) -> Tensor:
    """How many elements are not 0; int64."""
    return (x != 0).sum(axis, keepdims)


@of_tensor
def nansum(x: Tensor, axis: Axes = None, keepdims: bool = False, *, dtype: Any = None) -> Tensor:
    """The sum of what is not nan.

    >>> import microgradx as mgx
    >>> mgx.nansum(mgx.Tensor([1.0, float("nan"), 2.0]))
    Tensor(3.)
    """
    y = x if x.dtype.kind != "f" else (x != x).where(0.0, x)
    return (y if dtype is None else y.astype(dtype)).sum(axis, keepdims)


@of_tensor
def nanmean(x: Tensor, axis: Axes = None, keepdims: bool = False, *, dtype: Any = None) -> Tensor:
    """The mean of what is not nan; nan where there is nothing else."""
    y = floats(x) if dtype is None else x.astype(dtype)
    whole = (y == y).where(y, 0.0).mean(axis, keepdims)             # whose sum does not overflow
    n = y.size // max(whole.size, 1)
    return whole * (n / (y == y).sum(axis, keepdims).astype(y.dtype))


def deviation(op: str, x: Tensor, axis: Any, correction: float, keepdims: bool) -> tuple[Any, Tensor]:
    """(var or std, mean); a bool in the place of the axis is torch's ``unbiased``, of all elements."""
    axis, correction = (None, axis) if isinstance(axis, bool) else (axis, correction)
    correction = 1 if correction is None else correction + 0                    # True is 1
    x = floats(x)
    return getattr(x, op)(axis, correction, keepdims), x.mean(axis, keepdims)


@of_tensor
def var_mean(x: Tensor, axis: Axes = None, ddof: float = 1, keepdims: bool = False) -> tuple[Tensor, Tensor]:
    """(var, mean) over ``axis``. The sum of squares is divided by n - ``ddof``, 1 unless given, as in torch, which
    alone has this function.

    >>> import microgradx as mgx
    >>> mgx.var_mean(mgx.Tensor([1.0, 2.0, 3.0]))
    (Tensor(1.), Tensor(2.))
    """
    return deviation("var", x, axis, ddof, keepdims)


@of_tensor
def std_mean(x: Tensor, axis: Axes = None, ddof: float = 1, keepdims: bool = False) -> tuple[Tensor, Tensor]:
    """(std, mean) over ``axis``, with n - ``ddof``, 1 unless given, as ``var_mean``."""
    return deviation("std", x, axis, ddof, keepdims)


@of_tensor
def aminmax(x: Tensor, *, axis: Axis = None, keepdims: bool = False) -> MinMax:
    """(the smallest, the largest) element over ``axis``, or of all. The gradient is split evenly among ties."""
    return MinMax(x.amin(axis, keepdims), x.amax(axis, keepdims))


def weights_of(op: str, weights: Data | None, count: int, whole: bool) -> Tensor | None:
    """Weights of the observations: none negative, of integers where they are counts."""
    if weights is None:
        return None
    w = tensor(weights)
    if whole and w.dtype.kind == "f":
        raise DTypeError(f"{op}: fweights are integers, not {w.dtype}")
    if w.shape != (count,):
        raise ShapeError(f"{op}: weights of shape {w.shape} for {count} observations")
    if bool((w < 0).sum() > 0):
        raise OptionError(f"{op}: weights are not negative")
    return w


@of_tensor
def cov(x: Tensor, *, ddof: float = 1, fweights: Data | None = None, aweights: Data | None = None) -> Tensor:
    """The covariance of the rows of (variables, observations); of one variable the variance, without axes.

    The sum of products is divided by n - ``ddof``. ``fweights`` counts how often an observation was made, ``aweights``
    weighs it.

    >>> import microgradx as mgx
    >>> mgx.cov(mgx.Tensor([[1.0, 2.0, 3.0], [1.0, 0.0, -1.0]])).tolist()
    [[1.0, -1.0], [-1.0, 1.0]]
    """
    if x.ndim > 2:
        raise ShapeError(f"cov: of at most two axes, not of shape {x.shape}")
    rows = floats(x) if x.ndim == 2 else floats(x).reshape(1, x.size)
    unit = power_of(rows, 1).clip(float(np.finfo(rows.dtype).tiny) ** 0.5)      # whose square is a number
    found = _cov(rows / unit, ddof, fweights, aweights) * unit * unit.T
    return found if rows.shape[0] > 1 else found.reshape(())


def _cov(rows: Tensor, ddof: float, fweights: Data | None, aweights: Data | None) -> Tensor:
    """``cov`` of rows of numbers of about 1, whose squares are numbers of their dtype."""
    n = rows.shape[1]
    counts = weights_of("cov", fweights, n, True)
    weigh = weights_of("cov", aweights, n, False)
    w = counts if weigh is None else weigh if counts is None else counts * weigh
    if w is None:
        centred, scaled = rows - rows.mean(1, True), rows - rows.mean(1, True)
        norm: float | Tensor = max(n - ddof, 0.0)
    else:
        w = w.astype(rows.dtype)
        total = w.sum()
        centred = rows - (rows * w).sum(1, True) / total
        scaled = centred * w
        norm = total - ddof if weigh is None else total - ddof * (w * weigh.astype(rows.dtype)).sum() / total
        norm = norm.clip(0.0, None)
    return centred @ scaled.T / norm


@of_tensor
def corrcoef(x: Tensor) -> Tensor:
    """The correlations of the rows of (variables, observations), between -1 and 1.

    >>> import microgradx as mgx
    >>> mgx.corrcoef(mgx.Tensor([[1.0, 2.0, 3.0], [1.0, 0.0, -1.0]])).tolist()
    [[1.0, -1.0], [-1.0, 1.0]]
    """
    if x.ndim > 2:
        raise ShapeError(f"corrcoef: of at most two axes, not of shape {x.shape}")
    rows = floats(x) if x.ndim == 2 else floats(x).reshape(1, x.size)
    c = _cov(rows / power_of(rows, 1), 1, None, None)
    if c.size == 1:
        return (c / c).reshape(())
    along = np.arange(c.shape[0])
    spread = c[along, along].sqrt()
    return (c / spread.unsqueeze(1) / spread).clip(-1.0, 1.0)


# ----- differences and integrals -----------------------------------------------------------------------------------

@of_tensor
def diff(x: Tensor, n: int = 1, axis: int = -1, prepend: Data | None = None, append: Data | None = None) -> Tensor:
    """The differences of neighbours along ``axis``, taken ``n`` times; ``prepend`` and ``append`` are joined first.

    >>> import microgradx as mgx
    >>> mgx.diff(mgx.Tensor([1.0, 4.0, 9.0]))
    Tensor([3., 5.])
    """
    least_axes("diff", x)
    d, (times,) = axis_of("diff", axis, x.ndim), integers("diff", "n", (n,))
    if times < 0:
        raise OptionError(f"diff: n={times} is negative")
    given = [tensor(part) for part in (prepend, x, append) if part is not None]
    if times and len(given) > 1:
        shape = (*x.shape[:d], 1, *x.shape[d + 1:])
        x = concat([part if part.ndim else part.expand(shape) for part in given], d)
    x = x if times else x.clone()
    for _ in range(min(times, x.shape[d])):            # of nothing there is nothing more to take
        later, earlier = at(x, d, slice(1, None)), at(x, d, slice(0, max(x.shape[d] - 1, 0)))
        x = later ^ earlier if x.dtype == np.bool_ else later - earlier
    return x


def spaced(op: str, y: Tensor, x: Data | None, dx: float, axis: int) -> Tensor:
    """The areas between neighbours along ``axis``, at the places ``x`` or ``dx`` apart."""
    least_axes(op, y)
    d, y = axis_of(op, axis, y.ndim), floats(y)
    later, earlier = at(y, d, slice(1, None)), at(y, d, slice(0, max(y.shape[d] - 1, 0)))
    if x is None:
        return (later + earlier) * (dx / 2)
    places = tensor(x)
    places = places if places.dtype.kind == "f" else places.astype(y.dtype)
    if places.ndim == 0:
        raise ShapeError(f"{op}: places without axes")
    if places.ndim == 1:
        if places.size != y.shape[d]:
            raise ShapeError(f"{op}: {places.size} places for {y.shape[d]} numbers along axis {d}")
        gaps = (places[1:] - places[:-1]).reshape((-1,) + (1,) * (y.ndim - 1 - d))
    else:
        p = axis_of(op, axis, places.ndim)
        if places.shape[p] != y.shape[d]:
            raise ShapeError(f"{op}: {places.shape[p]} places for {y.shape[d]} numbers along axis {d}")
        gaps = diff(places, 1, p)
    return (later + earlier) * gaps / 2


@of_tensor
def trapezoid(y: Tensor, x: Data | None = None, *, dx: float = 1.0, axis: int = -1) -> Tensor:
    """The integral along ``axis`` by the trapezoidal rule, of numbers at the places ``x`` or ``dx`` apart.

    >>> import microgradx as mgx
    >>> mgx.trapezoid(mgx.Tensor([0.0, 1.0, 2.0]))
    Tensor(2.)
    """
    return spaced("trapezoid", y, x, dx, axis).sum(axis_of("trapezoid", axis, y.ndim) - y.ndim)


@of_tensor
def cumulative_trapezoid(y: Tensor, x: Data | None = None, *, dx: float = 1.0, axis: int = -1) -> Tensor:
    """The running integral along ``axis``: one number fewer than y has."""
    return spaced("cumulative_trapezoid", y, x, dx, axis).cumsum(axis_of("cumulative_trapezoid", axis, y.ndim) - y.ndim)


@of_tensor
def gradient(x: Tensor, *, spacing: Any = 1, axis: Axes = None, edge_order: int = 1) -> list[Tensor]:
    """The slope along each axis of ``axis`` by differences to both sides, of second order; one tensor per axis.

    ``spacing`` is how far neighbours are apart, for all axes or for each, or a list of their places. At the ends it
    is the difference of first or, with ``edge_order=2``, of second order.

    >>> import microgradx as mgx
    >>> mgx.gradient(mgx.Tensor([1.0, 4.0, 9.0, 16.0]))
    [Tensor([3., 4., 6., 7.])]
    """
    axes, y = axes_of("gradient", axis, x.ndim), floats(x)
    per_axis = list(spacing) if isinstance(spacing, (list, tuple)) else [spacing] * len(axes)
    if isinstance(spacing, Tensor) and spacing.ndim == 1:
        per_axis = [spacing]
    if len(per_axis) != len(axes):
        raise ShapeError(f"gradient: {len(per_axis)} spacings for {len(axes)} axes")
    if edge_order not in (1, 2):
        raise OptionError(f"gradient: edge_order is 1 or 2, not {edge_order}")
    return [slope(y, d, h, edge_order) for d, h in zip(axes, per_axis, strict=True)]


def slope(y: Tensor, d: int, spacing: Any, edge_order: int) -> Tensor:
    """``gradient`` along one axis. Fornberg (1988): the weights of three places at unequal distances."""
    n = y.shape[d]
    if n < edge_order + 1:
        raise ShapeError(f"gradient: axis {d} of length {n} has not the {edge_order + 1} numbers for edge_order="
                         f"{edge_order}")
    places = Tensor(1 if spacing is None else spacing, dtype=y.dtype) if spacing is None or isinstance(
        spacing, (int, float)) else tensor(spacing)
    if places.ndim > 1 or places.ndim == 1 and places.size != n:
        raise ShapeError(f"gradient: places of shape {places.shape} for axis {d} of length {n}")
    gaps = places.astype(y.dtype).expand((n - 1,)) if places.ndim == 0 else diff(places.astype(y.dtype))
    gaps = gaps.reshape((-1,) + (1,) * (y.ndim - 1 - d))
    slopes = diff(y, 1, d) / gaps
    first, last = at(slopes, d, slice(0, 1)), at(slopes, d, slice(n - 2, n - 1))
    left, right = gaps[:-1], gaps[1:]
    steep, steeper = at(slopes, d, slice(0, n - 2)), at(slopes, d, slice(1, n - 1))
    middle = (steep * right + steeper * left) / (left + right)
    if edge_order == 2:
        first = first - (at(middle, d, slice(0, 1)) - first)
        last = last - (at(middle, d, slice(n - 3, n - 2)) - last)
    return concat([first, middle, last], d)


# ----- running ------------------------------------------------------------------------------------------------------

def _last_largest(x: Any, axis: int) -> Any:
    """The position of the last largest element so far; a nan stays the largest."""
    n = x.shape[axis]
    place = np.arange(n).reshape((n,) + (1,) * (x.ndim - 1 - axis))
    top = np.maximum.accumulate(x, axis)
    new = (x == top) | np.isnan(x)
    return np.maximum.accumulate(np.where(new, place, 0), axis)


def _last_smallest(x: Any, axis: int) -> Any:
    return _last_largest(~x if x.dtype.kind in "bi" else -x, axis)


def running(name: str, find: Any) -> Any:
    """The host operation that gives the positions that ``find`` finds."""
    return HostOperation(name, lambda x, axis: [(x.shape, np.int64)],
                         lambda out, x, axis: np.copyto(out, find(x, axis)) if x.size else None)


_cummax, _cummin = running("cummax", _last_largest), running("cummin", _last_smallest)


def extremes(op: str, find: Any, x: Tensor, axis: int) -> Running:
    """The elements at the positions that ``find`` gives, and these."""
    d = axis_of(op, axis, x.ndim)
    if x.ndim == 0:
        return Running(x.clone(), Tensor(np.zeros((), np.int64)))
    place = find(x, d)
    return Running(x.gather(d, place), place)


@of_tensor
def cummax(x: Tensor, axis: int) -> Running:
    """(values, indices) of the largest element so far along ``axis``, the last of equals; a nan stays.

    >>> import microgradx as mgx
    >>> mgx.cummax(mgx.Tensor([1.0, 3.0, 2.0]), 0).values
    Tensor([1., 3., 3.])
    """
    return extremes("cummax", _cummax, x, axis)


@of_tensor
def cummin(x: Tensor, axis: int) -> Running:
    """(values, indices) of the smallest element so far along ``axis``, the last of equals; a nan stays."""
    return extremes("cummin", _cummin, x, axis)


@of_tensor
def logcumsumexp(x: Tensor, axis: int) -> Tensor:
    """log(cumsum(exp(x))) along ``axis``, by doubling over ``logaddexp``: nothing overflows.

    >>> import microgradx as mgx
    >>> mgx.logcumsumexp(mgx.Tensor([1000.0, 0.0]), 0)
    Tensor([1000., 1000.])
    """
    d, reach = axis_of("logcumsumexp", axis, x.ndim), 1
    x = floats(x).clone()
    while x.ndim and reach < x.shape[d]:        # each holds the last `reach` elements up to it
        head, tail = at(x, d, slice(reach)), at(x, d, slice(reach, None))
        x = concat([head, tail.logaddexp(at(x, d, slice(x.shape[d] - reach)))], d)
        reach *= 2
    return x


trapz = trapezoid


make_public(__name__)
