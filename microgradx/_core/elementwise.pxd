from microgradx._core.array cimport Array, Node

cdef Array apply(int op, object a, object b, object c)
cdef int apply_into(int op, Array out, object b) except -1
cdef Array row_vjp(Node node, Array g, int i, bint over)
