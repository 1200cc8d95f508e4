"""Follows docs/extending.md, edit by edit, in a copy of the sources that is built once."""
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "extending.md"
pytestmark = pytest.mark.skipif(not (ROOT / "setup.py").is_file(), reason="the tests run without the source")

EDIT = re.compile(r"^(Write|Add to the end of|In) `([^`]+)`(?:, (?:(add to|after|before) `([^`]+)`(?:, add)?))?:\n\n"
                  r"```\w*\n(.*?)^```$", re.M | re.S)
CLOSING = {"(": ")", "[": "]", "{": "}"}


def how_tos():
    """{heading: edits as (what, file, where, anchor, text)} of the page."""
    sections = re.split(r"^## (.*)\n", PAGE.read_text(encoding="utf-8"), flags=re.M)
    return {heading: EDIT.findall(text) for heading, text in zip(sections[1::2], sections[2::2])}


def closed(text, start):
    """The place behind the bracket that closes the first one from ``start`` on in its line, or the end of the line."""
    end = text.index("\n", start)
    opening = re.compile(r"[(\[{]").search(text, start, end)
    if opening is None:
        return end
    depth = 0
    for token in re.compile(r'"(?:\\.|[^"\\\n])*"|[()\[\]{}]').finditer(text, opening.start()):
        depth += (token.group() in CLOSING) - (token.group() in CLOSING.values())
        if depth == 0:
            return token.end()
    raise AssertionError(f"a bracket is never closed: {text[start:end]}")


def line_that_begins(text, anchor, path):
    found = [match.start() for match in re.finditer("^" + re.escape(anchor), text, re.M)]
    assert len(found) == 1, f"docs/extending.md: {len(found)} lines of {path} begin with {anchor!r}"
    return found[0]


def apply(root, edit):
    what, name, where, anchor, added = edit
    path = root / name
    if what == "Write":
        assert not path.exists(), f"docs/extending.md writes {name}, which is there"
        path.write_text(added, encoding="utf-8")
        return
    text = path.read_text(encoding="utf-8")
    apart = "\n\n" if path.suffix == ".py" and re.search("^(def|class|@)", added, re.M) else ""
    if what == "Add to the end of":
        text = text.rstrip() + "\n\n" + apart[1:] + added
    elif where == "add to":
        start = line_that_begins(text, f"{anchor} = ", name)
        end = closed(text, start) - 1
        text = f"{text[:end]},\n    {added.strip()}{text[end:]}"
    elif where == "after":
        end = text.index("\n", closed(text, line_that_begins(text, anchor, name))) + 1
        text = text[:end] + added + text[end:]
    else:
        start = line_that_begins(text, anchor, name)
        text = text[:start] + added + apart + text[start:]
    path.write_text(text, encoding="utf-8")


