"""The array node against NumPy: making, converting, reducing, indexing, joining, reshaping, and its gradients."""
import copy
import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import microgradx as mgx
from microgradx import Tensor, errors

F32, F64, I64, BOOL = map(np.dtype, ("float32", "float64", "int64", "bool"))
RNG = np.random.default_rng(5)
few = settings(deadline=None, max_examples=200, derandomize=True, database=None)


def leaf(data, dtype=np.float64):
    return Tensor(np.asarray(data, dtype), requires_grad=True)


def same(x, truth, **kwargs):
    """Shape, dtype and numbers."""
    x = x.detach().numpy() if isinstance(x, Tensor) else x
    assert x.shape == np.shape(truth) and x.dtype == np.asarray(truth).dtype, (x.shape, x.dtype)
    np.testing.assert_array_equal(x, truth) if not kwargs else np.testing.assert_allclose(x, truth, **kwargs)


def slope(f, arrays, directions, h=1e-5):
    """The central difference of f along the directions, of fourth order."""
    at = lambda t: f(*[a + t * d for a, d in zip(arrays, directions)])
    return (8 * (at(h) - at(-h)) - (at(2 * h) - at(-2 * h))) / (12 * h)


# ----- making --------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("data, dtype, shape", [
    (2.0, F32, ()), (2, I64, ()), (True, BOOL, ()), ([1.0, 2.0], F32, (2,)), ([1, 2], I64, (2,)), ([1, 2.0], F32, (2,)),
    ([[True], [False]], BOOL, (2, 1)), ([], F32, (0,)), ([[], []], F32, (2, 0)), (range(3), I64, (3,)),
    ((1.0, 2.0), F32, (2,)), ([np.float64(1)], F32, (1,)), (np.ones(2), F64, (2,)), (np.ones(2, "f4"), F32, (2,)),
    (np.ones(2, "f2"), F32, (2,)), (np.ones(2, "i4"), I64, (2,)), (np.ones(2, "u1"), I64, (2,)),
    (np.ones(2, ">f8"), F64, (2,)), (np.ones(2, bool), BOOL, (2,)), (np.array(1.0), F64, ()), (np.float32(1), F32, ())])
def test_dtypes_of_what_is_made(data, dtype, shape):
    """``tensor`` finds the dtype of Python's numbers; ``Tensor`` makes the default dtype of all of them."""
    default = dtype if isinstance(data, (np.ndarray, np.generic)) else F32
    for make, wanted in ((mgx.tensor, dtype), (Tensor, default)):
        x = make(data)
        assert x.dtype == wanted and x.shape == shape and not x.requires_grad and x.grad is None
        assert x.tolist() == np.asarray(data).tolist()


def test_the_default_dtype():
    assert mgx.get_default_dtype() == F32
    mgx.set_default_dtype("float64")
    try:
        made = [Tensor([1.0, 2]), Tensor(2), mgx.tensor([1.5]), mgx.zeros(2), mgx.linspace(0, 1, 3), mgx.eye(2),
                mgx.arange(0.0, 2.0), mgx.tensor([1, 2]) / 2, mgx.tensor([1, 2]).mean(), mgx.tensor([1, 2]).exp()]
        assert {x.dtype for x in made} == {F64}
        assert Tensor(np.ones(1, "f4")).dtype == F32 and repr(Tensor([1.0])) == "Tensor([1.])"
    finally:
        mgx.set_default_dtype("float32")
    with pytest.raises(TypeError, match="float32 or float64, not int64"):
        mgx.set_default_dtype("int64")


@pytest.mark.parametrize("dtype", ["float32", "float64", "int64", "bool", np.float64, F32, int, float, bool])
def test_a_dtype_may_be_named(dtype):
    assert Tensor([1, 0], dtype=dtype).dtype == np.dtype(dtype)
    assert Tensor(Tensor([1.0]), dtype=dtype).dtype == Tensor([1.0]).astype(dtype).dtype == np.dtype(dtype)


def test_who_shares_and_who_copies():
    a = np.array([1.0, 2.0])
    copied, shared = Tensor(a), mgx.from_numpy(a)
    a[0] = 9.0
    assert copied.tolist() == [1.0, 2.0] and shared.tolist() == [9.0, 2.0]
    shared.fill_(4.0)
    assert a.tolist() == [4.0, 4.0]
    out, view = shared.numpy(), np.asarray(shared)
    out[0] = 7.0
    assert shared.tolist() == [4.0, 4.0] and np.shares_memory(view, a)
    with pytest.raises(ValueError, match="read-only"):
        view[0] = 1.0
    with pytest.raises(ValueError):
        view.flags.writeable = True
    with pytest.raises((BufferError, TypeError)):
        memoryview(shared)[0] = 1.0
    assert Tensor(shared).fill_(1.0) is not shared and shared.tolist() == [4.0, 4.0]
    assert np.array(shared, dtype="f4").dtype == F32 and not np.shares_memory(np.array(shared), a)


