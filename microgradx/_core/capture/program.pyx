"""Programs: the launches of one call of a function, written down and run again without Python.

A storage has one lifetime while a program is captured, so an address in a launch means one array. What nobody holds
when the function has returned is the program's own: its memory is planned anew. Everything else (parameters,
optimizer state, gradients) is shared with eager code, by storage.
"""
cimport cython
from cpython.float cimport PyFloat_CheckExact
from cpython.object cimport PyObject
from libc.stdlib cimport free, malloc

from microgradx._core.array cimport *
from microgradx._core.graph cimport grad_enabled
from microgradx._core.kernels cimport *
from microgradx._core.capture.fuse cimport fuse
from microgradx._core.launch cimport (HOST, KERNELS, Launch, LaunchList, check_run, copy, fill, host, host_name,
                                      is_capturing, launch_name, measure_launch, note_time, now, profiling, restore,
                                      rebindings, run_launch, set_recording, snapshot)
from microgradx._core.capture.number cimport SymbolicFloat, note_reads_in, symbolic_float, plain
from microgradx._core.capture.passes cimport (LiveRange, LiveRanges, drop_constants, drop_dead, hold_host_operands,
                                              host_operands, plan)

import time
import weakref

import numpy as np

from microgradx._core.capture.explain import table
from microgradx._core.kernels import kernel_integers
from microgradx._core.launch import invalidate_programs
from microgradx._core.trees import flatten, unflatten
from microgradx.errors import CaptureError, Error, IndexError_

ALIASED = "compile: an argument shares memory with a tensor that the function writes to; pass a clone()"
BUSY = "compile: this program is running already, in another thread; give each thread its own"


cdef list flags = None          # (module, its training flag) of the capture under way
cdef object met = weakref.WeakSet()             # modules that were called during a capture
cdef Py_ssize_t switched = 0    # how often a training flag was assigned


def note_call(module):
    """A module is called: a program holds for its training flag only."""
    if flags is not None and is_capturing():
        flags.append((module, module.training))
        met.add(module)


def note_change(module, str name):
    """An attribute of a module is assigned."""
    global switched
    if name == "training":
        switched += 1
    elif len(met) and module in met:
        invalidate_programs()


cdef bint may_be_symbolic(object o):
    """Is an argument a number that a replay may be given anew?"""
    return PyFloat_CheckExact(o) or type(o) is np.float64 or type(o) is np.float32


cdef enum Kind:                 # what a replay returns for a leaf of the result
    CONSTANT, BOUND, FRESH, GIVEN, AGAIN


