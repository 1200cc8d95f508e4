"""Rules: what only the loop of a training can show.

A rule takes a ``loop.Loop`` and gives a ``Finding`` or None, as those of ``verdicts`` do with a ``Course``, by the same
decorator. ``Finding.place`` is the place of a layer, or the name of a parameter.

- ``ALWAYS``: what is wrong however the loss behaves; asked first.
- ``UNLESS_IT_LEARNS``: what explains a loss that does not fall, and does no harm otherwise.

The second, and after them the rules of ``verdicts`` that look at one pass, are not asked of a loop whose loss has
fallen. ``AT_LAST``: what may be true of any loop, and is the verdict only where there is no other.
"""
import functools
import math
from types import SimpleNamespace

import numpy as np

from microgradx.errors import Error, ignored
from microgradx.flow.advice import ADVICE, CLIPPED, ENDED, MODE, NAN_LOSS, PILES, STILL
from microgradx.flow.course import lost
from microgradx.flow.prescriptions import BACKWARD, EXPLODING, FAST, FORWARD, NAN, STRONG_DECAY, UNTRAINED
from microgradx.flow.settings import CUTS, LITTLE
from microgradx.flow.verdicts import AT_START, ELSEWHERE, HEALTHY, Finding, first_finding, rule, unregistered

__all__ = ["ALWAYS", "UNLESS_IT_LEARNS", "advice", "finding", "learned"]

# What to do is said by ``flow.advice``, but where a loop shows what to look at.
IN_A_LOOP = {
    UNTRAINED: "put layers into an nn.ModuleList and tensors into an nn.Parameter, make the optimizer after the model "
               "is complete, and give it all parameters; freeze by requires_grad_(False) what is not to be trained",
    STRONG_DECAY: "lower weight_decay; 1e-4 to 1e-2 are usual",
    EXPLODING: "lower the rate, and clip the gradient's norm"}
OWN = {HEALTHY, PILES, NAN_LOSS, NAN, ENDED, CLIPPED, MODE, FAST}
TRY = "ask flow.diagnose(model, loss_fn, loader, optimizer), which trains copies and tries cures"

CHANGES = (BACKWARD, FORWARD, EXPLODING)                # what is measured in decades

ENOUGH = 5                      # measured steps below which nothing is said about all steps
OFTEN = 0.5                     # of the steps for which something has to hold, to be the rule
BITES = 0.1                     # what clipping leaves of a gradient, to bite
GROWN = 10.0                    # times as large as at first, of weights that steps have thrown out
REST = 0.25                     # of the steps that may run at the rate's end

ALWAYS, UNLESS_IT_LEARNS, AT_LAST = [], [], []


def learned(run):
    """The share of the first loss that is gone, of medians over a tenth of the steps; nan where it was not seen."""
    losses = np.array([x for x in run.losses if x is not None])
    if len(losses) < 10:
        return math.nan
    few = len(losses) // 10
    first, last = np.median(losses[:few]), np.median(losses[-few:])
    return float((first - last) / max(abs(first), 1e-12))


def advice(found):
    """What to do about a finding: a sentence."""
    if found.advice:
        return found.advice
    return ADVICE[found.verdict] if found.verdict in OWN else IN_A_LOOP.get(found.verdict, TRY)


# ----- what is wrong however the loss behaves ------------------------------------------------------------------------

@rule(ALWAYS, STILL)
def _no_step(run):
    if run.steps:
        return None
    return Finding(STILL, None, "optimizer.step() was not called while the loop was watched",
                   (("steps", 0.0, 1.0, None),),
                   advice="call optimizer.step() after loss.backward(), on the optimizer that is watched")


@rule(ALWAYS, UNTRAINED)
def _another_model(run):
    if run.held.any():
        return None
    return Finding(UNTRAINED, None, f"the {type(run.optimizer).__name__} holds none of the {len(run.names)} "
                   f"parameters of {type(run.model).__name__} that require a gradient: it was made for another model, "
                   "or before the model's parameters were replaced", (("parameters held", 0.0, 1.0, None),))


