"""The benchmark of the diagnosis: a fault for every verdict, figures that the pages quote, and what its shares mean."""
import json

import numpy as np
import pytest

from microgradx.flow import advice, verdicts

nets = pytest.importorskip("bench.diagnosis_nets", reason="the tests run without the source")
diagnosis = pytest.importorskip("bench.diagnosis")

OF_LOOPS = {advice.CLIPPED, advice.ENDED, advice.MODE, advice.NAN_LOSS, advice.PILES, advice.STILL}


@pytest.fixture(scope="module")
def found():
    return json.loads(diagnosis.RESULTS.read_text())


def test_the_pages_quote_the_recorded_figures(found):
    for page, passage in zip(diagnosis.PAGES, diagnosis.passages(found), strict=True):
        text = page.read_text(encoding="utf-8")
        assert text == diagnosis.with_passage(text, passage), "run python -m bench.diagnosis --pages"
    assert found["cuts"] == verdicts.CUTS, "the bounds are others now: run python -m bench.diagnosis --pages"


def test_the_recorded_figures_follow_from_the_nets(found):
    nets = diagnosis.counted(found["nets"])
    sick = [n for n in nets if not n["trains"]]
    planted = [n for n in sick if n["fault"]]
    ours = found["rules"]["flow.diagnose"]
    assert ours["recall"]["share"] == pytest.approx(diagnosis.wilson(sum(n["alarm"] for n in sick), len(sick)))
    named = found["sick nets"]["the verdict names the planted fault"]
    assert (named["hits"], named["of"]) == (sum(n["named"] for n in planted), len(planted))
    assert len(found["nets"]) == found["judged"] and len(sick) == found["sick"]


def test_the_recorded_figures_are_worth_quoting(found):
    ours, sick = found["rules"]["flow.diagnose"], found["sick nets"]
    assert ours["recall"]["share"][0] >= 0.9 and ours["precision"]["share"][0] >= 0.95
    assert sick["the verdict names the planted fault"]["share"][0] >= 0.9
    assert sick["the first prescription makes it train"]["share"][0] >= 0.65
    assert sick["of the ticked cures, it trains with"]["share"][0] >= 0.9


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
