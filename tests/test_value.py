"""The scalar node: micrograd's programs, microgpt's programs, and what a Value promises beside them."""
import copy
import math
import pickle
import random

import numpy as np
import pytest

import microgradx as mgx
from microgradx import Value

INF, NAN = math.inf, math.nan


class Naive:
    """The Value class of a tutorial: data, children, local derivatives, and the chain rule. The oracle here."""

    def __init__(self, data, children=(), local_grads=()):
        self.data, self.grad, self.children, self.local_grads = data, 0.0, children, local_grads

    def __add__(self, other):
        other = other if isinstance(other, Naive) else Naive(other)
        return Naive(self.data + other.data, (self, other), (1.0, 1.0))

    def __mul__(self, other):
        other = other if isinstance(other, Naive) else Naive(other)
        return Naive(self.data * other.data, (self, other), (other.data, self.data))

    def __pow__(self, k): return Naive(self.data**k, (self,), (k * self.data**(k - 1),))
    def exp(self): return Naive(math.exp(self.data), (self,), (math.exp(self.data),))
    def log(self): return Naive(math.log(self.data), (self,), (1.0 / self.data,))
    def relu(self): return Naive(max(self.data, 0.0), (self,), (float(self.data > 0),))
    def __neg__(self): return self * -1.0
    def __sub__(self, other): return self + -other
    def __rsub__(self, other): return -self + other
    def __truediv__(self, other): return self * other**-1
    __radd__, __rmul__ = __add__, __mul__

    def backward(self):
        order, seen, stack = [], set(), [(self, False)]
        while stack:
            node, done = stack.pop()
            if done:
                order.append(node)
            elif node not in seen:
                seen.add(node)
                stack += [(node, True)] + [(child, False) for child in node.children]
        self.grad = 1.0
        for node in reversed(order):
            for child, slope in zip(node.children, node.local_grads):
                child.grad += slope * node.grad


def close(a, b):
    assert len(a) == len(b) > 0
    np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-14)


# ----- programs of others, with only the class swapped ---------------------------------------------------------------

def test_micrograd_sanity_check():
    x = Value(-4.0)
    z = 2 * x + 2 + x
    q = z.relu() + z * x
    h = (z * z).relu()
    y = h + q + q * x
    y.backward()
    assert (y.data, x.grad) == (-20.0, 46.0)


def test_micrograd_more_ops():
    a, b = Value(-4.0), Value(2.0)
    c = a + b
    d = a * b + b**3
    c += c + 1
    c += 1 + c + (-a)
    d += d * 2 + (b + a).relu()
    d += 3 * d + (b - a).relu()
    e = c - d
    f = e**2
    g = f / 2.0
    g += 10.0 / f
    g.backward()
    close([g.data, a.grad, b.grad], [24.70408163265306, 138.83381924198252, 645.5772594752186])


def moons(cls, steps=6):
    """Train a 2-8-8-1 net with hinge loss and weight decay on two half circles; losses and all gradients."""
    rng = random.Random(3)
    points = []
    for k in range(24):
        angle, upper = math.pi * rng.random(), k % 2
        x = [math.cos(angle), math.sin(angle)] if upper else [1 - math.cos(angle), 0.5 - math.sin(angle)]
        points.append((x, 2 * upper - 1))
    sizes = [2, 8, 8, 1]
    layers = [[([cls(rng.uniform(-1, 1)) for _ in range(m)], cls(0)) for _ in range(n)]
              for m, n in zip(sizes, sizes[1:])]
    parameters = [p for layer in layers for w, b in layer for p in w + [b]]
    losses = []
    for step in range(steps):
        scores = []
        for x, _ in points:
            for layer in layers:
                x = [sum((wi * xi for wi, xi in zip(w, x)), b) for w, b in layer]
                x = [out.relu() for out in x] if layer is not layers[-1] else x
            scores.append(x[0])
        hinge = [(1 + -y * score).relu() for (_, y), score in zip(points, scores)]
        loss = sum(hinge) * (1.0 / len(hinge)) + 1e-4 * sum(p * p for p in parameters)
        for p in parameters:
            p.grad = 0
        loss.backward()
        losses.append(loss.data)
        for p in parameters:
            p.data -= (1.0 - 0.9 * step / steps) * 0.1 * p.grad
    return losses + [p.grad for p in parameters]


def linear(x, w):
    return [sum(wi * xi for wi, xi in zip(row, x)) for row in w]


def softmax(logits):
    top = max(v.data for v in logits)
    exps = [(v - top).exp() for v in logits]
    total = sum(exps)
    return [e / total for e in exps]


