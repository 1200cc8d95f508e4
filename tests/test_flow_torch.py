"""The records of PyTorch nets are those of the same nets here."""
import pickle
import subprocess
import sys

import numpy as np
import pytest

import microgradx as mgx
from microgradx import flow, nn, optim
from microgradx.errors import DTypeError
from microgradx.flow import records
from microgradx.flow.engines.torch import TORCH
from microgradx.nn import functional as F

X = np.random.default_rng(0).standard_normal((32, 6)).astype("float32")
Y = np.random.default_rng(1).integers(0, 3, 32)


def pair(torch, name, **options):
    """The same net twice, ours first."""
    ours, theirs = [], []
    for k, (n_in, n_out) in enumerate(((6, 9), (9, 9), (9, 3))):
        ours += [nn.Linear(n_in, n_out, rng=k), getattr(nn, name)()]
        theirs += [torch.nn.Linear(n_in, n_out), getattr(torch.nn, name)(**options)]
        with torch.no_grad():
            theirs[-2].weight.copy_(torch.from_numpy(ours[-2].weight.numpy()))
            theirs[-2].bias.copy_(torch.from_numpy(ours[-2].bias.numpy()))
    return nn.Sequential(*ours[:-1]), torch.nn.Sequential(*theirs[:-1])


@pytest.mark.parametrize("name, options", [("Sigmoid", {}), ("Tanh", {}), ("ReLU", {"inplace": True}), ("GELU", {}),
                                           ("LeakyReLU", {}), ("PReLU", {}), ("Softplus", {})])
def test_numbers_agree(name, options):
    torch = pytest.importorskip("torch")
    ours, theirs = pair(torch, name, **options)
    first, second = optim.SGD(ours.parameters(), lr=0.1), torch.optim.SGD(theirs.parameters(), lr=0.1)
    with flow.watch(ours, every=1) as a, flow.torch.watch(theirs, every=1) as b:
        for _ in range(3):
            first.zero_grad()
            F.cross_entropy(ours(mgx.Tensor(X)), Y).backward()
            first.step()
            second.zero_grad()
            torch.nn.functional.cross_entropy(theirs(torch.from_numpy(X)), torch.from_numpy(Y)).backward()
            second.step()
    assert a.steps == b.steps == [0, 1, 2] and [str(x) for x in a.layers] == [str(x) for x in b.layers]
    for column in records.COLUMNS:
        np.testing.assert_allclose(a.first[column], b.first[column], rtol=1e-3, atol=1e-6, err_msg=column)
    for column in records.CHEAP:
        np.testing.assert_allclose(a[column], b[column], rtol=1e-4, err_msg=column)
    np.testing.assert_allclose(a.expected().gain, b.expected().gain, rtol=1e-6)


def test_convolutions_normalisation_and_own_activations():
    torch = pytest.importorskip("torch")

    class Own(torch.nn.Module):
        def forward(self, x):
            return x * torch.sigmoid(x)

    net = torch.nn.Sequential(torch.nn.Conv2d(2, 5, 3), torch.nn.BatchNorm2d(5), torch.nn.ReLU(), torch.nn.MaxPool2d(2),
                              torch.nn.Flatten(), torch.nn.Linear(20, 7), Own(), torch.nn.Dropout(0.1),
                              torch.nn.Linear(7, 3))
    x = torch.from_numpy(np.random.default_rng(0).standard_normal((8, 2, 6, 6)).astype("float32"))
    with flow.torch.watch(net) as record:
        torch.nn.functional.cross_entropy(net(x), torch.from_numpy(Y[:8])).backward()
    assert [(layer.kind, layer.activation.name) for layer in record.layers] == [
        ("Conv2d", "linear"), ("BatchNorm2d", "relu"), ("Linear", "Own"), ("Linear", "linear")]
    assert record.layers[0].scale.n_in == 18 and (record.first["error"] > 0).all()
    assert np.isfinite(record.first["slope_square"]).all() and np.isfinite(record.first["error_after"]).all()


def test_nets_of_torch_are_diagnosed():
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    layers = [torch.nn.Linear(6, 16), torch.nn.Sigmoid()]
    for _ in range(8):
        layers += [torch.nn.Linear(16, 16), torch.nn.Sigmoid()]
    net = torch.nn.Sequential(*layers, torch.nn.Linear(16, 3))
    found = flow.diagnose(net, torch.nn.functional.cross_entropy, (torch.from_numpy(X), torch.from_numpy(Y)), most=1)
    assert found.verdict == "vanishing backward" and found.prescriptions[0]["name"] == "centre the sigmoids"


@pytest.mark.parametrize("term, operation", [
    (lambda out: (0 * out).square().sum().sqrt(), "sqrt"), (lambda out: (0 * out.relu()).pow(0.5).sum(), "pow"),
    (lambda out: (0 * (0 * out).log()).nan_to_num().sum(), "log")], ids=["sqrt", "pow", "log"])
