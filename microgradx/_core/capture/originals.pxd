cdef object original_of(object tree, list containers, list copies, object leaf)
cdef int give_back(list containers, list copies, object leaf) except -1