def test_the_array_outlives_its_name():
    x = mgx.from_numpy(np.arange(100_000.0))
    view = np.asarray(x * 1.0)
    assert x.sum().item() == view.sum() == 4999950000.0


def test_detach_clone_data():
    x = leaf([1.0, 2.0])
    d, c = x.detach(), x.clone()
    assert not d.requires_grad and d.is_leaf and c.requires_grad and not c.is_leaf and x.is_leaf
    d.fill_(5.0)
    assert x.tolist() == x.data.tolist() == [5.0, 5.0] and c.tolist() == [1.0, 2.0]
    assert x.version == d.version == x.data.version
    c.sum().backward()
    assert x.grad.tolist() == [1.0, 1.0]
    x.data = np.array([7.0, 8.0])
    assert x.tolist() == [7.0, 8.0] and x.requires_grad and d.tolist() == [5.0, 5.0]


def test_requires_grad_rules():
    x = Tensor([1.0])
    assert not (x * 2).requires_grad
    x.requires_grad = True
    y = x * 2
    assert y.requires_grad and not (y > 1).requires_grad and not y.argmax().requires_grad
    assert x.requires_grad_(False) is x and not (x * 2).requires_grad
    with pytest.raises(RuntimeError, match="detach"):
        y.requires_grad = False
    for data in ([1, 2], [True]):
        with pytest.raises(TypeError, match="float"):
            mgx.tensor(data, requires_grad=True)


def test_no_grad_and_enable_grad():
    x = leaf([1.0])
    with mgx.no_grad():
        assert not (x * 2).requires_grad and not mgx.is_grad_enabled()
        with mgx.enable_grad():
            assert (x * 2).requires_grad
        assert not mgx.is_grad_enabled()
    with pytest.raises(ZeroDivisionError), mgx.no_grad():
        1 / 0
    assert mgx.is_grad_enabled() and not mgx.no_grad()(lambda: x * 2)().requires_grad


def test_grad_may_be_assigned():
    x = leaf([1.0, 2.0])
    x.grad = Tensor(np.array([1.0, 1.0]))
    (x * 3).sum().backward()
    assert x.grad.tolist() == [4.0, 4.0]
    x.grad = None
    assert x.grad is None


def test_to_python():
    x = Tensor([[1.0, 2.0], [3.0, 4.0]])
    assert len(x) == 2 and x.size == 4 and x.ndim == 2 and x.tolist() == [[1.0, 2.0], [3.0, 4.0]]
    assert [row.tolist() for row in x] == x.tolist() and [v.item() for v in x[0]] == [1.0, 2.0]
    one = Tensor(2.5)
    assert one.item() == float(one) == 2.5 and int(one) == 2 and bool(one) and not bool(mgx.tensor([0]))
    assert [10, 20, 30][mgx.tensor(1)] == 20 and type(mgx.tensor(3).item()) is int
    assert type(mgx.tensor(True).item()) is bool
    assert len({x, one, x}) == 2 and x.T.strides == (4, 8) and (x == x).tolist() == [[True] * 2] * 2
    with pytest.raises(TypeError):
        [10, 20][one]


def test_repr():
    assert repr(Tensor([1.0])) == "Tensor([1.])" and repr(mgx.tensor([1])) == "Tensor([1], dtype=int64)"
    assert repr(leaf([1.0])) == "Tensor([1.], dtype=float64, requires_grad=True)"


@pytest.mark.parametrize("again", [copy.copy, copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))])
def test_copies_of_a_leaf(again):
    x = leaf([1.0, 2.0])
    y = again(x)
    same(y, x.numpy())
    assert y.requires_grad and y.is_leaf
    y.detach().fill_(0.0)
    assert x.tolist() == [1.0, 2.0]
    with pytest.raises(RuntimeError, match="leaves"):
        again(x * 2)


# ----- dtypes --------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("a, b, sum_, quotient", [
    (F32, F32, F32, F32), (F32, F64, F64, F64), (F64, F64, F64, F64), (F32, I64, F32, F32), (F64, I64, F64, F64),
    (F32, BOOL, F32, F32), (F64, BOOL, F64, F64), (I64, I64, I64, F32), (I64, BOOL, I64, F32), (BOOL, BOOL, BOOL, F32)])
