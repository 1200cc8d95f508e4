"""Averages of the weights of a training: Izmailov et al. (2018), and running means (Polyak and Juditsky 1992)."""
from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from microgradx._core.graph import no_grad
from microgradx._core.tensor import Tensor
from microgradx.errors import DTypeError, OptionError, is_device
from microgradx.names import make_public
from microgradx.nn.module import Module
from microgradx.optim.optimizers import Optimizer
from microgradx.optim.schedulers import LRScheduler, _count, _fits_groups, _of_group, _require

__all__ = ["SWALR", "AveragedModel", "get_ema_avg_fn", "get_ema_multi_avg_fn", "get_swa_avg_fn", "get_swa_multi_avg_fn",
           "update_bn"]

Average = Callable[[Tensor, Tensor, Any], Tensor]
Averages = Callable[[Sequence[Tensor], Sequence[Tensor], Any], None]


def get_ema_avg_fn(decay: float = 0.999) -> Average:
    """(average, parameter, count) -> ``decay`` average + (1 - decay) parameter: an exponential running mean.

    >>> import microgradx as mgx
    >>> from microgradx.optim import swa_utils
    >>> swa_utils.get_ema_avg_fn(0.75)(mgx.Tensor([4.0]), mgx.Tensor([8.0]), 1)
    Tensor([5.])
    """
    if not (isinstance(decay, (int, float)) and 0 <= decay <= 1):
        raise OptionError(f"get_ema_avg_fn: decay={decay!r} is not a number in [0, 1]")

    def average(averaged: Tensor, current: Tensor, count: Any) -> Tensor:
        return decay * averaged + (1 - decay) * current
    return average


def get_swa_avg_fn() -> Average:
    """(average, parameter, count) -> the mean of one parameter more."""
    def average(averaged: Tensor, current: Tensor, count: Any) -> Tensor:
        return averaged + (current - averaged) / (float(count) + 1)
    return average


def _of_lists(average: Average) -> Averages:
    """The same of lists, written into the first."""
    def write(averaged: Sequence[Tensor], current: Sequence[Tensor], count: Any) -> None:
        with no_grad():
            for mine, theirs in zip(averaged, current, strict=True):
                mine.copy_(average(mine, theirs, count))
    return write


def get_ema_multi_avg_fn(decay: float = 0.999) -> Averages:
    """``get_ema_avg_fn`` of lists of tensors, written into the first list's."""
    return _of_lists(get_ema_avg_fn(decay))


def get_swa_multi_avg_fn() -> Averages:
    """``get_swa_avg_fn`` of lists of tensors, written into the first list's."""
    return _of_lists(get_swa_avg_fn())


