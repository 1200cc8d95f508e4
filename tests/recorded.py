"""Reads the recorded cases of tests/data; its README tells the formats."""
import json
import math
from pathlib import Path

import numpy as np

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
