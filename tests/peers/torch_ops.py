"""The samples that torch tests its own operators with, given to ours: ``python tests/peers/torch_ops.py [NAME ...]``.

``torch.testing`` has for every operator inputs with which its authors test it: shapes, strides, empty tensors, options,
special values. An operator that has a namesake here is called with all of them, in float64, float32, int64 and bool,
and its results and gradients are compared with torch's. It is

* passed: the same shape, a dtype of the same kind, and the same numbers;
* raised: an error of ours, for options, dtypes or shapes that we do not have;
* different: where torch and we differ on purpose, and ``DIFFERENT`` says how;
* wrong: anything else. There is none.
"""
import collections
import sys
import warnings

import numpy as np

import microgradx as mgx
from microgradx.nn import functional as F

DTYPES = ["float64", "float32", "int64", "bool"]

# torch's name: ours, where they differ
RENAMED = {
    "true_divide": "div", "cat": "concat", "linalg.solve_ex": None, "polygamma": "special.polygamma",
    "absolute": "abs", "arccos": "acos", "arcsin": "asin", "arctan": "atan", "arctan2": "atan2", "arccosh": "acosh",
    "arcsinh": "asinh", "arctanh": "atanh", "negative": "neg", "multiply": "mul", "subtract": "sub", "divide": "div",
    "greater": "gt", "greater_equal": "ge", "less": "lt", "less_equal": "le", "not_equal": "ne", "fix": "trunc"}


DIFFERENT = {
    ("nn.functional.hardsigmoid", "float64"): "torch multiplies by a sixth in float32",
    ("nn.functional.hardtanh", "int64"): "the bounds are floats, so the result is",
    ("arange", "int64"): "an integer for each step between the bounds as they are given, as in NumPy",
    ("linspace", "int64"): "rounded down from the bounds as they are given, as in NumPy",
    ("linalg.norm", "float64"): "norms by singular values have the gradient 0 at 0",
    ("linalg.norm", "float32"): "the same",
    ("cholesky_solve", "float64"): "the gradient of a triangle is a triangle",
    ("cholesky_solve", "float32"): "the same",
    ("cholesky_inverse", "float64"): "the gradient of a triangle is a triangle",
    ("cholesky_inverse", "float32"): "the same", ("cov", "float64"): "weights are not rounded to float32",
    ("cov", "float32"): "the same, and gradients that cancel",
    ("logcumsumexp", "float32"): "torch takes logarithms of gradients", ("addr", "bool"): "factors give integers",
    ("linalg.solve", "float64"): "a vector has one axis, as in NumPy", ("linalg.solve", "float32"): "the same"}
RANDOM = {"randn", "rand", "randint", "randperm", "nn.functional.dropout"}      # numbers of other generators
UNSTABLE = {"sort", "argsort", "topk", "kthvalue", "mode"}  # the order of ties is anybody's choice
# the signs of columns, and what completes a basis, are anybody's
SIGNED = {"linalg.eigh": lambda w, v: (w, v.square()),
          "linalg.svd": lambda u, s, vh: (u[..., :s.shape[-1]].square(), s, vh[..., :s.shape[-1], :].square()),
          "svd": lambda u, s, v: (u[..., :s.shape[-1]].square(), s, v[..., :s.shape[-1]].square())}
# options that say what is so anyway
DEFAULTS = {"device": ("cpu",), "memory_format": (), "layout": (), "pin_memory": (False,), "requires_grad": (False,),
            "stable": (True, False), "dropout_p": (0.0,), "enable_gqa": (False,), "rounding_mode": (None,),
            "driver": (), "alpha": (1,), "beta": (1,), "decimals": (0,),
            "unbiased": (), "correction": ()}


def variance(name):
    def call(x, axis=None, *, dim=None, unbiased=True, correction=1, keepdim=False):
        if isinstance(axis, bool):
            axis, unbiased = None, axis
        axis = list(axis) if isinstance(axis, (list, tuple)) else axis
        dim = dim if axis is None else axis
        return getattr(x, name)(tuple(dim) if isinstance(dim, (list, tuple)) else dim,
                                ddof=(1 if correction is None else correction) if unbiased else 0, keepdims=keepdim)
    return call


