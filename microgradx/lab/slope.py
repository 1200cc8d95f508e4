"""The sigmoid and its slope: where it is flat, what ten of them multiply to.

Everything here is exact mathematics in float64, computed by the engine.
"""
from dataclasses import dataclass

import numpy as np

from microgradx import Tensor, Value
from microgradx.flow import explain
from microgradx.lab.cards import IMPRECISE, RIGHT, Claim, near
from microgradx.lab.nets import slope

DTYPE = "float64"
DEPTHS = (1, 2, 5, 10)

CLAIMS = [
    Claim("A2", "The derivative is largest at the center (near 0), but shrinks toward 0 at the extremes.",
          "The slope by the engine; where it falls to a half, a tenth, a hundredth, a thousandth of its maximum.",
          RIGHT, "The maximum is 1/4 at 0; a tenth of it is left at |z| = 3.64, a hundredth at 5.99."),
    Claim("A4", "Layer 10 (output) only carries 1 factor of σ′(z). Layer 1 (input) carries ~10 multiplications.",
          "Powers of the slope; the factors on the path of a chain of ten sigmoids; the same chain differentiated.",
          IMPRECISE, "As a picture right: layer 1 has exactly ten slopes. But it has nine weights as well, and no "
          "two layers share one z: the true chain of weights 1 shrinks by 0.2247 per layer, not by 0.25."),
    Claim("B1", "When z is very large (e.g., z ≥ 3) or very small (z ≤ −3), the sigmoid output is nearly 1 or 0, and "
          "barely changes regardless of input changes.",
          "The slope at 3 and at 6, as a share of its maximum.",
          IMPRECISE, "At 3 a full 18 % of the largest slope is left; below 1 % it falls from |z| = 6 on."),
    Claim("B5", "max(σ′(z)) = σ(0)(1 − σ(0)) = 0.5 × 0.5 = 0.25;  ReLU′(z) = 1 for z > 0, 0 for z ≤ 0.",
          "The engine's slopes at 0, at −0.0, on both sides.",
          RIGHT, "At 0 itself ReLU's 0 is a convention."),
    Claim("B7", "At z = 5, the gradient is only 2.7% of maximum.",
          "Practice problem 1, without rounding on the way.",
          IMPRECISE, "2.66 %. The solution rounds σ(5) and its slope first, which costs 1.5 % of the answer."),
    Claim("B9", "Maximum sigmoid gradient is only 0.25. ReLU has constant gradient = 1 for positive inputs.",
          "The two numbers of the key takeaways, over a grid of 1601 points.",
          RIGHT, "As statements about one unit. What a net of such units does is another question: see B3."),
    Claim("C1", "Output lies in the range (0, 1).",
          "σ over a grid, and where float64 rounds it to 1.",
          RIGHT, "In exact arithmetic the ends are never reached; in float64 the output is exactly 1 from z = 36.8 "
          "on."),
    Claim("C4", "This always lies in the range: 0 ≤ σ′(z) ≤ 0.25",
          "The last z at which the slope is not 0, by the engine and by the textbook's a(1 − a).",
          RIGHT, "It is 0 only where floats end: |z| = 745 in float64, 104 in float32. But a(1 − a) gives up at "
          "36.7 and 16.6 already, on one side only: computed so, a saturated unit is frozen by arithmetic, not by "
          "mathematics."),
]


@dataclass(frozen=True)
class Found:
    """z, sigma, slope (1601,); ``falls``: {share: z}; ``widths``: {k: full width at half maximum of the k-th power};
    ``chain``: slope of k sigmoids in a row, k = 1..60; ``factors``: (operation, how often) on the path through ten;
    ``alive``: {dtype: (last z by the engine, last z by a(1 - a))}; ``full``: first z with sigma = 1 in float64."""
    z: np.ndarray
    sigma: np.ndarray
    slope: np.ndarray
    falls: dict
    widths: dict
    chain: np.ndarray
    factors: dict
    alive: dict
    full: float


def _root(f, low, high):
    from scipy.optimize import brentq  # imported late: it takes 0.2 s
    return brentq(f, low, high, xtol=1e-13)


def _sigmoid_slope(z):
    return float(slope("sigmoid", z))


def chain(k):
    """The slope at 0 of k sigmoids in a row."""
    z = x = Value(0.0)
    for _ in range(k):
        x = x.sigmoid()
    x.backward()
    return z.grad


def _last(alive, low, high):
    """The last z at which ``alive`` holds."""
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if alive(middle) else (low, middle)
    return low


def _alive(dtype):
    def textbook(z):
        a = np.asarray(Tensor(np.asarray(z, dtype)).sigmoid())
        return a * (1 - a) > 0
    return _last(lambda z: slope("sigmoid", z, dtype) > 0, 0, 1000), _last(textbook, 0, 1000)


def measure(seed, quick):
    z = np.linspace(-8, 8, 1601)
    z1 = Value(0.0, label="z1")
    x = z1.sigmoid()
    for _ in range(9):
        x = (Value(1.0) * x).sigmoid()
    return Found(z, np.asarray(Tensor(z).sigmoid()), slope("sigmoid", z),
                 {share: _root(lambda v, share=share: _sigmoid_slope(v) - share / 4, 0, 20)
                  for share in (0.5, 0.1, 0.01, 0.001)},
                 {k: 2 * _root(lambda v, k=k: _sigmoid_slope(v)**k - 0.25**k / 2, 0, 5) for k in DEPTHS},
                 np.array([chain(k) for k in range(1, 61)]),
                 {op: count for op, (count, _) in explain(x, z1).paths[0].by_operation().items()},
                 {dtype: _alive(dtype) for dtype in ("float32", "float64")},
                 _last(lambda v: Value(v).sigmoid().data < 1, 0, 100))


