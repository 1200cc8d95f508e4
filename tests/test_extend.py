"""Follows "How to add an operation" of docs/design.md in a copy of the sources, and counts the files edited by hand."""
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
pytestmark = pytest.mark.skipif(not (ROOT / "tools").is_dir(), reason="the tests run without the source")
COPIED = ["csrc", "microgradx", "tools", "tests", "bench", "setup.py", "pyproject.toml"]
CHECK = """
import numpy as np
import microgradx as mgx
x = np.array([-3.0, 0.0, 2.5])
t = mgx.Tensor(x, requires_grad=True)
y = mgx.squareplus(t)
np.testing.assert_allclose(y.detach().numpy(), (x + np.sqrt(x*x + 4))/2, rtol=1e-14)
y.sum().backward(create_graph=True)
slope = t.grad
np.testing.assert_allclose(slope.detach().numpy(), (1 + x/np.sqrt(x*x + 4))/2, rtol=1e-14)
t.grad = None
slope.sum().backward()
np.testing.assert_allclose(t.grad.numpy(), 2/(x*x + 4)**1.5, rtol=1e-13)
v = mgx.Value(2.5)
v.squareplus().backward()
assert v.grad == slope[2].item()
assert "a smooth relu" in mgx.Tensor.squareplus.__doc__
"""
# what concerns the operation in the real suite, and what concerns the table as a whole
TESTS = ["table", "generated", "derivatives", "isa", "accuracy", "vectorize", "leaks", "stubs"]
CONCERNED = "squareplus or test_table or test_generated or made_from_tables_have_types"


def how_to(title):
    """The section of the page: its text, and the indented blocks in it."""
    page = (ROOT / "docs" / "design.md").read_text()
    section = re.search(rf"^## {re.escape(title)}\n([\s\S]*?)^## ", page, re.M).group(1)
    blocks = re.findall(r"(?:^ {7}\S.*\n(?: {7,}.*\n)*)", section, re.M)
    return section, ["".join(line[7:] for line in block.splitlines(keepends=True)) for block in blocks]


def insert(path, text, before="", after=""):
    """Put text into a file, before or after a line that stands there once."""
    old, place = path.read_text(), before or after
    assert old.count(place) == 1
    path.write_text(old.replace(place, text + place if before else place + text))


def changed(copy):
    """The files of the copy that are not those of the sources."""
    def read(root, path):
        return (root / path).read_bytes() if (root / path).exists() else None
    paths = {path.relative_to(copy) for path in copy.rglob("*.*") if path.is_file()}
    return {str(path) for path in paths if read(copy, path) != read(ROOT, path)}


def run(copy, *command, **variables):
    clean = {k: v for k, v in os.environ.items() if k != "MICROGRADX_ISA"} | {"PYTHONPATH": str(copy)} | variables
    done = subprocess.run([sys.executable, *command], cwd=copy, env=clean, capture_output=True, text=True)
    assert done.returncode == 0, (done.stdout + done.stderr)[-4000:]
    return done.stdout


def test_a_new_operation(tmp_path):
    section, (row, truth, ends, typed) = how_to("How to add an operation")
    for name in COPIED:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("*.so", "*.dep", "__pycache__"))
        else:
            shutil.copy(ROOT / name, tmp_path)
    for path in (tmp_path / "microgradx" / "_core").rglob("*.c"):
        path.unlink()
    assert changed(tmp_path) == set()

    insert(tmp_path / "csrc" / "ops.def", row, before="\n/* two and three operands */\n")
    insert(tmp_path / "tests" / "samples.py", f"    {truth}", after="\nTRUTH = {\n")
    insert(tmp_path / "tests" / "samples.py", f"    {ends}", before='    "neg": (INF, ')
    with (tmp_path / "microgradx" / "functional.py").open("a") as stub:
        stub.write(typed)
    by_hand = changed(tmp_path)
    assert by_hand == set(re.findall(r"^\d\. .*?`(\S+/\S+)`", section, re.M)) and len(by_hand) <= 3

    run(tmp_path, "tools/generate.py")
    assert changed(tmp_path) - by_hand == {f"microgradx/_core/{name}" for name in ("kernels.pxd", "ops.pyx", "ops.pyi")}
    run(tmp_path, "setup.py", "build_ext", "--inplace", MICROGRADX_CFLAGS="-O0")
    run(tmp_path, "tools/stubs.py")
    run(tmp_path, "tools/api.py")
    run(tmp_path, "-c", CHECK)
    said = run(tmp_path, "-m", "pytest", *(f"tests/test_{name}.py" for name in TESTS), "-k", CONCERNED, "-vv")
    for name in TESTS:
        assert re.search(rf"^tests/test_{name}\.py::.* PASSED", said, re.M), f"test_{name} did not run"
