"""The moons of moons_values.py with tensors: the same net, loss and descent, eager and compiled.

    python examples/moons_tensors.py

Eager and compiled losses are the same to the last bit; those of the Values differ by rounding.
"""
import random
import time

import numpy as np
from moons_values import ALPHA, STEPS, half_circles, rate

import microgradx as mgx
from microgradx import nn, optim, scalar


def linear(layer):
    """A layer of Values as a layer of tensors."""
    made = nn.Linear(len(layer.neurons[0].w), len(layer.neurons), dtype="float64")
    made.weight = nn.Parameter([[w.data for w in neuron.w] for neuron in layer.neurons], dtype="float64")
    made.bias = nn.Parameter([neuron.b.data for neuron in layer.neurons], dtype="float64")
    return made


def training(x, y):
    """A net of its own, what it gets right, its rate, and its training step."""
    random.seed(1337)
    first, second, last = map(linear, scalar.MLP(2, [16, 16, 1]).layers)
    net = nn.Sequential(first, nn.ReLU(), second, nn.ReLU(), last)
    points, labels = mgx.Tensor(x), mgx.Tensor(y[:, None])
    sgd = optim.SGD(net.parameters())

    def step():
        sgd.zero_grad()
        loss = (1 - labels * net(points)).relu().mean() + ALPHA * sum(p.square().sum() for p in net.parameters())
        loss.backward()
        sgd.step()
        return loss
    return lambda: (net(points) > 0) == (labels > 0), sgd.param_groups[0], step


def run(step, group, steps=STEPS):
    """The losses, and the seconds that a step takes."""
    losses, seconds = [], []
    for k in range(steps):
        group["lr"], start = rate(k), time.perf_counter()
        losses.append(step())
        seconds.append(time.perf_counter() - start)
    return [loss.item() for loss in losses], np.median(seconds)


def main():
    x, y = half_circles(np.random.default_rng(0))
    right, group, step = training(x, y)
    eager, slow = run(step, group)
    _, group, step = training(x, y)
    compiled, fast = run(mgx.compile(step), group)
    print(f"loss {eager[0]:.10f} -> {eager[-1]:.10f}, {right().mean().item():.0%} of the points right")
    print(f"eager {slow * 1e6:.1f} us a step, compiled {fast * 1e6:.1f} us: {slow / fast:.1f} times faster")
    print(f"the same losses to the last bit: {eager == compiled}")


if __name__ == "__main__":
    main()
