"""Modules, losses and initialisation: torch's names over ``microgradx.Tensor``."""
from microgradx.nn import functional, init
from microgradx.nn.attention import *
from microgradx.nn.convolution import *
from microgradx.nn.layers import *
from microgradx.nn.losses import *
from microgradx.nn.module import Module, Parameter, summary
from microgradx.nn.normalization import *
from microgradx.nn.recurrent import *

__all__ = ["AvgPool2d", "BCELoss", "BCEWithLogitsLoss", "BatchNorm1d", "BatchNorm2d", "CELU", "Conv1d", "Conv2d",
           "CrossEntropyLoss", "Dropout", "ELU", "Embedding", "Flatten", "GELU", "GRU", "GaussianNLLLoss", "GroupNorm",
           "Hardshrink", "Hardsigmoid", "Hardswish", "Hardtanh", "HingeLoss", "HuberLoss", "Identity", "KLDivLoss",
           "L1Loss", "LSTM", "LayerNorm", "LeakyReLU", "Linear", "LogSigmoid", "LogSoftmax", "MSELoss", "MaxPool2d",
           "Mish", "Module", "ModuleList", "MultiMarginLoss", "MultiheadAttention", "NLLLoss", "PReLU", "Parameter",
           "QuadraticCost", "RMSNorm", "RNN", "ReLU", "ReLU6", "Residual", "SELU", "Sequential", "SiLU", "Sigmoid",
           "SmoothL1Loss", "Softmax", "Softplus", "Softshrink", "Softsign", "Tanh", "Tanhshrink", "Threshold",
           "functional", "init", "summary"]
