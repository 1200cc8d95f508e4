"""Record true values and first derivatives of the vectorised functions, from mpmath.

Run:      python record_mpmath.py            (ten seconds; writes mpmath_cases.npz beside this file)
Needs:    numpy, mpmath.  Recorded with mpmath 1.3.0, numpy 2.4.6.
Format:   README.md beside this file.

Every number is computed at 60 and at 160 digits and must agree to 1e-40, so cancellation cannot hide.
The points x are exact doubles ('f64') or exact float32 numbers ('f32'); f(x) and f'(x) belong to exactly
that x.  Definitions, all constants exact (not rounded to double first):

    exp, log, sin, cos, tan, atan, sinh, cosh, tanh, erf, sqrt      as usual
    expm1(x)     = exp(x) - 1                 log1p(x)  = log(1 + x)
    erfc(x)      = 1 - erf(x)                 rsqrt(x)  = 1 / sqrt(x)
    sigmoid(x)   = 1 / (1 + exp(-x))          logsigmoid(x) = -log(1 + exp(-x))
    softplus(x)  = log(1 + exp(x))            (no threshold, beta = 1)
    silu(x)      = x sigmoid(x)               mish(x)   = x tanh(softplus(x))
    gelu(x)      = x (1 + erf(x / sqrt 2)) / 2
    gelu_tanh(x) = x (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))) / 2
    elu(x)       = x for x > 0, exp(x) - 1 otherwise
    selu(x)      = s x for x > 0, s a (exp(x) - 1) otherwise, with
                   s = 1.0507009873554804934193349852946, a = 1.6732632423543772848170429916717

At x = 0, where elu and selu have two one-sided derivatives, the one from the left is recorded.
"""

import json
from pathlib import Path

import mpmath
import numpy as np
from mpmath import mp, mpf

HERE = Path(__file__).parent


# ---------------------------------------------------------------- the functions, as (f, f') in mpmath

def sigmoid(x):
    e = mp.exp(-abs(x))
    return (1 if x >= 0 else e) / (1 + e)


def softplus(x):
    return max(x, 0) + mp.log1p(mp.exp(-abs(x)))


def sech2(x):
    return 4 * sigmoid(2 * x) * sigmoid(-2 * x)


def erfc(x):
    return mp.erfc(x) if abs(x) < 1e4 else mpf(0 if x > 0 else 2)     # mpmath cannot; off by e^-1e8 at most


def erf(x):
    return mp.erf(x) if abs(x) < 1e4 else mp.sign(x) * (1 - erfc(abs(x)))


def normal_cdf(x):
    return erfc(-x / mp.sqrt(2)) / 2


def normal_pdf(x):
    return mp.exp(-x * x / 2) / mp.sqrt(2 * mp.pi)


def gelu_tanh(x):
    c = mpf("0.044715")
    u, du = mp.sqrt(8 / mp.pi) * (x + c * x**3), mp.sqrt(8 / mp.pi) * (1 + 3 * c * x**2)
    return x * sigmoid(u), sigmoid(u) + x * sigmoid(u) * sigmoid(-u) * du


def mish(x):
    s = softplus(x)
    t = -mp.expm1(-2 * s) / (1 + mp.exp(-2 * s))                    # tanh(s), s > 0
    return x * t, t + x * sech2(s) * sigmoid(x)


def selu(x):
    s, a = mpf("1.0507009873554804934193349852946"), mpf("1.6732632423543772848170429916717")
    return (s * x, s) if x > 0 else (s * a * mp.expm1(x), s * a * mp.exp(x))


FUNCTIONS = {
    "exp": lambda x: (mp.exp(x), mp.exp(x)),
    "expm1": lambda x: (mp.expm1(x), mp.exp(x)),
    "log": lambda x: (mp.log(x), 1 / x),
    "log1p": lambda x: (mp.log1p(x), 1 / (1 + x)),
    "tanh": lambda x: (mp.tanh(x), sech2(x)),
    "sigmoid": lambda x: (sigmoid(x), sigmoid(x) * sigmoid(-x)),
    "logsigmoid": lambda x: (-softplus(-x), sigmoid(-x)),
    "softplus": lambda x: (softplus(x), sigmoid(x)),
    "silu": lambda x: (x * sigmoid(x), sigmoid(x) * (1 + x * sigmoid(-x))),
    "gelu": lambda x: (x * normal_cdf(x), normal_cdf(x) + x * normal_pdf(x)),
    "gelu_tanh": gelu_tanh,
    "mish": mish,
    "elu": lambda x: (x, mpf(1)) if x > 0 else (mp.expm1(x), mp.exp(x)),
    "selu": selu,
    "erf": lambda x: (erf(x), 2 / mp.sqrt(mp.pi) * mp.exp(-x * x)),
    "erfc": lambda x: (erfc(x), -2 / mp.sqrt(mp.pi) * mp.exp(-x * x)),
    "sqrt": lambda x: (mp.sqrt(x), 1 / (2 * mp.sqrt(x))),
    "rsqrt": lambda x: (1 / mp.sqrt(x), -1 / (2 * x * mp.sqrt(x))),
    "sin": lambda x: (mp.sin(x), mp.cos(x)),
    "cos": lambda x: (mp.cos(x), -mp.sin(x)),
    "tan": lambda x: (mp.tan(x), 1 / mp.cos(x) ** 2),
    "atan": lambda x: (mp.atan(x), 1 / (1 + x * x)),
    "sinh": lambda x: (mp.sinh(x), mp.cosh(x)),
    "cosh": lambda x: (mp.cosh(x), mp.sinh(x)),
}


