"""Distributions: draws by their moments, gradients of draws, derivatives of densities, compiled functions, bad
input."""
import copy
import pickle

import numpy as np
import pytest
from mpmath import mp, mpf
from scipy import special

import microgradx as mgx
from microgradx import distributions as D
from microgradx import optim
from microgradx.distributions import functions
from microgradx.errors import DTypeError, Error, GraphError, NotImplementedError_, OptionError, ShapeError

N = 40_000
A = np.array([0.3, 1.0, 2.5])
MADE = {
    "Normal": lambda a: D.Normal(a, a), "LogNormal": lambda a: D.LogNormal(a, 0.2 * a),
    "Laplace": lambda a: D.Laplace(a, a), "Uniform": lambda a: D.Uniform(a, 3 * a),
    "Exponential": lambda a: D.Exponential(a), "Gamma": lambda a: D.Gamma(a, 2 * a), "Beta": lambda a: D.Beta(a, 2 * a),
    "Dirichlet": lambda a: D.Dirichlet(a), "Bernoulli": lambda a: D.Bernoulli(logits=a),
    "Geometric": lambda a: D.Geometric(logits=a), "Categorical": lambda a: D.Categorical(probs=a),
    "OneHotCategorical": lambda a: D.OneHotCategorical(logits=a), "Multinomial": lambda a: D.Multinomial(4, logits=a),
    "Binomial": lambda a: D.Binomial(4, logits=a), "Poisson": lambda a: D.Poisson(a),
    "MultivariateNormal": lambda a: D.MultivariateNormal(a, scale_tril=a.diag()),
    "Independent": lambda a: D.Independent(D.Gamma(a, a), 1),
    "OneHotCategoricalStraightThrough": lambda a: D.OneHotCategoricalStraightThrough(logits=a),
    "MixtureSameFamily": lambda a: D.MixtureSameFamily(D.Categorical(probs=a), D.Normal(a, a)),
    "HalfNormal": lambda a: D.HalfNormal(a), "Cauchy": lambda a: D.Cauchy(a, a), "Gumbel": lambda a: D.Gumbel(a, a),
    "Chi2": lambda a: D.Chi2(a), "StudentT": lambda a: D.StudentT(a + 6, a, a),
    "LogitRelaxedBernoulli": lambda a: D.LogitRelaxedBernoulli(0.7, logits=a),
    "RelaxedBernoulli": lambda a: D.RelaxedBernoulli(0.7, logits=a),
    "ExpRelaxedCategorical": lambda a: D.ExpRelaxedCategorical(0.7, logits=a),
    "RelaxedOneHotCategorical": lambda a: D.RelaxedOneHotCategorical(0.7, logits=a),
    "TransformedDistribution": lambda a: D.TransformedDistribution(D.Normal(a, a), [
        D.AffineTransform(1.0, 0.5), D.TanhTransform(cache_size=1)]),
}
RELAXED = {name for name in MADE if "Relaxed" in name} | {"TransformedDistribution"}


def made(name, dtype="float64", requires_grad=False):
    a = mgx.Tensor(A.astype(dtype), requires_grad=requires_grad)
    return a, MADE[name](a)


def test_all_are_made_here():
    kinds = {name for name in D.__all__ if isinstance(getattr(D, name), type)} - {"Distribution"}
    kinds -= {name for name in D.__all__ if name.endswith("Transform")}
    assert kinds == set(MADE)


@pytest.mark.parametrize("name", sorted(set(MADE) - RELAXED - {"Categorical", "Cauchy"}))
def test_moments_of_draws(name):
    """Mean and variance within five standard errors of the mean, and a tenth."""
    mgx.manual_seed(0)
    _, dist = made(name)
    drawn = dist.sample((N,)).numpy()
    mean, variance = dist.mean.numpy(), dist.variance.numpy()
    assert (abs(drawn.mean(0) - mean) < 5 * np.sqrt(variance / N)).all()
    np.testing.assert_allclose(drawn.var(0), variance, rtol=0.1)


def test_draws_of_classes():
    mgx.manual_seed(0)
    drawn = D.Categorical(logits=mgx.Tensor([[0.0, np.log(3.0)], [0.0, 0.0]])).sample((N,)).numpy()
    np.testing.assert_allclose((drawn == 1).mean(0), [0.75, 0.5], atol=0.012)
    assert drawn.dtype == "int64" and D.Categorical(probs=[0.0, 1.0, 0.0]).sample((100,)).tolist() == [1] * 100


