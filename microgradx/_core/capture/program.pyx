"""Programs: the launches of one call of a function, written down and run again without Python.

A storage has one lifetime while a program is captured, so an address in a launch means one array. What nobody holds
when the function has returned is the program's own: its memory is planned again. Everything else (parameters,
optimizer state, gradients) is shared with eager code, by storage.
"""
cimport cython
from cpython.exc cimport PyErr_CheckSignals
from cpython.float cimport PyFloat_CheckExact
from cpython.object cimport PyObject
from libc.stdlib cimport free, malloc

from microgradx._core.array cimport *
from microgradx._core.kernels cimport *
from microgradx._core.capture.fuse cimport fuse
from microgradx._core.launch cimport (HOST, KERNELS, Launch, LaunchList, check_run, copy, host, host_name,
                                      launch_name, measure_launch, note_time, now, profiling, restore, run_launch,
                                      snapshot)
from microgradx._core.capture.passes cimport (LiveRange, LiveRanges, drop_constants, drop_dead, hold_host_operands,
                                              host_operands, plan)

import time

import numpy as np

from microgradx._core.kernels import kernel_integers
from microgradx.errors import CaptureError, Error, IndexError_


cdef bint may_be_symbolic(object o):
    """Is an argument a number that may differ from replay to replay?"""
    return PyFloat_CheckExact(o) or type(o) is np.float64 or type(o) is np.float32


@cython.final
cdef class Product:

    cdef Array make(self):
        """A new array; or the last one, if nobody but the leaf whose gradient it is refers to it."""
        cdef Array a = self.array
        if self.leaf is not None:
            if (<PyObject *> a).ob_refcnt == 2 + (self.leaf.grad is a) and a.storage.refs == 1 and a.node is None \
                    and not a.needs_grad:
                return a
            self.array = with_storage(a, self.nbytes, self.offset)
            return self.array
        self.current = with_storage(a, self.nbytes, self.offset)
        return self.current


