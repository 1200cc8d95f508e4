"""Five factors of a fifth: what a small gradient does, and when a product of slopes is 0 in floats.
"""
from dataclasses import dataclass

import numpy as np

from microgradx import Tensor, Value, optim
from microgradx.lab.cards import IMPRECISE, Claim, near

DTYPE = "float16 to float64"
TYPES = {"float16": (11, 13), "float32": (65, 75), "float64": (463, 538)}      # first n with share**n = 0

CLAIMS = [
    Claim("B8", "The first layer receives a gradient of only 0.00032 - practically zero! … The first layer cannot "
          "learn effectively.",
          "Practice problem 2: the product through the engine, one step of SGD at rate 0.1, a hundred thousand such "
          "steps, and the depth at which the product really is zero.",
          IMPRECISE, "The product is right; the step is −0.000032, with a minus; and small is not zero: after 100 "
          "000 such steps the weight has moved by 3.2. Zero comes at 65 factors of 0.2 in float32."),
]


@dataclass(frozen=True)
class Found:
    """``product``: 0.2^5 by backward; ``step``: the weight's after one update; ``moved``: after 100 000;
    ``ends``: {dtype: (first n with 0.2^n = 0, with 0.25^n = 0)}; ``ladder``: {dtype: 0.25^n, n = 1, 2 ...}."""
    product: float
    step: float
    moved: float
    ends: dict
    ladder: dict


def _powers(share, dtype):
    """share^n for n = 1, 2 ... as long as floats can say it."""
    g, factor, found = np.asarray(1, dtype)[()], np.asarray(share, dtype)[()], []
    while (g := g * factor) > 0:
        found.append(float(g))
    return found


def measure(seed, quick):
    w = Value(1.0)
    y = w
    for _ in range(5):
        y = y * 0.2
    y.backward()
    weight = Tensor(np.zeros(1), requires_grad=True)
    sgd = optim.SGD([weight], lr=0.1)
    weight.grad = Tensor(np.full(1, w.grad))
    sgd.step()
    step = weight.item()
    for _ in range(100_000 - 1):
        sgd.step()
    with np.errstate(under="ignore"):
        powers = {(share, dtype): _powers(share, dtype) for share in (0.2, 0.25) for dtype in TYPES}
    return Found(w.grad, step, weight.item(),
                 {dtype: tuple(len(powers[share, dtype]) + 1 for share in (0.2, 0.25)) for dtype in TYPES},
                 {dtype: powers[0.25, dtype] for dtype in TYPES})


def numbers(found):
    return {"B8": [near("0.2⁵", found.product, 3.2e-4, rel=1e-14), near("one step", found.step, -3.2e-5, rel=1e-14),
                   near("100 000 steps", found.moved, -3.2, rel=1e-9),
                   *(near(f"first n with {share}ⁿ = 0, {dtype}", found.ends[dtype][k], TYPES[dtype][k])
                     for k, share in enumerate((0.2, 0.25)) for dtype in TYPES)]}


def draw(found, axes, c):
    for (dtype, powers), colour in zip(found.ladder.items(), c.ordered(3)):
        n, end = len(powers), np.log10(powers[-1])
        axes.plot([1, n], [end, end], ":", color=colour)
        axes.plot(n, end, "o", color=colour)
        axes.annotate(f"{dtype}: 0 from n = {n + 1}", (n, end), (8, 4), textcoords="offset points", fontsize=8,
                      color=colour)
    axes.plot(np.arange(1, n + 1), np.log10(powers), color=c.black, zorder=0)
    axes.set(xscale="log", xlabel="n, layers", ylabel="log₁₀ 0.25ⁿ", xlim=(1, 1e4))


FIGURES = [("Where floats die: the largest possible product of n slopes, weights of 1.", draw)]
