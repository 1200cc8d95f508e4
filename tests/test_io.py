"""Files: what is saved comes back, what is damaged is refused, what was there stays until the new file is whole."""
import json
import os
import struct
import sys
from pathlib import Path

import numpy as np
import pytest

import microgradx as mgx
from microgradx import Tensor, io, nn, optim
from microgradx.errors import DTypeError, Error, FormatError, OptionError, ShapeError


@pytest.fixture
def path(tmp_path):
    return tmp_path / "file.safetensors"


def equal(a, b):
    """Equal in kind, structure, dtype and every bit."""
    if isinstance(a, Tensor):
        return (isinstance(b, Tensor) and a.dtype == b.dtype and a.shape == b.shape
                and a.numpy().tobytes() == b.numpy().tobytes() and not b.requires_grad and b.is_leaf)
    if type(a) is not type(b):
        return False
    if isinstance(a, dict):
        return list(a) == list(b) and all(equal(a[k], b[k]) for k in a)
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(map(equal, a, b))
    return a == b or a != a and b != b


def net():
    return nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2))


# ----- what comes back -----------------------------------------------------------------------------------------------

TENSORS = [Tensor(np.array(data, dtype)) for dtype in ("f4", "f8", "i8", "?")
           for data in (1, [1, 0, 2], [[1, 0], [0, 3]], np.zeros(0), np.zeros((0, 3)), np.zeros((2, 1, 0)))]
TENSORS += [Tensor([np.nan, -np.nan, np.inf, -np.inf, -0.0, 1e-45]), Tensor(np.arange(6.0).reshape(2, 3)).T,
            Tensor(np.arange(6.0))[::-2], Tensor([1.0]).expand(3, 2), mgx.tensor([2**63 - 1, -2**63])]
OBJECTS = [{}, [], (), 3, True, None, 0.1, float("nan"), float("-inf"), 2**70, ["text \0 \U0001f600 \ud800"],
           {"a": {"b": {}}},
           {0: Tensor(1.0), "0": {1: 2}}, {"a.b": Tensor(1.0), "a": {"c": Tensor(2.0)}}, {"": Tensor(1.0)},
           [Tensor(1.0), (Tensor(2.0), [3, {"x": Tensor(4.0)}])], {"z": Tensor(1.0), "a": Tensor(2.0), "m": 1},
           {"tensor": "a", "dict": [], "list": {}}, {"microgradx": Tensor(1.0), "metadata": "x"}]


@pytest.mark.parametrize("obj", TENSORS + OBJECTS, ids=lambda o: type(o).__name__)
def test_it_comes_back(path, obj):
    mgx.save(obj, path)
    assert equal(obj, mgx.load(path))
    mgx.save({"inside": [obj, obj]}, path)
    assert equal({"inside": [obj, obj]}, mgx.load(path))


def test_a_flat_dict_is_a_plain_safetensors_file(path):
    from safetensors.numpy import load_file, save_file
    state = net().state_dict()
    mgx.save(state, path)
    theirs = load_file(path)
    assert set(theirs) == set(state) and all((theirs[k] == state[k].numpy()).all() for k in state)
    assert list(mgx.load(path)) == list(state)                  # the order is noted, which the format has not
    mgx.save({"a": state["0.weight"], "b": state["0.bias"]}, path)
    assert b"__metadata__" not in path.read_bytes() and list(mgx.load(path)) == ["a", "b"]
    save_file({"w": np.float16([1.5]), "n": np.uint8([7]), "x": np.float64([0.1])}, path, metadata={"format": "pt"})
    ours, texts = mgx.load(path, metadata=True)
    assert {k: (t.dtype.name, t.tolist()) for k, t in ours.items()} == {
        "w": ("float32", [1.5]), "n": ("int64", [7]), "x": ("float64", [0.1])} and texts == {"format": "pt"}


