"""Activations and their gains: which of them keep errors alive, with which initialisation.

A layer multiplies the error's norm by √χ, χ = σ_w² E φ′(z)² over z ~ N(0, q), with weights N(0, σ_w²/n).
"""
import math
from dataclasses import dataclass

import numpy as np

from microgradx import Tensor, nn
from microgradx.flow import metrics, quadrature, theory
from microgradx.lab.cards import IMPRECISE, RIGHT, WRONG, Claim, between, near
from microgradx.lab.nets import errors, linears, mlp

DTYPE = "float64"
DEPTH, RUNS = 30, 5
# Gaussian moments at q = 1: E phi, E phi^2, E phi'^2, E phi'^4
TABLE = {"sigmoid": (0.5, 0.293379, 0.044836, 0.002286), "tanh": (0, 0.394294, 0.464403, 0.341509),
         "lecun_tanh": (0, 0.750430, 0.803989, 0.817251), "erf": (0, 0.464559, 0.569410, 0.540380),
         "softsign": (0, 0.183014, 0.227671, 0.110742), "relu": (0.398942, 0.5, 0.5, 0.5),
         "elu": (0.160521, 0.644945, 0.668102, 0.594411), "selu": (0, 1, 1.071575, 1.511353),
         "gelu": (0.282095, 0.425221, 0.455851, 0.433956), "silu": (0.206621, 0.355776, 0.379482, 0.286581),
         "softplus": (0.806059, 0.921246, 0.293379, 0.131594)}
MODULES = {"tanh": nn.Tanh, "relu": nn.ReLU, "leaky_relu": nn.LeakyReLU, "silu": nn.SiLU, "elu": nn.ELU,
           "gelu": nn.GELU, "selu": nn.SELU}                                    # those the notes recommend
WORDS = {"silu": "swish", "leaky_relu": "leaky ReLU", "relu": "ReLU", "lecun_tanh": "1.7159 tanh(2z/3)"}


def lecun_tanh(x):
    return 1.7159 * (x * (2 / 3)).tanh()


FUNCTIONS = {"lecun_tanh": lecun_tanh}

CLAIMS = [
    Claim("B3", "ReLU solves this by having a constant gradient of 1 for positive inputs.",
          "30 hidden layers of 200 ReLUs, weights of variance 1/n, 2/n, 3/n: ‖δ₁‖ over ‖δ₃₀‖.",
          WRONG, "One unit's slope is 1; the layer's factor is √(σ_w²/2). With LeCun's weights 30 ReLU layers lose "
          "23 000 times; with He's nothing; with 3/n the error explodes."),
    Claim("C9", "These functions avoid the shrinking-gradient effect and support deeper architectures.",
          "Tanh, ReLU, leaky ReLU, swish, ELU, GELU, SELU: the error's factor per layer in 30 layers, weights 1/n "
          "and 2/n.",
          WRONG, "Not without an initialisation. With 1/n, ReLU shrinks by 0.71 per layer, swish and GELU towards "
          "0.5; tanh never avoids it, it only slows. With 2/n ReLU holds 1.00, swish and GELU still shrink."),
    Claim("T1", "The moments of φ over N(0, 1) decide what a layer does to signals and errors.",
          "Quadrature for eleven activations; the factor √χ in a real layer 400 wide.",
          RIGHT, "Theory and layer agree to about a per cent, without a fit."),
    Claim("SN", "SELU: activations converge towards zero mean and unit variance.",
          "Moments at (0, 1); the Jacobian's norm of the moment map; χ.",
          RIGHT, "The fixed point attracts, 0.788 per layer. Errors grow slightly: χ = 1.07."),
    Claim("SW", "Swish and GELU are smooth ReLUs.",
          "Least value, largest slope.",
          RIGHT, "With slopes above 1 and below 0, and of ½ at 0."),
    Claim("HE", "With ReLU, weights of variance 2/n keep the error's size through 30 layers; Xavier's 1/n does not.",
          "30 layers of 200 units: the factor per layer, forward and back.",
          RIGHT, "1.00 with He, 0.707 with 1/n, 0.408 with the old uniform."),
    Claim("LC", "f(x) = 1.7159 tanh(2x/3): f(±1) = ±1, the second derivative is largest at x = 1, and a variance of 1 "
          "stays near 1.",
          "Values, slopes and second derivatives by the engine; E f² over N(0, 1) by quadrature.",
          IMPRECISE, "f(1) = 0.9999973; the second derivative is largest at 0.98772; and one layer makes 0.75 of a "
          "variance of 1."),
]


