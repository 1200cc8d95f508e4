"""Rules: what the numbers of a training say about why it does not learn.

A rule takes a ``Course`` and gives a ``Finding`` or None; the decorator ``rule`` enters it in a list, and the rules of
a list are asked in the order in which they stand here.

- ``FIRST``: what makes every other number meaningless. They are asked of every net, whether it learns or not.
- ``AT_START``: what the first pass shows, of a net that has not learned. If the finding is clear it is the verdict; if
  not, other data, rates and options are tried, and it stands only if the net learns with none of them.
- ``LATER``: what is left.

A net that learns is healthy, also one that learns slowly: "rate too small" needs a better rate that was tried.
"""
import math
from typing import NamedTuple

import numpy as np

from microgradx.errors import ignored
from microgradx.flow import functions, metrics, outputs, prescriptions, settings
from microgradx.flow.advice import HEALTHY
from microgradx.flow.course import lost
from microgradx.flow.prescriptions import (
    ASCENT,
    BACKWARD,
    BOTH,
    CONSTANT,
    CRITICAL,
    CUT,
    DECAY,
    DERIVED,
    DESCEND,
    DROPOUT,
    DYING,
    ELSEWHERE,
    ENDLESS,
    EXPLODING,
    FAST,
    FORWARD,
    FREE,
    IMBALANCE,
    INPUTS,
    LINEAR,
    LSUV,
    NAN,
    NO_NONLINEARITY,
    PAIRING,
    PROBABILITIES,
    SATURATED,
    SCALE,
    SILENT,
    SLOW,
    STRONG_DECAY,
    STRONG_DROPOUT,
    SYMMETRIC,
    TARGETS,
    TIME,
    TRAIN_ALL,
    UNREACHABLE,
    UNTRAINED,
    WRONG,
    best_rate,
    best_trained_longer,
    learns_more,
    rate,
    rates,
)
from microgradx.flow.records import layer_title
from microgradx.flow.settings import CUTS, LITTLE

__all__ = ["AT_START", "CUTS", "FIRST", "FORMER", "LATER", "VERDICTS", "Finding", "finding", "first_finding", "missed",
           "rule", "unregistered"]

UNSEEN = "learned of rows it did not see"

# Verdicts that are more exact now: what they were called before.
FORMER = {
    SILENT: ("cut graph", "saturation", "dying units"), NAN: ("exploding",), UNREACHABLE: ("saturation", "dying units"),
    PROBABILITIES: ("saturation",), ENDLESS: (ELSEWHERE,), PAIRING: (ELSEWHERE,), UNTRAINED: (CUT, SLOW),
    STRONG_DECAY: (ELSEWHERE,), STRONG_DROPOUT: (ELSEWHERE,), IMBALANCE: (ELSEWHERE,), NO_NONLINEARITY: (ELSEWHERE,),
    ASCENT: (WRONG,), TIME: (BACKWARD, FORWARD)}


class Finding(NamedTuple):
    """What a rule found: place of the layer or None, cause, evidence (name, measured, bound, expected), and, where the
    rule cannot be sure, why: ``doubt``. ``advice``: what to do, where that is not the same for all of the verdict."""
    verdict: str
    place: int | None
    cause: str
    evidence: tuple
    doubt: str | None = None
    advice: str | None = None


FIRST, AT_START, LATER = [], [], []
VERDICTS = [HEALTHY, WRONG, SCALE, FAST, SLOW, STRONG_DECAY, STRONG_DROPOUT, NO_NONLINEARITY, ASCENT, IMBALANCE,
            ELSEWHERE]                                  # what ``finding`` says itself; rules add theirs


def rule(rules, *verdicts):
    """Decorator of a rule: it is asked after those that ``rules`` has so far; what it finds is one of ``verdicts``."""
    def enter(function):
        rules.append(function)
        VERDICTS.extend(verdict for verdict in verdicts if verdict not in VERDICTS)
        return function
    return enter


def missed(course):
    """Layers that ran and which no error reached: (L,)."""
    return np.isnan(course.record.first["zeros"])


def _title(course, k):
    layer = course.record.layers[k]
    return layer_title(layer.name, layer.kind, layer.shape)


