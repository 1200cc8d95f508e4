"""The engine interface, the same for both libraries; and nets of torch as people have them, with what can be wrong."""
import contextlib
import copy
import functools
import importlib
import json
import random
import sys

import numpy as np
import pytest

import microgradx as mgx
from microgradx import flow, nn, optim
from microgradx.errors import DTypeError, NonFiniteError, OptionError, ShapeError
from microgradx.flow.engines import engine_of

IMAGES, LABELS = (a[:256] for a in mgx.data.digits())
ROWS = np.random.default_rng(0).normal(size=(256, 8)).astype("float32")
WIDE = 30 * np.tanh(ROWS[:, :1] - ROWS[:, 1:2])             # targets from -30 to 30


@pytest.fixture(autouse=True)
def one_thread():
    """torch waits for threads longer than it computes such small nets."""
    if "torch" in sys.modules or importlib.util.find_spec("torch"):
        importlib.import_module("torch").set_num_threads(1)


def library(name):
    """(the library, its nn, its optim, its Engine)."""
    if name == "microgradx":
        return mgx, nn, optim, engine_of(nn.Linear(1, 1))
    torch = pytest.importorskip("torch")
    return torch, torch.nn, torch.optim, engine_of(torch.nn.Linear(1, 1))


def digits(torch, rows=256):
    return torch.from_numpy(IMAGES[:rows]), torch.from_numpy(LABELS[:rows].astype("int64"))


def mlp(nn, *sizes, act="Tanh"):
    layers = [layer for n_in, n_out in zip(sizes, sizes[1:]) for layer in (nn.Linear(n_in, n_out), getattr(nn, act)())]
    return nn.Sequential(*layers[:-1])


BOTH = pytest.mark.parametrize("name", ["microgradx", "torch"])


def ending(nn, function):
    """A net whose output goes through a function."""
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = mlp(nn, 8, 24, 1)

        def forward(self, x):
            return function(self.inner(x))
    return Net()


# What a net ends in, and whether targets from -30 to 30 are out of its reach.
ENDS = {
    "Hardtanh(-50, 50)": (lambda nn: mlp(nn, 8, 24, 1).append(nn.Hardtanh(-50.0, 50.0)), False),
    "Hardtanh()": (lambda nn: mlp(nn, 8, 24, 1).append(nn.Hardtanh()), True),
    "Hardtanh(-50, 50), Identity()": (lambda nn: mlp(nn, 8, 24, 1).extend([nn.Hardtanh(-50, 50), nn.Identity()]),
                                      False),
    "ELU(50)": (lambda nn: mlp(nn, 8, 24, 1).append(nn.ELU(50.0)), False),
    "CELU(0.5)": (lambda nn: mlp(nn, 8, 24, 1).append(nn.CELU(0.5)), False),        # half of the targets
    "Threshold(-50, -50)": (lambda nn: mlp(nn, 8, 24, 1).append(nn.Threshold(-50.0, -50.0)), False),
    "Softplus(0.01)": (lambda nn: mlp(nn, 8, 24, 1).append(nn.Softplus(0.01)), False),
    "ReLU6()": (lambda nn: mlp(nn, 8, 24, 1).append(nn.ReLU6()), True),
    "hardtanh": (lambda nn: ending(nn, lambda x: nn.functional.hardtanh(x, -50.0, 50.0)), False),
    "threshold": (lambda nn: ending(nn, lambda x: nn.functional.threshold(x, -50.0, -50.0)), False),
    "clamp_min": (lambda nn: ending(nn, lambda x: x.clamp_min(-50.0)), False),
    "clamp": (lambda nn: ending(nn, lambda x: x.clamp(-50.0, 50.0)), False)}