@pytest.mark.parametrize("name", MADE)
def test_entropy_is_the_expectation_of_log_prob(name):
    mgx.manual_seed(1)
    _, dist = made(name)
    if name in {"Poisson", "MixtureSameFamily"} | RELAXED:
        with pytest.raises(NotImplementedError_, match="no entropy"):
            dist.entropy()
        return
    found = -dist.log_prob(dist.sample((N,))).mean(0).numpy()
    np.testing.assert_allclose(dist.entropy().numpy(), found, atol=0.05)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", MADE)
def test_a_seed_repeats_and_a_program_draws_the_same(name, dtype):
    def draw():
        _, dist = made(name, dtype)
        x = dist.sample((5,))
        return x * 1, dist.log_prob(x)

    def run(f):
        mgx.manual_seed(3)
        return [[t.tolist() for t in f()] for _ in range(4)]
    eager = run(draw)
    assert eager == run(mgx.compile(draw)) and eager[0] != eager[1]
    assert draw()[1].dtype == dtype


@pytest.mark.parametrize("name", [n for n in MADE if made(n)[1].has_rsample and n not in
                                  RELAXED | {"Cauchy", "OneHotCategoricalStraightThrough"}])
def test_gradients_of_draws(name):
    """The derivative of the mean of x^2 by the parameters, from draws, is that of mean^2 + variance."""
    mgx.manual_seed(2)
    a, dist = made(name, requires_grad=True)
    weights = mgx.Tensor([1.0, 2.0, -1.0], dtype="float64")
    by_draws, = mgx.autograd.grad((dist.rsample((N,)).square().mean(0) * weights).sum(), [a])
    a, dist = made(name, requires_grad=True)
    exact, = mgx.autograd.grad(((dist.mean.square() + dist.variance) * weights).sum(), [a])
    np.testing.assert_allclose(by_draws.numpy(), exact.numpy(), atol=0.05 * abs(exact.numpy()).max() + 0.01)


@pytest.mark.parametrize("a", [0.05, 0.3, 1.0, 2.5, 30.0, 1e4])
def test_a_draw_of_gamma_moves_along_its_quantile(a):
    """dx / da at a fixed chance u, against differences of SciPy's inverse."""
    u = np.array([1e-3, 0.01, 0.2, 0.5, 0.9, 0.999])
    x, h = special.gammaincinv(a, u), 1e-4 * a
    truth = (8 * (special.gammaincinv(a + h, u) - special.gammaincinv(a - h, u))
             - special.gammaincinv(a + 2 * h, u) + special.gammaincinv(a - 2 * h, u)) / (12 * h)
    out = np.empty_like(x)
    functions._draw_slope_into(out, np.full_like(x, a), x)
    big = x > 1e-200                                            # where the inverse is a number
    np.testing.assert_allclose(out[big], truth[big], rtol=1e-6)


@pytest.mark.parametrize("name", sorted(RELAXED | {"Cauchy"}))
def test_densities_of_what_has_no_moments(name):
    """The mean of a bounded function of the draws moves with the parameters as its mean weighted by the score does."""
    def mean(a, by_score):
        mgx.manual_seed(4)
        dist = MADE[name](a)
        x = (dist.sample if by_score else dist.rsample)((400_000,))
        f = x.clip(-2, 2).tanh().sum(-1)
        if not by_score:
            return f.mean()
        score = dist.log_prob(x)
        return (f.detach() * (score.sum(-1) if score.ndim > 1 else score)).mean()
    found = []
    for by_score in (False, True):
        a = mgx.Tensor(A, requires_grad=True)
        found.append(mgx.autograd.grad(mean(a, by_score), [a])[0].numpy())
    np.testing.assert_allclose(*found, atol=0.02)


QUANTILES = {       # the distribution, its quantile function in mpmath
    "Normal": (lambda: D.Normal(1.0, 2.0), lambda p: 1 + 2 * mp.sqrt(2) * mp.erfinv(2 * p - 1)),
    "LogNormal": (lambda: D.LogNormal(1.0, 0.5), lambda p: mp.exp(1 + mp.erfinv(2 * p - 1) / mp.sqrt(2))),
    "HalfNormal": (lambda: D.HalfNormal(2.0), lambda p: 2 * mp.sqrt(2) * mp.erfinv(p)),
    "Laplace": (lambda: D.Laplace(1.0, 2.0), lambda p: 1 + 2 * (mp.log(2 * p) if p < 0.5 else -mp.log(2 - 2 * p))),
    "Cauchy": (lambda: D.Cauchy(1.0, 2.0), lambda p: 1 - 2 * mp.cot(mp.pi * p)),
    "Exponential": (lambda: D.Exponential(2.0), lambda p: -mp.log1p(-p) / 2),
    "Gumbel": (lambda: D.Gumbel(1.0, 2.0), lambda p: 1 - 2 * mp.log(-mp.log(p)))}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", QUANTILES)
