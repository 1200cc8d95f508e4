"""Writes into tensors: what they write, what they record, and what they refuse."""
import inspect

import numpy as np
import pytest

import microgradx as mgx
from microgradx import Tensor
from microgradx.names import ABSENT

RNG = np.random.default_rng(6)
A, B = RNG.standard_normal((3, 4)), RNG.standard_normal((3, 4)) + 3.0


def leaf(data):
    return Tensor(np.asarray(data, np.float64), requires_grad=True)


def iadd(x, y): x += y
def isub(x, y): x -= y
def imul(x, y): x *= y
def idiv(x, y): x /= y


WRITES = {                                                  # name: (write, the same without writing)
    "add": (iadd, lambda x, y: x + y), "sub": (isub, lambda x, y: x - y), "mul": (imul, lambda x, y: x * y),
    "div": (idiv, lambda x, y: x / y), "copy": (lambda x, y: x.copy_(y), lambda x, y: y + 0.0 * x),
    "row": (lambda x, y: x.__setitem__(1, y[0]), lambda x, y: mgx.concat([x[:1], y[:1], x[2:]])),
    "slice": (lambda x, y: x.__setitem__((slice(None), slice(0, 2)), y[:, 1:3]),
              lambda x, y: mgx.concat([y[:, 1:3], x[:, 2:]], 1)),
    "mask": (lambda x, y: x.__setitem__(A > 0, y[A > 0]), lambda x, y: mgx.where(Tensor(A > 0), y, x)),
    "integers": (lambda x, y: x.__setitem__([2, 0], y[[0, 1]]), lambda x, y: mgx.stack([y[1], x[1], y[0]])),
    "broadcast": (lambda x, y: x.__setitem__(..., y[:, :1]), lambda x, y: y[:, :1] + 0.0 * x),
    "all": (lambda x, y: x.__setitem__(slice(None), y), lambda x, y: y + 0.0 * x),
    "row of": (lambda x, y: iadd(x, y[0]), lambda x, y: x + y[0]),
    "itself": (lambda x, y: imul(x, x), lambda x, y: x * x),
    "its numbers": (lambda x, y: idiv(x, x.detach()), lambda x, y: x / x.detach()),
    "number": (lambda x, y: imul(x, 3.0), lambda x, y: x * 3.0),
    "add_": (lambda x, y: x.add_(y, alpha=3), lambda x, y: x + 3 * y),
    "sub_": (lambda x, y: x.sub_(y), lambda x, y: x - y),
    "sub_ of a row": (lambda x, y: x.sub_(y[0], alpha=0.5), lambda x, y: x - 0.5 * y[0]),
    "mul_": (lambda x, y: x.mul_(y), lambda x, y: x * y), "div_": (lambda x, y: x.div_(y), lambda x, y: x / y),
    "addcmul_": (lambda x, y: x.addcmul_(y, y, value=2), lambda x, y: x + 2 * y * y),
    "addcdiv_": (lambda x, y: x.addcdiv_(y, y * y + 1, value=-1), lambda x, y: x - y / (y * y + 1)),
    "clamp_": (lambda x, y: x.clamp_(-0.5, 0.5), lambda x, y: x.clip(-0.5, 0.5)),
    "clip_": (lambda x, y: x.clip_(max=y[0]), lambda x, y: x.clip(None, y[0])),
    "fill": (lambda x, y: x.fill_(2.0), lambda x, y: 2.0 + 0.0 * x), "zero": (lambda x, y: x.zero_(),
    lambda x, y: 0.0 * x)}


@pytest.mark.parametrize("name", WRITES)
def test_a_write_is_its_functional_form(name):
    write, form = WRITES[name]
    results = []
    for inplace in True, False:
        x, y = leaf(A), leaf(B)
        z, w = x * 1.5, y.sin()
        if inplace:
            write(z, w)
        else:
            z = form(z, w)
        (z * z).sum().backward()
        results.append((z.detach().numpy(), x.grad.numpy(), np.zeros_like(B) if y.grad is None else y.grad.numpy()))
    for got, truth in zip(*results):
        np.testing.assert_allclose(got, truth, rtol=1e-14, atol=1e-15)


