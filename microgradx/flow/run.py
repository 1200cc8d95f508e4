"""What is trained: a model, its cost, its optimizer and schedule, and minibatches that every trial repeats.

Nothing here knows of a library: the ``Engine`` of the model does. ``run_of`` takes what a caller gave and looks at each
part of it; ``Run.copy`` shares nothing that training changes.
"""
import functools
import inspect
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from microgradx.errors import (
    DTypeError,
    Error,
    GraphError,
    NonFiniteError,
    OptionError,
    ShapeError,
    ignored,
    is_of_a_signal,
)
from microgradx.flow.engines import Engine, engine_of
from microgradx.flow.functions import Functions
from microgradx.flow.settings import FAILURES

__all__ = ["ROWS", "Batch", "Batches", "Run", "check_caller", "run_of"]

ROWS = 128                      # fewer rows, of which a quarter is held out, cannot tell what holds for others
HELD_OUT = 4                    # of so many rows, or minibatches, one is not trained on
RATE = 0.1                      # of plain gradient descent, where no optimizer is given


@dataclass
class Batch:
    """``x``: the arguments of the model; ``y``: the target of the cost."""
    x: tuple
    y: Any

    def __len__(self):
        return int(self.x[0].shape[0])


@dataclass
class Batches:
    """Drawn once. ``train``: step t takes the t-th, and after the last the first again; ``unseen``: what no step takes,
    empty where the rows are few."""
    train: list
    unseen: list

    @property
    def rows(self):
        return sum(map(len, self.train)) + sum(map(len, self.unseen))


