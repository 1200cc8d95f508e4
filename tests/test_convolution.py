"""Convolution and pooling against loops over windows, against values recorded from torch, and by differences."""
import itertools
import math

import numpy as np
import pytest
from samples import orders_by_differences
from recorded import DATA, cases, check

import microgradx as mgx
from microgradx import nn
from microgradx.errors import DTypeError, OptionError, ShapeError
from microgradx.nn import convolution
from microgradx.nn import functional as F

RNG = np.random.default_rng(11)
CASES = {case["id"]: case for case in cases("torch_nets.npz") if "norm" not in case["op"]}
DTYPES = [np.float32, np.float64]
CLOSE = {np.float32: dict(rtol=2e-5, atol=2e-5), np.float64: dict(rtol=1e-12, atol=1e-12)}


def leaf(a):
    return mgx.Tensor(a, requires_grad=True)


@pytest.mark.parametrize("name", CASES)
def test_recorded(name):
    def run(case, xs):
        y = getattr(F, case["op"])(*xs, **case["kwargs"])
        return list(y) if isinstance(y, tuple) else [y]
    check(CASES[name], run)


def test_every_function_is_recorded():
    lines = (DATA / "names" / "nn_layers.txt").read_text()
    recorded = {case["op"] for case in CASES.values()}
    assert all(name in recorded or f"F.{name}(" in lines for name in convolution.FUNCTIONS)
    assert {case["dtype"] for case in CASES.values()} == {"float32", "float64"}


# ----- loops over windows ----------------------------------------------------------------------------------------

def windows(x, kernel, stride, padding, dilation, value):
    """{place: the taps (m, channels, taps) of the window there}, over any number of axes."""
    x = np.pad(x, [(0, 0), (0, 0), *padding], constant_values=value)
    counts = [(n - d * (k - 1) - 1) // s + 1 for n, k, s, d in zip(x.shape[2:], kernel, stride, dilation)]
    for place in itertools.product(*map(range, counts)):
        key = [slice(p * s, p * s + d * (k - 1) + 1, d) for p, s, d, k in zip(place, stride, dilation, kernel)]
        yield place, x[(slice(None), slice(None), *key)].reshape(*x.shape[:2], -1), tuple(counts)


def naive_convolution(x, w, b, stride, padding, dilation, groups):
    out = None
    for place, taps, counts in windows(x, w.shape[2:], stride, padding, dilation, 0):
        out = np.zeros((len(x), len(w), *counts)) if out is None else out
        for o in range(len(w)):
            first = o // (len(w) // groups) * w.shape[1]
            part = taps[:, first:first + w.shape[1]].reshape(len(x), -1)
            out[(slice(None), o, *place)] = part @ w[o].ravel() + (0 if b is None else b[o])
    return out


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("seed", range(12))
def test_convolution_of_any_shape(seed, dtype):
    rng = np.random.default_rng(seed)
    axes, groups = 1 + seed % 2, int(rng.integers(1, 4))
    kernel, stride, dilation = (tuple(map(int, rng.integers(1, 4, axes))) for _ in range(3))
    padding = tuple(map(int, rng.integers(0, 3, axes)))
    size = [d * (k - 1) + 1 + int(rng.integers(0, 9)) for k, d in zip(kernel, dilation)]
    x = rng.standard_normal((int(rng.integers(1, 4)), 2 * groups, *size)).astype(dtype)
    w = rng.standard_normal((3 * groups, 2, *kernel)).astype(dtype)
    b = rng.standard_normal(3 * groups).astype(dtype) if seed % 3 else None
    y = getattr(F, f"conv{axes}d")(mgx.Tensor(x), w, b, stride, padding, dilation, groups)
    truth = naive_convolution(x.astype(float), w, b, stride, [(p, p) for p in padding], dilation, groups)
    assert y.dtype == dtype
    np.testing.assert_allclose(y.numpy(), truth, **CLOSE[dtype])


def test_wide_convolution_uses_every_path():
    """Sizes that go to BLAS, and several images whose weight gradients add up."""
    x, w = RNG.standard_normal((3, 40, 30, 30)), RNG.standard_normal((50, 40, 3, 3))
    xs, ws = leaf(x), leaf(w)
    y = F.conv2d(xs, ws, padding=1)
    np.testing.assert_allclose(y.detach().numpy()[:, :, :2, :2], naive_convolution(
        x[:, :, :3, :3], w, None, (1, 1), [(1, 0), (1, 0)], (1, 1), 1)[:, :, :2, :2], rtol=1e-11, atol=1e-11)
    g = RNG.standard_normal(y.shape)
    y.backward(mgx.Tensor(g))
    for t, a, moved in ((xs, x, lambda d: (d, w)), (ws, w, lambda d: (x, d))):
        d = RNG.standard_normal(a.shape)
        change = F.conv2d(*map(mgx.Tensor, moved(d)), padding=1).numpy()
        np.testing.assert_allclose((t.grad.numpy() * d).sum(), (change * g).sum(), rtol=1e-10)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kernel, stride, padding, dilation", [
    ((2, 2), (2, 2), (0, 0), (1, 1)), ((3, 2), (1, 3), (1, 0), (1, 1)), ((3, 3), (2, 1), (1, 1), (1, 2)),
    ((1, 1), (3, 2), (0, 0), (1, 1)), ((2, 5), (1, 1), (1, 2), (2, 1))])
