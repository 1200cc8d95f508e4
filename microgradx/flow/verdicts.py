"""Rules: what the numbers of a training say about why it does not learn.

A rule takes a ``Course`` and gives a ``Finding`` or None; the decorator ``rule`` enters it in a list. Of a net that has
not learned the rules of ``AT_START`` are asked in the order in which they stand here, and the first that fires is the
verdict if it is clear. If not, the net is trained at other rates; only if it learns at none of them
that first finding stands, or what the rules of ``LATER`` say.
"""
import math
from typing import NamedTuple

import numpy as np

from microgradx.errors import OptionError
from microgradx.flow import metrics
from microgradx.flow.prescriptions import (
    BACKWARD,
    CRITICAL,
    DYING,
    EXPLODING,
    FAST,
    FORWARD,
    INPUTS,
    SATURATED,
    SCALE,
    SLOW,
    SYMMETRIC,
    TARGETS,
    rate,
)

__all__ = ["AT_START", "CUTS", "LATER", "RATES", "VERDICTS", "Finding", "finding", "missed", "rule"]

RATES = (10.0, 0.1, 100.0, 0.01)                        # times the rate, tried before gradients are blamed
UNSEEN = "learned of rows it did not see"
HEALTHY, CUT, WRONG, ELSEWHERE = ("healthy", "cut graph", "wrong gradient", "not a gradient-flow problem")

# What a number has to pass to count. ``bench/diagnosis.py`` chose the first four and "saturated", by other nets than
# those on which it judges.
CUTS = {
    "learned": 0.1,             # the least share of the cost to have removed, for a net that trains
    "elsewhere": 0.25,          # the same on rows that it has not seen, trained on the other half
    "decades": 1.3,             # powers of ten by which error or signal changes through the net
    "certain": 2.0,             # the same, beyond which other rates are not asked first
    "dead": 0.9,                # share of a layer's units whose slope is 0 on all samples
    "saturated": 0.5,           # share of a layer's slopes below a tenth of the activation's largest
    "update": 1e-4,             # relative change of a weight in the first step below which a rate is small
    "rise": 1.5}                # by which the cost may rise above where it began, or above a constant output's


class Finding(NamedTuple):
    """What a rule found: place of the layer or None, cause, and evidence (name, measured, bound, expected)."""
    verdict: str
    place: int | None
    cause: str
    evidence: tuple


AT_START, LATER = [], []                                # rules; those of the first list look at the first pass alone
VERDICTS = [HEALTHY, WRONG, SCALE, FAST, SLOW, ELSEWHERE]       # what ``finding`` says itself; rules add theirs


def rule(rules, *verdicts):
    """Decorator of a rule: it is asked after those that ``rules`` has so far; what it finds is one of ``verdicts``."""
    def enter(function):
        rules.append(function)
        VERDICTS.extend(verdict for verdict in verdicts if verdict not in VERDICTS)
        return function
    return enter


def known(cuts):
    for name in cuts or {}:
        if name not in CUTS:
            raise OptionError(f"diagnose: {name!r} is none of {', '.join(CUTS)}")
    return cuts or {}


def lost(profile):
    """log10 of the first over the last that are numbers."""
    profile = profile[np.isfinite(profile)]
    with np.errstate(divide="ignore", invalid="ignore"):
        return float(np.log10(profile[0]) - np.log10(profile[-1])) if len(profile) > 1 else 0.0


def missed(course):
    """Layers that ran and which no error reached: (L,)."""
    return np.isnan(course.record.first["zeros"])


@rule(AT_START, EXPLODING)
def _overflow(course):
    for k, q in enumerate(course.record.first["q"]):
        if not (math.isfinite(q) or missed(course)[k]):
            return Finding(EXPLODING, k, f"the pre-activations of {course.record.layers[k].name} overflow",
                           (("mean z^2", q, None, _expected(course, "q", k)),))
    return None


@rule(AT_START, SYMMETRIC)
def _symmetric(course):
    for k, layer in enumerate(course.record.layers):
        weight = course.weights.get(layer.name)
        if weight is not None and weight.ndim > 1 and len(weight) > 1 and not np.ptp(weight, axis=0).any():
            what = "zero" if not weight.any() else "the same in every unit"
            return Finding(SYMMETRIC, k, f"the weights of {layer.name} are {what}: all its units compute and learn the "
                           "same", (("spread of the weights over units", 0.0, 0.0, None),))
    return None


@rule(AT_START, CUT)
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


