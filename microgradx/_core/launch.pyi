from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from microgradx._core.array import Array
from microgradx._core.tensor import Tensor

F = TypeVar("F", bound=Callable[..., Any])

def run(kernel: str, *operands: Array | None, integers: Sequence[int] = (),
        numbers: Sequence[float] = ()) -> int | None: ...
def filled(function: Callable[..., Any], shape: tuple[int, ...], dtype: Any) -> Tensor: ...
def compute(function: Callable[..., Any], *ins: Any) -> Tensor: ...
def capturing() -> bool: ...
def change_world() -> None: ...
def composite(row: str) -> Callable[[F], F]: ...

composites: dict[str, Callable[..., Any]]

class LaunchList:
    """Launches of one thread, written down as they run."""
