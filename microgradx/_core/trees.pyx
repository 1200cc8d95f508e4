"""Nested lists, tuples and dicts as their leaves and their structure, both read in one pass: what is done to a list
afterwards changes neither.
"""
from microgradx._core.array cimport Array

import dataclasses
import gc
import types
from collections import OrderedDict, deque
from functools import partial

# what is not searched for things that stand for others
cdef tuple WHOLE = (type(None), bool, int, float, complex, str, bytes, type, types.ModuleType, types.CodeType, Array)

cdef extern from "Python.h":
    int Py_EnterRecursiveCall(const char *where)        # not 0: it has raised
    void Py_LeaveRecursiveCall()

__all__ = ["flatten", "leaves_of", "unflatten"]


def flatten(tree, bint records=False):
    """(leaves, structure): whatever is no list, tuple or dict, in order; and the nesting around it. With ``records``
    the fields of a dataclass are parts, too.

    A structure is hashable, and equal to another of the same types, lengths and keys.

    >>> from microgradx._core.trees import flatten, unflatten
    >>> leaves, structure = flatten({"a": [1, 2], "b": (3, None)})
    >>> leaves
    [1, 2, 3, None]
    >>> unflatten(structure, iter("wxyz"))
    {'a': ['w', 'x'], 'b': ('y', 'z')}
    """
    cdef list leaves = []
    return leaves, structure_of(tree, leaves, records)


cdef int enter() except -1:
    """One level deeper; a list may be a part of itself."""
    return -1 if Py_EnterRecursiveCall(b" in a nested list, tuple or dict") else 0


cdef tuple parts_of(object tree, bint records):
    """(type, keys of a dict with their types, or fields, or None; parts), or None for a leaf.

    With ``records`` the tree is to be made again: a dataclass is one part by part if it has nothing besides its fields,
    and objects of other classes that inherit from list, tuple or dict are leaves."""
    cdef object kind = type(tree)
    if isinstance(tree, dict):
        if records and kind is not dict and kind is not OrderedDict:
            return None
        return kind if records else dict, tuple([(type(key), key) for key in tree]), list(tree.values())
    if isinstance(tree, (list, tuple)):
        if records and kind is not list and kind is not tuple and not hasattr(kind, "_fields"):
            return None
        return kind, None, list(tree)
    if records and hasattr(kind, "__dataclass_fields__") and kind is not type and not hasattr(kind, "_is_noted"):
        names = fields_of(kind)
        if set(getattr(tree, "__dict__", names)) == set(names):
            return kind, names, [getattr(tree, name) for name in names]
    return None


cdef tuple fields_of(object kind):
    return tuple([field.name for field in dataclasses.fields(kind)])


cdef object structure_of(object tree, list leaves, bint records):
    """None for a leaf, else (type, keys, structures of the parts)."""
    cdef tuple found = parts_of(tree, records)
    if found is None:
        leaves.append(tree)
        return None
    kind, keys, parts = found
    enter()
    try:
        return kind, keys, tuple([structure_of(part, leaves, records) for part in parts])
    finally:
        Py_LeaveRecursiveCall()


def leaves_of(tree):
    """The leaves alone.

    >>> from microgradx._core.trees import leaves_of
    >>> leaves_of([1, {"a": (2, 3)}])
    [1, 2, 3]
    """
    return flatten(tree)[0]


def unflatten(structure, leaves):
    """What ``flatten`` took apart, with other leaves: ``leaves`` is an iterator over at least as many."""
    if structure is None:
        return next(leaves)
    node_type, keys, parts = structure
    parts = [unflatten(part, leaves) for part in parts]
    if hasattr(node_type, "__dataclass_fields__"):
        record = object.__new__(node_type)
        for key, part in zip(keys, parts):
            object.__setattr__(record, key, part)
        return record
    if keys is not None:
        pairs = {key: part for (_, key), part in zip(keys, parts, strict=True)}
        return pairs if node_type is dict else node_type(pairs)
    return node_type(*parts) if hasattr(node_type, "_fields") else node_type(parts)


cdef list containers_of(object tree):
    """The lists, tuples, dicts and dataclasses of a tree, itself included, in the order of their leaves."""
    cdef list found = []
    add_containers(tree, found)
    return found


cdef int add_containers(object tree, list found) except -1:
    cdef tuple parts = parts_of(tree, True)
    if parts is None:
        return 0
    found.append(tree)
    enter()
    try:
        for part in parts[2]:
            add_containers(part, found)
    finally:
        Py_LeaveRecursiveCall()
    return 0


cdef object original(object o, dict known, object leaf):
    """What an object stands for: another one, or itself, with the originals put into all that it holds."""
    if id(o) in known:
        return known[id(o)]
    was = leaf(o)
    if was is not o or isinstance(o, WHOLE) or hasattr(type(o), "_is_noted"):
        return was
    enter()
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
        for name, slot in base.__dict__.items():
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


cdef bint take_apart(object structure, object tree, list leaves) except -1:
    """As `flatten`, of a tree that is expected to have this ``structure``: False, and some of the leaves, if it has
    another."""
    cdef tuple parts
    cdef Py_ssize_t k = 0
    if structure is None:
        if type(tree) is tuple or type(tree) is list or type(tree) is dict:
            return False
        leaves.append(tree)
        return True
    kind, keys, parts = <tuple> structure
    if type(tree) is not kind:
        return False
    if kind is dict:
        if len(<dict> tree) != len(parts):
            return False
        for key, part in (<dict> tree).items():
            expected = <tuple> (<tuple> keys)[k]
            if key is not expected[1] and (type(key) is not expected[0] or key != expected[1]) \
                    or not take_apart(parts[k], part, leaves):
                return False
            k += 1
        return True
    if kind is tuple or kind is list:
        if len(tree) != len(parts):
            return False
        for k in range(len(parts)):
            part = (<tuple> tree)[k] if kind is tuple else (<list> tree)[k]
            if parts[k] is None and type(part) is not tuple and type(part) is not list and type(part) is not dict:
                leaves.append(part)
            elif not take_apart(parts[k], part, leaves):
                return False
        return True
    return False
