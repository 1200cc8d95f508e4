"""Random use of everything public: `python tests/fuzz.py [--case CASE] [--seed S] [--first K] [--count N]`.

"calls" calls with whatever. Operands are good and bad: every dtype, layout and shape, numbers beyond every limit,
objects whose `__index__`, `__float__`, `__array__` ... write to the operands, walk their graphs or raise. What is told
are errors that do not name the operation. "views" compares compiled functions that hand out views of their results with
the functions as they are. "programs" compares programs of many operations, and their derivatives, with NumPy: see
`programs.py`; "wide" programs of more operations, of `wide.py`; "axes" programs over arrays of many axes.

Each call is seeded by the seed and its number alone; with --loud the number is printed before the call, so that a crash
can be called again. With --minutes calls go on for that long. At the end comes each kind of fault with the first number
that has it and how often it was found: none is wanted.
"""
import argparse
import contextlib
import faulthandler
import gc
import os
import threading
import time
import warnings

import numpy as np
import programs
import wide

import microgradx as mgx
from microgradx import Tensor, Value, data, nn, optim
from microgradx.errors import Error, ShapeError

SHAPES = [(), (0,), (1,), (3,), (2, 3), (3, 2), (3, 3), (1, 1), (2, 0, 3), (2, 3, 3), (1,) * 32]
DTYPES = ["f4", "f8", "f8", "i8", "?"]
ODD = [">f8", "f2", "i4", "u8", "O", "U3", "c16", "M8[s]", "i4,f8"]
NAN, INF = float("nan"), float("inf")
NUMBERS = [0, 1, -1, 2, 7, 2**62, 2**63, 2**70, -2**63, 10**400, 0.5, -0.0, NAN, INF, -INF, 1e308, True, 1j,
           np.float32(1), np.float64(2), np.int64(1), np.bool_(True), np.float16(1)]
THINGS = [None, None, "a", "", "mean", "tanh", "ij->i", "ij,jk", b"x", ..., slice(None), slice(1, None, -2),
slice("a"), (), [],
          (0,), (0, 1), (1, 0), (-1,), [1, 2], (2, -1), (3, 2), [[1], [2, 3]],
          [0.5, 1], {}, {"a": 1}, set(), int, object(), len,
          np.float32, "float32", range(3), (1, 2), ((1, 1), (0, 2)), (2**62, 2**62)]


class Own(Exception):
    """Raised by the operands themselves."""


class Evil:
    """Answers with anything, after it did anything to the tensors around."""

    def __init__(self, rng, around):
        self.rng, self.around = rng, around

    def act(self):
        rng, x = self.rng, self.around[self.rng.integers(len(self.around))] if self.around else Tensor(1.0)
        with contextlib.suppress(Exception):
            [lambda: setattr(x, "data", Tensor(np.full(x.shape, 3, x.dtype))), lambda: x.zero_(),
            lambda: x.sum().backward(),
             lambda: x.backward(retain_graph=True), gc.collect, lambda: x.__init__([1.0, 2.0]), lambda: x.fill_(self),
             lambda: x.__setitem__(..., 1), lambda: setattr(x, "grad", x.detach()), lambda: setattr(x, "grad", None),
             self.around.clear, lambda: x.requires_grad_(), lambda: 1, lambda: 1, lambda: 1][rng.integers(15)]()
        if rng.random() < 0.2:
            raise Own("on purpose")

    def __index__(self):
        self.act()
        return int(self.rng.integers(-2, 3))

    def __float__(self):
        self.act()
        return float(self.rng.normal())

    def __array__(self, dtype=None, copy=None):
        self.act()
        return np.ones(SHAPES[self.rng.integers(len(SHAPES))])

    def __len__(self):
        self.act()
        return int(self.rng.integers(0, 4))

    def __bool__(self):
        self.act()
        return bool(self.rng.integers(2))

    def __getitem__(self, k):
        self.act()
        if self.rng.random() < 0.4:
            raise IndexError
        return self

    def __del__(self):
        with contextlib.suppress(Exception):
            self.act()


