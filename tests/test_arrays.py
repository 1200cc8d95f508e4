"""Arrays, indexing, creation, random tensors: recorded values, differences, edges, and that no name is forgotten."""
import inspect
import re
from itertools import permutations
from pathlib import Path

import numpy as np
import pytest
from recorded import cases, check

import microgradx as mgx
from microgradx import Tensor, arrays, creation, errors, indexing, linalg, random

CASES = {case["id"]: case for case in cases("arrays_cases.npz")}
LINES = [line for path in (Path(__file__).parent / "data" / "names").glob("*.txt")
         for line in path.read_text().splitlines()]
METHODS = arrays.METHODS + indexing.METHODS
MADE = [name for name in creation.__all__ if "default_dtype" not in name] + ["rand", "randint", "randn", "randperm"]


def run(case, xs):
    """The operation as a function; a list of outputs."""
    kwargs = {k: tuple(v) if isinstance(v, list) else float(v) if v in ("inf", "-inf") else v
              for k, v in case["kwargs"].items()}
    op, kind = case["op"], case["kind"]
    if kind == "sequence":
        result = getattr(mgx, op)(xs)
    elif op in ("broadcast_to", "tile"):
        result = getattr(mgx, op)(xs[0], *kwargs.values())
    elif op in ("index_select", "index_add", "scatter"):
        result = getattr(mgx, op)(xs[0], kwargs.pop("axis"), *xs[1:], **kwargs)
    else:
        result = getattr(linalg if kind == "linalg" else mgx, op)(*xs, **kwargs)
    result = getattr(result, "solution", result) if op == "lstsq" else result
    result = mgx.tensor(result) if isinstance(result, bool) else result
    if op == "eigh":
        result = result.eigenvalues, result.eigenvectors.square()           # the sign is nobody's
    return list(result) if isinstance(result, tuple) else [result]


def expected(case):
    return dict(case, outputs=[case["outputs"][0], case["outputs"][1] ** 2]) if case["op"] == "eigh" else case


@pytest.mark.parametrize("name", CASES)
def test_recorded(name):
    check(expected(CASES[name]), run)


@pytest.mark.parametrize("name", sorted({*arrays.__all__, *indexing.__all__, *linalg.__all__} - {"LinAlgError"}))
def test_every_function_has_a_recorded_case_or_an_example(name):
    where = linalg if name in linalg.__all__ else mgx
    words = getattr(where, name).__doc__
    assert words, f"{name} has no docstring"
    typed = any(re.search(rf"\b{name}\(", line) for line in LINES)
    assert typed or name in {case["op"] for case in CASES.values()} or ">>>" in words, (
        f"nothing says what {name} gives: add an example with numbers to its docstring, record NumPy's and torch's "
        "(tests/data/record_arrays.py), or a line of torch (tests/data/names)")


@pytest.mark.parametrize("name", METHODS)
def test_the_method_is_the_function(name):
    assert getattr(Tensor, name) is getattr(mgx, name)


# ----- derivatives by differences ------------------------------------------------------------------------------------

SMOOTH = [name for name, case in CASES.items() if case["dtype"] == "float64" and case.get("grads") is not None
          and any(x.size for x in case["inputs"]) and "ties" not in name]


def differentiable(case):
    """The floats among the inputs, and sum(weight * output) of them as a function, with weights as recorded."""
    places = [k for k, g in enumerate(case["grad"]) if g]

    def total(*floats):
        xs = [mgx.from_numpy(x) for x in case["inputs"]]
        for k, x in zip(places, floats):
            xs[k] = x
        ys = [y for y in run(case, xs) if y.dtype.kind == "f" and y.requires_grad]
        return sum((y * Tensor(c)).sum() + (y.square() * Tensor(c)).sum() for y, c in zip(ys, case["cotangents"]))

    return [case["inputs"][k] for k in places], total


def gradients(total, arrays, create_graph=False):
    xs = [Tensor(a, requires_grad=True) for a in arrays]
    total(*xs).backward(create_graph=create_graph)
    grads = [x.grad for x in xs]
    for x in xs:
        x.grad = None
    return xs, grads


