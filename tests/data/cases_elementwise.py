"""The elementwise cases: unary, binary, ternary rows, their kinks, corners, NaN and infinities."""

import numpy as np
import torch
import torch.nn.functional as F

from recorder import away, function, method, normal, record, rng, run

INF, NAN = float("inf"), float("nan")


# ---------------------------------------------------------------- unary

def gelu_tanh(x):
    return F.gelu(x, approximate="tanh")



def hardsigmoid(x):
    """torch's own multiplies the gradient by 1/6 rounded to float32."""
    return torch.where(x.abs() >= 3, (x > 0).to(x.dtype), x / 6 + 0.5)


ZERO_SLOPE = {"floor", "ceil", "round", "trunc", "sign"}
UNARY = {                                    # op: (torch function, lo, hi, kinks)
    "neg": (torch.neg, -3, 3, ()), "abs": (torch.abs, -3, 3, (0,)), "sign": (torch.sign, -3, 3, (0,)),
    "square": (torch.square, -3, 3, ()), "sqrt": (torch.sqrt, 0.1, 4, ()), "rsqrt": (torch.rsqrt, 0.1, 4, ()),
    "reciprocal": (torch.reciprocal, -3, 3, (0,)), "exp": (torch.exp, -3, 3, ()), "exp2": (torch.exp2, -3, 3, ()),
    "expm1": (torch.expm1, -2, 2, ()), "log": (torch.log, 0.1, 4, ()), "log2": (torch.log2, 0.1, 4, ()),
    "log10": (torch.log10, 0.1, 4, ()), "log1p": (torch.log1p, -0.9, 3, ()),
    "sin": (torch.sin, -4, 4, ()), "cos": (torch.cos, -4, 4, ()), "tan": (torch.tan, -1.2, 1.2, ()),
    "sinh": (torch.sinh, -3, 3, ()), "cosh": (torch.cosh, -3, 3, ()), "tanh": (torch.tanh, -2, 2, ()),
    "asin": (torch.asin, -0.9, 0.9, ()), "acos": (torch.acos, -0.9, 0.9, ()), "atan": (torch.atan, -3, 3, ()),
    "asinh": (torch.asinh, -3, 3, ()), "acosh": (torch.acosh, 1.2, 4, ()), "atanh": (torch.atanh, -0.9, 0.9, ()),
    "erf": (torch.erf, -2, 2, ()), "erfc": (torch.erfc, -2, 2, ()),
    "floor": (torch.floor, -3, 3, ()), "ceil": (torch.ceil, -3, 3, ()), "round": (torch.round, -3, 3, ()),
    "trunc": (torch.trunc, -3, 3, ()),
    "sigmoid": (torch.sigmoid, -4, 4, ()), "logsigmoid": (F.logsigmoid, -4, 4, ()),
    "logit": (torch.logit, 0.05, 0.95, ()), "softplus": (F.softplus, -4, 4, ()),
    "relu": (F.relu, -3, 3, (0,)), "relu6": (F.relu6, -2, 8, (0, 6)),
    "leaky_relu": (F.leaky_relu, -3, 3, (0,)), "elu": (F.elu, -3, 3, (0,)), "selu": (F.selu, -3, 3, (0,)),
    "celu": (F.celu, -3, 3, (0,)), "gelu": (F.gelu, -3, 3, ()), "gelu_tanh": (gelu_tanh, -3, 3, ()),
    "silu": (F.silu, -4, 4, ()), "mish": (F.mish, -4, 4, ()), "softsign": (F.softsign, -3, 3, ()),
    "hardtanh": (F.hardtanh, -2, 2, (-1, 1)), "hardsigmoid": (hardsigmoid, -4, 4, (-3, 3)),
    "hardswish": (F.hardswish, -4, 4, (-3, 3)), "hardshrink": (F.hardshrink, -2, 2, (-0.5, 0.5)),
    "softshrink": (F.softshrink, -2, 2, (-0.5, 0.5)), "tanhshrink": (F.tanhshrink, -2, 2, ()),
}
PARAMETERS = [                               # op, kwargs, the same in torch, lo, hi, kinks
    ("leaky_relu", {"slope": 0.2}, lambda x: F.leaky_relu(x, 0.2), -3, 3, (0,)),
    ("elu", {"alpha": 0.5}, lambda x: F.elu(x, 0.5), -3, 3, (0,)),
    ("celu", {"alpha": 2.0}, lambda x: F.celu(x, 2.0), -3, 3, (0,)),
    ("hardtanh", {"lo": -0.5, "hi": 2.0}, lambda x: F.hardtanh(x, -0.5, 2.0), -2, 4, (-0.5, 2.0)),
    ("hardshrink", {"lambd": 1.0}, lambda x: F.hardshrink(x, 1.0), -2, 2, (-1, 1)),
    ("softshrink", {"lambd": 0.25}, lambda x: F.softshrink(x, 0.25), -2, 2, (-0.25, 0.25)),
    ("threshold", {"threshold": 0.5, "value": -1.0}, lambda x: F.threshold(x, 0.5, -1.0), -2, 2, (0.5,)),
    ("threshold", {"threshold": -1.0, "value": 20.0}, lambda x: F.threshold(x, -1.0, 20.0), -2, 2, (-1.0,)),
]
KINKS = {                                    # where the slope jumps or is infinite: first derivatives only
    "abs": [-0.0, 0.0], "sign": [-0.0, 0.0], "sqrt": [0.0], "relu": [-0.0, 0.0], "relu6": [0.0, 6.0],
    "leaky_relu": [0.0], "elu": [0.0], "selu": [0.0], "celu": [0.0], "hardtanh": [-1.0, 1.0],
    "hardsigmoid": [-3.0, 3.0], "hardswish": [-3.0, 3.0], "hardshrink": [-0.5, 0.5],
    "softshrink": [-0.5, 0.5], "softsign": [0.0],
    "round": [-2.5, -1.5, -0.5, 0.5, 1.5, 2.5], "floor": [-2.0, -0.0, 2.0], "ceil": [-2.0, -0.0, 2.0],
    "trunc": [-2.0, -0.0, 2.0],
    "square": [0.0], "log": [0.0], "rsqrt": [0.0], "reciprocal": [0.0, -0.0], "log1p": [-1.0, 0.0],
    "asin": [-1.0, 1.0], "acos": [-1.0, 1.0], "acosh": [1.0], "atanh": [-1.0, 1.0], "logit": [0.0, 1.0],
}
LIMITS = {                                   # the limit, where torch says nan at an infinity
    ("silu", -INF): -0.0, ("gelu", -INF): -0.0, ("gelu_tanh", -INF): -0.0, ("mish", -INF): -0.0,
    ("softsign", INF): 1.0, ("softsign", -INF): -1.0, ("hardswish", -INF): -0.0, ("sign", NAN): NAN,
}


