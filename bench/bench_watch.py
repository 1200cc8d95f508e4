"""What looking costs: an eager training step as it is, under ``flow.watch`` and under ``detect_nan``.

A ratio is the step that is looked at, divided by the step as it is. Steps of 784-128-10 and of nets so small that what
Python does for each operation is most of their time. The ``diagnose`` row is one whole diagnosis.
"""
import functools

from bench.bench_train import LR, NETS, problem
from bench.common import Row


def stepping(net, look):
    """One step of ``net``, which ``look(mgx, model)`` may enter a context for."""
    import microgradx as mgx
    from microgradx import nn, optim
    x, target, _ = problem(net)
    layers = [layer for n_in, n_out in zip(net.sizes, net.sizes[1:])
              for layer in (nn.Linear(n_in, n_out, rng=n_in), nn.Sigmoid())]
    model = nn.Sequential(*layers[:-1])
    cost = nn.functional.mse_loss if net.cost == "mse" else nn.functional.cross_entropy
    opt, x, target = optim.SGD(model.parameters(), lr=LR), mgx.Tensor(x), mgx.Tensor(target)
    look(mgx, model)

    def step():
        opt.zero_grad()
        loss = cost(model(x), target)
        loss.backward()
        opt.step()
        return loss
    return step


def watching(net, **options):
    return stepping(net, lambda mgx, model: mgx.flow.watch(model, **options).__enter__())


def detecting(net):
    import microgradx as mgx
    step = stepping(net, lambda mgx, model: None)

    def detected():
        with mgx.detect_nan():
            return step()
    return detected


def diagnosing():
    """A net of 20 layers of 64 sigmoids on 256 digits: its training and those of the cures, 100 steps each."""
    import microgradx as mgx
    from microgradx import nn
    x, y = (a[:256] for a in mgx.data.digits())
    layers = [layer for k in range(20) for layer in (nn.Linear(64, 64, rng=k), nn.Sigmoid())]
    net = nn.Sequential(*layers, nn.Linear(64, 10, rng=20))
    return lambda: mgx.flow.diagnose(net, nn.functional.cross_entropy, (x, y)).before["cost"]


def rows(quick):
    for net in NETS[:3]:
        yield Row(net.name, {
            "microgradx": functools.partial(stepping, net, lambda mgx, model: None),
            "microgradx watch": functools.partial(watching, net),
            "microgradx watch, every pass": functools.partial(watching, net, every=1),
            "microgradx detect_nan": functools.partial(detecting, net)}, rtol=None)     # each trains its own net
    yield Row("diagnose 20 layers of 64 on 256 rows", {"microgradx": diagnosing}, rtol=None)
