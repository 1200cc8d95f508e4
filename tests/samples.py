"""Operands to draw, and truths in mpmath to compare with, for every row of the table.

`TRUTH[name]` is the row as mathematics, over exact mpmath numbers; constants that the engine keeps as doubles
are exact here. `ENDS[name]` is what it is at the ends of the number line. Nothing in either is taken from
`csrc/ops.def` but the names.
"""
import math
import platform

import numpy as np
from mpmath import mp, mpf

import microgradx as mgx
from microgradx._core import kernels

mp.dps = 40
ROWS = {row["name"]: row for row in kernels.table()}
SMOOTH = [name for name, row in ROWS.items() if row["kind"] != "C"]         # what has a derivative
UNARY = [name for name in SMOOTH if ROWS[name]["arity"] == 1]
DTYPES = (np.float32, np.float64)
FMA = kernels.isa() != "baseline" or platform.machine() in ("arm64", "aarch64")     # for the bounds of the table
SLACK = 1 if FMA else 2                 # without it they may be exceeded by this factor
TRIG_MAX = {np.float32: 2.0**20 if FMA else 12000.0, np.float64: 2.0**26}          # beyond, the C library answers

# the ranges of the operands after the first; (lo, hi) is that of the row where nothing is said
OTHERS = {"leaky_relu": [(0.01, 0.5)], "prelu": [(0.01, 0.5)], "elu": [(0.5, 2)], "celu": [(0.5, 2)],
          "hardtanh": [(-2, -0.5), (0.5, 2)], "hardshrink": [(0.2, 1.5)], "softshrink": [(0.2, 1.5)],
          "threshold": [(-1, 1), (-3, 3)], "clip": [(-2, -0.5), (0.5, 2)], "pow": [(-3, 3)], "div": [(0.1, 10)],
          "fmod": [(0.5, 4)], "remainder": [(0.5, 4)], "xlogy": [(0.1, 5)], "where": [(-3, 3), (-3, 3)],
          "lerp": [(-10, 10), (0, 1)]}

# where f or f' jumps: samples of the first operand keep away from these (functions of the other operands)
KINKS = {"abs": [0], "sign": [0], "relu": [0], "relu6": [0, 6], "leaky_relu": [0], "prelu": [0], "elu": [0],
         "selu": [0], "celu": [0], "hardsigmoid": [-3, 3], "hardswish": [-3, 3], "softsign": [0]}


def ranges(name):
    """(lo, hi) of each operand."""
    row = ROWS[name]
    first = (row["lo"], row["hi"])
    return [first, *OTHERS.get(name, [first] * (row["arity"] - 1))]


def operands(name, n, dtype=np.float64, seed=0):
    """Arrays of n numbers of `dtype`, one per operand, from the ranges of the row."""
    rng = np.random.default_rng([seed, *name.encode()])
    xs = [rng.uniform(lo, hi, n).astype(dtype) for lo, hi in ranges(name)]
    if name == "where":
        xs[0] = np.rint(xs[0])
    return xs


DOMAIN = {"sqrt": (0, np.inf), "rsqrt": (0, np.inf), "log": (0, np.inf), "log2": (0, np.inf), "log10": (0, np.inf),
          "log1p": (-1, np.inf), "asin": (-1, 1), "acos": (-1, 1), "atanh": (-1, 1), "acosh": (1, np.inf),
          "logit": (0, 1)}


def everywhere(name, n, dtype=np.float64, seed=0):
    """About n numbers of every size in the domain of a unary row: subnormals, tails, ends of the domain, the huge."""
    rng = np.random.default_rng([seed, *name.encode()])
    info = np.finfo(dtype)
    lo, hi = DOMAIN.get(name, (-np.inf, np.inf))
    part, largest, smallest = n // 4, float(info.max), float(info.smallest_subnormal)
    sign = rng.choice([-1, 1], (2, part))
    with np.errstate(under="ignore"):
        x = np.concatenate([sign[0] * 10 ** rng.uniform(np.log10(smallest), np.log10(largest), part),
                            sign[1] * 10 ** rng.uniform(-3, 3, part),
                            rng.uniform(-40, 40, part) if np.isinf(hi) else
                            sign[0] * (1 - 10 ** rng.uniform(-16, -1, part)),
                            rng.uniform(-1.05, 1.05, part) * np.log(largest)]).astype(dtype)
    return x[(x > lo) & (x < hi) & np.isfinite(x)]


