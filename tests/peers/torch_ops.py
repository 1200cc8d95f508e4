"""The samples that torch tests its own operators with, given to ours: ``python tests/peers/torch_ops.py [NAME ...]``.

``torch.testing`` has for every operator inputs with which its authors test it: shapes, strides, empty tensors, options,
special values. An operator that has a namesake here is called with all of them, in float64, float32, int64 and bool,
and its results and gradients are compared with torch's. A sample has

* passed: the same shape, a dtype of the same kind, and the same numbers. Of draws, the distributions are compared, of
  results and gradients; of order among ties and of the signs of singular vectors, what is defined;
* nearer: float32 results that differ from torch's, and are at least as near to torch's float64 results as these;
* different: the result differs from torch's on purpose, and is what ``DIFFERENT`` computes for this sample instead;
* raised: an error of ours, for options, dtypes or shapes that we do not have;
* unsupported: torch raises, or the sample has a dtype that we do not have;
* wrong: anything else. There is none.
"""
import collections
import math
import sys
import warnings
from fractions import Fraction

import numpy as np

import microgradx as mgx
from microgradx.nn import functional as F

DTYPES = ["float64", "float32", "int64", "bool"]

# torch's name: ours, where they differ
RENAMED = {
    "true_divide": "div", "cat": "concat", "polygamma": "special.polygamma",
    "absolute": "abs", "arccos": "acos", "arcsin": "asin", "arctan": "atan", "arctan2": "atan2", "arccosh": "acosh",
    "arcsinh": "asinh", "arctanh": "atanh", "negative": "neg", "multiply": "mul", "subtract": "sub", "divide": "div",
    "greater": "gt", "greater_equal": "ge", "less": "lt", "less_equal": "le", "not_equal": "ne", "fix": "trunc"}


# ----- where torch and we differ on purpose --------------------------------------------------------------------------

def bounds(sample):
    """The numbers that ``arange`` and its like are called with, as Python has them."""
    given = [sample.input, *sample.args, *(sample.kwargs[k] for k in ("end", "step") if k in sample.kwargs)]
    return [x.item() if hasattr(x, "item") else x for x in given]


def fractional(sample, dtype):
    """Is an integer between bounds that are no integers asked for?"""
    return dtype == "int64" and any(x != int(x) for x in bounds(sample)[:2])


def exactly(function, rounding):
    """The numbers that ``function`` gives for the bounds, which are fractions as they are written, as integers."""
    def instead(op, sample):
        import torch
        return torch.tensor([rounding(x) for x in function(*bounds(sample))], dtype=torch.int64)
    return instead


def steps(start, stop=None, step=1):
    """start, start + step ... before stop."""
    start, stop, step = map(Fraction, map(str, (0, start, step) if stop is None else (start, stop, step)))
    return [start + k * step for k in range(max(0, math.ceil((stop - start) / step)))]


def between(start, stop, count):
    """``count`` numbers of one distance, the bounds among them."""
    start, stop = Fraction(str(start)), Fraction(str(stop))
    return [start + (stop - start) * k / max(count - 1, 1) for k in range(count)]


def powers_between(start, stop, count, base=10.0):
    """``base`` to the power of these, in 50 digits."""
    import mpmath
    with mpmath.workdps(50):
        return [mpmath.power(base, mpmath.mpf(x.numerator) / x.denominator) for x in between(start, stop, count)]


def in_dtype(sample, old, new):
    """The sample with its tensors of one dtype in another; the leaves stay those of the sample."""
    import torch

    def cast(x):
        if isinstance(x, torch.Tensor):
            return x.to(new) if x.dtype == old else x
        if isinstance(x, (list, tuple)):
            return type(x)(map(cast, x)) if type(x) in (list, tuple) else [cast(y) for y in x]
        return {k: cast(y) for k, y in x.items()} if isinstance(x, dict) else x
    return cast(sample.input), cast(sample.args), cast(sample.kwargs)


def computed_in(old, new):
    """torch's operator on operands that are converted first."""
    def instead(op, sample):
        import torch
        x, args, kwargs = in_dtype(sample, getattr(torch, old), getattr(torch, new))
        return op(x, *args, **kwargs)
    return instead


