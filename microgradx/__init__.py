"""microgradx: a compiled autograd engine and an instrument for gradient flow."""
import numpy as _np

from microgradx import autograd, data, errors, interop, linalg, nn, optim, scalar
from microgradx._core.graph import enable_grad, is_grad_enabled, no_grad
from microgradx._core.tensor import Tensor, concat, from_dlpack, from_numpy, pad, stack
from microgradx._core.value import Value
from microgradx._core.watch import detect_nan
from microgradx.arrays import *
from microgradx.autograd import checkpoint, custom_vjp, gradcheck, gradgradcheck
from microgradx.compile import compile
from microgradx.config import get_num_threads, set_num_threads, show_config
from microgradx.creation import *
from microgradx.draw import draw
from microgradx.einsum import einsum
from microgradx.functional import *
from microgradx.indexing import *
from microgradx.io import load, save
from microgradx.profiling import profile
from microgradx.random import manual_seed, rand, randint, randn, randperm
from microgradx.transforms import *
from microgradx.vectorize import vectorize

__version__ = "0.1.0"

float32, float64, int64, bool_ = map(_np.dtype, ("float32", "float64", "int64", "bool"))


def __getattr__(name):                          # imported when it is asked for: the engine does not need it
    if name != "flow":
        raise AttributeError(f"module 'microgradx' has no attribute {name!r}")
    from importlib import import_module
    return import_module("microgradx.flow")
