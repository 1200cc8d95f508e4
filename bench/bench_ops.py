"""One group of rows per operation of the table: forward, forward + backward, both dtypes, against torch.

`numpy copy` next to the forward pass is the bandwidth floor: read n numbers, write n numbers. The operations
come from the table itself, so a new row is benchmarked without an edit here; what has numbers as parameters
or another name in torch is listed below.
"""
import functools
import operator

import numpy as np

from bench.common import Row, geometric_mean

FIFTEEN = "exp expm1 log log1p tanh sigmoid softplus silu gelu elu erf sqrt sin cos atan".split()
LARGE = ("sigmoid", "tanh", "exp", "relu")      # also at 10^7
PARAMETERS = {                                  # numbers instead of tensors after the first operand
    "leaky_relu": (0.01,), "elu": (1.0,), "celu": (1.0,), "hardtanh": (-1.0, 1.0), "hardshrink": (0.5,),
    "softshrink": (0.5,), "threshold": (0.5, 0.25), "clip": (-1.0, 1.0)}
OPERATORS = {name: getattr(operator, name) for name in "add sub mul pow gt ge lt le eq ne".split()}
OPERATORS |= {"div": operator.truediv, "remainder": operator.mod}
POWERS = {f"x**{exponent}": exponent for exponent in (3, 4, -1, -2, 0.5, -0.5, 1.5, 2.5, 0.37)}
OPERATORS |= {name: lambda x, exponent=exponent: x ** exponent for name, exponent in POWERS.items()}


def table():
    """[{name, arity, lo, hi, differentiable}]: the one place that knows how the package tells its table."""
    try:
        from microgradx._core import kernels
    except ImportError:                         # the peers can still be measured
        ranges = {"log": (0.01, 100), "log1p": (-0.9, 100), "sqrt": (0.01, 100)}
        return [{"name": name, "arity": 2 if name == "elu" else 1, "differentiable": True,
                 "lo": ranges.get(name, (-10, 10))[0], "hi": ranges.get(name, (-10, 10))[1]}
                for name in (*FIFTEEN, "relu")]
    return [{"name": r["name"], "arity": r["arity"], "lo": r["lo"], "hi": r["hi"], "differentiable": r["kind"] != "C"}
            for r in kernels.table()]


def of_ours(name):
    """Our public function: a method of Tensor, a function of the package, or an operator."""
    import microgradx as mgx
    for place in (mgx.Tensor, getattr(mgx, "functional", None), mgx):
        if (function := getattr(place, name, None)) is not None:
            return function
    if name in OPERATORS:
        return OPERATORS[name]
    raise LookupError(f"{name} has a row in the table and no public name")


@functools.cache
def of_torch(name):
    """torch's function of that meaning, or None."""
    import torch
    from torch.nn import functional as F
    if name == "gelu_tanh":
        return functools.partial(F.gelu, approximate="tanh")
    if name in POWERS:
        return OPERATORS[name]
    return getattr(torch, name, None) or getattr(F, name, None)


@functools.lru_cache(maxsize=2)
def operands(name, arity, lo, hi, n, dtype):
    """Arrays and numbers; the first array decides the range."""
    rng = np.random.default_rng(11)
    if name == "where":
        return [rng.random(n) < 0.5, *rng.standard_normal((2, n)).astype(dtype)]
    first = rng.uniform(lo, hi, n).astype(dtype)
    if name == "prelu":
        return [first, np.array([0.25], dtype)]
    rest = PARAMETERS.get(name) or [rng.uniform(lo, hi, n).astype(dtype) for _ in range(arity - 1)]
    return [first, *rest]


def tensors(tensor, values):
    return [tensor(v) if isinstance(v, np.ndarray) else v for v in values]


def forward(function, tensor, values):
    args = tensors(tensor, values)
    return lambda: function(*args)


def with_backward(function, tensor, values):
    args, g = tensors(tensor, values), tensor(np.ones_like(values[-1] if len(values) == 3 and values[0].dtype == bool
                                                           else values[0]))
    leaves = [a for a, v in zip(args, values) if isinstance(v, np.ndarray) and v.dtype != bool]
    for leaf in leaves:
        leaf.requires_grad = True

    def step():
        for leaf in leaves:
            leaf.grad = None
        function(*args).backward(g)
        return [leaf.grad for leaf in leaves]
    return step


def by_ours(mode, op, n, dtype):
    import microgradx as mgx
    return mode(of_ours(op["name"]), mgx.Tensor, operands(op["name"], op["arity"], op["lo"], op["hi"], n, dtype))


def by_torch(mode, op, n, dtype):
    import torch
    return mode(of_torch(op["name"]), torch.tensor, operands(op["name"], op["arity"], op["lo"], op["hi"], n, dtype))


def copy(op, n, dtype):
    source, out = np.ones(n, dtype), np.empty(n, dtype)
    return lambda: np.copyto(out, source)       # returns None: nothing to compare


def has(find, name):
    """Whether a library knows the operation; True where the library itself is missing (run() leaves it out)."""
    try:
        return find(name) is not None
    except ImportError:
        return True
    except LookupError:
        return False


def rows(quick):
    for op in [*table(), *({"name": name, "arity": 1, "lo": 0.1, "hi": 5, "differentiable": True} for name in POWERS)]:
        if not has(of_ours, op["name"]):        # said once, as a problem of this row
            yield Row(op["name"], {"microgradx": functools.partial(of_ours, op["name"])}, tags={"op": op["name"]})
            continue
        sizes = [10 ** 3, 10 ** 6] + [10 ** 7] * (op["name"] in LARGE and not quick)
        for dtype in (np.float32, np.float64):
            for n in sizes:
                for title, mode in (("forward", forward), ("forward + backward", with_backward)):
                    if mode is with_backward and not op["differentiable"]:
                        continue
                    contenders = {"microgradx": functools.partial(by_ours, mode, op, n, dtype)}
                    if has(of_torch, op["name"]):
                        contenders["torch"] = functools.partial(by_torch, mode, op, n, dtype)
                    if mode is forward:
                        contenders["numpy copy"] = functools.partial(copy, op, n, dtype)
                    key = f"{title}, {dtype.__name__}, n={n:.0e}".replace("e+0", "e")
                    yield Row(f"{op['name']} {key}", contenders, share=0.5, tags={"op": op["name"], "key": key})


def summary(reports):
    """Geometric mean and least of torch's time over ours, over the fifteen named operations."""
    groups = {}
    for r in reports:
        if r["tags"]["op"] in FIFTEEN and "torch" in r["contenders"] and r["reference"] == "microgradx":
            groups.setdefault(r["tags"]["key"], []).append((r["contenders"]["torch"]["ratio"], r["tags"]["op"]))
    result = {}
    for key, ratios in groups.items():
        result[f"geometric mean of {len(ratios)}, {key}"] = geometric_mean([ratio for ratio, _ in ratios])
        least, op = min(ratios)
        result[f"least ({op}), {key}"] = least
    return result
