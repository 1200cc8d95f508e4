"""Layers, hooks, tables, initialisation and gains: every module of nn, against values recorded from torch."""
import copy
import inspect
import math
import pickle

import numpy as np
import pytest
from recorded import DATA

import microgradx as mgx
from microgradx import nn
from microgradx.errors import DTypeError, IndexError_, OptionError, ShapeError
from microgradx.nn import functional as F
from microgradx.nn import init

RECORDED = np.load(DATA / "nn_cases.npz")
NAMES = sorted({name.split("/")[0] for name in RECORDED.files})
TOLERANCE = {"float64": 1e-12, "float32": 1e-5}


def attend(**options):
    return lambda m, *xs: m(*xs, **options)


SHUT = np.array([[False, True, False, False, True, False]] * 5)
CASES = {                               # case: (our module, how it is called)
    "linear": (lambda t: nn.Linear(3, 4, dtype=t),), "prelu": (lambda t: nn.PReLU(3, dtype=t),),
    "embedding": (lambda t: nn.Embedding(7, 3, dtype=t),),
    "embedding_padding": (lambda t: nn.Embedding(7, 3, padding_idx=2, dtype=t),),
    "softmax": (lambda t: nn.Softmax(),), "log_softmax": (lambda t: nn.LogSoftmax(1),),
    "rnn": (lambda t: nn.RNN(3, 4, dtype=t),), "rnn_single": (lambda t: nn.RNN(3, 4, bias=False, dtype=t),),
    "rnn_relu": (lambda t: nn.RNN(3, 4, 2, nonlinearity="relu", batch_first=True, dtype=t),),
    "gru": (lambda t: nn.GRU(3, 4, 2, dtype=t),),
    "gru_batch_first": (lambda t: nn.GRU(3, 4, batch_first=True, dtype=t),),
    "lstm": (lambda t: nn.LSTM(3, 4, 2, dtype=t), lambda m, x, h, c: m(x, (h, c))),
    "lstm_batch_first": (lambda t: nn.LSTM(3, 4, batch_first=True, dtype=t),),
    "attention": (lambda t: nn.MultiheadAttention(6, 2, batch_first=True, dtype=t), attend()),
    "attention_causal": (lambda t: nn.MultiheadAttention(6, 3, batch_first=True, dtype=t),
                         attend(is_causal=True)),
    "attention_single": (lambda t: nn.MultiheadAttention(6, 2, bias=False, batch_first=True, dtype=t),
                         attend()),
    "attention_cross": (lambda t: nn.MultiheadAttention(6, 2, batch_first=True, dtype=t),
                        attend(attn_mask=SHUT))}
MADE = {name: cls for name, cls in vars(nn).items() if inspect.isclass(cls) and issubclass(cls, nn.Module)
        and cls is not nn.Module}
ARGUMENTS = {"Linear": (3, 4), "NonDynamicallyQuantizableLinear": (3, 4),
             "Embedding": (7, 3), "PReLU": (3,), "RNN": (3, 4, 2), "GRU": (3, 4, 2),
             "LSTM": (3, 4, 2), "MultiheadAttention": (6, 2), "Residual": (nn.Linear(3, 3),),
             "GroupNorm": (2, 4), "LayerNorm": (3,), "RMSNorm": (3,), "LocalResponseNorm": (2,),
             "Bilinear": (2, 3, 4), "EmbeddingBag": (4, 3), "Unflatten": (1, (2, 2)), "PixelShuffle": (2,),
             "PixelUnshuffle": (2,), "ChannelShuffle": (2,), "Unfold": (2,), "Fold": (3, 2), "RNNCell": (3, 4),
             "GRUCell": (3, 4), "LSTMCell": (3, 4), "TransformerEncoderLayer": (4, 2, 8),
             "Transformer": (4, 2, 1, 1, 8),
             "TransformerDecoderLayer": (4, 2, 8), "TransformerEncoder": (nn.TransformerEncoderLayer(4, 2, 8), 2),
             "TransformerDecoder": (nn.TransformerDecoderLayer(4, 2, 8), 2),
             "ModuleDict": ({"a": nn.Linear(3, 3)},), "ParameterList": ([nn.Parameter([1.0])],),
             "ParameterDict": ({"a": nn.Parameter([1.0])},),
             **{f"{kind}Pool{k}d": (2,) for kind in ("Avg", "Max", "AdaptiveAvg", "AdaptiveMax") for k in (1, 2)},
             **{f"{kind}{k}d": (2, 3, 2) for kind in ("Conv", "ConvTranspose") for k in (1, 2)},
             **{f"{kind}Norm{k}d": (3,) for kind in ("Batch", "Instance") for k in (1, 2, 3)},
             **{f"{kind}Pad{k}d": (2,) for k in (1, 2, 3)
                for kind in ("Zero", "Reflection", "Replication", "Circular")},
             **{f"ConstantPad{k}d": (2, 1.0) for k in (1, 2, 3)},
             "ModuleList": ([nn.Linear(3, 3), nn.PReLU()],), "Sequential": (nn.Linear(3, 3), nn.PReLU())}


