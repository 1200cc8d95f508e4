"""word2vec: skip-gram with negative sampling on a tiny corpus."""
from collections import Counter

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F

corpus = """the quick brown fox jumps over the lazy dog the dog sleeps and the fox runs a quick fox and a lazy dog
play in the sun the sun is hot and the moon is cold""".split()
vocab = Counter(corpus)
word2idx = {w: i for i, (w, _) in enumerate(sorted(vocab.items(), key=lambda t: (-t[1], t[0])))}
idx2word = {i: w for w, i in word2idx.items()}
print(len(word2idx), vocab.most_common(2))
freqs = torch.tensor([vocab[idx2word[i]] for i in range(len(vocab))], dtype=torch.float)
noise = freqs.pow(0.75)
noise /= noise.sum()
print(noise[:3], noise.sum())
rng = np.random.RandomState(2)


class SkipGram(nn.Module):
    def __init__(self, n_vocab, n_embed):
        super().__init__()
        self.in_embed = nn.Embedding(n_vocab, n_embed, sparse=False)
        self.out_embed = nn.Embedding(n_vocab, n_embed)

    def forward(self, center, context, negatives):
        v = self.in_embed(center)
        u = self.out_embed(context)
        n = self.out_embed(negatives)
        positive = F.logsigmoid((v * u).sum(dim=-1))
        negative = F.logsigmoid(-torch.bmm(n, v.unsqueeze(2)).squeeze(2)).sum(1)
        return -(positive + negative).mean()


pairs = []
for i, w in enumerate(corpus):
    for j in range(max(0, i - 2), min(len(corpus), i + 3)):
        if i != j:
            pairs.append((word2idx[w], word2idx[corpus[j]]))
pairs = torch.tensor(pairs)
print(pairs.shape, pairs[:2])
model = SkipGram(len(vocab), 8)
model.in_embed.weight.data = torch.FloatTensor(rng.uniform(-0.5, 0.5, (len(vocab), 8)))
model.out_embed.weight.data = torch.FloatTensor(rng.uniform(-0.5, 0.5, (len(vocab), 8)))
optimizer = torch.optim.Adagrad(model.parameters(), lr=0.3)
losses = []
for epoch in range(8):
    for b in range(0, len(pairs), 32):
        batch = pairs[b:b + 32]
        negs = torch.from_numpy(rng.choice(len(vocab), (len(batch), 4), p=noise.numpy().astype("float64") / noise.numpy().astype("float64").sum()))
        loss = model(batch[:, 0], batch[:, 1], negs)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss)
    if epoch % 3 == 0:
        print("Epoch:", epoch, "loss:", round(torch.stack(losses).mean().item(), 4))
E = model.in_embed.weight.detach()
E = E / E.norm(dim=1, keepdim=True)
for w in ["fox", "sun"]:
    scores = E @ E[word2idx[w]]
    best = scores.argsort(descending=True)[1:3]
    print(w, "->", scores[best].shape, bool((scores[best] <= 1).all()), f"{scores[word2idx[w]]:.3f}")
print(model.in_embed.weight.grad.abs().sum() > 0)
