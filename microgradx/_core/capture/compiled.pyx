"""What ``mgx.compile`` returns: a function that knows which of its programs a call is for."""
from microgradx._core.array cimport Array, capture, detached, from_object, shape_of
from microgradx._core.debug.check cimport checked
from microgradx._core.graph cimport grad_enabled, watching
from microgradx._core.launch cimport is_capturing, rebindings
from microgradx._core.capture.program cimport Program, is_parameter, may_be_symbolic, order_of

import numpy as np

from microgradx._core.scalar.tape import compile_values
from microgradx._core.trees import flatten, unflatten
from microgradx._core.value import Value
from microgradx.errors import CaptureError

cdef enum: MOST_PROGRAMS = 16


cdef class Compiled:
    """What ``mgx.compile`` returns."""
    cdef readonly object function
    cdef dict seen              # {key: [] after the first call, then programs}
    cdef set passes
    cdef set fixed              # arguments whose numbers have decided something: another one is another program
    cdef object shared          # if calls are checked: gives the generator of random numbers that all share
    cdef object values          # the same function as a program of Values
    cdef Program last           # that ran, if calls are not checked
    cdef dict __dict__

    def __init__(self, function, passes, shared=None):
        self.function, self.passes, self.seen, self.fixed, self.shared = function, passes, {}, set(), shared

    def __call__(self, *args, **kwargs):
        cdef Program program = self.last
        cdef tuple leaves
        if program is not None and not kwargs and not watching and not is_capturing() \
                and program.matches_expected(args) and program.fits():
            return program.replay(args)
        found, structure = flatten((args, kwargs))
        leaves = tuple([leaf_of(leaf) for leaf in found])
        if any([type(leaf) is Value for leaf in leaves]):           # a scalar program: a flat list of the table's rows
            if self.values is None:
                self.values = compile_values(self.function)
            return self.values(*args, **kwargs)
        if watching or capture:                     # within a capture its launches are written; of another thread: wait
            return self.run_eagerly(structure, leaves)
        key = self.key(structure, leaves)
        if key not in self.seen:                                    # once as it is: what is made lazily comes to be
            self.keep(key, [])
            return self.run_eagerly(structure, leaves)
        self.seen[key] = known = [program for program in self.seen[key] if program.rebindings == rebindings]
        for program in known:
            if program.fits():
                if self.shared is not None:
                    return checked(program, leaves, lambda: self.run_eagerly(structure, leaves), self.shared())
                self.last = program
                return program.replay(leaves)
        self.last = None
        program = Program()
        result = program.capture(self.function, leaves, structure, self.passes, self.fixed)
        if program.read:                                            # it is for these numbers only
            self.fixed |= program.read
            self.keep(self.key(structure, leaves), [program])
        else:
            self.keep(key, [program, *known[:3]])
            self.last = program if self.shared is None else None
        return result

    cdef int keep(self, object key, list programs) except -1:
        if key not in self.seen and len(self.seen) >= MOST_PROGRAMS:
            self.seen.pop(next(iter(self.seen)))
        self.seen[key] = programs
        return 0

    cdef object key(self, object structure, tuple leaves):
        """What programs for such arguments have in common."""
        return (grad_enabled(), structure, shared_by(leaves),
                *[type(leaf) if may_be_symbolic(leaf) and i not in self.fixed else key_of(leaf)
                  for i, leaf in enumerate(leaves)])

    cdef object run_eagerly(self, object structure, tuple leaves):
        args, kwargs = unflatten(structure, iter(leaves))
        found, tree = flatten(self.function(*args, **kwargs))
        return unflatten(tree, iter([loose(leaf) for leaf in found]))

    def explain(self):
        """What was captured, as text: a table of launches for every program."""
        return "\n\n".join([program.explain() for program in self.programs]) or "not captured yet: the second call is"

    @property
    def programs(self):
        """The programs captured so far."""
        return [program for known in self.seen.values() for program in known]


cdef object leaf_of(object leaf):
    """Arrays become tensors; a tensor that requires a gradient stays the one it is."""
    if isinstance(leaf, np.ndarray):
        return from_object(leaf, None, False)
    if isinstance(leaf, Array) and (<Array> leaf).needs_grad and not is_parameter(<Array> leaf):
        if grad_enabled():
            raise CaptureError("compile: an argument has a graph, and gradients do not flow out of a program; pass "
                               "x.detach(), or compile a function that computes it too")
        return detached(<Array> leaf)
    return leaf


cdef object key_of(object leaf):
    if isinstance(leaf, Array):
        return ((<Array> leaf).dtype_, shape_of(leaf), order_of(<Array> leaf),
                id(leaf) if is_parameter(<Array> leaf) else None)
    if isinstance(leaf, (float, complex, np.generic)):              # -0.0 == 0.0, but they are not the same
        return type(leaf), repr(leaf)
    try:
        hash(leaf)
    except TypeError:
        return type(leaf), id(leaf)
    return type(leaf), leaf


cdef tuple shared_by(tuple leaves):
    """Which of the tensors are one object, or share memory; None if each has its own."""
    cdef list arrays = [leaf for leaf in leaves if isinstance(leaf, Array)]
    cdef list objects = [id(a) for a in arrays], storages = [<size_t> (<Array> a).storage for a in arrays]
    if len(set(storages)) == len(storages):
        return None
    return tuple([objects.index(o) for o in objects]), tuple([storages.index(s) for s in storages])


cdef object loose(object leaf):
    """A result without its graph: only a program's own backward pass has gradients."""
    if isinstance(leaf, Array) and (<Array> leaf).needs_grad and not is_parameter(<Array> leaf):
        return detached(leaf)
    return leaf
