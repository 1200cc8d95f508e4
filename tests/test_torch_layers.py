"""Layers and functions under torch's names beyond the recorded lines: second derivatives, captures, starting values."""
import copy
import inspect
import math
import pickle

import numpy as np
import pytest

import microgradx as mgx
from microgradx import nn
from microgradx.errors import ArgumentError, DTypeError, KeyError_, OptionError, ShapeError
from microgradx.nn import functional as F
from microgradx.nn.utils import parametrizations, parametrize
from microgradx.nn.utils import rnn as sequences


def leaf(*shape, seed=0, dtype="float64"):
    return mgx.Tensor(np.random.default_rng(seed).standard_normal(shape).astype(dtype), requires_grad=True)


def positive(*shape, seed=0):
    return (leaf(*shape, seed=seed).square() + 0.1).detach().requires_grad_()


# ----- derivatives of two orders, and captures -----------------------------------------------------------------------

IDS, BAGS = np.array([[0, 2, 1], [1, 1, 0]]), np.array([0, 2])
SIGNS = mgx.Tensor(np.array([1.0, -1.0, 1.0]))
FUNCTIONS = {                           # name: (function, operands)
    "bilinear": (F.bilinear, (leaf(2, 3), leaf(2, 4, seed=1), leaf(2, 3, 4, seed=2))),
    "embedding_bag": (lambda w: F.embedding_bag(IDS, w), (leaf(3, 2),)),
    "embedding_bag of a line": (lambda w, u: F.embedding_bag(IDS.reshape(6)[:3], w, BAGS, mode="sum",
                                                            per_sample_weights=u), (leaf(3, 2), leaf(3, seed=1))),
    "conv_transpose1d": (lambda x, w, b: F.conv_transpose1d(x, w, b, 2, 1, 1), (
        leaf(1, 2, 3), leaf(2, 1, 3, seed=1), leaf(1, seed=2))),
    "conv_transpose2d": (lambda x, w: F.conv_transpose2d(x, w, stride=(2, 1), padding=1, groups=2, dilation=(1, 2)), (
        leaf(1, 2, 2, 3), leaf(2, 2, 3, 2, seed=1))),
    "conv2d, circular": (lambda x, w: F.conv2d(F.pad(x, (1, 1, 1, 0), "circular"), w), (
        leaf(1, 1, 3, 3), leaf(1, 1, 2, 3, seed=1))),
    "pad, reflect": (lambda x: F.pad(x, (2, 1), mode="reflect").square(), (leaf(2, 3),)),
    "pad, constant": (lambda x: F.pad(x, (-1, 2, 1, 0), value=2.0).square(), (leaf(2, 3),)),
    "max_pool1d": (lambda x: F.max_pool1d(x.square(), 2), (leaf(1, 2, 4),)),
    "avg_pool1d": (lambda x: F.avg_pool1d(x.square(), 3, 1, 1), (leaf(1, 2, 4),)),
    "adaptive_avg_pool2d": (lambda x: F.adaptive_avg_pool2d(x.square(), (2, 3)), (leaf(1, 1, 3, 4),)),
    "adaptive_max_pool2d": (lambda x: F.adaptive_max_pool2d(x.square(), (2, 3)), (leaf(1, 1, 3, 4),)),
    "interpolate, bilinear": (lambda x: F.interpolate(x.square(), size=(4, 3), mode="bilinear"), (leaf(1, 1, 3, 2),)),
    "interpolate, bicubic": (lambda x: F.interpolate(x.square(), scale_factor=1.5, mode="bicubic"), (
        leaf(1, 1, 2, 2),)),
    "interpolate, nearest": (lambda x: F.interpolate(x.square(), scale_factor=2), (leaf(1, 1, 3),)),
    "pixel_shuffle": (lambda x: F.pixel_shuffle(x.square(), 2), (leaf(4, 1, 2),)),
    "unfold": (lambda x: F.unfold(x.square(), 2, padding=1), (leaf(1, 1, 2, 3),)),
    "fold": (lambda x: F.fold(x.square(), (2, 3), 2), (leaf(1, 4, 2),)),
    "instance_norm": (F.instance_norm, (leaf(2, 2, 3),)),
    "local_response_norm": (lambda x: F.local_response_norm(x, 2, 0.5), (leaf(1, 3, 2),)),
    "softplus": (lambda x: F.softplus(x, 2.0, 1.0), (leaf(5),)),
    "relu in place": (lambda x: F.silu(x * 2, inplace=True), (leaf(5),)),
    "cosine_similarity": (lambda a, b: F.cosine_similarity(a, b), (leaf(2, 3), leaf(2, 3, seed=1))),
    "pairwise_distance": (lambda a, b: F.pairwise_distance(a, b), (leaf(2, 3), leaf(2, 3, seed=1))),
    "normalize": (F.normalize, (leaf(2, 3),)),
    "poisson_nll_loss": (lambda x, t: F.poisson_nll_loss(x, t * 3, full=True), (leaf(4), positive(4, seed=1))),
    "margin_ranking_loss": (lambda a, b: F.margin_ranking_loss(a.square(), b, SIGNS), (leaf(3), leaf(3, seed=1))),
    "hinge_embedding_loss": (lambda x: F.hinge_embedding_loss(x.square(), SIGNS), (leaf(3),)),
    "cosine_embedding_loss": (lambda a, b: F.cosine_embedding_loss(a, b, SIGNS), (leaf(3, 2), leaf(3, 2, seed=1))),
    "triplet_margin_loss": (lambda a, b, c: F.triplet_margin_loss(a, b, c, margin=9.0), (
        leaf(3, 2), leaf(3, 2, seed=1), leaf(3, 2, seed=2))),
    "soft_margin_loss": (lambda x: F.soft_margin_loss(x, SIGNS), (leaf(3),)),
    "multilabel_soft_margin_loss": (lambda x: F.multilabel_soft_margin_loss(x, SIGNS > 0), (leaf(3),)),
    "multilabel_margin_loss": (lambda x: F.multilabel_margin_loss(x.square(), [[1, -1, 0]]), (leaf(1, 3),)),
    "attention, grouped": (lambda q, k: F.scaled_dot_product_attention(q, k, k, enable_gqa=True), (
        leaf(2, 2, 2), leaf(1, 2, 2, seed=1)))}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_derivatives_of_two_orders(name):
    function, xs = FUNCTIONS[name]
    assert mgx.gradcheck(function, xs) and mgx.gradgradcheck(function, xs)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_captured(name):
    """Four calls with other numbers give what the eager calls give, to the bit, and gradients as well."""
    function, xs = FUNCTIONS[name]
    compiled = mgx.compile(lambda *xs: function(*xs).sum())
    two = [x.detach().clone().requires_grad_() for x in xs]
    for k in range(4):
        one = [x.detach().clone().mul_(1 + k / 8).requires_grad_() for x in xs]
        for a, b in zip(one, two):
            b.data.copy_(a.detach())
            b.grad = None
        y, z = function(*one).sum(), compiled(*two)
        y.backward()
        z.backward()
        assert y.item() == z.item()
        for a, b in zip(one, two):
            assert a.grad.tolist() == b.grad.tolist()
    assert len(compiled.programs) == 1


