"""The methods as functions: ``mgx.exp(x)``, ``mgx.maximum(a, 0.0)``, ``mgx.where(condition, a, b)``.

Each passes its first argument to the method of its name. Values stay Values; a Tensor stays a Tensor; a number,
an array or a list becomes what goes with the other arguments: a Value with Values, else a Tensor. Numbers do
not change the dtype of the Tensors that they go with.

>>> import microgradx as mgx
>>> mgx.maximum(0.0, mgx.Value(3.0))
Value(data=3.0, grad=0.0)
>>> mgx.exp([0.0, 1.0])
Tensor([1.       , 2.7182817])
>>> mgx.sum(mgx.Value(k) for k in range(4)).data
6.0
"""
from __future__ import annotations

import inspect
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Literal, Protocol, overload

import numpy as np

from microgradx._core import value
from microgradx._core.kernels import table
from microgradx._core.ops import Differentiable
from microgradx._core.tensor import Tensor, attach, tensor
from microgradx._core.value import Value
from microgradx.errors import ArgumentError, DTypeError, GraphError, ShapeError
from microgradx.indexing import nonzero
from microgradx.names import ALIASES, public
from microgradx.typing import Axes, Axis, Data, DType, Function, Lengths, Number

_ELEMENTWISE = [*(row["name"] for row in table()), "chain"]     # the former name of mul_no_nan
_WITH_OPTIONS = {"add", "sub", "div", "round", "clip", "logit"}      # Tensors have more options than Values: see arrays
_OF_DTYPE = {"sum", "mean", "prod", "softmax", "log_softmax", "cumsum", "norm"}         # torch: of x in that dtype
_REDUCTIONS = ["sum", "mean"]               # which take a sequence of Values, too
_OF_TENSORS = ["prod", "var", "std", "max", "min", "amax", "amin", "argmax", "argmin", "logsumexp", "softmax",
               "log_softmax", "cumsum", "norm", "reshape", "transpose", "permute", "expand", "squeeze", "unsqueeze",
               "flatten", "split", "gather", "scatter_add", "triu", "tril", "outer", "matmul"]

__all__ = ["clone", "neg", "abs", "sign", "square", "sqrt", "rsqrt", "reciprocal", "floor", "ceil", "round", "trunc",
           "exp", "exp2", "expm1", "log", "log2", "log10", "log1p", "sin", "cos", "tan", "asin", "acos", "atan", "sinh",
           "cosh", "tanh", "asinh", "acosh", "atanh", "erf", "erfc", "sigmoid", "logsigmoid", "logit", "softplus",
           "relu", "relu6", "leaky_relu", "prelu", "elu", "selu", "celu", "gelu", "gelu_tanh", "silu", "mish",
           "softsign", "hardtanh", "hardsigmoid", "hardswish", "hardshrink", "softshrink", "tanhshrink", "threshold",
           "add", "sub", "mul", "div", "pow", "maximum", "minimum", "fmod", "remainder", "atan2", "hypot", "logaddexp",
           "xlogy", "lerp", "where", "clip", "gt", "ge", "lt", "le", "eq", "ne", "mul_no_nan", "chain", "dsigmoid",
           "sech2", "gauss", "normpdf", "dsilu", "dgelu", "dgelu_tanh", "dmish", "sum", "mean", "prod", "var", "std",
           "max", "min", "amax", "amin", "argmax", "argmin", "logsumexp", "softmax", "log_softmax", "cumsum", "norm",
           "outer", "matmul", "reshape", "expand", "transpose", "permute", "squeeze", "unsqueeze", "flatten", "split",
           "gather", "scatter_add", "triu", "tril"]
__all__ += sorted({*_ELEMENTWISE} - {*__all__})        # a new row is there before it is written above


_MISSING: Any = object()


def _lift(x: Any, others: Iterable[Any]) -> Value | Tensor:
    """``x``, a number or an array, as what goes with the ``others``."""
    dtype = None
    for other in others:
        if isinstance(other, Value):
            return Value(x)
        if isinstance(other, Tensor) and other.dtype.kind == "f" and (dtype is None or dtype < other.dtype):
            dtype = other.dtype             # float32 < float64
    return tensor(x, dtype=dtype if isinstance(x, (int, float, np.generic)) else None)