def many_axes(rng):
    """A shape of 7 to 32 axes, of which at most six are of length 2 and all others of length 1."""
    ndim = rng.integers(7, 33)
    return tuple(1 + (rng.permutation(ndim) < rng.integers(7)))


def any_shape(rng):
    return many_axes(rng) if rng.random() < 0.1 else SHAPES[rng.integers(len(SHAPES))]


def array(rng):
    a = rng.integers(-2, 4, any_shape(rng))
    a = a.astype((DTYPES + ODD)[rng.integers(len(DTYPES) + len(ODD))])
    how = rng.integers(6)
    if how == 0:
        a = a.T
    elif how == 1 and a.ndim:
        a = a[::-1]
    elif how == 2 and a.dtype.kind in "fi":
        a = np.frombuffer(b"x" + a.tobytes(), np.uint8)[1:].view(a.dtype).reshape(a.shape)
    elif how == 3:
        a.flags.writeable = False
    return a


def tensor(rng, around):
    a = rng.normal(0, 2, any_shape(rng)).astype(DTYPES[rng.integers(len(DTYPES))])
    x = Tensor(a) if rng.random() < 0.8 else mgx.from_numpy(np.asarray(a))
    if x.dtype.kind == "f" and rng.random() < 0.7:
        x.requires_grad = True
        if rng.random() < 0.3:
            x = x * 2
        if rng.random() < 0.2:
            def hook(g):
                Evil(rng, around).act()
                return [None, g * 2, g.zero_(), g[0], 3][rng.integers(5)]
            x.register_hook(hook)
    how = rng.integers(8)
    if how == 0:
        x = x.T
    elif how < 3 and x.ndim < 32:
        x = x[..., None] if how == 1 else x.expand(2, *x.shape)
    around.append(x)
    return x


def operand(rng, around, depth=0):
    kind = rng.random()
    if kind < 0.4:
        return tensor(rng, around)
    if kind < 0.5:
        return NUMBERS[rng.integers(len(NUMBERS))]
    if kind < 0.7:
        return THINGS[rng.integers(len(THINGS))]
    if kind < 0.8:
        return array(rng)
    if kind < 0.86:
        return Value(rng.normal()) * 2
    if kind < 0.94 or depth > 1:
        return Evil(rng, around)
    several = [operand(rng, around, depth + 1) for _ in range(rng.integers(1, 4))]
    return several if rng.random() < 0.5 else tuple(several)


METHODS = {name for name in dir(Tensor) if not name.startswith("_")} | set(
    "__add__ __radd__ __sub__ __rsub__ __mul__ __rmul__ __truediv__ __rtruediv__ __pow__ __rpow__ __mod__ __matmul__ "
    "__rmatmul__ __iadd__ __imul__ __isub__ __itruediv__ __getitem__ __setitem__ __lt__ __eq__ __ne__ __ge__ __round__ "
    "__neg__ __len__ __iter__ __bool__ __float__ __int__ __index__ __repr__ __hash__ __copy__ __reduce__ "
    "__init__".split())
OF_VALUES = {name for name in dir(Value) if not name.startswith("_")} | {"__add__", "__pow__", "__lt__", "__init__",
"_prev", "_op"}
FUNCTIONS = {f"{part.__name__}.{name}": getattr(part, name)
             for part in (mgx, mgx.functional, nn, nn.functional, nn.init, optim, data, mgx.random)
             for name in getattr(part, "__all__", dir(part))
             if not name.startswith("_") and callable(getattr(part, name)) and name not in (
                 "Count", "Size", "dtype", "set_default_dtype", "show_config")}       # int and others; what lasts


NESTED = [mgx.grad, lambda f: lambda x: mgx.value_and_grad(f)(x)[1], lambda f: lambda x: mgx.vjp(f, x)[1](x)[0],
          lambda f: lambda x: mgx.jvp(f, (x,), (x,))[1], lambda f: lambda x: mgx.jacobian(f)(x).sum(),
          lambda f: lambda x: mgx.hessian(f)(x).sum(), lambda f: lambda x: mgx.hvp(f, (x,), (x,))[0]]


