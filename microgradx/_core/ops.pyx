"""Every elementwise operation as a method, once, for ``Value`` and for ``Tensor``.

The methods are written from the table, ``csrc/ops.def``, where each formula, its derivative and its docstring stand; a
method names its row and hands its operands to ``apply``, or to the function below that does what is not the row's.
"""
cimport cython
from cpython.buffer cimport PyObject_CheckBuffer
from cpython.long cimport PyLong_Check
from cpython.number cimport PyIndex_Check

from microgradx._core.kernels cimport *

from microgradx.errors import DTypeError, OptionError

cdef double INF = float("inf")
cdef object FLOAT = float       # what calls itself one is one, too


cdef object apply(int op, object a, object b, object c):
    """The row ``op`` over Values or over Tensors, whichever ``a`` is."""
    return on_values(op, a, b, c) if type(a) is value_type else on_tensors(op, a, b, c)


cdef object combine(int op, object a, object b):
    """A binary operator with a number, a Value or a Tensor on either side."""
    if type(a) is value_type or type(b) is value_type and not isinstance(a, Differentiable):
        return on_values(op, a, b, None)
    return on_tensors(op, a, b, None)


cdef bint integral(object x):
    """Whether ``x`` is a Tensor of integers or a mask. Only a Tensor has a buffer."""
    return PyObject_CheckBuffer(x) and x.dtype.kind != "f"


cdef object power(object a, object b):
    """a**b. The square of a Tensor takes the row square: the same numbers, and nothing to look for in the exponents."""
    if PyObject_CheckBuffer(a) and (PyLong_Check(b) or isinstance(b, FLOAT) and not integral(a)) and b == 2:
        return on_tensors(MGX_square, a, None, None)
    return combine(MGX_pow, a, b)


cdef inline object apply_gelu(object x, object approximate):
    """The row that ``approximate`` names."""
    if approximate == "none":
        return apply(MGX_gelu, x, None, None)
    if approximate == "tanh":
        return apply(MGX_gelu_tanh, x, None, None)
    raise OptionError(f"gelu: approximate={approximate!r} is neither 'none' nor 'tanh'")


cdef inline object apply_clip(object x, object lo, object hi):
    """A side that is open is an infinity, which integers do not have."""
    if lo is None and hi is None:
        raise OptionError("clip: neither lo nor hi is given")
    if lo is None:
        return x.minimum(hi) if integral(x) else apply(MGX_clip, x, -INF, hi)
    if hi is None:
        return x.maximum(lo) if integral(x) else apply(MGX_clip, x, lo, INF)
    return apply(MGX_clip, x, lo, hi)


cdef object round_integers(object x, object ndigits):
    """Integers to the nearest multiple of 10^-ndigits, the even one of two."""
    if ndigits > 0:
        return x.clone()
    step = 10**-ndigits
    over = x % step
    below = x - over
    return below + step * ((over * 2 > step) | ((over * 2 == step) & (below % (2 * step) != 0)))