MODULES = {
    "lstm": (lambda: nn.LSTM(2, 2, 2, bidirectional=True, dtype="float64", rng=0), (leaf(3, 2, 2),)),
    "cell": (lambda: nn.GRUCell(2, 2, dtype="float64", rng=0), (leaf(3, 2),)),
    "attention": (lambda: nn.MultiheadAttention(4, 2, add_bias_kv=True, add_zero_attn=True, dtype="float64", rng=0), (
        leaf(2, 2, 4),)),
    "encoder": (lambda: nn.TransformerEncoderLayer(4, 2, 3, 0.0, dtype="float64", rng=0), (leaf(2, 2, 4),)),
    "decoder": (lambda: nn.TransformerDecoderLayer(4, 2, 3, 0.0, activation="gelu", norm_first=True, dtype="float64",
                                                   rng=0), (leaf(2, 1, 4), leaf(3, 1, 4, seed=1))),
    "weight norm": (lambda: parametrizations.weight_norm(nn.Linear(2, 3, dtype="float64", rng=0)), (leaf(2, 2),)),
    "orthogonal": (lambda: parametrizations.orthogonal(nn.Linear(2, 2, dtype="float64", rng=0)), (leaf(2, 2),)),
    "householder": (lambda: parametrizations.orthogonal(nn.Linear(3, 2, dtype="float64", rng=0)), (leaf(2, 3),)),
    "cayley": (lambda: parametrizations.orthogonal(nn.Linear(2, 2, dtype="float64", rng=0), orthogonal_map="cayley"),
               (leaf(2, 2),)),
    "spectral norm": (lambda: parametrizations.spectral_norm(nn.Linear(2, 3, dtype="float64", rng=0), rng=1).eval(), (
        leaf(2, 2),))}


