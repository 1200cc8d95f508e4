"""Functions of functions and of modules, under the names of ``torch.func``."""
from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from microgradx._core.tensor import Tensor, stack
from microgradx.errors import OptionError
from microgradx.names import make_public
from microgradx.nn.module import Module
from microgradx.transforms import grad as grad
from microgradx.transforms import hessian as hessian
from microgradx.transforms import jacobian, value_and_grad
from microgradx.transforms import jvp as jvp
from microgradx.transforms import vjp as vjp
from microgradx.transforms import vmap as vmap
from microgradx.typing import Function

__all__ = ["functional_call", "grad", "grad_and_value", "hessian", "jacfwd", "jacrev", "jvp", "stack_module_state",
           "vjp", "vmap"]


def grad_and_value(fn: Function, argnums: int | tuple[int, ...] = 0, has_aux: bool = False) -> Function:
    """A function that returns (gradient, value) of ``fn``: ``mgx.value_and_grad`` in torch's order."""
    both = value_and_grad(fn, argnums, has_aux)
    return lambda *args, **kwargs: both(*args, **kwargs)[::-1]


def jacrev(fn: Function, argnums: int | tuple[int, ...] = 0) -> Function:
    """``mgx.jacobian(fn, argnums)``, one backward pass for each element of the value."""
    return jacobian(fn, argnums)


def jacfwd(fn: Function, argnums: int | tuple[int, ...] = 0) -> Function:
    """``mgx.jacobian(fn, argnums, mode="forward")``, one forward pass for each element of the argument."""
    return jacobian(fn, argnums, mode="forward")


@contextmanager
def replaced(module: Module, tensors: Mapping[str, Any]) -> Iterator[None]:
    """Within it ``module`` has ``tensors`` in place of the parameters and buffers of these dotted names."""
    modules, before = dict(module.named_modules()), []
    try:
        for path, tensor in tensors.items():
            owner, _, name = path.rpartition(".")
            place = modules.get(owner)
            if place is None or name not in {**place._parameters, **place._buffers}:
                raise OptionError(f"functional_call: {path!r} is no parameter or buffer of {type(module).__name__}")
            before.append((vars(place), name, vars(place)[name]))
            vars(place)[name] = tensor
        yield
    finally:
        for attributes, name, tensor in reversed(before):
            attributes[name] = tensor


def functional_call(module: Module, parameters_and_buffers: Any, args: Any = None, kwargs: Any = None) -> Any:
    """What ``module`` gives for ``args`` with other parameters and buffers, by name; it keeps its own.

    ``parameters_and_buffers``: a dict of Tensors, or several. ``args``: a tuple, or the one argument. Gradients go to
    the tensors that are given. A parameter that has two names is replaced under both.

    >>> import microgradx as mgx
    >>> from microgradx import func, nn
    >>> func.functional_call(nn.Linear(1, 1), {"weight": mgx.Tensor([[2]]), "bias": mgx.Tensor([1])}, mgx.Tensor([[3]]))
    Tensor([[7.]])
    """
    given: dict[str, Tensor] = {}
    for part in parameters_and_buffers if isinstance(parameters_and_buffers, (tuple, list)) else (
            parameters_and_buffers,):
        given |= part
    names: dict[int, list[str]] = {}
    for kind in ("_parameters", "_buffers"):
        for name, tensor in module._named(kind, shared=True):
            names.setdefault(id(tensor), []).append(name)
    tied = {other: given[name] for group in names.values() for name in group if name in given for other in group}
    with replaced(module, tied | given):
        return module(*(args if isinstance(args, tuple) else () if args is None else (args,)), **(kwargs or {}))


def stack_module_state(models: Sequence[Module]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """The parameters and the buffers of several modules of one kind, each stacked along a new first axis, by name.

    For ``vmap`` over ``functional_call``: an ensemble in one go. The stacked parameters are leaves with gradients of
    their own. Raises ``OptionError`` for no module, and for modules whose names or kinds differ.

    >>> import microgradx as mgx
    >>> from microgradx import func, nn
    >>> parameters, buffers = func.stack_module_state([nn.Linear(2, 1) for _ in range(3)])
    >>> parameters["weight"].shape, parameters["weight"].is_leaf, buffers
    ((3, 1, 2), True, {})
    """
    if not models:
        raise OptionError("stack_module_state: no module is given")
    if any(type(model) is not type(models[0]) for model in models):
        raise OptionError("stack_module_state: modules of one kind, not "
                          + ", ".join(dict.fromkeys(type(model).__name__ for model in models)))
    parameters, buffers = (_stacked([dict(named(model)) for model in models])
                           for named in (Module.named_parameters, Module.named_buffers))
    return parameters, buffers


def _stacked(states: list[dict[str, Tensor]]) -> dict[str, Tensor]:
    if any(list(state) != list(states[0]) for state in states):
        raise OptionError("stack_module_state: the modules have different parameters or buffers")
    return {name: stack([state[name].detach() for state in states]).requires_grad_(first.requires_grad)
            for name, first in states[0].items()}


make_public(__name__)
