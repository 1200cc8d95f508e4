cdef bint take_apart(object structure, object tree, list leaves) except -1
