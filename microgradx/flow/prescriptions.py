"""What to do about a net that does not train: a table of changes, each written as lines of code.

The lines speak of ``model``, ``optimizer``, ``loss_fn`` and ``schedule`` in words that microgradx and torch share. They
are run on a copy of the caller's training, and the report prints the same lines: whoever pastes them gets what was
tried. A row of ``PRESCRIPTIONS`` says against which verdicts it may help, and makes the lines for a net, or None where
there is nothing to change. Whether it helps this net is not said here: ``flow.diagnose`` tries it. Frozen modules are
left alone.
"""
import functools
import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from microgradx.flow import outputs, theory
from microgradx.flow.settings import LITTLE, RATES

__all__ = ["ADAM", "BOTH", "CONSTANT", "CRITICAL", "DECAY", "DERIVED", "DESCEND", "DROPOUT", "FREE", "INPUTS", "LINEAR",
           "LSUV", "PRESCRIPTIONS", "REGISTER", "TARGETS", "TRAIN_ALL", "Change", "Prescription", "at_its_best_rate",
           "best_rate", "best_trained_longer", "critical_variance", "layers_of", "learns_more", "rate", "rates",
           "with_rate"]


class Change(NamedTuple):
    """``words``: what is done; ``lines``: the code that does it; ``judges``: is its cost the one to go by, because the
    caller's does not say how wrong a net is? ``factor``: what it multiplies the rate by; ``rate``: with what it begins,
    where that is another than the caller's."""
    words: str
    lines: list
    judges: bool = False
    factor: float = 1.0
    rate: float | None = None


class Prescription(NamedTuple):
    """A row. ``make(course)``: the ``Change`` for the net of a course, None where there is nothing to change."""
    name: str
    against: tuple
    make: Callable
    source: str


class Part(NamedTuple):
    """A layer that may be changed: its name, how code reaches it, the module, its ``Layer``, its place in the record,
    and the activation below it (None at the first)."""
    name: str
    path: str
    module: object
    layer: object
    place: int
    below: object


def layers_of(course):
    """The ``Part`` of every layer with a matrix of its own that is trained, each once."""
    engine, model, record, found = course.engine, course.origin.model, course.record, []
    modules = {name: module for name, _, module in engine.modules(model)}
    for k, layer in enumerate(record.layers):
        module = modules.get(layer.name)
        weight = None if module is None else getattr(module, "weight", None)
        if layer.scale and weight is not None and weight.requires_grad and engine.weight(module) is weight:
            found.append(Part(layer.name, engine.path(model, layer.name), module, layer, k, _below(record, k)))
    return found


def _below(record, k):
    """The activation that the input of layer k has gone through, past layers without a matrix of their own."""
    for layer in reversed(record.layers[:k]):
        if layer.activation is None or layer.activation.name != "linear":
            return layer.activation
    return None


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


# ----- lines ---------------------------------------------------------------------------------------------------------

def _number(x):
    return float(f"{x:.4g}")


def _named(course, name):
    """A layer's name as ``named_modules`` has it: "" for the model itself."""
    return "" if name == type(course.origin.model).__name__ else name


def _each(course, values, *body, word="std"):
    """Lines that go through the modules of a dict by name."""
    table = {_named(course, name): value for name, value in values.items()}
    return [f"{word} = {table}", "for name, module in model.named_modules():", f"    if name in {word}:",
            *(f"        {line}" for line in body)]


ADAMS = 3e-3                    # the rate of Adam to begin with
ZERO_BIAS = "if module.bias is not None: nn.init.zeros_(module.bias)"


def _fan_in(part):
    return part.layer.scale.n_in


def _input_square(course, part):
    """The mean square of what a first layer takes."""
    square = course.record.first["x_square"][part.place]
    return square if part.below is None and 0 < square < math.inf else 1.0


# ----- weights -------------------------------------------------------------------------------------------------------

def _centre(course):
    parts = layers_of(course)
    behind = [p for p in parts if p.below is not None and p.below.name == "sigmoid"]
    if not behind:
        return None
    std = {p.name: _number((1 if p is parts[-1] else 2) * (1 + (p in behind)) / math.sqrt(
        _fan_in(p) * _input_square(course, p))) for p in parts}
    lines = _each(course, std, "nn.init.normal_(module.weight, 0.0, std[name])", ZERO_BIAS)
    centred = [_named(course, p.name) for p in behind if getattr(p.module, "bias", None) is not None]
    short = course.engine.short
    lines += [f"        if name in {centred}:", f"            with {short}.no_grad():",
              "                module.bias.copy_(-0.5 * module.weight.sum(1))"]
    return Change(f"W = 4 V, b = -sum(W)/2 in {len(behind)} layers behind a sigmoid, V ~ N(0, 1/n_in): the tanh net in "
                  "disguise", lines)


def _sizeless(course, parts):
    """Does a norm take away the size of most layers' weights, so that another size changes nothing?"""
    return len(_normed(course)) > len(parts) / 2


