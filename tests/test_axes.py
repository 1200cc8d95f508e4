"""Arrays of many axes: every family of operations with as many axes as there can be, and with one more.

Each row of the table is a function of an array and of `at`, which tells where the k-th of its four long axes is. It
runs over the array with all axes, where it is compared with NumPy, and over the same numbers without the axes of length
1, where its gradients are compared to the bit.
"""
import copy
import pickle
import string

import numpy as np
import pytest

import microgradx as mgx
from microgradx import Tensor
from microgradx.errors import ShapeError
from microgradx.nn import functional as F

MOST = 32
LONG = {0: 2, 9: 3, 20: 2, 31: 2}                       # the axes that are not of length 1
SHAPE = tuple(LONG.get(d, 1) for d in range(MOST))
PLACES, LENGTHS = tuple(LONG), tuple(LONG.values())
LETTERS = string.ascii_lowercase + "ABCDEF"             # one for each axis


def many(k):
    return PLACES[k]


def few(k):
    return k % 4


def ones(x):
    return (1,) * (x.ndim - 1)


def numbers(dtype, lengths=LENGTHS):
    """Without ties, so that what is sorted and picked is the same anywhere."""
    return np.random.default_rng(3).permutation(24).reshape(lengths).astype(dtype) / 8 - 1.3


def equation(letters):
    return f"{letters}Y,{letters}Z->{letters[1:]}Z"


def order(x, at):
    axes = list(range(x.ndim))
    axes[at(0)], axes[at(2)] = axes[at(2)], axes[at(0)]
    return axes[1:] + axes[:1]


