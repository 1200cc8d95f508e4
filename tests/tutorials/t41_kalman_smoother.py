"""A Kalman filter written with tensors, whose noise is fitted by gradients."""
import numpy as np
import torch

torch.set_default_dtype(torch.float64)
rng = np.random.RandomState(9)
dt = 0.1
F_ = torch.tensor([[1.0, dt], [0.0, 1.0]])
H = torch.tensor([[1.0, 0.0]])
truth = torch.sin(torch.arange(60) * dt * 2)
z = truth + 0.2 * torch.tensor(rng.randn(60))
log_q = torch.zeros((), requires_grad=True)
log_r = torch.zeros((), requires_grad=True)
I2 = torch.eye(2)


def run_filter(z, q, r):
    Q = q * torch.tensor([[dt**4 / 4, dt**3 / 2], [dt**3 / 2, dt**2]])
    x, P = torch.zeros(2, 1), 10 * I2
    nll, xs = z.new_tensor(0.0), []
    for zk in z:
        x, P = F_ @ x, F_ @ P @ F_.t() + Q
        S = torch.addmm(r.reshape(1, 1), H @ P, H.t())
        L = torch.linalg.cholesky(S)
        K = torch.cholesky_solve(H @ P, L).mT
        v = zk.view(1, 1) - H.matmul(x)
        nll = nll + 0.5 * (torch.logdet(S) + (v.t() @ torch.inverse(S) @ v).squeeze())
        x = x + K @ v
        P = (I2 - K @ H) @ P
        xs.append(x.squeeze(-1))
    return nll, torch.stack(xs)


opt = torch.optim.Adam([log_q, log_r], lr=0.3)
for it in range(21):
    opt.zero_grad()
    nll, xs = run_filter(z, log_q.exp(), log_r.exp())
    nll.backward()
    if it % 5 == 0:
        print("%2d nll %.4f q %.4f r %.4f" % (it, nll, log_q.exp(), log_r.exp()))
    opt.step()
rmse = lambda a, b: torch.sqrt(torch.mean((a - b) ** 2)).item()
print(f"measured {rmse(z, truth):.4f} filtered {rmse(xs[:, 0], truth):.4f}", xs.dtype, xs.shape)
