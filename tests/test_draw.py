"""The text for Graphviz, and what happens with and without its program."""
import os
import stat

import pytest

import microgradx as mgx
from microgradx.draw import draw
from microgradx.errors import DTypeError, OptionError


def lines(text, word):
    return [line.strip() for line in text.splitlines() if word in line]


def test_nodes_operations_and_order():
    a, b = mgx.Value(2.0, label="a"), mgx.Value(-3.0, label="b")
    y = (a - b * a).tanh()
    y.backward()
    text = draw(y)
    assert text.startswith("digraph {") and text.endswith("}")
    assert sorted(line.split('label=')[1] for line in lines(text, "circle")) == ['"*"];', '"-"];', '"tanh"];']
    assert len(lines(text, "record")) == 5                       # a stands once although it is used twice
    named = [line for line in lines(text, "| data") if "{ data" not in line]
    box = {line.split("{ ")[1].split(" |")[0]: line.split()[0] for line in named}
    minus = lines(text, 'label="-"')[0].split()[0]
    assert lines(text, f"-> {minus};")[0] == f"{box['a']} -> {minus};"          # a - ..., not ... - a
    assert f"grad {a.grad:.6g}" in text and f"data {y.data:.6g}" in text


def test_numbers_and_many_operands():
    x = [mgx.Value(float(k)) for k in range(5)]
    text = draw(mgx.dot([1.0, 2.0, 3.0, 4.0, 5.0], x) + 7)
    assert len(lines(text, "style=dotted")) == 6 and '"{ 7 }"' in text          # and the five weights
    assert len(lines(text, "-> o1;")) == 10 and 'label="dot"' in text
    twice = draw(x[1] * x[1])
    assert len(lines(twice, "n1 -> o0;")) == 2
    assert len(lines(draw(mgx.Value(1.0) + 1 + 1), "style=dotted")) == 2        # equal numbers are not one box


def test_deep_graphs_need_no_recursion():
    y = mgx.Value(1.0)
    for _ in range(20_000):
        y = y + 1
    assert len(lines(draw(y), "circle")) == 20_000


def test_labels_are_escaped():
    text = draw(mgx.Value(1.0, label='{"a|b"}<\\>\n'))
    assert r'"{ \{\"a\|b\"\}\<\\\>\n | data 1 | grad 0 }"' in text


def test_refusals(tmp_path, monkeypatch):
    with pytest.raises(DTypeError, match="Tensor"):
        draw(mgx.Tensor([1.0]))
    with pytest.raises(OptionError, match="png"):
        draw(mgx.Value(1.0), format="png")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(OptionError, match="not installed"):
        draw(mgx.Value(1.0), format="svg")
    with pytest.raises(OptionError, match="not installed"):
        draw(mgx.Value(1.0), path=tmp_path / "graph.svg")
    assert not (tmp_path / "graph.svg").exists()


@pytest.mark.skipif(os.name == "nt", reason="stands in for dot with a shell script")
def test_svg_comes_from_dot(tmp_path, monkeypatch):
    program = tmp_path / "dot"
    program.write_text('#!/bin/sh\n[ "$1" = -Tsvg ] && read line && echo "<svg>$line</svg>"\n')
    program.chmod(program.stat().st_mode | stat.S_IEXEC)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert draw(mgx.Value(1.0), path=tmp_path / "graph.svg") == "<svg>digraph {</svg>\n"
    assert (tmp_path / "graph.svg").read_text() == "<svg>digraph {</svg>\n"
    program.write_text("#!/bin/sh\necho bad >&2\nexit 3\n")
    with pytest.raises(OptionError, match="dot failed: bad"):
        draw(mgx.Value(1.0), format="svg")


def test_path_writes_the_text(tmp_path):
    y = mgx.Value(1.0) + 1
    assert draw(y, path=tmp_path / "graph.dot") == (tmp_path / "graph.dot").read_text()
