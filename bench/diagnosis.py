"""python -m bench.diagnosis [--nets N] [--judge SEED] [--json FILE]: how often is a diagnosis right?

Nets are drawn by a seeded sampler. What "trains" means is fixed before any of them is diagnosed: at the best of four
rates, 3 of 5 seeds reach 80 % of the accuracy that a reference net reaches on the same digits in as many steps. The
nets of the seeds ``CHOOSE`` choose the thresholds, of ours and of the rules that other tools use; on the nets of
``JUDGE`` each rule is asked once. Recall: the share of nets that do not train which it finds; precision: the share of
its alarms that are right; all shares with Wilson's 95 % interval.

The planted cause is defined by the sampler's choices and by training alone, without anything that is measured here.
A choice is a defect as ``DEFECTS`` says: weights smaller or larger than the activation's own, biases of variance 1,
sigmoids, a norm, unscaled shortcuts; depth and width multiply a defect and are none. The planted causes of a sick net
are the defects whose replacement by the healthy choice, all else as it is, makes it train as defined above; where no
single one does, all its defects. A diagnosis names the cause if its verdict is one of those of the table. It counts
as cured if the first prescription, as ``flow.diagnose`` itself tries it, makes it learn.

Seed 0 was drawn with a second half on which an earlier version of the rules was judged, twice; it is not used any more.
"""
import argparse
import itertools
import json
import math
import time
from collections import Counter

import numpy as np

import microgradx as mgx
from microgradx import data, flow, nn, optim
from microgradx.flow import diagnosis, verdicts
from microgradx.nn import functional as F

CHOOSE, JUDGE = (0, 1, 2), 3
STEPS, BATCH, ROWS, SEEDS, NEEDED, SHARE = 200, 64, 256, 5, 3, 0.8
SPACE = {"activation": ("Sigmoid", "Tanh", "ReLU", "GELU", "SELU"),
         "init": ("default", "lecun", "he", "xavier", "nielsen", "orthogonal", "tenth", "tenfold"),
         "depth": (2, 3, 5, 8, 12, 16, 20), "width": (16, 32, 64), "norm": ("none",) * 6 + ("batch", "layer"),
         "skip": (False, False, False, True), "optimizer": ("SGD", "momentum", "Adam"), "rate": (0, 1, 2, 3)}
RATES = {"SGD": (0.01, 0.05, 0.2, 1.0), "momentum": (0.001, 0.01, 0.05, 0.2), "Adam": (1e-4, 1e-3, 5e-3, 2e-2)}
VARIANCE = {"lecun": 1.0, "he": 2.0, "nielsen": 1.0, "tenth": 0.1, "tenfold": 10.0}
VARIANCES = VARIANCE | {"default": 1 / 3, "xavier": 1.0, "orthogonal": 1.0}      # n_in Var(W) of square layers
OWN = {"Sigmoid": "lecun", "Tanh": "lecun", "ReLU": "he", "GELU": "he", "SELU": "lecun"}
GRID = {"learned": (0.1, 0.3), "elsewhere": (0.2, 0.1, 0.15, 0.25), "decades": (1.3, 1.0, 1.5, 2.0),
        "certain": (2.0, 3.0), "saturated": (0.5, 0.7, 0.9)}


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


# ----- the planted cause ---------------------------------------------------------------------------------------------

def _size(spec):
    return VARIANCES[spec["init"]] / VARIANCES[OWN[spec["activation"]]]


def _own(spec):
    return {"init": OWN[spec["activation"]]}


VANISHES, GROWS = {verdicts.BACKWARD, verdicts.FORWARD}, {verdicts.EXPLODING, verdicts.SATURATED}

# defect: (is it there, the healthy choice, the verdicts that name it)
DEFECTS = {
    "weights too small": (lambda spec: _size(spec) < 1 / 1.5, _own, VANISHES),
    "weights too large": (lambda spec: _size(spec) > 1.5, _own, GROWS),
    "biases of variance 1": (lambda spec: spec["init"] == "nielsen", _own, VANISHES),
    "sigmoids": (lambda spec: spec["activation"] == "Sigmoid", lambda spec: {"activation": "Tanh"}, VANISHES),
    "a norm": (lambda spec: spec["norm"] != "none", lambda spec: {"norm": "none"}, {verdicts.EXPLODING}),
    "unscaled shortcuts": (lambda spec: spec["skip"], lambda spec: {"skip": False}, {verdicts.EXPLODING})}


