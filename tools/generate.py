#!/usr/bin/env python3
"""Write what the table of elementwise operations, csrc/ops.def, can write of the sources.

    python tools/generate.py            renews the regions below; csrc/ops.def is the file to edit
    python tools/generate.py --check    writes nothing; exits with 1 if a row is wrong or a region is not renewed

A region lies between two lines that name this script:

    microgradx/_core/kernels.pxd        the opcodes, MGX_exp ...
    microgradx/_core/ops.pyx            the methods of Differentiable, with the docstrings of the rows
    microgradx/_core/ops.pyi            their stubs

It needs the standard library alone, and reads the table itself: what is built may be older than the table.
"""
import ast
import re
import sys
import textwrap
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]
TABLE, WORDS = Path("csrc/ops.def"), Path("csrc/words.h")
WIDTH = 120

BEGIN = "# Written by tools/generate.py from csrc/ops.def: edit that, then run `python tools/generate.py`."
END = "# The end of what tools/generate.py writes."

COLUMNS = {kind: (*columns.split(), "lo", "hi") for kind, columns in {
    "U": "name forward dx", "D": "name forward dx", "H": "name forward dx",
    "B": "name forward da db", "P": "name forward da db", "T": "name forward da db dc", "C": "name forward"}.items()}
COLUMNS = {kind: columns + ("ulp", "dulp") * (kind != "C") + ("parameters",) * (kind in "BPTC") + ("doc",)
           for kind, columns in COLUMNS.items()}
OPERANDS = {"U": "x", "D": "x", "H": "x", "B": "ab", "P": "ab", "T": "abc", "C": "ab"}
NAMED = {kind: OPERANDS[kind] + "y" * (kind in "UDHBP") for kind in COLUMNS}         # by a derivative; y is the result


class Method(NamedTuple):
    """A method whose body is written by hand: what it returns, and its parameters where they are not operands."""
    returns: str
    parameters: str | None = None
    stub: str | None = None


BY_HAND = {
    "gelu": Method("apply_gelu(self, approximate)", '(approximate="none")',
                   'approximate: Literal["none", "tanh"] = "none"'),    # chooses between two rows
    "pow": Method("power(self, exponent)"),                             # squares are a row of their own
    "clip": Method("apply_clip(self, lo, hi)"),                         # either side may be open
}


class Fault(Exception):
    """Something in the table that is wrong, in a sentence that says what to write."""


class Row(NamedTuple):
    kind: str
    line: int
    section: str
    name: str
    forward: str
    derivative: list[str]       # one per operand; of a comparison none
    bounds: list[float]         # lo, hi, ulp, dulp
    parameters: str             # of the method, in parentheses
    doc: str

    @property
    def place(self):
        return f"{TABLE}:{self.line}: {self.name}"


# ----- reading the table -----------------------------------------------------------------------------------------

TOKEN = re.compile(r'(?P<comment>/\*.*?\*/)|(?P<string>"(?:\\.|[^"\\\n])*")|(?P<space>\s+)|(?P<word>\w+)|(?P<sign>.)',
                   re.S)


def tokens(text):
    """(kind, text, line) of every token."""
    line = 1
    for match in TOKEN.finditer(text):
        yield match.lastgroup, match.group(), line
        line += match.group().count("\n")


def read_table(text):
    """The rows, in order. A comment of one line between rows is the heading of a section."""
    rows, section = [], ""
    stream = iter([*tokens(text)])
    for kind, token, line in stream:
        if kind == "comment":
            section = token[2:-2].strip() if "\n" not in token else section
        elif token in COLUMNS:
            rows.append(read_row(token, line, section, read_columns(stream, f"{TABLE}:{line}")))
        elif kind != "space":
            raise Fault(f"{TABLE}:{line}: {token!r} begins no row; a row begins with one of {', '.join(COLUMNS)}, "
                        "and its parentheses are closed")
    return rows


def read_columns(stream, place):
    """The columns of a row as text, with the space of the preprocessor: what stands between commas, one level deep."""
    columns, depth = [""], 0
    for kind, token, _ in stream:
        if depth == 0 and token != "(":
            break
        depth += (token == "(") - (token == ")")
        if depth == 0:
            return [column.strip() for column in columns]
        if token == "," and depth == 1:
            columns.append("")
        elif kind in ("space", "comment"):
            columns[-1] += " " if columns[-1][-1:] not in ("", " ") else ""
        elif token != "(" or depth > 1:
            columns[-1] += token
    raise Fault(f"{place}: the parentheses of this row are not closed")


