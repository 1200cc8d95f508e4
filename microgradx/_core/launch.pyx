"""The one door through which every kernel runs.

Eager execution runs a launch at once. Nothing writes an array beside these functions, so whatever can be run
can be written down. What has no C kernel is a host launch: a Python function over NumPy arrays.

The file is long because there is one door.
"""
from cpython.object cimport PyObject
from cpython.pycapsule cimport PyCapsule_GetName, PyCapsule_GetPointer
from libc.limits cimport INT_MAX
from libc.stdint cimport int64_t
from libc.stdlib cimport free, malloc

from microgradx._core.array cimport (Array, Storage, alias, check_writable, dtype_of, empty_like, itemsize, same_shape,
                                     shape_of, touch, window)
from microgradx._core.graph cimport watching
from microgradx._core.kernels cimport *
from microgradx._core.watch cimport blame, looked_for

import numpy as np

from microgradx.errors import ShapeError


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
        loop(size, p)
    written.version += 1
    if watching and not spoilt:
        examine(loop, dtype, nin, operand)
    return 0


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
    cdef mgx_operand *to
    cdef Array a
    cdef Py_ssize_t step
    cdef int k, d, skip
    job.loop, job.dtype, job.nin, job.nout, job.ndim = loop, dtype, nin, nout, ndim
    for d in range(ndim):
        job.shape[d] = shape[d]
    for k in range(nin + nout):
        to = &job.operand[k]
        if operand[k].form == ARRAY:
            a = <Array> operand[k].array
            to.data, to.dtype = a.data, a.kind
            skip = ndim - a.ndim
            for d in range(ndim):
                to.strides[d] = 0 if d < skip or a.dims[d - skip] == 1 else a.steps[d - skip]
        elif operand[k].form == BYTES:
            to.data, to.dtype, step = operand[k].data, dtype, itemsize[dtype]
            for d in range(ndim - 1, -1, -1):
                to.strides[d] = step
                step *= shape[d]
        else:
            to.data = <char *> &operand[k].number if operand[k].form == NUMBER else NULL
            to.dtype = MGX_F64
            for d in range(ndim):
                to.strides[d] = 0
    run(&job)
    return 0


def _cast(out, x):
    np.copyto(out, x, casting="unsafe")


cdef int copy(Array source, Array out) except -1:
    """out = source, broadcast and converted."""
    cdef Operand operand[2]
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


# ----- structured --------------------------------------------------------------------------------------------

cdef int reduce_sum(Array x, Py_ssize_t outer, Py_ssize_t n, Py_ssize_t inner, const Py_ssize_t *strides,
                    double scale, Array out) except -1:
    kernels.sum[x.kind](outer, n, inner, strides, scale, x.data, out.data)
    return wrote(out, "sum", x)


cdef int reduce_max(Array x, Py_ssize_t outer, Py_ssize_t n, Py_ssize_t inner, const Py_ssize_t *strides,
                    double sign, Array out) except -1:
    kernels.max[x.kind](outer, n, inner, strides, sign, x.data, out.data)
    return wrote(out, "amax", x)


cdef int softmax(Array x, Py_ssize_t m, Py_ssize_t n, bint logarithm, Array out) except -1:
    kernels.softmax[x.kind](m, n, logarithm, x.data, out.data)
    return wrote(out, "log_softmax" if logarithm else "softmax", x)