def numbers(found):
    s, z = found.slope, found.z
    relu = slope("relu", np.array([-1.0, -0.0, 0.0, 1e-300, 5.0]))
    identity = np.abs(s / (found.sigma * (1 - found.sigma)) - 1).max()
    fixed = 0.6590460684
    return {
        "A2": [near("largest slope", s.max(), 0.25), near("at z", z[s.argmax()], 0.0, tol=1e-12),
               *(near(f"|z| with {share:.3g} of it", found.falls[share], value, tol=1e-6) for share, value in
                 ((0.5, 1.762747), (0.1, 3.636893), (0.01, 5.986446), (0.001, 8.293550))),
               near("σ′ against σ(1 − σ), |z| ≤ 8", identity, 0.0, tol=1e-11)],
        "A4": [near("slopes on the way to layer 1 of 10", found.factors["sigmoid"], 10),
               near("weights on the way", found.factors["*"], 9),
               *(near(f"peak of power {k}", s.max()**k, 0.25**k) for k in DEPTHS[1:]),
               *(near(f"width of power {k}", found.widths[k], value, tol=1e-5) for k, value in
                 zip(DEPTHS, (3.52549, 2.42338, 1.50658, 1.05920))),
               near("power 10 at z = 2", _sigmoid_slope(2.0)**10, 1.6279e-10, rel=1e-4),
               near("slope of ten sigmoids in a row at 0", found.chain[9], 3.875220e-7, rel=1e-6),
               near("factor per layer, deep", found.chain[-1] / found.chain[-2], fixed * (1 - fixed), rel=1e-7)],
        "B1": [near("σ(3)", Value(3.0).sigmoid().data, 0.952574, tol=1e-6),
               near("σ′(3)", _sigmoid_slope(3.0), 0.0451767, tol=1e-7),
               near("share of the maximum at 3", 4 * _sigmoid_slope(3.0), 0.1807, tol=1e-4),
               near("share of the maximum at 6", 4 * _sigmoid_slope(6.0), 0.0098661, tol=1e-6)],
        "B5": [near("σ′(0)", _sigmoid_slope(0.0), 0.25),
               *(near(f"ReLU′({name})", value, wanted) for name, value, wanted in
                 zip(("−1", "−0.0", "0", "1e−300", "5"), relu, (0, 0, 0, 1, 1)))],
        "B7": [near("σ(5)", Value(5.0).sigmoid().data, 0.993307149076, tol=1e-12),
               near("σ′(5)", _sigmoid_slope(5.0), 0.006648056671, tol=1e-12),
               near("% of the maximum", 400 * _sigmoid_slope(5.0), 2.659223, tol=1e-6)],
        "B9": [near("largest slope of the sigmoid", s.max(), 0.25),
               near("least slope of ReLU, z > 0", slope("relu", z[z > 1e-9]).min(), 1.0),
               near("largest", slope("relu", z[z > 1e-9]).max(), 1.0)],
        "C1": [near("least σ on [−8, 8]", found.sigma.min(), 3.3535013e-4, rel=1e-7),
               near("largest", found.sigma.max(), 1 - 3.3535013e-4, rel=1e-9),
               near("z where float64 says 1", found.full, 36.74, tol=0.1)],
        "C4": [near("largest slope", s.max(), 0.25),
               *(near(f"slope alive up to, {dtype}", found.alive[dtype][0], end, rel=5e-3) for dtype, end in
                 (("float64", 745.0), ("float32", 104.0))),
               *(near(f"a(1 − a) alive up to, {dtype}", found.alive[dtype][1], end, rel=1e-3) for dtype, end in
                 (("float64", 36.74), ("float32", 16.64)))],
    }


def draw_sigmoid(found, axes, c):
    axes.plot(found.z, found.sigma, color=c.blue, label="σ(z)")
    axes.plot(found.z, found.slope, "--", color=c.orange, label="σ′(z) = σ(z) σ(−z)")
    for share in (0.1, 0.01):
        for z in (-found.falls[share], found.falls[share]):
            axes.plot(z, share / 4, "o", color=c.orange, markersize=4)
            axes.annotate(f"{share:.0%}", (z, share / 4), (0, 6), textcoords="offset points", ha="center", fontsize=8)
    axes.set(xlabel="z", ylabel="σ, σ′")
    axes.legend(loc="upper left")


def draw_powers(found, axes, c):
    for k, colour in zip(DEPTHS, c.ordered(len(DEPTHS))):
        axes.plot(found.z, found.slope**k, color=colour, label=f"{k} layer{'s' * (k > 1)} below: peak {0.25**k:.2g}")
    axes.plot(0, found.chain[9], "x", color=c.black, label=f"ten σ in a row: {found.chain[9]:.2g}")
    axes.set(xlabel="z, the same in every layer", ylabel="σ′(z)ᵏ", yscale="log", ylim=(1e-16, 1e7))
    axes.legend(fontsize=8, loc="upper center", ncols=2)


FIGURES = [("The sigmoid and its slope; dots: a tenth and a hundredth of the largest slope.", draw_sigmoid),
           ("What k slopes multiply to. The true chain of ten (cross) is not at the peak, since z differs by layer.",
            draw_powers)]
