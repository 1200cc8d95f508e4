"""The exact numbers behind the vanishing gradient, computed with the engine.

The sigmoid and its derivative, what compounding does to it, a chain of one neuron per layer, and the two costs.
"""
import numpy as np
import pytest
from scipy.optimize import brentq

import microgradx as mgx


def slope(z, dtype=np.float64):
    """sigma'(z)."""
    x = mgx.Tensor(np.atleast_1d(np.asarray(z, dtype)), requires_grad=True)
    x.sigmoid().sum().backward()
    return x.grad.numpy()


# ----- the sigmoid -------------------------------------------------------------------------------------------

def test_largest_slope_is_a_quarter_at_zero():
    z = np.linspace(-8, 8, 1601)
    assert slope(0.0)[0] == 0.25 and np.argmax(slope(z)) == 800


@pytest.mark.parametrize("share, z", [(0.5, 1.762747), (0.1, 3.636893), (0.01, 5.986446), (0.001, 8.293549)])
def test_where_the_slope_falls_to_a_share_of_its_maximum(share, z):
    found = brentq(lambda v: slope(v)[0] - share / 4, 0, 20, xtol=1e-12)
    assert abs(found - z) < 5.1e-7
    assert slope(-found)[0] == slope(found)[0]


def test_at_three_and_at_five():
    assert f"{mgx.Value(3.0).sigmoid().data:.6f} {slope(3.0)[0]:.7f}" == "0.952574 0.0451767"
    assert f"{4 * slope(3.0)[0]:.4f}" == "0.1807"
    assert f"{mgx.Value(5.0).sigmoid().data:.12f} {slope(5.0)[0]:.12f}" == "0.993307149076 0.006648056671"
    assert f"{100 * 4 * slope(5.0)[0]:.6f}" == "2.659223"


def test_the_textbook_formula_dies_where_the_derivative_lives():
    z = np.float32(16.75)
    a = mgx.Tensor(z).sigmoid().numpy()
    assert a * (1 - a) == 0 and f"{slope(z, np.float32)[0]:.3g}" == "5.32e-08"
    assert slope(103.9, np.float32)[0] == slope(-103.9, np.float32)[0] == np.float32(1.4e-45)
    assert slope(745.0)[0] == slope(-745.0)[0] == 5e-324


# ----- compounding -------------------------------------------------------------------------------------------

@pytest.mark.parametrize("k, peak, width", [(1, 0.25, 3.52549), (2, 0.0625, 2.42338), (5, 9.765625e-4, 1.50658),
                                            (10, 9.5367431640625e-7, 1.05920)])
def test_powers_of_the_slope(k, peak, width):
    assert slope(0.0)[0] ** k == peak
    half = brentq(lambda z: slope(z)[0] ** k - peak / 2, 0, 5, xtol=1e-12)
    assert abs(2 * half - width) < 5.1e-6


def test_tenth_power_away_from_zero():
    assert f"{slope(2.0)[0] ** 10:.4e}" == "1.6279e-10"


def iterated(k):
    """d/dz of the sigmoid applied k times, at 0, and the result."""
    z = x = mgx.Value(0.0)
    for _ in range(k):
        x = x.sigmoid()
    x.backward()
    return z.grad, x.data


def test_iterated_map():
    assert f"{iterated(1)[0]:.2f} {iterated(2)[0]:.7f} {iterated(3)[0]:.7f}" == "0.25 0.0587509 0.0133521"
    assert f"{iterated(10)[0]:.6e}" == "3.875220e-07"
    (before, _), (after, fixed) = iterated(60), iterated(61)
    assert f"{fixed:.7f} {after / before:.7f} {fixed * (1 - fixed):.7f}" == "0.6590461 0.2247043 0.2247043"


def test_five_factors_of_a_fifth():
    w = mgx.Value(1.0)
    y = w
    for _ in range(5):
        y = y * 0.2
    y.backward()
    assert abs(w.grad - 3.2e-4) < 1e-18
    assert abs(-0.1 * w.grad + 3.2e-5) < 1e-19


@pytest.mark.parametrize("dtype, share, first", [(np.float32, 0.2, 65), (np.float64, 0.2, 463), (np.float32, 0.25, 75),
                                                 (np.float64, 0.25, 538)])
def test_where_the_product_underflows_to_zero(dtype, share, first):
    x = mgx.Tensor(np.array(1.0, dtype), requires_grad=True)
    y = x
    for _ in range(first - 1):
        y = y * share
    y.backward(retain_graph=True)
    assert x.grad.item() > 0
    x.grad = None
    (y * share).backward()
    assert x.grad.item() == 0


