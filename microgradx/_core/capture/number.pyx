"""Numbers that move: what a captured function gets for each float among its arguments.

Such a number is a float to all who ask, and as weak as one: with tensors it has no say in the dtype. There, and in
sums, differences and products with other numbers, it is an operand that each replay writes again. Whatever else is done
to it (a comparison, a function of the C library, its digits) is answered with the number that it is now, and the
program holds for that one only.
"""
from cpython.float cimport PyFloat_AsDouble, PyFloat_CheckExact
from cpython.long cimport PyLong_Check
from cpython.object cimport PyObject

from microgradx._core cimport ops
from microgradx._core.array cimport empty, is_array
from microgradx._core.kernels cimport *
from microgradx._core.launch cimport Operand, elementwise, fill, is_capturing, put_array, put_number

import operator

from microgradx._core.floats import behave_as_floats, both_ways

cdef set read = None            # the arguments that were, in the capture under way
cdef dict OPERATORS = {MGX_add: operator.add, MGX_sub: operator.sub, MGX_mul: operator.mul, MGX_div: operator.truediv}


cdef void note_reads_in(set into) noexcept:
    global read
    read = into


cdef object plain(object o):
    if not isinstance(o, SymbolicFloat):
        return o
    if read is not None:
        read.update((<SymbolicFloat> o).sources)
    return number_now(<SymbolicFloat> o)


cdef object number_now(SymbolicFloat n):
    """The number, without a note that it decides something."""
    return n.given if n.given is not None else (<double *> n.array.data)[0]


def settled(o):
    """``o``, or a tuple, with the numbers that are now for those that move: to be kept."""
    return tuple([settled(part) for part in o]) if type(o) is tuple else plain(o)


cdef SymbolicFloat symbolic_float(object given, Py_ssize_t leaf):
    """The number for argument ``leaf``."""
    cdef SymbolicFloat n = _Number()
    n.given, n.sources = given, frozenset((leaf,))
    fill(n.array, given)
    return n


cdef bint put(object o, Operand *to) except -1:
    """Is ``o`` a number that is known to be a float, or an integer? NumPy's have rules of their own."""
    if isinstance(o, SymbolicFloat):
        put_array(to, (<SymbolicFloat> o).array)
        return (<SymbolicFloat> o).given is None or PyFloat_CheckExact((<SymbolicFloat> o).given)
    if PyFloat_CheckExact(o) or PyLong_Check(o):
        put_number(to, PyFloat_AsDouble(o))
        return True
    return False


cdef object combined(int op, object a, object b):
    cdef Operand operand[3]
    cdef SymbolicFloat n
    if is_array(<PyObject *> a) or is_array(<PyObject *> b):
        return ops.on_tensors(op, a, b, None)
    if not is_capturing() or not (put(a, &operand[0]) and put(b, &operand[1])) \
            or op == MGX_div and (isinstance(b, SymbolicFloat) or not b):           # which may become 0: an error
        return OPERATORS[op](plain(a), plain(b))
    n = _Number()
    n.sources = ((<SymbolicFloat> a).sources if isinstance(a, SymbolicFloat) else frozenset()) | (
        (<SymbolicFloat> b).sources if isinstance(b, SymbolicFloat) else frozenset())
    put_array(&operand[2], n.array)
    elementwise(op, MGX_FORWARD, MGX_F64, 2, 1, operand, 0, NULL)
    return n


cdef class SymbolicFloat:
    """A number that moves."""

    def __cinit__(self):
        self.array, self.sources = empty(MGX_F64, 0, NULL), frozenset()
        (<double *> self.array.data)[0] = 0


class _Number(SymbolicFloat):
    """The same, and all that a float does."""
    __class__ = property(lambda self: kind_of(self))


cdef object kind_of(SymbolicFloat n):
    return float if n.given is None else type(n.given)


def _combined(op, a, b):
    return combined(op, a, b)


behave_as_floats(_Number, lambda o: plain(o), {
    **both_ways(_combined, {"add": MGX_add, "sub": MGX_sub, "mul": MGX_mul, "truediv": MGX_div}),
    "neg": lambda self: combined(MGX_mul, self, -1.0)})
