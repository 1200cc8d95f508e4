from collections.abc import Iterator
from typing import Any

__all__ = ["flatten", "unflatten"]

def flatten(tree: Any) -> list[Any]: ...
def unflatten(tree: Any, leaves: Iterator[Any]) -> Any: ...
