"""Schedules that are taken up again, and groups that come later: the rates are those of a run in one go, to the bit."""
import itertools
import pickle

import pytest

import microgradx as mgx
from microgradx import optim
from microgradx.errors import OptionError
from microgradx.optim import schedulers

MEASURES = [3.0, 2.0, 2.5, 2.4, 2.3, 2.2, 2.6, 2.1, 2.0, 1.0, 1.5, 1.4]
SAVED = 5                               # steps before the states are saved
MADE = {
    "LambdaLR": lambda o: optim.LambdaLR(o, lambda t: 0.9 ** t / (1 + t)),
    "StepLR": lambda o: optim.StepLR(o, 2, 0.3),
    "MultiStepLR": lambda o: optim.MultiStepLR(o, [2, 3, 7], 0.3),
    "ExponentialLR": lambda o: optim.ExponentialLR(o, 0.7),
    "LinearLR": lambda o: optim.LinearLR(o, 0.3, 0.9, 8),
    "CosineAnnealingLR": lambda o: optim.CosineAnnealingLR(o, 9, 0.001),
    "OneCycleLR": lambda o: optim.OneCycleLR(o, 0.7, 20),
    "SequentialLR": lambda o: optim.SequentialLR(o, [optim.LinearLR(o, 0.1, total_iters=3), optim.StepLR(o, 2, 0.3),
                                                     optim.ExponentialLR(o, 0.7)], [3, 7]),
    "MultiplicativeLR": lambda o: optim.MultiplicativeLR(o, lambda t: 0.9 - 0.01 * t),
    "ConstantLR": lambda o: optim.ConstantLR(o, 0.3, 7), "PolynomialLR": lambda o: optim.PolynomialLR(o, 20, 1.5),
    "CosineAnnealingWarmRestarts": lambda o: optim.CosineAnnealingWarmRestarts(o, 4, 2, 0.001),
    "CyclicLR": lambda o: optim.CyclicLR(o, 0.1, 0.7, 3, 5, "triangular2"),
    "ChainedScheduler": lambda o: optim.ChainedScheduler([optim.ConstantLR(o, 0.3, 3), optim.ExponentialLR(o, 0.7)]),
    "ReduceLROnPlateau": lambda o: optim.ReduceLROnPlateau(o, patience=1, factor=0.3),
}


def leaf():
    return mgx.Tensor([1.0], requires_grad=True)


def optimizer(kind, groups):
    options = {"momentum": 0.9} if kind is optim.SGD else {}
    return kind([{"params": [leaf()], "lr": 0.1 * (k + 1)} for k in range(groups)], lr=0.1, **options)


def followed(schedules, t):
    for s in schedules:
        s.step(*[MEASURES[t]] * isinstance(s, optim.ReduceLROnPlateau))


def options_of(o):
    return [(g["lr"], g.get("momentum"), g.get("betas"), *g.cell.tolist()) for g in o.param_groups]


def test_all_kinds_are_here():
    assert set(MADE) == set(schedulers.__all__) - {"LRScheduler"}


def resumed(order, kind, groups, made, states):
    """New objects that go on from ``states``: of the optimizer, of its schedules."""
    added = groups - 2
    o = optimizer(kind, groups if order != "group added last" else 2)
    if order == "optimizer, then schedules made and loaded":
        o.load_state_dict(states[0])
    schedules = [make(o) for make in made]
    if order == "schedules first":
        [s.load_state_dict(state) for s, state in zip(schedules, states[1])]
        o.load_state_dict(states[0])
    elif order == "group added last":
        [s.load_state_dict(state) for s, state in zip(schedules, states[1])]
        for k in range(added):
            o.add_param_group({"params": [leaf()], "lr": 0.9 + k})
        o.load_state_dict(states[0])
    elif order == "schedules alone":
        [s.load_state_dict(state) for s, state in zip(schedules, states[1])]
    else:
        if order == "optimizer first":
            o.load_state_dict(states[0])
        [s.load_state_dict(state) for s, state in reversed(list(zip(schedules, states[1])))]
    return o, schedules


ORDERS = ["optimizer, then schedules made and loaded", "optimizer first", "schedules first", "schedules alone",
          "group added last"]


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("names", [*[(name,) for name in MADE], ("ExponentialLR", "ReduceLROnPlateau"),
                                   ("LinearLR", "StepLR")], ids="+".join)