def planted(spec, digits, target):
    """(the planted causes of a net that does not train, is any of them sufficient)."""
    present = [name for name, (there, _, _) in DEFECTS.items() if there(spec)]
    healed = [name for name in present if trains(spec | DEFECTS[name][1](spec), digits, target)[0]]
    return healed or present, bool(healed)


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


def alarm(course, cuts):
    """(does the diagnosis say that the net trains at no rate, its verdict)."""
    course.cuts = verdicts.CUTS | cuts
    found = verdicts.finding(course)
    by_heart = found.evidence and found.evidence[0][0] == verdicts.UNSEEN
    return not by_heart and found.verdict not in (verdicts.HEALTHY, verdicts.FAST, verdicts.SLOW), found.verdict


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


def drawn(seed, count, digits, target):
    """``count`` nets of a seed: (what is known of each, its ``Course``)."""
    rng, x, y = np.random.default_rng(seed), digits[0][:ROWS], digits[1][:ROWS]
    for k in range(count):
        spec = {name: values[rng.integers(len(values))] for name, values in SPACE.items()}
        spec["rate"] = RATES[spec["optimizer"]][spec["rate"]]
        good, accuracies = trains(spec, digits, target)
        net = build(spec, 1000 * (seed + 1) + k)
        course = diagnosis.course(net, F.cross_entropy, (x, y), optimizer(spec, net, spec["rate"]))
        print(f"{seed}.{k:<4} {'trains' if good else 'does not train':<14} "
              f"{max(max(a) for a in accuracies.values()):.3f}  {' '.join(map(str, spec.values()))}", flush=True)
        yield {"seed": seed, "net": k, "spec": spec, "trains": good, "accuracies": accuracies}, course


def cured(net, digits, cuts):
    """Of a sick net: the prescriptions that ``flow.diagnose`` tried, and whether they made it learn."""
    model = build(net["spec"], 1000 * (net["seed"] + 1) + net["net"])
    found = flow.diagnose(model, F.cross_entropy, (digits[0][:ROWS], digits[1][:ROWS]),
                          optimizer(net["spec"], model, net["spec"]["rate"]), cuts=cuts)
    return [(p["name"], p["trains"], p["after"] and p["after"]["learned"]) for p in found.prescriptions]


def report(about, rules, judge, shares):
    sick = sum(not net["trains"] for net in judge)
    print(f"\n{about['choosing']} nets of the seeds {', '.join(map(str, CHOOSE))} chose the thresholds; what follows "
          f"is {len(judge)} nets of seed {about['seed']}, {sick} of which do not train (below {about['target']:.3f} on "
          "the test digits)")
    print(f"{'rule':<56} {'recall':<18} {'precision':<18} balanced  threshold")
    for name, r in rules.items():
        print(f"{name:<56} {cell(r['recall'])} {cell(r['precision'])} {r['balanced']:.2f}      "
              + (f"{r['cut']:.3g}" if isinstance(r["cut"], float) else str(r["cut"])))
    print("\nof the nets that do not train:")
    for name, (hits, n, share) in shares.items():
        print(f"  {name:<69} {hits:3d} of {n:3d} {cell(share)}")
    print("\nverdicts:")
    for good in (False, True):
        count = Counter(n["verdict"] for n in judge if n["trains"] == good)
        print(f"  {'trains' if good else 'does not train':<14} "
              + ", ".join(f"{verdict}: {n}" for verdict, n in count.most_common()))
    print("\nwhere flow.diagnose was wrong:")
    for net in judge:
        words = [f"called {net['verdict']}, which is {'an' if net['alarm'] else 'no'} alarm"
                 ] * (net["trains"] == net["alarm"])
        if not net["trains"]:
            words += ([f"planted: {', '.join(net['planted'])}"] * (net["planted"] != [] and not net["named"])
                      + [f"first prescription: {net['tried'][0][0] if net['tried'] else 'none'}"] * (not net["first"]))
        if words:
            print(f"  {net['seed']}.{net['net']:<4} {'trains' if net['trains'] else 'does not train'}, "
                  f"{net['verdict']} (learned {net['learned']:.2f}): {' '.join(map(str, net['spec'].values()))}; "
                  f"{'; '.join(words)}")


