"""The costs as modules: name and options of each are those of its function."""
from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np

from microgradx._core.tensor import Tensor
from microgradx.errors import name_errors
from microgradx.nn import costs
from microgradx.nn.module import CheckedOptions
from microgradx.typing import Data

__all__ = ["MSELoss", "QuadraticCost", "L1Loss", "HuberLoss", "SmoothL1Loss", "GaussianNLLLoss", "BCELoss",
           "BCEWithLogitsLoss", "HingeLoss", "CrossEntropyLoss", "NLLLoss", "MultiMarginLoss", "KLDivLoss"]


class _Loss(CheckedOptions):
    """A cost without parameters: ``function`` of what it is called with. Options that are tensors are buffers."""
    function: ClassVar[Callable[..., Tensor]]

    def __init__(self, reduction: str = "mean", **options: Any) -> None:
        costs.check_reduction(type(self).__name__, reduction,
                              costs.KL_REDUCTIONS if type(self).function is costs.kl_div else costs.REDUCTIONS)
        self.reduction, self.options = reduction, tuple(options)
        for option, value in options.items():
            if isinstance(value, (Tensor, np.ndarray, list)):
                self.register_buffer(option, value if isinstance(value, Tensor) else Tensor(value))
            else:
                setattr(self, option, value)

    def forward(self, *args: Data) -> Tensor:
        return type(self).function(*args, self.reduction, **{option: getattr(self, option) for option in self.options})

    def extra_repr(self) -> str:
        usual = type(self).function.__kwdefaults__ or {}
        values = {option: getattr(self, option) for option in self.options}
        return ", ".join([f"reduction={self.reduction!r}"] + [
            f"{k}={v!r}" for k, v in values.items() if isinstance(v, Tensor) or v != usual[k]])


class MSELoss(_Loss):
    """``functional.mse_loss`` as a module, called with ``(p, t)``."""
    function = costs.mse_loss

    def __init__(self, reduction: str = "mean") -> None:
        super().__init__(reduction)


class QuadraticCost(_Loss):
    """``functional.quadratic_cost`` as a module, called with ``(p, t)``."""
    function = costs.quadratic_cost

    def __init__(self, reduction: str = "mean") -> None:
        super().__init__(reduction)


class L1Loss(_Loss):
    """``functional.l1_loss`` as a module, called with ``(p, t)``."""
    function = costs.l1_loss

    def __init__(self, reduction: str = "mean") -> None:
        super().__init__(reduction)


class HuberLoss(_Loss):
    """``functional.huber_loss`` as a module, called with ``(p, t)``."""
    function = costs.huber_loss

    def __init__(self, reduction: str = "mean", *, delta: float = 1.0) -> None:
        super().__init__(reduction, delta=delta)


class SmoothL1Loss(_Loss):
    """``functional.smooth_l1_loss`` as a module, called with ``(p, t)``."""
    function = costs.smooth_l1_loss

    def __init__(self, reduction: str = "mean", *, beta: float = 1.0) -> None:
        super().__init__(reduction, beta=beta)


class GaussianNLLLoss(_Loss):
    """``functional.gaussian_nll_loss`` as a module, called with ``(p, t, var)``."""
    function = costs.gaussian_nll_loss

    def __init__(self, reduction: str = "mean", *, full: bool = False, eps: float = 1e-6) -> None:
        super().__init__(reduction, full=full, eps=eps)


class BCELoss(_Loss):
    """``functional.binary_cross_entropy`` as a module, called with ``(p, t)``."""
    function = costs.binary_cross_entropy

    def __init__(self, reduction: str = "mean", *, weight: Data | None = None) -> None:
        super().__init__(reduction, weight=weight)


class BCEWithLogitsLoss(_Loss):
    """``functional.binary_cross_entropy_with_logits`` as a module, called with ``(z, t)``."""
    function = costs.binary_cross_entropy_with_logits

    def __init__(self, reduction: str = "mean", *, weight: Data | None = None, pos_weight: Data | None = None) -> None:
        super().__init__(reduction, weight=weight, pos_weight=pos_weight)


class HingeLoss(_Loss):
    """``functional.hinge_loss`` as a module, called with ``(p, t)``."""
    function = costs.hinge_loss

    def __init__(self, reduction: str = "mean", *, margin: float = 1.0) -> None:
        super().__init__(reduction, margin=margin)


class CrossEntropyLoss(_Loss):
    """``functional.cross_entropy`` as a module, called with ``(logits, target)``."""
    function = costs.cross_entropy

    def __init__(self, reduction: str = "mean", *, weight: Data | None = None, ignore_index: int = -100,
                 label_smoothing: float = 0.0) -> None:
        super().__init__(reduction, weight=weight, ignore_index=ignore_index, label_smoothing=label_smoothing)


class NLLLoss(_Loss):
    """``functional.nll_loss`` as a module, called with ``(logp, target)``."""
    function = costs.nll_loss

    def __init__(self, reduction: str = "mean", *, weight: Data | None = None, ignore_index: int = -100) -> None:
        super().__init__(reduction, weight=weight, ignore_index=ignore_index)


class MultiMarginLoss(_Loss):
    """``functional.multi_margin_loss`` as a module, called with ``(x, target)``."""
    function = costs.multi_margin_loss

    def __init__(self, reduction: str = "mean", *, p: float = 1, margin: float = 1.0,
                 weight: Data | None = None) -> None:
        super().__init__(reduction, p=p, margin=margin, weight=weight)


class KLDivLoss(_Loss):
    """``functional.kl_div`` as a module, called with ``(logp, t)``."""
    function = costs.kl_div

    def __init__(self, reduction: str = "mean", *, log_target: bool = False) -> None:
        super().__init__(reduction, log_target=log_target)


# Cost as a module: the function it calls.
LOSSES = {loss.__name__: loss.function.__name__ for loss in _Loss.__subclasses__()}


name_errors(__name__, "forward")
