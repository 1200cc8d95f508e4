"""A mixture density network, with torch.distributions."""
import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.distributions import Categorical, Independent, MixtureSameFamily, Normal, kl_divergence

rng = np.random.RandomState(0)
n = 200
d = torch.tensor(rng.rand(n), dtype=torch.float).unsqueeze(1)
x = d + 0.3 * torch.sin(2 * 3.1416 * d) + torch.tensor(0.05 * rng.randn(n, 1), dtype=torch.float)
x, y = x, d


class MDN(nn.Module):
    def __init__(self, n_hidden, n_gaussians):
        super().__init__()
        self.z_h = nn.Sequential(nn.Linear(1, n_hidden), nn.Tanh())
        self.z_pi = nn.Linear(n_hidden, n_gaussians)
        self.z_mu = nn.Linear(n_hidden, n_gaussians)
        self.z_sigma = nn.Linear(n_hidden, n_gaussians)

    def forward(self, x):
        z_h = self.z_h(x)
        pi = F.softmax(self.z_pi(z_h), -1)
        sigma = torch.exp(self.z_sigma(z_h))
        mu = self.z_mu(z_h)
        return pi, sigma, mu


def mdn_loss(pi, sigma, mu, y):
    comp = -0.5 * ((y.expand_as(mu) - mu) * torch.reciprocal(sigma)) ** 2
    comp = (torch.exp(comp) * torch.reciprocal(sigma)) / np.sqrt(2 * np.pi)
    result = torch.sum(comp * pi, dim=1)
    return torch.mean(-torch.log(result))


network = MDN(n_hidden=12, n_gaussians=3)
for p in network.parameters():
    p.data = torch.as_tensor(rng.uniform(-0.8, 0.8, tuple(p.shape))).to(p)
optimizer = torch.optim.Adam(network.parameters(), lr=0.02)
for epoch in range(81):
    pi, sigma, mu = network(x)
    loss = mdn_loss(pi, sigma, mu, y)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    if epoch % 20 == 0:
        print(epoch, loss.data.tolist() if epoch == 0 else loss.item())
mix = MixtureSameFamily(Categorical(probs=pi.detach()), Normal(mu.detach(), sigma.detach()))
print(mix.log_prob(y.squeeze(1)).mean(), mix.mean.shape, mix.batch_shape, mix.variance.mean())
print(-mix.log_prob(y.squeeze()).mean() - mdn_loss(pi, sigma, mu, y).detach() < 1e-4)
cat = Categorical(logits=torch.tensor([[1.0, 2.0, 0.5], [0., 0., 0.]]))
print(cat.probs, cat.entropy(), cat.log_prob(torch.tensor([1, 2])), cat.sample().shape, cat.sample((4,)).shape)
a, b = Normal(0.0, 1.0), Normal(torch.tensor(1.0), torch.tensor(2.0))
print(kl_divergence(a, b), a.entropy(), b.log_prob(torch.tensor(0.0)), b.rsample((3,)).shape, b.mean, b.stddev, b.variance)
ind = Independent(Normal(torch.zeros(2, 3), torch.ones(2, 3)), 1)
print(ind.batch_shape, ind.event_shape, ind.log_prob(torch.zeros(2, 3)), ind)
print(Categorical(torch.tensor([0.2, 0.8])), Normal(torch.zeros(2), torch.ones(2)), torch.distributions.Bernoulli(0.3).entropy())
try:
    Normal(0.0, -1.0)
except ValueError as e:
    print("ValueError", len(str(e)) > 20)
beta = torch.distributions.Beta(torch.tensor([2.0]), torch.tensor([3.0]))
gamma = torch.distributions.Gamma(2.0, 1.5)
print(beta.mean, beta.log_prob(torch.tensor([0.4])), gamma.mean, gamma.log_prob(torch.tensor(1.0)), torch.distributions.Poisson(3.0).log_prob(torch.tensor(2.0)))
t = torch.distributions.Dirichlet(torch.ones(3))
print(t.mean, t.log_prob(torch.tensor([0.2, 0.3, 0.5])), torch.distributions.Uniform(0., 2.).log_prob(torch.tensor(1.0)), torch.distributions.Exponential(2.0).mean)
