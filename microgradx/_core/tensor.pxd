from microgradx._core.array cimport Array

cdef class Tensor(Array):
    pass
