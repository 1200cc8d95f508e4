"""Deep sigmoid nets: how errors shrink on their way back, how layers learn, at which depth training stops.

Digits of 8 x 8 pixels; LeCun's N(0, 1/n) weights and zero biases unless said otherwise.
"""
import math
from dataclasses import dataclass

import numpy as np

from microgradx import Tensor, data, flow, nn, optim
from microgradx.flow import metrics, theory
from microgradx.lab.cards import IMPRECISE, RIGHT, Claim, between, near
from microgradx.lab.nets import cross_entropy, linears, mlp, sample, standardised, train

DTYPE = "float64; training in float32"
DEPTHS = (5, 10, 20, 30)
DEEP = math.sqrt(theory.chi("sigmoid", theory.fixed_variance("sigmoid")))       # 0.23605
RUNS = 5

CLAIMS = [
    Claim("A1", "They’re not talking about the external Learning Rate hyperparameter (η), but about the effective "
          "speed at which weights update inside the network.",
          "One step in a net of five hidden layers: ‖ΔW‖ beside η‖g‖ and ‖W‖, layer by layer, under SGD and under "
          "Adam.",
          IMPRECISE, "Of SGD it is true: at one η the first hidden layer's step is hundreds of times smaller. "
          "Adam's first step is η for every weight, however small its gradient."),
    Claim("A3", "That flattening is why gradients vanish, and learning becomes slow when sigmoid outputs are near 0 "
          "or 1.",
          "A net of ten layers, 500 wide: the share of saturated units, and the factor on the error per layer.",
          IMPRECISE, "One of two mechanisms. Here not one unit in a million is saturated, and the error still "
          "shrinks 4.24 times per layer, because a slope of 1/4 at best meets weights that do not make up for it."),
    Claim("A6", "Later layers may update fine, but the front of the network “freezes.”",
          "64-30-30-30-10 with Nielsen's initialisation: error norms and update ratios of every layer over 300 steps "
          "of SGD.",
          RIGHT, "At the start, by 4.88 per layer. The ratio changes in training, and the front learns slowly "
          "rather than not."),
    Claim("A13", "As the gradient travels backward, hidden layers still multiply by σ′, which vanishes near 0 or 1.",
          "Cross-entropy, ten hidden layers: the error's factor per layer, split into weights and slopes.",
          RIGHT, "And by the weights: here these multiply by 1.0, the slopes by 0.236."),
    Claim("A15", "Shallow networks or logistic regression → fine if the model is small, gradients don’t have time to "
          "vanish.",
          "Logistic regression, and one hidden layer of 64 sigmoids, trained on digits.",
          RIGHT, "Logistic regression with cross-entropy is convex besides: both starts end at one loss."),
    Claim("B2", "In deep networks, multiplying many small gradients results in effectively zero gradient for early "
          "layers - they learn very slowly or not at all.",
          "‖δ₁‖ over ‖δ_L‖ before training for 5 to 30 hidden layers.",
          IMPRECISE, "Tiny but never zero before float32 ends: the factor is 0.236 per layer, weights included."),
    Claim("C7", "Weights stop updating. Learning slows or completely halts. The model fails to converge.",
          "SGD, 30 epochs, standardised digits, 1, 3 and 5 hidden layers: accuracy on test digits.",
          IMPRECISE, "From five layers on plain SGD ends at chance. With three it only slows, and no gradient was "
          "ever 0."),
    Claim("D9", "The maximum gradient is .25. Since this value is less than 1, the error signal is attenuated and "
          "can result in vanishing gradients after many layers of backpropagation.",
          "The slopes' own part of the factor per layer.",
          IMPRECISE, "The slopes attenuate by 0.236, close to their bound; whether the product vanishes is up to "
          "the weights too: scaled by four they undo it (C10)."),
]


@dataclass(frozen=True)
class Found:
    """``profiles``: {hidden layers: error norms (seeds, hidden)}; ``least``: smallest nonzero share of the gradients
    at layer 1 that are 0; ``parts``: (weights, slope) of the factor per layer, (seeds, 2); ``saturated``, ``q``,
    ``wide``: of the 500-wide net, shares, variances, factors per layer (seeds,); ``steps``: {optimizer: (largest |
    |dW| / eta|g| - 1 |, first over last ||dW||)}, ``adam``: largest |dw| / eta; ``record``: errors, weight gradients
    and update ratios over training (steps, 4); ``start``: adjacent error ratios at the start (seeds, 2); ``accuracy``:
    {hidden: (seeds,)}; ``convex``: final losses of logistic regression from two starts."""
    profiles: dict
    zeros: float
    parts: np.ndarray
    saturated: np.ndarray
    q: np.ndarray
    wide: np.ndarray
    steps: dict
    adam: float
    record: tuple
    start: np.ndarray
    accuracy: dict
    convex: tuple


