"""The namespace of the array API standard, version 2024.12: what ``x.__array_namespace__()`` gives for a Tensor.

Names and parameters are the standard's, and so is what they mean; results have a graph where there is a derivative.
Elsewhere microgradx goes by torch or NumPy: ``mgx.sort`` gives values and indices, ``array_api.sort`` the values. Data
types that there are not, and the Fourier transforms, are listed in docs/differences.md.

>>> import microgradx as mgx
>>> x = mgx.Tensor([3.0, 1.0, 2.0])
>>> xp = x.__array_namespace__()
>>> xp.sort(x, descending=True)
Tensor([3., 2., 1.])
"""
from __future__ import annotations

import builtins
import math
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np

from microgradx import arrays, creation, functional, indexing
from microgradx import linalg as _linalg
from microgradx._core.tensor import Tensor
from microgradx._core.tensor import concat as _concat
from microgradx._core.tensor import from_dlpack as _from_dlpack
from microgradx._core.tensor import stack as _stack
from microgradx.arrays.common import broadcast, tensor
from microgradx.errors import DTypeError, OptionError, ShapeError
from microgradx.names import make_public
from microgradx.numpy_functions import FUNCTIONS

__array_api_version__ = "2024.12"

# ----- constants and dtypes ------------------------------------------------------------------------------------------

e, inf, nan, pi, newaxis = math.e, math.inf, math.nan, math.pi, None
float32, float64, int64, bool = np.dtype("float32"), np.dtype("float64"), np.dtype("int64"), np.dtype("bool")
_DTYPES = {"bool": bool, "int64": int64, "float32": float32, "float64": float64}
_KINDS: dict[str, list[Any]] = {"bool": [bool], "signed integer": [int64], "unsigned integer": [], "integral": [int64],
          "real floating": [float32, float64], "complex floating": [], "numeric": [int64, float32, float64]}


def isdtype(dtype: Any, kind: Any) -> builtins.bool:
    """Whether ``dtype`` is of a kind, "integral", say, is a dtype, or either of several of these."""
    if isinstance(kind, tuple):
        return builtins.any(isdtype(dtype, k) for k in kind)
    if not isinstance(kind, str):
        return builtins.bool(np.dtype(dtype) == kind)
    if kind not in _KINDS:
        raise OptionError(f"isdtype: kind={kind!r} is none of {', '.join(_KINDS)}")
    return np.dtype(dtype) in _KINDS[kind]


def _dtype_of(x: Any) -> Any:
    return x.dtype if isinstance(x, Tensor) else x


def can_cast(from_: Any, to: Any, /) -> builtins.bool:
    """Whether a dtype, or that of an array, becomes another by the rules by which dtypes are mixed."""
    return builtins.bool(np.can_cast(_dtype_of(from_), to))


def result_type(*arrays_and_dtypes: Any) -> Any:
    """The dtype of the result of an operation on arrays, dtypes and numbers."""
    given = [_dtype_of(x) for x in arrays_and_dtypes]
    dtypes = [x for x in given if not isinstance(x, (builtins.bool, int, float))]
    found = np.result_type(*dtypes) if dtypes else np.result_type(*given)
    if builtins.any(isinstance(x, float) for x in given) and found.kind != "f":
        return float32
    return float32 if found.kind == "f" and float32 in dtypes and float64 not in dtypes else found


def finfo(type: Any, /) -> Any:
    """Bits, eps, largest and smallest numbers of a float dtype."""
    return np.finfo(_dtype_of(type))


def iinfo(type: Any, /) -> Any:
    """Bits, largest and smallest numbers of an integer dtype."""
    return np.iinfo(_dtype_of(type))


def astype(x: Tensor, dtype: Any, /, *, copy: builtins.bool = True, device: Any = None) -> Tensor:
    """x in another dtype, a copy unless ``copy`` is False and the dtype is its own."""
    _check_device("astype", device)
    y = x.astype(dtype)
    return y.clone() if y is x and copy else y


# ----- creation ------------------------------------------------------------------------------------------------------

def _check_device(op: str, device: Any) -> None:
    if device not in (None, "cpu"):
        raise OptionError(f"{op}: device={device!r} is none; microgradx runs on the CPU, 'cpu'")


