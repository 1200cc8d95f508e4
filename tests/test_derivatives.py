"""Derivatives against differences, complex steps and mpmath, to the third order; broadcasting; conventions at kinks."""
import warnings

import numpy as np
import pytest
import scipy.special as special
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays_of
from mpmath import mp, mpf
from samples import (DTYPES, ROWS, SMOOTH, TRUTH, UNARY, away_from_kinks, call, gradients, operands, ranges,
                     true_derivative)

import microgradx as mgx

settings.register_profile("repeatable", derandomize=True, deadline=None, database=None, max_examples=50)
settings.load_profile("repeatable")
INF, NAN = np.inf, np.nan


def point(name):
    """Hypothesis: one point in the range of the row, ends included, as arrays of one number."""
    numbers = [st.floats(lo, hi) for lo, hi in ranges(name)]
    return st.tuples(*numbers).map(lambda v: [np.array([np.rint(x) if name == "where" and k == 0 else x])
                                              for k, x in enumerate(v)])


def value(name, xs):
    return call(name, *map(mgx.Tensor, xs)).numpy()


# ----- the first derivative ----------------------------------------------------------------------------------

@pytest.mark.short
@pytest.mark.parametrize("name", SMOOTH)
def test_gradient_is_the_slope_of_the_row(name):
    """Central differences of the row itself, by each operand; error h^2 f'''/6 + ulp(f)/h."""
    @given(point(name))
    @example([np.array([float(hi if k else lo)]) for k, (lo, hi) in enumerate(ranges(name))])
    def check(xs):
        if not away_from_kinks(name, xs, 1e-4).all():
            return                                              # the kinks have tests of their own
        y, slopes = gradients(name, xs)
        for k, x in enumerate(xs):
            if name == "where" and k == 0 or name in ("threshold", "hardshrink") and k == 1:
                assert slopes[k] == 0                           # a step: the difference could only see the jump
                continue
            h = 1e-5 * max(abs(x[0]), 0.1 if ranges(name)[k][0] < 0 else 0.01)
            up, down = (value(name, [*xs[:k], x + s * h, *xs[k + 1:]]) for s in (1, -1))
            difference = (up - down) / ((x + h) - (x - h))
            np.testing.assert_allclose(slopes[k], difference, rtol=2e-6, atol=1e-9 + 2e-15 * abs(y[0]) / h)

    check()


def logistic(z):
    return 1 / (1 + np.exp(-z))


COMPLEX = {     # the row for a complex argument: d/dx = Im f(x + ih) / h, without any cancellation
    "square": np.square, "sqrt": np.sqrt, "rsqrt": lambda z: 1 / np.sqrt(z), "reciprocal": lambda z: 1 / z,
    "exp": np.exp, "exp2": np.exp2, "expm1": np.expm1, "log": np.log, "log2": np.log2, "log10": np.log10,
    "log1p": np.log1p, "sin": np.sin, "cos": np.cos, "tan": np.tan, "asin": np.arcsin, "acos": np.arccos,
    "atan": np.arctan, "sinh": np.sinh, "cosh": np.cosh, "tanh": np.tanh, "asinh": np.arcsinh, "acosh": np.arccosh,
    "atanh": np.arctanh, "erf": special.erf, "erfc": special.erfc, "sigmoid": logistic,
    "logsigmoid": lambda z: -np.log1p(np.exp(-z)), "logit": lambda z: np.log(z / (1 - z)),
    "softplus": lambda z: np.log1p(np.exp(z)), "gelu": lambda z: z * special.erfc(-z / np.sqrt(2)) / 2,
    "gelu_tanh": lambda z: z * logistic(np.sqrt(8 / np.pi) * (z + 0.044715 * z**3)), "silu": lambda z: z * logistic(z),
    "mish": lambda z: z * np.tanh(np.log1p(np.exp(z))), "tanhshrink": lambda z: z - np.tanh(z),
    "dsigmoid": lambda z: logistic(z) * logistic(-z), "sech2": lambda z: 4 * logistic(2 * z) * logistic(-2 * z),
    "gauss": lambda z: np.exp(-z * z), "normpdf": lambda z: np.exp(-z * z / 2) / np.sqrt(2 * np.pi),
    "dsilu": lambda z: logistic(z) * (1 + z * logistic(-z)),
}


@pytest.mark.parametrize("name", COMPLEX)
def test_gradient_is_the_complex_step(name):
    (x,) = operands(name, 200)
    truth = np.imag(COMPLEX[name](x + 1e-30j)) / 1e-30
    np.testing.assert_allclose(gradients(name, [x])[1][0], truth, rtol=2e-13, atol=1e-14)


# ----- higher orders -----------------------------------------------------------------------------------------

