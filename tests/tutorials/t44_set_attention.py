"""Deep sets and attention pooling over sets of different lengths, with padding masks."""
import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import DataLoader

rng = np.random.RandomState(12)
sets = [torch.from_numpy(rng.randn(rng.randint(2, 7), 3)).float() for _ in range(40)]
data = [(s, s.max(dim=0).values.sum()) for s in sets]


def collate(batch):
    xs, ys = zip(*batch)
    lengths = torch.tensor([len(x) for x in xs])
    padded = pad_sequence(xs, batch_first=True, padding_value=0.0)
    mask = torch.arange(padded.size(1))[None, :] >= lengths[:, None]
    return padded, mask, torch.stack(ys)

def set_weights(module, seed=0, scale=1.0):
    r = np.random.RandomState(seed)
    with torch.no_grad():
        for p in module.parameters():
            fan_in = p.shape[-1] if p.dim() > 1 else 1
            p.copy_(torch.from_numpy(r.randn(*p.shape) * scale / fan_in**0.5 if p.dim() > 1 else np.zeros(p.shape)))


class SetNet(nn.Module):
    def __init__(self, d=16):
        super().__init__()
        self.embed = nn.Linear(3, d)
        self.attn = nn.MultiheadAttention(d, num_heads=4, batch_first=True)
        self.query = nn.Parameter(torch.full((1, 1, d), 0.1))
        self.out = nn.Sequential(nn.LayerNorm(d), nn.Linear(d, d), nn.SiLU(), nn.Linear(d, 1))

    def forward(self, x, mask):
        h = F.silu(self.embed(x))
        q = self.query.expand(x.size(0), -1, -1)
        pooled, weights = self.attn(q, h, h, key_padding_mask=mask)
        biggest = h.masked_fill(mask.unsqueeze(-1), float("-inf")).amax(dim=1)
        return self.out(pooled.squeeze(1) + biggest).squeeze(-1), weights


model = SetNet()
set_weights(model)
nn.init.ones_(model.out[0].weight)
opt = torch.optim.RAdam(model.parameters(), lr=0.01)
sched = torch.optim.lr_scheduler.OneCycleLR(opt, max_lr=0.02, total_steps=40)
loader = DataLoader(data, batch_size=8, shuffle=False, collate_fn=collate)
for epoch in range(8):
    total = 0.0
    for padded, mask, target in loader:
        pred, weights = model(padded, mask)
        loss = F.huber_loss(pred, target, delta=1.0)
        opt.zero_grad()
        loss.backward()
        opt.step()
        sched.step()
        total += loss.item() * len(target)
    if epoch % 2 == 1:
        print(f"{epoch} {total / len(data):.4f} lr {opt.param_groups[0]['lr']:.5f}")
print(weights.shape, weights.sum(-1).flatten()[:3], (weights * mask[:, None]).abs().max())
