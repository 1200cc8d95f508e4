"""Random numbers: Philox's words, what is made of them, their distributions, and the state of a generator."""
import copy
import hashlib
import os
import pickle
import subprocess
import sys

import numpy as np
import pytest
from scipy import special, stats

import microgradx as mgx
from microgradx import errors, nn
from microgradx._core.launch import run
from microgradx.nn import functional as F

LANES = 32


def philox(key, counter):
    """Philox4x32-10 in plain Python: a key of 64 bits and a counter of 128 -> four words. Salmon et al. (2011)."""
    low = 0xffffffff
    k, c = [key & low, key >> 32], [counter >> 32 * i & low for i in range(4)]
    for _ in range(10):
        p, q = c[0] * 0xD2511F53, c[2] * 0xCD9E8D57
        c = [q >> 32 ^ c[1] ^ k[0], q & low, p >> 32 ^ c[3] ^ k[1], p & low]
        k = [k[0] + 0x9E3779B9 & low, k[1] + 0xBB67AE85 & low]
    return c


def bits(key, counter, n, words):
    """The bits of n numbers of so many words, by the layout that csrc/random.inl describes."""
    found, tile = [], LANES * (4 // words)
    for i in range(n):
        block, part = i // tile * LANES + i % LANES, i % tile // LANES
        word = philox(key, (counter + block) % 2**64)[part * words:][:words]
        found.append(sum(w << 32 * k for k, w in enumerate(word)))
    return found


def blocks(n, words):
    tile = LANES * (4 // words)
    return n // tile * LANES + min(n % tile, LANES)


def at(key, counter=0):
    """A generator in a state."""
    g = mgx.Generator(0)
    g.set_state(mgx.Tensor(np.array([key, counter], np.uint64).view(np.int64)))
    return g


DRAWS = {
    "rand": lambda g, n: mgx.rand(n, rng=g), "randn": lambda g, n: mgx.randn(n, rng=g),
    "rand, double": lambda g, n: mgx.rand(n, rng=g, dtype="float64"),
    "randn, double": lambda g, n: mgx.randn(n, rng=g, dtype="float64"),
    "randint": lambda g, n: mgx.randint(-3, 10, n, rng=g),
    "randint, wide": lambda g, n: mgx.randint(2**63, size=n, rng=g),
    "dropout": lambda g, n: F.dropout(mgx.ones(n), 0.3, rng=g),
    "dropout, double": lambda g, n: F.dropout(mgx.ones(n, dtype="float64"), 0.3, rng=g)}
WORDS = {name: 1 if name in ("rand", "randn") or name.startswith("dropout") else 2 for name in DRAWS}


# ----- the words -----------------------------------------------------------------------------------------------------

# from the file kat_vectors of Random123, which goes with the paper
KNOWN = [(0, 0, [0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8]),
         (2**64 - 1, 2**128 - 1, [0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd]),
         (0x299f31d0a4093822, 0x0370734413198a2e85a308d3243f6a88, [0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1])]


@pytest.mark.parametrize("key, counter, words", KNOWN)
def test_known_answers(key, counter, words):
    assert philox(key, counter) == words


def test_the_kernel_s_first_block_is_the_known_one():
    whole = mgx.Tensor(np.zeros(64, np.int64))
    run("integers", mgx.tensor([0, 0]), whole, integers=(64, 0, 0))                 # all 64 bits
    words = whole.numpy().view(np.uint32)
    assert [*words[:2], *words[2 * LANES:2 * LANES + 2]] == KNOWN[0][2]


STATES = [(0, 0), (7, 5), (2**64 - 1, 2**32 - 3), (2**63 + 2**33 + 1, 2**64 - 40), (1, 2**63 - 3)]


@pytest.mark.parametrize("key, counter", STATES)
def test_numbers_are_made_of_the_words(key, counter):
    n, g = 500, at(key, counter)
    one, two = (np.array(bits(key, counter, n, words), np.uint64) for words in (1, 2))
    assert (mgx.rand(n, rng=at(key, counter)).numpy() == (one >> np.uint64(8)).astype("f4") * np.float32(2**-24)).all()
    found = mgx.rand(n, rng=at(key, counter), dtype="float64").numpy()
    assert (found == (two >> np.uint64(11)).astype("f8") * 2**-53).all()
    for p in (0.3, 0.5, 1.0):
        for dtype in ("float32", "float64"):
            x = mgx.randn(n, rng=9, dtype=dtype)
            y = F.dropout(x, p, rng=at(key, counter)).numpy()
            kept = one >= p * 2**32
            assert (y == np.where(kept, x.numpy() * np.dtype(dtype).type(1 / (1 - p) if p < 1 else 0), 0)).all()
    assert mgx.randint(-5, 12, n, rng=g).tolist() == [-5 + (int(x) * 17 >> 64) for x in two]
    assert g.get_state().numpy().view(np.uint64).tolist() == [key, (counter + blocks(n, 2)) % 2**64]


@pytest.mark.parametrize("dtype, size", [("float32", 4), ("float64", 8)])
def test_normal_numbers_are_those_of_box_and_muller(dtype, size):
    n = 4096
    words = np.array(bits(3, 8, n, size // 4), np.uint64).reshape(-1, 2, LANES)
    lost = size == 4                                                # a float takes 31 bits for the radius, a double 53
    words[:, 1] &= np.uint64(2**64 - 1 if lost else 2**64 - 2**11)  # for the angle
    u = ((words[:, 0] >> np.uint64(lost)).astype(np.longdouble) + 0.5) * 2.0**(lost - 8 * size)
    angle = 8 * np.arctan(np.longdouble(1)) * (words[:, 1].astype(np.longdouble) * 2.0**(-8 * size))
    truth = np.sqrt(-2 * np.log(u))[:, None] * np.stack([np.cos(angle), np.sin(angle)], 1)
    found = mgx.randn(n, rng=at(3, 8), dtype=dtype).numpy()
    np.testing.assert_allclose(found, truth.ravel().astype("f8"), rtol=0, atol=8 * np.finfo(dtype).eps)
    # the angle is exact, so small numbers keep their digits; near u = 1 the radius does not
    sure = (np.stack([u, u], 1) < 0.9).ravel()
    np.testing.assert_allclose(found[sure], truth.ravel().astype("f8")[sure], rtol=8 * np.finfo(dtype).eps)


def test_the_largest_normal_numbers():
    """A radius is that of the middle of the part that its word stands for, also of the first parts."""
    n, whole = 1 << 21, mgx.Tensor(np.zeros(1 << 21, np.int64))
    run("integers", mgx.tensor([3, 8]), whole, integers=(n, 0, 0))
    word = (whole.numpy().view("u8") & np.uint64(2**32 - 1)).reshape(-1, LANES)
    found = mgx.randn(2 * n, rng=at(3, 8)).numpy().reshape(-1, 2, LANES).astype("f8")
    few = word < 2**13
    assert few.sum() == 2
    radius = np.sqrt(-2 * np.log(((word[few] >> np.uint64(1)).astype("f8") + 0.5) * 2.0**-31))
    np.testing.assert_allclose(np.hypot(found[:, 0][few], found[:, 1][few]), radius, rtol=1e-6)


@pytest.mark.parametrize("low, high, least", [(0, 2**63, 0), (-2**63, 2**63, 0), (-2**62 - 5, 2**62 + 8, 200),
                                              (-7, 3 * 2**61, 80), (0, 2**32, 0), (0, 2**32 - 1, 0), (5, 6, 0)])
def test_integers_have_no_bias(low, high, least):
    """Where x * range / 2^64 would favour some, further words of the block are taken (Lemire 2019)."""
    n, size, expected, more = 300, high - low, [], 0
    for i, x in enumerate(bits(11, 4, n, 2)):
        block, half, attempt = 4 + i // 64 * LANES + i % LANES, i % 64 // LANES, 0
        while x * size % 2**64 < 2**64 % size:
            attempt += 1
            word = philox(11, attempt << 64 | block)
            x = word[2 * half] | word[2 * half + 1] << 32
        expected.append(low + (x * size >> 64))
        more += attempt
    assert mgx.randint(low, high, n, rng=at(11, 4)).tolist() == expected
    assert more >= least


def test_a_permutation_is_that_of_fisher_and_yates():
    n, order = 200, []
    for i, x in enumerate(bits(5, 0, n, 2)):
        order.insert(x * (i + 1) >> 64, i)
        if order[-1] != i:                                                          # changes places with it
            k = order.index(i)
            order.append(order.pop(k + 1))
    assert mgx.randperm(n, rng=5).tolist() == order
    assert [mgx.randperm(k, rng=0).tolist() for k in (0, 1)] == [[], [0]]
    assert sorted(mgx.randperm(10**5, rng=0).tolist()) == list(range(10**5))


# ----- one seed, one course ------------------------------------------------------------------------------------------

@pytest.mark.parametrize("name", DRAWS)
def test_a_number_depends_on_the_state_and_its_place_alone(name):
    draw = DRAWS[name]
    whole = draw(at(3, 17), 1000).numpy()
    for n in (1, 2, 31, 32, 33, 63, 64, 65, 127, 128, 129, 255, 700):
        g = at(3, 17)
        assert (draw(g, n).numpy() == whole[:n]).all()
        assert g.get_state().tolist() == [3, 17 + blocks(n, WORDS[name])]
    tile = 128 // WORDS[name]
    assert (draw(at(3, 17 + 2 * LANES), 100).numpy() == whole[2 * tile:2 * tile + 100]).all()


@pytest.mark.parametrize("name", DRAWS)
def test_one_after_the_other_no_block_is_used_twice(name):
    """Draws of one generator are stretches of one course, and another seed's is another."""
    draw, g = DRAWS[name], at(8)
    sizes = [1, 5, 32, 100, 128, 3]
    counters = [0]
    for n in sizes:
        draw(g, n)
        counters.append(g.get_state().tolist()[1])
    assert np.diff(counters).tolist() == [blocks(n, WORDS[name]) for n in sizes]
    a, b, c = (draw(rng, 5000).numpy() for rng in (at(8), at(8, blocks(5000, WORDS[name])), at(9)))
    for other in (b, c):
        assert abs(np.corrcoef(a.astype(float), other.astype(float))[0, 1]) < 5 / np.sqrt(5000)


@pytest.mark.parametrize("name", DRAWS)
def test_threads_do_not_change_bits(name):
    before, found = mgx.get_num_threads(), []
    try:
        for threads in (1, 3):
            mgx.set_num_threads(threads)
            found.append(DRAWS[name](at(1, 2), 1_300_007).numpy().tobytes())
    finally:
        mgx.set_num_threads(before)
    assert found[0] == found[1]


DIGEST = """
import hashlib, sys
sys.path.insert(0, sys.argv[1])
import test_random
print(test_random.digest())
"""


def digest():
    h = hashlib.sha256()
    for draw in (*DRAWS.values(), lambda g, n: mgx.randperm(n, rng=g)):
        for n in (1, 70, 300_001):
            h.update(draw(at(2**40 + 9, 2**32 - 1000), n).numpy().tobytes())
    return h.hexdigest()


@pytest.mark.parametrize("isa", ["baseline", "avx2", "avx512"])
def test_instruction_sets_agree_to_the_bit(isa):
    done = subprocess.run([sys.executable, "-c", DIGEST, os.path.dirname(__file__)], text=True, capture_output=True,
                          env={**os.environ, "MICROGRADX_ISA": isa})
    if "names no instruction set that this processor has" in done.stderr:
        pytest.skip(f"no {isa} here")
    assert done.stdout.strip() == digest(), done.stderr


# ----- distributions -------------------------------------------------------------------------------------------------

N = 1_000_000
DTYPES = ["float32", "float64"]


@pytest.mark.parametrize("dtype", DTYPES)
def test_uniform(dtype):
    x = mgx.rand(N, rng=1, dtype=dtype).numpy()
    assert x.min() >= 0 and x.max() < 1
    assert stats.kstest(x, "uniform").pvalue > 0.001
    moments = [(x.astype("f8") ** k).mean() * (k + 1) for k in range(1, 5)]
    np.testing.assert_allclose(moments, 1, atol=5 / np.sqrt(N))
    pairs = np.histogram2d(x[:-1], x[1:], 32, [[0, 1], [0, 1]])[0]                  # neighbours
    assert stats.chisquare(pairs.ravel()).pvalue > 0.001


@pytest.mark.parametrize("dtype", DTYPES)
def test_every_bit_is_fair_and_none_follows_another(dtype):
    width = 24 if dtype == "float32" else 53
    x = (mgx.rand(200_000, rng=2, dtype=dtype).numpy().astype("f8") * 2.0**width).astype(np.int64)
    digits = (x[:, None] >> np.arange(width) & 1).astype(float) * 2 - 1
    z = digits.sum(0) / np.sqrt(len(x))
    assert stats.kstest(z, "norm").pvalue > 0.001 and stats.chi2.sf((z**2).sum(), width) > 0.001
    together = digits.T @ digits / np.sqrt(len(x))
    pairs = together[np.triu_indices(width, 1)]
    assert stats.kstest(pairs, "norm").pvalue > 0.001
    after = (digits[1:] * digits[:-1]).sum(0) / np.sqrt(len(x))
    assert stats.kstest(after, "norm").pvalue > 0.001


@pytest.mark.parametrize("dtype", DTYPES)
def test_normal(dtype):
    x = mgx.randn(2 * N, rng=3, dtype=dtype).numpy().astype("f8")
    assert np.isfinite(x).all() and stats.kstest(x, "norm").pvalue > 0.001
    for k, truth, variance in ((1, 0, 1), (2, 1, 2), (3, 0, 15), (4, 3, 96), (6, 15, 10170)):
        assert abs((x**k).mean() - truth) < 4.5 * np.sqrt(variance / len(x)), k
    pairs = x.reshape(-1, 2, LANES)                                                 # cosine and sine of one angle
    assert abs((pairs[:, 0] * pairs[:, 1]).mean()) < 4.5 / np.sqrt(N)
    assert abs((pairs[:, 0]**2 * pairs[:, 1]**2).mean() - 1) < 4.5 * np.sqrt(8 / N)
    far = np.array([2, 3, 4, 4.5])
    count, expected = (np.abs(x)[:, None] > far).sum(0), 2 * len(x) * special.ndtr(-far)
    assert (np.abs(count - expected) < 4.5 * np.sqrt(expected)).all()


def test_the_tails_of_normal_numbers():
    """What lies far out has the right share."""
    g, beyond, total = mgx.Generator(4), 0, 60 * N
    for _ in range(60):
        beyond += int((np.abs(mgx.randn(N, rng=g).numpy()) > 5).sum())
    expected = 2 * total * special.ndtr(-5)
    assert abs(beyond - expected) < 4 * np.sqrt(expected)


@pytest.mark.parametrize("dtype", DTYPES)
def test_no_normal_number_is_infinite_and_far_ones_come(dtype):
    g, largest = mgx.Generator(6), 0.0
    for _ in range(60):
        x = np.abs(mgx.randn(N, rng=g, dtype=dtype).numpy())
        assert np.isfinite(x).all()
        largest = max(largest, float(x.max()))
    assert 5.2 < largest < 6.6                                                      # of 6 x 10^7 numbers


@pytest.mark.parametrize("high", [2, 10, 1000, 2**40])
def test_integers_are_even(high):
    x = mgx.randint(high, size=N, rng=5).numpy()
    assert x.min() >= 0 and x.max() < high
    if high <= 1000:
        assert stats.chisquare(np.bincount(x, minlength=high)).pvalue > 0.001
    else:
        assert stats.kstest(x / high, "uniform").pvalue > 0.001


def test_every_order_is_as_likely():
    g, count = mgx.Generator(7), {}
    for _ in range(24_000):
        order = tuple(mgx.randperm(4, rng=g).tolist())
        count[order] = count.get(order, 0) + 1
    assert len(count) == 24 and stats.chisquare(list(count.values())).pvalue > 0.001


def test_dropout_drops_its_share():
    for p in (0.1, 0.5, 0.9):
        y = F.dropout(mgx.ones(N), p, rng=8).numpy()
        assert abs((y == 0).mean() - p) < 4 * np.sqrt(p * (1 - p) / N)
        assert set(np.unique(y)) == {0, np.float32(1 / (1 - p))}


# ----- generators ----------------------------------------------------------------------------------------------------

def test_a_generator_s_state():
    g = mgx.Generator(5)
    assert repr(g) == "Generator(seed=5, counter=0)" and g.initial_seed() == 5
    state = g.get_state()
    a = mgx.randn(40, rng=g).tolist()
    after = g.get_state()
    assert state.tolist() == [5, 0] and after.tolist() == [5, 32] and state.dtype == np.int64    # a copy each
    assert g.set_state(state) is None and mgx.randn(40, rng=g).tolist() == a
    assert (g.get_state() == after).numpy().all()
    b = mgx.rand(3, rng=g).tolist()
    other = mgx.Generator(1)
    other.set_state(after)
    assert mgx.rand(3, rng=other).tolist() == b and other.initial_seed() == 5
    assert g.manual_seed(9) is g and g.get_state().tolist() == [9, 0]
    seeds = {g.seed() for _ in range(5)}
    assert len(seeds) == 5 and g.initial_seed() in seeds and g.get_state().tolist()[1] == 0
    assert len({mgx.Generator().initial_seed() for _ in range(5)}) == 5
    assert mgx.Generator(2**64 - 1).initial_seed() == 2**64 - 1


def test_numpy_s_words_for_the_state():
    """``bit_generator.state`` rewinds, eagerly and in a replay."""
    g = mgx.Generator(5)

    def twice(x):
        bits = g.bit_generator
        state = bits.state
        a = mgx.rand(3, rng=g)
        bits.state = state
        return x + a, mgx.rand(3, rng=g)
    compiled, expected = mgx.compile(twice), mgx.Generator(5)
    for call in (twice, compiled, compiled, compiled):
        a, b = call(mgx.zeros(3))
        assert a.tolist() == b.tolist() == mgx.rand(3, rng=expected).tolist()
    with pytest.raises(errors.DTypeError, match="^set_state: a state is a Tensor that get_state gave, not dict"):
        g.bit_generator.state = {}


@pytest.mark.parametrize("twin", [copy.copy, copy.deepcopy, lambda g: pickle.loads(pickle.dumps(g)),
                                  lambda g: copy.deepcopy(nn.Dropout(0.5, rng=g)).rng])
def test_copies_go_on_by_themselves(twin):
    g = at(2**63 + 1, 2**63 + 7)
    other = twin(g)
    assert repr(other) == repr(g)
    a = mgx.rand(50, rng=g).tolist()
    assert mgx.rand(50, rng=other).tolist() == a and mgx.rand(50, rng=g).tolist() != a


@pytest.mark.parametrize("call, kind, words", [
    (lambda g: mgx.Generator(-1), errors.OptionError, "a seed is not negative"),
    (lambda g: mgx.Generator(2**64), errors.OptionError, r"a seed is less than 2\^64"),
    (lambda g: mgx.Generator(True), errors.DTypeError, "an int or None, not bool"),
    (lambda g: mgx.Generator(1.5), errors.DTypeError, "an int or None, not float"),
    (lambda g: g.manual_seed(None), errors.DTypeError, "not NoneType"),
    (lambda g: g.manual_seed("a"), errors.DTypeError, "not str"),
    (lambda g: g.set_state([5, 0]), errors.DTypeError, "a state is a Tensor that get_state gave, not list"),
    (lambda g: g.set_state(mgx.zeros(2)), errors.DTypeError, "a state is int64, as get_state gives it, not float32"),
    (lambda g: g.set_state(mgx.tensor([1, 2, 3])), errors.ShapeError, r"a state has the shape \(2,\).*not \(3,\)"),
    (lambda g: mgx.set_rng_state(None), errors.DTypeError, "a state is a Tensor"),
    (lambda g: mgx.rand(2, rng=g, generator=g), errors.OptionError, "two names of one argument"),
    (lambda g: mgx.rand(2, rng=g, dtype="int64"), errors.DTypeError, "rand: numbers of float32 or float64"),
    (lambda g: mgx.randn(2, rng=g, dtype=bool), errors.DTypeError, "randn: numbers of float32 or float64"),
    (lambda g: mgx.randint(2**63, 2**63 + 1, rng=g), errors.OptionError, "randint: integers of 64 bits"),
    (lambda g: mgx.randint(0.5, 3, rng=g), errors.DTypeError, "randint: low and high are integers")])
def test_refused(call, kind, words):
    g = mgx.Generator(5)
    with pytest.raises(kind, match=words):
        call(g)
    assert g.get_state().tolist() == [5, 0]


def test_the_shared_generator():
    with mgx.fork_rng():
        shared = mgx.manual_seed(11)
        assert shared is mgx.random.generator() and mgx.initial_seed() == 11
        a = mgx.rand(4).tolist()
        assert a == mgx.rand(4, rng=11).tolist() == mgx.rand(4, generator=mgx.Generator(11)).tolist()
        state = mgx.get_rng_state()
        b = mgx.randn(4).tolist()
        mgx.set_rng_state(state)
        assert mgx.randn(4).tolist() == b
        with pytest.raises(ZeroDivisionError), mgx.fork_rng():
            mgx.rand(100)
            1 / 0
        mgx.set_rng_state(state)
        with mgx.fork_rng(enabled=False):
            mgx.rand(100)
        assert mgx.get_rng_state().tolist() != state.tolist()
        assert mgx.seed() == mgx.initial_seed() != mgx.seed()


@pytest.mark.parametrize("make", [lambda: 3, lambda: mgx.Generator(3), lambda: np.random.default_rng(3)])
def test_what_rng_may_be(make):
    """A seed, a generator of ours and one of NumPy's: twice the same from the same, everywhere."""
    from microgradx import data
    calls = [lambda r: mgx.rand(5, rng=r), lambda r: mgx.randn(5, generator=r), lambda r: mgx.randint(9, size=5, rng=r),
             lambda r: mgx.randperm(5, rng=r), lambda r: F.dropout(mgx.ones(9), 0.5, rng=r),
             lambda r: nn.Linear(3, 2, rng=r).weight, lambda r: nn.init.orthogonal_(mgx.zeros(3, 3), rng=r),
             lambda r: nn.init.trunc_normal_(mgx.zeros(5), rng=r), lambda r: nn.LSTM(2, 2, rng=r).weight_ih_l0,
             lambda r: nn.Embedding(3, 2, rng=r).weight, lambda r: nn.Conv2d(1, 2, 3, rng=r).weight,
             lambda r: mgx.Tensor(next(data.batches(np.arange(9), np.arange(9), 9, rng=r))[0]),
             lambda r: mgx.Tensor(data.moons(9, rng=r)[0]),
             lambda r: mgx.Tensor(data.split(np.arange(9), np.arange(9), rng=r)[0])]
    for call in calls:
        assert call(make()).tolist() == call(make()).tolist()


def test_one_seed_gives_a_float_and_a_double_net_the_same_weights():
    a, b = (nn.Linear(7, 5, rng=4, dtype=dtype).weight.numpy() for dtype in DTYPES)
    assert (b.astype("f4") == a).all() and (b != a).any()


# ----- dropout's derivative ------------------------------------------------------------------------------------------

@pytest.mark.parametrize("rng", [lambda: mgx.Generator(1), lambda: np.random.default_rng(1)])
def test_dropout_is_linear_and_its_derivative_drops_the_same(rng):
    x = mgx.randn(4, 50, rng=0, dtype="float64", requires_grad=True)
    source = rng()
    y = F.dropout(x, 0.4, rng=source)
    F.dropout(x, 0.4, rng=source)                       # the generator goes on
    (y.sum() + F.dropout(x.detach().T, 0.4, rng=rng()).sum()).backward()
    assert (x.grad.numpy() == np.where(y.detach().numpy() == 0, 0, 1 / 0.6)).all()
    mgx.gradcheck(lambda x: F.dropout(x.square(), 0.4, rng=3), x)
    mgx.gradgradcheck(lambda x: F.dropout(x.square(), 0.4, rng=3), x)
    strided = mgx.randn(50, 8, rng=0, requires_grad=True)
    z = F.dropout(strided.T[::2], 0.5, rng=2)
    z.backward(mgx.ones(8, 50)[::2])
    assert (strided.grad.numpy().T[::2] == np.where(z.detach().numpy() == 0, 0, 2)).all()
    assert (strided.grad.numpy().T[1::2] == 0).all()


def test_dropout_of_what_is_not_finite():
    y = F.dropout(mgx.full((1000,), np.inf, dtype="float32"), 0.5, rng=0).numpy()
    assert set(np.unique(y)) == {0, np.inf}             # what is dropped is 0, whatever it was


# ----- compiled programs ---------------------------------------------------------------------------------------------

def everything(g, x):
    return [F.dropout(x, 0.5, rng=g) * 2, mgx.rand(3, rng=g), mgx.randn(3, 3, rng=g), mgx.randint(7, size=4, rng=g),
            mgx.randperm(5, rng=g), mgx.rand(2), mgx.randn(2, rng=0), mgx.rand(130, rng=g, dtype="float64").sum()]


@pytest.mark.parametrize("check", [False, True])
def test_a_program_draws_as_the_function_does(check):
    x, courses = mgx.ones(40), []
    with mgx.fork_rng():
        for compiled in (False, True):
            g = mgx.Generator(4)
            mgx.manual_seed(5)
            def function(x, g=g):
                return everything(g, x)
            call = mgx.compile(function, check=check) if compiled else function
            courses.append([[[t.tolist() for t in call(x)] for _ in range(6)],
                            g.get_state().tolist(), mgx.get_rng_state().tolist()])
    assert courses[0] == courses[1]
    rows = courses[0][0]
    assert rows[0] != rows[1] and rows[0][6] == rows[1][6]              # rng=0 inside begins anew in every call


def test_a_program_follows_the_state_that_it_is_given():
    g = mgx.Generator(1)
    call = mgx.compile(lambda x: mgx.randn(5, rng=g) + x)
    first = [call(mgx.zeros(5)).tolist() for _ in range(4)]
    state = g.get_state()
    later = [call(mgx.zeros(5)).tolist() for _ in range(3)]
    g.set_state(state)
    assert [call(mgx.zeros(5)).tolist() for _ in range(3)] == later
    assert g.manual_seed(1) is g and [call(mgx.zeros(5)).tolist() for _ in range(4)] == first
    assert len(call.programs) == 1 and not any("host" in line for line in str(call.programs[0]).splitlines())


def test_generators_as_arguments_are_told_apart():
    call = mgx.compile(lambda g, x: mgx.rand(3, rng=g) + x)
    a, b, x = mgx.Generator(1), mgx.Generator(2), mgx.zeros(3)
    course = [(call(a, x).tolist(), call(b, x).tolist()) for _ in range(4)]
    a, b = mgx.Generator(1), mgx.Generator(2)
    assert course == [(mgx.rand(3, rng=a).tolist(), mgx.rand(3, rng=b).tolist()) for _ in range(4)]


def test_seeding_within_a_program():
    with mgx.fork_rng():
        mgx.manual_seed(0)
        def function(x):
            a = mgx.rand(3)
            mgx.manual_seed(7)
            return a, mgx.rand(3) + x
        call = mgx.compile(function)
        assert [[t.tolist() for t in call(mgx.zeros(3))] for _ in range(4)][1:] == \
            [[t.tolist() for t in function(mgx.zeros(3))] for _ in range(3)]
        with pytest.warns(errors.CompileWarning, match="reads numbers"):
            fresh = mgx.compile(lambda x: x + mgx.seed() % 2)
            for _ in range(2):
                fresh(mgx.zeros(3))


def test_a_seed_of_the_system_s_is_another_at_every_replay():
    call = mgx.compile(lambda x: mgx.rand(4, rng=mgx.Generator()) + x)
    assert len({tuple(call(mgx.zeros(4)).tolist()) for _ in range(5)}) == 5


def test_starting_values_within_a_program_are_drawn_anew():
    w, v = mgx.zeros(6, 6), mgx.zeros(6)
    def function(x, g):
        return [nn.init.normal_(w, rng=g).sum() + x, nn.init.orthogonal_(w, rng=g).sum(),
                nn.init.trunc_normal_(v, rng=g).sum(), nn.init.uniform_(v, rng=g).sum()]
    g, other = mgx.Generator(3), mgx.Generator(3)
    call = mgx.compile(lambda x: function(x, g))
    for _ in range(4):
        assert [t.tolist() for t in call(mgx.zeros(()))] == [t.tolist() for t in function(mgx.zeros(()), other)]


# ----- checkpoint ----------------------------------------------------------------------------------------------------

SOURCES = {"ours": lambda: mgx.Generator(2), "numpy's": lambda: np.random.default_rng(2), "shared": lambda: None,
           "a seed": lambda: 5}


@pytest.mark.filterwarnings("ignore:compile. step runs as it is")       # a NumPy generator that is rewound
@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("name", SOURCES)
def test_a_checkpoint_draws_the_same_again(name, compiled):
    """Gradients, results and the course of all generators are those of the call without it."""
    found = []
    for kept in (True, False):
        with mgx.fork_rng():
            mgx.manual_seed(1)
            g, net, x = SOURCES[name](), nn.Linear(6, 6, rng=0), mgx.randn(5, 6, rng=1)
            def layer(h):
                h = F.dropout(net(h).tanh(), 0.5, rng=g) + mgx.rand(6, rng=g) * h
                return h * mgx.randn(6)
            def step(x):
                net.weight.grad = net.bias.grad = None
                h = x
                for _ in range(2):
                    h = layer(h) if kept else mgx.checkpoint(lambda h: mgx.checkpoint(layer, h), h)
                h.square().sum().backward()
                return h.detach(), net.weight.grad.clone()
            call = mgx.compile(step) if compiled else step
            found.append([[[t.tolist() for t in call(x)] for _ in range(4)], mgx.get_rng_state().tolist(),
                          repr(g.bit_generator.state if name == "numpy's" else g)])
    assert found[0] == found[1]


def test_a_checkpoint_that_seeds_within():
    def function(x):
        a = F.dropout(x, 0.5)
        mgx.manual_seed(3)
        return a * mgx.rand(50)
    found = []
    for kept in (True, False):
        with mgx.fork_rng():
            mgx.manual_seed(8)
            x = mgx.ones(50, requires_grad=True)
            y = function(x) if kept else mgx.checkpoint(function, x)
            mgx.rand(7)
            y.sum().backward()
            found.append((y.tolist(), x.grad.tolist(), mgx.get_rng_state().tolist()))
    assert found[0] == found[1]