def as_text(findings, nets):
    """JSON with a line for every net."""
    head, lines = json.dumps(findings, indent=1, default=float), [json.dumps(net, default=float) for net in nets]
    return head[:-2] + ',\n "nets": [\n  ' + ",\n  ".join(lines) + "\n ]\n}\n"


def main():
    parser = argparse.ArgumentParser(prog="python -m bench.diagnosis", description="How often is a diagnosis right?")
    parser.add_argument("--nets", type=int, default=75, help="of each choosing seed; twice as many are judged")
    parser.add_argument("--judge", type=int, default=JUDGE, help="the seed of the nets that are judged")
    parser.add_argument("--json", help="write every number to this file")
    args = parser.parse_args()
    began, digits = time.process_time(), data.digits(split=True)
    reference = {"activation": "ReLU", "init": "he", "depth": 2, "width": 64, "norm": "none", "skip": False,
                 "optimizer": "Adam"}
    best = max(accuracy(reference, digits, rate, 0) for rate in RATES["Adam"])
    choose = [pair for seed in CHOOSE for pair in drawn(seed, args.nets, digits, SHARE * best)]
    sick = [not net["trains"] for net, _ in choose]
    cuts = max((dict(zip(GRID, values)) for values in itertools.product(*GRID.values())),
               key=lambda cuts: balanced([alarm(course, cuts)[0] for _, course in choose], sick))
    judge = list(drawn(args.judge, 2 * args.nets, digits, SHARE * best))
    truth = [not net["trains"] for net, _ in judge]
    for net, course in judge:
        net["alarm"], net["verdict"] = alarm(course, cuts)
        net |= {"learned": course.learned, "elsewhere": course.elsewhere, "decades": course.decades()}
        if not net["trains"]:
            net["planted"], net["sufficient"] = planted(net["spec"], digits, SHARE * best)
            net["named"] = any(net["verdict"] in DEFECTS[name][2] for name in net["planted"])
            net["tried"] = cured(net, digits, cuts)
            net["first"] = bool(net["tried"] and net["tried"][0][1])
    rules = {"flow.diagnose": judged([net["alarm"] for net, _ in judge], truth) | {"cut": cuts}}
    for name, score in SCORES.items():
        known, asked = (np.array([score(course) for _, course in pairs]) for pairs in (choose, judge))
        cut = max(sorted(set(known)), key=lambda c: balanced(known >= c, sick))
        rules[name] = judged(list(asked >= cut), truth) | {"cut": float(cut)}
    judge = [net for net, _ in judge]
    ill = [net for net in judge if not net["trains"]]
    single, alarmed = [n for n in ill if n["sufficient"]], [n for n in ill if n["alarm"]]
    shares = {name: (hits := sum(map(bool, good)), len(good), wilson(hits, len(good))) for name, good in {
        "a planted cause is named by the verdict": [n["named"] for n in ill if n["planted"]],
        "the same, of nets that one healthy choice heals": [n["named"] for n in single],
        "the first prescription makes it learn": [n["first"] for n in ill],
        "the same, of those that were called sick": [n["first"] for n in alarmed],
        "one of the first four does": [any(t[1] for t in n["tried"]) for n in ill]}.items()}
    about = {"date": time.strftime("%Y-%m-%d"), "seed": args.judge, "choosing": len(choose), "steps": STEPS,
             "batch": BATCH, "best accuracy": best, "target": SHARE * best,
             "cpu seconds": time.process_time() - began, "version": mgx.__version__}
    report(about, rules, judge, shares)
    if args.json:
        with open(args.json, "w") as file:
            file.write(as_text(about | {"rules": rules, "sick nets": shares}, [n for n, _ in choose] + judge))


if __name__ == "__main__":
    with np.errstate(all="ignore"):
        main()
