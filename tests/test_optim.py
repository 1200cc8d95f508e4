"""Optimizers, schedules, clipping: values recorded from torch, state, bad input."""
import copy
import inspect
import math
import pickle

import numpy as np
import pytest
from recorded import cases

import microgradx as mgx
from microgradx import optim
from microgradx._core.kernels import kernel_table
from microgradx._core.launch import composites
from microgradx.errors import DTypeError, GraphError, NonFiniteError, OptionError, ShapeError
from microgradx.optim import optimizers, schedulers

CASES = {case["id"]: case for case in cases("torch_training.npz")}
COURSES = {name: case for name, case in CASES.items() if case["kind"] == "optimizer"}
SCHEDULES = {name: case for name, case in CASES.items() if case["kind"] == "schedule"}
TOLERANCE = {"float64": dict(rtol=1e-12, atol=1e-12), "float32": dict(rtol=1e-5, atol=1e-5)}
RULES = sorted(set(optimizers.__all__) - {"Optimizer"})
KINDS = sorted(set(schedulers.__all__) - {"LRScheduler"})


def leaf(data, dtype="float64"):
    return mgx.Tensor(np.asarray(data, dtype), requires_grad=True)


# ----- recorded courses --------------------------------------------------------------------------------------------

def test_everything_is_recorded():
    """What torch has; the others are held against their composites and explained by examples with numbers."""
    assert {case["op"] for case in COURSES.values()} <= set(RULES)
    assert {case["op"] for case in SCHEDULES.values()} == set(KINDS)
    for name in RULES:
        used = {option for case in COURSES.values() if case["op"] == name for option in case["kwargs"]}
        rule = getattr(optim, name)
        parameters = inspect.signature(rule).parameters.values()
        named = {p.name for p in parameters if p.kind is not p.VAR_KEYWORD} - {"params"}
        assert used in (set(), named)
        assert used or ">>>" in (rule.__doc__ or ""), (
            f"nothing says what {name} does: add an example with numbers to its docstring, or record torch's course "
            "(tests/data/record_training.py)")
        assert named == set(rule.ranges) - ({"decoupled_weight_decay"} if name == "AdamW" else set()), (
            f"{name}: the parameters of __init__ and the options of `ranges` are the same, in the order of the kernel")


@pytest.mark.parametrize("name", RULES)
def test_steps_are_those_of_the_composite(name):
    """Five steps by the kernel, and by the row written in operations."""
    rule, rng = getattr(optim, name), np.random.default_rng(0)
    w = leaf(rng.normal(size=7))
    step = rule([w], lr=0.01)
    group, composite = step.param_groups[0], composites[rule.kernel]
    row = next(row for row in kernel_table() if row["name"] == rule.kernel)
    expected = [None if s is None else s.detach() * 1 for s in group.rows[0]]
    for t in range(1, 6):
        w.grad = mgx.Tensor(rng.normal(size=7))
        step.step()
        reads = dict(g=w.grad, cell=group.cell, step=group.steps)       # counted by the step
        assert group.steps is None or group.steps.tolist()[0] == t
        expected = composite(*[reads[n] for _, n, _ in row["reads"]], *expected)
        for mine, theirs in zip(group.rows[0], expected, strict=True):
            assert (mine is None) == (theirs is None)
            if mine is not None:
                np.testing.assert_allclose(mine.detach().numpy(), theirs.numpy(), rtol=1e-12)


def make(case, params):
    return getattr(optim, case["op"])(params, **case["kwargs"])


@pytest.mark.parametrize("name", COURSES)
def test_optimizer(name):
    """20 steps; halfway the state goes through a dict and a pickle into another optimizer."""
    case = COURSES[name]
    half = len(case["inputs"]) // 2
    params = [leaf(x, case["dtype"]) for x in case["inputs"][:half]]
    step = make(case, params)
    for t in range(20):
        if t == 10:
            state = pickle.loads(pickle.dumps(step.state_dict()))
            step = getattr(optim, case["op"])(params, lr=7.0)
            step.load_state_dict(state)
        for p, g in zip(params, case["inputs"][half:]):
            p.grad = mgx.Tensor(g[t])
        step.step()
        for p, truth in zip(params, case["outputs"]):
            np.testing.assert_allclose(p.numpy(), truth[t], **TOLERANCE[case["dtype"]])
            assert p.is_leaf and p.dtype == case["dtype"]


