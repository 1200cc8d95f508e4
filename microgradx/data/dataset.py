"""Datasets under torch's names: rows by number, rows one after the other, parts and sums of them."""
from __future__ import annotations

import bisect
import itertools
import math
import warnings
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Generic, TypeVar

import numpy as np

from microgradx._core.tensor import Tensor
from microgradx.errors import DTypeError, IndexError_, OptionError, ShapeError
from microgradx.names import make_public
from microgradx.random import randperm
from microgradx.typing import Seed

__all__ = ["ChainDataset", "ConcatDataset", "Dataset", "IterableDataset", "StackDataset", "Subset", "TensorDataset",
           "random_split"]

Row = TypeVar("Row", covariant=True)


class Dataset(Generic[Row]):
    """Rows by number: a subclass defines ``__getitem__(i)`` and, for loaders that count, ``__len__()``.

    With ``__getitems__(numbers)``, which gives a list of rows, a loader asks for a batch at once. The sum of two is one
    after the other.

    >>> from microgradx import data
    >>> class Squares(data.Dataset):
    ...     def __len__(self):
    ...         return 4
    ...     def __getitem__(self, i):
    ...         return i, i * i
    >>> [b.tolist() for b in next(iter(data.DataLoader(Squares(), batch_size=3)))]
    [[0, 1, 2], [0, 1, 4]]
    """

    def __getitem__(self, index: Any) -> Row:
        raise NotImplementedError(f"{type(self).__name__} defines no __getitem__")

    def __add__(self, other: Dataset[Any]) -> ConcatDataset[Any]:
        return ConcatDataset([self, other])


class IterableDataset(Dataset[Row]):
    """Rows one after the other: a subclass defines ``__iter__()``."""

    def __iter__(self) -> Iterator[Row]:
        raise NotImplementedError(f"{type(self).__name__} defines no __iter__")

    def __add__(self, other: Dataset[Any]) -> ChainDataset[Any]:        # type: ignore[override]
        return ChainDataset([self, other])


class TensorDataset(Dataset[tuple[Tensor, ...]]):
    """Row i of several tensors, or arrays, of one length. Loaders index all rows of a batch at once.

    Raises ``ShapeError`` for tensors of other lengths.

    >>> import microgradx as mgx
    >>> from microgradx import data
    >>> rows = data.TensorDataset(mgx.arange(6.0).reshape(3, 2), mgx.arange(3))
    >>> len(rows), rows[1]
    (3, (Tensor([2., 3.]), Tensor(1, dtype=int64)))
    """

    def __init__(self, *tensors: Any) -> None:
        self.tensors = tuple(t if isinstance(t, Tensor) else Tensor(t) for t in tensors)
        if not tensors or any(t.ndim == 0 for t in self.tensors):
            raise ShapeError(f"TensorDataset: tensors with rows, not of shapes {[t.shape for t in self.tensors]}")
        sizes = [len(t) for t in self.tensors]
        if len(set(sizes)) > 1:
            raise ShapeError(f"TensorDataset: tensors of {', '.join(map(str, sizes))} rows "
                             f"({' != '.join(map(str, dict.fromkeys(sizes)))})")

    def __getitem__(self, index: Any) -> tuple[Tensor, ...]:
        return tuple(t[index] for t in self.tensors)

    def __len__(self) -> int:
        return len(self.tensors[0])


