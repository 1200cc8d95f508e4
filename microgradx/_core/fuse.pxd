from microgradx._core.passes cimport Lives

cdef int fuse(Lives lives) except -1
