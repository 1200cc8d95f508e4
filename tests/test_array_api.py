"""The array API standard: the names of its version 2024.12, and what array-api-strict gives for lines that use them."""
import importlib.util
import json
import re
from pathlib import Path

import numpy as np
import pytest

import microgradx as mgx
from microgradx import array_api

DATA = Path(__file__).parent / "data"
RECORDED = json.loads((DATA / "array_api.json").read_text())
NAMES = RECORDED.pop("names")
LINES = (DATA / "array_api.txt").read_text().splitlines()

# what docs/differences.md says is not there, and why
ABSENT = {f"{kind}{bits}" for kind in ("int", "uint") for bits in (8, 16, 32, 64)} - {"int64"} | {
    "complex64", "complex128", "linalg.eig", "linalg.eigvals", "fft", "linalg"}


def world():
    """The arrays of the lines, by the code that recorded them."""
    source = (DATA / "record_array_api.py").read_text().replace("import array_api_strict as xp\n", "")
    found = {"__file__": str(DATA / "record_array_api.py"), "__name__": "recorder"}
    exec(source, found)
    return found["variables"](array_api), found["plain"]


def check(got, want):
    if isinstance(want, dict):
        assert (got["dtype"], got["shape"]) == (want["dtype"], want["shape"])
        np.testing.assert_allclose(np.array(got["numbers"], float), np.array(want["numbers"], float), 1e-12, 1e-12)
    elif isinstance(want, list):
        assert isinstance(got, list) and len(got) == len(want)
        for g, w in zip(got, want):
            check(g, w)
    else:
        assert type(got) is type(want) and (got == want or got != got)


@pytest.mark.parametrize("line", LINES)
def test_lines(line):
    variables, plain = world()
    with np.errstate(all="ignore"):
        check(plain(eval(line, variables)), RECORDED[line])


def test_every_name_of_the_standard_is_there_or_listed():
    missing = {name for name in NAMES if not hasattr(*(
        (array_api.linalg, name[7:]) if name.startswith("linalg.") else (array_api, name)))}
    assert missing <= ABSENT, f"names of the standard that are neither there nor in docs: {missing - ABSENT}"
    assert not {name for name in NAMES if name not in ABSENT and not re.search(
        rf"xp\.{name}\b", "\n".join(LINES)) and name not in ("conj", "real", "imag", "float32", "int64")}


def test_a_tensor_gives_its_namespace_and_graphs_go_through():
    x = mgx.Tensor([3.0, 1.0], requires_grad=True)
    xp = x.__array_namespace__(api_version="2024.12")
    assert xp is array_api and xp.__array_api_version__ == "2024.12"
    (xp.sort(x) * xp.asarray([1.0, 10.0])).sum().backward()
    assert x.grad.tolist() == [10.0, 1.0]
    assert xp.conj(x) is xp.real(x) is x and xp.imag(x).tolist() == [0.0, 0.0]
    with pytest.raises(mgx.errors.OptionError, match="^array_namespace: api_version='2999.12' is not there"):
        x.__array_namespace__(api_version="2999.12")


@pytest.mark.parametrize("call, words", [
    (lambda x: array_api.zeros(2, device="tpu"), "^zeros: device='tpu' is none"),
    (lambda x: array_api.asarray([1.0], copy=False), "^asarray: of list no array is made without a copy"),
    (lambda x: array_api.squeeze(x, 0), r"^squeeze: axis 0 of shape \(2, 3\) is not of length 1"),
    (lambda x: array_api.take(x, x), r"^take: of shape \(2, 3\) an axis must be given"),
    (lambda x: array_api.reshape(x.T, (6,), copy=False), r"^reshape: shape \(3, 2\) becomes \(6,\) by a copy only"),
    (lambda x: array_api.isdtype(x.dtype, "text"), "^isdtype: kind='text' is none of "),
    (lambda x: array_api.where(x, x, x), "^where: a condition is bool, not float32"),
    (lambda x: array_api.cumulative_sum(x), r"^cumulative_sum: of shape \(2, 3\) an axis must be given")])
def test_refused(call, words):
    with pytest.raises(mgx.errors.Error, match=words):
        call(mgx.ones(2, 3))


@pytest.mark.skipif(importlib.util.find_spec("array_api_strict") is None, reason="array-api-strict is not installed")
def test_the_record_is_of_these_lines():
    assert list(RECORDED) == LINES
