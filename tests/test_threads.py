"""Threads: the same bits whatever their number, after a fork and from many callers at once."""
import os
import signal
import subprocess
import sys
import threading

import numpy as np
import pytest

import microgradx as mgx
from microgradx import errors

N = 1_200_000                   # enough to be divided, the last piece short


@pytest.fixture(autouse=True)
def as_before():
    count = mgx.get_num_threads()
    yield
    mgx.set_num_threads(count)


def chain(x):
    return (x * 1.5 + 0.25).tanh() - x


PROGRAMS = {
    "eager": lambda: chain,
    "eager, strided": lambda: lambda x: chain(x.reshape(-1, 100).T) + x[:100].reshape(100, 1),
    "eager, another dtype": lambda: lambda x: x + x.astype("float64"),
    "eager, long rows": lambda: lambda x: chain(x.reshape(2, -1)) * x[:N // 2],
    "captured": lambda: mgx.compile(chain),
    "captured, strided": lambda: mgx.compile(lambda x: chain(x.reshape(-1, 100).T) + x[:100].reshape(100, 1)),
    "captured, unfused": lambda: mgx.compile(chain, passes={"dead"}),
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_the_same_bits_with_any_number(name):
    x, found = mgx.randn(N, rng=0), []
    for count in (1, 2, 3, 8, 1):
        mgx.set_num_threads(count)
        assert mgx.get_num_threads() == count
        run = PROGRAMS[name]()
        found += [run(x).numpy() for _ in range(4)]
    assert all(np.array_equal(found[0], other) for other in found[1:])
    assert np.isfinite(found[0]).all()


def test_the_right_numbers():
    mgx.set_num_threads(3)
    x = np.random.default_rng(0).standard_normal(N)
    assert np.allclose(chain(mgx.Tensor(x)).numpy(), np.tanh(x * 1.5 + 0.25) - x, rtol=1e-14, atol=1e-14)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_child_after_fork_computes():
    mgx.set_num_threads(3)
    x = mgx.randn(N, rng=0)
    expected = chain(x).numpy()                                 # the pool has threads now
    child = os.fork()
    if child == 0:
        code = 1
        try:
            code = 0 if np.array_equal(chain(x).numpy(), expected) and np.array_equal(
                mgx.compile(chain)(x).numpy(), expected) else 2
        finally:
            os._exit(code)
    assert os.waitpid(child, 0)[1] == 0
    assert np.array_equal(chain(x).numpy(), expected)


def test_many_callers_at_once():
    mgx.set_num_threads(2)
    x, wrong = mgx.randn(N, rng=0), []
    expected = chain(x).numpy()

    def work():
        run = mgx.compile(chain)
        for _ in range(30):
            if not np.array_equal(run(x).numpy(), expected):
                wrong.append(1)
    callers = [threading.Thread(target=work) for _ in range(4)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert not wrong


@pytest.mark.parametrize("count", [0, -1, 1.5, True, "2", None, 10**6])
def test_what_is_no_number_of_threads(count):
    before = mgx.get_num_threads()
    with pytest.raises(errors.OptionError, match="set_num_threads: a number of threads"):
        mgx.set_num_threads(count)
    assert mgx.get_num_threads() == before


@pytest.mark.parametrize("said, count", [({"MICROGRADX_NUM_THREADS": "3", "OMP_NUM_THREADS": "2"}, 3),
                                         ({"OMP_NUM_THREADS": "2,1"}, 2), ({"OMP_NUM_THREADS": "no"}, None)])
def test_the_environment(said, count):
    environment = {name: value for name, value in os.environ.items() if "NUM_THREADS" not in name} | said
    run = subprocess.run([sys.executable, "-c", "import microgradx as mgx; print(mgx.get_num_threads())"],
                         capture_output=True, text=True, check=True, env=environment)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    assert int(run.stdout) == (count or cores)


INTERRUPTED = """
import signal
import numpy as np
import microgradx as mgx

class Stop(Exception): pass

def stop(*_): raise Stop

signal.signal(signal.SIGALRM, stop)
x = mgx.zeros(10**8)
for threads in (1, 2):
    mgx.set_num_threads(threads)
    for attempt in range(60):
        before = x[0].item(), x[-1].item()
        signal.setitimer(signal.ITIMER_REAL, 0.002 + 0.001 * attempt)
        try:
            x.add_(1.0)
            signal.setitimer(signal.ITIMER_REAL, 0)
        except Stop:
            if x[0].item() > before[0] and x[-1].item() == before[1]:
                break                           # it began, and did not end
    else:
        raise SystemExit("no launch was interrupted")
    x.zero_()
print("stopped")
"""


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="no interval timers here")
def test_a_long_launch_can_be_interrupted():
    done = subprocess.run([sys.executable, "-c", INTERRUPTED], capture_output=True, text=True)
    assert done.stdout.strip() == "stopped", done.stderr[-1000:]
