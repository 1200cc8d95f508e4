from libc.stdint cimport uint16_t

from microgradx._core.array cimport Storage
from microgradx._core.launch cimport Step, Tape

cdef struct Life:               # of a storage in the steps
    Storage *storage
    Py_ssize_t first, last, writes
    bint fresh                  # made in this program, written before it is read, and held by nobody outside
    char *data                  # where the plan puts it

cdef class Lives:
    cdef Tape *tape
    cdef Life *life
    cdef Py_ssize_t count
    cdef dict index

    cdef Life *of(self, Storage *s)
    cdef int meet(self, Storage *s, Py_ssize_t i, bint written, uint16_t number) except -1
    cdef int close_ranks(self) except -1

cdef void drop(Step **s) noexcept
cdef int drop_constants(Lives lives) except -1
cdef int drop_dead(Lives lives) except -1
cdef tuple plan(Lives lives)    # (an array whose memory is the program's own or None, bytes without reuse, with it)
