"""Every metric M1 to M19 against its closed form, and against the kinds of input it may get."""
import math
from statistics import NormalDist

import numpy as np
import pytest

import microgradx as mgx
from microgradx import nn, optim
from microgradx.errors import OptionError, ShapeError
from microgradx.flow import metrics as m

CLOSED_FORMS = {}


def closed_form(name):
    return lambda test: CLOSED_FORMS.setdefault(name, test)


@pytest.mark.parametrize("name", [f"M{k}" for k in range(1, 20)])
def test_closed_form(name):
    assert name in m.METRICS and m.METRICS[name], f"{name} has no function"
    assert name in CLOSED_FORMS, f"{name} has no test against its closed form"
    CLOSED_FORMS[name]()


def test_every_function_says_which_metric_it_is_and_shows_an_example():
    listed = [f for functions in m.METRICS.values() for f in functions]
    assert len(set(listed)) == len(listed) and {f.__name__ for f in listed} | {"METRICS", "norm"} == set(m.__all__)
    for name, functions in m.METRICS.items():
        for f in functions:
            assert f.__doc__.startswith(f"{name}, ") and ">>>" in f.__doc__, f.__name__


# ----- plain nets ----------------------------------------------------------------------------------------------------

def sigma(z):
    return 0.5 * (1 + np.tanh(z / 2))


PHI = {"sigmoid": (sigma, lambda z: sigma(z) * sigma(-z)), "tanh": (np.tanh, lambda z: 1 / np.cosh(z) ** 2),
       "relu": (lambda z: np.maximum(z, 0), lambda z: (z > 0) * 1.0), "linear": (lambda z: z, np.ones_like),
       "leaky": (lambda z: np.where(z > 0, z, 0.2 * z), lambda z: np.where(z > 0, 1.0, 0.2)),
       "softsign": (lambda z: z / (1 + np.abs(z)), lambda z: (1 + np.abs(z)) ** -2)}


def normal(n):
    """n quantiles of a Gaussian: a sample without noise, (n, 1)."""
    inverse = NormalDist().inv_cdf
    return np.array([[inverse((k + 0.5) / n)] for k in range(n)])


def run(phi, weights, x, biases=None, top=None):
    """zs, activations (the input first) and deltas; ``top`` is delta of the last layer, by default noise."""
    f, df = PHI[phi]
    a, zs = [x], []
    for k, w in enumerate(weights):
        zs.append(a[-1] @ w.T + (biases[k] if biases else 0))
        a.append(f(zs[-1]))
    deltas = [np.random.default_rng(1).standard_normal(zs[-1].shape) if top is None else top(zs[-1], a[-1])]
    for z, w in zip(zs[-2::-1], weights[:0:-1]):
        deltas.insert(0, deltas[0] @ w * df(z))
    return zs, a, deltas


def gaussian(n, depth, variance, seed=0):
    rng = np.random.default_rng(seed)
    return [rng.standard_normal((n, n)) * math.sqrt(variance / n) for _ in range(depth)]


def orthogonal(n, depth, seed=0):
    rng = np.random.default_rng(seed)
    return [np.linalg.qr(rng.standard_normal((n, n)))[0] for _ in range(depth)]


def inputs(samples, n, q=1.0, seed=5):
    return np.random.default_rng(seed).standard_normal((samples, n)) * math.sqrt(q)


# ----- the closed forms ----------------------------------------------------------------------------------------------

@closed_form("M1")
def errors_of_the_chain_net():
    ws = [np.ones((1, 1))] * 3
    quadratic = run("sigmoid", ws, np.ones((1, 1)), top=lambda z, a: a * PHI["sigmoid"][1](z))
    _, a, deltas = quadratic
    found = [m.error_norm(d) * o.item() for d, o in zip(deltas, a)]
    np.testing.assert_allclose(found, [0.006388805, 0.02375538, 0.09999461], rtol=5e-7)
    entropy = run("sigmoid", ws, np.ones((1, 1)), top=lambda z, a: a)
    ratios = [m.error_norm(e) / m.error_norm(q) for e, q in zip(entropy[2], deltas)]
    np.testing.assert_allclose(ratios, 1 / PHI["sigmoid"][1](quadratic[0][-1].item()), rtol=1e-12)
    assert m.mean_error_norm([[1.0, 1.0], [-1.0, -1.0]]) == 0 and m.mean_error_norm([[3.0, 4.0]]) == 5