def test_promotion(a, b, sum_, quotient):
    x, y = Tensor(np.ones(2, a)), Tensor(np.ones(2, b))
    assert (x + y).dtype == (y + x).dtype == sum_ and (x / y).dtype == (y / x).dtype == quotient
    assert (x + y.numpy()).dtype == (x.numpy() + y).dtype == sum_ and (x > y).dtype == BOOL


@pytest.mark.parametrize("number", [2, 2.0, True, np.float64(2), np.float32(2), np.int64(2)], ids=repr)
@pytest.mark.parametrize("dtype", [F32, F64])
def test_numbers_are_weak(dtype, number):
    x = Tensor(np.ones(2, dtype))
    for out in (x + number, number + x, x * number, number / x, x**number, number - x, mgx.maximum(x, number)):
        assert type(out) is Tensor and out.dtype == dtype
    assert (mgx.tensor([1, 2]) + int(number)).dtype == I64 and (mgx.tensor([1, 2]) * 0.5).dtype == F32


def test_a_number_beside_float32_is_rounded_once():
    assert (Tensor([1.0]) * 0.1).item() == np.float32(0.1)


def test_gradients_have_the_dtype_of_their_leaf():
    x, y, n = leaf([1.0, 2.0], F32), leaf([[3.0], [4.0]], F64), mgx.tensor([1, 2])
    z = x * y + n
    assert z.dtype == F64
    z.sum().backward()
    same(x.grad, np.array([7, 7], F32))
    same(y.grad, np.array([[3.0], [3.0]]))
    x.grad = None
    x.astype("float64").sum().backward()
    assert x.grad.dtype == F32


# ----- reductions ----------------------------------------------------------------------------------------------------

REDUCTIONS = ["sum", "mean", "prod", "var", "std", "max", "min", "amax", "amin"]


@pytest.mark.parametrize("name", REDUCTIONS)
@pytest.mark.parametrize("axis", [None, 0, 1, -1, (0, 2), (1, 2), (-3, -1), (0, 1, 2)], ids=str)
def test_reductions(name, axis):
    a = RNG.standard_normal((3, 4, 5))
    for x in (a, a.transpose(2, 0, 1), a[::-1, ::2], a[:, :1]):
        for kept in False, True:
            if name in ("max", "min") and axis is not None:
                if isinstance(axis, tuple):
                    continue
                values, at = getattr(Tensor(x), name)(axis, keepdims=kept)
                same(at, getattr(np, "arg" + name)(x, axis=axis, keepdims=kept))
            else:
                values = getattr(Tensor(x), name)(axis, keepdims=kept)
            truth = getattr(np, name)(x, axis=axis, keepdims=kept)
            same(values, truth, rtol=1e-13, atol=1e-15 * np.abs(x).sum())           # terms may cancel


@pytest.mark.parametrize("name", ["sum", "mean", "prod", "var", "std", "max", "amax", "argmax", "logsumexp", "norm"])
def test_axis_and_dim_are_one_argument(name):
    x, more = Tensor(RNG.standard_normal((2, 3))), {"ddof": 1} if name in ("var", "std") else {}
    first = lambda out: out[0] if isinstance(out, tuple) else out
    same(first(getattr(x, name)(dim=1, keepdim=True, **more)),
         first(getattr(x, name)(axis=1, keepdims=True, **more)).numpy())
    assert first(getattr(x, name)(dim=-2, **more)).shape == (3,)
    with pytest.raises(ValueError, match="two names"):
        getattr(x, name)(axis=0, dim=1)


def test_reductions_of_integers_and_masks():
    n, m = mgx.tensor([[1, 2], [3, 5]]), mgx.tensor([True, True, False])
    same(n.sum(), np.int64(11))
    same(n.amax(0), np.array([3, 5]))
    same(m.sum(), np.int64(2))
    assert n.mean().dtype == F32 and n.mean().item() == 2.75 and n.prod().item() == 30.0


def test_ties_and_nans():
    x = leaf([1.0, 3.0, 3.0])
    x.max().backward()
    assert x.grad.tolist() == [0.0, 0.5, 0.5]
    x.grad = None
    x.max(0).values.backward()
    assert x.grad.tolist() == [0.0, 1.0, 0.0]
    bad = Tensor([1.0, np.nan, 2.0])
    assert all(np.isnan(v.item()) for v in (bad.max(), bad.amin(), bad.sum(), bad.max(0).values, bad.logsumexp()))


def test_the_error_of_a_long_sum_grows_with_the_logarithm():
    """Of n terms of one sign at most log2(n) roundings; a running sum is wrong by 1 % here."""
    x = np.full(10**6, 0.1, np.float32)
    assert Tensor(x).sum().item() == pytest.approx(x.astype(np.float64).sum(), rel=20 * 2.0**-24)