def _critical(course):
    parts = layers_of(course)
    phis = [p.below for p in parts if p.below is not None]
    if _sizeless(course, parts) or not phis or not all(critical_variance(phi) for phi in phis):
        return None
    std, used = {}, {}
    for p in parts:
        var_w = 1 / _input_square(course, p) if p.below is None else critical_variance(p.below)
        std[p.name] = _number(math.sqrt(var_w / _fan_in(p)))
        if p.below is not None:
            used[p.below.name] = f"{var_w:.3g}/n_in behind {p.below.name}"
    return Change("weights drawn again with variance " + ", ".join(used.values()) + ", biases 0",
                  _each(course, std, "nn.init.normal_(module.weight, 0.0, std[name])", ZERO_BIAS))


def _lsuv(course):
    parts = layers_of(course)
    if len(parts) < 2 or _sizeless(course, parts):
        return None
    engine, twin = course.engine, course.run_at_start()
    modules, gains = {name: m for name, _, m in engine.modules(twin.model)}, {}
    for p in parts:
        module, seen = modules[p.name], []
        twin.engine.framework.nn.init.orthogonal_(module.weight)
        if getattr(module, "bias", None) is not None:
            twin.engine.framework.nn.init.zeros_(module.bias)
        hook = engine.hook_forward(module, lambda module, args, out, seen=seen: seen.append(engine.array(out).std()))
        with engine.framework.no_grad():
            twin.model(*twin.batch(0).x)
        hook.remove()
        gains[p.name] = _number(1 / seen[0]) if seen and 0 < seen[0] < math.inf else 1.0
        engine.set_weight(module.weight, engine.array(module.weight) * gains[p.name])
    return Change("orthogonal weights, each layer's divided by the standard deviation of its output; biases 0",
                  _each(course, gains, "nn.init.orthogonal_(module.weight, gain[name])", ZERO_BIAS, word="gain"))


def _zero_branches(course):
    """The last layer of every branch that is added to a stream."""
    names = [layer.name for layer in course.record.layers if layer.branch and "[" not in layer.name
             and layer.name not in course.frozen_modules]
    if not names:
        return None
    return Change(f"the last weights of {len(names)} branches begin at 0, so that each block begins as the identity",
                  _each(course, dict.fromkeys(names, 0.0), "nn.init.zeros_(module.weight)", ZERO_BIAS, word="last"))


def _scale_branches(course):
    names = [layer.name for layer in course.record.layers if layer.branch and "[" not in layer.name
             and layer.name not in course.frozen_modules]
    if not names:
        return None
    scale = _number(1 / math.sqrt(len(names)))
    return Change(f"{len(names)} residual branches scaled by 1/sqrt({len(names)})",
                  _each(course, dict.fromkeys(names, scale),
                        "module.register_forward_hook(lambda module, args, out, s=scale[name]: out * s)", word="scale"))


def _delta_orthogonal(course):
    """Convolutions that keep the length of a signal, each position for itself."""
    parts = layers_of(course)
    convolutions = [p for p in parts if p.layer.kind in ("Conv1d", "Conv2d") and getattr(p.module, "groups", 1) == 1]
    if len(convolutions) < 2 or _sizeless(course, parts) or not all(
            critical_variance(p.below) for p in parts if p.below is not None):
        return None
    gain = {p.name: _number(math.sqrt(1 / _input_square(course, p) if p.below is None else critical_variance(p.below)))
            for p in convolutions}
    return Change(f"{len(gain)} convolutions begin as an orthogonal matrix at their centre and 0 around it", _each(
        course, gain, ZERO_BIAS, f"core = {course.engine.short}.empty(*module.weight.shape[:2])",
        "nn.init.orthogonal_(core, gain[name])", "nn.init.zeros_(module.weight)",
        f"with {course.engine.short}.no_grad():",
        "    module.weight[(..., *(k // 2 for k in module.weight.shape[2:]))] = core", word="gain"))


def _tailored(course):
    """Leaky ReLUs of the slope at which inputs that have nothing in common still differ behind all layers."""
    parts = layers_of(course)
    depth = sum(p.below is not None and p.below.name == "relu" for p in parts)
    exchanged = _replace(("ReLU",), f"nn.LeakyReLU({tailored_slope(depth):.3g})", "{} leaky ReLUs")(course)
    slope = _number(tailored_slope(depth))
    if slope < 0.05 or not exchanged or _sizeless(course, parts):
        return None
    gain = {p.name: _number(math.sqrt(2 / (1 + slope ** 2) if p.below is not None and p.below.name == "relu"
                                      else 1 / _input_square(course, p))) for p in parts}
    return Change(f"{exchanged.words} of slope {slope:.3g} for ReLUs, orthogonal weights of their gain, biases 0", [
        *_each(course, gain, "nn.init.orthogonal_(module.weight, gain[name])", ZERO_BIAS, word="gain"),
        *exchanged.lines])


def tailored_slope(depth, most=0.9):
    """The slope of leaky ReLUs by which two orthogonal inputs are as alike as ``most`` behind so many layers.

    >>> from microgradx.flow.prescriptions import tailored_slope
    >>> round(tailored_slope(10), 2), round(tailored_slope(50), 2)
    (0.0, 0.43)
    """
    def alike(slope):
        c, bend = 0.0, (1 - slope) ** 2 / (math.pi * (1 + slope ** 2))
        for _ in range(depth):
            c += bend * (math.sqrt(max(1 - c * c, 0.0)) - c * math.acos(min(c, 1.0)))
        return c
    low, high = 0.0, 1.0
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (middle, high) if alike(middle) > most else (low, middle)
    return low


