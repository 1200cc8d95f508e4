"""Ctrl-C: what takes long stops soon, loses nothing, and everything works afterwards."""
import signal
import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="no interval timers here")

# what is made before, and what is interrupted: each takes at least five times as long as BOUND if nothing stops it
X = "x = mgx.zeros(100_000_000)"
WIDE = "x = mgx.zeros(1, 1).expand(30_000, 100_000)"
KINDS = {
    "sum": (WIDE, "x.sum()"),
    "sum of rows": ("x = mgx.zeros(1, 1, 64).expand(20_000, 100_000, 64)", "x.sum(1)"),
    "norm": (WIDE, "x.norm()"),
    "amax": (WIDE, "x.amax()"),
    "amax of columns": (WIDE, "x.amax(0)"),
    "argmax": (WIDE + "[:1000]", "for _ in range(30): x.argmax()"),
    "softmax": (X, "for _ in range(5): x.softmax(0)"),
    "cross_entropy": (X + ".reshape(1, -1); t = mgx.tensor([0])", "for _ in range(5): nn.CrossEntropyLoss()(x, t)"),
    "layer_norm": (X + "; f = nn.LayerNorm(100_000_000, elementwise_affine=False)", "for _ in range(9): f(x)"),
    "max_pool": (X + ".reshape(1, 1, 10_000, -1)", "nn.MaxPool2d(7, 1)(x)"),
    "index_add": ("x = mgx.zeros(64); t = mgx.zeros(1).expand(3_000_000).astype('int64'); s = mgx.zeros(3_000_000)",
                  "for _ in range(200): x.index_add(0, t, s)"),
    "elementwise": ("x = mgx.ones(1, 1).expand(20_000, 5_000)", "for _ in range(9): x.atan2(x)"),
    "a copy of rows that do not join": ("x = mgx.zeros(2, 1, 2).expand(2, 40_000_000, 2)[:, :, 0]",
                                        "for _ in range(20): x.clone()"),
    "bytes": ("x = mgx.zeros(20_000_000).astype('int64'); y = x.clone()", "for _ in range(200): y.copy_(x)"),
    "a cast": ("x = mgx.zeros(1).expand(100_000_000)", "for _ in range(9): x.astype('int64')"),
    "randperm": ("", "mgx.randperm(60_000_000)"),
    "cumsum": ("x = mgx.zeros(1).expand(100_000_000)", "for _ in range(9): x.cumsum(0)"),
    "argsort of rows": ("x = mgx.rand(10_000, 2000)", "x.argsort(1)"),
    "products": ("x = mgx.zeros(1000, 1000)", "for _ in range(99): x @ x"),
    "backward": ("x = mgx.zeros(1200, 1200, requires_grad=True); y = x\nfor _ in range(30): y = y @ x\ng = x.detach()",
                 "y.backward(g)"),
    "backward of many": ("x = mgx.zeros(60, 60, requires_grad=True); y = x\nfor _ in range(60_000): y = y @ x\n"
                         "g = x.detach()", "y.backward(g)"),
    "backward of Values": ("x = mgx.Value(1.0); y = x\nfor _ in range(5_000_000): y = y * x", "y.backward()"),
    "vectorize": ("def g(a):\n    for _ in range(60): a = (a.tanh() + a).sin()\n    return a\nf = mgx.vectorize(g)\n"
                  "a = np.ones(4_000_000); f(a[:9])", "f(a)"),
    "capture": ("calls = []\ndef g(x):\n    for _ in range(40_000): x = x.sin() @ x\n    if calls: arm()\n"
                "    calls.append(1)\n    return x.sum()\nf = mgx.compile(g)\nx = mgx.zeros(2, 2, requires_grad=True)\n"
                "f(x)", "f(x)"),
    "a replay": ("f = mgx.compile(lambda x: (x.sin() + x).exp() * x)\nx = mgx.zeros(50_000_000); f(x); f(x)",
                 "for _ in range(9): f(x)"),
    "a checked replay": ("def g(x):\n    for _ in range(20): x = (x.sin() + x).tanh()\n    return x\n"
                         "f = mgx.compile(g, check=True); x = mgx.zeros(3_000_000); f(x)", "for _ in range(9): f(x)"),
    "gradcheck": ("x = mgx.rand(60, 60).astype('float64').requires_grad_()",
                  "for _ in range(9): mgx.gradcheck(lambda x: (x @ x).tanh(), x)"),
    "checkpoint": ("x = mgx.zeros(3_000_000, requires_grad=True)",
                   "mgx.checkpoint(lambda x: sum((x.sin() for _ in range(400)), x).sum(), x).backward()"),
    "product": ("x = mgx.ones(1, 1).expand(30_000, 100_000)", "x.prod()"),
    "a replay of many": ("def g(x):\n    for _ in range(60_000): x = x @ x\n    return x\nf = mgx.compile(g)\n"
                         "x = mgx.zeros(60, 60); f(x); f(x)", "f(x)"),
}
BOUND = 0.3                                         # seconds of the processor