def away_from_kinks(name, xs, gap):
    """Which of the points lie further than `gap` from every place where the row or its derivative jumps."""
    a, rest = xs[0], xs[1:]
    places = [np.full_like(a, k) for k in KINKS.get(name, [])]
    if name in ("floor", "ceil", "trunc", "round"):
        places = [np.rint(a + shift) - shift for shift in ((0.5,) if name == "round" else (0,))]
    if name in ("hardtanh", "clip", "maximum", "minimum"):
        places = list(rest)
    if name == "threshold":
        places = [rest[0]]
    if name in ("hardshrink", "softshrink"):
        places = [rest[0], -rest[0]]
    if name in ("atan2", "hypot"):                                  # the origin, and the cut of the angle
        return (np.hypot(a, rest[0]) > 1000 * gap) & ((rest[0] > 0) | (np.abs(a) > gap))
    if name in ("fmod", "remainder"):
        places = [np.rint(a / rest[0]) * rest[0]]
        gap = 4 * gap * np.maximum(1, np.abs(a))
    return np.all([np.abs(a - p) > gap for p in places], axis=0) if places else np.ones(a.shape, bool)


def call(name, *xs):
    """The public method of the row; of ``where``, whose method is of masks alone, the function."""
    if name == "where":
        return mgx.where(*xs)
    return getattr(xs[0], name)(*xs[1:])


def gradients(name, xs, cotangent=1.0):
    """Result and first derivatives of the row at arrays `xs`, by the shipped loops."""
    ts = [mgx.Tensor(x, requires_grad=True) for x in xs]
    y = call(name, *ts)
    y.backward(mgx.Tensor(np.full(y.shape, cotangent, y.dtype)))
    return y.detach().numpy(), [np.zeros_like(t) if t.grad is None else t.grad.numpy() for t in ts]


def recorded_gradients(name, xs):
    """The same derivatives by the other path: the text of the row, read by Python over tensors."""
    ts = [mgx.Tensor(x, requires_grad=True) for x in xs]
    y = call(name, *ts)
    y.backward(mgx.Tensor(np.ones(y.shape, y.dtype)), create_graph=True)
    return [np.zeros_like(x) if t.grad is None else t.grad.detach().numpy() for t, x in zip(ts, xs)]


# ----- truth -------------------------------------------------------------------------------------------------

def orders_by_differences(function, start, directions, orders=(1, 2, 3)):
    """Each derivative of sum(sin(function)) along ``directions`` is the difference quotient of the one before."""
    def derivative(order, arrays):
        xs = [mgx.Tensor(a, requires_grad=True) for a in arrays]
        y = function(*xs).sin().sum()
        for _ in range(order):
            for x in xs:
                x.grad = None
            y.backward(create_graph=True)
            y = sum((x.grad * d).sum() for x, d in zip(xs, directions))
        value = y.item()
        for x in xs:
            x.grad = None
        return value
    h = 1e-4
    for order in orders:
        up, down = (derivative(order - 1, [a + s * h * d for a, d in zip(start, directions)]) for s in (1, -1))
        assert math.isclose(derivative(order, start), (up - down) / (2 * h), rel_tol=1e-5)


def split(truths):
    """mpmath numbers as (hi, lo) of tests/data: the truth is hi + lo * spacing(hi)."""
    hi = np.array([float(t) for t in truths])
    lo = [float((t - mpf(h)) / mpf(float(np.spacing(abs(h))))) if np.isfinite(h) else 0.0 for t, h in zip(truths, hi)]
    return hi, np.array(lo)


