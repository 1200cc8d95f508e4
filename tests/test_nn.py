"""Modules, layers and initialisation, against closed forms and plain NumPy."""
import copy
import inspect
import math
import pickle

import numpy as np
import pytest

import microgradx as mgx
from microgradx import nn, optim
from microgradx._core.kernels import table
from microgradx.errors import ArgumentError, DTypeError, IndexError_, OptionError, ShapeError
from microgradx.nn import functional as F
from microgradx.nn import layers
from microgradx.random import generator, manual_seed


class Net(nn.Module):
    def __init__(self):
        self.first = nn.Linear(3, 4, rng=1)
        self.gain = nn.Parameter(2.0)
        self.register_buffer("shift", mgx.Tensor([1.0, 2.0, 3.0, 4.0]))
        self.rest = nn.Sequential(nn.Tanh(), nn.Linear(4, 2, rng=2))
        self.note = "not a tensor"

    def forward(self, x):
        return self.rest((self.first(x) + self.shift) * self.gain)


NAMES = ["gain", "first.weight", "first.bias", "rest.1.weight", "rest.1.bias"]


# ----- modules -----------------------------------------------------------------------------------------------------

def test_what_is_registered():
    net = Net()
    assert [name for name, _ in net.named_parameters()] == NAMES
    assert [name for name, _ in net.named_buffers()] == ["shift"]
    assert [name for name, _ in net.named_modules()] == ["", "first", "rest", "rest.0", "rest.1"]
    assert list(net.children()) == [net.first, net.rest]
    assert net.gain is list(net.parameters())[0]


def test_forward_is_the_formula():
    net, x = Net(), np.random.default_rng(0).standard_normal((5, 3)).astype(np.float32)
    w, b, v, c = (p.numpy() for p in [net.first.weight, net.first.bias, net.rest[1].weight, net.rest[1].bias])
    expected = np.tanh((x @ w.T + b + [1, 2, 3, 4]) * 2) @ v.T + c
    np.testing.assert_allclose(net(mgx.Tensor(x)).numpy(), expected, rtol=1e-5, atol=1e-6)


def test_attributes_change_kind():
    net = Net()
    del net.gain
    net.first.bias = None
    assert [n for n, _ in net.named_parameters()] == ["first.weight", "rest.1.weight", "rest.1.bias"]
    assert not hasattr(net, "gain")
    net.first = nn.Identity()
    assert [n for n, _ in net.named_parameters()] == ["rest.1.weight", "rest.1.bias"]
    with pytest.raises(DTypeError, match="rest|weight is a parameter"):
        net.rest[1].weight = 3.0
    with pytest.raises(DTypeError, match="with a graph"):
        net.rest[1].weight = net.rest[1].weight * 2
    with pytest.raises(DTypeError, match="requires one"):
        net.register_buffer("b", nn.Parameter(1.0))


def test_frozen_parameters_stay_parameters():
    net = Net().requires_grad_(False)
    assert [n for n, _ in net.named_parameters()] == NAMES and "gain" in net.state_dict()
    assert not net(mgx.Tensor([[1.0, 2.0, 3.0]])).requires_grad


def test_shared_modules_count_once_and_are_saved_under_both_names():
    layer = nn.Linear(2, 2)
    net = nn.Sequential(layer, layer)
    assert len(list(net.parameters())) == 2 and len(list(net.modules())) == 2
    tied = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    tied[1].weight = tied[0].weight
    assert len(list(tied.parameters())) == 3 and "1.weight" in tied.state_dict()
    twin = copy.deepcopy(tied)
    assert twin[0].weight is twin[1].weight is not tied[0].weight


def test_modes_and_gradients():
    net = Net()
    net.eval()
    assert not any(m.training for m in net.modules())
    assert net.train() is net and net.rest[0].training
    net(mgx.Tensor([[1.0, 2.0, 3.0]])).sum().backward()
    assert all(p.grad is not None for p in net.parameters())
    net.zero_grad(set_to_none=False)
    assert all((p.grad.numpy() == 0).all() for p in net.parameters())
    net.zero_grad()
    assert all(p.grad is None for p in net.parameters())


def test_forward_hooks():
    layer, seen = nn.Linear(3, 2), []
    with layer.register_forward_hook(lambda m, args, out: seen.append((m, args[0].shape, out.shape))):
        layer(mgx.Tensor(np.ones((4, 3), np.float32)))
    layer(mgx.Tensor(np.ones((4, 3), np.float32)))
    assert seen == [(layer, (4, 3), (4, 2))]
    handle = layer.register_forward_hook(lambda m, args, out: out * 0)
    assert layer(mgx.Tensor([[1.0, 1.0, 1.0]])).numpy().tolist() == [[0, 0]]
    handle.remove()
    seen.clear()
    for k in range(3):                                                  # nobody keeps the handles
        layer.register_forward_hook(lambda m, args, out, k=k: seen.append(k))
    layer(mgx.Tensor([[1.0, 1.0, 1.0]]))
    assert seen == [0, 1, 2]


