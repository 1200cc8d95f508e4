"""What ``flow`` asks of a library that trains nets. The names that both libraries share are used as they are, through
``framework``; what differs is a method here, which ``ours`` and ``torch`` fill in.

Whoever calls it holds models, optimizers and tensors of that library and asks nothing else of them. Arrays are NumPy's.
"""
import contextlib
import copy
import functools
import pickle
import random as python_random
from types import MethodType
from typing import Any, NamedTuple

import numpy as np

from microgradx.flow import metrics

__all__ = ["PASSING", "Engine", "Hook", "Operation"]

# Operations that hand on what they get: a pre-activation or an activation behind them is still the same.
PASSING = frozenset("""alias avg_pool clone contiguous dropout expand flatten index max_pool narrow pad permute reshape
select slice squeeze stack swapaxes to_copy transpose unflatten unsqueeze view adaptive_avg_pool adaptive_max_pool mean
t""".split())


class Operation(NamedTuple):
    """A function of a tensor, by its name, and what it is called with: pairs of keyword and value, None for unknown."""
    name: str
    options: tuple | None = ()


class Hook:
    """A hook of one module. Copies and pickles of it, which belong to another, do nothing."""

    def __init__(self, function=None):
        self.function = function

    def __call__(self, module, args, output):
        if self.function is not None:
            self.function(module, args, output)

    def __deepcopy__(self, memo):
        return type(self)()

    def __reduce__(self):
        return type(self), ()


def _owners(hook):
    """What a hook is a method of, or has among the arguments that it was given beforehand."""
    if isinstance(hook, functools.partial):
        return [*_owners(hook.func), *hook.args, *hook.keywords.values()]
    return [hook.__self__] if isinstance(hook, MethodType) else []


def _belongs(hook, modules):
    """Has a copy of the modules a hook of its own in the place of this one?"""
    return isinstance(hook, Hook) or type(hook).__module__.startswith("torch.") or any(
        id(owner) in modules for owner in _owners(hook))


def _is_ours(hook):
    """Is it a hook of a measurement of ours?"""
    return isinstance(hook, Hook) or any(
        type(owner).__module__.startswith("microgradx.flow.") for owner in _owners(hook))


