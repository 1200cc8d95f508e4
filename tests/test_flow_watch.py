"""What a watch sees of nets: against the same numbers by hand, for every way in which layers are put together."""
import gc
import math
import subprocess
import sys
import weakref

import numpy as np
import pytest

import microgradx as mgx
from microgradx import flow, nn, optim
from microgradx.errors import DTypeError, OptionError
from microgradx.flow import metrics as m
from microgradx.flow import records
from microgradx.flow.watch import recognised
from microgradx.nn import functional as F

X = np.random.default_rng(0).standard_normal((32, 6))
Y = np.random.default_rng(1).integers(0, 3, 32)


def build(activation=nn.Tanh, depth=3, dtype="float64"):
    layers, sizes = [], [6, *[9] * depth, 3]
    for k, (a, b) in enumerate(zip(sizes, sizes[1:])):
        layers += [nn.Linear(a, b, rng=k, dtype=dtype), activation()]
    return nn.Sequential(*layers[:-1])


def one_pass(net, dtype="float64", x=X):
    loss = F.cross_entropy(net(mgx.Tensor(x.astype(dtype))), Y[:len(x)])
    loss.backward()
    return loss


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("activation", [nn.Tanh, nn.Sigmoid, nn.ReLU, nn.GELU, nn.PReLU])
def test_numbers_of_the_first_pass(activation, dtype):
    net = build(activation, dtype=dtype)
    optimizer = optim.SGD(net.parameters(), lr=0.5)
    before = [layer.weight.numpy() for layer in net[::2]]
    with flow.watch(net, every=1) as record:
        one_pass(net, dtype)
        optimizer.step()
        grads = [layer.weight.grad.numpy() for layer in net[::2]]
    twin, a, zs, xs, posts = build(activation, dtype=dtype), mgx.Tensor(X.astype(dtype)), [], [], []
    for k, layer in enumerate(twin):
        if k % 2 == 0:
            xs.append(a)
        a = layer(a)
        if a.requires_grad:
            a.retain_grad()
        (posts if k % 2 else zs).append(a)
    posts.append(a)
    F.cross_entropy(a, Y).backward()
    found, rtol = record.first, 1e-9 if dtype == "float64" else 1e-4
    expected = {
        "error": [32 * m.error_norm(z.grad) for z in zs], "error_after": [32 * m.error_norm(p.grad) for p in posts],
        "q": [m.mean_square(z) for z in zs], "signal": [m.signal(p) for p in posts],
        "cosine": [m.cosine(z) for z in zs], "offset": [m.offset(x) for x in xs],
        "mean_error": [32 * m.mean_error_norm(z.grad) for z in zs], "grad": [m.gradient_norm(g) for g in grads],
        "euler": [m.euler(w, g) for w, g in zip(before, grads)], "coherence": [m.sign_coherence(g) for g in grads],
        "gsnr": [m.gsnr(z.grad, x) for z, x in zip(zs, xs)], "dormant": [m.dormant(p) for p in posts],
        "update": [0.5 * np.linalg.norm(g) / np.linalg.norm(w) for w, g in zip(before, grads)]}
    for column, numbers in expected.items():
        np.testing.assert_allclose(found[column], numbers, rtol=rtol, atol=1e-12, err_msg=column)
    assert set(found) == set(records.COLUMNS) and all(np.isfinite(found[c]).all() for c in found)
    assert [layer.kind for layer in record.layers] == ["Linear"] * 4 and record.layers[-1].activation.name == "linear"
    parts = record.attribution()
    np.testing.assert_allclose(parts.gain[:-1], (parts.weights * parts.slope)[:-1], rtol=1e-12)
    np.testing.assert_allclose(parts.gain[:-1], found["error"][:-1] / found["error"][1:], rtol=1e-12)


class Functional(nn.Module):
    def __init__(self, phi):
        self.a, self.b, self.c, self.phi = nn.Linear(6, 9, rng=0), nn.Linear(9, 9, rng=1), nn.Linear(9, 3, rng=2), phi

    def forward(self, x):
        return self.c(self.phi(self.b(self.phi(self.a(x)))))


