cdef class Guard:
    cdef readonly object owner      # the module or group whose attribute or option it is, or None
    cdef readonly str text          # what it is, for a person
    cdef dict attributes            # where it is looked up
    cdef object name, was
    cdef size_t watched             # the address of `attributes`
    cdef bint holds(self) except -1
    cdef bint renew(self) except -1
    cdef int watch(self) except -1
    cdef bint is_lost(self, set unreachable) except -1    # can it never hold again?

cdef bint unchanged(object was, object now) except -1
cdef object snapshot_of(object o)
cdef bint part_is_lost(object was, set unreachable) except -1     # was it something that only captured calls hold?
cdef int start_notes() except -1                # attributes of modules are noted, until `stop_notes`
cdef int stop_notes() except -1
