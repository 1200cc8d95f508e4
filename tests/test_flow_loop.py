"""A watched loop: each rule of a loop with a sick one, which it names, and a sound one, about which it says nothing."""
import copy
import math
import pickle
import signal
import warnings

import loops
import numpy as np
import pytest

import microgradx as mgx
from microgradx import flow, nn, optim
from microgradx.errors import DTypeError, FormatError, OptionError
from microgradx.flow import loop_rules
from microgradx.flow.loop_report import LoopDiagnosis
from microgradx.flow.quadrature import elementwise
from microgradx.nn import functional as F

X, Y = (array[:128] for array in mgx.data.digits())


def build(*extra, seed=0):
    return nn.Sequential(nn.Linear(64, 24, rng=seed), nn.ReLU(), *extra, nn.Linear(24, 10, rng=seed + 1))


def cost(net, seed=0):
    rows = np.random.default_rng(seed).integers(0, len(X), 64)
    return F.cross_entropy(net(mgx.Tensor(X[rows])), Y[rows])


def train(net, optimizer=None, **options):
    return loops.train(net, optimizer or optim.SGD(net.parameters(), lr=0.3), cost, **options)


def evaluate(net, *_):
    loops.evaluate(mgx, net, mgx.Tensor(X))


class Listed(nn.Module):
    def __init__(self):
        self.first, self.rest = nn.Linear(64, 24, rng=0), [nn.Linear(24, 10, rng=1)]

    def forward(self, x):
        return self.rest[0](self.first(x).relu())


class Ratio(nn.Module):
    """A loss that stays what it is, and whose derivative is nan: the root of a square at 0."""

    def __init__(self):
        self.linear = nn.Linear(64, 10, rng=0)

    def forward(self, x):
        out = self.linear(x)
        return out + 1e-3 * (out - out).square().sum().sqrt()


def scheduled(kind, lr=0.5, **options):
    net = build()
    optimizer = optim.SGD(net.parameters(), lr=lr)
    steps = kind(optimizer, **options)
    return train(net, optimizer, after=lambda *_: steps.step())


def shrunk():
    net = build()
    return train(net, optim.SGD(net.parameters(), lr=0.1, weight_decay=3.0), steps=40)


def evaluated_in_training():
    def look(net, _):
        with mgx.no_grad():
            cost(net)
    return train(build(nn.Dropout(0.1)), after=look)


def trained_in_evaluation():
    net = build(nn.Dropout(0.1))
    net.eval()
    return train(net)


def half(net):
    return optim.SGD(net[2].parameters(), lr=0.3)


def nan_loss():
    net, optimizer = build(), None
    optimizer = optim.SGD(net.parameters(), lr=0.3)
    with flow.watch(net, optimizer, every=4) as run:
        for step in range(12):
            optimizer.zero_grad()
            loss = cost(net, step)
            run.loss(loss.item() + (math.nan if step == 6 else 0.0))
            loss.backward()
            optimizer.step()
    return run


def huge():
    net = build()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        optimizer = optim.SGD(net.parameters(), lr=1e30)
        return train(net, optimizer)


def too_far():
    net = nn.Sequential(nn.Linear(64, 24, rng=0), nn.Tanh(), nn.Linear(24, 10, rng=1))
    return train(net, optim.SGD(net.parameters(), lr=10.0))


def in_half():
    """Steps that are shorter than the distance of two numbers."""
    net = build()
    return train(net, optim.SGD(net.parameters(), lr=1e-12))


def clip(bound):
    return loops.clip(nn, bound)


