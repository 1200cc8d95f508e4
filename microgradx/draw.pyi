from os import PathLike

from microgradx._core.tensor import Tensor
from microgradx._core.value import Value

__all__ = ["draw"]

def draw(root: Tensor | Value, format: str | None = None, path: str | PathLike[str] | None = None) -> str: ...
