"""What a function can reach besides its arguments: the variables of its closure, the globals that it names, and the
lists, dicts, arrays and objects in these; the code of the functions and classes that it finds there as well.

Of an object those attributes count that some of the code looks up. Numbers and strings are compared by value, all else
by identity and, as far as it can be looked into, by its parts. What is built in is not looked into, nor are the codes
of Python's own modules and of installed packages. Modules and optimizers tell themselves what becomes of them
(`guards`), and of them only the code is looked at.

``strict`` is for functions of Values: there all attributes count, and what cannot be compared is a reason not to
replay.
"""
from cpython.dict cimport PyDict_Next
from cpython.object cimport PyObject

from microgradx._core.array cimport Array
from microgradx._core.capture.originals cimport original_of
from microgradx._core.value cimport Value

import array
import builtins
import collections
import enum
import functools
import random
import sys
import threading
import types
import weakref
from contextvars import ContextVar

import numpy as np

from microgradx._core.capture.uses import uses_of
from microgradx.errors import is_of_a_signal

cdef extern from "Python.h":
    PyObject *PyDict_GetItem(PyObject *, PyObject *)
    PyObject *PyCell_GET(PyObject *)
    PyObject *PyList_GET_ITEM(list, Py_ssize_t)
    bint PyDict_CheckExact(PyObject *)
    bint PyCell_Check(PyObject *)
    bint PyType_Check(PyObject *)
    ctypedef struct PyTypeObject:
        PyObject *tp_dict

cdef enum:
    MANY = 100000               # entries: beyond, functions run as they are
    LONG = 1000                 # parts of a list or dict that are compared, if not strict; of a longer one its length
    LARGE = 65536               # bytes of an array that are compared, if not strict


class Missing:
    """What a variable or an attribute that is not there was."""
    def __repr__(self):
        return "missing"


MISSING = Missing()
cdef tuple PLAIN = (type(None), bool, int, float, complex, str, bytes, np.generic)
cdef tuple IMMUTABLE = PLAIN + (np.dtype, np.ufunc, range, slice, enum.Enum, types.BuiltinFunctionType, types.CodeType,
                                type(Ellipsis), types.GetSetDescriptorType, types.MemberDescriptorType,
                                types.WrapperDescriptorType, types.MethodDescriptorType)
cdef tuple WEAK = (weakref.ref, weakref.WeakValueDictionary, weakref.WeakSet)
cdef tuple GENERATORS = (np.random.Generator, np.random.RandomState, random.Random)
cdef set LIBRARIES = set(sys.stdlib_module_names) - {"__main__"} | {"microgradx", "numpy", "scipy"}
# methods that run without being named, besides those of operators, `with`, `for` and calls
cdef set IMPLICIT = {"forward", "backward", "jvp"}
cdef set AT_BIRTH = {"__init__", "__new__", "__post_init__"}


@functools.lru_cache(512)
def is_installed(str name):
    """Is a module one of Python's own, or of a package that is installed for all?"""
    if name in LIBRARIES:
        return True
    file = getattr(sys.modules.get(name), "__file__", None) or ""
    return "site-packages" in file or "dist-packages" in file


cdef bint is_library(object name) except -1:
    return isinstance(name, str) and is_installed(name.partition(".")[0])


cdef bint is_same(object was, object now) except -1:
    """One object, or an equal number or string, to the last bit."""
    if was is now:
        return True
    kind = type(was)
    if kind is not type(now) or not isinstance(was, PLAIN):
        return False
    return repr(was) == repr(now) if isinstance(was, (float, complex, np.generic)) else was == now


cdef bint is_plain(object o) except -1:
    return isinstance(o, PLAIN)


