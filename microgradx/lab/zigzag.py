"""Zig-zag descent: what the rule of signs costs, and what conditioning costs.

One linear neuron, inputs a = φ(z) with z ~ N(0, 1), target weights (+1, −1, +1, …), cost ½ E (a·(w − w*))².
"""
import math
from dataclasses import dataclass

import numpy as np

from microgradx import Tensor, optim
from microgradx.flow import metrics
from microgradx.flow.theory import moments
from microgradx.lab.cards import IMPRECISE, Claim, between, near

DTYPE = "float64"
INPUTS = ("sigmoid", "centred", "tanh")

CLAIMS = [
    Claim("D7", "A consequence of these weight updates sharing the same sign is a sub-optimal zigzag gradient "
          "descent path.",
          "The shortest path that moves only in the all-plus and all-minus orthants, for 10 000 random targets.",
          IMPRECISE, "It is sub-optimal by at most √2: the rule of signs alone costs 41 % of path at worst."),
    Claim("D8", "Is this the limitation of sigmoid that the Stanford lecture is referring to?",
          "The condition of E[aaᵀ]; steps of gradient descent at the best rate until w is within 1e-3 of w*, for "
          "sigmoid inputs, the same centred, and tanh; the same one sample at a time.",
          IMPRECISE, "What costs is the conditioning 1 + n μ²/s² of inputs with an offset: 600 steps against 4 for "
          "n = 30, on a path that is at most 5 % longer than straight. With full batches there is no zig-zag at all."),
]


@dataclass(frozen=True)
class Found:
    """``longest``: of the ideal paths over the distance; ``cosine``: best towards a balanced target; ``condition``:
    {(inputs, n)}; ``steps``, ``inflation``: {inputs: of full-batch descent, n = 30}; ``online``: {inputs: (steps,
    inflation, reversals) over seeds, one sample at a time}; ``paths``: {inputs: (T, 2)}, n = 2; ``gram``: (2, 2)."""
    longest: float
    cosine: float
    condition: dict
    steps: dict
    inflation: dict
    online: dict
    paths: dict
    gram: np.ndarray


def draws(kind, n, count, rng):
    a = np.asarray(getattr(Tensor(rng.standard_normal((count, n))), "tanh" if kind == "tanh" else "sigmoid")())
    return a - 0.5 if kind == "centred" else a


def target(n):
    return np.where(np.arange(n) % 2, -1.0, 1.0)


def descend(gram, most=5000):
    """Gradient descent at the best rate 2 / (largest + least eigenvalue): positions (T+1, n)."""
    values, n = np.linalg.eigvalsh(gram), len(gram)
    w, a, goal = Tensor(np.zeros(n), requires_grad=True), Tensor(gram), Tensor(target(n))
    sgd, path = optim.SGD([w], lr=2 / (values[0] + values[-1])), [np.zeros(n)]
    while np.linalg.norm(path[-1] - target(n)) > 1e-3 * math.sqrt(n) and len(path) <= most:
        sgd.zero_grad()
        off = w - goal
        (0.5 * (off * (a @ off)).sum()).backward()
        sgd.step()
        path.append(w.detach().numpy().copy())
    return np.array(path)


def online(kind, n, rng, most=20000):
    """One sample at a time, each with the step that is exact for it (Kaczmarz): positions (T+1, n)."""
    w, path = np.zeros(n), [np.zeros(n)]
    for a in draws(kind, n, most, rng):
        w = w - a * (a @ (w - target(n))) / (a @ a)
        path.append(w)
        if np.linalg.norm(w - target(n)) <= 1e-3 * math.sqrt(n):
            break
    return np.array(path)


def told(path):
    return len(path) - 1, metrics.inflation(path), metrics.reversals(path)


def measure(seed, quick):
    rng = np.random.default_rng(seed)
    d = rng.standard_normal((10_000, 6))
    lengths = np.linalg.norm(np.maximum(d, 0), axis=1) + np.linalg.norm(np.minimum(d, 0), axis=1)
    balanced = target(6)
    grams = {}
    for kind in INPUTS:
        for n in (2, 30):
            a = draws(kind, n, 50_000, rng)
            grams[kind, n] = a.T @ a / len(a)
    samples = {kind: draws(kind, 30, 5000, rng) for kind in INPUTS}
    paths = {kind: descend(a.T @ a / len(a)) for kind, a in samples.items()}
    return Found(float((lengths / np.linalg.norm(d, axis=1)).max()),
                 float(np.maximum(balanced, 0) @ balanced / np.linalg.norm(np.maximum(balanced, 0))
                       / np.linalg.norm(balanced)),
                 {key: float(np.linalg.cond(gram)) for key, gram in grams.items()},
                 {kind: len(path) - 1 for kind, path in paths.items()},
                 {kind: metrics.inflation(path) for kind, path in paths.items()},
                 {kind: np.array([told(online(kind, 30, np.random.default_rng([seed, k]))) for k in range(5)]).T
                  for kind in ("sigmoid", "centred")},
                 {kind: descend(grams[kind, 2]) for kind in INPUTS}
                 | {"one sample\nat a time": online("sigmoid", 2, rng)}, grams["sigmoid", 2])


