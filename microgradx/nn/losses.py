"""The costs as modules: name and options of each are those of its function."""
import inspect

import numpy as np

from microgradx._core.tensor import Tensor
from microgradx.errors import OptionError
from microgradx.nn import costs
from microgradx.nn.module import Module

LOSSES = {
    "MSELoss": "mse_loss", "QuadraticCost": "quadratic_cost", "L1Loss": "l1_loss", "HuberLoss": "huber_loss",
    "SmoothL1Loss": "smooth_l1_loss", "GaussianNLLLoss": "gaussian_nll_loss", "BCELoss": "binary_cross_entropy",
    "BCEWithLogitsLoss": "binary_cross_entropy_with_logits", "HingeLoss": "hinge_loss",
    "CrossEntropyLoss": "cross_entropy", "NLLLoss": "nll_loss", "MultiMarginLoss": "multi_margin_loss",
    "KLDivLoss": "kl_div"}

__all__ = [*LOSSES]


class _Loss(Module):
    """A cost without parameters; subclasses are made from ``LOSSES``. Options that are tensors are buffers."""
    function, defaults = None, {}

    def __init__(self, reduction="mean", **options):
        name, function = type(self).__name__, type(self).function
        costs.check_reduction(name, reduction, costs.KL_REDUCTIONS if function is costs.kl_div else costs.REDUCTIONS)
        for option in options:
            if option not in self.defaults:
                raise OptionError(f"{name}: no option is called {option!r}; there are "
                                  f"{', '.join(['reduction', *self.defaults])}")
        self.reduction = reduction
        for option, value in (self.defaults | options).items():
            if isinstance(value, (Tensor, np.ndarray, list)):
                self.register_buffer(option, value if isinstance(value, Tensor) else Tensor(value))
            else:
                setattr(self, option, value)

    def forward(self, *args):
        return type(self).function(*args, self.reduction, **{option: getattr(self, option) for option in self.defaults})

    def extra_repr(self):
        values = {option: getattr(self, option) for option in self.defaults}
        return ", ".join([f"reduction={self.reduction!r}"] + [
            f"{k}={v!r}" for k, v in values.items() if isinstance(v, Tensor) or v != self.defaults[k]])


for _name, _function in LOSSES.items():
    _parameters = inspect.signature(getattr(costs, _function)).parameters.values()
    _defaults = {p.name: p.default for p in _parameters if p.kind is p.KEYWORD_ONLY}
    globals()[_name] = type(_name, (_Loss,), {
        "function": getattr(costs, _function), "defaults": _defaults, "__module__": __name__,
        "__doc__": f"``functional.{_function}({', '.join(p.name for p in _parameters)})`` as a module, called with "
                   "what stands before ``reduction``."})
