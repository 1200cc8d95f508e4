"""Diagnoses of nets whose disease was planted: the verdict, the layer, a cure that works, and nothing of the caller's
changed.
"""
import gc
import json
import math
import random
import sys
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

import microgradx as mgx
from microgradx import flow, nn, optim
from microgradx.errors import DTypeError, Error, FormatError, GraphError, NonFiniteError, OptionError, ShapeError
from microgradx.flow import advice, diagnosis, functions, prescriptions, verdicts
from microgradx.flow import course as course_of
from microgradx.flow.report import Diagnosis
from microgradx.nn import functional as F

IMAGES, LABELS = (a[:256] for a in mgx.data.digits())
HOT = np.eye(10, dtype="float32")[LABELS]
SHUFFLED = np.random.default_rng(0).permutation(LABELS)


def mlp(activation, depth, width=32, var_w=1.0, var_b=0.0, seed=0, dtype="float32"):
    """64 - depth x width - 10, weights of variance ``var_w`` / n_in."""
    rng, layers, sizes = np.random.default_rng(seed), [], [64, *[width] * depth, 10]
    for n_in, n_out in zip(sizes, sizes[1:]):
        linear = nn.Linear(n_in, n_out, rng=rng, dtype=dtype)
        nn.init.normal_(linear.weight, 0.0, math.sqrt(var_w / n_in), rng)
        nn.init.normal_(linear.bias, 0.0, math.sqrt(var_b), rng)
        layers += [linear, activation()]
    return nn.Sequential(*layers[:-1])


def with_(net, change):
    change(net)
    return net


def fill(place, value):
    return lambda net: net[place].bias.data.fill_(value)


def shrink(place):
    return lambda net: net[place].weight.data.__imul__(1e-4)


def sgd(rate):
    return lambda net: optim.SGD(net.parameters(), lr=rate)


# net, cost, targets, optimizer, what is found, at which layer, the first prescription
PLANTED = {
    "deep sigmoid, Nielsen's initialisation": (
        lambda: mlp(nn.Sigmoid, 8, 64, 1.0, 1.0), F.cross_entropy, LABELS, None, "vanishing backward", None,
        "centre the sigmoids"),
    "tanh, old initialisation": (
        lambda: mlp(nn.Tanh, 16, 32, 1 / 3), F.cross_entropy, LABELS, None, "vanishing forward", None,
        "LSUV"),
    "weights too small": (
        lambda: mlp(nn.ReLU, 8, 64, 0.1), F.cross_entropy, LABELS, None, "vanishing forward", None,
        "LSUV"),
    "one layer too small": (
        lambda: with_(mlp(nn.Tanh, 5), shrink(6)), F.cross_entropy, LABELS, sgd(0.01), "vanishing forward", "6",
        "LSUV"),
    "one layer too small, healed by its first steps": (
        lambda: with_(mlp(nn.Tanh, 5), shrink(6)), F.cross_entropy, LABELS, None, "healthy", None, None),
    "weights too large": (
        lambda: mlp(nn.ReLU, 8, 64, 20.0), F.cross_entropy, LABELS, None, "exploding", None,
        "LSUV"),
    "weights zero": (
        lambda: mlp(nn.Tanh, 3, 32, 0.0), F.cross_entropy, LABELS, None, "symmetric weights", "0",
        "LSUV"),
    "dead ReLUs": (
        lambda: with_(mlp(nn.ReLU, 4, 32, 2.0), fill(2, -1000.0)), F.cross_entropy, LABELS, None, "dying units", "2",
        "critical initialisation"),
    "saturated tanh": (
        lambda: mlp(nn.Tanh, 5, 64, 400.0), F.cross_entropy, LABELS, None, "saturation", None,
        "critical initialisation"),
    "saturated sigmoid and quadratic cost": (
        lambda: nn.Sequential(*with_(mlp(nn.Tanh, 1), fill(2, -12.0)), nn.Sigmoid()), F.quadratic_cost, HOT, sgd(0.5),
        "saturation", "2", "logits"),
    "rate too large": (
        lambda: mlp(nn.ReLU, 3, 64, 2.0), F.cross_entropy, LABELS, sgd(4.0), "rate too large", None,
        "another rate"),
    "rate too small": (
        lambda: mlp(nn.ReLU, 3, 64, 2.0), F.cross_entropy, LABELS, sgd(5e-4), "rate too small", None,
        "another rate"),
    "healthy": (
        lambda: mlp(nn.ReLU, 3, 64, 2.0), F.cross_entropy, LABELS, None, "healthy", None, None),
    "healthy, Adam, float64": (
        lambda: mlp(nn.Tanh, 3, dtype="float64"), F.cross_entropy, LABELS,
        lambda net: optim.Adam(net.parameters(), lr=1e-2), "healthy", None, None),
    "labels that say nothing": (
        lambda: mlp(nn.ReLU, 3, 64, 2.0), F.cross_entropy, SHUFFLED, None, "not a gradient-flow problem", None, None)}


def diagnosed(name, **options):
    build, cost, targets, optimizer, *_ = PLANTED[name]
    net = build()
    return flow.diagnose(net, cost, (IMAGES, targets), optimizer and optimizer(net), **options)


@pytest.mark.parametrize("name", PLANTED)
def test_planted_causes_are_found_and_the_first_prescription_cures(name):
    *_, verdict, layer, first = PLANTED[name]
    found = diagnosed(name, most=1)
    assert found.verdict == verdict, str(found)
    assert layer is None or found.layer == layer
    assert [p["name"] for p in found.prescriptions] == [first] * (first is not None)
    if first:
        assert found.before["elsewhere"] is None or found.before["elsewhere"] < 0.1, str(found)
        assert found.cure and found.cure["after"]["elsewhere"] >= 0.1, str(found)
        assert len(found.cure["after"]["losses"]) == 101
    assert found.healthy == (verdict == "healthy") and found.cause in str(found)