# ---------------------------------------------------------------- where to look
# Per function: the open domain; the ends of the interval of interest (beyond them the result is 0, inf, a
# constant or x itself); points to surround closely (thresholds, zeros of f and of f').  For float32 the
# ends are smaller where overflow and underflow come earlier.

INF = float("inf")
HUGE = {"f64": 1e300, "f32": 1e38}
RANGE = {                                # name: (f64 lo, f64 hi), (f32 lo, f32 hi)
    "exp": ((-746, 710.5), (-104, 89)), "expm1": ((-746, 710.5), (-104, 89)),
    "tanh": ((-373.5, 373.5), (-53, 53)), "sigmoid": ((-746, 746), (-104, 104)),
    "logsigmoid": ((-746, 746), (-104, 104)), "softplus": ((-746, 746), (-104, 104)),
    "silu": ((-752, 752), (-109, 109)), "mish": ((-752, 752), (-109, 109)),
    "gelu": ((-38.7, 38.7), (-14.5, 14.5)), "gelu_tanh": ((-21.7, 21.7), (-10.8, 10.8)),
    "elu": ((-746, 50), (-104, 20)), "selu": ((-746, 50), (-104, 20)),
    "erf": ((-27.4, 27.4), (-10.3, 10.3)), "erfc": ((-27.4, 27.4), (-10.3, 10.3)),
    "sinh": ((-711, 711), (-90, 90)), "cosh": ((-711, 711), (-90, 90)),
    "sin": ((-100, 100), (-100, 100)), "cos": ((-100, 100), (-100, 100)), "tan": ((-100, 100), (-100, 100)),
    "atan": ((-50, 50), (-50, 50)), "log": ((0, 3), (0, 3)), "log1p": ((-1, 3), (-1, 3)),
    "sqrt": ((0, 10), (0, 10)), "rsqrt": ((0, 10), (0, 10)),
}
DOMAIN = {"log": (0, INF), "log1p": (-1, INF), "sqrt": (0, INF), "rsqrt": (0, INF)}
PI = 3.141592653589793
NEAR = {
    "exp": [-708.396, -744.44, 709.7827, -87.33, -103.28, 88.72],
    "expm1": [-0.5, 0.5, 709.7827, 88.72, -36.7, -17.3],
    "log": [1.0, 0.7071067811865476, 1.4142135623730951], "log1p": [-0.5, 1.0, -0.2929, 0.4142],
    "tanh": [0.5493, 0.625, 18.7, 19.06, 22.0, 9.01], "sigmoid": [36.7, -36.7, 17.3, -708.4, -87.3],
    "logsigmoid": [36.7, -708.4], "softplus": [20.0, 36.7, -36.7, 16.7, -708.4],
    "silu": [-1.2784645427610738, -36.7, 36.7, -708.4, -87.3], "mish": [-1.1924546068325486, 20.0, -708.4, -87.3],
    "gelu": [-0.7517915762461297, -5.66, 8.3, -8.3, -37.5], "gelu_tanh": [-0.7524614220710163, -5.5, 5.5, -21.0],
    "elu": [-36.7, 1.0], "selu": [-36.7, 1.0],
    "erf": [0.5, 0.84375, 1.25, 5.92, 26.0, 3.92], "erfc": [0.5, 0.84375, 1.25, 2.857, 6.0, 26.5, 9.19],
    "sqrt": [1.0, 2.0, 4.0], "rsqrt": [1.0, 2.0, 4.0],
    "sin": [PI / 2, PI, 2 * PI, 22.0, 355.0, 1e5, 2.0**52], "cos": [PI / 2, PI, 3 * PI / 2, 11.0, 1e5, 2.0**52],
    "tan": [PI / 4, PI / 2, PI, 11.0, 22.0, 1e5, 2.0**52],
    "atan": [0.4375, 0.6875, 1.0, 1.1875, 2.4375, 1e16],
    "sinh": [1.0, 22.0, 709.78, 710.47], "cosh": [0.35, 22.0, 709.78, 710.47],
}


