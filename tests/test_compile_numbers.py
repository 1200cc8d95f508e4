"""Floats among the arguments of a compiled function, and ``check=True``: eager is the oracle, to the last bit."""
import copy
import itertools
import math
import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_compile import OPTIMIZERS, SUBSETS, agree, array, batches, bits, training

import microgradx as mgx
from microgradx import nn
from microgradx.errors import CaptureError
from microgradx.nn import functional as F

RATES = [0.1, 0.3, -0.0, 1e-3, 7.0, math.pi, 1e10, 1e-40]
DTYPES = ["float32", "float64"]

WEAK = {
    "beside": lambda x, r: x * r + r,
    "before": lambda x, r: r - r * x,
    "numbers": lambda x, r: x * (2 * r - r * r + 1) / (r + 3.5) * -r,
    "divided": lambda x, r: x / r + 1.0 / (x * x + r) + r / 3,
    "mask": lambda x, r: ((x > r).where(x, r), (r < x), x.maximum(r), x.clip(-1.0, r)),
    "into": lambda x, r: into(x, r),
    "alone": lambda x, r: x.sum() * r,
    "few": lambda x, r: x[:1] * r,
    "integers": lambda x, r: mgx.arange(9) * r + (x > 0) * r,
    "transposed": lambda x, r: x.T * r,
    "activation": lambda x, r: x.leaky_relu(r) if hasattr(x, "leaky_relu") else x * r,
}


def into(x, r):
    x = x * 1
    x *= r
    x[0] += r
    return x


@pytest.mark.parametrize("kind", [float, np.float64, np.float32])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", WEAK)
def test_a_number_is_weak_and_every_value_is_one_program(name, dtype, kind):
    compiled = agree(lambda: (WEAK[name], list),
                     [(array(9, 9, seed=k, dtype=dtype), kind(r)) for k, r in enumerate(RATES)])
    if kind is float and name not in ("numbers", "divided"):
        assert len(compiled.programs) == 1


def test_sums_and_products_of_numbers_are_written_down():
    compiled = agree(lambda: (lambda x, r, s: x * (r * 0.5 - s / 4 + (1 + s) * r), list),
                     [(array(9, 9), r, 0.3 + r) for r in (0.1, 0.2, 0.7, 1e300)])
    assert len(compiled.programs) == 1


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_rate_for_a_step_by_hand(dtype):
    def make():
        w = nn.Parameter(np.ones((3, 2), dtype))
        def step(x, options):
            w.grad = None
            loss = (x @ w * options["scale"]).tanh().square().mean() + options["decay"][0] * w.square().sum()
            loss.backward()
            with mgx.no_grad():
                w.copy_(w - w.grad * options["rate"])
            return loss, {"rate": options["rate"]}
        return step, lambda: [w, w.grad]
    compiled = agree(make, [(array(5, 3, seed=k, dtype=dtype), {"rate": 0.1 / (k + 1), "scale": 1.0 + k,
                                                                  "decay": [0.01 * k, "l2"]}) for k in range(8)])
    assert len(compiled.programs) == 1


@pytest.mark.parametrize("dtype", DTYPES)
def test_derivatives_of_higher_order_keep_the_dtype(dtype):
    def make():
        w = nn.Parameter(np.linspace(0.5, 2, 6, dtype=dtype))
        def function(x, r):
            y = ((w * r + x) * (w - r)).square() / (w + r)
            g, = mgx.autograd.grad(y.sum(), [w], create_graph=True)
            h, = mgx.autograd.grad((g * g).sum() * r, [w])
            return y, g, h
        return function, list
    compiled = agree(make, [(array(6, seed=k, dtype=dtype), 0.1 + k / 3) for k in range(5)])
    assert len(compiled.programs) == 1


BINARY = [lambda a, b: a + b, lambda a, b: a - b, lambda a, b: a * b, lambda a, b: a / (abs(b) + 1)]


@settings(max_examples=150, deadline=None, derandomize=True, database=None)
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 9), st.integers(0, 9)), min_size=1, max_size=9),
       st.sampled_from(DTYPES), st.sampled_from(SUBSETS), st.sampled_from([3, 9]))