def asarray(obj: Any, /, *, dtype: Any = None, device: Any = None, copy: builtins.bool | None = None) -> Tensor:
    """An array of numbers, lists, NumPy's arrays and what has DLPack; of a Tensor itself, unless ``copy``."""
    _check_device("asarray", device)
    if isinstance(obj, Tensor):
        y = obj if dtype is None else obj.astype(dtype)
        if copy is False and y is not obj:
            raise DTypeError(f"asarray: {obj.dtype} does not become {dtype} without a copy")
        return y.clone() if y is obj and copy else y
    if copy is False:
        raise DTypeError(f"asarray: of {type(obj).__name__} no array is made without a copy")
    if isinstance(obj, builtins.bool | int | list | tuple | float) or isinstance(obj, (np.ndarray, np.generic)):
        y = tensor(obj)
    else:
        y = _from_dlpack(obj).clone()
    return y if dtype is None else y.astype(dtype)


def _made(op: str, shape: Any, number: Any, dtype: Any, device: Any) -> Tensor:
    _check_device(op, device)
    return Tensor(np.full(shape, number, dtype))


def zeros(shape: Any, *, dtype: Any = None, device: Any = None) -> Tensor:
    """0 everywhere; float32 unless ``dtype`` is given."""
    return _made("zeros", shape, 0, dtype or float32, device)


def ones(shape: Any, *, dtype: Any = None, device: Any = None) -> Tensor:
    """1 everywhere; float32 unless ``dtype`` is given."""
    return _made("ones", shape, 1, dtype or float32, device)


def empty(shape: Any, *, dtype: Any = None, device: Any = None) -> Tensor:
    """Numbers to be written: zeros."""
    return _made("empty", shape, 0, dtype or float32, device)


def full(shape: Any, fill_value: Any, *, dtype: Any = None, device: Any = None) -> Tensor:
    """``fill_value`` everywhere; its dtype unless ``dtype`` is given, float32 of a float."""
    return _made("full", shape, fill_value, dtype or result_type(fill_value), device)


def zeros_like(x: Tensor, /, *, dtype: Any = None, device: Any = None) -> Tensor:
    """0 everywhere, in the shape of x."""
    return _made("zeros_like", x.shape, 0, dtype or x.dtype, device)


def ones_like(x: Tensor, /, *, dtype: Any = None, device: Any = None) -> Tensor:
    """1 everywhere, in the shape of x."""
    return _made("ones_like", x.shape, 1, dtype or x.dtype, device)


def empty_like(x: Tensor, /, *, dtype: Any = None, device: Any = None) -> Tensor:
    """Numbers to be written, in the shape of x: zeros."""
    return zeros_like(x, dtype=dtype, device=device)


def full_like(x: Tensor, /, fill_value: Any, *, dtype: Any = None, device: Any = None) -> Tensor:
    """``fill_value`` everywhere, in the shape of x."""
    return _made("full_like", x.shape, fill_value, dtype or x.dtype, device)


def eye(n_rows: int, n_cols: int | None = None, /, *, k: int = 0, dtype: Any = None, device: Any = None) -> Tensor:
    """1 on the diagonal ``k``, 0 elsewhere."""
    _check_device("eye", device)
    return creation.eye(n_rows, n_cols, k, dtype=dtype or float32)


def arange(start: Any, /, stop: Any = None, step: Any = 1, *, dtype: Any = None, device: Any = None) -> Tensor:
    """start, start + step, ... before ``stop``."""
    _check_device("arange", device)
    return creation.arange(start, stop, step, dtype=dtype)


def linspace(start: float, stop: float, /, num: int, *, dtype: Any = None, device: Any = None,
             endpoint: builtins.bool = True) -> Tensor:
    """``num`` numbers at equal steps from ``start`` to ``stop``, that included unless ``endpoint`` is False."""
    _check_device("linspace", device)
    if endpoint:
        return creation.linspace(start, stop, num, dtype=dtype or float32)
    return creation.linspace(start, stop, num + 1, dtype=dtype or float32)[:-1].clone()


def from_dlpack(x: Any, /, *, device: Any = None, copy: builtins.bool | None = None) -> Tensor:
    """An array over the memory of another library's, or with ``copy`` over a copy."""
    _check_device("from_dlpack", device)
    y = _from_dlpack(x)
    return y.clone() if copy else y


def meshgrid(*arrays: Tensor, indexing: str = "xy") -> tuple[Tensor, ...]:
    """Each of the 1-D arrays along an axis of its own, expanded to the grid of all."""
    return FUNCTIONS["meshgrid"](*arrays, indexing=indexing)     # type: ignore[no-any-return]


