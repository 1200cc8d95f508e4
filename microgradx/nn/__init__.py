"""Modules, losses and initialisation: torch's names over ``microgradx.Tensor``."""
from typing import TYPE_CHECKING, Any

from microgradx.nn import functional, init
from microgradx.nn.layers import *       # noqa: F403
from microgradx.nn.layers import __all__ as _layers
from microgradx.nn.losses import *       # noqa: F403
from microgradx.nn.losses import __all__ as _losses
from microgradx.nn.module import Module, Parameter

__all__ = ["Module", "Parameter", "functional", "init", *_layers, *_losses]

if TYPE_CHECKING:                           # the activations are made from a list that no type checker reads
    def __getattr__(name: str) -> Any: ...
