"""What 0.1.0 writes: saved states and pickles, and what they are read as, in ``files-0.1.0``.

``python tests/data/record_files.py`` wrote them once. They are not written again: whatever a later version stores, it
loads these. A later format gets a folder of its own.
"""
import json
import pickle
from pathlib import Path

import numpy as np

import microgradx as mgx
from microgradx import Tensor, Value, nn, optim, scalar

FILES = Path(__file__).parent / "files-0.1.0"
OPTIMIZERS = {
    "SGD": dict(lr=0.1, momentum=0.9, nesterov=True), "RMSprop": dict(lr=0.01, momentum=0.5), "Adagrad": dict(lr=0.1),
    "Adam": dict(lr=0.01, betas=(0.8, 0.99)), "AdamW": dict(lr=0.01, weight_decay=0.1)}
SCHEDULES = {
    "StepLR": (2,), "MultiStepLR": ([1, 3],), "ExponentialLR": (0.5,), "LinearLR": (), "CosineAnnealingLR": (4,),
    "OneCycleLR": (0.5, 10), "ReduceLROnPlateau": ()}


def numbers(*shape, dtype="float32"):
    a = np.arange(np.prod(shape, dtype=int)).reshape(shape)
    return (a % 3 == 1) if dtype == "bool" else (a / 4 - 1).astype(dtype) if dtype[0] == "f" else (a - 1).astype(dtype)


def seen(x):
    """A value as JSON holds it, to the last bit."""
    if isinstance(x, Tensor):
        return {"dtype": x.dtype.name, "shape": list(x.shape), "requires_grad": x.requires_grad,
                "numbers": [repr(n) for n in x.detach().numpy().reshape(-1).tolist()]}
    if isinstance(x, Value):
        return {"value": repr(x.data), "grad": repr(x.grad)}
    if isinstance(x, nn.Module):
        return {"module": repr(x), "training": x.training, "state": seen(dict(x.state_dict()))}
    if isinstance(x, scalar.Module):
        return {"module": repr(x), "values": [seen(p) for p in x.parameters()]}
    if isinstance(x, mgx.Generator):
        return {"generator": seen(x.get_state())}
    if isinstance(x, (optim.Optimizer, optim.LRScheduler)):
        return {"of": type(x).__name__, "state": seen(x.state_dict())}
    if isinstance(x, dict):
        return {"dict": [[str(key), seen(y)] for key, y in x.items()]}
    if isinstance(x, (list, tuple)):
        return {type(x).__name__: [seen(y) for y in x]}
    if callable(x):                         # a compiled function: by what it gives
        return {"called": seen(x(Tensor(numbers(2, 3))))}
    return repr(x)


def net():
    made = nn.Sequential(nn.Linear(4, 3, rng=0), nn.BatchNorm1d(3), nn.PReLU(), nn.Dropout(0.25), nn.LayerNorm(3),
                         nn.Residual(nn.Linear(3, 3, bias=False, rng=0)), nn.Embedding(3, 2, rng=0))
    with mgx.no_grad():
        for p in made.parameters():
            p.copy_(Tensor(numbers(*p.shape)))
    made[1].running_mean.copy_(Tensor(numbers(3)))
    made[3].eval()
    return made


def stepped(name, parameters):
    """An optimizer that took three steps."""
    opt = getattr(optim, name)(parameters, **OPTIMIZERS[name])
    for k in range(3):
        for p in parameters:
            p.grad = Tensor(numbers(*p.shape) * (k + 1))
        opt.step()
    return opt


def parameters():
    return [nn.Parameter(numbers(2, 3)), nn.Parameter(numbers(2))]


def scheduled(name):
    schedule = getattr(optim, name)(optim.SGD(parameters(), lr=0.5), *SCHEDULES[name])
    for k in range(3):
        schedule.optimizer.step()
        schedule.step(*([1.0 + k] if name == "ReduceLROnPlateau" else []))
    return schedule


def compiled():
    function = mgx.compile(mgx.tanh)
    for _ in range(3):
        function(Tensor(numbers(2, 3)))
    return function


def saved():
    """{name: what ``mgx.save`` is given}."""
    special = np.array([0.0, -0.0, np.inf, -np.inf, np.nan, 1e-310, 1.7976931348623157e308])
    return {
        "dtypes": {name: Tensor(numbers(2, 3, dtype=name)) for name in ("float32", "float64", "int64", "bool")},
        "shapes": {"number": Tensor(2.5), "empty": mgx.zeros(2, 0, 3), "strided": Tensor(numbers(3, 4)).T[::2],
                   "special": Tensor(special), "large": Tensor(np.array([2**62, -2**63]))},
        "nested": {"a": [1, 2.5, None, True, "text ä", (Tensor(numbers(2)), {"b": np.float64(0.1)})], "c": {}, "d": [],
                   "e.f": {"g": Tensor(numbers(1))}, "inf": float("inf"), "nan": float("nan")},
        "one": Tensor(numbers(3)), "net": net(),
        **{f"state-{name}": stepped(name, parameters()) for name in OPTIMIZERS},
        **{f"state-{name}": scheduled(name).state_dict() for name in SCHEDULES},
        "random": {"state": mgx.Generator(7).get_state()}}


def pickled():
    """{name: what is pickled}."""
    value = Value(0.5)
    (value * 3).backward()
    shared = parameters()
    return {
        "tensors": [Tensor(numbers(2, 3, dtype=name)) for name in ("float32", "float64", "int64", "bool")],
        "leaf": Tensor(numbers(2), requires_grad=True), "view": Tensor(numbers(3, 4)).T[::2], "parameter": shared[0],
        "value": value, "module": net(), "generator": mgx.Generator(7), "scalar": scalar.MLP(2, [3, 1]),
        **{f"optimizer-{name}": stepped(name, parameters()) for name in OPTIMIZERS},
        **{f"schedule-{name}": scheduled(name) for name in SCHEDULES}, "compiled": compiled()}


if __name__ == "__main__":
    FILES.mkdir()
    read = {"saved": {}, "pickled": {}}
    for name, x in saved().items():
        mgx.save(x, FILES / f"{name}.safetensors", {"version": mgx.__version__})
        read["saved"][name] = seen(mgx.load(FILES / f"{name}.safetensors"))
    for name, x in pickled().items():
        (FILES / f"{name}.pickle").write_bytes(pickle.dumps(x, 4))
        read["pickled"][name] = seen(x)
    (FILES / "read.json").write_text(json.dumps(read, indent=0))