def group(case, dtype, kind):
    head = f"{case}/{dtype}/{kind}/"
    return {name[len(head):]: RECORDED[name] for name in RECORDED.files if name.startswith(head)}


def assert_close(found, truth, tolerance, name=""):
    """To the tolerance, relative to the largest element."""
    np.testing.assert_allclose(found, truth, rtol=0, atol=tolerance * max(1, abs(truth).max(initial=0)), err_msg=name)


def flat(result):
    return [result] if isinstance(result, mgx.Tensor) else [y for part in result for y in flat(part)]


def leaf(data, dtype="float64"):
    return mgx.Tensor(np.asarray(data, dtype), requires_grad=True)


def normal(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape)


def test_every_layer_is_handed_on():
    for module in set(map(inspect.getmodule, MADE.values())):
        for name, cls in vars(module).items():
            if inspect.isclass(cls) and cls.__module__ == module.__name__ and issubclass(cls, nn.Module):
                assert name in nn.__all__ or name[0] == "_", (
                    f"nn.{name} is not handed on: name it in __all__ of {module.__name__.replace('.', '/')}.py")


def test_every_case_is_recorded():
    assert NAMES == sorted(CASES)


# ----- recorded modules ----------------------------------------------------------------------------------------------

@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("case", CASES)
def test_as_torch(case, dtype):
    make, *call = CASES[case]
    state, module = group(case, dtype, "state"), make(dtype)
    assert module.load_state_dict(state) == ([], [])                    # names and shapes are torch's
    xs = [mgx.Tensor(x, requires_grad=x.dtype.kind == "f") for x in group(case, dtype, "input").values()]
    ys = flat((call or [lambda m, *xs: m(*xs)])[0](module, *xs))
    outputs, cotangents = group(case, dtype, "output"), group(case, dtype, "cotangent")
    assert len(ys) == len(outputs)
    for y, truth in zip(ys, outputs.values()):
        assert y.dtype == dtype
        assert_close(y.detach().numpy(), truth, TOLERANCE[dtype])
    sum((y * c).sum() for y, c in zip(ys, cotangents.values())).backward()
    found = dict(module.named_parameters()) | {str(k): x for k, x in enumerate(xs)}
    for name, truth in group(case, dtype, "grad").items():
        assert_close(found[name].grad.numpy(), truth, TOLERANCE[dtype], name)


@pytest.mark.parametrize("case", ["embedding", "rnn", "gru", "lstm", "attention_causal"])
def test_second_derivatives(case):
    """d/dx of sum(w * dy/dx) against differences of dy/dx."""
    make, *call = CASES[case]
    module, inputs = make("float64"), group(case, "float64", "input").values()
    module.load_state_dict(group(case, "float64", "state"))
    xs = [x if x.dtype.kind == "i" else x * 0.5 for x in inputs]
    p, w = next(module.parameters()), normal(*next(module.parameters()).shape)

    def slope(create_graph):
        module.zero_grad()
        ys = flat((call or [lambda m, *xs: m(*xs)])[0](module, *map(mgx.Tensor, xs)))
        sum(y.square().sum() for y in ys).backward(create_graph=create_graph)
        return (p.grad * w).sum()

    first = slope(True)
    module.zero_grad()
    first.backward()
    second, at, h = p.grad.numpy(), p.numpy(), 1e-5
    module.zero_grad()
    direction = normal(*at.shape, seed=1)
    p.data = at + h * direction
    up = slope(False).item()
    p.data = at - h * direction
    down = slope(False).item()
    assert math.isclose((second * direction).sum(), (up - down) / (2 * h), rel_tol=1e-6)


