"""Capsules with dynamic routing, by einsum and masked softmax."""
import numpy as np
import torch
from torch import nn
import torch.nn.functional as F

rng = np.random.RandomState(10)


def squash(tensor, dim=-1):
    squared_norm = (tensor**2).sum(dim=dim, keepdim=True)
    scale = squared_norm / (1 + squared_norm)
    return scale * tensor / torch.sqrt(squared_norm + 1e-8)


class DigitCaps(nn.Module):
    def __init__(self, in_caps, in_dim, out_caps, out_dim, iterations=3):
        super().__init__()
        self.iterations = iterations
        self.W = nn.Parameter(torch.as_tensor(0.3 * rng.randn(1, in_caps, out_caps, out_dim, in_dim), dtype=torch.float))

    def forward(self, u):
        u_hat = torch.matmul(self.W, u[:, :, None, :, None]).squeeze(-1)
        b = torch.zeros(*u_hat.shape[:3], 1, device=u.device)
        detached = u_hat.detach()
        for i in range(self.iterations):
            c = F.softmax(b, dim=2)
            if i == self.iterations - 1:
                return squash((c * u_hat).sum(dim=1))
            v = squash((c * detached).sum(1))
            b += torch.einsum("bijd,bjd->bij", detached, v).unsqueeze(-1)


def margin_loss(v, labels):
    lengths = v.norm(dim=-1)
    T = torch.zeros_like(lengths).scatter_(1, labels.view(-1, 1), 1.0)
    return (T * F.relu(0.9 - lengths) ** 2 + 0.5 * (1 - T) * F.relu(lengths - 0.1) ** 2).sum(1).mean()


labels = torch.from_numpy(rng.randint(0, 3, 30))
x = torch.from_numpy(rng.randn(30, 4, 6).astype(np.float32)) * 0.3 + F.one_hot(labels, 6).float().unsqueeze(1)
primary, caps = nn.Conv1d(4, 16, 1), DigitCaps(8, 12, 3, 4)
with torch.no_grad():
    for p in primary.parameters():
        p.copy_(torch.from_numpy(0.5 * rng.randn(*p.shape)))
opt = torch.optim.Adam([*primary.parameters(), *caps.parameters()], lr=0.02)
for epoch in range(25):
    u = squash(primary(x).reshape(30, 8, 12))
    v = caps(u)
    loss = margin_loss(v, labels)
    opt.zero_grad(); loss.backward(); opt.step()
    if not epoch % 8:
        print(epoch, f"{loss:.4f}", v.shape, (v.norm(dim=-1).max(1).indices == labels).sum().item())