def schedule(optimizer, name, kwargs):
    kwargs = dict(kwargs)
    if "lr_lambda" in kwargs:
        kwargs["lr_lambda"] = eval(kwargs["lr_lambda"])
    if "schedulers" in kwargs:
        kwargs["schedulers"] = [getattr(optim, n)(optimizer, **kw) for n, kw in kwargs["schedulers"]]
    if name == "ChainedScheduler":
        return optim.ChainedScheduler(**kwargs)
    return getattr(optim, name)(optimizer, **kwargs)


@pytest.mark.parametrize("name", SCHEDULES)
def test_schedule(name):
    """The whole course; halfway both states go into new objects."""
    case = SCHEDULES[name]

    def start():
        groups = [{"params": [leaf([0.0])]}, {"params": [leaf([0.0])], "lr": 0.3}]
        step = optim.SGD(groups, lr=0.8, momentum=0.9) if case["optimizer"] == "SGD" else optim.Adam(groups, lr=0.8)
        return step, schedule(step, case["op"], case["kwargs"])

    step, follow = start()
    rates, momenta = case["outputs"]
    for t, measure in enumerate([*case["inputs"][0], None]):
        groups = step.param_groups
        np.testing.assert_allclose([g["lr"] for g in groups], rates[t], rtol=1e-12, atol=1e-14)
        np.testing.assert_allclose([g["momentum"] if "momentum" in g else g["betas"][0] for g in groups], momenta[t],
                                   rtol=1e-12)
        assert follow.get_last_lr() == [g["lr"] for g in groups] == [g.cell.numpy()[0] for g in groups]
        if t == 9:
            saved = pickle.loads(pickle.dumps((step.state_dict(), follow.state_dict())))
            step, follow = start()
            step.load_state_dict(saved[0])
            follow.load_state_dict(saved[1])
        if measure is not None:
            follow.step(*[measure] * (case["op"] == "ReduceLROnPlateau"))


# ----- groups and state --------------------------------------------------------------------------------------------

def test_groups_and_rates():
    a, b, c = leaf([1.0]), leaf([1.0]), leaf([1.0])
    step = optim.SGD([{"params": [a]}, {"params": b, "lr": 0.5}], lr=0.25)
    (a + b + c).sum().backward()
    step.step()
    assert (a.item(), b.item()) == (0.75, 0.5)
    step.param_groups[0]["lr"] = 1.0
    step.add_param_group({"params": [c], "momentum": 0.5})
    step.step()
    assert (a.item(), b.item(), c.item()) == (-0.25, 0.0, 0.75)
    step.param_groups[0]["momentum"] = 0.5                       # its buffer is made at the next step
    step.step()
    assert a.item() == -1.25


def test_a_parameter_without_gradient_stays():
    a, b = leaf([1.0]), leaf([2.0])
    (a * 3).sum().backward()
    for make in (lambda ps: optim.SGD(ps, lr=1.0, weight_decay=1.0), optim.Adam):
        make([a, b]).step()
    assert b.item() == 2 and a.item() != 1


def test_gradients_that_are_views():
    w = leaf(np.ones((2, 3)))
    w.grad = mgx.Tensor(np.arange(6.0).reshape(3, 2)).T
    optim.SGD([w], lr=1.0).step()
    assert w.tolist() == [[1, -1, -3], [0, -2, -4]]
    w.grad = mgx.Tensor(np.ones((1, 1))).expand(2, 3)
    optim.SGD([w], lr=1.0, momentum=0.5).step()
    assert w.tolist() == [[0, -2, -4], [-1, -3, -5]]


def test_a_parameter_that_became_a_view_is_refused_before_memory_is_written():
    w, wide = leaf(np.ones((2, 3))), mgx.Tensor(np.zeros((2, 4)))
    step = optim.SGD([w], lr=1.0)
    w.grad, w.data = mgx.Tensor(np.ones((2, 3))), wide[:, :3]
    with pytest.raises(ShapeError, match="in order"):
        step.step()
    assert (wide.numpy() == 0).all()


