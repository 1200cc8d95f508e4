"""One result whatever the vector width: contiguous, strided and broadcast loops, tails, and every instruction set."""
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import test_kernels
from samples import DTYPES, ROWS, SMOOTH, call, everywhere, gradients, operands, recorded_gradients, scale_of, ulps

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


PAGE = Path(__file__).resolve().parents[1] / "docs" / "machines.md"
SEEDS = range(3)
# beside the samples of test_kernels: products that gemm.inl takes, factors made of them, and softmax over many rows
PRODUCTS = [(10, 30, 784), (10, 784, 30), (32, 30, 30), (16, 16, 16), (64, 10, 128), (3, 7, 1000), (1, 500, 20),
            (500, 1, 33)]
MORE = {"gemm": [dict(ta=ta, tb=tb, m=m, n=n, k=k, alpha=0.5, beta=1.0, lda=m if ta else k, ldb=k if tb else n, ldc=n)
                 for ta in (0, 1) for tb in (0, 1) for m, n, k in PRODUCTS],
        **dict.fromkeys(("softmax", "log_softmax", "softmax_vjp", "log_softmax_vjp"), [dict(m=97, n=31)]),
        **dict.fromkeys(("solve_triangular", "cholesky", "solve", "solve_transposed"),
                        [dict(batch=1, n=197, k=1, transposed=0, upper=0, unit=0)]),
        "cross_entropy": [dict(m=97, n=31, divisor=97.0)], "binary_cross_entropy": [dict(n=2000)]}


def drawn(name, seed, dtype):
    """Numbers of the range of the row, of unary rows numbers of every size too."""
    if seed and ROWS[name]["arity"] == 1:
        return [everywhere(name, 6000, dtype, seed)]
    return operands(name, 3000, dtype, seed)


def record():
    """Every row of both tables on this instruction set, in both dtypes: {"table/row/sample/dtype/result": array}."""
    found = {"isa": np.array(kernels.isa())}
    with np.errstate(all="ignore"):
        for name, row in ROWS.items():
            for dtype in DTYPES:
                for seed in SEEDS:
                    xs = drawn(name, seed, dtype)
                    results = ([call(name, *map(mgx.Tensor, xs)).numpy()] if row["kind"] == "C" else
                               (lambda y, slopes: [y, *slopes])(*gradients(name, xs)))
                    for k, array in enumerate(results):
                        found[f"ops/{name}/{seed}/{np.dtype(dtype).name}/{k}"] = array
    for name, samples in MORE.items():
        test_kernels.SAMPLES[name] += samples
    for name, samples in test_kernels.SAMPLES.items():
        for sample in range(len(samples)):
            for dtype in DTYPES:
                results = test_kernels.launched(*test_kernels.prepared(name, sample, dtype))
                for k, array in enumerate(results):
                    if array is not None:
                        found[f"kernels/{name}/{sample}/{np.dtype(dtype).name}/{k}"] = array
    return found


def distance(key, got, want):
    """The largest difference of two results: in units in the last place of each number; of the largest term, where a
    row of ops.def says that its sum may cancel (-1); of the largest number of the result of a row of kernels.def."""
    table, name, sample, dtype, k = key.split("/")
    k, dtype = int(k), np.dtype(dtype)
    same = (got == want) | (np.isnan(got) & np.isnan(want))
    if same.all():
        return 0.0
    if table == "kernels":
        return np.abs(got - want).max() / np.spacing(np.abs(want).max().astype(dtype))
    with np.errstate(all="ignore"):
        if ROWS[name]["dulp" if k else "ulp"] < 0:
            off = np.abs(got - want) / scale_of(name, k, drawn(name, int(sample), dtype.type), dtype)
        else:
            off = ulps(got, want.astype(float))
        return off[~same].max()


def agreement(got, want):
    """{row: the largest distance of its results}."""
    worst = {}
    for key in want:
        if key != "isa":
            name = key.split("/")[1]
            worst[name] = max(worst.get(name, 0.0), distance(key, got[key], want[key]))
    return worst


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


# ----- the table of docs/machines.md ------------------------------------------------------------------------

def documented():
    """{row: (ulp between AVX-512 and AVX2, ulp between the baseline and AVX2)}, 0 where the page says equal."""
    found = {}
    for wide, base, rows in re.findall(r"^\| (equal|\d+ ulp) \| (equal|\d+ ulp) \| (`.*`) \|$", PAGE.read_text(), re.M):
        for name in re.findall(r"`(\w+)`", rows):
            assert name not in found, f"{PAGE.name} has the row {name} twice"
            found[name] = tuple(0 if text == "equal" else int(text.split()[0]) for text in (wide, base))
    return found


def test_the_page_has_every_row():
    assert documented().keys() == ROWS.keys() | test_kernels.TABLE.keys()


@pytest.mark.parametrize("one, column", [("avx512", 0), ("baseline", 1)])
def test_instruction_sets_agree_as_the_page_says(sets, one, column):
    """No further from AVX2 than stated; and what is not stated to be equal does differ."""
    if not {one, "avx2"} <= sets.keys():
        pytest.skip(f"needs a processor with AVX2 and {one}")
    stated = {name: bounds[column] for name, bounds in documented().items()}
    found = agreement(sets[one], sets["avx2"])
    assert {name: worst for name, worst in found.items() if not worst <= stated[name]} == {}
    assert {name for name, worst in found.items() if worst == 0 and stated[name] > 0} == set()