# ----- indexing ------------------------------------------------------------------------------------------------------

A = RNG.standard_normal((4, 5, 3))
MASK = A[..., 0] > 0
KEYS = [0, -1, (1, 2), (1, 2, 0), slice(1, 3), slice(None, None, -1), slice(3, 0, -2), ..., None, (..., 0),
        (0, ..., None), (None, 1, None, slice(None)), (slice(None), 2),
        (slice(1, 2), None, slice(None, None, 2)), (), slice(2, 2),
        np.array([0, 3, 0]), [0, 3, 0], [[0, 1], [2, 3]], (np.array([0, 1]), np.array([4, 4])),
        (slice(None), [4, 0, 4]),
        (np.array([[0], [1]]), np.array([1, 1, 2])), (0, slice(None), np.array([2, 0])), ([1, 1], slice(None), [0, 0]),
        MASK, A > 0, MASK[:, 0], (slice(None), MASK[0]), (MASK[:, 0], 0), ([True, False, True, True],), [], True, False,
        np.int64(2), np.array(2), (np.array(1), slice(1, 4)), (..., np.array([0, 0])),
        (None, np.array([1, 1]), ..., None)]


@pytest.mark.parametrize("key", KEYS, ids=lambda k: str(k)[:40].replace("\n", ""))
def test_indexing(key):
    truth, x = A[tuple(key) if isinstance(key, tuple) else key], leaf(A)
    y = x[key]
    same(y, truth)
    cotangent = RNG.standard_normal(y.shape)
    dense = np.zeros_like(A)
    np.add.at(dense, key, cotangent)
    (y * cotangent).sum().backward()
    same(x.grad, dense, rtol=1e-14)
    strided = A.transpose(1, 0, 2)[::-1].transpose(1, 0, 2)
    same(Tensor(strided.copy()).transpose(0, 1).transpose(0, 1)[key], strided[key])


def test_indexing_by_tensors():
    x = Tensor(A)
    same(x[mgx.tensor([1, 3])], A[[1, 3]])
    same(x[Tensor(MASK)], A[MASK])
    same(x[mgx.tensor(2)], A[2])
    same(x[x > 0], A[A > 0])


def test_basic_indexing_is_a_view():
    x = Tensor(A)
    with mgx.no_grad():
        x[1, ::2][..., 0].fill_(7.0)
    truth = A.copy()
    truth[1, ::2, 0] = 7.0
    same(x, truth)


@few
@given(st.data())
def test_random_indexing(data):
    shape = data.draw(hnp.array_shapes(min_dims=1, max_dims=4, max_side=4))
    key = data.draw(hnp.basic_indices(shape, allow_newaxis=True, allow_ellipsis=True, max_dims=6)
                    | hnp.integer_array_indices(shape))
    a = np.arange(np.prod(shape), dtype=np.float64).reshape(shape)
    x, dense = leaf(a), np.zeros(shape)
    y = x[key]
    same(y, a[key])
    np.add.at(dense, key, 2.0)
    (y * 2.0).sum().backward()
    same(x.grad, dense)


PARTS = [0, -1, (1, 2), slice(1, 3), slice(None, None, -1), slice(3, 0, -2), ..., None, (..., 0), (0, ..., None), (),
         (None, 1, None, slice(None)), slice(2, 2), (slice(1, 2), None, slice(None, None, 2)), (1, 2, 0),
         slice(-2**70, 2**70), slice(-1, -9, -3), (slice(9, 2), 1)]


@pytest.mark.parametrize("dtype", ["f4", "f8", "i8", "?"])
@pytest.mark.parametrize("key", PARTS, ids=str)
def test_parts_in_one_pass_are_numpys(key, dtype):
    """Read and written to, of memory in any order: the numbers, the strides, whose memory it is, and the version."""
    for lay in (lambda a: a, lambda a: a.transpose(2, 1, 0), lambda a: a[::-1, :, ::2], lambda a: a[:, :0]):
        truth, base = lay((A * 9).astype(dtype)), (A * 9).astype(dtype)
        x = mgx.from_numpy(lay(base))
        try:
            wanted = np.asarray(truth[key])
        except IndexError:
            with pytest.raises(errors.IndexError_):
                x[key]
            continue
        part = x[key]
        same(part, wanted)
        assert all(a == b for a, b, n in zip(part.strides, wanted.strides, part.shape) if n > 1)
        assert not part.size or np.shares_memory(np.asarray(part), base)
        for value in (1, True, 2.0, -3, 0, np.float32(1), np.ones(wanted.shape[-1:], dtype)):
            before, truth[key] = x.version, value
            x[key] = value
            assert x.version == before + 1
            same(x, truth)


