"""What a module is: attributes, of which the leaf tensors that require a gradient are parameters.

Values live in the instance's ``__dict__`` like any attribute; beside them a module keeps, in the order of
assignment, the names of those that are parameters, buffers and modules. So reading ``self.weight`` costs nothing
extra, and ``super().__init__()`` need not be called.
"""
from collections import namedtuple

import numpy as np

from microgradx._core.graph import is_grad_enabled, no_grad
from microgradx._core.hooks import Handle, Hooks
from microgradx._core.program import note_call, note_change
from microgradx._core.tensor import Tensor, concat
from microgradx.errors import DTypeError, Error, OptionError, ShapeError
from microgradx.nn.summary import summary

__all__ = ["Module", "Parameter"]

KINDS = ("_parameters", "_buffers", "_modules")
HOOKS = ("before", "after", "backward")
Mismatch = namedtuple("Mismatch", "missing_keys unexpected_keys")


def Parameter(data, dtype=None):
    """A leaf tensor that requires a gradient: what a module counts as a parameter.

    ``data`` is copied: a float Tensor, an array or nested lists.

    >>> from microgradx import nn
    >>> nn.Parameter([1.0, 2.0])
    Tensor([1., 2.], requires_grad=True)
    """
    return Tensor(data, requires_grad=True, dtype=dtype)


def _is_parameter(value):
    return isinstance(value, Tensor) and value.requires_grad and value.is_leaf


