"""A Wasserstein GAN with gradient penalty in one dimension; noise from numpy."""
import numpy as np
import torch
import torch.autograd as autograd
import torch.nn as nn
from torch.autograd import Variable

rng = np.random.RandomState(6)
torch.set_default_dtype(torch.float64)
Tensor = torch.DoubleTensor

def set_weights(module, seed=0, scale=1.0):
    r = np.random.RandomState(seed)
    with torch.no_grad():
        for p in module.parameters():
            fan_in = p.shape[-1] if p.dim() > 1 else 1
            p.copy_(torch.from_numpy(r.randn(*p.shape) * scale / fan_in**0.5 if p.dim() > 1 else np.zeros(p.shape)))


generator = nn.Sequential(nn.Linear(2, 16), nn.BatchNorm1d(16, 0.8), nn.LeakyReLU(0.2, inplace=True), nn.Linear(16, 1))
discriminator = nn.Sequential(nn.Linear(1, 16), nn.Tanh(), nn.Linear(16, 1))
set_weights(generator, 0)
nn.init.ones_(generator[1].weight)
set_weights(discriminator, 1)
lambda_gp, n_critic = 10, 3


def compute_gradient_penalty(D, real_samples, fake_samples):
    alpha = Tensor(rng.random_sample((real_samples.size(0), 1)))
    interpolates = (alpha * real_samples + ((1 - alpha) * fake_samples)).requires_grad_(True)
    d_interpolates = D(interpolates)
    fake = Variable(Tensor(real_samples.shape[0], 1).fill_(1.0), requires_grad=False)
    gradients = autograd.grad(outputs=d_interpolates, inputs=interpolates, grad_outputs=fake, create_graph=True,
                              retain_graph=True, only_inputs=True)[0]
    gradients = gradients.view(gradients.size(0), -1)
    return ((gradients.norm(2, dim=1) - 1) ** 2).mean()


optimizer_G = torch.optim.Adam(generator.parameters(), lr=0.01, betas=(0.5, 0.9))
optimizer_D = torch.optim.Adam(discriminator.parameters(), lr=0.01, betas=(0.5, 0.9))
for i in range(31):
    real = Variable(Tensor(rng.normal(2, 0.5, (32, 1))))
    optimizer_D.zero_grad()
    z = Variable(Tensor(rng.normal(0, 1, (32, 2))))
    fake = generator(z)
    gp = compute_gradient_penalty(discriminator, real.data, fake.data)
    d_loss = -torch.mean(discriminator(real)) + torch.mean(discriminator(fake)) + lambda_gp * gp
    d_loss.backward()
    optimizer_D.step()
    optimizer_G.zero_grad()
    if i % n_critic == 0:
        g_loss = -torch.mean(discriminator(generator(z)))
        g_loss.backward()
        optimizer_G.step()
        if i % 10 == 0:
            print("[Batch %d] [D loss: %.4f] [G loss: %.4f] [gp: %.4f]" % (i, d_loss.item(), g_loss.item(), gp.item()))
generator.eval()
out = generator(Variable(Tensor(rng.normal(0, 1, (500, 2))))).data.cpu().numpy()
print("%.3f %.3f" % (out.mean(), out.std()))
