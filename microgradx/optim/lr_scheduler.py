"""Schedules of rates, under torch's name of the module."""
from microgradx.optim.schedulers import ChainedScheduler as ChainedScheduler
from microgradx.optim.schedulers import ConstantLR as ConstantLR
from microgradx.optim.schedulers import CosineAnnealingLR as CosineAnnealingLR
from microgradx.optim.schedulers import CosineAnnealingWarmRestarts as CosineAnnealingWarmRestarts
from microgradx.optim.schedulers import CyclicLR as CyclicLR
from microgradx.optim.schedulers import ExponentialLR as ExponentialLR
from microgradx.optim.schedulers import LambdaLR as LambdaLR
from microgradx.optim.schedulers import LinearLR as LinearLR
from microgradx.optim.schedulers import LRScheduler as LRScheduler
from microgradx.optim.schedulers import MultiplicativeLR as MultiplicativeLR
from microgradx.optim.schedulers import MultiStepLR as MultiStepLR
from microgradx.optim.schedulers import OneCycleLR as OneCycleLR
from microgradx.optim.schedulers import PolynomialLR as PolynomialLR
from microgradx.optim.schedulers import ReduceLROnPlateau as ReduceLROnPlateau
from microgradx.optim.schedulers import SequentialLR as SequentialLR
from microgradx.optim.schedulers import StepLR as StepLR
from microgradx.optim.schedulers import _LRScheduler as _LRScheduler

__all__ = [
    "ChainedScheduler", "ConstantLR", "CosineAnnealingLR", "CosineAnnealingWarmRestarts", "CyclicLR",
    "ExponentialLR", "LRScheduler", "LambdaLR", "LinearLR", "MultiStepLR", "MultiplicativeLR", "OneCycleLR",
    "PolynomialLR", "ReduceLROnPlateau", "SequentialLR", "StepLR"]
