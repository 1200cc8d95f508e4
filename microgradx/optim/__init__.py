"""Optimizers, schedules of their rates, clipping of gradients, and SciPy's minimizers: torch's names."""
from microgradx.optim import schedulers as lr_scheduler
from microgradx.optim.clip import *
from microgradx.optim.optimizers import *
from microgradx.optim.schedulers import *
from microgradx.optim.scipy import scipy_minimize

__all__ = ["Adagrad", "Adam", "AdamW", "CosineAnnealingLR", "ExponentialLR", "LRScheduler", "LambdaLR", "LinearLR",
           "MultiStepLR", "OneCycleLR", "Optimizer", "RMSprop", "ReduceLROnPlateau", "SGD", "SequentialLR", "StepLR",
           "clip_grad_norm_", "clip_grad_value_", "lr_scheduler", "scipy_minimize"]
