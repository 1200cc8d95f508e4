"""A training that is measured: what a diagnosis rests on.

What a net has *learned* is the share of the cost that it has removed, of the cost of the best output that does not
depend on the input: 0 for a net that has only learned how frequent the labels are, 1 for one that makes no mistakes.
"""
import contextlib
import functools
import math
from dataclasses import replace

import numpy as np

from microgradx import nn, optim, random
from microgradx._core.graph import enable_grad, no_grad
from microgradx._core.tensor import Tensor
from microgradx.errors import Error, GraphError, ShapeError, ignored
from microgradx.flow import metrics
from microgradx.flow.verdicts import CUTS, known, lost
from microgradx.flow.watch import Watch, weight_of

__all__ = ["Course"]

ROWS = 64                       # fewer do not say whether anything holds for others
HEART = 0.9                     # the share of the cost to have removed, of a net that has learned all of its rows


class Course:
    """One training: its record, costs before every step and after the last, and what was made of them.

    ``before``: the course of the same net as it was, whose constant cost and cuts hold here, too; then only the first
    pass is watched, and for its profiles.
    """

    def __init__(self, origin, steps, seed, cuts=None, before=None):
        self.origin, self.steps, self.seed = origin, steps, seed
        self.cuts = before.cuts if before else CUTS | known(cuts)
        self.run, self.losses, self.accuracy, self.learned = origin.copy(), [], [], math.nan
        self.others = {}
        run = self.run
        self.weights = {name or type(run.model).__name__: weight_of(m) for name, m in run.model.named_modules()}
        self.weights = {name: weight.numpy() for name, weight in self.weights.items() if weight is not None}
        random.manual_seed(seed)
        optimizer, judged, parameters = run.optimizer(), [], list(run.model.parameters())
        watching = Watch(run.model, every=steps + 1, full_every=None if before else steps or None)
        if before:
            watching.all = watching.columns = watching.chosen
        self.record = watching.record
        for step in range(steps + 1):
            first, last = step == 0, step == steps
            watching.step = step
            with enable_grad(), watching if first or (last and not before) else contextlib.nullcontext():
                for p in parameters:
                    p.grad = None
                output = run.model(*run.x)
                loss = _scalar(run.cost(output, run.y))
                self.losses.append(loss.item())
                if first or last:
                    with no_grad():
                        judged.append(run.judge(output.detach(), run.y).item())
                    self.accuracy.append(_accuracy(output, run.y))
                if first:
                    self.constant = before.constant if before else _constant_cost(run, output)
                if step and not math.isfinite(self.losses[-1]):
                    break
                if not loss.requires_grad:
                    raise GraphError("diagnose: the cost does not depend on any parameter that requires a gradient")
                loss.backward()
                if not last:
                    if run.clip < math.inf:
                        optim.clip_grad_norm_(parameters, run.clip)
                    optimizer.step()
        self.start, self.end = judged[0], judged[1] if len(judged) > 1 else math.nan
        if math.isfinite(self.end):
            self.learned = (self.constant - self.end) / max(abs(self.constant), 1e-12)

    @property
    def trains(self):
        """Does it learn all of these rows, or some of them and what holds for others, too?"""
        return self.learned >= HEART or self.learned >= self.cuts["learned"] and not (
            self.elsewhere < self.cuts["elsewhere"])

    @property
    def by_heart(self):
        """Does it learn these rows, and nothing that holds for others?"""
        return self.learned >= HEART and self.elsewhere <= 0

    def after(self, name, change):
        """The course of a copy that ``change(run, record)`` has changed, made once for a name."""
        if name not in self.others:
            run = self.origin.copy()
            change(run, self.record)
            self.others[name] = Course(run, self.steps, self.seed, before=self)
        self.others[name].cuts = self.cuts
        return self.others[name]

    @functools.cached_property
    def expected(self):
        with ignored(Error):
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

    def matters(self, name):
        """Does the cost change with the weights of a layer?"""
        random.manual_seed(self.seed)
        twin = self.origin.copy()
        weight = weight_of(dict(twin.model.named_modules())[name.partition("[")[0]])
        with no_grad():
            weight.copy_(weight * 1.5 + 0.1)
            return twin.cost(twin.model(*twin.x), twin.y).item() != self.losses[0]

    def decades(self):
        """Powers of ten by which the error shrinks from the last layer to the first, and the signal the other way."""
        return lost(self.record.first["error"][::-1]), lost(np.sqrt(self.record.first["signal"][:-1]))

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
        with ignored(Error, ValueError, TypeError):
            costs.append(_least(
                lambda c: run.judge(getattr(c, form)(*axis).astype(output.dtype) + zeros, run.y), point))
    return min((cost for cost in costs if math.isfinite(cost)), default=first)


def _least(function, start, steps=100):
    """The least of a function of an array near ``start``, by signs of the gradient (Riedmiller and Braun 1993)."""
    c, width, before, least = np.array(start, np.float64), 0.1, np.zeros_like(start), math.inf
    for _ in range(steps):
        point = nn.Parameter(c, dtype="float64")
        cost = function(point)
        cost.backward()
        least = min(least, cost.item())
        if point.grad is None:
            break
        slope = np.sign(np.nan_to_num(point.grad.numpy()))
        width = width * np.choose((slope * before + 1).astype(int), (0.5, 1.0, 1.2))
        c, before = c - slope * width, slope
    return least


def _decrease(run, seed):
    """M19 of a copy: by how much a step that should lower the cost by 1/1000 lowers it, over that; None if unclear.

    If that is far from 1, of a step a hundred times shorter: the gradient may turn within the first.
    """
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
    for share in (1e-3, 1e-5):
        lr = share * abs(start) / square
        ratio = metrics.decrease_ratio(start, cost(lr, grads)[0], lr, [g.numpy() for g in grads if g is not None])
        if 0.5 < ratio < 1.5:
            break
    return ratio
