"""Without a compiler the build says in one sentence what is missing."""
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.mark.skipif(not (ROOT / "setup.py").exists(), reason="the tests run without the source")
@pytest.mark.skipif(os.name == "nt", reason="CC names the compiler elsewhere only")
def test_one_sentence(tmp_path):
    """In a copy with one module: the first compilation fails."""
    core = tmp_path / "microgradx" / "_core"
    core.mkdir(parents=True)
    (core / "empty.pyx").write_text("")
    (tmp_path / "csrc").mkdir()
    shutil.copy(ROOT / "setup.py", tmp_path)
    env = os.environ | {"CC": "/nonexistent/gcc"}
    built = subprocess.run([sys.executable, "setup.py", "build_ext"], cwd=tmp_path, env=env, capture_output=True,
                           text=True)
    last = built.stderr.strip().splitlines()[-1]
    assert built.returncode == 1 and "Traceback" not in built.stderr
    assert last.startswith("microgradx needs a C compiler and Python's headers (Debian, Ubuntu: apt install gcc ")
    assert "/nonexistent/gcc" in last
