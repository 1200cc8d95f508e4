"""Optimizers: torch's semantics; one launch updates all parameters of a group.

``Optimizer`` holds groups of parameters with their options and state, as torch's does; a subclass of your own defines
``step``. An optimizer of this module is a ``KernelOptimizer``: a table of options and of its state, whose rule is a row
of ``csrc/kernels.def``. Its state is made when a parameter is added, so steps allocate nothing, and the kernels read
options and steps through pointers, so a step is the same launch whatever their values.
"""
from __future__ import annotations

import difflib
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, MutableMapping
from types import MappingProxyType
from typing import Any, TypeAlias, TypedDict, TypeVar, Unpack

import numpy as np
import numpy.typing as npt

from microgradx._core.capture.guards import note_attributes_of, note_read, note_write
from microgradx._core.capture.number import settled
from microgradx._core.graph import enable_grad, no_grad
from microgradx._core.hooks import Handle, Hooks
from microgradx._core.launch import change_world, composite
from microgradx._core.tensor import Tensor
from microgradx._core.update import update
from microgradx.errors import (
    ArgumentError,
    DTypeError,
    GraphError,
    NotImplementedError_,
    OptionError,
    ShapeError,
    described,
)
from microgradx.names import make_public

__all__ = ["ASGD", "SGD", "Adadelta", "Adagrad", "Adam", "AdamW", "Adamax", "NAdam", "Optimizer", "RAdam", "RMSprop",
           "Rprop"]

Options: TypeAlias = Mapping[str, Any]
Params: TypeAlias = Iterable[Tensor] | Iterable[Mapping[str, Any]]
Loss = TypeVar("Loss")
Range: TypeAlias = tuple[Callable[[Any], bool], str]                # is it allowed? what is

NOT_NEGATIVE: Range = (lambda x: 0 <= x < float("inf"), "a finite number >= 0")
FRACTION: Range = (lambda x: 0 <= x < 1, "a number in [0, 1)")
FRACTIONS: Range = (lambda b: len(b) == 2 and all(FRACTION[0](x) for x in b), "two numbers in [0, 1)")
FLAG: Range = (lambda x: x in (True, False), "True or False")
SHARED = {"initial_lr": NOT_NEGATIVE}           # options that no kernel reads; a scheduler notes its start there
CHOICE: Range = (lambda x: x in (None, True, False), "True, False or None")
# How torch computes a step, whose numbers are the same: kept in the groups, and read by nothing.
NEUTRAL: dict[str, Range] = {
    "foreach": CHOICE, "fused": CHOICE, "capturable": FLAG,
    "differentiable": (lambda x: x is False, "False; a step leaves no graph: write the update in operations")}

# What options are called elsewhere, or by mistake.
MISTAKEN = {"learning_rate": "lr", "rate": "lr", "eta": "lr", "decay": "weight_decay", "l2": "weight_decay",
            "wd": "weight_decay", "beta": "betas", "beta1": "betas", "beta2": "betas", "epsilon": "eps"}


FOREACH: Options = {"foreach": None, "differentiable": False}       # those that each rule takes, as torch's
CAPTURABLE: Options = {**FOREACH, "capturable": False}
FUSED: Options = {**FOREACH, "fused": None}


class Neutral(TypedDict, total=False):
    """``NEUTRAL`` for type checkers."""
    foreach: bool | None
    fused: bool | None
    capturable: bool
    differentiable: bool


def plain_options(options: Options) -> dict[str, Any]:
    """The options, with the number of a tensor in its place."""
    return {name: value.item() if isinstance(value, Tensor) and value.size == 1 else value
            for name, value in options.items()}


def evaluated(op: str, closure: Callable[[], Loss]) -> Loss:
    """The loss that a closure returns, which computes its gradients."""
    if not callable(closure):
        raise OptionError(f"{op}.step: a closure is a function that computes the loss, not {described(closure)}")
    with enable_grad():
        loss = closure()
    if loss is None:
        raise OptionError(f"{op}.step: the closure returned nothing; it clears the gradients, computes the loss, calls "
                          "backward() and returns the loss")
    return loss


# ----- groups and state ----------------------------------------------------------------------------------------------

