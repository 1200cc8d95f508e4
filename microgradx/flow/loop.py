"""Watching a loop of training that somebody else runs: ``flow.watch(model, optimizer)``.

Everything hangs on hooks that torch and this library offer for it: before and after each ``optimizer.step()``, at one
parameter, to see each backward pass arrive, and, in the steps that are measured, at the layers. Between those nothing
is attached to the layers, so that a step costs what it costs without. Whatever fails in here is said in the report and
never raised into the loop.
"""
import contextlib
import functools
import math
from dataclasses import dataclass

import numpy as np

from microgradx.errors import DTypeError, OptionError, ignored, is_of_a_signal
from microgradx.flow import metrics
from microgradx.flow.loop_report import LoopDiagnosis
from microgradx.flow.loop_rules import advice, finding, learned
from microgradx.flow.records import CHEAP
from microgradx.flow.watch import EVERY, Watch, staged

__all__ = ["Loop", "Step", "watch"]

STEPS = 128                     # of so many steps one is measured
WEIGHTS = 16                    # of so many steps one is measured at the weights, however often the layers are
LOOK, LOOKS = 16, 64            # of so many steps, after so many, one is looked at: its loss, its rate, old gradients
FULL = ("error", "error_after", "mean_error", "q", "mean", "signal", "cosine", "weight_square", "slope_square",
        "saturated", "stuck", "dead", "dormant", "offset", "zeros", "subnormal", "bits", "x_square", "x_cosine")
POWERS = frozenset([0, *(4**k for k in range(16))])     # times ``every``, after which layers are measured in full
CORNER = 64                     # units and inputs of a layer by which equal units are recognised


def watch(model, optimizer=None, *, metrics=CHEAP, every=None, full_every=None, reduction="mean", keep=1024):
    """A context in which the training passes of ``model`` are measured; it gives their ``Record``. With the
    ``optimizer`` of your loop it gives a ``loop.Loop``, which sees its steps, too: ask it with ``run.diagnose()``.

    ``metrics``: the columns measured in every ``every``-th pass, names of ``records.COLUMNS``; all of them are
    measured in the first pass and in every ``full_every``-th. With the defaults an eager step of 784-128-10 with 64
    samples takes 9 % longer, with ``every=1`` 1.4 times as long. ``reduction`` is the cost's: with "mean"
    errors are those of one sample's cost, B times what arrives. ``keep``: the most passes that the record keeps.

    ``every`` is 16 passes where it is not given. With an optimizer it counts steps, is 128, and steps 1, 2, 4, 8 ...
    below it are measured, too; in ever later ones the columns ``loop.FULL``, in place of ``full_every``.

    A pass is one forward and backward; passes without gradients are not seen. Activations that are no modules are
    recognised by their numbers. Modules that the first pass did not run are not layers of the record.

    Raises ``DTypeError`` for what is no Module and no Optimizer, ``OptionError`` for arguments out of range and models
    without weights.

    >>> import numpy as np
    >>> from microgradx import Tensor, flow, nn
    >>> net = nn.Sequential(nn.Linear(4, 8, rng=0), nn.Sigmoid(), nn.Linear(8, 2, rng=1))
    >>> with flow.watch(net) as record:
    ...     net(Tensor(np.ones((3, 4), np.float32))).square().mean().backward()
    >>> [str(layer) for layer in record.layers], record["error"].shape
    (['0 Linear[8, 4] sigmoid', '2 Linear[2, 8] linear'], (1, 2))
    """
    if optimizer is None:
        return Watch(model, metrics, EVERY if every is None else every, full_every, reduction, keep)
    return Loop(model, optimizer, metrics, every, full_every, reduction, keep)


@dataclass
class Step:
    """A step that was measured. ``loss``: None where it was not seen. Arrays of (parameters,): norms of ``gradients``
    as the optimizer found them, 0 where there was none, which ``there`` tells; of ``weights`` before it; of
    ``updates``, what it added. Of one parameter, ``clipped``: by what its gradient was multiplied between backward pass
    and step, and ``largest``: the largest number of what was left; nan if that was not seen."""
    step: int
    loss: float | None
    rate: float
    there: np.ndarray
    gradients: np.ndarray
    weights: np.ndarray
    updates: np.ndarray
    largest: float
    clipped: float

    @property
    def total(self):
        """The norm of all gradients as one vector."""
        return float(np.linalg.norm(self.gradients))


