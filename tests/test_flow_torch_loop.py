"""Loops of torch, whatever their nets do: what is seen is right, what is not is said, and nothing is raised."""
import copy
import dataclasses
import io
import math

import loops
import numpy as np
import pytest

import microgradx as mgx
from microgradx import flow

torch = pytest.importorskip("torch")
nn, F = torch.nn, torch.nn.functional

X, Y = (torch.from_numpy(np.ascontiguousarray(array[:128])) for array in mgx.data.digits())
X, Y = X.float(), Y.long()


@pytest.fixture(autouse=True)
def _alone():
    torch.manual_seed(0)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def build(*extra):
    return nn.Sequential(nn.Linear(64, 24), nn.ReLU(), *extra, nn.Linear(24, 10))


def train(net, optimizer=None, call=lambda net, x: net(x), **options):
    def cost(net, step):
        rows = np.random.default_rng(step).integers(0, len(X), 64)
        return F.cross_entropy(call(net, X[rows]), Y[rows])
    optimizer = optimizer or torch.optim.SGD(net.parameters(), lr=0.3)
    return loops.train(net, optimizer, cost, tell=False, **options)


def evaluate(net, *_):
    loops.evaluate(torch, net, X)


def clip(bound):
    return loops.clip(nn, bound)


class Listed(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.rest = nn.Linear(64, 24), [nn.Linear(24, 10)]

    def forward(self, x):
        return self.rest[0](self.first(x).relu())


class Ratio(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(64, 10)

    def forward(self, x):
        out = self.linear(x)
        return out + (out - out).square().sum().sqrt()


def scheduled(kind, lr, **options):
    net = build()
    optimizer = torch.optim.SGD(net.parameters(), lr=lr)
    schedule = kind(optimizer, **options)
    return train(net, optimizer, steps=40, after=lambda *_: schedule.step())


def evaluated_in_training(net):
    def look(net, _):
        with torch.no_grad():
            net(X)
    return train(net, after=look)


SICK = {
    "cleared between": ("weights never move", lambda: train(build(), before=lambda _, o: o.zero_grad())),
    "holds none of": ("untrained parameters", lambda: train(build(), torch.optim.SGD(build().parameters(), lr=0.1))),
    "does not hold them": ("untrained parameters", lambda: train(net := build(), torch.optim.SGD(
        net[2].parameters(), lr=0.3))),
    "Listed.rest (a list of 1 modules)": ("untrained parameters", lambda: train(Listed())),
    "in 23 of 23 steps": ("gradients accumulate", lambda: train(build(), zero=False)),
    "is not finite at step 0": ("nan gradient", lambda: train(Ratio())),
    "schedule ended": ("rate ended", lambda: scheduled(torch.optim.lr_scheduler.StepLR, 1e-3, step_size=2)),
    "clipping leaves": ("clipping always bites", lambda: train(build(), before=clip(1e-4))),
    "have shrunk": ("weight decay too strong", lambda: train(net := build(), torch.optim.SGD(
        net.parameters(), lr=0.1, weight_decay=3.0), steps=40)),
    "in evaluation mode": ("train and eval mixed up", lambda: train(build(nn.Dropout(0.1)).eval())),
    "in training mode": ("train and eval mixed up", lambda: evaluated_in_training(build(nn.Dropout(0.1))))}


@pytest.mark.parametrize("words", SICK)
def test_sick_loops_are_named(words):
    verdict, loop = SICK[words]
    found = loop().diagnose()
    assert (found.verdict, words in found.cause) == (verdict, True) and not found.unseen, str(found)


SOUND = {
    "plain": lambda: train(build()),
    "adam": lambda: train(net := build(), torch.optim.Adam(net.parameters(), lr=0.01)),
    "decay": lambda: train(net := build(), torch.optim.AdamW(net.parameters(), lr=0.01, weight_decay=0.1)),
    "clipped always, and it learns": lambda: train(net := build(), torch.optim.Adam(net.parameters(), lr=0.01),
                                                   before=clip(1e-3)),
    "cosine": lambda: scheduled(torch.optim.lr_scheduler.CosineAnnealingLR, 0.5, T_max=40),
    "one cycle": lambda: scheduled(torch.optim.lr_scheduler.OneCycleLR, 0.5, max_lr=0.5, total_steps=41),
    "batch norm": lambda: train(build(nn.BatchNorm1d(24)), after=evaluate),
    "zeros instead of None": lambda: train(net := build(), o := torch.optim.SGD(net.parameters(), lr=0.3), zero=False,
                                           after=lambda *_: o.zero_grad(set_to_none=False))}


@pytest.mark.parametrize("name", SOUND)
def test_sound_loops_are_healthy(name):
    run = SOUND[name]()
    found = run.diagnose()
    assert found.healthy and found.doubt is None and not found.unseen, str(found)
    assert found.losses[-1] < found.losses[0] and len(found.layers) >= 2


# ----- whatever the net does -----------------------------------------------------------------------------------------

@dataclasses.dataclass
class Output:
    hidden: object
    logits: object


class Base(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.last = nn.Linear(64, 24), nn.Linear(24, 10)


class Keywords(Base):
    def forward(self, *, pixels, scale=1.0):
        return {"logits": self.last(self.first(pixels).relu()) * scale}


class Dataclass(Base):
    def forward(self, x):
        hidden = self.first(x).relu()
        return Output(hidden, self.last(hidden))


class Recurrent(nn.Module):
    def __init__(self, kind):
        super().__init__()
        self.rnn, self.last = getattr(nn, kind)(8, 24, num_layers=2, batch_first=True), nn.Linear(24, 10)

    def forward(self, x):
        return self.last(self.rnn(x.reshape(-1, 8, 8))[0][:, -1])


class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed, self.attention = nn.Linear(8, 24), nn.MultiheadAttention(24, 4, batch_first=True)
        self.last = nn.Linear(24, 10)

    def forward(self, x):
        h = self.embed(x.reshape(-1, 8, 8))
        return self.last((h + self.attention(h, h, h, need_weights=False)[0]).mean(1))


class Tied(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b, self.last = nn.Linear(64, 64), nn.Linear(64, 64), nn.Linear(64, 10)
        self.b.weight = self.a.weight

    def forward(self, x):
        return self.last(self.b(self.a(x).relu()).relu())


class Checkpointed(Base):
    def __init__(self, reentrant):
        super().__init__()
        self.middle, self.reentrant = nn.Linear(24, 24), reentrant

    def forward(self, x):
        from torch.utils.checkpoint import checkpoint
        h = self.first(x).relu()
        h = checkpoint(lambda h: self.middle(h).relu(), h, use_reentrant=self.reentrant)
        return self.last(h)


class Halves(Base):
    def forward(self, x):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            return self.last(self.first(x).relu()).float()


class Changing(Base):
    """Another graph at every other call."""

    def __init__(self):
        super().__init__()
        self.middle, self.calls = nn.Linear(24, 24), 0

    def forward(self, x):
        self.calls += 1
        h = self.first(x).relu()
        return self.last(self.middle(h).relu() if self.calls % 2 else h)


class Embedded(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed, self.last = nn.EmbeddingBag(17, 24, mode="sum", sparse=True), nn.Linear(24, 10)

    def forward(self, x):
        return self.last(self.embed((x * 16).long()))


class InPlace(Base):
    def forward(self, x):
        h = self.first(x)
        h += 1
        return self.last(F.relu(h, inplace=True))


class Wrapped(nn.Module):
    """As DistributedDataParallel holds its module."""

    def __init__(self):
        super().__init__()
        self.module = build()

    def forward(self, *inputs, **kwargs):
        return self.module(*inputs, **kwargs)


NETS = {
    "keywords and dicts": (Keywords, lambda net, x: net(pixels=x, scale=1.0)["logits"]),
    "dataclasses": (Dataclass, lambda net, x: net(x).logits),
    "RNN": (lambda: Recurrent("RNN"), None), "LSTM": (lambda: Recurrent("LSTM"), None),
    "GRU": (lambda: Recurrent("GRU"), None), "attention": (Attention, None), "tied": (Tied, None),
    "checkpoints": (lambda: Checkpointed(False), None), "reentrant": (lambda: Checkpointed(True), None),
    "autocast": (Halves, None), "changing": (Changing, None), "sparse": (Embedded, None), "in place": (InPlace, None),
    "wrapped": (Wrapped, None), "data parallel": (lambda: nn.DataParallel(build()), None),
    "bfloat16": (lambda: build().bfloat16(), lambda net, x: net(x.bfloat16()).float()),
    "scripted": (lambda: torch.jit.script(build()), None),
    "convolutions": (lambda: nn.Sequential(nn.Conv2d(1, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.Linear(
        288, 10)), lambda net, x: net(x.reshape(-1, 1, 8, 8))),
    "transformer": (lambda: nn.Sequential(nn.Unflatten(1, (8, 8)), nn.TransformerEncoderLayer(
        8, 2, 16, dropout=0.0, batch_first=True), nn.Flatten(), nn.Linear(64, 10)), None)}
SAID = {"reentrant": "checkpoints", "checkpoints": "checkpoints", "scripted": "which is scripted"}


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore:.*torch.jit.*", "ignore:Sparse invariant checks")
@pytest.mark.parametrize("every", [1, 8])
@pytest.mark.parametrize("name", NETS)
def test_whatever_the_net_does(name, every):
    make, call = NETS[name]
    call = call or (lambda net, x: net(x))
    torch.manual_seed(3)
    net, numbers = make(), []
    twin = make() if name == "scripted" else copy.deepcopy(net)
    twin.load_state_dict(net.state_dict())
    run = train(net, torch.optim.Adagrad(net.parameters(), lr=0.05), steps=16, every=every, call=call)
    optimizer = torch.optim.Adagrad(twin.parameters(), lr=0.05)
    for step in range(16):
        rows = np.random.default_rng(step).integers(0, len(X), 64)
        optimizer.zero_grad()
        loss = F.cross_entropy(call(twin, X[rows]), Y[rows])
        loss.backward()
        optimizer.step()
        numbers.append(loss.item())
    np.testing.assert_array_equal(run.losses, numbers)              # watching changes nothing, and sees every loss
    assert all(torch.equal(p, q) for p, q in zip(net.parameters(), twin.parameters()))
    found = run.diagnose()
    assert found.healthy, str(found)
    assert bool(found.unseen) == (name in SAID) and all(SAID[name] in what for what in found.unseen), found.unseen
    assert len(found.layers) >= (0 if name == "scripted" else 2) and all(
        math.isfinite(row["error"]) for row in found.layers if row["error"] is not None)


def test_closures_of_lbfgs():
    net = build()
    optimizer = torch.optim.LBFGS(net.parameters(), lr=0.5, max_iter=4)

    def closure():
        optimizer.zero_grad()
        loss = F.cross_entropy(net(X), Y)
        loss.backward()
        return loss
    with flow.watch(net, optimizer, every=2) as run:
        for _ in range(12):
            optimizer.step(closure)
    found = run.diagnose()
    assert found.healthy and not found.unseen and all(row.gradients.all() for row in run.rows), str(found)
    assert run.passes > 1.5 * run.steps and any("backward passes per step" in note for note in found.notes)


def test_distributed_data_parallel(tmp_path):
    torch.distributed.init_process_group("gloo", init_method=f"file://{tmp_path}/store", rank=0, world_size=1)
    try:
        found = train(nn.parallel.DistributedDataParallel(build())).diagnose()
    finally:
        torch.distributed.destroy_process_group()
    assert found.healthy and not found.unseen and len(found.layers) == 2, str(found)


def test_compiled_nets():
    net = build()
    compiled = torch.compile(net, backend="eager")
    optimizer = torch.optim.SGD(net.parameters(), lr=0.3)
    run = train(compiled, optimizer)
    found = run.diagnose()
    assert found.healthy and "which is compiled" in found.unseen[0] and not found.layers, str(found)
    assert len(run.rows) > 4 and run.rows[0].gradients.all()


def test_copies_and_pickles_are_not_watched():
    net = build(nn.Dropout(0.1))
    optimizer = torch.optim.SGD(net.parameters(), lr=0.3)
    with flow.watch(net, optimizer, every=1) as run:
        loss = F.cross_entropy(net(X), Y)
        file = io.BytesIO()
        torch.save((net, optimizer), file)
        file.seek(0)
        others = [copy.deepcopy((net, optimizer)), torch.load(file, weights_only=False)]
        for twin, steps in others:
            F.cross_entropy(twin(X), Y).backward()
            steps.step()
        assert run.steps == 0 and torch.optim.swa_utils.AveragedModel(net)(X).shape == (128, 10)
        loss.backward()
        optimizer.step()
    assert run.steps == 1 and not run.unseen and [layer.name for layer in run.record.layers] == ["0", "3"], run.unseen


def test_nothing_is_left():
    net = build(nn.Dropout(0.2))
    optimizer = torch.optim.SGD(net.parameters(), lr=0.3)
    run = train(net, optimizer, every=1)
    assert not optimizer._optimizer_step_pre_hooks and not optimizer._optimizer_step_post_hooks
    assert not any(module._forward_hooks for module in net.modules())
    assert not any(p._backward_hooks for p in net.parameters())
    steps = run.steps
    optimizer.step()
    assert run.steps == steps


def test_a_scheduler_made_within_the_loop_sees_its_own_step():
    net = build()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.3)
    with flow.watch(net, optimizer) as run:
        schedule = torch.optim.lr_scheduler.StepLR(optimizer, 1)
        F.cross_entropy(net(X), Y).backward()
        optimizer.step()
        schedule.step()
    assert run.steps == 1 and schedule.get_last_lr() == [pytest.approx(0.03)]