@pytest.mark.parametrize("name", ["sigmoid", "tanh", "relu", "gelu", "silu", "softplus", "elu", "leaky_relu"])
def test_activations_that_are_no_modules_are_recognised(name):
    net, phi = Functional(getattr(F, name)), {"gelu": nn.GELU, "silu": nn.SiLU, "relu": nn.ReLU}.get(name)
    with flow.watch(net) as record:
        one_pass(net, "float32")
    assert [layer.activation.name for layer in record.layers] == [name, name, "linear"]
    assert [layer.name for layer in record.layers] == ["a", "b", "c"] and np.isfinite(record.first["error_after"]).all()
    if phi:
        same = nn.Sequential(net.a, phi(), net.b, phi(), net.c)
        with flow.watch(same) as other:
            one_pass(same, "float32")
        for column in records.COLUMNS:
            np.testing.assert_allclose(record.first[column], other.first[column], rtol=1e-6, err_msg=column)


def test_what_is_not_recognised_is_not_guessed():
    net = Functional(lambda z: z.sin() + 0.1)
    with flow.watch(net) as record:
        one_pass(net, "float32")
    assert [layer.activation and layer.activation.name for layer in record.layers] == [None, None, "linear"]
    assert np.isfinite(record.first["error_after"]).all() and np.isnan(record.first["slope_square"][:2]).all()
    assert record.expected() is None
    assert recognised(np.linspace(-1, 1, 9), np.zeros(9)) is None


def test_linear_chains_outputs_and_own_modules():
    class Swish(nn.Module):
        def forward(self, x):
            return x * x.sigmoid()
    net = nn.Sequential(nn.Linear(6, 5, rng=0), nn.Linear(5, 4, rng=1), Swish(), nn.Identity(), nn.Linear(4, 3, rng=2),
                        nn.LogSoftmax())
    with flow.watch(net) as record:
        (net(mgx.Tensor(X, dtype="float32")) * -1).mean().backward()
    assert [layer.activation and layer.activation.name for layer in record.layers] == ["linear", "Swish", None]
    parts = record.attribution()
    assert parts.slope[0] == 1 and 0 < parts.slope[1] < 1.1 and np.isfinite(record.first["error_after"]).all()
    np.testing.assert_allclose(record.first["slope_square"][1], m.mean_square(
        flow.quadrature.activation("silu").slope(net[1](net[0](mgx.Tensor(X, dtype="float32"))).numpy())), rtol=1e-5)


def test_modules_called_more_than_once():
    """A cell over the steps of a sequence: every call is a layer of the record."""
    class Recurrent(nn.Module):
        def __init__(self):
            self.cell, self.out = nn.Linear(9, 9, rng=0), nn.Linear(9, 3, rng=1)

        def forward(self, x):
            h = self.cell(x).tanh()
            for _ in range(3):
                h = self.cell(h).tanh()
            return self.out(h)
    net = Recurrent()
    with flow.watch(net, every=1) as record:
        for _ in range(2):
            one_pass(net, "float32", np.hstack([X, X[:, :3]]))
    assert [layer.name for layer in record.layers] == ["cell", "cell[1]", "cell[2]", "cell[3]", "out"]
    assert np.isfinite(record["error"]).all() and (record["error"] > 0).all() and record["error"].shape == (2, 5)
    assert np.isfinite(record.first["grad"][[0, 4]]).all() and np.isnan(record.first["grad"][1:4]).all()


class Channels(nn.Module):
    """A convolution of one position each: what a Conv will look like, (B, C, H, W) in and out."""

    def __init__(self):
        self.weight = nn.Parameter(np.random.default_rng(0).standard_normal((5, 2, 1, 1)))
        self.bias = nn.Parameter(np.zeros(5))

    def forward(self, x):
        return mgx.einsum("bchw,oc->bohw", x, self.weight.reshape(5, 2)) + self.bias.reshape(1, 5, 1, 1)


Channels.__name__ = "Conv2d"


