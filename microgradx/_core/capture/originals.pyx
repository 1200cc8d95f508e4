"""A capture calls the function on copies of its arguments, and with numbers that move. Where such a call runs as it is
after all, or raises, what it returned, kept or raised has the caller's own tensors and numbers put in their place.
"""
from microgradx._core.array cimport Array
from microgradx._core.trees cimport fields_of

import gc
import types
from collections import OrderedDict, deque
from functools import partial

cdef extern from "Python.h":
    int Py_EnterRecursiveCall(const char *where) except -1
    void Py_LeaveRecursiveCall()

# what is not searched for things that stand for others
cdef tuple WHOLE = (type(None), bool, int, float, complex, str, bytes, type, types.ModuleType, types.CodeType, Array)


cdef object original(object o, dict known, object leaf):
    """What an object stands for: another one, or itself, with the originals put into all that it holds."""
    if id(o) in known:
        return known[id(o)]
    was = leaf(o)
    if was is not o or isinstance(o, WHOLE) or hasattr(type(o), "_is_noted"):
        return was
    Py_EnterRecursiveCall(b" in a nested list, tuple or dict")
    try:
        if isinstance(o, (tuple, frozenset, types.MethodType, types.BuiltinMethodType)):
            return remade(o, known, leaf)
        known[id(o)] = o                            # it may be a part of itself
        put_originals(o, known, leaf)
        return o
    finally:
        Py_LeaveRecursiveCall()


cdef object remade(object o, dict known, object leaf):
    """Of what cannot be changed: ``o`` itself if it holds nothing that stands for another."""
    if isinstance(o, (tuple, frozenset)):
        parts = [original(part, known, leaf) for part in o]
        if all([part is was for part, was in zip(parts, o)]):
            return o
        return tuple.__new__(type(o), parts) if isinstance(o, tuple) else type(o)(parts)
    was = original(o.__self__, known, leaf)
    if was is o.__self__:
        return o
    return types.MethodType(o.__func__, was) if isinstance(o, types.MethodType) else getattr(was, o.__name__)


cdef int put_originals(object o, dict known, object leaf) except -1:
    """Into what can be changed."""
    cdef Py_ssize_t k
    if isinstance(o, dict):
        base = OrderedDict if isinstance(o, OrderedDict) else dict
        keys = [original(key, known, leaf) for key in o]
        parts = [original(part, known, leaf) for part in o.values()]
        if any([key is not was for key, was in zip(keys, o)]):
            base.clear(o)
        for key, part in zip(keys, parts):
            if dict.get(o, key, o) is not part:
                base.__setitem__(o, key, part)
    elif isinstance(o, (list, deque)):
        base = list if isinstance(o, list) else deque
        for k in range(len(o)):
            part = original(base.__getitem__(o, k), known, leaf)
            if part is not base.__getitem__(o, k):
                base.__setitem__(o, k, part)
    elif isinstance(o, set):
        parts = [original(part, known, leaf) for part in o]
        if any([part is not was for part, was in zip(parts, o)]):
            set.clear(o)
            set.update(o, parts)
    elif isinstance(o, types.FunctionType):
        for cell in o.__closure__ or ():
            put_attribute(cell, "cell_contents", known, leaf)
        put_attribute(o, "__defaults__", known, leaf)
        put_attribute(o, "__kwdefaults__", known, leaf)
    elif isinstance(o, partial):
        parts = [original(part, known, leaf) for part in (o.func, o.args, o.keywords)]
        o.__setstate__((*parts, vars(o)))
    elif isinstance(o, types.MappingProxyType):
        for part in gc.get_referents(o):
            original(part, known, leaf)
    elif isinstance(o, BaseException):
        put_attribute(o, "args", known, leaf)
    if type(getattr(o, "__dict__", None)) is dict:
        put_originals(o.__dict__, known, leaf)
    for base in type(o).__mro__:
        for slot in base.__dict__.values():
            if type(slot) is types.MemberDescriptorType and base.__module__ != "builtins":
                try:
                    part = slot.__get__(o)
                except AttributeError:
                    continue
                was = original(part, known, leaf)
                if was is not part:
                    slot.__set__(o, was)
    return 0


cdef int put_attribute(object o, str name, dict known, object leaf) except -1:
    try:
        part = getattr(o, name)
    except ValueError:                              # an empty cell
        return 0
    was = original(part, known, leaf)
    if was is not part:
        setattr(o, name, was)
    return 0


cdef object original_of(object tree, list containers, list copies, object leaf):
    """What a tree of leaves and containers that stand for others stands for itself."""
    return original(tree, {id(copied): container for copied, container in zip(copies, containers)}, leaf)


cdef int give_back(list containers, list copies, object leaf) except -1:
    """Do to the ``containers`` of a tree what was done to ``copies`` of them; ``leaf`` tells what a leaf of the copies
    stands for."""
    cdef dict known = {id(copied): container for copied, container in zip(copies, containers)}
    for copied, container in zip(copies, containers):
        if isinstance(container, dict):
            now = {key: original(part, known, leaf) for key, part in copied.items()}
            if list(now) != list(container) or any([now[key] is not container[key] for key in now]):
                container.clear()
                container.update(now)
        elif isinstance(container, list):
            now = [original(part, known, leaf) for part in copied]
            if len(now) != len(container) or any([a is not b for a, b in zip(now, container)]):
                container[:] = now
        elif not isinstance(container, tuple):
            for key in fields_of(type(container)):
                part = original(getattr(copied, key), known, leaf)
                if part is not getattr(container, key):
                    setattr(container, key, part)
    return 0
