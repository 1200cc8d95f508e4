"""A graph convolution by index_add_ and scatter_add_ on a small club."""
import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F

rng = np.random.RandomState(3)
n = 20
block = (torch.arange(n) >= 10).long()
prob = np.where(block.numpy()[:, None] == block.numpy()[None, :], 0.5, 0.05)
adj = np.triu(rng.rand(n, n) < prob, 1)
src, dst = map(torch.from_numpy, np.nonzero(adj | adj.T))
edge_index = torch.stack([src, dst], dim=0)
loops = torch.arange(0, n, dtype=torch.long).unsqueeze(0).repeat_interleave(2, dim=0)
edge_index = torch.cat([edge_index, loops], dim=1)
print(edge_index.shape, edge_index.dtype, edge_index.max())

def set_weights(module, seed=0, scale=1.0):
    r = np.random.RandomState(seed)
    with torch.no_grad():
        for p in module.parameters():
            fan_in = p.shape[-1] if p.dim() > 1 else 1
            p.copy_(torch.from_numpy(r.randn(*p.shape) * scale / fan_in**0.5 if p.dim() > 1 else np.zeros(p.shape)))


class GCNConv(nn.Module):
    def __init__(self, in_channels, out_channels):
        super().__init__()
        self.lin = nn.Linear(in_channels, out_channels, bias=False)
        self.bias = nn.Parameter(torch.zeros(out_channels))

    def forward(self, x, edge_index):
        row, col = edge_index
        deg = torch.zeros(x.size(0), dtype=x.dtype).scatter_add_(0, col, torch.ones(col.size(0)))
        deg_inv_sqrt = deg.pow(-0.5)
        deg_inv_sqrt[deg_inv_sqrt == float("inf")] = 0
        norm = deg_inv_sqrt[row] * deg_inv_sqrt[col]
        x = self.lin(x)
        out = torch.zeros_like(x).index_add_(0, col, norm.view(-1, 1) * x.index_select(0, row))
        return out + self.bias


class GCN(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1, self.conv2 = GCNConv(n, 8), GCNConv(8, 2)

    def forward(self, x, edge_index):
        x = F.dropout(F.relu(self.conv1(x, edge_index)), p=0.5, training=False)
        return F.log_softmax(self.conv2(x, edge_index), dim=1)


model = GCN()
set_weights(model)
optimizer = torch.optim.Adam(model.parameters(), lr=0.05, weight_decay=5e-4)
x, train_mask = torch.eye(n), torch.zeros(n, dtype=torch.bool)
train_mask[[0, 1, 18, 19]] = True
for epoch in range(1, 31):
    model.train()
    optimizer.zero_grad()
    out = model(x, edge_index)
    loss = F.nll_loss(out[train_mask], block[train_mask])
    loss.backward()
    optimizer.step()
    if epoch % 10 == 0:
        pred = out.argmax(dim=1)
        acc = int((pred[~train_mask] == block[~train_mask]).sum()) / int((~train_mask).sum())
        print(f"Epoch: {epoch:03d}, Loss: {loss:.4f}, Acc: {acc:.4f}")