# {name: (ours, NumPy's)}; None where NumPy has none of its own
TABLE = {
    "unary": (lambda x, at: x.exp() + x.tanh(), lambda a, at: np.exp(a) + np.tanh(a)),
    "binary": (lambda x, at: x * x / (x.square() + 2), lambda a, at: a * a / (a * a + 2)),
    "broadcast": (lambda x, at: x * x.sum(at(1), keepdims=True), lambda a, at: a * a.sum(at(1), keepdims=True)),
    "broadcast both": (lambda x, at: x.sum(at(0), keepdims=True) + x.amax(at(3), keepdims=True),
                       lambda a, at: a.sum(at(0), keepdims=True) + a.max(at(3), keepdims=True)),
    "strided": (lambda x, at: (x.T * 2).exp() * x.T[::-1], lambda a, at: np.exp(a.T * 2) * a.T[::-1]),
    "where": (lambda x, at: mgx.where(x > 0, x, x.flip(at(0))), lambda a, at: np.where(a > 0, a, np.flip(a, at(0)))),
    "in place": (lambda x, at: (x * 1).__imul__(x.sum(at(1), keepdims=True)),
                 lambda a, at: a * a.sum(at(1), keepdims=True)),
    "copy_": (lambda x, at: (x * 1).copy_(x.sum(at(3), keepdims=True)),
              lambda a, at: np.broadcast_to(a.sum(at(3), keepdims=True), a.shape)),
    "sum": (lambda x, at: x.sum((at(0), at(3))), lambda a, at: a.sum((at(0), at(3)))),
    "sum, inner": (lambda x, at: x.sum((at(1), at(2)), keepdims=True),
                   lambda a, at: a.sum((at(1), at(2)), keepdims=True)),
    "sum, all": (lambda x, at: x.sum() + x.sum(tuple(range(x.ndim))), lambda a, at: a.sum() * 2),
    "sum, none": (lambda x, at: x.sum(()) + x, lambda a, at: a + a),
    "mean": (lambda x, at: x.mean((at(0), at(3))), lambda a, at: a.mean((at(0), at(3)))),
    "var": (lambda x, at: x.var((at(1), at(3))), lambda a, at: a.var((at(1), at(3)))),
    "std": (lambda x, at: x.std(at(1)), lambda a, at: a.std(at(1))),
    "amax": (lambda x, at: x.amax((at(0), at(3))), lambda a, at: a.max((at(0), at(3)))),
    "max": (lambda x, at: x.max(at(1)).values, lambda a, at: a.max(at(1))),
    "norm": (lambda x, at: x.norm(axis=(at(1), at(2))), lambda a, at: np.sqrt((a * a).sum((at(1), at(2))))),
    "prod": (lambda x, at: x.prod((at(0), at(3))), lambda a, at: a.prod((at(0), at(3)))),
    "logsumexp": (lambda x, at: x.logsumexp((at(0), at(3))), lambda a, at: np.log(np.exp(a).sum((at(0), at(3))))),
    "softmax": (lambda x, at: x.softmax(at(1)), lambda a, at: np.exp(a) / np.exp(a).sum(at(1), keepdims=True)),
    "log_softmax": (lambda x, at: x.log_softmax(-1),
                    lambda a, at: a - np.log(np.exp(a).sum(-1, keepdims=True))),
    "cumsum": (lambda x, at: x.cumsum(at(1)), lambda a, at: a.cumsum(at(1))),
    "cumprod": (lambda x, at: mgx.cumprod(x, at(1)), lambda a, at: a.cumprod(at(1))),
    "sort": (lambda x, at: x.sort(at(1)).values, lambda a, at: np.sort(a, at(1))),
    "topk": (lambda x, at: x.topk(1, at(1)).values, lambda a, at: a.max(at(1), keepdims=True)),
    "median": (lambda x, at: x.median(at(1)).values, lambda a, at: np.median(a, at(1))),
    "gather": (lambda x, at: x.gather(at(1), x.argsort(at(1))), lambda a, at: np.sort(a, at(1))),
    "scatter_add": (lambda x, at: x.scatter_add(at(1), x.argsort(at(1)), x * x), None),
    "scatter": (lambda x, at: x.scatter(at(1), x.argsort(at(1)), x * x), None),
    "index_select": (lambda x, at: x.index_select(at(1), [2, 0]), lambda a, at: a.take([2, 0], at(1))),
    "index_add": (lambda x, at: x.index_add(at(1), [2, 0, 2], x * x), None),
    "masked_fill": (lambda x, at: x.masked_fill(x > 0, 1.0), lambda a, at: np.where(a > 0, 1, a)),
    "mask": (lambda x, at: x[x > 0] * 2, lambda a, at: a[a > 0] * 2),
    "slice": (lambda x, at: x[..., ::-1][1:], lambda a, at: a[..., ::-1][1:]),
    "integers": (lambda x, at: x[0, ..., 1], lambda a, at: a[0, ..., 1]),
    "array": (lambda x, at: x[(slice(None),) * at(1) + ([2, 0, 2],)],
              lambda a, at: a[(slice(None),) * at(1) + ([2, 0, 2],)]),
    "arrays": (lambda x, at: x[[1, 0, 1], ..., [1, 0, 0]], lambda a, at: a[[1, 0, 1], ..., [1, 0, 0]]),
    "setitem": (lambda x, at: written(x * 1, 5.0), lambda a, at: written(a.copy(), 5.0)),
    "setitem, array": (lambda x, at: written(x * 1, x[0, ..., 1:]), lambda a, at: written(a.copy(), a[0, ..., 1:])),
    "permute": (lambda x, at: x.permute(order(x, at)) * 2, lambda a, at: a.transpose(order(a, at)) * 2),
    "transpose": (lambda x, at: x.transpose(at(0), at(1)) * 2, lambda a, at: a.swapaxes(at(0), at(1)) * 2),
    "movedim": (lambda x, at: mgx.movedim(x, at(0), at(2)), lambda a, at: np.moveaxis(a, at(0), at(2))),
    "reshape": (lambda x, at: x.T.reshape(-1, 4).reshape(x.shape), lambda a, at: a.T.reshape(-1, 4).reshape(a.shape)),
    "squeeze": (lambda x, at: x[..., :1].squeeze(), lambda a, at: a[..., :1].squeeze()),
    "expand": (lambda x, at: x[..., :1].expand(x.shape) * 2, lambda a, at: np.broadcast_to(a[..., :1], a.shape) * 2),
    "flip": (lambda x, at: x.flip() * 2, lambda a, at: np.flip(a) * 2),
    "roll": (lambda x, at: x.roll(1, at(1)), lambda a, at: np.roll(a, 1, at(1))),
    "concat": (lambda x, at: mgx.concat([x, x * 2], at(1)), lambda a, at: np.concatenate([a, a * 2], at(1))),
    "stack": (lambda x, at: mgx.stack([x[..., 0], x[..., 1] * 2], at(1)),
              lambda a, at: np.stack([a[..., 0], a[..., 1] * 2], at(1))),
    "pad": (lambda x, at: mgx.pad(x, [(0, 0)] * (x.ndim - 1) + [(1, 2)], 3.0),
            lambda a, at: np.pad(a, [(0, 0)] * (a.ndim - 1) + [(1, 2)], constant_values=3)),
    "split": (lambda x, at: x.split(2, at(1))[0] * 2, lambda a, at: np.split(a, [2], at(1))[0] * 2),
    "unbind": (lambda x, at: x.unbind(at(1))[1] * 2, lambda a, at: a.take(1, at(1)) * 2),
    "diagonal": (lambda x, at: mgx.diagonal(x, 0, at(0), at(3)) * 2, lambda a, at: np.diagonal(a, 0, at(0), at(3)) * 2),
    "tile": (lambda x, at: x.tile(*ones(x), 2), lambda a, at: np.tile(a, (*ones(a), 2))),
    "repeat": (lambda x, at: x.repeat(2, axis=at(1)), lambda a, at: np.repeat(a, 2, at(1))),
    "tril": (lambda x, at: x.transpose(-2, at(1)).tril(), lambda a, at: np.tril(a.swapaxes(-2, at(1)))),
    "matmul": (lambda x, at: x.transpose(-2, at(1)) @ x.transpose(-2, at(1)).mT,
               lambda a, at: a.swapaxes(-2, at(1)) @ a.swapaxes(-2, at(1)).swapaxes(-1, -2)),
    "matmul, flat": (lambda x, at: x @ (x.flatten()[:6].reshape(2, 3) + 0),
                     lambda a, at: a @ a.reshape(-1)[:6].reshape(2, 3)),
    "matmul, vector": (lambda x, at: x @ x.flatten()[:2], lambda a, at: a @ a.reshape(-1)[:2]),
    "linear": (lambda x, at: mgx.nn.functional.linear(x, x.flatten()[:6].reshape(3, 2)),
               lambda a, at: a @ a.reshape(-1)[:6].reshape(3, 2).T),
    "einsum": (lambda x, at: mgx.einsum("...i,...i->...", x, x * 2), lambda a, at: (a * a * 2).sum(-1)),
    "einsum, letters": (lambda x, at: mgx.einsum(equation(LETTERS[:x.ndim - 1]), x, x),
                        lambda a, at: (a.sum(-1, keepdims=True) * a).sum(0)),
    "einsum, outer": (lambda x, at: mgx.einsum("i...,j...->ij...", x[..., 0], x[..., 1]),
                      lambda a, at: a[..., 0][:, None] * a[..., 1][None]),
    "tensordot": (lambda x, at: mgx.tensordot(x, x, (tuple(range(x.ndim - 1)),) * 2),
                  lambda a, at: a.reshape(-1, 2).T @ a.reshape(-1, 2)),
    "layer_norm": (lambda x, at: mgx.nn.functional.layer_norm(x, (2,)), None),
    "round trip": (lambda x, at: x.astype("float64").astype(x.dtype) * 2, lambda a, at: a * 2)}


