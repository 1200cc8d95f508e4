"""Nested lists, tuples and dicts as the list of what is in them."""
from collections.abc import Iterator
from typing import Any

__all__ = ["flatten", "unflatten"]


def flatten(tree: Any) -> list[Any]:
    """The leaves in order: whatever is no list, tuple or dict.

    >>> from microgradx.trees import flatten, unflatten
    >>> flatten({"a": [1, 2], "b": (3, None)})
    [1, 2, 3, None]
    """
    if isinstance(tree, dict):
        tree = tree.values()
    elif not isinstance(tree, (list, tuple)):
        return [tree]
    return [leaf for part in tree for leaf in flatten(part)]


def unflatten(tree: Any, leaves: Iterator[Any]) -> Any:
    """The same nesting with other leaves: ``leaves`` is an iterator that has at least as many.

    >>> from microgradx.trees import flatten, unflatten
    >>> unflatten({"a": [1, 2], "b": (3, None)}, iter("wxyz"))
    {'a': ['w', 'x'], 'b': ('y', 'z')}
    """
    if isinstance(tree, dict):
        return {key: unflatten(part, leaves) for key, part in tree.items()}
    if isinstance(tree, (list, tuple)):
        parts = [unflatten(part, leaves) for part in tree]
        return type(tree)(*parts) if hasattr(tree, "_fields") else type(tree)(parts)
    return next(leaves)
