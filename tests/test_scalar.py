"""micrograd's nets on ``Value``: the same draws, names and numbers."""
import random

import pytest

from microgradx import Value, scalar
from microgradx.errors import OptionError


def plain_net(x, layers):
    """micrograd's own arithmetic in floats: ``sum((wi*xi ...), b)``, ReLU in all but the last layer."""
    for depth, layer in enumerate(layers):
        out = []
        for w, b in layer:
            total = b
            for wi, xi in zip(w, x):
                total = total + wi * xi
            out.append(max(total, 0.0) if depth < len(layers) - 1 else total)
        x = out
    return x


def test_draws_order_and_numbers_are_micrograds():
    random.seed(1337)
    net = scalar.MLP(2, [16, 16, 1])
    random.seed(1337)
    sizes, drawn = [2, 16, 16, 1], []
    for nin, nout in zip(sizes, sizes[1:]):
        drawn.append([([random.uniform(-1, 1) for _ in range(nin)], 0.0) for _ in range(nout)])
    flat = [number for layer in drawn for w, b in layer for number in [*w, b]]
    assert [p.data for p in net.parameters()] == flat and len(flat) == 337
    assert net([0.7, -1.3]).data == plain_net([0.7, -1.3], drawn)[0]             # to the last bit
    assert net([Value(0.7), Value(-1.3)]).data == net([0.7, -1.3]).data


# recorded from micrograd 0.1.0: random.seed(1337), MLP(2, [4, 1]), x = (0.7, -1.3), y.backward()
RECORDED = (0.06609593776698273, [
    0.5904171138547634, -1.096488925730275, 0.8434530197925192, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0,
    0.07836350835905675, 0.0, 0.0, 0.0, 1.0])


def test_gradients_are_those_recorded_from_micrograd():
    random.seed(1337)
    net = scalar.MLP(2, [4, 1])
    y = net([0.7, -1.3])
    y.backward()
    assert y.data == RECORDED[0]
    assert [p.grad for p in net.parameters()] == RECORDED[1]
    net.zero_grad()
    assert all(p.grad == 0 for p in net.parameters())


def test_shapes_of_results():
    assert isinstance(scalar.Layer(3, 1)([1.0, 2.0, 3.0]), Value)
    assert len(scalar.Layer(3, 2, nonlin=False)([1.0, 2.0, 3.0])) == 2
    with pytest.raises(OptionError, match="2 != 3|3 != 2|3 weights and 4|4 weights and 3"):
        scalar.Neuron(3)([1.0, 2.0])


def test_repr():
    assert repr(scalar.MLP(1, [2, 1])) == (
        "MLP of [Layer of [ReLUNeuron(1), ReLUNeuron(1)], Layer of [LinearNeuron(2)]]")
