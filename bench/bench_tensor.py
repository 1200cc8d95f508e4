"""Tensor: what one operation on 4 elements costs, apart from its arithmetic."""
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


CHAINS = {"y*1.01+0.5": numbers, "y*a+a": tensors, "y.sigmoid().tanh()": activations, "two reshapes": views}
MODES = {"no grad": unrecorded, "recorded": recorded, "forward + backward": with_backward}


def rows(quick):
    for chain_name, chain in CHAINS.items():
        for mode_name, mode in MODES.items():
            yield Row(f"{chain_name}, {mode_name}, per op", {
                name: functools.partial(mode, chain, name) for name in ("microgradx", "torch")}, per=2 * PAIRS)