def nested(rng):
    """Transforms of transforms of a function with parameters: the slope by a parameter is that of differences."""
    kinds = [NESTED[rng.integers(len(NESTED))] for _ in range(rng.integers(1, 4))]
    w, x = (Tensor(rng.uniform(0.5, 1.5), dtype="float64", requires_grad=True) for _ in range(2))

    def made(*_):
        def f(x):
            return w * x ** 3 + (w * x).tanh()
        for kind in kinds:
            f = kind(f)
        if rng.random() < 0.3:
            return f(x)
        y = f(Tensor(0.7, dtype="float64"))
        slope = mgx.autograd.grad(y, w, retain_graph=True)[0].item()
        with mgx.no_grad():
            center, ends = w.clone(), []
            for step in 1e-5, -1e-5:
                w.data = center + step
                ends.append(f(Tensor(0.7, dtype="float64")).item())
            w.data = center
        assert abs(slope - (ends[0] - ends[1]) / 2e-5) <= 1e-5 * (1 + abs(slope)), (slope, ends)
        return None
    return "transforms.nested", made


def mixed(rng):
    """Writes in place between dtypes, and derivatives of them with a graph: the numbers are those without one."""
    p = Tensor(rng.uniform(0.5, 1.5, 200).astype("f4"), requires_grad=True)
    q = Tensor(np.asarray(rng.uniform(0.5, 1.5), DTYPES[rng.integers(2)]), requires_grad=True)

    def made(*_):
        y = p.exp() * 1.0
        for step in rng.integers(0, 4, 3):
            y = [y.__imul__, y.__iadd__, y.__isub__, y.__itruediv__][step](q)
        y = y.sum()
        found = [mgx.autograd.grad(y, [p, q], retain_graph=True, create_graph=graph) for graph in (False, True)]
        for plain, linked in zip(*found, strict=True):
            assert plain.dtype == linked.dtype
            np.testing.assert_allclose(plain.numpy(), linked.numpy(), rtol=1e-4, atol=1e-4)
        return found[1][0]
    return "Tensor.mixed", made


def target(rng, around):
    """(name, function)"""
    kind = rng.random()
    if kind < 0.06:
        return (nested if kind < 0.03 else mixed)(rng)
    if kind < 0.55:
        name = sorted(METHODS)[rng.integers(len(METHODS))]
        x = tensor(rng, around)
        if not callable(getattr(Tensor, name)):
            return f"Tensor.{name}", lambda *a: [getattr(x, name), setattr(x, name, a[0]) if a else delattr(x, name)]
        return f"Tensor.{name}", lambda *a, **k: getattr(x, name)(*a, **k)
    if kind < 0.65:
        name = sorted(OF_VALUES)[rng.integers(len(OF_VALUES))]
        v = Value(rng.normal())
        if not callable(getattr(Value, name)):
            return f"Value.{name}", lambda *a: [getattr(v, name), setattr(v, name, a[0]) if a else delattr(v, name)]
        return f"Value.{name}", lambda *a, **k: getattr(v, name)(*a, **k)
    name = sorted(FUNCTIONS)[rng.integers(len(FUNCTIONS))]
    return name, FUNCTIONS[name]


def clear(error, name, arguments):
    """Does the error come from us with a word on what failed, or from the operands, or from the call itself?"""
    if isinstance(error, (SystemError, AssertionError)):
        return False
    if isinstance(error, (Error, Own, MemoryError, BufferError, RecursionError, OSError)):
        return True
    if ".nn" in name or "Evil" in repr(arguments):      # nets say what NumPy says; who lies is told anything
        return True
    text, (part, *_, last) = str(error), name.split(".")
    if last.strip("_") in text or part == "Value" and part in text:
        return True
    words = ("truth value of a", "too large to convert to float", "to Python scalars")
    if isinstance(error, (TypeError, AttributeError, NotImplementedError)):
        words += ("argument", "must be real number", "len()", "not iterable", "not support", "unsupported operand",
                  "no attribute", "not writable", "no setter", "not callable", "delet", "signature", "__del__",
                  "os.PathLike")
    return any(word in text for word in words)


