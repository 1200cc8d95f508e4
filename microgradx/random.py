"""Random numbers: generators, one of them shared, and what they draw.

Everything here that draws takes ``rng``: a ``Generator``, an int (the seed of a new one), None for the shared one,
which ``manual_seed`` restarts, or a ``numpy.random.Generator``; or under torch's name of it, ``generator``. What is
drawn has no graph: the parameters of a draw are numbers (``distributions`` has draws with gradients). ``Value`` nets
draw from Python's ``random``, as micrograd does.
"""
from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from microgradx._core import generator as core
from microgradx._core.capture.guards import note_draw
from microgradx._core.creation import integers, lengths
from microgradx._core.generator import Generator
from microgradx._core.launch import filled
from microgradx._core.structured import HostOperation
from microgradx._core.tensor import Tensor, attach
from microgradx.creation import arange, get_default_dtype
from microgradx.errors import ArgumentError, DTypeError, OptionError, ShapeError, is_device
from microgradx.names import make_public, public
from microgradx.typing import AnyGenerator, Data, DType, Function, Lengths, Seed

__all__ = ["Generator", "bernoulli", "fork_rng", "generator", "get_rng_state", "initial_seed", "manual_seed",
           "multinomial", "normal", "poisson", "rand", "rand_like", "randint", "randint_like", "randn", "randn_like",
           "randperm", "seed", "set_rng_state"]

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


@public
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


def _drawn(op: str, rng: Seed, other: Seed, draw: Function, shape: tuple[int, ...], dtype: DType,
           *operands: Tensor) -> Tensor:
    """Numbers ``draw(generator of NumPy's, *arrays)`` of a distribution that is not drawn by a kernel.

    The generator is seeded by a number of ``rng``, so that replays draw other numbers, as all draws do.
    """
    source = _source(op, rng, other)
    if isinstance(source, Generator):
        seed = core.integers(source, (), 0, 1 << 63)
    else:
        seed = _by_numpy(source, lambda: source.integers(0, 1 << 63), (), "int64")

    def random(out: npt.NDArray[Any], seed: npt.NDArray[Any], *arrays: npt.NDArray[Any]) -> None:
        out[...] = draw(np.random.default_rng(int(seed)), *arrays)
    result: Tensor = HostOperation(op, lambda *xs: [(shape, np.dtype(dtype))], random)(
        seed, *[x.detach() for x in operands])
    return result


def _options(op: str, device: Any, size: Any, shape: Sequence[Any]) -> Sequence[Any]:
    """The lengths of a draw, given one after the other or as ``size``; ``device`` is the CPU."""
    if device is not None and not is_device(op, device):
        raise OptionError(f"{op}: device={device!r} is none; microgradx runs on the CPU, 'cpu'")
    if size is not None and shape:
        raise ArgumentError(f"{op}: the lengths are given twice, {tuple(shape)} and size={size}")
    return shape if size is None else (size,)


def rand(*shape: Lengths, rng: Seed = None, dtype: DType = None, requires_grad: bool = False,
         generator: Seed = None, size: Lengths | None = None, device: Any = None) -> Tensor:
    """Uniform numbers, 0 <= x < 1: 24 random bits in float32, 53 in float64.

    >>> import microgradx as mgx
    >>> mgx.rand(2, rng=0)
    Tensor([0.39904642, 0.97224116])
    """
    if size is not None or device is not None:
        shape = tuple(_options("rand", device, size, shape))
    kind: Any = dtype or get_default_dtype()
    shape, source = lengths("rand", shape), _source("rand", rng, generator)
    drawn = (core.uniform(source, shape, kind) if isinstance(source, Generator) else
             _by_numpy(source, lambda: source.random(shape, kind), shape, kind))
    return drawn.requires_grad_() if requires_grad else drawn


def randn(*shape: Lengths, rng: Seed = None, dtype: DType = None, requires_grad: bool = False,
          generator: Seed = None, size: Lengths | None = None, device: Any = None) -> Tensor:
    """Normal numbers of mean 0 and variance 1, by the method of Box and Muller (1958): up to 6.6 from 0 in float32, 9.4
    in float64.

    >>> import microgradx as mgx
    >>> mgx.randn(2, rng=0)
    Tensor([ 0.9911377 , -0.15363817])
    """
    if size is not None or device is not None:
        shape = tuple(_options("randn", device, size, shape))
    kind = dtype or get_default_dtype()
    shape, source = lengths("randn", shape), _source("randn", rng, generator)
    drawn = (core.normal(source, shape, kind) if isinstance(source, Generator) else
             _by_numpy(source, lambda: source.standard_normal(shape), shape, kind))
    return drawn.requires_grad_() if requires_grad else drawn


