"""Linear algebra: what decompositions promise, gradients where they are delicate, refusals. Recorded values and
differences of two orders are in test_arrays.py, over the same list."""
import itertools
import math

import numpy as np
import pytest
from mpmath import mp, mpf

import microgradx as mgx
from microgradx import Tensor, errors, linalg
from microgradx._core.structured import HostOperation

RNG = np.random.default_rng(11)
TOLERANCE = {"float32": 2e-5, "float64": 1e-12}


def matrix(*shape, dtype="float64"):
    return Tensor(RNG.standard_normal(shape), dtype=dtype)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("lead", [(), (2,), (2, 1)])
def test_what_they_promise(dtype, lead):
    near = lambda x, y: np.testing.assert_allclose(x, y, atol=10 * TOLERANCE[dtype])
    a = matrix(*lead, 4, 4, dtype=dtype)
    positive, symmetric, one = a @ a.mT + mgx.eye(4, dtype=dtype), a + a.mT, np.broadcast_to(np.eye(4), a.shape)
    lower = linalg.cholesky(positive)
    near(lower @ lower.mT, positive)
    assert (lower.triu(1).numpy() == 0).all()
    w, v = linalg.eigh(symmetric)
    near((v * w[..., None, :]) @ v.mT, symmetric)
    near(v.mT @ v, one)
    near(positive @ linalg.inv(positive), one)
    near(linalg.svdvals(a), np.linalg.svd(a.numpy())[1])
    sign, size = linalg.slogdet(a)
    np.testing.assert_allclose(sign * size.exp(), np.linalg.det(a.numpy()), rtol=100 * TOLERANCE[dtype])
    assert {x.dtype for x in (lower, w, v, sign, size, linalg.det(a))} == {np.dtype(dtype)}


def test_views_are_read_as_they_lie():
    a = matrix(3, 3)
    view = Tensor(np.asarray(a.T)[::-1].copy()).T[:, ::-1]
    assert view.strides != a.strides and view.tolist() == a.tolist()
    np.testing.assert_allclose(linalg.inv(view), np.linalg.inv(view.numpy()))
    np.testing.assert_allclose(linalg.det(a.T), linalg.det(a))


@pytest.mark.parametrize("a", [np.diag([1.0, 0.0]), np.zeros((2, 2)), np.zeros((3, 3)), [[1.0, 2.0], [2.0, 4.0]],
                               np.outer([1.0, 2, 3], [1.0, 0, -1]), np.diag([2.0, 3.0, 0.0])])
def test_gradient_of_det_at_a_singular_matrix_is_its_cofactors(a):
    a = np.array(a)
    x = Tensor(a, requires_grad=True)
    linalg.det(x).backward()
    n = len(a)
    minor = lambda i, k: np.linalg.det(np.delete(np.delete(a, i, 0), k, 1))
    truth = [[(-1) ** (i + k) * minor(i, k) for k in range(n)] for i in range(n)]
    np.testing.assert_allclose(x.grad.numpy(), truth, atol=1e-13)


def derivative_of_det(a, *directions):
    """By differences in many digits of a polynomial."""
    with mp.workdps(120):
        step, total = mpf(10) ** -20, mpf(0)
        for signs in itertools.product((1, -1), repeat=len(directions)):
            moved = mp.matrix(a.tolist())
            for sign, direction in zip(signs, directions):
                moved += sign * step * mp.matrix(direction.tolist())
            total += math.prod(signs) * mp.det(moved)
        return float(total / (2 * step) ** len(directions))


SINGULAR = [np.diag([1.0, 0.0]), np.zeros((2, 2)), [[1.0, 2.0], [2.0, 4.0]], np.zeros((3, 3)), np.diag([2.0, 3.0, 0.0]),
            np.outer([1.0, 2, 3], [1.0, 0, -1]), np.arange(16.0).reshape(4, 4)]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("a", [*SINGULAR, [[3.0]], [[2.0, 1.0, 0.0], [0.5, -1.0, 3.0], [1.0, 4.0, 2.0]]])
def test_the_second_derivative_of_det(a, dtype):
    a = np.array(a)
    g, h = np.random.default_rng(0).integers(-3, 4, (2, *a.shape)).astype(float)
    x = Tensor(np.stack([a, a + 1]), dtype=dtype, requires_grad=True)
    first, = mgx.autograd.grad(linalg.det(x).sum(), [x], create_graph=True)
    second, = mgx.autograd.grad((first * Tensor(g, dtype=dtype)).sum(), [x])
    for base, found in zip((a, a + 1), second.numpy()):
        np.testing.assert_allclose((found * h).sum(), derivative_of_det(base, g, h), rtol=10 * TOLERANCE[dtype],
                                   atol=10 * TOLERANCE[dtype])