OUT_OF_SCALE = {
    "not centred": (lambda: mlp(nn.ReLU, 3, 64, 2.0), F.cross_entropy, IMAGES + 8, LABELS, "inputs of mean 8.31"),
    "large": (lambda: mlp(nn.ReLU, 3, 64, 2.0), F.cross_entropy, IMAGES * 1000, LABELS, "inputs of mean 309"),
    "small": (lambda: mlp(nn.ReLU, 3, 64, 2.0), F.cross_entropy, IMAGES / 1000, LABELS, "inputs of mean 0.000309"),
    "large targets": (lambda: nn.Sequential(*mlp(nn.Tanh, 1)[:-1], nn.Linear(32, 1, rng=0)), F.mse_loss, IMAGES,
                      1e4 * IMAGES[:, :8].sum(1, keepdims=True), "targets of mean 2.1e")}


@pytest.mark.parametrize("name", OUT_OF_SCALE)
def test_data_out_of_scale(name):
    build, cost, x, y, words = OUT_OF_SCALE[name]
    found = flow.diagnose(build(), cost, (x, y), most=1)
    assert found.verdict == "data out of scale" and words in found.cause, str(found)
    first, = found.prescriptions
    assert first["name"].startswith("standardise the") and first["trains"]


@pytest.mark.parametrize("cost, target", [(F.cross_entropy, LABELS), (F.mse_loss, HOT)], ids=["labels", "numbers"])
def test_a_cost_with_the_wrong_sign(cost, target):
    found = flow.diagnose(mlp(nn.ReLU, 1), lambda out, y: -cost(out, y), (IMAGES, target))
    assert found.verdict == prescriptions.ENDLESS and found.cure["name"] == "the cost's other sign"
    assert found.cure["after"]["learned"] > 0.3 and found.prescriptions[0] is found.cure


def test_what_helps_most_stands_first_at_the_rate_that_suits_it():
    """A rate that no power of ten leads to from the one given, which must be a hundred thousand times as large."""
    net = mlp(nn.ReLU, 1)
    found = flow.diagnose(net, F.cross_entropy, (IMAGES, LABELS), sgd(3e-6)(net))
    assert found.verdict == prescriptions.SLOW and found.prescriptions[0] is found.cure
    assert found.cure["after"]["elsewhere"] > 0.7


def test_rates_are_tried_before_anything_else_is_blamed():
    """The default weights of three ReLU layers lose an error of 10^1.5, yet with Adam it is only the rate."""
    for lr, verdict in ((1e-6, "rate too small"), (1e-3, "healthy"), (1.0, "rate too large")):
        net = nn.Sequential(*mlp(nn.ReLU, 3, 48, 1 / 3))
        found = flow.diagnose(net, F.cross_entropy, (IMAGES, LABELS), optim.Adam(net.parameters(), lr=lr), most=0)
        assert found.verdict == verdict, str(found)
        assert found.healthy or "it learns" in found.cause and "instead of" in found.cause


def test_what_is_learned_by_heart_is_no_cure():
    found = flow.diagnose(mlp(nn.ReLU, 5, 48, 1 / 3), F.cross_entropy, (IMAGES, SHUFFLED), most=1)
    assert not found.prescriptions[0]["trains"] or any("look at the labels" in note for note in found.notes), str(found)


def test_cuts_of_ones_own_are_those_of_every_trial():
    name = "deep sigmoid, Nielsen's initialisation"
    assert any(p["trains"] for p in diagnosed(name, most=2).prescriptions)
    strict = diagnosed(name, most=2, cuts={"better": 1e9})
    assert len(strict.prescriptions) == 2 and not any(p["trains"] for p in strict.prescriptions), str(strict)
    build, cost, targets, *_ = PLANTED[name]
    course = diagnosis.course(build(), cost, (IMAGES, targets), steps=5, cuts={"learned": 0.7})
    courses = course, course.longer, course.after(prescriptions.rate(course, 2.0))
    assert [c.cuts["learned"] for c in courses] == [0.7] * 3


def test_evidence_stands_beside_theory():
    found = diagnosed("deep sigmoid, Nielsen's initialisation", most=0)
    lost = found.evidence[0]
    assert lost["name"] == "decades of error lost" and abs(lost["measured"] - lost["expected"]) < 0.4
    for row in found.layers[:-1]:
        assert row["gain"] == pytest.approx(row["by_weights"] * row["by_slope"], rel=1e-9)
    slopes = [row["by_slope"] for row in found.layers[1:-1]]
    assert np.exp(np.log(slopes).mean()) == pytest.approx(math.sqrt(0.0419597), rel=0.05)       # var_w = 1: all of chi
    assert not found.prescriptions and found.cure is None


class Listed(nn.Module):
    """Its middle layers stand in a list, which nobody searches."""

    def __init__(self):
        self.a, self.b = nn.Linear(64, 10, rng=0), nn.Linear(10, 10, rng=1)
        self.inner = [nn.Linear(10, 10, rng=k) for k in range(2)]

    def forward(self, x):
        x = self.a(x)
        for layer in self.inner:
            x = layer(x).tanh()
        return self.b(x)


class Attending(nn.Module):
    def __init__(self):
        self.block, self.out = nn.TransformerEncoderLayer(8, 2, 16, 0.0, batch_first=True), nn.Linear(8, 10, rng=0)

    def forward(self, x):
        return self.out(self.block(x.reshape(len(x), 8, 8)).mean(1))


class Remembering(nn.Module):
    def __init__(self):
        self.cell, self.out = nn.LSTM(8, 8, batch_first=True), nn.Linear(8, 10, rng=0)

    def forward(self, x):
        return self.out(self.cell(x.reshape(len(x), 8, 8))[0][:, -1])


class Folding(mgx.autograd.Function):
    """x, whose derivative has lost its sign."""

    @staticmethod
    def forward(ctx, x):
        return x * 1.0

    @staticmethod
    def backward(ctx, g):
        return g.abs()


class Through(nn.Module):
    """A function as a module."""

    def __init__(self, function):
        self.function = function

    def forward(self, x):
        return self.function(x)


def ending(*layers):
    return nn.Sequential(nn.Linear(64, 10, rng=0), *layers)


def narrow(*widths):
    layers = [part for n, m in zip((64, *widths), widths) for part in (nn.Linear(n, m, rng=m), nn.ReLU())]
    return nn.Sequential(*layers, nn.Linear(widths[-1], 10, rng=0))


