"""A small student that learns from a teacher's softened outputs."""
import copy

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F

rng = np.random.RandomState(4)
X = torch.tensor(rng.randn(120, 6), dtype=torch.float32)
y = (X[:, 0] * X[:, 1] > 0).long() + (X[:, 2] > 0.5).long()

def set_weights(module, seed=0, scale=1.0):
    r = np.random.RandomState(seed)
    with torch.no_grad():
        for p in module.parameters():
            fan_in = p.shape[-1] if p.dim() > 1 else 1
            p.copy_(torch.from_numpy(r.randn(*p.shape) * scale / fan_in**0.5 if p.dim() > 1 else np.zeros(p.shape)))


class Net(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(6, width), nn.GELU(), nn.LayerNorm(width))
        self.head = nn.Linear(width, 3)

    def forward(self, x):
        return self.head(self.body(x))


def train(model, loss_fn, epochs):
    opt = torch.optim.AdamW(model.parameters(), lr=1e-2)
    sched = torch.optim.lr_scheduler.CosineAnnealingLR(opt, T_max=epochs)
    best, best_state = float("inf"), None
    for epoch in range(epochs):
        for xb, yb in zip(X.chunk(4), torch.chunk(y, 4)):
            opt.zero_grad(set_to_none=True)
            loss = loss_fn(model(xb), xb, yb)
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), max_norm=1.0)
            opt.step()
        sched.step()
        if loss.item() < best:
            best, best_state = loss.item(), copy.deepcopy(model.state_dict())
    model.load_state_dict(best_state)
    return best, sched.get_last_lr()[0]


teacher, student = Net(32), Net(6)
set_weights(teacher, 1)
set_weights(student, 2)
print("params", sum(p.numel() for p in teacher.parameters()), sum(p.numel() for p in student.parameters()))
print("teacher %.4f %.5f" % train(teacher, lambda out, xb, yb: F.cross_entropy(out, yb, label_smoothing=0.05), 15))
teacher.eval().requires_grad_(False)
T, alpha = 4.0, 0.7


def distillation(out, xb, yb):
    with torch.no_grad():
        soft = teacher(xb)
    kd = nn.KLDivLoss(reduction="batchmean")(F.log_softmax(out / T, dim=1), F.softmax(soft / T, dim=1)) * T * T
    return alpha * kd + (1 - alpha) * F.cross_entropy(out, yb)


print("student %.4f %.5f" % train(student, distillation, 15))
acc = [(m(X).argmax(1) == y).float().mean().item() for m in (teacher, student)]
agree = teacher(X).argmax(-1).eq(student(X).argmax(-1)).sum().item() / len(X)
print("acc {:.2f} {:.2f} agreement {:.2f}".format(*acc, agree))
