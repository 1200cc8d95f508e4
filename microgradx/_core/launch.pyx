"""The one door through which every kernel runs.

Eager execution runs a launch at once. Nothing writes an array beside these functions, so whatever can be run
can be written down. What has no C kernel is a host launch: a Python function over NumPy arrays.

The file is long because every kernel stands here once as a runner, which reads a step, and once as a door, which
makes the step of arrays.
"""
from cpython.object cimport PyObject
from cpython.pycapsule cimport PyCapsule_GetName, PyCapsule_GetPointer
from libc.limits cimport INT_MAX
from libc.stdint cimport int64_t
from libc.stdlib cimport free, malloc, realloc
from libc.string cimport memmove

from microgradx._core cimport array
from microgradx._core.array cimport (Array, Node, Storage, alias, check_writable, detached, dtype_code, dtype_of, empty,
                                     empty_like, from_object, itemsize, same_shape, shape_of, touch, unref, window)
from microgradx._core.graph cimport free_collector, here, hold_collector, watching
from microgradx._core.kernels cimport *
from microgradx._core.watch cimport blame, looked_for

import numpy as np

from microgradx.errors import CaptureError, ShapeError


cdef extern from *:
    """
    #if defined(_MSC_VER)
    static __declspec(thread) void *mgx_writing = 0;
    #else
    static __thread void *mgx_writing __attribute__((tls_model("initial-exec"))) = 0;
    #endif
    """
    void *mgx_writing


# ----- steps: what is run, and written down while a program is captured -------------------------------------------

cdef Tape *set_tape(Tape *tape) noexcept:
    """Steps of this thread are written down there from now on; NULL: nowhere. Returns what it was."""
    global mgx_writing
    cdef Tape *before = <Tape *> mgx_writing
    mgx_writing = tape
    return before


cdef Tape *current_tape() noexcept:
    return <Tape *> mgx_writing


cdef const char *CONSTANT = b"constant"


cdef void begin(Step *s, Runner run, const char *name, int dtype) noexcept:
    s.run, s.name, s.dtype = run, name, dtype
    s.slots, s.written, s.job, s.host, s.loop = 0, 0, NULL, NULL, NULL


cdef void reads_at(Step *s, Array a, char *data) noexcept:
    s.storage[s.slots], s.p[s.slots] = NULL, NULL
    if a is not None:
        s.storage[s.slots], s.p[s.slots] = a.storage, data
    s.slots += 1


cdef void reads(Step *s, Array a) noexcept:
    reads_at(s, a, NULL if a is None else a.data)


cdef void writes(Step *s, Array a) noexcept:
    s.written |= 1 << s.slots
    reads_at(s, a, a.data)


cdef Py_ssize_t launch(Step *s) except? -2:
    """Run it, count the writes, write it down. The first bad position that the kernel met, or -1."""
    cdef Py_ssize_t bad = s.run(s)
    cdef int k
    for k in range(s.slots):
        if s.written >> k & 1:
            s.storage[k].version += 1
    if mgx_writing != NULL and bad < 0:
        write_down(<Tape *> mgx_writing, s)
    return bad


cdef int write_down(Tape *tape, const Step *s) except -1:
    cdef void *larger
    cdef Step *own
    if tape.count == tape.room:
        larger = realloc(tape.step, (2 * tape.room + 64) * sizeof(Step *))
        if larger == NULL:
            raise MemoryError("compile: no memory for another launch")
        tape.step, tape.room = <Step **> larger, 2 * tape.room + 64
    own = <Step *> malloc(sizeof(Step))
    if own == NULL:
        raise MemoryError("compile: no memory for another launch")
    own[0] = s[0]
    tape.step[tape.count] = own
    tape.count += 1
    return 0


cdef int refuse() except -1:
    if mgx_writing != NULL:
        raise CaptureError("compile: the function reads numbers of a tensor (item, bool, float, numpy, an index made "
                           f"of numbers){written_at()}; a captured program would freeze them. Keep the decision in "
                           "tensors (where, maximum), or read the result after the call")
    return 0


array.refuse_reading = refuse


cdef int refuse_rebinding() except -1:
    if mgx_writing != NULL:
        raise CaptureError(f"compile: the function assigns .data{written_at()}; a captured program keeps the storages "
                           "that it met. Write into the tensor: w.copy_(value)")
    return 0


cdef Py_ssize_t rebindings = 0


cdef int note_rebinding(Array a) noexcept:
    """``a`` gets another storage, or its part in graphs changes: programs that name it are captured anew."""
    global rebindings
    rebindings += a.storage.held


def exchanged(Array a=None):
    """Something that a program may have met is exchanged; it matters only if ``a``, if told, is among its tensors."""
    global rebindings
    rebindings += 1 if a is None else a.storage.held


def capturing():
    """Is this thread writing down its launches? Then nothing may be decided by numbers."""
    return mgx_writing != NULL


cdef str written_at():
    """The line of the caller's code, for messages."""
    code, last = here()
    line = next((n for start, stop, n in code.co_lines() if start <= last < stop), code.co_firstlineno)
    return f" at {code.co_filename}:{line}"


cdef int note_grad(Node node) except -1:
    """A leaf's gradient is about to change: a captured program remembers what it was."""
    if mgx_writing != NULL:
        (<dict> (<Tape *> mgx_writing).leaves).setdefault(node, node.grad)
    return 0


# ----- elementwise -------------------------------------------------------------------------------------------

