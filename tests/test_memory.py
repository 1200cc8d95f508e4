"""Memory is read only where it is: nothing that Python code does meanwhile, and no object half made, ends the process.

What once crashed runs in an interpreter of its own.
"""
import ctypes
import itertools
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import microgradx as mgx
from microgradx import Tensor, autograd

PACKAGE = str(Path(mgx.__file__).resolve().parents[1])


def run(script, tmp_path):
    path = tmp_path / "script.py"
    path.write_text(script)
    done = subprocess.run([sys.executable, "-X", "faulthandler", str(path)], capture_output=True, text=True,
                          timeout=300, env=os.environ | {"PYTHONPATH": PACKAGE})
    assert done.returncode == 0, (done.stdout[-500:], done.stderr[-2000:])
    return done.stdout


# ----- transforms of functions with parameters -------------------------------------------------------------------

TRANSFORMS = """
import microgradx as mgx
from microgradx import Tensor
one = Tensor(1.0)
def f(w): return lambda x: w * x * x * x
ways = {                                                # of w x^3 at 3, and the derivative of what they give by w
    "grad": (lambda w: mgx.grad(f(w))(3.0), 27.0), "value_and_grad": (lambda w: mgx.value_and_grad(f(w))(3.0)[1], 27.0),
    "value": (lambda w: mgx.value_and_grad(f(w))(3.0)[0], 27.0),
    "vjp": (lambda w: mgx.vjp(f(w), Tensor(3.0))[1](one)[0], 27.0),
    "jvp": (lambda w: mgx.jvp(f(w), (Tensor(3.0),), (one,))[1], 27.0),
    "jacobian": (lambda w: mgx.jacobian(f(w))(3.0), 27.0),
    "forward": (lambda w: mgx.jacobian(f(w), mode="forward")(3.0), 27.0),
    "hessian": (lambda w: mgx.hessian(f(w))(3.0), 18.0),
    "hvp": (lambda w: mgx.hvp(f(w), (Tensor(3.0),), (one,))[0], 18.0),
    "grad of grad": (lambda w: mgx.grad(mgx.grad(f(w)))(3.0), 18.0),
    "third": (lambda w: mgx.grad(mgx.grad(mgx.grad(f(w))))(3.0), 6.0),
    "jvp of grad": (lambda w: mgx.jvp(mgx.grad(f(w)), (Tensor(3.0),), (one,))[1], 18.0),
    "grad of jvp": (lambda w: mgx.grad(lambda x: mgx.jvp(f(w), (x,), (one,))[1])(3.0), 18.0)}
for name, (way, truth) in ways.items():
    w = Tensor(2.0, requires_grad=True)
    y = way(w)
    assert y.requires_grad, name
    y.backward()
    assert w.grad.item() == truth, (name, w.grad)
    assert not way(Tensor(2.0)).requires_grad, name     # no parameter, no graph
w = Tensor(2.0, requires_grad=True)
value, pull = mgx.vjp(lambda x: (w * x, w * w * x), Tensor(3.0))
value[0].backward()
value[1].backward()                                     # two graphs that begin at one input
assert w.grad.item() == 3 + 12
"""


def test_transforms_of_functions_with_parameters(tmp_path):
    run(TRANSFORMS, tmp_path)


def differences(loss, parameters, eps=1e-6):
    """Central differences of ``loss()`` by every element of the parameters."""
    found = []
    for p in parameters:
        slope = np.zeros(p.shape)
        for at in np.ndindex(p.shape):
            ends = []
            for step in eps, -eps:
                numbers = p.numpy()
                numbers[at] += step
                before, p.data = p.data, Tensor(numbers)
                ends.append(loss().item())
                p.data = before
            slope[at] = (ends[0] - ends[1]) / (2 * eps)
        found.append(slope)
    return found


def parameters(*shapes):
    rng = np.random.default_rng(3)
    return [Tensor(rng.normal(0, 0.7, shape), requires_grad=True) for shape in shapes]


def test_a_gradient_penalty_against_differences():
    a, b, c = parameters((3, 5), (5,), (5,))
    points = np.random.default_rng(4).normal(size=(4, 3))

    def critic(x):
        return ((x @ a + b).tanh() * c).sum()

    def loss():                                             # WGAN-GP: (|grad| - 1)^2
        total = 0.0
        for x in points:
            total = total + (mgx.grad(critic)(Tensor(x)).norm() - 1.0) ** 2
        return total
    loss().backward()
    for p, truth in zip((a, b, c), differences(loss, (a, b, c)), strict=True):
        np.testing.assert_allclose(p.grad.numpy(), truth, rtol=1e-6, atol=1e-8)


