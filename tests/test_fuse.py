"""Fused launches: many elementwise ones in one, equal to the last bit whatever the layout and the numbers."""
import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from samples import call

import microgradx as mgx

SIZES = (65, 1000, 1024, 1025, 5000)        # below and beyond a tile, with and without a rest
SPECIAL = [0.0, -0.0, np.inf, -np.inf, np.nan, 1e-45, -1e-310, 3e38, 1.0, -1.0]


def launches(compiled):
    (program,) = compiled.programs
    return [name for name, *_ in program.launches()]


def bits(t):
    """What must be equal: every bit, but not which of the nans it is."""
    x = t.numpy()
    if x.dtype.kind == "f":
        x[np.isnan(x)] = np.nan
    return x.view(np.uint8)


def same(function, *calls, passes=None):
    """The compiled function beside the eager one, over several calls; returns what was captured."""
    compiled = mgx.compile(function) if passes is None else mgx.compile(function, passes=passes)
    for args in calls + calls[:1]:
        with np.errstate(all="ignore"):
            mine, theirs = compiled(*args), function(*args)
        for a, b in zip(mine if isinstance(mine, list) else [mine], theirs if isinstance(theirs, list) else [theirs]):
            assert a.dtype == b.dtype and a.shape == b.shape and np.array_equal(bits(a), bits(b))
    return compiled


