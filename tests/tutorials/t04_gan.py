"""A GAN that learns a shifted normal distribution."""
import numpy as np
import torch
import torch.nn as nn
import torch.optim as optim

rng = np.random.RandomState(3)
Z, H, BATCH = 2, 16, 64
real_label, fake_label = 1., 0.


def weights_init(m):
    classname = m.__class__.__name__
    if classname.find("Linear") != -1:
        m.weight.data.copy_(torch.from_numpy(rng.normal(0.0, 0.3, m.weight.size())))
        m.bias.data.fill_(0)


class Generator(nn.Module):
    def __init__(self):
        super().__init__()
        self.main = nn.Sequential(nn.Linear(Z, H), nn.ReLU(True), nn.Linear(H, 1))

    def forward(self, input):
        return self.main(input)


class Discriminator(nn.Module):
    def __init__(self):
        super().__init__()
        self.main = nn.Sequential(nn.Linear(1, H), nn.LeakyReLU(0.2, inplace=True), nn.Linear(H, 1), nn.Sigmoid())

    def forward(self, input):
        return self.main(input)


netG, netD = Generator(), Discriminator()
netG.apply(weights_init)
netD.apply(weights_init)
print(netG)
print(netD)
criterion = nn.BCELoss()
optimizerD = optim.Adam(netD.parameters(), lr=0.005, betas=(0.5, 0.999))
optimizerG = optim.Adam(netG.parameters(), lr=0.005, betas=(0.5, 0.999))
fixed_noise = torch.tensor(rng.randn(200, Z)).float()

for it in range(101):
    netD.zero_grad()
    real = torch.from_numpy(rng.normal(3, 0.5, (BATCH, 1))).type(torch.FloatTensor)
    label = torch.full((BATCH,), real_label, dtype=torch.float)
    output = netD(real).view(-1)
    errD_real = criterion(output, label)
    errD_real.backward()
    D_x = output.mean().item()
    noise = torch.from_numpy(rng.randn(BATCH, Z)).to(torch.float32)
    fake = netG(noise)
    label.fill_(fake_label)
    output = netD(fake.detach()).view(-1)
    errD_fake = criterion(output, label)
    errD_fake.backward()
    D_G_z1 = output.mean().item()
    errD = errD_real + errD_fake
    optimizerD.step()

    netG.zero_grad()
    label.fill_(real_label)
    output = netD(fake).view(-1)
    errG = criterion(output, label)
    errG.backward()
    D_G_z2 = output.mean().item()
    optimizerG.step()
    if it % 25 == 0:
        print("[%d/%d]\tLoss_D: %.4f\tLoss_G: %.4f\tD(x): %.4f\tD(G(z)): %.4f / %.4f"
              % (it, 100, errD.item(), errG.item(), D_x, D_G_z1, D_G_z2))

for p in netD.parameters():
    p.requires_grad = False
print([p.requires_grad for p in netD.parameters()], sum(p.numel() for p in netG.parameters() if p.requires_grad))
with torch.no_grad():
    fake = netG(fixed_noise).detach().cpu()
print(f"mean {fake.mean():.3f} std {fake.std(unbiased=True):.3f}")