def first(result):
    return first(result[0]) if isinstance(result, tuple) else result


@pytest.mark.parametrize("name", MODULES)
def test_modules_have_derivatives_of_two_orders(name):
    make, xs = MODULES[name]
    module = make()
    inputs = (*xs, *list(module.parameters())[:2])
    assert mgx.gradcheck(lambda *given: first(module(*given[:len(xs)])), inputs)
    assert mgx.gradgradcheck(lambda *given: first(module(*given[:len(xs)])), inputs)


@pytest.mark.parametrize("name", MODULES)
def test_modules_are_captured(name):
    make, xs = MODULES[name]
    one, two = make(), make()
    two.load_state_dict(one.state_dict())
    compiled = mgx.compile(lambda *given: first(two(*given)).sum())
    for k in range(4):
        given = [x.detach() * (1 + k / 8) for x in xs]
        y, z = first(one(*given)).sum(), compiled(*given)
        for net, loss in ((one, y), (two, z)):
            net.zero_grad()
            loss.backward()
        assert y.item() == z.item()
        for p, q in zip(one.parameters(), two.parameters()):
            assert (p.grad is None) == (q.grad is None)
            assert p.grad is None or p.grad.tolist() == q.grad.tolist()
    assert len(compiled.programs) == 1


# ----- starting values -----------------------------------------------------------------------------------------------

STARTS = {                              # layer: its parameter, the standard deviation, the largest magnitude
    "Linear": (lambda: nn.Linear(300, 400, rng=0), "weight", 1 / math.sqrt(3 * 300), 1 / math.sqrt(300)),
    "Linear's bias": (lambda: nn.Linear(30, 40000, rng=0), "bias", 1 / math.sqrt(3 * 30), 1 / math.sqrt(30)),
    "Bilinear": (lambda: nn.Bilinear(40, 50, 60, rng=0), "weight", 1 / math.sqrt(3 * 40), 1 / math.sqrt(40)),
    "Conv2d": (lambda: nn.Conv2d(16, 64, 5, rng=0), "weight", 1 / math.sqrt(3 * 400), 1 / 20),
    "ConvTranspose2d": (lambda: nn.ConvTranspose2d(64, 16, 5, rng=0), "weight", 1 / math.sqrt(3 * 400), 1 / 20),
    "Embedding": (lambda: nn.Embedding(400, 300, rng=0), "weight", 1.0, 6.0),
    "LSTM": (lambda: nn.LSTM(200, 100, bidirectional=True, rng=0), "weight_ih_l0_reverse", 1 / math.sqrt(300), 0.1),
    "GRUCell": (lambda: nn.GRUCell(200, 100, rng=0), "weight_hh", 1 / math.sqrt(300), 0.1),
    "MultiheadAttention": (lambda: nn.MultiheadAttention(120, 2, rng=0), "in_proj_weight",
                           math.sqrt(2 / 480), math.sqrt(6 / 480)),
    "MultiheadAttention, kdim": (lambda: nn.MultiheadAttention(120, 2, kdim=200, rng=0), "k_proj_weight",
                                 math.sqrt(2 / 320), math.sqrt(6 / 320))}


