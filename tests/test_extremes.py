"""Numbers at which a formula that is right elsewhere goes wrong without a word: squares that overflow or vanish, sums
of many terms, rows that nothing may look at, labels none of which counts, matrices that are not finite."""
import itertools
import math

import numpy as np
import pytest

import microgradx as mgx
from microgradx import Tensor, linalg, nn, optim
from microgradx.errors import OptionError
from microgradx.nn import functional as F

INF, NAN = math.inf, math.nan
SIZES = {"float32": (1e-30, 1e-20, 1.0, 1e20, 1e30), "float64": (1e-300, 1e-200, 1.0, 1e200, 1e300)}
EVERY_SIZE = [(dtype, size) for dtype, sizes in SIZES.items() for size in sizes]
RTOL = {"float32": 2e-6, "float64": 1e-14}


def leaf(data, dtype="float64"):
    return Tensor(np.asarray(data, dtype), requires_grad=True)


def gradients(y, xs, orders=1):
    """The gradient of sum(y), by the plain walk and by the recorded one, which agree."""
    plain = mgx.autograd.grad(y.sum(), xs, retain_graph=True)
    recorded = mgx.autograd.grad(y.sum(), xs, create_graph=True)
    for a, b, x in zip(plain, recorded, xs):
        np.testing.assert_allclose(b.detach().numpy(), a.numpy(), rtol=2 * RTOL[str(x.dtype)])
    return recorded


# ----- squares that are no numbers of the dtype ---------------------------------------------------------------------

@pytest.mark.parametrize("dtype, size", EVERY_SIZE)
@pytest.mark.parametrize("ord", [2, 3, 1.5, -2])
def test_norms_of_every_size(dtype, size, ord):
    rows = np.array([[3.0, -4.0, 1.0], [1.0, 2.0, -2.0]])
    small = leaf(rows, "float64")
    for axis, kept in ((None, False), (1, True), (0, False)):
        x = leaf(rows * size, dtype)
        y, true = x.norm(ord, axis, kept), small.norm(ord, axis, kept)
        np.testing.assert_allclose(true.detach().numpy(), (np.abs(rows) ** ord).sum(axis, keepdims=kept) ** (1 / ord))
        np.testing.assert_allclose(y.detach().numpy().astype(float) / size, true.detach().numpy(), rtol=RTOL[dtype])
        np.testing.assert_allclose(gradients(y, [x])[0].detach().numpy(), gradients(true, [small])[0].detach().numpy(),
                                   rtol=4 * RTOL[dtype])


@pytest.mark.parametrize("dtype, size", EVERY_SIZE)
@pytest.mark.parametrize("shape, axis", [((7,), 0), ((70,), 0), ((5000,), 0), ((3, 40), 1), ((40, 3), 0),
                                         ((2, 9, 70), 1),
                                         ((300, 33), 0), ((4, 5, 6), (0, 2))])
def test_euclidean_norms_of_every_layout(dtype, size, shape, axis):
    x = np.random.default_rng(0).normal(size=shape)
    got = Tensor((x * size).astype(dtype)).norm(2, axis).numpy().astype(float) / size
    np.testing.assert_allclose(got, np.sqrt((x * x).sum(axis)), rtol=2 * RTOL[dtype])
    if len(shape) == 2:
        turned = Tensor(np.ascontiguousarray((x * size).astype(dtype).T)).T.norm(2, axis).numpy().astype(float) / size
        np.testing.assert_allclose(turned, got, rtol=2 * RTOL[dtype])


@pytest.mark.parametrize("dtype", SIZES)
def test_norms_of_zeros_infinities_and_nan(dtype):
    x = leaf([[0.0, 0.0], [INF, 1.0], [NAN, 1.0], [-0.0, 5e-324 if dtype == "float64" else 1.4e-45]], dtype)
    y = x.norm(2, 1)
    np.testing.assert_array_equal(y.detach().numpy(), [0, INF, NAN, x.detach().numpy()[3, 1]])
    first = gradients(y[[0, 3]], [x])[0]
    np.testing.assert_array_equal(first.detach().numpy()[[0, 3]], [[0, 0], [0, 1]])
    x = leaf([0.0, 0.0], dtype)
    first = gradients(x.norm(), [x])[0]
    assert mgx.autograd.grad(first.sum(), [x])[0].tolist() == [0, 0]
    assert mgx.zeros(0, dtype=dtype).norm().item() == mgx.zeros(0, dtype=dtype).norm(3).item() == 0
    assert mgx.zeros(2, 0, dtype=dtype).norm(2, 1).tolist() == [0, 0]


@pytest.mark.parametrize("ord", [0.5, 0.9, -1, -0.5])
def test_norms_below_order_1_at_an_element_that_is_0(ord):
    """What torch gives: no gradient from there, and for a negative order from nowhere, for the norm is 0."""
    x = leaf([0.0, 4.0, -9.0])
    y = x.norm(ord)
    total = np.array([4.0, 9.0]) ** ord
    assert math.isclose(y.item(), total.sum() ** (1 / ord) if ord > 0 else 0, rel_tol=1e-14)
    want = [0, 4.0 ** (ord - 1), -9.0 ** (ord - 1)] if ord > 0 else [0, 0, 0]
    np.testing.assert_allclose(gradients(y, [x])[0].detach().numpy(), np.array(want) * total.sum() ** (1 / ord - 1))


