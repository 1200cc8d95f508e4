"""Recurrent layers, whose steps are one launch, against the same layers written out, step by step, by their cells."""
import itertools
import math
import signal
import time

import numpy as np
import pytest

import microgradx as mgx
from microgradx import Tensor, nn
from microgradx._core.launch import run
from microgradx.autograd import grad
from microgradx.errors import DTypeError, GraphError, ShapeError
from microgradx.nn.utils.rnn import PackedSequence, pack_sequence, pad_packed_sequence

KINDS = {"tanh": (nn.RNN, nn.RNNCell, {}), "relu": (nn.RNN, nn.RNNCell, {"nonlinearity": "relu"}),
         "gru": (nn.GRU, nn.GRUCell, {}), "lstm": (nn.LSTM, nn.LSTMCell, {})}
TOLERANCE = {"float32": 2e-5, "float64": 1e-12}


def numbers(*shape, dtype="float64", seed=0, scale=1.0):
    return Tensor((scale * np.random.default_rng([seed, *shape]).normal(size=shape)).astype(dtype), requires_grad=True)


def layer_of(kind, *args, **options):
    make, _, more = KINDS[kind]
    return make(*args, rng=1, **more, **options)


def states_of(layer, m, seed=7, scale=1.0):
    ways = layer.num_layers * len(layer.suffixes)
    dtype = layer.weight_hh_l0.dtype
    return [numbers(ways, m, layer.hidden_size, dtype=dtype, seed=seed + k, scale=scale) for k in range(layer.states)]


def given(layer, states):
    return states[0] if layer.states == 1 else tuple(states)


def written_out(kind, layer, steps, states):
    """(outputs by step, last states) of a layer of any number of layers and directions, by its cells."""
    ways, last = len(layer.suffixes), []
    for k in range(layer.num_layers):
        outs = []
        for way, suffix in enumerate(layer.suffixes):
            cell = KINDS[kind][1](layer.input_size if k == 0 else layer.hidden_size * ways, layer.hidden_size,
                                  bias=layer.bias, **KINDS[kind][2])
            for name in list(cell._parameters):
                setattr(cell, name, getattr(layer, f"{name}_l{k}{suffix}"))
            now, order = [s[k * ways + way] for s in states], range(len(steps))
            ys = [None] * len(steps)
            for t in reversed(order) if way else order:
                after = cell(steps[t], now[0] if layer.states == 1 else tuple(now))
                now = [after] if layer.states == 1 else list(after)
                ys[t] = now[0]
            outs.append(ys)
            last.append(now)
        steps = outs[0] if ways == 1 else [mgx.concat(pair, -1) for pair in zip(*outs)]
    return mgx.stack(steps), [mgx.stack(ends) for ends in zip(*last)]


def assert_near(got, wanted, dtype):
    for one, other in zip(got, wanted, strict=True):
        scale = max(1.0, np.abs(other.numpy()).max(initial=0.0))
        np.testing.assert_allclose(one.numpy(), other.numpy(), rtol=0, atol=TOLERANCE[dtype] * scale)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("kind", KINDS)
def test_equals_the_layer_written_out(kind, dtype, bias):
    for (t, m, n, h), bidirectional in itertools.product([(1, 1, 1, 1), (7, 3, 2, 5), (2, 40, 3, 17), (3, 2, 4, 64)],
                                                         [False, True]):
        layer = layer_of(kind, n, h, 2, bias=bias, bidirectional=bidirectional, dtype=dtype)
        x, states = numbers(t, m, n, dtype=dtype), states_of(layer, m)
        leaves = [x, *states, *layer.parameters()]
        y, ends = layer(x, given(layer, states))
        ends = [ends] if layer.states == 1 else list(ends)
        wanted, last = written_out(kind, layer, list(x), states)
        assert_near([y.detach(), *(e.detach() for e in ends)], [wanted.detach(), *(e.detach() for e in last)], dtype)
        weights = [numbers(*a.shape, dtype=dtype, seed=9) for a in (y, *ends)]
        assert_near(grad(sum((a * w).sum() for a, w in zip((y, *ends), weights)), leaves),
                    grad(sum((a * w).sum() for a, w in zip((wanted, *last), weights)), leaves), dtype)


