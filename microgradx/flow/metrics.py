"""What is measured: plain functions of arrays, in float64 over NumPy. Tensors are taken as arrays are.

What is summed in every pass (``norm``, ``mean_square``, ``signal``) is summed in the array's own dtype, and in float64
where float32 would lose digits.

One layer at a time: z (B, n) pre-activations of B samples, a = phi(z) activations, ``slope`` = phi'(z), delta = dC/dz
of each sample's cost, all (B, n); W (n_out, n_in), G = dC/dW. Further axes count as units. With a cost that is a mean
over samples delta is B times the gradient that arrives at z; ratios do not care. ``METRICS`` has the whole list.
"""
import functools
import math
from typing import NamedTuple

import numpy as np

from microgradx._core.tensor import Tensor
from microgradx.errors import OptionError, ShapeError
from microgradx.random import generator, randint, randn


def without_graph(x):
    """An array, of a tensor without its graph."""
    return np.asarray(x.detach() if isinstance(x, Tensor) else x)


def _numbers(x):
    return np.asarray(without_graph(x), np.float64)


def _floats(x):
    """float32 and float64 as they are, all else in float64."""
    x = without_graph(x)
    return x if x.dtype.char in "fd" else x.astype(np.float64)


def _rows(op, x, numbers=_numbers):
    """``x`` as (samples, units), neither of them none."""
    x = numbers(x)
    if x.ndim < 2 or not x.size:
        raise ShapeError(f"{op}: an array of shape (samples, units), neither 0, not {x.shape}")
    return x if x.ndim == 2 else x.reshape(len(x), -1)


def _profile(op, profile):
    profile = _numbers(profile)
    if profile.ndim != 1 or not profile.size:
        raise ShapeError(f"{op}: one number per layer, not {profile.shape}")
    return profile


def _alike(op, a, b):
    a, b = _numbers(a), _numbers(b)
    if a.shape != b.shape:
        raise ShapeError(f"{op}: shapes {a.shape} and {b.shape} differ ({a.shape} != {b.shape})")
    return a, b


def _ratio(a, b):
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.divide(a, b)


