"""Programs of Values, traced once: micrograd's moons step over rows (vectorize) and as a flat list (compile)."""
import importlib.util

import numpy as np

from bench.bench_value import moons, moons_micrograd, moons_scalar, moons_step, moons_swapped
from bench.common import Row

NODES = 65_800                          # operations in the graph of micrograd's moons step


def net_of(kind):
    """A net 2-16-16-1 with the numbers of `moons_step`: micrograd's own code over our Value, or microgradx.scalar."""
    import microgradx as mgx
    from microgradx import scalar
    module = scalar
    if kind == "micrograd":
        spec = importlib.util.find_spec("micrograd.nn")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        module.Value = mgx.Value
    net = module.MLP(2, [16, 16, 1])
    moons_step(net, mgx.Value)          # sets the parameters
    return net


def sample_loss(net):
    """The loss of one point; its mean over the points is the loss of `moons_step`."""
    import microgradx as mgx
    params = net.parameters()
    return lambda x, y: (1 + -y * net(x)).relu() + 1e-4 * mgx.dot(params, params)


def whole_loss(net):
    """The loss of all points as one scalar graph."""
    x, labels = moons()
    params = net.parameters()

    def loss():
        margins = [(1 + -y * net(row)).relu() for y, row in zip(labels, x)]
        return sum(margins) * (1.0 / len(margins)) + 1e-4 * sum(p * p for p in params)
    return loss


def vectorized_step(kind, rate=1e-6):
    """Loss, gradient and update."""
    import microgradx as mgx
    net = net_of(kind)
    params = net.parameters()
    x, y = map(np.array, moons())
    f = mgx.vectorize(sample_loss(net), reduction="mean")

    def step():
        net.zero_grad()
        loss = f.backward(x, y).mean()
        for p in params:
            p.data -= rate * p.grad
        return float(loss)
    return step


def vectorized_gradient(kind):
    """Losses and their gradient, without the loops of the update, which are Python's."""
    import microgradx as mgx
    net = net_of(kind)
    x, y = map(np.array, moons())
    f, bias = mgx.vectorize(sample_loss(net), reduction="mean"), net.parameters()[-1]

    def gradient():
        losses = f.backward(x, y)
        return bias.grad, losses
    return gradient


def compiled_gradient():
    """The same program with a Tensor of all points for each scalar, compiled: is a machine of its own needed?"""
    import microgradx as mgx
    net = net_of("micrograd")
    x, y = map(np.array, moons())
    columns, labels = [mgx.Tensor(np.ascontiguousarray(c)) for c in x.T], mgx.Tensor(y.astype(float))
    layers = [[([mgx.Tensor(w.data, dtype="float64", requires_grad=True) for w in neuron.w],
                mgx.Tensor(neuron.b.data, dtype="float64", requires_grad=True)) for neuron in layer.neurons]
              for layer in net.layers]
    params = [p for layer in layers for w, b in layer for p in (*w, b)]

    @mgx.compile
    def step(columns, labels):
        for p in params:
            p.grad = None
        values = columns
        for depth, layer in enumerate(layers, 1):
            values = [sum((w * v for w, v in zip(weights, values)), b) for weights, b in layer]
            if depth < len(layers):
                values = [v.relu() for v in values]
        losses = (1 + -labels * values[0]).relu() + 1e-4 * sum(p * p for p in params)
        losses.mean().backward()
        return losses

    def gradient():
        losses = step(columns, labels)
        return params[-1].grad.item(), losses.numpy()
    return gradient


def eager_gradient(library):
    """The same by a scalar graph."""
    if library == "micrograd":
        from micrograd import nn
        from micrograd.engine import Value
        net = nn.MLP(2, [16, 16, 1])
        moons_step(net, Value)
    else:
        from microgradx import Value
        net = net_of("micrograd")
    x, labels = moons()
    params = net.parameters()

    def gradient():
        net.zero_grad()
        margins = [(1 + -y * net([Value(v) for v in row])).relu() for y, row in zip(labels, x)]
        decay = 1e-4 * sum(p * p for p in params)
        (sum(margins) * (1.0 / len(margins)) + decay).backward()
        return params[-1].grad, np.array([margin.data + decay.data for margin in margins])
    return gradient


def replayed(kind):
    """Forward and backward of the whole graph, replayed."""
    from microgradx._core.scalar.replay import compile_values
    f = compile_values(whole_loss(net_of(kind)))

    def step():
        loss = f()
        loss.backward()
        return loss.data
    return step


def traced(what, kind):
    """What the first call costs."""
    import microgradx as mgx
    from microgradx._core.scalar.replay import compile_values
    net = net_of(kind)
    x, y = (a[:1] for a in map(np.array, moons()))
    if what == "vectorize":
        return lambda: float(mgx.vectorize(sample_loss(net))(x, y)[0])
    return lambda: compile_values(whole_loss(net))().data


def chain(pairs=500, replay=True):
    """y = y * a + b, forward and backward."""
    from microgradx import Value
    from microgradx._core.scalar.replay import compile_values

    def loss(y, a, b):
        for _ in range(pairs):
            y = y * a + b
        return y
    f = compile_values(loss) if replay else loss
    y, a, b = Value(0.5), Value(1.01), Value(0.5)

    def step():
        a.grad = 0
        f(y, a, b).backward()
        return a.grad
    return step


def rows(quick):
    yield Row("moons loss and gradient, 100 rows", {
        "microgradx vectorize": lambda: vectorized_gradient("micrograd"),
        "microgradx vectorize scalar": lambda: vectorized_gradient("scalar"),
        "microgradx compile, tensors": compiled_gradient,
        "microgradx eager": lambda: eager_gradient("microgradx"),
        "micrograd": lambda: eager_gradient("micrograd")}, rtol=1e-9)
    yield Row("moons step with L2 and update, 100 rows", {
        "microgradx vectorize": lambda: vectorized_step("micrograd"),
        "microgradx scalar, eager": moons_scalar, "microgradx swapped, eager": moons_swapped,
        "micrograd": moons_micrograd}, rtol=1e-9)
    yield Row("moons graph replayed flat, forward + backward, per node", {
        "microgradx": lambda: replayed("micrograd"), "microgradx scalar": lambda: replayed("scalar")},
        per=NODES, rtol=1e-9)
    yield Row("chain y*a+b of Values, per op", {
        "microgradx replayed": chain, "microgradx eager": lambda: chain(replay=False)}, per=1000, rtol=1e-12)
    for what in ("vectorize", "compile"):
        yield Row(f"moons, the first call of {what}", {
            "microgradx": lambda what=what: traced(what, "micrograd"),
            "microgradx scalar": lambda what=what: traced(what, "scalar")},
            rtol=1e-9)
