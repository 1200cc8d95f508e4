"""Why a net does not train: a verdict, the layer, what was measured beside what theory expects, and a tried cure.

A copy of the net is trained for some steps on one batch, watched in full in the first pass and in the last. If it
learns, it is healthy. If not, ``RULES`` are asked in their order; the first that fires is the verdict. Every row of
``PRESCRIPTIONS`` that is meant for it is then tried on a copy of its own: same seed, same data, as many steps.

What a net has *learned* is the share of the cost that it has removed, of the cost of the best output that does not
depend on the input: 0 for a net that has only learned how frequent the labels are, 1 for one that makes no mistakes.
"""
import contextlib
import functools
import inspect
import math
import random as python_random
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from microgradx import nn, optim, random
from microgradx._core.graph import enable_grad, no_grad
from microgradx._core.tensor import Tensor
from microgradx.errors import DTypeError, Error, GraphError, NonFiniteError, OptionError, ShapeError
from microgradx.flow import metrics
from microgradx.flow.prescriptions import (BACKWARD, DYING, EXPLODING, FAST, FORWARD, PRESCRIPTIONS, SATURATED, SLOW,
                                           SYMMETRIC, Run)
from microgradx.flow.report import Diagnosis
from microgradx.flow.watch import Watch, weight_of

__all__ = ["CUTS", "RULES", "VERDICTS", "assert_gradient_flow", "diagnose"]

HEALTHY, CUT, WRONG, ELSEWHERE = ("healthy", "cut graph", "wrong gradient", "not a gradient-flow problem")

# What a number has to pass to count. ``bench/diagnosis.py`` is where they come from.
CUTS = {
    "learned": 0.1,             # the least share of the cost to have removed, for a net that trains
    "decades": 2.0,             # powers of ten by which error or signal changes through the net
    "dead": 0.9,                # share of a layer's units whose slope is 0 on all samples
    "saturated": 0.5,           # share of a layer's slopes below a tenth of the activation's largest
    "update": 1e-4,             # relative change of a weight in the first step below which a rate is small
    "rise": 1.5}                # by which the cost may rise above where it began, or above a constant output's


ROWS = 64                       # fewer do not say whether anything holds for others


class Finding(NamedTuple):
    """What a rule found: place of the layer or None, cause, and evidence (name, measured, bound, expected)."""
    verdict: str
    place: int | None
    cause: str
    evidence: tuple