def tril(x: Tensor, /, *, k: int = 0) -> Tensor:
    """The lower triangle of the last two axes, up to diagonal ``k``."""
    return x.tril(k)


def triu(x: Tensor, /, *, k: int = 0) -> Tensor:
    """The upper triangle of the last two axes, from diagonal ``k`` on."""
    return x.triu(k)


# ----- elementwise ---------------------------------------------------------------------------------------------------

abs, acos, acosh, add, asin, asinh, atan, atan2, atanh = (
    functional.abs, functional.acos, functional.acosh, functional.add, functional.asin, functional.asinh,
    functional.atan, functional.atan2, functional.atanh)
ceil, cos, cosh, divide, exp, expm1, floor, hypot, log, log10, log1p, log2, logaddexp = (
    functional.ceil, functional.cos, functional.cosh, functional.div, functional.exp, functional.expm1,
    functional.floor, functional.hypot, functional.log, functional.log10, functional.log1p, functional.log2,
    functional.logaddexp)
equal, greater, greater_equal, less, less_equal, not_equal = (
    functional.eq, functional.gt, functional.ge, functional.lt, functional.le, functional.ne)
maximum, minimum, multiply, negative, pow, reciprocal, remainder, round, sign, sin, sinh, sqrt, square, subtract = (
    functional.maximum, functional.minimum, functional.mul, functional.neg, functional.pow, functional.reciprocal,
    functional.remainder, functional.round, functional.sign, functional.sin, functional.sinh, functional.sqrt,
    functional.square, functional.sub)
tan, tanh, trunc = functional.tan, functional.tanh, functional.trunc
bitwise_and, bitwise_invert, bitwise_left_shift, bitwise_or, bitwise_right_shift, bitwise_xor = (
    arrays.bitwise_and, arrays.bitwise_not, arrays.bitwise_left_shift, arrays.bitwise_or, arrays.bitwise_right_shift,
    arrays.bitwise_xor)
copysign, floor_divide, isfinite, isinf, isnan, nextafter, positive, signbit = (
    arrays.copysign, arrays.floor_divide, arrays.isfinite, arrays.isinf, arrays.isnan, arrays.nextafter,
    arrays.positive, arrays.signbit)
logical_and, logical_not, logical_or, logical_xor = (
    arrays.logical_and, arrays.logical_not, arrays.logical_or, arrays.logical_xor)


def clip(x: Tensor, /, min: Any = None, max: Any = None) -> Tensor:
    """x, held between ``min`` and ``max``; None leaves a side open."""
    return x.clone() if min is None and max is None else x.clip(min, max)


def conj(x: Tensor, /) -> Tensor:
    """x itself: there are no complex numbers."""
    return x


def real(x: Tensor, /) -> Tensor:
    """x itself: there are no complex numbers."""
    return x


def imag(x: Tensor, /) -> Tensor:
    """0 everywhere: there are no complex numbers."""
    return zeros_like(x)


# ----- positions and order -------------------------------------------------------------------------------------------

def take(x: Tensor, indices: Tensor, /, *, axis: int | None = None) -> Tensor:
    """What stands at the positions ``indices`` along ``axis``, which may be left out where there is but one."""
    if axis is None and x.ndim != 1:
        raise ShapeError(f"take: of shape {x.shape} an axis must be given")
    return indexing.take(x, indices, 0 if axis is None else axis)


def take_along_axis(x: Tensor, indices: Tensor, /, *, axis: int = -1) -> Tensor:
    """``out[i, j] = x[indices[i, j], j]`` for axis 0, and so on."""
    return indexing.take_along_axis(x, indices, axis)


def nonzero(x: Tensor, /) -> tuple[Tensor, ...]:
    """The positions of what is not 0, one array per axis."""
    if x.ndim == 0:
        raise ShapeError("nonzero: of an array without axes")
    return indexing.nonzero(x, as_tuple=True)       # type: ignore[no-any-return]


def searchsorted(x1: Tensor, x2: Any, /, *, side: str = "left", sorter: Any = None) -> Tensor:
    """Where each of ``x2`` would have to be put in ``x1`` so that it stays in order."""
    return indexing.searchsorted(x1, x2, side=side, sorter=sorter)