def derivative(name, xs, directions):
    """The engine's partial derivative: once by each operand in `directions`, in turn."""
    ts = [mgx.Tensor(x, requires_grad=True) for x in xs]
    y = call(name, *ts)
    for k in directions:
        for t in ts:
            t.grad = None
        if not y.requires_grad:
            return np.zeros_like(xs[0])
        y.sum().backward(create_graph=True)
        if ts[k].grad is None:
            return np.zeros_like(xs[0])
        y = ts[k].grad
    return y.detach().numpy()


@pytest.mark.parametrize("order", [2, 3])
@pytest.mark.parametrize("name", SMOOTH)
def test_higher_derivatives(name, order):
    xs = operands(name, 12, seed=order)
    keep = away_from_kinks(name, xs, 1e-3)
    xs = [x[keep] for x in xs]
    for k in range(name == "where", len(xs)):                   # where() jumps at every number but 0 of its mask
        truth, _ = true_derivative(name, xs, k, order)
        size = np.abs(truth) + np.abs(true_derivative(name, xs, k, 1)[0])
        got = derivative(name, xs, [k] * order)
        assert np.all(np.abs(got - truth) <= 1e-11 * size + 1e-13), (k, got, truth)


MIXED = [(name, i, j) for name in SMOOTH for i in range(ROWS[name]["arity"]) for j in range(i)]


@pytest.mark.parametrize("name, i, j", MIXED)
def test_mixed_derivatives(name, i, j):
    """d/di of the engine's d/dj, by central differences, and the two orders agree."""
    xs = operands(name, 20, seed=3)
    keep = away_from_kinks(name, xs, 1e-3)
    xs = [x[keep] for x in xs]
    got, other = derivative(name, xs, [j, i]), derivative(name, xs, [i, j])
    np.testing.assert_allclose(got, other, rtol=1e-11, atol=1e-12)
    h = 1e-5 * np.maximum(np.abs(xs[i]), 0.1)
    if not (name == "where" and i == 0 or j == 0 and name == "where"):
        up, down = (gradients(name, [x + s * h if k == i else x for k, x in enumerate(xs)])[1][j] for s in (1, -1))
        np.testing.assert_allclose(got, (up - down) / (2 * h), rtol=1e-5, atol=1e-8)


# ----- sigma' ------------------------------------------------------------------------------------------------