cdef int elementwise(mgx_loop loop, int dtype, int nin, int nout, Operand *operand,
                     int ndim, const Py_ssize_t *shape) except -1:
    """Run ``loop`` over operands broadcast to ``shape``; inputs first, then outputs of exactly that shape."""
    cdef char *p[MGX_MAXARGS]
    cdef PyObject *a = operand[nin].array
    cdef Storage *written = (<Array> a).storage
    cdef Py_ssize_t size = (<Array> a).size
    cdef int k, numbers = 0
    cdef bint lies = False, spoilt = watching and overwrites_unsound(nin, operand)
    for k in range(nin + nout):                     # the common case: the loop reads all operands as they lie
        if operand[k].form == ARRAY:
            a = operand[k].array
            if (<Array> a).size != size or (<Array> a).kind != dtype or not (<Array> a).contiguous:
                break
            p[k] = (<Array> a).data
        elif operand[k].form == BYTES:
            p[k] = operand[k].data
        elif operand[k].form == ABSENT:
            p[k] = p[0]
        else:
            numbers |= 1 << k
    else:
        lies = numbers == 0 or size <= FEW
    if not lies:
        strided(loop, dtype, nin, nout, operand, ndim, shape)
    elif numbers:
        with_numbers(loop, dtype, numbers, operand, size, p)
    else:
        loop_over(loop, size, dtype, nin + nout, p)
    written.version += 1
    if mgx_writing != NULL:
        write_elementwise(loop, dtype, nin, nout, operand, ndim, shape, lies)
    if watching and not spoilt:
        examine(loop, dtype, nin, operand)
    return 0


cdef Py_ssize_t run_loop(Step *s) noexcept nogil:
    loop_over(s.loop, s.n[0], s.dtype, s.slots, s.p)
    return -1


cdef Py_ssize_t run_tiles(Step *s) noexcept nogil:
    execute(s.job, s.p)
    return -1


cdef int write_elementwise(mgx_loop loop, int dtype, int nin, int nout, Operand *operand,
                           int ndim, const Py_ssize_t *shape, bint lies) except -1:
    """As a step. A number beside few elements is spread out once and for all. A launch is laid out only, so that it
    may be fused with others before it is prepared."""
    cdef Step s
    cdef Array out = <Array> operand[nin].array, numbers
    cdef Tape *tape = <Tape *> mgx_writing
    cdef int k
    begin(&s, run_loop if lies else run_tiles, loop_name(loop, dtype), dtype)
    s.loop, s.n[0] = loop, out.size
    for k in range(nin + nout):
        if k >= nin:
            s.written |= 1 << k
        s.storage[k], s.p[k] = NULL, NULL
        if operand[k].form == ARRAY:
            s.storage[k], s.p[k] = (<Array> operand[k].array).storage, (<Array> operand[k].array).data
        elif operand[k].form == BYTES:
            s.storage[k], s.p[k] = operand[k].storage, operand[k].data
        elif operand[k].form == NUMBER and lies:
            set_tape(NULL)
            try:
                numbers = empty(dtype, 1, &s.n[0])
                fill(numbers, operand[k].number)
            finally:
                set_tape(tape)
            (<list> tape.constants).append(numbers)
            s.storage[k], s.p[k] = numbers.storage, numbers.data
        elif lies:                                  # what the loop does not read
            s.storage[k], s.p[k] = s.storage[0], s.p[0]
    s.slots = nin + nout
    if not lies:
        s.job = <mgx_launch *> malloc(sizeof(mgx_launch))
        if s.job == NULL:
            raise MemoryError("compile: no memory for another launch")
        lay_out(s.job, s.p, loop, dtype, nin, nout, operand, ndim, shape)
    return write_down(tape, &s)


cdef const char *loop_name(mgx_loop loop, int dtype) noexcept:
    """The name of the row that a loop belongs to."""
    cdef int op, i
    cdef const mgx_loops *row
    for op in range(MGX_NROWS):
        row = &kernels.rows[dtype][op]
        if row.forward == loop or row.forward_d == loop:
            return rows[op].name
        for i in range(facts[op].arity):
            if row.vjp[i] == loop:
                return rows[op].name
    return b"elementwise"


cdef enum: FEW = 64             # a number beside so few elements is spread out at once

cdef void with_numbers(mgx_loop loop, int dtype, int numbers, Operand *operand, Py_ssize_t size, char **p) noexcept:
    cdef double spread[MGX_MAXARGS][FEW]
    cdef int k
    cdef Py_ssize_t i
    for k in range(MGX_MAXARGS):
        if not numbers & 1 << k:
            continue
        p[k] = <char *> spread[k]
        if dtype == MGX_F32:
            for i in range(size):
                (<float *> p[k])[i] = <float> operand[k].number
        else:
            for i in range(size):
                (<double *> p[k])[i] = operand[k].number
    loop(size, p)


cdef int strided(mgx_loop loop, int dtype, int nin, int nout, Operand *operand,
                 int ndim, const Py_ssize_t *shape) except -1:
    """Any layout, any dtype, any broadcast: through the tiles of csrc/launch.c."""
    cdef mgx_launch job
    cdef char *data[MGX_MAXARGS]
    lay_out(&job, data, loop, dtype, nin, nout, operand, ndim, shape)
    prepare(&job)
    execute(&job, data)
    return 0


