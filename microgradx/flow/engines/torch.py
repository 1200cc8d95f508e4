"""Training with PyTorch, which whoever has a module of it has imported already."""
import contextlib
import copy
import io
import pickle
import re
import sys

import numpy as np

from microgradx.flow.engines.engine import Engine, Hook, Operation
from microgradx.flow.quadrature import activation as named
from microgradx.flow.quadrature import elementwise
from microgradx.nn import functional as F
from microgradx.nn.layers import MODULES

__all__ = ["TORCH"]

# Nodes of torch's graph whose words differ from ours. A digit that counts dimensions goes first.
SAME = {"addmm": "linear", "mm": "matmul", "bmm": "matmul", "fused_dropout": "dropout", "native_dropout": "dropout",
        "unsafe_view": "view", "reshape_alias": "view", "as_strided": "view", "max_pool_with_indices": "max_pool",
        "cat": "concat", "mkldnn_adaptive_avg_pool": "adaptive_avg_pool", "prelu_kernel": "prelu",
        "log_sigmoid": "logsigmoid", "log_sigmoid_forward": "logsigmoid", "unbind": "select", "split": "narrow"}
# Operations other than activations whose nodes hold all options.
CLAMPS = {"clamp": ("min", "max"), "clamp_min": ("min",), "clamp_max": ("max",)}
# Operations that are others by their options.
SPECIAL = {("hardtanh", (("min_val", 0), ("max_val", 6))): Operation("relu6"),
           ("clamp_min", (("min", 0),)): Operation("relu")}

WITHIN = '''

class Within(nn.Module):
    def __init__(self, call):
        super().__init__()
        self.call = call
    def forward(self, *args):
        with MODE():
            return self.call(*args)

model, loss_fn = Within(model), Within(loss_fn)'''
SHIFTED = '''class Shift(torch.overrides.TorchFunctionMode):
    """In your own code: OPERATION of x + 1e-8, where you write OPERATION of x."""
    def __torch_function__(self, function, types, args=(), kwargs=None):
        if function.__name__.strip("_") == "OPERATION":
            args = (args[0] + 1e-8, *args[1:])
        return function(*args, **(kwargs or {}))''' + WITHIN.replace("MODE", "Shift")


KEPT = '''class Keep(torch.overrides.TorchFunctionMode):
    """In your own code: without detach(), .data and no_grad() between the inputs and the cost."""
    def __torch_function__(self, function, types, args=(), kwargs=None):
        with torch.enable_grad():
            if function in (torch.Tensor.detach, torch.detach, torch.Tensor.data.__get__):
                return args[0].view_as(args[0])
            return function(*args, **(kwargs or {}))''' + WITHIN.replace("MODE", "Keep")