def _written(out: Tensor, name: str, result: Any) -> Tensor:
    """``result`` written into ``out``, which has its shape already; no graph goes through it."""
    if not isinstance(out, Tensor):
        raise DTypeError(f"{name}: out is a Tensor, not {type(out).__name__}")
    if out.requires_grad or result.requires_grad:
        raise GraphError(f"{name}: what is written to out has no graph, and an operand requires a gradient; "
                         f"out = {name}(...) has one")
    if out.shape != result.shape:
        raise ShapeError(f"{name}: a result of shape {result.shape} does not fit out, of shape {out.shape}")
    if out.dtype != result.dtype and not (out.dtype.kind == "f" and result.dtype.kind in "ib"):
        raise DTypeError(f"{name}: a result of {result.dtype} does not fit out, of {out.dtype}")
    return out.copy_(result)


def _elementwise(name: str) -> Function:
    method: Any = getattr(Differentiable, name)

    def function(x: Any, /, *args: Any, **kwargs: Any) -> Any:
        if not isinstance(x, Differentiable):
            x = _lift(x, (*args, *kwargs.values()))
        return (getattr(x, name) if name in _WITH_OPTIONS else method.__get__(x))(*args, **kwargs)

    return function


def _of_tensor(name: str) -> Function:
    def function(x: Any, /, *args: Any, **kwargs: Any) -> Any:
        if not isinstance(x, Tensor):
            x = _lift(x, (*args, *kwargs.values()))
            if isinstance(x, Value):
                raise DTypeError(f"{name}: of Tensors and arrays, not of a Value")
        return getattr(x, name)(*args, **kwargs)

    return function


def _reduction(name: str) -> Function:
    of_tensor, of_values = _of_tensor(name), getattr(value, f"scalar_{name}")

    def function(x: Any, /, *args: Any, **kwargs: Any) -> Any:
        if hasattr(x, "__iter__") and not isinstance(x, (Tensor, np.ndarray)):
            x = list(x)
            if any(isinstance(item, Value) for item in x):
                return of_values(x, *args, **kwargs)
        return of_tensor(x, *args, **kwargs)

    return function


def _optional(name: str, function: Function) -> Function:
    """``function`` with the options that methods do not have: ``out``, and ``dtype``, in which it computes."""
    def call(*args: Any, **kwargs: Any) -> Any:
        out, dtype = kwargs.pop("out", None), kwargs.pop("dtype", None)
        if "x" in kwargs and name != "where":
            args = (kwargs.pop("x"), *args)
        if not args:
            raise ArgumentError(f"{name}: the tensor is missing")
        if dtype is not None:
            x = args[0]
            args = (x.astype(dtype) if isinstance(x, Tensor) else tensor(x, dtype=dtype), *args[1:])
        found = function(*args, **kwargs)
        found = found if dtype is None else found.astype(dtype)
        return found if out is None else _written(out, name, found)

    return call


def _interface(name: str, function: Function, method: Any) -> Any:
    """``function`` with the name, the docstring and the signature of ``method``, to which calls with a Tensor go."""
    function, by_name = _optional(name, function), inspect.Parameter.KEYWORD_ONLY
    function.__name__ = function.__qualname__ = name
    function.__module__ = __name__
    takes: Any = {}
    direct = getattr(Tensor, name, None)
    if method is not None:
        heading, _, text = method.__doc__.partition("\n\n")         # Cython's heading is the signature
        function.__doc__ = text if heading.endswith(")") and "(self" in heading else method.__doc__
        first, *rest = inspect.signature(method).parameters.values()
        first = first.replace(name="condition" if name == "where" else "x", kind=first.POSITIONAL_ONLY)
        function.__signature__ = inspect.Signature([first, *rest])                      # type: ignore[attr-defined]
        _, *of_tensor = inspect.signature(direct or method).parameters.values()
        takes = {p.name: p for p in (first, *of_tensor)}
        if name not in _WITH_OPTIONS or [p.name for p in of_tensor if p.kind is not by_name] == [p.name for p in rest]:
            direct = method                     # without options, as all calls by position are
    takes |= {p: inspect.Parameter(p, by_name) for p in ("out", "dtype")[:1 + (name in _OF_DTYPE)]}
    return public(function, parameters=takes, direct=direct, kind=Tensor)


