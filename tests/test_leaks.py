"""Nothing is kept: each operation is repeated, and Python's blocks, malloc's bytes and references stay as they were."""
import contextlib
import ctypes
import gc
import sys
import types

import numpy as np
import pytest
from samples import ROWS, SMOOTH, call, operands

import microgradx as mgx
from microgradx import nn, optim
from microgradx._core.public import Public
from microgradx.functional import _OF_TENSORS, _REDUCTIONS
from microgradx.names import ALIASES

TIMES = 50
rng = np.random.default_rng(0)


class Usage(ctypes.Structure):
    """glibc's mallinfo2."""
    _fields_ = [(name, ctypes.c_size_t) for name in (
        "arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks", "fsmblks", "uordblks", "fordblks", "keepcost")]


try:
    mallinfo = ctypes.CDLL(None).mallinfo2
    mallinfo.restype = Usage
except (AttributeError, OSError):                       # no glibc: Python's blocks and the counts remain
    mallinfo = Usage


@pytest.fixture(autouse=True, scope="module")
def frozen():
    """What the tests before have left is not searched for cycles."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


def held():
    """(blocks that Python has given out, bytes that malloc has)."""
    gc.collect()
    usage = mallinfo()
    return sys.getallocatedblocks(), usage.uordblks + usage.hblkhd


def kept(run, *objects, makes=False):
    """Fails if `run` keeps anything, or references to `objects`: what is held has to stand still once.

    Dropped Tensors stay on a list for reuse; it is empty, so that each one held is seen, or full if `run` calls the
    constructor, which takes none from it.
    """
    first = mgx.Tensor(0.0)
    others = [mgx.Tensor(0.0) if makes else first.detach() for _ in range(1 << 13)]
    if makes:
        others.clear()
    counts = [sys.getrefcount(o) for o in objects]
    for _ in range(8):                                  # free lists fill, caches settle; a leak goes on
        before = held()
        for _ in range(TIMES):
            run()
        blocks, size = (b - a for a, b in zip(before, held(), strict=True))
        if blocks < TIMES // 2 and size < TIMES * 32:
            break
    else:
        pytest.fail(f"{TIMES} runs keep {blocks} blocks of Python's and {size} bytes of malloc's")
    assert [sys.getrefcount(o) for o in objects] == counts


def leaf(*shape):
    return mgx.Tensor(rng.uniform(0.5, 1.5, shape), requires_grad=True)


def both_ways(f, *xs):
    """Forward and backward, then forward and a backward that is recorded and walked again."""
    def run():
        for create_graph in (False, True):
            ys = f(*xs)
            for y in ys if isinstance(ys, tuple) else (ys,):
                if isinstance(y, mgx.Tensor) and y.requires_grad:
                    y.sum().backward(create_graph=create_graph)
                    slope = xs[0].grad
                    for x in xs:
                        x.grad = None
                    if create_graph and slope is not None and slope.requires_grad:
                        slope.sum().backward()
                        for x in xs:
                            x.grad = None
    return run


def test_the_counts_see_a_leak():
    """Of a reference, of a Tensor, and of bytes."""
    kept_things, x = [], leaf(3)
    with pytest.raises(AssertionError):
        kept(lambda: kept_things.append(x), x)
    for leak in (x.detach, x.clone, lambda: np.empty(1000)):
        with pytest.raises(pytest.fail.Exception, match="50 runs keep"):
            kept(lambda: kept_things.append(leak()))


# ----- rows of the table ---------------------------------------------------------------------------------------------

@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", ROWS)
def test_rows(name, dtype):
    xs = [mgx.Tensor(x, requires_grad=True) for x in operands(name, 5, dtype)]
    kept(both_ways(lambda *xs: call(name, *xs), *xs), *xs)


@pytest.mark.parametrize("name", SMOOTH)
def test_rows_of_values(name):
    xs = [mgx.Value(float(x[0])) for x in operands(name, 1)]
    kept(lambda: call(name, *xs).backward(), *xs)


# ----- methods and functions of tensors ------------------------------------------------------------------------------

AT = np.array([[0, 1, 0], [1, 1, 0]])
METHODS = {
    "prod": lambda x: x.prod(0), "var": lambda x: x.var(1), "std": lambda x: x.std(0),
    "max": lambda x: (x.max(), x.max(0)[0]),
    "min": lambda x: (x.min(), x.min(1)[0]), "amax": lambda x: x.amax(0), "amin": lambda x: x.amin(),
    "sum": lambda x: x.sum(0),
    "mean": lambda x: x.mean((0, 1)), "argmax": lambda x: x.argmax(0), "argmin": lambda x: x.argmin(),
    "logsumexp": lambda x: x.logsumexp(0), "softmax": lambda x: x.softmax(0), "log_softmax": lambda x: x.log_softmax(1),
    "any": lambda x: (x.any(), x.any(0)), "all": lambda x: (x > 0).all(1, True),
    "cumsum": lambda x: x.cumsum(1), "norm": lambda x: (x.norm(), x.norm(3, 0), x.norm(float("inf"))),
    "reshape": lambda x: (x.reshape(3, 2), x.T.reshape(-1)), "transpose": lambda x: x.transpose(0, 1),
    "permute": lambda x: x.permute(1, 0), "expand": lambda x: x.expand(4, 2, 3),
    "squeeze": lambda x: x[None].squeeze(0),
    "unsqueeze": lambda x: x.unsqueeze(1), "flatten": lambda x: x.flatten(), "split": lambda x: x.split(2, 1),
    "gather": lambda x: x.gather(0, AT), "scatter_add": lambda x: x.scatter_add(0, AT, x), "triu": lambda x: x.triu(),
    "tril": lambda x: x.tril(), "outer": lambda x: x[0].outer(x[1]), "matmul": lambda x: (x @ x.T, x.matmul(x[0])),
    "T": lambda x: x.T, "mT": lambda x: x.mT, "astype": lambda x: x.astype("float32"),
    "contiguous": lambda x: x.T.contiguous(), "copy_": lambda x: x.clone().copy_(x[:1]),
    "fill_": lambda x: x.clone().fill_(2),
    "zero_": lambda x: x.clone().zero_(), "add_": lambda x: x.clone().add_(x, alpha=2),
    "sub_": lambda x: x.clone().sub_(x[0]), "mul_": lambda x: x.clone().mul_(x), "div_": lambda x: x.clone().div_(3),
    "addcmul_": lambda x: x.clone().addcmul_(x, x), "addcdiv_": lambda x: x.clone().addcdiv_(x, x, value=2),
    "clamp_": lambda x: x.clone().clamp_(1, 2), "clip_": lambda x: x.clone().clip_(None, x[0]),
    "retain_grad": lambda x: (y := x * 2, y.retain_grad())[0],
    "item": lambda x: x[0, 0].item(), "numpy": lambda x: x.detach().numpy(), "tolist": lambda x: x.tolist(),
    "data": lambda x: x.data, "detach": lambda x: x.detach(), "backward": lambda x: x.sum().backward(),
    "requires_grad_": lambda x: x.detach().requires_grad_(), "requires_grad": lambda x: x.requires_grad,
    "register_hook": lambda x: (y := x * 2, y.register_hook(lambda g: g * y.detach()))[0],
    **{name: lambda x, name=name: getattr(x, name) for name in ("dtype", "grad_fn", "is_leaf", "ndim", "shape", "size",
                                                                "strides", "version")}}
OTHERS = {
    "concat": lambda x: mgx.concat([x, x, x], 1), "stack": lambda x: mgx.stack([x, x]),
    "pad": lambda x: mgx.pad(x, (1, 2)),
    "einsum": lambda x: mgx.einsum("ij,kj->ik", x, x), "from_numpy": lambda x: mgx.from_numpy(AT),
    "index": lambda x: (x[0], x[:, ::2], x[AT[0], [0, 1, 2]], x[x > 1], x[..., None]), "iter": lambda x: tuple(x),
    "array": lambda x: np.asarray(x.detach()) + x.numpy(), "repr": repr,
    "many axes": lambda x: (y := x.reshape(2, *(1,) * 30, 3), y.T * y[:1].expand(y.shape).T,
                            memoryview(y.detach().T))[1],
    "memoryview": lambda x: memoryview(x.detach()).tolist(),
    "from lists": lambda x: mgx.Tensor([[1.0, 2.0]]) + [1.0, 2.0], "compare": lambda x: (x > 1, x == x.detach()),
    "linear": lambda x: nn.functional.linear(x, x, x[:, 0]), "integers": lambda x: mgx.Tensor(AT) % 2 + 1,
    "cross_entropy": lambda x: nn.functional.cross_entropy(x, [0, 2])}


def test_every_method_is_here():
    public = {name for name in dir(mgx.Tensor) if not name.startswith("_")} - set(dir(mgx.Value))
    public |= {"backward", "item", "data"}
    public -= {name for name, method in vars(mgx.Tensor).items()                # Python over the others, and properties
               if isinstance(method, (types.FunctionType, Public)) or isinstance(method, property) or name in ALIASES}
    assert not (public | set(_OF_TENSORS) | set(_REDUCTIONS)) - set(METHODS)


@pytest.mark.parametrize("name", METHODS | OTHERS)
def test_methods(name):
    x = leaf(2, 3)
    kept(both_ways((METHODS | OTHERS)[name], x), x, makes=name in ("from lists", "integers", "cross_entropy"))


def assigned(x, key, value):
    y = x * 2
    y[key] = value
    return y


def updated(x):
    y = x * 2
    y += x
    y *= x
    y -= 1
    y /= 2
    return y


@pytest.mark.parametrize("f", [
    lambda x: assigned(x, 0, 1.0), lambda x: assigned(x, (slice(None), [0, 0, 1]), x),
    lambda x: assigned(x, x > 1, 0.0), updated])
def test_in_place(f):
    x = leaf(2, 3)
    kept(both_ways(f, x), x)


def test_values():
    a, b = mgx.Value(2.0, label="a"), mgx.Value(3.0)

    def run():
        y = mgx.dot([a, b, 2.0], [b, b, a]) + mgx.sum([a, b]) + mgx.mean([a, b, 1.0])
        y = mgx.Value(1.0, (y, a, b), local_grads=(1.0, 2.0, 3.0)) + mgx.Value(1.0, (a,), "made", "name")
        y.backward()
        return y._prev, y._op, repr(y)
    kept(run, a, b)


@pytest.mark.parametrize("make", [lambda p: optim.SGD(p, lr=0.1, momentum=0.9), lambda p: optim.Adam(p)])
def test_training(make):
    net = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2))
    x, step = mgx.Tensor(rng.standard_normal((5, 3)).astype("f4")), make(net.parameters())

    def run():
        step.zero_grad()
        nn.functional.cross_entropy(net(x), [0, 1, 0, 1, 1]).backward()
        step.step()
    kept(run, x, *net.parameters(), makes=True)


def test_state():
    net = nn.Linear(3, 2)
    kept(lambda: net.load_state_dict(net.state_dict()), *net.parameters(), makes=True)


# ----- hooks and cycles ----------------------------------------------------------------------------------------------

def test_hooks_that_refer_to_their_tensors():
    x = leaf(3)

    def run():
        y = x * 2
        y.register_hook(lambda g: g + y.detach())
        handle = x.register_hook(lambda g: None)
        y.sum().backward()
        handle.remove()
        x.grad = None
    kept(run, x)


# ----- errors, before and in the middle ------------------------------------------------------------------------------

class Bad:
    def __index__(self):
        raise OverflowError("no index")
    __float__ = __array__ = __index__


def raising_hook(x):
    y = x.exp() * x
    y.register_hook(lambda g: 1 / 0)
    (y.sum() + x.sum()).backward()


def overwritten(x):
    y = x * 2
    z = (y * y).sum()
    y.data.zero_()
    z.backward()


def walked_twice(x):
    y = (x @ x.T).sum()
    y.backward()
    y.backward()


def wrong_gradient(x):
    y = x * 2
    y.register_hook(lambda g: g[0])
    y.sum().backward()


ERRORS = {
    "shapes": lambda x: x + x.T, "matmul": lambda x: x @ x, "operand": lambda x: x * "a", "bad": lambda x: x * Bad(),
    "list": lambda x: x + [Bad()], "index": lambda x: x[5], "index object": lambda x: x[Bad()],
    "index array": lambda x: x[[0, 9]], "axis": lambda x: x.sum(Bad()), "axis 2": lambda x: x.amax(7),
    "reshape": lambda x: x.reshape(4, Bad()), "assign": lambda x: assigned(x, 9, 1.0),
    "expand": lambda x: x.expand(5, 3),
    "assign value": lambda x: assigned(x, 0, [1.0, 2.0]), "concat": lambda x: mgx.concat([x, x, x.T], 0),
    "concat bad": lambda x: mgx.concat([x, Bad()]), "memory": lambda x: x[:1, :1].expand(2**30, 2**30) + 1,
    "gather": lambda x: x.gather(0, AT + 5), "scatter_add": lambda x: x.scatter_add(0, AT, x[0]),
    "split": lambda x: x.split([1, 5]), "pad": lambda x: mgx.pad(x, (-1, 0)),
    "einsum": lambda x: mgx.einsum("ij->k", x),
    "cross_entropy": lambda x: nn.functional.cross_entropy(x, [0, 9]), "data": lambda x: setattr(x, "data", x.T),
    "grad": lambda x: setattr(x, "grad", x.T), "backward": lambda x: x.exp().backward(), "item": lambda x: x.item(),
    "gradient": lambda x: x.exp().backward(x.detach().T), "in place": lambda x: x.zero_(),
    "tensor": lambda x: mgx.Tensor(Bad()),
    "ragged": lambda x: mgx.Tensor([[1.0], [1.0, 2.0]]), "numpy": lambda x: mgx.Tensor(np.array("a")),
    "delete": lambda x: delattr(x, "version"), "value": lambda x: mgx.Value("a"),
    "value operand": lambda x: mgx.Value(1.0) * x,
    "dot": lambda x: mgx.dot([mgx.Value(1.0), "a"], [1.0, 2.0]),
    "children": lambda x: mgx.Value(1.0, (mgx.Value(1.0), 2)),
    "hook": raising_hook, "overwritten": overwritten, "walked twice": walked_twice, "wrong gradient": wrong_gradient}


@pytest.mark.parametrize("name", ERRORS)
def test_errors(name):
    x = leaf(2, 3)

    def run():
        with contextlib.suppress(ArithmeticError, AttributeError, TypeError, ValueError, LookupError, RuntimeError,
                                 MemoryError):
            ERRORS[name](x)
            raise AssertionError("nothing was raised")
        x.grad = None
    kept(run, x, makes=name in ("tensor", "ragged", "numpy", "cross_entropy"))
