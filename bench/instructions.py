"""Instructions of small calls, counted by valgrind: python -m bench.instructions [CHECKOUT ...] [--json FILE].

One process runs all cases, each of them many times after it has run some times, and calls a function of the C library
that nobody else calls before and after each, where valgrind writes down its counts. Counts do not depend on what else
the machine does, so a change of 1 % shows; a second thread of the BLAS would count its waiting, so it has one. Without
a checkout it counts this one. ``bench/results/instructions.json`` has the last counts that were recorded.
"""
import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

CASES = {
    "x + x, 4 elements, no graph": "x + x",
    "x + 1.0, recorded": "w + 1.0",
    "sigmoid, forward + backward": "w.sigmoid().sum().backward()",
    "softmax 4x4, forward + backward": "m.softmax(-1).sum().backward()",
    "matmul 4x4, no graph": "a @ a",
    "SGD, 6 parameters of 100": "sgd.step()",
    "Adam, 6 parameters of 100": "adam.step()",
    "compiled x + x": "f(x)",
    "compiled step of 2-16-16-1": "step()",
    "mgx.exp(x)": "mgx.exp(x)",
    "mgx.add(x, x)": "mgx.add(x, x)",
    "mgx.maximum(x, x)": "mgx.maximum(x, x)",
    "mgx.sum(x, 0)": "mgx.sum(x, 0)",
    "functional.relu(x)": "F.relu(x)",
    "functional.softmax(m, -1)": "F.softmax(m, -1)",
    "x.size": "x.size",
    "x.shape": "x.shape",
}
SETUP = """
import gc, os
import numpy as np
import microgradx as mgx
from microgradx import optim
from microgradx.nn import functional as F
x, a = mgx.Tensor(np.ones(4, "f4")), mgx.Tensor(np.ones((4, 4), "f4"))
w, m = (mgx.Tensor(np.ones(s, "f4"), requires_grad=True) for s in (4, (4, 4)))
ps = [mgx.Tensor(np.ones(100, "f4"), requires_grad=True) for _ in range(6)]
for p in ps:
    p.sum().backward()
sgd, adam, f = optim.SGD(ps, lr=0.1), optim.Adam(ps), mgx.compile(lambda x: x + x)
net = mgx.nn.Sequential(mgx.nn.Linear(2, 16), mgx.nn.Sigmoid(), mgx.nn.Linear(16, 16), mgx.nn.Sigmoid(),
                        mgx.nn.Linear(16, 1))
opt, rows, target = optim.SGD(net.parameters(), lr=0.01), mgx.ones(100, 2), mgx.ones(100, 1)
def step():
    opt.zero_grad()
    loss = mgx.nn.functional.mse_loss(net(rows), target)
    loss.backward()
    opt.step()
    return loss
step = mgx.compile(step)
for _ in range(3):              # captures are no part of what is counted
    f(x), step()
gc.disable()
for call in CALLS:
    exec(f"def rounds():\\n for _ in range(ROUNDS): {call}")
    rounds()                    # memory is recycled from here on
    os.ctermid()                # valgrind's counts until here, and from here
    rounds()
    os.ctermid()
"""
ROUNDS = 1000


def counted(checkout, calls):
    """Instructions of each call, without those of the loop around it."""
    program = SETUP.replace("ROUNDS", str(ROUNDS)).replace("CALLS", repr(["pass", *calls]))
    environment = os.environ | {"PYTHONPATH": str(checkout), "PYTHONHASHSEED": "0", "OPENBLAS_NUM_THREADS": "1"}
    with tempfile.TemporaryDirectory() as folder:
        command = ["valgrind", "--tool=callgrind", "--dump-before=ctermid", f"--callgrind-out-file={folder}/counts",
                   sys.executable, "-c", program]
        done = subprocess.run(command, cwd=checkout, env=environment, capture_output=True, text=True)
        if done.returncode:
            raise SystemExit(done.stderr[-2000:])
        counts = [int(re.search(r"^totals: (\d+)", Path(folder, f"counts.{2 * k}").read_text(), re.MULTILINE)[1])
                  for k in range(1, len(calls) + 2)]
        return [(count - counts[0]) // ROUNDS for count in counts[1:]]


def main():
    parser = argparse.ArgumentParser(prog="python -m bench.instructions", description=__doc__.splitlines()[0])
    parser.add_argument("checkouts", nargs="*", default=[Path(__file__).resolve().parents[1]], type=Path)
    parser.add_argument("--only", default="", help="the cases whose name has this text")
    parser.add_argument("--json", type=Path, help="write the counts to this file")
    args = parser.parse_args()
    cases = {case: call for case, call in CASES.items() if args.only in case}
    columns = [counted(path.resolve(), list(cases.values())) for path in args.checkouts]
    table = {case: list(counts) for case, counts in zip(cases, zip(*columns))}
    for case, counts in table.items():
        print(f"{case:<36}" + "".join(f"{count:>10}" for count in counts)
              + (f"   {counts[-1] / counts[0] - 1:+.1%}" if len(counts) > 1 else ""))
    if args.json:
        args.json.write_text(json.dumps(table, indent=1) + "\n")


if __name__ == "__main__":
    main()
