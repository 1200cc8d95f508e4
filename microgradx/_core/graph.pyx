"""The walk: the order of a graph's nodes, and letting go of them. Nothing here recurses.

A node is an object that carries a ``Vertex`` at a fixed offset, so ``Value`` and the node of a ``Tensor`` share
this file. The global interpreter lock is held throughout; no Python code runs inside an ordering, so the marks
of two walks never mix.
"""
cimport cython
from cpython.exc cimport PyErr_CheckSignals
from cpython.ref cimport Py_DECREF, Py_INCREF
from libc.stdlib cimport free, malloc, realloc
from libc.stdint cimport INT32_MAX
from libc.string cimport memcmp

import os

from microgradx.errors import DTypeError, GraphError

cdef extern from "Python.h":
    unsigned long PyThread_get_thread_ident() noexcept
    ctypedef struct PyFrameObject
    ctypedef struct PyCodeObject:
        PyObject *co_filename
    PyFrameObject *PyEval_GetFrame()
    PyFrameObject *PyFrame_GetBack(PyFrameObject *)
    PyCodeObject *PyFrame_GetCode(PyFrameObject *)
    int PyFrame_GetLasti(PyFrameObject *)
    Py_ssize_t PyUnicode_GET_LENGTH(PyObject *)
    int PyUnicode_KIND(PyObject *)
    void *PyUnicode_DATA(PyObject *)

cdef extern from *:
    """
    #if defined(_MSC_VER)
    #define PER_THREAD(type) static __declspec(thread) type
    #else
    #define PER_THREAD(type) static __thread __attribute__((tls_model("initial-exec"))) type
    #endif
    PER_THREAD(int) mgx_recording = 1;
    PER_THREAD(int) mgx_watching_paused = 0;
    PER_THREAD(PyObject *) mgx_current_site = 0;
    """
    int mgx_recording
    int mgx_watching_paused
    PyObject *mgx_current_site

cdef uint32_t walks = 0


# ----- order -------------------------------------------------------------------------------------------------

cdef struct Frame:              # a node on the way down, and which of its parents comes next
    PyObject *node
    int32_t next


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


cdef uint32_t begin_walk() noexcept:
    global walks
    walks += 1
    if walks == 0:              # a fresh node's mark is 0
        walks = 1
    return walks


cdef int topological(PyObject *root, Py_ssize_t offset, Order *order, void (*visit)(PyObject *) noexcept) except -1:
    """All nodes that ``root`` was made from, parents first, ``root`` last.

    Each visited node's ``slot`` is its index. ``visit``, if any, is called once for each that has
    parents, while it is at hand.
    ``order.item`` is the caller's to free.
    """
    cdef Py_ssize_t depth = 0, deep = 0, room = 0, count = 0
    cdef Frame *stack = NULL
    cdef PyObject **item = NULL
    cdef PyObject *node = root
    cdef PyObject *parent
    cdef PyObject **links
    cdef Vertex *v = vertex(root, offset)
    cdef Vertex *up
    cdef int32_t k = 0
    cdef uint32_t walk = begin_walk()
    cdef Py_ssize_t left = 1 << 16                                  # nodes until signals are looked for
    order.item, order.count = NULL, 0
    v.mark = walk
    try:
        while True:
            if left <= 0:
                left = 1 << 16
                PyErr_CheckSignals()
                if walk != walks:                                   # a handler walked here, too: once more
                    walk, depth, count, node, k = begin_walk(), 0, 0, root, 0
                    v = vertex(root, offset)
                    v.mark = walk
            links = parents(v)
            while k < v.count:
                parent = links[k]
                k += 1
                if parent == NULL:
                    continue
                up = vertex(parent, offset)
                if up.mark == walk:
                    continue
                up.mark = walk
                if up.count:                                        # go down
                    if depth == deep:
                        stack = <Frame *> grown(stack, &deep, sizeof(Frame))
                    stack[depth].node, stack[depth].next = node, k
                    depth += 1
                    node, v, k = parent, up, 0
                    links = parents(v)
                    left -= 1
                    if left <= 0:
                        break
                    continue
                if count == room:                                   # a leaf: its turn at once
                    item = <PyObject **> grown(item, &room, sizeof(PyObject *))
                up.slot = <uint32_t> count
                item[count] = parent
                count += 1
            else:                                                   # all parents done: its turn
                if count == room:
                    item = <PyObject **> grown(item, &room, sizeof(PyObject *))
                v.slot = <uint32_t> count
                item[count] = node
                count += 1
                if visit != NULL:
                    visit(node)
                if depth == 0:
                    order.item, order.count = item, count
                    return 0
                depth -= 1
                node, k = stack[depth].node, stack[depth].next
                v = vertex(node, offset)
    except:
        free(item)
        raise
    finally:
        free(stack)


