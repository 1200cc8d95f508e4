"""The benchmark of the diagnosis: a fault for every verdict, figures that the pages quote, and what its shares mean."""
import json
from pathlib import Path

import numpy as np
import pytest

from microgradx.flow import advice, verdicts

nets = pytest.importorskip("bench.diagnosis_nets", reason="the tests run without the source")
diagnosis = pytest.importorskip("bench.diagnosis")

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "bench/results/diagnosis.json"
OF_LOOPS = {advice.CLIPPED, advice.ENDED, advice.MODE, advice.NAN_LOSS, advice.PILES, advice.STILL}


@pytest.fixture(scope="module")
def found():
    return json.loads(RESULTS.read_text())


def test_the_readme_quotes_the_recorded_figures(found):
    text = " ".join((ROOT / "README.md").read_text(encoding="utf-8").split())
    ours, sick = found["rules"]["flow.diagnose"], found["sick nets"]
    best = next(of for name, of in sick.items() if "best constant" in name)
    learned = found["rules"]["learned in 100 steps (training alone)"]["recall"]
    for of in (ours["recall"], ours["precision"], sick["the verdict names the planted fault"], best,
               sick["the first prescription makes it train"], learned):
        assert of["share"] == pytest.approx(diagnosis.wilson(of["hits"], of["of"]))
        assert diagnosis.quoted(of) in text, diagnosis.quoted(of)
    assert f"{found['judged']} nets of six families" in text


def test_the_page_has_the_recorded_tables(found):
    assert found["cuts"] == verdicts.CUTS, "the bounds are others now: run python -m bench.diagnosis again"
    text = (ROOT / "docs/diagnosis.md").read_text(encoding="utf-8")
    for lines in diagnosis.tables(found):
        assert "\n".join(lines) in text
    told = (f"These are {found['judged']} nets of seed {found['seed']}, the commit that froze the rules: "
            f"{found['sick']} do not train, {found['sound']} do, and {found['mild']} train in spite of their fault")
    flat = " ".join(text.split())
    assert told in flat and f"on {found['choosing']} other nets" in flat
    assert f"{found['date']}, {found['machine']}" in flat and found["seed"] == diagnosis.SEED


def test_every_verdict_on_a_net_has_a_fault():
    planted = {verdict for fault in nets.FAULTS.values() for verdict in fault.right}
    assert set(verdicts.VERDICTS) - OF_LOOPS - planted == {advice.HEALTHY}
    assert planted <= set(verdicts.VERDICTS)


@pytest.mark.parametrize("name", [name for name, fault in nets.FAULTS.items() if "microgradx" in fault.frameworks])
def test_a_fault_is_built_and_trained_alike_each_time(name):
    k = next(k for k in range(1, 4000, 2)
             if (spec := nets.drawn(0, k)).fault == name and spec.framework == "microgradx")
    assert nets.drawn(0, k) == nets.drawn(0, k)
    with np.errstate(all="ignore"):
        scores = [nets.Training(nets.drawn(0, k), 1).score(3, 8) for _ in range(2)]
    assert scores[0] == scores[1] and 0 <= scores[0] <= 1


def test_every_fault_comes_in_every_family_that_it_fits():
    """In both frameworks, whatever their number."""
    longest = max(len([f for f in nets.FAULTS.values() if family in f.families]) for family in nets.FAMILIES)
    count = 2 * len(nets.FAMILIES) * len(nets.FRAMEWORKS) * longest
    drawn = {(spec.family, spec.framework, spec.fault) for k in range(1, count, 2) if (spec := nets.drawn(5, k))}
    assert drawn == {(family, framework, name) for name, fault in nets.FAULTS.items() for family in fault.families
                     for framework in nets.FRAMEWORKS if framework in fault.frameworks}


def test_every_other_net_has_a_fault_and_all_families_come():
    drawn = [nets.drawn(5, k) for k in range(48)]
    assert [spec.fault is None for spec in drawn] == [True, False] * 24
    assert {spec.family for spec in drawn} == set(nets.FAMILIES)
    assert {spec.framework for spec in drawn} == set(nets.FRAMEWORKS)


def test_shares():
    assert diagnosis.wilson(0, 0) == (None, 0.0, 1.0)
    assert diagnosis.wilson(9, 10) == pytest.approx((0.9, 0.5958, 0.9821), abs=1e-4)     # of a table
    found = diagnosis.judged([True, True, False, False], [True, False, True, False])
    assert (found["recall"]["hits"], found["recall"]["of"]) == (1, 2) == (
        found["precision"]["hits"], found["precision"]["of"])
    assert found["balanced"] == 0.5


def test_a_net_with_a_fault_that_trains_is_not_counted():
    known = [{"trains": trains, "fault": fault} for trains in (True, False) for fault in (None, "a cut")]
    assert diagnosis.counted(known) == [known[0], *known[2:]]


def test_lines_of_a_cure_are_run_as_they_are_pasted():
    spec = nets.Spec("MLP", "microgradx", data="digits", optimizer="SGD", rate=1e-6)
    with np.errstate(all="ignore"):
        assert not diagnosis.reaches(spec, 0.6)
        assert diagnosis.reaches(spec, 0.6, ["for group in optimizer.param_groups:", '    group["lr"] *= 1e5'])
        assert not diagnosis.reaches(spec, 0.6, ["model.nothing()"])