@pytest.mark.parametrize("dtype", SIZES)
@pytest.mark.parametrize("ord", [0.5, -0.5, -1, -2, 1.5, 3])
def test_norms_of_other_orders_at_infinities_and_at_the_smallest_numbers(dtype, ord):
    least = 5e-324 if dtype == "float64" else 1.4e-45
    rows = [[INF, 2.0], [INF, INF], [-INF, 2.0], [64 * least, 64 * least], [64 * least, 0.0], [0.0, 0.0]]
    x = leaf(rows, dtype)
    with np.errstate(all="ignore"):
        want = [np.linalg.norm(row, ord) for row in np.array(rows[:3])] + [64 * least * 2 ** (1 / ord), 0, 0]
    want[4] = 64 * least if ord > 0 else 0
    np.testing.assert_allclose(x.norm(ord, 1).detach().numpy(), np.array(want, dtype), atol=least)
    share = 2 ** (1 / ord - 1)                                  # of two equal elements in the gradient
    first = gradients(x.norm(ord, 1)[[3, 4, 5]], [x])[0].detach().numpy()[3:]
    np.testing.assert_allclose(first, [[share, share], [1, 0] if ord > 0 else [0, 0], [0, 0]], rtol=0.05)
    if ord < 0 or ord > 1:                                      # where the finite one counts alone, or nothing of it
        of_row = mgx.autograd.grad(x.norm(ord, 1)[0], [x])[0].numpy()[0]
        np.testing.assert_array_equal(of_row, [0, 1] if ord < 0 else [NAN, 0])


def test_the_second_derivative_of_the_norm():
    x = leaf([3.0, 4.0])
    np.testing.assert_allclose(mgx.hessian(lambda t: t.norm())(x).numpy(), np.array([[16, -12], [-12, 9]]) / 125,
                               rtol=1e-14)
    cubes = 3**3 + 4**3                         # of order 3, of which the norm itself is a factor of the gradient
    np.testing.assert_allclose(mgx.hessian(lambda t: t.norm(3))(x).numpy(), np.array([[6 * 64, -288], [-288, 8 * 27]]) /
                               cubes ** (5 / 3), rtol=1e-13)


def normalizations(shape):
    n = shape[-1]
    return {"layer_norm": lambda x, eps: F.layer_norm(x, (n,), eps=eps),
            "rms_norm": lambda x, eps: F.rms_norm(x, (n,), eps=eps),
            "group_norm": lambda x, eps: F.group_norm(x.reshape(1, 4, -1), 2, eps=eps).reshape(*shape),
            "batch_norm": lambda x, eps: F.batch_norm(x, None, None, training=True, eps=eps)}


@pytest.mark.parametrize("dtype, size", EVERY_SIZE)
@pytest.mark.parametrize("name", normalizations((1, 1)))
def test_normalizations_of_every_size(dtype, size, name):
    """Numbers times a factor are normalised to the same, and to less where they are small beside eps."""
    rows = np.random.default_rng(1).normal(size=(4, 6)) + 0.5
    function, weights = normalizations(rows.shape)[name], Tensor(np.arange(24.0).reshape(4, 6))
    for eps in (0.0, 1e-5):
        small = leaf(rows)
        # in the units of the numbers eps is eps / size^2
        true = function(small, 0.0) if eps == 0 or size > 1 else function(small, eps) if size == 1 else None
        x = leaf(rows * size, dtype)
        y = function(x, eps)
        if true is None:
            assert np.isfinite(y.detach().numpy()).all()
            if size**2 < 1e-30:
                spread = rows if name == "rms_norm" else rows - rows.mean()
                assert np.abs(y.detach().numpy()).max() <= 10 * np.abs(spread).max() * size / eps**0.5
            continue
        np.testing.assert_allclose(y.detach().numpy(), true.detach().numpy(), rtol=20 * RTOL[dtype], atol=RTOL[dtype])
        got = mgx.autograd.grad((y * weights.astype(dtype)).sum(), [x], retain_graph=True)[0]
        want = mgx.autograd.grad((true * weights).sum(), [small])[0].numpy()
        np.testing.assert_allclose(got.numpy().astype(float) * size, want, atol=1e3 * RTOL[dtype])
        got = mgx.autograd.grad((y * weights.astype(dtype)).sum(), [x], create_graph=True)[0].detach()
        np.testing.assert_allclose(got.numpy().astype(float) * size, want, atol=1e3 * RTOL[dtype])


@pytest.mark.parametrize("dtype, size", EVERY_SIZE)
def test_deviations_and_cosines_of_every_size(dtype, size):
    rows = np.array([[1.0, 2.0, 4.0], [3.0, -1.0, 0.5]])
    x = leaf(rows * size, dtype)
    for axis, ddof in ((None, 0), (1, 1), (0, 0)):
        got = x.std(axis, ddof)
        np.testing.assert_allclose(got.detach().numpy().astype(float) / size, rows.std(axis, ddof=ddof),
                                   rtol=4 * RTOL[dtype])
        assert np.isfinite(gradients(got, [x])[0].detach().numpy()).all()
    cosine = rows[0] @ rows[1] / np.linalg.norm(rows[0]) / np.linalg.norm(rows[1])
    assert math.isclose(mgx.cosine_similarity(x[0], x[1], 0, eps=0.0).item(), cosine, rel_tol=10 * RTOL[dtype])
    np.testing.assert_allclose(F.normalize(x, eps=0.0).detach().numpy(),
                               rows / np.linalg.norm(rows, axis=1, keepdims=True), rtol=4 * RTOL[dtype])


