"""Cures that train: which nets of 20 layers learn digits, and that a sigmoid can be one of them.

Standardised digits, 64 units per layer, cross-entropy, SGD, batches of 32, the same rates for all seeds.
"""
import math
from dataclasses import dataclass

import numpy as np

from microgradx import Tensor, nn
from microgradx.flow import metrics
from microgradx.lab.cards import IMPRECISE, RIGHT, Claim, between, near
from microgradx.lab.nets import errors, gaussian, linears, mlp, standardised, train

DTYPE = "float32 in training, float64 before it"
RUNS, WIDTH = 5, 64

CLAIMS = [
    Claim("C10", "The vanishing gradient problem is the main reason modern architectures don’t rely on sigmoid in "
          "deeper layers.",
          "A critical tanh net of 50 layers rewritten with sigmoids (W′ = 4W, b′ = −2W·1): its errors; and such a "
          "sigmoid net in training, beside LeCun's.",
          IMPRECISE, "An opinion; what can be tested is that the sigmoid is not to blame as a function. The "
          "rewritten net has the very same errors, and ten layers of such sigmoids learn. Scale and offset are the "
          "cause."),
    Claim("T2", "What trains is decided by the initialisation as much as by the activation.",
          "20 hidden layers, five seeds each: accuracy on test digits.",
          RIGHT, "ReLU, tanh and swish with a fitting variance learn, swish with LeCun's does not; sigmoids do with "
          "batch norm, or with shortcuts."),
]


@dataclass(frozen=True)
class Found:
    """``ratio``: {activation: ||delta_1|| / ||delta_50||}; ``accuracy``: {net: (runs,)}."""
    ratio: dict
    accuracy: dict


def critical(depth, seed, dtype="float64", width=WIDTH):
    """A sigmoid net that computes what a LeCun tanh net computes, tanh(z) = 2σ(2z) − 1; and that net."""
    tanh = mlp([64, *[width] * depth, 10], nn.Tanh, rng=seed, dtype=dtype)
    net = mlp([64, *[width] * depth, 10], nn.Sigmoid, rng=seed, dtype=dtype)
    layers = linears(net)
    for k, (layer, other) in enumerate(zip(layers, linears(tanh))):
        w = other.weight.detach()
        last = k == len(layers) - 1
        layer.weight.data.copy_(w * (2.0 if k == 0 or last else 4.0))
        if k:
            layer.bias.data.copy_(w.sum(axis=1) * (-1.0 if last else -2.0))
    return net, tanh


def normed(depth, seed):
    rng, layers = np.random.default_rng(seed), []
    for n_in in [64, *[WIDTH] * (depth - 1)]:
        layers += [gaussian(nn.Linear(n_in, WIDTH), 1.0, 0.0, rng), nn.BatchNorm1d(WIDTH), nn.Sigmoid()]
    return nn.Sequential(*layers, gaussian(nn.Linear(WIDTH, 10), 1.0, 0.0, rng))


def shortcut(depth, seed):
    rng = np.random.default_rng(seed)
    linear = lambda n_in, n_out: gaussian(nn.Linear(n_in, n_out), 1.0, 0.0, rng)
    return nn.Sequential(linear(64, WIDTH), *(nn.Residual(nn.Sequential(linear(WIDTH, WIDTH), nn.Sigmoid()),
                                                           scale=1 / math.sqrt(depth)) for _ in range(depth - 1)),
                         linear(WIDTH, 10))


def plain(activation, var_w):
    return lambda depth, seed: mlp([64, *[WIDTH] * depth, 10], activation, var_w, rng=seed, dtype="float32")


# name: (build(depth, seed), rate, depth)
NETS = {"sigmoid, LeCun": (plain(nn.Sigmoid, 1.0), 0.1, 20), "swish, LeCun": (plain(nn.SiLU, 1.0), 0.1, 20),
        "swish, He": (plain(nn.SiLU, 2.0), 0.1, 20), "tanh, LeCun": (plain(nn.Tanh, 1.0), 0.1, 20),
        "ReLU, He": (plain(nn.ReLU, 2.0), 0.05, 20), "sigmoid, batch norm": (normed, 0.1, 20),
        "sigmoid, shortcuts": (shortcut, 0.1, 20),
        "sigmoid, critical, 10 layers": (lambda depth, seed: critical(depth, seed, "float32")[0], 0.02, 10)}


SLOW = ("swish, He", "ReLU, He")        # which learn, but not in a few epochs


def measure(seed, quick):
    rng = np.random.default_rng(seed)
    x, g = rng.standard_normal((16, 64)), Tensor(rng.standard_normal((16, 10)))
    ratio = {}
    for name, net in zip(("sigmoid", "tanh"), critical(50, seed, width=100)):
        norms = [metrics.error_norm(delta) for delta in errors(net, x, lambda out: (out * g).sum())[:-1]]
        ratio[name] = norms[0] / norms[-1]
    digits, epochs = standardised(), 8 if quick else 30
    seeds = range(seed, seed + RUNS)
    return Found(ratio, {name: np.array([train(build(depth, s), digits, rate, epochs, s) for s in seeds])
                         for name, (build, rate, depth) in NETS.items() if not (quick and name in SLOW)})


def numbers(found):
    best = {name: between(f"accuracy, {name}", rows, low=0.8) for name, rows in found.accuracy.items()}
    chance = {name: between(f"accuracy, {name}", found.accuracy[name], 0.04, 0.2, by="chance: 0.1")
              for name in ("sigmoid, LeCun", "swish, LeCun")}
    deep = [number for name, number in best.items() if name not in chance and "critical" not in name]
    same = near("‖δ₁‖ / ‖δ₅₀‖, sigmoid over tanh", found.ratio["sigmoid"] / found.ratio["tanh"], 1.0, tol=1e-10)
    cured = between("accuracy, sigmoid, critical, 10 layers", found.accuracy["sigmoid, critical, 10 layers"], low=0.4)
    return {"C10": [same, chance["sigmoid, LeCun"], cured],
            "T2": [*chance.values(), *deep]}


def draw(found, axes, c):
    for k, (_name, rows) in enumerate(reversed(found.accuracy.items())):
        axes.plot(rows, np.full(len(rows), k), "o", color=c.blue, alpha=0.6)
        axes.plot(np.median(rows), k, "|", color=c.black, markersize=16)
    axes.axvline(0.1, linestyle=":", color=c.black)
    axes.set(yticks=range(len(found.accuracy)), yticklabels=list(reversed(found.accuracy)), xlim=(0, 1),
             xlabel="share of test digits right")


FIGURES = [("Twenty hidden layers of 64 (ten, where said): dots are seeds, bars their median, dotted is chance.", draw)]
