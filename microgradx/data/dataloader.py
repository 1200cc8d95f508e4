"""Batches of a dataset, under torch's names."""
from __future__ import annotations

import sys
import threading
from _thread import start_new_thread
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import Any, Generic, NamedTuple, TypeAlias, TypeVar

import numpy as np

from microgradx._core.tensor import Tensor, stack
from microgradx.data.dataset import Dataset, IterableDataset, rows_at_once
from microgradx.data.sampler import BatchSampler, RandomSampler, SequentialSampler, check_count
from microgradx.errors import DTypeError, OptionError, ShapeError
from microgradx.names import make_public
from microgradx.typing import Seed

__all__ = ["DataLoader", "default_collate", "default_convert", "get_worker_info"]

Row = TypeVar("Row", covariant=True)
Queue: TypeAlias = SimpleQueue[Any]
_here = threading.local()                   # of a worker's thread: who it is


class WorkerInfo(NamedTuple):
    """Which of how many threads loads a batch."""
    id: int
    num_workers: int
    dataset: Any


def get_worker_info() -> WorkerInfo | None:
    """Which thread of a loader this is; None in the program's own."""
    return getattr(_here, "info", None)


def default_collate(batch: Iterable[Any]) -> Any:
    """Rows as a batch: tensors, arrays and numbers stacked along a new first axis, strings as a list, and dicts, tuples
    and lists of these part by part.

    Integers give int64, floats float64, arrays their own dtype. Raises ``DTypeError`` for rows of something else,
    ``ShapeError`` for rows of several lengths.

    >>> from microgradx import data
    >>> data.default_collate([{"x": 1, "name": "a"}, {"x": 2, "name": "b"}])
    {'x': Tensor([1, 2], dtype=int64), 'name': ['a', 'b']}
    >>> data.default_collate([(1.5, True), (2.5, False)])
    [Tensor([1.5, 2.5], dtype=float64), Tensor([ True, False], dtype=bool)]
    """
    rows = list(batch)
    if not rows:
        raise ShapeError("default_collate: no rows")
    first = rows[0]
    if isinstance(first, Tensor):
        return stack(rows)
    if isinstance(first, (np.ndarray, np.generic)) and first.dtype.kind in "fiub":
        return Tensor(np.stack(rows))
    if isinstance(first, (bool, int)):
        return Tensor(np.array(rows))
    if isinstance(first, float):
        return Tensor(np.array(rows, np.float64))
    if isinstance(first, (str, bytes)):
        return rows
    if isinstance(first, Mapping):
        return {key: default_collate([row[key] for row in rows]) for key in first}
    if isinstance(first, (tuple, list)):
        if any(len(row) != len(first) for row in rows):
            raise ShapeError(f"default_collate: rows of {sorted({len(row) for row in rows})} parts; all have as many")
        parts = [default_collate(part) for part in zip(*rows)]
        return type(first)(*parts) if hasattr(first, "_fields") else parts
    raise DTypeError(f"default_collate: a row is a {type(first).__name__}; tensors, arrays, numbers, strings, and "
                     "dicts, tuples and lists of them are made into batches, others by a collate_fn")


def default_convert(row: Any) -> Any:
    """A row by itself: its arrays as tensors."""
    if isinstance(row, Tensor):
        return row
    if isinstance(row, (np.ndarray, np.generic)) and row.dtype.kind in "fiub":
        return Tensor(row)
    if isinstance(row, Mapping):
        return {key: default_convert(item) for key, item in row.items()}
    if isinstance(row, (tuple, list)):
        parts = [default_convert(item) for item in row]
        return type(row)(*parts) if hasattr(row, "_fields") else parts
    return row


