"""Elementwise functions over the rows of the table: logic, bits, signs, parts of a number, sums of products.

Each is composed of operations, so gradients of every order follow. Where a function is flat, rounds or tests, it has no
gradient. Operands broadcast; integers are computed with as float32 where the result is no integer.
"""
from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from microgradx._core.launch import compute
from microgradx._core.structured import HostOperation
from microgradx._core.tensor import Tensor
from microgradx.arrays.common import as_operand, broadcast, floats, no_floats, of_tensor, tensor
from microgradx.errors import DTypeError, OptionError
from microgradx.names import make_public
from microgradx.typing import Data, Function

__all__ = ["addcdiv", "addcmul", "bitwise_and", "bitwise_left_shift", "bitwise_not", "bitwise_or",
           "bitwise_right_shift", "bitwise_xor", "clamp_max", "clamp_min", "copysign", "deg2rad", "equal",
           "float_power", "floor_divide", "fmax", "fmin", "frac", "frexp", "gcd", "heaviside", "isneginf",
           "isposinf", "isreal", "lcm", "ldexp", "logaddexp2", "logical_and", "logical_not", "logical_or",
           "logical_xor", "nan_to_num", "nextafter", "positive", "rad2deg", "rsub", "sgn", "signbit"]

METHODS = [name for name in __all__ if name != "rsub"]


def binary(op: str, doc: str, function: Callable[[Tensor, Tensor], Tensor]) -> Callable[[Data, Data], Tensor]:
    """``function`` of two tensors that broadcast, of which either may be a number."""
    def call(x: Tensor, other: Data) -> Tensor:
        y = as_operand(x, other)
        broadcast(op, x, y)
        return function(x, y)

    call.__name__ = call.__qualname__ = op
    call.__doc__ = doc
    return of_tensor(call)


# ----- logic and bits --------------------------------------------------------------------------------------------

logical_and = binary("logical_and", "Where both are not 0; a mask.", lambda x, y: (x != 0) & (y != 0))
logical_or = binary("logical_or", "Where at least one is not 0; a mask.", lambda x, y: (x != 0) | (y != 0))
logical_xor = binary("logical_xor", "Where exactly one is not 0; a mask.", lambda x, y: (x != 0) ^ (y != 0))


@of_tensor
def logical_not(x: Tensor) -> Tensor:
    """Where x is 0; a mask.

    >>> import microgradx as mgx
    >>> mgx.logical_not(mgx.Tensor([0.0, 2.0])).tolist()
    [True, False]
    """
    return x == 0


def shift(name: str, function: Function) -> Function:
    """A shift of integers by ``function``; by 64 bits or more as NumPy does it."""
    def shifted(x: Tensor, y: Tensor) -> Tensor:
        no_floats(name, x, y)
        return compute(function, x.astype(np.int64), y.astype(np.int64))
    return shifted


bitwise_and = binary("bitwise_and", "x & other, of masks and integers.", lambda x, y: x & y)
bitwise_or = binary("bitwise_or", "x | other, of masks and integers.", lambda x, y: x | y)
bitwise_xor = binary("bitwise_xor", "x ^ other, of masks and integers.", lambda x, y: x ^ y)
bitwise_left_shift = binary("bitwise_left_shift", "x * 2^other, of integers.",
                            shift("bitwise_left_shift", np.left_shift))
bitwise_right_shift = binary("bitwise_right_shift", "The largest integer <= x / 2^other, of integers.",
                             shift("bitwise_right_shift", np.right_shift))


@of_tensor
def bitwise_not(x: Tensor) -> Tensor:
    """~x, of masks and integers.

    >>> import microgradx as mgx
    >>> mgx.bitwise_not(mgx.tensor([0, 5])).tolist()
    [-1, -6]
    """
    return ~x


def common_integers(name: str, function: Function) -> Function:
    """A function of two integers."""
    def found(x: Tensor, y: Tensor) -> Tensor:
        no_floats(name, x, y)
        return compute(function, x.astype(np.int64), y.astype(np.int64))
    return found