def ulps(got, hi, lo=0.0):
    """Distance of `got` from the truth in units of its own last place. An infinity counts as the largest number,
    so overflowing one rounding early or late costs one ulp, and nan is infinitely wrong."""
    top = np.finfo(got.dtype).max
    with np.errstate(over="ignore", under="ignore"):
        last = np.nextafter(top, got.dtype.type(0))             # whose spacing is that of top, and a number
        grid = np.spacing(np.minimum(np.abs(hi), last).astype(got.dtype)).astype(np.float64)
        small = np.abs(hi) < float(top)
        off = np.clip(got, -top, top).astype(np.float64) - np.clip(hi, -float(top), float(top))
        off = off - np.where(small, lo * np.spacing(np.where(small, np.abs(hi), 0)), 0)
        return np.where(np.isnan(got), np.inf, np.abs(off) / grid)


def tanh_form(t):
    """exp(-u) (2 u' + t u'^2), u = sqrt(8/pi) (t + 0.044715 t^3), and exp(-u) is as sensitive as u is large."""
    t = np.minimum(t, 30)
    c = np.sqrt(8 / np.pi)
    u, du = c * (t + 0.044715 * t**3), c * (1 + 3 * 0.044715 * t**2)
    return np.exp(-u) * np.maximum(1, u) * (2 * du + t * du**2)


# the largest term of what may cancel: (of the value, of the derivative with respect to each operand)
LARGEST = {
    "hardsigmoid": (lambda x: abs(x) / 6 + 0.5,),
    "hardswish": (lambda x: abs(x) * (abs(x) + 3) / 6, lambda x: abs(x) / 3 + 0.5),
    "softshrink": (lambda x, l: abs(x) + l,), "tanhshrink": (abs,),
    "add": (lambda a, b: abs(a) + abs(b),), "sub": (lambda a, b: abs(a) + abs(b),),
    "remainder": (lambda a, b: abs(b),),
    "logaddexp": (lambda a, b: np.maximum(abs(a), abs(b)) + 1, lambda a, b: 1 + 0 * a, lambda a, b: 1 + 0 * a),
    "lerp": (lambda a, b, c: abs(a) + abs(c) * (abs(a) + abs(b)), lambda a, b, c: 1 + abs(c), lambda a, b, c: abs(c),
             lambda a, b, c: abs(a) + abs(b)),
    # exp(a/b) is as sensitive as its argument is large; in d/db two terms cancel near a = 0
    "celu": (None, lambda a, b: np.exp(np.minimum(a / b, 0)) * np.maximum(1, -a / b),
             lambda a, b: np.where(a > 0, 0, -np.expm1(np.minimum(a / b, 0)) - a / b * np.exp(np.minimum(a / b, 0)))),
    "dsilu": (None, lambda x: np.exp(-abs(x)) * (2 + abs(x))),
    "dgelu": (None, lambda x: np.exp(-np.minimum(x * x, 1500) / 2) * (2 + np.minimum(x * x, 1500))),
    "dgelu_tanh": (None, lambda x: tanh_form(abs(x))),
    "dmish": (None, lambda x: np.exp(-abs(x)) * (4 + 4 * abs(x))),
}


def scale_of(name, k, xs, dtype):
    """A unit in the last place of the largest term, of the value (k = 0) or of the derivative by operand k - 1."""
    with np.errstate(over="ignore"):
        largest = np.minimum(LARGEST[name][k](*[x.astype(float) for x in xs]), float(np.finfo(dtype).max) / 2)
    return np.spacing(largest.astype(dtype))


TERMS = 4               # ulp of the largest term that a bound of -1 allows
# below the normal range the derivative of a helper is a factor that was rounded there, times one as large as this
BELOW = {"gauss": lambda t: 2 * t, "normpdf": lambda t: t, "dsilu": lambda t: 2 + t, "dgelu": lambda t: 2 + t * t,
         "dgelu_tanh": lambda t: 10 + t**5, "dmish": lambda t: 4 + 4 * t}