def watched(net, x, y):
    """The ``Record`` of one forward and backward pass."""
    with flow.watch(net) as record:
        cross_entropy(y)(net(Tensor(x))).backward()
    return record


def first_step(optimizer, seed):
    """(eta |g|, |dW|) of the hidden layers' weights in one step, and the largest |dw| / eta."""
    x, y = sample(256, seed)
    net, eta = mlp([64, *[64] * 5, 10], nn.Sigmoid, rng=seed), 1e-3
    weights = [layer.weight for layer in linears(net)]
    before = [w.detach().numpy().copy() for w in weights]
    optimizer = optimizer(net.parameters(), lr=eta)
    cross_entropy(y)(net(Tensor(x))).backward()
    gradients = [np.linalg.norm(w.grad.numpy()) for w in weights]
    optimizer.step()
    moved = [w.detach().numpy() - b for w, b in zip(weights, before)]
    norms = np.array([np.linalg.norm(m) for m in moved])
    return eta * np.array(gradients), norms, max(abs(m).max() for m in moved) / eta


def trained(seed, steps):
    """Error norms, weight-gradient norms and update ratios over ``steps`` of SGD, each (steps, 4)."""
    x, y = data.digits()
    net = mlp([64, 30, 30, 30, 10], nn.Sigmoid, var_b=1.0, rng=seed, dtype="float32")
    sgd, rng, step = optim.SGD(net.parameters(), lr=0.5), np.random.default_rng(seed), 0
    with flow.watch(net, metrics=("error", "grad", "update"), every=1) as record:
        while step < steps:
            for images, labels in data.batches(x, y, 100, rng=rng, drop_last=True):
                sgd.zero_grad()
                cross_entropy(labels)(net(Tensor(images))).backward()
                sgd.step()
                step += 1
    return tuple(record[name][:steps] for name in ("error", "grad", "update"))


def logistic(seed, epochs):
    """Full-batch logistic regression with a little weight decay from two starts: the losses at the end."""
    x, y = sample(500, 0)
    losses = []
    for start in (seed, seed + 1):
        net = mlp([64, 10], nn.Sigmoid, rng=start)
        sgd = optim.SGD(net.parameters(), lr=0.5, momentum=0.9, weight_decay=1e-2)
        for _ in range(epochs):
            sgd.zero_grad()
            loss = cross_entropy(y)(net(Tensor(x)))
            loss.backward()
            sgd.step()
        losses.append(loss.item())
    return tuple(losses)


def measure(seed, quick):
    seeds = range(seed, seed + RUNS)
    profiles, parts, zeros = {}, [], 0.0
    for depth in DEPTHS:
        profiles[depth] = []
        for s in seeds:
            net = mlp([64, *[64] * depth, 10], nn.Sigmoid, rng=s)
            record = watched(net, *sample(128, s))
            profiles[depth].append(record.first["error"][:-1])
            if depth == 10:
                zeros = max(zeros, float((linears(net)[0].bias.grad.numpy() == 0).mean()))
                found = record.attribution()
                parts.append([np.exp(np.nanmean(np.log(part[:-2]))) for part in (found.weights, found.slope)])
    wide = []
    for s in seeds:
        record = watched(mlp([64, *[500] * 10, 10], nn.Sigmoid, rng=s), *sample(64, s))
        wide.append((record.first["saturated"][1:-1].max(), record.first["q"][5],
                     metrics.gain_per_layer(record.first["error"][1:-1])))
    sgd, adam = first_step(optim.SGD, seed), first_step(optim.Adam, seed)
    digits, accuracy = standardised(), {}
    for depth in (0, 1, 3, 5):
        accuracy[depth] = np.array([train(mlp([64, *[64] * depth, 10], nn.Sigmoid, rng=s, dtype="float32"), digits, 0.1,
                                          30 if depth or not quick else 10, s) for s in seeds])
    records = [trained(s, 100 if quick and s > seed else 300) for s in seeds]
    start = np.array([record[0][0][1:3] / record[0][0][:2] for record in records])
    return Found({depth: np.array(rows) for depth, rows in profiles.items()}, zeros, np.array(parts),
                 *np.array(wide).T, {"SGD": (float(abs(sgd[1] / sgd[0] - 1).max()), float(sgd[1][1] / sgd[1][5])),
                                     "Adam": (float(adam[1][1] / adam[1][4]),)}, adam[2], records[0], start, accuracy,
                 logistic(seed, 400))