# ----- what makes every other number meaningless ---------------------------------------------------------------------

@rule(FIRST, CUT)
def _detached(course):
    if course.attached:
        return None
    return Finding(CUT, None, "the cost does not depend on any parameter that requires a gradient: somewhere before "
                   "it a tensor lost its graph (detach, no_grad, argmax, item, numpy, or a new tensor made of its "
                   "numbers)", ())


@rule(FIRST, EXPLODING)
def _overflow(course):
    for k, q in enumerate(course.record.first["q"]):
        if not (math.isfinite(q) or missed(course)[k]):
            return Finding(EXPLODING, k, f"the pre-activations of {course.record.layers[k].name} overflow",
                           (("mean z^2", q, None, _expected(course, "q", k)),))
    return None


@rule(FIRST, NAN)
def _nan_gradient(course):
    if course.nan is None:
        return None
    step, names, operation = course.nan
    if step and not max(course.losses[:step + 1]) <= course.cuts["rise"] * max(abs(course.constant),
                                                                              abs(course.losses[0])):
        return None                                     # the cost had risen before: that is where it began
    what = f"; it comes from {operation}" if operation else ""
    return Finding(NAN, None, f"the gradient of {names[0]}" + (f" and {len(names) - 1} more" if len(names) > 1 else "")
                   + f" is nan at step {step}, although the cost is {course.losses[step]:.3g}{what}: its derivative is "
                   "infinite there (sqrt and norm at 0, log of 0, division by 0), and infinity times 0 is nan",
                   (("cost at that step", course.losses[step], None, None),))


@rule(FIRST, ENDLESS)
def _endless(course):
    if not (course.reach and course.reach.endless):
        return None
    return Finding(ENDLESS, None, f"even an output that is the same for all rows lowers the cost without end (to "
                   f"{course.reach.constant:.2g} in 100 steps): it takes other numbers than it gets; nll_loss, for "
                   "instance, takes log-probabilities", (("cost of a constant output", course.reach.constant, None,
                                                          None),))


@rule(FIRST, SILENT)
def _silent(course):
    if course.output_error is None or course.record.first is None:
        return None
    best = course.reach.least if course.reach else math.nan
    if course.losses[0] <= best + 1e-6 * abs(best) or not abs(course.losses[0]) > 0:
        return None                                     # nothing is left to learn
    error, tail = course.output_error, ", ".join(course.tail) or "what follows the last layer"
    if not error.any():
        return Finding(SILENT, None, f"the cost is {course.losses[0]:.3g}, and its derivative by the output is exactly "
                       "0 on every row: it does not say in which direction to go (round, sign, a comparison, a clamp)",
                       (("error at the output", 0.0, None, None),))
    arrived = course.record.first["error"]
    if np.nan_to_num(arrived).any():
        return None
    last = len(arrived) - 1
    one = course.tail[-1:] == ("softmax",) and course.output.shape[-1] == 1
    why = ("a softmax over a single unit is 1 whatever its input is" if one else
           f"{tail} is flat wherever the outputs are, on every row")
    return Finding(SILENT, last, "the cost asks for another output, and no error at all arrives at "
                   f"{_title(course, last)}: {why}", (("error at the output", float(metrics.norm(error)), None, None),
                                ("error at the last layer", 0.0, None, None)))


@rule(FIRST, PAIRING)
def _pairing(course):
    if course.output is None or not outputs.ignores_pairing(course.run_at_start(), course.output, course.form):
        return None
    y = course.engine.array(course.origin.batch(0).y)
    shapes = (f"the output of shape {course.output.shape} and the target of shape {tuple(y.shape)} broadcast to "
              f"{np.broadcast_shapes(course.output.shape, y.shape)}: every output is compared with every target"
              if course.output.shape != y.shape and _broadcast(course.output.shape, y.shape) else
              "it compares every output with every target")
    return Finding(PAIRING, None, f"the cost stays the same if the targets are shuffled among the rows; {shapes}", ())


def _broadcast(*shapes):
    with ignored(ValueError):
        return np.broadcast_shapes(*shapes)
    return None