def _squared(x):
    """(x, the sum of its squares), both in float64 where float32 would under- or overflow."""
    if x.dtype.char == "d" or not x.size or abs(x.flat[x.size // 2]) > 1e-17:   # subnormal squares take long
        total = float(np.vdot(x, x))
        if 1e-30 < total < 1e30 or x.dtype.char == "d":
            return x, total
    x = _numbers(x)
    return x, float(np.vdot(x, x))


def norm(x):
    """The Euclidean norm of all elements, where their squares under- or overflow, too: O(size).

    >>> from microgradx.flow.metrics import norm
    >>> norm([3e-200, 4e-200])
    5e-200
    """
    x, total = _squared(_floats(x))
    if 1e-200 < total < 1e200:
        return math.sqrt(total)
    x = x.ravel()
    largest = float(np.abs(x).max(initial=0.0))
    if largest == 0 or not math.isfinite(largest):
        return largest
    x = x / largest
    return largest * math.sqrt(np.vdot(x, x))


# ----- M1 to M3: errors and weight gradients -------------------------------------------------------------------------

def error_norm(delta):
    """M1, D = sqrt(mean_b ||delta_b||^2 / n): (B, n) -> float, O(Bn). The profile of a net is D of every layer.

    >>> from microgradx.flow.metrics import error_norm
    >>> error_norm([[3.0, 4.0], [0.0, 0.0]])
    2.5
    """
    delta = _rows("error_norm", delta, _floats)
    return norm(delta) / math.sqrt(delta.size)


def mean_error_norm(delta):
    """M1, S = ||mean_b delta_b||: (B, n) -> float, O(Bn). Nielsen (2015), chapter 5: the speed at which biases learn.

    >>> from microgradx.flow.metrics import mean_error_norm
    >>> mean_error_norm([[3.0, 8.0], [3.0, 0.0]])
    5.0
    """
    return norm(_rows("mean_error_norm", delta).mean(axis=0))


def gains(profile):
    """M2, gamma_l = D_l / D_(l+1): (L,) -> (L-1,). Below 1 the error shrinks on its way back.

    >>> from microgradx.flow.metrics import gains
    >>> gains([1.0, 2.0, 8.0])
    array([0.5 , 0.25])
    """
    profile = _profile("gains", profile)
    return _ratio(profile[:-1], profile[1:])


def decades(profile):
    """M2, log10(D_L / D_1): powers of ten lost between the last layer and the first; inf where nothing arrives.

    >>> from microgradx.flow.metrics import decades
    >>> round(decades([1e-4, 1e-3, 1.0]), 12)
    4.0
    """
    profile = _profile("decades", profile)
    with np.errstate(divide="ignore", invalid="ignore"):
        return float(np.log10(profile[-1]) - np.log10(profile[0]))


def gain_per_layer(profile):
    """M2, exp of minus the least-squares slope of log D over l: the typical gain of one layer on the way back.

    >>> from microgradx.flow.metrics import gain_per_layer
    >>> round(gain_per_layer([1.0, 4.0, 16.0]), 12)
    0.25
    """
    profile = _profile("gain_per_layer", profile)
    if len(profile) < 2 or not (profile > 0).all():
        return math.nan if len(profile) < 2 else 0.0
    return math.exp(-np.polyfit(np.arange(len(profile)), np.log(profile), 1)[0])


def gradient_norm(grad):
    """M3, ||G||_F / sqrt(size): of a weight's gradient, O(size). It hides the disease: in deep tanh nets it is flat
    over the layers while delta vanishes (Glorot and Bengio 2010, eq. 14); never read it alone.

    >>> from microgradx.flow.metrics import gradient_norm
    >>> gradient_norm([[3.0, 4.0], [0.0, 0.0]])
    2.5
    """
    return error_norm(grad)


def euler(weight, grad):
    """M3, <W, G> = sum W G: the same number in every layer of a net without biases whose activations are homogeneous
    (ReLU, leaky ReLU, linear). A theorem of Euler's, and a test of any backward pass.

    >>> from microgradx.flow.metrics import euler
    >>> euler([[1.0, 2.0]], [[3.0, 4.0]])
    11.0
    """
    return float(np.vdot(*_alike("euler", weight, grad)))


# ----- M4 to M6: the forward signal and mean-field numbers -----------------------------------------------------------

def mean_square(z):
    """M4, q = mean z^2: (B, n) -> float, O(Bn).

    >>> from microgradx.flow.metrics import mean_square
    >>> mean_square([[1.0, -3.0]])
    5.0
    """
    z, square = _squared(_rows("mean_square", z, _floats))
    return square / z.size


def mean(a):
    """M4, the mean over samples and units: (B, n) -> float, O(Bn).

    >>> from microgradx.flow.metrics import mean
    >>> mean([[0.0, 1.0]])
    0.5
    """
    return float(_rows("mean", a).mean())


@functools.lru_cache(16)
def _ones(n, dtype):
    return np.ones(n, dtype)


def signal(a):
    """M4, V = mean_k Var_b(a_bk): what of the activations still depends on the sample: (B, n) -> float, O(Bn).

    >>> from microgradx.flow.metrics import signal
    >>> signal([[0.0, 7.0], [2.0, 7.0]])
    0.5
    """
    a, square = _squared(_rows("signal", a, _floats))
    sums = _ones(len(a), a.dtype.char).dot(a)
    spread = square - float(np.vdot(sums, sums)) / len(a)
    if not spread > (1e-6 if a.dtype.char == "d" else 1e-2) * square:       # the difference has lost its digits
        spread = float(np.square(a - _numbers(a).mean(axis=0)).sum())
    return spread / a.size


def cosine(z, most=64):
    """M4, c: the mean cosine between the rows of two samples: (B, n) -> float, O(Bn). Of ``most`` rows at equal
    distances; rows of zeros do not count. Towards 1 the layer sees all samples alike. Poole et al. (2016).

    >>> from microgradx.flow.metrics import cosine
    >>> round(cosine([[1.0, 0.0], [1.0, 1.0]]) ** 2, 12)
    0.5
    """
    z = _rows("cosine", z)
    z = z[np.unique(np.linspace(0, len(z) - 1, most).astype(int))]
    lengths = np.sqrt((z * z).sum(axis=1))
    z = z[lengths > 0] / lengths[lengths > 0, None]
    m = len(z)
    return float((np.square(z.sum(axis=0)).sum() - m) / (m * (m - 1))) if m > 1 else math.nan


def chi(weight, slope, fan="in"):
    """M5, n_in mean(W^2) mean(phi'^2): the predicted factor on the variance of delta, for independent weights.

    ``fan="out"`` takes n_out instead, which is what gamma^2 compares with where widths differ: W of the layer above,
    the slope of this one. More than 30 % off gamma^2 says that weights and errors have become dependent. O(size).
    Schoenholz et al. (2017), eq. 5.

    >>> from microgradx.flow.metrics import chi
    >>> chi([[1.0, -1.0]], [[0.5, 0.5]])
    0.5
    """
    weight = _rows("chi", weight)
    if fan not in ("in", "out"):
        raise OptionError(f"chi: fan is 'in' or 'out', not {fan!r}")
    return weight.shape[fan == "in"] * mean_square(weight) * mean_square(slope)


def depth_scale(chi):
    """M6, xi = -1 / ln chi: the layers in which the variance of delta falls to 1/e; negative where it grows by e, inf
    at chi = 1. Nets train up to about 6 xi layers. Schoenholz et al. (2017).

    >>> from microgradx.flow.metrics import depth_scale
    >>> round(depth_scale(1.5 / 2), 3)
    3.476
    """
    return math.inf if chi == 1 else -1 / math.log(chi) if chi > 0 else 0.0


# ----- M7 to M9: updates and units -----------------------------------------------------------------------------------

def update_ratio(before, after):
    """M7, rho = ||W_after - W_before|| / ||W_before||, of the step that was really made: O(size). inf from W = 0.

    >>> from microgradx.flow.metrics import update_ratio
    >>> update_ratio([3.0, 4.0], [3.0, 4.5])
    0.1
    """
    before, after = _alike("update_ratio", before, after)
    return float(_ratio(norm(after - before), norm(before)))


def saturated(slope, largest, share=0.1):
    """M8, the share of |phi'| < ``share`` * ``largest``, the largest slope of the activation: (B, n) -> float, O(Bn).

    >>> from microgradx.flow.metrics import saturated
    >>> saturated([[0.25, 0.01]], 0.25)
    0.5
    """
    return float((np.abs(_rows("saturated", slope)) < share * largest).mean())


def stuck(slope, largest, share=0.1, of=0.95):
    """M8, the share of units that are saturated on at least ``of`` of the samples: (B, n) -> float, O(Bn).

    >>> from microgradx.flow.metrics import stuck
    >>> stuck([[0.25, 0.01], [0.01, 0.01]], 0.25)
    0.5
    """
    flat = np.abs(_rows("stuck", slope)) < share * largest
    return float((flat.mean(axis=0) >= of).mean())


def dead(slope, floor=0.0):
    """M9, the share of units whose |phi'| is at most ``floor`` on every sample: 0 for ReLU, 1e-3 for smooth ones.

    (B, n) -> float, O(Bn). See ``false_alarm`` for how many samples it takes. Lu et al. (2019).

    >>> from microgradx.flow.metrics import dead
    >>> dead([[0.0, 1.0], [0.0, 0.0]])
    0.5
    """
    return float((np.abs(_rows("dead", slope)).max(axis=0) <= floor).mean())


def false_alarm(p, samples):
    """M9, (1 - p)^N: how likely a unit that is active on a share ``p`` of the data looks dead on N samples.

    >>> from microgradx.flow.metrics import false_alarm
    >>> round(false_alarm(0.01, 256), 3)
    0.076
    """
    return (1 - p) ** samples


def dormant(a, tau=0.025):
    """M9, the share of units with mean_b |a_k| <= tau * its mean over k: (B, n) -> float, O(Bn). Sokar et al. (2023).

    >>> from microgradx.flow.metrics import dormant
    >>> dormant([[0.001, 1.0]])
    0.5
    """
    size = np.abs(_rows("dormant", a)).mean(axis=0)
    return float((size <= tau * size.mean()).mean())


# ----- M10 to M12: signs, zig-zag, conditioning ----------------------------------------------------------------------

def _unit_rows(op, grad):
    """The rows of a weight gradient that are not 0."""
    grad = _rows(op, grad)
    return grad[grad.any(axis=1)]


def sign_coherence(grad):
    """M10, the mean over units k of |sum_j G_kj| / sum_j |G_kj|: (n_out, n_in) -> float in 0..1, O(size).

    1 where all weights into each unit want to move the same way: always so for one sample and positive inputs. Units
    without gradient do not count.

    >>> from microgradx.flow.metrics import sign_coherence
    >>> sign_coherence([[1.0, 2.0], [1.0, -1.0]])
    0.5
    """
    grad = _unit_rows("sign_coherence", grad)
    return float((np.abs(grad.sum(axis=1)) / np.abs(grad).sum(axis=1)).mean()) if len(grad) else math.nan


def same_sign(grad):
    """M10, the share of units whose weight gradients all have one sign: (n_out, n_in) -> float, O(size).

    >>> from microgradx.flow.metrics import same_sign
    >>> same_sign([[1.0, 2.0], [1.0, -1.0]])
    0.5
    """
    grad = _unit_rows("same_sign", grad)
    return float(((grad > 0).all(axis=1) | (grad < 0).all(axis=1)).mean()) if len(grad) else math.nan


def reversals(path):
    """M11, Z: the share of steps that turn back, <D_t, D_(t-1)> < 0: positions (T+1, n) -> float, O(Tn).

    >>> from microgradx.flow.metrics import reversals
    >>> reversals([[0.0], [2.0], [1.0], [3.0]])
    1.0
    """
    steps = np.diff(_rows("reversals", path), axis=0)
    return float(((steps[1:] * steps[:-1]).sum(axis=1) < 0).mean()) if len(steps) > 1 else math.nan


def inflation(path):
    """M11, the length of the path over the distance covered: positions (T+1, n) -> float >= 1, O(Tn).

    >>> from microgradx.flow.metrics import inflation
    >>> round(inflation([[0.0, 0.0], [1.0, 0.0], [1.0, 1.0]]) ** 2, 12)
    2.0
    """
    path = _rows("inflation", path)
    return float(_ratio(np.sqrt(np.square(np.diff(path, axis=0)).sum(axis=1)).sum(), norm(path[-1] - path[0])))


def offset(a):
    """M12, r = mean_k mu_k^2 / mean_k s_k^2, means and variances of inputs over the samples: (B, n) -> float, O(Bn).

    E[a a^T] of alike, uncorrelated inputs has the eigenvalues n mu^2 + s^2 and s^2, so its condition is 1 + n r: the
    price of inputs that are not centred. LeCun et al. (1998).

    >>> from microgradx.flow.metrics import offset
    >>> offset([[1.0], [3.0]])
    4.0
    """
    a = _rows("offset", a)
    return float(_ratio(np.square(a.mean(axis=0)).mean(), a.var(axis=0).mean()))


def top_eigenvalue(a, products=10, rng=0):
    """M12, of E[a a^T], by power iteration: (B, n) -> float, O(products B n).

    >>> from microgradx.flow.metrics import top_eigenvalue
    >>> round(top_eigenvalue([[3.0, 0.0], [0.0, 1.0]]), 9)
    4.5
    """
    a = _rows("top_eigenvalue", a)
    v = randn(a.shape[1], rng=rng, dtype="float64").numpy()
    for _ in range(products):
        v = a.T @ (a @ (v / (norm(v) or 1.0))) / len(a)
    return norm(v)


# ----- M13 and M14: the Jacobian and depth ---------------------------------------------------------------------------

def singular_values(jacobian):
    """M13, of J = dz_L/dz_1, largest first: (m, n) -> (min(m, n),), O(n^3). Saxe et al. (2013), Pennington et al.
    (2017).

    >>> from microgradx.flow.metrics import singular_values
    >>> singular_values([[0.0, 2.0], [1.0, 0.0]])
    array([2., 1.])
    """
    return np.linalg.svd(_rows("singular_values", jacobian), compute_uv=False)


def participation(s):
    """M13, (sum s^2)^2 / sum s^4: in how many directions the Jacobian with singular values ``s`` acts.

    >>> from microgradx.flow.metrics import participation
    >>> participation([1.0, 1.0, 0.0])
    2.0
    """
    s = np.square(_profile("participation", s))
    return float(_ratio(s.sum() ** 2, np.square(s).sum()))


def mean_square_gain(vjp, n, probes=16, rng=0):
    """M13, Hutchinson's estimate of tr(J J^T) / n: ``vjp`` maps v (n,) to J^T v. Costs ``probes`` backward passes.

    >>> from microgradx.flow.metrics import mean_square_gain
    >>> round(mean_square_gain(lambda v: 2 * v, 5), 12)
    4.0
    """
    rng = generator(rng)
    return float(np.mean([norm(vjp(2.0 * randint(2, size=n, rng=rng).numpy() - 1)) ** 2 for _ in range(probes)])) / n


def effective_layers(profile):
    """M14, 1 / sum p_l^2 with p_l = D_l^2 / sum D^2: how many layers share the error: (L,) -> float in 1..L.

    >>> from microgradx.flow.metrics import effective_layers
    >>> effective_layers([1.0, 1.0, 0.0])
    2.0
    """
    return participation(profile)


def effective_layers_at(chi, layers=math.inf):
    """M14, of a profile that falls by chi per layer in variance: (1+chi)/(1-chi) (1-chi^L)/(1+chi^L).

    >>> from microgradx.flow.metrics import effective_layers_at
    >>> round(effective_layers_at(0.9, 30), 2)
    17.45
    """
    if chi == 1:
        return float(layers)
    if chi > 1:
        return effective_layers_at(1 / chi, layers)
    return (1 + chi) / (1 - chi) * (1 - chi**layers) / (1 + chi**layers)


def path_lengths(branches):
    """M14, of a residual net: the share of the error's variance that came through k branches, from the variance factors
    of L independent branches: (L,) -> (L+1,), O(L^2). Veit et al. (2016).

    >>> from microgradx.flow.metrics import path_lengths
    >>> path_lengths([1.0, 1.0])
    array([0.25, 0.5 , 0.25])
    """
    shares = np.ones(1)
    for factor in _profile("path_lengths", branches):
        shares = np.convolve(shares, [1.0, factor]) / (1 + factor)
    return shares


# ----- M15 to M19: noise, arithmetic, losses -------------------------------------------------------------------------

def gsnr(delta, a):
    """M15, ||mean_b G_b||^2 / tr Var_b(G_b) for G_b = delta_b a_b^T, without forming any G_b: (B, n_out), (B, n_in)
    -> float, O(B n_out n_in). ``a`` is what comes into the layer. Liu et al. (2020), summed over the weights.

    >>> from microgradx.flow.metrics import gsnr
    >>> gsnr([[1.0], [3.0]], [[1.0], [1.0]])
    4.0
    """
    delta, a = _rows("gsnr", delta), _rows("gsnr", a)
    if len(delta) != len(a):
        raise ShapeError(f"gsnr: {len(delta)} errors and {len(a)} inputs ({len(delta)} != {len(a)})")
    mean = norm(delta.T @ a / len(a)) ** 2
    total = float((np.square(delta).sum(axis=1) * np.square(a).sum(axis=1)).mean())
    return float(_ratio(mean, max(total - mean, 0.0)))


class Floor(NamedTuple):
    """Shares of exact zeros and of subnormals; halvings until the largest is subnormal."""
    zeros: float
    subnormal: float
    bits: float


def floor(x):
    """M16, how near an array is to the end of its own dtype: O(size).

    >>> from microgradx.flow.metrics import floor
    >>> import numpy as np
    >>> floor(np.array([0.0, 1e-40, 1.0], np.float32))
    Floor(zeros=0.3333333333333333, subnormal=0.3333333333333333, bits=126.0)
    """
    x = np.abs(without_graph(x))
    if x.dtype.kind != "f" or not x.size:
        raise ShapeError(f"floor: floats, not {x.dtype} of shape {x.shape}")
    tiny, largest, zeros = float(np.finfo(x.dtype).tiny), float(x.max()), float((x == 0).mean())
    bits = math.log2(largest) - math.log2(tiny) if largest else -math.inf
    return Floor(zeros, float((x < tiny).mean()) - zeros, bits)


def deviation(x, twin):
    """M16, ||x - twin|| / ||twin||: of a float32 run from its float64 twin.

    >>> from microgradx.flow.metrics import deviation
    >>> deviation([3.0, 4.5], [3.0, 4.0])
    0.1
    """
    return update_ratio(twin, x)


def distinct_rows(a):
    """M16, how many samples a layer can still tell apart to the last bit: (B, n) -> int, O(Bn).

    >>> from microgradx.flow.metrics import distinct_rows
    >>> distinct_rows([[1.0, 2.0], [1.0, 2.0], [1.0, 3.0]])
    2
    """
    rows = _rows("distinct_rows", a) + 0.0                  # -0 is 0. np.unique of rows turns a Ctrl-C into a TypeError
    return len({row.tobytes() for row in rows})


def gradient_correlation(gradients, lag=1):
    """M17, sum_t <g_t, g_(t+lag)> over the norms, g_t the gradient by the input at equal steps along a line: (T, n) ->
    float, O(Tn). Near 0 the gradient is white noise: shattered. Balduzzi et al. (2017).

    >>> from microgradx.flow.metrics import gradient_correlation
    >>> round(gradient_correlation([[1.0], [-1.0], [1.0]]), 12)
    -1.0
    """
    g = _rows("gradient_correlation", gradients)
    if not 0 < lag < len(g):
        raise OptionError(f"gradient_correlation: lag={lag} is not between 1 and {len(g) - 1}")
    a, b = g[:-lag], g[lag:]
    return float(_ratio((a * b).sum(), norm(a) * norm(b)))


def loss_excess(loss, classes):
    """M18, the first cross-entropy minus ln K, which a net that knows nothing has.

    >>> from microgradx.flow.metrics import loss_excess
    >>> round(loss_excess(2.3026, 10), 3)
    0.0
    """
    return loss - math.log(classes)


def entropy(p):
    """M18, -sum_k p log p, the mean over samples, of class probabilities: (B, K) -> float in 0..ln K, O(BK).

    >>> from microgradx.flow.metrics import entropy
    >>> round(entropy([[0.5, 0.5], [1.0, 0.0]]), 6)
    0.346574
    """
    p = _rows("entropy", p)
    return float(-(p * np.log(np.where(p > 0, p, 1.0))).sum(axis=1).mean())


def decrease_ratio(before, after, lr, grads):
    """M19, (C_before - C_after) / (lr ||g||^2) of a step of plain gradient descent: 1 to first order, so a number far
    from 1 at a small lr says that the gradient is wrong. ``grads``: arrays, one per parameter.

    >>> from microgradx.flow.metrics import decrease_ratio
    >>> round(decrease_ratio(1.0, 0.98, 0.01, [[1.0], [1.0]]), 12)
    1.0
    """
    return float(_ratio(before - after, lr * sum(norm(g) ** 2 for g in grads)))


METRICS = {
    "M1": (error_norm, mean_error_norm), "M2": (gains, decades, gain_per_layer), "M3": (gradient_norm, euler),
    "M4": (mean_square, mean, signal, cosine), "M5": (chi,), "M6": (depth_scale,), "M7": (update_ratio,),
    "M8": (saturated, stuck), "M9": (dead, false_alarm, dormant), "M10": (sign_coherence, same_sign),
    "M11": (reversals, inflation), "M12": (offset, top_eigenvalue),
    "M13": (singular_values, participation, mean_square_gain),
    "M14": (effective_layers, effective_layers_at, path_lengths), "M15": (gsnr,),
    "M16": (floor, deviation, distinct_rows), "M17": (gradient_correlation,), "M18": (loss_excess, entropy),
    "M19": (decrease_ratio,)}

__all__ = ["METRICS", "norm", *sorted(f.__name__ for functions in METRICS.values() for f in functions)]
