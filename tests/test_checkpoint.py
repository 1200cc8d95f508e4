"""A checkpoint runs its function twice and does what one run does; a Function that returns its argument."""
import itertools
import random
import tracemalloc  # noqa: F401

import numpy as np
import pytest

import microgradx as mgx
from microgradx import Tensor, nn, optim
from microgradx.errors import GraphError

F = nn.functional
DATA = np.random.default_rng(0).standard_normal((6, 3)).astype("f4")


def leaf(data):
    return Tensor(data, requires_grad=True)


# ----- effects count once --------------------------------------------------------------------------------------------

class Counts(nn.Module):
    """Effects of every kind on state of its own, each of which its result depends on."""

    def __init__(self):
        self.w = nn.Parameter([1.0, 2.0, 3.0])
        for name, start in (("added", 0.0), ("copied", [1.0, 1.0, 1.0]), ("assigned", 2.0), ("part", np.zeros((3, 2))),
                            ("whole", np.int64(0))):
            self.register_buffer(name, Tensor(start))
        self.number, self.fresh = 1, None

    def forward(self, x):
        with mgx.no_grad():
            self.added += 1
            self.copied.copy_(self.copied * 0.5 + x.mean(0) * 0.5)
            self.part[1] = self.added
            self.part[:, 0] = self.part[:, 1] + 1
            self.whole += 1
        self.assigned = self.assigned.detach() * 2
        self.number += 1
        self.fresh = Tensor(float(self.number))
        return (x * self.w * self.added + self.copied) * self.assigned * self.number + self.part.sum() * self.fresh * x

    def state(self):
        return [*(b.tolist() for b in self.buffers()), self.number, self.fresh.item()]


def once(make, *, kept, compiled=False, batches=3, together=False):
    """State, results and gradients after some steps, with or without a checkpoint."""
    mgx.manual_seed(0)
    net, out, losses = make(), [], []

    def step(x):
        y = net(x) if kept else mgx.checkpoint(net, x)
        loss = (y * y).sum()
        if not together:
            loss.backward()
        return loss
    step = mgx.compile(step) if compiled else step
    for k in range(batches):
        x = leaf(DATA * (k + 1))
        losses.append(step(x))
        out.append((losses[-1].item(), x))
    if together:
        for loss in losses:
            loss.backward()
    return ([(y, None if x.grad is None else x.grad.tolist()) for y, x in out], [p.grad.tolist() for p in
            net.parameters()], [b.tolist() for b in net.buffers()], net.state() if isinstance(net, Counts) else None)


NETS = {"counts": Counts, "batch norm": lambda: nn.BatchNorm1d(3),
        "average": lambda: nn.BatchNorm1d(3, momentum=None),
        "deep": lambda: nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Tanh(), nn.Linear(4, 3),
                                  nn.BatchNorm1d(3)),
        "dropout": lambda: nn.Sequential(nn.Linear(3, 4), nn.Dropout(0.5), nn.BatchNorm1d(4)),
        "evaluated": lambda: nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4)).eval()}


@pytest.mark.parametrize("name", NETS)
@pytest.mark.parametrize("together", [False, True])
def test_effects_count_once(name, together):
    if name == "counts" and together:                       # the second call writes what the first one's graph keeps
        for kept in (False, True):
            with pytest.raises(GraphError, match="written to since"):
                once(NETS[name], kept=kept, together=True)
        return
    assert once(NETS[name], kept=False, together=together) == once(NETS[name], kept=True, together=together)


@pytest.mark.parametrize("name", sorted(set(NETS) - {"counts"}))
def test_effects_count_once_in_compiled_steps(name):
    anew, kept = (once(NETS[name], kept=keep, compiled=True, batches=6) for keep in (False, True))
    assert anew == kept


def test_nested():
    def outer(net):
        return lambda x: mgx.checkpoint(net, mgx.checkpoint(net, x)) + x
    nets = nn.BatchNorm1d(3), nn.BatchNorm1d(3)
    xs = leaf(DATA), leaf(DATA)
    mgx.checkpoint(outer(nets[0]), xs[0]).square().sum().backward()
    (nets[1](nets[1](xs[1])) + xs[1]).square().sum().backward()
    for a, b in zip(nets[0].buffers(), nets[1].buffers()):
        assert a.tolist() == b.tolist()
    np.testing.assert_allclose(xs[0].grad.tolist(), xs[1].grad.tolist(), rtol=1e-5, atol=1e-6)


def test_second_derivatives_beside_effects():
    found = []
    for kept in (True, False):
        net, x = Counts(), leaf(DATA[:2])
        y = (net(x) if kept else mgx.checkpoint(net, x)).square().sum()
        g, = mgx.autograd.grad(y, x, create_graph=True)
        g.square().sum().backward()
        found.append((x.grad.numpy(), net.w.grad.numpy(), net.state()))
    np.testing.assert_allclose(found[0][0], found[1][0], rtol=1e-5)
    np.testing.assert_allclose(found[0][1], found[1][1], rtol=1e-5)
    assert found[0][2] == found[1][2]


