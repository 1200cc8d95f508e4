"""A variational autoencoder on bars, with the noise from numpy so that it can be compared."""
import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

rng = np.random.RandomState(0)
torch.manual_seed(0)


def make_bars(n):
    X = np.zeros((n, 8, 8), dtype="float32")
    for i in range(n):
        if rng.rand() < 0.5:
            X[i, rng.randint(8)] = 1
        else:
            X[i, :, rng.randint(8)] = 1
    return X


class VAE(nn.Module):
    def __init__(self, zdim=4):
        super().__init__()
        self.encoder = nn.Sequential(nn.Flatten(), nn.Linear(64, 32), nn.LeakyReLU(0.2))
        self.mu = nn.Linear(32, zdim)
        self.logvar = nn.Linear(32, zdim)
        self.decoder = nn.Sequential(nn.Linear(zdim, 32), nn.ELU(), nn.Linear(32, 64), nn.Unflatten(1, (1, 8, 8)))

    def reparameterize(self, mu, logvar):
        std = torch.exp(0.5 * logvar)
        eps = torch.as_tensor(rng.randn(*std.shape), dtype=std.dtype, device=std.device)
        return eps.mul(std).add_(mu)

    def forward(self, x):
        h = self.encoder(x)
        mu, logvar = self.mu(h), self.logvar(h)
        z = self.reparameterize(mu, logvar)
        return self.decoder(z), mu, logvar


def loss_function(recon_x, x, mu, logvar, beta=1.0):
    BCE = F.binary_cross_entropy_with_logits(recon_x, x, reduction="sum")
    KLD = -0.5 * torch.sum(1 + logvar - mu.pow(2) - logvar.exp())
    return BCE + beta * KLD, BCE, KLD


model = VAE()
print(model)
for m in model.modules():
    if isinstance(m, nn.Linear):
        m.weight.data = torch.tensor(rng.randn(*m.weight.shape) * np.sqrt(1 / m.in_features), dtype=torch.float)
        nn.init.zeros_(m.bias)
optimizer = torch.optim.Adam(model.parameters(), lr=1e-2, weight_decay=1e-5)
scheduler = torch.optim.lr_scheduler.StepLR(optimizer, step_size=3, gamma=0.5)
x_all = torch.from_numpy(make_bars(96)).unsqueeze(1)
print(x_all.shape, x_all.min(), x_all.max(), x_all.mean())

for epoch in range(6):
    total = torch.zeros(3)
    for x in x_all.split(16):
        recon, mu, logvar = model(x)
        loss, bce, kld = loss_function(recon, x, mu, logvar)
        optimizer.zero_grad(set_to_none=True)
        (loss / len(x)).backward()
        optimizer.step()
        total += torch.stack([loss, bce, kld]).detach()
    scheduler.step()
    print(f"epoch {epoch}: loss={total[0] / 96:.3f} bce={total[1] / 96:.3f} kld={total[2] / 96:.3f} "
          f"lr={scheduler.get_last_lr()[0]:.5f}")

with torch.no_grad():
    z = torch.linspace(-2, 2, 5).view(-1, 1).repeat_interleave(4, dim=1)
    sample = torch.sigmoid(model.decoder(z))
    print(sample.shape, tuple(sample.shape), list(sample.size()))
    print("mean brightness", sample.mean(dim=(1, 2, 3)))
    torch.set_printoptions(precision=2, sci_mode=False)
    print(sample[2, 0])
    torch.set_printoptions(profile="default")