def test_a_deviation_of_nothing_has_no_gradient():
    x = leaf([2.0, 2.0, 2.0])
    first = gradients(x.std(), [x])[0]
    assert first.tolist() == [0, 0, 0] and mgx.autograd.grad(first.sum(), [x])[0].tolist() == [0, 0, 0]
    assert math.isnan(mgx.Tensor([1.0]).std(ddof=1).item())


@pytest.mark.parametrize("dtype, size", EVERY_SIZE)
def test_clipping_the_norm_of_every_size(dtype, size):
    w, b = leaf([0.0, 0.0], dtype), leaf([0.0], dtype)
    w.grad, b.grad = Tensor([3.0 * size, 0.0], dtype=dtype), Tensor([-4.0 * size], dtype=dtype)
    total = optim.clip_grad_norm_([w, b], 1e-3 * min(size, 1))
    assert math.isclose(total.item() / size, 5, rel_tol=RTOL[dtype])
    if size >= 1:
        np.testing.assert_allclose([*w.grad.tolist(), *b.grad.tolist()], [6e-4, 0, -8e-4], rtol=1e-5)


# ----- functions of which a factor of all numbers makes only a factor ------------------------------------------------

ROWS = np.array([[3.0, -4.0, 1.0, 2.0, -1.0, 0.5], [1.0, 2.0, -2.0, 0.25, 3.0, -3.5], [-1.0, 4.0, 2.0, 2.5, 1.0, 3.0],
                 [0.5, 1.0, -1.0, 2.0, -2.0, 4.0]]) / 4
SIGNS = np.where(ROWS > 0, 1.0, -1.0)                           # distances from whose means are larger than all
HOMOGENEOUS = {         # name: degree, function of (4, 6)
    "var": (2, lambda x: x.var(1, 0)), "var of columns": (2, lambda x: x.var(0, 1)), "std": (1, lambda x: x.std(1, 0)),
    "std of all": (1, lambda x: x.std(None, 1)), "std of columns": (1, lambda x: x.std(0, 0)),
    "std_mean": (1, lambda x: mgx.std_mean(x, 1)[0]), "norm": (1, lambda x: x.norm(2, 1)),
    "norm 3": (1, lambda x: x.norm(3, 1)), "cdist": (1, lambda x: mgx.cdist(x, x[[1, 2, 3, 0]] * 0.5)),
    "mean": (1, lambda x: x.mean(1)), "nanmean": (1, lambda x: mgx.nanmean(x, 1)),
    "nanstd": (1, lambda x: np.nanstd(x, 1)), "nanvar": (2, lambda x: np.nanvar(x, 1, ddof=1)), "cov": (2, mgx.cov),
    "corrcoef": (0, mgx.corrcoef),
    "mse_loss": (2, lambda x: F.mse_loss(x, x[::-1])), "quadratic_cost": (2, lambda x: F.quadratic_cost(x, x[::-1])),
    "normalize": (0, lambda x: F.normalize(x, eps=0.0)), "normalize 3": (0, lambda x: F.normalize(x, 3.0, eps=0.0)),
    "cosine_similarity": (0, lambda x: F.cosine_similarity(x[:2], x[2:], eps=0.0)),
    "layer_norm": (0, lambda x: F.layer_norm(x, 6, eps=0.0)), "rms_norm": (0, lambda x: F.rms_norm(x, 6, eps=0.0)),
    "group_norm": (0, lambda x: F.group_norm(x, 2, eps=0.0)),
    "batch_norm": (0, lambda x: F.batch_norm(x.T, None, None, training=True, eps=0.0)),
    "lstsq": (0, lambda x: linalg.lstsq(x[:, :3], x[:, 4:]).solution), "cond": (0, lambda x: linalg.cond(x[:, :4])),
    "prod": (4, lambda x: x.prod(0)), "hypot": (1, lambda x: x[:2].hypot(x[2:]))}
POWERS = {"float32": (-133, -100, -64, -40, 0, 40, 63, 100, 120, 127),
          "float64": (-1040, -1000, -600, 0, 600, 1000, 1022)}


def is_number(x, dtype):
    """Whether the largest of the numbers is one of the dtype, of full precision."""
    largest = np.abs(x).max()
    return np.isfinite(largest) and (largest == 0 or 16 * np.finfo(dtype).tiny < largest < np.finfo(dtype).max / 2)


