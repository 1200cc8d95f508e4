"""Signs of weight updates: what positive inputs forbid, in one sample and in a batch.

∂C/∂w_kj = δ_k a_j: with all a_j > 0 the row of a neuron k has the sign of δ_k.
"""
import itertools
import math
from dataclasses import dataclass

import numpy as np

from microgradx import Tensor
from microgradx.flow import metrics
from microgradx.flow.quadrature import nodes
from microgradx.flow.theory import moments
from microgradx.lab.cards import IMPRECISE, RIGHT, WRONG, Claim, between, near

DTYPE = "float64"
PATTERNS = list(itertools.product((1, -1), repeat=4))           # signs of w1, w2 (neuron 1), w3, w4 (neuron 2)
WIDTHS = (2, 4, 10, 30, 100)
WORDS = {"sigmoid": "sigmoid", "relu": "ReLU", "silu": "swish", "tanh": "tanh"}

CLAIMS = [
    Claim("A7", "Outputs not zero-centered → always positive, which biases gradient descent updates.",
          "How often all 30 weights into a neuron move the same way in a batch of 128: sigmoid against tanh inputs.",
          IMPRECISE, "It does: 0.40 against 2⁻²⁹. But the price is not the signs; it is the conditioning, see D8."),
    Claim("D1", "∂C/∂w_kj = δ_k a_j",
          "The gradient of a layer's weights for one sample beside the outer product.",
          RIGHT, "As said."),
    Claim("D2", "If all a_j are positive (this happens with sigmoid), then the updates of all the weights that "
          "connect to a neuron k will have the same sign",
          "500 single samples through a layer with sigmoid inputs.",
          RIGHT, "Exact for one sample."),
    Claim("D3", "In the same layer we could have different signs of updates.",
          "The same samples: how often the rows of two neurons differ in sign.",
          RIGHT, "Half of the time, if their errors are independent."),
    Claim("D4", "It wouldn't be possible for w1 and w3 to be positive, and w2 and w4 to be negative.",
          "The puzzle of four weights: every sign pattern that single samples with positive inputs reach.",
          RIGHT, "4 of 16 patterns are reached, and (+, −, +, −) is one of the 12 that are not. In general 2ᵐ of "
          "2ᵐⁿ."),
    Claim("D5", "All the weights connecting to a single neuron will be updated increasing its value or decreasing it "
          "(and not both at the same time)",
          "The puzzle again with tanh inputs and with batches of 2; the probability that all n weights of a neuron "
          "move the same way, in theory and in batches of 128.",
          IMPRECISE, "A batch of two reaches all 16 patterns. But coherence does not go away with the batch: the "
          "components keep the correlation μ²/(μ² + s²), 0.85 for sigmoid inputs, whatever its size."),
    Claim("D6", "I'm having trouble understanding how using sigmoid results in this zigzag descent path, except for "
          "in the case where the upstream gradients are all of the same sign",
          "Only the samples in which the two neurons' errors differ in sign: does every neuron's row still have one "
          "sign?",
          WRONG, "The constraint is per neuron: it binds in every single sample, whatever the other neurons do."),
]


@dataclass(frozen=True)
class Found:
    """``outer``: largest |G − δ aᵀ|; ``coherent``: share of rows with one sign; ``differ``: share of samples whose two
    neurons differ, ``mixed``: share of rows with one sign among those; ``reached``: {case: set of patterns};
    ``same``: {(activation, n): probability in theory}, ``measured``: {(activation, batch): shares over draws, n = 10};
    ``thirty``: {activation: the same at n = 30, batch 128}."""
    outer: float
    coherent: float
    differ: float
    mixed: float
    reached: dict
    same: dict
    measured: dict
    thirty: dict


def gradient(a, delta):
    """dC/dW (m, n) of a linear layer with inputs a (B, n) whose outputs have errors delta (B, m), by the engine."""
    w = Tensor(np.zeros((delta.shape[1], a.shape[1])), requires_grad=True)
    ((Tensor(a) @ w.T) * Tensor(delta)).sum().backward()
    return w.grad.numpy()


def activations(phi, shape, rng):
    return np.asarray(getattr(Tensor(rng.standard_normal(shape)), phi)())


def patterns(phi, batch, draws, rng):
    """The sign patterns of 2 x 2 weights that ``draws`` gradients have."""
    return {tuple(np.sign(gradient(activations(phi, (batch, 2), rng), rng.standard_normal((batch, 2)))).ravel()
                  .astype(int)) for _ in range(draws)}


def correlation(phi):
    """mu^2 / (mu^2 + s^2) of an activation at q = 1."""
    found = moments(phi)
    return found.mean**2 / found.square


def probability(rho, n):
    """That n equicorrelated Gaussians have one sign: 2 E Phi(u sqrt(rho / (1 - rho)))^n."""
    from scipy.special import ndtr  # imported late: it takes 0.1 s
    u, weights = nodes("linear", 1.0)
    return float(2 * weights @ ndtr(u * math.sqrt(rho / (1 - rho)))**n)


def shares(phi, n, batch, draws, neurons, rng):
    """In how many of ``neurons`` rows all n components have one sign; per draw of the inputs."""
    return np.array([metrics.same_sign(gradient(activations(phi, (batch, n), rng),
                                                rng.standard_normal((batch, neurons)))) for _ in range(draws)])


