#!/usr/bin/env python3
"""Measure how far every row of csrc/ops.def is from the truth, and write docs/accuracy.md.

    python tools/accuracy.py --minutes 30                   goes on where the last call stopped, and writes the page
    python tools/accuracy.py --rows tanh sin                all 2^32 numbers of float32 for these: a minute or two each
    python tools/accuracy.py --chunks 4 --samples           12 million points of each row, and no row whole
    python tools/accuracy.py --dry                          prints the page and writes nothing

float32, whole: a row of one operand at all 2^32 numbers, by accuracy.c, in stretches of four million. One pass in
float64 is the truth for all instruction sets.
float32, by samples: a chunk is 2^20 points. Those of a row of one operand are one of each 4096 neighbours among the
2^32 numbers, another one in each chunk; as many are drawn from the range of the row, where few of all numbers are. Of
the other rows they are drawn from their ranges, and there are pairs of 500 special values. Another 2^20 are next to the
worst of these. The truth is the same row in float64, computed once for all sets.
float64: `doubles` points, the same kernels that are the truth for float32; theirs is mpmath.

Every row gets its chunks before any is measured whole. What is known stands in build/accuracy.json, for each row until
its text or a function of csrc changes. The instruction sets run in processes of their own where Python calls them:
which one is used is decided at import. accuracy.c enters the loops of all of them."""
import argparse
import collections
import ctypes
import datetime
import functools
import hashlib
import json
import multiprocessing
import os
import platform
import re
import subprocess
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]
PAGE = ROOT / "docs" / "accuracy.md"
RESULTS = ROOT / "build" / "accuracy.json"
SOURCES = ("words.h", "words.inl", "vmath_f32.h", "vmath_f64.h", "elementwise.inl")
SETS = ("baseline", "avx2", "avx512")
CHUNK = 1 << 20
ALL = (1 << 32) // CHUNK                # chunks that have every number of float32
STRETCH = 1 << 22                       # numbers that accuracy.c walks at once
STRETCHES = (1 << 32) // STRETCH
SHARES = 16                             # of a chunk, next to the worst points of which more are looked at
UNARY_DOUBLES = 3                       # a row of one operand gets so many times the points of the others


# ----- one process for each instruction set ----------------------------------------------------------------------

def serve(connection):
    """Values and derivatives of rows at the points that come in, until None does."""
    np.seterr(all="ignore")
    try:
        import samples
    except Exception:                               # the processor does not have this set
        connection.send(None)
        return
    connection.send(samples.kernels.isa())
    while (task := connection.recv()) is not None:
        name, xs = task
        y, slopes = samples.gradients(name, xs)
        connection.send([y, *slopes])


class Machines:
    """{instruction set: a process that runs it}, of those that this processor has."""
    def __init__(self):
        self.connections, context, before = {}, multiprocessing.get_context("spawn"), os.environ.get("MICROGRADX_ISA")
        for isa in SETS:
            os.environ["MICROGRADX_ISA"] = isa
            here, there = context.Pipe()
            context.Process(target=serve, args=(there,), daemon=True).start()
            if here.recv() == isa:
                self.connections[isa] = here
        os.environ.pop("MICROGRADX_ISA")
        if before is not None:
            os.environ["MICROGRADX_ISA"] = before

    def run(self, isa, name, xs):
        self.connections[isa].send((name, xs))
        return self.connections[isa].recv()


machines = None


def the_machines():
    global machines
    machines = machines or Machines()
    return machines


# ----- points ----------------------------------------------------------------------------------------------------