@pytest.mark.parametrize("name", SMOOTH)
def test_two_orders_by_differences(name):
    """Along one random direction: d total = <gradient, direction>, and d gradient = Hessian @ direction."""
    arrays, total = differentiable(CASES[name])
    rng = np.random.default_rng(len(name))
    directions, h = [rng.standard_normal(a.shape) for a in arrays], 1e-5
    moved = [gradients(total, [a + t * d for a, d in zip(arrays, directions)])[1] for t in (h, -h)]
    values = [total(*[Tensor(a + t * d, requires_grad=True) for a, d in zip(arrays, directions)]).item()
              for t in (h, -h)]
    xs, grads = gradients(total, arrays, create_graph=True)
    slope = sum((g.detach().numpy() * d).sum() for g, d in zip(grads, directions))
    np.testing.assert_allclose(slope, (values[0] - values[1]) / (2 * h), rtol=2e-6)
    along = sum((g * Tensor(d)).sum() for g, d in zip(grads, directions))
    if along.requires_grad:
        along.backward()
    for x, up, down in zip(xs, *moved):
        difference = (up.numpy() - down.numpy()) / (2 * h)
        np.testing.assert_allclose(0 if x.grad is None else x.grad.numpy(), difference, rtol=2e-5,
                                   atol=min(2e-6, 2e-5 * np.abs(difference).max(initial=0)))


@pytest.mark.parametrize("name", SMOOTH)
def test_layout_does_not_matter(name):
    """Operands that lie backwards and in the other order give the same numbers and gradients."""
    arrays, total = differentiable(CASES[name])
    back = [(slice(None, None, -1),) * a.ndim for a in arrays]
    xs = [Tensor(a, requires_grad=True) for a in arrays]
    ys = [Tensor(a[k].T, requires_grad=True) for a, k in zip(arrays, back)]
    views = [y.T[k] for y, k in zip(ys, back)]
    assert [v.tolist() for v in views] == [x.tolist() for x in xs]
    straight, round_about = total(*xs), total(*views)
    straight.backward()
    round_about.backward()
    np.testing.assert_allclose(round_about.item(), straight.item(), rtol=1e-9, atol=1e-11)
    for x, y, k in zip(xs, ys, back):
        np.testing.assert_allclose(y.grad.numpy().T[k], x.grad.numpy(), rtol=1e-9, atol=1e-11)


# ----- what torch has no record of -----------------------------------------------------------------------------------

def test_names_of_torch():
    x = mgx.arange(6.0).reshape(2, 3)
    assert mgx.flip(x, dims=0).tolist() == x.flip(0).tolist() and x.sort(dim=0).indices.shape == (2, 3)
    assert x.median(dim=1, keepdim=True).values.shape == (2, 1) and x.any(dim=1).shape == (2,)
    assert x.diagonal(dim1=1, dim2=0).tolist() == [0.0, 4.0] and x.swapaxes(dim0=0, dim1=1).shape == (3, 2)
    assert mgx.tensordot(x, x.T, dims=1).shape == (2, 2)
    assert list(inspect.signature(mgx.flip).parameters) == ["x", "axis"]
    for call in (lambda: x.flip(axis=0, dims=0), lambda: mgx.tensordot(x, x.T, axes=1, dims=1)):
        with pytest.raises(errors.ArgumentError, match="two names of one argument"):
            call()


def test_conversions_and_second_names():
    x = mgx.arange(6.0).reshape(2, 3)
    assert x.double().dtype == x.to(mgx.float64).dtype == x.to(x.double()).dtype == np.float64
    assert x.float() is x and x.to("cpu") is x and x.to("int64").dtype == np.int64
    assert x.numel() == 6 and x.view(3, -1).shape == (3, 2) and x.view((6,)).tolist() == list(range(6))
    with pytest.raises(errors.ShapeError, match="into 0 pieces"):
        x.chunk(0)


