"""Optimizers, schedules of their rates, clipping of gradients, and SciPy's minimizers: torch's names."""
from microgradx.optim import schedulers as lr_scheduler
from microgradx.optim.clip import *             # noqa: F403
from microgradx.optim.clip import __all__ as _clip
from microgradx.optim.optimizers import *       # noqa: F403
from microgradx.optim.optimizers import __all__ as _optimizers
from microgradx.optim.schedulers import *       # noqa: F403
from microgradx.optim.schedulers import __all__ as _schedulers
from microgradx.optim.scipy import scipy_minimize

__all__ = ["lr_scheduler", "scipy_minimize", *_clip, *_optimizers, *_schedulers]
