"""Nested lists, tuples and dicts as their leaves and their structure, both read in one pass: what is done to a list
afterwards changes neither.
"""

cdef extern from "Python.h":
    int Py_EnterRecursiveCall(const char *where)        # not 0: it has raised
    void Py_LeaveRecursiveCall()

__all__ = ["flatten", "leaves_of", "unflatten"]


def flatten(tree):
    """(leaves, structure): whatever is no list, tuple or dict, in order; and the nesting around it.

    A structure is hashable, and equal to another of the same types, lengths and keys.

    >>> from microgradx._core.trees import flatten, unflatten
    >>> leaves, structure = flatten({"a": [1, 2], "b": (3, None)})
    >>> leaves
    [1, 2, 3, None]
    >>> unflatten(structure, iter("wxyz"))
    {'a': ['w', 'x'], 'b': ('y', 'z')}
    """
    cdef list leaves = []
    return leaves, structure_of(tree, leaves)


cdef int enter() except -1:
    """One level deeper; a list may be a part of itself."""
    return -1 if Py_EnterRecursiveCall(b" in a nested list, tuple or dict") else 0


cdef object structure_of(object tree, list leaves):
    """None for a leaf, else (type, keys of a dict with their types or None, structures of the parts)."""
    cdef object node_type = type(tree), keys = None
    cdef list parts
    if isinstance(tree, dict):
        parts = list(tree.items())
        node_type, keys, parts = dict, tuple([(type(key), key) for key, _ in parts]), [part for _, part in parts]
    elif isinstance(tree, (list, tuple)):
        parts = list(tree)
    else:
        leaves.append(tree)
        return None
    enter()
    try:
        return node_type, keys, tuple([structure_of(part, leaves) for part in parts])
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
    if keys is not None:
        return {key: part for (_, key), part in zip(keys, parts, strict=True)}
    return node_type(*parts) if hasattr(node_type, "_fields") else node_type(parts)