def test_pools(kernel, stride, padding, dilation, dtype):
    x = RNG.standard_normal((3, 2, 9, 17)).astype(dtype)
    sides = [(p, p) for p in padding]
    y = F.max_pool2d(mgx.Tensor(x), kernel, stride, padding, dilation).numpy()
    for place, taps, counts in windows(x, kernel, stride, sides, dilation, -np.inf):
        assert y.shape[2:] == counts and (y[(..., *place)] == taps.max(-1)).all()
    for include in (True, False):
        y = F.avg_pool2d(mgx.Tensor(x), kernel, stride, padding, count_include_pad=include).numpy()
        for place, taps, counts in windows(x, kernel, stride, sides, (1, 1), 0 if include else np.nan):
            assert y.shape[2:] == counts
            np.testing.assert_allclose(y[(..., *place)], np.nanmean(taps, -1), **CLOSE[dtype])


def test_max_pool_tells_where():
    x = RNG.standard_normal((2, 3, 7, 6))
    y, at = nn.MaxPool2d(3, 2, return_indices=True, ceil_mode=True)(mgx.Tensor(x))
    assert y.shape == at.shape == (2, 3, 3, 3) and at.dtype == np.int64
    np.testing.assert_array_equal(np.take_along_axis(x.reshape(2, 3, -1), at.numpy().reshape(2, 3, -1), 2),
                                  y.numpy().reshape(2, 3, -1))


def test_max_pool_of_ties_nan_and_infinity():
    x = leaf([[[2.0, 2.0, math.nan, 1.0, -math.inf, -math.inf], [2.0, 2.0, 3.0, 4.0, -math.inf, -math.inf]]])
    y = F.max_pool2d(x, 2)
    y.sum().backward()
    assert y.detach().numpy()[0, 0, 0] == 2 and np.isnan(y.detach().numpy()[0, 0, 1])
    assert y.detach().numpy()[0, 0, 2] == -math.inf
    assert x.grad.tolist() == [[[1, 0, 1, 0, 1, 0], [0] * 6]]


# ----- gradients by differences ----------------------------------------------------------------------------------

@pytest.mark.parametrize("function, shapes", [
    (lambda x, w, b: F.conv2d(x, w, b, stride=2, padding=1, groups=2), [(2, 4, 5, 6), (4, 2, 3, 2), (4,)]),
    (lambda x, w, b: F.conv1d(x, w, b, padding="same", dilation=2), [(2, 3, 6), (2, 3, 4), (2,)]),
    (lambda x, w: F.conv2d(x, w), [(2, 3, 4, 4), (2, 3, 1, 1)]),
    (lambda x: F.max_pool2d(x, 3, 2, 1), [(2, 2, 6, 5)]),
    (lambda x: F.avg_pool2d(x, 2, 1, 1, count_include_pad=False), [(2, 2, 4, 3)])])