@rule(FIRST, PROBABILITIES, UNREACHABLE)
def _unreachable(course):
    r, bound = course.reach, course.cuts["reach"]
    if r is None or not course.tail or not r.share < bound:
        return None
    tail = " of ".join(reversed(course.tail))
    evidence = (("share of the cost that the best outputs remove", r.share, bound, 1.0),
                ("least cost behind " + tail, r.with_tail, None, r.least),
                ("cost of the best constant", r.constant, None, None))
    last = len(course.record.layers) - 1
    if course.tail[-1] in ("softmax", "sigmoid"):
        y = course.engine.array(course.origin.batch(0).y)
        if y.dtype.kind in "iu" or y.min() >= 0 and y.max() <= 1:
            return Finding(PROBABILITIES, last, f"the cost expects numbers of any size (logits) and gets those of a "
                           f"{tail}: even a perfect output costs {r.with_tail:.3g} of {r.constant:.3g}", evidence)
    y = prescriptions.targets_of(course)
    return Finding(UNREACHABLE, last, f"the outputs are those of a {tail} and cannot reach the targets, which go from "
                   f"{y.min():.3g} to {y.max():.3g}: the best of them cost {r.with_tail:.3g}, any constant number "
                   f"{r.constant:.3g}", evidence)


@rule(FIRST, UNTRAINED)
def _unregistered(course):
    return unregistered(course.engine, course.origin.model, course.strangers)


def unregistered(engine, model, count):
    """A finding where the cost depends on ``count`` tensors that are no parameters, and the model has such."""
    found = outputs.unregistered(engine, model) if count else []
    if not found:
        return None
    where = ", ".join(f"{name}.{attribute} (a {kind} of {number} {what})"
                      for name, attribute, what, kind, number in found)
    return Finding(UNTRAINED, None, f"the cost depends on {count} tensors that want a gradient and that the model does "
                   f"not know as parameters, so no optimizer moves them: {where}",
                   (("tensors that nobody trains", float(count), 0.0, 0.0),))


@rule(FIRST, CUT)
def _without_graph(course):
    names = [name for name in course.record.detached if course.matters(name)]
    if not names:
        return None
    return Finding(CUT, None, f"{', '.join(names)} ran without a graph, so no error can arrive there, although the "
                   "cost depends on them: they were called within no_grad, or on a copy of their weights",
                   (("layers without a graph", float(len(names)), 0.0, 0.0),))


@rule(FIRST, CUT)
def _cut(course):
    unreached = missed(course)
    if not unreached[0] or unreached.all():
        return None
    k = int(np.flatnonzero(~unreached)[0])
    names = [layer.name for layer in course.record.layers]
    if not course.matters(names[k - 1]):
        return None
    return Finding(CUT, k - 1, f"no error arrives at {names[k - 1]} and below, while {names[k]} gets one: the graph is "
                   "cut between them (detach, no_grad, a result made by NumPy)",
                   (("error norm", 0.0, None, None), (f"error norm of {names[k]}",
                                                      course.record.first["error"][k], None, None)))


# ----- what the first pass shows -------------------------------------------------------------------------------------

@rule(AT_START, SYMMETRIC)
def _symmetric(course):
    """Units that compute the same from the same, and get the same back, stay the same."""
    layers = course.record.layers
    for k, layer in enumerate(layers):
        weight = course.weights.get(layer.name)
        if weight is None or weight.ndim < 2 or len(weight) < 2 or np.ptp(weight, axis=0).any() or layer.branch:
            continue
        above = next((course.weights.get(other.name) for other in layers[k + 1:] if len(other.shape) > 1), None)
        alike = above is not None and above.ndim > 1 and not np.ptp(above, axis=1).any()
        if above is None or not alike and weight.any():
            continue                                    # the head, or units that the layer above tells apart
        if not alike and not _stays_zero(course, k):
            continue
        what = "zero" if not weight.any() else "the same in every unit"
        return Finding(SYMMETRIC, k, f"the weights of {layer.name} are {what}, and so are those that lead on from it: "
                       "all its units compute and learn the same", (("spread of the weights over units", 0.0, 0.0,
                                                                     None),))
    return None


def _stays_zero(course, k):
    """Did training leave a layer of zeros at zero?"""
    name = course.record.layers[k].name
    return not any(moved for parameter, moved in course.moved().items() if parameter == f"{name}.weight")