@rule(ALWAYS, STILL)
def _no_gradient(run):
    if len(run.rows) < 2 or any(row.gradients.any() or row.updates[run.held].any() for row in run.rows):
        return None
    if not run.passes:
        return Finding(STILL, None, f"no gradient arrived at any parameter before any of the {run.steps} steps",
                       (("backward passes", 0.0, 1.0, None),), advice="call loss.backward() before optimizer.step(), "
                       "on a loss that the model has computed")
    if not any(row.clipped == 0 for row in run.rows):
        return None                                     # what arrived was 0
    return Finding(STILL, None, "gradients arrive, and were cleared between backward() and step(), in each of "
                   f"{len(run.rows)} steps that were measured",
                   (("backward passes per step", run.passes / run.looks, None, None),
                    ("norm of the gradients at the step", 0.0, None, None)),
                   advice="clear them before backward(), or after step()")


@rule(ALWAYS, NAN_LOSS, NAN, EXPLODING)
def _not_finite(run):
    row = next((row for row in run.rows if not np.isfinite(row.gradients).all()
                or row.loss is not None and not math.isfinite(row.loss)), None)
    if row is None:
        return None
    bad = [run.names[k] for k in np.flatnonzero(~np.isfinite(row.gradients))]
    losses = [x for x in run.losses if x is not None and math.isfinite(x)]
    if not bad:
        return Finding(NAN_LOSS, None, f"the loss is {row.loss} at step {row.step} while all gradients are finite: "
                       "what you look at is not what is trained on, or the bad part of it has no gradient",
                       (("loss", row.loss, None, None), ("norm of the gradients", row.total, None, None)))
    start, end = np.linalg.norm(run.rows[0].weights), np.linalg.norm(row.weights)
    grown = bool(losses) and max(losses) > CUTS["rise"] * abs(losses[0])
    if row.step and (grown or not end < GROWN * start):
        what = "loss" if grown else "weights"
        first, last = (losses[0], max(losses)) if grown else (start, end)
        return Finding(EXPLODING, None, f"the {what} grew from {first:.3g} to {last:.3g}, and at step {row.step} the "
                       "gradient is not finite", (("norm of the weights", float(end), GROWN * float(start), None),
                                                  ("rate", row.rate, None, None)))
    if row.loss is not None and math.isfinite(row.loss):
        more = f" and {len(bad) - 1} more" if len(bad) > 1 else ""
        return Finding(NAN, bad[0], f"the gradient of {bad[0]}{more} is not finite at step {row.step}, "
                       f"although the loss is {row.loss:.3g}: a derivative is infinite there (sqrt and norm at 0, log "
                       "of 0, division by 0)", (("loss", row.loss, None, None),))
    what, when = "loss and" if row.loss is not None else "the", "" if row.step else (
        ", the first: the inputs, the targets or the weights may hold it")
    return Finding(NAN_LOSS, bad[0], f"{what} gradients are not finite at step {row.step}{when}",
                   (("loss", row.loss, None, None),) if row.loss is not None else ())


@rule(ALWAYS, PILES)
def _accumulates(run):
    bad, steps = run.steps_not_cleared, run.steps_checked
    share = bad / steps if steps else 0.0
    if steps < 3 or share < OFTEN:
        return None
    return Finding(PILES, None, f"in {bad} of {steps} steps that were looked at, a backward pass added to the "
                   "gradients that the step before had used already: nothing sets them to zero",
                   (("share of steps with old gradients", share, OFTEN, 0.0),))


@rule(ALWAYS, UNTRAINED)
def _unregistered(run):
    return unregistered(run.engine, run.model, run.strangers)


@rule(ALWAYS, UNTRAINED)
def _not_held(run):
    if len(run.rows) < 3 or run.held.all():
        return None
    gradients, weights = (np.array([getattr(row, name) for row in run.rows]) for name in ("gradients", "weights"))
    still = ~run.held & (gradients > 0).any(0) & (np.ptp(weights, axis=0) == 0)
    if not still.any():
        return None
    names = [run.names[k] for k in np.flatnonzero(still)]
    which = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
    return Finding(UNTRAINED, names[0], f"gradients arrive at {which}, which never {'move' if names[1:] else 'moves'}: "
                   f"the optimizer does not hold {'them' if names[1:] else 'it'}",
                   (("parameters that nobody moves", float(len(names)), 0.0, 0.0),))


