#!/usr/bin/env python3
"""Change one sign, constant or branch at a time, and say which changes no test notices.

    python tools/mutation.py --minutes 30                    as many as that takes; the next call continues
    python tools/mutation.py --files csrc/softmax.inl        those of one file
    python tools/mutation.py --only csrc/ops.def:2114:+      one, by its name in the report
    python tools/mutation.py --again survives --report       forgets results of one kind; prints what is known and ends

Changed are the expressions of the rows of csrc/ops.def, the bodies of kernels in csrc/*.inl, and the vjps in Cython
and Python. A copy in build/mutation is built without optimisation and for the baseline alone. For each mutant the
objects that depend on it are compiled again, and tests run until one fails: first those whose names have the name of
the row, kernel or operation, then the others of that file. At the end these tests run without a change, and mutants
that were found by a test which fails then, too, count as not tried.

Results are kept in build/mutation/results.json, until their file changes. Mutants come in an order drawn by the seed,
so that a run which was stopped has tried a random sample. A survivor means that a test is missing, or that the change
makes no difference."""
import argparse
import collections
import hashlib
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tools"))
from generate import COLUMNS, TOKEN  # noqa: E402

COPY = ROOT / "build" / "mutation"
RESULTS = COPY / "results.json"
sources = ROOT                          # of the mutants; while they are tried the copy, which nobody edits
COPIED = ("csrc", "microgradx", "tests", "tools", "docs", "setup.py", "pyproject.toml", "README.md")
CORE = "microgradx/_core"
BUILT_BY_ROWS = ("elementwise_f32", "elementwise_f64", "rules", "table")    # of csrc, what a changed ops.def changes

# the tests of a file; for a mutant of ops.def only those whose names have the name of its row
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
         f"{CORE}/structured.pyx": ["test_derivatives.py", "test_products.py", "test_losses.py", "test_extremes.py",
                                    "test_functions.py", "test_tensor.py"],
         f"{CORE}/views.pyx": ["test_derivatives.py", "test_tensor.py", "test_inplace.py", "test_arrays.py"],
         f"{CORE}/nets.pyx": ["test_convolution.py", "test_normalization.py", "test_derivatives.py"],
         f"{CORE}/sequences.pyx": ["test_recurrent.py", "test_attention.py"],
         "csrc/recurrence.inl": ["test_recurrent.py"], "csrc/attention.inl": ["test_attention.py"],
         f"{CORE}/generator.pyx": ["test_random.py"], "microgradx/linalg.py": ["test_linalg.py", "test_arrays.py"]}


class Mutant(NamedTuple):
    path: str
    start: int
    old: str
    new: str
    subject: str = ""                   # the row, kernel or operation, by the name that tests have in theirs

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


def changes(path, text, first, last, subject=""):
    """The mutants of a stretch of text from which comments and strings are blanked."""
    for match in PLACE.finditer(text, first, last):
        old = match.group()
        if old in SIGNS:
            yield Mutant(path, match.start(), old, SIGNS[old], subject)
        elif old in BRANCHES:
            yield from (Mutant(path, match.start(), old, new, subject) for new in BRANCHES[old])
        elif old[0].isdigit():
            digits = old.rstrip("uU" if "x" in old and "p" not in old else "fuU")
            yield Mutant(path, match.start(), old, larger(digits) + old[len(digits):], subject)


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
    starts = [(match.end(), match[1]) for match in re.finditer(r"^\w[\w *]* V\((\w+)\)\(", code, re.M)]
    for (first, name), (last, _) in zip([(0, ""), *starts], [*starts, (len(code), "")]):
        yield from changes(path, code, first, last, name)


def in_vjps(path, text):
    """Of Cython and Python: the functions whose names end with _vjp."""
    code = blank(HIDDEN_PYTHON, text)
    for match in re.finditer(r"^(?:cdef [\w ]+|def )(\w+)_vjp\(.*\n(?:[ \t]+.*\n|\n)+", code, re.M):
        yield from changes(path, code, code.index("\n", match.start()), match.end(), match[1])


def mutants(path):
    text = (sources / path).read_text()
    by = in_rows if path.endswith(".def") else in_functions if path.endswith(".inl") else in_vjps
    return [*by(path, text)]