def randint(low: int, high: Any = None, size: Any = (), *, rng: Seed = None, generator: Seed = None,
            dtype: DType = None, requires_grad: bool = False, device: Any = None) -> Tensor:
    """Integers, low <= x < high, or 0 <= x < low where ``high`` is not given, of shape ``size``.

    >>> import microgradx as mgx
    >>> mgx.randint(10, size=3, rng=0)
    Tensor([8, 3, 3], dtype=int64)
    """
    _options("randint", device, None, ())
    if isinstance(high, (tuple, list)):                         # torch: randint(high, size)
        high, size = None, high
    low, high = integers("randint", "low and high", (0, low) if high is None else (low, high))
    if low >= high:
        raise OptionError(f"randint: no integer is {low} or more and less than {high} ({low} >= {high})")
    shape, source = lengths("randint", (size,)), _source("randint", rng, generator)
    if isinstance(source, Generator):
        drawn = core.integers(source, shape, low, high)
    else:
        drawn = _by_numpy(source, lambda: source.integers(low, high, shape), shape, "int64")
    drawn = drawn if dtype is None else drawn.astype(dtype)
    return drawn.requires_grad_() if requires_grad else drawn


def randperm(n: int, *, rng: Seed = None, generator: Seed = None, dtype: DType = None, requires_grad: bool = False,
             device: Any = None) -> Tensor:
    """The numbers 0 to n - 1 in random order.

    >>> import microgradx as mgx
    >>> sorted(mgx.randperm(4).tolist())
    [0, 1, 2, 3]
    """
    _options("randperm", device, None, ())
    (n,), source = lengths("randperm", (n,)), _source("randperm", rng, generator)
    if isinstance(source, Generator):
        drawn = core.permutation(source, n)
    else:
        drawn = _by_numpy(source, lambda: source.permutation(n), (n,), "int64")
    drawn = drawn if dtype is None else drawn.astype(dtype)
    return drawn.requires_grad_() if requires_grad else drawn


# ----- draws in the shape of a tensor, or with its parameters --------------------------------------------------------

def _tensor(op: str, x: Any, floats: bool = False) -> Tensor:
    tensor = x if isinstance(x, Tensor) else Tensor(x)
    if floats and tensor.dtype.kind != "f":
        raise DTypeError(f"{op}: of float32 or float64, not of {tensor.dtype}")
    return tensor.detach()


def _required(op: str, fits: Function, words: str) -> Function:
    """A function that gives a tensor all of whose numbers fit, and raises otherwise, in replays of a program too."""
    def forward(out: npt.NDArray[Any], x: npt.NDArray[Any]) -> None:
        if not fits(x).all():
            raise OptionError(f"{op}: {words}, not {x.min()} to {x.max()}")
        out[...] = x
    return HostOperation(op, lambda x: [(x.shape, x.dtype)], forward)


_deviation = _required("normal", lambda x: x >= 0, "a standard deviation is not below 0")
_chance = _required("bernoulli", lambda x: (x >= 0) & (x <= 1), "a chance is from 0 to 1")
_poisson_rate = _required("poisson", lambda x: x >= 0, "a rate is not below 0")


def _weights_into(out: npt.NDArray[Any], x: npt.NDArray[Any], count: int, replacement: bool) -> None:
    if not np.isfinite(x).all() or (x < 0).any() or (x.sum(-1) <= 0).any():
        raise OptionError(f"multinomial: weights from {x.min()} to {x.max()}; they are finite, not below 0 and not all "
                          "0")
    least = (x > 0).sum(-1).min()
    if not replacement and count > least:
        raise OptionError(f"multinomial: {count} draws without replacement from {least} weights above 0 "
                          f"({count} > {least})")
    out[...] = x


_weights: Function = HostOperation("multinomial", lambda x, *_: [(x.shape, np.float64)], _weights_into)


def rand_like(input: Data, *, dtype: DType = None, requires_grad: bool = False, device: Any = None, rng: Seed = None,
              generator: Seed = None) -> Tensor:
    """``rand`` in the shape and dtype of a tensor.

    >>> import microgradx as mgx
    >>> from microgradx import random
    >>> random.rand_like(mgx.zeros(2, 3)).shape
    (2, 3)
    """
    x = _tensor("rand_like", input, dtype is None)
    return rand(x.shape, dtype=dtype or x.dtype, requires_grad=requires_grad, device=device, rng=rng,
                generator=generator)


def randn_like(input: Data, *, dtype: DType = None, requires_grad: bool = False, device: Any = None, rng: Seed = None,
               generator: Seed = None) -> Tensor:
    """``randn`` in the shape and dtype of a tensor.

    >>> import microgradx as mgx
    >>> from microgradx import random
    >>> random.randn_like(mgx.zeros(2, 3)).shape
    (2, 3)
    """
    x = _tensor("randn_like", input, dtype is None)
    return randn(x.shape, dtype=dtype or x.dtype, requires_grad=requires_grad, device=device, rng=rng,
                 generator=generator)


