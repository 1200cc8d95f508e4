"""Normalisation against its formulas in NumPy, against values recorded from torch, and by differences."""
import copy
import itertools
import math

import numpy as np
import pytest
from samples import orders_by_differences
from recorded import DATA, cases, check

import microgradx as mgx
from microgradx import nn
from microgradx.errors import DTypeError, OptionError, ShapeError
from microgradx.nn import functional as F
from microgradx.nn import normalization

RNG = np.random.default_rng(12)
CASES = {case["id"]: case for case in cases("torch_nets.npz") if "norm" in case["op"]}
DTYPES = [np.float32, np.float64]
CLOSE = {np.float32: dict(rtol=1e-5, atol=1e-5), np.float64: dict(rtol=1e-12, atol=1e-12)}


def leaf(a):
    return mgx.Tensor(a, requires_grad=True)


@pytest.mark.parametrize("name", CASES)
def test_recorded(name):
    check(CASES[name], lambda case, xs: [getattr(F, case["op"])(
        xs[0], **case["kwargs"], **dict(zip(("weight", "bias"), xs[1:])))])


def test_every_function_is_recorded():
    lines = (DATA / "names" / "nn_layers.txt").read_text()
    recorded = {case["op"] for case in CASES.values()}
    assert all(name in recorded or f"F.{name}(" in lines for name in normalization.FUNCTIONS)
    assert {case["dtype"] for case in CASES.values()} == {"float32", "float64"}


# ----- formulas --------------------------------------------------------------------------------------------------

def units(x, axes, eps, centred=True):
    x = x.astype(float)
    off = x - x.mean(axes, keepdims=True) if centred else x
    return off / np.sqrt((off**2).mean(axes, keepdims=True) + eps)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape, last", [((3, 1), 1), ((7, 33), 1), ((2, 3, 5), 2), ((65, 4), 1), ((1, 5000), 1),
                                         ((130, 7), 1), ((9,), 1)])
def test_rows(shape, last, dtype):
    x, axes = RNG.standard_normal(shape).astype(dtype), tuple(range(-last, 0))
    w, b = (RNG.standard_normal(shape[-last:]).astype(dtype) for _ in range(2))
    g = RNG.standard_normal(shape).astype(dtype)
    others = tuple(range(len(shape) - last))
    for function, centred, extra, truth in (
            (F.layer_norm, True, (w, b), units(x, axes, 1e-5) * w + b),
            (F.rms_norm, False, (w,), units(x, axes, np.finfo(dtype).eps, False) * w)):
        leaves = [leaf(a) for a in (x, *extra)]
        y = function(leaves[0], shape[-last:], *leaves[1:])
        assert y.dtype == dtype and y.shape == shape
        np.testing.assert_allclose(y.detach().numpy(), truth, **CLOSE[dtype])
        y.backward(mgx.Tensor(g))
        u = units(x, axes, 1e-5 if centred else np.finfo(dtype).eps, centred)
        np.testing.assert_allclose(leaves[1].grad.numpy(), (g * u).sum(others), **CLOSE[dtype])
        if centred:
            np.testing.assert_allclose(leaves[2].grad.numpy(), g.sum(others), **CLOSE[dtype])
        fast = [t.grad.numpy() for t in leaves]
        for t in leaves:
            t.grad = None
        function(leaves[0], shape[-last:], *leaves[1:]).backward(mgx.Tensor(g), create_graph=True)
        for t, a in zip(leaves, fast):                          # the kernels and the recorded formula agree
            np.testing.assert_allclose(t.grad.detach().numpy(), a, **CLOSE[dtype])
            t.grad = None


def test_a_large_mean_does_not_drown_the_variance():
    x = (1e4 + RNG.standard_normal((4, 256))).astype(np.float32)
    np.testing.assert_allclose(F.layer_norm(mgx.Tensor(x), 256).numpy(), units(x, (1,), 1e-5), atol=2e-3)
    np.testing.assert_allclose(F.layer_norm(mgx.Tensor(x.astype(float)), 256).numpy(), units(x, (1,), 1e-5), atol=1e-9)