@BOTH
@pytest.mark.parametrize("end", ENDS)
def test_what_a_net_ends_in_keeps_its_options(name, end):
    lib, nn, optim, _ = library(name)
    make, beyond = ENDS[end]
    lib.manual_seed(0)
    net = make(nn)
    course = flow.diagnosis.course(net, nn.functional.mse_loss, (ROWS, WIDE), optim.Adam(net.parameters(), lr=0.02),
                                   steps=20)
    found = flow.verdicts.finding(course)
    assert (found.verdict == "unreachable targets") == beyond, (found, course.form)


# ----- the interface -------------------------------------------------------------------------------------------------

@BOTH
@pytest.mark.filterwarnings("ignore:Seems like")            # a schedule of torch's patches the optimizer that it had
def test_copies_belong_together_and_share_nothing(name):
    lib, nn, optim, engine = library(name)
    net = mlp(nn, 4, 8, 2)
    seen = []
    net[0].register_forward_hook(lambda *args: seen.append(args))
    optimizer = optim.Adam(net.parameters(), lr=0.1)
    schedule = optim.lr_scheduler.StepLR(optimizer, 1, 0.5)
    net(lib.ones(3, 4)).sum().backward()
    optimizer.step()
    seen.clear()
    twin, its, plan = engine.copy(net, optimizer, schedule)
    assert all(p.grad is None for p in twin.parameters()) and all(p.grad is not None for p in net.parameters())
    assert [id(p) for p in its.param_groups[0]["params"]] == [id(p) for p in twin.parameters()]
    before = [engine.array(p).copy() for p in net.parameters()]
    for _ in range(2):
        twin(lib.ones(3, 4)).sum().backward()
        its.step()
        plan.step()
    assert its.param_groups[0]["lr"] == 0.025 and optimizer.param_groups[0]["lr"] == 0.1
    assert [args[0] for args in seen] == [twin[0]] * 2          # hooks are part of the net, and are the copy's there
    assert all(np.array_equal(engine.array(p), b) for p, b in zip(net.parameters(), before))
    assert not np.array_equal(engine.array(twin[0].weight), before[0])


@BOTH
def test_hooks_are_part_of_a_copy(name):
    """Of modules, of gradients and of steps: what they change is changed in the copy, and nothing of the caller."""
    lib, nn, optim, engine = library(name)
    net = mlp(nn, 4, 8, 2)
    net[0].register_forward_pre_hook(lambda module, args: (args[0] * 0 + 1,))
    net[2].register_forward_hook(lambda module, args, out: out * 2)
    for p in net.parameters():
        p.register_hook(lambda g: g * 0 + 1)
    optimizer = optim.SGD(net.parameters(), lr=1.0)
    steps = []
    optimizer.register_step_pre_hook(lambda optimizer, args, kwargs: steps.append(optimizer))
    twin, its = engine.copy(net, optimizer)
    x = lib.zeros(3, 4)
    assert np.array_equal(engine.array(twin(x).detach()), engine.array(net(x).detach())) and engine.array(net(x)).any()
    before = [engine.array(p).copy() for p in net.parameters()]
    twin(x).sum().backward()
    its.step()
    assert steps == [its]
    for p, q, b in zip(net.parameters(), twin.parameters(), before):
        assert np.array_equal(engine.array(p), b) and np.array_equal(engine.array(q), b - 1) and p.grad is None


@BOTH
def test_a_net_is_cured_by_the_lines_that_are_printed(name):
    """Pasted behind the program, and diagnosed again: with its hooks, of modules and of steps."""
    lib, nn, optim, engine = library(name)
    x, y = digits(lib)
    for cost, sick in ((lambda out, y: -nn.functional.cross_entropy(out, y), "cost without a least value"),
                       (lambda out, y: nn.functional.cross_entropy(nn.functional.softmax(out, 1), y) * 0
                        + nn.functional.nll_loss(out, y), "cost without a least value")):
        lib.manual_seed(0)
        names = engine.namespace() | {"model": mlp(nn, 64, 20, 10), "loss_fn": cost, "schedule": None}
        names["optimizer"] = optim.SGD(names["model"].parameters(), lr=0.1)
        found = flow.diagnose(names["model"], names["loss_fn"], (x, y), names["optimizer"])
        assert found.verdict == sick and found.cure
        exec("\n".join(found.cure["lines"]), names)
        again = flow.diagnose(names["model"], names["loss_fn"], (x, y), names["optimizer"])
        assert again.healthy, str(again)