def _saturates(phi):
    """Does an activation flatten on both sides?"""
    return phi is not None and bool((np.abs(phi.slope(np.array([-20.0, 20.0]))) < 0.1 * phi.largest).all())


@rule(AT_START, DYING)
def _dying(course, values=None):
    values = values or course.record.first
    share = np.array([0.0 if _saturates(layer.activation) else dead for dead, layer in
                      zip(np.nan_to_num(values["dead"]), course.record.layers)])
    bound = np.full(len(share), course.cuts["dead"])
    if course.tail[-1:] == ("relu",) and len(share):
        bound[-1] = 1 / max(course.record.layers[-1].units, 1) - 1e-9       # each output is needed
    over = share / bound
    k = int(over.argmax()) if len(share) else 0
    if not len(share) or over[k] < 1:
        return None
    when = "" if values is course.record.first else "after training, "
    what = "outputs" if k == len(share) - 1 else "units"
    return Finding(DYING, k, f"{when}{share[k]:.0%} of the {what} of {_title(course, k)} have slope 0 on every sample: "
                   "no error passes them" + (", and nothing brings them back" if what == "outputs" else ""),
                   (("dead share", share[k], bound[k], None),
                    ("false alarm of one unit active on 5 %", metrics.false_alarm(0.05, len(course.origin.batch(0))),
                     None, None)))


@rule(AT_START, SATURATED)
def _saturated(course, values=None):
    values = values or course.record.first
    share = [s if _saturates(layer.activation) else 0.0
             for s, layer in zip(np.nan_to_num(values["saturated"]), course.record.layers)]
    k = int(np.argmax(share))
    if share[k] < course.cuts["saturated"]:
        return None
    layer, slope = course.record.layers[k], course.record.attribution(values).slope[k]
    why = ("its error is multiplied by the slope there, however wrong the output is"
           if k == len(share) - 1 else "its inputs or weights are too large")
    return Finding(SATURATED, k, f"{share[k]:.0%} of the slopes of {layer.name}'s {layer.activation.name} are below a "
                   f"tenth of the largest: {why}",
                   (("saturated share", share[k], course.cuts["saturated"], None),
                    ("mean z^2", values["q"][k], None, _expected(course, "q", k)),
                    ("error passed by the slope", slope, None, None)))


@rule(AT_START, FORWARD, BACKWARD)
def _vanishing(course):
    back, forward = course.decades()
    if not max(back, forward) >= course.cuts["decades"]:
        return None
    record, parts = course.record, course.record.attribution()
    q = lost(np.sqrt(record.first["q"][:-1]))
    verdict = FORWARD if back < course.cuts["decades"] or q >= back / 2 else BACKWARD
    k = int(np.nanargmin(_fair(record, parts.gain)))                # between this layer's z and the one above
    weights, slopes = (_typical(part[:-1]) for part in (parts.weights, parts.slope))
    place, expected = k + bool(parts.weights[k] < parts.slope[k]), course.expected   # whose weights, or whose slope
    cause = (f"the error shrinks to {_power(-back)} on its way to {record.layers[0].name}, the signal to "
             f"{_power(-forward)} on its way to the output")
    if weights and slopes:
        cause += (f": per layer the weights multiply the error by {weights:.2g}, the activation's slope by "
                  f"{slopes:.2g}; " + ("the slope does it" if slopes < weights else "the weights are too small"))
    return Finding(verdict, place, cause, (
        ("decades of error lost", back, course.cuts["decades"],
         -math.log10(expected.error[0]) - _width(record) if expected else None),
        ("decades of signal lost", forward, course.cuts["decades"],
         lost(np.sqrt(expected.signal[:-1])) if expected else None),
        ("decades of z lost", q, None, lost(np.sqrt(expected.q[:-1])) if expected else None),
        ("least gain of a layer", parts.gain[k], None, _expected(course, "gain", k))))


def _width(record):
    """Decades between an error per unit and in total: of the first layer over the last."""
    return math.log10(record.layers[0].units / record.layers[-1].units) / 2


