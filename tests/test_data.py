"""The digits as they were published, points in classes, readers of files, splitting and batches."""
import contextlib
import gzip
import hashlib
import pickle
import struct
import zipfile
from importlib.resources import files
from io import BytesIO

import numpy as np
import pytest

import microgradx as mgx
from microgradx import data
from microgradx.errors import FormatError, OptionError, ShapeError


def test_digits_are_the_published_ones():
    x, y = data.digits()
    assert x.shape == (1797, 64) and x.dtype == np.float32 and y.dtype == np.int64
    levels = x * 16
    assert (np.unique(levels) == np.arange(17)).all()
    assert np.bincount(y).tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]
    # of optdigits.tes: the pixels as bytes, row by row
    digest = hashlib.sha256(levels.astype(np.uint8).tobytes() + y.astype(np.uint8).tobytes()).hexdigest()
    assert digest == "87ff0c9e40dc7e2c0e34e7257799c2e3f3aec1a016363bb11cad869ec428a826"
    assert levels[0, :8].tolist() == [0, 0, 5, 13, 9, 1, 0, 0]


def test_origin_and_licence_are_shipped():
    text = (files("microgradx.data") / "DIGITS.md").read_text(encoding="utf-8")
    assert "Alpaydin" in text and "CC BY 4.0" in text and "10.24432/C50P49" in text


def test_the_split_is_a_partition_and_repeats():
    x, y = data.digits()
    x_train, y_train, x_test, y_test = data.digits(split=True, seed=3)
    assert len(x_train) == len(y_train) == 1437 and len(x_test) == len(y_test) == 360
    rows = sorted(map(bytes, np.concatenate([x_train, x_test])))
    assert rows == sorted(map(bytes, x))
    where = {bytes(row): label for row, label in zip(x, y)}
    assert all(where[bytes(row)] == label for row, label in zip(x_test, y_test))
    assert (data.digits(split=True, seed=3)[3] == y_test).all() and (data.digits(split=True, seed=4)[3] != y_test).any()


@pytest.mark.parametrize("kind", [np.asarray, mgx.Tensor])
def test_batches(kind):
    x, y = kind(np.arange(10.0)), kind(np.arange(10) * 2)
    pairs = list(data.batches(x, y, 4, rng=0))
    assert [len(a) for a, _ in pairs] == [4, 4, 2] and type(pairs[0][0]) is type(x)
    seen = np.concatenate([np.asarray(a) for a, _ in pairs])
    assert sorted(seen) == list(range(10)) and list(seen) != list(range(10))
    assert all((np.asarray(a) * 2 == np.asarray(b)).all() for a, b in pairs)
    assert [len(a) for a, _ in data.batches(x, y, 4, drop_last=True)] == [4, 4]
    assert np.asarray(next(data.batches(x, y, 3, shuffle=False))[0]).tolist() == [0, 1, 2]


def test_a_generator_shuffles_anew_each_time():
    x, rng = np.arange(50), mgx.Generator(0)
    first, second = (next(data.batches(x, x, 50, rng=rng))[0] for _ in range(2))
    assert (first != second).any()
    assert (next(data.batches(x, x, 50, rng=0))[0] == first).all()


def test_refusals():
    x = np.arange(5)
    with pytest.raises(ShapeError, match="5 != 4"):
        data.batches(x, x[:4], 2)
    with pytest.raises(ShapeError, match="5 != 4"):
        data.split(x, x[:4])
    for size in (0, -1, 2.0, True):
        with pytest.raises(OptionError, match="size"):
            data.batches(x, x, size)
    with pytest.raises(OptionError, match="share"):
        data.split(x, x, 1.5)
    assert list(data.batches(x[:0], x[:0], 2)) == []


# ----- points in classes ---------------------------------------------------------------------------------------------

POINTS = {data.moons: {}, data.circles: {}, data.spirals: {"classes": 4}}


@pytest.mark.parametrize("make, options", POINTS.items(), ids=lambda o: getattr(o, "__name__", ""))
def test_points(make, options):
    for n in (0, 1, 2, 7, 100):
        x, y = make(n, noise=0.2, rng=5, **options)
        again = make(n, noise=0.2, rng=mgx.Generator(5), **options)
        assert x.shape == (n, 2) and x.dtype == np.float32 and y.shape == (n,) and y.dtype == np.int64
        assert (x == again[0]).all() and (y == again[1]).all()
        sizes = np.bincount(y, minlength=options.get("classes", 2))
        assert sizes.sum() == n and np.ptp(sizes) <= 1 and len(sizes) == options.get("classes", 2)
    assert (make(100, rng=1, **options)[0] != make(100, rng=2, **options)[0]).any()
    mgx.manual_seed(0)
    first = make(10, **options)[0]
    mgx.manual_seed(0)
    assert (make(10, **options)[0] == first).all()


