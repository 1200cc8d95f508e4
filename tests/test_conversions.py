"""Tensors as arrays and numbers of others: where a gradient would be lost without a word there is an error instead."""
import array
import cmath
import copy
import io
import math
import pickle
import statistics

import numpy as np
import pytest
import scipy.linalg
import scipy.sparse
import scipy.special

import microgradx as mgx
from microgradx import Tensor, nn
from microgradx.errors import DTypeError, Error, GraphError, ShapeError


def leaf(data):
    return Tensor(np.asarray(data, np.float64), requires_grad=True)


def written(x):
    out = np.zeros(np.shape(x))
    out[...] = x
    return out


# ----- a tensor that requires a gradient ------------------------------------------------------------------------------

AS_ARRAYS = {
    "np.asarray": np.asarray, "np.array": np.array, "np.array, dtype": lambda x: np.array(x, np.float32),
    "np.array, object": lambda x: np.array(x, object), "np.asanyarray": np.asanyarray,
    "np.ascontiguousarray": np.ascontiguousarray, "memoryview": memoryview, "bytes": bytes,
    "__array__": lambda x: x.__array__(), "list": lambda x: np.array([x, x**2]),
    "tuple": lambda x: np.array((x, 1 + x)),
    "nested list": lambda x: np.array([[x], [x]]), "list of rows": lambda x: np.array(list(x)),
    "object list": lambda x: np.array([x, None], object), "np.r_": lambda x: np.r_[x, 2 * x],
    "np.c_": lambda x: np.c_[x, x], "np.sum of a list": lambda x: np.sum([x, x]),
    "np.add.reduce": lambda x: np.add.reduce([x, x]), "assignment": written,
    "random": lambda x: np.random.default_rng(0).normal(x, 1.0), "np.frombuffer": np.frombuffer,
    "dlpack": np.from_dlpack, "sparse @ x": lambda x: scipy.sparse.eye(3, format="csr") @ x,
    "scipy.special.logsumexp": scipy.special.logsumexp, "scipy.special.softmax": scipy.special.softmax,
    "scipy.linalg.solve": lambda x: scipy.linalg.solve(np.eye(3), x), "np.save": lambda x: np.save(io.BytesIO(), x),
    "np.full": lambda x: np.full(3, x), "np.vectorize": lambda x: np.vectorize(math.sin)(x),
    "Tensor of a list": lambda x: Tensor([[x, x]]), "exp of a list": lambda x: mgx.exp([x, x]),
    "x + list": lambda x: x + [x]}


@pytest.mark.parametrize("result", [False, True], ids=["leaf", "result"])
@pytest.mark.parametrize("convert", AS_ARRAYS.values(), ids=AS_ARRAYS)
def test_no_array_is_made_where_a_gradient_would_be_lost(convert, result):
    x = leaf([0.1, 0.2, 0.3])
    with pytest.raises((GraphError, DTypeError, BufferError), match="grad|graph|detach"):
        convert(x * 1.0 if result else x)
    assert x.version == 0 and x.tolist() == [0.1, 0.2, 0.3]


@pytest.mark.parametrize("convert", [np.asarray, np.array, lambda x: np.r_[x, 2 * x], written, memoryview, bytes,
                                     lambda x: np.sum([x, x]), np.from_dlpack, scipy.special.logsumexp,
                                     lambda x: scipy.sparse.eye(3, format="csr") @ x])
def test_without_a_gradient_they_are_arrays_as_before(convert):
    x = leaf([0.1, 0.2, 0.3])
    truth = np.array([0.1, 0.2, 0.3])
    np.testing.assert_array_equal(convert(x.detach()), convert(truth))
    np.testing.assert_array_equal(convert(Tensor(truth)), convert(truth))


def test_the_error_says_detach():
    with pytest.raises(GraphError, match=r"requires a gradient.*t\.detach\(\)"):
        np.asarray(leaf([1.0]))


def test_numbers_of_a_tensor_that_requires_a_gradient():
    x, losses = leaf([2.5]), []
    losses.append(float(x * 2))
    assert losses == [5.0] and type(losses[0]) is float
    assert int(x) == 2 and bool(x) and x.item() == 2.5 and complex(x) == 2.5 and f"{x:.3f}" == "2.500"
    assert math.sin(x) == math.sin(2.5) and x.tolist() == [2.5]
    assert x.numpy().tolist() == [2.5] and (x * 1).numpy().tolist() == [2.5]
    assert str(x) == "tensor([2.5000], dtype=float64, requires_grad=True)" == f"{x}"


