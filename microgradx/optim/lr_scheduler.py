"""Schedules of rates, under torch's name of the module."""
from typing import TYPE_CHECKING

from microgradx.optim.schedulers import *
from microgradx.optim.schedulers import _LRScheduler as _LRScheduler

if not TYPE_CHECKING:           # a type checker goes by the imports
    from microgradx.optim.schedulers import __all__ as __all__
