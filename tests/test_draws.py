"""Draws with parameters, in the shape of a tensor and in place: what they are, repeated, compiled, refused."""
import numpy as np
import pytest

import microgradx as mgx
from microgradx import random
from microgradx.errors import DTypeError, Error, OptionError, ShapeError

WEIGHTS = np.array([0.1, 0.2, 0.3, 0.4])
N = 40_000
DRAWS = {
    "normal": lambda g: random.normal(mgx.Tensor([1.0, 2.0]), mgx.Tensor([0.5, 2.0]), generator=g),
    "normal size": lambda g: random.normal(1.0, 2.0, (3,), generator=g),
    "bernoulli": lambda g: random.bernoulli(mgx.Tensor([0.2, 0.5]), generator=g),
    "bernoulli p": lambda g: random.bernoulli(mgx.zeros(3), 0.5, generator=g),
    "poisson": lambda g: random.poisson(mgx.Tensor([2.0, 500.0]), generator=g),
    "multinomial": lambda g: random.multinomial(WEIGHTS, 3, generator=g),
    "multinomial again": lambda g: random.multinomial(WEIGHTS, 30, True, generator=g),
    "rand_like": lambda g: random.rand_like(mgx.zeros(2, 3), generator=g),
    "randn_like": lambda g: random.randn_like(mgx.zeros(2, 3), dtype="float64", generator=g),
    "randint_like": lambda g: random.randint_like(mgx.zeros(2, 3), 5, generator=g),
    **{name: lambda g, name=name, args=args: getattr(mgx.zeros(7), name)(*args, generator=g) for name, args in {
        "uniform_": (-1, 2), "normal_": (3, 2), "bernoulli_": (0.25,), "exponential_": (2.0,), "log_normal_": (0, 1),
        "cauchy_": (), "geometric_": (0.3,), "random_": (10,)}.items()}}


@pytest.mark.parametrize("name", DRAWS)
def test_a_seed_repeats_and_a_program_draws_the_same(name):
    """From a generator, from the shared one, from one of NumPy's; each replay draws other numbers."""
    draw = DRAWS[name]
    first = draw(mgx.Generator(5))
    assert (first == draw(mgx.Generator(5))).all() and first.dtype == draw(np.random.default_rng(5)).dtype
    mgx.manual_seed(5)
    assert (first == draw(None)).all()
    eager, compiled = [], []
    mgx.manual_seed(3)
    for _ in range(4):
        eager.append(draw(None).tolist())
    program = mgx.compile(lambda: draw(None) * 1)
    mgx.manual_seed(3)
    for _ in range(4):
        compiled.append(program().tolist())
    assert eager == compiled and len({str(x) for x in eager}) > 1


def mean_and_deviation(x):
    x = x.numpy().astype(float)
    return x.mean(0), x.std(0)


@pytest.mark.parametrize("draw, mean, deviation", [
    (lambda: random.normal(mgx.zeros(N) + 3, 2.0), 3, 2),
    (lambda: random.bernoulli(mgx.zeros(N) + 0.3), 0.3, 0.21**0.5),
    (lambda: random.poisson(mgx.zeros(N) + 7), 7, 7**0.5),
    (lambda: random.multinomial(WEIGHTS, N, True), 2, 1),
    (lambda: random.multinomial(np.tile(WEIGHTS, (N, 1)), 2)[:, 0], 2, 1),
    (lambda: mgx.zeros(N).uniform_(-1, 3), 1, 4 / 12**0.5), (lambda: mgx.zeros(N).normal_(5, 3), 5, 3),
    (lambda: mgx.zeros(N).bernoulli_(0.2), 0.2, 0.4), (lambda: mgx.zeros(N).exponential_(0.5), 2, 2),
    (lambda: mgx.zeros(N).log_normal_(0, 0.5), np.exp(1 / 8), ((np.exp(0.25) - 1) * np.exp(0.25))**0.5),
    (lambda: mgx.zeros(N).geometric_(0.25), 4, 12**0.5), (lambda: mgx.zeros(N).random_(10), 4.5, (99 / 12)**0.5),
    (lambda: random.randint_like(mgx.zeros(N), 2, 12), 6.5, (99 / 12)**0.5)])