def test_a_constant_row_is_zero_and_nan_stays_in_its_row():
    x = leaf([[5.0, 5.0, 5.0], [1.0, math.nan, 2.0], [1.0, 2.0, 3.0]])
    y = F.layer_norm(x, 3)
    y.backward(mgx.Tensor([[1.0, 2.0, 3.0]] * 3))
    assert (y.detach().numpy()[0] == 0).all() and np.isnan(y.detach().numpy()[1]).all()
    assert np.isfinite(x.grad.numpy()[[0, 2]]).all()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape, groups", [((2, 6), 3), ((3, 4, 5), 1), ((1, 4, 3, 2), 4), ((2, 9, 2, 3), 3)])
def test_groups(shape, groups, dtype):
    x = RNG.standard_normal(shape).astype(dtype)
    truth = units(x.reshape(shape[0], groups, -1), (2,), 1e-5).reshape(shape)
    np.testing.assert_allclose(F.group_norm(mgx.Tensor(x), groups).numpy(), truth, **CLOSE[dtype])
    w, b = (RNG.standard_normal(shape[1]).astype(dtype) for _ in range(2))
    along = (-1, *[1] * (len(shape) - 2))
    for weight, bias in ((w, b), (w, None), (None, b)):
        wanted = truth * (1 if weight is None else w.reshape(along)) + (0 if bias is None else b.reshape(along))
        np.testing.assert_allclose(F.group_norm(mgx.Tensor(x), groups, weight, bias).numpy(), wanted, **CLOSE[dtype])


@pytest.mark.parametrize("size", [1e-30, 1e-12, 1.0, 1e25])
@pytest.mark.parametrize("shape, groups", [((2, 6, 5), 3), ((3, 4, 40), 4), ((70, 8), 2)])
def test_gradients_of_weights_of_channels(shape, groups, size):
    """Rows too small or large for their squares, too: against the same in double by single operations."""
    x, g = RNG.standard_normal(shape).astype("f4") * np.float32(size), RNG.standard_normal(shape).astype("f4")
    w, b = (RNG.standard_normal(shape[1]).astype("f4") for _ in range(2))
    ours = [mgx.Tensor(a, requires_grad=True) for a in (x, w, b)]
    F.group_norm(ours[0], groups, *ours[1:], eps=0.0).backward(mgx.Tensor(g))
    wide = [mgx.Tensor(a, requires_grad=True, dtype="f8") for a in (x, w, b)]
    rows, along = wide[0].reshape(shape[0], groups, -1), (-1, *[1] * (len(shape) - 2))
    units = (rows - rows.mean(2, keepdims=True)) / rows.var(2, keepdims=True, correction=0).sqrt()
    (units.reshape(shape) * wide[1].reshape(along) + wide[2].reshape(along)).backward(mgx.Tensor(g.astype("f8")))
    for one, other in zip(ours, wide, strict=True):
        truth = other.grad.numpy()
        np.testing.assert_allclose(one.grad.numpy(), truth, rtol=1e-4, atol=1e-4 * abs(truth).max())


@pytest.mark.parametrize("size", [1e-30, 1.0])
def test_the_gradient_of_the_weight_of_many_elements(size):
    signs = np.tile([1.0, -1.0], 500_000).astype("f4")
    x, w = mgx.Tensor(signs.reshape(1, 1, -1) * np.float32(size)), leaf(np.ones(1, "f4"))
    F.group_norm(x, 1, w, eps=0.0).backward(mgx.Tensor(signs.reshape(1, 1, -1) / np.float32(10)))
    assert math.isclose(w.grad.item(), 100_000, rel_tol=1e-6)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(5, 3), (4, 3, 7), (2, 3, 4, 5), (1, 2, 3, 3)])
