"""Attention by tiles against the same written out, in operations: values, derivatives, masks, the ends of numbers."""
import subprocess
import sys

import numpy as np
import pytest

import microgradx as mgx
from microgradx import Tensor, nn
from microgradx.autograd import grad
from microgradx.errors import GraphError
from microgradx.nn import functional as F

INF = np.inf
TOLERANCE = {"float32": 3e-5, "float64": 1e-12}


@pytest.fixture(autouse=True)
def tiles(monkeypatch):
    """Tiles for few scores, too."""
    monkeypatch.setattr(F, "_MANY_SCORES", 0)


def numbers(*shape, dtype="float64", seed=0, scale=1.0):
    return Tensor((scale * np.random.default_rng([seed, *shape]).normal(size=shape)).astype(dtype), requires_grad=True)


def written_out(q, k, v, mask=None, causal=False, scale=None):
    """The definition; a query all of whose scores are -inf by a mask reads 0."""
    scores = (q @ k.mT) * (q.shape[-1]**-0.5 if scale is None else scale)
    if mask is not None:
        scores = scores + (mask.where(Tensor(0.0, dtype=q.dtype), -INF) if mask.dtype == bool else mask)
    if causal:
        scores = scores + Tensor(np.where(np.tri(*scores.shape[-2:], 0, bool), 0, -INF).astype(q.dtype))
    if mask is None:
        return scores.softmax(-1) @ v
    shut = scores.detach().amax(-1, keepdims=True) == -INF
    return shut.where(0.0, shut.where(0.0, scores).softmax(-1)) @ v


def assert_near(got, wanted, dtype="float64"):
    for one, other in zip(got, wanted, strict=True):
        assert one.shape == other.shape and one.dtype == other.dtype
        scale = max(1.0, np.abs(other.numpy()).max(initial=0.0))
        np.testing.assert_allclose(one.numpy(), other.numpy(), rtol=0, atol=TOLERANCE[dtype] * scale)


SHAPES = [((), 1, 1, 1, 1), ((2,), 3, 5, 4, 6), ((2, 3), 17, 17, 16, 16), ((1, 2), 65, 130, 7, 33),
          ((2,), 140, 3, 64, 1), ((1,), 600, 257, 8, 8), ((0, 2), 3, 4, 5, 6), ((2,), 0, 4, 5, 6)]


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("lead, t, s, n, p", SHAPES)
def test_equals_the_definition(lead, t, s, n, p, dtype, causal):
    q, k, v = numbers(*lead, t, n, dtype=dtype), numbers(*lead, s, n, dtype=dtype), numbers(*lead, s, p, dtype=dtype)
    for kind in (None, "bool", "float", "keys"):
        rng = np.random.default_rng(1)
        mask = {None: None, "bool": rng.random((t, s)) < 0.7, "float": rng.normal(size=(t, s)).astype(dtype),
                "keys": rng.random((*lead[:1], *(1 for _ in lead[1:]), 1, s)) < 0.7}[kind]
        mask = None if mask is None else Tensor(mask)
        y = F.scaled_dot_product_attention(q, k, v, mask, is_causal=causal, scale=0.3)
        wanted = written_out(q, k, v, mask, causal, 0.3)
        assert_near([y.detach()], [wanted.detach()], dtype)
        g = numbers(*y.shape, dtype=dtype, seed=5).detach()
        assert_near(grad((y * g).sum(), [q, k, v]), grad((wanted * g).sum(), [q, k, v]), dtype)


@pytest.mark.parametrize("shape", [(5,), (4, 5), (1, 5), (4, 1), (2, 1, 4, 5), (1, 3, 4, 5), (2, 3, 4, 5), (3, 1, 5),
                                   (), (2, 1, 1, 5), (6, 2, 3, 4, 5)])
def test_masks_broadcast(shape):
    q, k, v = numbers(2, 3, 4, 2), numbers(2, 3, 5, 2, seed=1), numbers(2, 3, 5, 2, seed=2)
    mask = numbers(*shape, seed=3).detach()
    y, wanted = F.scaled_dot_product_attention(q, k, v, mask), written_out(q, k, v, mask)
    assert_near([y.detach()], [wanted.detach()])
    assert_near(grad(y.sin().sum(), [q, k, v]), grad(wanted.sin().sum(), [q, k, v]))
    four = numbers(2, 3, 2, 4, 2), numbers(2, 3, 2, 5, 2), numbers(2, 3, 2, 5, 2)
    odd = numbers(2, 1, 2, 4, 5, seed=4).detach()           # varies along axes that do not follow one another
    assert_near([F.scaled_dot_product_attention(*four, odd).detach()], [written_out(*four, odd).detach()])