def residual():
    net = mlp(nn.ReLU, 3)
    return nn.Sequential(net[:2], *(nn.Residual(nn.Sequential(net[k], nn.ReLU(), nn.Linear(32, 32, rng=k)))
                                    for k in (2, 4)), net[-1])


RARE = (LABELS == 3).astype(int)
USUAL = (lambda: mlp(nn.ReLU, 3)), F.cross_entropy, IMAGES, LABELS, {}
# a prescription: the net, cost, inputs, targets and options for which it makes something
PRESCRIBED = {
    "logits": (lambda: ending(nn.Softmax(1)), F.cross_entropy, IMAGES, LABELS, {}),
    "no activation at the output": (lambda: ending(nn.ReLU()), F.mse_loss, IMAGES, HOT - 2, {}),
    "cross-entropy for log-probabilities": (lambda: ending(), F.nll_loss, IMAGES, LABELS, {}),
    "the cost's other sign": (lambda: mlp(nn.ReLU, 1), lambda out, y: -F.cross_entropy(out, y), IMAGES, LABELS, {}),
    "targets in the outputs' shape": (lambda: nn.Linear(64, 1, rng=0), lambda out, y: (
        out - mgx.Tensor(y)).square().mean(), IMAGES, IMAGES[:, 5], {}),
    "nan gradients count as 0": (lambda: with_(nn.Linear(64, 1, rng=0), lambda net: [p.data.zero_() for p in
                                                                                 net.parameters()]),
                               lambda out, y: F.mse_loss(out, y).sqrt(), IMAGES, np.zeros((256, 1), "float32"), {}),
    "the library's derivative": (lambda: ending(nn.Tanh(), Through(Folding.apply), nn.Linear(10, 10, rng=1)),
                                 F.cross_entropy, IMAGES, LABELS, {}),
    "register the layers": (Listed, F.cross_entropy, IMAGES, LABELS, {}),
    "train all parameters": (lambda: mlp(nn.ReLU, 1), F.cross_entropy, IMAGES, LABELS,
                             {"optimizer": lambda net: optim.SGD(net[2].parameters(), lr=0.1)}),
    "minimise the cost": (lambda: mlp(nn.ReLU, 1), F.cross_entropy, IMAGES, LABELS,
                          {"optimizer": lambda net: optim.SGD(net.parameters(), lr=0.1, maximize=True)}),
    **dict.fromkeys(("another rate", "only another rate"), (
        lambda: mlp(nn.ReLU, 2), F.cross_entropy, IMAGES, LABELS,
        {"optimizer": lambda net: optim.SGD(net.parameters(), lr=0.01), "steps": 30})),
    "a constant rate": (lambda: mlp(nn.ReLU, 1), F.cross_entropy, IMAGES, LABELS,
                        {"schedule": lambda optimizer: optim.lr_scheduler.StepLR(optimizer, 1, 0.5)}),
    "no weight decay": (lambda: mlp(nn.ReLU, 1), F.cross_entropy, IMAGES, LABELS,
                        {"optimizer": lambda net: optim.SGD(net.parameters(), lr=0.1, weight_decay=1.0)}),
    "less dropout": (lambda: nn.Sequential(nn.Dropout(0.9), *mlp(nn.ReLU, 1)), F.cross_entropy, IMAGES, LABELS, {}),
    "an activation": (lambda: nn.Sequential(nn.Linear(64, 20, rng=0), nn.Linear(20, 10, rng=1)), F.cross_entropy,
                      IMAGES, LABELS, {}),
    "standardise inputs and targets": (lambda: mlp(nn.ReLU, 1), F.mse_loss, IMAGES * 100, HOT * 1000, {}),
    "standardise the inputs": (lambda: mlp(nn.ReLU, 1), F.cross_entropy, IMAGES * 100, LABELS, {}),
    "standardise the targets": (lambda: mlp(nn.ReLU, 1), F.mse_loss, IMAGES, HOT * 1000, {}),
    "the mean over the rows": (lambda: mlp(nn.ReLU, 1), lambda out, y: F.cross_entropy(out, y, reduction="sum"), IMAGES,
                               LABELS, {}),
    "delta-orthogonal convolutions": (lambda: nn.Sequential(
        Through(lambda x: x.reshape(-1, 1, 8, 8)), nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Conv2d(4, 6, 3), nn.ReLU(),
        nn.Flatten(), nn.Linear(96, 10, rng=0)), F.cross_entropy, IMAGES, LABELS, {}),
    "tailored leaky ReLUs": (lambda: mlp(nn.ReLU, 24), F.cross_entropy, IMAGES, LABELS, {}),
    "widen a bottleneck": (lambda: narrow(30, 2, 30, 30, 30, 30), F.cross_entropy, IMAGES, LABELS, {}),
    "weights for the classes": (lambda: nn.Linear(64, 2, rng=0), F.cross_entropy, IMAGES, RARE, {}),
    "scale the branches": (residual, F.cross_entropy, IMAGES, LABELS, {}),
    "zero the last weights of branches": (residual, F.cross_entropy, IMAGES, LABELS, {}),
    "centre the sigmoids": (lambda: mlp(nn.Sigmoid, 3), F.cross_entropy, IMAGES, LABELS, {}),
    "tanh for sigmoid": (lambda: mlp(nn.Sigmoid, 3), F.cross_entropy, IMAGES, LABELS, {}),
    "normalise before the branches": (Attending, F.cross_entropy, IMAGES, LABELS, {}),
    "orthogonal recurrence": (Remembering, F.cross_entropy, IMAGES, LABELS, {}),
    "forget gates that begin open": (Remembering, F.cross_entropy, IMAGES, LABELS, {})}


def state(run):
    """All that a prescription may change, as text and numbers."""
    return (repr(run.model), [run.engine.array(p).tolist() for p in run.model.parameters()],
            [{k: v for k, v in group.items() if k != "params"} for group in run.groups], run.schedule is None,
            [len(group["params"]) for group in run.groups], len(vars(run.optimizer)),
            [m.norm_first for m in run.model.modules() if isinstance(m, nn.TransformerEncoderLayer)],
            [bool(m._hooks) for m in run.model.modules()])


