"""Programs: the launches of one call of a function, written down and run again without Python.

A storage has one lifetime while a program is captured, so an address in a step means one array. What nobody holds
when the function has returned is the program's own: its memory is planned anew. Everything else (parameters,
optimizer state, gradients) is shared with eager code, by storage.

The file is long because capture, the passes over the steps and the call stand on one structure.
"""
cimport cython
from cpython.object cimport PyObject
from libc.stdint cimport uint16_t
from libc.stdlib cimport free, malloc

from microgradx._core.array cimport *
from microgradx._core.graph cimport grad_enabled, watching
from microgradx._core.kernels cimport *
from microgradx._core cimport launch
from microgradx._core.launch cimport Step, Tape, copy, current_tape, host, rebindings, set_tape, put_back

import time
import weakref

import numpy as np

from microgradx._core.explain import table
from microgradx._core.launch import exchanged
from microgradx._core.tape import compile_values
from microgradx._core.value import Value
from microgradx.errors import CaptureError, Error, IndexError_
from microgradx.trees import flatten, unflatten

ALIASED = "compile: an argument shares memory with a tensor that the function writes to; pass a clone()"
PASSES = frozenset({"constants", "dead", "reuse"})


cdef list flags = None          # (module, its training flag) of the capture under way
cdef object met = weakref.WeakSet()             # modules that were called during a capture
cdef Py_ssize_t switched = 0    # how often a training flag was assigned


def note_call(module):
    """A module is called: a program holds for its training flag only."""
    if flags is not None and current_tape() != NULL:
        flags.append((module, module.training))
        met.add(module)


def note_change(module, str name):
    """An attribute of a module is assigned."""
    global switched
    if name == "training":
        switched += 1
    elif len(met) and module in met:
        exchanged()


cdef struct Place:              # an operand that lies in an input: rebound at every call
    char **p
    Py_ssize_t offset


cdef struct Life:               # of a storage in the steps
    Storage *storage
    Py_ssize_t first, last, writes
    bint fresh                  # made in this program, written before it is read
    char *data                  # where the plan puts it


cdef enum Kind:                 # what a replay returns for a leaf of the result
    CONSTANT, FRESH, GIVEN, AGAIN


