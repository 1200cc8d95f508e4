"""Training with microgradx."""
import functools
import sys
from types import FunctionType

import numpy as np

from microgradx._core.launch import capturing
from microgradx._core.tensor import Tensor
from microgradx._core.trace import nodes_of
from microgradx.errors import Error, NonFiniteError, ignored, is_of_a_signal
from microgradx.flow.engines.engine import Engine, Hook, Operation
from microgradx.flow.quadrature import activation as named
from microgradx.flow.quadrature import elementwise
from microgradx.nn import functional as F
from microgradx.nn.compiled import CompiledModule
from microgradx.nn.layers import MODULES

__all__ = ["Ours"]


class Ours(Engine):
    """What this library has in its own way."""
    name, short = "microgradx", "mgx"

    @property
    def framework(self):
        return sys.modules["microgradx"]          # it imports this module

    def array(self, tensor):
        return np.asarray(tensor.detach()) if isinstance(tensor, Tensor) else np.asarray(tensor)

    def tensor(self, data, dtype=None):
        if not isinstance(data, Tensor):
            data = np.asarray(data)
            data = Tensor(data.astype(dtype) if dtype and data.dtype.kind == "f" else data)
        return data.detach()

    def _hooks_of_modules(self, objects):
        return [held for x in objects if self.is_model(x) for module in x.modules()
                for held in (module._hooks or {}).values()]

    def _complete(self, objects, copies, memo):
        for twin in copies:
            if self.is_optimizer(twin) and isinstance(vars(twin).get("step"), FunctionType):
                del twin.step  # a function of the caller, which would step the weights of the caller

    def node(self, tensor):
        return nodes_of([tensor])[0]

    def links(self, node):
        return node.operation, [operand for operand, _ in node.next_functions if operand is not None]

    def operation(self, node):
        name = node.operation
        return Operation(name, None if F.ACTIVATIONS.get(name) else ())

    def operation_of(self, module):
        name = MODULES.get(type(module).__name__)
        if name is None or not type(module).__module__.startswith("microgradx."):
            return None
        return Operation(name, tuple(zip(F.ACTIVATIONS[name], getattr(module, "arguments", ()))))

    def activation_at(self, node):
        name = node.operation
        return named(name) if name in F.ACTIVATIONS and "softmax" not in name else None

    def activation(self, module):
        return elementwise(module)

    def overwritten(self, tensor):
        return tensor.version

    def hook_forward(self, module, hook):
        return module.register_forward_hook(Hook(hook))

    def blame(self, loss):
        with ignored(Error):
            try:
                with self.framework.detect_nan(inf=True):
                    loss.backward()
            except NonFiniteError as error:
                if is_of_a_signal(error):
                    raise
                return str(error).partition(" was written")[0].partition(":")[0]
        return None

    def hook_step(self, optimizer, before, after):
        return Steps(optimizer, before, after)

    def recording(self):
        return capturing()

    def closed(self, module):
        return "compiled" if isinstance(module, CompiledModule) else None

    def copies(self, tensors):
        return [self.array(t).copy() for t in tensors]

    def differences(self, tensors, others):
        return [self.array(t) - other for t, other in zip(tensors, others)]


class Steps:
    """What stands in the place of an optimizer's ``step`` until ``remove()``. A copy or pickle of the optimizer has its
    own ``step`` again."""

    def __init__(self, optimizer, before, after):
        self.optimizer, self.before, self.after, self.step = optimizer, before, after, optimizer.step
        self.former = vars(optimizer).get("step")
        functools.update_wrapper(self, self.step)
        optimizer.step = self

    def __call__(self, *args, **kwargs):
        self.before(bool(args or kwargs))
        result = self.step(*args, **kwargs)
        self.after()
        return result

    def __deepcopy__(self, memo):
        return memo[id(self.optimizer)].step

    def __reduce__(self):
        return getattr, (self.optimizer, "step")

    def remove(self):
        if vars(self.optimizer).get("step") is self:
            if self.former is None:
                del self.optimizer.step
            else:
                self.optimizer.step = self.former
