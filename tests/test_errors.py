"""Bad input: each is refused with the class and the words that a user needs, or gives right numbers."""
import contextlib
import inspect
import math
import os
import re
import signal
import subprocess
import sys
import threading
import warnings
from types import FunctionType
from pathlib import Path

import numpy as np
import pytest

import microgradx as mgx
from microgradx import Tensor, data, errors, nn, optim
from microgradx.errors import ArgumentError

PACKAGE = str(Path(mgx.__file__).resolve().parents[1])
ones = lambda *shape, dtype="f8": Tensor(np.ones(shape, dtype))
leaf = lambda *shape: Tensor(np.ones(shape), requires_grad=True)
F = mgx.nn.functional
CE = F.cross_entropy

SHAPES = [                                              # (call, words): a ShapeError that is a ValueError
    (lambda: ones(2, 3) + ones(4), r"add: shapes \(2, 3\) and \(4,\) do not broadcast \(3 != 4"),
    (lambda: ones(2, 3).maximum(ones(4, 1)), r"maximum: shapes \(2, 3\) and \(4, 1\) do not broadcast \(2 != 4"),
    (lambda: mgx.where(ones(3) > 0, ones(2), 0.0), r"where: shapes \(3,\) and \(2,\) do not broadcast \(3 != 2"),
    (lambda: ones(3) > ones(2), r"gt: shapes \(3,\) and \(2,\)"),
    (lambda: ones(2, 3) @ ones(4, 5), r"matmul: shapes \(2, 3\) and \(4, 5\) do not align \(3 != 4\)"),
    (lambda: ones(3) @ ones(4), r"matmul: shapes \(3,\) and \(4,\) do not align \(3 != 4\)"),
    (lambda: ones(2, 3, 4) @ ones(5, 4, 2), r"matmul: leading axes of \(2, 3, 4\) and \(5, 4, 2\) .*\(2 != 5\)"),
    (lambda: ones() @ ones(2), r"matmul: shapes \(\) and \(2,\)"),
    (lambda: F.linear(ones(2, 3), ones(5, 4)), r"linear: shapes \(2, 3\) and \(5, 4\) do not align \(3 != 4\)"),
    (lambda: F.linear(ones(2, 3), ones(5, 3), ones(4)), r"linear: weight \(5, 3\) and bias \(4,\)"),
    (lambda: ones(2).outer(ones(2, 2)), r"outer: shapes \(2,\) and \(2, 2\)"),
    (lambda: mgx.einsum("ij,jk", ones(2, 3), ones(4, 5)), r"einsum: .*'j' is 3 and 4"),
    (lambda: mgx.einsum("ij", ones(2)), r"einsum: 'ij' does not name the 1 axes of operand 0"),
    (lambda: ones(2, 3).reshape(4, 2), r"reshape: shape \(2, 3\) does not fit \(4, 2\) \(6 != 8\)"),
    (lambda: ones(2, 3).reshape(-1, 4), r"reshape: .*\(6 != 4\)"),
    (lambda: ones(2, 3).reshape(-1, -1), r"reshape: .*-1 once"),
    (lambda: ones(2).reshape(-2), r"reshape: .*negative"),
    (lambda: ones(2, 3).expand(2, 4), r"expand: shape \(2, 3\) .*\(3 != 4\)"),
    (lambda: ones(2, 3).expand(3), r"expand: "),
    (lambda: ones(2).expand(-1, 2).expand(-1, 2, 2), r"expand: .*negative"),
    (lambda: ones(2, 3).permute(0, 0), "permute: .*(twice|once)"), (lambda: ones(2, 3).permute(0), "permute: "),
    (lambda: mgx.concat([ones(2, 3), ones(3, 2)]), r"concat: shapes \(2, 3\) and \(3, 2\)"),
    (lambda: mgx.concat([]), "concat: "), (lambda: mgx.concat([1, 2]), "concat: of tensors without axes"),
    (lambda: mgx.zeros(0).reshape(0, -1), r"reshape: shape \(0,\) to \(0, -1\): any length"),
    (lambda: mgx.zeros(0, 3).reshape(-1, 0), r"reshape: .* any length"),
    (lambda: mgx.stack([ones(2), ones(3)]), r"stack: shapes \(2,\) and \(3,\)"), (lambda: mgx.stack([]), "stack: "),
    (lambda: ones(5).split(0), "split: "), (lambda: ones(5).split([2, 2]), r"split: pieces \(2, 2\) .*length 5"),
    (lambda: mgx.pad(ones(2), [(1, 1), (1, 1)]), "pad: "), (lambda: mgx.pad(ones(2), (-1, 0)), "pad: .*negative"),
    (lambda: ones(2).gather(0, mgx.tensor([[0]])), r"gather: .*\(2 != 1\)"),
    (lambda: ones(2, 2).gather(0, mgx.tensor([[0, 0, 0]])), r"gather: index of shape \(1, 3\) exceeds shape \(2, 2\)"),
    (lambda: ones(2).scatter_add(0, mgx.tensor([0, 1]), ones(1)), r"scatter_add: .*\(2,\).*\(1,\)"),
    (lambda: ones(2).triu(), r"triu: .*\(2,\)"), (lambda: ones(2, 0).amax(), r"amax: of no elements, shape \(2, 0\)"),
    (lambda: ones(0).argmax(), "argmax: of no elements"), (lambda: ones(0, 2).max(0), "max: of no elements"),
    (lambda: CE(ones(2, 3), mgx.tensor([0])), r"cross_entropy: logits \(2, 3\) and labels \(1,\)"),
    (lambda: CE(ones(3), mgx.tensor([0])), "cross_entropy: "), (lambda: ones(2).item(), r"item: .*\(2,\)"),
    (lambda: bool(ones(2)), r"bool: .*\(2,\)"), (lambda: bool(ones(0)), "bool: "),
    (lambda: leaf(2).backward(), r"backward: .*\(2,\).*gradient="),
    (lambda: (leaf(2) * 1).backward(ones(3)), r"backward: gradient of shape \(3,\) .*\(2,\)"),
    (lambda: setattr(leaf(2), "grad", ones(3)), r"grad: .*\(3,\).*\(2,\)"),
    (lambda: setattr(leaf(2), "data", ones(3)), r"data: .*\(3,\).*\(2,\)"),
    (lambda: Tensor([[1.0], [2.0, 3.0]]), "Tensor: .*inhomogeneous"),
    (lambda: Tensor(np.ones((1,) * 33)), "at most 32 axes, not 33"),
    (lambda: ones(*(1,) * 32).unsqueeze(0), "at most 32 axes"),
    (lambda: ones(*(1,) * 32)[None], "index: .*at most 32 axes"),
    (lambda: ones(1).reshape((1,) * 33), "reshape: .*at most 32 axes"),
    (lambda: ones(1).expand((1,) * 33), "expand: .*at most 32 axes"),
    (lambda: mgx.stack([ones(*(1,) * 32)]), "at most 32 axes"),
    (lambda: mgx.from_numpy(np.ones((1,) * 33)), "at most 32 axes")]

