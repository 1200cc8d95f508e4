"""mgx.compile of functions of Values: a replay is the call as it is, to the last bit; all else runs as it is."""
import math
import random
import sys

import pytest

import microgradx as mgx
from microgradx import Value, scalar
from microgradx.errors import CaptureError


def runs_of(function, calls, change=lambda k: None, backward=True):
    """The results of calls with ``calls[k]()``, as text, with the gradients left in ``leaves``."""
    found = []
    for k, arguments in enumerate(calls):
        change(k)
        result = function(*arguments)
        if backward and isinstance(result, Value):
            result.backward()
        found.append(shown(result))
    return found


def shown(o):
    if isinstance(o, Value):
        return "Value", repr(o.data), repr(o.grad)
    if isinstance(o, (list, tuple)):
        return type(o).__name__, [shown(part) for part in o]
    if isinstance(o, dict):
        return [(key, shown(part)) for key, part in o.items()]
    return type(o).__name__, repr(o)


def counted(function):
    ran = []
    append = ran.append

    def body(*args, **kwargs):
        append(1)
        return function(*args, **kwargs)
    return body, ran


def test_values_of_the_closure_are_read_at_every_call():
    random.seed(3)
    net = scalar.MLP(2, [4, 1])
    body, ran = counted(lambda xs, y: (net(xs) - y) ** 2)
    f = mgx.compile(body)
    for k in range(10):
        for p in net.parameters():
            p.data *= 0.9
        xs, y, grads = [0.1 * k, -0.5], 1.0 / (k + 1), []
        for call in (f, body):
            net.zero_grad()
            net.parameters()[0].grad = 0.1          # gradients are added in the same order
            loss = call(xs, y)
            (loss * 3.0 + call(xs, -y)).backward()
            grads.append([loss.data, loss.grad, *[p.grad for p in net.parameters()]])
        assert repr(grads[0]) == repr(grads[1])
    assert len(ran) == 20 + 2


def test_grad_mode_that_is_left_switched():
    a = Value(2.0)
    f = mgx.compile(lambda x: (a * x, mgx.set_grad_enabled(False))[0])
    for k in range(5):
        try:
            f(0.5 + k)
            assert not mgx.is_grad_enabled()
        finally:
            mgx.set_grad_enabled(True)
    assert "leaves grad mode switched" in f.explain()


def test_a_training_step_runs_as_it_is():
    a, b = Value(1.5), Value(1.5)

    def step(p, x):
        p.grad = 0.0
        loss = (p * x - 1.0) ** 2
        loss.backward()
        p.data -= 0.1 * p.grad
        return loss
    f = mgx.compile(lambda x: step(a, x))
    for _ in range(5):
        assert f(2.0).data == step(b, 2.0).data and a.data == b.data and a.grad == b.grad
    assert "ran as it is, 5 times: a new grad of a Value" in f.explain()


a, b = Value(1.5), Value(-0.5)
FUNCTIONS = {
    "keywords": lambda x, y=2.0: a * x + y, "chain": lambda x: (a * x + b).tanh() * a, "square": lambda x: a * x ** 2,
    "difference": lambda x: a * (1.0 - x) * (x + 2), "quotient": lambda x: a * (1.0 / (x + 10.0)), "own": lambda x: x,
    "number": lambda x: x * 2.0, "leaf": lambda x: Value(x) * a, "sign": lambda x: a if x > 1.0 else -a,
    "sqrt": lambda x: a * math.sqrt(x + 10.0), "int": lambda x: a * int(x), "caught": lambda x: a * value_or(x),
    "parameter": lambda x: a, "nothing": lambda x: None, "several": lambda x: (a * x, [a * x * 2.0, x], {"n": 1}),
    "twice": lambda x: [y := a * x, y], "dot": lambda x: mgx.dot([a, b, 2.0], [x, a, b]),
    "sum": lambda x: mgx.sum([a, x]),
    "mean": lambda x: mgx.mean([a * x, b, x, a]), "random": lambda x: a * random.random(), "where": lambda x: mgx.where(
        (a * x).gt(0.5), a, b), "data": lambda x: a.data * x, "text": lambda x: f"{x:.2f}", "no Value": lambda x: [x],
    "isinstance": lambda x: a * (1.0 if isinstance(x, float) else 2.0), "max": lambda x: a * max(x, 0.5),
    "no_grad": mgx.no_grad()(lambda x: a * x)}


