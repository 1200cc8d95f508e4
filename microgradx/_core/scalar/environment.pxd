cdef class Environment:
    cdef list lists, dicts      # (container, what was in it)
    cdef list names             # (owner, name, what it stood for)
    cdef list states            # (generator or array, its state)
    cdef dict held              # all objects that were seen, by address
    cdef dict values            # the Values among them
    cdef dict containers        # lists, dicts and sets among them
    cdef readonly str reason    # why it cannot be told whether it has changed, or None
    cdef Py_ssize_t entries
    cdef list parts(self, object o)
    cdef list parts_of_function(self, object o)
    cdef bint unchanged(self) except -1
