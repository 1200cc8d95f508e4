"""Through time: one matrix a hundred times (Hochreiter 1991, Bengio et al. 1994, Pascanu et al. 2013).
"""
from dataclasses import dataclass

import numpy as np

from microgradx import Tensor, nn
from microgradx.flow import metrics
from microgradx.lab.cards import RIGHT, Claim, between, near

DTYPE = "float64"
STEPS, WIDTH, RUNS = 100, 64, 5

CLAIMS = [
    Claim("RN", "Errors vanish through time if the largest singular value of the recurrent matrix is below 1/γ, with "
          "γ = 1 for tanh and 1/4 for the sigmoid.",
          "h ← φ(W h), W = ρ times an orthogonal matrix, 100 steps; an LSTM cell's path with given forget gates.",
          RIGHT, "Sufficient, not necessary: at ρ = 1/γ tanh's and the sigmoid's errors shrink as well. The LSTM's "
          "cell carries the error by the product of its forget gates, exactly."),
]


@dataclass(frozen=True)
class Found:
    """``norms``: {(phi, rho): ||dC/dh_t|| over ||dC/dh_T||, t = 0..T, (runs, T+1)}; ``cell``: dc_T/dc_0 over the
    product of forget gates."""
    norms: dict
    cell: np.ndarray


def through_time(phi, rho, seed):
    rng = np.random.default_rng(seed)
    w = nn.init.orthogonal_(Tensor(np.zeros((WIDTH, WIDTH))), rho, rng=rng)
    h = Tensor(rng.standard_normal((1, WIDTH)), requires_grad=True)
    states = [h]
    for _ in range(STEPS):
        z = h @ w.T
        h = z if phi == "linear" else getattr(z, phi)()
        h.retain_grad()
        states.append(h)
    h.backward(Tensor(rng.standard_normal((1, WIDTH))))
    norms = np.array([metrics.norm(state.grad.numpy()) for state in states])
    return norms / norms[-1]


def cell(seed):
    """The gradient that 20 steps of c <- f c + i g carry back, over the product of the f."""
    rng = np.random.default_rng(seed)
    c0 = Tensor(rng.standard_normal(8), requires_grad=True)
    c, product = c0, np.ones(8)
    for _ in range(20):
        f = Tensor(rng.standard_normal(8) + 1).sigmoid()
        c = f * c + Tensor(rng.standard_normal(8)).sigmoid() * Tensor(rng.standard_normal(8)).tanh()
        product *= f.numpy()
    c.sum().backward()
    return c0.grad.numpy() / product


CASES = [("linear", 0.9), ("linear", 1.1), ("tanh", 1.0), ("sigmoid", 1.0), ("sigmoid", 4.0)]


def measure(seed, quick):
    return Found({case: np.array([through_time(*case, s) for s in range(seed, seed + RUNS)])
                  for case in CASES}, cell(seed))


def per_step(norms):
    """The geometric mean of the factor over the earlier half, where the state has settled."""
    return (norms[:, 50] / norms[:, 100])**(1 / 50)


def numbers(found):
    end = {case: norms[:, 0] for case, norms in found.norms.items()}
    return {"RN": [near("linear, ρ = 0.9, 100 steps", end["linear", 0.9], 0.9**100, rel=1e-9),
                   near("linear, ρ = 1.1", end["linear", 1.1], 1.1**100, rel=1e-9),
                   between("tanh, ρ = 1", end["tanh", 1.0], 0.03, 0.3, by="theory: about T^(−1/2)"),
                   near("sigmoid, ρ = 1, per step", per_step(found.norms["sigmoid", 1.0]), 0.2367, rel=0.03,
                        by="an earlier run"),
                   near("sigmoid, ρ = 4, per step", per_step(found.norms["sigmoid", 4.0]), 0.699, rel=0.15,
                        by="an earlier run"),
                   near("LSTM cell: dc_T/dc_0 over ∏ f, largest", found.cell.max(), 1.0, rel=1e-12),
                   near("least", found.cell.min(), 1.0, rel=1e-12)]}


def draw(found, axes, c):
    for ((phi, rho), norms), colour, mark in zip(found.norms.items(), c.ordered(5), "os^Dv"):
        axes.plot(np.arange(STEPS + 1) - STEPS, np.median(norms, axis=0), mark + "-", color=colour, markevery=10,
                  markersize=4, label=f"{phi}, ρ = {rho:g}")
    axes.set(yscale="log", xlabel="step, the last being 0", ylabel="error over the last's", ylim=(1e-20, 1e6))
    axes.legend(fontsize=8)


FIGURES = [("Errors through 100 steps of h ← φ(W h), W orthogonal times ρ; medians of 5 seeds.", draw)]
