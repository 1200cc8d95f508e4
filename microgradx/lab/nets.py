"""What the experiments share: nets by their weight variance, errors layer by layer, plain training."""
import math

import numpy as np

from microgradx import data, nn, optim
from microgradx._core.graph import no_grad
from microgradx._core.tensor import Tensor
from microgradx.nn import functional as F

__all__ = ["accuracy", "cross_entropy", "errors", "forward", "gaussian", "linears", "mlp", "quadratic", "sample",
           "slope", "standardised", "train"]


def slope(phi, z, dtype=np.float64):
    """phi'(z) by the engine, an array like ``z``; ``phi``: a method's name or a function of a Tensor."""
    x = Tensor(np.asarray(z, dtype), requires_grad=True)
    y = getattr(x, phi)() if isinstance(phi, str) else phi(x)
    y.sum().backward()
    return x.grad.numpy()


def gaussian(linear, var_w, var_b, rng):
    """Weights N(0, var_w / n_in) and biases N(0, var_b) for a Linear."""
    nn.init.normal_(linear.weight, 0.0, math.sqrt(var_w / linear.in_features), rng)
    nn.init.normal_(linear.bias, 0.0, math.sqrt(var_b), rng)
    return linear


def mlp(sizes, activation, var_w=1.0, var_b=0.0, rng=0, dtype="float64"):
    """Linear layers of ``sizes`` with an activation after each but the last; ``activation()`` makes a module."""
    rng, layers = np.random.default_rng(rng), []
    for n_in, n_out in zip(sizes, sizes[1:]):
        layers += [gaussian(nn.Linear(n_in, n_out, dtype=dtype, rng=rng), var_w, var_b, rng), activation()]
    return nn.Sequential(*layers[:-1])


def linears(net):
    return [layer for layer in net.modules() if isinstance(layer, nn.Linear)]


def forward(net, x):
    """The net's output and the pre-activations, one Tensor (B, n) per Linear, whose gradients will be kept."""
    z, handles = [], []

    def keep(module, args, output):
        output.retain_grad()
        z.append(output)
    for layer in linears(net):
        handles.append(layer.register_forward_hook(keep))
    try:
        return net(Tensor(x)), z
    finally:
        for handle in handles:
            handle.remove()


def errors(net, x, cost):
    """delta = dC/dz of each sample's cost, an array (B, n) per Linear; ``cost(out)`` is a mean over samples."""
    net.zero_grad()
    out, z = forward(net, x)
    cost(out).backward()
    return [len(x) * t.grad.numpy() for t in z]


def cross_entropy(labels):
    return lambda out: F.cross_entropy(out, labels)


def quadratic(labels, classes=10):
    """Nielsen's cost of sigmoid outputs, given their pre-activations."""
    return lambda out: F.quadratic_cost(out.sigmoid(), F.one_hot(labels, classes, out.dtype))


def sample(count, seed, dtype="float64"):
    """``count`` random digits: images (count, 64) and labels."""
    x, y = data.digits()
    rows = np.random.default_rng(seed).permutation(len(x))[:count]
    return x[rows].astype(dtype), y[rows]


def standardised(seed=0):
    """``data.digits(split=True)`` with the pixels' mean taken off and divided by their deviation, float32."""
    x, y, x_test, y_test = data.digits(split=True, seed=seed)
    return (x - x.mean()) / x.std(), y, (x_test - x.mean()) / x.std(), y_test


def train(net, digits, lr, epochs, seed, batch=32, optimizer=optim.SGD, cost=cross_entropy, tick=lambda epoch: None):
    """Plain training on ``digits``, four arrays; returns the share of test digits that are right."""
    x, y, x_test, y_test = digits
    optimizer, rng = optimizer(net.parameters(), lr=lr), np.random.default_rng(seed)
    net.train()
    for epoch in range(epochs):
        for images, labels in data.batches(x, y, batch, rng=rng):
            optimizer.zero_grad()
            cost(labels)(net(Tensor(images))).backward()
            optimizer.step()
        tick(epoch + 1)
    return accuracy(net, x_test, y_test)


def accuracy(net, x, y):
    """The share of rows whose largest output is at the label; the net is left in evaluation."""
    net.eval()
    with no_grad():
        return float((net(Tensor(x)).numpy().argmax(axis=1) == y).mean())
