"""Comparisons for tests of your own, as ``torch.testing`` has them."""
from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from microgradx._core.tensor import Tensor, tensor
from microgradx.errors import ArgumentError
from microgradx.names import make_public

__all__ = ["assert_close"]

# of a dtype: the relative and the absolute difference that roundings explain
TOLERANCES = {"float32": (1.3e-6, 1e-5), "float64": (1e-7, 1e-7)}


def assert_close(actual: Any, expected: Any, *, rtol: float | None = None, atol: float | None = None,
                 equal_nan: bool = False, check_dtype: bool = True,
                 msg: str | Callable[[str], str] | None = None) -> None:
    """Raise ``AssertionError``, which says where and by how much, unless |actual - expected| <= atol + rtol |expected|.

    Of tensors, arrays and numbers, and of lists and dicts of these, item by item; shapes, and dtypes unless
    ``check_dtype`` is False, have to be the same. ``rtol`` and ``atol``, of which both are given or none, are 1.3e-6
    and 1e-5 for float32, 1e-7 for float64 and numbers, 0 for the others. A nan equals a nan only with ``equal_nan``.
    ``msg`` takes the place of the error's text, or is a function of it.

    >>> import microgradx as mgx
    >>> mgx.testing.assert_close(mgx.tensor([1.0, 2.0]), mgx.tensor([1.0, 2.0 + 1e-6]))
    >>> mgx.testing.assert_close(mgx.tensor([1.0, 2.0]), mgx.tensor([1.0, 2.5]))
    Traceback (most recent call last):
    AssertionError: 1 of 2 elements are not close; the largest difference is 0.5, at (1,): 2.0 and 2.5
    """
    if (rtol is None) != (atol is None):
        raise ArgumentError(f"assert_close: rtol and atol are given both or not at all, not {rtol} and {atol}")
    said = _difference(actual, expected, None if rtol is None or atol is None else (rtol, atol), equal_nan, check_dtype)
    if said is not None:
        raise AssertionError(said if msg is None else msg(said) if callable(msg) else msg)


def _difference(actual: Any, expected: Any, tolerance: tuple[float, float] | None, equal_nan: bool,
                check_dtype: bool) -> str | None:
    """What differs first, or None."""
    items: list[tuple[Any, Any, Any]]
    if isinstance(actual, Mapping) and isinstance(expected, Mapping):
        if actual.keys() != expected.keys():
            return f"the keys are {sorted(map(str, actual))} and {sorted(map(str, expected))}"
        items = [(key, actual[key], expected[key]) for key in actual]
    elif all(isinstance(x, Sequence) and not isinstance(x, str) for x in (actual, expected)):
        if len(actual) != len(expected):
            return f"there are {len(actual)} and {len(expected)} items"
        items = [(k, *pair) for k, pair in enumerate(zip(actual, expected, strict=True))]
    else:
        return _difference_of_numbers(actual, expected, tolerance, equal_nan, check_dtype)
    for key, x, y in items:
        said = _difference(x, y, tolerance, equal_nan, check_dtype)
        if said is not None:
            return f"item {key!r}: {said}"
    return None


def _difference_of_numbers(actual: Any, expected: Any, tolerance: tuple[float, float] | None, equal_nan: bool,
                           check_dtype: bool) -> str | None:
    kinds = [isinstance(x, (Tensor, np.ndarray)) for x in (actual, expected)]
    if kinds[0] != kinds[1]:
        return f"{type(actual).__name__} and {type(expected).__name__} are not compared"
    a, b = ((x if isinstance(x, Tensor) else tensor(x, dtype="float64" if type(x) is float else None)).detach().numpy()
            for x in (actual, expected))
    if a.shape != b.shape:
        return f"the shapes are {a.shape} and {b.shape}"
    if check_dtype and a.dtype != b.dtype and kinds[0]:
        return f"the dtypes are {a.dtype} and {b.dtype}"
    rtol, atol = np.max([tolerance or TOLERANCES.get(x.dtype.name, (0.0, 0.0)) for x in (a, b)], 0)
    close = np.isclose(a, b, rtol, atol, equal_nan)
    if close.all():
        return None
    with np.errstate(all="ignore"):
        gap = np.where(close, -1.0, np.nan_to_num(np.abs(a.astype(float) - b.astype(float)), nan=np.inf))
    at = tuple(int(k) for k in np.unravel_index(gap.argmax(), gap.shape))
    return (f"{(~close).sum()} of {close.size} elements are not close; the largest difference is {gap[at]:.6g}, "
            f"at {at}: {a[at]} and {b[at]}")


make_public(__name__)