def of_a_triangle(at):
    """torch's operator on the triangle that it reads of its operand ``at``."""
    def instead(op, sample):
        operands = [sample.input, *sample.args]
        operands[at] = operands[at].triu() if sample.kwargs.get("upper") else operands[at].tril()
        return op(*operands, **sample.kwargs)
    return instead


def between_0_and_1(op, sample):
    import torch
    return torch.rand_like(sample.input, **sample.kwargs)


# torch's name: for which samples, what is computed instead, why
DIFFERENT = {
    "nn.functional.hardsigmoid": (lambda s, dtype: dtype == "float64", lambda op, s: (s.input / 6 + 0.5).clamp(0, 1),
                                  "torch multiplies by a sixth in float32"),
    "nn.functional.hardtanh": (lambda s, dtype: dtype == "int64", computed_in("int64", "float32"),
                               "the bounds are floats, so the result is"),
    "arange": (fractional, exactly(steps, int), "an integer for each step between the bounds as they are given"),
    "linspace": (lambda s, dtype: dtype == "int64" and (fractional(s, dtype) or min(bounds(s)[:2]) < 0),
                 exactly(between, math.floor), "rounded down from the bounds as they are given, as in NumPy"),
    "logspace": (fractional, exactly(powers_between, int), "of the bounds as they are given, as in NumPy"),
    "linalg.norm": (lambda s, dtype: s.args[:1] in (("nuc",), (2,), (-2,)) and not s.input.any(),
                    lambda op, s: op(s.input.detach(), *s.args, **s.kwargs) + 0 * s.input.sum(),
                    "norms by singular values have the gradient 0 at 0"),
    "linalg.pinv": (lambda s, dtype: s.kwargs.get("hermitian", False),
                    lambda op, s: op((s.input + s.input.mT) / 2, *s.args, **s.kwargs),
                    "of a matrix that is not symmetric the mean with its transpose counts, not a triangle"),
    "cholesky_solve": (lambda s, dtype: True, of_a_triangle(1), "the gradient of a triangle is a triangle"),
    "cholesky_inverse": (lambda s, dtype: True, of_a_triangle(0), "the gradient of a triangle is a triangle"),
    "rand_like": (lambda s, dtype: True, between_0_and_1, "torch's entry calls randn_like"),
    "cov": (lambda s, dtype: dtype == "float64" and s.kwargs.get("aweights") is not None,
            computed_in("float32", "float64"), "weights are not rounded to float32"),
    "addr": (lambda s, dtype: dtype == "bool" and {s.kwargs.get(k, 1) for k in ("alpha", "beta")} != {1},
             computed_in("bool", "int64"), "factors give integers"),
    "linalg.solve": (lambda s, dtype: s.args[0].shape == s.input.shape[:-1] and s.args[0].ndim > 1
                     and s.args[0].shape[-2] == s.input.shape[-1],
                     lambda op, s: op(s.input, s.args[0].expand(*s.input.shape[:-2], *s.args[0].shape[-2:])),
                     "what may be a matrix is one, not several vectors, as in NumPy")}

DIFFERENT["linalg.solve_ex"] = DIFFERENT["linalg.solve"]

# draws, of other generators: for which samples
DRAWS = {
    **dict.fromkeys(("randn", "rand", "randint", "randperm", "rand_like", "randn_like", "randint_like", "normal",
                     "bernoulli", "multinomial", "uniform", "exponential", "geometric", "cauchy", "log_normal"),
                    lambda kwargs: True),
    **dict.fromkeys([f"nn.functional.{name}" for name in (
        "dropout", "dropout2d", "dropout3d", "alpha_dropout")], lambda kwargs: kwargs.get("training", True)),
    **dict.fromkeys(("nn.functional.rrelu", "nn.functional.feature_alpha_dropout"),
                    lambda kwargs: kwargs.get("training", False)),
    "nn.functional.scaled_dot_product_attention": lambda kwargs: kwargs.get("dropout_p", 0) > 0}
UNDEFINED = {"empty", "empty_like", "new_empty"}        # what the memory holds


