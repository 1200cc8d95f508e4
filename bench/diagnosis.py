"""python -m bench.diagnosis [--nets N] [--seed S] [--json FILE]: how often is a diagnosis right?

Nets are drawn by a seeded sampler. What "trains" means is fixed before any of them is diagnosed: at the best of four
rates, 3 of 5 seeds reach 80 % of the accuracy that a reference net reaches on the same digits in as many steps. The
first half of the nets chooses the thresholds, of ours and of the rules that other tools use; on the second half each
rule is asked once. Recall: the share of nets that do not train which it finds; precision: the share of its alarms that
are right; both with Wilson's 95 % interval.
"""
import argparse
import itertools
import json
import math
import time
from collections import Counter

import numpy as np

import microgradx as mgx
from microgradx import data, nn, optim
from microgradx.flow import diagnosis, verdicts
from microgradx.nn import functional as F

STEPS, BATCH, ROWS, SEEDS, NEEDED, SHARE = 200, 64, 256, 5, 3, 0.8
SPACE = {"activation": ("Sigmoid", "Tanh", "ReLU", "GELU", "SELU"),
         "init": ("default", "lecun", "he", "xavier", "nielsen", "orthogonal", "tenth", "tenfold"),
         "depth": (2, 3, 5, 8, 12, 16, 20), "width": (16, 32, 64), "norm": ("none",) * 6 + ("batch", "layer"),
         "skip": (False, False, False, True), "optimizer": ("SGD", "momentum", "Adam"), "rate": (0, 1, 2, 3)}
RATES = {"SGD": (0.01, 0.05, 0.2, 1.0), "momentum": (0.001, 0.01, 0.05, 0.2), "Adam": (1e-4, 1e-3, 5e-3, 2e-2)}
VARIANCE = {"lecun": 1.0, "he": 2.0, "nielsen": 1.0, "tenth": 0.1, "tenfold": 10.0}
SICK = {verdicts.CUT, verdicts.WRONG, verdicts.SYMMETRIC, verdicts.DYING,
        verdicts.SATURATED, verdicts.BACKWARD, verdicts.FORWARD, verdicts.EXPLODING}
GRID = {"learned": (0.1, 0.02, 0.05, 0.2), "decades": (2.0, 1.0, 1.5, 2.5, 3.0), "dead": (0.9, 0.6),
        "saturated": (0.5, 0.7, 0.9)}


def build(spec, seed):
    """64 - depth x width - 10."""
    rng, layers = np.random.default_rng(seed), []
    sizes = [64, *[spec["width"]] * spec["depth"], 10]
    for n_in, n_out in zip(sizes, sizes[1:]):
        linear = nn.Linear(n_in, n_out, rng=rng)
        if spec["init"] in VARIANCE:
            nn.init.normal_(linear.weight, 0.0, math.sqrt(VARIANCE[spec["init"]] / n_in), rng)
            nn.init.normal_(linear.bias, 0.0, float(spec["init"] == "nielsen"), rng)
        elif spec["init"] != "default":
            getattr(nn.init, {"xavier": "xavier_normal_", "orthogonal": "orthogonal_"}[spec["init"]])(
                linear.weight, rng=rng)
            nn.init.zeros_(linear.bias)
        norm = {"none": [], "batch": [nn.BatchNorm1d(n_out)], "layer": [nn.LayerNorm(n_out)]}[spec["norm"]]
        block = nn.Sequential(linear, *norm, getattr(nn, spec["activation"])())
        layers.append(nn.Residual(block) if spec["skip"] and n_in == n_out else block)
    return nn.Sequential(*layers[:-1], linear)


def optimizer(spec, net, rate):
    if spec["optimizer"] == "Adam":
        return optim.Adam(net.parameters(), lr=rate)
    return optim.SGD(net.parameters(), lr=rate, momentum=0.9 * (spec["optimizer"] == "momentum"))