@pytest.mark.parametrize("name", WRITES)
def test_a_write_counts_and_returns_nothing_new(name):
    x, y = Tensor(A), Tensor(B)
    before, storage = x.version, np.asarray(x)
    WRITES[name][0](x, y)
    assert x.version > before and np.shares_memory(np.asarray(x), storage) and y.version == Tensor(B).version
    np.testing.assert_allclose(x.numpy(), WRITES[name][1](Tensor(A), y).numpy(), rtol=1e-15)


def test_methods_return_the_tensor():
    x = Tensor(A)
    assert x.fill_(1.0) is x and x.zero_() is x and x.copy_(B) is x and x.requires_grad_() is x
    x = x.detach()
    assert x.add_(B) is x and x.sub_(B) is x and x.mul_(B) is x and x.div_(2) is x and x.addcmul_(B, B) is x
    assert x.addcdiv_(B, B) is x and x.clamp_(0, 1) is x and x.clip_(max=0.5) is x and x.amax().item() == 0.5


@pytest.mark.parametrize("call", [lambda x: x.clamp_(0.5), lambda x: x.add_(0.5), lambda x: x.mul_(Tensor([0.5])),
                                  lambda x: x.div_(2)])
def test_integers_stay_integers(call):
    x = mgx.tensor([1, 2, 3])
    with pytest.raises(TypeError, match="stored as int64"):
        call(x)
    assert x.tolist() == [1, 2, 3] and x.version == 0 and x.clamp_(2, None).tolist() == [2, 2, 3]


@pytest.mark.parametrize("call", [
    lambda x, value: x.fill_(value)[:1], lambda x, value: x.masked_fill(Tensor([True, False, False]) > 0, value)[:1],
    lambda x, value: x.index_fill_(0, [0], value)[:1], lambda x, value: x.scatter_(0, [0], value)[:1],
    lambda x, value: (x.__setitem__(0, value), x)[1][:1],
    lambda x, value: mgx.stack([x, x]).fill_diagonal_(value)[0, :1],
    lambda x, value: x.scatter_(0, [0], value, reduce="multiply")[:1]])
def test_whole_numbers_are_stored_as_integers(call):
    for value in (2.0, 2, np.float32(2), np.float64(2)):
        y = call(mgx.tensor([1, 3, 3]), value)
        assert y.dtype == np.int64 and y.tolist() == [2]
    for value in (2.5, np.float32(0.5), 1e30, float("nan")):
        with pytest.raises(TypeError):
            call(mgx.tensor([1, 3, 3]), value)


# ----- siblings: each method that writes, and what it is without the writing ------------------------------------------

SQUARE = np.array([[0.7, 0.2, 0.3], [0.4, 0.5, 0.1], [0.2, 0.9, 0.6]])
OTHER, THIRD = np.abs(A[:, :3]) + 0.5, np.abs(B[:, :3]) + 0.25
WHOLE, MASK, AT = np.array([[1, 2, 3]] * 3), SQUARE > 0.3, np.array([2, 0, 2])
INTEGERS = {"gcd", "lcm", "bitwise_and", "bitwise_or", "bitwise_xor", "bitwise_left_shift", "bitwise_right_shift",
            "bitwise_not"}
