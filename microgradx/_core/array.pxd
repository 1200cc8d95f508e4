# Arrays: storage, geometry, and the node that an array has in a graph.
from cpython.object cimport PyObject
from libc.stdint cimport int16_t, uint8_t, uint16_t, uint32_t, uint64_t

from microgradx._core.graph cimport Vertex
from microgradx._core.kernels cimport MGX_MAXDIM, MGX_RECYCLES
from microgradx._core.ops cimport Differentiable

cdef extern from "Python.h":
    Py_ssize_t PY_SSIZE_T_MAX

# Bytes, counted. Aligned to 64; `owner` keeps bytes alive that are not ours. Every write raises `version`.
cdef struct Storage:
    char *data
    Py_ssize_t refs, nbytes
    uint32_t version
    int16_t size_class          # -1: the bytes are the owner's; -2: those of a block, made during a capture; -3: none
    uint16_t born               # the capture during which it was made, or 0
    uint32_t views, graph_views  # live views; those that have a graph
    uint16_t readonly           # the owner's wish
    uint16_t held               # a program names it
    uint32_t finite_version     # version + 1 of when its numbers were found finite (by `launch`)
    PyObject *owner
    Storage *next               # in the list of free blocks; else free for a pass over a program to number it

ctypedef object (*Vjp)(Node node, Array g, int i)

cdef enum:                      # `Node.v.op` besides the opcodes of the table
    OP_LEAF = -1, OP_STRUCTURED = -2, OP_FREED = -3

cdef class Node:
    cdef Vertex v
    cdef void *saved[4]         # operands 0 to 2 and the result (or the derivative that a row stored): an array; or,
    cdef char *saved_data[4]    # where it lies in the result's own shape and dtype, its Storage and first byte
    cdef object args            # what else the vjp of a structured operation reads
    cdef object hooks           # called with the gradient of this node's result
    cdef object grad            # leaf, or retained: the accumulated gradient
    cdef const char *label      # the name of a structured or freed operation; static, or of `lasting_name`
    cdef uint8_t retains        # its gradient is kept in `grad`
    cdef uint8_t joint          # results with graphs of their own go back through it: it goes with the last of these
    cdef int16_t dtype          # of the result
    cdef uint16_t born          # the capture during which it was made, or 0
    cdef object site            # where it was written: see `call_site` of graph
    # from here on nothing is read that was not written
    cdef uint32_t version[4]    # of the storages when they were saved
    cdef double scalar[3]       # operands that are numbers
    cdef Py_ssize_t size        # of the result; a gradient that arrives has this size, and `dtype`
    cdef Vjp vjp                # of a structured operation: the gradient for operand i, or None
    cdef int save(self, int k, Array a) except -1
    cdef Array load(self, int k)
    cdef int check(self, int k) except -1
    cdef void free(self) noexcept

cdef class AtOnce:              # `Node.args` of an operation whose gradients are worked out together: `record_at_once`
    cdef Array gradient         # of the result, in the pass that goes through the node now
    cdef object found           # what `differentiate` gave for it
    cdef object differentiate(self, Node node, Array g)
    cdef object gradient_for(self, int i)

cdef class Array(Differentiable):
    cdef Storage *storage
    cdef char *data
    cdef Node node
    cdef int dtype_             # MGX_F32 to MGX_BOOL
    cdef readonly int ndim
    cdef bint contiguous
    cdef bint needs_grad        # `requires_grad`, which a method has as its name with an underscore
    cdef uint8_t view, graph_view   # is it a view, and one that has a graph? Its storage counts them
    cdef uint16_t born          # the capture during which it was made over another's storage, or 0
    cdef readonly Py_ssize_t size
    cdef Py_ssize_t *shape_     # `axes_`, or of more axes a block of their own
    cdef Py_ssize_t *strides_   # in bytes
    cdef Py_ssize_t axes_[12]   # 2 * NEAR

cdef int default_float                              # the dtype of what Python's floats make
cdef const Py_ssize_t *itemsize                     # by dtype

ctypedef uint64_t Axes                              # a set of axes, a bit for each

cdef inline Axes all_axes(int ndim) noexcept:
    return (<Axes> 1 << ndim) - 1

