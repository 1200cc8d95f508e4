"""A table of a model's parameters, by named_parameters, named_modules and state_dict."""
from collections import OrderedDict

import torch
import torch.nn as nn


class ConvNet(nn.Module):
    def __init__(self, num_classes=10):
        super().__init__()
        self.features = nn.Sequential(OrderedDict([
            ("conv1", nn.Conv2d(1, 6, kernel_size=5, padding=2)), ("act1", nn.ReLU()), ("pool1", nn.MaxPool2d(2, 2)),
            ("conv2", nn.Conv2d(6, 16, 5)), ("norm", nn.BatchNorm2d(16)), ("act2", nn.SiLU()), ("pool2", nn.AvgPool2d(2))]))
        self.drop = nn.Dropout2d(p=0.25)
        self.classifier = nn.Sequential(nn.Flatten(), nn.Linear(400, 32), nn.PReLU(), nn.Linear(32, num_classes), nn.Softmax(dim=1))
        self.scale = nn.Parameter(torch.ones(1), requires_grad=False)
        self.register_buffer("mean", torch.zeros(3))

    def forward(self, x):
        return self.classifier(self.drop(self.features(x)))


model = ConvNet()
print(model)
print("-" * 60)
print(f"{'Layer':<25}{'Shape':<25}{'Params':>10}")
total = trainable = 0
for name, p in model.named_parameters():
    print(f"{name:<25}{str(p.shape):<25}{p.numel():>10,}")
    total += p.numel()
    trainable += p.numel() if p.requires_grad else 0
print("Total params: {:,}\nTrainable params: {:,}".format(total, trainable))
print("Model size: %.3f MB" % (sum(p.nelement() * p.element_size() for p in model.parameters()) / 1024 ** 2))
for param_tensor in model.state_dict():
    print(param_tensor, "\t", model.state_dict()[param_tensor].size())
for name, m in model.named_modules():
    if not list(m.children()):
        print(name, "=>", m)
shapes = []


def hook(name):
    return lambda m, i, o: shapes.append((name, list(i[0].shape), list(o.shape)))


for name, m in model.features.named_children():
    m.register_forward_hook(hook(name))
model.eval()
out = model(torch.zeros(2, 1, 28, 28))
for row in shapes:
    print(*row)
print(out.shape, out.sum(1).round(decimals=3), model.training, model.features.conv1, model.features[0].kernel_size)
print(model.features.conv1.weight.shape, model.features.conv1.weight.dtype, next(model.parameters()).device, next(model.parameters()).is_cuda)
print(nn.LSTM(5, 7, 2, bidirectional=True), nn.Embedding(4, 3, padding_idx=0), nn.LayerNorm((3, 4)), nn.GroupNorm(2, 4))
print(nn.MultiheadAttention(8, 2), nn.TransformerEncoderLayer(8, 2, 16))
print(nn.CrossEntropyLoss(), nn.Upsample(scale_factor=2), nn.ModuleList([nn.Identity(), nn.Hardtanh()]), nn.Softplus(), nn.ELU())
print(nn.ParameterList([nn.Parameter(torch.zeros(2, 3))]), nn.Conv1d(2, 4, 3, dilation=2, groups=2, bias=False))
print(nn.ConvTranspose2d(4, 2, 3, stride=2), nn.AdaptiveAvgPool2d(1), nn.ZeroPad2d(1), nn.PixelShuffle(2), nn.Unflatten(1, (2, 2)))
print(model.get_parameter("features.conv1.bias").shape, model.get_submodule("features.norm"))
print(nn.Linear(3, 2, bias=False), nn.Bilinear(2, 3, 4), nn.RNN(3, 4, nonlinearity="relu"), nn.GRUCell(2, 3))
print(nn.InstanceNorm2d(3), nn.BatchNorm1d(4, affine=False), nn.GLU(), nn.LogSoftmax(dim=-1), nn.Threshold(0.1, 20))