SICK = [
    ("weights never move", "optimizer.step() was not called", lambda: train(build(), steps=0)),
    ("weights never move", "no gradient arrived", lambda: train(build(), backward=False)),
    ("weights never move", "cleared between", lambda: train(build(), before=lambda _, o: o.zero_grad())),
    ("weights never move", "the rate is 0", lambda: train(net := build(), optim.SGD(net.parameters(), lr=0.0))),
    ("weights never move", "lost in rounding", in_half),
    ("untrained parameters", "holds none of", lambda: train(build(), optim.SGD(build().parameters(), lr=0.1))),
    ("untrained parameters", "the optimizer does not hold them", lambda: train(net := build(), half(net))),
    ("untrained parameters", "Listed.rest (a list of 1 modules)", lambda: train(Listed())),
    ("gradients accumulate", "in 23 of 23 steps", lambda: train(build(), zero=False)),
    ("nan gradient", "linear.weight and 1 more is not finite at step 0", lambda: train(Ratio())),
    ("loss not finite", "the loss is nan at step 6 while all gradients are finite", nan_loss),
    ("exploding", "the weights grew", huge),
    ("rate ended", "the schedule ended long before", lambda: scheduled(optim.lr_scheduler.StepLR, 1e-3, step_size=2)),
    ("clipping always bites", "clipping leaves", lambda: train(build(), before=clip(1e-4))),
    ("weight decay too strong", "the weights have shrunk", shrunk),
    ("rate too large", "the loss rises, from 2.27 to", too_far),
    ("train and eval mixed up", "24 of 24 steps that were looked at were made in evaluation mode: 2 did not",
     trained_in_evaluation),
    ("train and eval mixed up", "ran 24 times without gradients in training mode: 2", evaluated_in_training)]


@pytest.mark.parametrize("verdict, words, loop", SICK, ids=[words for _, words, _ in SICK])
def test_sick_loops_are_named(verdict, words, loop):
    found = loop().diagnose()
    assert (found.verdict, words in found.cause) == (verdict, True), str(found)
    assert found.advice != loop_rules.TRY and not found.unseen and not found.healthy
    assert f"What to do: {found.advice}." in str(found) and found.verdict in found._repr_html_()


def accumulate():
    """Four passes for each step, on purpose."""
    net = build()
    optimizer = optim.SGD(net.parameters(), lr=0.3)
    with flow.watch(net, optimizer, every=4) as run:
        for step in range(24):
            for k in range(4):
                (run.loss(cost(net, 4 * step + k)) / 4).backward()
            optimizer.step()
            optimizer.zero_grad()
    return run


def frozen():
    net = build()
    net[0].requires_grad_(False)
    return train(net, optim.SGD(net[2].parameters(), lr=0.3), steps=40)


def two_optimizers():
    net = build()
    first, second = optim.SGD(net[0].parameters(), lr=0.3), half(net)
    return train(net, first, before=lambda *_: second.step(), after=lambda *_: second.zero_grad())


def closures():
    net = build()
    optimizer = optim.LBFGS(net.parameters(), lr=0.5, max_iter=4)
    with flow.watch(net, optimizer, every=2) as run:
        for _ in range(12):
            def closure():
                optimizer.zero_grad()
                loss = run.loss(cost(net))
                loss.backward()
                return loss
            optimizer.step(closure)
    return run


SOUND = {
    "plain": lambda: train(build()), "adam": lambda: train(net := build(), optim.Adam(net.parameters(), lr=0.01)),
    "decay": lambda: train(net := build(), optim.AdamW(net.parameters(), lr=0.01, weight_decay=0.1)),
    "clipped now and then": lambda: train(build(), before=clip(0.5)),
    "clipped always, and it learns": lambda: train(net := build(), optim.Adam(net.parameters(), lr=0.01),
                                                   before=clip(1e-3)),
    "cosine": lambda: scheduled(optim.lr_scheduler.CosineAnnealingLR, T_max=24),
    "warm-up": lambda: scheduled(optim.lr_scheduler.LinearLR, start_factor=1e-4, total_iters=8),
    "dropout, evaluated": lambda: train(build(nn.Dropout(0.1)), after=evaluate),
    "evaluated without modes": lambda: train(build(), after=lambda net, _: evaluate(net)),
    "batch norm": lambda: train(build(nn.BatchNorm1d(24)), after=evaluate),
    "accumulated": accumulate, "frozen": frozen, "two optimizers": two_optimizers, "closures": closures,
    "every step": lambda: train(build(), every=1)}


