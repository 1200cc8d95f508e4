"""Watching nets of PyTorch: the same records, filled from torch's modules and tensors. torch is imported when used."""
import numpy as np

from microgradx.errors import DTypeError
from microgradx.flow.records import CHEAP
from microgradx.flow.watch import Watch, elementwise
from microgradx.nn import functional as F
from microgradx.nn.layers import MODULES

__all__ = ["watch"]


def watch(module, metrics=CHEAP, every=16, full_every=None, reduction="mean", keep=1024):
    """As ``flow.watch``, of a ``torch.nn.Module``.

    Activations of torch are those of the same name here; what a module of yours applies is found out by calling it.

    Raises ``DTypeError`` for what is no ``torch.nn.Module``, ``OptionError`` as ``flow.watch``.

        with microgradx.flow.torch.watch(model) as record:
            train(model)
        record.attribution()
    """
    import torch
    if not isinstance(module, torch.nn.Module):
        raise DTypeError(f"watch: a torch.nn.Module, not {type(module).__name__}")
    return _TorchWatch(module, metrics, every, full_every, reduction, keep)


class _TorchWatch(Watch):
    """What torch has differently."""

    def __init__(self, module, *options):
        super().__init__(module, *options)
        self.overwrites = any(getattr(inner, "inplace", False) for inner in module.modules())

    def tensor(self, output):
        output = output[0] if isinstance(output, tuple) and output else output
        return output if getattr(output, "requires_grad", False) else None

    def kept(self, z):
        return z.detach().clone() if self.overwrites else z                     # an activation in place writes into z

    def array(self, tensor):
        tensor = tensor.detach().cpu()
        return (tensor.float() if tensor.is_floating_point() and tensor.element_size() < 4 else tensor).numpy()

    def activation(self, module):
        name = MODULES.get(type(module).__name__)
        if name is None or not type(module).__module__.startswith("torch."):
            return elementwise(_called(module))
        values = [getattr(module, option, default) for option, default in F.ACTIVATIONS[name].items()]
        found = None if "softmax" in name else elementwise(lambda x: getattr(x, name)(*values))
        if found:
            found.name = name
        return found


def _called(module):
    """A module as a function of arrays."""
    def function(z):
        import torch
        with torch.no_grad():
            return module.forward(torch.from_numpy(np.array(z, np.float64))).numpy()
    function.__name__ = type(module).__name__
    return function