class AveragedModel(Module):
    """A copy of ``model``, whose parameters ``update_parameters(model)`` averages over the calls.

    ``avg_fn(average, parameter, count)`` gives the new average of a tensor (None: the plain mean), and
    ``multi_avg_fn(averages, parameters, count)`` writes it for all. The first call copies. With ``use_buffers`` the
    buffers are averaged as well, else copied. Calling it runs the averaged model, ``module``.

    >>> from microgradx import nn
    >>> from microgradx.optim.swa_utils import AveragedModel
    >>> net = nn.Linear(1, 1, bias=False)
    >>> averaged = AveragedModel(net)
    >>> for weight in (1.0, 3.0):
    ...     _ = nn.init.constant_(net.weight, weight)
    ...     averaged.update_parameters(net)
    >>> averaged.module.weight.item(), averaged.n_averaged.item()
    (2.0, 2)
    """
    n_averaged: Tensor

    def __init__(self, model: Module, device: Any = None, avg_fn: Average | None = None,
                 multi_avg_fn: Averages | None = None, use_buffers: bool = False) -> None:
        if not isinstance(model, Module):
            raise DTypeError(f"AveragedModel: of a Module, not {type(model).__name__}")
        if avg_fn is not None and multi_avg_fn is not None:
            raise OptionError("AveragedModel: avg_fn and multi_avg_fn say the same; give one of them")
        if device is not None and not is_device("AveragedModel", device):
            raise OptionError(f"AveragedModel: device={device!r} is none; microgradx runs on the CPU")
        self.module = copy.deepcopy(model)
        self.register_buffer("n_averaged", Tensor(0, dtype="int64"))
        self.average = multi_avg_fn or _of_lists(avg_fn or get_swa_avg_fn())
        self.use_buffers = use_buffers

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        return self.module(*args, **kwargs)

    def update_parameters(self, model: Module) -> None:
        """Take the parameters of ``model`` into the average."""
        mine, theirs = list(self.module.parameters()), list(model.parameters())
        if [p.shape for p in mine] != [p.shape for p in theirs]:
            raise OptionError(f"AveragedModel: a {type(model).__name__} with other parameters than the "
                              f"{type(self.module).__name__} that is averaged")
        buffers = list(zip(self.module.buffers(), model.buffers()))
        if self.use_buffers:
            mine, theirs = mine + [b for b, _ in buffers], theirs + [b for _, b in buffers]
        with no_grad():
            if self.n_averaged.item() == 0:
                for p, q in zip(mine, theirs):
                    p.copy_(q)
            else:
                floats = [(p, q) for p, q in zip(mine, theirs) if p.dtype.kind == "f"]
                self.average([p for p, _ in floats], [q.detach() for _, q in floats], self.n_averaged)
            for b, c in [] if self.use_buffers else buffers:
                b.copy_(c)
            self.n_averaged += 1


class SWALR(LRScheduler):
    """From the rate that it finds to ``swa_lr`` (a number, or one for each group) in ``anneal_epochs`` steps.

    ``anneal_strategy``: "cos", half a cosine, or "linear". Then the rate stays.
    """

    def __init__(self, optimizer: Optimizer, swa_lr: float | list[float], anneal_epochs: int = 10,
                 anneal_strategy: str = "cos", last_epoch: int = -1) -> None:
        groups = len(getattr(optimizer, "param_groups", ()))
        rates = list(swa_lr) if isinstance(swa_lr, tuple) else swa_lr
        _require(self, lambda x: _fits_groups(x, groups), "swa_lr", rates,
                 f"a finite number >= 0, or one for each of the {groups} groups")
        _require(self, lambda x: x == 0 or _count(x), "anneal_epochs", anneal_epochs, "an integer >= 0")
        _require(self, lambda x: x in ("cos", "linear"), "anneal_strategy", anneal_strategy, "'cos' or 'linear'")
        self.swa_lr, self.anneal_epochs, self.anneal_strategy = rates, anneal_epochs, anneal_strategy
        super().__init__(optimizer, last_epoch)

    def rate(self, base: float, t: float, k: int) -> float:
        end = float(_of_group(self, "swa_lr", self.swa_lr, k))
        along = min(1.0, t / self.anneal_epochs) if self.anneal_epochs else float(t > 0)
        share = (1 - math.cos(math.pi * along)) / 2 if self.anneal_strategy == "cos" else along
        return base + (end - base) * share


def update_bn(loader: Iterable[Any], model: Module, device: Any = None) -> None:
    """Let the batch normalisations of ``model`` have the mean and variance of the data: one pass over ``loader``.

    Batches are inputs, or tuples or lists that begin with them. What averaged weights need, whose activations no
    training has seen.
    """
    if device is not None and not is_device("update_bn", device):
        raise OptionError(f"update_bn: device={device!r} is none; microgradx runs on the CPU")
    layers: list[Any] = [m for m in model.modules()
                         if getattr(m, "running_mean", None) is not None and hasattr(m, "momentum")]
    if not layers:
        return
    momenta, training = [m.momentum for m in layers], model.training
    with no_grad():
        for m in layers:
            m.running_mean.zero_()
            m.running_var.fill_(1)
            m.num_batches_tracked.zero_()
            m.momentum = None
        model.train()
        try:
            for batch in loader:
                model(batch[0] if isinstance(batch, (list, tuple)) else batch)
        finally:
            for m, momentum in zip(layers, momenta):
                m.momentum = momentum
            model.train(training)


make_public(__name__)
