"""A Gaussian mixture by EM and by gradients, with logsumexp, bincount, cdist and k-means."""
import numpy as np
import torch

rng = np.random.RandomState(17)
centers = np.array([[0, 0], [3, 3], [0, 4]])
X = torch.tensor(centers[rng.randint(0, 3, 150)] + 0.5 * rng.randn(150, 2), dtype=torch.float)
n, d, k = X.size(0), X.size(1), 3

means = X[:k].clone()
for it in range(10):
    assignment = torch.cdist(X, means).argmin(dim=1)
    counts = torch.bincount(assignment, minlength=k).clamp(min=1).type_as(X)
    means = torch.zeros_like(means).index_add(0, assignment, X) / counts.unsqueeze(1)
inertia = torch.cdist(X, means).min(dim=1)[0].pow(2).sum()
order = torch.argsort(means[:, 0] + 10 * means[:, 1])
print("kmeans", means[order], counts[order].tolist(), f"{inertia:.3f}")


def log_gaussian(x, mu, cov):
    L = torch.linalg.cholesky(cov)
    diff = (x.unsqueeze(1) - mu).unsqueeze(-1)
    solved = torch.linalg.solve_triangular(L.expand(x.size(0), -1, -1, -1), diff, upper=False)
    return -0.5 * (solved.squeeze(-1) ** 2).sum(-1) - L.diagonal(dim1=-2, dim2=-1).log().sum(-1) - d / 2 * np.log(2 * np.pi)


pi, cov = torch.full((k,), 1.0 / k), torch.eye(d).unsqueeze(0).repeat_interleave(k, 0)
for it in range(15):
    log_joint = pi.log() + log_gaussian(X, means, cov)
    log_norm = torch.logsumexp(log_joint, dim=1, keepdim=True)
    resp = torch.exp(log_joint - log_norm)
    nk = resp.sum(0)
    means = resp.t().mm(X) / nk[:, None]
    diff = X[:, None] - means
    cov = torch.einsum("nk,nki,nkj->kij", resp, diff, diff) / nk[:, None, None] + 1e-4 * torch.eye(d)
    pi = nk / n
    if it % 7 == 0:
        print(it, "log-likelihood %.4f" % log_norm.mean().item())
print(pi[order], torch.linalg.det(cov)[order], torch.linalg.eigvalsh(cov[order]))
values, indices = torch.sort(resp.max(1).values)
print(values[:3] < 1, torch.unique(resp.argmax(1), return_counts=True)[1].sum())

logits = torch.zeros(k, requires_grad=True)
mu = means.detach().clone().add_(0.3).requires_grad_(True)
opt = torch.optim.LBFGS([logits, mu], max_iter=15, line_search_fn="strong_wolfe")


def closure():
    opt.zero_grad()
    loss = -torch.logsumexp(torch.log_softmax(logits, 0) + log_gaussian(X, mu, cov), 1).mean()
    loss.backward()
    return loss


opt.step(closure)
print("by gradients %.4f" % -closure().item(), torch.softmax(logits, -1)[order].detach())