@pytest.mark.parametrize("name", MADE)
def test_every_module_saves_loads_copies_and_prints(name):
    required = [p.name for p in inspect.signature(MADE[name]).parameters.values()
                if p.default is p.empty and p.kind is p.POSITIONAL_OR_KEYWORD]
    assert name in ARGUMENTS or not required, (
        f"{name} takes {', '.join(required)}: add an example of them to ARGUMENTS of tests/test_layers.py")
    one, other = (MADE[name](*copy.deepcopy(ARGUMENTS.get(name, ()))) for _ in range(2))
    for p in one.parameters():
        init.normal_(p, rng=3)
    other.load_state_dict(one.state_dict())
    for twin in (other, copy.deepcopy(one), pickle.loads(pickle.dumps(one))):
        assert list(twin.state_dict()) == list(one.state_dict())
        assert all((twin.state_dict()[k].numpy() == p.numpy()).all() for k, p in one.state_dict().items())
        assert repr(twin) == repr(one) and repr(one).startswith(name + "(")


# ----- one by one ----------------------------------------------------------------------------------------------------

def test_dropout():
    x = leaf(np.ones((100, 100)))
    layer = nn.Dropout(0.25, rng=0)
    y = layer(x)
    y.sum().backward()
    kept = y.numpy() != 0
    assert abs(kept.mean() - 0.75) < 0.01 and np.allclose(y.numpy()[kept], 1 / 0.75)
    assert (x.grad.numpy() == y.numpy()).all() and layer.eval()(x) is x
    single = F.dropout(leaf(np.ones((100, 100)), "float32"), 0.25, rng=0)
    assert single.dtype == np.float32 and ((single.numpy() != 0) == kept).all()
    assert (F.dropout(x, 1.0).numpy() == 0).all() and F.dropout(x, 0.0) is x
    mgx.manual_seed(3)
    first = nn.Dropout()(x).numpy()
    mgx.manual_seed(3)
    assert (nn.Dropout()(x).numpy() == first).all()


def test_embedding_refuses_ids():
    layer = nn.Embedding(3, 2)
    assert layer(np.zeros((0, 4), int)).shape == (0, 4, 2) and layer(mgx.tensor([2])).shape == (1, 2)
    for ids, error, words in (([3], IndexError_, "3 rows"), ([-1], IndexError_, r"id -1 at \[0\]"),
                              ([0.5], DTypeError, "int"), ([True], DTypeError, "bool")):
        with pytest.raises(error, match=words):
            layer(ids)


def test_rows_are_added_wherever_they_stand():
    """The gradient of x[ids] against NumPy's own sum, negative and repeated ids, any layout of the cotangent."""
    for dtype in ("float32", "float64"):
        for shape, ids in (((5, 3), [[0, -1], [4, 0]]), ((4,), [1, 1, -4]), ((3, 0), [0, 1]), ((2, 2, 3), [1, 0, 1])):
            x, ids = leaf(np.zeros(shape), dtype), np.array(ids)
            g = normal(*ids.shape, *shape[1:]).astype(dtype)
            truth = np.zeros(shape, dtype)
            np.add.at(truth, ids, g)
            x[ids].backward(mgx.Tensor(g.T.copy()).T)
            np.testing.assert_allclose(x.grad.numpy(), truth, rtol=1e-6)


def test_parts_share_one_gradient():
    """Views, masks and repeated rows of one tensor, whose gradients are added in place."""
    x = leaf(normal(4, 3))
    mask, rows = x.numpy() > 0, np.array([0, 0, 3])
    (x[0].sum() + 2 * x[:, 1:].sum() + 3 * x[mask].sum() + 4 * x[rows].sum() + 5 * x[::-2].sum()).backward()
    truth = np.zeros((4, 3)) + 3 * mask
    truth[0] += 1
    truth[:, 1:] += 2
    np.add.at(truth, rows, 4)
    truth[::-2] += 5
    np.testing.assert_allclose(x.grad.numpy(), truth)


