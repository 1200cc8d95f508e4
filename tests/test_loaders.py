"""Loaders: order, threads, what a batch is made of, and which row raised."""
import subprocess
import sys
import threading

import numpy as np
import pytest

import microgradx as mgx
from microgradx import data
from microgradx.errors import DTypeError, OptionError

X, Y = np.arange(20.0, dtype="float32").reshape(10, 2), np.arange(10)


class Rows(data.Dataset):
    """Row k is k; row ``bad`` raises."""

    def __init__(self, n, bad=None):
        self.n, self.bad, self.asked = n, bad, []

    def __len__(self):
        return self.n

    def __getitem__(self, k):
        self.asked.append((k, threading.current_thread().name))
        if k == self.bad:
            raise KeyError("no such image")
        return k


def rows(loader):
    return [k for batch in loader for k in batch.tolist()]


PROGRAMS = {
    "begun and left at the end of the program": """
it = iter(DataLoader(list(range(20)), batch_size=2, num_workers=2))
print(next(it).tolist())""",
    "no thread can be started": """
import threading
def start(self): raise RuntimeError("can't start new thread")
threading.Thread.start = start
try:
    next(iter(DataLoader(list(range(20)), batch_size=2, num_workers=2)))
except RuntimeError as error:
    print("[0, 1]" if "new thread" in str(error) else error)""",
    "the second thread cannot be started": """
import threading
begin, started = threading.Thread.start, []
def start(self):
    if started: raise RuntimeError("can't start new thread")
    started.append(self); begin(self)
threading.Thread.start = start
print(list(DataLoader(list(range(4)), batch_size=2, num_workers=2))[0].tolist())"""}


@pytest.mark.parametrize("name", PROGRAMS)
def test_programs_with_threads_end(name):
    program = "from microgradx.data import DataLoader" + PROGRAMS[name]
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert (done.stdout.strip(), done.stderr, done.returncode) == ("[0, 1]", "", 0)


def test_two_passes_differ_and_a_generator_repeats_them():
    mgx.manual_seed(0)
    loader = data.DataLoader(Rows(50), 7, shuffle=True)
    one, other = rows(loader), rows(loader)
    assert sorted(one) == sorted(other) == list(range(50)) and one != other
    mgx.manual_seed(0)
    assert rows(data.DataLoader(Rows(50), 7, shuffle=True)) == one
    first, second = (data.DataLoader(Rows(50), 7, shuffle=True, generator=mgx.Generator().manual_seed(3)) for _ in "ab")
    assert rows(first) == rows(second) != rows(first)
    parts = [data.random_split(range(50), [30, 20], generator=mgx.Generator().manual_seed(3))[0].indices for _ in "ab"]
    assert parts[0] == parts[1] != sorted(parts[0])


def test_a_batch_of_tensors_is_a_copy_with_the_rows_of_the_dataset():
    rows = data.TensorDataset(X, Y)
    at_once = [b for b in data.DataLoader(rows, 4)]
    one_by_one = [b for b in data.DataLoader(rows, 4, collate_fn=data.default_collate)]
    for mine, theirs in zip(at_once, one_by_one, strict=True):
        for a, b in zip(mine, theirs, strict=True):
            np.testing.assert_array_equal(a.numpy(), b.numpy())
            assert a.dtype == b.dtype
    at_once[0][0].zero_()
    assert rows[1][0].tolist() == [2, 3]


def test_a_dataset_of_yours_is_asked_for_each_row():
    class Doubled(data.TensorDataset):
        def __getitem__(self, k):
            x, y = super().__getitem__(k)
            return 2 * x, y
    doubled = Doubled(X, Y)
    for rows in (doubled, data.Subset(doubled, [0, 1])):
        assert next(iter(data.DataLoader(rows, 2)))[0].tolist() == [[0, 2], [4, 6]]


@pytest.mark.parametrize("workers", [0, 2])
def test_the_row_that_raises_is_named(workers):
    loader = data.DataLoader(Rows(10, bad=7), 4, num_workers=workers)
    with pytest.raises(KeyError, match="no such image") as found:
        list(loader)
    assert found.value.__notes__ == ["DataLoader: row 7 of Rows"]


