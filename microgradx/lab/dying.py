"""Dead units: what a ReLU without a slope cannot learn, and how many nets are born dead (Lu et al. 2019).
"""
from dataclasses import dataclass

import numpy as np

from microgradx import Tensor, nn, optim
from microgradx.lab.cards import RIGHT, Claim, between, near
from microgradx.lab.nets import cross_entropy, linears, mlp, sample

DTYPE = "float64"
WIDTHS, DEPTHS = (2, 3, 5, 10), (1, 2, 4, 6, 8, 10, 14, 20)

CLAIMS = [
    Claim("B4", "However, ReLU has its own issue: neurons can “die” if z is always negative (gradient = 0).",
          "A unit with a bias of −1000: its row of gradients and the column above it; a dead unit in a second layer "
          "while the first one learns.",
          RIGHT, "Exactly 0, both. For ever only if its inputs are fixed: in deeper layers a unit can come back, as "
          "the one in the test does."),
    Claim("DR", "Narrow deep ReLU nets are born dead with a probability that tends to 1 with depth.",
          "Random nets with zero biases, symmetric weights and one input: the share that is 0 everywhere.",
          RIGHT, "For one input the probability is 1 − (1 − 2⁻ᴺ)ᴸ exactly: 94 % at N = 2, L = 10."),
]


@dataclass(frozen=True)
class Found:
    """``row``, ``column``: largest |gradient| of the dead unit's weights and of those above; ``alive``: of the others;
    ``before``, ``revived``: gradient of the dead unit in layer 2 at the start, and the step at which it has one;
    ``one``: {(N, L): share born dead for one input}; ``both``: {N: for all inputs of either sign, L = 10}."""
    row: float
    column: float
    alive: float
    before: float
    revived: int
    one: dict
    both: dict


def dead_unit(seed):
    x, y = sample(128, seed)
    net = mlp([64, 30, 30, 10], nn.ReLU, 2.0, rng=seed)
    first, second, _ = linears(net)
    first.bias.data[3].fill_(-1e3)
    cross_entropy(y)(net(Tensor(x))).backward()
    row, column = abs(first.weight.grad.numpy()), abs(second.weight.grad.numpy())
    return row[3].max(), column[:, 3].max(), np.delete(row, 3, axis=0).max()


def revival():
    """x = 1 -> a = relu(w x); unit A = relu(½ − a), dead at w = 1; unit B = relu(a) must become 0: w falls until A
    lives. Its first gradient, and the step at which it is not 0."""
    w, v = Tensor([1.0], requires_grad=True), Tensor([-1.0], requires_grad=True)
    sgd, first = optim.SGD([w], lr=0.1), None
    for step in range(100):
        sgd.zero_grad()
        v.grad = None
        a = w.relu()
        dead, other = (v * a + 0.5).relu(), a.relu()
        (0.5 * other.square() + 0.1 * dead.square()).sum().backward()
        g = v.grad.item()
        first = g if first is None else first
        if g != 0:
            return first, step
        sgd.step()
    return first, -1


def born_dead(width, depths, count, rng):
    """{L: (share of nets that are 0 for x = 1, share that are 0 for x = 1 and x = −1)}."""
    a = Tensor(np.broadcast_to([[1.0, -1.0]], (count, 1, 2)).copy())
    found = {}
    for layer in range(1, max(depths) + 1):
        w = rng.standard_normal((count, width, a.shape[1]))
        a = (Tensor(w) @ a).relu()
        if layer in depths:
            zero = (np.asarray(a) == 0).all(axis=1)
            found[layer] = float(zero[:, 0].mean()), float(zero.all(axis=1).mean())
    return found


def measure(seed, quick):
    rng = np.random.default_rng(seed)
    row, column, alive = dead_unit(seed)
    nets = {n: born_dead(n, DEPTHS, 4000 if quick else 40_000, rng) for n in WIDTHS}
    return Found(float(row), float(column), float(alive), *revival(),
                 {(n, depth): shares[0] for n, found in nets.items() for depth, shares in found.items()},
                 {n: found[10][1] for n, found in nets.items()})


def chance(width, depth):
    return 1 - (1 - 2.0**-width)**depth


def numbers(found):
    return {
        "B4": [near("largest gradient in its row", found.row, 0.0), near("in the column above", found.column, 0.0),
               between("in the other rows", found.alive, low=1e-6),
               near("layer 2: the dead unit's gradient at the start", found.before, 0.0),
               between("step at which it lives again", found.revived, 1, 20)],
        "DR": [*(near(f"one input, N = {n}, L = 10", found.one[n, 10], chance(n, 10), tol=0.025) for n in WIDTHS),
               *(near(f"whole net, N = {n}, L = 10", found.both[n], value, tol=0.025, by="an earlier run")
                 for n, value in zip(WIDTHS, (0.907, 0.633, 0.15, 0.0016)))],
    }


def draw(found, axes, c):
    for n, colour, mark in zip(WIDTHS, c.ordered(4), "os^D"):
        depth = np.linspace(1, max(DEPTHS), 100)
        axes.plot(depth, chance(n, depth), color=colour, linewidth=1)
        axes.plot(DEPTHS, [found.one[n, d] for d in DEPTHS], mark, color=colour, label=f"{n} units wide")
    axes.set(xlabel="layers", ylabel="share born dead (one input)", ylim=(-0.02, 1.02), xticks=DEPTHS)
    axes.legend(fontsize=8)


FIGURES = [("Nets whose output is 0 before training. Lines: 1 − (1 − 2⁻ᴺ)ᴸ; marks: random nets.", draw)]
