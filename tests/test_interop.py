"""Tensors beside NumPy and beside other libraries: ufuncs, views and copies, DLPack, copy and pickle."""
import copy
import gc
import pickle
import weakref

import numpy as np
import pytest

import microgradx as mgx
from microgradx import Tensor, nn
from microgradx._core.ufuncs import ROWS
from microgradx.errors import DTypeError, GraphError, ShapeError

DTYPES = [np.float32, np.float64, np.int64, np.bool_]


def leaf(data, dtype=np.float64):
    return Tensor(np.asarray(data, dtype), requires_grad=True)


BITWISE = {np.bitwise_and, np.bitwise_or, np.bitwise_xor, np.invert}


# ----- ufuncs --------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("ufunc", ROWS.keys() - BITWISE, ids=lambda u: u.__name__)
def test_ufuncs_of_tensors(ufunc, dtype):
    """The values are NumPy's, the result is a Tensor, and where there is a derivative there is a graph."""
    a, b = np.array([[0.3, 0.7], [0.2, 0.9]], dtype), np.array([[0.4, 0.7], [0.5, 0.1]], dtype)
    a = a + 1 if ufunc is np.acosh else a
    arrays = (a, b)[:ufunc.nin]
    truth = ufunc(*arrays)
    calls = [[leaf(x, dtype) for x in arrays]]
    calls += [[leaf(a, dtype), b], [a, leaf(b, dtype)]] * (ufunc.nin == 2)
    for operands in calls:
        y = ufunc(*operands)
        assert type(y) is Tensor and y.dtype == truth.dtype
        np.testing.assert_allclose(y.detach().numpy(), truth, rtol=1e-6 if dtype == np.float32 else 1e-14)
        if truth.dtype != bool:
            y.sum().backward()
            assert all(x.grad.shape == (2, 2) for x in operands if isinstance(x, Tensor))


BITS = {"&": lambda a, b: a & b, "|": lambda a, b: a | b, "^": lambda a, b: a ^ b, "~": lambda a, b: ~a | ~b}


@pytest.mark.parametrize("bits", BITS)
@pytest.mark.parametrize("left, right", [([True, False, True], [[True], [False]]), ([5, 3, -1], 6), (True, False),
                                         ([1, 2, 3], [True]), (np.ones((0, 2), bool), True)], ids=str)
def test_bits(left, right, bits):
    """~ & | ^ of masks and integers are NumPy's, whatever stands on the left."""
    f, a, b = BITS[bits], np.array(left), np.array(right)
    pairs = [(Tensor(a), Tensor(b))] + [(Tensor(a), right), (Tensor(a), b), (left, Tensor(b)), (a, Tensor(b))] * (
        bits != "~")
    for pair in pairs:
        found = f(*pair)
        assert type(found) is Tensor and found.dtype == f(a, b).dtype and np.array_equal(found, f(a, b))


def test_bits_are_not_of_floats():
    x = Tensor([1.0, 2.0])
    for call in (lambda: ~x, lambda: x & True, lambda: np.array([1.0, 2.0]) | mgx.tensor([True, False])):
        with pytest.raises(DTypeError, match="masks and integers"):
            call()
    with pytest.raises(ShapeError, match=r"and: shapes \(2,\) and \(3,\) do not broadcast"):
        (x > 0) & mgx.tensor([True, False, True])


OPERATORS = {"+": lambda a, b: a + b, "-": lambda a, b: a - b, "*": lambda a, b: a * b, "/": lambda a, b: a / b,
             "**": lambda a, b: a**b, "%": lambda a, b: a % b, "@": lambda a, b: a @ b, "<": lambda a, b: a < b,
             ">=": lambda a, b: a >= b, "==": lambda a, b: a == b, "!=": lambda a, b: a != b}


@pytest.mark.parametrize("operator", OPERATORS.values(), ids=OPERATORS)
@pytest.mark.parametrize("left", [np.array([3.0, 2.0]), np.array([3.0, 2.0])[::-1],
                                  np.array([3.0, 2.0]).view(np.recarray)],
                         ids=["array", "reversed", "recarray"])
