"""What looking costs: an eager training step as it is, under ``flow.watch`` and under ``detect_nan``.

A ratio is the step that is looked at, divided by the step as it is. Steps of 784-128-10 and of nets so small that what
Python does for each operation is most of their time. A loop that is watched with its optimizer is run for as many steps
as the default measures one of; ResNet-18 in steps that are measured, and in steps between those. The ``diagnose`` row
is one whole diagnosis.
"""
import functools

from bench.bench_train import LR, NETS, problem
from bench.common import Row

STEPS = 128                     # of so many steps ``flow.watch(model, optimizer)`` measures one


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


def looping(net, **options):
    """As many steps as the default measures one of, in a loop that is watched with its optimizer; ``None``: is not."""
    import microgradx as mgx
    from microgradx import nn, optim
    x, target, _ = problem(net)
    layers = [layer for n_in, n_out in zip(net.sizes, net.sizes[1:])
              for layer in (nn.Linear(n_in, n_out, rng=n_in), nn.Sigmoid())]
    return _loop(mgx.flow, nn.Sequential(*layers[:-1]), optim, nn.functional, net.cost, mgx.Tensor(x),
                 mgx.Tensor(target), options)


def looping_in_torch(net, **options):
    import torch
    from torch import nn

    import microgradx as mgx
    x, target, _ = problem(net)
    layers = [layer for n_in, n_out in zip(net.sizes, net.sizes[1:])
              for layer in (nn.Linear(n_in, n_out), nn.Sigmoid())]
    target = torch.as_tensor(target)
    return _loop(mgx.flow, nn.Sequential(*layers[:-1]), torch.optim, nn.functional, net.cost, torch.as_tensor(x),
                 target if net.cost == "mse" else target.long(), options)


def resnet(watched, **options):
    """ResNet-18 for images of 3x32x32 (He et al., 2016), a batch of 32: a step in torch that is looked at or not."""
    import torch
    from torch import nn

    import microgradx as mgx

    class Block(nn.Module):
        def __init__(self, n_in, n_out, stride):
            super().__init__()
            self.a, self.b = (nn.Conv2d(n_in, n_out, 3, stride, 1, bias=False),
                              nn.Conv2d(n_out, n_out, 3, 1, 1, bias=False))
            self.na, self.nb = nn.BatchNorm2d(n_out), nn.BatchNorm2d(n_out)
            self.skip = nn.Identity() if n_in == n_out else nn.Sequential(
                nn.Conv2d(n_in, n_out, 1, stride, bias=False), nn.BatchNorm2d(n_out))

        def forward(self, x):
            return (self.nb(self.b(self.na(self.a(x)).relu())) + self.skip(x)).relu()

    torch.manual_seed(0)
    widths = (64, 64, 128, 256, 512)
    blocks = [Block(n_in if k == 0 else n_out, n_out, 2 if k == 0 and n_out > 64 else 1)
              for n_in, n_out in zip(widths, widths[1:]) for k in range(2)]
    model = nn.Sequential(nn.Conv2d(3, 64, 3, 1, 1, bias=False), nn.BatchNorm2d(64), nn.ReLU(), *blocks,
                          nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(512, 10))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    x, y = torch.randn(32, 3, 32, 32), torch.randint(0, 10, (32,))
    if watched:
        mgx.flow.watch(model, optimizer, **options).__enter__()

    def step():
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
    return step


def _loop(flow, model, optim, functional, name, x, target, options):
    cost = functional.mse_loss if name == "mse" else functional.cross_entropy
    optimizer = optim.SGD(model.parameters(), lr=LR)
    if options.pop("watched", True):
        flow.watch(model, optimizer, **options).__enter__()

    def steps():
        for _ in range(STEPS):
            optimizer.zero_grad()
            cost(model(x), target).backward()
            optimizer.step()
    return steps


def rows(quick):
    for net in NETS[:3]:
        yield Row(net.name, {
            "microgradx": functools.partial(stepping, net, lambda mgx, model: None),
            "microgradx watch": functools.partial(watching, net),
            "microgradx watch, every pass": functools.partial(watching, net, every=1),
            "microgradx detect_nan": functools.partial(detecting, net)}, rtol=None)     # each trains its own net
    for net in NETS[:3]:
        for name, loop in (("microgradx", looping), ("torch", looping_in_torch)):
            yield Row(f"{STEPS} steps of {net.name}", {
                name: functools.partial(loop, net, watched=False),
                f"{name} watch(model, optimizer)": functools.partial(loop, net),
                f"{name} watch, every step": functools.partial(loop, net, every=1)}, rtol=None, per=STEPS)
    if not quick:
        yield Row("a step of ResNet-18, 32 x 3x32x32", {
            "torch": functools.partial(resnet, False),
            "torch watch, a step between": functools.partial(resnet, True, every=1 << 20),
            "torch watch, every step": functools.partial(resnet, True, every=1)}, rtol=None)
    yield Row("diagnose 20 layers of 64 on 256 rows", {"microgradx": diagnosing}, rtol=None)