class Module:
    """A part of a net: parameters, buffers and modules inside it, and ``forward``.

    A subclass assigns them as attributes and defines ``forward``; calling the module runs it. A leaf Tensor that
    requires a gradient becomes a parameter, a Module a child; a Tensor that is state but is not trained is
    registered with ``register_buffer``. Keep several modules in a ``Sequential``: a plain list is not searched.

    >>> from microgradx import nn
    >>> class Scale(nn.Module):
    ...     def __init__(self):
    ...         self.factor = nn.Parameter(2.0)
    ...     def forward(self, x):
    ...         return x * self.factor
    >>> net = nn.Sequential(nn.Linear(3, 2), Scale())
    >>> [name for name, _ in net.named_parameters()]
    ['0.weight', '0.bias', '1.factor']
    """

    def __new__(cls, *args, **kwargs):
        self = super().__new__(cls)
        self.__dict__.update({kind: {} for kind in KINDS}, _hooks=None, training=True)
        return self

    def __setstate__(self, state):
        """A copy, ``copy.copy`` too, has registers of its own."""
        self.__dict__.update(state | {kind: dict(state[kind]) for kind in KINDS})

    def forward(self, *args, **kwargs):
        raise NotImplementedError(f"{type(self).__name__} defines no forward()")

    def __call__(self, *args, **kwargs):
        note_call(self)
        return self.forward(*args, **kwargs) if self._hooks is None else self._hooked(args, kwargs)

    def _hooked(self, args, kwargs):
        before, after, backward = ([*self._hooks[kind].values()] for kind in HOOKS)
        for hook in before:
            other = hook(self, args)
            args = args if other is None else other if isinstance(other, tuple) else (other,)
        backward = backward if is_grad_enabled() else []
        if backward:
            args, watch = _watched(self, backward, args)
        result = self.forward(*args, **kwargs)
        for hook in after:
            other = hook(self, args, result)
            result = result if other is None else other
        return watch(result) if backward else result

    def _hook(self, kind, hook):
        note_change(self, "_hooks")
        if self._hooks is None:
            self.__dict__["_hooks"] = {kind: Hooks() for kind in HOOKS}
        return Handle(self._hooks[kind], hook)

    def register_forward_pre_hook(self, hook):
        """Call ``hook(module, args)`` before every ``forward``; a result that is not None takes the place of the
        arguments (a tuple, or the only one). Returns a handle with ``remove()``."""
        return self._hook("before", hook)

    def register_forward_hook(self, hook):
        """Call ``hook(module, args, output)`` after every ``forward``; a result that is not None takes the output's
        place. Returns a handle with ``remove()``.

        >>> from microgradx import nn
        >>> layer = nn.Linear(3, 2)
        >>> with layer.register_forward_hook(lambda module, args, out: print(out.shape)):
        ...     y = layer(nn.Parameter([[1.0, 2.0, 3.0]]))
        (1, 2)
        """
        return self._hook("after", hook)

    def register_full_backward_hook(self, hook):
        """Call ``hook(module, grad_input, grad_output)`` in every backward pass through the module.

        Both are tuples: the gradients of the arguments (None for one that wants none) and of the output or outputs.
        A result that is not None (a tuple, or the only gradient) takes the place of ``grad_input``. Returns a handle
        with ``remove()``.

        >>> from microgradx import nn
        >>> layer, x = nn.Tanh(), nn.Parameter([0.0])
        >>> with layer.register_full_backward_hook(lambda module, g_in, g_out: print(g_in[0], g_out[0])):
        ...     (layer(x) * 3).backward()
        Tensor([3.]) Tensor([3.])
        """
        return self._hook("backward", hook)

    # ----- attributes ------------------------------------------------------------------------------------------

    def __setattr__(self, name, value):
        if isinstance(value, Module):
            self._file(name, "_modules")
        elif name in self._buffers or name in self._parameters:
            kind = "parameter" if name in self._parameters else "buffer"
            fits = value is None or isinstance(value, Tensor) and value.is_leaf
            if not fits:
                raise DTypeError(f"{type(self).__name__}.{name} is a {kind}; it may be given a leaf Tensor or None, "
                                 f"not {type(value).__name__}" + " with a graph" * isinstance(value, Tensor))
        else:
            self._file(name, "_parameters" if _is_parameter(value) else None)
        self.__dict__[name] = value
        note_change(self, name)

    def __delattr__(self, name):
        super().__delattr__(name)
        note_change(self, name)
        self._file(name, None)

    def _file(self, name, kind):
        """Enter ``name`` in the one register it belongs to."""
        for other in KINDS:
            if other == kind:
                self.__dict__[other].setdefault(name)
            else:
                self.__dict__[other].pop(name, None)

    def register_buffer(self, name, tensor):
        """Keep ``tensor`` (a Tensor without gradient, or None) as state: saved in ``state_dict``, never trained."""
        if not (tensor is None or isinstance(tensor, Tensor) and not tensor.requires_grad):
            raise DTypeError(f"register_buffer: {name!r} is a Tensor that requires no gradient or None, not "
                             f"{type(tensor).__name__}" + " that requires one" * isinstance(tensor, Tensor))
        self._file(name, "_buffers")
        self.__dict__[name] = tensor

    # ----- what is inside ----------------------------------------------------------------------------------------

    def children(self):
        """The modules directly inside."""
        return (module for _, module in self.named_children())

    def named_children(self):
        """(name, module) of the modules directly inside, in the order of assignment."""
        return ((name, self.__dict__[name]) for name in self._modules)

    def modules(self):
        """This module and all inside it, each once."""
        return (module for _, module in self.named_modules())

    def named_modules(self, prefix=""):
        """(dotted name, module) for this module and all inside it, each once, parents first."""
        seen, stack = set(), [(prefix, self)]
        while stack:
            path, module = stack.pop()
            if id(module) in seen:
                continue
            seen.add(id(module))
            yield path, module
            stack += reversed([(_join(path, name), child) for name, child in module.named_children()])

    def parameters(self):
        """The tensors to train, each once: an iterator, as optimizers take it."""
        return (tensor for _, tensor in self.named_parameters())

    def named_parameters(self):
        """(dotted name, tensor) of all parameters, each once, frozen ones included."""
        return self._named("_parameters")

    def buffers(self):
        """The registered tensors that are not trained, each once."""
        return (tensor for _, tensor in self.named_buffers())

    def named_buffers(self):
        """(dotted name, tensor) of all buffers, each once."""
        return self._named("_buffers")

    def _named(self, kind, shared=False):
        seen = set()
        for path, module in self.named_modules():
            for name in module.__dict__[kind]:
                tensor = module.__dict__[name]
                if tensor is not None and (shared or id(tensor) not in seen):
                    seen.add(id(tensor))
                    yield _join(path, name), tensor

    def apply(self, function):
        """Call ``function(module)`` for all modules inside, then for this one; returns the module.

        >>> from microgradx import nn
        >>> net = nn.Sequential(nn.Linear(2, 2), nn.Tanh()).apply(lambda m: print(type(m).__name__))
        Linear
        Tanh
        Sequential
        """
        for child in self.children():
            child.apply(function)
        function(self)
        return self

    # ----- modes and gradients -----------------------------------------------------------------------------------

    def train(self, mode=True):
        """Set ``training`` here and in all modules inside; returns the module."""
        for module in self.modules():
            module.training = bool(mode)
        return self

    def eval(self):
        """``train(False)``."""
        return self.train(False)

    def requires_grad_(self, on=True):
        """Freeze (False) or unfreeze all parameters; returns the module."""
        for p in self.parameters():
            p.requires_grad = on
        return self

    def to(self, dtype):
        """Bring all numbers, except whole ones, to ``"float32"`` or ``"float64"``; returns the module.

        Parameters and buffers become other tensors, without gradients, so make the optimizer after this.
        Raises ``DTypeError`` for any other dtype.

        >>> from microgradx import nn
        >>> nn.Linear(3, 2).to("float64").weight.dtype
        dtype('float64')
        """
        if np.dtype(dtype) not in (np.float32, np.float64):
            raise DTypeError(f"to: parameters are float32 or float64, not {np.dtype(dtype)}")
        others = {}                                     # what several modules share stays shared
        for module in self.modules():
            for name in (*module._parameters, *module._buffers):
                old = module.__dict__[name]
                if old is not None and old.dtype.kind == "f":
                    new = others.setdefault(id(old), Tensor(old.detach(), dtype=dtype))
                    new.requires_grad = old.requires_grad
                    setattr(module, name, new)
        return self

    def double(self):
        """``to("float64")``."""
        return self.to("float64")

    def float(self):
        """``to("float32")``."""
        return self.to("float32")

    def zero_grad(self, set_to_none=True):
        """Forget all gradients, or fill them with 0."""
        for p in self.parameters():
            if set_to_none or p.grad is None:
                p.grad = None
            else:
                p.grad.data.zero_()

    # ----- saving and loading ------------------------------------------------------------------------------------

    def state_dict(self):
        """{dotted name: tensor} of all parameters and buffers: copies, without gradients.

        A tensor that two modules share stands under both names.

        >>> from microgradx import nn
        >>> {name: t.shape for name, t in nn.Linear(3, 2).state_dict().items()}
        {'weight': (2, 3), 'bias': (2,)}
        """
        return {name: Tensor(tensor.detach()) for name, tensor in self._state()}

    def _state(self):
        yield from self._named("_parameters", shared=True)
        yield from self._named("_buffers", shared=True)

    def load_state_dict(self, state, strict=True):
        """Copy the tensors or arrays of ``state`` in. Either all fits or nothing is changed.

        Returns (missing_keys, unexpected_keys), both empty if ``strict``.

        Raises ``OptionError`` for missing or unexpected names if ``strict``, ``ShapeError`` and ``DTypeError`` for
        an entry that does not fit.
        """
        if not hasattr(state, "items"):
            raise DTypeError(f"load_state_dict: a dict of tensors, not {type(state).__name__}")
        own = dict(self._state())
        missing, unexpected = [n for n in own if n not in state], [n for n in state if n not in own]
        if strict and (missing or unexpected):
            raise OptionError(f"load_state_dict: {type(self).__name__} and the state differ: "
                              f"missing {missing}, unexpected {unexpected}")
        pairs = [(name, own[name], _entry(name, own[name], state[name])) for name in own if name in state]
        with no_grad():
            for _, tensor, array in pairs:
                tensor.copy_(array)
        return Mismatch(missing, unexpected)

    # ----- text --------------------------------------------------------------------------------------------------

    def extra_repr(self):
        """What stands between the parentheses of ``repr`` beside the modules inside."""
        return ""

    def summary(self, *inputs):
        """``nn.summary(self, *inputs)``: a table of this module and those inside."""
        return summary(self, *inputs)

    def __repr__(self):
        lines = [f"({name}): {child!r}".replace("\n", "\n  ") for name, child in self.named_children()]
        if not lines:
            return f"{type(self).__name__}({self.extra_repr()})"
        head = [self.extra_repr()] if self.extra_repr() else []
        return "\n  ".join([f"{type(self).__name__}(", *head, *lines]) + "\n)"