@cython.final
cdef class Program:
    """The launches of one capture, and what a replay has to read, write and hand out."""

    def __cinit__(self):
        self.sequence = LaunchList()

    def __dealloc__(self):
        cdef Py_ssize_t i
        for i in range(self.held_count):
            unref(self.held[i])
        free(self.held)
        free(self.changed)
        free(self.patch)
        free(self.binding)

    # ----- what it is made of ---------------------------------------------------------------------------------------

    cdef int finalize(self, Storage **dropped, Py_ssize_t count, set passes, list movable, list made,
                      object saved) except -1:
        """After the capture: which storages are whose; the passes; the plan. ``dropped``: the storages that nobody
        refers to. An array of ``movable`` may be another one at each replay, and so may one of ``made`` if the launches
        make it: see `new_binding`. ``saved``: addresses of storages that a backward pass reads, or that its forward
        pass wrote."""
        cdef Py_ssize_t i, n = 0
        cdef int k
        cdef Launch *s
        cdef LiveRange *one
        cdef LiveRanges lives
        self.captured = self.sequence.count
        for i in range(self.sequence.count):
            n += self.sequence.launch[i].count
        for _, outs, ins in self.sequence.hosts:
            n += len(outs) + len(ins)
        lives = LiveRanges(n)
        lives.sequence = self.sequence
        self.held = <Storage **> malloc((n + 1) * sizeof(Storage *))
        self.changed = <Storage **> malloc((n + 1) * sizeof(Storage *))
        self.patch = <Patch *> malloc((n + 1) * sizeof(Patch))
        self.binding = <Binding *> malloc((len(movable) + len(made) + 1) * sizeof(Binding))
        if self.held == NULL or self.changed == NULL or self.patch == NULL or self.binding == NULL:
            raise MemoryError("compile: no memory for the plan")
        for i in range(self.sequence.count):
            if i & 1023 == 1023:
                PyErr_CheckSignals()
            s = self.sequence.launch[i]
            if s.host != NULL:
                for o, written in host_operands(s):
                    lives.meet((<Array> o).storage, i, written)
            for k in range(s.count):
                if s.storage[k] != NULL:
                    lives.meet(s.storage[k], i, s.writes >> k & 1)
        for i in range(count):
            one = lives.of(dropped[i])
            if one != NULL:
                one.fresh = dropped[i].born == self.number and <size_t> dropped[i] not in saved
        if "constants" in passes:
            drop_constants(lives)
        if "dead" in passes:
            drop_dead(lives)
        if "fuse" in passes:
            fuse(lives)
        self.memory, self.own_bytes, self.planned_bytes = plan(lives, "reuse" in passes)
        self.dropped = lives.dropped
        for i in range(self.sequence.count):
            if i & 1023 == 1023:
                PyErr_CheckSignals()
            if self.sequence.launch[i].tiles != NULL:
                prepare(self.sequence.launch[i].tiles)
        self.bindings = [self.new_binding(lives, x) for x in movable]
        self.bindings += [self.new_binding(lives, x) if self.made(lives, x) else -1 for x in made]
        n = self.planned_bytes
        for i in range(lives.count):
            one = &lives.life[i]
            if one.bound or one.data != NULL:
                continue
            if one.writes:
                self.changed[self.changed_count] = one.storage
                self.changed_count += 1
                self.writes_outside = self.writes_outside or one.storage.born != self.number
            if not (one.fresh and one.first < 0):                                   # the program holds it
                one.storage.refs += 1
                one.storage.held = True
                self.held[self.held_count] = one.storage
                self.held_count += 1
                self.borrowed_count += one.storage.owner != NULL
                n += one.storage.nbytes
        hold_host_operands(self.sequence)
        self.light = self.sequence.count <= 16 and n <= 1 << 14 and not self.sequence.hosts
        return 0

    cdef object new_binding(self, LiveRanges lives, Array x):
        """The number of a new binding, which can be bound to another array: the operands of launches that lie in the
        storage of ``x``. None if there are none; -1 if they have a binding already."""
        cdef Py_ssize_t i
        cdef LiveRange *one = lives.of(x.storage)
        cdef Binding *binding = &self.binding[self.binding_count]
        if one == NULL or one.first < 0:
            return None
        if one.bound or one.data != NULL:
            return -1
        binding.first, binding.count, binding.written = self.patch_count, 0, one.writes
        binding.data, binding.storage = x.data, x.storage
        for i in range(one.first, one.last + 1):
            self.add_patches(binding, self.sequence.launch[i], x.storage, x.data - x.storage.data)
        one.bound = True
        self.binding_count += 1
        return self.binding_count - 1

    cdef int add_patches(self, Binding *binding, Launch *s, Storage *storage, Py_ssize_t start) except -1:
        """The operands of a launch in ``storage``, as patches of a binding that begins at its byte ``start``."""
        cdef int k
        for k in range(s.count):
            if s.storage[k] == storage:
                self.patch[self.patch_count].p = &s.args.p[k]
                self.patch[self.patch_count].offset = s.args.p[k] - storage.data - start
                self.patch_count += 1
                binding.count += 1
        for o, _ in host_operands(s) if s.table == HOST else ():
            if (<Array> o).storage == storage:
                self.patch[self.patch_count].p = &(<Array> o).data
                self.patch[self.patch_count].offset = (<Array> o).data - storage.data - start
                self.patch_count += 1
                binding.count += 1
        return 0

    cdef Py_ssize_t bind_block(self, dict saved, Array block) except -1:
        """The number of a new binding: all operands in the storages of ``saved``, {address: offset in the block}, from
        now on lie in ``block``; the program holds these storages no more."""
        cdef Py_ssize_t i, kept = 0
        cdef int k
        cdef Launch *s
        cdef Binding *binding = &self.binding[self.binding_count]
        binding.first, binding.count, binding.written = self.patch_count, 0, False
        binding.data, binding.storage = NULL, NULL
        for i in range(self.sequence.count):
            if i & 1023 == 1023:
                PyErr_CheckSignals()
            s = self.sequence.launch[i]
            for address in {<size_t> s.storage[k] for k in range(s.count)} | {
                    <size_t> (<Array> o).storage for o, _ in (host_operands(s) if s.table == HOST else ())}:
                if address in saved:
                    self.add_patches(binding, s, <Storage *> <size_t> address, -<Py_ssize_t> saved[address])
            for k in range(s.count):
                if s.storage[k] != NULL and <size_t> s.storage[k] in saved:
                    s.storage[k] = block.storage
        for i in range(self.held_count):
            if <size_t> self.held[i] in saved:
                self.held[i].refs -= 1                  # who released them last frees them
            else:
                self.held[kept] = self.held[i]
                kept += 1
        self.held_count, kept = kept, 0
        for i in range(self.changed_count):
            if <size_t> self.changed[i] not in saved:
                self.changed[kept] = self.changed[i]
                kept += 1
        self.changed_count = kept
        self.binding_count += 1
        self.rebind(self.binding_count - 1, block)
        return self.binding_count - 1

    cdef bint made(self, LiveRanges lives, Array x) except -1:
        """Is a result made by the launches, in memory that nobody else has or sees? A small part of its storage is not:
        what is handed out would keep all of it."""
        cdef int k
        cdef Launch *s
        cdef LiveRange *one = lives.of(x.storage)
        if one == NULL or one.first < 0 or x.storage.born != self.number or x.storage.refs != 1 or not x.contiguous \
                or x.storage.nbytes > 4 * max(64, x.size * itemsize[x.dtype_]):
            return False
        s = self.sequence.launch[one.first]
        for k in range(s.count):
            if s.storage[k] == x.storage and not s.writes >> k & 1:
                return False
        return s.table != HOST

    cdef void rebind(self, Py_ssize_t number, Array a) noexcept:
        """Let the operands of a binding lie in ``a``."""
        cdef Py_ssize_t i
        cdef Binding *binding = &self.binding[number]
        binding.storage = a.storage
        if binding.data != a.data:
            binding.data = a.data
            for i in range(binding.first, binding.first + binding.count):
                self.patch[i].p[0] = a.data + self.patch[i].offset

    cdef bint holds(self, Storage *s) noexcept:
        cdef Py_ssize_t i
        for i in range(self.held_count):
            if self.held[i] == s:
                return True
        return False

    cdef int count_holds(self, dict counts) except -1:
        """Add one for each storage that it holds to {address: count}."""
        cdef Py_ssize_t i
        for i in range(self.held_count):
            counts[<size_t> self.held[i]] = counts.get(<size_t> self.held[i], 0) + 1
        return 0

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

    cdef bint meets_borrowed(self, Storage *s, bint written) noexcept:
        """Does memory of somebody else's that the launches name overlap with ``s``, and one of both is written?"""
        cdef Py_ssize_t i
        cdef Storage *t
        if self.borrowed_count:
            for i in range(self.held_count):
                t = self.held[i]
                if t.owner != NULL and s.data < t.data + t.nbytes and t.data < s.data + s.nbytes \
                        and (written or self.changes(t)):
                    return True
        return False

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
            for i in range(self.binding_count):
                if self.binding[i].written:
                    self.binding[i].storage.version += 1
        return 0

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
        cdef Py_ssize_t i, j
        cdef dict numbers = {}
        for i in range(self.binding_count):
            for j in range(self.binding[i].first, self.binding[i].first + self.binding[i].count):
                offset = f"+{self.patch[j].offset}" if self.patch[j].offset else ""
                name = self.names[i] if i < len(self.names) else "saved"
                numbers[-<Py_ssize_t> self.patch[j].p] = name + offset
        return "\n".join([launch_text(self.sequence.launch[i], numbers) for i in range(self.sequence.count)])

    @property
    def frozen(self):
        """(shape, dtype, where) of the numbers that the function brought in."""
        return [(shape_of(a), dtype_of((<Array> a).dtype_), where) for a, where in
                [entry for entry in self.sequence.constants if isinstance(entry, tuple)]]

    cdef list time_launches(self, Py_ssize_t rounds):
        """The least time of every launch over some runs whose writes are taken back; None with host launches, which
        may do what cannot be taken back."""
        cdef Py_ssize_t i, k
        cdef list saved, least
        if self.sequence.hosts:
            return None
        saved = [snapshot(self.changed[i]) for i in range(self.changed_count)]
        moved = [(i, snapshot(self.binding[i].storage)) for i in range(self.binding_count) if self.binding[i].written]
        least = [float("inf")] * self.sequence.count
        clock = time.perf_counter
        for _ in range(rounds):
            try:
                for i in range(self.sequence.count):
                    start = clock()
                    check_run(run_launch(self.sequence.launch[i]))
                    least[i] = min(<object> least[i], clock() - start)
            finally:
                for i in range(self.changed_count):
                    restore(self.changed[i], saved[i])
                for k, numbers in moved:
                    restore(self.binding[k].storage, numbers)
        return least


