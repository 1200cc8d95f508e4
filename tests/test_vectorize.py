"""Programs of Values over rows, and replayed: the oracle is the same program, eager, one row at a time."""
import math
import random
import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import microgradx as mgx
from microgradx import Value, scalar
from microgradx._core.scalar.replay import compile_values
from microgradx._core.scalar.tape import Tape
from microgradx.errors import CaptureError, DTypeError, OptionError, ShapeError
from samples import ROWS, call, operands

LENGTHS = (0, 1, 7, 8, 65, 128, 129, 1000)
INF, NAN = math.inf, math.nan


def eager(fn, arrays, parameters, mean=False):
    """Outputs by row, gradients of the first output's sum or mean: of the parameters, of the inputs."""
    arrays = [np.asarray(a, float) for a in arrays]
    rows = next(len(a) for a in arrays if a.ndim)
    columns = [[[Value(v) for v in row] if isinstance(row, list) else Value(row) for row in a.tolist()] if a.ndim
               else [Value(float(a))] * rows for a in arrays]
    outs = []
    for p in parameters:
        p.grad = 0
    for sample in zip(*columns):
        out = fn(*sample)
        out = out if isinstance(out, (tuple, list)) else [out]
        outs.append([o.data if isinstance(o, Value) else o for o in out])
        if isinstance(out[0], Value):
            (out[0] * (1 / rows if mean else 1.0)).backward()       # a leaf too
    found = [p.grad for p in parameters]
    grad = [np.zeros(a.shape) if not rows else np.array(
                [[v.grad for v in x] if isinstance(x, list) else x.grad for x in column[:len(a) if a.ndim else 1]]
            ).reshape(a.shape) for a, column in zip(arrays, columns)]
    return (np.array(outs).T if rows else None), np.array(found), grad


def same(a, b):
    """To the last bit; the sign and payload of a nan are nobody's business."""
    a, b = np.asarray(a, float), np.asarray(b, float)
    assert a.shape == b.shape
    bits = [np.where(np.isnan(x), 0, x).view(np.int64) for x in (a, b)]
    np.testing.assert_array_equal(*bits)
    np.testing.assert_array_equal(np.isnan(a), np.isnan(b))


def same_outputs(got, outs):
    got = got if isinstance(got, tuple) else (got,)
    same(got, outs if outs is not None else np.zeros((len(got), 0)))


def close(a, b):
    a, b = np.asarray(a, float), np.asarray(b, float)
    assert a.shape == b.shape
    finite = np.isfinite(b)
    np.testing.assert_array_equal(a[~finite], b[~finite])
    scale = np.max(np.abs(b[finite]), initial=0) + 1e-300
    assert np.max(np.abs(a - b)[finite], initial=0) <= 1e-12 * scale


def check(fn, arrays, parameters=(), mean=False):
    """vectorize(fn) against fn by rows."""
    f = mgx.vectorize(fn, reduction="mean" if mean else "sum")
    outs, dp, dx = eager(fn, arrays, parameters, mean)
    same_outputs(f(*arrays), outs)
    got, found = f.value_and_grad(*arrays)
    same_outputs(got, outs)
    place = {id(p): k for k, p in enumerate(f.parameters)}
    close([found.parameters[place[id(p)]] if id(p) in place else 0.0 for p in parameters], dp)
    assert len(found.inputs) == len(dx)
    for a, b in zip(found.inputs, dx):
        close(a, b)
    for p in parameters:
        p.grad = 0
    f.backward(*arrays)
    close([p.grad for p in parameters], dp)
    return f


def net_of_micrograd(sizes, seed=0):
    """micrograd's own way of writing a net: sums of products, one node per operation."""
    rng = np.random.default_rng(seed)
    layers = [[([Value(w) for w in rng.uniform(-1, 1, a)], Value(0.1)) for _ in range(b)]
              for a, b in zip(sizes, sizes[1:])]

    def net(x):
        for depth, layer in enumerate(layers):
            x = [sum((wi * xi for wi, xi in zip(w, x)), b) for w, b in layer]
            x = [v.relu() for v in x] if depth < len(layers) - 1 else x
        return x[0]
    return net, [p for layer in layers for w, b in layer for p in (*w, b)]


# ----- against eager code, row by row --------------------------------------------------------------------------------

