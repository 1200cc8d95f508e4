"""What a captured call depends on besides its arguments and tensors: attributes of modules, options and groups of
optimizers. While a call is captured, each is noted at its first use, with what it was; a guard holds as long as it is
that still.

Values are compared as Python's: numbers, strings and flags by value and to the last bit; lists, tuples, dicts and sets
by their parts; everything else by identity.
"""
from cpython.list cimport PyList_GET_SIZE
from cpython.object cimport PyObject

from microgradx._core.array cimport Array
from microgradx._core.capture.environment cimport is_plain, is_same
from microgradx._core.launch cimport LaunchList, capturing_list

import numpy as np

from microgradx._core.capture.environment import MISSING
from microgradx._core.launch import change_world

cdef extern from "Python.h":
    PyObject *PyDict_GetItem(object, object)   # borrowed, or NULL

cdef dict watched = {}          # {id of the dict of an object: how many guards there are of what is in it}
cdef list noted_classes = []    # whose attributes are noted while a call is captured
cdef int capturing = 0
# Contents of a module or an optimizer that only its own methods change, and they tell; other lists and dicts are looked
# at each time.
cdef frozenset REGISTERS = frozenset({"_parameters", "_buffers", "_modules", "_hooks", "_launches"})
cdef enum: DEEPEST = 8          # of nested containers


cdef class Contents:
    """The parts of a list, tuple, dict or set as they were."""
    cdef object kind, keys
    cdef list parts
    cdef bint is_fixed          # can only another object have other parts?

    def __init__(self, container, int depth):
        self.kind = type(container)
        self.is_fixed = isinstance(container, (tuple, frozenset))
        if isinstance(container, dict):
            self.keys = [snapshot(key, depth) for key in container]
            self.parts = [snapshot(part, depth) for part in container.values()]
        elif isinstance(container, (set, frozenset)):
            self.keys, self.parts = set(container), []
        else:
            self.parts = [snapshot(part, depth) for part in container]
            self.is_fixed = self.is_fixed and not any([type(part) is Contents and not (<Contents> part).is_fixed
                                                       for part in self.parts])

    cdef bint match(self, object container) except -1:
        cdef Py_ssize_t k = 0
        if type(container) is not self.kind:
            return False
        if type(container) is list:
            if PyList_GET_SIZE(container) != PyList_GET_SIZE(self.parts):
                return False
            for k in range(PyList_GET_SIZE(self.parts)):
                if k >= PyList_GET_SIZE(container) or not unchanged(self.parts[k], (<list> container)[k]):
                    return False                            # an __eq__ may have cut it meanwhile
            return True
        if isinstance(container, (set, frozenset)):
            return container == self.keys
        if len(container) != len(self.parts):
            return False
        if isinstance(container, dict):
            for key, part in container.items():
                if k == len(self.parts) or not unchanged(self.keys[k], key) or not unchanged(self.parts[k], part):
                    return False
                k += 1
            return True
        for part in container:
            if k == len(self.parts) or not unchanged(self.parts[k], part):
                return False
            k += 1
        return True

    cdef bint is_lost(self, set unreachable) except -1:
        return any([part_is_lost(part, unreachable) for part in self.parts])


cdef object snapshot(object o, int depth):
    if isinstance(o, (list, tuple, dict, set, frozenset)) and depth < DEEPEST:
        return Contents(o, depth + 1)
    return o


cdef object snapshot_of(object o):
    """``o`` as it is now, for `unchanged`."""
    return snapshot(o, 0)


cdef bint unchanged(object was, object now) except -1:
    """Is ``now`` what a snapshot was taken of?"""
    if was is now:
        return True
    if type(was) is Contents:
        return (<Contents> was).match(now)
    return is_same(was, now) or type(was) is type(now) and equal_by_value(was, now)


cdef bint part_is_lost(object was, set unreachable) except -1:
    """Is a part of a snapshot compared by identity, and held by nobody but captured calls: those ``unreachable``?"""
    if type(was) is Contents:
        return (<Contents> was).is_lost(unreachable)
    return id(was) in unreachable and not is_plain(was) and not has_value(was)


cdef bint equal_by_value(object was, object now) except -1:
    """Are two objects of one type equal in their own words: do they define both equality and a hash?"""
    return has_value(was) and bool(was == now)


cdef bint has_value(object o) except -1:
    kind = type(o)
    if kind is slice:                                   # without a hash before Python 3.12
        return True
    return not (kind.__eq__ is object.__eq__ or kind.__hash__ is None or kind.__hash__ is object.__hash__
                or isinstance(o, (Array, np.ndarray, float, complex, np.generic)))