def _widen(course):
    """Layers that are much narrower than what stands on both sides of them."""
    parts, lines, names = layers_of(course), [], []
    widest = max((p.layer.shape[0] for p in parts[:-1]), default=0)
    dtype = course.engine.dtype(parts[0].module.weight) if parts else "float32"
    extra = "" if dtype == "float32" else f", dtype={course.engine.short}.{dtype}"
    for a, b in zip(parts, parts[1:]):
        (width, n_in), (n_out, n) = a.layer.shape[:2], b.layer.shape[:2]
        wide = max(widest, 32)
        if (a.layer.kind, b.layer.kind, n) != ("Linear", "Linear", width) or b.place != a.place + 1 or (
                4 * width > min(n_in, wide)) or a.name in names or a.layer.branch or b.layer.branch:
            continue
        for part, m, k in ((a, n_in, wide), (b, wide, n_out)):
            bias = "" if getattr(part.module, "bias", None) is not None else ", bias=False"
            lines.append(f"{part.path} = nn.Linear({m}, {k}{bias}{extra})")
        lines.append(f'optimizer.add_param_group({{"params": [*{a.path}.parameters(), *{b.path}.parameters()]}})')
        names += [a.name, b.name]
    return Change(f"{len(names) // 2} narrow layers of {max(widest, 32)} units", lines) if lines else None


# ----- modules -------------------------------------------------------------------------------------------------------

NORMS = {"Linear": ("BatchNorm1d", 0), "Conv1d": ("BatchNorm1d", 0), "Conv2d": ("BatchNorm2d", 0)}


def _hidden(course):
    """Layers other than the last that an activation follows."""
    return [p for p in layers_of(course)[:-1] if type(p.module).__name__ in NORMS and p.layer.activation
            and p.layer.activation.name != "linear"]


def _kinds(course):
    return {kind for _, kind, _ in course.engine.modules(course.origin.model)}


def _normalise(course):
    hidden = [p for p in _hidden(course) if p.name != type(course.origin.model).__name__
              and (p.layer.kind != "Linear" or len(p.layer.shape) == 2)]
    if not hidden or _kinds(course) & {"BatchNorm1d", "BatchNorm2d", "LayerNorm", "RMSNorm", "GroupNorm"}:
        return None
    lines, dtype = [], course.engine.dtype(hidden[0].module.weight)
    extra = "" if dtype == "float32" else f", dtype={course.engine.short}.{dtype}"
    for p in hidden:
        lines += course.engine.insert_after(p.path, f"nn.{NORMS[p.layer.kind][0]}({p.layer.shape[0]}{extra})")
    return Change(f"batch normalisation between {len(hidden)} layers and their activations", lines)


def _skip(course):
    normed = _normed(course)
    if normed:
        scale = _number(1 / math.sqrt(len(normed)))
        return Change(f"a way past {len(normed)} layers and their norms, scaled by 1/sqrt({len(normed)})", [
            f"modules, skip = dict(model.named_modules()), {normed}",
            "for first, last in skip.items():", "    kept = []",
            "    modules[first].register_forward_pre_hook(lambda module, args, kept=kept: kept.append(args[0]))",
            "    modules[last].register_forward_hook(",
            f"        lambda module, args, out, kept=kept: kept.pop() + {scale} * out)"])
    square = {p.name: 0 for p in _hidden(course) if p.layer.kind == "Linear" and p.layer.shape[0] == p.layer.shape[1]}
    if not square or any(layer.branch for layer in course.record.layers):
        return None
    scale = _number(1 / math.sqrt(len(square)))
    return Change(f"a way past {len(square)} layers, which are scaled by 1/sqrt({len(square)})",
                  _each(course, dict.fromkeys(square, scale),
                        "module.register_forward_hook(lambda module, args, out, s=scale[name]: args[0] + s * out)",
                        word="scale"))


def _normed(course):
    """{a square layer: the norm that follows it}."""
    layers = course.record.layers
    return {a.name: b.name for a, b in zip(layers, layers[1:]) if a.kind == "Linear" and a.shape[0] == a.shape[1]
            and b.kind in ("BatchNorm1d", "LayerNorm", "RMSNorm") and b.units == a.units and not b.branch
            and not {a.name, b.name} & course.frozen_modules and "[" not in a.name + b.name}


def _replace(kinds, made, words):
    def make(course):
        engine, model = course.engine, course.origin.model
        paths = [engine.path(model, name) for name, kind, _ in engine.modules(model) if kind in kinds
                 and name != type(model).__name__]
        if not paths:
            return None
        return Change(words.format(len(paths)), [line for path in paths for line in engine.replace(path, made)])
    return make


def _tanh(course):
    exchanged = _replace(("Sigmoid",), "nn.Tanh()", "tanh for {} sigmoids")(course)
    parts = layers_of(course)
    if not exchanged or not any(p.below is not None and p.below.name == "sigmoid" for p in parts):
        return None
    std = {p.name: _number(1 / math.sqrt(_fan_in(p))) for p in parts}
    return Change(exchanged.words + ", LeCun initialisation, biases 0", _each(
        course, std, "nn.init.normal_(module.weight, 0.0, std[name])", ZERO_BIAS) + exchanged.lines)


