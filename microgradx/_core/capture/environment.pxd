from microgradx._core.array cimport Array

cdef bint is_same(object was, object now) except -1      # one object, or an equal number or string, to the last bit
cdef bint is_plain(object o) except -1                  # a number, string or the like: compared by value
cdef object cell_contents(object cell)
cdef bint rewind_generators(list states) except -1      # have any moved? They are put back

cdef class Environment:
    cdef readonly bint strict
    cdef list owners, keys, parts   # an owner (dict, cell or object), the name in it, and what that stood for
    cdef list lists, dicts      # (container, what was in it)
    cdef list sets              # [container, key, what was there] of constants that the code may put there
    cdef list set_again         # (container, key, the constant) of those that the captured call has put there
    cdef list kinds             # (container or cell, key, type) of numbers that the code only increases
    cdef list states            # (array, its numbers)
    cdef list randoms           # (generator of Python's or NumPy's, its state)
    cdef list objects           # (object, its attributes, are they compared?), until the names are known
    cdef set names, asked       # of attributes that the code looks up; that may be missing
    cdef set done               # of these those that were looked up in the first `passed` objects
    cdef Py_ssize_t passed
    cdef dict held              # all objects that were seen, by address
    cdef dict values            # the Values among them
    cdef list arrays            # the tensors among them, and those of modules
    cdef dict containers        # lists, dicts and sets among them
    cdef readonly bint exact    # does the code ask for the type of a number?
    cdef readonly str reason    # why it cannot be told whether it has changed, or None
    cdef readonly str changed   # what was found to have changed
    cdef Py_ssize_t entries
    cdef bint is_flat           # are there no lists, dicts or arrays?
    cdef list parts_of(self, object o)
    cdef list parts_of_function(self, object o)
    cdef list parts_of_class(self, object o, bint is_made)
    cdef list parts_of_container(self, object o)
    cdef list parts_of_object(self, object o)
    cdef int add(self, object owner, object key, object part) except -1
    cdef int add_variable(self, object owner, object key, object part, object uses, list found) except -1
    cdef bint add_note(self, object owner, object key, object part, str note, object at) except -1
    cdef bint add_attributes(self, list waiting) except -1
    cdef bint unchanged(self) except -1
    cdef bint renew(self) except -1
    cdef bint is_lost(self, set unreachable) except -1
    cdef int note_sets(self) except -1
    cdef int repeat_sets(self) except -1
    cdef bint shares_memory(self, Array a) except -1
    cdef object moved_generator(self, list known)
    cdef int give_originals(self, object leaf) except -1
    cdef int restore(self) except -1
    cdef list generator_states(self)
