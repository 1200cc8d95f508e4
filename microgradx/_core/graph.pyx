"""The walk: the order of a graph's nodes, and letting go of them. Nothing here recurses.

A node is an object that carries a ``Vertex`` at a fixed offset, so ``Value`` and the node of a ``Tensor`` share
this file. The global interpreter lock is held throughout; no Python code runs inside an ordering, so the marks
of two walks never mix.
"""
from cpython.ref cimport Py_DECREF, Py_INCREF
from libc.stdlib cimport free, malloc, realloc
from libc.string cimport memcpy

import os
import sys

cdef extern from *:
    """
    #if defined(_MSC_VER)
    static __declspec(thread) int mgx_recording = 1;
    #else
    static __thread int mgx_recording __attribute__((tls_model("initial-exec"))) = 1;
    #endif
    """
    int mgx_recording

cdef uint32_t walks = 0


# ----- order -------------------------------------------------------------------------------------------------

cdef struct Frame:              # a node on the way down, and which of its parents comes next
    PyObject *node
    uint32_t next


cdef void *grown(void *block, Py_ssize_t *room, size_t size) except NULL:
    """Twice the room for a growing array."""
    cdef Py_ssize_t more = room[0] * 2 if room[0] else 64
    cdef void *larger = realloc(block, more * size)
    if larger == NULL:
        raise MemoryError(f"backward: no memory for a graph of {room[0]} nodes")
    room[0] = more
    return larger


cdef inline Vertex *vertex(PyObject *node, Py_ssize_t offset) noexcept nogil:
    return <Vertex *> (<char *> node + offset)


cdef int topological(PyObject *root, Py_ssize_t offset, Order *order, void (*visit)(PyObject *) noexcept) except -1:
    """All nodes that ``root`` was made from, parents first, ``root`` last.

    Each visited node's ``slot`` is its place. ``visit``, if any, is called once for each that has
    parents, while it is at hand.
    ``order.item`` is the caller's to free.
    """
    global walks
    cdef Py_ssize_t depth = 0, deep = 0, room = 0
    cdef Frame *stack = NULL
    cdef Vertex *v
    cdef PyObject *parent
    cdef PyObject *node
    cdef PyObject **links
    cdef uint32_t k
    walks += 1
    if walks == 0:              # a fresh node's mark is 0
        walks = 1
    order.item, order.count = NULL, 0
    try:
        parent = root
        while True:
            if parent != NULL:                                      # go down
                if depth == deep:
                    stack = <Frame *> grown(stack, &deep, sizeof(Frame))
                vertex(parent, offset).mark = walks
                stack[depth].node, stack[depth].next = parent, 0
                depth += 1
            node = stack[depth - 1].node
            v = vertex(node, offset)
            links, k, parent = parents(v), stack[depth - 1].next, NULL
            while k < v.count:
                parent = links[k]
                k += 1
                if parent != NULL and vertex(parent, offset).mark != walks:
                    if vertex(parent, offset).count:
                        break
                    if order.count == room:                         # a leaf: its turn at once
                        order.item = <PyObject **> grown(order.item, &room, sizeof(PyObject *))
                    vertex(parent, offset).mark = walks
                    vertex(parent, offset).slot = <uint32_t> order.count
                    order.item[order.count] = parent
                    order.count += 1
                parent = NULL
            stack[depth - 1].next = k
            if parent != NULL:
                continue
            if order.count == room:                                 # all parents done: its turn
                order.item = <PyObject **> grown(order.item, &room, sizeof(PyObject *))
            depth -= 1
            v.slot = <uint32_t> order.count
            order.item[order.count] = node
            if visit != NULL:
                visit(node)
            order.count += 1
            if depth == 0:
                return 0
    except:
        free(order.item)
        order.item = NULL
        raise
    finally:
        free(stack)


# ----- links -------------------------------------------------------------------------------------------------

cdef int set_parents(Vertex *v, uint32_t count, PyObject **parent) except -1:
    """Link ``v`` to its parents, which it owns from now on."""
    cdef PyObject **place = v.parent
    cdef uint32_t i
    if count > 2:
        place = <PyObject **> malloc(count * sizeof(PyObject *))
        if place == NULL:
            raise MemoryError(f"no memory for {count} operands")
        v.parent[0] = <PyObject *> place
    for i in range(count):
        place[i] = parent[i]
        if parent[i] != NULL:
            Py_INCREF(<object> parent[i])
    v.count = count
    return 0


