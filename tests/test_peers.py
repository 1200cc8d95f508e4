"""Samples and tests of other projects, where these are installed: a part of what ``make peers`` runs."""
import importlib.util
import os
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import microgradx as mgx

PEERS = Path(__file__).with_name("peers")
TESTS = os.environ.get("AUTOGRAD_TESTS")
sys.path.append(str(PEERS))
import hips                             # noqa: E402
import torch_ops                        # noqa: E402

MISSING = [name for name in ("torch", "expecttest") if importlib.util.find_spec(name) is None]


def test_every_operator_of_the_tables_is_there():
    for name in [*torch_ops.RENAMED, *torch_ops.ADAPTED, *torch_ops.DIFFERENT, *torch_ops.DRAWS, *torch_ops.SIGNED,
                 *torch_ops.ORDERED, *torch_ops.UNDEFINED]:
        assert torch_ops.ours(*name.split()), name


def test_distributions_are_told_apart():
    rng = np.random.default_rng(0)
    normal = [rng.normal(size=2000) for _ in range(2)]
    assert torch_ops.alike(*normal, 1e-5)
    assert not torch_ops.alike(normal[0], rng.uniform(-2, 2, 2000), 1e-5)
    rows = np.repeat(rng.normal(size=(1000, 1)), 4, 1), rng.normal(size=(1000, 4))      # equal, not independent
    assert [torch_ops.alike(f(rows[0]), f(rows[1]), 1e-5) for f in torch_ops.STATISTICS.values()] == [
        True, False, False, False]


@pytest.mark.parametrize("kwargs, indices, same", [
    ({}, [2, 1, 0], True), ({}, [2, 0, 0], False), ({}, [0, 1, 2], False), ({"stable": True}, [2, 1, 0], False)])
def test_an_order_among_ties_is_a_permutation_that_sorts(kwargs, indices, same):
    op = SimpleNamespace(name="argsort")
    sample = SimpleNamespace(input=mgx.Tensor([1.0, 1.0, 0.0]), args=(), kwargs=kwargs)
    ours, theirs = (torch_ops.without_order(op, sample, [mgx.tensor(k)]) for k in (indices, [2, 0, 1]))
    assert (torch_ops.differing(ours, theirs) is None) == same


def test_ranges_of_fractions():
    assert [int(x) for x in torch_ops.steps(0.1, -7.9, -4.0)] == [0, -3]        # in doubles there is a third
    assert [float(x) for x in torch_ops.between(-1, 1, 5)] == [-1, -0.5, 0, 0.5, 1]


@pytest.mark.skipif(bool(MISSING), reason=f"torch's samples need {' and '.join(MISSING)}, not installed here")
@pytest.mark.filterwarnings("ignore")
def test_samples_of_torch():
    names = ["sum", "where", "bernoulli", "linalg.svd", "sort", "cholesky_solve", "linalg.det", "cumsum", "max",
             "nn.functional.layer_norm", "logaddexp"]
    counts, wrong = torch_ops.run(names)
    assert {name for name, _ in counts} == {*names}
    assert min(counter["passed"] + counter["different"] for counter in counts.values()) > 5
    assert not [text for text in wrong if ": wrong: " in text]


@pytest.mark.skipif(not TESTS, reason="AUTOGRAD_TESTS does not name the directory of HIPS autograd's tests")
def test_tests_of_hips_autograd():
    found = hips.run(TESTS)
    assert len(found["passed"]) > 250 and not found["wrong"]
