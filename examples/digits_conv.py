"""A small convolutional net that learns to read digits: python digits_conv.py [--seed 0] [--epochs 30]

Two layers of convolution with batch normalisation, about 23,000 parameters. Each epoch sees every image moved by up to
one pixel. Prints the share of the 360 held-out images that it reads right.
"""
import argparse

import numpy as np

import microgradx as mgx
from microgradx import data, nn, optim
from microgradx.nn import functional as F


def convolutional(rng):
    """(m, 1, 8, 8) -> logits (m, 10)."""
    layer = lambda n_in, n_out: [nn.Conv2d(n_in, n_out, 3, padding=1, bias=False, rng=rng), nn.BatchNorm2d(n_out),
                                 nn.ReLU()]
    return nn.Sequential(*layer(1, 16), *layer(16, 32), nn.MaxPool2d(2), *layer(32, 48), nn.MaxPool2d(2), nn.Flatten(),
                         nn.Dropout(0.2, rng=rng), nn.Linear(48 * 4, 10, rng=rng))


def moved(images, rng):
    """Each image moved by -1, 0 or 1 pixels in both directions; ink that leaves it is lost."""
    wide = np.pad(images, ((0, 0), (0, 0), (1, 1), (1, 1)))
    down, across = rng.integers(0, 3, (2, len(images), 1, 1))
    return wide[np.arange(len(images))[:, None, None], 0, down + np.arange(8)[:, None], across + np.arange(8)][:, None]


def train(seed=0, epochs=30):
    """The net and its accuracy on images that it has not seen."""
    rng = np.random.default_rng(seed)
    x, y, x_test, y_test = data.digits(split=True)
    x, x_test = x.reshape(-1, 1, 8, 8), x_test.reshape(-1, 1, 8, 8)
    net, size = convolutional(rng), 64
    opt = optim.AdamW(net.parameters(), lr=3e-3, weight_decay=1e-2)
    schedule = optim.lr_scheduler.CosineAnnealingLR(opt, epochs * -(-len(x) // size))
    for _ in range(epochs):
        for xb, yb in data.batches(moved(x, rng), y, size, rng=rng):
            opt.zero_grad()
            F.cross_entropy(net(xb), yb).backward()
            opt.step()
            schedule.step()
    net.eval()
    with mgx.no_grad():
        return net, (net(mgx.Tensor(x_test)).argmax(axis=1) == y_test).mean().item()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--epochs", type=int, default=30)
    arguments = parser.parse_args()
    print(f"{train(**vars(arguments))[1]:.4f}")