def test_copies_of_a_leaf_keep_that_it_requires_a_gradient():
    x = leaf([1.0, 2.0])
    for y in (copy.copy(x), copy.deepcopy(x), pickle.loads(pickle.dumps(x))):
        assert y.requires_grad and y.tolist() == [1.0, 2.0]
    for fails in (copy.copy, copy.deepcopy, pickle.dumps):
        with pytest.raises(GraphError, match="detach"):
            fails(x * 2)


@pytest.mark.parametrize("call", [
    lambda x, t: x.fill_(t), lambda x, t: x.norm(t), lambda x, t: mgx.pad(x, 1, t), lambda x, t: mgx.full(2, t),
    lambda x, t: mgx.full_like(x, t), lambda x, t: mgx.linspace(0, t, 3), lambda x, t: mgx.arange(0, t, 0.5)])
def test_a_parameter_that_is_a_plain_number_has_no_graph_to_lose(call):
    x, t = Tensor([1.0, 2.0]), leaf(3.0)
    with pytest.raises(GraphError, match=r"graph.*detach\(\)"):
        call(x, t)
    call(x, float(t))
    call(x, t.detach())


# ----- an input of a transform ----------------------------------------------------------------------------------------

AS_NUMBERS = {
    "float": float, "int": int, "complex": complex, "item": lambda x: x.item(), "tolist": lambda x: x.tolist(),
    "numpy": lambda x: x.numpy(), "math.sin": math.sin, "math.floor": math.floor, "cmath.exp": cmath.exp,
    "statistics": lambda x: statistics.fmean([x, x]), "array.array": lambda x: array.array("d", [x]),
    "np.float64": np.float64, "an element": lambda x: np.zeros(2).__setitem__(0, x), "copy": copy.copy, "pickle":
    pickle.dumps, "Tensor": Tensor, "Tensor, dtype": lambda x: Tensor(x, dtype="float32"), "Parameter": nn.Parameter}
TRANSFORMS = {
    "grad": lambda f: mgx.grad(f)(2.0), "value_and_grad": lambda f: mgx.value_and_grad(f)(2.0),
    "vjp": lambda f: mgx.vjp(f, Tensor(2.0)), "jvp": lambda f: mgx.jvp(f, (Tensor(2.0),), (Tensor(1.0),)),
    "jacobian": lambda f: mgx.jacobian(f)(2.0), "hessian": lambda f: mgx.hessian(f)(2.0),
    "hvp": lambda f: mgx.hvp(f, (Tensor(2.0),), (Tensor(1.0),))}


@pytest.mark.parametrize("transform", TRANSFORMS.values(), ids=TRANSFORMS)
@pytest.mark.parametrize("convert", [AS_NUMBERS[name] for name in ("float", "item", "math.sin", "numpy")])
def test_no_transform_takes_its_input_for_a_constant(convert, transform):
    def f(x):
        convert(x.exp())
        return x * x
    with pytest.raises(GraphError, match=r"differentiation.*detach\(\)"):
        transform(f)


@pytest.mark.parametrize("of", [lambda x: x, lambda x: x.exp(), lambda x: (x.reshape(1) * 2).sum()])
@pytest.mark.parametrize("convert", [*AS_NUMBERS.values(), *(AS_ARRAYS[k] for k in ("np.array", "list", "assignment"))])
def test_no_conversion_takes_an_input_for_a_constant(convert, of):
    def f(x):
        convert(of(x))
        return x * x
    with pytest.raises((Error, ValueError), match="differentiation|graph|leaves|array element"):
        mgx.grad(f)(2.0)
    assert mgx.grad(lambda x: x * float(x.detach()))(2.0).item() == 2.0         # a constant that is meant to be one
    assert float(leaf(2.0)) == 2.0                                              # and nothing is left behind


def test_what_decides_and_what_is_printed_is_no_constant():
    def f(x):
        assert x and x > 0 and f"{x:.1f}" == "2.0" and "Tensor(2." in repr(x)
        return x * x if x > 1 else -x
    assert mgx.grad(f)(2.0).item() == 4.0


