cdef bint take_apart(object structure, object tree, list leaves) except -1
cdef list containers_of(object tree)
cdef tuple fields_of(object kind)