@pytest.mark.parametrize("rows", LENGTHS)
@pytest.mark.parametrize("kind", ["micrograd", "scalar"])
def test_a_net(rows, kind):
    random.seed(3)
    net, params = net_of_micrograd([3, 5, 4, 1])
    if kind == "scalar":
        net = scalar.MLP(3, [5, 4, 1])
        params = net.parameters()
    rng = np.random.default_rng(rows)
    x, y = rng.normal(size=(rows, 3)), rng.choice([-1, 1], rows)
    for mean in (False, True):
        f = check(lambda x, y: (1 + -y * net(x)).relu(), [x, y], params, mean)
    assert {id(p) for p in f.parameters} == {id(p) for p in params}


@pytest.mark.parametrize("inputs", range(1, 10))
def test_neurons_of_every_size(inputs):
    """Runs of neurons whose inputs and numbers are no multiples of what the kernels take at once."""
    for outputs in range(1, 6):
        random.seed(inputs)
        net, params = net_of_micrograd([inputs, outputs, inputs, 1])
        x = np.random.default_rng(outputs).normal(size=(37, inputs))
        check(lambda x: net(x), [x], params)
        with np.errstate(all="ignore"):
            x[5, 0] = INF                                       # then runs are computed once more, with care
            check(lambda x: net(x).tanh(), [x], params)


@pytest.mark.parametrize("name", ROWS)
def test_every_row(name):
    """Each operation, its operands varying from row to row, shared, or numbers."""
    xs = operands(name, 70)
    arity = len(xs)
    check(lambda *v: call(name, *v), xs)
    check(lambda *v: call(name, *v) * 3.0 + v[0], xs)               # a gradient that is not 1, and a second one
    for varying in range(arity):
        shared = [Value(float(x[0])) for x in xs]
        fixed = [float(x[1]) for x in xs]
        check(lambda v: call(name, *(v if k == varying else p for k, p in enumerate(shared))), [xs[varying]], shared)
        if varying == 0:
            check(lambda v: call(name, *(v if k == 0 else c for k, c in enumerate(fixed))), [xs[0]])
    check(lambda v: call(name, *shared) * v, [xs[0]], shared)       # computed once for all rows
    y = compile_values(lambda *v: call(name, *v) * 3.0)
    for x in zip(*(x[:5] for x in xs)):
        a, b = [Value(float(v)) for v in x], [Value(float(v)) for v in x]
        one, two = call(name, *a) * 3.0, y(*b)
        one.backward(), two.backward()
        same([one.data, *(v.grad for v in a)], [two.data, *(v.grad for v in b)])


UNARY = ["tanh", "relu", "sigmoid", "neg", "abs", "sin", "square", "clone", "softplus", "sign"]
BINARY = ["add", "sub", "mul", "maximum", "atan2", "lerp", "where", "gt", "div"]
MANY = ["dot", "sum", "mean"]


@st.composite
def programs(draw):
    """(operation, operands) after two inputs by row, one shared, two parameters and one number."""
    steps = []
    for k in range(draw(st.integers(1, 25))):
        name = draw(st.sampled_from(UNARY + BINARY * 2 + MANY))
        count = draw(st.integers(1, 5)) * 2 if name in MANY else \
            1 if name in UNARY else ROWS[name]["arity"]
        steps.append((name, [draw(st.integers(0, 5 + k)) for _ in range(count)]))
    return steps, draw(st.lists(st.integers(0, 5 + len(steps)), min_size=1, max_size=3))


def interpreter(steps, outputs, p, q):
    def fn(x, shared):
        v = [*x, shared, p, q, 0.5]
        for name, places in steps:
            a = [v[k] for k in places]
            half = len(a) // 2
            if not any(isinstance(i, Value) for i in a):
                v.append(0.25)
            elif name in MANY:
                v.append(mgx.dot(a[:half], a[half:]) if name == "dot" else getattr(mgx, name)(a))
            else:
                a[0] = a[0] if isinstance(a[0], Value) else Value(a[0])
                v.append(call(name, *a))
        return tuple(v[k] for k in outputs)
    return fn


