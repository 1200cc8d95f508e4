"""Every row against mpmath, on the shipped loops, within the bounds that it states; the ends of the number line.

The bounds of `csrc/ops.def` hold with fused multiply-add; on the baseline twice as much is allowed. A
bound of -1 means: in ulp of the largest term, see samples.LARGEST.
"""
import importlib.util
import json
import math
import re
import shutil
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from mpmath import mpf
from recorded import DATA
from samples import (DTYPES, ENDS, INF, LN2, NAN, PI, ROWS, SECOND, SLACK, SMOOTH, TERMS, TRIG_MAX,
                     UNARY, away_from_kinks, call, error, everywhere, gradients, operands, recorded_gradients, split,
                     true_derivative, truth, ulps)

import microgradx as mgx
from microgradx._core import kernels

ARRAYS = np.load(DATA / "mpmath_cases.npz")
RECORDED = {(key.split("/")[0], np.float64 if key.endswith("64") else np.float32): key
            for key in json.loads(str(ARRAYS["index"]))}
TRIGONOMETRIC = {"sin": (math.sin, math.cos), "cos": (math.cos, lambda x: -math.sin(x)),
                 "tan": (math.tan, lambda x: 1 / math.cos(x) ** 2)}


def bound(name, kind):
    return ROWS[name][kind] * SLACK


def within(got, true, limit, *xs):
    """Assert that `got` lies within `limit` ulp of the truth (hi, lo), and show the worst point otherwise."""
    off = ulps(got, *true)
    worst = int(np.argmax(off)) if off.size else 0
    assert not off.size or off[worst] <= limit, (
        f"{off[worst]:.4g} ulp, {limit} allowed, at {[float(x[worst]) for x in xs]}: "
        f"{got[worst]!r}, not {true[0][worst]!r}; "
        f"{np.sum(off > limit)} of {off.size} points")


# ----- the recorded points: 24 functions, all of the number line ---------------------------------------------

def recorded(name, dtype):
    """x, (f_hi, f_lo), (d_hi, d_lo), where both are finite and the C library is not called."""
    key = RECORDED[name, dtype]
    x, *columns = (ARRAYS[f"{key}/{column}"].astype(float) for column in ("x", "f_hi", "f_lo", "d_hi", "d_lo"))
    keep = np.isfinite(columns[0]) & np.isfinite(columns[2])
    if name in TRIGONOMETRIC:
        keep &= np.abs(x) <= TRIG_MAX[dtype]
    f_hi, f_lo, d_hi, d_lo = (column[keep] for column in columns)
    return x[keep].astype(dtype), (f_hi, f_lo), (d_hi, d_lo)


def with_parameters(name, x):
    return [x, np.ones_like(x)] if name == "elu" else [x]


@pytest.mark.parametrize("name, dtype", RECORDED)
def test_recorded_values_and_derivatives(name, dtype):
    x, f, d = recorded(name, dtype)
    y, (dx, *_) = gradients(name, with_parameters(name, x))
    within(y, f, bound(name, "ulp"), x)
    within(dx, d, bound(name, "dulp"), x)


@pytest.mark.parametrize("name, dtype", RECORDED)
def test_recorded_derivatives_by_the_text(name, dtype):
    """The graph of the derivative rounds like the loop: the same bound."""
    x, _, d = recorded(name, dtype)
    within(recorded_gradients(name, with_parameters(name, x))[0], d, bound(name, "dulp"), x)


@pytest.mark.parametrize("name", TRIGONOMETRIC)
def test_huge_arguments_are_the_c_library_s(name):
    x = ARRAYS[f"{name}/f64/x"]
    x = x[np.abs(x) > TRIG_MAX[np.float64]]
    y, (dx,) = gradients(name, [x])
    f, d = TRIGONOMETRIC[name]
    assert len(x) > 50
    np.testing.assert_array_equal(y, [f(v) for v in x])
    np.testing.assert_array_max_ulp(dx, np.array([d(v) for v in x]), 2)


