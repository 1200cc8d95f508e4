"""Operations that are written into their tensor: ``x.exp_()``, ``x.relu_()``, ``x.pow_(2)``, methods of ``Tensor``.

There is one for each row of elementwise operations that gives numbers. The result takes the place of the tensor's
elements and of its graph; what the graph needs of the elements before is kept as a copy.
"""
from __future__ import annotations

from typing import Any

from microgradx._core.graph import is_grad_enabled
from microgradx._core.kernels import table
from microgradx._core.tensor import Tensor, attach
from microgradx.errors import DTypeError

__all__ = ["METHODS", "written"]

WRITTEN_ELSEWHERE = {"add", "sub", "mul", "div", "clip"}        # as operators, or in arrays


def written(name: str) -> Any:
    """The method ``name`` of ``Tensor`` as one that writes its result into the tensor."""
    method = getattr(Tensor, name)

    def write(x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        y: Tensor = method(x.clone() if is_grad_enabled() else x, *args, **kwargs)
        if y.dtype != x.dtype:
            raise DTypeError(f"{name}_: a result of dtype {y.dtype} cannot be stored as {x.dtype}")
        return x.copy_(y)

    write.__name__ = write.__qualname__ = f"{name}_"
    write.__doc__ = f"``x.{name}(...)``, written into x."
    return write


METHODS = {f"{row['name']}_": written(row["name"]) for row in table()
           if row["kind"] != "C" and row["name"] not in {*WRITTEN_ELSEWHERE, "where", "clone"}}
METHODS |= {f"{name}_": written(name) for name in ("tril", "triu", "softmax", "cumsum")}
attach(METHODS)
