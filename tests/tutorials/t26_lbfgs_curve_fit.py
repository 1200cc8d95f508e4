"""Fit a curve with LBFGS and a closure, strong Wolfe and not; then Adam from the same start."""
import numpy as np
import torch
from torch import optim

rng = np.random.default_rng(1)
xs = torch.linspace(0, 4, 40, dtype=torch.float64)
ys = 2.5 * torch.exp(-1.3 * xs) + 0.5 + 0.02 * torch.from_numpy(rng.standard_normal(40))


class Model(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.a = torch.nn.Parameter(torch.tensor(1.0, dtype=torch.float64))
        self.b = torch.nn.Parameter(torch.tensor(1.0, dtype=torch.float64))
        self.c = torch.nn.Parameter(torch.tensor(0.0, dtype=torch.float64))

    def forward(self, x):
        return self.a * torch.exp(-self.b * x) + self.c

    def string(self):
        return f"y = {self.a.item():.3f} exp(-{self.b.item():.3f} x) + {self.c.item():.3f}"


for kind in (None, "strong_wolfe"):
    model = Model()
    opt = optim.LBFGS(model.parameters(), lr=1, max_iter=10, history_size=5, line_search_fn=kind)
    calls = 0

    def closure():
        global calls
        calls += 1
        opt.zero_grad()
        loss = torch.mean((model(xs) - ys) ** 2)
        loss.backward()
        return loss

    for i in range(4):
        loss = opt.step(closure)
        print(kind, i, "%.6f" % loss.item())
    print(model.string())
print(opt)
model = Model().double()
opt = optim.Adam(model.parameters(), lr=0.05)
for i in range(200):
    opt.zero_grad()
    loss = torch.nn.functional.mse_loss(model(xs), ys)
    loss.backward()
    opt.step()
print(model.string(), loss)
print([round(p.item(), 3) for p in model.parameters()])
print(model.a.data, model.a.grad is not None, dict(model.named_parameters()).keys())
x = torch.tensor([-1.2, 1.0], requires_grad=True)
rosen = lambda: (1 - x[0]) ** 2 + 100 * (x[1] - x[0] ** 2) ** 2
opt = optim.LBFGS([x], line_search_fn="strong_wolfe", max_iter=50)


def close():
    opt.zero_grad()
    f = rosen()
    f.backward()
    return f


opt.step(close)
print(f"rosenbrock {rosen().item():.2e}" if rosen() > 1e-6 else "rosenbrock solved", torch.round(x.detach(), decimals=3))
H = torch.autograd.functional.hessian(lambda p: (1 - p[0]) ** 2 + 100 * (p[1] - p[0] ** 2) ** 2, torch.tensor([1.0, 1.0]))
print(H, torch.linalg.eigvalsh(H))