# for each how-to: the most files that are edited by hand; what it makes; parts of the suite that concern it
CASES = {
    "A structured kernel": (5, """
x = mgx.Tensor(np.arange(24.0).reshape(2, 3, 4), requires_grad=True)
for axis in (0, 1, -1):
    np.testing.assert_allclose(mgx.rms(x, axis).detach(), np.sqrt((x.detach().numpy()**2).mean(axis)), rtol=1e-14)
assert mgx.gradcheck(lambda x: mgx.rms(x + 1.0, 1), (x,)) and mgx.gradgradcheck(lambda x: mgx.rms(x + 1.0, 1), (x,))
""", ["test_kernels.py", "test_source.py", "-k", "(rms and not rmsprop) or every_row or registrations"]),
    "A host operation": (1, """
x = mgx.Tensor([0.5, 2.0, 7.5], dtype="float64", requires_grad=True)
np.testing.assert_allclose(mgx.expi([1.0, 2.0]).detach(), [1.89511782, 4.95423436], rtol=1e-6)
assert mgx.gradcheck(mgx.expi, (x,)) and mgx.gradgradcheck(mgx.expi, (x,))
f = mgx.compile(lambda x: mgx.expi(x) * 2.0)
assert f(x.detach()).tolist() == f(x.detach()).tolist() == (mgx.expi(x) * 2.0).tolist()
""", ["test_arrays.py", "test_doctests.py", "-k", "(example and (expi or rms))"]),
    "An activation as module": (2, """
x = mgx.Tensor([0.5])
assert nn.Sin()(x).item() == nn.functional.sin(x).item() == x.sin().item()
assert nn.init.calculate_gain("sin") > 1 and repr(nn.Sin()) == "Sin()"
""", ["test_nn.py", "test_layers.py", "-k", "activation and (row or Sin or sin) or Sin-"]),
    "A loss": (2, """
loss = nn.LogCoshLoss(scale=2.0)
assert abs(loss(mgx.Tensor([2.0]), [3.0]).item() - math.log(math.cosh(2.0)) / 2) < 1e-6
""", ["test_losses.py", "-k", "log_cosh or is_a_module"]),
    "An optimizer": (3, """
w = mgx.Tensor(np.array([3.0, -2.0]), requires_grad=True)
step = optim.Lion([w], lr=0.01)
for _ in range(100):
    step.zero_grad()
    w.square().sum().backward()
    step.step()
np.testing.assert_allclose(w.detach(), [2, -1])
""", ["test_optim.py", "test_kernels.py", "-k", "Lion or lion or everything_is_recorded or every_row"]),
    "A layer": (2, """
layer = nn.LayerScale(3, start=0.5)
assert layer(mgx.ones(2, 3)).tolist() == [[0.5] * 3] * 2 and [n for n, _ in layer.named_parameters()] == ["weight"]
""", ["test_layers.py", "-k", "LayerScale or handed_on"]),
    "A lab experiment": (2, """
from microgradx import lab
assert all(card.holds for card in lab.run("initial", seed=1, quick=True).cards) and lab.CLAIMS["IC"][0] == "initial"
""", ["test_lab.py", "-k", "test_experiment and initial or listed or no_claim_twice"]),
    "A diagnosis rule": (3, """
from microgradx import flow
rng = np.random.default_rng(0)
x, y = np.repeat(rng.normal(size=(4, 8)), 32, axis=0), rng.integers(0, 4, 128)
net = nn.Sequential(nn.Linear(8, 16, rng=0), nn.Tanh(), nn.Linear(16, 4, rng=1))
found = flow.diagnose(net, nn.functional.cross_entropy, (x, y))
assert found.verdict == "contradicting targets", found
assert found.verdict in flow.verdicts.VERDICTS
""", ["test_diagnosis.py", "-k", "evidence or explained or explains"])}
# left out of a how-to: (heading, file, texts that are deleted there, the test that notices, its sentence)
FORGOTTEN = [
    ("A structured kernel", "microgradx/arrays/statistics.py", ('@composite("rms")\n',),
     ["test_kernels.py", "-k", "every_row"],
     "row 'rms' of csrc/kernels.def has no composite: write the function"),
    ("A host operation", "microgradx/arrays/special.py", ("    >>> mgx.expi([1.0, 2.0])\n",
     "DLMF 6.2.5.\n\n    >>> import microgradx as mgx\n"),
     ["test_arrays.py", "-k", "every_function and expi"],
     "nothing says what expi gives: add an example"),
    ("An activation as module", "microgradx/nn/layers.py",
     ('class Sin(_Activation):\n    """``x.sin()`` as a module."""\n    method = "sin"\n', ',\n    "Sin"'),
     ["test_nn.py", "-k", "every_activation_row"],
     "activation 'sin' is no module: write a subclass of _Activation"),
    ("A loss", "microgradx/nn/losses.py", (',\n    "LogCoshLoss"',), ["test_losses.py", "-k", "is_a_module"],
     "nn.LogCoshLoss is not handed on: name it in __all__ of nn/losses.py"),
    ("An optimizer", "microgradx/optim/optimizers.py", (',\n    "Lion"',),
     ["test_kernels.py", "-k", "against_composite and lion"],
     "no class of optim has kernel = 'lion': write it in optim/optimizers.py and name it in __all__"),
    ("A layer", "tests/test_layers.py", (',\n    "LayerScale": (3,)',), ["test_layers.py", "-k", "LayerScale"],
     "LayerScale takes width: add an example of them to ARGUMENTS of tests/test_layers.py"),
    ("A lab experiment", "microgradx/lab/__init__.py", (',\n    "initial"',), ["test_lab.py", "-k", "listed"],
     "lab/initial.py is not run: add 'initial' to NAMES of lab/__init__.py"),
    ("A diagnosis rule", "microgradx/flow/advice.py",
     (',\n    "contradicting targets": "equal inputs have different targets, and no function gives both"',),
     ["test_diagnosis.py", "-k", "every_verdict_is_explained"],
     "nothing explains 'contradicting targets': add it to MEANING and ADVICE of flow/advice.py")]


