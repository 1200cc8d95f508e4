"""python -m bench.diagnosis [--nets N] [--seed SEED] [--executor processes=2] [--store DIR] [--json FILE] [--pages]
[--quick]: how often is a diagnosis right?

Nets of six families, of microgradx and of torch (``diagnosis_nets``), are drawn by seed; every other one has a planted
fault. **It trains** if with its own optimizer and rate, after 200 minibatches, 2 of 3 seeds reach 80 % of the test
score that sound nets of its family reach (the mean over classes of the share that is right, or 1 - error / variance);
this is measured before anything is diagnosed. A net that does not train is sick. A net with a fault that trains all the
same is counted apart: no rule has to find it, and none is blamed for it.

Recall: the share of sick nets that get a verdict other than healthy; precision: the share of such verdicts, among sick
nets and sound ones without a fault, that a sick net got. The cause is right if the verdict is one of those that name
the planted fault. A cure is judged as training is: the first prescription's lines are run on the net, whose 2 of 3
seeds reach the target. Shares have Wilson's 95 % interval.

The rules of other tools are numbers with a threshold that the nets of ``CHOOSE`` choose for them; ours are those of the
package as it is. Seed your nets by a number that was not known when the rules were frozen: ``--seed`` takes the first 8
hexadecimal digits of a commit, too. The rules' thresholds were chosen on earlier nets of another sampler. ``--pages``
records the figures and writes those that README.md and docs/diagnosis.md quote.
"""
import argparse
import json
import math
import platform
import subprocess
import textwrap
import time
import warnings
from collections import Counter, defaultdict
from dataclasses import asdict
from pathlib import Path

import numpy as np

import microgradx as mgx
from bench import common
from bench.diagnosis_nets import BALANCED_OF_ONE, FAMILIES, FAULTS, FRAMEWORKS, OWN_DATA, Spec, Training, drawn, gain_of
from microgradx import flow, parallel
from microgradx.errors import Error
from microgradx.flow import diagnosis, prescriptions, verdicts
from microgradx.flow.settings import FAILURES, RATES

CHOOSE = 1                      # the seed of the nets that choose thresholds
RESULTS = Path(__file__).parent / "results/diagnosis.json"
PAGES = (Path(__file__).parents[1] / "README.md", Path(__file__).parents[1] / "docs/diagnosis.md")
START, END = "<!-- written by python -m bench.diagnosis --pages -->", "<!-- end of what it writes -->"
STEPS, BATCH, SEEDS, NEEDED, SHARE = 200, 32, 3, 2, 0.8
FACTORS = RATES[:4]


# ----- what is true --------------------------------------------------------------------------------------------------

def reference(task):
    """The best score of sound nets of a family."""
    family, framework = task
    best = 0.0
    for rate in (3e-3, 6e-3):
        spec = Spec(family, framework, depth=2, width=48, gain=gain_of("ReLU"), norm=family == "residual", cell="GRU",
                    rate=rate, data=OWN_DATA.get(family, "digits"))
        best = max(best, Training(spec, 0).score(STEPS, BATCH))
    return best


def reaches(spec, target, change=()):
    """Do enough seeds of a net reach the target, after the lines of a change?"""
    reached = 0
    for seed in range(SEEDS):
        training = Training(spec, seed)
        try:
            training.change(change)
            reached += training.score(STEPS, BATCH) >= target
        except FAILURES:
            if not change:
                raise                                   # lines that do not run are no cure
        if reached >= NEEDED or seed + 1 - reached > SEEDS - NEEDED:
            break
    return reached >= NEEDED


def minibatches(training):
    """What a loader gives in one pass: each row once."""
    rows = np.random.default_rng(0).permutation(len(training.x))
    return [training.batch(rows[k:k + BATCH]) for k in range(0, len(rows) - BATCH + 1, BATCH)]


# ----- the rules -----------------------------------------------------------------------------------------------------

def _log(x):
    return math.log10(x) if x > 0 else -99.0


def _grads(course):
    grads = course.record.first["grad"]
    return grads[np.isfinite(grads)]


