"""Passes over the launches of a program. None changes a bit of a result.

``constants`` writes numbers once that the function brings in, ``dead`` drops launches whose results nobody reads,
``fuse`` (in its own module) joins elementwise launches, ``reuse`` gives short lives the same memory.
"""
cimport cython
from cpython.exc cimport PyErr_CheckSignals
from libc.stdlib cimport free, malloc

from microgradx._core.array cimport Array, Storage, empty
from microgradx._core.capture.offsets cimport Range, assign_offsets
from microgradx._core.kernels cimport MGX_F32, kernel_row
from microgradx._core.launch cimport HOST, KERNELS, Launch, LaunchList, launch_name

PASSES = frozenset({"constants", "dead", "fuse", "reuse"})


@cython.final
cdef class LiveRanges:
    """From which step to which each storage lives that the steps name.

    ``Storage.next``, of no use to a block that is not free, is its number here; any other has a number whose life is
    not its own.
    """
    def __cinit__(self, Py_ssize_t room):
        self.dropped = []
        self.life = <LiveRange *> malloc((room + 1) * sizeof(LiveRange))
        if self.life == NULL:
            raise MemoryError("compile: no memory for the plan")

    def __dealloc__(self):
        free(self.life)

    cdef LiveRange *of(self, Storage *s) noexcept:
        cdef size_t k = <size_t> s.next
        return &self.life[k] if k < <size_t> self.count and self.life[k].storage == s else NULL

    cdef void meet(self, Storage *s, Py_ssize_t i, bint written) noexcept:
        """Launch ``i`` names a storage."""
        cdef LiveRange *one = self.of(s)
        if one == NULL:
            one = &self.life[self.count]
            s.next = <Storage *> self.count
            self.count += 1
            one.storage, one.first, one.data, one.writes, one.fresh = s, i, NULL, 0, False
            one.bound = False
        one.last = i
        one.writes += written

    cdef void extend(self, LiveRange *one, Py_ssize_t i, bint written) noexcept:
        one.last = i
        one.writes += written
        if one.first < 0:
            one.first = i

    cdef int drop(self, Py_ssize_t i) except -1:
        """Launch ``i`` is not run; `compact` is due."""
        cdef Launch *s = self.sequence.launch[i]
        self.dropped.append(launch_name(s))
        free(s.tiles)
        free(s)
        self.sequence.launch[i] = NULL
        return 0

    cdef int compact(self) except -1:
        """After launches were dropped: the others move up, and the live ranges are computed again."""
        cdef Py_ssize_t i, kept = 0
        cdef int k
        cdef Launch *s
        for i in range(self.count):
            self.life[i].first, self.life[i].writes = -1, 0
        for i in range(self.sequence.count):
            s = self.sequence.launch[i]
            if s == NULL:
                continue
            self.sequence.launch[kept] = s
            for k in range(s.count):
                if s.storage[k] != NULL:
                    self.extend(self.of(s.storage[k]), kept, s.writes >> k & 1)
            if s.host != NULL:
                for o, written in host_operands(s):
                    self.extend(self.of((<Array> o).storage), kept, written)
            kept += 1
        self.sequence.count = kept
        return 0


cdef int hold_host_operands(LaunchList sequence) except -1:
    """The capture has ended: what host launches name is theirs from now on."""
    if sequence.holds_operands:
        return 0
    sequence.holds_operands = True
    for _, outs, ins in sequence.hosts:
        for o in outs + ins:
            if isinstance(o, Array):
                (<Array> o).storage.refs += 1
    return 0


cdef list host_operands(const Launch *s):
    """[(array, is it written?)] of a host launch."""
    _, outs, ins = <tuple> s.host
    return [(o, True) for o in outs if isinstance(o, Array)] + [(o, False) for o in ins if isinstance(o, Array)]


cdef int CONSTANT = kernel_row("constant")