class Layers(Watch):
    """The hooks at the layers of one measured step, of which the first pass counts. What fails ends them."""

    def __init__(self, loop, *options):
        self.loop, self.seen, self.samples = loop, False, 2
        super().__init__(loop.model, *options)
        self.all = staged((*FULL, *options[0]))

    def _modules(self):
        hidden = set()
        for name, kind, module in self.engine.modules(self.model):
            if id(module) in hidden:
                continue
            why = self.engine.closed(module)
            if why:
                hidden.update(id(inner) for inner in module.modules())
                self.loop.note_unseen(f"what happens inside {name}, which is {why}")
            else:
                yield name, kind, module

    def __enter__(self):
        if any(self.engine.weight(module) is not None for _, _, module in self._modules()):
            super().__enter__()

    def begin_at(self, step, full=False):
        self.full_every, self.seen = max(step, 1) if full else None, False
        super().begin_at(step)

    def _begin(self):
        super()._begin()
        self.measured = self.measured and not self.seen

    def _finish(self):
        self.seen = self.seen or bool(self.values)
        super()._finish()

    def _see_layer(self, module, args, output):
        if self.engine.recomputing():
            self.loop.note_unseen(f"{self.names[id(module)]} and others as they are run again for the backward pass "
                                  "(checkpoints)")
        elif not self.engine.recording():
            super()._see_layer(module, args, output)
            if self.traces:
                self.samples = max(self.samples, self.traces[-1].samples)

    def _see_end(self, module, args, output):
        if not self.engine.recomputing() and not self.engine.recording():
            super()._see_end(module, args, output)


def _guarded(name):
    method = getattr(Layers, name)

    @functools.wraps(method)
    def guarded(self, *args):
        if self.loop.blind:
            return
        try:
            method(self, *args)
        except Exception as error:
            if is_of_a_signal(error):
                raise
            self.loop.turn_blind(error)
    return guarded


for _name in ("_finish", "_see_layer", "_see_other", "_see_end", "_at_error", "_at_activation", "_at_gradient"):
    setattr(Layers, _name, _guarded(_name))