def _power(decades):
    return f"10^{decades:.1f}" if math.isfinite(decades) else "nothing" if decades < 0 else "inf"


def _fair(record, gain):
    """The gains of the total norm; 1 where there is none."""
    units = np.array([layer.units for layer in record.layers], float)
    return np.nan_to_num(gain * np.sqrt(np.append(units[:-1] / units[1:], 1.0)), nan=1.0, posinf=1.0)


def _typical(part):
    """The geometric mean of what is positive."""
    part = part[np.isfinite(part) & (part > 0)]
    return float(np.exp(np.log(part).mean())) if len(part) else 0.0


@rule(AT_START, EXPLODING)
def _exploding(course):
    record, (back, _) = course.record, course.decades()
    grown = -lost(np.sqrt(record.first["q"]))
    if max(-back, grown) < course.cuts["decades"]:
        return None
    parts = record.attribution()
    if -back >= grown:
        k = int(np.nanargmax(_fair(record, parts.gain)))
        place = k + bool(np.nan_to_num(parts.weights[k], nan=1.0) >= np.nan_to_num(parts.slope[k], nan=1.0))
        place = min(place, len(record.layers) - 1)
    else:
        q = np.sqrt(np.nan_to_num(record.first["q"], nan=1.0))
        place = 1 + int(np.argmax(q[1:] / np.maximum(q[:-1], 1e-300)))
        k = place - 1
    expected = course.expected
    return Finding(EXPLODING, place, f"the error grows to {_power(-back)} on its way to {record.layers[0].name}, z to "
                   f"{_power(grown)} on its way to the output; the weights of {_title(course, place)} multiply it most",
                   (("decades of error gained", -back, course.cuts["decades"],
                     math.log10(expected.error[0]) + _width(record) if expected else None),
                    ("decades of z gained", grown, course.cuts["decades"],
                     -lost(np.sqrt(expected.q)) if expected else None),
                    ("largest gain of a layer", parts.gain[k], None, _expected(course, "gain", k))))


# ----- what a changed training shows ---------------------------------------------------------------------------------

def _evidence(course, other, words):
    return (("share of the cost removed", course.gained if math.isfinite(course.gained) else course.learned,
             course.cuts["learned"], None), (words, other.gained, course.cuts["learned"], None))


def _learns(course, other):
    return f"{max(other.gained, 0.0):.0%} of the cost is gone after {course.steps} steps"


def _wrong(course):
    ratio, change = course.decrease, DERIVED.make(course)
    if (ratio is None or 0.5 < ratio < 1.5) and not (change and learns_more(course, course.after(change))):
        return None
    evidence = (("decrease over prediction", ratio, 0.5, 1.0),) if ratio is not None else ()
    if not course.slips:
        return Finding(WRONG, None, f"a short step along the gradient lowers the cost by {ratio:.2g} times what the "
                       "gradient says: a derivative is wrong (microgradx.gradcheck finds which)", evidence)
    slip, short = course.slips[0], course.engine.short
    name = slip.function.__name__
    return Finding(WRONG, None, f"the derivative of {name} is wrong: its backward gives {slip.ratio:.2g} times what "
                   f"finite differences of its forward give, with an error of {slip.error:.0%}; "
                   f"{short}.autograd.gradcheck({name}.apply, x) with an x of float64 shows where",
                   (*evidence, (f"error of {name}.backward over its size", slip.error, functions.AGREES, 0.0)))


def _data(course):
    """Is it the scale of inputs or targets, at this rate or at another?"""
    made = {row: change for row in (INPUTS, TARGETS, BOTH) if (change := row.make(course))}
    for factor in (1.0, 0.1, 10.0, 0.01, 100.0) if made else ():
        for row, change in made.items():
            other = course.after(change, *([rate(course, factor)] if factor != 1 else []))
            if learns_more(course, other) and not other.by_heart:
                parts = {"inputs": prescriptions.columns(course), "targets": prescriptions.targets_of(course)}
                what = [name for name, of in (("inputs", (INPUTS, BOTH)), ("targets", (TARGETS, BOTH))) if row in of]
                said = " and ".join(f"{name} of mean {parts[name].mean():.3g} and deviation {parts[name].std():.3g}"
                                    for name in what)
                at = "" if factor == 1 else f" at a rate {factor:g} times as large" if factor > 1 else (
                    f" at {factor:g} of the rate")
                return Finding(SCALE, None, f"{said}: standardised, it learns{at} ({_learns(course, other)})",
                               _evidence(course, other, "with standardised data" + at))
    return None