cdef void renumber(Order *order, Py_ssize_t offset) noexcept:
    """Another walk came by: the slots are this order's again."""
    cdef Py_ssize_t i
    for i in range(order.count):
        vertex(order.item[i], offset).slot = <uint32_t> i


# ----- links -------------------------------------------------------------------------------------------------

cdef int set_many(Vertex *v, Py_ssize_t count, PyObject **parent) except -1:
    """As set_parents, for more than two."""
    cdef PyObject **links = NULL
    cdef Py_ssize_t i
    if count <= INT32_MAX:
        links = <PyObject **> malloc(count * sizeof(PyObject *))
    if links == NULL:
        raise MemoryError(f"no memory for {count} operands")
    for i in range(count):
        links[i] = parent[i]
        if parent[i] != NULL:
            Py_INCREF(<object> parent[i])
    v.parent[0], v.count = <PyObject *> links, <int32_t> count
    return 0


cdef void drop_parents(Vertex *v) noexcept:
    """Unlink ``v``; what nobody else holds is dropped, however long the chain behind it."""
    cdef int32_t count = v.count, i
    cdef PyObject *first = v.parent[0]
    cdef PyObject *second = v.parent[1]
    v.count = 0                                                     # v may be gone after the first release
    if count > 2:
        for i in range(count):
            if (<PyObject **> first)[i] != NULL:
                release((<PyObject **> first)[i])
        free(first)
        return
    if count > 0 and first != NULL:
        release(first)
    if count > 1 and second != NULL:
        release(second)


cdef PyObject **pending = NULL
cdef Py_ssize_t pending_count = 0, pending_room = 0
cdef bint draining = False


cdef void release(PyObject *o) noexcept:
    """Give up a reference without recursion: while one object is dropped, the last references to others are put on
    a list that the outermost call empties."""
    global pending, pending_count, pending_room, draining
    cdef void *larger
    if o.ob_refcnt > 1:
        Py_DECREF(<object> o)
        return
    if not draining:
        draining = True
        Py_DECREF(<object> o)
        while pending_count:
            pending_count -= 1
            Py_DECREF(<object> pending[pending_count])
        draining = False
        return
    if pending_count == pending_room:
        larger = realloc(pending, (pending_room * 2 + 64) * sizeof(PyObject *))
        if larger == NULL:                                          # no memory even to forget: leak one node
            return
        pending = <PyObject **> larger
        pending_room = pending_room * 2 + 64
    pending[pending_count] = o
    pending_count += 1


# ----- where a node was written --------------------------------------------------------------------------------

cdef str PACKAGE = os.path.join(os.path.dirname(os.path.dirname(__file__)), "")
cdef int detections[3]                  # how many contexts of `detect_nan` are open, by what they ask for


cdef void add_observer(int by) noexcept:
    global observers
    observers += by


cdef void open_detection(int mode, int by) noexcept:
    """One context more (``by`` 1) or less (-1). Counted, because those of several threads end in any order."""
    global recording_sites
    detections[mode] += by
    add_observer(by)
    recording_sites = 2 if detections[2] else 1 if detections[1] else 0


cdef bint is_watching_paused() noexcept:
    return mgx_watching_paused


cdef bint pause_watching(bint on) noexcept:
    """Let this thread examine no results, or examine them again; returns what it was."""
    global mgx_watching_paused
    cdef bint before = mgx_watching_paused
    mgx_watching_paused = on
    return before


cdef object set_current_site(object site):
    """Nodes that this thread makes from now on were written there, at the operation whose derivative is being worked
    out; None is where the caller's code is. Returns what it was."""
    global mgx_current_site
    cdef PyObject *before = mgx_current_site
    mgx_current_site = NULL if site is None else <PyObject *> site
    if site is not None:
        Py_INCREF(site)
    if before == NULL:
        return None
    found = <object> before
    Py_DECREF(found)
    return found


