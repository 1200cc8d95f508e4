"""The machine of worlds itself, and a short run of it."""
import os
import subprocess
import sys
from pathlib import Path

import pytest
import worlds

import microgradx as mgx
from microgradx.errors import CaptureError

PACKAGE = str(Path(mgx.__file__).resolve().parents[1])
EVERY = {kind for table in worlds.TABLES.values() for kind in table.kinds}


def pairs():
    """(table, place, kind, source) of whatever cases are made of."""
    for name, table in worlds.TABLES.items():
        for place in ("statements", "results", "forms", "changes", "around", "after"):
            yield from ((name, place, kind, source) for kind, source in getattr(table, place))
        for place in ("features", "arguments"):
            yield from ((name, place, kind, source) for own in getattr(table, place).values() for kind, source in own)


def test_every_entry_belongs_to_a_kind_that_has_entries():
    for name, table in worlds.TABLES.items():
        found = {kind for other, _, kind, _ in pairs() if other == name} - {None} | {table.keywords}
        assert found == set(table.kinds)


@pytest.mark.parametrize("name", worlds.TABLES)
def test_a_function_as_it_is_equals_itself(name, monkeypatch):
    monkeypatch.setattr(worlds.Log, "unchanged", lambda self: None)
    for seed in range(2):
        found = worlds.search(name, set(worlds.TABLES[name].kinds), seed, 60, compile=worlds.eager)
        assert found is None, found.script()


def stale(function, **options):
    """From the third call on the second result, and no effects."""
    results = []

    def call(*args, **kwargs):
        if len(results) < 2:
            results.append(worlds.eager(function)(*args, **kwargs))
        return results[-1]
    return call


def third_call(act):
    def compiled(function, **options):
        calls, inner = [], worlds.eager(function)

        def call(*args, **kwargs):
            calls.append(1)
            return act(inner, args, kwargs) if len(calls) == 3 else inner(*args, **kwargs)
        return call
    return compiled


def refuse(call, args, kwargs):
    raise CaptureError("compile: not this one")


def refuse_afterwards(call, args, kwargs):
    call(*args, **kwargs)
    raise CaptureError("compile: not this one")


def refuse_half_done(call, args, kwargs):
    mgx.manual_seed(99)
    raise CaptureError("compile: not this one")


def overdo(call, args, kwargs):
    result = call(*args, **kwargs)
    mgx.manual_seed(99)
    return result


def stumble(call, args, kwargs):
    raise KeyError("of no concern to the caller")


PLAIN = {"parameter", "captured", "linear"}


@pytest.mark.parametrize("wrong, kinds, what", [
    (stale, {"captured"}, "result"), (third_call(overdo), PLAIN, "effect"), (worlds.eager, PLAIN, "runs"),
    (third_call(refuse_half_done), PLAIN, "half done"), (third_call(stumble), PLAIN, "error")])
def test_faults_are_found_and_reduced(wrong, kinds, what):
    one = worlds.search("tensors", kinds, 0, 60, compile=wrong)
    assert one.what == what and len(one.case.phases) == 1 and not one.case.statements, one.line()
    assert one.case.phases[0].count == (10 if what == "runs" else 3)


@pytest.mark.parametrize("right", [third_call(refuse), third_call(refuse_afterwards)])
def test_refusals_are_no_faults(right, monkeypatch):
    monkeypatch.setattr(worlds.Log, "unchanged", lambda self: None)
    found = worlds.search("tensors", {"parameter", "backward", "optimizer", "mode", "dropout"}, 0, 60, compile=right)
    assert found is None, found.script()


def test_a_failure_is_a_script_of_its_own(tmp_path):
    one = worlds.search("tensors", {"own module", "dataclass"}, 0, 60, compile=stale)
    for compile, words, code in ("eager", "no difference", 0), ("wrong", "('", 1):
        script = tmp_path / f"{compile}.py"
        script.write_text(one.script().replace("found = difference(run)", f"""
    def wrong(function):
        call, kept = eager(function), []
        return lambda *a, **k: kept[1] if len(kept) > 1 else kept.append(call(*a, **k)) or kept[-1]
    found = difference(run, {compile})"""))
        done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, timeout=100,
                              env=os.environ | {"PYTHONPATH": PACKAGE})
        assert done.returncode == code and done.stdout.startswith(words), done.stderr


def test_all_kinds():
    found = worlds.run(EVERY, count=200, examples=12)
    assert not found, "\n\n".join(["\n".join(one.line() for one in found), *[one.script() for one in found]])
