"""Every row at the points where formulas break: zeros of both signs, ties, ends of branches, infinities, the tiny and
the huge. Derivatives of order 1 to 4, by the graph that ``create_graph`` records, against mpmath.

What a derivative is where mathematics leaves it open is in one table, ``CONVENTIONS``.
"""
import functools
import itertools
import re
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from mpmath import mp, mpf
from samples import DOMAIN, DTYPES, INF, NAN, ROWS, SMOOTH, TRUTH, UNARY, call

import microgradx as mgx

ORDERS = (1, 2, 3, 4)
POINTS = [0.0, -0.0, 1.0, -1.0, 0.5, -0.5, 2.0, 3.0, -3.0, 6.0, 12.0, -12.0, 40.0, -40.0, 1e4, -1e4, 1e8, -1e8,
          1e15, -1e15,
          1e-8, 1e-30, -1e-30, INF, -INF]

# Derivatives of order 1 to 4 where a row, or one of its derivatives, jumps or has a pole. At a kink: what torch
# gives. At a
# pole: the limit from within the domain; None where it is not asked for (two infinities of opposite sign meet).
ZEROS, POLE = (0, 0, 0, 0), (INF, -INF, INF, -INF)
CONVENTIONS = {
    ("abs", 0): ZEROS, ("sign", 0): ZEROS, ("relu", 0): ZEROS, ("relu6", 0): ZEROS, ("relu6", 6): ZEROS,
    ("hardsigmoid", 3): ZEROS, ("hardsigmoid", -3): ZEROS, ("hardswish", -3): ZEROS, ("hardswish", 3): (1, 0, 0, 0),
    ("selu", 0): (1.7580993408473766,) * 4, ("softsign", 0): (1, 0, 0, 0),       # |x| counts as flat at 0
    ("sqrt", 0): POLE, ("log", 0): POLE, ("log2", 0): POLE, ("log10", 0): POLE, ("log1p", -1): POLE, ("acosh", 1): POLE,
    ("rsqrt", 0): (-INF, INF, -INF, INF), ("reciprocal", 0): (-INF, INF, -INF, INF),
    ("asin", 1): (INF, None, None, None), ("asin", -1): (INF, None, None, None),
    ("acos", 1): (-INF, None, None, None), ("acos", -1): (-INF, None, None, None),
    ("atanh", 1): (INF, INF, INF, INF), ("atanh", -1): POLE, ("logit", 0): POLE, ("logit", 1): (INF, INF, INF, INF),
}
STEPS = {"sign", "floor", "ceil", "round", "trunc"}              # flat everywhere, also where they jump
NO_LIMIT = {"sin", "cos", "tan"}                                 # at the infinities


def derivative(name, xs, directions):
    """The recorded derivative, once by each operand of ``directions``; 0 where the graph ends."""
    ts = [mgx.Tensor(x, requires_grad=True) for x in xs]
    y = call(name, *ts)
    for k in directions:
        if not y.requires_grad:
            return np.zeros_like(xs[0])
        (y,) = mgx.autograd.grad(y.sum(), [ts[k]], create_graph=True, allow_unused=True)
        if y is None:
            return np.zeros_like(xs[0])
    return y.detach().numpy()


def same(got, true, dtype, size=1):
    """Is that the truth, up to rounding of numbers of that size? Beyond the dtype it is an infinity of its sign."""
    with np.errstate(over="ignore"):
        true, got = float(dtype(float(true))), float(got)
    if np.isinf(true) or np.isinf(got):
        return got == true
    relative, least = (1e-3, 1e-4) if dtype is np.float32 else (1e-10, 1e-13)
    return abs(got - true) <= relative * abs(true) + least * size


def difference(name, x, order):
    """The derivative of a row of one operand by central differences in 300 digits, which leave 50."""
    with mp.workdps(300):
        x, total = mpf(float(x)), mpf(0)
        h = (abs(x) or 1) * mpf(10) ** -30
        for j in range(order + 1):
            total += (-1) ** j * mp.binomial(order, j) * TRUTH[name](x + (order - 2 * j) * h)
        return total / (2 * h) ** order


