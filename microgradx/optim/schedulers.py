"""Schedules: the rate of each group as a function of the number of ``step()`` calls.

A schedule owns the rate: it computes it again from the rate at the start, so nothing drifts, and a rate set by hand
lasts until the next ``step()``. Only ``ReduceLROnPlateau``, which follows a measure, goes on from the rate it finds.
A group that is added later goes on, at the next step, from the rate that it was given. A schedule made anew takes up an
earlier one with ``load_state_dict``, before or after the optimizer does.
"""
from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeGuard

from microgradx._core.launch import note_as_it_is
from microgradx.errors import DTypeError, OptionError, name_errors
from microgradx.optim.optimizers import Optimizer
from microgradx.typing import Function

__all__ = ["CosineAnnealingLR", "ExponentialLR", "LRScheduler", "LambdaLR", "LinearLR", "MultiStepLR", "OneCycleLR",
           "ReduceLROnPlateau", "SequentialLR", "StepLR"]


def _require(scheduler: LRScheduler, fits: Callable[[Any], bool], option: str, value: Any, words: str) -> Any:
    """``value``, which fits."""
    if not fits(value):
        raise OptionError(f"{type(scheduler).__name__}: {option}={value!r} is not {words}")
    return value


def _count(x: Any) -> TypeGuard[int]:
    return isinstance(x, int) and not isinstance(x, bool) and x >= 1


def _rising(xs: Any) -> bool:
    return isinstance(xs, (list, tuple)) and all(map(_count, xs)) and list(xs) == sorted(xs)


def _finite(x: Any) -> bool:
    return isinstance(x, (int, float)) and 0 <= x < math.inf


def _of_group(scheduler: LRScheduler, option: str, values: Any, k: int) -> Any:
    """What group k has of an option that is one value, or a list with one for each group."""
    if not isinstance(values, list):
        return values
    if k >= len(values):
        raise OptionError(f"{type(scheduler).__name__}: {option} is a list of {len(values)}, and group {k} was added "
                          "later; give one for all groups")
    return values[k]


def _fits_groups(values: Any, groups: int) -> bool:
    """A finite number >= 0, or a list with one for each group."""
    return all(map(_finite, values)) and len(values) == groups if isinstance(values, list) else _finite(values)


