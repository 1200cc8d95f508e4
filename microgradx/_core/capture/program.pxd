from libc.stdint cimport uint16_t

from microgradx._core.array cimport Array, Node, Storage
from microgradx._core.launch cimport Launch, LaunchList
from microgradx._core.capture.passes cimport LiveRanges

cdef struct Patch:              # an operand of a binding: its pointer in the launch, and its offset
    char **p
    Py_ssize_t offset

cdef struct Binding:            # what may be another array at each replay
    Py_ssize_t first, count     # its patches
    char *data                  # where its operands lie now
    Storage *storage
    bint written                # do launches write there?

cdef class Product:             # an array that launches write where it is handed out
    cdef Array array            # the last one, of an effect; of a result only its geometry
    cdef Array current          # of a result: the one of this call
    cdef Node leaf              # whose gradient it becomes, or None
    cdef Py_ssize_t binding, nbytes, offset
    cdef Array make(self)

cdef class Program:
    cdef LaunchList sequence    # the launches, in order
    cdef Storage **changed      # storages that the launches write, each once, without those of bindings
    cdef Py_ssize_t changed_count
    cdef Storage **held         # storages that the launches name, one reference each, without those of bindings
    cdef Py_ssize_t held_count, borrowed_count      # of the held: those whose bytes are somebody else's
    cdef Array memory           # the program's own, or None
    cdef Binding *binding
    cdef Py_ssize_t binding_count
    cdef list bindings          # of what was said to be movable: the number of its binding; None: not named; -1: fixed
    cdef list names             # of the bindings, for a person
    cdef Patch *patch
    cdef Py_ssize_t patch_count
    cdef bint light
    cdef bint writes_outside    # do the launches write what was there before the capture?
    cdef readonly Py_ssize_t captured, own_bytes, planned_bytes
    cdef readonly list dropped  # the names of launches that passes have dropped
    cdef uint16_t number        # of the capture

    cdef int finalize(self, Storage **dropped, Py_ssize_t count, set passes, list movable, list made,
                      object saved) except -1
    cdef object new_binding(self, LiveRanges lives, Array x)
    cdef int add_patches(self, Binding *binding, Launch *s, Storage *storage, Py_ssize_t start) except -1
    cdef Py_ssize_t bind_block(self, dict saved, Array block) except -1
    cdef bint made(self, LiveRanges lives, Array x) except -1     # is it made here, in memory that nobody else sees?
    cdef void rebind(self, Py_ssize_t number, Array a) noexcept
    cdef bint holds(self, Storage *s) noexcept
    cdef int count_holds(self, dict counts) except -1
    cdef bint changes(self, Storage *s) noexcept
    cdef bint meets_borrowed(self, Storage *s, bint written) noexcept
    cdef int run(self) except -1
    cdef object site_of(self, Py_ssize_t i)
    cdef list time_launches(self, Py_ssize_t rounds)

cdef bint may_be_symbolic(object o)
cdef bint is_parameter(Array a) noexcept                      # is a tensor meant by identity: a parameter?
cdef Array plain_copy(Array a)