def rmsnorm(x):
    scale = (sum(xi * xi for xi in x) / len(x) + 1e-5)**-0.5
    return [xi * scale for xi in x]


def tiny_gpt(cls, steps=3, width=6, heads=2, vocabulary=5):
    """One transformer block on one line of text, trained with Adam; losses and all gradients."""
    rng = random.Random(11)
    matrix = lambda rows, columns: [[cls(rng.gauss(0, 0.3)) for _ in range(columns)] for _ in range(rows)]
    wte, wpe, head = matrix(vocabulary, width), matrix(8, width), matrix(vocabulary, width)
    wq, wk, wv, wo = (matrix(width, width) for _ in range(4))
    up, down = matrix(4 * width, width), matrix(width, 4 * width)
    parameters = [p for w in (wte, wpe, head, wq, wk, wv, wo, up, down) for row in w for p in row]
    m, v, losses = [0.0] * len(parameters), [0.0] * len(parameters), []
    tokens, part = [0, 3, 1, 4, 2, 0], width // heads
    for step in range(steps):
        keys, values, terms = [], [], []
        for at, (token, target) in enumerate(zip(tokens, tokens[1:])):
            x = rmsnorm([t + p for t, p in zip(wte[token], wpe[at])])
            residual, x = x, rmsnorm(x)
            q = linear(x, wq)
            keys.append(linear(x, wk))
            values.append(linear(x, wv))
            mixed = []
            for h in range(0, width, part):
                scores = [sum(q[h + j] * k[h + j] for j in range(part)) / part**0.5 for k in keys]
                weights = softmax(scores)
                mixed += [sum(weights[t] * values[t][h + j] for t in range(len(values))) for j in range(part)]
            x = [a + b for a, b in zip(linear(mixed, wo), residual)]
            residual, x = x, rmsnorm(x)
            x = [a.relu()**2 for a in linear(x, up)]
            x = [a + b for a, b in zip(linear(x, down), residual)]
            terms.append(-softmax(linear(x, head))[target].log())
        loss = (1 / len(terms)) * sum(terms)
        loss.backward()
        losses.append(loss.data)
        grads = [p.grad for p in parameters]
        for i, p in enumerate(parameters):
            m[i] = 0.9 * m[i] + 0.1 * p.grad
            v[i] = 0.95 * v[i] + 0.05 * p.grad**2
            p.data -= 0.01 * (m[i] / (1 - 0.9**(step + 1))) / ((v[i] / (1 - 0.95**(step + 1)))**0.5 + 1e-8)
            p.grad = 0
    return losses + grads


@pytest.mark.parametrize("program", [moons, tiny_gpt])
def test_programs_run_with_the_class_swapped(program):
    close(program(Value), program(Naive))


def test_the_programs_learn():
    for losses in moons(Value, 20)[:20], tiny_gpt(Value, 8)[:8]:
        assert losses[-1] < 0.9 * losses[0]


# ----- constructors, numbers, refusals -------------------------------------------------------------------------------

def test_constructor_of_micrograd():
    a, b = Value(2.0), Value(3.0, label="b")
    y = Value(6.0, (a, b), "mine", "y")
    assert y._prev == (a, b) and y._op == "mine" and y.label == "y" and b.label == "b" and a.label == ""
    y.backward()
    assert y.grad == 1 and a.grad == b.grad == 0


@pytest.mark.parametrize("make", [lambda d, c, g: Value(d, c, g), lambda d, c, g: Value(d, children=c, local_grads=g),
                                  lambda d, c, g: Value(d, list(c), local_grads=list(g))])
def test_constructor_with_local_derivatives(make):
    x, y, z = Value(0.5), Value(2.0), Value(-1.0)
    out = make(math.sin(0.5) * 2.0 - 1.0, (x, y, z), (2.0 * math.cos(0.5), math.sin(0.5), 1.0))
    (out * 3).backward()
    close([x.grad, y.grad, z.grad], [6.0 * math.cos(0.5), 3 * math.sin(0.5), 3.0])


@pytest.mark.parametrize("number", [3, 3.0, True, np.float64(3), np.float32(3), np.int64(3), np.bool_(True)], ids=repr)
def test_numbers_on_either_side(number):
    n, v = float(number), 1.5
    for f in (lambda a, b: a + b, lambda a, b: a - b, lambda a, b: a * b, lambda a, b: a / b, lambda a, b: a**b):
        x = Value(v)
        for out, truth in ((f(x, number), f(v, n)), (f(number, x), f(n, v))):
            assert type(out) is Value and type(out.data) is float and out.data == truth
    assert Value(number).data == n and type(Value(number).data) is float


