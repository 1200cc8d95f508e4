"""Allocations that fail, a few of each operation: see faults.py, and `make faults` for all."""
import os
import sys

import faults
import pytest


@pytest.mark.skipif(sys.platform != "linux" or "LD_PRELOAD" in os.environ, reason="no library can take malloc's place")
def test_an_allocation_that_fails_is_a_memory_error_and_nothing_else():
    done = faults.start("--every", "30", capture_output=True, text=True, timeout=600)
    if done is None:
        pytest.skip("needs gcc and glibc")
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1000:]
