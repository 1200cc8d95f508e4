"""Nets of PyTorch: the same records, filled from torch's modules and tensors; the same net here, where it is a
``Sequential`` of torch's own layers. torch is imported when used.
"""
import numpy as np

from microgradx import nn
from microgradx._core.graph import no_grad
from microgradx.errors import DTypeError
from microgradx.flow.records import CHEAP
from microgradx.flow.watch import Watch, elementwise
from microgradx.nn import functional as F
from microgradx.nn.layers import MODULES

__all__ = ["same", "watch"]

# What a layer is made of: torch's attributes in the order of our arguments.
CONVOLUTION = ("in_channels", "out_channels", "kernel_size", "stride", "padding", "dilation", "groups")
LAYERS = {"Linear": ("in_features", "out_features"), "Conv1d": CONVOLUTION, "Conv2d": CONVOLUTION,
          "BatchNorm1d": ("num_features", "eps", "momentum"), "BatchNorm2d": ("num_features", "eps", "momentum"),
          "LayerNorm": ("normalized_shape", "eps"), "Dropout": ("p",), "Flatten": ("start_dim", "end_dim"),
          "MaxPool2d": ("kernel_size", "stride", "padding"), "AvgPool2d": ("kernel_size", "stride", "padding"),
          "Identity": (), "Softmax": ("dim",), "LogSoftmax": ("dim",)}


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


def same(module):
    """The net of this library that computes what a ``torch.nn.Sequential`` does, with a copy of its numbers: what
    ``flow.diagnose`` and ``microgradx doctor`` take in its place.

    Inside stand further Sequentials, activations and the layers of ``LAYERS``. Raises ``DTypeError`` for others: what a
    ``forward`` of yours does cannot be read off a module; ``watch`` measures such a net.
    """
    kind = type(module).__name__
    if not type(module).__module__.startswith("torch.nn."):
        raise DTypeError(f"same: {kind} is not one of torch's own layers; flow.torch.watch measures such a net")
    if kind == "Sequential":
        return nn.Sequential({name: same(child) for name, child in module.named_children()}).train(module.training)
    if kind not in LAYERS and kind not in MODULES:
        raise DTypeError(f"same: {kind} of torch is not known here; flow.torch.watch measures such a net")
    options = LAYERS.get(kind, tuple(F.ACTIVATIONS.get(MODULES.get(kind), ())))
    own = [*module.named_parameters(recurse=False), *module.named_buffers(recurse=False)]
    extra = {"bias": False} if getattr(module, "bias", True) is None else {}
    if "weight" in dict(own):
        extra["dtype"] = str(module.weight.dtype).removeprefix("torch.")
    made = getattr(nn, kind)(*(getattr(module, name) for name in options), **extra)
    with no_grad():
        for name, numbers in own:
            if name != "num_batches_tracked":
                getattr(made, name).copy_(numbers.detach().cpu().numpy())
                getattr(made, name).requires_grad = numbers.requires_grad
    return made.train(module.training)


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
        found = None if "softmax" in name else elementwise(lambda x: getattr(F, name)(x, *values))
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