def written(x, value):
    x[1, ..., 1:] = value
    return x


def gradient(f, x, at):
    y = f(x, at)
    weights = np.arange(1.0, y.size + 1).reshape(y.shape)
    (y * Tensor(weights, dtype=y.dtype)).sum().backward()
    return y, x.grad


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", TABLE)
def test_as_many_axes_as_there_can_be(name, dtype):
    ours, theirs = TABLE[name]
    wide, narrow = (Tensor(numbers(dtype, shape), requires_grad=True) for shape in (SHAPE, LENGTHS))
    y, g = gradient(ours, wide, many)
    few_y, few_g = gradient(ours, narrow, few)
    if theirs is not None:
        truth = theirs(numbers(dtype, SHAPE), many)
        assert y.shape == truth.shape
        np.testing.assert_allclose(y.numpy(), truth, rtol=1e-5 if dtype == "float32" else 1e-12)
    np.testing.assert_array_equal(y.numpy().ravel(), few_y.numpy().ravel())
    np.testing.assert_array_equal(g.numpy().reshape(LENGTHS), few_g.numpy())


def test_derivatives_of_every_order():
    x = Tensor(numbers("float64", SHAPE))
    y = x.squeeze()
    assert np.array_equal(mgx.hvp(lambda x: (x ** 3).sum(), (x,), (x,))[0].squeeze().numpy(), (6 * y * y).numpy())
    rows = mgx.jacobian(lambda x: x.sum())(x)                       # of no axes and 32
    columns = mgx.jacobian(lambda x: x.square().sum(), mode="forward")(x)
    assert rows.shape == columns.shape == SHAPE and (rows == 1).numpy().all()
    assert np.array_equal(columns.numpy(), 2 * x.numpy())
    part = x[(0,) * 16]
    both = mgx.jacobian(lambda x: x * 2)(part)
    assert both.shape == part.shape * 2
    assert np.array_equal(both.reshape(part.size, part.size).numpy(), 2 * np.eye(part.size))