def read_row(kind, line, section, columns):
    names = COLUMNS[kind]
    if len(columns) != len(names):
        raise Fault(f"{TABLE}:{line}: {columns[0]}: a row {kind} has {len(names)} columns, {', '.join(names)}; "
                    f"this one has {len(columns)}")
    row = dict(zip(names, columns))
    try:
        bounds = [float(row.get(name, 0)) for name in ("lo", "hi", "ulp", "dulp")]
        strings = [token for word, token, _ in tokens(row["doc"]) if word != "space"]
        doc = "".join(ast.literal_eval(string) for string in strings)
        if not all(string.startswith('"') for string in strings):
            raise ValueError
    except (ValueError, SyntaxError):
        raise Fault(f"{TABLE}:{line}: {row['name']}: lo, hi, ulp and dulp are numbers, doc is a string in double "
                    "quotes") from None
    return Row(kind, line, section, row["name"], row["forward"], [row[d] for d in ("dx", "da", "db", "dc") if d in row],
               bounds, row.get("parameters", "()"), doc)


def read_words():
    """The words that values may call, and derivatives if they are rows."""
    return set(re.findall(r"^#define (\w+)\(", (ROOT / WORDS).read_text(), re.M))


# ----- checking it -----------------------------------------------------------------------------------------------

def find_faults(rows, words):
    """A sentence for each row that is wrong; ``words`` are those that csrc/words.h defines."""
    arities, first = {row.name: len(OPERANDS[row.kind]) for row in rows}, {}
    for row in rows:
        if row.name in first:
            yield (f"{row.place}: the row in line {first[row.name]} has this name too; give one of them another name, "
                   "or take it out")
        first.setdefault(row.name, row.line)
        for check in (check_forward, check_derivatives, check_method):
            try:
                check(row, words, arities)
            except Fault as fault:
                yield f"{row.place}: {fault}"


def check_forward(row, words, arities):
    text = re.sub(r"LIBM\(\w+\)", "", row.forward)
    for word, call in re.findall(r"\b([A-Za-z_]\w*)(\s*\()?", text):
        if call and word not in words:
            raise Fault(f"the value calls {word}(), which {WORDS} does not define; write it with the words there, or "
                        f"define {word} there")
        if not call and word not in OPERANDS[row.kind]:
            raise Fault(f"the value names {word}, which a row {row.kind} does not have; write it with "
                        f"{' and '.join(OPERANDS[row.kind])}")


def check_derivatives(row, words, arities):
    for operand, text in zip(OPERANDS[row.kind], row.derivative):
        try:
            check_expression(text, NAMED[row.kind], arities, words, choice=True)
        except Fault as fault:
            raise Fault(f"the derivative by {operand}, {text}, {fault}") from None


def check_expression(text, operands, arities, words=None, choice=False):
    """A derivative is + - * /, unary minus, calls of rows, K(c), operands; one comparison as first of where(). With
    ``choice`` it may be NONE, or a where() that gives NONE."""
    def check(node, comparison=False, choice=False):
        match node:
            case ast.Name("NONE"):
                if not choice:
                    raise Fault("has NONE within an expression; it stands by itself, or is what an outermost where() "
                                "gives")
            case ast.BinOp(left, ast.Add() | ast.Sub() | ast.Mult() | ast.Div(), right):
                check(left), check(right)
            case ast.UnaryOp(ast.USub(), operand):
                check(operand)
            case ast.Compare(left, [_], [right]) if comparison:
                check(left), check(right)
            case ast.Call(ast.Name("K"), [ast.Constant(int() | float())], []):
                pass
            case ast.Call(ast.Name("K"), [ast.UnaryOp(ast.USub(), ast.Constant(int() | float()))], []):
                pass
            case ast.Call(ast.Name("K")):
                raise Fault(f"has {ast.unparse(node)}; K takes one number, whole or decimal")
            case ast.Call(ast.Name("where"), [condition, a, b], []):
                if not isinstance(condition, ast.Compare):
                    raise Fault(f"has {ast.unparse(condition)} as the condition of where(); write one comparison there")
                check(condition, comparison=True)
                check(a, choice=choice), check(b, choice=choice)
            case ast.Call(ast.Name(word), arguments, []):
                if word not in arities:
                    raise Fault(f"calls {word}(), which is no row; write it with rows, or add a row {word}")
                if words is not None and word not in words:
                    raise Fault(f"calls {word}(), a row that loops cannot call; write it out, or define {word} in "
                                f"{WORDS}")
                if len(arguments) != arities[word]:
                    raise Fault(f"calls {word}() with {len(arguments)} operands; the row {word} has {arities[word]}")
                for argument in arguments:
                    check(argument)
            case ast.Name(word):
                if word not in operands:
                    raise Fault(f"names {word}, which this row does not have; write it with {' and '.join(operands)}"
                                + ", where y is the result" * ("y" in operands))
            case ast.Constant(int() | float()):
                raise Fault(f"has a number by itself; write K({ast.unparse(node)})")
            case _:
                raise Fault(f"has {ast.unparse(node)}; write it with + - * /, rows, K(c), and one comparison as the "
                            "first operand of where()")
    try:
        tree = ast.parse(text, mode="eval")
    except SyntaxError:
        raise Fault("is not Python; write it in the subset of C that is also Python") from None
    check(tree.body, choice=choice)


