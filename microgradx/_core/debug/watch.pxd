from microgradx._core.array cimport Array, Node

cdef object is_reported(object numbers)                         # which of them detect_nan looks for
cdef int raise_non_finite(str op, Array out, tuple operands, Node node) except -1
cdef bint is_finite(Array a) noexcept                           # no inf, no nan; False also if that was not looked at
cdef bint is_clean(Array a) except -1                           # nothing in it that detect_nan looks for
cdef int check_clean(Array out, str op, Array a=*, Array b=*, bint non_finite_before=*) except -1
