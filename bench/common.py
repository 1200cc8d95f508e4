"""The timing core: rows, interleaved samples, ratios with their spread.

A Row names contenders; each is a factory that sets up its data and returns the function to be timed. The
function's first result is compared between contenders before anything is timed: correct, then fast.
"""
import gc
import math
import os
import platform
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

OURS = "microgradx"
CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}     # cpu: all threads of this process


def processor():
    """The name of this machine's processor."""
    if os.path.exists("/proc/cpuinfo"):
        with open("/proc/cpuinfo") as file:
            for line in file:
                if line.startswith("model name"):
                    return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


@dataclass
class Row:
    """One line of the report.

    contenders  label -> factory; the label's first word is the peer ("microgradx scalar" belongs to microgradx)
    per         operations, nodes or elements in one call; reported times are divided by it
    rtol        how far the first results may differ, relative to the largest; None: not compared here
    collector   whether Python's cycle collector runs while timing
    share       this row's part of the usual time per contender
    quantity    "seconds": calls are timed; "bytes": the result of one call is the quantity
    """
    name: str
    contenders: dict
    per: float = 1
    rtol: float | None = 1e-4
    collector: bool = False
    share: float = 1.0
    quantity: str = "seconds"
    tags: dict = field(default_factory=dict)


@dataclass
class Budget:
    """How long to measure: seconds per sample, seconds per contender, least and most rounds, by which clock."""
    sample: float = 0.010
    contender: float = 0.6
    least: int = 5
    most: int = 51
    clock: Callable[[], float] = time.perf_counter


QUICK = Budget(sample=0.004, contender=0.08, least=3, most=25)


def peer_of(label):
    return label.split()[0]


def as_array(result):
    """Any library's number or array as a float64 ndarray."""
    if isinstance(result, (tuple, list)):
        return np.concatenate([as_array(part).ravel() for part in result])
    if hasattr(result, "detach"):
        result = result.detach().numpy()
    return np.asarray(result, dtype=np.float64)


def disagreement(results):
    """Largest difference between the first result and the others, relative to its largest entry.

    A contender that returns None (a copy, say) has nothing to compare.
    """
    first, *others = [as_array(r) for r in results if r is not None] or [np.zeros(1)]
    scale = np.max(np.abs(first), initial=0.0) or 1.0
    return max((float(np.max(np.abs(first - other), initial=0.0) / scale) for other in others), default=0.0)


def sample(function, inner, clock):
    """Seconds per call over `inner` calls."""
    gc.collect()                                # what the contender before left behind is not this one's to sweep
    function()                                  # caches and collector as in a running loop, not as the other left them
    start = clock()
    for _ in range(inner):
        function()
    return (clock() - start) / inner


def inner_calls(function, seconds, clock):
    """Calls that fill one sample, found by doubling."""
    inner = 1
    while (spent := inner * sample(function, inner, clock)) < seconds / 2:
        inner *= 2 if spent > seconds / 16 else 8
    return max(1, round(inner * seconds / spent))


def quartiles(values):
    """(first quartile, median, third quartile)."""
    if len(values) == 1:
        return values[0], values[0], values[0]
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
    return low, middle, high


def time_row(functions, row, budget):
    """Seconds per call: label -> one number per round; every round runs each contender once."""
    (gc.enable if row.collector else gc.disable)()
    try:
        least = 4 if row.collector else 1        # a collector needs some garbage to be at work
        inner = {label: max(least, inner_calls(f, budget.sample, budget.clock)) for label, f in functions.items()}
        once = {label: inner[label] * sample(f, inner[label], budget.clock) for label, f in functions.items()}
        rounds = int(budget.contender * row.share * len(functions) / sum(once.values()))
        rounds = min(max(rounds, budget.least), budget.most)
        samples = {label: [] for label in functions}
        for turn in range(rounds):
            order = list(functions.items())
            for label, function in order[turn % len(order):] + order[:turn % len(order)]:
                samples[label].append(sample(function, inner[label], budget.clock))
    finally:
        gc.enable()
        gc.collect()
    return samples, inner


def run(row, available, budget):
    """Measure one row. Return a plain dict for the report, or None when no contender is present."""
    functions, problems = {}, {}
    for label, make in row.contenders.items():
        if peer_of(label) in available:
            try:
                functions[label] = make()
            except Exception as error:          # one contender's failure must not hide the others' numbers
                problems[label] = f"{type(error).__name__}: {error}"
    first = {}
    for label, function in list(functions.items()):
        try:
            first[label] = function()
        except Exception as error:
            problems[label] = f"{type(error).__name__}: {error}"
            del functions[label]
    if not functions:
        return {"name": row.name, "contenders": {}, "problems": problems, "tags": row.tags} if problems else None
    differ = disagreement(first.values()) if row.rtol is not None else 0.0
    if row.rtol is not None and not differ <= row.rtol:
        problems["results"] = f"differ by {differ:.1e}, allowed {row.rtol:.1e}"
    if row.quantity == "bytes":
        samples, inner = {label: [float(value)] for label, value in first.items()}, dict.fromkeys(first, 1)
    else:
        first.clear()
        samples, inner = time_row(functions, row, budget)
    reference = next(iter(samples))
    report = {"name": row.name, "quantity": row.quantity, "per": row.per, "reference": reference,
              "collector": row.collector, "tags": row.tags, "problems": problems, "contenders": {}}
    for label, values in samples.items():
        q1, median, q3 = (v / row.per for v in quartiles(values))
        r1, ratio, r3 = quartiles([v / ours for v, ours in zip(values, samples[reference])])
        report["contenders"][label] = {
            "median": median, "q1": q1, "q3": q3, "least": min(values) / row.per, "rounds": len(values),
            "inner": inner[label], "ratio": ratio, "ratio_q1": r1, "ratio_q3": r3}
    return report


# ----- printing -----

NAME_WIDTH = 58

def human(value, quantity):
    """12.3 us, 88 ns, 96.0 B."""
    if quantity == "bytes":
        return f"{value:.1f} B"
    for unit, scale in (("s", 1), ("ms", 1e-3), ("us", 1e-6), ("ns", 1e-9)):
        if value >= scale or unit == "ns":
            return f"{value / scale:.3g} {unit}"


def lines(report):
    """The report of one row as text: the reference first, then each peer with ratio [quartiles]."""
    cells = []
    for label, c in report["contenders"].items():
        cell = f"{label} {human(c['median'], report['quantity'])}"
        if label != report["reference"]:
            cell += f" {c['ratio']:.3g}x [{c['ratio_q1']:.3g} {c['ratio_q3']:.3g}]"
        cells.append(cell)
    yield f"{report['name']:<{NAME_WIDTH}} " + " | ".join(cells[:3])
    for start in range(3, len(cells), 3):
        yield " " * (NAME_WIDTH + 1) + " | ".join(cells[start:start + 3])
    for label, problem in report["problems"].items():
        yield f"{'':<8}! {label}: {problem}"


def geometric_mean(values):
    return math.exp(statistics.fmean(math.log(v) for v in values))
