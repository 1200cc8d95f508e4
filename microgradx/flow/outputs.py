"""What a net gives and its cost takes: the best that a constant output, and any output at all, could cost.

The *tail* of a net is what happens between its last layer and its output: names of operations, such as ("softmax",). It
says which outputs there can be at all, whatever the weights are. It is made of ``Operation``s with their options.
"""
import math
from typing import NamedTuple

import numpy as np

from microgradx.errors import ignored
from microgradx.flow.engines.engine import PASSING, Operation
from microgradx.flow.settings import FAILURES

__all__ = ["Reach", "accuracy", "constant_cost", "ignores_pairing", "reach", "recalled", "tail", "unregistered"]

COLUMNS, LONG = 128, 300        # of inputs of which a straight line is sought, and the steps of that
MOST = 256                      # rows of which a best output is sought
POINTWISE = frozenset("""sigmoid tanh relu relu6 softplus elu selu celu leaky_relu hardtanh hardsigmoid hardswish
softsign hardshrink softshrink threshold logsigmoid gelu silu mish exp abs square clamp clamp_min clamp_max round floor
ceil trunc sign""".split())
FREE = frozenset("linear matmul convolution add sub norm native_layer_norm native_batch_norm leaf".split())
ALONG = ("softmax", "log_softmax")


class Reach(NamedTuple):
    """What a cost can come to. ``constant``: of the best output that is the same for all rows, whatever it is;
    ``least``: of the best outputs of all; ``with_tail``: of the best that the net's tail lets through. ``share``: how
    much of what there is to learn that leaves. ``endless``: even a constant output can lower the cost for ever."""
    constant: float
    least: float
    with_tail: float
    share: float
    endless: bool


def tail(engine, output, made):
    """The ``Operation``s between the last layer and ``output``, in the order in which they happen: () if there are
    none, and None if others than those that are known here may be what bounds the output. ``made``: {id of a node: (the
    node, the module that made it)}, which tells options that the graph does not tell."""
    found, node = [], engine.node(output)
    while node is not None:
        name, below = engine.links(node)
        if name in FREE:
            break
        if name in ALONG:
            found.append(Operation(name))
        elif name not in PASSING:
            operation = engine.operation(node)
            if operation.options is None and id(node) in made:
                operation = engine.operation_of(made[id(node)][1]) or operation
            if operation.name not in POINTWISE or operation.options is None:
                return tuple(reversed(found)) or None
            found.append(operation)
        if len(below) != 1:
            return tuple(reversed(found)) or None
        node = below[0]
    return tuple(reversed(found))


def _through(engine, tensor, operations, axis):
    for operation in operations:
        along = operation.name in ALONG
        tensor = engine.apply(operation._replace(options=(("dim", axis),)) if along else operation, tensor)
    return tensor


def _axis(output):
    """Along which axis numbers, or their exponentials, sum to 1."""
    for values in (output, np.exp(output) if output.max(initial=0) <= 0 else output):
        for axis in (-1, *range(1, output.ndim), 0):
            if np.allclose(values.sum(axis=axis), 1, atol=1e-3):
                return axis
    return -1


def _descent(engine, cost, start, like, steps=100):
    """(the cost, the point) on the way down from ``start``, by signs of the gradient (Riedmiller and Braun 1993)."""
    c, width, before = np.array(start, np.float64), 0.1, np.zeros_like(start, np.float64)
    for _ in range(steps):
        point = engine.parameter(c, like)
        value = cost(point)
        yield value.item(), c
        if not math.isfinite(value.item()) or not value.requires_grad:
            break
        grad, = engine.framework.autograd.grad(value, [point], allow_unused=True)
        if grad is None:
            break
        slope = np.sign(np.nan_to_num(engine.array(grad).astype(np.float64)))
        width = width * np.choose((slope * before + 1).astype(int), (0.5, 1.0, 1.2))
        c, before = c - slope * width, slope


def least_cost(engine, cost, start, like):
    """(the least of a function of a tensor near ``start``, whether it falls for ever)."""
    finite = [value for value, _ in _descent(engine, cost, start, like) if math.isfinite(value)]
    if not finite:
        return math.nan, False
    return min(finite), min(finite) < -100 * (1 + abs(finite[0]))


