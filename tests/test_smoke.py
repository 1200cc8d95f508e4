"""The skeleton stands: build, table, both graphs, one product."""
import numpy as np
import pytest

import microgradx as mgx

pytestmark = pytest.mark.short


def test_value_and_tensor_agree():
    a, b = mgx.Value(2.0), mgx.Value(-3.0)
    (a * b + 1).tanh().backward()
    x, y = (mgx.Tensor(np.array(v), requires_grad=True) for v in (2.0, -3.0))
    (x * y + 1).tanh().backward()
    assert a.grad == x.grad.item() and b.grad == y.grad.item()


def test_matmul_gradient():
    x, w = np.arange(6.0).reshape(2, 3), np.ones((3, 4))
    t, u = mgx.Tensor(x, requires_grad=True), mgx.Tensor(w, requires_grad=True)
    (t @ u).sum().backward()
    np.testing.assert_allclose(u.grad.numpy(), x.T @ np.ones((2, 4)))