def test_three_orders_by_differences(function, shapes):
    orders_by_differences(function, *([RNG.standard_normal(s) for s in shapes] for _ in range(2)))


@pytest.mark.parametrize("function", [lambda x: F.max_pool2d(x, 2), lambda x: F.avg_pool2d(x, 2),
                                      lambda x: F.conv2d(x, np.ones((2, 3, 2, 2)))])
def test_views_are_as_good_as_copies(function):
    base = RNG.standard_normal((6, 7, 3, 2))
    x, y = leaf(base), leaf(base.T.copy())
    (function(x.transpose(0, 3).transpose(1, 2))**2).sum().backward()
    (function(y)**2).sum().backward()
    np.testing.assert_array_equal(x.grad.numpy().T, y.grad.numpy())


@pytest.mark.parametrize("wants", list(itertools.product([False, True], repeat=3)))
def test_only_what_is_wanted(wants):
    arrays = [RNG.standard_normal(s) for s in ((2, 3, 4, 4), (5, 3, 2, 2), (5,))]
    some, every = [mgx.Tensor(a, requires_grad=want) for a, want in zip(arrays, wants)], [leaf(a) for a in arrays]
    if any(wants):
        F.conv2d(*some).square().sum().backward()
    F.conv2d(*every).square().sum().backward()
    for t, full, want in zip(some, every, wants):
        assert (t.grad is not None) == want
        if want:
            np.testing.assert_array_equal(t.grad.numpy(), full.grad.numpy())


@pytest.mark.parametrize("shape, weight", [((0, 3, 4, 4), (2, 3, 2, 2)), ((2, 3, 4, 4), (0, 3, 2, 2)),
                                           ((2, 0, 4, 4), (2, 0, 2, 2))])
def test_nothing_in_nothing_out(shape, weight):
    x, w, b = leaf(np.ones(shape)), leaf(np.ones(weight)), leaf(np.full(weight[0], 7.0))
    y = F.conv2d(x, w, b)
    y.sum().backward()
    assert y.shape == (shape[0], weight[0], 3, 3) and (y.detach().numpy() == 7).all()
    assert all((t.grad.numpy() == 0).all() for t in (x, w)) and (b.grad.numpy() == 9 * shape[0]).all()
    assert F.max_pool2d(x, 2).shape == F.avg_pool2d(x, 2).shape == (*shape[:2], 2, 2)


# ----- modules ---------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("make, text", [
    (lambda: nn.Conv1d(4, 6, 3), "Conv1d(4, 6, kernel_size=(3,), stride=(1,))"),
    (lambda: nn.Conv2d(4, 6, 3, padding="same", groups=2, bias=False),
     "Conv2d(4, 6, kernel_size=(3, 3), stride=(1, 1), padding=same, groups=2, bias=False)"),
    (lambda: nn.Conv2d(4, 6, (3, 5), stride=2, padding=1, dilation=2),
     "Conv2d(4, 6, kernel_size=(3, 5), stride=(2, 2), padding=(1, 1), dilation=(2, 2))"),
    (lambda: nn.MaxPool2d((2, 3), 1, padding=1),
     "MaxPool2d(kernel_size=(2, 3), stride=1, padding=1, dilation=1, ceil_mode=False)"),
    (lambda: nn.MaxPool2d(2, ceil_mode=True),
     "MaxPool2d(kernel_size=2, stride=2, padding=0, dilation=1, ceil_mode=True)"),
    (lambda: nn.AvgPool2d(2, ceil_mode=True), "AvgPool2d(kernel_size=2, stride=2, padding=0)"),
    (lambda: nn.AvgPool2d(2, count_include_pad=False), "AvgPool2d(kernel_size=2, stride=2, padding=0)")])