AXES = ["sum", "mean", "prod", "var", "std", "amax", "amin", "max", "min", "argmax", "argmin", "logsumexp", "norm",
        "softmax", "log_softmax", "cumsum", "squeeze"]
SHAPES += [(lambda n=n, a=a: getattr(ones(2, 3), n)(axis=a), f"^{n}: axis {a} of an array with 2 axes")
           for n in AXES for a in (2, -3)]
SHAPES += [(lambda: ones(2, 3).sum((0, -2)), "sum: axis -2 is named twice"),
    (lambda: mgx.concat([ones(2)], 1), "concat: axis 1"),
           (lambda: ones(2).unsqueeze(3), "unsqueeze: axis 3"), (lambda: ones(2).transpose(0, 1), "transpose: axis 1"),
           (lambda: ones(2, 3).flatten(1, 0), "flatten: axis 1 is behind axis 0"),
           (lambda: ones().softmax(1), "softmax: axis 1")]

DTYPES = [                                              # a DTypeError that is a TypeError
    (lambda: iter(ones()), "iter: "), (lambda: len(ones()), "len: "),
    (lambda: ones(2) @ ones(2, dtype="f4"), "matmul: dtypes float64 and float32 do not mix"),
    (lambda: mgx.tensor([1]) @ ones(1), "matmul: dtypes int64 and float64 do not mix"),
    (lambda: F.linear(ones(2, 3), ones(4, 3, dtype="f4")), "linear: dtypes float64, float32"),
    (lambda: ones(2) + "a", "add: .*str 'a'"), (lambda: None * ones(2), "mul: .*NoneType"),
    (lambda: ones(2) / 1j, "div: .*complex"),
    (lambda: ones(2) + np.array(["a"]), "<U1"), (lambda: ones(2) + np.array([None]), "object"),
    (lambda: ones(2) + np.ones(2, complex), "complex128"), (lambda: ones(2) + mgx.Value(1.0), "add: .*Value"),
    (lambda: Tensor("a"), "Tensor: .*<U1"), (lambda: Tensor(["a", "b"]), "<U1"), (lambda: Tensor(None), "object"),
    (lambda: Tensor([None, 1.0]), "object"), (lambda: Tensor(1j), "complex128"), (lambda: Tensor({"a": 1}), "object"),
    (lambda: Tensor(np.array(["2020-01-01"], "M8[D]")), "datetime64"),
    (lambda: Tensor(np.ones(1, "m8[s]")), "timedelta64"),
    (lambda: Tensor(b"a"), "S1"), (lambda: Tensor(np.zeros(1, [("x", "f8")])), "x"),
    (lambda: mgx.tensor(2**63), "int64"),
    (lambda: Tensor([1.0], dtype="f2"), "dtype is float32, float64, int64 or bool, not 'f2'"),
    (lambda: Tensor([1.0], dtype=complex), "dtype is"), (lambda: ones(1).astype("S3"), "dtype is"),
    (lambda: mgx.tensor([1, 2], requires_grad=True), "only floats .*int64"),
    (lambda: mgx.tensor([True]).requires_grad_(), "only floats .*bool"),
    (lambda: mgx.from_numpy([1.0]), "from_numpy: .*list"),
    (lambda: mgx.from_numpy(np.ones(2, ">f8")), "from_numpy|dtype"),
    (lambda: mgx.from_numpy(np.ones(2, "i4")), "int32"),
    (lambda: ones(2).sum(axis=1.0), "sum: an axis is an integer, not 1.0"),
    (lambda: ones(2).reshape(2.0), "reshape: .*2.0"), (lambda: ones(2).gather(0, ones(2)), "gather: .*int64.*float64"),
    (lambda: CE(ones(2, 3), ones(2)), "cross_entropy: .*float64"),
    (lambda: CE(mgx.tensor([[1, 2]]), mgx.tensor([0])), "cross_entropy: .*int64"),
    (lambda: mgx.cat(5), "concat: of a list of tensors, not int"), (lambda: mgx.stack(None), "stack: .* not NoneType"),
    (lambda: mgx.set_printoptions(precision="a"), "set_printoptions: precision"),
    (lambda: mgx.einsum(5), "einsum: .*int"),
    (lambda: F.relu([1.0]), "relu: of a Tensor, not list"), (lambda: F.gelu(None), "gelu: of a Tensor, not NoneType"),
    (lambda: F.softmax("a"), "softmax: of a Tensor, not str"), (lambda: nn.Tanh()([1.0]), "Tanh: .*list"),
    (lambda: F.mse_loss([1.0], [1.0]), "mse_loss: the prediction is a Tensor, not list"),
    (lambda: ones(2) // "a", "str|Tensor"), (lambda: ones(2).var(ddof="a"), "var: ddof is a real number, not 'a'"),
    (lambda: mgx.isclose(ones(2), ones(2), rtol="a"), "isclose: rtol is a real number"),
    (lambda: mgx.Value(1.0, None), "Value: children"), (lambda: round(ones(2), "a"), "round: ndigits .*'a'"),
    *((lambda op=op: getattr(mgx.tensor([True, False]), f"__i{op}__")(1), f"{op}_: .*not stored as bool")
      for op in ("add", "sub", "mul")),
    (lambda: mgx.tensor([True]).__isub__(mgx.tensor([True])), "sub_: .*not stored as bool"),
    (lambda: setattr(leaf(1), "grad", 1.0), "grad: .*float"), (lambda: mgx.tensor([1, 2])**-1, "pow: .*negative")]

INDICES = [                                             # an IndexError
    (lambda: ones(2)[2], r"index: shape \(2,\): .*2 is out of bounds"), (lambda: ones(2)[-3], "-3"),
    (lambda: ones()[0], "0-dimensional"),
    (lambda: ones(2, 3)[0, 0, 0], "too many"), (lambda: ones(2)[[0, 5]], "5 is out of bounds"),
    (lambda: ones(2)[1.0], "integers"),
    (lambda: ones(2)["a"], "integers"), (lambda: ones(2)[np.array([True, False, True])], "boolean"),
    (lambda: ones(2)[[0.5]], "integer"),
    (lambda: ones(3)[[0, 1], [0]], "too many|shape mismatch"), (lambda: ones(3, 3)[[0, 1], [0, 1, 2]], "broadcast"),
    (lambda: ones(2).gather(0, mgx.tensor([2])), "gather: index 2 is out of range for axis 0 of length 2"),
    (lambda: ones(2).gather(0, mgx.tensor([-3])), "gather: index -3 "),
    (lambda: ones(2).scatter_add(0, mgx.tensor([9]), ones(1)), "scatter_add: index 9 "),
    (lambda: CE(ones(2, 3), mgx.tensor([0, 3])), "cross_entropy: label 3 of row 1 .*3 classes"),
    (lambda: CE(ones(2, 3), mgx.tensor([-1, 0])), "label -1 of row 0"),
    (lambda: CE(ones(1, 3), mgx.tensor([2**62])), "label 4611686018427387904"),
    (lambda: ones(2).__setitem__(7, 0.0), "setitem|index: .*7")]

OPTIONS = [                                             # an OptionError that is a ValueError
    (lambda: mgx.einsum("ij,jk", ones(1, 1)), "einsum: .*2 operands, 1"),
    (lambda: mgx.einsum("i->ii", ones(1)), "einsum"),
    (lambda: mgx.einsum("i->j", ones(1)), "'j'"), (lambda: mgx.einsum("i?", ones(1, 1)), "einsum"),
    (lambda: ones(2).clip(), "clip"),
    (lambda: F.one_hot([0, 1], 1.5), "one_hot: .*1.5"),
    (lambda: nn.Linear(2**61, 1), "Linear: "), (lambda: nn.Linear(2**64, 1), "Linear: "),
    (lambda: nn.Embedding(2**61, 3), "Embedding: "), (lambda: mgx.save(ones(1), ""), "save: the path is empty"),
    (lambda: CE(ones(1, 2), mgx.tensor([0]), "average"), "average"), (lambda: ones(1).sum(0, dim=0), "two names")]

GRAPHS = [                                              # a GraphError that is a RuntimeError
    *((lambda call=call: call(leaf()), words) for call, words in (
        (lambda t: ones(3).var(ddof=t), "var: ddof is a plain number"),
        (lambda t: ones(3).norm(t), "norm: ord is a plain number"),
        (lambda t: F.layer_norm(ones(2, 3), 3, eps=t), "layer_norm: eps is a plain number"),
        (lambda t: F.rms_norm(ones(2, 3), 3, eps=t), "rms_norm: eps is a plain number"),
        (lambda t: F.group_norm(ones(2, 4), 2, eps=t), "group_norm: eps is a plain number"),
        (lambda t: F.batch_norm(ones(2, 3), None, None, training=True, eps=t), "batch_norm: eps is a plain number"),
        (lambda t: F.batch_norm(ones(2, 3), ones(3), ones(3), training=True, momentum=t),
         "batch_norm: momentum is a plain number"),
        (lambda t: F.instance_norm(ones(2, 3, 4), eps=t), "instance_norm: eps is a plain number"),
        (lambda t: F.instance_norm(ones(2, 3, 4), ones(3), ones(3), momentum=t),
         "instance_norm: momentum is a plain number"),
        (lambda t: mgx.isclose(ones(2), ones(2), atol=t), "isclose: atol is a plain number"))),
    (lambda: mgx.grad(lambda t: F.batch_norm(ones(2, 3), ones(3), ones(3), training=True, momentum=t).sum())(0.5),
     "batch_norm: momentum"),
    (lambda: mgx.detect_nan().__exit__(None, None, None), "has not entered"),
    (lambda: mgx.no_grad().__exit__(None, None, None), "has not entered"),
    (lambda: ones(1).backward(), "backward: .*no graph"), (lambda: (leaf(1) > 0).backward(), "no graph"),
    (lambda: leaf(1).detach().backward(), "no graph"), (lambda: setattr(leaf(1) * 2, "data", ones(1)), "data: .*leaf"),
    (lambda: leaf(1).__init__([1.0]), "already made"), (lambda: ones(1).register_hook(print), "register_hook")]

TABLE = [(call, kind, words) for kind, rows in (
    (errors.ShapeError, SHAPES), (errors.DTypeError, DTYPES), (errors.IndexError_, INDICES),
    (errors.OptionError, OPTIONS), (errors.GraphError, GRAPHS)) for call, words in rows]


IDS = [f"{kind.__name__}-{k}" for kind in dict.fromkeys(row[1] for row in TABLE)
       for k in range(sum(row[1] is kind for row in TABLE))]


@pytest.mark.parametrize("call, kind, words", TABLE, ids=IDS)
def test_refused(call, kind, words):
    with pytest.raises(kind, match=words):
        call()


def test_the_tree_of_errors():
    for kind, builtin in ((errors.ShapeError, ValueError), (errors.DTypeError, TypeError),
                          (errors.IndexError_, IndexError), (errors.OptionError, ValueError),
                          (errors.GraphError, RuntimeError)):
        assert issubclass(kind, builtin) and issubclass(kind, errors.Error)


def test_a_refusal_leaves_nothing_behind():
    x, y = leaf(2, 3), ones(4, 5)
    version = x.version
    for call in (lambda: x @ y, lambda: x + y, lambda: x.reshape(7), lambda: x[5], lambda: mgx.concat([x, y])):
        with pytest.raises((ValueError, IndexError)):
            call()
    assert x.version == version and x.grad is None and x.is_leaf and mgx.is_grad_enabled()
    x.sum().backward()
    assert (x.grad.numpy() == 1.0).all()


# ----- sizes ---------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("call", [
    lambda x: x.expand(2**21, 2**21) + 1.0, lambda x: x.expand(2**31, 2**31) * x,
    lambda x: x.expand(2**21, 2**21).clone(),
    lambda x: x.expand(2**42).contiguous(), lambda x: x.expand(2**21, 1) @ x.expand(1, 2**21),
    lambda x: mgx.pad(x, (2**50, 0)), lambda x: mgx.pad(x, (2**61, 2**61)),
    lambda x: x.expand(2**42).cumsum(0)], ids=range(8))
