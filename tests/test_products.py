"""Products and broadcasting against NumPy, and whole programs against finite differences and against Values."""
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from test_tensor import F32, F64, RNG, few, leaf, same, slope

import microgradx as mgx
from microgradx import Tensor, Value


# ----- products ------------------------------------------------------------------------------------------------------

@st.composite
def matmul_operands(draw):
    shapes = draw(hnp.mutually_broadcastable_shapes(signature="(m?,k),(k,n?)->(m?,n?)", max_dims=3, max_side=4,
                                                    min_side=0))
    arrays = []
    for shape in shapes.input_shapes:
        a = RNG.standard_normal(shape)
        how = draw(st.sampled_from(["C", "F", "reversed", "strided"]))
        arrays.append(np.asfortranarray(a) if how == "F" else a[::-1] if how == "reversed" else
                      np.repeat(a, 2, -1)[..., ::2] if how == "strided" else a)
    return arrays


@few
@given(matmul_operands(), st.sampled_from([F32, F64]))
def test_matmul(arrays, dtype):
    a, b = arrays
    x, y = (mgx.from_numpy(v.astype(dtype, copy=False)).requires_grad_() for v in arrays)
    out, truth = x @ y, (a.astype(dtype) @ b.astype(dtype))
    tolerance = dict(rtol=1e-5, atol=1e-5) if dtype == F32 else dict(rtol=1e-13, atol=1e-13)
    same(out, truth, **tolerance)
    g = RNG.standard_normal(truth.shape)
    out.backward(Tensor(g.astype(dtype)))
    for leaf_, of in (x, a), (y, b):
        direction = RNG.standard_normal(of.shape)
        change = direction @ b if leaf_ is x else a @ direction
        assert leaf_.grad.shape == of.shape and leaf_.grad.dtype == dtype
        close = 2e-4 if dtype == F32 else 1e-11
        np.testing.assert_allclose((leaf_.grad.numpy() * direction).sum(), (change * g).sum(), rtol=close, atol=close)


def test_matmul_functions_and_arrays():
    a, b = RNG.standard_normal((2, 3)), RNG.standard_normal((3, 4))
    for out in (Tensor(a) @ b, a @ Tensor(b), Tensor(a).matmul(Tensor(b)), mgx.matmul(Tensor(a), Tensor(b)),
                mgx.matmul(a, b)):
        same(out, a @ b, rtol=1e-14)


def test_products_of_transposes_to_the_second_order():
    a, b = RNG.standard_normal((3, 2)), RNG.standard_normal((4, 3))
    x, y = leaf(a), leaf(b)
    ((x.T @ y.T)**2).sum().backward(create_graph=True)
    (x.grad**2).sum().backward()
    first = lambda a, b: 2 * (b.T @ (a.T @ b.T).T)
    for grad, k in ((x, 0), (y, 1)):
        d = [np.zeros_like(a), np.zeros_like(b)]
        d[k] = RNG.standard_normal(d[k].shape)
        want = slope(lambda a, b: (first(a, b)**2).sum(), [a, b], d, 1e-3)
        total = grad.grad.detach().numpy() - (first(a, b) if k == 0 else 2 * (a @ (a.T @ b.T)).T)
        assert (total * d[k]).sum() == pytest.approx(want, rel=1e-7)


@st.composite
def einsum_cases(draw):
    sizes = {c: draw(st.integers(1, 3)) for c in "abcd"}
    inputs = draw(st.lists(st.text("abcd", min_size=0, max_size=3), min_size=1, max_size=3))
    letters = sorted(set("".join(inputs)))
    output = draw(st.permutations(letters).flatmap(lambda p: st.integers(0, len(p)).map(lambda n: "".join(p[:n]))))
    equation = ",".join(inputs) + draw(st.sampled_from(["", "->" + output]))
    return equation, [RNG.standard_normal([sizes[c] for c in term]) for term in inputs]