def take_limits(op):
    def fix(inputs, found):
        x, y = inputs[0], found["outputs"][0].copy()
        for (name, at), limit in LIMITS.items():
            if name == op:
                y[np.isnan(x) if np.isnan(at) else x == at] = limit
        why = "torch: sign(nan) = 0; ours: nan" if op == "sign" else "torch: nan at an infinity; ours: the limit"
        return why, {"outputs": [y]}
    return fix


def unary_cases():
    for i, (op, (f, lo, hi, kinks)) in enumerate(UNARY.items()):
        shape = [(4,), (2, 3), (5,), (3, 2)][i % 4]
        kinks = (-2, -1, 0, 1, 2) if op in ZERO_SLOPE else kinks
        method(op, f, away(shape, lo, hi, kinks), f32=True)
        shape, note = [((), "0d"), ((0,), "empty"), ((0, 3), "empty"), ((), "0d")][i % 4]
        method(op, f, away(shape, lo, hi, kinks), note=note, f32=i % 4 == 0)
        if op in KINKS:
            method(op, f, np.array(KINKS[op]), note="kink", order=1, f32=False)
        special = np.array([NAN, INF, -INF])
        fix = take_limits(op) if any(name == op for name, at in LIMITS) else None
        method(op, f, special, note="nan-inf", order=0, f32=i % 3 == 0, fix=fix)
    for op, kwargs, f, lo, hi, kinks in PARAMETERS:
        method(op, f, away((2, 3), lo, hi, kinks), kwargs=kwargs, note="parameters")
        method(op, f, np.array(kinks, float), kwargs=kwargs, note="parameters-kink", order=1, f32=False)