def value_or(x):
    try:
        return float(x)
    except Exception:
        return 3.0


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("kind", [float, int, Value, bool, lambda k: Value(k) * 2.0])
def test_functions(name, kind):
    calls = [0.5, 0.5, 1.5, -0.0, 2.5, 2.5, 2.5]
    found = []
    for function in (FUNCTIONS[name], mgx.compile(FUNCTIONS[name])):
        random.seed(5)
        a.grad = b.grad = 0.3
        a.data = 1.5
        one = []
        for x in calls:
            a.data += 0.1
            x = kind(x)
            try:
                result = function(x)
                if isinstance(result, Value):
                    (result * result).backward()
                one.append((shown(result), shown(x), a.grad, b.grad))
            except (TypeError, ValueError, AttributeError) as error:
                one.append(str(error))
        found.append(one)
    assert repr(found[0]) == repr(found[1])


def test_arguments_of_all_kinds():
    def f(net, x, rows=(), mode="tanh", extra=None, n=1):
        y = net(x)
        for row in rows:
            y = y + row["left"] * row["right"][0]
        for _ in range(n):
            y = getattr(y, mode)()
        return y if extra is None else y * extra
    net, other, held = scalar.MLP(1, [1]), scalar.MLP(1, [2, 1]), Value(0.5)
    c = mgx.compile(f)
    for own in (net, other):
        for keywords in ({}, {"mode": "relu"}, {"extra": 2}, {"extra": 2.5}, {"extra": held}, {"n": 0},
                         {"n": 2, "extra": None},
                         {"rows": [{"left": 0.5, "right": (held, None)}]},
                         {"rows": [{"left": held, "right": (held, None)}]}):
            for k in range(4):
                expected, result = f(own, [0.5 * k], **keywords), c(own, [0.5 * k], **keywords)
                assert shown(expected) == shown(result)


@pytest.mark.parametrize("effect", ["record.append(1)", "notes.append(x)", "own.k = own.k + 1", "table['k'] += 1.0"])
def test_effects_run_as_they_are(effect):
    def world():
        class Own:
            k = 1.0
        space = {"a": a, "notes": [], "own": Own(), "table": {"k": 1.0}}
        exec(f"def f(x, record):\n    {effect}\n    return a * x * own.k * table['k']", space)
        return space
    one, two, record = world(), world(), [[], []]
    f, c = one["f"], mgx.compile(two["f"])
    for k in range(5):
        assert shown(f(0.5 * k, record[0])) == shown(c(0.5 * k, record[1]))
    assert one["notes"] == two["notes"] and one["table"] == two["table"] and record[0] == record[1]
    assert [type(o) for o in two["notes"]] == [type(o) for o in one["notes"]]
    assert "ran as it is, 5 times" in c.explain()


def test_what_the_closure_holds_may_change():
    net, factor, table = scalar.MLP(1, [1]), 2.0, {"k": [1.0]}
    body, ran = counted(lambda x: net([x]) * factor * table["k"][0])
    c = mgx.compile(body)

    def check():
        for x in (0.5, 1.5, 2.5):
            assert shown(c(x)) == shown(body(x))
    check()
    net.layers[0].neurons[0].b = Value(3.0)
    check()
    factor = 3.0
    check()
    table["k"][0] = 5.0
    check()
    net = scalar.MLP(1, [2, 1])
    check()
    factor = a
    check()
    assert len(ran) < 36