REFUSED = [np.ones(2), np.array([[1.0]]), "a", None, 1j, [1.0], mgx.Tensor(1.0), mgx.Tensor([1.0], requires_grad=True),
           np.array(["a"]), object()]


@pytest.mark.parametrize("other", REFUSED, ids=lambda o: type(o).__name__)
def test_only_real_numbers(other):
    x = Value(2.0)
    for f in (lambda: x + other, lambda: other + x, lambda: x * other, lambda: other * x, lambda: x**other,
              lambda: x.maximum(other), lambda: Value(other), lambda: mgx.dot([x], [other])):
        with pytest.raises(TypeError):
            f()


@pytest.mark.parametrize("data", ["a", None, [1.0], 1j, (), np.ones(2)], ids=repr)
def test_refused_data(data):
    with pytest.raises(TypeError, match="Value"):
        Value(data)


@pytest.mark.parametrize("bad, error, words", [
    (lambda: Value(1.0, (2.0,)), TypeError, "child"),
    (lambda: Value(1.0, (Value(1.0),), (1.0, 2.0)), ValueError, "1 != 2"),
    (lambda: mgx.dot([Value(1.0)], [1.0, 2.0]), ValueError, "1 != 2"),
    (lambda: setattr(Value(1.0), "_backward", lambda: None), RuntimeError, "local_grads"),
    (lambda: setattr(Value(1.0), "colour", 3), AttributeError, "colour"),
    (lambda: setattr(Value(1.0), "data", "a"), TypeError, None),
    (lambda: setattr(Value(1.0), "grad", "a"), TypeError, None),
    (lambda: setattr(Value(1.0), "label", 3), TypeError, "label is a str"),
    (lambda: setattr(Value(1.0), "_prev", ()), AttributeError, None),
    (lambda: type("Mine", (Value,), {}), TypeError, None),
    (lambda: pickle.dumps(Value(1.0) * 2), TypeError, "leaves"),
    (lambda: copy.deepcopy(Value(1.0) * 2), TypeError, "leaves")])
def test_refusals(bad, error, words):
    with pytest.raises(error, match=words):
        bad()


def test_no_dict():
    assert not hasattr(Value(1.0), "__dict__")


def test_a_node_is_made_once():
    a = Value(1.0)
    b = a * 2
    with pytest.raises(RuntimeError):
        a.__init__(3.0, (b,))                               # would be a cycle


# ----- arithmetic is IEEE's ------------------------------------------------------------------------------------------

@pytest.mark.parametrize("f, truth", [
    (lambda v: v(0.0)**-1, INF), (lambda v: v(-0.0)**-1, -INF), (lambda v: v(1.0) / v(0.0), INF),
    (lambda v: 1 / v(-0.0), -INF), (lambda v: v(0.0) / 0, NAN), (lambda v: v(-1.0).log(), NAN),
    (lambda v: v(0.0).log(), -INF), (lambda v: v(-8.0)**(1 / 3), NAN), (lambda v: v(1e308)**2, INF),
    (lambda v: v(1000.0).exp(), INF), (lambda v: v(INF) - INF, NAN), (lambda v: v(-1.0).sqrt(), NAN),
    (lambda v: v(NAN)**0, 1.0), (lambda v: v(5e-324) * 1.0, 5e-324), (lambda v: -v(0.0), -0.0)])
def test_ieee(f, truth):
    out = f(Value).data
    assert repr(out) == repr(truth)                          # tells -0.0 from 0.0


def test_gradients_at_the_edges():
    for x, f, slope in ((0.0, lambda v: v**2, 0.0), (0.0, lambda v: v**1, 1.0), (0.0, lambda v: v**0, 0.0),
                        (0.0, lambda v: v.relu(), 0.0), (0.0, lambda v: v.sqrt(), INF), (0.0, lambda v: abs(v), 0.0),
                        (-1.0, lambda v: mgx.where(v.gt(0), v.sqrt(), 0.0), 0.0)):
        v = Value(x)
        f(v).backward()
        assert v.grad == slope, (x, slope)


# ----- the graph -----------------------------------------------------------------------------------------------------

def test_assigning_data_changes_no_recorded_derivative():
    x, w = Value(3.0), Value(2.0)
    y = x * w + x**2 + w.exp()
    x.data = w.data = 100.0
    y.backward()
    assert (x.grad, w.grad) == (8.0, 3.0 + math.exp(2.0))


def test_grad_is_readable_and_assignable():
    x = Value(2.0)
    assert x.grad == 0.0 and type(x.grad) is float
    x.grad = 5
    (x * x).backward()
    assert x.grad == 9.0


