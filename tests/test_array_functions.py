"""NumPy's functions of Tensors: the values are NumPy's, the results Tensors with a graph; what has none is refused."""
import numpy as np
import pytest
from mpmath import mp

import microgradx as mgx
from microgradx import Tensor
from microgradx.errors import DTypeError, OptionError
from microgradx.interop import ADAPTED, OTHER, OURS, PLAIN


def leaf(data):
    return Tensor(np.asarray(data, np.float64), requires_grad=True)


A = np.array([[4.0, 1.0, -2.5], [1.0, 3.0, 0.5], [-2.5, 0.5, 6.0]])          # symmetric, positive
ALONG = [(lambda f, a: f(a)), lambda f, a: f(a, 1), lambda f, a: f(a, axis=-1)]
REDUCED = [*ALONG, lambda f, a: f(a, axis=(0, 1), keepdims=True)]
SPREAD = [*REDUCED, lambda f, a: f(a, 0, ddof=1)]
ONE, CLOSE = [lambda f, a: f(a)], [lambda f, a: f(a, a + 1e-6), lambda f, a: f(a, a * 2, 0.1, atol=9)]
JOINED = [lambda f, a: f([a, 2 * a]), lambda f, a: f((a, np.ones((3, 3))))]
ALONG_AXIS = [*JOINED, lambda f, a: f([a, a], 1), lambda f, a: f([a, a], axis=-1)]
TRIANGLE = [*ONE, lambda f, a: f(a, 1), lambda f, a: f(a, k=-1)]
CALLS = {
    "all": REDUCED, "any": REDUCED, "amax": REDUCED, "amin": REDUCED, "max": REDUCED, "min": REDUCED, "sum": REDUCED,
    "mean": REDUCED, "prod": REDUCED, "std": SPREAD, "var": SPREAD, "argmax": ALONG, "argmin": ALONG, "argsort": ALONG,
    "cumsum": ALONG, "cumprod": ALONG, "allclose": CLOSE, "isclose": CLOSE, "concatenate": ALONG_AXIS,
    "stack": ALONG_AXIS, "hstack": JOINED, "vstack": JOINED, "tril": TRIANGLE, "triu": TRIANGLE, "diag": TRIANGLE,
    "ravel": ONE, "round": ONE, "ones_like": ONE, "zeros_like": ONE, "cholesky": ONE, "det": ONE, "i0": ONE,
    "eigvalsh": ONE, "inv": ONE, "pinv": ONE, "slogdet": ONE, "svdvals": ONE,
    "broadcast_to": [lambda f, a: f(a, (2, 3, 3))],
    "clip": [lambda f, a: f(a, 0, 2), lambda f, a: f(a, None, 2), lambda f, a: f(a, min=0),
             lambda f, a: f(a, 0, a_max=a)],
    "diagonal": [*ONE, lambda f, a: f(a, 1), lambda f, a: f(a, offset=1, axis1=1, axis2=0)],
    "dot": [lambda f, a: f(a, a), lambda f, a: f(a, 2.0), lambda f, a: f(a[0, 0], a), lambda f, a: f(a, a[0]),
            lambda f, a: f(a[0], np.ones(3)),
            lambda f, a: f(a[0], np.ones((2, 3, 4)))],
    "einsum": [lambda f, a: f("ij,kj->ik", a, np.ones((2, 3))), lambda f, a: f("ii", a)],
    "expand_dims": [lambda f, a: f(a, 1)],
    "flip": [*ALONG, lambda f, a: f(a, (0, 1))],
    "full_like": [lambda f, a: f(a, 3.5), lambda f, a: f(a, 2, dtype="float32")],
    "matrix_norm": [*ONE, lambda f, a: f(a, keepdims=True), lambda f, a: f(a, ord=1)],
    "moveaxis": [lambda f, a: f(a, 0, 1), lambda f, a: f(a, [0, 1], [1, 0])],
    "outer": [lambda f, a: f(a[0], a[1])],
    "pad": [lambda f, a: f(a, ((1, 0), (0, 2))), lambda f, a: f(a, ((1, 0), (0, 2)), constant_values=4)],
    "repeat": [lambda f, a: f(a, 2), lambda f, a: f(a, 2, 1), lambda f, a: f(a, [1, 0, 2], axis=0)],
    "reshape": [lambda f, a: f(a, -1), lambda f, a: f(a, (1, 9))],
    "roll": [lambda f, a: f(a, 1), lambda f, a: f(a, (1, 2), (0, 1)), lambda f, a: f(a, 1, axis=1)],
    "solve": [lambda f, a: f(a, np.ones(3)), lambda f, a: f(a, a)],
    "squeeze": [lambda f, a: f(a[None]), lambda f, a: f(a[:, :1], 1)],
    "swapaxes": [lambda f, a: f(a, 0, 1)],
    "take_along_axis": [lambda f, a: f(a, np.array([[0, 2, 1]]), 0), lambda f, a: f(a, np.array([3, 5]), axis=None)],
    "tensordot": [lambda f, a: f(a, a), lambda f, a: f(a, np.ones((3, 2)), 1),
                  lambda f, a: f(a, a, axes=([0, 1], [1, 0]))],
    "tile": [lambda f, a: f(a, 2), lambda f, a: f(a, (2, 1, 3))],
    "trace": [*ONE, lambda f, a: f(a, -1)],
    "transpose": [*ONE, lambda f, a: f(a[None], (1, 0, 2))],
    "vector_norm": [*ONE, lambda f, a: f(a, axis=1, ord=1)],
    "where": [lambda f, a: f(a > 0, a, 0.0), lambda f, a: f(A > 0, 1.0, a), lambda f, a: f(a > 1)],
    "append": [lambda f, a: f(a, a), lambda f, a: f(a, [[1.0, 2.0, 3.0]], 0)], "argwhere": ONE, "nonzero": ONE,
    "array_split": [lambda f, a: f(a, 2), lambda f, a: f(a, [1], axis=1)], "atleast_1d": ONE, "atleast_2d": ONE,
    "atleast_3d": ONE, "average": [*ONE, lambda f, a: f(a, 1, [1.0, 2.0, 3.0]), lambda f, a: f(a, weights=a * a)],
    "bincount": [lambda f, a: f(np.array([0, 2, 2]), a[0]), lambda f, a: f(np.array([1, 0, 1]), a[1], minlength=5)],
    "block": [lambda f, a: f([[a, a], [a, 2 * a]]), lambda f, a: f([a[0], a[1]])],
    "broadcast_arrays": [lambda f, a: f(a, a[0])], "column_stack": JOINED, "dstack": JOINED,
    "compress": [lambda f, a: f([True, False, True], a, axis=1), lambda f, a: f([True, False], a)],
    "convolve": [lambda f, a: f(a[0], a[1]), lambda f, a: f(a[0], a[1, :2], "same"),
                 lambda f, a: f(a[0], np.ones(2), mode="valid")],
    "correlate": [lambda f, a: f(a[0], a[1]), lambda f, a: f(a[0], a[1, :2], "full")],
    "corrcoef": [*ONE, lambda f, a: f(a, rowvar=False)], "count_nonzero": [*ONE, lambda f, a: f(a, axis=1)],
    "cov": [*ONE, lambda f, a: f(a, a * a), lambda f, a: f(a, rowvar=False, bias=True), lambda f, a: f(a, ddof=0),
            lambda f, a: f(a, fweights=[1, 2, 1], aweights=[0.5, 1.0, 2.0])],
    "cross": [lambda f, a: f(a, 2 * a[:, ::-1]), lambda f, a: f(a[0], a[1]), lambda f, a: f(a, a.T * a, axis=0)],
    "cumulative_prod": [lambda f, a: f(a, axis=1)],
    "cumulative_sum": [lambda f, a: f(a, axis=0), lambda f, a: f(a, axis=1, include_initial=True)],
    "delete": [lambda f, a: f(a, 1, 0), lambda f, a: f(a, [0, 4])], "diagflat": TRIANGLE,
    "diff": [*ALONG, lambda f, a: f(a, 2, 0), lambda f, a: f(a, prepend=a[:, :1], append=a)],
    "dsplit": [lambda f, a: f(a[None], [1])], "ediff1d": [*ONE, lambda f, a: f(a, to_end=[9.0], to_begin=a[0])],
    "extract": [lambda f, a: f(A > 0, a)], "fix": ONE, "fliplr": ONE, "flipud": ONE,
    "gradient": [*ONE, lambda f, a: f(a, 2.0, axis=1), lambda f, a: f(a, [0.0, 1.0, 3.0], 0.5),
                 lambda f, a: f(a, axis=0, edge_order=2)],
    "hsplit": [lambda f, a: f(a, 3), lambda f, a: f(a, [1])], "vsplit": [lambda f, a: f(a, 3)],
    "inner": [lambda f, a: f(a, a), lambda f, a: f(a[0], a[1])], "isin": [lambda f, a: f(a, [1.0, 0.5])],
    "interp": [lambda f, a: f(np.array([-3.0, 0.3, 0.9, 7.0]), np.array([-2.0, 0.0, 1.0]), a[0]),
               lambda f, a: f(a, np.array([-2.0, 0.0, 1.0]), np.array([1.0, 3.0, 2.0]), left=0.0, right=9.0)],
    "isneginf": ONE, "isposinf": ONE, "isreal": ONE, "kron": [lambda f, a: f(a, a[:2])], "matrix_transpose": ONE,
    "linalg.cond": [*ONE, lambda f, a: f(a, 1), lambda f, a: f(a, "fro")], "linalg.diagonal": [*ONE, lambda f, a: f(
        a, offset=1)], "linalg.cross": [lambda f, a: f(a, a[:, ::-1])], "linalg.eigh": [*ONE, lambda f, a: f(a, "U")],
    "linalg.matmul": [lambda f, a: f(a, a)], "linalg.matrix_power": [lambda f, a: f(a, 3), lambda f, a: f(a, -1)],
    "linalg.matrix_rank": ONE, "linalg.matrix_transpose": ONE,
    "linalg.multi_dot": [lambda f, a: f([a, a[:, :2], a[:2]])],
    "linalg.outer": [lambda f, a: f(a[0], a[1])], "linalg.qr": [lambda f, a: f(a), lambda f, a: f(a[:2])],
    "linalg.svd": [lambda f, a: (f(a)[1],), lambda f, a: (f(a[:2], full_matrices=False).S,)],
    "linalg.tensordot": [lambda f, a: f(a, a, axes=1)], "linalg.tensorinv": [lambda f, a: f(a.reshape(3, 3, 1), 1)],
    "linalg.tensorsolve": [lambda f, a: f(a, a[0])], "linalg.trace": [*ONE, lambda f, a: f(a, offset=1)],
    "linalg.vecdot": [lambda f, a: f(a, a), lambda f, a: f(a, a, axis=0)],
    "linalg.norm": [*ONE, lambda f, a: f(a, axis=0), lambda f, a: f(a, None, (0, 1), True), lambda f, a: f(a, "nuc"),
                    lambda f, a: f(a, 1), lambda f, a: f(a, 3, axis=1), lambda f, a: f(a[0], np.inf)],
    "median": [*REDUCED, lambda f, a: f(a[:2], 0)], "nanmedian": REDUCED,
    "meshgrid": [lambda f, a: f(a[0], a[1]), lambda f, a: f(a[0], a[1, :2], indexing="ij")],
    "nan_to_num": [*ONE, lambda f, a: f(a, nan=2.0)], "nancumprod": ALONG, "nancumsum": ALONG, "nanmax": REDUCED,
    "nanmean": REDUCED, "nanmin": REDUCED, "nanprod": REDUCED, "nanstd": REDUCED, "nansum": REDUCED, "nanvar": SPREAD,
    "percentile": [lambda f, a: f(a, 30), lambda f, a: f(a, [20.0, 70.0], 1), lambda f, a: f(a, 40, (0, 1))],
    "nanpercentile": [lambda f, a: f(a, 30), lambda f, a: f(a, [20.0, 70.0], 0, keepdims=True)],
    "quantile": [lambda f, a: f(a, 0.3), lambda f, a: f(a, [0.2, 0.7], axis=1, keepdims=True),
                 lambda f, a: f(a, 0.6, 0, method="lower"), lambda f, a: f(a, 0.6, (0, 1), keepdims=True)],
    "nanquantile": [lambda f, a: f(a, 0.3), lambda f, a: f(a, 0.6, 0, method="midpoint")],
    "partition": [lambda f, a: f(a, range(3))],
    "ptp": [*ONE, lambda f, a: f(a, 1)], "real": ONE, "real_if_close": ONE, "rollaxis": [lambda f, a: f(a, 1)],
    "rot90": [*ONE, lambda f, a: f(a, 2), lambda f, a: f(a, 3, (1, 0))],
    "searchsorted": [lambda f, a: f(np.array([-1.0, 0.5, 2.0]), a), lambda f, a: f(np.array([0.5, 1.0]), a, "right")],
    "select": [lambda f, a: f([A > 1, A > 0], [a, 2 * a], 7.0), lambda f, a: f([A > 1], [a])],
    "sinc": ONE, "sort": [*ALONG, lambda f, a: f(a, None)],
    "split": [lambda f, a: f(a, 3), lambda f, a: f(a, [1, 2], axis=1)],
    "take": [lambda f, a: f(a, [0, 4]), lambda f, a: f(a, np.array([[2, 0]]), axis=1)],
    "trapezoid": [*ONE, lambda f, a: f(a, np.array([0.0, 1.0, 3.0])), lambda f, a: f(a, dx=0.5, axis=0)],
    "union1d": [lambda f, a: f(a, a[0] + 1)], "unstack": [*ONE, lambda f, a: f(a, axis=1)],
    "unique": [*ONE, lambda f, a: f(a, True, True, True), lambda f, a: f(a, axis=1)],
    "unravel_index": [lambda f, a: f(np.array([3, 5]), (2, 3))],
    "vander": [lambda f, a: f(a[0]), lambda f, a: f(a[0], 4, increasing=True)], "vdot": [lambda f, a: f(a, a)]}
