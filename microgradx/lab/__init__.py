"""The seeds made runnable: every claim of the documents this project grew from, and of the literature behind them.

An experiment is a module that ``NAMES`` names, in the order of the page, with

    its docstring           the question, in one line
    DTYPE                   what it computes in
    CLAIMS                  list of ``Claim``: sentence, test, verdict
    measure(seed, quick)    runs it; gives its ``Found``, a dataclass
    numbers(found)          {claim id: list of ``Number``}, measured beside predicted
    FIGURES                 (caption, draw(found, axes, colours)) of each

>>> from microgradx import lab
>>> outcome = lab.run("underflow")
>>> [(card.claim.id, card.claim.verdict, card.holds) for card in outcome.cards]
[('B8', 'imprecise', True)]
"""
import time
from dataclasses import dataclass
from importlib import import_module
from types import ModuleType

from microgradx import parallel
from microgradx.errors import OptionError
from microgradx.lab.cards import Card, Claim, Number

__all__ = ["CLAIMS", "EXPERIMENTS", "Card", "Claim", "Number", "Outcome", "run", "run_each"]

NAMES = ["slope", "chain", "underflow", "costs", "signs", "zigzag", "depth", "gains", "blocks", "remedies",
         "saturation", "dying", "nielsen", "chaos", "isometry", "shattered", "recurrent", "doctor"]
EXPERIMENTS = {name: import_module(f"microgradx.lab.{name}") for name in NAMES}

# {claim id: (name of its experiment, Claim)}
CLAIMS = {claim.id: (name, claim) for name, module in EXPERIMENTS.items() for claim in module.CLAIMS}


@dataclass(frozen=True)
class Outcome:
    """One run of an experiment: what it found, its cards, how it was run and how long it took."""
    name: str
    module: ModuleType
    found: object
    cards: list[Card]
    seed: int
    quick: bool
    seconds: float

    @property
    def command(self):
        """What reproduces it."""
        return f"microgradx lab run {self.name} --seed {self.seed}" + (" --quick" if self.quick else "")

    @property
    def title(self):
        return self.module.__doc__.partition("\n")[0]


def run(name, seed=0, quick=False):
    """Run the experiment ``name``, one of ``EXPERIMENTS``; ``quick``: in its smaller size. Gives its ``Outcome``.

    Raises ``OptionError`` for a name that is none.
    """
    return next(run_each([name], seed, quick))


def run_each(names, seed=0, quick=False, executor=None, store=None):
    """The ``Outcome`` of several experiments, each when it is there; ``executor`` and ``store`` as
    ``parallel.run_all`` has them. Raises as ``run``.
    """
    for name in names:
        if name not in EXPERIMENTS:
            raise OptionError(f"lab: {name!r} is none of {', '.join(EXPERIMENTS)}")
    tasks = [(name, seed, quick) for name in names]
    return (_outcome(*tasks[k], *result) for k, result in parallel.run_each(_measured, tasks, executor, store))


def _measured(task):
    """(what an experiment found, the seconds it took)."""
    name, seed, quick = task
    began = time.perf_counter()
    return EXPERIMENTS[name].measure(seed, quick), time.perf_counter() - began


def _outcome(name, seed, quick, found, seconds):
    module = EXPERIMENTS[name]
    numbers = module.numbers(found)
    cards = [Card(claim, tuple(numbers[claim.id])) for claim in module.CLAIMS]
    return Outcome(name, module, found, cards, seed, quick, seconds)