def straight_line(run, output, form):
    """What a linear map of the inputs costs on rows that it has not seen, found on those that a net is trained on, and
    with what follows the last layer; nan where inputs are no rows of few numbers."""
    engine, (seen, unseen) = run.engine, (run.batches.train, run.batches.unseen)
    with ignored(*FAILURES):
        if form is None or not unseen or output is None or any(len(b.x) > 1 for b in seen):
            return math.nan
        parts = [[engine.array(b.x[0]) for b in batches] for batches in (seen, unseen)]
        x, test = (np.concatenate([p.reshape(len(p), -1) for p in part]) for part in parts)
        if x.dtype.kind != "f" or x.shape[1] > COLUMNS or x.shape[1] > len(x) / 4:
            return math.nan
        mean, deviation = x.mean(axis=0, dtype=np.float64), x.std(axis=0, dtype=np.float64)
        x, test = (np.column_stack([(p - mean) / np.where(deviation > 0, deviation, 1.0), np.ones(len(p))])
                   for p in (x, test))
        shape, axis, dtype = output.shape[1:], _axis(output), str(output.dtype)
        y, y_test = (engine.framework.cat([engine.tensor(b.y) for b in batches]) for batches in (seen, unseen))
        start = np.zeros((x.shape[1], math.prod(shape)))
        if not form and engine.array(y).dtype.kind == "f":
            start[-1] = engine.array(y).mean()

        def cost(rows, of):
            rows = engine.tensor(rows, dtype)
            return lambda point: run.scalar(run.judge(_through(
                engine, (rows @ point).reshape(-1, *shape), form, axis), of))
        like = engine.tensor(output)
        value, best = min(_descent(engine, cost(x, y), start, like, LONG), key=lambda pair: pair[0])
        return cost(test, y_test)(engine.parameter(best, like)).item() if math.isfinite(value) else math.nan
    return math.nan


def _targets(run, output):
    """(shape of an output, targets) of as many training rows as one may look at."""
    batch, engine = run.batches.train[0], run.engine
    if output.shape[0] != len(batch):
        return output.shape, batch.y
    parts, rows = [], 0
    for other in run.batches.train:
        if rows and rows + len(other) > MOST or len(other.x) != len(batch.x):
            break
        parts.append(other.y)
        rows += len(other)
    with ignored(*FAILURES):
        if len(parts) > 1 and all(engine.is_tensor(y) for y in parts):
            return (rows, *output.shape[1:]), engine.framework.cat(parts)
        if len(parts) > 1:
            return (rows, *output.shape[1:]), np.concatenate([np.asarray(y) for y in parts])
        if rows > MOST:
            return (MOST, *output.shape[1:]), batch.y[:MOST]
    return output.shape, batch.y


def _problem(run, output, through):
    """(a function of how the output depends on a point, the shape of outputs)."""
    engine = run.engine
    like = engine.first_tensor(output)
    numbers = np.nan_to_num(engine.array(like).astype(np.float64))
    shape, y = _targets(run, numbers)
    axis, zeros = _axis(numbers), engine.tensor(np.zeros(shape), engine.dtype(like))

    def cost(point, through=through):
        return run.scalar(run.judge(_through(engine, point, through, axis) + zeros, y))
    return cost, shape, numbers, like


def constant_cost(run, output, form, first):
    """The least cost of an output that is the same for all samples; ``first`` where there is none."""
    if not run.engine.is_tensor(output) or output.ndim < 1 or len(output) < 2:
        return first
    costs = [first] if math.isfinite(first) else []
    with ignored(*FAILURES):
        cost, shape, numbers, like = _problem(run, output, form)
        mean, one = numbers.mean(axis=0, keepdims=True), (1, *shape[1:])
        form = _form(numbers) if form is None else form
        start = mean if not form else np.zeros(one)
        if form and form[-1].name in ("sigmoid", "softmax"):
            inside = mean.clip(1e-6, 1 - 1e-6)
            start = np.log(inside / (1 - inside)) if form[-1].name == "sigmoid" else np.log(inside)
        for point in (start, np.full(one, 0.1)):
            with ignored(*FAILURES):
                costs.append(least_cost(run.engine, lambda c: cost(c, form), point, like)[0])
    return min((cost for cost in costs if math.isfinite(cost)), default=first)


def _form(rows):
    """What keeps outputs in the range in which they are, where no tail is known."""
    if rows.ndim < 2 or rows.min() < 0 or rows.max() > 1:
        return (Operation("log_softmax"),) if rows.ndim > 1 and rows.max() <= 0 and np.allclose(
            np.exp(rows).sum(axis=-1), 1, atol=1e-4) else ()
    normed = rows.shape[-1] > 1 and np.allclose(rows.sum(axis=-1), 1, atol=1e-4)
    return (Operation("softmax" if normed else "sigmoid"),)


