"""What to do about a net that does not train: a table of changes, each made on a copy of the run.

A ``Run`` is all that training needs: model, cost, data, optimizer. ``Run.copy`` shares nothing that training changes. A
row of ``PRESCRIPTIONS`` says against which verdicts it may help, when it can be applied, what it changes, and whose it
is. Whether it helps this net is not said here: ``flow.diagnose`` tries it.
"""
import copy
import functools
import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np

from microgradx import nn
from microgradx._core.graph import no_grad
from microgradx._core.tensor import Tensor
from microgradx.flow import theory
from microgradx.nn import functional as F

__all__ = ["CRITICAL", "INPUTS", "PRESCRIPTIONS", "TARGETS", "Prescription", "Run", "critical_variance", "layers_of",
           "rate"]


@dataclass
class Run:
    """What is trained, and how.

    ``x``: the arguments of the model. ``cost(output, y)``. ``kind``, ``groups``: of the optimizer, dicts with "params".
    ``clip``: the largest norm of the gradients. ``judge(output, y)``: the caller's cost, by which runs are compared.
    """
    model: nn.Module
    cost: Callable
    x: tuple
    y: object
    kind: type
    groups: list
    judge: Callable
    clip: float = math.inf
    left_out: list = field(default_factory=list)

    def copy(self):
        """A run of its own: parameters without gradients, modules without hooks, their random state copied."""
        memo = {id(module._hooks): None for module in self.model.modules()}
        model, groups, cost, judge = copy.deepcopy((self.model, self.groups, self.cost, self.judge), memo)
        held = {p for group in groups for p in group["params"]}
        for p in model.parameters():
            p.grad = None
        return replace(self, model=model.train(), groups=groups, cost=cost, judge=judge,
                       left_out=[p for p in model.parameters() if p not in held])

    def optimizer(self):
        """A fresh one. Parameters that a prescription brought join the first group, those it took away leave."""
        present = [p for p in self.model.parameters() if p.requires_grad]
        inside = set(present)                   # a set asks for identity, a list for ==
        groups = [group | {"params": [p for p in group["params"] if p in inside]} for group in self.groups]
        held = {p for group in self.groups for p in group["params"]} | set(self.left_out)
        groups[0]["params"] += [p for p in present if p not in held]
        return self.kind([group for group in groups if group["params"]])


class Prescription(NamedTuple):
    """A row. ``when(run, record)``: can it be applied? ``change(run, record)``: apply it to a copy, and say what was
    done. ``record``: of the run as it was."""
    name: str
    against: tuple
    when: Callable
    change: Callable
    source: str


# ----- what a run is made of -----------------------------------------------------------------------------------------

def layers_of(run, record):
    """(module, layer, activation of the layer below, None at the first) of every layer with a matrix, each once."""
    modules, found = {name or type(run.model).__name__: m for name, m in run.model.named_modules()}, []
    for k, layer in enumerate(record.layers):
        if layer.name in modules and len(layer.shape) > 1:
            found.append((modules[layer.name], layer, record.layers[k - 1].activation if k else None))
    return found


@functools.lru_cache(256)
def critical_variance(phi):
    """n_in Var(W) at which errors keep their size behind an activation, with zero biases; None where there is none.

    The edge of chaos at small z where that is stable and of this order, else what keeps the variance of z at 1, at most
    He's 2.

    >>> from microgradx.flow.prescriptions import critical_variance
    >>> [round(critical_variance(phi), 2) for phi in ("tanh", "relu", "selu", "gelu")], critical_variance("sigmoid")
    ([1.0, 2.0, 1.0, 2.0], None)
    """
    small = theory.moments(phi, 0.0)
    if small.square < 1e-20 and 0.25 < small.slope_square < 1.1:
        var_w = 1 / small.slope_square
        if theory.variance_map(phi, 1e-3, var_w) <= 1e-3 * (1 + 1e-9):
            return var_w
    var_w = min(1 / theory.moments(phi).square, 2.0)
    return var_w if theory.chi(phi, 1.0, var_w) > 0.5 else None


def _exchange(model, made):
    """Put ``made(module)`` in the place of every module inside for which that is not None; returns how many."""
    new = {module: made(module) for module in list(model.modules()) if module is not model}
    new = {module: other for module, other in new.items() if other is not None}
    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            if child in new:
                setattr(parent, name, new[child])
    return len(new)


def _has(*kinds):
    return lambda run, record: any(type(m).__name__ in kinds for m in run.model.modules())


def _hidden(run, record):
    """Linear layers that an activation follows, other than the last."""
    return [m for m, layer, _ in layers_of(run, record)[:-1]
            if isinstance(m, nn.Linear) and layer.activation and layer.activation.name != "linear"]


# ----- changes -------------------------------------------------------------------------------------------------------