def test_heads_broadcast():
    q, k = numbers(2, 4, 3, 2), numbers(1, 5, 2)
    assert_near([F.scaled_dot_product_attention(q, k, k).detach()], [written_out(q, k, k).detach()])
    assert_near(grad(F.scaled_dot_product_attention(q, k, k).sin().sum(), [q, k]),
                grad(written_out(q, k, k).sin().sum(), [q, k]))


@pytest.mark.parametrize("causal", [False, True])
def test_second_derivatives(causal):
    q, k, v = numbers(2, 4, 3), numbers(2, 5, 3, seed=1), numbers(2, 5, 2, seed=2)
    mask = np.ones((4, 5), bool)
    mask[1], mask[2, 0] = False, False
    directions = [numbers(*x.shape, seed=7) for x in (q, k, v)]

    def second(y):
        first = grad(y.sin().sum(), [q, k, v], create_graph=True)
        return grad(sum((g * d).sum() for g, d in zip(first, directions)), [q, k, v])
    assert_near(second(F.scaled_dot_product_attention(q, k, v, mask, is_causal=causal)),
                second(written_out(q, k, v, Tensor(mask), causal)))


def test_gradients_are_those_of_differences():
    q, k, v = numbers(1, 3, 2), numbers(1, 4, 2, seed=1), numbers(1, 4, 3, seed=2)
    assert mgx.gradcheck(lambda *x: F.scaled_dot_product_attention(*x, is_causal=True).sin().sum(), (q, k, v))


def test_strided_operands():
    whole = numbers(3, 6, 3, 2, 4)
    found = []
    for function in (F.scaled_dot_product_attention, written_out):
        y = function(*(whole.transpose(1, 3)[:, :, at] for at in range(3)))
        found.append([y.detach(), *grad(y.sin().sum(), [whole])])
    assert_near(*found)


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("size", [1e2, 1e4, 1e15])
def test_large_scores(size, dtype):
    """The largest score and the sum are kept apart, so that gradients have their digits where scores are large."""
    q, k, v = numbers(2, 150, 1, dtype=dtype), numbers(2, 150, 1, dtype=dtype, seed=1), numbers(2, 150, 2, dtype=dtype)
    scale = 2.0**round(np.log2(size))
    y, wanted = F.scaled_dot_product_attention(q, k, v, scale=scale), written_out(q, k, v, None, False, scale)
    assert_near([y.detach()], [wanted.detach()], dtype)
    found, truth = grad((y * y).sum(), [q, k, v]), grad((wanted * wanted).sum(), [q, k, v])
    assert_near(found[2:], truth[2:], dtype)
    for one, other in zip(found, truth):                    # those of q and k are ill-conditioned: times the scale
        np.testing.assert_allclose(one.numpy(), other.numpy(), rtol=0, atol=200 * np.finfo(dtype).eps * scale)
    if size == 1e15:                                        # each query reads one key, and nothing changes that
        assert not found[0].numpy().any() and not found[1].numpy().any()


@pytest.mark.parametrize("causal", [False, True])
def test_infinities_and_nans_stay_where_they_are(causal):
    """They reach the queries that read them, and no others."""
    for value in (INF, -INF, np.nan):
        for place in range(3):
            parts = [numbers(1, 5, 2, seed=k) for k in range(3)]
            with mgx.no_grad():
                parts[place][0, 2, 0] = value
            y = F.scaled_dot_product_attention(*parts, is_causal=causal).detach().numpy()
            if causal and place == 1:                        # queries 0 and 1 do not read it
                y, parts = y[:, :2], [x[:, :2] for x in parts]
            wanted = written_out(*parts, None, causal).detach().numpy()
            np.testing.assert_allclose(y, wanted, rtol=1e-9)


def test_closed_queries_read_0():
    q, k, v = numbers(2, 80, 3), numbers(2, 200, 3, seed=1), numbers(2, 200, 2, seed=2)
    mask = np.ones((80, 200), bool)
    mask[7], mask[8, :150], mask[9, 1:] = False, False, False
    y = F.scaled_dot_product_attention(q, k, v, mask)
    assert (y.detach().numpy()[:, 7] == 0).all() and (y.detach().numpy()[:, 9] == v.detach().numpy()[:, 0]).all()
    dq, dk, dv = grad(y.sum(), [q, k, v])
    assert (dq.numpy()[:, 7] == 0).all() and all(np.isfinite(g.numpy()).all() for g in (dq, dk, dv))
    assert F.scaled_dot_product_attention(q, mgx.zeros(2, 0, 3).double(), mgx.zeros(2, 0, 4).double()).tolist() == \
        np.zeros((2, 80, 4)).tolist()