def special_values():
    """500 numbers of float32: zeros, subnormals, ends, neighbours of whole numbers and of pi, numbers of all sizes."""
    info, f = np.finfo(np.float32), np.float32
    anchors = np.array([0.5, 1, 1.5, 2, 3, 6, 10, np.pi, np.pi / 2, np.log(2), 88.72, 103.9, 16.64, 2**23, 2**24,
                        2**31], f)
    near = np.concatenate([np.nextafter(anchors, f(0)), anchors, np.nextafter(anchors, f(np.inf))])
    ends = [0, info.smallest_subnormal, info.tiny / 2, info.tiny, info.eps, info.max, np.inf]
    fixed = np.concatenate([ends, near])
    powers = 2.0 ** np.linspace(-149, 127, (500 - 1 - 2 * len(fixed)) // 2)
    positive = np.concatenate([fixed, powers]).astype(f)
    return np.concatenate([positive, -positive, [f(np.nan)]]).astype(f)


def points(name, part, chunk):
    """The operands of one chunk."""
    from samples import ROWS, operands
    arity = ROWS[name]["arity"]
    if part == "pairs":
        values = special_values()
        at = np.arange(len(values) ** 2)
        picks = [at // len(values), at % len(values), (at * 7919) % len(values)][:arity]
        return [values[pick] for pick in picks]
    drawn = operands(name, CHUNK, np.float32, seed=chunk)
    return within_domain(name, [np.concatenate([spread(chunk), drawn[0]])]) if arity == 1 else drawn


def within_domain(name, xs):
    from samples import DOMAIN
    lo, hi = DOMAIN.get(name, (-np.inf, np.inf))
    return [x[~((x < lo) | (x > hi))] for x in xs] if len(xs) == 1 else xs


def spread(chunk, count=CHUNK):
    """One of each 4096 neighbours. Which one looks like chance: with the same low bits in all, products would be exact
    that are rounded elsewhere."""
    block = np.arange(count, dtype=np.uint32)
    low = (block * np.uint32(2654435769) >> np.uint32(20)) + np.uint32(chunk * 1597 % ALL)      # Fibonacci hashing
    return (block * np.uint32(ALL) + low % np.uint32(ALL)).view(np.float32)


# ----- measuring -------------------------------------------------------------------------------------------------

def neighbours(found, chunk):
    """Points next to the worst of each share, where the error is as large as it gets, or nearly."""
    rng = np.random.default_rng(chunk)
    worst = [point for share in found for pair in share.values() for error, point in pair
             if point is not None and np.isfinite(error)]
    if not worst:
        return []
    picks = rng.integers(0, len(worst), CHUNK)
    return [moved(np.array(column, np.float32)[picks], rng) for column in zip(*worst)]


def moved(x, rng):
    """Numbers of the same sign, up to some hundred thousand numbers away."""
    away = np.rint(rng.standard_normal(x.shape) * 2.0 ** rng.integers(4, 18, x.shape)).astype(np.int64)
    size = np.clip(np.abs(x).view(np.int32) + away, 0, 2**31 - 1).astype(np.int32).view(np.float32)
    return np.copysign(size, x)


def worst_of(name, got, true, xs):
    """[(largest error, the point)] of the value and of the derivatives together."""
    from samples import error
    found = [(0.0, None), (0.0, None)]
    with np.errstate(all="ignore"):
        overflows = np.isinf(true[0][0].astype(got[0].dtype))
    for k, (g, (hi, lo)) in enumerate(zip(got, true)):
        with np.errstate(all="ignore"):
            same = (g == hi) & (lo == 0) | np.isnan(g) & np.isnan(hi) | np.isinf(g) & (g == hi.astype(g.dtype))
            off = np.where(same, 0, error(name, k, g, (hi, lo), xs))
        if k:                                       # a derivative where the value is one
            off = np.where(overflows, 0, off)
        off = np.where(np.isnan(off), np.inf, off)  # nan where the truth is a number, or the other way round
        worst = int(off.argmax())
        if off[worst] > found[k > 0][0]:
            found[k > 0] = float(off[worst]), tuple(float(x[worst]) for x in xs)
    return found


def measure_floats(task):
    """{instruction set: the worst} of float32 at one chunk of points."""
    name, part, chunk = task
    xs = points(name, part, chunk)
    found = [compare_floats(name, [x[k::SHARES] for x in xs]) for k in range(SHARES)]
    if part == "all" and (near := within_domain(name, neighbours(found, chunk))):
        found.append(compare_floats(name, near))
    return functools.reduce(both, found)


def compare_floats(name, xs):
    run = the_machines()
    sets = [*run.connections]
    with np.errstate(invalid="ignore"):                             # of nan of all kinds
        wide = [x.astype(np.float64) for x in xs]
    true = [(t, 0.0) for t in run.run(sets[-1], name, wide)]
    return {isa: worst_of(name, run.run(isa, name, xs), true, xs) for isa in sets}


def measure_doubles(task):
    """The same of float64, against mpmath."""
    from mpmath import mpf
    from samples import ROWS, SECOND, TRIG_MAX, away_from_kinks, everywhere, operands, split, true_derivative, truth
    name, count = task
    run = the_machines()
    xs = operands(name, count, np.float64, seed=99)
    if ROWS[name]["arity"] == 1:
        xs = [np.concatenate([xs[0], everywhere(name, (UNARY_DOUBLES - 1) * count, np.float64, seed=99)])]
    keep = away_from_kinks(name, xs, 1e-6)
    if ROWS[name]["kind"] == "H":                   # beyond, the C library answers
        keep &= np.abs(xs[0]) <= TRIG_MAX[np.float64]
    if ROWS[name]["arity"] == 1:                    # a difference quotient in 450 digits shows no less
        keep &= np.abs(xs[0]) > 1e-90
    xs = [x[keep] for x in xs]
    true = [truth(name, xs)]
    if name in SECOND:
        true.append(split([SECOND[name](mpf(float(v))) for v in xs[0]]))
    else:
        true += [true_derivative(name, xs, k) for k in range(len(xs))]
    return len(xs[0]), {isa: worst_of(name, run.run(isa, name, xs), true, xs) for isa in run.connections}


# ----- all numbers -----------------------------------------------------------------------------------------------

class Worst(ctypes.Structure):
    _fields_ = (("error", ctypes.c_double), ("point", ctypes.c_float))


def loops():
    """The objects of the loops over the rows, which the build has compiled for every set."""
    return sorted((ROOT / "build").glob("objects-*/*/csrc/isa/elementwise_f*.o"))


@functools.cache
def library():
    """accuracy.c, linked with the loops."""
    objects = loops()
    if not objects:
        sys.exit("accuracy: there are no loops in build/objects-*; `make build` compiles them")
    path = ROOT / "build" / f"accuracy-{os.getpid()}.so"
    subprocess.run(["cc", "-O3", "-march=native", "-ffp-contract=off", "-fno-trapping-math", "-fno-math-errno", "-fPIC",
                    "-shared", "-o", path, ROOT / "tools" / "accuracy.c", *objects, "-lm"], check=True)
    found = ctypes.CDLL(str(path))
    path.unlink()
    pointer, number = ctypes.c_void_p, ctypes.c_double
    found.accuracy_stretch.argtypes = [ctypes.c_int, ctypes.c_uint32, ctypes.c_int64, number, number, *[pointer] * 4]
    found.accuracy_stretch.restype = None
    return found


def measure_stretch(task):
    """{instruction set: the worst} of float32 at all numbers of a stretch."""
    name, _, stretch = task
    found = walk(name, stretch)
    if units_of(name) and any(w[0] > most for w, most in zip(found, worst_before[name])):
        found = walk(name, stretch, True)           # only there can an error be larger in units that are larger
    worst_before[name] = [max(w[0], most) for w, most in zip(found, worst_before[name])]
    return {isa: found[2 * k:2 * k + 2] for k, isa in enumerate(SETS[:len(found) // 2])}


worst_before = collections.defaultdict(lambda: [0.0] * 2 * len(SETS))     # what this process found in other stretches


def units_of(name):
    """Does the row count in units of its terms, or of its factors below the normal range?"""
    from samples import BELOW, ROWS
    return ROWS[name]["ulp"] < 0 or ROWS[name]["dulp"] < 0 or name in BELOW


def walk(name, stretch, in_units=False):
    """[(largest error, the point)] of y and dy of every set, in the last place of the truth or in units of the row."""
    from samples import BELOW, DOMAIN, ROWS, scale_of
    first, sets, row = stretch * STRETCH, library().accuracy_sets(), ROWS[name]
    units, allowed = [None, None], None
    if in_units:
        x = np.arange(first, first + STRETCH, dtype=np.uint32).view(np.float32)
        with np.errstate(all="ignore"):
            units = [scale_of(name, k, [x], np.float32).astype(np.float64) if row[bound] < 0 else None
                     for k, bound in enumerate(("ulp", "dulp"))]
            if name in BELOW:
                grains = BELOW[name](np.minimum(np.abs(x.astype(np.float64)), 1e3))
                allowed = grains * float(np.finfo(np.float32).smallest_subnormal)
    worst = (Worst * (2 * sets))()
    pointers = [None if array is None else array.ctypes.data for array in (*units, allowed)]
    library().accuracy_stretch([*ROWS].index(name), first, STRETCH // 1024, *DOMAIN.get(name, (-np.inf, np.inf)),
                               *pointers, worst)
    return [(w.error, (w.point,) if w.error else None) for w in worst]


def measure(task):
    if task[1] == "doubles":
        return measure_doubles(task[::2])
    return measure_stretch(task) if task[1] == "whole" else measure_floats(task)


# ----- results ---------------------------------------------------------------------------------------------------

def load_results():
    """{row: {"chunks": how many, "all", "pairs", "doubles": {instruction set: [(error, point) of y, dy]}, "points"}} of
    the rows that are as they were then."""
    known = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    digests = digests_of_rows()
    return {name: row for name, row in known.items() if row["digest"] == digests.get(name)}


@functools.cache
def digests_of_rows():
    """{row: what its text in ops.def and the functions of all rows are}"""
    functions = b"".join((ROOT / "csrc" / name).read_bytes() for name in SOURCES)
    rows = re.findall(r"^[A-Z]\((\w+),(.*?)(?=^[A-Z]\(|\Z)", (ROOT / "csrc" / "ops.def").read_text(), re.M | re.S)
    return {name: hashlib.sha256(functions + text.partition('"')[0].encode()).hexdigest()[:16] for name, text in rows}


def save_results(results):
    RESULTS.parent.mkdir(exist_ok=True)
    part = RESULTS.with_suffix(".part")
    part.write_text(json.dumps(results))
    part.replace(RESULTS)


def note(results, task, found):
    name, part, number = task
    row = results.setdefault(name, {"chunks": 0, "digest": digests_of_rows()[name]})
    if part == "doubles":
        row["points"], found = found
        row["asked"] = number
    if part in ("all", "whole"):
        row["chunks" if part == "all" else "stretches"] = number + 1
    row[part] = both(row[part], found) if part in row else found


def both(found, more):
    """The larger of two errors, for each instruction set and for value and derivative."""
    return {isa: [max(a, b, key=lambda w: w[0]) for a, b in zip(worst, more[isa])] for isa, worst in found.items()}


def tasks_left(rows, results, chunks, doubles, whole):
    """What is to be measured, the chunks in rounds, row after row whole: (row, part, number of the chunk or of points).
    """
    from samples import ROWS
    for name in rows:
        known = results.get(name, {})
        if ROWS[name]["arity"] > 1 and "pairs" not in known:
            yield name, "pairs", 0
        if known.get("asked", 0) < doubles:
            yield name, "doubles", doubles
    for chunk in range(chunks):
        yield from ((name, "all", chunk) for name in rows if results.get(name, {"chunks": 0})["chunks"] <= chunk)
    for name in rows:
        if whole and ROWS[name]["arity"] == 1:
            known = results.get(name, {}).get("stretches", 0)
            yield from ((name, "whole", stretch) for stretch in range(known, STRETCHES))


# ----- the page --------------------------------------------------------------------------------------------------

def power(n):
    return "2^32" if n == 1 << 32 else f"{n:,}"


def is_whole(row):
    return row.get("stretches") == STRETCHES


def worst_floats(row):
    """The worst of all numbers, or of the samples and of those numbers that were walked so far."""
    if is_whole(row):
        return row["whole"]
    return both(row["all"], row["whole"]) if "whole" in row else row["all"]


def points_of(name, row):
    from samples import ROWS
    if is_whole(row):
        return 1 << 32
    return (2 if ROWS[name]["arity"] > 1 else 3) * row["chunks"] * CHUNK + row.get("stretches", 0) * STRETCH


def number(x):
    return "nan" if x == np.inf else "0" if x == 0 else f"{x:.2f}" if x < 1000 else f"{x:.0e}"


def bound_text(row, kind):
    return "sum" if row[kind] < 0 else f"{row[kind]:g}"


def table(rows, counts, results):
    from samples import ROWS
    sets = [*next(iter(results.values()))]
    heads = [" | ".join(f"{what} {isa}" for isa in sets) for what in ("y", "dy")]
    yield f"| row | points | {heads[0]} | bound | {heads[1]} | bound |"
    yield "|---" * (2 * len(sets) + 4) + "|"
    for name in rows:
        ys, slopes = ([number(results[name][isa][k][0]) for isa in sets] for k in (0, 1))
        yield (f"| `{name}` | {power(counts[name])} | {' | '.join(ys)} | {bound_text(ROWS[name], 'ulp')} "
               f"| {' | '.join(slopes)} | {bound_text(ROWS[name], 'dulp')} |")


def exceeding(rows, results, limit_of):
    for name in rows:
        for k, what in ((0, "y"), (1, "dy")):
            beyond = {isa: w[k] for isa, w in results[name].items() if w[k][0] > limit_of(name, k, isa)}
            if beyond:
                isa, (off, at) = max(beyond.items(), key=lambda item: item[1][0])
                yield f"| `{name}` {what} | {isa} | {number(off)} | {', '.join(f'{v:.9g}' for v in at)} |"


def write_page(rows, results):
    floats, doubles = {name: worst_floats(results[name]) for name in rows}, {n: results[n]["doubles"] for n in rows}
    pairs = {name: results[name]["pairs"] for name in rows if "pairs" in results[name]}
    counts = {name: points_of(name, results[name]) for name in rows}
    double_counts = {name: results[name]["points"] for name in rows}
    from samples import ROWS, TERMS
    def limit_of(name, k, isa):
        bound = ROWS[name]["dulp" if k else "ulp"]
        return (TERMS if bound < 0 else bound) * (2 if isa == "baseline" else 1)
    lines = [f"""# How accurate every row is

`make accuracy` writes this page. A number is the largest error that was found, in units in the last place of the
truth, of the value (y) and of the derivatives by all operands (dy). Bounds are those of `csrc/ops.def`; the baseline,
which has no fused multiply-add, may have twice as much. Where the bound is "sum", terms may cancel: there the unit is
the last place of the largest term, and the bound is {TERMS}. "nan" is a result that is nan where the truth is a number,
or the other way round. Derivatives of rows that are themselves derivatives count in units of their factors below the
normal range.

"points" says how many points each number stands for, in and outside the domain, of which the latter are not compared.
In float32, 2^32 are all there are: such a row was measured whole. Else, of the points of a row of one operand a third
are spread over all numbers, a third drawn from the range of the row, and a third next to the worst of these; of other
rows half are drawn, and half next to the worst. Derivatives are compared where the value does not overflow. Measured
{datetime.date.today()} on {platform.machine()}.

## float32, against float64
"""]
    lines += [*table(rows, counts, floats), ""]
    found = [*exceeding(rows, floats, limit_of)]
    if found:
        lines += ["Beyond the bound:", "", "| what | on | error | at |", "|---|---|---|---|", *found, ""]
    lines += ["## float32, pairs of 500 special values", "",
              "Zeros, subnormal numbers, infinities, nan, the largest and smallest numbers, neighbours of whole",
              "numbers: 250,000 pairs, or as many triples. The truth is again float64, in which nothing on the way",
              "overflows. Rows that are not listed keep their bounds.", "",
              "| what | on | error | at |", "|---|---|---|---|", *exceeding(pairs, pairs, limit_of), ""]
    lines += ["## float64, against mpmath", "", *table(rows, double_counts, doubles), ""]
    found = [*exceeding(rows, doubles, limit_of)]
    if found:
        lines += ["Beyond the bound:", "", "| what | on | error | at |", "|---|---|---|---|", *found, ""]
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--chunks", type=int, default=4, help="of 2^20 points, for each row in float32")
    parser.add_argument("--samples", action="store_true", help="measure no row at all numbers")
    parser.add_argument("--doubles", type=int, default=100, help="points of float64")
    parser.add_argument("--minutes", type=float, default=float("inf"))
    parser.add_argument("--processes", type=int, default=os.cpu_count())
    parser.add_argument("--rows", nargs="*")
    parser.add_argument("--dry", action="store_true", help="print the page")
    arguments = parser.parse_args()
    from samples import SMOOTH
    results, end, saved = load_results(), time.monotonic() + 60 * arguments.minutes, time.monotonic()
    tasks = [*tasks_left(arguments.rows or SMOOTH, results, arguments.chunks, arguments.doubles,
                         not arguments.samples)]
    with ProcessPoolExecutor(arguments.processes, multiprocessing.get_context("spawn")) as pool:
        waiting = []
        for i, task in enumerate(tasks):
            waiting.append((task, pool.submit(measure, task)))
            if len(waiting) < 2 * arguments.processes and i + 1 < len(tasks):
                continue
            for task, future in waiting[:1] if i + 1 < len(tasks) and time.monotonic() < end else waiting:
                note(results, task, future.result())
                if task[1] != "whole" or task[2] == STRETCHES - 1:
                    print(f"[{i + 1}/{len(tasks)}]", *task, file=sys.stderr, flush=True)
            waiting = waiting[1:]
            if time.monotonic() > saved + 10 or time.monotonic() > end:
                save_results(results)
                saved = time.monotonic()
            if time.monotonic() > end:
                break
    save_results(results)
    page = write_page([name for name in SMOOTH if {"all", "doubles"} <= {*results.get(name, {})}], results)
    if arguments.dry:
        print(page)
    else:
        PAGE.write_text(page)


if __name__ == "__main__":
    main()