class Group(MutableMapping[str, Any]):
    """Some parameters and their options, as a dict: ``group["lr"] = 0.1``.

    ``cell`` holds the options as numbers, in the order of the optimizer's ``ranges``: an assigned value is checked and
    written there, where the kernel reads it. ``rows`` holds (parameter, *state), and ``steps`` the numbers that are
    counted for each parameter, its steps first, if the rule counts them.
    """

    def __init__(self, rule: type[KernelOptimizer], params: Iterable[Tensor], options: Options) -> None:
        rule.check(options)
        self.rule, self.params, self.options = rule, tuple(params), plain_options(options)
        self.cell = Tensor(rule.numbers(self.options))
        self.steps: Tensor | None = None
        self.step_of: list[Tensor | None] = [None] * (len(rule.counted) * len(self.params))    # one view of each number
        self.rows: list[tuple[Any, ...]] = [(p, *[None] * self._count_state()) for p in self.params]
        self.launch: list[Any] = [self.cell, None, self.rows]           # what `update` reads
        self._settle()

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Take over a group that was pickled, perhaps by a version with fewer options."""
        vars(self).update(state)
        self.options = self.rule._completed(self.options)
        numbers = self.rule.numbers(self.options)
        if self.cell.size != len(numbers):
            self.cell = self.launch[0] = Tensor(numbers)
            self.rows[:] = [(*row, *[None] * (1 + self._count_state() - len(row))) for row in self.rows]

    def _count_state(self) -> int:
        """How many tensors of its own shape a parameter may have as state."""
        return len(self.rule.slots(self.options).keys() - set(self.rule.counted))

    def _settle(self) -> None:
        """Let the cell and the state follow the options: make the state that they need, drop the rest."""
        self.cell.copy_(self.rule.numbers(self.options))
        slots = self.rule.slots(self.options)
        counts = [slots.pop(name) if name else 0.0 for name in self.rule.counted]
        if (counts[0] is None) != (self.steps is None):
            change_world()
            starts = np.tile(np.array(counts, "float64"), len(self.params))
            self.launch[1] = self.steps = Tensor(starts) if self.steps is None else None
            self.step_of = [None] * starts.size if self.steps is None else list(self.steps)
        for k, start in enumerate(slots.values(), 1):
            if self.rows and (start is None) != (self.rows[0][k] is None):
                change_world()
                self.rows[:] = [(*row[:k], None if start is None else _filled(row[0], start), *row[k + 1:])
                                for row in self.rows]

    def states(self) -> Iterator[tuple[Tensor, Mapping[str, Tensor]]]:
        """(parameter, {name: tensor}), the tensors themselves."""
        counted = self.rule.counted
        names = [*counted, *(name for name in self.rule.slots(self.options) if name not in counted)]
        for k, row in enumerate(self.rows):
            tensors = (*self.step_of[k * len(counted):(k + 1) * len(counted)], *row[1:])
            yield row[0], MappingProxyType({name: t for name, t in zip(names, tensors) if name and t is not None})

    def __getitem__(self, option: str) -> Any:
        if option == "params":
            return self.params
        self._note(option)
        return self.options[option]

    def _note(self, option: str) -> None:
        """A captured call that reads an option depends on it."""
        note_read(self, self.options, option, self.options.get(option), f"{self.rule.__name__} option {option!r}")

    def __setitem__(self, option: str, value: Any) -> None:
        if option == "params":
            raise OptionError(f"{self.rule.__name__}: the parameters of a group are fixed; add_param_group adds more")
        changed = plain_options(self.options | {option: settled(value)})
        self.rule.check(changed)
        for other in self.options:              # all of them are written to the cell
            if other != option:
                self._note(other)
        self.options.update(changed)
        note_write(self.options, option)
        self._settle()

    def __delitem__(self, option: str) -> None:
        raise OptionError(f"{self.rule.__name__}: {option!r} cannot be taken out of a group")

    def __iter__(self) -> Iterator[str]:
        yield "params"
        yield from self.options

    def __len__(self) -> int:
        return 1 + len(self.options)

    def __repr__(self) -> str:
        return repr(dict(self))


def _filled(p: Tensor, start: float) -> Tensor:
    """State of ``p`` at its start."""
    return Tensor(np.full(p.shape, start, p.dtype))


def _copied(value: Any) -> Any:
    """A copy of state: tensors, and lists and dicts of them."""
    if isinstance(value, Tensor):
        return value.detach().clone()
    if isinstance(value, Mapping):
        return {key: _copied(item) for key, item in value.items()}
    return [_copied(item) for item in value] if isinstance(value, list) else value


@note_attributes_of
class Optimizer:
    """The base of optimizers: groups of parameters with their options, state, saving and loading.

    ``params``: an iterable of leaf float Tensors or of pairs (name, Tensor), or of dicts ``{"params": [...], option:
    value}``; ``defaults``: the options of a group that does not name them. Groups stand in ``param_groups`` (set
    ``group["lr"]`` to change a rate), and ``state[parameter]`` is a dict. A subclass defines ``step``:

    >>> import microgradx as mgx
    >>> from microgradx import optim
    >>> class SignDescent(optim.Optimizer):
    ...     def __init__(self, params, lr=0.5):
    ...         super().__init__(params, dict(lr=lr))
    ...     @mgx.no_grad()
    ...     def step(self):
    ...         for group in self.param_groups:
    ...             for p in group["params"]:
    ...                 p.add_(p.grad.sign(), alpha=-group["lr"])
    >>> w = mgx.Tensor([1.0, -2.0], requires_grad=True)
    >>> w.square().sum().backward()
    >>> SignDescent([w]).step()
    >>> w
    Tensor([ 0.5, -1.5], requires_grad=True)

    Raises ``OptionError`` for no parameters or one given twice; ``DTypeError`` for a parameter that is no float Tensor;
    ``GraphError`` for the result of an operation.
    """

    def __init__(self, params: Params, defaults: Options) -> None:
        if isinstance(params, Tensor) or not hasattr(params, "__iter__"):
            raise DTypeError(f"{type(self).__name__}: params is an iterable of Tensors, not one "
                             f"{type(params).__name__}; put it in a list")
        self.defaults = dict(defaults)
        self.param_groups: list[Any] = []
        self._state: defaultdict[Tensor, dict[str, Any]] = defaultdict(dict)
        groups: list[Any] = list(params)
        if not groups:
            raise OptionError(f"{type(self).__name__}: no parameters were given: the iterator is empty; does the "
                              "module have any, and was the iterator used before?")
        for group in groups if isinstance(groups[0], Mapping) else [{"params": groups}]:
            self.add_param_group(group)

    def add_param_group(self, param_group: Mapping[str, Any]) -> None:
        """Optimize more parameters: ``{"params": [...], option: value}``; options not named take the defaults."""
        name = type(self).__name__
        if not isinstance(param_group, Mapping) or "params" not in param_group:
            raise DTypeError(f"{name}: a group is a dict with 'params', not {param_group!r:.60}")
        params = param_group["params"]
        params = [params] if isinstance(params, Tensor) else [
            p[1] if isinstance(p, tuple) and len(p) == 2 else p for p in params]
        seen = {p for group in self.param_groups for p in group["params"]}
        for p in params:
            if not isinstance(p, Tensor) or p.dtype.kind != "f":
                raise DTypeError(f"{name}: a parameter is a float Tensor, not "
                                 f"{p.dtype if isinstance(p, Tensor) else described(p)}")
            if not p.is_leaf:
                raise GraphError(f"{name}: a parameter of shape {p.shape} is the result of an operation; only leaves "
                                 "are optimized")
            if p in seen:
                raise OptionError(f"{name}: a parameter of shape {p.shape} was given twice")
            seen.add(p)
        group = self._group(params, self.defaults | {k: v for k, v in param_group.items() if k != "params"})
        change_world()
        self.param_groups.append(group)

    def _group(self, params: list[Tensor], options: dict[str, Any]) -> MutableMapping[str, Any]:
        """A new group."""
        self.check(options)
        return {"params": params, **options}

    @classmethod
    def check(cls, options: Options) -> None:
        """Raise ``OptionError`` for an option that is unknown or out of its range; here, for none."""

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Update the parameters."""
        raise NotImplementedError_(f"{type(self).__name__} defines no step")

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget all gradients, or fill them with 0."""
        for group in self.param_groups:
            for p in group["params"]:
                if set_to_none or p.grad is None:
                    p.grad = None
                else:
                    p.grad.data.zero_()

    @property
    def state(self) -> Any:
        """{parameter: {name: state}}; a parameter without any has an empty dict."""
        return self._state

    def state_dict(self) -> dict[str, Any]:
        """{"state": {number: {...}}, "param_groups": [...]}: copies, with parameters by their number."""
        numbers = {p: k for k, p in enumerate(p for group in self.param_groups for p in group["params"])}
        return {"state": {numbers[p]: _copied(own) for p, own in self.state.items()},
                "param_groups": [dict(group) | {"params": [numbers[p] for p in group["params"]]}
                                 for group in self.param_groups]}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Take over the ``state_dict`` of an optimizer for the same parameters. All fits or nothing changes."""
        groups, states = self._groups_of(state_dict)
        for group, options in zip(self.param_groups, groups):
            group.update(options)
        params = [p for group in self.param_groups for p in group["params"]]
        self._state = defaultdict(dict, {params[number]: _copied(own) for number, own in states.items()})

    def _groups_of(self, state_dict: Mapping[str, Any]) -> tuple[list[dict[str, Any]], Any]:
        """The options of each group and the states of a ``state_dict`` for the same parameters."""
        name = type(self).__name__
        try:
            groups = [{k: v for k, v in group.items() if k != "params"} for group in state_dict["param_groups"]]
            sizes, states = [len(group["params"]) for group in state_dict["param_groups"]], state_dict["state"]
        except (AttributeError, KeyError, TypeError):
            raise DTypeError(f"{name}: load_state_dict takes what state_dict gave") from None
        own = [len(group["params"]) for group in self.param_groups]
        if sizes != own:
            raise OptionError(f"{name}: groups of {own} parameters, the state has {sizes} ({own} != {sizes})")
        if not isinstance(states, Mapping) or any(number not in range(sum(own)) for number in states):
            raise DTypeError(f"{name}: load_state_dict: the state is a dict by the numbers of {sum(own)} parameters")
        return groups, states

    def register_step_pre_hook(self, hook: Callable[..., Any]) -> Handle:
        """Call ``hook(optimizer, args, kwargs)`` before each ``step``; a pair that it returns takes the place of the
        arguments. The first of ``args`` is the optimizer. Returns a handle, whose ``remove()`` takes the hook out."""
        return self._add_step_hook(0, hook)

    def register_step_post_hook(self, hook: Callable[..., Any]) -> Handle:
        """Call ``hook(optimizer, args, kwargs)`` after each ``step``. Returns a handle with ``remove()``.

        >>> import microgradx as mgx
        >>> from microgradx import optim
        >>> w = mgx.Tensor([1.0], requires_grad=True)
        >>> step = optim.SGD([w], lr=0.5)
        >>> handle = step.register_step_post_hook(lambda optimizer, args, kwargs: print(w))
        >>> (3 * w).sum().backward()
        >>> step.step()
        tensor([-0.5000], requires_grad=True)
        """
        return self._add_step_hook(1, hook)

    def _add_step_hook(self, when: int, hook: Callable[..., Any]) -> Handle:
        """Register a hook. An optimizer without hooks does not look for any: the first one puts a ``HookedStep`` around
        the ``step`` that there is."""
        if not callable(hook):
            raise DTypeError(f"{type(self).__name__}: a hook is a function, not {described(hook)}")
        change_world()
        hooks: tuple[Hooks, Hooks] | None = vars(self).get("_step_hooks")
        if hooks is None:
            hooks = self._step_hooks = Hooks(), Hooks()             # before, after
            self.step = HookedStep(self, self.step, hooks)          # type: ignore[method-assign]
        return Handle(hooks[when], hook)

    def __repr__(self) -> str:
        """torch's text: a line for each option of each group, by name."""
        lines = [line for k, group in enumerate(self.param_groups) for line in (
            f"Parameter Group {k}", *(f"    {option}: {group[option]}" for option in sorted(group)
                                      if option != "params"), "")]
        return "\n".join([f"{type(self).__name__} (", *lines[:-1], ")"])