# operands, where they are not as many tensors of floats as there are arguments without a default
OPERANDS = {
    "addbmm": (np.stack([SQUARE] * 3),) * 2, "baddbmm": (np.stack([SQUARE] * 3),) * 2, "addr": (SQUARE[0], SQUARE[1]),
    "addmv": (SQUARE, SQUARE[1]), "index_add": (0, AT, OTHER), "index_copy": (0, AT[:2], OTHER[:2]),
    "index_fill": (0, AT, 2.5), "index_put": ((AT,), OTHER), "index_reduce": (0, AT, OTHER, "prod"),
    "masked_fill": (MASK, 2.5), "masked_scatter": (MASK, OTHER), "put": (AT, OTHER[0]),
    "scatter": (0, WHOLE % 3, OTHER), "scatter_add": (0, WHOLE % 3, OTHER),
    "scatter_reduce": (0, WHOLE % 3, OTHER, "amax"),
    "polygamma": (1,), "mvlgamma": (1,), "renorm": (2, 0, 0.5), "cumsum": (0,), "cumprod": (0,),
    "lerp": (OTHER, 0.3), "ldexp": (WHOLE,),
    "threshold": (0.3, 2.0), "clamp": (0.3,), "clip": (0.3,)}
# each option: values that are not its default
OPTIONS = {
    "alpha": [2, -0.5], "beta": [0.5, 0], "rounding_mode": ["floor", "trunc"], "value": [2, -0.5], "min": [0.4, OTHER],
    "max": [0.5, OTHER], "lo": [0.4], "hi": [0.5], "decimals": [1, -1], "eps": [0.25], "accumulate": [True],
    "reduce": ["add", "multiply"], "include_self": [False], "k": [1, -1], "nan": [1.0], "posinf": [2.0],
    "neginf": [3.0], "axis": [0, -1], "dtype": ["float64"], "approximate": ["tanh"], "slope": [0.5], "lambd": [0.2],
    "diagonal": [1, -1]}
SIBLINGS = [name for name in vars(Tensor) if name.endswith("_") and not name.startswith("_")
            and callable(getattr(Tensor, name[:-1], None)) and name not in (*ABSENT, "detach_", "bernoulli_")]


def arguments(function):
    """The names of a function's arguments, once each: methods in C say ``dim`` as well as ``axis``."""
    return [name for name in inspect.signature(function).parameters if name not in ("self", "x", "dim")]


@pytest.mark.parametrize("name", SIBLINGS)
def test_a_sibling_takes_what_its_function_takes(name):
    """By the same names, with the same meaning: each option once, by keyword."""
    write, function = getattr(Tensor, name), getattr(Tensor, name[:-1])
    assert arguments(write) == arguments(function)
    required = [p for p in inspect.signature(function).parameters.values() if p.default is p.empty]
    kind = WHOLE if name[:-1] in INTEGERS else None
    operands = OPERANDS.get(name[:-1], [t if kind is None else kind for t in (OTHER, THIRD)[:len(required) - 1]])
    start = {"baddbmm_": np.stack([SQUARE] * 3), "addmv_": SQUARE[0]}.get(name, SQUARE if kind is None else kind)
    as_tensors = lambda values: [Tensor(v) if isinstance(v, np.ndarray) else v for v in values]
    options = [(option, value) for option in arguments(function)[len(operands):] for value in OPTIONS[option]]
    for given in ({}, *({option: value} for option, value in options)):
        x, keywords = Tensor(start), dict(zip(given, as_tensors(given.values())))
        truth = function(Tensor(start), *as_tensors(operands), **keywords)
        assert write(x, *as_tensors(operands), **keywords) is x
        np.testing.assert_allclose(x.numpy(), truth.numpy().astype(x.dtype), rtol=1e-15, err_msg=f"{name}: {given}")


def test_torchs_names_of_arguments_in_place():
    x = mgx.zeros(2)
    assert x.copy_(src=mgx.ones(2), non_blocking=True).tolist() == [1, 1] and x.fill_(value=3.0).tolist() == [3, 3]
    assert x.requires_grad_(requires_grad=True).requires_grad and not x.requires_grad_(False).requires_grad
    with pytest.raises(mgx.errors.ArgumentError, match="fill_: no argument is called 'valu'; did you mean value"):
        x.fill_(valu=1)


