"""Random programs over the public interface, step by step beside NumPy: the case "programs" of ``tests/fuzz.py``.

A program is a list of steps over variables: leaves of every dtype and layout, views, writes in place, operations,
costs, and what changes the graph around them (hooks, ``no_grad``, ``detach``, ``checkpoint``, functions with a
derivative by hand). Every step runs on tensors and, as a function of arrays in double precision, in NumPy or SciPy.
These are compared:

* the result, its dtype and shape, and whether it shares memory; after every step all variables, for a write may reach
  several; where NumPy raises, we raise, and a write that is refused changes nothing;
* derivatives of the step alone, by its operands, to the third order: the first is a difference quotient of NumPy's
  function, each later one of the derivative before it; in float32 the first is that of float64;
* derivatives of the whole program by its leaves, to the second order, where all floats are float64: of NumPy's run of
  the same steps, with constants where the graph is cut.

At a kink there is nothing to compare with; a derivative is then still not nan. A point is a kink where the quotients
from both sides differ, or where they agree in one direction by chance and the slopes of several do not add up. What is
wrong is told as "operation: what", its kind; ``COUNTS`` has how much was compared.
"""
import collections
import contextlib
import math
import threading
import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse
import scipy.special as special

import microgradx as mgx
from microgradx import Tensor, nn, optim
from microgradx.errors import Error, GraphError, NonFiniteError

F = nn.functional
EPS = {np.dtype("f4"): 2.0**-23, np.dtype("f8"): 2.0**-52}
COUNTS: collections.Counter = collections.Counter()
INF, NAN = np.inf, np.nan
SPECIAL = [0.0, -0.0, 1.0, -1.0, 2.0, 0.5, INF, -INF, NAN, 1e20, -1e20, 1e-20, 3e30, 1e-38, 2.0**24, 100.0, -100.0,
           20.0]


class Wrong(AssertionError):
    """A kind, "operation: what", and the numbers."""

    def __init__(self, name, what, words=""):
        super().__init__(f"{name}: {what}: {words}")


class Step(NamedTuple):
    name: str
    ours: Callable[..., Any]                # of the tensors at `places`
    truth: Callable[..., Any]               # of arrays, floats as float64
    places: tuple = ()
    how: str = "new"                        # new, view, write, constant, leaf, or what else `Program.apply` knows
    size: Any = None                        # what the error is relative to: "max", or a function of the arrays
    order: int = 3                          # derivatives that are compared
    loose: float = 1.0                      # times as large an error


def doubled(a):
    """An array as the truth sees it."""
    return np.asarray(a).astype({"f": "f8", "i": "i8", "b": "?"}[np.asarray(a).dtype.kind])


def array_of(t):
    return doubled(t.detach().numpy())