def accept_where(of_mask: Function) -> Function:
    """``where`` whose operands may be given by name: ``condition``, and ``input`` and ``other`` or ``x`` and ``y``."""
    def where(condition: Any, a: Any = _MISSING, b: Any = _MISSING, *, input: Any = _MISSING, other: Any = _MISSING,
              x: Any = _MISSING, y: Any = _MISSING) -> Any:
        if b is _MISSING:
            a, b, *_ = *(o for o in (a, input, x, other, y) if o is not _MISSING), _MISSING, _MISSING
            if a is _MISSING:
                return nonzero(condition, as_tuple=True)
            if b is _MISSING:
                raise ArgumentError("where: of a condition and two operands, or of a condition alone")
        return of_mask(condition, a, b)

    takes = inspect.signature(where).parameters
    where.__doc__, where.__signature__ = of_mask.__doc__, inspect.signature(of_mask)    # type: ignore[attr-defined]
    return public(where, parameters=takes)


# Some of the names are Python's own, ``sum`` and ``max``, say: the functions above do without these.
globals().update({name: _interface(name, make(name), getattr(of, name, None))
                  for make, of, names in ((_elementwise, Differentiable, _ELEMENTWISE),
                                          (_reduction, Tensor, _REDUCTIONS), (_of_tensor, Tensor, _OF_TENSORS))
                  for name in names})


# The two below are ``x`` and ``y`` in NumPy, ``input`` and ``other`` in torch, and the mask is what is asked.
globals()["where"] = accept_where(globals()["where"])
globals().update({other: globals()[name] for other, name in ALIASES.items()})
attach({f"{other}{end}": getattr(Tensor, f"{name}{end}") for other, name in ALIASES.items() for end in ("", "_")})
__all__ += ALIASES


# ----- their types -----------------------------------------------------------------------------------------------

