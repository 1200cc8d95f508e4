cdef struct Range:              # of a program's memory, from launch `first` to launch `last`
    Py_ssize_t first, last, size        # bytes, a multiple of 8
    Py_ssize_t offset           # in the memory of the program
    Py_ssize_t number           # which one it is, while offsets are assigned

cdef Py_ssize_t assign_offsets(Range *range_, Py_ssize_t count) except -1