cdef class Environment:
    """A snapshot of what can be reached from ``roots``."""

    def __cinit__(self, roots, strict=False):
        self.strict = strict
        self.owners, self.keys, self.parts, self.sets, self.set_again = [], [], [], [], []
        self.lists, self.dicts, self.states, self.randoms, self.objects, self.kinds = [], [], [], [], [], []
        self.names, self.asked, self.done, self.passed = set(), set(), set(), 0
        self.values, self.containers, self.reason = {}, {}, None
        self.entries, self.arrays = 0, []
        cdef list waiting = list(roots)
        self.held = {}                              # keeps what was seen, so that no address is used twice
        cdef dict own = {id(o): o for o in waiting}
        while self.reason is None:
            while waiting and self.reason is None:
                o = waiting.pop()
                if id(o) not in self.held:
                    self.held[id(o)] = o
                    try:
                        if id(o) in own and isinstance(o, types.FunctionType):      # also one of a library's
                            waiting.extend(self.parts_of_function(o))
                        else:
                            waiting.extend(self.parts_of(o))
                    except Exception as error:      # of code of its own that runs when it is looked at
                        if strict or isinstance(error, MemoryError) or is_of_a_signal(error):
                            raise
                    if self.entries > MANY:
                        self.reason = "more objects in the function's closure than are compared"
            if not self.add_attributes(waiting):
                break
        self.objects, self.is_flat = None, not (self.lists or self.dicts or self.states or self.kinds or self.sets)

    cdef int add(self, object owner, object key, object part) except -1:
        self.owners.append(owner)
        self.keys.append(key)
        self.parts.append(part)
        self.entries += 1
        return 0

    cdef list parts_of(self, object o):
        """Note ``o``, and return what is to be noted of its parts."""
        cdef Array a
        kind = type(o)
        if kind is Value:
            self.values[id(o)] = o
            return []
        if isinstance(o, IMMUTABLE):
            named = not self.strict and isinstance(o, (str, int, float, enum.Enum))     # may have methods of its own
            return self.parts_of_class(kind, False) if named else []
        if isinstance(o, types.ModuleType):
            if not self.strict and not is_library(o.__name__):
                self.objects.append((o, vars(o), True))
            return []
        if isinstance(o, type):
            return self.parts_of_class(o, True)
        if isinstance(o, types.FunctionType):
            if not is_library(o.__globals__.get("__name__")):
                return self.parts_of_function(o)
            return [cell_contents(cell) for cell in o.__closure__ or ()] if not self.strict else []
        if isinstance(o, types.MethodType):
            return [o.__self__, o.__func__]
        if isinstance(o, (staticmethod, classmethod)):
            return [o.__func__]
        if isinstance(o, property):
            return [o.fget, o.fset]
        if isinstance(o, functools.partial):
            return [o.func, o.args, o.keywords]
        if isinstance(o, GENERATORS):
            if self.strict and isinstance(o, np.random.RandomState):
                self.reason = f"an object of type {kind.__name__} in what the function uses"
            (self.states if self.strict else self.randoms).append((o, state_of(o)))
            return []
        if isinstance(o, np.ndarray):
            if self.strict and (o.nbytes > MANY or o.dtype.hasobject):
                self.reason = "a large array, or one of objects, in what the function uses"
            if self.strict or o.nbytes <= LARGE and not o.dtype.hasobject:
                self.states.append((o, state_of(o)))
            return []
        if isinstance(o, Array):
            if self.strict:
                self.reason = f"an object of type {kind.__name__} in what the function uses"
                return []
            a = <Array> o
            self.arrays.append(a)
            return [] if a.node is None or a.node.hooks is None else list(a.node.hooks.values())
        return self.parts_of_container(o) + self.parts_of_object(o)

    cdef list parts_of_container(self, object o):
        cdef list found = []
        cdef bint is_long
        if not isinstance(o, (tuple, frozenset, list, set, collections.deque, dict)):
            return found
        is_long = not self.strict and len(o) > LONG
        if not isinstance(o, (tuple, frozenset)):
            self.containers[id(o)] = o
            if isinstance(o, dict):
                self.dicts.append((o, len(o) if is_long else dict(o)))
            else:
                self.lists.append((o, len(o) if is_long else list(o)))
        if not is_long:
            found = [part for pair in o.items() for part in pair] if isinstance(o, dict) else list(o)
        self.entries += len(found)
        return found

    cdef list parts_of_object(self, object o):
        cdef list found = []
        cdef bint known = isinstance(o, (tuple, frozenset, list, set, collections.deque, dict))
        kind = type(o)
        if not known and hasattr(kind, "__next__") or isinstance(o, threading.local) or isinstance(o, WEAK):
            self.reason = f"it uses an object of type {kind.__name__}, which may move; pass what it gives"
            return found
        if not self.strict:
            if "__wrapped__" in getattr(o, "__dict__", ()):
                found.append(o.__wrapped__)
            if isinstance(o, (collections.UserDict, collections.UserList)):
                found.append(o.data)
            elif isinstance(o, collections.ChainMap):
                found += o.maps
            elif isinstance(o, types.MappingProxyType):
                self.dicts.append((o, dict(o)))
                found += o.values()
            elif isinstance(o, (bytearray, array.array, memoryview)):
                self.states.append((o, bytes(o)))
            elif isinstance(o, weakref.WeakKeyDictionary):
                self.dicts.append((o.data, dict(o.data)))
                found += o.data.values()
            elif isinstance(o, ContextVar):
                self.add(o, "value", o.get(MISSING))
                found.append(o.get(MISSING))
        if hasattr(kind, "_is_noted") and not self.strict:
            attributes = vars(o)                    # registers name those that are modules, parameters, buffers
            found += [attributes.get(name) for register in ("_modules", "_parameters", "_buffers")
                      for name in attributes.get(register, ())]
            for group in attributes.get("param_groups", ()):    # of an optimizer
                found += group["params"]
            for hooks in (attributes.get("_hooks") or {}).values():
                found += hooks.values()
            self.objects.append((o, attributes, False))
        elif hasattr(o, "__dict__"):
            known = True
            attributes = vars(o)
            if self.strict:
                self.dicts.append((attributes, dict(attributes)))
                found += attributes.values()
            else:
                self.objects.append((o, attributes, True))
        for base in kind.__mro__:
            slots = base.__dict__.get("__slots__", ())
            for name in [slots] if isinstance(slots, str) else slots:
                if name in ("__dict__", "__weakref__"):
                    continue
                known = True
                if name.startswith("__") and not name.endswith("__"):
                    name = f"_{base.__name__.lstrip('_')}{name}"
                part = getattr(o, name, MISSING)
                self.add(o, name, part)
                found.append(part)
        self.entries += len(found)
        if self.strict and not known and (kind.__eq__ is object.__eq__ or kind.__hash__ is None) and o is not MISSING \
                and kind is not object:
            self.reason = f"an object of type {kind.__name__} in what the function uses, of which it cannot be told " \
                          "whether it has changed"
        return found + self.parts_of_class(kind, False)

    cdef list parts_of_class(self, object o, bint is_made):
        """Of a class that the code names it may make objects."""
        cdef list found = []
        for base in o.__mro__:
            if is_library(base.__module__) or base.__module__ == "builtins":
                continue
            if self.strict:
                found += [part for key, part in base.__dict__.items()
                          if key not in ("__dict__", "__weakref__", "__doc__") and not key.startswith("_abc")]
                self.dicts.append((base.__dict__, dict(base.__dict__)))
                continue
            for name, part in base.__dict__.items():
                if name in IMPLICIT or name.startswith("__") and (
                        name in AT_BIRTH and is_made or name not in AT_BIRTH and isinstance(part, types.FunctionType)
                        and name != "__del__"):
                    found.append(part)
            self.objects.append((base, base.__dict__, True))
        self.entries += len(found)
        return found

    cdef list parts_of_function(self, object o):
        cdef list found = [o.__defaults__, o.__kwdefaults__, o.__dict__]
        cdef dict names = o.__globals__
        uses = uses_of(o.__code__)
        self.exact = self.exact or uses.needs_exact_floats
        if not self.strict:
            found = [part for part in found[:2] if part]
            self.objects.append((o, o.__dict__, True))
            if "__wrapped__" in o.__dict__:
                found.append(o.__wrapped__)
            self.names |= uses.attributes
            self.asked |= uses.asked
            for name in uses.imports:
                found.append(sys.modules.get(name))
            for name in ("__defaults__", "__kwdefaults__"):
                if getattr(o, name):
                    self.add(o, name, getattr(o, name))
            for name, cell in zip(o.__code__.co_freevars, o.__closure__ or ()):
                self.add_variable(cell, name, cell_contents(cell), uses, found)
            for name in (*uses.variables, *uses.notes):
                if name not in o.__code__.co_freevars and (name in names or not hasattr(builtins, name)):
                    self.add_variable(names, name, names.get(name, MISSING), uses, found)
            return found
        self.add(o, "__code__", o.__code__)
        self.add(o, "__defaults__", o.__defaults__)
        for name, cell in zip(o.__code__.co_freevars, o.__closure__ or ()):
            part = cell_contents(cell)
            self.add(cell, name, part)
            found.append(part)
        for name in (*uses.variables, *uses.notes):
            part = names.get(name, MISSING)
            if name in o.__code__.co_freevars or part is MISSING and hasattr(builtins, name):
                continue
            self.entries += 1
            self.add(names, name, part)
            found.append(part)
            if isinstance(part, types.ModuleType) and not is_library(part.__name__):
                for other in uses.attributes & vars(part).keys():
                    self.add(vars(part), other, vars(part)[other])
                    found.append(vars(part)[other])
        return found

    cdef int add_variable(self, object owner, object key, object part, object uses, list found) except -1:
        """A variable of a function's closure, or a global that it names."""
        cdef bint used = key in uses.variables
        for note, at in uses.notes.get(key, ()):
            if not self.add_note(owner, key, part, note, at):
                used = True
                if note == "increase attribute" or note == "set attribute":
                    self.names.add(at)
                    self.asked.add(at)
        if not used or isinstance(part, types.ModuleType) and is_library(part.__name__):
            return 0
        self.add(owner, key, part)
        found.append(part)
        return 0

    cdef bint add_note(self, object owner, object key, object part, str note, object at) except -1:
        """Note all that a statement which leaves a constant in a variable depends on: that there is a number to be
        increased, or what the item or attribute is that it sets. False if the statement does more than that."""
        cdef bint has_attribute = note == "increase attribute" or note == "set attribute"
        if note == "increase":
            self.kinds.append((owner, key, type(part)))
            return isinstance(part, PLAIN)
        if note == "add":
            noted = type(part) in (list, set, collections.deque) and hasattr(part, at)
        elif has_attribute:
            noted = has_plain_attribute(part, at)
        else:
            noted = type(part) is dict or type(part) is list and note == "increase item"
        if not noted:
            return False
        self.add(owner, key, part)
        if note == "add":
            return True
        owner = vars(part) if has_attribute and not isinstance(part, type) else part
        part = owner_part(owner, at)
        if note == "set item" or note == "set attribute":
            self.sets.append((owner, at, part))
            return True
        self.kinds.append((owner, at, type(part)))
        return isinstance(part, PLAIN)

    cdef bint add_attributes(self, list waiting) except -1:
        """Note the attributes of objects whose names the code looks up, as far as it is known by now; False if there
        are no others than before."""
        cdef Py_ssize_t k, before = len(waiting)
        cdef set late = self.names - self.done
        for k in range(len(self.objects)):
            o, attributes, compared = self.objects[k]
            for name in (late if k < self.passed else self.names):
                part = attributes.get(name, MISSING)
                if isinstance(o, type) and isinstance(part, (types.FunctionType, types.BuiltinFunctionType)):
                    waiting.append(part)
                elif part is not MISSING:
                    if compared:
                        self.add(o if isinstance(o, type) else attributes, name, part)
                    waiting.append(part)
                elif compared and (name in self.asked or has_in_class(o, name) or has_in_class(o, "__getattr__")):
                    self.add(o if isinstance(o, type) else attributes, name, part)      # it may come to be
        self.passed, self.done = len(self.objects), set(self.names)
        return len(waiting) > before

    cdef bint shares_memory(self, Array a) except -1:
        """Does ``a`` lie in the memory of a tensor that can be reached?"""
        cdef Array b
        for b in self.arrays:
            if a.storage == b.storage or a.storage.data < b.storage.data + b.storage.nbytes \
                    and b.storage.data < a.storage.data + a.storage.nbytes:
                return True
        return False

    cdef bint unchanged(self) except -1:
        """Is everything as it was?"""
        cdef Py_ssize_t k, count = len(self.owners)
        cdef PyObject *owner
        cdef PyObject *now
        cdef PyObject *was
        for k in range(count):
            owner, was = PyList_GET_ITEM(self.owners, k), PyList_GET_ITEM(self.parts, k)
            if PyCell_Check(owner):
                now = PyCell_GET(owner)
            elif PyDict_CheckExact(owner):
                now = PyDict_GetItem(owner, PyList_GET_ITEM(self.keys, k))
            elif PyType_Check(owner):
                now = PyDict_GetItem(<PyObject *> (<PyTypeObject *> owner).tp_dict, PyList_GET_ITEM(self.keys, k))
            else:
                part = owner_part(<object> owner, self.keys[k])
                now = <PyObject *> part
            if now == NULL:
                now = <PyObject *> MISSING
            if now != was and not is_same(<object> was, <object> now):
                self.changed = f"the variable or attribute {self.keys[k]!r}"
                return False
        if self.is_flat:
            return True
        for container, key, part in self.sets:
            if not is_same(part, owner_part(container, key)):
                self.changed = f"the item or attribute {key!r}"
                return False
        for container, key, kind in self.kinds:
            if type(owner_part(container, key)) is not kind:
                self.changed = f"the kind of {key!r}, which is increased"
                return False
        for container, was_in in self.lists:
            if not is_list_unchanged(container, was_in):
                self.changed = f"a {type(container).__name__}"
                return False
        for container, was_in in self.dicts:
            if not is_dict_unchanged(container, was_in):
                self.changed = f"a {type(container).__name__}"
                return False
        for container, was_in in self.states:
            if state_of(container) != was_in:
                self.changed = f"an object of type {type(container).__name__}"
                return False
        return True

    cdef bint renew(self) except -1:
        """Note what all of it is now; was anything changed? What has only come to be is not looked into."""
        cdef bint changed = not self.unchanged()
        if changed:
            self.parts = [owner_part(owner, key) for owner, key in zip(self.owners, self.keys)]
            self.sets = [(container, key, owner_part(container, key)) for container, key, _ in self.sets]
            self.kinds = [(container, key, type(owner_part(container, key))) for container, key, _ in self.kinds]
            self.lists = [(o, list(o) if isinstance(was, list) else len(o)) for o, was in self.lists]
            self.dicts = [(o, dict(o) if isinstance(was, dict) else len(o)) for o, was in self.dicts]
            self.states = [(o, state_of(o)) for o, _ in self.states]
        return changed

    cdef bint is_lost(self, set unreachable) except -1:
        """Was part of it something that only captured calls hold, those ``unreachable``? Then it can never be again."""
        cdef list noted = [*self.owners, *self.parts]
        for container, was in self.lists + self.dicts:
            noted.append(container)
            noted += was if isinstance(was, list) else was.values() if isinstance(was, dict) else ()
        noted += [container for container, *_ in self.states + self.sets + self.kinds]
        return any([id(o) in unreachable and not is_plain(o) for o in noted])

    cdef int note_sets(self) except -1:
        """The call under capture has ended: a constant that it has put where another value was is put there again by
        each replay, whatever is there. Where it is not known whether the call did, what is there is compared."""
        cdef list compared = []
        for container, key, was in self.sets:
            now = owner_part(container, key)
            if not is_same(was, now) and isinstance(now, PLAIN):
                self.set_again.append((container, key, now))
            else:
                compared.append((container, key, was))
        self.sets = compared
        return 0

    cdef int repeat_sets(self) except -1:
        for container, key, constant in self.set_again:
            if isinstance(container, type):
                setattr(container, key, constant)
            else:
                container[key] = constant
        return 0

    cdef int give_originals(self, object leaf) except -1:
        """Where the function has put something that stands for another, put that: ``leaf`` tells what it is."""
        cdef Py_ssize_t k
        for k in range(len(self.owners)):
            owner, key = self.owners[k], self.keys[k]
            now = owner_part(owner, key)
            was = now if now is self.parts[k] or now is MISSING else original_of(now, [], [], leaf)
            if was is not now:
                set_owner_part(owner, key, was)
        for container, was_in in self.lists + self.dicts:
            if not (is_dict_unchanged(container, was_in) if isinstance(container, dict)
                    else is_list_unchanged(container, was_in)):
                original_of(container, [], [], leaf)
        return 0

    cdef int restore(self) except -1:
        """Put back what was there when it was noted, as far as that is known."""
        cdef Py_ssize_t k
        for k in range(len(self.owners)):
            if owner_part(self.owners[k], self.keys[k]) is not self.parts[k]:
                set_owner_part(self.owners[k], self.keys[k], self.parts[k])
        for container, was in self.lists:
            if not is_list_unchanged(container, was):
                was = was if isinstance(was, list) else list(container)[:was]
                container.clear()
                (container.update if isinstance(container, set) else container.extend)(was)
        for container, was in self.dicts:
            if isinstance(was, dict) and isinstance(container, dict) and not is_dict_unchanged(container, was):
                container.clear()
                container.update(was)
        for container, was in self.states:
            if state_of(container) != was and isinstance(container, np.ndarray):
                dtype, shape, numbers = was
                container[...] = np.frombuffer(numbers, dtype).reshape(shape)
        return 0

    cdef list generator_states(self):
        """(generator, its state) of those that can be reached and those that all share, for `rewind_generators`."""
        cdef list known = [rng for rng, _ in self.randoms] + [random._inst]
        if "numpy.random" in sys.modules:
            known.append(np.random.mtrand._rand)
        return [(rng, full_state_of(rng)) for rng in known]

    cdef object moved_generator(self, list known):
        """A generator of random numbers that has moved, and is none of those ``known``."""
        for rng, was in self.randoms:
            if not any([rng is other for other in known]) and state_of(rng) != was:
                return rng
        return None


