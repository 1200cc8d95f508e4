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
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from microgradx import array_api, arrays, creation, functional, indexing, linalg
from microgradx import special as special
from microgradx._core import ufuncs
from microgradx._core.tensor import Tensor, attach, pad
from microgradx._core.trees import flatten, unflatten
from microgradx.errors import DTypeError, OptionError
from microgradx.numpy_functions import FUNCTIONS, numpys
from microgradx.typing import Function

ARGUMENTS = {"a_min": "lo", "a_max": "hi", "min": "lo", "max": "hi", "constant_values": "value"}
# of one name and another meaning, where FUNCTIONS has none either; what `like=` makes of nothing is an array
OTHER = {"arange", "broadcast_shapes", "empty", "empty_like", "eye", "full", "histogram", "linspace", "logspace",
         "lstsq",
         "ones", "put", "row_stack", "tril_indices", "triu_indices", "zeros"}
PLAIN = {"argpartition", "array_equal", "array_equiv", "array_repr", "array_str", "array2string", "count_nonzero",
         "digitize", "flatnonzero", "histogram", "histogram2d", "histogram_bin_edges", "histogramdd", "iscomplex",
         "iscomplexobj", "isrealobj", "lexsort", "may_share_memory", "nanargmax", "nanargmin", "ndim",
         "ravel_multi_index", "result_type", "shape", "shares_memory", "size"}          # nothing to differentiate

OURS = {getattr(theirs, name): getattr(ours, name) for theirs, ours in (
            (np, arrays), (np, creation), (np, functional), (np, indexing), (np.linalg, linalg))
        for name in set(ours.__all__) - OTHER
        if inspect.isroutine(getattr(theirs, name, None))}                              # a ufunc is none
OURS |= {np.max: functional.amax, np.min: functional.amin, np.pad: pad}
ufuncs.FUNCTIONS |= {getattr(np, name): getattr(arrays, ours) for name, ours in {
    **{name: name for name in (
        "bitwise_left_shift", "bitwise_right_shift", "copysign", "deg2rad", "float_power", "fmax", "fmin", "frexp",
        "gcd", "heaviside", "isfinite", "isinf", "isnan", "lcm", "ldexp", "logaddexp2", "logical_and", "logical_not",
        "logical_or", "logical_xor", "nextafter", "rad2deg", "signbit", "vecdot")},
    "conjugate": "positive", "degrees": "rad2deg", "radians": "deg2rad"}.items()}
ufuncs.FUNCTIONS |= {
    np.cbrt: lambda x: x.sign() * x.abs().pow(1 / 3), np.divmod: lambda x, y: (x // y, x % y),
    np.modf: lambda x: (arrays.frac(x), x.trunc())}
ADAPTED = {numpys(name): function for name, function in FUNCTIONS.items() if numpys(name) is not None}


@functools.cache
def _signature(function: Function) -> inspect.Signature | None:
    """NumPy's, or None for what takes its arguments in order."""
    try:
        return inspect.signature(function)
    except ValueError:                          # in C, before NumPy 2.4
        return None


def _called(function: Function, name: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
    """Our function with NumPy's arguments: those without a default in their order, the others by name."""
    if function in ADAPTED:
        return _adapted(ADAPTED[function], name, args, kwargs)
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
            raise DTypeError(f"{name}: {key} cannot be combined with a Tensor; t.detach().numpy() is an array, without "
                             "a graph")
    return ours(*first, **named)


def _adapted(function: Function, name: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
    """A function with NumPy's own parameters, as far as it has them."""
    known = inspect.signature(function).parameters
    given = {key: value for key, value in kwargs.items() if value is not np._NoValue}
    for key in given:
        if key not in known and function is not FUNCTIONS["einsum"]:
            raise DTypeError(f"{name}: {key} cannot be combined with a Tensor; t.detach().numpy() is an array, without "
                             "a graph")
    if len(args) > len(known) and not any(p.kind is p.VAR_POSITIONAL for p in known.values()):
        raise DTypeError(f"{name}: only {', '.join(known)} can be combined with a Tensor")
    return function(*args, **given)


def _is_plain(function: Function, args: Sequence[Any], kwargs: Mapping[str, Any]) -> bool:
    """Is there nothing to differentiate? The sum of weights in a bin is linear in them."""
    if function.__name__ not in PLAIN:
        return False
    signature = _signature(function)
    weights = kwargs.get("weights") if signature is None else signature.bind(*args, **kwargs).arguments.get("weights")
    return not (isinstance(weights, Tensor) and weights.requires_grad)


def __array_function__(self: Tensor, function: Any, types: Any, args: Any, kwargs: Any) -> Any:
    """For NumPy: ``np.concatenate([t, u])``, ``np.where(mask, t, u)`` are operations on Tensors. A function that is
    none of them gets arrays; ``DTypeError`` where an argument requires a gradient."""
    if not all(issubclass(t, (Tensor, np.ndarray)) for t in types):
        return NotImplemented
    name = f"{function.__module__}.{function.__name__}".replace("numpy", "np", 1)
    if function in OURS or function in ADAPTED:
        return _called(function, name, args, kwargs)
    leaves, structure = flatten((args, kwargs))
    if not _is_plain(function, args, kwargs) and any(isinstance(x, Tensor) and x.requires_grad for x in leaves):
        raise DTypeError(f"{name}: no operation on Tensors corresponds to it, and an array has no graph; where none is "
                         "wanted, give it t.detach().numpy()")
    args, kwargs = unflatten(structure, (np.asarray(x.detach()) if isinstance(x, Tensor) else x for x in leaves))
    return function(*args, **kwargs)


def __array_namespace__(self: Tensor, /, *, api_version: str | None = None) -> Any:
    """The functions of the array API standard for Tensors: the module ``microgradx.array_api``."""
    if api_version is not None and api_version not in ("2021.12", "2022.12", "2023.12", "2024.12"):
        raise OptionError(f"array_namespace: api_version={api_version!r} is not there; 2024.12 is")
    return array_api


attach({"__array_function__": __array_function__, "__array_namespace__": __array_namespace__})