def test_state_dict_is_a_copy_and_loads():
    net, other = Net(), Net()
    nn.init.constant_(other.gain, 7.0)
    other.shift.fill_(5.0)
    state = other.state_dict()
    nn.init.zeros_(other.gain)
    assert list(state) == ["gain", "shift", *NAMES[1:]] and state["gain"].item() == 7
    assert net.load_state_dict(state) == ([], [])
    assert net.gain.item() == 7 and net.shift.numpy().tolist() == [5] * 4 and net.gain.requires_grad
    net.load_state_dict({name: t.numpy() for name, t in state.items()})          # arrays do as well


@pytest.mark.parametrize("spoil, error, words", [
    (lambda s: s.pop("gain"), OptionError, r"missing \['gain'\]"),
    (lambda s: s.update(more=mgx.Tensor(1.0)), OptionError, r"unexpected \['more'\]"),
    (lambda s: s.update({"rest.1.bias": mgx.Tensor([1.0])}), ShapeError, r"\(2,\) != \(1,\)"),
    (lambda s: s.update({"rest.1.bias": np.zeros(2)}), DTypeError, "float64"),
    (lambda s: s.update({"rest.1.bias": [[1], [2, 3]]}), DTypeError, "rest.1.bias"),
])
def test_a_state_that_does_not_fit_changes_nothing(spoil, error, words):
    net = Net()
    before, state = net.state_dict(), {name: t * 0 + 9 for name, t in net.state_dict().items()}
    spoil(state)
    with pytest.raises(error, match=words):
        net.load_state_dict(state)
    assert all((before[name].numpy() == t.numpy()).all() for name, t in net.state_dict().items())


def test_loose_loading_tells_what_differs():
    net = Net()
    assert net.load_state_dict({"gain": mgx.Tensor(3.0), "x": 1}, strict=False) == (["shift", *NAMES[1:]], ["x"])
    assert net.gain.item() == 3


def test_modules_copy_and_pickle():
    net, x = Net(), mgx.Tensor([[1.0, 2.0, 3.0]])
    for twin in (copy.deepcopy(net), pickle.loads(pickle.dumps(net))):
        assert [n for n, _ in twin.named_parameters()] == NAMES
        assert (twin(x).numpy() == net(x).numpy()).all()
        nn.init.zeros_(twin.gain)
        assert net.gain.item() == 2


def test_repr():
    assert repr(nn.Sequential(nn.Linear(3, 2, bias=False), nn.Sequential(nn.ELU(0.5)))) == (
        "Sequential(\n  (0): Linear(in_features=3, out_features=2, bias=False)\n"
        "  (1): Sequential(\n    (0): ELU(alpha=0.5)\n  )\n)")


# ----- layers ------------------------------------------------------------------------------------------------------

def test_linear_starts_as_torch_and_from_its_seed():
    layer = nn.Linear(400, 300, rng=3)
    assert layer.weight.shape == (300, 400) and layer.bias.shape == (300,) and layer.weight.dtype == np.float32
    w = layer.weight.numpy()
    assert np.abs(w).max() <= 0.05 and abs(w.std() * math.sqrt(1200) - 1) < 0.01
    assert (nn.Linear(400, 300, rng=3).weight.numpy() == w).all()
    double = nn.Linear(400, 300, rng=3, dtype="float64").weight.numpy()
    assert (double.astype(np.float32) == w).all() and (double != w).any()
    manual_seed(5)
    first = nn.Linear(2, 2).weight.numpy()
    manual_seed(5)
    assert (nn.Linear(2, 2).weight.numpy() == first).all()


@pytest.mark.parametrize("sizes", [(-1, 2), (2.0, 3), (True, 2), ("3", 2)])
def test_linear_refuses_sizes(sizes):
    with pytest.raises(OptionError, match="Linear"):
        nn.Linear(*sizes)


def test_sequential():
    net = nn.Sequential({"a": nn.Linear(2, 3), "b": nn.ReLU()})
    assert net.a is net[0] and len(net[1:]) == 1 and net[-1] is net.b and [*net] == [net.a, net.b]
    assert isinstance(net.append(nn.Tanh())[2], nn.Tanh)
    with pytest.raises(DTypeError, match="make an instance"):
        nn.Sequential(nn.ReLU)
    with pytest.raises(IndexError):
        net[3]


