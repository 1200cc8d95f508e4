from collections.abc import Callable
from typing import Any

from microgradx._core.array import Array, AtOnce
from microgradx._core.tensor import Tensor

class Cell:
    """A kind of step: its number in csrc, its blocks of weights, its states, how many derivatives it keeps."""
    number: int
    gates: int
    states: int
    kept: int
    step: Callable[..., tuple[list[Tensor], Any]]
    step_vjp: Callable[..., tuple[list[Tensor], list[Tensor], list[Tensor | None]]]

    def __init__(self, number: int, gates: int, states: int, kept: int, step: Callable[..., Any],
                 step_vjp: Callable[..., Any]) -> None: ...

class Recurrence(AtOnce): ...
class Attention(AtOnce): ...

cells: dict[str, Cell]

def recurrence(kind: Cell, x: Array, u: Array, c: Array | None, start: Array, count: Array, counts: tuple[int, ...],
               reverse: bool) -> Tensor: ...
def attention_shares(q: Tensor, k: Tensor, mask: Tensor | None, causal: bool,
                     scale: float) -> tuple[Tensor, Tensor, Tensor]: ...
def attention(q: Array, k: Array, v: Array, mask: Array | None, each: int, causal: bool, scale: float) -> Tensor: ...
