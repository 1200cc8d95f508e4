"""MAML with torch.func: an inner step by functional_call and grad, vmapped over tasks."""
import numpy as np
import torch
from torch import nn
from torch.func import functional_call, grad, vmap

rng = np.random.RandomState(7)

def set_weights(module, seed=0, scale=1.0):
    r = np.random.RandomState(seed)
    with torch.no_grad():
        for p in module.parameters():
            fan_in = p.shape[-1] if p.dim() > 1 else 1
            p.copy_(torch.from_numpy(r.randn(*p.shape) * scale / fan_in**0.5 if p.dim() > 1 else np.zeros(p.shape)))


net = nn.Sequential(nn.Linear(1, 12), nn.Tanh(), nn.Linear(12, 12), nn.Tanh(), nn.Linear(12, 1))
set_weights(net, 0, 1.5)
params = {name: p.detach().clone().requires_grad_() for name, p in net.named_parameters()}
opt = torch.optim.Adam(params.values(), lr=1e-2)


def loss_of(params, x, y):
    return nn.functional.mse_loss(functional_call(net, params, (x,)), y)


def adapted_loss(params, x1, y1, x2, y2):
    grads = grad(loss_of)(params, x1, y1)
    fast = {k: params[k] - 0.1 * g for k, g in grads.items()}
    return loss_of(fast, x2, y2)


for step in range(16):
    amp, phase = rng.uniform(0.5, 2, (6, 1, 1)), rng.uniform(0, np.pi, (6, 1, 1))
    x1, x2 = (rng.uniform(-3, 3, (6, 10, 1)) for _ in range(2))
    batch = [torch.from_numpy(a).float() for a in (x1, amp * np.sin(x1 + phase), x2, amp * np.sin(x2 + phase))]
    losses = vmap(adapted_loss, in_dims=(None, 0, 0, 0, 0))(params, *batch)
    opt.zero_grad()
    losses.mean().backward()
    opt.step()
    if step % 5 == 0:
        print(step, round(losses.mean().item(), 4), losses.shape, params["0.weight"].grad.norm())
