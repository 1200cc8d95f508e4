"""A restricted Boltzmann machine by contrastive divergence, without autograd; draws from numpy."""
import numpy as np
import torch
import torch.nn.functional as F

rng = np.random.RandomState(13)
patterns = torch.tensor([[1, 1, 1, 0, 0, 0], [0, 0, 0, 1, 1, 1], [1, 0, 1, 0, 1, 0]], dtype=torch.float32)
data = patterns.repeat_interleave(10, dim=0)


class RBM():
    def __init__(self, n_vis, n_hid):
        self.W = torch.from_numpy(0.1 * rng.randn(n_hid, n_vis)).float()
        self.a = torch.zeros(1, n_hid)
        self.b = torch.zeros(1, n_vis)

    def sample(self, p):
        return (torch.from_numpy(rng.rand(*p.shape)) < p).float()

    def sample_h(self, x):
        activation = torch.mm(x, self.W.t()) + self.a.expand(x.size(0), -1)
        p = torch.sigmoid(activation)
        return p, self.sample(p)

    def sample_v(self, y):
        activation = torch.mm(y, self.W) + self.b.expand_as(torch.mm(y, self.W))
        p = torch.sigmoid(activation)
        return p, self.sample(p)

    def train(self, v0, vk, ph0, phk, lr):
        self.W += lr * (torch.mm(v0.t(), ph0) - torch.mm(vk.t(), phk)).t() / v0.size(0)
        self.b += lr * torch.sum((v0 - vk), 0) / len(v0)
        self.a.add_(torch.sum((ph0 - phk), 0), alpha=lr / len(v0))

    def free_energy(self, v):
        return -v.mv(self.b.squeeze(0)) - F.softplus(F.linear(v, self.W, self.a.squeeze())).sum(1)


rbm = RBM(6, 4)
for epoch in range(1, 61):
    train_loss, s = 0, 0.0
    for id_user in range(0, len(data), 10):
        vk = v0 = data[id_user:id_user + 10]
        ph0, _ = rbm.sample_h(v0)
        for k in range(2):
            _, hk = rbm.sample_h(vk)
            _, vk = rbm.sample_v(hk)
            vk[v0 < 0] = v0[v0 < 0]
        phk, _ = rbm.sample_h(vk)
        rbm.train(v0, vk, ph0, phk, 0.5)
        train_loss += torch.mean(torch.abs(v0[v0 >= 0] - vk[v0 >= 0]))
        s += 1.
    if epoch % 20 == 0:
        print("epoch: " + str(epoch) + f" loss: {train_loss / s:.4f}")
print(rbm.free_energy(patterns) < rbm.free_energy(torch.ones(3, 6)), rbm.W.shape, rbm.W.norm(p="fro"))