TORCHS = "off the point of infinite slope", "keep the graph"
OURS = [row for row in prescriptions.PRESCRIPTIONS if row.name not in TORCHS]


@pytest.mark.parametrize("row", OURS, ids=lambda row: row.name)
def test_every_prescription_is_for_a_verdict_and_changes_a_copy_only(row):
    assert set(row.against) <= set(verdicts.VERDICTS)
    build, cost, x, y, options = PRESCRIBED.get(row.name, USUAL)
    net = build()
    optimizer = options.get("optimizer", lambda net: optim.SGD(net.parameters(), lr=0.1))(net)
    schedule = options["schedule"](optimizer) if "schedule" in options else None
    course = diagnosis.course(net, cost, (x, y), optimizer, options.get("steps", 2), schedule=schedule)
    change, before, backward = row.make(course), repr(state(course.origin)), Folding.backward
    assert change.words and change.lines
    twin = course.origin.copy()
    untouched = repr(state(twin))
    twin.change(change.lines, change.judges)
    assert repr(state(twin)) != untouched or twin.cost is not cost or Folding.backward is not backward
    assert repr(state(course.origin)) == before and course.origin.cost is cost
    output, loss = twin.loss(twin.batch(0))
    loss.backward()
    twin.step(twin.batch(0))
    assert (twin.judge is cost) == (not change.judges) and math.isfinite(twin.judged([twin.batch(0)]))
    assert course.origin.copy() and Folding.backward is backward