def numbers(found):
    ratio = moments("sigmoid")
    ratio = ratio.mean**2 / (ratio.square - ratio.mean**2)
    relu = moments("relu")
    return {
        "D7": [between("longest ideal path over the distance", found.longest, 1.0, math.sqrt(2) + 1e-12),
               near("best cosine towards a balanced target", found.cosine, 1 / math.sqrt(2), rel=1e-12)],
        "D8": [near("μ²/s² of sigmoid inputs", ratio, 5.7632, tol=1e-4),
               near("of ReLU's", relu.mean**2 / (relu.square - relu.mean**2), 0.4669, tol=1e-4),
               *(near(f"condition, sigmoid, n = {n}", found.condition["sigmoid", n], 1 + n * ratio, rel=0.08)
                 for n in (2, 30)), near("condition, tanh, n = 30", found.condition["tanh", 30], 1.0, tol=0.15),
               near("full-batch steps, sigmoid, n = 30", found.steps["sigmoid"], 612, rel=0.06, by="an earlier run"),
               near("centred", found.steps["centred"], 4, tol=1, by="an earlier run"),
               near("tanh", found.steps["tanh"], 3, tol=1, by="an earlier run"),
               near("path over distance, sigmoid", found.inflation["sigmoid"], 1.05, tol=0.05, by="an earlier run"),
               between("one sample at a time: steps, sigmoid", found.online["sigmoid"][0], 1000, 2000),
               near("over those of centred inputs", found.online["sigmoid"][0] / found.online["centred"][0], 4.97,
                    rel=0.3, by="an earlier run"),
               near("path over distance, sigmoid", found.online["sigmoid"][1], 17.8, rel=0.3, by="an earlier run"),
               near("centred", found.online["centred"][1], 7.2, rel=0.3, by="an earlier run"),
               near("share of reversals, sigmoid", found.online["sigmoid"][2], 0.65, tol=0.06, by="an earlier run"),
               near("centred", found.online["centred"][2], 0.54, tol=0.06, by="an earlier run")],
    }


def draw_paths(found, axes, c):
    x, y = np.meshgrid(np.linspace(-0.4, 1.5, 120), np.linspace(-1.5, 0.6, 120))
    off = np.stack([x - 1, y + 1])
    cost = 0.5 * np.einsum("ixy,ij,jxy->xy", off, found.gram, off)
    axes.contour(x, y, cost, levels=np.geomspace(1e-3, 1, 8), colors="0.8", linewidths=0.8)
    axes.fill_between([0, 1.5], 0, 0.6, color=c.blue, alpha=0.12, linewidth=0)
    axes.fill_between([-0.4, 0], -1.5, 0, color=c.blue, alpha=0.12, linewidth=0)
    axes.text(0.75, 0.3, "one sample may\nmove here", fontsize=8, color=c.blue, ha="center")
    marks = zip(found.paths.items(), (c.orange, c.green, c.black, c.pink), "osDv")
    for (kind, path), colour, mark in reversed(list(marks)):
        axes.plot(*path.T, mark + "-", color=colour, markersize=3, linewidth=1,
                  label=f"{kind}: {len(path) - 1} steps")
    axes.plot(1, -1, "*", color=c.black, markersize=12)
    axes.set(xlabel="w₁", ylabel="w₂", aspect="equal")
    axes.legend(fontsize=8, loc="center left", bbox_to_anchor=(1, 0.5))


def draw_steps(found, axes, c):
    names = ["full batch,\nsigmoid", "full batch,\ncentred", "full batch,\ntanh", "one sample,\nsigmoid",
             "one sample,\ncentred"]
    heights = [*(found.steps[kind] for kind in INPUTS),
               *(np.median(found.online[kind][0]) for kind in ("sigmoid", "centred"))]
    bars = axes.bar(names, heights, color=[c.orange, c.green, c.black, c.orange, c.green])
    axes.bar_label(bars, [f"{h:.0f}" for h in heights], fontsize=8)
    axes.set(yscale="log", ylabel="steps to within 10⁻³", ylim=(1, 5000))
    axes.tick_params(axis="x", labelsize=7)


FIGURES = [("Gradient descent with two weights towards (1, −1), full batches at the best rate, and sigmoid inputs one "
            "sample at a time. Shaded: where a single "
            "sample with positive inputs may move from the start.", draw_paths),
           ("Steps with 30 weights. Conditioning costs a factor of 150; the signs are not the reason.", draw_steps)]