def _data_too(course, found):
    """Does what is prescribed against a finding help with standardised data, and not without?"""
    row = next((row for row in (BOTH, INPUTS, TARGETS) if row.make(course)), None)
    data = row and row.make(course)
    scaled = data and course.after(data)
    if not scaled or found.verdict not in CRITICAL.against:
        return None
    tries = [(row.make(scaled), row.make(course), factor) for row in (LSUV, CRITICAL) for factor in (1.0, 10.0, 0.1)]
    for weights, apart, factor in tries:
        again = [rate(course, factor)] if factor != 1 else []
        other = weights and course.after(data, weights, *again)
        alone = apart and course.after(apart, *again)
        if learns_more(course, other) and (alone is None or learns_more(alone, other)):
            break
    else:
        return None
    x = prescriptions.targets_of(course) if row is TARGETS else prescriptions.columns(course)
    what = {TARGETS: "targets", INPUTS: "inputs", BOTH: "inputs and targets; inputs"}[row]
    return Finding(SCALE, None, f"{what} of mean {x.mean():.3g} and deviation {x.std():.3g}, and {found.cause}: "
                   "with standardised data and weights that keep the signal's size it learns "
                   f"({_learns(course, other)}), with one of them alone it does not",
                   _evidence(course, other, "with both"))


def _rate(course, learns=False):
    """Is it only the rate? Of a net that learns, it is if another gets clearly further than this one in a training
    several times as long."""
    def helps(other):
        return other.trains and not other.by_heart and learns_more(course, other) and (
            not learns or 1 - other.gained < course.cuts["sooner"] * (1 - course.longer.gained))
    if learns:
        near = ((factor, course.after(rate(course, factor))) for factor in settings.RATES[:2])
        found = best_trained_longer([pair for pair in near if helps(pair[1])])
    else:
        found = best_rate(course)
    if found is None or not helps(found[1]):
        return None
    lr, (factor, other) = course.origin.groups[0]["lr"], found
    words = f"with a rate of {lr * factor:.3g} instead of {lr:.3g}"
    so_far = f", {max(course.longer.gained, 0.0):.0%} after {course.longer.steps} as it is" if learns else ""
    return Finding(SLOW if factor > 1 else FAST, None, f"{words} it learns: {_learns(course, other)}{so_far}",
                   _evidence(course, other, words))


def _options(course):
    """Is it an option of the optimizer, or dropout?"""
    for row, verdict, words in (
            (DESCEND, ASCENT, "the optimizer maximises the cost"),
            (TRAIN_ALL, UNTRAINED, "the optimizer does not hold all parameters"),
            (CONSTANT, SLOW, f"the schedule ends the rate (at step {len(course.rates) - 1} it is "
                             f"{course.rates[-1] if course.rates else math.nan:.2g})"),
            (DECAY, STRONG_DECAY, "weight decay drives the weights to 0 faster than the cost moves them"),
            (DROPOUT, STRONG_DROPOUT, "dropout takes away most of what the next layer needs")):
        change = row.make(course)
        other = change and course.after(change)
        if other and learns_more(course, other) and not other.by_heart:
            return Finding(verdict, None, f"{words}: with {change.words} it learns ({_learns(course, other)})",
                           _evidence(course, other, change.words))
    return None


def _linear(course):
    """Is there no activation between the layers?"""
    names = {layer.activation.name for layer in course.record.layers[:-1] if layer.activation}
    if len(course.record.layers) < 2 or names != {"linear"} or any(
            layer.activation is None or "softmax" in layer.after for layer in course.record.layers[:-1]):
        return None
    change = LINEAR.make(course)
    if not change:
        return None
    others = (course.after(change, *extra) for extra in ([], [rate(course, 10.0)], [rate(course, 0.1)]))
    other = next((other for other in others if learns_more(course, other)), None)
    if other is None:
        return None
    return Finding(NO_NONLINEARITY, None, f"nothing stands between the {len(course.record.layers)} layers, so that "
                   f"they are one linear map: with {change.words} it learns ({_learns(course, other)})",
                   _evidence(course, other, change.words))