# ----- what is not defined -----------------------------------------------------------------------------------------

ORDERED = {"sort": 0, "argsort": 0, "topk": 1, "kthvalue": 1, "mode": 0}      # the number of the argument "dim"


def without_order(op, sample, results):
    """Where numbers are equal, an index may be that of any of these, unless the order is to be stable: in its place the
    number there, and how many indices of a line are different."""
    x = sample.input
    values = x.detach().numpy()
    if np.unique(values).size == values.size or not values.ndim or sample.kwargs.get("stable"):
        return results
    at, index = ORDERED[op.name], number(results[-1])
    dim = sample.kwargs.get("dim", sample.args[at] if len(sample.args) > at else -1)
    if index.ndim < values.ndim:
        index = np.expand_dims(index, dim)
    different = 1 + np.count_nonzero(np.diff(np.sort(index, dim), axis=dim), dim)
    return [*results[:-1], mgx.Tensor(np.take_along_axis(values, index, dim)), mgx.Tensor(different)]


def sign_of_columns(u):
    """The sign of a weighted sum of each column, of the kind of ``u``, without a graph."""
    weights = np.cos(np.arange(u.shape[-2]) + 1.0)[:, None]
    sign = np.where((number(u) * weights).sum(-2, keepdims=True) < 0, -1.0, 1.0).astype(number(u).dtype)
    if isinstance(u, mgx.Tensor):
        return mgx.Tensor(sign)
    import torch
    return torch.from_numpy(sign)


def signed_eigh(w, v):
    return w, v * sign_of_columns(v)


def signed_svd(u, s, v):
    """The columns that singular values belong to, by the sign of those of u; u and v keep U S V^T."""
    u, v = u[..., :s.shape[-1]], v[..., :s.shape[-1]]
    sign = sign_of_columns(u)
    return u * sign, s, v * sign


# the sign of a vector, and the vectors that complete a basis, are anybody's
SIGNED = {"linalg.eigh": signed_eigh, "svd": signed_svd,
          "linalg.svd": lambda u, s, vh: signed_svd(u, s, vh.mT)}

# options that say what is so anyway
DEFAULTS = {"device": ("cpu",), "memory_format": (), "layout": (), "pin_memory": (False,), "requires_grad": (False,),
            "stable": (True, False), "dropout_p": (0.0,), "enable_gqa": (False,), "rounding_mode": (None,),
            "alpha": (1,), "beta": (1,), "decimals": (0,)}


def variance(name):
    def call(x, axis=None, *, dim=None, unbiased=True, correction=1, keepdim=False):
        if isinstance(axis, bool):
            axis, unbiased = None, axis
        axis = list(axis) if isinstance(axis, (list, tuple)) else axis
        dim = dim if axis is None else axis
        return getattr(x, name)(tuple(dim) if isinstance(dim, (list, tuple)) else dim,
                                ddof=(1 if correction is None else correction) if unbiased else 0, keepdims=keepdim)
    return call


def written(name):
    """The method that writes into a tensor, as a function."""
    return lambda x, *args, **kwargs: getattr(x.clone(), name)(*args, **kwargs)


# where the order or the names of the arguments are others, or there is a method alone
ADAPTED = {
    "where": lambda x, mask, other: mgx.where(mask, x, other),
    "einsum": lambda xs, equation: mgx.einsum(equation, *xs), "repeat": lambda x, *counts: x.tile(*counts),
    "var": variance("var"), "std": variance("std"),
    "linalg.vector_norm": lambda x, ord=2, dim=None, keepdim=False: mgx.linalg.vector_norm(
        x, ord, tuple(dim) if isinstance(dim, list) else dim, keepdim),
    "nn.functional.one_hot": lambda x, num_classes: F.one_hot(x, num_classes, dtype="int64"),
    "nn.functional.embedding": lambda weight, ids, **options: F.embedding(ids, weight, **options),
    "nn.functional.embedding_bag": lambda weight, ids, **options: F.embedding_bag(ids, weight, **options),
    "T": lambda x: x.T, "mT": lambda x: x.mT, "H": lambda x: x.H,
    "mH": lambda x: x.mH, "__rdiv__": lambda x, other: other / x,
    "zero_": written("zero_"), "normal in_place": written("normal_"),
    "linalg.pinv singular": lambda a, b: mgx.linalg.pinv(a @ b.mT),
    "normal number_mean": lambda std, mean, *size, **options: mgx.normal(mean, std, *size, **options),
    **{name: written(f"{name}_") for name in ("uniform", "exponential", "geometric", "cauchy", "log_normal")}}