cdef Array empty(int dtype, int ndim, const Py_ssize_t *shape)
cdef Array empty_with_derivative(int dtype, int ndim, const Py_ssize_t *shape, Storage **derivative, char **address)
cdef Array empty_like(Array a)
cdef Array geometry_of(Array a)
cdef Array with_storage(Array geometry, Py_ssize_t nbytes, Py_ssize_t offset)
cdef Array alias(Array base, char *data, int dtype, int ndim, const Py_ssize_t *shape, const Py_ssize_t *strides)
cdef Array view_of(Array base, char *data, int ndim, const Py_ssize_t *shape, const Py_ssize_t *strides)
cdef Array unmark_view(Array a)
cdef bytes lasting_name(str name)
cdef Array detached(Array a)
cdef Node record_structured(Array out, const char *name, Vjp vjp, object args, Array a, Array b=*, Array c=*)
cdef Node record_result(Array out, const char *name, Vjp vjp, object args, list operands)
cdef Node record_at_once(Array out, const char *name, AtOnce args, list operands)
cdef void forget_gradients(Node node) noexcept
cdef int check_ndim(str op, Py_ssize_t ndim) except -1
cdef Array from_object(object data, object dtype, bint copy)
cdef bint is_foreign(object data)
cdef object readable_ndarray(Array a)               # a read-only ndarray over the same bytes, graph or not
cdef object ndarray_to_read(Array a)                # the same, and a capture notes it
cdef object writable_ndarray(Array a)               # a writable ndarray over the same bytes
cdef char *address_of(object array) except? NULL
cdef void drop_storage(Array a) noexcept
cdef int share_storage(Array to, Array source) except -1
cdef void unref(Storage *s) noexcept
cdef void forget_block(Storage *s) noexcept

# While a program is captured, records of storages that are let go are kept: so each means one lifetime.
cdef uint16_t capture                               # the number of the capture under way, or 0
cdef int (*note_reading)() except -1                # matters if this thread is capturing: told by `launch`
cdef int (*note_outside)(Array a) except -1          # a is used, which may be older than a capture: told by `launch`
cdef int (*freeze)(Array a) except -1               # a was made of numbers without a launch: told by `launch`
cdef bint keep_blocks() noexcept
cdef void keep_bytes(bint on) noexcept              # and their bytes, from now on
cdef void name_storage(Storage *s) noexcept
cdef bint is_named(Storage *s) noexcept
cdef Storage **kept_blocks(Py_ssize_t *count) noexcept
cdef int bump_version(Array a) except -1                   # a write has happened
cdef int (*note_written)(Array a) except -1          # NULL, or told by `effects`: a is about to be written to
cdef int (*note_viewed)(Array a) except -1           # NULL, or told by `effects`: a gets a view
cdef int check_writable(Array a, str op) except -1
cdef int check_write(Array a, str op) except -1     # may it?
cdef int check_shared(Array a, str op) except -1    # may a value with a graph be written into it?
cdef tuple shape_of(Array a)
cdef Node node_of(Array a)
cdef Node new_node(int op, Array result)
cdef PyObject *node_pointer(Array a) except? NULL
cdef int raise_freed() except -1
cdef inline int check_freed(Node node) except -1:
    return raise_freed() if node.v.op == OP_FREED else 0
cdef str node_name(Node node)
cdef Array rebuild_saved(Node node, int k, Array g)
cdef int dtype_code(object dtype) except -1
cdef object dtype_of(int code)

cdef inline bint same_shape(Array a, Array b) noexcept:
    cdef const Py_ssize_t *shape = a.shape_
    cdef const Py_ssize_t *other = b.shape_
    cdef int d
    if a.ndim != b.ndim:
        return False
    for d in range(a.ndim):
        if shape[d] != other[d]:
            return False
    return True

cdef inline bint same_strides(Array a, Array b) noexcept:
    """Of arrays of one shape."""
    cdef int d
    if a.contiguous and b.contiguous:
        return True
    for d in range(a.ndim):
        if a.strides_[d] != b.strides_[d] and a.shape_[d] != 1:
            return False
    return True

cdef inline bint share_memory(Array a, Array b) noexcept:
    """May a write to one be seen in the other? Two arrays of others, over one memory, have storages of their own."""
    cdef Storage *s = a.storage
    cdef Storage *t = b.storage
    return s == t or s.data < t.data + t.nbytes and t.data < s.data + s.nbytes

cdef int set_array_type(type tensor) except -1
cdef PyObject *array_type                           # the class of every array; it has no subclass

cdef inline bint is_array(PyObject *o) noexcept:
    return <PyObject *> o.ob_type == array_type
