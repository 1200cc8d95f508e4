"""Adversarial examples by the sign of the gradient, and by projected steps."""
import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F

rng = np.random.RandomState(14)
x = torch.from_numpy(rng.rand(80, 2).astype("float32"))
y = ((x - 0.5).pow(2).sum(1).sqrt() < 0.35).long()

def set_weights(module, seed=0, scale=1.0):
    r = np.random.RandomState(seed)
    with torch.no_grad():
        for p in module.parameters():
            fan_in = p.shape[-1] if p.dim() > 1 else 1
            p.copy_(torch.from_numpy(r.randn(*p.shape) * scale / fan_in**0.5 if p.dim() > 1 else np.zeros(p.shape)))


model = nn.Sequential(nn.Linear(2, 20), nn.ReLU(), nn.Linear(20, 20), nn.ReLU(), nn.Linear(20, 2))
set_weights(model, 3, 1.4)
opt = torch.optim.NAdam(model.parameters(), lr=0.02)
for _ in range(80):
    opt.zero_grad()
    F.cross_entropy(model(x), y).backward()
    opt.step()


def fgsm_attack(image, epsilon, data_grad):
    perturbed_image = image + epsilon * data_grad.sign()
    return torch.clamp(perturbed_image, 0, 1)


def pgd(model, x, y, eps, steps=5):
    delta = torch.zeros_like(x, requires_grad=True)
    for _ in range(steps):
        loss = F.cross_entropy(model(x + delta), y)
        loss.backward()
        delta.data = (delta + 0.4 * eps * delta.grad.detach().sign()).clamp(-eps, eps)
        delta.grad.zero_()
    return (x + delta.detach()).clamp_(0, 1)


def test(model, epsilon):
    correct = 0
    for data, target in zip(x.split(1), y.split(1)):
        data = data.clone()
        data.requires_grad = True
        output = F.log_softmax(model(data), dim=1)
        init_pred = output.max(1, keepdim=True)[1]
        if init_pred.item() != target.item():
            continue
        loss = F.nll_loss(output, target)
        model.zero_grad()
        loss.backward()
        final = model(fgsm_attack(data, epsilon, data.grad.data)).max(1, keepdim=True)[1]
        correct += final.item() == target.item()
    return correct


for eps in [0, 0.05, 0.1]:
    robust = (model(pgd(model, x, y, eps)).argmax(1) == y).sum()
    print("Epsilon: {}\tFGSM {} / {}\tPGD {}".format(eps, test(model, eps), len(x), robust))
jac = torch.autograd.functional.jacobian(lambda t: model(t), x[0])
print(jac.shape, torch.linalg.svdvals(jac))