def test_what_is_given_may_be_a_list():
    assert mgx.roll([1, 2, 3], 1).tolist() == [3, 1, 2] and mgx.vstack([[1.0], [2.0]]).shape == (2, 1)
    assert mgx.flip(np.array([[1.0, 2.0]])).dtype == np.float64


def test_movedim_finds_every_place():
    x = mgx.zeros(2, 3, 4)
    for source in permutations(range(3), 2):
        for destination in permutations(range(-3, 0), 2):
            assert x.movedim(source, destination).shape == np.moveaxis(x.numpy(), source, destination).shape


def test_dot_of_tensors_and_of_values():
    assert mgx.dot(mgx.ones(3), mgx.ones(3)).item() == mgx.ones(3).dot([1.0, 1.0, 1.0]).item() == 3
    v = mgx.Value(2.0)
    y = mgx.dot([v, 1.0], np.array([3.0, 4.0]))
    y.backward()
    assert (y.data, v.grad) == (10.0, 3.0)


def test_integers_and_masks_keep_their_dtype():
    x = mgx.tensor([[3, 1], [2, 2]])
    for y, truth in ((x.sort().values, [[1, 3], [2, 2]]), (x.cumprod(0), [[3, 1], [6, 2]]), (x.median(), 2),
                     (x.roll(1), [[2, 3], [1, 2]]), (x.topk(1).values, [[3], [2]]),
                     (x.masked_fill([[True, False]], 9), [[9, 1], [9, 2]]),
                     (mgx.tensor([True, False]).cumprod(0), [1, 0]), (mgx.diag([1, 2]), [[1, 0], [0, 2]]),
                     (x.scatter(0, [[0, 1]], 7), [[7, 1], [2, 7]])):
        assert y.dtype == np.int64 and y.tolist() == truth
    mask = mgx.tensor([True, False, True])
    assert mask.sort().values.tolist() == [False, True, True] and mask.flip().dtype == np.bool_
    assert mask.repeat(2).tolist() == [True] * 2 + [False] * 2 + [True] * 2 and not mask.all() and mask.any()


def test_equal_elements_keep_their_order_in_both_directions():
    x = Tensor([1.0, 0.0, 1.0, 0.0])
    assert x.argsort().tolist() == [1, 3, 0, 2] and x.argsort(descending=True).tolist() == [0, 2, 1, 3]


def test_scatter_keeps_the_last_and_its_gradient():
    x, s = mgx.zeros(2, requires_grad=True), mgx.ones(3, 4, requires_grad=True)
    y = mgx.scatter(x, 0, [1, 1], s[0] * 2)                     # a source longer than the index
    y.sum().backward()
    assert y.tolist() == [0, 2] and x.grad.tolist() == [1, 0] and s.grad[0].tolist() == [0, 2, 0, 0]


def test_more_axes_than_a_copy_has_room_for():
    x = mgx.ones(*(1,) * 7)
    assert x.tile(2, 2).shape == (1,) * 5 + (2, 2) and mgx.ones(*(1,) * 8).flip().ndim == 8


def test_views_share():
    x = mgx.zeros(2, 3)
    for y in (x.flip(), x.movedim(0, 1), x.swapaxes(0, 1), x.broadcast_to(2, 2, 3), x.ravel()):
        assert np.shares_memory(np.asarray(y), np.asarray(x))
    assert not np.shares_memory(np.asarray(x.roll(0, 0)), np.asarray(x))


# ----- refusals ------------------------------------------------------------------------------------------------------

