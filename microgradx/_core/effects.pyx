"""What a function reads and does of what was there before it, so that it can run once more as at first: `checkpoint`.

Who writes to a tensor asks whether it may (``check_writable`` of array): there its numbers are kept. What launches read
is noted at the door. Modules tell what attribute they are about to assign.
"""
from threading import get_ident

from microgradx._core cimport array
from microgradx._core.array cimport Array, OP_LEAF, detached, empty_like, shape_of
from microgradx._core.launch cimport copy, is_capturing, note_array_read, set_reads

from microgradx.errors import GraphError

cdef dict running = {}                  # {thread: its Effects, the innermost last}
cdef object MISSING = object()


cdef class Effects:
    """A context manager that notes what this thread reads and writes within it, of that which is there after it too.

    ``settle`` ends the noting; from then on ``check`` raises if what was read has changed since. ``rewind`` brings back
    what was before all writes, ``put_back`` what was there before ``rewind``.
    """
    cdef dict reads                     # {address of a storage: an array over it}
    cdef dict writes                    # {(address of a storage, first byte, shape, strides): Written}
    cdef dict attributes                # {(id of a dict, name): (dict, name, value before)}
    cdef list checked                   # [(array, its version)]
    cdef dict outer

    def __cinit__(self):
        self.reads, self.writes, self.attributes, self.checked = {}, {}, {}, []

    def __enter__(self):
        running.setdefault(get_ident(), []).append(self)
        array.note_written, array.note_viewed = note_written, note_viewed
        self.outer = set_reads(self.reads)
        return self

    def __exit__(self, *exc):
        set_reads(self.outer)
        if self.outer is not None:
            for address, a in self.reads.items():
                self.outer.setdefault(address, a)
        thread = get_ident()
        running[thread].remove(self)
        if not running[thread]:
            del running[thread]
        if not running:
            array.note_written, array.note_viewed = NULL, NULL

    def settle(self, list tensors, list states):
        """What nobody else holds any more was made within, and is forgotten. ``tensors`` were read too; ``states`` are
        those of generators, which are rewound by themselves."""
        cdef dict held = {}
        cdef Array a
        cdef Written one
        cdef size_t address
        if is_capturing():                              # replays look at no version
            self.reads.clear()
            tensors = []
        for a in tensors:
            self.reads.setdefault(<size_t> a.storage, detached(a))
        for a in [*self.reads.values(), *[one.array for one in self.writes.values()]]:
            address = <size_t> a.storage
            held[address] = held.get(address, 0) + 1
        self.writes = {key: one for key, one in self.writes.items()
                       if (<Written> one).array.storage.refs > <int> held[<size_t> (<Written> one).array.storage]}
        rewound = {<size_t> (<Written> one).array.storage for one in self.writes.values()}
        rewound.update([<size_t> (<Array> a).storage for a in states])
        for address, a in self.reads.items():
            if a.storage.refs > <int> held[address] and address not in rewound:
                self.checked.append((a, a.storage.version))
        self.reads = {}

    def check(self):
        cdef Array a
        for a, version in self.checked:
            if a.storage.version != version:
                raise GraphError(f"backward: checkpoint runs its function once more, which reads a tensor of shape "
                                 f"{shape_of(a)} that was written to since (version {a.storage.version}, then "
                                 f"{version}); write to it after backward()")

    def rewind(self):
        """Returns what was there, for `put_back`."""
        cdef Written one
        cdef list now = []
        for one in self.writes.values():
            now.append(kept(one.array))
        for one in reversed(self.writes.values()):
            one.restore()
        assigned = [(attributes, name, attributes.get(name, MISSING))
                    for attributes, name, _ in self.attributes.values()]
        assign(self.attributes.values())
        return now, assigned

    def undo(self):
        """Bring back what was before all writes, for good; returns whether that makes a difference."""
        cdef Written one
        self.settle([], [])
        changed = any([(<Written> one).array.storage.version != (<Written> one).version for one in self.writes.values()]
                      ) or any([attributes.get(name, MISSING) is not value
                                for attributes, name, value in self.attributes.values()])
        self.rewind()
        return changed

    def has_noted(self, tuple key):
        """Was an attribute assigned? ``key``: (id of the dict, name)."""
        return key in self.attributes

    @staticmethod
    def put_back(tuple now):
        cdef Written one
        for one in now[0]:
            one.restore()
        assign(now[1])


cdef class Written:
    """An array, and its numbers and version at some moment."""
    cdef Array array, numbers
    cdef unsigned int version

    cdef int restore(self) except -1:
        note_written(self.array)                        # for those around
        copy(self.numbers, self.array)
        self.array.storage.version, self.array.storage.finite_version = self.version, 0
        return 0


cdef Written kept(Array a):
    cdef Written one = Written.__new__(Written)
    one.array, one.numbers, one.version = detached(a), empty_like(a), a.storage.version
    copy(a, one.numbers)
    return one


cdef int note_written(Array a) except -1:
    """``a`` is about to be written to. What has a graph was made by an operation."""
    cdef Effects effects
    cdef int d
    if a.needs_grad and a.node is not None and a.node.v.op != OP_LEAF:
        return 0
    for effects in running.get(get_ident(), ()):
        strides = tuple([a.strides_[d] for d in range(a.ndim)])
        key = (<size_t> a.storage, <size_t> a.data, a.dtype_, shape_of(a), strides)
        if key not in effects.writes:
            effects.writes[key] = kept(a)
    return 0


cdef int note_viewed(Array a) except -1:
    """``a`` gets a view, through which launches may read it."""
    if get_ident() in running:
        note_array_read(a)
    return 0


def note_assignment(dict attributes not None, str name not None):
    """An attribute of a module is about to be assigned or deleted."""
    cdef Effects effects
    if running:
        for effects in running.get(get_ident(), ()):
            effects.attributes.setdefault((id(attributes), name), (attributes, name, attributes.get(name, MISSING)))


cdef int assign(values) except -1:
    for attributes, name, value in values:
        note_assignment(attributes, name)
        if value is MISSING:
            (<dict> attributes).pop(name, None)
        else:
            attributes[name] = value
    return 0
