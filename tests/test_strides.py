"""Gather and scatter of the launch door: any strides, dtypes, broadcasting and sizes, against NumPy."""
import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from samples import DTYPES

import microgradx as mgx

pytestmark = pytest.mark.short
FEW = settings(derandomize=True, deadline=None, database=None, max_examples=150)
OPERATIONS = {"add": np.add, "sub": np.subtract, "mul": np.multiply, "maximum": np.maximum}
KINDS = [np.float32, np.float64, np.int64, np.bool_]
SIZES = [0, 1, 2, 63, 64, 65, 128, 511, 512, 513, 1025]       # around the width of a row and of a tile


@st.composite
def shapes(draw):
    """Up to 4-D; sides around the limits of launch.c, but not too many elements."""
    dims = draw(st.lists(st.sampled_from([0, 1, 2, 3, 5, 8, 63, 64, 65]), max_size=4))
    while np.prod(dims, dtype=int) > 6000:
        dims.remove(max(dims))
    if draw(st.integers(0, 9)) == 0:
        dims = [draw(st.sampled_from(SIZES))]
    return tuple(dims)


@st.composite
def views(draw, shape):
    """(base, view): a function that makes the same view, of this shape, of a Tensor or an ndarray."""
    ndim = len(shape)
    order = draw(st.permutations(range(ndim)))
    steps = [draw(st.sampled_from([1, 1, 1, 2, 3, -1, -2])) for _ in shape]
    starts = [draw(st.integers(0, 2)) for _ in shape]
    kept = [draw(st.integers(0, 5)) > 0 for _ in shape]             # False: broadcast along this axis
    sides = [n if keep else 1 for n, keep in zip(shape, kept)]
    base = [0] * ndim
    keys = [slice(None)] * ndim
    for k, axis in enumerate(order):                              # axis k of the base becomes axis order[k] of the view
        n, step, start = sides[axis], steps[axis], starts[axis]
        span = abs(step) * max(n - 1, 0) + (n > 0)
        base[k] = start + span + 1
        if n == 0:
            keys[k] = slice(start, start)
        elif step > 0:
            keys[k] = slice(start, start + span, step)
        else:
            first = start + span - 1
            keys[k] = slice(first, start - 1 if start > 0 else None, step)
    keys, inverse = tuple(keys), tuple(int(i) for i in np.argsort(order))

    def view(t):
        t = t[(*keys, ...)]
        return t.transpose(inverse) if isinstance(t, np.ndarray) else t.permute(*inverse) if ndim else t
    return tuple(base), view


def numbers(rng, shape, dtype):
    """Small numbers without a fraction, so that every dtype holds them and sums and products are exact."""
    return rng.integers(0, 2 if dtype is np.bool_ else 9, shape).astype(dtype)


@st.composite
def operand_pairs(draw, kinds):
    shape = draw(shapes())
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    pairs = []
    for _ in range(2):
        base, view = draw(views(shape))
        array = numbers(rng, base, draw(st.sampled_from(kinds)))
        tensor = view(mgx.Tensor(array))
        assert tensor.shape == view(array).shape
        pairs.append((view(array), tensor))
    return pairs


@pytest.mark.parametrize("name", OPERATIONS)
def test_views_of_any_strides_and_dtypes(name):
    @FEW
    @given(operand_pairs(KINDS[:2]))
    def check(pairs):
        (a, ta), (b, tb) = pairs
        y, truth = getattr(ta, name)(tb), OPERATIONS[name](a, b)
        assert y.dtype == truth.dtype and y.shape == truth.shape
        np.testing.assert_array_equal(y.numpy(), truth)

    check()


def test_masks_and_integers_beside_floats():
    """A float keeps its dtype beside integers and masks, which are converted on the way."""
    @FEW
    @given(operand_pairs(KINDS))
    def check(pairs):
        (a, ta), (b, tb) = pairs
        floats = [x.dtype for x in (a, b) if x.dtype.kind == "f"]
        if floats:
            y = ta * tb
            assert y.dtype == max(floats)
            np.testing.assert_array_equal(y.numpy(), a.astype(float) * b.astype(float))
        np.testing.assert_array_equal((ta < tb).numpy(), a < b)

    check()


def test_three_operands_of_different_kinds():
    @FEW
    @given(st.data())
    def check(data):
        shape = data.draw(shapes())
        rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
        arrays, tensors = [], []
        for dtype in (np.bool_, data.draw(st.sampled_from(DTYPES)), data.draw(st.sampled_from(DTYPES))):
            base, view = data.draw(views(shape))
            array = numbers(rng, base, dtype)
            arrays.append(view(array))
            tensors.append(view(mgx.Tensor(array)))
        np.testing.assert_array_equal(tensors[0].where(*tensors[1:]).numpy(), np.where(*arrays))

    check()


