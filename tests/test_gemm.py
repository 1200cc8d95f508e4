"""Matrix products, ours and those of BLAS, against float64 within the error bound of a dot product."""
import os
import subprocess
import sys

import numpy as np
import pytest

import microgradx as mgx
from microgradx.nn import functional as F

DTYPES = [np.float32, np.float64]
LAYOUTS = ["plain", "transposed", "columns", "rows"]        # how an operand lies in memory
EDGES = [1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 24, 31, 32, 33, 39, 40, 63, 64, 65, 127, 128, 129, 150]


def sizes(count, seed):
    rng = np.random.default_rng(seed)
    for _ in range(count):
        yield rng, *(int(rng.choice(EDGES)) if rng.random() < 0.3 else int(rng.integers(1, 71)) for _ in range(3))


def laid_out(layout, x):
    """A tensor equal to x that lies as `layout` says, nan all round it."""
    m, n = x.shape
    if layout == "plain":
        return mgx.Tensor(x)
    if layout == "transposed":
        return mgx.Tensor(np.ascontiguousarray(x.T)).T
    base = np.full((m, n + 5) if layout == "columns" else (2 * m, n), np.nan, x.dtype)
    key = np.s_[:, 2:n + 2] if layout == "columns" else np.s_[::2]
    base[key] = x
    return mgx.Tensor(base)[key]


def assert_product(got, a, b, start=0.0):
    """got = start + a @ b, each operation rounded once: |error| <= (k + 2) eps (|start| + |a| |b|)."""
    a, b, start, eps = a.astype(float), b.astype(float), np.asarray(start, float), np.finfo(got.dtype).eps
    size = np.abs(start) + np.abs(a) @ np.abs(b)
    off = np.abs(got - (start + a @ b))
    assert (off <= (a.shape[1] + 2) * eps * size).all(), (a.shape, b.shape, np.nanmax(off / size) / eps)


@pytest.mark.short
@pytest.mark.parametrize("right", LAYOUTS)
@pytest.mark.parametrize("left", LAYOUTS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_matmul(dtype, left, right):
    for rng, m, n, k in sizes(60, 1):
        a, b = rng.standard_normal((m, k)).astype(dtype), rng.standard_normal((k, n)).astype(dtype)
        assert_product((laid_out(left, a) @ laid_out(right, b)).numpy(), a, b)


@pytest.mark.short
@pytest.mark.parametrize("dtype", DTYPES)
def test_linear_adds_to_the_bias(dtype):
    """Forward is x W^T + b, the product added to what stands there; backward g W and g^T x."""
    for rng, m, n, k in sizes(60, 2):
        x, w, b, g = (rng.standard_normal(s).astype(dtype) for s in ((m, k), (n, k), n, (m, n)))
        leaves = [mgx.Tensor(v, requires_grad=True) for v in (x, w, b)]
        y = F.linear(*leaves)
        y.backward(mgx.Tensor(g))
        assert_product(y.detach().numpy(), x, w.T, b)
        assert_product(leaves[0].grad.numpy(), g, w)
        assert_product(leaves[1].grad.numpy(), g.T, x)


@pytest.mark.short
@pytest.mark.parametrize("dtype", DTYPES)
def test_sizes_where_blas_takes_over(dtype):
    rng = np.random.default_rng(3)
    for m, n, k in [(1, 1, 64), (1, 1, 65), (128, 2, 64), (129, 2, 64), (64, 2, 3), (65, 2, 3), (3, 96, 4), (3, 97, 4),
                    (300, 100, 8), (300, 101, 8), (200, 100, 100), (200, 100, 101), (200, 200, 175), (200, 200, 176),
                    (600, 7, 15), (600, 7, 16), (1, 700, 500), (700, 1, 500), (400, 325, 9), (400, 326, 9)]:
        a, b = rng.standard_normal((m, k)).astype(dtype), rng.standard_normal((k, n)).astype(dtype)
        for left in LAYOUTS[:2]:
            for right in LAYOUTS[:2]:
                assert_product((laid_out(left, a) @ laid_out(right, b)).numpy(), a, b)


@pytest.mark.short
@pytest.mark.parametrize("dtype", DTYPES)
def test_old_memory_is_not_read(dtype):
    """A product lands in recycled memory full of nan."""
    recycled = 0
    for rng, m, n, k in sizes(60, 4):
        a, b = rng.standard_normal((m, k)).astype(dtype), rng.standard_normal((k, n)).astype(dtype)
        left, right, old = mgx.Tensor(a), mgx.Tensor(b), mgx.Tensor(np.full((m, n), np.nan, dtype))
        address = np.asarray(old).ctypes.data
        del old
        y = left @ right
        recycled += np.asarray(y).ctypes.data == address
        assert_product(y.numpy(), a, b)
    assert recycled > 0


@pytest.mark.short
@pytest.mark.parametrize("dtype", DTYPES)
def test_nan_and_inf_stay_in_their_rows_and_columns(dtype):
    for rng, m, n, k in sizes(40, 5):
        a, b = rng.standard_normal((m, k)).astype(dtype), rng.standard_normal((k, n)).astype(dtype)
        a[-1, -1], b[0, -1] = np.inf, np.nan
        y = (mgx.Tensor(a) @ mgx.Tensor(b)).numpy()
        assert np.isnan(y[:, -1]).all() and not np.isfinite(y[-1]).any()
        assert np.isfinite(y[:-1, :-1]).all()


@pytest.mark.short
@pytest.mark.parametrize("dtype", DTYPES)
def test_no_terms(dtype):
    for m, n in [(1, 1), (3, 2), (5, 40), (0, 3)]:
        x, w, b = np.zeros((m, 0), dtype), np.zeros((n, 0), dtype), np.arange(n, dtype=dtype)
        assert np.array_equal((mgx.Tensor(x) @ mgx.Tensor(w).T).numpy(), np.zeros((m, n), dtype))
        assert np.array_equal(F.linear(mgx.Tensor(x), mgx.Tensor(w), mgx.Tensor(b)).numpy(), np.tile(b, (m, 1)))


@pytest.mark.parametrize("isa", ["baseline", "avx2", "avx512"])
def test_each_instruction_set(isa):
    env = dict(os.environ, MICROGRADX_ISA=isa)
    if subprocess.run([sys.executable, "-c", "import microgradx"], env=env, capture_output=True).returncode:
        pytest.skip(f"{isa} does not run here")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-k", "not instruction_set", __file__]
    run = subprocess.run(command, env=env, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout


def test_a_small_product_imports_no_blas():
    script = ("import sys, microgradx as m; x = m.Tensor([[1.0, 2.0]] * 9); (x @ x.T).numpy(); "
              "sys.exit('scipy.linalg' in sys.modules)")
    assert subprocess.run([sys.executable, "-c", script]).returncode == 0
