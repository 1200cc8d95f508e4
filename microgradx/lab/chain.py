"""A chain of single neurons: the chain rule with all its factors, weights included.

One input, two hidden layers of one neuron, one output, with w = 1, b = 0, x = 1, y = 0 and the cost ½(O₃ − y)².
"""
import math
from dataclasses import dataclass

import numpy as np

from microgradx import Tensor, Value, optim
from microgradx.flow import theory
from microgradx.lab.cards import IMPRECISE, RIGHT, WRONG, Claim, between, near
from microgradx.lab.nets import slope

DTYPE = "float64"

CLAIMS = [
    Claim("A5", "Since σ′(z) ≤ 0.25, multiplying repeatedly makes the effective gradient near 0 for earlier layers.",
          "Nielsen's counterexample, weights of 100 and every z at 0; the weights and inputs for which a layer's "
          "factor w σ′(wa + b) exceeds 1; the factor that is typical of random weights.",
          IMPRECISE, "The factor is w σ′, not σ′. It exceeds 1 only for |w| > 4 in a narrow window of inputs, so "
          "the conclusion is usual, but the bound 0.25 per layer is none, and the typical factor is √χ = 0.212, not "
          "0.25."),
    Claim("C2", "w_new = w_old − η · ∂L/∂w_old",
          "One step of SGD on the three weights of the chain.",
          RIGHT, "As said."),
    Claim("C3", "∂L/∂w₁ = ∂L/∂O₃ · ∂O₃/∂O₂ · ∂O₂/∂O₁ · ∂O₁/∂w₁",
          "The product of the four factors beside the gradient by backward.",
          RIGHT, "∂O_{k+1}/∂O_k = σ′(z) w: the weight is in the factor."),
    Claim("C5", "Each derivative term contributes a factor < 1",
          "The factor ∂O_{k+1}/∂O_k at z = 0 for weights 1 to 100.",
          WRONG, "True of σ′, not of the term, which is w σ′: at w = 100 it is 25."),
    Claim("C6", "0.25 × 0.25 × 0.25 × … = tiny number",
          "The product of three layers' factors for weights 1 and 8, all z at 0, beside 0.25³.",
          IMPRECISE, "The bound for |w| = 1 only: with w = 8 the same three layers multiply by 8."),
    Claim("C11", "![image.png](../../images/vanish.png)",
          "The missing picture, drawn from measured factors.",
          RIGHT, "The factors in the picture multiply to the gradient that backward gives."),
]


@dataclass(frozen=True)
class Found:
    """``outputs``, ``gradients``: O_k, dL/dw_k (3,); ``factors``: dL/dO3, dO3/dO2, dO2/dO1, dO1/dw1; ``stepped``: the
    weights after a step at rate 0.5; ``nielsen``: dC/db1 over dC/da4; ``by_weight``: {w: factor at z = 0};
    ``window``, ``widest``: the widest window of inputs with |w sigma'| >= 1 and its w; ``windows``: (w, width);
    ``bound``: ||dL/dW1|| over 0.25^L ||dL/dWL|| in the chain with weights 8."""
    outputs: np.ndarray
    gradients: np.ndarray
    factors: np.ndarray
    stepped: np.ndarray
    nielsen: float
    by_weight: dict
    window: float
    widest: float
    windows: np.ndarray
    bound: float


def run(weights, biases=(0.0, 0.0, 0.0)):
    """(weights, outputs, cost) of the chain as Values."""
    weights, outputs, o = [Value(w) for w in weights], [], Value(1.0)
    for w, b in zip(weights, biases):
        o = (w * o + b).sigmoid()
        outputs.append(o)
    return weights, outputs, 0.5 * (o - 0.0)**2


def opening(w):
    """How wide the inputs a are for which w sigma'(w a + b) >= 1: 2 z / w, where sigma'(z) = 1 / w."""
    return 2 * math.acosh(w / 2 - 1) / w                            # sigma'(z) = 1 / (2 + 2 cosh z)