def test_options_are_written_through_and_checked():
    w = leaf([1.0])
    step = optim.Adam([w])
    group = step.param_groups[0]
    group.update(lr=0.5, betas=(0.1, 0.2))
    assert group.cell.tolist() == [0.5, 0.1, 0.2, 1e-8, 0.0, 0.0, 0.0, 0.0] and group["params"] == (w,)
    for option, value in (("lr", math.nan), ("lr", -1.0), ("betas", (0.5, 1.0)), ("rate", 1.0), ("params", [])):
        with pytest.raises(OptionError):
            group[option] = value
    with pytest.raises(OptionError):
        del group["lr"]
    assert group.cell.tolist()[0] == group["lr"] == 0.5
    assert dict(group)["lr"] == 0.5 and len(group) == 12 and "    lr: 0.5\n" in repr(step)


@pytest.mark.parametrize("rule", RULES)
def test_state_is_there_before_the_first_step_and_steps_keep_it(rule):
    w, still = leaf([[1.0, 2.0]], "float32"), leaf([3.0])
    momentum = {"momentum": 0.9} if "momentum" in getattr(optim, rule).ranges else {}
    step = getattr(optim, rule)([w, still], **momentum)
    before = step.state
    for _ in range(3):
        w.grad = mgx.Tensor([[1.0, -1.0]])
        step.step()
    assert before[w] and all(step.state[w][name] is tensor for name, tensor in before[w].items())
    assert all(s.dtype == "float32" and s.shape == w.shape for name, s in before[w].items() if name not in step.counted)
    if "step" in before[w]:
        assert before[w]["step"].item() == 3 and before[still]["step"].item() == 0
    assert still.tolist() == [3] and (w.numpy() != [[1, 2]]).all()
    with pytest.raises(TypeError):
        step.state[w]["step"] = 0


def test_momentum_that_begins_later_begins_as_in_torch():
    w = leaf([0.0])
    step = optim.SGD([w], lr=1.0, dampening=0.5)
    w.grad = leaf([1.0]).detach()
    step.step()
    step.param_groups[0]["momentum"] = 0.5                        # v = g at the first step with it
    step.step()
    assert w.item() == -2 and step.state[w]["momentum_buffer"].item() == 1
    step.step()
    assert w.item() == -3                                         # v = 0.5 * 1 + (1 - 0.5) * 1
    step.param_groups[0]["momentum"] = 0.0
    assert step.state[w] == {}


@pytest.mark.parametrize("rule", RULES)
def test_odd_parameters(rule):
    """Of no elements, of no axes, of both dtypes in one group, and more than fit any small buffer."""
    params = [leaf(np.ones((2, 0))), leaf(1.0), leaf([1.0], "float32"), leaf([1.0]), *[leaf([1.0]) for _ in range(300)]]
    step = getattr(optim, rule)(params, lr=0.1)
    for p in params:
        p.grad = mgx.Tensor(np.ones(p.shape, p.dtype))
    step.step()
    moved = {round(float(p), 5) for p in params[1:]}
    assert len(moved) == 1 and moved != {1.0}
    twin = copy.deepcopy(step)
    step.step()
    assert all(float(p) < float(q) for p, q in zip(params[1:], twin.param_groups[0].params[1:]))
    twin.step()


@pytest.mark.parametrize("rule", RULES)
def test_nan_and_inf_stay_where_they_are(rule):
    w = leaf([1.0, 1.0, 1.0])
    step = getattr(optim, rule)([w], lr=0.1)
    for g in ([1.0, math.nan, math.inf], [1.0, 1.0, 1.0]):
        w.grad = mgx.Tensor(np.array(g))
        step.step()
    assert np.isfinite(w.numpy()[0]) and np.isnan(w.numpy()[1])


def test_a_step_that_cannot_be_taken_changes_nothing():
    good, bad, wide = leaf([1.0, 2.0]), leaf(np.ones((2, 3))), mgx.Tensor(np.zeros((2, 4)))
    step = optim.Adam([{"params": [good]}, {"params": [bad], "lr": 1.0}])
    good.grad, bad.grad = mgx.Tensor([1.0, 1.0], dtype="float64"), mgx.Tensor(np.ones((2, 3)))
    bad.data = wide[:, :3]
    with pytest.raises(ShapeError, match="adam: .*in order"):
        step.step()
    assert good.tolist() == [1, 2] and step.state[good]["step"].item() == 0 and (wide.numpy() == 0).all()
    fixed = mgx.from_numpy(np.ones(2))
    locked = np.ones(2)
    locked.flags.writeable = False
    fixed = mgx.from_numpy(locked).requires_grad_()
    fixed.grad = mgx.Tensor(np.ones(2))
    with pytest.raises(GraphError, match="read-only"):
        optim.SGD([fixed]).step()


