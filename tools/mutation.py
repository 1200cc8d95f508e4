#!/usr/bin/env python3
"""Change one sign, constant or branch at a time, and say which changes no test notices.

    python tools/mutation.py --minutes 30                    as many as that takes; the next call continues
    python tools/mutation.py --files csrc/softmax.inl        those of one file
    python tools/mutation.py --only csrc/ops.def:2114:+      one, by its name in the report
    python tools/mutation.py --again survives --report       forgets results of one kind; prints what is known and ends

Changed are the expressions of the rows of csrc/ops.def, the bodies of kernels in csrc/*.inl, and the vjps in Cython
and Python. A copy in build/mutation is built without optimisation and for the baseline alone. Of a mutant in an .inl
only the files of csrc/isa that include it are compiled. A process that has collected the tests forks, and the fork
puts these kernels in the place of its own. All other mutants are built, and have a process each. Tests run until one
fails: first those whose names have the name of the row, kernel or operation, then those that have found others. At the
end the tests that found something run without a change, and mutants found by one that fails then count as not tried.

Results are kept in build/mutation/results.json, until their file changes. Mutants come in an order drawn by the seed,
in which every row, kernel and vjp has its turn, so a run that was stopped has tried some of each. A survivor means that
a test is missing, or that the change makes no difference."""
import argparse
import collections
import hashlib
import itertools
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
sys.path[:0] = [str(ROOT / "tools"), str(ROOT)]
from generate import COLUMNS, TOKEN  # noqa: E402

from setup import LOOPS  # noqa: E402

COPY = ROOT / "build" / "mutation"
RESULTS = COPY / "results.json"
sources = ROOT                          # of the mutants; while they are tried the copy, which nobody edits
COPIED = ("csrc", "microgradx", "tests", "tools", "docs", "setup.py", "pyproject.toml", "README.md", "CHANGELOG.md",
          "LICENSE")
CORE = "microgradx/_core"
OF_ALL_ROWS = ("elementwise_f32", "elementwise_f64", "rules")       # of csrc/isa, what a changed row changes
NUMBERS = itertools.count()