def _imbalance(course):
    """Does the net answer nearly every row with the one class that nearly all rows have?"""
    y = np.concatenate([course.engine.array(b.y).ravel() for b in course.origin.batches.train])
    if course.output is None or course.output.ndim != 2 or y.dtype.kind not in "iu" or len(y) != sum(
            map(len, course.origin.batches.train)) or not 0 <= y.min() <= y.max() < course.output.shape[1]:
        return None
    counts = np.bincount(y, minlength=course.output.shape[1])
    most = counts.max() / len(y)
    rare = [k for k, c in enumerate(counts) if 0 < c < 0.1 * len(y)]
    if most < 0.9 or not rare:
        return None
    found = outputs.recalled(course.run, course.origin.batches.train, rare)
    if not found < 0.5:
        return None
    return Finding(IMBALANCE, None, f"{most:.1%} of the rows have class {int(counts.argmax())}, and of the others the "
                   f"net finds {found:.0%}: answering always the same is right {most:.1%} of the time; weigh the "
                   "classes, and judge by more than the share of right answers",
                   (("share of the commonest class", most, 0.9, None), ("rare rows that are found", found, 0.5, None)))


def _dead_outputs(course):
    """Are outputs off on every row, and does the net learn more if they cannot be?"""
    last = course.record.layers[-1] if course.record.layers else None
    if course.tail[-1:] != ("relu",) or course.record.latest_step == 0:
        return None
    share = float(np.nan_to_num(course.record.latest["dead"][-1]))
    change = share * last.units > 0.5 and FREE.make(course)
    other = change and course.after(change)
    if not other or not other.gained > course.gained + LITTLE:
        return None
    k = len(course.record.layers) - 1
    return Finding(DYING, k, f"{share:.0%} of the outputs of {_title(course, k)} are 0 on every row after training, "
                   "since a relu follows: no error brings them back; without it the net learns more "
                   f"({_learns(course, other)}, {course.gained:.0%} as it is)",
                   (("dead share of the outputs", share, 0.0, 0.0),))


def _learned_by_heart(course, words=""):
    return Finding(ELSEWHERE, None, f"{words}it learns these rows by heart ({course.learned:.0%} of the cost is gone "
                   f"after {course.steps} steps), and nothing that holds for others: look at the labels, and for how "
                   "many rows there are", ((UNSEEN, course.elsewhere, 0.0, None),))


def _elsewhere(course):
    signal = course.record.first["signal"][~missed(course)]
    if len(signal) and not signal[0] > 0:
        return Finding(ELSEWHERE, None, "the first layer makes the same of all rows: look at the inputs",
                       (("signal of the first layer", signal[0], None, None),))
    return Finding(ELSEWHERE, None, "errors and signals keep their size and the weights move, yet the cost stays at "
                   f"{course.end:.3g} (a constant output has {course.constant:.3g}): look at labels, data and "
                   "capacity, and for how long it trained", (),
                   "nothing that was tried made it learn")


@rule(LATER, ELSEWHERE)
def _by_heart(course):
    lr = course.origin.groups[0]["lr"]
    return next((_learned_by_heart(other, f"with a rate of {lr * factor:.3g} instead of {lr:.3g} ")
                 for factor, other in rates(course) if other.by_heart), None)


@rule(LATER, TIME)
def _through_time(course):
    """Does the error get lost on its way through the steps of a sequence?"""
    for name, errors in course.through_time.items():
        decades = lost(errors[::-1])
        if decades >= course.cuts["certain"]:
            return Finding(TIME, None, f"the error that reaches the input of {name} shrinks to {_power(-decades)} from "
                           f"the last of its {len(errors)} steps to the first: what came early does not count",
                           (("decades of error lost over the steps", decades, course.cuts["certain"], None),))
    return None


@rule(LATER, DYING)
def _dying_later(course):
    return _dying(course, course.record.latest)


@rule(LATER, SATURATED)
def _saturated_later(course):
    return _saturated(course, course.record.latest)