def test_an_error_in_the_second_run_leaves_the_state():
    net, fail = nn.BatchNorm1d(3), []

    def function(x):
        y = net(x)
        if fail:
            raise ValueError("now")
        return y
    y = mgx.checkpoint(function, leaf(DATA)).sum()
    fail.append(True)
    before = [b.tolist() for b in net.buffers()]
    with pytest.raises(ValueError, match="now"):
        y.backward()
    assert [b.tolist() for b in net.buffers()] == before


# ----- writes between forward and backward ---------------------------------------------------------------------------

def write(x):
    with mgx.no_grad():
        x += 1


def stepped(w):
    w.grad = mgx.ones(*w.shape)
    optim.SGD([w], lr=0.1).step()
    w.grad = None


W, B, FROZEN, TABLE = [1.0, 2.0, 3.0], [0.5, 0.5, 0.5], [2.0, 2.0, 2.0], [1, 0, 2]


@pytest.mark.parametrize("read", ["weight", "bias", "frozen factor", "frozen summand", "argument", "integers", "part"])
@pytest.mark.parametrize("change", [write, lambda x: write(x.detach()), lambda x: x.data.mul_(2)],
                         ids=["itself", "detached", "data"])
def test_a_write_is_noticed(read, change):
    w, b, factor, summand, table = leaf(W), leaf(B), Tensor(FROZEN), Tensor(B), Tensor(np.array(TABLE))
    rows, x = leaf(np.ones((2, 3))), leaf(DATA)

    def function(x, order):
        return ((x * w + b) * factor + summand).relu()[:, order] * rows[1]
    y = mgx.checkpoint(function, x, table).sum()
    change({"weight": w, "bias": b, "frozen factor": factor, "frozen summand": summand, "argument": x,
            "integers": table, "part": rows}[read])
    with pytest.raises(GraphError, match="checkpoint runs its function once more.*written to since"):
        y.backward()
    assert x.grad is None and w.grad is None


def test_a_step_of_an_optimizer_is_noticed():
    net, x = nn.Linear(3, 2), Tensor(DATA)
    y = mgx.checkpoint(net, x).sum()
    stepped(net.bias)
    with pytest.raises(GraphError, match="written to since"):
        y.backward()


def test_what_may_be_written():
    """Results, what the function made itself, what it does not read, and what it writes to itself."""
    net, other, x = nn.BatchNorm1d(3), leaf(W), leaf(DATA)
    made = []

    def function(x):
        mask = mgx.ones(3)
        mask *= 2
        made.append(mask)
        return net(x) * mask
    y = mgx.checkpoint(function, x)
    again = mgx.checkpoint(function, leaf(DATA * 2))                    # moves the statistics
    write(other)
    made.clear()
    total = (y * 1).sum() + again.sum()
    total.backward()
    assert x.grad is not None and net.num_batches_tracked.item() == 2


def test_a_loop_of_training():
    net, data = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3), nn.Dropout(0.5), nn.Linear(3, 1)), Tensor(DATA)
    step = optim.Adam(net.parameters(), lr=0.1)
    for _ in range(4):
        step.zero_grad()
        mgx.checkpoint(net, data).square().mean().backward()
        step.step()
    assert net[1].num_batches_tracked.item() == 4


def test_no_graph_is_kept():
    """Neither with one result nor with several."""
    for count in (1, 2):
        kept = []

        class Part(mgx.autograd.Function):
            @staticmethod
            def forward(ctx, x):
                ctx.mark = Mark()
                kept.append(mgx_ref(ctx.mark))
                return x * 2

            @staticmethod
            def backward(ctx, g):
                return g * 2
        y = mgx.checkpoint(lambda x, part=Part, n=count: tuple(part.apply(x) for _ in range(n)), leaf(W))
        assert not any(ref() for ref in kept) and len(kept) == count
        sum(part.sum() for part in y).backward()


class Mark:
    pass


def mgx_ref(o):
    import weakref
    return weakref.ref(o)


# ----- a Function that returns its argument --------------------------------------------------------------------------

