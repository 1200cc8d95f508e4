"""Every operation while the collector runs at each allocation, and finalizers do what hurts most: give the operands
other data of another layout, walk their graphs, write into them. Run by test_memory; the interpreter must live."""
import contextlib
import contextvars
import gc
import sys
import warnings

import numpy as np

import microgradx as mgx
from microgradx import Tensor, Value, nn
from microgradx._core import kernels
from microgradx._core.scalar.replay import compile_values

F = nn.functional
RNG = np.random.default_rng(5)
around, roots = [], []                              # what finalizers act on: operands; results with a graph
acts = 0


class Garbage:
    """A cycle whose finalizer acts, and leaves another behind."""

    def __init__(self):
        self.me = self

    def __del__(self):
        # in a context of its own: np.errstate within a finalizer, while it sets the same context variable outside, is
        # more than CPython 3.11 can take
        if active:
            contextvars.copy_context().run(self.act)
            Garbage()

    def act(self):
        global acts
        acts += 1
        with contextlib.suppress(Exception):
            x = around[acts % len(around)]
            kind = acts // len(around) % 6
            if kind < 2:                            # other data, strided: over few bytes, or in columns
                x.data = Tensor(np.ones((), x.dtype)).expand(*x.shape) if kind else Tensor(
                    RNG.uniform(0.1, 0.9, x.shape[::-1]).astype(x.dtype)).T
            elif kind == 2 and roots:
                roots[acts % len(roots)].sum().backward()
            elif kind == 3:
                x.requires_grad_(not x.requires_grad)
            elif kind == 4:
                x.grad = None
            else:
                other = mgx.from_numpy(np.frombuffer(x.numpy().tobytes(), x.dtype).reshape(x.shape))     # read-only
                x.data = other


active = False


def tensors():
    """Operands with a graph and without, of several layouts."""
    around.clear()
    roots.clear()
    for shape in (3, 3), (3, 3), (3,), (1, 3), (2, 2, 4, 4), (2, 2, 3, 3), (2,):
        around.append(Tensor(RNG.uniform(0.1, 0.9, shape), requires_grad=len(around) % 3 != 2))
    return around


def leaves(ys):
    for y in ys if isinstance(ys, (tuple, list)) else (ys,):
        if isinstance(y, Tensor):
            yield y


def rows():
    for row in kernels.table():
        name = row["name"]
        if hasattr(Tensor, name) or hasattr(mgx, name):
            function = getattr(mgx, name, None) or getattr(Tensor, name)
            yield name, lambda a, b, c, *_, f=function, n=row["arity"]: f(*(a, b, c)[:n])
            yield name + " of results", lambda a, b, c, *_, f=function, n=row["arity"]: f(*(a * 2, b * 2, c * 2)[:n])
            yield name + " and numbers", lambda a, b, c, *_, f=function, n=row["arity"]: f(*(a, 0.5, b)[:n])


def inplace(step):
    def act(a, b, c, *_):
        y = a * 1.0
        step(y, b, c)
        return y
    return act


