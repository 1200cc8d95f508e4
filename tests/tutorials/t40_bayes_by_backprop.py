"""A Bayesian linear model by variational inference, with kl_divergence."""
import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.distributions import Normal, kl_divergence

rng = np.random.RandomState(8)
X = torch.tensor(rng.randn(60, 3)).float()
y = X @ torch.tensor([1.0, -2.0, 0.5]) + 0.3 * torch.tensor(rng.randn(60)).float()


class BayesLinear(nn.Module):
    def __init__(self, in_features, prior_std=1.0):
        super().__init__()
        self.mu = nn.Parameter(torch.zeros(in_features))
        self.rho = nn.Parameter(torch.full((in_features,), -2.0))
        self.prior = Normal(0.0, prior_std)

    @property
    def posterior(self):
        return Normal(self.mu, F.softplus(self.rho))

    def forward(self, x):
        eps = torch.from_numpy(rng.randn(self.mu.numel())).type_as(x)
        w = self.posterior.loc + self.posterior.scale * eps
        return x.mv(w)

    def kl(self):
        return kl_divergence(self.posterior, Normal(torch.zeros(3), torch.ones(3))).sum()


model = BayesLinear(3)
log_noise = nn.Parameter(torch.tensor(0.0))
opt = torch.optim.Adam([{"params": model.parameters()}, {"params": [log_noise], "lr": 0.02}], lr=0.05)
for it in range(81):
    nll = -Normal(model(X), log_noise.exp()).log_prob(y).sum()
    elbo = -(nll + model.kl())
    opt.zero_grad()
    (-elbo).backward()
    opt.step()
    if it % 20 == 0:
        print(f"{it:3d} elbo {elbo.item():9.3f} kl {model.kl().item():.3f} noise {log_noise.exp().item():.3f}")
print("posterior", model.posterior.mean.detach(), model.posterior.stddev)
A = X.T @ X / log_noise.exp().detach() ** 2 + torch.eye(3)
exact = torch.linalg.solve(A, X.T @ y / log_noise.exp().detach() ** 2)
print("exact", exact, torch.linalg.lstsq(X, y.unsqueeze(1)).solution.T, torch.linalg.inv(A).diagonal().sqrt())