def test_an_equation_as_loss_against_differences():
    a, b, c = parameters((5,), (5,), (5,))

    def u(x):
        return ((a * x + b).tanh() * c).sum()

    def loss():                                             # u'' + u = 0
        total = 0.0
        for x in (0.1, 0.5, 1.3):
            x = Tensor(np.float64(x), dtype="float64")
            total = total + (mgx.grad(mgx.grad(u))(x) + u(x)) ** 2
        return total
    loss().backward()
    for p, truth in zip((a, b, c), differences(loss, (a, b, c)), strict=True):
        np.testing.assert_allclose(p.grad.numpy(), truth, rtol=1e-6, atol=1e-8)


# ----- dtypes that meet in place -----------------------------------------------------------------------------------

INPLACE = {"mul": lambda y, q: y.__imul__(q), "div": lambda y, q: y.__itruediv__(q), "add": lambda y, q: y.__iadd__(q),
           "sub": lambda y, q: y.__isub__(q)}


@pytest.mark.parametrize("name", INPLACE)
def test_a_float64_number_in_a_float32_result(name):
    write = INPLACE[name]
    results = []
    for create_graph in False, True:
        p = Tensor(np.linspace(-1, 1, 1000, dtype="f4"), requires_grad=True)
        q = Tensor(np.float64(1.7), dtype="float64", requires_grad=True)
        y = p.exp() * 1.0
        y = write(y, q)
        found = autograd.grad((y * y).sum(), [p, q], create_graph=create_graph)
        assert found[0].dtype == np.float32 and found[1].dtype == np.float64
        results.append([g.numpy() for g in found])
    e, q = np.exp(np.linspace(-1, 1, 1000)), 1.7
    y = {"mul": e * q, "div": e / q, "add": e + q, "sub": e - q}[name]
    dp = 2 * y * {"mul": e * q, "div": e / q, "add": e, "sub": e}[name]
    dq = (2 * y * {"mul": e, "div": -e / q**2, "add": 1, "sub": -1}[name]).sum()
    for by_p, by_q in results:
        np.testing.assert_allclose(by_p, dp, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(by_q, dq, rtol=1e-5)


def test_a_gradient_of_another_size_is_refused():
    from microgradx._core.structured import HostOperation
    from microgradx.errors import ShapeError
    wrong = HostOperation("wrong", lambda x: [(x.shape, x.dtype)], lambda out, x: np.copyto(out, x),
                          [[lambda g, y, x: Tensor(np.ones(4096, "f4"))]])
    x = Tensor(np.ones(4, "f4"), requires_grad=True)
    y = wrong(x.exp()).sum()
    with pytest.raises(ShapeError, match="wrong gave a gradient of shape"):
        y.backward()


def test_a_gradient_of_another_dtype_is_converted():
    from microgradx._core.structured import HostOperation
    wide = HostOperation("wide", lambda x: [(x.shape, x.dtype)], lambda out, x: np.copyto(out, x),
                         [[lambda g, y, x: Tensor(np.full(x.shape, 3.0))]])
    for create_graph in False, True:
        x = Tensor(np.zeros(4, "f4"), requires_grad=True)
        (g,) = autograd.grad(wide(x.exp()).sum(), x, create_graph=create_graph)
        assert g.dtype == np.float32 and g.tolist() == [3.0] * 4


# ----- the buffer protocol -------------------------------------------------------------------------------------------

class Buffer(ctypes.Structure):
    _fields_ = [("buf", ctypes.c_void_p), ("obj", ctypes.py_object), ("len", ctypes.c_ssize_t),
                ("itemsize", ctypes.c_ssize_t), ("readonly", ctypes.c_int), ("ndim", ctypes.c_int),
                ("format", ctypes.c_char_p), ("shape", ctypes.POINTER(ctypes.c_ssize_t)),
                ("strides", ctypes.POINTER(ctypes.c_ssize_t)), ("suboffsets", ctypes.c_void_p),
                ("internal", ctypes.c_void_p)]


GetBuffer, Release = ctypes.pythonapi.PyObject_GetBuffer, ctypes.pythonapi.PyBuffer_Release
GetBuffer.argtypes = [ctypes.py_object, ctypes.POINTER(Buffer), ctypes.c_int]
Release.argtypes, Release.restype = [ctypes.POINTER(Buffer)], None
WRITABLE, FORMAT, ND, STRIDES, C, F, ANY, INDIRECT = 1, 4, 8, 0x18, 0x38, 0x58, 0x98, 0x118
FLAGS = sorted({a | b | c | d | e for a, b, c, d, e in itertools.product(
    (0, WRITABLE), (0, FORMAT), (0, ND, STRIDES, INDIRECT), (0, C, F, ANY), (0, C, F, ANY))})


def granted(o, flags):
    """What a request gives: None if it is refused."""
    view = Buffer()
    try:
        GetBuffer(o, ctypes.byref(view), flags)
    except (BufferError, ValueError):
        return None
    try:
        return (view.len, view.itemsize, view.readonly, view.ndim, view.format and view.format.replace(b"l", b"q"),
                view.shape[:view.ndim] if view.shape else None, view.strides[:view.ndim] if view.strides else None,
                view.suboffsets)
    finally:
        Release(ctypes.byref(view))


LAYOUTS = {
    "in order": lambda x: x, "columns": lambda x: x.T, "a row": lambda x: x[1], "a column": lambda x: x[:, 1],
    "steps": lambda x: x[::2], "backwards": lambda x: x[::-1], "inner": lambda x: x[:, 1:3],
    "one": lambda x: x[1:2], "one column": lambda x: x[:, 1:2], "one by one": lambda x: x[1:2, 1:2],
    "none": lambda x: x[:0], "none, turned": lambda x: x[:, :0].T, "number": lambda x: x[1, 1],
    "new axis": lambda x: x[:, None]}


@pytest.mark.parametrize("dtype", ["f4", "f8", "i8", "?"])
def test_buffers_are_numpys(dtype):
    a = np.arange(12).reshape(3, 4).astype(dtype)
    a.flags.writeable = False
    for name, lay in {**LAYOUTS, "broadcast": None}.items():
        x = Tensor(a).sum().expand(1000) if lay is None else lay(Tensor(a))
        y = np.broadcast_to(np.asarray(x)[0], 1000) if lay is None else lay(a)
        if not isinstance(y, np.ndarray):
            y = np.asarray(y)
            y.flags.writeable = False
        assert np.asarray(x).tolist() == y.tolist(), name
        for flags in FLAGS:
            assert granted(x, flags) == granted(y, flags), (name, hex(flags))


def test_a_buffer_keeps_its_geometry():
    x, view = Tensor(np.arange(4.0)), Buffer()
    GetBuffer(x, ctypes.byref(view), STRIDES)
    x.data = Tensor(7.0, dtype="float64").expand(4)
    assert view.strides[0] == 8 and ctypes.cast(view.buf, ctypes.POINTER(ctypes.c_double))[3] == 3.0
    Release(ctypes.byref(view))


# ----- objects half made ---------------------------------------------------------------------------------------------

UNMADE = """
import contextlib, gc, importlib, pkgutil
import numpy as np
import microgradx as mgx
from microgradx import Tensor, Value, _core
classes = set()
for found in pkgutil.walk_packages(_core.__path__, "microgradx._core."):
    module = importlib.import_module(found.name)
    if not module.__file__.endswith(".py"):
        classes |= {o for o in vars(module).values() if isinstance(o, type) and o.__module__ == module.__name__
                    and not o.__flags__ & 1 << 9}           # those that C defines
names = sorted(o.__name__ for o in classes)
for name in ("Tensor", "Value", "Array", "Node", "Window", "Differentiable", "SymbolicFloat", "Program", "Tape",
             "Compiled"):
    assert name in names, (name, names)
ARGUMENTS = [(), (1,), (1.0,), ("a",), (None,), ([1.0, 2.0],), (1, 2), (1.0, 2.0, 3.0), (Tensor([1.0, 2.0]),),
             ([Tensor(1.0)], 3, []), (np.ones(3), 3, [np.ones(3)])]
SKIPPED = {"__class__", "__new__", "__init_subclass__", "__subclasshook__", "__getattribute__", "__doc__", "__dir__"}
called = made = 0
for o in sorted(classes, key=lambda o: o.__name__):
    for arguments in [(), (3,), (None,), ([1.0],)]:
        for name in sorted(set(dir(o)) - SKIPPED):
            for given in ARGUMENTS + ["itself"]:
                try:
                    x = o.__new__(o, *arguments)
                except Exception:
                    continue
                made += 1
                with contextlib.suppress(Exception):
                    method = getattr(x, name)
                    if callable(method):
                        called += 1
                        method(*((x,) if given == "itself" else given))
                    else:
                        setattr(x, name, 1)
                with contextlib.suppress(Exception): repr(x)
                for y in (x, Tensor([1.0]), 2.0):
                    for step in (lambda: x + y, lambda: y * x, lambda: mgx.where(x, y, x), lambda: np.asarray(x) + 1,
                                 lambda: x.sum(), lambda: x @ y, lambda: mgx.grad(lambda z: z * x)(1.0).backward()):
                        if name == "__repr__" or name == "__init__":
                            with contextlib.suppress(Exception): step()
                del x
gc.collect()
assert made > 500 and called > 300, (made, called)

# a Tensor and a Value have their shape and links as long as they are seen
assert Tensor.__new__(Tensor).shape == (0,)             # Tensor() is empty, as torch's
try: Value.__new__(Value)
except TypeError: pass
else: raise AssertionError("an unmade Value")
for cls in (Tensor, Value):
    x = cls(1.0)
    try: x.__init__([1.0] * 1000) if cls is Tensor else x.__init__(1.0, (x,))
    except RuntimeError: pass
    else: raise AssertionError(f"a {cls.__name__} made twice")
class Late:
    def __array__(self, dtype=None, copy=None):
        for o in gc.get_objects():
            if type(o) is Tensor and o.size == 0: o.__init__(np.ones(4096))
        return np.ones(2)
assert Tensor(Late()).shape == (2,)
"""


def test_unmade_objects(tmp_path):
    run(UNMADE, tmp_path)


def test_finalizers_at_every_allocation():
    path = Path(__file__).with_name("collected.py")
    done = subprocess.run([sys.executable, "-X", "faulthandler", str(path)], capture_output=True, text=True,
                          timeout=600, env=os.environ | {"PYTHONPATH": PACKAGE, "MALLOC_PERTURB_": "165"})
    assert done.returncode == 0 and "finalizers" in done.stdout, (done.stdout[-300:], done.stderr[-2000:])


def test_a_replay_of_values_checks_its_arguments(tmp_path):
    run("""
import numpy as np
from microgradx import Value
from microgradx._core.scalar.tape import Tape
from microgradx._core.trees import flatten
w = Value(2.0)
tape = Tape("test", lambda x, y: w * x + y, flatten((None, None))[1], [True, True])
out = [np.empty(3)]
def refused(*args):
    try: tape.sweep(*args)
    except TypeError: return
    raise AssertionError(args)
tape.sweep([np.ones(3), np.ones(3)], 3, out)
assert out[0].tolist() == [3.0] * 3
refused([np.ones(3), np.ones(3)], 3000, [np.empty(3000)])
refused([np.ones(3000), np.ones(3000)], 3000, [np.empty(3)])
refused([np.ones(3)], 3, out)
refused([np.ones(3, "f4"), np.ones(3)], 3, out)
refused([np.ones(3), np.ones(3)], 3, [])
refused([np.ones(3), np.ones(3)], -5, out)
""", tmp_path)


class Emptying:
    """Stands for a dtype, and takes all out of a list when it is asked which."""
    def __init__(self, numbers):
        self.numbers = numbers

    @property
    def dtype(self):
        self.numbers.clear()
        return np.dtype("float32")


@pytest.mark.parametrize("make", [mgx.tensor, mgx.Tensor, mgx.as_tensor], ids=["tensor", "Tensor", "as_tensor"])
@pytest.mark.parametrize("nested", [False, True])
def test_a_list_that_its_dtype_empties(make, nested):
    numbers = [[1.0] * 3 for _ in range(100_000)] if nested else [1.0] * 100_000
    try:
        assert make(numbers, dtype=Emptying(numbers)).size == 0
    except mgx.errors.Error:
        assert not numbers
