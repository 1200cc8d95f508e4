"""One result whatever the vector width: contiguous, strided and broadcast loops, tails, and every instruction set."""
import os
import subprocess
import sys

import numpy as np
import pytest
from samples import DTYPES, ROWS, SMOOTH, call, everywhere, gradients, operands, recorded_gradients, ulps

import microgradx as mgx
from microgradx._core import kernels

short = pytest.mark.short
LONGEST = 67            # past four vectors of 16 floats and every tail


def points(name, dtype, n=LONGEST):
    """Ordinary numbers, and for unary rows numbers of every size, infinities and nan."""
    xs = operands(name, n, dtype, seed=5)
    if len(xs) == 1:
        wide = np.concatenate([everywhere(name, 2 * n, dtype, seed=6)[:n // 2], [np.inf, -np.inf, np.nan, 0, -0.0]])
        xs[0][:min(len(wide), n)] = wide[:n]
        xs[0] = np.random.default_rng(n).permutation(xs[0])
    return xs


def assert_same_bits(got, want, note=""):
    np.testing.assert_array_equal(got, want, err_msg=note)
    finite = ~np.isnan(want)
    np.testing.assert_array_equal(np.signbit(got)[finite], np.signbit(want)[finite], err_msg=note)


def slopes_of_views(name, xs, key):
    """Result and gradients for operands that are views `key` of something larger."""
    leaves, views = [], []
    for x in xs:
        base = np.zeros((3, 2 * len(x)), x.dtype)
        base[1][key] = x
        leaves.append(mgx.Tensor(base, requires_grad=True))
        views.append(leaves[-1][1][key])
    y = call(name, *views)
    y.backward(mgx.Tensor(np.ones(y.shape, y.dtype)))
    slopes = [np.zeros_like(x) if t.grad is None else t.grad.numpy()[1][key] for t, x in zip(leaves, xs)]
    return y.detach().numpy(), slopes


@short
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", SMOOTH)
def test_tails_equal_vectors_to_the_bit(name, dtype):
    xs = points(name, dtype)
    y, slopes = gradients(name, xs)
    for n in range(1, LONGEST + 1):
        y_n, slopes_n = gradients(name, [x[-n:] for x in xs])       # the same number at another place of the vector
        assert_same_bits(y_n, y[-n:], f"length {n}")
        for k, (a, b) in enumerate(zip(slopes_n, slopes)):
            assert_same_bits(a, b[-n:], f"length {n}, operand {k}")


@short
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("key", [slice(None, None, 2), slice(None, None, -2), slice(LONGEST - 1, None, -1)],
                         ids=["2", "-2", "-1"])
@pytest.mark.parametrize("name", SMOOTH)
def test_strided_equals_contiguous_to_the_bit(name, key, dtype):
    xs = points(name, dtype)
    y, slopes = gradients(name, xs)
    y_strided, slopes_strided = slopes_of_views(name, xs, key)
    assert_same_bits(y_strided, y)
    for a, b in zip(slopes_strided, slopes):
        assert_same_bits(a, b)


@short
@pytest.mark.parametrize("n", [LONGEST, 600])           # a scalar in one tile, and over more than one
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", [name for name in ROWS if ROWS[name]["arity"] > 1])
def test_numbers_and_broadcast_operands_equal_whole_arrays(name, dtype, n):
    for k in range(ROWS[name]["arity"]):
        xs = operands(name, n, dtype, seed=7)
        xs[k][:] = xs[k][0]
        truth = call(name, *map(mgx.Tensor, xs)).numpy()
        ones = [mgx.Tensor(x[:1] if i == k else x) for i, x in enumerate(xs)]
        assert_same_bits(call(name, *ones).numpy(), truth, f"operand {k} of length 1")
        if k > 0:
            numbers = [float(x[0]) if i == k else mgx.Tensor(x) for i, x in enumerate(xs)]
            assert_same_bits(call(name, *numbers).numpy(), truth, f"operand {k} a number")
        if ROWS[name]["kind"] == "C":
            continue
        slopes = gradients(name, xs)[1]
        ts = [mgx.Tensor(x[:1] if i == k else x, requires_grad=i != k) for i, x in enumerate(xs)]
        y = call(name, *ts)
        y.backward(mgx.Tensor(np.ones(y.shape, dtype)))
        for i, t in enumerate(ts):
            if t.grad is not None:
                assert_same_bits(t.grad.numpy(), slopes[i], f"gradient {i} beside a broadcast operand {k}")


@short
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", SMOOTH)
def test_derivative_loop_equals_the_derivative_s_text(name, dtype):
    """The preprocessor's reading of a derivative and Python's give nearly the same numbers."""
    xs = operands(name, LONGEST, dtype, seed=8)
    for loop, text in zip(gradients(name, xs)[1], recorded_gradients(name, xs)):
        np.testing.assert_allclose(text, loop, rtol=4 * np.finfo(dtype).eps, atol=0)


# ----- other instruction sets, in processes of their own -----------------------------------------------------

RECORD = """
import sys
sys.path.insert(0, sys.argv[2])
import numpy as np
from test_isa import record
np.savez(sys.argv[1], **record())
"""


def record():
    """Every row on this process's instruction set: values and gradients, both dtypes."""
    found = {"isa": np.array(kernels.isa())}
    with np.errstate(all="ignore"):
        for name in SMOOTH:
            for dtype in DTYPES:
                y, slopes = gradients(name, points(name, dtype, 131))
                for key, array in (("y", y), *((str(k), s) for k, s in enumerate(slopes))):
                    found[f"{name}/{np.dtype(dtype).name}/{key}"] = array
    return found


def run(isa, *arguments):
    return subprocess.run([sys.executable, *arguments], env={**os.environ, "MICROGRADX_ISA": isa}, text=True,
                          capture_output=True, timeout=120)


@pytest.fixture(scope="module")
def sets(tmp_path_factory):
    """{instruction set: recorded results}, of those that this processor has."""
    folder, found = tmp_path_factory.mktemp("isa"), {}
    for isa in ("baseline", "avx2", "avx512"):
        file = folder / f"{isa}.npz"
        done = run(isa, "-c", RECORD, str(file), os.path.dirname(__file__))
        if done.returncode:
            assert "names no instruction set that this processor has" in done.stderr, done.stderr
            continue
        with np.load(file) as arrays:
            found[isa] = dict(arrays)
    return found


def test_each_name_runs_what_it_names(sets):
    assert "baseline" in sets
    assert all(isa == str(found["isa"]) for isa, found in sets.items())


def test_without_a_wish_the_best_runs(sets):
    done = run("", "-c", "from microgradx._core import kernels; print(kernels.isa())")
    assert done.stdout.split() == [list(sets)[-1]]


@pytest.mark.parametrize("isa", ["sse9", "AVX2", "baseline "])
def test_an_unknown_name_is_refused_in_one_sentence(isa):
    done = run(isa, "-c", "import microgradx")
    assert done.returncode == 1
    assert f"MICROGRADX_ISA={isa!r} names no instruction set that this processor has" in done.stderr.splitlines()[-1]


def test_wider_sets_agree_to_the_bit(sets):
    if len(sets) < 3:
        pytest.skip("one instruction set beside the baseline")
    for key in sets["avx2"]:
        if key != "isa":
            assert_same_bits(sets["avx512"][key], sets["avx2"][key], key)


@pytest.mark.parametrize("name", SMOOTH)
def test_baseline_agrees_within_the_bounds(sets, name):
    best, base = list(sets.values())[-1], sets["baseline"]
    for key in (key for key in base if key.startswith(f"{name}/")):
        limit = ROWS[name]["ulp" if key.endswith("y") else "dulp"]
        got, want = base[key], best[key]
        np.testing.assert_array_equal(np.isnan(got), np.isnan(want), err_msg=key)
        known = ~np.isnan(want)
        if limit >= 0:
            off = ulps(got[known], want[known].astype(float))
            assert off.max(initial=0) <= 3 * limit, (key, off.max())
        else:
            small = 64 * np.finfo(want.dtype).eps
            np.testing.assert_allclose(got[known], want[known], rtol=small, atol=32 * small, err_msg=key)