@cython.c_api_binop_methods(True)
cdef class Differentiable:
    """What ``Value`` and ``Tensor`` have in common: operators and elementwise operations.

    What holds for every method, with x for the object itself, y for the result:

    - Elementwise: the shape of x is kept; further operands broadcast with it, as in NumPy. ``ShapeError`` where
      they cannot.
    - An operand may be a number, a Value with Values, a Tensor or an array with Tensors. Parameters such as
      ``alpha`` are operands too: they may vary from element to element and receive a gradient. ``DTypeError``
      for anything else.
    - A number does not change the dtype of a Tensor; float32 with float64 makes float64; integers become
      float32, except in arithmetic, rounding, selection and comparisons, where they stay integers. A Value is
      float64.
    - nan in, nan out, unless it is said otherwise. Out of the domain is nan, not an error.
    - "Gradient" is dy/dx, then that of the operands in their order. A gradient of 0 arriving at y goes on as 0,
      whatever the derivative is (see ``mul_no_nan``); what was broadcast receives the sum.

    Every method is a function too: ``mgx.exp(x)``, ``mgx.where(condition, a, b)``.

    >>> import microgradx as mgx
    >>> x = mgx.Tensor([-1.0, 0.0, 2.0], requires_grad=True)
    >>> x.relu().sum().backward()
    >>> x.grad
    Tensor([0., 0., 1.])
    """

    __array_priority__ = 1000

    # ----- operators -------------------------------------------------------------------------------------------

    def __add__(a, b):
        return combine(MGX_add, a, b)

    def __sub__(a, b):
        return combine(MGX_sub, a, b)

    def __mul__(a, b):
        return combine(MGX_mul, a, b)

    def __truediv__(a, b):
        return combine(MGX_div, a, b)

    def __mod__(a, b):
        return combine(MGX_remainder, a, b)

    def __pow__(a, b, modulus):
        return power(a, b) if modulus is None else NotImplemented

    def __neg__(self):
        return apply(MGX_neg, self, None, None)

    def __pos__(self):
        return self

    def __abs__(self):
        return apply(MGX_abs, self, None, None)

    def __round__(self, ndigits=None):
        if not ndigits:
            return self.round()
        if not PyIndex_Check(ndigits):
            raise DTypeError(f"round: ndigits is an integer, not {ndigits!r}")
        if integral(self):
            return round_integers(self, ndigits)
        if abs(ndigits) > 308:                  # all digits, or none
            return self.clone() if ndigits > 0 else self * 0.0
        scaled = self * 10.0**ndigits           # where that is inf, there are no digits behind
        return apply(MGX_where, apply(MGX_lt, scaled.abs(), INF, None), scaled.round() / 10.0**ndigits, self)

    # Written by tools/generate.py from csrc/ops.def: edit that, then run `python tools/generate.py`.
    # ----- arithmetic and rounding -------------------------------------------------------------------------------

    def clone(self):
        """y = x, as a copy of its own. Gradient: 1."""
        return apply(MGX_clone, self, None, None)

    def neg(self):
        """y = -x. Gradient: -1."""
        return apply(MGX_neg, self, None, None)

    def abs(self):
        """y = |x|. Gradient: the sign of x; 0 at 0."""
        return apply(MGX_abs, self, None, None)

    def sign(self):
        """y = -1, 0 or 1. Gradient: 0."""
        return apply(MGX_sign, self, None, None)

    def square(self):
        """y = x*x. Gradient: 2*x."""
        return apply(MGX_square, self, None, None)

    def sqrt(self):
        """y = sqrt(x). Gradient: 1/(2*y); inf at 0."""
        return apply(MGX_sqrt, self, None, None)

    def rsqrt(self):
        """y = 1/sqrt(x). Gradient: -y/(2*x); -inf at 0, where y is inf."""
        return apply(MGX_rsqrt, self, None, None)

    def reciprocal(self):
        """y = 1/x. Gradient: -y*y; -inf at 0, where y is inf with the sign of the zero."""
        return apply(MGX_reciprocal, self, None, None)

    def floor(self):
        """y = the largest integer <= x. Gradient: 0."""
        return apply(MGX_floor, self, None, None)

    def ceil(self):
        """y = the smallest integer >= x. Gradient: 0."""
        return apply(MGX_ceil, self, None, None)

    def round(self):
        """y = the nearest integer, the even one of two. Gradient: 0. ``round(x, n)`` rounds to n decimals.

        >>> from microgradx import Value
        >>> Value(2.5).round().data, Value(3.5).round().data
        (2.0, 4.0)
        """
        return apply(MGX_round, self, None, None)

    def trunc(self):
        """y = x without its fraction. Gradient: 0."""
        return apply(MGX_trunc, self, None, None)

    # ----- exponentials and logarithms ---------------------------------------------------------------------------

    def exp(self):
        """y = e^x. Gradient: y."""
        return apply(MGX_exp, self, None, None)

    def exp2(self):
        """y = 2^x. Gradient: ln(2)*y."""
        return apply(MGX_exp2, self, None, None)

    def expm1(self):
        """y = e^x - 1, exact near 0. Gradient: e^x, not y + 1, which is 0 below -38.

        >>> from microgradx import Value
        >>> Value(1e-20).expm1().data
        1e-20
        """
        return apply(MGX_expm1, self, None, None)

    def log(self):
        """y = ln(x); -inf at 0. Gradient: 1/x; inf at 0."""
        return apply(MGX_log, self, None, None)

    def log2(self):
        """y = the logarithm to base 2. Gradient: 1/(x*ln(2)); inf at 0."""
        return apply(MGX_log2, self, None, None)

    def log10(self):
        """y = the logarithm to base 10. Gradient: 1/(x*ln(10)); inf at 0."""
        return apply(MGX_log10, self, None, None)

    def log1p(self):
        """y = ln(1 + x), exact near 0; -inf at -1. Gradient: 1/(1 + x); inf at -1."""
        return apply(MGX_log1p, self, None, None)

    # ----- trigonometric and hyperbolic --------------------------------------------------------------------------

    def sin(self):
        """y = sin(x), x in radians; nan at the infinities. Gradient: cos(x)."""
        return apply(MGX_sin, self, None, None)

    def cos(self):
        """y = cos(x), x in radians; nan at the infinities. Gradient: -sin(x)."""
        return apply(MGX_cos, self, None, None)

    def tan(self):
        """y = tan(x), x in radians; nan at the infinities. Gradient: 1/cos(x)^2."""
        return apply(MGX_tan, self, None, None)

    def asin(self):
        """y = the angle in [-pi/2, pi/2] with sin(y) = x. Gradient: 1/sqrt(1 - x^2); inf at -1 and 1."""
        return apply(MGX_asin, self, None, None)

    def acos(self):
        """y = the angle in [0, pi] with cos(y) = x. Gradient: -1/sqrt(1 - x^2); -inf at -1 and 1."""
        return apply(MGX_acos, self, None, None)

    def atan(self):
        """y = the angle in [-pi/2, pi/2] with tan(y) = x. Gradient: 1/(1 + x^2)."""
        return apply(MGX_atan, self, None, None)

    def sinh(self):
        """y = (e^x - e^-x)/2. Gradient: cosh(x)."""
        return apply(MGX_sinh, self, None, None)

    def cosh(self):
        """y = (e^x + e^-x)/2. Gradient: sinh(x)."""
        return apply(MGX_cosh, self, None, None)

    def tanh(self):
        """y = (e^x - e^-x)/(e^x + e^-x), between -1 and 1. Gradient: ``sech2``, which keeps its digits in the
        tails, where 1 - y*y has lost them.

        >>> from microgradx import Value
        >>> x = Value(20.0)
        >>> y = x.tanh()
        >>> y.backward()
        >>> 1 - y.data**2, f"{x.grad:.6g}"
        (0.0, '1.69934e-17')
        """
        return apply(MGX_tanh, self, None, None)

    def asinh(self):
        """y = the number with sinh(y) = x. Gradient: 1/sqrt(1 + x^2)."""
        return apply(MGX_asinh, self, None, None)

    def acosh(self):
        """y = the number >= 0 with cosh(y) = x. Gradient: 1/sqrt(x^2 - 1); inf at 1."""
        return apply(MGX_acosh, self, None, None)

    def atanh(self):
        """y = the number with tanh(y) = x; -inf at -1, inf at 1. Gradient: 1/(1 - x^2); inf at both."""
        return apply(MGX_atanh, self, None, None)

    def erf(self):
        """y = 2/sqrt(pi) times the integral of e^(-t^2) from 0 to x. Gradient: 2/sqrt(pi)*e^(-x^2)."""
        return apply(MGX_erf, self, None, None)

    def erfc(self):
        """y = 1 - erf(x), without cancellation for large x. Gradient: -2/sqrt(pi)*e^(-x^2)."""
        return apply(MGX_erfc, self, None, None)

    # ----- activations -------------------------------------------------------------------------------------------

    def sigmoid(self):
        """y = 1/(1 + e^-x), between 0 and 1. Gradient: ``dsigmoid``, y(x)*y(-x); at most 1/4, never 0 by
        rounding where y*(1 - y) is.

        >>> from microgradx import Value
        >>> x = Value(40.0)
        >>> x.sigmoid().backward()
        >>> f"{x.grad:.6g}"
        '4.24835e-18'
        """
        return apply(MGX_sigmoid, self, None, None)

    def logsigmoid(self):
        """y = ln(sigmoid(x)), without underflow. Gradient: sigmoid(-x)."""
        return apply(MGX_logsigmoid, self, None, None)

    def logit(self):
        """y = ln(x/(1 - x)), the inverse of sigmoid; -inf at 0, inf at 1. Gradient: 1/(x*(1 - x)); inf at both."""
        return apply(MGX_logit, self, None, None)

    def softplus(self):
        """y = ln(1 + e^x), without overflow. Gradient: sigmoid(x)."""
        return apply(MGX_softplus, self, None, None)

    def relu(self):
        """y = max(x, 0). Gradient: 1 where x > 0, else 0; so 0 at 0."""
        return apply(MGX_relu, self, None, None)

    def relu6(self):
        """y = min(max(x, 0), 6). Gradient: 1 inside; 0 outside and at both ends."""
        return apply(MGX_relu6, self, None, None)

    def leaky_relu(self, slope=0.01):
        """y = x where x > 0, else slope*x. Gradient: 1, else slope; so slope at 0. Of slope: 0, else x.

        >>> from microgradx import Value
        >>> Value(-3.0).leaky_relu(0.1).data
        -0.30000000000000004
        """
        return apply(MGX_leaky_relu, self, slope, None)

    def prelu(self, weight):
        """y = x where x > 0, else weight*x, weight being learned; it broadcasts like any operand.
        Gradient: 1, else weight; so weight at 0. Of weight: 0, else x."""
        return apply(MGX_prelu, self, weight, None)

    def elu(self, alpha=1.0):
        """y = x where x > 0, else alpha*(e^x - 1). Gradient: 1, else alpha*e^x; so alpha at 0.
        Of alpha: 0, else e^x - 1."""
        return apply(MGX_elu, self, alpha, None)

    def selu(self):
        """y = s*x where x > 0, else s*a*(e^x - 1), with s = 1.0507... and a = 1.6732..., for which mean 0 and
        variance 1 are a fixed point (Klambauer et al. 2017). Gradient: s, else s*a*e^x; so s*a at 0."""
        return apply(MGX_selu, self, None, None)

    def celu(self, alpha=1.0):
        """y = x where x > 0, else alpha*(e^(x/alpha) - 1). Gradient: 1, else e^(x/alpha); so 1 at 0.
        Of alpha: 0, else (1 - x/alpha)*e^(x/alpha) - 1."""
        return apply(MGX_celu, self, alpha, None)

    def gelu(self, approximate="none"):
        """y = x*Phi(x), with the normal distribution Phi. Gradient: ``dgelu``. approximate="tanh" is ``gelu_tanh``.

        >>> from microgradx import Value
        >>> f"{Value(1.0).gelu().data:.6f} {Value(1.0).gelu('tanh').data:.6f}"
        '0.841345 0.841192'
        """
        return apply_gelu(self, approximate)

    def gelu_tanh(self):
        """y = x*(1 + tanh(u))/2, u = sqrt(2/pi)*(x + 0.044715*x^3): gelu to 5e-4. Gradient: ``dgelu_tanh``."""
        return apply(MGX_gelu_tanh, self, None, None)

    def silu(self):
        """y = x*sigmoid(x), also called swish. Gradient: ``dsilu``."""
        return apply(MGX_silu, self, None, None)

    def mish(self):
        """y = x*tanh(softplus(x)). Gradient: ``dmish``."""
        return apply(MGX_mish, self, None, None)

    def softsign(self):
        """y = x/(1 + |x|), between -1 and 1. Gradient: 1/(1 + |x|)^2."""
        return apply(MGX_softsign, self, None, None)

    def hardtanh(self, lo=-1.0, hi=1.0):
        """y = x, held between lo and hi. Gradient: 1 inside; 0 outside and at both ends, where ``clip`` has 1.
        Of lo, hi: 1 where it is the result, ends included."""
        return apply(MGX_hardtanh, self, lo, hi)

    def hardsigmoid(self):
        """y = x/6 + 1/2, held between 0 and 1. Gradient: 1/6 for |x| < 3, else 0."""
        return apply(MGX_hardsigmoid, self, None, None)

    def hardswish(self):
        """y = x*hardsigmoid(x). Gradient: 0 up to -3, 1 from 3 on, x/3 + 1/2 between."""
        return apply(MGX_hardswish, self, None, None)

    def hardshrink(self, lambd=0.5):
        """y = x where |x| > lambd, else 0. Gradient: 1, else 0; none for lambd."""
        return apply(MGX_hardshrink, self, lambd, None)

    def softshrink(self, lambd=0.5):
        """y = x - sign(x)*lambd where |x| > lambd, else 0. Gradient: 1, else 0. Of lambd: -sign(x), else 0."""
        return apply(MGX_softshrink, self, lambd, None)

    def tanhshrink(self):
        """y = x - tanh(x). Gradient: tanh(x)^2."""
        return apply(MGX_tanhshrink, self, None, None)

    def threshold(self, threshold, value):
        """y = x where x > threshold, else value. Gradient: 1, else 0; none for threshold. Of value: 0, else 1.

        >>> from microgradx import Value
        >>> Value(0.3).threshold(0.5, -1.0).data
        -1.0
        """
        return apply(MGX_threshold, self, threshold, value)

    # ----- two and three operands --------------------------------------------------------------------------------

    def add(self, other):
        """y = x + other. Gradient: 1, 1."""
        return apply(MGX_add, self, other, None)

    def sub(self, other):
        """y = x - other. Gradient: 1, -1."""
        return apply(MGX_sub, self, other, None)

    def mul(self, other):
        """y = x*other. Gradient: other, x."""
        return apply(MGX_mul, self, other, None)

    def div(self, other):
        """y = x/other; x/0 is an infinity, 0/0 nan. Gradient: 1/other, -y/other."""
        return apply(MGX_div, self, other, None)

    def pow(self, exponent):
        """y = x^exponent; nan for x < 0 unless the exponent is a whole number; 0^0 = 1. For the exponents -2,
        -1, -1/2, 1/2, 3/2, 2, 5/2 and 3 products and roots, right to 1 ulp.

        Gradient: exponent*x^(exponent - 1), 0 for exponent 0. Of the exponent: y*ln(x); 0 at x = 0 for an
        exponent >= 0, nan for x < 0.

        >>> from microgradx import Value
        >>> x = Value(3.0)
        >>> x.pow(2).backward()
        >>> x.grad
        6.0
        """
        return power(self, exponent)

    def maximum(self, other):
        """y = the larger of x and other; nan if either is. Gradient: 1 for the larger, 1/2 each for equals.

        >>> from microgradx import Value
        >>> x = Value(0.0)
        >>> x.maximum(0.0).backward()
        >>> x.grad
        0.5
        """
        return apply(MGX_maximum, self, other, None)

    def minimum(self, other):
        """y = the smaller of x and other; nan if either is. Gradient: 1 for the smaller, 1/2 each for equals."""
        return apply(MGX_minimum, self, other, None)

    def fmod(self, other):
        """y = the remainder of x/other with the sign of x, as in C. Gradient: 1, -trunc(x/other).

        >>> from microgradx import Value
        >>> Value(-5.0).fmod(3.0).data, Value(-5.0).remainder(3.0).data
        (-2.0, 1.0)
        """
        return apply(MGX_fmod, self, other, None)

    def remainder(self, other):
        """y = the remainder of x/other with the sign of other: Python's ``%``. Gradient: 1, -floor(x/other)."""
        return apply(MGX_remainder, self, other, None)

    def atan2(self, other):
        """y = the angle of the point (other, x), in [-pi, pi]. Gradient: other/r^2, -x/r^2, with r the distance
        from the origin; 0 at the origin."""
        return apply(MGX_atan2, self, other, None)

    def hypot(self, other):
        """y = sqrt(x^2 + other^2), without overflow. Gradient: x/y, other/y; 0 at the origin."""
        return apply(MGX_hypot, self, other, None)

    def logaddexp(self, other):
        """y = ln(e^x + e^other), without overflow. Gradient: sigmoid(x - other), sigmoid(other - x)."""
        return apply(MGX_logaddexp, self, other, None)

    def xlogy(self, other):
        """y = x*ln(other); 0 where x is 0, unless other is nan. Gradient: ln(other), x/other; 0 for x = other = 0.

        >>> from microgradx import Value
        >>> Value(0.0).xlogy(0.0).data
        0.0
        """
        return apply(MGX_xlogy, self, other, None)

    def lerp(self, end, weight):
        """y = x + weight*(end - x): x at weight 0, end at 1. Gradient: 1 - weight, weight, end - x."""
        return apply(MGX_lerp, self, end, weight)

    def where(self, a, b):
        """y = a where the object itself, a mask, is not 0, else b. Gradient: 0 for the mask; 1 for the one
        taken, 0 for the other, even if its own derivative is inf or nan.

        Not torch's order: ``condition.where(a, b)`` is ``mgx.where(condition, a, b)``.

        >>> from microgradx import Tensor
        >>> x = Tensor([-1.0, 0.0, 4.0], requires_grad=True)
        >>> (x > 0).where(x.sqrt(), 0.0).sum().backward()
        >>> x.grad
        Tensor([0.  , 0.  , 0.25])
        """
        return apply(MGX_where, self, a, b)

    def clip(self, lo=None, hi=None):
        """y = x, held between lo and hi; None leaves a side open; hi counts where lo > hi.
        Gradient: 1 inside and at both ends, 0 outside. Of lo, hi: 1 where it is the result instead of x.

        >>> from microgradx import Tensor
        >>> Tensor([-2.0, 0.5, 3.0]).clip(lo=0.0)
        Tensor([0. , 0.5, 3. ])
        """
        return apply_clip(self, lo, hi)

    # ----- comparisons: a mask of a Tensor, 1 or 0 of a Value; no gradient ---------------------------------------

    def gt(self, other):
        """y = x > other."""
        return apply(MGX_gt, self, other, None)

    def ge(self, other):
        """y = x >= other."""
        return apply(MGX_ge, self, other, None)

    def lt(self, other):
        """y = x < other."""
        return apply(MGX_lt, self, other, None)

    def le(self, other):
        """y = x <= other."""
        return apply(MGX_le, self, other, None)

    def eq(self, other):
        """y = x == other; nan equals nothing. (``==`` of two Values asks whether they are one object.)"""
        return apply(MGX_eq, self, other, None)

    def ne(self, other):
        """y = x != other; nan differs from everything."""
        return apply(MGX_ne, self, other, None)

    # ----- helpers: the rule of the backward pass, and the derivatives of the activations ------------------------

    def mul_no_nan(self, d):
        """y = 0 where x is 0, else x*d: how the backward pass multiplies a gradient x by a derivative d.
        Gradient: d, x, each multiplied by the same rule.

        >>> from microgradx import Value
        >>> Value(0.0).mul_no_nan(float("inf")).data
        0.0
        """
        return apply(MGX_mul_no_nan, self, d, None)

    def dsigmoid(self):
        """y = sigmoid'(x) = sigmoid(x)*sigmoid(-x). Gradient: -y*tanh(x/2)."""
        return apply(MGX_dsigmoid, self, None, None)

    def sech2(self):
        """y = tanh'(x) = 1/cosh(x)^2. Gradient: -2*y*tanh(x)."""
        return apply(MGX_sech2, self, None, None)

    def gauss(self):
        """y = e^(-x^2). Gradient: -2*x*y."""
        return apply(MGX_gauss, self, None, None)

    def normpdf(self):
        """y = e^(-x^2/2)/sqrt(2*pi), the normal density. Gradient: -x*y."""
        return apply(MGX_normpdf, self, None, None)

    def dsilu(self):
        """y = silu'(x). Gradient: dsigmoid(x)*(2 - x*tanh(x/2))."""
        return apply(MGX_dsilu, self, None, None)

    def dgelu(self):
        """y = gelu'(x). Gradient: normpdf(x)*(2 - x^2)."""
        return apply(MGX_dgelu, self, None, None)

    def dgelu_tanh(self):
        """y = gelu_tanh'(x). Gradient: its derivative, of the form dsigmoid(2*u)*polynomials (see the row)."""
        return apply(MGX_dgelu_tanh, self, None, None)

    def dmish(self):
        """y = mish'(x). Gradient: its derivative, of the form sech2(softplus(x))*(...) (see the row)."""
        return apply(MGX_dmish, self, None, None)

    # The end of what tools/generate.py writes.

    chain = mul_no_nan                          # its former name