def test_names_are_dotted(path):
    from safetensors import safe_open
    mgx.save({"net": net(), "list": [Tensor(1.0), (2, Tensor(3.0))]}, path)
    with safe_open(path, framework="numpy") as file:
        assert set(file.keys()) == {"net.0.weight", "net.0.bias", "net.2.weight", "net.2.bias", "list.0", "list.1.1"}


def test_arrays_come_back_as_tensors(path):
    mgx.save({"a": np.arange(3, dtype="u1"), "b": np.asfortranarray(np.eye(3))[::-1],
              "c": np.float32(2.5), "d": np.int8(3), "e": np.arange(2, dtype=">f8")}, path)
    state = mgx.load(path)
    assert state["a"].tolist() == [0, 1, 2] and state["b"].tolist() == np.eye(3)[::-1].tolist()
    assert state["c"] == 2.5 and state["d"] == 3 and state["e"].tolist() == [0, 1]


def test_masks_hold_0_and_1(path):
    """A file may hold other bytes; they must not become numbers."""
    header = json.dumps({"m": {"dtype": "BOOL", "shape": [3], "data_offsets": [0, 3]}}).encode()
    path.write_bytes(struct.pack("<Q", len(header)) + header + b"\0\1\xff")
    assert mgx.load(path)["m"].sum().item() == 2 and mgx.load(path)["m"].astype("f4").tolist() == [0, 1, 1]


def test_models_and_metadata(path):
    a, b = net(), net()
    mgx.save(a, path, metadata={"epoch": "3", "note": "ü"})
    state, texts = mgx.load(path, metadata=True)
    assert texts == {"epoch": "3", "note": "ü"}
    b.load_state_dict(state)
    x = Tensor(np.ones((5, 3), np.float32))
    assert a(x).numpy().tobytes() == b(x).numpy().tobytes()
    mgx.save({"more": 1}, path, metadata={"epoch": "4"})
    assert mgx.load(path, metadata=True) == ({"more": 1}, {"epoch": "4"})


def kinds_of_optimizer():
    return [cls for name in optim.__all__ for cls in [getattr(optim, name)]
            if isinstance(cls, type) and issubclass(cls, optim.Optimizer) and cls is not optim.Optimizer]


@pytest.mark.parametrize("kind", kinds_of_optimizer())
def test_optimizers_go_on_where_they_were(path, kind):
    """Saved and loaded in the middle, a run is the same to the bit."""
    def run(model, step, times):
        def closure():
            step.zero_grad()
            loss = model(Tensor(np.ones((5, 3), np.float32))).square().mean()
            loss.backward()
            return loss
        for _ in range(times):
            step.step(closure)

    model = net()
    step = kind(model.parameters(), lr=0.1)
    run(model, step, 3)
    mgx.save({"model": model, "step": step}, path)
    run(model, step, 3)
    other = net()
    again = kind(other.parameters(), lr=0.3)
    state = mgx.load(path)
    other.load_state_dict(state["model"])
    again.load_state_dict(state["step"])
    run(other, again, 3)
    for a, b in zip(model.parameters(), other.parameters()):
        assert a.detach().numpy().tobytes() == b.detach().numpy().tobytes()


# ----- what is refused -----------------------------------------------------------------------------------------------

def itself():
    found = []
    found.append(found)
    return found


@pytest.mark.parametrize("obj, kind, words", [
    (1j, DTypeError, "save: 'the object' is a complex"),
    ({"a": {"b": object()}}, DTypeError, "save: 'a.b' is a object"),
    (mgx.Value(1.0), DTypeError, "Value"), (b"x", DTypeError, "object comes first"),
    ("name", DTypeError, "object comes first"),
    (Path("name"), DTypeError, "object comes first"), ({1.5: 1}, DTypeError, "key of 'the dict' is 1.5"),
    ({"a": {None: 1}}, DTypeError, "key of 'a' is None"), ({"a": np.array([None])}, DTypeError, "object"),
    ({"a": np.ones(1, complex)}, DTypeError, "complex"), ({"a": {1, 2}}, DTypeError, "'a' is a set"),
    ({"a.b": Tensor(1.0), "a": {"b": Tensor(1.0)}}, OptionError, "second tensor .*'a.b'"),
    ({1: Tensor(1.0), "1": Tensor(1.0)}, OptionError, "second tensor .*'1'"),
    ({"__metadata__": Tensor(1.0)}, OptionError, "__metadata__"), (itself(), OptionError, "contains itself")])
