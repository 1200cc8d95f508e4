"""What a function can reach besides its arguments, compared by identity: the variables of its closure, the globals that
it names, and the lists, dicts and objects in these. Values are noted, and may have other numbers from call to call.

What is built in is not looked into, nor are Python's own modules and packages that are installed for all.
"""
from cpython.dict cimport PyDict_Next
from cpython.list cimport PyList_GET_ITEM
from cpython.object cimport PyObject

from microgradx._core.array cimport Array
from microgradx._core.value cimport Value

import builtins
import collections
import enum
import functools
import random
import sys
import types

import numpy as np

cdef enum: MANY = 100000            # entries: beyond, functions run as they are
cdef object MISSING = object()
cdef tuple IMMUTABLE = (type(None), bool, int, float, complex, str, bytes, np.generic, np.dtype, np.ufunc, range,
                        enum.Enum, types.BuiltinFunctionType, types.CodeType, type(Ellipsis),
                        types.GetSetDescriptorType, types.MemberDescriptorType, types.WrapperDescriptorType,
                        types.MethodDescriptorType)
cdef set LIBRARIES = set(sys.stdlib_module_names) - {"__main__"} | {"microgradx", "numpy", "scipy"}


cdef bint is_library(object name) except -1:
    return isinstance(name, str) and name.partition(".")[0] in LIBRARIES