@few
@given(einsum_cases())
def test_einsum(case):
    equation, arrays = case
    xs = [leaf(a) for a in arrays]
    out, truth = mgx.einsum(equation, *xs), np.einsum(equation, *arrays)
    same(out, truth, rtol=1e-12, atol=1e-12)
    g = RNG.standard_normal(truth.shape)
    out.backward(Tensor(g))
    for k, x in enumerate(xs):
        direction = RNG.standard_normal(x.shape)
        change = np.einsum(equation, *[direction if i == k else a for i, a in enumerate(arrays)])
        np.testing.assert_allclose((x.grad.numpy() * direction).sum(), (change * g).sum(), rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("equation, shapes", [
    ("...ij,...jk->...ik", [(2, 1, 3, 4), (5, 4, 2)]), ("i...,i...->...", [(2, 3, 1), (2, 3, 4)]),
    ("...,...", [(2, 3), (3,)]),
    ("ii->i", [(3, 3)]), ("...ii->...i", [(2, 3, 3)]), (" i j , j -> i ", [(2, 3), (3,)]), ("ij,ij", [(0, 3), (0, 3)])])
def test_einsum_of_numpy(equation, shapes):
    arrays = [RNG.standard_normal(s) for s in shapes]
    same(mgx.einsum(equation, *map(Tensor, arrays)), np.einsum(equation, *arrays), rtol=1e-12, atol=1e-13)


# ----- broadcasting --------------------------------------------------------------------------------------------------

@few
@given(hnp.mutually_broadcastable_shapes(num_shapes=3, max_dims=4, min_side=0, max_side=4), st.booleans())
def test_broadcasting(shapes, reverse):
    a, b, c = (RNG.standard_normal(s) for s in shapes.input_shapes)
    if reverse:
        a, b = a[..., ::-1] if a.ndim else a, b.T.copy().T
    x, y, z = (mgx.from_numpy(v).requires_grad_() for v in (a, b, c))
    out = x * y + z
    same(out, a * b + c)
    g = RNG.standard_normal(out.shape)
    (out * g).sum().backward()
    for t, factor in ((x, b), (y, a), (z, 1.0)):
        full = np.broadcast_to(g * factor, out.shape)
        axes = tuple(range(full.ndim - t.ndim)) + tuple(
            d + full.ndim - t.ndim for d, n in enumerate(t.shape) if n == 1 and full.shape[d + full.ndim - t.ndim] != 1)
        same(t.grad, full.sum(axis=axes).reshape(t.shape), rtol=1e-12, atol=1e-13)


# ----- whole programs ------------------------------------------------------------------------------------------------

def test_scalar_and_tensor_nets_agree():
    sizes, batch = [3, 5, 4, 2], 6
    weights = [RNG.standard_normal((n, m)) for m, n in zip(sizes, sizes[1:])]
    biases, data = [RNG.standard_normal(n) for n in sizes[1:]], RNG.standard_normal((batch, 3))
    ws, bs, x = [leaf(w) for w in weights], [leaf(b) for b in biases], Tensor(data)
    for k, (w, b) in enumerate(zip(ws, bs)):
        x = x @ w.T + b
        x = x.tanh() if k < 2 else x.sigmoid()
    loss = ((x - 0.25)**2).mean() + x.softmax(-1).log()[:, 0].sum()
    loss.backward()
    vs = [[[Value(v) for v in row] for row in w] for w in weights]
    us = [[Value(v) for v in b] for b in biases]
    total = []
    for row in data:
        row = list(map(float, row))
        for k, (w, b) in enumerate(zip(vs, us)):
            row = [mgx.dot(wi, row) + bi for wi, bi in zip(w, b)]
            row = [v.tanh() if k < 2 else v.sigmoid() for v in row]
        exps = [v.exp() for v in row]
        total += [(v - 0.25)**2 / (2 * batch) for v in row] + [(exps[0] / mgx.sum(exps)).log()]
    scalar = mgx.sum(total)
    scalar.backward()
    assert scalar.data == pytest.approx(loss.item(), rel=1e-12)
    for w, v in zip(ws + bs, vs + us):
        grads = [[p.grad for p in row] if isinstance(row, list) else row.grad for row in v]
        np.testing.assert_allclose(w.grad.numpy(), grads, rtol=1e-12, atol=1e-13)


def test_three_orders():
    """Directional derivatives of a small net, each against the central difference of the one below it."""
    data, direction = RNG.standard_normal((4, 3)), RNG.standard_normal((3, 2))
    start = RNG.standard_normal((3, 2))

    def derivative(order, w):
        w = leaf(w)
        h = Tensor(data) @ w
        y = (h.tanh() * h.sigmoid() + h.softmax(-1).square() + h.logsumexp(-1, keepdims=True)).sum()
        y = y + (w.T @ w).exp().mean()
        for _ in range(order):
            w.grad = None
            y.backward(create_graph=True)
            y = (w.grad * direction).sum()
        w.grad = None
        return y.item()
    for order in (1, 2, 3):
        want = slope(lambda w: derivative(order - 1, w), [start], [direction], 1e-3)
        assert derivative(order, start) == pytest.approx(want, rel=1e-7)


OPERATIONS = [
    lambda a, b: a + b, lambda a, b: a * b, lambda a, b: a - b.T, lambda a, b: a @ b, lambda a, b: a.tanh(),
    lambda a, b: a / (b * b + 1.0), lambda a, b: a.sigmoid() * b, lambda a, b: a.softmax(0),
    lambda a, b: a.sin() + b.cos(),
    lambda a, b: a * b.sum(0), lambda a, b: a - b.mean(1, keepdims=True), lambda a, b: a[::-1] * b[:, [0, 0, 2]],
    lambda a, b: mgx.concat([a[:1], b[1:]]), lambda a, b: (a * 0.3).exp(), lambda a, b: (a * a + 1.0).sqrt(),
    lambda a, b: mgx.where(a.detach() > 0, a, b), lambda a, b: a.reshape(9)[2:5] + b, lambda a, b: a.cumsum(1) * 0.5,
    lambda a, b: mgx.einsum("ij,kj->ki", a, b), lambda a, b: a.log_softmax(-1), lambda a, b: 2.0 - a,
    lambda a, b: a.atan()]
STEPS = st.tuples(st.integers(0, len(OPERATIONS) - 1), st.integers(0, 50), st.integers(0, 50))


@few
@given(st.lists(STEPS, min_size=1, max_size=8), st.integers(0, 10**6))
def test_random_programs(program, seed):
    rng = np.random.default_rng(seed)
    arrays, directions = ([rng.uniform(-1, 1, (3, 3)) for _ in range(2)] for _ in range(2))
    weights = rng.uniform(-1, 1, (3, 3))

    def forward(*leaves):
        made = list(leaves)
        for op, i, k in program:
            made.append(OPERATIONS[op](made[i % len(made)], made[k % len(made)]) * 0.5)
        return (made[-1] * weights).sum() + sum(m.mean() for m in made)
    xs = [leaf(a) for a in arrays]
    forward(*xs).backward()
    got = sum((x.grad.numpy() * d).sum() for x, d in zip(xs, directions))
    want = slope(lambda *a: forward(*map(Tensor, a)).item(), arrays, directions)
    assert got == pytest.approx(want, rel=1e-6, abs=1e-7)


@few
@given(st.lists(STEPS, min_size=1, max_size=5), st.integers(0, 10**6))
def test_random_programs_to_the_second_order(program, seed):
    rng = np.random.default_rng(seed)
    start, direction, other = (rng.uniform(-1, 1, (3, 3)) for _ in range(3))

    def directional(a, again):
        x = leaf(a)
        made = [x, x.T * 0.5]
        for op, i, k in program:
            made.append(OPERATIONS[op](made[i % len(made)], made[k % len(made)]) * 0.5)
        sum((m * m).mean() for m in made).backward(create_graph=True)
        first = (x.grad * direction).sum()
        if not again:
            return first.item()
        x.grad = None
        first.backward()
        return (x.grad.detach().numpy() * other).sum()
    want = slope(lambda a: directional(a, False), [start], [other])
    assert directional(start, True) == pytest.approx(want, rel=1e-6, abs=1e-7)
