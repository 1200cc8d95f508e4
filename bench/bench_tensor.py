"""Tensor: what one operation on 4 elements costs, apart from its arithmetic, and what loops over 10^6 cost."""
import functools

import numpy as np

from bench.common import Row

PAIRS = 50
START = np.array([0.5, -0.25, 0.75, 0.125], np.float32)


def library(name):
    """(module, tensor constructor) of ours or torch."""
    if name == "torch":
        import torch
        return torch, torch.tensor
    if name == "numpy":
        return np, np.array
    import microgradx as mgx
    return mgx, mgx.Tensor


def numbers(y, lib):
    for _ in range(PAIRS):
        y = y * 1.01 + 0.5
    return y


def tensors(y, lib):
    """Both operands want a gradient."""
    a = y
    for _ in range(PAIRS):
        y = y * a + a
    return y


def activations(y, lib):
    for _ in range(PAIRS):
        y = y.sigmoid().tanh()
    return y


def views(y, lib):
    for _ in range(PAIRS):
        y = y.reshape(2, 2).reshape(4)
    return y


def unrecorded(chain, name):
    lib, tensor = library(name)
    x = tensor(START)

    def step():
        with lib.no_grad():
            return chain(x, lib)
    return step


def recorded(chain, name):
    lib, tensor = library(name)
    x = tensor(START)
    x.requires_grad = True
    return lambda: chain(x, lib)


def with_backward(chain, name):
    lib, tensor = library(name)
    x, g = tensor(START), tensor(np.ones(4, np.float32))
    x.requires_grad = True

    def step():
        x.grad = None
        chain(x, lib).backward(g)
        return x.grad
    return step


# x (4,), e (4, 4), and masks m of x > 0; of NumPy, torch and ours alike
SMALL = {
    "zeros(4)": lambda lib, x, e, m: lib.zeros(4), "ones(4)": lambda lib, x, e, m: lib.ones(4),
    "full((2, 2), 7.0)": lambda lib, x, e, m: lib.full((2, 2), 7.0), "arange(4)": lambda lib, x, e, m: lib.arange(4),
    "zeros_like(x)": lambda lib, x, e, m: lib.zeros_like(x), "x[0]": lambda lib, x, e, m: x[0],
    "x[1:3]": lambda lib, x, e, m: x[1:3], "e[1, 2]": lambda lib, x, e, m: e[1, 2],
    "e[:, 0]": lambda lib, x, e, m: e[:, 0], "x[0] = 0.5": lambda lib, x, e, m: x.__setitem__(0, 0.5),
    "float(x[0])": lambda lib, x, e, m: float(x[0]), "e.T": lambda lib, x, e, m: e.T,
    "any": lambda lib, x, e, m: m.any(), "all": lambda lib, x, e, m: m.all(),
    "argmax": lambda lib, x, e, m: x.argmax(), "cumsum": lambda lib, x, e, m: x.cumsum(0),
    "sort": lambda lib, x, e, m: lib.sort(x)}
LARGE = {                                       # x (10^6,), e (1000, 1000), and a mask of x > 9, which holds nowhere
    "any": SMALL["any"], "argmax": SMALL["argmax"], "argmax(1)": lambda lib, x, e, m: e.argmax(1),
    "argmax(0)": lambda lib, x, e, m: e.argmax(0), "cumsum": SMALL["cumsum"],
    "cumsum(0) of rows": lambda lib, x, e, m: e.cumsum(0), "prod(1)": lambda lib, x, e, m: e.prod(1)}


def call(function, x, least, name):
    lib, tensor = library(name)
    side = int(x.size ** 0.5) if x.size > 4 else 4
    x, e = tensor(x), tensor(np.resize(x, (side, side)))
    m = x > least
    return lambda: function(lib, x, e, m)


CHAINS = {"y*1.01+0.5": numbers, "y*a+a": tensors, "y.sigmoid().tanh()": activations, "two reshapes": views}
MODES = {"no grad": unrecorded, "recorded": recorded, "forward + backward": with_backward}


def rows(quick):
    for chain_name, chain in CHAINS.items():
        for mode_name, mode in MODES.items():
            yield Row(f"{chain_name}, {mode_name}, per op", {
                name: functools.partial(mode, chain, name) for name in ("microgradx", "torch")}, per=2 * PAIRS)
    million = np.random.default_rng(5).uniform(-1, 1, 10**6).astype(np.float32)
    for calls, x, least in ((SMALL, START, 0), (LARGE, million, 9)):
        for title, function in calls.items():
            yield Row(f"{title}, n={x.size:.0e}".replace("e+0", "e"), {
                name: functools.partial(call, function, x, least, name) for name in ("microgradx", "torch", "numpy")},
                rtol=None if title == "sort" else 1e-3)