cdef class Environment:
    """A snapshot of what can be reached from ``roots``."""

    def __cinit__(self, roots):
        self.lists, self.dicts, self.names, self.states = [], [], [], []
        self.values, self.containers, self.reason = {}, {}, None
        self.entries = 0
        cdef list waiting = list(roots)
        cdef dict seen = {}                         # keeps what was seen, so that no address is used twice
        while waiting and self.reason is None:
            o = waiting.pop()
            if id(o) not in seen:
                seen[id(o)] = o
                waiting.extend(self.parts(o))
                if self.entries > MANY:
                    self.reason = "more objects in the function's closure than are compared"
        self.held = seen

    cdef list parts(self, object o):
        """Note ``o``, and return what is to be noted of its parts."""
        cdef list found = []
        kind = type(o)
        if kind is Value:
            self.values[id(o)] = o
            return found
        if isinstance(o, IMMUTABLE):
            return found
        if isinstance(o, types.ModuleType):
            return found
        if isinstance(o, type):
            if not is_library(o.__module__) and o.__module__ != "builtins":
                found = [o.__dict__[key] for key in o.__dict__ if key not in ("__dict__", "__weakref__", "__doc__")
                         and not key.startswith("_abc")]
                self.dicts.append((o.__dict__, dict(o.__dict__)))
                found += [base for base in o.__mro__[1:]]
                self.entries += len(found)
            return found
        if isinstance(o, types.FunctionType):
            return [] if is_library(o.__module__) else self.parts_of_function(o)
        if isinstance(o, types.MethodType):
            return [o.__self__, o.__func__]
        if isinstance(o, (staticmethod, classmethod)):
            return [o.__func__]
        if isinstance(o, property):
            return [o.fget, o.fset]
        if isinstance(o, functools.partial):
            return [o.func, o.args, o.keywords]
        if isinstance(o, (np.random.Generator, random.Random)):
            self.states.append((o, state_of(o)))
            return found
        if isinstance(o, np.ndarray):
            if o.nbytes > MANY or o.dtype.hasobject:
                self.reason = "a large array, or one of objects, in what the function uses"
            self.states.append((o, state_of(o)))
            return found
        if isinstance(o, (Array, np.random.RandomState)):
            self.reason = f"an object of type {kind.__name__} in what the function uses"
            return found
        known = False
        if isinstance(o, (tuple, frozenset)):
            found, known = list(o), True
            self.entries += len(found)
        elif isinstance(o, (list, set, collections.deque)):
            found, known = list(o), True
            self.lists.append((o, found))
            self.containers[id(o)] = o
        elif isinstance(o, dict):
            found, known = [part for pair in o.items() for part in pair], True
            self.dicts.append((o, dict(o)))
            self.containers[id(o)] = o
        if not known and hasattr(o, "__next__"):
            self.reason = f"an object of type {kind.__name__} in what the function uses, which may move"
            return found
        if hasattr(o, "__dict__"):
            known = True
            attributes = vars(o)
            self.dicts.append((attributes, dict(attributes)))
            found = found + list(attributes.values())
        for base in kind.__mro__:
            for name in [base.__dict__.get("__slots__", ())] if isinstance(base.__dict__.get("__slots__", ()), str) \
                    else base.__dict__.get("__slots__", ()):
                if name not in ("__dict__", "__weakref__"):
                    known = True
                    if name.startswith("__") and not name.endswith("__"):
                        name = f"_{base.__name__.lstrip('_')}{name}"
                    part = getattr(o, name, MISSING)
                    self.names.append((o, name, part))
                    found.append(part)
        self.entries += len(found)
        if not known and (kind.__eq__ is object.__eq__ or kind.__hash__ is None) and o is not MISSING \
                and kind is not object:
            self.reason = f"an object of type {kind.__name__} in what the function uses, of which it cannot be told " \
                          "whether it has changed"
        if not is_library(kind.__module__) and kind.__module__ != "builtins":
            found.append(kind)
        return found

    cdef list parts_of_function(self, object o):
        cdef list found = [o.__defaults__, o.__kwdefaults__, o.__dict__], codes = [o.__code__]
        cdef dict names = o.__globals__
        self.names.append((o, "__code__", o.__code__))
        self.names.append((o, "__defaults__", o.__defaults__))
        for cell in o.__closure__ or ():
            part = cell_contents(cell)
            self.names.append((cell, "cell_contents", part))
            found.append(part)
        while codes:
            code = codes.pop()
            codes += [part for part in code.co_consts if isinstance(part, types.CodeType)]
            for name in code.co_names:
                self.entries += 1
                part = names.get(name, MISSING)
                if part is not MISSING or not hasattr(builtins, name):
                    self.names.append((names, name, part))
                    found.append(part)
                if isinstance(part, types.ModuleType) and not is_library(part.__name__):
                    for other in code.co_names:
                        if other in vars(part):
                            self.names.append((vars(part), other, vars(part)[other]))
                            found.append(vars(part)[other])
        return found

    cdef bint unchanged(self) except -1:
        """Is everything as it was?"""
        cdef tuple entry
        cdef list was
        cdef dict pairs
        cdef Py_ssize_t k, at, other
        cdef PyObject *key_now
        cdef PyObject *key_then
        cdef PyObject *now_part
        cdef PyObject *then_part
        for entry in self.names:
            owner, name, part = entry
            if type(owner) is dict:
                now = owner.get(name, MISSING)
            elif type(owner) is types.CellType:
                now = cell_contents(owner)
            else:
                now = getattr(owner, name, MISSING)
            if now is not part:
                return False
        for owner, was in self.lists:
            if len(owner) != len(was):
                return False
            if type(owner) is list:
                for k in range(len(was)):
                    if PyList_GET_ITEM(<list> owner, k) != PyList_GET_ITEM(was, k):
                        return False
                continue
            k = 0
            for part in owner:
                if part is not was[k]:
                    return False
                k += 1
        for owner, pairs in self.dicts:
            if len(owner) != len(pairs):
                return False
            if type(owner) is dict:
                at = other = 0
                while PyDict_Next(<dict> owner, &at, &key_now, &now_part):
                    PyDict_Next(pairs, &other, &key_then, &then_part)
                    if now_part != then_part or key_now != key_then and <object> key_now != <object> key_then:
                        return False
                continue
            for (key, part), (old_key, old) in zip(owner.items(), pairs.items()):
                if part is not old or key is not old_key and key != old_key:
                    return False
        for owner, state in self.states:
            if state_of(owner) != state:
                return False
        return True


cdef object cell_contents(object cell):
    try:
        return cell.cell_contents
    except ValueError:
        return MISSING


cdef object state_of(object o):
    if isinstance(o, np.random.Generator):
        return repr(o.bit_generator.state)
    if isinstance(o, random.Random):
        return o.getstate()
    return o.dtype, o.shape, o.tobytes()