@pytest.mark.parametrize("make", POINTS)
def test_noise_is_a_standard_deviation(make):
    exact, noisy = make(20000, noise=0)[0], make(20000, noise=0.3, rng=0)[0]
    assert (noisy - exact).std(0) == pytest.approx([0.3, 0.3], rel=0.02) and abs((noisy - exact).mean()) < 0.01


def test_curves():
    x, y = data.moons(1000, noise=0)
    centre = np.where(y[:, None] == 0, [0.0, 0.0], [1.0, 0.5])
    assert np.hypot(*(x - centre).T) == pytest.approx(1, abs=1e-6)
    assert ((x - centre)[y == 0, 1] >= -1e-6).all() and ((x - centre)[y == 1, 1] <= 1e-6).all()
    x, y = data.circles(1000, noise=0, factor=0.3)
    assert np.hypot(*x.T) == pytest.approx(np.where(y == 0, 1, 0.3), abs=1e-6)
    assert len(np.unique(x[y == 0].round(5), axis=0)) == 500        # the circle does not end where it began
    x, y = data.spirals(900, classes=3, noise=0)
    radius, turn = np.hypot(*x.T), np.arctan2(*x.T)
    assert all(radius[y == k][[0, -1]] == pytest.approx([0, 1], abs=1e-6) for k in range(3))
    at = (radius > 0.1)
    off = (turn - 2 * np.pi * (y / 3 + 2 / 3 * radius) + np.pi) % (2 * np.pi) - np.pi
    assert off[at] == pytest.approx(0, abs=1e-4)


@pytest.mark.parametrize("call, words", [
    (lambda: data.moons(-1), "moons: n is .*-1"), (lambda: data.circles(2.5), "circles: n is .*2.5"),
    (lambda: data.spirals(True), "spirals: n is"), (lambda: data.moons(3, noise=-0.1), "noise=-0.1"),
    (lambda: data.moons(3, noise=np.inf), "noise=inf"), (lambda: data.moons(3, noise=np.nan), "noise=nan"),
    (lambda: data.circles(3, factor=1.0), "factor=1.0"), (lambda: data.circles(3, factor=0), "factor=0"),
    (lambda: data.spirals(3, classes=0), "classes is .*0"), (lambda: data.spirals(3, classes=2.0), "classes is")])
def test_points_refused(call, words):
    with pytest.raises(OptionError, match=words):
        call()


# ----- files ---------------------------------------------------------------------------------------------------------

def encoded(array, kind):
    lengths = b"".join(struct.pack(">I", n) for n in array.shape)
    return bytes([0, 0, kind, array.ndim]) + lengths + array.astype(array.dtype.newbyteorder(">")).tobytes()


@pytest.mark.parametrize("kind, dtype", [(8, "u1"), (9, "i1"), (11, "i2"), (12, "i4"), (13, "f4"), (14, "f8")])
@pytest.mark.parametrize("shape", [(), (0,), (5,), (2, 3), (2, 0, 3), (3, 4, 5)], ids=str)
@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_idx(tmp_path, kind, dtype, shape, pack):
    truth = np.asarray(np.random.default_rng(0).integers(0, 255, shape) - 100).astype(dtype)
    (tmp_path / "file").write_bytes(pack(encoded(truth, kind)))
    array = data.idx(tmp_path / "file")
    assert array.dtype == truth.dtype and array.dtype.isnative and array.shape == shape and (array == truth).all()
    assert array.flags.writeable


WHOLE = encoded(np.arange(6, dtype="u1").reshape(2, 3), 8)
ZIPPED = gzip.compress(WHOLE)


@pytest.mark.parametrize("content, words", [
    (b"", r"the beginning: needs 4 bytes, there are 0 \(0 < 4\)"), (b"\0\0\x08", "the beginning"),
    (b"\1" + WHOLE[1:], "begins with 01 00 08 02"), (b"PK\3\4" + bytes(40), "begins with 50 4b"),
    (bytes([0, 0, 7, 1]) + bytes(8), "begins with 00 00 07 01"), 
    (WHOLE[:9], "lengths of 2 axes: needs 8 bytes, there are 5"),
    (WHOLE[:-1], r"shape \(2, 3\) of uint8: needs 6 bytes, there are 5 \(5 < 6\)"), (WHOLE + b"\0", "the file goes on"),
    (bytes([0, 0, 14, 3]) + b"\xff" * 12 + bytes(100), r"shape \(4294967295, .* 4294967295\) of float64: needs"),
    (bytes([0, 0, 8, 255]) + b"\xff" * 1020, "needs"),
    (bytes([0, 0, 8, 100]) + b"\0\0\0\1" * 100 + b"\7", "shape"),
    (ZIPPED[:-5], "damaged gzip"), (ZIPPED[:12], "damaged gzip"), (ZIPPED[:2], "damaged gzip"),
    (ZIPPED[:15] + bytes([ZIPPED[15] ^ 255]) + ZIPPED[16:], "damaged gzip|begins|needs|goes on"),
    (gzip.compress(WHOLE[:-1]), "needs 6 bytes"), (gzip.compress(WHOLE + bytes(1 << 24)), "the file goes on")])
