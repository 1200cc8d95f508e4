"""Mean-field theory against closed forms, published anchors and nets: every row of the tables below."""
import math

import mpmath
import numpy as np
import pytest

import microgradx as mgx
from microgradx import nn
from microgradx.errors import DTypeError, OptionError, ShapeError
from microgradx.flow import quadrature, theory
from microgradx.nn import functional as F


def lecun_tanh(z):
    return 1.7159 * (2 * z / 3).tanh()


def elu(z):
    return z.elu(1.0)


INF, BELOW_ONE = math.inf, 1.0
# E phi, E phi^2, E phi'^2, E phi'^4, mean^2 / variance, sqrt(chi) at var_w = 1, all at q = 1; then sqrt(chi) of a deep
# net without biases at var_w = 1 and 2, inf where the variance grows without end.
TABLE = {
    "sigmoid": (.5, .293379, .044836, .002286, 5.7632, .2117, .23605, .31777),
    "tanh": (0, .394294, .464403, .341509, 0, .6815, BELOW_ONE, 1.05144),
    lecun_tanh: (0, .750430, .803989, .817251, 0, .8967, 1.00958, 1.09023),
    "erf": (0, .464559, .569410, .540380, 0, .7546, 1.00842, 1.09424),
    "softsign": (0, .183014, .227671, .110742, 0, .4771, BELOW_ONE, 1.02096),
    "relu": (.398942, .5, .5, .5, .4669, .7071, .7071, 1),
    elu: (.160521, .644945, .668102, .594411, .0416, .8174, BELOW_ONE, INF),
    "selu": (0, 1, 1.071575, 1.511353, 0, 1.0352, 1.0352, INF),
    "gelu": (.282095, .425221, .455851, .433956, .2302, .6752, .5, .7071),
    "swish": (.206621, .355776, .379482, .286581, .1364, .6160, .5, .7071),
    "softplus": (.806059, .921246, .293379, .131594, 2.3930, .5416, .53733, INF)}


@pytest.mark.parametrize("phi", TABLE, ids=str)
def test_table_of_moments(phi):
    found = theory.moments(phi)
    np.testing.assert_allclose(found[:4], TABLE[phi][:4], atol=5.1e-7)
    np.testing.assert_allclose(found.mean**2 / (found.square - found.mean**2), TABLE[phi][4], atol=5.1e-5)
    np.testing.assert_allclose(math.sqrt(theory.chi(phi)), TABLE[phi][5], atol=5.1e-5)


@pytest.mark.parametrize("var_w", [1, 2])
@pytest.mark.parametrize("phi", TABLE, ids=str)
def test_table_of_deep_limits(phi, var_w):
    expected, found = TABLE[phi][5 + var_w], theory.phase(phi, var_w)
    if expected == INF:
        assert found.q == INF and math.isnan(found.chi)
    else:
        np.testing.assert_allclose(math.sqrt(found.chi), expected, atol=5.1e-5 if expected in (.7071, 1.0352) else 6e-6)


# ----- closed forms --------------------------------------------------------------------------------------------------

QS = [1e-6, 0.3, 1.0, 45.6, 1e4, 1e8]


@pytest.mark.parametrize("q", QS)
def test_closed_forms_in_one_dimension(q):
    rtol = 1e-11
    erf, relu, hard = (theory.moments(phi, q) for phi in ("erf", "relu", "hardtanh"))
    np.testing.assert_allclose(erf.square, 2 / math.pi * math.asin(2 * q / (1 + 2 * q)), rtol)
    np.testing.assert_allclose(erf.slope_square, 4 / math.pi / math.sqrt(1 + 4 * q), rtol)
    np.testing.assert_allclose(relu, [math.sqrt(q / 2 / math.pi), q / 2, 0.5, 0.5, math.sqrt(q / 2 / math.pi), q / 2],
                               rtol)
    inside = math.erf(1 / math.sqrt(2 * q))
    np.testing.assert_allclose([hard.slope_square, hard.slope_fourth], inside, rtol)
    np.testing.assert_allclose(theory.moments("leaky_relu", q).square, q / 2 * (1 + 0.01**2), rtol)
    np.testing.assert_allclose(theory.moments("threshold", q).mean, relu.mean, rtol)
    np.testing.assert_allclose(theory.moments("sin", q).square if q < 1e4 else 0.5, (1 - math.exp(-2 * q)) / 2, rtol)