def test_a_term_of_infinite_slope(term, operation):
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Linear(6, 16), torch.nn.Tanh(), torch.nn.Linear(16, 3))
    y = torch.from_numpy(X).sum(1).gt(0).long()
    found = flow.diagnose(net, lambda out, y: torch.nn.functional.cross_entropy(out, y) + term(out),
                          (torch.from_numpy(X), y), torch.optim.Adam(net.parameters(), 1e-2))
    assert found.verdict == "nan gradient" and f"backward pass of {operation}:" in found.cause
    assert found.cure["name"] == "off the point of infinite slope" and found.prescriptions[0] is found.cure


def cut(torch, how):
    """A net that leaves its graph in the middle."""
    class Cut(torch.nn.Module):
        def forward(self, x):
            if how == "no_grad":
                with torch.no_grad():
                    return torch.tanh(x)
            return torch.tanh(x.data if how == "data" else x.detach())
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Linear(6, 16), Cut(), torch.nn.Linear(16, 16), torch.nn.Tanh(),
                               torch.nn.Linear(16, 3))


@pytest.mark.parametrize("how", ["detach", "data", "no_grad"])
def test_a_cut_is_mended_by_keeping_the_graph(how):
    torch = pytest.importorskip("torch")
    net = cut(torch, how)
    y = torch.from_numpy(X).sum(1).gt(0).long()
    found = flow.diagnose(net, torch.nn.functional.cross_entropy, (torch.from_numpy(X), y))
    first = found.prescriptions[0]
    assert found.verdict == "cut graph" and first["name"] == "keep the graph" and first["after"], str(found)
    names = {"torch": torch, "nn": torch.nn, "optim": torch.optim, "model": net, "schedule": None,
             "loss_fn": torch.nn.functional.cross_entropy, "optimizer": torch.optim.SGD(net.parameters(), 0.1)}
    exec("\n".join(first["lines"]), names)
    names["loss_fn"](names["model"](torch.from_numpy(X)), y).backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in net.parameters())


@pytest.mark.parametrize("apart", [False, True], ids=["with ctx", "setup_context"])
def test_the_librarys_derivative(apart):
    torch = pytest.importorskip("torch")

    class Folding(torch.autograd.Function):
        @staticmethod
        def backward(ctx, g):
            return g.abs() * 3

    def with_ctx(ctx, x):
        return x.tanh()

    def without(x):
        return x.tanh()

    def setup(ctx, inputs, output):
        pass
    Folding.forward = staticmethod(without if apart else with_ctx)
    if apart:
        Folding.setup_context = staticmethod(setup)

    class Through(torch.nn.Module):
        def forward(self, x):
            return Folding.apply(x)
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Linear(6, 32), Through(), torch.nn.Linear(32, 3), Through())
    x = torch.from_numpy(np.random.default_rng(2).standard_normal((256, 6)).astype("float32"))
    y, parts = x[:, :2].gt(0).sum(1), dict(vars(Folding))
    found = flow.diagnose(net, torch.nn.functional.cross_entropy, (x, y), torch.optim.Adam(net.parameters(), 1e-2))
    assert dict(vars(Folding)) == parts
    assert found.verdict == "wrong gradient" and found.cure["name"] == "the library's derivative", str(found)


def test_a_packed_training_is_the_same_in_every_process():
    """So that a store finds it again; what belongs together still does."""
    torch = pytest.importorskip("torch")
    code = ("import hashlib, torch; from microgradx.flow.engines.torch import TORCH; torch.manual_seed(0); "
            "m = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4)); "
            "o = torch.optim.Adam(m.parameters()); print(hashlib.md5(TORCH.pack((m, o))).hexdigest())")
    assert len({subprocess.run([sys.executable, "-c", code], capture_output=True).stdout for _ in range(2)}) == 1
    model = torch.nn.Linear(3, 4)
    model.bias.requires_grad_(False)
    twin, optimizer = pickle.loads(TORCH.pack((model, torch.optim.Adam(model.parameters()))))
    assert optimizer.param_groups[0]["params"][0] is twin.weight and torch.equal(twin.weight, model.weight)
    assert twin.weight.requires_grad and not twin.bias.requires_grad


def test_what_is_no_torch_module_is_refused():
    pytest.importorskip("torch")
    with pytest.raises(DTypeError, match="of microgradx or torch, not int"):
        flow.torch.watch(3)


def test_importing_flow_imports_no_torch():
    code = "import sys, microgradx.flow.torch; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_a_container_says_where_modules_of_torch_belong():
    torch = pytest.importorskip("torch")
    with pytest.raises(DTypeError, match="not Linear of torch; flow.diagnose takes modules of torch as they are"):
        nn.Sequential(torch.nn.Linear(2, 2))