cdef object owner_part(object owner, object key):
    """What a dict, list, cell, class or object holds there, or MISSING."""
    if isinstance(owner, dict):
        return owner.get(key, MISSING)
    if type(owner) is types.CellType:
        return cell_contents(owner)
    if isinstance(owner, type):
        return owner.__dict__.get(key, MISSING)
    if type(owner) is ContextVar:
        return owner.get(MISSING)
    try:
        return owner[key] if isinstance(owner, list) else getattr(owner, key, MISSING)
    except Exception as error:                          # of a property's own
        if is_of_a_signal(error):
            raise
        return MISSING


cdef int set_owner_part(object owner, object key, object part) except -1:
    if isinstance(owner, dict):
        if part is MISSING:
            owner.pop(key, None)
        else:
            owner[key] = part
    elif type(owner) is types.CellType:
        if part is MISSING:
            del owner.cell_contents
        else:
            owner.cell_contents = part
    elif type(owner) is ContextVar:
        owner.set(part)
    elif part is MISSING:
        delattr(owner, key)
    else:
        (type if isinstance(owner, type) else object).__setattr__(owner, key, part)
    return 0


cdef bint has_plain_attribute(object o, object name) except -1:
    """Does an assignment to ``o.name`` put the value into the object's dict, and do nothing else?"""
    kind = type(o)
    if not hasattr(o, "__dict__") or not isinstance(kind.__setattr__, types.WrapperDescriptorType) \
            or not isinstance(kind.__getattribute__, types.WrapperDescriptorType):
        return False
    return not any([hasattr(type(base.__dict__.get(name)), "__set__") for base in kind.__mro__])


