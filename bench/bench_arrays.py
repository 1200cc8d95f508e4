"""Linear algebra, order and indices: forward, and forward + backward with every gradient, against torch."""
import functools

import numpy as np

from bench.common import Row


def normal(*shape):
    return np.random.default_rng(len(shape) + sum(shape)).standard_normal(shape)


def matrix(n, definite=False):
    """Far from singular."""
    a = normal(n, n)
    return a @ a.T + n * np.eye(n) if definite else a / n**0.5 + 3 * np.eye(n)


def operations():
    """{name: (function(library, *tensors), *arrays)}"""
    found = {}
    for n in (8, 64, 256):
        found[f"cholesky {n}"] = lambda library, a: library.linalg.cholesky(a), matrix(n, True)
        found[f"solve {n}, 4 columns"] = lambda library, a, b: library.linalg.solve(a, b), matrix(n), normal(n, 4)
        found[f"solve_triangular {n}, 4 columns"] = (
            lambda library, a, b: library.linalg.solve_triangular(a, b, upper=False), matrix(n), normal(n, 4))
        found[f"inv {n}"] = lambda library, a: library.linalg.inv(a), matrix(n)
    index, many = np.random.default_rng(0).integers(0, 1000, (1000, 1000)), normal(1000, 1000)
    for axis in (0, 1):
        found[f"gather 1000x1000 along {axis}"] = (
            lambda library, x, at, axis=axis: library.gather(x, axis, at), many, index)
        found[f"scatter_add 1000x1000 along {axis}"] = (
            lambda library, x, at, source, axis=axis: library.scatter_add(x, axis, at, source), many, index, many)
        found[f"index_select 1000x1000 along {axis}"] = (
            lambda library, x, at, axis=axis: library.index_select(x, axis, at), many, index[0])
    found["index_add 1000x64, 5000 rows"] = (lambda library, x, at, source: library.index_add(x, 0, at, source),
                                             normal(1000, 64), index.ravel()[:5000], normal(5000, 64))
    found["x[at] 1000x64, 5000 rows"] = lambda library, x, at: x[at], normal(1000, 64), index.ravel()[:5000]
    for shape, axis in (((10 ** 6,), 0), ((1000, 1000), 0), ((1000, 1000), 1), ((64, 10), 1)):
        text = f"{'x'.join(map(str, shape))} along {axis}"
        found[f"topk 5 of {text}"] = lambda library, x, axis=axis: library.topk(x, 5, axis)[0], normal(*shape)
        found[f"median {text}"] = lambda library, x, axis=axis: library.median(x, axis)[0], normal(*shape)
        found[f"kthvalue 3 of {text}"] = lambda library, x, axis=axis: library.kthvalue(x, 3, axis)[0], normal(*shape)
    mask = np.random.default_rng(1).random(10 ** 6) < 0.5
    found["where 10^6"] = lambda library, m, x, y: library.where(m, x, y), mask, normal(10 ** 6), normal(10 ** 6)
    for n in (2, 3, 8, 20, 50):
        for name in ("sum", "mean", "amax", "prod"):
            found[f"{name} of rows of {n}, 10^6 elements"] = (
                lambda library, x, name=name: getattr(library, name)(x, 1), normal(10 ** 6 // n, n))
    for shape in ((64, 128), (1000, 300), (30, 5000)):
        found[f"sum of the rows of a transposed {shape[0]}x{shape[1]}"] = lambda library, x: x.T.sum(1), normal(*shape)
    return found


def run(function, arrays, backward, dtype, name):
    """The result, and the gradients of all tensors of floats for a random cotangent."""
    if name == "torch":
        import torch as library
    else:
        import microgradx as library
    tensors = [library.tensor(a.astype(dtype) if a.dtype.kind == "f" else a) for a in arrays]
    if not backward:
        return lambda: function(library, *tensors)
    leaves = [t for t, a in zip(tensors, arrays, strict=True) if a.dtype.kind == "f"]
    for leaf in leaves:
        leaf.requires_grad = True
    g = library.tensor(normal(*function(library, *tensors).shape).astype(dtype))

    def step():
        for leaf in leaves:
            leaf.grad = None
        y = function(library, *tensors)
        y.backward(g)
        return y, *[leaf.grad for leaf in leaves]
    return step


def rows(quick):
    for name, (function, *arrays) in operations().items():
        for dtype in ("float32", "float64"):
            for backward in (False, True):
                yield Row(f"{name}, {dtype}, forward{' + backward' * backward}",
                          {peer: functools.partial(run, function, arrays, backward, dtype, peer)
                           for peer in ("microgradx", "torch")}, rtol=1e-3)