def _pre_norm(course):
    layers = [m for _, kind, m in course.engine.modules(course.origin.model) if kind == "TransformerEncoderLayer"]
    if not layers or layers[0].norm_first:
        return None
    return Change(f"{len(layers)} transformer layers normalise what goes into a branch, not the sum after it", [
        "for module in model.modules():", "    if isinstance(module, nn.TransformerEncoderLayer):",
        "        module.norm_first = True"])


def _dropout(course):
    strong = [m for _, kind, m in course.engine.modules(course.origin.model)
              if kind.startswith("Dropout") and m.p > 0.1]
    if not strong:
        return None
    return Change(f"{len(strong)} dropouts of probability 0.1 instead of {max(m.p for m in strong):g}", [
        "for module in model.modules():", "    if isinstance(module, nn.Dropout):", "        module.p = 0.1"])


def _forget(course):
    cells = [(name, m) for name, kind, m in course.engine.modules(course.origin.model) if kind in ("LSTM", "LSTMCell")]
    if not cells:
        return None
    short = course.engine.short
    return Change("the forget gates begin at a bias of 1", [
        "for module in model.modules():", "    if isinstance(module, (nn.LSTM, nn.LSTMCell)):",
        "        for name, bias in module.named_parameters():", '            if name.startswith("bias_ih"):',
        f"                with {short}.no_grad():",
        "                    bias[module.hidden_size:2 * module.hidden_size] = 1.0"])


def _orthogonal_steps(course):
    """A recurrence that keeps the length of what it remembers."""
    kinds = _kinds(course) & {"RNN", "GRU", "LSTM"}
    if not kinds:
        return None
    return Change("orthogonal weights from step to step", [
        "for module in model.modules():",
        f"    if isinstance(module, ({', '.join('nn.' + kind for kind in sorted(kinds))},)):",
        "        for name, weight in module.named_parameters():", '            if name.startswith("weight_hh"):',
        "                nn.init.orthogonal_(weight)"])


def _nonlinear(course):
    hidden = {p.name: 0 for p in layers_of(course)[:-1] if p.layer.activation and p.layer.activation.name == "linear"}
    if not hidden:
        return None
    short = course.engine.short
    return Change(f"tanh behind {len(hidden)} layers that nothing followed", _each(
        course, hidden, f"module.register_forward_hook(lambda module, args, out: {short}.tanh(out))", word="hidden"))


def _register(course):
    lines, words = [], []
    found = outputs.unregistered(course.engine, course.origin.model) if course.strangers else []
    for owner, attribute, what, kind, _ in found:
        path = course.engine.path(course.origin.model, owner) + f".{attribute}"
        held = {"modules": ("nn.ModuleDict" if kind == "dict" else "nn.ModuleList"),
                "tensors": ("nn.ParameterDict" if kind == "dict" else "nn.ParameterList")}[what]
        lines += [f"{path} = {held}({path})",
                  f'optimizer.add_param_group({{"params": list({path}.parameters())}})']
        words.append(f"{path.removeprefix('model.')} is an {held}")
    return Change(", ".join(words), lines) if lines else None


def _train_all(course):
    if not course.left_out:
        return None
    return Change(f"the optimizer holds {', '.join(course.left_out[:3])}"
                  + (f" and {len(course.left_out) - 3} more" if len(course.left_out) > 3 else ""), [
        'held = {id(p) for group in optimizer.param_groups for p in group["params"]}',
        'optimizer.add_param_group({"params": [',
        "    p for p in model.parameters() if p.requires_grad and id(p) not in held]})"])


DERIVED_LINES = '''# in your own code: a plain function of what NAME.forward computes, in the place of NAME.apply
for function in SHORT.autograd.Function.__subclasses__():
    if function.__name__ == "NAME":
        def forward(ctx, *args, own=function.forward):
            ctx.args = args
            return own(CALLED)
        def backward(ctx, *grads, own=function.forward):
            wanted = ctx.needs_input_grad
            with SHORT.enable_grad():
                args = [x.detach().requires_grad_() if want else x for x, want in zip(ctx.args, wanted)]
                out = own(CALLED)
            leaves = [x for x, want in zip(args, wanted) if want]
            found = iter(SHORT.autograd.grad(out, leaves, grads, allow_unused=True))
            return tuple(next(found) if want else None for want in wanted)
        function.forward, function.backward = staticmethod(forward), staticmethod(backward)'''
APART = "        function.setup_context = SHORT.autograd.Function.setup_context"


def _derived(course):
    """The derivatives that the library finds by itself, in the place of wrong ones."""
    lines = []
    for slip in course.slips:
        text = DERIVED_LINES + ("\n" + APART if slip.apart else "")
        for word, by in (("CALLED", "*args" if slip.apart else "ctx, *args"), ("NAME", slip.function.__name__),
                         ("SHORT", course.engine.short)):
            text = text.replace(word, by)
        lines += text.split("\n")
    names = ", ".join(slip.function.__name__ for slip in course.slips)
    return Change(f"the library differentiates what {names} computes, without its backward", lines) if lines else None