def test_truncated_quotients_of_integers_are_exact():
    x, y = mgx.tensor([2**53 + 1, -7, 7, -7, 6]), mgx.tensor([1, 2, -2, -2, 3])
    assert x.div(y, rounding_mode="trunc").tolist() == [2**53 + 1, -3, -3, 3, 2]
    assert x.div_(y, rounding_mode="trunc").tolist() == [2**53 + 1, -3, -3, 3, 2]
    assert mgx.tensor([-7]).div(2, rounding_mode="trunc").tolist() == [-3]


def test_views_share_the_version():
    x = Tensor(A)
    row, turned, flat, bare = x[0], x.T, x.reshape(-1), x.detach()
    row += 1.0
    assert x.version == row.version == turned.version == flat.version == bare.version > 0
    np.testing.assert_array_equal(turned.numpy()[:, 0], A[0] + 1.0)
    copy = x.clone()
    x.zero_()
    assert copy.version != x.version and copy.sum().item() != 0.0


def test_augmented_item():
    x = Tensor(A)
    x[1] += 2.0
    x[:, 1:3] *= x[:, 2:4]
    truth = A.copy()
    truth[1] += 2.0
    truth[:, 1:3] *= truth[:, 2:4].copy()
    np.testing.assert_array_equal(x.numpy(), truth)


# ----- overlap -------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("write", [iadd, isub, imul, lambda x, y: x.copy_(y), lambda x, y: x.__setitem__(..., y)])
@pytest.mark.parametrize("to, source", [
    (slice(1, None), slice(None, -1)), (slice(None, -1), slice(1, None)), (slice(None), slice(None, None, -1)),
    (slice(0, 500), slice(250, 750)), (slice(0, 1000, 2), slice(1, 1001, 2)), (slice(0, 500), slice(0, 1000, 2))],
    ids=str)
@pytest.mark.parametrize("borrowed", [False, True])
def test_overlapping(write, to, source, borrowed):
    """Views of one tensor, and tensors over NumPy's memory, whose storages know nothing of each other."""
    a = RNG.standard_normal(1001)
    x, truth = Tensor(a), a.copy()
    if borrowed:
        x = a
        write(mgx.from_numpy(a[to]), mgx.from_numpy(a[source]))
    else:
        write(x[to], x[source])
    part = truth[source].copy()
    if write in (iadd, isub, imul):
        write(truth[to], part)
    else:
        truth[to] = part
    np.testing.assert_array_equal(np.asarray(x), truth)


def test_overlapping_by_turning():
    a = RNG.standard_normal((40, 40))
    x = Tensor(a)
    x += x.T
    np.testing.assert_array_equal(x.numpy(), a + a.T)
    x[1:] += x[:-1]
    b = a + a.T
    b[1:] += b[:-1].copy()
    np.testing.assert_array_equal(x.numpy(), b)


def test_a_broadcast_view_is_not_written_to():
    """Three elements are one number in memory: neither result would be right."""
    x = Tensor([1.0])
    for write in (lambda v: iadd(v, Tensor([1.0, 2.0, 3.0])), lambda v: v.copy_([1.0, 2.0, 3.0]),
    lambda v: v.fill_(2.0)):
        with pytest.raises(RuntimeError, match="clone"):
            write(x.expand(3))
    assert x.tolist() == [1.0]


# ----- dtypes and shapes ---------------------------------------------------------------------------------------------