cdef class Guard:
    """One thing that a captured call depends on, and what it was."""

    def __init__(self, owner, attributes, name, value, text):
        self.owner, self.attributes, self.name, self.text = owner, attributes, name, text
        self.was = snapshot_of(value)
        self.watch()

    cdef int watch(self) except -1:
        self.watched = <size_t> id(self.attributes)
        watched[self.watched] = watched.get(self.watched, 0) + 1
        return 0

    def __dealloc__(self):
        cdef Py_ssize_t count
        if self.watched:
            count = watched.pop(self.watched) - 1
            if count:
                watched[self.watched] = count

    cdef bint holds(self) except -1:
        cdef PyObject *now = PyDict_GetItem(self.attributes, self.name)
        return unchanged(self.was, MISSING if now == NULL else <object> now)

    cdef bint renew(self) except -1:
        """Note what it is now; was it changed?"""
        cdef bint changed = not self.holds()
        if changed:
            self.was = snapshot_of(self.attributes.get(self.name, MISSING))
        return changed

    cdef bint is_lost(self, set unreachable) except -1:
        return id(self.owner) in unreachable or part_is_lost(self.was, unreachable)

    @property
    def polled(self):
        """May it change without anyone telling: a list or dict that is no register?"""
        return type(self.was) is Contents and not (<Contents> self.was).is_fixed and self.name not in REGISTERS


def note_read(owner, dict attributes not None, str name not None, value, str text not None):
    """The call under capture reads an attribute or option of ``owner``: ``attributes[name]`` is ``value``."""
    cdef LaunchList recording = capturing_list()
    cdef tuple key = (id(attributes), name)
    if recording is None or key in recording.reads or key in recording.writes:
        return
    recording.reads[key] = Guard(owner, attributes, name, value, text)


def note_write(dict attributes not None, str name not None):
    """An attribute or option was assigned or deleted. A call under capture does it again in each replay."""
    cdef LaunchList recording
    if id(attributes) in watched:
        change_world()
    if capturing:
        recording = capturing_list()
        if recording is not None:
            recording.writes.setdefault((id(attributes), name), attributes)


def note_draw(rng, before):
    """The call under capture drew from a numpy.random.Generator, whose state was ``before``."""
    cdef LaunchList recording = capturing_list()
    if recording is not None:
        recording.draws.append((rng, before, rng.bit_generator.state))


def note_attributes_of(kind):
    """Decorator for a class: what a call under capture reads of its objects' attributes is noted."""
    noted_classes.append(kind)
    kind._is_noted = True
    return kind


def _read_noting(self, name):
    """`__getattribute__` of such classes while a call is captured."""
    cdef LaunchList recording = capturing_list()
    if recording is None or name[:2] == "__" and name != "__dict__":
        return object.__getattribute__(self, name)
    attributes = object.__getattribute__(self, "__dict__")
    if name == "__dict__":
        recording.reads.setdefault((id(attributes), ""), KeysGuard(self, attributes, "", None, "its attributes"))
        for key, value in attributes.items():
            note_read(self, attributes, key, value, f"{type(self).__name__}.{key}")
    elif name in attributes:
        note_read(self, attributes, name, attributes[name], f"{type(self).__name__}.{name}")
    else:
        try:
            value = object.__getattribute__(self, name)
        except AttributeError:
            note_read(self, attributes, name, MISSING, f"{type(self).__name__}.{name}")
            raise
        note_read(self, attributes, name, MISSING, f"{type(self).__name__}.{name}")
        return value
    return object.__getattribute__(self, name)


cdef class KeysGuard(Guard):
    """Which attributes there are."""

    def __init__(self, owner, attributes, name, value, text):
        self.owner, self.attributes, self.name, self.text = owner, attributes, name, text
        self.was = list(attributes)
        self.watch()

    cdef bint holds(self) except -1:
        return list(self.attributes) == self.was

    cdef bint renew(self) except -1:
        cdef bint changed = not self.holds()
        self.was = list(self.attributes)
        return changed

    cdef bint is_lost(self, set unreachable) except -1:
        return id(self.owner) in unreachable


cdef int start_notes() except -1:
    global capturing
    capturing += 1
    if capturing == 1:
        for kind in noted_classes:
            kind.__getattribute__ = _read_noting
    return 0


cdef int stop_notes() except -1:
    global capturing
    capturing -= 1
    if not capturing:
        for kind in noted_classes:
            del kind.__getattribute__
    return 0
