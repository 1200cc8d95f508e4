"""A causal transformer that learns to make up names: python names_transformer.py [names.txt] [--steps 1000]

Two blocks of attention and a feed-forward net, about 229,000 parameters, one letter at a time. Without a file of
names, one to a line, it learns from names that it makes of syllables.
"""
import argparse
import random
import time

import numpy as np

import microgradx as mgx
from microgradx import nn, optim
from microgradx.nn import functional as F

LENGTH, WIDTH, HEADS, BLOCKS = 16, 96, 4, 2
END = 0                                             # before the first letter and after the last; letters are 1..


def norm():
    """x / root mean square of x: Zhang and Sennrich (2019), without their weight."""
    return nn.RMSNorm(WIDTH, eps=1e-6, elementwise_affine=False)


class CausalAttention(nn.Module):
    """No position reads a later one: (m, T, WIDTH) -> (m, T, WIDTH)."""

    def __init__(self):
        self.attend = nn.MultiheadAttention(WIDTH, HEADS, bias=False, batch_first=True)

    def forward(self, x):
        return self.attend(x, x, x, need_weights=False, is_causal=True)[0]


def block():
    think = nn.Sequential(nn.Linear(WIDTH, 4 * WIDTH), nn.ReLU(), nn.Linear(4 * WIDTH, WIDTH))
    return [nn.Residual(nn.Sequential(norm(), part)) for part in (CausalAttention(), think)]


class Transformer(nn.Module):
    """ids (m, T) -> logits of the next letter (m, T, letters)."""

    def __init__(self, letters):
        self.letter, self.place = nn.Embedding(letters, WIDTH), nn.Embedding(LENGTH, WIDTH)
        self.blocks = nn.Sequential(*[part for _ in range(BLOCKS) for part in block()])
        self.norm, self.head = norm(), nn.Linear(WIDTH, letters, bias=False)
        for embedding in (self.letter, self.place):
            nn.init.normal_(embedding.weight, std=0.1)

    def forward(self, ids):
        x = self.letter(ids) + self.place.weight[:ids.shape[1]]
        return self.head(self.norm(self.blocks(x)))


def made_up(count=5000):
    """Names of two or three syllables."""
    draw = random.Random(0)
    syllable = lambda: draw.choice("bdfhjklmnrstvz") + draw.choice(["a", "e", "i", "o", "u", "ia", "ei"])
    return ["".join(syllable() for _ in range(draw.choice((2, 2, 3)))) + draw.choice(["", "n", "l", "s"])
            for _ in range(count)]


def pairs(names, letters):
    """Each name as (input, target): rows of LENGTH ids, the target one letter ahead."""
    rows = np.zeros((len(names), LENGTH + 1), np.int64)
    for row, name in zip(rows, names):
        row[1:len(name) + 1] = [letters.index(c) for c in name[:LENGTH]]
    return rows[:, :-1], rows[:, 1:]


def sample(model, letters, rng):
    ids = [END]
    while len(ids) <= LENGTH and (len(ids) == 1 or ids[-1] != END):
        with mgx.no_grad():
            p = model(np.array([ids]))[0, -1].softmax().numpy().astype(float)
        ids.append(rng.choice(len(letters), p=p / p.sum()))
    return "".join(letters[k] for k in ids[1:]).rstrip(letters[END])


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="?", help="a text file, one name to a line")
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    names = [name.strip().lower()[:LENGTH - 1] for name in open(args.names)] if args.names else made_up()
    letters = "." + "".join(sorted(set("".join(names)) - {"."}))
    inputs, targets = pairs(names, letters)
    rng = mgx.manual_seed(args.seed)
    model = Transformer(len(letters))
    step = optim.Adam(model.parameters(), lr=2e-3)
    print(f"{len(names)} names, {len(letters)} letters, {sum(p.size for p in model.parameters()):,} parameters")
    start, costs = time.perf_counter(), []
    for k in range(1, args.steps + 1):
        step.param_groups[0]["lr"] = 2e-3 * (1 - k / (args.steps + 1))
        at = rng.integers(0, len(names), args.batch)
        step.zero_grad()
        cost = F.cross_entropy(model(inputs[at]).reshape(-1, len(letters)), targets[at].reshape(-1))
        cost.backward()
        step.step()
        costs.append(cost.item())
        if k % 100 == 0:
            spent = (time.perf_counter() - start) / k
            print(f"step {k:5d}  cost {np.mean(costs[-100:]):.4f}  {spent * 1e3:.1f} ms a step")
    print(", ".join(sample(model, letters, rng) for _ in range(20)))


if __name__ == "__main__":
    main()