# A number that grows with the suspicion. Tools as science has read them.
SCORES = {
    "smallest weight gradient (SageMaker)": lambda c: -_log(_grads(c).min()),
    "first weight gradient, and over the last (AutoTrainer)":
        lambda c: min(_log(_grads(c)[-1]) - _log(_grads(c)[0]), -_log(_grads(c)[0])),
    "error, last over first (torchmortem)":
        lambda c: _log(c.record.first["error"][-1]) - _log(c.record.first["error"][0]),
    "share of units near zero (fastai, DLCheck)": lambda c: float(np.nanmax(c.record.first["dead"])),
    "smallest update ratio (CS231n)": lambda c: -_log(float(np.nanmin(c.record.first["update"]))),
    "error or signal, either way (ours without training)": lambda c: max(map(abs, c.decades())),
    "learned in 100 steps (training alone)": lambda c: -c.gained}
NOWHERE = "learns at none of five rates (training alone)"


def _number(score, course):
    """A rule's number; 99 where there is none to compute, which is suspicious enough."""
    if course.record.first is None:
        return 99.0
    try:
        found = float(score(course))
    except (ValueError, IndexError):
        return 99.0
    return found if math.isfinite(found) else 99.0


def measured(task):
    """All that is found out about net k of a seed, as a dict."""
    seed, k, targets, judge = task
    warnings.simplefilter("ignore")
    with np.errstate(all="ignore"):
        return _measured(seed, k, targets, judge)


def _measured(seed, k, targets, judge):
    spec = drawn(seed, k)
    target = SHARE * (1.0 if spec.data.startswith(BALANCED_OF_ONE) else targets[f"{spec.family}, {spec.framework}"])
    net = {"seed": seed, "net": k, **asdict(spec), "trains": reaches(spec, target)}
    t = Training(spec, 1000 + k)
    batches = minibatches(t)
    try:
        course = diagnosis.course(t.model, t.cost, batches, t.optimizer, schedule=t.schedule)
        net["scores"] = {name: _number(score, course) for name, score in SCORES.items()}
        if judge:
            net["nowhere"] = not course.trains and not any(
                other is not None and other.trains for other in (
                    course.after(prescriptions.rate(course, factor)) for factor in FACTORS))
            if not net["trains"]:
                lsuv = prescriptions.LSUV.make(course) if course.record.first is not None else None
                net["lsuv"] = lsuv is not None and reaches(spec, target, lsuv.lines)
    except Error as error:
        net |= {"scores": dict.fromkeys(SCORES, 99.0), "nowhere": True, "lsuv": False, "raised": str(error)}
    if judge:
        net |= _diagnosed(spec, k, batches, target, net["trains"])
    return net


def _diagnosed(spec, k, batches, target, trains):
    t = Training(spec, 1000 + k)
    try:
        found = flow.diagnose(t.model, t.cost, batches, t.optimizer, schedule=t.schedule)
    except Error as error:
        return {"verdict": type(error).__name__, "alarm": True, "named": False, "first": None, "cured": False,
                "ticked": False, "said": str(error)}
    tried, net = found.prescriptions, {"verdict": found.verdict, "alarm": not found.healthy}
    net["named"] = spec.fault is not None and found.verdict in FAULTS[spec.fault].right
    net["first"] = tried[0]["name"] if tried else None
    net["ticked"] = found.cure["name"] if found.cure else None
    if not trains:
        net["cured"] = bool(tried) and reaches(spec, target, tried[0]["lines"])
        net["tick holds"] = found.cure and (net["cured"] if found.cure is tried[0]
                                            else reaches(spec, target, found.cure["lines"]))
    return net


# ----- shares --------------------------------------------------------------------------------------------------------

def wilson(hits, n, z=1.96):
    """(share, low, high)."""
    if not n:
        return None, 0.0, 1.0
    p, d = hits / n, 1 + z * z / n
    middle, half = (p + z * z / (2 * n)) / d, z / d * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    return p, max(0.0, middle - half), min(1.0, middle + half)