class Notes:
    """What cannot be copied: a file, say."""
    def __init__(self):
        self.seen = {}

    def note(self, module, args, out):
        self.seen["first layer"] = out

    def __deepcopy__(self, memo):
        raise TypeError("cannot be copied")


@BOTH
@pytest.mark.parametrize("kept", [lambda notes: notes.note, lambda notes: functools.partial(Notes.note, notes),
                                  lambda notes: lambda *args: notes.note(*args)], ids=["method", "partial", "function"])
def test_a_cost_of_what_hooks_have_noted(name, kept):
    """Such as features: without its hook such a net has another cost."""
    lib, nn, optim, engine = library(name)
    lib.manual_seed(0)
    net, notes = mlp(nn, 64, 20, 10), Notes()
    net[0].register_forward_hook(kept(notes))
    def cost(out, y):
        return nn.functional.cross_entropy(out, y) + 0.01 * notes.seen["first layer"].square().mean()
    net(digits(lib)[0])
    run = flow.run.run_of(net, cost)
    run.draw(digits(lib), 10)
    assert run.hooks and flow.diagnose(net, cost, digits(lib)).healthy


@BOTH
@pytest.mark.parametrize("observes", [
    lambda seen: lambda module, args, out: seen.append(out),
    lambda seen: lambda module, args, out: seen.index(module)], ids=["notes", "fails"])
def test_hooks_that_only_take_note_are_left_out(name, observes):
    """They may keep all that they see, or know the caller's modules only."""
    lib, nn, optim, engine = library(name)
    lib.manual_seed(0)
    net, seen = mlp(nn, 64, 20, 10), []
    net[0].register_forward_hook(observes(seen))
    run = flow.run.run_of(net, nn.functional.cross_entropy)
    run.draw(digits(lib), 10)
    assert not run.hooks and len(seen) <= 2
    assert flow.diagnose(net, nn.functional.cross_entropy, digits(lib)).healthy and len(seen) <= 4


@BOTH
def test_a_diagnosis_in_a_watched_loop(name):
    lib, nn, optim, engine = library(name)
    lib.manual_seed(0)
    net, (x, y) = mlp(nn, 64, 20, 10), digits(lib)
    optimizer = optim.SGD(net.parameters(), lr=0.1)
    with flow.watch(net, optimizer) as run:
        for k in range(3):
            optimizer.zero_grad()
            nn.functional.cross_entropy(net(x), y).backward()
            optimizer.step()
            if k == 1:
                assert flow.diagnose(net, nn.functional.cross_entropy, (x, y), optimizer).healthy
    assert run.steps == 3


@BOTH
def test_a_hook_that_cuts_the_graph_is_found(name):
    lib, nn, optim, engine = library(name)
    x, y = digits(lib)
    net = mlp(nn, 64, 20, 20, 10)
    net[1].register_forward_hook(lambda module, args, out: out.detach())
    found = flow.diagnose(net, nn.functional.cross_entropy, (x, y))
    assert found.verdict == "cut graph" and found.layer == "0", str(found)


