from libc.stdint cimport uint16_t, uint32_t

from microgradx._core.array cimport Array, AtOnce, Node, Storage
from microgradx._core.capture.environment cimport Environment
from microgradx._core.capture.program cimport Product, Program

cdef class Pullback:            # of a captured call: from the gradients of its results to those of what it was made of
    cdef Program program
    cdef list abandoned         # programs that could not be captured, until the capture ends
    cdef list singles           # Pullback of each result alone, of several
    cdef list into              # of a single one: which parents of the whole its own are
    cdef list at                # ... which of the storages that the whole reads its own are
    cdef list roots             # (number of the output, is its graph freed?) of the results that have a graph
    cdef list freed             # the numbers of those whose graph is
    cdef list parents           # what gradients go to: nodes of leaves, or the numbers of arguments
    cdef list cotangents        # [sample], one for each root whose graph is not freed
    cdef list given             # their bindings
    cdef list products          # a Product or None for each parent
    cdef list arguments         # (number of the argument, binding)
    cdef list numbers           # (number of the argument, array) of floats that it reads
    cdef dict saved             # {storage: offset} in the block of what the forward pass leaves
    cdef Py_ssize_t saved_bytes, binding, forward_binding
    cdef Array block            # the last one
    cdef Storage **read         # storages from outside that it reads, and then those that the forward pass reads
    cdef Py_ssize_t read_count, needed_count
    cdef dict position_of       # {storage: its number among these}
    cdef list others            # arguments that only the forward pass reads
    cdef set saved_tensors      # addresses of tensors that nodes have saved, other than by their storage
    cdef list kept              # of these those from outside
    cdef Storage **kept_in      # the storage that each of them had
    cdef list kept_arguments    # the numbers of arguments among them
    cdef bint busy
    cdef bint apart             # are there several groups?
    cdef list groups            # of each root: the number of its group; those of different ones have graphs apart

    cdef int note_saved(self, list roots) except -1
    cdef int note_kept(self, list tensors, list inputs, list samples) except -1
    cdef int finalize(self, Storage **dropped, Py_ssize_t count, set passes, Program forward, list numbers,
                      list inputs, list samples) except -1
    cdef list programs(self)
    cdef int hold_operands(self) except -1
    cdef Array take_block(self)
    cdef int attach(self, list values, object leaves, object call) except -1
    cdef Array joint_of(self, object group, Array joint)
    cdef list run(self, Residuals residuals, list cotangents)
    cdef list replay(self, Residuals residuals, list cotangents)
    cdef int check_read(self, Residuals residuals) except -1
    cdef int check_all(self, Residuals residuals) except -1
    cdef int note_reads(self, Program program, uint16_t number, list numbers) except -1
    cdef int note_bindings(self, list numbers, list inputs, Py_ssize_t samples) except -1
    cdef int finish(self, Program forward, list numbers, list inputs, list samples, list tensors) except -1

cdef class Residuals(AtOnce):   # what one call leaves for its backward pass
    cdef Pullback pullback
    cdef Array block
    cdef dict arguments         # {number: (array, version)}
    cdef list others            # (array, version) of those that only the forward pass reads
    cdef object leaves          # of the arguments, to run the function again
    cdef object call            # the captured call, which can do that: `run_again`
    cdef uint32_t *version      # of the storages that the backward pass reads
    cdef list cotangents        # of several roots, until the node that joins them is reached

cdef object capture_pullback(Pullback pull, Program forward, list roots, list inputs, list samples,
                             Environment environment)
