# What every graph shares: links to parents, one order, one way to let go, and whether operations are recorded.
from cpython.object cimport PyObject
from cpython.ref cimport Py_INCREF
from libc.stdint cimport int16_t, int32_t, uint16_t, uint32_t
from libc.string cimport memcpy
from microgradx._core.kernels cimport MGX_RECYCLES

# The links of a node. Up to two parents stand here; more in an array that parent[0] points to. A parent may be
# NULL: an operand that is a number or wants no gradient.
cdef struct Vertex:
    PyObject *parent[2]
    int32_t count               # of the parents. Signed: what is before the last of none is -1
    uint32_t mark               # the last walk that came by
    uint32_t slot               # where that walk put it
    int16_t op
    uint16_t noted              # a side table has more about this node

cdef inline PyObject **parents(Vertex *v) noexcept nogil:
    return &v.parent[0] if v.count <= 2 else <PyObject **> v.parent[0]

cdef struct Order:              # parents before children
    PyObject **item
    Py_ssize_t count

cdef uint32_t begin_walk() noexcept
cdef int topological(PyObject *root, Py_ssize_t offset, Order *order, void (*visit)(PyObject *) noexcept) except -1
cdef void renumber(Order *order, Py_ssize_t offset) noexcept
cdef int set_many(Vertex *v, Py_ssize_t count, PyObject **parent) except -1
cdef void drop_parents(Vertex *v) noexcept
cdef void release(PyObject *o) noexcept

cdef inline int set_parents(Vertex *v, Py_ssize_t count, PyObject **parent) except -1:
    """Link ``v`` to its parents, which it owns from now on."""
    cdef Py_ssize_t i
    if count > 2:
        return set_many(v, count, parent)
    for i in range(count):
        v.parent[i] = parent[i]
        if parent[i] != NULL:
            Py_INCREF(<object> parent[i])
    v.count = <int32_t> count
    return 0

# Tensors and their nodes come and go by the million, so a type keeps its freed objects; a fresh one is a copy of a
# pristine one. (Cython's own free list serves no subclass, and zeroes more.)
cdef extern from "Python.h":
    ctypedef struct Type "PyTypeObject":
        PyObject *(*tp_alloc)(Type *, Py_ssize_t) noexcept
        void (*tp_dealloc)(PyObject *) noexcept
        void (*tp_free)(void *) noexcept
        int (*tp_init)(PyObject *, PyObject *, PyObject *) except -1
        Py_ssize_t tp_basicsize
    PyObject *PyObject_Init(PyObject *, Type *)
    PyObject *PyErr_NoMemory()
    void PyObject_GC_Del(void *)
    void PyObject_GC_UnTrack(void *)
    int PyGC_Disable() noexcept
    int PyGC_Enable() noexcept

cdef enum: MAX_FREE = 1 << 12

cdef struct FreeList:
    void *first                 # each block begins with the address of the next
    Py_ssize_t count
    char pristine[512]          # an object as it is just after it was made, with one reference

# Until CPython 3.12 the cyclic collector runs inside an allocation, and with it finalizers: any Python code at all.
# What raw pointers are read between is allocated with the collector held back; it catches up at the next allocation.
cdef inline bint hold_collector() noexcept:
    """Returns what `free_collector` wants: whether it was on."""
    return PyGC_Disable()

cdef inline void free_collector(bint on) noexcept:
    if on:
        PyGC_Enable()

cdef inline PyObject *make_object(Type *type) noexcept:
    """A new object, all zeros behind its head, that the collector does not know: without hooks no cycle can form. No
    Python code runs meanwhile. NULL without memory."""
    cdef bint on = hold_collector()
    cdef PyObject *o = type.tp_alloc(type, 0)
    free_collector(on)
    if o != NULL:
        PyObject_GC_UnTrack(o)
    return o

cdef inline PyObject *pop_free(FreeList *free_list, size_t size) noexcept:
    cdef void *block = free_list.first
    if block != NULL:
        free_list.first = (<void **> block)[0]
        free_list.count -= 1
        memcpy(block, free_list.pristine, size)
    return <PyObject *> block

cdef inline void push_free(FreeList *free_list, void *block) noexcept:
    if not MGX_RECYCLES or free_list.count >= MAX_FREE:
        PyObject_GC_Del(block)
        return
    (<void **> block)[0] = free_list.first
    free_list.first = block
    free_list.count += 1

# What `detect_nan` has switched on, in all threads: as much as any context asks for that is open somewhere. A thread
# looks away while something of which only the whole is examined, such as a derivative, is worked out in it.
cdef int observers              # who looks at each launch: contexts of detect_nan, functions whose reads are noted
cdef int recording_sites        # nodes note where they were written: 0, or 1 for nan, 2 for nan and inf
cdef void add_observer(int by) noexcept
cdef void open_detection(int mode, int by) noexcept
cdef bint pause_watching(bint on) noexcept
cdef bint is_watching_paused() noexcept

cdef inline int watching() noexcept:
    """What this thread examines results for: 0, or 1 for nan, 2 for nan and inf."""
    return 0 if not recording_sites or is_watching_paused() else recording_sites

cdef object set_current_site(object site)
cdef object call_site()

cdef bint grad_enabled() noexcept nogil
cdef bint set_grad_enabled(bint on) noexcept nogil
