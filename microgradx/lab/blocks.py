"""Normalisation and shortcuts: what batch norm and residual blocks do to the error, per layer.

Random nets with Gaussian inputs and a random error at the output.
"""
import math
from dataclasses import dataclass

import numpy as np

from microgradx import Tensor, nn
from microgradx.flow import metrics
from microgradx.lab.cards import IMPRECISE, RIGHT, Claim, between, near
from microgradx.lab.nets import gaussian

DTYPE = "float64"
RUNS, BLOCKS = 5, 30
NORMED = {("ReLU", 256): 1.4669, ("ReLU", 64): 1.49, ("ReLU", 16): 1.59, ("GELU", 256): 1.38, ("Tanh", 256): 1.19}

CLAIMS = [
    Claim("A14", "That’s why deep networks still need fixes like ReLU, batch norm, or residual connections.",
          "The factor on the error's variance: batch norm per layer, residual blocks over 30 blocks.",
          IMPRECISE, "None is a fix without a number. A plain ReLU net with batch norm explodes by 1.47 per layer, "
          "30 residual blocks by 10⁹; scaled by 1/√30 they keep it at 2.7."),
    Claim("RS", "Identity shortcuts carry signal and gradient through any depth.",
          "h + α W₂ relu(W₁ h), 30 blocks: the factor on both variances for α = 1, 1/√30 and 0.",
          RIGHT, "With (1 + α²) per block: 2³⁰, 2.67 and exactly 1."),
    Claim("BN", "Batch norm makes gradients explode in plain nets, the less the nearer the net is to linear.",
          "The error's variance per layer in 24 layers of Linear, BatchNorm and activation; the three identities of "
          "its backward pass.",
          RIGHT, "1.47 for ReLU (π/(π − 1) in theory), more for small batches, less for tanh."),
    Claim("VE", "In a residual net the gradient comes through short paths (Veit et al. 2016).",
          "30 blocks whose branches pass t times their error back: half the slope of ln ‖δ₁‖² over ln t at t = 1 is "
          "the mean number of branches on the error's paths.",
          IMPRECISE, "That is up to α: through half of the branches at α = 1, through about one of 30 at α = 1/√30."),
]


@dataclass(frozen=True)
class Found:
    """``residual``: {alpha: (forward, backward) factor on the variance over 30 blocks, (runs, 2)}; ``normed``:
    {(activation, batch): factor per layer (runs,)}; ``paths``: {alpha: mean square error per block}, ``identities``:
    largest |sum dz|, |sum dz z^| and the change of the output under W -> 3 W; ``lengths``: {alpha: branches on the
    error's mean path (runs,)}."""
    residual: dict
    normed: dict
    paths: dict
    identities: tuple
    lengths: dict


def residual(alpha, seed, width=300, samples=32, back=1.0):
    """Mean square errors at the input of every block and at the end (31,), and the forward factor; branches pass
    ``back`` times their error."""
    rng, blocks = np.random.default_rng(seed), []
    for _ in range(BLOCKS):
        first, second = nn.Linear(width, width, dtype="float64"), nn.Linear(width, width, dtype="float64")
        branch = nn.Sequential(gaussian(first, 1.0, 0.0, rng), nn.ReLU(), gaussian(second, 2.0, 0.0, rng))
        if back != 1:
            branch.register_forward_hook(lambda m, x, out: out * back - out.detach() * (back - 1))
        blocks.append(nn.Residual(branch, scale=alpha))
    x = Tensor(rng.standard_normal((samples, width)), requires_grad=True)
    seen, h = [x], x
    for block in blocks:
        h = block(h)
        h.retain_grad()
        seen.append(h)
    h.backward(Tensor(rng.standard_normal((samples, width))))
    squares = np.array([metrics.mean_square(t.grad.numpy()) for t in seen])
    return squares, metrics.mean_square(h.detach()) / metrics.mean_square(x.detach())


def path_length(alpha, seed, step=0.02):
    """Branches on the error's mean path: half of d ln |delta_1|^2 / d ln t."""
    up, down = (residual(alpha, seed, 150, 16, t)[0][0] for t in (1 + step, 1 - step))
    return math.log(up / down) / math.log((1 + step) / (1 - step)) / 2


def normed(activation, batch, seed, width, layers=24):
    """The factor per layer on the error's variance, layers 2 to 14: near the input batch norm's deviations differ."""
    rng, a, z = np.random.default_rng(seed), None, []
    a = Tensor(rng.standard_normal((batch, width)))
    for _ in range(layers):
        linear = gaussian(nn.Linear(width, width, dtype="float64"), 1.0, 0.0, rng)
        norm = nn.BatchNorm1d(width, dtype="float64")
        z.append(norm(linear(a)))
        z[-1].retain_grad()
        a = getattr(nn, activation)()(z[-1])
    a.backward(Tensor(rng.standard_normal(a.shape)))
    return metrics.gain_per_layer([metrics.error_norm(t.grad.numpy()) for t in z[1:layers - 10]])**2


