# The public methods that Value and Tensor share, and how each kind carries them out.
cdef class Differentiable:      # no fields, so that both may derive from it
    pass

ctypedef object (*Apply)(int op, object a, object b, object c)
cdef type value_type
cdef Apply on_values, on_tensors    # told by the modules of the two kinds

cdef object combine(int op, object a, object b)