# ---------------------------------------------------------------- binary and ternary

def prelu(x, w):
    return torch.where(x > 0, x, w * x)


BINARY = {                                   # op: (torch function, range of a, range of b)
    "add": (torch.add, (-3, 3), (-3, 3)), "sub": (torch.sub, (-3, 3), (-3, 3)), "mul": (torch.mul, (-3, 3), (-3, 3)),
    "div": (torch.div, (-3, 3), (0.5, 3)), "pow": (torch.pow, (0.2, 3), (-2, 3)),
    "maximum": (torch.maximum, (-3, 3), (-3, 3)), "minimum": (torch.minimum, (-3, 3), (-3, 3)),
    "fmod": (torch.fmod, (-5, 5), (0.7, 2)), "remainder": (torch.remainder, (-5, 5), (0.7, 2)),
    "atan2": (torch.atan2, (-3, 3), (-3, 3)), "hypot": (torch.hypot, (-3, 3), (0.2, 3)),
    "logaddexp": (torch.logaddexp, (-3, 3), (-3, 3)), "xlogy": (torch.xlogy, (-3, 3), (0.1, 3)),
    "prelu": (prelu, (-3, 3), (-1, 1)),
}
PAIRS = [((3,), (3,)), ((2, 3), (3,)), ((2, 1), (1, 3)), ((), (2, 2)), ((0, 3), (3,)), ((2, 3), ())]
CORNERS = {                                  # op: [(a, b, note, order of derivative), ...]
    "maximum": [([1.0, 2, -1, 0], [1.0, 1, 3, 0], "ties", 1),
                ([NAN, 1, INF, -INF], [1.0, NAN, 2, -INF], "nan-inf", 0)],
    "minimum": [([1.0, 2, -1, 0], [1.0, 1, 3, 0], "ties", 1),
                ([NAN, 1, INF, -INF], [1.0, NAN, 2, -INF], "nan-inf", 0)],
    "add": [([INF, INF, NAN, 1], [-INF, 1, 1, INF], "nan-inf", 0)],
    "sub": [([INF, INF, NAN, 1], [-INF, INF, 1, INF], "nan-inf", 0)],
    "mul": [([INF, 0, NAN, -INF], [0.0, 5, 0, 2], "nan-inf", 0)],
    "div": [([1.0, -1, 0, INF, 1, 1], [0.0, 0, 0, INF, INF, -0.0], "zero-inf", 0), ([0.0, 2], [4.0, -4], "zero", 2)],
    "fmod": [([5.0, -5, 5, -5, 4, -4], [3.0, 3, -3, -3, 2, 2], "signs", 1),
             ([INF, 1, -1, 1, NAN], [1.0, INF, INF, 0, 1], "nan-inf", 0)],
    "remainder": [([5.0, -5, 5, -5, 4, -4], [3.0, 3, -3, -3, 2, 2], "signs", 1),
                  ([INF, 1, 1, NAN], [1.0, INF, 0, 1], "nan-inf", 0)],
    "atan2": [([0.0, 1, -1, 0], [1.0, 0, 0, -1], "axes", 2),
              ([0.0, -0.0, 0, -0.0, INF, INF, NAN], [0.0, 0, -0.0, -0.0, INF, -INF, 1], "zero-inf", 0)],
    "hypot": [([3.0, 0, -3], [4.0, 2, 0], "axes", 1),
              ([INF, NAN, 1, 1e300, 3e-300], [NAN, 1, -INF, 1e300, 4e-300], "nan-inf", 0)],
    "logaddexp": [([0.0, 800, -800, 1000], [0.0, 800, -801, -1000], "far", 1),
                  ([INF, -INF, NAN, -INF, INF], [INF, -INF, 1, 2, -INF], "nan-inf", 0)],
    "xlogy": [([0.0, 0, 1, 2], [0.0, 3, 1, 4], "zero", 0), ([0.0, 0, 1, NAN], [NAN, INF, 0, 1], "nan-inf", 0),
              ([0.0, 2], [3.0, 1], "zero-x", 1)],
    "prelu": [([0.0, -0.0], [0.25, 0.25], "kink", 1), ([NAN, INF, -INF], [0.25, 0.25, 0.25], "nan-inf", 0)],
    "pow": [([0.0, 0, 0, 0], [2.0, 1, 0.5, 0], "zero-base", 1), ([0.0, 0, 0], [-1.0, 3, 1.5], "zero-base", 0),
            ([-2.0, -2, -2, -1.5], [2.0, 3, -1, 0], "negative-base", 0),
            ([1.0, NAN, -8, INF, INF, -INF, 2, 0.5, NAN], [NAN, 0, 1 / 3, -1, 0, 3, INF, INF, 2], "nan-inf", 0)],
}