class Normed(nn.Module):
    def __init__(self):
        self.weight, self.bias = nn.Parameter(np.ones(5)), nn.Parameter(np.zeros(5))

    def forward(self, x):
        z = (x - x.mean((0, 2, 3), keepdims=True)) / (x.var((0, 2, 3), keepdims=True) + 1e-5).sqrt()
        return z * self.weight.reshape(1, 5, 1, 1) + self.bias.reshape(1, 5, 1, 1)


Normed.__name__ = "BatchNorm2d"


def test_images_and_normalisation():
    net = nn.Sequential(Channels(), Normed(), nn.ReLU(), nn.Flatten(), nn.Linear(60, 3, rng=0, dtype="float64"))
    x = np.random.default_rng(2).standard_normal((8, 2, 3, 4))
    with flow.watch(net) as record:
        F.cross_entropy(net(mgx.Tensor(x)), Y[:8]).backward()
    assert [(layer.kind, layer.activation.name) for layer in record.layers] == [
        ("Conv2d", "linear"), ("BatchNorm2d", "relu"), ("Linear", "linear")]
    np.testing.assert_allclose(record.first["q"][0], np.square(net[0](mgx.Tensor(x)).numpy()).mean(), rtol=1e-12)
    after = net[:3](mgx.Tensor(x)).numpy()
    np.testing.assert_allclose(record.first["signal"][1], after.var((0, 2, 3)).mean(), rtol=1e-9)
    assert record.layers[0].scale.n_in == 2 and record.layers[1].scale is None and record.expected() is None
    assert np.isfinite(record.first["error"]).all() and np.isfinite(record.first["grad"][[0, 2]]).all()


def test_flow_is_there_when_it_is_asked_for():
    code = ("import sys, microgradx as mgx; early = 'microgradx.flow' in sys.modules; mgx.flow.watch; "
            "sys.exit(early or 'microgradx.flow' not in sys.modules or 'scipy.optimize' in sys.modules "
            "or 'matplotlib' in sys.modules or 'rich' in sys.modules)")
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
    with pytest.raises(AttributeError, match="has no attribute 'flows'"):
        mgx.flows


# ----- over the steps ------------------------------------------------------------------------------------------------

def test_steps_thinning_and_losses():
    net = build()
    optimizer = optim.Adam(net.parameters(), lr=1e-3)
    with flow.watch(net, every=2, full_every=16, keep=6) as record:
        for _ in range(41):
            optimizer.zero_grad()
            record.note(one_pass(net).item())
            optimizer.step()
            with mgx.no_grad():
                net(mgx.Tensor(X))                                              # is not a pass
    assert record.steps == [0, 16, 32] or record.steps == list(range(0, 41, 8)), record.steps
    assert len(record.steps) <= 6 and record.latest_step == 32 and np.isfinite(record.losses).all()
    assert record["error"].shape == (len(record.steps), 4) and np.isfinite(record["error"]).all()
    np.testing.assert_allclose(record.first["update"][1:3], 1e-3 * np.sqrt(81) / [
        np.linalg.norm(build()[k].weight.numpy()) for k in (2, 4)], rtol=1e-3)  # Adam's first step
    assert np.isfinite(record.latest["update"]).all() and record.losses[-1] < record.losses[0]


def test_watching_changes_nothing_and_leaves_nothing():
    plain, watched = build(), build()
    for net, context in ((plain, None), (watched, flow.watch(watched, every=1))):
        optimizer = optim.SGD(net.parameters(), lr=0.1)
        record = context.__enter__() if context else None
        for _ in range(5):
            optimizer.zero_grad()
            one_pass(net)
            optimizer.step()
    context.__exit__()
    for p, q in zip(plain.parameters(), watched.parameters()):
        assert (p.numpy() == q.numpy()).all()
    assert not any(module._hooks and any(module._hooks.values()) for module in watched.modules())
    one_pass(watched)
    assert record.steps == [0, 1, 2, 3, 4]
    gc.collect()
    last = weakref.ref(context)
    del context
    gc.collect()
    assert last() is None or not last().traces


