"""Quantile regression with the pinball loss, and how many targets its intervals cover."""
import numpy as np
import torch
from torch import nn

rng = np.random.RandomState(5)
x = torch.linspace(-2, 2, 160).reshape(-1, 1)
y = torch.sin(2 * x) + torch.from_numpy(rng.randn(160, 1)).float() * (0.1 + 0.2 * x.abs())
quantiles = torch.tensor([0.1, 0.5, 0.9])

def set_weights(module, seed=0, scale=1.0):
    r = np.random.RandomState(seed)
    with torch.no_grad():
        for p in module.parameters():
            fan_in = p.shape[-1] if p.dim() > 1 else 1
            p.copy_(torch.from_numpy(r.randn(*p.shape) * scale / fan_in**0.5 if p.dim() > 1 else np.zeros(p.shape)))


class QuantileLoss(nn.Module):
    def __init__(self, quantiles):
        super().__init__()
        self.register_buffer("q", quantiles)

    def forward(self, preds, target):
        assert not target.requires_grad
        assert preds.size(0) == target.size(0)
        errors = target - preds
        return torch.max((self.q - 1) * errors, self.q * errors).sum(dim=1).mean()


model = nn.Sequential(nn.Linear(1, 24), nn.Softplus(), nn.Linear(24, 24), nn.Softplus(), nn.Linear(24, 3))
set_weights(model, 0, 2.0)
criterion = QuantileLoss(quantiles)
print(list(criterion.state_dict()), criterion.q)
optimizer = torch.optim.Adam(model.parameters(), lr=0.02, betas=(0.9, 0.99))
for epoch in range(101):
    loss = criterion(model(x), y)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    if epoch % 25 == 0:
        print(f"{epoch:>4d} {loss.item():8.4f}")
with torch.no_grad():
    lo, mid, hi = model(x).unbind(dim=1)
    inside = torch.logical_and(y.squeeze() >= lo, y.squeeze() <= hi).float()
    print("coverage %.3f, crossing %d, width %.3f" % (inside.mean(), (lo > hi).sum(), (hi - lo).median()))
    print("empirical", torch.quantile(y.squeeze(1), quantiles), torch.cov(torch.stack([mid, y.squeeze()])))
