"""Further operations for the programs of `programs.py`: what selects and writes at places, order statistics, running
and extreme sums, distances, linear algebra, siblings in place. They are a case of their own, "wide", so that a number
of the case "programs" stays the program that it was."""
import numpy as np
import scipy.linalg
from programs import INF, NAN, TABLE, Step, array_of, axis_for, finite, program

import microgradx as mgx
from microgradx import Tensor, linalg

WIDE: list = []


def entry(weight):
    def put(f):
        WIDE.extend([f] * weight)
        return f
    return put


def pick_axis(p, rng, kinds="f", least=1):
    """(variable, its tensor, one of its axes), or None."""
    k = p.pick(kinds, lambda t: t.ndim and t.size and max(t.shape) >= least)
    if k is None:
        return None
    return k, p.t[k], int(rng.choice([d for d, n in enumerate(p.t[k].shape) if n >= least]))


def at(axis, index):
    return (slice(None),) * axis + (index,)


# ----- places ---------------------------------------------------------------------------------------------------------

@entry(8)
def placed(p, rng):
    found = pick_axis(p, rng, "ffi")
    if found is None:
        return None
    k, t, axis = found
    n, dtype, how = t.shape[axis], t.dtype.str, rng.integers(9)
    few = rng.permutation(n)[:rng.integers(1, n + 1)]
    several = rng.integers(0, n, rng.integers(1, 4))
    mask = rng.random(t.shape) < 0.5
    if how == 0:
        return Step("index_select", lambda x: mgx.index_select(x, axis, several), lambda x: np.take(x, several, axis),
                    (k,))
    if how == 1:
        return Step("masked_fill", lambda x: x.masked_fill(Tensor(mask), 2),
                    lambda x: np.where(mask, x.dtype.type(2), x), (k,))
    if how == 2:
        return Step("masked_select", lambda x: mgx.masked_select(x, Tensor(mask)), lambda x: x[mask], (k,))
    if how == 3:
        flat = rng.integers(-t.size, t.size, (2, 2))
        return Step("take", lambda x: mgx.take(x, flat), lambda x: x.reshape(-1)[flat], (k,))
    if how == 4:
        size = int(rng.integers(1, n + 1))
        step = int(rng.integers(1, 3))
        windows = np.lib.stride_tricks.sliding_window_view
        return Step("unfold", lambda x: x.unfold(axis, size, step),
                    lambda x: windows(x, size, axis)[at(axis, slice(None, None, step))], (k,))
    shape = (*t.shape[:axis], len(few), *t.shape[axis + 1:])
    j = p.leaf(shape, dtype)

    def stored(x, s):
        y = x.copy()
        y[at(axis, few)] = s
        return y

    def added(x, s):
        y = x.copy()
        y[at(axis, few)] += s
        return y
    if how == 5:
        return Step("index_copy", lambda x, s: mgx.index_copy(x, axis, few, s), stored, (k, j))
    if how == 6:
        return Step("index_add", lambda x, s: mgx.index_add(x, axis, few, s), added, (k, j), size=added)
    if how == 7:
        places = np.broadcast_to(few.reshape([-1 if d == axis else 1 for d in range(t.ndim)]), shape)
        return Step("scatter", lambda x, s: mgx.scatter(x, axis, places, s), stored, (k, j))
    one = int(few[0])
    row = p.leaf(t.shape[:axis] + t.shape[axis + 1:], dtype)

    def row_stored(x, s):
        y = x.copy()
        y[at(axis, one)] = s
        return y
    return Step("select_scatter", lambda x, s: mgx.select_scatter(x, s, axis, one), row_stored, (k, row))


