"""Bad input gets an error that names the operation; nothing ends the interpreter; programs give NumPy's numbers and
their derivatives are right. Each part runs in an interpreter of its own."""
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import programs
import pytest

import microgradx as mgx

PACKAGE = str(Path(mgx.__file__).resolve().parents[1])
FUZZ = str(Path(__file__).with_name("fuzz.py"))


def run(*args):
    done = subprocess.run([sys.executable, "-X", "faulthandler", *args], capture_output=True, text=True, timeout=300,
                          env=os.environ | {"PYTHONPATH": PACKAGE})
    assert done.returncode == 0, (done.stdout.splitlines()[-1:], done.stderr[-2000:])
    return done.stdout


def test_calls_with_whatever():
    assert run(FUZZ, "--loud", "--case", "calls", "--count", "1500").endswith("found:\n")


def test_views_of_what_programs_make():
    assert run(FUZZ, "--loud", "--case", "views", "--count", "250").endswith("found:\n")


def test_programs_beside_numpy():
    said = run(FUZZ, "--case", "programs", "--count", "2500")
    assert said.endswith("found:\n")
    for what in ("steps", "gradient", "second derivative", "third derivative", "gradient in float32", "program",
                 "program twice", "conversions", "write refused"):
        assert re.search(rf"^    [1-9][0-9]+ {what}$", said, re.MULTILINE), what


def differentiate(values, ours, truth):
    """A program of one step, eight times, for directions are drawn; what was compared."""
    before = programs.COUNTS.copy()
    for seed in range(8):
        p = programs.Program(np.random.default_rng(seed), "ties")
        p.pure = True
        k = p.leaf(values=np.array(values), grad=True)
        p.apply(programs.Step("step", ours, truth, (k,), order=0))
        p.whole()
    return programs.COUNTS - before


def test_kinks_that_cancel_in_one_direction_are_no_faults():
    """Both clip and amin are at a kink; along (1, -2) and along (-1, 2) the result stays 2."""
    shift = np.array([1.0, 0.0])
    assert differentiate([1.0, 2.0], lambda x: (x + shift).clip(2, 9).amin(),
                         lambda a: np.asarray(np.clip(a + shift, 2, 9).min()))["program: no slope"] == 8


