from libc.stdint cimport uint16_t

from microgradx._core.array cimport Storage
from microgradx._core.launch cimport LaunchList

cdef struct LiveRange:               # of a storage in the launches
    Storage *storage
    Py_ssize_t first, last, writes
    bint gone                   # nobody refers to it
    bint fresh                  # made in this program, written before it is read, and held by nobody outside
    bint needed                 # what it holds is read, or stays
    Py_ssize_t at               # its place in the plan
    char *data                  # where it lies instead of where it lay while it was captured, or NULL
    Storage *into               # of which storage that is

cdef class LiveRanges:
    cdef LaunchList sequence
    cdef LiveRange *life
    cdef Py_ssize_t count
    cdef list dropped           # the names of launches that passes have dropped

    cdef LiveRange *of(self, Storage *s) noexcept                # NULL: no step names it
    cdef void meet(self, Storage *s, Py_ssize_t i, bint written, uint16_t number) noexcept
    cdef int drop(self, Py_ssize_t i) except -1
    cdef void compact(self) noexcept

cdef int drop_constants(LiveRanges lives) except -1
cdef int drop_dead(LiveRanges lives) except -1
cdef tuple plan(LiveRanges lives, bint reuse)   # (the program's own memory or None, bytes without reuse, with it)
