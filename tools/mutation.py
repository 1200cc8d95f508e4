#!/usr/bin/env python3
"""Change one sign, constant or branch at a time, and say which changes no test notices.

    python tools/mutation.py                                 all of them: days
    python tools/mutation.py --count 40 --seed 1             forty, drawn at random
    python tools/mutation.py --files csrc/softmax.inl        those of one file
    python tools/mutation.py --only csrc/ops.def:2114:+      one, by its name in the list of survivors

Changed are the expressions of the rows of csrc/ops.def, the bodies of kernels in csrc/*.inl, and the vjps in Cython and
Python. A copy in build/mutation is built without optimisation and for the baseline alone; what depends on the change is
built again, and the tests of that file run until one fails. What survives is written to build/mutation/survivors:
either a test is missing, or the change makes no difference."""
import argparse
import os
import random
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tools"))
from generate import COLUMNS, TOKEN  # noqa: E402

COPY = ROOT / "build" / "mutation"
COPIED = ("csrc", "microgradx", "tests", "tools", "docs", "setup.py", "pyproject.toml", "README.md")
CORE = "microgradx/_core"
BUILT_BY_ROWS = ("elementwise_f32", "elementwise_f64", "rules", "table")    # of csrc, what a changed ops.def changes

# the tests of a file; of ops.def only those whose names have the row's
OF_ROWS = ["test_accuracy.py", "test_special_points.py", "test_derivatives.py", "test_value.py"]
TESTS = {"csrc/ops.def": OF_ROWS, "csrc/elementwise.inl": OF_ROWS, "csrc/words.inl": OF_ROWS,
         "csrc/memory.inl": ["test_kernels.py"],
         "csrc/reduce.inl": ["test_kernels.py", "test_tensor.py", "test_extremes.py"],
         "csrc/softmax.inl": ["test_kernels.py", "test_losses.py", "test_extremes.py"],
         "csrc/norm.inl": ["test_kernels.py", "test_normalization.py"],
         "csrc/optim.inl": ["test_kernels.py", "test_optim.py"],
         "csrc/conv.inl": ["test_kernels.py", "test_convolution.py"],
         "csrc/random.inl": ["test_random.py", "test_kernels.py"],
         "csrc/gemm.inl": ["test_kernels.py", "test_gemm.py", "test_products.py"],
         "csrc/fused_chain.inl": ["test_fuse.py"], "csrc/replay.inl": ["test_vectorize.py"],
         f"{CORE}/structured.pyx": ["test_derivatives.py", "test_products.py", "test_losses.py", "test_tensor.py"],
         f"{CORE}/views.pyx": ["test_derivatives.py", "test_tensor.py", "test_inplace.py", "test_arrays.py"],
         f"{CORE}/nets.pyx": ["test_convolution.py", "test_normalization.py", "test_derivatives.py"],
         f"{CORE}/generator.pyx": ["test_random.py"], "microgradx/linalg.py": ["test_linalg.py"]}


class Mutant(NamedTuple):
    path: str
    start: int
    old: str
    new: str
    row: str = ""                       # of ops.def

    @property
    def name(self):
        return f"{self.path}:{self.start}:{self.new}"


# ----- places ----------------------------------------------------------------------------------------------------

SIGNS = {"+": "-", "-": "+", "*": "/", "/": "*", "+=": "-=", "-=": "+="}
BRANCHES = {"<": (">=", "<="), ">": ("<=", ">="), "<=": (">", "<"), ">=": ("<", ">"), "==": ("!=",), "!=": ("==",),
            "&&": ("||",), "||": ("&&",), "and": ("or",), "or": ("and",), "True": ("False",), "False": ("True",)}
PLACE = re.compile(r"[-+]=|[<>=!]=|&&|\|\||->|\+\+|--|<<|>>|\b(?:and|or|True|False)\b|[-+*/<>]"
                   r"|(?<![\w.])(?:0x[\da-fA-F.]+(?:p[-+]?\d+)?|\d[\d.]*(?:e[-+]?\d+)?)[fuU]*\b")
HIDDEN_C = re.compile(r'/\*[\s\S]*?\*/|"(?:\\.|[^"\\\n])*"|^[ \t]*#(?:.*\\\n)*.*|MGX_ASSERT\(.*\);|\(\w+ \*+\)|'
                      r'\b(?:const|char|REAL|BITS|float|double|u?int\w*|void) \*+', re.M)
HIDDEN_PYTHON = re.compile(r'"""[\s\S]*?"""|"(?:\\.|[^"\\\n])*"|#.*|\*\*?(?=\w+[,)])')


def blank(pattern, text):
    return pattern.sub(lambda match: re.sub(r"[^\n]", " ", match.group()), text)


def changes(path, text, first, last, row=""):
    """The mutants of a stretch of text from which comments and strings are blanked."""
    for match in PLACE.finditer(text, first, last):
        old = match.group()
        if old in SIGNS:
            yield Mutant(path, match.start(), old, SIGNS[old], row)
        elif old in BRANCHES:
            yield from (Mutant(path, match.start(), old, new, row) for new in BRANCHES[old])
        elif old[0].isdigit():
            digits = old.rstrip("uU" if "x" in old and "p" not in old else "fuU")
            yield Mutant(path, match.start(), old, larger(digits) + old[len(digits):], row)


def larger(digits):
    """A whole number one larger, another by 1 %."""
    try:
        return str(int(digits, 0) + 1)
    except ValueError:
        number = float.fromhex(digits) if digits.startswith("0x") else float(digits)
        return repr(number * 1.01 or 0.01)


