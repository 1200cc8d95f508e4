"""The moons net (2-16-16-1) with tensors: trained eagerly, then compiled. Same losses to the last bit.

    python examples/moons_tensors.py
"""
import time

import microgradx as mgx
from microgradx import nn, optim
from microgradx.data import moons

STEPS = 500


def training(points, labels):
    """A net of its own and its training step."""
    net = nn.Sequential(nn.Linear(2, 16, rng=0), nn.ReLU(), nn.Linear(16, 16, rng=1), nn.ReLU(),
                        nn.Linear(16, 1, rng=2))
    sgd = optim.SGD(net.parameters(), lr=0.1, momentum=0.9)

    def step():
        sgd.zero_grad()
        loss = (1 - labels * net(points)).relu().mean()     # the hinge loss, labels -1 and 1
        loss.backward()
        sgd.step()
        return loss
    return net, step


def run(step):
    """The losses, and the seconds that a step takes."""
    step(), step()                                          # what is made lazily comes to be, and is captured
    start = time.perf_counter()
    losses = [step() for _ in range(STEPS)]
    return [loss.item() for loss in losses], (time.perf_counter() - start) / STEPS


def main():
    x, y = moons(100, noise=0.1, rng=0)
    points, labels = mgx.Tensor(x, dtype="float32"), mgx.Tensor(2 * y - 1, dtype="float32").reshape(-1, 1)
    net, step = training(points, labels)
    eager, slow = run(step)
    compiled, fast = run(mgx.compile(training(points, labels)[1]))
    right = ((net(points) > 0) == (labels > 0)).mean().item()
    print(f"loss {eager[0]:.3f} -> {eager[-1]:.5f}, {right:.0%} of the points right")
    print(f"eager {slow * 1e6:.1f} us a step, compiled {fast * 1e6:.1f} us: {slow / fast:.1f} times faster")
    print(f"the same losses to the last bit: {eager == compiled}")


if __name__ == "__main__":
    main()
