from typing import Any

from microgradx._core.tensor import Function

__all__ = ["scipy_minimize"]

def scipy_minimize(model_or_params: Any, loss_fn: Function, method: str = "L-BFGS-B",
                   options: dict[str, Any] | None = None, hvp: bool = True, tol: float | None = None,
                   callback: Function | None = None) -> Any: ...
