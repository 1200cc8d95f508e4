"""Five training steps (forward, backward, SGD update), float32: ours, torch, JAX, NumPy by hand, C by hand.

Every contender starts from the same parameters, takes STEPS steps, and must agree with NumPy in float64
before it is timed.
"""
import functools
from dataclasses import dataclass

import numpy as np

from bench.common import Row

LR, STEPS, TOLERANCE = 0.05, 20, 1e-5


@dataclass(frozen=True)
class Net:
    sizes: tuple
    batch: int
    cost: str

    @property
    def name(self):
        hidden = self.sizes[1:-1]
        middle = (f"{len(hidden)}x{hidden[0]}",) if len(hidden) > 2 else hidden
        return "-".join(map(str, (self.sizes[0], *middle, self.sizes[-1]))) + f" batch {self.batch} {self.cost}"


NETS = (
    Net((2, 16, 16, 1), 100, "mse"),
    Net((784, 30, 10), 10, "cross_entropy"),
    Net((784, 128, 10), 64, "cross_entropy"),
    Net((784, *[30] * 10, 10), 32, "cross_entropy"),
    Net((784, 512, 512, 10), 128, "cross_entropy"),
)


@functools.cache
def problem(net):
    """(x, target, [W0, b0, ...]) with W of shape (in, out), float32."""
    rng = np.random.default_rng(7)
    x = rng.random((net.batch, net.sizes[0]), dtype=np.float32)
    if net.cost == "mse":
        target = rng.standard_normal((net.batch, net.sizes[-1])).astype(np.float32)
    else:
        target = rng.integers(0, net.sizes[-1], net.batch)
    params = []
    for n_in, n_out in zip(net.sizes, net.sizes[1:]):
        bound = n_in ** -0.5
        params += [rng.uniform(-bound, bound, shape).astype(np.float32) for shape in ((n_in, n_out), (n_out,))]
    return x, target, params


# ----- contenders: each returns (step, params); step() gives the loss before the update -----

def by_numpy(net, dtype=np.float32):
    x, target, start = problem(net)
    x, params = x.astype(dtype), [p.astype(dtype) for p in start]
    rows, lr = np.arange(net.batch), dtype(LR)

    def step():
        acts = [x]
        for w, b in zip(params[:-2:2], params[1:-2:2]):
            acts.append(1 / (1 + np.exp(-(acts[-1] @ w + b))))
        z = acts[-1] @ params[-2] + params[-1]
        if net.cost == "mse":
            d = z - target.astype(dtype)
            loss = np.mean(d * d)
            d *= dtype(2 / d.size)
        else:
            z -= z.max(axis=1, keepdims=True)
            d = np.exp(z)
            total = d.sum(axis=1, keepdims=True)
            loss = np.mean(np.log(total[:, 0]) - z[rows, target])
            d /= total
            d[rows, target] -= 1
            d /= dtype(net.batch)
        for layer in range(len(acts) - 1, -1, -1):
            w, b, a = params[2 * layer], params[2 * layer + 1], acts[layer]
            dw, db = a.T @ d, d.sum(axis=0)
            if layer:
                d = (d @ w.T) * (a * (1 - a))
            w -= lr * dw
            b -= lr * db
        return loss
    return step, lambda: params


def by_c(net):
    from bench.floor import Floor
    x, target, params = problem(net)
    floor = Floor(net.sizes, net.cost, LR, x, target, params)
    return floor.step, floor.params


def eager(net, lib, functional, tensor):
    """torch and microgradx: the same lines serve both."""
    x, target, start = problem(net)
    layers = []
    for n_in, n_out in zip(net.sizes, net.sizes[1:]):
        layers += [lib.nn.Linear(n_in, n_out), lib.nn.Sigmoid()]
    model = lib.nn.Sequential(*layers[:-1])
    linear = layers[::2]
    with lib.no_grad():
        for layer, w, b in zip(linear, start[::2], start[1::2]):
            layer.weight.copy_(tensor(np.ascontiguousarray(w.T)))
            layer.bias.copy_(tensor(b))
    loss_of = functional.mse_loss if net.cost == "mse" else functional.cross_entropy
    opt = lib.optim.SGD(model.parameters(), lr=LR)
    x, target = tensor(x), tensor(target)

    def step():
        opt.zero_grad()
        loss = loss_of(model(x), target)
        loss.backward()
        opt.step()
        return loss

    def params():
        return [p for layer in linear for p in (layer.weight.detach().numpy().T, layer.bias.detach().numpy())]
    return step, params


def by_ours(net):
    import microgradx as mgx
    return eager(net, mgx, mgx.nn.functional, mgx.Tensor)


def by_torch(net):
    import torch
    return eager(net, torch, torch.nn.functional, torch.tensor)


def by_jax(net):
    import jax
    import jax.numpy as jnp
    x, target, start = problem(net)
    x, target = jnp.asarray(x), jnp.asarray(target)

    def cost(params):
        a = x
        for w, b in zip(params[:-2:2], params[1:-2:2]):
            a = jax.nn.sigmoid(a @ w + b)
        z = a @ params[-2] + params[-1]
        if net.cost == "mse":
            return jnp.mean((z - target) ** 2)
        return -jnp.mean(jax.nn.log_softmax(z)[jnp.arange(net.batch), target])

    @functools.partial(jax.jit, donate_argnums=0)
    def update(params):
        loss, grads = jax.value_and_grad(cost)(params)
        return loss, [p - LR * g for p, g in zip(params, grads)]
    state = [jnp.array(p) for p in start]

    def step():
        nonlocal state
        loss, state = update(state)
        return loss.block_until_ready()
    return step, lambda: state


@functools.cache
def after_steps(net):
    """Parameters after STEPS steps of NumPy in float64: the oracle."""
    step, params = by_numpy(net, np.float64)
    for _ in range(STEPS):
        step()
    return params()


def checked(net, build, steps=1):
    """What the contender makes, a function that takes so many training steps, after its first STEPS steps have agreed
    with the oracle."""
    step, params = build(net)
    for _ in range(STEPS // steps):
        step()
    worst = max(float(np.max(np.abs(np.asarray(p) - q))) for p, q in zip(params(), after_steps(net)))
    if not worst <= TOLERANCE:
        raise ArithmeticError(f"parameters after {STEPS} steps are off by {worst:.1e}")
    return step


CONTENDERS = {"microgradx": by_ours, "torch": by_torch, "jax": by_jax, "numpy": by_numpy, "c": by_c}


def rows(quick):
    for net in NETS:
        yield Row(net.name, {name: functools.partial(checked, net, build) for name, build in CONTENDERS.items()})
