from microgradx.nn import functional as functional, init as init
from microgradx.nn.attention import *
from microgradx.nn.convolution import *
from microgradx.nn.layers import *
from microgradx.nn.losses import *
from microgradx.nn.module import *
from microgradx.nn.normalization import *
from microgradx.nn.recurrent import *
from microgradx.nn.summary import summary as summary