@pytest.mark.parametrize("name", SOUND)
def test_sound_loops_are_healthy(name):
    run = SOUND[name]()
    found = run.diagnose()
    assert found.healthy and found.doubt is None and not found.unseen, str(found)
    assert found.losses[-1] < found.losses[0] and len(found.layers) == len(run.record.layers) >= 1


def test_every_rule_has_its_sick_loop():
    rules = [*loop_rules.ALWAYS, *loop_rules.UNLESS_IT_LEARNS, *loop_rules.AT_LAST]
    asked = [next(rule.__name__ for rule in rules if rule(run)) for run in (loop() for _, _, loop in SICK)]
    assert sorted(set(asked)) == sorted(rule.__name__ for rule in rules)
    said = {verdict for verdict, _, _ in SICK}
    assert said == {loop_rules.STILL, *loop_rules.OWN, *loop_rules.IN_A_LOOP} - {loop_rules.HEALTHY}


def test_watching_changes_no_number():
    ours, theirs = build(), build()
    train(ours, every=1)
    optimizer = optim.SGD(theirs.parameters(), lr=0.3)
    for step in range(24):
        optimizer.zero_grad()
        cost(theirs, step).backward()
        optimizer.step()
    assert all((p.numpy() == q.numpy()).all() for p, q in zip(ours.parameters(), theirs.parameters()))


def test_nothing_is_left():
    net = build(nn.Dropout(0.5))
    optimizer = optim.SGD(net.parameters(), lr=0.3)
    with pytest.raises(ZeroDivisionError), flow.watch(net, optimizer) as run:
        cost(net).backward()
        optimizer.step()
        1 / 0
    assert "step" not in vars(optimizer) and run.steps == 1
    assert not any(module._hooks and any(module._hooks.values()) for module in net.modules())
    optimizer.step()
    assert run.steps == 1
    with run:
        optimizer.step()
    assert run.steps == 2


def test_copies_and_pickles_are_not_watched():
    net = build(nn.Dropout(0.1))
    optimizer = optim.SGD(net.parameters(), lr=0.3)
    with flow.watch(net, optimizer, every=1) as run:
        loss = run.loss(cost(net))
        others = [copy.deepcopy((net, optimizer)), pickle.loads(pickle.dumps((net, optimizer)))]
        for twin, steps in others:
            cost(twin).backward()
            steps.step()
        assert run.steps == 0 and optim.swa_utils.AveragedModel(net)(mgx.Tensor(X)).shape == (128, 10)
        loss.backward()
        optimizer.step()
    assert run.steps == 1 and not run.unseen and [layer.name for layer in run.record.layers] == ["0", "3"], run.unseen
    for twin, steps in others:
        assert (twin[0].weight.numpy() != net[0].weight.numpy()).any()
        assert twin[0].weight is steps.param_groups[0]["params"][0]


def test_numbers_of_a_step():
    net = build()
    optimizer = optim.SGD(net.parameters(), lr=0.25)
    start = [p.numpy().copy() for p in net.parameters()]
    with flow.watch(net, optimizer) as run:
        loss = run.loss(cost(net))
        loss.backward()
        grads = [p.grad.numpy().copy() for p in net.parameters()]
        optimizer.step()
    row, = run.rows
    np.testing.assert_allclose(row.gradients, [np.linalg.norm(g) for g in grads], rtol=1e-6)
    np.testing.assert_allclose(row.weights, [np.linalg.norm(w) for w in start], rtol=1e-6)
    np.testing.assert_allclose(row.updates, 0.25 * row.gradients, rtol=1e-4)
    assert row.loss == loss.item() and row.rate == 0.25 and row.clipped == pytest.approx(1.0)
    assert row.largest == pytest.approx(max(np.abs(g).max() for g in grads)) and run.names[0] == "0.weight"
    assert run.record["error"].shape == (1, 2) and run.strangers == 0