def test_moments(draw, mean, deviation):
    """Within five standard errors."""
    mgx.manual_seed(0)
    found = mean_and_deviation(draw())
    assert abs(found[0] - mean) < 5 * deviation / N**0.5 and abs(found[1] / deviation - 1) < 0.05


def test_without_replacement_no_index_comes_twice_and_weights_of_0_never():
    drawn = random.multinomial(np.tile([0.0, 1.0, 5.0, 0.0, 2.0], (500, 1)), 3, rng=0).numpy()
    assert (np.sort(drawn, 1) == [1, 2, 4]).all()
    both = random.multinomial(np.tile(WEIGHTS, (N, 1)), 2, rng=1).numpy()
    second = sum(w * WEIGHTS[3] / (1 - w) for w in WEIGHTS[:3])     # the chance that the heaviest is the second one
    assert abs((both[:, 1] == 3).mean() - second) < 0.015


def test_median_of_cauchy():
    x = mgx.zeros(N).cauchy_(2.0, 3.0, generator=mgx.Generator(0)).numpy()
    assert abs(np.median(x) - 2) < 0.1 and abs(np.percentile(x, 75) - 5) < 0.2


def test_in_place_draws_keep_the_tensor_and_respect_graphs():
    x = mgx.zeros(3, dtype="float64")
    assert x.normal_() is x and x.dtype == "float64"
    w = mgx.zeros(3, requires_grad=True)
    with pytest.raises(Error):
        w.uniform_()
    with mgx.no_grad():
        w.uniform_()
    assert w.requires_grad and w.is_leaf


def test_a_generator_of_the_cpu():
    assert repr(mgx.Generator(device="cpu").manual_seed(3)) == repr(mgx.Generator("cpu").manual_seed(3))
    for where in ("cuda", "tpu:1", 7):
        with pytest.raises(OptionError, match="Generator"):
            mgx.Generator(device=where)


@pytest.mark.parametrize("call, kind, words", [
    (lambda: random.bernoulli(mgx.Tensor([2.0])), OptionError, "bernoulli: a chance is from 0 to 1"),
    (lambda: random.bernoulli(mgx.Tensor(np.array([1]))), DTypeError, "bernoulli: .*int64"),
    (lambda: random.normal(0.0, -1.0, (2,)), OptionError, "normal: .*below 0"),
    (lambda: random.normal(mgx.zeros(2), mgx.ones(3)), ShapeError, r"\(2,\) and \(3,\)"),
    (lambda: random.normal(mgx.zeros(2), 1.0, (2,)), TypeError, "normal: a size goes with numbers"),
    (lambda: random.poisson(mgx.Tensor([-1.0])), OptionError, "poisson: a rate"),
    (lambda: random.multinomial([0.0, 0.0], 1), OptionError, "all 0"),
    (lambda: random.multinomial([0.0, 1.0], 2), OptionError, r"2 draws .* 1 weights above 0 \(2 > 1\)"),
    (lambda: random.multinomial([-1.0, 1.0], 1), OptionError, "not below 0"),
    (lambda: random.multinomial([np.nan, 1.0], 1), OptionError, "finite"),
    (lambda: random.multinomial([1.0], 0), OptionError, "at least one"),
    (lambda: random.multinomial(mgx.ones(2, 2, 2), 1), ShapeError, r"\(2, 2, 2\)"),
    (lambda: mgx.rand(2, size=(3,)), TypeError, "given twice"),
    (lambda: mgx.randn(2, device="cuda"), OptionError, "cuda"),
    (lambda: mgx.zeros(2).uniform_(2, 1), OptionError, "uniform_: from 2 to 1"),
    (lambda: mgx.Tensor(np.array([1])).normal_(), DTypeError, "normal_: .*int64"),
    (lambda: mgx.zeros(2).exponential_(0.0), OptionError, "exponential_"),
    (lambda: mgx.zeros(2).geometric_(1.5), OptionError, "geometric_"),
    (lambda: mgx.zeros(2).bernoulli_(-0.5), OptionError, "chance"),
    (lambda: mgx.zeros(2).random_(5, 5), OptionError, "5 >= 5")])
def test_refused(call, kind, words):
    with pytest.raises(kind, match=words):
        call()