@functools.cache
def unary_truth(name, x, order):
    """The derivative at x; at an infinity the limit, which is taken at 1e30."""
    if name in STEPS:
        return 0
    if np.isinf(x):
        if order > 1 and name in ("abs", "relu", "selu") or name in ("relu6", "hardsigmoid"):
            return 0
        hi = float(difference(name, np.sign(x) * 1e30, order))
        return np.sign(hi) * INF if abs(hi) > 1e20 else 0 if abs(hi) < 1e-12 else hi
    return difference(name, x, order)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", UNARY)
def test_unary_rows_at_special_points(name, dtype):
    lo, hi = DOMAIN.get(name, (-INF, INF))
    open_points = [p for n, p in CONVENTIONS if n == name]
    points = [x for x in POINTS if lo <= x <= hi and x not in open_points and (x not in (lo, hi) or np.isinf(x))
              and not (name in NO_LIMIT and np.isinf(x))
              and not (name == "dgelu_tanh" and dtype is np.float32 and 1e12 < abs(x) < INF)]    # there x^3 overflows
    wrong = []
    for order in ORDERS:
        got = derivative(name, [np.array(points, dtype)], [0] * order)
        for x, d in zip(points, got):
            true = unary_truth(name, float(dtype(x)), order)
            if not same(d, true, dtype):
                wrong.append(f"order {order} at {x}: {d}, not {float(true)}")
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name, point", CONVENTIONS)
def test_conventions(name, point, dtype):
    for order, want in zip(ORDERS, CONVENTIONS[name, point]):
        if want is not None:
            got = derivative(name, [np.array([point], dtype)], [0] * order)[0]
            np.testing.assert_allclose(got, want, rtol=1e-6, err_msg=f"order {order}")


# ----- two and three operands --------------------------------------------------------------------------------------

NUMBERS = [0.0, -0.0, 1.0, -1.0, 2.0, -0.5, 1e-8, 30.0, -30.0, 1e6]
# where a row of two operands is smooth: elsewhere it has no value, a kink or a pole
SMOOTH_AT = {
    "leaky_relu": lambda a, b: a != 0, "prelu": lambda a, b: a != 0, "elu": lambda a, b: a != 0,
    "celu": lambda a, b: a != 0 and b > 1e-3, "hardshrink": lambda a, b: abs(a) != abs(b) and a != 0,
    "softshrink": lambda a, b: abs(a) != abs(b) and a != 0, "div": lambda a, b: b != 0, "pow": lambda a, b: a > 0,
    "maximum": lambda a, b: a != b, "minimum": lambda a, b: a != b, "atan2": lambda a, b: b > 0 or a != 0,
    "fmod": lambda a, b: b != 0 and abs(a / b) < 1e6 and a / b % 1 != 0,
    "remainder": lambda a, b: b != 0 and abs(a / b) < 1e6 and a / b % 1 != 0,
    "hypot": lambda a, b: a != 0 or b != 0, "xlogy": lambda a, b: b > 0}
BINARY = [name for name in SMOOTH if ROWS[name]["arity"] == 2]
TRIPLES = {     # smooth points of the rows of three operands
    "hardtanh": [(0, -1, 1), (-2, -1, 1), (5, -1, 1), (INF, -1, 1), (-INF, -1, 1)],
    "clip": [(0, -1, 1), (-2, -1, 1), (5, -1, 1), (INF, -1, 1), (-INF, -1, 1), (0, 2, 1)],
    "threshold": [(1, 0, 3), (-1, 0, 3), (INF, 0, 3), (-INF, 0, 3)],
    "lerp": [(0, 0, 0), (1, 2, 0), (1, 2, 1), (-1, 1, 0.5), (3, 3, 0.25), (1e6, -1e6, 0.5)],
    "where": [(1, 2, INF), (0, INF, 2), (1, 0, 0), (0, 0, 0), (1, -1, 3)]}

