"""python -m bench.wild [--cases FOLDER] [--only WORD ...] [--show]: is the diagnosis of a torch net right?

The nets are those of ``wild_nets``; of other nets, FOLDER has a ``cases.py`` whose ``CASES[key]`` has ``right`` and
``partly`` (verdicts) and ``build()``, which gives x, y, t_make, t_loss, t_opt and batch. Every net is diagnosed as its
user would do it: the module, the cost, a loader of minibatches, the optimizer. Printed are the verdict, whether it is
right, whether it is doubted, the first prescription with a tick if it was proved, and the seconds of one core.
"""
import argparse
import importlib
import sys
import time
import warnings
from collections import Counter

import torch

from microgradx import flow
from microgradx.errors import Error
from microgradx.flow.verdicts import FORMER, HEALTHY


def nets(folder, seed):
    """(name, family, right, partly, the arguments of ``diagnose``)."""
    if folder is None:
        from bench.wild_nets import CASES
        for name, case in CASES.items():
            torch.manual_seed(seed)
            model, cost, optimizer, schedule, x, y, batch = case.build()
            yield name, case.family, case.right, set(), model, cost, optimizer, schedule, x, y, batch
        return
    sys.path.insert(0, folder)
    for name, case in importlib.import_module("cases").CASES.items():
        torch.manual_seed(seed)
        c = case.build()
        model = c.t_make()
        optimizer = c.t_opt(model.parameters())
        schedule = torch.optim.lr_scheduler.StepLR(optimizer, 1, 0.5) if c.get("loop") == "sched" else None
        yield (name, case.kind, case.right, case.partly, model, c.t_loss, optimizer, schedule, torch.as_tensor(c.x),
               torch.as_tensor(c.y), c.batch)


def loader(x, y, batch, seed):
    return torch.utils.data.DataLoader(torch.utils.data.TensorDataset(x, y), batch, shuffle=True,
                                       generator=torch.Generator().manual_seed(seed))


def main():
    parser = argparse.ArgumentParser(prog="python -m bench.wild", description="Are diagnoses of torch nets right?")
    parser.add_argument("--cases", help="a folder with cases.py; the nets of bench/wild_nets.py if not given")
    parser.add_argument("--only", nargs="*", default=(), help="names that begin so")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--show", action="store_true", help="print every diagnosis")
    args = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    count, doubts, ticks = Counter(), 0, 0
    for name, family, right, partly, model, cost, optimizer, schedule, x, y, batch in nets(args.cases, args.seed):
        if args.only and not any(name.startswith(start) for start in args.only):
            continue
        began = time.process_time()
        try:
            found = flow.diagnose(model, cost, loader(x, y, batch, args.seed), optimizer, schedule=schedule)
        except Error as error:
            count["sick" if right != {HEALTHY} else "sound", "wrong"] += 1
            print(f"wrong  {family:<12.12} {name:<40.40} {type(error).__name__}: {error}", flush=True)
            continue
        words = {found.verdict, *FORMER.get(found.verdict, ())}
        grade = "right" if words & right else "partly" if words & partly else "wrong"
        count["sound" if right == {HEALTHY} else "sick", grade] += 1
        doubts += found.doubt is not None
        ticks += found.cure is not None
        first = (found.cure or next(iter(found.prescriptions), {"name": "-"}))["name"]
        print(f"{grade:<6} {family:<12.12} {name:<40.40} {found.verdict:<26}{'?' if found.doubt else ' '} "
              f"{'✓' if found.cure else ' '} {first:<34.34} {time.process_time() - began:5.1f} s", flush=True)
        if args.show or grade != "right":
            print(found if args.show else f"       {found.cause}")
    for (kind, grade), n in sorted(count.items()):
        print(f"{kind} {grade}: {n}")
    print(f"doubted: {doubts}; with a proved cure: {ticks}")


if __name__ == "__main__":
    main()
