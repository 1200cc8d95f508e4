"""Attention, forward and backward, and one training step of the transformer of examples/names_transformer.py."""
import functools
import math

import numpy as np

from bench.common import Row

BATCH, TIME, WIDTH, HEADS = 8, 64, 64, 4
LETTERS, LENGTH, D, BLOCKS = 27, 16, 96, 2


def arrays(*shapes):
    rng = np.random.default_rng(11)
    return [(rng.standard_normal(shape) / math.sqrt(shape[-1])).astype(np.float32) for shape in shapes]


def library(name):
    """(module, tensor constructor) of ours or torch."""
    if name == "torch":
        import torch
        return torch, torch.tensor
    import microgradx as mgx
    return mgx, mgx.Tensor


def attention_layer(name):
    """The module, causal, with weights in projection and output."""
    lib, tensor = library(name)
    x, g, w, u = map(tensor, arrays(*[(BATCH, TIME, WIDTH)] * 2, (3 * WIDTH, WIDTH), (WIDTH, WIDTH)))
    mask = np.triu(np.ones((TIME, TIME), bool), 1)
    if name == "torch":
        layer = lib.nn.MultiheadAttention(WIDTH, HEADS, batch_first=True)
        call = functools.partial(layer, attn_mask=tensor(mask), is_causal=True, need_weights=False)
    else:
        layer = lib.nn.MultiheadAttention(WIDTH, HEADS, batch_first=True)
        call = functools.partial(layer, is_causal=True, need_weights=False)
    with lib.no_grad():
        layer.in_proj_weight.copy_(w)
        layer.out_proj.weight.copy_(u)
    x.requires_grad = True

    def step():
        x.grad = layer.in_proj_weight.grad = None
        y = call(x, x, x)[0]
        y.backward(g)
        return y, x.grad, layer.in_proj_weight.grad
    return step


LONG = [(2, 128, 64), (2, 512, 64), (1, 1024, 64), (1, 2048, 64), (1, 1024, 32)]      # batch, queries and keys, width


def attention_function(name, causal, shape=(BATCH, HEADS, TIME, WIDTH // HEADS), kind=None):
    lib, tensor = library(name)
    q, k, v, g = map(tensor, arrays(*[shape] * 4))
    mask, scores = None, arrays((shape[2], shape[2]))[0]
    if kind is not None:
        mask = tensor(scores > -0.02 if kind == "bool" else scores)
    q.requires_grad = k.requires_grad = v.requires_grad = True

    def step():
        q.grad = k.grad = v.grad = None
        y = lib.nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=causal)
        y.backward(g)
        return y, q.grad, k.grad, v.grad
    return step


def transformer(name, batch):
    """The same lines for both libraries."""
    lib, tensor = library(name)
    F, start = lib.nn.functional, [(LETTERS, D), (LENGTH, D), (LETTERS, D)]
    for _ in range(BLOCKS):
        start += [(3 * D, D), (D, D), (4 * D, D), (4 * D,), (D, 4 * D), (D,)]
    params = [tensor(a) for a in arrays(*start)]
    for p in params:
        p.requires_grad = True
    rng = np.random.default_rng(3)
    ids = rng.integers(0, LETTERS, (batch, LENGTH))
    ids, targets = (ids if name != "torch" else tensor(ids)), tensor(rng.integers(0, LETTERS, batch * LENGTH))
    adam = lib.optim.Adam(params, lr=1e-3)

    def norm(x):
        return F.rms_norm(x, (D,), eps=1e-6)

    def block(x, qkv, out, up, b, down, c):
        y = F.linear(norm(x), qkv).reshape(batch, LENGTH, 3, HEADS, D // HEADS).transpose(1, 3)
        y = F.scaled_dot_product_attention(y[:, :, 0], y[:, :, 1], y[:, :, 2], is_causal=True)
        x = x + F.linear(y.transpose(1, 2).reshape(batch, LENGTH, D), out)
        return x + F.linear(F.relu(F.linear(norm(x), up, b)), down, c)

    def step():
        adam.zero_grad()
        letter, place, head, *rest = params
        x = F.embedding(ids, letter) + place
        for k in range(BLOCKS):
            x = block(x, *rest[6 * k:6 * k + 6])
        loss = F.cross_entropy(F.linear(norm(x), head).reshape(-1, LETTERS), targets)
        loss.backward()
        adam.step()
        return loss
    return step


def rows(quick):
    def row(name, make, *args):
        return Row(name, {peer: functools.partial(make, peer, *args) for peer in ("microgradx", "torch")})
    yield row(f"module, causal, {BATCH} x {TIME} x {WIDTH}, {HEADS} heads", attention_layer)
    yield row(f"function, {BATCH} x {TIME} x {WIDTH}, {HEADS} heads", attention_function, False)
    yield row(f"function, causal, {BATCH} x {TIME} x {WIDTH}, {HEADS} heads", attention_function, True)
    for batch, time, width in LONG:
        for causal, kind in ((False, None), (True, None), (False, "bool"), (False, "float")):
            text = "causal" if causal else "all keys" if kind is None else f"mask of {kind}"
            yield row(f"function, {batch} x {time}, {HEADS} heads of {width}, {text}", attention_function, causal,
                      (batch, HEADS, time, width), kind)
    for batch in (1, 8, 16, 32):
        yield row(f"transformer, 229k parameters, training step, batch {batch}", transformer, batch)
