"""mgx.compile: eager is the oracle, and a replay equals it to the last bit."""
import copy
import gc
import itertools
import threading
import types
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import microgradx as mgx
from microgradx import nn, optim
from microgradx._core.capture.passes import PASSES
from microgradx._core.trees import leaves_of
from microgradx.errors import CaptureError, CompileWarning, GraphError, IndexError_, OptionError
from microgradx.nn import functional as F

OPTIMIZERS = {
    "sgd": lambda p: optim.SGD(p, lr=0.1),
    "momentum": lambda p: optim.SGD(p, lr=0.1, momentum=0.9, dampening=0.5),
    "nesterov": lambda p: optim.SGD(p, lr=0.1, momentum=0.9, nesterov=True, weight_decay=0.1),
    "rmsprop": lambda p: optim.RMSprop(p, centered=True, momentum=0.5),
    "adagrad": lambda p: optim.Adagrad(p, lr_decay=0.1),
    "adam": lambda p: optim.Adam(p, lr=0.01),
    "adamw": lambda p: optim.AdamW(p, lr=0.01),
    "amsgrad": lambda p: optim.Adam(p, lr=0.01, amsgrad=True, maximize=True), "adamax": optim.Adamax,
    "nadam": lambda p: optim.NAdam(p, weight_decay=0.1, decoupled_weight_decay=True), "adadelta": optim.Adadelta,
    "radam": lambda p: optim.RAdam(p, betas=(0.9, 0.5)), "rprop": optim.Rprop,
    "asgd": lambda p: optim.ASGD(p, lr=0.1, lambd=0.1, t0=1.0),
}
SUBSETS = [frozenset(s) for n in range(len(PASSES) + 1) for s in itertools.combinations(sorted(PASSES), n)]


def bits(tree):
    """What a result consists of, so that == means equal to the last bit."""
    return [(leaf.dtype, leaf.shape, leaf.numpy().tobytes()) if isinstance(leaf, mgx.Tensor) else leaf
            for leaf in leaves_of(tree)]


def graphs(tree):
    """Which leaves of a result have a graph, and which are leaves of theirs."""
    return [(leaf.requires_grad, leaf.is_leaf) for leaf in leaves_of(tree) if isinstance(leaf, mgx.Tensor)]


def state(net, *optimizers):
    tensors = [*net.parameters(), *net.buffers()]
    tensors += [p.grad for p in net.parameters()]
    tensors += [s for o in optimizers for own in o.state.values() for s in own.values()]
    return bits(tensors)


def array(*shape, seed=0, dtype="float32"):
    return mgx.randn(*shape, rng=seed, dtype=dtype)


def agree(make, calls, passes=PASSES):
    """Two worlds made alike: in one the function runs as it is, in the other compiled; all results and all that
    remains are compared after every call. ``make()`` gives (function, what remains)."""
    (eager, rest), (function, other) = make(), make()
    compiled = mgx.compile(function, passes=passes)
    for k, args in enumerate(calls):
        mine, theirs = copy.deepcopy(args), copy.deepcopy(args)
        assert bits(compiled(*mine)) == bits(eager(*theirs)), f"result of call {k}"
        assert bits(list(mine)) == bits(list(theirs)), f"arguments after call {k}"
        assert bits(other()) == bits(rest()), f"state after call {k}"
    return compiled


def net_of(seed=0, norm=False):
    layers = [nn.Linear(3, 5, rng=seed), nn.Tanh(), nn.Linear(5, 4, rng=seed + 1)]
    if norm:
        layers.insert(1, nn.BatchNorm1d(5))
    return nn.Sequential(*layers)


def training(optimizer="sgd", norm=False, set_to_none=True, schedule=None):
    def make():
        net = net_of(norm=norm)
        o = OPTIMIZERS[optimizer](net.parameters())

        def step(x, y):
            o.zero_grad(set_to_none)
            loss = F.cross_entropy(net(x), y)
            loss.backward()
            o.step()
            return loss
        def rest():
            return [*net.parameters(), *net.buffers(), *[p.grad for p in net.parameters()],
                    *[s for own in o.state.values() for s in own.values()]]
        step.net, step.optimizer = net, o
        return step, rest
    return make


def batches(count=5, m=6):
    return [(array(m, 3, seed=k), mgx.randint(4, size=m, rng=k)) for k in range(count)]


# ----- training ----------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("passes", SUBSETS, ids=lambda s: "+".join(sorted(s)) or "none")
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_every_optimizer_with_every_subset_of_the_passes(optimizer, passes):
    compiled = agree(training(optimizer), batches(), passes)
    assert len(compiled.programs) == 1


