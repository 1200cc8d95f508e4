from microgradx._core.array cimport Storage
from microgradx._core.launch cimport Launch, LaunchList

cdef struct LiveRange:               # of a storage in the launches
    Storage *storage
    Py_ssize_t first, last, writes
    bint fresh                  # the program's own: made in it, and held by nobody outside
    bint needed                 # what it holds is read, or stays
    bint bound                  # its operands move from replay to replay
    Py_ssize_t offset           # in the plan
    int slot                    # in the tile program that is being made
    char *data                  # where it lies instead of where it lay while it was captured, or NULL
    Storage *into               # of which storage that is

cdef class LiveRanges:
    cdef LaunchList sequence
    cdef LiveRange *life
    cdef Py_ssize_t count
    cdef list dropped           # the names of launches that passes have dropped

    cdef LiveRange *of(self, Storage *s) noexcept                # NULL: no step names it
    cdef void meet(self, Storage *s, Py_ssize_t i, bint written) noexcept
    cdef int drop(self, Py_ssize_t i) except -1
    cdef void extend(self, LiveRange *one, Py_ssize_t i, bint written) noexcept
    cdef int compact(self) except -1

cdef int hold_host_operands(LaunchList sequence) except -1
cdef list host_operands(const Launch *s)
cdef int drop_constants(LiveRanges lives) except -1
cdef int drop_dead(LiveRanges lives) except -1
cdef tuple plan(LiveRanges lives, bint reuse)   # (the program's own memory or None, bytes without reuse, with it)
