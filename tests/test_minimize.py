"""SciPy's minimizers over parameters: every method, exact products with the Hessian, nothing left half done."""
import math

import numpy as np
import pytest
from scipy.optimize import rosen

import microgradx as mgx
from microgradx import nn, optim
from microgradx.errors import DTypeError, GraphError, NonFiniteError, OptionError, ShapeError


def leaf(data):
    return mgx.Tensor(np.asarray(data, "float64"), requires_grad=True)


def rosenbrock(x):
    return (100 * (x[1:] - x[:-1].square()).square() + (1 - x[:-1]).square()).sum()


@pytest.mark.parametrize("method", ["L-BFGS-B", "BFGS", "CG", "TNC", "SLSQP", "Newton-CG", "trust-ncg", "trust-krylov",
                                    "trust-constr", "Nelder-Mead"])
@pytest.mark.filterwarnings("ignore::UserWarning")                # trust-constr's own
def test_scipy_minimizes(method):
    a, b, frozen = leaf([-1.2]), leaf([1.0, 0.5]), leaf([7.0])
    frozen.requires_grad = False
    before = b.grad = mgx.Tensor(np.array([5.0, 5.0]))
    result = optim.scipy_minimize(iter([a, b, frozen]), lambda: rosenbrock(mgx.concat([a, b])), method, tol=1e-9,
                                  options={"maxfun" if method == "TNC" else "maxiter": 2000})
    np.testing.assert_allclose(result.x, [1, 1, 1], atol=1e-2)
    assert [*a.tolist(), *b.tolist()] == result.x.tolist() and a.grad is None and b.grad is before
    assert result.fun == pytest.approx(rosen(result.x), abs=1e-12) and frozen.item() == 7


def test_scipy_gets_exact_products():
    """Newton-CG solves a quadratic in one step with products of the Hessian, and half a linear loss is no error."""
    w, a = leaf([3.0, -2.0]), mgx.Tensor(np.array([[4.0, 1.0], [1.0, 3.0]]))
    loss = lambda: 0.5 * (w @ a @ w) - w.sum()
    result = optim.scipy_minimize([w], loss, "trust-ncg", tol=1e-12)
    np.testing.assert_allclose(w.numpy(), np.linalg.solve(a.numpy(), [1, 1]), rtol=1e-9)
    assert result.nhev > 0
    with pytest.raises(ValueError):                               # SciPy asks for what was taken away
        optim.scipy_minimize([w], loss, "trust-ncg", hvp=False)


def test_scipy_trains_a_float32_model():
    x = mgx.Tensor(np.linspace(-2, 2, 30, dtype=np.float32)[:, None])
    net = nn.Sequential(nn.Linear(1, 8, rng=0), nn.Tanh(), nn.Linear(8, 1, rng=1))
    result = optim.scipy_minimize(net, lambda: nn.functional.mse_loss(net(x), x.square()), options={"maxiter": 100})
    assert result.fun < 1e-3 and result.x.dtype == np.float64 and all(p.dtype == "float32" for p in net.parameters())


def failing(w, fail, after=3):
    calls = []

    def loss():
        calls.append(1)
        y = w.square().sum()
        return y if len(calls) < after else fail(y)
    return loss


def boom(y):
    raise KeyboardInterrupt("Ctrl-C")


@pytest.mark.parametrize("fail, error, words", [
    (lambda y: y * math.nan, NonFiniteError, "loss is nan"), (lambda y: y * math.inf, NonFiniteError, "loss is inf"),
    (lambda y: (y - y).sqrt() * 1.0, NonFiniteError, "gradient is not finite"),
    (lambda y: y.detach(), GraphError, "does not depend"), (lambda y: 1.0, ShapeError, "float"),
    (lambda y: mgx.stack([y, y]), ShapeError, r"\(2,\)"), (boom, KeyboardInterrupt, "Ctrl-C")])
def test_scipy_leaves_no_half_trained_parameters(fail, error, words):
    w = leaf([3.0, -4.0])
    before = w.grad = mgx.Tensor(np.ones(2))
    with pytest.raises(error, match=words):
        optim.scipy_minimize([w], failing(w, fail), "CG")
    assert w.tolist() == [3, -4] and w.grad is before and w.is_leaf


@pytest.mark.parametrize("call, error", [
    (lambda: optim.scipy_minimize([], lambda: 0), OptionError),
    (lambda: optim.scipy_minimize([mgx.Tensor([1.0])], lambda: 0), OptionError),
    (lambda: optim.scipy_minimize([np.ones(2)], lambda: 0), DTypeError),
    (lambda: optim.scipy_minimize([leaf([1.0]) * 2], lambda: 0), DTypeError),
    (lambda: optim.scipy_minimize([leaf([1.0])], 3), DTypeError),
    (lambda: optim.scipy_minimize([leaf([1.0])], lambda: leaf([1.0]), "steepest"), ValueError)])
def test_scipy_refuses(call, error):
    with pytest.raises(error):
        call()
