"""Two builds of microgradx in one interleaved run: python -m bench.builds OTHER_CHECKOUT [--only TEXT] [--themes a,b].

Each build has a process of its own, pinned to the same core, which makes the rows of ``bench`` and waits; a sample is
taken in one process while the other sleeps. A ratio is the other checkout's time divided by this one's: above 1, this
checkout is faster. A row is lost if the upper quartile of its ratios is below 1.
"""
import argparse
import dataclasses
import gc
import importlib
import json
import os
import subprocess
import sys
from pathlib import Path

THEMES = "value,tensor,train,compile,vectorize,optim"
HERE = Path(__file__).resolve().parents[1]


def serve(themes, only):
    """The process of one build: a line in, a line out. ``list`` names the rows, ``N INNER`` times row N."""
    from bench import pin
    pin.before_imports()
    from bench import common
    pin.after_imports()
    rows = []
    for theme in themes.split(","):
        for row in importlib.import_module(f"bench.bench_{theme}").rows(True):
            label = next((name for name in row.contenders if common.peer_of(name) == common.OURS), None)
            if label and only in f"{theme}: {row.name}" and row.quantity == "seconds":
                rows.append((f"{theme}: {row.name}", row.contenders[label], row.collector))
    ready = {}
    gc.freeze()
    for line in sys.stdin:
        if line.strip() == "list":
            answer = [name for name, *_ in rows]
        else:
            number, inner = map(int, line.split())
            if number not in ready:
                ready.clear()
                try:
                    ready[number] = rows[number][1]()
                except ImportError as error:    # a peer that is not installed
                    print(json.dumps(None), file=sys.stdout, flush=True)
                    print(f"{rows[number][0]}: {error}", file=sys.stderr)
                    continue
            (gc.enable if rows[number][2] else gc.disable)()
            budget = dataclasses.replace(common.QUICK, clock=common.CLOCKS["cpu"])
            answer = (common.sample(ready[number], inner, budget.clock) if inner
                      else common.inner_calls(ready[number], budget.sample, budget.clock))
        print(json.dumps(answer), flush=True)


class Build:
    def __init__(self, checkout, themes, only):
        command = [sys.executable, str(Path(__file__).resolve()), "--serve", "--themes", themes, "--only", only]
        self.process = subprocess.Popen(command, cwd=checkout, env=os.environ | {"PYTHONPATH": str(checkout)},
                                        text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def ask(self, line):
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        if not answer:
            raise SystemExit("a build's process ended; see its message above")
        return json.loads(answer)


def main():
    parser = argparse.ArgumentParser(prog="python -m bench.builds", description=__doc__.splitlines()[0])
    parser.add_argument("other", nargs="?", help="a built checkout to compare with")
    parser.add_argument("--only", default="", help="rows whose 'theme: name' contains this")
    parser.add_argument("--themes", default=THEMES)
    parser.add_argument("--rounds", type=int, default=25)
    parser.add_argument("--json", help="write every number to this file")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.serve:
        sys.path[0] = os.getcwd()
        return serve(args.themes, args.only)
    sys.path[0:0] = [str(HERE)]
    from bench import common
    ours, theirs = (Build(path, args.themes, args.only) for path in (HERE, Path(args.other).resolve()))
    names, others = ours.ask("list"), theirs.ask("list")
    found, medians, lost = {}, [], []
    for k, name in enumerate(names):
        if name not in others:
            continue
        j = others.index(name)
        inner = ours.ask(f"{k} 0")
        if inner is None or theirs.ask(f"{j} {inner}") is None:
            continue
        ratios = []
        for turn in range(args.rounds):
            if turn % 2:
                a, b = ours.ask(f"{k} {inner}"), theirs.ask(f"{j} {inner}")
            else:
                b, a = theirs.ask(f"{j} {inner}"), ours.ask(f"{k} {inner}")
            ratios.append(b / a)
        low, middle, high = common.quartiles(ratios)
        medians.append(middle)
        lost += [name] * (high < 1)
        found[name] = [low, middle, high]
        print(f"{name:<70} {middle:.3f} [{low:.3f} {high:.3f}]{'  lost' if high < 1 else ''}", flush=True)
    print(f"geometric mean {common.geometric_mean(medians):.3f} over {len(medians)} rows; lost: {len(lost)}")
    if args.json:
        Path(args.json).write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    sys.exit(main())
