"""Random numbers: tensors of them, and dropout without and with its gradient."""
import functools

import numpy as np

from bench.common import Row


def by_torch(draw, n):
    import torch
    ones = torch.ones(n)
    leaf = torch.ones(n, requires_grad=True)

    def dropout():
        leaf.grad = None
        torch.nn.functional.dropout(leaf, 0.1).backward(ones)
    return {"rand": lambda: torch.rand(n), "rand, double": lambda: torch.rand(n, dtype=torch.float64),
            "randn": lambda: torch.randn(n), "randn, double": lambda: torch.randn(n, dtype=torch.float64),
            "randint": lambda: torch.randint(0, 10, (n,)), "randperm": lambda: torch.randperm(n),
            "dropout": lambda: torch.nn.functional.dropout(ones, 0.1), "dropout, both ways": dropout}[draw]


def by_numpy(draw, n):
    rng = np.random.default_rng(0)
    return {"rand": lambda: rng.random(n, np.float32), "rand, double": lambda: rng.random(n),
            "randn": lambda: rng.standard_normal(n, np.float32), "randn, double": lambda: rng.standard_normal(n),
            "randint": lambda: rng.integers(0, 10, n), "randperm": lambda: rng.permutation(n)}[draw]


def by_ours(draw, n):
    import microgradx as mgx
    from microgradx.nn import functional
    ones, leaf = mgx.ones(n), mgx.ones(n, requires_grad=True)

    def dropout():
        leaf.grad = None
        functional.dropout(leaf, 0.1).backward(ones)
    return {"rand": lambda: mgx.rand(n), "rand, double": lambda: mgx.rand(n, dtype="float64"),
            "randn": lambda: mgx.randn(n), "randn, double": lambda: mgx.randn(n, dtype="float64"),
            "randint": lambda: mgx.randint(0, 10, n), "randperm": lambda: mgx.randperm(n),
            "dropout": lambda: functional.dropout(ones, 0.1), "dropout, both ways": dropout}[draw]


def rows(quick):
    for draw in ("rand", "rand, double", "randn", "randn, double", "randint", "randperm", "dropout",
                 "dropout, both ways"):
        for n in (10**3, 10**5, 10**6):
            peers = {"microgradx": by_ours, "torch": by_torch} | ({} if "dropout" in draw else {"numpy": by_numpy})
            yield Row(f"{draw} of {n}", {peer: functools.partial(make, draw, n) for peer, make in peers.items()}, per=n,
                      rtol=None)