def test_a_write_by_a_step_is_seen_by_older_graphs():
    w = leaf([2.0])
    y = w * w
    y.backward(retain_graph=True)
    optim.SGD([w], lr=0.1).step()
    with pytest.raises(GraphError, match="written to"):
        y.backward()


@pytest.mark.parametrize("spoil, error, words", [
    (lambda s: s.clear(), DTypeError, "state_dict gave"),
    (lambda s: s["param_groups"].append(s["param_groups"][0]), OptionError, r"\[1\] != \[1, 1\]|\[1\].*\[1, 1\]"),
    (lambda s: s["param_groups"][0].pop("eps"), OptionError, "options"),
    (lambda s: s["param_groups"][0].update(lr=math.nan), OptionError, "lr=nan"),
    (lambda s: s["param_groups"][0].update(learning_rate=1), OptionError, "learning_rate"),
    (lambda s: s["state"].clear(), OptionError, "parameter 0 needs"),
    (lambda s: s["state"][0].pop("step"), OptionError, "parameter 0 needs"),
    (lambda s: s["state"][0].update(exp_avg=np.zeros(3)), ShapeError, r"\(2,\) != \(3,\)"),
    (lambda s: s["state"][0].update(exp_avg=["a", "b"]), ShapeError, "exp_avg"),
])
def test_a_state_that_does_not_fit_changes_nothing(spoil, error, words):
    w = leaf([1.0, 2.0])
    step = optim.Adam([w], lr=0.25)
    saved = optim.Adam([leaf([5.0, 5.0])], lr=0.125).state_dict()
    saved["state"][0]["step"] = 9.0
    spoil(saved)
    with pytest.raises(error, match=words):
        step.load_state_dict(saved)
    assert step.param_groups[0]["lr"] == 0.25 and step.state[w]["step"].item() == 0


# ----- bad input ---------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("make, error, words", [
    (lambda: optim.SGD([], lr=0.1), OptionError, "no parameters"),
    (lambda: optim.SGD(iter(()), lr=0.1), OptionError, "no parameters"),
    (lambda: optim.SGD(leaf([1.0]), lr=0.1), DTypeError, "put it in a list"),
    (lambda: optim.SGD([leaf([1.0]) * 2], lr=0.1), GraphError, "only leaves"),
    (lambda: optim.SGD([np.ones(2)], lr=0.1), DTypeError, "ndarray"),
    (lambda: optim.SGD([mgx.tensor([1])], lr=0.1), DTypeError, "int64"),
    (lambda: optim.SGD([leaf([1.0])], lr=-0.1), OptionError, "lr=-0.1"),
    (lambda: optim.SGD([leaf([1.0])], lr=math.nan), OptionError, "lr=nan"),
    (lambda: optim.SGD([leaf([1.0])], lr="fast"), OptionError, "lr='fast'"),
    (lambda: optim.SGD([leaf([1.0])], lr=0.1, momentum=-1), OptionError, "momentum"),
    (lambda: optim.Adam([leaf([1.0])], betas=(0.9, 1.0)), OptionError, "betas"),
    (lambda: optim.Adam([leaf([1.0])], betas=0.9), OptionError, "betas"),
    (lambda: optim.Adam([{"params": [leaf([1.0])], "rate": 1}]), OptionError, "'rate'"),
    (lambda: optim.SGD([mgx.from_numpy(np.ones((2, 3)).T).requires_grad_()], lr=1.0), ShapeError, "in order"),
])
def test_optimizers_refuse(make, error, words):
    with pytest.raises(error, match=words):
        make()
    twice = leaf([1.0])
    with pytest.raises(OptionError, match="twice"):
        optim.Adam([twice, twice])


SGD = lambda: optim.SGD([leaf([1.0])], lr=0.1)


