"""Lets each allocation of each operation fail: `python tests/faults.py [--every N] [NAME ...]`, `make faults`.

An operation runs in a process of its own once for each allocation that it makes, of Python's objects, of our memory and
of NumPy's, and that one fails. Then it has to raise MemoryError, or to do without; numbers, gradients and versions of
all that it was given are as before the call or as after it; and when it runs again, its results are to the last bit
what they always are. Cold is the first call in a process, warm one after others. With `--every N` only each N-th
allocation fails, and few of those that thousands of calls alike make. One line tells of each operation; at the end
stands what is wrong, and where.
"""
import copy
import ctypes
import itertools
import os
import pickle
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

import microgradx as mgx
from microgradx import Tensor, Value, nn, optim
from microgradx.nn import functional as F

HERE = Path(__file__).parent
FOLDER = os.environ.get("FAULTS_FOLDER", tempfile.gettempdir())


def numbers(*shape, dtype="float32"):
    return np.random.default_rng(len(shape)).normal(size=shape).astype(dtype)


def leaf(*shape, dtype="float32"):
    return Tensor(numbers(*shape, dtype=dtype), requires_grad=True)


def pair():
    return leaf(3, 4), leaf(4)


def whole():
    return Tensor(np.arange(12).reshape(3, 4)), Tensor(np.arange(4))


def net():
    return nn.Sequential(nn.Linear(4, 5, rng=0), nn.Tanh(), nn.LayerNorm(5), nn.Linear(5, 3, rng=1))


def batch():
    return Tensor(numbers(6, 4)), Tensor(np.arange(6) % 3)


def training(kind, **options):
    model = net()
    opt = kind(model.parameters(), lr=0.1, **options)
    F.cross_entropy(model(batch()[0]), batch()[1]).backward()
    return model, opt


def step_of(model, opt):
    def step(x, y):
        opt.zero_grad()
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        opt.step()
        return loss
    return step


def captured(calls):
    """A training step that was called so many times."""
    model = net()
    opt = optim.Adam(model.parameters(), lr=0.1)
    step = mgx.compile(step_of(model, opt))
    for _ in range(calls):
        step(*batch())
    return model, opt, step, *batch()


def called(calls, function, *arguments):
    compiled = mgx.compile(function)
    for _ in range(calls):
        compiled(*arguments)
    return (compiled, *arguments)


def both(run):
    """Forward and backward: the gradients stay with the leaves."""
    def run_both(*given):
        y = run(*given)
        y.sum().backward(retain_graph=True)
        return y
    return run_both


def written(x, key, value):
    x[key] = value
    return x


def recorded(x):
    """A graph that waits for its backward pass."""
    y = (x * x.exp()).sum(1).square().sum()
    return x, y


def again(x):
    x, y = recorded(x)
    y.backward(retain_graph=True)
    return x, y


def saved(path):
    mgx.save({"a": Tensor(numbers(3)), "net": net().state_dict()}, path)
    return path


def somewhere():
    """A file in a folder that goes when this process has ended."""
    return (str(Path(FOLDER, f"{os.getpid()}.safetensors")),)


def scalar_loss(x, w):
    return ((x * w).tanh() + w) ** 2


def values():
    return [Value(0.1 * k) for k in range(6)]


def of_values(*v):
    y = sum((a * b for a, b in itertools.pairwise(v)), Value(0.0)).tanh() + mgx.dot(list(v), list(v))
    y.backward()
    return y


def masked(x, _):
    return x[x > 0]