if TYPE_CHECKING:
    class _Unary(Protocol):
        @overload
        def __call__(self, x: Value, /) -> Value: ...
        @overload
        def __call__(self, x: Data, /) -> Tensor: ...

    class _Binary(Protocol):
        @overload
        def __call__(self, x: Value, /, other: Number) -> Value: ...
        @overload
        def __call__(self, x: float, /, other: Value) -> Value: ...
        @overload
        def __call__(self, x: Data, /, other: Data) -> Tensor: ...

    class _Reduction(Protocol):
        def __call__(self, x: Data, /, axis: Axes = None, keepdims: bool = False, *, dim: Axes = None,
                     keepdim: bool = False) -> Tensor: ...

    class _TypedReduction(Protocol):
        def __call__(self, x: Data, /, axis: Axes = None, keepdims: bool = False, *, dim: Axes = None,
                     keepdim: bool = False, dtype: DType = None) -> Tensor: ...

    class _Total(Protocol):
        @overload
        def __call__(self, x: Data, /, axis: Axes = None, keepdims: bool = False, *, dim: Axes = None,
                     keepdim: bool = False, dtype: DType = None) -> Tensor: ...
        @overload
        def __call__(self, x: Iterable[Number], /) -> Value: ...

    class _Deviation(Protocol):
        def __call__(self, x: Data, /, axis: Axes = None, ddof: int | None = None, keepdims: bool = False, *,
                     dim: Axes = None, keepdim: bool = False, correction: int | None = None,
                     unbiased: bool | None = None) -> Tensor: ...

    class _Position(Protocol):
        def __call__(self, x: Data, /, axis: Axis = None, keepdims: bool = False, *, dim: Axis = None,
                     keepdim: bool = False) -> Tensor: ...

    class _Extreme(Protocol):
        def __call__(self, x: Data, /, axis: Axis = None, keepdims: bool = False, *, dim: Axis = None,
                     keepdim: bool = False, other: Data | None = None) -> Any: ...

    class _Softmax(Protocol):
        def __call__(self, x: Data, /, axis: int = -1, *, dim: Axis = None, dtype: DType = None) -> Tensor: ...

    class _Triangle(Protocol):
        def __call__(self, x: Data, /, k: int = 0, *, diagonal: int | None = None) -> Tensor: ...

    class _Product(Protocol):
        def __call__(self, x: Data, /, other: Data) -> Tensor: ...

    class _Shape(Protocol):
        def __call__(self, x: Data, /, *shape: Lengths) -> Tensor: ...

    class _Alpha(Protocol):
        @overload
        def __call__(self, x: Value, /, alpha: Number = 1.0) -> Value: ...
        @overload
        def __call__(self, x: Data, /, alpha: Data = 1.0) -> Tensor: ...

    class _Logit(Protocol):
        @overload
        def __call__(self, x: Value, /) -> Value: ...
        @overload
        def __call__(self, x: Data, /, eps: float | None = None) -> Tensor: ...

    class _Shrink(Protocol):
        @overload
        def __call__(self, x: Value, /, lambd: Number = 0.5) -> Value: ...
        @overload
        def __call__(self, x: Data, /, lambd: Data = 0.5) -> Tensor: ...

    class _LeakyReLU(Protocol):
        @overload
        def __call__(self, x: Value, /, slope: Number = 0.01) -> Value: ...
        @overload
        def __call__(self, x: Data, /, slope: Data = 0.01) -> Tensor: ...

    class _PReLU(Protocol):
        @overload
        def __call__(self, x: Value, /, weight: Number) -> Value: ...
        @overload
        def __call__(self, x: Data, /, weight: Data) -> Tensor: ...

    class _GELU(Protocol):
        @overload
        def __call__(self, x: Value, /, approximate: Literal["none", "tanh"] = "none") -> Value: ...
        @overload
        def __call__(self, x: Data, /, approximate: Literal["none", "tanh"] = "none") -> Tensor: ...

    class _HardTanh(Protocol):
        @overload
        def __call__(self, x: Value, /, lo: Number = -1.0, hi: Number = 1.0) -> Value: ...
        @overload
        def __call__(self, x: Data, /, lo: Data = -1.0, hi: Data = 1.0) -> Tensor: ...

    class _Threshold(Protocol):
        @overload
        def __call__(self, x: Value, /, threshold: Number, value: Number) -> Value: ...
        @overload
        def __call__(self, x: Data, /, threshold: Data, value: Data) -> Tensor: ...

    class _Pow(Protocol):
        @overload
        def __call__(self, x: Value, /, exponent: Number) -> Value: ...
        @overload
        def __call__(self, x: float, /, exponent: Value) -> Value: ...
        @overload
        def __call__(self, x: Data, /, exponent: Data) -> Tensor: ...

    class _Lerp(Protocol):
        @overload
        def __call__(self, x: Value, /, end: Number, weight: Number) -> Value: ...
        @overload
        def __call__(self, x: Data, /, end: Data, weight: Data) -> Tensor: ...

    class _Where(Protocol):
        @overload
        def __call__(self, condition: Value, /, a: Number, b: Number) -> Value: ...
        @overload
        def __call__(self, condition: Data, /, a: Data, b: Data) -> Tensor: ...

    class _Clip(Protocol):
        @overload
        def __call__(self, x: Value, /, lo: Number | None = None, hi: Number | None = None) -> Value: ...
        @overload
        def __call__(self, x: Data, /, lo: Data | None = None, hi: Data | None = None) -> Tensor: ...

    class _MulNoNan(Protocol):
        @overload
        def __call__(self, x: Value, /, d: Number) -> Value: ...
        @overload
        def __call__(self, x: Data, /, d: Data) -> Tensor: ...

    class _Cumsum(Protocol):
        def __call__(self, x: Data, /, axis: Axis = None, *, dim: Axis = None, dtype: DType = None) -> Tensor: ...

    class _Norm(Protocol):
        def __call__(self, x: Data, /, ord: float = 2, axis: Axes = None, keepdims: bool = False, *,
                     dim: Axes = None, keepdim: bool = False, p: Any = None) -> Tensor: ...

    class _Transpose(Protocol):
        def __call__(self, x: Data, /, axis0: Axis = None, axis1: Axis = None, *, dim0: Axis = None,
                     dim1: Axis = None) -> Tensor: ...

    class _Permute(Protocol):
        def __call__(self, x: Data, /, *axes: Lengths) -> Tensor: ...

    class _Squeeze(Protocol):
        def __call__(self, x: Data, /, axis: Axes = None, *, dim: Axes = None) -> Tensor: ...

    class _Unsqueeze(Protocol):
        def __call__(self, x: Data, /, axis: Axis = None, *, dim: Axis = None) -> Tensor: ...

    class _Flatten(Protocol):
        def __call__(self, x: Data, /, start_axis: int = 0, end_axis: int = -1, *, start_dim: Axis = None,
                     end_dim: Axis = None) -> Tensor: ...

    class _Split(Protocol):
        def __call__(self, x: Data, /, sizes: int | Sequence[int] | None = None, axis: int = 0, *,
                     dim: Axis = None, split_size: int | None = None,
                     split_size_or_sections: int | Sequence[int] | None = None) -> tuple[Tensor, ...]: ...

    class _Gather(Protocol):
        def __call__(self, x: Data, /, axis: Axis = None, index: Data | None = None, *,
                     dim: Axis = None) -> Tensor: ...

    class _ScatterAdd(Protocol):
        def __call__(self, x: Data, /, axis: Axis = None, index: Data | None = None, source: Data | None = None, *,
                     dim: Axis = None) -> Tensor: ...