@pytest.mark.parametrize("call, words", [
    (lambda: optim.SGD([leaf([1.0])], nesterov=True), "nesterov needs momentum"),
    (lambda: optim.SGD([leaf([1.0])], momentum=0.5, dampening=0.5, nesterov=True), "nesterov needs"),
    (lambda: optim.SGD([leaf([1.0])], nesterov="yes"), "nesterov='yes'"),
    (lambda: optim.RMSprop([leaf([1.0])], alpha=-0.1), "alpha=-0.1"),
    (lambda: optim.RMSprop([leaf([1.0])], eps=math.inf), "eps=inf"),
    (lambda: optim.Adagrad([leaf([1.0])], initial_accumulator_value=-1), "initial_accumulator_value=-1"),
    (lambda: optim.AdamW([leaf([1.0])], weight_decay=[1, 2]), "weight_decay"),
    (lambda: optim.StepLR(SGD(), 0), "step_size=0"), (lambda: optim.StepLR(SGD(), 2, math.nan), "gamma=nan"),
    (lambda: optim.MultiStepLR(SGD(), [3, 2]), "milestones"), (lambda: optim.ExponentialLR(SGD(), -1.0), "gamma=-1.0"),
    (lambda: optim.LinearLR(SGD(), 0.0), "start_factor=0.0"),
    (lambda: optim.LinearLR(SGD(), end_factor=2), "end_factor=2"),
    (lambda: optim.CosineAnnealingLR(SGD(), 1.5), "T_max=1.5"),
    (lambda: optim.LambdaLR(SGD(), [lambda t: 1, lambda t: 1]), "one for each of the 1 groups"),
    (lambda: optim.LambdaLR(SGD(), 0.5), "LambdaLR: a function"),
    (lambda: optim.LambdaLR(SGD(), lambda t: math.nan), "lr=nan"),
    (lambda: optim.OneCycleLR(SGD(), 1.0), "total_steps=None"),
    (lambda: optim.OneCycleLR(SGD(), [1.0, 2.0], 10), "max_lr"),
    (lambda: optim.OneCycleLR(SGD(), 1.0, 10, pct_start=2), "pct_start=2"),
    (lambda: optim.OneCycleLR(SGD(), 1.0, 10, anneal_strategy="exp"), "anneal_strategy='exp'"),
    (lambda: optim.OneCycleLR(optim.Adagrad([leaf([1.0])]), 1.0, 10), "no momentum to cycle"),
    (lambda: optim.ReduceLROnPlateau(SGD(), "least"), "mode='least'"),
    (lambda: optim.ReduceLROnPlateau(SGD(), factor=1.0), "factor=1.0"),
    (lambda: optim.SequentialLR(SGD(), [], []), "0 schedulers"),
    (lambda: optim.SequentialLR(SGD(), [optim.StepLR(SGD(), 1)], []), "another optimizer"),
    (lambda: optim.StepLR(SGD(), 1).load_state_dict({"gamma": 1}), "state_dict gave"),
])
def test_options_out_of_range(call, words):
    with pytest.raises(OptionError, match=words):
        call()


@pytest.mark.parametrize("kind", KINDS)
def test_schedules_are_of_optimizers(kind):
    required = [p for p in inspect.signature(getattr(optim, kind)).parameters.values() if p.default is p.empty]
    required.remove(next((p for p in required if p.name == "optimizer"), required[0]))
    fitting = {"gamma": 0.5, "step_size": 1, "milestones": [1], "T_max": 3, "max_lr": [], "lr_lambda": [],
               "schedulers": [1, 2], "T_0": 3, "base_lr": []}
    with pytest.raises((DTypeError, OptionError), match=kind):
        getattr(optim, kind)("SGD", *[fitting[p.name] for p in required])


def test_one_cycle_ends():
    step = SGD()
    follow = optim.OneCycleLR(step, 1.0, 4, anneal_strategy="linear")
    for _ in range(4):
        follow.step()
    assert step.param_groups[0]["lr"] == pytest.approx(1 / 25e4)
    with pytest.raises(OptionError, match="step 5 times; total_steps is 4"):
        follow.step()


def test_a_plateau_of_negative_measures():
    """Better is lower, also below 0; nan is never better."""
    step = SGD()
    follow = optim.ReduceLROnPlateau(step, patience=0, threshold=0.1)
    for measure, lr in ((-1.0, 0.1), (mgx.Tensor(-2.0), 0.1), (-2.1, 0.01), (-3.0, 0.01), (math.nan, 0.001)):
        follow.step(measure)
        assert step.param_groups[0]["lr"] == pytest.approx(lr)


# ----- clipping ----------------------------------------------------------------------------------------------------

def three(dtypes=("float64", "float64", "float32")):
    params = [leaf(np.zeros((2, 2))), leaf(0.0), leaf([0.0], dtypes[2]), leaf([1.0])]
    params[0].grad = mgx.Tensor(np.array([[3.0, 0.0], [0.0, -4.0]])).T
    params[1].grad, params[2].grad = mgx.Tensor(np.float64(12.0)), mgx.Tensor(np.zeros(1, dtypes[2]))
    return params


