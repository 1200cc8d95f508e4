"""Instructions of small calls, counted by valgrind: python -m bench.instructions [CHECKOUT ...] [--json FILE].

Each case runs twice, in processes of their own: many rounds, and one, whose count, mostly the import's, is taken off.
Counts do not depend on what else the machine does, so a change of 1 % shows; a second thread of the BLAS would count
its waiting, so it has one. Without a checkout it counts this one. ``bench/results/instructions.json`` has the last
counts that were recorded.
"""
import argparse
import json
import os
import re
import subprocess
import sys
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
import gc, sys
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
for _ in range(ROUNDS):
    CALL
"""
ROUNDS = 20_000


def counted(checkout, call, rounds):
    """Instructions of the whole program."""
    program = SETUP.replace("ROUNDS", str(rounds)).replace("CALL", call)
    environment = os.environ | {"PYTHONPATH": str(checkout), "PYTHONHASHSEED": "0", "OPENBLAS_NUM_THREADS": "1"}
    command = ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null", sys.executable, "-c", program]
    done = subprocess.run(command, cwd=checkout, env=environment, capture_output=True, text=True)
    found = re.search(r"Collected : (\d+)", done.stderr)
    if not found:
        raise SystemExit(done.stderr[-2000:])
    return int(found.group(1))


def main():
    parser = argparse.ArgumentParser(prog="python -m bench.instructions", description=__doc__.splitlines()[0])
    parser.add_argument("checkouts", nargs="*", default=[Path(__file__).resolve().parents[1]], type=Path)
    parser.add_argument("--only", default="", help="the cases whose name has this text")
    parser.add_argument("--json", type=Path, help="write the counts to this file")
    args = parser.parse_args()
    table = {}
    for case, call in CASES.items():
        if args.only not in case:
            continue
        table[case] = [round((counted(path, call, ROUNDS + 1) - counted(path, call, 1)) / ROUNDS)
                       for path in map(Path.resolve, args.checkouts)]
        print(f"{case:<36}" + "".join(f"{count:>10}" for count in table[case])
              + (f"   {table[case][-1] / table[case][0] - 1:+.1%}" if len(table[case]) > 1 else ""), flush=True)
    if args.json:
        args.json.write_text(json.dumps(table, indent=1) + "\n")


if __name__ == "__main__":
    main()
