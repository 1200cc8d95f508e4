"""Programs as people write them for torch, with nothing but their imports swapped: they print what torch printed."""
import json
import re
import sys
from pathlib import Path

import pytest

import microgradx as mgx

HERE = Path(__file__).parent / "tutorials"
sys.path.insert(0, str(HERE))
from record import printed                  # noqa: E402

PROGRAMS = sorted(HERE.glob("t[0-9]*.py"))
GOLDEN = json.loads((HERE / "golden.json").read_text())
NUMBER = re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?")
RELATIVE, ABSOLUTE = 2e-3, 2e-4
PLACES = {"torch.utils.data": "microgradx.data", "torch": "microgradx"}
# docs/differences.md: shapes are tuples, dtypes NumPy's, and a node has the name that its operation has here
OF_TORCH = [(r"torch\.Size\(\[(\d+)\]\)", r"(\1,)"), (r"torch\.Size\(\[(.*?)\]\)", r"(\1)"),
            (r"torch\.(float32|float64|int64|bool)\b", r"\1"), (r"grad_fn=<\w+>", "grad_fn=<...>")]


def swapped(source):
    """The program with its imports changed, and nothing else."""
    def place(module):
        theirs = next(name for name in PLACES if module == name or module.startswith(f"{name}."))
        return PLACES[theirs] + module.removeprefix(theirs)

    source = re.sub(r"^from (torch\S*) import", lambda m: f"from {place(m[1])} import", source, flags=re.M)
    source = re.sub(r"^import (torch\S*) as", lambda m: f"import {place(m[1])} as", source, flags=re.M)
    return re.sub(r"^import torch$", "import microgradx as torch", source, flags=re.M)


def as_here(text):
    for pattern, ours in OF_TORCH:
        text = re.sub(pattern, ours, text)
    return text.rstrip().splitlines()


def near(ours, theirs):
    """Is that the number that torch printed: an integer the same one, a float near it?"""
    if theirs.lstrip("+-").isdigit():
        return ours == theirs
    return abs(float(ours) - float(theirs)) <= max(ABSOLUTE, RELATIVE * abs(float(theirs)))


def test_integers_are_compared_exactly():
    assert near("1.0001", "1.0") and near("12", "12") and not near("5001", "5000") and not near("5.0", "5")


@pytest.mark.filterwarnings("ignore::microgradx.errors.DifferenceWarning")
@pytest.mark.parametrize("path", PROGRAMS, ids=lambda path: path.stem)
def test_tutorials(path):
    source = path.read_text()
    if "import pandas" in source:
        pytest.importorskip("pandas")
    try:
        got = as_here(printed(swapped(source), path))
    finally:
        mgx.set_default_dtype("float32")
        mgx.set_printoptions(profile="default")
    want = as_here(GOLDEN[path.name])
    for line, (ours, theirs) in enumerate(zip(got, want), 1):
        shape, wanted = ("".join(NUMBER.sub("#", text).split()) for text in (ours, theirs))
        assert shape == wanted, f"line {line}"
        for a, b in zip(NUMBER.findall(ours), NUMBER.findall(theirs)):
            assert near(a, b), f"line {line}: {ours}, torch's: {theirs}"
    assert len(got) == len(want)


def test_every_program_is_recorded():
    assert list(GOLDEN) == [path.name for path in PROGRAMS]
