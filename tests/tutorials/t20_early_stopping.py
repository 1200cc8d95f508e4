"""Early stopping that keeps the best state_dict, with checkpoints to BytesIO and to a file."""
import copy
import io
import os
import tempfile

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F


class EarlyStopping:
    def __init__(self, patience=7, verbose=False, delta=0, trace_func=print):
        self.patience, self.verbose, self.delta, self.trace_func = patience, verbose, delta, trace_func
        self.counter, self.best_score, self.early_stop, self.val_loss_min = 0, None, False, np.inf

    def __call__(self, val_loss, model, path):
        score = -val_loss
        if self.best_score is None:
            self.best_score = score
            self.save_checkpoint(val_loss, model, path)
        elif score < self.best_score + self.delta:
            self.counter += 1
            self.trace_func(f"EarlyStopping counter: {self.counter} out of {self.patience}")
            if self.counter >= self.patience:
                self.early_stop = True
        else:
            self.best_score = score
            self.save_checkpoint(val_loss, model, path)
            self.counter = 0

    def save_checkpoint(self, val_loss, model, path):
        if self.verbose:
            self.trace_func(f"Validation loss decreased ({self.val_loss_min:.6f} --> {val_loss:.6f}).  Saving model ...")
        torch.save(model.state_dict(), path)
        self.val_loss_min = val_loss


rng = np.random.RandomState(8)
X = torch.tensor(rng.randn(60, 10), dtype=torch.float32)
y = (X[:, :1] - X[:, 1:2] + torch.tensor(0.8 * rng.randn(60, 1), dtype=torch.float32))
model = nn.Sequential(nn.Linear(10, 30), nn.Tanh(), nn.Linear(30, 1))
for p in model.parameters():
    p.data.copy_(torch.tensor(rng.uniform(-0.4, 0.4, p.shape)))
optimizer = torch.optim.Adam(model.parameters(), lr=0.03)
with tempfile.TemporaryDirectory() as folder:
    path = os.path.join(folder, "checkpoint.pt")
    stopping = EarlyStopping(patience=4, verbose=True)
    for epoch in range(60):
        optimizer.zero_grad()
        F.mse_loss(model(X[:40]), y[:40]).backward()
        optimizer.step()
        if epoch % 4 == 3:
            with torch.no_grad():
                val = F.mse_loss(model(X[40:]), y[40:]).item()
            stopping(val, model, path)
            if stopping.early_stop:
                print("Early stopping")
                break
    model.load_state_dict(torch.load(path))
    torch.save({"epoch": epoch, "model_state_dict": model.state_dict(), "optimizer_state_dict": optimizer.state_dict(),
                "loss": val}, path)
    checkpoint = torch.load(path, weights_only=True)
    print(sorted(checkpoint), checkpoint["epoch"] == epoch, round(checkpoint["loss"], 3))
print(f"best {F.mse_loss(model(X[40:]), y[40:]):.4f}")
buffer = io.BytesIO()
torch.save(model.state_dict(), buffer)
buffer.seek(0)
other = nn.Sequential(nn.Linear(10, 30), nn.Tanh(), nn.Linear(30, 1))
print(other.load_state_dict(torch.load(buffer, map_location=torch.device("cpu"))))
print(all(torch.equal(a, b) for a, b in zip(model.state_dict().values(), other.state_dict().values())))
opt2 = torch.optim.Adam(other.parameters(), lr=0.5)
opt2.load_state_dict(checkpoint["optimizer_state_dict"])
print(opt2.param_groups[0]["lr"], opt2.state_dict()["param_groups"][0]["params"])
best = copy.deepcopy(model)
best.load_state_dict({k: v * 0 for k, v in best.state_dict().items()})
print(sum(p.abs().sum() for p in best.parameters()), sum(p.abs().sum() for p in model.parameters()) > 0)
bad = model.state_dict()
bad["extra.weight"] = torch.zeros(1)
del bad["0.bias"]
result = other.load_state_dict(bad, strict=False)
print(result.missing_keys, result.unexpected_keys)
try:
    other.load_state_dict(bad)
except RuntimeError as e:
    print("RuntimeError", "0.bias" in str(e), "extra.weight" in str(e))
print(list(model.state_dict().keys()), {k: v.shape for k, v in model.state_dict().items()})
