"""Quadratic cost against cross-entropy: what the output's slope does to learning, and what it cannot cure."""
import math
from dataclasses import dataclass

import numpy as np

from microgradx import Tensor
from microgradx.lab.cards import IMPRECISE, RIGHT, Claim, between, near
from microgradx.lab.nets import forward, mlp, slope
from microgradx.nn import Sigmoid
from microgradx.nn import functional as F

DTYPE = "float64"

CLAIMS = [
    Claim("A9", "If the sigmoid output a ≈ 0 or 1, then σ′(z) ≈ 0. Result: gradient ≈ 0 → learning is very slow even "
          "if the prediction is badly wrong",
          "∂C/∂z of the quadratic cost by the engine, beside (a − y) σ′(z).",
          RIGHT, "At z = −5 with y = 1 the output is wrong by 0.993 and the gradient is 0.0066."),
    Claim("A10", "The σ′(z) has disappeared!",
          "∂C/∂z of cross-entropy by the engine, beside a − y; the ratio of both costs' gradients; z = ±1000.",
          RIGHT, "The ratio is 1/σ′(z): 4 at 0, 150 at −5, 22 028 at −10."),
    Claim("A11", "If the prediction is very wrong, the gradient is large → network corrects quickly. If the "
          "prediction is close to right (a≈y), the gradient is small",
          "Does |∂C/∂z| rise with |a − y| over the whole range?",
          RIGHT, "Of cross-entropy. The quadratic cost's gradient is largest at a = 1/3 (y = 1), where it is 4/27."),
    Claim("A12", "Cross entropy cost function solves the slow down problem partially.",
          "One net of four layers under both costs, one sample, one output: the ratio of the errors in every layer.",
          RIGHT, "And the part is known: the errors of all layers are larger by the same 1/σ′(z_L); their profile "
          "over the layers is unchanged to the last digits."),
    Claim("A16", "Output layer: Binary classification → Sigmoid. Multi-class classification → Softmax. Regression → "
          "often no activation",
          "∂C/∂z of each pair of output and cost, beside a − y.",
          IMPRECISE, "The three pairs are the matching ones: in each the gradient is a − y. That sigmoids have no "
          "place elsewhere is too much: gates of LSTM and GLU are sigmoids."),
    Claim("A17", "For output neurons: if prediction is very close to 0 or 1 (but wrong), gradients vanish → slow "
          "correction.",
          "The gradient at z = −10, y = 1 under both costs.",
          IMPRECISE, "True of the quadratic cost only."),
    Claim("B6", "Sigmoid at extremes: Like pushing a ball on a flat plateau. No matter how hard you push, it barely "
          "moves.",
          "One neuron, x = 1, y = 0: the slope of the cost surface at w = 5 under both costs.",
          IMPRECISE, "The ball rolls on the cost, not on the activation: under cross-entropy the same saturated "
          "sigmoid lies on a slope of 0.993, not on a plateau."),
    Claim("C8", "The final output is compared with the target label using a loss function (e.g., squared loss), and "
          "backpropagation is used to update weights.",
          "½(O − y)² by the engine, beside central differences.",
          RIGHT, "And the squared loss carries σ′ of the output: see A9."),
    Claim("D10", "A logistic sigmoid at the end of the network (in combination with binary cross-entropy) is not "
          "that much of a problem.",
          "The gradient on the logit at the worst outputs, |z| = 5, 20, 1000.",
          RIGHT, "The gradient is the error itself, and finite if cross-entropy is computed from the logit."),
]


@dataclass(frozen=True)
class Found:
    """z (1601,); ``quadratic``, ``entropy``: dC/dz there for y = 1; ``layers``: the ratio of the errors of both costs
    in each layer of one net, and 1/sigma' of its output; ``matching``: {pair: largest |dC/dz - (a - y)|}."""
    z: np.ndarray
    quadratic: np.ndarray
    entropy: np.ndarray
    layers: np.ndarray
    inverse: float
    profile: np.ndarray
    matching: dict


def quadratic(z, y=1.0):
    """dC/dz of ½(σ(z) − y)²."""
    return slope(lambda t: 0.5 * (t.sigmoid() - y)**2, z)


def entropy(z, y=1.0):
    """dC/dz of cross-entropy, from the logit."""
    return slope(lambda t: t.softplus() - y * t, z)


def _ratios(seed):
    net = mlp([3, 4, 4, 4, 1], Sigmoid, var_b=1.0, rng=seed)
    x, norms = np.random.default_rng(seed).standard_normal((1, 3)), []
    for cost in (lambda t: 0.5 * (t.sigmoid() - 1.0)**2, lambda t: t.softplus() - t):
        out, z = forward(net, x)
        cost(out).sum().backward()
        norms.append([np.linalg.norm(t.grad.numpy()) for t in z])
    return np.array(norms[1]) / norms[0], 1 / float(slope("sigmoid", out.item())), np.array(norms[1])