def test_the_vanishing_of_a_loop():
    layers = [nn.Linear(64, 24, rng=0), nn.Sigmoid()]
    for k in range(8):
        layers += [nn.Linear(24, 24, rng=k), nn.Sigmoid()]
    run = train(nn.Sequential(*layers, nn.Linear(24, 10, rng=9)), steps=16)
    found = run.diagnose()
    assert found.verdict == "vanishing backward" and found.advice == loop_rules.TRY and found.doubt is None
    blind = train(nn.Sequential(*layers, nn.Linear(24, 10, rng=9)), tell=False, steps=16).diagnose()
    assert blind.verdict == "vanishing backward" and "was not seen" in blind.doubt
    assert "the loss was not seen: tell it with run.loss(loss)" in blind.notes


def test_a_net_that_makes_no_mistake_from_the_start():
    net = nn.Linear(64, 1, rng=0)
    optimizer = optim.SGD(net.parameters(), lr=0.1)
    with flow.watch(net, optimizer) as run:
        for _ in range(12):
            optimizer.zero_grad()
            out = net(mgx.Tensor(X))
            run.loss(F.mse_loss(out, out.detach())).backward()
            optimizer.step()
    found = run.diagnose()
    assert found.healthy and "nothing is left to learn" in found.cause, str(found)


def test_series_are_thinned_evenly():
    run = train(build(), steps=400, every=1, keep=16)
    assert len(run.rows) <= 17 and len(run.losses) <= 17 and run.steps == 400
    steps = [row.step for row in run.rows]
    assert len(set(np.diff(steps)[3:])) == 1 and steps[0] == 0 and steps[-1] > 300
    assert run.diagnose().settings["measured"] == len(run.rows)


def test_what_fails_is_said_and_not_raised():
    class Odd(nn.Module):
        def __init__(self):
            self.linear = nn.Linear(64, 10, rng=0)

        def forward(self, x, scale=None):
            return {"logits": self.linear(x) * (1 if scale is None else scale)}

    net, tried = Odd(), []
    optimizer = optim.SGD(net.parameters(), lr=0.3)
    with flow.watch(net, optimizer, every=1) as run:
        run.layers._look_below = lambda x: tried.append(x) or 1 / 0
        run.on_measure(lambda run: [][0])
        for _ in range(12):
            optimizer.zero_grad()
            run.loss(F.cross_entropy(net(mgx.Tensor(X), scale=2.0)["logits"], Y)).backward()
            optimizer.step()
        run.loss("a word")
    found = run.diagnose()
    assert found.healthy and [what.partition(":")[0] for what in found.unseen] == [
        "layers from step 0 on", "a view (<lambda>)", "the loss that was given"]
    assert len(tried) == 1                              # it is not tried again


def interrupting(kind):
    """A function that the handler of a signal interrupts with such an error, whatever its arguments are."""
    def handle(number, frame):
        raise kind("from a handler")

    def interrupted(*args, **kwargs):
        signal.signal(signal.SIGINT, handle)
        signal.raise_signal(signal.SIGINT)
    return interrupted


@pytest.fixture
def handlers():
    """The handler of a signal is asked for while its error is on the way: it is put back at the end."""
    former = signal.getsignal(signal.SIGINT)
    yield
    signal.signal(signal.SIGINT, former)


def in_a_hook(kind):
    net = build()
    with flow.watch(net, optim.SGD(net.parameters(), lr=0.1), every=1) as run:
        run.layers._look_below = interrupting(kind)
        cost(net)


def in_a_view(kind):
    net = build()
    optimizer = optim.SGD(net.parameters(), lr=0.1)
    with flow.watch(net, optimizer, every=1) as run:
        run.on_measure(interrupting(kind))
        cost(net).backward()
        optimizer.step()


