from microgradx._core.program cimport Program

cdef object checked(Program program, tuple arguments, object plainly, object shared)