def accuracy(spec, digits, rate, seed):
    """On the test digits, after the steps."""
    x, y, x_test, y_test = digits
    net, rng = build(spec, seed), np.random.default_rng(seed)
    update = optimizer(spec, net, rate)
    for step in range(STEPS):
        rows = rng.integers(0, len(x), BATCH)
        update.zero_grad()
        loss = F.cross_entropy(net(mgx.Tensor(x[rows])), y[rows])
        if step % 50 == 0 and not math.isfinite(loss.item()):
            return 0.0
        loss.backward()
        update.step()
    net.eval()
    with mgx.no_grad():
        return float((net(mgx.Tensor(x_test)).numpy().argmax(axis=1) == y_test).mean())


def trains(spec, digits, target):
    """(does it, the accuracies that were needed to know): rates in turn, until three seeds of one reach the target."""
    found = {}
    for rate in RATES[spec["optimizer"]]:
        got = found[rate] = []
        for seed in range(SEEDS):
            got.append(accuracy(spec, digits, rate, seed))
            reached = sum(a >= target for a in got)
            if reached >= NEEDED or len(got) - reached > SEEDS - NEEDED:
                break
        if reached >= NEEDED:
            return True, found
    return False, found


# ----- the rules -----------------------------------------------------------------------------------------------------

def _log(x):
    return math.log10(x) if x > 0 else -99.0


def _grads(course):
    grads = course.record.first["grad"]
    return grads[np.isfinite(grads)]


# A number that grows with the suspicion; where it counts is chosen on the first half. Tools as science has read them.
SCORES = {
    "smallest weight gradient (SageMaker)": lambda c: -_log(_grads(c).min()),
    "first weight gradient, and over the last (AutoTrainer)":
        lambda c: min(_log(_grads(c)[-1]) - _log(_grads(c)[0]), -_log(_grads(c)[0])),
    "error, last over first (torchmortem)":
        lambda c: _log(c.record.first["error"][-1]) - _log(c.record.first["error"][0]),
    "share of units near zero (fastai, DLCheck)": lambda c: float(np.nanmax(c.record.first["dead"])),
    "smallest update ratio (CS231n)": lambda c: -_log(float(np.nanmin(c.record.first["update"]))),
    "error or signal, either way (ours without training)": lambda c: max(map(abs, c.decades())),
    "learned in 100 steps (training alone)": lambda c: -c.learned if math.isfinite(c.learned) else 99.0}


def balanced(alarms, sick):
    """The mean of the shares of sick and of sound nets that are called so."""
    alarms, sick = np.asarray(alarms), np.asarray(sick)
    shares = [(alarms[sick] == 1).mean() if sick.any() else 1.0, (alarms[~sick] == 0).mean() if (~sick).any() else 1.0]
    return float(np.mean(shares))


def ours(courses, cuts):
    """Alarms with such cuts."""
    alarms = []
    for course in courses:
        course.cuts = verdicts.CUTS | cuts
        alarms.append(verdicts.finding(course).verdict)
    return [verdict in SICK for verdict in alarms]


def wilson(hits, n, z=1.96):
    """(share, low, high)."""
    if not n:
        return None, 0.0, 1.0
    p, d = hits / n, 1 + z * z / n
    middle, half = (p + z * z / (2 * n)) / d, z / d * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    return p, max(0.0, middle - half), min(1.0, middle + half)


def judged(alarms, sick):
    hits = sum(a and s for a, s in zip(alarms, sick))
    return {"recall": wilson(hits, sum(sick)), "precision": wilson(hits, sum(alarms)),
            "balanced": balanced(alarms, sick), "alarms": int(sum(alarms)), "sick": int(sum(sick)), "nets": len(sick)}


def cell(share):
    return "    -             " if share[0] is None else f"{share[0]:4.0%} [{share[1]:4.0%} {share[2]:4.0%}]"