def binary_cases():
    for op, (f, a, b) in BINARY.items():
        for j, (sa, sb) in enumerate(PAIRS):
            note = "same" if sa == sb else "empty" if 0 in sa else "0d" if () in (sa, sb) else "broadcast"
            x, y = rng.uniform(*a, sa), rng.uniform(*b, sb)
            while op in ("fmod", "remainder") and (abs(x / y - np.round(x / y)) < 0.03).any():      # off the jumps
                x = rng.uniform(*a, sa)
            method(op, f, x, y, note=note, f32=j in (1, 3))
        for x, y, note, order in CORNERS.get(op, []):
            method(op, f, np.array(x), np.array(y), note=note, order=order, f32=False)
    method("hypot", torch.hypot, np.zeros(1), np.zeros(1), note="origin", order=1, f32=False,
           fix=lambda i, found: ("torch: nan at the origin; ours: 0, the subgradient of least norm, as for norm",
                                 {"grads": [np.zeros(1), np.zeros(1)]}))
    for p in (2.0, 3.0, 1.0, 0.5, 0.0, -1.0, -2.5, 1.5):                 # a number as exponent
        method("pow", lambda x: x**p, away((3,), 0.3, 2), kwargs={"b": p}, note="number")
    for p in (2.0, 1.0, 0.5, 0.0, 3.0):                                  # 0 ** p, and its slope
        method("pow", lambda x: x**p, np.array([0.0]), kwargs={"b": p}, note="zero-number", order=1, f32=False)
    for p in (2.0, 3.0, -1.0):
        method("pow", lambda x: x**p, np.array([-2.0, -0.5]), kwargs={"b": p}, note="negative-number")
    for op, f, b in (("add", lambda x: x + 1.5, 1.5), ("sub", lambda x: x - 1.5, 1.5),
                     ("mul", lambda x: x * -2.0, -2.0), ("div", lambda x: x / 4.0, 4.0),
                     ("remainder", lambda x: x % 0.75, 0.75)):
        method(op, f, away((2, 2), 0.1, 3), kwargs={"b": b}, note="number")
    method("maximum", lambda x: torch.maximum(x, torch.zeros((), dtype=x.dtype)), np.array([-1.0, 0, 2]),
           kwargs={"b": 0.0}, note="number-tie", order=1)