x23, x3 = mgx.ones(2, 3), mgx.ones(3)
REFUSED = [
    (lambda: x23.flip(2), errors.ShapeError, "flip: axis 2 of an array with 2 axes"),
    (lambda: x23.flip((0, -2)), errors.ShapeError, r"flip: an axis is named twice in \(0, -2\)"),
    (lambda: x23.roll((1, 2), 0), errors.ShapeError, "roll: 2 shifts for 1 axes"),
    (lambda: x23.roll(1, 2), errors.ShapeError, "roll: axis 2"),
    (lambda: x23.roll(1.5, 0), errors.DTypeError, "roll: shifts are integers"),
    (lambda: x23.tile(-1), errors.ShapeError, r"tile: repetitions are not negative: \(-1,\) \(-1 < 0\)"),
    (lambda: x23.tile(1.0), errors.DTypeError, "tile: repetitions are integers"),
    (lambda: x23.repeat(-1, axis=0), errors.ShapeError, r"repeat: counts are not negative \(-1 < 0\)"),
    (lambda: x23.repeat([1, 2], axis=1), errors.ShapeError, r"repeat: counts of shape \(2,\) for axis 1 of length 3"),
    (lambda: x23.repeat(1.5), errors.DTypeError, "repeat: counts are integers, not 1.5"),
    (lambda: x23.repeat(2, 1), errors.OptionError, r"x.tile\(2, 1\)"),
    (lambda: x23.movedim((0, 1), 0), errors.ShapeError, "movedim: 2 axes for 1 places"),
    (lambda: x23.diagonal(0, 1, 1), errors.ShapeError, "diagonal: an axis is named twice"),
    (lambda: x3.diagonal(), errors.ShapeError, "diagonal: axis 1 of an array with 1 axes"),
    (lambda: mgx.ones(1, 1, 1).diag(), errors.ShapeError, r"diag: of one or two axes, not of shape \(1, 1, 1\)"),
    (lambda: mgx.hstack([]), errors.ShapeError, "hstack: of no tensors"),
    (lambda: mgx.vstack([x23, mgx.ones(2)]), errors.ShapeError, "concat: shapes"),
    (lambda: x23.sort(2), errors.ShapeError, "sort: axis 2"),
    (lambda: x23.topk(4), errors.OptionError, r"topk: 4 of axis 1 of length 3 \(4 is not within 0..3\)"),
    (lambda: mgx.ones(0).median(), errors.ShapeError, r"median: of no elements, shape \(0,\)"),
    (lambda: mgx.ones(2, 0).median(1), errors.ShapeError, "median: of no elements"),
    (lambda: x3.index_select(0, [3]), errors.IndexError_,
     "index_select: index 3 is out of range for axis 0 of length 3"),
    (lambda: x3.index_select(0, [0.5]), errors.DTypeError, "index_select: an index is an int64 tensor, not float32"),
    (lambda: x3.index_select(0, [[0]]), errors.ShapeError, r"index_select: an index has one axis, not shape \(1, 1\)"),
    (lambda: x3.index_add(0, [-4], mgx.ones(1)), errors.IndexError_, "index_add: index -4"),
    (lambda: x3.index_add(0, [0], x3), errors.ShapeError, r"index_add: .*\(\(3,\) != \(1,\)\)"),
    (lambda: x3.scatter(0, [3], 1.0), errors.IndexError_, "scatter: index 3 is out of range"),
    (lambda: x3.scatter(0, [0, 1], mgx.ones(1)), errors.ShapeError, "scatter: index of shape .*exceeds the source"),
    (lambda: x23.take_along_dim([0], 1), errors.ShapeError, r"take_along_dim: .*\(1 != 2\)"),
    (lambda: x23.take_along_dim([[0], [0], [0]], 1), errors.ShapeError, "take_along_dim: shapes .*do not broadcast"),
    (lambda: x3.masked_fill([1, 0, 1], 0.0), errors.DTypeError, "masked_fill: a mask is bool, not int64"),
    (lambda: x3.masked_select([True, False]), errors.ShapeError, "masked_select: shapes .*do not broadcast"),
    (lambda: x23.mm(x3), errors.ShapeError, r"mm: shapes \(2, 3\) and \(3,\) have 2 and 1 axes, not 2 and 2"),
    (lambda: mgx.ones(1, 2, 3).bmm(mgx.ones(2, 3, 2)), errors.ShapeError, r"bmm: .*\(1 != 2\)"),
    (lambda: x3.dot(mgx.ones(4)), errors.ShapeError, r"matmul: .*\(3 != 4\)"),
    (lambda: mgx.tensordot(x23, x23, 1), errors.ShapeError, r"tensordot: .*\(\(3,\) != \(2,\)\)"),
    (lambda: mgx.tensordot(x23, x3, 2), errors.ShapeError, "tensordot: 2 axes of shapes"),
    (lambda: mgx.glu(x3), errors.ShapeError, r"glu: axis 0 of shape \(3,\) has no halves \(3 is odd\)"),
    (lambda: mgx.normalize(x3), errors.ShapeError, "normalize: axis 1"),
    (lambda: mgx.cosine_similarity(x23, mgx.ones(2, 2)), errors.ShapeError, "cosine_similarity: shapes"),
    (lambda: mgx.roll(mgx.Value(1.0), 1), errors.DTypeError, "Tensor: "),
    (lambda: mgx.zeros(-1), errors.ShapeError, r"zeros: lengths are not negative: \(-1,\) \(-1 < 0\)"),
    (lambda: mgx.ones(2.0), errors.DTypeError, "ones: lengths are integers"),
    (lambda: mgx.full((1,) * 33, 1), errors.ShapeError, "at most 32 axes"),
    (lambda: mgx.zeros(2, dtype="int64", requires_grad=True), errors.DTypeError, "only floats"),
    (lambda: mgx.arange(0, 1, 0), errors.ShapeError, "arange: steps of 0"),
    (lambda: mgx.linspace(0, 1, -1), errors.ShapeError, "linspace: lengths are not negative"),
    (lambda: mgx.randint(3, 3), errors.OptionError, r"randint: .*\(3 >= 3\)"),
    (lambda: mgx.rand(2, rng="a"), errors.OptionError, "Generator: device='a'")]