def where(condition: Tensor, x1: Any, x2: Any, /) -> Tensor:
    """``x1`` where ``condition``, else ``x2``."""
    if condition.dtype != np.bool_:
        raise DTypeError(f"where: a condition is bool, not {condition.dtype}")
    return functional.where(condition, x1, x2)


def isin(x1: Any, x2: Any, /, *, invert: builtins.bool = False) -> Tensor:
    """Where an element of ``x1`` is among ``x2``, or with ``invert`` where not."""
    return indexing.isin(x1, x2, invert=invert)


def argmax(x: Tensor, /, *, axis: int | None = None, keepdims: builtins.bool = False) -> Tensor:
    """The position of the first largest element."""
    return x.argmax(axis, keepdims)


def argmin(x: Tensor, /, *, axis: int | None = None, keepdims: builtins.bool = False) -> Tensor:
    """The position of the first smallest element."""
    return x.argmin(axis, keepdims)


def count_nonzero(x: Tensor, /, *, axis: Any = None, keepdims: builtins.bool = False) -> Tensor:
    """How many elements are not 0."""
    return arrays.count_nonzero(x, axis, keepdims)


def sort(x: Tensor, /, *, axis: int = -1, descending: builtins.bool = False, stable: builtins.bool = True) -> Tensor:
    """The elements in order along ``axis``."""
    return indexing.sort(x, axis, descending, stable).values


def argsort(x: Tensor, /, *, axis: int = -1, descending: builtins.bool = False,
            stable: builtins.bool = True) -> Tensor:
    """The positions that sort x along ``axis``."""
    return indexing.argsort(x, axis, descending, stable)


class UniqueAll(NamedTuple):
    """What ``unique_all`` gives."""
    values: Tensor
    indices: Tensor
    inverse_indices: Tensor
    counts: Tensor


class UniqueCounts(NamedTuple):
    """What ``unique_counts`` gives."""
    values: Tensor
    counts: Tensor


class UniqueInverse(NamedTuple):
    """What ``unique_inverse`` gives."""
    values: Tensor
    inverse_indices: Tensor


def unique_all(x: Tensor, /) -> UniqueAll:
    """(the different elements, the first position of each, the place of each element among them, how often each is)."""
    values, first, inverse, counts = FUNCTIONS["unique"](x, True, True, True, equal_nan=False)
    return UniqueAll(values, first, inverse.reshape(x.shape), counts)


def unique_counts(x: Tensor, /) -> UniqueCounts:
    """(the different elements, how often each is there)."""
    return UniqueCounts(*unique_all(x)[::3])


def unique_inverse(x: Tensor, /) -> UniqueInverse:
    """(the different elements, the place of each element among them)."""
    return UniqueInverse(*unique_all(x)[::2])


def unique_values(x: Tensor, /) -> Tensor:
    """The different elements, in order."""
    return unique_all(x).values


# ----- manipulation --------------------------------------------------------------------------------------------------

def broadcast_arrays(*arrays: Tensor) -> tuple[Tensor, ...]:
    """The arrays in their common shape, views."""
    return tuple(broadcast("broadcast_arrays", *arrays))


broadcast_shapes = arrays.broadcast_shapes


def broadcast_to(x: Tensor, /, shape: Any) -> Tensor:
    """A view broadcast to ``shape``."""
    return x.expand(tuple(shape))


def concat(arrays: Sequence[Tensor], /, *, axis: int | None = 0) -> Tensor:
    """Joined along ``axis``, or flattened first where it is None."""
    return _concat([x.reshape(-1) for x in arrays] if axis is None else arrays, axis or 0)


def stack(arrays: Sequence[Tensor], /, *, axis: int = 0) -> Tensor:
    """Joined along a new axis."""
    return _stack(arrays, axis)


def unstack(x: Tensor, /, *, axis: int = 0) -> tuple[Tensor, ...]:
    """The views x[0], x[1], ... along ``axis``."""
    return arrays.unbind(x, axis)


def expand_dims(x: Tensor, /, *, axis: Any = 0) -> Tensor:
    """With an axis of length 1 at ``axis``."""
    return arrays.expand_dims(x, axis)


def squeeze(x: Tensor, /, axis: Any) -> Tensor:
    """Without the axes ``axis``, which are of length 1."""
    for d in axis if isinstance(axis, tuple) else (axis,):
        if not -x.ndim <= d < x.ndim or x.shape[d] != 1:
            raise ShapeError(f"squeeze: axis {d} of shape {x.shape} is not of length 1")
    return x.squeeze(axis)


