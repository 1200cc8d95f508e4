"""Programs: the launches of one call of a function, written down and run again without Python.

A storage has one lifetime while a program is captured, so an address in a step means one array. What nobody holds
when the function has returned is the program's own: its memory is planned anew. Everything else (parameters,
optimizer state, gradients) is shared with eager code, by storage.

The file is long because capture, the passes over the steps and the call stand on one structure.
"""
cimport cython
from cpython.float cimport PyFloat_Check
from cpython.object cimport PyObject
from libc.stdint cimport uint16_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy

from microgradx._core.array cimport *
from microgradx._core.graph cimport grad_enabled, set_grad_enabled
from microgradx._core.kernels cimport *
from microgradx._core.launch cimport Step, Tape, copy, current_tape, host, set_tape, written_at

import numpy as np

from microgradx.errors import CaptureError, DTypeError, IndexError_
from microgradx.trees import flatten, unflatten

PASSES = frozenset({"dead", "reuse"})


cdef list flags = None          # (module, its training flag) of the capture under way


def note_call(module):
    """A module is called: a program holds for its training flag only."""
    if flags is not None and current_tape() != NULL:
        flags.append((module, module.training))


cdef struct Place:              # an operand that lies in an input: rebound at every call
    char **p
    Py_ssize_t offset


cdef struct Life:               # of a storage in the steps
    Storage *storage
    Py_ssize_t first, last
    bint fresh                  # made in this program, written before it is read
    char *data                  # where the plan puts it


