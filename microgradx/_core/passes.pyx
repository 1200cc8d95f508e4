"""Passes over the steps of a program. None changes a bit of a result.

``constants`` writes numbers once that the function brings in, ``dead`` drops steps whose results nobody reads,
``fuse`` (in its own module) joins elementwise launches, ``reuse`` gives short lives the same memory.
"""
cimport cython
from libc.stdint cimport uint16_t
from libc.stdlib cimport free, malloc

from microgradx._core cimport launch
from microgradx._core.array cimport Array, Storage, empty
from microgradx._core.kernels cimport MGX_F32
from microgradx._core.launch cimport Step

PASSES = frozenset({"constants", "dead", "fuse", "reuse"})


@cython.final
cdef class Lives:
    """From which step to which each storage lives that the steps name."""
    def __cinit__(self, Py_ssize_t room):
        self.index = {}
        self.life = <Life *> malloc((room + 1) * sizeof(Life))
        if self.life == NULL:
            raise MemoryError("compile: no memory for the plan")

    def __dealloc__(self):
        free(self.life)

    cdef Life *of(self, Storage *s):
        return &self.life[<Py_ssize_t> self.index[<size_t> s]]

    cdef int meet(self, Storage *s, Py_ssize_t i, bint written, uint16_t number) except -1:
        """Step ``i`` of the capture with this ``number`` names a storage."""
        cdef size_t address = <size_t> s
        cdef Life *one
        if address not in self.index:
            one = &self.life[self.count]
            self.index[address] = self.count
            self.count += 1
            one.storage, one.first, one.data, one.writes = s, i, NULL, 0
            one.fresh = written and s.born == number
        one = self.of(s)
        one.last = i
        one.writes += written
        return 0

    cdef int close_ranks(self) except -1:
        """After steps were dropped: the others move up, and lives are told anew."""
        cdef Py_ssize_t i, kept = 0
        cdef int k
        cdef Step *s
        cdef Life *one
        for i in range(self.count):
            self.life[i].first = -1
        for i in range(self.tape.count):
            s = self.tape.step[i]
            if s == NULL:
                continue
            self.tape.step[kept] = s
            for k in range(s.slots):
                if s.storage[k] != NULL:
                    one = self.of(s.storage[k])
                    one.last = kept
                    if one.first < 0:
                        one.first = kept
            kept += 1
        self.tape.count = kept
        return 0


cdef void drop(Step **s) noexcept:
    free(s[0].job)
    free(s[0])
    s[0] = NULL


cdef int drop_constants(Lives lives) except -1:
    """Numbers that only this program holds and nothing overwrites need not be written anew."""
    cdef Py_ssize_t i
    cdef Step *s
    cdef Life *one
    for i in range(lives.tape.count):
        s = lives.tape.step[i]
        if s.name == launch.CONSTANT:
            one = lives.of(s.storage[1])
            if one.fresh and one.writes == 1:
                one.fresh = False
                drop(&lives.tape.step[i])
    return lives.close_ranks()


cdef int drop_dead(Lives lives) except -1:
    """Drop the steps whose results nobody reads."""
    cdef Py_ssize_t i
    cdef int k
    cdef Step *s
    cdef bint needed
    cdef set live = {<size_t> lives.life[i].storage for i in range(lives.count) if not lives.life[i].fresh}
    for i in range(lives.tape.count - 1, -1, -1):
        s = lives.tape.step[i]
        needed = s.host != NULL
        for k in range(s.slots):
            needed = needed or (s.written >> k & 1 and <size_t> s.storage[k] in live)
        for k in range(s.slots):
            if needed and s.storage[k] != NULL:
                live.add(<size_t> s.storage[k])
        if not needed:
            drop(&lives.tape.step[i])
    return lives.close_ranks()


cdef tuple plan(Lives lives):
    """One block for all that is the program's own: each storage at the lowest place that is free in its life."""
    cdef Py_ssize_t i, j, at, top = 0, own = 0
    cdef int k
    cdef Step *s
    cdef Life *one
    cdef Array block
    cdef Life *life = lives.life
    cdef list order, taken = []
    order = sorted([i for i in range(lives.count) if life[i].fresh and life[i].first >= 0],
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
        own += life[i].storage.nbytes
    if not order:
        return None, 0, 0
    at = (top + 3) // 4
    block = empty(MGX_F32, 1, &at)
    for i in order:
        life[i].data = block.storage.data + <Py_ssize_t> offsets[i]
    for i in range(lives.tape.count):
        s = lives.tape.step[i]
        for k in range(s.slots):
            if s.storage[k] != NULL:
                one = lives.of(s.storage[k])
                if one.data != NULL:
                    s.p[k] = one.data + (s.p[k] - one.storage.data)
                    s.storage[k] = block.storage
    return block, own, top
