"""The costs as modules."""
from microgradx.errors import OptionError
from microgradx.nn import functional as F
from microgradx.nn.module import Module

__all__ = ["BCELoss", "BCEWithLogitsLoss", "CrossEntropyLoss", "MSELoss", "QuadraticCost"]


class _Loss(Module):
    function = None

    def __init__(self, reduction="mean"):
        if reduction not in ("mean", "sum", "none"):
            raise OptionError(f"{type(self).__name__}: reduction is 'mean', 'sum' or 'none', not {reduction!r}")
        self.reduction = reduction

    def forward(self, output, target):
        return type(self).function(output, target, self.reduction)

    def extra_repr(self):
        return f"reduction={self.reduction!r}"


class MSELoss(_Loss):
    """``functional.mse_loss``: the mean of (p - t)^2."""
    function = F.mse_loss


class CrossEntropyLoss(_Loss):
    """``functional.cross_entropy`` of logits (m, n) and labels (m,)."""
    function = F.cross_entropy


class BCELoss(_Loss):
    """``functional.binary_cross_entropy`` of probabilities and targets in 0..1."""
    function = F.binary_cross_entropy


class BCEWithLogitsLoss(_Loss):
    """``functional.binary_cross_entropy_with_logits`` of logits and targets in 0..1."""
    function = F.binary_cross_entropy_with_logits


class QuadraticCost(Module):
    """``functional.quadratic_cost``: half the squared error of a row, mean over rows."""

    def forward(self, output, target):
        return F.quadratic_cost(output, target)