@settings(max_examples=150)
@given(programs(), st.sampled_from([0, 1, 9, 66]), st.integers(0, 99))
def test_any_program(program, rows, seed):
    rng = np.random.default_rng(seed)
    x, shared = rng.normal(size=(rows, 2)), rng.normal()
    p, q = Value(0.7), Value(-1.3)
    with np.errstate(all="ignore"):
        fn = interpreter(*program, p, q)
        f = mgx.vectorize(fn)
        outs, dp, dx = eager(fn, [x, shared], [p, q])
        got, found = f.value_and_grad(x, shared)
        same_outputs(got, outs)
        if (outs is None or np.isfinite(outs).all()) and all(np.isfinite(d).all() and np.max(np.abs(d), initial=0) < 1e6
                                           for d in (dp, *dx)):
            place = {id(v): k for k, v in enumerate(f.parameters)}
            got = [found.parameters[place[id(v)]] if id(v) in place else 0.0 for v in (p, q)]
            for a, b in zip([got, *found.inputs], [dp, *dx]):
                np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-9)


@settings(max_examples=100)
@given(programs(), st.integers(0, 99))
def test_any_program_flat(program, seed):
    rng = np.random.default_rng(seed)
    p, q = Value(0.7), Value(-1.3)
    fn = interpreter(*program, p, q)
    c = compile_values(fn)
    for _ in range(4):
        a, b, shared = rng.normal(size=3).tolist()
        leaves = [Value(a), Value(b), Value(shared), p, q]
        for e, r in zip(fn(leaves[:2], leaves[2]), c(leaves[:2], leaves[2])):
            if not isinstance(e, Value):
                assert repr(r) == repr(e)
                continue
            same(e.data, r.data)
            grads = []
            for y in (e, r):
                for v in leaves:
                    v.grad = 0
                y.backward()
                grads.append([v.grad for v in leaves])
            assert repr(grads[1]) == repr(grads[0])


# ----- layers, which run as blocks -----------------------------------------------------------------------------------

@pytest.mark.parametrize("count", range(1, 12))
def test_layers_of_every_width(count):
    rng = np.random.default_rng(count)
    x, ys = rng.normal(size=(21, 3)), range(1, 12)
    for neurons in ys:
        weight = [[Value(w) for w in row] for row in rng.normal(size=(neurons, count))]
        params = [w for row in weight for w in row]

        def fn(x):
            inputs = [x[k % 3] * (k + 1.0) for k in range(count)]
            return sum(mgx.dot(row, inputs).relu() for row in weight)
        check(fn, [x], params)


def test_layers_of_odd_factors():
    """Weights that are shared, fixed or computed, inputs that come twice, numbers among them, outputs that nobody
    uses or that come after the first."""
    w = [Value(v) for v in (0.5, -1.5, 2.0, 0.25, -0.75, 1.25, 3.0)]
    x = np.random.default_rng(0).normal(size=(30, 2))

    def layer(rows, inputs):
        return [mgx.dot(row, inputs) for row in rows]
    shared = lambda x: sum(layer([w[:3], w[1:4], w[:3], [w[6], 2.0, w[6]], [1.0, -2.0, 3.0]], [*x, x[0]]))
    numbers = lambda x: sum(y.square() for y in layer([w[k:k + 4] for k in range(4)], [1.0, *x, w[5]]))
    computed = lambda x: sum(y.tanh() for y in layer([[a * a, a + 1, a] for a in w], [*x, x[0] * x[1]]))
    fixed = lambda x: sum(layer([[1.0, 2.0], [3.0, 4.0], [w[0], w[1]]], layer([[2.0, 1.0], [0.5, 3.0]], x)))
    many = lambda x: tuple(layer([w[k:k + 2] for k in range(5)], x))
    deep = lambda x: (layer([w[:2], w[2:4], w[4:6]], layer([w[:2], w[2:4]], x))[1], x[0] * w[6])
    for fn in (shared, numbers, computed, fixed, many, deep):
        f = check(fn, [x], w)
        f.value_and_grad(x)                                         # leaves gradients of inputs where the next one runs
        for p in w:
            p.grad = 0
        f.backward(x)
        close([p.grad for p in w], eager(fn, [x], w)[1])


