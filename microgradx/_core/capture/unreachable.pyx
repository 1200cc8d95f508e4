"""Which objects would go if captured calls went: so that no call is kept whose guards can never hold again.

A guard compares most things by identity. Where captured calls alone keep such a thing alive, nobody can put it back:
they wait for a world that cannot return, and keep its memory. References are counted as Python's collector counts them,
among what can be reached from the captured calls: what has more of them is held by somebody else, and so is all that
this holds.
"""
from cpython.object cimport PyObject

import sys

cdef extern from "Python.h":
    ctypedef int (*visitproc)(PyObject *, void *) noexcept
    ctypedef struct PyTypeObject:
        int (*tp_traverse)(PyObject *, visitproc, void *) noexcept
    bint PyObject_IS_GC(PyObject *)
    bint PyType_Check(PyObject *)
    bint PyModule_Check(PyObject *)
    bint PyGC_Disable()
    bint PyGC_Enable()

cdef enum: MANY = 100000        # references: if there are more, all is taken to be reachable


cdef class Walk:
    cdef dict counted           # {address: how many references to it were met}
    cdef set shared             # addresses of what everybody has, namespaces of modules; and of captured calls
    cdef size_t kind            # the address of the type of these
    cdef set held               # ... of what somebody else holds
    cdef list waiting
    cdef Py_ssize_t steps
    cdef bint counting, failed


cdef int visit(PyObject *o, void *walk_) noexcept:
    cdef Walk walk = <Walk> walk_
    cdef size_t address = <size_t> o
    try:
        walk.steps += 1
        if not walk.counting:
            if address in walk.counted and address not in walk.held:
                walk.held.add(address)
                walk.waiting.append(address)
        elif address in walk.counted:
            walk.counted[address] += 1
        elif <size_t> o.ob_type == walk.kind:           # of a compiled function within: it may be dropped as well
            if address not in walk.shared:
                walk.shared.add(address)
                walk.waiting.append(address)
        elif not PyType_Check(o) and not PyModule_Check(o) and address not in walk.shared:
            walk.counted[address] = 1
            walk.waiting.append(address)
    except MemoryError:
        walk.failed = True
    return 0


cdef int go(Walk walk) except -1:
    """Visit what those that wait refer to, and go on with what waits then."""
    cdef PyObject *o
    while walk.waiting and walk.steps < MANY:
        o = <PyObject *> <size_t> walk.waiting.pop()
        if PyObject_IS_GC(o) and (<PyTypeObject *> o.ob_type).tp_traverse != NULL:
            (<PyTypeObject *> o.ob_type).tp_traverse(o, visit, <void *> walk)
        if walk.failed:
            raise MemoryError("compile: no memory to look which captured calls can still be replayed")
    return 0


cdef set unreachable_without(list roots):
    """Addresses of the objects that nobody but ``roots``, captured calls, and those of functions that these reach keep
    alive."""
    cdef Walk walk = Walk()
    cdef Py_ssize_t count
    walk.counted, walk.held, walk.waiting = {}, set(), [<size_t> <PyObject *> root for root in roots]
    walk.shared = {id(vars(module)) for module in list(sys.modules.values()) if hasattr(module, "__dict__")}
    walk.shared.update(walk.waiting)
    walk.kind = <size_t> (<PyObject *> roots[0]).ob_type
    walk.counting = True
    cdef bint collects = PyGC_Disable()                 # nothing that was counted may go meanwhile
    try:
        go(walk)
        walk.counting = False
        for address, count in walk.counted.items():
            if (<PyObject *> <size_t> address).ob_refcnt > count:
                walk.held.add(address)
                walk.waiting.append(address)
        go(walk)
    finally:
        if collects:
            PyGC_Enable()
    return set() if walk.steps >= MANY else walk.counted.keys() - walk.held
