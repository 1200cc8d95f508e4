"""Random numbers: NumPy generators, one of them shared.

Everything here that draws takes ``rng``: a ``numpy.random.Generator``, an int (the seed of a new one), or None
for the shared one, which ``manual_seed`` restarts. ``Value`` nets draw from Python's ``random``, as micrograd does.
"""
from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from microgradx._core.launch import filled
from microgradx._core.tensor import Tensor
from microgradx.creation import lengths
from microgradx.errors import DTypeError, OptionError
from microgradx.typing import DType, Lengths, Seed

__all__ = ["generator", "manual_seed", "rand", "randint", "randn", "randperm"]

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


def generator(rng: Seed = None) -> np.random.Generator:
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


def _seed(seed: int) -> int:
    if isinstance(seed, bool) or not isinstance(seed, (int, np.integer)):
        raise DTypeError(f"rng: a numpy.random.Generator, an int or None, not {type(seed).__name__}")
    if seed < 0:
        raise OptionError(f"rng: a seed is not negative ({seed} < 0)")
    return int(seed)


def _drawn(draw: Callable[[], Any], shape: Sequence[int], dtype: DType,
           requires_grad: bool = False) -> Tensor:
    """A tensor of random numbers: a program draws new ones at every replay."""
    def random(out: npt.NDArray[Any]) -> None:
        out[...] = draw()
    drawn = filled(random, tuple(shape), dtype)
    drawn.requires_grad = requires_grad
    return drawn


def rand(*shape: Lengths, rng: Seed = None, dtype: DType = "float32", requires_grad: bool = False) -> Tensor:
    """Uniform numbers, 0 <= x < 1.

    >>> import microgradx as mgx
    >>> mgx.rand(2, rng=0)
    Tensor([0.8506242 , 0.63696164])
    """
    shape = lengths("rand", shape)
    kind: Any = np.dtype(dtype)
    return _drawn(lambda: generator(rng).random(shape, kind), shape, kind, requires_grad)


def randn(*shape: Lengths, rng: Seed = None, dtype: DType = "float32", requires_grad: bool = False) -> Tensor:
    """Normal numbers of mean 0 and variance 1, drawn in double precision and rounded.

    >>> import microgradx as mgx
    >>> mgx.randn(2, rng=0)
    Tensor([ 0.12573022, -0.13210486])
    """
    shape = lengths("randn", shape)
    return _drawn(lambda: generator(rng).standard_normal(shape), shape, dtype, requires_grad)


def randint(low: int, high: Any = None, size: Any = (), *, rng: Seed = None) -> Tensor:
    """Integers, low <= x < high, or 0 <= x < low where ``high`` is not given, of shape ``size``.

    >>> import microgradx as mgx
    >>> mgx.randint(10, size=3, rng=0)
    Tensor([8, 6, 5], dtype=int64)
    """
    if isinstance(high, (tuple, list)):                         # torch: randint(high, size)
        high, size = None, high
    low, high = (0, low) if high is None else (low, high)
    if low >= high:
        raise OptionError(f"randint: no integer is {low} or more and less than {high} ({low} >= {high})")
    size = lengths("randint", (size,))
    return _drawn(lambda: generator(rng).integers(low, high, size), size, "int64")


def randperm(n: int, *, rng: Seed = None) -> Tensor:
    """The numbers 0 to n - 1 in random order.

    >>> import microgradx as mgx
    >>> sorted(mgx.randperm(4).tolist())
    [0, 1, 2, 3]
    """
    n, = lengths("randperm", (n,))
    return _drawn(lambda: generator(rng).permutation(n), (n,), "int64")
