"""A captured program as a table that a person can read."""
from collections import Counter
from typing import Any

# what ``check=True`` says of a replay that differs
ADVICE = ("the function depends on what no argument, parameter or flag tells: a clock, a setting of the system, what "
          "an installed package keeps. Pass it as an argument")
UNITS = ((1e9, "G"), (1e6, "M"), (1e3, "k"), (1, ""))


def _short(number: int) -> str:
    """1234567 as 1.23M; nothing where it is not known."""
    if number is None:
        return ""
    size, unit = next(((size, unit) for size, unit in UNITS if number >= size), (1, ""))
    return f"{number / size:.3g}{unit}" if number >= 1000 else str(number)


def table(program: Any, seconds: Any, read: Any, guards: list[str]) -> str:
    """A program as a table: its launches after the passes, what each reads and writes, computes and takes.

    >>> import microgradx as mgx
    >>> double = mgx.compile(lambda x: x * 2 + 1)
    >>> for _ in range(2):
    ...     y = double(mgx.ones(3))
    >>> print(double.explain().splitlines()[0])
    2 launches, 2 captured; own memory 64 bytes, 64 without reuse
    """
    launches = program.launches()
    rows = [("", "launch", "sizes", "bytes", "flops", "us")]
    for k, (name, sizes, size, flops) in enumerate(launches):
        rows.append((str(k), name, sizes, _short(size), _short(flops), f"{seconds[k] * 1e6:.2f}" if seconds else ""))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [f"{len(launches)} launches, {program.captured} captured; own memory {program.planned_bytes} bytes, "
             f"{program.own_bytes} without reuse"]
    lines += ["  ".join(cell.ljust(w) if k in (1, 2) else cell.rjust(w)
                        for k, (cell, w) in enumerate(zip(row, widths, strict=True))).rstrip() for row in rows]
    if seconds:
        lines.append(f"{sum(seconds) * 1e6:.2f} us, the sum of the least times; its writes were taken back")
    else:
        lines.append("times are not measured: a host launch may do what cannot be taken back")
    if program.dropped:
        counted = sorted(Counter(program.dropped).items())
        lines.append("dropped by the passes: " + ", ".join(f"{n} {name}" for name, n in counted))
    lines += [f"for one number only: argument {k}" for k in sorted(read)]
    lines += [f"frozen: {dtype} of shape {shape}{where}" for shape, dtype, where in program.frozen]
    if guards:
        lines.append(f"depends on {len(guards)} attributes and options: {', '.join(sorted(set(guards)))}")
    return "\n".join(lines)
