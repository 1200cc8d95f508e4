"""Meta-learning: an inner loop of two steps with create_graph, by hand and with functional_call."""
from collections import OrderedDict

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.func import functional_call

rng = np.random.RandomState(1)
model = nn.Sequential(OrderedDict([("l1", nn.Linear(1, 20)), ("relu1", nn.ReLU()), ("l2", nn.Linear(20, 20)),
                                   ("relu2", nn.ReLU()), ("l3", nn.Linear(20, 1))]))
print(model)
for p in model.parameters():
    p.data = torch.tensor(rng.normal(0, 0.3, p.shape), dtype=torch.float32)


def forward_with(weights, x):
    x = F.relu(F.linear(x, weights["l1.weight"], weights["l1.bias"]))
    x = F.relu(F.linear(x, weights["l2.weight"], weights["l2.bias"]))
    return F.linear(x, weights["l3.weight"], weights["l3.bias"])


def sample_task():
    A, b = rng.uniform(0.5, 2), rng.uniform(0, np.pi)

    def data(k):
        x = torch.tensor(rng.uniform(-3, 3, (k, 1)), dtype=torch.float)
        return x, A * torch.sin(x + b)
    return data


criterion = nn.MSELoss()
meta_opt = torch.optim.Adam(list(model.parameters()), 3e-3)
for it in range(20):
    total = 0
    for _ in range(3):
        data = sample_task()
        weights = OrderedDict(model.named_parameters())
        X, y = data(8)
        for step in range(2):
            loss = criterion(forward_with(weights, X), y)
            grad = torch.autograd.grad(loss, weights.values(), create_graph=True)
            weights = OrderedDict((name, w - 0.02 * g) for (name, w), g in zip(weights.items(), grad))
        X, y = data(8)
        meta_loss = criterion(functional_call(model, weights, (X,)), y)
        total = total + meta_loss / 3
    meta_opt.zero_grad()
    total.backward()
    meta_opt.step()
    if it % 5 == 0:
        print(f"{it:3d} {total.item():.4f}", sum(p.grad.norm() for p in model.parameters()))
params = {k: v.detach().clone().requires_grad_() for k, v in model.named_parameters()}
first = torch.autograd.grad(functional_call(model, params, X).sum(), tuple(params.values()))
print([tuple(g.shape) for g in first], first[-1])
try:
    torch.autograd.grad(torch.ones(3, requires_grad=True) * 2, params["l1.bias"])
except RuntimeError as e:
    print("RuntimeError", len(str(e)) > 10)
unused = torch.autograd.grad(params["l1.bias"].sum(), (params["l1.bias"], params["l3.bias"]), allow_unused=True)
print(unused[1], unused[0].sum())
