"""Points of the plane in classes that no line separates.

Each gives x float32 (n, 2) and y int64 (n,), class by class (``batches`` and ``split`` shuffle), the classes as even
as n allows. ``noise`` is the standard deviation of what is added to both coordinates; ``rng`` a Generator, a seed or
None.
"""
from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from microgradx.errors import OptionError
from microgradx.names import make_public
from microgradx.random import randn
from microgradx.typing import Seed

__all__ = ["circles", "moons", "spirals"]

Points: TypeAlias = tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]


def moons(n: int, noise: float = 0.1, rng: Seed = None) -> Points:
    """Two half circles that reach into each other: (cos t, sin t) and (1 - cos t, 1/2 - sin t), t from 0 to pi.

    >>> from microgradx import data
    >>> x, y = data.moons(6, noise=0)
    >>> x.round(1).tolist()[:3], y.tolist()
    ([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]], [0, 0, 0, 1, 1, 1])
    """
    def moon(k: int, t: npt.NDArray[Any]) -> Any:
        x, y = np.cos(np.pi * t), np.sin(np.pi * t)
        return (1 - x, 0.5 - y) if k else (x, y)
    return _points("moons", n, 2, noise, rng, moon)


def circles(n: int, noise: float = 0.1, factor: float = 0.5, rng: Seed = None) -> Points:
    """Two circles about 0: of radius 1 (class 0) and of radius ``factor``, between 0 and 1 (class 1).

    >>> from microgradx import data
    >>> x, y = data.circles(100, noise=0, factor=0.25)
    >>> (x[y == 1]**2).sum(1).mean().item()
    0.0625
    """
    if not 0 < factor < 1:
        raise OptionError(f"circles: factor={factor!r} is not between 0 and 1")

    def circle(k: int, t: npt.NDArray[Any]) -> Any:
        turn, radius = 2 * np.pi * t * (1 - 1 / max(len(t), 1)), factor if k else 1.0   # the last is not the first
        return radius * np.cos(turn), radius * np.sin(turn)
    return _points("circles", n, 2, noise, rng, circle)


def spirals(n: int, classes: int = 3, noise: float = 0.05, rng: Seed = None) -> Points:
    """``classes`` arms that wind out from 0 to radius 1 in two thirds of a turn, one turned against the next.

    >>> from microgradx import data
    >>> x, y = data.spirals(300, classes=5, noise=0)
    >>> [int((y == k).sum()) for k in range(5)], float(abs(x).max()) <= 1
    ([60, 60, 60, 60, 60], True)
    """
    if isinstance(classes, bool) or not isinstance(classes, (int, np.integer)) or classes < 1:
        raise OptionError(f"spirals: classes is an integer >= 1, not {classes!r}")

    def arm(k: int, t: npt.NDArray[Any]) -> Any:
        turn = 2 * np.pi * (k / classes + 2 / 3 * t)
        return t * np.sin(turn), t * np.cos(turn)
    return _points("spirals", n, classes, noise, rng, arm)


def _points(op: str, n: int, classes: int, noise: float, rng: Seed, curve: Callable[..., Any]) -> Points:
    """``curve(k, t)`` for t from 0 to 1 in each class k, with noise."""
    if isinstance(n, bool) or not isinstance(n, (int, np.integer)) or n < 0:
        raise OptionError(f"{op}: n is an integer >= 0, not {n!r}")
    if not 0 <= noise < float("inf"):
        raise OptionError(f"{op}: noise={noise!r} is not a finite number >= 0")
    sizes = [n // classes + (k < n % classes) for k in range(classes)]
    x = np.concatenate([np.stack(curve(k, np.linspace(0, 1, size)), 1) for k, size in enumerate(sizes)])
    y = np.repeat(np.arange(classes), sizes)
    return (x + noise * randn(n, 2, rng=rng, dtype="float64").numpy()).astype(np.float32), y.astype(np.int64)


make_public(__name__)