def points(name, kind, rng):
    """About 400 doubles or 250 float32 numbers on which to try the function `name`."""
    dtype = np.float64 if kind == "f64" else np.float32
    full = kind == "f64"
    lo, hi = RANGE[name][0 if full else 1]
    tiny, huge = (5e-324, HUGE[kind]) if full else (1.5e-45, HUGE[kind])
    n = 26 if full else 16
    with np.errstate(under="ignore", over="ignore"):
        magnitude = 10 ** rng.uniform(np.log10(tiny) + 1, np.log10(huge), 2 * n)       # all sizes
        small = 10 ** rng.uniform(-18 if full else -9, 0, 2 * n)                       # around 1e-9 .. 1
        sets = [
            magnitude, -magnitude[: n], small, -small,
            rng.uniform(max(lo, -4), min(hi, 4), 2 * n), rng.uniform(lo, hi, 2 * n),
            hi - 0.06 * (hi - lo) * rng.uniform(0, 1, n) ** 2, lo + 0.06 * (hi - lo) * rng.uniform(0, 1, n) ** 2,
            [tiny, -tiny, huge, -huge, 1.0, -1.0, 0.5, -0.5, 0.0],
        ]
        for centre in NEAR[name]:
            c, steps = dtype(centre), [0, 1, 3, 30]
            ulp = float(np.spacing(np.abs(c)))
            sets.append([float(c) + s * k * ulp for k in steps for s in (1, -1)])
            sets.append([float(c) * (1 + s * 10.0**-p) for p in ((2, 5, 9) if full else (2, 4)) for s in (1, -1)])
        if name in ("sin", "cos", "tan"):                                # doubles closest to multiples of pi/2
            k = np.unique(np.rint(10 ** rng.uniform(0, 15 if full else 6, n)))
            sets.append(k * (PI / 2))
            if full:
                sets.append([6381956970095103.0 * 2.0**797, 1e22, 2.0**1000])      # 4.7e-19 from a multiple
        x = np.concatenate([np.asarray(s, dtype=np.float64) for s in sets]).astype(dtype)
    low, high = DOMAIN.get(name, (-INF, INF))
    x = np.unique(x[np.isfinite(x) & (x > low) & (x < high)])
    return x + dtype(0)                                                  # no -0


# ---------------------------------------------------------------- true value -> hi + lo * ulp(hi)

def split(v):
    """hi = the double nearest to v (ties to even); lo = (v - hi) / spacing(hi), in [-0.5, 0.5]."""
    if v == 0:
        return 0.0, 0.0
    exponent = max(mpmath.frexp(v)[1] - 53, -1074)
    scaled = mpmath.ldexp(v, -exponent)
    n = int(mp.nint(scaled))
    lo = float(scaled - n)
    try:
        hi = float(np.ldexp(float(n), exponent)) if abs(n) < 2**53 else float(np.ldexp(n / 2.0, exponent + 1))
    except OverflowError:
        hi = INF
    if np.isinf(hi):
        return hi, 0.0
    if abs(n) == 2**53:                                                  # rounded up into the next binade
        lo /= 2
    return hi, lo


def truth(f, x):
    """(f(x), f'(x)) at 60 digits, checked at 160.  Below 2^-1300 all is 0."""
    found = []
    for digits in (60, 160):
        mp.dps = digits
        found.append(f(mpf(float(x))))
    for a, b in zip(*found):
        if abs(a - b) > mpf(10) ** -40 * abs(b) + mpf(2) ** -1300:
            raise ArithmeticError(f"not settled at x = {float(x)!r}: {a} against {b}")
    return found[1]


def main():
    rng = np.random.default_rng(20260101)
    arrays, counts = {}, {}
    for name, f in FUNCTIONS.items():
        for kind in ("f64", "f32"):
            x = points(name, kind, rng)
            rows = []
            for xi in x:
                value, slope = truth(f, xi)
                rows.append(split(value) + split(slope))
            for key, column in zip(("f_hi", "f_lo", "d_hi", "d_lo"), np.array(rows).T):
                arrays[f"{name}/{kind}/{key}"] = column.copy() if key.endswith("hi") else column.astype(np.float32)
            arrays[f"{name}/{kind}/x"] = x
            counts[f"{name}/{kind}"] = len(x)
        print(name, counts[f"{name}/f64"], counts[f"{name}/f32"], flush=True)
    arrays["index"] = np.array(json.dumps(counts))
    np.savez_compressed(HERE / "mpmath_cases.npz", **arrays)
    print(sum(counts.values()), "points,", (HERE / "mpmath_cases.npz").stat().st_size, "bytes")


if __name__ == "__main__":
    np.seterr(over="ignore")
    main()
