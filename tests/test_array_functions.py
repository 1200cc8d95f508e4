"""NumPy's functions of Tensors: the values are NumPy's, the results Tensors with a graph; what has none is refused."""
import numpy as np
import pytest

import microgradx as mgx
from microgradx import Tensor
from microgradx.interop import OTHER, OURS


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
    "fix": ONE, "ravel": ONE, "round": ONE, "ones_like": ONE, "zeros_like": ONE, "cholesky": ONE,
    "det": ONE, "eigh": ONE,
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
    "linalg.norm": [*ONE, lambda f, a: f(a, axis=0), lambda f, a: f(a, None, (0, 1), True)],
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
    "take_along_axis": [lambda f, a: f(a, np.array([[0], [2], [1]])), lambda f, a: f(a, np.array([[0, 2, 1]]), 0),
                        lambda f, a: f(a, np.array([3, 5]), axis=None)],
    "tensordot": [lambda f, a: f(a, a), lambda f, a: f(a, np.ones((3, 2)), 1),
                  lambda f, a: f(a, a, axes=([0, 1], [1, 0]))],
    "tile": [lambda f, a: f(a, 2), lambda f, a: f(a, (2, 1, 3))],
    "trace": [*ONE, lambda f, a: f(a, -1)],
    "transpose": [*ONE, lambda f, a: f(a[None], (1, 0, 2))],
    "vector_norm": [*ONE, lambda f, a: f(a, axis=1, ord=1)],
    "where": [lambda f, a: f(a > 0, a, 0.0), lambda f, a: f(A > 0, 1.0, a), lambda f, a: f(a > 1)]}
FLAT = {"all", "any", "allclose", "isclose", "argmax", "argmin", "argsort", "full_like", "ones_like", "zeros_like"}


def called(function):
    return "linalg.norm" if function is np.linalg.norm else function.__name__


def parts(x):
    return list(x) if isinstance(x, tuple) else [x]


@pytest.mark.parametrize("function", OURS, ids=called)
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
    assert {called(f) for f in OURS} == CALLS.keys()
    for name in OTHER:
        assert hasattr(mgx, name) or hasattr(mgx.linalg, name)


def test_functions_without_counterpart_get_arrays():
    x = Tensor(A)
    assert type(np.diff(x)) is np.ndarray and np.array_equal(np.diff(x), np.diff(A))
    assert np.median(x) == np.median(A) and np.array_equal(np.sort(x), np.sort(A))
    assert np.histogram([x, 2 * x])[0].sum() == 18 and np.ones(2, like=x).shape == (2,)


def test_what_has_no_derivative_needs_no_permission():
    x = leaf(A)
    assert np.shape(x) == (3, 3) and np.ndim(x) == 2 and np.size(x) == 9 and np.array_equal(x, A)
    assert np.count_nonzero(x) == 9 and np.result_type(x, np.float32) == np.float64 and np.shares_memory(x, x)


@pytest.mark.parametrize("call, words", [
    (lambda x: np.diff(x), r"^np.diff: no operation .*t.detach\(\).numpy\(\)"),
    (lambda x: np.linalg.qr(x), "^np.linalg.qr: "), (lambda x: np.fft.fft(x), "^np.fft.fft: "),
    (lambda x: np.interp([1.0], [0.0, 2.0], x[0, :2]), "^np.interp: "), (lambda x: np.median(x), "^np.median: "),
    (lambda x: np.block([[A, x]]), "^np.block: "), (lambda x: np.select([A > 0], [x]), "^np.select: "),
    (lambda x: np.copyto(np.ones((3, 3)), x), "^np.copyto: "), (lambda x: np.copyto(x, A), "^np.copyto: "),
    (lambda x: np.sum(x, 0, initial=3.0), "^np.sum: initial cannot be given"),
    (lambda x: np.sum(x, out=np.ones(())), "^np.sum: out "), (lambda x: np.mean(x, where=A > 0), "^np.mean: where "),
    (lambda x: np.round(x, 2), "^np.round: decimals "),
    (lambda x: np.pad(x, ((1, 1), (1, 1)), "edge"), "^np.pad: mode "),
    (lambda x: np.clip(x, 0, 1, casting="no"), "^np.clip: casting "),
    (lambda x: np.linalg.eigh(x, "U"), "^np.linalg.eigh: UPLO "), (lambda x: np.linalg.norm(x, 2), "norm: ord ")])
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