def test_too_large(call):
    """MemoryError at once; nothing is recorded or changed."""
    x = Tensor(np.ones(1), requires_grad=True)
    with pytest.raises(MemoryError):
        call(x)
    assert x.grad is None and x.tolist() == [1.0] and mgx.is_grad_enabled()
    (x * 2).sum().backward()
    assert x.grad.tolist() == [2.0]


@pytest.mark.parametrize("shape", [(2**32, 2**32), (2**32, 2**31), (2**62, 2), (2**31, 2**31, 2**31)], ids=str)
def test_the_product_of_a_shape_overflows(shape):
    """A view of no memory may not have a size beyond the machine's integers, where it would count as empty."""
    with pytest.raises((MemoryError, ValueError)):
        ones(1).expand(shape)
    with pytest.raises((MemoryError, ValueError)):
        ones(1).reshape(shape)


# ----- a crash would take the tests along: in interpreters of their own ----------------------------------------------

@pytest.mark.parametrize("code", [
    "x = mgx.Tensor.__new__(mgx.Tensor); x.version",
    "x = mgx.Tensor.__new__(mgx.Tensor); x + 1", "repr(mgx.Tensor.__new__(mgx.Tensor))",
    "x = mgx.Tensor.__new__(mgx.Tensor); x.backward()", "x = mgx.Tensor.__new__(mgx.Tensor); np.asarray(x)",
    "x = mgx.Tensor.__new__(mgx.Tensor); x.requires_grad = True; x.fill_(3)", "mgx.Value.__new__(mgx.Value).backward()",
    "x = mgx.Value(1.0)\nfor _ in range(3): x.__init__(2.0, (x, x, x))\nx.backward()", "mgx.Tensor(mgx.Tensor)",
    "mgx.Value(mgx.Value)",
    "a = [1.0]\nfor _ in range(40): a = [a]\nmgx.Tensor(a)", "a = []\na.append(a)\nmgx.Tensor(a)",
    "mgx.einsum('a' * 10000, mgx.Tensor([1.0]))",
    "class L(list):\n    def __len__(self): return 2**60\nmgx.dot(L(), L())", "mgx.Tensor([1.0]).permute(2**70)",
    "mgx.Tensor([1.0])[2**70]",
    "mgx.Tensor([1.0]).sum(axis=2**40)", "mgx.Tensor([1.0]).reshape(2**70)", "mgx.Tensor([[1, 2]]) % 0",
    "mgx.Tensor([-2**63]) / -1",
    "mgx.Tensor([-2**63]).remainder(-1)", "mgx.Tensor([-2**63]).abs()", "mgx.Tensor([1]) + 2**70", "mgx.Value(10**400)",
    "mgx.Tensor([1.0]) + 10**400", "mgx.concat(mgx.Tensor([1.0, 2.0]))", "mgx.concat(3)",
    "mgx.pad(mgx.Tensor([1.0]), 3)",
    "mgx.Tensor([1.0, 2.0]).split([2**63, 1])", "mgx.Tensor([1.0]).expand(2**62, 2**62).sum()",
    "x = mgx.Tensor([1.0], requires_grad=True)\nx.grad = x\nx.sum().backward()", "mgx.Tensor([1.0]).gather(0, [2**62])",
    "x = mgx.Tensor([1.0], requires_grad=True)\ny = x * 2\ny.grad = y\ny.sum().backward()"])