def ternary_cases():
    for sa, sb, st in [((3,), (3,), (3,)), ((2, 3), (3,), ()), ((2, 1), (1, 3), (2, 3)), ((0,), (0,), (1,)),
                       ((), (), ())]:
        function("lerp", torch.lerp, normal(*sa), normal(*sb), rng.uniform(0, 1, st))
    function("lerp", torch.lerp, np.array([1.0, 2]), np.array([3.0, -1]), np.array([0.0, 1.0]), note="ends")
    for sc, sa, sb in [((3,), (3,), (3,)), ((2, 3), (3,), ()), ((2, 1), (1, 3), (2, 3)), ((0,), (0,), (1,)),
                       ((), (2,), (2,)), ((4,), (), ())]:
        function("where", torch.where, rng.random(sc) < 0.5, normal(*sa), normal(*sb))
    function("where", torch.where, np.array([True, False, True]), np.array([NAN, INF, 1]), np.array([1.0, 2, NAN]),
             note="nan-inf")
    for shape in [(4,), (2, 3), (), (0, 2)]:
        function("clip", lambda x: torch.clip(x, -1.0, 0.5), away(shape, -2, 2, (-1, 0.5)),
                 kwargs={"lo": -1.0, "hi": 0.5})
    bounds = {"lo": -1.0, "hi": 0.5}
    function("clip", lambda x: torch.clip(x, -1.0, 0.5), np.array([NAN, INF, -INF]), kwargs=bounds, note="nan-inf",
             order=0)
    function("clip", lambda x: torch.clip(x, -1.0, 0.5), np.array([-1.0, 0.5]), kwargs=bounds, note="ends", order=1)
    function("clip", lambda x: torch.clip(x, min=0.0), away((4,), -2, 2, (0,)), kwargs={"lo": 0.0, "hi": None},
             note="one-sided")
    function("clip", lambda x: torch.clip(x, max=0.0), away((4,), -2, 2, (0,)), kwargs={"lo": None, "hi": 0.0},
             note="one-sided")
    function("clip", torch.clip, normal(2, 3), np.full(3, -0.6), np.full((2, 1), 0.4), note="tensors")


def masked_cases():
    """where() must not let nan through from the branch that was not taken."""
    where, zero = torch.where, torch.zeros((), dtype=torch.float64)
    for note, text, f, x in [
        ("sqrt", "where(x > 0, sqrt(x), 0)", lambda x: where(x > 0, x.sqrt(), zero), [-1.0, 0.0, 4.0]),
        ("sqrt-else-x", "where(x > 0, sqrt(x), x)", lambda x: where(x > 0, x.sqrt(), x), [-1.0, 0.0, 4.0]),
        ("log", "where(x > 0, log(x), 0)", lambda x: where(x > 0, x.log(), zero), [-1.0, 0.0, 2.0]),
        ("reciprocal", "where(x != 0, reciprocal(x), 0)", lambda x: where(x != 0, x.reciprocal(), zero),
         [0.0, 2.0, -4.0]),
        ("exp", "where(x < 100, exp(x), 0)", lambda x: where(x < 100, x.exp(), zero), [1.0, 800.0]),
        ("pow", "where(x > 0, x**0.5, 0)", lambda x: where(x > 0, x**0.5, zero), [-1.0, 0.0, 4.0]),
    ]:
        def fix(inputs, found, note=note):
            g, c = found["grads"][0], found["cotangents"][0]
            ours = np.where(np.isnan(g), c if note == "sqrt-else-x" else 0.0, g)
            return "torch: 0 * (nan or inf) = nan in the branch not taken; ours: 0", {"grads": [ours]}
        x = np.array(x)
        differs = np.isnan(run(f, [x], "float64", 1, 1)[2][0].detach().numpy()).any()
        record("expression", "expression", f, [x], kwargs={"expression": text}, note=note, order=1, f32=False,
               fix=fix if differs else None)


def record_all():
    unary_cases()
    binary_cases()
    ternary_cases()
    masked_cases()