@rule(LATER, EXPLODING, FORWARD, BACKWARD)
def _initialised(course):
    """Is it its weights, though no number says so?"""
    change = CRITICAL.make(course)
    other = change and course.after(change)
    if not other or not learns_more(course, other):
        return None
    back, forward = course.decades()
    verdict = EXPLODING if back + forward < 0 else FORWARD if forward > back else BACKWARD
    return Finding(verdict, None, f"no number is far off, but with weights drawn at the critical variance it learns "
                   f"({_learns(course, other)}), and at no other rate",
                   (("decades of error lost", back, course.cuts["decades"], None),
                    ("decades of signal lost", forward, course.cuts["decades"], None)), "no number is far off")


@rule(LATER, FAST)
def _fast(course):
    losses, bound = np.array(course.losses), course.cuts["rise"] * max(abs(course.constant), abs(course.losses[0]))
    over = np.flatnonzero(~(losses <= bound))
    if not len(over):
        return None
    step, update = int(over[0]), float(np.nanmax(course.record.first["update"]))
    return Finding(FAST, None, f"the cost rises from {losses[0]:.3g} to {losses[step]:.3g} at step {step}, although "
                   "errors arrive in all layers: the steps are too long",
                   (("cost", losses[step], bound, None), ("largest first update of a weight", update, None, None)),
                   "it learns at no other rate that was tried")


@rule(LATER, SLOW)
def _slow(course):
    update = course.record.first["update"]
    largest = float(np.nanmax(update)) if np.isfinite(update).any() else 0.0
    if largest >= course.cuts["update"]:
        return None
    return Finding(SLOW, None, f"no weight changes by more than {largest:.1g} of its size in the first step, although "
                   "errors arrive in all layers",
                   (("largest first update of a weight", largest, course.cuts["update"], None),),
                   "it learns at no other rate that was tried")


def _expected(course, name, k):
    return float(getattr(course.expected, name)[k]) if course.expected else None


def first_finding(rules, subject):
    """What the first of the rules finds that finds something; None if none does."""
    return next((found for found in (rule(subject) for rule in rules) if found), None)


def finding(course):
    """The verdict on a course, and why."""
    found = first_finding(FIRST, course)
    if found:
        return found
    if course.by_heart:
        return _learned_by_heart(course)
    if course.completed and (found := _imbalance(course) or _dead_outputs(course)):
        return found
    if course.trains:
        slow = course.learned < course.cuts["quick"] and not course.large
        return slow and _rate(course, True) or Finding(
            HEALTHY, None, f"it learns: {course.learned:.0%} of the cost is gone after {course.steps} steps", ())
    if found := _options(course):
        return found
    found = first_finding(AT_START, course)
    if found and (found.verdict in (SYMMETRIC, SATURATED) or max(map(abs, course.decades())) >= course.cuts["certain"]):
        return found.verdict != SYMMETRIC and (_data(course) or _data_too(course, found)) or found
    longer = course.longer if course.falling else course
    if longer.trains and not longer.by_heart:
        little = course.gained < LITTLE
        return _rate(course, not little) or little and _initialised(course) or _slowly(longer, course)
    other = first_finding((_data, _rate) if found else (_wrong, _data, _linear, _rate), course)
    if other or found and (course.gained < LITTLE or _confirmed(course, found)):
        return other or found
    grows = longer is course or longer.gained > course.gained       # a net that learns slowly has learned more by then
    if longer.gained >= LITTLE and grows and not (math.isnan(longer.elsewhere) or longer.by_heart):
        return _slowly(longer, course)
    return first_finding(LATER, course) or _elsewhere(course)


def _slowly(longer, course):
    return Finding(HEALTHY, None, f"it learns, slowly: {longer.gained:.0%} of the cost is gone after {longer.steps} "
                   f"steps, {max(course.gained, 0.0):.0%} after {course.steps}", ())


def _confirmed(course, found):
    """Does what is prescribed against a finding help a net that has learned a little without it?"""
    changes = [change for row in prescriptions.PRESCRIPTIONS if found.verdict in row.against
               and (change := row.make(course))]
    return any(learns_more(course, course.after(change)) for change in changes[:3])
