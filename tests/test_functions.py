"""Functions over tensors beyond the core: derivatives of two orders by differences, and the same numbers compiled."""
import numpy as np
import pytest

import microgradx as mgx
from microgradx import linalg

RNG = np.random.default_rng(3)
A = RNG.normal(size=(3, 3)) + 2 * np.eye(3)
SPD = A @ A.T + np.eye(3)
X, Y, V, S = (RNG.normal(size=shape) for shape in ((3, 4), (3, 4), (4,), (2, 3, 4)))
P = 0.2 + np.abs(X)
I = RNG.permuted(np.tile(np.arange(4), (3, 1)), axis=1)
MASK = X > 0

# operation, operands with a gradient; what else it takes is written into it
CALLS = {
    "copysign": (lambda x: mgx.copysign(x, Y), X), "frac": (mgx.frac, 3 * X), "ldexp": (mgx.ldexp, X, Y),
    "frexp": (lambda x: mgx.frexp(x)[0], X), "nan_to_num": (mgx.nan_to_num, X), "fmax": (mgx.fmax, X, Y),
    "fmin": (mgx.fmin, X, Y), "logaddexp2": (mgx.logaddexp2, X, Y), "float_power": (mgx.float_power, P, Y),
    "addcmul": (lambda x, y, p: mgx.addcmul(x, y, p, value=2.0), X, Y, P), "clamp_min": (mgx.clamp_min, X, Y),
    "addcdiv": (mgx.addcdiv, X, Y, P), "rsub": (lambda x, y: mgx.rsub(x, y, alpha=2), X, Y),
    "deg2rad": (mgx.deg2rad, X),
    "block_diag": (mgx.block_diag, X, V), "column_stack": (lambda x, v: mgx.column_stack([x[:, 0], x]), X, V),
    "dstack": (lambda x, y: mgx.dstack([x, y]), X, Y), "tensor_split": (lambda x: mgx.tensor_split(x, 3, 1)[1], X),
    "unfold": (lambda x: mgx.unfold(x, 1, 3, 1), X), "unflatten": (lambda x: mgx.unflatten(x, 1, (2, 2)), X),
    "narrow": (lambda x: mgx.narrow(x, 1, 1, 2), X), "select": (lambda x: mgx.select(x, 1, -1), X),
    "rot90": (mgx.rot90, X), "diag_embed": (lambda x: mgx.diag_embed(x, 1), X), "diagflat": (mgx.diagflat, X),
    "meshgrid": (lambda v: mgx.meshgrid(v, v)[0], V), "cartesian_prod": (lambda v: mgx.cartesian_prod(v, v), V),
    "combinations": (mgx.combinations, V), "vander": (lambda v: mgx.vander(v, 3), V),
    "constant_pad_nd": (lambda x: mgx.constant_pad_nd(x, (1, -1), 2.0), X),
    "addmv": (lambda x, v: mgx.addmv(v[:3], x, v), X, V), "addr": (lambda x, v: mgx.addr(x, v[:3], v), X, V),
    "baddbmm": (lambda s, a: mgx.baddbmm(a, s, s.mT), S, A), "addbmm": (lambda s, a: mgx.addbmm(a, s, s.mT), S, A),
    "inner": (mgx.inner, X, Y), "kron": (mgx.kron, X, A), "cross": (mgx.cross, A, SPD),
    "dist": (mgx.dist, X, Y), "cdist": (mgx.cdist, X, Y), "pdist": (mgx.pdist, X),
    "renorm": (lambda x: mgx.renorm(x, 2, 0, 1.0), X), "vecdot": (mgx.vecdot, X, V),
    "nansum": (lambda x: mgx.nansum(x, 1), X), "nanmean": (lambda x: mgx.nanmean(x, 0), X),
    "var_mean": (lambda x: mgx.var_mean(x, 1)[0], X), "std_mean": (lambda x: mgx.std_mean(x, 0)[0], X),
    "cov": (mgx.cov, X), "corrcoef": (lambda x: mgx.corrcoef(x)[0, 1:], X), "diff": (lambda x: mgx.diff(x, 2), X),
    "trapezoid": (lambda x, v: mgx.trapezoid(x, v), X, V), "gradient": (lambda x: mgx.gradient(x)[1], X),
    "cumulative_trapezoid": (lambda x, v: mgx.cumulative_trapezoid(x, v), X, V),
    "cummax": (lambda x: mgx.cummax(x, 1).values, X), "logcumsumexp": (lambda x: mgx.logcumsumexp(x, 1), X),
    "quantile": (lambda x: mgx.quantile(x, 0.4, 1), X), "nanquantile": (lambda x: mgx.nanquantile(x, 0.4), X),
    "kthvalue": (lambda x: mgx.kthvalue(x, 2).values, X), "msort": (mgx.msort, X),
    "nanmedian": (lambda x: mgx.nanmedian(x, 1).values, X), "mode": (lambda x: mgx.mode(x, 1).values, X),
    "scatter": (lambda x, y: mgx.scatter(x, 1, I[:, :2], y), X, Y),
    "scatter multiply": (lambda x, y: mgx.scatter(x, 1, I[:, :2] // 2, y, reduce="multiply"), X, Y),
    **{f"scatter {how} {include}": (lambda x, y, how=how, include=include: mgx.scatter_reduce(
        x, 1, I // 2, y, how, include_self=include), X, Y)
       for how in ("sum", "prod", "mean", "amax", "amin") for include in (True, False)},
    "index_copy": (lambda x, y: mgx.index_copy(x, 1, [0, 2], y[:, :2]), X, Y),
    "index_fill": (lambda x: mgx.index_fill(x, 1, [0, 2], 5.0), X),
    "index_put": (lambda x, v: mgx.index_put(x, ([0, 0, 1, 2], [1, 1, 2, 3]), v, True), X, V),
    "index_reduce": (lambda x, y: mgx.index_reduce(x, 1, [0, 0], y[:, :2], "prod"), X, Y),
    "take": (lambda x: mgx.take(x, I), X), "put": (lambda x, v: mgx.put(x, [1, 5, 7, 2], v), X, V),
    "masked_scatter": (lambda x, y: mgx.masked_scatter(x, MASK, y), X, Y),
    "select_scatter": (lambda x, v: mgx.select_scatter(x, v, 0, 1), X, V),
    "slice_scatter": (lambda x, y: mgx.slice_scatter(x, y[:, :2], 1, 1, 3), X, Y),
    "diagonal_scatter": (lambda x, v: mgx.diagonal_scatter(x, v[:3]), X, V),
    "qr": (linalg.qr, A), "qr wide": (linalg.qr, X), "qr tall": (linalg.qr, S.transpose(0, 2, 1)),
    "svd": (lambda a: squared(linalg.svd(a)), A), "svd wide": (lambda x: squared(linalg.svd(x, False)), X),
    "svd tall": (lambda x: squared(linalg.svd(x, False)), S.transpose(0, 2, 1)), "pinv": (linalg.pinv, S),
    "svd full": (lambda x: linalg.svd(x).S, X), "logdet": (linalg.logdet, SPD), "matrix_exp": (linalg.matrix_exp, A),
    "matrix_power": (lambda a: linalg.matrix_power(a, -3), A), "lu": (lambda a: linalg.lu(a)[1:], A),
    "lu wide": (lambda a: linalg.lu(a)[1:], X), "lu tall": (lambda a: linalg.lu(a)[1:], S.transpose(0, 2, 1)),
    "lu_solve": (lambda a, x: linalg.lu_solve(*linalg.lu_factor(a), x), A, X),
    "cholesky_solve": (lambda a, x: linalg.cholesky_solve(x, a), A, X), "cond": (linalg.cond, A),
    "solve_triangular": (lambda a, x: linalg.solve_triangular(a, x, upper=False), A, X),
    "cholesky_inverse": (linalg.cholesky_inverse, A),
    "solve right": (lambda a, x: linalg.solve(a, x.mT, left=False), A, X),
    "eigh lower": (lambda a: linalg.eigh(a + a.mT, "L").eigenvalues, SPD),
    "norm": (lambda x: linalg.norm(x, "nuc"), X),
    "lgamma": (mgx.lgamma, 3 * X), "digamma": (mgx.digamma, 3 * X), "polygamma": (lambda x: mgx.polygamma(2, x), P),
    "mvlgamma": (lambda x: mgx.mvlgamma(x + 1, 2), P), "erfinv": (mgx.erfinv, np.tanh(X)), "i0": (mgx.i0, 3 * X),
    "ndtri": (mgx.special.ndtri, 1 / (1 + np.exp(X))), "i1": (mgx.special.i1, X), "i0e": (mgx.special.i0e, X),
    "i1e": (mgx.special.i1e, 4 * X), "sinc": (mgx.sinc, X), "log_ndtr": (mgx.special.log_ndtr, 3 * X),
    "erfcx": (mgx.special.erfcx, X), "entr": (mgx.special.entr, P), "xlog1py": (mgx.special.xlog1py, X, P),
    "ndtr": (mgx.special.ndtr, X), "igamma": (lambda x: mgx.igamma(mgx.Tensor(P, dtype=x.dtype), x), 2 * P),
    "bincount": (lambda v: mgx.bincount(mgx.tensor([0, 2, 2, 1]), v), V), "nextafter": (mgx.nextafter, X, Y),
    "unique": (mgx.unique, X), "unique_consecutive": (mgx.unique_consecutive, X),
    "multi_dot": (lambda x, a: linalg.multi_dot([x.mT, a, a, x]), X, A), "linalg.vander": (linalg.vander, V)}


def squared(parts):
    """The signs of singular vectors are anybody's."""
    return parts.U.square(), parts.S, parts.Vh.square()


def total(found):
    """A sum of the numbers with weights that are all different."""
    parts = found if isinstance(found, (tuple, list)) else [found]
    return sum((y * mgx.Tensor(np.cos(np.arange(y.size)).reshape(y.shape), dtype=y.dtype)).sum() for y in parts)


def leaves(operands, dtype):
    return [mgx.Tensor(x.astype(dtype), requires_grad=True) for x in operands]


@pytest.mark.parametrize("name", CALLS)
def test_derivatives(name):
    function, *operands = CALLS[name]
    xs = leaves(operands, "float64")
    assert mgx.gradcheck(lambda *xs: total(function(*xs)), xs)
    assert mgx.gradgradcheck(lambda *xs: total(function(*xs)), xs)


# how many results there are depends on the numbers, which a program cannot know
COUNTED = {"bincount", "unique", "unique_consecutive"}


@pytest.mark.filterwarnings("ignore::microgradx.errors.CompileWarning")
@pytest.mark.parametrize("name", sorted(COUNTED))
def test_what_counts_runs_as_it_is(name):
    function, *operands = CALLS[name]
    compiled = mgx.compile(lambda x: total(function(x)))
    for numbers in (operands[0], operands[0] + 1, np.zeros_like(operands[0]), operands[0]):
        x, = leaves([numbers], "float32")
        assert compiled(x).item() == total(function(x)).item()


@pytest.mark.parametrize("name", sorted(CALLS.keys() - COUNTED))
def test_compiled(name):
    """Four calls with other numbers: to the bit what an eager call gives, and its gradients."""
    function, *operands = CALLS[name]

    def step(*xs):
        y = total(function(*xs))
        return (y, *mgx.autograd.grad(y, list(xs), allow_unused=True))

    compiled = mgx.compile(step)
    for k in range(4):
        xs = leaves([x * (1 + 0.01 * k) for x in operands], "float32")
        for got, want in zip(compiled(*xs), step(*xs)):
            assert (got is None) == (want is None)
            assert got is None or got.dtype == want.dtype and np.array_equal(got.numpy(), want.numpy(), True)


@pytest.mark.parametrize("name", CALLS)
def test_both_dtypes(name):
    function, *operands = CALLS[name]
    wide = "float64" if name == "float_power" else "float32"
    found = function(*leaves(operands, "float32"))
    assert {y.dtype.name for y in (found if isinstance(found, (tuple, list)) else [found])} == {wide}
