"""Logistic regression by hand: tensors, autograd, no modules; prints tensors as one does when one learns."""
import numpy as np
import torch

x = torch.tensor([1., 2., 3.], requires_grad=True)
y = x ** 2 + 2
print(x)
print(y)
z = y.mean()
print(z, z.grad_fn is None, x.grad_fn)
z.backward()
print(x.grad)
a = torch.ones(2, 2, requires_grad=True)
b = a * 3
print(b)
print(b.requires_grad, b.is_leaf, a.is_leaf, a.grad)
print((a @ a).sum(), torch.exp(a)[0], a.view(4), a.T, -a, a / 2, a - 1, a.sigmoid())
print(a.detach(), a.data)
c = torch.zeros(1, dtype=torch.float64, requires_grad=True)
print(c, c.dtype, c.shape, c.device)

rng = np.random.RandomState(0)
X = np.r_[rng.randn(40, 2) + [1.5, 1], rng.randn(40, 2) - [1, 1.5]]
t = np.r_[np.ones(40), np.zeros(40)]
X = torch.from_numpy(X).float()
t = torch.from_numpy(t).float()
w = torch.zeros(2, requires_grad=True)
b = torch.zeros(1, requires_grad=True)
print(f"{X.shape} {t.shape} {X.dtype} {w.shape[0]}")
lr = 0.5
for step in range(101):
    logits = X.mv(w) + b
    p = 1 / (1 + torch.exp(-logits))
    loss = -(t * torch.log(p) + (1 - t) * torch.log(1 - p)).mean()
    if w.grad is not None:
        w.grad.zero_()
        b.grad.zero_()
    loss.backward()
    with torch.no_grad():
        w -= lr * w.grad
        b -= lr * b.grad
    if step % 50 == 0:
        print("step", step, "loss", loss, "w", w.tolist() if step == 0 else w)
print("accuracy", ((p > 0.5).float() == t).float().mean())
print("accuracy", ((p > 0.5) == t.bool()).sum() / len(t))
print(torch.round(w, decimals=1), b.item() if b.numel() == 1 else b)
print(str(t[:5].int().tolist()), t[:5].long(), t[:3] > 0, torch.tensor(5), torch.tensor([]), torch.tensor([[1, 2], [3, 4]]).float())