@pytest.mark.parametrize("set_to_none", [True, False])
def test_batch_norm_counts_and_gradients_are_cleared_either_way(set_to_none):
    compiled = agree(training("adam", norm=True, set_to_none=set_to_none), batches())
    assert len(compiled.programs) == 1


def test_a_rate_that_changes_between_calls():
    make = training("adam")
    (eager, rest), (function, other) = make(), make()
    compiled = mgx.compile(function)
    for k, (x, y) in enumerate(batches(6)):
        for step in (eager, function):
            step.optimizer.param_groups[0]["lr"] = 0.1 / (k + 1)
        assert bits(compiled(x, y)) == bits(eager(x, y)) and bits(other()) == bits(rest())
    assert len(compiled.programs) == 1


def test_state_that_comes_and_goes_with_an_option_is_captured_anew():
    make = training("sgd")
    (eager, rest), (function, other) = make(), make()
    compiled = mgx.compile(function)
    for k, (x, y) in enumerate(batches(9)):
        for step in (eager, function):
            step.optimizer.param_groups[0]["momentum"] = 0.9 if 2 < k < 6 else 0.0
        assert bits(compiled(x, y)) == bits(eager(x, y)) and bits(other()) == bits(rest()), k


def test_gradients_accumulate_over_calls():
    def make():
        net = net_of()
        def accumulate(x):
            loss = net(x).square().sum()
            loss.backward()
            return loss
        return accumulate, lambda: [p.grad for p in net.parameters()]
    agree(make, [(array(2, 3, seed=k),) for k in range(6)])


def test_gradients_none_and_present_are_two_programs():
    make = training()
    (eager, rest), (function, other) = make(), make()
    def accumulating(step):
        def run(x, y):
            loss = F.cross_entropy(step.net(x), y)
            loss.backward()
            return loss
        return run
    compiled, eager_run = mgx.compile(accumulating(function)), accumulating(eager)
    for k, (x, y) in enumerate(batches(12)):
        if k % 3 == 0:
            eager.optimizer.zero_grad(k % 2 == 0)
            function.optimizer.zero_grad(k % 2 == 0)
        assert bits(compiled(x, y)) == bits(eager_run(x, y)) and bits(other()) == bits(rest()), k
    assert len(compiled.programs) == 2


def test_a_step_that_begins_with_the_gradients_of_the_call_before():
    def make():
        net = net_of()
        o = optim.SGD(net.parameters(), lr=0.1)
        net(array(2, 3)).sum().backward()
        def step(x):
            o.step()
            o.zero_grad()
            loss = net(x).square().mean()
            loss.backward()
            return loss
        return step, lambda: [*net.parameters(), *[p.grad for p in net.parameters()]]
    compiled = agree(make, [(array(2, 3, seed=k),) for k in range(6)])
    assert len(compiled.programs) == 1


def test_training_and_evaluation_take_turns():
    make = training("sgd", norm=True)
    (eager, _), (function, _) = make(), make()
    compiled = mgx.compile(lambda x: function.net(x))
    for k in range(12):
        for step in (eager, function):
            step.net.train(k % 3 == 0)
        x = array(4, 3, seed=k)
        assert bits(compiled(x)) == bits(eager.net(x)), k
    assert len(compiled.programs) == 2


def test_clipped_gradients():
    def make():
        net = net_of()
        o = optim.SGD(net.parameters(), lr=0.1)
        def step(x):
            o.zero_grad()
            loss = net(x).square().sum()
            loss.backward()
            norm = optim.clip_grad_norm_(net.parameters(), 0.5)
            o.step()
            return loss, norm
        return step, lambda: list(net.parameters())
    agree(make, [(array(4, 3, seed=k),) for k in range(4)])


def test_dropout_draws_anew():
    def make():
        rng = np.random.default_rng(3)
        return lambda x: F.dropout(x, 0.5, rng=rng) + mgx.rand(8, rng=rng), list
    agree(make, [(array(8),)] * 6)
    drop = mgx.compile(lambda x: F.dropout(x, 0.5))
    results = {drop(mgx.ones(64)).numpy().tobytes() for _ in range(6)}
    assert len(results) == 6


# ----- random programs ---------------------------------------------------------------------------------------------

UNARY = [lambda a: a.tanh(), lambda a: a * 2, lambda a: 1 - a, lambda a: a.sigmoid(), lambda a: a.T, lambda a: a[::-1],
         lambda a: a.relu(), lambda a: a.sum(0, keepdims=True) + a, lambda a: a - a.amax(1, keepdims=True),
         lambda a: a.softmax(1), lambda a: a[1:2] * a, lambda a: a.reshape(-1).reshape(a.shape), lambda a: a.clone(),
         lambda a: mgx.concat([a[:1], a[1:]]), lambda a: a[[2, 0, 1, *range(3, len(a))]], lambda a: a.cumsum(0),
         lambda a: a.sort(1).values,
         lambda a: (a > 0).where(a, a * 0.1), lambda a: a.astype("float64").astype("float32"), lambda a: a.mT + 1,
         lambda a: a.gather(1, a.argsort(1)), lambda a: a * (a.argmax(1) == 1).reshape(-1, 1)]