def test_an_array_on_the_left_leaves_the_operator_to_us(operator, left):
    x = leaf([0.5, 4.0])
    y = operator(left, x)
    assert type(y) is Tensor
    np.testing.assert_allclose(y.detach().numpy(), operator(np.asarray(left), x.detach().numpy()), rtol=1e-14)
    if y.requires_grad:
        y.sum().backward()
        assert x.grad.shape == (2,)


@pytest.mark.parametrize("scalar", [np.float32(2), np.float64(2), np.int32(2), np.bool_(True)], ids=repr)
def test_numpy_scalars_are_weak(scalar):
    x = Tensor([1.0, 2.0])
    for y in (scalar + x, np.multiply(scalar, x), np.divide(x, scalar)):
        assert type(y) is Tensor and y.dtype == np.float32


def test_empty_and_single():
    for shape in ((), (0,), (0, 3), (1, 1)):
        y = np.exp(Tensor(np.ones(shape)))
        assert type(y) is Tensor and y.shape == shape
        assert (np.ones(shape) + Tensor(np.ones(shape))).shape == shape


class Foreign:
    def __array_ufunc__(self, ufunc, method, *inputs, **options):
        return f"{ufunc.__name__} of another library"


def add_in_place(array, other):
    array += other


@pytest.mark.parametrize("call, words", [
    (lambda x: np.spacing(x), r"^np.spacing: no operation .*t\.detach\(\)\.numpy\(\)"),
    (lambda x: np.divmod(np.ones(3), x, out=(np.ones(3), np.ones(3))), "np.divmod"),
    (lambda x: np.logical_and(x, x, where=False), "np.logical_and"), (lambda x: np.isnat(x), "np.isnat"),
    (lambda x: np.frompyfunc(lambda a: a, 1, 1)(x), "lambda.*no operation"),
    (lambda x: np.add.reduce(x), r"^np.add.reduce: .*t\.detach\(\)\.numpy\(\)"),
    (lambda x: np.add.at(np.ones(3), [0], x), "np.add.at"),
    (lambda x: np.multiply.outer(np.ones(2), x), "np.multiply.outer"),
    (lambda x: np.multiply.accumulate(x), "np.multiply.accumulate"),
    (lambda x: np.add(x, 1.0, out=np.ones(3)), "^np.add: out "),
    (lambda x: np.add(np.ones(3), 1.0, out=x), "^np.add: out "),
    (lambda x: add_in_place(np.ones(3), x), "^np.add: out "),
    (lambda x: np.exp(x, where=np.ones(3, bool)), "np.exp: where"),
    (lambda x: np.exp(x, dtype="f4"), "np.exp: dtype"),
    (lambda x: np.add(np.array([None] * 3), x), "object"), (lambda x: np.array([1j] * 3) * x, "complex"),
    (lambda x: np.add(x, "a"), "add: .*str"), (lambda x: np.add(x, mgx.Value(1.0)), "Value"),
    (lambda x: np.ones((3, 2)) @ leaf(np.ones((2, 3)), np.float32), "matmul: dtypes")])
def test_ufuncs_without_counterpart_are_refused(call, words):
    x = leaf([1.0, 2.0, 3.0])
    with pytest.raises(TypeError, match=words):
        call(x)
    assert x.version == 0 and x.tolist() == [1, 2, 3]


def test_other_libraries_have_their_turn():
    assert np.add(leaf([1.0]), Foreign()) == "add of another library"


@pytest.mark.parametrize("call", [lambda v, a: a + v, lambda v, a: v + a, lambda v, a: np.sin(v), lambda v, a: a @ v,
                                  lambda v, a: np.multiply(a, v)])
def test_a_value_beside_an_array_is_a_type_error(call):
    with pytest.raises(TypeError):
        call(mgx.Value(1.0), np.ones(2))


# ----- views and copies ----------------------------------------------------------------------------------------------

