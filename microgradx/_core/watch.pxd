from microgradx._core.array cimport Array, Node

cdef object looked_for(object numbers)                              # which of them detect_nan looks for
cdef int blame(str op, Array out, tuple operands, Node node) except -1
cdef bint finite(Array a) noexcept                                  # no inf, no nan; False also if that was not looked at
cdef bint sound(Array a) except -1                                  # nothing in it that detect_nan looks for
cdef int check_sound(Array out, str op, Array a=*, Array b=*, bint spoilt=*) except -1