class LRScheduler:
    """What schedules share. A subclass defines ``rate(base, t, k)``: the rate of group k after t steps.

    ``base`` is the group's rate when its first scheduler was made, noted as ``group["initial_lr"]``; of a group that is
    added later, what leads to the rate that it was given. Making a scheduler sets the rate for t = 0; call ``step()``
    after the optimizer's, once for each step or epoch.
    """
    def __init__(self, optimizer: Optimizer) -> None:
        if not isinstance(optimizer, Optimizer):
            raise DTypeError(f"{type(self).__name__}: of an Optimizer, not {type(optimizer).__name__}")
        self.optimizer, self.last_epoch = optimizer, 0
        self.base_lrs = [group.setdefault("initial_lr", group["lr"]) for group in optimizer.param_groups]
        self._set(0)

    def rate(self, base: float, t: int, k: int) -> float:
        raise NotImplementedError

    def _options(self) -> tuple[str, ...]:
        """What the schedule sets of the groups."""
        return ("lr",)

    def _set(self, t: int) -> None:
        """Let the groups have what follows t steps. Nothing changes if that raises."""
        rates = [self.rate(base, t, k) for k, base in enumerate(self.base_lrs)]
        self.last_epoch = t
        for group, lr in zip(self.optimizer.param_groups, rates):
            group["lr"] = lr

    def _adopt(self) -> None:
        """Take in the groups that were added since the last step."""
        for k, group in enumerate(self.optimizer.param_groups[len(self.base_lrs):], len(self.base_lrs)):
            base = group.get("initial_lr")
            if base is None:                            # a rate is affine in its base
                least, lr = self.rate(0.0, self.last_epoch, k), group["lr"]
                slope = self.rate(1.0, self.last_epoch, k) - least
                base = (lr - least) / slope if slope > 0 and lr >= least else lr
                group["initial_lr"] = base
            self.base_lrs.append(base)

    def step(self) -> None:
        """Count a step and set the rates that follow."""
        note_as_it_is("a schedule is stepped inside; step it between the calls")
        self._adopt()
        self._set(self.last_epoch + 1)

    def get_last_lr(self) -> list[float]:
        """The rate of each group now."""
        return [group["lr"] for group in self.optimizer.param_groups]

    def state_dict(self) -> dict[str, Any]:
        """Numbers and lists by name: all but the optimizer and functions, and what the groups have now."""
        own = {name: list(value) if isinstance(value, list) else value for name, value in vars(self).items()
               if name not in ("optimizer", "functions", "schedulers")}
        return own | {"groups": [{name: group[name] for name in self._options() if name in group}
                                 for group in self.optimizer.param_groups]}

    def load_state_dict(self, state: dict[str, Any]) -> Any:
        """Take over what ``state_dict`` gave, and let the groups have what they had then."""
        own, name = sorted(self.state_dict()), type(self).__name__
        if not isinstance(state, dict) or sorted(state) != own:
            raise OptionError(f"{name}: load_state_dict takes what state_dict gave: {own}, not "
                              f"{list(state) if isinstance(state, dict) else state!r}")
        groups, options = self.optimizer.param_groups, state["groups"]
        if not isinstance(options, list) or not all(isinstance(each, dict) and set(each) <= set(self._options())
                                                    for each in options):
            raise OptionError(f"{name}: load_state_dict: groups={options!r:.60} are not what state_dict gave")
        for group, each in zip(groups, options):
            type(self.optimizer).check({**group.options, **each})
        vars(self).update({key: list(value) if isinstance(value, list) else value for key, value in state.items()
                           if key != "groups"})
        for group, each in zip(groups, options):
            for option, value in each.items():
                group[option] = tuple(value) if option == "betas" else value


class LambdaLR(LRScheduler):
    """base * function(t); one function, or a list with one for each group.

    >>> import microgradx as mgx
    >>> from microgradx import nn, optim
    >>> opt = optim.SGD([nn.Parameter(1.0)], lr=8.0)
    >>> schedule = optim.LambdaLR(opt, lambda t: 0.5**t)
    >>> schedule.step()
    >>> schedule.get_last_lr()
    [4.0]
    """

    def __init__(self, optimizer: Optimizer, lr_lambda: Function | list[Function]) -> None:
        self.functions = list(lr_lambda) if isinstance(lr_lambda, (list, tuple)) else lr_lambda
        functions = self.functions if isinstance(self.functions, list) else [self.functions]
        groups = len(getattr(optimizer, "param_groups", functions))
        if not all(map(callable, functions)) or isinstance(self.functions, list) and len(functions) != groups:
            raise OptionError(f"LambdaLR: a function, or one for each of the {groups} groups, not {lr_lambda!r:.60}")
        super().__init__(optimizer)

    def rate(self, base: float, t: int, k: int) -> float:
        return base * float(_of_group(self, "lr_lambda", self.functions, k)(t))