# ----- building and testing --------------------------------------------------------------------------------------

ENVIRONMENT = os.environ | {"MICROGRADX_CFLAGS": "-O0 -w -DMGX_BASELINE", "PYTHONPATH": str(COPY)}
OPTIONS = ["-o", "addopts=", "-q", "-x", "-p", "no:cacheprovider", "-p", "by_subject"]
# of pytest, in the copy: SUBJECT=tanh leaves the tests that have this word in their names, SUBJECT=-tanh all others
BY_SUBJECT = """
import os, re
def pytest_collection_modifyitems(items):
    subject = os.environ["SUBJECT"]
    word = re.compile(rf"(?<![^\\W_]){re.escape(subject.lstrip('-'))}(?![^\\W_])")
    if subject:
        items[:] = [item for item in items if bool(word.search(item.nodeid)) != subject.startswith("-")]
"""


def copy_sources():
    COPY.mkdir(parents=True, exist_ok=True)
    for name in COPIED:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, COPY / name, dirs_exist_ok=True,
                            ignore=shutil.ignore_patterns("*.so", "__pycache__"))
        else:
            shutil.copy2(ROOT / name, COPY / name)
    (COPY / "by_subject.py").write_text(BY_SUBJECT)


def build(shown=False):
    """Whether it could be built."""
    to = None if shown else subprocess.DEVNULL
    return subprocess.run([sys.executable, "setup.py", "--quiet", "build_ext", "--inplace"], cwd=COPY, env=ENVIRONMENT,
                          stdout=to, stderr=to).returncode == 0


def objects_of(path):
    """What is made of a file, to be made again; what else includes it is as it was."""
    built = [*(COPY / "build").rglob("*.o")]
    if path.endswith(".pyx"):
        return [COPY / Path(path).with_suffix(".c"), *(o for o in built if str(o).endswith(path[:-4] + ".o"))]
    stems = BUILT_BY_ROWS if path in ("csrc/ops.def", "csrc/elementwise.inl", "csrc/words.inl") else [
        source.stem for source in (COPY / "csrc" / "isa").glob("*.c") if f'"{Path(path).name}"' in source.read_text()]
    return [o for o in built if o.stem in stems]


def failing_test(mutant, timeout):
    """The first test that notices what the copy is at present, "" if none does."""
    subject = mutant.subject
    subjects = [subject] if mutant.path.endswith(".def") else [subject, "-" + subject] if subject else [""]
    tests = [f"tests/{name}" for name in TESTS[mutant.path]]
    for subject in subjects:
        try:
            done = subprocess.run([sys.executable, "-m", "pytest", *OPTIONS, *tests], cwd=COPY, capture_output=True,
                                  env=ENVIRONMENT | {"SUBJECT": subject}, timeout=timeout, text=True)
        except subprocess.TimeoutExpired:
            return "a test that does not end"
        if done.returncode not in (0, 5):           # 5: there are no such tests
            named = re.search(r"^(?:FAILED|ERROR) (\S+)", done.stdout, re.M)
            return named[1] if named else "the end of the interpreter"
    return ""


def fail_without_a_change(tests):
    """Those of the tests that fail though nothing is changed."""
    tests = sorted(test for test in tests if "::" in test)
    done = subprocess.run([sys.executable, "-m", "pytest", *OPTIONS, "--maxfail", "1000", *tests], cwd=COPY, text=True,
                          capture_output=True, env=ENVIRONMENT | {"SUBJECT": ""}) if tests else None
    return set(re.findall(r"^(?:FAILED|ERROR) (\S+)", done.stdout, re.M)) if tests else set()


def outcome(mutant, timeout):
    """(what becomes of a mutant, by which test)."""
    file, before = COPY / mutant.path, (COPY / mutant.path).read_text()
    times = file.stat()
    try:
        file.write_text(before[:mutant.start] + mutant.new + before[mutant.start + len(mutant.old):])
        os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))       # or all that includes it would be made again
        for made in objects_of(mutant.path):
            made.unlink(missing_ok=True)
        if not mutant.path.endswith(".py") and not build():
            return "does not build", ""
        test = failing_test(mutant, timeout)
        return ("found" if test else "survives"), test
    finally:
        file.write_text(before)
        os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))
        for made in objects_of(mutant.path):
            made.unlink(missing_ok=True)


