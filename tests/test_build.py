"""What has changed is built again, and nothing else: in a small copy, with one module that names rows of the table."""
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
pytestmark = [pytest.mark.skipif(not (ROOT / "setup.py").exists(), reason="the tests run without the source"),
              pytest.mark.skipif(not shutil.which("gcc"), reason="needs gcc")]
MODULE = """
cdef extern from "kernels.h":
    enum: MGX_neg, MGX_abs
numbers = MGX_neg, MGX_abs
"""


@pytest.fixture
def copy(tmp_path):
    deep = tmp_path / "microgradx" / "_core" / "deep"
    deep.mkdir(parents=True)
    (deep / "rows.pyx").write_text(MODULE)
    (deep / "plain.pyx").write_text("numbers = ()\n")
    (tmp_path / "csrc").mkdir()
    for path in [*(ROOT / "csrc").glob("*.h"), *(ROOT / "csrc").glob("*.def")]:
        shutil.copy(path, tmp_path / "csrc")
    shutil.copy(ROOT / "setup.py", tmp_path)
    return tmp_path


def build(copy):
    """What was compiled, and the numbers that the module has now."""
    run = subprocess.run([sys.executable, "setup.py", "--quiet", "build_ext", "--inplace"], cwd=copy,
                         capture_output=True, text=True)
    assert run.returncode == 0, run.stderr[-2000:]
    read = subprocess.run([sys.executable, "-c", "from microgradx._core.deep import rows; print(*rows.numbers)"],
                          cwd=copy, env=os.environ | {"PYTHONPATH": str(copy)}, capture_output=True, text=True)
    return re.findall(r"^\[ *\d+/\d+\] \S*?(\w+)  [\d.]+ s$", run.stdout, re.M), read.stdout.split()


def test_what_has_changed_is_built_again(copy):
    made, (neg, abs_) = build(copy)
    assert sorted(made) == ["_cyutility", "plain", "rows"]
    assert build(copy) == ([], [neg, abs_])

    table = copy / "csrc" / "ops.def"                   # two rows swapped: who names rows has their new numbers
    rows = re.findall(r"^U\((?:neg|abs),.*\n.*\n", table.read_text(), re.M)
    table.write_text(table.read_text().replace("".join(rows), "".join(reversed(rows))))
    assert len(rows) == 2 and build(copy) == (["rows"], [abs_, neg])

    plain = copy / "microgradx" / "_core" / "deep" / "plain.pyx"
    plain.write_text("numbers = (1,)\n")
    assert build(copy)[0] == ["plain"]


@pytest.mark.parametrize("checked", [True, False])
def test_what_kernels_assume_is_tested_in_the_checked_build_alone(tmp_path, checked):
    source, program = tmp_path / "assumes.c", tmp_path / "assumes"
    source.write_text('#include "kernels.h"\nint main(int count, char **_) { MGX_ASSERT(count > 1); return 0; }\n')
    subprocess.run(["gcc", f"-I{ROOT / 'csrc'}", *["-DMGX_CHECKED"] * checked, str(source), "-o", str(program)],
                   check=True)
    ran = subprocess.run([str(program)], capture_output=True, text=True)
    assert (ran.returncode != 0) == checked
    assert ran.stderr.endswith("assumes.c:2: not so: count > 1\n") == checked
    assert subprocess.run([str(program), "argument"]).returncode == 0
