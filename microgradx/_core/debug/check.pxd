from microgradx._core.capture.program cimport Program

cdef object checked(Program program, tuple arguments, object run_eagerly, object shared)