@cython.final
cdef class Program:
    """The launches of one capture, and what a replay has to read, write and hand out."""

    def __cinit__(self):
        self.sequence, self.effects, self.flags = LaunchList(), [], []

    def __dealloc__(self):
        cdef Py_ssize_t i
        for i in range(self.held_count):
            unref(self.held[i])
        free(self.held)
        free(self.changed)
        free(self.spot)
        free(self.spots)
        free(self.leaf)
        free(self.used)
        free(self.written)

    # ----- capture -----------------------------------------------------------------------------------------------

    cdef object capture(self, function, tuple arguments, object structure, set passes, set fixed):
        """Call ``function`` on copies of the ``arguments``, which are the leaves of a ``structure``, and write down
        what it launches; returns its result. A float may move, unless its place is among the ``fixed``."""
        cdef Array a, x
        cdef Py_ssize_t i, k, count = 0
        cdef Storage **dropped
        cdef LaunchList before
        cdef dict copies = {}
        cdef list leaf = [], inputs = []
        cdef set read = set()
        cdef SymbolicFloat number
        cdef set storages = set()
        global flags
        passed = list(arguments)
        for i, o in enumerate(arguments):
            if may_be_symbolic(o) and i not in fixed:
                passed[i] = number = symbolic_float(o, i)
                leaf.append(i)
                inputs.append(number.array)
            if not isinstance(o, Array) or is_parameter(<Array> o):
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
        self.inputs, self.bound = tuple(inputs), [o for o in arguments if not isinstance(o, Array) or is_parameter(o)]
        self.types = tuple([type(o) if may_be_symbolic(o) and i not in fixed else None
                            for i, o in enumerate(arguments)])
        self.leaf = <Py_ssize_t *> malloc((len(leaf) + 1) * sizeof(Py_ssize_t))
        if self.leaf == NULL:
            raise MemoryError("compile: no memory for the plan")
        for i, k in enumerate(leaf):
            self.leaf[i] = k
        keep_blocks()
        self.number, self.recording = capture, grad_enabled()
        self.sequence.profile = profiling()
        before = set_recording(self.sequence)
        note_reads_in(read)
        flags = self.flags
        result = None
        failed = True
        try:
            args, kwargs = unflatten(structure, iter(passed))
            result = function(*args, **kwargs)
            self.describe(result)
            self.finalize_gradients()
            failed = False
        finally:
            set_recording(before)
            self.sequence.profile = None
            note_reads_in(None)
            flags = None
            result = inputs = passed = args = kwargs = x = a = copies = o = number = None    # graphs go now as well
            dropped = kept_blocks(&count)
            if failed:
                self.outputs = self.tree = None
                hold_host_operands(self.sequence)
                for i in range(count):
                    if dropped[i].refs == 0:
                        forget_block(dropped[i])
                free(dropped)
        self.captured, self.read = self.sequence.count, read
        self.finalize(dropped, count, passes)
        storages = {<size_t> self.held[i] for i in range(self.held_count)}
        self.found = [(node, grad is not None,
                       grad if isinstance(grad, Array) and <size_t> (<Array> grad).storage in storages else None)
                      for node, grad in self.sequence.leaves.items()]
        self.sequence.leaves.clear()
        self.rebindings, self.switched = rebindings, switched
        self.types = tuple([None if i in read else kind for i, kind in enumerate(self.types)])
        for i in range(len(self.inputs)):
            if self.spots[i] == MOVES:
                continue
            a, x = arguments[self.leaf[i]], self.inputs[i]
            if self.changes(a.storage):
                raise CaptureError(ALIASED)
            if self.written[i]:
                if self.shared and sum([(<Array> o).storage == a.storage for o in arguments
                                        if isinstance(o, Array) and o is not a]):
                    raise CaptureError("compile: the function writes to an argument that shares memory with another; "
                                       "pass a clone()")
                check_write(a, "compile")
                copy(x, a)
        if structure == flatten(((None,) * len(arguments), {}))[1]:
            expected = list(arguments)
            for i in range(len(self.inputs)):
                if self.spots[i] != MOVES:
                    expected[self.leaf[i]] = self.inputs[i]
            self.expected = tuple(expected)
        return self.make_outputs(arguments, [plain_copy(<Array> o) for o in self.bound_outputs])

    cdef int describe(self, object result) except -1:
        """What a replay returns for each leaf of the result."""
        cdef list outputs = []
        cdef dict seen = {}
        cdef Array a, x
        leaves, self.tree = flatten(result)
        for o in leaves:
            if isinstance(o, SymbolicFloat) and (<SymbolicFloat> o).given is not None:
                outputs.append((GIVEN, min((<SymbolicFloat> o).sources)))
                continue
            if not isinstance(o, Array):
                outputs.append((CONSTANT, plain(o)))
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
                    outputs.append((CONSTANT, detached(a) if a.wants and not is_parameter(a) else a))
        self.outputs = tuple(outputs)
        return 0

    cdef int finalize_gradients(self) except -1:
        """What the call did to gradients. One that it read and then replaced is written to instead: so the next call
        finds it where it was."""
        cdef Array old, new
        for node, before in list(self.sequence.leaves.items()):
            old, new = before if isinstance(before, Array) else None, (<Node> node).grad
            if old is not None and new is not None and new is not old and not new.wants and is_named(old.storage):
                copy(new, old)
                (<Node> node).grad = old
            self.effects.append((node, (<Node> node).grad))
        return 0

    cdef int finalize(self, Storage **dropped, Py_ssize_t count, set passes) except -1:
        """After the capture: which storages are whose; the passes; the plan."""
        cdef Py_ssize_t i, n = 0
        cdef int k
        cdef Launch *s
        cdef LiveRange *one
        cdef LiveRanges lives
        try:
            for i in range(self.sequence.count):
                n += self.sequence.launch[i].count
            for _, outs, ins in self.sequence.hosts:
                n += len(outs) + len(ins)
            lives = LiveRanges(n)
            lives.sequence = self.sequence
            self.held = <Storage **> malloc((n + 1) * sizeof(Storage *))
            if self.held == NULL:
                raise MemoryError("compile: no memory for the plan")
            for i in range(self.sequence.count):
                s = self.sequence.launch[i]
                if s.host != NULL:
                    for o, written in host_operands(s):
                        lives.meet((<Array> o).storage, i, written)
                for k in range(s.count):
                    if s.storage[k] != NULL:
                        lives.meet(s.storage[k], i, s.writes >> k & 1)
            for i in range(count):
                one = lives.of(dropped[i])
                if one == NULL:
                    continue
                if dropped[i].born != self.number:                  # made before: its old numbers
                    raise CaptureError("compile: the function replaces a tensor that it read (a gradient added to with "
                                       "create_graph=True, or an attribute set anew); write into it instead")
                one.fresh = True
            if "constants" in passes:
                drop_constants(lives)
            if "dead" in passes:
                drop_dead(lives)
            if "fuse" in passes:
                fuse(lives)
            self.memory, self.own_bytes, self.planned_bytes = plan(lives, "reuse" in passes)
            for i in range(self.sequence.count):
                if self.sequence.launch[i].tiles != NULL:
                    prepare(self.sequence.launch[i].tiles)
            for i in range(lives.count):
                one = &lives.life[i]
                if one.data == NULL and not (one.fresh and one.first < 0):                  # the program holds it
                    one.storage.refs += 1
                    one.storage.held = True
                    self.held[self.held_count] = one.storage
                    self.held_count += 1
            self.dropped = lives.dropped
            self.bind(lives)
        finally:
            hold_host_operands(self.sequence)
            for i in range(count):
                if dropped[i].refs == 0:
                    forget_block(dropped[i])
            free(dropped)
        return 0

    cdef int bind(self, LiveRanges lives) except -1:
        """Where the launches read each input, and write each result, in place. An input that somebody writes, that a
        host launch reads or that is a result is copied instead; so is a result that is more than one array."""
        cdef Py_ssize_t i, room = 0, total = 0, at = 0
        cdef int kind
        cdef LiveRange *one
        cdef Array x
        cdef set fixed = {<size_t> (<Array> o).storage for _, outs, ins in self.sequence.hosts for o in outs + ins
                          if isinstance(o, Array)}
        cdef list results = [o for kind, o in self.outputs if kind == FRESH], bound = [], outputs = list(self.outputs)
        cdef set returned = {<size_t> (<Array> o).storage for o in results}
        for i in range(self.sequence.count):
            room += self.sequence.launch[i].count
        self.spot = <Spot *> malloc((room + 1) * sizeof(Spot))
        self.changed = <Storage **> malloc((lives.count + 1) * sizeof(Storage *))
        self.spots = <Py_ssize_t *> malloc((len(self.inputs) + len(results) + 1) * sizeof(Py_ssize_t))
        self.written = <char *> malloc(len(self.inputs) + 1)
        self.used = <Storage **> malloc((len(self.inputs) + 1) * sizeof(Storage *))
        if self.spot == NULL or self.changed == NULL or self.spots == NULL or self.written == NULL or self.used == NULL:
            raise MemoryError("compile: no memory for the plan")
        for i in range(lives.count):
            one = &lives.life[i]
            if one.writes and one.data == NULL:
                self.changed[self.changed_count] = one.storage
                self.changed_count += 1
        for i, x in enumerate(self.inputs):
            self.written[i] = x.storage.version > 1
            self.mutates = self.mutates or self.written[i]
            self.spots[i] = MOVES if self.types[self.leaf[i]] is not None else COPIED
            one = lives.of(x.storage)
            if self.spots[i] == COPIED and <size_t> x.storage not in fixed and not (one != NULL and one.writes) \
                    and <size_t> x.storage not in returned:
                self.spots[i] = self.find(x, one, at)
                at += self.spots[i]
        for i in range(len(self.outputs)):
            kind, o = outputs[i]
            one = lives.of((<Array> o).storage) if kind == FRESH else NULL
            if kind == FRESH and <size_t> (<Array> o).storage not in fixed and self.made(<Array> o, one):
                self.spots[len(self.inputs) + len(bound)] = self.find(<Array> o, one, at)
                at += self.spots[len(self.inputs) + len(bound)]
                outputs[i] = BOUND, len(bound)
                bound.append(o)
        self.outputs, self.bound_outputs = tuple(outputs), tuple(bound)
        self.alone = self.tree is None and len(bound) == 1
        for i in range(self.held_count):
            total += self.held[i].nbytes
        self.light = self.sequence.count <= 16 and total + self.planned_bytes <= 1 << 14 and not self.sequence.hosts
        return 0

    cdef Py_ssize_t find(self, Array x, const LiveRange *life, Py_ssize_t at) except -1:
        """Write down, from spot ``at`` on, where the steps name the storage of ``x``; how often that is."""
        cdef Py_ssize_t i, n = at
        cdef int k
        cdef Launch *s
        if life == NULL or life.first < 0:
            return 0
        for i in range(life.first, life.last + 1):
            s = self.sequence.launch[i]
            for k in range(s.count):
                if s.storage[k] == x.storage:
                    self.spot[n].p, self.spot[n].offset = &s.args.p[k], s.args.p[k] - x.data
                    n += 1
        return n - at

    cdef bint made(self, Array x, const LiveRange *life) except -1:
        """Is a result made by the steps, in memory that nobody else has or sees? A small part of its storage is not:
        what is handed out would keep all of it."""
        cdef int k
        cdef Launch *s
        if life == NULL or life.first < 0 or x.storage.born != self.number or x.storage.refs != 2 or not x.contiguous \
                or x.storage.nbytes > 4 * max(64, x.size * itemsize[x.kind]):           # refs: ours, and the program's
            return False
        s = self.sequence.launch[life.first]
        for k in range(s.count):
            if s.storage[k] == x.storage and not s.writes >> k & 1:
                return False
        return s.table != HOST

    cdef Py_ssize_t aim(self, Py_ssize_t at, Py_ssize_t count, Array a) noexcept:
        """Let the spots from ``at`` on lie in ``a``; the spot after them."""
        cdef Py_ssize_t i
        for i in range(at, at + count):
            self.spot[i].p[0] = a.data + self.spot[i].offset
        return at + max(count, 0)

    # ----- replay ------------------------------------------------------------------------------------------------

    cdef bint matches_expected(self, tuple args) except -1:
        """Are these, without any nesting, arguments of the shapes and dtypes that were captured?"""
        cdef Py_ssize_t i
        cdef PyObject *o
        cdef Array a, x
        if self.expected is None or len(args) != len(self.expected) or self.recording != grad_enabled() \
                or self.mutates or self.shared:
            return False
        for i in range(len(args)):
            o = <PyObject *> args[i]
            if <PyObject *> o.ob_type == <PyObject *> self.types[i]:
                continue
            if o == <PyObject *> self.expected[i]:
                if is_array(o) and not is_parameter(<Array> o):
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

    cdef bint changes(self, Storage *s) noexcept:
        """Do the steps write to a storage?"""
        cdef Py_ssize_t i
        if s.held:
            for i in range(self.changed_count):
                if self.changed[i] == s:
                    return True
            for _, outs, _ in self.sequence.hosts:
                for o in outs:
                    if (<Array> o).storage == s:
                        return True
        return False

    cdef object replay(self, tuple arguments):
        """Run the launches on other arguments of the same shapes and dtypes."""
        cdef Py_ssize_t i, at = 0, used = 0
        cdef Array a = None, x
        cdef list results = None if self.alone else []
        cdef tuple entry
        if self.busy:
            raise CaptureError(BUSY)
        self.busy = True
        try:
            for i in range(len(self.inputs)):
                if self.spots[i] == MOVES:
                    fill(<Array> self.inputs[i], arguments[self.leaf[i]])
                    continue
                a, x = <Array> arguments[self.leaf[i]], <Array> self.inputs[i]
                if a.storage.held and self.changes(a.storage):
                    raise CaptureError(ALIASED)
                if self.written[i]:
                    check_write(a, "compile")
                self.used[used] = a.storage             # held: a finalizer or another thread may give it other data
                a.storage.refs += 1
                used += 1
                if self.spots[i] == COPIED or not same_steps(a, x):
                    copy(a, x)
                    a = x
                at = self.aim(at, self.spots[i], a)
            for i in range(len(self.bound_outputs)):
                a = with_own_storage(<Array> self.bound_outputs[i])
                at = self.aim(at, self.spots[len(self.inputs) + i], a)
                if results is not None:
                    results.append(a)
            for entry in self.found:
                if entry[2] is not None and (<Node> entry[0]).grad is not entry[2]:
                    x = (<Node> entry[0]).grad
                    if x is None:
                        raise CaptureError("compile: a gradient that this program adds to was taken away while it "
                                           "began to run")
                    copy(x, <Array> entry[2])
            self.run()
            for entry in self.effects:
                (<Node> entry[0]).grad = entry[1]
            if self.mutates:
                for i in range(len(self.inputs)):
                    if self.written[i]:
                        x = <Array> arguments[self.leaf[i]]
                        check_writable(x, "compile")
                        copy(<Array> self.inputs[i], x)
        finally:
            while used:
                used -= 1
                unref(self.used[used])
            self.busy = False
        return a if results is None else self.make_outputs(arguments, results)

    cdef int run(self) except -1:
        """All launches. What they write counts as written even if one of them fails."""
        cdef Py_ssize_t i = 0, bad = -1, count = self.sequence.count
        cdef Launch *s
        cdef LaunchList profile = profiling()
        cdef double start
        try:
            while i < count:
                if profile is not None and self.sequence.launch[i].table != HOST:       # one after the other, timed
                    start = now()
                    bad = run_launch(self.sequence.launch[i])
                    note_time(profile, self.sequence.launch[i], start, now() - start, self.site_of(i))
                    if bad == MGX_DONE:
                        i += 1
                        continue
                elif self.light:
                    i = run_launches(self.sequence.launch, count, i, &bad)
                else:
                    with nogil:
                        i = run_launches(self.sequence.launch, count, i, &bad)
                if i == count:
                    break
                s = self.sequence.launch[i]
                if bad < MGX_DONE:
                    check_run(bad)
                if bad >= 0:
                    raise IndexError_(f"compile: launch {i} of {count}, {launch_name(s)}: the label or index at "
                                      f"position {bad} is out of range; the {i} launches before it have written")
                function, outs, ins = <tuple> s.host
                try:
                    host(function, outs, ins)
                except (ArithmeticError, LookupError, TypeError, ValueError) as error:
                    text = f"compile: launch {i} of {count}, {host_name(function)}: {error}; the {i} launches before " \
                           "it have written"
                    raise (type(error) if isinstance(error, Error) else
                           IndexError_ if isinstance(error, IndexError) else CaptureError)(text) from error
                i += 1
        finally:
            for i in range(self.changed_count):
                self.changed[i].version += 1
        return 0

    cdef object make_outputs(self, tuple arguments, list results):
        """The result, in arrays of its own."""
        cdef list leaves = []
        cdef tuple entry
        cdef int kind
        for entry in self.outputs:
            kind = entry[0]
            leaves.append(results[entry[1]] if kind == BOUND else plain_copy(<Array> entry[1]) if kind == FRESH
                          else arguments[entry[1]] if kind == GIVEN else leaves[entry[1]] if kind == AGAIN
                          else entry[1])
        return unflatten(self.tree, iter(leaves))

    # ----- what it is --------------------------------------------------------------------------------------------

    def launches(self):
        """(name, sizes, bytes, floating-point operations) of every launch; None where that is not known."""
        cdef Py_ssize_t i
        return [described(self.sequence.launch[i]) for i in range(self.sequence.count)]

    cdef object site_of(self, Py_ssize_t i):
        """(code, offset) of the line that launch ``i`` was written in; None: not known."""
        return self.sequence.sites[self.sequence.launch[i].site]

    def __str__(self):
        """The launches, one in a line: what runs, its sizes and numbers, what it reads -> what it writes. ``s0``,
        ``s1`` are the program's other storages, numbered in the order in which they are named, so that two programs can
        be compared as text."""
        cdef Py_ssize_t i, j, at = 0
        cdef dict numbers = {}
        for i in range(len(self.inputs) + len(self.bound_outputs)):
            name = f"argument {self.leaf[i]}" if i < len(self.inputs) else f"result {i - len(self.inputs)}"
            for j in range(at, at + max(self.spots[i], 0)):
                offset = f"+{self.spot[j].offset}" if self.spot[j].offset else ""
                numbers[-<Py_ssize_t> self.spot[j].p] = name + offset
            at += max(self.spots[i], 0)
        return "\n".join([launch_text(self.sequence.launch[i], numbers) for i in range(self.sequence.count)])

    def explain(self):
        """The program as text: a table of its launches."""
        return table(self)

    @property
    def frozen(self):
        """(shape, dtype, where) of the numbers that the function brought in."""
        return [(shape_of(a), dtype_of((<Array> a).kind), where) for a, where in
                [entry for entry in self.sequence.constants if isinstance(entry, tuple)]]

    def seconds(self, Py_ssize_t rounds=20):
        """The least time of every launch over some runs whose writes are taken back; None with host launches, which
        may do what cannot be taken back."""
        cdef Py_ssize_t i, at = 0
        cdef Array x
        cdef list saved, least
        cdef Launch *s
        if self.sequence.hosts:
            return None
        if self.busy:
            raise CaptureError(BUSY)
        self.busy = True
        try:
            for i, x in enumerate(self.inputs + self.bound_outputs):
                at = self.aim(at, self.spots[i], x)
            saved = [snapshot(self.changed[i]) for i in range(self.changed_count)]
            least = [float("inf")] * self.sequence.count
            clock = time.perf_counter
            for _ in range(rounds):
                try:
                    for i in range(self.sequence.count):
                        s = self.sequence.launch[i]
                        start = clock()
                        run_launch(s)
                        least[i] = min(<object> least[i], clock() - start)
                finally:
                    for i in range(self.changed_count):
                        restore(self.changed[i], saved[i])
        finally:
            self.busy = False
        return least