def test_batches(shape, dtype):
    channels, axes = shape[1], (0, *range(2, len(shape)))
    layer = (nn.BatchNorm2d if len(shape) == 4 else nn.BatchNorm1d)(channels, momentum=0.25, dtype=dtype)
    w, b = (RNG.standard_normal(channels).astype(dtype) for _ in range(2))
    layer.load_state_dict({**layer.state_dict(), "weight": w, "bias": b})
    across = (-1, *[1] * (len(shape) - 2))
    mean, var = np.zeros(channels), np.ones(channels)
    for _ in range(3):
        x = (RNG.standard_normal(shape) * 2 + 1).astype(dtype)
        truth = units(x, axes, 1e-5) * w.reshape(across) + b.reshape(across)
        y = layer(mgx.Tensor(x))
        np.testing.assert_allclose(y.detach().numpy(), truth, **CLOSE[dtype])
        assert y.is_contiguous()
        mean = 0.75 * mean + 0.25 * x.mean(axes)
        var = 0.75 * var + 0.25 * x.var(axes, ddof=1)
    np.testing.assert_allclose(layer.running_mean.numpy(), mean, **CLOSE[dtype])
    np.testing.assert_allclose(layer.running_var.numpy(), var, **CLOSE[dtype])
    assert layer.num_batches_tracked.item() == 3 and not layer.running_var.requires_grad
    state = layer.state_dict()
    y = layer.eval()(mgx.Tensor(x))
    truth = (x - mean.reshape(across)) / np.sqrt(var.reshape(across) + 1e-5) * w.reshape(across) + b.reshape(across)
    np.testing.assert_allclose(y.detach().numpy(), truth, **CLOSE[dtype])
    assert all((layer.state_dict()[name].numpy() == t.numpy()).all() for name, t in state.items())
    twin = copy.deepcopy(layer)
    assert (twin(mgx.Tensor(x)).numpy() == y.numpy()).all()


