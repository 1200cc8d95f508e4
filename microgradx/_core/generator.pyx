"""Random numbers: a generator is a state of two numbers, which launches read and advance.

Number i of a draw is a function of the key, of the counter when the draw began, and of i (csrc/random.inl). So what is
done to a state is a copy: seeding, rewinding, saving. A captured program draws and advances as an eager call does.
"""
from libc.stdint cimport uint64_t

from microgradx._core.array cimport *
from microgradx._core.kernels cimport *
from microgradx._core.launch cimport Call, copy, host, launch, put
from microgradx._core.structured cimport to_floating, empty_of_shape
from microgradx._core.views cimport contiguous

import operator
import os
import threading

import numpy as np

from microgradx._core.launch import composite, compute
from microgradx.errors import DTypeError, OptionError, ShapeError, is_device

cdef int UNIFORM = kernel_row("uniform"), NORMAL = kernel_row("normal"), INTEGERS = kernel_row("integers")
cdef int PERMUTATION = kernel_row("permutation"), DROPOUT = kernel_row("dropout"), ADVANCE = kernel_row("advance")


# ----- the generator -------------------------------------------------------------------------------------------------

cdef uint64_t checked_seed(object seed) except? 0:
    if isinstance(seed, (bool, np.bool_)) or not isinstance(seed, (int, np.integer)):
        raise DTypeError(f"rng: a Generator, a numpy.random.Generator, an int or None, not {type(seed).__name__}")
    if seed < 0:
        raise OptionError(f"rng: a seed is not negative ({seed} < 0)")
    if seed >= 1 << 64:
        raise OptionError(f"rng: a seed is less than 2^64 ({seed} >= {1 << 64})")
    return operator.index(seed)


def _from_the_system(out):
    out[0], out[1] = int.from_bytes(os.urandom(8), "little", signed=True), 0


cdef Array state_of(object seed):
    """The state that a seed begins with; of None, a seed from the operating system."""
    cdef Array state
    if seed is not None:
        return from_object(np.array([checked_seed(seed), 0], np.uint64).view(np.int64), None, True)
    state = empty_of_shape("rng", (2,), np.int64)
    host(_from_the_system, (state,), ())
    return state


cdef class BitGenerator:
    """The state of a generator, as NumPy's programs read and write it."""
    cdef Generator generator

    def __init__(self, Generator generator not None):
        self.generator = generator

    @property
    def state(self):
        """The state as ``Generator.get_state`` gives it: a copy; to assign one is ``set_state``."""
        return self.generator.get_state()

    @state.setter
    def state(self, state):
        self.generator.set_state(state)