class Course:
    """One training: its record, costs before every step and after the last, and what was made of them.

    ``before``: the course of the same net as it was, whose constant cost and cuts hold here, too; then only the first
    pass is watched, and for its profiles.
    """

    def __init__(self, origin, steps, seed, cuts=None, before=None):
        self.origin, self.steps, self.seed = origin, steps, seed
        self.cuts = before.cuts if before else CUTS | _known(cuts)
        self.run, self.losses, self.accuracy, self.learned = origin.copy(), [], [], math.nan
        run = self.run
        self.weights = {name or type(run.model).__name__: weight_of(m) for name, m in run.model.named_modules()}
        self.weights = {name: weight.numpy() for name, weight in self.weights.items() if weight is not None}
        random.manual_seed(seed)
        optimizer, judged = run.optimizer(), []
        watching = Watch(run.model, every=steps + 1, full_every=None if before else steps or None)
        if before:
            watching.all = watching.columns = watching.chosen
        with enable_grad(), watching as self.record:
            for step in range(steps + 1):
                run.model.zero_grad()
                output = run.model(*run.x)
                loss = _scalar(run.cost(output, run.y))
                self.losses.append(loss.item())
                if step in (0, steps):
                    with no_grad():
                        judged.append(run.judge(output.detach(), run.y).item())
                    self.accuracy.append(_accuracy(output, run.y))
                if step == 0:
                    self.constant = before.constant if before else _constant_cost(run, output)
                if step and not math.isfinite(self.losses[-1]):
                    break
                if not loss.requires_grad:
                    raise GraphError("diagnose: the cost does not depend on any parameter that requires a gradient")
                loss.backward()
                if step < steps:
                    if run.clip < math.inf:
                        optim.clip_grad_norm_(run.model.parameters(), run.clip)
                    optimizer.step()
        self.start, self.end = judged[0], judged[1] if len(judged) > 1 else math.nan
        if math.isfinite(self.end):
            self.learned = (self.constant - self.end) / max(abs(self.constant), 1e-12)

    @property
    def trains(self):
        return self.learned >= self.cuts["learned"]

    @functools.cached_property
    def expected(self):
        with contextlib.suppress(Error):
            return self.record.expected()

    @functools.cached_property
    def decrease(self):
        return _decrease(self.origin, self.seed)

    @functools.cached_property
    def elsewhere(self):
        """What is learned of every other row by training on the rest; nan where the rows are few or hang together."""
        rows = len(self.origin.x[0])
        if rows < ROWS or any(len(part) != rows for part in (*self.origin.x, self.origin.y)):
            return math.nan
        part = lambda start: replace(self.origin, x=tuple(t[start::2] for t in self.origin.x),      # noqa: E731
                                     y=self.origin.y[start::2])
        try:
            course, other = Course(part(0), self.steps, self.seed, before=self), part(1)
            with no_grad():
                end = course.run.judge(course.run.model(*other.x), other.y).item()
        except (Error, ValueError, TypeError, IndexError):
            return math.nan
        return (self.constant - end) / max(abs(self.constant), 1e-12)

    def finding(self):
        """The verdict."""
        if self.trains and not _cut(self):
            learned = f"{self.learned:.0%} of the cost is gone after {self.steps} steps"
            if self.elsewhere <= 0:
                return Finding(ELSEWHERE, None, f"it learns these rows by heart ({learned}), and nothing that holds for "
                               "others: look at the labels, and for how many rows there are",
                               (("learned of rows it did not see", self.elsewhere, 0.0, None),))
            return Finding(HEALTHY, None, f"it learns: {learned}", ())
        return next(found for found in (rule(self) for rule in RULES) if found)

    def decades(self):
        """Powers of ten by which the error shrinks from the last layer to the first, and the signal the other way."""
        return _lost(self.record.first["error"][::-1]), _lost(np.sqrt(self.record.first["signal"][:-1]))

    def row(self, k):
        """The numbers of layer k, by name."""
        first, latest, layer = self.record.first, self.record.latest, self.record.layers[k]
        parts, expected = self.record.attribution(), self.expected
        ended = self.record.latest_step > 0
        return {"layer": layer.name, "kind": layer.kind, "shape": list(layer.shape),
                "activation": layer.activation and layer.activation.name,
                "error": first["error"][k], "gain": parts.gain[k], "by_weights": parts.weights[k],
                "by_slope": parts.slope[k], "expected_gain": expected.gain[k] if expected else math.nan,
                "q": first["q"][k], "expected_q": expected.q[k] if expected else math.nan,
                **{name: first[name][k] for name in ("signal", "cosine", "saturated", "dead", "grad", "bits")},
                "update": first["update"][k] if len(self.losses) > 1 else math.nan,
                "error_after_training": latest["error"][k] if ended else math.nan,
                "dead_after_training": latest["dead"][k] if ended else math.nan}


def _known(cuts):
    for name in cuts or {}:
        if name not in CUTS:
            raise OptionError(f"diagnose: {name!r} is none of {', '.join(CUTS)}")
    return cuts or {}


def _lost(profile):
    """log10 of the first over the last that are numbers."""
    profile = profile[np.isfinite(profile)]
    with np.errstate(divide="ignore", invalid="ignore"):
        return float(np.log10(profile[0]) - np.log10(profile[-1])) if len(profile) > 1 else 0.0


def _scalar(loss):
    if not isinstance(loss, Tensor) or loss.size != 1:
        raise ShapeError("diagnose: loss_fn(output, target) returns a tensor of one element, not "
                         f"{f'shape {loss.shape}' if isinstance(loss, Tensor) else type(loss).__name__}")
    return loss


def _accuracy(output, y):
    labels = np.asarray(y.detach() if isinstance(y, Tensor) else y)
    if not isinstance(output, Tensor) or output.ndim != 2 or labels.dtype.kind not in "iu" or labels.ndim != 1:
        return math.nan
    return float((np.asarray(output.detach()).argmax(axis=1) == labels).mean())