def numbers(n, dtype, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.standard_normal(n).astype(dtype) * rng.choice([1e-3, 1, 1e3], n).astype(dtype)
    with np.errstate(over="ignore"):
        x[rng.integers(0, n, 12 if n > 12 else 1)] = rng.choice(np.array(SPECIAL).astype(dtype), 12 if n > 12 else 1)
    return mgx.Tensor(x)


LIGHT = [lambda x, y: x + y, lambda x, y: y + x, lambda x, y: x - y, lambda x, y: y - x, lambda x, y: x * y,
         lambda x, y: y * x, lambda x, y: x / y, lambda x, y: y / x, lambda x, y: -x, lambda x, y: x.square(),
         lambda x, y: x.relu(), lambda x, y: x * 1.5 + 0.25, lambda x, y: 3 - x, lambda x, y: x * x,
         lambda x, y: call("mul_no_nan", x, y), lambda x, y: call("mul_no_nan", y, x), lambda x, y: x.clone()]
HEAVY = [lambda x, y: x.tanh(), lambda x, y: x.maximum(y), lambda x, y: (x > y).where(x, y),
         lambda x, y: x.abs().sqrt(), lambda x, y: x.sigmoid() * y]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize("op", range(len(LIGHT)))
def test_every_light_operation_after_and_before_another(op, n, dtype):
    x, y = numbers(n, dtype), numbers(n, dtype, 1)
    compiled = same(lambda x, y: LIGHT[op](LIGHT[op](x + y, y) * 2.0, x), (x, y), (y, x))
    assert len(launches(compiled)) == 1


@settings(max_examples=300, deadline=None, derandomize=True, database=None)
@given(st.lists(st.tuples(st.integers(0, len(LIGHT) + len(HEAVY) - 1), st.integers(0, 5), st.integers(0, 5)),
                min_size=2, max_size=40),
       st.sampled_from(SIZES), st.sampled_from(["float32", "float64"]), st.integers(1, 4))
def test_any_program(recipe, n, dtype, kept):
    def function(x, y):
        values = [x, y]
        for op, i, k in recipe:
            values.append((LIGHT + HEAVY)[op](values[-1 - i % len(values)], values[-1 - k % len(values)]))
        return values[-kept:]
    same(function, (numbers(n, dtype), numbers(n, dtype, 1)), (numbers(n, dtype, 2), numbers(n, dtype, 3)))


LAYOUTS = {"as it is": lambda a: a, "transposed": lambda a: a.T.contiguous().T, "a row": lambda a: a[0],
           "a column": lambda a: a[:, :1], "a number": lambda a: a[0, 0],
           "every other": lambda a: mgx.concat([a, a])[::2],
           "backwards": lambda a: a[:, ::-1], "another dtype": lambda a: a.astype("float64"), "a mask": lambda a: a > 0}


@pytest.mark.parametrize("shape", [(7, 30), (40, 33), (3, 1100), (130, 1), (1, 200)], ids=str)
@pytest.mark.parametrize("layouts", list(itertools.product(LAYOUTS, repeat=2)), ids=lambda pair: ", ".join(pair))
def test_every_layout(layouts, shape):
    x = mgx.randn(*shape, rng=0)
    left, right = (LAYOUTS[name](mgx.randn(*shape, rng=k + 1)) for k, name in enumerate(layouts))
    same(lambda x, a, b: [((x + a) * b).tanh() - a, x * b + 1.0], (x, left, right))


def test_gradients_through_what_was_fused():
    def function(x, w):
        x, w = x.detach().requires_grad_(), w.detach().requires_grad_()
        ((x * w + 1).tanh() * x).square().sum().backward()
        return [x.grad, w.grad]
    same(function, *[(mgx.randn(40, 33, rng=k), mgx.randn(33, rng=k + 1)) for k in range(3)])


# ----- what must not be joined ---------------------------------------------------------------------------------------

def test_what_is_read_in_another_order_than_it_was_written():
    def function(x):
        y = x * 2 + 1
        return y.T * 3 + y
    same(function, (mgx.randn(33, 33, rng=0),), (mgx.randn(33, 33, rng=1),))


def test_what_is_overwritten_after_it_was_read_in_another_order():
    def function(x):
        y = x.clone()
        z = y.T + 1                             # reads y backwards before the next line writes it
        y *= 2
        y[1:] += y[:-1].clone()
        return [z, y]
    same(function, (mgx.randn(33, 33, rng=0),))


def test_a_broadcast_operand_that_is_written():
    def function(x):
        row = x[0].clone()
        y = x + row
        row += 1
        return [y - row, row]
    same(function, (mgx.randn(65, 65, rng=0),))


def test_overlapping_parts_of_one_array():
    def function(x):
        y = x.clone()
        y[:, 1:] += 1
        y[:, :-1] *= 2
        return y + y[:, :1]
    same(function, (mgx.randn(20, 40, rng=0),))


def test_state_is_kept_in_place():
    def make():
        memory = mgx.zeros(200)

        def function(x):
            memory.copy_(memory * 0.9 + x)
            memory.copy_(memory * 0.9 + x)
            return memory.clone()
        return function
    eager, compiled = make(), mgx.compile(make())
    for k in range(5):
        x = mgx.randn(200, rng=k)
        assert np.array_equal(compiled(x).numpy(), eager(x).numpy())


def test_more_than_one_launch_can_hold():
    """More operands, results and operations than there is room for: several launches, each as long as can be."""
    def operands(*xs):
        total = xs[0]
        for x in xs[1:]:
            total = total * 0.5 + x
        return total

    def results(x):
        values = [x + float(k) for k in range(30)]
        return values

    def operations(x):
        for k in range(100):
            x = (x * 1.0001).tanh() if k % 7 == 0 else x + 0.001
        return x
    many = [mgx.randn(100, rng=k) for k in range(30)]
    assert len(launches(same(operands, tuple(many)))) == 3
    assert len(launches(same(results, tuple(many[:1])))) == 5
    assert len(launches(same(operations, tuple(many[:1])))) == 4


def test_little_is_left_alone():
    assert len(launches(same(lambda x: x * 2 + 1, (mgx.ones(64),)))) == 2


def test_the_pass_can_be_switched_off():
    x = mgx.randn(100, rng=0)
    compiled = same(lambda x: x * 2 + 1, (x,), passes={"dead", "reuse"})
    assert launches(compiled) == ["mul", "add"]
    assert launches(same(lambda x: x * 2 + 1, (x,))) == ["mul+add"]
