"""Nested lists, tuples and dicts as their leaves and their structure, both read in one pass: what is done to a list
afterwards changes neither.
"""
from collections.abc import Hashable, Iterator
from typing import Any

__all__ = ["flatten", "leaves_of", "unflatten"]


def flatten(tree: Any) -> tuple[list[Any], Hashable]:
    """(leaves, structure): whatever is no list, tuple or dict, in order; and the nesting around it.

    A structure is hashable, and equal to another of the same types, lengths and keys.

    >>> from microgradx.trees import flatten, unflatten
    >>> leaves, structure = flatten({"a": [1, 2], "b": (3, None)})
    >>> leaves
    [1, 2, 3, None]
    >>> unflatten(structure, iter("wxyz"))
    {'a': ['w', 'x'], 'b': ('y', 'z')}
    """
    leaves: list[Any] = []
    return leaves, _structure(tree, leaves)


def _structure(tree: Any, leaves: list[Any]) -> Any:
    """None for a leaf, else (type, keys of a dict with their types or None, structures of the parts)."""
    if isinstance(tree, dict):
        items = list(tree.items())
        return dict, tuple((type(key), key) for key, _ in items), tuple(_structure(part, leaves) for _, part in items)
    if isinstance(tree, (list, tuple)):
        return type(tree), None, tuple([_structure(part, leaves) for part in tree])
    leaves.append(tree)
    return None


def leaves_of(tree: Any) -> list[Any]:
    """The leaves alone.

    >>> from microgradx.trees import leaves_of
    >>> leaves_of([1, {"a": (2, 3)}])
    [1, 2, 3]
    """
    return flatten(tree)[0]


def unflatten(structure: Any, leaves: Iterator[Any]) -> Any:
    """What ``flatten`` took apart, with other leaves: ``leaves`` is an iterator over at least as many."""
    if structure is None:
        return next(leaves)
    kind, keys, parts = structure
    parts = [unflatten(part, leaves) for part in parts]
    if keys is not None:
        return {key: part for (_, key), part in zip(keys, parts, strict=True)}
    return kind(*parts) if hasattr(kind, "_fields") else kind(parts)