def ours(name, variant=""):
    """Our function of that name, or None."""
    adapted = ADAPTED.get(f"{name} {variant}", ADAPTED.get(name))
    name = RENAMED.get(name, name)
    if adapted:
        return adapted
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
    if isinstance(x, torch.nn.PairwiseDistance):
        return F.pairwise_distance
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


def close(a, b):
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


# ----- one sample ----------------------------------------------------------------------------------------------------

def results_and_gradients(results, leaves, grad, tensor):
    """The results, and the gradients of a weighted sum of those that have a graph, 0 where there is none."""
    rng = np.random.default_rng(0)
    graph = [y for y in results if isinstance(y, tensor) and y.requires_grad]
    weights = [np.asarray(rng.normal(size=tuple(y.shape)), number(y).dtype) for y in graph]
    if not leaves or not graph:
        return results, []
    found = grad(graph, leaves, [tensor_of(w, tensor) for w in weights], allow_unused=True)
    return results, [np.zeros(tuple(x.shape), number(x).dtype) if g is None else g for x, g in zip(leaves, found)]


def tensor_of(array, tensor):
    if tensor is mgx.Tensor:
        return mgx.Tensor(array)
    import torch
    return torch.from_numpy(array)


def torchs(op, sample, leaves, instead=None):
    """torch's results, in the form that is compared, and its gradients; or those that are right instead."""
    import torch
    call = sample.args, sample.kwargs
    results = flat(instead(op, sample) if instead else op(sample.input, *call[0], **call[1]))
    if any(isinstance(t, torch.Tensor) and t.dtype in (
            torch.complex64, torch.complex128, torch.float16, torch.bfloat16) for t in results):
        raise Unsupported("a dtype that we do not have")
    return results_and_gradients(defined(op, sample, results, leaves), leaves, torch.autograd.grad, torch.Tensor)


def defined(op, sample, results, leaves):
    """What is defined of the results."""
    if op.name in SIGNED:
        results = SIGNED[op.name](*results)
    if op.name in ORDERED and (op.name == "argsort" or len(results) > 1):
        results = without_order(op, sample, results)
    if op.name == "linalg.lstsq":                          # two of the drivers give all of the others, without graphs
        whole = sample.kwargs.get("driver") in ("gelsd", "gelss") and not op.variant_test_name
        results = [results[0], *(x.detach() for x in results[1:] if whole)]
    if op.name == "linalg.slogdet" and leaves:             # the sign has no slope
        results = [results[0].detach(), results[1]]
    return results


def compare(op, function, sample, dtype):
    """'passed', 'raised: ...', 'unsupported' or 'wrong: ...' of one sample."""
    pairs: list = []
    try:
        args = converted([sample.input, *sample.args], pairs)
        kwargs = {key: x for key, x in converted(sample.kwargs, pairs).items() if op.name in ADAPTED
                  or not (key in DEFAULTS and (str(x) in map(str, DEFAULTS[key]) or not DEFAULTS[key] and key in (
                      "memory_format", "layout")))}
    except (Unsupported, TypeError):
        return "unsupported"
    leaves, copies = [x for x, _ in pairs], [y for _, y in pairs]
    applies, instead, _ = DIFFERENT.get(op.name, (lambda sample, dtype: False, None, ""))
    instead = instead if applies(sample, dtype) else None
    try:
        op(sample.input, *sample.args, **sample.kwargs)
    except Exception:
        return "unsupported"                    # torch's own error

    def call():
        return defined(op, sample, flat(function(*args, **kwargs)), leaves)

    if op.name in DRAWS and DRAWS[op.name](sample.kwargs):
        return distributions(lambda: results_and_gradients(call(), copies, mgx.autograd.grad, mgx.Tensor),
                             lambda: torchs(op, sample, leaves, instead))
    try:
        theirs = torchs(op, sample, leaves)
    except Unsupported:
        return "unsupported"
    with warnings.catch_warnings():
        warnings.simplefilter("error", mgx.errors.DifferenceWarning)
        try:
            results = call()
        except (Exception, mgx.errors.DifferenceWarning) as error:
            return f"raised: {type(error).__name__}: {error}"
    try:
        mine = results_and_gradients(results, copies, mgx.autograd.grad, mgx.Tensor)
    except Exception as error:
        return f"wrong: backward raised {type(error).__name__}: {error}"
    if op.name in UNDEFINED:
        mine, theirs = ([[np.zeros_like(number(y)) for y in ys], []] for ys in (results, theirs[0]))
    said = difference(mine, theirs)
    if not said:
        return "passed"
    if instead:
        said = difference(mine, torchs(op, sample, leaves, instead))
        return f"wrong: {said}" if said else "different"
    if dtype == "float32" and nearer([*mine[0], *mine[1]], theirs, op, sample):
        return "nearer"
    return f"wrong: {said}"