def test_every_activation_row_is_a_function_and_a_module():
    rows = [row["name"] for row in table()]
    activations = set(rows[rows.index("sigmoid"):rows.index("add")]) - {"logit", "prelu", "gelu_tanh"}
    for name in sorted(activations | {"tanh"}):
        assert name in F.ACTIVATIONS, (f"row {name!r} of csrc/ops.def is an activation, but no function: write it in "
                                       "nn/activations.py and name it in __all__")
    for name in F.ACTIVATIONS:
        assert name in layers.MODULES.values(), (
            f"activation {name!r} is no module: write a subclass of _Activation with method = {name!r} in nn/layers.py")
    for name in layers.MODULES:
        assert name in nn.__all__, f"nn.{name} is not handed on: name it in __all__ of nn/layers.py"


@pytest.mark.parametrize("name", layers.MODULES)
def test_activations_are_their_methods(name):
    x, method = mgx.Tensor(np.linspace(-4, 4, 9)[None]), layers.MODULES[name]
    defaults = tuple(F.ACTIVATIONS[method].values())
    expected = (x.softplus() if method == "softplus" else getattr(x, method)(*defaults)).numpy()
    assert (getattr(nn, name)()(x).numpy() == expected).all()
    assert (getattr(F, method)(x).numpy() == expected).all()
    options = inspect.signature(getattr(F, method)).parameters.values()         # but for another name of one of them
    assert [p.name for p in options if p.kind != p.KEYWORD_ONLY and p.name != "inplace"] == [
        "input", *F.ACTIVATIONS[method]]
    assert name in repr(getattr(nn, name)())
    with pytest.raises(TypeError):
        getattr(nn, name)(1, 2, 3, 4)
    with pytest.raises(ArgumentError, match=f"{name}: no argument is called 'nonsense'|nonsense"):
        getattr(nn, name)(nonsense=1)


def test_activation_parameters():
    x = mgx.Tensor([-2.0, 2.0])
    assert nn.LeakyReLU(0.5)(x).tolist() == F.leaky_relu(x, negative_slope=0.5).tolist() == [-1, 2]
    assert nn.Hardtanh(max_val=0.25)(x).tolist() == F.hardtanh(x, -1.0, 0.25).tolist() == [-1, 0.25]
    assert nn.Threshold(0, 9)(x).tolist() == [9, 2]
    np.testing.assert_allclose(nn.GELU("tanh")(x).numpy(), [-0.0454023, 1.9545977], rtol=1e-5)


def test_prelu_learns_one_slope_or_one_per_channel():
    layer = nn.PReLU()
    layer(mgx.Tensor([-2.0, 3.0, -4.0])).sum().backward()
    assert layer.weight.grad.tolist() == [-6]
    layer = nn.PReLU(2, init=0.5)
    y = layer(mgx.Tensor(-np.ones((3, 2, 4), np.float32)))
    y.sum().backward()
    assert (y.numpy() == -0.5).all() and layer.weight.grad.tolist() == [-12, -12]


def test_flatten_and_identity():
    x = mgx.Tensor(np.zeros((2, 3, 4)))
    assert nn.Flatten()(x).shape == (2, 12) and nn.Identity()(x) is x


def test_one_hot():
    assert F.one_hot(np.array([1, 0]), 2).tolist() == [[0, 1], [1, 0]] and F.one_hot([], 3).shape == (0, 3)
    assert F.one_hot([[0, 2]]).tolist() == [[[1, 0, 0], [0, 0, 1]]] and F.one_hot([0], 2, "float64").dtype == "float64"
    for labels, error in (([2], IndexError_), ([-1], IndexError_), ([0.5], DTypeError)):
        with pytest.raises(error):
            F.one_hot(labels, 2)


# ----- initialisation ----------------------------------------------------------------------------------------------

@pytest.mark.parametrize("fill, variance", [
    ("xavier", 2 / (300 + 200)), ("he", 2 / 300), ("lecun", 1 / 300)])
@pytest.mark.parametrize("shape", ["normal", "uniform"])
def test_variances(fill, variance, shape):
    w = mgx.Tensor(np.zeros((200, 300)), requires_grad=True)
    assert getattr(nn.init, f"{fill}_{shape}_")(w, rng=0) is w
    x = w.numpy() / math.sqrt(variance)
    assert abs(x.mean()) < 0.02 and abs(x.var() - 1) < 0.02
    fourth = 3 if shape == "normal" else 1.8                     # the kurtosis tells the two apart
    assert abs((x**4).mean() - fourth) < 0.1
    assert w.is_leaf and w.requires_grad


