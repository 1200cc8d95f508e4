"""Samples and tests of other projects, where these are installed: a part of what ``make peers`` runs."""
import importlib.util
import os
import sys
from pathlib import Path

import pytest

PEERS = Path(__file__).with_name("peers")
TESTS = os.environ.get("AUTOGRAD_TESTS")
sys.path.append(str(PEERS))
import hips                             # noqa: E402
import torch_ops                        # noqa: E402

MISSING = [name for name in ("torch", "expecttest") if importlib.util.find_spec(name) is None]


def test_every_adapted_and_renamed_operator_is_there():
    for name in [*torch_ops.RENAMED, *torch_ops.ADAPTED]:
        assert torch_ops.ours(name) or torch_ops.RENAMED.get(name, "") is None, name


@pytest.mark.skipif(bool(MISSING), reason=f"torch's samples need {' and '.join(MISSING)}, not installed here")
@pytest.mark.filterwarnings("ignore")
def test_samples_of_torch():
    names = ["sum", "where", "linalg.det", "nn.functional.layer_norm", "cumsum", "max", "logaddexp"]
    counts, wrong = torch_ops.run(names)
    assert len(counts) == len(names) and min(counter["passed"] for counter in counts.values()) > 5
    assert not [text for text in wrong if ": wrong: " in text]


@pytest.mark.skipif(not TESTS, reason="AUTOGRAD_TESTS does not name the directory of HIPS autograd's tests")
def test_tests_of_hips_autograd():
    found = hips.run(TESTS)
    assert len(found["passed"]) > 250 and not found["wrong"]
