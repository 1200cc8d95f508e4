"""Data: datasets, samplers and loaders under torch's names; the digits that are shipped, points in classes, readers of
files, splitting and batches."""
from collections.abc import Iterator
from typing import Any

import numpy as np

from microgradx.data import dataloader as dataloader, dataset as dataset, sampler as sampler
from microgradx.data.dataloader import DataLoader, default_collate, default_convert, get_worker_info
from microgradx.data.dataset import (ChainDataset, ConcatDataset, Dataset, IterableDataset, StackDataset, Subset,
                                     TensorDataset, random_split)
from microgradx.data.files import idx, npz
from microgradx.data.points import circles, moons, spirals
from microgradx.data.sampler import (BatchSampler, RandomSampler, Sampler, SequentialSampler, SubsetRandomSampler,
                                     WeightedRandomSampler)
from microgradx.errors import DTypeError, OptionError, ShapeError, described
from microgradx.names import make_public
from microgradx.random import randperm
from microgradx.typing import Seed

__all__ = ["BatchSampler", "ChainDataset", "ConcatDataset", "DataLoader", "Dataset", "IterableDataset",
           "RandomSampler", "Sampler", "SequentialSampler", "StackDataset", "Subset", "SubsetRandomSampler",
           "TensorDataset", "WeightedRandomSampler", "batches", "circles", "default_collate", "default_convert",
           "digits", "get_worker_info", "idx", "moons", "npz", "random_split", "spirals", "split"]


def digits(split: bool = False, seed: int = 0) -> tuple[Any, ...]:
    """1797 real handwritten digits: images float32 (1797, 64) from 0 to 1, labels int64 (1797,), NumPy arrays.

    Rows of ``x.reshape(-1, 8, 8)`` are images; 1 is ink. With ``split``, four arrays: images and labels to train on
    (1437) and to test on (360), drawn by ``seed``. UCI, Alpaydin and Kaynak (1998), CC BY 4.0: see DIGITS.md.

    >>> from microgradx import data
    >>> x, y = data.digits()
    >>> x.shape, x.dtype.name, float(x.max()), y[:5].tolist()
    ((1797, 64), 'float32', 1.0, [0, 1, 2, 3, 4])
    """
    from importlib.resources import files  # imported late: it takes 20 ms
    with (files(__name__) / "digits.npz").open("rb") as file, np.load(file, allow_pickle=False) as arrays:
        x, y = arrays["pixels"].astype(np.float32) / 16, arrays["labels"].astype(np.int64)
    return _split(x, y, 0.2, seed) if split else (x, y)


def split(x: Any, y: Any, share: float = 0.2, rng: Seed = None) -> tuple[Any, Any, Any, Any]:
    """Rows in random order, cut in two: (x, y) -> x_train, y_train, x_test, y_test.

    ``share`` of the rows, rounded up, are the test rows. ``rng``: a Generator, a seed or None.

    >>> import numpy as np
    >>> from microgradx import data
    >>> parts = data.split(np.arange(10), np.arange(10), 0.3, rng=0)
    >>> [len(p) for p in parts]
    [7, 7, 3, 3]
    """
    n = _rows("split", x, y)
    if not 0 <= share <= 1:
        raise OptionError(f"split: share={share} is not between 0 and 1")
    order = randperm(n, rng=rng).numpy()
    test = int(np.ceil(n * share))
    x, y = _indexed_by_row(x), _indexed_by_row(y)
    return x[order[test:]], y[order[test:]], x[order[:test]], y[order[:test]]


_split = split


def batches(x: Any, y: Any, size: int, shuffle: bool = True, rng: Seed = None,
            drop_last: bool = False) -> Iterator[tuple[Any, Any]]:
    """Pairs of ``size`` rows of ``x`` and ``y``, each row once; the last pair may be smaller, or is dropped.

    Arrays and lists give arrays, Tensors give Tensors, frames of pandas give frames. ``rng``: a Generator (whose next
    pass then differs), a seed or None.

    >>> import numpy as np
    >>> from microgradx import data
    >>> [xb.tolist() for xb, yb in data.batches(np.arange(5), np.arange(5), 2, shuffle=False)]
    [[0, 1], [2, 3], [4]]
    """
    n = _rows("batches", x, y)
    if isinstance(size, bool) or not isinstance(size, (int, np.integer)) or size < 1:
        raise OptionError(f"batches: size is an integer >= 1, not {size!r}")
    order = randperm(n, rng=rng).numpy() if shuffle else None
    return _batches(_indexed_by_row(x), _indexed_by_row(y), size, order, n - n % size if drop_last else n)


def _batches(x: Any, y: Any, size: int, order: Any, end: int) -> Iterator[tuple[Any, Any]]:
    for start in range(0, end, size):
        rows = slice(start, min(start + size, end)) if order is None else order[start:start + size]
        yield x[rows], y[rows]


def _indexed_by_row(x: Any) -> Any:
    """What gives the rows of ``x`` for their numbers: a frame would take these for names of its columns."""
    return np.asarray(x) if isinstance(x, (list, tuple)) else getattr(x, "iloc", x)


def _rows(op: str, x: Any, y: Any) -> int:
    for data in (x, y):
        if not hasattr(data, "__len__") or isinstance(data, (dict, str, bytes)):
            raise DTypeError(f"{op}: x and y are arrays, Tensors, lists or frames, not {described(data)}")
    if len(x) != len(y):
        raise ShapeError(f"{op}: {len(x)} rows of x and {len(y)} of y ({len(x)} != {len(y)})")
    return len(x)


make_public(__name__)
