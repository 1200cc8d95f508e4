"""torch's former functions for weights by norm and direction, and with spectral norm 1, under their names of
parameters.

``nn.utils.parametrizations`` has the present ones.
"""
from __future__ import annotations

from collections.abc import Callable
from typing import Any

from microgradx._core.tensor import Tensor
from microgradx.errors import OptionError
from microgradx.names import make_public
from microgradx.nn.parameter import Parameter
from microgradx.nn.utils.parametrizations import SpectralNorm, WeightNorm, spectral_dim, weight_of
from microgradx.nn.utils.parametrize import own_class
from microgradx.typing import Seed

__all__ = ["remove_spectral_norm", "remove_weight_norm", "spectral_norm", "weight_norm"]


def _enter(module: Any, name: str, compute: Callable[[Any], Tensor]) -> Any:
    """Let ``compute(module)`` be what is read as ``module.name``."""
    delattr(module, name)
    own_class(module, type(module).__name__, **{name: property(compute)})
    return module


def _leave(op: str, module: Any, name: str, parts: tuple[str, ...]) -> Any:
    """Make ``name`` a parameter again, with its present value, in place of its ``parts``."""
    if not all(hasattr(module, f"{name}_{part}") for part in parts):
        raise OptionError(f"{op}: {type(module).__name__} has no {name!r} of this kind")
    value = getattr(module, name).detach()
    owner = next(kind for kind in type(module).__mro__ if isinstance(vars(kind).get(name), property))
    delattr(owner, name)
    for part in parts:
        delattr(module, f"{name}_{part}")
    module.register_parameter(name, Parameter(value))
    return module


def weight_norm(module: Any, name: str = "weight", dim: int | None = 0) -> Any:
    """g v / |v| in place of a weight: the parameters ``weight_g`` and ``weight_v``. Returns the module.

    >>> from microgradx import nn
    >>> [name for name, _ in nn.utils.weight_norm(nn.Linear(3, 2)).named_parameters()]
    ['bias', 'weight_g', 'weight_v']
    """
    weight, rule = weight_of("weight_norm", module, name), WeightNorm(None if dim == -1 else dim)
    for part, value in zip("gv", rule.right_inverse(weight.detach())):
        module.register_parameter(f"{name}_{part}", Parameter(value))
    return _enter(module, name, lambda self: rule(getattr(self, f"{name}_g"), getattr(self, f"{name}_v")))


def remove_weight_norm(module: Any, name: str = "weight") -> Any:
    """Make the weight a parameter again, with its present value; returns the module."""
    return _leave("remove_weight_norm", module, name, ("g", "v"))


def spectral_norm(module: Any, name: str = "weight", n_power_iterations: int = 1, eps: float = 1e-12,
                  dim: int | None = None, rng: Seed = None) -> Any:
    """A weight divided by its largest singular value: the parameter ``weight_orig``, the buffers ``weight_u`` and
    ``weight_v``. Miyato et al. (2018). The power method goes on at every call in training. Returns the module.

    >>> from microgradx import nn
    >>> list(nn.utils.spectral_norm(nn.Linear(3, 2)).state_dict())
    ['bias', 'weight_orig', 'weight_u', 'weight_v']
    """
    weight = weight_of("spectral_norm", module, name)
    dim = spectral_dim("spectral_norm", module, weight, n_power_iterations, dim)
    module.register_parameter(f"{name}_orig", weight)
    for part, value in zip("uv", SpectralNorm.start(weight.detach(), eps, dim, rng)):
        module.register_buffer(f"{name}_{part}", value)

    def compute(self: Any, steps: int = 0) -> Tensor:
        weight, u, v = (getattr(self, f"{name}_{part}") for part in ("orig", "u", "v"))
        return SpectralNorm.divided(weight, u, v, steps, eps, dim)

    def before(self: Any, args: Any) -> None:
        if self.training and hasattr(self, f"{name}_u"):
            compute(self, n_power_iterations)

    module.register_forward_pre_hook(before)
    return _enter(module, name, compute)


def remove_spectral_norm(module: Any, name: str = "weight") -> Any:
    """Make the weight a parameter again, with its present value; returns the module."""
    return _leave("remove_spectral_norm", module, name, ("orig", "u", "v"))


make_public(__name__)
