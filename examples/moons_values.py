"""Two moons with micrograd's net, twice: Value by Value, and the same code vectorised. python examples/moons_values.py

A net 2-16-16-1 with ReLU learns to tell two interleaved half circles apart: max-margin loss, L2, plain gradient
descent with a falling rate, as in micrograd's demo. Both runs begin with the same numbers and print the same losses;
moons_tensors.py has them once more, with tensors.
"""
import random
import time
from functools import partial

import numpy as np

import microgradx as mgx
from microgradx import Value, scalar

POINTS, STEPS, ALPHA = 100, 60, 1e-4


def half_circles(rng, noise=0.1):
    """Points (POINTS, 2) and labels -1 or 1."""
    angle = np.linspace(0, np.pi, POINTS // 2)
    outer = np.stack([np.cos(angle), np.sin(angle)], 1)
    inner = np.stack([1 - np.cos(angle), 0.5 - np.sin(angle)], 1)
    return np.concatenate([outer, inner]) + rng.normal(0, noise, (POINTS, 2)), np.repeat([-1.0, 1.0], POINTS // 2)


def rate(step):
    return 1.0 - 0.9 * step / STEPS


def sample_loss(net):
    """The loss of one point and the net's score for it, both Values."""
    params = net.parameters()

    def loss(x, y):
        score = net(x)
        return (1 - y * score).relu() + ALPHA * mgx.dot(params, params), score
    return loss


def eager(net, x, y):
    """Losses and scores of all points, and the gradient in ``grad``: one graph of all of them."""
    loss = sample_loss(net)
    out = [loss([Value(v) for v in point], label) for point, label in zip(x.tolist(), y.tolist())]
    mgx.mean(one for one, _ in out).backward()
    return np.array([[one.data, score.data] for one, score in out]).T


def train(vectorised, x, y, steps=STEPS):
    """The losses, the last accuracy, and the seconds that it took."""
    random.seed(1337)
    net = scalar.MLP(2, [16, 16, 1])
    gradient = mgx.vectorize(sample_loss(net), reduction="mean").backward if vectorised else partial(eager, net)
    start, losses = time.perf_counter(), []
    for step in range(steps):
        net.zero_grad()
        loss, score = gradient(x, y)
        losses.append(loss.mean())
        for p in net.parameters():
            p.data -= rate(step) * p.grad
    return losses, np.mean((score > 0) == (y > 0)), time.perf_counter() - start


def main():
    x, y = half_circles(np.random.default_rng(0))
    runs = {"Value by Value": train(False, x, y), "vectorised": train(True, x, y)}
    (a, _, slow), (b, _, fast) = runs.values()
    print("step  Value by Value      vectorised")
    for step in [*range(0, STEPS, 10), STEPS - 1]:
        print(f"{step:4d}  {a[step]:14.10f}  {b[step]:14.10f}")
    for name, (_, accuracy, seconds) in runs.items():
        print(f"{name}: {1e3 * seconds / STEPS:.3f} ms per step, accuracy {accuracy:.0%}")
    print(f"largest difference of the losses: {np.max(np.abs(np.subtract(a, b))):.1e}; {slow / fast:.0f} times faster")


if __name__ == "__main__":
    main()