def error(name, k, got, true, xs):
    """Distance of the value (k = 0) or of the derivative by operand k - 1 from the truth (hi, lo), in the units of the
    row's bound."""
    if ROWS[name]["dulp" if k else "ulp"] < 0:
        off = np.abs(got - true[0]) / scale_of(name, k, xs, got.dtype)
    else:
        off = ulps(got, *true)
    if k and name in BELOW:
        grains = BELOW[name](np.minimum(np.abs(xs[0].astype(float)), 1e3))
        off = np.where(np.abs(got - true[0]) <= grains * float(np.finfo(got.dtype).smallest_subnormal), 0, off)
    return off


def _sigmoid(x):
    e = mp.exp(-abs(x))
    return (1 if x >= 0 else e) / (1 + e)


def _softplus(x):
    return max(x, mpf(0)) + mp.log1p(mp.exp(-abs(x)))


def _dsigmoid(x):
    return _sigmoid(x) * _sigmoid(-x)


def _sech2(x):
    return 4 * _dsigmoid(2 * x)


def _tanh(x):
    return mp.sign(x) * -mp.expm1(-2 * abs(x)) / (1 + mp.exp(-2 * abs(x)))


def _erfc(x):
    return mp.erfc(x) if abs(x) < 1e4 else mpf(0 if x > 0 else 2)       # mpmath gives up there


def _erf(x):
    return mp.erf(x) if abs(x) < 1e4 else mp.sign(x)


def _normpdf(x):
    return mp.exp(-x * x / 2) / mp.sqrt(2 * mp.pi)


def _normcdf(x):
    return _erfc(-x / mp.sqrt(2)) / 2


def _gelu_tanh_u(x):
    return mp.sqrt(8 / mp.pi) * (x + mpf("0.044715") * x**3), mp.sqrt(8 / mp.pi) * (1 + 3 * mpf("0.044715") * x**2)


def _dgelu_tanh(x):
    u, du = _gelu_tanh_u(x)
    return _sigmoid(u) + x * _dsigmoid(u) * du


def _dmish(x):
    t = _tanh(_softplus(x))
    return t + x * _sech2(_softplus(x)) * _sigmoid(x)


def _ddgelu_tanh(x):
    (u, du), ddu = _gelu_tanh_u(x), mp.sqrt(8 / mp.pi) * 6 * mpf("0.044715") * x
    return _dsigmoid(u) * (2 * du + x * ddu - x * du**2 * _tanh(u / 2))


def _ddmish(x):
    s, d = _softplus(x), _sigmoid(x)
    return _sech2(s) * (2 * d + x * (_dsigmoid(x) - 2 * d**2 * _tanh(s)))


def _fmod(a, b):
    return a - b * int(a / b)


def _clip(x, lo, hi):
    return min(max(x, lo), hi)