@pytest.mark.parametrize("key", PARTS, ids=str)
def test_parts_of_a_graph(key):
    """Written to: no gradient for what was there, all of it for what came; read: at the part and nowhere else; both
    orders, and the same when it is compiled."""
    part = A[key]

    def function(x, v):
        y = x * x
        y[key] = v * v
        return (y * y[key].sum() * y[key].exp().mean()).sum()

    def truth(x, v):
        y = x * x
        mask = np.zeros(A.shape)
        mask[key] = 1
        y = mgx.where(Tensor(mask == 0), y, 0.0)
        spread = Tensor(np.zeros(A.size)).scatter_add(0, Tensor(np.arange(A.size).reshape(A.shape)[key].ravel()),
                                                      (v * v).reshape(-1)).reshape(A.shape)
        return ((y + spread) * (v * v).sum() * (v * v).exp().mean()).sum()
    if part.size == 0:
        pytest.skip("a mean of nothing")
    values = [np.cos(A), np.sin(part)]
    found = []
    for f in (function, truth, mgx.compile(function)):
        for _ in range(3 if f not in (function, truth) else 1):
            x, v = leaf(values[0]), leaf(values[1])
            f(x, v).backward()
            found.append((x.grad, v.grad))
    for x, v in found:
        same(x, found[1][0].numpy(), rtol=1e-10, atol=1e-12)
        same(v, found[1][1].numpy(), rtol=1e-10, atol=1e-12)
    x, v = leaf(values[0]), leaf(values[1])
    assert mgx.gradgradcheck(lambda x, v: function(x, v), (x, v))


def test_what_names_no_part():
    x = Tensor(A)
    for key in (4, -5, (0, 0, 0, 0), (..., ...), slice(None, None, 0), 2**70, (None,) * 30, "a", 1.0):
        for call in (lambda: x[key], lambda: x.__setitem__(key, 1.0)):
            with pytest.raises(errors.Error):
                call()
    assert (x.version, x.tolist()) == (0, A.tolist())


@pytest.mark.parametrize("axis", [0, 1, -1])
def test_gather_and_scatter_add(axis):
    n = A.shape[axis]
    at = RNG.integers(-n, n, A.shape)
    at = at[:, :4] if axis == 0 else at[:2]
    x, source = leaf(A), leaf(RNG.standard_normal(at.shape))
    part = tuple(slice(0, k) for k in at.shape)
    picked = np.take_along_axis(A[tuple(slice(None) if d == axis % 3 else s for d, s in enumerate(part))], at, axis)
    same(x.gather(axis, at), picked)
    grid = list(np.indices(at.shape))
    grid[axis] = at
    truth = A.copy()
    np.add.at(truth, tuple(grid), source.detach().numpy())
    y = x.scatter_add(axis, at, source)
    same(y, truth, rtol=1e-14)
    weights = RNG.standard_normal(y.shape)
    (y * weights).sum().backward()
    same(x.grad, weights)
    same(source.grad, weights[tuple(grid)])
    x.grad = None
    (x.gather(axis, at) * source.detach()).sum().backward()
    same(x.grad, truth - A, rtol=1e-12, atol=1e-14)


# ----- joining, shapes -----------------------------------------------------------------------------------------------

@pytest.mark.parametrize("axis", [0, 1, 2, -1])
def test_concat_stack_split(axis):
    parts = [RNG.standard_normal([n if d == axis % 3 else 2 for d in range(3)]) for n in (1, 3, 0, 2)]
    xs = [leaf(p) for p in parts]
    y = mgx.concat(xs, axis)
    same(y, np.concatenate(parts, axis))
    back = y.split([1, 3, 0, 2], axis)
    for piece, part in zip(back, parts):
        same(piece, part)
    sum((piece * piece).sum() for piece in back).backward()
    for x, part in zip(xs, parts):
        same(x.grad, 2 * part, rtol=1e-15)
    assert [p.shape[axis] for p in y.split(4, axis)] == [4, 2]
    same(mgx.stack(xs[:1] * 3, axis), np.stack(parts[:1] * 3, axis))
    assert mgx.concat([Tensor([1.0]), Tensor(np.ones(1)), mgx.tensor([1])]).dtype == F64


def test_pad():
    x = leaf(A)
    y = mgx.pad(x, [(1, 0), (0, 2), (3, 1)], 9.0)
    same(y, np.pad(A, [(1, 0), (0, 2), (3, 1)], constant_values=9.0))
    weights = RNG.standard_normal(y.shape)
    (y * weights).sum().backward()
    same(x.grad, weights[1:, :5, 3:6])
    for widths in (1, (2, 1), ((1,), (0,), (2,)), np.array([1, 2])):
        same(mgx.pad(x, widths), np.pad(A, widths))