@pytest.mark.parametrize("dtype", SIZES)
@pytest.mark.parametrize("rows", [ROWS, SIGNS], ids=["rows", "signs"])
@pytest.mark.parametrize("name", HOMOGENEOUS)
def test_a_factor_of_all_numbers_makes_a_factor(name, rows, dtype):
    """Of value, gradient and second derivative, wherever these are numbers of the dtype."""
    degree, function = HOMOGENEOUS[name]
    if rows is SIGNS and name in ("lstsq", "cond", "group_norm", "corrcoef"):
        return                                                  # of no rank, or of no variance
    rng = np.random.default_rng(0)

    def orders(x):
        y = function(x)
        g, = mgx.autograd.grad(y, [x], Tensor(weights.astype(dtype)), create_graph=True)
        plain, = mgx.autograd.grad(y, [x], Tensor(weights.astype(dtype)), retain_graph=True)
        second = x * 0                                          # of what is linear
        if g.requires_grad:
            second, = mgx.autograd.grad(g, [x], Tensor(direction.astype(dtype)))
        return [t.detach().numpy().astype(np.longdouble) for t in (y, plain, g, second)]

    weights, direction = rng.normal(size=function(Tensor(rows)).shape), rng.normal(size=rows.shape)
    once = orders(leaf(rows, dtype))
    for power in POWERS[dtype]:
        factor = np.longdouble(2) ** power
        want = [t * factor ** (degree - order) for t, order in zip(once, (0, 1, 1, 2))]
        if not is_number(want[0], dtype):
            continue
        got = orders(leaf((rows * factor).astype(dtype), dtype))
        for g, w, what in zip(got, want, ("value", "gradient", "recorded gradient", "second derivative")):
            if not is_number(w, dtype):
                continue
            rough = np.spacing(np.abs(rows * factor).min().astype(dtype)) / np.abs(rows * factor).min()
            np.testing.assert_allclose(g, w, atol=float(np.abs(w).max() * (30 * rough + 100 * np.finfo(dtype).eps)),
                                       rtol=0, err_msg=f"{what} of 2^{power} x")


def test_derivatives_where_a_row_is_0():
    rows = Tensor([[2.0, -0.5], [0.0, 0.0], [1.5, -0.25]], dtype="float64").requires_grad_()
    assert mgx.gradgradcheck(mgx.cov, rows)
    assert mgx.gradgradcheck(lambda x: F.normalize(x, eps=1.0), rows)


def test_densities_far_away():
    from microgradx import distributions as d
    for dtype, size in (("float32", 1e30), ("float64", 1e200)):
        one = Tensor([size], dtype=dtype)
        assert math.isclose(d.Normal(one, 2 * one).log_prob(3 * one).item(),
                            -0.5 - math.log(2 * size) - 0.5 * math.log(2 * math.pi), rel_tol=1e-6)
        for family in (d.Cauchy(Tensor([0.0], dtype=dtype), 1.0), d.StudentT(1.0, Tensor([0.0], dtype=dtype), 1.0)):
            x = leaf([size, 0.5, 0.0, -3.0], dtype)
            y = family.log_prob(x)
            true = [-math.log(math.pi) - 2 * math.log(size), *(-math.log(math.pi * (1 + t * t)) for t in (0.5, 0, 3))]
            np.testing.assert_allclose(y.detach().numpy(), true, rtol=1e-5)
            np.testing.assert_allclose(gradients(y, [x])[0].detach().numpy(), [-2 / size, -0.8, 0, 0.6], rtol=1e-5)


@pytest.mark.parametrize("dtype, size", EVERY_SIZE)
def test_scales_by_a_norm_of_every_size(dtype, size):
    rows = np.array([[3.0, -4.0], [5.0, 12.0]])
    x = leaf(rows * size, dtype)
    y = mgx.renorm(x, 2, 0, 2.0 * size)
    np.testing.assert_allclose(y.detach().numpy() / size, [[1.2, -1.6], [10 / 13, 24 / 13]],
                               rtol=1e-5 if size >= 1 else 1)       # 1e-7 is added to a norm
    z = F.cosine_embedding_loss(x, x[::-1], [1.0, 1.0], reduction="none")
    np.testing.assert_allclose(z.detach().numpy(), 1 + 33 / 65 if size >= 1 else 1, rtol=1e-5)
    assert all(np.isfinite(gradients(t, [x])[0].detach().numpy()).all() for t in (y, z))
    layer = nn.utils.parametrizations.weight_norm(nn.Linear(2, 2, bias=False, dtype=dtype))
    layer.weight = x.detach()
    np.testing.assert_allclose(layer.weight.detach().numpy().astype(float) / size, rows, rtol=1e-5)


@pytest.mark.parametrize("dtype, size", [("float32", 1e25), ("float64", 1e180)])
def test_responses_of_every_size(dtype, size):
    rows = np.array([3.0, -4.0, 1.0])
    x = leaf(rows.reshape(1, 3, 1) * size, dtype)
    y = F.local_response_norm(x, 3, alpha=3.0, beta=0.75, k=1.0)
    squares = [25, 26, 17]
    np.testing.assert_allclose(y.detach().numpy().ravel() * size ** 0.5, rows / np.array(squares) ** 0.75, rtol=1e-5)
    assert np.isfinite(gradients(y, [x])[0].detach().numpy()).all()


