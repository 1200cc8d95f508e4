"""The one door through which every kernel runs.

Eager execution runs a launch at once. Nothing writes an array beside these functions, so whatever can be run
can be written down. What has no C kernel is a host launch: a Python function over NumPy arrays.
"""
from cpython.object cimport PyObject
from cpython.pycapsule cimport PyCapsule_GetName, PyCapsule_GetPointer
from libc.limits cimport INT_MAX
from libc.stdint cimport int64_t

from microgradx._core.array cimport Array, check_writable, dtype_of, same_shape, shape_of, touch, window
from microgradx._core.kernels cimport *

import numpy as np

from microgradx.errors import ShapeError


# ----- elementwise -------------------------------------------------------------------------------------------

cdef int elementwise(mgx_loop loop, int dtype, int nin, int nout, Operand *operand,
                     int ndim, const Py_ssize_t *shape) except -1:
    """Run ``loop`` over operands broadcast to ``shape``; inputs first, then outputs of exactly that shape."""
    if not in_place(loop, dtype, nin + nout, operand, (<Array> operand[nin].array).size):
        strided(loop, dtype, nin, nout, operand, ndim, shape)
    (<Array> operand[nin].array).storage.version += 1
    if nout == 2:
        (<Array> operand[nin + 1].array).storage.version += 1
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
    return touch(out)


cdef int reduce_max(Array x, Py_ssize_t outer, Py_ssize_t n, Py_ssize_t inner, const Py_ssize_t *strides,
                    double sign, Array out) except -1:
    kernels.max[x.kind](outer, n, inner, strides, sign, x.data, out.data)
    return touch(out)


cdef int softmax(Array x, Py_ssize_t m, Py_ssize_t n, bint logarithm, Array out) except -1:
    kernels.softmax[x.kind](m, n, logarithm, x.data, out.data)
    return touch(out)


cdef int softmax_vjp(Array g, Array y, bint logarithm, Array dx) except -1:
    cdef Py_ssize_t n = y.dims[y.ndim - 1]
    kernels.softmax_vjp[y.kind](y.size // n, n, logarithm, g.data, y.data, dx.data)
    return touch(dx)


cdef Py_ssize_t add_rows(Array x, Array at, Array out) except? -2:
    """The first bad position of ``at``, or -1."""
    cdef Py_ssize_t bad = kernels.add_rows[x.kind](at.size, out.size // out.dims[0], out.dims[0],
                                                   <int64_t *> at.data, x.data, out.data)
    touch(out)
    return bad


cdef Py_ssize_t cross_entropy(Array x, Array label, double scale, Array loss, Array p) except? -2:
    """The first row whose label is out of range, or -1."""
    cdef Py_ssize_t bad = kernels.cross_entropy[x.kind](
        x.dims[0], x.dims[1], scale, x.data, <int64_t *> label.data, loss.data, p.data)
    touch(loss)
    touch(p)
    return bad


cdef int cross_entropy_vjp(Array g, Array p, Array label, double scale, Array dx) except -1:
    kernels.cross_entropy_vjp[p.kind](p.dims[0], p.dims[1], scale, g.data, p.data, <int64_t *> label.data, dx.data)
    return touch(dx)


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
    kernels.sgd[w.kind](w.size, lr, momentum, decay, g.data, NULL if v is None else v.data, w.data)
    if v is not None:
        touch(v)
    touch(w)


def adam(Array w, Array g, Array m, Array v, double lr, double beta1, double beta2, double eps, double decay,
         double correct1, double correct2):
    """One update of algorithm 1 of Kingma and Ba (2015). All contiguous, of one dtype and shape."""
    check_writable(w, "adam")
    for a in (g, m, v):
        check_update("adam", w, a)
    kernels.adam[w.kind](w.size, lr, beta1, beta2, eps, decay, correct1, correct2, g.data, m.data, v.data, w.data)
    touch(m)
    touch(v)
    touch(w)


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
    if kernels.gemm[c.kind](m, n, k, alpha, a_data, 1 if ta else lda, lda if ta else 1,
                            b_data, 1 if tb else ldb, ldb if tb else 1, beta, c_data, ldc):
        return touch(c)
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
    return touch(c)


# ----- host --------------------------------------------------------------------------------------------------

cdef int host(object function, tuple outs, tuple ins) except -1:
    """function(*outs, *ins) over NumPy arrays: outs writable, ins read-only; what is no array is passed as it is."""
    with np.errstate(all="ignore"):                             # nan and inf flow without a word, as in kernels
        function(*[window(<Array> o) for o in outs],
                 *[np.asarray(i) if isinstance(i, Array) else i for i in ins])
    for o in outs:
        touch(<Array> o)
    return 0