@cython.final
cdef class Program:
    """The steps of one capture, and what a replay has to read, write and hand out."""
    cdef Tape tape
    cdef list hosts, constants, effects, flags
    cdef tuple inputs           # a private copy of each tensor among the arguments
    cdef tuple leaf             # which argument each input is
    cdef tuple outputs          # (Kind, what)
    cdef tuple expected         # arguments without nesting, by which a call is known at once; None if there is nesting
    cdef dict leaves
    cdef list found             # (leaf, was there a gradient when the call began, that gradient if the steps read it)
    cdef object tree            # the result, with its nesting
    cdef object bound           # arguments that are meant by identity
    cdef bint recording, shared, mutates
    cdef Storage **changed      # storages that the steps write, each once
    cdef Py_ssize_t changed_count
    cdef Storage **held         # storages that the steps name, one reference each
    cdef Py_ssize_t held_count
    cdef Storage *arena         # the program's own memory
    cdef Py_ssize_t *places     # of each input: the number of its places, or -1 where its numbers are copied
    cdef char *written          # of each input: do the steps write to it?
    cdef Place *place
    cdef bint busy, light
    cdef Py_ssize_t rebindings, switched
    cdef readonly Py_ssize_t captured, own_bytes, planned_bytes
    cdef readonly list before   # the launches as they were captured
    cdef uint16_t number

    def __cinit__(self):
        self.hosts, self.constants, self.leaves, self.effects, self.flags = [], [], {}, [], []
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
        free(self.places)
        free(self.written)
        if self.arena != NULL:
            unref(self.arena)

    # ----- capture -----------------------------------------------------------------------------------------------

    def capture(self, function, tuple arguments, object nesting, set passes):
        """Call ``function`` on copies of the ``arguments`` and write down what it launches; returns its result."""
        cdef Array a, x
        cdef Py_ssize_t i, k, count = 0
        cdef Storage **dropped
        cdef Tape *before
        cdef dict copies = {}
        cdef list leaf = [], inputs = []
        cdef set storages = set()
        global flags
        passed = list(arguments)
        for i, o in enumerate(arguments):
            if not isinstance(o, Array) or bound_leaf(<Array> o):
                continue
            if id(o) not in copies:
                self.shared = self.shared or <size_t> (<Array> o).storage in storages
                storages.add(<size_t> (<Array> o).storage)
                copies[id(o)] = plain_copy(<Array> o)
                leaf.append(i)
                inputs.append(copies[id(o)])
            else:
                self.shared = True
            passed[i] = copies[id(o)]
        self.inputs, self.leaf, self.bound = tuple(inputs), tuple(leaf), \
            [o for o in arguments if not isinstance(o, Array) or bound_leaf(<Array> o)]
        keep_blocks()
        self.number, self.recording = capture, grad_enabled()
        before = set_tape(&self.tape)
        flags = self.flags
        result = None
        failed = True
        try:
            args, kwargs = unflatten(nesting, iter(passed))
            result = function(*args, **kwargs)
            self.describe(flatten(result))
            self.tree = unflatten(result, iter(range(len(self.outputs))))   # its graph is let go while blocks are kept
            self.settle_gradients()
            failed = False
        finally:
            set_tape(before)
            flags = None
            result = inputs = passed = args = kwargs = x = a = copies = o = None
            dropped = kept_blocks(&count)
            if failed:
                self.outputs = self.tree = None
                for i in range(count):
                    forget_block(dropped[i])
                free(dropped)
        self.captured, self.before = self.tape.count, self.launches()
        self.settle(dropped, count, passes)
        self.found = [(node, grad is not None,
                       grad if grad is not None and self.holds((<Array> grad).storage) else None)
                      for node, grad in self.leaves.items()]
        self.leaves.clear()
        self.rebindings, self.switched = rebindings, switched
        for i, k in enumerate(self.leaf):
            a, x = arguments[k], self.inputs[i]
            if self.changes(a.storage):
                raise CaptureError(ALIASED)
            if self.written[i]:
                if self.shared and sum([(<Array> o).storage == a.storage for o in arguments
                                        if isinstance(o, Array) and o is not a]):
                    raise CaptureError("compile: the function writes to an argument that shares memory with another; "
                                       "pass a clone()")
                check_write(a, "compile")
                copy(x, a)
        if not nesting[1] and not any([isinstance(part, (list, tuple, dict)) for part in nesting[0]]):
            expected = list(arguments)
            for i, k in enumerate(self.leaf):
                expected[k] = self.inputs[i]
            self.expected = tuple(expected)
        return self.hand_out(arguments)

    cdef int describe(self, list leaves) except -1:
        """What a replay returns for each leaf of the result."""
        cdef list outputs = []
        cdef dict seen = {}
        cdef Array a, x
        for o in leaves:
            if not isinstance(o, Array):
                outputs.append((CONSTANT, o))
                continue
            if id(o) in seen:
                outputs.append((AGAIN, seen[id(o)]))
                continue
            seen[id(o)] = len(outputs)
            a = o
            for i, x in enumerate(self.inputs):
                if x is a:
                    outputs.append((GIVEN, self.leaf[i]))
                    break
            else:
                if a.storage.born == self.number or any([(<Array> x).storage == a.storage for x in self.inputs]):
                    outputs.append((FRESH, detached(a)))
                else:
                    outputs.append((CONSTANT, detached(a) if a.wants and not bound_leaf(a) else a))
        self.outputs = tuple(outputs)
        return 0

    cdef int settle_gradients(self) except -1:
        """What the call did to gradients. One that it read and then replaced is written to instead: so the next call
        finds it where it was."""
        cdef Array old, new
        for node, old in list(self.leaves.items()):
            new = (<Node> node).grad
            if old is not None and new is not None and new is not old and not new.wants and self.names(old.storage):
                copy(new, old)
                (<Node> node).grad = old
            self.effects.append((node, (<Node> node).grad))
        return 0

    cdef bint names(self, Storage *storage) noexcept:
        cdef Py_ssize_t i
        cdef int k
        for i in range(self.tape.count):
            for k in range(self.tape.step[i].slots):
                if self.tape.step[i].storage[k] == storage:
                    return True
        return False

    cdef int settle(self, Storage **dropped, Py_ssize_t count, set passes) except -1:
        """After the capture: which storages are whose; the passes; the plan."""
        cdef Py_ssize_t i, n = 0, lives = 0
        cdef int k
        cdef Step *s
        cdef Life *life = NULL
        cdef dict index = {}
        cdef size_t address
        cdef set gone = {<size_t> dropped[i] for i in range(count)}
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
            for a in [*self.inputs, *[x for kind, x in self.outputs if kind == FRESH]]:
                if <size_t> a.storage in index:
                    life[<Py_ssize_t> index[<size_t> a.storage]].fresh = False
            for i in range(lives):                                  # what was let go and made before: its old numbers
                if <size_t> life[i].storage in gone and life[i].storage.born != self.number:
                    raise CaptureError("compile: the function replaces a tensor that it read (a gradient added to with "
                                       "create_graph=True, or an attribute set anew); write into it instead")
            if "constants" in passes:
                self.drop_constants(life, lives, index)
            if "dead" in passes:
                self.drop_dead(life, lives, index)
            if "reuse" in passes:
                self.plan(life, lives, index)
            for i in range(lives):
                if life[i].data == NULL and not (life[i].fresh and life[i].first < 0):      # the program holds it
                    if <size_t> life[i].storage in gone:
                        gone.discard(<size_t> life[i].storage)
                    life[i].storage.refs += 1
                    life[i].storage.held = True
                    self.held[self.held_count] = life[i].storage
                    self.held_count += 1
            self.bind_inputs()
        finally:
            free(life)
            for address in gone:
                forget_block(<Storage *> address)
            free(dropped)
        return 0

    cdef int drop_constants(self, Life *life, Py_ssize_t lives, dict index) except -1:
        """Numbers that only this program holds and nothing overwrites need not be written anew."""
        cdef Py_ssize_t i
        cdef Step *s
        cdef Life *one
        for i in range(self.tape.count):
            s = self.tape.step[i]
            if s.name == launch.CONSTANT:
                one = &life[<Py_ssize_t> index[<size_t> s.storage[1]]]
                if one.fresh and one.writes == 1:
                    one.fresh = False
                    drop(&self.tape.step[i])
        return self.close_ranks(life, lives, index)

    cdef int drop_dead(self, Life *life, Py_ssize_t lives, dict index) except -1:
        """Drop the steps whose results nobody reads."""
        cdef Py_ssize_t i
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
                drop(&self.tape.step[i])
        return self.close_ranks(life, lives, index)

    cdef int close_ranks(self, Life *life, Py_ssize_t lives, dict index) except -1:
        """After steps were dropped: the others move up, and lives are told anew."""
        cdef Py_ssize_t i, kept = 0
        cdef int k
        cdef Step *s
        cdef Life *one
        for i in range(lives):
            life[i].first = -1
        for i in range(self.tape.count):
            s = self.tape.step[i]
            if s == NULL:
                continue
            self.tape.step[kept] = s
            for k in range(s.slots):
                if s.storage[k] != NULL:
                    one = &life[<Py_ssize_t> index[<size_t> s.storage[k]]]
                    one.last = kept
                    if one.first < 0:
                        one.first = kept
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
        cdef Py_ssize_t i, j, n = 0, room = 0, count, total = 0
        cdef int k
        cdef Step *s
        cdef Array x
        cdef set copied = {<size_t> (<Array> o).storage for _, outs, ins in self.hosts for o in outs + ins
                           if isinstance(o, Array)}
        cdef set written = set()
        copied.update([<size_t> (<Array> o).storage for kind, o in self.outputs if kind == FRESH])
        for i in range(self.tape.count):
            s = self.tape.step[i]
            room += s.slots
            for k in range(s.slots):
                if s.written >> k & 1:
                    copied.add(<size_t> s.storage[k])
        self.place = <Place *> malloc((room + 1) * sizeof(Place))
        self.changed = <Storage **> malloc((room + len(self.hosts) * 8 + 1) * sizeof(Storage *))
        self.places = <Py_ssize_t *> malloc((len(self.inputs) + 1) * sizeof(Py_ssize_t))
        self.written = <char *> malloc(len(self.inputs) + 1)
        if self.place == NULL or self.changed == NULL or self.places == NULL or self.written == NULL:
            raise MemoryError("compile: no memory for the plan")
        for i in range(self.tape.count):
            s = self.tape.step[i]
            for k in range(s.slots):
                if s.written >> k & 1 and s.storage[k] != self.arena and <size_t> s.storage[k] not in written:
                    written.add(<size_t> s.storage[k])
                    self.changed[self.changed_count] = s.storage[k]
                    self.changed_count += 1
        for i, x in enumerate(self.inputs):
            self.written[i] = x.storage.version > 1
            self.mutates = self.mutates or self.written[i]
            self.places[i] = -1
            if <size_t> x.storage in copied:
                continue
            count = n
            for j in range(self.tape.count):
                s = self.tape.step[j]
                for k in range(s.slots):
                    if s.storage[k] == x.storage:
                        self.place[n].p, self.place[n].offset = &s.p[k], s.p[k] - x.data
                        n += 1
            self.places[i] = n - count
        for i in range(self.held_count):
            total += self.held[i].nbytes
        self.light = self.tape.count <= 16 and total + self.planned_bytes <= 1 << 14 and not self.hosts
        return 0

    # ----- replay ------------------------------------------------------------------------------------------------

    cdef bint meant(self, tuple args) except -1:
        """Are these, without any nesting, arguments of the shapes and dtypes that were captured?"""
        cdef Py_ssize_t i
        cdef PyObject *o
        cdef Array a, x
        if self.expected is None or len(args) != len(self.expected) or self.recording != grad_enabled() \
                or self.mutates or self.shared:
            return False
        for i in range(len(args)):
            o = <PyObject *> args[i]
            if o == <PyObject *> self.expected[i]:
                if is_array(o) and not bound_leaf(<Array> o):
                    return False                                    # a private copy came out
                continue
            if not is_array(o) or not is_array(<PyObject *> self.expected[i]):
                return False
            a, x = <Array> <object> o, <Array> self.expected[i]
            if a.wants or x.wants or a.kind != x.kind or not same_shape(a, x) or not (
                    a.contiguous and x.contiguous):
                return False
        return True

    cdef bint fits(self) except -1:
        """Is everything that the captured call found as it was then?"""
        cdef Node node
        cdef tuple entry
        if self.rebindings != rebindings:
            return False
        for entry in self.found:
            node = <Node> entry[0]
            if (node.grad is None) == <bint> entry[1]:
                return False
        if self.switched != switched:
            for module, training in self.flags:
                if module.training is not training:
                    return False
            self.switched = switched
        return True

    cdef bint holds(self, Storage *s) noexcept:
        cdef Py_ssize_t i
        for i in range(self.held_count):
            if self.held[i] == s:
                return True
        return False

    cdef bint changes(self, Storage *s) noexcept:
        """Do the steps write to a storage?"""
        cdef Py_ssize_t i
        if s.held:
            for i in range(self.changed_count):
                if self.changed[i] == s:
                    return True
            for _, outs, _ in self.hosts:
                for o in outs:
                    if (<Array> o).storage == s:
                        return True
        return False

    cdef object replay(self, tuple arguments):
        """Run the steps on other arguments of the same shapes and dtypes."""
        cdef Py_ssize_t i, j, at = 0, count
        cdef Array a, x
        cdef tuple entry
        if self.busy:
            raise CaptureError("compile: this program is running already, in another thread; give each thread its own")
        for i in range(len(self.inputs)):
            a = <Array> arguments[<Py_ssize_t> self.leaf[i]]
            if a.storage.held and self.changes(a.storage):
                raise CaptureError(ALIASED)
            if self.written[i]:
                check_write(a, "compile")
        self.busy = True
        try:
            for i in range(len(self.inputs)):
                a, x = <Array> arguments[<Py_ssize_t> self.leaf[i]], <Array> self.inputs[i]
                count = self.places[i]
                if count < 0:
                    copy(a, x)
                    continue
                if not same_steps(a, x):
                    copy(a, x)
                    a = x
                for j in range(at, at + count):
                    self.place[j].p[0] = a.data + self.place[j].offset
                at += count
            for entry in self.found:
                if entry[2] is not None and (<Node> entry[0]).grad is not entry[2]:
                    copy(<Array> (<Node> entry[0]).grad, <Array> entry[2])
            self.run()
            for entry in self.effects:
                (<Node> entry[0]).grad = entry[1]
            if self.mutates:
                for i in range(len(self.inputs)):
                    if self.written[i]:
                        copy(<Array> self.inputs[i], <Array> arguments[<Py_ssize_t> self.leaf[i]])
        finally:
            self.busy = False
        return self.hand_out(arguments)

    cdef int run(self) except -1:
        """All steps. What they write counts as written even if one of them fails."""
        cdef Py_ssize_t i = 0, bad = -1, count = self.tape.count
        cdef Step *s
        try:
            while i < count:
                if self.light:
                    i = run_steps(&self.tape, i, &bad)
                else:
                    with nogil:
                        i = run_steps(&self.tape, i, &bad)
                if i == count:
                    break
                s = self.tape.step[i]
                if bad >= 0:
                    raise IndexError_(f"compile: launch {i} of {count}, {s.name.decode()}: the label or index at "
                                      f"position {bad} is out of range; the {i} launches before it have written")
                function, outs, ins = <tuple> s.host
                try:
                    host(function, outs, ins)
                except (ArithmeticError, LookupError, TypeError, ValueError) as error:
                    text = f"compile: launch {i} of {count}, {name_of(function)}: {error}; the {i} launches before " \
                           "it have written"
                    raise (type(error) if isinstance(error, Error) else
                           IndexError_ if isinstance(error, IndexError) else CaptureError)(text) from error
                i += 1
        finally:
            for i in range(self.changed_count):
                self.changed[i].version += 1
        return 0

    cdef object hand_out(self, tuple arguments):
        """The result, in arrays of its own."""
        cdef list leaves
        cdef tuple entry
        cdef int kind
        if len(self.outputs) == 1 and self.tree == 0 and (<tuple> self.outputs[0])[0] == FRESH:
            return plain_copy(<Array> (<tuple> self.outputs[0])[1])
        leaves = []
        for entry in self.outputs:
            kind = entry[0]
            leaves.append(plain_copy(<Array> entry[1]) if kind == FRESH else arguments[entry[1]] if kind == GIVEN
                          else leaves[entry[1]] if kind == AGAIN else entry[1])
        return unflatten(self.tree, iter(leaves))

    # ----- what it is --------------------------------------------------------------------------------------------

    def launches(self):
        """(name, sizes, bytes, floating-point operations) of every launch; None where that is not known."""
        cdef Py_ssize_t i
        return [described(self.tape.step[i]) for i in range(self.tape.count)]

    def explain(self):
        """The program as text: a table of its launches."""
        return table(self)

    @property
    def frozen(self):
        """(shape, dtype, where) of the numbers that the function brought in."""
        return [(shape_of(a), dtype_of((<Array> a).kind), where) for a, where in
                [entry for entry in self.constants if isinstance(entry, tuple)]]

    def seconds(self, Py_ssize_t rounds=20):
        """The least time of every launch over some runs whose writes are taken back; None with host launches, which
        may do what cannot be taken back."""
        cdef Py_ssize_t i, j, at = 0
        cdef Array x
        cdef list saved, least
        cdef Step *s
        if self.hosts:
            return None
        for i in range(len(self.inputs)):
            x = self.inputs[i]
            for j in range(at, at + max(0, self.places[i])):
                self.place[j].p[0] = x.data + self.place[j].offset
            at += max(0, self.places[i])
        saved = [(<char *> self.changed[i].data)[:self.changed[i].nbytes] for i in range(self.changed_count)]
        least = [float("inf")] * self.tape.count
        clock = time.perf_counter
        for _ in range(rounds):
            for i in range(self.tape.count):
                s = self.tape.step[i]
                start = clock()
                s.run(s)
                least[i] = min(<object> least[i], clock() - start)
            for i in range(self.changed_count):
                put_back(self.changed[i], saved[i])
        return least