def test_residual_and_lists():
    x = mgx.Tensor([[1.0, -2.0]])
    assert nn.Residual(nn.ReLU(), 0.5)(x).tolist() == [[1.5, -2]] and nn.Residual(nn.ReLU())(x).tolist() == [[2, -2]]
    with pytest.raises(ShapeError, match=r"\(1, 3\) != \(1, 2\)"):
        nn.Residual(nn.Linear(2, 3))(x)
    blocks = nn.ModuleList([nn.ReLU(), nn.Tanh()])
    blocks[-1] = nn.Sigmoid()
    assert [type(m) for m in blocks[1:]] == [nn.Sigmoid] and len(blocks.extend([nn.ReLU()])) == 3
    with pytest.raises(NotImplementedError):
        blocks(x)


def test_attention_function():
    q, k, v = (leaf(normal(2, 3, 4, 5, seed=s)) for s in range(3))
    scores = q.numpy() @ k.numpy().swapaxes(-1, -2) / math.sqrt(5)
    allowed = np.tril(np.ones((4, 4), bool))
    shares = np.where(allowed, np.exp(scores), 0)
    truth = shares / shares.sum(-1, keepdims=True) @ v.numpy()
    additive = mgx.Tensor(np.where(allowed, 0, -np.inf))
    for options in (dict(is_causal=True), dict(attn_mask=allowed), dict(attn_mask=additive)):
        np.testing.assert_allclose(F.scaled_dot_product_attention(q, k, v, **options).numpy(), truth, rtol=1e-12)
    flat_ = F.scaled_dot_product_attention(q, k, v, scale=0.0).numpy()
    np.testing.assert_allclose(flat_, np.broadcast_to(v.numpy().mean(-2, keepdims=True), flat_.shape), rtol=1e-12)
    dropped = nn.MultiheadAttention(4, 2, dropout=0.5, rng=0)
    x = mgx.Tensor(normal(3, 4).astype("float32"))
    assert (dropped(x)[0].numpy() != dropped(x)[0].numpy()).any()
    assert (dropped.eval()(x)[0].numpy() == dropped(x)[0].numpy()).all()


def test_normalize():
    x = normal(3, 4)
    np.testing.assert_allclose(F.normalize(mgx.Tensor(x), axis=0).numpy(), x / np.linalg.norm(x, axis=0), rtol=1e-12)
    assert (F.normalize(mgx.Tensor([[0.0, 0.0]])).numpy() == 0).all()


@pytest.mark.parametrize("make, error, words", [
    (lambda: nn.Dropout(1.5), OptionError, "p=1.5"), (lambda: nn.Dropout("half"), OptionError, "'half'"),
    (lambda: nn.Dropout(math.nan), OptionError, "p=nan"),
    (lambda: nn.Embedding(3, -1), OptionError, "sizes"), (lambda: nn.Embedding(3, 2, padding_idx=3), OptionError, "=3"),
    (lambda: nn.RNN(3, 4, nonlinearity="sin"), OptionError, "'sin'"), (lambda: nn.LSTM(3, 0), OptionError, "sizes"),
    (lambda: nn.GRU(3, 4)(mgx.Tensor(np.zeros((5, 2)))), ShapeError, r"\(5, 2\)"),
    (lambda: nn.GRU(3, 4)(mgx.Tensor(np.zeros((0, 3)))), ShapeError, "no steps"),
    (lambda: nn.LSTM(3, 4)(mgx.Tensor(np.zeros((5, 3), "f4")), [mgx.Tensor([[1.0]])] * 2), ShapeError, r"\(1, 4\)"),
    (lambda: nn.MultiheadAttention(6, 4), OptionError, "4 heads"),
    (lambda: nn.MultiheadAttention(6, 2)(mgx.Tensor(np.zeros((2, 5)))), ShapeError, r"\(2, 5\)"),
    (lambda: F.scaled_dot_product_attention(*[mgx.Tensor(np.zeros((2, 2)))] * 3, np.ones((2, 2), int)), DTypeError,
     "int64"),
    (lambda: F.scaled_dot_product_attention(mgx.Tensor([1.0]), *[mgx.Tensor(np.zeros((2, 1)))] * 2), ShapeError,
     "queries"),
    (lambda: nn.Residual(nn.ReLU), DTypeError, "Residual"), (lambda: nn.ModuleList([3]), DTypeError, "position 0"),
])
def test_bad_input(make, error, words):
    with pytest.raises(error, match=words):
        make()