@BOTH
def test_the_parts_of_a_model(name):
    lib, nn, optim, engine = library(name)

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.blocks = nn.ModuleList([nn.Sequential(nn.Linear(4, 4), nn.ReLU()) for _ in range(2)])
            self.parts = nn.ModuleDict({"a-b": nn.Linear(4, 2)})

        def forward(self, x):
            for block in self.blocks:
                x = block(x)
            return self.parts["a-b"](x)
    model = Net()
    for part, kind, module in engine.modules(model):
        assert eval(engine.path(model, part)) is module and type(module).__name__ == kind
    assert engine.path(model, "blocks.1.0") == "model.blocks[1][0]"
    assert engine.path(model, "parts.a-b") == "model.parts['a-b']"
    weight = engine.weight(model.blocks[0][0])
    engine.set_weight(weight, np.full((4, 4), 2.0))
    assert engine.array(weight).tolist() == [[2.0] * 4] * 4 and engine.weight(model.blocks[0][1]) is None
    optimizer = optim.SGD(model.parameters(), lr=0.1)
    exec("\n".join(engine.insert_after("model.blocks[0][0]", "nn.LayerNorm(4)")), {
        **engine.namespace(), "model": model, "optimizer": optimizer})
    assert type(model.blocks[0][0][1]).__name__ == "LayerNorm"
    assert sum(len(group["params"]) for group in optimizer.param_groups) == len(list(model.parameters()))


@BOTH
def test_lines_happen_before_and_after_a_step(name):
    lib, nn, optim, engine = library(name)
    model, calls = nn.Linear(2, 1), []
    optimizer = optim.SGD(model.parameters(), lr=0.1)
    lines = [*engine.before_step("calls.append(('before', model.weight.tolist()))"),
             *engine.after_step("calls.append(('after', model.weight.tolist()))")]
    exec("\n".join(lines), {"model": model, "optimizer": optimizer, "calls": calls})
    start = model.weight.tolist()
    model(lib.ones(1, 2)).sum().backward()
    optimizer.step()
    assert calls == [("before", start), ("after", model.weight.tolist())] and calls[1][1] != start


@BOTH
def test_wiring_is_read_from_the_graph(name):
    """relu and pool that are no modules; a sum of two layers; an activation of one's own."""
    lib, nn, optim, engine = library(name)
    F = nn.functional

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.c, self.a, self.b, self.d, self.e = (nn.Conv2d(1, 4, 3, padding=1), nn.Linear(16, 6), nn.Linear(16, 6),
                                                      nn.Linear(6, 6), nn.Linear(6, 2))

        def forward(self, x):
            x = F.max_pool2d(F.relu(self.c(x)), 4).flatten(1)
            x = F.leaky_relu(self.a(x) + self.b(x), 0.3)
            x = self.d(x)
            return self.e(x * x.sigmoid())
    net = Net()
    with flow.watch(net) as record:
        net(lib.randn(5, 1, 8, 8)).square().mean().backward()
    assert [layer.activation and layer.activation.name for layer in record.layers] == [
        "relu", None, None, "silu", "linear"]
    assert [layer.branch for layer in record.layers] == [False, False, True, False, False]
    assert "max_pool" in record.layers[0].after and "join" in record.layers[1].after
    assert np.isfinite(record.first["slope_square"][0]) and record.first["dead"][0] < 1
    assert record.expected() is None and "max_pool" in record.unexplained()


@BOTH
def test_what_overwrites_an_output_is_noticed(name):
    lib, nn, optim, engine = library(name)

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Linear(4, 6), nn.Linear(6, 1)

        def forward(self, x):
            z = self.a(x)
            z *= 3.0                            # as `out += x` does
            return self.b(z.tanh())
    net, x = Net(), lib.randn(64, 4)
    with flow.watch(net) as record:
        net(x).square().mean().backward()
    z = engine.array(net.a(x))
    assert record.first["q"][0] == pytest.approx(np.square(z.astype("f8")).mean(), rel=1e-5)


# ----- torch's nets --------------------------------------------------------------------------------------------------

def loader(torch, batch=32, **options):
    return torch.utils.data.DataLoader(torch.utils.data.TensorDataset(*digits(torch)), batch, shuffle=True, **options)