def test_modules_call_their_functions(make, text):
    module = make()
    assert repr(module) == text
    x = mgx.Tensor(RNG.standard_normal((2, 4, 9, 9) if "1d" not in text else (2, 4, 9)).astype(np.float32))
    name = {"Conv1d": "conv1d", "Conv2d": "conv2d", "MaxPool2d": "max_pool2d", "AvgPool2d": "avg_pool2d"}[
        type(module).__name__]
    words = ("stride", "padding", "dilation", "groups", "count_include_pad", "ceil_mode", "kernel_size", "weight",
             "bias")
    options = {word: getattr(module, word) for word in words if hasattr(module, word)}
    if "Conv" in text:
        del options["kernel_size"]
    np.testing.assert_array_equal(module(x).detach().numpy(), getattr(F, name)(x, **options).detach().numpy())


def test_every_module_is_tested():
    lines = (DATA / "names" / "nn_layers.txt").read_text()
    assert all(hasattr(nn, name) and f"nn.{name}(" in lines for name in convolution.__all__)


def test_convolutions_start_as_torch_and_from_their_seed():
    layer = nn.Conv2d(32, 60, (3, 5), groups=2, rng=3)
    w, limit = layer.weight.numpy(), 1 / math.sqrt(16 * 15)
    assert w.shape == (60, 16, 3, 5) and w.dtype == np.float32 and layer.bias.shape == (60,)
    assert np.abs(w).max() <= limit and abs(w.std() * math.sqrt(3) / limit - 1) < 0.02
    assert (nn.Conv2d(32, 60, (3, 5), groups=2, rng=3).weight.numpy() == w).all()
    assert nn.Conv1d(2, 2, 1, dtype="float64").weight.dtype == np.float64


def test_a_small_net_learns():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((60, 1, 6, 6)).astype(np.float32)
    labels = (x[:, 0, :, 1:] * x[:, 0, :, :-1]).sum((1, 2)) > 0
    net = nn.Sequential(nn.Conv2d(1, 8, 2, rng=0), nn.ReLU(), nn.MaxPool2d(2, 1), nn.Conv2d(8, 8, 2, rng=1), nn.ReLU(),
                        nn.AvgPool2d(3), nn.Flatten(), nn.Linear(8, 2, rng=2))
    step = mgx.optim.Adam(net.parameters(), lr=0.02)
    for _ in range(120):
        step.zero_grad()
        loss = F.cross_entropy(net(mgx.Tensor(x)), labels.astype(np.int64))
        loss.backward()
        step.step()
    assert loss.item() < 0.2


# ----- errors ----------------------------------------------------------------------------------------------------

def zeros(*shape, dtype="float32"):
    return mgx.Tensor(np.zeros(shape, dtype))


