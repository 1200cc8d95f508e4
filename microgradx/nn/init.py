"""Starting values: functions that fill a tensor in place, outside any graph, and return it.

The variance of a weight decides whether signals and errors keep their size from layer to layer. With n_in and
n_out connections into and out of a unit, per weight:

    xavier   gain^2 * 2 / (n_in + n_out)     Glorot and Bengio (2010): tanh, both directions at once
    he       2 / ((1 + slope^2) * n_in)      He et al. (2015): ReLU; slope of its negative side
    kaiming  gain^2 / n_in, gain^2 / n_out   the same for any activation, forward or backward
    lecun    1 / n_in                        LeCun et al. (1998): sigmoid, tanh, SELU

``calculate_gain`` computes what an activation needs. torch's function of that name returns a table of conventions
(5/3 for tanh, where 1.5925 keeps the signal); it is ``TORCH_GAINS`` here, and nothing uses it.

``rng`` is a Generator, a seed, or None (``microgradx.random``). Numbers are drawn in double precision and
rounded, so a float32 and a float64 net of one seed start alike.
"""
from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from microgradx._core.graph import enable_grad, no_grad
from microgradx._core.launch import compute
from microgradx._core.tensor import Tensor
from microgradx.errors import DTypeError, OptionError, ShapeError
from microgradx.names import make_public
from microgradx.nn import activations
from microgradx.nn.module import Module, observed
from microgradx.random import generator, rand, randn
from microgradx.typing import Data, Function, Seed

M = TypeVar("M", bound=Module)

__all__ = ["TORCH_GAINS", "calculate_gain", "constant_", "dirac_", "eye_", "fans", "he_normal_", "he_uniform_",
           "kaiming_normal_", "kaiming_uniform_", "lecun_normal_", "lecun_uniform_", "lsuv_", "normal_", "ones_",
           "orthogonal_", "sparse_", "trunc_normal_", "uniform_", "xavier_normal_", "xavier_uniform_", "zeros_"]

TORCH_GAINS = {"linear": 1.0, "sigmoid": 1.0, "tanh": 5 / 3, "relu": math.sqrt(2), "leaky_relu": math.sqrt(2 / 1.0001),
               "selu": 0.75}
LINEAR = ("linear", "identity", *(f"conv{way}{k}d" for way in ("", "_transpose") for k in (1, 2, 3)))


def fans(tensor: Tensor) -> tuple[int, int]:
    """(n_in, n_out) of a weight of shape (out, in, ...); further axes are a kernel's and multiply both.

    >>> from microgradx import nn
    >>> nn.init.fans(nn.Linear(3, 2).weight)
    (3, 2)
    """
    shape = _tensor("fans", tensor).shape
    if len(shape) < 2:
        raise ShapeError(f"fans: a weight has shape (out, in, ...), not {shape}")
    return shape[1] * math.prod(shape[2:]), shape[0] * math.prod(shape[2:])


_calculate_fan_in_and_fan_out = fans            # torch's name of it, which layers outside of torch call


def _tensor(op: str, tensor: Tensor) -> Tensor:
    if not isinstance(tensor, Tensor) or tensor.dtype.kind != "f":
        raise DTypeError(f"{op}: fills a float Tensor, not "
                         f"{tensor.dtype if isinstance(tensor, Tensor) else type(tensor).__name__}")
    return tensor


def _write(op: str, tensor: Tensor, numbers: Data) -> Tensor:
    with no_grad():
        return _tensor(op, tensor).copy_(numbers)


def _uniform_of(op: str, tensor: Tensor, rng: Seed) -> Tensor:
    return rand(_tensor(op, tensor).shape, rng=rng, dtype="float64")


def _normal_of(op: str, tensor: Tensor, rng: Seed) -> Tensor:
    return randn(_tensor(op, tensor).shape, rng=rng, dtype="float64")


def constant_(tensor: Tensor, val: float) -> Tensor:
    """Every element is ``val``."""
    with no_grad():
        return _tensor("constant_", tensor).fill_(val)


def zeros_(tensor: Tensor) -> Tensor:
    """Every element is 0."""
    return constant_(tensor, 0.0)