def test_a_run_goes_on_as_if_it_had_not_been_stopped(names, order):
    made = [MADE[name] for name in names]
    for kind, added, by_hand in itertools.product((optim.SGD, optim.Adam), (None, 0, 3), (False, True)):
        o = optimizer(kind, 2)
        schedules = [make(o) for make in made]
        for t in range(len(MEASURES)):
            if t == SAVED:
                if by_hand:
                    o.param_groups[0]["lr"] = 0.123456
                saved = pickle.dumps((o.state_dict(), [s.state_dict() for s in schedules]))
                other, others = resumed(order, kind, len(o.param_groups), made, pickle.loads(saved))
            if t >= SAVED:
                assert options_of(other) == options_of(o), (t, kind, added, by_hand)
                followed(others, t)
            if t == added:
                o.add_param_group({"params": [leaf()], "lr": 0.05})
            followed(schedules, t)
        assert options_of(other) == options_of(o)
        assert len({rates[0] for rates in options_of(o)}) > 1 or names[0] in ("OneCycleLR", "CyclicLR")


@pytest.mark.parametrize("name, factors", [
    ("StepLR", [1, 1, 0.3, 0.3, 0.09]), ("ExponentialLR", [0.7 ** t for t in range(5)]),
    ("LinearLR", [0.3 + 0.075 * t for t in range(5)]), ("LambdaLR", [0.9 ** t / (1 + t) for t in range(5)])])
def test_a_group_that_is_added_goes_on_from_its_rate(name, factors):
    """As in torch: the next rate is to the one it was given as the schedule's next is to its present one."""
    for added in range(4):
        o = optim.SGD([leaf()], lr=1.0)
        s = MADE[name](o)
        for t in range(4):
            if t == added:
                o.add_param_group({"params": [leaf()], "lr": 8.0})
            s.step()
            if t >= added:
                assert s.get_last_lr() == pytest.approx([factors[t + 1], 8.0 * factors[t + 1] / factors[added]])


def test_a_group_that_is_added_to_a_plateau_and_to_a_cycle():
    o = optim.SGD([leaf()], lr=1.0, momentum=0.9)
    s = optim.ReduceLROnPlateau(o, patience=0, factor=0.5, min_lr=0.4)
    s.step(1.0)
    o.add_param_group({"params": [leaf()], "lr": 8.0})
    s.step(2.0)
    assert s.get_last_lr() == [0.5, 4.0]
    o = optim.SGD([leaf()], lr=1.0, momentum=0.9)
    s = optim.OneCycleLR(o, 1.0, 10)
    o.add_param_group({"params": [leaf()], "lr": 8.0})
    s.step()
    assert s.get_last_lr()[0] == s.get_last_lr()[1] < 1


@pytest.mark.parametrize("make, step", [
    (lambda o: optim.LambdaLR(o, [lambda t: 0.5]), ()), (lambda o: optim.OneCycleLR(o, [1.0], 10), ()),
    (lambda o: optim.ReduceLROnPlateau(o, min_lr=[0.1], patience=0), (1.0,))])
def test_a_list_has_nothing_for_a_group_that_is_added(make, step):
    o = optim.SGD([leaf()], lr=1.0, momentum=0.9)
    s = make(o)
    s.step(*step)
    before = s.state_dict()
    o.add_param_group({"params": [leaf()], "lr": 8.0})
    with pytest.raises(OptionError, match="list of 1, and group 1 was added later"):
        s.step(*step)
    assert {**s.state_dict(), "groups": before["groups"]} == before


def test_a_step_that_is_refused_changes_nothing():
    s = optim.OneCycleLR(optim.SGD([leaf()], lr=1.0, momentum=0.9), 1.0, 1)
    s.step()
    before = s.state_dict()
    with pytest.raises(OptionError, match="step 2 times"):
        s.step()
    assert s.state_dict() == before


def test_a_state_is_a_copy():
    o = optim.SGD([leaf()], lr=1.0)
    s = optim.StepLR(o, 1, 0.5)
    state = s.state_dict()
    kept = pickle.dumps(state)
    other = optim.StepLR(optim.SGD([leaf()], lr=1.0), 1, 0.5)
    other.load_state_dict(state)
    o.add_param_group({"params": [leaf()]})
    other.optimizer.add_param_group({"params": [leaf()]})
    s.step()
    other.step()
    assert pickle.dumps(state) == kept