_S, _A = mpf("1.0507009873554804934193349852946"), mpf("1.6732632423543772848170429916717")
TRUTH = {
    "clone": lambda x: x, "neg": lambda x: -x, "abs": abs, "sign": mp.sign, "square": lambda x: x * x, "sqrt": mp.sqrt,
    "rsqrt": lambda x: 1 / mp.sqrt(x), "reciprocal": lambda x: 1 / x, "floor": mp.floor, "ceil": mp.ceil,
    "round": mp.nint, "trunc": lambda x: mp.sign(x) * mp.floor(abs(x)),
    "exp": mp.exp, "exp2": lambda x: mpf(2) ** x, "expm1": mp.expm1, "log": mp.log,
    "log2": lambda x: mp.log(x) / mp.ln(2),
    "log10": lambda x: mp.log(x) / mp.ln(10), "log1p": mp.log1p,
    "sin": mp.sin, "cos": mp.cos, "tan": mp.tan, "asin": mp.asin, "acos": mp.acos, "atan": mp.atan,
    "sinh": mp.sinh, "cosh": mp.cosh, "tanh": _tanh,
    "asinh": lambda x: mp.sign(x) * mp.asinh(abs(x)), "acosh": mp.acosh, "atanh": mp.atanh, "erf": _erf, "erfc": _erfc,
    "sigmoid": _sigmoid, "logsigmoid": lambda x: -_softplus(-x), "logit": lambda x: mp.log(x / (1 - x)),
    "softplus": _softplus, "relu": lambda x: max(x, mpf(0)), "relu6": lambda x: _clip(x, mpf(0), mpf(6)),
    "leaky_relu": lambda x, s: x if x > 0 else s * x, "prelu": lambda x, w: x if x > 0 else w * x,
    "elu": lambda x, a: x if x > 0 else a * mp.expm1(x), "selu": lambda x: _S * x if x > 0 else _S * _A * mp.expm1(x),
    "celu": lambda x, a: x if x > 0 else a * mp.expm1(x / a),
    "gelu": lambda x: x * _normcdf(x), "gelu_tanh": lambda x: x * _sigmoid(_gelu_tanh_u(x)[0]),
    "silu": lambda x: x * _sigmoid(x), "mish": lambda x: x * _tanh(_softplus(x)),
    "softsign": lambda x: x / (1 + abs(x)),
    "hardtanh": _clip, "hardsigmoid": lambda x: _clip(x / 6 + mpf(1) / 2, mpf(0), mpf(1)),
    "hardswish": lambda x: x * _clip(x / 6 + mpf(1) / 2, mpf(0), mpf(1)),
    "hardshrink": lambda x, l: x if abs(x) > l else mpf(0),
    "softshrink": lambda x, l: x - mp.sign(x) * l if abs(x) > l else mpf(0), "tanhshrink": lambda x: x - _tanh(x),
    "threshold": lambda x, t, v: x if x > t else v,
    "add": lambda a, b: a + b, "sub": lambda a, b: a - b, "mul": lambda a, b: a * b, "div": lambda a, b: a / b,
    "pow": lambda a, b: a**b, "maximum": max, "minimum": min, "fmod": _fmod,
    "remainder": lambda a, b: a - b * mp.floor(a / b),
    "atan2": mp.atan2, "hypot": mp.hypot,
    "logaddexp": lambda a, b: max(a, b) + mp.log1p(mp.exp(-abs(a - b))), "xlogy": lambda a, b: a * mp.log(b),
    "lerp": lambda a, b, c: a + c * (b - a), "where": lambda c, a, b: a if c != 0 else b, "clip": _clip,
    "mul_no_nan": lambda a, b: a * b, "dsigmoid": _dsigmoid, "sech2": _sech2,
    "gauss": lambda x: mp.exp(-x * x), "normpdf": _normpdf,
    "dsilu": lambda x: _sigmoid(x) * (1 + x * _sigmoid(-x)), "dgelu": lambda x: _normcdf(x) + x * _normpdf(x),
    "dgelu_tanh": _dgelu_tanh, "dmish": _dmish,
}