# ----- outputs and costs ---------------------------------------------------------------------------------------------

LOGITS = '''class WithoutLast(nn.Module):
    """The output of a layer, without what `forward` does after it. In your own code: return it as it is."""
    def __init__(self, model, layer):
        super().__init__()
        self.model = model
        layer.register_forward_hook(self.keep)
    def keep(self, module, args, out):
        self.out = out
    def forward(self, *args):
        shape = self.model(*args).shape
        return self.out.reshape(shape)'''


def _without_tail(course):
    """Lines that take the tail off, and the name of the layer whose output is left."""
    engine, model = course.engine, course.origin.model
    last = course.record.layers[-1].name.partition("[")[0]
    leaves = [(name, kind, m) for name, kind, m in engine.modules(model) if next(iter(m.children()), None) is None]
    kinds = {"".join(part.capitalize() for part in phi.split("_")) for phi in course.tail} | {
        "ReLU", "GELU", "ELU", "SELU", "SiLU", "LogSoftmax"}
    name, kind, _ = leaves[-1]
    if len(course.tail) == 1 and kind in kinds and name != type(model).__name__ and (
            kind.lower() == course.tail[0].replace("_", "")):
        return [f"{engine.path(model, name)} = nn.Identity()"], last
    if last == type(model).__name__:
        return None, last
    return [*LOGITS.split("\n"), f"model = WithoutLast(model, {engine.path(model, last)})"], last


def _logits(course):
    """The tail off, where the cost expects what comes before it; else a cost of what comes before it."""
    if not course.tail or course.tail[-1] not in ("sigmoid", "softmax", "log_softmax", "tanh"):
        return None
    reach, tail, y = course.reach, course.tail[-1], course.engine.array(course.origin.batch(0).y)
    if reach is not None and math.isfinite(reach.least) and reach.share < course.cuts["reach"]:
        lines, last = _without_tail(course)
        return lines and Change(f"the output of {last} as it is, without {tail}: the cost expects numbers of any size",
                                lines)
    if y.dtype.kind not in "fiu" or y.shape != course.output.shape or y.min() < 0 or y.max() > 1:
        return None
    last = course.record.layers[-1].name.partition("[")[0]
    cost = {"sigmoid": "binary_cross_entropy_with_logits", "softmax": "cross_entropy"}.get(tail)
    if cost is None:
        return None
    scale = course.output.size // len(course.output) if tail == "sigmoid" else 1
    return Change(f"cross-entropy of the logits, the output of {last} before its {tail}: its error is a - y, without "
                  f"the factor {tail}'(z)", [
        "kept = {}  # in your own code: return the output of the last layer, and take its " + tail + " outside",
        f"{course.engine.path(course.origin.model, last)}.register_forward_hook(",
        "    lambda module, args, out: kept.update(logits=out))",
        f'loss_fn = lambda out, y: nn.functional.{cost}(kept["logits"].reshape(out.shape), y)'
        + (f" * {scale}" if scale > 1 else "")])


def _keep_graph(course):
    """The graph goes on where model or cost leave it."""
    lines = course.engine.kept()
    return Change("detach(), .data and no_grad() do nothing in the model and the cost", lines) if lines else None


def _free_output(course):
    """No activation behind the last layer, so that the outputs can be whatever the targets are."""
    if not course.tail or course.reach is None or not math.isfinite(course.reach.least):
        return None
    lines, last = _without_tail(course)
    return lines and Change(f"the output of {last} as it is, without {', '.join(course.tail)}", lines)


def _log_probabilities(course):
    """For a cost that a constant output lowers for ever, such as nll_loss of numbers that are no log-probabilities."""
    y = course.engine.array(course.origin.batch(0).y)
    if y.dtype.kind not in "iu" or course.output is None or course.output.ndim < 2:
        return None
    return Change("outputs that are log-probabilities", [
        "model.register_forward_hook(  # or cross_entropy in the place of nll_loss",
        f"    lambda module, args, out: {course.engine.short}.log_softmax(out, 1))"])


def _other_sign(course):
    """For a cost whose sign is wrong: it falls for ever, while the other has a least value."""
    if _minimise(course):
        return None
    return Change("the cost with its other sign", ["loss_fn = lambda out, y, cost=loss_fn: -cost(out, y)"], True)


def _pair(course):
    """Outputs in the shape of the targets."""
    y = course.engine.array(course.origin.batch(0).y)
    if course.output is None or y.size != course.output.size:
        return None
    return Change(f"targets of shape {tuple(y.shape)} in the outputs' shape {course.output.shape}", [
        "loss_fn = lambda out, y, cost=loss_fn: cost(out, y.reshape(out.shape))"], True)


def _finite(course):
    """Until the cost is repaired: what is nan in a gradient moves nothing."""
    if not course.nan:
        return None
    call = (f"[p.grad.copy_({course.engine.short}.nan_to_num(p.grad, 0.0, 0.0, 0.0)) for p in model.parameters() "
            "if p.grad is not None]")
    return Change("gradients that are nan count as 0; better still, keep the cost from the point where its slope is "
                  "infinite: sqrt(x + 1e-8) for sqrt(x), log(x + 1e-8) for log(x)", course.engine.before_step(call))