cdef int lay_out(mgx_launch *job, char **data, mgx_loop loop, int dtype, int nin, int nout, Operand *operand,
                 int ndim, const Py_ssize_t *shape) except -1:
    """A launch of one loop. A number lies in the launch itself."""
    cdef mgx_operand *to
    cdef Array a
    cdef Py_ssize_t step
    cdef int k, d, skip
    job.dtype, job.nin, job.nout, job.ndim, job.count, job.places = dtype, nin, nout, ndim, 1, nin + nout
    job.op[0].loop, job.op[0].streak, job.op[0].result = loop, 0, 0
    for d in range(ndim):
        job.shape[d] = shape[d]
    for k in range(MGX_MAXARGS):
        job.op[0].arg[k] = k if k < nin + nout else 0
    for k in range(nin + nout):
        to = &job.operand[k]
        to.absent = operand[k].form == ABSENT
        if operand[k].form == ARRAY:
            a = <Array> operand[k].array
            data[k], to.dtype = a.data, a.kind
            skip = ndim - a.ndim
            for d in range(ndim):
                to.strides[d] = 0 if d < skip or a.dims[d - skip] == 1 else a.steps[d - skip]
        elif operand[k].form == BYTES:
            data[k], to.dtype, step = operand[k].data, dtype, itemsize[dtype]
            for d in range(ndim - 1, -1, -1):
                to.strides[d] = step
                step *= shape[d]
        else:
            to.number = operand[k].number
            data[k], to.dtype = <char *> &to.number, MGX_F64
            for d in range(ndim):
                to.strides[d] = 0
    return 0


cdef Py_ssize_t run_move(Step *s) noexcept nogil:
    memmove(s.p[1], s.p[0], s.n[0])
    return -1


def _cast(out, x):
    np.copyto(out, x, casting="unsafe")


cdef int copy(Array source, Array out) except -1:
    """out = source, broadcast and converted."""
    cdef Operand operand[2]
    cdef Step s
    if source.kind == out.kind > MGX_F64 and source.contiguous and out.contiguous and source.size == out.size:
        begin(&s, run_move, b"copy", out.kind)
        s.n[0] = out.size * itemsize[out.kind]
        reads(&s, source)
        writes(&s, out)
        launch(&s)
        return 0
    if out.kind > MGX_F64:
        return host(_cast, (out,), (source,))
    put_array(&operand[0], source)
    put_array(&operand[1], out)
    return elementwise(kernels.rows[out.kind][MGX_clone].forward, out.kind, 1, 1, operand, out.ndim, out.dims)


cdef int fill(Array out, double number) except -1:
    """out = number."""
    cdef Operand operand[2]
    if out.kind > MGX_F64:
        return host(np.ndarray.fill, (out,), (int(number),))
    put_number(&operand[0], number)
    put_array(&operand[1], out)
    return elementwise(kernels.rows[out.kind][MGX_clone].forward, out.kind, 1, 1, operand, out.ndim, out.dims)


# ----- structured: a runner reads its operands from the step, so that it can run again ------------------------------

cdef Py_ssize_t run_sum(Step *s) noexcept nogil:
    kernels.sum[s.dtype](s.n[0], s.n[1], s.n[2], &s.n[3], s.x[0], s.p[0], s.p[1])
    return -1

cdef Py_ssize_t run_max(Step *s) noexcept nogil:
    kernels.max[s.dtype](s.n[0], s.n[1], s.n[2], &s.n[3], s.x[0], s.p[0], s.p[1])
    return -1

cdef int reduce(Runner run, const char *name, Array x, Py_ssize_t outer, Py_ssize_t n, Py_ssize_t inner,
                const Py_ssize_t *strides, double factor, Array out) except -1:
    cdef Step s
    begin(&s, run, name, x.kind)
    s.n[0], s.n[1], s.n[2], s.n[3], s.n[4], s.n[5] = outer, n, inner, strides[0], strides[1], strides[2]
    s.x[0] = factor
    reads(&s, x)
    writes(&s, out)
    launch(&s)
    if watching and not sound(out) and sound(x):
        blame(name.decode(), out, (x,), None)
    return 0


cdef int reduce_sum(Array x, Py_ssize_t outer, Py_ssize_t n, Py_ssize_t inner, const Py_ssize_t *strides,
                    double scale, Array out) except -1:
    return reduce(run_sum, b"sum", x, outer, n, inner, strides, scale, out)


cdef int reduce_max(Array x, Py_ssize_t outer, Py_ssize_t n, Py_ssize_t inner, const Py_ssize_t *strides,
                    double sign, Array out) except -1:
    return reduce(run_max, b"amax", x, outer, n, inner, strides, sign, out)


cdef Py_ssize_t run_softmax(Step *s) noexcept nogil:
    kernels.softmax[s.dtype](s.n[0], s.n[1], <int> s.n[2], s.p[0], s.p[1])
    return -1

cdef int softmax(Array x, Py_ssize_t m, Py_ssize_t n, bint logarithm, Array out) except -1:
    cdef Step s
    begin(&s, run_softmax, b"log_softmax" if logarithm else b"softmax", x.kind)
    s.n[0], s.n[1], s.n[2] = m, n, logarithm
    reads(&s, x)
    writes(&s, out)
    launch(&s)
    return check_sound(out, "log_softmax" if logarithm else "softmax", x)