def ones_(tensor: Tensor) -> Tensor:
    """Every element is 1."""
    return constant_(tensor, 1.0)


def normal_(tensor: Tensor, mean: float = 0.0, std: float = 1.0, rng: Seed = None) -> Tensor:
    """Gaussian with the given mean and standard deviation."""
    if not std >= 0:
        raise OptionError(f"normal_: std={std} is negative")
    return _write("normal_", tensor, _normal_of("normal_", tensor, rng) * std + mean)


def uniform_(tensor: Tensor, a: float = 0.0, b: float = 1.0, rng: Seed = None) -> Tensor:
    """Uniform on [a, b)."""
    if not a <= b:
        raise OptionError(f"uniform_: a={a} is above b={b}")
    return _write("uniform_", tensor, _uniform_of("uniform_", tensor, rng) * (b - a) + a)


def trunc_normal_(tensor: Tensor, mean: float = 0.0, std: float = 1.0, a: float = -2.0, b: float = 2.0,
                  rng: Seed = None) -> Tensor:
    """Gaussian, given that it lies in [a, b] (numbers, not multiples of ``std``)."""
    from scipy.special import ndtr, ndtri  # 50 ms to import
    if not (std > 0 and a < b):
        raise OptionError(f"trunc_normal_: std={std} is positive and a={a} below b={b}")
    side = 1 if a + b <= 2 * mean else -1
    ends = sorted((side * (a - mean) / std, side * (b - mean) / std))           # the side where ndtr keeps its digits
    below, above = ndtr(ends)
    z = side * compute(ndtri, below + (above - below) * _uniform_of("trunc_normal_", tensor, rng))
    return _write("trunc_normal_", tensor, (z * std + mean).clip(a, b))


def eye_(tensor: Tensor) -> Tensor:
    """The identity, 1 on the diagonal and 0 elsewhere: a matrix (out, in)."""
    if _tensor("eye_", tensor).ndim != 2:
        raise ShapeError(f"eye_: a matrix has 2 axes, not shape {tensor.shape}")
    rows, columns = tensor.shape
    return _write("eye_", tensor, np.eye(rows, columns))


