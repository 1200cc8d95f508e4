"""The edge of chaos: which initialisations let signals pass, and to what depth they train.

Poole et al. (2016), Schoenholz et al. (2017): tanh nets with weights N(0, σ_w²/n) and biases N(0, 0.05).
"""
from dataclasses import dataclass

import numpy as np

from microgradx import Tensor, nn
from microgradx.flow import metrics, theory
from microgradx.lab.cards import RIGHT, Claim, between, near
from microgradx.lab.nets import errors, linears, mlp, standardised, train

DTYPE = "float64; training in float32"
RUNS, VAR_B = 5, 0.05
EDGE = {0.001: 1.18919, 0.01: 1.42421, 0.05: 1.76095, 0.1: 1.98607, 0.3: 2.50513, 1.0: 3.44321}
PHASES = {1.0: (0.75903, 3.627, None), 1.4: (0.91103, 10.73, None), 1.7: (0.98674, 74.9, None),
          2.0: (1.04767, 25.2, 0.74408), 4.0: (1.3424, 6.98, 0.16506)}          # var_w: chi, xi_c, c*

CLAIMS = [
    Claim("MF", "Random nets are ordered or chaotic; at the edge between, χ = 1 and signals pass through any depth.",
          "The edge for six bias variances, five points in both phases; the error's factor per layer in tanh nets of "
          "200 units; the correlation of two samples after 40 layers.",
          RIGHT, "Theory and nets agree within a few per cent."),
    Claim("XI", "Nets are trainable up to a depth of about 6 ξ.",
          "Tanh nets of 16 hidden layers at the edge and at σ_w² = 0.4, where 6 ξ is 6 layers: five seeds each, SGD.",
          RIGHT, "At the edge, where ξ is infinite, they learn; far beyond the limit they do not."),
]
SHALLOW = 0.4                           # var_w in the ordered phase


@dataclass(frozen=True)
class Found:
    """``edge``: {var_b: var_w}; ``phases``: {var_w: Phase}; ``factors``: {var_w: error's factor per layer (runs,)};
    ``cosines``: {var_w: correlation after 40 layers (runs,)}; ``accuracy``: {var_w: (runs,)}; ``curve``: (var_b, var_w)
    of the edge; ``map``: var_w (n,), var_b (m,), log10 |xi| (m, n)."""
    edge: dict
    phases: dict
    factors: dict
    cosines: dict
    accuracy: dict
    curve: np.ndarray
    map: tuple


def propagate(var_w, seed, width=200, depth=40):
    """The error's factor per layer over the first 25 layers, and the cosine of z between samples at the end."""
    net = mlp([width] * (depth + 2), nn.Tanh, var_w, VAR_B, rng=seed)
    rng, last = np.random.default_rng([seed, 1]), linears(net)[-2]
    seen = []
    handle = last.register_forward_hook(lambda m, a, z: seen.append(metrics.cosine(z.detach())))
    g = Tensor(rng.standard_normal((8, width)))
    delta = errors(net, rng.standard_normal((8, width)), lambda out: (out * g).sum())
    handle.remove()
    norms = [metrics.error_norm(d) for d in delta[5:-5]]
    return float((norms[0] / norms[-1])**(1 / (len(norms) - 1))), seen[0]


def measure(seed, quick):
    seeds = range(seed, seed + (3 if quick else RUNS))
    runs = {var_w: [propagate(var_w, s) for s in seeds] for var_w in (1.0, 1.76095, 2.0, 4.0)}
    digits, edge = standardised(), EDGE[VAR_B]
    accuracy = {var_w: np.array([train(mlp([64, *[64] * 16, 10], nn.Tanh, var_w, VAR_B, rng=s, dtype="float32"), digits,
                                       0.05, 5 if quick else 20, s) for s in range(seed, seed + RUNS)])
                for var_w in (SHALLOW, edge)}
    points = np.geomspace(1e-3, 20, 400)
    var_w, var_b = np.linspace(0.5, 4, 24 if quick else 60), np.linspace(0.0, 1.0, 12 if quick else 40)
    xi = np.array([[np.log10(abs(metrics.depth_scale(theory.chi("tanh", max(theory.fixed_variance("tanh", w, b), 1e-14),
                                                                w)))) for w in var_w] for b in var_b])
    return Found({b: theory.edge_of_chaos("tanh", b) for b in EDGE},
                 {w: theory.phase("tanh", w, VAR_B) for w in PHASES},
                 {w: np.array([factor for factor, _ in rows]) for w, rows in runs.items()},
                 {w: np.array([cosine for _, cosine in rows]) for w, rows in runs.items()}, accuracy,
                 np.array([theory.edge_point("tanh", q)[::-1] for q in points]).T, (var_w, var_b, xi))


def numbers(found):
    by = "mean-field theory"
    chi = {**{w: phase.chi for w, phase in found.phases.items()}, 1.76095: 1.0}
    return {
        "MF": [*(near(f"edge, σ_b² = {b:g}", found.edge[b], w, tol=6e-6, by="an earlier solution")
                 for b, w in EDGE.items()),
               *(near(f"σ_w² = {w:g}: χ", found.phases[w].chi, PHASES[w][0], rel=2e-5, by="an earlier solution")
                 for w in PHASES),
               *(near(f"σ_w² = {w:g}: ξ", found.phases[w].xi_c, PHASES[w][1], rel=2e-3, by="an earlier solution")
                 for w in PHASES),
               *(near(f"σ_w² = {w:g}: c*", found.phases[w].c, PHASES[w][2], tol=1e-5, by="an earlier solution")
                 for w in (2.0, 4.0)),
               *(near(f"σ_w² = {w:g}: factor per layer in a net", rows, chi[w]**0.5, rel=0.03, by=by)
                 for w, rows in found.factors.items()),
               near("σ_w² = 4: correlation after 40 layers", found.cosines[4.0], PHASES[4.0][2], tol=0.12, by=by),
               between("σ_w² = 1: the same", found.cosines[1.0], low=0.999, by="theory: 1")],
        "XI": [near("6 ξ at σ_w² = 0.4", 6 * theory.phase("tanh", SHALLOW, VAR_B).xi_c, 6.0, tol=0.6, by=by),
               between("accuracy at the edge", found.accuracy[EDGE[VAR_B]], low=0.8),
               between(f"with σ_w² = {SHALLOW}", found.accuracy[SHALLOW], 0.04, 0.25, by="chance: 0.1")],
    }


def draw(found, axes, c):
    w, b, xi = found.map
    image = axes.pcolormesh(w, b, np.clip(xi, -0.5, 2), cmap="cividis", shading="nearest")
    inside = (found.curve[0] >= 0) & (found.curve[0] <= 1)
    axes.plot(found.curve[1][inside], found.curve[0][inside], color=c.orange, linewidth=2)
    axes.text(1.05, 0.8, "ordered:\nerrors vanish", color="white", fontsize=8, ha="center")
    axes.text(3.4, 0.2, "chaotic:\nerrors explode", color="white", fontsize=8, ha="center")
    axes.set(xlabel="σ_w²", ylabel="σ_b²", xlim=(w[0], w[-1]), ylim=(b[0], b[-1]))
    axes.figure.colorbar(image, ax=axes, label="log₁₀ ξ, layers")


FIGURES = [("Tanh: over how many layers an error changes by e; orange: the edge of chaos, χ = 1.", draw)]
