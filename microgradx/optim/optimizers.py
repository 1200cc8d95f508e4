"""Optimizers: torch's semantics; one launch updates all parameters of a group.

An optimizer here is a table of options and of what it remembers; its rule is a row of ``csrc/kernels.def``. State is
made when a parameter is added, so steps allocate nothing, and the kernels read options and steps through pointers, so a
step is the same launch whatever their values.
"""
from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, MutableMapping
from types import MappingProxyType
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from microgradx._core.capture.guards import note_attributes_of, note_read, note_write
from microgradx._core.capture.number import settled
from microgradx._core.graph import no_grad
from microgradx._core.launch import change_world, composite
from microgradx._core.tensor import Tensor
from microgradx._core.update import update
from microgradx.errors import DTypeError, GraphError, OptionError, ShapeError, described, name_errors

__all__ = ["SGD", "Adagrad", "Adam", "AdamW", "Optimizer", "RMSprop"]

Options: TypeAlias = Mapping[str, Any]
Params: TypeAlias = Iterable[Tensor] | Iterable[Mapping[str, Any]]
Range: TypeAlias = tuple[Callable[[Any], bool], str]                # is it allowed? what is


class Group(MutableMapping[str, Any]):
    """Some parameters and their options, as a dict: ``group["lr"] = 0.1``.

    ``cell`` holds the options as numbers, in the order of the optimizer's ``ranges``: what is assigned is checked
    and written there, where the kernel reads it. ``rows`` holds (parameter, *state), and ``steps`` how many steps each
    parameter has made, if the rule counts them.
    """

    def __init__(self, rule: type[Optimizer], params: Iterable[Tensor], options: Options) -> None:
        rule.check(options)
        self.rule, self.params, self.options = rule, tuple(params), dict(options)
        self.cell = Tensor(rule.numbers(options))
        self.steps: Tensor | None = None
        self.step_of: list[Tensor | None] = [None] * len(self.params)
        self.rows: list[tuple[Any, ...]] = [(p, *[None] * (len(rule.slots(options)) - 1)) for p in self.params]
        self.launch: list[Any] = [self.cell, None, self.rows]           # what `update` reads
        self._settle()

    def _settle(self) -> None:
        """Let the cell and the state follow the options: what they need is made, what they do not need dropped."""
        self.cell.copy_(self.rule.numbers(self.options))
        slots = self.rule.slots(self.options)
        if (slots.pop("step") is None) != (self.steps is None):
            change_world()
            self.steps = Tensor(np.zeros(len(self.params))) if self.steps is None else None
            self.step_of = [None] * len(self.params) if self.steps is None else list(self.steps)    # one view each
            self.launch[1] = self.steps
        for k, start in enumerate(slots.values(), 1):
            if self.rows and (start is None) != (self.rows[0][k] is None):
                change_world()
                self.rows[:] = [(*row[:k], None if start is None else _filled(row[0], start), *row[k + 1:])
                                for row in self.rows]

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
        changed = self.options | {option: settled(value)}
        self.rule.check(changed)
        for other in self.options:              # all of them are written to the cell
            if other != option:
                self._note(other)
        self.options[option] = changed[option]
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


NOT_NEGATIVE: Range = (lambda x: 0 <= x < float("inf"), "a finite number >= 0")
FRACTION: Range = (lambda x: 0 <= x < 1, "a number in [0, 1)")
FLAG: Range = (lambda x: x in (True, False), "True or False")
SHARED = {"initial_lr": NOT_NEGATIVE}           # options that no kernel reads; a scheduler notes its start there