class Loop:
    """The context of ``watch(model, optimizer)``, and what it has seen.

    ``steps``: how many the optimizer has made. ``record``: the ``Record`` of the layers. ``rows``: the measured steps,
    ``Step``s, of which at most ``keep`` are kept; ``losses``: of the ``looks`` steps that were
    looked at, all of the first 64 and every sixteenth, as many. ``names``: of the parameters in
    the arrays of a ``Step``. ``unseen``: what could not be looked at.

    >>> import microgradx as mgx
    >>> from microgradx import flow, nn, optim
    >>> x, y = mgx.data.digits()
    >>> net = nn.Sequential(nn.Linear(64, 30, rng=0), nn.ReLU(), nn.Linear(30, 10, rng=1))
    >>> optimizer = optim.Adam(net.parameters(), lr=0.01)
    >>> with flow.watch(net, optimizer) as run:
    ...     for step in range(30):
    ...         loss = run.loss(nn.functional.cross_entropy(net(mgx.Tensor(x[:256])), y[:256]))
    ...         loss.backward()
    ...         optimizer.step()
    >>> run.diagnose().verdict                              # zero_grad is missing
    'gradients accumulate'
    """

    def __init__(self, model, optimizer, metrics=CHEAP, every=None, full_every=None, reduction="mean", keep=1024):
        every = STEPS if every is None else every
        self.model, self.blind, self.unseen = model, False, []
        self.layers = Layers(self, metrics, every, full_every, reduction, keep)
        self.engine, self.record, self.every = self.layers.engine, self.layers.record, every
        optimizer = optimizer if not hasattr(optimizer, "__dict__") else self.engine.innermost(optimizer)
        if isinstance(optimizer, tuple | list | str):
            raise DTypeError(f"watch: the second argument is the loop's optimizer, not {optimizer!r:.60}; give metrics "
                             "by keyword, metrics=(...)")
        if not self.engine.is_optimizer(optimizer) and not hasattr(optimizer, "param_groups"):
            raise DTypeError(f"watch: optimizer is an Optimizer of {self.engine.name}, not {type(optimizer).__name__}")
        if full_every is not None:
            raise OptionError("watch: full_every is for passes alone; with an optimizer give every")
        parameters = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
        if not parameters:
            raise OptionError(f"watch: {type(model).__name__} has no parameter that requires a gradient; there is "
                              "nothing to watch")
        self.optimizer, self.keep = optimizer, keep
        self.names, self.parameters = [name for name, _ in parameters], [p for _, p in parameters]
        self.modal = [name for name, _, module in self.engine.modules(model) if has_modes(module)]
        self.handles, self.listeners = [], []
        self.steps = self.passes = self.steps_not_cleared = self.steps_checked = self.count = 0
        self.eval_steps = self.train_evaluations = self.ended = self.looks = 0
        self.looked_at = -1
        self.rows, self.row_stride, self.losses, self.loss_stride, self.last_loss = [], 1, [], 1, None
        self.rate = self.peak = self.decayed = 0.0
        self.strangers, self.corners, self.sentinel, self.alarmed, self.latest = None, {}, None, False, None

    # ----- the context -------------------------------------------------------------------------------------------

    def __enter__(self):
        if self.handles:
            raise OptionError("watch: it is on already")
        with self._guard("the optimizer's steps"):
            if self.engine.is_optimizer(self.optimizer):
                self.handles.append(self.engine.hook_step(self.optimizer, self.before_step, self.after_step))
        with self._guard("gradients as they arrive"):
            self.arrows = [p.register_hook(functools.partial(self._arrived, k)) for k, p in enumerate(self.parameters)]
            self.handles += self.arrows
        if self.modal and not self.engine.closed(self.model):
            with self._guard("in which mode the model runs"):
                self.handles.append(self.engine.hook_forward(self.model, self._see_mode))
        for name, _, module in self.layers._modules():
            with self._guard(f"the weights of {name}"):
                weight = self.engine.weight(module)
                if weight is not None and weight.ndim > 1:
                    self.corners[name] = self.engine.array(weight[:CORNER, :CORNER]).copy()
        self._start()
        return self

    def __exit__(self, *exc):
        try:
            with self._guard("the last step"):
                self.layers.__exit__()
        finally:
            handles, self.handles = self.handles, []
            for handle in handles:
                with ignored(Exception):
                    handle.remove()

    @contextlib.contextmanager
    def _guard(self, what):
        """What fails within it is said in the report."""
        try:
            yield
        except Exception as error:
            if is_of_a_signal(error):
                raise
            self.note_unseen(f"{what}: {type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}")

    def note_unseen(self, what):
        """Say in the report that something was not looked at."""
        if what not in self.unseen and len(self.unseen) < 16:
            self.unseen.append(what)

    def turn_blind(self, error):
        """Look at layers no more, because that has failed."""
        self.blind = True
        self.note_unseen(f"layers from step {self.steps} on: {type(error).__name__}: {str(error).splitlines()[0]}")

    def on_measure(self, function):
        """Call ``function(run)`` after each measured step, for a live view; returns ``function``."""
        self.listeners.append(function)
        return function

    # ----- a step begins -----------------------------------------------------------------------------------------

    def _start(self):
        """Get ready for what comes before the next step."""
        step, every = self.steps, self.every
        self.measured = is_due(step, max(every, WEIGHTS))
        self.looking = self.measured or step < LOOKS or step % LOOK == 0
        if self.blind or not is_due(step, every):
            if self.layers.handles:
                self.layers._remove_hooks()
        else:
            with self._guard("layers"):
                if not self.layers.handles:
                    self.layers.__enter__()
                self.layers.begin_at(step, not step % every and step // every in POWERS)
        if not self.looking:
            return
        self.arrivals, self.clear, self.raw = 0, False, None
        self.seen_loss, self.given_loss = [], None
        self.copied = self.gradients = None

    def _see_mode(self, module, args, output):
        if module.training and not self.engine.recomputing() and not self.engine.framework.is_grad_enabled():
            self.train_evaluations += 1

    def _arrived(self, k, g):
        """A gradient is about to be added to that of parameter k."""
        if not self.looking or self.engine.recording():
            return
        if self.sentinel is None:
            self.sentinel = k
        if k != self.sentinel:
            return
        with self._guard("gradients as they arrive"):
            held = self.parameters[k].grad
            self.arrivals += 1
            self.clear = self.clear or held is None or not self.engine.array(held).any()
            if self.given_loss is None:
                self._look_at_root()
            if self.measured:
                self.raw = self.engine.array(g) + (0 if self.raw is None else self.raw)

    def _look_at_root(self):
        for root in self.engine.roots()[:1]:
            if self.strangers is None:
                self.strangers = self.engine.strangers(root, self.model)
            if math.prod(root.shape) == 1 and (self.measured or root.device.type == "cpu"):
                self._note_loss(float(root.detach()))

    def _note_loss(self, value):
        self.seen_loss.append(value)
        if not math.isfinite(value) and not self.alarmed:
            self.alarmed = self.measured = True

    def loss(self, value):
        """Tell it the loss of the step that is under way, a tensor or a number, where it cannot see it itself; returns
        ``value``."""
        if not self.looking:
            return value
        with self._guard("the loss that was given"):
            number = value.item() if hasattr(value, "item") else float(value)
            self.given_loss = float(number)
            if self.strangers is None and self.engine.is_tensor(value) and value.requires_grad:
                self.strangers = self.engine.strangers(value, self.model)
            if not math.isfinite(self.given_loss) and not self.alarmed:
                self.alarmed = self.measured = True
        return value

    def before_step(self, closure=False):
        """What is seen right before a step; where a ``closure`` computes the gradients within it, they are seen after
        it. A training library without hooks calls this and ``after_step``."""
        if not self.looking:
            return
        with self._guard("what is there before a step"):
            if self.engine.recording():
                self.note_unseen("steps of a captured program, which run without Python")
            elif self.measured:
                self.copied = self.engine.copies(self.parameters)
                if not closure:
                    self.gradients = self._gradients()

    def after_step(self):
        """What is seen right after a step; a new one begins."""
        if self.layers.handles:
            self.layers._finish()
        if not self.looking:
            self.steps += 1
            self._start()
            return
        if self.engine.recording():
            return
        with self._guard("what is there after a step"):
            self._count()
            if self.measured and self.copied is not None:
                self._measure()
        measured, self.steps = self.measured, self.steps + 1
        self._start()
        if measured:
            for listener in self.listeners:
                with self._guard(f"a view ({getattr(listener, '__name__', type(listener).__name__)})"):
                    listener(self)

    def _gradients(self):
        """(where there is one (P,), their norms (P,))."""
        grads = [p.grad for p in self.parameters]
        there, norms = np.array([g is not None for g in grads]), np.zeros(len(grads))
        grads = [g for g in grads if g is not None]
        norms[there] = self.engine.norms(grads)
        return there, norms

    def _count(self):
        """What every step that is looked at is asked for."""
        groups = self.optimizer.param_groups
        self.rate = max((float(group["lr"]) for group in groups if "lr" in group), default=math.nan)
        if self.rate > self.peak:
            self.peak, self.ended = self.rate, 0
        self.ended += self.rate <= 1e-3 * self.peak
        self.decayed += max(map(_decay, groups), default=0.0) * (self.steps - self.looked_at)
        self.looked_at, self.looks = self.steps, self.looks + 1
        self.eval_steps += bool(self.modal) and not self.model.training
        self.passes += self.arrivals
        if self.arrivals and self.looks > 1:
            self.steps_checked += 1
            self.steps_not_cleared += not self.clear
        seen = [self.given_loss] if self.given_loss is not None else self.seen_loss
        self.last_loss = sum(seen) / len(seen) if seen else None
        self.loss_stride = self._keep(self.losses, self.last_loss, self.loss_stride, self.looks - 1)

    def _keep(self, series, item, stride, number):
        """Add to a series that is thinned evenly; the stride that is due."""
        if number % stride == 0:
            series.append(item)
            if len(series) > self.keep:
                del series[1::2]
                return 2 * stride
        return stride

    def _measure(self):
        there, gradients = self.gradients or self._gradients()
        updates = np.array(self.engine.norms(self.engine.differences(self.parameters, self.copied)))
        weights, largest, clipped = np.array(self.engine.norms(self.copied)), math.nan, math.nan
        if self.raw is not None and self.raw.any():
            clipped = gradients[self.sentinel] / metrics.norm(self.raw)
            if there[self.sentinel]:
                largest = float(np.abs(self.engine.array(self.parameters[self.sentinel].grad)).max())
        for handle in self.arrows if self.sentinel is not None and len(self.arrows) > 1 else ():
            if handle is not self.arrows[self.sentinel]:
                handle.remove()                         # one of them tells of every pass
        self.latest = Step(self.steps, self.last_loss, self.rate, there, gradients, weights, updates, largest,
                           float(clipped))
        self.row_stride = self._keep(self.rows, self.latest, self.row_stride, self.count)
        self.count += 1

    # ----- what it says ------------------------------------------------------------------------------------------

    @property
    def held(self):
        """Which parameters the optimizer holds: (P,)."""
        held = {id(p) for group in self.optimizer.param_groups for p in group["params"]}
        return np.array([id(p) in held for p in self.parameters])

    def status(self):
        """One line about the latest measured step."""
        last = self.latest
        if last is None:
            return f"{type(self.model).__name__}: no step was seen yet"
        parts = [f"step {last.step}"]
        if self.last_loss is not None:
            first = next(x for x in self.losses if x is not None)
            parts.append(f"loss {self.last_loss:.3g} ({first:.3g} at first)")
        with np.errstate(all="ignore"):
            share = np.linalg.norm(last.updates) / np.linalg.norm(last.weights)
        parts += [f"gradient {last.total:.2g}", f"rate {last.rate:.2g}",
                  f"update {share:.1g}"]
        if self.record.layers and len(self.record.steps):
            error = self.record["error"][-1]
            if np.isfinite(error).any():
                k = int(np.nanargmin(error))
                parts.append(f"least error {error[k]:.1g} at {self.record.layers[k].name}")
        return ", ".join(parts)

    def diagnose(self):
        """A ``LoopDiagnosis`` of what was seen so far. It can be asked within the loop and after it."""
        found = finding(self)
        settings = {"model": type(self.model).__name__, "library": self.engine.name,
                    "parameters": sum(math.prod(p.shape) for p in self.model.parameters()),
                    "optimizer": type(self.optimizer).__name__, "rate": self.rate, "steps": self.steps,
                    "measured": len(self.rows)}
        place = found.place if found.place is None or isinstance(found.place, str) else \
            self.record.layers[found.place].name
        return LoopDiagnosis.of(found, place, advice=advice(found), layers=self._layer_rows(), settings=settings,
                                parameters=self._parameter_rows(), notes=list(self._notes()),
                                unseen=list(self.unseen), losses=self.losses[::-(-len(self.losses) // 64) or 1])

    def _layer_rows(self):
        first = self.record.first
        if first is None:
            return []
        gain, later = self.record.attribution().gain, self.record["error"]
        return [{"name": f"{layer.name} {layer.kind}", "error": first["error"][k],
                 "error_later": later[-1][k] if len(later) > 1 else math.nan, "gain": gain[k],
                 **{name: first[name][k] for name in ("signal", "saturated", "dead")}}
                for k, layer in enumerate(self.record.layers)]

    def _parameter_rows(self):
        if not self.rows:
            return []
        with np.errstate(all="ignore"):
            share = np.array([row.updates / row.weights for row in self.rows])
            columns = (np.median([row.gradients for row in self.rows], axis=0), self.rows[-1].weights,
                       np.median(share, axis=0))
        return [{"name": name, "gradient": g, "weight": w, "update": u} for name, g, w, u in zip(self.names, *columns)]

    def _notes(self):
        if self.steps and all(x is None for x in self.losses):
            yield "the loss was not seen: tell it with run.loss(loss)"
        for name, held, there in zip(self.names, self.held, np.array([row.there for row in self.rows]).T):
            if held and not there.any():
                yield f"{name} never got a gradient"
        frozen = [name for name, p in self.model.named_parameters() if not p.requires_grad]
        if frozen:
            yield f"{len(frozen)} parameters are frozen, {frozen[0]} the first of them"
        if self.steps and self.passes > 1.5 * self.looks:
            yield f"{self.passes / self.looks:.1f} backward passes per step"
        if not math.isnan(share := learned(self)):
            yield f"the loss has fallen by {share:.0%}" if share > 0 else f"the loss has risen by {-share:.0%}"


def is_due(step, every):
    """Is a step measured? Those are many at first."""
    return step % every == 0 or step < every and step & (step - 1) == 0


def has_modes(module):
    """Does a module do something else while training than in evaluation?"""
    kind = type(module).__name__
    if "Dropout" in kind or kind in ("LSTM", "GRU", "RNN", "MultiheadAttention"):
        return float(getattr(module, "p", None) or getattr(module, "dropout", None) or 0) > 0
    return "BatchNorm" in kind and getattr(module, "momentum", None) is not None


def _decay(group):
    """By which share of itself a step of plain gradient descent, in the long run, shrinks a weight."""
    numbers = {name: float(group.get(name) or 0) for name in ("lr", "weight_decay", "momentum")}
    return numbers["lr"] * numbers["weight_decay"] / (1 - min(numbers["momentum"], 0.999))