def test_passes_leave_no_garbage():
    net = build()
    with flow.watch(net, every=1):
        one_pass(net)
        gc.collect()
        gc.disable()
        try:
            for _ in range(20):
                one_pass(net)
            assert gc.collect() < 50                    # a cycle per layer and pass would be a thousand objects
        finally:
            gc.enable()


def test_arrays_are_let_go_in_the_backward_pass():
    net = build()
    watching = flow.watch(net)
    with watching:
        one_pass(net)
        assert not watching.nodes and not any(trace.seen or trace.arrays for trace in watching.traces)


def test_forward_without_backward_and_frozen_layers():
    net = build()
    net[0].requires_grad_(False)
    with flow.watch(net, every=1) as record:
        net(mgx.Tensor(X))
        one_pass(net)
        net(mgx.Tensor(X))
        one_pass(net)
    assert record.steps == [0, 1] and [layer.name for layer in record.layers] == ["2", "4", "6"]


def test_sums_instead_of_means():
    numbers = []
    for reduction in ("mean", "sum"):
        net = build()
        with flow.watch(net, reduction=reduction) as record:
            F.cross_entropy(net(mgx.Tensor(X)), Y, reduction=reduction).backward()
        numbers.append(record.first["error"])
    np.testing.assert_allclose(*numbers, rtol=1e-12)


def test_theory_beside_what_is_measured():
    layers, rng = [], np.random.default_rng(0)
    for n_in, n_out in [(64, 500)] + [(500, 500)] * 4 + [(500, 10)]:
        layers += [nn.Linear(n_in, n_out, rng=rng), nn.Sigmoid()]
        nn.init.lecun_normal_(layers[-2].weight, rng=rng)
        nn.init.zeros_(layers[-2].bias)
    net, (x, y) = nn.Sequential(*layers[:-1]), mgx.data.digits()
    with flow.watch(net) as record:
        F.cross_entropy(net(mgx.Tensor(x[:256])), y[:256]).backward()
    expected, parts = record.expected(), record.attribution()
    np.testing.assert_allclose(parts.gain[:-1], expected.gain[:-1], rtol=0.1)
    np.testing.assert_allclose(record.chi()[:-1], parts.gain[:-1] ** 2, rtol=0.25)
    np.testing.assert_allclose(record.first["q"][:-1], expected.q[:-1], rtol=0.1)
    np.testing.assert_allclose(record.first["signal"][:3], expected.signal[:3], rtol=0.25)
    np.testing.assert_allclose(parts.slope[:-1], math.sqrt(0.0557), rtol=0.03)


@pytest.mark.parametrize("call, error, words", [
    (lambda: flow.watch(3), DTypeError, "a Module of microgradx or torch, not int"),
    (lambda: flow.watch(nn.Tanh()).__enter__(), OptionError, "Tanh has no module with a weight"),
    (lambda: flow.watch(build(), metrics=["speed"]), OptionError, "'speed'"),
    (lambda: flow.watch(build(), metrics="error"), OptionError, "not 'error'"),
    (lambda: flow.watch(build(), every=0), OptionError, "every is an integer >= 1, not 0"),
    (lambda: flow.watch(build(), full_every=1.5), OptionError, "full_every is an integer >= 1, not 1.5"),
    (lambda: flow.watch(build(), reduction="none"), OptionError, "'mean' or 'sum', not 'none'"),
    (lambda: flow.watch(build(), keep=1), OptionError, "keep is an integer >= 2, not 1"),
    (lambda: records.Record()["speed"], OptionError, "'speed' is none of error"),
    (lambda: records.Record().attribution(), OptionError, "no forward and backward pass")])
def test_refusals(call, error, words):
    with pytest.raises(error, match=words):
        call()


@pytest.mark.parametrize("column", records.COLUMNS)
def test_every_column_is_a_number_of_every_dense_layer(column):
    net = build(nn.ReLU)
    with flow.watch(net, metrics=[column], every=1) as record:
        for _ in range(2):
            one_pass(net)
    assert record[column].shape == (2, 4) and np.isfinite(record[column]).all()