cdef bint has_in_class(object o, object name) except -1:
    """Does a class of the user's give an object an attribute that it may have itself?"""
    if isinstance(o, (type, types.ModuleType)):
        return False
    for base in type(o).__mro__:
        if name in base.__dict__:
            return not is_library(base.__module__) and base.__module__ != "builtins" \
                and not isinstance(base.__dict__[name], property)
    return False


cdef bint is_list_unchanged(object container, object was) except -1:
    cdef Py_ssize_t k = 0
    if not isinstance(was, list):
        return len(container) == was
    if len(container) != len(<list> was):
        return False
    for part in container:
        if k >= len(<list> was) or part is not (<list> was)[k] and not is_same((<list> was)[k], part):
            return False                                # an __eq__ may make it longer meanwhile
        k += 1
    return True


cdef bint is_dict_unchanged(object container, object was) except -1:
    cdef Py_ssize_t at = 0, other = 0
    cdef PyObject *key_now
    cdef PyObject *key_then
    cdef PyObject *now
    cdef PyObject *then
    if not isinstance(was, dict):
        return len(container) == was
    if len(container) != len(<dict> was):
        return False
    if type(container) is dict:
        while PyDict_Next(<dict> container, &at, &key_now, &now):
            PyDict_Next(<dict> was, &other, &key_then, &then)
            if now != then and not is_same(<object> then, <object> now) \
                    or key_now != key_then and <object> key_now != <object> key_then:
                return False
        return True
    for (key, part), (old_key, old) in zip(container.items(), (<dict> was).items()):
        if part is not old and not is_same(old, part) or key is not old_key and key != old_key:
            return False
    return True


cdef object cell_contents(object cell):
    try:
        return cell.cell_contents
    except ValueError:
        return MISSING


cdef object full_state_of(object rng):
    """For the generator to be set to."""
    if isinstance(rng, random.Random):
        return rng.getstate()
    return rng.bit_generator.state if isinstance(rng, np.random.Generator) else rng.get_state(legacy=False)


cdef bint rewind_generators(list states) except -1:
    cdef bint moved = False
    for rng, state in states:
        if state_of(rng) == repr(state):
            continue
        moved = True
        if isinstance(rng, np.random.Generator):
            rng.bit_generator.state = state
        else:
            (rng.setstate if isinstance(rng, random.Random) else rng.set_state)(state)
    return moved


cdef object state_of(object o):
    if isinstance(o, GENERATORS):
        return repr(full_state_of(o))
    return bytes(o) if isinstance(o, (bytearray, array.array, memoryview)) else (o.dtype, o.shape, o.tobytes())
