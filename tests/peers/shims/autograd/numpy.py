"""NumPy, whose functions of Tensors are ours by NumPy's own protocols; arrays of Tensors are stacks."""
import sys
import types

import numpy as _np

import microgradx as _mgx


def array(a, *args, **kwargs):
    """``np.array``, of Tensors within lists a stack."""
    if isinstance(a, _mgx.Tensor):
        return a.clone()
    if isinstance(a, (list, tuple)) and _has_tensor(a):
        parts = [array(x) if isinstance(x, (list, tuple, _mgx.Tensor)) else _np.asarray(x, float) for x in a]
        return _mgx.stack([x if isinstance(x, _mgx.Tensor) else _mgx.Tensor(x) for x in parts])
    return _np.array(a, *args, **kwargs)


def _has_tensor(a):
    return any(isinstance(x, _mgx.Tensor) or isinstance(x, (list, tuple)) and _has_tensor(x) for x in a)


def concatenate_args(axis, *args):
    return _np.concatenate(args, axis)


random, linalg, fft = _np.random, _np.linalg, _np.fft


def __getattr__(name):
    return getattr(_np, name)


__path__: list = []                     # so that autograd.numpy.random can be imported
for _name in ("random", "linalg", "fft"):
    sys.modules[f"{__name__}.{_name}"] = getattr(_np, _name)
numpy_boxes = types.ModuleType("numpy_boxes")