@dataclass(frozen=True)
class Found:
    """``moments``: {activation: (E phi, E phi^2, E phi'^2, E phi'^4)}; ``layer``: {activation: sqrt chi measured,
    (runs,)}; ``ratios``: {var_w: ||delta_1|| / ||delta_30|| of ReLU (runs,)}; ``deep``: {(activation, var_w): (factor
    per layer measured (runs,), expected)}; ``profiles``: {(activation, var_w): median error norms over the last's
    (30,)}; ``selu``: (mean, variance, norm, chi); ``shapes``: {activation: (least value, its z, largest slope, its
    z)}; ``he``: {var_w: (backward, forward) factor per layer (runs,)}; ``lecun``: f(1), f'(0), f'(1) and where |f''| is
    largest, of ``lecun_tanh``."""
    moments: dict
    layer: dict
    ratios: dict
    deep: dict
    profiles: dict
    selu: tuple
    shapes: dict
    he: dict
    lecun: tuple


def one_layer(phi, seed, width=400, samples=256):
    """sqrt chi of a layer with z ~ N(0, 1): mean square error below over above."""
    rng = np.random.default_rng(seed)
    z = Tensor(rng.standard_normal((samples, width)), requires_grad=True)
    w = Tensor(rng.standard_normal((width, width)) / math.sqrt(width))
    g = rng.standard_normal((samples, width))
    a = FUNCTIONS[phi](z) if phi in FUNCTIONS else getattr(z, phi)()
    (a @ w).backward(Tensor(g))
    return metrics.error_norm(z.grad.numpy()) / metrics.error_norm(g)


def deep(phi, var_w, seed, width=200, samples=24):
    """Error norms and mean squares of z of the 30 hidden layers, random inputs, a random error at the output."""
    rng = np.random.default_rng([seed, 1])
    net = mlp([width] * (DEPTH + 2), MODULES[phi], var_w, rng=seed)
    x, g = rng.standard_normal((samples, width)), Tensor(rng.standard_normal((samples, width)))
    squares, handles = [], [layer.register_forward_hook(lambda m, a, z: squares.append(metrics.mean_square(z.detach())))
                            for layer in linears(net)]
    found = errors(net, x, lambda out: (out * g).sum())
    for handle in handles:
        handle.remove()
    return np.array([metrics.error_norm(delta) for delta in found[:-1]]), np.array(squares[:-1])


def per_layer(profile):
    """The geometric mean of the factor from one layer to the next."""
    return float((profile[0] / profile[-1])**(1 / (len(profile) - 1)))


def expected(phi, var_w):
    """The same factor by theory."""
    q, logs = var_w, []                                     # inputs of mean square 1
    for _ in range(DEPTH - 1):
        logs.append(math.log(theory.chi(phi, q, var_w)) / 2)
        q = theory.variance_map(phi, q, var_w)
    return math.exp(np.mean(logs))


def selu_map(mean, variance):
    """The next layer's moments for weights of sum 0 and squares of sum 1 (omega = 0, tau = 1)."""
    rows = theory.moments("selu", variance + mean**2)
    return np.array([rows.mean, rows.square - rows.mean**2])


