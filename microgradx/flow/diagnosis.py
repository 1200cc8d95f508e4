"""Why a net does not train: a verdict, the layer, measurements compared with theory, and a tried cure.

A copy of the net is trained for some steps on one batch, watched in full in the first pass and in the last. If it
learns, it is healthy. If not, the rules of ``verdicts`` say why, and every row of ``PRESCRIPTIONS`` that is meant for
the verdict is tried on a copy of its own: same seed, same data, as many steps.
"""
import contextlib
import math
import random as python_random

import numpy as np

from microgradx import nn, optim, random
from microgradx._core.tensor import Tensor
from microgradx.errors import DTypeError, Error, GraphError, NonFiniteError, OptionError, ShapeError
from microgradx.flow.course import Course
from microgradx.flow.prescriptions import FAST, PRESCRIPTIONS, SLOW, Run, rate
from microgradx.flow.report import Diagnosis
from microgradx.flow.verdicts import AT_START, RATES, finding, missed
from microgradx.flow.watch import weight_of

__all__ = ["assert_gradient_flow", "course", "diagnose"]


@contextlib.contextmanager
def _untouched(model, loss_fn, seed):
    """Within it random numbers are those of a seed; after it all random state and the caller's gradients are as before.
    """
    own = [*model.parameters(), *(loss_fn.parameters() if isinstance(loss_fn, nn.Module) else ())]
    held = [(p, p.grad) for p in own]
    states = python_random.getstate(), np.random.get_state()
    for p, _ in held:
        p.grad = None
    python_random.seed(seed)
    np.random.seed(seed % 2**32)
    try:
        with np.errstate(all="ignore"), random.fork_rng():
            yield
    finally:
        for p, grad in held:
            p.grad = grad
        python_random.setstate(states[0])
        np.random.set_state(states[1])


def _run_of(model, loss_fn, batch, optimizer):
    """The caller's arguments as a ``Run``, after a look at each of them."""
    if not isinstance(model, nn.Module):
        raise DTypeError(f"diagnose: a Module, not {type(model).__name__}; of a torch.nn.Sequential "
                         "microgradx.flow.torch.same makes one, others are measured by microgradx.flow.torch.watch")
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
            raise ShapeError(f"diagnose: a batch has two rows or more, not shape {part.shape}; what vanishes is seen "
                             "in how samples differ")
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
    groups = [dict(group) | {"params": list(group["params"])} for group in optimizer.param_groups]
    if not any(p in own for group in groups for p in group["params"]):
        raise OptionError(f"diagnose: the {type(optimizer).__name__} holds no parameter of {type(model).__name__}")
    return type(optimizer), groups


def _notes(run, course, tried):
    """What is odd and no verdict."""
    cure = next((p for p in tried if p["trains"]), None)
    if cure and cure["after"]["elsewhere"] <= 0:
        yield (f"what it learns with {cure['name']} does not hold for rows that it has not seen: look at the labels, "
               "and for how many rows there are")
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
    for layer, nothing in zip(course.record.layers, missed(course)):
        if nothing and not course.matters(layer.name):
            yield f"{layer.name} ran, but the cost does not depend on it"
    for layer in course.record.layers:
        if "[" in layer.name:
            yield f"{layer.name.split('[')[0]} runs more than once in a pass"


def diagnose(model, loss_fn, batch, optimizer=None, steps=100, seed=0, most=4, cuts=None):
    """Why ``model`` does not train, and what makes it train: a ``Diagnosis``, which prints as a table.

    ``loss_fn(output, target)`` is the cost of a batch, a mean over its rows; ``batch`` a pair (inputs, targets), of two
    rows or more, inputs a tuple where the model takes several. ``optimizer``: whose kind and options are taken, SGD of
    rate 0.1 if None. Copies of the model, in training mode and without hooks, make ``steps`` steps on the whole batch,
    and as many with each of at most ``most`` prescriptions, at other rates too until one of them helps. The model, its
    gradients and all random state stay as they are. A net of 20 layers of 64 units takes about 2 seconds with 256 rows.

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
        found = finding(course)
        rows = [p for p in PRESCRIPTIONS if found.verdict in p.against and p.when(run, course.record)]
        tried = []
        for row in rows[:most]:
            tried.append(_tried(row, course, RATES if not any(p["trains"] for p in tried) else ()))
        notes = list(dict.fromkeys(_notes(run, course, tried)))
    settings = {"model": type(model).__name__, "parameters": sum(p.size for p in model.parameters()),
                "optimizer": run.kind.__name__, "rate": run.groups[0]["lr"], "steps": steps, "seed": seed,
                "rows": len(run.x[0]), "dtype": str(next(model.parameters()).dtype)}
    layers = [course.row(k) for k in range(len(course.record.layers))]
    return Diagnosis.of(found, layers, _numbers(course), tried, settings, notes)


def _watched(run, steps, seed, cuts):
    """The course of a run; raises for what makes a diagnosis meaningless."""
    course, model = Course(run, steps, seed, cuts), run.model
    if course.record.first is None:
        raise GraphError("diagnose: no error arrives at any layer: the cost does not depend on the model's output")
    q = course.record.first["q"]
    if not math.isfinite(course.losses[0]) and (np.isfinite(q) | missed(course)).all():
        raise NonFiniteError(f"diagnose: the first cost is {course.losses[0]}, though all pre-activations are finite: "
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


def _tried(row, before, factors):
    """A prescription on a copy: what was changed, and the numbers after. Where it does not help at the rate as it is,
    the first of ``factors`` times the rate at which it does is part of it."""
    result = {"name": row.name, "source": row.source, "change": "", "trains": False, "after": None}
    for factor in (1.0, *(factors if row.against not in ((FAST,), (SLOW,)) else ())):
        twin = before.origin.copy()
        try:
            words = row.change(twin, before.record) + ("" if factor == 1 else f", {rate(factor)(twin, before.record)}")
            course = Course(twin, before.steps, before.seed, before=before)
        except (Error, ValueError, TypeError) as error:
            return result | {"change": result["change"] or f"could not be applied: {error}"}
        trains = bool(before.learned < before.cuts["learned"] <= course.learned or course.trains)
        if trains or factor == 1:
            result |= {"change": words, "trains": trains, "after": _numbers(course) | {
                "elsewhere": course.elsewhere if trains and factors else math.nan}}
        if trains:
            break
    return result


def assert_gradient_flow(model, loss_fn, batch, decades=None, dead=None, saturated=None):
    """For a net's own tests: one pass, and an ``AssertionError`` that names layer, number and bound if a gradient
    vanishes or explodes by ``decades`` powers of ten, or a layer is ``dead`` or ``saturated`` to that share.

    Bounds not given are those of ``diagnose``, ``verdicts.CUTS``. Nothing of the model changes. Raises as ``diagnose``.

    >>> from microgradx import Tensor, flow, nn
    >>> net = nn.Sequential(nn.Linear(2, 8, rng=0), nn.Tanh(), nn.Linear(8, 1, rng=1))
    >>> batch = Tensor([[0.0, 1.0], [1.0, 0.0]]), Tensor([[1.0], [0.0]])
    >>> flow.assert_gradient_flow(net, nn.functional.mse_loss, batch)
    >>> flow.assert_gradient_flow(net, nn.functional.mse_loss, batch, decades=0.1)      # doctest: +ELLIPSIS
    Traceback (most recent call last):
        ...
    AssertionError: vanishing backward at 2: decades of error lost is 0.799, the bound 0.1; ...
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
