"""Tensors from nothing but a shape: ``mgx.zeros(2, 3)`` or, as NumPy, ``mgx.zeros((2, 3))``.

``dtype`` is the default dtype where nothing is said, float32 at first; ``requires_grad=True`` makes a leaf. Random
numbers are drawn by ``microgradx.random``.
"""
from __future__ import annotations

import math
import sys
from collections.abc import Callable, Sequence
from typing import Any, ParamSpec

import numpy as np

from microgradx._core import creation as core
from microgradx._core.array import get_default_dtype, set_default_dtype
from microgradx._core.creation import lengths, plain
from microgradx._core.tensor import Tensor, as_tensor, tensor
from microgradx.errors import DTypeError, ShapeError
from microgradx.names import make_public, public
from microgradx.typing import Data, DType, Lengths

P = ParamSpec("P")

__all__ = ["BoolTensor", "DoubleTensor", "FloatTensor", "IntTensor", "LongTensor", "arange", "as_tensor", "empty",
           "empty_like", "eye", "full", "full_like", "get_default_dtype", "linspace", "logspace", "ones", "ones_like",
           "set_default_dtype", "tensor", "zeros", "zeros_like"]


def real(op: str, what: str, number: Any) -> float:
    """``number``, an option, as a float."""
    try:
        return float(plain(op, what, number))
    except (TypeError, ValueError):
        raise DTypeError(f"{op}: {what} is a real number, not {number!r}") from None


def check_count(op: str, count: int, of: str) -> int:
    """Refuse more numbers than there can be in an array."""
    if count > sys.maxsize // 16:
        raise MemoryError(f"{op}: {count} numbers {of} are too many for an array")
    return count


def direct(core: Callable[..., Tensor], least: int = 1,
           most: int = 255) -> Callable[[Callable[P, Tensor]], Callable[P, Tensor]]:
    """Decorator: a call of ``least`` to ``most`` arguments, all by position, goes to ``core``."""
    def made(function: Callable[P, Tensor]) -> Callable[P, Tensor]:
        return public(function, direct=core, least=least, most=most)
    return made


@direct(core.full, 2, 2)
def full(shape: Lengths, value: Data, *, dtype: DType = None, requires_grad: bool = False) -> Tensor:
    """``value`` everywhere; its dtype is the value's unless ``dtype`` says otherwise. torch's ``fill_value``.

    >>> import microgradx as mgx
    >>> mgx.full((2, 2), 7)
    Tensor([[7, 7],
            [7, 7]], dtype=int64)
    """
    return core.full(shape, value, dtype, requires_grad)


@direct(core.zeros)
def zeros(*shape: Lengths, dtype: DType = None, requires_grad: bool = False) -> Tensor:
    """0 everywhere.

    >>> import microgradx as mgx
    >>> mgx.zeros(3)
    Tensor([0., 0., 0.])
    """
    return core.zeros(*shape, dtype=dtype, requires_grad=requires_grad)


@direct(core.ones)
def ones(*shape: Lengths, dtype: DType = None, requires_grad: bool = False) -> Tensor:
    """1 everywhere."""
    return core.ones(*shape, dtype=dtype, requires_grad=requires_grad)


@direct(core.full_like, 2, 2)
def full_like(x: Data, value: Data, *, dtype: DType = None, requires_grad: bool = False) -> Tensor:
    """``value`` everywhere, of the shape and, where nothing is said, the dtype of ``x``."""
    return core.full_like(x, value, dtype, requires_grad)


@direct(core.zeros_like, 1, 1)
def zeros_like(x: Data, *, dtype: DType = None, requires_grad: bool = False) -> Tensor:
    """0 everywhere, of the shape and, where nothing is said, the dtype of ``x``.

    >>> import microgradx as mgx
    >>> mgx.zeros_like(mgx.tensor([3, 4]))
    Tensor([0, 0], dtype=int64)
    """
    return core.zeros_like(x, dtype, requires_grad)


@direct(core.ones_like, 1, 1)
def ones_like(x: Data, *, dtype: DType = None, requires_grad: bool = False) -> Tensor:
    """1 everywhere, of the shape and, where nothing is said, the dtype of ``x``."""
    return core.ones_like(x, dtype, requires_grad)


@direct(core.zeros)
def empty(*shape: Lengths, dtype: DType = None, requires_grad: bool = False) -> Tensor:
    """A tensor to be written to. Its elements are 0 here, so that nothing depends on what memory held before."""
    return core.zeros(*shape, dtype=dtype, requires_grad=requires_grad)


@direct(core.zeros_like, 1, 1)
def empty_like(x: Data, *, dtype: DType = None, requires_grad: bool = False) -> Tensor:
    """As ``empty``, of the shape and, where nothing is said, the dtype of ``x``."""
    return core.zeros_like(x, dtype, requires_grad)


