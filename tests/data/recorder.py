"""Run one torch operation, differentiate it twice and keep what came out; used by record_torch.py."""

import json

import numpy as np
import torch

torch.set_num_threads(1)
rng = np.random.default_rng(20260101)


class Recorder:
    """Cases, and one pool of numbers per dtype in which their arrays lie one after the other."""

    def __init__(self):
        self.cases, self.pools, self.lengths, self.seen = [], {}, {}, {}

    def array(self, a):
        """Put an array in its pool; return the reference [dtype, offset, shape]."""
        a = np.asarray(a.detach().numpy() if isinstance(a, torch.Tensor) else a)
        key = (a.dtype.name, a.shape, a.tobytes())
        if key not in self.seen:
            offset = self.lengths.get(a.dtype.name, 0)
            self.pools.setdefault(a.dtype.name, []).append(a.ravel())
            self.lengths[a.dtype.name] = offset + a.size
            self.seen[key] = [a.dtype.name, offset, list(a.shape)]
        return self.seen[key]

    def add(self, case, **arrays):
        for key, value in arrays.items():
            if value is not None:
                case[key] = [None if a is None else self.array(a) for a in value]
        if any(c["id"] == case["id"] for c in self.cases):
            raise ValueError(f"two cases named {case['id']}")
        self.cases.append(case)

    def save(self, path):
        index = np.array([json.dumps(c) for c in self.cases])
        pools = {name: np.concatenate(parts) for name, parts in self.pools.items()}
        # the index holds JSON, one case per element, as UTF-8 bytes: a quarter of numpy's UTF-32
        np.savez_compressed(path, index=np.char.encode(index, "utf-8"), **pools)


out = Recorder()
number = {}                                  # op -> how many cases so far


def is_float(a):
    return np.asarray(a).dtype.kind == "f"


def run(f, arrays, dtype, seed, order):
    """Call f on torch tensors; return its outputs, cotangents, grads, weights, grads2, jvp."""
    r = np.random.default_rng(seed)
    cast = {"float64": np.float64, "float32": np.float32}[dtype]
    xs = [torch.tensor(np.asarray(a, cast) if is_float(a) else np.asarray(a)) for a in arrays]
    if order > 0:
        for x in xs:
            if x.dtype.is_floating_point:
                x.requires_grad_()
    ys = f(*xs)
    ys = list(ys) if isinstance(ys, (tuple, list)) else [ys]
    live = [y for y in ys if y.dtype.is_floating_point and y.requires_grad]
    if order == 0 or not live:
        return ys, None, None, None, None, None
    leaves = [x for x in xs if x.requires_grad]
    draw = lambda t: torch.tensor(np.asarray(r.uniform(0.5, 1.5, t.shape) * r.choice([-1, 1], t.shape), cast))
    cotangents = [draw(y).requires_grad_() for y in live]
    grads = torch.autograd.grad(live, leaves, cotangents, create_graph=True, allow_unused=True)
    grads = [torch.zeros_like(x) if g is None else g for x, g in zip(leaves, grads)]
    spread = lambda gs: spread_over(xs, leaves, gs)
    if order == 1 or not any(g.requires_grad for g in grads):
        return ys, cotangents, spread(grads), None, None, None
    weights = [draw(x) for x in leaves]
    total = sum((w * g).sum() for w, g in zip(weights, grads))
    try:
        second = torch.autograd.grad(total, leaves + cotangents, allow_unused=True)
    except RuntimeError as error:                    # torch has no second derivative of hardsigmoid
        if "not implemented" not in str(error):
            raise
        return ys, cotangents, spread(grads), None, None, None
    jvp = [torch.zeros_like(c) if s is None else s for c, s in zip(cotangents, second[len(leaves):])]
    second = [torch.zeros_like(x) if s is None else s for x, s in zip(leaves, second)]
    if not any((s != 0).any() for s in second):
        second = None
    return ys, cotangents, spread(grads), spread(weights), second and spread(second), jvp


def spread_over(xs, leaves, values):
    """One entry per input, None for the inputs that take no gradient."""
    it = iter(values)
    return [next(it) if any(x is leaf for leaf in leaves) else None for x in xs]


def record(op, kind, f, arrays, kwargs=None, note="", order=2, f32=None, fix=None, **extra):
    """Record one call of `f`, and about every third also in float32.

    order: 0 values only, 1 first derivatives, 2 second derivatives too.
    fix(inputs, found) -> (why, arrays): replaces torch's numbers where ours are meant to differ; torch's stay beside.
    """
    number[op] = number.get(op, 0) + 1
    arrays = [np.asarray(a, np.float64) if is_float(a) else np.asarray(a) for a in arrays]
    seed = 1000 * len(out.cases) + 7
    if f32 is None:
        f32 = number[op] % 3 == 1
    for dtype in ("float64", "float32") if f32 else ("float64",):
        ys, cs, grads, ws, second, jvp = run(f, arrays, dtype, seed, order)
        name = f"{op}/{number[op]:02d}" + (f"-{note}" if note else "") + ("/f32" if dtype == "float32" else "")
        case = {"id": name, "op": op, "kind": kind, "kwargs": kwargs or {}, "dtype": dtype, "source": "torch", **extra}
        cast = np.float64 if dtype == "float64" else np.float32
        inputs = [a.astype(cast) if is_float(a) else a for a in arrays]
        case["grad"] = [grads is not None and g is not None for g in (grads or [None] * len(inputs))]
        found = dict(outputs=ys, cotangents=cs, grads=grads, weights=ws, grads2=second, jvp=jvp)
        found = {k: v and [None if a is None else a.detach().numpy() for a in v] for k, v in found.items()}
        if fix:
            before = {f"torch_{k}": v for k, v in found.items()}
            case["differs"], after = fix(inputs, found)
            found = {**found, **after, **{k: before[k] for k in (f"torch_{a}" for a in after)}}
        out.add(case, inputs=inputs, **found)


def method(op, f, *arrays, **kw):
    record(op, "method", f, arrays, **kw)


def function(op, f, *arrays, **kw):
    record(op, "function", f, arrays, **kw)


def normal(*shape):
    return rng.standard_normal(shape)


def away(shape, lo, hi, kinks=(), gap=0.05):
    """Uniform numbers in (lo, hi), none within `gap` of a kink."""
    x = rng.uniform(lo, hi, shape)
    for k in kinks:
        near = abs(x - k) < gap
        x = np.where(near, x + np.where(x < k, -gap, gap) * 2, x)
    return x
