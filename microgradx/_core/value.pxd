from cpython.object cimport PyObject
from libc.stdint cimport int32_t
from microgradx._core.graph cimport Vertex
from microgradx._core.ops cimport Differentiable

# `v.op` besides the opcodes of the table
cdef enum: LEAF = -1, MADE = -2, DOT = -3, SUM = -4, MEAN = -5, REPLAYED = -6

cdef class Value(Differentiable):
    cdef double y, g            # data and grad
    cdef Vertex v
    cdef double d[2]            # local derivatives; of an operand that is a number: the number. See below

cdef inline double *local_derivatives(Value self) noexcept:
    """The local derivatives, one per parent."""
    return &self.d[0] if self.v.count <= 2 else <double *> self.v.parent[1]

cdef double number(object o, int op) except? -1.5
cdef Value leaf(double data)
cdef bint tracing() noexcept

cdef class Recording:
    cdef list entries           # of all Values made: (the Value, its op, operands as they were given)
    cdef str reason             # why a replay cannot stand for the call, or None
    cdef int note(self, str reason) except -1

cdef class Moving:
    cdef object given
    cdef int slot

# Nodes of a recorded call, parents first, that one node stands for. Their operands are leaves, from 0 on, then nodes;
# below 0: ~ the place of a number.
cdef struct Segment:
    int32_t leaves, nodes
    int *op
    int *first                  # by node, and one more: where its operands begin
    int *operand
    char *needs                 # by node: as `needs` of a rule

cdef Value replayed_node(const Segment *t, double *y, const double *numbers, PyObject **leaf, object owner)
cdef object given_of(object o)
cdef int watch(str what) except -1
cdef bint is_recording() noexcept
cdef object one_trace_at_a_time     # held from `start_tracing` to `stop_tracing`
cdef tuple start_tracing(str operation, Recording into)
cdef object stop_tracing(tuple before)
cdef Value table_node(int op, double *x, PyObject **parent)
cdef Value sum_node(int op, double *x, PyObject **parent, double *d, Py_ssize_t count)
