"""Comparisons for tests of your own, as ``torch.testing`` has them."""
from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from microgradx._core.tensor import Tensor
from microgradx.errors import ArgumentError, DTypeError
from microgradx.names import make_public

__all__ = ["assert_close"]

# of a dtype: the relative and the absolute difference that roundings explain
TOLERANCES = {"float32": (1.3e-6, 1e-5), "float64": (1e-7, 1e-7)}


def assert_close(actual: Any, expected: Any, *, rtol: float | None = None, atol: float | None = None,
                 equal_nan: bool = False, check_dtype: bool = True,
                 msg: str | Callable[[str], str] | None = None) -> None:
    """Raise ``AssertionError``, which says where and by how much, unless |actual - expected| <= atol + rtol |expected|.

    Of tensors, arrays, numbers and None, and of lists and dicts of these, item by item; shapes, and dtypes or types of
    numbers unless ``check_dtype`` is False, have to be the same. ``rtol`` and ``atol``, of which both are given or
    none, are 1.3e-6 and 1e-5 for float32, 1e-7 for float64 and floats, 0 for the others; integers are compared exactly.
    A nan equals a nan only with ``equal_nan``. ``msg`` takes the place of the error's text, or is a function of it.

    >>> import microgradx as mgx
    >>> mgx.testing.assert_close(mgx.tensor([1.0, 2.0]), mgx.tensor([1.0, 2.0 + 1e-6]))
    >>> mgx.testing.assert_close({"w": mgx.tensor([1.0, 2.0])}, {"w": mgx.tensor([1.0, 2.5])})
    Traceback (most recent call last):
    AssertionError: item ['w']: 1 of 2 elements are not close; the largest difference is 0.5 at index (1,): 2.0 and 2.5
    """
    if (rtol is None) != (atol is None):
        raise ArgumentError(f"assert_close: rtol and atol are given both or not at all, not {rtol} and {atol}")
    options = Options(None if rtol is None or atol is None else (rtol, atol), equal_nan, check_dtype)
    found = _difference(actual, expected, options)
    if found is not None:
        path, text = found
        said = f"item {path}: {text}" if path else text
        raise AssertionError(said if msg is None else msg(said) if callable(msg) else msg)


class Options(NamedTuple):
    """How ``assert_close`` compares."""
    tolerance: tuple[float, float] | None
    equal_nan: bool
    check_dtype: bool


def _difference(actual: Any, expected: Any, options: Options) -> tuple[str, str] | None:
    """Where the first difference is, and what it is, or None."""
    items: list[tuple[Any, Any, Any]]
    if isinstance(actual, Mapping) and isinstance(expected, Mapping):
        if actual.keys() != expected.keys():
            return "", f"the keys are {sorted(map(str, actual))} and {sorted(map(str, expected))}"
        items = [(key, actual[key], expected[key]) for key in actual]
    elif all(isinstance(x, Sequence) and not isinstance(x, str) for x in (actual, expected)):
        if len(actual) != len(expected):
            return "", f"there are {len(actual)} and {len(expected)} items"
        items = [(k, *pair) for k, pair in enumerate(zip(actual, expected, strict=True))]
    else:
        said = _difference_of_leaves(actual, expected, options)
        return None if said is None else ("", said)
    for key, x, y in items:
        found = _difference(x, y, options)
        if found is not None:
            return f"[{key!r}]{found[0]}", found[1]
    return None


def _difference_of_leaves(actual: Any, expected: Any, options: Options) -> str | None:
    """What differs of two arrays, two numbers or two Nones, or None."""
    a, b = (x.detach().numpy() if isinstance(x, Tensor) else x.item() if isinstance(x, np.generic) else x
            for x in (actual, expected))
    if a is None or b is None:
        return None if a is b else f"{a} and {b}"
    arrays = [isinstance(x, np.ndarray) for x in (a, b)]
    for x, is_array in zip((a, b), arrays, strict=True):
        if not is_array and not isinstance(x, (int, float, complex)):
            raise DTypeError(f"assert_close: of tensors, arrays, numbers and None, not of {type(x).__name__}")
    if arrays[0] != arrays[1]:
        return f"{type(actual).__name__} and {type(expected).__name__} are not compared"
    if arrays[0]:
        if a.shape != b.shape:
            return f"the shapes are {a.shape} and {b.shape}"
        if options.check_dtype and a.dtype != b.dtype:
            return f"the dtypes are {a.dtype} and {b.dtype}"
        return _difference_of_numbers(a, b, options)
    if options.check_dtype and type(a) is not type(b):
        return f"the types are {type(a).__name__} and {type(b).__name__}"
    return _difference_of_numbers(np.asarray(a), np.asarray(b), options)


def _difference_of_numbers(a: Any, b: Any, options: Options) -> str | None:
    """What differs of two arrays of one shape, or None."""
    rtol, atol = np.max([options.tolerance or TOLERANCES.get(x.dtype.name, (0.0, 0.0)) for x in (a, b)], 0).tolist()
    with np.errstate(all="ignore"):
        if not {a.dtype.kind, b.dtype.kind} <= set("biuO"):
            close, gap = np.isclose(a, b, rtol, atol, options.equal_nan), np.abs(a - b)
            gap = np.nan_to_num(gap, nan=np.inf)
        elif (a == b).all():
            return None
        else:                                                   # Python's integers, whose differences are exact
            gap = np.abs(a.astype(object) - b.astype(object))
            close = np.asarray(gap <= atol + rtol * np.abs(b.astype(object)), bool)
    if close.all():
        return None
    at = tuple(int(k) for k in np.unravel_index(np.where(close, -1, gap).argmax(), a.shape))
    largest = f"{gap[at]:.6g}" if isinstance(gap[at], np.floating) else gap[at]
    where = f" at index {at}: {a[at]} and {b[at]}"
    return f"{(~close).sum()} of {close.size} elements are not close; the largest difference is {largest}{where}"


make_public(__name__)