def test_nothing_in_nothing_out_of_a_layer():
    """As for a single sum: where no gradient arrives, factors may be anything."""
    w = [Value(v) for v in (INF, 2.0, NAN, 1.0, -1.0, INF)]
    x = np.array([[1.0, -1.0], [INF, 2.0], [3.0, NAN], [-2.0, 0.5]] * 3)

    def fn(x):
        sums = [mgx.dot([w[k], w[k + 1]], x) for k in range(5)]
        return mgx.where(x[0].gt(-2), x[1] * w[1], 0.0) + sum(mgx.where(x[0].gt(5), y, 0.0) for y in sums)
    f = mgx.vectorize(fn)
    got, found = f.value_and_grad(x)
    outs, dp, dx = eager(fn, [x], w)
    same_outputs(got, outs)
    same(found.inputs[0], dx[0])
    place = {id(p): k for k, p in enumerate(f.parameters)}
    same([found.parameters[place[id(p)]] for p in w], dp)


def test_operations_on_rows_that_follow_one_another():
    """Side by side they run as one; in a chain each waits for the one before."""
    x = np.linspace(-1.5, 1.5, 40)
    check(lambda v: v.square().square().square().sin().sin().abs().abs().sqrt().sqrt(), [x])
    check(lambda v: sum((v + float(k)).square() for k in range(9)), [x])
    check(lambda v: sum((v + float(k)).maximum(v * float(k)) for k in range(9)), [x])
    check(lambda v: sum((v + float(k)).relu() * (v + float(k)).relu().square() for k in range(9)), [x])


# ----- what may vary ------------------------------------------------------------------------------------------------

def test_a_value_used_twice():
    w = Value(1.5)
    x = np.linspace(-2, 2, 65)
    check(lambda v: v * v + v * w * v + (v + v), [x], [w])
    check(lambda v: mgx.dot([v, v, w], [v, w, w]), [x], [w])
    check(lambda v: mgx.mean([v, v, w, 2.0]), [x], [w])
    check(lambda v: mgx.where(v, v, v).maximum(v), [x])


def test_outputs_that_are_inputs_parameters_constants():
    w, unused = Value(2.0), Value(5.0)
    x = np.arange(66.0)
    for fn in (lambda v: v, lambda v: w, lambda v: Value(3.0), lambda v: 7, lambda v: (v, w, 1.5, v * w, v),
               lambda v: [w * w, v], lambda v: (v * w, v * 2)):
        f = check(fn, [x], [w, unused])
        assert all(p is w for p in f.parameters)
    assert isinstance(mgx.vectorize(lambda v: [v])(x), tuple)


def test_parameters_are_read_anew_and_updates_work():
    net, params = net_of_micrograd([2, 4, 1])
    x = np.random.default_rng(0).normal(size=(20, 2))
    fn = lambda x: (net(x) - x[0]).square()
    f, losses = mgx.vectorize(fn, "mean"), []
    for _ in range(30):
        for p in params:
            p.grad = 0
        losses.append(f.backward(x).mean())
        assert losses[-1] == np.mean([fn([Value(v) for v in row]).data for row in x])
        for p in params:
            p.data -= 0.05 * p.grad
    assert losses[-1] < 0.7 * losses[0]


def test_a_constant_is_no_parameter():
    kept = Value(2.0)
    f = mgx.vectorize(lambda x: x * Value(3.0) + kept)
    assert f([1.0])[0] == 5.0 and f.parameters == [kept]
    with pytest.raises(OptionError, match="first call"):
        mgx.vectorize(lambda x: x).parameters


def test_a_graph_from_before():
    w = Value(3.0)
    s = (w * w).tanh() + w
    f = check(lambda x: x * s, [[1.0, 2.0]], [w])
    assert f.parameters == [w]


def test_nan_and_inf_flow():
    x = np.array([0.0, -0.0, 1.0, -1.0, INF, -INF, NAN, 1e308, 5e-324] * 8)
    w = Value(0.0)
    check(lambda v: mgx.where(v.gt(0), v.sqrt(), 0.0), [x])
    check(lambda v: v.log().relu(), [x])
    outs, dp, dx = eager(lambda v: v * w + v * v, [x], [w])
    f = mgx.vectorize(lambda v: v * w + v * v)
    got, found = f.value_and_grad(x)
    same(got, outs[0]), same(found.inputs[0], dx[0]), same(found.parameters, dp)


def test_nothing_in_nothing_out():
    """No gradient arrives at a sum: none leaves, even where its factors are inf."""
    w = Value(INF)
    f = mgx.vectorize(lambda v: mgx.where(v.gt(0), v, v * w + v * INF))
    _, found = f.value_and_grad([1.0, 2.0])
    assert found.inputs[0].tolist() == [1.0, 1.0] and found.parameters.tolist() == [0.0]