def test_what_cannot_be_saved(path, obj, kind, words):
    path.write_bytes(b"before")
    with pytest.raises(kind, match=words):
        mgx.save(obj, path)
    assert path.read_bytes() == b"before" and os.listdir(path.parent) == [path.name]


@pytest.mark.parametrize("metadata, kind", [({"a": 1}, DTypeError), ({1: "a"}, DTypeError),
                                            ({"microgradx": "x"}, OptionError)])
def test_metadata_are_texts(path, metadata, kind):
    with pytest.raises(kind, match="metadata"):
        mgx.save({}, path, metadata=metadata)
    assert not path.exists()


def raw(header, data=b"", length=None):
    header = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(header) if length is None else length) + header + data


def entry(**changes):
    return {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]} | changes


def structured(text):
    return raw({"a": entry(), "__metadata__": {"microgradx": text}}, bytes(8))


HOSTILE = {
    "empty": b"", "short": b"1234567", "noise": bytes(range(100, 200)), "zip": b"PK\3\4" + bytes(50),
    "pickle": b"\x80\x04cposix\nsystem\n(S'exit'\ntR.", "header beyond the file": raw(b"{}", length=100),
    "header of 2^63": raw(b"{}", length=2**63), 
    "no UTF-8": raw(b"\xff\xfe"), "no JSON": raw(b"{"), "no dict": raw(b"[]"),
    "nested": raw(b'{"a":' * 100000), "cut": raw({"a": entry()}, bytes(7)), "longer": raw({"a": entry()}, bytes(9)),
    "overlap": raw({"a": entry(), "b": entry(data_offsets=[4, 12])}, bytes(12)),
    "hole": raw({"a": entry(data_offsets=[4, 12])}, bytes(12)),
    "backwards": raw({"a": entry(data_offsets=[8, 0])}, bytes(8)),
    "shape": raw({"a": entry(shape=[3])}, bytes(8)), "negative": raw({"a": entry(shape=[-2])}, bytes(8)),
    "overflow": raw({"a": entry(shape=[2**63, 4])}, bytes(8)), "dtype": raw({"a": entry(dtype="X9")}, bytes(8)),
    "float8": raw({"a": entry(dtype="F8_E4M3", shape=[8])}, bytes(8)),
    "complex": raw({"a": entry(dtype="C64", shape=[1])}, bytes(8)),
    "beyond int64": raw({"a": entry(dtype="U64", shape=[1])}, b"\xff" * 8),
    "33 axes": raw({"a": entry(shape=[1] * 32 + [2])}, bytes(8)),
    "70 axes": raw({"a": entry(shape=[1] * 69 + [2])}, bytes(8)),
    "metadata of numbers": raw({"__metadata__": {"a": 1}}),
    "structure: no JSON": structured("{"), "structure: nested": structured("[" * 100000),
    "structure: deep": structured('{"list":[' * 900 + "1" + "]}" * 900 + "x"),
    "structure: list": structured("[1]"), "structure: kind": structured('{"set": []}'),
    "structure: two kinds": structured('{"dict": [], "list": []}'), "structure: no pairs": structured('{"dict": 3}'),
    "structure: key": structured('{"dict": [[[1], 2]]}'), "structure: another tensor": structured('{"tensor": "b"}'),
    "structure: twice": structured('{"list": [{"tensor": "a"}, {"tensor": "a"}]}'),
    "structure: name": structured('{"tensor": ["a"]}'), "structure: without the tensor": structured("3"),
    "structure: digits": structured("1" * 5000)}