# {name: (what makes the arguments, the operation)}
CASES = {
    # creation
    "Tensor of a list": (lambda: (), lambda: Tensor([[1.0, 2.0], [3.0, 4.0]])),
    "Tensor of an array": (lambda: (numbers(3, 4),), Tensor), "zeros": (lambda: (), lambda: mgx.zeros(3, 4)),
    "arange": (lambda: (), lambda: mgx.arange(7)), "rand": (lambda: (mgx.Generator(0),), lambda r: mgx.rand(5, rng=r)),
    "randperm": (lambda: (mgx.Generator(0),), lambda r: mgx.randperm(9, rng=r)),
    "from_numpy": (lambda: (numbers(3),), mgx.from_numpy), "from_dlpack": (lambda: (numbers(3),), mgx.from_dlpack),
    "numpy": (lambda: (leaf(3, 4),), lambda x: x.numpy()), "repr": (lambda: (leaf(3, 4),), repr),
    # elementwise
    "add": (pair, both(lambda x, w: x + w)), "exp": (pair, both(lambda x, w: x.exp() * 2.0)),
    "chain": (pair, both(lambda x, w: (x * w).tanh() / (w + 3.0) - x.relu())),
    "mixed": (lambda: (leaf(3, 4), leaf(4, dtype="float64")), both(lambda x, w: x * w)),
    "in place": (pair, both(lambda x, w: (x * 1.0).__iadd__(w).__imul__(x))),
    "where": (pair, both(lambda x, w: mgx.where(x > 0, x, w))), "integers": (whole, lambda x, w: (x // 2 + w) % 3),
    "many axes": (lambda: (leaf(2, *(1,) * 12, 3),), both(lambda x: x.T * x.T[:1])),
    # views and indices
    "reshape": (pair, both(lambda x, w: x.T.reshape(2, 6))), "slice": (pair, both(lambda x, w: x[1:, ::2])),
    "index by arrays": (pair, both(lambda x, w: x[[0, 2, 0]])), "index by tensors": (
        lambda: (*pair(), mgx.tensor([1, 0])), both(lambda x, w, at: x[at, at])),
    "mask": (pair, both(masked)), "masked_fill": (pair, both(lambda x, w: x.masked_fill(x > 0, 2.0))),
    "gather": (lambda: (leaf(3, 4), mgx.tensor([[0, 1, 1, 2]])), both(lambda x, at: x.gather(0, at))),
    "scatter_add": (lambda: (leaf(3, 4), mgx.tensor([[0, 1, 1, 2]])), both(lambda x, at: x.scatter_add(0, at, x))),
    "setitem": (lambda: (leaf(3, 4).detach(),), lambda x: written(x, (slice(None), 1), 5.0)),
    "setitem with a graph": (pair, both(lambda x, w: written(x * 1.0, 1, w))),
    "concat": (pair, both(lambda x, w: mgx.concat([x, x * w]))), "pad": (pair, both(lambda x, w: mgx.pad(x, 1))),
    "split": (pair, both(lambda x, w: x.split(2, 1)[1])), "astype": (pair, both(lambda x, w: x.astype("float64") * 2)),
    "astype int": (pair, lambda x, w: x.astype("int64")), "sort": (pair, both(lambda x, w: x.sort(1).values)),
    "copy_": (lambda: (leaf(3, 4).detach(), leaf(4).detach()), lambda x, w: x.copy_(w)),
    # reductions
    "sum": (pair, both(lambda x, w: x.sum(0))), "var": (pair, both(lambda x, w: x.var(1))),
    "amax": (pair, both(lambda x, w: x.amax(0))), "max": (pair, both(lambda x, w: x.max(1).values)),
    "cumsum": (pair, both(lambda x, w: x.cumsum(1))), "prod": (pair, both(lambda x, w: x.prod(1))),
    "softmax": (pair, both(lambda x, w: x.softmax(0))), "logsumexp": (pair, both(lambda x, w: x.logsumexp(1))),
    "norm": (pair, both(lambda x, w: x.norm(axis=0))),
    # products and nets
    "matmul": (pair, both(lambda x, w: x @ w)), "matmul, batched": (
        lambda: (leaf(2, 3, 4), leaf(4, 2)), both(lambda x, w: x.transpose(1, 2) @ x + 1.0)),
    "matmul, BLAS": (lambda: (leaf(80, 90), leaf(90, 70)), both(lambda x, w: x @ w)),
    "einsum": (pair, both(lambda x, w: mgx.einsum("ij,j->i", x, w))),
    "solve": (lambda: (leaf(3, 3), leaf(3)), both(mgx.linalg.solve)),
    "conv2d": (lambda: (leaf(2, 3, 6, 6), leaf(4, 3, 3, 3)), both(lambda x, w: F.conv2d(x, w, padding=1))),
    "max_pool2d": (lambda: (leaf(2, 3, 6, 6),), both(lambda x: F.max_pool2d(x, 2))),
    "batch_norm": (lambda: (nn.BatchNorm1d(4), leaf(3, 4)), both(lambda m, x: m(x))),
    "dropout": (lambda: (mgx.Generator(0), leaf(3, 4)), both(lambda r, x: F.dropout(x, 0.5, rng=r))),
    "embedding": (lambda: (leaf(5, 3),), both(lambda w: F.embedding(mgx.tensor([1, 0, 1]), w))),
    "lstm": (lambda: (nn.LSTM(3, 4, rng=0), leaf(3, 2, 3)), both(lambda m, x: m(x)[0])),
    "attention": (lambda: (leaf(2, 3, 4), leaf(3, 3).detach() > 0), both(
        lambda x, mask: F.scaled_dot_product_attention(x, x, x, mask, is_causal=True))),
    "net": (lambda: (net(), *batch()), both(lambda m, x, y: F.cross_entropy(m(x), y))),
    # derivatives
    "backward": (lambda: recorded(leaf(3, 4)), lambda x, y: y.backward()),
    "backward again": (lambda: again(leaf(3, 4)), lambda x, y: y.backward()),
    "double backward": (pair, lambda x, w: mgx.autograd.grad(mgx.autograd.grad(
        (x.tanh() * w).sum(), x, create_graph=True)[0].square().sum(), [x, w])),
    "hook": (pair, lambda x, w: [x.register_hook(lambda g: g * 2), (x * w).sum().backward()][1]),
    "grad": (lambda: (leaf(4).detach(),), mgx.grad(lambda x: (x ** 3).sum())),
    "jacobian": (lambda: (leaf(3).detach(),), mgx.jacobian(lambda x: x.outer(x).sum(0))),
    "hessian": (lambda: (leaf(3).detach(),), mgx.hessian(lambda x: (x ** 3).sum())),
    "jvp": (lambda: (leaf(3).detach(),), lambda x: mgx.jvp(lambda x: x.sin(), (x,), (x,))),
    "checkpoint": (pair, lambda x, w: mgx.autograd.checkpoint(lambda x: (x * w).tanh(), x).sum().backward()),
    # optimizers
    "SGD": (lambda: training(optim.SGD, momentum=0.9), lambda m, o: o.step()),
    "Adam": (lambda: training(optim.Adam), lambda m, o: o.step()),
    "clip": (lambda: training(optim.SGD), lambda m, o: optim.clip_grad_norm_(m.parameters(), 0.1)),
    "zero_grad": (lambda: training(optim.SGD), lambda m, o: o.zero_grad()),
    "step": (lambda: (*training(optim.Adam), *batch()), lambda m, o, x, y: step_of(m, o)(x, y)),
    # captured
    "capture, first call": (lambda: captured(0), lambda m, o, f, x, y: f(x, y)),
    "capture": (lambda: captured(1), lambda m, o, f, x, y: f(x, y)),
    "replay, first": (lambda: captured(2), lambda m, o, f, x, y: f(x, y)),
    "replay": (lambda: captured(3), lambda m, o, f, x, y: f(x, y)),
    "replay with a graph": (lambda: called(3, lambda x, w: (x * w).tanh(), *pair()),
                            both(lambda f, x, w: f(x, w))),
    "replay on the host": (lambda: called(3, lambda x, w: x.cumsum(0) * w, *pair()), both(lambda f, x, w: f(x, w))),
    "explain": (lambda: called(3, lambda x, w: (x * w).tanh(), *pair()), lambda f, x, w: str(f.explain())[:20]),
    "vectorize": (lambda: (numbers(7, dtype="float64"),), lambda a: mgx.vectorize(scalar_loss)(a, a)),
    # files and copies
    "save": (somewhere, lambda path: len(saved(path)) and Path(path).read_bytes()),
    "load": (lambda: (saved(*somewhere()),), mgx.load),
    "pickle": (lambda: (leaf(3, 4),), lambda x: pickle.loads(pickle.dumps(x))),
    "deepcopy": (lambda: (net(),), copy.deepcopy),
    "state_dict": (lambda: training(optim.Adam), lambda m, o: (m.load_state_dict(m.state_dict()),
                                                               o.load_state_dict(o.state_dict()))[:0]),
    # values
    "Value": (values, of_values),
    "Value, compiled": (lambda: [mgx.compile(lambda a, b: (a * b).tanh() + a), *values()[:2]],
                        lambda f, a, b: [f(a, b).data for _ in range(4)])}


# In the middle of these gradients have been set to None.
ZEROED = {name for name in CASES if name in ("step", "capture", "capture, first call", "replay, first", "replay")}


# ----- what is compared -------------------------------------------------------------------------------------------

def plain(o):
    """Numbers of any result or argument, comparable."""
    if isinstance(o, Tensor):
        o = o.detach()
        return o.shape, str(o.dtype), o.numpy().tobytes()
    if isinstance(o, np.ndarray):
        return o.shape, str(o.dtype), o.tobytes()
    if isinstance(o, Value):
        return o.data, o.grad
    if isinstance(o, nn.Module):
        return plain(o.state_dict())
    if isinstance(o, dict):
        return tuple((k, plain(v)) for k, v in o.items())
    if isinstance(o, (tuple, list)):
        return tuple(plain(v) for v in o)
    return o if isinstance(o, (int, float, str, bytes, type(None))) else type(o).__name__


def tensors(given):
    """All tensors among the arguments: parameters, buffers and the state of optimizers too."""
    for o in given:
        if isinstance(o, Tensor):
            yield o
        elif isinstance(o, nn.Module):
            yield from o.parameters()
            yield from o.buffers()
        elif isinstance(o, optim.Optimizer):
            for state in o.state.values():
                yield from (v for v in state.values() if isinstance(v, Tensor))
        elif isinstance(o, Value):
            yield o


def observed(given):
    """[(numbers, gradient, version)]"""
    return [(plain(x), plain(x.grad), x.version if isinstance(x, Tensor) else 0) for x in tensors(given)]


def changed(before, after, now, name):
    """What is neither as before nor as after the operation, or was written to unnoticed; None if all is."""
    if len(now) not in (len(before), len(after)):
        return f"{len(now)} tensors, {len(before)} before and {len(after)} after"
    for k, (b, a, n) in enumerate(itertools.zip_longest(before, after, now)):
        if b is None or a is None or n is None:                     # state that is made at the first step
            continue
        if n[0] not in (b[0], a[0]):
            return f"numbers of tensor {k}"
        if n[1] not in (b[1], a[1]) and not (n[1] is None and name in ZEROED):
            return f"the gradient of tensor {k}"
        if not b[2] <= n[2] <= a[2] or n[0] != b[0] and n[2] == b[2] and not isinstance(b[0][0], float):
            return f"the version of tensor {k}"
    return None


# ----- whose fault ------------------------------------------------------------------------------------------------

# What NumPy and Python raise, or forget to raise, where an allocation of their own fails.
OF_OTHERS = SystemError, RuntimeError, ImportError, pickle.PicklingError
OURS = {path.name.split(".")[0] for path in Path(mgx.__file__).parent.rglob("*.so")}
ABORT = "thread-local data", "Py_CompileStringObject"          # of the C library and of Python's compiler
NEUTRAL = {"libpython3", "libc", "faults", "python", "python3", "?"}


def library_of(stack):
    """Whose the innermost function is that is not Python's or the C library's; "" if there is none."""
    libraries = [frame.split(".")[0].split(":")[0] for frame in stack.split()]
    return next((library for library in libraries if library not in NEUTRAL), "")


def is_ours(stack):
    return library_of(stack) in OURS


# ----- one process for each fault ---------------------------------------------------------------------------------

def expected(name):
    """(result, state before, state after) of a call that nothing happens to."""
    make, run = CASES[name]
    given = make()
    before = observed(given)
    result = plain(run(*given))
    return result, before, observed(given)


def attempt(name, n, warm, truth):
    """The n-th allocation fails: (how many there were if none did, or 0; what is wrong, or None; whose fault it is).
    """
    make, run = CASES[name]
    if warm:
        expected(name)
    given, ignored, error, result = make(), [], None, None
    sys.unraisablehook = lambda what: ignored.append(f"{what.exc_type.__name__} was ignored")
    library.faults_watch()
    try:
        library.faults_after(n)
        result = run(*given)
    except BaseException as caught:
        error = caught
    try:
        count = library.faults_end()
    except MemoryError:                                             # it was the last, of this very call
        count = library.faults_end()
    failed = library.faults_where().decode()
    if count:
        return count, None if plain(result) == truth[0] else "wrong without a fault", ""
    wrong, theirs = ignored[:1] if "_PyGen_Finalize" not in failed else [], ""
    if wrong and library_of(failed) == "_safetensors_rust":         # at its import, which then fails, or goes on
        wrong, theirs = [], f"safetensors: {wrong[0]}"
    if error is None:
        wrong += ["other numbers"] if plain(result) != truth[0] else []
    elif not isinstance(error, MemoryError):
        panic = type(error).__name__ == "PanicException"        # of a library in Rust: safetensors
        if (panic or isinstance(error, OF_OTHERS)) and not is_ours(failed):
            theirs = f"{type(error).__name__}: {error}"[:100]
        else:
            wrong.append(f"{type(error).__name__}: {error}"[:200])
    error = result = None
    if mgx.is_grad_enabled() is not True:
        wrong.append("grad mode was not restored")
    difference = changed(*truth[1:], observed(given), name)
    wrong += [f"changed: {difference}"] if difference else []
    given = None
    try:
        if plain(run(*make())) != truth[0]:
            wrong.append("other numbers afterwards")
    except Exception as after:
        wrong.append(f"afterwards {type(after).__name__}: {after}"[:200])
    return 0, "; ".join(wrong) and "; ".join(wrong) + f"\nfailed: {failed}", theirs


def in_child(function, *arguments):
    """What the function returns in a copy of this process; or how that ended, a str."""
    source, sink = os.pipe()
    child = os.fork()
    if child == 0:
        os.dup2(sink, 2)
        try:
            signal.alarm(100)
            result = pickle.dumps(function(*arguments))
            os.write(2, b"result: ")
            with os.fdopen(sink, "wb") as file:
                file.write(result)
            os._exit(0)
        except BaseException as error:
            os.write(2, f"check: {type(error).__name__}: {error}".encode())
            os._exit(1)
    os.close(sink)
    with os.fdopen(source, "rb") as file:
        said, _, data = file.read().partition(b"result: ")
    _, status = os.waitpid(child, 0)
    return pickle.loads(data) if data else f"{os.waitstatus_to_exitcode(status)} " + said.decode(errors="replace")


def examine(name, every):
    """[(cold or warm, number of the allocation, what is wrong)], the same of what NumPy and Python do wrong, and how
    many allocations failed."""
    wrong, theirs, faults = [], [], 0
    truth = in_child(expected, name)
    if isinstance(truth, str):
        return [("", 0, truth)], [], 0
    for warm in (False, True):
        total = in_child(attempt, name, 1 << 40, warm, truth)
        if isinstance(total, str) or total[1]:
            wrong.append(("warm" if warm else "cold", 0, str(total)))
            continue
        stride = max(1, total[0] * every // 100) if every > 1 else 1
        for n in range(1 + (len(name) % stride), total[0] + 1, stride):
            found = in_child(attempt, name, n, warm, truth)
            faults += 1
            when = "warm" if warm else "cold", n
            if isinstance(found, str):
                crash, _, failed = found.partition("crash: ")[2].partition("failed: ")
                of_others = any(name in found for name in ABORT) or crash and not is_ours(crash) and not is_ours(failed)
                (theirs if of_others else wrong).append((*when, found))
            elif found[1]:
                wrong.append((*when, found[1]))
            elif found[2]:
                theirs.append((*when, found[2]))
    return wrong, theirs, faults


def work(names, every):
    global library
    library = ctypes.CDLL(None)
    library.faults_after.argtypes, library.faults_after.restype = [ctypes.c_long], None
    library.faults_end.restype, library.faults_where.restype = ctypes.c_long, ctypes.c_char_p
    wrong, theirs, faults, start = [], [], 0, time.monotonic()
    for name in names or CASES:
        ours, others, count = examine(name, every)
        faults += count
        wrong += [(name, *what) for what in ours]
        theirs += [(name, *what) for what in others]
        print(f"{name}: {count} faults, {len(ours)} wrong, {len(others)} of others", flush=True)
    for title, found in ("of NumPy and Python", theirs), ("wrong", wrong):
        print(f"{title}:")
        for name, when, n, what in found:
            print(f"    {name}, {when} {n}: {what}")
    print(f"{len(names or CASES)} operations, {faults} faults, {len(wrong)} wrong, {len(theirs)} of NumPy and Python, "
          f"{time.monotonic() - start:.0f} s")
    return 1 if wrong else 0


def start(*arguments, **options):
    """Run this file with allocations that can fail, where the C library and a compiler allow it; else None."""
    with tempfile.TemporaryDirectory() as folder:
        shim = Path(folder, "faults.so")
        try:
            subprocess.run(["gcc", "-shared", "-fPIC", "-O1", "-o", shim, HERE / "faults.c"], check=True)
        except (OSError, subprocess.CalledProcessError):
            return None
        env = os.environ | {"LD_PRELOAD": str(shim), "PYTHONMALLOC": "malloc", "PYTHONPATH": str(HERE.parent),
                            "PYTHONHASHSEED": "0", "FAULTS_FOLDER": folder}
        return subprocess.run([sys.executable, __file__, "--work", *arguments], env=env, **options)


if __name__ == "__main__":
    arguments = sys.argv[1:]
    if "--work" not in arguments:
        done = start(*arguments)
        sys.exit("faults: needs gcc and glibc" if done is None else done.returncode)
    arguments.remove("--work")
    every = int(arguments.pop(arguments.index("--every") + 1)) if "--every" in arguments else 1
    sys.exit(work([a for a in arguments if a != "--every"], every))