def measure(seed, quick):
    seeds = range(seed, seed + (3 if quick else RUNS))
    moments = {phi: tuple(theory.moments(FUNCTIONS.get(phi, phi)))[:4] for phi in TABLE}
    layer = {phi: np.array([one_layer(phi, s) for s in (seeds[:2] if quick else seeds)]) for phi in TABLE}
    profiles = {(phi, var_w): [deep(phi, var_w, s) for s in seeds] for phi in MODULES for var_w in (1.0, 2.0)}
    profiles["relu", 3.0] = [deep("relu", 3.0, s) for s in seeds]
    he = {"He": profiles["relu", 2.0], "LeCun": profiles["relu", 1.0], "old": [deep("relu", 1 / 3, s) for s in seeds]}
    h = 1e-4
    column = (selu_map(0.0, 1.0 + h) - selu_map(0.0, 1.0 - h)) / (2 * h)
    found = theory.moments("selu")
    return Found(
        moments, layer,
        {var_w: np.array([error[0] / error[-1] for error, _ in profiles["relu", var_w]]) for var_w in (1.0, 2.0, 3.0)},
        {(phi, v): (np.array([per_layer(e) for e, _ in rows]), expected(phi, v))
         for (phi, v), rows in profiles.items()},
        {key: np.median([e / e[-1] for e, _ in rows], axis=0) for key, rows in profiles.items()},
        (found.mean, found.square, float(np.linalg.norm(column)), found.slope_square),
        {phi: shape(phi) for phi in ("silu", "gelu")},
        {name: (np.array([per_layer(e) for e, _ in rows]), np.array([math.sqrt(1 / per_layer(q)) for _, q in rows]))
         for name, rows in he.items()},
        lecun_numbers())


def lecun_numbers():
    z = Tensor(np.linspace(0, 2, 200_001), requires_grad=True)
    f = lecun_tanh(z)
    f.sum().backward(create_graph=True)
    slope = z.grad
    z.grad = None
    slope.sum().backward()
    at = int(np.abs(z.grad.numpy()).argmax())
    return tuple(float(x) for x in (f[100_000].item(), slope[0].item(), slope[100_000].item(), z[at].item()))


def shape(phi):
    """(least value, its z, largest slope, its z) of an activation."""
    from scipy.optimize import minimize_scalar  # imported late: it takes 0.2 s
    f = quadrature.activation(phi)
    least = minimize_scalar(lambda z: float(f(np.array(z))), bounds=(-3, 0), method="bounded", options={"xatol": 1e-10})
    steep = minimize_scalar(lambda z: -float(f.slope(np.array(z))), bounds=(0.5, 4), method="bounded",
                            options={"xatol": 1e-10})
    return float(least.fun), float(least.x), float(-steep.fun), float(steep.x)


