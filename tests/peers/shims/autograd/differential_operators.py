"""The same functions under the name of another module."""
from autograd import (elementwise_grad, grad, hessian, jacobian, make_hvp, make_jvp, make_vjp,  # noqa: F401
                      value_and_grad)
