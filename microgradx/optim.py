"""Optimizers: torch's semantics; each update of a parameter is one launch.

State (momentum, moments) is made when a parameter is added, so that steps allocate nothing.
"""
import numpy as np

from microgradx._core.graph import no_grad
from microgradx._core.launch import adam, sgd
from microgradx._core.tensor import Tensor
from microgradx.errors import DTypeError, GraphError, OptionError, ShapeError

__all__ = ["SGD", "Adam", "Optimizer"]


class Optimizer:
    """What optimizers share: groups of parameters with their options, state, saving and loading.

    ``params``: an iterable of leaf float Tensors, or of dicts ``{"params": [...], option: value}``. Groups stand in
    ``param_groups`` (set ``group["lr"]`` to change a rate), state in ``state[parameter]``.

    Raises ``OptionError`` for no parameters, one given twice or an option out of range; ``DTypeError`` for what is
    no float Tensor; ``GraphError`` for the result of an operation.
    """
    ranges = {}                 # option: (is it allowed?, what is)

    def __init__(self, params, **defaults):
        if isinstance(params, Tensor) or not hasattr(params, "__iter__"):
            raise DTypeError(f"{type(self).__name__}: params is an iterable of Tensors, not one "
                             f"{type(params).__name__}; put it in a list")
        self.defaults, self.param_groups, self.state = defaults, [], {}
        groups = list(params)
        if not groups:
            raise OptionError(f"{type(self).__name__}: no parameters were given")
        for group in groups if isinstance(groups[0], dict) else [{"params": groups}]:
            self.add_param_group(group)

    def add_param_group(self, group):
        """Optimize more parameters: ``{"params": [...], option: value}``; options not named take the defaults."""
        name = type(self).__name__
        if not isinstance(group, dict) or "params" not in group:
            raise DTypeError(f"{name}: a group is a dict with 'params', not {group!r:.60}")
        params = [group["params"]] if isinstance(group["params"], Tensor) else list(group["params"])
        options = self.defaults | {option: value for option, value in group.items() if option != "params"}
        self._check(options)
        seen = set(self.state)
        for p in params:
            if not isinstance(p, Tensor) or p.dtype.kind != "f":
                raise DTypeError(f"{name}: a parameter is a float Tensor, not "
                                 f"{p.dtype if isinstance(p, Tensor) else type(p).__name__}")
            if not p.is_leaf:
                raise GraphError(f"{name}: a parameter of shape {p.shape} is the result of an operation; only leaves "
                                 "are optimized")
            _ordered(p)
            if p in seen:
                raise OptionError(f"{name}: a parameter of shape {p.shape} was given twice")
            seen.add(p)
        self.param_groups.append({"params": params, **options})
        for p in params:
            self.state[p] = self._fresh(p, options)

    def _check(self, options):
        for option, value in options.items():
            if option not in self.ranges:
                raise OptionError(f"{type(self).__name__}: no option is called {option!r}; there are "
                                  f"{', '.join(self.ranges)}")
            allowed, words = self.ranges[option]
            try:
                fits = allowed(value)
            except TypeError:
                fits = False
            if not fits:
                raise OptionError(f"{type(self).__name__}: {option}={value!r} is not {words}")

    def _fresh(self, p, options):
        """The state of a parameter before its first step."""
        raise NotImplementedError

    def step(self):
        """Update every parameter that has a gradient."""
        raise NotImplementedError

    def zero_grad(self, set_to_none=True):
        """Forget all gradients, or fill them with 0."""
        for group in self.param_groups:
            for p in group["params"]:
                if set_to_none or p.grad is None:
                    p.grad = None
                else:
                    p.grad.data.zero_()

    def state_dict(self):
        """{"state": {number: {...}}, "param_groups": [...]}: copies, with parameters by their number."""
        numbers = {p: k for k, p in enumerate(self.state)}
        return {"state": {numbers[p]: {k: Tensor(s) if isinstance(s, Tensor) else s for k, s in state.items()}
                          for p, state in self.state.items()},
                "param_groups": [group | {"params": [numbers[p] for p in group["params"]]}
                                 for group in self.param_groups]}

    def load_state_dict(self, state):
        """Take over what ``state_dict`` of an optimizer for the same parameters gave. All fits or nothing changes."""
        name = type(self).__name__
        try:
            groups, states = state["param_groups"], state["state"]
            sizes = [len(group["params"]) for group in groups]
        except (KeyError, TypeError):
            raise DTypeError(f"{name}: load_state_dict takes what state_dict gave") from None
        own = [len(group["params"]) for group in self.param_groups]
        if sizes != own:
            raise OptionError(f"{name}: groups of {own} parameters, the state has {sizes} ({own} != {sizes})")
        for mine, group in zip(self.param_groups, groups):
            self._check({k: v for k, v in group.items() if k != "params"})
            if set(group) != set(mine):
                raise OptionError(f"{name}: options {sorted(mine)}, the state has {sorted(group)}")
        for k, mine in enumerate(self.state.values()):
            theirs = states.get(k, {})
            if set(theirs) != set(mine):
                raise OptionError(f"{name}: parameter {k} has {sorted(mine)}, the state {sorted(theirs)}")
            for key, old in mine.items():
                if isinstance(old, Tensor) and np.shape(theirs[key]) != old.shape:
                    raise ShapeError(f"{name}: {key} of parameter {k} has shape {old.shape}, the state's "
                                     f"{np.shape(theirs[key])}")
        for mine, group in zip(self.param_groups, groups):
            mine.update({k: v for k, v in group.items() if k != "params"})
        with no_grad():
            for k, mine in enumerate(self.state.values()):
                for key, old in mine.items():
                    if isinstance(old, Tensor):
                        old.copy_(states[k][key])
                    else:
                        mine[key] = states[k][key]

    def __repr__(self):
        lines = [", ".join(f"{k}={v}" for k, v in group.items() if k != "params")
                 + f", {len(group['params'])} parameters" for group in self.param_groups]
        return f"{type(self).__name__}({'; '.join(lines)})"