def share(answers):
    answers = [bool(a) for a in answers]
    return {"hits": sum(answers), "of": len(answers), "share": wilson(sum(answers), len(answers))}


def balanced(alarms, sick):
    """The mean of the shares of sick and of sound nets that are called so."""
    alarms, sick = np.asarray(alarms, bool), np.asarray(sick, bool)
    shares = [alarms[sick].mean() if sick.any() else 1.0, (~alarms[~sick]).mean() if (~sick).any() else 1.0]
    return float(np.mean(shares))


def judged(alarms, sick):
    return {"recall": share(a for a, s in zip(alarms, sick) if s),
            "precision": share(s for a, s in zip(alarms, sick) if a), "balanced": balanced(alarms, sick)}


def cell(found):
    """A share with its interval, in per cent."""
    return f"{found['hits']} of {found['of']}" + (f": {quoted(found)}" if found["of"] else "")


def quoted(found):
    return "{:.0f} % [{:.0f} {:.0f}]".format(*(100 * x for x in found["share"]))


def counted(nets):
    """The nets on which rules are judged: sick ones, and sound ones into which nothing was planted."""
    return [n for n in nets if not n["trains"] or n["fault"] is None]


def all_rules(choose, judge):
    """{rule: recall, precision, threshold}."""
    sick = [not n["trains"] for n in judge]
    rules = {"flow.diagnose": judged([n["alarm"] for n in judge], sick) | {"threshold": None}}
    for name in SCORES:
        known = np.array([n["scores"][name] for n in choose])
        asked = np.array([n["scores"][name] for n in judge])
        cut = max(sorted(set(known)), key=lambda c: balanced(known >= c, [not n["trains"] for n in choose]))
        rules[name] = judged(list(asked >= cut), sick) | {"threshold": float(cut)}
    rules[NOWHERE] = judged([n["nowhere"] for n in judge], sick) | {"threshold": None}
    rules["always says vanishing"] = judged([True] * len(judge), sick) | {"threshold": None}
    return rules


def sick_shares(nets):
    sick = [n for n in nets if not n["trains"]]
    planted = [n for n in sick if n["fault"]]
    names = Counter(v for n in planted for v in FAULTS[n["fault"]].right)
    best = max(names, key=names.get) if names else None
    vanishing = {prescriptions.BACKWARD, prescriptions.FORWARD}
    return best, {
        "the verdict names the planted fault": share(n["named"] for n in planted),
        f"the best constant answer does, {best!r}": share(best in FAULTS[n["fault"]].right for n in planted),
        "'vanishing' does, either way": share(bool(vanishing & FAULTS[n["fault"]].right) for n in planted),
        "the first prescription makes it train": share(n["cured"] for n in sick),
        "the same, of those that have a prescription": share(n["cured"] for n in sick if n["first"]),
        "LSUV for everybody does": share(n["lsuv"] for n in sick),
        "of the ticked cures, it trains with": share(n["tick holds"] for n in sick if n["ticked"])}


def by_group(nets, key):
    found = {}
    for group in dict.fromkeys(n[key] for n in nets):
        of = [n for n in nets if n[key] == group]
        found[group] = {**judged([n["alarm"] for n in counted(of)], [not n["trains"] for n in counted(of)]),
                        "cause": share(n["named"] for n in of if not n["trains"] and n["fault"]),
                        "cured": share(n["cured"] for n in of if not n["trains"])}
    return found


# ----- the report ----------------------------------------------------------------------------------------------------

def tables(found):
    """The three tables of docs/diagnosis.md, as lists of lines."""
    rules = [[name, cell(of["recall"]), cell(of["precision"])] for name, of in found["rules"].items()]
    sick = [[name, cell(of)] for name, of in found["sick nets"].items()]
    groups = [[name, *(cell(of[what]) for what in ("recall", "precision", "cause", "cured"))]
              for key in ("by family", "by framework") for name, of in found[key].items()]
    return [table(rows, *names) for rows, names in (
        (rules, ("rule", "finds, of the nets that do not train", "of its alarms are right")),
        (sick, ("of the nets that do not train", "")),
        (groups, ("", "found", "alarms right", "cause", "first prescription")))]