cdef Py_ssize_t run_launches(Launch **launch, Py_ssize_t count, Py_ssize_t i, Py_ssize_t *bad) noexcept nogil:
    """From launch ``i`` on to the first that is a host launch or fails, or to the end. Long launches look for signals
    themselves; between short ones it is done here, but not within an optimizer's step."""
    while i < count and launch[i].table != HOST:
        if i & 15 == 15 and not (is_steady(launch[i]) and is_steady(launch[i - 1])) and signalled():
            bad[0] = MGX_INTERRUPTED
            break
        bad[0] = run_launch(launch[i])
        if bad[0] != MGX_DONE:
            break
        i += 1
    return i


cdef inline bint is_steady(const Launch *l) noexcept nogil:
    return l.table == KERNELS and kernel_rows[l.row].steady


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
                sum([(<Array> o).size * itemsize[(<Array> o).dtype_] for o in outs + ins
                     if isinstance(o, Array)]), None)
    measure_launch(l, &bytes, &flops)
    if l.table == KERNELS:
        return launch_name(l), integers_text(l), int(bytes), int(flops)
    return launch_name(l), f"{l.args.n[0]}", int(bytes), int(flops)


cdef str integers_text(const Launch *l):
    """The sizes of a structured launch by their names: ``m 2, n 3``."""
    cdef int at = 0
    cdef list found = []
    for kind, name, lengths in kernel_integers(l.row):
        if kind == "INTEGER" or kind == "FLAG" and l.args.n[at]:
            found.append(f"{name} {l.args.n[at]}" if kind == "INTEGER" else name)
        at += lengths
    return ", ".join(found)


cdef bint is_parameter(Array a) noexcept:
    """Is a tensor meant by identity: a parameter?"""
    return a.needs_grad and (a.node is None or a.node.v.op == OP_LEAF)


cdef Array plain_copy(Array a):
    """A copy without a graph that has the strides of ``a``: so that every kernel reads it in the same way."""
    cdef Array out
    cdef Py_ssize_t below = 0, above = 0, elements
    cdef int d
    if a.contiguous or not a.size:
        out = empty_like(a)
    else:
        for d in range(a.ndim):
            if a.strides_[d] < 0:
                below -= a.strides_[d] * (a.shape_[d] - 1)
            else:
                above += a.strides_[d] * (a.shape_[d] - 1)
        elements = (below + above) // itemsize[a.dtype_] + 1
        if (below + above) % itemsize[a.dtype_]:
            out = empty_like(a)                         # strides that no array of whole elements has
        else:
            out = empty(a.dtype_, 1, &elements)
            out = alias(out, out.data + below, a.dtype_, a.ndim, a.shape_, a.strides_)
    copy(a, out)
    return out