def _off_the_point(course):
    """Where a root or a logarithm is taken of 0, whose slope is infinite: a little more than 0."""
    operation = (course.nan[2] or "").rpartition(" ")[2] if course.nan else ""
    lines = course.engine.shifted(operation) if operation in ("sqrt", "rsqrt", "pow", "log", "log2", "log10") else []
    return Change(f"what {operation} is taken of is larger by 1e-8", lines) if lines else None


def _mean(course):
    """The mean of a cost that is a sum over the rows."""
    if not course.sums:
        return None
    return Change("the mean over the rows instead of their sum", [
        "loss_fn = lambda out, y, cost=loss_fn: cost(out, y) / len(y)"])


def _class_weights(course):
    y = np.concatenate([course.engine.array(b.y).ravel() for b in course.origin.batches.train])
    if y.dtype.kind not in "iu" or course.output is None or course.output.ndim != 2:
        return None
    counts = np.bincount(y, minlength=course.output.shape[1])
    weights = [_number(len(y) / (len(counts) * max(int(c), 1))) for c in counts]
    return Change("each class weighted by the inverse of how often it comes", [
        f"loss_fn = nn.CrossEntropyLoss(weight={course.engine.short}.tensor({weights}))"], True)


# ----- data ----------------------------------------------------------------------------------------------------------

def columns(course):
    """The training inputs as (rows, features), or None where they are no floats or hang together otherwise."""
    parts = [course.engine.array(b.x[0]) for b in course.origin.batches.train]
    if parts[0].dtype.kind != "f" or len({part.shape[1:] for part in parts}) > 1:
        return None
    x = np.concatenate(parts).astype(np.float64)
    return x.reshape(len(x), -1) if x.ndim > 1 else x[:, None]


def inputs_out_of_scale(x):
    """Are inputs far from mean 0 and deviation 1, as a whole, or some of them compared with the others?"""
    if x is None or len(x) < 2 or not x.std() > 0:
        return False
    spread = x.std(axis=0)
    spread = spread[spread > 0]
    return not (abs(x.mean()) < 2 * x.std() and 0.05 < x.std() < 3) or spread.max() > 30 * np.median(spread)


def _standardise(course):
    x = columns(course)
    if not inputs_out_of_scale(x):
        return None
    short, shape = course.engine.short, course.engine.array(course.origin.batch(0).x[0]).shape
    mean, deviation = x.mean(axis=0), x.std(axis=0)
    if len(shape) == 2 and shape[1] <= 64:
        deviation = np.maximum(deviation, np.abs(x - mean).max(axis=0) / 10)    # what is rarely on stays within 10
        deviation[deviation == 0] = 1.0
        lines = [f"mean_x = {short}.tensor({[_number(v) for v in mean]})",
                 f"std_x = {short}.tensor({[_number(v) for v in deviation]})"]
    else:
        lines = [f"mean_x, std_x = {_number(x.mean())}, {_number(x.std())}"]
    return Change("inputs of mean 0 and variance 1", [
        *lines, "model.register_forward_pre_hook(  # or do the same to x where you load it",
        "    lambda module, args: ((args[0] - mean_x) / std_x, *args[1:]))"])


def targets_of(course):
    parts = [course.engine.array(b.y) for b in course.origin.batches.train]
    return np.concatenate([part.reshape(len(part), -1) for part in parts]) if parts[0].ndim else parts[0][None]


def targets_out_of_scale(y):
    """Are targets far from mean 0 and deviation 1?"""
    return y.dtype.kind == "f" and y.std() > 0 and not (abs(y.mean()) < 10 * y.std() and 0.02 < y.std() < 20)


def _standardise_targets(course):
    y = targets_of(course)
    if not targets_out_of_scale(y) or course.output is None:
        return None
    mean, std = _number(y.mean()), _number(y.std())
    return Change(f"targets less {mean:.3g}, over {std:.3g}; the model gives {std:.3g} times its last layer plus "
                  f"{mean:.3g}", [
        f"mean_y, std_y = {mean}, {std}",
        "model.register_forward_hook(lambda module, args, out: out * std_y + mean_y)",
        "loss_fn = lambda out, y, cost=loss_fn: cost((out - mean_y) / std_y, (y - mean_y) / std_y)"])


def _standardise_both(course):
    first, second = _standardise(course), _standardise_targets(course)
    return first and second and Change("inputs and targets of mean 0 and variance 1", first.lines + second.lines)


# ----- the optimizer -------------------------------------------------------------------------------------------------

def rate(course, factor, before=None):
    """The change of the rate by a factor, from ``before`` where that is not the caller's."""
    own, scheduled = course.origin.groups[0]["lr"], hasattr(course.origin.schedule, "base_lrs")
    lines = ["for group in optimizer.param_groups:", f'    group["lr"] *= {factor:.4g}']
    if scheduled:
        lines += ["if schedule is not None:",
                  f"    schedule.base_lrs = [lr * {factor:.4g} for lr in schedule.base_lrs]"]
    before = own if before is None else before
    words = f"rates {factor:.3g} times as large" if scheduled else f"rate {before:.3g} -> {before * factor:.3g}"
    return Change(words, lines, factor=factor)


