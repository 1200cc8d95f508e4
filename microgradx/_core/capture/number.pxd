from microgradx._core.array cimport Array

cdef class SymbolicFloat:
    cdef Array array            # float64, no axes
    cdef object given           # the argument; None for what was made of others
    cdef frozenset sources      # which arguments it was made of

cdef SymbolicFloat symbolic_float(object given, Py_ssize_t leaf)
cdef void note_reads_in(set into) noexcept          # which arguments' numbers are read, from now on
cdef object plain(object o)                         # the number itself, which is then read; anything else as it is
cdef object number_now(SymbolicFloat n)
