"""One step of each optimizer, and clipping by norm, apart from forward and backward."""
import functools

import numpy as np

from bench.bench_tensor import library
from bench.common import Row

SIZES = {"6 parameters of 100": (6, 100), "200 parameters of 100": (200, 100), "10 parameters of 10^5": (10, 100_000)}
OPTIMIZERS = {"SGD": {"lr": 1e-3}, "SGD momentum": {"lr": 1e-3, "momentum": 0.9}, "RMSprop": {}, "Adagrad": {},
              "Adam": {}, "AdamW": {}}
TORCH = {"torch": {}, "torch foreach": {"foreach": True}, "torch fused": {"fused": True}}
FUSED = {"SGD", "SGD momentum", "Adagrad", "Adam", "AdamW"}


def parameters(name, count, size):
    lib, tensor = library(name)
    rng = np.random.default_rng(0)
    params = [tensor(rng.standard_normal(size).astype(np.float32)) for _ in range(count)]
    for p in params:
        p.requires_grad = True
        p.grad = tensor(rng.standard_normal(size).astype(np.float32))
    return lib, params


def stepping(name, optimizer, options, count, size):
    lib, params = parameters(name, count, size)
    opt = getattr(lib.optim, optimizer.split()[0])(params, **OPTIMIZERS[optimizer], **options)

    def step():
        opt.step()
        return params
    return step


def by_c(count, size):
    """Adam by hand: one pass."""
    from bench.floor import adam
    rng = np.random.default_rng(0)
    return adam(*(rng.standard_normal(count * size).astype(np.float32) for _ in "wg"))


def clipping(name, count, size):
    lib, params = parameters(name, count, size)
    clip = lib.optim.clip_grad_norm_ if name == "microgradx" else lib.nn.utils.clip_grad_norm_
    return lambda: clip(params, 1.0)


def rows(quick):
    one = 1, 668_000
    yield Row("Adam, 1 parameter of 668 k", {
        "microgradx": functools.partial(stepping, "microgradx", "Adam", {}, *one), "c": functools.partial(by_c, *one),
        "torch fused": functools.partial(stepping, "torch", "Adam", TORCH["torch fused"], *one)})
    for size_name, size in SIZES.items():
        for optimizer in OPTIMIZERS:
            contenders = {"microgradx": functools.partial(stepping, "microgradx", optimizer, {}, *size)}
            contenders |= {label: functools.partial(stepping, "torch", optimizer, options, *size)
                           for label, options in TORCH.items() if "fused" not in label or optimizer in FUSED}
            yield Row(f"{optimizer}, {size_name}", contenders)
        yield Row(f"clip_grad_norm_, {size_name}", {name: functools.partial(clipping, name, *size)
                                                    for name in ("microgradx", "torch")})