def layout(a):
    """The strides of an array in elements."""
    return [stride // a.itemsize for stride in a.strides]


def finite(*arrays):
    return all(np.isfinite(a).all() for a in arrays)


def error_of(f, *args):
    """(result, None) or (None, the error)."""
    try:
        with np.errstate(all="ignore"), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return f(*args), None
    except Exception as error:
        return None, error


# ----- derivatives ---------------------------------------------------------------------------------------------------

def quotient(f, xs, directions, size):
    """(slope of f at xs along the directions, error); "kink", or None where f is not finite."""
    found, turns = [], []
    for h in (1e-5, 5e-6):
        at = [f([x + s * h * u for x, u in zip(xs, directions)]) for s in (1, 0, -1)]
        if not np.isfinite(at).all():
            return None
        up, down = (at[0] - at[1]) / h, (at[1] - at[2]) / h
        found.append((at[0] - at[2]) / (2 * h))
        turns.append(abs(up - down))
    error = 2 * abs(found[0] - found[1]) + 1e-10 * size(at[1]) + 1e-6 * abs(found[1])
    if turns[1] > 0.7 * turns[0] > 1e-7 * abs(found[1]) + 1e-9 * size(at[1]):       # of a smooth one it is half
        return "kink"
    return "rough" if error > 1e-3 * abs(found[1]) + 1e-6 * size(at[1]) else (found[1], error)


def mixed_quotient(f, xs, directions, others, size):
    """(second difference of f at xs along two directions, error), or "rough"."""
    found = []
    for h in (1e-4, 5e-5):
        at = {s: f([x + h * (s[0] * u + s[1] * w) for x, u, w in zip(xs, directions, others)])
              for s in ((1, 1), (1, -1), (-1, 1), (-1, -1))}
        found.append((at[1, 1] - at[1, -1] - at[-1, 1] + at[-1, -1]) / (4 * h * h))
    scale = size(f(xs))
    error = 4 * abs(found[0] - found[1]) + 1e-6 * scale + 1e-5 * abs(found[1])
    smooth = np.isfinite(found).all() and error <= 1e-2 * abs(found[1]) + 1e-5 * scale
    return (found[1], error) if smooth else "rough"


def adds_up(rng, slope, directions):
    """Whether a slope is linear in its direction, as a derivative is. At a kink it need not be, though it is the same
    from both sides: amin(relu(x)) at (0, 0) stays 0 along (1, -2) and along (-1, 2), and the derivative that we give is
    the product of two choices, one at the relu and one among the ties."""
    one = slope(directions)
    for _ in range(32):
        others = [rng.choice([-1, 1], u.shape) * rng.uniform(0.5, 1.5, u.shape) * np.abs(u) for u in directions]
        other, both = slope(others), slope([u + w for u, w in zip(directions, others)])
        if "kink" in (other, both):
            return False
        if isinstance(other, tuple) and isinstance(both, tuple) and (
                abs(both[0] - other[0] - one[0]) > 10 * (both[1] + other[1] + one[1])):
            return False
    return True


def derived(ours, xs, cotangent, directions, wanted):
    """(tensors, sum(cotangent * ours) derived along each of the directions in turn, its size)."""
    ts = [Tensor(x, requires_grad=x.dtype.kind == "f") for x in xs]
    y = ours(*ts)
    total = (y * Tensor(cotangent)).sum()
    size = float(np.abs(array_of(y) * cotangent).sum())
    for u in directions:
        if not total.requires_grad:
            return ts, Tensor(0.0, dtype="float64"), size
        for t in ts:
            t.grad = None
        total.backward(create_graph=True)
        grads = [t.grad for t in ts if t.dtype.kind == "f"]
        for t in ts:
            t.grad = None
        if wanted is not None and u is directions[-1]:
            wanted[:] = [None if g is None else array_of(g) for g in grads]
        parts = [(g * Tensor(w)).sum() for g, w in zip(grads, u) if g is not None]
        size = sum(float(np.abs(array_of(g) * w).sum()) for g, w in zip(grads, u) if g is not None)
        total = sum(parts, Tensor(0.0, dtype="float64"))
    return ts, total, size


def check_derivatives(rng, step, xs):
    """Each order against difference quotients of the one before; the first in NumPy."""
    floats = [k for k, x in enumerate(xs) if x.dtype.kind == "f"]
    base = step.truth(*[x.copy() for x in xs])
    if not floats or np.asarray(base).dtype.kind != "f" or not np.size(base):
        return
    cotangent = rng.normal(size=np.shape(base))
    draw = lambda: [rng.choice([-1, 1], xs[k].shape) * rng.uniform(0.5, 1.5, xs[k].shape) *
                    np.where((xs[k] == 0) | ~np.isfinite(xs[k]), 1, np.abs(xs[k])) for k in floats]
    directions = [draw() for _ in range(step.order)]
    point = [xs[k] for k in floats]

    def filled(values):
        full = list(xs)
        for k, v in zip(floats, values):
            full[k] = v.copy()
        return full

    sizes = {}

    def function(values, order):
        if order == 0:
            terms = cotangent * step.truth(*filled(values))
            sizes[order] = np.abs(terms).sum()
            return float(terms.sum())
        _, total, sizes[order] = derived(step.ours, filled(values), cotangent, directions[:order], None)
        return float(total.item())

    for order in range(1, step.order + 1 if max(np.abs(x).max(initial=0) for x in point) < 1e6 else 2):
        word = ["gradient", "second derivative", "third derivative"][order - 1]
        grads: list = []
        ts, total, size = derived(step.ours, [x.copy() for x in xs], cotangent, directions[:order], grads)

        def along(u, order=order):
            return quotient(lambda v: function(v, order - 1), point, u, lambda _: sizes[order - 1])
        slope = along(directions[order - 1])
        got = float(total.item())
        if any(g is not None and np.isnan(g).any() for g in grads) and finite(*point, base):
            if slope is not None:
                raise Wrong(step.name, f"{word} nan", f"at {[x.tolist() for x in xs]!r:.300}")
        if not isinstance(slope, tuple) or not np.isfinite(got):
            if isinstance(slope, tuple) and finite(*point):
                raise Wrong(step.name, word, f"{got}, by differences {slope[0]} at {[x.tolist() for x in xs]!r:.300}")
            COUNTS[f"{word}: no slope"] += 1
            return
        COUNTS[word] += 1
        if abs(got - slope[0]) > 10 * slope[1] + 1e-7 * size + 1e-13 * sizes[0] + 1e-30:
            if not adds_up(rng, along, directions[order - 1]):
                COUNTS[f"{word}: no slope"] += 1
                return
            raise Wrong(step.name, word, f"{got}, by differences {slope[0]} +- {slope[1]:.1g} at "
                                         f"{[x.tolist() for x in xs]!r:.300}")


def check_single(rng, step, ts):
    """The gradient in float32 is that in float64."""
    xs = [t.detach().numpy() for t in ts]
    found = []
    for cast in (lambda x: x, doubled):
        own = [Tensor(cast(x), requires_grad=x.dtype.kind == "f") for x in xs]
        y = step.ours(*own)
        if y.dtype.kind != "f" or not y.requires_grad or not finite(y.detach().numpy()):
            return
        if not found:
            cotangent = rng.normal(size=y.shape).astype("f4")
        y.backward(Tensor(cotangent.astype(y.dtype)))
        found.append([t.grad for t in own])
        if found[-1] and any(g is not None and g.dtype != t.dtype for g, t in zip(found[-1], own)):
            raise Wrong(step.name, "dtype of a gradient")
    for one, other in zip(*found):
        if one is None or other is None:
            if one is not other:
                raise Wrong(step.name, "gradient in float32", f"{one}, in float64 {other}")
            continue
        one, other = array_of(one), array_of(other)
        if finite(other) and np.abs(other).max(initial=0) < 1e37:
            COUNTS["gradient in float32"] += 1
            tiny = 1e-4 / max([np.abs(x).max(initial=1, where=np.isfinite(x)) for x in xs if x.dtype.kind == "f"])
            scale = np.abs(other).max(initial=0) + tiny
            if not np.all(np.abs(one - other) <= 1e-3 * scale * step.loose):
                raise Wrong(step.name, "gradient in float32",
                            f"{one.tolist()!r:.150}, in float64 {other.tolist()!r:.150} "
                            f"at {[x.tolist() for x in xs]!r:.200}")


# ----- programs ------------------------------------------------------------------------------------------------------

LAYOUTS = [     # of an array, by what makes a tensor or another array of it
    lambda a, make: make(np.array(a)), lambda a, make: make(np.array(a)), lambda a,
    make: make(np.array(a.T, order="C")).T,
    lambda a, make: make(np.repeat(a, 2, 0))[::2] if a.ndim else make(a),
    lambda a, make: make(np.array(a[::-1]))[::-1] if a.ndim else make(a)]


class Program:
    """Variables as tensors ``t`` and as arrays ``a``, and the steps that made them."""

    def __init__(self, rng, mode):
        self.rng, self.mode = rng, mode
        self.t, self.a, self.steps, self.frozen, self.order, self.layouts = [], [], [], {}, {}, {}
        self.fixed = set()                  # variables whose memory a cut graph shares: not written to

    # what to draw
    def shape(self):
        rng = self.rng
        low = 0 if rng.random() < 0.1 else 1
        return tuple(int(n) for n in rng.integers(low, 5, rng.choice(5, p=[0.12, 0.3, 0.38, 0.15, 0.05])))

    def numbers(self, shape, dtype):
        rng, dtype = self.rng, np.dtype(dtype)
        if dtype.kind == "b":
            return rng.random(shape) < 0.5
        if dtype.kind == "i":
            a = rng.integers(-3, 5, shape)
            return np.where(rng.random(shape) < 0.1, 2**24 + 1, a).astype(dtype)
        if self.mode == "special":
            a = rng.choice(SPECIAL, shape)
            if rng.random() < 0.3:
                a = rng.choice([1e20, 3e30, 1e-20]) * rng.normal(1, 1, shape)
        elif self.mode == "ties":
            a = rng.integers(-2, 4, shape) / rng.choice([1, 2])
        else:
            a = rng.normal(0, rng.choice([0.5, 1, 2]), shape)
        return np.asarray(a, dtype)

    def float(self):
        return "f8" if self.pure else str(self.rng.choice(["f4", "f8"]))

    def leaf(self, shape=None, dtype=None, grad=None, values=None):
        """The place of a new leaf."""
        rng = self.rng
        dtype = dtype or (self.float() if rng.random() < 0.7 else rng.choice(["i8", "i4", "?"]))
        a = self.numbers(self.shape() if shape is None else shape, dtype) if values is None else np.asarray(values)
        layout = LAYOUTS[rng.integers(len(LAYOUTS))]
        t = layout(a, Tensor).detach()
        grad = a.dtype.kind == "f" and rng.random() < 0.7 if grad is None else grad
        if grad:
            t.requires_grad_()
        if (t.dtype != (a.dtype if a.dtype.kind in "fb" else "i8") or t.shape != a.shape
                or not np.array_equal(t.detach().numpy(), a, equal_nan=a.dtype.kind == "f")):
            raise Wrong("Tensor", "value", f"{t} of {a}")
        self.steps.append(Step("leaf", None, None, (), "leaf"))
        self.t.append(t)
        self.a.append(layout(doubled(a), np.array))
        self.frozen[len(self.steps) - 1] = self.a[-1].copy()
        self.layouts[len(self.steps) - 1] = layout
        return len(self.t) - 1

    def pick(self, kinds="f", where=lambda t: True):
        """The place of a variable of one of the kinds; of a new leaf, if there is none."""
        fit = [k for k, t in enumerate(self.t) if t.dtype.kind in kinds and where(t)]
        if fit and self.rng.random() < 0.9:
            return int(fit[self.rng.integers(len(fit))])
        kind = kinds[self.rng.integers(len(kinds))]
        k = self.leaf(dtype={"f": self.float(), "i": "i8", "b": "?"}[kind])
        return k if where(self.t[k]) else None

    def partner(self, k, kinds="f"):
        """The place of what broadcasts with variable k."""
        shape = self.t[k].shape
        for j in self.rng.permutation(len(self.t))[:6]:
            if self.t[j].dtype.kind in kinds and self.rng.random() < 0.7:
                with contextlib.suppress(ValueError):
                    if math.prod(np.broadcast_shapes(shape, self.t[j].shape)) < 500:
                        return int(j)
        kind = kinds[self.rng.integers(len(kinds))]
        part = tuple(1 if self.rng.random() < 0.2 else n for n in shape)[self.rng.integers(0, 2) if shape else 0:]
        return self.leaf(part, {"f": self.t[k].dtype.str if self.t[k].dtype.kind == "f" and self.rng.random() < 0.6
                                else self.float(), "i": "i8", "b": "?"}[kind])

    # one step
    def apply(self, step):
        """Run the step on both; what differs is raised as ``Wrong``."""
        name = step.name
        args = [self.t[p] for p in step.places]
        actual = [array_of(t) for t in args]
        if step.how != "write" and name not in ("detach",) and self.rng.random() < 0.35 and step.order and sum(
                a.size for a in actual) < 200:
            self.alone(step, args, actual)
        before = [array_of(t) for t in self.t] if step.how == "write" else None
        if step.how == "write" and any(n == 0 and m > 1 for n,
                                       m in zip(args[0].strides, args[0].shape)) and args[0].size:
            truth, expected = None, GraphError("several elements in one place")
        else:
            truth, expected = error_of(step.truth, *[self.a[p] for p in step.places])
        got, error = error_of(step.ours, *args)
        if isinstance(error, AttributeError):
            raise error
        if error is not None:
            if expected is not None:
                COUNTS["both raise"] += 1
                self.a_before(before or ())
            elif step.how == "write" and isinstance(error, GraphError):
                COUNTS["write refused"] += 1
                self.a_before(before)
            else:
                raise Wrong(name, "raises", f"{type(error).__name__}: {error} for "
                                            f"{[(t.dtype.name, t.shape) for t in args]}")
            for k, (t, a) in enumerate(zip(self.t, before or ())):
                if not np.array_equal(array_of(t), a, equal_nan=a.dtype.kind == "f"):
                    raise Wrong(name, "half done", f"variable {k}")
            return
        if expected is not None:
            raise Wrong(name, "accepts",
                        f"NumPy: {expected}; for {[(t.dtype.name, t.shape) for t in args]}, {got!r:.100}")
        number = len(self.steps)
        self.steps.append(step)
        COUNTS["steps"] += 1
        if step.how == "write":
            self.compare(name, args[0], self.a[step.places[0]], before[step.places[0]], step,
                         [before[p] for p in step.places])
            for k, (t, a) in enumerate(zip(self.t, self.a)):
                if k != step.places[0]:
                    self.compare(f"{name} (others)", t, a, before[k], step, None)
        else:
            shared = step.how == "view" and any(np.shares_memory(truth, self.a[p]) for p in step.places)
            if not shared:
                truth = self.laid_out(number, truth, got)
            self.compare(name, got, truth, None, step, actual)
            if shared and truth.size and not self.is_shared(got, args[0], self.a[step.places[0]]):
                raise Wrong(name, "memory", f"a copy of shape {got.shape}, where NumPy has a view")
            if step.how in ("constant", "hooked"):
                self.frozen[number] = np.array(truth)
            self.t.append(got)
            self.a.append(truth)
            floats = [t for t in args if t.dtype.kind == "f"]
            linked = step.how != "constant" and any(t.requires_grad for t in floats)
            if got.dtype.kind == "f" and got.requires_grad != linked and step.order:
                raise Wrong(name, "requires_grad", f"{got.requires_grad}")
        self.synchronize()

    def is_shared(self, got, given, truth):
        """Whether a view shares the memory of ``given``. It need not where that lies in another way than ``truth``: a
        copy, which stands for what `detach` shares, has no gaps, and a view of it says nothing about ours."""
        ours = np.asarray(given.detach())
        return layout(ours) != layout(truth) or np.shares_memory(np.asarray(got.detach()), ours)

    def laid_out(self, number, truth, got):
        """A fresh array in the memory order of what we have, which decides what later views there are."""
        if isinstance(got, Tensor) and got.ndim == np.ndim(truth):
            self.order[number] = np.argsort(np.argsort([-abs(n) for n in got.strides], kind="stable"))
        order = self.order.get(number, range(np.ndim(truth)))
        back = np.argsort(order)
        return np.array(np.asarray(truth).transpose(back), order="C").transpose(order)

    def a_before(self, before):
        """The truth as it was: a refused write has changed it."""
        for a, b in zip(self.a, before):
            a[...] = b

    def synchronize(self):
        """The truth goes on from the numbers that we have."""
        for t, a in zip(self.t, self.a):
            a[...] = array_of(t)

    def compare(self, name, got, truth, before, step, actual):
        if not isinstance(got, Tensor):
            raise Wrong(name, "type", f"{type(got).__name__}")
        kinds = [self.t[p].dtype for p in step.places if self.t[p].dtype.kind == "f"]
        dtype = truth.dtype if truth.dtype.kind != "f" else max(kinds, default=np.dtype("f4"))
        if before is not None:
            dtype = got.dtype
        if got.shape != truth.shape:
            raise Wrong(name, "shape", f"{got.shape}, in NumPy {truth.shape}")
        if got.dtype != dtype:
            raise Wrong(name, "dtype", f"{got.dtype}, not {dtype}, of {[self.t[p].dtype.name for p in step.places]}")
        mine = array_of(got)
        if dtype.kind != "f":
            if not np.array_equal(mine, truth):
                raise Wrong(name, "value", f"{mine.tolist()!r:.200}, in NumPy {truth.tolist()!r:.200}")
            return
        with np.errstate(all="ignore"):
            size = np.where(np.isnan(truth), 0, np.abs(truth))
            if step.size == "max":
                size = np.max(size, initial=0, where=np.isfinite(size))
            elif step.size is not None and actual is not None:
                size = np.nan_to_num(np.abs(step.size(*[np.abs(x) if x.dtype.kind == "f" else x for x in actual])),
                                     nan=0.0, posinf=INF) + size
            if before is not None:
                size = size + np.abs(before)
            limit = np.finfo(dtype).max
            too_large = ~np.isfinite(mine) & (size > limit / 16)                # on the way
            if step.size is None or name == "logsumexp":
                too_large &= np.isfinite(truth)
            size = np.where(np.isfinite(size), size, np.where(np.isfinite(truth), np.abs(truth), 0))
            tolerance = 128 * step.loose * EPS[dtype] * size + 4e-38 * (dtype == "f4") + 1e-307
            rounded = truth.astype(dtype).astype("f8")
            good = (np.abs(mine - truth) <= tolerance) | (mine == rounded) | np.isnan(mine) & np.isnan(rounded)
            good |= too_large
        if not good.all():
            raise Wrong(name, "value", f"{mine.tolist()!r:.200}, in NumPy {truth.tolist()!r:.200} of "
                                       f"{[(a.dtype.name, a.tolist()) for a in actual or ()]!r:.300}")

    def alone(self, step, args, actual):
        """Derivatives of one step."""
        def quiet():
            with mgx.enable_grad():
                check_derivatives(self.rng, step, [np.array(a, order="C") for a in actual])
                if any(t.dtype == "f4" for t in args):
                    check_single(self.rng, step, args)
        if error_of(step.truth, *[a.copy() for a in actual])[1] is not None:
            return
        _, error = error_of(quiet)
        if isinstance(error, Wrong):
            raise error
        if error is not None and not isinstance(error, AttributeError):         # a name that an older engine has not
            raise Wrong(step.name, "derivatives raise", f"{type(error).__name__}: {error}")

    # all of it
    def replay(self, leaves):
        """The variables, in NumPy, with other numbers in the leaves."""
        env: list = []
        for number, step in enumerate(self.steps):
            if step.how == "leaf":
                env.append(self.layouts[number](leaves.get(len(env), self.frozen[number]), np.array))
            elif step.how == "constant":
                env.append(self.frozen[number].copy())
            else:
                y = step.truth(*[env[p] for p in step.places])
                if step.how == "hooked":                        # has the value, and twice the slope
                    y = 2 * y - self.frozen[number]
                if step.how != "write":
                    env.append(y if step.how == "view" and any(np.shares_memory(y, env[p]) for p in step.places)
                               else self.laid_out(number, y, None))
        return env

    def whole(self):
        """Derivatives of the program by its leaves."""
        rng = self.rng
        ends = [k for k, t in enumerate(self.t) if t.requires_grad and self.steps_of()[k] != "leaf" and t.size]
        places = [k for k, t in enumerate(self.t) if t.is_leaf and t.requires_grad and self.steps_of()[k] == "leaf"]
        if not ends or not places:
            return
        ends = [int(k) for k in rng.choice(ends, min(len(ends), 3), replace=False)]
        cotangents = [rng.normal(size=self.t[k].shape) for k in ends]
        total = sum(((self.t[k] * Tensor(c)).sum() for k, c in zip(ends, cotangents)), Tensor(0.0, dtype="float64"))
        twice = rng.random() < 0.5
        try:
            total.backward(create_graph=twice)
        except GraphError:
            COUNTS["backward refused"] += 1                 # an operand that was written to
            return
        if not self.pure or self.mode == "special" or any(t.dtype == "f4" for t in self.t):
            for k in places:
                g = self.t[k].grad
                if g is not None and (g.dtype != self.t[k].dtype or g.shape != self.t[k].shape):
                    raise Wrong("program", "dtype of a gradient")
            return
        initial = {p: self.frozen[n] for n, p in self.leaf_steps()}
        point = [initial[k] for k in places]
        directions = [np.where(x == 0, 1, np.abs(x)) * rng.choice([-1, 1], x.shape) for x in point]
        if not finite(*point):
            return
        size = [0.0]

        def function(values):
            env = self.replay(dict(zip(places, values)))
            terms = [c * env[k] for k, c in zip(ends, cotangents)]
            size[0] = sum(np.abs(x).sum() for x in terms)
            return float(sum(x.sum() for x in terms))

        def along(directions):
            return quotient(function, point, directions, lambda _: size[0])

        slope, error = error_of(along, directions)
        if error is not None:
            raise error
        grads = [self.t[k].grad for k in places]
        got = sum(float((array_of(g) * u).sum()) for g, u in zip(grads, directions) if g is not None)
        parts = sum(float(np.abs(array_of(g) * u).sum()) for g, u in zip(grads, directions) if g is not None)
        names = ", ".join(s.name for s in self.steps if s.how != "leaf")
        if not isinstance(slope, tuple) or not np.isfinite(got):        # inf - inf on the way to a slope of 0
            COUNTS["program: no slope"] += 1
            return
        COUNTS["program"] += 1
        if not abs(got - slope[0]) <= 10 * slope[1] + 1e-7 * parts:
            if not adds_up(rng, along, directions):
                COUNTS["program: no slope"] += 1
                return
            raise Wrong("program", "gradient", f"{got}, by differences {slope[0]} of {names}")
        if not twice or self.mode != "plain" or any(s.how == "hooked" for s in self.steps):
            return
        others = [np.where(x == 0, 1, np.abs(x)) * rng.choice([-1, 1], x.shape) for x in point]
        for k in places:
            self.t[k].grad = None
        inner = sum(((g * Tensor(w)).sum() for g, w in zip(grads, others) if g is not None),
                    Tensor(0.0, dtype="float64"))
        if not inner.requires_grad:
            return
        try:
            inner.backward()
        except GraphError:
            COUNTS["backward refused"] += 1
            return
        got = sum(float((array_of(self.t[k].grad) * u).sum()) for k, u in zip(places, directions)
                  if self.t[k].grad is not None)

        def bent(directions):
            return mixed_quotient(function, point, directions, others, lambda _: size[0])
        slope = bent(directions)
        if isinstance(slope, tuple):
            COUNTS["program twice"] += 1
            if not abs(got - slope[0]) <= 10 * slope[1] and adds_up(rng, bent, directions):
                raise Wrong("program", "second derivative", f"{got}, by differences {slope[0]} of {names}")

    def leaf_steps(self):
        place = 0
        for n, step in enumerate(self.steps):
            if step.how == "leaf":
                yield n, place
            place += step.how != "write"

    def steps_of(self):
        return [s.how for s in self.steps if s.how != "write"]


# ----- what NumPy and SciPy call it ----------------------------------------------------------------------------------

def times(x, s):
    """x * s, of which 0 is 0 for any x."""
    return np.where(s == 0, 0.0, x * s)


UNARY = {       # of floats; of what else is written behind the name
    "neg i": np.negative, "abs i": np.abs, "sign i": np.sign, "square i": np.square, "sqrt ib": np.sqrt,
    "rsqrt": lambda x: 1 / np.sqrt(x), "reciprocal": np.reciprocal, "floor i": np.floor, "ceil i": np.ceil,
    "round": np.round, "trunc i": np.trunc, "exp ib": np.exp, "exp2": np.exp2, "expm1": np.expm1, "log i": np.log,
    "log2": np.log2, "log10": np.log10, "log1p": np.log1p, "sin": np.sin, "cos": np.cos, "tan": np.tan,
    "asin": np.arcsin, "acos": np.arccos, "atan": np.arctan, "sinh": np.sinh, "cosh": np.cosh, "tanh ib": np.tanh,
    "asinh": np.arcsinh, "acosh": np.arccosh, "atanh": np.arctanh, "erf": special.erf, "erfc": special.erfc,
    "sigmoid": special.expit, "logsigmoid": special.log_expit, "logit": special.logit,
    "softplus": lambda x: np.logaddexp(0, x), "relu": lambda x: np.maximum(x, 0.0),
    "relu6": lambda x: np.clip(x, 0.0, 6.0), "gelu": lambda x: times(x, special.ndtr(x)),
    "silu": lambda x: times(x, special.expit(x)), "softsign": lambda x: np.where(np.isinf(x), np.sign(x),
                                                                                 x / (1 + abs(x))),
    "hardsigmoid": lambda x: np.clip(x / 6 + 0.5, 0, 1), "hardswish": lambda x: times(x, np.clip(x / 6 + 0.5, 0, 1)),
    "isnan ib": np.isnan, "isinf ib": np.isinf, "isfinite ib": np.isfinite}
BINARY = {
    "add ib": np.add, "sub i": np.subtract, "mul ib": np.multiply, "div i": np.divide, "pow": np.power,
    "maximum ib": np.maximum, "minimum ib": np.minimum, "atan2": np.arctan2, "hypot": np.hypot,
    "logaddexp": np.logaddexp, "xlogy": special.xlogy, "gt ib": np.greater, "ge i": np.greater_equal, "lt i": np.less,
    "le i": np.less_equal, "eq ib": np.equal, "ne ib": np.not_equal}
UNORDERED = {"gt", "ge", "lt", "le", "eq", "ne"}
NUMBERS = [2, -1, 0, 3, 0.75, -1.5, 2.0, 1e-3]


def method(name):
    return lambda x, *args, **kwargs: getattr(x, name)(*args, **kwargs)


def axis_for(rng, t, several=True):
    if not t.ndim or rng.random() < 0.3:
        return None
    if several and t.ndim > 1 and rng.random() < 0.25:
        return tuple(int(k) for k in rng.permutation(t.ndim)[:2])
    return int(rng.integers(-t.ndim, t.ndim))


TABLE: list = []


def entry(weight):
    def put(f):
        TABLE.extend([f] * weight)
        return f
    return put


@entry(10)
def unary(p, rng):
    names = list(UNARY)
    key = names[rng.integers(len(names))]
    name, _, kinds = key.partition(" ")
    k = p.pick("f" * 4 + kinds)
    if k is None:
        return None
    step = Step(name, method(name), UNARY[key] if name not in ("exp", "sqrt", "tanh", "log", "sin") else
                lambda x: UNARY[key](np.asarray(x, "f8")), (k,))
    if name in ("floor", "ceil", "trunc", "round") and not np.abs(p.a[k], dtype="f8").max(initial=0) < 1e4:
        return step._replace(order=0)           # a difference over 1e-5 of a number is over many steps there
    return step


@entry(10)
def binary(p, rng):
    names = list(BINARY)
    key = names[rng.integers(len(names))]
    name, _, kinds = key.partition(" ")
    i = p.pick("ff" + kinds)
    if i is None:
        return None
    j = i if rng.random() < 0.1 else p.partner(i, "ff" + kinds)
    ends = (lambda a, b: np.abs(a) + np.abs(b)) if name in ("add", "sub", "logaddexp") else None
    if UNORDERED & {name} and {p.t[i].dtype.kind, p.t[j].dtype.kind} == {"f", "i"}:
        return None                             # the integer is compared as the float that it becomes
    if name == "sub" and "b" in (p.t[i].dtype.kind, p.t[j].dtype.kind):
        return None
    loose = 64.0 if name == "pow" else 1.0
    order = 0 if name == "pow" and (array_of(p.t[i]) < 0).any() else 3          # nan by the exponent
    return Step(name, method(name), BINARY[key], (i, j), size=ends, loose=loose, order=order)


@entry(5)
def with_number(p, rng):
    k, n = p.pick("fffi"), NUMBERS[rng.integers(len(NUMBERS))]
    if k is None:
        return None
    f = [lambda x: x + n, lambda x: n - x, lambda x: x * n,
         lambda x: x ** n if n == 2 or p.t[k].dtype.kind == "f" else x + n,
         lambda x: x / (n or 1), lambda x: n / (x * x + 1), lambda x: x > n, lambda x: x <= n,
         lambda x: -x][rng.integers(9)]
    return Step("a number", f, f, (k,), size=lambda x: np.abs(x) + abs(n), loose=8)


@entry(4)
def chosen(p, rng):
    m = p.pick("b")
    how = rng.integers(5)
    if how == 0:
        a, b = (NUMBERS[k] for k in rng.integers(0, len(NUMBERS), 2))
        return Step("where of numbers", lambda m: mgx.where(m, a, b), lambda m: np.where(m, a, b), (m,))
    i = p.partner(m, "ffi")
    if how == 1:
        n = NUMBERS[rng.integers(3)]
        return Step("where", lambda m, x: mgx.where(m, x, n), lambda m, x: np.where(m, x, n), (m, i))
    if how == 2:
        j = p.partner(i, "ffi")
        try:
            np.broadcast_shapes(*(p.t[k].shape for k in (m, i, j)))
        except ValueError:
            return None
        return Step("where", mgx.where, np.where, (m, i, j))
    if how == 3:
        n = NUMBERS[rng.integers(3)]
        if np.broadcast_shapes(p.t[i].shape, p.t[m].shape) != p.t[i].shape:
            return None
        return Step("masked_fill", lambda x, m: x.masked_fill(m, n), lambda x,
                    m: np.where(m, np.asarray(n, x.dtype), x),
                    (i, m))
    j = p.leaf(p.t[i].shape, "f8" if p.t[i].dtype == "f8" else "f4")
    return Step("x.where(mask, other)", torch_where, lambda x, m, o: np.where(m, x, o), (i, m, j))


def torch_where(x, m, o):
    """torch's spelling gives torch's numbers, or an error: then ours."""
    try:
        return x.where(m, o)
    except (Error, TypeError, ValueError):
        return mgx.where(m, x, o)


@entry(3)
def bounded(p, rng):
    k = p.pick("fffi")
    if k is None:
        return None
    lo, hi = int(rng.integers(-2, 1)), int(rng.integers(1, 3))
    if rng.random() < 0.3:
        i = p.partner(k, "f")
        return Step("lerp", lambda a, b: a.lerp(b, 0.25), lambda a, b: a + 0.25 * (b - a), (k, i),
                    size=lambda a, b: a + b) if p.t[k].dtype.kind == "f" else None
    return Step("clip", lambda x: x.clip(lo, hi), lambda x: np.clip(x, lo, hi), (k,))


def norm_of(x, ord, axis, keepdims):
    with np.errstate(all="ignore"):
        a = np.abs(x)
        if ord == INF:
            return np.max(a, axis=axis, keepdims=keepdims)
        top = np.max(a, axis=axis, keepdims=True, initial=0)
        top = np.where((top == 0) | ~np.isfinite(top), 1, top)
        s = np.sum((a / top)**ord, axis=axis, keepdims=True)**(1 / ord) * top
        return s if keepdims else np.squeeze(s, axis if axis is not None else tuple(range(x.ndim)))


def lse(x, axis, keepdims):
    top = np.max(x, axis=axis, keepdims=True)
    with np.errstate(all="ignore"):
        terms = np.where(x == top, 1, np.exp(x - np.where(np.isfinite(top), top, 0)))
        y = top + np.log(np.sum(terms, axis=axis, keepdims=True))
    return np.max(y, axis=axis, keepdims=keepdims)


@entry(9)
def reduction(p, rng):
    kinds = {"sum": "fib", "mean": "fib", "prod": "fib", "amax": "fib", "amin": "fib", "var": "fi", "std": "fi",
             "any": "fib", "all": "fib", "argmax": "fib", "argmin": "fib", "logsumexp": "f", "norm": "f"}
    name = list(kinds)[rng.integers(len(kinds))]
    k = p.pick("ff" + kinds[name])
    if k is None:
        return None
    if name == "prod" and p.mode == "special":
        return None                             # what overflows on the way depends on the order
    t, keepdims = p.t[k], bool(rng.integers(2))
    axis = axis_for(rng, t, name not in ("argmax", "argmin"))
    if name == "norm":
        ord = [0.5, 1, 2, 2, 3, INF][rng.integers(6)]
        return t.size and Step(f"norm({ord})", lambda x: x.norm(ord, axis, keepdims),
                               lambda x: norm_of(x, ord, axis, keepdims),
                               (k,), loose=16)
    if name == "logsumexp":
        return t.size and Step(name, lambda x: x.logsumexp(axis, keepdims), lambda x: lse(x, axis, keepdims), (k,),
                               size=lambda x: lse(x, axis, keepdims))
    if name in ("var", "std"):
        if not t.size:
            return None
        spread = lambda x: getattr(np, name)(x, axis=axis, keepdims=keepdims)
        return Step(name, lambda x: getattr(x, name)(axis, ddof=0, keepdims=keepdims), spread, (k,), loose=64,
                    size=lambda x: spread(x) + 1e-9 * np.max(x, initial=0, where=np.isfinite(x)))
    f = getattr(np, name)
    return Step(name, lambda x: getattr(x, name)(axis, keepdims=keepdims), lambda x: f(x, axis=axis, keepdims=keepdims),
                (k,), size=(lambda x: f(x, axis=axis, keepdims=keepdims)) if name in ("sum", "mean") else None,
                loose=t.size + 1 if name == "prod" else 4)


@entry(4)
def along(p, rng):
    name = ["cumsum", "cumprod", "softmax", "log_softmax", "sort", "argsort"][rng.integers(6)]
    if name == "cumprod" and p.mode == "special":
        return None
    k = p.pick("fffib" if name.startswith("cum") else "f", lambda t: t.ndim and t.size)
    if k is None:
        return None
    axis = int(rng.integers(-p.t[k].ndim, p.t[k].ndim))
    if name.startswith("cum"):
        f = getattr(np, name)
        return Step(name, lambda x: getattr(x, name)(axis), lambda x: f(x, axis=axis), (k,),
                    size=lambda x: f(x, axis=axis), loose=8)
    if name == "sort":
        return Step(name, lambda x: x.sort(axis)[0], lambda x: np.sort(x, axis=axis), (k,))
    if name == "argsort":
        return Step(name, lambda x: x.argsort(axis), lambda x: np.argsort(x, axis=axis, kind="stable"), (k,), order=0)
    if np.isinf(array_of(p.t[k])).any():
        return None                             # nan, as in torch
    return Step(name, lambda x: getattr(x, name)(axis), lambda x: getattr(special, name)(x, axis=axis), (k,),
                size=(lambda x: np.max(x, initial=1, where=np.isfinite(x))) if name == "log_softmax" else None, loose=8)


@entry(1)
def long(p, rng):
    """Sums that a running sum in float32 cannot hold."""
    dtype = rng.choice(["f4", "f8"])
    a = np.ones(4096, dtype)
    a[0] = rng.choice([2.0**24, 1.0, 1e8])
    k = p.leaf(values=a, grad=False) if not p.pure else None
    name = ["cumsum", "sum", "mean", "var"][rng.integers(4)]
    return k is not None and Step(f"{name} of many", lambda x: getattr(x, name)(0),
                                  lambda x: getattr(np, name)(x, axis=0),
                                  (k,), order=0)


@entry(6)
def product(p, rng):
    k = p.pick("fffi", lambda t: 0 < t.ndim)
    if k is None:
        return None
    t = p.t[k]
    n, m, dtype = t.shape[-1], int(rng.integers(1, 4)), t.dtype.str
    how = rng.integers(4)
    size = lambda a, b: np.abs(a) @ np.abs(b)
    if how == 0 or dtype[1] == "i":
        lead = t.shape[:-2] if rng.random() < 0.5 else ()
        j = p.leaf((*lead, n, m) if rng.random() < 0.8 else (n,), dtype)
        return Step("matmul", lambda a, b: a @ b, np.matmul, (k, j), size=size, loose=8)
    if how == 1:
        w, b = p.leaf((m, n), dtype), p.leaf((m,), dtype)
        return Step("linear", F.linear, lambda x, w, b: x @ w.T + b, (k, w, b), loose=8,
                    size=lambda x, w, b: np.abs(x) @ np.abs(w.T) + np.abs(b))
    if how == 2 and t.ndim == 2:
        j = p.leaf((m, n), dtype)
        return Step("einsum", lambda a, b: mgx.einsum("ij,kj->ik", a, b), lambda a, b: np.einsum("ij,kj->ik", a, b),
                    (k, j),
                    size=lambda a, b: np.abs(a) @ np.abs(b).T, loose=8)
    j = p.leaf((m,), dtype)
    return Step("outer", lambda a, b: a.reshape(-1).outer(b), lambda a, b: np.outer(a, b), (k, j))


def key_for(rng, shape):
    """A basic index."""
    key: list = []
    for n in shape:
        how = rng.integers(6)
        if how == 0 and n:
            key.append(int(rng.integers(-n, n)))
        elif how == 1:
            key.append(slice(None, None, -1))
        elif how == 2:
            key.append(slice(int(rng.integers(0, n + 1)), None))
        elif how == 3:
            key.append(slice(None, None, 2))
        else:
            key.append(slice(None))
    key = key[:rng.integers(0, len(key) + 1)]
    if rng.random() < 0.2:
        key.insert(int(rng.integers(0, len(key) + 1)), None)
    if rng.random() < 0.2:
        key.append(...)
    return tuple(key)


def spread(x, shape):
    return np.lib.stride_tricks.as_strided(x, shape, (0,) * (len(shape) - x.ndim) + x.strides)


@entry(10)
def view(p, rng):
    k = p.pick("fffib")
    if k is None:
        return None
    t = p.t[k]
    how = rng.integers(9)
    if how < 3:
        key = key_for(rng, t.shape)
        return Step("basic index", lambda x: x[key], lambda x: x[key if ... in key else (*key, ...)], (k,), "view")
    if how == 3:
        axes = tuple(int(d) for d in rng.permutation(t.ndim))
        return t.ndim > 1 and Step("permute", lambda x: x.permute(*axes), lambda x: x.transpose(axes), (k,), "view")
    if how == 4:
        sizes = [n for n in (1, 2, 3, 4, 6) if t.size and t.size % n == 0]
        n = sizes[rng.integers(len(sizes))] if sizes else 3
        shape = (n, -1) if t.size else (3, 2, 0)
        return Step("reshape", lambda x: x.reshape(*shape), lambda x: x.reshape(shape), (k,), "view")
    if how == 5:
        shape = (2, *t.shape)
        return t.ndim < 5 and t.size < 100 and Step("expand", lambda x: x.expand(*shape), lambda x: spread(x, shape),
                                                    (k,), "view")
    if how == 6:
        axis = int(rng.integers(-t.ndim - 1, t.ndim + 1))
        return Step("unsqueeze", lambda x: x.unsqueeze(axis), lambda x: np.expand_dims(x, axis), (k,), "view")
    if how == 7:
        return Step("T", lambda x: x.T, lambda x: x.T, (k,), "view")
    if not t.ndim or not t.shape[0]:
        return None
    n = int(rng.integers(0, t.shape[0]))
    return Step("unbind", lambda x: x.unbind(0)[n], lambda x: x[n:n + 1][0, ...], (k,), "view")


@entry(7)
def gathered(p, rng):
    k = p.pick("fffib", lambda t: t.ndim and t.size)
    if k is None:
        return None
    t = p.t[k]
    n, how = t.shape[0], rng.integers(9)
    axis = int(rng.integers(0, t.ndim))
    index = rng.integers(-n, n, [(3,), (2, 2), (0,), ()][rng.integers(4)])
    if how < 2:
        key = (index,) if how else (index, *key_for(rng, t.shape[1:]))
        return Step("index by integers", lambda x: x[key], lambda x: x[key], (k,))
    if how == 2:
        mask = rng.random(t.shape[:rng.integers(1, t.ndim + 1)]) < 0.5
        return Step("index by a mask", lambda x: x[Tensor(mask)], lambda x: x[mask], (k,))
    if how == 3:
        places = np.abs(rng.integers(0, t.shape[axis], t.shape))
        return Step("gather", lambda x: x.gather(axis, places), lambda x: np.take_along_axis(x, places, axis), (k,))
    if how == 4:
        shift = int(rng.integers(-3, 4))
        return Step("roll", lambda x: x.roll(shift, axis), lambda x: np.roll(x, shift, axis), (k,))
    if how == 5:
        return Step("flip", lambda x: x.flip(axis), lambda x: np.flip(x, axis), (k,), "view")
    if how == 6:
        return Step("repeat_interleave", lambda x: x.repeat_interleave(2, axis=axis), lambda x: np.repeat(x, 2, axis),
                    (k,))
    if how == 7:
        name, d = ["tril", "triu"][rng.integers(2)], int(rng.integers(-1, 2))
        return t.ndim > 1 and Step(name, lambda x: getattr(x, name)(d), lambda x: getattr(np, name)(x, d), (k,))
    if t.dtype.kind == "b":
        return None
    j, places = p.leaf(t.shape, t.dtype.str), rng.integers(0, t.shape[axis], t.shape)

    def added(x, s):
        y = x.copy()
        key = list(np.indices(s.shape))
        key[axis] = places
        np.add.at(y, tuple(key), s)
        return y
    return Step("scatter_add", lambda x, s: x.scatter_add(axis, places, s), added, (k, j),
                size=lambda x, s: added(np.abs(x), np.abs(s)), loose=4)


@entry(4)
def joined(p, rng):
    i = p.pick("fffi", lambda t: t.ndim)
    if i is None:
        return None
    same = [k for k, t in enumerate(p.t) if t.shape == p.t[i].shape and t.dtype == p.t[i].dtype]
    j, axis = same[rng.integers(len(same))], int(rng.integers(0, p.t[i].ndim))
    how = rng.integers(4)
    if how == 0:
        return Step("concat", lambda *x: mgx.concat(x, axis), lambda *x: np.concatenate(x, axis), (i, j, i))
    if how == 1:
        return Step("stack", lambda *x: mgx.stack(x, axis), lambda *x: np.stack(x, axis), (i, j))
    if how == 2:
        return Step("pad", lambda x: mgx.pad(x, 1, 2.0), lambda x: np.pad(x, 1, constant_values=2), (i,)) \
            if p.t[i].dtype.kind == "f" else None
    return Step("np.concatenate", lambda *x: np.concatenate(x, axis), lambda *x: np.concatenate(x, axis), (i, j))


@entry(7)
def write(p, rng):
    i = p.pick("fffib")
    if i is None:
        return None
    if p.fixed or rng.random() < 0.5 and p.t[i].is_leaf and p.t[i].requires_grad:
        return None
    t = p.t[i]
    how = rng.integers(7)
    if t.dtype.kind == "b":
        how = 4
    kinds = "f" if t.dtype.kind == "f" else "i"
    j = p.partner(i, kinds) if how in (0, 1, 2, 3) else i
    if how in (0, 1, 2, 3):
        if np.broadcast_shapes(t.shape, p.t[j].shape) != t.shape or t.dtype == "f4" and p.t[j].dtype == "f8":
            return None                         # no array of float64 is written to float32
        name = ["add_", "mul_", "sub_", "copy_"][how]

        def numpy(a, b):
            if how == 3:
                a[...] = b.copy()
            else:
                [np.add, np.multiply, np.subtract][how](a, b, out=a)
        return Step(name, method(name), numpy, (i, j), "write", loose=4)
    key = key_for(rng, t.shape)
    if how == 4:
        n = 1

        def put(x):
            x[key] = n
        return Step("set item", put, put, (i,), "write")
    if how == 5:
        def shifted(x):
            x[1:] += x[:-1]
        return t.ndim and t.shape[0] and all(t.strides) and Step("overlapping +=", shifted, shifted, (i,), "write",
                                                                 loose=4)
    return t.dtype.kind == "f" and Step("clip_", lambda x: x.clip_(-1, 1), lambda x: np.clip(x, -1, 1, out=x), (i,),
                                        "write")


# ----- costs and layers ----------------------------------------------------------------------------------------------

def reduced(terms, reduction, count=None):
    return terms if reduction == "none" else terms.sum() if reduction == "sum" else np.asarray(
        terms.sum() / (terms.size if count is None else count))


@entry(4)
def labelled(p, rng):
    dtype = p.float()
    m, n = (int(k) for k in rng.integers(1, 5, 2))
    k = p.leaf((m, n), dtype)
    label = np.where(rng.random(m) < [0.0, 0.4, 1.0][rng.integers(3)], -100, rng.integers(0, n, m))
    reduction = ["mean", "sum", "none"][rng.integers(3)]
    smoothing = float(rng.choice([0.0, 0.0, 0.1]))

    def truth(x):
        logp = special.log_softmax(x, 1)
        kept = label != -100
        picked = -logp[np.arange(m), np.where(kept, label, 0)]
        terms = np.where(kept, picked * (1 - smoothing) - smoothing * logp.mean(1), 0.0) if smoothing else np.where(
            kept, picked, 0.0)
        return np.asarray(reduced(terms, reduction, kept.sum()), "f8")

    def ours(x):
        return F.cross_entropy(x, label, reduction=reduction, **({"label_smoothing": smoothing} if smoothing else {}))
    if p.mode == "special" and not finite(array_of(p.t[k])):
        return None
    ignored = " with ignored labels" if (label == -100).any() else ""
    step = Step("cross_entropy" + ignored, ours, truth, (k,), size=lambda x: np.max(np.where(x < 1e4, x, 1)) + 1,
                loose=16)
    if (label == -100).all() and reduction == "mean":           # nan, whose gradient is 0
        x = p.t[k].detach().clone().requires_grad_()
        F.cross_entropy(x, label).backward()
        if np.isnan(array_of(x.grad)).any():
            raise Wrong("cross_entropy of ignored labels only", "gradient nan")
        return None
    return step


@entry(4)
def cost(p, rng):
    shape, dtype = (int(rng.integers(1, 5)),), p.float()
    k, reduction = p.leaf(shape, dtype), ["mean", "sum", "none"][rng.integers(3)]
    target = p.numbers(shape, dtype)
    if not finite(target):
        return None
    how = rng.integers(6)
    if how == 0:
        choices = [0.0, 1.0, 0.3, 0.9, -0.25, 1.5] if p.mode != "plain" else [0.1, 0.3, 0.9]
        k = p.leaf(values=np.asarray(rng.choice(choices, shape), dtype))
        t = np.asarray(rng.choice([0.0, 1.0, 0.25], shape), dtype)

        def truth(x):
            if ((x < -0.01) | (x > 1.01)).any():
                raise ValueError("no probability")
            with np.errstate(all="ignore"):
                return reduced(-(t * np.maximum(np.log(x), -100) + (1 - t) * np.maximum(np.log1p(-x), -100)), reduction)
        return Step("binary_cross_entropy", lambda x: F.binary_cross_entropy(x, t, reduction=reduction), truth, (k,),
                    loose=8, order=2, size="max")
    if how == 1:
        t = np.asarray(rng.choice([0.0, 1.0, 0.25], shape), dtype)
        return finite(array_of(p.t[k])) and Step(
            "binary_cross_entropy_with_logits", lambda x: F.binary_cross_entropy_with_logits(x, t, reduction=reduction),
            lambda x: reduced(np.maximum(x, 0) - x * t + np.log1p(np.exp(-np.abs(x))), reduction), (k,), loose=8,
            size=lambda x: reduced(2 * np.abs(x) + 1, reduction))
    off = {2: ("mse_loss", lambda d: d * d, 2), 3: ("l1_loss", np.abs, 1),
           4: ("huber_loss", lambda d: np.where(np.abs(d) < 1, d * d / 2, np.abs(d) - 0.5), 2),
           5: ("smooth_l1_loss", lambda d: np.where(np.abs(d) < 1, d * d / 2, np.abs(d) - 0.5), 2)}[how]
    return Step(off[0], lambda x: getattr(F, off[0])(x, target, reduction),
                lambda x: reduced(off[1](x - target), reduction),
                (k,), loose=16, size=lambda x: reduced(off[1](np.abs(x) + np.abs(target)), reduction))


@entry(3)
def normalised(p, rng):
    n, dtype = int(rng.integers(2, 6)), p.float()
    k, w, b = p.leaf((3, n), dtype), p.leaf((n,), dtype), p.leaf((n,), dtype)
    if not all(finite(array_of(p.t[j])) for j in (k, w, b)):
        return None
    if max(np.abs(array_of(p.t[j])).max() for j in (w, b)) > 1e10:
        return None
    centred = bool(rng.integers(2))

    def truth(x, w, b):
        c = x - x.mean(-1, keepdims=True) if centred else x
        top = np.maximum(np.abs(c).max(-1, keepdims=True), 1)
        y = c / top / np.sqrt(((c / top)**2).mean(-1, keepdims=True) + 1e-5 / top**2)
        return y * w + b if centred else y * w
    if centred:
        return Step("layer_norm", lambda x, w, b: F.layer_norm(x, (n,), w, b), truth, (k, w, b),
                    size=lambda x, w, b: 3 * np.abs(w) + np.abs(b) + 0 * x, loose=1e3)
    return Step("rms_norm", lambda x, w: F.rms_norm(x, (n,), w, 1e-5), lambda x, w: truth(x, w, 0), (k, w),
                size=lambda x, w: 3 * np.abs(w) + 0 * x, loose=1e3)


@entry(3)
def attention(p, rng):
    n, dtype = int(rng.integers(2, 4)), p.float()
    if p.mode == "special":
        return None
    q, k, v = (p.leaf((n, 2), dtype) for _ in range(3))
    mask = rng.random((n, n)) < 0.6
    if rng.random() < 0.4:
        mask[rng.integers(n)] = False
    floats = rng.random() < 0.3
    given = np.where(mask, 0.0, -INF).astype(dtype) if floats else mask

    def truth(q, k, v):
        s = np.where(mask, q @ k.T / np.sqrt(2), -INF)
        top = np.where(mask.any(1, keepdims=True), s.max(1, keepdims=True), 0.0)
        e = np.exp(s - top)
        return e / np.where(mask.any(1, keepdims=True), e.sum(1, keepdims=True), 1.0) @ v
    return Step("attention", lambda q, k, v: F.scaled_dot_product_attention(q, k, v, attn_mask=given), truth, (q, k, v),
                size="max", loose=16, order=2)


@entry(2)
def matrix(p, rng):
    n = int(rng.integers(1, 4))
    a = rng.normal(size=(n, n)) + 2 * np.eye(n)
    if p.mode == "special" and rng.random() < 0.5:
        a[rng.integers(n), rng.integers(n)] = NAN
    k = p.leaf(values=a)
    name = ["det", "inv", "slogdet"][rng.integers(3)]
    if name == "det":
        def truth(a):
            return np.asarray(np.linalg.det(a) if finite(a) else NAN)
        return Step(name, mgx.linalg.det, truth, (k,), loose=64, order=2, size="max")
    if not finite(a):
        return None
    if name == "inv":
        return Step(name, mgx.linalg.inv, np.linalg.inv, (k,), loose=512, order=2, size="max")
    return Step(name, lambda a: mgx.linalg.slogdet(a)[1], lambda a: np.asarray(np.linalg.slogdet(a)[1]), (k,),
                loose=512,
                order=2, size=lambda a: np.asarray(1.0))


@entry(2)
def embedded(p, rng):
    k = p.leaf((4, 2), "f8")
    ids = rng.integers(0, 4, (2, 3))
    return Step("embedding", lambda w: F.embedding(ids, w), lambda w: w[ids], (k,))


# ----- what changes the graph ----------------------------------------------------------------------------------------

SMOOTH = [("tanh", lambda x: x.tanh(), np.tanh), ("x * x", lambda x: x * x, lambda x: x * x),
          ("sin", lambda x: x.sin(), np.sin), ("x * 3 + 1", lambda x: x * 3 + 1, lambda x: x * 3 + 1)]


@entry(2)
def cut(p, rng):
    k, (_, ours, truth) = p.pick("f"), SMOOTH[rng.integers(len(SMOOTH))]
    if rng.random() < 0.4:
        p.fixed.add(k)
        return Step("detach", lambda x: x.detach(), lambda x: x, (k,), "constant", order=0)

    def island(x):
        with mgx.no_grad():
            return ours(x)
    return Step("no_grad", island, truth, (k,), "constant", order=0, loose=4, size=lambda x: 3 * x + 1)


class Same(mgx.autograd.Function):
    """Returns its input; the derivative by hand is 1."""

    @staticmethod
    def forward(ctx, x):
        return x

    @staticmethod
    def backward(ctx, g):
        return g


@entry(3)
def around(p, rng):
    k, (_, ours, truth) = p.pick("f"), SMOOTH[rng.integers(len(SMOOTH))]
    how, size = rng.integers(4), lambda x: np.abs(truth(x)) + 3 * x + 1
    if how == 0:
        return Step("checkpoint", lambda x: mgx.checkpoint(ours, x), truth, (k,), size=size, order=2, loose=4)
    if how == 1:
        def hooked(x):
            y = x * 1.0
            if y.requires_grad:
                y.register_hook(lambda g: g * 2)
            return y
        return p.t[k].requires_grad and Step("hook", hooked, lambda x: x * 1, (k,), "hooked", order=0)
    if how == 2:
        if rng.random() < 0.5:
            return Step("Function", lambda x: Same.apply(x) * 2, lambda x: x * 2, (k,), order=2)

        def whole(x):                       # refused, or right
            try:
                y = x * 1.0
                z = Same.apply(y)
                z.mul_(3)
                return z
            except GraphError:
                return x * 3
        return Step("Function returning its input, written to", whole, lambda x: x * 3, (k,), order=2)
    if p.mode == "special":
        return None
    return dropped(p, rng, k)


def dropped(p, rng, k):
    """A checkpoint that draws: the second run draws the same."""
    mgx.manual_seed(int(rng.integers(100)))
    x = Tensor(np.abs(array_of(p.t[k])) + 1, requires_grad=True)
    y = mgx.checkpoint(lambda x: F.dropout(x * x, 0.5), x)
    y.sum().backward()
    kept = array_of(y) != 0
    if not finite(array_of(x)):
        return
    if not np.allclose(array_of(y), np.where(kept, 2 * array_of(x)**2, 0)):
        raise Wrong("checkpoint with dropout", "value")
    if x.size and not np.allclose(array_of(x.grad), np.where(kept, 4 * array_of(x), 0)):
        raise Wrong("checkpoint with dropout", "gradient", "the second run draws other numbers")
    COUNTS["checkpoint with dropout"] += 1


CONVERSIONS = {
    "np.array of a list": lambda x, a: np.array([x, x * x]), "np.asarray": lambda x, a: np.asarray(x),
    "scipy.special.logsumexp": lambda x, a: special.logsumexp(x), "scipy.special.softmax": lambda x,
    a: special.softmax(x),
    "scipy.special.expit": lambda x, a: special.expit(x), "sparse @": lambda x,
    a: scipy.sparse.csr_array(np.eye(x.size)) @ x,
    "ndarray[:] =": lambda x, a: a.__setitem__(slice(None), x), "np.copyto": lambda x, a: np.copyto(a, x),
    "ndarray @": lambda x, a: np.ones((2, x.size)) @ x, "np.exp": lambda x, a: np.exp(x), "ndarray +": lambda x,
    a: a + x,
    "ndarray +=": lambda x, a: a.__iadd__(x), "np.add(out=)": lambda x, a: np.add(a, x, out=a),
    "np.add.reduce": lambda x, a: np.add.reduce(x), "np.where": lambda x, a: np.where(a > 0, x, a),
    "np.vstack": lambda x, a: np.vstack([x, a]), "np.diff": lambda x, a: np.diff(x), "np.median": lambda x,
    a: np.median(x),
    "np.linalg.norm": lambda x, a: np.linalg.norm(x), "np.r_": lambda x, a: np.r_[x], "memoryview": lambda x,
    a: memoryview(x),
    "np.nan_to_num": lambda x, a: np.nan_to_num(x), "np.interp": lambda x, a: np.interp(x, [0, 1], [0, 1]),
    "np.dot": lambda x, a: np.dot(x, a), "np.outer": lambda x, a: np.outer(x, a), "np.polyval": lambda x,
    a: np.polyval([1, 2], x),
    "np.sum": lambda x, a: np.sum(x), "np.ascontiguousarray": lambda x, a: np.ascontiguousarray(x),
    "np.full": lambda x, a: np.full(x.shape, x), "np.put": lambda x, a: np.put(a, range(x.size), x),
    "scipy.linalg.norm": lambda x, a: scipy.linalg.norm(x), "scipy.stats.zscore": lambda x, a: scipy.stats.zscore(x),
    "np.fft": lambda x, a: np.fft.rfft(x), "np.random": lambda x, a: np.random.default_rng(0).normal(x)}


@entry(4)
def converted(p, rng):
    """A graph is kept, or the conversion refused."""
    name = list(CONVERSIONS)[rng.integers(len(CONVERSIONS))]
    x = Tensor(rng.normal(size=3), requires_grad=True)
    source = x if rng.random() < 0.5 else x * 1.0
    a = rng.normal(size=3)
    result, error = error_of(CONVERSIONS[name], source, a)
    COUNTS["conversions"] += 1
    if error is not None:
        return None
    if not isinstance(result, Tensor) or not result.requires_grad:
        raise Wrong(name, "graph lost", f"{result!r:.100}")
    result.sum().backward()
    if x.grad is None:
        raise Wrong(name, "graph lost", f"{result!r:.100}")
    return None


@entry(1)
def clipped(p, rng):
    """The norm that ``clip_grad_norm_`` leaves."""
    scale = [1.0, 3e30, 1e-30, 1e20][rng.integers(4)]
    g = (rng.normal(size=4) * scale).astype("f4")
    w = Tensor(np.ones(4, "f4"), requires_grad=True)
    w.grad = Tensor(g)
    total = float(optim.clip_grad_norm_([w], scale / 2))
    truth = np.linalg.norm(g.astype("f8"))
    left = np.linalg.norm(w.grad.numpy().astype("f8"))
    if not np.isclose(total, truth, rtol=1e-4) or not np.isclose(left, min(truth, scale / 2), rtol=1e-4):
        raise Wrong("clip_grad_norm_", "value", f"{total} and left {left}, not {truth} and {min(truth, scale / 2)}")


@entry(1)
def watched(p, rng):
    """``detect_nan`` of one thread ends while that of another is open."""
    if rng.random() < 0.95:
        return None
    first, second, done, raised = threading.Event(), threading.Event(), threading.Event(), []

    def one():
        with mgx.detect_nan():
            first.set()
            second.wait(5)
        done.set()

    def two():
        first.wait(5)
        with mgx.detect_nan():
            second.set()
            done.wait(5)
            try:
                Tensor(np.full(3, -1.0), requires_grad=True).log()
            except NonFiniteError:
                raised.append(1)

    threads = [threading.Thread(target=f) for f in (one, two)]
    [t.start() for t in threads]
    [t.join() for t in threads]
    if not raised:
        raise Wrong("detect_nan", "two threads", "the one that ends switches off the other's")
    try:
        Tensor([-1.0]).log()
    except NonFiniteError:
        raise Wrong("detect_nan", "two threads", "stays on") from None


def program(seed, number, table=TABLE):
    """One program of steps of the table; what was wrong, or None."""
    rng = np.random.default_rng([seed, number])
    p = Program(rng, ["plain", "plain", "ties", "special"][rng.integers(4)])
    p.pure = bool(rng.random() < 0.5)
    try:
        for _ in range(rng.integers(1, 3)):
            p.leaf()
        for _ in range(rng.integers(2, 9)):
            step = table[rng.integers(len(table))](p, rng)
            if isinstance(step, Step) and sum(p.t[k].size for k in step.places) < 20000:
                p.apply(step)
        p.whole()
    except Wrong as wrong:
        return str(wrong)[:700].replace("\n", " ")
    except AttributeError as error:
        COUNTS[f"missing: {error}"[:80]] += 1
    except Exception as error:
        return f"program: raises: {type(error).__name__}: {error}"[:700].replace("\n", " ")
    COUNTS["programs"] += 1
    return None