@pytest.mark.parametrize("dtype, size", [("float32", 1e25), ("float64", 1e180), ("float64", INF)])
def test_a_response_knows_only_its_window(dtype, size):
    x = leaf(np.array([size, 0.0, 1.0, 2.0]).reshape(1, 4, 1), dtype)
    y = F.local_response_norm(x, 2, alpha=2.0, beta=0.5, k=1.0)
    np.testing.assert_allclose(y.tolist()[0][2:], [[2**-0.5], [2 / 6**0.5]], rtol=1e-6)
    assert np.isfinite(gradients(y[:, 1:], [x])[0][:, 1:].detach().numpy()).all()


@pytest.mark.parametrize("number", [INF, -INF, NAN])
def test_a_part_of_a_pool_knows_only_its_numbers(number):
    x = leaf([[number, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0]])
    for y in (F.adaptive_avg_pool1d(x, 3), F.adaptive_avg_pool2d(x[None].expand(1, 2, 7), (2, 3))[0, :1],
              F.interpolate(x[None], size=3, mode="area")[0]):
        np.testing.assert_array_equal(y.tolist(), [[number, 3.0, 5.0]])
        np.testing.assert_allclose(gradients(y[:, 1:], [x])[0].tolist(), [[0, 0, *[1 / 3] * 2, 2 / 3, *[1 / 3] * 2]])


# ----- sums of many terms -------------------------------------------------------------------------------------------

def test_running_sums_do_not_stand_still():
    n = 2**24 + 100
    x = Tensor(np.ones(n, "f4"), requires_grad=True)
    y = x.cumsum(0)
    assert y.dtype == np.float32 and y[-1].item() == n
    y.sum().backward()
    assert x.grad[0].item() == n and x.grad[-1].item() == 1
    many = np.full(2**20, 0.1, "f4")
    np.testing.assert_allclose(Tensor(many).cumsum(0).numpy(), many[0].astype(float) * np.arange(1, 2**20 + 1),
                               rtol=6e-8)


# ----- products, sums and medians of numbers that are no small ones -------------------------------------------------

MANY = 2**24 + 100


def gradient_of(function, *shape):
    w = mgx.ones(*shape, requires_grad=True)
    function(w).sum().backward()
    return w.grad


AT_ONE_PLACE = {        # sums of a float32 for each of so many indices
    "scatter_add": lambda at, x: mgx.zeros(2).scatter_add(0, at, x)[1],
    "index_add": lambda at, x: mgx.zeros(2).index_add(0, at, x)[1],
    "index_put": lambda at, x: mgx.zeros(2, 2).index_put((at, at), x, accumulate=True)[1, 1],
    "bincount": lambda at, x: mgx.bincount(at, x)[1], "index": lambda at, x: gradient_of(lambda w: w[at], 2)[1],
    "gather": lambda at, x: gradient_of(lambda w: w.gather(0, at), 2)[1],
    "embedding": lambda at, x: gradient_of(lambda w: F.embedding(at, w), 2, 1)[1, 0],
    "into a gradient": lambda at, x: gradient_of(lambda w: w[at].sum() + w[at[:5]].sum(), 2)[1] - 5,
    "two indices": lambda at, x: gradient_of(lambda w: w[at, at], 2, 2)[1, 1],
    "avg_pool1d": lambda at, x: F.avg_pool1d((x * 0.1)[None], MANY)[0, 0] * 10 * MANY,
    "adaptive_avg_pool1d": lambda at, x: F.adaptive_avg_pool1d((x * 0.1)[None], 1)[0, 0] * 10 * MANY}


@pytest.mark.parametrize("name", AT_ONE_PLACE)
def test_sums_at_one_place_do_not_stand_still(name):
    found = AT_ONE_PLACE[name](Tensor(np.ones(MANY, np.int64)), Tensor(np.ones(MANY, np.float32)))
    assert found.dtype == np.float32 and abs(found.item() / MANY - 1) < 2e-7


def test_an_infinite_sum_at_one_place_is_infinite():
    at, x = np.arange(2**14) % 4, np.ones(2**14, np.float32)
    x[:3] = INF, -INF, NAN
    np.testing.assert_array_equal(mgx.zeros(4).index_add(0, at, Tensor(x)).numpy(), [INF, -INF, NAN, 2**12])


@pytest.mark.parametrize("dtype, size", [("float32", 1e30), ("float64", 1e200)])
@pytest.mark.parametrize("order", list(itertools.permutations([1, 1, -1, -1]))[::5])
def test_a_product_does_not_overflow_on_the_way(dtype, size, order):
    x = leaf(np.float64(size) ** np.array(order), dtype)
    y = x.prod()
    assert math.isclose(y.item(), 1, rel_tol=1e-6)
    plain, = mgx.autograd.grad(y, [x])
    np.testing.assert_allclose(plain.numpy(), 1 / x.detach().numpy(), rtol=1e-6)


