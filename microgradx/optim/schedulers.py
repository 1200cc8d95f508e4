"""Schedules: the rate of each group as a function of the number of ``step()`` calls.

A schedule computes each rate from the rate at the start, so nothing drifts. Where it finds another rate than it set, by
hand or by another schedule of the same optimizer, it goes on from there, as in torch: the rate changes by as much as
the schedule changes it between the two steps. The schedules that torch computes from the start alone (``LambdaLR``,
``OneCycleLR``, ``CyclicLR``, ``CosineAnnealingWarmRestarts`` and ``SequentialLR``) set their own rate. A group that is
added later goes on, at the next step, from the rate that it was given. A new schedule takes up an earlier one with
``load_state_dict``, before or after the optimizer does.
"""
from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeGuard

from microgradx._core.launch import note_as_it_is
from microgradx.errors import DTypeError, NotImplementedError_, OptionError
from microgradx.names import make_public
from microgradx.optim.optimizers import Optimizer
from microgradx.typing import Function

__all__ = ["ChainedScheduler", "ConstantLR", "CosineAnnealingLR", "CosineAnnealingWarmRestarts", "CyclicLR",
           "ExponentialLR", "LRScheduler", "LambdaLR", "LinearLR", "MultiStepLR", "MultiplicativeLR", "OneCycleLR",
           "PolynomialLR", "ReduceLROnPlateau", "SequentialLR", "StepLR"]


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
    """The base of schedules. A subclass defines ``rate(base, t, k)``: the rate of group k after t steps; or
    ``get_lr()``, as torch's do: the rates of all groups after ``last_epoch`` steps.

    ``base`` is the group's rate when its first scheduler was made, or that with which ``CyclicLR`` or ``OneCycleLR``
    starts, noted as ``group["initial_lr"]``; of a group that is added later, the rate that leads to the one it was
    given. Making a scheduler sets the rate for t = 0, or for t = ``last_epoch`` + 1 in an optimizer whose groups have
    an ``initial_lr``; call ``step()`` after the optimizer's, once for each step or epoch.

    >>> from microgradx import nn, optim
    >>> class Halving(optim.lr_scheduler.LRScheduler):
    ...     def get_lr(self):
    ...         return [base / 2**self.last_epoch for base in self.base_lrs]
    >>> schedule = Halving(optim.SGD([nn.Parameter(1.0)], lr=1.0))
    >>> schedule.step()
    >>> schedule.get_last_lr()
    [0.5]
    """
    _last_lr: list[float]
    absolute = False            # is the rate that of the schedule, whatever it finds?

    def __init__(self, optimizer: Optimizer, last_epoch: int = -1) -> None:
        if not isinstance(optimizer, Optimizer):
            raise DTypeError(f"{type(self).__name__}: of an Optimizer, not {type(optimizer).__name__}")
        _require(self, lambda x: isinstance(x, int) and x >= -1, "last_epoch", last_epoch, "an integer >= -1")
        self.optimizer, self.last_epoch = optimizer, last_epoch
        groups = optimizer.param_groups
        if last_epoch >= 0 and not all("initial_lr" in group for group in groups):
            raise OptionError(f"{type(self).__name__}: last_epoch={last_epoch} goes on with an optimizer whose groups "
                              "have an initial_lr; load its state first")
        self.base_lrs: list[float] = [
            group.setdefault("initial_lr", self._start(group["lr"], k))
            for k, group in enumerate(groups)]
        self._set(last_epoch + 1)

    def _start(self, lr: float, k: int) -> float:
        """What the rates of group k, which is ``lr``, are told from."""
        return lr

    def rate(self, base: float, t: float, k: int) -> float:
        raise NotImplementedError_(f"{type(self).__name__} defines neither rate nor get_lr")

    def get_lr(self) -> list[float]:
        """The rates of the groups after ``last_epoch`` steps."""
        return self._rates(self.last_epoch)

    def _rates(self, t: float) -> list[float]:
        """The rates after t steps, from those that the groups have now."""
        return [self._next_rate(base, t, k) for k, base in enumerate(self.base_lrs)]

    def _next_rate(self, base: float, t: float, k: int) -> float:
        lr: float = self.optimizer.param_groups[k]["lr"]
        if self.absolute or lr == (self.rate(base, t - 1, k) if t > 0 else base):
            return self.rate(base, t, k)
        least, slope = self._affine(t - 1, k) if t > 0 else (0.0, 1.0)
        if slope == 0:
            return lr + self.rate(base, t, k) - self.rate(base, t - 1, k)
        now_least, now_slope = self._affine(t, k)
        return now_least + (lr - least) * now_slope / slope

    def _affine(self, t: float, k: int) -> tuple[float, float]:
        """A rate is affine in its base: (what it is for a base of 0, by how much it grows with the base)."""
        least = self.rate(0.0, t, k)
        return least, self.rate(1.0, t, k) - least

    def _options(self) -> tuple[str, ...]:
        """The options of the groups that the schedule sets."""
        return ("lr",)

    def _set(self, t: float) -> None:
        """Let the groups have the rates that follow t steps. Nothing changes if that raises."""
        if type(self).get_lr is not LRScheduler.get_lr:
            before, self.last_epoch = self.last_epoch, t            # type: ignore[assignment]
            try:
                rates = list(self.get_lr())
            except BaseException:
                self.last_epoch = before
                raise
        else:
            rates = self._rates(t)
        self._assign(t, rates)

    def _assign(self, t: float, rates: list[float]) -> None:
        self.last_epoch = t             # type: ignore[assignment]  # of warm restarts a float
        for group, lr in zip(self.optimizer.param_groups, rates):
            group["lr"] = lr
        self._last_lr = self._rates_now()

    def _adopt(self) -> None:
        """Take in the groups that were added since the last step."""
        for k, group in enumerate(self.optimizer.param_groups[len(self.base_lrs):], len(self.base_lrs)):
            base = group.get("initial_lr")
            if base is None:                            # a rate is affine in its base
                (least, slope), lr = self._affine(self.last_epoch, k), group["lr"]
                base = (lr - least) / slope if slope > 0 and lr >= least else lr
                group["initial_lr"] = base
            self.base_lrs.append(base)

    def step(self, epoch: float | None = None) -> None:
        """Count a step and set the rates that follow; with ``epoch``, those that follow so many steps from the
        start."""
        note_as_it_is("a schedule is stepped inside; step it between the calls")
        self._adopt()
        if epoch is None:
            self._set(self.last_epoch + 1)
        else:
            _require(self, _finite, "epoch", epoch, "a number >= 0")
            self._assign(epoch, [self.rate(base, epoch, k) for k, base in enumerate(self.base_lrs)])

    def _rates_now(self) -> list[float]:
        """The rates that the groups have."""
        return [group["lr"] for group in self.optimizer.param_groups]

    def get_last_lr(self) -> list[float]:
        """The rate of each group as this schedule set it last."""
        return list(vars(self).get("_last_lr") or self._rates_now())

    def state_dict(self) -> dict[str, Any]:
        """Numbers and lists by name: all but the optimizer and functions, and what the groups have now."""
        own = {name: list(value) if isinstance(value, list) else value for name, value in vars(self).items()
               if name not in ("optimizer", "functions", "schedulers", "_last_lr") and not callable(value)}
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
            type(self.optimizer).check({option: group[option] for option in group if option != "params"} | each)
        vars(self).update({key: list(value) if isinstance(value, list) else value for key, value in state.items()
                           if key != "groups"})
        for group, each in zip(groups, options):
            for option, value in each.items():
                group[option] = tuple(value) if option == "betas" else value
        self._last_lr = self._rates_now()


