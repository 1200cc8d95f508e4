"""A training that is measured: what a diagnosis rests on.

What a net has *learned* is the share of the cost that it has removed, of the cost of the best output that does not
depend on the input: 0 for a net that has only learned how frequent the labels are, 1 for one that makes no mistakes.
"""
import contextlib
import functools
import math

import numpy as np

from microgradx.errors import Error, ignored
from microgradx.flow import functions, metrics, outputs
from microgradx.flow.records import CHEAP
from microgradx.flow.settings import CUTS, FAILURES, known
from microgradx.flow.watch import Watch, staged

__all__ = ["Course"]

RECURRENT = ("RNN", "LSTM", "GRU")
HEART = 0.9                     # the share of the cost to have removed, of a net that has learned all of its rows
PROBED = 8                      # minibatches on which a net is judged
LARGE = 1e9                     # products of numbers in a pass of a large net
PATIENCE = 4                    # times as long a net is trained whose cost is still falling


class Course:
    """One training: its record, costs before every step and after the last, and what was made of them.

    ``change``: lines that were run before it began, see ``prescriptions.Change``. ``before``: the course of the net as
    it was; then only the first pass is watched, and for its profiles.
    """

    def __init__(self, origin, steps, seed, cuts=None, before=None, change=None):
        self.origin, self.steps, self.seed, self.before, self.change = origin, steps, seed, before, change
        self.engine = origin.engine
        self.cuts = before.cuts if before else CUTS | known(cuts)
        self.engine.seed(seed)
        self.run, self.losses, self.others = origin.copy(), [], {}
        if change:
            self.run.change(change.lines, change.judges)
        run, model = self.run, self.run.model
        self.parameters = dict(model.named_parameters())
        self.frozen = {name for name, p in self.parameters.items() if not p.requires_grad}
        self.initial = {name: self.engine.array(p).copy() for name, p in self.parameters.items()}
        self.weights = {name: self.engine.array(weight).copy() for name, _, module in self.engine.modules(model)
                        if (weight := self.engine.weight(module)) is not None}
        self.output = self.output_error = None
        self.attached, self.strangers, self.nan, self.rates, self.form = True, 0, None, [], ()
        self.learned = math.nan
        probe, unseen = run.batches.train[:PROBED], run.batches.unseen[:PROBED]
        self.start = run.judged(probe)
        self.unseen_start = run.judged(unseen) if unseen else math.nan
        self.accuracy = [outputs.accuracy(run, probe)]
        self.engine.seed(seed)
        self.end = self.unseen = math.nan
        self._train()
        if not self.completed:
            self.end = self.unseen = self.learned = math.nan
        elif self.steps == steps:                       # else it was judged when it had learned enough
            self._judge()
        self.accuracy.append(outputs.accuracy(run, probe) if self.completed else math.nan)

    def _judge(self):
        """What the net costs now, and the share of the cost that it has removed."""
        batches = self.run.batches
        self.end = self.run.judged(batches.train[:PROBED])
        self.unseen = self.run.judged(batches.unseen[:PROBED]) if batches.unseen else math.nan
        self.learned = self._share(self.end) if math.isfinite(self.end) else math.nan

    def _has_enough(self, step):
        """Has a large net learned so much by some steps that more of them would say nothing else?"""
        if self.before or not self.large or step not in (self.steps // 8, self.steps // 4, self.steps // 2):
            return False
        self._judge()
        return self.trains and min(self.learned, self.gained) >= self.cuts["quick"]

    def _train(self):
        run, steps = self.run, self.steps
        watching = Watch(run.model, every=steps + 1, full_every=None if self.before else steps or None)
        if self.before:
            watching.all = watching.columns = staged((*CHEAP, "x_square"))
        self.record, self.completed = watching.record, False
        for step in range(steps + 1):
            if self._has_enough(step):
                self.steps = steps = watching.full_every = step
            first, last = step == 0, step == steps
            batch = run.batch(0 if last else step)
            if first or last:
                watching.begin_at(step)
            with watching if first or (last and not self.before) else contextlib.nullcontext():
                run.optimizer.zero_grad()
                output, loss = run.loss(batch)
                self.losses.append(loss.item())
                if first:
                    self._look(output, loss, watching.made)
                if not self.attached or step and not math.isfinite(self.losses[-1]):
                    return
                loss.backward()
                if not self.nan and math.isfinite(self.losses[-1]):
                    self._find_nan(step, batch)
                self.rates.append(run.groups[0]["lr"] if run.groups else math.nan)
                if last:
                    break
                run.step(batch)
        self.completed = math.isfinite(self.losses[-1])

    def _look(self, output, loss, made):
        """What the first output is, and what a constant in its place costs; ``made`` as ``outputs.tail`` takes it."""
        tensor = self.engine.first_tensor(output)
        self.attached = bool(loss.requires_grad)
        if tensor is not None:
            self.output = self.engine.array(tensor).copy()
            if tensor.requires_grad:
                tensor.register_hook(self._keep_output_error)
        self.strangers = self.engine.strangers(loss, self.run.model, self.run.cost)
        self.form = outputs.tail(self.engine, tensor, made) if tensor is not None else ()
        if self.before and self.before.form == self.form and not (self.change and self.change.judges):
            self.constant = self.before.constant
        else:
            self.constant = outputs.constant_cost(self.run, output, self.form, self.start)

    def _keep_output_error(self, g):
        self.output_error = self.engine.array(g).copy()

    def _find_nan(self, step, batch):
        bad = [name for name, p in self.run.model.named_parameters() if p.grad is not None
               and not np.isfinite(self.engine.array(p.grad).sum(dtype=np.float64))]
        bad = [name for name in bad if np.isnan(self.engine.array(self.parameters[name].grad)).any()] if bad else bad
        if bad:
            self.nan = step, bad, self.engine.blame(self.run.loss(batch)[1])

    @property
    def tail(self):
        """The names of the operations between the last layer and the output; () also where they are not known."""
        return tuple(operation.name for operation in self.form or ())

    # ----- what was learned --------------------------------------------------------------------------------------

    def _share(self, cost):
        return (self.constant - cost) / max(abs(self.constant), 1e-12)

    @property
    def elsewhere(self):
        """What is learned of rows that no step has seen; nan where there are none."""
        return self._share(self.unseen)

    @property
    def trains(self):
        """Does it learn all of these rows, or some of them and what holds for others, too?"""
        return bool(self.learned >= HEART or self.learned >= self.cuts["learned"]) and not (
            self.elsewhere < self.cuts["elsewhere"] and not self.by_heart)

    @property
    def by_heart(self):
        """Does it learn these rows, and nothing that holds for others?"""
        return self.learned >= HEART and self.elsewhere <= 0

    @property
    def trains_all(self):
        """Does it learn all of its rows, given time?"""
        return self.learned >= HEART or self.completed and self.longer.learned >= HEART

    @property
    def large(self):
        """Is a pass through the net so long that a training of it takes minutes?"""
        work = sum(math.prod(layer.shape[1:]) * layer.units for layer in self.record.layers)
        return work * len(self.origin.batch(0)) > LARGE

    @property
    def gained(self):
        """The share of the cost removed, of unseen rows where there are any; -inf where training broke."""
        share = self.learned if math.isnan(self.elsewhere) else min(self.elsewhere, max(self.learned, 0.0))
        return share if math.isfinite(share) else -math.inf

    @property
    def falling(self):
        """Is the net better than it was, on the rows that it has seen and on others, though not yet good?"""
        if not self.end < self.start:
            return False
        return not self.origin.batches.unseen or self.unseen < self.unseen_start

    @functools.cached_property
    def longer(self):
        """The same training with more steps, from the start."""
        return Course(self.origin, PATIENCE * self.steps, self.seed, before=self, change=self.change)

    def after(self, *changes):
        """The course of a copy that the lines of ``changes`` have changed, made once; None where that fails."""
        key = tuple(line for change in changes for line in change.lines)
        if key not in self.others:
            course = None
            with ignored(*FAILURES):
                course = Course(self.origin, self.steps, self.seed, before=self, change=join_changes(changes))
            self.others[key] = course
        return self.others[key]

    # ----- what else a rule may ask ------------------------------------------------------------------------------

    @functools.cached_property
    def expected(self):
        with ignored(Error):
            return self.record.expected()

    @functools.cached_property
    def left_out(self):
        """Names of parameters that want a gradient and that the optimizer does not hold."""
        held = {id(p) for group in self.origin.groups for p in group["params"]}
        return [name for name, p in self.origin.model.named_parameters() if p.requires_grad and id(p) not in held]

    @functools.cached_property
    def frozen_modules(self):
        return {name for name, _, module in self.engine.modules(self.origin.model)
                if (weight := self.engine.weight(module)) is not None and not weight.requires_grad}

    @functools.cached_property
    def sums(self):
        """Does the cost grow with the number of rows?"""
        run, batch = self.run_at_start(), self.origin.batch(0)
        half = run.rows(batch, np.arange(max(len(batch) // 2, 1)))
        with ignored(*FAILURES), self.engine.framework.no_grad():
            run.model.eval()
            return run.loss(batch)[1].item() > 1.5 * run.loss(half)[1].item() > 0
        return False

    @functools.cached_property
    def through_time(self):
        """{recurrent module: the norm of the error at its input, step by step} of the first pass."""
        run, found, handles = self.run_at_start(), {}, []
        for name, kind, module in self.engine.modules(run.model):
            if kind in RECURRENT:
                def start(module, args, name=name):
                    x = self.engine.parameter(self.engine.array(args[0]), args[0])
                    found[name] = x, 1 if module.batch_first else 0
                    return x, *args[1:]
                handles.append(module.register_forward_pre_hook(start))
        with ignored(*FAILURES):
            if handles:
                run.loss(run.batch(0))[1].backward()
        grads = {name: (self.engine.array(x.grad), axis) for name, (x, axis) in found.items() if x.grad is not None}
        return {name: np.sqrt(np.square(np.moveaxis(g.astype(np.float64), axis, 0)).reshape(g.shape[axis], -1).sum(1))
                for name, (g, axis) in grads.items() if g.ndim == 3}

    @functools.cached_property
    def decrease(self):
        return _decrease(self.origin, self.seed)

    @functools.cached_property
    def slips(self):
        """``functions.Slip`` of each wrong derivative that the caller wrote and the net calls."""
        return functions.slips(self.run_at_start())

    @functools.cached_property
    def reach(self):
        """``outputs.Reach`` of the cost, or None."""
        with ignored(*FAILURES):
            return outputs.reach(self.run_at_start(), self.form)

    @property
    def endless(self):
        """Does the cost fall for ever, whatever the net gives? Then shares of it say nothing."""
        return (self.before is None or self.before.endless) and bool(self.reach and self.reach.endless)

    def run_at_start(self):
        """A fresh copy of the run that this course has trained, changed as that was."""
        run = self.origin.copy()
        if self.change:
            run.change(self.change.lines, self.change.judges)
        return run

    def moved(self):
        """{name: by how much a parameter has changed, over its size}."""
        return {name: float(metrics.norm(self.engine.array(p) - self.initial[name])
                            / (metrics.norm(self.initial[name]) or 1.0))
                for name, p in self.parameters.items() if self.initial[name].shape == tuple(p.shape)}

    def matters(self, name):
        """Does the cost change with the weights of a layer?"""
        twin = self.origin.copy()
        modules = {n: m for n, _, m in self.engine.modules(twin.model)}
        weight = self.engine.weight(modules[name.partition("[")[0]])
        costs = []
        for _ in range(2):
            self.engine.seed(self.seed)
            with self.engine.framework.no_grad():
                costs.append(twin.loss(twin.batch(0))[1].item())
            self.engine.set_weight(weight, self.engine.array(weight) * 1.5 + 0.1)
        return costs[0] != costs[1]

    def decades(self):
        """Powers of ten by which the error shrinks from the last layer to the first, and the signal the other way."""
        return lost(self.errors()[::-1]), lost(np.sqrt(self.record.first["signal"][:-1]))

    def errors(self):
        """The total norm of each layer's error: per unit times the root of the number of units."""
        return self.record.total()

    def blocks(self):
        """Of each branch that is added to a stream, by its last layer: the total norms of the error that goes past it
        in the stream, which is that of its result, and of the error that arrives at its first layer."""
        ends = [k for k, layer in enumerate(self.record.layers) if layer.branch]
        starts, errors = [0, *(k + 1 for k in ends)], self.errors()
        return [{"block": self.record.layers[end].name, "stream": errors[end], "branch": errors[start]}
                for start, end in zip(starts, ends)]

    def row(self, k):
        """The numbers of layer k, by name."""
        first, latest, layer = self.record.first, self.record.latest, self.record.layers[k]
        parts, expected = self.record.attribution(), self.expected
        ended = self.record.latest_step > 0
        return {"layer": layer.name, "kind": layer.kind, "shape": list(layer.shape),
                "activation": layer.activation and layer.activation.name,
                "error": first["error"][k], "total_error": self.errors()[k], "gain": parts.gain[k],
                "by_weights": parts.weights[k],
                "by_slope": parts.slope[k], "expected_gain": expected.gain[k] if expected else math.nan,
                "q": first["q"][k], "expected_q": expected.q[k] if expected else math.nan,
                **{name: first[name][k] for name in ("signal", "cosine", "saturated", "dead", "grad", "bits")},
                "update": first["update"][k] if len(self.losses) > 1 else math.nan,
                "error_after_training": latest["error"][k] if ended else math.nan,
                "dead_after_training": latest["dead"][k] if ended else math.nan}


def lost(profile):
    """log10 of the first over the last that are numbers."""
    profile = profile[np.isfinite(profile)]
    with np.errstate(divide="ignore", invalid="ignore"):
        return float(np.log10(profile[0]) - np.log10(profile[-1])) if len(profile) > 1 else 0.0


def join_changes(changes):
    """Several changes as one."""
    if len(changes) == 1:
        return changes[0]
    return changes[0]._replace(words=", ".join(change.words for change in changes),
                               lines=[line for change in changes for line in change.lines],
                               judges=any(change.judges for change in changes),
                               factor=math.prod(change.factor for change in changes))


def _decrease(run, seed):
    """M19 of a copy: by how much a step that should lower the cost by 1/1000 lowers it, over that; None if unclear.

    If that is far from 1, of a step a hundred times shorter: the gradient may turn within the first.
    """
    engine = run.engine

    def cost(step=0.0, grads=()):
        engine.seed(seed)
        twin = run.copy()
        for p, g in zip(engine.parameters(twin.model), grads):
            if g is not None:
                engine.set_weight(p, engine.array(p) - g * step)
        loss = twin.loss(twin.batch(0))[1]
        loss.backward()
        return loss.item(), [None if p.grad is None else engine.array(p.grad)
                             for p in engine.parameters(twin.model)]

    start, grads = cost()
    arrays = [g for g in grads if g is not None]
    square = sum(metrics.norm(g) ** 2 for g in arrays)
    if not square or not start or not math.isfinite(square):
        return None
    for share in (1e-3, 1e-5):
        lr = share * abs(start) / square
        ratio = metrics.decrease_ratio(start, cost(lr, grads)[0], lr, arrays)
        if 0.5 < ratio < 1.5:
            break
    return ratio
