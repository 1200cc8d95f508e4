"""Programs: the launches of one call of a function, written down and run again without Python.

A storage has one lifetime while a program is captured, so an address in a step means one array. What nobody holds
when the function has returned is the program's own: its memory is planned anew. Everything else (parameters,
optimizer state, gradients) is shared with eager code, by storage.

The file is long because capture, binding and replay read one structure.
"""
cimport cython
from cpython.float cimport PyFloat_CheckExact
from cpython.object cimport PyObject
from libc.stdlib cimport free, malloc

from microgradx._core.array cimport *
from microgradx._core.graph cimport grad_enabled
from microgradx._core.kernels cimport *
from microgradx._core.fuse cimport fuse
from microgradx._core.launch cimport (Step, Tape, copy, current_tape, fill, host, put_back, rebindings, set_tape,
                                      snapshot)
from microgradx._core.number cimport Moving, begin_reading, moving, plain
from microgradx._core.passes cimport Life, Lives, drop_constants, drop_dead, plan

import time
import weakref

import numpy as np

from microgradx._core.explain import table
from microgradx._core.launch import exchanged
from microgradx._core.trees import flatten, unflatten
from microgradx.errors import CaptureError, Error, IndexError_

ALIASED = "compile: an argument shares memory with a tensor that the function writes to; pass a clone()"
BUSY = "compile: this program is running already, in another thread; give each thread its own"


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


cdef bint may_move(object o):
    """Is an argument a number that a replay may be given anew?"""
    return PyFloat_CheckExact(o) or type(o) is np.float64 or type(o) is np.float32


cdef enum Kind:                 # what a replay returns for a leaf of the result
    CONSTANT, BOUND, FRESH, GIVEN, AGAIN


