from cpython.object cimport PyObject
from libc.stdint cimport uint16_t

from microgradx._core.array cimport Array, Storage
from microgradx._core.launch cimport LaunchList
from microgradx._core.capture.passes cimport LiveRange, LiveRanges

cdef struct Spot:               # an operand that lies in an input or a result: rebound at every call
    char **p
    Py_ssize_t offset

cdef enum: COPIED = -1, MOVES = -2      # a tensor that is copied, a number that is written, at every call

cdef class Program:
    cdef LaunchList sequence    # the launches, in order
    cdef list effects, flags
    cdef tuple inputs           # a private copy of each tensor among the arguments
    cdef Py_ssize_t *leaf       # which argument each input is
    cdef tuple types            # of each argument that moves; None for others
    cdef readonly set read      # arguments of those whose number decided something
    cdef tuple outputs          # (Kind, what)
    cdef tuple expected         # arguments without nesting, by which a call is known at once; None if there is nesting
    cdef list found             # (leaf, was there a gradient when the call began, that gradient if the steps read it)
    cdef object tree            # the structure of the result
    cdef object bound           # arguments that are meant by identity
    cdef bint recording, shared, mutates
    cdef Storage **changed      # storages that the steps write, each once
    cdef Py_ssize_t changed_count
    cdef Storage **held         # storages that the steps name, one reference each
    cdef Py_ssize_t held_count
    cdef Array memory           # the program's own, or None
    cdef tuple bound_outputs    # results that the steps write where they are handed out
    cdef Py_ssize_t *spots      # of each input and bound output: how many; or one of these:
    cdef Storage **used         # of each input: the argument's storage, while the steps run
    cdef char *written          # of each input: do the steps write to it?
    cdef Spot *spot
    cdef bint busy, light
    cdef bint alone             # one array that the steps write is the result
    cdef Py_ssize_t rebindings, switched
    cdef readonly Py_ssize_t captured, own_bytes, planned_bytes
    cdef readonly list dropped  # the names of launches that passes have dropped
    cdef uint16_t number

    cdef object capture(self, function, tuple arguments, object structure, set passes, set fixed)
    cdef int describe(self, object result) except -1
    cdef int finalize_gradients(self) except -1
    cdef int finalize(self, Storage **dropped, Py_ssize_t count, set passes) except -1
    cdef int bind(self, LiveRanges lives) except -1
    cdef Py_ssize_t find(self, Array x, const LiveRange *life, Py_ssize_t at) except -1
    cdef bint made(self, Array x, const LiveRange *life) except -1
    cdef Py_ssize_t aim(self, Py_ssize_t at, Py_ssize_t count, Array a) noexcept
    cdef bint matches_expected(self, tuple args) except -1          # of shapes and dtypes as captured, without nesting?
    cdef bint fits(self) except -1                          # is all else as the captured call found it?
    cdef bint changes(self, Storage *s) noexcept
    cdef object replay(self, tuple arguments)
    cdef int run(self) except -1
    cdef object site_of(self, Py_ssize_t i)
    cdef object make_outputs(self, tuple arguments, list results)

cdef bint may_be_symbolic(object o)
cdef bint is_parameter(Array a) noexcept                      # is a tensor meant by identity: a parameter?
cdef tuple order_of(Array a)
cdef Array plain_copy(Array a)