def randint_like(input: Data, low: int, high: int | None = None, *, dtype: DType = None, requires_grad: bool = False,
                 device: Any = None, rng: Seed = None, generator: Seed = None) -> Tensor:
    """``randint`` in the shape and dtype of a tensor.

    >>> import microgradx as mgx
    >>> from microgradx import random
    >>> x = random.randint_like(mgx.zeros(100), 2, 4)
    >>> x.dtype.name, sorted(set(x.tolist()))
    ('float32', [2.0, 3.0])
    """
    x = _tensor("randint_like", input)
    return randint(low, high, x.shape, dtype=dtype or x.dtype, requires_grad=requires_grad, device=device, rng=rng,
                   generator=generator)


def normal(mean: Data = 0.0, std: Data = 1.0, size: Lengths | None = None, *, rng: Seed = None,
           generator: Seed = None, dtype: DType = None, requires_grad: bool = False, device: Any = None) -> Tensor:
    """Normal numbers with this mean and standard deviation: numbers and a ``size``, or tensors that broadcast.

    Raises ``OptionError`` for a deviation below 0.

    >>> import microgradx as mgx
    >>> from microgradx import random
    >>> random.normal(10.0, 0.0, (2,)), random.normal(mgx.Tensor([1.0, 2.0]), 0.0).tolist()
    (Tensor([10., 10.]), [1.0, 2.0])
    """
    _options("normal", device, None, ())
    tensors = [t for t in (mean, std) if isinstance(t, (Tensor, np.ndarray))]
    if tensors and size is not None:
        raise ArgumentError("normal: a size goes with numbers; the shape of tensors is that of the result")
    loc, scale = (_tensor("normal", t) for t in (mean, std))
    scale = _deviation(scale)
    if not tensors:
        shape: tuple[int, ...] = lengths("normal", () if size is None else (size,))
        kind: Any = dtype or get_default_dtype()
    else:
        shape, kind = tuple((loc + scale).shape), dtype or _tensor("normal", tensors[0]).dtype
    drawn: Tensor = loc.astype(kind) + scale.astype(kind) * randn(shape, dtype=kind, rng=rng, generator=generator)
    return drawn.requires_grad_() if requires_grad else drawn


def bernoulli(input: Data, p: float | None = None, *, rng: Seed = None, generator: Seed = None) -> Tensor:
    """1 with the chance that ``input`` says, or with the chance ``p`` for all, else 0; in its shape and dtype.

    Raises ``OptionError`` for a chance outside 0 to 1.

    >>> import microgradx as mgx
    >>> from microgradx import random
    >>> random.bernoulli(mgx.Tensor([0.0, 1.0]))
    Tensor([0., 1.])
    """
    x = _tensor("bernoulli", input, p is None)
    chance: Tensor = _chance(x if p is None else Tensor(p))
    kind = x.dtype if p is None else "float64"
    return (rand(x.shape, dtype=kind, rng=rng, generator=generator) < chance.astype(kind)).astype(x.dtype)


def poisson(input: Data, *, rng: Seed = None, generator: Seed = None) -> Tensor:
    """Counts of a Poisson distribution with the rates ``input``, in their shape and dtype.

    >>> import microgradx as mgx
    >>> from microgradx import random
    >>> random.poisson(mgx.zeros(2))
    Tensor([0., 0.])
    """
    rate = _poisson_rate(_tensor("poisson", input, True))
    return _drawn("poisson", rng, generator, lambda g, lam: g.poisson(lam), rate.shape, rate.dtype, rate)


def multinomial(input: Data, num_samples: int, replacement: bool = False, *, rng: Seed = None,
                generator: Seed = None) -> Tensor:
    """Indices drawn with the weights ``input``: (n,) -> (num_samples,), (m, n) -> (m, num_samples); int64.

    Without ``replacement`` no index is drawn twice: by the largest of the weights' logarithms and Gumbel noise
    (Efraimidis and Spirakis 2006). Raises ``OptionError`` for weights that are below 0, not finite or all 0, and for
    more draws than there are weights above 0.

    >>> from microgradx import random
    >>> random.multinomial([0.0, 1.0, 0.0], 4, replacement=True)
    Tensor([1, 1, 1, 1], dtype=int64)
    >>> sorted(random.multinomial([1.0, 2.0, 0.0], 2).tolist())
    [0, 1]
    """
    x = _tensor("multinomial", input, True)
    if x.ndim not in (1, 2) or x.shape[-1] == 0:
        raise ShapeError(f"multinomial: weights of one or two axes, not of shape {x.shape}")
    (count,) = lengths("multinomial", (num_samples,), "num_samples")
    if count < 1:
        raise OptionError("multinomial: 0 draws; there is at least one")
    weights: Tensor = _weights(x, count, bool(replacement))
    if replacement:
        total = weights.cumsum(-1)
        at = rand(*x.shape[:-1], count, dtype="float64", rng=rng, generator=generator) * total[..., -1:]
        found = (at.unsqueeze(-1) >= total.unsqueeze(-2)).sum(-1)
        last = (weights > 0).astype("int64") * arange(x.shape[-1])          # where a rounding reaches the end
        return found.minimum(last.amax(-1, keepdims=True))
    noise = -rand(x.shape, dtype="float64", rng=rng, generator=generator).neg().log1p()     # exponential
    return (noise / weights).argsort(-1)[..., :count]


