"""The lab: every claim has its card, every number stands where it was predicted, the page shows all of it."""
import dataclasses
import functools
import json
import re
import shutil
import subprocess
from html import escape, unescape
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from microgradx import flow, lab
from microgradx.cli import main
from microgradx.errors import OptionError
from microgradx.lab import cards, page

SEEDS = [f"{letter}{k}" for letter, count in (("A", 17), ("B", 9), ("C", 11), ("D", 10)) for k in range(1, count + 1)]
LITERATURE = ["BN", "DI", "DR", "GB", "HE", "LC", "LS", "MF", "N3", "N5", "RN", "RS", "SG", "SN", "SW", "T1", "T2",
              "VE", "XI"]
WRONG = {"B3", "C5", "C9", "D6"}


@functools.cache
def outcome_of(name):
    """An experiment in its quick size."""
    return lab.run(name, seed=0, quick=True)


@pytest.fixture(scope="module")
def outcomes():
    return {name: outcome_of(name) for name in lab.EXPERIMENTS}


@pytest.fixture(scope="module")
def text(outcomes):
    return page.html(outcomes.values())


def test_every_experiment_is_listed():
    written = {path.stem for path in Path(lab.__file__).parent.glob("*.py")
               if "\ndef measure(" in path.read_text(encoding="utf-8")}
    for name in written | {*lab.EXPERIMENTS}:
        assert name in lab.EXPERIMENTS, f"lab/{name}.py is not run: add {name!r} to NAMES of lab/__init__.py"
        module = lab.EXPERIMENTS[name]
        for word in ("DTYPE", "CLAIMS", "measure", "numbers", "FIGURES"):
            assert hasattr(module, word), f"microgradx/lab/{name}.py has no {word}; lab/__init__.py says what it is"


@pytest.mark.parametrize("claim", SEEDS + LITERATURE)
def test_every_claim_has_a_card(claim):
    assert claim in lab.CLAIMS
    name, found = lab.CLAIMS[claim]
    assert found in lab.EXPERIMENTS[name].CLAIMS
    assert found.sentence and found.test and found.words and found.verdict in page.MARKS


def test_no_claim_twice():
    ids = [claim.id for module in lab.EXPERIMENTS.values() for claim in module.CLAIMS]
    assert len(ids) == len(set(ids)) and set(SEEDS) <= set(ids)


def test_verdicts_are_those_of_the_reference():
    assert {c for c in SEEDS if lab.CLAIMS[c][1].verdict == cards.WRONG} == WRONG
    right = {"A2", "A9", "A10", "A11", "A12", "A13", "A15", "B4", "B5", "C2", "C3", "D1", "D2", "D3", "D4", "D10"}
    assert all(lab.CLAIMS[c][1].verdict == cards.RIGHT for c in right)
    imprecise = {"A3", "A4", "A5", "A8", "A14", "A16", "B1", "B6", "B7", "B8", "C6", "C7"}
    assert all(lab.CLAIMS[c][1].verdict == cards.IMPRECISE for c in imprecise)


@pytest.mark.parametrize("name", lab.EXPERIMENTS)
def test_experiment(name):
    """It runs; its result is a dataclass; each claim has numbers, and each number stands where it was predicted."""
    outcome = outcome_of(name)
    module = lab.EXPERIMENTS[name]
    assert dataclasses.is_dataclass(outcome.found) and module.DTYPE
    assert outcome.title.endswith("."), f"the first line of lab/{name}.py is a sentence with a full stop: its title"
    assert set(module.numbers(outcome.found)) == {claim.id for claim in module.CLAIMS}, "numbers() is by claim"
    for card in outcome.cards:
        assert card.numbers, card.claim.id
        for number in card.numbers:
            assert np.isfinite(number.measured), (card.claim.id, number)
            assert number.low > -np.inf or number.high < np.inf, (card.claim.id, number)
            assert number.agrees, (card.claim.id, number)