def dirac_(tensor: Tensor, groups: int = 1) -> Tensor:
    """The kernel (out, in, ...) of a convolution that hands its channels on: 1 in the middle of kernel k of channel k.

    ``groups`` parts of the outputs do so by themselves. Raises ``ShapeError`` for other than 3 to 5 axes and for
    outputs that are no multiple of ``groups``.

    >>> from microgradx import nn
    >>> nn.init.dirac_(nn.Conv1d(1, 1, 3).weight).tolist()
    [[[0.0, 1.0, 0.0]]]
    """
    out, *rest = _tensor("dirac_", tensor).shape
    if len(rest) not in (2, 3, 4) or out % groups:
        raise ShapeError(f"dirac_: a kernel (out, in, ...) with out a multiple of groups={groups}, not {tensor.shape}")
    numbers = np.zeros(tensor.shape)
    middle, each = tuple(n // 2 for n in rest[1:]), out // groups
    for group in range(groups):
        for k in range(min(each, rest[0])):
            numbers[(group * each + k, k, *middle)] = 1
    return _write("dirac_", tensor, numbers)


def sparse_(tensor: Tensor, sparsity: float, std: float = 0.01, rng: Seed = None) -> Tensor:
    """N(0, std^2), with the share ``sparsity`` of each column 0, rounded up: a matrix. Martens (2010)."""
    if _tensor("sparse_", tensor).ndim != 2:
        raise ShapeError(f"sparse_: a matrix has 2 axes, not shape {tensor.shape}")
    if not 0 <= sparsity <= 1:
        raise OptionError(f"sparse_: sparsity={sparsity!r} is not a share from 0 to 1")
    source, rows = generator(rng), tensor.shape[0]
    normal_(tensor, 0.0, std, source)
    places = rand(tensor.shape, rng=source, dtype="float64").argsort(0).argsort(0)
    return _write("sparse_", tensor, (places < math.ceil(sparsity * rows)).where(0.0, tensor.detach()))


def orthogonal_(tensor: Tensor, gain: float = 1.0, rng: Seed = None) -> Tensor:
    """gain * a random matrix with orthonormal rows or columns, whichever are fewer: Saxe et al. (2014).

    Axes behind the first count as one.

    >>> import numpy as np
    >>> from microgradx import nn
    >>> w = nn.init.orthogonal_(nn.Linear(5, 3, dtype="float64").weight, rng=0)
    >>> bool(np.allclose((w @ w.T).numpy(), np.eye(3)))
    True
    """
    fans(tensor)
    rows, shape = tensor.shape[0], tensor.shape
    wide = randn(rows, math.prod(shape[1:]), rng=rng, dtype="float64")
    return _write("orthogonal_", tensor, gain * compute(_orthonormal, wide).reshape(shape))


def _orthonormal(wide: npt.NDArray[Any]) -> Any:
    flat = wide.shape[0] < wide.shape[1]
    q, r = np.linalg.qr(wide.T if flat else wide)
    q = q * np.where(np.diagonal(r) < 0, -1.0, 1.0)             # else QR's signs would favour some matrices
    return q.T if flat else q


def _normal(tensor: Tensor, variance: float, rng: Seed) -> Tensor:
    return normal_(tensor, 0.0, math.sqrt(variance), rng)


def _uniform(tensor: Tensor, variance: float, rng: Seed) -> Tensor:
    limit = math.sqrt(3 * variance)                     # U(-a, a) has variance a^2 / 3
    return uniform_(tensor, -limit, limit, rng)


def _per(n: int) -> float:
    return 1 / n if n else 0.0                          # an empty weight has nothing to scale


def xavier_normal_(tensor: Tensor, gain: float = 1.0, rng: Seed = None) -> Tensor:
    """N(0, gain^2 * 2 / (n_in + n_out)).

    >>> from microgradx import nn
    >>> w = nn.init.xavier_normal_(nn.Linear(300, 200).weight, rng=0)
    >>> round(float(w.numpy().std()) * 250**0.5, 2)
    1.0
    """
    return _normal(tensor, 2 * gain**2 * _per(sum(fans(tensor))), rng)


def xavier_uniform_(tensor: Tensor, gain: float = 1.0, rng: Seed = None) -> Tensor:
    """U(-a, a) with the variance of ``xavier_normal_``."""
    return _uniform(tensor, 2 * gain**2 * _per(sum(fans(tensor))), rng)


def he_normal_(tensor: Tensor, slope: float = 0.0, rng: Seed = None) -> Tensor:
    """N(0, 2 / ((1 + slope^2) n_in)); ``slope`` is that of a leaky ReLU for negative x."""
    return _normal(tensor, 2 / (1 + slope**2) * _per(fans(tensor)[0]), rng)


def he_uniform_(tensor: Tensor, slope: float = 0.0, rng: Seed = None) -> Tensor:
    """U(-a, a) with the variance of ``he_normal_``."""
    return _uniform(tensor, 2 / (1 + slope**2) * _per(fans(tensor)[0]), rng)


def kaiming_normal_(tensor: Tensor, a: float = 0.0, mode: str = "fan_in",
                    nonlinearity: str | Function = "leaky_relu", rng: Seed = None, *,
                    parameters: Mapping[str, Any] | None = None) -> Tensor:
    """N(0, gain^2 / n_in), or n_out with ``mode='fan_out'``; the gain is ``calculate_gain``'s, forward or backward.

    ``a`` is the slope of a leaky ReLU for negative x; ``nonlinearity`` and ``parameters`` are as for
    ``calculate_gain``: ``kaiming_normal_(w, nonlinearity="elu", parameters={"alpha": 0.5})``.
    """
    return _normal(tensor, _kaiming("kaiming_normal_", tensor, a, nonlinearity, mode, parameters), rng)


def kaiming_uniform_(tensor: Tensor, a: float = 0.0, mode: str = "fan_in",
                     nonlinearity: str | Function = "leaky_relu", rng: Seed = None, *,
                     parameters: Mapping[str, Any] | None = None) -> Tensor:
    """U(-l, l) with the variance of ``kaiming_normal_``."""
    return _uniform(tensor, _kaiming("kaiming_uniform_", tensor, a, nonlinearity, mode, parameters), rng)


def _kaiming(op: str, tensor: Tensor, a: float, nonlinearity: str | Function, mode: str,
             parameters: Mapping[str, Any] | None) -> float:
    if mode not in ("fan_in", "fan_out"):
        raise OptionError(f"kaiming: mode is 'fan_in' or 'fan_out', not {mode!r}")
    if not isinstance(a, (int, float, np.number)):
        raise OptionError(f"{op}: a is the slope of a leaky ReLU, a number, not {a!r}; nonlinearity is given by name")
    given = dict(parameters or {})
    if nonlinearity == "leaky_relu":
        given.setdefault("negative_slope", a)
    backward = mode == "fan_out"
    gain = calculate_gain(nonlinearity, direction="backward" if backward else "forward", **given)
    return gain**2 * _per(fans(tensor)[backward])


def lecun_normal_(tensor: Tensor, rng: Seed = None) -> Tensor:
    """N(0, 1 / n_in)."""
    return _normal(tensor, _per(fans(tensor)[0]), rng)


def lecun_uniform_(tensor: Tensor, rng: Seed = None) -> Tensor:
    """U(-a, a) with the variance of ``lecun_normal_``."""
    return _uniform(tensor, _per(fans(tensor)[0]), rng)


# ----- the gain of an activation ---------------------------------------------------------------------------------

def calculate_gain(nonlinearity: str | Function, param: float | None = None, *, direction: str = "forward",
                   **parameters: Any) -> float:
    """By what to multiply 1/sqrt(n) so that an activation phi keeps its scale at standard normal input z.

    ``forward``: 1/sqrt(E[phi(z)^2]) keeps the signal, ``backward``: 1/sqrt(E[phi'(z)^2]) the error. ``nonlinearity``
    is "linear", a name in ``nn.functional`` with its ``parameters``, or an elementwise function of Tensors; ``param``
    is the slope of "leaky_relu". The expectation is computed to about 1e-12, kinks and jumps included.

    Raises ``OptionError`` for a name that is none, a function that is not elementwise, or an E that is 0 or infinite.

    >>> from microgradx import nn
    >>> round(nn.init.calculate_gain("relu")**2, 12), round(nn.init.calculate_gain("tanh"), 6)
    (2.0, 1.592537)
    >>> round(nn.init.calculate_gain(lambda z: z.sigmoid() - 0.5, direction="backward"), 4)
    4.7226
    """
    if direction not in ("forward", "backward"):
        raise OptionError(f"calculate_gain: direction is 'forward' or 'backward', not {direction!r}")
    if param is not None:
        if nonlinearity != "leaky_relu" or not isinstance(param, (int, float, np.number)):
            raise OptionError(f"calculate_gain: param={param!r} goes with 'leaky_relu' and is its slope; direction and "
                              "other parameters are given by name")
        parameters["negative_slope"] = param
    if callable(nonlinearity):
        return _gain(functools.partial(nonlinearity, **parameters) if parameters else nonlinearity, direction)
    known = [name for name in activations.ACTIVATIONS if "softmax" not in name]
    if nonlinearity not in (*LINEAR, *known):
        raise OptionError(f"calculate_gain: {nonlinearity!r} is not 'linear' or one of {', '.join(known)}")
    return _known_gain(nonlinearity, direction, tuple(parameters.items()))


@functools.lru_cache(256)
def _known_gain(name: str, direction: str, parameters: tuple[tuple[str, Any], ...]) -> float:
    if name in LINEAR:
        return 1.0
    return _gain(functools.partial(getattr(activations, name), **dict(parameters)), direction)


def _gain(phi: Function, direction: str) -> float:
    moment = _expect(functools.partial(_squares, phi, direction))
    if not 0 < moment < math.inf:
        raise OptionError(f"calculate_gain: E[phi^2], {direction}, is {moment}; no gain keeps it")
    return 1 / math.sqrt(moment)


def _squares(phi: Function, direction: str, z: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """phi(z)^2 or phi'(z)^2 for an array z."""
    x = Tensor(z, requires_grad=direction == "backward")
    with enable_grad():
        y = phi(x)
        if not isinstance(y, Tensor) or y.shape != x.shape:
            raise OptionError("calculate_gain: an activation is a function of Tensors that keeps their shape")
        if direction == "forward":
            squares: npt.NDArray[Any] = np.square(y.numpy())
            return squares
        if not y.requires_grad:                         # a constant
            return np.zeros(z.shape)
        y.backward(Tensor(np.ones(z.shape)))
    slope = x.grad
    return np.zeros(z.shape) if slope is None else slope.numpy() ** 2


def _expect(f: Callable[[npt.NDArray[Any]], npt.NDArray[Any]]) -> float:
    """E[f(z)] for standard normal z: Gauss and Legendre's rule on panels, halved where their halves disagree.

    A kink or a jump is so closed in by panels too short to matter.
    """
    nodes, weights = np.polynomial.legendre.leggauss(16)

    def integrals(low: npt.NDArray[Any], high: npt.NDArray[Any]) -> npt.NDArray[Any]:
        half = (high - low) / 2
        z = (low + high)[:, None] / 2 + half[:, None] * nodes
        with np.errstate(all="ignore"):
            panels: npt.NDArray[Any] = half * ((f(z) * np.exp(-z * z / 2)) @ weights) / math.sqrt(2 * math.pi)
        return panels

    edges, total = np.linspace(-16.0, 16.0, 65), 0.0
    low, high = edges[:-1], edges[1:]
    coarse = integrals(low, high)
    scale = coarse.sum()
    if not coarse[0] + coarse[-1] <= 1e-15 * scale < math.inf:  # still growing at 16, or not a number
        return math.inf if scale else 0.0
    while len(low):
        middle = (low + high) / 2
        left, right = integrals(low, middle), integrals(middle, high)
        settled = (abs(left + right - coarse) <= 1e-14 * scale * (high - low) + 1e-13 * coarse) | (high - low < 1e-12)
        total += float((left + right)[settled].sum())
        low, middle, high, left, right = (a[~settled] for a in (low, middle, high, left, right))
        low, high = np.concatenate([low, middle]), np.concatenate([middle, high])
        coarse = np.concatenate([left, right])
    return total


# ----- from data -------------------------------------------------------------------------------------------------

def lsuv_(model: M, *inputs: Any, tolerance: float = 0.01, steps: int = 10, rng: Seed = None) -> M:
    """Layer-sequential unit variance: Mishkin and Matas (2016), algorithm 1. Returns the model.

    The weight (2 axes or more) of every module is made orthogonal; then, in the order in which the modules run on
    ``inputs``, it is divided by the standard deviation of the module's output until that is 1 to ``tolerance``, at
    most ``steps`` times. Runs in evaluation mode, without a graph. Biases stay as they are.

    Raises ``OptionError`` where an output is constant or not finite.

    >>> import numpy as np, microgradx as mgx
    >>> from microgradx import nn
    >>> net = nn.Sequential(nn.Linear(9, 50, rng=0), nn.Tanh(), nn.Linear(50, 20, rng=1))
    >>> x = mgx.Tensor(np.random.default_rng(0).standard_normal((200, 9)))
    >>> net = nn.init.lsuv_(net, x.astype("float32"), rng=0)
    >>> round(float(net(x.astype("float32")).numpy().std()), 1)
    1.0
    """
    names, rng = {module: name for name, module in model.named_modules()}, generator(rng)
    weights: dict[Module, Tensor] = {}
    spread: dict[Module, float] = {}

    def note(module: Module, args: Any, result: Any) -> None:           # in the order in which they run
        weight = getattr(module, "weight", None)
        if isinstance(weight, Tensor) and weight.ndim > 1:
            weights[module], spread[module] = weight, float(np.std(result.numpy()))

    with observed(model, note):
        model(*inputs)
        before = {module: Tensor(weight) for module, weight in weights.items()}
        for weight in weights.values():
            orthogonal_(weight, rng=rng)
        for module, weight in list(weights.items()):
            for _ in range(steps):
                model(*inputs)
                s = spread[module]
                if not 0 < s < math.inf:
                    for changed, old in before.items():
                        weights[changed].copy_(old)
                    raise OptionError(f"lsuv_: the output of {names[module]!r} has the standard deviation {s}")
                if abs(s * s - 1) < tolerance:
                    break
                weight.copy_(weight / s)
    return model


make_public(__name__)
