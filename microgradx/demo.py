"""The demo: a deep sigmoid net that cannot learn real digits, the same net cured, and why, layer by layer.

Measured per layer l, over all training images b, with z_l the pre-activations (n_l units) and C_b the cost of one:

    error norm             sqrt(mean_b ||dC_b/dz_l||^2 / n_l)
    weight-gradient norm   ||dC/dW_l||, Frobenius, of the mean cost C
"""
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from microgradx import data, nn, optim
from microgradx._core.graph import no_grad
from microgradx._core.tensor import Tensor
from microgradx.nn import functional as F

DEPTH, WIDTH, RATE, BATCH = 5, 30, 0.1, 32


def quadratic(out, labels):
    return F.quadratic_cost(out.sigmoid(), F.one_hot(labels, 10, out.dtype))


@dataclass
class Recipe:
    """What differs between the two nets. ``variance``: of a weight, times n_in."""
    name: str
    activation: type
    init: Callable
    variance: float
    cost: Callable
    words: str
    colour: str


SICK = Recipe("sigmoid", nn.Sigmoid, nn.init.lecun_normal_, 1.0, quadratic,
              "sigmoid, LeCun init N(0, 1/n), quadratic cost", "#D55E00")
CURED = Recipe("ReLU", nn.ReLU, nn.init.he_normal_, 2.0, F.cross_entropy,
               "ReLU, He init N(0, 2/n), cross-entropy", "#0072B2")


@dataclass
class Outcome:
    """``start`` and ``end``: (error norms, weight-gradient norms), each (DEPTH + 1,)."""
    recipe: Recipe
    start: tuple
    end: tuple
    accuracy: float
    predicted: float
    seconds: float

    def factor(self, errors):
        """By what the error norm is multiplied per hidden layer on its way back; the geometric mean."""
        return float(errors[0] / errors[DEPTH - 1]) ** (1 / (DEPTH - 1))


def build(recipe, seed):
    """64 - DEPTH x WIDTH - 10 with zero biases; both recipes scale the same draws."""
    rng, layers = np.random.default_rng(seed), []
    sizes = [64, *[WIDTH] * DEPTH, 10]
    for n_in, n_out in zip(sizes, sizes[1:]):
        linear = nn.Linear(n_in, n_out, rng=rng)
        recipe.init(linear.weight, rng=rng)
        nn.init.zeros_(linear.bias)
        layers += [linear, recipe.activation()]
    return nn.Sequential(*layers[:-1])


def profile(net, cost, x, y):
    """The error norms and the weight-gradient norms of the Linear layers: two arrays (DEPTH + 1,)."""
    a, z, linear = Tensor(x), [], [layer for layer in net if isinstance(layer, nn.Linear)]
    for layer in net:
        a = layer(a)
        if layer in linear:
            a.retain_grad()
            z.append(a)
    net.zero_grad()
    cost(a, y).backward()
    # the cost is a mean over images, so the error of one image is len(x) times what arrives at its row
    errors = np.array([len(x) * np.sqrt(np.square(t.grad.numpy(), dtype=np.float64).mean()) for t in z])
    weights = np.array([np.linalg.norm(layer.weight.grad.numpy().astype(np.float64)) for layer in linear])
    net.zero_grad()
    return errors, weights


def accuracy(net, x, y):
    """The share of rows whose largest output is at the label."""
    with no_grad():
        return float((net(Tensor(x)).numpy().argmax(axis=1) == y).mean())


def mean_field(recipe, x):
    """The predicted factor per hidden layer: the geometric mean of sqrt(chi), chi = variance * E[phi'(z)^2].

    z ~ N(0, q), where q starts as variance * mean(x^2) and becomes variance * E[phi(z)^2] from layer to layer, for
    wide nets with zero biases (Poole et al. 2016; Schoenholz et al. 2017). E by Gauss-Hermite quadrature.
    """
    points, weights = np.polynomial.hermite_e.hermegauss(80)
    weights /= weights.sum()
    q, log_factor = recipe.variance * float(np.mean(np.square(x, dtype=np.float64))), 0.0
    for _ in range(DEPTH - 1):
        z = Tensor(points * math.sqrt(q), requires_grad=True)
        a = recipe.activation()(z)
        a.sum().backward()
        log_factor += 0.5 * math.log(recipe.variance * weights @ z.grad.numpy() ** 2)
        q = recipe.variance * weights @ a.detach().numpy() ** 2
    return math.exp(log_factor / (DEPTH - 1))


def train(recipe, digits, seed, epochs, tick):
    """Plain SGD over the same batches for every recipe; ``tick(loss)`` after every epoch."""
    x, y, x_test, y_test = digits
    net, rng, began = build(recipe, seed), np.random.default_rng(seed), time.perf_counter()
    start = profile(net, recipe.cost, x, y)
    optimizer = optim.SGD(net.parameters(), lr=RATE)
    for _ in range(epochs):
        for images, labels in data.batches(x, y, BATCH, rng=rng):
            optimizer.zero_grad()
            loss = recipe.cost(net(Tensor(images)), labels)
            loss.backward()
            optimizer.step()
        tick(loss.item())
    return Outcome(recipe, start, profile(net, recipe.cost, x, y), accuracy(net, x_test, y_test),
                   mean_field(recipe, x), time.perf_counter() - began)


# ----- to the reader -----------------------------------------------------------------------------------------------

