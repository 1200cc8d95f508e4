"""The table of operations is well formed, closed under differentiation, documented, bounded and benchmarked."""
import ast
import inspect
import math
import re
import runpy
from pathlib import Path
from types import SimpleNamespace

import pytest
from samples import ENDS, OTHERS, ROWS, SMOOTH, TRUTH, UNARY

import microgradx as mgx
from microgradx._core import ops

pytestmark = pytest.mark.short
ROOT = Path(__file__).parents[1]
CSRC = ROOT / "csrc"
STUB = Path(ops.__file__).with_name("ops.pyi")
generate = SimpleNamespace(**runpy.run_path(str(ROOT / "tools" / "generate.py")))
SOURCE = (CSRC / "ops.def").read_text()
TABLE = generate.read_table(SOURCE)
WORDS = generate.read_words()


def faults(source=SOURCE):
    return [*generate.find_faults(generate.read_table(source), WORDS)]


def test_the_generator_reads_what_the_preprocessor_reads():
    for row, made in zip(TABLE, ROWS.values(), strict=True):
        kind, name, forward, doc, (lo, hi, ulp, dulp) = row.kind, row.name, row.forward, row.doc, row.bounds
        assert made | dict(kind=kind, name=name, forward=forward, doc=doc, lo=lo, hi=hi, ulp=ulp, dulp=dulp) == made
        assert made["kind"] == "C" or made["derivative"] == row.derivative


def test_no_row_is_faulty():
    assert faults() == []


@pytest.mark.parametrize("text, said", [
    ("x if y else K(1)", r"write it with \+ - \* /, rows"), ("2*x", r"write K\(2\)"), ("x**K(2)", "write it with"),
    ("x < y", "write it with"), ("K(x)", "K takes one number"), ("fresh(x)", "no row; .* add a row fresh"),
    ("exp(x, y)", "with 2 operands; the row exp has 1"), ("where(x, y, x)", "write one comparison"),
    ("where(K(0) < x < K(1), x, y)", "write it with"), ("z", "names z, .* write it with x and y"),
    ("x > K(0) and y", "write it with"), ("x.y", "write it with"), ("x +", "not Python"),
    ("where(x > y, x*NONE, y)", "NONE within an expression"), ("NONE", "NONE within an expression"),
    ("gt(x, y)", r"cannot call; .* define gt in csrc/words\.h")])
def test_the_grammar_refuses(text, said):
    arities = {name: row["arity"] for name, row in ROWS.items()}
    with pytest.raises(generate.Fault, match=said):
        generate.check_expression(text, "xy", arities, WORDS)


@pytest.mark.parametrize("old, new, said", [
    ("K(0.5)/y", "K(0.5)/b", r"sqrt: the derivative by x, K\(0\.5\)/b, names b, which this row does not have; "
                             "write it with x and y, where y is the result$"),
    ("K(1) - c, c, b - a,", "K(1) - c, c, y - a,", "lerp: the derivative by c, y - a, names y, .* with a and b and c$"),
    ("U(exp2,", "U(exp,", r"exp: the row in line \d+ has this name too; give one of them another name, or take it out"),
    ("K(2)*x,", "twice(x),", r"square: the derivative by x, twice\(x\), calls twice\(\), which is no row; write it"),
    ("sign(x),              NONE", "cmp(x), NONE", r"sign: the value calls cmp\(\), which csrc/words\.h does not"),
    ("a + b,", "a + x,", "add: the value names x, which a row B does not have; write it with a and b$"),
    ("(end, weight)", "(end)", r"lerp: the parameters are \(end\); write one name"),
    ("Gradient: 2*x.", "", "square: the doc lacks the formula or the gradient; write")])
def test_a_faulty_row_is_told_in_a_sentence(old, new, said):
    assert SOURCE.count(old) == 1
    (sentence,) = faults(SOURCE.replace(old, new))
    assert re.match(rf"csrc/ops\.def:\d+: {said}", sentence), sentence


