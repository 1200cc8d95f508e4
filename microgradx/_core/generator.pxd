from microgradx._core.array cimport Array

cdef class Generator:
    cdef Array state            # (key, counter), int64
    cdef tuple numbers(self)