# the tests of a file; for a mutant of ops.def only those whose names have the name of its row
OF_ROWS = ["test_accuracy.py", "test_special_points.py", "test_derivatives.py", "test_value.py"]
TESTS = {"csrc/ops.def": OF_ROWS, "csrc/elementwise.inl": OF_ROWS, "csrc/words.inl": OF_ROWS,
         "csrc/memory.inl": ["test_kernels.py"],
         "csrc/reduce.inl": ["test_kernels.py", "test_tensor.py", "test_extremes.py"],
         "csrc/softmax.inl": ["test_kernels.py", "test_losses.py", "test_extremes.py"],
         "csrc/norm.inl": ["test_kernels.py", "test_normalization.py", "test_extremes.py"],
         "csrc/scan.inl": ["test_kernels.py", "test_axes.py", "test_extremes.py", "test_tensor.py"],
         "csrc/optim.inl": ["test_kernels.py", "test_optim.py"],
         "csrc/conv.inl": ["test_kernels.py", "test_convolution.py"],
         "csrc/random.inl": ["test_random.py", "test_kernels.py"],
         "csrc/gemm.inl": ["test_kernels.py", "test_gemm.py", "test_products.py"],
         "csrc/fused_chain.inl": ["test_fuse.py"], "csrc/replay.inl": ["test_vectorize.py"],
         "csrc/segment.inl": ["test_compile_values.py"],
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
    starts = [(match.end(), match[1]) for match in re.finditer(r"^\w[\w *]* (?:V\()?(\w+)\)?\(", code, re.M)]
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

FLAGS = ["-O0", "-w", "-DMGX_BASELINE"]
ENVIRONMENT = os.environ | {"MICROGRADX_CFLAGS": " ".join(FLAGS), "PYTHONPATH": f"{COPY}:{COPY / 'tools'}"}
PYTEST = [sys.executable, "-m", "pytest", "-o", "addopts=", "-q", "-x", "-s", "-p", "no:cacheprovider", "-p",
          "mutants_plugin"]


def copy_sources():
    COPY.mkdir(parents=True, exist_ok=True)
    for name in COPIED:
        if (ROOT / name).is_dir():
            built = ["*.so", "*.c", "*.c.dep"] if name == "microgradx" else []
            shutil.copytree(ROOT / name, COPY / name, dirs_exist_ok=True,
                            ignore=shutil.ignore_patterns("__pycache__", *built))
        else:
            shutil.copy2(ROOT / name, COPY / name)


def build(shown=False):
    """Whether it could be built."""
    to = None if shown else subprocess.DEVNULL
    return subprocess.run([sys.executable, "setup.py", "--quiet", "build_ext", "--inplace"], cwd=COPY, env=ENVIRONMENT,
                          stdout=to, stderr=to).returncode == 0


def units_of(path):
    """The files of csrc/isa that a change of it changes; of what all include, those of rows."""
    records = [record for record in (COPY / "build").glob("objects-*/baseline/csrc/isa/*.d")
               if path in record.read_text().split()]
    units = [COPY / "csrc" / "isa" / f"{record.name.partition('.')[0]}.c" for record in records]
    return [unit for unit in units if unit.stem in OF_ALL_ROWS] or units


def objects_of(path):
    """What the build makes of a file, to be made again; what else includes it is as it was."""
    built = [*(COPY / "build").rglob("*.o")]
    if path.endswith(".pyx"):
        return [COPY / Path(path).with_suffix(".c"), *(o for o in built if str(o).endswith(path[:-4] + ".o"))]
    stems = ["table", *(unit.stem for unit in units_of(path))] if path.endswith(".def") else []
    return [o for o in built if o.stem in stems]


class Waiting:
    """The tests of a file, collected in a process that forks for every mutant of a kernel: see mutants_plugin."""
    of_tests: dict = {}

    def __init__(self, tests):
        requests, self.requests = os.pipe()
        self.answers, answers = os.pipe()
        self.process = subprocess.Popen([*PYTEST, *tests], cwd=COPY, pass_fds=[requests, answers],
                                        env=ENVIRONMENT | {"FILES": f"{requests},{answers}"},
                                        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        os.close(requests), os.close(answers)
        self.lines = open(self.answers)

    @classmethod
    def ask(cls, tests, **request):
        waiting = cls.of_tests.get(tests) or cls.of_tests.setdefault(tests, cls(tests))
        os.write(waiting.requests, (json.dumps(request) + "\n").encode())
        answer = waiting.lines.readline()
        if not answer:
            sys.exit(f"the tests of {tests} could not be collected")
        return json.loads(answer)


def libraries_of(path):
    """[(library, the function that enters its kernels)] of a changed file, or None if it does not compile."""
    made = []
    for unit in units_of(path):
        to = COPY / "build" / f"mutant-{unit.stem}-{next(NUMBERS)}.so"          # never a name that was open before
        done = subprocess.run(["cc", *FLAGS, *LOOPS, "-DNDEBUG", "-fPIC", "-shared", "-Icsrc", unit, "-o", to,
                               *(COPY / "microgradx" / "_core").glob("kernels.*.so")], cwd=COPY,
                              stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        if done.returncode:
            return None
        made.append((str(to), f"mgx_enter_{unit.stem}_baseline"))
    return made


def tried_in_a_fork(mutant, tests, **request):
    units = libraries_of(mutant.path)
    if units is None:
        return "does not build", ""
    try:
        return outcome_of(Waiting.ask(tests, units=units, **request))
    finally:
        for path, _ in units:
            os.remove(path)


def tried_in_a_build(mutant, tests, timeout, **request):
    for made in objects_of(mutant.path):
        made.unlink(missing_ok=True)
    try:
        if not mutant.path.endswith(".py") and not build():
            return "does not build", ""
        done = subprocess.run([*PYTEST, *tests], cwd=COPY, capture_output=True, timeout=timeout, text=True,
                              env=ENVIRONMENT | {"REQUEST": json.dumps(request)})
        if done.returncode in (0, 5):               # 5: there are no such tests
            return outcome_of("")
        named = re.search(r"^(?:FAILED|ERROR) (\S+)", done.stdout, re.M)
        return outcome_of(named[1] if named else "the end of the interpreter")
    except subprocess.TimeoutExpired:
        return outcome_of("a test that does not end")
    finally:
        for made in objects_of(mutant.path):
            made.unlink(missing_ok=True)


def outcome_of(test):
    return ("found" if test else "survives"), test


def outcome(mutant, timeout, first):
    """(what becomes of a mutant, by which test); ``first``: tests that noticed others."""
    file, before = COPY / mutant.path, (COPY / mutant.path).read_text()
    times = file.stat()
    tests = tuple(f"tests/{name}" for name in TESTS[mutant.path])
    tried = tried_in_a_fork if mutant.path.endswith(".inl") else tried_in_a_build
    try:
        file.write_text(before[:mutant.start] + mutant.new + before[mutant.start + len(mutant.old):])
        os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))       # or all that includes it would be made again
        return tried(mutant, tests, timeout=timeout, subject=mutant.subject, only=mutant.path.endswith(".def"),
                     first=first)
    finally:
        file.write_text(before)
        os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))


def fail_without_a_change(tests):
    """Those of the tests that fail though nothing is changed."""
    tests = sorted(test for test in tests if "::" in test)
    request = json.dumps(dict(subject="", only=False, first=[]))
    done = subprocess.run([*PYTEST, "--maxfail", "1000", *tests], cwd=COPY, text=True, capture_output=True,
                          env=ENVIRONMENT | {"REQUEST": request}) if tests else None
    return set(re.findall(r"^(?:FAILED|ERROR) (\S+)", done.stdout, re.M)) if tests else set()


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


def in_turn(seed, found, results):
    """Those that have not been tried, in an order drawn by the seed; every row, kernel and vjp comes as often."""
    left, count = [*found], collections.Counter()
    random.Random(seed).shuffle(left)
    left.sort(key=lambda mutant: mutant.name not in results)            # what was tried counts first
    turns = []
    for mutant in left:
        turns.append((count[mutant.path, mutant.subject], len(turns), mutant))
        count[mutant.path, mutant.subject] += 1
    return [mutant for _, _, mutant in sorted(turns) if mutant.name not in results]


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
    untested = {str(path.relative_to(ROOT)) for path in ROOT.glob("csrc/*.inl")} - TESTS.keys() - {"csrc/shims.inl"}
    if untested:
        sys.exit(f"TESTS of this file does not say which tests are those of {untested}")
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
    left = in_turn(arguments.seed, found, results)
    end = time.monotonic() + 60 * arguments.minutes
    print(f"{len(found)} mutants, {len(found) - len(left)} of them tried; building the copy", flush=True)
    if not build(shown=True):
        sys.exit("the copy in build/mutation could not be built")
    for i, mutant in enumerate(left[:arguments.count], 1):
        if time.monotonic() > end:
            break
        start = time.monotonic()
        noticed = collections.Counter(result["test"] for result in results.values() if result["path"] == mutant.path)
        kind, test = outcome(mutant, arguments.timeout, [test for test, _ in noticed.most_common(100)])
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
