"""What a module is: attributes, of which the leaf tensors that require a gradient are parameters.

Values live in the instance's ``__dict__`` like any attribute; besides them a module keeps, in the order of
assignment, the names of those that are parameters, buffers and modules. So reading ``self.weight`` costs nothing
extra, and ``super().__init__()`` need not be called.
"""
from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, ParamSpec, Protocol, Self, TypeVar

import numpy as np
import numpy.typing as npt

from microgradx._core.capture.guards import note_attributes_of, note_write
from microgradx._core.effects import note_assignment
from microgradx._core.graph import is_grad_enabled, no_grad
from microgradx._core.hooks import Handle, Hooks
from microgradx._core.tensor import Tensor, concat
from microgradx.errors import RAW, DTypeError, Error, OptionError, ShapeError, is_device, named
from microgradx.names import ABSENT, make_public
from microgradx.nn.compiled import compiled_module
from microgradx.nn.parameter import Parameter as Parameter
from microgradx.nn.parameter import forget_frozen, is_parameter
from microgradx.nn.summary import Row, Summary
from microgradx.typing import DType, Function

__all__ = ["Module", "summary"]

KINDS = ("_parameters", "_buffers", "_modules")
HOOKS = ("before", "after", "backward")

P = ParamSpec("P")
R_co = TypeVar("R_co", covariant=True)


class Mismatch(NamedTuple):
    """What ``load_state_dict`` gives: names that the state lacks, and names that the module lacks."""
    missing_keys: list[str]
    unexpected_keys: list[str]

    def __repr__(self) -> str:
        if not self.missing_keys and not self.unexpected_keys:
            return "<All keys matched successfully>"
        return f"Mismatch(missing_keys={self.missing_keys}, unexpected_keys={self.unexpected_keys})"


class HasForward(Protocol[P, R_co]):
    """What a module is to a type checker that looks at a call of it."""

    def forward(self, *args: P.args, **kwargs: P.kwargs) -> R_co: ...