LABEL = np.array([0, 2, 1])
OPERATIONS = {
    "matmul": lambda a, b, *_: a @ b, "matmul of a stack": lambda a, b, c, d, x, *_: x @ x,
    "row": lambda a, b, c, *_: c @ a,
    "linear": lambda a, b, c, *_: F.linear(a, b, c), "softmax": lambda a, *_: a.softmax(0),
    "log_softmax": lambda a, *_: a.log_softmax(), "cross_entropy": lambda a, *_: F.cross_entropy(a, LABEL),
    "sum": lambda a, *_: a.sum(0), "mean": lambda a, *_: a.T.mean(1), "amax": lambda a, *_: a.amax(1),
    "max": lambda a, *_: a.max(1),
    "cumsum": lambda a, *_: a.cumsum(0), "prod": lambda a, *_: a.prod(1), "var": lambda a, *_: a.var(0),
    "norm": lambda a, *_: a.norm(), "logsumexp": lambda a, *_: a.logsumexp(1),
    "reshape": lambda a, *_: a.T.reshape(9), "permute": lambda a, *_: a.permute(1, 0),
    "expand": lambda a, b, c, *_: c.expand(4, 3),
    "index": lambda a, *_: a[1:, ::2], "one": lambda a, *_: a[1, 2], "rows": lambda a, *_: a[[0, 0, 2]],
    "mask": lambda a, *_: a[LABEL > 0],
    "concat": lambda a, b, c, *_: mgx.concat([a, b, c[None]]), "stack": lambda a, b, *_: mgx.stack([a, b]),
    "pad": lambda a, *_: mgx.pad(a, 1), "gather": lambda a, *_: a.gather(0, LABEL[None]),
    "split": lambda a, *_: a.split(2),
    "scatter_add": lambda a, b, *_: a.scatter_add(0, LABEL[None], b), "astype": lambda a, *_: a.astype("f4"),
    "triu": lambda a, *_: a.triu(),
    "convolution": lambda a, b, c, d, x, w, e: F.conv2d(x, w, e),
    "max_pool": lambda a, b, c, d, x, *_: F.max_pool2d(x, 2),
    "avg_pool": lambda a, b, c, d, x, *_: F.avg_pool2d(x, 2),
    "layer_norm": lambda a, b, c, *_: F.layer_norm(a, 3, c, c),
    "setitem": inplace(lambda y, b, c: y.__setitem__(1, c)),
    "mul_": inplace(lambda y, b, c: y.__imul__(b)), "fill_": inplace(lambda y, b, c: y.fill_(1)),
    "add_": inplace(lambda y, b, c: y.__iadd__(c)), "div_": inplace(lambda y, b, c: y.__itruediv__(y)),
    "copy_": inplace(lambda y, b, c: y.copy_(b)),
    "of float32": inplace(lambda y, b, c: y.__imul__(b.sum().astype("f4"))),
    "written": lambda a, b, c, *_: [x.detach().__imul__(2.0) for x in (a, b, c)],
    "copied": lambda a, b, c, *_: [x.detach().copy_(y) for x, y in ((a, b), (b, a))],
    "grad": lambda a, b, *_: mgx.grad(lambda x: (x * b).tanh().sum())(a),
    "hvp": lambda a, b, *_: mgx.hvp(lambda x: (x * b).tanh().sum(), (a,), (b,))[0],
    "jacobian": lambda a, b, c, *_: mgx.jacobian(lambda x: x * c)(c),
    "checkpoint": lambda a, *_: mgx.autograd.checkpoint(lambda x: x.tanh(), a),
    "memory": lambda a, *_: [memoryview(a), np.asarray(a), a.detach().__dlpack__()] and None,
    "repr": lambda a, *_: repr(a) and None}


def optimizer(a, b, c, *_):
    parameters = [nn.Parameter(np.ones((3, 3))) for _ in range(3)]
    around.extend(parameters)
    optimizer = mgx.optim.Adam(parameters, lr=0.1)
    for _ in range(3):
        optimizer.zero_grad()
        sum((p * p).sum() for p in parameters).backward()
        optimizer.step()


def compiled(a, b, c, *_):
    f = mgx.compile(lambda x, y: (x @ y).tanh().cumsum(0) * 2.0)
    return [f(a.detach(), b.detach()) for _ in range(4)]


def values(*_):
    w = [Value(float(k)) for k in range(4)]
    f = compile_values(lambda x: (mgx.dot(w, [x, x, 1.0, x]) + w[0] * x).tanh() * w[1] + w[2] ** 2)
    for _ in range(2):
        y = f(Value(0.5)) + f(0.25)
        y.backward()
        [y._prev, y._local_grads, Value(1.0, w, [1.0] * 4).backward()]
    vector = mgx.vectorize(lambda x: (w[0] * x).tanh() + w[1])
    vector(np.linspace(0, 1, 5))


OPERATIONS |= {"optimizer": optimizer, "compiled": compiled, "values": values}


def backward(y, create):
    if y.requires_grad:
        y.sum().backward(create_graph=create, retain_graph=True)


def main(only=()):
    global active
    warnings.simplefilter("ignore")
    sys.unraisablehook = lambda *_: None
    operations = {name: step for name, step in {**dict(rows()), **OPERATIONS}.items() if not only or name in only}
    keep = []
    for name, operation in operations.items():
        print(name, flush=True)
        for watched in False, True:
            for first in range(3 if name not in OPERATIONS else 4 if watched else 8):
                operands = tensors()
                if not first % 2:
                    many = name in ("mul", "matmul") and not first
                    keep = [Tensor(np.ones(3)) * k for k in range(4200)] if many else []
                global acts
                acts += first
                active = True
                [Garbage() for _ in range(4)]
                gc.set_threshold(1)
                with contextlib.suppress(Exception), mgx.detect_nan() if watched else contextlib.nullcontext():
                    result = operation(*operands)
                    roots.extend(y for y in leaves(result) if y.requires_grad)
                    for y in list(roots):
                        with contextlib.suppress(Exception):
                            backward(y, first % 3 == 0)
                    for y in leaves(result):
                        y.numpy()
                active = False
                gc.set_threshold(700)
                for x in around:
                    x.grad = None
                result = y = operands = None
        gc.collect()
    del keep
    assert acts > 20 * len(operations), acts
    print(f"{len(operations)} operations, {acts} finalizers")


if __name__ == "__main__":
    main(sys.argv[1:])