def difference(mine, theirs):
    """How our results and gradients differ from torch's, or None."""
    import torch
    if len(mine[0]) != len(theirs[0]):
        return f"{len(mine[0])} results, torch's {len(theirs[0])}"
    for y, t in zip(mine[0], theirs[0]):
        if theirs[1] and isinstance(t, torch.Tensor) and t.requires_grad != y.requires_grad:
            return "a graph is missing, or one too many"
    if len(mine[1]) != len(theirs[1]):
        return f"{len(mine[1])} gradients, torch's {len(theirs[1])}"
    said = differing([*mine[0], *mine[1]], [*theirs[0], *theirs[1]])
    if said is None:
        return None
    at = said[0] - len(mine[0])
    return f"gradient {at}: {said[1]}" if at >= 0 else said[1]


def differing(mine, theirs):
    """(which result is the first that differs, how), or None."""
    return next(((k, said) for k, (y, t) in enumerate(zip(mine, theirs, strict=True)) if (said := close(y, t))), None)


def nearer(mine, theirs, op, sample):
    """Are all results of float32 at least as near to those of float64 as torch's are?"""
    import torch
    leaves: list = []

    def double(x):
        if isinstance(x, torch.Tensor) and x.dtype == torch.float32:
            y = x.detach().double().requires_grad_(x.requires_grad)
            leaves.extend([y] * x.requires_grad)
            return y
        if isinstance(x, (list, tuple)):
            return [double(y) for y in x]
        return {k: double(y) for k, y in x.items()} if isinstance(x, dict) else x
    x, args, kwargs = double(sample.input), double(sample.args), double(sample.kwargs)
    results = defined(op, sample, flat(op(x, *args, **kwargs)), leaves)
    exact = results_and_gradients(results, leaves, torch.autograd.grad, torch.Tensor)
    for y, t, e in zip(mine, [*theirs[0], *theirs[1]], [*exact[0], *exact[1]], strict=True):
        y, t, e = number(y), number(t), number(e)
        if y.shape != t.shape or y.dtype != t.dtype or y.dtype.kind != "f" and not np.array_equal(y, t):
            return False
        if close(y, t) and not np.max(np.abs(y - e), initial=0) <= np.max(np.abs(t - e), initial=0):
            return False
    return True


# ----- draws ---------------------------------------------------------------------------------------------------------

CALLS, RARE = 1000, 1e-7        # how often each is called; how rarely equal distributions are told apart