@pytest.mark.parametrize("kind", KINDS)
def test_second_derivatives(kind):
    layer = layer_of(kind, 2, 3, dtype="float64")
    x, states = numbers(4, 2, 2), states_of(layer, 2, scale=0.5)
    leaves = [x, *states, *layer.parameters()]
    directions = [numbers(*a.shape, seed=3) for a in leaves]

    def along(outputs):
        total = sum((a.sin() * a).sum() for a in outputs)
        return sum((g * v).sum() for g, v in zip(grad(total, leaves, create_graph=True), directions))
    y, ends = layer(x, given(layer, states))
    wanted, last = written_out(kind, layer, list(x), states)
    assert_near(grad(along([y, *([ends] if layer.states == 1 else ends)]), leaves),
                grad(along([wanted, *last]), leaves), "float64")


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_are_those_of_differences(kind):
    layer = layer_of(kind, 2, 3, dtype="float64", bidirectional=True)
    x, h = numbers(3, 2, 2), states_of(layer, 2, scale=0.5)
    assert mgx.gradcheck(lambda *leaves: layer(leaves[0], given(layer, list(leaves[1:])))[0].sin().sum(), (x, *h))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("bidirectional", [False, True])
def test_packed_sequences(kind, bidirectional):
    """A packed sequence gives what each of its sequences gives alone."""
    layer = layer_of(kind, 3, 5, 2, bidirectional=bidirectional, dtype="float64")
    xs = [numbers(t, 3, seed=t) for t in (6, 6, 4, 1)]
    states = states_of(layer, 4)
    packed, ends = layer(pack_sequence(xs), given(layer, states))
    y, lengths = pad_packed_sequence(packed)
    ends = [ends] if layer.states == 1 else list(ends)
    alone = []
    for k, x in enumerate(xs):
        one, last = layer(x, given(layer, [s[:, k] for s in states]))
        alone.append((one, *([last] if layer.states == 1 else last)))
        assert_near([y[:len(x), k].detach(), *(e[:, k].detach() for e in ends)], [a.detach() for a in alone[-1]],
                    "float64")
    leaves = [*xs, *states, *layer.parameters()]
    assert_near(grad(sum((a * a).sum() for a in (packed.data, *ends)), leaves),
                grad(sum((a * a).sum() for parts in alone for a in parts), leaves), "float64")


def test_a_packed_sequence_that_is_none():
    layer, x = nn.GRU(2, 3, rng=0), mgx.ones(4, 2)
    for sizes in ([1, 3], [3, 2], [4, 1], [5, -1], [0, 4]):
        with pytest.raises(ShapeError, match=r"GRU: .*\[" + ", ".join(map(str, sizes))):
            layer(PackedSequence(x, mgx.tensor(sizes)))


@pytest.mark.parametrize("kind", KINDS)
def test_shapes_at_the_ends(kind):
    layer = layer_of(kind, 2, 1)
    assert layer(mgx.ones(1, 2))[0].shape == (1, 1) and layer(mgx.ones(1, 1, 2))[0].shape == (1, 1, 1)
    with pytest.raises(ShapeError, match="no steps"):
        layer(mgx.ones(0, 1, 2))
    x = mgx.ones(3, 0, 2, requires_grad=True)
    y, ends = layer(x)
    assert y.shape == (3, 0, 1) and all(e.shape == (1, 0, 1) for e in ([ends] if layer.states == 1 else ends))
    y.sum().backward()
    assert x.grad.shape == x.shape and all((p.grad.numpy() == 0).all() for p in layer.parameters())


@pytest.mark.parametrize("kind", KINDS)
def test_layouts(kind):
    """Strided inputs, weights and states, and batch_first, whose result is contiguous and may be written to."""
    layer = layer_of(kind, 3, 4, dtype="float64")
    states = states_of(layer, 5)
    y, _ = layer(numbers(5, 6, 3).transpose(0, 1), given(layer, states))
    first = layer_of(kind, 3, 4, dtype="float64", batch_first=True)
    other, _ = first(numbers(5, 6, 3), given(layer, states))
    assert_near([other.detach()], [y.transpose(0, 1).detach()], "float64")
    assert other.detach().numpy().flags.c_contiguous
    strided = numbers(5, 12, 6)[:, ::2, ::2]
    assert_near([first(strided, given(layer, states))[0].detach()],
                [first(strided.detach().clone(), given(layer, states))[0].detach()], "float64")
    back = [s.transpose(1, 2).clone().transpose(1, 2) for s in states]
    assert_near([first(strided, given(layer, back))[0].detach()], [first(strided, given(layer, states))[0].detach()],
                "float64")
    other += 1
    other.sum().backward()
    assert first.weight_hh_l0.grad is not None


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("kind", KINDS)
def test_extreme_numbers(kind, dtype):
    """Large arguments, infinities and nans give what the layer written out gives, forward and back."""
    for value in (30.0, -30.0, 1e4, -1e4, math.inf, -math.inf, math.nan):
        layer = layer_of(kind, 1, 3, dtype=dtype)
        x = numbers(3, 1, 1, dtype=dtype)
        with mgx.no_grad():
            x[1] = value
        states = states_of(layer, 1)
        y, _ = layer(x, given(layer, states))
        wanted, _ = written_out(kind, layer, list(x), states)
        np.testing.assert_allclose(y.detach().numpy(), wanted.detach().numpy(), rtol=1e-5)
        for one, other in zip(grad(y.sum(), [x, *layer.parameters()]), grad(wanted.sum(), [x, *layer.parameters()])):
            assert (np.isnan(one.numpy()) == np.isnan(other.numpy())).all()
            np.testing.assert_allclose(one.numpy(), other.numpy(), rtol=1e-4, atol=1e-37)