@pytest.mark.parametrize("k", range(len(REFUSED)))
def test_refused(k):
    call, kind, words = REFUSED[k]
    with pytest.raises(kind, match=words):
        call()


# ----- making --------------------------------------------------------------------------------------------------------

def numpys():
    return np.random.default_rng(1)


LIKE = Tensor([[1.0, 2.0]], dtype="float64")
TRUTHS = {
    "zeros": (lambda: mgx.zeros(2, 3), np.zeros((2, 3), "f4")),
    "ones": (lambda: mgx.ones((2, 0)), np.ones((2, 0), "f4")),
    "empty": (lambda: mgx.empty(2, 3), np.zeros((2, 3), "f4")),
    "empty_like": (lambda: mgx.empty_like(LIKE), np.zeros((1, 2))),
    "logspace": (lambda: mgx.logspace(0, 2, 3, dtype="float64"), np.logspace(0, 2, 3)),
    "tensor": (lambda: mgx.tensor([1, 2]), np.array([1, 2])),
    "as_tensor": (lambda: mgx.as_tensor([1, 2]), np.array([1, 2])),
    "FloatTensor": (lambda: mgx.FloatTensor([1, 2]), np.array([1, 2], "f4")),
    "DoubleTensor": (lambda: mgx.DoubleTensor(2, 1), np.zeros((2, 1))),
    "IntTensor": (lambda: mgx.IntTensor([1.5]), np.array([1])),
    "LongTensor": (lambda: mgx.LongTensor(2), np.zeros(2, int)),
    "BoolTensor": (lambda: mgx.BoolTensor([1, 0]), np.array([True, False])),
    "full": (lambda: mgx.full(2, True), np.full(2, True)), "eye": (lambda: mgx.eye(2, 3, 1), np.eye(2, 3, 1, "f4")),
    "arange": (lambda: mgx.arange(5, 0, -2), np.arange(5, 0, -2)),
    "linspace": (lambda: mgx.linspace(0, 1, 4, dtype="float64"), np.linspace(0, 1, 4)),
    "linspace of integers": (lambda: mgx.linspace(2, -3, 7, dtype="int64"), np.linspace(2, -3, 7, dtype="int64")),
    "zeros_like": (lambda: mgx.zeros_like(LIKE), np.zeros((1, 2))),
    "ones_like": (lambda: mgx.ones_like([1, 2]), np.ones(2, int)),
    "full_like": (lambda: mgx.full_like(LIKE, 3, dtype="int64"), np.full((1, 2), 3)),
    "rand": (lambda: mgx.rand(3, rng=numpys(), dtype="float64"), numpys().random(3)),       # ours: test_random.py
    "randn": (lambda: mgx.randn((2, 2), rng=numpys()), numpys().standard_normal((2, 2)).astype("f4")),
    "randint": (lambda: mgx.randint(2, 9, (4,), rng=numpys()), numpys().integers(2, 9, 4)),
    "randperm": (lambda: mgx.randperm(5, rng=numpys()), numpys().permutation(5))}


