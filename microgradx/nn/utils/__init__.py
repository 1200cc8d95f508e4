"""Helpers of training: clipping of gradients, parameters as one vector, sequences, parametrizations."""
from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from microgradx._core.graph import no_grad
from microgradx._core.tensor import Tensor, concat, stack
from microgradx.errors import DTypeError, NonFiniteError, ShapeError
from microgradx.names import make_public
from microgradx.nn.utils import parametrizations as parametrizations
from microgradx.nn.utils import parametrize as parametrize
from microgradx.nn.utils import rnn as rnn
from microgradx.nn.utils.norms import *
from microgradx.optim.clip import clip_grad_norm_ as clip_grad_norm_
from microgradx.optim.clip import clip_grad_value_ as clip_grad_value_

__all__ = ["clip_grad_norm_", "clip_grad_value_", "get_total_norm", "parameters_to_vector", "parametrizations",
           "parametrize", "remove_spectral_norm", "remove_weight_norm", "rnn", "spectral_norm", "vector_to_parameters",
           "weight_norm"]


def get_total_norm(tensors: Tensor | Iterable[Tensor], norm_type: float = 2.0, error_if_nonfinite: bool = False,
                   foreach: bool | None = None) -> Tensor:
    """The norm of order ``norm_type`` of all numbers of the tensors taken as one vector.

    Raises ``NonFiniteError`` for a norm that is inf or nan if ``error_if_nonfinite``. ``foreach`` changes nothing: it
    asks torch for another way to the same number.

    >>> import microgradx as mgx
    >>> from microgradx.nn.utils import get_total_norm
    >>> get_total_norm([mgx.Tensor([3.0]), mgx.Tensor([0.0, 4.0])])
    Tensor(5.)
    """
    parts = [tensors] if isinstance(tensors, Tensor) else list(tensors)
    for x in parts:
        if not isinstance(x, Tensor):
            raise DTypeError(f"get_total_norm: of Tensors, not {type(x).__name__}")
    if not parts:
        return Tensor(0.0)
    total = stack([x.norm(norm_type) for x in parts]).norm(norm_type)
    if error_if_nonfinite and not bool(total.isfinite()):
        raise NonFiniteError(f"get_total_norm: the norm of order {norm_type} is {total.item()}")
    return total


def parameters_to_vector(parameters: Iterable[Tensor]) -> Tensor:
    """All parameters in one line, with a graph.

    >>> from microgradx import nn
    >>> nn.utils.parameters_to_vector(nn.Linear(3, 2).parameters()).shape
    (8,)
    """
    return concat([p.reshape(-1) for p in parameters])


def vector_to_parameters(vec: Tensor, parameters: Iterable[Tensor]) -> None:
    """Write the numbers of ``vec`` into the parameters, in their order: the reverse of ``parameters_to_vector``.

    Raises ``ShapeError``, and writes nothing, if there are not as many numbers as elements.
    """
    if not isinstance(vec, Tensor):
        raise DTypeError(f"vector_to_parameters: a Tensor, not {type(vec).__name__}")
    targets: list[Any] = list(parameters)
    total = sum(p.size for p in targets)
    if vec.shape != (total,):
        raise ShapeError(f"vector_to_parameters: {total} numbers for the parameters, not shape {vec.shape}")
    with no_grad():
        for p, part in zip(targets, vec.detach().split([p.size for p in targets])):
            p.copy_(part.reshape(p.shape))


make_public(__name__)
