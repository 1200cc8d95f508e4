"""Gaussian process regression by Cholesky factors, hyperparameters by gradient."""
import math

import numpy as np
import torch
from torch.distributions import MultivariateNormal, Normal

torch.set_default_dtype(torch.float64)
rng = np.random.RandomState(0)
X = torch.tensor(np.sort(rng.uniform(-3, 3, 15)))[:, None]
y = torch.sin(2 * X).squeeze(-1) + 0.1 * torch.tensor(rng.randn(15))
Xs = torch.linspace(-3, 3, 7).unsqueeze(-1)


def rbf(a, b, lengthscale, variance):
    d2 = torch.cdist(a / lengthscale, b / lengthscale) ** 2
    return variance * torch.exp(-0.5 * d2)


log_params = torch.nn.Parameter(torch.zeros(3))
opt = torch.optim.Adam([log_params], lr=0.1)


def nll():
    ls, var, noise = log_params.exp()
    d = (X - X.T) / ls
    K = var * torch.exp(-0.5 * d ** 2) + (noise + 1e-6) * torch.eye(len(X))
    L = torch.linalg.cholesky(K)
    alpha = torch.cholesky_solve(y.unsqueeze(-1), L)
    return 0.5 * (y @ alpha).squeeze() + L.diagonal().log().sum() + 0.5 * len(X) * math.log(2 * math.pi), L, alpha


for i in range(60):
    opt.zero_grad()
    loss, L, alpha = nll()
    loss.backward()
    opt.step()
    if i % 20 == 0:
        print(i, f"{loss.item():.4f}", log_params.grad)
ls, var, noise = log_params.detach().exp().tolist()
print(f"lengthscale={ls:.3f} variance={var:.3f} noise={noise:.4f}")
with torch.no_grad():
    Ks = rbf(X, Xs, ls, var)
    mu = Ks.T @ alpha
    v = torch.linalg.solve_triangular(L, Ks, upper=False)
    cov = rbf(Xs, Xs, ls, var) - v.T @ v
    std = cov.diag().clamp(min=0).sqrt()
print(mu.squeeze(), std)
for m, s in zip(mu.flatten(), std):
    print(f"{m:+.3f} ± {2 * s:.3f}")
K = rbf(X, X, ls, var) + noise * torch.eye(15)
mvn = MultivariateNormal(torch.zeros(15), covariance_matrix=K)
print(mvn.log_prob(y), mvn.batch_shape, mvn.event_shape)
print(Normal(torch.tensor([0.0]), torch.tensor([1.0])).cdf(torch.tensor([1.96])), Normal(0.0, 1.0))
print(torch.logdet(K), torch.slogdet(K)[1], torch.cholesky_inverse(torch.linalg.cholesky(K)).shape)
try:
    torch.linalg.cholesky(-torch.eye(2))
except RuntimeError as e:
    print("not positive definite:", type(e).__name__ in ("_LinAlgError", "LinAlgError"), isinstance(e, torch.linalg.LinAlgError))
torch.set_default_dtype(torch.float32)
print(torch.get_default_dtype(), torch.zeros(1).dtype)
