from microgradx._core.capture.passes cimport LiveRanges

cdef int fuse(LiveRanges lives) except -1
