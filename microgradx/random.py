"""Random numbers: generators, one of them shared, and what they draw.

Everything here that draws takes ``rng``: a ``Generator``, an int (the seed of a new one), None for the shared one,
which ``manual_seed`` restarts, or a ``numpy.random.Generator``. ``rand``, ``randn``, ``randint`` and ``randperm``
understand torch's name of it as well, ``generator``. ``Value`` nets draw from Python's ``random``, as micrograd does.
"""
from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from microgradx._core import generator as core
from microgradx._core.capture.guards import note_draw
from microgradx._core.generator import Generator
from microgradx._core.launch import filled
from microgradx._core.tensor import Tensor
from microgradx.creation import integers, lengths
from microgradx.errors import OptionError, name_errors
from microgradx.typing import AnyGenerator, DType, Lengths, Seed

__all__ = ["Generator", "fork_rng", "generator", "get_rng_state", "initial_seed", "manual_seed", "rand", "randint",
           "randn", "randperm", "seed", "set_rng_state"]

_shared = Generator()


# ----- the shared generator ------------------------------------------------------------------------------------------

def generator(rng: Seed = None) -> AnyGenerator:
    """The generator that ``rng`` stands for: a generator is itself, an int seeds a new one, None is the shared one.

    Raises ``DTypeError`` for anything else, ``OptionError`` for a negative seed.

    >>> from microgradx.random import generator
    >>> generator(0)
    Generator(seed=0, counter=0)
    """
    if rng is None:
        return _shared
    if isinstance(rng, Generator):
        return rng
    if isinstance(rng, (int, np.integer)):                      # first, for numpy.random takes 20 ms to import
        return Generator(rng)
    return rng if isinstance(rng, np.random.Generator) else Generator(rng)


def manual_seed(seed: int) -> Generator:
    """Restart the shared generator from ``seed``, 0 <= seed < 2^64; returns it.

    >>> import microgradx as mgx
    >>> rng = mgx.manual_seed(7)
    >>> a = mgx.rand(3)
    >>> rng is mgx.manual_seed(7) and bool((a == mgx.rand(3)).all())
    True
    """
    return _shared.manual_seed(seed)


def seed() -> int:
    """Restart the shared generator from a seed that the operating system gives; returns it."""
    return _shared.seed()


def initial_seed() -> int:
    """The seed from which the shared generator began."""
    return _shared.initial_seed()


def get_rng_state() -> Tensor:
    """The state of the shared generator, a Tensor: a copy."""
    return _shared.get_state()


def set_rng_state(state: Tensor) -> None:
    """Let the shared generator go on from a ``state`` that ``get_rng_state`` gave."""
    _shared.set_state(state)


@contextlib.contextmanager
def fork_rng(enabled: bool = True) -> Iterator[None]:
    """Within it the shared generator goes on as it likes; after it, it is as it was before. A context manager.

    >>> import microgradx as mgx
    >>> state = mgx.get_rng_state()
    >>> with mgx.fork_rng():
    ...     x = mgx.rand(3)
    >>> bool((mgx.get_rng_state() == state).all())
    True
    """
    state = _shared.get_state() if enabled else None
    try:
        yield
    finally:
        if state is not None:
            _shared.set_state(state)


# ----- draws ---------------------------------------------------------------------------------------------------------

def _source(op: str, rng: Seed, other: Seed) -> AnyGenerator:
    """``other``: the argument called ``generator``."""
    if other is not None:
        if rng is not None:
            raise OptionError(f"{op}: rng and generator are two names of one argument; give one of them")
        rng = other
    return generator(rng)


def _by_numpy(rng: np.random.Generator, draw: Callable[[], Any], shape: Sequence[int], dtype: DType) -> Tensor:
    """What a generator of NumPy's draws: a host launch, which a program runs at every replay."""
    def random(out: npt.NDArray[Any]) -> None:
        out[...] = draw()
    core.note(rng)
    before = rng.bit_generator.state
    drawn = filled(random, tuple(shape), dtype)
    note_draw(rng, before)
    return drawn


def rand(*shape: Lengths, rng: Seed = None, dtype: DType = "float32", requires_grad: bool = False,
         generator: Seed = None) -> Tensor:
    """Uniform numbers, 0 <= x < 1: 24 random bits in float32, 53 in float64.

    >>> import microgradx as mgx
    >>> mgx.rand(2, rng=0)
    Tensor([0.39904642, 0.97224116])
    """
    kind: Any = dtype
    shape, source = lengths("rand", shape), _source("rand", rng, generator)
    drawn = (core.uniform(source, shape, dtype) if isinstance(source, Generator) else
             _by_numpy(source, lambda: source.random(shape, kind), shape, dtype))
    return drawn.requires_grad_() if requires_grad else drawn


def randn(*shape: Lengths, rng: Seed = None, dtype: DType = "float32", requires_grad: bool = False,
          generator: Seed = None) -> Tensor:
    """Normal numbers of mean 0 and variance 1, by the method of Box and Muller (1958): up to 6.6 from 0 in float32, 9.4
    in float64.

    >>> import microgradx as mgx
    >>> mgx.randn(2, rng=0)
    Tensor([ 0.9911377 , -0.15363817])
    """
    shape, source = lengths("randn", shape), _source("randn", rng, generator)
    drawn = (core.normal(source, shape, dtype) if isinstance(source, Generator) else
             _by_numpy(source, lambda: source.standard_normal(shape), shape, dtype))
    return drawn.requires_grad_() if requires_grad else drawn


def randint(low: int, high: Any = None, size: Any = (), *, rng: Seed = None, generator: Seed = None) -> Tensor:
    """Integers, low <= x < high, or 0 <= x < low where ``high`` is not given, of shape ``size``.

    >>> import microgradx as mgx
    >>> mgx.randint(10, size=3, rng=0)
    Tensor([8, 3, 3], dtype=int64)
    """
    if isinstance(high, (tuple, list)):                         # torch: randint(high, size)
        high, size = None, high
    low, high = (0, low) if high is None else (low, high)
    if low >= high:
        raise OptionError(f"randint: no integer is {low} or more and less than {high} ({low} >= {high})")
    shape, source = lengths("randint", (size,)), _source("randint", rng, generator)
    if isinstance(source, Generator):
        return core.integers(source, shape, *integers("randint", "low and high", (low, high)))
    return _by_numpy(source, lambda: source.integers(low, high, shape), shape, "int64")


def randperm(n: int, *, rng: Seed = None, generator: Seed = None) -> Tensor:
    """The numbers 0 to n - 1 in random order.

    >>> import microgradx as mgx
    >>> sorted(mgx.randperm(4).tolist())
    [0, 1, 2, 3]
    """
    (n,), source = lengths("randperm", (n,)), _source("randperm", rng, generator)
    if isinstance(source, Generator):
        return core.permutation(source, n)
    return _by_numpy(source, lambda: source.permutation(n), (n,), "int64")


name_errors(__name__, "rand", "randn", "generator")