class HookedStep:
    """``optimizer.step`` between its hooks."""

    def __init__(self, optimizer: Optimizer, step: Callable[..., Any], hooks: tuple[Hooks, Hooks]) -> None:
        self.optimizer, self.step, self.hooks = optimizer, step, hooks

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        before, after = self.hooks
        args = self.optimizer, *args
        for hook in tuple(before.values()):
            changed = hook(self.optimizer, args, kwargs)
            if changed is not None:
                args, kwargs = self.checked(changed)
        result = self.step(*args[1:], **kwargs)
        for hook in tuple(after.values()):
            hook(self.optimizer, args, kwargs)
        return result

    def checked(self, changed: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """The pair that a hook gives for (args, kwargs)."""
        if isinstance(changed, tuple) and len(changed) == 2:
            args, kwargs = changed
            if isinstance(args, tuple) and args[:1] == (self.optimizer,) and isinstance(kwargs, dict):
                return args, kwargs
        raise DTypeError(f"{type(self.optimizer).__name__}: a hook before the step returns None or (args, kwargs), a "
                         f"tuple that begins with the optimizer and a dict, not {described(changed)}")


class KernelOptimizer(Optimizer):
    """An optimizer whose update is a row of csrc/kernels.def: one launch updates a parameter, whatever its options are.

    State is there from the start, in ``state[parameter]`` by name: read it, or write into its tensors. ``foreach``,
    ``fused`` and ``capturable``, which are ways in which torch computes the same numbers, are options of the group that
    nothing reads; a rate that is a tensor of one number is read once.

    Raises, besides what ``Optimizer`` does, ``OptionError`` for an option out of range and ``ShapeError`` for a
    parameter that does not lie in order in memory.
    """
    kernel = ""                             # its row in csrc/kernels.def
    ranges: dict[str, Range] = {}           # of the options, in the order in which the kernel reads them
    neutral: Options = CAPTURABLE           # how torch computes a step: what of it the rule takes, and the default
    later: Options = {}                     # the options that a state of version 0.1 does not have, as it was then
    counted: tuple[str | None, ...] = ("step",)     # the numbers that it counts for each parameter; None is internal

    @staticmethod
    def slots(options: Options) -> dict[str, float | None]:
        """{name: the number that a parameter's state starts from, None if these options need none}."""
        raise NotImplementedError

    def __init__(self, params: Params, **defaults: Any) -> None:
        for option in defaults:
            if option not in self.ranges and option not in self.neutral:
                raise ArgumentError(f"{type(self).__name__}: no argument is called {option!r}; there are params, "
                                    f"{', '.join((*self.ranges, *self.neutral))}")
        self._launches: list[list[Any]] = []
        super().__init__(params, defaults | {k: v for k, v in self.neutral.items() if k not in defaults})

    def _group(self, params: list[Tensor], options: dict[str, Any]) -> Group:
        for p in params:
            if p.contiguous() is not p:
                raise ShapeError(f"{type(self).__name__}: a parameter of shape {p.shape} does not lie in order in "
                                 "memory; Tensor(p) gives a copy that does")
        group = Group(type(self), params, options)
        self._launches.append(group.launch)
        return group

    @classmethod
    def check(cls, options: Options) -> None:
        """Raise ``OptionError`` for an option out of its range, or called by another name.

        Other entries of a group are notes, such as ``{"params": [...], "name": "head"}``, and nothing reads them.
        """
        ranges = cls.ranges | SHARED | NEUTRAL
        for option, value in options.items():
            if option not in ranges:
                meant = MISTAKEN.get(option) or next(iter(difflib.get_close_matches(option, cls.ranges, 1, 0.75)), None)
                if meant in cls.ranges:
                    raise OptionError(f"{cls.__name__}: no option is called {option!r}; {meant} may be meant, of "
                                      f"{', '.join(cls.ranges)}")
                continue                        # a note of the caller's, as torch keeps it
            allowed, words = ranges[option]
            try:
                fits = allowed(value)
            except (TypeError, ValueError):
                fits = False
            if not fits:
                raise OptionError(f"{cls.__name__}: {option}={value!r} is not {words}")

    @classmethod
    def _completed(cls, options: dict[str, Any]) -> dict[str, Any]:
        """Options that version 0.1 saved, and those that came later."""
        return {**cls.neutral, **cls.later, **options}

    @classmethod
    def numbers(cls, options: Options) -> npt.NDArray[np.float64]:
        """The options as the kernel reads them; a pair takes two places."""
        return np.hstack([np.asarray(options[option], "float64") for option in cls.ranges])

    def step(self, closure: Callable[[], Loss] | None = None) -> Loss | None:
        """Update every parameter that has a gradient. All fits or nothing changes.

        ``closure``: a function that computes the loss and its gradients, called first; ``step`` returns its loss.
        """
        loss = None if closure is None else evaluated(type(self).__name__, closure)
        update(self.kernel, self._launches)
        return loss

    @property
    def state(self) -> dict[Tensor, Mapping[str, Tensor]]:
        """{parameter: {name: tensor}}: its state. Write into the tensors; they cannot be exchanged."""
        return {p: own for group in self.param_groups for p, own in group.states()}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Take over what ``state_dict`` of an optimizer for the same parameters gave. All fits or nothing changes."""
        name = type(self).__name__
        groups, states = self._groups_of(state_dict)
        groups = [self._completed(plain_options(options)) for options in groups]
        arrays, k = [], 0                       # one dict per parameter
        for group, options in zip(self.param_groups, groups):
            self.check(options)
            if not set(options) >= set(self.ranges):
                raise OptionError(f"{name}: options {sorted(self.ranges)}, the state has {sorted(options)}")
            needed = {slot for slot, start in self.slots(options).items() if start is not None}
            for p in group.params:
                theirs = states.get(k, {})
                if set(theirs) != needed:
                    raise OptionError(f"{name}: parameter {k} needs {sorted(needed)}, the state has {sorted(theirs)}")
                arrays.append({slot: np.asarray(value) for slot, value in theirs.items()})
                for slot, array in arrays[-1].items():
                    shape = () if slot in self.counted else p.shape
                    if array.shape != shape or array.dtype.kind not in "fiu":
                        raise ShapeError(f"{name}: {slot} of parameter {k} is of shape {shape}, the state's "
                                         f"{array.dtype} of shape {array.shape} ({shape} != {array.shape})")
                k += 1
        for group, options in zip(self.param_groups, groups):
            group.options.clear()
            group.options.update(options)
            group._settle()
        change_world()
        with no_grad():
            for mine, theirs in zip(self.state.values(), arrays):
                for slot, array in theirs.items():
                    mine[slot].copy_(array)


# ----- the rules -----------------------------------------------------------------------------------------------------

@composite("sgd")
def sgd_in_operations(g: Tensor, cell: Tensor, step: Tensor, w: Tensor, v: Tensor | None,
                      **sizes: int) -> tuple[Tensor | None, ...]:
    lr, momentum, dampening, decay, nesterov, maximize = cell.tolist()
    slope = (-g if maximize else g) + decay * w
    if v is None:
        return w - lr * slope, None
    v = momentum * v + (1 - dampening if step.item() > 1 else 1) * slope
    return w - lr * (slope + momentum * v if nesterov else v), v


class SGD(KernelOptimizer):
    """Gradient descent: w = w - lr g, where ``weight_decay`` w is added to the gradient g.

    With ``momentum``: v = momentum v + (1 - dampening) g, at the first step v = g, and w = w - lr v; with ``nesterov``
    w = w - lr (g + momentum v), Sutskever et al. (2013) as torch rewrites it. ``maximize`` climbs: it turns the sign of
    the gradient, as in all optimizers here.

    >>> import microgradx as mgx
    >>> from microgradx import optim
    >>> w = mgx.Tensor([1.0, -2.0], requires_grad=True)
    >>> step = optim.SGD([w], lr=0.25)
    >>> w.square().sum().backward()
    >>> step.step()
    >>> w
    Tensor([ 0.5, -1. ], requires_grad=True)
    """
    kernel = "sgd"
    neutral = FUSED
    ranges = dict(lr=NOT_NEGATIVE, momentum=NOT_NEGATIVE, dampening=NOT_NEGATIVE, weight_decay=NOT_NEGATIVE,
                  nesterov=FLAG, maximize=FLAG)
    later = dict(maximize=False)

    def __init__(self, params: Params, lr: float = 1e-3, momentum: float = 0, dampening: float = 0,
                 weight_decay: float = 0, nesterov: bool = False, *, maximize: bool = False,
                 **neutral: Unpack[Neutral]) -> None:
        super().__init__(params, lr=lr, momentum=momentum, dampening=dampening, weight_decay=weight_decay,
                         nesterov=nesterov, maximize=maximize, **neutral)

    @staticmethod
    def slots(options: Options) -> dict[str, float | None]:
        start = 0.0 if options["momentum"] else None
        return {"step": start, "momentum_buffer": start}

    @classmethod
    def check(cls, options: Options) -> None:
        super().check(options)
        if options["nesterov"] and (options["momentum"] == 0 or options["dampening"] != 0):
            raise OptionError(f"SGD: nesterov needs momentum > 0 and dampening 0, not {options['momentum']} and "
                              f"{options['dampening']}")


@composite("rmsprop")
def rmsprop_in_operations(g: Tensor, cell: Tensor, w: Tensor, s: Tensor, m: Tensor | None, v: Tensor | None,
                          **sizes: int) -> tuple[Tensor | None, ...]:
    lr, alpha, eps, decay, momentum, _, maximize = cell.tolist()
    slope = (-g if maximize else g) + decay * w
    s = alpha * s + (1 - alpha) * slope.square()
    m = None if m is None else m + (1 - alpha) * (slope - m)
    move = slope / ((s if m is None else (s - m.square()).relu()).sqrt() + eps)
    v = None if v is None else momentum * v + move
    return w - lr * (move if v is None else v), s, m, v


class RMSprop(KernelOptimizer):
    """The gradient over the root of its mean square: s = alpha s + (1 - alpha) g^2, w = w - lr g / (sqrt(s) + eps).

    ``centered`` subtracts the square of the mean gradient from s: the variance (Graves 2013); with ``momentum`` the
    quotient feeds v = momentum v + quotient, and w = w - lr v. ``weight_decay`` w is added to g. Tieleman and Hinton
    (2012), lecture 6.5.

    >>> import microgradx as mgx
    >>> from microgradx import optim
    >>> w = mgx.Tensor([1.0, -2.0], requires_grad=True)
    >>> step = optim.RMSprop([w], lr=0.05, alpha=0.99)
    >>> w.square().sum().backward()
    >>> step.step()
    >>> w                                   # the first step is lr / sqrt(1 - alpha)
    Tensor([ 0.5, -1.5], requires_grad=True)
    """
    kernel = "rmsprop"
    ranges = dict(lr=NOT_NEGATIVE, alpha=NOT_NEGATIVE, eps=NOT_NEGATIVE, weight_decay=NOT_NEGATIVE,
                  momentum=NOT_NEGATIVE, centered=FLAG, maximize=FLAG)
    later = dict(maximize=False)

    def __init__(self, params: Params, lr: float = 1e-2, alpha: float = 0.99, eps: float = 1e-8,
                 weight_decay: float = 0, momentum: float = 0, centered: bool = False, *, maximize: bool = False,
                 **neutral: Unpack[Neutral]) -> None:
        super().__init__(params, lr=lr, alpha=alpha, eps=eps, weight_decay=weight_decay, momentum=momentum,
                         centered=centered, maximize=maximize, **neutral)

    @staticmethod
    def slots(options: Options) -> dict[str, float | None]:
        return {"step": None, "square_avg": 0.0, "grad_avg": 0.0 if options["centered"] else None,
                "momentum_buffer": 0.0 if options["momentum"] else None}


@composite("adagrad")
def adagrad_in_operations(g: Tensor, cell: Tensor, step: Tensor, w: Tensor, s: Tensor,
                          **sizes: int) -> tuple[Tensor, ...]:
    lr, lr_decay, decay, _, eps, maximize = cell.tolist()
    slope = (-g if maximize else g) + decay * w
    s = s + slope.square()
    return w - lr / (1 + (step.item() - 1) * lr_decay) * slope / (s.sqrt() + eps), s


class Adagrad(KernelOptimizer):
    """The gradient over the root of the sum of all its squares: s = s + g^2, w = w - lr_t g / (sqrt(s) + eps).

    s starts at ``initial_accumulator_value``; lr_t = lr / (1 + (t - 1) lr_decay) at step t; ``weight_decay`` w is
    added to g. Duchi, Hazan and Singer (2011).

    >>> import microgradx as mgx
    >>> from microgradx import optim
    >>> w = mgx.Tensor([1.0, -2.0], requires_grad=True)
    >>> step = optim.Adagrad([w], lr=0.5)
    >>> w.square().sum().backward()
    >>> step.step()
    >>> w                                   # the first step is lr, whatever the gradient
    Tensor([ 0.5, -1.5], requires_grad=True)
    """
    kernel = "adagrad"
    neutral = FUSED
    ranges = dict(lr=NOT_NEGATIVE, lr_decay=NOT_NEGATIVE, weight_decay=NOT_NEGATIVE,
                  initial_accumulator_value=NOT_NEGATIVE, eps=NOT_NEGATIVE, maximize=FLAG)
    later = dict(maximize=False)

    def __init__(self, params: Params, lr: float = 1e-2, lr_decay: float = 0, weight_decay: float = 0,
                 initial_accumulator_value: float = 0, eps: float = 1e-10, *, maximize: bool = False,
                 **neutral: Unpack[Neutral]) -> None:
        super().__init__(params, lr=lr, lr_decay=lr_decay, weight_decay=weight_decay,
                         initial_accumulator_value=initial_accumulator_value, eps=eps, maximize=maximize, **neutral)

    @staticmethod
    def slots(options: Options) -> dict[str, float | None]:
        return {"step": 0.0, "sum": options["initial_accumulator_value"]}


@composite("adam")
def adam_in_operations(g: Tensor, cell: Tensor, step: Tensor, w: Tensor, m: Tensor, v: Tensor, u: Tensor | None,
                       **sizes: int) -> tuple[Tensor | None, ...]:
    lr, beta1, beta2, eps, decay, _, decoupled, maximize = cell.tolist()
    g = -g if maximize else g
    slope, w = (g, (1 - lr * decay) * w) if decoupled else (g + decay * w, w)
    m, v = beta1 * m + (1 - beta1) * slope, beta2 * v + (1 - beta2) * slope.square()
    u = None if u is None else u.maximum(v)
    root = ((v if u is None else u) / (1 - beta2 ** step.item())).sqrt()
    return w - lr * m / (1 - beta1 ** step.item()) / (root + eps), m, v, u


class Adam(KernelOptimizer):
    """Adaptive moments: Kingma and Ba (2015), algorithm 1; ``weight_decay`` w is added to the gradient.

    m and v are running means of the gradient and of its square, with the rates ``betas``; divided by 1 - beta^t, which
    frees them of their start at 0, they give w = w - lr m / (sqrt(v) + eps). ``amsgrad`` takes the largest v so far
    (Reddi, Kale and Kumar 2018). With ``decoupled_weight_decay`` it is ``AdamW``.

    >>> import microgradx as mgx
    >>> from microgradx import optim
    >>> w = mgx.Tensor([1.0, -2.0], requires_grad=True)
    >>> step = optim.Adam([w], lr=0.5)
    >>> w.square().sum().backward()
    >>> step.step()
    >>> w                                   # the first step is lr, whatever the gradient
    Tensor([ 0.5, -1.5], requires_grad=True)
    """
    kernel = "adam"
    neutral = {**CAPTURABLE, **FUSED}
    ranges = dict(lr=NOT_NEGATIVE, betas=FRACTIONS, eps=NOT_NEGATIVE, weight_decay=NOT_NEGATIVE, amsgrad=FLAG,
                  decoupled_weight_decay=FLAG, maximize=FLAG)
    later = dict(amsgrad=False, decoupled_weight_decay=False, maximize=False)

    def __init__(self, params: Params, lr: float = 1e-3, betas: tuple[float, float] = (0.9, 0.999), eps: float = 1e-8,
                 weight_decay: float = 0, amsgrad: bool = False, *, maximize: bool = False,
                 decoupled_weight_decay: bool = False, **neutral: Unpack[Neutral]) -> None:
        super().__init__(params, lr=lr, betas=betas, eps=eps, weight_decay=weight_decay, amsgrad=amsgrad,
                         decoupled_weight_decay=decoupled_weight_decay, maximize=maximize, **neutral)

    @staticmethod
    def slots(options: Options) -> dict[str, float | None]:
        return {"step": 0.0, "exp_avg": 0.0, "exp_avg_sq": 0.0, "max_exp_avg_sq": 0.0 if options["amsgrad"] else None}


class AdamW(Adam):
    """Adam whose decay does not pass through the moments: w shrinks by lr ``weight_decay`` w by itself.

    Loshchilov and Hutter (2019), with the shrinking scaled by lr, as in torch.

    >>> import microgradx as mgx
    >>> from microgradx import optim
    >>> w = mgx.Tensor([1.0, -2.0], requires_grad=True)
    >>> step = optim.AdamW([w], lr=0.5, weight_decay=0.5)
    >>> (w * 0.0).sum().backward()
    >>> step.step()
    >>> w
    Tensor([ 0.75, -1.5 ], requires_grad=True)
    """
    later = dict(amsgrad=False, decoupled_weight_decay=True, maximize=False)

    def __init__(self, params: Params, lr: float = 1e-3, betas: tuple[float, float] = (0.9, 0.999), eps: float = 1e-8,
                 weight_decay: float = 1e-2, amsgrad: bool = False, *, maximize: bool = False,
                 **neutral: Unpack[Neutral]) -> None:
        super().__init__(params, lr, betas, eps, weight_decay, amsgrad, maximize=maximize,
                         decoupled_weight_decay=True, **neutral)


@composite("adamax")
def adamax_in_operations(g: Tensor, cell: Tensor, step: Tensor, w: Tensor, m: Tensor, u: Tensor,
                         **sizes: int) -> tuple[Tensor, ...]:
    lr, beta1, beta2, eps, decay, maximize = cell.tolist()
    slope = (-g if maximize else g) + decay * w
    m, u = beta1 * m + (1 - beta1) * slope, (beta2 * u).maximum(slope.abs() + eps)
    return w - lr / (1 - beta1 ** step.item()) * m / u, m, u


class Adamax(KernelOptimizer):
    """Adam by the largest gradient: u = max(beta2 u, abs(g) + eps), w = w - lr m / ((1 - beta1^t) u).

    Kingma and Ba (2015), algorithm 2, with eps inside the maximum, as in torch.

    >>> import microgradx as mgx
    >>> from microgradx import optim
    >>> w = mgx.Tensor([1.0, -2.0], requires_grad=True)
    >>> step = optim.Adamax([w], lr=0.5)
    >>> w.square().sum().backward()
    >>> step.step()
    >>> w                                   # the first step is lr, whatever the gradient
    Tensor([ 0.5, -1.5], requires_grad=True)
    """
    kernel = "adamax"
    ranges = dict(lr=NOT_NEGATIVE, betas=FRACTIONS, eps=NOT_NEGATIVE, weight_decay=NOT_NEGATIVE, maximize=FLAG)

    def __init__(self, params: Params, lr: float = 2e-3, betas: tuple[float, float] = (0.9, 0.999), eps: float = 1e-8,
                 weight_decay: float = 0, *, maximize: bool = False, **neutral: Unpack[Neutral]) -> None:
        super().__init__(params, lr=lr, betas=betas, eps=eps, weight_decay=weight_decay, maximize=maximize, **neutral)

    @staticmethod
    def slots(options: Options) -> dict[str, float | None]:
        return {"step": 0.0, "exp_avg": 0.0, "exp_inf": 0.0}


def nadam_momentum(t: float, cell: Tensor) -> float:
    """The momentum of step t: it grows towards beta1."""
    beta1, momentum_decay = cell.tolist()[1], cell.tolist()[5]
    return float(beta1 * (1 - 0.5 * 0.96 ** (t * momentum_decay)))


@composite("count_nadam")
def count_nadam_in_operations(cell: Tensor, step: Tensor, **sizes: int) -> Tensor:
    own = np.array(step.tolist()).reshape(-1, 2)
    return Tensor(np.stack([own[:, 0] + 1, [m * nadam_momentum(t + 1, cell) for t, m in own]], 1).ravel())


@composite("nadam")
def nadam_in_operations(g: Tensor, cell: Tensor, step: Tensor, w: Tensor, m: Tensor, v: Tensor,
                        **sizes: int) -> tuple[Tensor, ...]:
    lr, beta1, beta2, eps, decay, _, decoupled, maximize = cell.tolist()
    (t, product), g = step.tolist(), -g if maximize else g
    now, after = nadam_momentum(t, cell), nadam_momentum(t + 1, cell)
    slope, w = (g, (1 - lr * decay) * w) if decoupled else (g + decay * w, w)
    m, v = beta1 * m + (1 - beta1) * slope, beta2 * v + (1 - beta2) * slope.square()
    move = (1 - now) / (1 - product) * slope + after / (1 - product * after) * m
    return w - lr * move / ((v / (1 - beta2 ** t)).sqrt() + eps), m, v


class NAdam(KernelOptimizer):
    """Adam with Nesterov's momentum: Dozat (2016), whose momentum mu_t = beta1 (1 - 0.96^(t ``momentum_decay``) / 2).

    w = w - lr ((1 - mu_t) / (1 - M_t) g + mu_(t+1) / (1 - M_(t+1)) m) / (sqrt(v) + eps), with M_t the product of mu_1
    to mu_t, m and v as in ``Adam``. With ``decoupled_weight_decay`` the decay is that of ``AdamW``.

    >>> import microgradx as mgx
    >>> from microgradx import optim
    >>> w = mgx.Tensor([1.0, -2.0], requires_grad=True)
    >>> step = optim.NAdam([w], lr=0.5)
    >>> w.square().sum().backward()
    >>> step.step()
    >>> [round(x, 4) for x in w.tolist()]
    [0.4718, -1.4718]
    """
    kernel, counted = "nadam", ("step", "mu_product")
    ranges = dict(lr=NOT_NEGATIVE, betas=FRACTIONS, eps=NOT_NEGATIVE, weight_decay=NOT_NEGATIVE,
                  momentum_decay=NOT_NEGATIVE, decoupled_weight_decay=FLAG, maximize=FLAG)

    def __init__(self, params: Params, lr: float = 2e-3, betas: tuple[float, float] = (0.9, 0.999), eps: float = 1e-8,
                 weight_decay: float = 0, momentum_decay: float = 4e-3, decoupled_weight_decay: bool = False, *,
                 maximize: bool = False, **neutral: Unpack[Neutral]) -> None:
        super().__init__(params, lr=lr, betas=betas, eps=eps, weight_decay=weight_decay, momentum_decay=momentum_decay,
                         decoupled_weight_decay=decoupled_weight_decay, maximize=maximize, **neutral)

    @staticmethod
    def slots(options: Options) -> dict[str, float | None]:
        return {"step": 0.0, "mu_product": 1.0, "exp_avg": 0.0, "exp_avg_sq": 0.0}


@composite("radam")
def radam_in_operations(g: Tensor, cell: Tensor, step: Tensor, w: Tensor, m: Tensor, v: Tensor,
                        **sizes: int) -> tuple[Tensor, ...]:
    lr, beta1, beta2, eps, decay, decoupled, maximize = cell.tolist()
    t, g = step.item(), -g if maximize else g
    slope, w = (g, (1 - lr * decay) * w) if decoupled else (g + decay * w, w)
    m, v = beta1 * m + (1 - beta1) * slope, beta2 * v + (1 - beta2) * slope.square()
    most = 2 / (1 - beta2) - 1
    now = most - 2 * t * beta2 ** t / (1 - beta2 ** t)
    move = lr * m / (1 - beta1 ** t)
    if now > 5:
        rectified = ((now - 4) * (now - 2) * most / ((most - 4) * (most - 2) * now) * (1 - beta2 ** t)) ** 0.5
        move = move * rectified / (v.sqrt() + eps)
    return w - move, m, v


class RAdam(KernelOptimizer):
    """Rectified Adam: Liu et al. (2020), algorithm 2. The first steps are lr m, until the variance of 1 / sqrt(v) is
    defined; from then on those of ``Adam``, shortened by as much as that variance is larger than it will be.

    With ``decoupled_weight_decay`` the decay is that of ``AdamW``.

    >>> import microgradx as mgx
    >>> from microgradx import optim
    >>> w = mgx.Tensor([1.0, -2.0], requires_grad=True)
    >>> step = optim.RAdam([w], lr=0.25)
    >>> w.square().sum().backward()
    >>> step.step()
    >>> w                                   # at first the gradient's own length counts
    Tensor([ 0.5, -1. ], requires_grad=True)
    """
    kernel = "radam"
    ranges = dict(lr=NOT_NEGATIVE, betas=FRACTIONS, eps=NOT_NEGATIVE, weight_decay=NOT_NEGATIVE,
                  decoupled_weight_decay=FLAG, maximize=FLAG)

    def __init__(self, params: Params, lr: float = 1e-3, betas: tuple[float, float] = (0.9, 0.999), eps: float = 1e-8,
                 weight_decay: float = 0, decoupled_weight_decay: bool = False, *, maximize: bool = False,
                 **neutral: Unpack[Neutral]) -> None:
        super().__init__(params, lr=lr, betas=betas, eps=eps, weight_decay=weight_decay,
                         decoupled_weight_decay=decoupled_weight_decay, maximize=maximize, **neutral)

    @staticmethod
    def slots(options: Options) -> dict[str, float | None]:
        return {"step": 0.0, "exp_avg": 0.0, "exp_avg_sq": 0.0}


@composite("adadelta")
def adadelta_in_operations(g: Tensor, cell: Tensor, w: Tensor, s: Tensor, d: Tensor,
                           **sizes: int) -> tuple[Tensor, ...]:
    lr, rho, eps, decay, maximize = cell.tolist()
    slope = (-g if maximize else g) + decay * w
    s = rho * s + (1 - rho) * slope.square()
    move = (d + eps).sqrt() / (s + eps).sqrt() * slope
    return w - lr * move, s, rho * d + (1 - rho) * move.square()


class Adadelta(KernelOptimizer):
    """Steps in the unit of the parameters: w = w - lr sqrt(d + eps) / sqrt(s + eps) g.

    s and d are running means of the squares of the gradient and of the steps, with the rate ``rho``. Zeiler (2012).

    >>> import microgradx as mgx
    >>> from microgradx import optim
    >>> w = mgx.Tensor([1.0, -2.0], requires_grad=True)
    >>> step = optim.Adadelta([w], rho=0.75, eps=1e-4)
    >>> w.square().sum().backward()
    >>> step.step()
    >>> [round(x, 4) for x in w.tolist()]   # the first step is about sqrt(eps / (1 - rho))
    [0.98, -1.98]
    """
    kernel = "adadelta"
    ranges = dict(lr=NOT_NEGATIVE, rho=(lambda x: 0 <= x <= 1, "a number in [0, 1]"), eps=NOT_NEGATIVE,
                  weight_decay=NOT_NEGATIVE, maximize=FLAG)

    def __init__(self, params: Params, lr: float = 1.0, rho: float = 0.9, eps: float = 1e-6, weight_decay: float = 0,
                 *, maximize: bool = False, **neutral: Unpack[Neutral]) -> None:
        super().__init__(params, lr=lr, rho=rho, eps=eps, weight_decay=weight_decay, maximize=maximize, **neutral)

    @staticmethod
    def slots(options: Options) -> dict[str, float | None]:
        return {"step": None, "square_avg": 0.0, "acc_delta": 0.0}


@composite("rprop")
def rprop_in_operations(g: Tensor, cell: Tensor, step: Tensor, w: Tensor, before: Tensor, length: Tensor,
                        **sizes: int) -> tuple[Tensor, ...]:
    lr, shrink, grow, least, most, maximize = cell.tolist()
    length = length * 0 + lr if step.item() <= 1 else length
    slope = -g if maximize else g
    turn = (slope * before).sign()
    length = (length * (1 + turn.relu() * (grow - 1) - (-turn).relu() * (1 - shrink))).clip(least, most)
    slope = (turn >= 0).where(slope, 0.0)
    return w - length * slope.sign(), slope, length


class Rprop(KernelOptimizer):
    """The sign of the gradient alone: each number has a step of its own, which starts at ``lr``, as it is at first.

    The step is multiplied by ``etas[1]`` where the gradient keeps its sign and by ``etas[0]`` where it turns, where the
    number then waits; it stays within ``step_sizes``. For gradients of the whole data. Riedmiller and Braun (1993).

    >>> import microgradx as mgx
    >>> from microgradx import optim
    >>> w = mgx.Tensor([1.0, -2.0], requires_grad=True)
    >>> step = optim.Rprop([w], lr=0.5)
    >>> w.square().sum().backward()
    >>> step.step()
    >>> w
    Tensor([ 0.5, -1.5], requires_grad=True)
    """
    kernel = "rprop"
    ranges = dict(lr=NOT_NEGATIVE, etas=(lambda e: 0 < e[0] < 1 < e[1] < float("inf") and len(e) == 2,
                                         "two numbers, 0 < etas[0] < 1 < etas[1]"),
                  step_sizes=(lambda s: 0 <= s[0] <= s[1] and len(s) == 2, "two numbers >= 0, the smaller first"),
                  maximize=FLAG)

    def __init__(self, params: Params, lr: float = 1e-2, etas: tuple[float, float] = (0.5, 1.2),
                 step_sizes: tuple[float, float] = (1e-6, 50), *, maximize: bool = False,
                 **neutral: Unpack[Neutral]) -> None:
        super().__init__(params, lr=lr, etas=etas, step_sizes=step_sizes, maximize=maximize, **neutral)

    @staticmethod
    def slots(options: Options) -> dict[str, float | None]:
        return {"step": 0.0, "prev": 0.0, "step_size": options["lr"]}


@composite("count_asgd")
def count_asgd_in_operations(cell: Tensor, step: Tensor, **sizes: int) -> Tensor:
    lr, lambd, alpha, t0, *_ = cell.tolist()
    own = np.array(step.tolist()).reshape(-1, 4)
    t, rate = own[:, 0] + 1, np.where(own[:, 0] > 0, own[:, 1], lr)
    return Tensor(np.stack([t, lr / (1 + lambd * lr * t) ** alpha, 1 / np.maximum(1, t - t0), rate], 1).ravel())


@composite("asgd")
def asgd_in_operations(g: Tensor, cell: Tensor, step: Tensor, w: Tensor, mean: Tensor,
                       **sizes: int) -> tuple[Tensor, ...]:
    _, lambd, _, t0, decay, maximize = cell.tolist()
    t, _, _, rate = step.tolist()
    w = (1 - lambd * rate) * w - rate * ((-g if maximize else g) + decay * w)
    return w, mean + (w - mean) / max(1, t - 1 - t0)


class ASGD(KernelOptimizer):
    """Averaged descent: w = (1 - ``lambd`` r) w - r g with the rate r = lr / (1 + lambd lr t)^alpha, and its mean.

    ``state[p]["ax"]`` is the mean of w over the steps from ``t0`` on, before that w itself. Polyak and Juditsky (1992),
    as torch has it: the rate of a step is that which followed the step before.

    >>> import microgradx as mgx
    >>> from microgradx import optim
    >>> w = mgx.Tensor([1.0, -2.0], requires_grad=True)
    >>> step = optim.ASGD([w], lr=0.25, lambd=0.0)
    >>> w.square().sum().backward()
    >>> step.step()
    >>> w, step.state[w]["ax"]
    (Tensor([ 0.5, -1. ], requires_grad=True), Tensor([ 0.5, -1. ]))
    """
    kernel, counted = "asgd", ("step", "eta", "mu", None)
    ranges = dict(lr=NOT_NEGATIVE, lambd=NOT_NEGATIVE, alpha=NOT_NEGATIVE, t0=NOT_NEGATIVE, weight_decay=NOT_NEGATIVE,
                  maximize=FLAG)

    def __init__(self, params: Params, lr: float = 1e-2, lambd: float = 1e-4, alpha: float = 0.75, t0: float = 1e6,
                 weight_decay: float = 0, *, maximize: bool = False, **neutral: Unpack[Neutral]) -> None:
        super().__init__(params, lr=lr, lambd=lambd, alpha=alpha, t0=t0, weight_decay=weight_decay, maximize=maximize,
                         **neutral)

    @staticmethod
    def slots(options: Options) -> dict[str, float | None]:
        return {"step": 0.0, "eta": options["lr"], "mu": 1.0, "ax": 0.0}


make_public(__name__, "step", "zero_grad")