@pytest.mark.parametrize("dtype", DTYPES)
def test_arrays_of_tensors(dtype):
    x = Tensor(np.array([[1, 0, 1], [0, 1, 1]], dtype))
    for t in (x, x.T, x[:, ::2], x[::-1], x[0, 0], x[:0]):
        view = np.asarray(t)
        assert view.dtype == dtype and np.shares_memory(view, np.asarray(x)) == bool(t.size)
        assert not view.flags.writeable and view.tolist() == t.tolist()
        for same in (np.array(t, copy=False), t.__array__(), t.__array__(dtype), t.__array__(copy=False)):
            assert np.shares_memory(same, view) == bool(t.size)
        for other in (np.array(t), t.__array__(copy=True), t.numpy()):
            assert not np.shares_memory(other, view) and other.flags.writeable and other.dtype == dtype
        for other in (np.asarray(t, "f2"), t.__array__("f2")):
            assert other.dtype == np.float16 and other.tolist() == t.tolist()
        for convert in (lambda: np.array(t, "f2", copy=False), lambda: t.__array__("f2", copy=False)):
            with pytest.raises(ValueError, match="avoid copy"):
                convert()


def test_a_view_keeps_the_memory():
    view = np.asarray(Tensor(np.arange(1000.0)) * 2)
    gc.collect()
    Tensor(np.zeros(1000)) * 3                          # would take the block
    assert view[-1] == 1998
    with pytest.raises(ValueError, match="read-only"):
        view[0] = 1
    assert memoryview(Tensor([1.0])).readonly


# NumPy before 2.3 takes what others share by DLPack as read-only
WRITABLE = np.lib.NumpyVersion(np.__version__) >= "2.3.0"


# ----- DLPack --------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("dtype", DTYPES)
def test_dlpack_shares_both_ways(dtype):
    x = Tensor(np.array([[1, 0, 1], [0, 1, 1]], dtype))
    for t in (x, x.T, x[:, ::2], x[0, 0], x[:0], x[1:]):
        array = np.from_dlpack(t)
        assert array.dtype == dtype and array.shape == t.shape and array.tolist() == t.tolist()
        assert np.shares_memory(array, np.asarray(x)) == bool(t.size) and array.flags.writeable == WRITABLE
        again = mgx.from_dlpack(array)
        assert again.dtype == dtype and again.tolist() == t.tolist() and not again.requires_grad
        assert np.shares_memory(np.asarray(again), array) == bool(t.size)
    assert x.__dlpack_device__() == (1, 0)


@pytest.mark.skipif(not WRITABLE, reason="NumPy before 2.3 takes all as read-only")
@pytest.mark.parametrize("dtype", DTYPES)
def test_dlpack_writes_both_ways(dtype):
    x = Tensor(np.array([[1, 0, 1], [0, 1, 1]], dtype))
    array = np.from_dlpack(x)
    array[0, 1] = 1
    assert x.tolist()[0] == [1, 1, 1]
    mgx.from_dlpack(array).fill_(0)
    assert not array.any() and not x.numpy().any()


def test_dlpack_keeps_the_memory():
    array = np.from_dlpack(Tensor(np.arange(1000.0)) * 2)
    capsule = (Tensor(np.arange(1000.0)) * 3).__dlpack__()
    gc.collect()
    Tensor(np.zeros(1000)) * 4
    assert array[-1] == 1998
    del capsule                                         # never asked for: frees what it holds
    t = mgx.from_dlpack(np.arange(1000.0))
    gc.collect()
    np.zeros(1000)
    assert t[-1].item() == 999


def test_dlpack_frees_what_nobody_holds():
    array = np.ones(3)
    t = mgx.from_dlpack(array)
    watch = weakref.ref(array)
    del array
    gc.collect()
    assert watch() is not None and t.sum().item() == 3
    view = np.from_dlpack(t * 1)
    del t
    gc.collect()
    assert watch() is None and view.sum() == 3