@closed_form("M2")
def gains_of_wide_nets():
    n, q = 1000, 1.30213
    rng = np.random.default_rng(3)
    biases = [rng.standard_normal(n) for _ in range(5)]
    x = inputs(4, n, q - 1)
    *_, deltas = run("sigmoid", gaussian(n, 5, 1.0), x, biases)
    profile = [m.error_norm(d) for d in deltas]
    np.testing.assert_allclose(1 / m.gain_per_layer(profile), 4.8818, rtol=0.03)
    np.testing.assert_allclose(m.decades(profile), 4 * math.log10(4.8818), rtol=0.03)
    *_, deltas = run("relu", gaussian(n, 5, 1.5), x)
    np.testing.assert_allclose(np.mean(m.gains([m.error_norm(d) for d in deltas])) ** 2, 1.5 / 2, rtol=0.06)
    *_, deltas = run("linear", orthogonal(60, 5), inputs(4, 60))
    np.testing.assert_allclose(m.gains([m.error_norm(d) for d in deltas]), 1, rtol=1e-12)
    assert m.decades([0.0, 1.0]) == math.inf and m.gain_per_layer([0.0, 1.0]) == 0


@closed_form("M3")
def euler_in_every_layer():
    for phi in ("relu", "linear", "leaky"):
        rng = np.random.default_rng(0)
        ws = [rng.standard_normal(s) for s in ((7, 5), (9, 7), (4, 9))]
        _, a, deltas = run(phi, ws, inputs(6, 5))
        grads = [d.T @ h for d, h in zip(deltas, a)]
        products = [m.euler(w, g) for w, g in zip(ws, grads)]
        np.testing.assert_allclose(products, products[0], rtol=1e-12)
        assert m.gradient_norm(grads[0]) == pytest.approx(np.linalg.norm(grads[0]) / math.sqrt(35), rel=1e-14)


