"""k-fold cross-validation of a regression on a DataFrame."""
import numpy as np
import pandas as pd
import torch
from torch import nn
from torch.utils.data import ConcatDataset, DataLoader, Dataset, Subset, SubsetRandomSampler, TensorDataset, random_split

rng = np.random.RandomState(42)
df = pd.DataFrame(rng.randn(60, 3), columns=["rooms", "age", "tax"])
df["old"] = (df.age > 0)
df["price"] = 2 * df.rooms - df.age + 0.5 * df.tax * df.rooms + 3
print(df.describe().loc["mean"].round(3).to_dict())


class HouseDataset(Dataset):
    def __init__(self, frame, target="price", transform=None):
        self.frame, self.target, self.transform = frame.reset_index(drop=True), target, transform

    def __len__(self):
        return len(self.frame)

    def __getitem__(self, idx):
        if torch.is_tensor(idx):
            idx = idx.tolist()
        row = self.frame.iloc[idx]
        sample = {"x": torch.tensor(row.drop(self.target).values.astype(np.float32)), "y": np.float32(row[self.target])}
        return self.transform(sample) if self.transform else sample


def reset_weights(m):
    for layer in m.children():
        if hasattr(layer, "reset_parameters"):
            layer.reset_parameters()


dataset = HouseDataset(df)
print(len(dataset), dataset[0]["x"].shape, dataset[0]["x"].dtype, type(dataset[0]["y"]).__name__)
k = 3
folds = np.array_split(np.arange(len(dataset)), k)
results = {}
for fold in range(k):
    test_ids = folds[fold]
    train_ids = np.concatenate([f for i, f in enumerate(folds) if i != fold])
    trainloader = DataLoader(Subset(dataset, train_ids), batch_size=10)
    testloader = DataLoader(dataset, batch_size=10, sampler=SubsetRandomSampler(test_ids))
    network = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 1))
    network.apply(reset_weights)
    for p in network.parameters():
        p.data = torch.tensor(rng.uniform(-0.5, 0.5, p.shape), dtype=torch.float32)
    optimizer = torch.optim.Adam(network.parameters(), lr=0.02)
    for epoch in range(6):
        current_loss = 0.0
        for i, batch in enumerate(trainloader, 0):
            optimizer.zero_grad()
            loss = nn.functional.mse_loss(network(batch["x"]), batch["y"].unsqueeze(1))
            loss.backward()
            optimizer.step()
            current_loss += loss.item()
    with torch.no_grad():
        sse = sum(((network(b["x"]).squeeze(1) - b["y"]) ** 2).sum().item() for b in testloader)
    results[fold] = sse / len(test_ids)
    print(f"fold {fold}: train {current_loss / (i + 1):.3f}, test {results[fold]:.3f}")
print(f"Average: {sum(results.values()) / k:.3f}")
X = torch.tensor(df[["rooms", "age"]].values, dtype=torch.float32)
y = torch.tensor(df["price"].to_numpy()).float().view(-1, 1)
full = TensorDataset(X, y)
train, test = random_split(full, [50, 10], generator=torch.Generator().manual_seed(42))
both = ConcatDataset([train, test])
print(len(train), len(test), len(both), full[3][1].shape, both[55][0].shape)
a, b = random_split(range(10), [0.7, 0.3])
print(len(a), len(b), sorted(list(a) + list(b)))


def collate(samples):
    xs, ys = zip(*samples)
    return torch.stack(xs), torch.cat(ys)


loader = DataLoader(full, batch_size=16, drop_last=True, collate_fn=collate, num_workers=0, pin_memory=False)
for xb, yb in loader:
    pass
print(xb.shape, yb.shape, len(loader), loader.batch_size, next(iter(loader))[1][:2])