cdef Py_ssize_t run_softmax_vjp(Step *s) noexcept nogil:
    kernels.softmax_vjp[s.dtype](s.n[0], s.n[1], <int> s.n[2], s.p[0], s.p[1], s.p[2])
    return -1

cdef int softmax_vjp(Array g, Array y, bint logarithm, Array dx) except -1:
    cdef Step s
    cdef Py_ssize_t n = y.dims[y.ndim - 1]
    begin(&s, run_softmax_vjp, b"softmax_vjp", y.kind)
    s.n[0], s.n[1], s.n[2] = y.size // n, n, logarithm
    reads(&s, g)
    reads(&s, y)
    writes(&s, dx)
    launch(&s)
    return check_sound(dx, "softmax", g, y)


cdef Py_ssize_t run_add_rows(Step *s) noexcept nogil:
    return kernels.add_rows[s.dtype](s.n[0], s.n[1], s.n[2], <int64_t *> s.p[0], s.p[1], s.p[2])

cdef Py_ssize_t add_rows(Array x, Array at, Array out) except? -2:
    """The first bad position of ``at``, or -1."""
    cdef Step s
    cdef Py_ssize_t bad
    cdef bint spoilt = watching and not sound(out)
    begin(&s, run_add_rows, b"add_rows", x.kind)
    s.n[0], s.n[1], s.n[2] = at.size, out.size // out.dims[0], out.dims[0]
    reads(&s, at)
    reads(&s, x)
    writes(&s, out)
    bad = launch(&s)
    check_sound(out, "index_add", x, None, spoilt)
    return bad


cdef Py_ssize_t run_cross_entropy(Step *s) noexcept nogil:
    return kernels.cross_entropy[s.dtype](s.n[0], s.n[1], s.x[0], s.p[0], <int64_t *> s.p[1], s.p[2], s.p[3])

cdef Py_ssize_t cross_entropy(Array x, Array label, double scale, Array loss, Array p) except? -2:
    """The first row whose label is out of range, or -1."""
    cdef Step s
    cdef Py_ssize_t bad
    begin(&s, run_cross_entropy, b"cross_entropy", x.kind)
    s.n[0], s.n[1], s.x[0] = x.dims[0], x.dims[1], scale
    reads(&s, x)
    reads(&s, label)
    writes(&s, loss)
    writes(&s, p)
    bad = launch(&s)
    if bad < 0:
        check_sound(loss, "cross_entropy", x)
    return bad


cdef Py_ssize_t run_cross_entropy_vjp(Step *s) noexcept nogil:
    kernels.cross_entropy_vjp[s.dtype](s.n[0], s.n[1], s.x[0], s.p[0], s.p[1], <int64_t *> s.p[2], s.p[3])
    return -1

cdef int cross_entropy_vjp(Array g, Array p, Array label, double scale, Array dx) except -1:
    cdef Step s
    begin(&s, run_cross_entropy_vjp, b"cross_entropy_vjp", p.kind)
    s.n[0], s.n[1], s.x[0] = p.dims[0], p.dims[1], scale
    reads(&s, g)
    reads(&s, p)
    reads(&s, label)
    writes(&s, dx)
    launch(&s)
    return check_sound(dx, "cross_entropy", g, p)


# ----- optimizers --------------------------------------------------------------------------------------------

cdef const char *NAMES[5]
NAMES[0], NAMES[1], NAMES[2], NAMES[3], NAMES[4] = b"sgd", b"rmsprop", b"adagrad", b"adam", b"adamw"
cdef tuple UPDATES = ("sgd", "rmsprop", "adagrad", "adam", "adamw")             # in the order of csrc/kernels.h


cdef int check_update(str op, Array w, Array other) except -1:
    if not (w.contiguous and other.contiguous and w.kind == other.kind and w.kind <= MGX_F64 and same_shape(w, other)):
        raise ShapeError(f"{op}: {dtype_of(other.kind)} of shape {shape_of(other)} beside a parameter of "
                         f"{dtype_of(w.kind)} and shape {shape_of(w)}; all are floats of one shape, in order in "
                         "memory")
    return 0


cdef enum: OPTIONS = 5           # numbers in a cell


