"""Optimizer updates: a row of csrc/kernels.def over all parameters of some groups.

Which optimizer it is, only the row knows: it reads the gradient, the options of the group (`cell`) and perhaps how many
steps this one makes it (`step`), and updates the parameter and its state.
"""
from cpython.object cimport PyObject
from cpython.tuple cimport PyTuple_CheckExact
from libc.stdlib cimport free, malloc

from microgradx._core.array cimport Array, check_writable, dtype_of, empty_like, is_array, node_of, same_shape, shape_of
from microgradx._core.kernels cimport *
from microgradx._core.launch cimport Call, copy, is_capturing, launch, note_gradient, put, put_at

from microgradx._core.launch import composite
from microgradx.errors import ShapeError


@composite("count_steps")
def _count_steps_composite(step, **sizes):
    return step + 1


cdef inline bint is_alike(Array w, Array other) noexcept:
    """Is it a float array of the shape and dtype of a parameter, both in order in memory?"""
    return (w.contiguous and other.contiguous and w.dtype_ == other.dtype_ and w.dtype_ <= MGX_F64
            and (w.size == other.size and w.ndim == other.ndim == 1 or same_shape(w, other)))


cdef int check_alike(str op, Array w, Array other, bint written) except -1:
    """Called where a parameter or what goes with it does not fit: says how."""
    if written:
        check_writable(other, op)
    if not is_alike(w, other):
        raise ShapeError(f"{op}: {dtype_of(other.dtype_)} of shape {shape_of(other)} with a parameter of "
                         f"{dtype_of(w.dtype_)} and shape {shape_of(w)}; all are floats of one shape, in order in "
                         "memory")
    return 0


cdef struct Member:             # a parameter that has a gradient, and what an update of it reads and writes
    Py_ssize_t index            # its number in its group
    PyObject *parts             # (w, *state), held, as the gradient is
    PyObject *gradient
    PyObject *cell              # of its group, held, as what counts the steps is
    PyObject *steps


cdef extern from "Python.h":
    int PyErr_CheckSignals() noexcept           # the exception stays set for `raise_signal`
    void Py_INCREF(PyObject *)
    void Py_DECREF(PyObject *)
    PyObject *PyList_GET_ITEM(list, Py_ssize_t)     # borrowed, as of a tuple
    PyObject *PyTuple_GET_ITEM(object, Py_ssize_t)
    Py_ssize_t PyTuple_GET_SIZE(object)


cdef extern from *:
    """
    static int mgx_raise_signal(void) { return -1; }
    """
    int mgx_raise_signal() except -1


