"""A small residual network for images, trained for a few steps."""
import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F


def conv3x3(in_planes, out_planes, stride=1):
    return nn.Conv2d(in_planes, out_planes, kernel_size=3, stride=stride, padding=1, bias=False)


class BasicBlock(nn.Module):
    expansion = 1

    def __init__(self, in_planes, planes, stride=1):
        super(BasicBlock, self).__init__()
        self.conv1 = conv3x3(in_planes, planes, stride)
        self.bn1 = nn.BatchNorm2d(planes)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = conv3x3(planes, planes)
        self.bn2 = nn.BatchNorm2d(planes)
        self.shortcut = nn.Sequential()
        if stride != 1 or in_planes != self.expansion * planes:
            self.shortcut = nn.Sequential(nn.Conv2d(in_planes, planes, kernel_size=1, stride=stride, bias=False),
                                          nn.BatchNorm2d(planes))

    def forward(self, x):
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        out += self.shortcut(x)
        return F.relu(out)


class ResNet(nn.Module):
    def __init__(self, block, num_blocks, num_classes=10):
        super(ResNet, self).__init__()
        self.in_planes = 8
        self.conv1 = conv3x3(1, 8)
        self.bn1 = nn.BatchNorm2d(8)
        self.layer1 = self._make_layer(block, 8, num_blocks[0], stride=1)
        self.layer2 = self._make_layer(block, 16, num_blocks[1], stride=2)
        self.avgpool = nn.AdaptiveAvgPool2d((1, 1))
        self.linear = nn.Linear(16 * block.expansion, num_classes)
        for m in self.modules():
            if isinstance(m, nn.Conv2d):
                nn.init.kaiming_normal_(m.weight, mode="fan_out", nonlinearity="relu")
            elif isinstance(m, (nn.BatchNorm2d, nn.GroupNorm)):
                nn.init.constant_(m.weight, 1)
                nn.init.constant_(m.bias, 0)

    def _make_layer(self, block, planes, num_blocks, stride):
        strides = [stride] + [1] * (num_blocks - 1)
        layers = []
        for s in strides:
            layers.append(block(self.in_planes, planes, s))
            self.in_planes = planes * block.expansion
        return nn.Sequential(*layers)

    def forward(self, x):
        out = F.relu(self.bn1(self.conv1(x)))
        out = self.layer1(out)
        out = self.layer2(out)
        out = self.avgpool(out)
        out = torch.flatten(out, 1)
        return self.linear(out)


net = ResNet(BasicBlock, [1, 1], num_classes=4)
print(net)
total_params = sum(p.numel() for p in net.parameters())
print(f"Total parameters: {total_params:,}")
rng = np.random.RandomState(0)
state = net.state_dict()
for k, v in state.items():
    if k.endswith("weight") and v.ndim > 1:
        state[k] = torch.from_numpy(rng.randn(*v.shape) / np.sqrt(v[0].numel())).float()
state["linear.bias"].zero_()
print(net.load_state_dict(state))
y = torch.arange(32) % 4
x = torch.zeros(32, 1, 8, 8)
for i in range(32):
    x[i, 0, 2 * y[i]:2 * y[i] + 2] = 1
x += torch.from_numpy(rng.randn(*x.shape)).float() * 0.1
mean, std = x.mean(), x.std(unbiased=False)
x = (x - mean) / std
criterion = nn.CrossEntropyLoss()
optimizer = torch.optim.SGD(net.parameters(), lr=0.05, momentum=0.9, weight_decay=5e-4, nesterov=True)
scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=10)
for step in range(10):
    net.train()
    optimizer.zero_grad()
    out = net(x)
    loss = criterion(out, y)
    loss.backward()
    optimizer.step()
    scheduler.step()
    if step % 3 == 0:
        pred = out.data.max(1, keepdim=True)[1]
        correct = pred.eq(y.data.view_as(pred)).cpu().sum()
        print("step %d loss %.3f acc %d/%d lr %.4f" % (step, loss.data.item(), correct, len(y), optimizer.param_groups[0]["lr"]))
net.eval()
print(net(x[:3]).shape, net.bn1.num_batches_tracked, net.bn1.running_mean.shape)
print(net.layer1[0].bn1.running_var.mean())
print([name for name, _ in net.named_children()], len(list(net.buffers())))
