cdef struct Range:              # of a program's memory, from launch `first` to launch `last`
    Py_ssize_t first, last, size        # bytes, a multiple of 8
    Py_ssize_t at               # where it lies
    Py_ssize_t number           # while it is placed: which one it is

cdef Py_ssize_t place(Range *range_, Py_ssize_t count) except -1