def test_tails_do_not_cancel(name, dtype):
    """Quantiles, how likely less than these is, and the slopes of both, from 1e-12 to 1 - 1e-7."""
    made, truth = QUANTILES[name]
    p = mgx.Tensor(np.array([1e-12, 1e-7, 0.01, 0.2, 0.3, 0.5, 0.6, 0.74, 0.76, 0.99, 1 - 2**-20]), dtype=dtype,
                   requires_grad=True)
    d, near = made(), dict(rtol=2e-5, atol=1e-6) if dtype == "float32" else dict(rtol=2e-8, atol=1e-9)
    x = d.icdf(p)
    with mp.workdps(60):
        want = [float(truth(mpf(v))) for v in p.tolist()]
        slopes = [float(mp.diff(truth, mpf(v), h=mpf(v) * mpf(10) ** -25)) for v in p.tolist()]
    np.testing.assert_allclose(x.detach().numpy(), want, **near)
    np.testing.assert_allclose(mgx.autograd.grad(x.sum(), [p])[0].numpy(), slopes, rtol=near["rtol"] * 10)
    at = mgx.Tensor(np.array(want), requires_grad=True)
    back = d.cdf(at)
    np.testing.assert_allclose(back.tolist(), p.tolist(), rtol=1e-5)
    np.testing.assert_allclose(mgx.autograd.grad(back.sum(), [at])[0].numpy(), 1 / np.array(slopes), rtol=1e-5)


def test_ends_of_quantiles():
    for made, _ in QUANTILES.values():
        p = mgx.Tensor(np.array([0.0, 1.0]), requires_grad=True)
        low, high = made().icdf(p).tolist()
        assert low in (-np.inf, 0.0) and high == np.inf
        assert mgx.autograd.grad(made().icdf(p)[1], [p])[0][1].item() == np.inf


def test_a_draw_of_gamma_has_one_derivative():
    a = mgx.Tensor([2.0], requires_grad=True)
    g, = mgx.autograd.grad(D.Gamma(a, 1.0).rsample().sum(), [a], create_graph=True)
    with pytest.raises(GraphError, match="no second derivative"):
        mgx.autograd.grad(g.sum(), [a])


DENSITIES = {
    "Normal": (lambda a, x: D.Normal(a, a * a), 0.7), "LogNormal": (lambda a, x: D.LogNormal(a, a), 0.7),
    "Laplace": (lambda a, x: D.Laplace(a, a), 0.7), "Exponential": (lambda a, x: D.Exponential(a), 0.7),
    "Gamma": (lambda a, x: D.Gamma(a, a * a), 0.7), "Beta": (lambda a, x: D.Beta(a, a * a), 0.7),
    "Categorical": (lambda a, x: D.Categorical(logits=a * a), 1), "Poisson": (lambda a, x: D.Poisson(a), 3),
    "Bernoulli": (lambda a, x: D.Bernoulli(logits=a), 1.0), "Binomial": (lambda a, x: D.Binomial(3, logits=a), 2.0),
    "Dirichlet": (lambda a, x: D.Dirichlet(a), [0.2, 0.3, 0.5]),
    "Multinomial": (lambda a, x: D.Multinomial(3, logits=a), [1.0, 2.0, 0.0]),
    "MultivariateNormal": (lambda a, x: D.MultivariateNormal(a, scale_tril=a.square().diag()), [0.1, 0.7, -0.5]),
}


@pytest.mark.parametrize("name", DENSITIES)
def test_second_derivatives_of_densities_and_entropies(name):
    make, value = DENSITIES[name]
    value = mgx.Tensor(np.array(value, "int64" if name in ("Categorical",) else "float64"))
    a = mgx.Tensor(A, requires_grad=True)
    assert mgx.gradgradcheck(lambda a: make(a, value).log_prob(value).sum(), [a])
    if name != "Poisson":
        assert mgx.gradgradcheck(lambda a: make(a, value).entropy().sum(), [a])


@pytest.mark.parametrize("name", MADE)
def test_copies_and_expansions(name):
    mgx.manual_seed(0)
    _, dist = made(name)
    x = dist.sample()
    for other in (copy.deepcopy(dist), pickle.loads(pickle.dumps(dist))):
        np.testing.assert_allclose(other.log_prob(x).numpy(), dist.log_prob(x).numpy(), rtol=1e-12)
    wide = dist.expand((2, *dist.batch_shape))
    assert wide.sample((4,)).shape == (4, 2, *dist.batch_shape, *dist.event_shape)
    np.testing.assert_allclose(wide.log_prob(x)[1].numpy(), dist.log_prob(x).numpy())
    assert type(dist).__name__ in repr(dist) or name in RELAXED


