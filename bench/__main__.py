"""python -m bench [--peers torch,jax,...] [--only NAME] [--json FILE] [--quick] [--clock wall|cpu] [--list]"""
import sys

sys.path.pop(0)                     # the working directory: measure the installed package, not the source tree

from bench import pin  # noqa: E402

BOUND = pin.before_imports()        # before NumPy, torch and JAX: see pin.py

import argparse  # noqa: E402
import dataclasses  # noqa: E402
import gc  # noqa: E402
import importlib  # noqa: E402
import importlib.metadata as metadata  # noqa: E402
import json  # noqa: E402
import os  # noqa: E402
import platform  # noqa: E402
import time  # noqa: E402

from bench import common  # noqa: E402

THEMES = ("value", "vectorize", "tensor", "matmul", "attention", "train", "compile", "watch", "optim", "nn", "gain",
          "random", "arrays", "ops")
LIBRARIES = (common.OURS, "torch", "jax", "micrograd", "numpy")
BUILT_IN = ("python", "c")          # pure Python and the hand-written C step


def find_peers(wanted):
    """Import what is wanted. Return (present names, {absent name: why})."""
    present, absent = [], {}
    for name in (*LIBRARIES, *BUILT_IN):
        if name != common.OURS and wanted and name not in wanted:
            continue
        try:
            if name == "c":
                from bench import floor
                floor.compiled()
            elif name in LIBRARIES:
                importlib.import_module(name)
            present.append(name)
        except Exception as error:
            absent[name] = f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"
    return present, absent


def machine():
    """What a reader needs to judge the numbers."""
    versions = {"python": platform.python_version()}
    for name in (*LIBRARIES, "scipy", "threadpoolctl"):
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            pass
    return {"machine": platform.platform(), "cpu": common.processor(), "cores": os.cpu_count(), "versions": versions,
            "date": time.strftime("%Y-%m-%d %H:%M:%S %z"),
            "load": os.getloadavg() if hasattr(os, "getloadavg") else None}


def arguments():
    parser = argparse.ArgumentParser(prog="python -m bench", description="microgradx against its peers, one core")
    parser.add_argument("--peers", help="comma-separated; default: all that are installed")
    parser.add_argument("--only", default="", help="rows whose 'theme: name' contains this")
    parser.add_argument("--json", help="write every number to this file")
    parser.add_argument("--quick", action="store_true", help="shorter samples, no rows of 10^7")
    parser.add_argument("--clock", choices=common.CLOCKS, default="wall",
                        help="cpu: time of this process only, for a machine with other work")
    parser.add_argument("--list", action="store_true", help="print the names of the rows and stop")
    return parser.parse_args()


def main():
    args = arguments()
    present, absent = find_peers(set(args.peers.split(",")) if args.peers else None)
    pools = [BOUND, *pin.after_imports()]
    gc.freeze()                     # imported modules never die: keep them out of every collection
    about = machine()
    if not args.list:
        print(f"{about['date']}, {about['cpu']}, {about['cores']} cores, load {about['load']}", *pools, sep="\n")
        print("present:", ", ".join(present))
        for name, why in absent.items():
            print(f"absent:  {name} ({why})")
        print("a ratio is the other's time divided by the first contender's: above 1, the first is faster;"
              " [first and third quartile over interleaved rounds]", flush=True)
    budget = common.QUICK if args.quick else common.Budget()
    budget = dataclasses.replace(budget, clock=common.CLOCKS[args.clock])
    reports, summaries = [], {}
    for theme in THEMES:
        module = importlib.import_module(f"bench.bench_{theme}")
        done = []
        for row in module.rows(args.quick):
            row.name = f"{theme}: {row.name}"
            if args.only not in row.name:
                continue
            if args.list:
                print(row.name)
            elif report := common.run(row, present, budget):
                done.append(report)
                print(*common.lines(report), sep="\n", flush=True)
        if done and hasattr(module, "summary"):
            summaries[theme] = module.summary(done)
            for name, value in summaries[theme].items():
                print(f"{theme}: {name:<58} {value:.3g}")
        reports += done
    if args.json:
        numbers = {**about, "pinned": pools, "absent": absent, "quick": args.quick, "clock": args.clock,
                   "rows": reports, "summaries": summaries}
        with open(args.json, "w") as file:
            json.dump(numbers, file, indent=1)
    failed = [r["name"] for r in reports if r["problems"]]
    if failed:
        print(f"{len(failed)} rows with problems:", ", ".join(failed[:20]))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