@pytest.mark.parametrize("name", MADE)
def test_made(name):
    make, truth = TRUTHS[name]
    x = make()
    assert x.dtype == truth.dtype and x.shape == truth.shape and x.is_leaf and not x.requires_grad
    np.testing.assert_array_equal(x.numpy(), truth)


@pytest.mark.parametrize("make", [lambda **k: mgx.zeros(2, **k), lambda **k: mgx.full(2, 1.0, **k),
                                  lambda **k: mgx.eye(2, **k), lambda **k: mgx.arange(2.0, **k),
                                  lambda **k: mgx.linspace(0, 1, 2, **k), lambda **k: mgx.rand(2, **k),
                                  lambda **k: mgx.randn(2, **k), lambda **k: mgx.ones_like(x3, **k)])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_made_as_a_leaf(make, dtype):
    x = make(dtype=dtype, requires_grad=True)
    x.sum().backward()
    assert x.dtype == dtype and x.is_leaf and (x.grad.numpy() == 1).all() and make().dtype == np.float32
    x.data.fill_(3.0)                                           # its memory is its own
    assert (x.numpy() == 3).all()


def test_random_tensors_follow_the_shared_generator():
    first = [(random.manual_seed(3), mgx.rand(4).tolist(), mgx.randn(2).tolist())[1:] for _ in range(2)]
    assert first[0] == first[1] and mgx.randint(5, (100,), rng=0).numpy().max() == 4
    assert mgx.randint(1, size=4).tolist() == [0] * 4
    u = mgx.rand(10000, rng=0).numpy()
    assert u.min() >= 0 and u.max() < 1 and abs(u.mean() - 0.5) < 0.02


def test_every_name_is_public():
    assert all(callable(getattr(mgx, name)) for name in [*arrays.__all__, *indexing.__all__, *MADE])


def test_what_changes_nothing_gives_memory_of_its_own():
    x = mgx.ones(1, 3, 1)
    for y in (mgx.diff(x, 0), mgx.nn.functional.interpolate(x, scale_factor=1.0), mgx.cumprod(x, 0), mgx.roll(x, 0)):
        y.fill_(2.0)
    assert x.tolist() == [[[1], [1], [1]]]


NUMBERS = [0, 1, -3, 2**53 + 1, 2**63 - 1, -2**63, True, False, 0.5, -0.0, 1e-46, 1e300, np.inf, -np.inf, np.nan]


@pytest.mark.parametrize("dtype", [None, "float32", "float64", "int64", "bool"])
@pytest.mark.parametrize("number", NUMBERS, ids=repr)
def test_full_is_numpys(number, dtype):
    """A number everywhere, of any dtype, with all of its digits; by shape, by lengths and like another tensor."""
    own = {bool: "bool", int: "int64", float: "float32"}[type(number)]
    if own == "float32" and dtype == "int64" and not abs(number) < 1:
        pytest.skip("what an integer becomes of it is the machine's")
    for shape in ((), (3,), (2, 0, 3), (2, 1, 3), (1,) * 32, (70, 130)):
        with np.errstate(all="ignore"):
            wanted = np.full(shape, number, dtype or own)
        like = Tensor(np.ones(shape), dtype=dtype or own)
        for made in (mgx.full(shape, number, dtype=dtype), mgx.full(list(shape), value=number, dtype=dtype),
                     mgx.full_like(like, number), mgx.empty_like(like).fill_(wanted[(0,) * len(shape)].item())
                     if wanted.size else mgx.empty_like(like)):
            assert made.dtype == wanted.dtype and made.shape == shape and made.is_leaf and not made.requires_grad
            assert made.numpy().tobytes() == wanted.tobytes()


