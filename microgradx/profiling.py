"""``profile``: where the time of a program goes, launch by launch, and how near each comes to the machine's limits."""
from __future__ import annotations

import json
import time
from collections import defaultdict
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from microgradx._core.debug import profile as _profile
from microgradx._core.graph import Entered
from microgradx._core.tensor import Tensor
from microgradx.errors import OptionError
from microgradx.names import make_public

__all__ = ["LaunchEvent", "profile"]


class LaunchEvent(NamedTuple):
    """One launch: the row that ran and the operation that it belongs to, the line that called it, when it began and how
    long it took in seconds, the bytes that its operands have, and its floating-point operations (None: not known)."""
    launch: str
    operation: str
    dtype: str
    line: str
    start: float
    seconds: float
    bytes: float | None
    flops: float | None


@lru_cache
def machine_limits() -> tuple[float, float]:
    """(bytes per second of a copy, floating-point operations per second of a float32 matrix product), measured here."""
    large = np.ones(1 << 23, "f4")
    x, w = Tensor(large), Tensor(np.ones((512, 512), "f4"))

    def least(function: Callable[[], Any]) -> float:
        times = []
        for _ in range(12):
            start = time.perf_counter()
            function()
            times.append(time.perf_counter() - start)
        return min(times)
    copies, products = least(x.clone), least(lambda: w @ w)
    return 2 * large.nbytes / copies, 2 * 512 ** 3 / products


class profile:
    """Within it, the launches of this thread are timed: forward, backward, updates, and replays of compiled functions.

    Print it for a table by operation; ``table("line")`` is by the line of your code that called, ``table("launch")`` by
    the row of the kernel's table. ``events`` is the list of ``LaunchEvent``, in order. ``trace(file)`` writes them for
    Chrome's ``about:tracing`` or Perfetto. ``seconds`` is the time in launches and ``elapsed`` that of the whole block,
    whose rest is Python's.

    A table compares each row with this machine's limits, which are measured once: the bytes of its operands with those
    of a large copy (above 100 % where the operands are in a cache), its operations with those of a float32 matrix
    product. Timing adds 0.6 us to a launch, and more within deep calls. Functions of Values are programs of their own
    and are not seen.

    >>> import microgradx as mgx
    >>> x = mgx.ones(64, 64, requires_grad=True)
    >>> with mgx.profile() as p:
    ...     (x @ x).tanh().sum().backward()
    >>> [event.operation for event in p.events][:3]
    ['matmul', 'tanh', 'sum']
    """

    def __init__(self) -> None:
        self.elapsed = 0.0
        self.events: list[LaunchEvent] = []
        self._entered = Entered()

    def __enter__(self) -> profile:
        self._entered.push((_profile.start(), time.perf_counter()))
        return self

    def __exit__(self, *exc: object) -> None:
        started, at = self._entered.pop()
        _profile.stop(started)
        self.elapsed += time.perf_counter() - at
        self.events += [LaunchEvent(*event) for event in _profile.events(started)]

    @property
    def seconds(self) -> float:
        """The time in launches."""
        return sum(event.seconds for event in self.events)

    def table(self, by: str = "operation", most: int = 20) -> str:
        """The launches as text, summed ``by`` "operation", "launch" or "line", the longest first."""
        if by not in ("operation", "launch", "line"):
            raise OptionError(f"profile: by={by!r} is not 'operation', 'launch' or 'line'")
        groups: dict[tuple[str, str], list[LaunchEvent]] = defaultdict(list)
        for event in self.events:
            groups[getattr(event, by), event.dtype if by != "line" else ""].append(event)
        order = sorted(groups, key=lambda key: -sum(event.seconds for event in groups[key]))
        copy, product = machine_limits() if self.events else (1.0, 1.0)
        rows = [(by, "dtype" if by != "line" else "", "calls", "ms", "share", "GB/s", "of copy", "GFLOP/s",
                 "of product")]
        for key in order[:most]:
            events = groups[key]
            seconds = sum(event.seconds for event in events) or 1e-12
            moved, flops = (sum(getattr(event, what) or 0 for event in events) / seconds for what in ("bytes", "flops"))
            name = f"{Path(key[0]).name}  {_profile.source(key[0])}"[:60] if by == "line" else key[0]
            rows.append((name, key[1], str(len(events)), f"{seconds * 1e3:.3f}", f"{seconds / (self.seconds or 1):.0%}",
                         f"{moved / 1e9:.2f}" if moved else "", f"{moved / copy:.0%}" if moved else "",
                         f"{flops / 1e9:.2f}" if flops else "", f"{flops / product:.0%}" if flops else ""))
        widths = [max(map(len, column)) for column in zip(*rows)]
        lines = ["  ".join(cell.ljust(w) if k < 2 else cell.rjust(w)
                           for k, (cell, w) in enumerate(zip(row, widths))).rstrip() for row in rows]
        if len(order) > most:
            rest = sum(event.seconds for key in order[most:] for event in groups[key])
            lines.append(f"and {len(order) - most} more, {rest * 1e3:.3f} ms")
        lines.append(f"{len(self.events)} launches, {self.seconds * 1e3:.3f} ms of {self.elapsed * 1e3:.3f} ms")
        if self.events:
            lines.append(f"limits measured here: a copy moves {copy / 1e9:.1f} GB/s, "
                         f"a product makes {product / 1e9:.0f} GFLOP/s")
        return "\n".join(lines)

    def __str__(self) -> str:
        return self.table()

    def trace(self, file: str | Path) -> None:
        """Write the launches as a Chrome trace (JSON), which ``about:tracing`` and Perfetto show on a line of time."""
        first = self.events[0].start if self.events else 0.0
        events = [{"name": event.operation, "cat": event.launch, "ph": "X", "pid": 1, "tid": 1,
                   "ts": (event.start - first) * 1e6, "dur": event.seconds * 1e6,
                   "args": {"launch": event.launch, "dtype": event.dtype, "line": event.line, "bytes": event.bytes,
                            "flops": event.flops}} for event in self.events]
        Path(file).write_text(json.dumps({"traceEvents": events, "displayTimeUnit": "ns"}))


make_public(__name__)