@cython.final
cdef class Program:
    """The steps of one capture, and what a replay has to read, write and hand out."""
    cdef Tape tape
    cdef list hosts, constants, inputs, outputs, effects, flags
    cdef dict leaves
    cdef list found             # (leaf, its gradient when the call began, whether the steps read that)
    cdef object tree            # the result, with its nesting
    cdef list expected          # arguments without nesting, by which a call is known at once; None if there is one
    cdef bint recording
    cdef Storage **changed      # storages that the steps write, each once
    cdef Py_ssize_t changed_count
    cdef Storage **held         # storages that the steps name, one reference each
    cdef Py_ssize_t held_count
    cdef Storage *arena         # the program's own memory
    cdef list places            # of each input: the number of its places, or None where its numbers are copied
    cdef Place *place
    cdef bint busy
    cdef readonly Py_ssize_t captured, own_bytes, planned_bytes
    cdef uint16_t number

    def __cinit__(self):
        self.hosts, self.constants, self.leaves = [], [], {}
        self.inputs, self.outputs, self.effects, self.flags, self.places = [], [], [], [], []
        self.tape.hosts, self.tape.constants = <PyObject *> self.hosts, <PyObject *> self.constants
        self.tape.leaves = <PyObject *> self.leaves

    def __dealloc__(self):
        cdef Py_ssize_t i
        for i in range(self.tape.count):
            free(self.tape.step[i].job)
            free(self.tape.step[i])
        free(self.tape.step)
        for i in range(self.held_count):
            unref(self.held[i])
        free(self.held)
        free(self.changed)
        free(self.place)
        if self.arena != NULL:
            unref(self.arena)

    # ----- capture -----------------------------------------------------------------------------------------------

    def capture(self, function, list arguments, object nesting, set passes):
        """Call ``function`` on copies of the ``arguments`` and write down what it launches; returns its result."""
        cdef Array a, x
        cdef Py_ssize_t i, count = 0
        cdef Storage **dropped
        cdef Tape *before
        global flags
        if capture or current_tape() != NULL:
            raise CaptureError("compile: a program is being captured already; a compiled function calls plain ones")
        inputs = [plain_copy(<Array> a) if isinstance(a, Array) else a for a in arguments]
        self.inputs = [x for x in inputs if isinstance(x, Array)]
        keep_blocks()
        self.number, self.recording = capture, grad_enabled()
        before = set_tape(&self.tape)
        flags = self.flags
        result = None
        failed = True
        try:
            args, kwargs = unflatten(nesting, iter(inputs))
            result = function(*args, **kwargs)
            self.tree = result
            self.outputs = [self.output(leaf) for leaf in flatten(result)]
            failed = False
        finally:
            set_tape(before)
            flags = None
            result = inputs = args = kwargs = x = a = None
            dropped = kept_blocks(&count)
            if failed:
                for i in range(count):
                    forget_block(dropped[i])
                free(dropped)
        self.captured = self.tape.count
        self.tree = unflatten(self.tree, iter(range(len(self.outputs))))
        self.effects = [(node, (<Node> node).grad) for node in self.leaves]
        self.settle(dropped, count, passes)
        self.found = [(node, grad, grad is not None and self.holds((<Array> grad).storage))
                      for node, grad in self.leaves.items()]
        for a, x in zip([a for a in arguments if isinstance(a, Array)], self.inputs):
            if x.storage.version > 1 and a.storage != x.storage:       # an argument was written to
                copy(x, a)
        if not nesting[1] and not any([isinstance(part, (list, tuple, dict)) for part in nesting[0]]):
            self.expected = arguments
        return self.hand_out(arguments)

    cdef tuple output(self, object leaf):
        """What a replay returns for one leaf of the result."""
        cdef Array a
        if not isinstance(leaf, Array):
            return ("constant", leaf)
        a = leaf
        for i, x in enumerate(self.inputs):
            if x is leaf:
                return ("input", i)
        if a.storage.born != self.number:
            return ("same", detached(a) if a.wants and a.node is not None and a.node.v.op != OP_LEAF else a)
        return ("fresh", detached(a))

    cdef int settle(self, Storage **dropped, Py_ssize_t count, set passes) except -1:
        """After the capture: which storages are whose; the passes; the plan."""
        cdef Py_ssize_t i, n = 0, lives = 0
        cdef int k
        cdef Step *s
        cdef Life *life = NULL
        cdef dict index = {}
        cdef size_t address
        cdef set gone = {<size_t> dropped[i] for i in range(count)}
        cdef set own
        cdef Array a
        try:
            for i in range(self.tape.count):
                n += self.tape.step[i].slots
            for _, outs, ins in self.hosts:
                n += len(outs) + len(ins)
            life = <Life *> malloc((n + 1) * sizeof(Life))
            self.held = <Storage **> malloc((n + 1) * sizeof(Storage *))
            if life == NULL or self.held == NULL:
                raise MemoryError("compile: no memory for the plan")
            for i in range(self.tape.count):
                s = self.tape.step[i]
                if s.host != NULL:
                    for o in (<tuple> s.host)[1] + (<tuple> s.host)[2]:
                        if isinstance(o, Array):
                            meet(life, index, (<Array> o).storage, i, False, self.number, &lives)
                for k in range(s.slots):
                    if s.storage[k] != NULL:
                        meet(life, index, s.storage[k], i, s.written >> k & 1, self.number, &lives)
            for i in range(lives):
                life[i].fresh = life[i].fresh and <size_t> life[i].storage in gone
            for a in self.inputs + [x for kind, x in self.outputs if kind == "fresh"]:
                if <size_t> a.storage in index:
                    life[<Py_ssize_t> index[<size_t> a.storage]].fresh = False
            for i in range(lives):                                  # what was let go and made before: its old numbers
                if <size_t> life[i].storage in gone and life[i].storage.born != self.number:
                    raise CaptureError("compile: the function replaces a tensor that it read (a gradient added to with "
                                       "create_graph=True, or an attribute set anew); write into it instead")
            if "dead" in passes:
                self.drop_dead(life, lives, index)
            if "reuse" in passes:
                self.plan(life, lives, index)
            for i in range(lives):
                if life[i].data == NULL and not (life[i].fresh and life[i].first < 0):      # the program holds it
                    if <size_t> life[i].storage in gone:
                        gone.discard(<size_t> life[i].storage)
                    life[i].storage.refs += 1
                    self.held[self.held_count] = life[i].storage
                    self.held_count += 1
            self.bind_inputs()
        finally:
            free(life)
            for address in gone:
                forget_block(<Storage *> address)
            free(dropped)
        return 0

    cdef int drop_dead(self, Life *life, Py_ssize_t lives, dict index) except -1:
        """Drop the steps whose results nobody reads."""
        cdef Py_ssize_t i, kept = 0
        cdef int k
        cdef Step *s
        cdef bint needed
        cdef set live = {i for i in range(lives) if not life[i].fresh}
        for i in range(self.tape.count - 1, -1, -1):
            s = self.tape.step[i]
            needed = s.host != NULL
            for k in range(s.slots):
                needed = needed or (s.written >> k & 1 and index[<size_t> s.storage[k]] in live)
            for k in range(s.slots):
                if needed and s.storage[k] != NULL:
                    live.add(index[<size_t> s.storage[k]])
            if not needed:
                free(s.job)
                free(s)
                self.tape.step[i] = NULL
        for i in range(lives):
            life[i].first = -1
        for i in range(self.tape.count):
            s = self.tape.step[i]
            if s == NULL:
                continue
            self.tape.step[kept] = s
            for k in range(s.slots):
                if s.storage[k] != NULL:
                    lived(&life[<Py_ssize_t> index[<size_t> s.storage[k]]], kept)
            kept += 1
        self.tape.count = kept
        return 0

    cdef int plan(self, Life *life, Py_ssize_t lives, dict index) except -1:
        """One block for all that is the program's own: each storage at the lowest place that is free in its life."""
        cdef Py_ssize_t i, j, at, top = 0
        cdef int k
        cdef Step *s
        cdef Life *one
        cdef Array block
        cdef list order, taken = []
        order = sorted([i for i in range(lives) if life[i].fresh and life[i].first >= 0],
                       key=lambda i: -life[<Py_ssize_t> i].storage.nbytes)
        offsets = {}
        for i in order:
            at = 0
            for start, stop, j in sorted(taken):
                if life[j].last < life[i].first or life[j].first > life[i].last:
                    continue
                if start - at >= life[i].storage.nbytes:
                    break
                at = max(at, stop)
            offsets[i] = at
            taken.append((at, at + life[i].storage.nbytes, i))
            top = max(top, at + life[i].storage.nbytes)
            self.own_bytes += life[i].storage.nbytes
        self.planned_bytes = top
        if not order:
            return 0
        at = (top + 3) // 4
        block = empty(MGX_F32, 1, &at)
        self.arena = block.storage
        self.arena.refs += 1
        for i in order:
            life[i].data = self.arena.data + <Py_ssize_t> offsets[i]
        for i in range(self.tape.count):
            s = self.tape.step[i]
            for k in range(s.slots):
                if s.storage[k] != NULL:
                    one = &life[<Py_ssize_t> index[<size_t> s.storage[k]]]
                    if one.data != NULL:
                        s.p[k] = one.data + (s.p[k] - one.storage.data)
                        s.storage[k] = self.arena
        return 0

    cdef int bind_inputs(self) except -1:
        """Where the steps read each input in place: nobody writes it, no host launch reads it, no result is it."""
        cdef Py_ssize_t i, n = 0, room = 0, count
        cdef int k
        cdef Step *s
        cdef Array x
        cdef set copied = {<size_t> (<Array> o).storage for _, outs, ins in self.hosts for o in outs + ins
                           if isinstance(o, Array)}
        copied.update(<size_t> (<Array> o).storage for kind, o in self.outputs if kind == "fresh")
        for i in range(self.tape.count):
            s = self.tape.step[i]
            room += s.slots
            for k in range(s.slots):
                if s.written >> k & 1:
                    copied.add(<size_t> s.storage[k])
        self.place = <Place *> malloc((room + 1) * sizeof(Place))
        self.changed = <Storage **> malloc((room + 1) * sizeof(Storage *))
        if self.place == NULL or self.changed == NULL:
            raise MemoryError("compile: no memory for the plan")
        written = set()
        for i in range(self.tape.count):
            s = self.tape.step[i]
            for k in range(s.slots):
                if s.written >> k & 1 and s.storage[k] != self.arena and <size_t> s.storage[k] not in written:
                    written.add(<size_t> s.storage[k])
                    self.changed[self.changed_count] = s.storage[k]
                    self.changed_count += 1
        for x in self.inputs:
            if <size_t> x.storage in copied:
                self.places.append(None)
                continue
            count = n
            for i in range(self.tape.count):
                s = self.tape.step[i]
                for k in range(s.slots):
                    if s.storage[k] == x.storage:
                        self.place[n].p, self.place[n].offset = &s.p[k], s.p[k] - x.data
                        n += 1
            self.places.append(n - count)
        return 0

    # ----- replay ------------------------------------------------------------------------------------------------

    cdef bint meant(self, tuple args) except -1:
        """Are these, without any nesting, arguments of the shapes and dtypes that were captured?"""
        cdef Py_ssize_t i
        cdef PyObject *o
        if self.expected is None or len(args) != len(self.expected) or self.recording != grad_enabled():
            return False
        for i in range(len(args)):
            o = <PyObject *> args[i]
            other = self.expected[i]
            if is_array(o) and isinstance(other, Array):
                if (<Array> o).wants or (<Array> o).kind != (<Array> other).kind or not same_shape(<Array> o, <Array> other):
                    if <object> o is not other:
                        return False
            elif is_array(o) or isinstance(<object> o, np.ndarray) or type(<object> o) is not type(other) \
                    or <object> o != other:
                return False
        return True

    cdef bint fits(self) except -1:
        """Is everything that the captured call found as it was then?"""
        cdef Node node
        for entry in self.found:
            node, before, read = <tuple> entry
            if (node.grad is None) != (before is None) or read and node.grad is not before:
                return False
        for module, training in self.flags:
            if module.training is not training:
                return False
        return True

    cdef bint holds(self, Storage *s) noexcept:
        cdef Py_ssize_t i
        for i in range(self.held_count):
            if self.held[i] == s:
                return True
        return False

    cdef object replay(self, list arguments):
        """Run the steps on other arguments of the same shapes and dtypes."""
        cdef Py_ssize_t i, j, at = 0, bad = -1, stop
        cdef int k
        cdef Step *s
        cdef Array a, x
        cdef list given = [a for a in arguments if isinstance(a, Array)], rebound = []
        if self.busy:
            raise CaptureError("compile: this program is running already, in another thread; give each thread its own")
        self.busy = True
        try:
            for i in range(len(given)):
                a, x = given[i], self.inputs[i]
                if self.places[i] is None or not a.contiguous:
                    copy(a, x)
                    a = x
                if self.places[i] is not None:
                    rebound.append(a)                               # alive as long as its bytes are read
                    for j in range(at, at + <Py_ssize_t> self.places[i]):
                        self.place[j].p[0] = a.data + self.place[j].offset
                    at += <Py_ssize_t> self.places[i]
            i = 0
            while i < self.tape.count:
                with nogil:
                    while i < self.tape.count:
                        s = self.tape.step[i]
                        if s.run == NULL:
                            break
                        bad = s.run(s)
                        if bad >= 0:
                            break
                        i += 1
                if bad >= 0:
                    raise IndexError_(f"compile: launch {i} of {self.tape.count}, {s.name.decode()}: a label or index at "
                                      f"position {bad} is out of range; the {i} launches before it have written")
                if i < self.tape.count:
                    function, outs, ins = <tuple> self.tape.step[i].host
                    host(function, outs, ins)
                    i += 1
            for i in range(self.changed_count):
                self.changed[i].version += 1
            for pair in self.effects:
                (<Node> (<tuple> pair)[0]).grad = (<tuple> pair)[1]
            for i in range(len(given)):
                if self.places[i] is None and (<Array> self.inputs[i]).storage.version > 1:
                    copy(self.inputs[i], given[i])
        finally:
            self.busy = False
        return self.hand_out(arguments)

    cdef object hand_out(self, list arguments):
        """The result, in arrays of its own."""
        cdef list leaves = []
        cdef list given = None
        for kind, what in self.outputs:
            if kind == "fresh":
                leaves.append(plain_copy(<Array> what))
            elif kind == "input":
                given = [a for a in arguments if isinstance(a, Array)]
                leaves.append(given[what])
            else:
                leaves.append(what)
        if len(leaves) == 1 and self.tree == 0:
            return leaves[0]
        return unflatten(self.tree, iter(leaves))

    def steps(self):
        """(name, elements of the largest operand, bytes of all operands) of every launch."""
        cdef Py_ssize_t i
        cdef Step *s
        rows = []
        for i in range(self.tape.count):
            s = self.tape.step[i]
            if s.host != NULL:
                rows.append((f"host {(<tuple> s.host)[0].__name__.strip('_')}", 0))
            else:
                rows.append((s.name.decode(), s.n[0]))
        return rows


