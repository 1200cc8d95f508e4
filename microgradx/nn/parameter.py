"""Parameters: what they are, and how they are made."""
from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from microgradx._core.tensor import Tensor
from microgradx.names import make_public
from microgradx.typing import DType

__all__ = ["Parameter"]

_frozen: list[Tensor] = []      # made by Parameter(data, requires_grad=False), and not yet an attribute of a module
HELD = 3                        # references to a tensor of the list that nobody else has: the list, a loop, a call


def is_parameter(value: object) -> bool:
    """Does ``value``, given to a module as an attribute, count as a parameter of it?"""
    return isinstance(value, Tensor) and (value.requires_grad and value.is_leaf or bool(_frozen) and is_frozen(value))


def is_frozen(value: Tensor) -> bool:
    """Was it made by ``Parameter(data, requires_grad=False)``, and is in no module yet?"""
    return any(value is other for other in _frozen)


def forget_frozen(value: object) -> None:
    """A module has ``value`` now, and knows that it is a parameter."""
    _frozen[:] = [other for other in _frozen if other is not value]


class _ParameterType(type):
    def __instancecheck__(self, value: object) -> bool:
        return is_parameter(value)


if TYPE_CHECKING:                           # what it makes is a Tensor
    Parameter = Tensor
else:
    class Parameter(metaclass=_ParameterType):
        """A leaf tensor that requires a gradient: what a module counts as a parameter.

        ``data`` is copied: a float Tensor, an array or nested lists. The result is a Tensor, which has no subclasses;
        ``isinstance(x, nn.Parameter)`` asks for a leaf that requires a gradient. With ``requires_grad=False`` it is a
        parameter of the module that gets it as an attribute, and is not trained.

        >>> from microgradx import nn
        >>> w = nn.Parameter([1.0, 2.0])
        >>> w, isinstance(w, nn.Parameter), isinstance(w * 2, nn.Parameter)
        (Tensor([1., 2.], requires_grad=True), True, False)
        """

        def __new__(cls, data: Any = None, requires_grad: bool = True, dtype: DType = None) -> Tensor:
            made = Tensor([] if data is None else data, requires_grad=bool(requires_grad), dtype=dtype)
            if not requires_grad:
                _frozen[:] = [p for p in _frozen if sys.getrefcount(p) > HELD]
                _frozen.append(made)
            return made


make_public(__name__)