gcd = binary("gcd", "The greatest common divisor, of integers; not negative.", common_integers("gcd", np.gcd))
lcm = binary("lcm", "The least common multiple, of integers; not negative.", common_integers("lcm", np.lcm))


# ----- signs and parts of a number -------------------------------------------------------------------------------

@of_tensor
def sgn(x: Tensor) -> Tensor:
    """-1, 0 or 1: what ``sign`` is for real numbers."""
    return x.sign()


@of_tensor
def signbit(x: Tensor) -> Tensor:
    """Where the sign of x is a minus, that of -0.0 too; a mask."""
    return x < 0 if x.dtype.kind != "f" else compute(np.signbit, x)


@of_tensor
def positive(x: Tensor) -> Tensor:
    """x itself. Raises ``DTypeError`` for a mask."""
    if x.dtype == np.bool_:
        raise DTypeError("positive: of numbers, not of a mask")
    return x


@of_tensor
def isposinf(x: Tensor) -> Tensor:
    """Where x is inf."""
    return x.detach() == np.inf


@of_tensor
def isneginf(x: Tensor) -> Tensor:
    """Where x is -inf."""
    return x.detach() == -np.inf


@of_tensor
def isreal(x: Tensor) -> Tensor:
    """True everywhere: there are no complex numbers."""
    return Tensor(np.ones(x.shape, np.bool_))


def _copysign(x: Tensor, y: Tensor) -> Tensor:
    return floats(x).abs() * signbit(y).where(-1.0, 1.0)


copysign = binary("copysign", "|x| with the sign of other, that of -0.0 too. Gradient: the sign of x times that of y; "
                  "0 at 0.", _copysign)


@of_tensor
def frac(x: Tensor) -> Tensor:
    """x - trunc(x), the fraction with the sign of x. Gradient: 1.

    >>> import microgradx as mgx
    >>> mgx.frac(mgx.Tensor([1.25, -1.25]))
    Tensor([ 0.25, -0.25])
    """
    if x.dtype.kind != "f":
        raise DTypeError(f"frac: of floats, not of {x.dtype}")
    return x - x.trunc()


@of_tensor
def frexp(x: Tensor) -> tuple[Tensor, Tensor]:
    """(mantissa, exponent) with x = mantissa * 2^exponent and 1/2 <= |mantissa| < 1; 0 and 0 for 0."""
    if x.dtype.kind != "f":
        raise DTypeError(f"frexp: of floats, not of {x.dtype}")
    exponent = compute(_exponent, x)
    return x * compute(_power_of_two, x), exponent


def _exponent(x: Any) -> Any:
    return np.frexp(x)[1].astype(np.int64)


def _power_of_two(x: Any) -> Any:
    return np.ldexp(np.ones((), x.dtype), -np.frexp(x)[1])


@of_tensor
def ldexp(x: Tensor, other: Data) -> Tensor:
    """x * 2^other."""
    return floats(x) * floats(as_operand(x, other)).exp2()


@of_tensor
def nan_to_num(x: Tensor, nan: float | None = None, posinf: float | None = None, neginf: float | None = None) -> Tensor:
    """x with ``nan`` (0) for nan, ``posinf`` and ``neginf`` (the largest and smallest number) for the infinities.

    Gradient: 1, and 0 where x is replaced.

    >>> import microgradx as mgx
    >>> mgx.nan_to_num(mgx.Tensor([1.0, float("nan")]), nan=5.0)
    Tensor([1., 5.])
    """
    if x.dtype.kind != "f":
        return x.clone()
    most = float(np.finfo(x.dtype).max)
    y = (x != x).where(0.0 if nan is None else float(nan), x)
    y = (x == np.inf).where(most if posinf is None else float(posinf), y)
    return (x == -np.inf).where(-most if neginf is None else float(neginf), y)


# ----- two operands ----------------------------------------------------------------------------------------------

fmax = binary("fmax", "The larger of x and other; of a number and nan the number. Gradient: 1 for the one taken, x of "
              "equals.", lambda x, y: ((x >= y) | (y != y)).where(x, y))