def with_rate(course, changes, factor):
    """Changes of which all that concerns the rate is one change of it, by a further factor."""
    factor *= math.prod(change.factor for change in changes)
    before = next((change.rate for change in changes if change.rate), None)
    return [*(change for change in changes if change.factor == 1),
            *([rate(course, factor, before)] if factor != 1 else [])]


def at_its_best_rate(course, changes, changed):
    """(changes, the course) of a changed net at the rate, in steps of three, at which it learns most."""
    found = [(changes, changed)]
    for factor in (3.0, 1 / 3):
        for _ in range(4):
            made = with_rate(course, found[-1][0], factor)
            other = course.after(*made) if made else None
            if other is None or not 1 - other.gained < 0.9 * (1 - found[-1][1].gained):
                break
            found.append((made, other))
        if len(found) > 1:
            break
    return best_trained_longer(found, 3)


def learns_more(course, other):
    """Does a changed net learn, and clearly more than this one, of rows that neither has seen where there are any:
    twice as much, or half of what this one leaves?"""
    if other is None or not (other.trains or other.gained >= course.cuts["learned"]):
        return False
    so_far = LITTLE if course.endless else max(course.gained, LITTLE)
    return other.gained > min(course.cuts["better"] * so_far, 1 - (1 - so_far) / course.cuts["better"])


def rates(course):
    """(factor, the course) of other rates, the nearest first."""
    losses = course.losses[1:]
    rising = bool(losses) and not max(losses) <= 2 * abs(course.losses[0])
    update = float(np.nanmax(course.record.first["update"], initial=0.0))
    factors = sorted(RATES, key=lambda f: (abs(math.log10(f)), (f > 1) == rising))
    small = 0 < update < course.cuts["update"]
    for factor in [*factors, *([1e-2 / update, 1e-1 / update] if small else [])]:
        other = course.after(rate(course, factor))
        if other is not None:
            yield factor, other


def best_rate(course):
    """(factor, the course) of the rate at which the net learns most; None where it learns at none of them."""
    return best_trained_longer([(factor, other) for factor, other in rates(course)
                                if other.trains or other.gained >= LITTLE])


def best_trained_longer(found, count=2):
    """Of pairs of something and its course: of the ``count`` that learn most, the one that learns more in a training
    several times as long, since a high rate that is quick at first may not last. None of none."""
    best = sorted(found, key=lambda pair: pair[1].gained)[-count:]
    return max(best, key=lambda pair: pair[1].longer.gained) if len(best) > 1 else best[0] if best else None


def _another_rate(course):
    found = best_rate(course)
    return found and rate(course, found[0])


def _constant_rate(course):
    if course.origin.schedule is None:
        return None
    return Change("the rate stays as it began, without the schedule", [
        "for group in optimizer.param_groups:", '    group["lr"] = group.get("initial_lr", group["lr"])',
        "schedule = None"])


def _adam(course):
    """Steps of a size of their own for each weight, where they are all of one rate."""
    if type(course.origin.optimizer).__name__ != "SGD":
        return None
    return Change(f"Adam of rate {ADAMS:g} in the place of SGD", [
        'groups = [{"params": group["params"]} for group in optimizer.param_groups]',
        f"optimizer, schedule = optim.Adam(groups, lr={ADAMS:g}), None"], rate=ADAMS)


def _no_decay(course):
    decay = max((group.get("weight_decay") or 0.0) for group in course.origin.groups)
    if not decay:
        return None
    return Change(f"weight decay {decay:g} -> 0", [
        "for group in optimizer.param_groups:", '    group["weight_decay"] = 0.0'])


def _warm_up(course):
    return Change("the rate rises over 50 steps", [
        "warm_up = optim.lr_scheduler.LinearLR(optimizer, 0.01, total_iters=50)",
        *course.engine.after_step("warm_up.step()")])


def _clip(course):
    return Change("gradients clipped to a norm of 1", course.engine.before_step(
        "nn.utils.clip_grad_norm_(model.parameters(), 1.0)"))


def _minimise(course):
    if not any(group.get("maximize") for group in course.origin.groups):
        return None
    return Change("maximize=False: the cost goes down", [
        "for group in optimizer.param_groups:", '    group["maximize"] = False'])


BACKWARD, FORWARD, EXPLODING, DYING, SATURATED, SYMMETRIC, SCALE, FAST, SLOW = (
    "vanishing backward", "vanishing forward", "exploding", "dying units", "saturation", "symmetric weights",
    "data out of scale", "rate too large", "rate too small")
SILENT, NAN, UNREACHABLE, PROBABILITIES, ENDLESS, PAIRING, UNTRAINED, CUT = (
    "no error at the output", "nan gradient", "unreachable targets", "probabilities for logits",
    "cost without a least value", "targets not paired", "untrained parameters", "cut graph")
STRONG_DECAY, STRONG_DROPOUT, IMBALANCE, NO_NONLINEARITY, ASCENT, TIME, WRONG, ELSEWHERE = (
    "weight decay too strong", "dropout too strong", "class imbalance", "no nonlinearity", "cost maximised",
    "vanishing through time", "wrong gradient", "not a gradient-flow problem")