class StackDataset(Dataset[Any]):
    """Row i of several datasets of one length, as a tuple, or as a dict of datasets that are given by name."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        if bool(args) == bool(kwargs):
            raise OptionError("StackDataset: datasets, or datasets by name, and at least one")
        self.datasets: Any = args or kwargs
        sizes = [len(d) for d in args or kwargs.values()]
        if len(set(sizes)) > 1:
            raise ShapeError(f"StackDataset: datasets of {', '.join(map(str, sizes))} rows")

    def __getitem__(self, index: Any) -> Any:
        if isinstance(self.datasets, dict):
            return {name: d[index] for name, d in self.datasets.items()}
        return tuple(d[index] for d in self.datasets)

    def __len__(self) -> int:
        return len(next(iter(self.datasets.values())) if isinstance(self.datasets, dict) else self.datasets[0])


class ConcatDataset(Dataset[Row]):
    """The rows of one dataset after those of another: ``ConcatDataset([a, b])``, or ``a + b``."""

    def __init__(self, datasets: Iterable[Dataset[Row]]) -> None:
        self.datasets = list(datasets)
        if not self.datasets or any(isinstance(d, IterableDataset) for d in self.datasets):
            raise OptionError("ConcatDataset: at least one dataset, and none that has no rows by number "
                              "(ChainDataset takes IterableDatasets)")
        self.cumulative_sizes = list(itertools.accumulate(map(_length, self.datasets)))

    def __len__(self) -> int:
        return self.cumulative_sizes[-1]

    def __getitem__(self, index: Any) -> Row:
        at = index + len(self) if index < 0 else index
        if not 0 <= at < len(self):
            raise IndexError_(f"ConcatDataset: row {index} of {len(self)}")
        k = bisect.bisect_right(self.cumulative_sizes, at)
        return self.datasets[k][at - (self.cumulative_sizes[k - 1] if k else 0)]


class ChainDataset(IterableDataset[Row]):
    """The rows of several datasets that are iterated, one after the other."""

    def __init__(self, datasets: Iterable[Dataset[Row]]) -> None:
        self.datasets = list(datasets)

    def __iter__(self) -> Iterator[Row]:
        for dataset in self.datasets:
            if not isinstance(dataset, IterableDataset):
                raise DTypeError(f"ChainDataset: of IterableDatasets, not {type(dataset).__name__}")
            yield from dataset

    def __len__(self) -> int:
        return sum(map(_length, self.datasets))


class Subset(Dataset[Row]):
    """The rows of a dataset with these numbers, in their order."""

    def __init__(self, dataset: Dataset[Row], indices: Sequence[int]) -> None:
        self.dataset, self.indices = dataset, indices

    def __getitem__(self, index: Any) -> Row:
        if isinstance(index, list):
            return self.dataset[[self.indices[i] for i in index]]
        return self.dataset[self.indices[index]]

    def __len__(self) -> int:
        return len(self.indices)


def _length(dataset: Any) -> int:
    if not hasattr(dataset, "__len__"):
        raise DTypeError(f"{type(dataset).__name__} has no length: define __len__")
    return len(dataset)


def random_split(dataset: Dataset[Row], lengths: Sequence[float], generator: Seed = None) -> list[Subset[Row]]:
    """Parts of a dataset of these lengths, or of these shares of it, which add up to 1; rows in random order.

    A share is rounded down, and the rows that are left go to the first parts, one to each. ``generator``: a Generator,
    a seed or None. Raises ``OptionError`` for lengths that do not add up.

    >>> import microgradx as mgx
    >>> from microgradx import data
    >>> [len(part) for part in data.random_split(range(10), [0.75, 0.25])]
    [8, 2]
    """
    rows = _length(dataset)
    counts = list(lengths)
    if math.isclose(sum(counts), 1) and sum(counts) <= 1 + 1e-9 and any(n != int(n) for n in counts) or counts == [1.0]:
        if any(not 0 <= share <= 1 for share in counts):
            raise OptionError(f"random_split: shares {counts} are not all between 0 and 1")
        sizes = [math.floor(rows * share) for share in counts]
        counts = [size + (k < rows - sum(sizes)) for k, size in enumerate(sizes)]
        for k, count in enumerate(counts):
            if count == 0:
                warnings.warn(f"random_split: part {k} is empty", stacklevel=2)
    if sum(counts) != rows or any(n != int(n) or n < 0 for n in counts):
        raise OptionError(f"random_split: parts of {counts} rows do not add up to the {rows} of the dataset")
    order, ends = randperm(rows, generator=generator).tolist(), np.cumsum(counts, dtype=int).tolist()
    return [Subset(dataset, order[end - int(count):end]) for count, end in zip(counts, ends)]


# ----- a batch at once -----------------------------------------------------------------------------------------------

def rows_at_once(dataset: Any, indices: list[int]) -> Any:
    """The batch of these rows, if the dataset has it without its rows one by one; None otherwise.

    Tensors and arrays are indexed, and frames by position; a class of yours that defines ``__getitem__`` is asked for
    each row.
    """
    if isinstance(dataset, Subset) and type(dataset).__getitem__ is Subset.__getitem__:
        return rows_at_once(dataset.dataset, [dataset.indices[i] for i in indices])
    if isinstance(dataset, TensorDataset) and type(dataset).__getitem__ is TensorDataset.__getitem__:
        at = np.array(indices, np.int64)
        return [t[at] for t in dataset.tensors]
    if type(dataset) is Tensor:
        return dataset[np.array(indices, np.int64)]
    if isinstance(dataset, np.ndarray) and dataset.dtype.kind in "fiub" and dataset.ndim:
        return Tensor(dataset[indices])
    return dataset.iloc[indices] if hasattr(dataset, "iloc") else None


make_public(__name__, "__getitem__")