fmin = binary("fmin", "The smaller of x and other; of a number and nan the number. Gradient: 1 for the one taken, x of "
              "equals.", lambda x, y: ((x <= y) | (y != y)).where(x, y))
_nextafter: Callable[..., Tensor] = HostOperation(
    "nextafter", lambda x, y: [(x.shape, np.result_type(x.dtype, y.dtype))],
    lambda out, x, y: np.nextafter(x, y, out=out),
    [[lambda g, z, x, y: (x != y).where(g, 0.0), lambda g, z, x, y: g * 0.0]])
nextafter = binary("nextafter", "The next number after x towards other, in their dtype. Gradient: 1 unless both are "
                   "equal; of other 0.", lambda x, y: _nextafter(*broadcast("nextafter", floats(x), floats(y))))


@of_tensor
def heaviside(x: Tensor, values: Data) -> Tensor:
    """0 where x < 0, 1 where x > 0, ``values`` where x is 0. Gradient: of ``values``, 1 where x is 0; of x none."""
    x, y = broadcast("heaviside", x, as_operand(x, values))
    dtype = np.result_type(x.dtype, y.dtype)
    return (x == 0).where(y.astype(dtype), compute(np.heaviside, x.detach(), y.detach()).astype(dtype))


def _logaddexp2(x: Tensor, y: Tensor) -> Tensor:
    return (floats(x) * math.log(2)).logaddexp(floats(y) * math.log(2)) / math.log(2)


logaddexp2 = binary("logaddexp2", "The logarithm to base 2 of 2^x + 2^other, without overflow. Gradient: the shares of "
                    "both.", _logaddexp2)


@of_tensor
def floor_divide(x: Tensor, other: Data) -> Tensor:
    """The largest integer <= x / other: ``x // other``. Gradient: 0."""
    return x // (other if isinstance(other, (int, float, Tensor)) else tensor(other))


@of_tensor
def float_power(x: Tensor, exponent: Data) -> Tensor:
    """x^exponent in float64."""
    wide = exponent.astype(np.float64) if isinstance(exponent, Tensor) else np.asarray(exponent, np.float64)
    return x.astype(np.float64).pow(wide if isinstance(wide, Tensor) else Tensor(wide))


@of_tensor
def clamp_min(x: Tensor, min: Data) -> Tensor:
    """x where it is at least ``min``, else that: ``x.clip(min, None)``."""
    return x.clip(min, None)


@of_tensor
def clamp_max(x: Tensor, max: Data) -> Tensor:
    """x where it is at most ``max``, else that: ``x.clip(None, max)``."""
    return x.clip(None, max)


@of_tensor
def rsub(x: Tensor, other: Data, *, alpha: float = 1) -> Tensor:
    """other - alpha x."""
    return as_operand(x, other) - (x if alpha == 1 else x * alpha)


@of_tensor
def addcmul(x: Tensor, tensor1: Data, tensor2: Data, *, value: float = 1) -> Tensor:
    """x + value tensor1 tensor2."""
    product = tensor(tensor1) * tensor(tensor2)
    return x + (product if value == 1 else product * value)


@of_tensor
def addcdiv(x: Tensor, tensor1: Data, tensor2: Data, *, value: float = 1) -> Tensor:
    """x + value tensor1 / tensor2."""
    quotient = tensor(tensor1) / tensor(tensor2)
    return x + (quotient if value == 1 else quotient * value)


# ----- angles ----------------------------------------------------------------------------------------------------

@of_tensor
def deg2rad(x: Tensor) -> Tensor:
    """x degrees in radians."""
    return floats(x) * (math.pi / 180)


@of_tensor
def rad2deg(x: Tensor) -> Tensor:
    """x radians in degrees."""
    return floats(x) * (180 / math.pi)


# ----- the whole -------------------------------------------------------------------------------------------------

@of_tensor
def equal(x: Tensor, other: Data) -> bool:
    """Whether both have one shape and the same elements: True or False."""
    if isinstance(other, (int, float)):
        raise OptionError(f"equal: of two tensors, not of a tensor and {other!r}")
    y = tensor(other)
    return x.shape == y.shape and bool((x == y).sum() == x.size)


make_public(__name__)