# where the order or the names of the arguments are others
ADAPTED = {
    "where": lambda x, mask, other: mgx.where(mask, x, other),
    "einsum": lambda xs, equation: mgx.einsum(equation, *xs), "repeat": lambda x, *counts: x.tile(*counts),
    "var": variance("var"), "std": variance("std"),
    "linalg.vector_norm": lambda x, ord=2, dim=None, keepdim=False: mgx.linalg.vector_norm(
        x, ord, tuple(dim) if isinstance(dim, list) else dim, keepdim),
    "nn.functional.one_hot": lambda x, num_classes: F.one_hot(x, num_classes, dtype="int64")}


def ours(name):
    """Our function of that name, or None."""
    name = RENAMED.get(name, name)
    if name is None or name in ADAPTED:
        return ADAPTED.get(name)
    parts = name.split(".")
    if parts[:2] == ["nn", "functional"]:
        return getattr(F, parts[-1], None)
    if parts[0] in ("linalg", "special"):
        return getattr(getattr(mgx, parts[0]), parts[-1], None)
    if len(parts) > 1:
        return None
    if hasattr(mgx, name) and callable(getattr(mgx, name)) and not isinstance(getattr(mgx, name), type):
        return getattr(mgx, name)
    if hasattr(mgx.Tensor, name) and callable(getattr(mgx.Tensor, name)):
        return lambda x, *args, **kwargs: getattr(x, name)(*args, **kwargs)
    return None


class Unsupported(Exception):
    pass


def converted(x, leaves):
    """Torch's arguments as ours; the leaves that require a gradient are noted, in pairs."""
    import torch
    if isinstance(x, torch.Tensor):
        if str(x.dtype).removeprefix("torch.") not in DTYPES or x.layout != torch.strided:
            raise Unsupported(x.dtype)
        y = mgx.from_numpy(x.detach().numpy().copy()) if x.ndim == 0 or x.is_contiguous() else strided(x)
        if x.requires_grad:
            y = y.detach().requires_grad_()
            leaves.append((x, y))
        return y
    if isinstance(x, torch.dtype):
        return str(x).removeprefix("torch.")
    if isinstance(x, (list, tuple)):
        return (tuple if isinstance(x, tuple) else list)(converted(y, leaves) for y in x)
    if isinstance(x, dict):
        return {key: converted(y, leaves) for key, y in x.items()}
    return x


def strided(x):
    """A tensor of ours that lies in memory as torch's does, as far as an order of its axes tells."""
    order = np.argsort([-abs(n) for n in x.stride()], kind="stable")
    return mgx.Tensor(x.detach().permute(*order.tolist()).contiguous().numpy()).permute(*np.argsort(order).tolist())


def flat(x):
    import torch
    return [x] if isinstance(x, (torch.Tensor, mgx.Tensor)) else [z for y in x for z in flat(y)] if isinstance(
        x, (list, tuple)) else [x]


def number(x):
    if isinstance(x, mgx.Tensor):
        return x.detach().numpy()
    return x.detach().numpy(force=True) if hasattr(x, "detach") else np.asarray(x)     # torch has tensors of no memory


def close(a, b, dtype):
    """The same shape, kind of dtype and numbers; in words what is not, or None."""
    a, b = number(a), number(b)
    if a.shape != b.shape:
        return f"shape {a.shape}, torch's {b.shape}"
    if a.dtype.kind != b.dtype.kind:
        return f"dtype {a.dtype}, torch's {b.dtype}"
    if a.dtype.kind != "f":
        return None if np.array_equal(a, b) else f"{a.tolist()!r:.150}, torch's {b.tolist()!r:.150}"
    tolerance, least = (1e-9, 1e-14) if min(a.dtype, b.dtype) == np.float64 else (2e-4, 8e-6)
    with np.errstate(all="ignore"):
        scale = np.max(np.abs(b), initial=0, where=np.isfinite(b))
        good = np.isclose(a, b, tolerance, least, equal_nan=True) | (np.abs(a - b) <= tolerance * 1e-2 * scale)
    if good.all():
        return None
    at = tuple(int(k) for k in np.argwhere(~good)[0])
    return f"{a[at]} at {at}, torch's {b[at]}"