def check_method(row, words, arities):
    count = len(OPERANDS[row.kind]) - 1
    try:
        names = [name for name, _ in read_parameters(row.parameters)]
    except SyntaxError:
        names = None
    if names is None or len(names) != count:
        raise Fault(f"the parameters are {row.parameters}; write one name, with or without a default, for each operand "
                    f"after the first: {'(other)' if count == 1 else '(lo=-1.0, hi=1.0)'}")
    if "y =" not in row.doc or row.kind != "C" and "Gradient" not in row.doc:
        raise Fault("the doc lacks the formula or the gradient; write \"y = ... Gradient: ...\"")


def read_parameters(text):
    """[(name, default or None)] of parameters in parentheses."""
    a = ast.parse(f"def method{text}: pass").body[0].args
    defaults = [None] * (len(a.args) - len(a.defaults)) + [ast.get_source_segment(f"def method{text}: pass", d)
                                                           for d in a.defaults]
    return [(arg.arg, default) for arg, default in zip(a.args, defaults)]


# ----- writing ---------------------------------------------------------------------------------------------------

def write_opcodes(rows):
    yield "enum:"
    yield from textwrap.wrap(", ".join(f"MGX_{row.name}" for row in rows), WIDTH - 8, initial_indent="    ",
                             subsequent_indent="    ")


def write_docstring(doc):
    text = doc.replace("\\", "\\\\").replace('"""', r'\"\"\"')
    apart = "\n\n" in text or text.endswith('"')        # the closing quotes stand by themselves
    return f'"""{text}{chr(10) * apart}"""'.split("\n")


def write_methods(rows):
    section = None
    for row in rows:
        if row.section != section:
            section = row.section
            yield from ([f"# ----- {section} ".ljust(WIDTH - 9, "-"), ""])
        method = BY_HAND.get(row.name, Method("", None))
        parameters = read_parameters(method.parameters or row.parameters)
        operands = ", ".join(["self", *(name for name, _ in parameters), "None", "None"][:3])
        given = [name if default is None else f"{name}={default}" for name, default in parameters]
        yield f"def {row.name}({', '.join(['self', *given])}):"
        yield from indented(write_docstring(row.doc))
        yield f"    return {method.returns or f'apply(MGX_{row.name}, {operands})'}"
        yield ""


def write_stubs(rows):
    section = None
    for row in rows:
        if row.section != section:
            yield from ([""] if section is not None else [])
            section = row.section
            yield f"# {section}"
        stub = BY_HAND[row.name].stub if row.name in BY_HAND else None
        typed = [stub] if stub else [
            f"{name}: Operand" if default is None else f"{name}: Operand | None = None" if default == "None" else
            f"{name}: Operand = {default}" for name, default in read_parameters(row.parameters)]
        yield f"def {row.name}({', '.join(['self', *typed])}) -> Self: ..."


def indented(lines):
    return [f"    {line}" if line else "" for line in lines]


REGIONS = {Path("microgradx/_core/kernels.pxd"): write_opcodes, Path("microgradx/_core/ops.pyx"): write_methods,
           Path("microgradx/_core/ops.pyi"): write_stubs}


def renewed(path, rows):
    """The text of the file with its region as the rows have it."""
    text = (ROOT / path).read_text()
    found = re.findall(rf"^( *){re.escape(BEGIN)}\n([\s\S]*?)^\1{re.escape(END)}\n", text, re.M)
    if len(found) != 1:
        raise Fault(f"{path}: the region that this script writes is gone; put back the line {BEGIN!r} and, behind it, "
                    f"the line {END!r}")
    indent, old = found[0]
    lines = "".join(f"{indent}{line}".rstrip() + "\n" for line in REGIONS[path](rows))
    return text.replace(f"{BEGIN}\n{old}{indent}{END}", f"{BEGIN}\n{lines}{indent}{END}")


def main(check):
    rows = read_table((ROOT / TABLE).read_text())
    if faults := [*find_faults(rows, read_words())]:
        raise Fault("\n".join(faults))
    texts = {path: renewed(path, rows) for path in REGIONS}
    old = [path for path, text in texts.items() if (ROOT / path).read_text() != text]
    if check and old:
        raise Fault(f"{' and '.join(map(str, old))} {'does' if len(old) == 1 else 'do'} not say what {TABLE} says: run "
                    "`python tools/generate.py` and build again")
    for path in old:
        (ROOT / path).write_text(texts[path])
        print(f"{path} is renewed")


if __name__ == "__main__":
    if unknown := [argument for argument in sys.argv[1:] if argument != "--check"]:
        sys.exit(f"generate.py knows --check alone, not {unknown[0]}")
    try:
        main(check="--check" in sys.argv)
    except Fault as fault:
        sys.exit(str(fault))