def _saturates(phi):
    """Does an activation flatten on both sides?"""
    return phi is not None and bool((np.abs(phi.slope(np.array([-20.0, 20.0]))) < 0.1 * phi.largest).all())


@rule(AT_START, DYING)
def _dying(course, values=None):
    values = values or course.record.first
    share = np.array([0.0 if _saturates(layer.activation) else dead for dead, layer in
                      zip(np.nan_to_num(values["dead"][:-1]), course.record.layers)])
    k = int(share.argmax()) if len(share) else 0
    if not len(share) or share[k] < course.cuts["dead"]:
        return None
    when = "" if values is course.record.first else "after training, "
    return Finding(DYING, k, f"{when}{share[k]:.0%} of the units of {course.record.layers[k].name} have slope 0 on "
                   "every sample: no error passes them",
                   (("dead share", share[k], course.cuts["dead"], None),
                    ("false alarm of one unit active on 5 %", metrics.false_alarm(0.05, len(course.run.x[0])), None,
                     None)))


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
    place, expected = k + (parts.weights[k] < parts.slope[k]), course.expected       # whose weights, or whose slope
    cause = (f"the error shrinks to {_power(-back)} on its way to {record.layers[0].name}, the signal to "
             f"{_power(-forward)} on its way to the output")
    if weights and slopes:
        cause += (f": per layer the weights multiply the error by {weights:.2g}, the activation's slope by "
                  f"{slopes:.2g}; " + ("the slope does it" if slopes < weights else "the weights are too small"))
    return Finding(verdict, int(place), cause, (
        ("decades of error lost", back, course.cuts["decades"], -math.log10(expected.error[0]) if expected else None),
        ("decades of signal lost", forward, course.cuts["decades"],
         lost(np.sqrt(expected.signal[:-1])) if expected else None),
        ("decades of z lost", q, None, lost(np.sqrt(expected.q[:-1])) if expected else None),
        ("least gain of a layer", parts.gain[k], None, _expected(course, "gain", k))))


def _power(decades):
    return f"10^{decades:.1f}" if math.isfinite(decades) else "nothing" if decades < 0 else "inf"


def _fair(record, gain):
    """The gains as they would be if the layer above each had as many outputs as inputs; 1 where there is none."""
    above = [layer.scale.n_in / layer.scale.n_out if layer.scale else 1.0 for layer in record.layers[1:]]
    return np.nan_to_num(gain * np.sqrt([*above, 1.0]), nan=1.0, posinf=1.0)


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
    gain = record.attribution().gain
    k = int(np.nanargmax(_fair(record, gain)))
    expected = course.expected
    return Finding(EXPLODING, k, f"the error grows to {_power(-back)} on its way to {record.layers[0].name}, z to "
                   f"{_power(grown)} on its way to the output", (
                       ("decades of error gained", -back, course.cuts["decades"],
                        math.log10(expected.error[0]) if expected else None),
                       ("decades of z gained", grown, course.cuts["decades"],
                        -lost(np.sqrt(expected.q)) if expected else None),
                       ("largest gain of a layer", gain[k], None, _expected(course, "gain", k))))


def _wrong(course):
    ratio = course.decrease
    if ratio is None or 0.5 < ratio < 1.5:
        return None
    return Finding(WRONG, None, f"a short step along the gradient lowers the cost by {ratio:.2g} times what the "
                   "gradient says: a derivative is wrong (microgradx.gradcheck finds which)",
                   (("decrease over prediction", ratio, 0.5, 1.0),))


def _elsewhere(course):
    signal = course.record.first["signal"][~missed(course)][0]
    if not signal > 0:
        return Finding(ELSEWHERE, None, "the first layer makes the same of all rows: look at the inputs",
                       (("signal of the first layer", signal, None, None),))
    return Finding(ELSEWHERE, None, "errors and signals keep their size and the weights move, yet the cost stays at "
                   f"{course.end:.3g} (a constant output has {course.constant:.3g}): look at labels, data and "
                   "capacity, and for how long it trained", ())


def _data(course):
    """Is it the scale of inputs or targets?"""
    for row in (INPUTS, TARGETS):
        if row.when(course.origin, course.record) and (other := course.after(row.name, row.change)).trains:
            x = np.asarray(course.origin.x[0].detach() if row is INPUTS else course.origin.y)
            what = "inputs" if row is INPUTS else "targets"
            return Finding(SCALE, None, f"{what} of mean {x.mean():.3g} and deviation {x.std():.3g}: standardised, it "
                           f"learns ({other.learned:.0%} of the cost is gone after {course.steps} steps)",
                           (("share of the cost removed", course.learned, None, None),
                            ("with standardised data", other.learned, None, None)))
    return None