if hasattr(np, "trapz"):                                # NumPy before 2.4
    CALLS["trapz"] = CALLS["trapezoid"]
if np.lib.NumpyVersion(np.__version__) >= "2.3.0":      # where the axis has a default
    CALLS["take_along_axis"].append(lambda f, a: f(a, np.array([[0], [2], [1]])))
FLAT = {"argwhere", "nonzero", "count_nonzero", "isin", "isneginf", "isposinf", "isreal", "linalg.matrix_rank", "fix",
        "searchsorted", "unravel_index", "interp",
        "all", "any", "allclose", "isclose", "argmax", "argmin", "argsort", "full_like", "ones_like", "zeros_like"}


def called(function):
    """NumPy's name of a function, with "linalg." where another of that name is not there."""
    name = function.__name__
    return name if name in CALLS and function is not getattr(np.linalg, name, None) or f"linalg.{name}" not in CALLS \
        else f"linalg.{name}"


def parts(x):
    return list(x) if isinstance(x, (tuple, list)) else [x]


@pytest.mark.parametrize("function", OURS | ADAPTED, ids=called)
def test_functions_of_tensors(function):
    """The values are NumPy's, the result is a Tensor and, where there is a derivative, has a graph."""
    for call in CALLS[called(function)]:
        x, truth = leaf(A), parts(call(function, A))
        found = parts(call(function, x))
        assert len(found) == len(truth)
        for y, values in zip(found, truth):
            found_values = np.asarray(y.detach() if isinstance(y, Tensor) else y)
            np.testing.assert_allclose(found_values, values, rtol=1e-12, atol=1e-12)
            assert found_values.dtype == np.asarray(values).dtype and np.shape(y) == np.shape(values)
        if called(function) not in FLAT and len(truth) == 1 and truth[0].dtype == np.float64:
            found[0].sum().backward()
            assert x.grad.shape == (3, 3)