@pytest.mark.parametrize("q", [0.3, 1e4])
@pytest.mark.parametrize("phi, f", [("sigmoid", lambda z: 1 / (1 + mpmath.exp(-z))), ("tanh", mpmath.tanh)])
def test_saturating_ones_against_mpmath(phi, f, q):
    def mean(g):
        s = mpmath.sqrt(q)
        points = [-12 * s, -60, -20, -6, -2, 0, 2, 6, 20, 60, 12 * s]
        return mpmath.quad(lambda z: g(z) * mpmath.npdf(z, 0, s), sorted(points))
    found = theory.moments(phi, q)
    np.testing.assert_allclose(found.square, float(mean(lambda z: f(z) ** 2)), rtol=1e-10)
    np.testing.assert_allclose(found.slope_square, float(mean(lambda z: mpmath.diff(f, z) ** 2)), rtol=1e-8)


def test_selu_is_its_own_fixed_point():
    found = theory.moments("selu")
    np.testing.assert_allclose([found.mean, found.square], [0, 1], atol=1e-12)
    np.testing.assert_allclose(found.stretch, 0.7826479, atol=5e-8)             # Klambauer et al. (2017)


@pytest.mark.parametrize("c", [0.0, 0.3, -0.5, 0.99, 0.999999, 1 - 1e-13, 1.0, -1.0])
@pytest.mark.parametrize("q", [1e-4, 1.3, 50.0])
def test_closed_forms_in_two_dimensions(q, c):
    """Arc-cosine kernels of Cho and Saul (2009), and Williams (1997) for erf."""
    angle = math.acos(c)
    relu = q * (math.sqrt(1 - c * c) + c * (math.pi - angle)) / 2 / math.pi
    np.testing.assert_allclose(quadrature.product("relu", q, c), relu, rtol=1e-10, atol=1e-12 * q)
    np.testing.assert_allclose(quadrature.product("relu", q, c, slope=True), (math.pi - angle) / 2 / math.pi, rtol=1e-7,
                               atol=1e-12)
    np.testing.assert_allclose(quadrature.product("erf", q, c), 2 / math.pi * math.asin(2 * q * c / (1 + 2 * q)),
                               rtol=1e-10, atol=1e-12 * min(q, 1))


# ----- kinds of activation -------------------------------------------------------------------------------------------

def test_names_callables_modules_and_arrays_agree():
    def by_numpy(z):
        return np.where(z > 0.7, z, 0.0) + np.maximum(z - 1 / 3, 0.1 * z)

    def by_tensors(z):
        return mgx.where(z > 0.7, z, 0.0) + (z - 1 / 3).maximum(0.1 * z)

    np.testing.assert_allclose(theory.moments(by_numpy, 1.3), theory.moments(by_tensors, 1.3), rtol=1e-9)
    np.testing.assert_allclose(quadrature.activation(by_numpy).kinks(9.0), [1 / 2.7, 0.7], atol=1e-9)
    for name, module, array in (("tanh", nn.Tanh(), np.tanh), ("silu", nn.SiLU(), lambda z: z / (1 + np.exp(-z)))):
        expected = theory.moments(name)
        np.testing.assert_allclose(theory.moments(module), expected, rtol=1e-15)
        np.testing.assert_allclose(theory.moments(array), expected, rtol=1e-9, atol=1e-15)
    np.testing.assert_allclose(theory.moments(nn.LeakyReLU(0.5)).square, 0.625, rtol=1e-12)


@pytest.mark.parametrize("name", [n for n in F.ACTIVATIONS if "softmax" not in n])
def test_every_activation_against_brute_force(name):
    phi = quadrature.activation(name)
    z = np.linspace(-8, 8, 2_000_001)
    density = np.exp(-z * z / 2) / math.sqrt(2 * math.pi) * (z[1] - z[0])
    y, g = phi(z), phi.slope(z)
    found = theory.moments(name)
    np.testing.assert_allclose(found[:3], [density @ y, density @ (y * y), density @ (g * g)], rtol=1e-5, atol=1e-9)


@pytest.mark.parametrize("bad, error, words", [
    ("softmax", OptionError, "softmax is not elementwise"), ("nonsense", OptionError, "called 'nonsense'"),
    ("log", OptionError, "log is not piecewise smooth"), (3, DTypeError, "not int"),
    (lambda z: z.sum(), OptionError, "not elementwise"), (nn.PReLU(), OptionError, "PReLU has parameters")])