# ----- hooks and tables ----------------------------------------------------------------------------------------------

def test_pre_hooks():
    layer, x = nn.Tanh(), mgx.Tensor([0.5])
    with layer.register_forward_pre_hook(lambda m, args: args[0] * 2):
        assert layer(x).item() == x.numpy()[0] * 0 + mgx.Tensor([1.0]).tanh().item()
    with layer.register_forward_pre_hook(lambda m, args: None):
        assert layer(x).item() == x.tanh().item()


class Pair(nn.Module):
    def forward(self, a, b, note=None):
        return a * b, a + b


def test_backward_hooks():
    seen, layer = [], Pair()
    handle = layer.register_full_backward_hook(lambda m, g_in, g_out: seen.append((m, g_in, g_out)))
    a, b = leaf([2.0, 3.0]), leaf([5.0, 7.0])
    for twice in (False, True):
        y, z = layer(a, b)
        (y.sum() + (z * 10).sum()).backward(retain_graph=twice)
        module, g_in, g_out = seen.pop()
        assert module is layer and not seen
        assert [g.tolist() for g in g_in] == [[15, 17], [12, 13]] and [g.tolist() for g in g_out] == [[1, 1], [10, 10]]
    assert a.grad.tolist() == [30, 34]
    handle.remove()
    layer(a, b)[0].sum().backward()
    assert not seen


def test_a_backward_hook_replaces_and_reaches_first_layers():
    layer, x, seen = nn.Linear(2, 1), leaf([[1.0, 2.0]], "float32"), []
    with layer.register_full_backward_hook(lambda m, g_in, g_out: g_in[0] * 0 + 7):
        layer(x).sum().backward()
    assert x.grad.tolist() == [[7, 7]] and layer.weight.grad.tolist() == [[1, 2]]
    with layer.register_full_backward_hook(lambda m, g_in, g_out: seen.append((g_in, g_out[0].tolist()))):
        layer(x.detach()).sum().backward()                      # an input that wants none
        with mgx.no_grad():
            layer(x)
    assert seen == [((None,), [[1]])]


def test_apply_goes_inside_first():
    net, seen = nn.Sequential(nn.Linear(2, 2), nn.Sequential(nn.Tanh())), []
    assert net.apply(seen.append) is net and seen == [net[0], net[1][0], net[1], net]


def test_summary():
    net = nn.Sequential(nn.Linear(3, 4), nn.LSTM(4, 5), nn.Identity())
    net[0].bias.requires_grad = False
    table = net[:2].summary(mgx.Tensor(np.zeros((6, 2, 3), "f4")))
    assert [(row.name, row.kind, row.shape, row.parameters) for row in table] == [
        ("", "Sequential", (6, 2, 5), 0), ("0", "Linear", (6, 2, 4), 16), ("1", "LSTM", (6, 2, 5), 220)]
    assert (table.total, table.trainable) == (236, 232) and net.training and net[0]._hooks["after"] == {}
    lines = repr(nn.summary(net)).splitlines()
    assert len({len(line) for line in lines[:-1]}) == 1 and lines[-1] == "236 parameters, 232 of them trained"
    with pytest.raises(ShapeError):
        net.summary(mgx.Tensor([[1.0]]))
    assert net.training and net[0]._hooks["after"] == {}


# ----- initialisation ------------------------------------------------------------------------------------------------

FILLS = {name: f for name, f in vars(init).items() if name.endswith("_") and name in init.__all__}