def _rates(course):
    """(factor, words, the course) of other rates at which the net learns, the nearest first."""
    rising, lr = not max(course.losses[1:]) <= 2 * course.losses[0], course.run.groups[0]["lr"]
    update = float(np.nanmax(course.record.first["update"], initial=0.0))
    factors = sorted(RATES, key=lambda f: (abs(math.log10(f)), (f > 1) == rising))
    for factor in [*factors, *([1e-2 / update] if 0 < update < course.cuts["update"] else [])]:
        other = course.after(factor, rate(factor))
        if other.trains:
            yield factor, f"with a rate of {lr * factor:.3g} instead of {lr:.3g} ", other


def _rate(course):
    """Is it only the rate?"""
    for factor, words, other in _rates(course):
        if not other.by_heart:
            return Finding(SLOW if factor > 1 else FAST, None, f"{words}it learns: {other.learned:.0%} of the cost is "
                           f"gone after {course.steps} steps",
                           (("share of the cost removed", course.learned, course.cuts["learned"], None),
                            (words.strip(), other.learned, course.cuts["learned"], None)))
    return None


def _learned_by_heart(course, words=""):
    return Finding(ELSEWHERE, None, f"{words}it learns these rows by heart ({course.learned:.0%} of the cost is gone "
                   f"after {course.steps} steps), and nothing that holds for others: look at the labels, and for how "
                   "many rows there are", ((UNSEEN, course.elsewhere, 0.0, None),))


@rule(LATER, ELSEWHERE)
def _by_heart(course):
    return next((_learned_by_heart(other, words) for _, words, other in _rates(course)), None)


@rule(LATER, DYING)
def _dying_later(course):
    return _dying(course, course.record.latest)


@rule(LATER, SATURATED)
def _saturated_later(course):
    return _saturated(course, course.record.latest)


@rule(LATER, EXPLODING, FORWARD, BACKWARD)
def _initialised(course):
    """Is it its weights, though no number says so?"""
    if not CRITICAL.when(course.origin, course.record):
        return None
    other = course.after(CRITICAL.name, CRITICAL.change)
    if not other.trains:
        return None
    back, forward = course.decades()
    verdict = EXPLODING if back + forward < 0 else FORWARD if forward > back else BACKWARD
    return Finding(verdict, None, f"no number is far off, but with weights drawn at the critical variance it learns "
                   f"({other.learned:.0%} of the cost is gone after {course.steps} steps), and at no other rate",
                   (("decades of error lost", back, course.cuts["decades"], None),
                    ("decades of signal lost", forward, course.cuts["decades"], None)))


@rule(LATER, FAST)
def _fast(course):
    losses, bound = np.array(course.losses), course.cuts["rise"] * max(abs(course.constant), abs(course.losses[0]))
    over = np.flatnonzero(~(losses <= bound))
    if not len(over):
        return None
    step, update = int(over[0]), float(np.nanmax(course.record.first["update"]))
    return Finding(FAST, None, f"the cost rises from {losses[0]:.3g} to {losses[step]:.3g} at step {step}, although "
                   "errors arrive in all layers: the steps are too long",
                   (("cost", losses[step], bound, None), ("largest first update of a weight", update, None, None)))


@rule(LATER, SLOW)
def _slow(course):
    update = course.record.first["update"]
    largest = float(np.nanmax(update)) if np.isfinite(update).any() else 0.0
    if largest >= course.cuts["update"]:
        return None
    return Finding(SLOW, None, f"no weight changes by more than {largest:.1g} of its size in the first step, although "
                   "errors arrive in all layers",
                   (("largest first update of a weight", largest, course.cuts["update"], None),))


def _expected(course, name, k):
    return float(getattr(course.expected, name)[k]) if course.expected else None


def _first(rules, course):
    return next((found for found in (rule(course) for rule in rules) if found), None)


def finding(course):
    """The verdict on a course, and why."""
    if course.trains and not _cut(course):
        if course.by_heart:
            return _learned_by_heart(course)
        return Finding(HEALTHY, None, f"it learns: {course.learned:.0%} of the cost is gone after {course.steps} steps",
                       ())
    found = _first(AT_START, course)
    certain = found and (found.verdict in (CUT, SYMMETRIC) or max(map(abs, course.decades())) >= course.cuts["certain"])
    if certain:
        return found
    return _first((_data, _rate) if found else (_wrong, _data, _rate), course) or found or _first(LATER, course) \
        or _elsewhere(course)
