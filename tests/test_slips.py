"""Slips that people make, each with the words that help; nothing is changed by a call that is refused."""
import os
import pickle
import subprocess
import sys

import numpy as np
import pytest
from scipy import sparse

import microgradx as mgx
from microgradx import Tensor, data, nn, optim
from microgradx.errors import DTypeError, GraphError, IndexError_, OptionError, ShapeError, described

F = nn.functional
X, LABELS = Tensor(np.ones((4, 3), "f4")), np.array([0, 1, 2, 0])


class torch_like:
    """What messages know another library's tensor by."""
    requires_grad = True

    def __dlpack__(self):
        raise AssertionError

    def relu(self):
        return self

    def softmax(self, axis):
        return self

    def __array__(self, dtype=None, copy=None):
        raise RuntimeError("no array")


torch_like.__module__, torch_like.__name__ = "torch.nn", "Parameter"
DLPACK = r"torch.Parameter \(mgx.from_dlpack\(x.detach\(\)\) makes a Tensor"


def linear(*sizes):
    return nn.Linear(*sizes, rng=0)


def no_layer():
    return nn.Sequential(linear(3, 5), nn.ReLU(), linear(4, 3))


SLIPS = {
    "layer": (lambda: no_layer()(X), ShapeError,
              r"^Sequential: layer 2, Linear\(in_features=4, out_features=3, bias=True\), got float32 of shape "
              r"\(4, 5\): linear: shapes \(4, 5\) and \(3, 4\) do not align \(5 != 4\)$"),
    "layer inside": (lambda: nn.Sequential(nn.Tanh(), nn.Sequential({"a": nn.Identity(), "b": no_layer()}))(X),
                     ShapeError, r"^Sequential: layer 1.b.2, Linear\(in.*\), got float32 of shape \(4, 5\): linear:"),
    "layer's dtype": (lambda: nn.Sequential(linear(3, 5))(X.double()), DTypeError,
                      r"^Sequential: layer 0, Linear\(in.*\), got float64 of shape \(4, 3\): linear: dtypes"),
    "cuda": (lambda: linear(3, 2).to("cuda"), OptionError, "cuda is not there; microgradx runs on the CPU"),
    "cuda:1": (lambda: X.to("cuda:1"), OptionError, "cuda:1 is not there"),
    "device by name": (lambda: linear(3, 2).to(device="mps"), OptionError, "mps is not there"),
    "dtype": (lambda: linear(3, 2).to("float16"), DTypeError, "float32 or float64, not float16"),
    "reduction by position": (lambda: F.cross_entropy(X, LABELS, "sum"), OptionError,
                              "reduction=.sum. is given by name"),
    "reduction": (lambda: F.mse_loss(X, X, "average"), OptionError, "not 'average'$"),
    "float labels": (lambda: F.cross_entropy(X, LABELS.astype("f4")), DTypeError, r"astype\('int64'\) makes labels"),
    "label": (lambda: F.cross_entropy(X, np.array([0, 3, 1, 2])), IndexError_, "label 3 of row 1 .* the 3 classes"),
    "label with weights": (lambda: F.cross_entropy(X, np.array([0, 1, 1, -1]), weight=mgx.ones(3)), IndexError_,
                           r"label -1 of row 3 .* \(0..2\)"),
    "one hot": (lambda: F.one_hot(np.array([0, 5]), 3), IndexError_, r"label 5 at \[1\] is not one of the 3 classes"),
    "id": (lambda: F.embedding(np.array([[0, 1], [7, 1]]), X), IndexError_, r"id 7 at \[1, 0\] .* 4 rows \(0..3\)"),
    "another library's": (lambda: X + torch_like(), DTypeError, f"add: .* not with {DLPACK}"),
    "another library's data": (lambda: Tensor(torch_like()), DTypeError, f"no array is made of {DLPACK}"),
    "another library's data for a layer": (lambda: linear(3, 2)(torch_like()), DTypeError, f"is made of {DLPACK}"),
    "another library's softmax": (lambda: nn.Softmax()(torch_like()), DTypeError, f"softmax: of a .* not {DLPACK}"),
    "another library's dropout": (lambda: F.dropout(torch_like()), DTypeError, f"is made of {DLPACK}"),
    "another library's attention": (lambda: F.scaled_dot_product_attention(*[torch_like()] * 3), DTypeError,
                                    f"is made of {DLPACK}"),
    "a sparse product": (lambda: sparse.eye_array(4) @ nn.Parameter(np.ones(4)), GraphError,
                         r"a\.toarray\(\) @ t is the product of a sparse a"),
    "another library's input": (lambda: nn.LSTM(3, 2)(torch_like()), DTypeError, f"LSTM: the input is .* {DLPACK}"),
    "another library's parameter": (lambda: optim.SGD([torch_like()], lr=0.1), DTypeError, f"SGD: .* not {DLPACK}"),
    "backward of many": (lambda: (nn.Parameter([1.0, 2.0]) * 2).backward(), ShapeError, r"mean\(\) or sum\(\)"),
    "no graph": (lambda: Tensor(1.0).backward(), GraphError, "detached or computed by NumPy, .* no_grad"),
    "no parameters": (lambda: optim.SGD(nn.ReLU().parameters(), lr=0.1), OptionError, "the iterator is empty"),
    "text": (lambda: Tensor(np.array([[1, "a"]], object)), DTypeError, r"at \[0, 1\] is the text 'a'"),
    "texts": (lambda: Tensor(["a"]), DTypeError, r"at \[0\] is the text 'a'"),
    "a text among numbers": (lambda: Tensor([[1, 2.5], [3, "a"]]), DTypeError, r"at \[1, 1\] is the text 'a'; make"),
    "bytes among numbers": (lambda: X.copy_([True, b"a"]), DTypeError, r"at \[1\] is the text b'a'; make"),
    "a text below many axes": (lambda: Tensor(np.full((1,) * 33, "a")), DTypeError, "data of dtype <U1 are not real"),
    "records as a bound": (lambda: X.clone().random_(np.zeros(2, "i4,f8")), DTypeError, "random_: low"),
    "a complex number": (lambda: X + [1, 2j, 3], DTypeError, r"at \[1\] is complex"),
    "a date": (lambda: Tensor([np.datetime64("2020-01-01")]), DTypeError, r"at \[0\] is date"),
    "a large integer": (lambda: Tensor([1, 2**70]), DTypeError, r"at \[1\] is an integer beyond int64"),
    "None": (lambda: Tensor(np.array([1.0, None])), DTypeError, r"at \[1\] is None"),
    "objects": (lambda: Tensor(np.array([1, 2], object)), DTypeError, "astype makes them so"),
    "format": (lambda: f"{X:.3f}", ShapeError, "format: only one number can be formatted, this has 12"),
    "write to a leaf": (lambda: nn.Parameter([1.0]).add_(1), GraphError, r"leaf .* shape \(1,\).*no_grad\(\)"),
    "rows of nothing": (lambda: data.batches(3.0, LABELS, 2), DTypeError, "batches: .* not float"),
    "rows of a dict": (lambda: data.split({"a": 1}, LABELS), DTypeError, "split: .* not dict"),
}


