"""Saturation over training: the top layer that falls to 0, and whether it leaves again (Glorot and Bengio 2010).

Sigmoid nets, layers of 100, torch's default weights U(−1/√n, 1/√n), biases 0, softmax and cross-entropy, SGD at rate
0.1, batches of 10 standardised digits.
"""
from dataclasses import dataclass

import numpy as np

from microgradx import Tensor, nn, optim
from microgradx._core.graph import no_grad
from microgradx.lab.cards import IMPRECISE, RIGHT, Claim, between
from microgradx.lab.nets import accuracy, cross_entropy, linears, standardised

DTYPE = "float32"
RUNS = 5

CLAIMS = [
    Claim("A8", "Saturation → once neurons are stuck near 0/1, they hardly recover.",
          "The mean output of each hidden layer over training, for 3 and 4 hidden layers; does the top layer leave "
          "the floor?",
          IMPRECISE, "The top layer falls to the floor and hardly moves for many epochs; then it leaves by itself, "
          "with 3 layers after about ten epochs, with 4 after about a hundred, with 5 not at all while one watches."),
    Claim("GB", "With sigmoids the top hidden layer saturates at 0 very quickly, and the lower layers are above it.",
          "The same runs: the top layer's least mean output, and that of the layer below at that time.",
          RIGHT, "As in figure 2 of the paper, on other data: the biases above pull the top layer down first."),
]


@dataclass(frozen=True)
class Found:
    """``means``: {hidden layers: mean output (runs, epochs + 1, hidden)}; ``spread``: the first run's deviations;
    ``accuracy``: {hidden: (runs,)}."""
    means: dict
    spread: dict
    accuracy: dict


def outputs(net, x):
    """(mean, deviation) of every hidden layer's outputs."""
    found, a = [], Tensor(x)
    with no_grad():
        for layer in net:
            a = layer(a)
            if isinstance(layer, nn.Sigmoid):
                values = np.asarray(a)
                found.append((values.mean(), values.std()))
    return np.array(found).T


def run(hidden, epochs, digits, seed):
    x, y, x_test, y_test = digits
    rng, sizes, layers = np.random.default_rng(seed), [64, *[100] * hidden, 10], []
    for n_in, n_out in zip(sizes, sizes[1:]):
        layers += [nn.Linear(n_in, n_out, rng=rng), nn.Sigmoid()]
    net = nn.Sequential(*layers[:-1])
    for layer in linears(net):
        nn.init.zeros_(layer.bias)
    sgd, history = optim.SGD(net.parameters(), lr=0.1), [outputs(net, x_test)]
    for _ in range(epochs):
        order = rng.permutation(len(x))
        for rows in order[:len(x) // 10 * 10].reshape(-1, 10):
            sgd.zero_grad()
            cross_entropy(y[rows])(net(Tensor(x[rows]))).backward()
            sgd.step()
        history.append(outputs(net, x_test))
    history = np.array(history)
    return history[:, 0], history[:, 1], accuracy(net, x_test, y_test)


def measure(seed, quick):
    digits, means, spread, right = standardised(), {}, {}, {}
    for hidden, epochs in ((3, 25), (4, 12)) if quick else ((3, 40), (4, 150), (5, 150)):
        rows = [run(hidden, epochs, digits, s) for s in range(seed, seed + RUNS)]
        means[hidden], spread[hidden] = np.array([row[0] for row in rows]), rows[0][1]
        right[hidden] = np.array([row[2] for row in rows])
    return Found(means, spread, right)


def numbers(found):
    top = {hidden: means[:, :, -1] for hidden, means in found.means.items()}
    least = top[4].argmin(axis=1)
    below = np.array([found.means[4][k, at, -2] for k, at in enumerate(least)])
    return {
        "A8": [between("3 hidden: top layer, least mean", top[3].min(axis=1), 0.0, 0.35),
               between("3 hidden: top layer at the end over its least", top[3][:, -1] / top[3].min(axis=1), low=1.2),
               between("4 hidden: top layer's mean after 12 epochs", top[4][:, 12], 0.05, 0.29,
                       by="an earlier run: 0.11 to 0.29"),
               *(between("4 hidden: at the end over its least", top[4][:, -1] / top[4].min(axis=1), low=1.5)
                 for _ in range(len(top[4][0]) > 100))],
        "GB": [between("top layer at the start", top[4][:, 0], 0.45, 0.55),
               between("least", top[4].min(axis=1), 0.0, 0.25),
               between("the layer below it then", below, low=0.5)],
    }


def _draw(hidden):
    def draw(found, axes, c):
        means, spread = found.means[hidden], found.spread[hidden]
        epochs = np.arange(means.shape[1])
        for k, colour in enumerate(c.ordered(hidden)):
            mean, deviation = means[0, :, k], spread[:, k]
            axes.fill_between(epochs, mean - deviation, mean + deviation, color=colour, alpha=0.15, linewidth=0)
            for run in means:
                axes.plot(epochs, run[:, k], color=colour, linewidth=0.6, alpha=0.6)
            axes.plot(epochs, np.median(means[:, :, k], axis=0), color=colour, linewidth=2, label=f"layer {k + 1}")
        axes.set(xlabel="epoch", ylabel="mean output", ylim=(0, 1))
        axes.legend(fontsize=8, ncols=2)
    return draw


FIGURES = [("Three hidden layers: the top one leaves the floor. Thin: single seeds; band: the deviation in one.",
            _draw(3)),
           ("Four hidden layers: it stays there about a hundred epochs.", _draw(4))]