@cython.final
cdef class Program:
    """The steps of one capture, and what a replay has to read, write and hand out."""

    def __cinit__(self):
        self.hosts, self.constants, self.leaves, self.effects, self.flags = [], [], {}, [], []
        self.tape.hosts, self.tape.constants = <PyObject *> self.hosts, <PyObject *> self.constants
        self.tape.leaves = <PyObject *> self.leaves

    def __dealloc__(self):
        cdef Py_ssize_t i
        for i in range(self.tape.count):
            if self.tape.step[i] != NULL:
                free(self.tape.step[i].job)
                free(self.tape.step[i])
        free(self.tape.step)
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
        cdef Tape *before
        cdef dict copies = {}
        cdef list leaf = [], inputs = []
        cdef set read = set()
        cdef Moving number
        cdef set storages = set()
        global flags
        passed = list(arguments)
        for i, o in enumerate(arguments):
            if may_move(o) and i not in fixed:
                passed[i] = number = moving(o, i)
                leaf.append(i)
                inputs.append(number.array)
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
        self.inputs, self.bound = tuple(inputs), [o for o in arguments if not isinstance(o, Array) or bound_leaf(o)]
        self.types = tuple([type(o) if may_move(o) and i not in fixed else None for i, o in enumerate(arguments)])
        self.leaf = <Py_ssize_t *> malloc((len(leaf) + 1) * sizeof(Py_ssize_t))
        if self.leaf == NULL:
            raise MemoryError("compile: no memory for the plan")
        for i, k in enumerate(leaf):
            self.leaf[i] = k
        keep_blocks()
        self.number, self.recording = capture, grad_enabled()
        before = set_tape(&self.tape)
        begin_reading(read)
        flags = self.flags
        result = None
        failed = True
        try:
            args, kwargs = unflatten(structure, iter(passed))
            result = function(*args, **kwargs)
            self.describe(result)
            self.settle_gradients()
            failed = False
        finally:
            set_tape(before)
            begin_reading(None)
            flags = None
            result = inputs = passed = args = kwargs = x = a = copies = o = number = None    # graphs go now as well
            dropped = kept_blocks(&count)
            if failed:
                self.outputs = self.tree = None
                for i in range(count):
                    forget_block(dropped[i])
                free(dropped)
        self.captured, self.read = self.tape.count, read
        self.settle(dropped, count, passes)
        self.found = [(node, grad is not None,
                       grad if grad is not None and self.holds((<Array> grad).storage) else None)
                      for node, grad in self.leaves.items()]
        self.leaves.clear()
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
        return self.hand_out(arguments, [plain_copy(<Array> o) for o in self.bound_outputs])

    cdef int describe(self, object result) except -1:
        """What a replay returns for each leaf of the result."""
        cdef list outputs = []
        cdef dict seen = {}
        cdef Array a, x
        leaves, self.tree = flatten(result)
        for o in leaves:
            if isinstance(o, Moving) and (<Moving> o).given is not None:
                outputs.append((GIVEN, min((<Moving> o).sources)))
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
        cdef Py_ssize_t i, n = 0
        cdef int k
        cdef Step *s
        cdef Life *one
        cdef Lives lives
        try:
            for i in range(self.tape.count):
                n += self.tape.step[i].slots
            for _, outs, ins in self.hosts:
                n += len(outs) + len(ins)
            lives = Lives(n)
            lives.tape = &self.tape
            self.held = <Storage **> malloc((n + 1) * sizeof(Storage *))
            if self.held == NULL:
                raise MemoryError("compile: no memory for the plan")
            for i in range(self.tape.count):
                s = self.tape.step[i]
                if s.host != NULL:
                    for o in (<tuple> s.host)[1] + (<tuple> s.host)[2]:
                        if isinstance(o, Array):
                            lives.meet((<Array> o).storage, i, False, self.number)
                for k in range(s.slots):
                    if s.storage[k] != NULL:
                        lives.meet(s.storage[k], i, s.written >> k & 1, self.number)
            for i in range(count):
                one = lives.of(dropped[i])
                if one == NULL:
                    continue
                if dropped[i].born != self.number:                  # made before: its old numbers
                    raise CaptureError("compile: the function replaces a tensor that it read (a gradient added to with "
                                       "create_graph=True, or an attribute set anew); write into it instead")
                one.gone = True
            for i in range(lives.count):
                one = &lives.life[i]
                one.fresh = one.fresh and one.gone
            if "constants" in passes:
                drop_constants(lives)
            if "dead" in passes:
                drop_dead(lives)
            if "fuse" in passes:
                fuse(lives)
            if "reuse" in passes:
                self.memory, self.own_bytes, self.planned_bytes = plan(lives)
            for i in range(self.tape.count):
                if self.tape.step[i].job != NULL:
                    prepare(self.tape.step[i].job)
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
            for i in range(count):
                if dropped[i].refs == 0:
                    forget_block(dropped[i])
            free(dropped)
        return 0

    cdef int bind(self, Lives lives) except -1:
        """Where the steps read each input, and write each result, in place. An input that somebody writes, that a host
        launch reads or that is a result is copied instead; so is a result that is more than one array."""
        cdef Py_ssize_t i, room = 0, total = 0, at = 0
        cdef int kind
        cdef Life *one
        cdef Array x
        cdef set fixed = {<size_t> (<Array> o).storage for _, outs, ins in self.hosts for o in outs + ins
                          if isinstance(o, Array)}
        cdef list results = [o for kind, o in self.outputs if kind == FRESH], bound = []
        for i in range(self.tape.count):
            room += self.tape.step[i].slots
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
                    and not any([(<Array> o).storage == x.storage for o in results]):
                self.spots[i] = self.find(x, at)
                at += self.spots[i]
        for i in range(len(self.outputs)):
            kind, o = self.outputs[i]
            if kind == FRESH and <size_t> (<Array> o).storage not in fixed and self.made(<Array> o):
                self.spots[len(self.inputs) + len(bound)] = self.find(<Array> o, at)
                at += self.spots[len(self.inputs) + len(bound)]
                self.outputs = (*self.outputs[:i], (BOUND, len(bound)), *self.outputs[i + 1:])
                bound.append(o)
        self.bound_outputs = tuple(bound)
        self.alone = self.tree is None and len(bound) == 1
        for i in range(self.held_count):
            total += self.held[i].nbytes
        self.light = self.tape.count <= 16 and total + self.planned_bytes <= 1 << 14 and not self.hosts
        return 0

    cdef Py_ssize_t find(self, Array x, Py_ssize_t at) except -1:
        """Write down, from spot ``at`` on, where the steps name the storage of ``x``; how often that is."""
        cdef Py_ssize_t i, n = at
        cdef int k
        cdef Step *s
        for i in range(self.tape.count):
            s = self.tape.step[i]
            for k in range(s.slots):
                if s.storage[k] == x.storage:
                    self.spot[n].p, self.spot[n].offset = &s.p[k], s.p[k] - x.data
                    n += 1
        return n - at

    cdef bint made(self, Array x) except -1:
        """Is a result made by the steps, in memory that nobody else has or sees? A small part of its storage is not:
        what is handed out would keep all of it."""
        cdef Py_ssize_t i
        cdef int k
        cdef Step *s
        cdef bint met = False
        if x.storage.born != self.number or x.storage.refs != 2 or not x.contiguous \
                or x.storage.nbytes > 4 * max(64, x.size * itemsize[x.kind]):           # refs: ours, and the program's
            return False
        for i in range(self.tape.count):
            s = self.tape.step[i]
            for k in range(s.slots):
                if s.storage[k] == x.storage:
                    if not s.written >> k & 1:
                        return False
                    met = True
            if met:
                return True
        return False

    cdef Py_ssize_t aim(self, Py_ssize_t at, Py_ssize_t count, Array a) noexcept:
        """Let the spots from ``at`` on lie in ``a``; the spot after them."""
        cdef Py_ssize_t i
        for i in range(at, at + count):
            self.spot[i].p[0] = a.data + self.spot[i].offset
        return at + max(count, 0)

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
            if <PyObject *> o.ob_type == <PyObject *> self.types[i]:
                continue
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
        return a if results is None else self.hand_out(arguments, results)

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

    cdef object hand_out(self, tuple arguments, list results):
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
        cdef Py_ssize_t i, at = 0
        cdef Array x
        cdef list saved, least
        cdef Step *s
        if self.hosts:
            return None
        if self.busy:
            raise CaptureError(BUSY)
        self.busy = True
        try:
            for i, x in enumerate(self.inputs + self.bound_outputs):
                at = self.aim(at, self.spots[i], x)
            saved = [snapshot(self.changed[i]) for i in range(self.changed_count)]
            least = [float("inf")] * self.tape.count
            clock = time.perf_counter
            for _ in range(rounds):
                try:
                    for i in range(self.tape.count):
                        s = self.tape.step[i]
                        start = clock()
                        s.run(s)
                        least[i] = min(<object> least[i], clock() - start)
                finally:
                    for i in range(self.changed_count):
                        put_back(self.changed[i], saved[i])
        finally:
            self.busy = False
        return least


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
    if s.job != NULL and s.job.count > 1:
        name = "+".join([s.job.op[k].name.decode() for k in range(s.job.count)])
        return name, f"{s.n[0]}", operands * s.n[0] * size, s.job.count * s.n[0]
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
