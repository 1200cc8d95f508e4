"""Many runs of one function: here, in threads, in processes, or on other machines.

Whatever runs many nets takes ``executor=`` and ``store=`` and hands them on to ``run_all``. A task holds all that
decides its result, its seed among it, so results do not depend on the executor or on the order in which they come. Nets
that draw from the global random state, as dropout does, need processes: threads would draw from one state in turn.
"""
import concurrent.futures
import contextlib
import functools
import hashlib
import io
import multiprocessing
import os
import pickle
import platform
import reprlib
import sys
import threading
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import BrokenExecutor, Executor, Future
from pathlib import Path
from typing import Any

from microgradx.config import get_num_threads, set_num_threads
from microgradx.errors import Error, OptionError
from microgradx.io import write_whole

__all__ = ["executor_of", "run_all", "run_each"]

DEATHS = 3                                              # workers that a task may lose: the first, and two more


def run_all(function: Callable[[Any], Any], tasks: Iterable[Any], executor: Any = None,
            store: str | os.PathLike[str] | None = None) -> list[Any]:
    """``[function(task) for task in tasks]`` on the workers of an executor, which does not change the results.

    ``executor``: None, which runs everything here; any ``concurrent.futures.Executor`` (loky's, dask's
    ``client.get_executor()``, ``mpi4py.futures.MPIPoolExecutor``), which stays open; a function without arguments that
    makes one, or a text as ``executor_of`` takes it, which are closed at the end. A worker uses one thread, and in a
    ``ThreadPoolExecutor`` so does your program meanwhile. Ctrl-C ends processes at once, and threads after their task.

    ``store``: a directory for results. Each is written when it is there, and a call with the same function and tasks
    goes on from them, after Ctrl-C too. The key is the pickle of both, so a method, a ``partial`` and what they hold
    count, and the version of microgradx; the code of the function does not: take a new directory after you changed it.
    Sets in a task have no order that another program would find again. It holds pickles: use only your own.

    A task whose worker dies runs again by itself, at most three times; the others lose nothing. A pool that broke is
    replaced by one that is made in the same way, and an executor of another library by a pool of as many processes.

    Raises what ``function`` raises, with a note that names the task; ``Error`` for a task that loses three workers by
    itself; ``OptionError`` for an executor that is none or is shut down, and for what cannot be pickled.

    >>> import math
    >>> from microgradx.parallel import run_all
    >>> run_all(math.sqrt, [1, 4, 9])
    [1.0, 2.0, 3.0]
    """
    tasks = list(tasks)
    results = dict(_with_progress(run_each(function, tasks, executor, store), len(tasks)))
    return [results[k] for k in range(len(tasks))]


def run_each(function: Callable[[Any], Any], tasks: Iterable[Any], executor: Any = None,
             store: str | os.PathLike[str] | None = None) -> Iterator[tuple[int, Any]]:
    """(index of the task, result) as ``run_all`` has them, each when it is there; those of the store come first.

    >>> from microgradx.parallel import run_each
    >>> list(run_each(abs, [-1, 2]))
    [(0, 1), (1, 2)]
    """
    tasks, kept = list(tasks), _Store(store, function)
    missing: deque[int] = deque()
    for k, task in enumerate(tasks):
        found = kept.get(task)
        if found:
            yield k, found[0]
        else:
            missing.append(k)
    with _Pool(executor) as pool:
        yield from _completed(function, tasks, missing, pool, kept)


def executor_of(text: str) -> Executor:
    """The executor that a command line asks for: "processes", "processes=4".

    Without a number there are as many workers as cores. Processes are spawned, so that they inherit
    neither locks nor threads. Raises ``OptionError`` for another text.

    >>> from microgradx.parallel import executor_of
    >>> with executor_of("processes=1") as executor:
    ...     executor.submit(abs, -1).result()
    1
    """
    kind, _, count = text.partition("=")
    if kind != "processes" or count and not (count.isdecimal() and int(count)):
        raise OptionError(f"executor: 'processes', or with a number of workers, as 'processes=2', not {text!r}")
    return _processes(int(count) if count else None)


def _processes(count: int | None, **options: Any) -> Executor:
    return concurrent.futures.ProcessPoolExecutor(
        count, **{"mp_context": multiprocessing.get_context("spawn")} | options)


# ----- the tasks ------------------------------------------------------------------------------------------------------