def _matching(seed):
    rng = np.random.default_rng(seed)
    z, labels, t = 3 * rng.standard_normal((50, 5)), rng.integers(0, 5, 50), rng.standard_normal((50, 5))
    hot = np.eye(5)[labels]
    pairs = {"sigmoid": (lambda o: F.binary_cross_entropy_with_logits(o, Tensor(hot), reduction="sum"),
                         np.asarray(Tensor(z).sigmoid()) - hot),
             "softmax": (lambda o: F.cross_entropy(o, labels, reduction="sum"),
                         np.asarray(Tensor(z).softmax(-1)) - hot),
             "linear": (lambda o: F.quadratic_cost(o, Tensor(t), "sum"), z - t)}
    return {name: float(np.abs(slope(cost, z) - wanted).max()) for name, (cost, wanted) in pairs.items()}


def measure(seed, quick):
    z = np.linspace(-10, 6, 1601)
    return Found(z, quadratic(z), entropy(z), *_ratios(seed), _matching(seed))


def numbers(found):
    q, e, z = np.abs(found.quadratic), np.abs(found.entropy), found.z
    a = np.asarray(Tensor(z).sigmoid())
    h = 1e-5
    half = lambda w: 0.5 * (1 / (1 + math.exp(-w)))**2
    return {
        "A9": [near("largest |∂C/∂z − (a − y) σ′|", np.abs(found.quadratic - (a - 1) * slope("sigmoid", z)).max(), 0.0,
                    tol=1e-15),
               near("z = −5, y = 1", quadratic(-5.0), -0.00660356, rel=2e-6),
               near("z = −10, y = 1", quadratic(-10.0), -4.53937e-5, rel=2e-6)],
        "A10": [near("largest |∂C/∂z − (a − y)|", np.abs(found.entropy - (a - 1)).max(), 0.0, tol=1e-15),
                near("z = −5, y = 1", entropy(-5.0), -0.99330715, rel=1e-8),
                near("z = −10, y = 1", entropy(-10.0), -0.9999546, rel=1e-7),
                *(near(f"ratio of the gradients, z = {at}", entropy(at) / quadratic(at), ratio, rel=1e-6)
                  for at, ratio in ((0.0, 4.0), (-5.0, 150.4199), (-10.0, 22028.466))),
                near("z = −1000", entropy(-1000.0), -1.0), near("z = 1000", entropy(1000.0), 0.0)],
        "A11": [near("steps on which cross-entropy's gradient rises with the error", (np.diff(e) <= 0).mean(), 1.0),
                near("the same, quadratic cost", (np.diff(q) <= 0).mean(), (z[1:] > -math.log(2)).mean(), tol=2e-3),
                near("largest gradient, quadratic cost", q.max(), 4 / 27, rel=1e-5),
                near("at the output a", a[q.argmax()], 1 / 3, tol=2e-3)],
        "A12": [near(f"errors, cross-entropy over quadratic, layer {k + 1}", ratio, found.inverse, rel=1e-12)
                for k, ratio in enumerate(found.layers)],
        "A16": [near(f"{pair}: largest |∂C/∂z − (a − y)|", off, 0.0, tol=1e-12)
                for pair, off in found.matching.items()],
        "A17": [near("quadratic", abs(quadratic(-10.0)), 4.53937e-5, rel=2e-6),
                near("cross-entropy", abs(entropy(-10.0)), 0.9999546, rel=1e-7)],
        "B6": [near("slope of the quadratic cost at w = 5", quadratic(5.0, 0.0), 0.0066036, tol=1e-7),
               near("slope of cross-entropy there", entropy(5.0, 0.0), 0.9933071, tol=1e-7)],
        "C8": [near(f"∂L/∂z at {w}", quadratic(w, 0.0), (half(w + h) - half(w - h)) / (2 * h), rel=1e-7,
                    by="central differences") for w in (-2.0, 0.5, 3.0)],
        "D10": [near("z = −5, y = 1", abs(entropy(-5.0)), 0.993307149, rel=1e-8),
                *(between(f"z = {at:g}, y = {y:g}", abs(entropy(at, y)), 0.99, 1.0) for at, y in
                  ((-20.0, 1.0), (20.0, 0.0), (-1000.0, 1.0), (1000.0, 0.0)))],
    }


def draw(found, axes, c):
    axes.plot(found.z, np.abs(found.quadratic), color=c.orange, label="quadratic: |a − y| σ′(z)")
    axes.plot(found.z, np.abs(found.entropy), "--", color=c.blue, label="cross-entropy: |a − y|")
    for at in (-5.0, -10.0):
        for f, colour in ((quadratic, c.orange), (entropy, c.blue)):
            axes.plot(at, abs(float(f(at))), "o", color=colour, markersize=4)
            axes.annotate(f"{abs(float(f(at))):.3g}", (at, abs(float(f(at)))), (4, -11), textcoords="offset points",
                          fontsize=8, color=colour)
    axes.plot(-math.log(2), 4 / 27, "s", color=c.orange, markersize=4)
    axes.annotate("4/27", (-math.log(2), 4 / 27), (2, 6), textcoords="offset points", fontsize=8, color=c.orange)
    axes.set(yscale="log", xlabel="z, where the right answer is y = 1", ylabel="|∂C/∂z|", ylim=(1e-5, 5))
    axes.legend(loc="lower center")


FIGURES = [("The gradient of both costs on the output's pre-activation.", draw)]