def test_damaged_idx(tmp_path, content, words):
    (tmp_path / "file").write_bytes(content)
    with pytest.raises(FormatError, match=f"^idx: '.*file': .*{words}|^idx: '.*file': {words}"):
        data.idx(tmp_path / "file")


def test_every_cut_of_an_idx_file_is_noticed(tmp_path):
    for whole in (WHOLE, ZIPPED):
        for end in range(len(whole)):
            (tmp_path / "file").write_bytes(whole[:end])
            with pytest.raises(FormatError):
                data.idx(tmp_path / "file")


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_npz(tmp_path, save):
    truth = {"a": np.arange(6).reshape(2, 3), "b": np.float32(1.5), "c": np.zeros((0, 2)), "d": np.array(["x", "yz"])}
    save(tmp_path / "file.npz", **truth)
    arrays = data.npz(tmp_path / "file.npz")
    assert list(arrays) == list(truth) and all((arrays[k] == truth[k]).all() and arrays[k].dtype == truth[k].dtype
                                               for k in truth)


class Runs:
    def __reduce__(self):
        return pytest.fail, ("the file was executed",)


def member(name, content):
    packed = BytesIO()
    with zipfile.ZipFile(packed, "w") as file:
        file.writestr(name, content)
    return packed.getvalue()


def archive(**arrays):
    packed = BytesIO()
    np.savez(packed, **arrays)
    return packed.getvalue()


def npy(header, content=bytes(8)):
    text = header.encode() + b"\n"
    return b"\x93NUMPY\1\0" + struct.pack("<H", len(text)) + text + content


HOSTILE = {"empty": b"", "noise": bytes(range(100)), "pickle": pickle.dumps(Runs()),
           "zip without an end": b"PK\3\4" + bytes(90),
           "objects": archive(a=np.array([Runs()], object)), "no array": member("a.npy", b"text"),
           "a text": member("a.txt", b"t"),
           "cut header": member("a.npy", b"\x93NUMPY\1\0\xff\xff"), "empty array": member("a.npy", b""),
           "no dict": member("a.npy", npy("[]")), "code": member("a.npy", npy("__import__('os').getcwd()")),
           "shape": member("a.npy", npy("{'descr': '<f8', 'fortran_order': False, 'shape': (2,)}")),
           "huge": member("a.npy", npy(f"{{'descr': '<f8', 'fortran_order': False, 'shape': ({2**58},)}}")),
           "overflow": member("a.npy", npy(f"{{'descr': '<f8', 'fortran_order': False, 'shape': ({2**62}, 8)}}")),
           "negative": member("a.npy", npy("{'descr': '<f8', 'fortran_order': False, 'shape': (-1,)}")),
           "dtype": member("a.npy", npy("{'descr': 'wrong', 'fortran_order': False, 'shape': (1,)}")),
           "nested": member("a.npy", npy("(" * 5000)),
           "an array": npy("{'descr': '<f8', 'fortran_order': False, 'shape': (1,)}")}


@pytest.mark.parametrize("content", HOSTILE.values(), ids=HOSTILE)
def test_hostile_npz(tmp_path, content):
    (tmp_path / "file.npz").write_bytes(content)
    with pytest.raises(FormatError, match="^npz: '.*file.npz'"):
        data.npz(tmp_path / "file.npz")


def test_every_cut_of_an_npz_file_is_noticed(tmp_path):
    whole = archive(a=np.arange(3.0), b=np.eye(2))
    for end in range(len(whole)):
        (tmp_path / "file.npz").write_bytes(whole[:end])
        with pytest.raises(FormatError):
            data.npz(tmp_path / "file.npz")


def test_flipped_bits_of_an_npz_file_are_noticed_or_harmless(tmp_path):
    whole = archive(a=np.arange(30.0))
    for at in range(len(whole)):
        damaged = bytearray(whole)
        damaged[at] ^= 255
        (tmp_path / "file.npz").write_bytes(damaged)
        with contextlib.suppress(FormatError):
            data.npz(tmp_path / "file.npz")


@pytest.mark.parametrize("read", [data.idx, data.npz])
def test_no_file(tmp_path, read):
    with pytest.raises(FileNotFoundError):
        read(tmp_path / "nowhere")
    with pytest.raises(IsADirectoryError):
        read(tmp_path)
