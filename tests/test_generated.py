"""What tools/generate.py writes from csrc/ops.def stands in the sources as it writes it now."""
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
WRITTEN = [f"microgradx/_core/{name}" for name in ("kernels.pxd", "ops.pyx", "ops.pyi")]
FILES = ["tools/generate.py", "csrc/ops.def", "csrc/words.h", *WRITTEN]
pytestmark = pytest.mark.skipif(not (ROOT / FILES[0]).exists(), reason="the tests run without the source")


def generate(root, *options):
    return subprocess.run([sys.executable, "tools/generate.py", *options], cwd=root, capture_output=True, text=True)


@pytest.fixture
def copy(tmp_path):
    for name in FILES:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    return tmp_path


def edit(path, old, new):
    assert path.read_text().count(old) == 1
    path.write_text(path.read_text().replace(old, new))


def test_what_is_generated_is_renewed():
    run = generate(ROOT, "--check")
    assert run.returncode == 0, run.stderr or "run `python tools/generate.py` and build again"


def test_a_change_of_the_table_is_noticed_and_written(copy):
    before = {name: (copy / name).read_text() for name in FILES}
    edit(copy / "csrc/ops.def", "(slope=0.01)", "(leak=0.02)")
    edit(copy / "csrc/ops.def", "U(trunc,", "U(cut,")
    edit(copy / "csrc/ops.def", "Gradient: ln(2)*y.", "Gradient: y*ln(2).")
    run = generate(copy, "--check")
    assert run.returncode == 1 and run.stderr == (
        f"{' and '.join(WRITTEN)} do not say what csrc/ops.def says: run `python tools/generate.py` and build again\n")
    assert all((copy / name).read_text() == before[name] for name in WRITTEN)

    assert generate(copy).returncode == 0 and generate(copy, "--check").returncode == 0
    opcodes, methods, stubs = ((copy / name).read_text() for name in WRITTEN)
    assert "MGX_round, MGX_cut, MGX_exp," in opcodes and "MGX_trunc" not in opcodes
    assert "def leaky_relu(self, leak=0.02):" in methods and "apply(MGX_leaky_relu, self, leak, None)" in methods
    assert '"""y = 2^x. Gradient: y*ln(2)."""' in methods and "def cut(self):" in methods
    assert "def leaky_relu(self, leak: Operand = 0.02) -> Self: ..." in stubs

    (copy / "csrc/ops.def").write_text(before["csrc/ops.def"])      # back to the last letter
    assert generate(copy).returncode == 0
    assert {name: (copy / name).read_text() for name in FILES} == before


@pytest.mark.parametrize("name, old", [*zip(WRITTEN, ["MGX_trunc,", "def trunc(self)", "def trunc(self)"])])
def test_an_edit_by_hand_is_noticed(copy, name, old):
    edit(copy / name, old, old.replace("trunc", "cut"))
    run = generate(copy, "--check")
    assert run.returncode == 1 and re.fullmatch(
        rf"{re.escape(name)} does not say what csrc/ops\.def says: run `python tools/generate\.py` .*\n", run.stderr)


@pytest.mark.parametrize("options", [[], ["--check"]])
def test_a_faulty_table_is_told_and_nothing_is_written(copy, options):
    edit(copy / "csrc/ops.def", "K(0.5)/y", "K(0.5)/b")
    edit(copy / "csrc/ops.def", "U(exp2,", "U(exp,")
    run = generate(copy, *options)
    assert run.returncode == 1 and [line.split(": ", 2)[1] for line in run.stderr.splitlines()] == ["sqrt", "exp"]
    assert all((copy / name).read_text() == (ROOT / name).read_text() for name in WRITTEN)


def test_a_lost_region_is_told(copy):
    edit(copy / WRITTEN[0], "    # The end of what tools/generate.py writes.\n", "")
    run = generate(copy)
    assert run.returncode == 1 and "kernels.pxd: the region that this script writes is gone; put back" in run.stderr


def test_stubs_of_attached_methods():
    pytest.importorskip("microgradx")
    done = subprocess.run([sys.executable, "tools/stubs.py", "--check"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
