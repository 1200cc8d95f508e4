"""A hypernetwork that writes the weights of another net, and feature-wise modulation."""
import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

rng = np.random.RandomState(15)

def set_weights(module, seed=0, scale=1.0):
    r = np.random.RandomState(seed)
    with torch.no_grad():
        for p in module.parameters():
            fan_in = p.shape[-1] if p.dim() > 1 else 1
            p.copy_(torch.from_numpy(r.randn(*p.shape) * scale / fan_in**0.5 if p.dim() > 1 else np.zeros(p.shape)))


class Hyper(nn.Module):
    def __init__(self, context: int, sizes: list) -> None:
        super().__init__()
        self.shapes = [torch.Size([b, a]) for a, b in zip(sizes, sizes[1:])]
        self.total = sum(s.numel() + s[0] for s in self.shapes) if hasattr(self.shapes[0], "numel") else sum(
            s[0] * s[1] + s[0] for s in self.shapes)
        self.net = nn.Sequential(nn.Linear(context, 16), nn.Tanh(), nn.Linear(16, self.total))
        self.film = nn.Linear(context, 2 * sizes[1])

    def forward(self, c: Tensor, x: Tensor) -> Tensor:
        flat, at = self.net(c), 0
        gamma, beta = self.film(c).chunk(2, dim=-1)
        h = x
        for k, (rows, cols) in enumerate(self.shapes):
            w = flat.narrow(-1, at, rows * cols).view(-1, rows, cols)
            at += rows * cols
            b = flat[..., at:at + rows]
            at += rows
            h = torch.baddbmm(b.unsqueeze(1), h, w.transpose(1, 2))
            if k < len(self.shapes) - 1:
                h = torch.tanh(h) * (1 + gamma.unsqueeze(1)) + beta.unsqueeze(1)
        return h


amplitude = torch.from_numpy(rng.uniform(0.5, 2.0, (8, 1))).float()
x = torch.linspace(-2, 2, 20).view(1, 20, 1).expand(8, -1, -1)
target = amplitude.unsqueeze(-1) * torch.sin(2 * x)
model = Hyper(1, [1, 10, 1])
set_weights(model, 0, 0.7)
print(model.total, [tuple(s) for s in model.shapes])
opt = torch.optim.Adamax(model.parameters(), lr=0.03)
plateau = torch.optim.lr_scheduler.ReduceLROnPlateau(opt, factor=0.5, patience=5)
for step in range(121):
    loss = F.mse_loss(model(amplitude, x), target)
    opt.zero_grad()
    loss.backward()
    total_norm = nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    opt.step()
    plateau.step(loss)
    if step % 40 == 0:
        print(f"{step} {loss.item():.4f} {total_norm:.3f} {opt.param_groups[0]['lr']}")
