"""Integers and masks: every operation that takes them gives NumPy's numbers, to the last digit, in a dtype of the same
kind; what cannot be stored in them is refused."""
import numpy as np
import pytest

import microgradx as mgx
from microgradx import Tensor
from microgradx.errors import DTypeError, Error, IndexError_, OptionError, ShapeError

DIGITS = 2**53 + 1                      # more of them than a double has
A = np.array([[3, -1, 2**24 + 1], [0, DIGITS, -7]])
B = np.array([[2, 5, 3], [1, 2, 4]])
MASK = np.array([[True, False, True], [False, True, True]])
PLACES, COLUMN = np.array([[0, 2], [1, 1]]), np.array([[1], [1]])


def tensor(a):
    return Tensor(a) if isinstance(a, np.ndarray) else a


def same(name, *arguments, **options):
    """A function that NumPy and we have under one name."""
    return (lambda x: getattr(mgx, name)(x, *map(tensor, arguments), **options),
            lambda x: getattr(np, name)(x, *arguments, **options))


def operator(f):
    """``f(x, other, mask)`` of tensors and of arrays."""
    return lambda x: f(x, Tensor(B), Tensor(MASK)), lambda x: f(x, B, MASK)


def added(x):
    x = x.copy()
    x[:, [1]] += np.array([[1], [DIGITS]]).astype(x.dtype)
    return x


def put(x):
    x = x.copy()
    x[:, [1]] = np.array([[1], [DIGITS]]).astype(x.dtype)
    return x


def source(x):
    return Tensor(np.array([[1], [DIGITS]]).astype(x.dtype))


def in_place(f):
    """``f`` changes its argument."""
    def call(x):
        f(x)
        return x
    return call, call


CASES = {f"{name} {axis}": same(name, axis=axis) for axis in (None, 0, -1)
         for name in ("sum", "prod", "cumsum", "cumprod", "amax", "amin", "any", "all", "flip", "argmax", "argmin")}
CASES |= {name: same(name) for name in (
    "abs", "square", "floor", "ceil", "trunc", "isfinite", "isinf", "isnan", "tril", "triu", "ravel",
    "diagonal", "trace", "mean", "var", "std")}
CASES["sign"] = mgx.sign, lambda x: x if x.dtype == bool else np.sign(x)        # of a mask torch has one
CASES |= {f"{name} of": same(name, *arguments) for name, arguments in {
    "maximum": (B,), "minimum": (2,), "fmod": (4,), "remainder": (B,), "clip": (-1, 5), "tril": (1,), "triu": (-1,),
    "diag": (1,), "roll": (1,), "tile": (2,), "repeat": (2,), "swapaxes": (0, 1), "moveaxis": (0, 1), "pad": (1,),
    "broadcast_to": ((2, 2, 3),), "take_along_axis": (PLACES, 1), "tensordot": (B.T, 1), "full_like": (DIGITS,),
    "isclose": (B,), "matmul": (B.T,), "reshape": ((3, 2),), "argsort": (1,)}.items()}