cdef int softmax_vjp(Array g, Array y, bint logarithm, Array dx) except -1:
    cdef Py_ssize_t n = y.dims[y.ndim - 1]
    kernels.softmax_vjp[y.kind](y.size // n, n, logarithm, g.data, y.data, dx.data)
    return wrote(dx, "softmax", g, y)


cdef Py_ssize_t add_rows(Array x, Array at, Array out) except? -2:
    """The first bad position of ``at``, or -1."""
    cdef bint spoilt = watching and not sound(out)
    cdef Py_ssize_t bad = kernels.add_rows[x.kind](at.size, out.size // out.dims[0], out.dims[0],
                                                   <int64_t *> at.data, x.data, out.data)
    wrote(out, "index_add", x, None, spoilt)
    return bad


cdef Py_ssize_t cross_entropy(Array x, Array label, double scale, Array loss, Array p) except? -2:
    """The first row whose label is out of range, or -1."""
    cdef Py_ssize_t bad = kernels.cross_entropy[x.kind](
        x.dims[0], x.dims[1], scale, x.data, <int64_t *> label.data, loss.data, p.data)
    touch(p)
    if bad < 0:
        wrote(loss, "cross_entropy", x)
    return bad


cdef int cross_entropy_vjp(Array g, Array p, Array label, double scale, Array dx) except -1:
    kernels.cross_entropy_vjp[p.kind](p.dims[0], p.dims[1], scale, g.data, p.data, <int64_t *> label.data, dx.data)
    return wrote(dx, "cross_entropy", g, p)


# ----- optimizers --------------------------------------------------------------------------------------------

cdef tuple UPDATES = ("sgd", "rmsprop", "adagrad", "adam", "adamw")             # in the order of csrc/kernels.h


cdef int check_update(str op, Array w, Array other) except -1:
    if not (w.contiguous and other.contiguous and w.kind == other.kind and w.kind <= MGX_F64 and same_shape(w, other)):
        raise ShapeError(f"{op}: {dtype_of(other.kind)} of shape {shape_of(other)} beside a parameter of "
                         f"{dtype_of(w.kind)} and shape {shape_of(w)}; all are floats of one shape, in order in "
                         "memory")
    return 0


def update(str op, list groups):
    """One step of the optimizer ``op``, all parameters of a group in one launch.

    ``groups`` holds (cell, rows): the options as float64 numbers, and for each parameter (w, step, *state), None for
    what the options do not need. A parameter without gradient is passed over. All is checked before anything is
    written.
    """
    cdef int code = UPDATES.index(op), k
    cdef Py_ssize_t i, start = 0, count = 0, room = 0
    cdef tuple row
    cdef list rows, live = [], gradients = [], cells = []
    cdef Array w, g, a, cell
    cdef mgx_part *part
    cdef mgx_part *p = NULL
    for _, rows in groups:
        if rows is None:
            raise TypeError(f"{op}: None in place of parameters")
        room += len(rows)
    part = <mgx_part *> malloc((room + 1) * sizeof(mgx_part))
    if part == NULL:
        raise MemoryError(f"{op}: no memory for {room} parameters")
    try:
        for cell, rows in groups:
            for row in rows:
                w = None if row is None else row[0]
                if w is None or cell is None:
                    raise TypeError(f"{op}: None in place of an array")
                if w.node is None or w.node.grad is None:
                    continue
                g = w.node.grad
                if not g.contiguous:
                    a = empty_like(g)
                    copy(g, a)
                    g = a
                check_writable(w, op)
                check_update(op, w, g)
                p = &part[count]
                p.n, p.g, p.w, p.step = w.size, g.data, w.data, NULL
                if row[1] is not None:
                    p.step = <double *> (<Array> row[1]).data
                for k in range(3):
                    p.state[k] = NULL
                    if k + 2 < len(row) and row[k + 2] is not None:
                        a = row[k + 2]
                        check_update(op, w, a)
                        p.state[k] = a.data
                live.append(row)
                gradients.append(g)
                cells.append(cell)
                count += 1
        doubtful = [i for i in range(count) if sound((<tuple> live[i])[0])] if watching else ()
        for i in range(count):                  # a launch runs as far as cell and dtype stay the same
            w = (<tuple> live[i])[0]
            if i + 1 == count or cells[i + 1] is not cells[i] or (<Array> (<tuple> live[i + 1])[0]).kind != w.kind:
                kernels.update[code][w.kind](i + 1 - start, part + start, <double *> (<Array> cells[i]).data)
                start = i + 1
        for row in live:
            for a in row:
                if a is not None:
                    touch(a)
        for i in doubtful:
            w, g = (<tuple> live[i])[0], gradients[i]
            if not sound(w) and sound(g):
                blame(op, w, (g,), None)
    finally:
        free(part)


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


cdef int gemm(bint ta, bint tb, Py_ssize_t m, Py_ssize_t n, Py_ssize_t k, double alpha,
              Array a, char *a_data, Py_ssize_t lda, Array b, char *b_data, Py_ssize_t ldb,
              double beta, Array c, char *c_data, Py_ssize_t ldc) except -1:
    """c (m, n) = alpha * op(a) op(b) + beta * c, row-major; op transposes where the flag says so.

    csrc/gemm.inl does it, or says that the sizes are for BLAS.
    BLAS is column-major and so sees every matrix transposed: it is asked for c^T = op(b)^T op(a)^T.
    """
    cdef int M = <int> n, N = <int> m, K = <int> k, LDA = <int> ldb, LDB = <int> lda, LDC = <int> ldc
    cdef char *TA = b"T" if tb else b"N"
    cdef char *TB = b"T" if ta else b"N"
    cdef float alpha32 = <float> alpha, beta32 = <float> beta
    cdef Py_ssize_t shape[2]
    cdef Py_ssize_t strides[2]
    cdef Array part = None
    cdef bint spoilt = False
    if watching:
        shape[0], shape[1], strides[0], strides[1] = m, n, ldc * itemsize[c.kind], itemsize[c.kind]
        part = alias(c, c_data, c.kind, 2, shape, strides)
        spoilt = beta != 0 and not sound(part)
    if kernels.gemm[c.kind](m, n, k, alpha, a_data, 1 if ta else lda, lda if ta else 1,
                            b_data, 1 if tb else ldb, ldb if tb else 1, beta, c_data, ldc):
        return wrote(part, "linear" if beta else "matmul", a, b, spoilt) if watching else touch(c)
    if max(m, n, k, lda, ldb, ldc) > INT_MAX:
        raise ShapeError(f"matmul: ({m}, {k}) @ ({k}, {n}) is beyond the sizes of BLAS (2^31 - 1)")
    if sgemm == NULL:
        import_blas()
    if c.kind == MGX_F32:
        sgemm(TA, TB, &M, &N, &K, &alpha32, <float *> b_data, &LDA, <float *> a_data, &LDB,
              &beta32, <float *> c_data, &LDC)
    else:
        dgemm(TA, TB, &M, &N, &K, &alpha, <double *> b_data, &LDA, <double *> a_data, &LDB,
              &beta, <double *> c_data, &LDC)
    return wrote(part, "linear" if beta else "matmul", a, b, spoilt) if watching else touch(c)


# ----- windows and rows --------------------------------------------------------------------------------------

cdef int columns(const mgx_windows *v, Py_ssize_t planes, Array x, char *x_data, Array cols) except -1:
    kernels.columns[x.kind](v, planes, x_data, cols.data)
    return touch(cols)


cdef int uncolumns(const mgx_windows *v, Py_ssize_t planes, Py_ssize_t spread, Array cols,
                   Array x, char *x_data) except -1:
    kernels.uncolumns[x.kind](v, planes, spread, cols.data, x_data)
    return touch(x)


cdef int pool_sum(const mgx_windows *v, Py_ssize_t planes, Array x, Array out) except -1:
    kernels.pool_sum[x.kind](v, planes, x.data, out.data)
    return wrote(out, "avg_pool", x)


cdef Py_ssize_t pool_max(const mgx_windows *v, Py_ssize_t planes, Array x, Array out, Array at) except? -2:
    """The first window that holds nothing but padding, or -1."""
    cdef Py_ssize_t bad = kernels.pool_max[x.kind](v, planes, x.data, out.data, <int64_t *> at.data)
    touch(at)
    wrote(out, "max_pool", x)
    return bad


cdef int unpool(Py_ssize_t planes, Py_ssize_t plane, Py_ssize_t n, Array g, Array at, Array x) except -1:
    kernels.unpool[x.kind](planes, plane, n, g.data, <int64_t *> at.data, x.data)
    return wrote(x, "unpool", g)


cdef int norm(Py_ssize_t m, Py_ssize_t n, bint centred, double eps, Array x, Array w, Array b,
              Array out, Array stats) except -1:
    kernels.norm[x.kind](m, n, centred, eps, x.data, NULL if w is None else w.data, NULL if b is None else b.data,
                         out.data, stats.data)
    touch(stats)
    return wrote(out, "norm", x, w, watching and not sound(b))


cdef int norm_vjp(Py_ssize_t m, Py_ssize_t n, bint centred, Array g, Array x, Array w, Array stats, Array dx) except -1:
    kernels.norm_vjp[x.kind](m, n, centred, g.data, x.data, NULL if w is None else w.data, stats.data, dx.data)
    return wrote(dx, "norm", g, x)


cdef int norm_weight_vjp(Py_ssize_t m, Py_ssize_t n, Array g, Array x, Array stats, Array part) except -1:
    kernels.norm_weight_vjp[x.kind](m, n, g.data, x.data, stats.data, part.data)
    return wrote(part, "norm", g, x)


# ----- host --------------------------------------------------------------------------------------------------

cdef int host(object function, tuple outs, tuple ins) except -1:
    """function(*outs, *ins) over NumPy arrays: outs writable, ins read-only; what is no array is passed as it is."""
    cdef list spoilt = [(<Array> o).storage.version and not sound(<Array> o) for o in outs] if watching else []
    with np.errstate(all="ignore"):                             # nan and inf flow without a word, as in kernels
        function(*[window(<Array> o) for o in outs],
                 *[np.asarray(i) if isinstance(i, Array) else i for i in ins])
    for o in outs:
        touch(<Array> o)
    if watching:
        examine_host(function, outs, ins, spoilt)
    return 0


# ----- detect_nan: is what was written sound? -----------------------------------------------------------------

cdef bint finite(Array a) noexcept:
    """Is nothing in a contiguous float array inf or nan? What only it holds is read once for each version."""
    if a is None:
        return True
    cdef Storage *s = a.storage
    if s.sound == s.version + 1:
        return True
    if not kernels.finite[a.kind](a.size, a.data):
        return False
    if s.refs == 1 and s.size_class >= 0:               # whoever sees these bytes later sees them through `a`
        s.sound = s.version + 1
    return True


cdef bint sound(Array a) except -1:
    """Is there nothing in ``a`` that detect_nan looks for?"""
    if a is None or a.kind > MGX_F64:
        return True
    if a.contiguous:
        if finite(a):
            return True
        if watching == 2:
            return False
    return not looked_for(np.asarray(a)).any()


cdef int wrote(Array out, str op, Array a=None, Array b=None, bint spoilt=False) except -1:
    """``out`` was written, from ``a`` and ``b``; ``spoilt``: it was unsound before, and is among what was read."""
    touch(out)
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
    cdef list operands = []
    cdef int k, op
    if sound(out):
        return 0
    for k in range(nin):
        if operand[k].form == ARRAY:
            operands.append(<Array> operand[k].array)
            if (<Array> operand[k].array).storage != out.storage and not sound(<Array> operand[k].array):
                return 0
        elif operand[k].form == BYTES:
            if not kernels.finite[dtype](out.size, operand[k].data):
                return 0
        elif operand[k].form == NUMBER:
            operands.append(operand[k].number)
            if looked_for(operand[k].number):
                return 0
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
