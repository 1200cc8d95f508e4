"""One sick net looked at: what its layers hold, its diagnosis, and the same net with LSUV's weights.

Twelve layers of 64 tanh units with weights of variance 1/(3n), as U(−1/√n, 1/√n) has it; 128 digits, SGD at rate 0.1.
"""
from dataclasses import dataclass

import numpy as np

from microgradx import Tensor, nn
from microgradx.flow import diagnose
from microgradx.flow.report import Diagnosis
from microgradx.lab.cards import RIGHT, Claim, between, near
from microgradx.lab.nets import cross_entropy, forward, linears, mlp, sample
from microgradx.nn import functional as F

DTYPE = "float32"
DEPTH, WIDTH, RUNS = 12, 64, 5
SHOWN = (0, 3, 6, 9, 11)                                # layers whose distributions are drawn

CLAIMS = [
    Claim("LS", "LSUV: orthogonal weights, scaled layer by layer until each output has variance 1, make deep nets "
          "train (Mishkin and Matas 2016).",
          "The variance of every layer's output after it; the share of the cost that 100 steps remove, before and "
          "after, by the diagnosis's own trial.",
          RIGHT, "All variances lie within 10 % of 1, and a net that learned nothing learns."),
]


@dataclass(frozen=True)
class Found:
    """``variances``: of every layer's output after LSUV (runs, layers); ``learned``: (before, after) share of the cost
    removed (runs, 2); ``verdicts``: of the nets as they are; ``values``: {(net, what): one array per shown layer}, net
    "as it is" or "LSUV", what "activation" or "error"; ``diagnosis``: of the first seed."""
    variances: np.ndarray
    learned: np.ndarray
    verdicts: list
    values: dict
    diagnosis: Diagnosis


def sick(seed):
    return mlp([64, *[WIDTH] * DEPTH, 10], nn.Tanh, 1 / 3, rng=seed, dtype=DTYPE)


def lsuv(net, x, seed):
    for layer in linears(net):
        nn.init.zeros_(layer.bias)
    return nn.init.lsuv_(net, Tensor(x), rng=seed)


def inside(net, x, y):
    """(activations, errors) of the shown layers."""
    net.zero_grad()
    out, z = forward(net, x)
    cross_entropy(y)(out).backward()
    return ([np.tanh(z[k].detach().numpy()).ravel() for k in SHOWN],
            [len(x) * z[k].grad.numpy().ravel() for k in SHOWN])


def measure(seed, quick):
    variances, learned, verdicts, first = [], [], [], None
    for s in range(seed, seed + RUNS):
        x, y = sample(128, s, DTYPE)
        found = diagnose(sick(s), F.cross_entropy, (x, y), most=4 if s == seed else 1)
        first = first or found
        verdicts.append(found.verdict)
        trial = next(p for p in found.prescriptions if p["name"] == "LSUV")
        learned.append((found.before["learned"], trial["after"]["learned"]))
        _, z = forward(lsuv(sick(s), x, s), x)
        variances.append([float(t.detach().numpy().var()) for t in z])
    x, y = sample(128, seed, DTYPE)
    values = {}
    for name, net in (("as it is", sick(seed)), ("LSUV", lsuv(sick(seed), x, seed))):
        values[name, "activation"], values[name, "error"] = inside(net, x, y)
    return Found(np.array(variances), np.array(learned, float), verdicts, values, first)


def numbers(found):
    return {"LS": [between("least variance of a layer's output", found.variances.min(axis=1), 0.9, 1.1),
                   between("largest", found.variances.max(axis=1), 0.9, 1.1),
                   between("share of the cost removed, as it is", found.learned[:, 0], high=0.05),
                   between("with LSUV", found.learned[:, 1], low=0.5),
                   near("nets of which vanishing is the verdict", sum("vanishing" in v for v in found.verdicts), RUNS)]}


def _ridge(what, label):
    def draw(found, axes, c):
        for name, colour, style in (("as it is", c.orange, "-"), ("LSUV", c.blue, "--")):
            for k, values in enumerate(found.values[name, what]):
                logs = np.log10(np.abs(values[values != 0]))
                density, edges = np.histogram(logs, bins=np.linspace(-8, 1, 91), density=True)
                middle, height = (edges[1:] + edges[:-1]) / 2, density / density.max() * 0.85
                axes.fill_between(middle, -k, height - k, where=height > 0.002, color=colour, alpha=0.25, linewidth=0)
                axes.plot(middle, np.where(height > 0.002, height - k, np.nan), style, color=colour, linewidth=1,
                          label=name if k == 0 else None)
        axes.set(yticks=-np.arange(len(SHOWN)), yticklabels=[f"layer {k + 1}" for k in SHOWN], xlabel=label,
                 xlim=(-6.5, 1), ylim=(-len(SHOWN) + 0.9, 1.35))
        axes.legend(fontsize=8, ncols=2, loc="upper left")
    return draw


def draw_report(found, axes, c):
    """A line per layer: the error as a bar, and the numbers that the verdict rests on."""
    rows, d = found.diagnosis.layers, found.diagnosis
    heads = {"gain": "gain", "expected_gain": "theory", "by_weights": "weights", "by_slope": "slope",
             "signal": "signal", "cosine": "cosine", "update": "update"}
    logs = np.log10([max(row["error"], 1e-30) for row in rows])
    bars = (logs - logs.min() + 0.3) / (np.ptp(logs) + 0.3) * 0.19
    for k, (row, bar, log) in enumerate(zip(rows, bars, logs)):
        bold = {"weight": "bold"} if row["layer"] == d.layer else {}
        axes.text(0.0, -k, f"{row['layer']} {row['activation']}", fontsize=7, va="center", **bold)
        axes.add_patch(c.box((0.15, -k - 0.33), bar, 0.66, color=c.orange if bold else c.sky))
        axes.text(0.16 + bar, -k, f"{log:.1f}", fontsize=6, va="center")
        for column, name in enumerate(heads):
            value = row[name]
            text = "–" if value is None else f"{value:.2g}".replace("e-0", "e-")
            axes.text(0.5 + 0.083 * column, -k, text, fontsize=6, va="center", ha="right", **bold)
    for column, head in enumerate(heads.values()):
        axes.text(0.5 + 0.083 * column, 1, head, fontsize=6, ha="right", va="center", color="0.4")
    axes.text(0.15, 1, "log₁₀ error", fontsize=6, va="center", color="0.4")
    axes.text(0.0, 2.2, f"{d.verdict}, at {d.layer}", fontsize=9, weight="bold", va="center")
    trials = [("as it is", d.before, False), *((p["name"], p["after"], p["trains"]) for p in d.prescriptions)]
    for k, (name, after, trains) in enumerate(trials):
        axes.text(0.0, -len(rows) - 0.6 - k, f"{'✓ ' if trains else ''}{name}: {max(after['learned'], 0):.0%} of the "
                  "cost removed in 100 steps", fontsize=7, va="center", color=c.black)
    axes.set(xlim=(0, 1.02), ylim=(-len(rows) - len(trials) - 0.2, 2.8))
    axes.axis("off")


FIGURES = [("Sizes of activations over units and rows, by layer: as it is they shrink on their way up.",
            _ridge("activation", "log₁₀ |a|")),
           ("Sizes of errors: as it is they shrink on their way down.", _ridge("error", "log₁₀ |δ|")),
           ("The diagnosis: a line per layer, in bold the one that is named; below, what was tried.", draw_report)]