@pytest.mark.parametrize("name", STARTS)
def test_starting_values_are_torchs(name):
    """Their spread and their bounds; ``reset_parameters`` draws others of the same."""
    make, which, spread, most = STARTS[name]
    layer = make()
    for turn in range(2):
        p = getattr(layer, which).detach().numpy()
        assert abs(p.std() / spread - 1) < 0.02 and abs(p.mean()) < 0.02 * spread + 5 * spread / math.sqrt(p.size)
        assert abs(p).max() <= most and (name == "Embedding" or abs(p).max() > 0.99 * most)
        layer.reset_parameters(1 + turn)
        assert np.not_equal(getattr(layer, which).detach().numpy(), p).mean() > 0.99


def test_dropout_of_channels():
    x = mgx.ones(50, 40, 3, 4)
    for function, shape in ((F.dropout1d, (50, 40, 12)), (F.dropout2d, (50, 40, 3, 4)),
                            (F.dropout3d, (50, 40, 3, 2, 2))):
        y = function(x.reshape(shape), 0.25, rng=0).numpy().reshape(50, 40, 12)
        assert (y == y[:, :, :1]).all() and abs((y != 0).mean() - 0.75) < 0.03 and np.allclose(y[y != 0], 4 / 3)
    h = mgx.ones(5, 4, 3, 4)
    assert F.dropout2d(h, 0.5, inplace=True, rng=0) is h and 0 < (h.numpy() == 0).mean() < 1
    z = mgx.randn(400, 50, rng=1)
    for function in (F.alpha_dropout, F.feature_alpha_dropout):
        y = function(z, 0.3, training=True, rng=2).numpy()
        assert abs(y.mean()) < 0.02 and abs(y.std() - 1) < 0.02
    x = leaf(4, 3, 5)
    F.dropout1d(x, 0.5, rng=0).sum().backward()
    assert set(np.unique(x.grad.numpy())) == {0.0, 2.0}
    with pytest.raises(ShapeError, match="dropout2d: an input of 3 or 4 axes"):
        F.dropout2d(mgx.ones(3, 4))


def test_gumbel_softmax():
    z = mgx.Tensor([[0.0, 1.0, -1.0]] * 20000, requires_grad=True)
    soft, hard = F.gumbel_softmax(z, tau=0.7, rng=0), F.gumbel_softmax(z, tau=0.7, hard=True, rng=0)
    assert np.allclose(soft.detach().numpy().sum(-1), 1, atol=1e-5)
    assert set(np.unique(hard.detach().numpy().round(6))) == {0.0, 1.0}
    assert (hard.detach().argmax(-1) == soft.detach().argmax(-1)).all()
    shares = np.exp([0.0, 1.0, -1.0])
    np.testing.assert_allclose(hard.detach().numpy().mean(0), shares / shares.sum(), atol=0.01)
    w = mgx.randn(20000, 3, rng=3)
    (soft * w).sum().backward()
    one, z.grad = z.grad.clone(), None
    (hard * w).sum().backward()
    np.testing.assert_allclose(z.grad.numpy(), one.numpy(), atol=1e-6)


# ----- modules -------------------------------------------------------------------------------------------------------

def test_former_names_and_slips_of_layers():
    assert nn.Linear(n_in=3, n_out=2).weight.shape == (2, 3) and nn.Embedding(count=3, width=2).weight.shape == (3, 2)
    assert nn.PReLU(count=2, start=0.5).weight.tolist() == [0.5, 0.5] and nn.Flatten(start_axis=0).start_dim == 0
    assert nn.Softmax(dim=0).axis == nn.Softmax(axis=0).axis == 0 and nn.Linear(2, 3, device=None).bias is not None
    for call, words in ((lambda: nn.Linear(in_feature=3, out_features=2), "did you mean in_features"),
                        (lambda: nn.Linear(3, 2, device="cuda"), "cuda"),
                        (lambda: nn.Linear(3, 2, n_in=3), "given twice|multiple values"),
                        (lambda: nn.LSTM(3, 4, proj_size=2), "proj_size=2 is not supported"),
                        (lambda: nn.Embedding(3, 2, max_norm=1.0), "max_norm=1.0"),
                        (lambda: nn.Embedding(3, 2, sparse=True), "sparse=True"),
                        (lambda: F.embedding([0], mgx.ones(2, 2), scale_grad_by_freq=True), "scale_grad_by_freq")):
        with pytest.raises((ArgumentError, OptionError, TypeError), match=words):
            call()