def test_products_of_many_layouts_are_exact_and_so_are_their_gradients():
    rng = np.random.default_rng(0)
    for _ in range(60):
        shape = [(4,), (3, 5), (2, 3, 4), (40, 3), (0, 3)][rng.integers(5)]
        axis = [None, 0, -1, tuple(range(len(shape)))][rng.integers(4)]
        a = rng.choice([-1, 1], shape) * 10.0 ** rng.uniform(-30, 30, shape)
        for number in (0.0, -0.0, INF, -INF, NAN):
            if a.size and rng.random() < 0.15:
                a.flat[rng.integers(a.size)] = number
        x = leaf(a)
        y = x.prod(axis)
        with np.errstate(all="ignore"):
            np.testing.assert_allclose(y.detach().numpy(), a.astype(np.longdouble).prod(axis).astype(float), rtol=1e-13)
            axes = tuple(range(a.ndim)) if axis is None else axis
            for at in np.ndindex(a.shape):
                others = a.astype(np.longdouble)
                others[at] = 1
                one = np.zeros(a.shape)
                one[at] = 1
                which = np.unravel_index(one.sum(axes).argmax(), y.shape)
                plain, = mgx.autograd.grad(y[which] if y.ndim else y, [x], retain_graph=True)
                np.testing.assert_allclose(plain.numpy()[at], float(others.prod(axis)[which]), rtol=1e-13)


def test_derivatives_of_every_order_of_a_product():
    x = leaf([[2.0, 0.0, -1.5], [0.5, 3.0, 1.0]])
    for axis in (None, 0, 1):
        assert mgx.gradgradcheck(lambda x: x.prod(axis), x)
        assert mgx.gradgradcheck(lambda x: mgx.grad(lambda y: y.prod(axis).sum())(x), x)