_LRScheduler = LRScheduler                              # torch's former name of the base


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

    absolute = True

    def __init__(self, optimizer: Optimizer, lr_lambda: Function | list[Function], last_epoch: int = -1) -> None:
        self.functions = _functions(self, optimizer, lr_lambda)
        super().__init__(optimizer, last_epoch)

    def rate(self, base: float, t: float, k: int) -> float:
        return base * float(_of_group(self, "lr_lambda", self.functions, k)(t))


class MultiplicativeLR(LRScheduler):
    """base * function(1) * ... * function(t); one function, or a list with one for each group.

    >>> from microgradx import nn, optim
    >>> opt = optim.SGD([nn.Parameter(1.0)], lr=8.0)
    >>> schedule = optim.lr_scheduler.MultiplicativeLR(opt, lambda t: 0.5)
    >>> for _ in range(3):
    ...     schedule.step()
    >>> schedule.get_last_lr()
    [1.0]
    """

    def __init__(self, optimizer: Optimizer, lr_lambda: Function | list[Function], last_epoch: int = -1) -> None:
        self.functions = _functions(self, optimizer, lr_lambda)
        super().__init__(optimizer, last_epoch)

    def rate(self, base: float, t: float, k: int) -> float:
        function = _of_group(self, "lr_lambda", self.functions, k)
        return base * math.prod(float(function(at)) for at in range(1, int(t) + 1))

    def _next_rate(self, base: float, t: float, k: int) -> float:
        lr: float = self.optimizer.param_groups[k]["lr"]
        return lr * float(_of_group(self, "lr_lambda", self.functions, k)(t)) if t > 0 else lr


