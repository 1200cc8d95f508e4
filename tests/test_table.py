"""The table of operations is well formed, closed under differentiation, documented, bounded and benchmarked."""
import ast
import inspect
import math
import re
from pathlib import Path

import pytest
from samples import OTHERS, ROWS, SMOOTH, TRUTH

import microgradx as mgx
from microgradx._core import ops

pytestmark = pytest.mark.short
CSRC = Path(__file__).parents[1] / "csrc"
STUB = Path(ops.__file__).with_name("ops.pyi")
TEXTS = [(name, k) for name in SMOOTH for k in range(ROWS[name]["arity"])]
OPERANDS = {1: {"x", "y"}, 2: {"a", "b", "y"}, 3: {"a", "b", "c", "y"}}


def check(node, names, comparison=False):
    """A derivative is + - * /, unary minus, calls of rows, K(c), operands; a comparison as first of where()."""
    match node:
        case ast.BinOp(left, ast.Add() | ast.Sub() | ast.Mult() | ast.Div(), right):
            check(left, names)
            check(right, names)
        case ast.UnaryOp(ast.USub(), operand):
            check(operand, names)
        case ast.Compare(left, [_], [right]) if comparison:
            check(left, names)
            check(right, names)
        case ast.Call(ast.Name("K"), [ast.Constant(int() | float())] | [ast.UnaryOp(ast.USub(), ast.Constant())], []):
            pass
        case ast.Call(ast.Name("where"), [condition, a, b], []):
            assert isinstance(condition, ast.Compare)
            check(condition, names, comparison=True)
            check(a, names)
            check(b, names)
        case ast.Call(ast.Name(word), arguments, []):
            assert word in ROWS, f"{word} is no row"
            assert len(arguments) == ROWS[word]["arity"]
            for argument in arguments:
                check(argument, names)
        case ast.Name(word):
            assert word in names, f"{word} is no operand"
        case _:
            raise AssertionError(f"{ast.unparse(node)} is not in the grammar")


@pytest.mark.parametrize("name, k", TEXTS)
def test_derivative_keeps_to_the_grammar(name, k):
    text = ROWS[name]["derivative"][k]
    check(ast.parse(text.strip(), mode="eval").body, OPERANDS[ROWS[name]["arity"]])


@pytest.mark.parametrize("text", ["x if y else K(1)", "2*x", "x**K(2)", "x < y", "K(x)", "fresh(x)", "exp(x, y)",
                                  "where(x, y, x)", "where(K(0) < x < K(1), x, y)", "z", "x > K(0) and y", "x.y"])
def test_the_grammar_refuses(text):
    with pytest.raises(AssertionError):
        check(ast.parse(text, mode="eval").body, {"x", "y"})


def test_three_operands_never_name_the_result():                # their loops and rules do not have it
    for name, k in TEXTS:
        if ROWS[name]["arity"] == 3:
            assert not re.search(r"\by\b", ROWS[name]["derivative"][k]), name


@pytest.mark.parametrize("name", ROWS)
def test_row_is_a_documented_method_and_function(name):
    method = getattr(ops.Differentiable, name)
    documentation = inspect.getdoc(method)
    assert documentation and "y =" in documentation
    assert ROWS[name]["kind"] == "C" or "Gradient" in documentation
    assert callable(getattr(mgx, name))


@pytest.mark.parametrize("name", ROWS)
def test_bounds_are_stated(name):
    row = ROWS[name]
    assert row["lo"] < row["hi"]
    for bound in (row["ulp"], row["dulp"]):
        assert bound == -1 or 0 <= bound <= 12 and math.isfinite(bound)


def libm_words():
    """Words that call the C library per element, found in the sources."""
    header = (CSRC / "words.h").read_text() + (CSRC / "elementwise.inl").read_text()
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
    source = re.findall(r"^[UDHBTC]\((\w+),", (CSRC / "ops.def").read_text(), re.M)
    assert source == list(ROWS)
    assert set(TRUTH) == set(SMOOTH)
    assert all(len(ranges) == ROWS[name]["arity"] - 1 for name, ranges in OTHERS.items())


def test_every_row_is_benchmarked():
    from bench import bench_ops
    assert {op["name"] for op in bench_ops.table()} == set(ROWS)
    assert all(callable(bench_ops.of_ours(name)) for name in ROWS)
    benchmarked = {row.tags["op"] for row in bench_ops.rows(quick=True)}
    assert benchmarked == set(ROWS)


def stubs():
    tree = ast.parse(STUB.read_text())
    body = next(n for n in tree.body if isinstance(n, ast.ClassDef) and n.name == "Differentiable").body
    return {n.name: [a.arg for a in n.args.args] for n in body if isinstance(n, ast.FunctionDef)}


@pytest.mark.parametrize("name", ROWS)
def test_stub_has_the_parameters_of_the_method(name):
    assert stubs()[name] == list(inspect.signature(getattr(ops.Differentiable, name)).parameters)