@pytest.mark.parametrize("call, error, words", [
    (lambda: F.conv2d(zeros(1, 3, 4, 4), zeros(2, 4, 3, 3)), ShapeError, r"conv2d: 3 channels .*\(4 \* 1 != 3\)"),
    (lambda: F.conv2d(zeros(1, 4, 4, 4), zeros(3, 2, 3, 3), groups=2), ShapeError, r"\(3 is no multiple of 2\)"),
    (lambda: F.conv2d(zeros(1, 3, 4, 4), zeros(2, 3, 5, 3)), ShapeError, r"\(5 > 4 along axis -2\)"),
    (lambda: F.conv1d(zeros(1, 3, 4), zeros(2, 3, 3), dilation=2, padding=0),
     ShapeError, r"conv1d.*\(5 > 4 along axis -1"),
    (lambda: F.conv2d(zeros(1, 3, 4, 4), zeros(2, 3, 0, 3)), ShapeError, "hold nothing"),
    (lambda: F.conv2d(zeros(3, 4), zeros(2, 3, 3, 3)), ShapeError, r"conv2d: an input of 4 axes.*\(3, 4\)"),
    (lambda: F.conv2d(zeros(1, 3, 4, 4), zeros(2, 3, 3)), ShapeError, r"a weight of 4 axes.*\(2, 3, 3\)"),
    (lambda: F.conv2d(zeros(1, 3, 4, 4), zeros(2, 3, 3, 3), zeros(3)),
     ShapeError, r"bias \(3,\) do not fit \(2 filters\)"),
    (lambda: F.conv2d(zeros(1, 3, 4, 4), zeros(2, 3, 3, 3, dtype="float64")), DTypeError, "float32 and float64"),
    (lambda: F.conv2d(zeros(1, 3, 4, 4), zeros(2, 3, 3, 3), np.zeros(2)), DTypeError, "float32 and float64"),
    (lambda: F.conv2d(zeros(1, 3, 4, 4, dtype="int64"), zeros(2, 3, 3, 3, dtype="int64")), DTypeError, "int64"),
    (lambda: F.conv2d(zeros(1, 3, 4, 4), zeros(2, 3, 3, 3), stride=0), OptionError, "stride is an integer >= 1 or 2"),
    (lambda: F.conv2d(zeros(1, 3, 4, 4), zeros(2, 3, 3, 3), stride=(1, 1, 1)), OptionError, r"not \(1, 1, 1\)"),
    (lambda: F.conv2d(zeros(1, 3, 4, 4), zeros(2, 3, 3, 3), dilation=2**31), OptionError, "dilation"),
    (lambda: F.conv2d(zeros(1, 3, 4, 4), zeros(2, 3, 3, 3), padding=-1), OptionError, "padding is an integer >= 0"),
    (lambda: F.conv2d(zeros(1, 3, 4, 4), zeros(2, 3, 3, 3), padding="full"), OptionError, "'full'"),
    (lambda: F.conv2d(zeros(1, 3, 4, 4), zeros(2, 3, 3, 3), padding="same", stride=2),
     OptionError, r"stride 1, not \(2, 2"),
    (lambda: F.conv2d(zeros(1, 3, 4, 4), zeros(2, 3, 3, 3), groups=True),
     OptionError, "groups is an integer >= 1, not True"),
    (lambda: F.max_pool2d(zeros(1, 1, 4, 4), 5), ShapeError, r"max_pool2d.*\(5 > 4 along axis -2\)"),
    (lambda: F.max_pool2d(zeros(1, 1, 4, 4), 2, padding=2), OptionError, r"padding \(2, 2\) is more than half"),
    (lambda: F.max_pool2d(zeros(1, 1, 1, 1), 2, dilation=3, padding=2),
     ShapeError, r"window \(0, 0\) holds nothing but"),
    (lambda: F.max_pool2d(zeros(1, 1, 4, 4, dtype="int64"), 2), DTypeError, "int64"),
    (lambda: F.avg_pool2d(zeros(4, 4), 2), ShapeError, r"avg_pool2d: an input of 4 axes"),
    (lambda: F.avg_pool2d(zeros(1, 1, 4, 4), 2.0), OptionError, "kernel_size"),
    (lambda: nn.Conv2d(3, 4, 3, groups=2), OptionError, "Conv2d: in_channels=3 is no multiple of groups=2"),
    (lambda: nn.Conv2d(4, 3, 3, groups=2), OptionError, "out_channels=3"),
    (lambda: nn.Conv2d(0, 3, 3), OptionError, "in_channels is an integer >= 1, not 0"),
    (lambda: nn.Conv1d(1, 3, (3, 3)), OptionError, "kernel_size is an integer >= 1, not"),
    (lambda: nn.Conv2d(1, 3, 3, padding="same", stride=2), OptionError, "padding='same'")])
def test_refusals(call, error, words):
    with pytest.raises(error, match=words):
        call()


def test_too_large_is_an_error_not_a_crash():
    with pytest.raises(MemoryError):
        F.conv2d(zeros(1, 1, 1, 1), zeros(1, 1, 1, 1), padding=2**31 - 1)
    with pytest.raises(MemoryError, match="4294967295 by 4294967295 windows"):         # for no image either
        F.conv2d(zeros(0, 1, 1, 1), zeros(1, 1, 1, 1), padding=2**31 - 1)