def test_dropout_between_no_layers_warns():
    with pytest.warns(UserWarning, match="LSTM: dropout=0.5 acts between layers, and there is one"):
        nn.LSTM(3, 4, dropout=0.5)


def test_a_frozen_parameter_is_one():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.table = nn.Parameter(mgx.ones(2), requires_grad=False)

    net = Net()
    assert [n for n, _ in net.named_parameters()] == ["table"] and list(net.state_dict()) == ["table"]
    twin = copy.deepcopy(net)
    assert [n for n, _ in twin.named_parameters()] == ["table"] and not twin.table.requires_grad
    net.requires_grad_()
    assert net.table.requires_grad
    kept = nn.Parameter([1.0], requires_grad=False)
    for _ in range(9):
        nn.Parameter([2.0], requires_grad=False)
    waiting = nn.parameter._frozen                          # those that nobody holds any more are let go
    assert any(p is kept for p in waiting) and sum(p.tolist() == [2.0] for p in waiting) == 1
    net.kept = kept
    assert not any(p is kept for p in waiting) and list(net.state_dict()) == ["table", "kept"]


def test_modules_that_hold_each_other_end():
    one, two = nn.Identity(), nn.Identity()
    one.other, two.other = two, one
    assert [n for n, _ in one.named_modules()] == ["", "other"] and one.state_dict() == {}
    assert [n for n, _ in one.named_modules(remove_duplicate=False)] == ["", "other"]


def test_keys_of_containers():
    table = nn.ModuleDict({"a": nn.ReLU()})
    for call in (lambda: table["b"], lambda: table.pop("b"), lambda: nn.ParameterDict()["b"]):
        with pytest.raises(KeyError_, match="is called 'b'; there are (a|none)") as found:
            call()
        assert isinstance(found.value, KeyError) and not str(found.value).startswith('"')


def test_parametrized_modules():
    layer = parametrizations.weight_norm(nn.Linear(3, 2, rng=0))
    before = layer.weight.detach().numpy()
    layer.weight = mgx.ones(2, 3)
    np.testing.assert_allclose(layer.weight.detach().numpy(), np.ones((2, 3)), rtol=1e-6)
    assert abs(layer.parametrizations.weight.original0.detach().numpy() - math.sqrt(3)).max() < 1e-6
    twin = copy.deepcopy(layer)
    twin.weight = mgx.zeros(2, 3) + 2
    assert layer.weight.detach().numpy().max() < 1.1 and parametrize.is_parametrized(twin, "weight")
    assert (before != layer.weight.detach().numpy()).all() and isinstance(layer, nn.Linear)
    with pytest.raises(DTypeError, match="save its state_dict"):
        pickle.dumps(layer)
    with pytest.raises(ShapeError, match=r"\(2, 3\)"):
        layer.weight = mgx.ones(3)
    other = parametrizations.weight_norm(nn.Linear(3, 2, rng=1))
    other.load_state_dict(layer.state_dict())
    assert other.weight.tolist() == layer.weight.tolist()
    assert type(parametrize.remove_parametrizations(layer, "weight")) is nn.Linear


def test_spectral_norm_follows_the_weight():
    layer = parametrizations.spectral_norm(nn.Linear(6, 5, rng=0), rng=1)
    for _ in range(50):
        layer(mgx.ones(1, 6))
    top = np.linalg.svd(layer.weight.detach().numpy(), compute_uv=False)[0]
    assert abs(top - 1) < 1e-3
    kept = layer.eval().state_dict()["parametrizations.weight.0._u"].tolist()
    layer(mgx.ones(1, 6))
    assert layer.state_dict()["parametrizations.weight.0._u"].tolist() == kept


