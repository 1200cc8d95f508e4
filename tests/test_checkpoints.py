"""Saving and loading as torch's programs do it: checkpoints, open files, options, and what is refused."""
import io
import pathlib
import pickle

import numpy as np
import pytest

import microgradx as mgx
from microgradx import nn, optim
from microgradx.errors import DTypeError, FormatError, OptionError


def trained(kind=optim.Adam, **options):
    net = nn.Sequential(nn.Linear(2, 3, rng=0), nn.BatchNorm1d(3), nn.Linear(3, 1, rng=1))
    opt = kind(net.parameters(), **options)
    schedule = optim.lr_scheduler.StepLR(opt, 2, 0.5)
    for _ in range(3):
        step(net, opt)
        schedule.step()
    return net, opt, schedule


def step(net, opt):
    x = mgx.Tensor(np.arange(8.0, dtype="float32").reshape(4, 2) / 8)

    def closure():
        opt.zero_grad()
        loss = (net(x) - 1).square().mean()
        loss.backward()
        return loss
    return opt.step(closure).item()


@pytest.mark.parametrize("kind", [optim.Adam, optim.NAdam, optim.ASGD, optim.LBFGS, optim.Rprop])
@pytest.mark.parametrize("where", ["path", "string", "file", "buffer"])
def test_a_checkpoint_goes_on(kind, where, tmp_path):
    net, opt, schedule = trained(kind, lr=0.01)
    checkpoint = {"epoch": 3, "model": net.state_dict(), "optimizer": opt.state_dict(), "loss": 0.2,
                  "schedule": schedule.state_dict(), "history": [0.5, None, "best"], "shape": (2, 3)}
    path = tmp_path / "run.pt"
    if where == "buffer":
        f = io.BytesIO()
        mgx.save(checkpoint, f)
        f.seek(0)
        loaded = mgx.load(f, weights_only=True)
    elif where == "file":
        with open(path, "wb") as f:
            mgx.save(checkpoint, f)
        with open(path, "rb") as f:
            loaded = mgx.load(f, map_location="cpu")
    else:
        mgx.save(checkpoint, str(path) if where == "string" else pathlib.Path(path))
        loaded = mgx.load(path, map_location=lambda storage, place: storage, weights_only=False, mmap=True)
    assert loaded["epoch"] == 3 and loaded["history"] == [0.5, None, "best"] and loaded["shape"] == (2, 3)
    other, goes_on, follows = trained(kind, lr=0.5)
    assert other.load_state_dict(loaded["model"]) == ([], [])
    goes_on.load_state_dict(loaded["optimizer"])
    follows.load_state_dict(loaded["schedule"])
    assert [step(other, goes_on) for _ in range(3)] == [step(net, opt) for _ in range(3)]
    assert follows.get_last_lr() == schedule.get_last_lr() and follows.last_epoch == 3


def test_several_in_one_buffer():
    one, other = io.BytesIO(), io.BytesIO()
    mgx.save([mgx.Tensor([1.0])], one)
    other.write(b"a head of its own")
    mgx.save({"a": 1}, other)
    one.seek(0)
    other.seek(len(b"a head of its own"))
    assert mgx.load(one)[0].tolist() == [1] and mgx.load(other) == {"a": 1}
    with pytest.raises(FormatError, match=r"BytesIO.*seek\(0\)"):
        mgx.load(one)


def test_a_state_that_is_taken_for_the_module_says_so(tmp_path):
    net = nn.Linear(2, 1)
    mgx.save(net, tmp_path / "net.pt")
    loaded = mgx.load(tmp_path / "net.pt")
    for use in (lambda: loaded.eval(), lambda: loaded(mgx.zeros(1, 2)), lambda: loaded.weight):
        with pytest.raises(AttributeError, match="load_state_dict"):
            use()
    assert loaded == dict(loaded) and type(pickle.loads(pickle.dumps(loaded))) is dict


@pytest.mark.parametrize("call, kind, words", [
    (lambda p: mgx.load(p, map_location="cuda:0"), OptionError, "cuda:0 is not there"),
    (lambda p: mgx.load(p, map_location={"cuda:0": "cuda:1"}), OptionError, "cuda:1"),
    (lambda p: mgx.load(p, map_location="disk"), OptionError, "map_location='disk'"),
    (lambda p: mgx.load(p, True), OptionError, "metadata= goes by name"),
    (lambda p: mgx.load(open(p, encoding="latin-1")), DTypeError, "open for text"),
    (lambda p: mgx.save({"a": 1}, io.StringIO()), DTypeError, "open for text"),
    (lambda p: mgx.load(io.BytesIO(b"PK\3\4" + b"\0" * 22 + b"\x12\0\0\0archive/data.pkl..")), FormatError, "torch"),
    (lambda p: mgx.load(io.BytesIO(b"\x80\x02}q\0.")), FormatError, "BytesIO"),
    (lambda p: mgx.save({"a": {1, 2}}, p), DTypeError, "'a' is a set"),
])
@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_refused(call, kind, words, tmp_path):
    mgx.save({"a": 1}, tmp_path / "f")
    with pytest.raises(kind, match=words):
        call(tmp_path / "f")


def test_maps_from_where_a_file_was_written(tmp_path):
    mgx.save({"a": 1}, tmp_path / "f")
    assert mgx.load(tmp_path / "f", {"cuda:0": "cpu"}) == {"a": 1}
