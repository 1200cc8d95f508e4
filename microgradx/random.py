"""Random numbers: NumPy generators, one of them shared.

Everything here that draws takes ``rng``: a ``numpy.random.Generator``, an int (the seed of a new one), or None
for the shared one, which ``manual_seed`` restarts. ``Value`` nets draw from Python's ``random``, as micrograd does.
"""
from __future__ import annotations

import numpy as np

from microgradx.errors import DTypeError, OptionError

__all__ = ["generator", "manual_seed"]

_shared = None                      # made at its first use: numpy.random takes 20 ms to import


def manual_seed(seed: int) -> np.random.Generator:
    """Restart the shared generator from ``seed``, an int >= 0; returns it.

    >>> import microgradx.random as random
    >>> a = random.manual_seed(7).random()
    >>> a == random.manual_seed(7).random()
    True
    """
    global _shared
    _shared = generator(_seed(seed))
    return _shared


def generator(rng: np.random.Generator | int | None = None) -> np.random.Generator:
    """The generator that ``rng`` stands for: a Generator is itself, an int seeds a new one, None is the shared one.

    Raises ``DTypeError`` for anything else, ``OptionError`` for a negative seed.

    >>> from microgradx.random import generator
    >>> int(generator(0).integers(100))
    85
    """
    global _shared
    if rng is None:
        if _shared is None:
            _shared = np.random.default_rng()
        return _shared
    return rng if isinstance(rng, np.random.Generator) else np.random.default_rng(_seed(rng))


def _seed(seed):
    if isinstance(seed, bool) or not isinstance(seed, (int, np.integer)):
        raise DTypeError(f"rng: a numpy.random.Generator, an int or None, not {type(seed).__name__}")
    if seed < 0:
        raise OptionError(f"rng: a seed is not negative ({seed} < 0)")
    return int(seed)