BINARY = [lambda a, b: a + b, lambda a, b: a * b, lambda a, b: a @ b, lambda a, b: a.maximum(b), lambda a, b: a - b.T,
          lambda a, b: a / (b.square() + 1), lambda a, b: (a < b).where(a, b)]


def into(a, b):
    a = a.clone()
    a += b
    a[0] = b[1]
    return a


@settings(max_examples=150, deadline=None, derandomize=True, database=None)
@given(st.lists(st.tuples(st.integers(0, len(UNARY) + len(BINARY)), st.integers(0, 9), st.integers(0, 9)), min_size=1,
                max_size=9),
       st.sampled_from(sorted(OPTIMIZERS)), st.sampled_from(SUBSETS), st.booleans(), st.sampled_from([3, 9, 37]))
def test_random_programs(recipe, optimizer, passes, transposed, n):
    def make():
        w = nn.Parameter(np.arange(n * n, dtype="float32").reshape(n, n) / n ** 2)
        v = nn.Parameter(np.ones((n, n), "float32"))
        o = OPTIMIZERS[optimizer]([w, v])
        memory = mgx.zeros(n, n)

        def function(x):
            o.zero_grad()
            values = [x, w, v, x * w]
            for op, i, k in recipe:
                a, b = values[-1 - i % len(values)], values[-1 - k % len(values)]
                values.append(UNARY[op](a) if op < len(UNARY) else
                              BINARY[op - len(UNARY)](a, b) if op < len(UNARY) + len(BINARY) else into(a, b))
            loss = (values[-1] * w).sum() + (values[-2] * v).mean()
            loss.backward()
            o.step()
            memory.copy_(memory * 0.5 + values[-1].detach())
            return {"loss": loss, "values": values[-3:], "memory": memory}
        return function, lambda: [w, v, w.grad, v.grad, memory]
    calls = [array(n, n, seed=k) for k in range(4)]
    agree(make, [(x.T if transposed else x,) for x in calls], passes)


# ----- arguments and results -----------------------------------------------------------------------------------------

def test_results_are_new_at_every_call():
    step = mgx.compile(lambda x: x * 2)
    results = [step(mgx.Tensor([float(k)])) for k in range(5)]
    assert [r.item() for r in results] == [0, 2, 4, 6, 8]
    results[2] += 100
    assert step(mgx.Tensor([1.0])).item() == 2


def test_outputs_of_every_kind():
    w, c = nn.Parameter([1.0, 2.0]), mgx.Tensor([5.0])
    def function(x):
        y = x + 1
        return {"x": x, "part": x[0], "w": w, "view": w[1:], "c": c, "new": mgx.ones(2), "none": None,
                "y": (y, y, [y.sum()]), "text": "a", "number": 3}
    step = mgx.compile(function)
    for k in range(4):
        x = mgx.Tensor([float(k), 1.0])
        out, eager = step(x), function(x)
        assert bits(out) == bits(eager) and graphs(out) == graphs(eager)
        assert out["x"] is x and out["w"] is w and out["c"] is c and out["none"] is None
        assert out["y"][0] is out["y"][1]
        assert out["y"][0].is_leaf and not out["y"][0].requires_grad
        out["new"].fill_(9.0)
        assert out["view"].requires_grad and not out["view"].is_leaf
        for one in (eager, out):                                        # a view with a graph, of what is written to
            with pytest.raises(GraphError, match="view"):
                w.data.fill_(float(k))
            del one["view"]
            eager = None
        w.data.fill_(float(k))
        assert step(x)["view"].item() == k
    step(mgx.Tensor([1.0, 1.0]))["part"].fill_(7.0)
    assert step(mgx.Tensor([2.0, 1.0]))["part"].item() == 2


def test_an_argument_is_written_to():
    def make():
        def function(x, y):
            x += y
            x[0] = 1.0
            return x.sum()
        return function, list
    agree(make, [(array(3, seed=k), array(3, seed=9 + k)) for k in range(4)])


def test_an_array_is_shared_and_a_read_only_one_is_not_written():
    def function(x):
        x += 1
        return x * 2
    step = mgx.compile(function)
    for _ in range(4):
        a = np.zeros(3, "float32")
        step(a)
        assert a.tolist() == [1, 1, 1]
    a.flags.writeable = False
    with pytest.raises(GraphError, match="read-only"):
        step(a)
    assert a.tolist() == [1, 1, 1]