def use(result):
    """What can be done with any result."""
    for y in result if isinstance(result, (tuple, list)) else (result,):
        if isinstance(y, Tensor):
            repr(y)
            if y.requires_grad and y.size:
                y.sum().backward(retain_graph=True)
        elif isinstance(y, Value):
            y.backward()


def once(seed, number):
    """One call; what was unclear about its error, or None."""
    rng, around = np.random.default_rng([seed, number]), []
    name, function = target(rng, around)
    arguments = [operand(rng, around) for _ in range(rng.choice(4, p=[0.2, 0.45, 0.25, 0.1]))]
    named = {}
    if rng.random() < 0.1:
        named[["axis", "dim", "keepdims", "lo", "weight"][rng.integers(5)]] = operand(rng, around)
    try:
        use(function(*arguments, **named))
    except Exception as error:
        if not clear(error, name, arguments):
            return f"{name}: {type(error).__name__}: {error}"[:150].replace("\n", " ")
    finally:
        for part in (around, arguments):
            part.clear()
    assert mgx.is_grad_enabled()


MADE = [lambda x, w: x * 2, lambda x, w: (x * w).tanh(), lambda x, w: x @ (x.T * 0.5), lambda x, w: x.cumsum(0),
        lambda x, w: mgx.concat([x, x * w]), lambda x, w: x.sum(1, keepdims=True) + x, lambda x, w: x.exp().amax(0),
        lambda x, w: x.relu().sum(1), lambda x, w: mgx.zeros_like(x).copy_(x), lambda x, w: mgx.stack([x, x - 1]),
        lambda x, w: (x * 3).add_(w), lambda x, w: x.softmax(-1), lambda x, w: (x > 0) * w, lambda x, w: x.sort(0)[0],
        lambda x, w: mgx.ones(7, 3) * 2, lambda x, w: x.T.clone(), lambda x, w: x + x.sum()]


def viewed(rng):
    """A function of one array: a view of it, or several."""
    k, part = int(rng.integers(0, 9)), float(rng.random())

    def item(y):
        return y[int(part * y.shape[0])] if y.ndim and y.shape[0] else y

    def sliced(y):
        return y[[slice(k, None), slice(None, None, -1), slice(None, k, 2), slice(-k, None)][k % 4]] if y.ndim else y
    return [item, sliced, lambda y: y.reshape(-1)[:k + 1], lambda y: y.reshape(-1)[-k - 1:], lambda y: y.T,
            lambda y: y.split(2)[-1] if y.ndim else y, lambda y: y.unbind(0)[-1] if y.ndim and y.shape[0] else y,
            lambda y: y.detach(), lambda y: y[None].expand(2, *y.shape), lambda y: y[..., k % y.shape[-1]:]
            if y.ndim and y.shape[-1] else y, lambda y: y.unsqueeze(-1), lambda y: y.flatten()][rng.integers(12)]


def views(seed, number):
    """A program that hands out views of its results, a few times, with allocations between; what was wrong, or None."""
    from microgradx._core.capture.passes import PASSES
    from microgradx._core.trees import leaves_of
    rng = np.random.default_rng([seed, number])
    made = [MADE[k] for k in rng.integers(0, len(MADE), rng.integers(1, 4))]
    chains = [[rng.integers(len(made)), [viewed(rng) for _ in range(rng.integers(0, 4))]]
              for _ in range(rng.integers(1, 4))]
    w = Tensor(np.float32(rng.normal()), requires_grad=rng.random() < 0.5)

    def function(x):
        results, handed = [f(x, w) for f in made], []
        for which, chain in chains:
            y = results[which]
            for view in chain:
                y = view(y)
            handed.append(y)
        return handed if len(handed) > 1 else handed[0]
    program = mgx.compile(function, check=rng.random() < 0.2, passes={p for p in sorted(PASSES) if rng.random() < 0.7})
    x, kept = rng.normal(size=(rng.integers(1, 120), rng.integers(1, 40))).astype(DTYPES[rng.integers(3)]), []
    for _ in range(5):
        x = x + 1
        kept.append((program(Tensor(x)), function(Tensor(x)), [mgx.full((n,), 7.0) for n in rng.integers(1, 5000, 6)]))
        if rng.random() < 0.2:
            program.explain()
            kept[rng.integers(len(kept))] = kept[-1]
    for one, other, around in kept:
        for a, b in zip(leaves_of(one), leaves_of(other), strict=True):
            if a.shape != b.shape or a.dtype != b.dtype or not np.array_equal(a.numpy(), b.detach().numpy()):
                return f"views: wrong: {a.shape} {a.dtype}, {b.shape} {b.dtype}"
        if any((a.numpy() != 7).any() for a in around):
            return "views: written beside"
    return None


