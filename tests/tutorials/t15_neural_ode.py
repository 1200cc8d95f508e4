"""A neural ODE by Euler's and Runge-Kutta's method."""
import numpy as np
import torch
import torch.nn as nn

true_y0 = torch.tensor([[2., 0.]])
t = torch.linspace(0., 5., 26)
true_A = torch.tensor([[-0.1, 2.0], [-2.0, -0.1]])


class Lambda(nn.Module):
    def forward(self, t, y):
        return torch.mm(y**3, true_A)


def odeint(func, y0, t, method="rk4"):
    ys, y = [y0], y0
    for t0, t1 in zip(t[:-1], t[1:]):
        h = t1 - t0
        if method == "euler":
            y = y + h * func(t0, y)
        else:
            k1 = func(t0, y)
            k2 = func(t0 + h / 2, y + h * k1 / 2)
            k3 = func(t0 + h / 2, y + h * k2 / 2)
            k4 = func(t1, y + h * k3)
            y = y + h * (k1 + 2 * k2 + 2 * k3 + k4) / 6
        ys.append(y)
    return torch.stack(ys)


with torch.no_grad():
    true_y = odeint(lambda t, y: torch.mm(y, true_A), true_y0, t)
print(true_y.size(), true_y[-1])


class ODEFunc(nn.Module):
    def __init__(self):
        super(ODEFunc, self).__init__()
        self.net = nn.Sequential(nn.Linear(2, 16), nn.Tanh(), nn.Linear(16, 2))
        rng = np.random.RandomState(0)
        for m in self.net.modules():
            if isinstance(m, nn.Linear):
                nn.init.normal_(m.weight, mean=0, std=0.1)
                m.weight.data = torch.as_tensor(rng.normal(0, 0.3, m.weight.shape)).float()
                nn.init.constant_(m.bias, val=0)

    def forward(self, t, y):
        return self.net(y)


class RunningAverageMeter(object):
    def __init__(self, momentum=0.9):
        self.momentum = momentum
        self.val, self.avg = None, 0

    def update(self, val):
        self.avg = val if self.val is None else self.avg * self.momentum + val * (1 - self.momentum)
        self.val = val


func = ODEFunc()
optimizer = torch.optim.RMSprop(func.parameters(), lr=5e-3)
loss_meter = RunningAverageMeter(0.8)
for itr in range(1, 41):
    s = torch.arange(0, 20, 2)
    batch_y0 = true_y[s]
    batch_t = t[:6]
    batch_y = torch.stack([true_y[s + i] for i in range(6)], dim=0)
    optimizer.zero_grad()
    pred_y = odeint(func, batch_y0, batch_t, method="euler" if itr % 2 else "rk4")
    loss = torch.mean(torch.abs(pred_y - batch_y))
    loss.backward()
    optimizer.step()
    loss_meter.update(loss.item())
    if itr % 10 == 0:
        with torch.no_grad():
            pred_y = odeint(func, true_y0, t)
            loss = torch.mean(torch.abs(pred_y - true_y))
            print("Iter {:04d} | Total Loss {:.6f} | avg {:.4f}".format(itr, loss.item(), loss_meter.avg))
J = torch.autograd.functional.jacobian(lambda y: func(0, y), true_y0)
print(J.shape, J.squeeze().shape)
J2 = torch.func.jacrev(func, argnums=1)(0, true_y0)
print(torch.allclose(J, J2, atol=1e-6))
