"""profile: which launches ran, where they were called, what they moved and computed; and that it changes nothing."""
import json
import threading

import numpy as np
import pytest

import microgradx as mgx
from microgradx import Tensor, errors, nn, optim

F = nn.functional


def step_of(seed=0):
    net = nn.Sequential(nn.Linear(5, 7, rng=seed), nn.LayerNorm(7), nn.Tanh(), nn.Linear(7, 3, rng=seed + 1))
    opt = optim.Adam(net.parameters())
    x, y = Tensor(np.random.default_rng(0).normal(size=(4, 5)).astype("f4")), mgx.tensor([0, 1, 2, 0])

    def step():
        opt.zero_grad()
        loss = F.cross_entropy(net(x), y)
        loss.backward()
        opt.step()
        return loss
    return step, net


def test_what_ran_and_where():
    step, _ = step_of()
    with mgx.profile() as p:
        step()
    launches = [event.launch for event in p.events]
    assert {"gemm", "norm", "tanh", "cross_entropy", "norm_vjp", "adam", "count_steps"} <= set(launches)
    assert launches.count("adam") == 6 and launches.index("cross_entropy") < launches.index("cross_entropy_vjp")
    product = next(event for event in p.events if event.launch == "gemm")
    assert product.operation == "matmul" and product.flops == 2 * 4 * 7 * 5 and product.dtype == "float32"
    assert product.bytes == 4 * (4 * 5 + 5 * 7 + 4 * 7)
    assert product.line.startswith(__file__)
    assert all(event.seconds >= 0 and event.line.rpartition(":")[0] == __file__ for event in p.events)
    assert sum(event.seconds for event in p.events) == p.seconds <= p.elapsed
    adam = next(event for event in p.events if event.launch == "adam" and event.flops == 14 * 35)
    assert adam.bytes == 4 * 4 * 35 + 8 * 9                              # w, m, v and g; eight options and the step


def test_it_changes_nothing():
    (plain, net), (watched, other) = step_of(3), step_of(3)
    for _ in range(3):
        a = plain()
        with mgx.profile():
            b = watched()
        assert a.item() == b.item()
    for p, q in zip(net.parameters(), other.parameters()):
        assert p.tolist() == q.tolist()


def test_elementwise_by_tiles_numbers_and_in_place():
    x, row = mgx.ones(300, 20), mgx.ones(20)
    with mgx.profile() as p:
        x + row
        x * 2.0
        x.transpose(0, 1) + 1.0
        x.add_(row)
    assert [event.launch for event in p.events] == ["add", "mul", "add", "add"]
    assert [event.flops for event in p.events] == [6000.0] * 4
    assert [event.bytes for event in p.events] == [4 * 12020.0, 4 * 12000.0, 4 * 12000.0, 4 * 12020.0]


def test_replays_and_captures_are_seen():
    step, _ = step_of(5)
    compiled = mgx.compile(step)
    with mgx.profile() as p:
        compiled()
    eager = len(p.events)
    with mgx.profile() as p:
        compiled()                                                      # captures
    assert len(p.events) >= eager - 2
    with mgx.profile() as p:
        compiled()
    assert 0 < len(p.events) <= eager and {"gemm", "adam"} <= {event.launch for event in p.events}
    assert all(event.line.startswith(__file__) for event in p.events)


def test_what_is_fused_goes_by_the_names_of_its_rows():
    compiled, x = mgx.compile(lambda x: (x * 2.0 + 1.0).tanh()), mgx.ones(1000)
    for _ in range(3):
        with mgx.profile() as p:
            compiled(x)
    assert [(event.launch, event.flops, event.bytes) for event in p.events] == [("mul+add+tanh", 3000.0, 8000.0)]


def test_host_launches():
    x = mgx.ones(4, dtype="int64")
    with mgx.profile() as p:
        x.cumsum(0)
    assert [(event.launch, event.bytes, event.flops) for event in p.events] == [("host cumsum", None, None)]


def test_one_thread_nested_and_again():
    p, x = mgx.profile(), mgx.ones(3)

    def work():
        x.exp()
    with p:
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
        with mgx.profile() as inner:
            x.log()
        x.tanh()
    with p:
        x.sin()
    assert [event.launch for event in p.events] == ["tanh", "sin"] and [e.launch for e in inner.events] == ["log"]
    with pytest.raises(ValueError), mgx.profile():
        raise ValueError
    with mgx.profile() as p:
        pass
    assert p.events == [] and "0 launches" in str(p)


def test_table_and_trace(tmp_path):
    step, _ = step_of()
    with mgx.profile() as p:
        step()
    text = str(p)
    assert text.splitlines()[0].split() == ["operation", "dtype", "calls", "ms", "share", "GB/s", "of", "copy",
                                            "GFLOP/s", "of", "product"]
    assert "matmul" in text and f"{len(p.events)} launches" in text and "limits measured here" in text
    assert "loss.backward()" in p.table("line") and "cross_entropy_vjp" in p.table("launch")
    assert "and " in p.table("launch", most=2)
    with pytest.raises(errors.OptionError, match="by='row' is not"):
        p.table("row")
    p.trace(tmp_path / "trace.json")
    events = json.loads((tmp_path / "trace.json").read_text())["traceEvents"]
    assert len(events) == len(p.events) and {"name", "ph", "ts", "dur", "pid", "tid"} <= events[0].keys()
    assert all(a["ts"] <= b["ts"] for a, b in zip(events, events[1:]))


def test_not_within_a_capture():
    def f(x):
        with mgx.profile():
            return x + 1
    compiled = mgx.compile(f)
    compiled(mgx.ones(2))
    with pytest.raises(errors.CaptureError, match="profile"):
        compiled(mgx.ones(2))


def test_a_program_as_text():
    def f(x, w):
        return (x @ w).softmax(-1) + 1.0
    compiled, x, w = mgx.compile(f), mgx.ones(2, 3), mgx.ones(3, 4)
    for _ in range(3):
        compiled(x, w)
    text = str(compiled.programs[0])
    lines = text.splitlines()
    assert text == str(compiled.programs[0]) and len(lines) == 3
    assert lines[0].startswith("gemm float32 (0, 0, 2, 4, 3, 3, 4, 4, 1.0, 0.0): argument 0, argument 1 -> s0")
    assert lines[1].startswith("softmax float32 (2, 4): s0")
    assert lines[2].startswith("add float32 (8): ") and text.endswith("-> result 0")
    again = mgx.compile(f)
    for _ in range(3):
        again(mgx.ones(2, 3), w)
    assert str(again.programs[0]) == text