# of programs over many axes: (ours, NumPy's) of an array, two of its axes and a random shape of its size
LINEAR = [
    (lambda x, i, k: x.permute(*np.roll(range(x.ndim), i)), lambda a, i, k: a.transpose(*np.roll(range(a.ndim), i))),
    (lambda x, i, k: x.transpose(i, k), lambda a, i, k: a.swapaxes(i, k)), (lambda x, i, k: x.T, lambda a, i, k: a.T),
    (lambda x, i, k: x.sum((i, k) if i != k else i), lambda a, i, k: a.sum((i, k) if i != k else i)),
    (lambda x, i, k: x.sum(i, keepdims=True) + x, lambda a, i, k: a.sum(i, keepdims=True) + a),
    (lambda x, i, k: x.mean(i) * 3, lambda a, i, k: a.mean(i) * 3),
    (lambda x, i, k: x.cumsum(i), lambda a, i, k: a.cumsum(i)),
    (lambda x, i, k: x.flip((i, k) if i != k else i), lambda a, i, k: np.flip(a, (i, k) if i != k else i)),
    (lambda x, i, k: x[(slice(None),) * i + (0,)], lambda a, i, k: a[(slice(None),) * i + (0,)]),
    (lambda x, i, k: x[(slice(None),) * i + ([0, -1, 0],)], lambda a, i, k: a[(slice(None),) * i + ([0, -1, 0],)]),
    (lambda x, i, k: x.gather(i, x.argsort(i)), lambda a, i, k: np.sort(a, i)),
    (lambda x, i, k: x[(0,) * min(i, 3) + (None,) * min(k, 3) + (...,)],
     lambda a, i, k: a[(0,) * min(i, 3) + (None,) * min(k, 3) + (...,)]),
    (lambda x, i, k: x.unsqueeze(i), lambda a, i, k: np.expand_dims(a, i)),
    (lambda x, i, k: x.squeeze(), lambda a, i, k: a.squeeze()),
    (lambda x, i, k: mgx.concat([x, x * 2], i), lambda a, i, k: np.concatenate([a, a * 2], i)),
    (lambda x, i, k: mgx.stack([x, x * 2], i), lambda a, i, k: np.stack([a, a * 2], i)),
    (lambda x, i, k: x.amax((i, k) if i != k else i), lambda a, i, k: a.max((i, k) if i != k else i)),
    (lambda x, i, k: x * x.sum(i, keepdims=True) * 0.1, lambda a, i, k: a * a.sum(i, keepdims=True) * 0.1),
    (lambda x, i, k: x.reshape(-1)[:4].expand(*x.shape[:-1], 4) if x.size > 3 else x * 2,
     lambda a, i, k: np.broadcast_to(a.reshape(-1)[:4], (*a.shape[:-1], 4)) if a.size > 3 else a * 2),
    (lambda x, i, k: mgx.roll(x, 1, i), lambda a, i, k: np.roll(a, 1, i)),
    (lambda x, i, k: x.tile(2), lambda a, i, k: np.tile(a, 2)),
    (lambda x, i, k: x.repeat(2, axis=i), lambda a, i, k: np.repeat(a, 2, i)),
    (lambda x, i, k: x @ np.ones((x.shape[-1], 3), x.dtype), lambda a, i, k: a @ np.ones((a.shape[-1], 3), a.dtype)),
    (lambda x, i, k: mgx.einsum("...i,...i->...", x, x * 0.5), lambda a, i, k: (a * a * 0.5).sum(-1)),
    (lambda x, i, k: x.softmax(i), lambda a, i, k: np.exp(a - a.max(i, keepdims=True)) / np.exp(
        a - a.max(i, keepdims=True)).sum(i, keepdims=True)),
    (lambda x, i, k: (x.tanh() + x.T.T).abs(), lambda a, i, k: np.abs(np.tanh(a) + a))]