def in_removing(kind):
    net = build()
    with flow.watch(net, optim.SGD(net.parameters(), lr=0.1)) as run:
        run.handles[0].remove = interrupting(kind)


def in_a_cost(kind):
    interrupted = interrupting(kind)

    def judging(out, y):
        return F.cross_entropy(out, y) if out.requires_grad else interrupted()
    flow.diagnose(build(), judging, (X, Y), steps=2)


def in_a_loader(kind):
    interrupted = interrupting(kind)
    flow.diagnose(build(), F.cross_entropy, (interrupted() for _ in range(3)), steps=2)


def in_an_activation(kind):
    interrupted = interrupting(kind)
    assert elementwise(lambda x: interrupted()) is None


@pytest.mark.parametrize("kind", [ValueError, TypeError, OptionError])
@pytest.mark.parametrize("watched", [in_a_hook, in_a_view, in_removing, in_a_cost, in_a_loader, in_an_activation])
def test_what_the_handler_of_a_signal_raises_arrives(watched, kind, handlers):
    with pytest.raises(kind, match="^from a handler$"):
        watched(kind)


def test_captured_programs():
    net = build()
    optimizer = optim.SGD(net.parameters(), lr=0.3)

    @mgx.compile
    def step(x, y):
        optimizer.zero_grad()
        loss = F.cross_entropy(net(x), y)
        loss.backward()
        optimizer.step()
        return loss

    with flow.watch(net, optimizer) as run:
        losses = [step(mgx.Tensor(X), Y).item() for _ in range(8)]
    assert losses[-1] < losses[0]
    assert run.diagnose().unseen == ["steps of a captured program, which run without Python"]


def test_views_and_text():
    seen = []
    net = build()
    optimizer = optim.SGD(net.parameters(), lr=0.3)
    run = flow.watch(net, optimizer, every=4)
    assert run.status() == "Sequential: no step was seen yet"
    run.on_measure(lambda run: seen.append(run.status()))
    with run:
        for step in range(12):
            optimizer.zero_grad()
            run.loss(cost(net, step)).backward()
            optimizer.step()
    assert [text.split(",")[0] for text in seen] == [f"step {k}" for k in (0, 1, 2, 4, 8)]
    assert "loss" in seen[-1] and "rate 0.3" in seen[-1] and "least error" in seen[-1]
    found = run.diagnose()
    assert LoopDiagnosis.from_json(found.to_json()) == found and repr(found) == "<LoopDiagnosis: healthy>"
    with pytest.raises(FormatError, match="not what to_json wrote"):
        LoopDiagnosis.from_json("[1]")


@pytest.mark.parametrize("call, error, words", [
    (lambda net, opt: flow.watch(net, ("error", "q")), DTypeError, r"not \('error', 'q'\); give metrics by keyword"),
    (lambda net, opt: flow.watch(net, "error"), DTypeError, "the loop's optimizer, not 'error'"),
    (lambda net, opt: flow.watch(net, 0.1), DTypeError, "an Optimizer of microgradx, not float"),
    (lambda net, opt: flow.watch(net, net), DTypeError, "an Optimizer of microgradx, not Sequential"),
    (lambda net, opt: flow.watch(net, opt, full_every=8), OptionError, "full_every is for passes alone"),
    (lambda net, opt: flow.watch(net, opt, every=0), OptionError, "every is an integer >= 1, not 0"),
    (lambda net, opt: flow.watch(net, opt, keep=1), OptionError, "keep is an integer >= 2"),
    (lambda net, opt: flow.watch(nn.Tanh(), opt), OptionError, "Tanh has no parameter that requires a gradient"),
    (lambda net, opt: flow.watch(3, opt), DTypeError, "a Module of microgradx or torch, not int"),
    (lambda net, opt: [run := flow.watch(net, opt), run.__enter__(), run.__enter__()], OptionError, "is on already")])
def test_refusals(call, error, words):
    net = build()
    with pytest.raises(error, match=words):
        call(net, optim.SGD(net.parameters(), lr=0.1))