cdef class Generator:
    """Random numbers from a seed, an int with 0 <= seed < 2^64; without one the operating system gives it.

    By Philox4x32-10 (Salmon et al. 2011): the seed is the key, and the state is the key and a counter of blocks of 128
    random bits, which every draw moves on by as many as it used. So one seed gives the same numbers eager and
    compiled, with any number of threads and on every instruction set. Copies and pickles go on from the same state by
    themselves. Give each thread that draws a generator of its own.

    >>> import microgradx as mgx
    >>> rng = mgx.Generator(7)
    >>> state = rng.get_state()
    >>> a = mgx.rand(2, rng=rng)
    >>> rng.set_state(state)
    >>> bool((mgx.rand(2, rng=rng) == a).all())
    True
    """

    def __cinit__(self, seed=None, *, device=None):
        if isinstance(seed, str):                       # torch's first argument
            seed, device = None, seed
        if device is not None and not is_device("Generator", device):
            raise OptionError(f"Generator: device={device!r} is none; microgradx runs on the CPU, 'cpu'")
        self.state = state_of(seed)

    def manual_seed(self, seed):
        """Restart from ``seed``; returns the generator."""
        cdef Array state = state_of(checked_seed(seed))
        note(self)
        copy(state, self.state)
        return self

    def seed(self):
        """Restart from a seed that the operating system gives; returns it."""
        cdef Array state = state_of(None)
        note(self)
        copy(state, self.state)
        return self.initial_seed()

    def initial_seed(self):
        """The seed from which it began.

        >>> import microgradx as mgx
        >>> mgx.Generator(7).initial_seed()
        7
        """
        return self.numbers()[0]

    def get_state(self):
        """The state, a Tensor (key, counter): a copy."""
        cdef Array state = empty_like(self.state)
        copy(self.state, state)
        return state

    def set_state(self, state):
        """Go on from a ``state`` that ``get_state`` gave."""
        if not isinstance(state, Array):
            raise DTypeError(f"set_state: a state is a Tensor that get_state gave, not {type(state).__name__}")
        if (<Array> state).dtype_ != MGX_I64:
            raise DTypeError("set_state: a state is int64, as get_state gives it, not "
                             f"{dtype_of((<Array> state).dtype_)}")
        if not same_shape(state, self.state):
            raise ShapeError(f"set_state: a state has the shape (2,), as get_state gives it, not {shape_of(state)}")
        note(self)
        copy(state, self.state)

    @property
    def bit_generator(self):
        """What holds the state, in NumPy's words.

        >>> import microgradx as mgx
        >>> bits = mgx.Generator(7).bit_generator
        >>> state = bits.state
        >>> bits.state = state
        """
        return BitGenerator(self)

    cdef tuple numbers(self):
        """(key, counter) as numbers."""
        return tuple([int(n) for n in np.asarray(self.state).view(np.uint64)])

    def __copy__(self):
        cdef Generator other = Generator.__new__(Generator, 0)
        copy(self.state, other.state)
        return other

    def __deepcopy__(self, memo):
        return self.__copy__()

    def __reduce__(self):
        return _restored, self.numbers()

    def __repr__(self):
        return "Generator(seed={}, counter={})".format(*self.numbers())


def _restored(key, counter):
    cdef Generator g = Generator.__new__(Generator, 0)
    copy(from_object(np.array([key, counter], np.uint64).view(np.int64), None, True), g.state)
    return g


# ----- notes: what was drawn from, so that it can be rewound ---------------------------------------------------------

cdef list notes = []            # (thread, {id of a generator: (it, its state when it was first drawn from)})


cdef class Drawn:
    """A context manager: notes from which generators this thread draws within it, and their states before that."""
    cdef dict before

    def __cinit__(self):
        self.before = {}

    def __enter__(self):
        notes.append((threading.get_ident(), self.before))
        return self

    def __exit__(self, *_):
        notes[:] = [entry for entry in notes if entry[1] is not self.before]

    def rewind(self):
        """Let all draw once more what they drew; returns what their states were, for ``put_back``."""
        cdef list now = []
        for rng, state in self.before.values():
            note(rng)
            now.append((rng, saved(rng)))
            load(rng, state)
        return now

    def has_drawn(self, rng):
        """Was ``rng`` drawn from, or set, since this was entered?"""
        return id(rng) in self.before

    def states(self):
        """Those of our own generators, as they are read and advanced."""
        return [(<Generator> rng).state for rng, _ in self.before.values() if isinstance(rng, Generator)]

    @staticmethod
    def put_back(list now):
        for rng, state in now:
            load(rng, state)


def note(rng):
    """``rng`` is about to be drawn from, or set."""
    if not notes:
        return
    thread = threading.get_ident()
    for of, before in list(notes):
        if of == thread and id(rng) not in before:
            before[id(rng)] = rng, saved(rng)


cdef object saved(object rng):
    """Its state: of ours a Tensor, of NumPy's a list that a host launch fills."""
    cdef list cell
    if isinstance(rng, Generator):
        return rng.get_state()
    cell = [None]

    def save_state():
        cell[0] = rng.bit_generator.state
    host(save_state, (), ())
    return cell


