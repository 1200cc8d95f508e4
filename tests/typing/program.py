"""What a user writes, run, and checked strictly: every ``assert_type`` is what mypy must find in the stubs."""
from typing import Any, assert_type

import numpy as np
import numpy.typing as npt

import microgradx as mgx
from microgradx import Tensor, Value, data, nn, optim
from microgradx.errors import FormatError, ShapeError


def tensors(array: npt.NDArray[np.float64]) -> float:
    x = Tensor(array, requires_grad=True, dtype=mgx.float32)
    y = (2 * x + array.astype("float32")).tanh() @ x.T - x.sum(axis=0, keepdims=True) / 3
    y[0] = 1.0
    assert_type(y, Tensor)
    assert_type(x > 0, Tensor)
    assert_type(mgx.where(x > 0, x, 0.0), Tensor)
    assert_type(mgx.exp(x), Tensor)
    assert_type(mgx.exp([0.0, 1.0]), Tensor)
    assert_type(mgx.maximum(x, 0.0).reshape(-1).expand(2, -1), Tensor)
    assert_type(mgx.concat([x, y], axis=1), Tensor)
    assert_type(mgx.einsum("ij,jk->ik", x, x), Tensor)
    assert_type(x.grad, Tensor | None)
    assert_type(x.shape, tuple[int, ...])
    assert_type(x.split(2), tuple[Tensor, ...])
    assert_type(np.asarray(x.detach()), npt.NDArray[Any])
    assert_type(mgx.from_dlpack(np.from_dlpack(x.detach())), Tensor)
    try:
        y.sum().backward(retain_graph=True)
    except ShapeError:
        return 0.0
    with mgx.no_grad():
        x += 1.0
        x.copy_(mgx.from_numpy(array).astype("float32"))
    return float(y.mean())


def values() -> float:
    a, b = Value(1.0), Value(2.0, label="b")
    y = (a * b + 3).relu() ** 2 - mgx.exp(a) / 2
    assert_type(y, Value)
    assert_type(mgx.maximum(0.0, y), Value)
    assert_type(mgx.dot([a, b], [1.0, y]), Value)
    assert_type(mgx.sum(v for v in (a, b)), Value)
    y.backward()
    assert_type(a.grad, float)
    return y.data


@mgx.no_grad()
def accuracy(logits: Tensor, labels: Tensor) -> float:
    return float((logits.argmax(axis=1) == labels).mean())


class Scale(nn.Module):
    def __init__(self, factor: float) -> None:
        self.factor = nn.Parameter(factor)

    def forward(self, x: Tensor) -> Tensor:
        return x * self.factor


class Cube(mgx.autograd.Function):
    @staticmethod
    def forward(ctx: mgx.autograd.Context, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x ** 3

    @staticmethod
    def backward(ctx: mgx.autograd.Context, g: Tensor) -> Tensor:
        return 3 * ctx.saved_tensors[0] ** 2 * g


def sum_of_cubes(t: Tensor) -> Tensor:
    cubes: Tensor = Cube.apply(t)
    return cubes.sum()


class Pair(nn.Module):
    """Calls of a module have the types of its forward."""

    def __init__(self) -> None:
        self.layer = nn.Linear(2, 3)

    def forward(self, x: Tensor, scale: float = 1.0) -> tuple[Tensor, float]:
        return self.layer(x) * scale, scale


def calls() -> None:
    x = mgx.ones(4, 2)
    assert_type(nn.Linear(2, 3)(x), Tensor)
    assert_type(Pair()(x, scale=2.0), tuple[Tensor, float])
    assert_type(mgx.compile(nn.Linear(2, 3))(x), Tensor)
    assert_type(x.sum().item(), float)

    @mgx.compile
    def total(t: Tensor, power: int = 2) -> Tensor:
        return (t ** power).sum()

    @mgx.compile(check=True)
    def both(t: Tensor) -> tuple[Tensor, Tensor]:
        return t * 2, t + 1

    assert_type(total(x, power=3), Tensor)
    assert_type(both(x), tuple[Tensor, Tensor])
    assert_type(total.explain(), str)

    def loss(weights: dict[str, Tensor], t: Tensor) -> Tensor:
        return (weights["w"] * t).sum()

    assert_type(mgx.grad(loss)({"w": x}, x), dict[str, Tensor])
    assert_type(mgx.value_and_grad(loss)({"w": x}, x), tuple[Tensor, dict[str, Tensor]])


def training(path: str) -> float:
    rng = mgx.manual_seed(0)
    x, y = data.moons(100, noise=0.1, rng=rng)
    assert_type(x, npt.NDArray[np.float32])
    assert_type(nn.Linear(2, 3).weight, Tensor)
    assert_type(nn.functional.cross_entropy(mgx.zeros(2, 3), [0, 1]), Tensor)
    assert_type(mgx.linalg.slogdet(mgx.eye(2)).sign, Tensor)
    net = nn.Sequential(nn.Linear(2, 16), nn.Tanh(), Scale(1.0), nn.Linear(16, 2))
    step = optim.SGD(net.parameters(), lr=0.1)
    gradient = mgx.grad(sum_of_cubes)(mgx.ones(2))
    assert gradient.tolist() == [3, 3] and optim.lr_scheduler.StepLR(step, 9).get_last_lr() == [0.1]
    for xb, yb in data.batches(x, y, 10, rng=rng):
        step.zero_grad()
        nn.functional.cross_entropy(net(Tensor(xb)), Tensor(yb)).backward()
        step.step()
    mgx.save({"net": net, "step": step}, path, metadata={"note": "trained"})
    try:
        net.load_state_dict(mgx.load(path)["net"])
    except FormatError:
        pass
    return accuracy(net(Tensor(x)), Tensor(y))
