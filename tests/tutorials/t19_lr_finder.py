"""A learning-rate finder and a tour of the schedulers."""
import copy
import math

import numpy as np
import torch
import torch.nn as nn
import torch.optim as optim
from torch.optim.lr_scheduler import (CosineAnnealingLR, CosineAnnealingWarmRestarts, CyclicLR, ExponentialLR, LambdaLR,
                                      LinearLR, MultiStepLR, OneCycleLR, SequentialLR, StepLR, _LRScheduler)


class ExponentialFinder(_LRScheduler):
    def __init__(self, optimizer, end_lr, num_iter, last_epoch=-1):
        self.end_lr, self.num_iter = end_lr, num_iter
        super().__init__(optimizer, last_epoch)

    def get_lr(self):
        r = self.last_epoch / (self.num_iter - 1)
        return [base_lr * (self.end_lr / base_lr) ** r for base_lr in self.base_lrs]


rng = np.random.RandomState(0)
X = torch.tensor(rng.randn(64, 5), dtype=torch.float32)
y = (X @ torch.tensor([1., -2., 0.5, 0., 3.]) > 0).float().unsqueeze(1)
model = nn.Sequential(nn.Linear(5, 8), nn.ReLU(), nn.Linear(8, 1))
for p in model.parameters():
    p.data = torch.tensor(rng.uniform(-0.4, 0.4, p.shape), dtype=torch.float32)
initial = copy.deepcopy(model.state_dict())
optimizer = optim.SGD(model.parameters(), lr=1e-3)
finder = ExponentialFinder(optimizer, 10, 20)
criterion = nn.BCEWithLogitsLoss()
lrs, losses, best = [], [], math.inf
for i in range(20):
    optimizer.zero_grad()
    loss = criterion(model(X), y)
    loss.backward()
    optimizer.step()
    lrs.append(finder.get_last_lr()[0])
    finder.step()
    losses.append(loss.item())
    best = min(best, losses[-1])
    if losses[-1] > 4 * best:
        print("diverged at", i)
        break
print("suggested %.4f" % lrs[int(np.gradient(np.array(losses)).argmin())], len(lrs))
model.load_state_dict(initial)
print(optimizer)


def rates(make, steps=8, lr=0.1):
    opt = optim.SGD([nn.Parameter(torch.zeros(1))], lr=lr, momentum=0.9)
    sched = make(opt)
    out = []
    for _ in range(steps):
        out.append(opt.param_groups[0]["lr"])
        opt.step()
        sched.step()
    return " ".join("%.4f" % r for r in out)


print("StepLR", rates(lambda o: StepLR(o, 3, gamma=0.1)))
print("MultiStepLR", rates(lambda o: MultiStepLR(o, milestones=[2, 5], gamma=0.5)))
print("ExponentialLR", rates(lambda o: ExponentialLR(o, 0.9)))
print("CosineAnnealingLR", rates(lambda o: CosineAnnealingLR(o, T_max=8, eta_min=0.01)))
print("WarmRestarts", rates(lambda o: CosineAnnealingWarmRestarts(o, T_0=3, T_mult=2)))
print("LambdaLR", rates(lambda o: LambdaLR(o, lr_lambda=lambda e: 0.95 ** e)))
print("CyclicLR", rates(lambda o: CyclicLR(o, base_lr=0.01, max_lr=0.1, step_size_up=3)))
print("OneCycleLR", rates(lambda o: OneCycleLR(o, max_lr=0.5, total_steps=8)))
print("Sequential", rates(lambda o: SequentialLR(o, [LinearLR(o, 0.1, 1.0, 3), ExponentialLR(o, 0.8)], milestones=[3])))
opt = optim.Adam([torch.zeros(1, requires_grad=True)], lr=1.0)
one = OneCycleLR(opt, max_lr=1.0, epochs=2, steps_per_epoch=2)
try:
    for _ in range(6):
        opt.step()
        one.step()
except ValueError as e:
    print("ValueError", len(str(e)) > 20)
warm = LambdaLR(opt, lambda step: min(1.0, (step + 1) / 5))
print(warm.state_dict()["last_epoch"], warm.get_last_lr(), opt.param_groups[0].keys() >= {"lr", "betas", "eps"})
