"""Nielsen's book: two starts of one neuron (chapter 3), and how much slower each layer learns (chapter 5).

Nielsen, Neural Networks and Deep Learning (2015). Digits of 8 x 8 pixels stand in for MNIST.
"""
from dataclasses import dataclass

import numpy as np

from microgradx import Value, nn
from microgradx.flow import metrics, theory
from microgradx.lab.cards import IMPRECISE, RIGHT, Claim, between, near
from microgradx.lab.nets import errors, mlp, sample
from microgradx.nn import functional as F

DTYPE = "float64"
STARTS = {"(0.6, 0.9)": (0.6, 0.9), "(2, 2)": (2.0, 2.0)}
MARKS = (50, 100, 150, 300)
FACTOR = 4.8818                         # 1 / sqrt(chi), mean-field theory with W ~ N(0, 1/n), b ~ N(0, 1)

CLAIMS = [
    Claim("N3", "In many ways … the neuron learns more slowly when it is badly wrong than when it is a little wrong.",
          "One sigmoid neuron, x = 1, y = 0, rate 0.15, 300 epochs from (w, b) = (0.6, 0.9) and (2, 2), both costs.",
          IMPRECISE, "So it is with the quadratic cost: half-way at epoch 36 and 232. With cross-entropy at 8 and "
          "17, at the same rate; at the rate of 0.005 that the book names the second start only comes down to 0.78."),
    Claim("N5", "The neurons in the earlier layers learn much more slowly than neurons in later layers.",
          "‖mean δ_l‖ before training in nets of 2, 3 and 4 hidden layers of 30 sigmoids, the book's initialisation, "
          "cross-entropy; the same with 200 units.",
          RIGHT, f"By a factor of {FACTOR} per layer, which mean-field theory predicts without a fit; the book's "
          "own runs: 4.70; 5.07, 4.72; 5.74, 4.07, 4.10."),
]


@dataclass(frozen=True)
class Found:
    """``curves``: {(cost, start): outputs (301,)}; ``slow``: of cross-entropy at rate 0.005; ``slopes``: {start: dC/dw
    of the quadratic cost there}; ``speeds``: {(width, hidden): ||mean delta|| (seeds, hidden)}."""
    curves: dict
    slow: np.ndarray
    slopes: dict
    speeds: dict


def neuron(start, cost, rate, epochs=300):
    """The output before every epoch and after the last, and the first dC/dw."""
    w, b = start
    outputs, first = [], None
    for _ in range(epochs + 1):
        weight, bias = Value(w), Value(b)
        z = weight * 1.0 + bias
        a = z.sigmoid()
        (0.5 * a**2 if cost == "quadratic" else z.softplus()).backward()        # y = 0
        outputs.append(a.data)
        first = first or weight.grad
        w, b = w - rate * weight.grad, b - rate * bias.grad
    return np.array(outputs), first


def speeds(width, hidden, seeds, images):
    """||mean_b delta_l|| of the hidden layers, (seeds, hidden)."""
    found = []
    for seed in seeds:
        x, y = sample(images, seed)
        net, hot = mlp([64, *[width] * hidden, 10], nn.Sigmoid, var_b=1.0, rng=seed), F.one_hot(y, 10, "float64")
        cost = lambda out, hot=hot: F.binary_cross_entropy_with_logits(out, hot, reduction="sum") / images
        found.append([metrics.mean_error_norm(delta) for delta in errors(net, x, cost)[:-1]])
    return np.array(found)


def measure(seed, quick):
    runs = {(cost, name): neuron(start, cost, 0.15) for cost in ("quadratic", "entropy")
            for name, start in STARTS.items()}
    few, many, images = (50, 10, 500) if quick else (200, 50, 1000)
    sizes = [(30, hidden, few) for hidden in (2, 3, 4)] + [(200, 3, many)]
    return Found({key: curve for key, (curve, _) in runs.items()}, neuron(STARTS["(2, 2)"], "entropy", 0.005)[0],
                 {name: runs["quadratic", name][1] for name in STARTS},
                 {(width, hidden): speeds(width, hidden, range(seed, seed + count), images)
                  for width, hidden, count in sizes})


def half_way(curve):
    """The first epoch with an output below one half."""
    return int(np.argmax(curve < 0.5))


def ratios(speeds):
    """Of adjacent layers, later over earlier: (seeds, hidden - 1)."""
    return speeds[:, 1:] / speeds[:, :-1]


