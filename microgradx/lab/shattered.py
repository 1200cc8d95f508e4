"""Shattered gradients: how alike the gradients of two neighbouring inputs are (Balduzzi et al. 2017).
"""
import math
from dataclasses import dataclass

import numpy as np

from microgradx import Tensor, nn
from microgradx.flow import metrics
from microgradx.lab.cards import IMPRECISE, Claim, between, near
from microgradx.lab.nets import gaussian

DTYPE = "float64"
RUNS, WIDTH = 5, 200
EXACT = {1: 0.5, 5: 0.1046, 10: 0.03365, 20: 0.008235, 50: 9.12e-4}

CLAIMS = [
    Claim("SG", "In plain ReLU nets the correlation of the gradients of two inputs falls as 1/2ᴸ with depth; with "
          "shortcuts as 1/√L.",
          "The exact recursion for He's weights; gradients of a 1-d input in nets of 1 to 50 layers, with and "
          "without shortcuts.",
          IMPRECISE, "They do shatter with depth, but as a power of L, not as 2⁻ᴸ: 9.1e-4 at 50 layers, not "
          "8.9e-16, since the inputs themselves become alike. Shortcuts keep them together."),
]


@dataclass(frozen=True)
class Found:
    """``exact``: {L: correlation from orthogonal inputs}; ``nets``: {L: measured (runs,)}; ``lag``: {net: correlation
    of neighbours on a line (runs,)}; ``lines``: {net: gradient along the line (256,)}."""
    exact: dict
    nets: dict
    lag: dict
    lines: dict


def recursion(depth):
    """Gradient correlation of two inputs at a right angle: product of (pi - acos c) / pi."""
    c, found = 0.0, 1.0
    for _ in range(depth):
        found *= (math.pi - math.acos(c)) / math.pi
        c = min((math.sqrt(1 - c * c) + c * (math.pi - math.acos(c))) / math.pi, 1.0)
    return found


def two_inputs(depth, seed, pairs=16):
    """The mean correlation of input gradients of orthogonal inputs, He weights, by the engine."""
    rng = np.random.default_rng(seed)
    x = Tensor(np.linalg.qr(rng.standard_normal((WIDTH, 2 * pairs)))[0].T * math.sqrt(WIDTH), requires_grad=True)
    h = x
    for _ in range(depth):
        h = (h @ Tensor(rng.standard_normal((WIDTH, WIDTH)) * math.sqrt(2 / WIDTH))).relu()
    h.backward(Tensor(np.tile(rng.standard_normal(WIDTH), (2 * pairs, 1))))     # one error for all
    g = x.grad.numpy()
    a, b = g[::2], g[1::2]
    return float((a * b).sum() / math.sqrt((a * a).sum() * (b * b).sum()))


def line(kind, seed, depth=50, points=256):
    """dy/dx of a net with one input and one output, on a line from -2 to 2."""
    rng = np.random.default_rng(seed)
    linear = lambda n_in, n_out, var: gaussian(nn.Linear(n_in, n_out, dtype="float64"), var, 0.0, rng)
    first = linear(1, WIDTH, 1.0)
    nn.init.normal_(first.bias, 0.0, 1.0, rng)
    layers = [first]
    for _ in range(depth):
        block = nn.Sequential(nn.ReLU(), linear(WIDTH, WIDTH, 2.0))
        layers.append(block if kind == "plain" else nn.Residual(block, 0.1 if "0.1" in kind else 1.0))
    x = Tensor(np.linspace(-2, 2, points)[:, None], requires_grad=True)
    nn.Sequential(*layers, linear(WIDTH, 1, 1.0))(x).sum().backward()
    return x.grad.numpy()[:, 0]


KINDS = {"plain": 0.80, "shortcuts": 0.90, "shortcuts, β = 0.1": 0.97}


def measure(seed, quick):
    seeds = range(seed, seed + RUNS)
    lines = {kind: [line(kind, s) for s in seeds] for kind in KINDS}
    centred = lambda g: (g - g.mean())[:, None]
    return Found({depth: recursion(depth) for depth in EXACT},
                 {depth: np.array([two_inputs(depth, s) for s in seeds]) for depth in (1, 5, 10)},
                 {kind: np.array([metrics.gradient_correlation(centred(g)) for g in rows])
                  for kind, rows in lines.items()},
                 {kind: rows[0] for kind, rows in lines.items()})


def numbers(found):
    return {"SG": [
        *(near(f"recursion, {depth} layers", found.exact[depth], value, rel=1e-3) for depth, value in EXACT.items()),
        *(near(f"nets of {depth} layers", rows, EXACT[depth], tol=0.03, by="the recursion")
          for depth, rows in found.nets.items()),
        between("50 layers, neighbours on a line, plain", found.lag["plain"], 0.2, 0.85, by="an earlier run: 0.80"),
        *(near(f"50 layers, neighbours on a line, {kind}", found.lag[kind], value, tol=0.12, by="an earlier run")
          for kind, value in KINDS.items() if kind != "plain"),
        between("shortcuts over plain", np.median(found.lag["shortcuts"]) / np.median(found.lag["plain"]), low=1.0)]}


def draw_lines(found, axes, c):
    for k, ((kind, g), colour) in enumerate(zip(found.lines.items(), (c.orange, c.blue, c.green))):
        axes.plot(np.linspace(-2, 2, len(g)), g / abs(g).max() - 2.2 * k, color=colour, linewidth=1,
                  label=f"{kind}: {np.median(found.lag[kind]):.2f}")
    axes.set(xlabel="input", ylabel="gradient, scaled and shifted", yticks=[], ylim=(-5.8, 2.6))
    axes.legend(fontsize=8, ncols=3, loc="upper center", title="correlation of neighbours", title_fontsize=8)


def draw_depth(found, axes, c):
    depths = np.arange(1, 51)
    axes.plot(depths, [recursion(d) for d in depths], color=c.blue, label="exact, ReLU with He's weights")
    axes.plot(depths, 0.5**depths, "--", color=c.orange, label="2⁻ᴸ")
    for depth, rows in found.nets.items():
        axes.plot(depth, np.median(rows), "o", color=c.black, label="nets" if depth == 1 else None)
    axes.set(xscale="log", yscale="log", xlabel="layers L", ylabel="correlation of gradients", ylim=(1e-8, 1.5))
    axes.legend(fontsize=8)


FIGURES = [("The gradient along a line through nets of 50 layers.", draw_lines),
           ("Gradients of two orthogonal inputs lose each other as a power of depth.", draw_depth)]
