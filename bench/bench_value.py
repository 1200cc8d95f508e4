"""Value: chains of mul and add, micrograd's moons step, time and bytes per node from 10^3 to 10^7."""
import functools
import importlib.util
import subprocess
import sys

import numpy as np

from bench.common import Row

PAIRS = 200                         # short enough for micrograd's recursive walk


def value_class(library):
    if library == "micrograd":
        from micrograd.engine import Value
    else:
        from microgradx import Value
    return Value


# ----- chains -----

def chain_numbers(library, pairs):
    """y = y * 1.01 + 0.5, `pairs` times, forward and backward."""
    Value = value_class(library)

    def step():
        y = x = Value(0.5)
        for _ in range(pairs):
            y = y * 1.01 + 0.5
        y.backward()
        return x.grad
    return step


def chain_values(library, pairs):
    """y = y * a + b with Values a and b that want gradients too."""
    Value = value_class(library)

    def step():
        y, a, b = Value(0.5), Value(1.01), Value(0.5)
        for _ in range(pairs):
            y = y * a + b
        y.backward()
        return a.grad, b.grad
    return step


# ----- the moons step: MLP 2-16-16-1, 100 points, max-margin loss, L2 -----

@functools.cache
def moons(points=100, noise=0.1):
    """Two interleaved half circles: rows of two floats, labels -1.0 and 1.0."""
    rng = np.random.default_rng(1337)
    angle = np.linspace(0, np.pi, points // 2)
    outer = np.stack([np.cos(angle), np.sin(angle)], 1)
    inner = np.stack([1 - np.cos(angle), 0.5 - np.sin(angle)], 1)
    x = np.concatenate([outer, inner]) + rng.normal(0, noise, (points, 2))
    return x.tolist(), [-1.0] * (points // 2) + [1.0] * (points // 2)


def moons_step(model, Value, total=sum, sum_of_squares=lambda ps: sum(p * p for p in ps), rate=1e-6):
    """Train `model` one step per call; the rate is small, so that thousands of calls do the same work."""
    x, labels = moons()
    params = model.parameters()
    for p, start in zip(params, np.random.default_rng(3).uniform(-1, 1, len(params)).tolist()):
        p.data = start

    def step():
        scores = [model([Value(v) for v in row]) for row in x]
        margins = [(1 + -y * score).relu() for y, score in zip(labels, scores)]
        loss = total(margins) * (1.0 / len(margins)) + 1e-4 * sum_of_squares(params)
        model.zero_grad()
        loss.backward()
        for p in params:
            p.data -= rate * p.grad
        return loss.data
    return step


def moons_micrograd():
    from micrograd import nn
    from micrograd.engine import Value
    return moons_step(nn.MLP(2, [16, 16, 1]), Value)


def moons_swapped():
    """micrograd's own net code in a module of its own, where the name Value means ours."""
    import microgradx as mgx
    spec = importlib.util.find_spec("micrograd.nn")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.Value = mgx.Value
    return moons_step(module.MLP(2, [16, 16, 1]), mgx.Value)


def moons_scalar():
    import microgradx as mgx
    from microgradx import scalar
    return moons_step(scalar.MLP(2, [16, 16, 1]), mgx.Value, mgx.sum, lambda ps: mgx.dot(ps, ps))


# ----- memory -----

GROWTH = """
import importlib, os, sys
Value = importlib.import_module(sys.argv[1]).Value
def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
y = Value(0.5)
for _ in range(1000):
    y = y * 1.01 + 0.5
before = resident()
for _ in range(int(sys.argv[2])):
    y = y * 1.01 + 0.5
print(resident() - before, flush=True)
os._exit(0)
"""


def bytes_of_nodes(library, nodes):
    """Growth of resident memory for a live chain of `nodes` operations, in a fresh interpreter."""
    module = {"micrograd": "micrograd.engine"}.get(library, library)
    command = [sys.executable, "-P", "-c", GROWTH, module, str(nodes // 2)]     # -P: the installed package, as here
    return lambda: float(subprocess.run(command, check=True, capture_output=True).stdout)


def rows(quick):
    for collector in (False, True):
        state = f"collector {'on' if collector else 'off'}"
        yield Row(f"chain y*1.01+0.5, per op, {state}", {
            "microgradx": lambda: chain_numbers("microgradx", PAIRS),
            "micrograd": lambda: chain_numbers("micrograd", PAIRS)}, per=2 * PAIRS, collector=collector, rtol=1e-12)
        yield Row(f"chain y*a+b of Values, per op, {state}", {
            "microgradx": lambda: chain_values("microgradx", PAIRS),
            "micrograd": lambda: chain_values("micrograd", PAIRS)}, per=2 * PAIRS, collector=collector, rtol=1e-12)
        yield Row(f"moons step, only the class swapped, {state}", {
            "microgradx": moons_swapped, "micrograd": moons_micrograd}, collector=collector, rtol=1e-9)
        yield Row(f"moons step, microgradx.scalar, {state}", {
            "microgradx scalar": moons_scalar, "microgradx swapped": moons_swapped, "micrograd": moons_micrograd},
            collector=collector, rtol=1e-9)
    for power in range(3, 7 if quick else 8):
        nodes = 10 ** power
        chain = functools.partial(chain_numbers, "microgradx", nodes // 2)
        yield Row(f"10^{power} nodes, build + backward + drop, per node", {"microgradx": chain}, per=nodes, rtol=None,
                  share=0.5)
        if power >= 5:
            libraries = ("microgradx", "micrograd") if power == 5 else ("microgradx",)
            contenders = {name: functools.partial(bytes_of_nodes, name, nodes) for name in libraries}
            yield Row(f"10^{power} nodes, bytes per node", contenders, per=nodes, quantity="bytes", rtol=None)
