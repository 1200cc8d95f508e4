"""Every elementwise operation as a method, once, for ``Value`` and for ``Tensor``."""
cimport cython
from microgradx._core.kernels cimport *


cdef object combine(int op, object a, object b):
    """A binary operator with a number, a Value or a Tensor on either side."""
    if isinstance(a, Differentiable):
        return (<Differentiable> a).apply(op, a, b, None)
    return (<Differentiable> b).apply(op, a, b, None)


@cython.c_api_binop_methods(True)
cdef class Differentiable:
    """What ``Value`` and ``Tensor`` have in common: operators and elementwise operations."""

    __array_ufunc__ = None              # a NumPy operand leaves the operator to us
    __array_priority__ = 1000

    cdef object apply(self, int op, object a, object b, object c):
        raise NotImplementedError

    # ----- operators -----------------------------------------------------------------------------------------

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
        if modulus is not None:
            return NotImplemented
        return combine(MGX_pow, a, b)

    def __neg__(self):
        return self.apply(MGX_neg, self, None, None)

    def __pos__(self):
        return self

    def __abs__(self):
        return self.apply(MGX_abs, self, None, None)

    def exp(self):
        return self.apply(MGX_exp, self, None, None)

    def log(self):
        return self.apply(MGX_log, self, None, None)

    def tanh(self):
        return self.apply(MGX_tanh, self, None, None)

    def sigmoid(self):
        return self.apply(MGX_sigmoid, self, None, None)

    def relu(self):
        return self.apply(MGX_relu, self, None, None)

    def sqrt(self):
        return self.apply(MGX_sqrt, self, None, None)

    def square(self):
        return self.apply(MGX_square, self, None, None)