def test_saturated_gates_have_a_gradient():
    """sigma'(z) is not computed as y (1 - y), which is 0 in float32 from z = 17 on."""
    for kind in ("lstm", "gru", "tanh"):
        layer = layer_of(kind, 1, 1)
        with mgx.no_grad():
            layer.bias_ih_l0.fill_(20.0)
        layer(mgx.ones(1, 1, 1), given(layer, states_of(layer, 1)))[0].sum().backward()
        assert all(layer.bias_ih_l0.grad.tolist()), kind


@pytest.mark.parametrize("kind", KINDS)
def test_compiled(kind):
    layer = layer_of(kind, 3, 4, 2, bidirectional=True)

    def step(x):
        y, ends = layer(x)
        loss = (y * y).sum() + (ends if layer.states == 1 else ends[1]).sum()
        loss.backward()
        return loss, [p.grad for p in layer.parameters()]
    compiled = mgx.compile(step, check=True)
    for k in range(3):
        found = []
        for function in (step, compiled):
            layer.zero_grad()
            loss, grads = function(Tensor(np.random.default_rng(k).normal(size=(5, 2, 3)).astype("f4")))
            found.append([loss.item(), *(g.numpy().tobytes() for g in grads)])
        assert found[0] == found[1]


def test_dropout_between_layers():
    layer = nn.LSTM(3, 4, 2, dropout=0.5, rng=0)
    x = numbers(5, 2, 3, dtype="float32")
    first, second = layer(x)[0].detach(), layer(x)[0].detach()
    assert (first.numpy() != second.numpy()).any()
    layer.eval()
    assert (layer(x)[0].numpy() == layer(x)[0].numpy()).all()


def test_what_does_not_fit():
    layer, x = nn.LSTM(3, 4, rng=0), mgx.ones(2, 1, 3)
    h = mgx.zeros(1, 1, 4)
    for states, error, text in [((h, h.double()), DTypeError, "do not mix"), ((h, np.zeros((1, 1, 4))), DTypeError,
                                                                              "a state is a Tensor, not"),
                                ((h,), ShapeError, "a state has 2"), ((h, h[0]), ShapeError, "a state has 2")]:
        with pytest.raises(error, match=text):
            layer(x, states)
    layer.weight_hh_l0 = nn.Parameter(np.zeros((16, 5), "f4"))
    with pytest.raises(ShapeError, match=r"do not fit weights \(16, 5\)"):
        layer(x)
    layer.weight_hh_l0 = nn.Parameter(np.zeros((16, 4)))
    with pytest.raises(DTypeError, match="float64"):
        layer(x)


def test_the_row_refuses_wrong_counts():
    sizes = dict(cell=0, steps=2, m=2, h=1, rows=3, gates=1, states=1, kept=1, reverse=0)
    for counts, bad in ([2, 1], None), ([1, 2], 1), ([3, 0], 0), ([2, 0], 2), ([-1, 4], 0):
        found = run("recurrence", mgx.ones(3), mgx.ones(1), None, mgx.ones(2), mgx.tensor(counts), mgx.ones(3),
                    mgx.ones(2), None, integers=tuple(sizes.values()))
        assert found == bad


def test_what_was_written_to_since():
    layer, x = nn.GRU(2, 3, rng=0), numbers(4, 1, 2, dtype="float32")
    y = layer(x)[0].sum()
    with mgx.no_grad():
        layer.weight_hh_l0 += 1
    with pytest.raises(GraphError, match="written to since"):
        y.backward()
    y = layer(x)[0].sum()
    with mgx.no_grad():
        layer.bias_hh_l0 += 1
    with pytest.raises(GraphError, match="written to since"):
        grad(y, [x], create_graph=True)


def test_a_long_sequence_can_be_interrupted():
    layer, x = nn.LSTM(1, 128, rng=0), mgx.zeros(20_000, 16, 1)

    def stop(*_):
        raise KeyboardInterrupt
    before = signal.signal(signal.SIGALRM, stop)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.3)
        start = time.process_time()
        with pytest.raises(KeyboardInterrupt), mgx.no_grad():
            for _ in range(50):
                layer(x)
        assert time.process_time() - start < 2
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
