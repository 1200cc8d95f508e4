"""microgradx: a compiled autograd engine and an instrument for gradient flow."""
from typing import TYPE_CHECKING

import numpy as _np

from microgradx import (autograd as autograd, data as data, errors as errors, func as func, inplace as inplace,
                        interop as interop, linalg as linalg, names as names, nn as nn, optim as optim,
                        scalar as scalar, testing as testing, utils as utils)
from microgradx._core.graph import enable_grad as enable_grad, is_grad_enabled as is_grad_enabled, no_grad as no_grad
from microgradx._core.methods import know_their_classes as _know_their_classes
from microgradx._core.tensor import (Tensor as Tensor, concat as concat, from_dlpack as from_dlpack,
                                     from_numpy as from_numpy, pad as pad, stack as stack)
from microgradx._core.value import Value as Value
from microgradx._core.debug.watch import detect_nan as detect_nan
from microgradx.arrays import *
from microgradx.autograd import (checkpoint as checkpoint, custom_vjp as custom_vjp, gradcheck as gradcheck,
                                 gradgradcheck as gradgradcheck, inference_mode as inference_mode,
                                 set_grad_enabled as set_grad_enabled)
from microgradx.compile import compile as compile
from microgradx.config import (get_num_threads as get_num_threads, set_num_threads as set_num_threads,
                               set_float32_matmul_precision as set_float32_matmul_precision,
                               set_printoptions as set_printoptions, show_config as show_config,
                               use_deterministic_algorithms as use_deterministic_algorithms)
from microgradx.conversion import *
from microgradx.creation import *
from microgradx.devices import *
from microgradx.draw import draw as draw
from microgradx.einsum import einsum as einsum
from microgradx.functional import *
from microgradx.indexing import *
from microgradx.io import load as load, save as save
from microgradx.nn.functional import (
    adaptive_avg_pool1d as adaptive_avg_pool1d, alpha_dropout as alpha_dropout, avg_pool1d as avg_pool1d,
    bilinear as bilinear, channel_shuffle as channel_shuffle, conv1d as conv1d, conv2d as conv2d,
    conv_transpose1d as conv_transpose1d, conv_transpose2d as conv_transpose2d, dropout as dropout,
    group_norm as group_norm, layer_norm as layer_norm, max_pool1d as max_pool1d, max_pool2d as max_pool2d,
    pairwise_distance as pairwise_distance, pixel_shuffle as pixel_shuffle, pixel_unshuffle as pixel_unshuffle,
    rms_norm as rms_norm, rrelu as rrelu)
from microgradx.profiling import profile as profile
from microgradx.random import *
from microgradx.transforms import *
from microgradx.vectorize import vectorize as vectorize

_know_their_classes()
__version__ = "0.2.0"

# What torch calls the dtypes; integers have one width, 64 bits.
float32 = float = _np.dtype(_np.float32)
float64 = double = _np.dtype(_np.float64)
int64 = long = int = int32 = int16 = int8 = uint8 = short = _np.dtype(_np.int64)
bool = bool_ = _np.dtype(_np.bool_)
dtype = _np.dtype
inf, nan, pi, e, newaxis = _np.inf, _np.nan, _np.pi, _np.e, None

if TYPE_CHECKING:
    from microgradx import distributions as distributions, flow as flow
else:
    # what `import *` gives; Python's own int, float and bool stay
    __all__ = [name for name in dir() if not name.startswith("_")
               and name not in ("TYPE_CHECKING", "bool", "float", "int")]

    def __getattr__(name):                      # imported when it is asked for: the engine does not need it
        if name in ("distributions", "flow"):
            from importlib import import_module
            return import_module(f"microgradx.{name}")
        raise AttributeError(names.missing(name, globals()))
