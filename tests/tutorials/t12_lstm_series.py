"""Forecast a sine wave with an LSTM, sliding windows and a scaler."""
import numpy as np
import torch
import torch.nn as nn
from torch.autograd import Variable

t = np.arange(0, 120)
series = np.sin(t / 6.0) + 0.1 * np.cos(t)


def sliding_windows(data, seq_length):
    x, y = [], []
    for i in range(len(data) - seq_length - 1):
        x.append(data[i:(i + seq_length)])
        y.append(data[i + seq_length])
    return np.array(x), np.array(y)


lo, hi = series.min(), series.max()
scaled = ((series - lo) / (hi - lo)).reshape(-1, 1)
x, y = sliding_windows(scaled, 8)
train_size = int(len(y) * 0.67)
trainX = Variable(torch.FloatTensor(np.array(x[:train_size])))
trainY = Variable(torch.FloatTensor(np.array(y[:train_size])))
testX, testY = torch.FloatTensor(x[train_size:]), torch.FloatTensor(y[train_size:])
print(trainX.shape, trainY.shape, testX.shape, testY.dtype)


class LSTM(nn.Module):
    def __init__(self, num_classes, input_size, hidden_size, num_layers):
        super(LSTM, self).__init__()
        self.num_layers, self.hidden_size = num_layers, hidden_size
        self.lstm = nn.LSTM(input_size=input_size, hidden_size=hidden_size, num_layers=num_layers, batch_first=True)
        self.fc = nn.Linear(hidden_size, num_classes)

    def forward(self, x):
        h_0 = Variable(torch.zeros(self.num_layers, x.size(0), self.hidden_size))
        c_0 = Variable(torch.zeros(self.num_layers, x.size(0), self.hidden_size))
        ula, (h_out, _) = self.lstm(x, (h_0, c_0))
        h_out = h_out[-1].view(-1, self.hidden_size)
        return self.fc(h_out)


lstm = LSTM(1, 1, 6, 2)
print(lstm)
rng = np.random.RandomState(9)
for name, param in lstm.named_parameters():
    if "bias" in name:
        nn.init.constant_(param, 0.0)
    elif "weight" in name:
        param.data = torch.from_numpy(rng.uniform(-0.5, 0.5, tuple(param.size()))).float()
    print(name, param.size())
criterion = torch.nn.MSELoss()
optimizer = torch.optim.Adam(lstm.parameters(), lr=0.02)
scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, patience=5, factor=0.5)
for epoch in range(60):
    outputs = lstm(trainX)
    optimizer.zero_grad()
    loss = criterion(outputs, trainY)
    loss.backward()
    optimizer.step()
    scheduler.step(loss)
    if epoch % 15 == 0:
        print("Epoch: %d, loss: %1.5f" % (epoch, loss.item()))
lstm.eval()
pred = lstm(testX).data.numpy()
rmse = np.sqrt(np.mean((pred * (hi - lo) - testY.numpy() * (hi - lo)) ** 2))
print(f"RMSE {rmse:.3f}", type(pred).__name__, pred.dtype)
out, (h, c) = lstm.lstm(testX[:2])
print(out.shape, h.shape, c.shape, torch.equal(out[:, -1], h[-1]))
print(lstm.lstm.weight_hh_l1.shape, lstm.lstm.bias_ih_l0.data)
