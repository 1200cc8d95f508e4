from microgradx._core.array cimport Array, Node, Storage
from microgradx._core.launch cimport LaunchList
from microgradx._core.capture.environment cimport Environment
from microgradx._core.capture.program cimport Product, Program
from microgradx._core.capture.pullback cimport Pullback

cdef class Found:               # a leaf whose gradient the call reads: its gradient is part of what the call depends on
    cdef Node node
    cdef Array was              # the gradient at the capture, later the one that was read last; None: there was none
    cdef Py_ssize_t binding     # UNUSED: no launch names it; COPIED: it has to be this one

cdef class Output:              # where a replay has a leaf of the result, or the value of an effect, from
    cdef int kind               # Source
    cdef object what
    cdef Product product

cdef class Effect:              # what a call changes besides numbers
    cdef int kind               # EffectOn
    cdef object target, name, value
    cdef bint freed                 # is the value's graph freed when the call ends?
    cdef object tree                # of a value that holds tensors in lists, tuples or dicts, or None
    cdef list outputs               # its leaves
    cdef Output output              # the first of them
    cdef Product product            # of a leaf: its gradient, if the launches write that in place

cdef struct Input:              # a tensor among the arguments
    Py_ssize_t leaf, binding    # its number; the binding of the program, or COPIED, UNUSED
    Py_ssize_t offset           # of its copy in the block that the backward pass reads, or -1
    bint written                # does the call write to it?

cdef class CapturedCall:
    cdef Program forward
    cdef Pullback pullback          # the node of results that have a graph, or None
    cdef object function
    cdef object structure, tree     # of the arguments; of the result
    cdef tuple expected             # of each argument: a private copy, the type of a number that moves, or its value
    cdef char *form                 # of each argument: how it is compared
    cdef Py_ssize_t leaves
    cdef Py_ssize_t apart           # how many storages the gradients have that it reads
    cdef list numbers, inputs       # positions among the arguments: of numbers that move; of tensors
    cdef Input *input
    cdef Py_ssize_t input_count
    cdef Storage **used             # of each input: the argument's storage, while the launches run
    cdef readonly set read          # arguments whose number decided something
    cdef list own                   # guards of what the call made for itself, and their owners, which launches may read
    cdef readonly list guards       # what else the call depends on; looked at after a write to any such thing
    cdef list polled                # ... looked at in each call
    cdef Environment environment    # what the function can reach; None: whatever becomes of it, it runs as it is
    cdef list tensors               # (tensor, storage, requires_grad, hooks, is_leaf) of those that were there
    cdef list found, outputs, effects
    cdef Environment around         # of a call that runs as it is and changes what it depends on, as the last one left
    cdef list changed               # ... it: what it can reach; guards of attributes and options that it changes
    cdef bint moves                 # does each call change that, whatever it finds?
    cdef dict leaf_of_effect        # {number of an output: the leaf whose gradient it is}
    cdef list products              # Product: arrays that the launches write where they are handed out
    cdef list handed_out            # of these those that are no gradient of a leaf, and new in each call
    cdef dict shared                # {id: copy} of the memory that several outputs share, while they are made
    cdef dict needed                # {number of an argument: did it require a gradient?}
    cdef list graphs                # (i, requires_grad, is_leaf) of tensors among the arguments, if it asks
    cdef list same                  # (i, j): argument i is the same object as argument j
    cdef Py_ssize_t world, gradients    # versions at which all guards held
    cdef Py_ssize_t results         # how many of the outputs are leaves of the result; the others are effects
    cdef bint recording, steady, mutates, busy
    cdef int default_float          # of the world at the capture, as `recording` is
    cdef bint is_one_array          # is a result that the launches write all that the call leaves?
    cdef readonly bint flat         # no argument is nested or a keyword
    cdef readonly str as_it_is      # why it is never replayed, or None
    cdef readonly str failed        # the guard that failed last
    cdef readonly Py_ssize_t replays

    cdef bint match(self, object structure, object leaves) except -1     # arguments of the kinds that were captured?
    cdef bint holds(self, object leaves) except -1                       # is all else as it was?
    cdef bint guards_hold(self) except -1
    cdef bint may_settle(self) noexcept
    cdef bint renew(self) except -1
    cdef bint is_still(self) except -1
    cdef bint gradients_hold(self) except -1
    cdef int count_holds(self, dict counts) except -1
    cdef bint is_lost(self, set unreachable, dict holds) except -1
    cdef bint conflicts(self, object leaves) except -1
    cdef object capture(self, function, Environment environment, tuple given, object structure, list leaves, set passes,
                        set fixed)
    cdef int release(self, Storage **dropped, Py_ssize_t count) except -1
    cdef int keep_tensors(self, LaunchList recording, list samples) except -1
    cdef int note_effects(self, LaunchList recording, list samples) except -1
    cdef list describe(self, list leaves, list arguments, dict around)
    cdef int note_versions(self) except -1
    cdef int write_back(self, object leaves, list samples, set own) except -1
    cdef int finish_as_it_is(self, object leaves, list samples, set own, Environment environment) except -1
    cdef tuple output_of(self, Array a, list arguments, dict by_storage)
    cdef list movable(self, list samples)
    cdef int note_bindings(self, list movable, list samples, dict saved) except -1
    cdef object replay(self, object leaves)
    cdef list make_results(self, object leaves)
    cdef object output(self, Output output, list values, object leaves)
    cdef object effect_value(self, Effect effect, list values, object leaves)
    cdef Array copy_of(self, Input *input, Array block)
    cdef int copy_back(self, object leaves, Array block) except -1
    cdef int apply_effects(self, list values, object leaves) except -1
