"""A net as a table: its modules, what they give, how many parameters they have. ``nn.module`` fills it in."""
from __future__ import annotations

from typing import NamedTuple

__all__ = ["Row", "Summary"]


class Row(NamedTuple):
    """A module: its dotted name, its class, the shape of what it gave (None: it gave none), its own parameters."""
    name: str
    kind: str
    shape: tuple[int, ...] | None
    parameters: int


class Summary(list[Row]):
    """Rows (name, kind, shape, parameters), printed as a table."""
    total = trainable = 0

    def __repr__(self) -> str:
        head = ("module", "kind", "output", "parameters")
        cells = [head] + [(name or "-", kind, "-" if shape is None else str(shape), f"{n:,}")
                          for name, kind, shape, n in self]
        wide = [max(map(len, column)) for column in zip(*cells)]
        lines = ["  ".join([*map(str.ljust, row[:-1], wide), row[-1].rjust(wide[-1])]) for row in cells]
        lines.insert(1, "-" * len(lines[0]))
        return "\n".join([*lines, lines[1], f"{self.total:,} parameters, {self.trainable:,} of them trained"])