@pytest.mark.parametrize("name", sorted(set(FILLS) - {"lsuv_"}))
def test_every_fill(name):
    arguments = {"constant_": (2.0,), "sparse_": (0.5,)}.get(name, ())
    seeded = {"rng": 5} if "rng" in inspect.signature(FILLS[name]).parameters else {}
    shape = (6, 4, 3) if name == "dirac_" else (6, 4)
    one, two = leaf(np.full(shape, 9.0)), leaf(np.full(shape, 9.0), "float32")
    before = one.version
    assert FILLS[name](one, *arguments, **seeded) is one and one.is_leaf and one.requires_grad and one.version > before
    FILLS[name](two, *arguments, **seeded)
    assert (one.numpy() != 9).all() and (two.numpy() == one.numpy().astype("float32")).all()
    with pytest.raises(DTypeError, match="Tensor"):
        FILLS[name](np.zeros((2, 2)), *arguments)


def test_matrices():
    for shape in ((5, 3), (3, 5), (4, 4), (3, 2, 5)):
        w = init.orthogonal_(leaf(np.zeros(shape)), gain=2.0, rng=0).numpy().reshape(shape[0], -1)
        small = w @ w.T if w.shape[0] <= w.shape[1] else w.T @ w
        np.testing.assert_allclose(small, 4 * np.eye(len(small)), atol=1e-12)
    assert init.eye_(leaf(np.ones((2, 3)))).tolist() == [[1, 0, 0], [0, 1, 0]]
    for fill in (init.eye_, init.orthogonal_):
        with pytest.raises(ShapeError):
            fill(leaf([1.0]))


def test_truncated_normal():
    x = init.trunc_normal_(leaf(np.zeros(200000)), std=1.0, a=-1.0, b=2.0, rng=0).numpy()
    assert x.min() >= -1 and x.max() <= 2
    share = 0.9772498680518208 - 0.15865525393145707            # of the normal distribution, within the bounds
    density = [math.exp(-0.5) / math.sqrt(2 * math.pi), math.exp(-2) / math.sqrt(2 * math.pi)]
    assert abs(x.mean() - (density[0] - density[1]) / share) < 0.005
    far = init.trunc_normal_(leaf(np.zeros(1000)), a=20.0, b=30.0, rng=0).numpy()
    assert far.min() >= 20 and 20.04 < far.mean() < 20.06       # 20 + 1/20 in the tail
    with pytest.raises(OptionError, match="a=1.0"):
        init.trunc_normal_(leaf([1.0]), low=1.0, high=1.0)              # the former names


# E phi^2, E phi'^2 of a standard normal input: Gauss-Legendre, 400 nodes, split at 0
MOMENTS = {
    "sigmoid": (.293379, .044836), "tanh": (.394294, .464403), "softsign": (.183014, .227671), "relu": (.5, .5),
    "elu": (.644945, .668102), "selu": (1, 1.071575), "gelu": (.425221, .455851), "silu": (.355776, .379482),
    "softplus": (.921246, .293379), "1.7159 tanh(2z/3)": (.750430, .803989), "erf": (.464559, .569410)}
OTHERS = {"1.7159 tanh(2z/3)": lambda z: (z * (2 / 3)).tanh() * 1.7159, "erf": lambda z: z.erf()}


@pytest.mark.parametrize("name", MOMENTS)
def test_gains(name):
    for direction, moment in zip(("forward", "backward"), MOMENTS[name]):
        gain = init.calculate_gain(OTHERS.get(name, name), direction=direction)
        assert abs(gain**-2 - moment) < 1e-6


def test_gains_at_kinks_and_jumps():
    from scipy.special import ndtr
    density = lambda a: math.exp(-a * a / 2) / math.sqrt(2 * math.pi)
    for a in (0.5, 0.7312345, 2.0):
        beyond = a * density(a) + ndtr(-a)                      # E[z^2; z > a]
        assert math.isclose(init.calculate_gain("hardshrink", lambd=a)**-2, 2 * beyond, rel_tol=1e-11)
        backward = init.calculate_gain("hardshrink", direction="backward", lambd=a)
        assert math.isclose(backward**-2, 2 * ndtr(-a), rel_tol=1e-11)
        shrunk = 2 * (beyond - 2 * a * density(a) + a * a * ndtr(-a))
        assert math.isclose(init.calculate_gain("softshrink", lambd=a)**-2, shrunk, rel_tol=1e-11)
        assert math.isclose(init.calculate_gain(lambda z: mgx.maximum(z, a), direction="backward")**-2, ndtr(-a),
                            rel_tol=1e-11)
    for slope in (0.0, 0.2, 1.0):
        for direction in ("forward", "backward"):
            gain = init.calculate_gain("leaky_relu", slope, direction=direction)
            assert math.isclose(gain**2, 2 / (1 + slope**2), rel_tol=1e-12)
    assert math.isclose(init.calculate_gain(lambda z: z.exp())**-2, math.exp(2), rel_tol=1e-11)
    assert init.calculate_gain("linear") == 1


