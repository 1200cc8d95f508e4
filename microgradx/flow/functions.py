"""Functions whose derivative the caller wrote: which of them a net calls, whether finite differences agree with them,
and their classes as they were, since lines of code may change these.

A ``Function`` is a class with ``forward`` and ``backward`` in both libraries, and is looked up by name where it stands.
"""
import contextlib
import functools
from typing import NamedTuple

import numpy as np

from microgradx.errors import ignored
from microgradx.flow.settings import FAILURES

__all__ = ["AGREES", "Functions", "Slip", "called", "slips"]

PARTS = ("forward", "backward", "setup_context")
AGREES = 0.05                       # the error of a derivative over its size, below which it is right
DIRECTIONS, STEP = 4, 1e-5          # of the finite differences, in float64


class Slip(NamedTuple):
    """A wrong derivative: ``backward`` gives ``ratio`` times what finite differences give, with an ``error`` over that.
    ``apart``: does ``forward`` go without ctx, which ``setup_context`` gets?"""
    function: type
    ratio: float
    error: float
    apart: bool


def _subclasses(kind):
    for sub in kind.__subclasses__():
        yield sub
        yield from _subclasses(sub)


def _of_callers(engine):
    own = engine.framework.__name__ + "."
    return [kind for kind in _subclasses(engine.framework.autograd.Function) if not kind.__module__.startswith(own)]


def _apart(engine, kind):
    base = getattr(engine.framework.autograd.Function, "setup_context", None)
    return getattr(kind, "setup_context", base) is not base


class Functions:
    """The caller's classes of an engine, as they are now."""

    def __init__(self, engine):
        self.engine = engine
        self.kept = [(kind, {name: vars(kind)[name] for name in PARTS if name in vars(kind)})
                     for kind in _of_callers(engine)]

    def __reduce__(self):
        return Functions, (self.engine,)                # those of the process that it is sent to

    def put_back(self):
        """Let them be what they were."""
        for kind, parts in self.kept:
            for name in PARTS:
                if name in parts and vars(kind).get(name) is not parts[name]:
                    setattr(kind, name, parts[name])
                elif name not in parts and name in vars(kind):
                    delattr(kind, name)


@contextlib.contextmanager
def called(engine):
    """A list that fills with (function, arguments) of what is called within."""
    kept, calls = Functions(engine), []

    def noting(kind, forward, skipped):
        @functools.wraps(forward)
        def noted(*args, **kwargs):
            calls.append((kind, args[skipped:]))
            return forward(*args, **kwargs)
        return staticmethod(noted)
    found = [(kind, kind.forward, 0 if _apart(engine, kind) else 1) for kind, _ in kept.kept]
    try:
        for kind, forward, skipped in found:
            kind.forward = noting(kind, forward, skipped)
        yield calls
    finally:
        kept.put_back()


def slips(run):
    """[``Slip``] of the functions that a run calls in a pass and whose derivative is wrong, each once."""
    engine, found = run.engine, {}
    with called(engine) as calls, ignored(*FAILURES):
        run.loss(run.batch(0))
    for kind, args in calls:
        measured = None
        with ignored(*FAILURES):
            measured = _compared(engine, kind, args)
        if kind not in found and measured is not None and measured[1] > AGREES:
            found[kind] = Slip(kind, *measured, _apart(engine, kind))
    return list(found.values())


def _compared(engine, kind, args):
    """(backward's derivative over that of finite differences, their distance over it) in a few directions; None where
    the function has no derivative that two steps agree on, as one that rounds."""
    rng = np.random.default_rng(0)
    places = [k for k, x in enumerate(args) if engine.is_tensor(x) and x.requires_grad]
    at = {k: engine.array(args[k]).astype(np.float64) for k in places}
    if not places:
        return None

    def value(arrays):
        given = [engine.parameter(arrays[k]) if k in arrays else x for k, x in enumerate(args)]
        out = kind.apply(*given)
        outs = [y for y in (out if isinstance(out, tuple | list) else (out,)) if engine.is_tensor(y)
                and y.requires_grad]
        return [given[k] for k in places], outs
    ours, theirs = [], []
    for _ in range(DIRECTIONS):
        steps = {k: rng.normal(size=x.shape) * STEP for k, x in at.items()}
        inputs, outs = value(at)
        weights = [rng.normal(size=tuple(y.shape)) for y in outs]
        grads = engine.framework.autograd.grad(outs, inputs, [engine.tensor(w, engine.dtype(y)) for w, y in
                                                              zip(weights, outs)], allow_unused=True)
        ours.append(sum(float((engine.array(g) * steps[k]).sum()) for k, g in zip(places, grads) if g is not None))
        sums = []
        for far in (1, -1, 2, -2):
            moved = value({k: x + far * steps[k] for k, x in at.items()})[1]
            sums.append(sum(float((engine.array(y).astype(np.float64) * w).sum()) for y, w in zip(moved, weights)))
        theirs.append([(sums[0] - sums[1]) / 2, (sums[2] - sums[3]) / 4])
    ours, (theirs, again) = np.array(ours), np.array(theirs).T
    size = float(theirs @ theirs)
    if not (np.isfinite(size) and np.isfinite(ours).all() and size > 0) or (
            np.linalg.norm(theirs - again) > 2 * AGREES * size ** 0.5):
        return None
    return float(ours @ theirs) / size, float(np.linalg.norm(ours - theirs)) / size ** 0.5