def update(str op, list groups not None):
    """One step of the optimizer ``op``, all parameters of a group in one launch.

    ``groups`` holds (cell, rows): the options as float64 numbers, and for each parameter (w, step, *state), None for
    what the options do not need. A parameter without gradient is passed over. All is checked before anything is
    written.
    """
    cdef int code = UPDATES.index(op), k
    cdef Py_ssize_t i, start = 0, count = 0
    cdef tuple row
    cdef list rows, live = [], gradients = [], cells = []
    cdef Array w, g, a, cell
    cdef mgx_part *part
    cdef mgx_part *p = NULL
    cdef char *doubtful
    for cell, rows in groups:
        if rows is None:
            raise TypeError(f"{op}: None in place of parameters")
        for row in rows:
            w = None if row is None else row[0]
            if w is None or cell is None or len(row) < 2:
                raise TypeError(f"{op}: None in place of an array")
            if w.node is None or w.node.grad is None:
                continue
            g = w.node.grad
            if not g.contiguous:
                a = empty_like(g)
                copy(g, a)
                g = a
            if cell.kind != MGX_F64 or not cell.contiguous or cell.size < OPTIONS:
                raise TypeError(f"{op}: the options are {OPTIONS} float64 numbers, not {cell.size} of "
                                f"{dtype_of(cell.kind)}")
            live.append(row)
            gradients.append(g)
            cells.append(cell)
    count = len(live)
    part = <mgx_part *> malloc((count + 1) * (sizeof(mgx_part) + 1))
    if part == NULL:
        raise MemoryError(f"{op}: no memory for {count} parameters")
    doubtful = <char *> (part + count + 1)
    try:
        for i in range(count):                  # from here to the launches no Python code runs
            row, g = live[i], gradients[i]
            w = row[0]
            check_writable(w, op)
            check_update(op, w, g)
            p = &part[i]
            p.n, p.g, p.w, p.step = w.size, g.data, w.data, NULL
            a = row[1]
            if a is not None:
                if a.kind != MGX_F64 or a.size != 1:
                    raise TypeError(f"{op}: the number of steps is a float64 number")
                check_writable(a, op)
                p.step = <double *> a.data
            for k in range(3):
                p.state[k] = NULL
                a = row[k + 2] if k + 2 < len(row) else None
                if a is not None:
                    check_writable(a, op)
                    check_update(op, w, a)
                    p.state[k] = a.data
            doubtful[i] = watching and may_spoil(op, row, g)
        for i in range(count):                  # a launch runs as far as cell and dtype stay the same
            w = (<tuple> live[i])[0]
            if i + 1 == count or cells[i + 1] is not cells[i] or (<Array> (<tuple> live[i + 1])[0]).kind != w.kind:
                kernels.update[code][w.kind](i + 1 - start, part + start, <double *> (<Array> cells[i]).data)
                start = i + 1
        for row in live:
            for a in row:
                if a is not None:
                    touch(a)
        for i in range(count if mgx_writing != NULL else 0):
            write_update(code, live[i], gradients[i], cells[i])
        for i in range(count):
            if doubtful[i]:
                w, g = (<tuple> live[i])[0], gradients[i]
                if not sound(w) and sound(g):
                    blame(op, w, (g,), None)
    finally:
        free(part)


cdef Py_ssize_t run_update(Step *s) noexcept nogil:
    cdef mgx_part part
    cdef int k
    part.n, part.g, part.w, part.step = s.n[1], s.p[0], s.p[2], <double *> s.p[3]
    for k in range(3):
        part.state[k] = s.p[4 + k]
    kernels.update[s.n[0]][s.dtype](1, &part, <double *> s.p[1])
    return -1


cdef int write_update(int code, tuple row, Array g, Array cell) except -1:
    """One parameter as a step: gradient, options; parameter, number of steps, state."""
    cdef Step s
    cdef Array w = row[0], a
    cdef int k
    begin(&s, run_update, NAMES[code], w.kind)
    s.n[0], s.n[1] = code, w.size
    reads(&s, g)
    reads(&s, cell)
    for k in range(5):
        a = row[k] if k < len(row) else None
        if a is None:
            reads(&s, None)
        else:
            writes(&s, a)
    return write_down(<Tape *> mgx_writing, &s)


cdef bint may_spoil(str op, tuple row, Array g) except -1:
    """Is detect_nan to look at an update afterwards? Of finite numbers sgd, which does not divide, makes no nan."""
    cdef bint calm = watching == 1 and op == "sgd" and finite(g)
    cdef Py_ssize_t k
    for k in range(2, len(row)):
        calm = calm and finite(<Array> row[k])
    return not calm and sound(<Array> row[0])


# ----- matrix products ---------------------------------------------------------------------------------------

ctypedef void (*Sgemm)(char *, char *, int *, int *, int *, float *, float *, int *, float *, int *,
                       float *, float *, int *) noexcept nogil
ctypedef void (*Dgemm)(char *, char *, int *, int *, int *, double *, double *, int *, double *, int *,
                       double *, double *, int *) noexcept nogil
cdef Sgemm sgemm = NULL
cdef Dgemm dgemm = NULL


cdef int import_blas() except -1:
    """SciPy's BLAS, imported at the first product that needs it: the import costs more than a small program runs."""
    global sgemm, dgemm
    from scipy.linalg import cython_blas
    cdef object s = cython_blas.__pyx_capi__["sgemm"], d = cython_blas.__pyx_capi__["dgemm"]
    sgemm = <Sgemm> PyCapsule_GetPointer(s, PyCapsule_GetName(s))
    dgemm = <Dgemm> PyCapsule_GetPointer(d, PyCapsule_GetName(d))
    return 0


cdef Py_ssize_t run_gemm(Step *s) noexcept nogil:
    """csrc/gemm.inl does it, or says that the sizes are for BLAS.

    BLAS is column-major and so sees every matrix transposed: it is asked for c^T = op(b)^T op(a)^T.
    """
    cdef bint ta = s.n[0] != 0, tb = s.n[1] != 0
    cdef Py_ssize_t m = s.n[2], n = s.n[3], k = s.n[4], lda = s.n[5], ldb = s.n[6], ldc = s.n[7]
    cdef int M = <int> n, N = <int> m, K = <int> k, LDA = <int> ldb, LDB = <int> lda, LDC = <int> ldc
    cdef char *TA = b"T" if tb else b"N"
    cdef char *TB = b"T" if ta else b"N"
    cdef float alpha = <float> s.x[0], beta = <float> s.x[1]
    if kernels.gemm[s.dtype](m, n, k, s.x[0], s.p[0], 1 if ta else lda, lda if ta else 1,
                             s.p[1], 1 if tb else ldb, ldb if tb else 1, s.x[1], s.p[2], ldc):
        return -1
    if sgemm == NULL:
        return 0                                    # not imported yet
    if s.dtype == MGX_F32:
        sgemm(TA, TB, &M, &N, &K, &alpha, <float *> s.p[1], &LDA, <float *> s.p[0], &LDB,
              &beta, <float *> s.p[2], &LDC)
    else:
        dgemm(TA, TB, &M, &N, &K, &s.x[0], <double *> s.p[1], &LDA, <double *> s.p[0], &LDB,
              &s.x[1], <double *> s.p[2], &LDC)
    return -1