@pytest.mark.parametrize("name", ["add", "sub", "mul", "copy"])
def test_results_into_views(name):
    """In-place operations write through any view, and only there."""
    @FEW
    @given(st.data())
    def check(data):
        shape = data.draw(shapes())
        rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
        base, view = data.draw(views(shape))
        out_dtype = data.draw(st.sampled_from(DTYPES))
        whole = numbers(rng, base, out_dtype)
        source_base, source_view = data.draw(views(view(whole).shape))
        allowed = DTYPES[:1] if out_dtype is np.float32 else DTYPES
        source = numbers(rng, source_base, data.draw(st.sampled_from(allowed)))
        tensor = mgx.Tensor(whole)
        target, values = view(tensor), source_view(mgx.Tensor(source))
        if name == "copy":
            target.copy_(values)
            np.copyto(view(whole), source_view(source))
        else:
            operator = f"__i{name}__"
            getattr(target, operator)(values)
            getattr(view(whole), operator)(source_view(source))
        np.testing.assert_array_equal(tensor.numpy(), whole)

    check()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n", SIZES)
def test_sizes_around_the_limits(n, dtype):
    rng = np.random.default_rng(n)
    a, b = rng.standard_normal((2, 3, 2 * n + 1)).astype(dtype)
    t, u = mgx.Tensor(a), mgx.Tensor(b)
    for key in (np.s_[:, :n], np.s_[:, ::2], np.s_[:, ::-1], np.s_[1], np.s_[:, n:n + 1], np.s_[::2, :n]):
        np.testing.assert_array_equal((t[key] + u[key]).numpy(), a[key] + b[key])
        np.testing.assert_array_equal((t[key] * 0.3).numpy(), a[key] * dtype(0.3))
    column = np.s_[:, n:n + 1]
    np.testing.assert_array_equal((t * u[column]).numpy(), a * b[column])
    np.testing.assert_array_equal((t.T * u.T).numpy(), (a * b).T)


@pytest.mark.parametrize("n", [1, 64, 511, 512, 513, 2000])
@pytest.mark.parametrize("first, second", [(np.float32, np.float64), (np.float64, np.float32)])
def test_mixed_floats_promote(first, second, n):
    a, b = np.linspace(0, 1, n).astype(first), np.linspace(1, 2, n).astype(second)
    y = mgx.Tensor(a) * mgx.Tensor(b)
    assert y.dtype == np.float64
    np.testing.assert_array_equal(y.numpy(), a * b)


@pytest.mark.parametrize("dtype", DTYPES)
def test_0_d(dtype):
    x = mgx.Tensor(np.array(3, dtype), requires_grad=True)
    y = x * x + 1.0
    y.backward()
    assert y.shape == x.grad.shape == () and y.dtype == dtype and y.item() == 10 and x.grad.item() == 6


@pytest.mark.parametrize("shape", [(0,), (3, 0), (0, 64), (2, 0, 5)])
def test_empty(shape):
    x = mgx.Tensor(np.zeros(shape), requires_grad=True)
    y = x.sigmoid() * mgx.Tensor(np.ones(shape[-1:])) + 2.0
    y.sum().backward()
    assert y.shape == x.grad.shape == shape


def test_gradients_through_views_are_those_of_copies():
    """The backward loops read strided operands and cotangents as well."""
    @settings(FEW, max_examples=60)
    @given(st.data())
    def check(data):
        shape = data.draw(shapes())
        rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
        bases = [data.draw(views(shape)) for _ in range(3)]
        arrays = [rng.uniform(0.5, 2, base) for base, _ in bases]
        leaves = [mgx.Tensor(a, requires_grad=True) for a in arrays]
        a, b, g = (view(t) for t, (_, view) in zip(leaves, bases))
        ((a / b).tanh() * g).sum().backward()
        x, y, w = (view(v) for v, (_, view) in zip(arrays, bases))
        t = np.tanh(x / y)
        for leaf, (base, view), slope in zip(leaves, bases, ((1 - t * t) * w / y, -(1 - t * t) * w * x / y**2, t)):
            expected = np.zeros(base)
            slope = np.broadcast_to(slope, np.broadcast_shapes(x.shape, y.shape, w.shape))
            part = view(expected)
            skip = slope.ndim - part.ndim
            axes = tuple(i for i in range(slope.ndim) if i < skip or part.shape[i - skip] == 1)
            part[...] = slope.sum(axis=axes, keepdims=True).reshape(part.shape)
            np.testing.assert_allclose(np.zeros(base) if leaf.grad is None else leaf.grad.numpy(), expected, rtol=1e-11,
                                       atol=1e-13)

    check()


@pytest.mark.parametrize("make", [lambda x: x.astype(">f8"), lambda x: x[::-1], lambda x: x.reshape(4, 3).T,
                                  lambda x: np.lib.stride_tricks.as_strided(x, (3, 4), (0, 8)),
                                  lambda x: np.frombuffer(b"\0" + x.tobytes(), np.uint8)[1:].view(np.float64)],
                         ids=["big-endian", "negative", "transposed", "overlapping", "unaligned"])
def test_arrays_from_outside(make):
    x = make(np.arange(12.0))
    x.flags.writeable = False
    t = mgx.Tensor(x, requires_grad=True)
    (t * t).sum().backward()
    assert t.dtype == np.float64
    np.testing.assert_array_equal(t.grad.numpy(), 2 * x)


