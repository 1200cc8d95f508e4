from microgradx._core.array cimport Array, Axes

cdef Py_ssize_t count_reduced(Array x, Axes axes) noexcept
cdef Array sum_axes(Array x, Axes axes, bint keepdims)
cdef Array mean_axes(Array x, Axes axes, bint keepdims)
cdef Array expand(Array x, int ndim, const Py_ssize_t *shape)
cdef Array sum_to(Array x, int ndim, const Py_ssize_t *shape)
cdef Array amax(Array x, Axes axes, bint keepdims, double sign)
cdef Array power_norm(Array x, Axes axes, bint keepdims, double ord)
cdef Array prod(Array x, Axes axes, bint keepdims)
cdef Array squares(const char *name, Array x, Axes axes, bint keepdims, double divisor, bint root, bint centred)
cdef Array power_below(Array x, Axes axes)
cdef Array logsumexp(Array x, Axes axes, bint keepdims)
cdef Array any_axes(Array x, Axes axes, bint keepdims, bint all)
cdef Array argmax(Array x, Axes axes, bint keepdims, double sign)
cdef Array cumsum(Array x, int axis, bint reverse=*)
cdef Array matmul(Array a, Array b)
cdef Array linear(Array x, Array w, Array b)
cdef Array softmax_axis(Array x, int axis, bint logarithm)
cdef Array cross_entropy_mean(Array x, Array label, bint mean)
cdef Axes axes_of(str op, object axis, int ndim) except? -1
cdef Array squeeze_axes(Array x, Axes axes)
cdef int gemm(bint ta, bint tb, Py_ssize_t m, Py_ssize_t n, Py_ssize_t k, double alpha,
              Array a, char *a_data, Py_ssize_t lda, Array b, char *b_data, Py_ssize_t ldb,
              double beta, Array c, char *c_data, Py_ssize_t ldc) except -1
cdef Array to_floating(str op, Array x)
cdef Array empty_of_shape(str op, tuple shape, object dtype)