def test_two_arguments_that_are_one():
    def function(x, y):
        x += 1
        return x * y
    step = mgx.compile(function)
    for k in range(8):
        x, z = mgx.Tensor([float(k)]), mgx.Tensor([2.0])
        assert step(x, x).item() == (k + 1) ** 2
        y = mgx.Tensor([float(k)])
        assert step(y, z).item() == 2 * (k + 1)
    memory = "memory that arguments share with each other or with what the call uses"
    before = step.reasons.get(memory, 0)
    for k in range(3):                                  # one memory, two tensors: each call runs as it is
        x = mgx.Tensor([float(k), 2.0])
        assert step(x[:1], x[:1]).item() == (k + 1) ** 2 and x.tolist() == [k + 1, 2]
    assert step.reasons[memory] == before + 3 and memory in step.explain()
    step, x = mgx.compile(function), mgx.Tensor([1.0, 2.0])
    assert [step(x[:1], x[:1]).item() for _ in range(3)] == [4, 9, 16]      # from the first call on
    assert x.tolist() == [4, 2] and step.programs == []


def test_an_argument_that_is_a_parameter_in_disguise():
    w = nn.Parameter([1.0])
    def function(x):
        with mgx.no_grad():
            w.copy_(w * 2)
        return x + 1
    step = mgx.compile(function)
    for _ in range(3):
        step(mgx.Tensor([1.0]))
    assert w.item() == 8 and step(w.data).item() == 17 and w.item() == 16       # it runs as it is
    assert "ran as it is, 1 times: memory that arguments share" in step.explain()
    assert step(mgx.Tensor([1.0])).item() == 2 and w.item() == 32
    step = mgx.compile(function)
    assert [step(w.data).item() for _ in range(3)] == [65, 129, 257] and step.programs == []
    step = mgx.compile(function)            # the first call tells nothing
    step(mgx.Tensor([1.0]))
    assert step(w.data).item() == 1025 and w.item() == 1024


def test_arrays_scalars_numbers_and_keywords():
    def function(x, scale, *, power=1, flag=True, rest=()):
        y = x * scale + power
        for r in leaves_of(rest):
            y = y + r
        return y if flag else -y
    step = mgx.compile(function)
    for args, kwargs in [((np.ones(2), 2.0), {}), ((np.ones(2, "float32"), np.float32(2.0)), {}),
                         ((mgx.ones(2), 0.0), {}), ((mgx.ones(2), -0.0), {"power": 0}),
                         ((mgx.zeros(2), 0.0), {"power": -0.0}),
                         ((mgx.zeros(2), -0.0), {"power": -0.0}), ((mgx.ones(2), 1), {"flag": False}),
                         ((mgx.ones(2), True), {"rest": [1.0, (mgx.ones(1), {"a": mgx.ones(2)})]}),
                         ((mgx.ones(3), 2.0), {}), ((mgx.ones(2, dtype="float64"), 2.0), {})]:
        expected = function(*[mgx.Tensor(a) if isinstance(a, np.ndarray) else a for a in args], **kwargs)
        for _ in range(4):
            assert bits(step(*args, **kwargs)) == bits(expected)


def test_a_parameter_as_argument_is_itself():
    def function(w, x):
        w.grad = None
        loss = (w * x).sum()
        loss.backward()
        return loss
    step = mgx.compile(function)
    for k in range(8):
        w = nn.Parameter([1.0, float(k)])
        for _ in range(3):
            assert step(w, mgx.Tensor([2.0, 3.0])).item() == 2 + 3 * k
            assert w.grad.tolist() == [2, 3]


def test_an_argument_with_a_graph_gets_its_gradient():
    def function(w, x):
        return (w * x).square().sum()
    step, w, v = mgx.compile(function), nn.Parameter([1.0, 2.0]), nn.Parameter([1.0, 2.0])
    for k in range(6):
        x = mgx.Tensor([2.0, 3.0 + k])
        a, b = step(w * 2, x), function(v * 2, x)
        a.backward()
        b.backward()
        assert bits([a, w.grad]) == bits([b, v.grad]) and graphs(a) == graphs(b)
    assert len(step.programs) == 1


def test_a_backward_pass_inside_goes_on_through_the_graph_of_an_argument():
    def function(w, x):
        w.grad = None
        loss = (w * x).sum()
        loss.backward()
        return loss
    step, w, v = mgx.compile(function), nn.Parameter([1.0, 2.0]), nn.Parameter([1.0, 2.0])
    for k in range(6):
        x = mgx.Tensor([2.0, 3.0 + k])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", CompileWarning)
            a = step(w * 2, x)
        assert bits([a, w.grad]) == bits([function(v * 2, x), v.grad])
    assert "a backward pass inside goes through the graph of an argument" in step.explain()