def test_through_more_axes_than_there_can_be():
    """An index may name more than the result has."""
    x = Tensor(numbers("float64", SHAPE), requires_grad=True)
    key = (0,) * 20 + (None,) * 20 + (1, ...)
    y = x[key]
    assert np.array_equal(y.detach().numpy(), numbers("float64", SHAPE)[key])
    y.sum().backward()
    assert x.grad.sum().item() == y.size


def copies(x):
    return [pickle.loads(pickle.dumps(x)), copy.deepcopy(x), Tensor(np.asarray(x)), Tensor(np.from_dlpack(x)),
            mgx.from_dlpack(x), mgx.from_numpy(np.asarray(x)), Tensor(np.asarray(memoryview(x))),
            Tensor(x.tolist(), dtype=x.dtype)]


@pytest.mark.parametrize("dtype", ["float32", "float64", "int64", "bool"])
def test_copies(dtype):
    whole = Tensor(numbers("float64", SHAPE)).astype(dtype)
    for x in (whole, whole.T, whole[..., ::2]):
        for y in copies(x):
            assert y.shape == x.shape and y.dtype == x.dtype
            assert np.array_equal(y.numpy(), x.numpy())
    assert repr(x).startswith("Tensor(" + "[" * MOST)


def test_files(tmp_path):
    x = Tensor(numbers("float32", SHAPE))
    mgx.save({"x": x, "T": x.T}, tmp_path / "x.safetensors")
    found = mgx.load(tmp_path / "x.safetensors")
    assert np.array_equal(found["x"].numpy(), x.numpy()) and np.array_equal(found["T"].numpy(), x.T.numpy())


def test_data_of_other_axes_is_refused_and_of_the_same_taken():
    x, other = Tensor(numbers("float64", SHAPE)), Tensor(numbers("float64", SHAPE).T.copy().T)
    view = x.T
    with pytest.raises(ShapeError):
        x.data = other.squeeze()
    x.data = other
    assert x.strides == other.strides and np.array_equal(x.numpy(), view.T.numpy())