# ----- in place: methods of Tensor -----------------------------------------------------------------------------------

def _filled(op: str, x: Tensor, drawn: Tensor) -> Tensor:
    return x.copy_(drawn if drawn.dtype == x.dtype else drawn.astype(x.dtype))


def _float(op: str, x: Tensor) -> Any:
    if x.dtype.kind != "f":
        raise DTypeError(f"{op}: of float32 or float64, not of {x.dtype}")
    return x.dtype


def uniform_(x: Tensor, low: float = 0.0, high: float = 1.0, *, generator: Seed = None) -> Tensor:
    """Fill with uniform numbers, low <= x < high."""
    if not low <= high < float("inf"):
        raise OptionError(f"uniform_: from {low} to {high}: two finite numbers, the smaller first")
    drawn = rand(x.shape, dtype=_float("uniform_", x), generator=generator)
    return x.copy_(low + (high - low) * drawn)


def normal_(x: Tensor, mean: float = 0.0, std: float = 1.0, *, generator: Seed = None) -> Tensor:
    """Fill with normal numbers with this mean and standard deviation."""
    return x.copy_(normal(mean, std, x.shape, dtype=_float("normal_", x), generator=generator))


def bernoulli_(x: Tensor, p: Data = 0.5, *, generator: Seed = None) -> Tensor:
    """Fill with 1 with the chance ``p``, a number or a tensor that broadcasts, else with 0."""
    chance = _tensor("bernoulli_", p, True).expand(x.shape)
    return _filled("bernoulli_", x, bernoulli(chance, generator=generator))


def exponential_(x: Tensor, lambd: float = 1.0, *, generator: Seed = None) -> Tensor:
    """Fill with numbers of an exponential distribution with the rate ``lambd``."""
    if not 0 < lambd < float("inf"):
        raise OptionError(f"exponential_: a rate of {lambd} is no finite number above 0")
    drawn = rand(x.shape, dtype=_float("exponential_", x), generator=generator)
    return x.copy_(drawn.neg().log1p() * (-1 / lambd))


def log_normal_(x: Tensor, mean: float = 1.0, std: float = 2.0, *, generator: Seed = None) -> Tensor:
    """Fill with exp of normal numbers with this mean and standard deviation."""
    return x.copy_(normal(mean, std, x.shape, dtype=_float("log_normal_", x), generator=generator).exp())


def cauchy_(x: Tensor, median: float = 0.0, sigma: float = 1.0, *, generator: Seed = None) -> Tensor:
    """Fill with numbers of a Cauchy distribution."""
    drawn = rand(x.shape, dtype=_float("cauchy_", x), generator=generator)
    return x.copy_(median + sigma * (np.pi * (drawn - 0.5)).tan())


def geometric_(x: Tensor, p: float, *, generator: Seed = None) -> Tensor:
    """Fill with the number of trials up to the first success, whose chance is ``p``."""
    if not 0 < p < 1:
        raise OptionError(f"geometric_: a chance of {p} is no number between 0 and 1")
    return _filled("geometric_", x, _drawn("geometric_", None, generator, lambda g: g.geometric(p, x.shape), x.shape,
                                           "float64"))


def random_(x: Tensor, low: int = 0, high: int | None = None, *, generator: Seed = None) -> Tensor:
    """Fill with integers, low <= x < high; ``random_(high)`` begins at 0, and without bounds they are all that x holds
    exactly."""
    if high is None:
        most = {"float32": 1 << 24, "float64": 1 << 53, "bool": 2}.get(x.dtype.name, (1 << 63) - 1)
        low, most = integers("random_", "low", (low, most))
        low, high = (0, most) if low == 0 else (0, low)
    return _filled("random_", x, randint(low, high, x.shape, generator=generator))


make_public(__name__)
attach({f.__name__: f for f in (uniform_, normal_, bernoulli_, exponential_, log_normal_, cauchy_, geometric_,
                                random_)})
attach({"bernoulli": bernoulli, "multinomial": multinomial})