@pytest.mark.parametrize("workers", [1, 3])
def test_threads_give_the_same_batches_in_order(workers):
    begun = []
    rows_of = Rows(40)
    loader = data.DataLoader(rows_of, 3, num_workers=workers, worker_init_fn=begun.append, persistent_workers=True)
    assert rows(loader) == list(range(40)) and len(loader) == 14
    assert set(begun) <= set(range(workers)) and begun
    assert all(name.startswith("microgradx-loader") for _, name in rows_of.asked)

    class Told(Rows):
        def __getitem__(self, k):
            info = data.get_worker_info()
            assert info.num_workers == workers and 0 <= info.id < workers and info.dataset is self
            return k
    assert rows(data.DataLoader(Told(6), num_workers=workers)) == list(range(6))
    assert data.get_worker_info() is None
    assert next(iter(data.DataLoader(rows_of, 3, num_workers=workers))).tolist() == [0, 1, 2]       # and no more
    while any(t.name.startswith("microgradx-loader") for t in threading.enumerate()):
        pass


def test_threads_that_take_too_long():
    event = threading.Event()

    class Waits(Rows):
        def __getitem__(self, k):
            event.wait()
    batches = iter(data.DataLoader(Waits(3), num_workers=1, timeout=0.01))
    threading.Timer(0.2, event.set).start()
    with pytest.raises(TimeoutError, match="DataLoader: no batch within timeout=0.01"):
        next(batches)


def test_a_worker_that_does_not_begin():
    with pytest.raises(ZeroDivisionError):
        list(data.DataLoader(Rows(3), num_workers=2, worker_init_fn=lambda k: 1 / 0))


def test_frames_give_frames():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"a": [1, 2, 3], "b": [4.0, 5.0, 6.0]}, index=[7, 8, 9])
    batches = list(data.DataLoader(frame, 2))
    assert [type(b) for b in batches] == [pandas.DataFrame] * 2 and batches[1]["b"].tolist() == [6.0]


def test_named_tuples_keep_their_names():
    from typing import NamedTuple

    class Point(NamedTuple):
        x: float
        y: int
    batch = next(iter(data.DataLoader([Point(1.0, 2), Point(3.0, 4)], 2)))
    assert isinstance(batch, Point) and batch.y.tolist() == [2, 4]
    assert isinstance(data.default_convert(Point(1.0, 2)), Point)


def test_empty_datasets_and_rows_that_draw():
    assert list(data.DataLoader([], 2)) == [] == rows(data.DataLoader(Rows(0), shuffle=True))
    loader = data.DataLoader(data.TensorDataset(X), 2, sampler=data.RandomSampler(X, True, 1000, mgx.Generator(0)))
    assert sum(len(b[0]) for b in loader) == 1000


@pytest.mark.parametrize("call, kind, words", [
    (lambda: data.DataLoader(7), DTypeError, "DataLoader: a dataset has rows by number .* not int"),
    (lambda: data.DataLoader([1], num_workers=True), OptionError, "num_workers=True"),
    (lambda: data.DataLoader([1], shuffle=True, sampler=[0]), OptionError, "a sampler does not go with shuffle"),
    (lambda: data.DataLoader([1], multiprocessing_context="fork"), OptionError, "threads and no processes"),
    (lambda: data.DataLoader([1], persistent_workers=True), OptionError, "num_workers=0 does not go with persistent"),
    (lambda: data.DataLoader(data.ChainDataset([]), num_workers=2), OptionError, "read in one go"),
    (lambda: next(iter(data.DataLoader([object()]))), DTypeError, "default_collate: a row is a object"),
    (lambda: data.random_split(range(10), [7, 4]), OptionError, r"parts of \[7, 4\] rows do not add up to the 10"),
    (lambda: data.RandomSampler([1], replacement=1), DTypeError, "replacement"),
    (lambda: data.StackDataset(), OptionError, "at least one"),
])
def test_refused(call, kind, words):
    with pytest.raises(kind, match=words):
        call()


def test_a_part_without_rows_is_told():
    with pytest.warns(UserWarning, match="part 1 is empty"):
        data.random_split(range(2), [0.999, 0.001])
