"""A denoising convolutional autoencoder."""
import numpy as np
import torch
import torch.nn as nn

np.random.seed(5)


class AE(nn.Module):
    def __init__(self):
        super().__init__()
        self.encoder = nn.Sequential(
            nn.Conv2d(1, 4, 3, stride=2, padding=1), nn.ReLU(),
            nn.Conv2d(4, 8, 3, stride=2, padding=1), nn.ReLU())
        self.decoder = nn.Sequential(
            nn.ConvTranspose2d(8, 4, 3, stride=2, padding=1, output_padding=1), nn.ReLU(),
            nn.ConvTranspose2d(4, 1, 3, stride=2, padding=1, output_padding=1), nn.Sigmoid())

    def forward(self, x):
        encoded = self.encoder(x)
        decoded = self.decoder(encoded)
        return encoded, decoded


def activation(name, store):
    def hook(model, input, output):
        store[name] = output.detach()
    return hook


xx, yy = torch.meshgrid(torch.arange(8.0), torch.arange(8.0), indexing="ij")
images = torch.stack([((xx - cx) ** 2 + (yy - cy) ** 2 < 6).float() for cx in (2, 4, 6) for cy in (2, 4, 6)]).unsqueeze(1)
noisy = torch.clamp(images + 0.3 * torch.tensor(np.random.randn(*images.shape), dtype=torch.float32), 0., 1.)
print(images.shape, images.sum(), noisy.std(dim=0, unbiased=False).mean())
ae = AE()
print(ae)
for p in ae.parameters():
    p.data = torch.tensor(np.random.uniform(-0.3, 0.3, p.shape), dtype=torch.float)
store = {}
handle = ae.encoder[1].register_forward_hook(activation("relu1", store))
optimizer = torch.optim.RMSprop(ae.parameters(), lr=0.005)
print(optimizer)
mse = nn.MSELoss()
for epoch in range(40):
    code, out = ae(noisy)
    loss = mse(out, images)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    if epoch % 13 == 0:
        print(f"epoch [{epoch + 1}/40], loss:{loss.item():.4f}, code {tuple(code.size())}")
print(store["relu1"].shape, store.keys())
handle.remove()
ae(noisy)
print(f"sparsity {(store['relu1'] == 0).float().mean().item():.3f}")
psnr = 10 * torch.log10(1 / loss)
print("PSNR:", psnr)
print(out[4, 0].detach().numpy().round(1).shape, (out > 0.5).sum(dim=(1, 2, 3)).tolist())
