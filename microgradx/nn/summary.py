"""A net as a table: its modules, what they give, how many parameters they have."""
from collections import namedtuple
from contextlib import contextmanager

from microgradx._core.graph import no_grad

__all__ = ["observed", "summary"]


@contextmanager
def observed(model, note):
    """Within it, every module of ``model`` calls ``note(module, args, output)``; evaluation mode, no graph."""
    modes = {module: module.training for module in model.modules()}
    handles = [module.register_forward_hook(note) for module in modes]
    model.eval()
    try:
        with no_grad():
            yield
    finally:
        for handle in handles:
            handle.remove()
        for module, mode in modes.items():
            module.training = mode

Row = namedtuple("Row", "name kind shape parameters")


class Summary(list):
    """Rows (name, kind, shape, parameters), printed as a table."""
    total = trainable = 0

    def __repr__(self):
        head = ("module", "kind", "output", "parameters")
        cells = [head] + [(name or "-", kind, "-" if shape is None else str(shape), f"{n:,}")
                          for name, kind, shape, n in self]
        wide = [max(map(len, column)) for column in zip(*cells)]
        lines = ["  ".join([*map(str.ljust, row[:-1], wide), row[-1].rjust(wide[-1])]) for row in cells]
        lines.insert(1, "-" * len(lines[0]))
        return "\n".join([*lines, lines[1], f"{self.total:,} parameters, {self.trainable:,} of them trained"])


def summary(model, *inputs):
    """The modules of ``model``, a row each: dotted name, kind, shape of what it gave, own parameters.

    The model is run on ``inputs`` in evaluation mode, without a graph; without inputs no shapes are known. A module
    that is used twice shows its last output. Shared parameters count once in the totals.

    >>> import microgradx as mgx
    >>> from microgradx import nn
    >>> nn.summary(nn.Sequential(nn.Linear(784, 30), nn.Sigmoid(), nn.Linear(30, 10)), mgx.Tensor([[0.0] * 784]))
    module  kind        output   parameters
    ---------------------------------------
    -       Sequential  (1, 10)           0
    0       Linear      (1, 30)      23,550
    1       Sigmoid     (1, 30)           0
    2       Linear      (1, 10)         310
    ---------------------------------------
    23,860 parameters, 23,860 of them trained
    """
    shapes = {}

    def note(module, args, result):
        first = result[0] if isinstance(result, (tuple, list)) and result else result
        shapes[module] = getattr(first, "shape", None)

    if inputs:
        with observed(model, note):
            model(*inputs)
    rows = Summary(Row(name, type(module).__name__, shapes.get(module), sum(
        p.size for p in map(module.__dict__.get, module._parameters) if p is not None))
        for name, module in model.named_modules())
    rows.total = sum(p.size for p in model.parameters())
    rows.trainable = sum(p.size for p in model.parameters() if p.requires_grad)
    return rows