# arithmetic and rounding
clone: _Unary
neg: _Unary
abs: _Unary
sign: _Unary
square: _Unary
sqrt: _Unary
rsqrt: _Unary
reciprocal: _Unary
floor: _Unary
ceil: _Unary
round: _Unary
trunc: _Unary

# exponentials and logarithms
exp: _Unary
exp2: _Unary
expm1: _Unary
log: _Unary
log2: _Unary
log10: _Unary
log1p: _Unary

# trigonometric and hyperbolic
sin: _Unary
cos: _Unary
tan: _Unary
asin: _Unary
acos: _Unary
atan: _Unary
sinh: _Unary
cosh: _Unary
tanh: _Unary
asinh: _Unary
acosh: _Unary
atanh: _Unary
erf: _Unary
erfc: _Unary

# activations
sigmoid: _Unary
logsigmoid: _Unary
logit: _Logit
softplus: _Unary
relu: _Unary
relu6: _Unary
leaky_relu: _LeakyReLU
prelu: _PReLU
elu: _Alpha
selu: _Unary
celu: _Alpha
gelu: _GELU
gelu_tanh: _Unary
silu: _Unary
mish: _Unary
softsign: _Unary
hardtanh: _HardTanh
hardsigmoid: _Unary
hardswish: _Unary
hardshrink: _Shrink
softshrink: _Shrink
tanhshrink: _Unary
threshold: _Threshold

# two and three operands
add: _Binary
sub: _Binary
mul: _Binary
div: _Binary
pow: _Pow
maximum: _Binary
minimum: _Binary
fmod: _Binary
remainder: _Binary
atan2: _Binary
hypot: _Binary
logaddexp: _Binary
xlogy: _Binary
lerp: _Lerp
where: _Where
clip: _Clip

# comparisons
gt: _Binary
ge: _Binary
lt: _Binary
le: _Binary
eq: _Binary
ne: _Binary

# their other names
absolute: _Unary
negative: _Unary
arccos: _Unary
arccosh: _Unary
arcsin: _Unary
arcsinh: _Unary
arctan: _Unary
arctanh: _Unary
arctan2: _Binary
divide: _Binary
true_divide: _Binary
multiply: _Binary
subtract: _Binary
power: _Pow
fix: _Unary
expit: _Unary
greater: _Binary
greater_equal: _Binary
less: _Binary
less_equal: _Binary
not_equal: _Binary

# helpers
mul_no_nan: _MulNoNan
chain: _MulNoNan                # its former name
dsigmoid: _Unary
sech2: _Unary
gauss: _Unary
normpdf: _Unary
dsilu: _Unary
dgelu: _Unary
dgelu_tanh: _Unary
dmish: _Unary

# reductions
sum: _Total
mean: _Total
prod: _TypedReduction
var: _Deviation
std: _Deviation
max: _Extreme
min: _Extreme
amax: _Reduction
amin: _Reduction
argmax: _Position
argmin: _Position
logsumexp: _Reduction
softmax: _Softmax
log_softmax: _Softmax
cumsum: _Cumsum
norm: _Norm

# products and shapes
outer: _Product
matmul: _Product
reshape: _Shape
expand: _Shape
transpose: _Transpose
permute: _Permute
squeeze: _Squeeze
unsqueeze: _Unsqueeze
flatten: _Flatten
split: _Split
gather: _Gather
scatter_add: _ScatterAdd
triu: _Triangle
tril: _Triangle
