"""What compiling gains: one engine step in microgradx, in NumPy and in pure Python, the same numbers from all.

Sigmoid with its derivative, the two gradients of a matmul, and the chain-rule accumulation over a recorded
graph: the three loops an engine spends its time in, in their plainest readable form.
"""
import functools
import math

import numpy as np

from bench.common import Row

# ----- sigmoid, forward and backward with cotangent 1 -----

def sigmoid_input(n):
    return np.random.default_rng(1).uniform(-6, 6, n)


def sigmoid_python(n):
    xs = sigmoid_input(n).tolist()

    def step():
        ys = [1.0 / (1.0 + math.exp(-x)) for x in xs]
        return [1.0 * y * (1.0 - y) for y in ys]
    return step


def sigmoid_numpy(n):
    x, g = sigmoid_input(n), np.ones(n)

    def step():
        y = 1.0 / (1.0 + np.exp(-x))
        return g * y * (1.0 - y)
    return step


def sigmoid_ours(n):
    import microgradx as mgx
    x, g = mgx.Tensor(sigmoid_input(n), requires_grad=True), mgx.Tensor(np.ones(n))

    def step():
        x.grad = None
        x.sigmoid().backward(g)
        return x.grad
    return step


# ----- backpropagation through a matmul: dA = G B^T, dB = A^T G -----

def matmul_operands(n):
    rng = np.random.default_rng(2)
    return [rng.standard_normal((n, n)) for _ in range(3)]


def matmul_python(n):
    a, b, g = (m.tolist() for m in matmul_operands(n))

    def product(left, right):
        columns = list(zip(*right))
        return [[sum(map(float.__mul__, row, column)) for column in columns] for row in left]

    def step():
        product(a, b)
        return product(g, list(zip(*b))), product(list(zip(*a)), g)
    return step


def matmul_numpy(n):
    a, b, g = matmul_operands(n)

    def step():
        a @ b
        return g @ b.T, a.T @ g
    return step


def matmul_ours(n):
    import microgradx as mgx
    a, b, g = map(mgx.Tensor, matmul_operands(n))
    a.requires_grad = b.requires_grad = True

    def step():
        a.grad = b.grad = None
        (a @ b).backward(g)
        return a.grad, b.grad
    return step


# ----- chain-rule accumulation over a recorded graph -----

WIDTH, DEPTH = 64, 30


@functools.cache
def wiring():
    """Per layer: two parents in the layer below and two weights for each of WIDTH nodes out = w a + v b."""
    rng = np.random.default_rng(4)
    return [(rng.integers(0, WIDTH, (2, WIDTH)), rng.uniform(-0.9, 0.9, (2, WIDTH))) for _ in range(DEPTH)]


def accumulate_python():
    tape, first = [], 0             # (node, parent, local derivative) in order of creation
    for parents, weights in wiring():
        for j in range(WIDTH):
            tape += [(first + WIDTH + j, first + int(parents[i, j]), float(weights[i, j])) for i in (0, 1)]
        first += WIDTH
    backwards = tape[::-1]

    def step():
        grad = [0.0] * first + [1.0] * WIDTH
        for node, parent, local in backwards:
            grad[parent] += local * grad[node]
        return grad[:WIDTH]
    return step


def accumulate_numpy():
    """The same sweep a layer at a time: gradients scattered into the parents."""
    layers = wiring()[::-1]

    def step():
        grad = np.ones(WIDTH)
        for parents, weights in layers:
            grad = np.bincount(parents.ravel(), (weights * grad).ravel(), WIDTH)
        return grad
    return step


def accumulate_ours():
    """A graph of scalar Values, built once; backward() is timed. w a + v b takes three nodes here."""
    import microgradx as mgx
    leaves = layer = [mgx.Value(1.0) for _ in range(WIDTH)]
    for parents, weights in wiring():
        layer = [layer[parents[0, j]] * float(weights[0, j]) + layer[parents[1, j]] * float(weights[1, j])
                 for j in range(WIDTH)]
    root = mgx.sum(layer)

    def step():
        for leaf in leaves:
            leaf.grad = 0.0
        root.backward()
        return [leaf.grad for leaf in leaves]
    return step


def rows(quick):
    for n in (1000, 100_000):
        yield Row(f"sigmoid n={n}, forward + backward", {
            "microgradx": functools.partial(sigmoid_ours, n), "numpy": functools.partial(sigmoid_numpy, n),
            "python": functools.partial(sigmoid_python, n)}, rtol=1e-12)
    yield Row("matmul 64x64, forward + backward", {
        "microgradx": lambda: matmul_ours(64), "numpy": lambda: matmul_numpy(64),
        "python": lambda: matmul_python(64)}, rtol=1e-12)
    yield Row(f"chain-rule accumulation, {2 * WIDTH * DEPTH} edges", {
        "microgradx": accumulate_ours, "numpy": accumulate_numpy, "python": accumulate_python}, rtol=1e-12)
