"""Activations as functions: one for each row of a table, after the method of its name."""
import inspect

# Activation: the defaults of its parameters, in the order in which the row of the table takes them.
ACTIVATIONS = {
    "sigmoid": {}, "tanh": {}, "relu": {}, "relu6": {}, "leaky_relu": {"negative_slope": 0.01}, "elu": {"alpha": 1.0},
    "selu": {}, "celu": {"alpha": 1.0}, "gelu": {"approximate": "none"}, "silu": {}, "mish": {}, "softplus": {},
    "softsign": {}, "logsigmoid": {}, "hardtanh": {"min_val": -1.0, "max_val": 1.0}, "hardsigmoid": {},
    "hardswish": {}, "hardshrink": {"lambd": 0.5}, "softshrink": {"lambd": 0.5}, "tanhshrink": {},
    "threshold": {"threshold": 0.0, "value": 0.0}, "softmax": {"axis": -1}, "log_softmax": {"axis": -1}}

__all__ = list(ACTIVATIONS)


def _activation(name, defaults):
    """The function ``name(x, *parameters)`` for the method of that name."""
    values = tuple(defaults.values())

    def function(x, *args, **kwargs):
        if kwargs or len(args) > len(values):
            given = signature.bind(x, *args, **kwargs)
            given.apply_defaults()
            args = given.args[1:]
        return getattr(x, name)(*args, *values[len(args):])

    parameter = inspect.Parameter
    signature = inspect.Signature([parameter("x", parameter.POSITIONAL_ONLY)] + [
        parameter(p, parameter.POSITIONAL_OR_KEYWORD, default=value) for p, value in defaults.items()])
    function.__name__ = function.__qualname__ = name
    function.__signature__ = signature
    function.__doc__ = f"``x.{name}({', '.join(defaults)})``, elementwise." if "softmax" not in name else \
        f"``x.{name}(axis)``: along ``axis``."
    return function


globals().update({name: _activation(name, defaults) for name, defaults in ACTIVATIONS.items()})