def every_exponent(dtype):
    """Numbers with every exponent and sign, several mantissas each, zeros, infinities and the range that matters."""
    bits, mantissa, exponents = (np.uint32, 23, 255) if dtype is np.float32 else (np.uint64, 52, 2047)
    e = np.arange(exponents, dtype=bits) << bits(mantissa)
    fractions = np.array([0, 1, 2**mantissa // 3, 2 ** (mantissa - 1), 2**mantissa - 1], bits)
    x = (e[:, None] | fractions).ravel().view(dtype)
    edge = np.linspace(80, 110, 6001) if dtype is np.float32 else np.linspace(700, 750, 10001)
    x = np.concatenate([x, edge.astype(dtype), np.linspace(0, 40, 4001).astype(dtype), np.array([INF], dtype)])
    return np.concatenate([x, -x])


def zero_allowed(z, dtype):
    """Whether sigma'(z) is below half the smallest subnormal number."""
    with mp.workdps(30):
        e = mp.exp(-abs(mpf(float(z))))
        return e / (1 + e) ** 2 <= mpf(float(np.finfo(dtype).smallest_subnormal)) / 2


def check_sigmoid_slope(z):
    dtype = z.dtype.type
    d = gradients("sigmoid", [z])[1][0]
    assert np.all((d >= 0) & (d <= 0.25)), z[~((d >= 0) & (d <= 0.25))]
    zero = z[d == 0]
    assert all(zero_allowed(v, dtype) for v in zero)
    small = np.finfo(dtype).smallest_subnormal                  # and a slope that is there has not been made up
    assert not any(zero_allowed(v, dtype) for v in z[d == small][:200])


@pytest.mark.short
@pytest.mark.parametrize("dtype", DTYPES)
def test_sigmoid_slope_is_in_bounds_at_every_exponent(dtype):
    check_sigmoid_slope(every_exponent(dtype))


@pytest.mark.parametrize("dtype", DTYPES)
def test_sigmoid_slope_is_in_bounds_everywhere(dtype):
    @settings(max_examples=300)
    @given(arrays_of.arrays(dtype, st.integers(1, 40), elements=st.floats(width=32 if dtype is np.float32 else 64,
                                                                          allow_nan=False)))
    def check(z):
        check_sigmoid_slope(z)

    check()


def test_sigmoid_slope_equals_differences_where_they_can_tell():
    """Left of 0 sigma has no constant part, so its differences keep their digits down to the tail."""
    @settings(max_examples=200)
    @given(st.floats(-700, 30))
    def check(z):
        h = 1e-4 * max(1.0, min(abs(z), 1.0))
        z, tail = np.array([z]), -np.abs([z])                   # sigma' is even: ask the side that can tell
        up, down = value("sigmoid", [tail + h]), value("sigmoid", [tail - h])
        difference = (up - down) / ((tail + h) - (tail - h))
        np.testing.assert_allclose(gradients("sigmoid", [z])[1][0], difference, rtol=1e-8)

    check()


# ----- Value and Tensor --------------------------------------------------------------------------------------

@pytest.mark.short
@pytest.mark.parametrize("name", SMOOTH)
def test_value_equals_tensor_to_the_bit(name):
    special_points = [0.0, -0.0, 1.0, -1.0, INF, -INF, NAN, 5e-324, 1e308, 0.5, 700.0, -700.0, 1e10]

    @settings(max_examples=25)
    @given(st.tuples(*[st.one_of(st.sampled_from(special_points), st.floats())] * ROWS[name]["arity"]))
    def check(xs):
        vs = [mgx.Value(x) for x in xs]
        y = call(name, *vs)
        y.backward()
        with warnings.catch_warnings():
            y_of_tensor, slopes = gradients(name, [np.array([x]) for x in xs])
        np.testing.assert_array_equal(np.array([y.data]), y_of_tensor)
        for v, slope in zip(vs, slopes):
            np.testing.assert_array_equal(np.array([v.grad]), slope)

    check()


# ----- broadcasting ------------------------------------------------------------------------------------------

NUMPY = {"add": np.add, "sub": np.subtract, "mul": np.multiply, "div": np.divide, "maximum": np.maximum,
         "minimum": np.minimum, "hypot": np.hypot, "atan2": np.arctan2, "logaddexp": np.logaddexp,
         "lerp": lambda a, b, c: a + c * (b - a), "where": lambda c, a, b: np.where(c != 0, a, b)}


def unbroadcast(g, shape):
    """The sum of g over what was broadcast."""
    g = g.sum(axis=tuple(range(g.ndim - len(shape))))
    return g.sum(axis=tuple(i for i, n in enumerate(shape) if n == 1), keepdims=True)


@pytest.mark.parametrize("name", NUMPY)
def test_broadcasting_is_numpy_s(name):
    @given(arrays_of.mutually_broadcastable_shapes(num_shapes=ROWS[name]["arity"], max_dims=4, min_side=0, max_side=4),
           st.integers(0, 2**16))
    def check(shapes, seed):
        rng = np.random.default_rng(seed)
        xs = [rng.uniform(0.5, 2, shape) for shape in shapes.input_shapes]
        y, slopes = gradients(name, xs)
        truth = NUMPY[name](*xs)
        assert y.shape == shapes.result_shape == truth.shape
        np.testing.assert_allclose(y, truth, rtol=1e-14, atol=1e-14)
        spread = gradients(name, [np.ascontiguousarray(np.broadcast_to(x, y.shape)) for x in xs])[1]
        for x, slope, wide in zip(xs, slopes, spread):
            assert slope.shape == x.shape
            np.testing.assert_allclose(slope, unbroadcast(wide, x.shape), rtol=1e-13, atol=1e-14)

    check()


@pytest.mark.short
def test_shapes_that_do_not_broadcast_are_named():
    with pytest.raises(mgx.errors.ShapeError, match=r"mul: shapes \(2, 3\) and \(2,\).*3 != 2"):
        mgx.Tensor(np.ones((2, 3))) * mgx.Tensor(np.ones(2))


# ----- kinks and conventions ---------------------------------------------------------------------------------

@pytest.mark.short
@pytest.mark.parametrize("name, xs, slopes", [
    ("relu", [0.0], [0]), ("relu", [-0.0], [0]), ("abs", [0.0], [0]), ("abs", [-0.0], [0]), ("sign", [0.0], [0]),
    ("relu6", [0.0], [0]), ("relu6", [6.0], [0]), ("sqrt", [0.0], [INF]), ("floor", [2.0], [0]),
    ("leaky_relu", [0.0, 0.25], [0.25, 0]), ("elu", [0.0, 0.5], [0.5, 0]), ("celu", [0.0, 0.5], [1, 0]),
    ("hardtanh", [1.0, -1.0, 1.0], [0, 0, 1]), ("clip", [1.0, -1.0, 1.0], [1, 0, 0]),
    ("clip", [2.0, -1.0, 1.0], [0, 0, 1]),
    ("clip", [0.0, 2.0, 1.0], [0, 0, 1]), ("hardshrink", [0.5, 0.5], [0, 0]), ("softshrink", [-0.5, 0.5], [0, 0]),
    ("threshold", [0.5, 0.5, 9.0], [0, 0, 1]), ("hardsigmoid", [3.0], [0]), ("hardswish", [-3.0], [0]),
    ("hardswish", [3.0], [1]),
    ("maximum", [2.0, 2.0], [0.5, 0.5]), ("minimum", [2.0, 2.0], [0.5, 0.5]), ("maximum", [1.0, 2.0], [0, 1]),
    ("pow", [0.0, 0.0], [0, 0]), ("pow", [0.0, 1.0], [1, 0]), ("pow", [0.0, 2.0], [0, 0]),
    ("pow", [0.0, 0.5], [INF, 0]),
    ("pow", [0.0, 3.0], [0, 0]), ("pow", [-2.0, 3.0], [12, NAN]), ("pow", [0.0, -1.0], [-INF, -INF]),
    ("xlogy", [0.0, 0.0], [0, 0]), ("xlogy", [0.0, 2.0], [np.log(2), 0]), ("hypot", [0.0, 0.0], [0, 0]),
    ("atan2", [0.0, 0.0], [0, 0]), ("logaddexp", [INF, INF], None), ("logaddexp", [-INF, 0.0], [0, 1]),
    ("where", [1.0, 2.0, 3.0], [0, 1, 0]), ("mul_no_nan", [0.0, INF], [INF, 0]),
])
def test_convention(name, xs, slopes):
    ts = [mgx.Tensor(np.array(x), requires_grad=True) for x in xs]
    y = call(name, *ts)
    if slopes is None:
        return np.testing.assert_equal(y.item(), INF)
    y.backward()
    np.testing.assert_array_equal([t.grad.item() for t in ts], slopes)


@pytest.mark.short
@pytest.mark.parametrize("exponent", [0, 1, 2, 3, 0.0, 2.0])
def test_whole_powers_of_zero_to_the_third_order(exponent):
    x = mgx.Tensor(np.array([0.0, -1.5]), requires_grad=True)
    y, truth = x**exponent, np.poly1d([1] + [0] * int(exponent))
    for _ in range(3):
        np.testing.assert_allclose(y.detach().numpy(), truth([0.0, -1.5]), atol=1e-15)
        x.grad = None
        if not y.requires_grad:
            break
        y.sum().backward(create_graph=True)
        y, truth = x.grad, truth.deriv()


@pytest.mark.short
@pytest.mark.parametrize("guarded", [lambda x: mgx.Tensor.where(x > 0, x.sqrt(), 0.0),
                                     lambda x: mgx.Tensor.where(x > 0, x.log(), 0.0),
                                     lambda x: mgx.Tensor.where(x > 0, 1 / x, 0.0)])
def test_a_branch_that_is_not_taken_gives_no_gradient(guarded):
    x = mgx.Tensor(np.array([-1.0, 0.0, 4.0]), requires_grad=True)
    y = guarded(x)
    y.sum().backward(create_graph=True)
    assert list(x.grad.numpy()[:2]) == [0, 0] and x.grad.numpy()[2] not in (0, INF)
    first, x.grad = x.grad, None
    first.sum().backward()
    assert list(x.grad.numpy()[:2]) == [0, 0] and np.isfinite(x.grad.numpy()[2])


@pytest.mark.short
@pytest.mark.parametrize("name", [name for name in UNARY if name not in ("clone", "neg")])
def test_no_gradient_in_no_gradient_out(name):
    x = np.array([-INF, -2.0, -0.0, 0.0, 0.5, 1.0, INF, NAN])
    assert np.all(gradients(name, [x], cotangent=0.0)[1][0] == 0)


@pytest.mark.short
def test_second_derivative_at_a_minimum_survives_the_zero_gradient():
    x = mgx.Tensor(np.array([0.0, 3.0]), requires_grad=True)
    (x.square().square() + x.square()).sum().backward(create_graph=True)
    first, x.grad = x.grad, None
    first.sum().backward()
    np.testing.assert_array_equal(x.grad.numpy(), [2.0, 110.0])


def test_truths_are_what_numpy_says():
    """The mpmath truths themselves, against NumPy where it has the function."""
    for name in SMOOTH:
        function = NUMPY.get(name) or getattr(np, name, None)
        if name not in ("clone", "round") and isinstance(function, np.ufunc) and function.nin == ROWS[name]["arity"]:
            xs = operands(name, 8)
            truth = [float(TRUTH[name](*map(mpf, map(float, p)))) for p in zip(*xs)]
            np.testing.assert_allclose(function(*xs), truth, rtol=1e-13, err_msg=name)
