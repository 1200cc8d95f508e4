from microgradx.optim import schedulers as schedulers
from microgradx.optim.clip import *
from microgradx.optim.optimizers import *
from microgradx.optim.schedulers import *
from microgradx.optim.scipy import scipy_minimize as scipy_minimize

lr_scheduler = schedulers