def _constant_cost(run, output):
    """The least cost of an output that is the same for all samples; the first cost where there is none.

    Outputs that are probabilities, or their logarithms, stay so.
    """
    first = run.judge(output.detach(), run.y).item()
    if not isinstance(output, Tensor) or output.ndim < 2 or len(output) < 2:
        return first
    rows = np.nan_to_num(np.asarray(output.detach(), np.float64))
    mean, zeros = rows.mean(axis=0, keepdims=True), Tensor(np.zeros(output.shape, output.dtype))
    whole = lambda p: np.allclose(p.sum(axis=-1), 1, atol=1e-4)             # noqa: E731
    inside = mean.clip(1e-6, 1 - 1e-6)
    if rows.min() >= 0 and rows.max() <= 1:
        start, form = (np.log(inside), "softmax") if whole(rows) else (np.log(inside / (1 - inside)), "sigmoid")
    else:
        start, form = mean, "log_softmax" if rows.max() <= 0 and whole(np.exp(rows)) else "clone"
    axis = (-1,) if "softmax" in form else ()
    costs = [first]
    for point in (start, np.zeros_like(start)):
        c = nn.Parameter(point, dtype="float64")
        with contextlib.suppress(Error, ValueError, TypeError):
            costs.append(float(optim.scipy_minimize([c], lambda c=c: run.judge(
                getattr(c, form)(*axis).astype(output.dtype) + zeros, run.y), options={"maxiter": 50}).fun))
    return min((cost for cost in costs if math.isfinite(cost)), default=first)


# ----- the rules -----------------------------------------------------------------------------------------------------

def _symmetric(course):
    for k, layer in enumerate(course.record.layers):
        weight = course.weights.get(layer.name)
        if weight is not None and weight.ndim > 1 and len(weight) > 1 and not np.ptp(weight, axis=0).any():
            what = "zero" if not weight.any() else "the same in every unit"
            return Finding(SYMMETRIC, k, f"the weights of {layer.name} are {what}: all its units compute and learn the "
                           "same", (("spread of the weights over units", 0.0, 0.0, None),))
    return None


def _missed(course):
    """Layers that ran and which no error reached: (L,)."""
    return np.isnan(course.record.first["zeros"])


def _overflow(course):
    for k, q in enumerate(course.record.first["q"]):
        if not (math.isfinite(q) or _missed(course)[k]):
            return Finding(EXPLODING, k, f"the pre-activations of {course.record.layers[k].name} overflow",
                           (("mean z^2", q, None, _expected(course, "q", k)),))
    return None


def _cut(course):
    missed = _missed(course)
    if not missed[0] or missed.all():
        return None
    k = int(np.flatnonzero(~missed)[0])
    names = [layer.name for layer in course.record.layers]
    return Finding(CUT, k - 1, f"no error arrives at {names[k - 1]} and below, while {names[k]} gets one: the graph is "
                   "cut between them (detach, no_grad, a result made by NumPy)",
                   (("error norm", 0.0, None, None), (f"error norm of {names[k]}",
                                                      course.record.first["error"][k], None, None)))


def _dying(course, values=None):
    values = values or course.record.first
    share = np.nan_to_num(values["dead"][:-1])
    k = int(share.argmax()) if len(share) else 0
    if not len(share) or share[k] < course.cuts["dead"]:
        return None
    when = "" if values is course.record.first else "after training, "
    return Finding(DYING, k, f"{when}{share[k]:.0%} of the units of {course.record.layers[k].name} have slope 0 on every "
                   "sample: no error passes them",
                   (("dead share", share[k], course.cuts["dead"], None),
                    ("false alarm of one unit active on 5 %", metrics.false_alarm(0.05, len(course.run.x[0])), None,
                     None)))


def _saturates(phi):
    """Does an activation flatten on both sides?"""
    return phi is not None and bool((np.abs(phi.slope(np.array([-20.0, 20.0]))) < 0.1 * phi.largest).all())


def _saturated(course, values=None):
    values = values or course.record.first
    share = [s if _saturates(layer.activation) else 0.0
             for s, layer in zip(np.nan_to_num(values["saturated"]), course.record.layers)]
    k = int(np.argmax(share))
    if share[k] < course.cuts["saturated"]:
        return None
    layer, slope = course.record.layers[k], course.record.attribution(values).slope[k]
    why = ("its error is multiplied by the slope there, however wrong the output is"
           if k == len(share) - 1 else "its inputs or weights are too large")
    return Finding(SATURATED, k, f"{share[k]:.0%} of the slopes of {layer.name}'s {layer.activation.name} are below a "
                   f"tenth of the largest: {why}",
                   (("saturated share", share[k], course.cuts["saturated"], None),
                    ("mean z^2", values["q"][k], None, _expected(course, "q", k)),
                    ("error passed by the slope", slope, None, None)))