cdef inline void drop(Step **s) noexcept:
    free(s[0].job)
    free(s[0])
    s[0] = NULL


cdef Py_ssize_t run_steps(Tape *tape, Py_ssize_t i, Py_ssize_t *bad) noexcept nogil:
    """From step ``i`` on to the first that is a host launch or meets a bad position, or to the end."""
    cdef Step *s
    while i < tape.count:
        s = tape.step[i]
        if s.run == NULL:
            break
        bad[0] = s.run(s)
        if bad[0] >= 0:
            break
        i += 1
    return i


cdef str name_of(object function):
    return getattr(function, "__name__", type(function).__name__).strip("_")


cdef tuple described(Step *s):
    cdef str name = "" if s.name == NULL else s.name.decode()
    cdef Py_ssize_t size = itemsize[s.dtype], total = 0
    cdef int k, operands = 0
    if s.host != NULL:
        function, outs, ins = <tuple> s.host
        return (f"host {name_of(function)}", " ".join([str(shape_of(o)) for o in outs]),
                sum([(<Array> o).size * itemsize[(<Array> o).kind] for o in outs + ins if isinstance(o, Array)]), None)
    for k in range(s.slots):
        if s.storage[k] != NULL:
            total += s.storage[k].nbytes
            operands += 1
    if s.loop != NULL:
        return name, f"{s.n[0]}", operands * s.n[0] * size, s.n[0]
    if name == "gemm":
        return (name, f"{s.n[2]} x {s.n[3]} x {s.n[4]}", (s.n[2] * s.n[4] + s.n[4] * s.n[3] + s.n[2] * s.n[3]) * size,
                2 * s.n[2] * s.n[3] * s.n[4])
    if name in ("sum", "amax"):
        return name, f"{s.n[0]} x {s.n[1]} x {s.n[2]}", (s.n[1] + 1) * s.n[0] * s.n[2] * size, s.n[0] * s.n[1] * s.n[2]
    if name in ("copy", "constant"):
        return name, f"{s.n[0]} bytes", 2 * s.n[0], 0
    if name in ("sgd", "rmsprop", "adagrad", "adam", "adamw"):
        return name, f"{s.n[1]}", (operands - 1) * s.n[1] * size, None
    return name, "", total, None