def test_every_function_with_a_name_of_ours_is_ours_or_is_named_as_another():
    assert {called(f) for f in OURS | ADAPTED} == CALLS.keys()
    for name in OTHER:
        assert hasattr(mgx, name) or hasattr(mgx.linalg, name)


@pytest.mark.parametrize("call", [np.quantile, np.percentile, np.nanquantile, np.nanpercentile])
@pytest.mark.parametrize("shares", [0.3, [0.2, 0.7]])
def test_the_shares_of_quantiles_have_their_graph(call, shares):
    q = leaf(shares)
    np.testing.assert_allclose(call(np.array([1.0, 2.0, 4.0]), q).tolist(), call(np.array([1.0, 2.0, 4.0]), shares))
    call(np.array([1.0, 3.0, 5.0]), q).sum().backward()
    np.testing.assert_allclose(q.grad.numpy(), 4 / (100 if "percent" in call.__name__ else 1))


def test_weights_and_values_have_their_graph():
    """Of functions whose other arguments have none: a histogram, a step, and the zeta function."""
    x, w = Tensor([0.0, 1.0, 1.5, 2.0, 5.0]), leaf([1.0, 2.0, 3.0, 4.0, 5.0])
    for density, want in ((False, [1.0, 9.0]), (True, [0.1, 0.9])):
        hist = mgx.histogram(x, 2, range=(0.0, 2.0), weight=w, density=density).hist
        np.testing.assert_allclose(hist.tolist(), np.histogram(x, 2, (0, 2), density, w.detach().numpy())[0])
        np.testing.assert_allclose(hist.tolist(), want)
    assert mgx.autograd.grad(mgx.histogram(x, [0.0, 1.0, 2.0], weight=w).hist[1], [w])[0].tolist() == [0, 1, 1, 1, 0]
    v = leaf([7.0, 8.0, 9.0])
    y = mgx.heaviside(Tensor([-1.0, 0.0, np.nan]), v)
    np.testing.assert_array_equal(y.tolist(), [0.0, 8.0, np.nan])
    assert mgx.autograd.grad(y[:2].sum(), [v])[0].tolist() == [0, 1, 0]
    q = leaf([0.5, 2.0])
    first, = mgx.autograd.grad(mgx.special.zeta(Tensor(np.full(2, 3.0)), q).sum(), [q], create_graph=True)
    second, = mgx.autograd.grad(first.sum(), [q])
    np.testing.assert_allclose(first.tolist(), [float(-3 * mp.zeta(4, a)) for a in (0.5, 2.0)], rtol=1e-14)
    np.testing.assert_allclose(second.tolist(), [float(12 * mp.zeta(5, a)) for a in (0.5, 2.0)], rtol=1e-14)
    with pytest.raises(OptionError, match="zeta: there is no derivative"):
        mgx.special.zeta(q + 1, 1.0).sum().backward()


