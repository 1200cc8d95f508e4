"""Modules, losses and initialisation: torch's names over ``microgradx.Tensor``."""
from microgradx.nn import functional, init
from microgradx.nn.attention import MultiheadAttention
from microgradx.nn.convolution import *  # noqa: F403
from microgradx.nn.convolution import __all__ as _convolution
from microgradx.nn.layers import *       # noqa: F403
from microgradx.nn.layers import __all__ as _layers
from microgradx.nn.losses import *       # noqa: F403
from microgradx.nn.losses import __all__ as _losses
from microgradx.nn.module import Module, Parameter
from microgradx.nn.normalization import *  # noqa: F403
from microgradx.nn.normalization import __all__ as _normalization
from microgradx.nn.recurrent import GRU, LSTM, RNN
from microgradx.nn.summary import summary

__all__ = ["GRU", "LSTM", "Module", "MultiheadAttention", "Parameter", "RNN", "functional", "init", "summary",
           *_convolution, *_layers, *_losses, *_normalization]
