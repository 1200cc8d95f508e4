"""Square matmul, forward and both gradients: C = A B, dA = G B^T, dB = A^T G."""
import functools

import numpy as np

from bench.common import Row


def operands(n, dtype):
    rng = np.random.default_rng(5)
    return [(rng.standard_normal((n, n)) / n ** 0.5).astype(dtype) for _ in range(3)]


def by_numpy(n, dtype):
    a, b, g = operands(n, dtype)
    return lambda: (a @ b, g @ b.T, a.T @ g)


def eager(tensor, n, dtype):
    """torch and microgradx."""
    a, b, g = map(tensor, operands(n, dtype))
    a.requires_grad = b.requires_grad = True

    def step():
        a.grad = b.grad = None
        c = a @ b
        c.backward(g)
        return c, a.grad, b.grad
    return step


def by_ours(n, dtype):
    import microgradx as mgx
    return eager(mgx.Tensor, n, dtype)


def by_torch(n, dtype):
    import torch
    return eager(torch.tensor, n, dtype)


def by_jax(n, dtype):
    import jax
    a, b, g = map(jax.numpy.asarray, operands(n, dtype))

    @jax.jit
    def both(a, b, g):
        c, vjp = jax.vjp(jax.numpy.matmul, a, b)
        return c, *vjp(g)
    return lambda: jax.block_until_ready(both(a, b, g))


def rows(quick):
    for dtype in (np.float32, np.float64):
        for n in (16, 64, 256, 1024):
            contenders = {"microgradx": by_ours, "torch": by_torch, "numpy": by_numpy}
            if dtype == np.float32:             # JAX computes in float32 unless told otherwise
                contenders["jax"] = by_jax
            yield Row(f"n={n} {dtype.__name__}, forward + backward", {
                name: functools.partial(make, n, dtype) for name, make in contenders.items()})