def test_gradients_that_are_wrong_by_a_thousandth_are_faults():
    class Square(mgx.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return x * x

        @staticmethod
        def backward(ctx, g):
            return g * ctx.saved_tensors[0] * 2.002
    with pytest.raises(programs.Wrong, match="program: gradient"):
        differentiate([1.0, 2.0], Square.apply, np.square)


def test_programs_of_more_operations():
    said = run(FUZZ, "--case", "wide", "--count", "1200", "--seed", "6")
    assert said.endswith("found:\n")
    assert re.search(r"^    [1-9][0-9]{3} steps$", said, re.MULTILINE)


def test_programs_over_many_axes():
    assert run(FUZZ, "--case", "axes", "--count", "400").endswith("found:\n")


START = """import sys
from contextlib import contextmanager, suppress
import numpy as np
import microgradx as mgx
@contextmanager
def raises(kind):
    try: yield
    except kind: return
    raise AssertionError(f"no {kind}")
"""

# What once read or wrote where it should not.
REENTRANT = {
    "a join longer than an integer": """
with raises(MemoryError): mgx.concat([mgx.Tensor([1.0]).expand(2**58)] * 64)""",
    "a gradient in read-only memory": """
a = np.memmap(__file__, np.uint8, 'r')[:24].view('f8')
x = mgx.Tensor(np.ones(3), requires_grad=True)
x.grad = mgx.from_numpy(a)
(x * 2).sum().backward()
assert not np.may_share_memory(np.asarray(x.grad), a)""",
    "a hook's result in the user's memory": """
for order in (lambda a, b: a + b, lambda a, b: b + a):
    a = np.zeros(3)
    x = mgx.Tensor(np.ones(3), requires_grad=True)
    y = x + 1
    y.register_hook(lambda g: mgx.from_numpy(a))
    order(y.sum(), (x + 1).sum()).backward()
    assert not a.any() and x.grad.tolist() == [1, 1, 1]""",
    "an axis that changes": """
class Axis:
    asked = 0
    def __index__(self):
        Axis.asked += 1
        return min(Axis.asked, 2) - 1
assert mgx.Tensor(np.ones((1, 3))).permute(Axis(), 1).tolist() == [[1, 1, 1]]""",
    "a shape that shrinks": """
class Length:
    def __index__(self):
        shape.clear()
        return 1
shape = [Length() for _ in range(8)]
assert mgx.Tensor([1.0]).reshape(shape).shape == (1,) * 8""",
    "an index that changes the data": """
class Index:
    def __index__(self):
        x.data = np.zeros(4096)
        return 1
x = mgx.Tensor(np.ones(4096))
y = x[Index():]
others = [mgx.Tensor(np.full(4096, 7.0)) for _ in range(10)]
assert y.tolist() == [1] * 4095""",
    "numbers beyond the machine's": """
x = mgx.Tensor(np.ones((2, 2)))
for call in (x.sum, x.reshape, x.expand, x.permute, x.unsqueeze):
    for number in (2**70, -2**70):
        with raises((ValueError, MemoryError)): call(number)
for call in (x.triu, x.tril):
    with raises(ValueError): call(2**70)""",
    "made twice": """
x = mgx.Tensor(np.zeros(0), requires_grad=True)
with raises(RuntimeError): x.__init__(np.ones(1000))""",
    "options that a signal's handler changes": """
import signal
from microgradx import optim
ps = [mgx.Tensor(np.zeros(1, "float32"), requires_grad=True) for _ in range(20_000)]
for p in ps: p.grad = mgx.Tensor(np.zeros(1, "float32"))
others = []
for attempt in range(6):
    opt = optim.SGD(ps, lr=1.0, momentum=0.9)
    def change(*_):
        opt.param_groups[0]["momentum"] = 0.0
        others.append(mgx.Tensor(np.full(20_000, 7.0)))
    signal.signal(signal.SIGALRM, change)
    signal.setitimer(signal.ITIMER_REAL, 0.0005 * (1 + attempt))
    for _ in range(20): opt.step()
    signal.setitimer(signal.ITIMER_REAL, 0)
assert others and all((t.numpy() == 7.0).all() for t in others)""",
    "an attribute whose comparison cuts its list": """
from microgradx import nn
class Cutter:
    def __eq__(self, other):
        net.parts.clear()
        return True
    def __hash__(self): return 1
net = nn.Linear(2, 2)
net.parts = [Cutter() for _ in range(50)]
f = mgx.compile(lambda x: net(x) * len(net.parts))
x = mgx.ones(3, 2)
for _ in range(3):
    f(x)
    net.other = 1
    net.parts = [Cutter() for _ in range(50)]""",
    "a list that grows while it is compared": """
class Growing(int):
    def __eq__(self, other):
        if len(parts) < 100_000: parts.extend(range(100_000))
        return True
    __hash__ = int.__hash__
parts = [Growing(3)] * 3
f = mgx.compile(lambda x: x * len(parts) + parts[0])
for _ in range(3):
    f(mgx.ones(2))
    parts[:] = [Growing(3) for _ in range(3)]""",
    "None for an array": """
from microgradx._core import backward, update
cell, w = mgx.Tensor([0.1] * 9), mgx.Tensor([1.0], requires_grad=True)
w.sum().backward()
for group in [(None, None, [(w, None)]), (cell, None, [(None, None)]), (cell, None, None), (cell, None, [None])]:
    with raises(TypeError): update.update("sgd", [group])
with raises(TypeError): backward.backward(None, None, False, False)""",
    "derivatives that vanish from their list": """
class Slope:
    __class__ = np.float64
    class dtype: kind = 'f'
    def __float__(self):
        slopes.clear()
        return 1.0
slopes = [Slope() for _ in range(50)]
mgx.Value(1.0, [mgx.Value(1.0)] * 50, local_grads=slopes)""",
    "a finalizer that walks the same graph": """
import gc
gc.set_threshold(1)
x = mgx.Tensor(np.ones((3, 3)), requires_grad=True)
for _ in range(60):
    z = mgx.nn.functional.cross_entropy((x @ x).exp(), [0, 1, 2])
    class Walker:
        def __del__(self):
            with suppress(RuntimeError): z.backward()
    for _ in range(10):
        walker = Walker()
        walker.me = walker
        del walker
        with suppress(RuntimeError): z.backward()""",
    "threads that walk the same graph": """
import threading
sys.setswitchinterval(1e-6)
x = mgx.Tensor(np.ones((3, 3)), requires_grad=True)
def walk():
    with suppress(RuntimeError): z.backward()
for _ in range(20):
    y = x * 1.0
    for k in range(20):
        y = mgx.concat([y[[0, 1, 2]], y.cumsum(0), y.gather(0, np.zeros((3, 3), int))])[[0, 1, 2]]
    z = y.sum()
    threads = [threading.Thread(target=walk) for _ in range(4)]
    [t.start() for t in threads]
    [t.join() for t in threads]"""}


@pytest.mark.parametrize("name", REENTRANT)
def test_what_once_crashed(name, tmp_path):
    script = tmp_path / "script.py"
    script.write_text(START + REENTRANT[name] + "\n")
    run(str(script))
