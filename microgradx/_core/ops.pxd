# The public methods that Value and Tensor share. No fields, so that both may derive from it.
cdef class Differentiable:
    cdef object apply(self, int op, object a, object b, object c)

cdef object combine(int op, object a, object b)