class DataLoader(Generic[Row]):
    """Batches of ``batch_size`` rows of a dataset, in order, shuffled or as a sampler says; iterate it for each epoch.

    ``dataset`` has rows by number (a ``Dataset``, list, array or tensor; frames of pandas give frames) or is an
    ``IterableDataset``. ``shuffle`` takes another order at each pass, by ``generator`` (a Generator, a seed or None).
    ``sampler`` gives the numbers of the rows instead, or ``batch_sampler`` lists of them. ``collate_fn`` makes a batch
    of a list of rows; ``default_collate`` does it unless one is given, and tensors are then indexed all at once. With
    ``batch_size=None`` rows come one by one. ``drop_last`` leaves out a last batch that is smaller.

    ``num_workers`` threads load ahead, ``prefetch_factor`` batches each, in the same order; ``worker_init_fn(k)`` is
    called in each of them. A dataset that draws random numbers should have a generator of its own for each row then.
    ``pin_memory``, ``persistent_workers`` and ``in_order=True`` change nothing here.

    Raises ``OptionError`` for options that do not go together. What a dataset raises goes on, with a note that names
    the row.

    >>> import microgradx as mgx
    >>> from microgradx import data
    >>> rows = data.TensorDataset(mgx.arange(5.0), mgx.arange(5))
    >>> loader = data.DataLoader(rows, batch_size=2)
    >>> len(loader), [x.tolist() for x, y in loader]
    (3, [[0.0, 1.0], [2.0, 3.0], [4.0]])
    """

    dataset: Any

    def __init__(self, dataset: Dataset[Row] | Any, batch_size: int | None = 1, shuffle: bool | None = None,
                 sampler: Iterable[int] | None = None, batch_sampler: Iterable[list[int]] | None = None,
                 num_workers: int = 0, collate_fn: Callable[[list[Any]], Any] | None = None, pin_memory: bool = False,
                 drop_last: bool = False, timeout: float = 0, worker_init_fn: Callable[[int], Any] | None = None,
                 multiprocessing_context: Any = None, generator: Seed = None, *, prefetch_factor: int | None = None,
                 persistent_workers: bool = False, pin_memory_device: str = "", in_order: bool = True) -> None:
        self.dataset, self.num_workers, self.collate_fn = dataset, num_workers, collate_fn
        self.timeout, self.worker_init_fn, self.generator = timeout, worker_init_fn, generator
        self.pin_memory, self.persistent_workers = pin_memory, persistent_workers
        self._iterable = isinstance(dataset, IterableDataset)
        self._check(shuffle, sampler, batch_sampler, batch_size, drop_last, prefetch_factor, multiprocessing_context,
                    in_order)
        self.prefetch_factor = prefetch_factor or (2 if num_workers else None)
        if sampler is None and not self._iterable:
            sampler = RandomSampler(dataset, generator=generator) if shuffle else SequentialSampler(dataset)
        self.sampler = sampler
        if batch_sampler is not None:
            batch_size, drop_last = None, False
        elif batch_size is not None and sampler is not None:
            batch_sampler = BatchSampler(sampler, batch_size, drop_last)
        self.batch_size, self.drop_last, self.batch_sampler = batch_size, drop_last, batch_sampler

    def _check(self, shuffle: Any, sampler: Any, batch_sampler: Any, batch_size: Any, drop_last: Any,
               prefetch_factor: Any, context: Any, in_order: Any) -> None:
        if not (self._iterable or hasattr(self.dataset, "__getitem__")):
            raise DTypeError(f"DataLoader: a dataset has rows by number or is an IterableDataset, not "
                             f"{type(self.dataset).__name__}")
        if isinstance(self.num_workers, bool) or not isinstance(self.num_workers, int) or self.num_workers < 0:
            raise OptionError(f"DataLoader: num_workers={self.num_workers!r} is not an integer >= 0")
        if not (isinstance(self.timeout, (int, float)) and self.timeout >= 0):
            raise OptionError(f"DataLoader: timeout={self.timeout!r} is not a number of seconds >= 0")
        if batch_size is not None:
            check_count("DataLoader", "batch_size", batch_size)
        if prefetch_factor is not None:
            check_count("DataLoader", "prefetch_factor", prefetch_factor)
        self._refuse_together(self.num_workers == 0, "num_workers=0", prefetch_factor=prefetch_factor is not None,
                              timeout=self.timeout > 0, persistent_workers=self.persistent_workers)
        self._refuse_together(self._iterable, "an IterableDataset, which has its own order,", shuffle=shuffle,
                              sampler=sampler is not None, batch_sampler=batch_sampler is not None)
        self._refuse_together(self._iterable, "an IterableDataset, which is read in one go,",
                              num_workers=self.num_workers)
        self._refuse_together(sampler is not None, "a sampler", shuffle=shuffle)
        self._refuse_together(batch_sampler is not None, "a batch_sampler", batch_size=batch_size != 1, shuffle=shuffle,
                              sampler=sampler is not None, drop_last=drop_last)
        self._refuse_together(batch_size is None, "batch_size=None", drop_last=drop_last)
        if context is not None or not in_order:
            raise OptionError("DataLoader: there are threads and no processes, which give batches in order: "
                              "multiprocessing_context is None and in_order True")

    @staticmethod
    def _refuse_together(given: bool, what: str, **others: Any) -> None:
        wrong = [name for name, other in others.items() if other]
        if given and wrong:
            raise OptionError(f"DataLoader: {what} does not go with {' and '.join(wrong)}")

    def __len__(self) -> int:
        if self.batch_sampler is not None or self.batch_size is None and self.sampler is not None:
            return len(self.batch_sampler if self.batch_sampler is not None else self.sampler)  # type: ignore[arg-type]
        n = self._rows_in_all()
        if self.batch_size is None:
            return n
        return n // self.batch_size if self.drop_last else -(-n // self.batch_size)

    def _rows_in_all(self) -> int:
        if not hasattr(self.dataset, "__len__"):
            raise DTypeError(f"DataLoader: {type(self.dataset).__name__} has no length")
        return len(self.dataset)

    def __iter__(self) -> Iterator[Any]:
        if self._iterable:
            return self._iterate_rows()
        wanted: Iterator[Any] = iter(self.sampler if self.batch_sampler is None else self.batch_sampler)  # type: ignore
        return map(self._load, wanted) if self.num_workers == 0 else self._load_ahead(wanted)

    def _iterate_rows(self) -> Iterator[Any]:
        if self.batch_size is None:
            yield from map(self.collate_fn or default_convert, self.dataset)
            return
        collate, batch = self.collate_fn or default_collate, []
        for row in self.dataset:
            batch.append(row)
            if len(batch) == self.batch_size:
                yield collate(batch)
                batch = []
        if batch and not self.drop_last:
            yield collate(batch)

    def _load(self, wanted: Any) -> Any:
        """The batch of these rows, or with ``batch_size=None`` that row."""
        if self.batch_sampler is None:
            return (self.collate_fn or default_convert)(self._row(wanted))
        numbers = list(wanted)
        if self.collate_fn is None:
            batch = rows_at_once(self.dataset, numbers)
            return default_collate(self._rows(numbers)) if batch is None else batch
        return self.collate_fn(self._rows(numbers))

    def _rows(self, numbers: list[int]) -> list[Any]:
        at_once = getattr(self.dataset, "__getitems__", None)
        return [self._row(i) for i in numbers] if at_once is None else at_once(numbers)

    def _row(self, i: int) -> Any:
        try:
            return self.dataset[i]
        except Exception as error:
            error.add_note(f"DataLoader: row {i} of {type(self.dataset).__name__}")
            raise

    # ----- threads that load ahead

    def _load_ahead(self, wanted: Iterator[Any]) -> Iterator[Any]:
        """Batches in order, some of which are loaded while earlier ones are used.

        The thread that Ctrl-C reaches shares queues of C alone with the others, which another one starts: of Python's
        own locks some may stay taken where it strikes, and then all wait for ever.
        """
        jobs: Queue = SimpleQueue()                             # (what to load, a queue for the result) or None
        ended: Queue = SimpleQueue()
        threads = [threading.Thread(None, self._work, f"microgradx-loader-{k}", (k, jobs, ended), daemon=True)
                   for k in range(self.num_workers)]
        start_new_thread(_start, (threads, jobs, ended))
        ahead: deque[Queue] = deque()
        try:
            for each in wanted:
                ahead.append(SimpleQueue())
                jobs.put((each, ahead[-1]))
                if len(ahead) >= self.num_workers * (self.prefetch_factor or 2):
                    yield self._result(ahead.popleft())
            while ahead:
                yield self._result(ahead.popleft())
        finally:
            while not jobs.empty():                             # nobody wants these any more
                with suppress(Empty):
                    jobs.get_nowait()
            for _ in range(self.num_workers):
                jobs.put(None)
            if not sys.is_finalizing():                         # at the end of Python threads stop where they are
                for _ in range(self.num_workers):
                    ended.get()

    def _work(self, number: int, jobs: Queue, ended: Queue) -> None:
        """What a thread does: load batches until there is None."""
        _here.info = WorkerInfo(number, self.num_workers, self.dataset)
        failure: BaseException | None = None
        try:
            if self.worker_init_fn is not None:
                self.worker_init_fn(number)
        except BaseException as error:
            failure = error                                     # for whoever wants a batch
        while (job := jobs.get()) is not None:
            wanted, result = job
            try:
                if failure is not None:
                    raise failure
                result.put((self._load(wanted), None))
            except BaseException as error:
                result.put((None, error))
        ended.put(number)

    def _result(self, result: Queue) -> Any:
        try:
            batch, error = result.get(timeout=self.timeout or None)
        except Empty:
            error = TimeoutError(f"DataLoader: no batch within timeout={self.timeout} seconds")
        if error is not None:
            raise error
        return batch


def _start(threads: list[threading.Thread], jobs: Queue, ended: Queue) -> None:
    """Start as many as the system gives; if it gives none, whoever wants a batch is told."""
    for k, thread in enumerate(threads):
        try:
            thread.start()
        except BaseException as error:
            while k == 0 and (job := jobs.get()) is not None:
                job[1].put((None, error))
            for _ in threads[k:]:
                ended.put(None)
            return


make_public(__name__)