def table(rows, *names):
    return [f"| {' | '.join(row)} |" for row in (names, ["---"] * len(names), *rows)]


def passages(found):
    """What README.md and docs/diagnosis.md say of the figures, between the marks there."""
    rules, sick = found["rules"], found["sick nets"]
    ours, alone = rules["flow.diagnose"], rules["learned in 100 steps (training alone)"]
    named = quoted(sick["the verdict names the planted fault"])
    best_of = next(of for name, of in sick.items() if "best constant" in name)
    told = (f"On {found['judged']} nets of six families, of microgradx and torch, drawn after its rules were fixed, "
            f"`diagnose` finds {quoted(ours['recall'])} of those that do not train, with a precision of "
            f"{quoted(ours['precision'])}; its verdict names the planted fault in {named} of them (the best constant "
            f"answer: {quoted(best_of)}), and its first prescription makes "
            f"{quoted(sick['the first prescription makes it train'])} train (`python -m bench.diagnosis`). To train "
            f"for 100 steps and look at the cost finds {quoted(alone['recall'])}, with a precision of "
            f"{quoted(alone['precision'])}; [docs/diagnosis.md](docs/diagnosis.md) has what else was compared.")
    missed = [n for n in found["nets"] if not n["trains"] and not n["alarm"]]
    slow = sum(n["fault"] is None for n in missed)
    counts = (f"These are {found['judged']} nets of seed {found['seed']}, which is the commit that froze the rules: "
              f"{found['sick']} do not train, {found['sound']} do, and {found['mild']} trained in spite of a fault. "
              "The last are not counted: no rule has to find them, and an alarm on one of them is no false one. The "
              f"thresholds of the other tools' rules were chosen for them on {found['choosing']} other nets. "
              f"{found['date']}, {found['machine']}; intervals are Wilson's, of 95 %.")
    compared = (f"To train for 100 steps and look at the cost finds {cell(alone['recall'])} of the nets that do not "
                f"train. The diagnosis finds {cell(ours['recall'])}; of the {len(missed)} that it misses {slow} have "
                f"no planted fault and learn, if not as far in {STEPS} minibatches as is asked here. What it adds is "
                "the cause, and lines that mend it:")
    first, second, third = ("\n".join(lines) for lines in tables(found))
    return wrapped(told), "\n\n".join((wrapped(counts), first, wrapped(compared), second, third))


def wrapped(paragraph):
    return textwrap.fill(paragraph, 125, break_long_words=False, break_on_hyphens=False)


def with_passage(text, passage):
    """A page whose passage between the marks is another."""
    head, _, rest = text.partition(START)
    return f"{head}{START}\n{passage}\n{END}{rest.partition(END)[2]}"


def report(about, found, nets):
    print(f"{about['judged']} nets of seed {about['seed']} ({about['families']}; {about['frameworks']}): "
          f"{about['sick']} sick, {about['sound']} sound, {about['mild']} that train with their fault; "
          f"{about['choosing']} nets of seed {CHOOSE} chose the thresholds of the other tools. "
          f"{about['commit']}, {about['date']}, {about['machine']}\n")
    for lines in tables(found):
        print("\n".join(lines), end="\n\n")
    print("fault: how many of its sick nets are named rightly, and what they are called")
    rows = defaultdict(list)
    for n in nets:
        if n["fault"] and not n["trains"]:
            rows[n["fault"]].append(n)
    for fault in FAULTS:
        of = rows[fault]
        print(f"  {fault:<28} {sum(n['named'] for n in of):2d} of {len(of):2d}   "
              + ", ".join(f"{verdict}: {k}" for verdict, k in Counter(n["verdict"] for n in of).most_common()))
    print("\nwhere flow.diagnose was wrong:")
    for n in nets:
        words = ["a false alarm"] * (n["trains"] and n["alarm"] and n["fault"] is None)
        if not n["trains"]:
            words += ["not found"] * (not n["alarm"]) + ["another cause"] * (n["alarm"] and bool(n["fault"])
                                                                           and not n["named"])
            words += [f"not cured by {n['first']}"] * (not n["cured"])
            words += [f"{n['ticked']} is ticked and does not make it train"] * bool(n["ticked"] and not n["tick holds"])
        if words:
            print(f"  {n['net']:<4} {n['framework']:<10} {n['family']:<13} {n['fault'] or 'nothing planted'}; "
                  f"{n['verdict']}: {', '.join(words)} ({n['activation']}, {n['depth']} x {n['width']}, "
                  f"{n['optimizer']} {n['rate']:.3g})")