def test_read_only_memory_stays_so():
    array = np.arange(3.0)
    array.flags.writeable = False
    t = mgx.from_dlpack(array)
    with pytest.raises(GraphError, match="fill_: .*read-only"):
        t.fill_(0.0)
    for shared in (t, mgx.from_numpy(array)):
        assert not np.from_dlpack(shared).flags.writeable
        with pytest.raises(BufferError, match="readonly"):
            shared.__dlpack__()                         # a consumer too old to be told
        copy = np.from_dlpack(shared, copy=True)
        assert copy.flags.writeable == WRITABLE and not np.shares_memory(copy, array)
    assert (t * 2).tolist() == [0, 2, 4] and array.tolist() == [0, 1, 2]


def test_dlpack_copies_where_asked():
    t = Tensor(np.arange(4.0))
    array = np.from_dlpack(t, copy=True)
    t.fill_(0.0)
    assert array.tolist() == [0, 1, 2, 3] and np.from_dlpack(Tensor(array)[::-1], copy=True).tolist() == [3, 2, 1, 0]


def test_a_write_through_the_tensor_is_seen():
    """The version counter sees what is written through tensors, not what is written through the shared memory."""
    array, w = np.array([1.0, 2.0]), leaf([3.0, 4.0])
    t = (mgx.from_dlpack if WRITABLE else mgx.from_numpy)(array)
    y = (w * t).sum()
    version = t.version
    array[0] = 5.0
    assert t.version == version and t[0].item() == 5.0
    t.fill_(0.0)
    assert t.version > version
    with pytest.raises(GraphError, match="mul needs operand 1"):
        y.backward()


class Elsewhere:
    def __dlpack__(self, **options):
        raise BufferError("memory of a graphics card")

    def __dlpack_device__(self):
        return 2, 0


@pytest.mark.parametrize("call, kind, words", [
    (lambda: leaf([1.0]).__dlpack__(), BufferError, r"requires a gradient.*detach\(\)"),
    (lambda: np.from_dlpack(leaf([1.0]) * 2), BufferError, r"detach\(\)"),
    (lambda: np.from_dlpack(Tensor([1.0, 2.0])[::-1]), BufferError, r"negative strides.*contiguous\(\)"),
    (lambda: Tensor([1.0]).__dlpack__(dl_device=(2, 0)), BufferError, r"dlpack: .*\(1, 0\), not \(2, 0\)"),
    (lambda: mgx.from_dlpack(leaf([1.0])), DTypeError, r"from_dlpack: Tensor .*detach\(\)"),
    (lambda: mgx.from_dlpack([1.0]), DTypeError, "from_dlpack: .*list"),
    (lambda: mgx.from_dlpack(Elsewhere()), DTypeError, "from_dlpack: Elsewhere .*graphics card"),
    (lambda: mgx.from_dlpack(np.ones(2, "i4")), DTypeError, "int32"),
    (lambda: mgx.from_dlpack(np.ones(2, "c8")), DTypeError, "complex64"),
    (lambda: mgx.from_dlpack(np.ones((1,) * 33)), ValueError, "at most 32 axes"),
    (lambda: mgx.from_dlpack(np.broadcast_to(np.ones(1), 4).view()).fill_(1.0), GraphError, "read-only")])
def test_dlpack_refusals(call, kind, words):
    with pytest.raises(kind, match=words):
        call()


@pytest.mark.parametrize("dtype", DTYPES)
def test_dlpack_with_torch(dtype):
    torch = pytest.importorskip("torch")
    x = Tensor(np.array([[1, 0, 1], [0, 1, 1]], dtype))
    for t in (x, x.T, x[:, ::2], x[0, 0], x[:0]):
        theirs = torch.from_dlpack(t)
        assert theirs.tolist() == t.tolist() and tuple(theirs.shape) == t.shape
        assert theirs.data_ptr() == np.asarray(t).ctypes.data or not t.size
        ours = mgx.from_dlpack(theirs)
        assert ours.tolist() == t.tolist() and ours.dtype == dtype
        assert np.shares_memory(np.asarray(ours), np.asarray(x)) == bool(t.size)
    theirs = torch.from_dlpack(x)
    theirs[0, 1] = 1
    assert x.tolist()[0] == [1, 1, 1]
    del x
    gc.collect()
    Tensor(np.zeros((2, 3), dtype)).clone()
    assert theirs.tolist() == [[1, 1, 1], [0, 1, 1]]