@rule(ALWAYS, STILL)
def _no_rate(run):
    if len(run.rows) < 3 or run.peak > 0:
        return None
    return Finding(STILL, None, f"the rate is 0 in all of the {run.steps} steps",
                   (("largest rate", run.peak, None, None),),
                   advice="give the optimizer a rate, and look at the schedule's first steps")


@rule(ALWAYS, MODE)
def _trains_in_eval(run):
    share = run.eval_steps / run.looks if run.looks else 0.0
    if share < OFTEN or run.looks < 3:
        return None
    which = f"{', '.join(run.modal[:3])} did not do what {'they do' if run.modal[1:] else 'it does'} in training"
    return Finding(MODE, None, f"{run.eval_steps} of {run.looks} steps that were looked at were made in evaluation "
                   f"mode: {which}",
                   (("share of steps in evaluation mode", share, OFTEN, 0.0),))


# ----- what explains a loss that does not fall -----------------------------------------------------------------------

@rule(UNLESS_IT_LEARNS, ENDED)
def _rate_ended(run):
    share = run.ended / run.looks if run.looks else 0.0
    if share < REST or run.looks < 10 or not run.peak > 0:
        return None
    return Finding(ENDED, None, f"the rate has fallen from {run.peak:.2g} to {run.rate:.2g}, and {run.ended} of "
                   f"{run.looks} steps that were looked at were made with less than a thousandth of it: the schedule "
                   "ended long before the training", (("share of steps after the rate's end", share, REST, None),))


@rule(UNLESS_IT_LEARNS, STRONG_DECAY)
def _decay(run):
    if len(run.rows) < 3:
        return None
    start, end = (float(np.linalg.norm(row.weights[run.held])) for row in (run.rows[0], run.rows[-1]))
    fallen = math.log(start / end) if end > 0 and start > 0 else math.inf if start > 0 else 0.0
    if fallen < math.log(2):
        return None
    most = max((float(group.get("weight_decay") or 0) for group in run.optimizer.param_groups), default=0.0)
    pull = float(np.median([most * np.linalg.norm(row.weights[run.held]) / (row.total or math.inf)
                            for row in run.rows]))
    if not most or run.decayed < OFTEN * min(fallen, 10.0) and pull < 1:
        return None
    return Finding(STRONG_DECAY, None, f"the weights have shrunk from {start:.3g} to {end:.3g}, which weight_decay="
                   f"{most:g} explains: it pulls them to 0 more strongly than the loss moves them",
                   (("norm of the weights", end, start / 2, None),
                    ("shrinking by decay alone, in e-folds", run.decayed, None, fallen)))


@rule(UNLESS_IT_LEARNS, CLIPPED)
def _clipped(run):
    left = np.array([row.clipped for row in run.rows])
    totals, largest = np.array([row.total for row in run.rows]), np.array([row.largest for row in run.rows])
    if len(left) < ENOUGH or not (left < BITES).mean() >= 0.9:
        return None
    spread = min(float(np.ptp(series) / np.median(series)) for series in (totals, largest))
    if not spread < 1e-2:
        return None                                     # scaled by something else than a bound: loss scaling, say
    return Finding(CLIPPED, None, f"clipping leaves {np.median(left):.2g} of the gradient in nearly every step, so "
                   f"that all steps are equally short (norm {np.median(totals):.3g})",
                   (("what is left of the gradient", float(np.median(left)), BITES, 1.0),))


@rule(UNLESS_IT_LEARNS, FAST)
def _rises(run):
    share = learned(run)
    losses = [x for x in run.losses if x is not None]
    if not share < 1 - CUTS["rise"]:
        return None
    return Finding(FAST, None, f"the loss rises, from {losses[0]:.3g} to {losses[-1]:.3g}",
                   (("share of the loss gone", share, 1 - CUTS["rise"], None), ("rate", run.rate, None, None)))


# ----- what has no other reason -------------------------------------------------------------------------------------