# ----- results ---------------------------------------------------------------------------------------------------

OUTCOMES = ("found", "survives", "does not build")


def digest(path):
    return hashlib.sha256((sources / path).read_bytes()).hexdigest()[:16]


def load_results():
    """{name of a mutant: its result}, of files that have not changed since."""
    known = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    digests = {path: digest(path) for path in {result["path"] for result in known.values()}}
    return {name: result for name, result in known.items() if result["digest"] == digests[result["path"]]}


def save_results(results):
    part = RESULTS.with_suffix(".part")
    part.write_text(json.dumps(results, indent=0))
    part.replace(RESULTS)


def report(found, results):
    counts = collections.defaultdict(collections.Counter)
    for mutant in found:
        counts[mutant.path]["mutants"] += 1
        counts[mutant.path][results.get(mutant.name, {}).get("outcome")] += 1
    print("| file | mutants | tried | found | survive | do not build |\n|---|---|---|---|---|---|")
    for path, count in counts.items():
        numbers = [count[kind] for kind in OUTCOMES]
        print(f"| `{path}` | {count['mutants']} | {sum(numbers)} | {' | '.join(map(str, numbers))} |")
    for mutant in found:
        if results.get(mutant.name, {}).get("outcome") == "survives":
            print(line_of(mutant))


def line_of(mutant):
    text = (sources / mutant.path).read_text()
    line = text.count("\n", 0, mutant.start)
    begin = text.rfind("\n", 0, mutant.start) + 1
    return (f"{mutant.name}  line {line + 1}, column {mutant.start - begin + 1}, {mutant.old} -> {mutant.new}: "
            f"{text.splitlines()[line].strip()}")


def main():
    global sources
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", nargs="*", default=[*TESTS])
    parser.add_argument("--count", type=int, help="end after so many")
    parser.add_argument("--seed", type=int, default=0, help="of the order")
    parser.add_argument("--only", nargs="*", help="mutants by name")
    parser.add_argument("--minutes", type=float, default=float("inf"))
    parser.add_argument("--timeout", type=float, default=300, help="seconds for the tests of one")
    parser.add_argument("--again", choices=OUTCOMES, nargs="*", default=[], help="try those with such results again")
    parser.add_argument("--list", action="store_true", help="only say which there are")
    parser.add_argument("--report", action="store_true", help="only say what is known")
    arguments = parser.parse_args()
    if not (arguments.list or arguments.report):
        copy_sources()
        sources = COPY
    found = [mutant for path in arguments.files for mutant in mutants(path)]
    if arguments.only:
        found = [mutant for mutant in found if mutant.name in arguments.only]
    if arguments.list:
        print(*map(line_of, found), sep="\n")
        return
    results = {name: result for name, result in load_results().items() if result["outcome"] not in arguments.again}
    if arguments.report:
        report(found, results)
        return
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))       # an end that leaves the copy without a change
    left = [mutant for mutant in found if mutant.name not in results]
    random.Random(arguments.seed).shuffle(left)
    end = time.monotonic() + 60 * arguments.minutes
    print(f"{len(found)} mutants, {len(found) - len(left)} of them tried; building the copy", flush=True)
    if not build(shown=True):
        sys.exit("the copy in build/mutation could not be built")
    for i, mutant in enumerate(left[:arguments.count], 1):
        if time.monotonic() > end:
            break
        start = time.monotonic()
        kind, test = outcome(mutant, arguments.timeout)
        results[mutant.name] = dict(path=mutant.path, digest=digest(mutant.path), outcome=kind, test=test)
        save_results(results)
        print(f"[{i}/{len(left)}] {time.monotonic() - start:.0f} s  {kind}  {line_of(mutant)}  {test}", flush=True)
    build()
    useless = fail_without_a_change({result["test"] for result in results.values()})
    print(*(f"{test} fails without a change, too" for test in sorted(useless)), sep="\n")
    results = {name: result for name, result in results.items() if result["test"] not in useless}
    save_results(results)
    report(found, results)


if __name__ == "__main__":
    main()