@pytest.mark.parametrize("make, words", [
    (lambda torch: torch.ones(2, requires_grad=True), "detach"),
    (lambda torch: torch.ones(2, dtype=torch.int32), "int32"),
    (lambda torch: torch.ones(2, dtype=torch.bfloat16), "dtype"), (lambda torch: torch.ones(2, device="meta"), "meta")])
def test_torch_tensors_that_are_not_taken(make, words):
    torch = pytest.importorskip("torch")
    with pytest.raises(DTypeError, match=words):
        mgx.from_dlpack(make(torch))


def test_dlpack_with_jax():
    jax = pytest.importorskip("jax")
    theirs = jax.numpy.arange(3.0)
    ours = mgx.from_dlpack(theirs)
    assert ours.tolist() == [0, 1, 2]
    with pytest.raises(GraphError, match="read-only"):
        ours.fill_(0.0)
    assert jax.dlpack.from_dlpack(Tensor([1.0, 2.0])).tolist() == [1, 2]


# ----- copy and pickle -----------------------------------------------------------------------------------------------

def repickled(x):
    return pickle.loads(pickle.dumps(x))


COPIES = [copy.copy, copy.deepcopy, repickled]


@pytest.mark.parametrize("again", COPIES)
@pytest.mark.parametrize("dtype", DTYPES)
def test_copies_of_tensors(again, dtype):
    x = Tensor(np.array([[1, 0, 1], [0, 1, 1]], dtype))
    for t in (x, x.T, x[:, ::2], x[0, 0], x[:0]):
        y = again(t)
        assert y.dtype == dtype and y.shape == t.shape and y.tolist() == t.tolist()
        assert y.is_leaf and not y.requires_grad and not np.shares_memory(np.asarray(y), np.asarray(x))


@pytest.mark.parametrize("again", COPIES)
def test_results_are_not_copied(again):
    x = leaf([1.0])
    with pytest.raises(GraphError, match="leaves.*detach"):
        again(x * 2)
    with pytest.raises(GraphError, match="leaves.*detach"):
        again({"x": x, "y": [x * 2]} if again is not copy.copy else x * 2)


def test_a_deep_copy_has_its_own_gradient():
    """As torch: the gradient is copied, not pickled."""
    x = leaf([1.0, 2.0])
    (x * x).sum().backward()
    y = copy.deepcopy(x)
    assert y.grad.tolist() == [2.0, 4.0] and y.grad is not x.grad
    x.grad.zero_()
    assert y.grad.tolist() == [2.0, 4.0] and repickled(x).grad is None


def test_one_tensor_stays_one():
    x = leaf([1.0])
    for twin in (copy.deepcopy([x, x]), repickled([x, x])):
        assert twin[0] is twin[1] is not x


class Net(nn.Module):
    def __init__(self):
        self.first, self.scale = nn.Linear(3, 2), nn.Parameter(2.0)
        self.register_buffer("shift", Tensor([1.0, 2.0]))

    def forward(self, x):
        return self.first(x) * self.scale + self.shift


@pytest.mark.parametrize("again", COPIES)
def test_copies_of_modules(again):
    net, x = Net(), Tensor(np.ones((4, 3), np.float32))
    twin = again(net)
    assert twin(x).tolist() == net(x).tolist() and list(twin.state_dict()) == list(net.state_dict())
    assert (twin.scale is net.scale) == (again is copy.copy)
    del twin.scale
    twin.more = nn.Linear(1, 1)
    assert "scale" in net.state_dict() and "more.weight" not in net.state_dict() and net(x).shape == (4, 2)
    (net(x).sum()).backward()
    assert net.scale.grad is not None


@pytest.mark.parametrize("again", [copy.deepcopy, repickled])
def test_modules_with_results_are_not_copied(again):
    net = Net()
    net.__dict__["last"] = net(Tensor(np.ones((1, 3), np.float32)))
    with pytest.raises(GraphError, match="leaves"):
        again(net)
