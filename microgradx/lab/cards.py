"""What an experiment gives: claims, the numbers that decide them, and what was predicted of each number."""
import math
from dataclasses import dataclass

import numpy as np

__all__ = ["IMPRECISE", "RIGHT", "SOURCES", "WRONG", "Card", "Claim", "Number", "between", "near"]

RIGHT, IMPRECISE, WRONG = "right", "imprecise", "wrong as said"

SOURCES = {"A": "an investigation of the vanishing gradient", "B": "lecture slides on sigmoid saturation",
           "C": "notes on the vanishing gradient", "D": "a question on zig-zag descent, and its answers"}
LITERATURE = "the literature"


@dataclass(frozen=True)
class Claim:
    """A sentence that can be checked: ``id``, the sentence as its source has it, what is done to test it, the verdict
    (``RIGHT``, ``IMPRECISE`` or ``WRONG``) and in a sentence why."""
    id: str
    sentence: str
    test: str
    verdict: str
    words: str

    @property
    def source(self):
        """Where the sentence stands: one of the four documents, or the literature."""
        return SOURCES.get(self.id[0], LITERATURE) if self.id[1:].isdigit() else LITERATURE


@dataclass(frozen=True)
class Number:
    """A measured number and its prediction: it ``agrees`` if it is in [low, high].

    ``predicted`` is None where only bounds are predicted. ``spread``: the least and the largest over ``runs`` seeds,
    of which ``measured`` is the median. ``by``: where the prediction comes from.
    """
    what: str
    measured: float
    predicted: float | None
    low: float
    high: float
    by: str
    spread: tuple[float, float] | None = None
    runs: int = 1

    @property
    def agrees(self):
        return bool(self.low <= self.measured <= self.high)


def _measured(values):
    """The median, its spread and the number of runs."""
    values = np.asarray(values, np.float64)
    if values.ndim == 0 or values.size == 1:
        return float(values.ravel()[0]), None, 1
    return float(np.median(values)), (float(values.min()), float(values.max())), values.size


def near(what, measured, predicted, rel=0.0, tol=0.0, by="exact"):
    """A ``Number`` that must lie within ``rel * |predicted| + tol`` of its prediction; several are the seeds' runs.

    >>> from microgradx.lab.cards import near
    >>> near("the largest slope", 0.25, 0.25).agrees, near("pi", 3.1, 3.14159, rel=1e-3).agrees
    (True, False)
    """
    median, spread, runs = _measured(measured)
    slack = rel * abs(predicted) + tol
    return Number(what, median, float(predicted), predicted - slack, predicted + slack, by, spread, runs)


def between(what, measured, low=-math.inf, high=math.inf, by="bound"):
    """A ``Number`` that must lie in [low, high].

    >>> from microgradx.lab.cards import between
    >>> number = between("accuracy", [0.9, 0.7, 0.95], low=0.8)
    >>> number.measured, number.spread, number.agrees
    (0.9, (0.7, 0.95), True)
    """
    median, spread, runs = _measured(measured)
    return Number(what, median, None, low, high, by, spread, runs)


@dataclass(frozen=True)
class Card:
    """A claim with its numbers; the verdict ``holds`` if all of them agree."""
    claim: Claim
    numbers: tuple[Number, ...]

    @property
    def holds(self):
        return bool(self.numbers) and all(number.agrees for number in self.numbers)
