"""Modules, losses and initialisation: torch's names over ``microgradx.Tensor``."""
from typing import TYPE_CHECKING

from microgradx.devices import module as _module
from microgradx.nn import functional as functional, init as init, parameter as parameter
from microgradx.nn.attention import *
from microgradx.nn.containers import *
from microgradx.nn.convolution import *
from microgradx.nn.layers import *
from microgradx.nn.losses import *
from microgradx.nn.module import Module as Module, summary as summary
from microgradx.nn.normalization import *
from microgradx.nn.padding import *
from microgradx.nn.parameter import Parameter as Parameter
from microgradx.nn.recurrent import *
from microgradx.nn.resampling import *
from microgradx.nn.transformer import *
from microgradx.nn import utils as utils

if not TYPE_CHECKING:           # a type checker goes by the imports, and can read no list that is not written out
    from microgradx.nn import (attention, containers, convolution, layers, losses, normalization, padding, recurrent,
                               resampling, transformer)
    __all__ = ["Module", "Parameter", "functional", "init", "parameter", "summary", "utils", *attention.__all__,
               *containers.__all__, *convolution.__all__, *layers.__all__, *losses.__all__, *normalization.__all__,
               *padding.__all__, *recurrent.__all__, *resampling.__all__,
               *transformer.__all__]

    # torch's paths of the layers: `from torch.nn.modules.linear import Linear`
    _layers = {name: globals()[name] for name in __all__}
    modules = _module("nn.modules", **_layers, **{name: _module(f"nn.modules.{name}", **_layers) for name in (
        "activation", "batchnorm", "container", "conv", "distance", "dropout", "flatten", "fold", "instancenorm",
        "linear", "loss", "module", "normalization", "pixelshuffle", "pooling", "rnn", "sparse", "upsampling")})
    parallel = _module("nn.parallel")

    def __getattr__(name):
        from microgradx.names import missing
        raise AttributeError(missing(name, globals(), __name__))
