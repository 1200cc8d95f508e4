"""Layers of nets, forward + backward with every gradient: convolution, pooling, normalisation, recurrence."""
import functools
import importlib

import numpy as np

from bench.common import Row


def numbers(*shape):
    return np.random.default_rng(len(shape) + sum(shape)).standard_normal(shape).astype(np.float32)


def library(name):
    """(tensor constructor, functions) of ours or torch."""
    if name == "torch":
        import torch
        return torch.tensor, torch.nn.functional
    import microgradx as mgx
    return mgx.Tensor, mgx.nn.functional


def step(layer, shapes, name):
    """layer(functions, *leaves), and the gradients of the leaves for a random cotangent."""
    tensor, functions = library(name)
    leaves = [tensor(numbers(*shape)) for shape in shapes]
    for leaf in leaves:
        leaf.requires_grad = True
    g = tensor(numbers(*layer(functions, *leaves).shape))

    def run():
        for leaf in leaves:
            leaf.grad = None
        y = layer(functions, *leaves)
        y.backward(g)
        return y, *[leaf.grad for leaf in leaves]
    return run


def convolve(**options):
    return lambda functions, x, w, b: functions.conv2d(x, w, b, **options)


def normalize(name, *options):
    return lambda functions, x, *affine: getattr(functions, name)(x, *options, *affine)


def batch_norm(functions, x, *affine):
    return functions.batch_norm(x, None, None, *affine, training=True)


def batch_norm_evaluated(functions, x, weight, bias):
    return functions.batch_norm(x, bias.detach(), weight.detach().abs(), weight, bias)


IMAGES = (32, 16, 30, 30)
LAYERS = {
    "conv2d 32x3x32x32, 16 of 3x3": (convolve(), [(32, 3, 32, 32), (16, 3, 3, 3), (16,)]),
    "conv2d 32x16x30x30, 32 of 3x3": (convolve(), [IMAGES, (32, 16, 3, 3), (32,)]),
    "conv2d 32x1x28x28, 6 of 5x5, padded": (convolve(padding=2), [(32, 1, 28, 28), (6, 1, 5, 5), (6,)]),
    "conv2d 32x64x16x16, 64 of 3x3, strided": (convolve(stride=2, padding=1),
                                               [(32, 64, 16, 16), (64, 64, 3, 3), (64,)]),
    "max_pool2d 32x16x30x30, 2x2": (lambda functions, x: functions.max_pool2d(x, 2), [IMAGES]),
    "avg_pool2d 32x16x30x30, 2x2": (lambda functions, x: functions.avg_pool2d(x, 2), [IMAGES]),
    "group_norm 32x16x30x30, 4 groups": (normalize("group_norm", 4), [IMAGES, (16,), (16,)]),
    "batch_norm 32x16x30x30": (batch_norm, [IMAGES, (16,), (16,)]),
    "batch_norm 32x16x30x30, evaluation": (batch_norm_evaluated, [IMAGES, (16,), (16,)])}
for shape in ((8, 16), (64, 128), (512, 512), (32, 64, 256)):
    last = shape[-1:]
    text = "x".join(map(str, shape))
    LAYERS[f"layer_norm {text}"] = normalize("layer_norm", last), [shape, last, last]
    LAYERS[f"rms_norm {text}"] = normalize("rms_norm", last), [shape, last]


def recurrent(kind, steps, batch, width, options, name):
    """A recurrent layer of as many units as inputs."""
    library_of = importlib.import_module(name)
    layer = getattr(library_of.nn, kind)(width, width, **options)
    tensor = library_of.tensor if name == "torch" else library_of.Tensor
    with library_of.no_grad():
        for p in layer.parameters():
            p.copy_(tensor(numbers(*p.shape) / width**0.5))
    x, g = tensor(numbers(steps, batch, width)), tensor(numbers(steps, batch, width * (1 + layer.bidirectional)))
    x.requires_grad = True

    def run():
        x.grad = None
        for p in layer.parameters():
            p.grad = None
        y, _ = layer(x)
        y.backward(g)
        return y, x.grad, *[p.grad for p in layer.parameters()]
    return run


RECURRENT = [(kind, 50, batch, width, {}) for kind in ("LSTM", "GRU", "RNN") for batch, width in (
    (1, 16), (1, 64), (1, 256), (8, 64), (32, 16), (32, 64), (32, 256))]
RECURRENT += [("LSTM", 50, 8, 64, dict(num_layers=2)), ("LSTM", 50, 8, 64, dict(bidirectional=True))]


def rows(quick):
    for kind, steps, batch, width, options in RECURRENT:
        text = "".join(f", {key}={value}" for key, value in options.items())
        yield Row(f"{kind} {steps}x{batch}, {width} units{text}",
                  {peer: functools.partial(recurrent, kind, steps, batch, width, options, peer)
                   for peer in ("microgradx", "torch")}, rtol=1e-3)
    for name, (layer, shapes) in LAYERS.items():
        yield Row(name, {peer: functools.partial(step, layer, shapes, peer) for peer in ("microgradx", "torch")})