def _ordered(p):
    """The updates run over memory in order."""
    if p.contiguous() is not p:
        raise ShapeError(f"optim: a parameter of shape {p.shape} does not lie in order in memory; Tensor(p) gives a "
                         "copy that does")


def _zeros(p):
    return Tensor(np.zeros(p.shape, p.dtype))


NOT_NEGATIVE = (lambda x: 0 <= x < float("inf"), "a finite number >= 0")


class SGD(Optimizer):
    """Gradient descent with momentum: v = momentum v + g + weight_decay w; w = w - lr v.

    >>> import microgradx as mgx
    >>> from microgradx import optim
    >>> w = mgx.Tensor([1.0, -2.0], requires_grad=True)
    >>> step = optim.SGD([w], lr=0.25)
    >>> w.square().sum().backward()
    >>> step.step()
    >>> w
    Tensor([ 0.5, -1. ], requires_grad=True)
    """
    ranges = dict(lr=NOT_NEGATIVE, momentum=NOT_NEGATIVE, weight_decay=NOT_NEGATIVE)

    def __init__(self, params, lr, momentum=0.0, weight_decay=0.0):
        super().__init__(params, lr=lr, momentum=momentum, weight_decay=weight_decay)

    def _fresh(self, p, options):
        return {"momentum_buffer": _zeros(p)} if options["momentum"] else {}

    def step(self):
        """Update every parameter that has a gradient."""
        for group in self.param_groups:
            lr, momentum, decay = group["lr"], group["momentum"], group["weight_decay"]
            for p in group["params"]:
                g, v = p.grad, None
                if g is None:
                    continue
                if p.contiguous() is not p:
                    _ordered(p)
                if momentum:
                    state = self.state[p]
                    if not state:                                       # momentum was switched on later
                        state["momentum_buffer"] = _zeros(p)
                    v = state["momentum_buffer"]
                sgd(p, g.contiguous(), v, lr, momentum, decay)


class Adam(Optimizer):
    """Adaptive moments: Kingma and Ba (2015), algorithm 1; weight_decay * w is added to the gradient.

    >>> import microgradx as mgx
    >>> from microgradx import optim
    >>> w = mgx.Tensor([1.0, -2.0], requires_grad=True)
    >>> step = optim.Adam([w], lr=0.5)
    >>> w.square().sum().backward()
    >>> step.step()
    >>> w                                   # the first step is lr, whatever the gradient
    Tensor([ 0.5, -1.5], requires_grad=True)
    """
    ranges = dict(lr=NOT_NEGATIVE, eps=NOT_NEGATIVE, weight_decay=NOT_NEGATIVE,
                  betas=(lambda b: len(b) == 2 and all(0 <= x < 1 for x in b), "two numbers in [0, 1)"))

    def __init__(self, params, lr=1e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.0):
        super().__init__(params, lr=lr, betas=betas, eps=eps, weight_decay=weight_decay)

    def _fresh(self, p, options):
        return {"step": 0, "exp_avg": _zeros(p), "exp_avg_sq": _zeros(p)}

    def step(self):
        """Update every parameter that has a gradient."""
        for group in self.param_groups:
            lr, eps, decay = group["lr"], group["eps"], group["weight_decay"]
            beta1, beta2 = group["betas"]
            for p in group["params"]:
                g = p.grad
                if g is None:
                    continue
                if p.contiguous() is not p:
                    _ordered(p)
                state = self.state[p]
                t = state["step"] = state["step"] + 1
                adam(p, g.contiguous(), state["exp_avg"], state["exp_avg_sq"], lr, beta1, beta2, eps, decay,
                     1 - beta1**t, 1 - beta2**t)