cdef Py_ssize_t run_launches(Launch **launch, Py_ssize_t count, Py_ssize_t i, Py_ssize_t *bad) noexcept nogil:
    """From launch ``i`` on to the first that is a host launch or fails, or to the end."""
    while i < count and launch[i].table != HOST:
        bad[0] = run_launch(launch[i])
        if bad[0] != MGX_DONE:
            break
        i += 1
    return i


cdef object number_of(dict numbers, object address):
    """The number of a storage: how many were named before it."""
    if address not in numbers:
        numbers[0] = numbers.get(0, -1) + 1                         # the last one given
        numbers[address] = numbers[0]
    return numbers[address]


cdef str operand_text(const Launch *l, int k, dict numbers):
    """An operand as text: which argument, result or storage, and from which byte on. ``numbers`` tells those that are
    bound by the address of their pointer, and numbers storages in the order in which they are named."""
    cdef object bound = numbers.get(-<Py_ssize_t> &l.args.p[k])
    if bound is not None:
        return bound
    if l.storage[k] == NULL:
        return "-" if l.tiles == NULL or l.table == KERNELS else f"{l.tiles.operand[k].number!r}"
    cdef size_t address = <size_t> l.storage[k]
    cdef Py_ssize_t offset = l.args.p[k] - l.storage[k].data
    return f"s{number_of(numbers, address)}" + (f"+{offset}" if offset else "")