cdef int gemm(bint ta, bint tb, Py_ssize_t m, Py_ssize_t n, Py_ssize_t k, double alpha,
              Array a, char *a_data, Py_ssize_t lda, Array b, char *b_data, Py_ssize_t ldb,
              double beta, Array c, char *c_data, Py_ssize_t ldc) except -1:
    """c (m, n) = alpha * op(a) op(b) + beta * c, row-major; op transposes where the flag says so."""
    cdef Step s
    cdef Py_ssize_t shape[2]
    cdef Py_ssize_t strides[2]
    cdef Array part = None
    cdef int d
    if max(m, n, k, lda, ldb, ldc) > INT_MAX:
        raise ShapeError(f"matmul: ({m}, {k}) @ ({k}, {n}) is beyond the sizes of BLAS (2^31 - 1)")
    if watching:
        shape[0], shape[1], strides[0], strides[1] = m, n, ldc * itemsize[c.kind], itemsize[c.kind]
        part = c if m * n == c.size else alias(c, c_data, c.kind, 2, shape, strides)
    begin(&s, run_gemm, b"gemm", c.kind)
    s.n[0], s.n[1], s.n[2], s.n[3], s.n[4], s.n[5], s.n[6], s.n[7] = ta, tb, m, n, k, lda, ldb, ldc
    s.x[0], s.x[1] = alpha, beta
    reads_at(&s, a, a_data)
    reads_at(&s, b, b_data)
    writes(&s, c)
    s.p[2] = c_data
    if launch(&s) >= 0:
        for d in range(3):                      # an import runs Python code, which may give the operands other data
            s.storage[d].refs += 1
        try:
            import_blas()
            launch(&s)
        finally:
            for d in range(3):
                unref(s.storage[d])
    return check_sound(part, "matmul", a, b) if watching else 0


# ----- windows and rows --------------------------------------------------------------------------------------

cdef Py_ssize_t run_columns(Step *s) noexcept nogil:
    kernels.columns[s.dtype](&s.windows, s.n[0], s.p[0], s.p[1])
    return -1

cdef int columns(const mgx_windows *v, Py_ssize_t planes, Array x, char *x_data, Array cols) except -1:
    cdef Step s
    begin(&s, run_columns, b"columns", x.kind)
    s.windows, s.n[0] = v[0], planes
    reads_at(&s, x, x_data)
    writes(&s, cols)
    launch(&s)
    return 0


cdef Py_ssize_t run_uncolumns(Step *s) noexcept nogil:
    kernels.uncolumns[s.dtype](&s.windows, s.n[0], s.n[1], s.p[0], s.p[1])
    return -1

cdef int uncolumns(const mgx_windows *v, Py_ssize_t planes, Py_ssize_t spread, Array cols,
                   Array x, char *x_data) except -1:
    cdef Step s
    begin(&s, run_uncolumns, b"uncolumns", x.kind)
    s.windows, s.n[0], s.n[1] = v[0], planes, spread
    reads(&s, cols)
    writes(&s, x)
    s.p[1] = x_data
    launch(&s)
    return 0


cdef Py_ssize_t run_pool_sum(Step *s) noexcept nogil:
    kernels.pool_sum[s.dtype](&s.windows, s.n[0], s.p[0], s.p[1])
    return -1

cdef int pool_sum(const mgx_windows *v, Py_ssize_t planes, Array x, Array out) except -1:
    cdef Step s
    begin(&s, run_pool_sum, b"pool_sum", x.kind)
    s.windows, s.n[0] = v[0], planes
    reads(&s, x)
    writes(&s, out)
    launch(&s)
    return check_sound(out, "avg_pool", x)


cdef Py_ssize_t run_pool_max(Step *s) noexcept nogil:
    return kernels.pool_max[s.dtype](&s.windows, s.n[0], s.p[0], s.p[1], <int64_t *> s.p[2])

cdef Py_ssize_t pool_max(const mgx_windows *v, Py_ssize_t planes, Array x, Array out, Array at) except? -2:
    """The first window that holds nothing but padding, or -1."""
    cdef Step s
    cdef Py_ssize_t bad
    begin(&s, run_pool_max, b"pool_max", x.kind)
    s.windows, s.n[0] = v[0], planes
    reads(&s, x)
    writes(&s, out)
    writes(&s, at)
    bad = launch(&s)
    check_sound(out, "max_pool", x)
    return bad


cdef Py_ssize_t run_unpool(Step *s) noexcept nogil:
    kernels.unpool[s.dtype](s.n[0], s.n[1], s.n[2], s.p[0], <int64_t *> s.p[1], s.p[2])
    return -1

cdef int unpool(Py_ssize_t planes, Py_ssize_t plane, Py_ssize_t n, Array g, Array at, Array x) except -1:
    cdef Step s
    begin(&s, run_unpool, b"unpool", x.kind)
    s.n[0], s.n[1], s.n[2] = planes, plane, n
    reads(&s, g)
    reads(&s, at)
    writes(&s, x)
    launch(&s)
    return check_sound(x, "unpool", g)