# Numbers of the reference, as it prints them: (claim, part of what is measured, value, tolerance).
PRINTED = [("A2", "0.1 of it", 3.636893, 1e-6), ("A4", "width of power 10", 1.05920, 1e-5),
           ("A4", "ten sigmoids in a row", 3.875220e-7, 1e-12), ("A5", "widest window", 0.447743, 1e-6),
           ("A5", "∂C/∂b₁", 3906.25, 0), ("A9", "z = −5", -0.00660356, 1e-8), ("A10", "z = −10, y", -0.9999546, 1e-7),
           ("A10", "ratio of the gradients, z = -5", 150.4199, 1e-4), ("A11", "largest gradient", 0.148148, 1e-5),
           ("B1", "share of the maximum at 3", 0.1807, 1e-4), ("B7", "%", 2.659223, 1e-6),
           ("B8", "0.2⁵", 3.2e-4, 1e-12),
           ("B8", "first n with 0.25ⁿ = 0, float32", 75, 0), ("B8", "first n with 0.2ⁿ = 0, float64", 463, 0),
           ("B8", "100 000", -3.2, 1e-6), ("C3", "∂L/∂w1", 0.006388805, 1e-9), ("D4", "patterns reached", 4, 0),
           ("D5", "tanh inputs", 8, 0), ("D5", "batches of 2", 16, 0), ("D7", "cosine", 0.70710678, 1e-8),
           ("A3", "factor on the error", 0.23605, 0.007), ("B3", "3/n", 1.2247, 0.03),
           ("N3", "over that of", 7.03, 0.01),
           ("N3", "quadratic (2, 2): below", 232, 0), ("N5", "200 wide", 4.8818, 0.1), ("N5", "theory", 4.8818, 1e-4),
           ("RS", "α = 1/√30, forward", 2.6743, 0.08), ("BN", "ReLU, batch 256", 1.4669, 0.03),
           ("DR", "one input, N = 2", 0.9437, 0.025), ("SN", "Jacobian", 0.7876734, 1e-6),
           ("MF", "edge, σ_b² = 0.05", 1.76095, 5.1e-6), ("MF", "σ_w² = 1.4: ξ", 10.73, 5e-3),
           ("SG", "50 layers", 9.12e-4, 1e-6),
           ("LC", "f(1)", 0.9999973, 1e-7), ("LC", "E f²", 0.7504, 1e-4), ("VE", "α = 1", 15, 1.5),
           ("RN", "ρ = 0.9", 2.66e-5, 1e-7), ("RN", "sigmoid, ρ = 1", 0.2367, 0.007),
           ("N5", "‖mean δ_3‖, 3", 0.2953, 0.04)]


@pytest.mark.parametrize("claim, what, value, tolerance", PRINTED)
def test_numbers_of_the_reference(outcomes, claim, what, value, tolerance):
    name, _ = lab.CLAIMS[claim]
    card = next(card for card in outcomes[name].cards if card.claim.id == claim)
    number = next(number for number in card.numbers if what in number.what)
    assert abs(number.measured - value) <= tolerance + 1e-12 * abs(value)


def test_trained_results_have_five_runs(outcomes):
    for claim, part in (("A8", "top layer"), ("C7", "hidden"), ("A15", "accuracy"), ("T2", "accuracy"), ("GB", "top"),
                        ("XI", "accuracy"), ("C10", "accuracy"), ("LS", "share of the cost"), ("LS", "LSUV")):
        card = next(c for c in outcomes[lab.CLAIMS[claim][0]].cards if c.claim.id == claim)
        assert all(n.runs >= 5 and n.spread[0] <= n.measured <= n.spread[1] for n in card.numbers if part in n.what)


def test_a_number_can_disagree():
    wrong = cards.near("x", 1.1, 1.0, rel=0.05)
    card = cards.Card(lab.CLAIMS["A2"][1], (wrong,))
    assert not wrong.agrees and not card.holds and not cards.Card(card.claim, ()).holds
    assert "disagrees" in page._card(card) and "do not bear the verdict out" in page._card(card)
    assert not cards.near("x", np.nan, 1.0, rel=1).agrees