def test_large_weights_make_gradients_grow():
    """Nielsen's counterexample: weights of 100 and every z at 0 give a factor of 25 per layer."""
    b1 = mgx.Value(0.0)
    a = b1.sigmoid()
    for _ in range(3):
        a = (a * 100.0 - 50.0).sigmoid()
    a.backward()
    assert b1.grad == 0.25 * 25**3 == 3906.25


# ----- a chain: one input, two hidden layers of one neuron, one output ---------------------------------------

def test_chain_net():
    ws = [mgx.Value(1.0) for _ in range(3)]
    outputs, o = [], mgx.Value(1.0)
    for w in ws:
        o = (w * o + 0.0).sigmoid()
        outputs.append(o.data)
    loss = 0.5 * (o - 0.0) ** 2
    loss.backward()
    assert [f"{v:.7f}" for v in outputs] == ["0.7310586", "0.6750375", "0.6626302"]
    assert [f"{w.grad:.7g}" for w in ws] == ["0.006388805", "0.02375538", "0.09999461"]


# ----- quadratic cost against cross-entropy ------------------------------------------------------------------

def error(cost, z, y):
    """dC/dz of one sigmoid output."""
    z = mgx.Tensor(np.array(z), requires_grad=True)
    if cost == "quadratic":
        (0.5 * (z.sigmoid() - y) ** 2).backward()
    else:
        (z.softplus() - y * z).backward()                           # cross-entropy from the logit
    return z.grad.item()


@pytest.mark.parametrize("z, quadratic, entropy", [(-5.0, -0.00660356, -0.99330715), (-10.0, -4.53937e-5, -0.9999546)])
def test_costs_at_a_wrong_output(z, quadratic, entropy):
    assert abs(error("quadratic", z, 1.0) / quadratic - 1) < 2e-6
    assert abs(error("entropy", z, 1.0) / entropy - 1) < 1e-8


@pytest.mark.parametrize("y", [0.0, 1.0, 0.3])
@pytest.mark.parametrize("z", [-30.0, -5.0, -1.0, 0.5, 2.0, 12.0])
def test_formulas_of_the_two_costs(z, y):
    a = mgx.Value(z).sigmoid().data
    np.testing.assert_allclose(error("quadratic", z, y), (a - y) * slope(z)[0], rtol=1e-12)
    np.testing.assert_allclose(error("entropy", z, y), a - y, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("z, ratio", [(0.0, 4), (-5.0, 150.4199), (-10.0, 22028.466)])
def test_ratio_is_one_over_the_slope(z, ratio):
    assert abs(error("entropy", z, 1.0) / error("quadratic", z, 1.0) / ratio - 1) < 1e-7


def test_largest_quadratic_error():
    z = np.linspace(-4, 4, 80001)
    x = mgx.Tensor(z, requires_grad=True)
    (0.5 * (x.sigmoid() - 1.0) ** 2).sum().backward()
    errors = np.abs(x.grad.numpy())
    assert abs(errors.max() - 4 / 27) < 1e-9 and abs(z[errors.argmax()] + np.log(2)) < 1e-4
    assert abs(error("quadratic", -np.log(2.0), 1.0) + 4 / 27) < 1e-15


@pytest.mark.parametrize("y", [0.0, 1.0])
@pytest.mark.parametrize("z", [-1000.0, 1000.0])
def test_both_costs_are_finite_at_a_thousand(z, y):
    assert error("entropy", z, y) == (1.0 if z > 0 else 0.0) - y
    assert error("quadratic", z, y) == 0


def test_entropy_scales_the_errors_of_all_layers_alike():
    """With one sample and one output the profile over the layers is the same; only its size differs, by 1/sigma'."""
    rng = np.random.default_rng(0)
    sizes = [3, 4, 4, 1]
    profiles = []
    weights = [rng.standard_normal((m, n)) for m, n in zip(sizes, sizes[1:])]
    sample = rng.standard_normal((1, 3))
    for cost in ("quadratic", "entropy"):
        a, zs = mgx.Tensor(sample), []
        for w in weights:
            zs.append(a @ mgx.Tensor(w, requires_grad=True))
            zs[-1].retain_grad()
            a = zs[-1].sigmoid()
        loss = 0.5 * (a - 1.0) ** 2 if cost == "quadratic" else zs[-1].softplus() - zs[-1]
        loss.sum().backward()
        profiles.append([np.linalg.norm(z.grad.numpy()) for z in zs])
    ratios = np.divide(*profiles[::-1])
    np.testing.assert_allclose(ratios, 1 / slope(zs[-1].item())[0], rtol=1e-12)