def distributions(call, of_torch):
    """Are the shapes, dtypes and distributions of two functions that draw the same?"""
    import torch
    torch.manual_seed(1)
    mgx.manual_seed(1)
    drawn = []
    for function in (call, of_torch):
        try:
            rounds = [[number(y).copy() for part in function() for y in part] for _ in range(CALLS)]
        except Exception as error:
            return f"raised: {type(error).__name__}: {error}" if function is call else "unsupported"
        drawn.append([np.stack(ys) for ys in zip(*rounds)])
    if len(drawn[0]) < len(drawn[1]):           # torch has a graph here, of which no gradient comes
        drawn[1] = [y for k, y in enumerate(drawn[1]) if k < len(drawn[0]) or y.any()]
    if len(drawn[0]) != len(drawn[1]):
        return f"wrong: {len(drawn[0])} results, torch's {len(drawn[1])}"
    for y, t in zip(*drawn):
        if y.shape != t.shape or y.dtype.kind != t.dtype.kind:
            return f"wrong: {y.dtype} of shape {y.shape[1:]}, torch's {t.dtype} of {t.shape[1:]}"
        if not y.size:
            continue
        rows = [x.reshape(CALLS, -1).astype(float) for x in (y, t)]
        for name, statistic in STATISTICS.items():
            if not alike(*map(statistic, rows), 1e-5 * np.max(np.abs(rows))):
                return f"wrong: the distribution of {name} is another"
    return "passed"


# of a row for each call: the numbers, and what tells whether those of a call depend on each other
STATISTICS = {"the numbers": np.ravel, "the sum of a call": lambda x: x.sum(1),
              "the largest of a call": lambda x: x.max(1), "equal neighbours": lambda x: (x[:, 1:] == x[:, :-1]).sum(1)}


def alike(a, b, slack):
    """The test of Kolmogorov and Smirnov for two samples, in which numbers are equal that differ by roundings, by
    ``slack`` at most."""
    a, b = np.sort(a), np.sort(b)

    def ahead(x, y):                            # by how much the share of x up to a place is above that of y
        return np.searchsorted(x, x, "right") / x.size - np.searchsorted(y, x + slack, "right") / y.size

    bound = np.sqrt(-np.log(RARE / 2) / 2 * (1 / a.size + 1 / b.size))
    return max(ahead(a, b).max(), ahead(b, a).max()) <= bound


# ----- all -----------------------------------------------------------------------------------------------------------

def run(names=()):
    """{(operator, variant): Counter of outcomes}, [what is wrong]."""
    import torch
    from torch.testing._internal import common_methods_invocations
    from torch.testing._internal.common_methods_invocations import op_db

    # torch sets one seed for each call, else
    common_methods_invocations.wrapper_set_seed = lambda op, *args, **kwargs: op(*args, **kwargs)   # type: ignore
    counts: dict = collections.defaultdict(collections.Counter)
    wrong = []
    for op in op_db:
        function = ours(op.name, op.variant_test_name)
        if function is None or names and op.name not in names:
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
                counts[op.name, op.variant_test_name][outcome] += 1
                if outcome == "wrong" or names and outcome == "raised":
                    wrong.append(f"{op.name} {op.variant_test_name} {dtype}: {said}: {sample.summary()!s:.300}")
    return counts, wrong


def present():
    """(how many of torch's variants of operators have a namesake here, how many there are, the others by name)."""
    from torch.testing._internal.common_methods_invocations import op_db
    missing = collections.Counter(op.name for op in op_db if ours(op.name, op.variant_test_name) is None)
    return len(op_db) - sum(missing.values()), len(op_db), missing


def summary(counts, names):
    """A line of what became of the samples of the variants whose operators are named."""
    chosen = {key: counter for key, counter in counts.items() if key[0] in names}
    total = sum(chosen.values(), collections.Counter())
    return (f"{len(chosen)} variants, {sum(counter['passed'] > 0 for counter in chosen.values())} with a sample that "
            f"passed: {dict(sorted(total.items()))}")


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    found, wrong = run(sys.argv[1:])
    for (name, variant), counter in sorted(found.items()):
        print(name, variant, dict(counter))
    print(*wrong, sep="\n")
    if not sys.argv[1:]:
        here, count, missing = present()
        print("missing:", ", ".join(f"{name} {n}" if n > 1 else name for name, n in sorted(missing.items())))
        print(f"present: {here} of {count} variants")
    inside = {name for name, _ in found if name.startswith("nn.functional.")}
    print("nn.functional:", summary(found, inside))
    print("the others:", summary(found, {name for name, _ in found} - inside))
    sys.exit(any(": wrong: " in text for text in wrong))