def identities(seed):
    rng = np.random.default_rng(seed)
    z = Tensor(rng.standard_normal((32, 5)), requires_grad=True)
    norm = nn.BatchNorm1d(5, eps=0.0, dtype="float64")
    out = norm(z)
    out.backward(Tensor(rng.standard_normal((32, 5))))
    dz = z.grad.numpy()
    return (float(abs(dz.sum(axis=0)).max()), float(abs((dz * out.detach().numpy()).sum(axis=0)).max()),
            float(abs(norm(3 * z.detach()).numpy() - out.detach().numpy()).max()))


def measure(seed, quick):
    seeds = range(seed, seed + RUNS)
    runs = {alpha: [residual(alpha, s) for s in seeds] for alpha in (1.0, 1 / math.sqrt(BLOCKS), 0.0)}
    width = 256 if quick else 1024
    cases = [key for key in NORMED if not quick or key[0] != "GELU"]
    return Found({alpha: np.array([(forward, squares[0] / squares[-1]) for squares, forward in rows])
                  for alpha, rows in runs.items()},
                 {key: np.array([normed(*key, s, width) for s in (seeds[:2] if quick else seeds)]) for key in cases},
                 {alpha: np.median([squares / squares[-1] for squares, _ in rows], axis=0)
                  for alpha, rows in runs.items()},
                 identities(seed),
                 {alpha: np.array([path_length(alpha, s) for s in seeds]) for alpha in (1.0, 1 / math.sqrt(BLOCKS))})


def numbers(found):
    scaled = 1 / math.sqrt(BLOCKS)
    shortcut = [near("α = 1, forward", found.residual[1.0][:, 0], 2.0**30, rel=0.25, by="theory: 2³⁰"),
                near("α = 1, back", found.residual[1.0][:, 1], 2.0**30, rel=0.25, by="theory: 2³⁰"),
                near("α = 1/√30, forward", found.residual[scaled][:, 0], 2.6743, rel=0.03, by="theory: (1 + 1/30)³⁰"),
                near("α = 1/√30, back", found.residual[scaled][:, 1], 2.6743, rel=0.03, by="theory: (1 + 1/30)³⁰"),
                near("α = 0", found.residual[0.0][:, 1], 1.0)]
    relu = near("batch norm, ReLU, batch 256, per layer", found.normed["ReLU", 256], math.pi / (math.pi - 1), rel=0.03,
                by="theory: π/(π − 1)")
    return {
        "A14": [relu, shortcut[1], shortcut[3]],
        "RS": shortcut,
        "VE": [near(f"branches on the mean path of 30, {name}", found.lengths[alpha],
                    BLOCKS * alpha**2 / (1 + alpha**2), rel=0.1, by="theory: 30 α² / (1 + α²)")
               for name, alpha in (("α = 1", 1.0), ("α = 1/√30", scaled))] + [
              near("theory's mean, by the shares of paths", float(np.arange(BLOCKS + 1) @ metrics.path_lengths(
                  np.ones(BLOCKS))), BLOCKS / 2, tol=1e-9)],
        "BN": [relu, *(near(f"{name}, batch {batch}", found.normed[name, batch], NORMED[name, batch], rel=0.04,
                            by="an earlier run") for name, batch in found.normed if (name, batch) != ("ReLU", 256)),
               *(between(what, off, high=1e-12, by="exact: 0") for what, off in
                 zip(("|Σ dz|", "|Σ dz ẑ|", "change of the output for 3 W"), found.identities))],
    }


def draw(found, axes, c):
    for (alpha, squares), colour, mark in zip(found.paths.items(), c.ordered(3), "os^"):
        label = {1.0: "α = 1: doubles per block", 0.0: "α = 0: the identity"}.get(alpha, "α = 1/√30")
        axes.plot(range(BLOCKS + 1), squares, mark + "-", color=colour, markersize=3, label=label)
        axes.plot(range(BLOCKS + 1), (1 + alpha**2)**(BLOCKS - np.arange(BLOCKS + 1)), ":", color=c.black, linewidth=1)
    layers = np.arange(BLOCKS + 1)
    axes.plot(layers, np.median(found.normed["ReLU", 256])**(BLOCKS - layers), "--", color=c.green,
              label=f"batch norm, ReLU: {np.median(found.normed['ReLU', 256]):.2f} per layer")
    axes.set(yscale="log", xlabel="block", ylabel="mean square error over the last's")
    axes.legend(fontsize=8)


FIGURES = [("Errors through 30 residual blocks, and at batch norm's rate. Dotted: theory, (1 + α²) per block.", draw)]
