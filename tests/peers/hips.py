"""The tests of HIPS autograd's operators, on ours: ``python tests/peers/hips.py [DIRECTORY]``.

The directory is that of its tests, in its source archive; or the variable AUTOGRAD_TESTS names it. They import
autograd; ``shims/autograd``, on Tensors of ours, is put before it, and checks every derivative to the second order by
differences, forward and reverse. A test fails as wrong if a number is, else because it asks for what we do not have:
complex numbers, boxes, their ways to define derivatives. Of a test with real and complex numbers the real ones count.
"""
import collections
import os
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ElementTree
from pathlib import Path

HERE = Path(__file__).parent
FILES = ["test_systematic", "test_scalar_ops", "test_numpy", "test_binary_ops", "test_linalg", "test_jacobian",
         "test_direct", "test_graphs", "test_list", "test_dict", "test_tuple"]


def run(directory):
    """{outcome: [test]}; of a test that failed its message, too."""
    found = collections.defaultdict(list)
    with tempfile.TemporaryDirectory() as place:
        report = Path(place, "report.xml")
        paths = os.pathsep.join([str(HERE / "shims"), str(HERE.parents[1])])
        command = [sys.executable, "-W", "ignore", "-m", "pytest", "-q", "-c", os.devnull, "--rootdir", str(directory),
                   "-p", "no:cacheprovider", f"--junitxml={report}", "--continue-on-collection-errors",
                   *(str(Path(directory, f"{name}.py")) for name in FILES)]
        done = subprocess.run(command, capture_output=True, text=True,
                              env=os.environ | {"PYTHONPATH": paths, "PYTHONDONTWRITEBYTECODE": "1"})
        if not report.exists():
            raise RuntimeError(done.stdout[-2000:] + done.stderr[-2000:])
        for case in ElementTree.parse(report).iter("testcase"):
            name = f"{case.get('classname').rpartition('.')[2]}.{case.get('name')}"
            failure = next((part for part in case if part.tag in ("failure", "error")), None)
            message = "" if failure is None else f"{failure.get('message')}".split("\n")[0]
            skipped = any(part.tag == "skipped" for part in case)
            outcome = "skipped" if skipped else "passed" if failure is None else "wrong" if (
                "WrongNumber" in message or message.startswith("AssertionError")
                or message.startswith("assert ")) else "raised"
            found[outcome].append(f"{name} {message}")
    return found


if __name__ == "__main__":
    where = sys.argv[1] if sys.argv[1:] else os.environ.get("AUTOGRAD_TESTS")
    if not where:
        raise SystemExit("hips: give the directory of autograd's tests, or set AUTOGRAD_TESTS")
    outcomes = run(where)
    for outcome in ("raised", "wrong"):
        print(f"{outcome}:", *outcomes[outcome], sep="\n    ")
    print({outcome: len(tests) for outcome, tests in outcomes.items()})
    sys.exit(bool(outcomes["wrong"]))
