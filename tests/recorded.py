"""Reads the recorded cases of tests/data, whose README tells the formats, and compares with them."""
import json
import math
from pathlib import Path

import numpy as np

import microgradx as mgx

DATA = Path(__file__).parent / "data"


def cases(file="torch_cases.npz"):
    """Every recorded case of a file, with arrays in place of references."""
    data = np.load(DATA / file)
    pools = {name: data[name] for name in data.files if name != "index"}

    def fetch(ref):
        if ref is None:
            return None
        name, offset, shape = ref
        return pools[name][offset:offset + math.prod(shape)].reshape(shape)

    for case in map(json.loads, data["index"]):
        for key in ("inputs", "outputs", "cotangents", "grads", "weights", "grads2", "jvp"):
            if key in case:
                case[key] = [fetch(ref) for ref in case[key]]
        yield case


def error_in_ulp(got, hi, lo):
    """Distance of ``got`` (float32 or float64, finite) from the true value hi + lo * spacing(hi), in its own ulp."""
    grid = np.spacing(np.abs(hi.astype(got.dtype))).astype(np.float64)
    return np.abs((got.astype(np.float64) - hi) - lo * np.spacing(np.abs(hi))) / grid


TOLERANCE = {"float64": dict(rtol=1e-12, atol=1e-12), "float32": dict(rtol=1e-5, atol=1e-5)}
SECOND = {"float64": dict(rtol=1e-10, atol=1e-10), "float32": dict(rtol=2e-4, atol=2e-4)}


def check(case, run):
    """Values, gradients and second-order gradients of ``run(case, tensors)``, a list, are the recorded ones."""
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