def reach(run, form):
    """The ``Reach`` of a run whose net ends in a tail; None where outputs are no tensor."""
    engine = run.engine
    with engine.framework.no_grad():
        output = engine.first_tensor(run.model(*run.batch(0).x))
    if output is None or output.ndim < 1 or len(output) < 2:
        return None
    form = form or ()
    cost, shape, _, like = _problem(run, output, form)
    one = np.full((1, *shape[1:]), 0.1)
    free, endless, least = math.nan, False, math.nan
    with ignored(*FAILURES):
        free, endless = least_cost(engine, lambda c: cost(c, ()), one, like)
        least, _ = least_cost(engine, lambda c: cost(c, ()), np.full(shape, 0.1), like)
    if not form:
        return Reach(free, least, least, 1.0, endless)
    bound, with_tail = math.nan, math.nan
    with ignored(*FAILURES):
        bound, endless = least_cost(engine, lambda c: cost(c, form), one, like)
        with_tail, _ = least_cost(engine, lambda c: cost(c, form), np.full(shape, 0.1), like)
    if not math.isfinite(free) or endless:
        free = bound
    least = min((x for x in (least, with_tail) if math.isfinite(x)), default=math.nan)
    room = free - least
    share = (free - with_tail) / room if math.isfinite(room) and room > 1e-9 * (abs(free) + 1e-9) else 1.0
    return Reach(free, least, with_tail, share, endless)


def ignores_pairing(run, output, form):
    """Does the cost stay the same whichever target belongs to whichever row, though it asks for the targets?"""
    batch, engine = run.batch(0), run.engine
    rng = np.random.default_rng(0)
    with ignored(*FAILURES):
        n = output.shape[0]
        if len(batch.y) != n or n < 4:
            return False
        with engine.framework.no_grad():
            y, out = np.asarray(engine.array(batch.y)), rng.normal(size=output.shape)
            out = out * y.std() + y.mean() if y.dtype.kind == "f" and not form else out     # of the targets' size
            point = engine.tensor(out, str(output.dtype))
            form = _form(output.astype(np.float64)) if form is None else form
            out = _through(engine, point, form, _axis(output))
            costs = [run.scalar(run.judge(out, batch.y[rows])).item()
                     for rows in (np.arange(n), rng.permutation(n), np.zeros(n, int))]
        near = 1e-5 * abs(costs[0])
        return abs(costs[0] - costs[1]) <= near < abs(costs[0] - costs[2])
    return False


def accuracy(run, batches):
    """The share of rows whose largest output is at their label; nan where targets are no labels."""
    engine, right, rows = run.engine, 0, 0
    with ignored(*FAILURES), engine.framework.no_grad():
        run.model.eval()
        try:
            for batch in batches:
                labels, output = np.asarray(engine.array(batch.y)), engine.first_tensor(run.model(*batch.x))
                if output.ndim != 2 or labels.dtype.kind not in "iu" or labels.ndim != 1:
                    return math.nan
                right += int((engine.array(output).argmax(axis=1) == labels).sum())
                rows += len(labels)
        finally:
            run.model.train()
    return right / rows if rows else math.nan


def recalled(run, batches, classes):
    """The share of the rows of some classes that are given their class."""
    engine, found, rows = run.engine, 0, 0
    run.model.eval()
    try:
        with engine.framework.no_grad():
            for batch in batches:
                labels = engine.array(batch.y).ravel()
                given = engine.array(engine.first_tensor(run.model(*batch.x))).argmax(axis=1)
                rare = np.isin(labels, classes)
                found, rows = found + int((given == labels)[rare].sum()), rows + int(rare.sum())
    finally:
        run.model.train()
    return found / rows if rows else math.nan


def unregistered(engine, model):
    """[(name of the module, attribute, what it holds)] of layers and tensors that a module uses and does not know."""
    found = []
    for name, _, module in engine.modules(model):
        for attribute, value in vars(module).items():
            if attribute.startswith("_") or not isinstance(value, list | tuple | dict) or not value:
                continue
            parts = list(value.values() if isinstance(value, dict) else value)
            if all(engine.is_model(part) for part in parts):
                found.append((name, attribute, "modules", type(value).__name__, len(parts)))
            elif all(engine.is_tensor(part) and part.requires_grad for part in parts):
                found.append((name, attribute, "tensors", type(value).__name__, len(parts)))
    return found