def test_arrays_of_any_kind():
    w = Value(0.5)
    f = mgx.vectorize(lambda x, y: mgx.dot([w, w], x) * y)
    x = np.arange(12.0).reshape(6, 2)
    expected = x.sum(1) * 0.5 * np.arange(6)
    for a, b in ((x, np.arange(6)), (np.asfortranarray(x), np.arange(6.0)),
                 (np.repeat(x, 2, 1)[:, ::2], np.arange(12)[::2] / 2),
                 (x.tolist(), range(6)), (x.astype("f4"), np.arange(6, dtype="u1")), (x.astype(">f8"), np.arange(6)),
                 (x[::-1][::-1], np.arange(6)), (mgx.Tensor(x), mgx.Tensor(np.arange(6.0)))):
        np.testing.assert_array_equal(f(a, b), expected)
    assert f(x, 2.0 * np.ones(6)).tolist() == (x.sum(1)).tolist()
    g = mgx.vectorize(lambda x, s: x * s)
    assert g([1.0, 2.0], 3.0).tolist() == [3.0, 6.0] and g([1.0, 2.0], 4).tolist() == [4.0, 8.0]
    assert mgx.vectorize(lambda x: Value(1.0))(np.ones((3, 0))).tolist() == [1, 1, 1]


def test_without_recording():
    w = Value(2.0)
    f, c = mgx.vectorize(lambda x: x * w), compile_values(lambda x: x * w)
    with mgx.no_grad():
        assert f([1.0, 2.0]).tolist() == [2.0, 4.0] and c(3.0).data == 6.0 and c(3.0)._prev == ()
        f.backward([1.0, 2.0])
    assert w.grad == 3.0


def test_threads_share_a_program():
    net, params = net_of_micrograd([2, 8, 1])
    f = mgx.vectorize(lambda x: net(x))
    x = np.random.default_rng(0).normal(size=(5000, 2))
    expected, wrong = f(x), []
    threads = [threading.Thread(target=lambda: wrong.extend(not np.array_equal(f(x), expected) for _ in range(20)))
               for _ in range(4)]
    [t.start() for t in threads], [t.join() for t in threads]
    assert len(wrong) == 80 and not any(wrong)


# ----- replay as a list ----------------------------------------------------------------------------------------------

def test_replayed_values_are_values():
    w = Value(3.0)
    traced = []
    note = traced.append
    c = compile_values(lambda x, y: note(1) or [x[0] * w + x[1]["k"], y])
    for a in (2.0, 3.0, 4.0, Value(5.0), Value(6.0), 7, 7):
        b = Value(1.0)
        y, z = c((a, {"k": b}), b)
        assert y.data == float(a) * 3.0 + 1.0 and z.data == 1.0
        w.grad = 0
        ((y + z) * 2).backward()                                    # goes on as a graph
        assert w.grad == 2 * float(a) and b.grad == 4.0
        y.backward(), y.backward()
        assert b.grad == 6.0
    assert len(traced) == 4                                         # a float at two calls, a Value, an int
    w.data = 10.0
    assert c((1.0, {"k": 0.0}), b)[0].data == 10.0
    outer = compile_values(lambda x: c((x, {"k": x}), x)[0])        # within a trace it is part of it
    assert outer(Value(2.0)).data == 22.0 and len(traced) == 6


def test_a_long_chain():
    def chain(x, n):
        for _ in range(n):
            x = x * 1.0001 + 0.5
        return x
    c = compile_values(lambda x: chain(x, 200000))
    a, b = Value(1.0), Value(1.0)
    one, two = chain(a, 200000), c(b)
    one.backward(), two.backward()
    assert one.data == two.data and a.grad == b.grad


# ----- refusals ------------------------------------------------------------------------------------------------------

w = Value(1.0)
VIOLATIONS = {
    "data": lambda x: Value(x.data), "float": lambda x: Value(math.exp(x)), "item": lambda x: x * x.item(),
    "comparison": lambda x: x if x > 0 else -x, "max": lambda x: max(x, -x), "bool": lambda x: x or x * 2,
    "copy": lambda x: Value(x), "parameter": lambda x: x * w.data, "branch": lambda x: x if w < 1 else -x,
    "grad": lambda x: x * w.grad, "new data": lambda x: setattr(w, "data", 2.0) or x,
    "zero_grad": lambda x: setattr(w, "grad", 0.0) or x, "backward": lambda x: (x * w).backward() or x,
    "no_grad": mgx.no_grad()(lambda x: x * w), "no_grad dot": mgx.no_grad()(lambda x: mgx.dot([x], [w])),
    "local derivatives": lambda x: Value(1.0, (x,), (2.0,)),
    "another": lambda x: mgx.vectorize(lambda y: y)([1.0])[0] * x}