class Same(mgx.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x

    @staticmethod
    def backward(ctx, g):
        return g * 10


class Both(mgx.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x, x

    @staticmethod
    def backward(ctx, g, h):
        return g * 10 + h * 100


class InPlace(mgx.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        x *= 3
        return x

    @staticmethod
    def backward(ctx, g):
        return g * 3


@mgx.custom_vjp
def same(x):
    return x


same.defvjp(lambda x: (x, None), lambda _, g: (g * 10,))


@pytest.mark.parametrize("function", [Same.apply, same], ids=["Function", "vjp"])
@pytest.mark.parametrize("of", ["leaf", "result", "view"])
def test_a_returned_argument_is_a_tensor_of_its_own(function, of):
    w = leaf(W)
    x = {"leaf": lambda: w, "result": lambda: w * 1, "view": lambda: w[:]}[of]()
    y = function(x)
    assert y is not x and y.requires_grad and not y.is_leaf
    y *= 2
    assert x.tolist() == W and y.tolist() == [2, 4, 6]
    (y.sum() + x.sum()).backward()
    assert w.grad.tolist() == [21.0] * 3


def test_one_of_two_results_is_not_written_to():
    x = leaf(W)
    y, _ = Both.apply(x)
    with pytest.raises(GraphError, match="write to a clone"):
        y *= 2
    assert x.tolist() == W


def test_both_results_count():
    w = leaf(W)
    a, b = Both.apply(w)
    (a + b * 2).sum().backward()
    assert w.grad.tolist() == [210.0] * 3


def test_a_returned_argument_without_a_graph():
    x = Tensor(W)
    y = Same.apply(x)
    y *= 2
    assert x.tolist() == W
    w = leaf(W)
    with mgx.no_grad():
        y = Same.apply(w)
        y *= 2
    assert w.tolist() == W


def test_an_argument_that_is_written_to_and_returned_counts_once():
    w = leaf(W)
    x = w * 1
    y = InPlace.apply(x)
    y.sum().backward()
    assert w.grad.tolist() == [3.0] * 3 and y.tolist() == [3, 6, 9]


def test_a_checkpoint_that_returns_its_argument():
    w = leaf(W)
    for function in (lambda x: x, lambda x: w):
        y = mgx.checkpoint(function, w * 1)
        y *= 2
        assert w.tolist() == W
        w.grad = None
        y.sum().backward()
        assert w.grad.tolist() == [2.0] * 3


# ----- what goes another way the second time, and what writes into what it is given -----------------------------------

def wide(x):
    return x.expand(2, *x.shape).sum(0)


@pytest.mark.parametrize("first, second, words", [
    (lambda x: x.tanh(), lambda x: x.tanh().exp(), "went another way than the first \\(1 operations, then 2"),
    (lambda x: x.tanh(), lambda x: x.exp(), "went another way"), (lambda x: x * 1, wide, "went another way"),
    (lambda x: x.tanh(), lambda x: x.tanh().sum(), r"returned 1 results of shape \(\) \(float32\), the first 1 results "
                                                   r"of shape \(6, 3\)"),
    (lambda x: x.tanh(), lambda x: (x.tanh(), x), "returned 2 results"),
    (lambda x: (x.tanh(), x), lambda x: [x.tanh(), x], "returned 2 results"),
    (lambda x: x[:3].exp().sum(), lambda x: x[:4].exp().sum(), "went another way"),
    (lambda x: x.tanh(), lambda x: x.tanh().astype("float64"), r"returned 1 results of shape \(6, 3\) \(float64\)")])
@pytest.mark.parametrize("linked", [False, True])
def test_a_second_run_that_goes_another_way_is_refused(first, second, words, linked):
    ways = [first, second]
    x = leaf(DATA)
    y = mgx.checkpoint(lambda x: ways.pop(0)(x), x * 2 if linked else x)
    y = y if isinstance(y, Tensor) else sum(part.sum() for part in y)
    with pytest.raises(GraphError, match=f"^checkpoint: the second run {words}"):
        mgx.autograd.grad(y.sum(), [x], create_graph=linked)


@pytest.mark.parametrize("draw", [lambda: random.random(), lambda: np.random.random(), np.random.default_rng(0).random,
                                  itertools.count().__next__])
def test_random_numbers_of_others_are_noticed(draw):
    x = leaf(DATA)
    y = mgx.checkpoint(lambda x: (x * draw()).tanh(), x)
    with pytest.raises(GraphError, match="^checkpoint: the second run gave other numbers"):
        y.sum().backward()


def test_results_that_are_no_numbers_and_written_to_are_the_same():
    x = leaf([[np.nan, np.inf, 1.0], [0.0, -np.inf, 2.0]])
    y = mgx.checkpoint(lambda x: x * 2, x)
    y.detach()[:] = 7.0
    y.backward(mgx.ones(2, 3))
    assert x.grad.tolist() == [[2.0] * 3] * 2


def test_a_second_run_by_way_of_a_graph_from_outside_goes_the_same_way():
    """What leads to its arguments does not count: the second run is linked to it, the first is not."""
    x = leaf(DATA)
    y = mgx.checkpoint(lambda a: (a * x).tanh() + a, (x * 2).exp())
    first, = mgx.autograd.grad(y.sum(), [x], create_graph=True)
    assert first.requires_grad and mgx.autograd.grad(first.sum(), [x])[0].shape == x.shape


def doubled_in_place(g):
    g *= 2
    return g


class Doubled(mgx.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x * 2

    @staticmethod
    def backward(ctx, g):
        return doubled_in_place(g)


@mgx.custom_vjp
def doubled(x):
    return x * 2, x * 1


doubled.defvjp(lambda x: ((x * 2, x * 1), None), lambda _, gs: (doubled_in_place(gs[0][0:]) + gs[1],))


@pytest.mark.parametrize("call, name", [(Doubled.apply, "Doubled"), (lambda x: doubled(x)[0], "doubled")])
def test_a_derivative_by_hand_that_writes_into_the_gradient_it_is_given_is_refused(call, name):
    x = leaf(DATA)
    y = x * 3
    with pytest.raises(GraphError, match=rf"^{name}: backward wrote into the gradient .* of shape \(6, 3\)"):
        (call(y) * DATA + y).sum().backward()
    assert x.grad is None