def random_program(seed):
    """A function of Values made of sums, products and units that are shared, alone, or read twice."""
    random.seed(seed)
    plan = [(random.choice("++++*****rtn"), random.random(), random.random()) for _ in range(random.randrange(3, 60))]
    near = random.choice([0.2, 0.6, 1.0])           # how far back operands are looked for

    def program(leaves):
        nodes = [*leaves, 0.5, -1.25]
        for op, one, two in plan:
            a, b = (nodes[-1 - int(at * max(2, near * len(nodes))) % len(nodes)] for at in (one, two))
            nodes.append(a + b if op == "+" else a * b * 0.5 if op == "*" else leaves[0] * a if op == "n" else
                         mgx.relu(a + leaves[1]) if op == "r" else mgx.tanh(leaves[1] - a))
        return nodes[-1] * leaves[0] + nodes[-2]
    return program


def recurrent(order):
    """A cell whose weights are read in the order of time, or the other way round, by terms in that order."""
    def program(leaves):
        h, w, u, b = leaves[0], leaves[1], leaves[2], leaves[3]
        for x in (0.3, -0.7, 1.9, 0.11):
            terms = {"state first": w * h + u * x + b, "state last": u * x + b + w * h,
                     "both": u * x + w * h * 0.5 + w * h}[order]
            h = mgx.tanh(terms)
        return h * h + w * u
    return program


@pytest.mark.parametrize("program", [*map(random_program, range(60)),
                                     *map(recurrent, ["state first", "state last", "both"])])
def test_gradients_are_added_in_the_order_of_the_call_as_it_is(program):
    """Terms of a sum run as one operation in a replay only where no gradient's last bit tells."""
    found = []
    for function in (program, mgx.compile(program)):
        leaves = [Value(x) for x in (0.1234567, -0.7654321, 1.1e-3, 3.3333333)]
        for _ in range(3):
            y = function(leaves)
            y.backward()
            found.append((y.data, *[p.grad for p in leaves]))
            for p in leaves:
                p.data, p.grad = p.data * 1.1 - 0.01, 0.0
    assert repr(found[:3]) == repr(found[3:])


def test_compiled_functions_within_another():
    inner = mgx.compile(lambda x: a * x + 1.0)
    body, ran = counted(lambda x: inner(inner(x)) * 2.0)
    c = mgx.compile(body)
    for k in range(10):
        x, y = Value(0.1 * k), Value(0.1 * k)
        one, two = c(x), (a * (a * y + 1.0) + 1.0) * 2.0
        one.backward(), two.backward()
        assert one.data == two.data and x.grad == y.grad
        assert shown(inner(inner(0.1 * k))) == shown(a * (a * (0.1 * k) + 1.0) + 1.0)
    assert len(ran) == 1


def test_a_function_of_tensors_and_of_values():
    c = mgx.compile(lambda x: x * 2.0 + 1.0)
    for k in range(4):
        assert c(mgx.Tensor([1.0 * k])).tolist() == [2.0 * k + 1.0]
        assert c(Value(1.0 * k)).data == 2.0 * k + 1.0 and c(1.0 * k) == 2.0 * k + 1.0
    t = mgx.Tensor([1.0])
    mixed = mgx.compile(lambda x: (t * 2.0, a * x))
    for k in range(4):
        t += 1.0
        one, two = mixed(1.0 * k)
        assert one.tolist() == (t * 2.0).tolist() and two.data == a.data * k


def test_check_compares_results():
    limit = sys.getrecursionlimit()
    f = mgx.compile(lambda x, k: [x * a, x * sys.getrecursionlimit(), k], check=True)
    try:
        for _ in range(4):
            assert f(Value(2.0), "k")[1].data == 2.0 * limit
        sys.setrecursionlimit(limit + 1)
        with pytest.raises(CaptureError, match=rf"{2.0 * limit}.* in a replay and .*{2.0 * (limit + 1)}.* in the call"):
            f(Value(2.0), "k")
    finally:
        sys.setrecursionlimit(limit)
