"""The digits as they were published, splitting and batches."""
import hashlib
from importlib.resources import files

import numpy as np
import pytest

import microgradx as mgx
from microgradx import data
from microgradx.errors import OptionError, ShapeError


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
    x, rng = np.arange(50), np.random.default_rng(0)
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