# The same for more operands: {directions: value}. At a tie or a kink: what torch gives.
TIES = {
    ("leaky_relu", 0, 0.25): {(0,): 0.25, (1,): 0, (0, 0): 0, (0, 1): 1, (1, 0): 1, (0, 0, 1): 0},
    ("prelu", 0, 0.25): {(0,): 0.25, (1,): 0, (0, 1): 1, (1, 0): 1},
    ("elu", 0, 0.5): {(0,): 0.5, (1,): 0, (0, 0): 0.5, (0, 1): 1, (1, 0): 1, (0, 0, 0): 0.5, (1, 1): 0},
    ("celu", 0, 0.5): {(0,): 1, (1,): 0, (0, 0): 2, (0, 0, 0): 4},
    ("maximum", 2, 2): {(0,): 0.5, (1,): 0.5, (0, 0): 0, (0, 1): 0, (1, 1): 0},
    ("minimum", 2, 2): {(0,): 0.5, (1,): 0.5, (0, 0): 0, (0, 1): 0, (1, 1): 0},
    ("hardshrink", 0.5, 0.5): {(0,): 0, (1,): 0, (0, 0): 0}, ("hardshrink", 0, 0): {(0,): 0, (1,): 0},
    ("softshrink", 0.5, 0.5): {(0,): 0, (1,): 0, (0, 1): 0},
    ("hypot", 0, 0): {(0,): 0, (1,): 0}, ("atan2", 0, 0): {(0,): 0, (1,): 0},
    ("pow", 0, 0): {(0,): 0, (1,): 0, (0, 0): 0}, ("pow", 0, 1): {(0,): 1, (1,): 0, (0, 0): 0},
    ("pow", 0, 2): {(0,): 0, (1,): 0, (0, 0): 2, (0, 0, 0): 0, (0, 1): 0, (1, 1): 0},
    ("pow", -2, 3): {(0,): 12, (0, 0): -12, (0, 0, 0): 6, (0, 0, 0, 0): 0, (1,): NAN},
    ("pow", 0, 0.5): {(0,): INF, (0, 0): -INF}, ("pow", 0, -1): {(0,): -INF, (0, 0): INF},
    ("remainder", 1, -INF): {(0,): 1, (1,): 1}, ("remainder", 1, INF): {(0,): 1, (1,): 0},
    ("remainder", -1, INF): {(0,): 1, (1,): 1}, ("remainder", -1e-30, 1): {(0,): 1, (1,): 1},
    ("xlogy", 0, 0): {(0,): 0, (1,): 0, (1, 1): 0},
    ("xlogy", 0, 2): {(0,): np.log(2), (1,): 0, (0, 1): 0.5, (1, 0): 0.5},
    ("xlogy", 1, 0): {(0,): -INF, (1,): INF, (0, 1): INF, (1, 0): INF, (1, 1): -INF},
    ("logaddexp", INF, INF): {(0,): 0.5, (1,): 0.5}, ("logaddexp", -INF, -INF): {(0,): 0.5, (1,): 0.5},
    ("logaddexp", INF, 2): {(0,): 1, (1,): 0, (0, 0): 0, (0, 1): 0, (0, 0, 0): 0},
    ("logaddexp", -INF, 2): {(0,): 0, (1,): 1, (0, 0): 0, (0, 1): 0, (1, 1): 0},
    ("mul_no_nan", 0, INF): {(0,): INF, (1,): 0, (0, 1): 1, (1, 0): 1},
    ("hardtanh", 1, -1, 1): {(0,): 0, (1,): 0, (2,): 1}, ("clip", 1, -1, 1): {(0,): 1, (1,): 0, (2,): 0},
    ("threshold", 0.5, 0.5, 9): {(0,): 0, (1,): 0, (2,): 1},
}


