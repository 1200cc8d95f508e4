"""Parametrizations: a parameter of a module is computed from others whenever it is read.

``register_parametrization(layer, "weight", p)``: ``layer.weight`` is then ``p(original)``, where the original is the
parameter that is trained. Several one after the other are applied in their order.
"""
from __future__ import annotations

import copy
from typing import Any

from microgradx._core.graph import no_grad
from microgradx._core.tensor import Tensor
from microgradx.errors import DTypeError, OptionError, ShapeError
from microgradx.names import make_public
from microgradx.nn.containers import ModuleDict, ModuleList
from microgradx.nn.module import Module
from microgradx.nn.parameter import Parameter

__all__ = ["ParametrizationList", "is_parametrized", "register_parametrization", "remove_parametrizations"]


class ParametrizationList(ModuleList):
    """The parametrizations of one tensor, and what it is computed from: ``original``, or ``original0``, ``original1``
    ... where the first of them takes several."""

    def __init__(self, modules: list[Module], original: Tensor, trained: bool) -> None:
        self.extend(modules)
        self.shape, self.dtype = original.shape, original.dtype
        try:
            made = self._back(original)
        except NotImplementedError:                     # there is no inverse: the value itself is the original
            made = original
        self.originals = ("original",) if isinstance(made, Tensor) else tuple(f"original{k}" for k in range(len(made)))
        for name, value in zip(self.originals, (made,) if isinstance(made, Tensor) else made):
            if value.shape == original.shape and name == "original":    # stays the tensor that an optimizer has
                with no_grad():
                    original.copy_(value)
                value = original
            elif trained:
                value = Parameter(value.detach(), original.requires_grad)
            if trained:
                self.register_parameter(name, value)
            else:
                self.register_buffer(name, value.detach())

    def _back(self, value: Tensor) -> Any:
        """What ``value`` is computed from."""
        with no_grad():
            found: Any = value
            for module in reversed(list(self)):
                if hasattr(module, "right_inverse"):
                    found = module.right_inverse(found)
            return found

    def right_inverse(self, value: Tensor) -> None:
        """Write what ``value`` is computed from into the originals."""
        if not isinstance(value, Tensor) or value.shape != self.shape:
            raise ShapeError(f"a parametrized tensor has shape {self.shape}, not "
                             f"{value.shape if isinstance(value, Tensor) else type(value).__name__}")
        made = self._back(value)
        with no_grad():
            for name, part in zip(self.originals, (made,) if isinstance(made, Tensor) else made):
                getattr(self, name).copy_(part)

    def forward(self) -> Tensor:
        first, *rest = self
        y: Tensor = first(*(getattr(self, name) for name in self.originals))
        for module in rest:
            y = module(y)
        return y


def register_parametrization(module: Any, tensor_name: str, parametrization: Module, *,
                             unsafe: bool = False) -> Any:
    """Compute ``module.tensor_name``, a parameter or buffer, by ``parametrization``; returns the module.

    ``parametrization`` is a Module of one tensor. Its method ``right_inverse``, if it has one, gives what the present
    value is computed from, a tensor or several; without it the value itself is the original. Assigning to
    ``module.tensor_name`` goes through ``right_inverse`` as well. Raises ``ShapeError`` or ``DTypeError`` for one that
    changes the shape or dtype, unless ``unsafe``, ``OptionError`` for a name that is no parameter or buffer.

    >>> import microgradx as mgx
    >>> from microgradx import nn
    >>> class Symmetric(nn.Module):
    ...     def forward(self, x):
    ...         return x.triu() + x.triu(1).mT
    >>> layer = nn.utils.parametrize.register_parametrization(nn.Linear(3, 3), "weight", Symmetric())
    >>> bool((layer.weight == layer.weight.mT).all()), [name for name, _ in layer.named_parameters()]
    (True, ['bias', 'parametrizations.weight.original'])
    """
    if not isinstance(parametrization, Module):
        raise DTypeError(f"register_parametrization: a Module, not {type(parametrization).__name__}")
    parametrization.train(module.training)
    if is_parametrized(module, tensor_name):
        before = getattr(module, tensor_name)
        if not unsafe:
            _check(tensor_name, before, parametrization(before))
        module.parametrizations[tensor_name].append(parametrization)
        return module
    if tensor_name not in module._parameters and tensor_name not in module._buffers:
        raise OptionError(f"register_parametrization: {type(module).__name__} has no parameter or buffer "
                          f"{tensor_name!r}")
    original = getattr(module, tensor_name)
    if original is None:
        raise OptionError(f"register_parametrization: {type(module).__name__}.{tensor_name} is None")
    computed = ParametrizationList([parametrization], original, tensor_name in module._parameters)
    if not unsafe:
        with no_grad():
            _check(tensor_name, original, computed())
    delattr(module, tensor_name)
    if not is_parametrized(module):
        _change_class(module)
        module.parametrizations = ModuleDict()
    setattr(type(module), tensor_name, property(lambda self: self.parametrizations[tensor_name]()))
    module.parametrizations[tensor_name] = computed
    return module


