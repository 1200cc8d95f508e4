from microgradx._core.array cimport Array, Node

cdef object input_vjp(Node node, Array g, int i)
cdef int refuse_traced(str op, Array x) except -1
