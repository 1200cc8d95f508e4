cdef set unreachable_without(list roots)     # addresses of the objects that nobody but these keeps alive
