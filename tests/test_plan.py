"""The memory of a program: where the plan puts each live range, and how much a captured step holds."""
import gc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import microgradx as mgx
from microgradx import nn, optim
from microgradx._core.array import allocated_bytes
from microgradx._core.capture.offsets import offsets_of
from microgradx.errors import CompileWarning
from microgradx.nn import functional as F


def greedy(ranges):
    """The bytes that the larger-first plan takes, each range compared with all that are placed."""
    placed, top = [], 0
    for first, last, size in sorted(ranges, key=lambda r: -r[2]):
        at = 0
        for other, start, stop, other_size in placed:           # in order of place
            if stop >= first and start <= last:
                if other - at >= size:
                    break
                at = max(at, other + other_size)
        placed.append((at, first, last, size))
        placed.sort()
        top = max(top, at + size)
    return top


def most_alive(ranges):
    """The bytes that live at one time, at most: no plan can take less."""
    changes = np.zeros(max((r[1] for r in ranges), default=0) + 2, np.int64)
    for first, last, size in ranges:
        changes[first] += size
        changes[last + 1] -= size
    return int(changes.cumsum().max())


def check(ranges):
    """Plan them: aligned, none on another that lives at the same time, and as large as is said. The bytes."""
    places, top = offsets_of(ranges)
    assert all(at % 8 == 0 and at >= 0 for at in places)
    assert top == max((at + r[2] for at, r in zip(places, ranges, strict=True)), default=0)
    assert top >= most_alive(ranges)
    at = np.array(places, np.int64)
    first, last, size = np.array(ranges, np.int64).reshape(-1, 3).T
    order = np.argsort(first, kind="stable")
    alive = np.empty(0, np.int64)                               # those that have begun and have not ended
    for k in order:
        alive = alive[last[alive] >= first[k]]
        apart = (at[alive] + size[alive] <= at[k]) | (at[k] + size[k] <= at[alive]) | (size[alive] == 0)
        assert size[k] == 0 or apart.all()
        alive = np.append(alive, k)
    return top


def random_ranges(kind, count, rng):
    """Ranges like those of programs: (first, last, bytes)."""
    first = np.sort(rng.integers(0, count, count))
    short = np.minimum(first + rng.integers(1, 5, count), count - 1)
    until = np.maximum(first, count - 1 - first)                # a result that the backward pass reads
    long = np.maximum(first, rng.integers(0, count, count))
    sizes = {"alike": rng.choice([64, 448, 4096, 7168, 65536], count), "any": 64 * rng.integers(1, 65, count),
             "doublings": 64 << rng.integers(0, 12, count),
             "skewed": 8 * np.exp(rng.uniform(1, 11, count)).astype(int)}
    lives = {"chain": short, "training": np.where(rng.random(count) < 0.6, until, short), "uniform": long,
             "mixed": np.where(rng.random(count) < 0.05, long, short)}
    size, life = kind
    return [(int(f), int(t), int(s)) for f, t, s in zip(first, lives[life], sizes[size], strict=True)]


KINDS = [(size, life) for size in ("alike", "any", "doublings", "skewed")
         for life in ("chain", "training", "uniform", "mixed")]
RANGES = st.lists(st.tuples(st.integers(0, 40), st.integers(0, 40), st.integers(0, 64)).map(
    lambda r: (min(r[:2]), max(r[:2]), 8 * r[2])), max_size=60)


@settings(max_examples=300, deadline=None)
@given(RANGES)
def test_few_ranges_lie_where_the_greedy_plan_puts_them(ranges):
    assert check(ranges) == greedy(ranges)


@pytest.mark.parametrize("count", [1, 17, 200, 1000, 1500])
@pytest.mark.parametrize("kind", KINDS, ids="-".join)
def test_random_ranges(kind, count):
    """Beyond 1000 ranges a plan is within 5 per cent of what no plan can go below, or of the greedy one."""
    ranges = random_ranges(kind, count, np.random.default_rng(count))
    top = check(ranges)
    assert top <= 1.05 * most_alive(ranges) or top <= 1.05 * greedy(ranges)


def test_ranges_by_the_hundred_thousand():
    """The work is all but linear: each range compared with every other would be ten thousand million steps."""
    chain = [(k, k + 1, 448) for k in range(100_000)]
    assert offsets_of(chain)[1] == 2 * 448
    nested = [(k, 199_999 - k, 64 << k % 7) for k in range(100_000)]
    assert offsets_of(nested)[1] == most_alive(nested)
    ranges = random_ranges(("skewed", "mixed"), 100_000, np.random.default_rng(0))
    assert offsets_of(ranges)[1] <= 1.2 * most_alive(ranges)


def test_no_ranges():
    assert offsets_of([]) == ([], 0)
    assert offsets_of([(0, 3, 0), (1, 1, 0)]) == ([0, 0], 0)


# ----- a captured step beside the step as it is ----------------------------------------------------------------------

