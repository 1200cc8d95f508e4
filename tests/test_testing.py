"""``mgx.testing``: what is close, and what is said of the rest."""
import re

import numpy as np
import pytest

import microgradx as mgx
from microgradx import Tensor
from microgradx.testing import assert_close

X = Tensor([1.0, 2.0])


@pytest.mark.parametrize("actual, expected, options", [
    (X, X + 2e-6, {}), (X, X.double(), {"check_dtype": False}), (X, X + 0.5, {"rtol": 0, "atol": 0.5}),
    (mgx.tensor([1, 2]), mgx.tensor([1, 2]), {}), ([X, {"a": 1}], [X, {"a": 1}], {}), (1.0, 1.0 + 1e-8, {}),
    (np.ones(2), np.ones(2), {}), (Tensor([np.nan, np.inf]), Tensor([np.nan, np.inf]), {"equal_nan": True}),
    (2**70, 2**70, {}), (None, None, {}), ([X, None], (X, None), {}), (np.float64(1.0), 1.0, {}), (True, True, {}),
    (1, 1.0, {"check_dtype": False}), (float("nan"), float("nan"), {"equal_nan": True}), (range(2), [0, 1], {}),
    (mgx.tensor([1, 2]), mgx.tensor([1, 4]), {"rtol": 0.0, "atol": 2.0}), ({}, {}, {}), (Tensor([]), Tensor([]), {}),
    (mgx.tensor([1]), X[:1], {"check_dtype": False}),
    (X.detach().requires_grad_(), X, {}), (mgx.tensor([True]), mgx.tensor([True]), {}), ([], [], {})])
def test_close(actual, expected, options):
    assert_close(actual, expected, **options)


@pytest.mark.parametrize("actual, expected, options, said", [
    (X, X + 1e-4, {}, "2 of 2 elements are not close; the largest difference is 0.0001"),
    (X, X[:1], {}, "the shapes are (2,) and (1,)"), (X, X.double(), {}, "the dtypes are float32 and float64"),
    (mgx.tensor([1, 2]), mgx.tensor([1, 3]), {},
     "1 of 2 elements are not close; the largest difference is 1 at index (1,): 2 and 3"),
    ([X, [X, X + 1]], [X, [X, X]], {}, "item [1][1]: 2 of 2 elements"), ([X], [X, X], {}, "there are 1 and 2 items"),
    ({"a": X}, {"b": X}, {}, "the keys are ['a'] and ['b']"),
    (Tensor([np.nan]), Tensor([np.nan]), {}, "1 of 1 elements"),
    (Tensor([np.inf]), Tensor([-np.inf]), {}, "1 of 1 elements"),
    (X, 1.0, {}, "Tensor and float are not compared"), (None, 1, {}, "None and 1"), (X, None, {}, "[1. 2.] and None"),
    (2**53 + 1, 2**53, {}, "1 of 1 elements are not close; the largest difference is 1 at index (): 9007199254740993"),
    (2**70 + 1, 2**70, {}, "1 of 1 elements"), (mgx.tensor([7, 2**53 + 1]), mgx.tensor([7, 2**53]), {}, "1 of 2"),
    (np.array([2**64 - 1], np.uint64), np.array([2**64 - 2], np.uint64), {}, "1 of 1 elements"),
    (mgx.tensor([-2**63]), mgx.tensor([2**63 - 1]), {"rtol": 0.0, "atol": 2.0**63}, f"1 of 1 elements are not close; "
     f"the largest difference is {2**64 - 1} at index (0,)"), (mgx.tensor([True]), mgx.tensor([False]), {}, "1 of 1"),
    (1, 1.0, {}, "the types are int and float"), (True, 1, {}, "the types are bool and int"),
    (np.zeros(1, np.int32), np.zeros(1, np.int64), {}, "the dtypes are int32 and int64"),
    (float("nan"), float("nan"), {}, "1 of 1"),
    ({"a": [X, {"b": X}]}, {"a": [X, {"b": X + 1}]}, {}, "item ['a'][1]['b']"),
    (1, 2, {"msg": "no"}, "no"), (1, 2, {"msg": lambda said: f"layer: {said[:6]}"}, "layer: 1 of 1")])
def test_not_close(actual, expected, options, said):
    with pytest.raises(AssertionError, match="^" + re.escape(said)):
        assert_close(actual, expected, **options)


def test_what_has_no_numbers_is_refused():
    with pytest.raises(mgx.errors.DTypeError, match="^assert_close: .* not of str"):
        assert_close("a", "a")


def test_tolerances_come_in_pairs():
    with pytest.raises(mgx.errors.ArgumentError, match="^assert_close: rtol and atol"):
        assert_close(X, X, rtol=0.0)