def step(x, w):
    y = (x.permute(*range(1, x.ndim), 0) * w).tanh() + x.sum(9, keepdims=True).permute(*range(1, x.ndim), 0)
    return (y.T.exp() * y.T).cumsum(0) * y.T[:1]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_compiled(dtype):
    w = Tensor(numbers(dtype, SHAPE).transpose(*range(1, MOST), 0).copy(), requires_grad=True)
    program = mgx.compile(step)
    for k in range(4):
        x = Tensor(numbers(dtype, SHAPE) + k)
        found = []
        for f in (program, step):
            w.grad = None
            y = f(x, w)
            y.sum().backward()
            found.append((y.detach().numpy(), w.grad.numpy()))
        for one, other in zip(*found, strict=True):
            assert np.array_equal(one, other)
    assert str(program.explain()).startswith("8 launches, 8 captured")


def test_a_profile_and_nan():
    x = Tensor(numbers("float64", SHAPE))
    with mgx.profile() as p:
        (x.T * x.T[:1]).exp()
    assert "exp" in str(p)
    with mgx.detect_nan(), pytest.raises(mgx.errors.NonFiniteError, match="log"):
        (x.T * 1.0).log()


def test_vectorize_of_many_numbers():
    """Samples have at most one axis, as before; what it gives can have any."""
    f = mgx.vectorize(lambda a, b: (a * b).tanh())
    x = numbers("float64", (24,))
    assert np.allclose(Tensor(f(x, x)).reshape(SHAPE).numpy(), np.tanh(numbers("float64", SHAPE) ** 2))


full = Tensor(np.zeros((1,) * MOST))
ABOVE = {
    "Tensor": lambda: Tensor(np.zeros((1,) * 33)), "most of NumPy's": lambda: Tensor(np.zeros((1,) * 64)),
    "from_numpy": lambda: mgx.from_numpy(np.zeros((1,) * 33)),
    "from_dlpack": lambda: mgx.from_dlpack(np.zeros((1,) * 33)),
    "zeros": lambda: mgx.zeros((1,) * 33), "full": lambda: mgx.full((1,) * 33, 2.0),
    "rand": lambda: mgx.rand((1,) * 33),
    "randn": lambda: mgx.randn((1,) * 33), "rand, NumPy": lambda: mgx.rand((1,) * 33, rng=np.random.default_rng(0)),
    "randint": lambda: mgx.randint(0, 2, (1,) * 33),
    "reshape": lambda: full.reshape((1,) * 33), "unsqueeze": lambda: full.unsqueeze(0),
    "expand": lambda: full.expand((1,) * 33),
    "stack": lambda: mgx.stack([full, full]), "None": lambda: full[None], "... None": lambda: full[..., None],
    "array": lambda: full[np.zeros((1, 1), int)], "mask": lambda: full[None][np.ones((1,) * 33, bool)],
    "setitem": lambda: full.__setitem__(None, 1.0), "assigned": lambda: full.__setitem__(0, np.zeros((1,) * 33)),
    "tile": lambda: full.tile((1,) * 33), "outer": lambda: mgx.tensordot(full, full, 0),
    "einsum": lambda: mgx.einsum("...,b...->b...", full, full[..., None, :0]),
    "pow": lambda: full ** np.zeros((1,) * 33),
    "add": lambda: full + np.zeros((1,) * 33), "__iadd__": lambda: full.__iadd__(np.zeros((1,) * 33)),
    "jacobian": lambda: mgx.jacobian(lambda x: x)(full),
    "where": lambda: mgx.where(np.ones((1,) * 33, bool), full, 0.0)}


@pytest.mark.parametrize("name", ABOVE)
def test_one_axis_more(name):
    with pytest.raises(ShapeError, match="at most 32 axes, not (33|64)"):
        ABOVE[name]()