def test_functions_without_counterpart_get_arrays():
    x = Tensor(A)
    assert type(np.unwrap(x)) is np.ndarray and np.array_equal(np.unwrap(x), np.unwrap(A))
    assert np.histogram([x, 2 * x])[0].sum() == 18 and np.ones(2, like=x).shape == (2,)


@pytest.mark.parametrize("call", [
    lambda w: np.histogram(A.ravel(), 2, weights=w), lambda w: np.histogram(A.ravel(), 2, None, None, w),
    lambda w: np.histogram2d(A.ravel(), A.ravel(), 2, weights=w), lambda w: np.histogramdd([A.ravel()], 2, weights=w)])
def test_weights_of_bins_have_a_derivative(call):
    w = leaf(np.ones(9))
    with pytest.raises(DTypeError, match="an array has no graph.*detach"):
        call(w)
    assert call(w.detach())[0].sum() == 9


def test_what_has_no_derivative_needs_no_permission():
    x = leaf(A)
    assert np.shape(x) == (3, 3) and np.ndim(x) == 2 and np.size(x) == 9 and np.array_equal(x, A)
    assert np.count_nonzero(x) == 9 and np.result_type(x, np.float32) == np.float64 and np.shares_memory(x, x)


@pytest.mark.parametrize("call, words", [
    (lambda x: np.unwrap(x), r"^np.unwrap: no operation .*t.detach\(\).numpy\(\)"),
    (lambda x: np.fft.fft(x), "^np.fft.fft: "), (lambda x: np.linalg.eig(x), "^np.linalg.eig: "),
    (lambda x: np.median(x, overwrite_input=True), "^np.median: overwrite_input "),
    (lambda x: np.sort(x, kind="heapsort"), "^np.sort: kind "), (lambda x: np.put(x, [0], [1.0]), "^np.put: "),
    (lambda x: np.quantile(x, 0.5, out=np.ones(())), "^np.quantile: out "),
    (lambda x: np.copyto(np.ones((3, 3)), x), "^np.copyto: "), (lambda x: np.copyto(x, A), "^np.copyto: "),
    (lambda x: np.sum(x, 0, initial=3.0), "^np.sum: initial cannot be combined"),
    (lambda x: np.sum(x, out=np.ones(())), "^np.sum: out "), (lambda x: np.mean(x, where=A > 0), "^np.mean: where "),
    (lambda x: np.round(x, 2), "^np.round: decimals "),
    (lambda x: np.pad(x, ((1, 1), (1, 1)), "edge"), "^np.pad: mode "),
    (lambda x: np.clip(x, 0, 1, casting="no"), "^np.clip: casting "),
    (lambda x: np.linalg.svd(x, compute_uv=False), "^np.linalg.svd: compute_uv ")])