@dataclass
class Run:
    """What is trained, and how. ``judge(output, y)``: the caller's cost, by which runs are compared. ``hooks``: are
    those of modules part of what is computed, so that copies have them? ``functions``: the caller's derivatives, which
    lines may change and every copy finds as they were."""
    op: str
    engine: Engine
    model: Any
    cost: Callable
    judge: Callable
    optimizer: Any
    schedule: Any
    functions: Functions
    batches: Batches | None = None
    hooks: bool = True

    def draw(self, data, steps):
        """Draw the minibatches of so many steps from a pair or a loader, once and for all copies."""
        dtype = self.engine.dtype(next(iter(self.model.parameters())))
        self.batches = _batches(self.op, self.engine, data, dtype, steps)
        self.hooks = self.engine.has_hooks(self.model) and self._hooks_matter()

    def _hooks_matter(self):
        """Does the cost of a batch, or a gradient, depend on hooks of modules: on what they give, or on what they note
        for the cost? Those that only take note, and may keep all that they see, are left out of copies."""
        first, other = self.batch(0), self.batch(1)
        if other is first:
            other = self.rows(first, np.arange(max(len(first) // 2, 2)))
        found = []
        for run in (self.copy(), replace(self, hooks=False).copy()):
            try:
                self.engine.seed(0)
                loss = run.loss(first)[1]
                loss.backward()
                found.append([loss.item(), *(None if p.grad is None else self.engine.array(p.grad)
                                             for p in self.engine.parameters(run.model))])
                run.loss(other)                         # what has been noted is of another batch then
            except FAILURES:
                found.append(None)
        with_hooks, without = found
        return with_hooks is not None and (without is None or not all(
            map(functools.partial(np.array_equal, equal_nan=True), *(
                [np.array(np.nan if part is None else part, float) for part in parts] for parts in found))))

    def copy(self):
        """A run of its own."""
        self.functions.put_back()
        model, optimizer, schedule, cost, judge = self.engine.copy(
            self.model, self.optimizer, self.schedule, self.cost, self.judge, hooks=self.hooks)
        return replace(self, model=model.train(), optimizer=optimizer, schedule=schedule, cost=cost, judge=judge)

    def change(self, lines, judges=False):
        """Run lines of code in which the run is ``model``, ``optimizer``, ``loss_fn`` and ``schedule``. ``judges``: the
        new cost is also the one by which runs are compared."""
        names = self.engine.namespace() | {"model": self.model, "optimizer": self.optimizer, "loss_fn": self.cost,
                                           "schedule": self.schedule}
        exec("\n".join(lines), names)
        self.model, self.optimizer, self.cost, self.schedule = (
            names[name] for name in ("model", "optimizer", "loss_fn", "schedule"))
        self.judge = self.cost if judges else self.judge
        self.model.train()

    @property
    def groups(self):
        return self.optimizer.param_groups

    def batch(self, step):
        """The minibatch of a step."""
        return self.batches.train[step % len(self.batches.train)]

    def rows(self, batch, rows):
        """Some rows of a batch."""
        return _rows(batch, rows)

    def loss(self, batch):
        """(the model's output, its cost) on a batch, both with their graph."""
        output = self.model(*batch.x)
        return output, self.scalar(self.cost(output, batch.y))

    def scalar(self, loss):
        if isinstance(loss, tuple | list | dict):
            raise ShapeError(f"{self.op}: loss_fn returned a {type(loss).__name__} of {len(loss)}; give a function "
                             "that returns the loss alone, for instance lambda out, y: loss_fn(out, y)[0]")
        if not self.engine.is_tensor(loss) or math.prod(loss.shape) != 1:
            raise ShapeError(f"{self.op}: loss_fn(output, target) returns a tensor of one element, not "
                             f"{f'shape {tuple(loss.shape)}' if self.engine.is_tensor(loss) else type(loss).__name__}")
        return loss if not loss.ndim else loss.sum()

    def step(self, batch):
        """What one step does after the backward pass."""
        step = self.optimizer.step
        closure = inspect.signature(step).parameters.get("closure")
        if closure is not None and closure.default is inspect.Parameter.empty:
            def again():
                self.optimizer.zero_grad()
                loss = self.loss(batch)[1]
                loss.backward()
                return loss
            step(again)
        else:
            step()
        if self.schedule is not None:
            self.schedule.step()

    def judged(self, batches):
        """The mean cost on some batches, of the model as it is used: in evaluation mode, without a graph. Early in a
        training the running statistics of norms lag behind the weights: with those of the batches, if that is less."""
        lagging = [m for m in self.model.modules() if getattr(m, "running_mean", None) is not None and m.momentum != 0]
        costs = [self._judged(batches, norms) for norms in ([], lagging)[:1 + bool(lagging)]]
        return min((cost for cost in costs if math.isfinite(cost)), default=costs[0])

    def _judged(self, batches, norms):
        """``norms``: modules that take the statistics of the batch, and do not note them."""
        total, rows = 0.0, 0
        with self.engine.framework.no_grad():
            self.model.eval()
            try:
                for m in norms:
                    m.train()
                    m.track_running_stats = False
                with ignored(*FAILURES):
                    for batch in batches:
                        total += self.scalar(self.judge(self.model(*batch.x), batch.y)).item() * len(batch)
                        rows += len(batch)
                    return total / rows
            finally:
                self.model.train()
                for m in norms:
                    m.track_running_stats = True
        return math.nan


# ----- the caller's arguments ----------------------------------------------------------------------------------------

def run_of(model, loss_fn, optimizer=None, schedule=None, op="diagnose"):
    """The caller's arguments as a ``Run`` that has drawn no data yet, after a look at each of them."""
    engine = engine_of(model)
    if engine is None:
        raise DTypeError(f"{op}: a Module of microgradx or torch, not {type(model).__name__}")
    if not callable(loss_fn):
        raise DTypeError(f"{op}: loss_fn is a function of output and target, not {type(loss_fn).__name__}")
    name, why = type(model).__name__, engine.refuse(model)
    if why:
        raise OptionError(f"{op}: {name}: {why}")
    params = list(model.named_parameters())
    if not params:
        raise OptionError(f"{op}: {name} has no parameters; there is nothing to train")
    if not any(p.requires_grad for _, p in params):
        raise OptionError(f"{op}: all {len(params)} parameters of {name} are frozen (requires_grad is False)")
    for parameter, p in params:
        numbers = engine.array(p)
        bad = int((~np.isfinite(numbers)).sum())
        if bad:
            raise NonFiniteError(f"{op}: {bad} of the {numbers.size} numbers of {parameter!r} are inf or nan")
    return Run(op, engine, model, loss_fn, loss_fn, _optimizer(op, engine, optimizer, model), schedule,
               Functions(engine))


def _optimizer(op, engine, optimizer, model):
    own = {id(p) for p in engine.parameters(model)}
    if optimizer is None:
        return engine.framework.optim.SGD([p for p in engine.parameters(model) if p.requires_grad], lr=RATE)
    if not engine.is_optimizer(optimizer):
        raise DTypeError(f"{op}: optimizer is an Optimizer of {engine.name} or None, not {type(optimizer).__name__}"
                         + (f" of {type(optimizer).__module__.partition('.')[0]}" if hasattr(
                             optimizer, "param_groups") else ""))
    if not any(id(p) in own for group in optimizer.param_groups for p in group["params"]):
        raise OptionError(f"{op}: the {type(optimizer).__name__} holds no parameter of {type(model).__name__}")
    return optimizer


def _batches(op, engine, data, dtype, steps):
    """A pair, or a loader of pairs, as ``Batches``."""
    if isinstance(data, dict | str | np.ndarray) or engine.is_tensor(data) or not hasattr(data, "__iter__"):
        raise ShapeError(f"{op}: a batch is a pair (inputs, targets), or a loader of pairs, not {type(data).__name__}")
    pairs = isinstance(data, tuple | list) and len(data) > 0 and all(
        isinstance(part, tuple | list) and len(part) == 2 for part in data)
    if isinstance(data, tuple | list) and not pairs:
        return Batches(*_split([_batch(op, engine, data, dtype)]))
    drawn = _drawn(op, engine, data, dtype, max(steps, 1) * (HELD_OUT + 1) // HELD_OUT + 1)
    if not drawn:
        raise ShapeError(f"{op}: the loader gave no batch; an iterator that was used before gives none")
    if len(drawn) < HELD_OUT:
        return Batches(*_split(drawn))
    return Batches([b for k, b in enumerate(drawn) if k % HELD_OUT != HELD_OUT - 1], drawn[HELD_OUT - 1::HELD_OUT])


def _drawn(op, engine, loader, dtype, most):
    drawn = []
    try:
        for data in loader:
            drawn.append(_batch(op, engine, data, dtype, "the loader is to give"))
            if len(drawn) >= most:
                break
    except Exception as error:
        if isinstance(error, Error) or is_of_a_signal(error):
            raise
        raise OptionError(f"{op}: batch {len(drawn)} of the loader raised {type(error).__name__}: {error}") from error
    return drawn


def _batch(op, engine, data, dtype, what="a batch is"):
    if not isinstance(data, tuple | list) or len(data) != 2:
        said = type(data).__name__ + (f" of {len(data)}" if isinstance(data, tuple | list) else "")
        if isinstance(data, dict) and data:
            said += f" with {', '.join(map(repr, list(data)[:4]))}; make pairs of it: " \
                    f"((batch[{list(data)[0]!r}], batch[{list(data)[-1]!r}]) for batch in loader)"
        raise ShapeError(f"{op}: {what} a pair (inputs, targets), not {said}")
    inputs = data[0] if isinstance(data[0], tuple | list) else (data[0],)
    x = tuple(_input(op, engine, part, dtype) for part in inputs)
    y = data[1]
    if engine.name == "torch" and isinstance(y, np.ndarray | float | int):
        y = engine.tensor(y, dtype)
    return Batch(x, y.detach() if engine.is_tensor(y) else y)


def _input(op, engine, part, dtype):
    if isinstance(part, dict | str) or part is None:
        raise ShapeError(f"{op}: the inputs are a tensor or array, or a tuple of them, not {type(part).__name__}")
    part = engine.tensor(part, None if engine.is_tensor(part) else dtype)
    numbers = engine.array(part)
    if numbers.dtype.kind == "f" and not np.isfinite(numbers).all():
        raise NonFiniteError(f"{op}: the inputs hold inf or nan")
    if not part.ndim or len(part) < 2:
        raise ShapeError(f"{op}: a batch has two rows or more, not shape {tuple(part.shape)}; what vanishes is seen in "
                         "how samples differ")
    return part


def _split(batches):
    """(to train on, unseen): every fourth row of each batch is held out where there are enough of them."""
    fits = all(_length(part) == len(b) for b in batches for part in (*b.x, b.y))
    if not fits or sum(map(len, batches)) < ROWS:
        return batches, []
    rows = [np.arange(len(b)) % HELD_OUT == HELD_OUT - 1 for b in batches]
    return ([_rows(b, np.flatnonzero(~held)) for b, held in zip(batches, rows)],
            [_rows(b, np.flatnonzero(held)) for b, held in zip(batches, rows) if held.any()])


def _length(part):
    with ignored(TypeError):
        return len(part)
    return None


def _rows(batch, rows):
    take = lambda part: part[rows] if not isinstance(part, list) else [part[k] for k in rows]      # noqa: E731
    return Batch(tuple(map(take, batch.x)), take(batch.y))


def check_caller(model, op="diagnose"):
    """The caller's own parameters got no gradient while copies were trained."""
    for name, p in model.named_parameters():
        if p.grad is not None:
            raise GraphError(f"{op}: the cost uses the model itself ({name!r} was given a gradient); write it as a "
                             "function of output and target")