@pytest.mark.parametrize("slip", SLIPS)
def test_the_words(slip):
    call, kind, words = SLIPS[slip]
    with pytest.raises(kind, match=words) as error:
        call()
    assert type(error.value) is kind


def test_what_is_no_slip():
    net = linear(3, 2)
    weight = net.weight
    assert net.to("cpu") is net and net.weight is weight and net.to(device="cpu") is net and X.to("cpu") is X
    assert net.to(np.float64).weight.dtype == np.float64 and net.to("float32", device="cpu").weight.dtype == np.float32
    assert f"{Tensor(1.5):.3f} {Tensor([2.0]):>4.1f} {mgx.tensor(3):d}" == "1.500  2.0 3" and f"{X}" == str(X)
    assert (F.softmax(X, dim=0) == F.softmax(X, 0)).all() and (F.log_softmax(X, dim=0) == X.log_softmax(0)).all()
    assert pickle.loads(pickle.dumps(mgx.compile(np.sin)))(0.0) == 0
    assert described(1) == "int" and described(np.ones(1)) == "ndarray" and described(X) == "Tensor"


class Frame:
    """As a frame of pandas: an array of numbers names columns, ``iloc`` takes rows."""

    def __init__(self, rows):
        self.rows, self.iloc = rows, np.asarray(rows)

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, key):
        raise KeyError(key)