def test_the_third_derivative_of_det():
    a, g, h, k = np.random.default_rng(1).integers(-3, 4, (4, 3, 3)).astype(float)
    x = Tensor(a, requires_grad=True)
    y = linalg.det(x)
    for direction in (g, h):
        y, = mgx.autograd.grad(y, [x], create_graph=True)
        y = (y * Tensor(direction)).sum()
    third, = mgx.autograd.grad(y, [x])
    np.testing.assert_allclose((third.numpy() * k).sum(), derivative_of_det(a, g, h, k), rtol=1e-12)


def test_derivatives_of_det_of_nothing():
    x = Tensor(np.zeros((2, 0, 0)), requires_grad=True)
    first, = mgx.autograd.grad(linalg.det(x).sum(), [x], create_graph=True)
    assert mgx.autograd.grad(first.sum(), [x])[0].shape == (2, 0, 0)


@pytest.mark.parametrize("shape", [(3, 3), (4, 3), (2, 4)])
def test_gradients_of_singular_vectors(shape):
    """Of what does not change with their signs, against differences, to the second order."""
    rng, k = np.random.default_rng(0), min(shape)
    weights = Tensor(rng.standard_normal(shape))
    factors = Tensor(np.arange(1.0, k + 1))

    def turned(x):
        u, _, vh = linalg.svd(x, full_matrices=False)
        return ((u * factors) @ vh * weights).sum()
    x = Tensor(rng.standard_normal(shape) + 2 * np.eye(*shape) * np.arange(1, shape[1] + 1))
    assert mgx.gradcheck(turned, x.requires_grad_()) and mgx.gradgradcheck(turned, x)


def test_vectors_of_equal_singular_values_have_no_gradient():
    """Nothing but what turns them into each other moves them."""
    for a in (np.eye(3), 2 * np.eye(3)[[1, 2, 0]]):
        x = Tensor(a, requires_grad=True)
        u, _, vh = linalg.svd(x)
        weights = Tensor(np.random.default_rng(0).standard_normal((3, 3)))
        (u * weights + vh * weights.T).sum().backward()
        np.testing.assert_allclose(x.grad.numpy(), 0, atol=1e-14)


def test_gradient_of_eigenvalues_that_are_equal():
    x = Tensor(np.eye(3), requires_grad=True)
    (linalg.eigvalsh(x) ** 2).sum().backward(create_graph=True)             # the square of the norm
    g, x.grad = x.grad, None
    np.testing.assert_allclose(g.detach().numpy(), 2 * np.eye(3))
    (g * g).sum().backward()
    np.testing.assert_allclose(x.grad.numpy(), 8 * np.eye(3), atol=1e-14)


def test_lstsq_of_any_rank():
    """Gradients of the shortest solution by differences that keep the rank."""
    for m, n, r in [(4, 3, 3), (3, 4, 3), (4, 3, 2), (3, 3, 1)]:
        left, right, b = matrix(m, r), matrix(r, n), matrix(m, 2)
        f = lambda left, right, b: linalg.lstsq(left @ right, b).solution.sin().sum()
        xs = [Tensor(t, requires_grad=True) for t in (left, right, b)]
        f(*xs).backward()
        directions = [matrix(*t.shape) for t in xs]
        at = lambda h: f(*[x.detach() + d * h for x, d in zip(xs, directions)]).item()
        slope = sum((x.grad * d).sum().item() for x, d in zip(xs, directions))
        np.testing.assert_allclose(slope, (at(1e-5) - at(-1e-5)) / 2e-5, rtol=1e-6)
        found, truth = linalg.lstsq(left @ right, b), np.linalg.lstsq((left @ right).numpy(), b.numpy())
        assert found.rank == r == truth[2]
        np.testing.assert_allclose(found.singular_values.numpy(), truth[3], atol=1e-12)
        np.testing.assert_allclose(linalg.lstsq(left @ right, b, driver="gelsd").residuals.numpy(), truth[1])
    assert linalg.lstsq(matrix(3, 2), matrix(3)).solution.shape == (2,)


def test_norms_against_numpy():
    a = matrix(2, 3, 4)
    for ord in ("fro", "nuc", 1, -1, 2, -2, np.inf, -np.inf):
        for axis, keep in [((-2, -1), False), ((2, 0), True)]:
            truth = np.linalg.norm(a.numpy(), ord, axis, keep)
            np.testing.assert_allclose(linalg.matrix_norm(a, ord, axis, keep), truth, rtol=1e-12)
    np.testing.assert_allclose(linalg.vector_norm(a, 3, 1), np.linalg.norm(a.numpy(), 3, 1))