def flip(x: Tensor, /, *, axis: Any = None) -> Tensor:
    """The order along ``axis`` reversed."""
    return arrays.flip(x, axis)


def moveaxis(x: Tensor, source: Any, destination: Any, /) -> Tensor:
    """The axes ``source`` at the places ``destination``."""
    return arrays.movedim(x, source, destination)


def permute_dims(x: Tensor, /, axes: Any) -> Tensor:
    """The axes in another order."""
    return x.permute(tuple(axes))


def matrix_transpose(x: Tensor, /) -> Tensor:
    """The last two axes exchanged."""
    return _linalg.matrix_transpose(x)


def repeat(x: Tensor, repeats: Any, /, *, axis: int | None = None) -> Tensor:
    """Each element ``repeats`` times."""
    return arrays.repeat(x, repeats, axis=axis)


def reshape(x: Tensor, /, shape: Any, *, copy: builtins.bool | None = None) -> Tensor:
    """Another shape: a copy with ``copy``, a view or an error where it is False."""
    y = x.reshape(tuple(shape))
    shared = builtins.bool(np.shares_memory(np.asarray(x.detach()), np.asarray(y.detach())))
    if copy is False and x.size and not shared:
        raise ShapeError(f"reshape: shape {x.shape} becomes {tuple(shape)} by a copy only")
    return y.clone() if copy and shared else y


def roll(x: Tensor, /, shift: Any, *, axis: Any = None) -> Tensor:
    """Moved on by ``shift`` along ``axis``, what falls off comes in again."""
    if isinstance(axis, tuple) and isinstance(shift, int):
        shift = (shift,) * len(axis)
    return arrays.roll(x, shift, axis)


def tile(x: Tensor, repetitions: Any, /) -> Tensor:
    """The whole of x, so many times along each axis."""
    return arrays.tile(x, tuple(repetitions))


# ----- reductions ----------------------------------------------------------------------------------------------------

def _as(x: Tensor, dtype: Any) -> Tensor:
    return x if dtype is None else x.astype(dtype)


def sum(x: Tensor, /, *, axis: Any = None, dtype: Any = None, keepdims: builtins.bool = False) -> Tensor:
    """The sum over ``axis``, computed in ``dtype``."""
    return _as(x, dtype).sum(axis, keepdims)


def prod(x: Tensor, /, *, axis: Any = None, dtype: Any = None, keepdims: builtins.bool = False) -> Tensor:
    """The product over ``axis``, computed in ``dtype``."""
    return _as(x, dtype).prod(axis, keepdims)


def mean(x: Tensor, /, *, axis: Any = None, keepdims: builtins.bool = False) -> Tensor:
    """The mean over ``axis``."""
    return x.mean(axis, keepdims)


def var(x: Tensor, /, *, axis: Any = None, correction: float = 0.0, keepdims: builtins.bool = False) -> Tensor:
    """The mean squared deviation from the mean; the sum is divided by n - ``correction``."""
    return x.var(axis, correction, keepdims)        # type: ignore[arg-type]


def std(x: Tensor, /, *, axis: Any = None, correction: float = 0.0, keepdims: builtins.bool = False) -> Tensor:
    """The square root of ``var``."""
    return x.std(axis, correction, keepdims)        # type: ignore[arg-type]


def max(x: Tensor, /, *, axis: Any = None, keepdims: builtins.bool = False) -> Tensor:
    """The largest element over ``axis``."""
    return x.amax(axis, keepdims)


def min(x: Tensor, /, *, axis: Any = None, keepdims: builtins.bool = False) -> Tensor:
    """The smallest element over ``axis``."""
    return x.amin(axis, keepdims)


def all(x: Tensor, /, *, axis: Any = None, keepdims: builtins.bool = False) -> Tensor:
    """Whether no element over ``axis`` is 0."""
    return x.all(axis, keepdims)


def any(x: Tensor, /, *, axis: Any = None, keepdims: builtins.bool = False) -> Tensor:
    """Whether an element over ``axis`` is not 0."""
    return x.any(axis, keepdims)