@pytest.mark.parametrize("kind", [Frame, list, tuple], ids=lambda kind: kind.__name__)
def test_batches_of_frames_and_lists(kind):
    x, y = kind([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]), kind([0, 1, 2])
    pairs = list(data.batches(x, y, 2, rng=0))
    assert [len(a) for a, _ in pairs] == [2, 1]
    assert all((a[:, 0] == 2 * b + 1).all() for a, b in pairs)
    parts = data.split(x, y, 0.3, rng=0)
    assert [len(part) for part in parts] == [2, 2, 1, 1]


def test_a_state_that_does_not_fit_is_described_whole_and_changes_nothing():
    net = nn.Sequential(linear(3, 2), linear(2, 2), nn.BatchNorm1d(2))
    before = {name: t.tolist() for name, t in net.state_dict().items()}
    state = dict(nn.Sequential(linear(3, 4), linear(2, 2), nn.BatchNorm1d(2)).state_dict())
    del state["1.bias"]
    state |= {"extra": mgx.ones(1), "2.running_mean": np.zeros(2), "2.weight": "text"}
    with pytest.raises(OptionError) as error:
        net.load_state_dict(state)
    for words in ("missing ['1.bias']", "unexpected ['extra']", "'0.weight' has shape (2, 3), the state's (4, 3)",
                  "'0.bias' has shape (2,)", "'2.running_mean' is float32, the state's float64", "'2.weight'"):
        assert words in str(error.value)
    with pytest.raises(ShapeError, match="'0.weight' .*; '0.bias' .*"):
        net.load_state_dict(state, strict=False)
    assert {name: t.tolist() for name, t in net.state_dict().items()} == before


BLOCKED = "import sys\nfor name in ('click', 'rich', 'matplotlib'): sys.modules[name] = None\n"


def test_the_command_line_without_its_extra():
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    imported = subprocess.run([sys.executable, "-c", BLOCKED + "try: import microgradx.cli\nexcept ImportError as e: "
                               "print(e.name, e)"], capture_output=True, text=True, env=environment)
    assert imported.returncode == 0
    assert imported.stdout.startswith("click microgradx: the command line needs click, which is not installed: pip")
    run = subprocess.run([sys.executable, "-c", BLOCKED + "from microgradx.__main__ import main\nmain()"],
                         capture_output=True, text=True, env=environment)
    assert run.returncode == 1 and run.stderr.startswith("microgradx: the command line needs click")
    assert len(run.stderr.splitlines()) == 1


def test_lapack_prints_nothing(capfd):
    bad = Tensor([[float("nan"), 2.0], [2.0, float("inf")]])
    for call in (mgx.linalg.inv, mgx.linalg.det, mgx.linalg.eigh, mgx.linalg.cholesky, mgx.linalg.slogdet,
                 lambda a: mgx.linalg.lstsq(a, Tensor([1.0, 2.0])), lambda a: mgx.linalg.solve(a, Tensor([1.0, 2.0]))):
        try:
            call(bad)
        except (mgx.errors.Error, ArithmeticError):
            pass
    assert capfd.readouterr() == ("", "")
