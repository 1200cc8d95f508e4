"""Modules, losses and initialisation: torch's names over ``microgradx.Tensor``."""
from typing import TYPE_CHECKING

from microgradx.nn import functional as functional, init as init
from microgradx.nn.attention import *
from microgradx.nn.convolution import *
from microgradx.nn.layers import *
from microgradx.nn.losses import *
from microgradx.nn.module import Module as Module, Parameter as Parameter, summary as summary
from microgradx.nn.normalization import *
from microgradx.nn.recurrent import *

if not TYPE_CHECKING:           # a type checker goes by the imports, and can read no list that is not written out
    from microgradx.nn import attention, convolution, layers, losses, normalization, recurrent
    __all__ = ["Module", "Parameter", "functional", "init", "summary", *attention.__all__, *convolution.__all__,
               *layers.__all__, *losses.__all__, *normalization.__all__, *recurrent.__all__]