@functools.cache
def partial(name, point, directions):
    """The true partial derivative, by mpmath's own differences in many digits."""
    counts = tuple(directions.count(k) for k in range(len(point)))
    with mp.workdps(160):
        return mp.diff(TRUTH[name], tuple(mpf(x) for x in point), counts, h=mpf(10) ** -30)


def size_of(name, point, order):
    """How large the terms are that may cancel: those of functions of a direction grow with the inverse distance."""
    return max(1, np.hypot(*point) ** -order) if name in ("atan2", "hypot") else 1


def check_points(name, points, dtype, orders):
    wrong = []
    arrays = [np.array(x, dtype) for x in zip(*points)]
    for order in orders:
        for directions in itertools.combinations_with_replacement(range(name == "where", len(arrays)), order):
            for turn in {directions, directions[::-1]}:
                got = derivative(name, arrays, turn)
                for *point, d in zip(*arrays, got):
                    point = [float(x) for x in point]
                    if np.isfinite(point).all():
                        true = partial(name, tuple(point), directions)
                    else:                               # constant in what is infinite, which is not looked at
                        true = 1 if order == 1 and name in CHOSEN and CHOSEN[name](*point) == turn[0] else 0
                    if not same(d, true, dtype, size_of(name, point, order)):
                        wrong.append(f"by {turn} at {point}: {d}, not {float(true)}")
    assert not wrong, "\n".join(wrong[:30])


CHOSEN = {      # which operand a row of three gives, where one of them is infinite
    "hardtanh": lambda a, b, c: 1 if a <= b else 2, "clip": lambda a, b, c: 1 if a <= b else 2,
    "threshold": lambda a, b, c: 0 if a > b else 2, "where": lambda c, a, b: 1 if c else 2}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", BINARY)
def test_binary_rows_at_special_points(name, dtype):
    smooth = SMOOTH_AT.get(name, lambda a, b: True)
    numbers = [float(dtype(x)) for x in NUMBERS]
    points = [(a, b) for a in numbers for b in numbers
              if smooth(a, b) and not (name == "pow" and max(a, b) > 20)]       # there parts of a sum overflow
    check_points(name, points, dtype, (1, 2, 3))
    check_points(name, points[::5], dtype, (4,))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", TRIPLES)
def test_rows_of_three_operands_at_special_points(name, dtype):
    assert set(TRIPLES) == {name for name in SMOOTH if ROWS[name]["arity"] == 3}
    check_points(name, TRIPLES[name], dtype, (1, 2, 3, 4))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("case", TIES)
def test_ties_and_ends_of_two_operands(case, dtype):
    name, *point = case
    for directions, want in TIES[case].items():
        got = derivative(name, [np.array([x], dtype) for x in point], directions)[0]
        np.testing.assert_allclose(got, want, rtol=1e-6, err_msg=f"by {directions}")


# ----- functions of SciPy's ------------------------------------------------------------------------------------------

def bessel(n, scaled=False):
    return lambda x: mp.besseli(n, x) * (mp.exp(-abs(x)) if scaled else 1)