def eye(n: int, m: int | None = None, k: int = 0, *, dtype: DType = None, requires_grad: bool = False) -> Tensor:
    """(n, m) with 1 on diagonal ``k`` and 0 elsewhere; ``m`` is n where nothing is said.

    >>> import microgradx as mgx
    >>> mgx.eye(2)
    Tensor([[1., 0.],
            [0., 1.]])
    """
    rows, columns = lengths("eye", (n, n if m is None else m))
    check_count("eye", rows * columns, f"in {rows} rows and {columns} columns")
    return Tensor(np.eye(rows, columns, k), requires_grad, dtype or get_default_dtype())


def arange(start: float, stop: float | None = None, step: float = 1, *, dtype: DType = None,
           requires_grad: bool = False) -> Tensor:
    """start, start + step, ... before ``stop``; ``arange(n)`` counts from 0. Integers give int64, others the default
    dtype. torch's ``end`` is ``stop``.

    >>> import microgradx as mgx
    >>> mgx.arange(3), mgx.arange(0, 1, 0.5)
    (Tensor([0, 1, 2], dtype=int64), Tensor([0. , 0.5]))
    """
    first, last = (0, start) if stop is None else (start, stop)
    made = core.arange(first, last, step, dtype, requires_grad)
    if made is not None:                        # nearly always
        return made
    if step == 0:
        raise ShapeError("arange: steps of 0 never arrive")
    first, last, step = (plain("arange", "an argument", number) for number in (first, last, step))
    try:
        count = max(math.ceil((last - first) / step), 0)
    except (OverflowError, ValueError):         # nan, an infinity, or integers beyond floats
        raise ShapeError(f"arange: from {first} to {last} in steps of {step} there is no number of steps") from None
    check_count("arange", count, f"from {first} to {last}")
    numbers = np.arange(first, last, step)
    return Tensor(numbers, requires_grad, dtype or (get_default_dtype() if numbers.dtype.kind == "f" else None))


def linspace(start: float, stop: float, num: int = 50, *, dtype: DType = None,
             requires_grad: bool = False) -> Tensor:
    """``num`` numbers at equal steps from ``start`` to ``stop``, both included; integers are rounded down.

    >>> import microgradx as mgx
    >>> mgx.linspace(0, 1, 5)
    Tensor([0.  , 0.25, 0.5 , 0.75, 1.  ])
    """
    count, = lengths("linspace", (num,))
    first, last = (float(plain("linspace", "an end", end)) for end in (start, stop))
    check_count("linspace", count, f"from {first} to {last}")
    numbers = np.linspace(first, last, count)
    found = Tensor(numbers, requires_grad, dtype or get_default_dtype())
    return found if found.dtype.kind != "i" else Tensor(np.floor(numbers), dtype=dtype)


def logspace(start: float, stop: float, num: int = 50, base: float = 10.0, *, dtype: DType = None,
             requires_grad: bool = False) -> Tensor:
    """``num`` numbers from base^start to base^stop, both included, each the same multiple of the one before.

    >>> import microgradx as mgx
    >>> mgx.logspace(0, 2, 3)
    Tensor([  1.,  10., 100.])
    """
    count, = lengths("logspace", (num,))
    first, last, base = (float(plain("logspace", "an argument", number)) for number in (start, stop, base))
    check_count("logspace", count, f"from {first} to {last}")
    return Tensor(np.logspace(first, last, count, base=base), requires_grad, dtype or get_default_dtype())


# ----- torch's makers of one dtype -------------------------------------------------------------------------------

def of_dtype(op: str, dtype: str, data: Sequence[Any]) -> Tensor:
    """What a maker of one dtype gives: numbers that it is given as one list, or room of a shape."""
    if len(data) == 1 and not isinstance(data[0], int):
        return Tensor(data[0], dtype=dtype)
    return zeros(lengths(op, data), dtype=dtype)


def FloatTensor(*data: Any) -> Tensor:
    """float32 of a list, or room for the lengths: ``FloatTensor([1, 2])``, ``FloatTensor(2, 3)``."""
    return of_dtype("FloatTensor", "float32", data)


def DoubleTensor(*data: Any) -> Tensor:
    """float64 of a list, or room for the lengths."""
    return of_dtype("DoubleTensor", "float64", data)


def LongTensor(*data: Any) -> Tensor:
    """int64 of a list, or room for the lengths.

    >>> import microgradx as mgx
    >>> mgx.LongTensor([1, 2])
    Tensor([1, 2], dtype=int64)
    """
    return of_dtype("LongTensor", "int64", data)


def IntTensor(*data: Any) -> Tensor:
    """int64 of a list, or room for the lengths: integers have one width."""
    return of_dtype("IntTensor", "int64", data)


def BoolTensor(*data: Any) -> Tensor:
    """A mask of a list, or room for the lengths."""
    return of_dtype("BoolTensor", "bool", data)


make_public(__name__)
