# What every graph shares: links to parents, one order, one way to let go, and whether operations are recorded.
from cpython.object cimport PyObject
from libc.stdint cimport int32_t, uint32_t

# The links of a node. Up to two parents stand here; more in an array that parent[0] points to. A parent may be
# NULL: an operand that is a number or wants no gradient.
cdef struct Vertex:
    PyObject *parent[2]
    uint32_t count
    uint32_t mark               # the last walk that came by
    uint32_t slot               # where that walk put it
    int32_t op

cdef inline PyObject **parents(Vertex *v) noexcept nogil:
    return &v.parent[0] if v.count <= 2 else <PyObject **> v.parent[0]

cdef struct Order:              # parents before children
    PyObject **item
    Py_ssize_t count

cdef int topological(PyObject *root, Py_ssize_t offset, Order *order) except -1
cdef int set_parents(Vertex *v, uint32_t count, PyObject **parent) except -1
cdef void drop_parents(Vertex *v) noexcept
cdef void release(PyObject *o) noexcept

cdef bint grad_enabled() noexcept nogil
cdef bint set_grad_enabled(bint on) noexcept nogil