def compare(op, function, sample, dtype):
    """'passed', 'raised: ...', 'unsupported' or 'wrong: ...' of one sample."""
    import torch
    leaves: list = []
    try:
        args = converted([sample.input, *sample.args], leaves)
        kwargs = {key: x for key, x in converted(sample.kwargs, leaves).items() if op.name in ADAPTED
                  or not (key in DEFAULTS and (str(x) in map(str, DEFAULTS[key]) or not DEFAULTS[key] and key in (
                      "memory_format", "layout")))}
    except (Unsupported, TypeError):
        return "unsupported"
    try:
        theirs = flat(op(sample.input, *sample.args, **sample.kwargs))
    except Exception:
        return "unsupported"                    # torch's own error
    if any(isinstance(t, torch.Tensor) and t.is_complex() for t in theirs):
        return "unsupported"
    with warnings.catch_warnings():
        warnings.simplefilter("error", mgx.errors.DifferenceWarning)
        try:
            mine = flat(function(*args, **kwargs))
        except (Exception, mgx.errors.DifferenceWarning) as error:
            return f"raised: {type(error).__name__}: {error}"
    if len(mine) != len(theirs):
        return f"wrong: {len(mine)} results, torch's {len(theirs)}"
    if op.name in SIGNED:
        mine, theirs = SIGNED[op.name](*mine), SIGNED[op.name](*theirs)
    for k, (y, t) in enumerate(zip(mine, theirs)):
        if op.name in UNSTABLE and (k or op.name == "argsort") and not leaves:
            continue
        said = close(y, t, dtype)
        if said:
            return f"wrong: {said}"
    pairs = [(y, t) for y, t in zip(mine, theirs) if isinstance(t, torch.Tensor) and t.requires_grad]
    if not leaves or not pairs:
        return "passed"
    if op.name == "linalg.slogdet":             # the sign has no slope
        pairs = pairs[1:]
    rng = np.random.default_rng(0)
    cotangents = [np.asarray(rng.normal(size=t.shape), number(t).dtype) for _, t in pairs]
    try:
        grads = torch.autograd.grad([t for _, t in pairs], [x for x, _ in leaves],
                                    [torch.from_numpy(c) for c in cotangents], allow_unused=True)
    except Exception:
        return "passed"
    if not all(y.requires_grad for y, _ in pairs):
        return "wrong: no graph"
    try:
        found = mgx.autograd.grad([y for y, _ in pairs], [x for _, x in leaves],
                                  [mgx.Tensor(c) for c in cotangents], allow_unused=True)
    except Exception as error:
        return f"wrong: backward raised {type(error).__name__}: {error}"
    for k, (g, h) in enumerate(zip(found, grads)):
        zero = np.zeros(tuple(leaves[k][0].shape), number(leaves[k][0]).dtype)
        said = close(zero if g is None else g, zero if h is None else h, dtype)
        if said:
            return f"wrong: gradient {k}: {said}"
    return "passed"


def run(names=()):
    """{operator: Counter of outcomes}, [what is wrong]."""
    import torch
    from torch.testing._internal.common_methods_invocations import op_db
    counts: dict = collections.defaultdict(collections.Counter)
    wrong = []
    for op in op_db:
        function = ours(op.name)
        if function is None or op.name in RANDOM or names and op.name not in names:
            continue
        for dtype in DTYPES:
            kind = getattr(torch, dtype)
            if kind not in op.dtypes:
                continue
            torch.manual_seed(0)
            samples = op.sample_inputs("cpu", kind, requires_grad=dtype.startswith("float") and op.supports_autograd)
            for sample in samples:
                said = compare(op, function, sample, dtype)
                outcome = said.partition(":")[0]
                if outcome == "wrong" and (op.name, dtype) in DIFFERENT:
                    outcome = "different"
                counts[op.name][outcome] += 1
                if outcome == "wrong" or names and outcome == "raised":
                    wrong.append(f"{op.name} {op.variant_test_name} {dtype}: {said}: {sample.summary()!s:.300}")
    return counts, wrong


def present():
    """(how many of torch's variants of operators have a namesake here, how many there are, the others by name)."""
    from torch.testing._internal.common_methods_invocations import op_db
    missing = collections.Counter(op.name for op in op_db if ours(op.name) is None)
    return len(op_db) - sum(missing.values()), len(op_db), missing


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    found, wrong = run(sys.argv[1:])
    total = sum(found.values(), collections.Counter())
    for name, counter in sorted(found.items()):
        print(name, dict(counter))
    print(*wrong, sep="\n")
    if not sys.argv[1:]:
        here, count, missing = present()
        print("missing:", ", ".join(f"{name} {n}" if n > 1 else name for name, n in sorted(missing.items())))
        print(f"present: {here} of {count} variants")
    print(len(found), "operators:", dict(total))
    sys.exit(any(": wrong: " in text for text in wrong))