def numbers(found):
    by = "mean-field theory"
    words = lambda phi: WORDS.get(phi, phi)
    return {
        "B3": [between("‖δ₁‖ / ‖δ₃₀‖, variance 1/n", found.ratios[1.0], 2e-5, 9e-5, by="theory: 4.3e-5"),
               between("2/n", found.ratios[2.0], 0.5, 2.0, by="theory: 1"),
               near("3/n, factor per layer", found.ratios[3.0]**(1 / 29), math.sqrt(1.5), rel=0.03, by=by)],
        "C9": [near(f"{words(phi)}, {int(v)}/n", measured, wanted, by=by,
                    rel=0.1 if (phi, v) == ("gelu", 2) else 0.03)       # its variance is unstable there
               for (phi, v), (measured, wanted) in found.deep.items() if v < 3] + [
              near("swish, 1/n, deep limit", math.sqrt(theory.chi("silu", theory.fixed_variance("silu") or 1e-14)), 0.5,
                   tol=1e-6, by="theory"),
              between("recommended ones that shrink by over 2 % per layer with 1/n, of 7",
                      sum(np.median(m) < 0.98 for (_, v), (m, _) in found.deep.items() if v == 1), low=5)],
        "T1": [near(f"{words(phi)}: {name}", found.moments[phi][k], TABLE[phi][k], tol=1e-6, by="an earlier quadrature")
               for phi in TABLE for k, name in enumerate(("E φ", "E φ²", "E φ′²", "E φ′⁴"))] + [
              near(f"{words(phi)}: √χ of a layer", found.layer[phi], math.sqrt(TABLE[phi][2]), rel=0.02, by=by)
              for phi in TABLE],
        "SN": [near("mean", found.selu[0], 0.0, tol=1e-10), near("variance", found.selu[1], 1.0, tol=1e-10),
               near("norm of the Jacobian at (0, 1)", found.selu[2], 0.7876734, tol=1e-5, by="Klambauer et al. (2017)"),
               near("χ", found.selu[3], 1.0716, tol=1e-4, by="theory")],
        "SW": [near(f"{name}: {what}", found.shapes[phi][k], value, tol=1e-6) for phi, name, values in (
            ("silu", "swish", (-0.27846454, -1.27846454, 1.09983932, 2.39935728)),
            ("gelu", "GELU", (-0.16997121, -0.75179152, 1.12890415, math.sqrt(2))))
               for k, (what, value) in enumerate(zip(("least value", "at z", "largest slope", "at z"), values))],
        "LC": [near(what, value, wanted, tol=tol) for what, value, wanted, tol in zip(
            ("f(1)", "f′(0)", "f′(1)", "largest |f″| at"), found.lecun, (0.9999973, 1.1439333, 0.75541, 0.98772),
            (1e-7, 1e-7, 1e-5, 1.1e-5))] + [
            near("E f² over N(0, 1)", found.moments["lecun_tanh"][1], 0.750430, tol=1e-6)],
        "HE": [near(f"{name}, {way}", found.he[name][k], math.sqrt(var_w / 2), tol=0.025, by="theory: √(σ_w²/2)")
               for name, var_w in (("He", 2.0), ("LeCun", 1.0), ("old", 1 / 3))
               for k, way in enumerate(("back", "forward"))],
    }


def _profiles(var_w):
    def draw(found, axes, c):
        layers = np.arange(1, DEPTH + 1)
        for phi, colour, mark in zip(MODULES, c.ordered(len(MODULES)), "os^Dv<>"):
            axes.plot(layers, found.profiles[phi, var_w], mark + "-", color=colour, markersize=3, linewidth=1,
                      label=f"{WORDS.get(phi, phi)}: {np.median(found.deep[phi, var_w][0]):.3f} "
                      f"({found.deep[phi, var_w][1]:.3f})")
        axes.set(yscale="log", xlabel="hidden layer", ylabel="error norm over the last's", ylim=(1e-9, 300))
        axes.legend(fontsize=8, title="factor per layer (theory)", title_fontsize=8)
    return draw


def draw_layer(found, axes, c):
    predicted = [math.sqrt(TABLE[phi][2]) for phi in TABLE]
    axes.plot([0.15, 1.15], [0.15, 1.15], ":", color=c.black)
    for phi, p in zip(TABLE, predicted):
        axes.plot(p, np.median(found.layer[phi]), "o", color=c.blue, markersize=4)
        left = phi in ("erf", "softsign", "elu", "selu", "relu", "gelu")
        axes.annotate(WORDS.get(phi, phi), (p, np.median(found.layer[phi])),
                      (-7, -3 if phi == "gelu" else 5) if left else (6, -7),
                      textcoords="offset points", fontsize=8, ha="right" if left else "left")
    axes.set(xlabel="√χ by theory", ylabel="√χ of a layer of 400", aspect="equal")


FIGURES = [("The recommended activations with weights of variance 1/n: error norms in 30 layers.", _profiles(1.0)),
           ("The same with 2/n (He).", _profiles(2.0)),
           ("Eleven activations at q = 1: theory and a real layer.", draw_layer)]
