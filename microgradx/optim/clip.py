"""Holding gradients within bounds, between ``backward()`` and ``step()``."""
import math
from collections.abc import Iterable

from microgradx._core.graph import no_grad
from microgradx._core.tensor import Tensor, stack
from microgradx.errors import DTypeError, NonFiniteError, OptionError
from microgradx.names import make_public

__all__ = ["clip_grad_norm_", "clip_grad_value_"]


def _gradients(op: str, parameters: Tensor | Iterable[Tensor], name: str, bound: float) -> list[Tensor]:
    """The gradients that there are, after a look at the bound."""
    if not (isinstance(bound, (int, float)) and bound >= 0):
        raise OptionError(f"{op}: {name}={bound!r} is not a number >= 0")
    parameters = [parameters] if isinstance(parameters, Tensor) else list(parameters)
    for p in parameters:
        if not isinstance(p, Tensor):
            raise DTypeError(f"{op}: a parameter is a Tensor, not {type(p).__name__}")
    return [p.grad.detach() for p in parameters if p.grad is not None]


def clip_grad_norm_(parameters: Tensor | Iterable[Tensor], max_norm: float, norm_type: float = 2.0,
                    error_if_nonfinite: bool = False) -> Tensor:
    """Scale all gradients by min(1, max_norm / (total + 1e-6)); returns ``total``, their norm taken as one vector.

    ``norm_type``: the order of the norm, ``float("inf")`` for the largest magnitude. Pascanu, Mikolov and Bengio
    (2013). Raises ``NonFiniteError`` for a total that is inf or nan if ``error_if_nonfinite``; then nothing is scaled.

    >>> import microgradx as mgx
    >>> from microgradx import optim
    >>> w = mgx.Tensor([0.0, 0.0], requires_grad=True)
    >>> (w * mgx.Tensor([3.0, 4.0])).sum().backward()
    >>> optim.clip_grad_norm_([w], max_norm=1.0)
    Tensor(5.)
    >>> [round(g, 4) for g in w.grad.tolist()]
    [0.6, 0.8]
    """
    gradients = _gradients("clip_grad_norm_", parameters, "max_norm", max_norm)
    with no_grad():
        if not gradients:
            return Tensor(0.0)
        kinds = {g.dtype for g in gradients}
        parts = [g.norm(norm_type) for g in gradients]
        norms = stack(parts if len(kinds) == 1 else [part.astype(max(kinds)) for part in parts])
        total = norms.norm(norm_type)
        if error_if_nonfinite and not math.isfinite(total.item()):
            raise NonFiniteError(f"clip_grad_norm_: the norm of the gradients is {total.item()}")
        scale = (max_norm / (total + 1e-6)).clip(hi=1.0)
        scales = {kind: scale.astype(kind) for kind in kinds}
        for g in gradients:
            g *= scales[g.dtype]
    return total


def clip_grad_value_(parameters: Tensor | Iterable[Tensor], clip_value: float) -> None:
    """Hold every element of every gradient within -clip_value..clip_value.

    >>> import microgradx as mgx
    >>> from microgradx import optim
    >>> w = mgx.Tensor([0.0, 0.0], requires_grad=True)
    >>> (w * mgx.Tensor([-3.0, 0.5])).sum().backward()
    >>> optim.clip_grad_value_([w], 1.0)
    >>> w.grad
    Tensor([-1. ,  0.5])
    """
    with no_grad():
        for g in _gradients("clip_grad_value_", parameters, "clip_value", clip_value):
            g.copy_(g.clip(-clip_value, clip_value))


make_public(__name__)