def test_runs_repeat():
    first, second = (lab.run("zigzag", seed=3, quick=True).found for _ in range(2))
    assert first.steps == second.steps and first.condition == second.condition


def test_unknown_name():
    with pytest.raises(OptionError, match="none of slope"):
        lab.run("slopes")


# ----- the page ------------------------------------------------------------------------------------------------------

def test_an_executor_changes_no_number(tmp_path):
    names = ["chain", "underflow", "slope"]
    there = {o.name: o for o in lab.run_each(names, 1, True, "processes=1", tmp_path)}
    assert list(there) == names and len(list(tmp_path.iterdir())) == 3
    again = {o.name: o for o in lab.run_each(names, 1, True, store=tmp_path)}
    for name in names:
        here = lab.run(name, 1, True)
        assert [c.numbers for c in here.cards] == [c.numbers for c in there[name].cards] == [
            c.numbers for c in again[name].cards]
        assert again[name].seconds == there[name].seconds           # it was not run again


def test_the_page_has_every_card_and_figure(text, outcomes):
    assert text.count("<article") == sum(len(o.cards) for o in outcomes.values()) == len(lab.CLAIMS)
    for claim, (_, found) in lab.CLAIMS.items():
        assert f'id="{claim}"' in text and escape(found.sentence) in text
    assert text.count("<figure>") == sum(len(m.FIGURES) for m in lab.EXPERIMENTS.values())
    assert text.count("data:image/png;base64,") == text.count("<img ") == text.count("<figure>")
    for outcome in outcomes.values():
        assert escape(outcome.command) in text


def test_the_page_needs_nothing_else(text):
    without = re.sub(r"data:image/png;base64,[^\"]*", "", text)
    assert "http" not in without and "//" not in without and "<script" not in without and "url(" not in without
    assert set(re.findall(r'href="(.)', without)) == {"#"}
    targets = set(re.findall(r'href="#([^"]*)"', without))
    assert targets <= set(re.findall(r'id="([^"]*)"', without))


def test_text_is_escaped():
    number = cards.near("<b>", 1.0, 1.0, by="<i>")
    card = cards.Card(cards.Claim("<x>", "<script>", "a & b", cards.RIGHT, "<"), (number,))
    shown = page._card(card)
    assert "<script>" not in shown and "<b>" not in shown and "<i>" not in shown and "a &amp; b" in shown


CHROME = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


PROBE = """<script>document.title = JSON.stringify([
    [...document.querySelectorAll('*')].filter(e => e.getBoundingClientRect().right > innerWidth + 1)
        .map(e => e.tagName),
    document.querySelectorAll('article').length,
    [...document.querySelectorAll('figure > img')].filter(i => i.complete && i.naturalWidth > 600).length,
    Math.min(...[...document.querySelectorAll('p, td, blockquote')]
        .map(e => parseFloat(getComputedStyle(e).fontSize)))])
    </script>"""


def browse(page, tmp_path, *options):
    """(the DOM as the browser has it, what it wrote to the console)."""
    done = subprocess.run([CHROME, "--headless", "--no-sandbox", "--disable-gpu", "--allow-file-access-from-files",
                           "--enable-logging=stderr", f"--user-data-dir={tmp_path / 'profile'}",
                           "--virtual-time-budget=5000", *options, "--dump-dom", page.as_uri()],
                          capture_output=True, text=True, timeout=120)
    return done.stdout, [line for line in done.stderr.splitlines() if "CONSOLE" in line]