@pytest.mark.short
@pytest.mark.parametrize("name", TRIGONOMETRIC)
def test_next_to_multiples_of_a_quarter_turn(name):
    """Where the reduction leaves least: all of float32 up to TRIG_MAX, against the C library's doubles."""
    x = (np.arange(1, int(TRIG_MAX[np.float32] / (PI / 2))) * (PI / 2)).astype(np.float32)
    f, d = TRIGONOMETRIC[name]
    y, (dx,) = gradients(name, [x])
    within(y, (np.array([f(v) for v in x.tolist()]), 0), bound(name, "ulp"), x)
    within(dx, (np.array([d(v) for v in x.tolist()]), 0), bound(name, "dulp"), x)


# ----- every row on samples of its range ---------------------------------------------------------------------

GAP = 1e-6              # distance to the places where f or f' jumps


def compare(name, kind, got, true, xs, k=0):
    """Within the bound of the row: in ulp of the result, or of its largest term."""
    limit = ROWS[name][kind]
    off = error(name, k, got, true, xs)
    assert np.all(off <= (TERMS if limit < 0 else limit) * SLACK), (
        f"{off.max():.4g} ulp, {limit} allowed, at {[float(x[off.argmax()]) for x in xs]}: {got[off.argmax()]!r}, not "
        f"{true[0][off.argmax()]!r}; -1: of the largest term")


@pytest.mark.short
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", SMOOTH)
def test_samples_of_the_range(name, dtype):
    xs = operands(name, 60, dtype)
    keep = away_from_kinks(name, xs, GAP)
    xs = [x[keep] for x in xs]
    assert len(xs[0]) > 40
    y, slopes = gradients(name, xs)
    compare(name, "ulp", y, truth(name, xs), xs)
    by_text = recorded_gradients(name, xs)
    for k in range(len(xs)):
        true = true_derivative(name, xs, k)
        compare(name, "dulp", slopes[k], true, xs, k + 1)
        compare(name, "dulp", by_text[k], true, xs, k + 1)


@pytest.mark.short
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", [name for name in SMOOTH if ROWS[name]["arity"] == 2])
def test_equal_operands(name, dtype):
    x = np.abs(operands(name, 40, dtype)[0]) + dtype(0.1)
    compare(name, "ulp", call(name, mgx.Tensor(x), mgx.Tensor(x)).numpy(), truth(name, [x, x]), [x, x])


# ----- every size of argument, for what the recorded points leave out ----------------------------------------

WIDE = [name for name in UNARY if (name, np.float64) not in RECORDED]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", WIDE)
def test_arguments_of_every_size(name, dtype):
    x = everywhere(name, 160, dtype)
    x = x[away_from_kinks(name, [x], GAP)]
    y, (dx,) = gradients(name, [x])
    compare(name, "ulp", y, truth(name, [x]), [x])
    if name in SECOND:
        true = split([SECOND[name](mpf(float(v))) for v in x])
    else:
        true = true_derivative(name, [x], 0)
    compare(name, "dulp", dx, true, [x], 1)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ["mul", "div", "hypot", "atan2", "fmod", "add", "sub", "maximum", "minimum",
                                  "mul_no_nan"])
def test_pairs_of_every_size(name, dtype):
    a, b = everywhere(name, 160, dtype, 1), everywhere(name, 160, dtype, 2)
    if name == "fmod":                                              # quotients that the truth can hold
        with np.errstate(over="ignore", under="ignore"):
            keep = np.abs(a / b) < 1e30
        a, b = a[keep], b[keep]
    compare(name, "ulp", call(name, mgx.Tensor(a), mgx.Tensor(b)).numpy(), truth(name, [a, b]), [a, b])


