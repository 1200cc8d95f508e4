"""Drawings of scalar graphs, for Graphviz."""
from os import PathLike

from microgradx._core.tensor import Tensor
from microgradx._core.value import Value
from microgradx.errors import DTypeError, OptionError
from microgradx.names import make_public

__all__ = ["draw"]


def draw(root: Tensor | Value, format: str | None = None, path: str | PathLike[str] | None = None) -> str:
    """The graph that ``root`` was made from, inputs on the left: Graphviz text, or SVG.

    Every ``Value`` is a box with label, data and grad; what made it stands in a circle before it; a plain number
    among the operands is a box without grad. Operands enter from top to bottom in their order.

    ``format`` is ``"dot"`` (the default) or ``"svg"``, which needs the program ``dot`` of Graphviz. ``path`` also
    writes the text to a file; its suffix is the format if none is given.

    Raises ``DTypeError`` for what is no Value, ``OptionError`` for another format, or where ``dot`` is missing or
    fails.

    >>> from microgradx import Value
    >>> from microgradx.draw import draw
    >>> a = Value(2.0, label="a")
    >>> print(draw(a * 3))
    digraph {
      rankdir=LR; ordering=in;
      node [fontname="monospace", fontsize=10];
      n0 [shape=record, label="{ data 6 | grad 0 }"];
      o0 [shape=circle, label="*"];
      o0 -> n0;
      n1 [shape=record, label="{ a | data 2 | grad 0 }"];
      n1 -> o0;
      n2 [shape=record, style=dotted, label="{ 3 }"];
      n2 -> o0;
    }
    """
    if not isinstance(root, Value):
        raise DTypeError(f"draw: a Value, not {type(root).__name__}")
    if format is None:
        format = "svg" if path is not None and str(path).lower().endswith(".svg") else "dot"
    if format not in ("dot", "svg"):
        raise OptionError(f"draw: format is 'dot' or 'svg', not {format!r}")
    text = _graphviz(root)
    if format == "svg":
        text = _svg(text)
    if path is not None:
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
    return text


def _graphviz(root: Value) -> str:
    lines = ["digraph {", "  rankdir=LR; ordering=in;", '  node [fontname="monospace", fontsize=10];', _box(0, root)]
    number, todo, kept = {id(root): 0}, [root], []
    total = 1
    while todo:
        node = todo.pop()
        kept.append(node)                                       # keeps the identities in `number` alive
        operands = node._prev
        if not operands:
            continue
        to = number[id(node)]
        lines += [f'  o{to} [shape=circle, label="{_escaped(node._op or "?")}"];', f"  o{to} -> n{to};"]
        for operand, again in zip(operands, node._prev):
            plain = operand is not again                        # a number gets a new Value each time it is asked for
            if id(operand) not in number:
                lines.append(_box(total, operand, plain))
                number[id(operand)] = total
                total += 1
                (kept if plain else todo).append(operand)
            lines.append(f"  n{number[id(operand)]} -> o{to};")
    return "\n".join([*lines, "}"])


def _box(number: int, node: Value, plain: bool = False) -> str:
    if plain:
        return f'  n{number} [shape=record, style=dotted, label="{{ {node.data:.6g} }}"];'
    fields = [_escaped(node.label)] * bool(node.label) + [f"data {node.data:.6g}", f"grad {node.grad:.6g}"]
    return f'  n{number} [shape=record, label="{{ {" | ".join(fields)} }}"];'


def _escaped(text: str) -> str:
    for character in '\\"{}|<>':
        text = text.replace(character, "\\" + character)
    return text.replace("\n", "\\n")


def _svg(text: str) -> str:
    import shutil
    import subprocess
    program = shutil.which("dot")
    if program is None:
        raise OptionError("draw: format 'svg' needs the program dot of Graphviz, which is not installed; format "
                          "'dot' gives its text")
    run = subprocess.run([program, "-Tsvg"], input=text, capture_output=True, text=True, encoding="utf-8")
    if run.returncode:
        raise OptionError(f"draw: dot failed: {run.stderr.strip()}")
    return run.stdout


make_public(__name__)
