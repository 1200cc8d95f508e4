"""A linear support vector machine, a triplet net, and a contrastive loss with cdist."""
import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F

np.random.seed(0)
X = np.r_[np.random.randn(50, 2) + 2, np.random.randn(50, 2) - 2].astype(np.float32)
Y = np.r_[np.ones(50), -np.ones(50)].astype(np.float32)
X = (X - X.mean()) / X.std()


class SVM(nn.Module):
    def __init__(self):
        super(SVM, self).__init__()
        self.fc = nn.Linear(2, 1)
        nn.init.zeros_(self.fc.weight), nn.init.zeros_(self.fc.bias)

    def forward(self, x):
        return self.fc(x)


model = SVM()
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
perm = np.random.permutation(len(Y))
for epoch in range(5):
    sum_loss = 0
    for i in range(0, len(Y), 10):
        x = torch.FloatTensor(X[perm[i:i + 10]])
        y = torch.FloatTensor(Y[perm[i:i + 10]])
        optimizer.zero_grad()
        output = model(x).squeeze()
        weight = model.fc.weight.squeeze()
        loss = torch.mean(torch.clamp(1 - y * output, min=0))
        loss += 0.01 * (weight.t() @ weight) / 2.0
        loss.backward()
        optimizer.step()
        sum_loss += float(loss)
    print("Epoch: {:4d}\tloss: {}".format(epoch, round(sum_loss / len(Y), 5)))
W = model.fc.weight.squeeze().detach().cpu().numpy()
b = model.fc.bias.squeeze().detach().cpu().numpy()
print(W.round(3), b.round(3), W.shape, b.shape)
print("accuracy", (torch.sign(model(torch.from_numpy(X)).squeeze()) == torch.from_numpy(Y)).float().mean().item())


class ContrastiveLoss(nn.Module):
    def __init__(self, margin=1.0):
        super().__init__()
        self.margin = margin

    def forward(self, output1, output2, label):
        euclidean_distance = F.pairwise_distance(output1, output2, keepdim=True)
        return torch.mean((1 - label) * torch.pow(euclidean_distance, 2)
                          + label * torch.pow(torch.clamp(self.margin - euclidean_distance, min=0.0), 2))


def nt_xent(z, temperature=0.5):
    z = F.normalize(z, dim=1)
    sim = z @ z.T / temperature
    n = z.shape[0]
    sim.masked_fill_(torch.eye(n, dtype=torch.bool), float("-inf"))
    targets = torch.arange(n).roll(n // 2)
    return F.cross_entropy(sim, targets)


def batch_hard_triplet(emb, labels, margin=0.3):
    dist = torch.cdist(emb, emb, p=2)
    same = labels[:, None] == labels[None, :]
    hardest_pos = (dist * same.float()).max(dim=1)[0]
    hardest_neg = dist.masked_fill(same, float("inf")).min(dim=1)[0]
    return F.relu(hardest_pos - hardest_neg + margin).mean()


embed = nn.Sequential(nn.Linear(2, 8), nn.ReLU(), nn.Linear(8, 3))
for p in embed.parameters():
    p.data = torch.from_numpy(np.random.uniform(-0.5, 0.5, p.shape).astype(np.float32))
a, bb = torch.from_numpy(X[:20]), torch.from_numpy(X[40:60])
lab = torch.tensor(np.r_[np.zeros(10), np.ones(10)], dtype=torch.float32)[:, None]
print(ContrastiveLoss()(embed(a), embed(bb), lab))
labels = torch.from_numpy((Y > 0).astype(int))
opt = torch.optim.Adam(embed.parameters(), lr=1e-2)
for i in range(31):
    e = embed(torch.from_numpy(X))
    loss = batch_hard_triplet(e, labels) + 0.1 * nt_xent(e[:20])
    opt.zero_grad()
    loss.backward()
    opt.step()
    if i % 10 == 0:
        print(i, "%.4f" % loss.item())
print(nn.TripletMarginLoss(margin=1.0)(e[:5], e[5:10], e[60:65]), nn.CosineEmbeddingLoss()(e[:5], e[60:65], torch.tensor([1, -1, 1, -1, 1])))
print(nn.HingeEmbeddingLoss()(torch.tensor([0.5, 2.0]), torch.tensor([1, -1])), nn.MarginRankingLoss()(torch.tensor([1.]), torch.tensor([2.]), torch.tensor([1.])), nn.MultiMarginLoss()(torch.tensor([[0.1, 0.2, 0.4, 0.8]]), torch.tensor([3])))