def test_a_mask_with_a_gradient():
    q, mask = numbers(2, 4, 3), numbers(4, 4, seed=9)
    assert_near(grad(F.scaled_dot_product_attention(q, q, q, mask).sin().sum(), [q, mask]),
                grad(written_out(q, q, q, mask).sin().sum(), [q, mask]))


def test_a_scale_with_a_gradient():
    q, scale = numbers(2, 4, 3), Tensor(0.7, dtype="float64", requires_grad=True)
    assert_near(grad(F.scaled_dot_product_attention(q, q, q, scale=scale).sin().sum(), [q, scale]),
                grad(written_out(q, q, q, None, False, scale).sin().sum(), [q, scale]))


def test_dropout_drops_weights():
    q = numbers(2, 30, 3, dtype="float32")
    one, other = (F.scaled_dot_product_attention(q, q, q, dropout_p=0.5, rng=mgx.Generator(3)) for _ in range(2))
    plain = F.scaled_dot_product_attention(q, q, q)
    assert (one.detach().numpy() == other.detach().numpy()).all() and (one != plain).any().item()


def test_the_module_without_weights():
    x = numbers(5, 3, 8, dtype="float32")
    layer = nn.MultiheadAttention(8, 2, rng=0)
    for options in ({}, dict(is_causal=True), dict(key_padding_mask=np.tri(3, 5, 2, bool) == 0)):
        one, weights = layer(x, need_weights=False, **options)
        other, _ = layer(x, **options)
        assert weights is None
        assert_near([one.detach()], [other.detach()], "float32")
        assert_near(grad(one.sin().sum(), [x, *layer.parameters()]), grad(other.sin().sum(), [x, *layer.parameters()]),
                    "float32")


def test_compiled():
    q, k, v = numbers(2, 70, 3), numbers(2, 140, 3, seed=1), numbers(2, 140, 2, seed=2)

    def step(mask):
        q.grad = k.grad = v.grad = None
        y = F.scaled_dot_product_attention(q, k, v, mask, is_causal=True)
        (y * y).sum().backward()
        return y, q.grad, k.grad, v.grad
    compiled = mgx.compile(step, check=True)
    for seed in range(3):
        mask = Tensor(np.random.default_rng(seed).random((70, 140)) < 0.5)
        assert [a.detach().numpy().tobytes() for a in compiled(mask)] == \
            [a.detach().numpy().tobytes() for a in step(mask)]


@pytest.mark.parametrize("t", [127, 128])
def test_few_scores_are_computed_in_operations(t, monkeypatch):
    monkeypatch.undo()
    q = numbers(2, t, 3)
    y = F.scaled_dot_product_attention(q, q, q)
    assert (y.grad_fn.next_functions[0][0].operation == "scaled_dot_product_attention") == (t == 128)
    assert_near([y.detach()], [written_out(q, q, q).detach()])


def test_threads_and_pieces_change_no_bits():
    q, k, v = (numbers(3, 700, 40, dtype="float32", seed=k) for k in range(3))
    found, before = [], mgx.get_num_threads()
    try:
        for threads in (1, 3):
            mgx.set_num_threads(threads)
            y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
            found.append([a.detach().numpy().tobytes() for a in (y, *grad(y.sum(), [q, k, v]))])
    finally:
        mgx.set_num_threads(before)
    assert found[0] == found[1]
    alone = F.scaled_dot_product_attention(q[1:2, :100], k[1:2, :100], v[1:2, :100], is_causal=True)
    whole = F.scaled_dot_product_attention(q, k, v, is_causal=True)
    assert (alone.detach().numpy() == whole.detach().numpy()[1:2, :100]).all()


def test_what_was_written_to_since():
    q = numbers(2, 4, 3)
    y = F.scaled_dot_product_attention(q, q, q)
    with mgx.no_grad():
        q += 1
    with pytest.raises(GraphError, match="written to since"):
        y.sum().backward()
    mask = numbers(4, 4, seed=3).detach()
    y = F.scaled_dot_product_attention(q, q, q, mask)
    wanted = grad(y.sin().sum(), [q])
    y = F.scaled_dot_product_attention(q, q, q, mask)
    mask.fill_(0)                                           # the mask was read when it was given
    assert_near(grad(y.sin().sum(), [q]), wanted)


def test_memory_does_not_grow_with_the_square():
    """8,192 queries over as many keys, whose scores would take 256 MB, forward and back."""
    program = ("import resource, microgradx as mgx; from microgradx.nn import functional as F\n"
               "q = mgx.randn(1, 8192, 4, requires_grad=True)\n"
               "F.scaled_dot_product_attention(q[:, :64], q[:, :64], q[:, :64]).sum().backward()\n"
               "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
               "F.scaled_dot_product_attention(q, q, q, is_causal=True).sum().backward()\n"
               "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)")
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 40_000                        # kB
