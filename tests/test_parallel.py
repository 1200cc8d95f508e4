"""Many runs of one function: the same results from every executor, workers that die, Ctrl-C and what a store keeps."""
import concurrent.futures
import contextlib
import ctypes
import functools
import multiprocessing
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

import microgradx as mgx
from microgradx import nn, parallel
from microgradx.errors import Error, OptionError
from microgradx.nn import functional as F

SPAWN = multiprocessing.get_context("spawn")


def trained(seed):
    """The weights of a small net after some steps: all that decides them is the seed."""
    rng = np.random.default_rng(seed)
    x, y = mgx.Tensor(rng.normal(size=(32, 6)).astype("float32")), rng.integers(0, 3, 32)
    net = nn.Sequential(nn.Linear(6, 8, rng=rng), nn.Tanh(), nn.Linear(8, 3, rng=rng))
    sgd = mgx.optim.SGD(net.parameters(), lr=0.1)
    for _ in range(5):
        sgd.zero_grad()
        F.cross_entropy(net(x), y).backward()
        sgd.step()
    return net[0].weight.detach().numpy().copy()


def ended_once(task):
    """A worker of its own dies the first time that it gets a task with a file."""
    value, path, caller = task
    if path and os.getpid() != caller and not Path(path).exists():
        Path(path).touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return 10 * value


def always_ends(task):
    if task == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    return task


def ended_twice(task):
    """Slow, or a task that kills two workers, each after some time."""
    value, path = task
    time.sleep(0.3)
    if path and len(Path(path).read_text()) < 2:
        with open(path, "a") as file:
            file.write("x")
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(0.0 if path else 0.6)
    return value


def counted(task):
    """Leaves a line for each run."""
    value, path = task
    with open(path, "a") as file:
        file.write(f"{value}\n")
    return value * value


def interrupted(task):
    value, path = task
    if value == 3 and not Path(path).exists():
        Path(path).touch()
        raise KeyboardInterrupt
    return counted((value, f"{path}.runs"))


def failing(task):
    if task == 1:
        raise ZeroDivisionError("by 0")
    return task


def threads(task):
    from threadpoolctl import threadpool_info
    return mgx.get_num_threads(), max((library["num_threads"] for library in threadpool_info()), default=1)


def _loky():
    return pytest.importorskip("loky").ProcessPoolExecutor(2)


def _dask():
    pytest.importorskip("distributed")
    from distributed import Client
    return Client(n_workers=2, threads_per_worker=1, processes=False, dashboard_address=None).get_executor()


def pool_of(count):
    """What makes a pool of threads."""
    return functools.partial(concurrent.futures.ThreadPoolExecutor, count)


EXECUTORS = {"threads": lambda: concurrent.futures.ThreadPoolExecutor(3),
             "processes": lambda: concurrent.futures.ProcessPoolExecutor(2, SPAWN),
             "a text": lambda: "processes=2",
             "a function": lambda: lambda: concurrent.futures.ThreadPoolExecutor(2), "loky": _loky}


@pytest.mark.parametrize("name", EXECUTORS)
def test_results_do_not_depend_on_the_executor(name):
    here = parallel.run_all(trained, range(6))
    executor = EXECUTORS[name]()
    there = parallel.run_all(trained, range(6), executor)
    assert all(np.array_equal(a, b) for a, b in zip(here, there, strict=True))
    if isinstance(executor, concurrent.futures.Executor):
        assert executor.submit(abs, -1).result() == 1                                       # it stays open
        executor.shutdown()


@pytest.mark.filterwarnings("default")
def test_results_do_not_depend_on_dask():
    executor = _dask()
    try:
        there = parallel.run_all(trained, range(4), executor)
    finally:
        executor._client.close()
    assert all(np.array_equal(a, b) for a, b in zip(parallel.run_all(trained, range(4)), there, strict=True))


def test_the_order_is_that_of_the_tasks():
    assert parallel.run_all(_waits, [0.2, 0.0, 0.1], pool_of(3)) == [0.2, 0.0, 0.1]
    assert [k for k, _ in parallel.run_each(_waits, [0.3, 0.0], pool_of(2))] == [1, 0]
    assert parallel.run_all(abs, []) == [] == parallel.run_all(abs, [], pool_of(2))


def _waits(seconds):
    time.sleep(seconds)
    return seconds


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no SIGKILL")
@pytest.mark.parametrize("make", [EXECUTORS["a text"], EXECUTORS["processes"], _loky, lambda: _loky])
def test_a_worker_that_dies_costs_one_task(make, tmp_path):
    tasks = [(k, str(tmp_path / f"{k}.died") if k in (1, 4) else "", os.getpid()) for k in range(7)]
    assert parallel.run_all(ended_once, tasks, make(), tmp_path / "store") == [10 * k for k in range(7)]
    assert len(list(tmp_path.glob("*.died"))) == 2 and len(list((tmp_path / "store").iterdir())) == 7


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no SIGKILL")
def test_a_task_that_kills_its_workers_is_named(tmp_path):
    with pytest.raises(Error, match="task 2, 2, has lost 3 workers"):
        parallel.run_all(always_ends, [0, 1, 2, 3], "processes=2", tmp_path)
    results = {pickle.loads(file.read_bytes()) for file in tmp_path.iterdir()}
    assert {0, 1} <= results <= {0, 1, 3}


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no SIGKILL")
def test_deaths_are_not_blamed_on_who_ran_at_the_same_time(tmp_path):
    tasks = [(0, "")]
    for k in (1, 2):
        (tmp_path / str(k)).touch()
        tasks.append((k, str(tmp_path / str(k))))
    assert parallel.run_all(ended_twice, tasks, "processes=3") == [0, 1, 2]


