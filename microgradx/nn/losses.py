"""The costs as modules: name and options of each are those of its function."""
from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np

from microgradx._core.tensor import Tensor
from microgradx.names import make_public
from microgradx.nn import costs, margins
from microgradx.nn.module import Module
from microgradx.typing import Data

__all__ = ["MSELoss", "QuadraticCost", "L1Loss", "HuberLoss", "SmoothL1Loss", "GaussianNLLLoss", "PoissonNLLLoss",
           "BCELoss", "BCEWithLogitsLoss", "HingeLoss", "CrossEntropyLoss", "NLLLoss", "MultiMarginLoss", "KLDivLoss",
           "MarginRankingLoss", "HingeEmbeddingLoss", "CosineEmbeddingLoss", "TripletMarginLoss",
           "TripletMarginWithDistanceLoss", "SoftMarginLoss", "MultiLabelSoftMarginLoss", "MultiLabelMarginLoss"]


class _Loss(Module):
    """A cost without parameters: ``function`` of what it is called with. Options that are tensors are buffers."""
    function: ClassVar[Callable[..., Tensor]]
    reduction: str

    def _keep(self, **options: Any) -> None:
        costs.check_reduction(type(self).__name__, options["reduction"],
                              costs.KL_REDUCTIONS if type(self).function is costs.kl_div else costs.REDUCTIONS)
        costs.check_weight(type(self).__name__, options.get("weight"))
        self.options = tuple(options)
        for option, value in options.items():
            if isinstance(value, (Tensor, np.ndarray, list)):
                self.register_buffer(option, value if isinstance(value, Tensor) else Tensor(value))
            else:
                setattr(self, option, value)

    def forward(self, *args: Data, **operands: Data) -> Tensor:
        return type(self).function(*args, **operands, **{option: getattr(self, option) for option in self.options})

    def extra_repr(self) -> str:
        parameters = inspect.signature(type(self).__init__).parameters
        values = {option: getattr(self, option) for option in self.options}
        return ", ".join(f"{k}={v!r}" for k, v in values.items()
                         if isinstance(v, Tensor) or v != parameters[k].default)


class MSELoss(_Loss):
    """``functional.mse_loss`` as a module, called with ``(input, target)``."""
    function = costs.mse_loss

    def __init__(self, reduction: str = "mean") -> None:
        self._keep(reduction=reduction)


class QuadraticCost(_Loss):
    """``functional.quadratic_cost`` as a module, called with ``(input, target)``."""
    function = costs.quadratic_cost

    def __init__(self, reduction: str = "mean") -> None:
        self._keep(reduction=reduction)


class L1Loss(_Loss):
    """``functional.l1_loss`` as a module, called with ``(input, target)``."""
    function = costs.l1_loss

    def __init__(self, reduction: str = "mean") -> None:
        self._keep(reduction=reduction)


class HuberLoss(_Loss):
    """``functional.huber_loss`` as a module, called with ``(input, target)``."""
    function = costs.huber_loss

    def __init__(self, reduction: str = "mean", delta: float = 1.0) -> None:
        self._keep(reduction=reduction, delta=delta)


class SmoothL1Loss(_Loss):
    """``functional.smooth_l1_loss`` as a module, called with ``(input, target)``."""
    function = costs.smooth_l1_loss

    def __init__(self, reduction: str = "mean", beta: float = 1.0) -> None:
        self._keep(reduction=reduction, beta=beta)


class GaussianNLLLoss(_Loss):
    """``functional.gaussian_nll_loss`` as a module, called with ``(input, target, var)``."""
    function = costs.gaussian_nll_loss

    def __init__(self, full: bool = False, eps: float = 1e-6, reduction: str = "mean") -> None:
        self._keep(full=full, eps=eps, reduction=reduction)


class PoissonNLLLoss(_Loss):
    """``functional.poisson_nll_loss`` as a module, called with ``(input, target)``."""
    function = costs.poisson_nll_loss

    def __init__(self, log_input: bool = True, full: bool = False, eps: float = 1e-8, *,
                 reduction: str = "mean") -> None:
        self._keep(log_input=log_input, full=full, eps=eps, reduction=reduction)


class BCELoss(_Loss):
    """``functional.binary_cross_entropy`` as a module, called with ``(input, target)``."""
    function = costs.binary_cross_entropy

    def __init__(self, weight: Data | None = None, *, reduction: str = "mean") -> None:
        self._keep(weight=weight, reduction=reduction)


class BCEWithLogitsLoss(_Loss):
    """``functional.binary_cross_entropy_with_logits`` as a module, called with ``(input, target)``."""
    function = costs.binary_cross_entropy_with_logits

    def __init__(self, weight: Data | None = None, *, reduction: str = "mean", pos_weight: Data | None = None) -> None:
        self._keep(weight=weight, reduction=reduction, pos_weight=pos_weight)