def _completed(function: Callable[[Any], Any], tasks: list[Any], waiting: deque[int], pool: "_Pool",
               kept: "_Store") -> Iterator[tuple[int, Any]]:
    """(index, result) of the waiting tasks, in the order in which they end, when the store has them.

    No more are given to the pool than it has workers: when it breaks, these alone are suspected of it. They run again
    one at a time, so that a second death has one cause.
    """
    running: dict[Future[Any], int] = {}
    suspects: deque[int] = deque()
    suspected: set[int] = set()
    deaths: Counter[int] = Counter()
    try:
        while waiting or suspects or running:
            alone = suspects or not suspected.isdisjoint(running.values())
            while (suspects or waiting) and len(running) < (1 if alone else pool.width):
                k = (suspects or waiting).popleft()
                running[pool.submit(_on_a_worker, (_process(), threading.get_ident()), function, tasks[k])] = k
            done, _ = concurrent.futures.wait(running, return_when=concurrent.futures.FIRST_COMPLETED)
            if any(isinstance(future.exception(), BrokenExecutor) for future in done):
                done, _ = concurrent.futures.wait(running)              # they all break with the pool
            guilty = len(running) == 1
            for future in done:
                k = running.pop(future)
                try:
                    result = _received(future.result())
                except BrokenExecutor as error:
                    deaths[k] += guilty
                    if deaths[k] == DEATHS:
                        raise Error(f"run_all: task {k}, {reprlib.repr(tasks[k])}, has lost {DEATHS} workers, which "
                                    "died while they ran it, or before: their initializer raises, or the program "
                                    "starts workers outside of if __name__ == '__main__'") from error
                    suspects.append(k)
                    suspected.add(k)
                except Exception as error:
                    _check_pickles(function, k, tasks[k], error)
                    error.add_note(f"This is task {k}, {reprlib.repr(tasks[k])}")
                    raise
                else:
                    kept.put(tasks[k], result)
                    yield k, result
    except Exception:
        concurrent.futures.wait([future for future in running if not future.cancel()])
        raise
    finally:
        for future, k in running.items():
            if not future.cancel() and future.done() and future.exception() is None:
                kept.put(tasks[k], _received(future.result()))


def _process() -> str:
    return f"{platform.node()} {os.getpid()}"


class _Sent(bytes):
    """The pickle of a result."""


def _on_a_worker(caller: tuple[str, int], function: Callable[[Any], Any], task: Any) -> Any:
    """What an executor runs. A process other than the caller's has one thread from now on, and sends what arrives. Of
    OpenMP each thread has a number of its own."""
    process, thread = caller
    elsewhere, limits = _process() != process, contextlib.nullcontext()
    if elsewhere:
        _use_one_thread()
    elif threading.get_ident() != thread:
        from threadpoolctl import threadpool_limits
        limits = threadpool_limits(1, user_api="openmp")
    try:
        with limits:
            result = function(task)
    except Exception as error:
        if isinstance(error, BrokenExecutor) or elsewhere and not _arrives(error):
            raise Error(f"{type(error).__name__}: {error}") from None if elsewhere else error
        raise
    if not elsewhere:
        return result
    try:
        return _Sent(pickle.dumps(result))
    except Exception as error:
        raise OptionError(f"run_all: the result of task {reprlib.repr(task)} cannot be sent from another process "
                          f"({error})") from None


def _arrives(error: Exception) -> bool:
    """Is an exception the same after a pickle of it?"""
    try:
        return type(pickle.loads(pickle.dumps(error))) is type(error)
    except Exception:
        return False


def _received(result: Any) -> Any:
    return pickle.loads(result) if isinstance(result, _Sent) else result


def _use_one_thread() -> None:
    from threadpoolctl import threadpool_limits
    set_num_threads(1)
    threadpool_limits(1)


def _check_pickles(function: Callable[[Any], Any], k: int, task: Any, error: Exception) -> None:
    """Raise a sentence if ``error`` came from a function or task that cannot be sent to a process."""
    if not isinstance(error, (pickle.PicklingError, TypeError, AttributeError)):
        return
    for what, value in ((f"the function {_name(function)}", function), (f"task {k}, {reprlib.repr(task)},", task)):
        reason = _unpicklable(value)
        if reason and str(reason) in str(error):
            raise OptionError(f"run_all: {what} cannot be sent to another process ({reason}); functions have to stand "
                              "at the top level of a module") from error


def _unpicklable(value: Any) -> Exception | None:
    try:
        pickle.dumps(value)
    except Exception as error:
        return error
    return None


def _name(function: Callable[[Any], Any]) -> str:
    if isinstance(function, functools.partial):
        return f"partial({_name(function.func)}, {function.args}, {function.keywords})"
    return f"{getattr(function, '__module__', '?')}.{getattr(function, '__qualname__', None) or repr(function)}"


# ----- the executor ---------------------------------------------------------------------------------------------------