def numbers(found):
    first, second = STARTS
    table = {first: (0.8176, 0.3870, 0.2110, 0.1527, 0.0940), second: (0.9820, 0.9759, 0.9641, 0.9334, 0.2028)}
    total = {2: 4.9, 3: 26.0, 4: 125.0}
    medians = {2: (0.0600, 0.3001), 3: (0.0113, 0.0560, 0.2953), 4: (0.0023, 0.0117, 0.0587, 0.2932)}
    return {
        "N3": [*(near(f"quadratic {name}, epoch {epoch}", found.curves["quadratic", name][epoch], value, tol=1e-4)
                 for name, values in table.items() for epoch, value in zip((0, *MARKS), values)),
               *(near(f"{cost} {name}: below ½ at epoch", half_way(found.curves[cost, name]), value)
                 for cost, name, value in (("quadratic", first, 36), ("quadratic", second, 232),
                                           ("entropy", first, 8), ("entropy", second, 17))),
               near("first ∂C/∂w, quadratic, (0.6, 0.9)", found.slopes[first], 0.121938, tol=1e-6),
               near("over that of (2, 2)", found.slopes[first] / found.slopes[second], 7.03, tol=0.01),
               near("cross-entropy, epoch 300, (0.6, 0.9)", found.curves["entropy", first][300], 0.0116, tol=1e-4),
               near("cross-entropy, epoch 300, (2, 2)", found.curves["entropy", second][300], 0.0120, tol=1e-4),
               near("(2, 2), cross-entropy at rate 0.005, epoch 300", found.slow[300], 0.7796, tol=1e-4)],
        "N5": [near("factor per layer, 30 wide, median", np.median(np.concatenate(
                    [ratios(found.speeds[30, hidden]).ravel() for hidden in (2, 3, 4)])), FACTOR, tol=0.3,
                    by="mean-field theory"),
               near("factor per layer, 200 wide, median", np.median(ratios(found.speeds[200, 3])), FACTOR, tol=0.1,
                    by="mean-field theory"),
               near("theory: 1/√χ", theory.chi("sigmoid", theory.fixed_variance("sigmoid", 1.0, 1.0))**-0.5, FACTOR,
                    tol=1e-4),
               *(near(f"last over first, {hidden} hidden", np.median(found.speeds[30, hidden][:, -1]
                                                                  / found.speeds[30, hidden][:, 0]), value, rel=0.2,
                      by="an earlier run") for hidden, value in total.items()),
               *(near(f"‖mean δ_{k + 1}‖, {hidden} hidden, median", np.median(found.speeds[30, hidden][:, k]), value,
                      rel=0.15, by="an earlier run") for hidden, values in medians.items()
                 for k, value in enumerate(values)),
               between("seeds in which layer 1 is the slowest, 4 hidden",
                       (found.speeds[30, 4].argmin(axis=1) == 0).mean(), 1.0)],
    }


def draw_starts(found, axes, c):
    for (cost, name), curve in found.curves.items():
        colour = c.orange if cost == "quadratic" else c.blue
        axes.plot(curve, "--" if name == "(2, 2)" else "-", color=colour,
                  label=f"{'cross-entropy' if cost == 'entropy' else cost}, start {name}")
    axes.plot(found.slow, ":", color=c.black, linewidth=1.2, label="cross-entropy, (2, 2), rate 0.005")
    axes.set(xlabel="epoch", ylabel="output, to become 0", ylim=(0, 1.02))
    axes.legend(fontsize=8)


def draw_speeds(found, axes, c):
    for hidden, colour, mark in zip((2, 3, 4), c.ordered(3), "os^"):
        speeds, layers = found.speeds[30, hidden], np.arange(1, hidden + 1)
        low, middle, high = np.percentile(speeds, (5, 50, 95), axis=0)
        axes.errorbar(layers, middle, (middle - low, high - middle), fmt=mark + "-", color=colour, capsize=3,
                      label=f"{hidden} hidden layers")
        axes.plot(layers, middle[-1] * FACTOR**(layers - hidden), ":", color=c.black, linewidth=1)
    axes.plot([], [], ":", color=c.black, label=f"mean-field theory: {FACTOR} per layer")
    axes.set(xlabel="hidden layer", ylabel="‖mean δ‖", yscale="log", xticks=range(1, 5))
    axes.legend(fontsize=8)


FIGURES = [("Chapter 3: one neuron, two starts, two costs, rate 0.15.", draw_starts),
           ("Chapter 5: how fast the biases of each hidden layer begin to learn; bars: 5 to 95 % of the seeds.",
            draw_speeds)]