def _join(path, name):
    return f"{path}.{name}" if path else name


def _entry(name, tensor, value):
    """``value`` as an array that can be copied into ``tensor``."""
    try:
        array = np.array(value.detach() if isinstance(value, Tensor) else value)
    except (Error, ValueError, TypeError) as error:
        raise DTypeError(f"load_state_dict: {name!r} is no array: {error}") from None
    if array.shape != tensor.shape:
        raise ShapeError(f"load_state_dict: {name!r} has shape {tensor.shape}, the state's {array.shape} "
                         f"({tensor.shape} != {array.shape})")
    if array.dtype != tensor.dtype:
        raise DTypeError(f"load_state_dict: {name!r} is {tensor.dtype}, the state's {array.dtype}; convert the state "
                         "with astype")
    return array


# ----- backward hooks ------------------------------------------------------------------------------------------------

def _watched(module, hooks, args):
    """(the arguments, a function of the output): between the two, gradients pass the hooks."""
    wanted = [k for k, x in enumerate(args) if isinstance(x, Tensor) and x.requires_grad]
    entry, inner = _tied([args[k] for k in wanted])
    args, grad_output = list(args), []
    for k, x in zip(wanted, inner):
        args[k] = x

    def call(g):
        gradients = dict(zip(wanted, _untied(g, inner)))
        for hook in hooks:
            other = hook(module, tuple(gradients.get(k) for k in range(len(args))), tuple(grad_output))
            if other is not None and wanted:
                other = other if isinstance(other, tuple) else (other,)
                gradients = {k: other[k] for k in wanted}
        parts = [gradients[k] for k in wanted]
        return None if not parts else parts[0] if len(parts) == 1 else concat([x.reshape(-1) for x in parts])

    def watch(result):
        outputs = list(result) if isinstance(result, (tuple, list)) else [result]
        at = [k for k, y in enumerate(outputs) if isinstance(y, Tensor) and y.requires_grad]
        exit_, outer = _tied([outputs[k] for k in at])

        def arrived(g):
            found = dict(zip(at, _untied(g, outer)))
            grad_output[:] = [found.get(k) for k in range(len(outputs))]
            if entry is None:                           # nothing goes further than this module
                call(None)

        if at:
            exit_.register_hook(arrived)
            for k, y in zip(at, outer):
                outputs[k] = y
        return type(result)(outputs) if isinstance(result, (tuple, list)) else outputs[0]

    if wanted:
        entry.register_hook(call)
    return tuple(args), watch


def _tied(tensors):
    """(a tensor, the given ones made from it): its gradient is known when those of all of them are."""
    if len(tensors) < 2:
        copies = [x.reshape(x.shape) for x in tensors]
        return (copies or [None])[0], copies
    line = concat([x.reshape(-1) for x in tensors])
    parts = zip(tensors, line.split([x.size for x in tensors]))
    return line, [part.astype(x.dtype).reshape(x.shape) for x, part in parts]


def _untied(g, tensors):
    """The parts of a gradient that belong to ``tensors``."""
    if len(tensors) < 2:
        return [g] * len(tensors)
    return [part.reshape(x.shape) for x, part in zip(tensors, g.split([x.size for x in tensors]))]