cdef bint is_package_file(PyObject *filename) noexcept:
    """Is that a file of this package?"""
    cdef PyObject *folder = <PyObject *> PACKAGE
    cdef Py_ssize_t n = PyUnicode_GET_LENGTH(folder)
    cdef int kind = PyUnicode_KIND(folder)
    return (PyUnicode_GET_LENGTH(filename) >= n and PyUnicode_KIND(filename) == kind
            and memcmp(PyUnicode_DATA(filename), PyUnicode_DATA(folder), n * kind) == 0)


cdef object call_site():
    """(code, offset of the instruction) of the innermost frame outside this package: a line costs more to find. No
    Python code runs meanwhile."""
    cdef bint on
    if mgx_current_site != NULL:
        return <object> mgx_current_site
    on = hold_collector()
    try:
        return find_call_site()
    finally:
        free_collector(on)


cdef object find_call_site():
    cdef PyFrameObject *frame
    cdef PyFrameObject *outer
    cdef PyCodeObject *code
    frame = PyEval_GetFrame()
    if frame == NULL:
        raise RuntimeError("detect_nan: no Python code is running")
    Py_INCREF(<object> frame)
    code = PyFrame_GetCode(frame)
    while is_package_file(code.co_filename):
        outer = PyFrame_GetBack(frame)
        if outer == NULL:
            break
        Py_DECREF(<object> frame)
        Py_DECREF(<object> code)
        frame, code = outer, PyFrame_GetCode(outer)
    found = <object> code, PyFrame_GetLasti(frame)
    Py_DECREF(<object> frame)
    Py_DECREF(<object> code)
    return found


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


@cython.final
cdef class Entry:
    cdef unsigned long thread
    cdef object state
    cdef Entry before


@cython.final
cdef class Entered:
    """What a context manager has to restore, for each time that it was entered; by thread, for several may share it.
    """
    cdef Entry last

    def push(self, state):
        cdef Entry entry = Entry.__new__(Entry)
        entry.thread, entry.state, entry.before = PyThread_get_thread_ident(), state, self.last
        self.last = entry

    def pop(self):
        """What this thread pushed last. It needs no memory: a mode is restored when there is none."""
        cdef unsigned long thread = PyThread_get_thread_ident()
        cdef Entry entry = self.last, later = None
        while entry is not None and entry.thread != thread:
            entry, later = entry.before, entry
        if entry is None:
            raise GraphError("exit: a context is left by a thread that has not entered it")
        if later is None:
            self.last = entry.before
        else:
            later.before = entry.before
        return entry.state

    def __reduce__(self):
        """A copy of a context manager has not been entered."""
        return Entered, ()


def within(name, mode, function):
    """``function`` whose calls run within ``mode()``, called ``name``; of a generator function each of its steps."""
    import inspect
    from functools import wraps
    if isinstance(function, type) or inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function):
        kind = "classes" if isinstance(function, type) else "async functions, while which others run"
        raise DTypeError(f"{name}: decorates functions, not {kind}; write `with mgx.{name}():` inside")

    @wraps(function)
    def wrapped(*args, **kwargs):
        with mode():
            return function(*args, **kwargs)

    @wraps(function)
    def stepwise(*args, **kwargs):
        steps = function(*args, **kwargs)
        step, given = steps.send, None
        while True:
            with mode():
                try:
                    result = step(given)
                except StopIteration as end:
                    return end.value
            try:
                given, step = (yield result), steps.send
            except GeneratorExit:
                with mode():
                    steps.close()
                raise
            except BaseException as error:
                given, step = error, steps.throw
    return stepwise if inspect.isgeneratorfunction(function) else wrapped


class _GradMode:
    """Context manager and decorator that switches recording in this thread."""

    on = None

    def __new__(cls, function=None):
        return object.__new__(cls) if function is None else cls()(function)

    def __init__(self, function=None):
        self.entered = Entered()

    def __enter__(self):
        self.entered.push(bool(mgx_recording))          # what can fail comes first
        set_grad_enabled(self.on)
        return self

    def __exit__(self, kind, error, trace):
        set_grad_enabled(self.entered.pop())

    def __call__(self, function):
        return within(type(self).__name__, type(self), function)


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
