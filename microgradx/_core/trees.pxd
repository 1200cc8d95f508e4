cdef bint take_apart(object structure, object tree, list leaves) except -1
cdef list containers_of(object tree)
cdef object original_of(object tree, list containers, list copies, object leaf)
cdef int give_back(list containers, list copies, object leaf) except -1