@pytest.mark.parametrize("make, write, error, words", [
    (lambda: Tensor(np.ones(3)), lambda x: iadd(x, Tensor(np.ones(4))), ValueError, r"add_.*\(3,\).*\(4,\)"),
    (lambda: Tensor(np.ones(3)), lambda x: imul(x, Tensor(np.ones((2, 3)))), ValueError, r"mul_.*\(2, 3\).*\(3,\)"),
    (lambda: Tensor(np.ones(3)), lambda x: x.copy_(np.ones(2)), ValueError, r"\(2,\).*\(3,\)"),
    (lambda: Tensor(np.ones(3)), lambda x: x.__setitem__(slice(2), np.ones(3)), ValueError, r"\(3,\).*\(2,\)"),
    (lambda: Tensor(np.zeros(3)), lambda x: x.copy_(np.ones((2, 3))), ValueError, r"\(2, 3\).*\(3,\)"),
    (lambda: Tensor(np.zeros((3, 3))), lambda x: x.__setitem__(0, np.ones((2, 3))), ValueError, r"\(2, 3\).*\(3,\)"),
    (lambda: Tensor(np.ones(3)), lambda x: x.__setitem__(5, 1.0), IndexError, "5"),
    (lambda: Tensor(np.ones(3, "f4")), lambda x: iadd(x, np.ones(3)), TypeError, "float64.*float32"),
    (lambda: Tensor(np.ones(3, "f4")), lambda x: x.__setitem__(0, Tensor(np.ones(1))), TypeError, "float64.*float32"),
    (lambda: mgx.tensor([1, 2]), lambda x: x.__setitem__(0, 0.5), TypeError, "0.5 cannot be stored as int64"),
    (lambda: mgx.tensor([1, 2]), lambda x: iadd(x, 0.5), TypeError, "add_"),
    (lambda: mgx.tensor([1, 2]), lambda x: idiv(x, 2), TypeError, "div_"),
    (lambda: mgx.tensor([1, 2]), lambda x: iadd(x, Tensor([0.5, 0.5])), TypeError, "add_")])
def test_refused(make, write, error, words):
    x = make()
    before, version = x.tolist(), x.version
    with pytest.raises(error, match=words) as caught:
        write(x)
    assert x.tolist() == before and x.version == version
    assert isinstance(caught.value, mgx.errors.Error)


def test_numbers_are_weak_in_place():
    x = Tensor([1.0, 2.0])
    x += np.float64(0.5)
    x *= 2
    x[0] = 0.1
    assert x.dtype == np.float32 and x.tolist() == [np.float32(0.1), 5.0]
    n = mgx.tensor([1, 2])
    n += 1
    n *= mgx.tensor([2, 3])
    assert n.tolist() == [4, 9] and n.dtype == np.int64
    y = leaf([1.0]) * 1
    y += Tensor([1.0], requires_grad=True)
    assert y.dtype == np.float64


# ----- saved, then written -------------------------------------------------------------------------------------------

@pytest.mark.parametrize("use, name", [
    (lambda x: x * x, "mul"), (lambda x: x.log(), "log"), (lambda x: x @ x.T, "matmul"), (lambda x: mgx.exp(x), "exp"),
    (lambda x: x.softmax(-1), "softmax"), (lambda x: x / x, "div"), (lambda x: x.amax(), "amax"),
    (lambda x: mgx.nn.functional.linear(x, x), "linear")])
def test_saved_then_written(use, name):
    """Whether an operation saves its operand or its result is its own affair: both are written to here."""
    x = leaf(np.abs(A)) * 1.0
    y = use(x)
    with mgx.no_grad():
        x += 1.0
        y.zero_()
    with pytest.raises(RuntimeError, match=f"backward: {name} .*written to since.*clone"):
        y.sum().backward()


def test_a_write_to_what_nobody_saved():
    x = leaf(A)
    y = x * 2
    z = y + 1.0
    y += 5.0
    z.sum().backward()
    assert (x.grad.numpy() == 2.0).all()


def test_a_view_of_the_saved_is_the_saved():
    x = leaf(A) * 1.0
    y = x * x
    x.detach()[0] += 1.0
    with pytest.raises(RuntimeError, match="version"):
        y.sum().backward()


def test_labels_and_indices_count_as_they_were():
    for use in (mgx.nn.functional.cross_entropy, lambda x, at: x[at].exp().sum(),
                lambda x, at: x.gather(0, at[None]).sum()):
        grads = []
        for later in False, True:
            x, at = leaf(A[:, :3]), mgx.tensor([0, 1, 2])
            y = use(x, at)
            if later:
                at.fill_(1)
            y.backward()
            grads.append(x.grad.tolist())
        assert grads[0] == grads[1]