@note_attributes_of
class Optimizer:
    """What optimizers share: groups of parameters with their options, state, saving and loading.

    ``params``: an iterable of leaf float Tensors, or of dicts ``{"params": [...], option: value}``. Groups stand in
    ``param_groups`` (set ``group["lr"]`` to change a rate), state in ``state[parameter]``: by name, to read or to
    write in place.

    Raises ``OptionError`` for no parameters, one given twice or an option out of range; ``DTypeError`` for what is
    no float Tensor; ``GraphError`` for the result of an operation; ``ShapeError`` for a parameter that does not lie in
    order in memory.
    """
    kernel = ""                             # its row in csrc/kernels.def
    ranges: dict[str, Range] = {}           # of the options, in the order in which the kernel reads them

    @staticmethod
    def slots(options: Options) -> dict[str, float | None]:
        """{name: what a parameter's state starts from, None if these options need none}, the number of steps first."""
        raise NotImplementedError

    def __init__(self, params: Params, **defaults: Any) -> None:
        if isinstance(params, Tensor) or not hasattr(params, "__iter__"):
            raise DTypeError(f"{type(self).__name__}: params is an iterable of Tensors, not one "
                             f"{type(params).__name__}; put it in a list")
        self.defaults = defaults
        self._launches: list[list[Any]] = []
        self.param_groups: list[Group] = []
        groups: list[Any] = list(params)
        if not groups:
            raise OptionError(f"{type(self).__name__}: no parameters were given: the iterator is empty; does the "
                              "module have any, and was the iterator used before?")
        for group in groups if isinstance(groups[0], Mapping) else [{"params": groups}]:
            self.add_param_group(group)

    def add_param_group(self, group: Mapping[str, Any]) -> None:
        """Optimize more parameters: ``{"params": [...], option: value}``; options not named take the defaults."""
        name = type(self).__name__
        if not isinstance(group, Mapping) or "params" not in group:
            raise DTypeError(f"{name}: a group is a dict with 'params', not {group!r:.60}")
        params = [group["params"]] if isinstance(group["params"], Tensor) else list(group["params"])
        seen = {p for other in self.param_groups for p in other.params}
        for p in params:
            if not isinstance(p, Tensor) or p.dtype.kind != "f":
                raise DTypeError(f"{name}: a parameter is a float Tensor, not "
                                 f"{p.dtype if isinstance(p, Tensor) else described(p)}")
            if not p.is_leaf:
                raise GraphError(f"{name}: a parameter of shape {p.shape} is the result of an operation; only leaves "
                                 "are optimized")
            if p.contiguous() is not p:
                raise ShapeError(f"{name}: a parameter of shape {p.shape} does not lie in order in memory; Tensor(p) "
                                 "gives a copy that does")
            if p in seen:
                raise OptionError(f"{name}: a parameter of shape {p.shape} was given twice")
            seen.add(p)
        group = Group(type(self), params, self.defaults | {k: v for k, v in group.items() if k != "params"})
        change_world()
        self.param_groups.append(group)
        self._launches.append(group.launch)

    @classmethod
    def check(cls, options: Options) -> None:
        """Raise ``OptionError`` unless every option is known and in its range."""
        for option, value in options.items():
            allowed, words = (cls.ranges | SHARED).get(option, (None, None))
            if allowed is None:
                raise OptionError(f"{cls.__name__}: no option is called {option!r}; there are "
                                  f"{', '.join(cls.ranges)}")
            try:
                fits = allowed(value)
            except (TypeError, ValueError):
                fits = False
            if not fits:
                raise OptionError(f"{cls.__name__}: {option}={value!r} is not {words}")

    @classmethod
    def numbers(cls, options: Options) -> npt.NDArray[np.float64]:
        """The options as the kernel reads them; a pair takes two places."""
        return np.hstack([np.asarray(options[option], "float64") for option in cls.ranges])

    def step(self) -> None:
        """Update every parameter that has a gradient. All fits or nothing changes."""
        update(self.kernel, self._launches)

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget all gradients, or fill them with 0."""
        for group in self.param_groups:
            for p in group.params:
                if set_to_none or p.grad is None:
                    p.grad = None
                else:
                    p.grad.data.zero_()

    @property
    def state(self) -> dict[Tensor, Mapping[str, Tensor]]:
        """{parameter: {name: tensor}}: what is remembered of each. Write into the tensors; they cannot be exchanged."""
        return {row[0]: MappingProxyType({name: s for name, s in zip(self.slots(group), (steps, *row[1:]))
                                          if s is not None})
                for group in self.param_groups
                for row, steps in zip(group.rows, group.step_of)}

    def state_dict(self) -> dict[str, Any]:
        """{"state": {number: {...}}, "param_groups": [...]}: copies, with parameters by their number."""
        state = self.state
        numbers = {p: k for k, p in enumerate(state)}
        return {"state": {numbers[p]: {name: Tensor(s) for name, s in own.items()} for p, own in state.items()},
                "param_groups": [dict(group) | {"params": [numbers[p] for p in group.params]}
                                 for group in self.param_groups]}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over what ``state_dict`` of an optimizer for the same parameters gave. All fits or nothing changes."""
        name = type(self).__name__
        try:
            groups = [{k: v for k, v in group.items() if k != "params"} for group in state["param_groups"]]
            sizes, states = [len(group["params"]) for group in state["param_groups"]], state["state"]
        except (AttributeError, KeyError, TypeError):
            raise DTypeError(f"{name}: load_state_dict takes what state_dict gave") from None
        own = [len(group.params) for group in self.param_groups]
        if sizes != own:
            raise OptionError(f"{name}: groups of {own} parameters, the state has {sizes} ({own} != {sizes})")
        arrays, k = [], 0                       # one dict per parameter
        for group, options in zip(self.param_groups, groups):
            self.check(options)
            if set(options) - set(SHARED) != set(self.ranges):
                raise OptionError(f"{name}: options {sorted(self.ranges)}, the state has {sorted(options)}")
            needed = {slot for slot, start in self.slots(options).items() if start is not None}
            for p in group.params:
                theirs = states.get(k, {})
                if set(theirs) != needed:
                    raise OptionError(f"{name}: parameter {k} needs {sorted(needed)}, the state has {sorted(theirs)}")
                arrays.append({slot: np.asarray(value) for slot, value in theirs.items()})
                for slot, array in arrays[-1].items():
                    shape = () if slot == "step" else p.shape
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

    def __repr__(self) -> str:
        lines = [", ".join(f"{k}={v}" for k, v in group.options.items()) + f", {len(group.params)} parameters"
                 for group in self.param_groups]
        return f"{type(self).__name__}({'; '.join(lines)})"