@pytest.mark.parametrize("old, new, said", [
    ("K(2)*x, ", "K(2)*x", r"\d+: square: a row U has 8 columns, name, forward, dx, .*; this one has 7"),
    ("U(neg,", "N(neg,", r"\d+: 'N' begins no row"),
    ("K(2)*x, ", "K(2)*x), ", r"\d+: square: a row U has 8 columns"),
    ('"y = x*x. Gradient: 2*x."', "y = x*x", r"\d+: square: lo, hi, ulp and dulp are numbers, doc is a string"),
    ('"y = mish\'(x).', '("y = mish\'(x).', r"\d+: the parentheses of this row are not closed")])
def test_what_is_no_row_is_told_in_a_sentence(old, new, said):
    assert SOURCE.count(old) == 1
    with pytest.raises(generate.Fault, match=rf"csrc/ops\.def:{said}"):
        generate.read_table(SOURCE.replace(old, new))


@pytest.mark.parametrize("name", ROWS)
def test_row_is_a_documented_method_and_function(name):
    method = getattr(ops.Differentiable, name)
    documentation = inspect.getdoc(method)
    assert documentation == f"Differentiable.{name}{inspect.signature(method)}\n\n{ROWS[name]['doc']}"
    assert callable(getattr(mgx, name))


@pytest.mark.parametrize("name", ROWS)
def test_bounds_are_stated(name):
    row = ROWS[name]
    assert row["lo"] < row["hi"]
    for bound in (row["ulp"], row["dulp"]):
        assert bound == -1 or 0 <= bound <= 12 and math.isfinite(bound)


def libm_words():
    """Words that call the C library per element, found in the sources."""
    header = (CSRC / "words.h").read_text() + (CSRC / "words.inl").read_text()
    calls = {name for name, body in re.findall(r"#define (\w+)\([^)]*\) (.*)", header) if "LIBM(" in body}
    functions = re.findall(r"REAL V\((\w+)\)\([^)]*\)\s*\{(.*?)\}", header, re.S)
    calls |= {name for name, body in functions if "LIBM(" in body}
    return calls - {"abs", "sqrt", "floor", "ceil", "round", "trunc"} | {"LIBM"}    # one instruction


@pytest.mark.parametrize("name", ROWS)
def test_a_row_that_calls_libm_says_so(name):
    row = ROWS[name]
    called = set(re.findall(r"\w+(?=\()", row["forward"]))
    assert row["libm"] == bool(called & libm_words())


def test_names_are_unique_and_truths_complete():
    assert [row.name for row in TABLE] == list(ROWS)
    assert set(TRUTH) == set(SMOOTH) and set(ENDS) == set(UNARY)
    assert all(len(ranges) == ROWS[name]["arity"] - 1 for name, ranges in OTHERS.items())


def test_every_row_is_benchmarked():
    from bench import bench_ops
    assert {op["name"] for op in bench_ops.table()} == set(ROWS)
    assert all(callable(bench_ops.of_ours(name)) for name in ROWS)
    benchmarked = {row.tags["op"] for row in bench_ops.rows(quick=True)}
    assert benchmarked == {*ROWS, *bench_ops.POWERS}


def stubs():
    tree = ast.parse(STUB.read_text())
    body = next(n for n in tree.body if isinstance(n, ast.ClassDef) and n.name == "Differentiable").body
    return {n.name: [a.arg for a in n.args.args] for n in body if isinstance(n, ast.FunctionDef)}


@pytest.mark.parametrize("name", ROWS)
def test_stub_has_the_parameters_of_the_method(name):
    assert stubs()[name] == list(inspect.signature(getattr(ops.Differentiable, name)).parameters)


def test_mul_no_nan_has_its_former_name_too():
    for x, d in ((0.0, math.inf), (0.0, math.nan), (2.0, 3.0)):
        assert mgx.Value(x).chain(d).data == mgx.Value(x).mul_no_nan(d).data == mgx.chain(x, mgx.Value(d)).data
        assert mgx.chain(mgx.Tensor([x]), d).item() == mgx.mul_no_nan(mgx.Tensor([x]), d).item()
    assert "chain" not in ROWS