class Torch(Engine):
    """What torch has in its own way."""
    name = short = "torch"

    @property
    def framework(self):
        return sys.modules["torch"]

    def refuse(self, model):
        if isinstance(model, self.framework.jit.ScriptModule):
            return "it is scripted, and torch runs it outside of Python; give the module that it was made of"
        if isinstance(model, self.framework.nn.DataParallel | self.framework.nn.parallel.DistributedDataParallel):
            return f"it is wrapped in {type(model).__name__}; give the module inside, model.module"
        if hasattr(model, "_orig_mod"):
            return "it is compiled by torch.compile; give the module that it was made of, model._orig_mod"
        tensors = [*model.named_parameters(), *model.named_buffers()]
        for name, t in tensors:
            if isinstance(t, self.framework.nn.parameter.UninitializedParameter):
                return f"{name!r} has no shape yet (a lazy module); run the model once"
            if t.device.type != "cpu":
                return f"{name!r} is on {t.device}; give a copy on the CPU, copy.deepcopy(model).cpu()"
            if t.is_complex():
                return f"{name!r} is complex"
            if t.is_floating_point() and t.element_size() < 4:
                return f"{name!r} is {self.dtype(t)}, too coarse to measure in; give a copy in float32, model.float()"
        return None

    def array(self, tensor):
        if not isinstance(tensor, self.framework.Tensor):
            return np.asarray(tensor)
        if tensor.dtype is self.framework.float32 and tensor.is_cpu and not tensor.is_sparse:
            return tensor.detach().numpy()              # nearly always, and in every step that is watched
        tensor = tensor.detach().cpu()
        tensor = tensor.to_dense() if tensor.is_sparse else tensor
        return (tensor.float() if tensor.is_floating_point() and tensor.element_size() < 4 else tensor).numpy()

    def tensor(self, data, dtype=None):
        data = data.detach() if isinstance(data, self.framework.Tensor) else self.framework.as_tensor(np.asarray(data))
        return data.to(getattr(self.framework, dtype)) if dtype and data.is_floating_point() else data

    def _hooks_of_modules(self, objects):
        return [held for x in objects if self.is_model(x) for module in x.modules()
                for name, held in vars(module).items() if name.endswith("_hooks") and isinstance(held, dict)]

    def copy(self, *objects, hooks=True):
        with self._results_without_graph(objects):
            return super().copy(*objects, hooks=hooks)

    def pack(self, x):
        file = io.BytesIO()
        _Packer(file).dump(x)
        return file.getvalue()

    def _complete(self, objects, copies, memo):
        for optimizer, twin in ((x, c) for x, c in zip(objects, copies) if self.is_optimizer(x)):
            for name, value in vars(optimizer).items():             # such as LBFGS's list of parameters
                if name.endswith("_hooks") or name not in vars(twin) and name != "step":
                    setattr(twin, name, copy.deepcopy(value, memo))

    @contextlib.contextmanager
    def _results_without_graph(self, objects):
        """What a module keeps of its last pass (``self.cached = x``) has a graph, which cannot be copied."""
        kept = [(module, name, value) for x in objects if self.is_model(x) for module in x.modules()
                for name, value in vars(module).items() if self.is_tensor(value) and value.grad_fn is not None]
        try:
            for module, name, value in kept:
                vars(module)[name] = value.detach()
            yield
        finally:
            for module, name, value in kept:
                vars(module)[name] = value

    def modules(self, model):
        """Layers of Keras are modules of torch that only Keras can list."""
        if not hasattr(model, "_flatten_layers"):
            return super().modules(model)
        return [(layer.path, type(layer).__name__, layer) for layer in model._flatten_layers()]

    def weight(self, module):
        if not hasattr(module, "_flatten_layers"):
            return super().weight(module)
        own = [variable.value for variable in module._trainable_variables]
        return next((p for p in own if p.ndim > 1), own[0] if own else None)

    def channels_first(self, module):
        return super().channels_first(module) and not hasattr(module, "_flatten_layers")

    def node(self, tensor):
        if tensor.grad_fn is not None or not tensor.requires_grad:
            return tensor.grad_fn
        return self.framework.autograd.graph.get_gradient_edge(tensor).node

    def links(self, node):
        name = type(node).__name__
        name = re.sub(r"Backward\d*$", "", name)
        name = re.sub(r"\d[Dd]", "", name)
        name = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()
        name = "leaf" if name == "accumulate_grad" else SAME.get(name, name)
        return name, [below for below, _ in node.next_functions if below is not None]

    def leaf(self, node):
        return node.variable

    def operation(self, node):
        name = self.links(node)[0]
        if name == "elu" and abs(node._saved_scale - 1.0507009873554805) < 1e-6:
            return Operation("selu")
        wanted = CLAMPS[name] if name in CLAMPS else () if "softmax" in name else F.ACTIVATIONS.get(name, ())
        if not all(hasattr(node, f"_saved_{option}") for option in wanted):         # the value of a threshold
            return Operation(name, None)
        options = tuple((option, getattr(node, f"_saved_{option}")) for option in wanted)
        if any(self.is_tensor(value) for _, value in options):                      # clamps between tensors
            return Operation(name, None)
        return SPECIAL.get((name, options), Operation(name, options))

    def operation_of(self, module):
        name = MODULES.get(type(module).__name__)
        if name is None or not type(module).__module__.startswith("torch."):
            return None
        return Operation(name, tuple((option, getattr(module, option, default))
                                     for option, default in F.ACTIVATIONS[name].items()))

    def activation_at(self, node):
        name, options = self.operation(node)
        if name not in F.ACTIVATIONS or "softmax" in name or options is None:
            return None
        return _activation(name, [value for _, value in options])

    def activation(self, module):
        operation = self.operation_of(module)
        if operation is None:
            return elementwise(_called(self.framework, module))
        return None if "softmax" in operation.name else _activation(operation.name, [v for _, v in operation.options])

    def overwritten(self, tensor):
        return tensor._version

    def hook_forward(self, module, hook):
        return module.register_forward_hook(KeywordHook(hook), with_kwargs=True)

    def blame(self, loss):
        found, seen, nodes = [], set(), [loss.grad_fn]

        def is_finite(gradients):
            return all(bool(g.isfinite().all()) for g in gradients if g is not None and g.is_floating_point())
        for node in nodes:
            if node is None or node in seen:
                continue
            seen.add(node)
            nodes += [below for below, _ in node.next_functions]
            node.register_hook(lambda given, taken, node=node: found.append(node)
                               if is_finite(taken) and not is_finite(given) else None)
        loss.backward()
        return f"the backward pass of {self.links(found[0])[0]}" if found else None

    def shifted(self, operation):
        return SHIFTED.replace("OPERATION", operation).split("\n")

    def kept(self):
        return KEPT.split("\n")

    def hook_step(self, optimizer, before, after):
        def begin(optimizer, args, kwargs):
            before(len(args) > 1 or bool(kwargs))           # args begins with the optimizer

        def end(*_):
            after()
        return _Handles(optimizer.register_step_pre_hook(Hook(begin)), optimizer.register_step_post_hook(Hook(end)))

    def roots(self):
        """torch keeps them in a frame below the hook, where a debugger would look, too."""
        frame = sys._getframe()
        while frame is not None and frame.f_code.co_name != "_engine_run_backward":
            frame = frame.f_back
        found = frame.f_locals.get("t_outputs") if frame is not None else ()
        return tuple(t for t in found or () if self.is_tensor(t))

    def recomputing(self):
        return self.framework._C._current_graph_task_id() != -1

    def recording(self):
        return self.framework.compiler.is_compiling()

    def closed(self, module):
        if isinstance(module, self.framework.jit.ScriptModule):
            return "scripted"
        compiled = getattr(module, "_compiled_call_impl", None) is not None or hasattr(module, "_orig_mod")
        return "compiled" if compiled else None

    def norms(self, tensors):
        return super().norms([t.detach().coalesce().values() if t.is_sparse else t for t in tensors])