# ----- refused while recording ---------------------------------------------------------------------------------------

ALL = [lambda x: iadd(x, 1.0), lambda x: idiv(x, 2.0), lambda x: x.copy_(B), lambda x: x.fill_(0.0),
       lambda x: x.zero_(),
       lambda x: x.__setitem__(0, 1.0), lambda x: x.__setitem__(A > 0, 1.0)]


@pytest.mark.parametrize("write", ALL)
def test_leaves_are_written_to_under_no_grad(write):
    x = leaf(A)
    with pytest.raises(RuntimeError, match="leaf.*no_grad"):
        write(x)
    np.testing.assert_array_equal(x.detach().numpy(), A)
    with mgx.no_grad():
        write(x)
    assert (x.detach().numpy() != A).any() and x.requires_grad and x.is_leaf
    x.sum().backward()
    assert (x.grad.numpy() == 1.0).all()


@pytest.mark.parametrize("write", ALL)
@pytest.mark.parametrize("view", [lambda x: x[:, :], lambda x: x.reshape(4, 3).reshape(3, 4), lambda x: x.T.T,
                                  lambda x: x.unsqueeze(0)[0], lambda x: x.expand(3, 4), lambda x: x.split(3)[0]],
                         ids=range(6))
def test_views_with_a_graph_are_not_written_to(write, view):
    x = leaf(A) * 2.0
    v = view(x)
    for target in v, x:                                     # nor is the base while such a view lives
        with pytest.raises(RuntimeError, match="view.*clone"):
            write(target)
    np.testing.assert_array_equal(x.detach().numpy(), 2.0 * A)
    del v, target
    write(x)                                                # the view is gone
    x.sum().backward()


def test_a_graph_is_not_written_where_views_cannot_learn_of_it():
    x, w = Tensor(A), leaf(B)
    row = x[0]
    for write in (lambda: iadd(x, w), lambda: row.copy_(w[0]), lambda: x.__setitem__(0, w[0]), lambda: imul(row, w[0])):
        with pytest.raises(RuntimeError, match="views.*clone"):
            write()
    np.testing.assert_array_equal(x.numpy(), A)
    del row
    x += w
    x.sum().backward()
    assert (w.grad.numpy() == 1.0).all()


def test_everything_is_allowed_under_no_grad():
    x = leaf(A)
    v = x[0]
    with mgx.no_grad():
        v += 1.0
        x[1:] *= 2.0
        x += x
    truth = A.copy()
    truth[0] += 1.0
    truth[1:] *= 2.0
    np.testing.assert_array_equal(x.detach().numpy(), truth * 2)


def test_a_read_only_array_is_not_written_to():
    a = np.ones(3)
    a.flags.writeable = False
    b = np.arange(3.0)
    for make in (lambda: mgx.from_numpy(a), lambda: mgx.from_numpy(np.broadcast_to(b[:1], (3,)))):
        try:
            x = make()
            x += 1.0
        except (ValueError, RuntimeError, BufferError) as error:
            assert "read-only" in str(error)
        else:
            pytest.fail("written to")
    assert a.tolist() == [1.0] * 3 and b.tolist() == [0.0, 1.0, 2.0]


def test_what_is_written_has_the_dtype_of_the_tensor():
    """Masks are written as 0 and 1, integers as floats; floats into integers are refused."""
    x = Tensor([1.0, -1.0])
    assert x.gt_(0).tolist() == [1, 0] and x.dtype == np.float32
    assert x.logical_not_().tolist() == [0, 1]
    n = mgx.tensor([1, 2])
    assert n.eq_(2).tolist() == [0, 1] and n.dtype == np.int64
    with pytest.raises(mgx.errors.DTypeError, match="^digamma_: a result of float32 and shape"):
        n.digamma_()
