"""Every operation against values recorded from torch, and from mpmath where torch loses digits."""
import numpy as np
import pytest
from recorded import cases, check

import microgradx as mgx

CASES = {case["id"]: case for case in cases()}
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
    check(CASES[name], run)