cdef int load(object rng, object state) except -1:
    if isinstance(rng, Generator):
        return copy(state, (<Generator> rng).state)

    def load_state():
        rng.bit_generator.state = state[0]
    return host(load_state, (), ())


# ----- draws ---------------------------------------------------------------------------------------------------------

cdef enum: LANES = 32           # blocks of a tile: see csrc/random.inl


cdef int advance(Array state, Py_ssize_t n, int words) except -1:
    """n numbers of so many words each were drawn."""
    cdef Call call
    cdef Py_ssize_t tile = LANES * (4 // words)
    call.count = 0
    put(&call, state)
    call.args.n[0] = n // tile * LANES + min(n % tile, <Py_ssize_t> LANES)
    launch(&call, ADVANCE, MGX_F64)
    return 0


cdef Array drawn(int row, Generator rng, tuple shape_, int kind, Py_ssize_t low, Py_ssize_t range_):
    cdef Py_ssize_t shape[MGX_MAXDIM]
    cdef int d
    cdef Array out
    cdef Call call
    check_ndim("random numbers", len(shape_))
    for d in range(len(shape_)):
        shape[d] = shape_[d]
    out = empty(kind, len(shape_), shape)
    note(rng)
    if out.size:
        call.count = 0
        put(&call, rng.state)
        put(&call, out)
        call.args.n[0], call.args.n[1], call.args.n[2] = out.size, low, range_
        launch(&call, row, kind if kind <= MGX_F64 else MGX_F64)
        advance(rng.state, out.size, 1 if kind == MGX_F32 else 2)
    return out


cdef int float_code(str op, object dtype) except -1:
    cdef int kind = dtype_code(dtype)
    if kind > MGX_F64:
        raise DTypeError(f"{op}: numbers of float32 or float64 are drawn, not of {dtype_of(kind)}")
    return kind


def uniform(Generator rng not None, tuple shape not None, dtype):
    """Numbers with 0 <= x < 1."""
    return drawn(UNIFORM, rng, shape, float_code("rand", dtype), 0, 0)


def normal(Generator rng not None, tuple shape not None, dtype):
    """Normal numbers of mean 0 and variance 1."""
    return drawn(NORMAL, rng, shape, float_code("randn", dtype), 0, 0)


def integers(Generator rng not None, tuple shape not None, low, high):
    """Integers with low <= x < high."""
    if low < -1 << 63 or high > 1 << 63:
        raise OptionError(f"randint: integers of 64 bits lie from -2^63 to 2^63 - 1, not from {low} to {high - 1}")
    return drawn(INTEGERS, rng, shape, MGX_I64, low, <Py_ssize_t> <uint64_t> ((high - low) & (1 << 64) - 1))


def permutation(Generator rng not None, Py_ssize_t n):
    """0 to n - 1 in random order."""
    return drawn(PERMUTATION, rng, (n,), MGX_I64, 0, 0)


# ----- dropout: linear in x, and its own derivative from the same state ----------------------------------------------

cdef Array dropped(Array x, Array state, Py_ssize_t most, double scale):
    """scale * x where a word that ``state`` gives is above ``most``, 0 elsewhere; ``state`` stays as it is."""
    cdef Array out
    cdef Call call
    x = contiguous(x)
    out = empty_like(x)
    if x.size:
        call.count = 0
        put(&call, x)
        put(&call, state)
        put(&call, out)
        call.args.n[0], call.args.n[1], call.args.x[0] = x.size, most, scale
        launch(&call, DROPOUT, x.dtype_)
    record_structured(out, b"dropout", dropout_vjp, (state, most, scale) if x.needs_grad else None, x)
    return out


cdef object dropout_vjp(Node node, Array g, int i):
    state, most, scale = node.args
    return dropped(g, state, most, scale)


def dropout(Array x not None, double p, Generator rng not None):
    """Each element 0 with probability p > 0, else divided by 1 - p."""
    cdef Array state = rng.state, out
    note(rng)
    x = to_floating("dropout", x)
    if x.needs_grad:
        state = rng.get_state()                 # for the derivative
    out = dropped(x, state, max(<Py_ssize_t> (p * 4294967296.0 + 0.5), 1) - 1, 1 / (1 - p) if p < 1 else 0.0)
    advance(rng.state, x.size, 1)
    return out


# ----- the same in NumPy ---------------------------------------------------------------------------------------------

def _words(state, n, words):
    """For each of n numbers its words, uint64 (n, words): Philox4x32-10."""
    low, per = np.uint64(0xffffffff), 4 // words
    tiles = -(-n // (LANES * per))
    key, first = (np.uint64(int(s) % 2**64) for s in state)
    with np.errstate(over="ignore"):
        block = first + np.arange(tiles * LANES, dtype=np.uint64)
        keys = [key & low, key >> np.uint64(32)]
        a, b, c, d = block & low, block >> np.uint64(32), np.zeros_like(block), np.zeros_like(block)
        for _ in range(10):
            p, q = a * np.uint64(0xD2511F53), c * np.uint64(0xCD9E8D57)
            a, b, c, d = q >> np.uint64(32) ^ b ^ keys[0], q & low, p >> np.uint64(32) ^ d ^ keys[1], p & low
            keys = [keys[0] + np.uint64(0x9E3779B9) & low, keys[1] + np.uint64(0xBB67AE85) & low]
    found = np.stack([a, b, c, d], 1).reshape(tiles, LANES, per, words)
    return found.transpose(0, 2, 1, 3).reshape(-1, words)[:n]


def _bits(state, n, size):
    """The bits of n numbers of ``size`` bytes."""
    words = _words(state, n, size // 4)
    return words[:, 0] if size == 4 else words[:, 1] << np.uint64(32) | words[:, 0]


def _uniform(state, n, size):
    kept = 24 if size == 4 else 53
    return (_bits(state, n, size) >> np.uint64(8 * size - kept)).astype(np.float64) * 2.0**-kept


def _normal(state, n, size):
    tile = LANES * (16 // size)
    pairs = _bits(state, -(-n // tile) * tile, size).reshape(-1, 2, LANES)
    lost = np.uint64(size == 4)                     # a float takes 31 bits for the radius
    radius = np.sqrt(-2 * np.log(((pairs[:, 0] >> lost) + 0.5) * 2.0**(int(lost) - 8 * size)))
    turns = pairs[:, 1].astype(np.float64) * 2.0**(-8 * size)
    return np.stack([radius * np.cos(2 * np.pi * turns), radius * np.sin(2 * np.pi * turns)], 1).reshape(-1)[:n]


def _integers(state, n, low, range):
    scale = range if range > 0 else range + 2**64
    return np.array([low + (int(x) * scale >> 64) for x in _bits(state, n, 8)], np.int64)


def _permutation(state, n):
    order = np.zeros(n, np.int64)
    for i, x in enumerate(_bits(state, n, 8)):
        other = int(x) * (i + 1) >> 64
        order[i], order[other] = order[other], i
    return order


@composite("uniform")
def _uniform_composite(state, *, n, size):
    return compute(_uniform, state, n, size)


@composite("normal")
def _normal_composite(state, *, n, size):
    return compute(_normal, state, n, size)


@composite("integers")
def _integers_composite(state, *, n, low, range, **sizes):
    return compute(_integers, state, n, low, range)


@composite("permutation")
def _permutation_composite(state, *, n, **sizes):
    return compute(_permutation, state, n)


@composite("dropout")
def _dropout_composite(x, state, *, n, most, scale, **sizes):
    kept = compute(_words, state, n, 1)[:, 0] > most
    return kept.where(scale * x, 0.0)


@composite("advance")
def _advance_composite(state, *, blocks, **sizes):
    return compute(np.add, state, np.array([0, blocks]))