def _vanishing(course):
    back, forward = course.decades()
    if not max(back, forward) >= course.cuts["decades"]:
        return None
    record, parts = course.record, course.record.attribution()
    q = _lost(np.sqrt(record.first["q"][:-1]))
    verdict = FORWARD if back < course.cuts["decades"] or q >= back / 2 else BACKWARD
    k = int(np.nanargmin(_fair(record, parts.gain)))                # between this layer's z and the one above
    weights, slopes = (_typical(part[:-1]) for part in (parts.weights, parts.slope))
    place, expected = k + (parts.weights[k] < parts.slope[k]), course.expected       # whose weights, or whose slope
    cause = (f"the error shrinks to 10^-{back:.1f} on its way to {record.layers[0].name}, the signal to 10^-{forward:.1f} "
             f"on its way to the output: per layer the weights multiply the error by {weights:.2g}, the activation's "
             f"slope by {slopes:.2g}; " + ("the slope does it" if slopes < weights else "the weights are too small"))
    return Finding(verdict, int(place), cause, (
        ("decades of error lost", back, course.cuts["decades"], -math.log10(expected.error[0]) if expected else None),
        ("decades of signal lost", forward, course.cuts["decades"], _lost(np.sqrt(expected.signal[:-1])) if expected else None),
        ("decades of z lost", q, None, _lost(np.sqrt(expected.q[:-1])) if expected else None),
        ("least gain of a layer", parts.gain[k], None, _expected(course, "gain", k))))


def _fair(record, gain):
    """The gains as they would be if the layer above each had as many outputs as inputs; 1 where there is none."""
    above = [layer.scale.n_in / layer.scale.n_out if layer.scale else 1.0 for layer in record.layers[1:]]
    return np.nan_to_num(gain * np.sqrt([*above, 1.0]), nan=1.0, posinf=1.0)


def _typical(part):
    """The geometric mean of what is positive."""
    part = part[np.isfinite(part) & (part > 0)]
    return float(np.exp(np.log(part).mean())) if len(part) else 0.0


def _exploding(course):
    record, (back, _) = course.record, course.decades()
    grown = -_lost(np.sqrt(record.first["q"]))
    if max(-back, grown) < course.cuts["decades"]:
        return None
    gain = record.attribution().gain
    k = int(np.nanargmax(_fair(record, gain)))
    expected = course.expected
    return Finding(EXPLODING, k, f"the error grows to 10^{-back:.1f} on its way to {record.layers[0].name}, z to "
                   f"10^{grown:.1f} on its way to the output", (
                       ("decades of error gained", -back, course.cuts["decades"],
                        math.log10(expected.error[0]) if expected else None),
                       ("decades of z gained", grown, course.cuts["decades"],
                        -_lost(np.sqrt(expected.q)) if expected else None),
                       ("largest gain of a layer", gain[k], None, _expected(course, "gain", k))))


def _fast(course):
    losses, bound = np.array(course.losses), course.cuts["rise"] * max(abs(course.constant), abs(course.losses[0]))
    over = np.flatnonzero(~(losses <= bound))
    if not len(over):
        return None
    step, update = int(over[0]), float(np.nanmax(course.record.first["update"]))
    return Finding(FAST, None, f"the cost rises from {losses[0]:.3g} to {losses[step]:.3g} at step {step}, although "
                   "errors arrive in all layers: the steps are too long",
                   (("cost", losses[step], bound, None), ("largest first update of a weight", update, None, None)))


def _slow(course):
    update = course.record.first["update"]
    largest = float(np.nanmax(update)) if np.isfinite(update).any() else 0.0
    if largest >= course.cuts["update"]:
        return None
    return Finding(SLOW, None, f"no weight changes by more than {largest:.1g} of its size in the first step, although "
                   "errors arrive in all layers", (("largest first update of a weight", largest, course.cuts["update"], None),))


def _wrong(course):
    ratio = course.decrease
    if ratio is None or 0.5 < ratio < 1.5:
        return None
    return Finding(WRONG, None, f"a short step along the gradient lowers the cost by {ratio:.2g} times what the gradient "
                   "says: a derivative is wrong (microgradx.gradcheck finds which)",
                   (("decrease over prediction", ratio, 0.5, 1.0),))


