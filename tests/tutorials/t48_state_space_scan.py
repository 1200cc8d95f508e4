"""A diagonal state-space layer: by a loop, by a kernel and convolution; and its checkpoint in memory."""
import io
import math

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F

rng = np.random.RandomState(16)


class DiagonalSSM(nn.Module):
    def __init__(self, channels, state=4):
        super().__init__()
        self.log_a = nn.Parameter(torch.log(torch.arange(1, state + 1).float()).expand(channels, -1).clone())
        self.B = nn.Parameter(torch.from_numpy(rng.randn(channels, state)).float())
        self.C = nn.Parameter(torch.from_numpy(rng.randn(channels, state)).float() / math.sqrt(state))
        self.D = nn.Parameter(torch.ones(channels))
        self.register_buffer("dt", torch.tensor(0.1))

    def discrete(self):
        a = torch.exp(-self.dt * self.log_a.exp())
        return a, self.B * (1 - a) / self.log_a.exp()

    def recurrent(self, u):
        a, b = self.discrete()
        h, ys = u.new_zeros(u.size(0), *a.shape), []
        for t in range(u.shape[-1]):
            h = a * h + b * u[..., t, None]
            ys.append(torch.einsum("bcn,cn->bc", h, self.C))
        return torch.stack(ys, -1) + self.D[:, None] * u

    def convolutional(self, u):
        a, b = self.discrete()
        length = u.size(-1)
        powers = a.unsqueeze(-1) ** torch.arange(length, dtype=a.dtype)
        kernel = ((self.C * b).unsqueeze(-1) * powers).sum(1)
        y = F.conv1d(F.pad(u, (length - 1, 0)), kernel.flip(-1).unsqueeze(1), groups=u.size(1))
        return y + self.D.view(1, -1, 1) * u


layer = DiagonalSSM(3)
u = torch.from_numpy(rng.randn(2, 3, 16)).float()
torch.testing.assert_close(layer.recurrent(u), layer.convolutional(u), rtol=1e-4, atol=1e-5)
target = torch.cumsum(u, dim=-1) * 0.2
opt = torch.optim.Adagrad(layer.parameters(), lr=0.1)
for step in range(31):
    loss = (layer.convolutional(u) - target).square().mean()
    opt.zero_grad()
    loss.backward()
    opt.step()
    if step % 10 == 0:
        print(step, "%.4f" % loss)
buffer = io.BytesIO()
torch.save({"model": layer.state_dict(), "step": step}, buffer)
buffer.seek(0)
checkpoint = torch.load(buffer, weights_only=True)
other = DiagonalSSM(3)
print(other.load_state_dict(checkpoint["model"]), checkpoint["step"], sorted(checkpoint["model"]))
print(torch.equal(other.convolutional(u), layer.convolutional(u)))