GAINS = (BACKWARD, FORWARD, EXPLODING)
INPUTS = Prescription("standardise the inputs", (SATURATED, SCALE, FAST, EXPLODING, DYING, SILENT, UNREACHABLE),
                      _standardise, "LeCun et al. (1998)")
TARGETS = Prescription("standardise the targets", (SATURATED, SCALE, FAST, EXPLODING, DYING, UNREACHABLE, SLOW),
                       _standardise_targets, "")
BOTH = Prescription("standardise inputs and targets", (SCALE,), _standardise_both, "LeCun et al. (1998)")
CRITICAL = Prescription("critical initialisation", (*GAINS, SATURATED, SYMMETRIC, DYING), _critical,
                        "He et al. (2015), Schoenholz et al. (2017)")
LSUV = Prescription("LSUV", (*GAINS, SYMMETRIC), _lsuv, "Mishkin and Matas (2016)")
CONSTANT = Prescription("a constant rate", (SLOW,), _constant_rate, "")
DERIVED = Prescription("the library's derivative", (WRONG,), _derived, "")
DECAY = Prescription("no weight decay", (STRONG_DECAY,), _no_decay, "")
DROPOUT = Prescription("less dropout", (STRONG_DROPOUT,), _dropout, "Srivastava et al. (2014)")
LINEAR = Prescription("an activation", (NO_NONLINEARITY,), _nonlinear, "")
REGISTER = Prescription("register the layers", (UNTRAINED,), _register, "")
TRAIN_ALL = Prescription("train all parameters", (UNTRAINED,), _train_all, "")
DESCEND = Prescription("minimise the cost", (ASCENT,), _minimise, "")
FREE = Prescription("no activation at the output", (UNREACHABLE, SILENT, DYING, SATURATED), _free_output, "")
ADAM = Prescription("Adam", (SLOW, *GAINS), _adam, "Kingma and Ba (2015)")
MEAN = Prescription("the mean over the rows", (FAST,), _mean, "")

# In the order in which they are tried: what answers to one cause alone first, then what cured more of
# the nets on which the bounds of ``settings`` were chosen.
PRESCRIPTIONS = (
    Prescription("logits", (PROBABILITIES, SATURATED, SILENT), _logits, "Nielsen (2015), chapter 3"),
    FREE,
    Prescription("cross-entropy for log-probabilities", (ENDLESS,), _log_probabilities, ""),
    Prescription("the cost's other sign", (ENDLESS, ASCENT), _other_sign, ""),
    Prescription("targets in the outputs' shape", (PAIRING,), _pair, ""),
    Prescription("off the point of infinite slope", (NAN,), _off_the_point, ""),
    Prescription("nan gradients count as 0", (NAN,), _finite, ""),
    Prescription("keep the graph", (CUT,), _keep_graph, ""),
    DERIVED, REGISTER, TRAIN_ALL, DESCEND, CONSTANT, DECAY, DROPOUT, LINEAR, BOTH, INPUTS, TARGETS, MEAN,
    Prescription("another rate", (FAST, SLOW), _another_rate, ""),
    Prescription("weights for the classes", (IMBALANCE,), _class_weights, ""),
    Prescription("scale the branches", (EXPLODING, FAST), _scale_branches, "He et al. (2016)"),
    Prescription("centre the sigmoids", (BACKWARD, FORWARD, SATURATED, SYMMETRIC), _centre,
                 "tanh(z) = 2 sigmoid(2z) - 1"),
    LSUV,
    CRITICAL,
    Prescription("only another rate", (*GAINS, DYING, SATURATED), _another_rate, ""),
    Prescription("normalise before the branches", (FAST, EXPLODING), _pre_norm, "Xiong et al. (2020)"),
    Prescription("warm-up", (FAST,), _warm_up, "Goyal et al. (2017)"),
    Prescription("batch normalisation", (BACKWARD, FORWARD, SATURATED, DYING), _normalise,
                 "Ioffe and Szegedy (2015)"),
    Prescription("delta-orthogonal convolutions", GAINS, _delta_orthogonal, "Xiao et al. (2018)"),
    Prescription("tailored leaky ReLUs", (BACKWARD, FORWARD), _tailored, "Zhang et al. (2022)"),
    Prescription("widen a bottleneck", (FORWARD, ELSEWHERE), _widen, ""),
    Prescription("residual connections", (BACKWARD, FORWARD, EXPLODING), _skip, "He et al. (2016)"),
    Prescription("zero the last weights of branches", (EXPLODING,), _zero_branches, "Zhang et al. (2019)"),
    Prescription("forget gates that begin open", (BACKWARD, FORWARD, TIME), _forget, "Jozefowicz et al. (2015)"),
    Prescription("orthogonal recurrence", (BACKWARD, FORWARD, TIME), _orthogonal_steps, "Saxe et al. (2014)"),
    Prescription("leaky ReLU", (DYING,), _replace(("ReLU", "ReLU6"), "nn.LeakyReLU(0.1)",
                                                  "leaky ReLU of slope 0.1 for {} ReLUs"), "Maas et al. (2013)"),
    Prescription("tanh for sigmoid", (BACKWARD, SATURATED), _tanh, "LeCun et al. (1998)"),
    ADAM,
    Prescription("clip the gradients", (EXPLODING, FAST), _clip, "Pascanu et al. (2013)"))