@composite("sgd")
def sgd_in_operations(g: Tensor, cell: Tensor, step: Tensor, w: Tensor, v: Tensor | None,
                      **sizes: int) -> tuple[Tensor | None, ...]:
    lr, momentum, dampening, decay, nesterov = cell.tolist()
    slope = g + decay * w
    if v is None:
        return w - lr * slope, None
    v = momentum * v + (1 - dampening if step.item() > 1 else 1) * slope
    return w - lr * (slope + momentum * v if nesterov else v), v


class SGD(Optimizer):
    """Gradient descent: w = w - lr g, where ``weight_decay`` w is added to the gradient g.

    With ``momentum``: v = momentum v + (1 - dampening) g, at the first step v = g, and w = w - lr v; with
    ``nesterov`` w = w - lr (g + momentum v), Sutskever et al. (2013) as torch rewrites it.

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
    ranges = dict(lr=NOT_NEGATIVE, momentum=NOT_NEGATIVE, dampening=NOT_NEGATIVE, weight_decay=NOT_NEGATIVE,
                  nesterov=FLAG)

    def __init__(self, params: Params, lr: float = 1e-3, momentum: float = 0.0, dampening: float = 0.0,
                 weight_decay: float = 0.0, nesterov: bool = False) -> None:
        super().__init__(params, lr=lr, momentum=momentum, dampening=dampening, weight_decay=weight_decay,
                         nesterov=nesterov)

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
    lr, alpha, eps, decay, momentum, _ = cell.tolist()
    slope = g + decay * w
    s = alpha * s + (1 - alpha) * slope.square()
    m = None if m is None else m + (1 - alpha) * (slope - m)
    move = slope / ((s if m is None else (s - m.square()).relu()).sqrt() + eps)
    v = None if v is None else momentum * v + move
    return w - lr * (move if v is None else v), s, m, v


class RMSprop(Optimizer):
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
                  momentum=NOT_NEGATIVE, centered=FLAG)

    def __init__(self, params: Params, lr: float = 1e-2, alpha: float = 0.99, eps: float = 1e-8,
                 weight_decay: float = 0.0, momentum: float = 0.0, centered: bool = False) -> None:
        super().__init__(params, lr=lr, alpha=alpha, eps=eps, weight_decay=weight_decay, momentum=momentum,
                         centered=centered)

    @staticmethod
    def slots(options: Options) -> dict[str, float | None]:
        return {"step": None, "square_avg": 0.0, "grad_avg": 0.0 if options["centered"] else None,
                "momentum_buffer": 0.0 if options["momentum"] else None}


@composite("adagrad")
def adagrad_in_operations(g: Tensor, cell: Tensor, step: Tensor, w: Tensor, s: Tensor,
                          **sizes: int) -> tuple[Tensor, ...]:
    lr, lr_decay, decay, _, eps = cell.tolist()
    slope = g + decay * w
    s = s + slope.square()
    return w - lr / (1 + (step.item() - 1) * lr_decay) * slope / (s.sqrt() + eps), s


class Adagrad(Optimizer):
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
    ranges = dict(lr=NOT_NEGATIVE, lr_decay=NOT_NEGATIVE, weight_decay=NOT_NEGATIVE,
                  initial_accumulator_value=NOT_NEGATIVE, eps=NOT_NEGATIVE)

    def __init__(self, params: Params, lr: float = 1e-2, lr_decay: float = 0.0, weight_decay: float = 0.0,
                 initial_accumulator_value: float = 0.0, eps: float = 1e-10) -> None:
        super().__init__(params, lr=lr, lr_decay=lr_decay, weight_decay=weight_decay,
                         initial_accumulator_value=initial_accumulator_value, eps=eps)

    @staticmethod
    def slots(options: Options) -> dict[str, float | None]:
        return {"step": 0.0, "sum": options["initial_accumulator_value"]}


@composite("adam")
def adam_in_operations(g: Tensor, cell: Tensor, step: Tensor, w: Tensor, m: Tensor, v: Tensor, *,
                       decoupled: bool = False, **sizes: int) -> tuple[Tensor, ...]:
    lr, beta1, beta2, eps, decay = cell.tolist()
    slope = g if decoupled else g + decay * w
    m, v = beta1 * m + (1 - beta1) * slope, beta2 * v + (1 - beta2) * slope.square()
    w = (1 - lr * decay) * w if decoupled else w
    corrected = m / (1 - beta1 ** step.item()), v / (1 - beta2 ** step.item())
    return w - lr * corrected[0] / (corrected[1].sqrt() + eps), m, v


class Adam(Optimizer):
    """Adaptive moments: Kingma and Ba (2015), algorithm 1; ``weight_decay`` w is added to the gradient.

    m and v are running means of the gradient and of its square, with the rates ``betas``; divided by 1 - beta^t, which
    frees them of their start at 0, they give w = w - lr m / (sqrt(v) + eps).

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
    ranges = dict(lr=NOT_NEGATIVE,
                  betas=(lambda b: len(b) == 2 and all(FRACTION[0](x) for x in b), "two numbers in [0, 1)"),
                  eps=NOT_NEGATIVE, weight_decay=NOT_NEGATIVE)

    def __init__(self, params: Params, lr: float = 1e-3, betas: tuple[float, float] = (0.9, 0.999), eps: float = 1e-8,
                 weight_decay: float = 0.0) -> None:
        super().__init__(params, lr=lr, betas=betas, eps=eps, weight_decay=weight_decay)

    @staticmethod
    def slots(options: Options) -> dict[str, float | None]:
        return {"step": 0.0, "exp_avg": 0.0, "exp_avg_sq": 0.0}


@composite("adamw")
def adamw_in_operations(*operands: Any, **sizes: Any) -> tuple[Tensor, ...]:
    return adam_in_operations(*operands, decoupled=True, **sizes)


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
    kernel = "adamw"

    def __init__(self, params: Params, lr: float = 1e-3, betas: tuple[float, float] = (0.9, 0.999), eps: float = 1e-8,
                 weight_decay: float = 1e-2) -> None:
        super().__init__(params, lr, betas, eps, weight_decay)


name_errors(__name__, "step", "zero_grad")