@note_attributes_of
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

    former: ClassVar[dict[str, str]] = {}       # names of attributes in earlier versions: the name now
    later: ClassVar[dict[str, Any]] = {}        # attributes that came later: what they were before
    training: bool
    _parameters: dict[str, None]
    _buffers: dict[str, bool | None]        # False: not saved
    _modules: dict[str, None]
    _hooks: dict[str, Hooks] | None

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        self = super().__new__(cls)
        self.__dict__.update({kind: {} for kind in KINDS}, _hooks=None, training=True)
        return self

    def __setstate__(self, state: dict[str, Any]) -> None:
        """A copy, ``copy.copy`` too, has registers of its own. Pickles of earlier versions have other attributes."""
        renamed = {self.former.get(name, name): value for name, value in state.items()}
        self.__dict__.update(self.later | renamed | {kind: dict(state[kind]) for kind in KINDS})

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        raise NotImplementedError(f"{type(self).__name__} defines no forward()")

    if TYPE_CHECKING:                           # a call takes and gives what the forward of the subclass does
        def __call__(self: HasForward[P, R_co], *args: P.args, **kwargs: P.kwargs) -> R_co: ...
    else:
        def __call__(self, *args: Any, **kwargs: Any) -> Any:
            try:
                return self.forward(*args, **kwargs) if self._hooks is None else self._hooked(self._hooks, args, kwargs)
            except RAW as error:
                raise named(type(self).__name__, error) from error.__cause__

    def _hooked(self, hooks: dict[str, Hooks], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if not any(hooks.values()):                     # all that there were are removed
            return self.forward(*args, **kwargs)
        before, after, backward = ([*hooks[kind].values()] for kind in HOOKS)
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

    def _hook(self, kind: str, hook: Function) -> Handle:
        note_write(self.__dict__, "_hooks")
        hooks = self._hooks
        if hooks is None:
            hooks = self.__dict__["_hooks"] = {kind: Hooks() for kind in HOOKS}
        return Handle(hooks[kind], hook)

    def register_forward_pre_hook(self, hook: Function) -> Handle:
        """Call ``hook(module, args)`` before every ``forward``; a result that is not None takes the place of the
        arguments (a tuple, or the only one). Returns a handle with ``remove()``."""
        return self._hook("before", hook)

    def register_forward_hook(self, hook: Function) -> Handle:
        """Call ``hook(module, args, output)`` after every ``forward``; a result that is not None takes the output's
        place. Returns a handle with ``remove()``.

        >>> from microgradx import nn
        >>> layer = nn.Linear(3, 2)
        >>> with layer.register_forward_hook(lambda module, args, out: print(out.shape)):
        ...     y = layer(nn.Parameter([[1.0, 2.0, 3.0]]))
        (1, 2)
        """
        return self._hook("after", hook)

    def register_full_backward_hook(self, hook: Function) -> Handle:
        """Call ``hook(module, grad_input, grad_output)`` in every backward pass through the module.

        Both are tuples: the gradients of the arguments (None for one that wants none) and of the output or outputs.
        A result that is not None (a tuple, or the only gradient) takes the place of ``grad_input``. Returns a handle
        with ``remove()``.

        >>> from microgradx import nn
        >>> layer, x = nn.Tanh(), nn.Parameter([0.0])
        >>> with layer.register_full_backward_hook(lambda module, g_in, g_out: print(g_in[0], g_out[0])):
        ...     (layer(x) * 3).backward()
        tensor([3.]) tensor([3.])
        """
        return self._hook("backward", hook)

    def __compiled__(self, compiled: Any) -> Any:
        """What ``mgx.compile`` makes of the module, whose calls ``compiled`` replays."""
        return compiled_module(compiled)

    # ----- attributes ------------------------------------------------------------------------------------------

    def __setattr__(self, name: str, value: Any) -> None:
        if isinstance(value, Module):
            self._file(name, "_modules")
        elif name in self._buffers or name in self._parameters:
            kind = "parameter" if name in self._parameters else "buffer"
            fits = value is None or isinstance(value, Tensor) and value.is_leaf
            if not fits:
                raise DTypeError(f"{type(self).__name__}.{name} is a {kind}; it may be given a leaf Tensor or None, "
                                 f"not {type(value).__name__}" + " with a graph" * isinstance(value, Tensor))
        else:
            self._file(name, "_parameters" if is_parameter(value) else None)
            if isinstance(value, Tensor) and not value.requires_grad:
                forget_frozen(value)
        attributes = object.__getattribute__(self, "__dict__")      # a capture notes no attribute as read
        note_assignment(attributes, name)
        attributes[name] = value
        note_write(attributes, name)

    def __delattr__(self, name: str) -> None:
        attributes = object.__getattribute__(self, "__dict__")
        note_assignment(attributes, name)
        super().__delattr__(name)
        note_write(attributes, name)
        self._file(name, None)

    def _file(self, name: str, kind: str | None) -> None:
        """Enter ``name`` in the one register it belongs to."""
        for other in KINDS:
            if other == kind:
                getattr(self, other).setdefault(name)
            else:
                getattr(self, other).pop(name, None)

    def register_buffer(self, name: str, tensor: Tensor | None, persistent: bool = True) -> None:
        """Keep ``tensor`` (a Tensor without gradient, or None) as state that is never trained.

        It is saved in ``state_dict`` if ``persistent``.
        """
        if not (tensor is None or isinstance(tensor, Tensor) and not tensor.requires_grad):
            raise DTypeError(f"register_buffer: {name!r} is a Tensor that requires no gradient or None, not "
                             f"{type(tensor).__name__}" + " that requires one" * isinstance(tensor, Tensor))
        self._register("register_buffer", name, "_buffers", tensor)
        self._buffers[name] = bool(persistent)

    def register_parameter(self, name: str, param: Tensor | None) -> None:
        """Make ``param``, a leaf Tensor or None, a parameter called ``name``, even if it requires no gradient."""
        if not (param is None or isinstance(param, Tensor) and param.is_leaf):
            raise DTypeError(f"register_parameter: {name!r} is a leaf Tensor or None, not {type(param).__name__}"
                             + " with a graph" * isinstance(param, Tensor))
        self._register("register_parameter", name, "_parameters", param)
        forget_frozen(param)

    def add_module(self, name: str, module: Module | None) -> None:
        """Make ``module`` a part called ``name``, as an assignment does; the name may be any string without a dot."""
        if not (module is None or isinstance(module, Module)):
            raise DTypeError(f"add_module: {name!r} is a Module or None, not {type(module).__name__}"
                             + " (make an instance: Name())" * isinstance(module, type))
        self._register("add_module", name, "_modules" if module is not None else None, module)

    register_module = add_module

    def _register(self, op: str, name: str, kind: str | None, value: Any) -> None:
        if not isinstance(name, str) or not name or "." in name:
            raise OptionError(f"{op}: a name is a string without dots that is not empty, not {name!r}")
        if hasattr(self, name) and name not in getattr(self, kind or "_modules"):
            raise OptionError(f"{op}: {type(self).__name__} has an attribute {name!r} already")
        attributes = object.__getattribute__(self, "__dict__")
        note_assignment(attributes, name)
        self._file(name, kind)
        attributes[name] = value
        note_write(attributes, name)

    # ----- what is inside ----------------------------------------------------------------------------------------

    def children(self) -> Iterator[Module]:
        """The modules directly inside."""
        return (module for _, module in self.named_children())

    def named_children(self) -> Iterator[tuple[str, Module]]:
        """(name, module) of the modules directly inside, in the order of assignment."""
        return ((name, getattr(self, name)) for name in self._modules)

    def modules(self) -> Iterator[Module]:
        """This module and all inside it, each once."""
        return (module for _, module in self.named_modules())

    def named_modules(self, memo: set[Module] | None = None, prefix: str = "",
                      remove_duplicate: bool = True) -> Iterator[tuple[str, Module]]:
        """(dotted name, module) for this module and all inside it, parents first, each once if ``remove_duplicate``.

        Modules in ``memo`` are left out, and those given are added to it.
        """
        seen: set[Module] = set() if memo is None else memo
        stack: list[tuple[str, Module, tuple[Module, ...]]] = [(prefix, self, ())]
        while stack:
            path, module, above = stack.pop()
            if module in (seen if remove_duplicate else above):
                continue
            seen.add(module)
            yield path, module
            above = () if remove_duplicate else (*above, module)
            stack += reversed([(_join(path, name), child, above) for name, child in module.named_children()])

    def parameters(self, recurse: bool = True) -> Iterator[Tensor]:
        """The tensors to train, each once: an iterator, as optimizers take it. ``recurse``: of modules inside, too."""
        return (tensor for _, tensor in self.named_parameters(recurse=recurse))

    def named_parameters(self, prefix: str = "", recurse: bool = True,
                         remove_duplicate: bool = True) -> Iterator[tuple[str, Tensor]]:
        """(dotted name, tensor) of all parameters, frozen ones included, each once if ``remove_duplicate``."""
        return self._named("_parameters", prefix, recurse, not remove_duplicate)

    def buffers(self, recurse: bool = True) -> Iterator[Tensor]:
        """The registered tensors that are not trained, each once."""
        return (tensor for _, tensor in self.named_buffers(recurse=recurse))

    def named_buffers(self, prefix: str = "", recurse: bool = True,
                      remove_duplicate: bool = True) -> Iterator[tuple[str, Tensor]]:
        """(dotted name, tensor) of all buffers, each once if ``remove_duplicate``."""
        return self._named("_buffers", prefix, recurse, not remove_duplicate)

    def _named(self, kind: str, prefix: str = "", recurse: bool = True,
               shared: bool = False) -> Iterator[tuple[str, Tensor]]:
        seen = set()
        for path, module in self.named_modules(None, prefix, not shared) if recurse else [(prefix, self)]:
            for name in getattr(module, kind):
                tensor = getattr(module, name)
                if tensor is not None and (shared or id(tensor) not in seen):
                    seen.add(id(tensor))
                    yield _join(path, name), tensor

    def get_submodule(self, target: str) -> Module:
        """The module with the dotted name ``target``; ``""`` is this one. Raises ``AttributeError`` if there is none.

        >>> from microgradx import nn
        >>> nn.Sequential(nn.Sequential(nn.Tanh())).get_submodule("0.0")
        Tanh()
        """
        module = self
        for name in target.split(".") if target else ():
            if name not in module._modules:
                raise AttributeError(f"get_submodule: {type(module).__name__} has no module {name!r}, of {target!r}")
            module = getattr(module, name)
        return module

    def get_parameter(self, target: str) -> Tensor:
        """The parameter with the dotted name ``target``. Raises ``AttributeError`` if there is none."""
        found: Tensor = self._get("get_parameter", "_parameters", target)
        return found

    def get_buffer(self, target: str) -> Tensor:
        """The buffer with the dotted name ``target``. Raises ``AttributeError`` if there is none."""
        found: Tensor = self._get("get_buffer", "_buffers", target)
        return found

    def _get(self, op: str, kind: str, target: str) -> Any:
        path, _, name = target.rpartition(".")
        module = self.get_submodule(path)
        if name not in getattr(module, kind):
            raise AttributeError(f"{op}: {type(module).__name__} has no {kind[1:-1]} {name!r}, of {target!r}")
        return getattr(module, name)

    def apply(self, function: Function) -> Self:
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

    def train(self, mode: bool = True) -> Self:
        """Set ``training`` here and in all modules inside; returns the module."""
        for module in self.modules():
            module.training = bool(mode)
        return self

    def eval(self) -> Self:
        """``train(False)``."""
        return self.train(False)

    def requires_grad_(self, on: bool = True) -> Self:
        """Freeze (False) or unfreeze all parameters; returns the module."""
        for p in self.parameters():
            p.requires_grad = on
        return self

    def to(self, *where: Any, dtype: DType = None, device: Any = None, non_blocking: bool = False) -> Self:
        """Bring all numbers, except whole ones, to ``"float32"`` or ``"float64"``; returns the module.

        ``to("cpu")`` changes nothing, ``to(x)`` takes the dtype of a tensor. Parameters and buffers of another dtype
        become other tensors, without gradients, so make the optimizer after this. Raises ``DTypeError`` for any other
        dtype, ``OptionError`` for another device.

        >>> from microgradx import nn
        >>> nn.Linear(3, 2).to("float64").weight.dtype
        dtype('float64')
        """
        if device is not None and not is_device("to", device):
            raise OptionError(f"to: {device!r} is no device; there is 'cpu'")
        for one in where:
            if one is not None and not is_device("to", one):
                dtype = one.dtype if isinstance(one, Tensor) else one
        if dtype is None:
            return self
        try:
            fits = np.dtype(dtype) in (np.float32, np.float64)
        except TypeError:                               # of another library
            fits = False
        if not fits:
            raise DTypeError(f"to: parameters are float32 or float64, not {dtype}")
        others: dict[int, Tensor] = {}                  # what several modules share stays shared
        for module in self.modules():
            for name in (*module._parameters, *module._buffers):
                old = getattr(module, name)
                if old is not None and old.dtype.kind == "f" and old.dtype != dtype:
                    new = others.setdefault(id(old), Tensor(old.detach(), dtype=dtype))
                    new.requires_grad = old.requires_grad
                    setattr(module, name, new)
        return self

    def cpu(self) -> Self:
        """The module itself, which is on the CPU."""
        return self

    def type(self, dst_type: DType) -> Self:
        """``to(dst_type)``."""
        return self.to(dst_type)

    def double(self) -> Self:
        """``to("float64")``."""
        return self.to("float64")

    def float(self) -> Self:
        """``to("float32")``."""
        return self.to("float32")

    def half(self) -> Self:
        """Not here: raises ``OptionError``."""
        raise OptionError(f"half: {ABSENT['half']}")

    def bfloat16(self) -> Self:
        """Not here: raises ``OptionError``."""
        raise OptionError(f"bfloat16: {ABSENT['bfloat16']}")

    def cuda(self, device: Any = None) -> Self:
        """Not here: raises ``OptionError``."""
        raise OptionError(f"cuda: {ABSENT['cuda']}")

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget all gradients, or fill them with 0."""
        for p in self.parameters():
            if set_to_none or p.grad is None:
                p.grad = None
            else:
                p.grad.data.zero_()

    # ----- saving and loading ------------------------------------------------------------------------------------

    def state_dict(self, *, prefix: str = "") -> dict[str, Tensor]:
        """{dotted name: tensor} of all parameters and persistent buffers: copies, without gradients.

        A tensor that two modules share stands under both names. ``prefix`` is put before every name.

        >>> from microgradx import nn
        >>> {name: t.shape for name, t in nn.Linear(3, 2).state_dict().items()}
        {'weight': (2, 3), 'bias': (2,)}
        """
        return {prefix + name: Tensor(tensor.detach()) for name, tensor in self._state()}

    def _state(self) -> Iterator[tuple[str, Tensor]]:
        for path, module in self.named_modules(remove_duplicate=False):
            for kind in ("_parameters", "_buffers"):
                for name, persistent in getattr(module, kind).items():
                    tensor = getattr(module, name)
                    if tensor is not None and persistent is not False:
                        yield _join(path, name), tensor

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True) -> Mismatch:
        """Copy the tensors or arrays of ``state_dict`` in. Either all fits or nothing is changed.

        Returns (missing_keys, unexpected_keys), both empty if ``strict``.

        Raises ``OptionError`` for missing or unexpected names if ``strict``, ``ShapeError`` and ``DTypeError`` for
        entries that do not fit: all of them are named.
        """
        state = state_dict
        if not hasattr(state, "items"):
            raise DTypeError(f"load_state_dict: a dict of tensors, not {type(state).__name__}")
        own = dict(self._state())
        missing, unexpected = [n for n in own if n not in state], [n for n in state if n not in own]
        pairs, errors = [], list[Error]()
        for name in own:
            if name in state:
                try:
                    pairs.append((own[name], _entry(name, own[name], state[name])))
                except (DTypeError, ShapeError) as error:
                    errors.append(error)
        wrong = "; ".join(map(str, errors))
        if strict and (missing or unexpected):
            raise OptionError(f"load_state_dict: {type(self).__name__} and the state differ: "
                              f"missing {missing}, unexpected {unexpected}" + (f"; {wrong}" if wrong else ""))
        if errors:
            raise type(errors[0])(f"load_state_dict: {wrong}")
        with no_grad():
            for tensor, array in pairs:
                tensor.copy_(array)
        return Mismatch(missing, unexpected)

    # ----- text --------------------------------------------------------------------------------------------------

    def extra_repr(self) -> str:
        """What stands between the parentheses of ``repr`` besides the modules inside."""
        return ""

    def summary(self, *inputs: Any) -> Summary:
        """``nn.summary(self, *inputs)``: a table of this module and those inside."""
        return summary(self, *inputs)

    def __repr__(self) -> str:
        lines = [f"({name}): {child!r}".replace("\n", "\n  ") for name, child in self.named_children()]
        if not lines:
            return f"{type(self).__name__}({self.extra_repr()})"
        head = [self.extra_repr()] if self.extra_repr() else []
        return "\n  ".join([f"{type(self).__name__}(", *head, *lines]) + "\n)"


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _entry(name: str, tensor: Tensor, value: Any) -> npt.NDArray[Any]:
    """``value`` as an array that can be copied into ``tensor``."""
    try:
        array = np.array(value.detach() if isinstance(value, Tensor) else value)
    except (Error, ValueError, TypeError) as error:
        raise DTypeError(f"{name!r} is no array: {error}") from None
    if array.shape != tensor.shape:
        raise ShapeError(f"{name!r} has shape {tensor.shape}, the state's {array.shape} "
                         f"({tensor.shape} != {array.shape})")
    if array.dtype != tensor.dtype:
        raise DTypeError(f"{name!r} is {tensor.dtype}, the state's {array.dtype}; convert the state "
                         "with astype")
    return array


# ----- a look at all modules ---------------------------------------------------------------------------------------

@contextmanager
def observed(model: Module, note: Function) -> Iterator[None]:
    """Within it, every module of ``model`` calls ``note(module, args, output)``; evaluation mode, no graph."""
    modes = {module: module.training for module in model.modules()}
    handles = [module.register_forward_hook(note) for module in modes]
    model.eval()
    try:
        with no_grad():
            yield
    finally:
        for handle in handles:
            handle.remove()
        for module, mode in modes.items():
            module.training = mode


def summary(model: Module, *inputs: Any) -> Summary:
    """The modules of ``model``, a row each: dotted name, kind, shape of what it gave, own parameters.

    The model is run on ``inputs`` in evaluation mode, without a graph; without inputs no shapes are known. A module
    that is used twice shows its last output. Shared parameters count once in the totals.

    >>> import microgradx as mgx
    >>> from microgradx import nn
    >>> nn.summary(nn.Sequential(nn.Linear(784, 30), nn.Sigmoid(), nn.Linear(30, 10)), mgx.Tensor([[0.0] * 784]))
    module  kind        output   parameters
    ---------------------------------------
    -       Sequential  (1, 10)           0
    0       Linear      (1, 30)      23,550
    1       Sigmoid     (1, 30)           0
    2       Linear      (1, 10)         310
    ---------------------------------------
    23,860 parameters, 23,860 of them trained
    """
    shapes = {}

    def note(module: Module, args: Any, result: Any) -> None:
        first = result[0] if isinstance(result, (tuple, list)) and result else result
        shapes[module] = getattr(first, "shape", None)

    if inputs:
        with observed(model, note):
            model(*inputs)
    rows = Summary(Row(name, type(module).__name__, shapes.get(module), sum(
        p.size for p in map(module.__dict__.get, module._parameters) if p is not None))
        for name, module in model.named_modules())
    rows.total = sum(p.size for p in model.parameters())
    rows.trainable = sum(p.size for p in model.parameters() if p.requires_grad)
    return rows


# ----- backward hooks ------------------------------------------------------------------------------------------------

def _watched(module: Module, hooks: list[Function], args: tuple[Any, ...]) -> tuple[tuple[Any, ...], Function]:
    """(the arguments, a function of the output): between the two, gradients pass the hooks."""
    wanted = [k for k, x in enumerate(args) if isinstance(x, Tensor) and x.requires_grad]
    entry, inner = _tied([args[k] for k in wanted])
    given, grad_output = list(args), list[Tensor | None]()
    for k, x in zip(wanted, inner):
        given[k] = x

    def call(g: Tensor | None) -> Tensor | None:
        gradients = dict(zip(wanted, _untied(g, inner)))
        for hook in hooks:
            other = hook(module, tuple(gradients.get(k) for k in range(len(given))), tuple(grad_output))
            if other is not None and wanted:
                other = other if isinstance(other, tuple) else (other,)
                gradients = {k: other[k] for k in wanted}
        return _joined([gradients[k] for k in wanted])

    def watch(result: Any) -> Any:
        outputs = list(result) if isinstance(result, (tuple, list)) else [result]
        at = [k for k, y in enumerate(outputs) if isinstance(y, Tensor) and y.requires_grad]
        exit_, outer = _tied([outputs[k] for k in at])

        def arrived(g: Tensor) -> None:
            found = dict(zip(at, _untied(g, outer)))
            grad_output[:] = [found.get(k) for k in range(len(outputs))]
            if entry is None:                           # nothing goes further than this module
                call(None)

        if exit_ is not None:
            exit_.register_hook(arrived)
            for k, y in zip(at, outer):
                outputs[k] = y
        return type(result)(outputs) if isinstance(result, (tuple, list)) else outputs[0]

    if entry is not None:
        entry.register_hook(call)
    return tuple(given), watch


def _tied(tensors: list[Tensor]) -> tuple[Tensor | None, list[Tensor]]:
    """(a tensor, the given ones made from it): its gradient is known when those of all of them are."""
    if len(tensors) < 2:
        copies = [x.reshape(x.shape) for x in tensors]
        return copies[0] if copies else None, copies
    line = concat([x.reshape(-1) for x in tensors])
    parts = zip(tensors, line.split([x.size for x in tensors]))
    return line, [part.astype(x.dtype).reshape(x.shape) for x, part in parts]


def _joined(parts: list[Tensor]) -> Tensor | None:
    """The gradient of what ``_tied`` made, from those of the given tensors."""
    return None if not parts else parts[0] if len(parts) == 1 else concat([x.reshape(-1) for x in parts])


def _untied(g: Tensor | None, tensors: list[Tensor]) -> list[Tensor]:
    """The parts of a gradient that belong to ``tensors``, of which there are none where there is no gradient."""
    if g is None:
        return []
    if len(tensors) < 2:
        return [g] * len(tensors)
    return [part.reshape(x.shape) for x, part in zip(tensors, g.split([x.size for x in tensors]))]


make_public(__name__, "train", "eval", "zero_grad", "parameters", "buffers", "children", "modules",
            "named_parameters", "named_buffers", "named_children", "named_modules")