class Engine:
    """One library. ``name``: what it is called; ``framework``: its module; ``short``: what lines of code call that."""
    name = short = ""
    framework: Any = None

    # ----- what belongs to it ------------------------------------------------------------------------------------

    def is_model(self, x):
        """Is it a module of this library?"""
        return isinstance(x, self.framework.nn.Module)

    def is_tensor(self, x):
        return isinstance(x, self.framework.Tensor)

    def is_optimizer(self, x):
        return isinstance(x, self.framework.optim.Optimizer)

    def refuse(self, model):
        """A sentence about why this model cannot be trained here; None if it can."""
        return None

    # ----- tensors -----------------------------------------------------------------------------------------------

    def array(self, tensor):
        """Its numbers without its graph, in float32 at least; a copy only where that has to be."""
        raise NotImplementedError

    def tensor(self, data, dtype=None):
        """A tensor without a graph of a tensor or an array; floats in ``dtype`` where that is given."""
        raise NotImplementedError

    def parameter(self, array, like=None):
        """A leaf of these numbers that wants a gradient, in the dtype of ``like``."""
        dtype = None if like is None else self.dtype(like)
        return self.tensor(np.array(array), dtype).requires_grad_()

    def dtype(self, tensor):
        """The name of its dtype: "float32"."""
        return str(tensor.dtype).rpartition(".")[2]

    def first_tensor(self, output):
        """The tensor in what a module takes or gives: itself, or the first in a tuple, list, dict or dataclass."""
        if self.is_tensor(output):
            return output
        parts = output.values() if isinstance(output, dict) else output if isinstance(output, tuple | list) else (
            vars(output).values() if hasattr(output, "__dataclass_fields__") else ())
        return next((t for t in map(self.first_tensor, parts) if t is not None), None)

    # ----- a training --------------------------------------------------------------------------------------------

    def copy(self, *objects, hooks=True):
        """Copies of a model, its optimizer, its schedule ... in one memo, so that they still belong together. Without
        gradients; with the hooks of parameters and steps, and, if ``hooks``, with those of modules."""
        modules = {id(m) for x in objects if self.is_model(x) for m in x.modules()}
        memo = {}
        for held in self._hooks_of_modules(objects):
            kept = {key: hook for key, hook in held.items() if hooks or type(hook).__module__.startswith("torch.")}
            if len(kept) < len(held):                   # torch's such as weight_norm's stay: it is broken without
                memo[id(held)] = type(held)(kept)
            memo.update({id(hook): hook for hook in kept.values() if not _belongs(hook, modules)})
        copies = copy.deepcopy(objects, memo)
        self._complete(objects, copies, memo)
        for p, twin in zip(self.parameters(objects[0]), self.parameters(copies[0])):
            twin.grad = None
            for hook in (getattr(p, "_backward_hooks", None) or {}).values():
                if not _is_ours(hook):
                    twin.register_hook(hook)
        return copies

    def pack(self, x):
        """The pickle of an object with its tensors, the same for equal ones."""
        return pickle.dumps(x)

    def has_hooks(self, *objects):
        """Have modules among these, or in them, hooks of the caller's?"""
        return any(not _is_ours(hook) and not type(hook).__module__.startswith("torch.")
                   for held in self._hooks_of_modules(objects) for hook in held.values())

    def _hooks_of_modules(self, objects):
        """Every dict that holds hooks of a module."""
        raise NotImplementedError

    def _complete(self, objects, copies, memo):
        """What a library's own way of copying leaves out."""

    def parameters(self, model):
        return list(model.parameters())

    def random_state(self):
        """The state of every generator that a training may draw from: the library's, NumPy's and Python's."""
        return self.framework.get_rng_state(), np.random.get_state(), python_random.getstate()

    def set_random_state(self, state):
        self.framework.set_rng_state(state[0])
        np.random.set_state(state[1])
        python_random.setstate(state[2])

    def seed(self, seed):
        """Let all of them begin at a seed."""
        self.framework.manual_seed(seed)
        np.random.seed(seed % 2**32)
        python_random.seed(seed)

    @contextlib.contextmanager
    def untouched(self, *models):
        """Within it generators, gradients and modes may change as they like; after it they are as they were, whatever
        was raised."""
        held = [(p, p.grad) for model in models for p in self.parameters(model)]
        state = self.random_state()
        for p, _ in held:
            p.grad = None
        try:
            with np.errstate(all="ignore"), self.framework.enable_grad():
                yield
        finally:
            for p, grad in held:
                p.grad = grad
            self.set_random_state(state)

    # ----- the parts of a model ----------------------------------------------------------------------------------

    def modules(self, model):
        """(name, kind, module) of the model and all modules inside it; that of the model itself is its class."""
        return [(name or type(model).__name__, type(m).__name__, m) for name, m in model.named_modules()]

    def weight(self, module):
        """A module's own parameter that maps its input: its first matrix, else its first parameter, else None."""
        own = [p for p in (getattr(module, name, None) for name in module._parameters) if p is not None]
        return next((p for p in own if p.ndim > 1), own[0] if own else None)

    def channels_first(self, module):
        """Are the units of what a module gives its axis 1, not the last?"""
        return type(module).__name__.startswith(("Conv", "BatchNorm", "GroupNorm", "InstanceNorm"))

    def set_weight(self, parameter, array):
        """Write numbers into a parameter."""
        with self.framework.no_grad():
            parameter.copy_(self.tensor(np.asarray(array), self.dtype(parameter)))

    def path(self, model, name):
        """How code reaches a module by its name: "layers.0.fc" -> "model.layers[0].fc"."""
        text, module = "model", model
        for part in name.split(".") if name != type(model).__name__ else ():
            text += f"[{part}]" if part.isdigit() else f".{part}" if part.isidentifier() and hasattr(module, part) \
                else f"[{part!r}]"
            child = module._modules.get(part)
            module = getattr(module, part) if child is None else child
        return text

    # ----- editing: lines of code that change ``model``, ``optimizer`` and ``loss_fn`` -------------------------------

    def namespace(self):
        """What lines may name."""
        return {self.short: self.framework, "nn": self.framework.nn, "optim": self.framework.optim}

    def replace(self, path, made):
        """Lines that put a module in another's place; its parameters, if it brings any, join the optimizer."""
        return [f"{path} = {made}"]

    def insert_after(self, path, made):
        """Lines that run a new module on what this one gives; its parameters join the optimizer."""
        return [f"{path} = nn.Sequential({path}, {made})",
                f'optimizer.add_param_group({{"params": list({path}[1].parameters())}})']

    def before_step(self, call):
        """Lines after which ``call`` happens before each ``optimizer.step()``."""
        return [f"optimizer.register_step_pre_hook(lambda *args: {call} and None)"]

    def after_step(self, call):
        """The same, after each."""
        return [f"optimizer.register_step_post_hook(lambda *args: {call})"]

    # ----- wiring, read from the graph that the last pass has recorded -----------------------------------------------

    def node(self, tensor):
        """The node of a tensor in the graph, None without one. Nodes are compared by identity while they are kept."""
        raise NotImplementedError

    def links(self, node):
        """(the operation's name, as ours is called, [the nodes of its operands that want a gradient])."""
        raise NotImplementedError

    def leaf(self, node):
        """What tells a leaf from others, in a node of it; ``leaf(node(p))`` for a parameter."""
        return node

    def strangers(self, loss, *models):
        """How many leaves the cost depends on that are parameters of none of the models."""
        known = {id(self.leaf(self.node(p))) for model in models if self.is_model(model)
                 for p in self.parameters(model) if p.requires_grad}
        waiting, seen, kept, count = [self.node(loss)], set(), [], 0
        while waiting:
            node = waiting.pop()
            if node is None or id(node) in seen:
                continue
            seen.add(id(node))
            kept.append(node)
            name, below = self.links(node)
            if name == "leaf":
                count += id(self.leaf(node)) not in known
            waiting += below
        return count

    def operation(self, node):
        """The ``Operation`` of a node; its options are None where the graph does not tell them."""
        raise NotImplementedError

    def operation_of(self, module):
        """The ``Operation`` that a module of the library applies to each number, None for another module."""
        raise NotImplementedError

    def apply(self, operation, tensor):
        """What an ``Operation`` with known options makes of a tensor."""
        function = getattr(self.framework.nn.functional, operation.name, None)
        function = function or getattr(self.framework, operation.name)
        return function(tensor, **dict(operation.options))

    def activation_at(self, node):
        """The ``Activation`` that an operation of the graph applies to each number; None for what is none."""
        raise NotImplementedError

    # ----- measuring ---------------------------------------------------------------------------------------------

    def activation(self, module):
        """What a module applies to each number, as an ``Activation``; None for what is not elementwise."""
        raise NotImplementedError

    def overwritten(self, tensor):
        """A number that rises when something is written into a tensor."""
        raise NotImplementedError

    def hook_forward(self, module, hook):
        """Call ``hook(module, inputs, output)`` after each call, keyword arguments among the inputs."""
        raise NotImplementedError

    def blame(self, loss):
        """Run its backward pass and name the operation whose derivative is the first that is not finite: a phrase, or
        None."""
        return None

    def shifted(self, operation):
        """Lines of code after which ``operation`` is taken of a little more than what model and cost take it of; none
        where its slope at 0 makes no nan."""
        return []

    def kept(self):
        """Lines of code after which model and cost keep their graph where they leave it; none where Python cannot see
        to that."""
        return []

    # ----- a loop that somebody else runs ------------------------------------------------------------------------

    def innermost(self, optimizer):
        """The optimizer that makes the steps: wrappers of training libraries hold it under a name of theirs."""
        seen = []
        while optimizer not in seen:
            seen.append(optimizer)
            inner = [vars(optimizer).get(name) for name in ("optimizer", "_optimizer")]
            optimizer = next((other for other in inner if self.is_optimizer(other)), optimizer)
        return optimizer

    def hook_step(self, optimizer, before, after):
        """Call ``before(closure)`` and ``after()`` around each step, ``closure``: was one given? A handle."""
        raise NotImplementedError

    def roots(self):
        """In a hook of a backward pass: the tensors that it began at; () where the library does not tell."""
        return ()

    def recomputing(self):
        """Does a forward pass run inside a backward pass, as checkpoints do?"""
        return False

    def recording(self):
        """Is the program under way one that is captured, to run later without Python?"""
        return False

    def closed(self, module):
        """Why nothing inside a module can be seen: a phrase; None where it can."""
        return None

    def norms(self, tensors):
        """The Euclidean norm of each of the tensors, as floats."""
        return [metrics.norm(self.array(t)) for t in tensors]

    def copies(self, tensors):
        """A copy of each, without its graph."""
        return [t.detach().clone() for t in tensors]

    def differences(self, tensors, others):
        """tensors - others, one by one, without a graph."""
        return [t.detach() - other for t, other in zip(tensors, others)]
