cdef class Guard:
    cdef readonly object owner      # the module or group whose attribute or option it is, or None
    cdef readonly str text          # what it is, for a person
    cdef dict attributes            # where it is looked up
    cdef object name, was
    cdef bint holds(self) except -1

cdef bint unchanged(object was, object now) except -1
cdef object snapshot_of(object o)
cdef int start_notes() except -1                # attributes of modules are noted, until `stop_notes`
cdef int stop_notes() except -1
