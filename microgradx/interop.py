"""NumPy's functions of Tensors: ``np.concatenate([a, b])`` and ``np.where(mask, a, 0.0)`` are operations with a graph.

``OURS`` holds the functions that mean here what they mean there. Any other gets NumPy arrays, unless a graph would be
lost.

>>> import numpy as np
>>> import microgradx as mgx
>>> x = mgx.Tensor([1.0, -2.0], requires_grad=True)
>>> np.clip(x, 0, None)
Tensor([1., 0.], requires_grad=True)
>>> np.unwrap(x)                            # doctest: +ELLIPSIS
Traceback (most recent call last):
microgradx.errors.DTypeError: np.unwrap: no operation on Tensors corresponds to it...
"""
from __future__ import annotations

import functools
import inspect
import operator
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from microgradx import arrays, creation, functional, indexing, linalg
from microgradx._core.tensor import Tensor, attach, pad, stack
from microgradx._core.trees import flatten, unflatten
from microgradx.einsum import einsum
from microgradx.errors import DTypeError
from microgradx.typing import Function

# where a name is not enough
RENAMED: dict[str, Any] = {
    "dot": lambda a, b: arrays.tensordot(a, b, ([-1], [-min(np.ndim(b), 2)])) if np.ndim(a) and np.ndim(b) else a * b,
    "einsum": einsum, "expand_dims": lambda x, axis: x.unsqueeze(axis),
    "linalg.norm": lambda x, axis=None, keepdims=False: functional.norm(x, 2, axis, keepdims),
    "max": functional.amax, "min": functional.amin, "pad": pad, "stack": stack,
    "transpose": lambda x, axes=None: x.transpose() if axes is None else x.permute(axes),
    "where": lambda mask, *of: functional.where(mask, *of) if of else np.nonzero(mask)}
ARGUMENTS = {"a_min": "lo", "a_max": "hi", "min": "lo", "max": "hi", "constant_values": "value"}
# our `sort` gives pairs, `split` takes lengths, `median` the lower of two; what `like=` makes of nothing is an array
OTHER = {"arange", "empty", "empty_like", "eye", "full", "linspace", "logspace", "lstsq", "median", "ones",
         "sort", "split", "zeros"}
PLAIN = {"array_equal", "array_equiv", "array_repr", "array_str", "array2string", "count_nonzero", "may_share_memory",
         "ndim", "nonzero", "result_type", "shape", "shares_memory", "size"}            # nothing to differentiate

OURS = {getattr(theirs, name): getattr(ours, name) for theirs, ours in (
            (np, arrays), (np, creation), (np, functional), (np, indexing), (np.linalg, linalg))
        for name in set(ours.__all__) - OTHER
        if inspect.isroutine(getattr(theirs, name, None))}                              # a ufunc is none
OURS |= {operator.attrgetter(name)(np): ours for name, ours in RENAMED.items()}


@functools.cache
def _signature(function: Function) -> inspect.Signature | None:
    """NumPy's, or None for what takes its arguments in order."""
    try:
        return None if function in (np.einsum, np.where) else inspect.signature(function)
    except ValueError:                          # in C, before NumPy 2.4
        return None


def _called(function: Function, name: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
    """Our function with NumPy's arguments: those without a default in their order, the others by name."""
    signature, ours = _signature(function), OURS[function]
    if signature is None:
        return ours(*args, **kwargs)
    bound = signature.bind(*args, **kwargs)
    bound.apply_defaults()
    given, known, first, named = bound.arguments, inspect.signature(ours).parameters, [], {}
    given |= given.pop("kwargs", {})
    for key, value in given.items():
        here, parameter = ARGUMENTS.get(key, key), signature.parameters.get(key)
        if parameter is not None and parameter.default is parameter.empty:
            first.append(value)
        elif here in known and value is not np._NoValue:
            named[here] = value
        elif parameter is None or value is not parameter.default:
            raise DTypeError(f"{name}: {key} cannot be given beside a Tensor; t.detach().numpy() is an array, without "
                             "a graph")
    return ours(*first, **named)


def __array_function__(self: Tensor, function: Any, types: Any, args: Any, kwargs: Any) -> Any:
    """For NumPy: ``np.concatenate([t, u])``, ``np.where(mask, t, u)`` are operations on Tensors. A function that is
    none of them gets arrays; ``DTypeError`` where an argument requires a gradient."""
    if not all(issubclass(t, (Tensor, np.ndarray)) for t in types):
        return NotImplemented
    name = f"{function.__module__}.{function.__name__}".replace("numpy", "np", 1)
    if function in OURS:
        return _called(function, name, args, kwargs)
    leaves, structure = flatten((args, kwargs))
    if function.__name__ not in PLAIN and any(isinstance(x, Tensor) and x.requires_grad for x in leaves):
        raise DTypeError(f"{name}: no operation on Tensors corresponds to it, and an array has no graph; where none is "
                         "wanted, give it t.detach().numpy()")
    args, kwargs = unflatten(structure, (np.asarray(x.detach()) if isinstance(x, Tensor) else x for x in leaves))
    return function(*args, **kwargs)


attach({"__array_function__": __array_function__})