def test_functions_that_would_lose_the_graph_are_refused(call, words):
    x = leaf(A)
    with pytest.raises(TypeError, match=words):
        call(x)
    assert x.version == 0 and np.array_equal(x, A)


class Other:
    def __array_function__(self, function, types, args, kwargs):
        return f"{function.__name__} of another library"


def test_another_library_has_its_turn_at_functions():
    assert np.concatenate([leaf([1.0]), Other()]) == "concatenate of another library"


def dispatching():
    """All functions of NumPy that ask their arguments."""
    for module in (np, np.linalg, np.fft):
        for name in dir(module):
            function = getattr(module, name)
            if not isinstance(function, type) and callable(function) and hasattr(function, "_implementation"):
                yield function


def test_every_function_of_numpy_is_ours_or_refuses_a_graph():
    """None takes a Tensor with a graph for an array."""
    found = set(dispatching())
    assert len(found) > 200
    for function in found - OURS.keys() - ADAPTED.keys():
        if function.__name__ not in PLAIN and function.__name__ not in ("linspace", "empty_like", "copy"):
            with pytest.raises(mgx.errors.DTypeError):
                leaf(A).__array_function__(function, (Tensor,), (leaf(A),), {})


UFUNCS = {np.isnan: A, np.isfinite: A, np.isinf: A, np.logical_not: A, np.signbit: A, np.deg2rad: A, np.degrees: A,
          np.cbrt: A, np.logical_and: (A, A - 1), np.logical_or: (A, A - 1), np.logical_xor: (A, A - 1),
          np.copysign: (A, -A), np.fmax: (A, A.T - 1), np.fmin: (A, A.T - 1), np.float_power: (A + 3, A),
          np.logaddexp2: (A, A * A), np.heaviside: (A, 0.5 * A), np.nextafter: (A, -A), np.vecdot: (A, A + 1),
          np.ldexp: (A, np.arange(3)), np.gcd: (np.arange(6), np.arange(6) + 3),
          np.lcm: (np.arange(6), np.arange(6) + 3),
          np.bitwise_left_shift: (np.arange(3), np.arange(3)), np.modf: A, np.frexp: A, np.divmod: (A, 2.0 + A * A)}


@pytest.mark.parametrize("ufunc", UFUNCS, ids=lambda f: f.__name__)
def test_ufuncs_that_are_functions_of_ours(ufunc):
    given = UFUNCS[ufunc] if isinstance(UFUNCS[ufunc], tuple) else (UFUNCS[ufunc],)
    for y, truth in zip(parts(ufunc(*map(Tensor, given))), parts(ufunc(*given)), strict=True):
        assert isinstance(y, Tensor) and (y.dtype == truth.dtype or y.dtype == np.int64)
        np.testing.assert_allclose(y.numpy(), truth, rtol=1e-14, atol=1e-14)