cdef str launch_text(const Launch *l, dict numbers):
    """One launch in a line: what runs, its integers and numbers, what it reads, and what it writes."""
    cdef int k, d
    cdef KernelFacts *facts
    cdef str head = launch_name(l), sizes
    if l.table == HOST:
        _, outs, ins = <tuple> l.host
        named = [[f"s{number_of(numbers, <size_t> (<Array> o).storage)}" if isinstance(o, Array) else repr(o)
                  for o in part] for part in (ins, outs)]
        return f"{head}: {', '.join(named[0])} -> {', '.join(named[1])}"
    if l.table == KERNELS:
        facts = &kernel_facts[l.row]
        sizes = ", ".join([str(l.args.n[k]) for k in range(facts.integers)]
                          + [repr(l.args.x[k]) for k in range(facts.numbers)])
    elif l.tiles != NULL:
        sizes = " x ".join([str(l.tiles.shape[d]) for d in range(l.tiles.ndim)])
    else:
        sizes = str(l.args.n[0])
    read = [operand_text(l, k, numbers) for k in range(l.count) if not l.writes >> k & 1]
    written = [operand_text(l, k, numbers) for k in range(l.count) if l.writes >> k & 1]
    return f"{head} {dtype_of(l.dtype)} ({sizes}): {', '.join(read)} -> {', '.join(written)}"


cdef tuple described(const Launch *l):
    """(name, sizes, bytes, floating-point operations) for a person to read."""
    cdef double bytes = 0, flops = 0
    if l.table == HOST:
        _, outs, ins = <tuple> l.host
        return (launch_name(l), " ".join([str(shape_of(o)) for o in outs]),
                sum([(<Array> o).size * itemsize[(<Array> o).kind] for o in outs + ins if isinstance(o, Array)]), None)
    measure_launch(l, &bytes, &flops)
    if l.table == KERNELS:
        return launch_name(l), integers_text(l), int(bytes), int(flops)
    return launch_name(l), f"{l.args.n[0]}", int(bytes), int(flops)


cdef str integers_text(const Launch *l):
    """The sizes of a structured launch by their names: ``m 2, n 3``."""
    cdef int at = 0
    cdef list found = []
    for kind, name, places in kernel_integers(l.row):
        if kind == "INTEGER" or kind == "FLAG" and l.args.n[at]:
            found.append(f"{name} {l.args.n[at]}" if kind == "INTEGER" else name)
        at += places
    return ", ".join(found)


cdef bint is_parameter(Array a) noexcept:
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