@closed_form("M4")
def forward_profile_of_wide_nets():
    n = 2000
    x = np.zeros((2, n))
    x[0, :n // 2] = x[1, n // 2:] = 1                                       # c0 = 0
    zs, a, _ = run("relu", gaussian(n, 2, 1.6), x)
    np.testing.assert_allclose(m.mean_square(zs[1]) / m.mean_square(zs[0]), 1.6 / 2, rtol=0.1)
    np.testing.assert_allclose(m.cosine(zs[1]), 1 / math.pi, atol=0.04)
    np.testing.assert_allclose(m.mean(a[1]), math.sqrt(m.mean_square(zs[0]) / 2 / math.pi), rtol=0.05)
    _, a, _ = run("sigmoid", gaussian(1000, 6, 1.0), inputs(30, 1000))
    signals = np.array([m.signal(h) for h in a[3:]])
    np.testing.assert_allclose(np.sqrt(signals[1:] / signals[:-1]), 0.23605, rtol=0.06)


@closed_form("M5")
def chi_is_the_moment_of_the_slope():
    z = inputs(40, 600)
    for phi, moment in dict(sigmoid=0.044836, tanh=0.464403, softsign=0.227671, relu=0.5).items():
        weight, slope = gaussian(600, 1, 1.0)[0], PHI[phi][1](z)
        np.testing.assert_allclose(m.chi(weight, slope), moment, rtol=0.02)
    wide = np.ones((3, 7))
    assert m.chi(wide, np.ones((2, 3))) == 7 and m.chi(wide, np.ones((2, 7)), fan="out") == 3


@closed_form("M6")
def depth_scales():
    for chi, xi in ((0.75903, 3.627), (0.91103, 10.73), (0.98674, 74.9), (1.5 / 2, 3.476), (1.9 / 2, 19.50)):
        np.testing.assert_allclose(m.depth_scale(chi), xi, rtol=3e-4)
    assert m.depth_scale(1.0) == math.inf and m.depth_scale(math.e) == -1 and m.depth_scale(0.0) == 0


@closed_form("M7")
def update_ratios_of_optimizers():
    for make, expected in ((lambda p: optim.SGD(p, lr=0.1), None), (lambda p: optim.Adam(p, lr=1e-3), 1e-2)):
        layer = nn.Linear(100, 50, rng=0, dtype="float64")
        nn.init.lecun_normal_(layer.weight, rng=0)
        layer(mgx.Tensor(inputs(8, 100))).square().sum().backward()
        before, optimizer = layer.weight.numpy(), make(layer.parameters())
        optimizer.step()
        expected = expected or 0.1 * np.linalg.norm(layer.weight.grad.numpy()) / np.linalg.norm(before)
        np.testing.assert_allclose(m.update_ratio(before, layer.weight), expected, rtol=0.02)


@closed_form("M8")
def saturated_share_of_gaussians():
    z = normal(200_001)
    for q, share in ((1.0, 2.76e-4), (501.0, 0.871)):
        np.testing.assert_allclose(m.saturated(PHI["sigmoid"][1](z * math.sqrt(q)), 0.25), share, rtol=0.02)
    slope = np.full((20, 4), 0.25)
    slope[:19, 0] = slope[:18, 1] = 0.001
    assert m.stuck(slope, 0.25) == 0.25 and m.stuck(slope, 0.25, of=0.9) == 0.5


@closed_form("M9")
def dead_units():
    bias = np.zeros(10)
    bias[3] = -1e3
    slope = PHI["relu"][1](inputs(256, 10) + bias)
    assert m.dead(slope) == 0.1 and m.dead(PHI["sigmoid"][1](inputs(256, 10) + bias), 1e-3) == 0.1
    assert m.dormant(np.maximum(inputs(256, 10) + bias, 0)) == 0.1
    np.testing.assert_allclose([m.false_alarm(0.01, 256), m.false_alarm(0.01, 1024)], [0.076, 3.4e-5], rtol=5e-3)
    rng, born_dead, nets = np.random.default_rng(0), 0, 4000                # Lu et al. (2019): 1 - (1 - 2^-N)^L
    for _ in range(nets):
        a = rng.standard_normal((1, 2))
        for _ in range(10):
            z = a @ rng.standard_normal((2, 2))
            a = np.maximum(z, 0)
            if m.dead(PHI["relu"][1](z)) == 1:
                born_dead += 1
                break
    np.testing.assert_allclose(born_dead / nets, 0.9437, atol=0.012)


@closed_form("M10")
def coherence_of_signs():
    delta, a = inputs(1, 6), sigma(inputs(1, 9))
    assert m.sign_coherence(delta.T @ a) == pytest.approx(1, abs=1e-15) and m.same_sign(delta.T @ a) == 1
    np.testing.assert_allclose(m.sign_coherence(inputs(20000, 25)), 1 / 5, rtol=0.03)
    rng = np.random.default_rng(0)
    delta, a = rng.standard_normal((1500, 4000)), sigma(rng.standard_normal((1500, 2)))
    np.testing.assert_allclose(m.same_sign(delta.T @ a), 0.5 + math.asin(0.8521) / math.pi, atol=0.03)
    assert math.isnan(m.same_sign(np.zeros((2, 2)))) and math.isnan(m.sign_coherence(np.zeros((2, 2))))


@closed_form("M11")
def zigzag_on_a_parabola():
    for rate, turns in ((0.3, 0), (0.99, 0), (1.2, 1), (1.9, 1)):           # lr times curvature
        path = [[(1 - rate) ** t] for t in range(20)]
        assert m.reversals(path) == turns
    assert m.inflation([[0.0, 0.0], [1.0, 2.0], [3.0, 6.0]]) == pytest.approx(1, abs=1e-15)
    d = inputs(1, 30)[0]
    path = np.stack([0 * d, np.maximum(d, 0), d])                            # one orthant, then its opposite
    assert 1 < m.inflation(path) <= math.sqrt(2)


@closed_form("M12")
def conditioning_of_inputs():
    for phi, r in dict(sigmoid=5.7632, relu=0.4669, tanh=0.0).items():
        np.testing.assert_allclose(m.offset(PHI[phi][0](normal(100_001))), r, rtol=1e-3, atol=1e-12)
    for n, condition in ((2, 12.5), (4, 24.1), (30, 174.0)):
        np.testing.assert_allclose(1 + n * m.offset(sigma(normal(10_001))), condition, rtol=5e-3)
    a = sigma(inputs(20000, 30))
    top = m.top_eigenvalue(a)
    np.testing.assert_allclose(top, np.linalg.eigvalsh(a.T @ a / len(a))[-1], rtol=1e-9)
    np.testing.assert_allclose(top, 30 * 0.25 + 0.043379, rtol=0.01)


@closed_form("M13")
def singular_values_of_products():
    for depth, top in ((1, 4.0), (10, 28.53)):
        j = np.linalg.multi_dot([*gaussian(400, depth, 1.0), np.eye(400)])
        s2 = m.singular_values(j) ** 2
        np.testing.assert_allclose(s2[0], top, rtol=0.2)
        np.testing.assert_allclose(s2.var() / s2.mean() ** 2, depth, rtol=0.25)
        np.testing.assert_allclose(m.participation(m.singular_values(j)), 400 / (1 + depth), rtol=0.25)
    j = np.linalg.multi_dot(orthogonal(100, 10))
    np.testing.assert_allclose(m.singular_values(j), 1, rtol=1e-12)
    assert m.participation(m.singular_values(j)) == pytest.approx(100, rel=1e-12)
    j = gaussian(200, 1, 1.0)[0]
    np.testing.assert_allclose(m.mean_square_gain(lambda v: j.T @ v, 200, 200), np.square(j).sum() / 200, rtol=0.02)


@closed_form("M14")
def layers_that_share_the_error():
    chi = 0.0419597
    np.testing.assert_allclose(m.effective_layers_at(chi), 1.0876, rtol=1e-4)
    for factor, layers in ((chi, 30), (0.9, 30), (1.1, 7), (1.0, 5)):
        profile = math.sqrt(factor) ** np.arange(layers)
        np.testing.assert_allclose(m.effective_layers(profile), m.effective_layers_at(factor, layers), rtol=1e-12)
    shares = m.path_lengths(np.full(30, 0.5))
    np.testing.assert_allclose([shares.sum(), shares @ np.arange(31)], [1, 30 * 0.5 / 1.5], rtol=1e-12)


@closed_form("M15")
def noise_of_gradients():
    delta, a = inputs(9, 3), inputs(9, 4, seed=6)
    each = np.einsum("bo,bi->boi", delta, a)
    expected = np.square(each.mean(0)).sum() / each.var(0).sum()
    np.testing.assert_allclose(m.gsnr(delta, a), expected, rtol=1e-12)
    assert m.gsnr(delta[:1], a[:1]) > 1e12


@closed_form("M16")
def where_floats_end():
    for dtype, last in ((np.float16, 10), (np.float32, 64), (np.float64, 462)):
        x = np.array([1.0], dtype)
        for _ in range(last):
            x *= dtype(0.2)
        assert m.floor(x) == (0.0, 1.0, m.floor(x).bits) and m.floor(x).bits < 0
        assert m.floor(x * dtype(0.2)) == (1.0, 0.0, -math.inf)
    a = 1 / (1 + np.exp(-np.float32([16.75])))
    assert m.floor(a * (1 - a)).zeros == 1
    wide = gaussian(64, 20, 1.0)
    x = inputs(256, 64)
    deep, twin = (run("sigmoid", [w.astype(t) for w in wide], x.astype(t))[1] for t in (np.float32, np.float64))
    assert m.distinct_rows(x) == m.distinct_rows(deep[1]) == 256 and m.distinct_rows(deep[-1]) < 128
    assert 1e-8 < m.deviation(deep[-1], twin[-1]) < 1e-6


@closed_form("M17")
def shattered_gradients():
    n, c, product = 1500, 0.0, 1.0
    x = np.zeros((2, n))
    x[0, 0] = x[1, 1] = math.sqrt(n)
    ws, readout = gaussian(n, 5, 2.0), inputs(1, n)
    for depth in range(1, 6):
        angle = math.acos(c)
        product *= (math.pi - angle) / math.pi
        c = (math.sqrt(1 - c * c) + c * (math.pi - angle)) / math.pi
        *_, deltas = run("relu", [*ws[:depth], readout], x, top=lambda z, a: np.ones_like(z))
        np.testing.assert_allclose(m.gradient_correlation(deltas[0] @ ws[0]), product, atol=0.05)
    assert (round(product, 4)) == 0.1046


@closed_form("M18")
def first_loss():
    z = np.zeros((4, 27))
    loss = nn.functional.cross_entropy(mgx.Tensor(z), [0, 1, 2, 3]).item()
    assert abs(m.loss_excess(loss, 27)) < 1e-12 and round(loss, 4) == 3.2958
    assert m.entropy(np.full((2, 27), 1 / 27)) == pytest.approx(math.log(27), rel=1e-14)
    assert m.entropy([[1.0, 0.0]]) == 0


@closed_form("M19")
def first_step():
    x, y, w = inputs(20, 5), inputs(20, 1, seed=7), np.zeros((5, 1))
    cost = lambda v: np.square(x @ v - y).mean()                            # noqa: E731
    g = 2 * x.T @ (x @ w - y) / 20
    np.testing.assert_allclose(m.decrease_ratio(cost(w), cost(w - 1e-5 * g), 1e-5, [g]), 1, rtol=1e-3)
    wrong = m.decrease_ratio(cost(w), cost(w - 1e-5 * 2 * g), 1e-5, [2 * g])
    np.testing.assert_allclose(wrong, 0.5, rtol=1e-3)


# ----- what comes in -------------------------------------------------------------------------------------------------

MATRIX = [f for f in ("error_norm", "mean_error_norm", "gradient_norm", "mean_square", "mean", "signal", "cosine",
                      "dead", "dormant", "sign_coherence", "same_sign", "reversals", "inflation", "offset",
                      "top_eigenvalue", "singular_values", "distinct_rows", "gradient_correlation", "entropy")]


@pytest.mark.parametrize("name", MATRIX)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_tensors_and_arrays_alike(name, dtype):
    f, x = getattr(m, name), np.abs(inputs(6, 4)).astype(dtype)
    results = [f(form) for form in (x, mgx.Tensor(x), mgx.Tensor(x, requires_grad=True), x.tolist(),
                                    np.asfortranarray(x), x[::-1][::-1])]
    for other in results:                                           # a list is float64, where float32 sums are shorter
        np.testing.assert_allclose(other, results[0], rtol=1e-14 if dtype == "float64" else 1e-6)
    for shape in ((), (3,), (0, 3), (3, 0)):
        with pytest.raises(ShapeError, match=rf"^{name if name != 'gradient_norm' else 'error_norm'}: "):
            f(np.zeros(shape))


@pytest.mark.parametrize("size", [1e-42, 1e-30, 1e-18, 1.0, 1e18, 1e30])
def test_sums_in_float32_are_those_in_float64(size):
    x = (size * np.random.default_rng(0).standard_normal((2000, 300))).astype("float32")
    for f in (m.norm, m.error_norm, m.mean_square, m.signal):
        for shift in (0.0, 10 * size, 1000 * size):
            z = x + np.float32(shift)
            np.testing.assert_allclose(f(z), f(z.astype("float64")), rtol=1e-4, err_msg=f"{f.__name__} {shift}")


def test_further_axes_count_as_units():
    x = inputs(6, 12)
    assert m.signal(x.reshape(6, 3, 4)) == m.signal(x) and m.error_norm(x.reshape(6, 2, 6)) == m.error_norm(x)


def test_small_signals_keep_their_digits():
    noise = inputs(20, 5)
    for size in (1.0, 1e-3, 1e-6, 1e-12):
        np.testing.assert_allclose(m.signal(0.5 + size * noise), size**2 * noise.var(axis=0).mean(), rtol=1e-3)


def test_norms_do_not_underflow():
    for size in (1e-310, 1e-200, 1e200):
        np.testing.assert_allclose(m.error_norm(np.full((2, 2), size)), size, rtol=1e-12)
    assert m.error_norm([[1e-31, 1e-31]]) == pytest.approx(1e-31, rel=1e-14)
    assert m.norm([math.inf, 1.0]) == math.inf and math.isnan(m.norm([math.nan, 1.0])) and m.norm([]) == 0


@pytest.mark.parametrize("call, error, words", [
    (lambda: m.update_ratio([1.0], [1.0, 2.0]), ShapeError, r"\(1,\) != \(2,\)"),
    (lambda: m.gains([[1.0]]), ShapeError, "one number per layer"),
    (lambda: m.chi([[1.0]], [[1.0]], fan="up"), OptionError, "'in' or 'out', not 'up'"),
    (lambda: m.gsnr([[1.0]], [[1.0], [2.0]]), ShapeError, "1 != 2"),
    (lambda: m.gradient_correlation([[1.0], [2.0]], lag=2), OptionError, "lag=2"),
    (lambda: m.floor(np.array([1])), ShapeError, "floats, not int64")])
def test_refusals(call, error, words):
    with pytest.raises(error, match=words):
        call()