def test_refused_activations(bad, error, words):
    with pytest.raises(error, match=words):
        theory.moments(bad)


@pytest.mark.parametrize("call, error, words", [
    (lambda: theory.moments("relu", -1.0), OptionError, "q=-1.0"),
    (lambda: theory.moments("relu", math.inf), OptionError, "q=inf"),
    (lambda: quadrature.product("relu", 1.0, 1.5), OptionError, "c=1.5"),
    (lambda: theory.edge_of_chaos("relu", 0.1), OptionError, "relu has no critical point with var_b=0.1"),
    (lambda: theory.scheme("magic", [1, 2], "relu"), OptionError, "'magic' is none of lecun"),
    (lambda: theory.scale(np.zeros(3)), ShapeError, r"not \(3,\)")])
def test_refusals(call, error, words):
    with pytest.raises(error, match=words):
        call()


# ----- phases --------------------------------------------------------------------------------------------------------

def test_nielsens_initialisation():
    found = theory.phase("sigmoid", 1.0, 1.0)
    np.testing.assert_allclose([found.q, found.chi, found.chi**-0.5], [1.30213, 0.0419597, 4.8818], rtol=1e-5)


def test_lecuns_initialisation_of_sigmoids():
    np.testing.assert_allclose(theory.phase("sigmoid").chi, 0.055721, rtol=1e-5)


@pytest.mark.parametrize("var_b, var_w", [(.001, 1.18919), (.01, 1.42421), (.05, 1.76095), (.1, 1.98607), (.3, 2.50513),
                                          (1.0, 3.44321)])
def test_edge_of_chaos_of_tanh(var_b, var_w):
    found = theory.edge_of_chaos("tanh", var_b)
    np.testing.assert_allclose(found, var_w, atol=5.1e-6)
    np.testing.assert_allclose(theory.phase("tanh", found, var_b).chi, 1, rtol=1e-9)


def test_other_edges():
    tanh = theory.edge_of_chaos("tanh", 0.05)
    np.testing.assert_allclose(theory.fixed_variance("tanh", tanh, 0.05), .570048, atol=1e-6)
    np.testing.assert_allclose([theory.edge_of_chaos(phi) for phi in ("relu", "tanh", "erf", "linear")],
                               [2, 1, math.pi / 4, 1], rtol=1e-9)
    np.testing.assert_allclose(theory.edge_of_chaos("leaky_relu"), 2 / (1 + 0.01**2), rtol=1e-12)
    sigmoid = theory.edge_of_chaos("sigmoid")
    np.testing.assert_allclose(math.sqrt(sigmoid), 10.149, atol=5e-4)
    np.testing.assert_allclose(theory.fixed_variance("sigmoid", sigmoid), 45.6, atol=0.05)
    np.testing.assert_allclose(theory.edge_point("gelu", (3 + math.sqrt(17)) / 2), [1.983058, .172922], atol=5e-7)
    np.testing.assert_allclose(theory.edge_point("swish", 14.3202), [1.988005, .555143], atol=1.1e-6)
    for phi, slope in (("gelu", 1.067), ("swish", 1.099)):                      # critical and yet unstable
        assert round(theory.edge_point(phi, 1.0)[0] * theory.moments(phi).stretch, 3) == slope
        for var_b in (0.0, 0.05):
            with pytest.raises(OptionError, match=f"{phi} has no critical point"):
                theory.edge_of_chaos(phi, var_b)


@pytest.mark.parametrize("var_w, chi, c, xi", [(1.0, .75903, 1, 3.627), (1.4, .91103, 1, 10.73), (1.7, .98674, 1, 74.9),
                                               (2.0, 1.04767, .74408, 25.2), (4.0, 1.3424, .16506, 6.98)])
def test_phases_of_tanh(var_w, chi, c, xi):
    found = theory.phase("tanh", var_w, 0.05)
    np.testing.assert_allclose([found.chi, found.c], [chi, c], atol=5.1e-6 if chi < 1.3 else 5e-5)
    np.testing.assert_allclose(found.xi_c, xi, rtol=1e-3)