@pytest.mark.parametrize("executor", [None, pool_of(1), "processes=1"])
def test_after_an_interrupt_a_second_call_goes_on(executor, tmp_path):
    tasks = [(k, str(tmp_path / "once")) for k in range(6)]
    with pytest.raises(KeyboardInterrupt):
        parallel.run_all(interrupted, tasks, executor, tmp_path / "store")
    assert len(list((tmp_path / "store").iterdir())) == 3
    assert parallel.run_all(interrupted, tasks, executor, tmp_path / "store") == [k * k for k in range(6)]
    runs = (tmp_path / "once.runs").read_text().split()
    assert sorted(runs) == [str(k) for k in range(6)], "what was done is not done again"


PROGRAM = """
import signal, sys, time
from microgradx import parallel
signal.signal(signal.SIGINT, signal.default_int_handler)        # a shell's background jobs ignore it
def slow(k):
    time.sleep(0.05 if k < 3 else 60)
    return k
if __name__ == "__main__":
    parallel.run_all(slow, range(6), sys.argv[1] if len(sys.argv) > 2 else None, sys.argv[-1])
"""


@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
@pytest.mark.parametrize("executor", [[], ["processes=2"]])
def test_ctrl_c_ends_the_workers_and_keeps_what_is_done(executor, tmp_path):
    program, store = tmp_path / "program.py", tmp_path / "store"
    program.write_text(PROGRAM)
    child = subprocess.Popen([sys.executable, program, *executor, store], stderr=subprocess.PIPE, text=True)
    for _ in range(600):
        if store.is_dir() and len(list(store.glob("*.pickle"))) == 3:
            break
        time.sleep(0.05)
    child.send_signal(signal.SIGINT)
    _, said = child.communicate(timeout=30)                     # far less than the 60 s that its workers still have
    assert child.returncode and "KeyboardInterrupt" in said, said
    assert sorted(pickle.loads(file.read_bytes()) for file in store.iterdir()) == [0, 1, 2]


def test_a_store_goes_by_function_and_task(tmp_path):
    path = tmp_path / "runs"
    for values in ([1, 2], [2, 3], [3, 1]):
        tasks = [(k, str(path)) for k in values]
        assert parallel.run_all(counted, tasks, store=tmp_path / "s") == [k * k for k in values]
    assert path.read_text().split() == ["1", "2", "3"]
    assert parallel.run_all(len, [(1, str(path))], store=tmp_path / "s") == [2]          # another function
    word = "".join(["a", "b"])                                  # equal tasks of other objects are the same task
    assert parallel.run_all(len, [("ab", word)], store=tmp_path / "t") == [2]
    assert parallel.run_all(len, [("ab", "ab")], store=tmp_path / "t") == [2]
    assert len(list((tmp_path / "t").iterdir())) == 1
    file, = (tmp_path / "t").iterdir()
    file.write_bytes(b"half")
    with pytest.raises(OptionError, match="is no result that can be read"):
        parallel.run_all(len, [("ab", "ab")], store=tmp_path / "t")


