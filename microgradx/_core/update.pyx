"""Optimizer updates: a row of csrc/kernels.def over all parameters of some groups.

Which optimizer it is, only the row knows: it reads the gradient, the options of the group (`cell`) and perhaps how many
steps this one makes it (`step`), and updates the parameter and its state.
"""
from microgradx._core.array cimport Array, check_writable, dtype_of, empty_like, same_shape, shape_of
from microgradx._core.kernels cimport *
from microgradx._core.launch cimport Call, copy, launch, put, put_at

from microgradx._core.launch import composite
from microgradx.errors import ShapeError

cdef int COUNT_STEPS = kernel_row("count_steps")


@composite("count_steps")
def _count_steps_composite(step, **sizes):
    return step + 1


cdef int check_update(str op, Array w, Array other) except -1:
    if not (w.contiguous and other.contiguous and w.kind == other.kind and w.kind <= MGX_F64 and same_shape(w, other)):
        raise ShapeError(f"{op}: {dtype_of(other.kind)} of shape {shape_of(other)} beside a parameter of "
                         f"{dtype_of(w.kind)} and shape {shape_of(w)}; all are floats of one shape, in order in "
                         "memory")
    return 0


def update(str op, list groups not None):
    """One step of the optimizer whose row is called ``op``.

    ``groups`` holds (cell, steps, rows): the options as float64 numbers; the steps so far of each parameter, or None if
    the row does not count them or these options do not need it; and for each parameter (w, *state), None for what the
    options do not need. A parameter without gradient is passed over. All is checked before anything is written.
    """
    cdef int row = kernel_row(op), k
    cdef KernelFacts *facts = &kernel_facts[row]
    cdef bint counts = facts.first_update == 3
    cdef Call call
    cdef Py_ssize_t i, first
    cdef tuple parts
    cdef list rows, live = []
    cdef Array w, g, a, cell, steps
    for cell, steps, rows in groups:
        if cell is None or rows is None:
            raise TypeError(f"{op}: None in place of an array")
        for i in range(len(rows)):
            parts = rows[i]
            w = None if parts is None else parts[0]
            if w is None:
                raise TypeError(f"{op}: None in place of an array")
            if w.node is None or w.node.grad is None:
                continue
            g = w.node.grad
            if not g.contiguous:
                a = empty_like(g)
                copy(g, a)
                g = a
            live.append((i, g, cell, steps, parts))
    for i, g, cell, steps, parts in live:           # from here to the last launch no Python code runs
        w = parts[0]
        if cell.kind != MGX_F64 or not cell.contiguous or cell.size < options_of(row):
            raise TypeError(f"{op}: the options are {options_of(row)} float64 numbers, not {cell.size} of "
                            f"{dtype_of(cell.kind)}")
        if steps is not None and (steps.kind != MGX_F64 or not steps.contiguous or steps.size <= i):
            raise TypeError(f"{op}: the steps are a float64 number for each parameter")
        check_writable(w, op)
        check_update(op, w, g)
        for k in range(1, len(parts)):
            a = parts[k]
            if a is not None:
                check_writable(a, op)
                check_update(op, w, a)
    i = 0
    while i < len(live):                            # a run of neighbours counts its step in one launch
        first, _, _, steps, _ = live[i]
        k = 1
        while i + k < len(live) and (<tuple> live[i + k])[0] == first + k and (<tuple> live[i + k])[3] is steps:
            k += 1
        if steps is not None:
            call.count = 0
            put_at(&call, steps, steps.data + first * sizeof(double))
            call.args.n[0] = k
            launch(&call, COUNT_STEPS, MGX_F64)
        i += k
    for i, g, cell, steps, parts in live:
        w = parts[0]
        call.count = 0
        put(&call, g)
        put(&call, cell)
        if counts:
            if steps is None:
                put(&call, None)
            else:
                put_at(&call, steps, steps.data + i * sizeof(double))
        for k in range(facts.count - facts.first_update):
            put(&call, <Array> parts[k] if k < len(parts) else None)
        call.args.n[0] = w.size
        launch(&call, row, w.kind)


cdef Py_ssize_t options_of(int row) noexcept:
    """How many numbers the row reads from the cell, its second operand."""
    cdef mgx_measure to
    cdef mgx_args args
    args.n[0] = 0
    args.p[1] = <char *> &args
    kernel_rows[row].measure(&args, &to)
    return to.elements[1]