FAR = [1.0, -1.0, 1e-8, 1e-5, 1e-3, 0.1, 5.0, 20.0, 90.0, -50.0]
SPECIAL = {     # the function, the same in mpmath, where it is smooth; those that only float64 can hold come last
    "lgamma": (mgx.lgamma, lambda x: mp.log(abs(mp.gamma(x))), [0.5, 1, 2, 3, 1e-5, 10, 1e5, -0.5, -10.5, 1e10]),
    "digamma": (mgx.digamma, mp.digamma, [0.5, 1, 2, 10, 1e5, -0.5, -10.5, 1e-5]),
    "erfinv": (mgx.erfinv, mp.erfinv, [0.0, 0.5, -0.5, 1e-8, 1e-30]),
    "ndtri": (mgx.special.ndtri, lambda p: -mp.sqrt(2) * mp.erfinv(1 - 2 * p), [0.5, 0.25, 0.9, 1e-3]),
    "ndtr": (mgx.special.ndtr, lambda x: mp.erfc(-x / mp.sqrt(2)) / 2, [0.0, 1, -1, 1e-8, 5, -5, -20, 30]),
    "log_ndtr": (mgx.special.log_ndtr, lambda x: mp.log(mp.erfc(-x / mp.sqrt(2)) / 2),
                 [0.0, 1, -1, 5, -5, 9, -20, -100, -1e3, -1e5, 1e-8, -1e8]),
    "erfcx": (mgx.special.erfcx, lambda x: mp.exp(x * x) * mp.erfc(x), [0.0, 1, -1, 3, 25, 100, 1e3, -5, 1e5, 1e8]),
    "i0": (mgx.i0, bessel(0), [0.0, *FAR[:-2]]), "i1": (mgx.special.i1, bessel(1), [0.0, *FAR[:-2]]),
    "i0e": (mgx.special.i0e, bessel(0, True), FAR), "i1e": (mgx.special.i1e, bessel(1, True), FAR),
    "sinc": (mgx.sinc, lambda x: mp.sin(mp.pi * x) / (mp.pi * x) if x else mpf(1), [0.0, 1e-3, 0.1, 0.16, 0.5, 10.25]),
    "entr": (mgx.special.entr, lambda x: -x * mp.log(x), [0.5, 1, 2, 1e-3, 1e5]),
    "xlog1py": (lambda x: mgx.special.xlog1py(x, x), lambda x: x * mp.log1p(x), [0.0, 0.5, -0.5, 1, 1e-8, 1e5])}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", SPECIAL)
def test_special_functions_at_special_points(name, dtype):
    function, truth, points = SPECIAL[name]
    points = points[:-1] if dtype is np.float32 else points
    x, wrong = mgx.Tensor(np.array(points, dtype), requires_grad=True), []
    y = function(x)
    for order in (0, *ORDERS):
        if order:
            y, = mgx.autograd.grad(y.sum(), [x], create_graph=True)
        for point, d in zip(x.tolist(), y.tolist()):
            with mp.workdps(160):
                h = mpf(10) ** -25 * (abs(point) or 1)
                true = mp.diff(truth, mpf(point), order, h=h) if order else truth(mpf(point))
            if not same(d, true, dtype):
                wrong.append(f"order {order} at {point}: {d}, not {float(true)}")
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("function, point, want", [
    (mgx.lgamma, -INF, (INF,)), (mgx.lgamma, INF, (INF, INF)), (mgx.lgamma, 0, (INF,)),
    (mgx.special.entr, 0, (0, INF, -INF)), (mgx.special.entr, -1, (-INF, NAN)), (mgx.special.entr, INF, (-INF, -INF)),
    (lambda x: mgx.special.xlog1py(0 * x.detach() + 0.0, INF) + x, 0, (0, 1)), (mgx.special.i0, INF, (INF, INF)),
    (mgx.special.i1, -INF, (-INF, INF, -INF)), (mgx.special.i0e, INF, (0, 0, 0, 0)), (mgx.special.i1e, INF, (0, 0, 0)),
    (mgx.special.erfcx, INF, (0, 0, 0, 0)), (mgx.special.log_ndtr, INF, (0, 0)),
    (mgx.special.log_ndtr, -INF, (-INF, INF))])
def test_special_functions_at_the_ends(function, point, want, dtype):
    x = mgx.Tensor(np.array([point], dtype), requires_grad=True)
    y = function(x)
    for order, value in enumerate(want):
        if order:
            y, = mgx.autograd.grad(y.sum(), [x], create_graph=True)
        np.testing.assert_array_equal(y.detach().numpy(), [value], err_msg=f"order {order}")


