"""Follows the worked example of docs/design.md in a copy of the sources: a new operation in four places."""
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
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
"""


def example(page, start):
    """The indented block of the page that begins with `start`, without its indentation."""
    block = re.search(rf"^ {{7}}{re.escape(start)}.*\n(?: {{7,}}.*\n)*", page, re.M).group()
    return "\n".join(line[7:] for line in block.splitlines()) + "\n"


def test_a_new_operation(tmp_path):
    page = (ROOT / "docs" / "design.md").read_text()
    row, method = example(page, "U(squareplus"), example(page, "def squareplus")
    for name in ("csrc", "microgradx"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("*.so", "*.c.dep", "__pycache__"))
    for path in (tmp_path / "microgradx" / "_core").rglob("*.c"):
        path.unlink()
    shutil.copy(ROOT / "setup.py", tmp_path)

    table = tmp_path / "csrc" / "ops.def"
    table.write_text(table.read_text() + row)
    opcodes = tmp_path / "microgradx" / "_core" / "kernels.pxd"
    opcodes.write_text(opcodes.read_text().replace("MGX_dmish", "MGX_dmish, MGX_squareplus"))
    methods = tmp_path / "microgradx" / "_core" / "ops.pyx"
    methods.write_text(methods.read_text().rstrip() + "\n\n" + "".join(f"    {line}\n" for line in method.splitlines()))

    clean = {k: v for k, v in os.environ.items() if k != "MICROGRADX_ISA"} | {"PYTHONPATH": str(tmp_path)}
    built = subprocess.run([sys.executable, "setup.py", "build_ext", "--inplace"], cwd=tmp_path, env=clean,
                           capture_output=True, text=True)
    assert built.returncode == 0, built.stderr[-2000:]
    ran = subprocess.run([sys.executable, "-c", CHECK], cwd=tmp_path, env=clean, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr[-2000:]
