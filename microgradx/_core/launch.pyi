from typing import Any

from microgradx._core.array import Array

def update(op: str, groups: list[tuple[Array, list[tuple[Any, ...]]]]) -> None: ...