def in_rows(path, text):
    """Of ops.def: in the value and the derivatives."""
    stack, kind, column, start, name = 0, None, 0, 0, ""
    for match in TOKEN.finditer(text):
        token = match.group()
        if stack == 0 and token in COLUMNS:
            kind, column = token, 0
        elif kind and match.lastgroup == "sign":
            stack += (token == "(") - (token == ")")
            if token == "(" and stack == 1:
                start = match.end()
            elif token == "," and stack == 1 or token == ")" and stack == 0:
                if column == 0:
                    name = text[start:match.start()].strip()
                elif COLUMNS[kind][column] in ("forward", "dx", "da", "db", "dc"):
                    yield from changes(path, text, start, match.start(), name)
                column, start = column + 1, match.end()
                kind = kind if stack else None


def in_functions(path, text):
    """Of a .inl: all that is code."""
    code = blank(HIDDEN_C, text)
    return changes(path, code, 0, len(code))


def in_vjps(path, text):
    """Of Cython and Python: the functions whose names end with _vjp."""
    code = blank(HIDDEN_PYTHON, text)
    for match in re.finditer(r"^(?:cdef [\w ]+|def )\w+_vjp\(.*\n(?:[ \t]+.*\n|\n)+", code, re.M):
        yield from changes(path, code, code.index("\n", match.start()), match.end())


def mutants(path):
    text = (ROOT / path).read_text()
    by = in_rows if path.endswith(".def") else in_functions if path.endswith(".inl") else in_vjps
    return [*by(path, text)]


# ----- building and testing --------------------------------------------------------------------------------------

ENVIRONMENT = os.environ | {"MICROGRADX_CFLAGS": "-O0 -w -DMGX_BASELINE", "PYTHONPATH": str(COPY)}


def build():
    return subprocess.run([sys.executable, "setup.py", "--quiet", "build_ext", "--inplace"], cwd=COPY, env=ENVIRONMENT,
                          capture_output=True, text=True)


def objects_of(path):
    """What is made of a file, to be made again; what else includes it is as it was."""
    built = [*(COPY / "build").rglob("*.o")]
    if path.endswith(".pyx"):
        return [COPY / Path(path).with_suffix(".c"), *(o for o in built if str(o).endswith(path[:-4] + ".o"))]
    stems = BUILT_BY_ROWS if path in ("csrc/ops.def", "csrc/elementwise.inl", "csrc/words.inl") else [
        source.stem for source in (ROOT / "csrc" / "isa").glob("*.c") if f'"{Path(path).name}"' in source.read_text()]
    return [o for o in built if o.stem in stems]


def survives(mutant, timeout):
    """Whether all tests pass with the change; None if it cannot be built."""
    file, before = COPY / mutant.path, (ROOT / mutant.path).read_text()
    times = file.stat()
    try:
        file.write_text(before[:mutant.start] + mutant.new + before[mutant.start + len(mutant.old):])
        os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))       # or all that includes it would be made again
        for made in objects_of(mutant.path):
            made.unlink(missing_ok=True)
        if not mutant.path.endswith(".py") and build().returncode:
            return None
        chosen = [f"tests/{name}" for name in TESTS[mutant.path]] + (["-k", mutant.row] if mutant.row else [])
        try:
            options = ["-o", "addopts=", "-q", "-x", "-p", "no:cacheprovider"]
            return subprocess.run([sys.executable, "-m", "pytest", *options, *chosen], cwd=COPY, env=ENVIRONMENT,
                                  capture_output=True, timeout=timeout).returncode == 0
        except subprocess.TimeoutExpired:
            return False
    finally:
        file.write_text(before)
        os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))
        for made in objects_of(mutant.path):
            made.unlink(missing_ok=True)


def line_of(mutant):
    text = (ROOT / mutant.path).read_text()
    line = text.count("\n", 0, mutant.start)
    begin = text.rfind("\n", 0, mutant.start) + 1
    return (f"{mutant.name}  line {line + 1}, column {mutant.start - begin + 1}, {mutant.old} -> {mutant.new}: "
            f"{text.splitlines()[line].strip()}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", nargs="*", default=[*TESTS])
    parser.add_argument("--count", type=int, help="draw so many at random")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", nargs="*", help="mutants by name")
    parser.add_argument("--minutes", type=float, default=float("inf"))
    parser.add_argument("--timeout", type=float, default=900, help="seconds for the tests of one")
    parser.add_argument("--list", action="store_true", help="only say which there are")
    arguments = parser.parse_args()
    found = [mutant for path in arguments.files for mutant in mutants(path)]
    if arguments.only:
        found = [mutant for mutant in found if mutant.name in arguments.only]
    if arguments.count:
        found = random.Random(arguments.seed).sample(found, min(arguments.count, len(found)))
    if arguments.list:
        print(*map(line_of, found), sep="\n")
        return
    COPY.mkdir(parents=True, exist_ok=True)
    for name in COPIED:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, COPY / name, dirs_exist_ok=True,
                            ignore=shutil.ignore_patterns("*.so", "__pycache__"))
        else:
            shutil.copy2(ROOT / name, COPY / name)
    first = build()
    if first.returncode:
        sys.exit(first.stderr[-2000:])
    counts, end = {True: 0, False: 0, None: 0}, time.monotonic() + 60 * arguments.minutes
    with open(COPY / "survivors", "a") as survivors:
        print(f"# seed {arguments.seed}, {len(found)} drawn", file=survivors, flush=True)
        for mutant in found:
            if time.monotonic() > end:
                break
            result = survives(mutant, arguments.timeout)
            counts[result] += 1
            print({True: "SURVIVES", False: "found", None: "does not build"}[result], line_of(mutant), flush=True)
            if result:
                print(line_of(mutant), file=survivors, flush=True)
    print(f"{counts[False]} found, {counts[True]} survive, {counts[None]} do not build, of {len(found)} drawn")
    build()


if __name__ == "__main__":
    main()
