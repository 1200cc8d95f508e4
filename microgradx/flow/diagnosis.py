"""Why a net does not train: a verdict, the layer, measurements compared with theory, and a tried cure.

A copy of the net is trained by its own library, watched in full in the first pass and in the last. The rules of
``verdicts`` say what is wrong, and every row of ``PRESCRIPTIONS`` that is meant for the verdict is tried on a copy of
its own: same seed, same minibatches, as many steps.
"""
import contextlib
import math
import pickle
import threading
import warnings
from dataclasses import dataclass

import numpy as np

from microgradx import parallel
from microgradx.errors import GraphError, NonFiniteError, OptionError
from microgradx.flow import outputs
from microgradx.flow.course import Course
from microgradx.flow.prescriptions import (
    ADAM,
    BOTH,
    CONSTANT,
    CRITICAL,
    DROPOUT,
    FAST,
    INPUTS,
    LSUV,
    PRESCRIPTIONS,
    SLOW,
    TARGETS,
    Prescription,
    at_its_best_rate,
    best_rate,
    best_trained_longer,
    learns_more,
    with_rate,
)
from microgradx.flow.report import Diagnosis
from microgradx.flow.run import check_caller, run_of
from microgradx.flow.settings import FAILURES, LITTLE
from microgradx.flow.verdicts import AT_START, FIRST, finding, missed

__all__ = ["assert_gradient_flow", "course", "diagnose"]


ENOUGH = 0.8                    # the share of the cost that a cure removes which needs nothing else
CLEARLY = 1.25                  # times the cost of a straight line that a net may have and be called cured


@contextlib.contextmanager
def _untouched(run, data, seed):
    """Within it random numbers are those of a seed; after it all random state, gradients, modes and functions of the
    caller are as before, whatever was raised."""
    models = [run.model, *([run.cost] if run.engine.is_model(run.cost) else [])]
    generators = [g for owner in (data, getattr(data, "sampler", None)) if hasattr(
        g := getattr(owner, "generator", None), "get_state")]
    states = [g.get_state() for g in generators]
    try:
        with run.engine.untouched(*models), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            run.engine.seed(seed)
            yield
    finally:
        run.functions.put_back()
        for g, state in zip(generators, states):
            g.set_state(state)


def _notes(course, tried):
    """What is odd and no verdict."""
    cure = next((p for p in tried if p["trains"]), None)
    if cure and cure["after"]["elsewhere"] <= 0:
        yield (f"what it learns with {cure['name']} does not hold for rows that it has not seen: look at the labels, "
               "and for how many rows there are")
    engine, model = course.engine, course.origin.model
    if not getattr(model, "training", True):
        yield "the model is in evaluation mode; copies of it were trained in training mode"
    seen = {layer.name.split("[")[0] for layer in course.record.layers}
    for name, _, module in engine.modules(model):
        weight = engine.weight(module)
        if weight is None:
            continue
        own = {f"{name}.{p}" if name != type(model).__name__ else p for p in module._parameters}
        if not weight.requires_grad:
            yield f"{name} is frozen"
        elif name not in seen and seen:
            yield f"{name} never ran"
        elif own & set(course.left_out):
            yield f"{name} is not trained: the optimizer does not hold its weight"
    if course.record.first is not None:
        for layer, nothing in zip(course.record.layers, missed(course)):
            if nothing and not course.matters(layer.name):
                yield f"{layer.name} ran, but the cost does not depend on it"
    for layer in course.record.layers:
        if "[" in layer.name:
            yield f"{layer.name.split('[')[0]} runs more than once in a pass"
    if course.record.layers and course.expected is None:
        why = course.record.unexplained() or "its inputs are no floats"
        yield f"there is no theory to compare the numbers with: {why}"


