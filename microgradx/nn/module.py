"""What a module is: attributes, of which the leaf tensors that require a gradient are parameters.

Values live in the instance's ``__dict__`` like any attribute; beside them a module keeps, in the order of
assignment, the names of those that are parameters, buffers and modules. So reading ``self.weight`` costs nothing
extra, and ``super().__init__()`` need not be called.
"""
from collections import namedtuple

import numpy as np

from microgradx._core.graph import no_grad
from microgradx._core.tensor import Tensor
from microgradx.errors import DTypeError, Error, OptionError, ShapeError

__all__ = ["Module", "Parameter"]

KINDS = ("_parameters", "_buffers", "_modules")
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
        self.__dict__.update({kind: {} for kind in KINDS}, _forward_hooks=None, training=True)
        return self

    def __setstate__(self, state):
        """A copy, ``copy.copy`` too, has registers of its own."""
        self.__dict__.update(state | {kind: dict(state[kind]) for kind in KINDS})

    def forward(self, *args, **kwargs):
        raise NotImplementedError(f"{type(self).__name__} defines no forward()")

    def __call__(self, *args, **kwargs):
        result = self.forward(*args, **kwargs)
        if self._forward_hooks is not None:
            for hook in list(self._forward_hooks.values()):
                other = hook(self, args, result)
                result = result if other is None else other
        return result

    def register_forward_hook(self, hook):
        """Call ``hook(module, args, output)`` after every ``forward``; a result that is not None takes the output's
        place. Returns a handle with ``remove()``.

        >>> from microgradx import nn
        >>> layer = nn.Linear(3, 2)
        >>> with layer.register_forward_hook(lambda module, args, out: print(out.shape)):
        ...     y = layer(nn.Parameter([[1.0, 2.0, 3.0]]))
        (1, 2)
        """
        if self._forward_hooks is None:
            self.__dict__["_forward_hooks"] = {}
        return _Handle(self._forward_hooks, hook)

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

    def __delattr__(self, name):
        super().__delattr__(name)
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


class _Handle:
    """A registered hook; ``remove()`` or the end of a ``with`` takes it out."""

    def __init__(self, hooks, hook):
        self.hooks = hooks
        hooks[id(self)] = hook

    def remove(self):
        self.hooks.pop(id(self), None)

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.remove()