def test_a_tensor_of_few_axes_is_as_small_as_before():
    """Head, two addresses, room for six lengths and strides: 184 bytes; 200 in which there was room for eight."""
    assert Tensor.__basicsize__ <= 200


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("n", [1, 2, 3, 7, 8, 9, 33, 70, 2100])
def test_reductions_neither_overflow_nor_vanish_on_the_way(n, dtype):
    """One result among many ordinary ones that are made with it, in each direction."""
    huge, tiny = np.finfo(dtype).max / 2, np.finfo(dtype).tiny * 4
    for shape, axis in [((n, 600), 0), ((600, n), 1), ((4, n, 150), 1)]:
        x = np.ones(shape, dtype)
        at = (1,) * len(shape)
        for value in (huge, tiny, np.inf, np.nan):
            y = np.moveaxis(x.copy(), axis, -1)
            y[at[:-1]] = value
            if value == huge and n > 2:                 # they cancel, after partial sums that are too large
                y[at[:-1]][:] = [huge] * (n // 2) + [-huge] * (n // 2) + [0] * (n % 2)
            y = Tensor(np.ascontiguousarray(np.moveaxis(y, -1, axis)))
            row = np.moveaxis(y.numpy(), axis, -1)[at[:-1]].astype(np.longdouble)
            with np.errstate(all="ignore"):
                product = row.prod() if row.all() or not np.isfinite(row).all() else row[0] * 0
                wanted = {"sum": row.sum(), "mean": row.mean(), "norm": np.sqrt((row * row).sum()), "prod": product,
                          "amax": row.max(), "amin": row.min()}
                wanted = {name: truth.astype(dtype) for name, truth in wanted.items()}
            for name, truth in wanted.items():
                got = getattr(y, name)(dim=axis).numpy()
                np.testing.assert_allclose(got[at[:-1]], truth, rtol=8 * np.finfo(dtype).eps)
                rest = np.delete(got.ravel(), np.ravel_multi_index(at[:-1], got.shape))
                np.testing.assert_allclose(rest, {"sum": n, "norm": np.sqrt(n)}.get(name, 1), rtol=1e-6)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_rows_whose_squares_overflow(dtype):
    """Norms and deviations of rows, of columns, of every second row, and of all together."""
    size = dtype(1e30 if dtype == np.float32 else 1e200)
    rows = np.random.default_rng(0).uniform(0.5, 2, (5, 4200)) * np.where(np.arange(4200) % 3, 1, -1)
    for n in (1, 2, 5, 8, 9, 64, 4200):
        x = (rows[:, :n] * size).astype(dtype)
        wide = x.astype(np.longdouble)
        views = (x, 1), (x.T.copy(), 0), (np.repeat(x, 2, 0)[::2], 1), (np.repeat(x, 2, 1)[:, ::2], 1), (x.T, 0)
        for view, axis in views:
            for name, truth in (("norm", np.sqrt((wide * wide).sum(1))), ("std", wide.std(1)), ("sum", wide.sum(1))):
                found = (Tensor(view).std(axis, 0) if name == "std" else getattr(Tensor(view), name)(dim=axis)).numpy()
                np.testing.assert_allclose(found / size, (truth / size).astype(dtype), rtol=1e-5, atol=1e-6)
        whole = np.sqrt((wide * wide).sum()) / size
        np.testing.assert_allclose(Tensor(x).norm().item() / size, float(whole), 1e-5)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_means_are_quotients(dtype):
    """Of a sum that is exact: rounded once, as that of equal squares, of losses and of windows is."""
    for n in (3, 7, 49, 98, 103, 107, 161, 187, 196, 197, 1000):
        ones = Tensor(np.ones((1, 1, n), dtype))
        whole = Tensor(np.arange(n, dtype=dtype))
        assert ones.mean().item() == F.mse_loss(ones, ones * 0).item() == F.avg_pool1d(ones, n).item() == 1
        assert whole.mean().item() == dtype(n * (n - 1) // 2) / dtype(n)
        assert whole.var(ddof=1).item() == pytest.approx(n * (n + 1) / 12, rel=float(8 * np.finfo(dtype).eps))
        logits = Tensor(np.zeros((n, 1), dtype))
        assert F.kl_div(ones.reshape(n, 1) * 0 - 1, ones.reshape(n, 1), "batchmean").item() == 1
        assert F.cross_entropy(logits, np.zeros(n, int)).item() == 0
