"""python -m bench.wild [--cases FOLDER [--cures]] [--only WORD ...] [--show]: is the diagnosis of a torch net right?

The nets are those of ``wild_nets``; of other nets, FOLDER has a ``cases.py`` whose ``CASES[key]`` has ``right`` and
``partly`` (verdicts) and ``build()``, which gives x, y, t_make, t_loss, t_opt and batch. Every net is diagnosed as its
user would do it: the module, the cost, a loader of minibatches, the optimizer. Printed are the verdict, whether it is
right, whether it is doubted, the first prescription with a tick if it was proved, and the seconds of one core.

``--cures``: a case with ``t_fix``, what the known fix has in the place of t_make, t_loss, t_opt and steps, is trained
with it and with the lines of the first prescription, for as many steps. The prescription is as good if the cost of rows
that were held out, as the fix sees it, is at most 1.25 times as large, of the median of 3 seeds.
"""
import argparse
import importlib
import math
import sys
import time
import warnings
from collections import Counter

import numpy as np
import torch

from microgradx import flow
from microgradx.errors import Error
from microgradx.flow.settings import FAILURES
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


def held_out(case, seed, lines=None):
    """The cost of a fourth of the rows after training on the others: with the known fix, or with the lines."""
    torch.manual_seed(seed)
    fix = dict(case.t_fix)
    cost, steps = fix.get("t_loss", case.t_loss), fix.get("steps", case.steps)
    of = {} if lines else fix
    model = of.get("t_make", case.t_make)()
    names = {"model": model, "optimizer": of.get("t_opt", case.t_opt)(model.parameters()), "schedule": None,
             "loss_fn": of.get("t_loss", case.t_loss), "torch": torch, "nn": torch.nn, "optim": torch.optim}
    exec("\n".join(lines or ()), names)
    model, optimizer, loss_fn = names["model"].train(), names["optimizer"], names["loss_fn"]
    x, y = torch.as_tensor(case.x), torch.as_tensor(case.y)
    rows, rng, order = np.random.default_rng(7).permutation(len(x)), np.random.default_rng(seed), []
    few = len(x) < 16                                   # all there is, such as XOR
    train, test = (rows, rows) if few else (rows[len(x) // 4:], rows[:len(x) // 4])
    for _ in range(steps):
        if len(order) < min(case.batch, len(train)):
            order = list(rng.permutation(train))
        batch, order = order[:case.batch], order[case.batch:]
        optimizer.zero_grad()
        loss_fn(model(x[batch]), y[batch]).backward()
        optimizer.step()
    with torch.no_grad():
        return cost(model.eval()(x[test]), y[test]).item()


def over_the_fix(case, lines):
    """The cost that a prescription leaves over that which the known fix leaves; inf where it fails."""
    try:
        ours, known = (np.median([held_out(case, seed, given) for seed in range(3)]) for given in (lines, None))
    except FAILURES:
        return math.inf
    return ours / known if known else 1.0 + ours


def main():
    parser = argparse.ArgumentParser(prog="python -m bench.wild", description="Are diagnoses of torch nets right?")
    parser.add_argument("--cases", help="a folder with cases.py; the nets of bench/wild_nets.py if not given")
    parser.add_argument("--only", nargs="*", default=(), help="names that begin so")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--cures", action="store_true", help="compare prescriptions with the known fixes")
    parser.add_argument("--show", action="store_true", help="print every diagnosis")
    args = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    count, doubts, ticks, cures = Counter(), 0, 0, Counter()
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
        case = args.cures and sys.modules["cases"].CASES[name].build()
        if case and case.get("t_fix") and found.prescriptions:
            ratio = over_the_fix(case, found.prescriptions[0]["lines"])
            cures["good", ratio <= 1.25] += 1
            cures["only ticked", bool(found.cure) and not ratio <= 1.25] += 1
            print(f"       {ratio:.3g} times the cost that the known fix leaves")
        if args.show or grade != "right":
            print(found if args.show else f"       {found.cause}")
    for (kind, grade), n in sorted(count.items()):
        print(f"{kind} {grade}: {n}")
    print(f"doubted: {doubts}; with a proved cure: {ticks}")
    if args.cures:
        print(f"of {cures.total() // 2} first prescriptions of nets with a known fix, {cures['good', True]} are as "
              f"good as it; {cures['only ticked', True]} are ticked and are not")


if __name__ == "__main__":
    main()