class _Here(Executor):
    """Runs what is submitted at once, so that Ctrl-C arrives in it."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as error:
            future.set_exception(error)
        return future


class _Pool:
    """An executor that is made again when it breaks, and closed at the end if it was made here.

    The threads of a pool in this process share its number of threads, which is one while it is open.
    """

    def __init__(self, given: Any) -> None:
        self.make: Callable[[], Executor] | None = None
        if given is None:
            self.make = _Here
        elif isinstance(given, str):
            self.make = functools.partial(executor_of, given)
        elif callable(given):
            self.make = given
        elif not isinstance(given, Executor):
            raise OptionError(f"run_all: executor is a concurrent.futures.Executor, a function that makes one, or a "
                              f"text as 'processes=2', not {given!r}")
        self.owns, self.exit = self.make is not None, contextlib.ExitStack()
        self.executor = self.make() if self.make else given

    @property
    def width(self) -> int:
        """How many tasks it gets at once; all where nobody knows the number of its workers."""
        if isinstance(self.executor, _Here):
            return 1
        workers = getattr(self.executor, "_max_workers", None) or getattr(self.executor, "num_workers", None)
        return workers if isinstance(workers, int) else sys.maxsize

    def submit(self, *args: Any) -> Future[Any]:
        try:
            return self.executor.submit(*args)
        except BrokenExecutor:
            if isinstance(self.executor, concurrent.futures.ThreadPoolExecutor):
                raise                                   # its initializer raised
            self._make_again()
            return self.executor.submit(*args)
        except RuntimeError as error:
            if "shutdown" not in str(error).lower() and "shut down" not in str(error).lower():
                raise
            raise OptionError("run_all: the executor is shut down: give one that is open, or a function that makes "
                              "one") from error

    def _make_again(self) -> None:
        broken = self.executor
        if self.owns:
            broken.shutdown(wait=False)
        if self.make is None:
            options = {"initializer": getattr(broken, "_initializer", None),
                       "initargs": getattr(broken, "_initargs", None) or ()}
            if isinstance(broken, concurrent.futures.ProcessPoolExecutor):
                options["mp_context"] = broken._mp_context        
            self.make = functools.partial(_processes, self.width, **options)
        self.executor, self.owns = self.make(), True

    def __enter__(self) -> "_Pool":
        if isinstance(self.executor, concurrent.futures.ThreadPoolExecutor):
            from threadpoolctl import threadpool_limits
            self.exit.callback(set_num_threads, get_num_threads())
            self.exit.enter_context(threadpool_limits(1))
            set_num_threads(1)
        return self

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        if self.owns:
            # Ctrl-C, or a consumer that wants no more: what runs has nobody who waits for it
            given_up = kind is not None and not issubclass(kind, Exception)
            for process in list((getattr(self.executor, "_processes", None) or {}).values()) if given_up else ():
                process.terminate()
            self.executor.shutdown(wait=not given_up)
        self.exit.close()


# ----- the store ------------------------------------------------------------------------------------------------------

def _program(function: Callable[[Any], Any]) -> str:
    """The file in which a function of ``__main__`` stands: every program has one."""
    while isinstance(function, functools.partial):
        function = function.func
    if getattr(function, "__module__", "") != "__main__":
        return ""
    return str(getattr(sys.modules["__main__"], "__file__", ""))


class _Store:
    """Results by function and task: a file for each, which is complete or not there."""

    def __init__(self, path: str | os.PathLike[str] | None, function: Callable[[Any], Any]) -> None:
        self.path, self.function = None if path is None else Path(path), function
        if self.path is not None:
            try:
                self.path.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise OptionError(f"run_all: the store {self.path} is no directory that can be made: "
                                  f"{error.strerror}") from error

    def _file(self, directory: Path, task: Any) -> Path:
        text = io.BytesIO()
        pickler = pickle.Pickler(text, protocol=4)
        pickler.fast = True                             # equal tasks give equal bytes, whichever objects they share
        try:
            pickler.dump((sys.modules["microgradx"].__version__, _program(self.function), self.function, task))
        except Exception as error:
            raise OptionError(f"run_all: {_name(self.function)} or its task {reprlib.repr(task)} cannot be pickled, so "
                              f"that no store can hold results ({error})") from error
        return directory / f"{hashlib.sha256(text.getvalue()).hexdigest()[:32]}.pickle"

    def get(self, task: Any) -> tuple[Any] | None:
        """(the result,), or None where it is not there."""
        if self.path is None:
            return None
        file = self._file(self.path, task)
        if not file.exists():
            return None
        try:
            return (pickle.loads(file.read_bytes()),)
        except Exception as error:
            raise OptionError(f"run_all: {file} is no result that can be read ({error}); delete it, and its task runs "
                              "again") from error

    def put(self, task: Any, result: Any) -> None:
        if self.path is None:
            return
        try:
            text = pickle.dumps(result)
        except Exception as error:
            raise OptionError(f"run_all: the result of task {reprlib.repr(task)} cannot be pickled, so no store can "
                              f"hold it ({error})") from error
        write_whole(str(self._file(self.path, task)), text)


# ----- progress -------------------------------------------------------------------------------------------------------

def _with_progress(results: Iterator[tuple[int, Any]], count: int) -> Iterator[tuple[int, Any]]:
    """The same, and a line on stderr that counts them if that is a terminal."""
    shown = sys.stderr is not None and sys.stderr.isatty() and count > 0
    try:
        for done, pair in enumerate(results, 1):
            if shown:
                print(f"\r{done} of {count}", end="", file=sys.stderr, flush=True)
            yield pair
    finally:
        if shown:
            print(file=sys.stderr)
