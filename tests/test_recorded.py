"""Every operation against values recorded from torch, and from mpmath where torch loses digits."""
import numpy as np
import pytest
from recorded import cases

import microgradx as mgx

CASES = {case["id"]: case for case in cases()}
TOLERANCE = {"float64": dict(rtol=1e-12, atol=1e-12), "float32": dict(rtol=1e-5, atol=1e-5)}
SECOND = {"float64": dict(rtol=1e-10, atol=1e-10), "float32": dict(rtol=2e-4, atol=2e-4)}
MANY = {"concat", "stack"}                                       # take a sequence of tensors
FUNCTIONS = {"matmul": lambda a, b: a @ b, "transpose": lambda a, i, j: a.transpose(i, j)}


def key_of(items):
    """A recorded index as a Python one."""
    plain = {"...": ..., "newaxis": None}
    kinds = {"slice": lambda v: slice(*v), "ints": lambda v: np.array(v, np.int64),
             "bools": lambda v: np.array(v, bool)}
    return tuple(plain[i] if isinstance(i, str) else kinds[next(iter(i))](*i.values()) if isinstance(i, dict) else i
                 for i in items)


def run(case, xs):
    """The operation on tensors; a list of outputs."""
    op, kwargs = case["op"], dict(case["kwargs"])
    for name in ("axis", "ord", "sizes", "shape"):
        if isinstance(kwargs.get(name), list):
            kwargs[name] = tuple(kwargs[name])
    if kwargs.get("ord") in ("inf", "-inf"):
        kwargs["ord"] = float(kwargs["ord"])
    if case["kind"] == "expression":
        words = {name: getattr(mgx, name) for name in ("where", "sqrt", "log", "exp", "reciprocal", "matmul")}
        names = ("a", "b") if op == "matmul" else ("x",)
        result = eval(kwargs["expression"], words | dict(zip(names, xs)))
    elif op == "getitem":
        result = xs[0][key_of(kwargs["index"])]
    elif op in MANY:
        result = getattr(mgx, op)(xs, **kwargs)
    elif op == "einsum":
        result = mgx.einsum(kwargs["equation"], *xs)
    elif op in ("linear", "cross_entropy"):
        result = getattr(mgx.nn.functional, op)(*xs, **kwargs)
    elif op == "pad":
        result = mgx.pad(xs[0], [tuple(w) for w in kwargs["pad_width"]], kwargs["value"])
    elif op in ("gather", "scatter_add"):
        result = getattr(xs[0], op)(kwargs["axis"], *xs[1:])
    elif op == "permute":
        result = xs[0].permute(*kwargs["axes"])
    elif op == "where":
        result = mgx.where(*xs)
    elif "axis" in kwargs or "k" in kwargs or "ddof" in kwargs:
        result = getattr(xs[0], op)(*xs[1:], **kwargs)
    else:
        result = getattr(xs[0], op)(*xs[1:], *kwargs.values())
    return list(result) if isinstance(result, tuple) else [result]


@pytest.mark.parametrize("name", CASES)
def test_case(name):
    case = CASES[name]
    dtype = case["dtype"]
    wants = case.get("grads") is not None
    xs = [mgx.Tensor(x, requires_grad=wants and g and x.dtype.kind == "f")
          for x, g in zip(case["inputs"], case["grad"])]
    ys = run(case, xs)
    assert len(ys) == len(case["outputs"])
    for y, truth in zip(ys, case["outputs"]):
        assert y.shape == truth.shape and y.dtype == truth.dtype
        np.testing.assert_allclose(y.detach().numpy(), truth, **TOLERANCE[dtype])
    if not wants:
        return
    order = "grads2" in case
    floats = [y for y in ys if y.dtype.kind == "f"]
    cotangents = [mgx.Tensor(c, requires_grad="jvp" in case) for c in case["cotangents"]]
    total = sum((y * c).sum() for y, c in zip(floats, cotangents))
    total.backward(create_graph="jvp" in case)
    grads = [x.grad for x in xs]
    for x, g, truth in zip(xs, grads, case["grads"]):
        if truth is not None:
            assert g.dtype == x.dtype
            np.testing.assert_allclose(g.detach().numpy(), truth, **TOLERANCE[dtype])
    if "jvp" not in case:
        return
    for t in xs + cotangents:
        t.grad = None
    again = sum((g * w).sum() for g, w, truth in zip(grads, map(as_tensor, case["weights"]), case["grads"])
                if truth is not None)
    again.backward()
    for c, truth in zip(cotangents, case["jvp"]):
        np.testing.assert_allclose(zero_if_none(c), truth, **SECOND[dtype])
    if order:
        for x, truth in zip(xs, case["grads2"]):
            if truth is not None:
                np.testing.assert_allclose(zero_if_none(x), truth, **SECOND[dtype])


def as_tensor(array):
    return None if array is None else mgx.Tensor(array)


def zero_if_none(x):
    return np.zeros(x.shape) if x.grad is None else x.grad.detach().numpy()
