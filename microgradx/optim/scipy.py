"""SciPy's minimizers over parameters: full-batch methods with line search or trust region."""
from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt

from microgradx._core.graph import enable_grad, no_grad
from microgradx._core.tensor import Tensor
from microgradx.errors import DTypeError, GraphError, NonFiniteError, OptionError, ShapeError
from microgradx.names import make_public
from microgradx.nn.module import Module
from microgradx.typing import Function

__all__ = ["scipy_minimize"]

WITHOUT_GRADIENT = {"nelder-mead", "powell", "cobyla", "cobyqa"}
WITH_PRODUCTS = {"newton-cg", "trust-ncg", "trust-krylov", "trust-constr"}          # that take H p, not all of H


def scipy_minimize(model_or_params: Module | Iterable[Tensor], loss_fn: Function, method: str = "L-BFGS-B",
                   options: dict[str, Any] | None = None, hvp: bool = True, tol: float | None = None,
                   callback: Function | None = None) -> Any:
    """Minimise ``loss_fn()`` over the parameters with ``scipy.optimize.minimize``; returns its ``OptimizeResult``.

    ``model_or_params``: a Module or an iterable of float leaf Tensors; those that require no gradient stay fixed.
    ``loss_fn`` takes nothing and returns a tensor of one element: the whole loss, the same function at every call, in
    float64 for the last digits. ``method``, ``options``, ``tol`` and ``callback`` are SciPy's. Methods that take
    products of the Hessian with a vector (Newton-CG, trust-ncg, trust-krylov, trust-constr) get them exactly, by
    differentiating twice, unless ``hvp`` is False.

    The parameters end at ``result.x``, the flat float64 vector of all of them; ``.grad`` is as before. If the loss or
    its gradient is inf or nan (``NonFiniteError``), or anything raises inside, the parameters are as before, too.

    >>> import microgradx as mgx
    >>> from microgradx import nn, optim
    >>> w = nn.Parameter([-1.0, 2.0], dtype="float64")
    >>> rosenbrock = lambda: (1 - w[0])**2 + 100 * (w[1] - w[0]**2)**2
    >>> result = optim.scipy_minimize([w], rosenbrock, "trust-ncg", options={"gtol": 1e-8})
    >>> result.success, [round(x, 6) for x in w.tolist()]
    (True, [1.0, 1.0])
    """
    from scipy.optimize import minimize  # late: the import takes as long as a small training

    if not callable(loss_fn):
        raise DTypeError(f"scipy_minimize: loss_fn is a function without arguments, not {type(loss_fn).__name__}; the "
                         "parameters come first")
    params = list(model_or_params.parameters() if hasattr(model_or_params, "parameters") else model_or_params)
    for p in params:
        if not isinstance(p, Tensor) or p.dtype.kind != "f" or not p.is_leaf:
            raise DTypeError("scipy_minimize: a parameter is a float leaf Tensor, not "
                             f"{p.dtype if isinstance(p, Tensor) else type(p).__name__}")
    params = [p for p in params if p.requires_grad]
    if not params:
        raise OptionError("scipy_minimize: no parameters that require a gradient")
    name = method.lower() if isinstance(method, str) else ""
    before = [(p.numpy(), p.grad) for p in params]

    def place(x: npt.NDArray[np.float64]) -> None:
        at = 0
        with no_grad():
            for p in params:
                p.copy_(x[at:at + p.size].reshape(p.shape))
                at += p.size

    def loss_at(x: npt.NDArray[np.float64]) -> Tensor:
        place(x)
        for p in params:
            p.grad = None
        loss = loss_fn()
        if not isinstance(loss, Tensor) or loss.size != 1:
            raise ShapeError("scipy_minimize: loss_fn returns a tensor of one element, not "
                             f"{f'shape {loss.shape}' if isinstance(loss, Tensor) else type(loss).__name__}")
        return loss

    def flat(tensors: list[Tensor | None]) -> npt.NDArray[np.float64]:
        x = np.concatenate([np.zeros(p.size) if t is None else t.detach().numpy().ravel().astype(np.float64)
                            for p, t in zip(params, tensors)])
        if not np.isfinite(x).all():
            raise NonFiniteError("scipy_minimize: the gradient is not finite")
        return x

    def value(x: npt.NDArray[np.float64]) -> tuple[float, Tensor]:
        loss = loss_at(x)
        number = loss.item()
        if not np.isfinite(number):
            raise NonFiniteError(f"scipy_minimize: the loss is {number}")
        return number, loss

    def value_and_gradient(x: npt.NDArray[np.float64]) -> tuple[float, npt.NDArray[np.float64]]:
        with enable_grad():
            number, loss = value(x)
            if not loss.requires_grad:
                raise GraphError("scipy_minimize: the loss does not depend on the parameters")
            loss.backward()
        return number, flat([p.grad for p in params])

    def product(x: npt.NDArray[np.float64], direction: npt.NDArray[np.float64], *_: object) -> npt.NDArray[np.float64]:
        with enable_grad():
            value(x)[1].backward(create_graph=True)
            gradients = [p.grad for p in params]
            at, total = 0, 0.0
            for p, g in zip(params, gradients):
                if g is not None:
                    total = total + (g * Tensor(direction[at:at + p.size].reshape(p.shape), dtype=p.dtype)).sum()
                at += p.size
                p.grad = None
            if isinstance(total, Tensor) and total.requires_grad:           # a linear loss has no second derivative
                total.backward()
        return flat([p.grad for p in params])

    extra: dict[str, Any] = {}
    if name not in WITHOUT_GRADIENT:
        extra["jac"] = True
    if hvp and name in WITH_PRODUCTS:
        extra["hessp"] = product
    done = False
    try:
        result = minimize(value_and_gradient if "jac" in extra else lambda x: value(x)[0],
                          np.concatenate([x.ravel() for x, _ in before]).astype(np.float64), method=method,
                          options=options, tol=tol, callback=callback, **extra)
        place(result.x)
        done = True
    finally:
        with no_grad():
            for p, (x, g) in zip(params, before):
                p.grad = g
                if not done:
                    p.copy_(x)
    return result


make_public(__name__)