@pytest.mark.parametrize("shape", [(4, 4), (3, 5), (5, 3)])
@pytest.mark.parametrize("way", ["matrix_exp", "cayley", "householder"])
def test_orthogonal_weights_stay_so(way, shape):
    layer = nn.Linear(shape[1], shape[0], dtype="float64", rng=0)
    nn.init.orthogonal_(layer.weight, rng=0)
    start = layer.weight.detach().numpy()
    parametrizations.orthogonal(layer, orthogonal_map=way)
    np.testing.assert_allclose(layer.weight.detach().numpy(), start, atol=1e-12)
    step = mgx.optim.SGD(layer.parameters(), lr=0.1)
    for _ in range(3):
        step.zero_grad()
        layer(mgx.ones(2, shape[1], dtype="float64")).square().sum().backward()
        step.step()
    w = layer.weight.detach().numpy()
    small = w @ w.T if shape[0] <= shape[1] else w.T @ w
    np.testing.assert_allclose(small, np.eye(min(shape)), atol=1e-12)
    assert abs(w - start).max() > 1e-3


def test_packed_sequences_are_the_single_ones():
    """A layer over a packed batch gives what it gives for each sequence by itself."""
    layer, xs = nn.LSTM(3, 4, 2, bidirectional=True, dtype="float64", rng=0), [leaf(n, 3, seed=n) for n in (2, 5, 3)]
    out, (h, c) = layer(sequences.pack_sequence(xs, enforce_sorted=False))
    for k, (x, y) in enumerate(zip(xs, sequences.unpack_sequence(out))):
        alone, (h1, c1) = layer(x)
        for a, b in ((y, alone), (h[:, k], h1), (c[:, k], c1)):
            np.testing.assert_allclose(a.detach().numpy(), b.detach().numpy(), rtol=1e-12, atol=1e-14)


def test_every_layer_takes_no_option_that_it_does_not_know():
    for name in nn.__all__:
        cls = getattr(nn, name)
        if inspect.isclass(cls) and issubclass(cls, nn.Module) and name not in ("Module", "Identity", "Sequential"):
            with pytest.raises(TypeError, match="nonsense"):
                raise AssertionError(cls(nonsense=1))


def test_former_norms_train_and_compile():
    """The weight is computed when it is read, of a copy and of a compiled module, too."""
    x = mgx.randn(4, 6, rng=0)
    for make in (nn.utils.weight_norm, nn.utils.spectral_norm):
        one = make(nn.Linear(6, 5, rng=0)).eval()
        twin = copy.deepcopy(one)
        twin.load_state_dict(one.state_dict())
        compiled = mgx.compile(twin)
        for _ in range(4):
            losses = []
            for net in (one, compiled):
                net.zero_grad()
                losses.append(net(x).square().sum())
                losses[-1].backward()
                mgx.optim.SGD(net.parameters(), lr=0.01).step()
            assert losses[0].item() == losses[1].item()
        assert one.state_dict()["bias"].tolist() == twin.state_dict()["bias"].tolist()


@pytest.mark.parametrize("mode, padding_mode, slopes", [
    ("bilinear", "zeros", [1.5, 1.5, 1.5, -6, -6]), ("bilinear", "border", [0, 0, 1.5, 0, 0]),
    ("bilinear", "reflection", [-1.5, 0, 1.5, 0, -1.5]), ("nearest", "zeros", [0] * 5), ("nearest", "border", [0] * 5)])
def test_gradients_of_positions_at_the_ends(mode, padding_mode, slopes):
    """Torch's: a position that is at an end, or is moved there, has the gradient 0, as has a nearest element."""
    image = mgx.Tensor([[[[1.0, 2.0, 3.0, 4.0]]]])
    x = mgx.Tensor([-1.5, -1.0, 0.1, 1.0, 1.5], requires_grad=True)
    grid = mgx.stack([x, mgx.zeros(5)], -1).reshape(1, 1, 5, 2)
    y = F.grid_sample(image, grid, mode, padding_mode, align_corners=True)
    assert mgx.autograd.grad(y.sum(), [x])[0].tolist() == pytest.approx(slopes)