@pytest.mark.parametrize("groups", [None, [1], [{"lr": -1.0}], [{"momentum": 0.5}], {"lr": 1.0}])
def test_a_state_of_another_kind(groups):
    o = optim.SGD([leaf()], lr=1.0)
    s = optim.StepLR(o, 1, 0.5)
    s.step()
    before = s.state_dict()
    with pytest.raises(OptionError):
        s.load_state_dict({**before, "last_epoch": 7, "groups": groups})
    assert s.state_dict() == before


@pytest.mark.parametrize("make", [lambda ps: optim.NAdam(ps, lr=0.1), lambda ps: optim.ASGD(ps, lr=0.1, lambd=0.1),
                                  lambda ps: optim.Adam(ps, lr=0.1, amsgrad=True)])
def test_a_compiled_step_follows_a_schedule_and_its_closure(make):
    """Rates change between the calls; the step takes a closure; compiled as eager, to the bit."""
    def run(compiled):
        w = mgx.Tensor([1.0, -2.0, 3.0], requires_grad=True)
        o = make([w])
        s = optim.lr_scheduler.ExponentialLR(o, 0.8)

        def step(x):
            def closure():
                o.zero_grad()
                loss = (w * x).square().sum()
                loss.backward()
                return loss
            return o.step(closure).detach()
        call = mgx.compile(step) if compiled else step
        losses = []
        for k in range(6):
            losses.append(call(mgx.Tensor([1.0, 0.5, 2.0 + k])).item())
            s.step()
        return losses, w.tolist()
    assert run(True) == run(False)


def test_an_optimizer_of_your_own_is_captured():
    class Descent(optim.Optimizer):
        def __init__(self, params, lr=0.1, momentum=0.9):
            super().__init__(params, dict(lr=lr, momentum=momentum))

        @mgx.no_grad()
        def step(self, closure=None):
            for group in self.param_groups:
                for p in group["params"]:
                    if p.grad is None:
                        continue
                    state = self.state[p]
                    if "v" not in state:
                        state["v"] = mgx.zeros(*p.shape)
                    state["v"].mul_(group["momentum"]).add_(p.grad)
                    p.add_(state["v"], alpha=-group["lr"])

    def run(kind, compiled):
        w = mgx.Tensor([1.0, -2.0, 3.0], requires_grad=True)
        o = kind([w], lr=0.1, momentum=0.5)
        s = optim.lr_scheduler.StepLR(o, 2, 0.5)

        def step():
            o.zero_grad()
            w.square().sum().backward()
            o.step()
        call = mgx.compile(step) if compiled else step
        for _ in range(6):
            call()
            s.step()
        saved = o.state_dict()
        other = kind([w], lr=7.0, momentum=0.5)
        other.load_state_dict(saved)
        other.step()
        return w.tolist()
    assert run(Descent, True) == run(Descent, False) == pytest.approx(run(optim.SGD, False))


@pytest.mark.parametrize("call, kind, words", [
    (lambda: optim.SGD([leaf()], lr=0.1).step(lambda: None), OptionError, "SGD.step: the closure returned nothing"),
    (lambda: optim.LBFGS([leaf()]).step(lambda: None), OptionError, "LBFGS.step: the closure returned nothing"),
    (lambda: optim.LBFGS([leaf()]).step(), OptionError, "a closure is needed"),
    (lambda: optim.LBFGS([leaf()], max_iter=0), OptionError, "max_iter=0 is not an integer >= 1"),
    (lambda: optim.LBFGS([leaf()], line_search_fn="wolfe"), OptionError, "None or 'strong_wolfe'"),
    (lambda: optim.Adam([leaf()], differentiable=True), OptionError, "differentiable=True is not False; a step leaves"),
    (lambda: optim.Adam([leaf()], fused="yes"), OptionError, "fused='yes'"),
    (lambda: optim.Optimizer([leaf()], {}).step(), NotImplementedError, "Optimizer defines no step"),
    (lambda: optim.StepLR(optim.SGD([leaf()]), 1, last_epoch=3), OptionError, "load its state first"),
    (lambda: optim.lr_scheduler.LRScheduler(optim.SGD([leaf()])), NotImplementedError, "neither rate nor get_lr"),
    (lambda: optim.lr_scheduler.ChainedScheduler([optim.ReduceLROnPlateau(optim.SGD([leaf()]))]), OptionError,
     "measure"),
    (lambda: optim.swa_utils.AveragedModel(3), TypeError, "of a Module, not int"),
    (lambda: optim.swa_utils.get_ema_avg_fn(2.0), OptionError, "decay=2.0")])
def test_refused(call, kind, words):
    with pytest.raises(kind, match=words):
        call()
