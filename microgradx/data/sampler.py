"""Samplers under torch's names: which rows, in which order."""
from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Generic, TypeVar

from microgradx.errors import DTypeError, OptionError
from microgradx.names import make_public
from microgradx.random import generator as generator_of
from microgradx.random import multinomial, randint, randperm
from microgradx.typing import Seed

__all__ = ["BatchSampler", "RandomSampler", "Sampler", "SequentialSampler", "SubsetRandomSampler",
           "WeightedRandomSampler"]

Drawn = TypeVar("Drawn", covariant=True)


class Sampler(Generic[Drawn]):
    """Numbers of rows, or lists of them for batches: a subclass defines ``__iter__()`` and ``__len__()``."""

    def __init__(self, data_source: Any = None) -> None:
        pass

    def __iter__(self) -> Iterator[Drawn]:
        raise NotImplementedError(f"{type(self).__name__} defines no __iter__")


class SequentialSampler(Sampler[int]):
    """0, 1, ... to the last row."""

    def __init__(self, data_source: Any) -> None:
        self.data_source = data_source

    def __iter__(self) -> Iterator[int]:
        return iter(range(len(self.data_source)))

    def __len__(self) -> int:
        return len(self.data_source)


class RandomSampler(Sampler[int]):
    """All rows in random order, each pass in another; ``num_samples`` of them, with ``replacement`` drawn one by one.

    More samples than rows go through all rows again. ``generator``: a Generator, a seed or None.

    >>> from microgradx import data
    >>> sorted(data.RandomSampler(range(4), generator=0))
    [0, 1, 2, 3]
    """

    def __init__(self, data_source: Any, replacement: bool = False, num_samples: int | None = None,
                 generator: Seed = None) -> None:
        if not isinstance(replacement, bool):
            raise DTypeError(f"RandomSampler: replacement is True or False, not {replacement!r}")
        if num_samples is not None:
            check_count("RandomSampler", "num_samples", num_samples)
        self.data_source, self.replacement, self._num_samples = data_source, replacement, num_samples
        self.generator = generator_of(generator)

    @property
    def num_samples(self) -> int:
        """How many rows a pass has."""
        return len(self.data_source) if self._num_samples is None else self._num_samples

    def __iter__(self) -> Iterator[int]:
        n, count = len(self.data_source), self.num_samples
        if n == 0:
            return
        if self.replacement:
            yield from randint(n, size=(count,), generator=self.generator).tolist()
            return
        for start in range(0, count, n):
            yield from randperm(n, generator=self.generator).tolist()[:count - start]

    def __len__(self) -> int:
        return self.num_samples


class SubsetRandomSampler(Sampler[int]):
    """The numbers ``indices`` in random order."""

    def __init__(self, indices: Sequence[int], generator: Seed = None) -> None:
        self.indices, self.generator = indices, generator_of(generator)

    def __iter__(self) -> Iterator[int]:
        for i in randperm(len(self.indices), generator=self.generator).tolist():
            yield self.indices[i]

    def __len__(self) -> int:
        return len(self.indices)


class WeightedRandomSampler(Sampler[int]):
    """``num_samples`` rows, drawn with these weights, with or without ``replacement``.

    >>> from microgradx import data
    >>> list(data.WeightedRandomSampler([0.0, 1.0, 0.0], 3))
    [1, 1, 1]
    """

    def __init__(self, weights: Any, num_samples: int, replacement: bool = True, generator: Seed = None) -> None:
        check_count("WeightedRandomSampler", "num_samples", num_samples)
        if not isinstance(replacement, bool):
            raise DTypeError(f"WeightedRandomSampler: replacement is True or False, not {replacement!r}")
        self.weights, self.num_samples, self.replacement = weights, num_samples, replacement
        self.generator = generator_of(generator)

    def __iter__(self) -> Iterator[int]:
        return iter(multinomial(self.weights, self.num_samples, self.replacement, generator=self.generator).tolist())

    def __len__(self) -> int:
        return self.num_samples


class BatchSampler(Sampler[list[int]]):
    """Lists of ``batch_size`` numbers of a sampler; the last may be shorter, or is dropped.

    >>> from microgradx import data
    >>> list(data.BatchSampler(range(5), batch_size=2, drop_last=False))
    [[0, 1], [2, 3], [4]]
    """

    def __init__(self, sampler: Iterable[int], batch_size: int, drop_last: bool) -> None:
        check_count("BatchSampler", "batch_size", batch_size)
        if not isinstance(drop_last, bool):
            raise DTypeError(f"BatchSampler: drop_last is True or False, not {drop_last!r}")
        self.sampler, self.batch_size, self.drop_last = sampler, batch_size, drop_last

    def __iter__(self) -> Iterator[list[int]]:
        batch: list[int] = []
        for i in self.sampler:
            batch.append(i)
            if len(batch) == self.batch_size:
                yield batch
                batch = []
        if batch and not self.drop_last:
            yield batch

    def __len__(self) -> int:
        n: int = len(self.sampler)                      # type: ignore[arg-type]  # that it has one is up to the sampler
        return n // self.batch_size if self.drop_last else -(-n // self.batch_size)


def check_count(op: str, option: str, value: Any) -> None:
    """Refuse what is no integer >= 1."""
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise OptionError(f"{op}: {option}={value!r} is not an integer >= 1")


make_public(__name__)