def _elsewhere(course):
    if not course.record.first["signal"][0] > 0:
        return Finding(ELSEWHERE, None, "the first layer makes the same of all rows: look at the inputs",
                       (("signal of the first layer", course.record.first["signal"][0], None, None),))
    return Finding(ELSEWHERE, None, "errors and signals keep their size and the weights move, yet the cost stays at "
                   f"{course.end:.3g} (a constant output has {course.constant:.3g}): look at labels, data and "
                   "capacity, and for how long it trained", ())


# Asked in this order of a net that has not learned; those of the first group are what the first pass alone can tell.
AT_START = (_overflow, _symmetric, _cut, _dying, _saturated, _vanishing, _exploding)
RULES = (*AT_START, _wrong, _fast, lambda course: _dying(course, course.record.latest),
         lambda course: _saturated(course, course.record.latest), _slow, _elsewhere)
VERDICTS = (HEALTHY, CUT, SYMMETRIC, DYING, SATURATED, BACKWARD, FORWARD, EXPLODING, FAST, SLOW, WRONG, ELSEWHERE)


def _expected(course, name, k):
    return float(getattr(course.expected, name)[k]) if course.expected else None


# ----- the run -------------------------------------------------------------------------------------------------------

@contextlib.contextmanager
def _untouched(model, loss_fn, seed):
    """Within it random numbers are those of a seed; after it all random state and the caller's gradients are as before.
    """
    own = [*model.parameters(), *(loss_fn.parameters() if isinstance(loss_fn, nn.Module) else ())]
    held, shared = [(p, p.grad) for p in own], random._shared
    states = python_random.getstate(), np.random.get_state()
    for p, _ in held:
        p.grad = None
    python_random.seed(seed)
    np.random.seed(seed % 2**32)
    try:
        with np.errstate(all="ignore"):
            yield
    finally:
        for p, grad in held:
            p.grad = grad
        random._shared = shared
        python_random.setstate(states[0])
        np.random.set_state(states[1])


def _run_of(model, loss_fn, batch, optimizer):
    """The caller's arguments as a ``Run``, after a look at each of them."""
    if not isinstance(model, nn.Module):
        raise DTypeError(f"diagnose: a Module, not {type(model).__name__}; nets of torch are watched by "
                         "microgradx.flow.torch.watch")
    if not callable(loss_fn):
        raise DTypeError(f"diagnose: loss_fn is a function of output and target, not {type(loss_fn).__name__}")
    params = list(model.named_parameters())
    name = type(model).__name__
    if not params:
        raise OptionError(f"diagnose: {name} has no parameters; there is nothing to train")
    if not any(p.requires_grad for _, p in params):
        raise OptionError(f"diagnose: all {len(params)} parameters of {name} are frozen (requires_grad is False)")
    for parameter, p in params:
        bad = int((~np.isfinite(np.asarray(p.detach()))).sum())
        if bad:
            raise NonFiniteError(f"diagnose: {bad} of the {p.size} numbers of {parameter!r} are inf or nan")
    if not isinstance(batch, tuple | list) or len(batch) != 2:
        raise ShapeError(f"diagnose: a batch is a pair (inputs, targets), not {type(batch).__name__}"
                         + (f" of {len(batch)}" if isinstance(batch, tuple | list) else ""))
    x = tuple(_tensor(part, params[0][1].dtype) for part in (batch[0] if isinstance(batch[0], tuple) else (batch[0],)))
    for part in x:
        if part.dtype.kind == "f" and not np.isfinite(np.asarray(part)).all():
            raise NonFiniteError("diagnose: the inputs hold inf or nan")
        if not part.ndim or len(part) < 2:
            raise ShapeError(f"diagnose: a batch has two rows or more, not shape {part.shape}; what vanishes is seen in "
                             "how samples differ")
    kind, groups = _optimizer(optimizer, model)
    return Run(model, loss_fn, x, batch[1], kind, groups, loss_fn)


def _tensor(x, dtype):
    if not isinstance(x, Tensor):
        x = np.asarray(x)
        x = Tensor(x.astype(dtype) if x.dtype.kind == "f" else x)
    return x.detach()