INF, NAN, PI, LN2 = np.inf, np.nan, np.pi, np.log(2)
ENDS = {        # values of the unary rows at -inf, -0, +0, inf
    "neg": (INF, 0.0, -0.0, -INF), "abs": (INF, 0.0, 0.0, INF), "sign": (-1, -0.0, 0.0, 1),
    "square": (INF, 0.0, 0.0, INF),
    "sqrt": (NAN, -0.0, 0.0, INF), "rsqrt": (NAN, -INF, INF, 0.0), "reciprocal": (-0.0, -INF, INF, 0.0),
    "floor": (-INF, -0.0, 0.0, INF), "ceil": (-INF, -0.0, 0.0, INF), "round": (-INF, -0.0, 0.0, INF),
    "trunc": (-INF, -0.0, 0.0, INF), "clone": (-INF, -0.0, 0.0, INF),
    "exp": (0.0, 1, 1, INF), "exp2": (0.0, 1, 1, INF), "expm1": (-1, -0.0, 0.0, INF), "log": (NAN, -INF, -INF, INF),
    "log2": (NAN, -INF, -INF, INF), "log10": (NAN, -INF, -INF, INF), "log1p": (NAN, -0.0, 0.0, INF),
    "sin": (NAN, -0.0, 0.0, NAN), "cos": (NAN, 1, 1, NAN), "tan": (NAN, -0.0, 0.0, NAN),
    "asin": (NAN, -0.0, 0.0, NAN), "acos": (NAN, PI / 2, PI / 2, NAN), "atan": (-PI / 2, -0.0, 0.0, PI / 2),
    "sinh": (-INF, -0.0, 0.0, INF), "cosh": (INF, 1, 1, INF), "tanh": (-1, -0.0, 0.0, 1),
    "asinh": (-INF, -0.0, 0.0, INF), "acosh": (NAN, NAN, NAN, INF), "atanh": (NAN, -0.0, 0.0, NAN),
    "erf": (-1, -0.0, 0.0, 1), "erfc": (2, 1, 1, 0.0),
    "sigmoid": (0.0, 0.5, 0.5, 1), "logsigmoid": (-INF, -LN2, -LN2, -0.0), "logit": (NAN, -INF, -INF, NAN),
    "softplus": (0.0, LN2, LN2, INF), "relu": (0.0, 0.0, 0.0, INF), "relu6": (0.0, 0.0, 0.0, 6),
    "selu": (-1.7580993408473766, -0.0, 0.0, INF), "gelu": (-0.0, -0.0, 0.0, INF), "gelu_tanh": (-0.0, -0.0, 0.0, INF),
    "silu": (-0.0, -0.0, 0.0, INF), "mish": (-0.0, -0.0, 0.0, INF), "softsign": (-1, -0.0, 0.0, 1),
    "hardsigmoid": (0.0, 0.5, 0.5, 1), "hardswish": (0.0, -0.0, 0.0, INF), "tanhshrink": (-INF, 0.0, 0.0, INF),
    "dsigmoid": (0.0, 0.25, 0.25, 0.0), "sech2": (0.0, 1, 1, 0.0), "gauss": (0.0, 1, 1, 0.0),
    "normpdf": (0.0, 0.3989422804014327, 0.3989422804014327, 0.0), "dsilu": (-0.0, 0.5, 0.5, 1),
    "dgelu": (-0.0, 0.5, 0.5, 1), "dgelu_tanh": (-0.0, 0.5, 0.5, 1), "dmish": (-0.0, 0.6, 0.6, 1),
}

SECOND = {      # derivatives of the rows that are themselves derivatives, for the tails, where differences are slow
    "dsigmoid": lambda x: -_dsigmoid(x) * _tanh(x / 2), "sech2": lambda x: -2 * _sech2(x) * _tanh(x),
    "gauss": lambda x: -2 * x * mp.exp(-x * x), "normpdf": lambda x: -x * _normpdf(x),
    "dsilu": lambda x: _dsigmoid(x) * (2 - x * _tanh(x / 2)), "dgelu": lambda x: _normpdf(x) * (2 - x * x),
    "dgelu_tanh": _ddgelu_tanh, "dmish": _ddmish}


def truth(name, xs):
    """True values of the row at arrays `xs`, as (hi, lo)."""
    return split([TRUTH[name](*map(mpf, map(float, point))) for point in zip(*xs)])


def true_derivative(name, xs, k, order=1):
    """True derivatives with respect to operand k as (hi, lo): central differences in 450 digits."""
    found = []
    with mp.workdps(450):
        for point in zip(*xs):
            point = [mpf(float(v)) for v in point]
            h = (abs(point[k]) or mpf(1)) * mpf(10) ** -60
            total = mpf(0)
            for j in range(order + 1):
                moved = point[:k] + [point[k] + (order - 2 * j) * h] + point[k + 1:]
                total += (-1) ** j * mp.binomial(order, j) * TRUTH[name](*moved)
            found.append(total / (2 * h) ** order)
        return split(found)
