"""Optimizer updates: a row of csrc/kernels.def over all parameters of some groups.

Which optimizer it is, only the row knows: it reads the gradient, the options of the group (`cell`) and perhaps how many
steps this one makes it (`step`), and updates the parameter and its state.
"""
from cpython.exc cimport PyErr_CheckSignals
from cpython.object cimport PyObject
from libc.stdlib cimport free, malloc

from microgradx._core.array cimport Array, check_writable, node_of, dtype_of, empty_like, same_shape, shape_of
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
        raise ShapeError(f"{op}: {dtype_of(other.dtype_)} of shape {shape_of(other)} beside a parameter of "
                         f"{dtype_of(w.dtype_)} and shape {shape_of(w)}; all are floats of one shape, in order in "
                         "memory")
    return 0


cdef struct Member:             # a parameter that has a gradient: its number in its group, and whose steps count
    Py_ssize_t index
    PyObject *cell
    PyObject *steps


def update(str op, list groups not None, str counter="count_steps"):
    """One step of the optimizer whose row is called ``op``.

    ``groups`` holds (cell, steps, rows): the options as float64 numbers; for each parameter the steps so far, and what
    else the row ``counter`` counts, or None if these options need none of it; and for each parameter (w, *state), None
    for what the options do not need. A parameter without gradient is passed over. All is checked before anything is
    written, and a step that has begun is completed: what a signal raises comes before it or after it, and a note says
    which.
    """
    cdef int row = kernel_row(op), k
    cdef KernelFacts *facts = &kernel_facts[row]
    cdef bint counts = facts.first_update == 3
    cdef int state = facts.count - facts.first_update
    cdef Call call
    cdef Py_ssize_t i, count = 0, room = 0, needed = operand_size(row, 1), counted = operand_size(row, 2)
    cdef int counting = kernel_row(counter)
    cdef tuple parts
    cdef list rows, live = [], gradients = []
    cdef Array w, g, a, cell, steps, _steps
    cdef Member *member
    cdef bint capturing = is_capturing()
    for cell, _steps, rows in groups:
        if cell is None or rows is None:
            raise TypeError(f"{op}: None in place of an array")
        room += len(rows)
    member = <Member *> malloc((room + 1) * sizeof(Member))
    if member == NULL:
        raise MemoryError(f"{op}: no memory for {room} parameters")
    try:
        for cell, steps, rows in groups:
            for i in range(min(<Py_ssize_t> len(rows), room - count)):
                parts = rows[i]
                w = None if parts is None else parts[0]
                if w is None:
                    raise TypeError(f"{op}: None in place of an array")
                if capturing:
                    note_gradient(node_of(w), True)
                if w.node is None or w.node.grad is None:
                    continue
                g = w.node.grad
                if not g.contiguous:
                    a = empty_like(g)
                    copy(g, a)
                    g = a
                live.append(parts)
                gradients.append(g)
                member[count] = Member(i, <PyObject *> cell, <PyObject *> steps)
                count += 1
        cell = steps = _steps = None
        for i in range(count):                          # from here to the last launch no Python code runs
            if i == 0 or member[i].cell != member[i - 1].cell:
                cell, steps = <Array> member[i].cell, <Array> member[i].steps
                if cell.dtype_ != MGX_F64 or not cell.contiguous or cell.size < needed:
                    raise TypeError(f"{op}: the options are {needed} float64 numbers, not {cell.size} of "
                                    f"{dtype_of(cell.dtype_)}")
            if steps is not None and (steps.dtype_ != MGX_F64 or not steps.contiguous
                                      or steps.size < counted * (member[i].index + 1)):
                raise TypeError(f"{op}: the steps are {counted} float64 numbers for each parameter")
            parts = <tuple> live[i]
            w, g = <Array> parts[0], <Array> gradients[i]
            if w.storage.readonly or not is_alike(w, g):
                check_alike(op, w, w, True)
                check_alike(op, w, g, False)
            for k in range(1, <int> min(len(parts), state)):
                a = parts[k]
                if a is not None and (a.storage.readonly or not is_alike(w, a)):
                    check_alike(op, w, a, True)
        handle_signals(op, False)
        count_steps(member, count, counting, counted)
        for i in range(count):
            parts = <tuple> live[i]
            w = <Array> parts[0]
            call.count = 0
            put(&call, <Array> gradients[i])
            put(&call, <Array> member[i].cell)
            if counts:
                steps = <Array> member[i].steps
                if steps is None:
                    put(&call, None)
                else:
                    put_at(&call, steps, steps.data + counted * member[i].index * sizeof(double))
            for k in range(state):
                put(&call, <Array> parts[k] if k < len(parts) else None)
            call.args.n[0] = w.size
            launch(&call, row, w.dtype_)
        handle_signals(op, True)
    finally:
        free(member)


cdef int handle_signals(str op, bint made) except -1:
    try:
        PyErr_CheckSignals()
    except BaseException as error:
        error.add_note(f"{op}: the step {'has' if made else 'has not'} been made")
        raise
    return 0


cdef int count_steps(Member *member, Py_ssize_t count, int row, Py_ssize_t counted) except -1:
    """Neighbours in a group, which have ``counted`` numbers each, count their step in one launch."""
    cdef Call call
    cdef Array steps
    cdef Py_ssize_t i = 0, k
    while i < count:
        k = 1
        while i + k < count and member[i + k].index == member[i].index + k and member[i + k].cell == member[i].cell:
            k += 1
        steps = <Array> member[i].steps
        if steps is not None:
            call.count = 0
            if kernel_facts[row].first_update == 1:
                put(&call, <Array> member[i].cell)
            put_at(&call, steps, steps.data + counted * member[i].index * sizeof(double))
            call.args.n[0] = k
            launch(&call, row, MGX_F64)
        i += k
    return 0


cdef Py_ssize_t operand_size(int row, int operand) noexcept:
    """How many numbers the row reads from the cell, its operand 1, and of what is counted, operand 2."""
    cdef mgx_measure to
    cdef mgx_args args
    args.n[0] = 0
    args.p[operand] = <char *> &args
    kernel_rows[row].measure(&args, &to)
    return to.elements[operand]
