"""Dynamical isometry: all singular values of the Jacobian near 1, not only their mean square.

Saxe et al. (2013), Pennington et al. (2017); J = dz_L/dz_0 of square nets without biases.
"""
import math
from dataclasses import dataclass

import numpy as np

from microgradx import Tensor, nn
from microgradx.flow import metrics
from microgradx.lab.cards import RIGHT, Claim, between, near

DTYPE = "float64"
RUNS, DEPTHS = 3, (1, 10, 50)

CLAIMS = [
    Claim("DI", "Orthogonal weights keep all singular values of a deep net's Jacobian near 1; Gaussian weights do so "
          "only in the mean.",
          "Jacobians of linear, ReLU and tanh nets by the engine, 10 and 50 layers deep.",
          RIGHT, "Exactly 1 in linear nets. ReLU nets cannot be isometric; tanh nets nearly can."),
]


@dataclass(frozen=True)
class Found:
    """``values``: {(activation, weights, depth): singular values (runs, n)}."""
    values: dict


def singular_values(activation, kind, depth, seed, width):
    """Of J = d z_L / d z_0, where each layer is z -> W phi(z), by one backward pass over n rows."""
    rng, eye = np.random.default_rng(seed), np.eye(width)
    gain = math.sqrt(2) if activation == "relu" else 1.0
    start = np.broadcast_to(rng.standard_normal(width) * (1.0 if activation != "tanh" else 0.3), (width, width)).copy()
    x = Tensor(start, requires_grad=True)
    h = x
    for _ in range(depth):
        w = Tensor(np.zeros((width, width)))
        if kind == "orthogonal":
            nn.init.orthogonal_(w, gain, rng=rng)
        else:
            nn.init.normal_(w, 0.0, gain / math.sqrt(width), rng=rng)
        h = (h if activation == "linear" else getattr(h, activation)()) @ w.T
    h.backward(Tensor(eye))                                 # row k: the gradient of output k
    return metrics.singular_values(x.grad.numpy())


def measure(seed, quick):
    width, runs = (150, 2) if quick else (400, RUNS)
    cases = [("linear", "orthogonal", 50), *(("linear", "Gaussian", d) for d in DEPTHS),
             *((phi, kind, d) for phi in ("relu", "tanh") for kind in ("orthogonal", "Gaussian") for d in (10, 50))]
    return Found({case: np.array([singular_values(*case, s, width) for s in range(seed, seed + runs)])
                  for case in cases})


def spread(values):
    """var(s^2) / mean(s^2)^2 of each run."""
    squares = values**2
    return squares.var(axis=1) / squares.mean(axis=1)**2


def numbers(found):
    v, by = found.values, "theory, infinite width"
    top = lambda depth: v["linear", "Gaussian", depth].max(axis=1)**2
    return {"DI": [
        near("linear, orthogonal, 50 layers: largest |s − 1|", abs(v["linear", "orthogonal", 50] - 1).max(), 0.0,
             tol=1e-12),
        *(near(f"linear, Gaussian, {d} layers: largest s²", top(d), (d + 1.0)**(d + 1) / d**d, rel=0.2, by=by)
          for d in (1, 10)),
        between("50 layers: largest s²", top(50), 15, 137.3, by="theory, infinite width: 137.3"),
        near("linear, Gaussian, 10 layers: var s² / mean²", spread(v["linear", "Gaussian", 10]), 10, rel=0.3, by=by),
        near("ReLU, orthogonal, 10 layers", spread(v["relu", "orthogonal", 10]), 10, rel=0.3, by=by),
        near("ReLU, Gaussian, 10 layers", spread(v["relu", "Gaussian", 10]), 20, rel=0.35, by=by),
        between("tanh, 50 layers: share of directions that take part, orthogonal over Gaussian",
                np.array([metrics.participation(a) / metrics.participation(b) for a, b in
                          zip(v["tanh", "orthogonal", 50], v["tanh", "Gaussian", 50])]), low=5)]}


def draw(found, axes, c):
    cases = [("linear", "orthogonal", 50), ("tanh", "orthogonal", 50), ("relu", "orthogonal", 50),
             ("linear", "Gaussian", 50), ("tanh", "Gaussian", 50)]
    for case, colour, style in zip(cases, c.ordered(5), ("-", "--", "-.", ":", (0, (5, 1, 1, 1)))):
        values = found.values[case][0]
        axes.plot((np.arange(len(values)) + 1) / len(values), np.maximum(values, 1e-12), linestyle=style, color=colour,
                  label=f"{'ReLU' if case[0] == 'relu' else case[0]}, {case[1]}")
    axes.set(yscale="log", xlabel="share of the singular values", ylabel="singular value", ylim=(1e-8, 1e3))
    axes.legend(fontsize=8)


FIGURES = [("All singular values of 50 layers, largest first. Isometry is the flat line at 1.", draw)]
