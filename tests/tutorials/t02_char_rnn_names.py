"""Classify names with a character RNN, as in the well-known tutorial."""
import string
import unicodedata

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F

all_letters = string.ascii_letters + " .,;'"
n_letters = len(all_letters)
data = {"Italian": ["Rossi", "Bianchi", "Esposito", "Ferrari"], "German": ["Müller", "Schmidt", "Weber", "Fischer"],
        "Japanese": ["Sato", "Suzuki", "Takahashi", "Tanaka"]}
all_categories = list(data)


def unicodeToAscii(s):
    return "".join(c for c in unicodedata.normalize("NFD", s) if unicodedata.category(c) != "Mn" and c in all_letters)


def letterToIndex(letter):
    return all_letters.find(letter)


def lineToTensor(line):
    tensor = torch.zeros(len(line), 1, n_letters)
    for li, letter in enumerate(line):
        tensor[li][0][letterToIndex(letter)] = 1
    return tensor


print(unicodeToAscii("Müller"), lineToTensor("Jones").size())


class RNN(nn.Module):
    def __init__(self, input_size, hidden_size, output_size):
        super().__init__()
        self.hidden_size = hidden_size
        self.i2h = nn.Linear(input_size, hidden_size)
        self.h2h = nn.Linear(hidden_size, hidden_size)
        self.h2o = nn.Linear(hidden_size, output_size)
        self.softmax = nn.LogSoftmax(dim=1)

    def forward(self, input, hidden):
        hidden = F.tanh(self.i2h(input) + self.h2h(hidden))
        output = self.h2o(hidden)
        output = self.softmax(output)
        return output, hidden

    def initHidden(self):
        return torch.zeros(1, self.hidden_size)


n_hidden = 24
rnn = RNN(n_letters, n_hidden, len(all_categories))
print(rnn)
rng = np.random.RandomState(7)
for p in rnn.parameters():
    p.data = torch.from_numpy(rng.uniform(-0.2, 0.2, tuple(p.shape)).astype(np.float32))


def categoryFromOutput(output):
    top_n, top_i = output.topk(1)
    category_i = top_i[0].item()
    return all_categories[category_i], category_i


criterion = nn.NLLLoss()
learning_rate = 0.05


def train(category_tensor, line_tensor):
    hidden = rnn.initHidden()
    rnn.zero_grad()
    for i in range(line_tensor.size()[0]):
        output, hidden = rnn(line_tensor[i], hidden)
    loss = criterion(output, category_tensor)
    loss.backward()
    for p in rnn.parameters():
        p.data.add_(p.grad.data, alpha=-learning_rate)
    return output, loss.item()


current_loss, all_losses = 0, []
for it in range(1, 201):
    category = all_categories[it % 3]
    line = unicodeToAscii(data[category][(it // 3) % 4])
    output, loss = train(torch.tensor([it % 3], dtype=torch.long), lineToTensor(line))
    current_loss += loss
    if it % 50 == 0:
        guess, guess_i = categoryFromOutput(output)
        correct = "✓" if guess == category else "✗ (%s)" % category
        print("%d %d%% %.4f %s / %s %s" % (it, it / 200 * 100, loss, line, guess, correct))
        all_losses.append(current_loss / 50)
        current_loss = 0
print(np.round(all_losses, 3))


def evaluate(line_tensor):
    hidden = rnn.initHidden()
    for i in range(line_tensor.size()[0]):
        output, hidden = rnn(line_tensor[i], hidden)
    return output


confusion = torch.zeros(3, 3)
for c, names in enumerate(data.values()):
    for n in names:
        guess, guess_i = categoryFromOutput(evaluate(lineToTensor(unicodeToAscii(n))))
        confusion[c][guess_i] += 1
for i in range(3):
    confusion[i] = confusion[i] / confusion[i].sum()
print(confusion)
with torch.no_grad():
    output = evaluate(lineToTensor("Bianco"))
    topv, topi = output.topk(3, 1, True)
    for i in range(3):
        value = topv[0][i].item()
        print("(%.2f) %s" % (value, all_categories[topi[0][i].item()]))