cdef inline void lived(Life *one, Py_ssize_t i) noexcept:
    if one.first < 0:
        one.first = i
    one.last = i


cdef int meet(Life *life, dict index, Storage *s, Py_ssize_t i, bint written, uint16_t number,
              Py_ssize_t *lives) except -1:
    """A step names a storage."""
    cdef size_t address = <size_t> s
    cdef Py_ssize_t at
    if address not in index:
        at = index[address] = lives[0]
        lives[0] += 1
        life[at].storage, life[at].first, life[at].data = s, i, NULL
        life[at].fresh = written and s.born == number
    life[<Py_ssize_t> index[address]].last = i
    return 0


cdef Array plain_copy(Array a):
    """A copy in order, without a graph."""
    cdef Array out = empty_like(a)
    copy(a, out)
    return out


# ----- the callable ----------------------------------------------------------------------------------------------

cdef enum: MOST_PROGRAMS = 16


cdef class Compiled:
    """What ``mgx.compile`` returns."""
    cdef readonly object function
    cdef dict seen              # {key: None after the first call, then [Program]}
    cdef set passes
    cdef Program last           # that ran
    cdef dict __dict__

    def __init__(self, function, passes):
        self.function, self.passes, self.seen = function, passes, {}

    def __call__(self, *args, **kwargs):
        cdef list leaves
        cdef Program program = self.last
        if program is not None and not kwargs and program.meant(args) and program.fits() and current_tape() == NULL:
            return program.replay(list(args))
        leaves = [leaf_of(leaf) for leaf in flatten((args, kwargs))]
        if current_tape() != NULL:                                  # within another capture: its launches are written
            return self.function(*args, **kwargs)
        key = (grad_enabled(), shape_of_tree((args, kwargs)), tuple([key_of(leaf) for leaf in leaves]))
        known = self.seen.get(key)
        if known:
            for program in known:
                if program.fits():
                    self.last = program
                    return program.replay(leaves)
        nesting = (args, kwargs)
        if key not in self.seen:                                    # once as it is: what is made lazily comes to be
            if len(self.seen) >= MOST_PROGRAMS:
                self.seen.pop(next(iter(self.seen)))
            self.seen[key] = []
            args, kwargs = unflatten(nesting, iter(leaves))
            result = self.function(*args, **kwargs)
            return unflatten(result, iter([loose(leaf) for leaf in flatten(result)]))
        program = Program()
        result = program.capture(self.function, leaves, nesting, self.passes)
        self.seen[key] = [program] + self.seen[key][:3]
        self.last = program
        return result

    @property
    def programs(self):
        """The programs captured so far."""
        return [program for known in self.seen.values() for program in known]


cdef object leaf_of(object leaf):
    """Arrays become tensors; a tensor that requires a gradient stays the one it is."""
    if isinstance(leaf, np.ndarray):
        return from_object(leaf, None, False)
    return leaf


cdef object key_of(object leaf):
    if isinstance(leaf, Array):
        return ((<Array> leaf).kind, shape_of(leaf), id(leaf) if (<Array> leaf).wants else None)
    try:
        hash(leaf)
    except TypeError:
        return type(leaf), id(leaf)
    return type(leaf), leaf


cdef object shape_of_tree(object tree):
    if isinstance(tree, dict):
        return tuple([(key, shape_of_tree(part)) for key, part in tree.items()])
    if isinstance(tree, (list, tuple)):
        return (type(tree), *[shape_of_tree(part) for part in tree])
    return None


cdef object loose(object leaf):
    """A result without its graph: only a program's own backward pass has gradients."""
    if isinstance(leaf, Array) and (<Array> leaf).wants and (<Array> leaf).node is not None \
            and (<Array> leaf).node.v.op != OP_LEAF:
        return detached(leaf)
    return leaf