def measure(seed, quick):
    from scipy.optimize import minimize_scalar  # imported late: it takes 0.2 s
    weights, outputs, cost = run([1.0] * 3)
    cost.backward()
    o = [1.0, *(node.data for node in outputs)]
    slopes = slope("sigmoid", np.array(o[:3]))
    tensors = [Tensor(np.array(1.0), requires_grad=True) for _ in range(3)]
    x = Tensor(np.array(1.0))
    for w in tensors:
        x = (w * x).sigmoid()
    (0.5 * x**2).backward()
    optim.SGD(tensors, lr=0.5).step()
    b1 = Value(0.0)
    a = b1.sigmoid()
    for _ in range(3):
        a = (a * 100.0 - 50.0).sigmoid()
    a.backward()
    best = minimize_scalar(lambda w: -opening(w), bounds=(4.001, 30), method="bounded", options={"xatol": 1e-10})
    grid = np.linspace(4, 40, 400)
    large, _, cost = run([8.0] * 3, (-8.0, -4.0, -4.0))             # every z is 0
    cost.backward()
    return Found(np.array(o[1:]), np.array([w.grad for w in weights]),
                 np.array([o[3], slopes[2], slopes[1], slopes[0]]), np.array([t.item() for t in tensors]), b1.grad,
                 {w: w * float(slope("sigmoid", 0.0)) for w in (1, 4, 8, 100)}, -best.fun, best.x,
                 np.stack([grid, [opening(w) for w in grid]]), abs(large[0].grad) / (0.25**3 * abs(large[2].grad)))


def numbers(found):
    gradient = 0.006388805
    typical = math.sqrt(theory.chi("sigmoid", 1.0))
    return {
        "A5": [near("∂C/∂b₁ over ∂C/∂a₄, w = 100", found.nielsen, 3906.25),
               near("widest window of inputs with factor ≥ 1", found.window, 0.447743, tol=1e-6),
               near("its weight", found.widest, 6.894151, tol=1e-5),
               near("typical factor √E σ′², q = 1", typical, 0.2117, tol=1e-4),
               between("‖∂W₁‖ over its supposed bound 0.25ᴸ ‖∂W_L‖, w = 8", found.bound, low=1.0)],
        "C2": [near(f"−Δw{k} / η", 2 * (1 - found.stepped[k - 1]), found.gradients[k - 1], rel=1e-12)
               for k in (1, 2, 3)],
        "C3": [*(near(f"O{k}", found.outputs[k - 1], value, tol=1e-7) for k, value in
                 ((1, 0.7310586), (2, 0.6750375), (3, 0.6626302))),
               *(near(f"∂L/∂w{k}", found.gradients[k - 1], value, rel=2e-7) for k, value in
                 ((3, 0.09999461), (2, 0.02375538), (1, gradient))),
               near("product of the four factors", found.factors.prod(), found.gradients[0], rel=1e-14)],
        "C5": [near(f"factor, w = {w}", factor, w / 4) for w, factor in found.by_weight.items()],
        "C6": [near("three layers, w = 1", found.by_weight[1]**3, 0.25**3),
               near("three layers, w = 8", found.by_weight[8]**3, 8.0)],
        "C11": [near("product of the drawn factors", found.factors.prod(), gradient, rel=1e-6)],
    }


def draw_chain(found, axes, c):
    names = ["x = 1", *(f"O{'₁₂₃'[k]} = {found.outputs[k]:.3f}" for k in range(3)), "L"]
    for k, name in enumerate(names):
        axes.text(k, 0, name, ha="center", va="center", fontsize=8,
                  bbox={"boxstyle": "round,pad=0.5", "facecolor": "white", "edgecolor": c.blue})
    for k in range(4):
        axes.annotate("", (k + 0.68, 0.12), (k + 0.32, 0.12), arrowprops={"arrowstyle": "->", "color": c.blue})
        axes.annotate("", (k + 0.32, -0.12), (k + 0.68, -0.12), arrowprops={"arrowstyle": "->", "color": c.orange})
    labels = ["∂O₁/∂w₁", "∂O₂/∂O₁", "∂O₃/∂O₂", "∂L/∂O₃"]
    for k, (label, factor) in enumerate(zip(labels, found.factors[::-1])):
        axes.text(k + 0.5, -0.38, f"{label}\n{factor:.4f}", ha="center", va="top", fontsize=8, color=c.orange)
    axes.text(2, -1.15, "∂L/∂w₁ = " + " · ".join(f"{f:.4f}" for f in found.factors) + f" = {found.gradients[0]:.6f}",
              ha="center", fontsize=9)
    axes.set(xlim=(-0.6, 4.5), ylim=(-1.5, 0.6))
    axes.set_axis_off()


def draw_range(found, axes, c):
    axes.plot(*found.windows, color=c.blue)
    axes.plot(found.widest, found.window, "o", color=c.orange,
              label=f"widest: {found.window:.4f} at w = {found.widest:.3f}")
    axes.set(xlabel="weight w", ylabel="width of the window of inputs", ylim=(0, 0.5))
    axes.legend()


FIGURES = [("The chain: forward in blue, the factors of the chain rule in orange.", draw_chain),
           ("For a factor w σ′(wa + b) ≥ 1 the input a must lie in a window this wide; below w = 4 there is none.",
            draw_range)]