@pytest.mark.parametrize("order, total", [(2, 13.0), (1, 19.0), (math.inf, 12.0), (3, (27 + 64 + 1728) ** (1 / 3))])
def test_clipping_by_norm(order, total):
    params = three()
    assert float(optim.clip_grad_norm_(params, 1e9, order)) == pytest.approx(total, rel=1e-12)
    assert params[1].grad.item() == 12
    assert float(optim.clip_grad_norm_(iter(params), 1.0, order)) == pytest.approx(total, rel=1e-12)
    assert params[1].grad.item() == pytest.approx(12 / (total + 1e-6), rel=1e-12) and params[3].grad is None
    assert float(optim.clip_grad_norm_(params, 0.0, order)) > 0 and params[1].grad.item() == 0
    assert optim.clip_grad_norm_([leaf(1.0)], 1.0).item() == 0


def test_clipping_by_value_and_what_is_refused():
    params = three()
    optim.clip_grad_value_(params, 3.5)
    assert params[0].grad.tolist() == [[3, 0], [0, -3.5]] and params[1].grad.item() == 3.5
    params[1].grad = mgx.Tensor(np.float64(math.nan))
    with pytest.raises(NonFiniteError, match="nan"):
        optim.clip_grad_norm_(params, 1.0, error_if_nonfinite=True)
    assert params[0].grad.tolist() == [[3, 0], [0, -3.5]]
    assert math.isnan(optim.clip_grad_norm_(params[1], 1.0).item())
    for clip in (optim.clip_grad_norm_, optim.clip_grad_value_):
        for bound in (-1.0, math.nan, "1"):
            with pytest.raises(OptionError, match=clip.__name__):
                clip(params, bound)
        with pytest.raises(DTypeError):
            clip([np.ones(2)], 1.0)


# ----- text and hooks ------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("name, words", [
    ("SGD", "dampening differentiable foreach fused lr maximize momentum nesterov weight_decay"),
    ("AdamW", "amsgrad betas capturable decoupled_weight_decay differentiable eps foreach fused lr maximize "
              "weight_decay"),
    ("RMSprop", "alpha capturable centered differentiable eps foreach lr maximize momentum weight_decay"),
    ("LBFGS", "history_size line_search_fn lr max_eval max_iter tolerance_change tolerance_grad")])
def test_an_optimizer_prints_torchs_text(name, words):
    lines = str(getattr(optim, name)([leaf([1.0])], lr=0.5)).splitlines()
    assert lines[0] == f"{name} (" and lines[1] == "Parameter Group 0" and lines[-1] == ")"
    assert [line.strip().partition(":")[0] for line in lines[2:-1]] == words.split() and "    lr: 0.5" in lines
    if name != "LBFGS":
        two = str(getattr(optim, name)([{"params": [leaf([1.0])]}, {"params": [leaf([1.0])], "lr": 2.0}], lr=0.5))
        assert two.count("    lr: ") == 2 and "\n\nParameter Group 1\n" in two


def test_how_torch_computes_a_step_is_an_option_that_changes_nothing():
    adam = optim.Adam([leaf([1.0])], fused=True, capturable=True)
    assert adam.param_groups[0]["fused"] is True and adam.param_groups[0]["foreach"] is None
    adam.load_state_dict(adam.state_dict())
    assert adam.state_dict()["param_groups"][0]["fused"] is True
    with pytest.raises(TypeError, match="no argument is called 'fused'"):
        optim.RMSprop([leaf([1.0])], fused=True)


def test_hooks_of_a_step_that_was_replaced():
    """Hooks stay when somebody puts a function of his own around ``step``, before the first of them or between two."""
    w, seen = leaf([1.0]), []
    sgd = optim.SGD([w], lr=0.5)
    w.sum().backward()

    def wrap(name):
        inner = sgd.step

        def step(*args):
            seen.append(name)
            return inner(*args)
        sgd.step = step
    wrap("first wrapper")
    sgd.register_step_post_hook(lambda *_: seen.append("first hook"))
    wrap("second wrapper")
    sgd.register_step_post_hook(lambda *_: seen.append("second hook"))
    sgd.step()
    assert seen == ["second wrapper", "first wrapper", "first hook", "second hook"] and w.item() == 0.5


