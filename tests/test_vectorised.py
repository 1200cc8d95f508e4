"""Every loop that is ours runs in vector registers: read off the code that GCC and clang make for AVX2."""
import platform
import re
import runpy
import shutil
import subprocess
from pathlib import Path

import pytest

from microgradx._core import kernels

ROOT = Path(__file__).parents[1]
PACKED = re.compile(r"\bv\w+(ps|pd|dqa|dqu|xor|and|or)\b.*%ymm|\bvmov\w*.*%ymm")
UPDATES = ["sgd", "rmsprop", "adagrad", "adam", "adamax", "nadam", "radam", "adadelta", "rprop", "asgd"]
LEFT_SCALAR = {"hardswish_forward"}                     # by clang, in double: two selects around a division
BY_LIBM = {"remainder"}                                 # words that call the C library per element


@pytest.fixture(scope="module", params=["gcc", "clang"])
def code(request, tmp_path_factory):
    """Function name -> its instructions."""
    compiler = request.param
    if platform.machine() != "x86_64" or not shutil.which(compiler) or not shutil.which("objdump"):
        pytest.skip(f"needs {compiler} and objdump on x86-64")
    flags, code = runpy.run_path(str(ROOT / "setup.py"))["loop_flags"], {}
    for source in (ROOT / "csrc" / "isa").glob("*.c"):
        target = tmp_path_factory.mktemp("code") / "avx2.o"
        subprocess.run([compiler, "-c", "-fPIC", "-g0", *flags(source, compiler == "gcc"), "-DMGX_AVX2",
                        f"-I{ROOT / 'csrc'}", str(source), "-o", str(target)], check=True)
        text = subprocess.run(["objdump", "-d", "--no-show-raw-insn", str(target)], check=True, capture_output=True,
                              text=True).stdout
        parts = re.split(r"^[0-9a-f]+ <([\w.]+)>:$", text, flags=re.M)
        code |= zip(parts[1::2], parts[2::2])
    return compiler, code


def loops():
    for row in kernels.table():
        texts = {"forward": row["forward"]}
        if row["kind"] in "DH":
            texts["forward_d"] = row["forward"] + row["derivative"][0]
        elif row["kind"] != "C":
            texts |= {f"vjp{i}": text for i, text in enumerate(row["derivative"])}
        for loop, text in texts.items():
            if row["kind"] == "P" and loop == "forward":    # copies what this makes
                yield "powers"
                continue
            if text == "NONE":                          # fills the gradient with 0
                continue
            if not row["libm"] or loop != "forward":
                if not BY_LIBM & set(re.findall(r"\w+", text)) and "LIBM" not in text:
                    yield f"{row['name']}_{loop}"


@pytest.mark.parametrize("dtype", ["f32", "f64"])
def test_every_loop(code, dtype):
    compiler, code = code
    names = [*loops(), *UPDATES]
    # the body, or what it is part of
    found = {name: code.get(f"{name}_{dtype}") or code.get(f"run_{name}_{dtype}") for name in names}
    scalar = [name for name in names if not PACKED.search(found[name] or "")]
    missing = [name for name in names if found[name] is None]
    assert not missing and set(scalar) <= (LEFT_SCALAR if compiler == "clang" else set())


def test_upper_halves_are_cleared(code):
    """A function that leaves numbers in the upper halves of vector registers slows all SSE code that runs after it."""
    compiler, code = code
    dirty = [name for name, text in code.items()
             if "%ymm" in text and "ret" in text and "vzeroupper" not in text and "vzeroall" not in text]
    assert not dirty