class KeywordHook(Hook):
    """The same, of what is called with keywords, too, and outside of the caller's modes, which change functions."""

    def __call__(self, module, args, kwargs, output):
        if kwargs:
            args = *args, *kwargs.values()
        core = sys.modules["torch"]._C
        if not core._len_torch_function_stack():
            super().__call__(module, args, output)
            return
        with core.DisableTorchFunction():
            super().__call__(module, args, output)


class _Packer(pickle.Pickler):
    """Pickles tensors as their numbers: what torch makes of them has addresses in it."""

    def reducer_override(self, x):
        torch = sys.modules["torch"]
        if type(x) not in (torch.Tensor, torch.nn.Parameter) or x.is_sparse or not x.is_leaf:
            return NotImplemented
        return _unpacked, (x.detach().numpy(), x.requires_grad, type(x) is torch.nn.Parameter)


def _unpacked(array, requires_grad, parameter):
    import torch
    x = torch.from_numpy(np.array(array))
    return torch.nn.Parameter(x, requires_grad) if parameter else x.requires_grad_(requires_grad)


class _Handles:
    """Several handles as one."""

    def __init__(self, *handles):
        self.handles = handles

    def remove(self):
        for handle in self.handles:
            handle.remove()


def _activation(name, values):
    """The ``Activation`` of a name, called with the values of its options."""
    if values == list(F.ACTIVATIONS[name].values()):
        return named(name)
    found = elementwise(lambda x: getattr(F, name)(x, *values))
    if found:
        found.name = name
    return found


def _called(torch, module):
    """A module as a function of arrays."""
    def function(z):
        with torch.no_grad():
            return module.forward(torch.from_numpy(np.array(z, np.float64))).numpy()
    function.__name__ = type(module).__name__
    return function


TORCH = Torch()
