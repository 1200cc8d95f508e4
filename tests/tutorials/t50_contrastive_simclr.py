"""SimCLR's NT-Xent loss with an exponential moving average of the encoder, and a linear probe."""
import copy

import numpy as np
import torch
from torch import nn
import torch.nn.functional as F

rng = np.random.RandomState(18)
labels = torch.from_numpy(np.arange(48) % 4)
base = torch.from_numpy(rng.randn(4, 8)).float()[labels] + 0.3 * torch.from_numpy(rng.randn(48, 8)).float()

def set_weights(module, seed=0, scale=1.0):
    r = np.random.RandomState(seed)
    with torch.no_grad():
        for p in module.parameters():
            fan_in = p.shape[-1] if p.dim() > 1 else 1
            p.copy_(torch.from_numpy(r.randn(*p.shape) * scale / fan_in**0.5 if p.dim() > 1 else np.zeros(p.shape)))


def augment(x):
    noise = torch.from_numpy(rng.randn(*x.shape)).to(x)
    keep = torch.from_numpy(rng.rand(*x.shape) > 0.2)
    return torch.where(keep, x + 0.1 * noise, torch.zeros_like(x))


def nt_xent(z1, z2, temperature=0.5):
    z = F.normalize(torch.vstack((z1, z2)), dim=1)
    sim = z @ z.T / temperature
    sim.fill_diagonal_(float("-inf"))
    n = z1.shape[0]
    target = torch.hstack([torch.arange(n) + n, torch.arange(n)])
    return F.cross_entropy(sim, target)


encoder = nn.Sequential(nn.Linear(8, 24), nn.ReLU(), nn.Linear(24, 12))
projector = nn.Sequential(nn.ReLU(), nn.Linear(12, 6))
set_weights(encoder, 1)
set_weights(projector, 2)
ema = copy.deepcopy(encoder)
for p in ema.parameters():
    p.requires_grad = False
opt = torch.optim.AdamW(list(encoder.parameters()) + list(projector.parameters()), lr=5e-3, weight_decay=1e-2)
warmup = torch.optim.lr_scheduler.LambdaLR(opt, lambda step: min(1.0, (step + 1) / 10))
for step in range(40):
    loss = nt_xent(projector(encoder(augment(base))), projector(encoder(augment(base))))
    opt.zero_grad()
    loss.backward()
    opt.step()
    warmup.step()
    with torch.no_grad():
        for pe, p in zip(ema.parameters(), encoder.parameters()):
            pe.mul_(0.9).add_(p.data, alpha=0.1)
    if step % 13 == 0:
        print(f"step {step:2d} loss {loss.item():.4f} lr {warmup.get_last_lr()[0]:.4f}")
features = F.normalize(ema(base), dim=-1)
W = torch.linalg.lstsq(torch.cat([features, torch.ones(48, 1)], 1), F.one_hot(labels).float()).solution
pred = torch.cat([features, torch.ones(48, 1)], 1).matmul(W).argmax(-1)
print("probe", (pred == labels).float().mean().item(), features.grad_fn, [p.is_leaf for p in ema.parameters()][:2])
top = torch.topk(features @ features.T - 2 * torch.eye(48), k=3).indices
print("neighbours", (labels[top] == labels[:, None]).float().mean())