def test_other_fills():
    w = mgx.Tensor(np.zeros((200, 300)), requires_grad=True)
    assert (nn.init.constant_(w, 2.5).numpy() == 2.5).all() and (nn.init.ones_(w).numpy() == 1).all()
    assert (nn.init.zeros_(w).numpy() == 0).all()
    assert abs(nn.init.he_normal_(w, slope=1.0, rng=0).numpy().var() * 300 - 1) < 0.02
    assert abs(nn.init.xavier_normal_(w, gain=3.0, rng=0).numpy().var() * 250 - 9) < 0.2
    assert nn.init.fans(mgx.Tensor(np.zeros((8, 3, 5, 5)))) == (75, 200)
    for bad, error in ((lambda: nn.init.fans(mgx.Tensor([1.0])), ShapeError),
                       (lambda: nn.init.normal_(w, std=-1.0), OptionError),
                       (lambda: nn.init.uniform_(w, 1.0, 0.0), OptionError),
                       (lambda: nn.init.zeros_(np.zeros(3)), DTypeError),
                       (lambda: nn.init.zeros_(mgx.tensor([1])), DTypeError)):
        with pytest.raises(error):
            bad()


def test_generators():
    shared = manual_seed(1)
    assert generator() is shared and generator(shared) is shared
    assert repr(generator(3)) == repr(generator(np.int64(3))) != repr(generator(4))
    numpy = np.random.default_rng(0)
    assert generator(numpy) is numpy
    for bad, error in ((-1, OptionError), ("1", OptionError), (1.0, DTypeError), (True, DTypeError)):
        with pytest.raises(error):
            generator(bad)
    with pytest.raises(DTypeError):
        manual_seed(None)


def test_a_net_learns_xor():
    x, t = mgx.Tensor([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]]), mgx.Tensor([[0.0], [1.0], [1.0], [0.0]])
    net = nn.Sequential(nn.Linear(2, 8, rng=0), nn.Tanh(), nn.Linear(8, 1, rng=1))
    step, cost = optim.Adam(net.parameters(), lr=0.05), nn.BCEWithLogitsLoss()
    for _ in range(200):
        step.zero_grad()
        loss = cost(net(x), t)
        loss.backward()
        step.step()
    assert loss.item() < 0.01 and ((net(x).numpy() > 0) == t.numpy()).all()


def test_a_net_of_another_dtype():
    net = nn.Sequential(nn.Linear(3, 4, rng=0), nn.BatchNorm1d(4), nn.Tanh(), nn.Linear(4, 3, rng=1))
    net[0].bias.requires_grad = False
    tied = nn.ModuleList([net[0], net[0]])
    x, before = mgx.randn(5, 3, rng=2), net.eval()(mgx.randn(5, 3, rng=2)).numpy()
    assert net.double() is net and tied[0].weight is net[0].weight
    assert {p.dtype.name for p in net.parameters()} == {"float64"} and not net[0].bias.requires_grad
    assert [b.dtype.name for b in net.buffers()] == ["float64", "float64", "int64"]
    y = net(x.astype("float64"))
    assert y.dtype == np.float64 and np.allclose(y.numpy(), before, rtol=1e-5, atol=1e-6)
    y.sum().backward()
    assert net[0].weight.grad.dtype == np.float64
    assert np.array_equal(net.float()(x).numpy(), before) and net[0].weight.grad is None
    with pytest.raises(DTypeError, match="to: parameters are float32 or float64, not int64"):
        net.to("int64")


def test_shared_parameters_stay_shared_in_another_dtype():
    a, b = nn.Linear(3, 3, rng=0), nn.Linear(3, 3, rng=1)
    b.weight = a.weight
    net = nn.Sequential(a, b).double()
    assert a.weight is b.weight and len(list(net.parameters())) == 3


@pytest.mark.parametrize("make", [
    lambda: nn.Linear(2, 3), lambda: nn.Bilinear(2, 3, 4), lambda: nn.Embedding(2, 3), lambda: nn.EmbeddingBag(2, 3),
    lambda: nn.Conv1d(1, 2, 3), lambda: nn.Conv2d(1, 2, 3), lambda: nn.ConvTranspose2d(1, 2, 3), lambda: nn.PReLU(),
    lambda: nn.BatchNorm1d(3), lambda: nn.LayerNorm(3), lambda: nn.GroupNorm(1, 2), lambda: nn.RMSNorm(3),
    lambda: nn.InstanceNorm2d(3, affine=True), lambda: nn.LSTM(2, 3, bidirectional=True), lambda: nn.GRUCell(2, 3),
    lambda: nn.MultiheadAttention(4, 2, add_bias_kv=True), lambda: nn.Transformer(4, 2, 1, 1, 4)])
def test_layers_are_made_in_the_default_dtype(make):
    mgx.set_default_dtype("float64")
    try:
        found = {name: str(t.dtype) for name, t in make().state_dict().items()}
    finally:
        mgx.set_default_dtype("float32")
    found.pop("num_batches_tracked", None)
    assert found and set(found.values()) == {"float64"}