CASES |= {
    "x + x": operator(lambda x, b, m: x + x), "x + 2": operator(lambda x, b, m: x + 2),
    "7 - x": operator(lambda x, b, m: 7 - x), "x - x": operator(lambda x, b, m: x - x),
    "x * b": operator(lambda x, b, m: x * b), "x ** 2": operator(lambda x, b, m: x ** 2),
    "x ** b": operator(lambda x, b, m: x ** b), "2 ** b": operator(lambda x, b, m: 2 ** b),
    "x % 4": operator(lambda x, b, m: x % 4), "-x": operator(lambda x, b, m: -x),
    "x / 2": operator(lambda x, b, m: x / 2), "x & m": operator(lambda x, b, m: x & m),
    "~x": operator(lambda x, b, m: ~x), "x | 1": operator(lambda x, b, m: x | 1),
    "x > 2**24": operator(lambda x, b, m: x > 2**24), "x > half": operator(lambda x, b, m: x > 2**24 + 0.5),
    "x == float": operator(lambda x, b, m: x == 2.0**24), "x <= b": operator(lambda x, b, m: x <= b),
    "x @ x.T": operator(lambda x, b, m: x @ x.T), "x[m]": operator(lambda x, b, m: x[m]),
    "x[b]": operator(lambda x, b, m: x[b[:, 0] - 1]), "x[::-1]": operator(lambda x, b, m: x[::-1]),
    "x * 0.5": operator(lambda x, b, m: x * 0.5), "x += x": in_place(lambda x: x.__iadd__(x)),
    "x[0] = 5": in_place(lambda x: x.__setitem__(0, 5)),
    "neg": (mgx.neg, np.negative), "pow": (lambda x: mgx.pow(x, 2), lambda x: x**2),
    "relu": (mgx.relu, lambda x: np.maximum(x, 0)), "relu6": (mgx.relu6, lambda x: np.clip(x, 0, 6)),
    "hardtanh": (lambda x: mgx.hardtanh(x, -1, 1), lambda x: np.clip(x, -1, 1)),
    "threshold": (lambda x: mgx.threshold(x, 1, 7), lambda x: np.where(x > 1, x, 7)),
    "clip, one side": (lambda x: mgx.clip(x, 1), lambda x: np.clip(x, 1, None)),
    "clamp": (lambda x: mgx.clamp(x, 0, 4), lambda x: np.clip(x, 0, 4)),
    "round": (lambda x: round(x, 1), lambda x: x), "max": (lambda x: mgx.max(x, 1).values, lambda x: x.max(1)),
    "min": (lambda x: mgx.min(x, 0).values, lambda x: x.min(0)),
    "sort": (lambda x: mgx.sort(x, 1).values, lambda x: np.sort(x, 1)),
    "topk": (lambda x: mgx.topk(x, 2).values, lambda x: np.sort(x, 1)[:, :0:-1]),
    "median": (mgx.median, lambda x: np.sort(x.reshape(-1))[2]),
    "where, numbers": (lambda x: mgx.where(MASK, 4, 2), lambda x: np.where(MASK, 4, 2)),
    "where, truths": (lambda x: mgx.where(MASK, True, False), lambda x: np.where(MASK, True, False)),
    "where, 0": (lambda x: mgx.where(MASK, x, 0), lambda x: np.where(MASK, x, 0)),
    "where, integers": (lambda x: mgx.where(x, B, x), lambda x: np.where(x, B, x)),
    "mask.where": (lambda x: Tensor(MASK).where(x, B), lambda x: np.where(MASK, x, B)),
    "diag": (lambda x: mgx.diag(x[0]), lambda x: np.diag(x[0])),
    "stack": (lambda x: mgx.stack([x, Tensor(B)]), lambda x: np.stack([x, B])),
    "cat": (lambda x: mgx.cat([x, Tensor(MASK)]), lambda x: np.concatenate([x, MASK])),
    "hstack": (lambda x: mgx.hstack([x, Tensor(B)]), lambda x: np.hstack([x, B])),
    "vstack": (lambda x: mgx.vstack([x, Tensor(B)]), lambda x: np.vstack([x, B])),
    "pad, value": (lambda x: mgx.pad(x, (1, 2), DIGITS), lambda x: np.pad(x, (1, 2), constant_values=DIGITS)),
    "gather": (lambda x: x.gather(1, PLACES), lambda x: np.take_along_axis(x, PLACES, 1)),
    "masked_select": (lambda x: mgx.masked_select(x, MASK), lambda x: x[MASK]),
    "masked_fill": (lambda x: mgx.masked_fill(x, MASK, 1), lambda x: np.where(MASK, np.array(1, x.dtype), x)),
    "scatter_add": (lambda x: x.scatter_add(1, COLUMN, source(x)), added),
    "index_add": (lambda x: mgx.index_add(x, 1, [1], source(x)), added),
    "scatter": (lambda x: mgx.scatter(x, 1, COLUMN, source(x)), put),
    "einsum": (lambda x: mgx.einsum("ij,kj->ik", x, x), lambda x: np.einsum("ij,kj->ik", x, x)),
    "einsum of two": (lambda x: mgx.einsum("ij,ij->", x, Tensor(B)), lambda x: np.einsum("ij,ij->", x, B)),
    "outer": (lambda x: mgx.outer(x[0], x[1]), lambda x: np.outer(x[0], x[1])),
    "dot": (lambda x: mgx.dot(x[0], x[1]), lambda x: np.dot(x[0], x[1])),
    "addmm": (lambda x: mgx.addmm(x[:, :2], x, x.T), lambda x: x[:, :2] + x @ x.T),
    "norm": (mgx.norm, np.linalg.norm), "norm 1": (lambda x: x[0].norm(1), lambda x: np.linalg.norm(x[0], 1)),
    "fill_": (lambda x: x.clone().fill_(DIGITS), lambda x: np.full_like(x, DIGITS)),
    "copy_": (lambda x: x.clone().copy_(Tensor(B)), lambda x: B.astype(x.dtype)), "clone": (mgx.clone, np.copy),
    "split": (lambda x: x.split(1)[1], lambda x: x[1:]), "unbind": (lambda x: mgx.unbind(x)[1], lambda x: x[1]),
    "chunk": (lambda x: mgx.chunk(x, 2, 1)[1], lambda x: x[:, 2:]), "full": (lambda x: mgx.full(2, DIGITS), lambda x:
                                                                             np.full(2, DIGITS)),
    "arange": (lambda x: mgx.arange(DIGITS, DIGITS + 3), lambda x: np.arange(DIGITS, DIGITS + 3))}


