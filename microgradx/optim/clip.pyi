from collections.abc import Iterable
from typing import Any

from microgradx._core.tensor import Tensor

__all__ = ["clip_grad_norm_", "clip_grad_value_"]

def clip_grad_norm_(parameters: Iterable[Any], max_norm: float, norm_type: float = 2.0,
                    error_if_nonfinite: bool = False) -> Tensor: ...
def clip_grad_value_(parameters: Iterable[Any], clip_value: float) -> None: ...