def axes(seed, number):
    """A random program over an array of many axes: numbers as NumPy's, the slope as that of differences, a compiled
    function as it is; what was wrong, or None."""
    rng = np.random.default_rng([seed, number])
    dtype = DTYPES[rng.integers(2)]
    shape = many_axes(rng)
    a, along = rng.normal(size=shape).astype(dtype), rng.normal(size=shape)
    chosen = [(LINEAR[rng.integers(len(LINEAR))], *rng.random(2)) for _ in range(rng.integers(1, 7))]

    def program(x, which):
        for pair, i, k in chosen:
            if 0 < x.ndim < 32 and x.size <= 4096:
                x = pair[which](x, int(i * x.ndim), int(k * x.ndim))
        return x
    x, truth = Tensor(a, requires_grad=True), program(a, 1)
    try:
        y = program(x, 0)
    except ShapeError as error:
        if "at most 32 axes" in str(error):                     # NumPy has up to 64
            return None
        raise
    if y.shape != truth.shape or not np.allclose(y.numpy(), truth, rtol=1e-3 if dtype == "f4" else 1e-9, atol=1e-4):
        return f"axes: wrong: {y.shape}, NumPy's {truth.shape}"
    weights = rng.normal(size=y.shape)
    if y.requires_grad:
        (y * Tensor(weights, dtype=y.dtype)).sum().backward()
        ends = [(program(a.astype("f8") + step * along, 1) * weights).sum() for step in (1e-6, -1e-6)]
        slope = (x.grad.numpy() * along).sum()
        if dtype == "f8" and abs(slope - (ends[0] - ends[1]) / 2e-6) > 1e-4 * (1 + abs(weights).sum() + abs(slope)):
            return f"axes: slope: {slope}, of differences {(ends[0] - ends[1]) / 2e-6}"
    compiled = mgx.compile(lambda x: program(x, 0) * 1.0)
    for _ in range(3):
        if not np.array_equal(compiled(x.detach()).numpy(), y.detach().numpy()):
            return f"axes: compiled: {y.shape}"
    return None


CASES = {"calls": once, "views": views, "programs": programs.program, "wide": wide.wide, "axes": axes}
THREADED = {"calls", "views", "axes"}               # programs seed what threads share


def main(case, seed, first, count, minutes, loud):
    faulthandler.enable()
    warnings.simplefilter("ignore")
    found, start, number = {}, time.monotonic(), first

    def open_ended():
        return time.monotonic() < start + 60 * minutes if minutes else number < first + count

    while open_ended():
        if loud:
            os.write(1, b"%d\n" % number)
        said = CASES[case](seed, number)
        if said:
            found.setdefault(": ".join(said.split(": ")[:2]), []).append(f"{number}: {said}")
        number += 1

    def again(thread):
        for k in range((number - first) // 8):
            CASES[case](seed + 1, 10**6 * thread + k)

    threads = [threading.Thread(target=again, args=(k,)) for k in range(4) if case in THREADED]
    [t.start() for t in threads]
    [t.join() for t in threads]
    print(f"{case}, seed {seed}: {number - first} in {time.monotonic() - start:.0f} s")
    if case in ("programs", "wide"):
        print(*(f"    {n} {what}" for what, n in sorted(programs.COUNTS.items())), sep="\n")
    print("found:", *(f"{len(texts)} times, {texts[0]}" for texts in found.values()), sep="\n    ")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--case", choices=CASES, default="programs")
    parser.add_argument("--loud", action="store_true")
    for name, default, kind in ("seed", 0, int), ("first", 0, int), ("count", 1000, int), ("minutes", 0, float):
        parser.add_argument(f"--{name}", type=kind, default=default)
    main(**vars(parser.parse_args()))