def diagnose(model, loss_fn, data, optimizer=None, steps=100, seed=0, most=4, cuts=None, schedule=None, *,
             executor=None, store=None):
    """Why ``model`` does not train, and what makes it train: a ``Diagnosis``, which prints as a table.

    ``model``: a module of microgradx or of torch; copies of it are trained by its own library. ``loss_fn(output,
    target)`` is the cost of a batch. ``data``: a pair (inputs, targets) of two rows or more, inputs a tuple where the
    model takes several, or a loader of such pairs, from which minibatches are drawn once. Where there are 128 rows, or
    4 minibatches, one in four is not trained on. ``optimizer`` and ``schedule`` (stepped with it) are copied with their
    options, groups and state; SGD of rate 0.1 if None. ``cuts``: bounds of your own, a dict by names of
    ``settings.CUTS``.

    Copies, in training mode and without hooks that only take note, make ``steps`` steps, and as many with each of at
    most ``most`` prescriptions, at other rates too until one of them helps. The model, its gradients and all random
    state stay as they are. A net of 20 layers of 64 sigmoids, which does not train, takes 15 to 20 seconds of one core
    with 256 rows, nearly all of them for the prescriptions that are tried.

    ``executor``: prescriptions are sought on its workers, ``store``: and kept there, both as ``parallel.run_all`` has
    them, which do not change what is found; threads seek one after the other.

    Raises ``OptionError`` for a model without parameters, all frozen, or none held by the optimizer, for a loader that
    fails, and for what cannot be sent to a worker; ``NonFiniteError`` for parameters, inputs or a first cost that are
    not finite; ``ShapeError``, ``DTypeError`` for other arguments.

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
    if isinstance(seed, bool) or not isinstance(seed, int) or seed < 0:
        raise OptionError(f"diagnose: seed is an integer >= 0, not {seed!r}")
    run = run_of(model, loss_fn, optimizer, schedule)
    with _untouched(run, data, seed):
        run.draw(data, steps)
        course = _watched(run, steps, seed, cuts)
        found = finding(course)
        tried, lines = _trials(course, found, most, executor, store)
        notes = list(dict.fromkeys([*_notes(course, tried), *lines]))
        layers = [course.row(k) for k in range(len(course.record.layers))]
        numbers = _numbers(course)
        blocks = course.blocks() if course.record.first is not None else []
        steps = {name: list(errors) for name, errors in course.through_time.items()}
    settings = {"model": type(model).__name__, "library": run.engine.name,
                "parameters": sum(math.prod(p.shape) for p in model.parameters()),
                "optimizer": type(run.optimizer).__name__, "rate": float(run.groups[0]["lr"]), "steps": course.steps,
                "seed": seed, "rows": run.batches.rows, "batches": len(run.batches.train),
                "dtype": run.engine.dtype(next(model.parameters()))}
    layer = None if found.place is None else course.record.layers[found.place].name
    return Diagnosis.of(found, layer, layers=layers, before=numbers, prescriptions=tried, settings=settings,
                        notes=notes, blocks=blocks, through_time=steps)


def _watched(run, steps, seed, cuts, op="diagnose"):
    """The course of a run; raises for what makes a diagnosis meaningless."""
    course = Course(run, steps, seed, cuts)
    if not course.attached:
        course.record.first = None
        return course
    if course.record.first is None:
        raise GraphError(f"{op}: no error arrives at any layer: the cost does not depend on the model's output")
    q = course.record.first["q"]
    if not math.isfinite(course.losses[0]) and (np.isfinite(q) | missed(course)).all():
        raise NonFiniteError(f"{op}: the first cost is {course.losses[0]}, though all pre-activations are finite: "
                             "the cost itself makes it (a logarithm of 0, say) or the targets hold it")
    check_caller(run.model, op)
    return course


def course(model, loss_fn, data, optimizer=None, steps=100, seed=0, cuts=None, schedule=None):
    """The ``Course`` on which ``diagnose`` rests, without trials."""
    run = run_of(model, loss_fn, optimizer, schedule)
    with _untouched(run, data, seed):
        run.draw(data, steps)
        return _watched(run, steps, seed, cuts)


def _numbers(course):
    back, forward = course.decades() if course.record.first is not None else (math.nan, math.nan)
    return {"cost": course.start, "cost_after": course.end, "constant_cost": course.constant, "learned": course.learned,
            "elsewhere": course.elsewhere, "accuracy": course.accuracy[0] if course.accuracy else math.nan,
            "accuracy_after": course.accuracy[-1] if len(course.accuracy) > 1 else math.nan,
            "decades_back": back, "decades_forward": forward, "losses": course.losses}


# ----- cures ---------------------------------------------------------------------------------------------------------

def _trials(course, found, most, executor=None, store=None):
    """(what was tried: dicts as ``Diagnosis.prescriptions`` has them, what helps most first, at the rate that suits it,
    the others in the order in which they were tried; notes on what helps and is no cure)."""
    tried, notes, rows = [], [], []
    for place, row in enumerate(PRESCRIPTIONS):
        if len(rows) < most and found.verdict in row.against and (change := row.make(course)):
            rows.append((place, row, change, "another rate" in row.name or found.verdict in (FAST, SLOW)))
    best = None if all(own for *_, own in rows) else LITTLE if course.endless or not course.attached else max(
        course.gained, (best_rate(course) or (1, course))[1].gained)
    asked = [(row, change, course.gained if own else best, not own or row is CONSTANT, not k)
             for k, (_, row, change, own) in enumerate(rows)]
    elsewhere = _on_workers(course, [place for place, *_ in rows], asked, executor, store)
    for k, (row, change, bound, alike, alone) in enumerate(asked):
        first = alike and not any(trial.cures for trial in tried)
        if elsewhere is None:
            tried.append(_tried(row, change, course, bound, first, alone))
        else:
            changes = elsewhere[k][first]
            made = changes or [change]
            tried.append(_Trial(row, made, course.after(*made), changes is not None))
    helps = [trial for trial in tried if trial.cures]
    for trial in helps:                                 # what barely helps is no cure beside one that does
        trial.cures = not any(learns_more(trial.course, other.course) for other in helps)
    first = best_trained_longer([(trial, trial.course) for trial in tried if trial.cures])
    if first:
        trial = first[0]
        trial.changes, trial.course = _with_more(course, *at_its_best_rate(course, trial.changes, trial.course))
        tried = [trial, *(other for other in tried if other is not trial)]
    for trial in tried:
        if trial.cures and worse_than_a_line(trial.course):
            trial.cures = False
            notes.append(f"with {trial.row.name} the net learns, and a straight line through the same rows still costs "
                         "less on rows that were held out: what limits it is another thing yet")
    return [trial.result() for trial in tried], notes


def _with_more(before, changes, changed):
    """(changes, their course) of a cure, with other weights or another optimizer where it learns clearly more with
    them, too: what hides behind a first fault shows when that is gone."""
    for row in (LSUV, CRITICAL, ADAM):
        if changed.gained >= ENOUGH or changed.record.first is None:
            break
        change = row.make(changed)
        base = [c for c in changes if c.factor == 1] if row is ADAM else changes
        made = change and [*base, change]
        other = made and before.after(*made)
        if not other:
            continue
        made, other = at_its_best_rate(before, made, other)
        if 1 - other.gained < before.cuts["sooner"] * (1 - changed.gained) and (
                other.longer.gained > changed.longer.gained):
            changes, changed = made, other
    return changes, changed


ONE_BY_ONE = threading.Lock()                           # threads share random state and the caller's classes


def _on_workers(course, places, asked, executor, store):
    """What ``_searched`` finds of each row on the workers of an executor; None without one."""
    if executor is None or not asked:
        return None
    try:
        packed = course.engine.pack(course.origin)
    except FAILURES + (pickle.PicklingError,) as error:
        raise OptionError(f"diagnose: the net and its training cannot be sent to a worker ({error}); classes and "
                          "functions have to stand at the top level of a module") from error
    tasks = [(packed, course.steps, course.seed, course.cuts, place, *rest)
             for place, (_, _, *rest) in zip(places, asked)]
    found = dict(parallel.run_each(_searched, tasks, executor, store))
    return [found[k] for k in range(len(tasks))]


def _searched(task):
    """The changes with which a row cures, None where it does not: [as a later row, as the first that cures]."""
    packed, steps, seed, cuts, place, best, alike, alone = task
    with ONE_BY_ONE:
        run, row = pickle.loads(packed), PRESCRIPTIONS[place]
        with _untouched(run, (), seed):
            course = Course(run, steps, seed, cuts)
            trials = [_tried(row, row.make(course), course, best, first, alone) for first in (False, alike)]
    return [trial.changes if trial.cures else None for trial in trials]


@dataclass
class _Trial:
    """A prescription on a copy: its row, the changes that were made, the course with them (None where they could not be
    applied), and whether they cure."""
    row: Prescription
    changes: list
    course: Course | None
    cures: bool = False

    def result(self):
        words = ", ".join(change.words for change in self.changes)
        return {"name": self.row.name, "source": self.row.source, "trains": self.cures,
                "change": words if self.course is not None else f"could not be applied: {words}",
                "lines": [line for change in self.changes for line in change.lines],
                "after": self.course and _numbers(self.course)}


def _tried(row, change, before, best, first, alone):
    """The ``_Trial`` of a prescription. Of the ``first`` that helps other rates are tried too, and the data
    standardised with it where they need it, and less dropout; what helps most is part of it. ``alone``: nothing else
    was tried yet; if it does not help, other weights and Adam are tried with it."""
    also = [made for other in (BOTH, INPUTS, TARGETS) if (made := other.make(before))][:1]
    data, changed = row in (BOTH, INPUTS, TARGETS), before.after(change)
    if (data or alone) and changed is not None and changed.record.first is not None:    # what hides behind it
        also = [*([] if data else also), *(made for other in (LSUV, CRITICAL, ADAM) if (made := other.make(changed)))]
    for base in [[change], *([change, other] for other in also if first)]:
        found = _best_of(before, base, best, (1.0, 10.0, 0.1) if first else (1.0,))
        if found is None and first:
            found = _best_of(before, base, best, (100.0, 0.01))
        if found and first and row is not DROPOUT and (weaker := DROPOUT.make(before)):
            more = before.after(*found[0], weaker)
            found = ([*found[0], weaker], more) if learns_more(found[1], more) else found
        if found:
            return _Trial(row, *found, True)
    return _Trial(row, [change], changed)


def _best_of(before, changes, best, factors):
    """(the changes with the rate, their course) of the rates at which they are a cure: of what learns most in a longer
    training; or None."""
    found = []
    for factor in factors:
        made = with_rate(before, changes, factor)
        course = before.after(*made)
        if course is not None and is_cure(before, course, best):
            found.append((made, course))
    return best_trained_longer(found)


def worse_than_a_line(course):
    """Does a straight line through the same rows cost clearly less than a net, for all that it has learned?"""
    if not len(course.origin.batches.unseen):
        return False
    line = outputs.straight_line(course.run, course.output, course.form)
    return bool(0 <= CLEARLY * line < min(course.unseen, course.longer.unseen))


def is_cure(before, after, best):
    """Is a change a cure? It learns clearly more than the net, of rows that no step has seen where there are any, as
    much as the net does at its own best rate, to a tenth, and ends below where it began."""
    if before.endless and (after.endless or not after.reach):
        return False
    if math.isnan(after.elsewhere) and not after.trains_all:
        return False                                            # few rows, which it does not learn: that says nothing
    return bool(learns_more(before, after) and after.gained >= 0.9 * best and after.end < after.start)


def assert_gradient_flow(model, loss_fn, data, decades=None, dead=None, saturated=None):
    """For a net's own tests: one pass, and an ``AssertionError`` that names layer, number and bound if a gradient
    vanishes or explodes by ``decades`` powers of ten, or a layer is ``dead`` or ``saturated`` to that share.

    ``model``, ``loss_fn`` and ``data`` as ``diagnose`` takes them, of microgradx or torch. Bounds not given are those
    of ``diagnose``, ``settings.CUTS``. Nothing of the model changes. Raises as ``diagnose``.

    >>> from microgradx import Tensor, flow, nn
    >>> net = nn.Sequential(nn.Linear(2, 8, rng=0), nn.Tanh(), nn.Linear(8, 1, rng=1))
    >>> batch = Tensor([[0.0, 1.0], [1.0, 0.0]]), Tensor([[1.0], [0.0]])
    >>> flow.assert_gradient_flow(net, nn.functional.mse_loss, batch)
    >>> flow.assert_gradient_flow(net, nn.functional.mse_loss, batch, decades=0.1)      # doctest: +ELLIPSIS
    Traceback (most recent call last):
        ...
    AssertionError: vanishing backward at 2: decades of error lost is 0.347, the bound 0.1; ...
    """
    given = {name: value for name, value in (("decades", decades), ("dead", dead), ("saturated", saturated))
             if value is not None}
    run = run_of(model, loss_fn, op="assert_gradient_flow")
    with _untouched(run, data, 0):
        run.draw(data, 0)
        course = _watched(run, 0, 0, given, "assert_gradient_flow")
        found = next((found for found in (rule(course) for rule in (*FIRST, *AT_START)) if found), None)
    if found:
        name = "" if found.place is None else f" at {course.record.layers[found.place].name}"
        measured, value, bound, _ = (*found.evidence, (None, None, None, None))[0]
        raise AssertionError(f"{found.verdict}{name}: " + (f"{measured} is {value:.3g}" + (
            f", the bound {bound:.3g}" if bound is not None else "") + "; " if measured else "") + found.cause)