@pytest.mark.parametrize("f, op, operands", [
    (lambda a, b: a + b, "+", "ab"), (lambda a, b: b * a, "*", "ba"), (lambda a, b: a - b, "-", "ab"),
    (lambda a, b: a / b, "/", "ab"), (lambda a, b: a**b, "pow", "ab"), (lambda a, b: a**2, "**2", "a2"),
    (lambda a, b: 2 * a, "*", "2a"), (lambda a, b: a - 2, "-", "a2"), (lambda a, b: 2 - a, "-", "2a"),
    (lambda a, b: a + a, "+", "aa"), (lambda a, b: -a, "neg", "a"), (lambda a, b: a.relu(), "ReLU", "a"),
    (lambda a, b: a.tanh(), "tanh", "a"), (lambda a, b: mgx.dot([a, a], [b, 2.0]), "dot", "ba2a"),
    (lambda a, b: mgx.where(a, b, 2), "where", "ab2"), (lambda a, b: a, "", "")])
def test_operands_and_operation(f, op, operands):
    a, b = Value(1.5), Value(3.0)
    out = f(a, b)
    assert out._op == op
    assert len(out._prev) == len(operands)
    for parent, name in zip(out._prev, operands):
        if name == "2":
            assert type(parent) is Value and parent.data == 2.0 and parent._prev == ()
        else:
            assert parent is (a if name == "a" else b)


def test_identity_hash_and_equality():
    a, b = Value(1.0), Value(1.0)
    assert a == a and a != b and len({a, b, a}) == 2 and {a: "a"}.get(b) is None


def test_backward_twice_is_linear():
    x = Value(3.0)
    y = x * x * x
    y.backward()
    assert x.grad == 27.0
    y.backward()
    assert x.grad == 54.0 and y.grad == 1.0


def test_diamonds_are_walked_once():
    x = first = Value(1.0)
    for _ in range(1000):
        x = x + x
    x.backward()
    assert x.data == first.grad == 2.0**1000


def test_a_gradient_of_zero_goes_on_as_zero():
    x = Value(0.0)
    (mgx.maximum(x.log(), 0.0) * 1.0 + x).backward()
    assert x.grad == 1.0


@pytest.mark.parametrize("f, slope", [
    (lambda x: mgx.dot([x, x, 3.0], [x, 2.0, x]), 2 * 1.5 + 5), (lambda x: mgx.sum([x, x, 1.0, x * x]), 2 + 3.0),
    (lambda x: mgx.sum(v for v in (x, x)), 2.0), (lambda x: mgx.mean([x, x * x, 5, x]), (2 + 3.0) / 4),
    (lambda x: mgx.dot([x] * 100, [x] * 100), 300.0), (lambda x: mgx.sum([x]) * mgx.mean([x]), 3.0),
    (lambda x: mgx.sum([2.0, x]), 1.0), (lambda x: mgx.dot([1.0, x], [x, 0.0]), 1.0)])
def test_nodes_of_many_operands(f, slope):
    x = Value(1.5)
    f(x).backward()
    assert x.grad == pytest.approx(slope, rel=1e-14)


def test_many_operands_forward():
    values = [Value(v) for v in (0.1, 0.2, 0.3)]
    assert mgx.sum(values).data == 0.1 + 0.2 + 0.3
    assert mgx.mean(values).data == pytest.approx(0.2, rel=1e-15)
    assert mgx.dot(values, [1, 2, 3]).data == pytest.approx(1.4, rel=1e-15)
    assert mgx.dot([], []).data == 0.0


def test_no_grad_records_nothing():
    x = Value(2.0)
    with mgx.no_grad():
        y, z = x * x, mgx.dot([x, x], [x, 1.0])
    assert y.data == 4.0 and y._prev == z._prev == ()
    (y + z).backward()
    assert x.grad == 0.0
    (x * x).backward()
    assert x.grad == 4.0


@pytest.mark.parametrize("again", [copy.copy, copy.deepcopy, lambda v: pickle.loads(pickle.dumps(v))])
def test_copies_of_a_leaf(again):
    x = Value(2.5, label="x")
    x.grad = -1.0
    y = again(x)
    assert y is not x and (y.data, y.grad, y.label) == (2.5, -1.0, "x")
    (y * y).backward()
    assert (x.grad, y.grad) == (-1.0, 4.0)


def test_repr_and_float():
    x = Value(2.5)
    assert repr(x) == "Value(data=2.5, grad=0.0)" and float(x) == x.item() == 2.5