def test_a_net_of_torch_is_trained_by_torch():
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    net = mlp(torch.nn, 64, 32, 10)
    optimizer = torch.optim.AdamW([{"params": net[0].parameters(), "lr": 1e-7},
                                   {"params": net[2].parameters()}], lr=1e-2)
    found = flow.diagnose(net, torch.nn.functional.cross_entropy, loader(torch), optimizer)
    assert found.verdict == "healthy" and found.settings["library"] == "torch", str(found)
    assert found.settings["optimizer"] == "AdamW" and found.settings["batches"] == 6
    assert flow.report.Diagnosis.from_json(found.to_json()) == found and not optimizer.state
    assert found == flow.diagnose(net, torch.nn.functional.cross_entropy, loader(torch), optimizer)


@pytest.mark.parametrize("raised", [None, KeyboardInterrupt, ZeroDivisionError])
def test_the_caller_finds_all_as_it_was(raised):
    torch = pytest.importorskip("torch")
    torch.manual_seed(3)
    net = torch.nn.Sequential(torch.nn.Linear(64, 20), torch.nn.BatchNorm1d(20), torch.nn.ReLU(inplace=True),
                              torch.nn.Dropout(0.3), torch.nn.Linear(20, 10)).eval()
    seen, steps = [], []
    net[0].register_forward_hook(lambda *args: seen.append(args))
    torch.nn.functional.cross_entropy(net(digits(torch)[0]), digits(torch)[1]).backward()
    optimizer = torch.optim.Adam(net.parameters(), lr=0.01)
    optimizer.step()
    seen.clear()
    data = loader(torch, generator=torch.Generator().manual_seed(5))

    def cost(out, y):
        steps.append(0)
        if raised and len(steps) == 40:
            raise raised
        return torch.nn.functional.cross_entropy(out, y)

    def everything():
        return repr([*net.state_dict().items(), *optimizer.state_dict().items(), [m.training for m in net.modules()],
                     [p.grad for p in net.parameters()], random.getstate(), np.random.get_state(),
                     torch.get_rng_state().tolist(), data.generator.get_state().tolist(),
                     [len(m._forward_hooks) for m in net.modules()], torch.is_grad_enabled()])
    grads, before = [p.grad for p in net.parameters()], everything()
    with pytest.raises(raised) if raised else contextlib.nullcontext():
        flow.diagnose(net, cost, data, optimizer, steps=10, most=1)
    assert len(steps) >= 40 and everything() == before
    assert len(seen) <= 2 and all(args[0] is not net[0] for args in seen)       # to find out that it changes nothing
    assert all(p.grad is g for p, g in zip(net.parameters(), grads))


def sick(torch):
    """Eight sigmoid layers."""
    torch.manual_seed(0)
    return mlp(torch.nn, 64, *[24] * 8, 10, act="Sigmoid")


def test_pasted_lines_do_what_was_tried():
    torch = pytest.importorskip("torch")
    F = torch.nn.functional
    model, loss_fn = sick(torch), F.cross_entropy
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    x, y = digits(torch)
    found = flow.diagnose(model, loss_fn, (x, y), optimizer)
    assert found.verdict == "vanishing backward" and found.cure, str(found)
    assert all(line in str(found) for line in found.cure["lines"])
    names = {"torch": torch, "nn": torch.nn, "optim": torch.optim, "model": model, "optimizer": optimizer,
             "loss_fn": loss_fn, "schedule": None}
    torch.manual_seed(0)
    exec("\n".join(found.cure["lines"]), names)
    for _ in range(100):
        names["optimizer"].zero_grad()
        loss = names["loss_fn"](names["model"](x), y)
        loss.backward()
        names["optimizer"].step()
    assert loss < 0.9 * found.before["constant_cost"]


class Odd:
    """What a loader can do."""

    def __init__(self, batches):
        self.batches = batches

    def __iter__(self):
        for batch in self.batches:
            if isinstance(batch, Exception):
                raise batch
            yield batch