def measure(seed, quick):
    rng = np.random.default_rng(seed)
    outer, rows, differ, mixed = 0.0, [], [], []
    for _ in range(500):
        a, delta = activations("sigmoid", (1, 4), rng), rng.standard_normal((1, 2))
        g = gradient(a, delta)
        outer = max(outer, np.abs(g - np.outer(delta, a)).max())
        rows.append(metrics.same_sign(g))
        differ.append(delta[0, 0] * delta[0, 1] < 0)
        if differ[-1]:
            mixed.append(rows[-1])
    draws, neurons = (60, 400) if quick else (400, 1000)
    return Found(float(outer), float(np.mean(rows)), float(np.mean(differ)), float(np.mean(mixed)),
                 {("sigmoid", 1): patterns("sigmoid", 1, 400, rng), ("tanh", 1): patterns("tanh", 1, 400, rng),
                  ("sigmoid", 2): patterns("sigmoid", 2, 4000, rng)},
                 {(phi, n): probability(correlation(phi), n) for phi in WORDS
                  for n in WIDTHS},
                 {("sigmoid", batch): shares("sigmoid", 10, batch, draws, neurons, rng) for batch in (2, 8, 128)},
                 {phi: shares(phi, 30, 128, draws, neurons, rng) for phi in ("sigmoid", "tanh")})


def numbers(found):
    table = {"sigmoid": (0.8247, 0.681, 0.534, 0.405, 0.304), "relu": (0.603, 0.291, 0.081, 0.012, 0.0013),
             "silu": (0.538, 0.184, 0.017)}
    return {
        "A7": [near("sigmoid: all 30 the same way", found.thirty["sigmoid"].mean(), 0.405, tol=0.04, by="theory"),
               near("tanh", found.thirty["tanh"].mean(), 2.0**-29, tol=1e-3, by="theory")],
        "D1": [near("largest |G − δ aᵀ|", found.outer, 0.0, tol=1e-15)],
        "D2": [near("share of rows with one sign", found.coherent, 1.0)],
        "D3": [near("share of samples whose two rows differ", found.differ, 0.5, tol=0.08)],
        "D4": [near("patterns reached, of 16", len(found.reached["sigmoid", 1]), 4),
               near("(+, −, +, −) among them", (1, -1, 1, -1) in found.reached["sigmoid", 1], 0),
               near("orthants per neuron, n = 4: share", 2.0**(1 - 4), 1 / 8)],
        "D5": [near("patterns, tanh inputs, one sample each", len(found.reached["tanh", 1]), 8),
               near("patterns, sigmoid inputs, batches of 2", len(found.reached["sigmoid", 2]), 16),
               near("correlation of the components, sigmoid", correlation("sigmoid"), 0.8521, tol=1e-4),
               near("ReLU", correlation("relu"), 1 / math.pi, rel=1e-9),
               *(near(f"P(all {n} the same way), {WORDS[phi]}", found.same[phi, n], value, tol=6e-4)
                 for phi, values in table.items() for n, value in zip(WIDTHS, values)),
               near("n = 2, closed form ½ + asin(ρ)/π", found.same["sigmoid", 2],
                    0.5 + math.asin(correlation("sigmoid")) / math.pi, rel=1e-9),
               *(near(f"measured, n = 10, batch {batch}", found.measured["sigmoid", batch].mean(), value, tol=0.04,
                      by="an earlier run") for batch, value in ((2, 0.71), (8, 0.57), (128, 0.54)))],
        "D6": [near("rows with one sign, errors of both signs", found.mixed, 1.0),
               between("share of such samples", found.differ, 0.4, 0.6)],
    }


def draw_puzzle(found, axes, c):
    for k, pattern in enumerate(PATTERNS):
        reached = pattern in found.reached["sigmoid", 1]
        left, top = k % 4, 3 - k // 4
        asked = pattern == (1, -1, 1, -1)
        edge = {"edgecolor": c.orange, "linewidth": 2.5} if asked else {"edgecolor": c.black, "linewidth": 0.7}
        axes.add_patch(c.box((left + 0.05, top + 0.05), 0.9, 0.9, facecolor=c.pale if reached else "white", **edge))
        signs = ["+" if s > 0 else "−" for s in pattern]
        axes.text(left + 0.5, top + 0.6, f"({', '.join(signs)})", ha="center", va="center", fontsize=9)
        axes.text(left + 0.5, top + 0.3, "reached" if reached else "never" + (", asked" if asked else ""), ha="center",
                  va="center", fontsize=8)
    axes.set(xlim=(0, 4), ylim=(0, 4))
    axes.set_axis_off()


def draw_same(found, axes, c):
    for (phi, word), colour, mark in zip(WORDS.items(), c.ordered(4), "os^D"):
        axes.plot(WIDTHS, [found.same[phi, n] for n in WIDTHS], mark + "-", color=colour, label=word)
    axes.plot(10, found.measured["sigmoid", 128].mean(), "x", color=c.black, markersize=9,
              label="measured, sigmoid, 128")
    axes.set(xscale="log", yscale="log", ylim=(1e-4, 1.2), xlabel="weights into a neuron, n",
             ylabel="P(all move the same way)")
    axes.legend(fontsize=8)


FIGURES = [("The puzzle of four weights (w1, w2 into neuron 1; w3, w4 into neuron 2): sign patterns that 400 single "
            "samples with positive inputs reached.", draw_puzzle),
           ("How likely all n weights of a neuron move the same way, in large batches, by what its inputs are.",
            draw_same)]
