from cpython cimport array
from libc.stdint cimport int32_t
from microgradx._core.kernels cimport mgx_segment
from microgradx._core.value cimport Recording

cdef class Numbers:
    cdef list initial                               # by slot
    cdef list steps                                 # (op, slot of the result, slots of the operands), flat
    cdef set read                                   # arguments whose numbers have decided something
    cdef int constant(self, double x) except -1
    cdef int slot_of(self, object o) except -1

cdef class Nodes:
    cdef array.array ops, first, operands           # of each node; where its operands begin, and one more; which
    cdef Py_ssize_t leaves

cdef class Lowered(Nodes):
    cdef list parameters                            # Values that are read besides the inputs, in order of the leaves
    cdef list places                                # by result: its index if a node made it, or -1
    cdef array.array linked                         # by node: whether it was made with a graph
    cdef bint single                                # whether one node can stand for all
    cdef int write(self, Recording recording, const int32_t *source, const int32_t *order, Py_ssize_t count,
                   const int32_t *leaf, int32_t *position) except -1

cdef class Segment(Nodes):
    cdef mgx_segment c
    cdef array.array needs, order, alike
    cdef int arrange(self) except -1

cdef Lowered lower(Recording recording, Numbers numbers, list inputs, list results)
cdef Segment segment_of(Lowered lowered, Numbers numbers)