cdef Py_ssize_t run_norm(Step *s) noexcept nogil:
    kernels.norm[s.dtype](s.n[0], s.n[1], <int> s.n[2], s.x[0], s.p[0], s.p[1], s.p[2], s.p[3], s.p[4])
    return -1

cdef int norm(Py_ssize_t m, Py_ssize_t n, bint centred, double eps, Array x, Array w, Array b,
              Array out, Array stats) except -1:
    cdef Step s
    begin(&s, run_norm, b"norm", x.kind)
    s.n[0], s.n[1], s.n[2], s.x[0] = m, n, centred, eps
    reads(&s, x)
    reads(&s, w)
    reads(&s, b)
    writes(&s, out)
    writes(&s, stats)
    launch(&s)
    return check_sound(out, "norm", x, w, watching and not sound(b))


cdef Py_ssize_t run_norm_vjp(Step *s) noexcept nogil:
    kernels.norm_vjp[s.dtype](s.n[0], s.n[1], <int> s.n[2], s.p[0], s.p[1], s.p[2], s.p[3], s.p[4])
    return -1

cdef int norm_vjp(Py_ssize_t m, Py_ssize_t n, bint centred, Array g, Array x, Array w, Array stats, Array dx) except -1:
    cdef Step s
    begin(&s, run_norm_vjp, b"norm_vjp", x.kind)
    s.n[0], s.n[1], s.n[2] = m, n, centred
    reads(&s, g)
    reads(&s, x)
    reads(&s, w)
    reads(&s, stats)
    writes(&s, dx)
    launch(&s)
    return check_sound(dx, "norm", g, x)


cdef Py_ssize_t run_norm_weight_vjp(Step *s) noexcept nogil:
    kernels.norm_weight_vjp[s.dtype](s.n[0], s.n[1], s.p[0], s.p[1], s.p[2], s.p[3])
    return -1

cdef int norm_weight_vjp(Py_ssize_t m, Py_ssize_t n, Array g, Array x, Array stats, Array part) except -1:
    cdef Step s
    begin(&s, run_norm_weight_vjp, b"norm_weight_vjp", x.kind)
    s.n[0], s.n[1] = m, n
    reads(&s, g)
    reads(&s, x)
    reads(&s, stats)
    writes(&s, part)
    launch(&s)
    return check_sound(part, "norm", g, x)


# ----- host --------------------------------------------------------------------------------------------------

cdef int host(object function, tuple outs, tuple ins) except -1:
    """function(*outs, *ins) over NumPy arrays: outs writable, ins read-only; what is no array is passed as it is."""
    cdef Tape *tape = set_tape(NULL)                            # reading the operands is no leak of values
    cdef list written = [detached(<Array> o) for o in outs]     # whatever the function gives them for data
    cdef list spoilt = [(<Array> o).storage.version and not sound(<Array> o) for o in written] if watching else []
    try:
        with np.errstate(all="ignore"):                         # nan and inf flow without a word, as in kernels
            function(*[window(<Array> o) for o in written],
                     *[np.asarray(i) if isinstance(i, Array) else i for i in ins])
    finally:
        set_tape(tape)
    for o in written:
        touch(<Array> o)
    if tape != NULL:
        write_host(tape, function, outs, ins)
    if watching:
        examine_host(function, outs, ins, spoilt)
    return 0


cdef Array computed(object function, tuple ins):
    """The array ``function(*ins)`` over NumPy arrays, as a host launch; shape and dtype follow from the operands'."""
    cdef Tape *tape = set_tape(NULL)
    cdef Array out
    try:
        with np.errstate(all="ignore"):
            out = from_object(function(*[np.asarray(i) if isinstance(i, Array) else i for i in ins]), None, True)
    finally:
        set_tape(tape)
    if tape != NULL:
        def compute(out, *ins):
            out[...] = function(*ins)
        compute.__name__ = getattr(function, "__name__", "compute")
        write_host(tape, compute, (out,), ins)
    if watching:
        examine_host(function, (out,), ins, [False])
    return out


def compute(function, *ins):
    """``computed``, for Python."""
    return computed(function, ins)


cdef object snapshot(Storage *s):
    """What a storage holds: its bytes, or of somebody else's memory an array of the elements that are ours."""
    if s.owner != NULL:
        return np.array(<object> s.owner)
    return s.data[:s.nbytes]


cdef int put_back(Storage *s, object numbers) except -1:
    """Let a storage hold again what it did at its ``snapshot``."""
    cdef char *first = s.data
    if s.owner != NULL:
        np.copyto(<object> s.owner, numbers)
    else:
        memmove(first, <char *> <bytes> numbers, s.nbytes)
    return 0


def filled(function, tuple shape, object dtype):
    """A tensor whose numbers ``function(out)`` writes into an array: drawn anew at every replay of a program."""
    cdef Py_ssize_t lengths[MGX_MAXDIM]
    cdef int d
    cdef Array out
    if len(shape) > MGX_MAXDIM:
        raise ShapeError(f"an array has at most {MGX_MAXDIM} axes, not {len(shape)}")
    for d in range(len(shape)):
        lengths[d] = shape[d]
    out = empty(dtype_code(dtype), len(shape), lengths)
    host(function, (out,), ())
    return out