def mlp():
    net = nn.Sequential(nn.Linear(784, 512, rng=0), nn.ReLU(), nn.Linear(512, 512, rng=1), nn.ReLU(),
                        nn.Linear(512, 10, rng=2))
    return net, lambda x, y: F.cross_entropy(net(x), y), (mgx.rand(128, 784, rng=3), mgx.arange(128) % 10)


def lenet():
    net = nn.Sequential(nn.Conv2d(1, 6, 5, padding=2, rng=0), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(6, 16, 5, rng=1),
                        nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(400, 120, rng=2), nn.ReLU(),
                        nn.Linear(120, 84, rng=3), nn.ReLU(), nn.Linear(84, 10, rng=4))
    return net, lambda x, y: F.cross_entropy(net(x), y), (mgx.rand(64, 1, 28, 28, rng=5), mgx.arange(64) % 10)


class Attention(nn.Module):
    def __init__(self, rng):
        self.attend = nn.MultiheadAttention(64, 4, batch_first=True, rng=rng)

    def forward(self, x):
        return self.attend(x, x, x, need_weights=False)[0]


def attention():
    net = nn.Sequential(*[layer for k in (0, 3) for layer in (
        Attention(k), nn.LayerNorm(64), nn.Linear(64, 128, rng=k + 1), nn.ReLU(),
        nn.Linear(128, 64, rng=k + 2))])
    return net, lambda x, y: F.mse_loss(net(x), y), (mgx.rand(16, 32, 64, rng=2), mgx.rand(16, 32, 64, rng=3))


def lstm():
    net = nn.ModuleList([nn.LSTM(32, 64, rng=0), nn.Linear(64, 1, rng=1)])
    return (net, lambda x, y: F.mse_loss(net[1](net[0](x)[0]), y),
            (mgx.rand(50, 16, 32, rng=2), mgx.rand(50, 16, 1, rng=3)))


def peak(make, compiled):
    """The most bytes that arrays have at one time, from before the net is made, in four steps with Adam."""
    gc.collect()
    before, _ = allocated_bytes(restart=True)
    net, loss_of, args = make()
    adam = optim.Adam(net.parameters())

    def step(x, y):
        adam.zero_grad()
        loss = loss_of(x, y)
        loss.backward()
        adam.step()
        return loss
    run = mgx.compile(step) if compiled else step
    losses = [run(*args).item() for _ in range(4)]
    return allocated_bytes()[1] - before, losses


@pytest.mark.parametrize("make", [mlp, lenet, attention, lstm])
def test_a_captured_step_holds_little_more_than_the_step(make):
    """Over the first call, the capture and replays: the blocks that a capture lets go are used again within it, and
    are given back before the program's own memory is asked for."""
    eager, losses = peak(make, False)
    captured, same = peak(make, True)
    assert captured <= 1.2 * eager and same == losses


def test_a_capture_reuses_blocks():
    """Of a thousand temporaries two live at one time."""
    def run(x):
        for _ in range(500):
            x = x * 1.5 + 0.25
        return x
    x = mgx.rand(10_000, rng=0)
    compiled = mgx.compile(run, passes={"reuse"})
    compiled(x)
    before, _ = allocated_bytes(restart=True)
    y = compiled(x)
    assert allocated_bytes()[1] - before < 12 * 40_000 and y.tolist() == run(x).tolist()
    assert compiled(x).tolist() == y.tolist()


def test_what_a_capture_made_is_given_back():
    """Results that the function keeps outlive the program; a call that cannot be replayed leaves nothing."""
    x, kept, fails = mgx.rand(50, 100, rng=0), [], [False]
    rows = mgx.arange(50)

    def run(x):
        w = mgx.ones(50, 100, requires_grad=True)
        y = (w * x)[rows, rows]                                 # its gradient is a host launch
        y.sum().backward()
        if fails[0]:
            (y * 2).sum().item()
        return w.grad * 2.0, w.grad
    gc.collect()
    before, _ = allocated_bytes(restart=True)
    compiled = mgx.compile(run)
    results = []
    for _ in range(3):
        double, gradient = compiled(x)
        results.append(double.tolist())
        kept.append(gradient)
    del double, gradient
    assert results[0] == results[1] == results[2]
    truth = np.zeros((50, 100), "f4")
    truth[range(50), range(50)] = x.numpy()[range(50), range(50)]
    assert kept[1].tolist() == truth.tolist() and results[0] == (2 * truth).tolist()
    del compiled
    gc.collect()
    assert kept[1].tolist() == truth.tolist()
    kept.clear()
    fails[0] = True
    for _ in range(3):
        compiled = mgx.compile(run)
        fails[0] = False
        compiled(x)
        fails[0] = True
        with pytest.warns(CompileWarning, match="runs as it is"):
            compiled(x)
    kept.clear()
    del compiled
    gc.collect()
    assert allocated_bytes(restart=True)[0] <= before
