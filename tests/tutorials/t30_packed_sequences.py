"""Sequences of different lengths: buckets, padding, packing, masks, bidirectional LSTM."""
import numpy as np
import torch
import torch.nn as nn
from torch.nn.utils.rnn import pack_padded_sequence, pack_sequence, pad_packed_sequence, pad_sequence
from torch.utils.data import DataLoader, Dataset, Sampler

rng = np.random.RandomState(0)
sentences = [list(rng.randint(1, 10, rng.randint(2, 8))) for _ in range(24)]
labels = [int(sum(s) % 2) for s in sentences]


class TextDataset(Dataset):
    def __init__(self, texts, labels):
        self.texts, self.labels = texts, labels

    def __len__(self):
        return len(self.texts)

    def __getitem__(self, i):
        return torch.tensor(self.texts[i]), self.labels[i]


class BucketSampler(Sampler):
    def __init__(self, lengths, batch_size):
        self.lengths, self.batch_size = lengths, batch_size

    def __iter__(self):
        order = sorted(range(len(self.lengths)), key=lambda i: self.lengths[i])
        for i in range(0, len(order), self.batch_size):
            yield order[i:i + self.batch_size]

    def __len__(self):
        return (len(self.lengths) + self.batch_size - 1) // self.batch_size


def collate_batch(batch):
    batch.sort(key=lambda p: len(p[0]), reverse=True)
    texts, labels = zip(*batch)
    lengths = torch.tensor([len(t) for t in texts])
    return pad_sequence(texts, batch_first=True, padding_value=0), lengths, torch.tensor(labels)


loader = DataLoader(TextDataset(sentences, labels), batch_sampler=BucketSampler([len(s) for s in sentences], 8), collate_fn=collate_batch)
for padded, lengths, target in loader:
    print(padded.shape, lengths, target.dtype)
print(padded[0], (padded != 0).sum(1).eq(lengths).all())


class TextRNN(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(10, 6, padding_idx=0)
        self.lstm = nn.LSTM(6, 5, batch_first=True, bidirectional=True)
        self.fc = nn.Linear(10, 2)

    def forward(self, text, lengths):
        packed = pack_padded_sequence(self.embedding(text), lengths.cpu(), batch_first=True)
        packed_output, (hidden, cell) = self.lstm(packed)
        hidden = torch.cat((hidden[-2], hidden[-1]), dim=1)
        return self.fc(hidden), packed_output


model = TextRNN()
print(model)
for name, p in model.named_parameters():
    p.data = torch.tensor(rng.uniform(-0.4, 0.4, p.shape), dtype=torch.float32)
model.embedding.weight.data[0].zero_()
optimizer = torch.optim.Adam(model.parameters(), lr=0.03)
for epoch in range(10):
    losses = []
    for text, lengths, target in loader:
        optimizer.zero_grad()
        out, packed = model(text, lengths)
        loss = nn.functional.cross_entropy(out, target)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    if epoch % 3 == 0:
        print(f"epoch {epoch} loss {np.mean(losses):.4f}")
output, out_lengths = pad_packed_sequence(packed, batch_first=True)
print(output.shape, out_lengths, packed.data.shape, packed.batch_sizes)
print(model.embedding.weight.grad[0])
mask = torch.arange(text.size(1))[None, :] < lengths[:, None]
print(mask.long()[:2], mask.shape)
pooled = (output * mask.unsqueeze(-1)).sum(1) / lengths.unsqueeze(1)
print(pooled.shape, pooled.isfinite().all())
p = pack_sequence([torch.tensor([1, 2, 3]), torch.tensor([4, 5])])
print(p.data, p.batch_sizes, *pad_packed_sequence(p))
unsorted = pack_padded_sequence(torch.ones(2, 3, 1), torch.tensor([1, 3]), batch_first=True, enforce_sorted=False)
print(unsorted.batch_sizes, unsorted.sorted_indices)
