from cpython.object cimport PyObject
from microgradx._core.graph cimport Vertex
from microgradx._core.ops cimport Differentiable

# `v.op` besides the opcodes of the table
cdef enum: LEAF = -1, MADE = -2, DOT = -3, SUM = -4, MEAN = -5

cdef class Value(Differentiable):
    cdef double y, g            # data and grad
    cdef Vertex v
    cdef double d[2]            # local derivatives; of an operand that is a number: the number. See below

cdef inline double *local_derivatives(Value self) noexcept:
    """The local derivatives, one per parent."""
    return &self.d[0] if self.v.count <= 2 else <double *> self.v.parent[1]

cdef double number(object o, int op) except? -1.5
cdef Value leaf(double data)
cdef Value result(double data, Py_ssize_t count, PyObject **parent, const double *d, str name)
cdef bint tracing() noexcept
cdef void set_tracing(str operation) noexcept
