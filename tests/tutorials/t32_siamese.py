"""Siamese nets with contrastive and triplet losses on strokes."""
import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, Dataset

rng = np.random.RandomState(1)


class Pairs(Dataset):
    def __init__(self, n):
        self.items = []
        for k in range(n):
            classes = rng.randint(3), rng.randint(3)
            images = [self.image(c) for c in classes]
            self.items.append((*images, torch.tensor([float(classes[0] != classes[1])])))

    def image(self, c):
        x = np.zeros((1, 10, 10), np.float32)
        x[0, 3 * c:3 * c + 3] = 1
        return torch.from_numpy(x + 0.1 * rng.randn(1, 10, 10).astype(np.float32))

    def __getitem__(self, index):
        return self.items[index]

    def __len__(self):
        return len(self.items)


class SiameseNetwork(nn.Module):
    def __init__(self):
        super().__init__()
        self.cnn1 = nn.Sequential(
            nn.ReflectionPad2d(1), nn.Conv2d(1, 4, kernel_size=3), nn.ReLU(inplace=True), nn.BatchNorm2d(4),
            nn.MaxPool2d(2, stride=2))
        self.fc1 = nn.Sequential(nn.Linear(4 * 5 * 5, 16), nn.ReLU(inplace=True), nn.Linear(16, 2))

    def forward_once(self, x):
        output = self.cnn1(x)
        output = output.view(output.size()[0], -1)
        return self.fc1(output)

    def forward(self, input1, input2):
        return self.forward_once(input1), self.forward_once(input2)

def set_weights(module, seed=0, scale=1.0):
    r = np.random.RandomState(seed)
    with torch.no_grad():
        for p in module.parameters():
            fan_in = p.shape[-1] if p.dim() > 1 else 1
            p.copy_(torch.from_numpy(r.randn(*p.shape) * scale / fan_in**0.5 if p.dim() > 1 else np.zeros(p.shape)))


class ContrastiveLoss(torch.nn.Module):
    def __init__(self, margin=2.0):
        super(ContrastiveLoss, self).__init__()
        self.margin = margin

    def forward(self, output1, output2, label):
        euclidean_distance = F.pairwise_distance(output1, output2, keepdim=True)
        return torch.mean((1 - label) * torch.pow(euclidean_distance, 2) +
                          label * torch.pow(torch.clamp(self.margin - euclidean_distance, min=0.0), 2))


net = SiameseNetwork()
set_weights(net.fc1)
with torch.no_grad():
    net.cnn1[1].weight.copy_(torch.from_numpy(rng.randn(4, 1, 3, 3) * 0.3))
    net.cnn1[1].bias.zero_()
criterion = ContrastiveLoss()
optimizer = torch.optim.RMSprop(net.parameters(), lr=0.002)
loader = DataLoader(Pairs(64), batch_size=16)
for epoch in range(5):
    history = []
    for i, (img0, img1, label) in enumerate(loader, 0):
        optimizer.zero_grad()
        loss = criterion(*net(img0, img1), label)
        loss.backward()
        optimizer.step()
        history.append(loss.item())
    print(f"epoch {epoch} loss {np.mean(history):.4f}")
net.eval()
with torch.inference_mode():
    a, b = net(img0, img1)
    print("distances", F.pairwise_distance(a, b)[:4], "cosine", F.cosine_similarity(a, b)[:4])
anchor, positive, negative = a, a + 0.1, b
print(nn.TripletMarginLoss(margin=1.0, p=2)(anchor, positive, negative).item())