def cumulative_sum(x: Tensor, /, *, axis: int | None = None, dtype: Any = None,
                   include_initial: builtins.bool = False) -> Tensor:
    """Running sums along ``axis``, behind a 0 with ``include_initial``."""
    return FUNCTIONS["cumulative_sum"](_as(x, dtype), axis=axis,   # type: ignore[no-any-return]
                                       include_initial=include_initial)


def cumulative_prod(x: Tensor, /, *, axis: int | None = None, dtype: Any = None,
                    include_initial: builtins.bool = False) -> Tensor:
    """Running products along ``axis``, behind a 1 with ``include_initial``."""
    return FUNCTIONS["cumulative_prod"](_as(x, dtype), axis=axis,  # type: ignore[no-any-return]
                                        include_initial=include_initial)


def diff(x: Tensor, /, *, axis: int = -1, n: int = 1, prepend: Any = None, append: Any = None) -> Tensor:
    """The differences of neighbours along ``axis``, taken ``n`` times."""
    return arrays.diff(x, n, axis, prepend, append)


# ----- products ------------------------------------------------------------------------------------------------------

def matmul(x1: Tensor, x2: Tensor, /) -> Tensor:
    """The matrix product."""
    return x1 @ x2


def tensordot(x1: Tensor, x2: Tensor, /, *, axes: Any = 2) -> Tensor:
    """The sum of products over ``axes``."""
    return arrays.tensordot(x1, x2, axes)


def vecdot(x1: Tensor, x2: Tensor, /, *, axis: int = -1) -> Tensor:
    """The sums of products along ``axis``."""
    return _linalg.vecdot(x1, x2, axis)


def _matrix_rank(x: Tensor, /, *, rtol: float | None = None) -> Tensor:
    """How many singular values are larger than ``rtol`` times the largest."""
    return _linalg.matrix_rank(x, rtol=rtol)


def _cholesky(x: Tensor, /, *, upper: builtins.bool = False) -> Tensor:
    """The lower or upper triangular factor of positive definite matrices."""
    return _linalg.cholesky(x, upper=upper)


def _trace(x: Tensor, /, *, offset: int = 0, dtype: Any = None) -> Tensor:
    """The sums of the diagonals of the last two axes."""
    return _linalg.trace(_as(x, dtype), offset=offset)


linalg = SimpleNamespace(
    cholesky=_cholesky, cross=_linalg.cross, det=_linalg.det, diagonal=_linalg.diagonal, eigh=_linalg.eigh,
    eigvalsh=_linalg.eigvalsh, inv=_linalg.inv, matmul=matmul, matrix_norm=lambda x, /, *, keepdims=False, ord="fro":
    _linalg.matrix_norm(x, ord, keepdims=keepdims), matrix_power=_linalg.matrix_power, matrix_rank=_matrix_rank,
    matrix_transpose=matrix_transpose, outer=_linalg.outer,
    pinv=lambda x, /, *, rtol=None: _linalg.pinv(x, rtol=rtol), qr=_linalg.qr, slogdet=_linalg.slogdet,
    solve=_linalg.solve, svd=_linalg.svd, svdvals=_linalg.svdvals, tensordot=tensordot, trace=_trace, vecdot=vecdot,
    vector_norm=lambda x, /, *, axis=None, keepdims=False, ord=2: _linalg.vector_norm(x, ord, axis, keepdims))


# ----- what there is -------------------------------------------------------------------------------------------------

class Info:
    """What ``__array_namespace_info__`` gives."""

    def capabilities(self) -> dict[str, Any]:
        """Masks may pick, shapes may depend on numbers, and arrays have at most 32 axes."""
        return {"boolean indexing": True, "data-dependent shapes": True, "max dimensions": 32}

    def default_device(self) -> str:
        """The CPU."""
        return "cpu"

    def devices(self) -> list[str]:
        """The CPU alone."""
        return ["cpu"]

    def default_dtypes(self, *, device: Any = None) -> dict[str, Any]:
        """float32 and int64."""
        _check_device("default_dtypes", device)
        return {"real floating": float32, "complex floating": None, "integral": int64, "indexing": int64}

    def dtypes(self, *, device: Any = None, kind: Any = None) -> dict[str, Any]:
        """The dtypes by name, of one kind or of all."""
        _check_device("dtypes", device)
        return {name: dtype for name, dtype in _DTYPES.items() if kind is None or isdtype(dtype, kind)}


def __array_namespace_info__() -> Info:
    """What this namespace can do."""
    return Info()


make_public(__name__)