@pytest.mark.parametrize("f, g", [
    (lambda x: x.reshape(10, -1), lambda a: a.reshape(10, -1)), (lambda x: x.T, lambda a: a.T),
    (lambda x: x.T.reshape(-1), lambda a: a.T.reshape(-1)), (lambda x: x.mT, lambda a: a.swapaxes(-1, -2)),
    (lambda x: x.permute(2, 0, 1), lambda a: a.transpose(2, 0, 1)), (lambda x: x.transpose(0, 2),
    lambda a: a.swapaxes(0, 2)),
    (lambda x: x.flatten(1), lambda a: a.reshape(4, 15)), (lambda x: x.flatten(0, 1), lambda a: a.reshape(20, 3)),
    (lambda x: x.unsqueeze(1), lambda a: a[:, None]), (lambda x: x.unsqueeze(-1).squeeze(), lambda a: a),
    (lambda x: x[:, :1].expand(2, -1, 5, -1), lambda a: np.broadcast_to(a[:, :1], (2, 4, 5, 3))),
    (lambda x: x.permute(1, 2, 0)[::-1].reshape(5, 12), lambda a: a.transpose(1, 2, 0)[::-1].reshape(5, 12)),
    (lambda x: x.triu(1), lambda a: np.triu(a, 1)), (lambda x: x.tril(-1), lambda a: np.tril(a, -1)),
    (lambda x: x.cumsum(1), lambda a: a.cumsum(1)), (lambda x: x[0, 0].outer(x[0, 1]),
    lambda a: np.outer(a[0, 0], a[0, 1])),
    (lambda x: x.contiguous(), lambda a: a)], ids=range(17))
def test_shapes_and_their_gradients(f, g):
    x = leaf(A)
    y, truth = f(x), g(A)
    same(y, truth, rtol=1e-14)
    weights, direction = RNG.standard_normal(y.shape), RNG.standard_normal(A.shape)
    (y * weights).sum().backward()
    want = slope(lambda a: (g(a) * weights).sum(), [A], [direction], 1e-3)
    assert (x.grad.numpy() * direction).sum() == pytest.approx(want, rel=1e-9, abs=1e-10)


# ----- the node that made it -----------------------------------------------------------------------------------------

def test_grad_fn():
    x = leaf([1.0, 2.0])
    y = (x * 3).exp().sum()
    assert repr(y.grad_fn) == "<SumBackward0>" and x.grad_fn is None and mgx.ones(2).grad_fn is None
    names, node = [], y.grad_fn
    while node.next_functions:
        names.append(node.name())
        (node, place), *_ = node.next_functions
        assert place == 0
    assert names == ["SumBackward0", "SumBackward0", "ExpBackward0", "MulBackward0"] and node.name() == "AccumulateGrad"
    y.backward()
    assert y.grad_fn.name() == "SumBackward0" and y.grad_fn.next_functions == ()         # of a graph that was freed
    assert (x * 3).mean().grad_fn.name() == "MeanBackward0" and (x @ x).grad_fn.name() == "MatmulBackward0"
    assert mgx.where(x > 1, x, 2 * x).grad_fn.next_functions[0][0] is None                # a mask has no gradient

    class Double(mgx.autograd.Function):
        @staticmethod
        def forward(ctx, x, nothing):
            ctx.save_for_backward(x, nothing)
            return 2 * x

        @staticmethod
        def backward(ctx, g):
            assert ctx.saved_tensors[1] is None
            return 2 * g, None

    twice = Double.apply(x, None)
    assert twice.grad_fn.name() == "DoubleBackward"
    twice.sum().backward()
    assert twice.grad_fn.name() == "DoubleBackward"


@pytest.mark.parametrize("shape, of", [((17,), 8), ((2, 17), 8), ((2, 2, 17), 7)])
def test_lines_are_as_long_as_torchs(shape, of):
    """torch's: (80 - the indent) // (the width of a number + 2) numbers on a line."""
    text = str(mgx.full(shape, -0.25))
    assert text.splitlines()[0].count("-0.25") == of
    noted = str(mgx.full((7,), 0.25, dtype="float64", requires_grad=True))
    assert noted == f"tensor([{', '.join(['0.2500'] * 7)}], dtype=float64,\n       requires_grad=True)"


# ----- any, all, argmax, cumsum: kernels that stop early, search stretches and walk columns --------------------------