def update(str op, list groups not None):
    """One step of the optimizer whose row is called ``op``.

    ``groups`` holds (cell, steps, rows): the options as float64 numbers; for each parameter the steps so far,
    and what else the row that counts them counts, or None if these options need none of it; and for each parameter
    (w, *state), None for what the options do not need. A parameter without gradient is passed over. The groups are
    those that were given, whatever a signal's handler makes of the lists. All is checked before anything is written,
    and a step that has begun is completed: what a signal raises comes before it or after it, and a note says which.
    """
    cdef int row = kernel_row(op), k
    cdef KernelFacts *facts = &kernel_facts[row]
    cdef bint counts = facts.first_update == 3
    cdef int state = facts.count - facts.first_update, given
    cdef Call call
    cdef Py_ssize_t i, count = 0, room = 0, needed, counted
    cdef list rows
    cdef Array w, g, a, cell, steps, _steps
    cdef PyObject *part
    cdef Member *member
    cdef Member *m
    cdef bint capturing = is_capturing()
    for cell, _steps, rows in groups:
        if cell is None or rows is None:
            raise TypeError(f"{op}: None in place of an array")
        room += len(rows)
    read_sizes(row, &needed, &counted)
    member = <Member *> malloc((room + 1) * sizeof(Member))
    if member == NULL:
        raise MemoryError(f"{op}: no memory for {room} parameters")
    try:
        for cell, steps, rows in groups:
            for i in range(room):
                if i >= len(rows) or count == room:
                    break
                part = PyList_GET_ITEM(rows, i)
                if (not PyTuple_CheckExact(<object> part) or PyTuple_GET_SIZE(<object> part) == 0
                        or not is_array(PyTuple_GET_ITEM(<object> part, 0))):
                    raise TypeError(f"{op}: a parameter is a tuple of arrays, itself the first, not {<object> part!r}")
                w = <Array> PyTuple_GET_ITEM(<object> part, 0)
                if capturing:
                    note_gradient(node_of(w), True)
                if w.node is None or w.node.grad is None:
                    continue
                m = &member[count]
                m.index, m.parts, m.gradient = i, part, <PyObject *> w.node.grad
                m.cell, m.steps = <PyObject *> cell, <PyObject *> steps
                Py_INCREF(m.parts)
                Py_INCREF(m.gradient)
                Py_INCREF(m.cell)
                Py_INCREF(m.steps)
                count += 1
        for i in range(count):                  # all is held: from here on a signal's handler may change the groups
            m = &member[i]
            if not (<Array> m.gradient).contiguous:
                g = <Array> m.gradient
                a = empty_like(g)
                copy(g, a)
                Py_INCREF(<PyObject *> a)
                Py_DECREF(m.gradient)
                m.gradient = <PyObject *> a
        if PyErr_CheckSignals() < 0:
            raise_signal(op, False)
        for i in range(count):                          # from here to the last launch no Python code runs
            m = &member[i]
            if i == 0 or m.cell != member[i - 1].cell:
                check_numbers(op, <Array> m.cell, needed)
            if m.steps != <PyObject *> None:
                steps = <Array> m.steps
                if steps.dtype_ != MGX_F64 or not steps.contiguous or steps.size < counted * (m.index + 1):
                    raise TypeError(f"{op}: the steps are {counted} float64 numbers for each parameter")
            w, g = <Array> PyTuple_GET_ITEM(<object> m.parts, 0), <Array> m.gradient
            if w.storage.readonly or not is_alike(w, g):
                check_alike(op, w, w, True)
                check_alike(op, w, g, False)
            for k in range(1, <int> min(PyTuple_GET_SIZE(<object> m.parts), state)):
                part = PyTuple_GET_ITEM(<object> m.parts, k)
                if part == <PyObject *> None:
                    continue
                if not is_array(part):
                    raise TypeError(f"{op}: state is an array or None, not {type(<object> part).__name__}")
                a = <Array> part
                if a.storage.readonly or not is_alike(w, a):
                    check_alike(op, w, a, True)
        count_steps(facts.counter, member, count, counted)
        for i in range(count):
            m = &member[i]
            w = <Array> PyTuple_GET_ITEM(<object> m.parts, 0)
            call.count = 0
            put(&call, <Array> m.gradient)
            put(&call, <Array> m.cell)
            if counts:
                if m.steps == <PyObject *> None:
                    put(&call, None)
                else:
                    put_at(&call, <Array> m.steps,
                           (<Array> m.steps).data + counted * m.index * sizeof(double))
            given = <int> PyTuple_GET_SIZE(<object> m.parts)
            for k in range(state):
                part = PyTuple_GET_ITEM(<object> m.parts, k) if k < given else <PyObject *> None
                if part == <PyObject *> None:
                    put(&call, None)
                else:
                    put(&call, <Array> part)
            call.args.n[0] = w.size
            launch(&call, row, w.dtype_)
        if PyErr_CheckSignals() < 0:
            raise_signal(op, True)
    finally:
        for i in range(count):
            Py_DECREF(member[i].parts)
            Py_DECREF(member[i].gradient)
            Py_DECREF(member[i].cell)
            Py_DECREF(member[i].steps)
        free(member)


cdef int check_numbers(str op, Array cell, Py_ssize_t needed) except -1:
    if cell.dtype_ != MGX_F64 or not cell.contiguous or cell.size < needed:
        raise TypeError(f"{op}: the options are {needed} float64 numbers, not {cell.size} of {dtype_of(cell.dtype_)}")
    return 0


cdef int raise_signal(str op, bint made) except -1:
    """Raise what a signal's handler raised."""
    try:
        mgx_raise_signal()
    except BaseException as error:
        error.add_note(f"{op}: the step {'has' if made else 'has not'} been made")
        raise
    return 0


cdef int count_steps(int row, Member *member, Py_ssize_t count, Py_ssize_t counted) except -1:
    """Neighbours in a group, which have ``counted`` numbers each, count their step in one launch."""
    cdef Call call
    cdef Array steps
    cdef Py_ssize_t i = 0, k
    while i < count:
        k = 1
        while i + k < count and member[i + k].index == member[i].index + k and member[i + k].cell == member[i].cell:
            k += 1
        if member[i].steps != <PyObject *> None:
            steps = <Array> member[i].steps
            call.count = 0
            if kernel_facts[row].first_update == 1:
                put(&call, <Array> member[i].cell)
            put_at(&call, steps, steps.data + counted * member[i].index * sizeof(double))
            call.args.n[0] = k
            launch(&call, row, MGX_F64)
        i += k
    return 0


cdef void read_sizes(int row, Py_ssize_t *needed, Py_ssize_t *counted) noexcept:
    """How many numbers the row reads from the cell, its operand 1, and of what is counted, operand 2."""
    cdef mgx_measure to
    cdef mgx_args args
    args.n[0] = 0
    args.p[1] = args.p[2] = <char *> &args
    kernel_rows[row].measure(&args, &to)
    needed[0], counted[0] = to.elements[1], to.elements[2]