@pytest.mark.parametrize("name", sorted(set(F.ACTIVATIONS) - {"softmax", "log_softmax"}))
def test_every_activation_has_both_gains(name):
    """By a sum over a million quantiles, kinks or not."""
    from scipy.special import ndtri
    z = leaf(ndtri((np.arange(10**6) + 0.5) / 10**6))
    y = getattr(F, name)(z)
    y.sum().backward()
    for direction, values in (("forward", y), ("backward", z.grad)):
        assert math.isclose(init.calculate_gain(name, direction=direction)**-2, (values.detach().numpy()**2).mean(),
                            rel_tol=2e-5)


@pytest.mark.parametrize("make", [
    lambda: init.calculate_gain("softmax"), lambda: init.calculate_gain("swoosh"),
    lambda: init.calculate_gain("relu", direction="up"), lambda: init.calculate_gain("relu", "backward"),
    lambda: init.calculate_gain("relu", 0.2), lambda: init.kaiming_normal_(leaf(np.zeros((2, 2))), "relu"),
    lambda: init.calculate_gain(lambda z: z * 0), lambda: init.calculate_gain(lambda z: z.sum()),
    lambda: init.calculate_gain(lambda z: 1.0), lambda: init.calculate_gain(lambda z: z.log()),
    lambda: init.calculate_gain(lambda z: z.square().exp()),
    lambda: init.kaiming_normal_(leaf(np.zeros((2, 2))), mode="sideways")])
def test_gains_refuse(make):
    with pytest.raises(OptionError):
        make()


def test_kaiming():
    w = leaf(np.zeros((400, 300)))
    for name in ("tanh", "relu"):
        for mode, n, direction in (("fan_in", 300, "forward"), ("fan_out", 400, "backward")):
            for fill in (init.kaiming_normal_, init.kaiming_uniform_):
                spread = fill(w, 0.0, mode, name, rng=0).numpy().std() * math.sqrt(n)
                assert abs(spread / init.calculate_gain(name, direction=direction) - 1) < 0.01
    assert set(init.TORCH_GAINS) == {"linear", "sigmoid", "tanh", "relu", "leaky_relu", "selu"}
    for name in ("linear", "relu", "leaky_relu"):               # where torch's table is the gain
        assert math.isclose(init.TORCH_GAINS[name], init.calculate_gain(name), rel_tol=1e-12)


@pytest.mark.parametrize("name", ["relu", "tanh", "gelu"])
def test_gains_keep_signals_and_errors(name):
    """One layer of width 1000, there and back."""
    for mode in ("fan_in", "fan_out"):
        z, w = leaf(normal(100, 1000)), init.kaiming_normal_(leaf(np.zeros((1000, 1000))), 0.0, mode, name, 1)
        y = F.linear(getattr(F, name)(z), w)
        y.backward(normal(100, 1000, seed=2))
        assert abs((y.detach() if mode == "fan_in" else z.grad).numpy().std() - 1) < 0.02


def test_lsuv():
    net = nn.Sequential(*[m for k in range(6) for m in (nn.Linear(40, 40, rng=k), nn.Sigmoid(), nn.Dropout())])
    x = mgx.Tensor(normal(300, 40).astype("float32"))
    spread = []
    init.lsuv_(net, x, rng=0)
    handles = [m.register_forward_hook(lambda m, args, y: spread.append(y.numpy().var())) for m in net[::3]]
    net.eval()(x)
    assert len(spread) == 6 and all(abs(v - 1) < 0.02 for v in spread) and len(handles) == 6
    before = net.state_dict()
    with pytest.raises(OptionError, match="'0'"):
        init.lsuv_(net, x * math.nan)
    assert all((before[k].numpy() == t.numpy()).all() for k, t in net.state_dict().items())