def test_what_has_nothing_to_do_with_the_input_is_a_number():
    w = leaf(3.0)
    assert mgx.grad(lambda x: x * float(w * 2))(2.0).item() == 6.0


def test_after_the_transform_its_results_are_numbers():
    w = leaf(3.0)
    value, slope = mgx.value_and_grad(lambda x: w * x * x)(2.0)
    assert float(value) == 12.0 and float(slope) == 12.0 and slope.requires_grad
    slope.backward()
    assert w.grad.item() == 4.0


def test_an_inner_result_is_the_outer_transforms():
    def f(x):
        inner = mgx.grad(lambda y: y**3)(x)
        return x * float(inner)
    with pytest.raises(GraphError, match="differentiation"):
        mgx.grad(f)(2.0)

    def g(x):
        return mgx.grad(lambda y: y * float(x))(x)
    with pytest.raises(GraphError, match="differentiation"):
        mgx.grad(g)(2.0)


def test_a_derivative_by_hand_that_computes_with_numpy_is_not_pushed_forward():
    class Twice(mgx.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x * 2

        @staticmethod
        def backward(ctx, g):
            return Tensor(g.numpy() * 2)
    x = Tensor([1.0, 2.0])
    assert mgx.grad(lambda x: Twice.apply(x).sum())(x).tolist() == [2.0, 2.0]
    with pytest.raises(GraphError, match="differentiation"):
        mgx.jvp(Twice.apply, (x,), (x,))


# ----- constant results -----------------------------------------------------------------------------------------------

@pytest.mark.parametrize("f", [lambda x: x.norm(0), lambda x: x.norm(0, 0), lambda x: x.sign(), lambda x: x.floor(),
                               lambda x: x.round(), lambda x: x**0, lambda x: x * 0.0, lambda x: mgx.norm(x, 0)])
def test_constant_results_have_a_gradient_of_zero(f):
    x = leaf([3.0, 0.0, -2.0])
    y = f(x)
    assert y.requires_grad
    y.sum().backward()
    assert x.grad.tolist() == [0.0, 0.0, 0.0]
    assert Tensor([3.0, 0.0, -np.inf, np.nan]).norm(0).item() == 3.0


# ----- SciPy's ufuncs -------------------------------------------------------------------------------------------------

SPECIAL = {"expit": "sigmoid", "log_expit": "logsigmoid", "erf": "erf", "erfc": "erfc", "logit": "logit",
           "xlogy": "xlogy", "log1p": "log1p", "expm1": "expm1", "exp2": "exp2"}


@pytest.mark.parametrize("name", SPECIAL)
def test_ufuncs_of_scipy_are_operations(name):
    ufunc, values = getattr(scipy.special, name), [np.array([0.2, 0.7]), np.array([0.4, 0.9])]
    xs = [leaf(a) for a in values[:ufunc.nin]]
    y = ufunc(*xs)
    assert isinstance(y, Tensor) and y.requires_grad
    np.testing.assert_allclose(y.detach().numpy(), ufunc(*values[:ufunc.nin]), rtol=1e-13)
    y.sum().backward()
    truth = getattr(mgx, SPECIAL[name])(*(again := [leaf(a) for a in values[:ufunc.nin]]))
    truth.sum().backward()
    assert [x.grad.tolist() for x in xs] == [x.grad.tolist() for x in again]


def test_other_ufuncs_of_scipy_are_refused():
    with pytest.raises(DTypeError, match=r"gammaln: no operation .*t\.detach\(\)"):
        scipy.special.gammaln(leaf([1.0]))


# ----- formats --------------------------------------------------------------------------------------------------------

def test_formats():
    assert f"{Tensor(1.5):.3f}" == "1.500" and f"{mgx.tensor([[2]]):04d}" == "0002"
    assert f"{mgx.tensor(True):>6}" == "     1"
    assert f"{leaf(0.25):.0%}" == "25%" and f"{Tensor([1.0, 2.0])}" == "tensor([1., 2.])"
    with pytest.raises(ShapeError, match="only one number can be formatted, this has 4"):
        f"{Tensor([1.0, 2.0, 3.0, 4.0]):.3f}"