@pytest.mark.parametrize("name", VIOLATIONS)
def test_what_cannot_be_traced(name):
    with pytest.raises(CaptureError, match="^vectorize: "):
        mgx.vectorize(VIOLATIONS[name])([1.0])
    assert (w.data, w.grad) == (1.0, 0.0) and repr(w * 2) == "Value(data=2.0, grad=0.0)"        # tracing is over
    assert w and w != Value(1.0) and len({w, w}) == 1


@pytest.mark.parametrize("read", [float, lambda x: x if x > 0 else -x, lambda x: x.backward(), lambda x: x.data])
def test_a_refusal_that_the_function_catches(read):
    def fn(x):
        try:
            return x * read(x)
        except Exception:
            return x * 2.0
    f = mgx.vectorize(fn)
    for _ in range(2):
        with pytest.raises(CaptureError, match="^vectorize: "):
            f([1.0])


def test_after_a_failure_the_next_call_traces():
    broken = [True]

    def fn(x):
        if broken:
            raise KeyError("no")
        return x * 2
    f = mgx.vectorize(fn)
    with pytest.raises(KeyError):
        f([1.0])
    broken.clear()
    assert f([1.0])[0] == 2.0


def test_a_traced_value_has_no_number_to_print():
    shown = []
    mgx.vectorize(lambda x: shown.append(repr(x * 2)) or x)([1.0])
    assert shown == ["Value(traced)"]


@pytest.mark.parametrize("arrays, error, words", [
    (([[1.0, 2.0, 3.0]], [1.0]), ShapeError, "a sample is 3 columns, a number, and was 2 columns, a number at"),
    (([1.0], [1.0]), ShapeError, "a sample is a number, a number, and was 2 columns"),
    (([[1.0, 2.0]], 1.0), ShapeError, "2 columns, shared, and was 2 columns, a number"),
    (([[1.0, 2.0]],), ShapeError, "a sample is 2 columns, and was"),
    (([[1.0, 2.0]], [1.0, 2.0]), ShapeError, r"arguments of 1 and 2 rows \(1 != 2\)"),
    (([[1.0, 2.0], [3.0]], [1.0, 2.0]), ShapeError, "argument 0 has rows of different lengths"),
    ((np.ones((2, 2, 2)), np.ones(2)), ShapeError, r"argument 0 has shape \(2, 2, 2\), not"),
    (([["a", "b"]], [1.0]), DTypeError, "argument 0 is an array of real numbers, not of <U1"),
    (("text", [1.0]), DTypeError, "argument 0 is an array of real numbers"),
    (([[1j, 2.0]], [1.0]), DTypeError, "not of complex128"),
    (([[Value(1.0), Value(2.0)]], [1.0]), DTypeError, "not of object"),
    ((1.0, 2.0), ShapeError, "no argument has rows"), ((), ShapeError, "no argument has rows")])
def test_arguments_that_do_not_fit(arrays, error, words):
    f = mgx.vectorize(lambda x, y: x[0] * y)
    f([[1.0, 2.0]], [3.0])
    with pytest.raises(error, match=words):
        f(*arrays)
    assert f([[1.0, 2.0]], [3.0])[0] == 3.0


def test_functions_that_do_not_fit():
    for fn, words in ((lambda x: "text", "returns Values, not str"), (lambda x: None, "not NoneType"),
                      (lambda x: (), "returned no Value"), (lambda x: (x, [x]), "not list")):
        with pytest.raises(DTypeError, match=words):
            mgx.vectorize(fn)([1.0])
    with pytest.raises(DTypeError, match="a function, not int"):
        mgx.vectorize(3)
    with pytest.raises(OptionError, match="'sum' or 'mean', not 'max'"):
        mgx.vectorize(lambda x: x, reduction="max")
    with pytest.raises(CaptureError, match="while another function is traced"):
        mgx.vectorize(lambda x: Tape("inner", lambda: x, (), ()) and x)([1.0])