@pytest.mark.skipif(CHROME is None, reason="no browser is installed")
@pytest.mark.parametrize("width", [400, 1200])
def test_a_browser_shows_all_of_it(text, outcomes, tmp_path, width):
    """Every card and figure, none wider than the window, letters of a readable size, nothing in the console."""
    frame, page = tmp_path / "frame.html", tmp_path / "index.html"
    page.write_text(text.replace("</body>", PROBE + "</body>"), encoding="utf-8")
    frame.write_text(f'<iframe src="index.html" width="{width}" height="900" onload="document.title = '
                     'this.contentDocument.title"></iframe>', encoding="utf-8")
    dom, console = browse(frame, tmp_path)
    wide, cards, images, letters = json.loads(unescape(re.search("<title>(.*)</title>", dom).group(1)))
    assert not wide and not console
    assert cards == len(lab.CLAIMS) and images == sum(len(m.FIGURES) for m in lab.EXPERIMENTS.values())
    assert letters >= 13


@pytest.mark.skipif(CHROME is None, reason="no browser is installed")
def test_the_browser_would_say_so(tmp_path):
    page = tmp_path / "wrong.html"
    page.write_text("<script>throw new Error('seen')</script>", encoding="utf-8")
    assert any("seen" in line for line in browse(page, tmp_path)[1])


# ----- the command line ----------------------------------------------------------------------------------------------

def test_list():
    result = CliRunner(env={"COLUMNS": "160"}).invoke(main, ["lab", "list"])
    assert result.exit_code == 0 and all(name in result.output for name in lab.EXPERIMENTS)


def test_run_writes_the_page(tmp_path):
    out = tmp_path / "new" / "page"
    result = CliRunner(env={"COLUMNS": "100"}).invoke(main, ["lab", "run", "slope", "chain", "--quick", "--seed", "7",
                                                             "--out", str(out)])
    assert result.exit_code == 0, result.output
    assert "A2" in result.output and "imprecise" in result.output and "2/2" in result.output
    written = (out / "index.html").read_text(encoding="utf-8")
    assert "microgradx lab run slope --seed 7 --quick" in written and written.count("<section") == 2


@pytest.mark.parametrize("arguments, words", [
    (["run"], "--all"), (["run", "slope", "--all"], "--all"), (["run", "nothing"], "none of slope"),
    (["run", "slope", "--out", "/dev/null/x"], "x:"), (["run", "slope", "--executor", "two"], "not 'two'")])