def test_a_write_that_fails_leaves_no_part(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "replace", lambda *args: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        parallel.run_all(abs, [1], store=tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("executor", [None, pool_of(2), "processes=1"])
def test_what_a_function_raises_names_its_task(executor):
    with pytest.raises(ZeroDivisionError, match="by 0") as raised:
        parallel.run_all(failing, [0, 1, 2], executor)
    assert raised.value.__notes__[-1] == "This is task 1, 1"


@pytest.mark.parametrize("executor", [pool_of(2), "processes=1"])
def test_a_worker_has_one_thread_and_the_caller_its_own_again(executor):
    with contextlib.suppress(OSError):
        ctypes.CDLL("libgomp.so.1")                     # of which each thread of a pool has a number of its own
    before = mgx.get_num_threads()
    mgx.set_num_threads(2)
    try:
        assert parallel.run_all(threads, range(2), executor) == [(1, 1)] * 2
        assert mgx.get_num_threads() == 2
        assert parallel.run_all(threads, [0])[0][0] == 2        # here nothing changes
    finally:
        mgx.set_num_threads(before)


def test_what_cannot_be_sent_is_named():
    def local(task):
        return task
    with pytest.raises(OptionError, match=r"the function .*local cannot be sent to another process"):
        parallel.run_all(local, [1], "processes=1")
    with pytest.raises(OptionError, match=r"task 1, <unlocked .*> cannot be sent|task 1, .*lock.* cannot be sent"):
        parallel.run_all(abs, [1, threading.Lock()], "processes=1")
    assert parallel.run_all(local, [1], pool_of(1)) == [1]


@pytest.mark.parametrize(("call", "words"), [
    (lambda path: parallel.run_all(abs, [threading.Lock()], store=path), "cannot be pickled, so that no store"),
    (lambda path: parallel.run_all(_lock, [1], store=path), "the result of task 1 cannot be pickled"),
    (lambda path: parallel.run_all(abs, [1], 3), "executor is a concurrent.futures.Executor"),
    (lambda path: parallel.run_all(abs, [1], "processes=0"), "not 'processes=0'"),
    (lambda path: parallel.run_all(abs, [1], "machines"), "not 'machines'"),
    (lambda path: parallel.run_all(abs, [1], store=Path(__file__)), "is no directory")])
def test_bad_input_gets_a_sentence(call, words, tmp_path):
    with pytest.raises(OptionError, match=words):
        call(tmp_path)


def _lock(task):
    return threading.Lock()


class Times:
    def __init__(self, factor):
        self.factor = factor

    def run(self, task):
        return self.factor * task


def summed(array, task):
    return float(array.sum()) + task


def test_a_store_tells_functions_apart(tmp_path):
    """By what they hold too, and of two programs by their files."""
    assert parallel.run_all(Times(3).run, [1, 2], store=tmp_path) == [3, 6]
    assert parallel.run_all(Times(5).run, [1, 2], store=tmp_path) == [5, 10]
    for last in (0.0, 7.0):
        array = np.zeros(2000)
        array[1000] = last
        assert parallel.run_all(functools.partial(summed, array), [1], store=tmp_path) == [1 + last]
    for factor in (2, 9):
        with pytest.raises(OptionError, match="cannot be pickled, so that no store"):
            parallel.run_all(lambda x, factor=factor: factor * x, [1], store=tmp_path)
        script = tmp_path / f"program{factor}.py"
        script.write_text("import sys\nfrom microgradx import parallel\n"
                          f"def f(x): return {factor} * x\nprint(parallel.run_all(f, [1, 2], store=sys.argv[1]))\n")
        for _ in range(2):
            done = subprocess.run([sys.executable, script, tmp_path], capture_output=True, text=True, check=True)
            assert done.stdout == f"[{factor}, {2 * factor}]\n"


class Told(Exception):
    def __init__(self, first, second):
        super().__init__(f"{first} and {second}")


def tells(task):
    raise Told(1, 2)


def broken_inside(task):
    raise concurrent.futures.BrokenExecutor("a pool of its own")


@pytest.mark.parametrize("executor", [None, pool_of(1), "processes=1"])
def test_what_a_function_raises_is_no_death(executor):
    with pytest.raises(Told if not isinstance(executor, str) else Error, match="1 and 2"):
        parallel.run_all(tells, [0], executor)
    with pytest.raises(Error, match="BrokenExecutor: a pool of its own"):
        parallel.run_all(broken_inside, [0], executor)


def test_a_result_that_cannot_be_sent_is_named():
    with pytest.raises(OptionError, match="the result of task 1 cannot be sent from another process"):
        parallel.run_all(_lock, [1], "processes=1")


def _bad_start():
    raise OSError("no disk")


def test_a_pool_of_threads_that_cannot_start_says_so():
    with pytest.raises((Error, concurrent.futures.BrokenExecutor), match="initializer"):
        parallel.run_all(abs, [1], concurrent.futures.ThreadPoolExecutor(1, initializer=_bad_start))


def _first_fails(task):
    time.sleep(0.1 + 0.4 * task)
    return 1 // task


@pytest.mark.parametrize("executor", [pool_of(2), "processes=2"])
def test_what_still_ran_when_another_failed_is_kept(executor, tmp_path):
    with pytest.raises(ZeroDivisionError):
        parallel.run_all(_first_fails, [0, 1], executor, tmp_path)
    assert [pickle.loads(file.read_bytes()) for file in tmp_path.iterdir()] == [1]


@pytest.mark.parametrize("make", [lambda: concurrent.futures.ThreadPoolExecutor(1),
                                  lambda: concurrent.futures.ProcessPoolExecutor(1, SPAWN), _loky])
def test_a_closed_executor_gets_a_sentence(make):
    executor = make()
    executor.shutdown()
    with pytest.raises(OptionError, match="the executor is shut down"):
        parallel.run_all(abs, [1], executor)


def test_progress_is_shown_on_a_terminal(monkeypatch, capsys):
    parallel.run_all(abs, [1, 2])
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    parallel.run_all(abs, [1, 2])
    assert capsys.readouterr().err == "\r1 of 2\r2 of 2\n"


def test_libraries_of_executors_are_not_imported():
    code = "import sys, microgradx.parallel as p; p.run_all(abs, [1]); print({*sys.modules} & "
    code += "{'loky', 'dask', 'distributed', 'mpi4py'})"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "set()\n"