cdef void drop_parents(Vertex *v) noexcept:
    """Unlink ``v``; what nobody else holds is dropped, however long the chain behind it."""
    cdef PyObject **place = parents(v)
    cdef uint32_t count = v.count, i
    cdef PyObject *here[2]
    if count == 0:
        return
    v.count = 0
    if count <= 2:                                                  # v may be gone before the loop ends
        memcpy(here, place, count * sizeof(PyObject *))
        place = here
    for i in range(count):
        if place[i] != NULL:
            release(place[i])
    if count > 2:
        free(place)


cdef PyObject **pending = NULL
cdef Py_ssize_t pending_count = 0, pending_room = 0
cdef bint draining = False


cdef void release(PyObject *o) noexcept:
    """Give up a reference without recursion: the last one is put on a list that the outermost call empties."""
    global pending, pending_count, pending_room, draining
    cdef PyObject *last
    cdef void *larger
    if o.ob_refcnt > 1:
        Py_DECREF(<object> o)
        return
    if pending_count == pending_room:
        larger = realloc(pending, (pending_room * 2 + 64) * sizeof(PyObject *))
        if larger == NULL:                                          # no memory even to forget: leak one node
            return
        pending = <PyObject **> larger
        pending_room = pending_room * 2 + 64
    pending[pending_count] = o
    pending_count += 1
    if draining:
        return
    draining = True
    while pending_count:
        pending_count -= 1
        last = pending[pending_count]
        Py_DECREF(<object> last)
    draining = False


# ----- where a node was written --------------------------------------------------------------------------------

cdef object PACKAGE = os.path.join(os.path.dirname(os.path.dirname(__file__)), "")
cdef object place = None        # of the operation whose derivative is being worked out


cdef int set_watching(int mode) noexcept:
    """What results are examined for; returns what it was."""
    global watching
    cdef int before = watching
    watching = mode
    return before


cdef void set_placing(int mode) noexcept:
    global placing
    placing = mode


cdef object set_place(object where):
    """Nodes made from now on were written there; None is where the caller's code is. Returns what it was."""
    global place
    before = place
    place = where
    return before


cdef object here():
    """(code, offset of the instruction) of the innermost frame outside this package: a line costs more to find."""
    if place is not None:
        return place
    frame = sys._getframe()
    while frame.f_back is not None and (<str> frame.f_code.co_filename).startswith(PACKAGE):
        frame = frame.f_back
    return frame.f_code, frame.f_lasti


# ----- grad mode ---------------------------------------------------------------------------------------------

cdef bint grad_enabled() noexcept nogil:
    return mgx_recording


cdef bint set_grad_enabled(bint on) noexcept nogil:
    """Switch recording in this thread; returns what it was."""
    global mgx_recording
    cdef bint before = mgx_recording
    mgx_recording = on
    return before


def is_grad_enabled():
    """Whether operations are recorded in this thread."""
    return bool(mgx_recording)


class _GradMode:
    """Context manager and decorator that switches recording in this thread."""

    on = None

    def __init__(self):
        self.before = []

    def __enter__(self):
        self.before.append(set_grad_enabled(self.on))
        return self

    def __exit__(self, *exc):
        set_grad_enabled(self.before.pop())

    def __call__(self, function):
        from functools import wraps

        @wraps(function)
        def wrapped(*args, **kwargs):
            with type(self)():
                return function(*args, **kwargs)
        return wrapped


class no_grad(_GradMode):
    """Within it, or in a function that it decorates, nothing is recorded.

    >>> import microgradx as mgx
    >>> w = mgx.Tensor([1.0], requires_grad=True)
    >>> with mgx.no_grad():
    ...     y = 2 * w
    >>> y.requires_grad
    False
    """

    on = False


class enable_grad(_GradMode):
    """Within it operations are recorded, also inside ``no_grad``.

    >>> import microgradx as mgx
    >>> w = mgx.Tensor([1.0], requires_grad=True)
    >>> with mgx.no_grad(), mgx.enable_grad():
    ...     y = 2 * w
    >>> y.requires_grad
    True
    """

    on = True