@pytest.mark.parametrize("a", [A, MASK], ids=["integers", "masks"])
@pytest.mark.parametrize("ours, theirs", CASES.values(), ids=CASES)
@pytest.mark.filterwarnings("ignore")
def test_the_numbers_and_the_kind_of_dtype_are_numpy_s(ours, theirs, a):
    try:
        truth = np.asarray(theirs(a.copy()))
    except (TypeError, ValueError):             # NumPy neither subtracts masks nor raises them to negative powers
        with pytest.raises(Error):
            ours(Tensor(a))
        return
    found = ours(Tensor(a)).numpy()
    assert found.dtype.kind == truth.dtype.kind.replace("u", "i") and found.shape == truth.shape
    if found.dtype.kind == "f":                 # computed in float64, given as float32
        np.testing.assert_allclose(found, truth, rtol=1e-6)
    else:
        np.testing.assert_array_equal(found, truth)


def test_a_causal_mask_is_causal():
    for mask in (mgx.ones(3, 3, dtype="bool").tril(), mgx.ones(3, 3, dtype="bool").triu(1) == False):   # noqa: E712
        assert mask.dtype == np.bool_ and np.array_equal(mask, np.tri(3, dtype=bool))


def test_integers_are_rounded_to_tens_as_numpy_does():
    a = np.array([-25, -15, -5, 0, 4, 5, 6, 15, 25, DIGITS])
    for digits in (-1, -2):
        found = round(Tensor(a), digits)
        assert found.dtype == np.int64 and found.tolist() == [round(int(n), digits) for n in a]


@pytest.mark.parametrize("call", [
    lambda x: x.fill_(0.5), lambda x: x.fill_(np.inf), lambda x: x.fill_(2**63), lambda x: mgx.pad(x, 1, 0.5),
    lambda x: mgx.pad(x, 1, 2**63), lambda x: mgx.masked_fill(x, x > 1, 0.5),
    lambda x: mgx.masked_fill(x, x > 1, -np.inf),
    lambda x: mgx.masked_fill(x, x > 1, Tensor(0.5)),
    lambda x: x.scatter_add(0, [0], Tensor([0.5])),
    lambda x: mgx.index_add(x, 0, [0], Tensor([0.5])), lambda x: x.__setitem__(0, 0.5),
    lambda x: mgx.scatter(x, 0, [0], Tensor([0.5])), lambda x: x.__iadd__(0.5)])
def test_what_integers_cannot_store_is_refused(call):
    x = mgx.tensor([1, 2])
    with pytest.raises(DTypeError):
        call(x)
    assert x.tolist() == [1, 2]


@pytest.mark.parametrize("x", [Tensor([1.0, -2.0, 0.0]), mgx.tensor([1, -2, 0])], ids=["floats", "integers"])
def test_where_is_a_method_of_masks(x):
    with pytest.raises(DTypeError, match=r"where: .* bool, not \w+; torch's .* mgx.where\(mask, x, other\)"):
        x.where(x > 0, Tensor([9.0, 9.0, 9.0]))
    assert mgx.where(x > 0, x, 9).tolist() == (x > 0).where(x, 9).tolist() == [1, 9, 9]