def refused(torch):
    F, x, y = torch.nn.functional, *digits(torch)
    net = lambda: mlp(torch.nn, 64, 16, 10)                                                             # noqa: E731
    half, meta = net().half(), net().to("meta")
    lazy = torch.nn.Sequential(torch.nn.LazyLinear(8), torch.nn.Linear(8, 10))
    pair, used = [x[:32], y[:32]], iter([])
    return {
        "half precision": (half, F.cross_entropy, (x, y), OptionError, r"'0.weight' is float16.*model.float\(\)"),
        "another device": (meta, F.cross_entropy, (x, y), OptionError, "'0.weight' is on meta.*on the CPU"),
        "lazy": (lazy, F.cross_entropy, (x, y), OptionError, "no shape yet"),
        "wrapped": (torch.nn.DataParallel(net()), F.cross_entropy, (x, y), OptionError, "model.module"),
        "compiled": (torch.compile(net()), F.cross_entropy, (x, y), OptionError, "model._orig_mod"),
        "nothing": (net(), F.cross_entropy, used, ShapeError, "gave no batch"),
        "dicts": (net(), F.cross_entropy, Odd([{"image": x, "label": y}]), ShapeError,
                  r"not dict with 'image', 'label'; make pairs of it: \(\(batch\['image'\], batch\['label'\]\)"),
        "triples": (net(), F.cross_entropy, Odd([[x, x, y]]), ShapeError, "a pair .*, not list of 3"),
        "fails": (net(), F.cross_entropy, Odd([pair, KeyError("seven")]), OptionError,
                  "batch 1 of the loader raised KeyError: 'seven'"),
        "nan among inputs": (net(), F.cross_entropy, Odd([[x / 0 * 0, y]]), NonFiniteError, "inputs"),
        "a tuple of losses": (net(), lambda out, y: (F.cross_entropy(out, y), out), (x, y), ShapeError,
                              "returned a tuple of 2; give a function that returns the loss alone"),
        "a loss per row": (net(), lambda out, y: F.cross_entropy(out, y, reduction="none"), (x, y), ShapeError,
                           r"one element, not shape \(192,\)")}


@pytest.mark.parametrize("name", ["half precision", "another device", "lazy", "wrapped", "compiled", "nothing", "dicts",
                                  "triples", "fails", "nan among inputs", "a tuple of losses", "a loss per row"])
@pytest.mark.filterwarnings("ignore::DeprecationWarning")                                   # torch.compile's own
def test_bad_input_is_refused_in_a_sentence(name):
    torch = pytest.importorskip("torch")
    model, cost, data, error, words = refused(torch)[name]
    with pytest.raises(error, match=words):
        flow.diagnose(model, cost, data, steps=3)


def test_another_librarys_optimizer_is_refused():
    torch = pytest.importorskip("torch")
    with pytest.raises(DTypeError, match="an Optimizer of torch or None, not SGD of microgradx"):
        flow.diagnose(mlp(torch.nn, 64, 10), torch.nn.functional.cross_entropy, digits(torch),
                      optim.SGD(mlp(nn, 64, 10).parameters(), lr=0.1))


