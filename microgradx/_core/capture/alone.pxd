cdef set held_alone(list roots)     # addresses of the objects that nobody but these keeps alive
