"""A physics-informed network for the damped oscillator: derivatives by autograd.grad with create_graph."""
import numpy as np
import torch
import torch.nn as nn

torch.manual_seed(123)


def exact_solution(d, w0, t):
    w = np.sqrt(w0**2 - d**2)
    phi = np.arctan(-d / w)
    A = 1 / (2 * np.cos(phi))
    return torch.exp(-d * t) * 2 * A * torch.cos(phi + w * t)


class FCN(nn.Module):
    def __init__(self, N_INPUT, N_OUTPUT, N_HIDDEN, N_LAYERS):
        super().__init__()
        activation = nn.Tanh
        self.fcs = nn.Sequential(*[nn.Linear(N_INPUT, N_HIDDEN), activation()])
        self.fch = nn.Sequential(*[nn.Sequential(*[nn.Linear(N_HIDDEN, N_HIDDEN), activation()]) for _ in range(N_LAYERS - 1)])
        self.fce = nn.Linear(N_HIDDEN, N_OUTPUT)

    def forward(self, x):
        x = self.fcs(x)
        x = self.fch(x)
        return self.fce(x)


pinn = FCN(1, 1, 16, 3)
print(pinn)
rng = np.random.RandomState(0)
with torch.no_grad():
    for layer in pinn.modules():
        if isinstance(layer, nn.Linear):
            bound = 1 / np.sqrt(layer.weight.size(1))
            layer.weight.copy_(torch.from_numpy(rng.uniform(-bound, bound, layer.weight.shape)))
            layer.bias.copy_(torch.from_numpy(rng.uniform(-bound, bound, layer.bias.shape)))
t_boundary = torch.tensor(0.).view(-1, 1).requires_grad_(True)
t_physics = torch.linspace(0, 1, 20).view(-1, 1).requires_grad_(True)
d, w0 = 2, 5
mu, k = 2 * d, w0**2
t_test = torch.linspace(0, 1, 50).view(-1, 1)
u_exact = exact_solution(d, w0, t_test)
print(u_exact.shape, u_exact[0], u_exact.dtype)
optimiser = torch.optim.Adam(pinn.parameters(), lr=5e-3)
for i in range(201):
    optimiser.zero_grad()
    lambda1, lambda2 = 1e-1, 1e-3
    u = pinn(t_boundary)
    loss1 = (torch.squeeze(u) - 1)**2
    dudt = torch.autograd.grad(u, t_boundary, torch.ones_like(u), create_graph=True)[0]
    loss2 = (torch.squeeze(dudt) - 0)**2
    u = pinn(t_physics)
    dudt = torch.autograd.grad(u, t_physics, torch.ones_like(u), create_graph=True)[0]
    d2udt2 = torch.autograd.grad(dudt, t_physics, torch.ones_like(dudt), create_graph=True)[0]
    loss3 = torch.mean((d2udt2 + mu * dudt + k * u)**2)
    loss = loss1 + lambda1 * loss2 + lambda2 * loss3
    loss.backward()
    optimiser.step()
    if i % 100 == 0:
        u = pinn(t_test).detach()
        print(f"Training step {i}: loss {loss:.4f}, error {torch.mean((u - u_exact)**2):.4f}")
print(loss1.shape, loss3, dudt.requires_grad)
hess = torch.autograd.functional.hessian(lambda v: (pinn(v.view(1, 1)) ** 2).sum(), torch.tensor([0.3]))
print(hess.shape)
