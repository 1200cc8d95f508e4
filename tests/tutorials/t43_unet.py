"""A U-Net with skip connections and a Dice loss on discs."""
import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F

rng = np.random.RandomState(12)


def disc():
    yy, xx = np.mgrid[:12, :12]
    cy, cx = rng.uniform(3, 9, 2)
    return ((yy - cy) ** 2 + (xx - cx) ** 2 < 8).astype(np.float32)


masks = torch.from_numpy(np.stack([disc() for _ in range(12)])).unsqueeze(1)
images = masks + 0.4 * torch.from_numpy(rng.randn(*masks.shape).astype(np.float32))


class DoubleConv(nn.Module):
    def __init__(self, in_ch, out_ch):
        super().__init__()
        self.net = nn.Sequential(
            nn.Conv2d(in_ch, out_ch, 3, padding=1, bias=False), nn.BatchNorm2d(out_ch), nn.ReLU(inplace=True),
            nn.Conv2d(out_ch, out_ch, 3, padding="same"), nn.GroupNorm(2, out_ch), nn.ReLU())

    def forward(self, x):
        return self.net(x)


class UNet(nn.Module):
    def __init__(self, base=4):
        super().__init__()
        self.inc, self.down = DoubleConv(1, base), nn.Sequential(nn.MaxPool2d(2), DoubleConv(base, 2 * base))
        self.up = nn.ConvTranspose2d(2 * base, base, kernel_size=2, stride=2)
        self.smooth = nn.Upsample(scale_factor=2, mode="bilinear", align_corners=True)
        self.dec, self.outc = DoubleConv(2 * base, base), nn.Conv2d(base, 1, kernel_size=1)
        self.side = nn.Conv2d(2 * base, 1, 1)

    def forward(self, x):
        x1 = self.inc(x)
        x2 = self.down(x1)
        u = self.up(x2)
        diffY, diffX = x1.size()[2] - u.size()[2], x1.size()[3] - u.size()[3]
        u = F.pad(u, [diffX // 2, diffX - diffX // 2, diffY // 2, diffY - diffY // 2])
        return self.outc(self.dec(torch.cat([x1, u], dim=1))) + self.smooth(self.side(x2))


def dice_loss(logits, target, smooth=1.0):
    p = torch.sigmoid(logits).flatten(1)
    t = target.flatten(1)
    return 1 - ((2 * (p * t).sum(-1) + smooth) / (p.sum(-1) + t.sum(-1) + smooth)).mean()


net = UNet()
for m in net.modules():
    if isinstance(m, (nn.Conv2d, nn.ConvTranspose2d)):
        m.weight.data.copy_(torch.from_numpy(rng.randn(*m.weight.shape) * 0.25))
        if m.bias is not None:
            nn.init.constant_(m.bias, 0)
print(sum(p.numel() for p in net.parameters() if p.requires_grad))
opt = torch.optim.SGD(net.parameters(), lr=0.2, momentum=0.9, nesterov=True)
for epoch in range(10):
    out = net(images)
    bce = F.binary_cross_entropy_with_logits(out, masks, pos_weight=torch.tensor(2.0))
    loss = bce + dice_loss(out, masks)
    opt.zero_grad()
    loss.backward()
    opt.step()
    if epoch % 3 == 0:
        iou = ((out > 0) & masks.bool()).sum().item() / ((out > 0) | masks.bool()).sum().item()
        print(f"epoch {epoch} loss {loss.item():.4f} iou {iou:.3f}")
