from collections.abc import Iterable, Sequence
from typing import Any, Literal, Protocol, overload

from microgradx._core.tensor import Axes, Axis, Data, Lengths, Tensor
from microgradx._core.value import Number, Value

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

class _Total(Protocol):
    @overload
    def __call__(self, x: Data, /, axis: Axes = None, keepdims: bool = False, *, dim: Axes = None,
                 keepdim: bool = False) -> Tensor: ...
    @overload
    def __call__(self, x: Iterable[Number], /) -> Value: ...

class _Deviation(Protocol):
    def __call__(self, x: Data, /, axis: Axes = None, ddof: int = 0, keepdims: bool = False, *, dim: Axes = None,
                 keepdim: bool = False) -> Tensor: ...

class _Position(Protocol):
    def __call__(self, x: Data, /, axis: Axis = None, keepdims: bool = False, *, dim: Axis = None,
                 keepdim: bool = False) -> Tensor: ...

class _Extreme(Protocol):
    def __call__(self, x: Data, /, axis: Axis = None, keepdims: bool = False, *, dim: Axis = None,
                 keepdim: bool = False) -> Any: ...

class _Softmax(Protocol):
    def __call__(self, x: Data, /, axis: int = -1, *, dim: Axis = None) -> Tensor: ...

class _Triangle(Protocol):
    def __call__(self, x: Data, /, k: int = 0) -> Tensor: ...

class _Product(Protocol):
    def __call__(self, x: Data, /, other: Data) -> Tensor: ...

class _Shape(Protocol):
    def __call__(self, x: Data, /, *shape: Lengths) -> Tensor: ...

class _Alpha(Protocol):
    @overload
    def __call__(self, x: Value, /, alpha: Number = 1.0) -> Value: ...
    @overload
    def __call__(self, x: Data, /, alpha: Data = 1.0) -> Tensor: ...

class _Shrink(Protocol):
    @overload
    def __call__(self, x: Value, /, lambd: Number = 0.5) -> Value: ...
    @overload
    def __call__(self, x: Data, /, lambd: Data = 0.5) -> Tensor: ...

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
logit: _Unary
softplus: _Unary
relu: _Unary
relu6: _Unary
@overload
def leaky_relu(x: Value, /, slope: Number = 0.01) -> Value: ...
@overload
def leaky_relu(x: Data, /, slope: Data = 0.01) -> Tensor: ...
@overload
def prelu(x: Value, /, weight: Number) -> Value: ...
@overload
def prelu(x: Data, /, weight: Data) -> Tensor: ...
elu: _Alpha
selu: _Unary
celu: _Alpha
@overload
def gelu(x: Value, /, approximate: Literal["none", "tanh"] = "none") -> Value: ...
@overload
def gelu(x: Data, /, approximate: Literal["none", "tanh"] = "none") -> Tensor: ...
gelu_tanh: _Unary
silu: _Unary
mish: _Unary
softsign: _Unary
@overload
def hardtanh(x: Value, /, lo: Number = -1.0, hi: Number = 1.0) -> Value: ...
@overload
def hardtanh(x: Data, /, lo: Data = -1.0, hi: Data = 1.0) -> Tensor: ...
hardsigmoid: _Unary
hardswish: _Unary
hardshrink: _Shrink
softshrink: _Shrink
tanhshrink: _Unary
@overload
def threshold(x: Value, /, threshold: Number, value: Number) -> Value: ...
@overload
def threshold(x: Data, /, threshold: Data, value: Data) -> Tensor: ...

# two and three operands
add: _Binary
sub: _Binary
mul: _Binary
div: _Binary
@overload
def pow(x: Value, /, exponent: Number) -> Value: ...
@overload
def pow(x: float, /, exponent: Value) -> Value: ...
@overload
def pow(x: Data, /, exponent: Data) -> Tensor: ...
maximum: _Binary
minimum: _Binary
fmod: _Binary
remainder: _Binary
atan2: _Binary
hypot: _Binary
logaddexp: _Binary
xlogy: _Binary
@overload
def lerp(x: Value, /, end: Number, weight: Number) -> Value: ...
@overload
def lerp(x: Data, /, end: Data, weight: Data) -> Tensor: ...
@overload
def where(condition: Value, /, a: Number, b: Number) -> Value: ...
@overload
def where(condition: Data, /, a: Data, b: Data) -> Tensor: ...
@overload
def clip(x: Value, /, lo: Number | None = None, hi: Number | None = None) -> Value: ...
@overload
def clip(x: Data, /, lo: Data | None = None, hi: Data | None = None) -> Tensor: ...

# comparisons
gt: _Binary
ge: _Binary
lt: _Binary
le: _Binary
eq: _Binary
ne: _Binary

# helpers
@overload
def chain(x: Value, /, d: Number) -> Value: ...
@overload
def chain(x: Data, /, d: Data) -> Tensor: ...
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
prod: _Reduction
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
def cumsum(x: Data, /, axis: int, *, dim: Axis = None) -> Tensor: ...
def norm(x: Data, /, ord: float = 2, axis: Axes = None, keepdims: bool = False, *, dim: Axes = None,
         keepdim: bool = False) -> Tensor: ...

# products and shapes
outer: _Product
matmul: _Product
reshape: _Shape
expand: _Shape
def transpose(x: Data, /, axis0: Axis = None, axis1: Axis = None) -> Tensor: ...
def permute(x: Data, /, *axes: Lengths) -> Tensor: ...
def squeeze(x: Data, /, axis: Axes = None, *, dim: Axes = None) -> Tensor: ...
def unsqueeze(x: Data, /, axis: Axis = None, *, dim: Axis = None) -> Tensor: ...
def flatten(x: Data, /, start_axis: int = 0, end_axis: int = -1, *, start_dim: Axis = None,
            end_dim: Axis = None) -> Tensor: ...
def split(x: Data, /, sizes: int | Sequence[int], axis: int = 0, *, dim: Axis = None) -> tuple[Tensor, ...]: ...
def gather(x: Data, /, axis: int, index: Data) -> Tensor: ...
def scatter_add(x: Data, /, axis: int, index: Data, source: Data) -> Tensor: ...
triu: _Triangle
tril: _Triangle