def _centre(run, record):
    rng, n = np.random.default_rng(0), 0
    for k, (module, _, below) in enumerate(found := layers_of(run, record)):
        n_in, last = nn.init.fans(module.weight)[0], k == len(found) - 1
        centred, factor = below is not None and below.name == "sigmoid", 1.0 if last else 2.0
        square = 1.0 if k else record.first["x_square"][0]
        nn.init.normal_(module.weight, 0.0, factor * (1 + centred) / math.sqrt(n_in * (square or 1.0)), rng)
        if module.bias is not None:
            with no_grad():
                shift = module.weight.sum(1) * -0.5 if centred else module.bias * 0
                module.bias.copy_(shift)
        n += centred
    return f"W = 4 V, b = -sum(W)/2 in {n} layers behind a sigmoid, V ~ N(0, 1/n_in): the tanh net in disguise"


def _initialise(run, record):
    rng, used = np.random.default_rng(0), {}
    for module, _, below in layers_of(run, record):
        square = record.first["x_square"][0]
        var_w = 1 / square if below is None and 0 < square < math.inf else below and critical_variance(below) or 1.0
        nn.init.normal_(module.weight, 0.0, math.sqrt(var_w / nn.init.fans(module.weight)[0]), rng)
        if getattr(module, "bias", None) is not None:
            nn.init.zeros_(module.bias)
        if below is not None:
            used[below.name] = f"{var_w:.3g}/n_in behind {below.name}"
    return "weights drawn anew with variance " + (", ".join(used.values()) or "1/n_in") + ", biases 0"


def _lsuv(run, record):
    for module, _, _ in layers_of(run, record):
        if getattr(module, "bias", None) is not None:
            nn.init.zeros_(module.bias)
    nn.init.lsuv_(run.model, *run.x, rng=0)
    return "orthogonal weights, each layer's divided by the standard deviation of its output; biases 0"


def _normalise(run, record):
    hidden = set(_hidden(run, record))
    n = _exchange(run.model, lambda m: nn.Sequential(m, nn.BatchNorm1d(m.out_features, dtype=m.weight.dtype))
                  if m in hidden else None)
    return f"BatchNorm1d between {n} layers and their activations"


def _pairs(container):
    """Places k in a Sequential where a square Linear stands before an activation."""
    inside = list(container)
    return [k for k, (m, phi) in enumerate(zip(inside, inside[1:])) if isinstance(m, nn.Linear)
            and m.in_features == m.out_features and next(phi.parameters(), None) is None
            and k + 2 < len(inside)]


def _skip(run, record):
    containers = [m for m in run.model.modules() if isinstance(m, nn.Sequential)]
    count = sum(len(_pairs(c)) for c in containers)
    for container in containers:
        for k in _pairs(container):
            branch = nn.Sequential(container[k], container[k + 1])
            container[k], container[k + 1] = nn.Residual(branch, 1 / math.sqrt(count)), nn.Identity()
    return f"a way past {count} layers, their branches scaled by 1/sqrt({count})"


def _scale_branches(run, record):
    branches = [m for m in run.model.modules() if isinstance(m, nn.Residual)]
    for m in branches:
        m.scale /= math.sqrt(len(branches))
    return f"{len(branches)} residual branches scaled by 1/sqrt({len(branches)})"


def _tanh(run, record):
    n = _exchange(run.model, lambda m: nn.Tanh() if type(m).__name__ == "Sigmoid" else None)
    rng = np.random.default_rng(0)
    for module, _, _ in layers_of(run, record):
        nn.init.lecun_normal_(module.weight, rng)
        if getattr(module, "bias", None) is not None:
            nn.init.zeros_(module.bias)
    return f"tanh for {n} sigmoids, LeCun initialisation, biases 0"


def _leaky(run, record):
    n = _exchange(run.model, lambda m: nn.LeakyReLU(0.1) if type(m).__name__ in ("ReLU", "ReLU6") else None)
    return f"leaky ReLU of slope 0.1 for {n} ReLUs"


