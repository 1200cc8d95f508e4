"""A normalising flow of affine coupling layers on two moons."""
import math

import numpy as np
import torch
from torch import nn, optim
from torch.distributions import MultivariateNormal

rng = np.random.RandomState(2)
t = rng.rand(256) * math.pi
moons = np.stack([np.cos(t), np.sin(t)], 1)
moons[::2] = np.stack([1 - np.cos(t[::2]), 0.5 - np.sin(t[::2])], 1)
data = torch.as_tensor(moons + 0.05 * rng.randn(256, 2)).float()

def set_weights(module, seed=0, scale=1.0):
    r = np.random.RandomState(seed)
    with torch.no_grad():
        for p in module.parameters():
            fan_in = p.shape[-1] if p.dim() > 1 else 1
            p.copy_(torch.from_numpy(r.randn(*p.shape) * scale / fan_in**0.5 if p.dim() > 1 else np.zeros(p.shape)))


class RealNVP(nn.Module):
    def __init__(self, nets, nett, mask, prior):
        super(RealNVP, self).__init__()
        self.prior = prior
        self.mask = nn.Parameter(mask, requires_grad=False)
        self.t = torch.nn.ModuleList([nett() for _ in range(len(mask))])
        self.s = torch.nn.ModuleList([nets() for _ in range(len(mask))])

    def g(self, z):
        x = z
        for i in range(len(self.t)):
            x_ = x * self.mask[i]
            s = self.s[i](x_) * (1 - self.mask[i])
            t = self.t[i](x_) * (1 - self.mask[i])
            x = x_ + (1 - self.mask[i]) * (x * torch.exp(s) + t)
        return x

    def f(self, x):
        log_det_J, z = x.new_zeros(x.shape[0]), x
        for i in reversed(range(len(self.t))):
            z_ = self.mask[i] * z
            s = self.s[i](z_) * (1 - self.mask[i])
            t = self.t[i](z_) * (1 - self.mask[i])
            z = (1 - self.mask[i]) * (z - t) * torch.exp(-s) + z_
            log_det_J -= s.sum(dim=1)
        return z, log_det_J

    def log_prob(self, x):
        z, logp = self.f(x)
        return self.prior.log_prob(z) + logp


nets = lambda: nn.Sequential(nn.Linear(2, 16), nn.LeakyReLU(), nn.Linear(16, 2), nn.Tanh())
nett = lambda: nn.Sequential(nn.Linear(2, 16), nn.LeakyReLU(), nn.Linear(16, 2))
masks = torch.from_numpy(np.array([[0, 1], [1, 0]] * 2).astype(np.float32))
prior = MultivariateNormal(torch.zeros(2), torch.eye(2))
flow = RealNVP(nets, nett, masks, prior)
for k, module in enumerate([*flow.s, *flow.t]):
    set_weights(module, k, 0.5)
optimizer = optim.Adam([p for p in flow.parameters() if p.requires_grad == True], lr=5e-3)
for step in range(41):
    loss = -flow.log_prob(data).mean()
    optimizer.zero_grad()
    loss.backward(retain_graph=True)
    optimizer.step()
    if step % 10 == 0:
        print("iter %s:" % step, "loss = %.3f" % loss.item())
z = flow.f(data)[0].detach()
x = flow.g(z)
print("inverse:", torch.allclose(x, data, atol=1e-4), z.mean(0), z.std(0, unbiased=False))