def commit():
    found = subprocess.run(["git", "describe", "--always", "--dirty", "--abbrev=8"], capture_output=True, text=True)
    return found.stdout.strip() or "no commit"


def as_text(found, nets):
    """JSON with a line for every net."""
    head, lines = json.dumps(found, indent=1, default=float), [json.dumps(net, default=float) for net in nets]
    return head[:-2] + ',\n "nets": [\n  ' + ",\n  ".join(lines) + "\n ]\n}\n"


def main():
    parser = argparse.ArgumentParser(prog="python -m bench.diagnosis", description="How often is a diagnosis right?")
    recorded = json.loads(RESULTS.read_text())
    parser.add_argument("--nets", type=int, default=recorded["judged"],
                        help="that are judged; half as many choose; else as many as the recorded figures are of")
    parser.add_argument("--seed", default=recorded["seed"],
                        help="of the judged nets: a number, or a commit in hexadecimal digits; else the recorded one")
    parser.add_argument("--executor", help="processes=2; one after the other if not given")
    parser.add_argument("--store", help="a directory for results, from which another call goes on")
    parser.add_argument("--json", help="write every number to this file")
    parser.add_argument("--pages", action="store_true", help="record the figures, and write what the pages quote")
    parser.add_argument("--quick", action="store_true", help="36 nets, in 3 minutes on one core")
    args = parser.parse_args()
    count = 36 if args.quick else args.nets
    seed = int(args.seed, 0 if args.seed.isdecimal() else 16)

    store = args.store and Path(args.store) / commit()         # another state of the package finds other things

    def run(function, tasks):
        return parallel.run_all(function, tasks, args.executor, store)
    groups = [(family, framework) for family in FAMILIES for framework in FRAMEWORKS]
    targets = {", ".join(group): best for group, best in zip(groups, run(reference, groups))}
    choose = run(measured, [(CHOOSE, k, targets, False) for k in range(count // 2)])
    nets = run(measured, [(seed, k, targets, True) for k in range(count)])
    judge = counted(nets)
    best, shares = sick_shares(nets)
    found = {"rules": all_rules(counted(choose), judge), "sick nets": shares, "by family": by_group(nets, "family"),
             "by framework": by_group(nets, "framework")}
    about = {"date": time.strftime("%Y-%m-%d"), "commit": commit(), "version": mgx.__version__, "seed": args.seed,
             "machine": f"{common.processor()}, Python {platform.python_version()}, NumPy {np.__version__}",
             "families": ", ".join(FAMILIES), "frameworks": ", ".join(FRAMEWORKS), "judged": len(nets),
             "sick": sum(not n["trains"] for n in nets), "sound": sum(n["trains"] and not n["fault"] for n in nets),
             "mild": sum(n["trains"] and bool(n["fault"]) for n in nets), "choosing": len(choose), "steps": STEPS,
             "batch": BATCH, "best scores": targets, "cuts": verdicts.CUTS}
    report(about, found, nets)
    if args.json or args.pages:
        Path(args.json or RESULTS).write_text(as_text(about | found, nets))
    if args.pages:
        for page, passage in zip(PAGES, passages(about | found | {"nets": nets})):
            page.write_text(with_passage(page.read_text(encoding="utf-8"), passage), encoding="utf-8")


if __name__ == "__main__":
    main()