cdef int frozen(Array a) except -1:
    """``a`` was just made of numbers that no launch wrote: a program writes them anew from a copy."""
    cdef Step s
    cdef Array constant
    if mgx_writing == NULL:
        return 0
    constant = empty(a.kind, a.ndim, a.dims)
    begin(&s, run_move, CONSTANT, a.kind)
    s.n[0] = a.size * itemsize[a.kind]
    reads(&s, a)
    writes(&s, constant)
    s.run(&s)                                       # the copy, now
    s.slots = s.written = 0
    reads(&s, constant)
    writes(&s, a)
    (<list> (<Tape *> mgx_writing).constants).append((constant, written_at()))
    return write_down(<Tape *> mgx_writing, &s)


array.freeze = frozen


cdef int write_host(Tape *tape, object function, tuple outs, tuple ins) except -1:
    cdef Step s
    cdef tuple call = (function, outs, ins)
    begin(&s, NULL, b"host", 0)
    (<list> tape.hosts).append(call)
    s.host = <PyObject *> call
    return write_down(tape, &s)


# ----- detect_nan: is what was written sound? -----------------------------------------------------------------

cdef bint finite(Array a) noexcept:
    """Is nothing in a float array inf or nan? What only it holds is read once for each version, and what was broadcast
    once; False for other layouts."""
    cdef Storage *s
    cdef Py_ssize_t n = 1
    cdef int d
    if a is None or a.size == 0:
        return True
    s = a.storage
    if s.sound == s.version + 1:
        return True
    if a.contiguous:
        n = a.size
    else:
        for d in range(a.ndim - 1, -1, -1):
            if a.steps[d] and a.dims[d] > 1:
                if a.steps[d] != n * itemsize[a.kind]:
                    return False
                n *= a.dims[d]
    if not kernels.finite[a.kind](n, a.data):
        return False
    if a.contiguous and s.refs == 1 and s.size_class >= 0:      # whoever sees these bytes later sees them through `a`
        s.sound = s.version + 1
    return True


cdef bint sound(Array a) except -1:
    """Is there nothing in ``a`` that detect_nan looks for? No Python code runs meanwhile."""
    cdef Py_ssize_t place[MGX_MAXDIM]
    cdef char *p
    cdef int d
    cdef double x
    if a is None or a.kind > MGX_F64 or finite(a):
        return True
    if watching == 2 and a.contiguous:
        return False
    for d in range(a.ndim):
        place[d] = 0
    p = a.data
    while True:                                                 # element by element
        x = (<float *> p)[0] if a.kind == MGX_F32 else (<double *> p)[0]
        if x != x or watching == 2 and x - x != 0:
            return False
        d = a.ndim - 1
        while d >= 0:
            place[d] += 1
            p += a.steps[d]
            if place[d] < a.dims[d] and a.steps[d]:             # of what was broadcast one is enough
                break
            p -= place[d] * a.steps[d]
            place[d] = 0
            d -= 1
        if d < 0:
            return True


cdef int check_sound(Array out, str op, Array a=None, Array b=None, bint spoilt=False) except -1:
    """``out`` was written, from ``a`` and ``b``; ``spoilt``: it was unsound before, and is among what was read."""
    if watching and not (spoilt or sound(out)) and sound(a) and sound(b):
        blame(op, out, (a, b), None)
    return 0


cdef bint overwrites_unsound(int nin, Operand *operand) except -1:
    """Does an elementwise launch write over an operand that is unsound already?"""
    cdef int k
    for k in range(nin):
        if operand[k].form == ARRAY and \
                (<Array> operand[k].array).storage == (<Array> operand[nin].array).storage:
            return not sound(<Array> operand[k].array)
    return False


cdef int examine(mgx_loop loop, int dtype, int nin, Operand *operand) except -1:
    """After an elementwise launch. A derivative that was stored beside the result is not examined before it is used."""
    cdef Array out = <Array> operand[nin].array
    cdef list operands
    cdef int k, op
    cdef bint on
    if sound(out):
        return 0
    for k in range(nin):
        if operand[k].form == ARRAY:
            if (<Array> operand[k].array).storage != out.storage and not sound(<Array> operand[k].array):
                return 0
        elif operand[k].form == BYTES:
            if not kernels.finite[dtype](out.size, operand[k].data):
                return 0
        elif operand[k].form == NUMBER:
            if operand[k].number != operand[k].number or watching == 2 and operand[k].number - operand[k].number != 0:
                return 0
    on = hold_collector()                           # until the operands are held
    try:
        operands = [<Array> operand[k].array if operand[k].form == ARRAY else operand[k].number for k in range(nin)
                    if operand[k].form == ARRAY or operand[k].form == NUMBER]
    finally:
        free_collector(on)
    for op in range(MGX_NROWS):
        if kernels.rows[dtype][op].forward == loop or kernels.rows[dtype][op].forward_d == loop:
            return blame(rows[op].name.decode(), out, tuple(operands), None)
    return 0


cdef int examine_host(object function, tuple outs, tuple ins, list spoilt) except -1:
    """After a host launch."""
    for i in ins:
        if isinstance(i, Array) and not sound(<Array> i) or isinstance(i, float) and looked_for(i):
            return 0
    for o, before in zip(outs, spoilt):
        if not before and not sound(<Array> o):
            blame(function.__name__.strip("_"), <Array> o, ins, None)
    return 0
