from microgradx._core.array cimport Array, Node

cdef object looked_for(object numbers)                              # which of them detect_nan looks for
cdef int blame(str op, Array out, tuple operands, Node node) except -1