def test_hooks_of_a_step():
    w, seen = leaf([1.0]), []
    sgd = optim.SGD([w], lr=1.0)
    before = sgd.register_step_pre_hook(lambda o, args, kwargs: seen.append(("before", o is sgd, args, w.item())))
    after = sgd.register_step_post_hook(lambda o, args, kwargs: seen.append(("after", o is sgd, args, w.item())))
    w.grad = leaf([0.5]).detach()
    sgd.step()
    assert seen == [("before", True, (sgd,), 1.0), ("after", True, (sgd,), 0.5)]
    before.remove()
    sgd.step()
    assert len(seen) == 3 and seen[-1][0] == "after"
    after.remove()
    sgd.step()
    assert len(seen) == 3 and w.item() == -0.5
    closure = lambda: mgx.Tensor(3.0)
    for changed in ((sgd, closure), {}), ((sgd,), {"closure": closure}):
        hook = sgd.register_step_pre_hook(lambda o, args, kwargs: changed)
        last = sgd.register_step_post_hook(lambda o, args, kwargs: seen.append((args, kwargs)))
        assert sgd.step().item() == 3.0                     # what a hook returns are the arguments
        assert seen.pop() == changed
        hook.remove(), last.remove()
    for bad in (5, ((closure,), {}), ((), {}), ((sgd,), None), [(sgd,), {}]):
        hook = sgd.register_step_pre_hook(lambda o, args, kwargs: bad)
        with pytest.raises(DTypeError, match="a hook before the step returns None or"):
            sgd.step()
        hook.remove()
    with pytest.raises(DTypeError, match="a hook is a function, not int"):
        sgd.register_step_post_hook(5)


# of torch 2.13, what repr prints of the options whose defaults are integers there
WHOLE = {"SGD": {"dampening": 0, "momentum": 0, "weight_decay": 0}, "RMSprop": {"momentum": 0, "weight_decay": 0},
         "Adagrad": {"initial_accumulator_value": 0, "lr_decay": 0, "weight_decay": 0}, "Adam": {"weight_decay": 0},
         "Adamax": {"weight_decay": 0}, "NAdam": {"weight_decay": 0}, "RAdam": {"weight_decay": 0},
         "Adadelta": {"lr": 1.0, "weight_decay": 0}, "ASGD": {"t0": 1000000.0, "weight_decay": 0},
         "Rprop": {"step_sizes": (1e-06, 50)}, "LBFGS": {"lr": 1}}


@pytest.mark.parametrize("name", WHOLE)
def test_options_are_printed_as_torchs(name):
    text = repr(getattr(optim, name)([leaf([1.0])]))
    assert all(f"\n    {option}: {value}\n" in text for option, value in WHOLE[name].items()), text
    assert "\n    weight_decay: 1\n" in repr(optim.SGD([leaf([1.0])], lr=0.1, weight_decay=1))


def test_a_hook_of_a_captured_step_runs_where_it_is_told():
    w = leaf([1.0])
    sgd = optim.SGD([w], lr=1.0)

    @mgx.compile
    def train():
        sgd.zero_grad()
        w.sum().backward()
        sgd.step()

    train()
    train()
    sgd.register_step_post_hook(lambda *_: w.detach().mul_(2.0))
    train()
    train()
    assert w.item() == ((1 - 2 - 1) * 2 - 1) * 2


@pytest.mark.parametrize("make, start", [
    (lambda o: optim.CyclicLR(o, 0.25, 1.0), 0.25), (lambda o: optim.OneCycleLR(o, 1.0, 9, div_factor=4.0), 0.25),
    (lambda o: optim.LambdaLR(o, lambda t: 0.5), 8.0)])
def test_what_a_second_schedule_goes_on_from(make, start):
    sgd = optim.SGD([leaf([1.0])], lr=8.0, momentum=0.5)
    assert make(sgd).base_lrs == [start] == [sgd.param_groups[0]["initial_lr"]]
    assert optim.ExponentialLR(sgd, 0.5).base_lrs == [start]


@pytest.mark.parametrize("parts", [(), (None,), (1.0,), None, [leaf([1.0])]])
def test_what_is_no_parameter_of_an_update(parts):
    cell, w = mgx.Tensor(np.zeros(6)), leaf([1.0])
    w.grad = leaf([1.0]).detach()
    with pytest.raises(TypeError, match="sgd: a parameter is a tuple of arrays, itself the first, not "):
        optimizers.update("sgd", [(cell, None, [(w,), parts])])
    assert w.item() == 1