def run(seed=0, epochs=30, out="demo.png", console=None):
    """Train both nets, print what was measured, write the picture; returns the two outcomes."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    console = console or Console(highlight=False)
    digits = data.digits(split=True, seed=seed)
    sizes = f"64-{'-'.join([str(WIDTH)] * DEPTH)}-10"
    console.print(f"[bold]Two nets {sizes}[/] on {len(digits[0])} real 8x8 digits; the same SGD (rate {RATE}, batch "
                  f"{BATCH}, {epochs} epochs), data order and seed ({seed}).")
    outcomes = []
    with Progress(TextColumn("{task.description:<8}"), BarColumn(), MofNCompleteColumn(), TextColumn("epochs"),
                  TimeElapsedColumn(), TextColumn("loss {task.fields[loss]:.4f}"), console=console) as progress:
        for recipe in (SICK, CURED):
            task = progress.add_task(recipe.name, total=epochs, loss=float("nan"))
            outcomes.append(train(recipe, digits, seed, epochs,
                                  lambda loss, task=task: progress.update(task, advance=1, loss=loss)))
    console.print()
    for outcome in outcomes:
        console.print(f"{outcome.recipe.words}: [bold]{outcome.accuracy:.1%}[/] of test digits right")
        console.print(table(outcome))
    for sentence in sentences(*outcomes, digits[3]):
        console.print(sentence + "\n")
    picture(outcomes, f"UCI digits, net {sizes}, SGD rate {RATE}, batch {BATCH}, {epochs} epochs, seed {seed}, "
            "float32, one run.", out)
    console.print(f"The picture is in [bold]{out}[/].")
    return outcomes


def table(outcome):
    """Norms per layer at the start and at the end of training."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    result = Table(box=SIMPLE_HEAD)
    result.add_column("layer")
    for heading in ("error norm\nat the start", "\nat the end", "weight gradient\nat the start", "\nat the end"):
        result.add_column(heading, justify="right")
    columns = [outcome.start[0], outcome.end[0], outcome.start[1], outcome.end[1]]
    for layer in range(DEPTH + 1):
        result.add_row(str(layer + 1) if layer < DEPTH else "output", *[f"{c[layer]:.2e}" for c in columns],
                       end_section=layer == DEPTH)
    result.add_row(f"1 over {DEPTH}", *[two_digits(c[0] / c[DEPTH - 1]) for c in columns], style="bold")
    return result


def two_digits(x):
    return f"{x:#.2g}".rstrip(".")


def sentences(sick, cured, labels):
    """What the numbers of this run say."""
    commonest = np.bincount(labels).max() / len(labels)
    (sick_errors, _), (cured_errors, _), (end_errors, end_weights) = sick.start, cured.start, sick.end
    last = DEPTH - 1
    yield (f"On its way back through a hidden layer the sigmoid net's error is multiplied by "
           f"[bold]{sick.factor(sick_errors):.3f}[/] before training (mean-field theory for such weights: "
           f"{sick.predicted:.3f}), the ReLU net's by [bold]{cured.factor(cured_errors):.2f}[/] "
           f"({cured.predicted:.2f}). Layer 1 gets {two_digits(sick_errors[0] / sick_errors[last])} and "
           f"{two_digits(cured_errors[0] / cured_errors[last])} of what layer {DEPTH} gets.")
    fallen = (", and its errors end small in all layers because its cost does"
              if np.all(cured.end[0] < cured_errors / 3) else "")
    verdict = "does not learn" if sick.accuracy < 2 * commonest else "learns"
    yield (f"With that the sigmoid net {verdict}: {sick.accuracy:.1%} right after training, where always naming the "
           f"commonest digit gives {commonest:.1%}. The cured net: {cured.accuracy:.1%}; its factor per layer ends at "
           f"{cured.factor(cured.end[0]):.2f}" + fallen + ".")
    if end_weights[0] / end_weights[last] > 10 * end_errors[0] / end_errors[last]:
        yield (f"The weight gradients alone would mislead: after training, the sigmoid net's differ by a factor of "
               f"{two_digits(end_weights[0] / end_weights[last])} from layer {DEPTH} to layer 1, its errors by "
               f"{two_digits(end_errors[0] / end_errors[last])}.")


def picture(outcomes, caption, path):
    """Both nets' profiles, start and end, on logarithmic axes."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 5.2), layout="constrained")
    FigureCanvasAgg(figure)
    layers = np.arange(1, DEPTH + 2)
    for k, (axes, title) in enumerate(zip(figure.subplots(1, 2), (
            "Error norm at the pre-activations", "Norm of the weight gradient"))):
        for outcome in outcomes:
            recipe, start, end = outcome.recipe, outcome.start[k], outcome.end[k]
            axes.plot(layers, start, "o--", color=recipe.colour, markerfacecolor="white",
                      label=f"{recipe.name}, before training")
            axes.plot(layers, end, "o-", color=recipe.colour,
                      label=f"{recipe.name}, after ({outcome.accuracy:.1%} of test digits right)")
        if k == 0:
            sick = outcomes[0]
            hidden = layers[:DEPTH]
            axes.plot(hidden, sick.start[0][DEPTH - 1] * sick.predicted ** (DEPTH - hidden), ":", color="black",
                      linewidth=1.2, label=f"mean-field theory, sigmoid: {sick.predicted:.3f} per layer")
        axes.set(title=title, yscale="log", xlabel="layer", xticks=layers,
                 xticklabels=[*map(str, layers[:-1]), "output"])
        axes.grid(axis="y", color="0.9")
        axes.spines[["top", "right"]].set_visible(False)
    figure.legend(*figure.axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=3, frameon=False,
                  fontsize=9)
    figure.supxlabel(caption + "\nError norm of layer l: root of the mean over images and units of (∂C/∂z)². Weight "
                     "gradient: Frobenius norm of ∂C/∂W, C the mean cost.", fontsize=8, color="0.35")
    figure.savefig(Path(path), dpi=150)