def _check(name: str, before: Tensor, after: Any) -> None:
    if not isinstance(after, Tensor) or after.shape != before.shape:
        raise ShapeError(f"register_parametrization: {name!r} has shape {before.shape}, and the parametrization gives "
                         f"{after.shape if isinstance(after, Tensor) else type(after).__name__}; unsafe=True allows it")
    if after.dtype != before.dtype:
        raise DTypeError(f"register_parametrization: {name!r} is {before.dtype}, and the parametrization gives "
                         f"{after.dtype}; unsafe=True allows it")


def own_class(module: Module, label: str, **members: Any) -> None:
    """Give ``module`` a class of its own called ``label``, which can have properties, with ``members``."""
    kind = type(module)

    def deepcopy(self: Any, memo: dict[int, Any]) -> Any:
        twin = object.__new__(type(self))
        memo[id(self)] = twin
        twin.__setstate__(copy.deepcopy(self.__dict__, memo))
        return twin

    def reduce(self: Any, protocol: Any) -> Any:
        raise DTypeError(f"{kind.__name__} with computed parameters cannot be pickled; save its state_dict()")

    object.__setattr__(module, "__class__", type(label, (kind,), {
        "__module__": kind.__module__, "__deepcopy__": deepcopy, "__reduce_ex__": reduce, **members}))


def _change_class(module: Module) -> None:
    """Make assignments to computed parameters go to what they are computed from."""
    kind = type(module)

    def assign(self: Any, name: str, value: Any) -> None:
        if name != "parametrizations" and name in self.__dict__.get("parametrizations", ()):
            self.parametrizations[name].right_inverse(value)
        else:
            kind.__setattr__(self, name, value)

    own_class(module, f"Parametrized{kind.__name__}", __setattr__=assign)


def is_parametrized(module: Module, tensor_name: str | None = None) -> bool:
    """Is a tensor of the module computed, or the one called ``tensor_name``?"""
    known = module.__dict__.get("parametrizations")
    if not isinstance(known, ModuleDict) or not type(module).__name__.startswith("Parametrized"):
        return False
    return len(known) > 0 if tensor_name is None else tensor_name in known


def remove_parametrizations(module: Any, tensor_name: str, leave_parametrized: bool = True) -> Any:
    """Make ``module.tensor_name`` a parameter or buffer again; returns the module.

    Its value is the one that was computed, or the original if not ``leave_parametrized`` (of which there must be one).

    >>> from microgradx import nn
    >>> layer = nn.utils.parametrizations.weight_norm(nn.Linear(3, 2))
    >>> nn.utils.parametrize.remove_parametrizations(layer, "weight")
    Linear(in_features=3, out_features=2, bias=True)
    """
    if not is_parametrized(module, tensor_name):
        raise OptionError(f"remove_parametrizations: {type(module).__name__}.{tensor_name} has no parametrization")
    computed = module.parametrizations[tensor_name]
    if not leave_parametrized and computed.originals != ("original",):
        raise OptionError("remove_parametrizations: leave_parametrized=False needs one original, and there are "
                          f"{len(computed.originals)}")
    trained = computed.originals[0] in computed._parameters
    grad = getattr(computed, computed.originals[0]).requires_grad
    with no_grad():
        value = Tensor((computed() if leave_parametrized else computed.original).detach())
    delattr(type(module), tensor_name)
    del module.parametrizations[tensor_name]
    if not len(module.parametrizations):
        del module.parametrizations
        object.__setattr__(module, "__class__", type(module).__bases__[0])
    if trained:
        module.register_parameter(tensor_name, Parameter(value, grad))
    else:
        module.register_buffer(tensor_name, value)
    return module


make_public(__name__)
