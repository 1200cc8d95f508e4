"""The one door through which every kernel runs.

Eager execution runs a launch at once. Nothing writes an array beside these functions, so whatever can be run
can be written down. What has no C kernel is a host launch: a Python function over NumPy arrays.
"""
from cpython.object cimport PyObject
from cpython.pycapsule cimport PyCapsule_GetName, PyCapsule_GetPointer
from libc.limits cimport INT_MAX
from libc.stdint cimport int64_t

from microgradx._core.array cimport (Array, Storage, alias, check_writable, dtype_of, itemsize, same_shape, shape_of,
                                     touch, window)
from microgradx._core.graph cimport watching
from microgradx._core.kernels cimport *
from microgradx._core.watch cimport blame, looked_for

import numpy as np

from microgradx.errors import ShapeError


# ----- elementwise -------------------------------------------------------------------------------------------

cdef int elementwise(mgx_loop loop, int dtype, int nin, int nout, Operand *operand,
                     int ndim, const Py_ssize_t *shape) except -1:
    """Run ``loop`` over operands broadcast to ``shape``; inputs first, then outputs of exactly that shape."""
    cdef bint spoilt = watching and overwrites_unsound(nin, operand)
    if not in_place(loop, dtype, nin + nout, operand, (<Array> operand[nin].array).size):
        strided(loop, dtype, nin, nout, operand, ndim, shape)
    (<Array> operand[nin].array).storage.version += 1
    if nout == 2:
        (<Array> operand[nin + 1].array).storage.version += 1
    if watching and not spoilt:
        examine(loop, dtype, nin, operand)
    return 0


cdef enum: FEW = 64             # a number beside so few elements is spread out at once

cdef bint in_place(mgx_loop loop, int dtype, int count, Operand *operand, Py_ssize_t size) noexcept:
    """The common case: arrays of one dtype and size that the loop reads as they lie. False if it is another."""
    cdef char *p[MGX_MAXARGS]
    cdef double spread[MGX_MAXARGS][FEW]
    cdef Array a
    cdef int k
    cdef Py_ssize_t i
    for k in range(count):
        if operand[k].array != NULL:
            a = <Array> operand[k].array
            if a.size != size or a.kind != dtype or not a.contiguous:
                return False
            p[k] = a.data
        elif operand[k].absent:
            p[k] = p[0]
        elif size > FEW:
            return False
        else:
            p[k] = <char *> spread[k]
            if dtype == MGX_F32:
                for i in range(size):
                    (<float *> p[k])[i] = <float> operand[k].number
            else:
                for i in range(size):
                    (<double *> p[k])[i] = operand[k].number
    loop(size, p)
    return True


cdef int strided(mgx_loop loop, int dtype, int nin, int nout, Operand *operand,
                 int ndim, const Py_ssize_t *shape) except -1:
    """Any layout, any dtype, any broadcast: through the tiles of csrc/launch.c."""
    cdef mgx_launch job
    cdef mgx_operand *to
    cdef Array a
    cdef int k, d, skip
    job.loop, job.dtype, job.nin, job.nout, job.ndim = loop, dtype, nin, nout, ndim
    for d in range(ndim):
        job.shape[d] = shape[d]
    for k in range(nin + nout):
        to = &job.operand[k]
        if operand[k].array == NULL:
            to.data = NULL if operand[k].absent else <char *> &operand[k].number
            to.dtype = MGX_F64
            for d in range(ndim):
                to.strides[d] = 0
            continue
        a = <Array> operand[k].array
        to.data, to.dtype = a.data, a.kind
        skip = ndim - a.ndim
        for d in range(ndim):
            to.strides[d] = 0 if d < skip or a.dims[d - skip] == 1 else a.steps[d - skip]
    run(&job)
    return 0


def _cast(out, x):
    np.copyto(out, x, casting="unsafe")


cdef int copy(Array source, Array out) except -1:
    """out = source, broadcast and converted."""
    cdef Operand operand[2]
    if out.kind > MGX_F64:
        return host(_cast, (out,), (source,))
    operand[0].array, operand[1].array = <PyObject *> source, <PyObject *> out
    return elementwise(kernels.rows[out.kind][MGX_clone].forward, out.kind, 1, 1, operand, out.ndim, out.dims)


cdef int fill(Array out, double number) except -1:
    """out = number."""
    cdef Operand operand[2]
    if out.kind > MGX_F64:
        return host(np.ndarray.fill, (out,), (int(number),))
    operand[0].array, operand[0].number, operand[0].absent = NULL, number, False
    operand[1].array = <PyObject *> out
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


cdef int check_update(str op, Array w, Array other) except -1:
    if not (w.contiguous and other.contiguous and w.kind == other.kind and w.kind <= MGX_F64 and same_shape(w, other)):
        raise ShapeError(f"{op}: {dtype_of(other.kind)} of shape {shape_of(other)} beside a parameter of "
                         f"{dtype_of(w.kind)} and shape {shape_of(w)}; all are contiguous floats of one shape")
    return 0


def sgd(Array w, Array g, Array v, double lr, double momentum, double decay):
    """v = momentum*v + g + decay*w; w -= lr*v. ``v`` may be None. All contiguous, of one dtype and shape."""
    check_writable(w, "sgd")
    check_update("sgd", w, g)
    if v is not None:
        check_update("sgd", w, v)
    # of finite parameters finite gradients make no nan, so then there is nothing to look for
    cdef bint calm = watching == 1 and finite(g) and (v is None or finite(v))
    cdef bint spoilt = watching and (calm or not sound(w))
    kernels.sgd[w.kind](w.size, lr, momentum, decay, g.data, NULL if v is None else v.data, w.data)
    if v is not None:
        touch(v)
    wrote(w, "sgd", g, v, spoilt)


def adam(Array w, Array g, Array m, Array v, double lr, double beta1, double beta2, double eps, double decay,
         double correct1, double correct2):
    """One update of algorithm 1 of Kingma and Ba (2015). All contiguous, of one dtype and shape."""
    check_writable(w, "adam")
    for a in (g, m, v):
        check_update("adam", w, a)
    cdef bint spoilt = watching and not sound(w)
    kernels.adam[w.kind](w.size, lr, beta1, beta2, eps, decay, correct1, correct2, g.data, m.data, v.data, w.data)
    touch(m)
    touch(v)
    wrote(w, "adam", g, m, spoilt)


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
        if operand[k].array != NULL and \
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
        if operand[k].array != NULL:
            operands.append(<Array> operand[k].array)
            if (<Array> operand[k].array).storage != out.storage and not sound(<Array> operand[k].array):
                return 0
        elif not operand[k].absent:
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
