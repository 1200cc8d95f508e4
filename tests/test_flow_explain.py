"""The chain rule written out: its factors, its paths, their sum, its text."""
import math
import random

import pytest

import microgradx as mgx
from microgradx import Value, flow
from microgradx.errors import DTypeError, OptionError


def chain_net(labels=True):
    """One input, two hidden layers of one neuron, one output, each neuron a sigmoid, all weights 1; the loss is half
    the squared output."""
    ws, o = [Value(1.0, label=f"w{k}" * labels) for k in (1, 2, 3)], Value(1.0, label="x" * labels)
    for k, w in enumerate(ws, 1):
        o = (w * o + 0.0).sigmoid()
        o.label = f"O{k}" * labels
    loss = 0.5 * (o - 0.0) ** 2
    loss.label = "L" * labels
    return loss, ws


def test_local_derivatives_stand_beside_the_operands():
    a, b = Value(2.0), Value(-3.0)
    for y, expected in ((a * b, (-3.0, 2.0)), (a + 5, (1.0, None)), (2 / a, (None, -0.5)), (a.relu(), (1.0,)), (a, ()),
                        (mgx.dot([a, b], [b, 4.0]), (2.0, -3.0, None, 4.0)),
                        (Value(1.0, (a, b), (7.0, 8.0)), (7.0, 8.0))):
        assert y._local_grads == expected and len(y._prev) == len(expected)


def test_the_chain_of_the_notes():
    """dL/dw1 = dL/dO3 dO3/dO2 dO2/dO1 dO1/dw1."""
    loss, ws = chain_net()
    found = flow.explain(loss, ws[0])
    loss.backward()
    assert found.count == 1 and found.rest == 0 and found.gradient == ws[0].grad
    # the walk multiplies from the loss on, and the path in an order of its own: as many roundings as factors
    product = found.paths[0].product
    assert abs(product - ws[0].grad) <= len(found.paths[0].factors) * math.ulp(ws[0].grad)
    assert str(found).splitlines()[2] == "dL/dO3 · dO3/dO2 · dO2/dO1 · dO1/dw1"
    assert "dL/dw1 = 0.006388805, the sum over 1 path" in str(found)
    o = [0.7310585786, 0.6750375273, 0.6626301911]
    factors = [o[2], o[2] * (1 - o[2]), o[1] * (1 - o[1]), o[0] * (1 - o[0])]
    rows = [line.split() for line in str(found).splitlines()[3:7]]
    for row, head, factor in zip(rows, ("dL/dO3", "dO3/dO2", "dO2/dO1", "dO1/dw1"), factors):
        assert row[0] == head and abs(float(row[1]) - factor) < 1e-7
    times, product = found.paths[0].by_operation()["sigmoid"]
    assert times == 3 and abs(product - math.prod(factors[1:])) < 1e-9


def test_without_labels_every_node_counts():
    loss, ws = chain_net(labels=False)
    text = str(flow.explain(loss, ws[0]))
    assert text.startswith("dL/dw = 0.006388805, the sum over 1 path")
    assert text.count("[sigmoid]") == 3 and "dL/dv1 · dv1/dv2 · " in text


def every_path(node, w):
    if node is w:
        return [1.0]
    return [d * rest for operand, d in zip(node._prev, node._local_grads) if d is not None
            for rest in every_path(operand, w)]


@pytest.mark.parametrize("seed", range(5))
def test_all_paths_of_a_net(seed):
    random.seed(seed)
    net = mgx.scalar.MLP(2, [3, 3, 1])
    out = net([Value(0.7), Value(-0.4)])
    loss = (out - 1.0) ** 2
    loss.backward()
    for w in net.parameters()[:4]:
        expected = sorted(every_path(loss, w), key=abs, reverse=True)
        found = flow.explain(loss, w, most=10_000)
        assert found.count == len(expected) == len(found.paths) and found.rest == 0
        assert [abs(p.product) for p in found.paths] == pytest.approx([abs(p) for p in expected], rel=1e-12, abs=0)
        assert found.gradient == pytest.approx(w.grad, rel=1e-12, abs=1e-15)
        few = flow.explain(loss, w, most=2)
        assert [p.product for p in few.paths] == [p.product for p in found.paths[:2]]
        assert few.rest == pytest.approx(math.fsum(p.product for p in found.paths[2:]), abs=1e-14)


def test_more_paths_than_can_be_written():
    """2^60 paths, each a known product: counted and summed without walking them."""
    w = y = Value(1.0, label="w")
    for _ in range(60):
        y = y * 0.5 + y * 0.25
    found = flow.explain(y, w, most=3)
    assert found.count == 2**60 and found.paths[0].product == 0.5**60
    assert found.gradient == pytest.approx(0.75**60, rel=1e-12)
    assert found.paths[1].product == found.paths[2].product == 0.5**59 * 0.25
    assert str(found).splitlines()[-1] == f"… and {2**60 - 3} more paths sum to {found.rest:.4g}"


def test_a_long_chain_is_no_recursion():
    w = y = Value(1.0)
    for _ in range(20_000):
        y = y * 1.0
    found = flow.explain(y, w)
    assert found.gradient == 1 and len(found.paths[0].factors) == 20_000 and len(str(found).splitlines()) < 20


def test_ends():
    a, b = Value(2.0, label="a"), Value(3.0)
    assert str(flow.explain(a, a)) == "da/da = 1, the sum over 1 path\n\nda/da\n  product  1"
    none = flow.explain(a * 2, b)
    assert none.gradient == none.count == 0 and str(none) == "dL/dw = 0: no path leads from L to w"
    inner = a * b
    found = flow.explain(inner.tanh() + inner, inner)
    assert found.count == 2 and found.gradient == pytest.approx(2 - math.tanh(6) ** 2, rel=1e-12)
    dead = flow.explain((a - 5).relu() * b, a)
    assert dead.gradient == 0 and dead.count == 1 and "product  0" in str(dead)
    assert flow.explain(a * b, a, most=0).rest == 3


def test_powers_that_overflow():
    a = Value(0.0)
    found = flow.explain(a**-1 + a * 2, a)
    assert not math.isfinite(found.gradient) and len(found.paths) == 2 and "inf" in str(found)


@pytest.mark.parametrize("call, error, words", [
    (lambda: flow.explain(1.0, Value(1.0)), DTypeError, "loss is a Value, not float"),
    (lambda: flow.explain(Value(1.0), mgx.Tensor(1.0)), DTypeError, "w is a Value, not Tensor"),
    (lambda: flow.explain(Value(1.0), Value(1.0), most=-1), OptionError, "most is an integer >= 0, not -1")])
def test_refusals(call, error, words):
    with pytest.raises(error, match=words):
        call()
