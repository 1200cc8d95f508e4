"""Parameter groups with and without weight decay, label smoothing, class weights, freezing."""
import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
import torch.optim as optim


class LabelSmoothingCrossEntropy(nn.Module):
    def __init__(self, eps=0.1, reduction="mean"):
        super().__init__()
        self.eps, self.reduction = eps, reduction

    def forward(self, output, target):
        c = output.size()[-1]
        log_preds = F.log_softmax(output, dim=-1)
        loss = -log_preds.sum(dim=-1)
        loss = loss.sum() if self.reduction == "sum" else loss.mean() if self.reduction == "mean" else loss
        return loss * self.eps / c + (1 - self.eps) * F.nll_loss(log_preds, target, reduction=self.reduction)


class FocalLoss(nn.Module):
    def __init__(self, alpha=1, gamma=2):
        super().__init__()
        self.alpha, self.gamma = alpha, gamma

    def forward(self, inputs, targets):
        ce = F.cross_entropy(inputs, targets, reduction="none")
        pt = torch.exp(-ce)
        return (self.alpha * (1 - pt) ** self.gamma * ce).mean()


rng = np.random.RandomState(0)
logits = torch.tensor(rng.randn(5, 4), dtype=torch.float32, requires_grad=True)
target = torch.tensor([0, 3, 1, 1, 2])
print(LabelSmoothingCrossEntropy(0.1)(logits, target), nn.CrossEntropyLoss(label_smoothing=0.1)(logits, target))
print(FocalLoss()(logits, target))
weights = torch.tensor([1.0, 2.0, 0.5, 1.0])
print(F.cross_entropy(logits, target, weight=weights), F.nll_loss(F.log_softmax(logits, 1), target, weight=weights))
print(nn.CrossEntropyLoss(reduction="none")(logits, target))
print(F.kl_div(F.log_softmax(logits, dim=1), F.softmax(logits.detach() * 2, dim=1), reduction="batchmean"))
print(nn.BCEWithLogitsLoss(pos_weight=torch.tensor([3.0]))(logits[:, 0], torch.ones(5)))
one_hot = F.one_hot(target, num_classes=4)
print(one_hot, one_hot.dtype)
print(F.cross_entropy(logits, one_hot.float()))


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.backbone = nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.ReLU())
        self.head = nn.Linear(8, 4)

    def forward(self, x):
        return self.head(self.backbone(x))


net = Net()
with torch.no_grad():
    for p in net.parameters():
        p.copy_(torch.from_numpy(rng.uniform(-0.3, 0.3, p.shape)))
decay, no_decay = [], []
for name, param in net.named_parameters():
    if not param.requires_grad:
        continue
    if len(param.shape) == 1 or name.endswith(".bias"):
        no_decay.append(param)
    else:
        decay.append(param)
optimizer = optim.AdamW([{"params": decay}, {"params": no_decay, "weight_decay": 0.0, "lr": 1e-3}], lr=1e-2, weight_decay=0.05)
print(optimizer)
print([(len(g["params"]), g["lr"], g["weight_decay"]) for g in optimizer.param_groups])
x = torch.tensor(rng.randn(5, 6), dtype=torch.float32)
for i in range(20):
    loss = LabelSmoothingCrossEntropy()(net(x), target)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
print("loss %.4f" % loss)
for param in net.backbone.parameters():
    param.requires_grad_(False)
print(sum(p.numel() for p in net.parameters() if p.requires_grad), "trainable of", sum(p.numel() for p in net.parameters()))
optimizer = optim.SGD(filter(lambda p: p.requires_grad, net.parameters()), lr=0.1)
before = net.backbone[0].weight.clone()
F.cross_entropy(net(x), target).backward()
optimizer.step()
print(torch.equal(before, net.backbone[0].weight), net.backbone[0].weight.grad is None or True)
optimizer.add_param_group({"params": net.backbone.parameters(), "lr": 0.01})
print(len(optimizer.param_groups))
net.head = nn.Linear(8, 2)
print(net)