def taken(torch):
    """Nets and loops that are unusual and all right."""
    F, x, y = torch.nn.functional, *digits(torch)

    class Growing(torch.nn.Module):
        """It works on the first half of the features in each second call."""
        def __init__(self):
            super().__init__()
            self.a, self.b, self.calls = torch.nn.Linear(64, 16), torch.nn.Linear(16, 10), 0

        def forward(self, x):
            self.calls += 1
            h = self.a(x)
            return self.b(F.relu(h if self.calls % 2 else torch.cat([h[:, :8], h[:, :8]], 1)))

    class Answers(torch.nn.Module):
        """Its output is a dict, it keeps its last result, and it is called by keyword inside."""
        def __init__(self):
            super().__init__()
            self.net = mlp(torch.nn, 64, 16, 10)

        def forward(self, x):
            self.last = self.net(input=x)
            return {"logits": self.last, "number": 3}
    answers = Answers()
    answers(x)
    return {
        "changing shapes": (Growing(), F.cross_entropy, (x, y), None),
        "a dict": (answers, lambda out, y: F.cross_entropy(out["logits"], y), (x, y), None),
        "a closure": (mlp(torch.nn, 64, 16, 10), F.cross_entropy, (x, y), lambda q: torch.optim.LBFGS(q, lr=0.1)),
        "a generator": (mlp(torch.nn, 64, 16, 10), F.cross_entropy, ((x[k:k + 32], y[k:k + 32])
                                                                    for k in range(0, 256, 32)), None),
        "pairs in a list": (mlp(torch.nn, 64, 16, 10), F.cross_entropy, [(x[:99], y[:99]), (x[99:], y[99:])], None),
        "arrays": (mlp(torch.nn, 64, 16, 10), F.cross_entropy, (IMAGES, LABELS), None),
        "double": (mlp(torch.nn, 64, 16, 10).double(), F.mse_loss, (x.double(), F.one_hot(y).double()), None),
        "a module as cost": (mlp(torch.nn, 64, 16, 10), torch.nn.CrossEntropyLoss(), (x, y), None),
        "weight norm": (torch.nn.Sequential(torch.nn.utils.parametrizations.weight_norm(torch.nn.Linear(64, 16)),
                                            torch.nn.Tanh(), torch.nn.Linear(16, 10)), F.cross_entropy, (x, y), None)}


@pytest.mark.parametrize("name", ["changing shapes", "a dict", "a closure", "a generator", "pairs in a list", "arrays",
                                  "double", "a module as cost", "weight norm"])
def test_unusual_nets_are_diagnosed(name):
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    model, cost, data, optimizer = taken(torch)[name]
    found = flow.diagnose(model, cost, data, optimizer(model.parameters()) if optimizer else torch.optim.Adam(
        model.parameters(), lr=1e-2), steps=10 if optimizer else 60, most=1)
    assert found.healthy, str(found)
    json.loads(found.to_json())


def test_gradient_flow_of_a_net_of_torch_is_asserted():
    torch = pytest.importorskip("torch")
    F = torch.nn.functional
    torch.manual_seed(0)
    flow.assert_gradient_flow(mlp(torch.nn, 64, 64, 64, 10, act="ReLU"), F.cross_entropy, digits(torch))
    with pytest.raises(AssertionError, match="vanishing backward at"):
        flow.assert_gradient_flow(sick(torch), F.cross_entropy, digits(torch))
    with pytest.raises(AssertionError, match="probabilities for logits"):
        flow.assert_gradient_flow(torch.nn.Sequential(torch.nn.Linear(64, 10), torch.nn.Softmax(1)), F.cross_entropy,
                                  digits(torch))


def test_a_copy_of_the_caller_is_not_kept():
    torch = pytest.importorskip("torch")
    net = mlp(torch.nn, 64, 16, 10)
    before = copy.deepcopy(net.state_dict())
    flow.diagnose(net, torch.nn.functional.cross_entropy, digits(torch), steps=3)
    assert all(torch.equal(a, b) for a, b in zip(before.values(), net.state_dict().values()))


@BOTH
def test_running_statistics_that_lag_are_not_held_against_a_net(name):
    lib, nn, optim, engine = library(name)
    net = nn.Sequential(nn.Linear(64, 10), nn.BatchNorm1d(10))
    run = flow.run.run_of(net, nn.functional.cross_entropy)
    run.draw((IMAGES, LABELS.astype("int64")), 1)
    norm, batches = net[1], run.batches.train
    with lib.no_grad():
        norm.running_mean.copy_(engine.tensor(20 * np.arange(10), "float32") + 0.0)
    before = engine.array(norm.running_mean).copy()
    net.train()
    usual = run.loss(batches[0])[1].item()
    norm.running_mean.copy_(engine.tensor(before))
    assert run.judged(batches) == pytest.approx(usual, rel=1e-5)
    assert np.array_equal(engine.array(norm.running_mean), before) and norm.momentum == 0.1 and net.training