# ----- shapes and lengths -----------------------------------------------------------------------------------------

@pytest.mark.parametrize("shape", [(3, 2, 0), (0, 7), (2**20, 2**20, 0), (0, 2**62, 2**62)])
def test_an_empty_tensor_has_any_shape_with_a_0(shape):
    x = Tensor(np.zeros(0), requires_grad=True)
    y = x.reshape(shape)
    assert y.shape == shape and y.reshape(0).shape == (0,)
    y.sum().backward()
    assert x.grad.shape == (0,)
    for other in ((2,), (2**40, 2**40), (1, 1)):
        with pytest.raises(ShapeError, match="reshape"):
            x.reshape(other)


@pytest.mark.parametrize("call, words", [
    (lambda: mgx.zeros((0, 2**63)), "zeros: .*9223372036854775808"), (lambda: mgx.ones(2**70), f"ones: .*{2**70}"),
    (lambda: mgx.full((2**63,), 1), "full: .*9223372036854775808"), (lambda: mgx.eye(2**63), "eye: "),
    (lambda: mgx.linspace(0, 1, 2**63), "linspace: .*9223372036854775808"),
    (lambda: mgx.linspace(0, 1, 2**62), f"linspace: {2**62} numbers from 0.0 to 1.0"),
    (lambda: mgx.eye(2**40), f"eye: {2**80} numbers"), (lambda: mgx.arange(2**63), f"arange: {2**63} numbers"),
    (lambda: mgx.arange(0.0, 1e30), "arange: .* numbers from 0.0 to 1e[+]30"),
    (lambda: mgx.arange(0, np.inf), "arange: from 0 to inf"), (lambda: mgx.arange(np.nan), "arange: from 0 to nan"),
    (lambda: mgx.pad(mgx.ones(1), 2**62), f"pad: axis 0 .*{2**63 + 1} with {2**62} before"),
    (lambda: mgx.ones(1).expand(2**63), f"expand: a length .*{2**63}"),
    (lambda: mgx.zeros(0).reshape(0, 2**63), f"reshape: a length .*{2**63}"),
    (lambda: mgx.ones(2).split(2**63), f"split: a length .*{2**63}"),
    (lambda: mgx.ones(2).sum(2**63), f"sum: .*{2**63}"), (lambda: mgx.tile(mgx.ones(1), 2**63), f"tile: .*{2**63}"),
    (lambda: mgx.ones(2, 2).tril(2**63), "tril: a diagonal"), (lambda: mgx.vander(mgx.ones(2), 2**62), "large"),
    (lambda: mgx.arange(5)[2**63], "index: "), (lambda: mgx.arange(5)[None, 2**63], "index: "),
    (lambda: mgx.arange(5).__setitem__(2**63, 1), "index: |setitem: "),
    (lambda: mgx.arange(5).select(0, 2**63), "index: ")])
def test_lengths_beyond_the_machine_s_are_refused_by_name(call, words):
    with pytest.raises((ShapeError, IndexError_, OptionError, MemoryError), match=words):
        call()


def test_what_is_far_beyond_the_matrix_is_nothing_of_it():
    x = mgx.ones(2, 3)
    assert x.tril(-2**63).sum() == 0 == x.triu(2**63 - 1).sum() and x.triu(-2**63).sum() == 6 == x.tril(2**62).sum()
    assert mgx.combinations(mgx.arange(3), 2**40).shape == (0, 2**40)


@pytest.mark.parametrize("start, stop, step", [(5, None, 1), (2, 7, 2), (7, 2, -2), (0, 0, 1), (3, 1, 1),
                                               (0.5, 2.0, 0.5), (0, -1, -0.25), (-2**63, -2**63 + 2, 1)])
def test_arange_counts_as_numpy(start, stop, step):
    truth = np.arange(start, step=step) if stop is None else np.arange(start, stop, step)
    assert mgx.arange(start, stop, step).tolist() == truth.tolist()