def _optimizer(optimizer, model):
    own = set(model.parameters())
    if optimizer is None:
        return optim.SGD, [{"params": list(model.parameters()), "lr": 0.1}]
    if not isinstance(optimizer, optim.Optimizer):
        raise DTypeError(f"diagnose: optimizer is an Optimizer or None, not {type(optimizer).__name__}")
    groups = [dict(group.options) | {"params": list(group.params)} for group in optimizer.param_groups]
    if not any(p in own for group in groups for p in group["params"]):
        raise OptionError(f"diagnose: the {type(optimizer).__name__} holds no parameter of {type(model).__name__}")
    return type(optimizer), groups


def _decrease(run, seed):
    """M19 of a copy: by how much a step that should lower the cost by 1/1000 lowers it, over that; None if unclear."""
    def cost(step=0.0, grads=()):
        random.manual_seed(seed)
        twin = run.copy()
        for p, g in zip(twin.model.parameters(), grads):
            if g is not None:
                with no_grad():
                    p.copy_(p - g * step)
        with enable_grad():
            loss = twin.cost(twin.model(*twin.x), twin.y)
            loss.backward()
        return loss.item(), [p.grad for p in twin.model.parameters()]

    start, grads = cost()
    square = sum(metrics.norm(g.numpy()) ** 2 for g in grads if g is not None)
    if not square or not start or not math.isfinite(square):
        return None
    lr = 1e-3 * abs(start) / square
    return metrics.decrease_ratio(start, cost(lr, grads)[0], lr, [g.numpy() for g in grads if g is not None])


def _notes(run, course):
    """What is odd and no verdict."""
    seen = {layer.name.split("[")[0] for layer in course.record.layers}
    trained = {p for group in run.groups for p in group["params"]}
    for name, module in run.model.named_modules():
        weight, name = weight_of(module), name or type(module).__name__
        if weight is None:
            continue
        if not weight.requires_grad:
            yield f"{name} is frozen"
        elif name not in seen:
            yield f"{name} never ran"
        elif weight not in trained:
            yield f"{name} is not trained: the optimizer does not hold its weight"
    missed = _missed(course)
    for layer, nothing in zip(course.record.layers, missed):
        if nothing and not missed[0]:
            yield f"{layer.name} ran, but the cost does not depend on it"
    for layer in course.record.layers:
        if "[" in layer.name:
            yield f"{layer.name.split('[')[0]} runs more than once in a pass"


def diagnose(model, loss_fn, batch, optimizer=None, steps=100, seed=0, most=4, cuts=None):
    """Why ``model`` does not train, and what makes it train: a ``Diagnosis``, which prints as a table.

    ``loss_fn(output, target)`` is the cost of a batch, a mean over its rows; ``batch`` a pair (inputs, targets), of two
    rows or more, inputs a tuple where the model takes several. ``optimizer``: whose kind and options are taken, SGD of
    rate 0.1 if None. Copies of the model, in training mode and without hooks, make ``steps`` steps on the whole batch,
    and as many with each of at most ``most`` prescriptions. The model, its gradients and all random state stay as they
    are. A net of 20 layers of 64 units takes about 2 seconds with 256 rows.

    Raises ``OptionError`` for a model without parameters, all frozen, or none held by the optimizer; ``NonFiniteError``
    for parameters, inputs or a first cost that are not finite; ``ShapeError``, ``DTypeError`` for other arguments.

    >>> import microgradx as mgx
    >>> from microgradx import flow, nn
    >>> x, y = mgx.data.digits()
    >>> layers = [nn.Linear(64, 30, rng=0), nn.Sigmoid()]
    >>> for k in range(1, 6):
    ...     layers += [nn.Linear(30, 30, rng=k), nn.Sigmoid()]
    >>> net = nn.Sequential(*layers, nn.Linear(30, 10, rng=6))
    >>> found = flow.diagnose(net, nn.functional.cross_entropy, (x[:256], y[:256]))
    >>> found.verdict, found.cure["name"]
    ('vanishing backward', 'centre the sigmoids')
    """
    if isinstance(steps, bool) or not isinstance(steps, int) or steps < 1:
        raise OptionError(f"diagnose: steps is an integer >= 1, not {steps!r}")
    if isinstance(most, bool) or not isinstance(most, int) or most < 0:
        raise OptionError(f"diagnose: most is an integer >= 0, not {most!r}")
    run = _run_of(model, loss_fn, batch, optimizer)
    with _untouched(model, loss_fn, seed):
        course = _watched(run, steps, seed, cuts)
        finding = course.finding()
        rows = [p for p in PRESCRIPTIONS if finding.verdict in p.against and p.when(run, course.record)]
        tried = [_tried(row, run, course, steps, seed) for row in rows[:most]]
    settings = {"model": type(model).__name__, "parameters": sum(p.size for p in model.parameters()),
                "optimizer": run.kind.__name__, "rate": run.groups[0]["lr"], "steps": steps, "seed": seed,
                "rows": len(run.x[0]), "dtype": str(next(model.parameters()).dtype)}
    layers = [course.row(k) for k in range(len(course.record.layers))]
    return Diagnosis.of(finding, layers, _numbers(course), tried, settings, list(_notes(run, course)))