LAYOUTS = {"as it lies": lambda a: a, "columns": lambda a: np.asfortranarray(a), "backwards": lambda a: a[..., ::-1],
           "every other": lambda a: np.repeat(a, 2, -1)[..., ::2], "broadcast": lambda a: a[:1].repeat(0, 0) if
           a.shape[0] == 0 else np.broadcast_to(a[:1], a.shape), "swapped": lambda a: np.swapaxes(
               np.ascontiguousarray(np.swapaxes(a, 0, -1)), 0, -1)}
LONG = [(4,), (1023,), (1024,), (1025,), (5000,), (3, 1030), (1030, 3), (2, 70, 33), (40, 2, 300), (1, 1, 1), (7, 1, 5)]


def axes_and_all(ndim):
    return [None, *range(-1, ndim)]


@pytest.mark.parametrize("dtype", ["f4", "f8", "i8", "?"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_any_and_all_are_numpys(layout, dtype):
    rng = np.random.default_rng(7)
    for shape in (*LONG, (0,), (0, 3), (3, 0), (2, 0, 3)):
        for share in (0.0, 1.0, 0.001, 0.999):
            a = LAYOUTS[layout]((rng.random(shape) < share).astype(dtype))
            x = mgx.from_numpy(a) if a.flags.writeable else Tensor(a, dtype=dtype)
            pairs = [(0, 1), (0, 2), (1, 2)][:len(shape) * (len(shape) - 1) // 2]
            for axis in (*axes_and_all(len(shape)), *pairs, ()):
                for kept in (False, True):
                    same(x.any(axis, kept), np.asarray(np.any(a, axis=axis, keepdims=kept)))
                    same(mgx.all(x, dim=axis, keepdim=kept), np.asarray(np.all(a, axis=axis, keepdims=kept)))


def test_what_is_true():
    for value, truth in ((np.nan, True), (-0.0, False), (1e-45, True), (np.inf, True), (-np.inf, True)):
        x = Tensor([value, value], requires_grad=True)
        assert bool(x.any()) is bool(x.all()) is truth and not x.any().requires_grad
    raw = mgx.from_numpy(np.array([0, 2, 255], np.uint8).view(bool))
    assert raw[1:].all().item() and raw.any().item() and not raw.all().item()
    assert mgx.any([0, 3]).item() and not mgx.all(np.array([[1, 0]]), axis=1).any()
    for call in (lambda: raw.any(2), lambda: raw.all((0, 0)), lambda: mgx.any(raw, axis="a")):
        with pytest.raises(errors.Error, match="any|all"):
            call()


@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_argmax_is_numpys(layout, dtype):
    """With ties, nans, infinities and negative zeros, wherever the largest is in its stretch."""
    rng = np.random.default_rng(8)
    for shape in LONG:
        few = rng.integers(-2, 3, shape)
        rising = np.arange(few.size).reshape(shape)
        for a in (few, few * -0.0, rng.normal(size=shape), rising, -rising,
                  np.where(rng.random(shape) < 0.01, np.nan, few),
                  np.where(rng.random(shape) < 0.5, np.inf, -np.inf), np.full(shape, -np.inf), np.full(shape, np.nan),
                  np.where(rising == few.size - 1, np.nan, 1.0), np.where(rising == few.size - 1, 9.0, 1.0)):
            a = LAYOUTS[layout](a.astype(dtype))
            x = mgx.from_numpy(a) if a.flags.writeable else Tensor(a)
            for axis in axes_and_all(len(shape)):
                for kept in (False, True):
                    same(x.argmax(axis, kept), np.asarray(np.argmax(a, axis, keepdims=kept)))
                    same(mgx.argmin(x, dim=axis, keepdim=kept), np.asarray(np.argmin(a, axis, keepdims=kept)))
                if axis is not None:
                    same(x.max(axis).values, np.max(a, axis))
                    same(x.min(axis).indices, np.asarray(np.argmin(a, axis)))
    for shape, axis in (((0,), None), ((2, 0), 1), ((0, 0), 0)):
        with pytest.raises(errors.ShapeError, match="argmax: of no elements"):
            Tensor(np.zeros(shape, dtype)).argmax(axis)
    same(Tensor(np.zeros((0, 2), dtype)).argmax(1), np.zeros(0, np.int64))


@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_cumsum_is_numpys_in_doubles(layout, dtype):
    """To the bit, and its gradient the running sum from the end; float32 does not stand still at 2^24."""
    rng = np.random.default_rng(9)
    for shape in (*LONG, (0,), (2, 0, 3)):
        a = LAYOUTS[layout](rng.normal(size=shape).astype(dtype))
        g = rng.normal(size=shape).astype(dtype)
        for axis in range(len(shape)):
            with np.errstate(all="ignore"):
                same(Tensor(a).cumsum(axis), np.cumsum(a, axis, np.float64).astype(dtype))
            x = Tensor(a, requires_grad=True)
            x.cumsum(axis).backward(Tensor(g))
            same(x.grad, np.flip(np.cumsum(np.flip(g, axis), axis, np.float64), axis).astype(dtype))
    same(Tensor([np.inf, 1, -np.inf, 1]).cumsum(0), np.array([np.inf, np.inf, np.nan, np.nan], "f4"))
    many = mgx.ones(2**24 + 8)
    assert many.cumsum(0)[-1].item() == 2**24 + 8
    x = leaf(rng.normal(size=(3, 4)))
    assert mgx.gradgradcheck(lambda x: x.cumsum(1).square().cumsum(0), (x,))


@pytest.mark.parametrize("descending", [False, True])
@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_sort_is_stable_and_numpys(layout, dtype, descending):
    """By insertion and by digits: ties, zeros of both signs, small numbers, infinities and nans keep their order."""
    rng = np.random.default_rng(10)
    special = np.array([0.0, -0.0, np.inf, -np.inf, np.nan, 1e-45, -1e-45, 1e-320, 1.0, -1.0, 3e38, -3e38])
    for shape in ((0,), (1,), (31,), (32,), (33,), (300,), (5, 40), (40, 5), (2, 33, 3), (2, 0, 3), (70_000,)):
        for a in (rng.normal(size=shape), rng.choice(special, shape), rng.integers(-3, 3, shape) * 0.5,
                  np.copysign(np.nan, rng.normal(size=shape)), np.sort(rng.normal(size=shape))):
            a = LAYOUTS[layout](a.astype(dtype))
            x = mgx.from_numpy(a) if a.flags.writeable else Tensor(a)
            for axis in range(len(shape)):
                order = np.argsort(a, axis, kind="stable")
                if descending:
                    order = shape[axis] - 1 - np.flip(np.argsort(np.flip(a, axis), axis, kind="stable"), axis)
                found = mgx.sort(x, axis, descending)
                same(found.indices, order)
                same(found.values, np.take_along_axis(a, order, axis))
                assert found.values.numpy().tobytes() == np.take_along_axis(a, order, axis).tobytes()
                same(x.argsort(axis, descending), order)


def test_the_gradient_of_sort_goes_where_each_element_was():
    rng = np.random.default_rng(11)
    a, g = rng.normal(size=(3, 40)), rng.normal(size=(3, 40))
    for f in (lambda x: x.sort(1), mgx.compile(lambda x: x.sort(1))):
        for _ in range(3):
            x = leaf(a)
            values, order = f(x)
            order.zero_()                       # a copy of it was kept, and x itself was not needed
            with mgx.no_grad():
                x *= 2
            values.backward(Tensor(g))
            wanted = np.empty_like(g)
            np.put_along_axis(wanted, np.argsort(a, 1), g, 1)
            same(x.grad, wanted)
    assert mgx.gradgradcheck(lambda x: x.sort(0).values.square() * x, (leaf(a[:, :3]),))
    assert x.sort(1).values.grad_fn.name() == "SortBackward0" and not x.argsort(1).requires_grad


@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_rows_that_are_long(dtype):
    """Products, maxima and minima of contiguous rows are computed in stretches of columns."""
    rng = np.random.default_rng(12)
    for n in (63, 64, 65, 66, 1023, 1024, 1025, 1100, 5000, 70_000):
        a = rng.uniform(-2, 2, (3, n)).astype(dtype)
        wide = np.abs(a.astype(np.longdouble))
        sign = np.prod(np.sign(a), 1)
        with np.errstate(all="ignore"):
            truth = (np.exp(np.log(wide).sum(1)) * sign).astype(dtype)
        np.testing.assert_allclose(Tensor(a).prod(1).numpy(), truth, rtol=1e-9 if dtype == "f8" else 1e-6)
        flat = Tensor(np.exp2(np.where(np.arange(n) < n // 2, 90, -90)[None] * np.ones((2, 1))).astype(dtype))
        assert flat.prod(1).tolist() == [2.0 ** (-90 * (n % 2))] * 2            # beyond doubles on the way
        for place in (0, 31, 32, n // 2, n - 1):
            for special in (0.0, np.nan, np.inf):
                b = a.copy()
                b[1, place] = special
                with np.errstate(all="ignore"):
                    same(Tensor(b).amax(1), b.max(1))
                    same(Tensor(b).amin(1), b.min(1))
                found = abs(Tensor(b).prod(1).numpy()[1])
                assert np.array_equal(found, special, equal_nan=True)