@pytest.mark.parametrize("n", [3, 40, 130])
def test_a_transposed_argument_is_multiplied_as_it_lies(n):
    w = array(n, n, seed=1)
    agree(lambda: (lambda x: (x @ w, x.T), list), [(array(n, n, seed=k).T,) for k in range(4)])


@pytest.mark.parametrize("name", ["normed", "layers", "attention", "mixed"])
def test_batches_of_no_rows(name):
    """With parameters, so that the backward pass is captured, too: what it keeps has no bytes, or some of it has."""
    w = mgx.tensor([1.0, 2.0, 3.0], requires_grad=True)
    net = nn.Sequential(nn.Linear(3, 4, rng=0), nn.LayerNorm(4), nn.GELU(), nn.Linear(4, 3, rng=1), nn.Softmax(-1))
    function = {"normed": lambda x: (x * w * 2.0 - (x * w * 2.0).mean(1, keepdims=True)) * w, "layers": net,
                "attention": lambda x: ((x * w) @ x.T).softmax(-1) @ (x * w),
                "mixed": lambda x: (x * w) * w.exp().tanh()}[name]
    leaves = [w, *net.parameters()]
    compiled, found = mgx.compile(function), []
    for f in (function, compiled):
        found.append([])
        for rows in (0, 0, 0, 0, 2, 2, 2, 0, 0):
            for leaf in leaves:
                leaf.grad = None
            y = f(mgx.ones(rows, 3))
            y.sum().backward()
            found[-1].append([y.tolist(), *(None if leaf.grad is None else leaf.grad.tolist() for leaf in leaves)])
    assert found[0] == found[1]


def test_an_argument_that_wants_a_gradient_where_none_is_recorded():
    """The function may record inside: a call with such an argument is another than one without."""
    found = []
    for compile in (lambda f: f, mgx.compile):
        w, leaf = (mgx.tensor(values, requires_grad=True) for values in ([0.5, -1.0, 2.0], [[1.0, 2.0, 3.0]] * 2))

        def function(x):
            with mgx.enable_grad():
                (x * w).sum().backward()
            return x + 1.0
        f = compile(function)
        with mgx.no_grad():
            for k in range(4):
                f(mgx.ones(2, 3) * k)
            for _ in range(3):
                f(leaf)
        found.append((w.grad.tolist(), leaf.grad.tolist()))
    assert found[0] == found[1]


def test_empty_and_0d():
    agree(lambda: (lambda x: (x * 2, x.sum(), x + 1), list), [(mgx.zeros(0, 3),)] * 4 + [(mgx.Tensor(2.0),)] * 4)


# ----- what numbers decide -------------------------------------------------------------------------------------------

POSITIONS = {
    "argmax": lambda x, t: (x.argmax(axis=1), x.argmin(), x.max(axis=0)),
    "accuracy": lambda x, t: (x.argmax(axis=1) == t).mean(),
    "integers": lambda x, t: (t + 1, t * t, t.remainder(3), t.sum(), t.amax(), -t, t < 2, (t > 0).where(x[:, 0], 0.0)),
    "index": lambda x, t: x[t],
    "index pair": lambda x, t: x[mgx.arange(4), t],
    "index one": lambda x, t: x[t[0]],
    "gather": lambda x, t: x.gather(1, t.reshape(4, 1)),
    "take_along": lambda x, t: x.take_along_dim(x.argsort(1), 1),
    "scatter_add": lambda x, t: x.scatter_add(1, t.reshape(4, 1), x),
    "scatter": lambda x, t: x.scatter(1, t.reshape(4, 1), x * 2),
    "index_select": lambda x, t: x.index_select(0, t),
    "index_add": lambda x, t: x.index_add(0, t, x),
    "one_hot": lambda x, t: F.one_hot(t, 4) * x,
    "embedding": lambda x, t: F.embedding(t, x, padding_idx=1),
    "cross_entropy": lambda x, t: F.cross_entropy(x, t),
    "ignored": lambda x, t: F.cross_entropy(x, t, ignore_index=2, label_smoothing=0.1, weight=[1.0, 2.0, 3.0, 4.0]),
    "nll": lambda x, t: F.nll_loss(x.log_softmax(1), t, reduction="none"),
    "sort": lambda x, t: (x.sort(1), x.topk(2, axis=1), x.median(axis=1), x.median()),
    "convert": lambda x, t: (x.astype("int64"), x.astype("bool"), t.astype("float32"), (x > 0).sum()),
    "written": lambda x, t: written(x, t),
}