def _logits(run, record):
    """The last sigmoid out of the model, cross-entropy on what it took; judged by the caller's cost as before."""
    *inner, _ = run.model
    run.model, judge = nn.Sequential(*inner), run.judge
    labels = np.asarray(run.y).dtype.kind in "iu"
    run.cost = F.cross_entropy if labels else (
        lambda z, y: F.binary_cross_entropy_with_logits(z, y) * (z.size // len(z)))     # a sum over the outputs
    run.judge = lambda z, y: judge(z.sigmoid(), y)
    return "no last sigmoid, cross-entropy on the logits: its error is a - y, without the factor sigmoid'(z)"


def _standardise(run, record):
    x = run.x[0]
    with no_grad():
        mean = x.mean(0)
        run.x = ((x - mean) / (((x - mean).square().mean(0)).sqrt() + 1e-2 * (x.std(ddof=0).item() or 1.0)), *run.x[1:])
    return "inputs of mean 0 and variance 1"


def _unscaled(run, record):
    x = np.asarray(run.x[0].detach())
    return (x.dtype.kind == "f" and x.ndim == 2 and len(x) > 1 and x.std() > 0
            and not (abs(x.mean()) < 2 * x.std() and 0.05 < x.std() < 3))


def _targets(y):
    return np.asarray(y.detach() if isinstance(y, Tensor) else y)


def _far(run, record):
    y = _targets(run.y)
    return (y.dtype.kind == "f" and y.ndim > 0 and y.std() > 0
            and not (abs(y.mean()) < 10 * y.std() and 0.02 < y.std() < 20))


def _standardise_targets(run, record):
    y, judge, cost = _targets(run.y), run.judge, run.cost
    mean, deviation = float(y.mean()), float(y.std())
    run.cost = lambda out, target: cost(out, Tensor(((_targets(target) - mean) / deviation).astype(out.dtype)))
    run.judge = lambda out, target: judge(out * deviation + mean, target)
    return f"targets less {mean:.3g}, over {deviation:.3g}; judged by the output times {deviation:.3g} plus {mean:.3g}"


def rate(factor):
    """The change of the rate by a factor."""
    def change(run, record):
        before = run.groups[0]["lr"]
        for group in run.groups:
            group["lr"] *= factor
        return f"rate {before:.3g} -> {run.groups[0]['lr']:.3g}"
    return change


def _clip(run, record):
    run.clip = 1.0
    return "gradients clipped to a norm of 1"


def _always(run, record):
    return True


def _dense(run, record):
    return bool(_hidden(run, record))


def _plain(run, record):
    return _dense(run, record) and not _has("BatchNorm1d", "LayerNorm", "RMSNorm")(run, record)


def _ends_in_sigmoid(run, record):
    return (isinstance(run.model, nn.Sequential) and len(run.model) > 1 and type(run.model[-1]).__name__ == "Sigmoid"
            and np.asarray(run.y).dtype.kind in "iuf")


def _sigmoid_inside(run, record):
    return any(below is not None and below.name == "sigmoid" for *_, below in layers_of(run, record))


def _critical(run, record):
    below = [phi for *_, phi in layers_of(run, record) if phi is not None]
    return bool(below) and all(critical_variance(phi) for phi in below)


BACKWARD, FORWARD, EXPLODING, DYING, SATURATED, SYMMETRIC, SCALE, FAST, SLOW = VERDICTS = (
    "vanishing backward", "vanishing forward", "exploding", "dying units", "saturation", "symmetric weights",
    "data out of scale", "rate too large", "rate too small")
GAINS = (BACKWARD, FORWARD, EXPLODING)
INPUTS = Prescription("standardise the inputs", (SATURATED, SCALE, FAST, EXPLODING, DYING), _unscaled, _standardise,
                      "LeCun et al. (1998)")
TARGETS = Prescription("standardise the targets", (SATURATED, SCALE, FAST, EXPLODING, DYING), _far,
                       _standardise_targets, "")
CRITICAL = Prescription("critical initialisation", (*GAINS, SATURATED, SYMMETRIC, DYING), _critical, _initialise,
                        "He et al. (2015), Schoenholz et al. (2017)")

# In the order in which they are tried: what answers to one cause alone first, then what cured more of the nets by
# which ``bench/diagnosis.py`` chooses.
PRESCRIPTIONS = (
    Prescription("cross-entropy on logits", (SATURATED,), _ends_in_sigmoid, _logits, "Nielsen (2015), chapter 3"),
    INPUTS,
    TARGETS,
    Prescription("scale the branches", (EXPLODING, FAST), _has("Residual"), _scale_branches, "He et al. (2016)"),
    Prescription("centre the sigmoids", (BACKWARD, FORWARD, SATURATED, SYMMETRIC), _sigmoid_inside, _centre,
                 "tanh(z) = 2 sigmoid(2z) - 1"),
    Prescription("LSUV", (*GAINS, SYMMETRIC), _critical, _lsuv, "Mishkin and Matas (2016)"),
    CRITICAL,
    Prescription("lower the rate tenfold", (FAST, DYING, EXPLODING), _always, rate(0.1), ""),
    Prescription("lower the rate a hundredfold", (FAST,), _always, rate(0.01), ""),
    Prescription("raise the rate tenfold", (SLOW,), _always, rate(10.0), ""),
    Prescription("raise the rate a thousandfold", (SLOW,), _always, rate(1000.0), ""),
    Prescription("batch normalisation", (BACKWARD, FORWARD, SATURATED, DYING), _plain, _normalise,
                 "Ioffe and Szegedy (2015)"),
    Prescription("residual connections", (BACKWARD, FORWARD),
                 lambda run, record: any(_pairs(m) for m in run.model.modules() if isinstance(m, nn.Sequential)),
                 _skip, "He et al. (2016)"),
    Prescription("leaky ReLU", (DYING,), _has("ReLU", "ReLU6"), _leaky, "Maas et al. (2013)"),
    Prescription("tanh for sigmoid", (BACKWARD, SATURATED), lambda run, record: _sigmoid_inside(run, record)
                 and _has("Sigmoid")(run, record), _tanh, "LeCun et al. (1998)"),
    Prescription("clip the gradients", (EXPLODING, FAST), _always, _clip, "Pascanu et al. (2013)"))