@rule(AT_LAST, STILL)
def _rounded(run):
    """Steps too short for the weights' number format."""
    if len(run.rows) < 3 or not run.peak > 0:
        return None
    moving = [row for row in run.rows if row.rate > 0]
    still = run.held & np.array([(row.gradients > 0) & (row.updates == 0) & (row.weights > 0) for row in moving]).all(0)
    if not moving or not still.any():
        return None
    k = int(np.flatnonzero(still)[0])
    return Finding(STILL, run.names[k], f"{int(still.sum())} of {len(run.names)} parameters get gradients and keep "
                   "their numbers to the last bit: rate times gradient "
                   f"({moving[-1].rate:.2g} x {moving[-1].gradients[k]:.2g} for {run.names[k]}) are lost in rounding",
                   (("change of the weights", 0.0, None, None),),
                   advice="raise the rate, or keep the weights in float32")


@rule(AT_LAST, MODE)
def _evaluates_in_train(run):
    if not run.train_evaluations:
        return None
    return Finding(MODE, None, f"the model ran {run.train_evaluations} times without gradients in training mode: "
                   f"{', '.join(run.modal[:3])} then {'change' if run.modal[1:] else 'changes'} what is measured, and "
                   "batch statistics move", (("such passes", float(run.train_evaluations), 0.0, 0.0),))


# ----- the verdict ---------------------------------------------------------------------------------------------------

class Observed:
    """What the rules that look at one pass ask of a ``Course``, of a loop."""

    tail, cuts = (), CUTS

    def __init__(self, run):
        self.run, self.record, self.engine, self.weights = run, run.record, run.engine, run.corners
        self.origin = SimpleNamespace(batch=lambda step: range(run.layers.samples))

    @functools.cached_property
    def expected(self):
        with ignored(Error):
            found = self.record.expected()
            return found if found is not None and found.error[0] > 0 else None

    def decades(self):
        return lost(self.errors()[::-1]), lost(np.sqrt(self.record.first["signal"][:-1]))

    def errors(self):
        return self.record.total()

    def moved(self):
        """{name of a parameter: its largest change in a measured step, over its size}."""
        updates, weights = (np.array([getattr(row, name) for row in self.run.rows]) for name in ("updates", "weights"))
        return dict(zip(self.run.names, updates.max(0) / np.maximum(weights.max(0), np.finfo(float).tiny)))


def finding(run):
    """The verdict on a loop, and why."""
    found = first_finding(ALWAYS, run)
    if found:
        return found
    if run.losses and not any(x is None or x for x in run.losses):
        return Finding(HEALTHY, None, "the loss is 0 in all steps: nothing is left to learn", ())
    share = learned(run)
    if not share >= CUTS["learned"]:
        found = first_finding(UNLESS_IT_LEARNS, run)
        if not found and run.record.first is not None and np.nan_to_num(run.record.first["error"]).any():
            seen = Observed(run)
            found = first_finding(AT_START, seen)
            if found and found.verdict in CHANGES and max(map(abs, seen.decades())) < CUTS["certain"]:
                found = found._replace(doubt="another rate may be all that it takes, and a loop cannot try one")
        if found:
            return found if not math.isnan(share) else found._replace(doubt=_unseen(run))
    found = first_finding(AT_LAST, run)
    if found:
        return found
    if share >= CUTS["learned"]:
        return Finding(HEALTHY, None, f"{share:.0%} of the loss is gone after {run.steps} steps", ())
    if share >= LITTLE and _falls(run):
        return Finding(HEALTHY, None, f"the loss falls, slowly: {share:.0%} of it is gone after {run.steps} steps", ())
    if math.isnan(share):
        return Finding(HEALTHY, None, "nothing is wrong with what was seen", (), _unseen(run))
    return Finding(ELSEWHERE, None, f"{max(share, 0.0):.0%} of the loss is gone after {run.steps} steps; errors reach "
                   "all layers and the weights move", (("share of the loss gone", share, CUTS["learned"], None),))


def _falls(run):
    """Is the loss of the last third of the steps lower than of the third before?"""
    losses = np.array([x for x in run.losses if x is not None])
    middle, late = losses[len(losses) // 3:2 * len(losses) // 3], losses[2 * len(losses) // 3:]
    return bool(middle.mean() - late.mean() > 2 * math.hypot(middle.std(), late.std()) / math.sqrt(len(late)))


def _unseen(run):
    return (f"only {run.steps} steps were made" if None not in run.losses else
            "the loss was not seen, so it is not known whether it falls: tell it with run.loss(loss)")