def written(x, t):
    y = x * 1
    y[t] = x[0]
    return y


@pytest.mark.parametrize("name", POSITIONS)
def test_positions_are_those_of_the_replay(name):
    def make():
        w = nn.Parameter(np.eye(4, dtype="float32"))
        def function(x, t):
            w.grad = None
            result = POSITIONS[name](x * 2 @ w, t)
            floats = [r for r in leaves_of(result) if r.requires_grad]
            if floats:
                sum((r * r).sum() for r in floats).backward()
            return result
        return function, lambda: [w.grad]
    compiled = agree(make, [(array(4, 4, seed=k), mgx.randint(4, size=4, rng=k)) for k in range(5)])
    assert len(compiled.programs) == 1


@pytest.mark.parametrize("name", ["cross_entropy", "one_hot", "embedding", "index", "gather", "index_select", "nll"])
def test_a_label_out_of_range_names_the_launch_and_leaves_all_usable(name):
    step = mgx.compile(POSITIONS[name])
    x, t = array(4, 4), mgx.tensor([0, 1, 2, 3])
    for _ in range(3):
        good = step(x, t)
    with pytest.raises(IndexError_, match=r"compile: launch \d+ of \d+, .*(range|not one of|out of bounds)"):
        step(x, mgx.tensor([0, 1, 2, 9]))
    assert bits(step(x, t)) == bits(good)


def test_a_mask_is_named():
    step = mgx.compile(lambda x: x[x > 0].sum())
    step(mgx.ones(2))
    with pytest.warns(CompileWarning, match=r"a mask at .*test_compile.py:\d+ .*where, masked_fill"):
        assert step(mgx.ones(2)).item() == 2
    assert step(mgx.Tensor([-1.0, 5.0])).item() == 5


@pytest.mark.parametrize("read", [lambda x: x.item(), lambda x: 1 if x else 2, lambda x: x.numpy(), lambda x: float(x),
                                  lambda x: np.asarray(x), lambda x: x.tolist(), lambda x: bool(x > 0)])
def test_reading_is_named_with_file_and_line(read):
    step = mgx.compile(lambda x: (read(x.sum()), x * 2)[1])
    step(mgx.ones(2))
    with pytest.warns(CompileWarning, match=r"at .*test_compile\.py:\d+"):
        assert step(mgx.ones(2)).tolist() == [2, 2]
    assert mgx.ones(2).sum().item() == 2


# ----- what changes behind a program's back --------------------------------------------------------------------------

def test_assigning_data_is_seen_outside():
    w = nn.Parameter([1.0])
    step = mgx.compile(lambda x: w * x)
    view = w.data
    for k in range(6):
        if k == 3:
            w.data = mgx.Tensor([7.0])
            view.fill_(100.0)
        assert step(mgx.ones(1)).item() == (7 if k >= 3 else w.item())


def test_parameters_are_seen_from_both_sides():
    make = training("momentum")
    (eager, rest), (function, other) = make(), make()
    compiled = mgx.compile(function)
    for k, (x, y) in enumerate(batches(8)):
        (eager if k % 2 else eager)(x, y)
        (function if k % 2 else compiled)(x, y)                     # eager and compiled calls in turn
        for step in (eager, function):
            with mgx.no_grad():
                next(step.net.parameters()).fill_(0.1)
        assert bits(other()) == bits(rest()), k


@pytest.mark.parametrize("change", ["freeze", "replace", "hook", "layer"])
def test_nets_that_change(change):
    def alter(net):
        if change == "freeze":
            net[0].weight.requires_grad = False
            net[0].weight.grad = None
        elif change == "replace":
            net[0].bias = nn.Parameter(np.full(5, 0.5, "float32"))
        elif change == "hook":
            net[0].register_forward_hook(lambda module, args, out: out * 2)
        else:
            net[1] = nn.Sigmoid() if hasattr(net, "__setitem__") else setattr(net, "1", nn.Sigmoid())
    nets = net_of(), net_of()
    def function(net):
        def run(x):
            for p in net.parameters():
                p.grad = None
            loss = net(x).square().sum()
            loss.backward()
            return loss, [p.grad for p in net.parameters()]
        return run
    eager, compiled = function(nets[0]), mgx.compile(function(nets[1]))
    for k in range(8):
        if k == 4:
            for net in nets:
                if change == "layer":
                    setattr(net, "1", nn.Sigmoid())
                else:
                    alter(net)
        x = array(2, 3, seed=k)
        assert bits(compiled(x)) == bits(eager(x)), k