def test_a_result_that_was_overwritten_is_noticed():
    x = Tensor(np.eye(2), requires_grad=True)
    y = linalg.inv(x)
    with mgx.no_grad():
        y.fill_(0.0)
    with pytest.raises(errors.GraphError, match="inv"):
        y.sum().backward()


def test_nothing_is_recorded_without_need():
    with mgx.no_grad():
        assert not linalg.inv(Tensor(np.eye(2), requires_grad=True)).requires_grad
    assert not linalg.slogdet(Tensor(np.eye(2), requires_grad=True)).sign.requires_grad
    a, b = Tensor(np.eye(2)), Tensor(np.ones(2), requires_grad=True)
    linalg.solve(a, b).sum().backward()
    assert a.grad is None and b.grad.tolist() == [1, 1]


def test_third_order():
    """1/x by its matrix: the third derivative of inv at 1x1 is -6 / x^4."""
    x = Tensor([[2.0]], dtype="float64", requires_grad=True)
    y = linalg.inv(x)
    for _ in range(3):
        y.sum().backward(create_graph=True)
        y, x.grad = x.grad, None
    np.testing.assert_allclose(y.item(), -6 / 16)


def test_a_host_operation_of_ones_own():
    double = HostOperation("double", lambda x, k: [(x.shape, x.dtype)], lambda out, x, k: np.multiply(x, k, out=out),
                           [[lambda g, y, x, k: g * k]])
    x = Tensor([1.0, 2.0], requires_grad=True)
    double(x, 3.0).sum().backward()
    assert x.grad.tolist() == [3.0, 3.0]
    one = lambda *xs: [((2,), "float32")]
    with pytest.raises(ZeroDivisionError):
        HostOperation("fails", one, lambda out, x: 1 / 0)(x)
    for xs, vjps, words in [((), [], "0 tensors"), ((x, x, x), [], "3 tensors"),
                            ((x, x), [[None]], "1 gradients for 2")]:
        with pytest.raises(errors.ShapeError, match=f"odd: {words}"):
            HostOperation("odd", one, lambda *arrays: None, vjps)(*xs)


square, flat = mgx.ones(2, 2), mgx.ones(3)
REFUSED = [
    *((lambda f=f: f(mgx.ones(2, 3)), errors.ShapeError,
       rf"{f.__name__}: of shape \(2, 3\), which is not square \(2 != 3\)")
      for f in (linalg.cholesky, linalg.inv, linalg.det, linalg.slogdet, linalg.eigh, linalg.eigvalsh)),
    *((lambda f=f: f(flat), errors.ShapeError, "no rows and columns")
      for f in (linalg.cholesky, linalg.inv, linalg.det, linalg.svdvals, linalg.pinv, linalg.matrix_norm)),
    *((lambda f=f: f(mgx.tensor([[1]])), errors.DTypeError, "not int64") for f in
      (linalg.inv, linalg.det, linalg.svdvals)),
    (lambda: linalg.inv(mgx.zeros(2, 2)), linalg.LinAlgError, r"inv: shape \(2, 2\): Singular matrix"),
    (lambda: linalg.solve(mgx.zeros(2, 2), mgx.ones(2)), linalg.LinAlgError, "solve: .*Singular"),
    (lambda: linalg.cholesky(-square), np.linalg.LinAlgError, "cholesky: .*not positive definite"),
    (lambda: linalg.solve(square, flat), errors.ShapeError,
     r"solve: shapes \(2, 2\) and \(3,\) do not align \(2 != 3\)"),
    (lambda: linalg.solve(square, mgx.ones()), errors.ShapeError, "solve: "),
    (lambda: linalg.solve(square.expand(2, 2, 2), mgx.ones(3, 2, 1)), errors.ShapeError, "solve: leading axes"),
    (lambda: linalg.solve(square, mgx.ones(2, dtype="float64")), errors.DTypeError, "solve: .*float32, float64"),
    (lambda: linalg.lstsq(square, flat), errors.ShapeError, "lstsq: shapes"),
    (lambda: linalg.matrix_norm(square, 3), errors.OptionError, "matrix_norm: ord is .*not 3"),
    (lambda: linalg.matrix_norm(square, axis=(0, 2)), errors.ShapeError, "matrix_norm: axis 2"),
    (lambda: linalg.matrix_norm(square, axis=(0, -2)), errors.ShapeError, "matrix_norm: axis 0 is named twice")]


@pytest.mark.parametrize("k", range(len(REFUSED)))
def test_refused(k):
    call, kind, words = REFUSED[k]
    with pytest.raises(kind, match=words):
        call()