cdef int meet(Life *life, dict index, Storage *s, Py_ssize_t i, bint written, uint16_t number,
              Py_ssize_t *lives) except -1:
    """A step names a storage."""
    cdef size_t address = <size_t> s
    cdef Py_ssize_t at
    if address not in index:
        at = index[address] = lives[0]
        lives[0] += 1
        life[at].storage, life[at].first, life[at].data, life[at].writes = s, i, NULL, 0
        life[at].fresh = written and s.born == number
    at = index[address]
    life[at].last = i
    life[at].writes += written
    return 0


cdef bint bound_leaf(Array a) noexcept:
    """Is a tensor meant by identity: a parameter?"""
    return a.wants and (a.node is None or a.node.v.op == OP_LEAF)


cdef inline bint same_steps(Array a, Array b) noexcept:
    cdef int d
    if a.contiguous and b.contiguous:
        return True
    for d in range(a.ndim):
        if a.steps[d] != b.steps[d]:
            return False
    return True


cdef tuple order_of(Array a):
    """The axes from the longest stride to the shortest, or None for an array that lies in order."""
    cdef int d
    if a.contiguous:
        return None
    return tuple(sorted(range(a.ndim), key=lambda d: (-abs(a.steps[<int> d]), d)))


cdef Array plain_copy(Array a):
    """A copy without a graph, its axes in the same order in memory: so that products read it the same way."""
    cdef Array out
    cdef Py_ssize_t shape[MGX_MAXDIM]
    cdef Py_ssize_t strides[MGX_MAXDIM]
    cdef tuple order = order_of(a)
    cdef int d
    if order is None:
        out = empty_like(a)
    else:
        for d in range(a.ndim):
            shape[d] = a.dims[<int> order[d]]
        out = empty(a.kind, a.ndim, shape)
        for d in range(a.ndim):
            strides[<int> order[d]] = out.steps[d]
        out = alias(out, out.data, a.kind, a.ndim, a.dims, strides)
    copy(a, out)
    return out