def main():
    parser = argparse.ArgumentParser(prog="python -m bench.diagnosis", description="How often is a diagnosis right?")
    parser.add_argument("--nets", type=int, default=150)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", help="write every number to this file")
    parser.add_argument("--truth", help="such a file of the same nets: which of them train is taken from it")
    args = parser.parse_args()
    known = None
    if args.truth:
        with open(args.truth) as file:
            known = json.load(file)
        if (known["seed"], len(known["nets"])) != (args.seed, args.nets):
            parser.error(f"{args.truth} is of {len(known['nets'])} nets of seed {known['seed']}")
    began, rng, digits = time.process_time(), np.random.default_rng(args.seed), data.digits(split=True)
    reference = {"activation": "ReLU", "init": "he", "depth": 2, "width": 64, "norm": "none", "skip": False,
                 "optimizer": "Adam"}
    best = known["best accuracy"] if known else max(accuracy(reference, digits, rate, 0) for rate in RATES["Adam"])
    x, y = digits[0][:ROWS], digits[1][:ROWS]
    nets, courses = [], []
    for k in range(args.nets):
        spec = {name: values[rng.integers(len(values))] for name, values in SPACE.items()}
        spec["rate"] = RATES[spec["optimizer"]][spec["rate"]]
        if known:
            good, accuracies = (known["nets"][k][name] for name in ("trains", "accuracies"))
        else:
            good, accuracies = trains(spec, digits, SHARE * best)
        net = build(spec, 1000 + k)
        start = time.process_time()
        courses.append(diagnosis.course(net, F.cross_entropy, (x, y), optimizer(spec, net, spec["rate"])))
        nets.append({"spec": spec, "trains": good, "accuracies": accuracies, "seconds": time.process_time() - start})
        print(f"{k + 1:4d} {'trains' if good else 'does not train':<14} "
              f"{max(max(a) for a in accuracies.values()):.3f}  {' '.join(map(str, spec.values()))}", flush=True)
    half, sick = args.nets // 2, [not net["trains"] for net in nets]

    cuts = max((dict(zip(GRID, values)) for values in itertools.product(*GRID.values())),
               key=lambda cuts: balanced(ours(courses[:half], cuts), sick[:half]))
    rules = {"flow.diagnose": judged(ours(courses[half:], cuts), sick[half:]) | {"cut": cuts}}
    for name, score in SCORES.items():
        scores = np.array([score(course) for course in courses])
        cut = max(sorted(set(scores[:half])), key=lambda c: balanced(scores[:half] >= c, sick[:half]))
        rules[name] = judged(list(scores[half:] >= cut), sick[half:]) | {"cut": float(cut)}
    for net, course in zip(nets, courses):
        finding = verdicts.finding(course)
        net |= {"verdict": finding.verdict, "cause": finding.cause, "learned": course.learned}
    about = {"date": time.strftime("%Y-%m-%d"), "seed": args.seed, "steps": STEPS, "batch": BATCH,
             "best accuracy": best, "target": SHARE * best, "cpu seconds": time.process_time() - began,
             "version": mgx.__version__}

    print(f"\n{args.nets} nets, seed {args.seed}: {sum(sick)} do not train (below {SHARE * best:.3f} on the test "
          f"digits); thresholds from the first {half}, what follows is the other {args.nets - half}")
    print(f"{'rule':<56} {'recall':<18} {'precision':<18} balanced  threshold")
    for name, r in rules.items():
        print(f"{name:<56} {cell(r['recall'])} {cell(r['precision'])} {r['balanced']:.2f}      "
              + (f"{r['cut']:.3g}" if isinstance(r["cut"], float) else str(r["cut"])))
    print("\nverdicts on the second half:")
    for good in (False, True):
        count = Counter(n["verdict"] for n in nets[half:] if n["trains"] == good)
        print(f"  {'trains' if good else 'does not train':<14} "
              + ", ".join(f"{verdict}: {n}" for verdict, n in count.most_common()))
    print("\nwhere flow.diagnose was wrong:")
    for k, net in list(enumerate(nets))[half:]:
        if net["trains"] == (net["verdict"] in SICK):
            print(f"  net {k + 1} {'trains' if net['trains'] else 'does not train'}, called {net['verdict']} (learned "
                  f"{net['learned']:.2f}): {' '.join(map(str, net['spec'].values()))}")
    if args.json:
        with open(args.json, "w") as file:
            json.dump(about | {"rules": rules, "nets": nets}, file, indent=1, default=float)


if __name__ == "__main__":
    main()