@entry(3)
def scattered(p, rng):
    """Several numbers for one place."""
    found = pick_axis(p, rng)
    if found is None or p.mode == "special":
        return None
    k, t, axis = found
    j, places = p.leaf(t.shape, t.dtype.str), rng.integers(0, t.shape[axis], t.shape)
    name = ["sum", "prod", "amax", "amin", "mean"][rng.integers(5)]
    whole = bool(rng.integers(2))

    def truth(x, s):
        y, count = x.copy(), np.ones(x.shape)
        key = list(np.indices(s.shape))
        key[axis] = places
        key = tuple(key)
        hit = np.zeros(x.shape, bool)
        hit[key] = True
        if not whole:
            y[hit] = {"sum": 0, "mean": 0, "prod": 1, "amax": -INF, "amin": INF}[name]
            count[hit] = 0
        f = {"sum": np.add, "mean": np.add, "prod": np.multiply, "amax": np.maximum, "amin": np.minimum}[name]
        f.at(y, key, s)
        np.add.at(count, key, 1)
        return y / count if name == "mean" else y
    ties = name in ("amax", "amin", "prod")
    return Step(f"scatter_reduce {name}", lambda x, s: mgx.scatter_reduce(x, axis, places, s, name, include_self=whole),
                truth, (k, j), order=0 if ties else 3, loose=64, size="max")


# ----- order statistics -----------------------------------------------------------------------------------------------