def test_random_programs_of_numbers_and_tensors(recipe, dtype, passes, n):
    def make():
        w = nn.Parameter(np.arange(n * n, dtype=dtype).reshape(n, n) / n ** 2)
        def function(x, numbers):
            values = [x, numbers["r"], w, numbers["s"][0], 0.3, 2]
            for op, i, k in recipe:
                values.append(BINARY[op](values[-1 - i % len(values)], values[-1 - k % len(values)]))
            w.grad = None
            loss = sum(((v * w).sum() for v in values[4:]), start=w.sum())
            loss.backward()
            return loss, values
        return function, lambda: [w, w.grad]
    agree(make, [(array(n, n, seed=k, dtype=dtype), {"r": r, "s": [1 - r * r]})
                 for k, r in enumerate((0.7, 0.7, 0.7, -1.3, 0.7, 1e-3))], passes)


READ = {
    "if": lambda x, r: x * r if r > 0.2 else x - r,
    "sqrt": lambda x, r: x * math.sqrt(abs(r)),
    "text": lambda x, r: (x, f"{r:.3f} {r}"),
    "int": lambda x, r: x * int(r * 10),
    "power": lambda x, r: x.square() ** (r * 10),
    "numpy": lambda x, r: x * np.exp(-r) + np.full(9, r).sum(),
    "array": lambda x, r: mgx.Tensor(np.ones(9, "float32") * r) + mgx.Tensor([r, 1.0]).sum() + mgx.Tensor(r) + x,
    "order": lambda x, r: x * min(r, 0.25) * (r or 1.0),
    "quotient": lambda x, r: x * (1 / (1 + r)),
    "isinstance": lambda x, r: x * r if isinstance(r, float) else None,
    "list": lambda x, r: x * sum([r, r]) * [0.5, 2.0][bool(r > 0.15)],
    "dropout": lambda x, r: F.dropout(x, r, rng=0),
    "returned": lambda x, r: (x, r, r * 2),
    "filled": lambda x, r: mgx.full((9,), r) + x.clone().fill_(r) + x.masked_fill(x > 0, r) + mgx.linspace(0, r, 9),
    "assigned": lambda x, r: assigned(x, r),
    "copies": lambda x, r: x * copy.deepcopy(r) * pickle.loads(pickle.dumps(r)),
    "rounded": lambda x, r: (x * math.ceil(r) * round(r, 1), x * divmod(r, 0.07)[1] * (r // 0.07)),
    "digits": lambda x, r: (x, f"{r:.3e} {r!r}", format(r, ".2f"), x * {r: 2.0}[r] * sorted([r, 0.15])[0]),
    "values": lambda x, r: x * float((mgx.Value(2.0) * r + r * mgx.Value(3.0)).data),
    "into a ufunc": lambda x, r: np.multiply(np.ones(9, "float32"), r) * r + x + np.add(x, r),
    "kind": lambda x, r: x * isinstance(r, np.floating) + x * isinstance(r, float) * r,
}


def assigned(x, r):
    y = x.clone()
    y[0] = r
    y[1:3] = r * 2
    return y


@pytest.mark.parametrize("kind", [float, np.float64, np.float32])
@pytest.mark.parametrize("name", READ)
def test_a_number_that_decides_is_part_of_what_is_captured(name, kind):
    rates = [0.1, 0.1, 0.1, 0.2, 0.2, 0.3, 0.1, 0.3, 0.3, 0.2]
    compiled = agree(lambda: (READ[name], list), [(array(9, seed=k), kind(r)) for k, r in enumerate(rates)])
    assert len(compiled.programs) <= 3


def test_a_rate_that_an_optimizer_is_given_inside():
    def make():
        step, rest = training("adam")()
        def function(x, y, rate):
            step.optimizer.param_groups[0]["lr"] = rate
            step.optimizer.param_groups[0]["betas"] = (0.9, 0.99 - rate)
            function.group = step.optimizer.param_groups[0]
            return step(x, y)
        made.append(function)
        return function, rest
    made = []
    agree(make, [(*pair, rate) for pair, rate in zip(batches(9), [0.1, 0.1, 0.1, 0.2, 0.2, 0.2, 0.1, 0.1, 0.3])])
    assert all(type(made[1].group["lr"]) is float is type(b) for b in made[1].group["betas"])


def test_explain_tells_which_numbers_a_program_is_for():
    step = mgx.compile(lambda x, r, s: x * r if s > 0 else x)
    for _ in range(3):
        step(array(3), 0.5, 0.25)
    assert "for one number only: argument 2" in step.explain()


def test_an_error_of_a_number_is_that_of_the_call():
    step = mgx.compile(lambda x, r: x * (1 / r))
    for r in (1.0, 2.0, 2.0):
        step(array(3), r)
    with pytest.raises(ZeroDivisionError):
        step(array(3), 0.0)
    assert step(array(3), 2.0).shape == (3,)


def test_a_type_among_the_arguments_is_no_number():
    step = mgx.compile(lambda x, t: x * (2.0 if t is float else t))
    for t in (float, float, float, 0.5, 0.5, 0.5, float, 0.25):
        assert step(mgx.ones(2), t).tolist() == [2.0 if t is float else t] * 2


# ----- check=True ----------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("norm", [False, True])
def test_training_steps_pass_the_check_and_are_made_once(optimizer, norm):
    make = training(optimizer, norm=norm)
    (eager, rest), (function, other) = make(), make()
    compiled = mgx.compile(function, check=True)
    for k, (x, y) in enumerate(batches(6)):
        assert bits(compiled(x, y)) == bits(eager(x, y)) and bits(other()) == bits(rest()), k
    assert len(compiled.programs) == 1


def test_accumulated_gradients_written_arguments_and_random_numbers_pass_the_check():
    def make():
        net, rng = nn.Linear(3, 3, rng=0), np.random.default_rng(3)
        def function(x, r):
            loss = F.dropout(net(x), 0.5, rng=rng).square().sum() * r + mgx.rand(2, rng=rng).sum()
            loss.backward()
            with mgx.no_grad():
                x += 1
            return {"loss": loss, "x": [x.sum()]}
        return function, lambda: [p.grad for p in net.parameters()]
    (eager, rest), (function, other) = make(), make()
    compiled = mgx.compile(function, check=True)
    for k in range(6):
        x, y = array(4, 3, seed=k), array(4, 3, seed=k)
        assert bits(compiled(x, 0.5 + k)) == bits(eager(y, 0.5 + k)) and bits([x, *other()]) == bits([y, *rest()]), k
    shared = mgx.compile(lambda x: F.dropout(x, 0.5), check=True)
    assert len({shared(mgx.ones(64)).numpy().tobytes() for _ in range(6)}) == 6


def test_what_no_guard_sees_is_caught_and_named():
    calls = itertools.count(1).__next__                  # built in: not looked into
    def counting(x):
        return {"y": x, "z": [x * calls()]}
    step = mgx.compile(counting, check=True)
    step(mgx.ones(2))
    step(mgx.ones(2))
    with pytest.raises(CaptureError, match=r"the result\['z'\]\[0\] is not the same .*2 of 2 numbers .* at most 1;"):
        step(mgx.ones(2))
    assert calls() == 4


@pytest.mark.parametrize("what, message", [
    ("parameter", r"weight is not the same"), ("gradient", r"the gradient of weight is not"),
    ("argument", r"argument 0 is not"), ("state", r"what launch \d+, .*, writes is not"),
    ("structure", r"another structure"), ("type", r"the result is not the same .*3 and 4")])
def test_every_kind_of_difference_is_named(what, message):
    net, count, memory = nn.Linear(2, 1, bias=False, rng=0), itertools.count(1).__next__, mgx.zeros(1, 2)
    def function(x):
        number = 1.0 + count()
        net.weight.grad = None
        result = None
        if what == "gradient":
            (net(x).sum() * number).backward()
        with mgx.no_grad():
            if what == "parameter":
                net(x)
                net.weight.copy_(net.weight * number)
            elif what == "argument":
                x *= number
            elif what == "state":
                memory.copy_(x * number)
            elif what == "structure":
                result = [x * 2] * int(number)
            elif what == "type":
                result = int(number)
        return result
    step = mgx.compile(function, check=True)
    step(mgx.ones(1, 2))
    step(mgx.ones(1, 2))
    weight = net.weight.numpy().copy()
    with pytest.raises(CaptureError, match=message):
        step(mgx.ones(1, 2))
    assert (net.weight.numpy() == weight * (count() if what == "parameter" else 1)).all()