def test_the_average_over_all_batches():
    layer, batches = nn.BatchNorm1d(2, momentum=None), RNG.standard_normal((4, 6, 2)).astype(np.float32)
    for x in batches:
        layer(mgx.Tensor(x))
    np.testing.assert_allclose(layer.running_mean.numpy(), batches.mean((0, 1)), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(layer.running_var.numpy(), batches.var(1, ddof=1).mean(0), rtol=1e-5)


def test_without_running_numbers_the_batch_counts_always():
    layer, x = nn.BatchNorm1d(3, affine=False, track_running_stats=False), RNG.standard_normal((5, 3))
    assert list(layer.parameters()) == [] and list(layer.buffers()) == []
    for module in (layer, layer.eval()):
        np.testing.assert_allclose(module(mgx.Tensor(x)).numpy(), units(x, (0,), 1e-5), rtol=1e-12)


# ----- gradients by differences ----------------------------------------------------------------------------------

@pytest.mark.parametrize("function, shapes", [
    (lambda x, w, b: F.layer_norm(x, (4,), w, b, 0.1), [(2, 3, 4), (4,), (4,)]),
    (lambda x, w: F.rms_norm(x, (3, 4), w, 0.1), [(2, 3, 4), (3, 4)]),
    (lambda x, w, b: F.group_norm(x, 2, w, b, 0.1), [(2, 4, 3), (4,), (4,)]),
    (lambda x, w, b: F.group_norm(x, 2, w, b, 0.1), [(3, 6), (6,), (6,)]),
    (lambda x, b: F.group_norm(x, 1, None, b, 0.1), [(2, 3, 2), (3,)]),
    (lambda x, w, b: F.instance_norm(x, None, None, w, b, eps=0.1), [(2, 3, 4), (3,), (3,)]),
    (lambda x, w: F.batch_norm(x, None, None, w, None, True, eps=0.1), [(4, 3), (3,)]),
    (lambda x, w, b: F.batch_norm(x, None, None, w, b, True, eps=0.1), [(3, 2, 4), (2,), (2,)]),
    (lambda x, w, b: F.batch_norm(x, [0.5, 1.0], [2.0, 0.5], w, b), [(3, 2, 4), (2,), (2,)])])
def test_three_orders_by_differences(function, shapes):
    orders_by_differences(function, *([RNG.standard_normal(s) for s in shapes] for _ in range(2)))


def test_views_are_as_good_as_copies():
    x, y = leaf(base := RNG.standard_normal((4, 6))), leaf(base.T.copy())
    for t, function in itertools.product((x, y), (lambda t: F.layer_norm(t, 4), lambda t: F.batch_norm(
            t, None, None, training=True), lambda t: F.group_norm(t, 2))):
        (function(t.T if t is x else t)**3).sum().backward()
    np.testing.assert_allclose(x.grad.numpy().T, y.grad.numpy(), rtol=1e-14)


# ----- rows of every size ----------------------------------------------------------------------------------------

def norm_orders(x, w, g, centred, eps):
    """Values and gradients for x and w in 80 bits, and of each the largest term."""
    x, w, g, n = *(t.astype(np.longdouble) for t in (x, w, g)), x.shape[1]
    off = np.where((x == x[:, :1]).all(1, keepdims=True), 0, x - x.mean(1, keepdims=True)) if centred else x
    size = np.sqrt((off * off).mean(1, keepdims=True) + np.longdouble(eps))
    u, a = off / size, g * w
    dx = (a - (a.mean(1, keepdims=True) if centred else 0) - u * (a * u).mean(1, keepdims=True)) / size
    return (u * w, abs(w) * n), (dx, n * abs(a).max(1, keepdims=True) / size), ((g * u).sum(0), n * abs(g).sum(0))


@pytest.mark.parametrize("dtype, powers", [(np.float32, (-44, -41, -38, -37, -22, 0, 20, 37)),
                                           (np.float64, (-322, -312, -307, -160, 0, 160, 307))])
@pytest.mark.parametrize("centred", [True, False])
@pytest.mark.parametrize("recorded", [False, True])
def test_gradients_of_rows_of_every_size(dtype, powers, centred, recorded):
    """Also where 1 / sqrt(variance + eps) is no number of the dtype."""
    info, n = np.finfo(dtype), 6
    rows = {"ordinary": RNG.standard_normal((3, n)), "equal": np.full((3, n), 0.1), "zeros": np.zeros((3, n)),
            "far": RNG.standard_normal((3, n)) + 30}
    for (kind, base), power, eps in itertools.product(rows.items(), powers, (0.0, 1e-30, 1e-5)):
        if eps == 0 and kind == "zeros" or kind == "equal" and (centred or power > 300):
            continue                    # 0 / 0; roundings of equal numbers; eps beside squares of numbers of 10^307
        with np.errstate(over="ignore"):
            x = (base * np.longdouble(10) ** power).astype(dtype)
        w, g = RNG.standard_normal(n).astype(dtype), RNG.standard_normal(x.shape).astype(dtype)
        if not np.isfinite(x).all() or kind == "far" and centred and (x == x[:, :1]).all(1).any():
            continue
        leaves = leaf(x), leaf(w)
        y = F.layer_norm(leaves[0], n, leaves[1], None, eps) if centred else F.rms_norm(leaves[0], n, leaves[1], eps)
        y.backward(mgx.Tensor(g), create_graph=recorded)
        found = [t.detach().numpy() for t in (y, *(t.grad for t in leaves))]
        for what, got, (truth, largest) in zip(("y", "dx", "dw"), found, norm_orders(x, w, g, centred, eps)):
            with np.errstate(over="ignore"):
                off = abs(got - truth) > 2000 * info.eps * largest + 10 * info.smallest_subnormal
            assert not (off & (abs(truth) < info.max / 2)).any(), (what, kind, power, eps, got, truth)


@pytest.mark.parametrize("wants", list(itertools.product([False, True], repeat=3)))
def test_only_what_is_wanted(wants):
    arrays = [RNG.standard_normal(s) for s in ((5, 4), (4,), (4,))]
    some, every = [mgx.Tensor(a, requires_grad=want) for a, want in zip(arrays, wants)], [leaf(a) for a in arrays]
    for leaves in (some, every):
        if any(t.requires_grad for t in leaves):
            F.layer_norm(leaves[0], 4, *leaves[1:]).square().sum().backward()
    for t, full, want in zip(some, every, wants):
        assert (t.grad is not None) == want and (not want or (t.grad.numpy() == full.grad.numpy()).all())


@pytest.mark.parametrize("shape", [(0, 3), (2, 0)])
def test_nothing_in_nothing_out(shape):
    x, w, b = leaf(np.ones(shape)), leaf(np.ones(shape[1])), leaf(np.ones(shape[1]))
    F.layer_norm(x, shape[1], w, b).sum().backward()
    assert x.grad.shape == shape and w.grad.shape == b.grad.shape == shape[1:]
    assert (w.grad.numpy() == 0).all() and (b.grad.numpy() == 0).all()


# ----- modules ---------------------------------------------------------------------------------------------------

MODULES = {
    "LayerNorm((5,), eps=1e-05, elementwise_affine=True, bias=True)": lambda: nn.LayerNorm(5),
    "LayerNorm((2, 3), eps=1e-05, elementwise_affine=True, bias=False)": lambda: nn.LayerNorm((2, 3), bias=False),
    "RMSNorm((4,), eps=None, elementwise_affine=True)": lambda: nn.RMSNorm(4),
    "RMSNorm((4,), eps=1e-06, elementwise_affine=False)": lambda: nn.RMSNorm([4], 1e-6, False),
    "GroupNorm(2, 4, eps=1e-05, affine=True, bias=True)": lambda: nn.GroupNorm(2, 4),
    "BatchNorm1d(3, eps=1e-05, momentum=None, affine=False, bias=False, track_running_stats=True)":
        lambda: nn.BatchNorm1d(3, momentum=None, affine=False),
    "BatchNorm2d(3, eps=0.001, momentum=0.1, affine=True, bias=True, track_running_stats=False)":
        lambda: nn.BatchNorm2d(3, 1e-3, track_running_stats=False),
    "BatchNorm3d(3, eps=1e-05, momentum=0.1, affine=True, bias=False, track_running_stats=True)":
        lambda: nn.BatchNorm3d(3, bias=False)}
OTHERS = {f"InstanceNorm{k}d" for k in (1, 2, 3)} | {"LocalResponseNorm"}      # in data/names/nn_layers.txt


@pytest.mark.parametrize("text", MODULES)
def test_modules_begin_with_ones_and_zeros(text):
    module = MODULES[text]()
    assert repr(module) == text
    affine = "affine=True" in text
    assert (module.weight is not None) == affine and (not affine or (module.weight.numpy() == 1).all())
    assert getattr(module, "bias", None) is None or (module.bias.numpy() == 0).all()


def test_every_module_is_tested():
    assert {text.split("(")[0] for text in MODULES} | OTHERS == set(normalization.__all__)
    assert all(hasattr(nn, name) for name in normalization.__all__)


def test_modules_call_their_functions():
    x = mgx.Tensor(RNG.standard_normal((3, 4, 5)).astype(np.float32))
    for module, truth in ((nn.LayerNorm((4, 5)), F.layer_norm(x, (4, 5))), (nn.RMSNorm(5), F.rms_norm(x, 5)),
                          (nn.GroupNorm(2, 4), F.group_norm(x, 2)),
                          (nn.BatchNorm1d(4), F.batch_norm(x, None, None, training=True))):
        for p in module.parameters():
            nn.init.constant_(p, 2.0)
        bias = 2 if getattr(module, "bias", None) is not None else 0
        np.testing.assert_allclose(module(x).detach().numpy(), truth.numpy() * 2 + bias, rtol=1e-6, atol=1e-6)


# ----- errors ----------------------------------------------------------------------------------------------------

def zeros(*shape, dtype="float32"):
    return mgx.Tensor(np.zeros(shape, dtype))


@pytest.mark.parametrize("call, error, words", [
    (lambda: F.layer_norm(zeros(2, 4), 5), ShapeError, r"layer_norm: .*\(2, 4\).*\(\(4,\) != \(5,\)\)"),
    (lambda: F.layer_norm(zeros(4), (2, 4)), ShapeError, r"\(\(4,\) != \(2, 4\)\)"),
    (lambda: F.layer_norm(zeros(2, 4), 4, zeros(2)), ShapeError, r"weight has shape \(2,\), not \(4,\)"),
    (lambda: F.layer_norm(zeros(2, 4), 4, None, zeros(2, 4)), ShapeError, r"bias has shape \(2, 4\), not \(4,\)"),
    (lambda: F.layer_norm(zeros(2, 4), 4.0), OptionError, "normalized_shape is an integer >= 0 or several, not 4.0"),
    (lambda: F.layer_norm(zeros(2, 4), ()), OptionError, "normalized_shape"),
    (lambda: F.layer_norm(zeros(2, 4), 4, zeros(4, dtype="float64")), DTypeError,
     "float32 and, of weight, float64 do not mix"),
    (lambda: F.layer_norm(zeros(2, 4, dtype="int64"), 4), DTypeError, "int64"),
    (lambda: F.rms_norm(zeros(2, 4, dtype="bool"), 4), DTypeError, "rms_norm: .*bool"),
    (lambda: F.rms_norm(zeros(2, 4), 3), ShapeError, "rms_norm"),
    (lambda: F.group_norm(zeros(2, 5, 3), 2), ShapeError, "group_norm: .*5 channels, no multiple of 2 groups"),
    (lambda: F.group_norm(zeros(5), 1), ShapeError, "no axis of channels"),
    (lambda: F.group_norm(zeros(2, 4), 0), OptionError, "integer >= 1, not 0"),
    (lambda: F.group_norm(zeros(2, 4), 2, zeros(2)), ShapeError, r"weight has shape \(2,\), not \(4,\)"),
    (lambda: F.batch_norm(zeros(4), None, None, training=True), ShapeError, "no axis of channels"),
    (lambda: F.batch_norm(zeros(2, 4), None, None), OptionError, "running mean and variance are needed"),
    (lambda: F.batch_norm(zeros(2, 4), zeros(3), zeros(3)), ShapeError, r"running_mean has shape \(3,\), not \(4,\)"),
    (lambda: F.batch_norm(zeros(1, 4), None, None, training=True), ShapeError, r"\(1 < 2\)"),
    (lambda: nn.BatchNorm2d(3)(zeros(2, 3)), ShapeError, r"BatchNorm2d: an input of 4 axes, not of shape \(2, 3\)"),
    (lambda: nn.BatchNorm1d(3)(zeros(3)), ShapeError, "BatchNorm1d: an input of 2 or 3 axes"),
    (lambda: nn.BatchNorm1d(3)(zeros(2, 4)), ShapeError, r"\(3,\) != \(4,\)"),
    (lambda: nn.BatchNorm1d(-3), OptionError, "BatchNorm1d"),
    (lambda: nn.GroupNorm(2, 5), OptionError, "GroupNorm: 5 channels are no multiple of 2 groups"),
    (lambda: nn.LayerNorm("5"), OptionError, "LayerNorm: normalized_shape")])
def test_refusals(call, error, words):
    with pytest.raises(error, match=words):
        call()


def test_a_refused_batch_changes_nothing():
    layer = nn.BatchNorm1d(3)
    before = layer.state_dict()
    for bad in (zeros(1, 3), zeros(2, 4), zeros(2, 3, dtype="float64")):
        with pytest.raises((ShapeError, DTypeError)):
            layer(bad)
    assert all((t.numpy() == before[name].numpy()).all() for name, t in layer.state_dict().items())


@pytest.mark.parametrize("make", [lambda: nn.BatchNorm1d(3), lambda: nn.BatchNorm1d(3, momentum=None),
                                  lambda: nn.InstanceNorm1d(3, track_running_stats=True)])
def test_statistics_that_are_tracked_no_longer_stay(make):
    """``track_running_stats = False`` of a module that has them: the batch's count in training, and are not noted."""
    norm, x = make(), mgx.Tensor(np.random.default_rng(0).normal(3, 2, (8, 3, 4)).astype("float32"))
    norm(x)
    before, y = {name: t.tolist() for name, t in norm.named_buffers()}, norm(x + 5)
    norm.track_running_stats = False
    kept = {name: t.tolist() for name, t in norm.named_buffers()}
    assert kept != before and np.allclose(norm(x).numpy(), y.numpy(), atol=1e-5)
    assert {name: t.tolist() for name, t in norm.named_buffers()} == kept
