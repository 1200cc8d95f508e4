"""Recommendations by matrix factorisation with embeddings and biases."""
import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from torch import nn

rng = np.random.default_rng(0)
df = pd.DataFrame({"userId": rng.integers(0, 12, 120), "movieId": rng.integers(0, 9, 120)})
df["rating"] = (3 + np.sin(df.userId) + np.cos(2.0 * df.movieId)).round(1)
df = df.drop_duplicates(["userId", "movieId"])
print(len(df), df.rating.mean().round(3))
num_users, num_items = df.userId.nunique(), df.movieId.nunique()


class MF(nn.Module):
    def __init__(self, num_users, num_items, emb_size=5):
        super(MF, self).__init__()
        self.user_emb = nn.Embedding(num_users, emb_size)
        self.user_bias = nn.Embedding(num_users, 1)
        self.item_emb = nn.Embedding(num_items, emb_size)
        self.item_bias = nn.Embedding(num_items, 1)
        self.offset = nn.Parameter(torch.zeros(1))

    def forward(self, u, v):
        U = self.user_emb(u)
        V = self.item_emb(v)
        b_u = self.user_bias(u).squeeze()
        b_v = self.item_bias(v).squeeze()
        return (U * V).sum(1) + b_u + b_v + self.offset


model = MF(num_users, num_items)
print(model)
for p in model.parameters():
    p.data = torch.tensor(rng.uniform(0, 0.3, p.shape), dtype=torch.float32)
train = df.iloc[::2]
val = df.iloc[1::2]


def batch(d):
    return torch.LongTensor(d.userId.values), torch.LongTensor(d.movieId.values), torch.FloatTensor(d.rating.values)


def valid_loss(model):
    model.eval()
    users, items, ratings = batch(val)
    with torch.no_grad():
        return F.mse_loss(model(users, items), ratings).item()


def train_epocs(model, epochs=10, lr=0.01, wd=0.0):
    optimizer = torch.optim.Adam(model.parameters(), lr=lr, weight_decay=wd)
    for i in range(epochs):
        model.train()
        users, items, ratings = batch(train)
        y_hat = model(users, items)
        loss = F.mse_loss(y_hat, ratings)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if i % 10 == 0:
            print(loss.item())
    print("test loss %.3f " % valid_loss(model))


train_epocs(model, 30, 0.1)
train_epocs(model, 20, 0.01, wd=1e-4)
sim = F.cosine_similarity(model.item_emb.weight.unsqueeze(0), model.item_emb.weight.unsqueeze(1), dim=-1)
print(sim.shape, sim.diagonal().sum(), sim.requires_grad)
values, idx = torch.topk(sim.fill_diagonal_(-1) if not sim.requires_grad else sim.detach(), k=2, dim=1)
print(idx[:, 0])
print(torch.allclose(sim, sim.T), model.offset.data)