def test_the_smallest_numbers_have_logarithms_of_their_gamma_function():
    tiny = np.array([1e-310, -1e-310, 5e-324, 1e-305])
    np.testing.assert_allclose(mgx.lgamma(mgx.Tensor(tiny)).numpy(), -np.log(np.abs(tiny)), rtol=1e-15)


@pytest.mark.parametrize("function", [mgx.lgamma, mgx.digamma, mgx.special.entr, mgx.special.ndtri,
                                      lambda x: mgx.igamma(mgx.Tensor([0.5]), x)])
def test_no_gradient_comes_from_an_end_that_is_not_chosen(function):
    x = mgx.Tensor([0.0], requires_grad=True)
    (x > 0).where(function(x), 0.0).sum().backward()
    assert x.grad.item() == 0


# ----- a part that is not chosen passes nothing ---------------------------------------------------------------------

CHOICES = {     # functions of x whose inner part has an infinite slope just where nothing follows x
    "where": lambda x: (x > 0).where(x, 0.0).sqrt(), "relu": lambda x: x.relu().sqrt(),
    "clip": lambda x: x.clip(0.5).sub(0.5).sqrt(),
    "maximum": lambda x: x.maximum(0.25).sub(0.25).sqrt(), "hardtanh": lambda x: x.hardtanh(0.0, 9.0).sqrt(),
    "relu6": lambda x: x.relu6().sqrt(), "hardshrink": lambda x: x.relu().hardshrink(0.5).sqrt(),
    "threshold": lambda x: x.threshold(0.5, 0.0).sqrt(), "sign": lambda x: x.sign().add(1.0).sqrt() + x.relu(),
    "floor": lambda x: x.floor().add(3.0).sqrt() + x.relu()}


@pytest.mark.parametrize("name", CHOICES)
def test_an_infinite_gradient_does_not_pass_what_is_not_chosen(name):
    """In eager, recorded, replayed and scalar code: 0, not inf times 0."""
    f, numbers = CHOICES[name], np.array([-3.0, -1.5, -2.5, 4.0])
    x = mgx.Tensor(numbers, requires_grad=True)
    plain = mgx.autograd.grad(f(x).sum(), [x])[0].numpy()
    assert (plain[:3] == 0).all() and 0 < plain[3] < 2
    for create_graph in (False, True):
        np.testing.assert_array_equal(mgx.autograd.grad(f(x).sum(), [x], create_graph=create_graph)[0].detach(), plain)

    def step(x):
        return mgx.autograd.grad(f(x).sum(), [x])[0]
    compiled = mgx.compile(step)
    for _ in range(3):
        np.testing.assert_array_equal(compiled(x).numpy(), plain)
    if name in ("where", "clip"):
        return
    for number, slope in zip(numbers, plain):
        v = mgx.Value(number)
        y = f(v)
        y.backward()
        assert v.grad == slope
        assert not any(np.isnan(d) for node in (y, *y._prev) for d in node._local_grads if d is not None)


# ----- powers -------------------------------------------------------------------------------------------------

BASES = [0.0, 0.3, 0.5, 1.0, 1.5, 2.0, 3.0, 1e-40, 1e-30, 1e30, INF]
EXPONENTS = [0.0, 0.25, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 3.5, 4.0, 5.0, 0.1, 7.3, 2.0**24 - 1, 2.0**24, 1e30, INF]
FINE = [2.0**52 + 1, 2.0**53 - 1, 2.0**53, 5e-324, 1e-310, 1e300]


def signed_pairs(dtype):
    of_double = FINE if dtype == np.float64 else []
    return (x.ravel() for x in np.meshgrid(*([np.array([s * v for v in [*values, *of_double, NAN] for s in (1, -1)],
                                                      dtype) for values in (BASES, EXPONENTS)])))


def equal(a, b):
    """Equal, zeros in sign too; one nan is as good as another."""
    return np.array_equal(a, b, equal_nan=True) and np.array_equal(np.signbit(a[a == 0]), np.signbit(b[b == 0]))


