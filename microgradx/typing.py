"""Names for what the functions take, for annotations: ``def loss(x: Data, rng: Seed = None) -> Tensor``."""
from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ForwardRef, SupportsIndex, TypeAlias

import numpy as np
import numpy.typing as npt

from microgradx._core.generator import Generator
from microgradx._core.ops import Differentiable
from microgradx._core.tensor import Tensor
from microgradx._core.value import Value

__all__ = ["AnyGenerator", "Axes", "Axis", "DType", "Data", "Function", "Lengths", "Number", "Operand", "Seed"]

# what is computed with
Number: TypeAlias = Value | float
Data: TypeAlias = Tensor | npt.ArrayLike
Operand: TypeAlias = Differentiable | npt.ArrayLike         # a Value with Values, a Tensor or an array with Tensors

# which axes, how long
Axis: TypeAlias = int | None
Axes: TypeAlias = int | tuple[int, ...] | list[int] | None
Lengths: TypeAlias = SupportsIndex | tuple[SupportsIndex, ...] | list[SupportsIndex]

# how
DType: TypeAlias = npt.DTypeLike | None
Function: TypeAlias = Callable[..., Any]
if TYPE_CHECKING:
    AnyGenerator: TypeAlias = Generator | np.random.Generator
    Seed: TypeAlias = AnyGenerator | int | None             # None is the shared generator
else:                                                       # found when it is asked for: numpy.random takes 20 ms
    AnyGenerator = ForwardRef("Generator | np.random.Generator", module=__name__)
    Seed = ForwardRef("Generator | np.random.Generator | int | None", module=__name__)