PROGRAM = """
import json, signal, sys, time
import numpy as np
import microgradx as mgx
from microgradx import nn, optim

def stop(*_): raise KeyboardInterrupt
def arm():
    global start
    start = time.process_time()
    signal.setitimer(signal.ITIMER_PROF, 0.03)

def works():
    x = mgx.Tensor(np.linspace(-1, 1, 2_000_000), requires_grad=True)
    y = x.reshape(2, -1).softmax(1)
    (y * y).sum().backward()
    f = mgx.compile(lambda x: (x.sin() + x).sum())
    return [x.grad.numpy().tobytes(), f(x.detach()).item(), f(x.detach()).item(), mgx.is_grad_enabled(), x.sum().item()]

signal.signal(signal.SIGPROF, stop)
mgx.set_num_threads(THREADS)
whole = works()
for name, (before, call) in KINDS.items():
    space = dict(globals())
    exec(before, space)
    space["arm"] = arm
    try:
        if name != "capture":
            arm()
        exec(compile(call, name, "exec"), space)
        signal.setitimer(signal.ITIMER_PROF, 0)
        print(name, "through", sep="|", flush=True)
    except KeyboardInterrupt:
        print(name, time.process_time() - start - 0.03, works() == whole, sep="|", flush=True)
    space.clear()
"""


@pytest.fixture(scope="module", params=[1, 2])
def found(request):
    program = PROGRAM.replace("KINDS", repr(KINDS)).replace("THREADS", str(request.param))
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    return {name: rest for name, *rest in (line.split("|") for line in done.stdout.splitlines())}


@pytest.mark.parametrize("kind", KINDS)
def test_what_takes_long_is_interrupted(found, kind):
    assert found[kind] != ["through"]
    late, works = found[kind]
    assert float(late) < BOUND and works == "True"


STEP = """
import signal, time
import numpy as np
import microgradx as mgx
from microgradx import optim

def stop(*_): raise KeyboardInterrupt
signal.signal(signal.SIGPROF, stop)
met = set()
for threads in (1, 2):
    mgx.set_num_threads(threads)
    for attempt in range(12):
        ps = [mgx.zeros(2_000_000, requires_grad=True) for _ in range(6)]
        for p in ps:
            p.grad = mgx.ones(2_000_000)
        step = optim.Adam(ps, lr=0.5)
        try:
            signal.setitimer(signal.ITIMER_PROF, 0.001 + 0.004 * attempt)
            step.step()
            signal.setitimer(signal.ITIMER_PROF, 0)
        except KeyboardInterrupt as error:
            notes = getattr(error, "__notes__", ["?"])
            made = {bool((p != 0).all()) for p in ps}
            assert made == {bool((p != 0).any()) for p in ps} and len(made) == 1
            assert {float(step.state[p]["step"]) for p in ps} == {float(made == {True})}
            assert notes in (["?"], [f"adam: the step {'has' if made == {True} else 'has not'} been made"])
            met.add(notes[0])
print(*sorted(met), sep="|")
"""


def test_a_step_is_made_whole_or_not_at_all():
    done = subprocess.run([sys.executable, "-c", STEP], capture_output=True, text=True)
    assert "adam: the step has been made" in done.stdout, done.stderr[-2000:] + done.stdout


THREAD = """
import os, signal, threading, time
import microgradx as mgx
mgx.set_num_threads(1)          # a thread of the pool that takes part would not wait for others
x = mgx.zeros(1, 1).expand(60_000, 100_000)
threading.Timer(0.05, lambda: os.kill(os.getpid(), signal.SIGINT)).start()
try:
    x.sum()
    print("through")
except KeyboardInterrupt:
    print("stopped")
"""


def test_another_thread_runs_during_a_long_launch():
    """It needs the GIL to send the signal."""
    done = subprocess.run([sys.executable, "-c", THREAD], capture_output=True, text=True)
    assert done.stdout.strip() == "stopped", done.stderr[-1000:]


WALK = """
import signal
from microgradx import Value
x = Value(1.0); y = x
for _ in range(3_000_000): y = y * x
def walk(*_):
    signal.setitimer(signal.ITIMER_PROF, 0)
    y.backward()
signal.signal(signal.SIGPROF, walk)
signal.setitimer(signal.ITIMER_PROF, 0.005)
y.backward()
print(x.grad)
"""


def test_a_handler_may_walk_the_same_graph():
    done = subprocess.run([sys.executable, "-c", WALK], capture_output=True, text=True)
    assert done.stdout.strip() == "6000002.0", done.stderr[-1000:]


FORK = """
import os, signal
import numpy as np
import microgradx as mgx
mgx.set_num_threads(2)
children = []
def fork(*_):
    children.append(os.fork())
signal.signal(signal.SIGALRM, fork)
x = mgx.ones(30_000_000)
signal.setitimer(signal.ITIMER_REAL, 0.01)
try:
    for _ in range(20):
        y = x.tanh()
except RuntimeError as error:
    os._exit(7 if "forked" in str(error) and mgx.ones(2_000_000).sum().item() == 2e6 else 8)
if children == [0]:
    os._exit(7)
print(os.waitstatus_to_exitcode(os.waitpid(children[0], 0)[1]), float(y.sum()) == 30_000_000 * float(y[0]))
"""


@pytest.mark.skipif(not hasattr(signal, "SIGALRM"), reason="no fork")
def test_a_handler_may_fork():
    """The child has lost the pieces that other threads were at, and says so; the launch of its parent goes on."""
    done = subprocess.run([sys.executable, "-c", FORK], capture_output=True, text=True, timeout=300)
    assert done.stdout.split()[:1] == ["7"], done.stdout + done.stderr[-1000:]
