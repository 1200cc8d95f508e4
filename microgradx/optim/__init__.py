"""Optimizers, schedules of their rates, clipping of gradients, and SciPy's minimizers: torch's names."""
from typing import TYPE_CHECKING

from microgradx.optim import lr_scheduler as lr_scheduler, schedulers as schedulers, swa_utils as swa_utils
from microgradx.optim.clip import *
from microgradx.optim.lbfgs import LBFGS as LBFGS
from microgradx.optim.optimizers import *
from microgradx.optim.schedulers import *
from microgradx.optim.scipy import scipy_minimize as scipy_minimize

if not TYPE_CHECKING:           # a type checker goes by the imports, and can read no list that is not written out
    from microgradx.optim import clip, optimizers
    __all__ = ["LBFGS", "lr_scheduler", "scipy_minimize", "swa_utils", *clip.__all__, *optimizers.__all__,
               *schedulers.__all__]