@pytest.mark.parametrize("name", ["zeros", "ones", "empty"])
@pytest.mark.parametrize("dtype", [None, "float64", "int64", "bool"])
def test_shapes_and_lengths_make_the_same(name, dtype):
    make, like, number = getattr(mgx, name), getattr(mgx, name + "_like"), int(name == "ones")
    for shape in ((), (3,), (2, 0), (2, 1, 3), (1,) * 32):
        for made in (make(*shape, dtype=dtype), make(shape, dtype=dtype), make(list(shape), dtype=dtype),
                     make(*map(np.int64, shape), dtype=dtype), like(Tensor(np.empty(shape)), dtype=dtype or "float32")):
            assert made.dtype == (dtype or "float32") and made.shape == shape
            assert (made.numpy() == number).all() and made.version == 1
    assert make(3).numpy().tobytes() == make(3, dtype="float32").numpy().tobytes()


def test_what_names_no_shape():
    for call, error, text in (
            (lambda: mgx.zeros(2, -1), errors.ShapeError, r"zeros: lengths are not negative: \(2, -1\)"),
            (lambda: mgx.ones(2.5), errors.DTypeError, "ones: lengths are integers"),
            (lambda: mgx.zeros(*[1] * 33), errors.ShapeError, "zeros: an array has at most 32 axes, not 33"),
            (lambda: mgx.full([1] * 33, 0), errors.ShapeError, "full: an array has at most 32 axes, not 33"),
            (lambda: mgx.zeros(2**70), errors.ShapeError, "zeros: lengths have at most 63 bits"),
            (lambda: mgx.zeros(2**61, 2**61), MemoryError, "too large"),
            (lambda: mgx.full(2), TypeError, "full.*value"),
            (lambda: mgx.ones(2, dtype="int64", requires_grad=True), errors.DTypeError, "only floats")):
        with pytest.raises(error, match=text):
            call()


def test_made_again_at_each_replay():
    @mgx.compile
    def made(x):
        y = mgx.zeros(3) + mgx.ones_like(x)
        at, mask = mgx.full((3,), 2**62 + 1), mgx.ones(3, dtype="bool")
        y += x
        at[1] = 5
        return y, at, mask
    for k in range(4):
        y, at, mask = made(Tensor([1.0, 2.0, float(k)]))
        assert y.tolist() == [2.0, 3.0, k + 1.0] and mask.tolist() == [True] * 3
        assert at.tolist() == [2**62 + 1, 5, 2**62 + 1]


@pytest.mark.parametrize("dtype", [None, "float32", "float64", "int64"])
def test_arange_of_integers_is_numpys(dtype):
    for args in ((4,), (0,), (-3,), (2, 7), (7, 2), (7, 2, -2), (0, 10, 3), (0, 9, 3), (2**31, 2**31 + 3),
                 (2**62, 2**62 + 3), (-2**63, -2**63 + 2), (np.int64(1), np.int64(4)), (5, 5), (0, 1, 2**40)):
        wanted = np.arange(*args).astype(dtype or "int64")
        made = mgx.arange(*args, dtype=dtype)
        assert made.dtype == wanted.dtype and made.numpy().tobytes() == wanted.tobytes()
    assert mgx.arange(3, dtype="float32", requires_grad=True).requires_grad

    @mgx.compile
    def counted(x):
        return x + mgx.arange(3)
    assert [counted(Tensor([k, 0.0, 0.0])).tolist() for k in range(3)] == [[k, 1.0, 2.0] for k in range(3)]
    for args, error in (((0, 5, 0), errors.ShapeError), ((2**60,), MemoryError), (("a",), Exception)):
        with pytest.raises(error, match="arange|too"):
            mgx.arange(*args)