@entry(6)
def ordered(p, rng):
    found = pick_axis(p, rng)
    if found is None:
        return None
    k, t, axis = found
    n, how = t.shape[axis], rng.integers(9)
    nan, ties = np.isnan(array_of(t)).any(), np.unique(array_of(t)).size < t.size
    if how == 0 and ties:
        return None                                             # torch shares the gradient, a difference does not
    if how == 0:
        return Step("median", lambda x: mgx.median(x), lambda x: np.asarray(
            NAN if np.isnan(x).any() else np.sort(x, None)[(x.size - 1) // 2]), (k,), order=0)
    if how == 1:
        return None if nan or ties else Step("median of rows", lambda x: mgx.median(x, axis)[0],
                                     lambda x: np.take(np.sort(x, axis), (n - 1) // 2, axis), (k,))
    if how == 2:
        least = int(rng.integers(1, n + 1))
        return Step("kthvalue", lambda x: mgx.kthvalue(x, least, axis)[0],
                    lambda x: np.take(np.sort(x, axis), least - 1, axis), (k,),
                    order=0 if ties else 3)
    if how == 3:
        count, largest = int(rng.integers(0, n + 1)), bool(rng.integers(2))
        return None if nan else Step("topk", lambda x: mgx.topk(x, count, axis, largest)[0], lambda x: np.take(
            np.flip(np.sort(x, axis), axis) if largest else np.sort(x, axis), range(count), axis), (k,))
    if how == 4:
        q, along = float(rng.choice([0, 0.25, 0.5, 0.9, 1])), [None, axis][rng.integers(2)]
        return None if ties or not finite(array_of(t)) else Step(
            "quantile", lambda x: mgx.quantile(x, q, along), lambda x: np.asarray(np.quantile(x, q, along)),
            (k,), size="max")
    if how == 5:
        f = ["cummax", "cummin"][rng.integers(2)]
        g = np.maximum if f == "cummax" else np.minimum
        return Step(f, lambda x: getattr(mgx, f)(x, axis)[0], lambda x: g.accumulate(x, axis), (k,))
    if how == 6:
        return None if np.isinf(array_of(t)).any() else Step(
            "logcumsumexp", lambda x: mgx.logcumsumexp(x, axis), lambda x: np.logaddexp.accumulate(x, axis), (k,),
            size="max", loose=8)
    if how == 7:
        places, side = np.sort(rng.normal(size=5)).round(1), ["left", "right"][rng.integers(2)]
        return Step("searchsorted", lambda x: mgx.searchsorted(Tensor(places.astype(x.dtype)), x, side=side),
                    lambda x: np.searchsorted(places.astype(t.dtype), x.astype(t.dtype), side), (k,), order=0)
    times = int(rng.integers(0, 3))
    if rng.random() < 0.5:
        return Step("diff", lambda x: mgx.diff(x, times, axis), lambda x: np.diff(x, times, axis), (k,), size=None if
                    times == 0 else lambda x: 4 * np.max(np.abs(x), initial=0, where=np.isfinite(x)))
    return Step("trapezoid", lambda x: mgx.trapezoid(x, axis=axis), lambda x: np.trapezoid(x, axis=axis), (k,),
                size=lambda x: np.trapezoid(np.abs(x), axis=axis), loose=8)


# ----- what overflows on the way --------------------------------------------------------------------------------------

@entry(4)
def extreme(p, rng):
    """Numbers near the ends of a dtype, whose squares and sums are none, in units of their size: a constant."""
    dtype = np.dtype(rng.choice(["f4", "f8"]))
    most = float(np.finfo(dtype).max) * 0.9
    size = float(rng.choice([most, most**0.75, most**-0.75, most**-0.5]))
    a = (rng.permutation([1, 1, -1, -1, 0.5, -0.5])[:rng.integers(2, 7)] * size).astype(dtype)
    ours, truth = {
        "sum": (lambda x: x.sum(), np.sum), "mean": (lambda x: x.mean(), np.mean), "nanmean": (mgx.nanmean, np.mean),
        "std": (lambda x: x.std(ddof=0), np.std), "norm": (lambda x: x.norm(), lambda x: np.sqrt((x * x).sum())),
        "normalize": (lambda x: mgx.normalize(x, axis=0, eps=0.0), lambda x: x / np.sqrt((x * x).sum())),
        "cumsum": (lambda x: x.cumsum(0)[-1:], lambda x: np.cumsum(x)[-1:]),
        "prod": (lambda x: mgx.concat([x, 1 / x]).prod(), lambda x: np.asarray(1.0))}[
            name := ["sum", "mean", "nanmean", "std", "norm", "normalize", "prod"][rng.integers(7)]]
    unit = 1.0 if name in ("normalize", "prod") else size
    result = np.asarray(truth(a.astype(np.longdouble)) / np.longdouble(unit), "f8")
    if not np.all(np.abs(result) * unit < most):
        return None                                             # the answer overflows
    return Step(f"{name} of extremes", lambda: (ours(Tensor(a)).double() / unit).float(), lambda: result.copy(), (),
                "constant", order=0, size=None if np.abs(result).min() > 0.01 else lambda: np.ones(result.shape))


@entry(2)
def products(p, rng):
    k = p.pick("f", lambda t: t.size)
    if k is None:
        return None
    axis, keepdims = axis_for(rng, p.t[k]), bool(rng.integers(2))
    return Step("prod", lambda x: x.prod(axis, keepdims),
                lambda x: np.asarray(np.prod(x.astype(np.longdouble), axis=axis, keepdims=keepdims), "f8"), (k,),
                loose=p.t[k].size + 1, order=0 if p.mode == "special" else 3)


# ----- distances and moments ------------------------------------------------------------------------------------------

@entry(4)
def spread(p, rng):
    k = p.pick("f", lambda t: t.ndim == 2 and min(t.shape) > 1)
    if k is None or p.mode == "special" or not finite(array_of(p.t[k])):
        return None
    how = rng.integers(4)
    if how == 0:
        return Step("cov", lambda x: mgx.cov(x), np.cov, (k,), size="max", loose=8)
    if how == 1:
        j = p.leaf((3, p.t[k].shape[1]), p.t[k].dtype.str)
        return Step("cdist", lambda a, b: mgx.cdist(a, b), lambda a, b: np.sqrt(((a[:, None] - b) ** 2).sum(-1)),
                    (k, j), order=0, size=lambda a, b: np.abs(a).max() + np.abs(b).max())
    if how == 2:
        return Step("normalize", lambda x: mgx.normalize(x), lambda x: x / np.maximum(
            np.sqrt((x * x).sum(1, keepdims=True)), 1e-12), (k,), order=0)
    return Step("cosine_similarity", lambda x: mgx.cosine_similarity(x[:1], x[1:]), lambda x: (x[:1] * x[1:]).sum(1) / (
        np.maximum(np.sqrt((x[:1] ** 2).sum(1)), 1e-8) * np.maximum(np.sqrt((x[1:] ** 2).sum(1)), 1e-8)), (k,), order=0,
        size=lambda x: 1.0)


@entry(4)
def algebra(p, rng):
    n = int(rng.integers(1, 4))
    lead = [(), (2,)][rng.integers(2)]
    a = rng.normal(size=(*lead, n, n)) + 3 * np.eye(n)
    k, how = p.leaf(values=a), rng.integers(8)
    t = lambda x: np.swapaxes(x, -1, -2)
    positive, symmetric = lambda x: x @ t(x) + np.eye(n), lambda x: (x + t(x)) / 2
    ours = lambda f, g: lambda x: f(g(x) if g is symmetric else x @ x.mT + mgx.eye(n, dtype=x.dtype))
    options = dict(loose=512, order=2, size="max")
    if how == 0:
        j = p.leaf((*lead, n, 2), "f8")
        return Step("solve", linalg.solve, np.linalg.solve, (k, j), **options)
    if how == 1:
        return Step("cholesky", ours(linalg.cholesky, positive), lambda x: np.linalg.cholesky(positive(x)),
                    (k,), **options)
    if how == 2:
        return Step("eigvalsh", lambda x: linalg.eigvalsh((x + x.mT) / 2), lambda x: np.linalg.eigvalsh(symmetric(x)),
                    (k,), **options | dict(order=1))
    if how == 3:
        return Step("svdvals", linalg.svdvals, lambda x: np.linalg.svd(x)[1], (k,), **options | dict(order=1))
    if how == 4:
        return Step("pinv", linalg.pinv, np.linalg.pinv, (k,), **options)
    if how == 5:
        return not lead and Step("matrix_exp", linalg.matrix_exp, scipy.linalg.expm, (k,), **options | dict(order=1))
    if how == 6:
        j = p.leaf((4, 2), "f8")
        b = p.leaf((4, 1), "f8")
        return Step("lstsq", lambda a, b: linalg.lstsq(a, b).solution, lambda a, b: np.linalg.lstsq(a, b)[0], (j, b),
                    **options | dict(order=0)) if p.mode == "plain" else None
    power = int(rng.integers(-2, 4))
    return Step("matrix_power", lambda x: linalg.matrix_power(x, power), lambda x: np.linalg.matrix_power(x, power),
                (k,), **options)


# ----- in place -------------------------------------------------------------------------------------------------------

IN_PLACE = {"neg_": np.negative, "abs_": np.abs, "square_": np.square, "floor_": np.floor, "sin_": np.sin,
            "exp_": np.exp, "tanh_": np.tanh, "relu_": lambda x, out: np.maximum(x, 0, out=out), "atan_": np.arctan}


@entry(5)
def sibling(p, rng):
    i = p.pick("f")
    if i is None or p.fixed or rng.random() < 0.5 and p.t[i].is_leaf and p.t[i].requires_grad:
        return None
    t, how = p.t[i], rng.integers(4)
    if how < 2 or not t.ndim or not t.size:
        name = list(IN_PLACE)[rng.integers(len(IN_PLACE))]
        return Step(name, lambda x: getattr(x, name)(), lambda x: IN_PLACE[name](x, out=x), (i,), "write", loose=4)
    axis = int(rng.integers(t.ndim))
    few = rng.permutation(t.shape[axis])[:1]
    if how == 2:
        mask = rng.random(t.shape) < 0.5

        def filled(x):
            x[mask] = 1.5
        return Step("masked_fill_", lambda x: x.masked_fill_(Tensor(mask), 1.5), filled, (i,), "write")

    def filled_rows(x):
        x[at(axis, few)] = -2.0
    return Step("index_fill_", lambda x: x.index_fill_(axis, few, -2.0), filled_rows, (i,), "write")


def wide(seed, number):
    return program(seed, number, TABLE + WIDE * 2)