def test_angles_are_those_of_the_real_axis():
    """Torch's: nan of nan alone, of the default dtype for integers and masks, with a gradient that is 0."""
    x = Tensor([-2.0, -0.0, 3.0, np.nan, np.inf, -np.inf], requires_grad=True)
    np.testing.assert_array_equal(x.angle().numpy(), np.float32([np.pi, 0, 0, np.nan, 0, np.pi]))
    x.angle().sum().backward()
    assert not x.grad.numpy().any()
    for y, truth in ((mgx.tensor([-1, 0]), [np.pi, 0]), (mgx.tensor([True, False]), [0, 0])):
        assert y.angle().dtype == np.float32 and y.angle().tolist() == np.float32(truth).tolist()


def test_signs_of_masks_are_the_masks():
    x = mgx.tensor([True, False])
    for y in (x.sign(), mgx.sgn(x), x.clone().sign_(), x.clone().sgn_()):
        assert y.dtype == np.bool_ and y.tolist() == [True, False]


def test_dim_is_another_name_of_axis():
    x = Tensor(np.arange(6.0).reshape(2, 3))
    assert x.cumsum(dim=1).tolist() == x.cumsum(1).tolist() == np.cumsum(x, 1).tolist()
    assert x.gather(dim=1, index=PLACES).tolist() == x.gather(1, PLACES).tolist()
    assert x.scatter_add(dim=1, index=COLUMN, source=x).tolist() == x.scatter_add(1, COLUMN, x).tolist()
    assert x.transpose(dim0=0, dim1=1).shape == (3, 2) and mgx.cumprod(x, dim=0).tolist() == mgx.cumprod(x, 0).tolist()
    with pytest.raises(Error, match="two names of one argument"):
        x.cumsum(0, dim=1)


def test_prelu_of_a_number_is_a_number():
    net = mgx.nn.PReLU()
    y = net(Tensor(-4.0))
    assert y.shape == () and y.item() == -1.0
    y.backward()
    assert net.weight.grad.tolist() == [-4.0]


# ----- floor division -----------------------------------------------------------------------------------------------

ENDS = np.array([5.0, -5, 0, -0.0, 1, 7.5, -7.5, np.inf, -np.inf, np.nan, 1e30, 0.1])


@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_floor_division_is_numpy_s(dtype):
    a, b = (x.astype(dtype) for x in np.meshgrid(ENDS, ENDS))
    with np.errstate(all="ignore"):
        np.testing.assert_array_equal((Tensor(a) // Tensor(b)).numpy(), a // b)
        for n in ENDS.tolist():
            np.testing.assert_array_equal((Tensor(a) // n).numpy(), a // np.array(n, dtype))
            np.testing.assert_array_equal((n // Tensor(a)).numpy(), np.array(n, dtype) // a)
    assert (Tensor(1.0) // 0.1).item() == 9.0 == 1.0 // 0.1         # floor(1.0 / 0.1) is 10


def test_floor_division_of_integers_and_its_gradient():
    for a, b in ((Tensor(A), Tensor(B)), (Tensor(A), 4), (DIGITS, Tensor(B)), (Tensor(A), B),
                 ([3, DIGITS], mgx.tensor([2, -3]))):
        truth = np.asarray(a) // np.asarray(b)
        assert (a // b).dtype == np.int64 and np.array_equal(a // b, truth)
    assert np.array_equal(np.floor_divide(Tensor(A), 4), A // 4)
    x, y = (Tensor(np.array([5.0, -3.0]), requires_grad=True) for _ in range(2))
    (x // y).sum().backward()
    assert x.grad.tolist() == y.grad.tolist() == [0.0, 0.0]
    for a in (x, mgx.tensor([1, 2])):
        with pytest.raises(ShapeError):
            a // mgx.tensor([1, 2, 3])
    for bad in ("a", None, 1j):
        with pytest.raises(DTypeError):
            x // bad


# ----- what a variance is divided by ----------------------------------------------------------------------

@pytest.mark.parametrize("name", ["var", "std"])
def test_the_divisor_of_a_deviation(name):
    x = Tensor(np.array([[1.0, 2.0, 4.0]]))
    for call in (lambda **k: getattr(x, name)(1, **k), lambda **k: getattr(x, name)(dim=1, **k)):
        assert call(ddof=1).tolist() == getattr(np, name)(x, 1, ddof=1).tolist()
    assert getattr(x, name)(1).tolist() == getattr(x, name)(dim=1, ddof=0).tolist() == getattr(np, name)(x, 1).tolist()
