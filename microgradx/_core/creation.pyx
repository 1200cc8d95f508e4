"""Tensors from nothing but a shape: the lengths are read, and the elements written, without a Python object between."""
import sys

from cpython.exc cimport PyErr_CheckSignals
from libc.stdint cimport int64_t

from microgradx._core.array cimport *
from microgradx._core.kernels cimport *
from microgradx._core.launch cimport copy, fill
from microgradx._core.structured cimport expand

from microgradx._core.tensor import tensor
from microgradx.errors import DTypeError, GraphError, ShapeError


cdef enum: PIECE = 1 << 20                       # so many are written between two looks whether Ctrl-C was pressed


def integers(str op, str what, numbers):
    """Integers that a call gave as ``(2, 3)``, as ``2, 3`` or as one int."""
    if len(numbers) == 1 and isinstance(numbers[0], (tuple, list)):
        (numbers,) = numbers
    try:
        return tuple([n.__index__() for n in numbers])
    except (AttributeError, TypeError):
        raise DTypeError(f"{op}: {what} are integers, not {numbers!r}") from None


def lengths(str op, shape, str what="lengths"):
    """A shape: integers, none negative."""
    given = shape[0] if len(shape) == 1 and isinstance(shape[0], (tuple, list)) else shape
    for n in given:
        if type(n) is not int or not 0 <= n <= sys.maxsize:
            break
    else:                                       # nearly always
        return tuple(given)
    shape = integers(op, what, shape)
    if min(shape, default=0) < 0:
        raise ShapeError(f"{op}: {what} are not negative: {shape} ({min(shape)} < 0)")
    if max(shape, default=0) > sys.maxsize:
        raise ShapeError(f"{op}: {what} have at most 63 bits: {shape} ({max(shape)} > {sys.maxsize})")
    return shape


def plain(str op, str what, number):
    """``number``, unless it is a tensor whose graph would be lost here."""
    if isinstance(number, Array) and (<Array> number).needs_grad:
        raise GraphError(f"{op}: {what} is a plain number, which takes no part in the graph; float(t) or t.detach() is "
                         "one where no gradient is wanted")
    return number


cdef Array empty_of(str op, tuple shape_, int dtype):
    """A new array of the lengths that a call gave, with undefined contents."""
    cdef Py_ssize_t shape[MGX_MAXDIM]
    cdef Py_ssize_t ndim, d
    cdef object given = shape_[0] if len(shape_) == 1 and type(shape_[0]) is tuple else shape_
    ndim = len(<tuple> given)
    for d in range(ndim):
        n = (<tuple> given)[d]
        if type(n) is not int or not 0 <= n <= PY_SSIZE_T_MAX or ndim > MGX_MAXDIM:
            break
        shape[d] = n
    else:                                       # nearly always
        return empty(dtype, <int> ndim, shape)
    given = lengths(op, shape_)
    check_ndim(op, len(given))
    for d in range(len(given)):
        shape[d] = given[d]
    return empty(dtype, len(given), shape)


cdef Array require(Array out, object requires_grad):
    if requires_grad:
        (<object> out).requires_grad = True
    return out


cdef Array filled(Array out, double number):
    fill(out, number)
    return out


cdef int dtype_or(object dtype, int default) except -1:
    return dtype_code(dtype) if dtype is not None else default


def zeros(*shape, dtype=None, requires_grad=False):
    return require(filled(empty_of("zeros", shape, dtype_or(dtype, default_float)), 0), requires_grad)


def ones(*shape, dtype=None, requires_grad=False):
    return require(filled(empty_of("ones", shape, dtype_or(dtype, default_float)), 1), requires_grad)


def full(shape, value, dtype=None, requires_grad=False):
    return require(full_of((shape,), value, -1 if dtype is None else dtype_code(dtype)), requires_grad)


cdef Array full_of(tuple shape, object value, int dtype):
    """``value`` everywhere, in the dtype ``dtype``, or in its own if that is -1."""
    cdef Array out, source
    cdef type kind = type(value)
    if kind is float and (dtype < 0 or dtype <= MGX_F64):
        out = empty_of("full", shape, dtype if dtype >= 0 else default_float)
        fill(out, value)
        return out
    if (kind is int and -2**53 <= value <= 2**53 or kind is bool) and (dtype != MGX_BOOL or kind is bool):
        out = empty_of("full", shape, dtype if dtype >= 0 else MGX_BOOL if kind is bool else MGX_I64)
        return filled(out, value)
    source = tensor(plain("full", "the value", value), dtype=None if dtype < 0 else dtype_of(dtype))
    out = empty_of("full", shape, source.dtype_)
    copy(expand(source, out.ndim, out.shape_), out)
    return out


cdef Array filled_like(object x, double number, object dtype, object requires_grad):
    cdef Array like = <Array> x if isinstance(x, Array) else tensor(x)
    return require(filled(empty(dtype_or(dtype, like.dtype_), like.ndim, like.shape_), number), requires_grad)


def zeros_like(x, dtype=None, requires_grad=False):
    return filled_like(x, 0, dtype, requires_grad)


def ones_like(x, dtype=None, requires_grad=False):
    return filled_like(x, 1, dtype, requires_grad)


def full_like(x, value, dtype=None, requires_grad=False):
    cdef Array like = <Array> x if isinstance(x, Array) else tensor(x)
    return require(full_of(shape_of(like), value, dtype_or(dtype, like.dtype_)), requires_grad)


def arange(start, stop, step, dtype=None, requires_grad=False):
    """start, start + step, ... before ``stop``, of integers; None where they are others, or too large."""
    cdef Array out
    cdef Py_ssize_t count, begin, end = 0, i
    cdef int64_t first, by
    cdef int code = dtype_or(dtype, MGX_I64)
    if type(start) is not int or type(stop) is not int or type(step) is not int or not (
            -LARGE < start < LARGE and -LARGE < stop < LARGE and -LARGE < step < LARGE and step) or code == MGX_BOOL:
        return None
    first, by = start, step
    count = max(0, -((start - stop) // step))
    out = empty(code, 1, &count)
    while end < count:
        begin, end = end, end + PIECE if end + PIECE < count else count
        if code == MGX_I64:
            for i in range(begin, end):
                (<int64_t *> out.data)[i] = first + i * by
        elif code == MGX_F32:
            for i in range(begin, end):
                (<float *> out.data)[i] = <float> (first + i * by)
        else:
            for i in range(begin, end):
                (<double *> out.data)[i] = <double> (first + i * by)
        if end < count:
            PyErr_CheckSignals()
    if capture:
        freeze(out)
    return require(out, requires_grad)


cdef object LARGE = 2**31                       # sums and products of two of these are far from overflow
