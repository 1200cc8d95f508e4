"""What a number has to pass to count, for ``flow.diagnose`` and ``flow.assert_gradient_flow``."""
from microgradx.errors import Error, OptionError

__all__ = ["CUTS", "FAILURES", "LITTLE", "RATES", "known"]

RATES = (10.0, 0.1, 100.0, 0.01, 0.001)                 # times the rate, tried before gradients are blamed

# What a caller's code may raise that is given other numbers or shapes than it was written for.
FAILURES = (Error, ValueError, TypeError, RuntimeError, IndexError, AttributeError, KeyError)

LITTLE = 0.02                                           # the least share of the cost that says that a net learns at all

# The first four and "saturated" were chosen on nets of one family; ``bench/diagnosis.py`` judges them on others.
CUTS = {
    "learned": 0.1,             # the least share of the cost to have removed, for a net that trains
    "elsewhere": 0.25,          # the same on rows that it has not seen
    "decades": 1.3,             # powers of ten by which error or signal changes through the net
    "certain": 2.0,             # the same, beyond which other rates are not asked first
    "dead": 0.9,                # share of a layer's units whose slope is 0 on all samples
    "saturated": 0.5,           # share of a layer's slopes below a tenth of the activation's largest
    "reach": 0.5,               # share of what there is to learn that the best possible output removes
    "better": 2.0,              # times as much as the net learns a changed one has to learn, to be called a cure
    "quick": 0.4,               # the share of the cost to have removed, of a net whose rate nobody doubts
    "sooner": 0.75,             # of what is left after four times as many steps, what another rate leaves at most
    "update": 1e-4,             # relative change of a weight in the first step below which a rate is small
    "rise": 1.5}                # by which the cost may rise above where it began, or above a constant output's


def known(cuts):
    """``cuts``, or {}; raises for a name that is none."""
    for name in cuts or {}:
        if name not in CUTS:
            raise OptionError(f"diagnose: {name!r} is none of {', '.join(CUTS)}")
    return cuts or {}