@pytest.mark.short
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ["add", "mul", "hypot", "logaddexp", "maximum", "minimum"])
def test_operands_that_may_be_exchanged_give_the_same_bits(name, dtype):
    info = np.finfo(dtype)
    ends = np.array([0, info.smallest_subnormal, info.tiny, 1, info.max, INF, NAN], dtype)
    ends = np.concatenate([ends, -ends])
    a, b = everywhere(name, 4000, dtype, 1), everywhere(name, 4000, dtype, 2)
    with np.errstate(over="ignore", under="ignore"):
        near = a * np.random.default_rng(3).uniform(0.5, 2, a.shape).astype(dtype)
    a, b = (np.concatenate(parts) for parts in zip((a, b), (a, near), map(np.ravel, np.meshgrid(ends, ends))))
    one, other = (call(name, mgx.Tensor(x), mgx.Tensor(y)).numpy() for x, y in ((a, b), (b, a)))
    np.testing.assert_array_equal(one, other)
    if dtype == np.float64:
        some = slice(-500, None)
        values = [[getattr(mgx.Value(x), name)(mgx.Value(y)).data for x, y in zip(p[some].tolist(), q[some].tolist())]
                  for p, q in ((a, b), (b, a))]
        np.testing.assert_array_equal(*values)


@pytest.mark.short
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ["fmod", "remainder"])
def test_quotients_just_below_a_whole_number(name, dtype):
    """a/b rounds up to the whole number that the exact quotient does not reach."""
    rng = np.random.default_rng(1)
    b = rng.uniform(0.1, 4, 500).astype(dtype)
    a = np.nextafter(b * rng.integers(1, 50, 500).astype(dtype), dtype(0))
    exact = [-(Fraction(p) // Fraction(q)) for p, q in zip(a.tolist(), b.tolist())]
    np.testing.assert_array_equal(gradients(name, [a, b])[1][1], np.array(exact, float))


# ----- the ends of the number line ---------------------------------------------------------------------------

SLOPES = {      # derivatives at -inf, 0, inf
    "exp": (0, 1, INF), "exp2": (0, LN2, INF), "expm1": (0, 1, INF), "log": (None, INF, 0), "log1p": (None, 1, 0),
    "sqrt": (None, INF, 0), "rsqrt": (None, -INF, 0), "reciprocal": (0, -INF, 0), "abs": (-1, 0, 1), "sign": (0, 0, 0),
    "atan": (0, 1, 0), "sinh": (INF, 1, INF), "cosh": (-INF, 0, INF), "tanh": (0, 1, 0), "asinh": (0, 1, 0),
    "acosh": (None, None, 0), "erf": (0, 2 / np.sqrt(PI), 0), "erfc": (0, -2 / np.sqrt(PI), 0), "sigmoid": (0, 0.25, 0),
    "logsigmoid": (1, 0.5, 0), "softplus": (0, 0.5, 1), "relu": (0, 0, 1), "relu6": (0, 0, 0),
    "selu": (0, 1.7580993408473766, 1.0507009873554805), "gelu": (0, 0.5, 1), "gelu_tanh": (0, 0.5, 1),
    "silu": (0, 0.5, 1), "mish": (0, 0.6, 1), "softsign": (0, 1, 0), "hardsigmoid": (0, 1 / 6, 0),
    "hardswish": (0, 0.5, 1), "tanhshrink": (1, 0, 1), "dsigmoid": (0, 0, 0), "sech2": (0, 0, 0), "gauss": (0, 0, 0),
    "normpdf": (0, 0, 0), "dsilu": (0, 0.5, 0), "dgelu": (0, 2 / np.sqrt(2 * PI), 0),
    "dgelu_tanh": (0, 2 / np.sqrt(2 * PI), 0), "dmish": (0, 0.64, 0),
}


@pytest.mark.short
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", UNARY)
def test_ends_of_the_number_line(name, dtype):
    got = call(name, mgx.Tensor(np.array([-INF, -0.0, 0.0, INF], dtype))).numpy()
    want = np.array(ENDS[name], dtype)
    np.testing.assert_allclose(got, want, rtol=1e-6)
    signed = ~np.isnan(want) & (name not in ("gelu", "mish"))        # their zeros may lose the sign
    np.testing.assert_array_equal(np.signbit(got)[signed], np.signbit(want)[signed])


@pytest.mark.short
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", SLOPES)
def test_derivatives_at_the_ends(name, dtype):
    xs = [np.array([-INF, 0.0, INF], dtype)]
    got, (by_text,) = gradients(name, xs)[1][0], recorded_gradients(name, xs)
    for g, t, want in zip(got, by_text, SLOPES[name]):
        if want is not None:
            np.testing.assert_allclose([g, t], want, rtol=1e-6)


CONSTANT = {"clone", "neg", "sign", "floor", "ceil", "round", "trunc", "relu", "relu6", "hardsigmoid"}     # in pieces


@pytest.mark.short
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", UNARY)
def test_nan_in_nan_out(name, dtype):
    x = np.full(19, 1.5 if name == "acosh" else 0.5, dtype)
    x[[0, 7, 18]] = NAN                                             # in a vector and in the tail
    y, (dx,) = gradients(name, [x])
    assert list(np.flatnonzero(np.isnan(y))) == [0, 7, 18]
    if name not in CONSTANT:
        assert list(np.flatnonzero(np.isnan(dx))) == [0, 7, 18]


FILTERS = {"where": [0, 2], "threshold": [1, 2], "hardshrink": [1], "softshrink": [1], "leaky_relu": [1], "prelu": [1],
           "elu": [1], "celu": [1], "hardtanh": [1, 2]}             # a bound or a slope that is not used is not seen


@pytest.mark.short
@pytest.mark.parametrize("name", [name for name in SMOOTH if ROWS[name]["arity"] > 1])
def test_nan_in_any_operand_comes_out(name):
    for k in range(ROWS[name]["arity"]):
        xs = [np.array([0.7]) for _ in range(ROWS[name]["arity"])]
        xs[k][0] = NAN
        if k not in FILTERS.get(name, []):
            assert np.isnan(call(name, *map(mgx.Tensor, xs)).item()), k


SMALLEST = {np.float32: 2.0**-149, np.float64: 2.0**-1074}
SUBNORMAL = {   # an argument whose result is a subnormal number, (float32, float64)
    "exp": (-95, -730), "exp2": (-140, -1060), "sigmoid": (-95, -730), "softplus": (-95, -730), "silu": (-100, -735),
    "logsigmoid": (95, 730), "mish": (-100, -735), "gelu": (-13.5, -38), "gelu_tanh": (-10.3, -21.5), "erfc": (9.8, 27),
    "sech2": (48, 365), "dsigmoid": (95, 730), "gauss": (9.8, 27), "normpdf": (13.5, 38), "reciprocal": (3e38, 1.6e308),
    "sin": (1e-40, 1e-310), "tanh": (1e-40, 1e-310), "erf": (1e-40, 1e-310), "log1p": (1e-40, 1e-310),
    "expm1": (1e-40, 1e-310), "sinh": (1e-40, 1e-310), "atan": (1e-40, 1e-310), "tan": (1e-40, 1e-310),
}


@pytest.mark.short
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", SUBNORMAL)
def test_results_below_the_normal_range(name, dtype):
    x = np.array([SUBNORMAL[name][dtype is np.float64]], dtype)
    y = call(name, mgx.Tensor(x)).numpy()
    assert SMALLEST[dtype] <= abs(y[0]) < np.finfo(dtype).tiny
    within(y, truth(name, [x]), bound(name, "ulp"), x)


LARGE = {"exp": (88.8, 709.9), "exp2": (128, 1024), "expm1": (88.8, 709.9), "sinh": (89.5, 710.5),
         "cosh": (-89.5, -710.5),
         "square": (1.846e19, 1.342e154)}


@pytest.mark.short
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", LARGE)
def test_overflow_is_infinite_and_not_early(name, dtype):
    x = np.array([LARGE[name][dtype is np.float64]], dtype)
    assert call(name, mgx.Tensor(x)).item() == INF
    below = (x * dtype(0.999)).astype(dtype)
    y = call(name, mgx.Tensor(below)).numpy()
    assert np.isfinite(y[0])
    within(y, truth(name, [below]), bound(name, "ulp"), below)


# ----- docs/accuracy.md ----------------------------------------------------------------------------------------

ROOT = Path(__file__).resolve().parents[1]
SCRIPT = importlib.util.spec_from_file_location("accuracy", ROOT / "tools" / "accuracy.py")
accuracy = importlib.util.module_from_spec(SCRIPT)
SCRIPT.loader.exec_module(accuracy)


def test_chunks_are_all_numbers_and_each_looks_like_chance():
    """With the same low bits in all numbers of a chunk, x*x is exact, and errors of what follows look smaller."""
    few = 64
    low = np.stack([accuracy.spread(chunk, few).view(np.uint32) % 4096 for chunk in range(accuracy.ALL)])
    assert all(len(set(column)) == 4096 for column in low.T)
    x = accuracy.spread(3).view(np.uint32)
    np.testing.assert_array_equal(x // 4096, np.arange(accuracy.CHUNK))
    seen = np.bincount(x % 4096, minlength=4096)
    assert seen.min() > 200 and seen.max() < 320


class Here:
    """The instruction set of this process alone, in the place of a process for each."""
    connections = {kernels.isa(): None}

    def run(self, isa, name, xs):
        y, slopes = gradients(name, xs)
        return [y, *slopes]


@pytest.mark.parametrize("name", ["atan", "exp", "log", "asin", "erf", "reciprocal"])
def test_one_chunk_finds_what_a_search_by_chance_finds(name, monkeypatch):
    """The largest error of a million points of the range. Of two searches by chance one finds a few per cent more; by
    numbers with the same low bits, a third less was found of atan."""
    monkeypatch.setattr(accuracy, "machines", Here())
    x, = operands(name, 1 << 20, np.float32, seed=12345)
    true = call(name, mgx.Tensor(x.astype(np.float64))).numpy()
    by_chance = ulps(call(name, mgx.Tensor(x)).numpy(), true).max()
    (found, _), _ = accuracy.measure_floats((name, "all", 0))[kernels.isa()]
    assert found >= 0.96 * by_chance


@pytest.mark.skipif(not shutil.which("cc") or not accuracy.loops(), reason="needs a C compiler and what the build made")
@pytest.mark.parametrize("name", ["tanh", "sqrt", "log", "hardsigmoid", "dgelu", "gauss"])
def test_all_numbers_are_compared_as_samples_are(name, monkeypatch):
    """Rows with a local derivative and without, with a domain, with units of its terms, with grains below them."""
    monkeypatch.setattr(accuracy, "STRETCH", few := 1 << 16)
    monkeypatch.setattr(accuracy, "the_machines", lambda: Here())
    for first in (0, 0x3f800000, 0x3fb00000, 0x41200000, 0x7f800000, 0x80000000, 0xbff00000, 0xc1200000, 0xff800000):
        x = np.arange(first, first + few, dtype=np.uint32).view(np.float32)
        inside = accuracy.within_domain(name, [x])
        want = accuracy.compare_floats(name, inside) if len(inside[0]) else {kernels.isa(): [(0.0, None)] * 2}
        accuracy.worst_before.clear()
        found = accuracy.measure_stretch((name, "whole", first // few))
        for (off, _), (other, _) in zip(found[kernels.isa()], want[kernels.isa()]):
            assert off == pytest.approx(other, rel=1e-6)


def test_the_page_is_what_the_script_writes():
    """Its sentences, rows and bounds; the numbers are those of the day when it was written."""
    page = (ROOT / "docs" / "accuracy.md").read_text()
    sets = re.findall(r" y (\w+)", page.split("|---")[0])
    found = {isa: [(0.0, None)] * 2 for isa in sets}
    results = {name: {"chunks": 1, "points": 1, "all": found, "doubles": found}
               | ({"pairs": found} if ROWS[name]["arity"] > 1 else {}) for name in SMOOTH}

    def fixed(text):
        text = re.sub(r"Beyond the bound:\n\n(\|.*\n)+\n", "", text)
        text = re.sub(r"Measured\n.*", "", text)
        rows = [line.split(" | ") for line in text.splitlines() if re.match(r"\| `\w+` \|", line)]
        prose = [line for line in text.splitlines() if not line.startswith("|")]
        return prose, [(cells[0], cells[2 + len(sets)], cells[-1]) for cells in rows]
    assert fixed(page) == fixed(accuracy.write_page(SMOOTH, results))
