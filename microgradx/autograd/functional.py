"""Jacobians, Hessians and products with them, called as in ``torch.autograd.functional``: of a function and its inputs.

``mgx.jacobian(fn)`` and its neighbours make functions of functions; these here call them at once. ``inputs`` is a
Tensor or a tuple of them, and results are nested as in torch. With ``create_graph`` results have a graph that leads to
the inputs.
"""
from __future__ import annotations

from typing import Any

import numpy as np

from microgradx import transforms
from microgradx._core.graph import no_grad
from microgradx._core.tensor import Tensor
from microgradx.errors import OptionError, ShapeError
from microgradx.names import make_public
from microgradx.typing import Function

__all__ = ["hessian", "hvp", "jacobian", "jvp", "vhp", "vjp"]


def _tuple(inputs: Any) -> tuple[Any, ...]:
    return tuple(inputs) if isinstance(inputs, (tuple, list)) else (inputs,)


def _found(make: Function, create_graph: bool) -> Any:
    """What ``make()`` gives, with a graph only if one is asked for."""
    if create_graph:
        return make()
    with no_grad():
        return make()


def _one(op: str, func: Function, inputs: tuple[Any, ...]) -> None:
    y = func(*inputs)
    if not isinstance(y, Tensor) or y.numel() != 1:
        raise ShapeError(f"{op}: of a function that returns a single number, not "
                         f"{f'shape {y.shape}' if isinstance(y, Tensor) else type(y).__name__}")


def jacobian(func: Function, inputs: Any, create_graph: bool = False, strategy: str = "reverse-mode") -> Any:
    """All derivatives of ``func(*inputs)``: of one output for one input a Tensor of shape (*output, *input), else
    tuples, first by output.

    >>> import microgradx as mgx
    >>> from microgradx.autograd import functional
    >>> functional.jacobian(lambda x: x * x, mgx.Tensor([1, 2]))
    Tensor([[2., 0.],
            [0., 4.]])
    """
    if strategy not in ("reverse-mode", "forward-mode"):
        raise OptionError(f"jacobian: strategy is 'reverse-mode' or 'forward-mode', not {strategy!r}")
    xs = _tuple(inputs)
    derivative = transforms.jacobian(func, tuple(range(len(xs))), mode=strategy.partition("-")[0])
    found = _found(lambda: derivative(*xs), create_graph)
    if isinstance(inputs, (tuple, list)):
        return found
    several = isinstance(found, tuple) and found and isinstance(found[0], tuple)
    return tuple(row[0] for row in found) if several else found[0]


def hessian(func: Function, inputs: Any, create_graph: bool = False) -> Any:
    """All second derivatives of ``func(*inputs)``, a single number: a Tensor, or tuples of blocks."""
    xs = _tuple(inputs)
    _one("hessian", func, xs)
    scalar = lambda *given: func(*given).reshape(())
    found = _found(lambda: transforms.hessian(scalar, tuple(range(len(xs))))(*xs), create_graph)
    return found if isinstance(inputs, (tuple, list)) else found[0][0]


def vjp(func: Function, inputs: Any, v: Any = None, create_graph: bool = False) -> tuple[Any, Any]:
    """(value, v^T J): ``v`` may be left out where the value is a single number."""
    xs = _tuple(inputs)
    value, pullback = _found(lambda: transforms.vjp(func, *xs), create_graph)
    if v is None:
        if not isinstance(value, Tensor) or value.numel() != 1:
            raise ShapeError("vjp: v is left out, and the value is no single number")
        v = Tensor(np.ones(value.shape, value.dtype))
    found = _found(lambda: pullback(v), create_graph)
    return value, found if isinstance(inputs, (tuple, list)) else found[0]


def jvp(func: Function, inputs: Any, v: Any = None, create_graph: bool = False) -> tuple[Any, Any]:
    """(value, J v): ``v`` is nested as ``inputs``, and may be left out where the input is a single number."""
    xs = _tuple(inputs)
    if v is None:
        if len(xs) != 1 or xs[0].numel() != 1:
            raise ShapeError("jvp: v is left out, and the input is no single number")
        v = Tensor(np.ones(xs[0].shape, xs[0].dtype))
    pushed: tuple[Any, Any] = _found(lambda: transforms.jvp(func, xs, _tuple(v)), create_graph)
    return pushed


def hvp(func: Function, inputs: Any, v: Any = None, create_graph: bool = False) -> tuple[Any, Any]:
    """(value, H v) of a function that returns a single number; ``v`` is nested as ``inputs``."""
    xs = _tuple(inputs)
    _one("hvp", func, xs)
    if v is None:
        v = tuple(Tensor(np.ones(x.shape, x.dtype)) for x in xs)
    scalar = lambda *given: func(*given).reshape(())
    found = _found(lambda: transforms.hvp(scalar, xs, _tuple(v)), create_graph)
    return func(*inputs) if isinstance(inputs, (tuple, list)) else func(inputs), (
        found if isinstance(inputs, (tuple, list)) else found[0])


vhp = hvp                               # the Hessian is symmetric


make_public(__name__)