class StepLR(LRScheduler):
    """base * gamma^(t // step_size)."""

    def __init__(self, optimizer: Optimizer, step_size: int, gamma: float = 0.1) -> None:
        _require(self, _count, "step_size", step_size, "an integer >= 1")
        _require(self, _finite, "gamma", gamma, "a finite number >= 0")
        self.step_size, self.gamma = step_size, gamma
        super().__init__(optimizer)

    def rate(self, base: float, t: int, k: int) -> float:
        return base * self.gamma ** (t // self.step_size)


class MultiStepLR(LRScheduler):
    """base * gamma^(number of milestones that t has reached)."""

    def __init__(self, optimizer: Optimizer, milestones: Sequence[int], gamma: float = 0.1) -> None:
        _require(self, _rising, "milestones", milestones, "a rising list of integers >= 1")
        _require(self, _finite, "gamma", gamma, "a finite number >= 0")
        self.milestones, self.gamma = list(milestones), gamma
        super().__init__(optimizer)

    def rate(self, base: float, t: int, k: int) -> float:
        return base * self.gamma ** bisect_right(self.milestones, t)


class ExponentialLR(LRScheduler):
    """base * gamma^t."""

    def __init__(self, optimizer: Optimizer, gamma: float) -> None:
        _require(self, _finite, "gamma", gamma, "a finite number >= 0")
        self.gamma = gamma
        super().__init__(optimizer)

    def rate(self, base: float, t: int, k: int) -> float:
        return base * self.gamma**t


class LinearLR(LRScheduler):
    """base * (a line from start_factor to end_factor over total_iters steps, flat from then on): a warm-up."""

    def __init__(self, optimizer: Optimizer, start_factor: float = 1 / 3, end_factor: float = 1.0,
                 total_iters: int = 5) -> None:
        _require(self, lambda x: 0 < x <= 1, "start_factor", start_factor, "a number in (0, 1]")
        _require(self, lambda x: 0 <= x <= 1, "end_factor", end_factor, "a number in [0, 1]")
        _require(self, _count, "total_iters", total_iters, "an integer >= 1")
        self.start_factor, self.end_factor, self.total_iters = start_factor, end_factor, total_iters
        super().__init__(optimizer)

    def rate(self, base: float, t: int, k: int) -> float:
        along = min(t, self.total_iters) / self.total_iters
        return base * (self.start_factor + (self.end_factor - self.start_factor) * along)


class CosineAnnealingLR(LRScheduler):
    """eta_min + (base - eta_min) (1 + cos(pi t / T_max)) / 2: down to eta_min at T_max, and up again behind it.

    Loshchilov and Hutter (2017), without the restarts.
    """

    def __init__(self, optimizer: Optimizer, T_max: int, eta_min: float = 0.0) -> None:
        _require(self, _count, "T_max", T_max, "an integer >= 1")
        _require(self, _finite, "eta_min", eta_min, "a finite number >= 0")
        self.T_max, self.eta_min = T_max, eta_min
        super().__init__(optimizer)

    def rate(self, base: float, t: int, k: int) -> float:
        return self.eta_min + (base - self.eta_min) * (1 + math.cos(math.pi * t / self.T_max)) / 2


def _cosine(start: float, end: float, along: float) -> float:
    return end + (start - end) * (1 + math.cos(math.pi * along)) / 2


def _line(start: float, end: float, along: float) -> float:
    return start + (end - start) * along


class OneCycleLR(LRScheduler):
    """Up from max_lr / div_factor to max_lr, then down to max_lr / (div_factor final_div_factor).

    ``max_lr``: a number, or one for each group. The whole takes ``total_steps``, or ``epochs`` times
    ``steps_per_epoch``, the way up ``pct_start`` of it; each way is half a cosine, or a line with
    ``anneal_strategy="linear"``. ``three_phase`` goes down as slowly as up, to max_lr / div_factor, and to the end in
    what is left. With ``cycle_momentum`` the momentum (of Adam the first of the betas) goes the other way, from
    ``max_momentum`` to ``base_momentum`` and back. Smith and Topin (2017).

    Raises ``OptionError`` at a step beyond the last.
    """
    def __init__(self, optimizer: Optimizer, max_lr: float | list[float], total_steps: int | None = None,
                 epochs: int | None = None, steps_per_epoch: int | None = None, pct_start: float = 0.3,
                 anneal_strategy: str = "cos", cycle_momentum: bool = True, base_momentum: float = 0.85,
                 max_momentum: float = 0.95, div_factor: float = 25.0, final_div_factor: float = 1e4,
                 three_phase: bool = False) -> None:
        if total_steps is None and _count(epochs) and _count(steps_per_epoch):
            total_steps = epochs * steps_per_epoch
        groups = getattr(optimizer, "param_groups", [])
        rates = list(max_lr) if isinstance(max_lr, (list, tuple)) else max_lr
        total: int = _require(self, _count, "total_steps", total_steps,
                              "an integer >= 1, given or as epochs * steps_per_epoch")
        _require(self, lambda x: 0 <= x <= 1, "pct_start", pct_start, "a number in [0, 1]")
        _require(self, lambda x: x in ("cos", "linear"), "anneal_strategy", anneal_strategy, "'cos' or 'linear'")
        _require(self, lambda x: _fits_groups(rates, len(groups)), "max_lr", max_lr,
                 f"a finite number >= 0, or one for each of the {len(groups)} groups")
        for option, value in (("div_factor", div_factor), ("final_div_factor", final_div_factor)):
            _require(self, lambda x: _finite(x) and x > 0, option, value, "a finite number > 0")
        for option, value in (("base_momentum", base_momentum), ("max_momentum", max_momentum)):
            _require(self, lambda x: 0 <= x < 1, option, value, "a number in [0, 1)")
        if cycle_momentum and not all("momentum" in group or "betas" in group for group in groups):
            raise OptionError(f"OneCycleLR: {type(optimizer).__name__} has no momentum to cycle; cycle_momentum=False")
        self.total_steps, self.max_lrs = total, rates
        self.anneal_strategy, self.cycle_momentum = anneal_strategy, cycle_momentum
        up, low, last = pct_start * total, 1 / div_factor, total - 1
        end = low / final_div_factor
        # (where a phase ends, the factor of max_lr there, the momentum there)
        self.phases = [(0, low, max_momentum), (up - 1, 1.0, base_momentum), (last, end, max_momentum)]
        if three_phase:
            self.phases[2:] = [(2 * up - 2, low, max_momentum), (last, end, max_momentum)]
        super().__init__(optimizer)

    def _at(self, t: int, place: int) -> float:
        """Entry ``place`` of the phases, between the two around t."""
        anneal = _cosine if self.anneal_strategy == "cos" else _line
        k = next((k for k, phase in enumerate(self.phases[1:-1], 1) if t <= phase[0]), len(self.phases) - 1)
        start, end = self.phases[k - 1], self.phases[k]
        along = (t - start[0]) / (end[0] - start[0]) if end[0] != start[0] else 1.0
        return anneal(start[place], end[place], min(along, 1.0))

    def rate(self, base: float, t: int, k: int) -> float:
        if t > self.total_steps:
            raise OptionError(f"OneCycleLR: step {t} of {self.total_steps}")
        return float(_of_group(self, "max_lr", self.max_lrs, k)) * self._at(t, 1)

    def _options(self) -> tuple[str, ...]:
        return ("lr", "momentum", "betas") if self.cycle_momentum else ("lr",)

    def _set(self, t: int) -> None:
        super()._set(t)
        if self.cycle_momentum:
            momentum = self._at(t, 2)
            for group in self.optimizer.param_groups:
                if "betas" in group:
                    group["betas"] = (momentum, group["betas"][1])
                else:
                    group["momentum"] = momentum


class SequentialLR(LRScheduler):
    """One schedule after the other: the next begins, at its t = 0, where t reaches a milestone.

    ``schedulers`` are of the same optimizer, one more than ``milestones``; step only this one. A warm-up:

    >>> from microgradx import nn, optim
    >>> opt = optim.SGD([nn.Parameter(1.0)], lr=1.0)
    >>> warm, cool = optim.LinearLR(opt, 0.5, total_iters=2), optim.ExponentialLR(opt, 0.5)
    >>> schedule = optim.SequentialLR(opt, [warm, cool], milestones=[2])
    >>> for _ in range(5):
    ...     print(opt.param_groups[0]["lr"], end=" ")
    ...     schedule.step()
    0.5 0.75 1.0 0.5 0.25 
    """

    def __init__(self, optimizer: Optimizer, schedulers: Iterable[LRScheduler], milestones: Sequence[int]) -> None:
        _require(self, _rising, "milestones", milestones, "a rising list of integers >= 1")
        self.schedulers, self.milestones = list(schedulers), list(milestones)
        if len(self.schedulers) != len(self.milestones) + 1:
            raise OptionError(f"SequentialLR: {len(self.schedulers)} schedulers and {len(self.milestones)} milestones; "
                              "a milestone stands between each two")
        for s in self.schedulers:
            if not isinstance(s, LRScheduler) or type(s)._set is not LRScheduler._set or s.optimizer is not optimizer:
                raise OptionError(f"SequentialLR: a {type(s).__name__} of another optimizer, or that does not set the "
                                  "rate, and nothing else, from the number of steps")
        super().__init__(optimizer)

    def rate(self, base: float, t: int, k: int) -> float:
        at = bisect_right(self.milestones, t)
        return self.schedulers[at].rate(base, t - (self.milestones[at - 1] if at else 0), k)


class ReduceLROnPlateau(LRScheduler):
    """Multiply the rates by ``factor`` when ``step(measure)`` has brought nothing better for over ``patience`` calls.

    Better is below the best so far (``mode="max"``: above) by more than ``threshold``, relative to the best or, with
    ``threshold_mode="abs"``, as it is. After a reduction, ``cooldown`` calls do not count. No rate falls below
    ``min_lr`` (a number, or one for each group) nor changes by no more than ``eps``.
    """

    def __init__(self, optimizer: Optimizer, mode: str = "min", factor: float = 0.1, patience: int = 10,
                 threshold: float = 1e-4, threshold_mode: str = "rel", cooldown: int = 0,
                 min_lr: float | list[float] = 0.0, eps: float = 1e-8) -> None:
        groups = len(getattr(optimizer, "param_groups", ()))
        rates = list(min_lr) if isinstance(min_lr, (list, tuple)) else min_lr
        _require(self, lambda x: x in ("min", "max"), "mode", mode, "'min' or 'max'")
        _require(self, lambda x: x in ("rel", "abs"), "threshold_mode", threshold_mode, "'rel' or 'abs'")
        _require(self, lambda x: 0 <= x < 1, "factor", factor, "a number in [0, 1)")
        _require(self, lambda x: _fits_groups(rates, groups), "min_lr", min_lr,
                 f"a finite number >= 0, or one for each of the {groups} groups")
        for option, value in (("patience", patience), ("threshold", threshold), ("cooldown", cooldown), ("eps", eps)):
            _require(self, _finite, option, value, "a finite number >= 0")
        self.mode, self.factor, self.patience, self.min_lrs, self.eps = mode, factor, patience, rates, eps
        self.threshold, self.threshold_mode, self.cooldown = threshold, threshold_mode, cooldown
        self.best, self.num_bad_epochs, self.cooldown_counter = math.inf if mode == "min" else -math.inf, 0, 0
        super().__init__(optimizer)

    def _set(self, t: int) -> None:
        """The rates stay as they are until a measure tells."""

    def step(self, measure: float) -> None:                 # type: ignore[override]  # it has something to tell
        """Tell how far the training is: a number, or a tensor of one."""
        note_as_it_is("a schedule is stepped inside; step it between the calls")
        least_rates = [_of_group(self, "min_lr", self.min_lrs, k) for k in range(len(self.optimizer.param_groups))]
        self.last_epoch += 1
        measure, sign = float(measure), 1 if self.mode == "min" else -1
        margin = self.threshold * (abs(self.best) if self.threshold_mode == "rel" else 1)
        if sign * measure < sign * self.best - (margin if math.isfinite(self.best) else 0):
            self.best, self.num_bad_epochs = measure, 0
        else:
            self.num_bad_epochs += 1
        if self.cooldown_counter > 0:
            self.cooldown_counter -= 1
            self.num_bad_epochs = 0
        if self.num_bad_epochs > self.patience:
            self.cooldown_counter, self.num_bad_epochs = self.cooldown, 0
            for group, least in zip(self.optimizer.param_groups, least_rates):
                lr = max(group["lr"] * self.factor, least)
                if group["lr"] - lr > self.eps:
                    group["lr"] = lr


name_errors(__name__)