class HingeLoss(_Loss):
    """``functional.hinge_loss`` as a module, called with ``(input, target)``."""
    function = costs.hinge_loss

    def __init__(self, reduction: str = "mean", margin: float = 1.0) -> None:
        self._keep(reduction=reduction, margin=margin)


class CrossEntropyLoss(_Loss):
    """``functional.cross_entropy`` as a module, called with ``(input, target)``."""
    function = costs.cross_entropy

    def __init__(self, weight: Data | None = None, *, ignore_index: int = -100, reduction: str = "mean",
                 label_smoothing: float = 0.0) -> None:
        self._keep(weight=weight, ignore_index=ignore_index, reduction=reduction, label_smoothing=label_smoothing)


class NLLLoss(_Loss):
    """``functional.nll_loss`` as a module, called with ``(input, target)``."""
    function = costs.nll_loss

    def __init__(self, weight: Data | None = None, *, ignore_index: int = -100, reduction: str = "mean") -> None:
        self._keep(weight=weight, ignore_index=ignore_index, reduction=reduction)


class MultiMarginLoss(_Loss):
    """``functional.multi_margin_loss`` as a module, called with ``(input, target)``."""
    function = costs.multi_margin_loss

    def __init__(self, p: float = 1, margin: float = 1.0, weight: Data | None = None, *,
                 reduction: str = "mean") -> None:
        self._keep(p=p, margin=margin, weight=weight, reduction=reduction)


class KLDivLoss(_Loss):
    """``functional.kl_div`` as a module, called with ``(input, target)``."""
    function = costs.kl_div

    def __init__(self, reduction: str = "mean", log_target: bool = False) -> None:
        self._keep(reduction=reduction, log_target=log_target)


class MarginRankingLoss(_Loss):
    """``functional.margin_ranking_loss`` as a module, called with ``(input1, input2, target)``."""
    function = margins.margin_ranking_loss

    def __init__(self, margin: float = 0.0, *, reduction: str = "mean") -> None:
        self._keep(margin=margin, reduction=reduction)


class HingeEmbeddingLoss(_Loss):
    """``functional.hinge_embedding_loss`` as a module, called with ``(input, target)``."""
    function = margins.hinge_embedding_loss

    def __init__(self, margin: float = 1.0, *, reduction: str = "mean") -> None:
        self._keep(margin=margin, reduction=reduction)


class CosineEmbeddingLoss(_Loss):
    """``functional.cosine_embedding_loss`` as a module, called with ``(input1, input2, target)``."""
    function = margins.cosine_embedding_loss

    def __init__(self, margin: float = 0.0, *, reduction: str = "mean") -> None:
        self._keep(margin=margin, reduction=reduction)


class TripletMarginLoss(_Loss):
    """``functional.triplet_margin_loss`` as a module, called with ``(anchor, positive, negative)``."""
    function = margins.triplet_margin_loss

    def __init__(self, margin: float = 1.0, p: float = 2.0, eps: float = 1e-6, swap: bool = False, *,
                 reduction: str = "mean") -> None:
        self._keep(margin=margin, p=p, eps=eps, swap=swap, reduction=reduction)


class TripletMarginWithDistanceLoss(_Loss):
    """``functional.triplet_margin_with_distance_loss`` as a module, called with ``(anchor, positive, negative)``."""
    function = margins.triplet_margin_with_distance_loss

    def __init__(self, *, distance_function: Callable[[Tensor, Tensor], Tensor] | None = None, margin: float = 1.0,
                 swap: bool = False, reduction: str = "mean") -> None:
        self._keep(distance_function=distance_function, margin=margin, swap=swap, reduction=reduction)


class SoftMarginLoss(_Loss):
    """``functional.soft_margin_loss`` as a module, called with ``(input, target)``."""
    function = margins.soft_margin_loss

    def __init__(self, *, reduction: str = "mean") -> None:
        self._keep(reduction=reduction)


class MultiLabelSoftMarginLoss(_Loss):
    """``functional.multilabel_soft_margin_loss`` as a module, called with ``(input, target)``."""
    function = margins.multilabel_soft_margin_loss

    def __init__(self, weight: Data | None = None, *, reduction: str = "mean") -> None:
        self._keep(weight=weight, reduction=reduction)


class MultiLabelMarginLoss(_Loss):
    """``functional.multilabel_margin_loss`` as a module, called with ``(input, target)``."""
    function = margins.multilabel_margin_loss

    def __init__(self, *, reduction: str = "mean") -> None:
        self._keep(reduction=reduction)


# Cost as a module: the function it calls.
LOSSES = {loss.__name__: loss.function.__name__ for loss in _Loss.__subclasses__()}


make_public(__name__)