def _watched(run, steps, seed, cuts):
    """The course of a run; raises for what makes a diagnosis meaningless."""
    course, model = Course(run, steps, seed, cuts), run.model
    if course.record.first is None:
        raise GraphError("diagnose: no error arrives at any layer: the cost does not depend on the model's output")
    q = course.record.first["q"]
    if not math.isfinite(course.losses[0]) and (np.isfinite(q) | _missed(course)).all():
        raise NonFiniteError(f"diagnose: the first cost is {course.losses[0]}, although all pre-activations are finite: "
                             "the cost itself makes it (a logarithm of 0, say) or the targets hold it")
    for name, p in model.named_parameters():
        if p.grad is not None:
            raise GraphError(f"diagnose: the cost uses the model itself ({name!r} was given a gradient); write it as a "
                             "function of output and target")
    return course


def course(model, loss_fn, batch, optimizer=None, steps=100, seed=0, cuts=None):
    """The ``Course`` on which ``diagnose`` rests, without trials, and with all that its verdict asks for."""
    run = _run_of(model, loss_fn, batch, optimizer)
    with _untouched(model, loss_fn, seed):
        course = _watched(run, steps, seed, cuts)
        course.decrease, course.elsewhere       # noqa: B018
    return course


def _numbers(course):
    back, forward = course.decades()
    return {"cost": course.start, "cost_after": course.end, "constant_cost": course.constant, "learned": course.learned,
            "accuracy": course.accuracy[0], "accuracy_after": course.accuracy[-1] if len(course.accuracy) > 1 else None,
            "decades_back": back, "decades_forward": forward, "losses": course.losses}


def _tried(row, run, before, steps, seed):
    """A prescription on a copy: what was changed, and the numbers after."""
    result = {"name": row.name, "source": row.source, "change": "", "trains": False, "after": None}
    twin = run.copy()
    try:
        result["change"] = row.change(twin, before.record)
        course = Course(twin, steps, seed, before=before)
    except (Error, ValueError, TypeError) as error:
        return result | {"change": f"could not be applied: {error}"}
    return result | {"trains": bool(course.trains), "after": _numbers(course)}


def assert_gradient_flow(model, loss_fn, batch, decades=None, dead=None, saturated=None):
    """For a net's own tests: one pass, and an ``AssertionError`` that names layer, number and bound if a gradient
    vanishes or explodes by ``decades`` powers of ten, or a layer is ``dead`` or ``saturated`` to that share.

    Bounds not given are those of ``diagnose``, ``CUTS``. Nothing of the model changes. Raises as ``diagnose``.

    >>> from microgradx import Tensor, flow, nn
    >>> net = nn.Sequential(nn.Linear(2, 8, rng=0), nn.Tanh(), nn.Linear(8, 1, rng=1))
    >>> batch = Tensor([[0.0, 1.0], [1.0, 0.0]]), Tensor([[1.0], [0.0]])
    >>> flow.assert_gradient_flow(net, nn.functional.mse_loss, batch)
    >>> flow.assert_gradient_flow(net, nn.functional.mse_loss, batch, decades=0.1)
    Traceback (most recent call last):
        ...
    AssertionError: x
    """
    given = {name: value for name, value in (("decades", decades), ("dead", dead), ("saturated", saturated))
             if value is not None}
    run = _run_of(model, loss_fn, batch, None)
    with _untouched(model, loss_fn, 0):
        course = _watched(run, 0, 0, given)
        found = next((found for found in (rule(course) for rule in AT_START) if found), None)
    if found:
        name = course.record.layers[found.place].name
        measured, value, bound, _ = found.evidence[0]
        raise AssertionError(f"{found.verdict} at {name}: {measured} is {value:.3g}"
                             + (f", the bound {bound:.3g}" if bound is not None else "") + f"; {found.cause}")
