"""Reversal of sequences by GRU encoder and decoder, with teacher forcing and greedy decoding."""
import random

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch import optim

random.seed(0)
SOS_token, EOS_token, VOCAB = 0, 1, 7
device = torch.device("cuda" if torch.cuda.is_available() else "cpu")

def set_weights(module, seed=0, scale=1.0):
    r = np.random.RandomState(seed)
    with torch.no_grad():
        for p in module.parameters():
            fan_in = p.shape[-1] if p.dim() > 1 else 1
            p.copy_(torch.from_numpy(r.randn(*p.shape) * scale / fan_in**0.5 if p.dim() > 1 else np.zeros(p.shape)))


class EncoderRNN(nn.Module):
    def __init__(self, input_size, hidden_size, dropout_p=0.0):
        super(EncoderRNN, self).__init__()
        self.hidden_size = hidden_size
        self.embedding = nn.Embedding(input_size, hidden_size)
        self.gru = nn.GRU(hidden_size, hidden_size, batch_first=True)
        self.dropout = nn.Dropout(dropout_p)

    def forward(self, input):
        output, hidden = self.gru(self.dropout(self.embedding(input)))
        return output, hidden


class DecoderRNN(nn.Module):
    def __init__(self, hidden_size, output_size):
        super(DecoderRNN, self).__init__()
        self.embedding = nn.Embedding(output_size, hidden_size)
        self.gru = nn.GRU(hidden_size, hidden_size, batch_first=True)
        self.out = nn.Linear(hidden_size, output_size)

    def forward(self, encoder_outputs, encoder_hidden, target_tensor=None, length=5):
        decoder_input = torch.empty(encoder_outputs.size(0), 1, dtype=torch.long, device=device).fill_(SOS_token)
        decoder_hidden, decoder_outputs = encoder_hidden, []
        for i in range(length):
            output = F.relu(self.embedding(decoder_input))
            output, decoder_hidden = self.gru(output, decoder_hidden)
            decoder_output = self.out(output)
            decoder_outputs.append(decoder_output)
            if target_tensor is not None and random.random() < 0.8:
                decoder_input = target_tensor[:, i].unsqueeze(1)
            else:
                _, topi = decoder_output.topk(1)
                decoder_input = topi.squeeze(-1).detach()
        return F.log_softmax(torch.cat(decoder_outputs, dim=1), dim=-1), decoder_hidden, None


encoder, decoder = EncoderRNN(VOCAB, 16).to(device), DecoderRNN(16, VOCAB).to(device)
set_weights(encoder, 0)
set_weights(decoder, 1)
opts = [optim.Adam(m.parameters(), lr=0.02) for m in (encoder, decoder)]
criterion = nn.NLLLoss()
pairs = torch.tensor([[random.randint(2, VOCAB - 1) for _ in range(4)] for _ in range(24)], device=device)
targets = torch.cat([pairs.flip(1), torch.full((24, 1), EOS_token)], 1)
for epoch in range(1, 25):
    for o in opts:
        o.zero_grad()
    out, hidden, _ = decoder(*encoder(pairs), targets)
    loss = criterion(out.view(-1, out.size(-1)), targets.view(-1))
    loss.backward()
    for o in opts:
        o.step()
    if epoch % 8 == 0:
        print(f"({epoch} {epoch / 24 * 100:.0f}%) {loss:.4f}")
with torch.no_grad():
    decoded = decoder(*encoder(pairs))[0].topk(1)[1].squeeze()
    print((decoded == targets).float().mean(dim=0), decoded.shape)