def test_nothing_crashes(code):
    """A result or a Python exception, but no signal."""
    script = ("import numpy as np, microgradx as mgx, sys\ntry:\n    exec(sys.argv[1])\n"
              "except Exception as e: print(type(e).__name__)\nprint('alive', mgx.Tensor([1.0]).sum().item())")
    done = subprocess.run([sys.executable, "-c", script, code], capture_output=True, text=True, timeout=60,
                          env=os.environ | {"PYTHONPATH": PACKAGE})
    assert done.returncode == 0 and "alive 1.0" in done.stdout, (done.returncode, done.stderr[-500:])


# ----- right results from unusual memory -----------------------------------------------------------------------------

def unaligned(a):
    return np.frombuffer(b"x" + a.tobytes(), np.uint8)[1:].view(a.dtype).reshape(a.shape)


def read_only(a):
    a = a.copy()
    a.flags.writeable = False
    return a


LAYOUTS = {"big-endian": lambda a: a.astype(a.dtype.newbyteorder(">")), "unaligned": unaligned, "read-only": read_only,
           "reversed": lambda a: a[::-1, ::-1].copy()[::-1, ::-1], "F-ordered": np.asfortranarray,
           "turned": lambda a: a.T.copy().T,
           "strided": lambda a: np.repeat(np.repeat(a, 3, 0), 2, 1)[::3, ::2],
           "field": lambda a: np.rec.fromarrays([np.zeros(a.shape, "i1"), a], names="p,x").x,
           "memmap": lambda a: np.asarray(memoryview(a)),
           "matrix": lambda a: np.ma.asarray(a), "subclass": lambda a: a.view(np.recarray)}