def test_slopes_of_the_maps_are_the_depth_scales():
    """xi_q and xi_c by differences of the maps themselves."""
    found, h = theory.phase("tanh", 2.0, 0.05), 1e-4
    q = [theory.variance_map("tanh", found.q + d, 2.0, 0.05) for d in (-h, h)]
    c = [theory.correlation_map("tanh", found.c + d, found.q, 2.0, 0.05) for d in (-h, h)]
    np.testing.assert_allclose([math.exp(-1 / found.xi_q), math.exp(-1 / found.xi_c)],
                               [(q[1] - q[0]) / 2 / h, (c[1] - c[0]) / 2 / h], rtol=1e-6)


@pytest.mark.parametrize("var_w, xi", [(1.5, 3.476), (1.9, 19.50), (2.0, INF)])
def test_phases_of_relu(var_w, xi):
    found = theory.phase("relu", var_w)
    np.testing.assert_allclose([found.chi, found.c], [var_w / 2, 1], rtol=1e-12)
    np.testing.assert_allclose([found.xi_c, found.xi_q], xi, rtol=3e-4)


# ----- layer by layer ------------------------------------------------------------------------------------------------

def test_profiles_of_schemes():
    lecun = theory.expected(theory.scheme("lecun", [50] * 32, "relu"))
    np.testing.assert_allclose(lecun.error[0] / lecun.error[30], math.sqrt(0.5) ** 30, rtol=1e-9)    # 3.05e-5
    tilted = theory.expected(theory.scheme("nielsen", [50] * 12, "sigmoid"))
    np.testing.assert_allclose(tilted.gain[8:10], 1 / 4.8818, rtol=1e-5)
    old = theory.expected(theory.scheme("default", [90] * 6, "linear"))
    np.testing.assert_allclose(old.gain[:-1], 3**-0.5, rtol=1e-12)


def orthogonal(weight, rng):
    return np.linalg.svd(rng.standard_normal(weight.shape), full_matrices=False)[2]


INITS = {"lecun": nn.init.lecun_normal_, "he": nn.init.he_uniform_, "xavier": nn.init.xavier_normal_,
         "default": lambda weight, rng: weight, "orthogonal": orthogonal, "nielsen": nn.init.lecun_normal_}


@pytest.mark.parametrize("name", theory.SCHEMES)
def test_schemes_are_what_initialisations_draw(name):
    layer, rng = nn.Linear(300, 200, rng=0), np.random.default_rng(0)
    bias = layer.bias.numpy() if name == "default" else rng.standard_normal(200) if name == "nielsen" else np.zeros(200)
    drawn = theory.scale(INITS[name](layer.weight, rng=rng), bias)
    wanted = theory.scheme(name, [300, 200, 2], "tanh")[0]
    np.testing.assert_allclose(drawn[:3], wanted[:3], rtol=0.02)
    np.testing.assert_allclose(drawn.var_b, wanted.var_b, rtol=0.2)


@pytest.mark.parametrize("phi, init", [("tanh", nn.init.lecun_normal_), ("relu", nn.init.he_normal_),
                                       ("sigmoid", nn.init.xavier_normal_), ("gelu", nn.init.lecun_uniform_)])
def test_wide_nets_do_as_expected(phi, init):
    rng = np.random.default_rng(0)
    x = rng.standard_normal((30, 500))
    x -= x[:1] / 2
    a, layers, z, post = mgx.Tensor(x), [], [], []
    for n_in, n_out in ((500, 1000), (1000, 600), (600, 1200), (1200, 900)):
        w, b = init(nn.Parameter(np.zeros((n_out, n_in))), rng=rng), nn.Parameter(rng.standard_normal(n_out) * 0.2)
        layers.append(theory.scale(w.numpy(), b.numpy(), phi))
        z.append(F.linear(a, w, b))
        z[-1].retain_grad()
        post.append(getattr(z[-1], phi)())
        a = post[-1]
    z[-1].backward(rng.standard_normal(z[-1].shape))
    rows = x / np.linalg.norm(x, axis=1, keepdims=True)
    cosine = ((rows @ rows.T).sum() - 30) / 870
    expected = theory.expected(layers, np.square(x).mean(), cosine)
    np.testing.assert_allclose([np.square(t.numpy()).mean() for t in z], expected.q, rtol=0.08)
    np.testing.assert_allclose([np.square(t.numpy()).mean() for t in post], expected.square, rtol=0.08)
    np.testing.assert_allclose([t.numpy().var(axis=0).mean() for t in post], expected.signal, rtol=0.12)
    errors = np.array([np.sqrt(np.square(t.grad.numpy()).mean()) for t in z])
    np.testing.assert_allclose(errors / errors[-1], expected.error, rtol=0.08)
