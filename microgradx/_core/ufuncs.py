"""NumPy's ufuncs of Tensors: which operation of the table each of them is."""
import sys
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from microgradx._core.kernels import table
from microgradx.errors import DTypeError

Function = Callable[..., Any]

# by object, not by name: anybody may make a ufunc called "gauss"
NAMES = [row["name"] for row in table()]
ROWS: dict[np.ufunc, str] = {getattr(np, name): name for name in NAMES if isinstance(getattr(np, name, None), np.ufunc)}
ROWS |= {np.subtract: "sub", np.multiply: "mul", np.divide: "div", np.negative: "neg", np.positive: "clone",
         np.fabs: "abs", np.rint: "round", np.greater: "gt", np.greater_equal: "ge", np.less: "lt",
         np.less_equal: "le", np.equal: "eq", np.not_equal: "ne", np.matmul: "matmul",
         np.floor_divide: "floor_divide",
         np.bitwise_and: "and", np.bitwise_or: "or", np.bitwise_xor: "xor", np.invert: "invert"}

SCIPY = {"expit": "sigmoid", "log_expit": "logsigmoid"}       # of scipy.special, where its name is not ours


# of those that are no row, the functions over Tensors that they are: ``interop`` knows them
FUNCTIONS: dict[np.ufunc, Function] = {}


def row_of(ufunc: np.ufunc) -> str | None:
    """The row that ``ufunc`` is: one of NumPy's or, where SciPy was imported, of ``scipy.special``."""
    special, name = sys.modules.get("scipy.special"), SCIPY.get(ufunc.__name__, ufunc.__name__)
    if ufunc not in ROWS and name in NAMES and getattr(special, ufunc.__name__, None) is ufunc:
        ROWS[ufunc] = name
    return ROWS.get(ufunc)


def counterpart(ufunc: np.ufunc, method: str, options: Mapping[str, Any]) -> str | Function:
    """The name of the operation, or the function, that ``ufunc`` is. Raises ``DTypeError`` where there is none."""
    name = f"np.{ufunc.__name__}" if ufunc is getattr(np, ufunc.__name__, None) else ufunc.__name__
    if method != "__call__":
        raise DTypeError(f"{name}.{method}: of NumPy arrays, not of a Tensor; t.detach().numpy() is one")
    if options:
        raise DTypeError(f"{name}: {', '.join(options)} cannot be combined with a Tensor; t.detach().numpy() is an "
                         "array, without a graph")
    row = FUNCTIONS.get(ufunc) or row_of(ufunc)
    if row is None:
        raise DTypeError(f"{name}: no operation on Tensors corresponds to it; t.detach().numpy() is an array, "
                         "without a graph")
    return row


def takes_turns(operand: object) -> bool:
    """Whether ``operand`` is of another library that answers ufuncs itself."""
    answer = getattr(type(operand), "__array_ufunc__", None)
    return answer is not None and answer is not np.ndarray.__array_ufunc__