@pytest.mark.parametrize("dtype, size", [("float32", 3e38), ("float64", 1.7e308)])
@pytest.mark.parametrize("n, inner", [(4, 1), (4, 3), (4, 40), (4096, 1), (4096, 70)])
def test_a_sum_does_not_overflow_on_the_way(dtype, size, n, inner):
    rows = np.tile([size, size, -size, -size], n // 4)[:, None] * np.ones(inner)
    for x in (leaf(rows, dtype), Tensor(np.ascontiguousarray(rows.T.astype(dtype))).T):
        np.testing.assert_array_equal(x.sum(0).detach().numpy(), np.zeros(inner))
        np.testing.assert_array_equal(x.mean(0).detach().numpy(), np.zeros(inner))
        same = x.detach().abs()
        np.testing.assert_allclose(same.mean(0).numpy(), np.full(inner, size), rtol=1e-6)
        np.testing.assert_array_equal(same.sum(0).numpy(), np.full(inner, INF))
        np.testing.assert_array_equal(same.var(0).numpy(), np.zeros(inner))
    x = leaf([size, INF, -size], dtype)
    assert x.sum().item() == INF and math.isnan((x * Tensor([1, 1, INF], dtype=dtype)).sum().item())


@pytest.mark.parametrize("x, middle, slope", [
    ([1.0, INF, INF, 2.0, INF], INF, [0, 1 / 3, 1 / 3, 0, 1 / 3]), ([INF, INF], INF, [0.5, 0.5]),
    ([-INF, -INF, 1.0, 2.0], -INF, [0.5, 0.5, 0, 0]), ([-INF, INF], -INF, [1, 0]), ([2.0, 1.0, 2.0], 2, [0.5, 0, 0.5])])
def test_the_gradient_of_a_median_is_shared_among_those_that_are_equal_to_it(x, middle, slope):
    x = leaf(x)
    y = mgx.median(x)
    assert y.item() == middle
    np.testing.assert_allclose(gradients(y, [x])[0].detach().numpy(), slope)


@pytest.mark.parametrize("x, q, want, slope", [
    ([-INF, 0.0, 1.0], 0.3, -INF, None), ([0.0, 1.0, INF], 0.75, INF, None), ([0.0, 1.0, INF], 0.5, 1.0, [0, 1, 0]),
    ([INF, INF, 0.0], 0.75, INF, [1, 0, 0]), ([-INF, INF], 0.5, NAN, None), ([1.0, 1.0, 2.0], 0.25, 1.0, [0.5, 0.5, 0]),
    ([3.0, 3.0, 3.0], 0.3, 3.0, [0.4, 0.6, 0])])
@pytest.mark.parametrize("dtype", SIZES)
def test_quantiles_between_equal_and_infinite_numbers(dtype, x, q, want, slope):
    x = leaf(x, dtype)
    y = x.quantile(q)
    assert y.item() == want or math.isnan(y.item()) and math.isnan(want)
    if slope:
        np.testing.assert_allclose(gradients(y, [x])[0].tolist(), slope, rtol=1e-6)


@pytest.mark.parametrize("reduce, end", [("amax", INF), ("amin", -INF)])
def test_an_infinite_extreme_has_its_gradient(reduce, end):
    x, source = leaf([end, 1.0, 0.0]), leaf([end, end, 1.0, 2.0])
    y = x.scatter_reduce(0, [0, 1, 2, 2], source, reduce)
    a, b = gradients(y, [x, source])
    assert a.tolist() == [0.5, 0, reduce == "amin"]
    assert b.tolist() == [0.5, 1, 0, reduce == "amax"]


@pytest.mark.parametrize("x, want, slope", [
    ([INF, 2.0], INF, [1, 0]), ([INF, INF], INF, [0.5, 0.5]), ([-INF, -INF], -INF, [0.5, 0.5]),
    ([-INF, 2.0], 2, [0, 1]),
    ([1e30, 0.0], 1e30, [1, 0]), ([-1e30, -1e30], -1e30, [0.5, 0.5]), ([NAN, 1.0], NAN, [NAN, NAN]), ([3.0], 3.0, [1])])
@pytest.mark.parametrize("dtype", SIZES)
def test_logsumexp_of_extremes(dtype, x, want, slope):
    x = leaf(x, dtype)
    y = x.logsumexp(0)
    np.testing.assert_allclose(y.item(), want, rtol=1e-7)
    np.testing.assert_array_equal(gradients(y, [x])[0].detach().numpy(), slope)
    y = mgx.stack([x, x * 0 + 1]).logsumexp((1,), keepdims=True)
    np.testing.assert_allclose(y[0].item(), want, rtol=1e-7)


def test_the_second_derivative_of_logsumexp():
    for numbers in ([1.0, 2.0, 0.5], [0.0, 0.0], [40.0, 0.0]):
        p = np.exp(np.array(numbers) - max(numbers))
        want = -np.outer(p, p) / p.sum() ** 2
        np.fill_diagonal(want, 0)
        np.fill_diagonal(want, -want.sum(1))
        np.testing.assert_allclose(np.asarray(mgx.hessian(lambda t: t.logsumexp(0))(Tensor(np.array(numbers)))), want,
                                   rtol=1e-13, atol=1e-30)


# ----- rows that nothing may look at --------------------------------------------------------------------------------

@pytest.mark.parametrize("additive", [False, True])
def test_a_query_that_may_read_no_key_reads_0(additive):
    rng = np.random.default_rng(0)
    q, k, v = (leaf(rng.normal(size=(2, 3, 4))) for _ in range(3))
    allowed = np.ones((2, 3, 3), bool)
    allowed[1, 0], allowed[0, 2, 1] = False, False
    y = F.scaled_dot_product_attention(q, k, v, attn_mask=np.where(allowed, 0, -INF) if additive else allowed)
    scores = np.where(allowed, np.exp(q.numpy() @ k.numpy().swapaxes(-1, -2) / 2), 0)
    scores[1, 0] = 0, 0, 0
    shares = scores / np.maximum(scores.sum(-1, keepdims=True), 1e-300)
    np.testing.assert_allclose(y.detach().numpy(), shares @ v.numpy(), rtol=1e-13, atol=1e-15)
    for g in gradients(y, [q, k, v]):
        assert np.isfinite(g.detach().numpy()).all()
    assert (gradients(y, [q])[0].detach().numpy()[1, 0] == 0).all()


def test_a_closed_row_leaves_the_projection_its_gradient():
    layer = nn.MultiheadAttention(4, 2, batch_first=True, rng=0)
    shut = np.zeros((4, 3, 3), bool)                        # of each sample and head
    shut[2:, 2] = True
    y, _ = layer(mgx.randn(2, 3, 4, rng=1), attn_mask=Tensor(shut))
    y.sum().backward()
    assert y[1, 2].tolist() == [0, 0, 0, 0] and all(np.isfinite(p.grad.numpy()).all() for p in layer.parameters())


def test_a_mask_of_zeros_and_ones_is_not_added():
    q = mgx.randn(1, 3, 2, rng=0)
    for mask in (mgx.ones(3, 3).tril(), np.ones((3, 3))):
        with pytest.raises(OptionError, match="pass a bool mask .*, or a float mask with -inf"):
            F.scaled_dot_product_attention(q, q, q, attn_mask=mask)
        with pytest.raises(OptionError, match="pass a bool mask"):
            nn.MultiheadAttention(2, 1, batch_first=True)(q, attn_mask=mask)
    plain = F.scaled_dot_product_attention(q, q, q).numpy()
    for mask in (np.zeros((3, 3), "f4"), np.full((3, 3), 2, "f4")):
        np.testing.assert_allclose(F.scaled_dot_product_attention(q, q, q, attn_mask=mask).numpy(), plain, rtol=1e-6)


# ----- labels none of which counts ----------------------------------------------------------------------------------

@pytest.mark.parametrize("options", [{}, dict(label_smoothing=0.1), dict(weight=[1.0, 2.0, 3.0])])
def test_no_label_counts(options):
    """As torch: the mean is nan, the sum 0, and no gradient comes from either."""
    costs = [lambda z, r: F.cross_entropy(z, [-100, -100], reduction=r, **options)]
    if "label_smoothing" not in options:
        costs.append(lambda z, r: F.nll_loss(z, [-100, -100], reduction=r, **options))
    for cost in costs:
        for reduction, want in (("mean", NAN), ("sum", 0.0), ("none", [0.0, 0.0])):
            z = leaf([[1.0, 2.0, 3.0], [1.0, 1.0, 1.0]])
            loss = cost(z, reduction)
            np.testing.assert_array_equal(loss.detach().numpy(), want)
            assert gradients(loss, [z])[0].tolist() == [[0, 0, 0], [0, 0, 0]]
    z = leaf([[1.0, 2.0, 3.0]])
    loss = F.cross_entropy(z, [0], weight=[0.0, 1.0, 1.0])
    loss.backward()
    assert math.isnan(loss.item()) and z.grad.tolist() == [[0, 0, 0]]


@pytest.mark.parametrize("number", [NAN, INF, -INF])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_a_row_that_is_ignored_may_hold_anything(number, smoothing):
    rows = np.array([[number] * 3, [1.0, 2.0, 3.0]])
    x, alone = leaf(rows), leaf(rows[1:])
    y, z = (F.cross_entropy(a, mgx.tensor(labels), label_smoothing=smoothing) for a, labels in
            ((x, [-100, 0]), (alone, [0])))
    assert y.item() == z.item()
    np.testing.assert_array_equal(gradients(y, [x])[0].tolist(), [[0, 0, 0], *gradients(z, [alone])[0].tolist()])


def test_a_step_by_ignored_labels_changes_nothing():
    net = nn.Linear(2, 2, rng=0)
    before, sgd = net.weight.tolist(), optim.SGD(net.parameters(), lr=0.1)
    F.cross_entropy(net(mgx.ones(3, 2)), np.array([-100] * 3)).backward()
    sgd.step()
    assert net.weight.tolist() == before


# ----- probabilities ------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("dtype", SIZES)
def test_costs_of_probabilities_at_the_ends_are_torch_s(dtype):
    """log at least -100, and the derivative (p - t) / max(p (1 - p), 1e-12)."""
    p = leaf([0.0, 1.0, 0.0, 1.0, 1e-30, 0.5, 0.25], dtype)
    t = leaf([1.0, 0.0, 0.0, 1.0, 1.0, 0.3, 1.0], dtype)
    loss = F.binary_cross_entropy(p, t, reduction="none")
    np.testing.assert_allclose(loss.detach().numpy(), [100, 100, 0, 0, 30 * math.log(10), math.log(2), math.log(4)],
                               rtol=RTOL[dtype])
    dp, dt = gradients(loss, [p, t])
    np.testing.assert_allclose(dp.detach().numpy(), [-1e12, 1e12, 0, 0, -1e12, 0.8, -4], rtol=RTOL[dtype])
    np.testing.assert_allclose(dt.detach().numpy(), [100, -100, 100, -100, 30 * math.log(10), 0, math.log(3)],
                               rtol=RTOL[dtype], atol=RTOL[dtype])
    second = mgx.autograd.grad(dp.sum(), [p])[0].tolist()
    np.testing.assert_allclose(second[5:], [4, 16], rtol=RTOL[dtype])
    assert np.isfinite(second).all()


@pytest.mark.parametrize("p, t, said", [([2.0], [1.0], "prediction is 2.0"), ([0.5], [-0.5], "target is -0.5"),
                                        ([-1e-7], [0.0], "prediction is -1e-07"), ([0.5], [INF], "target is inf")])
def test_what_is_no_probability_is_refused(p, t, said):
    with pytest.raises(OptionError, match=f"{said}, not between 0 and 1; for logits"):
        F.binary_cross_entropy(leaf(p), leaf(t))


# ----- matrices that are not finite ---------------------------------------------------------------------------------

OF_MATRICES = {"det": linalg.det, "slogdet": lambda a: mgx.stack(list(linalg.slogdet(a))), "inv": linalg.inv,
               "cholesky": linalg.cholesky, "eigh": linalg.eigh, "eigvalsh": linalg.eigvalsh,
               "svdvals": linalg.svdvals, "pinv": linalg.pinv, "nuclear": lambda a: linalg.matrix_norm(a, "nuc"),
               "spectral": lambda a: linalg.matrix_norm(a, 2),
               "solve": lambda a: linalg.solve(a, mgx.ones(2, 3, dtype=a.dtype)),
               "lstsq": lambda a: linalg.lstsq(a, mgx.ones(2, 1, dtype=a.dtype)).solution}


@pytest.mark.parametrize("dtype", SIZES)
@pytest.mark.parametrize("number", [NAN, INF, -INF])
@pytest.mark.parametrize("name", OF_MATRICES)
def test_no_finite_number_comes_of_a_matrix_that_is_not_finite(name, number, dtype, capfd):
    for place in ((0, 0), (0, 1), (1, 0), (1, 1), slice(None)):
        a = np.array([[2.0, 1.0], [1.0, 2.0]], dtype)
        a[place] = number
        found = OF_MATRICES[name](Tensor(a))
        for x in found if isinstance(found, tuple) else (found,):
            assert np.isnan(x.numpy()).all(), (place, x)
    assert capfd.readouterr() == ("", "")                                # and LAPACK has nothing to say


def test_other_matrices_of_the_batch_are_as_alone():
    a = np.array([[[2.0, 1.0], [1.0, 3.0]], [[NAN, 1.0], [1.0, 1.0]]])
    np.testing.assert_array_equal(linalg.det(Tensor(a)).numpy(), [linalg.det(Tensor(a[0])).item(), NAN])
    np.testing.assert_array_equal(linalg.inv(Tensor(a)).numpy()[0], linalg.inv(Tensor(a[0])).numpy())
    x = Tensor(a, requires_grad=True)
    linalg.det(x)[0].backward()
    np.testing.assert_allclose(x.grad.numpy()[0], [[3, -1], [-1, 2]], rtol=1e-14)