@pytest.mark.parametrize("content", HOSTILE.values(), ids=HOSTILE)
def test_hostile_files(path, content):
    path.write_bytes(content)
    with pytest.raises(FormatError, match="^load: '.*file.safetensors'"):
        mgx.load(path)
    assert path.read_bytes() == content


def test_every_cut_is_noticed(path):
    mgx.save({"net": net(), "n": [1, (2.5, None)]}, path)
    whole = path.read_bytes()
    for end in range(len(whole)):
        path.write_bytes(whole[:end])
        with pytest.raises(FormatError):
            mgx.load(path)


def test_flipped_bits_never_crash(path):
    """Numbers may change, as nothing sums them; anything else is noticed or is another right file."""
    mgx.save({"net": net(), "n": [1, (2.5, None)]}, path)
    whole, rng = path.read_bytes(), np.random.default_rng(0)
    for at in rng.integers(len(whole) - 200, size=400):
        damaged = bytearray(whole)
        damaged[at] ^= 1 << rng.integers(8)
        path.write_bytes(damaged)
        try:
            mgx.load(path)
        except FormatError:
            pass


def test_a_damaged_file_changes_no_model(path):
    model = net()
    before = {name: t.numpy().tobytes() for name, t in model.state_dict().items()}
    mgx.save(net(), path)
    path.write_bytes(path.read_bytes()[:-4])
    with pytest.raises(FormatError):
        model.load_state_dict(mgx.load(path))
    other = net().state_dict()
    other["2.bias"] = Tensor([1.0, 2.0, 3.0])
    mgx.save(other, path)
    with pytest.raises(ShapeError, match="2.bias"):
        model.load_state_dict(mgx.load(path))
    assert {name: t.numpy().tobytes() for name, t in model.state_dict().items()} == before


def test_where_there_is_no_file(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere"):
        mgx.load(tmp_path / "nowhere")
    with pytest.raises(OSError):
        mgx.load(tmp_path)
    with pytest.raises(FileNotFoundError):
        mgx.save({}, tmp_path / "no" / "folder")
    with pytest.raises(OSError):
        mgx.save({}, tmp_path)
    for call in (lambda: mgx.load(3.5), lambda: mgx.save({}, 3.5)):
        with pytest.raises(TypeError, match="float"):
            call()
    assert os.listdir(tmp_path) == []
    assert issubclass(FormatError, Error) and issubclass(FormatError, ValueError)


# ----- writing -------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("fails", ["fsync", "replace"])
def test_a_failed_write_leaves_the_old_file(path, monkeypatch, fails):
    mgx.save({"a": 1}, path)

    def fail(*args):
        raise OSError("the disk is full")

    monkeypatch.setattr(io.os, fails, fail)
    with pytest.raises(OSError, match="disk is full"):
        mgx.save({"a": 2}, path)
    assert mgx.load(path) == {"a": 1} and os.listdir(path.parent) == [path.name]


def test_the_new_file_is_complete_before_it_has_the_name(path, monkeypatch):
    mgx.save({"a": 1}, path)
    seen, replace = [], os.replace

    def watch(source, target):
        seen.append((mgx.load(source), mgx.load(path), Path(source).parent == path.parent))
        replace(source, target)

    monkeypatch.setattr(io.os, "replace", watch)
    mgx.save({"a": 2}, path)
    assert seen == [({"a": 2}, {"a": 1}, True)] and mgx.load(path) == {"a": 2}


@pytest.mark.skipif(sys.platform == "win32", reason="of POSIX")
def test_permissions_and_links(path):
    plain = path.with_name("plain")
    plain.write_bytes(b"")
    mgx.save({}, path)
    assert path.stat().st_mode == plain.stat().st_mode
    link = path.with_name("link")
    link.symlink_to(path)
    mgx.save({"a": 1}, link)
    assert link.is_symlink() and mgx.load(path) == {"a": 1}
    mgx.save({"a": 2}, str(path))
    assert mgx.load(os.fsencode(path)) == {"a": 2}