def test_operands_that_overlap_with_the_result():
    x = np.arange(200.0)
    t = mgx.Tensor(x)
    view = t[1:]
    view += t[:-1]
    x[1:] += x[:-1].copy()
    np.testing.assert_array_equal(t.numpy(), x)
    t *= t[::-1]
    np.testing.assert_array_equal(t.numpy(), x * x[::-1])


def test_another_shape_is_a_view_where_numpy_has_one():
    """So a write reaches the same elements, whatever the strides are."""
    @FEW
    @given(st.data())
    def check(data):
        base, view = data.draw(views(data.draw(shapes())))
        whole = np.arange(np.prod(base, dtype=int)).reshape(base)
        other = data.draw(st.permutations([n for n in view(whole).shape if n != 1]))
        other.insert(data.draw(st.integers(0, len(other))), 1)
        if data.draw(st.booleans()) and len(other) > 2:
            other[:2] = [other[0] * other[1]]
        tensor = mgx.Tensor(whole)
        y, truth = view(tensor).reshape(*other), view(whole).reshape(other)
        np.testing.assert_array_equal(y.numpy(), truth)
        if truth.size:
            assert np.shares_memory(np.asarray(y), np.asarray(tensor)) == np.shares_memory(truth, whole)
            y[...] = -1
            truth[...] = -1
            np.testing.assert_array_equal(tensor.numpy(), whole)

    check()


@pytest.mark.parametrize("f", [lambda x: x.prod(0), lambda x: x.prod(1, keepdims=True), lambda x: x.prod(()),
                               lambda x: x.tile(1), lambda x: x.tile(2, 1), lambda x: x.repeat_interleave(2, axis=1),
                               lambda x: x.repeat_interleave(1, axis=0), lambda x: x.cumprod(1), lambda x: x.roll(0, 0),
                               lambda x: x.cumsum(1), lambda x: x.sum(()), lambda x: x.amax(1)])
def test_results_share_no_memory(f):
    x = mgx.Tensor([[3.0]])
    y = f(x)
    x.zero_()
    assert set(y.numpy().ravel().tolist()) == {3.0}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("key", [np.s_[:, [0, -1, 0]], np.s_[:, :, [1, 0]], np.s_[..., [2, 1], :1],
                                 np.s_[[1, 0], :, [0]]], ids=str)
def test_what_arrays_pick_is_contiguous(key, dtype):
    """As NumPy's is not: sums over it have the same bits whether the function is compiled or not."""
    x = mgx.Tensor(np.random.default_rng(0).standard_normal((2, 3, 5, 2)).astype(dtype))
    y = x[key]
    assert np.array_equal(y.numpy(), x.numpy()[key]) and y.is_contiguous()
    compiled = mgx.compile(lambda x: (x[key].mean(1) * 3).sum(0))
    for _ in range(3):
        assert np.array_equal(compiled(x).numpy(), (y.mean(1) * 3).sum(0).numpy())


REDUCTIONS = {"sum": np.sum, "mean": np.mean, "prod": np.prod, "amax": np.max, "amin": np.min, "any": np.any,
              "all": np.all}


@pytest.mark.parametrize("name", REDUCTIONS)
@pytest.mark.parametrize("order", list(itertools.permutations(range(4))), ids=str)
def test_reductions_of_permuted_axes(order, name):
    """Also of rows in reverse, of every other one, and repeated."""
    base = np.random.default_rng(0).integers(-3, 4, (3, 4, 5, 6)).astype(float)
    for key in (np.s_[:], np.s_[::-1, :, ::2], np.s_[:, :1, :, ::-1]):
        shape = tuple(4 if n == 1 else n for n in base[key].shape)
        wanted = np.broadcast_to(base[key], shape).transpose(order)
        x = mgx.Tensor(base)[key].broadcast_to(shape).permute(order)
        for axes in (axes for n in range(5) for axes in itertools.combinations(range(4), n)):
            found = getattr(x, name)(axes).numpy()
            np.testing.assert_allclose(found, REDUCTIONS[name](wanted, axes), rtol=1e-12, err_msg=str((key, axes)))
        for axis in (None, 0, 1, 2, 3):
            assert np.array_equal(x.argmax(axis).numpy(), wanted.argmax(axis)), (key, axis)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ["sum", "mean", "prod", "norm"])
def test_columns_are_reduced_as_the_rows_of_the_transpose(name, dtype):
    """In the order in which they lie in memory, which is the fast one: to the same bits."""
    x = mgx.Tensor(np.random.default_rng(0).standard_normal((150, 70)).astype(dtype))
    assert getattr(x, name)(axis=0).numpy().tobytes() == getattr(x.T, name)(axis=1).numpy().tobytes()


def test_more_axes_than_fit_are_refused():
    assert mgx.Tensor(np.float64(3)).expand((2,) * 20 + (1,) * 12).amax().item() == 3
    assert mgx.Tensor(np.ones((1,) * 32)).exp().ndim == 32
    with pytest.raises(ValueError):
        mgx.Tensor(np.ones((1,) * 33)).exp()