def run(copy, *command):
    clean = {k: v for k, v in os.environ.items() if k != "MICROGRADX_ISA"}
    return subprocess.run([sys.executable, *command], cwd=copy, capture_output=True, text=True, env=clean | {
        "PYTHONPATH": str(copy), "MICROGRADX_CFLAGS": os.environ.get("MICROGRADX_CFLAGS", "") + " -O0"})


def run_tests(copy, parts):
    files = [f"tests/{part}" if part.endswith(".py") else part for part in parts]
    return run(copy, "-m", "pytest", "-q", "-p", "no:cacheprovider", *files)


@pytest.fixture(scope="module")
def copy(tmp_path_factory):
    """The sources with all how-tos followed, built. What Cython has made of modules that did not change is taken; the C
    is compiled anew, because all of it includes csrc/kernels.def."""
    root = tmp_path_factory.mktemp("extending")
    for name in ("csrc", "docs", "microgradx", "tests"):
        shutil.copytree(ROOT / name, root / name, ignore=shutil.ignore_patterns("*.so", "__pycache__"))
    for name in ("setup.py", "pyproject.toml", "README.md"):
        shutil.copy2(ROOT / name, root)
    for edits in how_tos().values():
        for edit in edits:
            apply(root, edit)
    built = run(root, "setup.py", "--quiet", "build_ext", "--inplace")
    assert built.returncode == 0, built.stderr[-3000:]
    return root


def test_every_how_to_is_followed():
    assert [*how_tos()] == ["An elementwise operation", *CASES]
    sentences = re.findall(r"^(?:Write|Add|In) .*:$", PAGE.read_text(encoding="utf-8"), re.M)
    assert len(sentences) == sum(map(len, how_tos().values())), "a sentence that looks like an edit, but is none"


@pytest.mark.parametrize("heading", CASES)
def test_files_edited_by_hand(heading):
    """Tests and stubs counted."""
    assert len({name for _, name, *_ in how_tos()[heading]}) <= CASES[heading][0]


@pytest.mark.parametrize("heading", CASES)
def test_how_to(copy, heading):
    _, check, parts = CASES[heading]
    header = "import math\nimport numpy as np\nimport microgradx as mgx\nfrom microgradx import nn, optim\n"
    ran = run(copy, "-c", header + check)
    assert ran.returncode == 0, ran.stderr[-2000:]
    ran = run_tests(copy, parts)
    assert ran.returncode == 0, ran.stdout[-3000:] + ran.stderr[-1000:]


@pytest.mark.parametrize("heading, name, left_out, parts, sentence", FORGOTTEN, ids=[case[0] for case in FORGOTTEN])
def test_a_step_left_out_is_named(copy, heading, name, left_out, parts, sentence):
    path = copy / name
    whole = path.read_text(encoding="utf-8")
    rest = whole
    for text in left_out:
        assert rest.count(text) == 1
        rest = rest.replace(text, "")
    try:
        path.write_text(rest, encoding="utf-8")
        ran = run_tests(copy, parts)
    finally:
        path.write_text(whole, encoding="utf-8")
    assert ran.returncode == 1 and sentence in " ".join(ran.stdout.replace("\nE ", " ").split()), ran.stdout[-3000:]