@pytest.mark.parametrize("row", OURS, ids=lambda row: row.name)
def test_frozen_layers_are_left_alone(row):
    """One in front, and one in the middle of the nets that are deep enough."""
    build, cost, x, y, options = PRESCRIBED.get(row.name, USUAL)
    net = build()
    optimizer = options.get("optimizer", sgd(0.1))(net)
    schedule = options["schedule"](optimizer) if "schedule" in options else None
    linears = [m for m in net.modules() if isinstance(m, nn.Linear)]
    model = nn.Sequential(nn.Linear(64, 64, rng=0), net)
    nn.init.eye_(model[0].weight)
    frozen = [model[0], *linears[(len(linears) - 1) // 2:][:len(linears) > 2]]
    for module in frozen:
        module.requires_grad_(False)
    course = diagnosis.course(model, cost, (x, y), optimizer, options.get("steps", 2), schedule=schedule)
    change, twin = row.make(course), course.origin.copy()
    kept = [twin.model.get_submodule(name) for name, m in model.named_modules() if any(m is other for other in frozen)]
    before = [p.numpy().copy() for m in kept for p in m.parameters()]
    twin.change(change.lines, change.judges)
    assert len(before) == 2 * len(frozen)
    assert not any(m._hooks and any(m._hooks.values()) for m in kept)
    assert all(any(m is other for other in twin.model.modules()) for m in kept)
    for p, numbers in zip((p for m in kept for p in m.parameters()), before):
        np.testing.assert_array_equal(p.numpy(), numbers)
    course.origin.copy()                                            # which lets functions be as they were


def test_centred_sigmoids_are_a_tanh_net():
    """tanh(z) = 2 sigmoid(2z) - 1: with W = 4V, b = -sum(W)/2 every z is twice that of a tanh net with V."""
    net = mlp(nn.Sigmoid, 4, dtype="float64")
    course = diagnosis.course(net, F.cross_entropy, (IMAGES, LABELS), steps=1)
    twin = course.origin.copy()
    twin.change(prescriptions._centre(course).lines)
    other = mlp(nn.Tanh, 4, dtype="float64")
    for k, (a, b) in enumerate(zip(list(twin.model)[::2], list(other)[::2])):
        b.weight.data.copy_(a.weight / (2.0 if k in (0, 4) else 4.0))
        b.bias.data.zero_()
    x = mgx.Tensor(IMAGES.astype("float64"))
    np.testing.assert_allclose(twin.model(x).detach().numpy(), other(x).detach().numpy(), rtol=1e-9, atol=1e-12)


# ----- nothing of the caller's changes -------------------------------------------------------------------------------

def everything(net):
    return ([p.numpy() for p in net.parameters()], [b.numpy() for b in net.buffers()],
            [module.training for module in net.modules()], random.getstate(), str(np.random.get_state()),
            mgx.get_rng_state().tolist())


def noisy():
    """A net with buffers, dropout and hooks that take note."""
    net = nn.Sequential(nn.Linear(64, 20, rng=0), nn.BatchNorm1d(20), nn.ReLU(), nn.Dropout(0.3),
                        nn.Linear(20, 10, rng=1))
    seen = []
    net[0].register_forward_hook(lambda module, args, out: seen.append(module))
    return net.eval(), seen


@pytest.mark.parametrize("cost", [F.cross_entropy, lambda out, y: 1 / 0, lambda out, y: None], ids=["works", "raises",
                                                                                                   "None"])
def test_the_caller_finds_all_as_it_was(cost):
    mgx.random.manual_seed(3)
    net, seen = noisy()
    F.cross_entropy(net(mgx.Tensor(IMAGES)), LABELS).backward()
    seen.clear()
    before, grads = everything(net), [(p.grad, p.grad.numpy()) for p in net.parameters()]
    optimizer = optim.Adam(net.parameters(), lr=0.01)
    try:
        flow.diagnose(net, cost, (IMAGES, LABELS), optimizer, steps=3)
    except (Error, ZeroDivisionError):
        pass
    for a, b in zip(before, everything(net)):
        assert repr(a) == repr(b)
    assert all(np.array_equal(a, b) for k in (0, 1) for a, b in zip(before[k], everything(net)[k]))
    assert all(p.grad is g and np.array_equal(g.numpy(), n) for p, (g, n) in zip(net.parameters(), grads))
    assert len(seen) <= 2 and not any(module is net[0] for module in seen) and len(net[0]._hooks["after"]) == 1
    assert all(slot["step"].item() == 0 for slot in optimizer.state.values())


def test_diagnoses_repeat():
    first, second = (diagnosed("weights too small", most=1) for _ in range(2))
    assert first == second
    net, _ = noisy()
    one, two = (flow.diagnose(net, F.cross_entropy, (IMAGES, LABELS), steps=5) for _ in range(2))
    assert one == two and one.before["losses"] != flow.diagnose(
        net, F.cross_entropy, (IMAGES, LABELS), steps=5, seed=1).before["losses"]


def test_the_optimizer_is_copied_with_its_groups():
    net = mlp(nn.Tanh, 2)
    groups = [{"params": net[0].parameters(), "lr": 0.0}, {"params": net[2].parameters(), "lr": 0.5}]
    course = diagnosis.course(net, F.cross_entropy, (IMAGES, LABELS), optim.SGD(groups, lr=0.1), steps=2)
    trained = [not np.array_equal(a.numpy(), b.numpy())
               for a, b in zip(course.run.model.parameters(), net.parameters())]
    assert trained == [False, False, True, True, False, False]


# ----- bad input -----------------------------------------------------------------------------------------------------

X = np.random.default_rng(0).standard_normal((64, 6)).astype("float32")
Y = (X[:, 0] > 0).astype(int) + (X[:, 1] > 0)


class Odd(nn.Module):
    """Three layers and what is done between the second and the third."""

    def __init__(self, forward):
        self.a, self.b, self.c = nn.Linear(6, 16, rng=0), nn.Linear(16, 16, rng=1), nn.Linear(16, 3, rng=2)
        self.function = forward

    def forward(self, x):
        return self.function(self, x)


class Branching(nn.Module):
    """Its first layer is asked for nothing."""

    def __init__(self):
        self.b, self.a, self.c = nn.Linear(6, 16, rng=0), nn.Linear(6, 16, rng=1), nn.Linear(16, 3, rng=2)

    def forward(self, x):
        self.b(x).tanh()
        return self.c(self.a(x).tanh())


def small():
    return nn.Sequential(nn.Linear(6, 16, rng=0), nn.Tanh(), nn.Linear(16, 3, rng=1))


def frozen(net, *places):
    for place in places:
        net[place].requires_grad_(False)
    return net


def overflowing():
    net = nn.Sequential(nn.Linear(6, 16, rng=0), nn.ReLU(), nn.Linear(16, 16, rng=1), nn.ReLU(),
                        nn.Linear(16, 3, rng=2))
    for layer in net[::2]:
        layer.weight.data.__imul__(1e30)
    return net


SELF = small()
REFUSED = {
    "no parameters": (lambda: flow.diagnose(nn.Tanh(), F.cross_entropy, (X, Y)), OptionError, "Tanh has no parameters"),
    "no module": (lambda: flow.diagnose(3, F.cross_entropy, (X, Y)), DTypeError,
                  "a Module of microgradx or torch, not int"),
    "no function": (lambda: flow.diagnose(small(), 3, (X, Y)), DTypeError, "loss_fn is a function"),
    "no pair": (lambda: flow.diagnose(small(), F.cross_entropy, X), ShapeError, "a pair .*, not ndarray"),
    "all frozen": (lambda: flow.diagnose(frozen(small(), 0, 2), F.cross_entropy, (X, Y)), OptionError,
                   "all 4 parameters of Sequential are frozen"),
    "one row": (lambda: flow.diagnose(small(), F.cross_entropy, (X[:1], Y[:1])), ShapeError, "two rows or more"),
    "no rows": (lambda: flow.diagnose(small(), F.cross_entropy, (X[:0], Y[:0])), ShapeError, "two rows or more"),
    "nan among weights": (lambda: flow.diagnose(with_(small(), fill(0, math.nan)), F.cross_entropy, (X, Y)),
                          NonFiniteError, "16 of the 16 numbers of '0.bias'"),
    "nan among inputs": (lambda: flow.diagnose(small(), F.cross_entropy, (X * math.inf, Y)), NonFiniteError, "inputs"),
    "nan among targets": (lambda: flow.diagnose(small(), F.mse_loss, (X, np.full((64, 3), math.nan, "float32"))),
                          NonFiniteError, "the first cost is nan"),
    "a cost that is nan": (lambda: flow.diagnose(small(), lambda out, y: (out.sum() * 0 - 1).log(), (X, Y)),
                           NonFiniteError, "the first cost is nan"),
    "a cost that is None": (lambda: flow.diagnose(small(), lambda out, y: None, (X, Y)), ShapeError, "not NoneType"),
    "a cost per row": (lambda: flow.diagnose(small(), lambda out, y: out, (X, Y)), ShapeError,
                       r"returns a tensor of one element, not shape \(64, 3\)"),
    "a cost of something else": (lambda: flow.diagnose(small(), lambda out, y: nn.Parameter(1.0).square(), (X, Y)),
                                 GraphError, "no error arrives at any layer"),
    "a cost of the model": (lambda: flow.diagnose(SELF, lambda out, y: F.cross_entropy(out, y)
                                                  + SELF[0].weight.square().sum(), (X, Y)), GraphError,
                            "the cost uses the model itself"),
    "a wrong shape": (lambda: flow.diagnose(small(), F.cross_entropy, (X[:, :5], Y)), ShapeError, "linear"),
    "another's optimizer": (lambda: flow.diagnose(small(), F.cross_entropy, (X, Y), sgd(0.1)(small())), OptionError,
                            "holds no parameter of Sequential"),
    "a rate": (lambda: flow.diagnose(small(), F.cross_entropy, (X, Y), 0.1), DTypeError,
               "an Optimizer of microgradx or None, not float"),
    "no steps": (lambda: flow.diagnose(small(), F.cross_entropy, (X, Y), steps=0), OptionError, "steps is an integer"),
    "half a prescription": (lambda: flow.diagnose(small(), F.cross_entropy, (X, Y), most=0.5), OptionError, "most"),
    "a negative seed": (lambda: flow.diagnose(small(), F.cross_entropy, (X, Y), seed=-1), OptionError, "seed"),
    "a cut that is none": (lambda: flow.diagnose(small(), F.cross_entropy, (X, Y), cuts={"speed": 1}), OptionError,
                           "'speed'")}


@pytest.mark.parametrize("name", REFUSED)
def test_bad_input_is_refused_in_a_sentence(name):
    call, error, words = REFUSED[name]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(error, match=words):
            call()
    assert SELF[0].weight.grad is None


ODD = {
    "a cut graph": (lambda: Odd(lambda m, x: m.c(m.b(m.a(x).tanh()).tanh().detach())), "cut graph", "b", None),
    "an overflow": (overflowing, "exploding", "2", None),
    "a layer that never runs": (lambda: Odd(lambda m, x: m.c(m.a(x).tanh())), "healthy", None, "b never ran"),
    "an unused branch": (lambda: Odd(lambda m, x: (m.b(h := m.a(x).tanh()), m.c(h))[1]), "healthy", None,
                         "b ran, but the cost does not depend on it"),
    "an unused branch that runs first": (lambda: Branching(), "healthy", None,
                                         "b ran, but the cost does not depend on it"),
    "a shared module": (lambda: Odd(lambda m, x: m.c(m.b(m.b(m.a(x).tanh()).tanh()).tanh())), "healthy", None,
                        "b runs more than once in a pass"),
    "a frozen layer": (lambda: frozen(small(), 0), "healthy", None, "0 is frozen"),
    "one layer": (lambda: nn.Linear(6, 3, rng=0), "healthy", None, None),
    "a constant cost": (lambda: Odd(lambda m, x: m.c(m.b(m.a(x).tanh()).tanh()).detach()), "cut graph", None, None),
    "inputs that do not matter": (lambda: Odd(lambda m, x: m.c(m.b(m.a(x * 0).tanh()).tanh())),
                                  "not a gradient-flow problem", None, None)}


@pytest.mark.parametrize("name", ODD)
def test_odd_nets_get_a_verdict(name):
    build, verdict, layer, note = ODD[name]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = flow.diagnose(build(), F.cross_entropy, (X, Y), steps=200, most=0)
    assert (found.verdict, found.layer) == (verdict, layer), str(found)
    assert note is None or note in found.notes
    assert Diagnosis.from_json(found.to_json()) == found


def test_a_wrong_derivative_is_found():
    class Wrong(nn.Module):
        def forward(self, x):                                       # tanh, whose gradient arrives with the other sign
            y = x.tanh()
            return y.detach() * 2 - y
    net = nn.Sequential(nn.Linear(6, 16, rng=0), Wrong(), nn.Linear(16, 3, rng=1))
    net[2].requires_grad_(False)
    found = flow.diagnose(net, F.cross_entropy, (X, Y), most=0)
    assert found.verdict == "wrong gradient" and found.evidence[0]["measured"] == pytest.approx(-1, abs=0.1)


class Cubed(mgx.autograd.Function):
    """x^3 + y, of two arguments and a number, with a derivative that is half of what it should be for x."""

    @staticmethod
    def forward(ctx, x, n, y):
        ctx.save_for_backward(x)
        return x ** n + y, y * 2

    @staticmethod
    def backward(ctx, g, h):
        x, = ctx.saved_tensors
        return 1.5 * x.square() * g, None, g + 2 * h


class Right(Cubed):
    @staticmethod
    def backward(ctx, g, h):
        x, = ctx.saved_tensors
        return 3 * x.square() * g, None, g + 2 * h


class Rounded(Folding):
    @staticmethod
    def forward(ctx, x):
        return (x * 8).round() / 8

    @staticmethod
    def backward(ctx, g):
        return g


@pytest.mark.parametrize("function, ratio", [(Cubed, (0.3, 0.9)), (Right, None), (Rounded, None), (Folding, (-1, 1))])
def test_wrong_derivatives_are_named(function, ratio):
    """Of functions that are called; one that rounds has none that could be compared."""
    def call(x):
        return function.apply(x) if issubclass(function, Folding) else function.apply(3 * x, 3, x)[0]
    net = nn.Sequential(nn.Linear(64, 10, rng=0), Through(call), nn.Linear(10, 10, rng=1))
    parts = dict(vars(function))
    run = diagnosis.run_of(net, F.cross_entropy)
    run.draw((IMAGES, LABELS), 1)
    found = functions.slips(run)
    assert [slip.function for slip in found] == [function] * (ratio is not None)
    assert dict(vars(function)) == parts
    for slip in found:
        assert ratio[0] < slip.ratio < ratio[1] and slip.error > functions.AGREES


def test_what_the_library_derives_cures_a_wrong_derivative():
    """The caller's classes are afterwards as they were."""
    net = ending(nn.Tanh(), nn.Linear(10, 10, rng=1), Through(Folding.apply))
    parts = dict(vars(Folding))
    found = flow.diagnose(net, F.cross_entropy, (IMAGES, LABELS), optim.Adam(net.parameters(), lr=0.01))
    assert dict(vars(Folding)) == parts
    assert found.verdict == "wrong gradient" and "the derivative of Folding is wrong" in found.cause, str(found)
    assert found.cure["name"] == "the library's derivative" and found.prescriptions[0] is found.cure
    assert "mgx.autograd.gradcheck(Folding.apply, x)" in found.cause


def test_the_librarys_derivative_is_that_of_the_forward_pass():
    """Several results and arguments, of which one is a number."""
    x = IMAGES[:, :10]
    net = nn.Sequential(nn.Linear(64, 10, rng=0), Through(lambda x: Cubed.apply(x, 3, x)[0]))
    course = diagnosis.course(net, F.cross_entropy, (IMAGES, LABELS), steps=1)
    twin, backward = course.origin.copy(), Cubed.backward
    twin.change(prescriptions.DERIVED.make(course).lines)
    try:
        at = mgx.Tensor(x, requires_grad=True)
        results = Cubed.apply(at, 3, at)
        sum(r.sum() for r in results).backward()
        np.testing.assert_allclose(at.grad.numpy(), 3 * x ** 2 + 3, rtol=1e-5)
    finally:
        course.origin.copy()
    assert Cubed.backward is backward


# ----- on workers ----------------------------------------------------------------------------------------------------

def tried_on(executor, store=None):
    net = mlp(nn.Sigmoid, 4)
    found = flow.diagnose(net, F.cross_entropy, (IMAGES, LABELS), sgd(0.1)(net), steps=40, executor=executor,
                          store=store)
    assert found.prescriptions
    return found


def test_workers_find_what_a_loop_finds(tmp_path):
    """Also threads, and a second call, which goes on from what was kept."""
    here = tried_on(None)
    with ThreadPoolExecutor(2) as threads:
        assert tried_on(threads) == here
    assert tried_on("processes=2", tmp_path) == here
    kept = sorted(tmp_path.iterdir())
    assert len(kept) == len(here.prescriptions)
    before = [path.stat().st_mtime_ns for path in kept]
    assert tried_on("processes=1", tmp_path) == here
    assert sorted(tmp_path.iterdir()) == kept and [path.stat().st_mtime_ns for path in kept] == before


def test_what_cannot_be_sent_to_a_worker_is_refused():
    net = mlp(nn.Sigmoid, 4)
    with pytest.raises(OptionError, match="cannot be sent to a worker"):
        flow.diagnose(net, lambda out, y: F.cross_entropy(out, y), (IMAGES, LABELS), steps=10, executor="processes=1")


# ----- the rest ------------------------------------------------------------------------------------------------------

def test_assert_gradient_flow():
    flow.assert_gradient_flow(mlp(nn.ReLU, 3, 64, 2.0), F.cross_entropy, (IMAGES, LABELS))
    sick = mlp(nn.Sigmoid, 6)
    with pytest.raises(AssertionError, match=r"vanishing backward at \d+: decades of error lost is \d\.\d+, the bound"):
        flow.assert_gradient_flow(sick, F.cross_entropy, (IMAGES, LABELS))
    flow.assert_gradient_flow(sick, F.cross_entropy, (IMAGES, LABELS), decades=9)
    with pytest.raises(AssertionError, match="dying units at 2: dead share is 1, the bound 0.9"):
        flow.assert_gradient_flow(PLANTED["dead ReLUs"][0](), F.cross_entropy, (IMAGES, LABELS))
    with pytest.raises(OptionError, match="has no parameters"):
        flow.assert_gradient_flow(nn.Tanh(), F.cross_entropy, (IMAGES, LABELS))


@pytest.mark.parametrize("name", ["deep sigmoid, Nielsen's initialisation", "weights too large", "healthy"])
def test_one_diagnosis_in_every_form(name, capsys, monkeypatch):
    pytest.importorskip("matplotlib")
    found = diagnosed(name, steps=20)
    assert json.loads(found.to_json())["verdict"] == found.verdict
    assert Diagnosis.from_json(found.to_json(indent=1)) == found
    found.show()
    rich = capsys.readouterr().out
    monkeypatch.setitem(sys.modules, "rich.console", None)
    found.show()
    plain = capsys.readouterr().out
    assert plain == str(found) + "\n" and all(p["name"] in text for p in found.prescriptions for text in (plain, rich))
    assert all(row["layer"] in plain for row in found.layers) and found.verdict in rich
    page = found._repr_html_()
    assert page.count("<tr>") == len(found.layers) + len(found.prescriptions) + 3 and "<script" not in page
    left, right = found.figure().axes
    assert left.get_yscale() == "log" and (
        len(right.lines) == 2 + sum(p["after"] is not None for p in found.prescriptions))
    assert repr(found).startswith(f"<Diagnosis: {found.verdict}")


def test_errors_block_by_block():
    """In a stream of branches of weight w each, the error grows by what comes back through them: by hand."""
    rng = np.random.default_rng(0)
    net = nn.Sequential(nn.Linear(6, 5, rng=0), *(nn.Residual(nn.Linear(5, 5, rng=k)) for k in (1, 2, 3)),
                        nn.Linear(5, 3, rng=4))
    for block in net[1:4]:
        nn.init.normal_(block.weight if isinstance(block, nn.Linear) else next(iter(block.parameters())), 0.0, 0.5, rng)
    found = flow.diagnose(net, F.cross_entropy, (X, Y), steps=1, most=0)
    weights = [p.numpy() for p in net.parameters() if p.ndim > 1][1:]
    logits = net(mgx.Tensor(X)).numpy()
    p = np.exp(logits - logits.max(1, keepdims=True))
    error = (p / p.sum(1, keepdims=True) - np.eye(3)[Y]) @ weights[-1]
    expected = []
    for w in weights[-2::-1]:
        expected.append(np.linalg.norm(error, axis=1))
        error = error + error @ w
    stream = [block["stream"] for block in found.blocks]
    expected = [np.sqrt(np.square(e).mean()) for e in expected[::-1]]
    np.testing.assert_allclose(np.array(stream) / stream[-1], np.array(expected) / expected[-1], rtol=1e-4)
    assert len(stream) == 3 and all(block["branch"] > 0 for block in found.blocks)
    assert "error in the stream, block by block: " in str(found) and Diagnosis.from_json(found.to_json()) == found


def test_errors_through_time():
    found = flow.diagnose(Remembering(), F.cross_entropy, (IMAGES, LABELS), steps=1, most=0)
    assert {name: len(errors) for name, errors in found.through_time.items()} == {"cell": 8}
    assert found.through_time["cell"][-1] > found.through_time["cell"][0] > 0
    assert "error at the input of cell, step by step: " in str(found) and not found.blocks


def test_what_is_no_diagnosis_is_refused():
    for text in ("", "[]", '{"verdict": "healthy"}'):
        with pytest.raises(FormatError, match="from_json"):
            Diagnosis.from_json(text)


def test_names_in_a_page_are_escaped():
    net = nn.Sequential({"<b>": nn.Linear(6, 8, rng=0), "t": nn.Tanh(), "o": nn.Linear(8, 3, rng=1)})
    assert "<b>" not in flow.diagnose(net, F.cross_entropy, (X, Y), steps=5, most=0)._repr_html_()


def test_copies_are_let_go():
    net, counts = small(), []
    for _ in range(2):
        flow.diagnose(net, F.cross_entropy, (X, Y), steps=2)
        gc.collect()
        counts.append(sum(issubclass(type(o), nn.Linear) for o in gc.get_objects()))   # no attribute of others is read
    assert counts[1] <= counts[0]


def test_every_verdict_is_explained():
    for verdict in {*verdicts.VERDICTS, *advice.MEANING, *advice.ADVICE}:
        assert verdict in verdicts.VERDICTS, f"no rule gives {verdict!r}"
        assert verdict in advice.MEANING and verdict in advice.ADVICE, (
            f"nothing explains {verdict!r}: add it to MEANING and ADVICE of flow/advice.py")
    assert set(verdicts.FORMER) <= set(verdicts.VERDICTS)
    assert {old for names in verdicts.FORMER.values() for old in names} <= set(verdicts.VERDICTS)


PAGE = Path(__file__).resolve().parents[1] / "docs/diagnosis.md"


@pytest.mark.skipif(not PAGE.is_file(), reason="the tests run without the source")
def test_the_page_explains_every_verdict():
    text = PAGE.read_text(encoding="utf-8").partition("## Cures")[0]
    rows = [line for line in text.splitlines() if line.startswith("| ")][1:]
    wanted = [f"| {v} | {advice.MEANING[v]} | {advice.ADVICE[v]} |" for v in verdicts.VERDICTS]
    assert sorted(rows) == sorted(wanted), "docs/diagnosis.md has a row for each verdict, as flow/advice.py says it"


def test_a_net_of_norms_needs_a_way_past_them():
    """Batch normalisation without shortcuts explodes; other weights change nothing: a norm takes their size away."""
    rng, layers = np.random.default_rng(0), [nn.Linear(64, 24, rng=0), nn.BatchNorm1d(24), nn.ReLU()]
    for _ in range(20):
        layers += [nn.Linear(24, 24, rng=rng), nn.BatchNorm1d(24), nn.ReLU()]
    net = nn.Sequential(*layers, nn.Linear(24, 10, rng=1))
    course = diagnosis.course(net, F.cross_entropy, (IMAGES, LABELS), optim.SGD(net.parameters(), lr=0.1), steps=20)
    rows = {row.name: row for row in prescriptions.PRESCRIPTIONS}
    assert verdicts._exploding(course) and not rows["LSUV"].make(course) and not prescriptions.CRITICAL.make(course)
    other = course.after(rows["residual connections"].make(course))
    assert -course.decades()[0] > 1.3 > -other.decades()[0] and other.gained > course.gained + 0.2


def test_statistics_that_never_follow_are_no_lag():
    """A net that is good for a batch alone, and useless as it is used: with momentum 0 the running ones stay."""
    x, y = mgx.data.digits()
    verdicts_of = {}
    for momentum in (0.1, 0.0):
        net = nn.Sequential(nn.Linear(64, 48, rng=0), nn.BatchNorm1d(48, momentum=momentum), nn.ReLU(),
                            nn.Linear(48, 10, rng=1))
        adam = optim.Adam(net.parameters(), lr=3e-3)
        verdicts_of[momentum] = flow.diagnose(net, F.cross_entropy, (x * 20 + 500, y), adam).healthy
    assert verdicts_of == {0.1: True, 0.0: False}


def test_what_barely_helps_is_no_cure_where_something_else_does():
    """Critical weights remove a tenth of the cost of forty layers, a way past them most of it."""
    net = mlp(nn.ReLU, 40, 32, 1 / 3)
    found = flow.diagnose(net, F.cross_entropy, mgx.data.digits(), optim.Adam(net.parameters(), lr=1e-3), most=5)
    after = {p["name"]: p["after"]["elsewhere"] for p in found.prescriptions}
    assert found.cure and found.cure["after"]["elsewhere"] > max(after.values()) / 2, after
    assert any(value > 0.02 for name, value in after.items() if not any(
        p["trains"] and p["name"] == name for p in found.prescriptions)), "the case has what barely helps"


def test_a_cure_has_less_dropout_where_it_learns_more_with_it():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(400, 5)).astype("float32")
    y = (30 + 10 * x[:, :1] + 5 * x[:, 1:2]).astype("float32")
    net = nn.Sequential(nn.Linear(5, 4, rng=0), nn.Tanh(), nn.Dropout(0.6), nn.Linear(4, 1, rng=1), nn.Tanh())
    found = flow.diagnose(net, F.mse_loss, (x, y), optim.Adam(net.parameters(), lr=0.02), most=1)
    assert found.verdict == "unreachable targets", str(found)
    first = found.prescriptions[0]
    assert "dropouts of probability 0.1" in first["change"] and "module.p = 0.1" in "\n".join(first["lines"])
    assert found.cure is None and any("a straight line" in note for note in found.notes), found.notes


def test_a_net_that_learns_is_slow_where_another_rate_is_four_times_as_fast():
    found = {}
    for lr in (0.02, 0.3):
        net = mlp(nn.ReLU, 1)
        found[lr] = flow.diagnose(net, F.cross_entropy, (IMAGES, LABELS), sgd(lr)(net), most=1)
    assert found[0.3].healthy and found[0.02].verdict == "rate too small", str(found[0.02])
    assert found[0.02].before["elsewhere"] > 0.1 and "after 400 as it is" in found[0.02].cause
    assert found[0.02].cure["after"]["elsewhere"] > 2 * found[0.02].before["elsewhere"]


def test_a_large_net_ends_where_it_has_learned_enough(monkeypatch):
    net = mlp(nn.ReLU, 1)
    assert flow.diagnose(net, F.cross_entropy, (IMAGES, LABELS), sgd(0.3)(net)).settings["steps"] == 100
    monkeypatch.setattr(course_of, "LARGE", 0.0)
    found = flow.diagnose(net, F.cross_entropy, (IMAGES, LABELS), sgd(0.3)(net))
    assert found.healthy and found.settings["steps"] in (12, 25, 50) and found.before["learned"] > 0.4
    assert len(found.before["losses"]) == found.settings["steps"] + 1 and found.layers[0]["error_after_training"] > 0


def test_a_cure_has_what_hides_behind_the_first_fault():
    """A rate that is too large, of a net whose weights are too small for any rate that is not."""
    net = mlp(nn.GELU, 4, 48, 1 / 3)
    found = flow.diagnose(net, F.cross_entropy, mgx.data.digits(), sgd(100.0)(net))
    rate, = (p for p in found.prescriptions if p["name"] == "only another rate")
    assert found.cure and "weights" in found.cure["change"] and "Adam" in found.cure["change"], str(found)
    assert found.cure["after"]["elsewhere"] > 0.7 > 0.3 > rate["after"]["elsewhere"]