cdef int drop_constants(LiveRanges lives) except -1:
    """Numbers that only this program holds and nothing overwrites need not be written again: they are read from where
    the launch that writes them would."""
    cdef Py_ssize_t i
    cdef Launch *s
    cdef LiveRange *one
    for i in range(lives.sequence.count):
        if i & 1023 == 1023:
            PyErr_CheckSignals()
        s = lives.sequence.launch[i]
        if s.table == KERNELS and s.row == CONSTANT:
            one = lives.of(s.storage[1])
            if one.fresh and one.writes == 1:
                one.data, one.into = s.args.p[0] + (one.storage.data - s.args.p[1]), s.storage[0]
                lives.drop(i)
    move_operands(lives)
    lives.compact()
    return 0


cdef int move_operands(LiveRanges lives) except -1:
    """Let the launches name, of each storage with ``data``, what it lies ``into`` instead."""
    cdef Py_ssize_t i
    cdef int k
    cdef Launch *s
    cdef LiveRange *one
    for i in range(lives.sequence.count):
        if i & 1023 == 1023:
            PyErr_CheckSignals()
        s = lives.sequence.launch[i]
        for k in range(s.count if s != NULL else 0):
            one = NULL if s.storage[k] == NULL else lives.of(s.storage[k])
            if one != NULL and one.data != NULL:
                s.args.p[k] = one.data + (s.args.p[k] - one.storage.data)
                s.storage[k] = one.into
        for o, _ in host_operands(s) if s != NULL and s.table == HOST else ():
            one = lives.of((<Array> o).storage)
            if one.data != NULL:
                (<Array> o).data = one.data + ((<Array> o).data - one.storage.data)
                (<Array> o).storage = one.into
    return 0


cdef int drop_dead(LiveRanges lives) except -1:
    """Drop the launches whose results nobody reads."""
    cdef Py_ssize_t i
    cdef int k
    cdef Launch *s
    cdef bint needed
    for i in range(lives.count):
        lives.life[i].needed = not lives.life[i].fresh
    for i in range(lives.sequence.count - 1, -1, -1):
        if i & 1023 == 1023:
            PyErr_CheckSignals()
        s = lives.sequence.launch[i]
        needed = s.table == HOST
        for k in range(s.count):
            needed = needed or (s.writes >> k & 1 and lives.of(s.storage[k]).needed)
        for k in range(s.count):
            if needed and s.storage[k] != NULL:
                lives.of(s.storage[k]).needed = True
        for o, _ in host_operands(s) if s.table == HOST else ():
            lives.of((<Array> o).storage).needed = True
        if not needed:
            lives.drop(i)
    lives.compact()
    return 0


cdef inline Py_ssize_t padded(const Storage *s) noexcept nogil:
    """Bytes up to where another storage may begin: a double is aligned to eight bytes."""
    return (s.nbytes + 7) & ~<Py_ssize_t> 7


cdef tuple plan(LiveRanges lives, bint reuse):
    """One block for all that is the program's own. Storages that live at different times share parts of it if they may
    (``reuse``): which, is said by `assign_offsets`."""
    cdef Py_ssize_t i, j, count = 0, top = 0, own = 0
    cdef LiveRange *one
    cdef Array block
    cdef Range *ranges = <Range *> malloc((lives.count + 1) * sizeof(Range))
    if ranges == NULL:
        raise MemoryError("compile: no memory for the plan")
    try:
        for i in range(lives.count):
            one = &lives.life[i]
            if one.fresh and one.first >= 0:
                ranges[count].first, ranges[count].last, ranges[count].size = one.first, one.last, padded(one.storage)
                ranges[count].offset, top = top, top + ranges[count].size
                count += 1
                own += one.storage.nbytes
        if reuse:
            top = assign_offsets(ranges, count)
        count = 0
        for i in range(lives.count):
            one = &lives.life[i]
            if one.fresh and one.first >= 0:
                one.offset = ranges[count].offset
                count += 1
    finally:
        free(ranges)
    if not count:
        return None, 0, 0
    j = (top + 3) // 4
    block = empty(MGX_F32, 1, &j)
    for i in range(lives.count):
        one = &lives.life[i]
        if one.fresh and one.first >= 0:
            one.data, one.into = block.storage.data + one.offset, block.storage
    move_operands(lives)
    return block, own, top