def test_an_older_graph_over_written_parameters_raises():
    make = training()
    step, _ = make()
    compiled = mgx.compile(step)
    for x, y in batches(3):
        compiled(x, y)
    loss = step.net(x).square().sum()
    compiled(x, y)
    with pytest.raises(GraphError, match="written to since"):
        loss.backward()


def test_an_attribute_replaced_at_every_call():
    class Cell(nn.Module):
        def __init__(self):
            self.h = mgx.zeros(2)

        def forward(self, x):
            self.h = self.h * 0.5 + x
            return self.h
    one, other = Cell(), Cell()
    step = mgx.compile(other)
    with pytest.warns(CompileWarning, match=r"captured 5 times in a row .*, because this changed: Cell\.h"):
        for k in range(40):
            assert bits([step(array(2, seed=k)), other.h]) == bits([one(array(2, seed=k)), one.h])
    assert "captures that were not replayed" in step.explain()


def test_a_tensor_in_a_container_replaced_at_every_call():
    def make():
        state = {"h": mgx.zeros(2)}
        def function(x):
            state["h"] = state["h"] * 0.5 + x
            return state["h"]
        return function
    eager, step = make(), mgx.compile(make())
    for k in range(8):
        x = array(2, seed=k)
        expected = eager(x)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", CompileWarning)
                found = step(x)
        except CaptureError as error:
            assert "replaces a tensor that it read" in str(error)
            break
        assert bits(found) == bits(expected), k


# ----- errors, nesting, threads, memory ------------------------------------------------------------------------------

def test_an_exception_inside_leaves_everything_usable():
    fail = [True, False, False, False]
    def function(x):
        y = x * 2
        if fail:
            if fail.pop(0):
                raise KeyError("mine")
        return y + 1
    step = mgx.compile(function)
    with pytest.raises(KeyError):
        step(mgx.ones(2))
    fail[:] = [True]
    with pytest.raises(KeyError):
        step(mgx.ones(2))
    for _ in range(3):
        assert step(mgx.ones(2)).tolist() == [3, 3]
    assert (mgx.ones(2).numpy() == 1).all()


def test_an_error_in_a_host_launch_names_it():
    step = mgx.compile(lambda a: mgx.linalg.cholesky(a) if hasattr(mgx, "linalg") else a.cholesky())
    good = mgx.Tensor(np.eye(2))
    for _ in range(3):
        step(good)
    with pytest.raises(Exception, match="launch .* of .*cholesky") as caught:
        step(-good)
    assert isinstance(caught.value, mgx.errors.Error)
    assert bits(step(good)) == bits(good)


def test_nested_compiled_functions():
    inner = mgx.compile(lambda x: x.tanh() * 2)
    agree(lambda: (lambda x: inner(x) + inner(x + 1), list), [(array(3, seed=k),) for k in range(6)])
    assert bits(inner(array(3))) == bits(array(3).tanh() * 2)


def test_two_threads_replay_two_programs():
    nets = [training("adam")() for _ in range(4)]
    data = batches(30, m=64)
    compiled = [mgx.compile(step) for step, _ in nets]
    def run(step):
        for x, y in data:
            step(x, y)
    threads = [threading.Thread(target=run, args=(c,)) for c in compiled[:3]]
    [t.start() for t in threads]
    [t.join() for t in threads]
    run(nets[3][0])
    assert bits(nets[0][1]()) == bits(nets[1][1]()) == bits(nets[2][1]()) == bits(nets[3][1]())


def test_one_program_in_two_threads_runs_as_it_is_in_the_second():
    busy = threading.Barrier(2, timeout=20)
    waiting = threading.Event()             # seen by identity only: a list that changes would be another world
    def wait(out):
        if waiting.is_set() and threading.current_thread() is thread:
            busy.wait()
            busy.wait()
        out[...] = 1
    from microgradx._core.launch import filled
    w, results = nn.Parameter([1.0, 2.0]), []
    step = mgx.compile(lambda x: w * x + filled(wait, (2,), "float32"))
    thread = threading.Thread(target=lambda: results.append(step(mgx.full((2,), 3.0))))
    for _ in range(3):
        step(mgx.ones(2))
    waiting.set()
    thread.start()
    busy.wait()
    result = step(mgx.full((2,), 5.0))
    result.sum().backward()
    busy.wait()
    thread.join()
    assert result.tolist() == [6, 11] and w.grad.tolist() == [5, 5] and results[0].tolist() == [4, 7]
    results[0].sum().backward()
    assert w.grad.tolist() == [8, 8] and step(mgx.ones(2)).tolist() == [2, 3]
    assert "ran as it is, 1 times: a call while the same one was running" in step.explain()


