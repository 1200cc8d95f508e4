"""The methods as functions: ``mgx.exp(x)``, ``mgx.maximum(a, 0.0)``, ``mgx.where(condition, a, b)``.

Each passes its first argument to the method of its name. Values stay Values; a Tensor stays a Tensor; a number,
an array or a list becomes what goes with the other arguments: a Value beside Values, else a Tensor. Numbers do
not change the dtype of the Tensors beside them.

>>> import microgradx as mgx
>>> mgx.maximum(0.0, mgx.Value(3.0))
Value(data=3.0, grad=0.0)
>>> mgx.exp([0.0, 1.0])
Tensor([1.       , 2.7182817])
>>> mgx.sum(mgx.Value(k) for k in range(4)).data
6.0
"""
import inspect

import numpy as np

from microgradx._core import value
from microgradx._core.kernels import table
from microgradx._core.ops import Differentiable
from microgradx._core.tensor import Tensor
from microgradx._core.value import Value
from microgradx.errors import DTypeError

_ELEMENTWISE = [row["name"] for row in table()]
_REDUCTIONS = ["sum", "mean"]               # which take a sequence of Values, too
_OF_TENSORS = ["prod", "var", "std", "max", "min", "amax", "amin", "argmax", "argmin", "logsumexp", "softmax",
               "log_softmax", "cumsum", "norm", "reshape", "transpose", "permute", "expand", "squeeze", "unsqueeze",
               "flatten", "split", "gather", "scatter_add", "triu", "tril", "outer", "matmul"]

__all__ = _ELEMENTWISE + _REDUCTIONS + _OF_TENSORS


def _lift(x, others):
    """``x``, a number or an array, as what goes with the ``others``."""
    dtype = None
    for other in others:
        if isinstance(other, Value):
            return Value(x)
        if isinstance(other, Tensor) and other.dtype.kind == "f" and (dtype is None or dtype < other.dtype):
            dtype = other.dtype             # float32 < float64
    return Tensor(x, dtype=dtype if isinstance(x, (int, float, np.generic)) else None)


def _elementwise(name):
    method = getattr(Differentiable, name)

    def unary(x):                           # half the time of a call with *args
        return method(x if isinstance(x, Differentiable) else Tensor(x))

    def function(x, *args, **kwargs):
        if not isinstance(x, Differentiable):
            x = _lift(x, (*args, *kwargs.values()))
        return method(x, *args, **kwargs)

    return function if len(inspect.signature(method).parameters) > 1 else unary


def _of_tensor(name):
    def function(x, *args, **kwargs):
        if isinstance(x, Value):
            raise DTypeError(f"{name}: of Tensors and arrays, not of a Value")
        if not isinstance(x, Tensor):
            x = _lift(x, (*args, *kwargs.values()))
        return getattr(x, name)(*args, **kwargs)

    return function


def _reduction(name):
    of_tensor, of_values = _of_tensor(name), getattr(value, f"scalar_{name}")

    def function(x, *args, **kwargs):
        if hasattr(x, "__iter__") and not isinstance(x, (Tensor, np.ndarray)):
            x = list(x)
            if any(isinstance(item, Value) for item in x):
                return of_values(x, *args, **kwargs)
        return of_tensor(x, *args, **kwargs)

    return function


def _document(function, name, method):
    """Give ``function`` the name, the docstring and the signature of ``method``."""
    function.__name__ = function.__qualname__ = name
    if method is not None:
        heading, _, text = method.__doc__.partition("\n\n")         # Cython's heading is the signature
        function.__doc__ = text if heading.endswith(")") and "(self" in heading else method.__doc__
        first, *rest = inspect.signature(method).parameters.values()
        first = first.replace(name="condition" if name == "where" else "x", kind=first.POSITIONAL_ONLY)
        function.__signature__ = inspect.Signature([first, *rest])
    return function


_functions = {name: _document(make(name), name, getattr(of, name, None))
              for make, of, names in ((_elementwise, Differentiable, _ELEMENTWISE),
                                      (_reduction, Tensor, _REDUCTIONS), (_of_tensor, Tensor, _OF_TENSORS))
              for name in names}


def __getattr__(name):                      # not in globals(): some of the names are Python's own
    try:
        return _functions[name]
    except KeyError:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}") from None


def __dir__():
    return __all__
