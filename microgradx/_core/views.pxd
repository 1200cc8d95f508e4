from microgradx._core.array cimport Array, Node

cdef Array as_line(Array x)
cdef Array as_point(Array x)
cdef Array reshape(Array x, int ndim, const Py_ssize_t *shape)
cdef Array permute(Array x, const int *axes)
cdef Array contiguous(Array x)
cdef Array as_contiguous(Array x)
cdef Array index(Array x, object key)
cdef bint index_add_into(Array total, Node node, Array g) except -1
cdef int wider_dtype(int a, int b) noexcept
cdef Array concat(list xs, int axis)
cdef Array pad(Array x, object widths, double value)
cdef Array gather(Array x, int axis, Array at)
cdef int record_gather(Array out, const char *name, Array x, int axis, Array at) except -1
cdef Array scatter_add(Array x, int axis, Array at, Array source)
cdef Array convert(Array x, int dtype)
cdef int assign(Array x, object key, Array v) except -1
cdef bint assign_number(Array x, object key, object value) except -1
cdef tuple normalize_key(object key)
cdef Py_ssize_t integer(str op, str what, object number) except? -1
cdef double real(str op, str what, object number) except? -1
cpdef int axis_of(str op, object axis, int ndim) except -1
