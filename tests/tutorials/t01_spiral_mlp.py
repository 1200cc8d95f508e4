"""A small network on the spiral data set, with a Dataset class and a training loop."""
import numpy as np
import torch
from torch import nn, optim
from torch.utils.data import DataLoader, Dataset

device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
print(f"Using {device} device")


class SpiralDataset(Dataset):
    def __init__(self, n_per_class=50, n_classes=3, seed=0):
        rng = np.random.RandomState(seed)
        X, y = [], []
        for c in range(n_classes):
            r = np.linspace(0.0, 1, n_per_class)
            t = np.linspace(c * 4, (c + 1) * 4, n_per_class) + rng.randn(n_per_class) * 0.2
            X.append(np.c_[r * np.sin(t), r * np.cos(t)])
            y.append(np.full(n_per_class, c))
        self.X = torch.tensor(np.concatenate(X), dtype=torch.float32)
        self.y = torch.tensor(np.concatenate(y), dtype=torch.long)

    def __len__(self):
        return len(self.X)

    def __getitem__(self, idx):
        return self.X[idx], self.y[idx]


class Net(nn.Module):
    def __init__(self, hidden=32):
        super(Net, self).__init__()
        self.fc1 = nn.Linear(2, hidden)
        self.fc2 = nn.Linear(hidden, hidden)
        self.out = nn.Linear(hidden, 3)
        self.act = nn.ReLU()

    def forward(self, x):
        x = self.act(self.fc1(x))
        x = self.act(self.fc2(x))
        return self.out(x)


dataset = SpiralDataset()
print(len(dataset), dataset.X.shape, dataset.X.dtype, dataset.y.shape, dataset.y.dtype)
x0, y0 = dataset[10]
print("first sample:", x0, y0)

model = Net().to(device)
print(model)
rng = np.random.RandomState(1)
with torch.no_grad():
    for name, p in model.named_parameters():
        p.copy_(torch.tensor(rng.randn(*p.shape) * (0.5 if p.dim() > 1 else 0)))

loader = DataLoader(dataset, batch_size=30, shuffle=False)
criterion = nn.CrossEntropyLoss()
optimizer = optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
print(optimizer)

for epoch in range(20):
    model.train()
    running_loss = 0.0
    for i, (inputs, labels) in enumerate(loader):
        inputs, labels = inputs.to(device), labels.to(device)
        optimizer.zero_grad()
        outputs = model(inputs)
        loss = criterion(outputs, labels)
        loss.backward()
        optimizer.step()
        running_loss += loss.item() * inputs.size(0)
    if epoch % 5 == 4:
        print("Epoch [{}/{}], Loss: {:.4f}".format(epoch + 1, 20, running_loss / len(dataset)))

model.eval()
with torch.no_grad():
    logits = model(dataset.X)
    _, predicted = torch.max(logits, 1)
    correct = (predicted == dataset.y).sum().item()
    acc = 100 * correct / dataset.y.size(0)
print(f"Accuracy: {acc:.1f}%")
print("per class:", torch.bincount(predicted, minlength=3))
cm = torch.zeros(3, 3, dtype=torch.int64)
for t, p in zip(dataset.y.view(-1), predicted.view(-1)):
    cm[t.long(), p.long()] += 1
print(cm.sum(), cm.diag().float() / cm.sum(1))