def test_attempts_are_nan_where_they_fail():
    """``cholesky_ex``, ``inv_ex`` and ``solve_ex``: other matrices of the batch keep their results and gradients."""
    a = Tensor(np.stack([np.eye(2) * 2, np.ones((2, 2)), -np.eye(2)]), requires_grad=True)
    low, inverse, x = linalg.cholesky_ex(a), linalg.inv_ex(a), linalg.solve_ex(a, Tensor(np.ones((3, 2, 1))))
    assert (low._fields, inverse._fields, x._fields) == (("L", "info"), ("inverse", "info"), ("result", "info"))
    assert low.info.tolist() == [0, 2, 1] and inverse.info.tolist() == x.info.tolist() == [0, 2, 0]
    assert [bool(np.isnan(y[0].numpy()[1]).all()) for y in (low, inverse, x)] == [True] * 3
    assert np.allclose(low.L[0].numpy(), np.eye(2) * 2**0.5) and np.allclose(inverse.inverse[2].numpy(), -np.eye(2))
    grad, = mgx.autograd.grad(inverse.inverse.sum() + x.result.sum() + low.L.sum(), [a])
    alone, = mgx.autograd.grad(linalg.inv(a[0]).sum() + linalg.solve(a[0], Tensor(np.ones((2, 1)))).sum()
                               + linalg.cholesky(a[0]).sum(), [a])
    assert np.allclose(grad.numpy()[0], alone.numpy()[0]) and not grad.numpy()[1].any() and grad.numpy()[2].any()
    for attempt in (linalg.cholesky_ex, linalg.inv_ex, lambda a, **options: linalg.solve_ex(a, a, **options)):
        with pytest.raises(linalg.LinAlgError, match=r"^\w+_ex: info \[0, 2, "):
            attempt(a, check_errors=True)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_attempts_never_raise(dtype):
    """What LAPACK calls singular is so, whether or not another elimination finds a pivot that is exactly 0."""
    a = np.random.default_rng(0).integers(-3, 4, (500, 3, 3)).astype(dtype)
    a[:250, 2] = 2 * a[:250, 0] / 3 - a[:250, 1] / 7
    inverse, x = linalg.inv_ex(Tensor(a)), linalg.solve_ex(Tensor(a), mgx.ones(3, 1, dtype=dtype))
    assert np.array_equal(np.isnan(inverse.inverse.numpy()).all((1, 2)), inverse.info.numpy() != 0)
    assert inverse.info.tolist() == x.info.tolist() and 0 < np.count_nonzero(inverse.info.numpy()) < 300


def test_factors_of_nan_are_none():
    """A matrix with a nan is not positive definite, and has no pivot that is 0: torch's info of each."""
    a = Tensor(np.stack([np.diag([np.nan, 1]), np.diag([1, np.nan]), np.eye(2)]))
    assert linalg.cholesky_ex(a).info.tolist() == [1, 2, 0] and linalg.inv_ex(a).info.tolist() == [0] * 3


@pytest.mark.parametrize("lead", [(), (5,), (0,)])
@pytest.mark.parametrize("driver", [None, "gels", "gelsd", "gelsy"])
def test_residuals_of_least_squares(lead, driver):
    """Sums of squares of tall matrices, empty for all others, as torch's and NumPy's."""
    rng = np.random.default_rng(0)
    for m, n in ((4, 2), (3, 3), (2, 4)):
        a = rng.normal(size=(*lead, m, n))
        for k, b in ((1, rng.normal(size=(*lead, m))), *((k, rng.normal(size=(*lead, m, k))) for k in (1, 3))):
            found, columns = linalg.lstsq(Tensor(a), Tensor(b), driver=driver), b.reshape((*lead, m, k))
            assert found.rank.tolist() == np.full(lead, min(m, n)).tolist()
            assert found.solution.shape == (*lead, n) + b.shape[len(lead) + 1:]
            if m > n:
                error = a @ found.solution.numpy().reshape((*lead, n, k)) - columns
                np.testing.assert_allclose(found.residuals.numpy(), (error**2).sum(-2), 1e-12)
            else:
                assert found.residuals.shape == (0,)


def test_least_squares_are_captured():
    f = mgx.compile(lambda a, b: linalg.lstsq(a, b).solution)
    for k in range(3):
        a, b = matrix(4, 2) + k, matrix(4, 1)
        assert f(a, b).tolist() == linalg.lstsq(a, b).solution.tolist()
    assert len(f.programs) == 1


@pytest.mark.parametrize("driver, shape", [(None, (2, 1)), ("gelsd", (0,)), ("gels", (2, 1))])
def test_one_deficient_matrix_leaves_no_residuals_of_gelsd(driver, shape):
    a = Tensor(np.stack([np.eye(3, 2), np.ones((3, 2))]))
    found = linalg.lstsq(a, mgx.ones(2, 3, dtype="float64"), driver=driver)
    assert found.rank.tolist() == [2, 1] and found.residuals.shape == shape
