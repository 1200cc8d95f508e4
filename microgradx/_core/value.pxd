from cpython cimport array
from cpython.object cimport PyObject
from libc.stdint cimport int32_t
from microgradx._core.graph cimport Vertex
from microgradx._core.kernels cimport mgx_segment
from microgradx._core.ops cimport Differentiable

cdef class Value(Differentiable):
    cdef double y, g            # data and grad
    cdef Vertex v               # `v.op`: an opcode of the table, or MGX_LEAF and what follows it
    cdef double d[2]            # local derivatives; of an operand that is a number: the number. See below

cdef inline double *local_derivatives(Value self) noexcept:
    """The local derivatives, one per parent."""
    return &self.d[0] if self.v.count <= 2 else <double *> self.v.parent[1]

cdef double number(object o, int op) except? -1.5
cdef Value leaf(double data)
cdef bint tracing() noexcept

cdef class Recording:
    cdef list values            # all that were made
    cdef array.array ops, first     # by Value: its op; where its operands begin, and one more
    cdef list operands          # as they were given
    cdef str reason             # why a replay cannot stand for the call, or None
    cdef int add(self, Value made, int op, tuple operands) except -1
    cdef int note(self, str reason) except -1

cdef class Moving:
    cdef object given
    cdef int slot

cdef struct Replayed:           # what such a node keeps: the segment, its numbers, and room for their gradients
    const mgx_segment *segment
    double *y                   # of index 0
    double *g
    double *derivative

cdef Replayed *new_replayed(const mgx_segment *t) except NULL
cdef Value replayed_node(Replayed *replayed, PyObject **leaf, object owner)
cdef object given_of(object o)
cdef int watch(str what) except -1
cdef bint is_recording() noexcept
cdef object one_trace_at_a_time     # held from `start_tracing` to `stop_tracing`
cdef tuple start_tracing(str operation, Recording into)
cdef object stop_tracing(tuple before)
cdef Value table_node(int op, double *x, PyObject **parent)
cdef Value sum_node(int op, double *x, PyObject **parent, double *d, Py_ssize_t count)
