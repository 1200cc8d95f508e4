"""The public names: written down in data/api.txt, and none of the last release's is gone without a word."""
import functools
import importlib
import subprocess
import sys
from pathlib import Path

import pytest

from microgradx.names import REMOVED

ROOT = Path(__file__).resolve().parents[1]
DATA = Path(__file__).parent / "data"


@pytest.mark.skipif(not (ROOT / "tools/api.py").exists(), reason="the tests run without the source")
def test_the_public_names_are_written_down():
    done = subprocess.run([sys.executable, ROOT / "tools/api.py", "--check"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def found(path):
    """What stands under a dotted name."""
    parts = path.split(".")
    for k in range(1, len(parts)):              # a function may have the name of its module
        try:
            return functools.reduce(getattr, parts[k:], importlib.import_module(".".join(parts[:k])))
        except (AttributeError, ImportError):
            continue
    raise AttributeError(path)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_names_of_the_last_release_are_there_or_are_said_to_be_gone():
    gone = []
    for line in (DATA / "api-0.1.0.txt").read_text().splitlines():
        name = line.partition("(")[0]
        try:
            found(name)
        except AttributeError:
            gone.append(name)
    assert sorted(gone) == sorted(REMOVED), "a name that is removed needs a deprecation that names the version"