def test_a_capture_that_another_thread_begins_while_one_is_prepared_goes_first():
    """What a function can reach is looked at before its capture, and may be of a class that then runs Python code."""
    from microgradx._core.launch import capturing
    entered, leave, results = threading.Event(), threading.Event(), []
    armed = threading.Event()

    def slow(x):
        y = x.exp() * 2
        if capturing():
            entered.set()
            leave.wait(20)
        return y + 1

    class Looked:
        __slots__ = ("part",)

        def __getattribute__(self, name):
            if armed.is_set():
                armed.clear()
                thread.start()
                assert entered.wait(20)
            return object.__getattribute__(self, name)

    x, looked, other = mgx.ones(3), Looked(), mgx.compile(slow)
    looked.part = 3.0
    step = mgx.compile(lambda x: x * looked.part)
    thread = threading.Thread(target=lambda: results.append(other(x)))
    other(x), step(x)
    armed.set()
    assert step(x).tolist() == [3, 3, 3] and step.explain() == "not captured yet: the second call is"
    leave.set()
    thread.join()
    assert bits(results[0]) == bits(slow(x)) and other.programs and step(x).tolist() == [3, 3, 3] and step.programs


def test_detect_nan_looks_at_every_launch():
    step = mgx.compile(lambda x: x.log() * 2)
    for _ in range(3):
        step(mgx.ones(2))
    with mgx.detect_nan(), pytest.raises(mgx.errors.NonFiniteError, match="log"):
        step(-mgx.ones(2))


def test_programs_that_are_dropped_leave_nothing():
    def resident():
        with open("/proc/self/statm") as f:
            return int(f.read().split()[1]) * 4096
    def once():
        step, _ = training("adam")()
        compiled = mgx.compile(step)
        x, y = array(512, 3), mgx.randint(4, size=512, rng=0)
        for _ in range(3):
            compiled(x, y)
        big = mgx.compile(lambda x: (x * 2).tanh())
        for _ in range(3):
            big(mgx.zeros(1 << 15))
    for _ in range(30):
        once()
    gc.collect()
    before = resident()
    for _ in range(200):
        once()
    gc.collect()
    assert resident() - before < 4 << 20


def test_options():
    with pytest.raises(OptionError, match="no pass is called"):
        mgx.compile(lambda x: x, passes={"fuze"})
    with pytest.raises(mgx.errors.DTypeError, match="a function, not int"):
        mgx.compile(3)


# ----- explain -------------------------------------------------------------------------------------------------------

def test_explain_is_a_table():
    step, _ = training("adam")()
    compiled = mgx.compile(step)
    assert "not captured yet" in compiled.explain()
    data = batches(3)
    for x, y in data:
        compiled(x, y)
    before = bits([*step.net.parameters()])
    text = compiled.explain()
    assert bits([*step.net.parameters()]) == before                 # measured, and taken back
    assert "m 6, n 5, k 3" in text and "180" in text                   # the first product, 2mnk
    for word in ("gemm", "adam", "cross_entropy", "launches", "bytes", "us"):
        assert word in text
    eager, _ = training("adam")()
    for x, y in data:
        eager(x, y)
    assert bits(compiled(x, y)) == bits(eager(x, y))


def test_explain_names_constants_and_host_launches():
    step = mgx.compile(lambda x: (x + mgx.Tensor([1.0, 2.0])).mode(0).values)
    for _ in range(3):
        step(mgx.ones(2))
    text = step.explain()
    assert "test_compile.py:" in text and "host mode" in text and "not measured" in text


@pytest.mark.parametrize("body", ["[x * float(k) for k in range(5)][3]", "(lambda t: x * t)(2.0)",
                                  "sum(x * k for k in (1.0, 2.0))"])
def test_variables_of_its_own_with_the_name_of_a_global(body):
    """A comprehension or a function inside reads a variable of the function's, not the global of the same name."""
    script = {"runs": []}
    exec(f"def function(x):\n    runs.append(1)\n    return {body}", script)
    compiled = mgx.compile(script["function"])
    for k in range(10):
        script["x"] = mgx.ones(4) * k
        result = compiled(script["x"])
        runs = len(script["runs"])
        assert (result.numpy() == script["function"](script["x"]).numpy()).all()
        del script["runs"][runs:]
    assert len(script["runs"]) <= 2


def test_attributes_with_the_name_of_a_global_in_a_function_of_values():
    script = {"settings": types.SimpleNamespace(scale=3.0)}
    exec("def function(a): return a * settings.scale", script)
    compiled = mgx.compile(script["function"])
    for k in range(10):
        script["scale"] = [k]
        assert compiled(mgx.Value(2.0)).data == 6.0
    assert compiled.explain().endswith("9 replays")
    script["settings"].scale = 4.0
    assert compiled(mgx.Value(2.0)).data == 8.0
