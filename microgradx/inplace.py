"""Operations that are written into their tensor: ``x.exp_()``, ``x.relu_()``, ``x.pow_(2)``, methods of ``Tensor``.

There is one for each row of elementwise operations, and for what torch has besides. The result takes the place of the
tensor's elements and of its graph; what the graph needs of the elements before is kept as a copy.
"""
from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from microgradx._core.graph import is_grad_enabled
from microgradx._core.kernels import table
from microgradx._core.tensor import Tensor, attach
from microgradx.errors import DTypeError
from microgradx.names import accept

__all__ = ["METHODS", "in_place"]

KINDS = "bif"
WRITTEN_ELSEWHERE = {"add", "sub", "mul", "div", "clip"}        # as operators, or in arrays


def in_place(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """The method that writes into a tensor what ``function`` gives for it."""
    name = f"{function.__name__}_"

    @functools.wraps(function)
    def write(x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        y = function(x.clone() if is_grad_enabled() else x, *args, **kwargs)
        if KINDS.index(y.dtype.kind) < KINDS.index(x.dtype.kind):          # masks as 0 and 1, integers as floats
            y = y.astype(x.dtype)
        if y.dtype != x.dtype or y.shape != x.shape:
            raise DTypeError(f"{name}: a result of {y.dtype} and shape {y.shape} cannot be stored as {x.dtype} of "
                             f"shape {x.shape}")
        return x.copy_(y)

    write.__name__ = write.__qualname__ = name
    write.__doc__ = f"``x.{function.__name__}(...)``, written into x."
    return write


METHODS = {f"{row['name']}_": in_place(getattr(Tensor, row["name"])) for row in table()
           if row["name"] not in {*WRITTEN_ELSEWHERE, "where", "clone"}}
METHODS |= {f"{name}_": in_place(getattr(Tensor, name)) for name in ("tril", "triu", "softmax", "cumsum")}
METHODS |= {name: accept(getattr(Tensor, name)) for name in ("copy_", "fill_", "requires_grad_")}
attach(METHODS)