# ----- the callable ----------------------------------------------------------------------------------------------

cdef enum: MOST_PROGRAMS = 16


cdef class Compiled:
    """What ``mgx.compile`` returns."""
    cdef readonly object function
    cdef dict seen              # {key: [] after the first call, then programs}
    cdef set passes
    cdef object values          # the same function as a program of Values
    cdef Program last           # that ran
    cdef dict __dict__

    def __init__(self, function, passes):
        self.function, self.passes, self.seen = function, passes, {}

    def __call__(self, *args, **kwargs):
        cdef Program program = self.last
        cdef tuple leaves
        if program is not None and not kwargs and not watching and current_tape() == NULL and program.meant(args) \
                and program.fits():
            return program.replay(args)
        nesting = (args, kwargs)
        leaves = tuple([leaf_of(leaf) for leaf in flatten(nesting)])
        if any([type(leaf) is Value for leaf in leaves]):           # a scalar program: a flat list of the table's rows
            if self.values is None:
                self.values = compile_values(self.function)
            return self.values(*args, **kwargs)
        if watching or capture:                     # within a capture its launches are written; of another thread: wait
            return self.plainly(nesting, leaves)
        key = (grad_enabled(), shape_of_tree(nesting), *[key_of(leaf) for leaf in leaves], shared_by(leaves))
        if key not in self.seen:                                    # once as it is: what is made lazily comes to be
            if len(self.seen) >= MOST_PROGRAMS:
                self.seen.pop(next(iter(self.seen)))
            self.seen[key] = []
            return self.plainly(nesting, leaves)
        self.seen[key] = known = [program for program in self.seen[key] if program.rebindings == rebindings]
        for program in known:
            if program.fits():
                self.last = program
                return program.replay(leaves)
        self.last = None
        program = Program()
        result = program.capture(self.function, leaves, nesting, self.passes)
        self.seen[key] = [program, *known[:3]]
        self.last = program
        return result

    cdef object plainly(self, tuple nesting, tuple leaves):
        args, kwargs = unflatten(nesting, iter(leaves))
        result = self.function(*args, **kwargs)
        return unflatten(result, iter([loose(leaf) for leaf in flatten(result)]))

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
    if isinstance(leaf, Array) and (<Array> leaf).wants and not bound_leaf(<Array> leaf):
        if grad_enabled():
            raise CaptureError("compile: an argument has a graph, and gradients do not flow out of a program; pass "
                               "x.detach(), or compile a function that computes it too")
        return detached(<Array> leaf)
    return leaf


cdef object key_of(object leaf):
    if isinstance(leaf, Array):
        return ((<Array> leaf).kind, shape_of(leaf), order_of(<Array> leaf),
                id(leaf) if bound_leaf(<Array> leaf) else None)
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


cdef object shape_of_tree(object tree):
    if isinstance(tree, dict):
        return tuple([(key, shape_of_tree(part)) for key, part in tree.items()])
    if isinstance(tree, (list, tuple)):
        return (type(tree), *[shape_of_tree(part) for part in tree])
    return None


cdef object loose(object leaf):
    """A result without its graph: only a program's own backward pass has gradients."""
    if isinstance(leaf, Array) and (<Array> leaf).wants and not bound_leaf(<Array> leaf):
        return detached(leaf)
    return leaf
