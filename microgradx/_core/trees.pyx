"""Nested lists, tuples and dicts as their leaves and their structure, both read in one pass: what is done to a list
afterwards changes neither.
"""
import dataclasses
from collections import OrderedDict

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
