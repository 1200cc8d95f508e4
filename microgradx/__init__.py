"""microgradx: a compiled autograd engine and an instrument for gradient flow."""
from microgradx._core.graph import enable_grad, is_grad_enabled, no_grad
from microgradx._core.tensor import Tensor, concat, from_numpy, pad, stack
from microgradx._core.value import Value, dot
from microgradx.einsum import einsum