LISTS = [0.5, 3, True, -0.0, np.nan, [1.0, 2], [True, 2], [True, 0.5], [True, False], [2**62 + 1, -2**63], [[1], [2]],
         [[[]]],
         [2**53 + 1, 0.5], [(1, 2.5), [3, True]], ((), ()), [[0.1] * 3] * 4, [np.inf, 1e300, 1e-320, -1e39],
         [2**24 + 1, 2**25 + 3], [[[[[1]]]]], [1, np.int64(2)], [np.float32(0.1), 0.1], [np.arange(2), [3, 4]]]


@pytest.mark.parametrize("dtype", [None, "float32", "float64", "int64", "bool"])
@pytest.mark.parametrize("numbers", LISTS, ids=str)
def test_lists_are_read_as_numpy_reads_them(numbers, dtype):
    truth = np.array(numbers)
    if dtype == "int64" and truth.dtype.kind == "f" and not (abs(truth) < 2**62).all():
        pytest.skip("what an integer becomes of it is the machine's")
    with np.errstate(all="ignore"):
        truth = truth.astype(dtype or ("float32" if truth.dtype.kind == "f" else truth.dtype))
    for made in (mgx.tensor(numbers, dtype=dtype), Tensor(numbers, dtype=dtype or truth.dtype)):
        assert (made.dtype, made.shape, made.is_leaf) == (truth.dtype, truth.shape, True)
        assert made.numpy().tobytes() == truth.tobytes()
    compiled = mgx.compile(lambda x: mgx.tensor(numbers, dtype=dtype) * x)
    for _ in range(3):
        found = compiled(Tensor(1.0, dtype="float64")).numpy()
        assert np.array_equal(found, truth * np.float64(1), equal_nan=True) or truth.dtype == "f4"


def test_lists_that_are_no_arrays():
    endless = [1.0]
    endless.append(endless)
    for numbers, error in (([1, [2]], errors.ShapeError), ([[1, 2], [3]], errors.ShapeError),
                           ([1, None], errors.DTypeError), (["a"], errors.DTypeError),
                           ([2**63], errors.DTypeError), ([10**400], errors.DTypeError),
                           ([1j], errors.DTypeError), (endless, errors.Error),
                           ([Tensor(1.0, requires_grad=True)], errors.GraphError),
                           ([[0.5]] * 2 + [0.5], errors.ShapeError)):
        with pytest.raises(error):
            mgx.tensor(numbers)


@pytest.mark.parametrize("axis, shape", [(0, (4,)), (1, (4,)), (2, (2, 3)), (1, (1,)), (0, (0, 2)), (2, (3, 1, 2))])
def test_index_along_one_axis(axis, shape):
    """Of every layout, with its gradient, against NumPy; an index out of range is refused, captured or not."""
    rng = np.random.default_rng(axis)
    whole, at = rng.normal(size=(5, 3, 4)), rng.integers(-3, 3, shape)
    for x in (Tensor(whole), Tensor(whole[::-1].copy())[::-1], Tensor(whole.T.copy()).permute(2, 1, 0)):
        for index in (at, Tensor(at), Tensor(np.repeat(at, 2, 0))[::2]):
            x = x.detach()
            x.requires_grad = True
            y = x[(slice(None),) * axis + (index,)]
            assert y.numpy().tobytes() == whole.take(at, axis).tobytes() and y.shape == whole.take(at, axis).shape
            y.square().sum().backward()
            expected = np.zeros_like(whole)
            np.add.at(expected, (slice(None),) * axis + (at,), 2 * whole.take(at, axis))
            np.testing.assert_allclose(x.grad.numpy(), expected)
    for bad in (whole.shape[axis], -1 - whole.shape[axis]):
        wrong = Tensor(np.full((3,), bad))
        select, add = (lambda x: x.index_select(axis, wrong)), (lambda x: x.moveaxis(axis, -1)[..., :3].gather(
            2, wrong.expand(*x.moveaxis(axis, -1).shape[:2], 3)))
        for function in (select, add, lambda x: x[(slice(None),) * axis + (wrong,)]):
            for call in (function, mgx.compile(function)):
                with pytest.raises(IndexError):
                    for _ in range(3):
                        call(Tensor(whole))
