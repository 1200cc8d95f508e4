from microgradx._core.array cimport Array, Node

cdef object input_vjp(Node node, Array g, int i)
cdef bint is_by_hand(Node node) noexcept
cdef int refuse_traced(str op, Array x) except -1