def test_bad_arguments(arguments, words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(main, ["lab", *arguments])
    assert result.exit_code == 2 and words in result.output


def test_a_verdict_that_does_not_hold_is_an_exit_code(tmp_path, monkeypatch):
    module = lab.EXPERIMENTS["underflow"]
    monkeypatch.setattr(module, "numbers", lambda found: {"B8": [cards.near("two", 2.0, 3.0)]})
    result = CliRunner().invoke(main, ["lab", "run", "underflow", "--out", str(tmp_path)])
    assert result.exit_code == 1 and "0 of 1 verdicts hold" in result.output


# ----- the doctor ----------------------------------------------------------------------------------------------------

NET = """from microgradx import data, nn, optim
net = nn.Sequential(nn.Linear(64, 20, rng=0), nn.Tanh(), nn.Linear(20, 10, rng=1))
make = lambda: net
number = 3
slow = lambda parameters: optim.SGD(parameters, lr=1e-6)
x, y = data.digits()
batch = (x[:200], y[:200])
broken = lambda *arguments: {}["size"]
narrow = nn.Linear(3, 10, rng=0)
class Torn(nn.Module):
    def __init__(self):
        self.linear = nn.Linear(64, 10, rng=0)
    def forward(self, x):
        raise RuntimeError("only two\\nlines")
torn = Torn()
"""


@pytest.fixture
def doctor(tmp_path):
    """Runs ``microgradx doctor FILE:name ...``."""
    path = tmp_path / "net.py"
    path.write_text(NET)
    return lambda name, *arguments: CliRunner().invoke(main, ["doctor", f"{path}:{name}", *map(str, arguments)])


def test_doctor_finds_what_the_file_has(doctor, tmp_path):
    sound = doctor("net")
    assert sound.exit_code == 0 and sound.output.startswith("healthy") and "on 200 rows" in sound.output
    assert doctor("make").output == sound.output
    sick = doctor("net", "--optimizer", "slow", "--steps", 20, "--json")
    found = flow.report.Diagnosis.from_json(sick.output)
    assert sick.exit_code == 1 and found.verdict == "rate too small" and found.settings["rate"] == 1e-6
    np.savez(tmp_path / "own.npz", x=np.random.default_rng(0).normal(size=(9, 64)), y=np.zeros((9, 10)))
    np.savez(tmp_path / "half.npz", x=np.zeros((9, 64)))
    assert "on 4 rows" in doctor("net", "--data", tmp_path / "own.npz", "--samples", 4, "--steps", 2).output
    assert "not x and y" in doctor("net", "--data", tmp_path / "half.npz").output


@pytest.mark.parametrize("name, arguments, words", [
    ("number", (), "is a int, neither"), ("nothing", (), "has no nothing"), ("net", ("--loss", "none"), "has no none"),
    ("net", ("--data", "number"), "a pair (inputs, targets), or a loader of pairs, not int"),
    ("broken", (), "net.py, line 8: KeyError: 'size'"), ("narrow", (), "linear: "),
    ("torn", (), "net.py, line 14: RuntimeError: only two lines"),
    ("net", ("--optimizer", "broken"), "net.py, line 8: KeyError: 'size'"),
    ("net", ("--loss", "torn"), "TypeError: Torn.forward() takes 2 positional arguments but 3 were given")])
def test_doctor_says_what_is_wrong(doctor, name, arguments, words):
    result = doctor(name, *arguments)
    assert result.exit_code == 2 and words in " ".join((result.output + result.stderr).split())
    assert "Traceback" not in result.stderr and type(result.exception) is SystemExit


@pytest.mark.parametrize("text, words", [
    ("import nothing_of_that_name", "net.py, line 1: ModuleNotFoundError: No module named 'nothing_of_that_name'"),
    ("x = (", "SyntaxError: '(' was never closed"), ("x = 1\n1 / 0", "net.py, line 2: ZeroDivisionError: division"),
    ("import sys\nsys.exit('give a folder')", "net.py, line 2: SystemExit: give a folder"),
    ("from microgradx import nn\nnn.Linear(-1, 2)", "net.py, line 2: Linear: ")])
def test_doctor_says_what_a_file_raises(doctor, tmp_path, text, words):
    (tmp_path / "net.py").write_text(text)
    result = doctor("net")
    assert result.exit_code == 2 and words in result.stderr and result.stderr.count("\n") == 1, result.stderr


def test_doctor_says_that_shapes_of_torch_do_not_fit(doctor, tmp_path):
    pytest.importorskip("torch")
    (tmp_path / "net.py").write_text("from torch import nn\nnet = nn.Linear(3, 4)\n")
    result = doctor("net")
    assert result.exit_code == 2 and "RuntimeError: mat1 and mat2 shapes cannot be multiplied" in result.stderr
    assert result.stderr.count("\n") == 1 and type(result.exception) is SystemExit


def test_doctor_takes_usual_names_for_what_they_are(doctor, tmp_path):
    """A loop at the end of a file leaves ``loss`` and ``batch`` behind."""
    (tmp_path / "net.py").write_text(NET.replace("batch = ", "loader = ") + """
loss, optimizer, scheduler, batch = 0.25, "adam", None, 3
""")
    found = doctor("net", "--steps", 5)
    assert found.exit_code in (0, 1) and "on 200 rows" in found.output and "SGD" in found.output, found.stderr


def test_doctor_draws_no_batch_to_choose_a_cost(doctor, tmp_path):
    (tmp_path / "net.py").write_text(NET.replace("batch = (x[:200], y[:200])", """
loader = ((x[k:k + 40], y[k:k + 40]) for k in range(0, 200, 40))
"""))
    assert "on 200 rows" in doctor("net", "--steps", 5).output