def c_power(a, b):
    """C99's pow, in more digits. NumPy has other rules for one exponent that all share."""
    assert len(set(b)) > 1
    with np.errstate(all="ignore"):
        return np.power(a.astype(np.longdouble), b.astype(np.longdouble))


@pytest.mark.parametrize("dtype", DTYPES)
def test_powers_are_those_of_c99_at_the_ends(dtype):
    a, b = signed_pairs(dtype)
    y = (mgx.Tensor(a) ** mgx.Tensor(b)).numpy()
    with np.errstate(over="ignore"):
        truth = c_power(a, b).astype(dtype)
    assert np.array_equal(np.isnan(y), np.isnan(truth))
    known = ~np.isnan(truth)
    assert np.array_equal(np.signbit(y[known]), np.signbit(truth[known]))
    np.testing.assert_array_max_ulp(np.abs(y[known]), np.abs(truth[known]), 2)


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_power_has_the_same_bits_however_its_exponent_arrives(dtype):
    """As a number, as an array of one value or of many, as a Value, and in the derivative of another power."""
    a, b = signed_pairs(dtype)
    mixed = (mgx.Tensor(a) ** mgx.Tensor(b)).numpy()
    for exponent in np.unique(b[~np.isnan(b)]):
        at = b == exponent
        x = mgx.Tensor(a[at], requires_grad=True)
        y = x ** exponent
        assert equal(y.numpy(), mixed[at])
        assert equal((x ** mgx.full(x.shape, exponent, dtype=x.dtype)).numpy(), mixed[at])
        shared, = mgx.autograd.grad(y.sum(), [x])
        many = mgx.Tensor(np.r_[a[at], 2].astype(dtype), requires_grad=True)
        z = many ** mgx.Tensor(np.r_[np.full(at.sum(), exponent), 0.7].astype(dtype))
        assert equal(shared.numpy(), mgx.autograd.grad(z.sum(), [many])[0].numpy()[:-1])
        if dtype == np.float64:
            values = np.array([(mgx.Value(v) ** mgx.Value(exponent)).data for v in a[at].tolist()])
            assert equal(values, mixed[at])


ROOT = Path(__file__).resolve().parents[1]
WORDS = (ROOT / "csrc" / "words.inl").read_text()
COMMON = [int(twice) for twice in re.findall(r"m\((-?\d+)\)", re.search("#define EACH_POWER.*", WORDS).group())]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("twice", range(-4, 7))
def test_whole_and_half_powers_to_one_unit(twice, dtype):
    """Those that `power` knows to half a unit and little more."""
    x = np.geomspace(1e-6, 1e6, 400).astype(dtype)
    y = (mgx.Tensor(x) ** (twice / 2)).numpy()
    with mp.workprec(200):
        truth = [mp.power(mpf(float(v)), mpf(twice) / 2) for v in x]
        off = [abs(mpf(float(v)) - t) / float(np.spacing(v)) for v, t in zip(y, truth, strict=True)]
    assert max(off) <= (0.5001 if twice in COMMON or twice in (0, 2) else 1)


def test_texts_say_which_exponents_are_products_and_roots():
    said = [str(Fraction(twice, 2)) for twice in COMMON]
    said = f"{', '.join(said[:-1])} and {said[-1]}"
    texts = {"the comment of `power`": WORDS, "the docstring": mgx.Tensor.pow.__doc__,
             "CHANGELOG.md": (ROOT / "CHANGELOG.md").read_text()}
    for where, text in texts.items():
        assert said in re.sub(r"\s+", " ", text), where
    known = re.search(r"known = .*whole == twice(.*);", WORDS).group(1)         # and no exponent is left out there
    assert {*range(-4, 7)} - {int(k) for k in re.findall(r"whole != (-?\d+)", known)} == {*COMMON}