def _functions(scheduler: LRScheduler, optimizer: Optimizer, lr_lambda: Any) -> Any:
    """One function, or a list with one for each group."""
    found = list(lr_lambda) if isinstance(lr_lambda, (list, tuple)) else lr_lambda
    functions = found if isinstance(found, list) else [found]
    groups = len(getattr(optimizer, "param_groups", functions))
    if not all(map(callable, functions)) or isinstance(found, list) and len(functions) != groups:
        raise OptionError(f"{type(scheduler).__name__}: a function, or one for each of the {groups} groups, not "
                          f"{lr_lambda!r:.60}")
    return found


class StepLR(LRScheduler):
    """base * gamma^(t // step_size)."""

    def __init__(self, optimizer: Optimizer, step_size: int, gamma: float = 0.1, last_epoch: int = -1) -> None:
        _require(self, _count, "step_size", step_size, "an integer >= 1")
        _require(self, _finite, "gamma", gamma, "a finite number >= 0")
        self.step_size, self.gamma = step_size, gamma
        super().__init__(optimizer, last_epoch)

    def rate(self, base: float, t: float, k: int) -> float:
        return base * float(self.gamma ** (t // self.step_size))


class MultiStepLR(LRScheduler):
    """base * gamma^(number of milestones that t has reached)."""

    def __init__(self, optimizer: Optimizer, milestones: Sequence[int], gamma: float = 0.1,
                 last_epoch: int = -1) -> None:
        _require(self, _rising, "milestones", milestones, "a rising list of integers >= 1")
        _require(self, _finite, "gamma", gamma, "a finite number >= 0")
        self.milestones, self.gamma = list(milestones), gamma
        super().__init__(optimizer, last_epoch)

    def rate(self, base: float, t: float, k: int) -> float:
        return base * self.gamma ** bisect_right(self.milestones, t)


class ExponentialLR(LRScheduler):
    """base * gamma^t."""

    def __init__(self, optimizer: Optimizer, gamma: float, last_epoch: int = -1) -> None:
        _require(self, _finite, "gamma", gamma, "a finite number >= 0")
        self.gamma = gamma
        super().__init__(optimizer, last_epoch)

    def rate(self, base: float, t: float, k: int) -> float:
        return base * float(self.gamma**t)


class LinearLR(LRScheduler):
    """base * (a line from start_factor to end_factor over total_iters steps, flat from then on): a warm-up."""

    def __init__(self, optimizer: Optimizer, start_factor: float = 1 / 3, end_factor: float = 1.0,
                 total_iters: int = 5, last_epoch: int = -1) -> None:
        _require(self, lambda x: 0 < x <= 1, "start_factor", start_factor, "a number in (0, 1]")
        _require(self, lambda x: 0 <= x <= 1, "end_factor", end_factor, "a number in [0, 1]")
        _require(self, _count, "total_iters", total_iters, "an integer >= 1")
        self.start_factor, self.end_factor, self.total_iters = start_factor, end_factor, total_iters
        super().__init__(optimizer, last_epoch)

    def rate(self, base: float, t: float, k: int) -> float:
        along = min(t, self.total_iters) / self.total_iters
        return base * (self.start_factor + (self.end_factor - self.start_factor) * along)


class CosineAnnealingLR(LRScheduler):
    """eta_min + (base - eta_min) (1 + cos(pi t / T_max)) / 2: down to eta_min at T_max, and up again behind it.

    Loshchilov and Hutter (2017), without the restarts.
    """

    def __init__(self, optimizer: Optimizer, T_max: int, eta_min: float = 0.0, last_epoch: int = -1) -> None:
        _require(self, _count, "T_max", T_max, "an integer >= 1")
        _require(self, _finite, "eta_min", eta_min, "a finite number >= 0")
        self.T_max, self.eta_min = T_max, eta_min
        super().__init__(optimizer, last_epoch)

    def rate(self, base: float, t: float, k: int) -> float:
        return self.eta_min + (base - self.eta_min) * (1 + math.cos(math.pi * t / self.T_max)) / 2


class CosineAnnealingWarmRestarts(LRScheduler):
    """A cosine from the base to ``eta_min`` over ``T_0`` steps, and again and again, each ``T_mult`` times as long.

    Loshchilov and Hutter (2017). ``step(epoch)`` takes fractions, for a rate that changes within an epoch.

    >>> from microgradx import nn, optim
    >>> opt = optim.SGD([nn.Parameter(1.0)], lr=1.0)
    >>> schedule = optim.lr_scheduler.CosineAnnealingWarmRestarts(opt, T_0=2, T_mult=2)
    >>> for _ in range(4):
    ...     print(round(opt.param_groups[0]["lr"], 3), end=" ")
    ...     schedule.step()
    1.0 0.5 1.0 0.854 
    """
    absolute = True

    def __init__(self, optimizer: Optimizer, T_0: int, T_mult: int = 1, eta_min: float = 0.0,
                 last_epoch: int = -1) -> None:
        _require(self, _count, "T_0", T_0, "an integer >= 1")
        _require(self, _count, "T_mult", T_mult, "an integer >= 1")
        _require(self, _finite, "eta_min", eta_min, "a finite number >= 0")
        self.T_0, self.T_mult, self.eta_min = T_0, T_mult, eta_min
        super().__init__(optimizer, last_epoch)

    def rate(self, base: float, t: float, k: int) -> float:
        period: float = self.T_0
        if self.T_mult == 1:
            t %= period
        while t >= period:
            t, period = t - period, period * self.T_mult
        return _cosine(base, self.eta_min, t / period)


class ConstantLR(LRScheduler):
    """base * ``factor`` for ``total_iters`` steps, then base."""

    def __init__(self, optimizer: Optimizer, factor: float = 1 / 3, total_iters: int = 5, last_epoch: int = -1) -> None:
        _require(self, lambda x: 0 <= x <= 1, "factor", factor, "a number in [0, 1]")
        _require(self, _count, "total_iters", total_iters, "an integer >= 1")
        self.factor, self.total_iters = factor, total_iters
        super().__init__(optimizer, last_epoch)

    def rate(self, base: float, t: float, k: int) -> float:
        return base * self.factor if t < self.total_iters else base


class PolynomialLR(LRScheduler):
    """base * (1 - t / total_iters)^power: 0 after ``total_iters`` steps."""

    def __init__(self, optimizer: Optimizer, total_iters: int = 5, power: float = 1.0, last_epoch: int = -1) -> None:
        _require(self, _count, "total_iters", total_iters, "an integer >= 1")
        _require(self, _finite, "power", power, "a finite number >= 0")
        self.total_iters, self.power = total_iters, power
        super().__init__(optimizer, last_epoch)

    def rate(self, base: float, t: float, k: int) -> float:
        return base * float((1 - min(t, self.total_iters) / self.total_iters) ** self.power)


class CyclicLR(LRScheduler):
    """Up from ``base_lr`` to ``max_lr`` in ``step_size_up`` steps and down in ``step_size_down``, again and again.

    ``mode``: "triangular"; "triangular2" halves the height at each cycle; "exp_range" multiplies it by gamma^t. A
    ``scale_fn`` in place of a mode gives the factor of the height, of the cycle, which counts from 1, or with
    ``scale_mode="iterations"`` of t. With ``cycle_momentum`` the momentum (of Adam the first of the betas) goes the
    other way, from ``max_momentum`` to ``base_momentum``. The rates and momenta are numbers, or lists with one for each
    group. Smith (2017).

    >>> from microgradx import nn, optim
    >>> opt = optim.SGD([nn.Parameter(1.0)], lr=1.0)
    >>> schedule = optim.lr_scheduler.CyclicLR(opt, 0.0, 1.0, step_size_up=2, cycle_momentum=False)
    >>> for _ in range(5):
    ...     print(opt.param_groups[0]["lr"], end=" ")
    ...     schedule.step()
    0.0 0.5 1.0 0.5 0.0 
    """
    absolute = True

    def __init__(self, optimizer: Optimizer, base_lr: float | list[float], max_lr: float | list[float],
                 step_size_up: int = 2000, step_size_down: int | None = None, mode: str = "triangular",
                 gamma: float = 1.0, scale_fn: Callable[[float], float] | None = None, scale_mode: str = "cycle",
                 cycle_momentum: bool = True, base_momentum: float | list[float] = 0.8,
                 max_momentum: float | list[float] = 0.9, last_epoch: int = -1) -> None:
        groups = len(getattr(optimizer, "param_groups", ()))
        down = step_size_up if step_size_down is None else step_size_down
        _require(self, _count, "step_size_up", step_size_up, "an integer >= 1")
        _require(self, _count, "step_size_down", down, "an integer >= 1")
        _require(self, lambda x: x in ("triangular", "triangular2", "exp_range"), "mode", mode,
                 "'triangular', 'triangular2' or 'exp_range'")
        _require(self, lambda x: x in ("cycle", "iterations"), "scale_mode", scale_mode, "'cycle' or 'iterations'")
        _require(self, lambda x: x is None or callable(x), "scale_fn", scale_fn, "a function or None")
        _require(self, _finite, "gamma", gamma, "a finite number >= 0")
        values = dict(base_lr=base_lr, max_lr=max_lr, base_momentum=base_momentum, max_momentum=max_momentum)
        for option, value in values.items():
            value = list(value) if isinstance(value, tuple) else value
            values[option] = _require(self, lambda x: _fits_groups(x, groups), option, value,
                                      f"a finite number >= 0, or one for each of the {groups} groups")
        if cycle_momentum:
            _check_momentum(self, optimizer)
        self.bounds, self.step_size_up, self.step_size_down = values, step_size_up, down
        self.mode, self.gamma, self.scale_fn, self.cycle_momentum = mode, gamma, scale_fn, cycle_momentum
        self.scale_mode = scale_mode if scale_fn else "iterations" if mode == "exp_range" else "cycle"
        super().__init__(optimizer, last_epoch)

    def _between(self, t: float, option: str, k: int) -> tuple[float, float, float]:
        """(the lower bound, the upper bound, how far between) of the rate or the momentum of group k."""
        cycle, within = divmod(t, self.step_size_up + self.step_size_down)
        up = within / self.step_size_up if within <= self.step_size_up else (
            1 - (within - self.step_size_up) / self.step_size_down)
        along = cycle + 1 if self.scale_mode == "cycle" else t
        scale = (self.scale_fn(along) if self.scale_fn else 0.5 ** cycle if self.mode == "triangular2" else
                 self.gamma ** t if self.mode == "exp_range" else 1.0)
        low, high = (_of_group(self, name, self.bounds[name], k) for name in (f"base_{option}", f"max_{option}"))
        return low, high, up * scale

    def _start(self, lr: float, k: int) -> float:
        return self.rate(lr, 0, k)

    def rate(self, base: float, t: float, k: int) -> float:
        low, high, along = self._between(t, "lr", k)
        return low + (high - low) * along

    def _options(self) -> tuple[str, ...]:
        return ("lr", "momentum", "betas") if self.cycle_momentum else ("lr",)

    def _assign(self, t: float, rates: list[float]) -> None:
        super()._assign(t, rates)
        if self.cycle_momentum:
            bounds = [self._between(t, "momentum", k) for k in range(len(rates))]
            _set_momentum(self.optimizer, [high - (high - low) * along for low, high, along in bounds])


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
    absolute = True

    def __init__(self, optimizer: Optimizer, max_lr: float | list[float], total_steps: int | None = None,
                 epochs: int | None = None, steps_per_epoch: int | None = None, pct_start: float = 0.3,
                 anneal_strategy: str = "cos", cycle_momentum: bool = True, base_momentum: float = 0.85,
                 max_momentum: float = 0.95, div_factor: float = 25.0, final_div_factor: float = 1e4,
                 three_phase: bool = False, last_epoch: int = -1) -> None:
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
        if cycle_momentum:
            _check_momentum(self, optimizer)
        self.total_steps, self.max_lrs = total, rates
        self.anneal_strategy, self.cycle_momentum = anneal_strategy, cycle_momentum
        up, low, last = pct_start * total, 1 / div_factor, total - 1
        end = low / final_div_factor
        # (where a phase ends, the factor of max_lr there, the momentum there)
        self.phases = [(0, low, max_momentum), (up - 1, 1.0, base_momentum), (last, end, max_momentum)]
        if three_phase:
            self.phases[2:] = [(2 * up - 2, low, max_momentum), (last, end, max_momentum)]
        super().__init__(optimizer, last_epoch)

    def _at(self, t: float, place: int) -> float:
        """Entry ``place`` of the phases, between the two around t."""
        cosine = self.anneal_strategy == "cos"
        k = next((k for k, phase in enumerate(self.phases[1:-1], 1) if t <= phase[0]), len(self.phases) - 1)
        start, end = self.phases[k - 1], self.phases[k]
        along = (t - start[0]) / (end[0] - start[0]) if end[0] != start[0] else 1.0
        if cosine:                              # after the last step a little beyond the end, as in torch
            return _cosine(start[place], end[place], along)
        return _line(start[place], end[place], min(along, 1.0))

    def _start(self, lr: float, k: int) -> float:
        return self.rate(lr, 0, k)

    def rate(self, base: float, t: float, k: int) -> float:
        if t > self.total_steps:
            raise OptionError(f"OneCycleLR: tried to step {t} times; total_steps is {self.total_steps}")
        return float(_of_group(self, "max_lr", self.max_lrs, k)) * self._at(t, 1)

    def _options(self) -> tuple[str, ...]:
        return ("lr", "momentum", "betas") if self.cycle_momentum else ("lr",)

    def _assign(self, t: float, rates: list[float]) -> None:
        super()._assign(t, rates)
        if self.cycle_momentum:
            _set_momentum(self.optimizer, [self._at(t, 2)] * len(rates))


def _check_momentum(scheduler: LRScheduler, optimizer: Optimizer) -> None:
    """Have all groups a momentum to cycle?"""
    if not all("momentum" in group or "betas" in group for group in getattr(optimizer, "param_groups", [])):
        raise OptionError(f"{type(scheduler).__name__}: {type(optimizer).__name__} has no momentum to cycle; "
                          "cycle_momentum=False")


def _set_momentum(optimizer: Optimizer, momenta: Sequence[float]) -> None:
    """The momentum of each group: of Adam and its kin the first of the betas."""
    for group, momentum in zip(optimizer.param_groups, momenta):
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

    absolute = True

    def __init__(self, optimizer: Optimizer, schedulers: Iterable[LRScheduler], milestones: Sequence[int],
                 last_epoch: int = -1) -> None:
        _require(self, _rising, "milestones", milestones, "a rising list of integers >= 1")
        self.schedulers, self.milestones = list(schedulers), list(milestones)
        if len(self.schedulers) != len(self.milestones) + 1:
            raise OptionError(f"SequentialLR: {len(self.schedulers)} schedulers and {len(self.milestones)} milestones; "
                              "a milestone stands between each two")
        for s in self.schedulers:
            if (not isinstance(s, LRScheduler) or type(s)._assign is not LRScheduler._assign
                    or s.optimizer is not optimizer):
                raise OptionError(f"SequentialLR: a {type(s).__name__} of another optimizer, or that does not set the "
                                  "rate, and nothing else, from the number of steps")
        super().__init__(optimizer, last_epoch)

    def rate(self, base: float, t: float, k: int) -> float:
        at = bisect_right(self.milestones, t)
        return self.schedulers[at].rate(base, t - (self.milestones[at - 1] if at else 0), k)


class ChainedScheduler(LRScheduler):
    """Several schedules of one optimizer as one: each step is a step of all, in their order.

    >>> from microgradx import nn, optim
    >>> opt = optim.SGD([nn.Parameter(1.0)], lr=1.0)
    >>> warm, cool = optim.lr_scheduler.ConstantLR(opt, 0.25, total_iters=2), optim.ExponentialLR(opt, 0.5)
    >>> schedule = optim.lr_scheduler.ChainedScheduler([warm, cool])
    >>> for _ in range(4):
    ...     print(opt.param_groups[0]["lr"], end=" ")
    ...     schedule.step()
    0.25 0.125 0.25 0.125 
    """

    def __init__(self, schedulers: Iterable[LRScheduler], optimizer: Optimizer | None = None) -> None:
        self.schedulers = list(schedulers)
        for s in self.schedulers:
            if not isinstance(s, LRScheduler) or isinstance(s, ReduceLROnPlateau) or (
                    s.optimizer is not (optimizer or self.schedulers[0].optimizer)):
                raise OptionError(f"ChainedScheduler: a {type(s).__name__} of another optimizer, or that does not step "
                                  "without a measure")
        if not self.schedulers:
            raise OptionError("ChainedScheduler: 0 schedulers; there is nothing to step")
        self.optimizer = self.schedulers[0].optimizer
        self.last_epoch, self._last_lr = 0, self._rates_now()

    def step(self, epoch: float | None = None) -> None:
        """A step of each schedule; all of them take ``epoch``."""
        for s in self.schedulers:
            s.step(epoch)
        self.last_epoch, self._last_lr = self.schedulers[0].last_epoch, self._rates_now()

    def state_dict(self) -> dict[str, Any]:
        """The states of the schedules."""
        return {"_schedulers": [s.state_dict() for s in self.schedulers], "last_epoch": self.last_epoch}

    def load_state_dict(self, state: dict[str, Any]) -> Any:
        """Take over what ``state_dict`` gave."""
        if not isinstance(state, dict) or sorted(state) != ["_schedulers", "last_epoch"] or (
                len(state["_schedulers"]) != len(self.schedulers)):
            raise OptionError("ChainedScheduler: load_state_dict takes what state_dict of as many schedules gave")
        for s, own in zip(self.schedulers, state["_schedulers"]):
            s.load_state_dict(own)
        self.last_epoch, self._last_lr = state["last_epoch"], self._rates_now()


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

    def _set(self, t: float) -> None:
        """The rates stay as they are until a measure tells."""
        self.last_epoch, self._last_lr = int(t), self._rates_now()

    def step(self, metrics: float, epoch: int | None = None) -> None:       # type: ignore[override]  # has a measure
        """Tell how far the training is, ``metrics``: a number, or a tensor of one; after ``epoch`` steps, or one
        more."""
        note_as_it_is("a schedule is stepped inside; step it between the calls")
        least_rates = [_of_group(self, "min_lr", self.min_lrs, k) for k in range(len(self.optimizer.param_groups))]
        self.last_epoch = self.last_epoch + 1 if epoch is None else epoch
        measure, sign = float(metrics), 1 if self.mode == "min" else -1
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
        self._last_lr = self._rates_now()


make_public(__name__)