def test_a_policy_learns_within_a_compiled_step():
    """REINFORCE: the logits of the rewarded action grow; compiled as eager, to the bit."""
    def run(compiled):
        mgx.manual_seed(0)
        logits = mgx.Tensor([0.0, 0.0, 0.0], requires_grad=True)
        opt = optim.Adam([logits], lr=0.1)

        def step():
            opt.zero_grad()
            policy = D.Categorical(logits=logits)
            action = policy.sample((16,))
            loss = -(policy.log_prob(action) * (action == 1)).mean() - 0.01 * policy.entropy()
            loss.backward()
            opt.step()
            return loss.detach()
        step = mgx.compile(step) if compiled else step
        return [step().item() for _ in range(20)], logits.tolist()
    assert run(True) == run(False)
    assert run(False)[1][1] > 0.5


def test_checks_can_be_left_out():
    assert np.isnan(D.Normal(0.0, -1.0, validate_args=False).log_prob(0.0).item())
    D.Distribution.set_default_validate_args(False)
    try:
        D.Normal(0.0, -1.0)
    finally:
        D.Distribution.set_default_validate_args(True)
    with pytest.raises(OptionError):
        D.Distribution.set_default_validate_args(3)


def test_a_divergence_of_your_own():
    class Mine(D.Normal):
        pass
    assert D.kl_divergence(Mine(1.0, 1.0), D.Normal(0.0, 1.0)).item() == 0.5
    try:
        D.register_kl(Mine, Mine)(lambda p, q: p.loc * 0 + 7)
        assert D.kl_divergence(Mine(1.0, 1.0), Mine(0.0, 1.0)).item() == 7
    finally:
        D.kl._rules.pop((Mine, Mine))


def test_a_check_is_made_in_replays_too():
    f = mgx.compile(lambda scale: D.Normal(0.0, scale).log_prob(0.0))
    for _ in range(4):
        f(mgx.Tensor(1.0))
    with pytest.raises(Error, match="scale is not above 0"):
        f(mgx.Tensor(-1.0))


@pytest.mark.parametrize("call, kind, words", [
    (lambda: D.Normal(0.0, -1.0), OptionError, "Normal: scale is not above 0: .-1.0. is in it"),
    (lambda: D.Normal(0.0, float("nan")), OptionError, "nan"),
    (lambda: D.Normal("a", 1.0), DTypeError, "number or a tensor, not str"),
    (lambda: D.Normal(mgx.zeros(2), mgx.ones(3)), ShapeError, r"\(2,\) and \(3,\)"),
    (lambda: D.Normal(mgx.zeros(2), 1.0).log_prob(mgx.zeros(3)), ShapeError, r"\(3,\) and \(2,\)"),
    (lambda: D.Categorical(), OptionError, "probs or logits"),
    (lambda: D.Categorical(probs=mgx.zeros(3)), OptionError, "not all 0"),
    (lambda: D.Categorical(probs=0.5), ShapeError, "at least one class"),
    (lambda: D.Categorical(probs=[0.5, 0.5]).log_prob(2), OptionError, "an integer from 0 to 1: .2.* is in it"),
    (lambda: D.Categorical(probs=[0.5, 0.5]).rsample(), NotImplementedError_, "no gradient"),
    (lambda: D.Bernoulli(probs=1.5), OptionError, "from 0 to 1"),
    (lambda: D.Uniform(2.0, 1.0), OptionError, "high - low is not above 0"),
    (lambda: D.Uniform(0.0, 1.0).log_prob(2.0), OptionError, "between low and high"),
    (lambda: D.Dirichlet(1.0), ShapeError, "along an axis"),
    (lambda: D.Dirichlet([1.0, 1.0]).log_prob([0.5, 0.6]), OptionError, "add up to 1"),
    (lambda: D.Multinomial(2, [0.5, 0.5]).log_prob([1.0, 2.0]), OptionError, "add up to 2"),
    (lambda: D.Multinomial(-1, [0.5, 0.5]), OptionError, "total_count=-1"),
    (lambda: D.MultivariateNormal(mgx.zeros(2), mgx.zeros(2, 2)), OptionError, "positive definite"),
    (lambda: D.MultivariateNormal(mgx.zeros(3), mgx.eye(2)), ShapeError, r"\(3,\) and \(2, 2\)"),
    (lambda: D.Independent(D.Normal(0.0, 1.0), 1), OptionError, "reinterpreted_batch_ndims=1"),
    (lambda: D.kl_divergence(D.Normal(0.0, 1.0), D.Poisson(1.0)), NotImplementedError_, "Normal and Poisson"),
    (lambda: D.Poisson(1.0).cdf(1.0), NotImplementedError_, "Poisson has no cdf"),
])
def test_refused(call, kind, words):
    with pytest.raises(kind, match=words):
        call()