def numbers(found):
    by = "mean-field theory"
    factor = {d: np.array([metrics.gain_per_layer(row[1:]) for row in rows]) for d, rows in found.profiles.items()}
    errors, _, updates = found.record
    return {
        "A1": [near("SGD: largest |‖ΔW‖ / η‖g‖ − 1|", found.steps["SGD"][0], 0.0, tol=1e-9),
               between("SGD: ‖ΔW‖ of hidden layer 2 over the output's", found.steps["SGD"][1], high=0.01),
               near("Adam: largest |Δw| / η", found.adam, 1.0, tol=1e-3),
               between("Adam: ‖ΔW‖ of hidden layer 2 over layer 5's", found.steps["Adam"][0], 0.5, 1.1)],
        "A3": [between("share of saturated units", found.saturated, high=1e-6, by="theory: 1e-12"),
               near("variance of z", found.q, 0.26, tol=0.01, by=by),
               near("factor on the error per layer", found.wide, DEEP, rel=0.03, by=by)],
        "A6": [near("layer 3 over layer 2, at the start", found.start[:, 1], 4.88, tol=1.2, by=by),
               near("layer 2 over layer 1", found.start[:, 0], 4.88, tol=1.2, by=by),
               between("error of layer 3 over layer 1, first 50 steps, median",
                       np.median(errors[:50, 2] / errors[:50, 0]), 10, 40),
               between("update ratio of the output over layer 1, first 50 steps", np.median(updates[:50, 3]
                                                                                         / updates[:50, 0]), low=10)],
        "A13": [near("weights' part of the factor", found.parts[:, 0], 1.0, tol=0.06, by=by),
                near("slopes' part", found.parts[:, 1], DEEP, rel=0.02, by=by)],
        "A15": [between("accuracy, logistic regression", found.accuracy[0], low=0.85),
                between("accuracy, one hidden layer", found.accuracy[1], low=0.9),
                near("loss from two starts, ratio", found.convex[0] / found.convex[1], 1.0, tol=1e-4)],
        "B2": [*(near(f"factor per layer, {depth} hidden", factor[depth], DEEP, rel=0.05 if depth > 5 else 0.1, by=by)
                 for depth in DEPTHS),
               between("‖δ₁‖ / ‖δ₁₀‖", found.profiles[10][:, 0] / found.profiles[10][:, -1], 8e-7, 5e-6),
               near("share of exact zeros at layer 1", found.zeros, 0.0)],
        "C7": [near("accuracy, 1 hidden layer", found.accuracy[1], 0.953, tol=0.03, by="an earlier run"),
               near("3 hidden layers", found.accuracy[3], 0.811, tol=0.2, by="an earlier run"),
               between("5 hidden layers", found.accuracy[5], 0.05, 0.15, by="chance: 0.1")],
        "D9": [near("slopes' part of the factor per layer", found.parts[:, 1], DEEP, rel=0.02, by=by),
               between("the same beside its bound", found.parts[:, 1], high=0.25)],
    }


def draw_profiles(found, axes, c):
    for depth, colour, mark in zip(DEPTHS, c.ordered(4), "os^D"):
        rows, layers = found.profiles[depth] / found.profiles[depth][:, -1:], np.arange(1, depth + 1)
        axes.plot(layers, np.median(rows, axis=0), mark + "-", color=colour, markersize=3,
                  label=f"{depth} hidden layers")
        axes.plot(layers, DEEP**(depth - layers), ":", color=c.black, linewidth=1)
    axes.plot([], [], ":", color=c.black, label=f"mean-field theory: {DEEP:.4f} per layer")
    axes.set(yscale="log", xlabel="hidden layer", ylabel="error norm over the last's")
    axes.legend(fontsize=8)


def _map(values, axes, c, label):
    image = axes.imshow(np.log10(values.T), aspect="auto", origin="lower", cmap="cividis", interpolation="nearest",
                        extent=(0, len(values), 0.5, values.shape[1] + 0.5))
    axes.set(xlabel="step", ylabel="layer", yticks=range(1, values.shape[1] + 1))
    axes.figure.colorbar(image, ax=axes, label=label)


def draw_errors(found, axes, c):
    _map(found.record[0], axes, c, "log₁₀ error norm")


def draw_gradients(found, axes, c):
    _map(found.record[1], axes, c, "log₁₀ weight-gradient norm")


def draw_accuracy(found, axes, c):
    for depth, rows in found.accuracy.items():
        axes.plot(np.full(len(rows), depth), rows, "o", color=c.blue, alpha=0.7)
    axes.plot(list(found.accuracy), [np.median(rows) for rows in found.accuracy.values()], "-", color=c.blue)
    axes.axhline(0.1, linestyle=":", color=c.black)
    axes.set(xlabel="hidden layers of 64 sigmoids", ylabel="share of test digits right", ylim=(0, 1),
             xticks=list(found.accuracy))


FIGURES = [("Error norms before training, median of 5 seeds: they shrink as theory predicts, to the last layer.",
            draw_profiles),
           ("64-30-30-30-10 in training: the error norms of its layers, 4 being the output.", draw_errors),
           ("The same net: norms of the weight gradients. The contrast between layers is weaker here.", draw_gradients),
           ("Plain SGD at rate 0.1, batch 32; each dot is a seed, dotted is chance.", draw_accuracy)]