@pytest.mark.parametrize("dtype", ["f4", "f8", "i4", "i8", "u2", "f2"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_layouts(layout, dtype):
    a = (np.arange(30).reshape(5, 6) - 11 * (dtype[0] != "u")).astype(dtype)
    b = LAYOUTS[layout](a)
    x = Tensor(b)
    np.testing.assert_array_equal(x.numpy(), a)
    y = Tensor(a)
    for f in (lambda t: t * 2, lambda t: t.sum(0), lambda t: t.amax(1), lambda t: t.exp(), lambda t: t[1:, ::2],
    lambda t: t.T.reshape(-1)):
        assert f(x).numpy().tobytes() == f(y).numpy().tobytes()
    for y in (ones(5, 6) + b, b + ones(5, 6)):
        assert (type(y) is Tensor or layout == "matrix") and (np.asarray(y) == 1.0 + a).all()   # np.ma goes first
    np.testing.assert_array_equal(np.asarray(b), a)


@pytest.mark.parametrize("layout", [k for k in LAYOUTS if k not in ("big-endian", "unaligned", "field")])
def test_shared_layouts_multiply(layout):
    """Products, kernels and gradients read foreign memory where it lies."""
    a = np.random.default_rng(1).standard_normal((5, 6))
    x = mgx.from_numpy(np.asarray(LAYOUTS[layout](a))).requires_grad_()
    np.testing.assert_allclose((x @ x.T).detach().numpy(), a @ a.T, rtol=1e-14)
    (x * x + x.softmax(0)).sum().backward()
    np.testing.assert_allclose(x.grad.numpy(), 2 * a, atol=1e-14)


# ----- empty and 0-d -------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("shape", [(0,), (0, 3), (3, 0), (2, 0, 3)], ids=str)
def test_empty(shape):
    x = leaf(*shape)
    y = (x * 2 + x.exp()).softmax(-1).log_softmax(0).cumsum(-1)
    total = y.sum() + y.logsumexp() * 0 + x.reshape(-1).sum() + mgx.concat([x, x]).sum()
    total = total + x.T.sum() + x[..., None].sum() + x.norm()
    total.backward()
    assert x.grad.shape == shape and x.sum().item() == 0.0 and math.isnan(x.mean().item()) and x.prod().item() == 1.0
    assert x.numpy().shape == shape and repr(x) and x.tolist() == np.ones(shape).tolist() and not list(x.reshape(-1))


@pytest.mark.parametrize("a, b", [((0, 3), (3, 4)), ((4, 0), (0, 3)), ((2, 3), (3, 0)), ((0,), (0,)),
    ((5, 0, 3), (3, 2)),
                                  ((5, 2, 0), (5, 0, 3)), ((0,), (0, 4)), ((0, 2, 3), (0, 3, 2))], ids=str)
def test_products_of_nothing(a, b):
    x, y = leaf(*a), leaf(*b)
    z = x @ y
    assert z.shape == (np.ones(a) @ np.ones(b)).shape and (z.detach().numpy() == 0).all()
    z.sum().backward()
    assert x.grad.shape == a and y.grad.shape == b and not x.grad.numpy().any() and not y.grad.numpy().any()


def test_cross_entropy_of_no_rows_is_nan():
    assert math.isnan(CE(ones(0, 3), Tensor(np.zeros(0, "i8"))).item())


def test_zero_dimensions():
    x = leaf()
    y = (x * 2.0 + x.exp().sin()).sqrt().reshape(()).T.clone()
    assert y.shape == y.sum().shape == y.amax().shape == y[()].shape == y[...].shape == () and y[None].shape == (1,)
    y.backward()
    assert x.grad.shape == () and isinstance(x.grad.item(), float)
    z = x + 1.0
    z += 1.0
    z[...] = 5.0
    assert z.shape == () and z.item() == 5.0 and isinstance(z, Tensor)


# ----- nan, infinities, tiny numbers, warnings -----------------------------------------------------------------------

def test_nan_and_inf_flow():
    x = Tensor(np.array([np.nan, np.inf, -np.inf, 1.0, 1e308]), requires_grad=True)
    y = x * 2.0
    np.testing.assert_array_equal(y.detach().numpy(), [np.nan, np.inf, -np.inf, 2.0, np.inf])
    y.backward(Tensor(np.array([1.0, np.nan, np.inf, 1.0, 0.0])))
    np.testing.assert_array_equal(x.grad.numpy(), [2.0, np.nan, np.inf, 2.0, 0.0])
    assert math.isnan((ones(2) @ Tensor(np.array([np.nan, 0.0]))).item())


def test_nan_does_not_leak_into_the_branch_not_taken():
    x = Tensor(np.array([-1.0, 0.0, 4.0]), requires_grad=True)
    mgx.where(x > 0, x.sqrt(), 0.0).sum().backward()
    assert x.grad.tolist() == [0.0, 0.0, 0.25]
    v, w = mgx.Value(-1.0), mgx.Value(0.0)
    (mgx.where(v.gt(0), v.sqrt(), 0.0) + mgx.where(w.gt(0), w.log(), 1.0)).backward()
    assert v.grad == w.grad == 0.0


@pytest.mark.parametrize("exponent, truth", [(2.0, 0.0), (1.0, 1.0), (0.0, 0.0), (0.5, np.inf), (3, 0.0)])
def test_powers_at_zero(exponent, truth):
    x = Tensor(np.zeros(1), requires_grad=True)
    (x**exponent).sum().backward()
    assert x.grad.item() == truth


def tiny():
    one = Tensor(np.array([5e-324])) * 1.0
    single = Tensor(np.array([1e-45], "f4")) * 1.0
    product = Tensor(np.array([[1e-200]])) @ Tensor(np.array([[1e-110]]))
    return 5e-324 * 1.0, one.item(), float(np.float64(5e-324) * np.float64(1.0)), single.item(), product.item()


def test_subnormals_are_kept():
    """No library that was loaded flushes them, in any thread."""
    found = [tiny()]
    thread = threading.Thread(target=lambda: found.append(tiny()))
    thread.start()
    thread.join()
    for exact in found:
        assert exact[:3] == (5e-324,) * 3 and exact[3] == float(np.float32(1e-45)) > 0
        assert exact[4] == pytest.approx(1e-310)


@pytest.mark.parametrize("call", [
    lambda: Tensor([1e300]), lambda: Tensor([1e300, np.nan], dtype="float32"),
    lambda: Tensor(np.array([1e300])).astype("float32"),
    lambda: Tensor([np.nan, np.inf]).astype("int64"), lambda: Tensor(np.array([np.nan]), dtype="int64"),
    lambda: Tensor([1e30]).astype("int64"),
    lambda: mgx.tensor([1, 2]) % 0, lambda: mgx.tensor([1, 2]) / 0, lambda: mgx.tensor([1, 2]).fmod(0),
    lambda: mgx.tensor([2**62]) * 4,
    lambda: mgx.tensor([2**62])**3,
    lambda: ones(0).mean(), lambda: ones(0, 3).var(0, 0), lambda: Tensor([0.0]).log() / 0.0,
    lambda: Tensor([1e38]) * 10,
    lambda: Tensor([-1.0]).sqrt(),
    lambda: repr(Tensor([np.nan, np.inf])), lambda: ones(3).var(ddof=3), lambda: Tensor([1000.0]).exp().softmax(-1),
    lambda: Tensor([1.0]).copy_([1e300]),
    lambda: mgx.tensor([1, 2]).copy_([np.nan, 1.0]), lambda: Tensor([np.inf]).logsumexp(),
    lambda: Tensor([1.0]) + np.array([1e300])], ids=range(23))
def test_no_warnings(call):
    """IEEE arithmetic is not worth a warning."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        call()


def test_nothing_is_printed(capfd):
    for call, *_ in TABLE:
        with contextlib.suppress(Exception):
            call()
    assert capfd.readouterr() == ("", "")


def test_methods_refuse_another_self():
    """None of the methods that C defines reads foreign memory: each raises, or does not mind."""
    script = """
import sys
import microgradx as mgx
called = 0
for name, module in list(sys.modules.items()):
    if not name.startswith("microgradx._core."):
        continue
    for kind in list(vars(module).values()):
        if isinstance(kind, type) and kind.__module__ == name and not kind.__flags__ & 1 << 9:
            for method in list(kind.__dict__.values()):
                if type(method).__name__ == "cython_function_or_method":
                    for arguments in [("a",), (None,), (5, 1), ([1.0], [2.0], 3), (mgx.errors,)]:
                        try:
                            method(*arguments)
                        except TypeError as error:
                            assert "a method of" in str(error) or "argument" in str(error), error
                        else:
                            raise AssertionError(f"{method.__qualname__} of {arguments}")
                        called += 1
assert called > 500, called
try: mgx.Tensor.sum(5)
except TypeError as error: print(error)
"""
    done = subprocess.run([sys.executable, "-X", "faulthandler", "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout == "Tensor.sum: a method of microgradx._core.tensor.Tensor, called with int as self\n"


@pytest.mark.parametrize("call", [lambda: mgx.ones(2, 3) @ mgx.ones(2, 3), lambda: mgx.ones(2) & mgx.ones(2),
                                  lambda: mgx.nn.Linear(2, 3).load_state_dict({})])
def test_torch_programs_catch_them(call):
    """``except RuntimeError`` is what programs write for torch's errors of shapes, dtypes and states."""
    with pytest.raises(RuntimeError):
        call()


# ----- whatever is public, called with whatever is wrong ---------------------------------------------------------

WRONG = {
    "None": lambda: None, "an int": lambda: 5, "a text": lambda: "a", "no text": str, "an object": object, "[]": list,
    "a ragged list": lambda: [[1.0], [2.0, 3.0]], "2**61": lambda: 2**61, "2**64": lambda: 2**64, "-1": lambda: -1,
    "nan": lambda: math.nan, "complex": lambda: 1j, "a dict": lambda: {"a": 1}, "a generator": lambda: iter([1, 2]),
    "bytes": lambda: b"ab", "wrong axes": lambda: (0, 7), "1.5": lambda: 1.5, "a class": lambda: int,
    "a tensor": lambda: mgx.ones(2, 3), "a leaf": lambda: leaf(2), "integers": lambda: mgx.tensor([[1, 0]]),
    "a number": lambda: Tensor(0.5), "nothing": lambda: mgx.zeros(0), "a Value": lambda: mgx.Value(1.0),
    "texts": lambda: ["a", "b"], "a function": lambda: lambda x: x}
RIGHT = [lambda: mgx.ones(2, 3), lambda: 2, lambda: mgx.tensor([1, 0])]
SPACES = [mgx, mgx.functional, mgx.autograd, nn, F, nn.init, mgx.linalg, optim, data, mgx.random, mgx.func, mgx.utils,
          mgx.autograd.functional, mgx.special, mgx.array_api, mgx.distributions, nn.utils, nn.utils.rnn,
          nn.utils.parametrize, nn.utils.parametrizations, optim.lr_scheduler, optim.swa_utils, mgx.scalar]
# what Python itself says of the number and names of arguments, and what an object says that is no truth value
OF_PYTHON = re.compile(r"argument|expected (at least )?\d|truth value|takes no|__format__|not supported between|"
                       r"unsupported (format|operand)")
# called by a door that names them, or written and read by those who write an optimizer, a schedule or a layer
WITHIN = {"forward", "slots", "numbers", "check", "rate", "cell"}
SLOW = {"nn.Transformer", "Transformer.generate_square_subsequent_mask"}     # calls that take long, or all memory
FOREIGN = {"microgradx.dtype", "microgradx.Size", "microgradx.Count"}     # classes of NumPy's and Python's kind


class TooLong(BaseException):
    """A call of 2**61 layers, say, which would get there."""


def at_most(seconds, call, *args, **named):
    """Call, and leave the call after so long. All of it in one frame, so that no alarm finds it between two."""
    inside = [True]

    def stop(*_):
        if inside:
            raise TooLong
    before, told = signal.signal(signal.SIGALRM, stop), sys.unraisablehook
    sys.unraisablehook = lambda what: None if what.exc_type is TooLong else told(what)
    try:
        try:
            signal.setitimer(signal.ITIMER_REAL, seconds, 0.1)      # again where one is caught, or met a finalizer
            call(*args, **named)
        finally:
            inside.clear()
    except TooLong:
        inside.clear()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        sys.unraisablehook = told


def is_clear(error):
    return isinstance(error, (errors.Error, MemoryError, OSError, NotImplementedError)) or (
        type(error) is TypeError and OF_PYTHON.search(str(error)))


def instances():
    """{name: a function that makes an object whose methods are called}"""
    made = {"Tensor": lambda: mgx.ones(2, 3), "mask": lambda: mgx.tensor([True, False]), "leaf": lambda: leaf(2),
            "Value": lambda: mgx.Value(1.0)}
    parameters = lambda: [leaf(2)]
    sgd = lambda: optim.SGD(parameters(), 0.1)
    for space, attempts in ((nn, [tuple, lambda: (3,), lambda: (3, 3), lambda: (1, 3, 3)]),
                            (optim, [lambda: (parameters(),), lambda: (parameters(), 0.1), lambda: (sgd(),),
                                     lambda: (sgd(), 3)])):
        for name in space.__all__:
            cls = getattr(space, name)
            for attempt in attempts if isinstance(cls, type) else ():
                with contextlib.suppress(Exception):
                    cls(*attempt())
                    made[name] = lambda cls=cls, attempt=attempt: cls(*attempt())
                    break
    return made


def own(space):
    """What a module without a list of its names defines."""
    return [name for name, thing in vars(space).items() if getattr(thing, "__module__", None) == space.__name__]


def public():
    """{name: (what is called, its signature)}"""
    found = {}
    for space in SPACES:
        for name in getattr(space, "__all__", own(space)):
            thing = getattr(space, name)
            if callable(thing) and not name.startswith("_") and name != "show_config":
                found.setdefault(id(thing), (f"{space.__name__.removeprefix('microgradx.')}.{name}", thing, thing))
    found, seen = {name: (call, thing) for name, call, thing in found.values() if name not in SLOW | FOREIGN}, set()
    for owner, make in instances().items():
        for name in dir(type(make())):
            method = getattr(type(make()), name)
            what = id(getattr(method, "__func__", method))
            inherited = what in seen and owner not in ("mask", "leaf")
            seen.add(what)
            named = not name.startswith("_") and name not in WITHIN or name in OPERATORS
            if callable(method) and not inherited and named:
                found[f"{owner}.{name}"] = (
                    lambda *args, make=make, name=name, **named: getattr(make(), name)(*args, **named),
                    getattr(make(), name))
    return {name: value for name, value in found.items() if name not in SLOW}


OPERATORS = """__add__ __radd__ __iadd__ __isub__ __imul__ __itruediv__ __floordiv__ __mod__ __matmul__ __pow__
               __getitem__ __setitem__ __and__ __or__ __lt__ __eq__ __round__ __format__ __contains__
               __call__""".split()


def arguments(thing):
    """(what is wrong, the arguments, the named ones): one is wrong, the others are right."""
    try:
        known = list(inspect.signature(thing).parameters.values())
    except (TypeError, ValueError):
        known = []
    places = [p for p in known if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    needed = sum(p.default is p.empty for p in places)
    yield "no argument", (), {}
    for words, make in WRONG.items():
        yield words, (make(),), {}
        for right in RIGHT:
            for k in range(1, min(max(len(places), 2), 4)):
                yield words, (*[right() for _ in range(k)], make()), {}
        for p in known:
            if p.default is not p.empty and p.kind != p.POSITIONAL_ONLY:
                yield words, [RIGHT[0]() for _ in range(needed)], {p.name: make()}


PUBLIC = public()


@pytest.mark.parametrize("name", PUBLIC)
def test_errors_of_public_functions_are_ours(name, tmp_path, monkeypatch, capsys):
    """Whatever is given: a right number, or an error of microgradx, or what Python says of the arguments."""
    monkeypatch.chdir(tmp_path)
    call, thing = PUBLIC[name]
    unclear = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for words, args, named in arguments(thing):
            try:
                at_most(0.5, call, *args, **named)
            except Exception as error:
                if not is_clear(error):
                    unclear.append(f"{words} among {len(args)} {list(named)}: {type(error).__name__}: {error}"[:160])
    assert not unclear, f"{len(unclear)}: " + "\n".join(unclear[:5])
    assert name.endswith("set_grad_enabled") or mgx.is_grad_enabled()
    restore()


THREADS = mgx.get_num_threads()


def restore():
    """What a call may set for good."""
    mgx.set_num_threads(THREADS)
    mgx.set_printoptions(profile="default")
    mgx.set_default_dtype("float32")
    mgx.set_grad_enabled(True)
    mgx.autograd.set_detect_anomaly(False)


class Careless(nn.Module):
    def forward(self, x):
        return x.no_such_method()


@pytest.mark.parametrize("call, kind", [
    (lambda: mgx.grad(lambda x: x.no_such_method())(1.0), AttributeError),
    (lambda: Careless()(ones(2)), AttributeError),
    (lambda: nn.Sequential(Careless())(ones(2)), AttributeError), (lambda: mgx.grad(lambda x: {}["a"])(1.0), KeyError),
    (lambda: mgx.checkpoint(lambda x: [][1], leaf(2)), IndexError),
    (lambda: mgx.zeros(1, 2, wrong=3), errors.ArgumentError),
    (lambda: nn.Linear(1, 2, wrong=3), errors.ArgumentError),
    (lambda: mgx.tile(), errors.ArgumentError)])
def test_errors_of_the_callers_functions_and_of_wrong_names_stay_as_they_are(call, kind):
    with pytest.raises(kind) as caught:
        call()
    assert type(caught.value) is kind


def test_every_public_function_has_a_door():
    """A function or method in Python that users call is `Public`, which knows other names of its arguments and names
    its errors, but for those that are called at every step of a training. Methods of Tensor name themselves."""
    without = set()
    for space in SPACES:
        for name in getattr(space, "__all__", own(space)):
            thing = getattr(space, name)
            if thing is Tensor or isinstance(thing, type) and issubclass(thing, Exception):
                continue
            found = vars(thing) if isinstance(thing, type) else {name: thing}
            for key, function in found.items():
                function = getattr(function, "__func__", function)              # of a class method or a static one
                ours = isinstance(function, FunctionType) and function.__module__.startswith("microgradx.")
                if ours and not key.startswith("_") and not inspect.isgeneratorfunction(function):
                    without.add(f"{function.__module__.removeprefix('microgradx.')}.{function.__qualname__}")
    in_modules = {f"nn.module.Module.{name}" for name in (
        "train", "eval", "zero_grad", "parameters", "buffers", "children", "modules", "named_parameters",
        "named_buffers", "named_children")}
    in_optimizers = {f"optim.{name}" for name in ("optimizers.Optimizer.step", "optimizers.Optimizer.zero_grad",
                                                  "lbfgs.LBFGS.step")}
    assert {name for name in without if not name.endswith(".forward")} == in_modules | in_optimizers


class Wide(nn.Linear):
    def __init__(self, units, **options):
        super().__init__(units, 4 * units, **options)


@pytest.mark.parametrize("call, words", [
    (lambda: Wide(2, biass=True), "^Linear: no argument is called 'biass'; did you mean bias"),
    (lambda: F.linear(mgx.ones(2), weights=mgx.ones(2, 2)), "^linear: no argument is called 'weights'"),
    (lambda: mgx.rand(shapes=3), "^rand: no argument is called 'shapes'"),
    (lambda: nn.Embedding.from_pretrained([[1.0]], freez=True),
     "^from_pretrained: no argument is called 'freez'; did you mean freeze.* It takes embeddings, freeze, "),
    (lambda: nn.Transformer.generate_square_subsequent_mask(size=3, z=1),
     "^generate_square_subsequent_mask: no argument is called 'size'"),
    (lambda: optim.lr_scheduler.StepLR(optim.SGD([leaf(2)], lr=0.1), 1).step(epochs=3),
     "^step: no argument is called 'epochs'")])
def test_a_wrong_name_of_an_argument_is_told_by_the_function_that_takes_it(call, words):
    with pytest.raises(ArgumentError, match=words):
        call()
