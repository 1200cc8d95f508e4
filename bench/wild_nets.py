"""Nets of PyTorch as people write them, sound ones and sick ones, each with the cause that was put into it.

``CASES``: by name a ``Case``. ``build()`` gives (model, cost, optimizer, schedule, x, y, batch). ``right``: the
verdicts that name the cause. Each cause is of a kind, and there is more than one way to bring it about.
"""
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn, optim
from torch.nn import functional as F

from microgradx import data
from microgradx.flow import prescriptions as p
from microgradx.flow.verdicts import ELSEWHERE, HEALTHY, WRONG

CASES = {}
VANISHING = {p.BACKWARD, p.FORWARD}


@dataclass
class Case:
    family: str
    right: set
    build: object


def case(name, family, *right):
    def enter(function):
        CASES[name] = Case(family, set(right or {HEALTHY}), function)
        return function
    return enter


# ----- data ----------------------------------------------------------------------------------------------------------

X, Y = (torch.as_tensor(a) for a in data.digits())
ORDER = torch.as_tensor(np.random.default_rng(7).permutation(len(X)))
X, Y = X[ORDER][:1200], Y[ORDER][:1200]
IMAGES, ROWS = X.view(-1, 1, 8, 8), X.view(-1, 8, 8)
HOT = F.one_hot(Y, 10).float()


def surface(n=600, noise=0.1):
    rng = np.random.default_rng(1)
    x = rng.normal(size=(n, 5)).astype("float32")
    y = np.sin(2 * x[:, :1]) + x[:, 1:2] * x[:, 2:3] + noise * rng.normal(size=(n, 1)).astype("float32")
    return torch.as_tensor(x), torch.as_tensor(y.astype("float32"))


def recall(n=600, length=12, words=8, at=5):
    """Sequences of words; the answer is the word at one place."""
    x = torch.as_tensor(np.random.default_rng(2).integers(0, words, (n, length)))
    return x, x[:, at]


def mlp(*sizes, act=nn.ReLU, between=None):
    layers = []
    for n_in, n_out in zip(sizes, sizes[1:]):
        layers += [nn.Linear(n_in, n_out), *(between(n_out) if between else []), act()]
    return nn.Sequential(*layers[:len(layers) - 1 - (len(between(1)) if between else 0)])


def drawn(model, draw):
    for m in model.modules():
        if isinstance(m, nn.Linear | nn.Conv2d):
            draw(m)
    return model


def he(m):
    nn.init.kaiming_normal_(m.weight)
    nn.init.zeros_(m.bias)


def digits(model, optimizer, cost=F.cross_entropy, x=X, y=Y, batch=32, schedule=None):
    o = optimizer(model.parameters())
    return model, cost, o, schedule and schedule(o), x, y, batch


def adam(lr=1e-3, **options):
    return lambda params: optim.Adam(params, lr=lr, **options)


def sgd(lr=0.1, **options):
    return lambda params: optim.SGD(params, lr=lr, **options)


# ----- modules -------------------------------------------------------------------------------------------------------

class Cnn(nn.Module):
    def __init__(self, act=F.relu, norm=False, width=16):
        super().__init__()
        self.c1, self.c2 = nn.Conv2d(1, width, 3, padding=1), nn.Conv2d(width, 2 * width, 3, padding=1)
        self.n1, self.n2 = (nn.BatchNorm2d(w) if norm else nn.Identity() for w in (width, 2 * width))
        self.fc, self.act = nn.Linear(8 * width, 10), act

    def forward(self, x):
        x = F.max_pool2d(self.act(self.n1(self.c1(x))), 2)
        x = F.max_pool2d(self.act(self.n2(self.c2(x))), 2)
        return self.fc(x.flatten(1))


class Strided(nn.Module):
    def __init__(self):
        super().__init__()
        self.c = nn.Sequential(nn.Conv2d(1, 16, 3, 2, 1), nn.GELU(), nn.Conv2d(16, 32, 3, 2, 1), nn.GELU())
        self.fc = nn.Linear(32, 10)

    def forward(self, x):
        return self.fc(self.c(x).mean((2, 3)))


class Block(nn.Module):
    def __init__(self, width, zero=False):
        super().__init__()
        self.c1, self.c2 = nn.Conv2d(width, width, 3, padding=1, bias=False), nn.Conv2d(width, width, 3, padding=1,
                                                                                       bias=False)
        self.b1, self.b2 = nn.BatchNorm2d(width), nn.BatchNorm2d(width)
        if zero:
            nn.init.zeros_(self.b2.weight)

    def forward(self, x):
        out = F.relu(self.b1(self.c1(x)))
        out = self.b2(self.c2(out))
        out += x
        return F.relu(out)


class ResNet(nn.Module):
    def __init__(self, blocks=3, width=12, zero=False):
        super().__init__()
        self.stem, self.bn = nn.Conv2d(1, width, 3, padding=1, bias=False), nn.BatchNorm2d(width)
        self.blocks, self.fc = nn.Sequential(*(Block(width, zero) for _ in range(blocks))), nn.Linear(width, 10)

    def forward(self, x):
        return self.fc(self.blocks(F.relu(self.bn(self.stem(x)))).mean((2, 3)))


class Residual(nn.Module):
    """Unscaled residual branches of two layers."""

    def __init__(self, depth, width=32, norm=True):
        super().__init__()
        self.inp, self.out = nn.Linear(64, width), nn.Linear(width, 10)
        self.a = nn.ModuleList(nn.Linear(width, width) for _ in range(depth))
        self.b = nn.ModuleList(nn.Linear(width, width) for _ in range(depth))
        self.n = nn.ModuleList(nn.LayerNorm(width) if norm else nn.Identity() for _ in range(depth))

    def forward(self, x):
        x = self.inp(x)
        for a, b, n in zip(self.a, self.b, self.n):
            x = x + b(F.relu(a(n(x))))
        return self.out(x)


class Recurrent(nn.Module):
    def __init__(self, kind=nn.LSTM, width=32, both=False, inputs=8):
        super().__init__()
        self.rnn = kind(inputs, width, batch_first=True, bidirectional=both)
        self.fc = nn.Linear(width * (1 + both), 10)

    def forward(self, x):
        out, _ = self.rnn(x)
        return self.fc(out[:, -1])


class Attention(nn.Module):
    def __init__(self, first=True, layers=2, words=8, width=32, length=12):
        super().__init__()
        self.emb, self.pos = nn.Embedding(words, width), nn.Parameter(0.1 * torch.randn(length, width))
        layer = nn.TransformerEncoderLayer(width, 4, 64, 0.0, batch_first=True, norm_first=first)
        self.body, self.fc = nn.TransformerEncoder(layer, layers, enable_nested_tensor=False), nn.Linear(width, words)

    def forward(self, x):
        return self.fc(self.body(self.emb(x) + self.pos).mean(1))


class Words(nn.Module):
    """The next word of a sequence, at every place."""

    def __init__(self, words=8, width=24):
        super().__init__()
        self.emb, self.rnn, self.fc = nn.Embedding(words, width), nn.GRU(width, width, batch_first=True), nn.Linear(
            width, words)

    def forward(self, x):
        return self.fc(self.rnn(self.emb(x))[0]).flatten(0, 1)


class Bag(nn.Module):
    def __init__(self, words=16):
        super().__init__()
        self.emb, self.fc = nn.Embedding(words, 16), nn.Linear(16, 2)

    def forward(self, x):
        return self.fc(self.emb(x).mean(1))


class Autoencoder(nn.Module):
    def __init__(self, code=16, last=nn.Identity):
        super().__init__()
        self.enc = nn.Sequential(nn.Linear(64, 48), nn.ReLU(), nn.Linear(48, code))
        self.dec = nn.Sequential(nn.Linear(code, 48), nn.ReLU(), nn.Linear(48, 64), last())

    def forward(self, x):
        return self.dec(self.enc(x))


class Through(nn.Module):
    """A net, and a function of what it gives."""

    def __init__(self, net, function):
        super().__init__()
        self.net, self.function = net, function

    def forward(self, x):
        return self.function(self.net(x))


# ----- sound ---------------------------------------------------------------------------------------------------------

SOUND = {
    "MLP, ReLU, Adam": ("MLP", lambda: digits(mlp(64, 64, 64, 10), adam())),
    "MLP, tanh, SGD with momentum": ("MLP", lambda: digits(mlp(64, 64, 10, act=nn.Tanh), sgd(0.05, momentum=0.9))),
    "MLP, GELU, AdamW": ("MLP", lambda: digits(mlp(64, 128, 64, 10, act=nn.GELU),
                                               lambda q: optim.AdamW(q, lr=2e-3, weight_decay=0.01))),
    "MLP, sigmoid, Adam": ("MLP", lambda: digits(mlp(64, 64, 10, act=nn.Sigmoid), adam(5e-3))),
    "MLP, dropout": ("MLP", lambda: digits(mlp(64, 128, 128, 10, between=lambda n: [nn.Dropout(0.3)]), adam(2e-3))),
    "MLP, batch norm": ("MLP", lambda: digits(mlp(64, 64, 64, 10, between=lambda n: [nn.BatchNorm1d(n)]), sgd(0.1))),
    "MLP, six layers, He": ("MLP", lambda: digits(drawn(mlp(64, *[64] * 6, 10), he), sgd(0.05))),
    "MLP, log_softmax and nll_loss": ("MLP", lambda: digits(Through(mlp(64, 64, 10), lambda z: F.log_softmax(z, 1)),
                                                            adam(2e-3), F.nll_loss)),
    "MLP, frozen first layer": ("MLP", lambda: frozen()),
    "CNN, functional relu and pool": ("CNN", lambda: digits(Cnn(), adam(2e-3), x=IMAGES)),
    "CNN, batch norm, SGD": ("CNN", lambda: digits(Cnn(norm=True), sgd(0.1, momentum=0.9), x=IMAGES)),
    "CNN, strides, global average": ("CNN", lambda: digits(Strided(), adam(5e-3), x=IMAGES)),
    "CNN, leaky ReLU": ("CNN", lambda: digits(Cnn(lambda z: F.leaky_relu(z, 0.1)), sgd(0.1), x=IMAGES)),
    "ResNet, three blocks": ("ResNet", lambda: digits(ResNet(), sgd(0.1, momentum=0.9), x=IMAGES)),
    "ResNet, last norms at 0": ("ResNet", lambda: digits(ResNet(zero=True), adam(3e-3), x=IMAGES)),
    "residual MLP, layer norm": ("ResNet", lambda: digits(Residual(4), adam(1e-3))),
    "LSTM over rows": ("recurrent", lambda: digits(Recurrent(), adam(5e-3), x=ROWS)),
    "GRU over rows": ("recurrent", lambda: digits(Recurrent(nn.GRU), adam(5e-3), x=ROWS)),
    "LSTM both ways": ("recurrent", lambda: digits(Recurrent(both=True), adam(3e-3), x=ROWS)),
    "transformer, norms first": ("transformer", lambda: sequence(Attention(), adam(3e-3))),
    "transformer, norms last": ("transformer", lambda: sequence(Attention(False), adam(2e-3))),
    "regression, tanh": ("regression", lambda: digits(mlp(5, 32, 32, 1, act=nn.Tanh), adam(1e-2), F.mse_loss,
                                                     *surface())),
    "regression, one row of outputs": ("regression", lambda: digits(
        Through(mlp(5, 32, 1), lambda z: z.squeeze(1)), adam(1e-2), F.mse_loss, surface()[0], surface()[1][:, 0])),
    "regression, Huber": ("regression", lambda: digits(mlp(5, 64, 1), sgd(0.1), F.smooth_l1_loss, *surface())),
    "regression, mostly noise": ("regression", lambda: digits(mlp(5, 16, 1), adam(3e-3), F.mse_loss, *surface(
        1200, 2.0))),
    "autoencoder": ("autoencoder", lambda: digits(Autoencoder(), adam(3e-3), F.mse_loss, X, X)),
    "autoencoder, sigmoid and cross-entropy": ("autoencoder", lambda: digits(
        Autoencoder(last=nn.Sigmoid), adam(3e-3), F.binary_cross_entropy, X, X.clamp(0, 1))),
    "bag of words": ("embedding", lambda: bag()),
    "next word": ("embedding", lambda: words()),
    "many labels, logits": ("MLP", lambda: digits(mlp(64, 64, 10), adam(3e-3), F.binary_cross_entropy_with_logits, X,
                                                  HOT))}
for name, (family, build) in SOUND.items():
    case(name, family)(build)


def frozen():
    model = mlp(64, 256, 10)
    model[0].requires_grad_(False)
    trained = [q for q in model.parameters() if q.requires_grad]
    return model, F.cross_entropy, optim.Adam(trained, lr=1e-2), None, X, Y, 32


def sequence(model, optimizer):
    return digits(model, optimizer, F.cross_entropy, *recall())


def bag():
    x = torch.as_tensor(np.random.default_rng(3).integers(0, 16, (600, 9)))
    return digits(Bag(), adam(1e-2), F.cross_entropy, x, ((x < 8).sum(1) > 4).long())


def words():
    x = torch.as_tensor(np.random.default_rng(4).integers(0, 8, (400, 1)))
    for _ in range(9):
        x = torch.cat([x, (3 * x[:, -1:] + 1) % 8], 1)
    return digits(Words(), adam(1e-2), lambda out, y: F.cross_entropy(out, y.flatten()), x[:, :-1], x[:, 1:])


# ----- sick ----------------------------------------------------------------------------------------------------------

@case("nll_loss of logits", "cost", p.ENDLESS)
def _():
    return digits(mlp(64, 64, 10), adam(), F.nll_loss)


@case("sigmoid before BCEWithLogits", "cost", p.PROBABILITIES)
def _():
    return digits(Through(mlp(64, 64, 10), torch.sigmoid), sgd(0.1), F.binary_cross_entropy_with_logits, X, HOT)


@case("targets (N,) and outputs (N, 1)", "cost", p.PAIRING)
def _():
    x, y = surface()
    return digits(mlp(5, 32, 1), adam(1e-2), lambda out, t: ((out - t) ** 2).mean(), x, y[:, 0])


@case("the cost with the wrong sign", "cost", p.ENDLESS, p.ASCENT, WRONG)
def _():
    return digits(mlp(64, 64, 10), sgd(0.1), lambda out, y: -F.cross_entropy(out, y))


@case("maximize=True", "cost", p.ASCENT)
def _():
    return digits(mlp(64, 64, 10), sgd(0.1, maximize=True))


@case("tanh outputs, targets up to 50", "outputs", p.UNREACHABLE)
def _():
    x, y = surface()
    return digits(Through(mlp(5, 32, 1), torch.tanh), adam(1e-2), F.mse_loss, x, 20 + 10 * y)


@case("sigmoid outputs, negative targets", "outputs", p.UNREACHABLE)
def _():
    x, y = surface()
    return digits(nn.Sequential(mlp(5, 32, 1), nn.Sigmoid()), adam(1e-2), F.mse_loss, x, y - 3)


@case("rounded outputs", "outputs", p.SILENT, p.CUT)
def _():
    x, y = surface()
    return digits(Through(mlp(5, 32, 1), torch.round), adam(1e-2), F.mse_loss, x, y)


@case("the largest output only", "outputs", p.CUT)
def _():
    return digits(Through(mlp(64, 64, 10), lambda z: z.argmax(1).float()), adam(), lambda out, y: F.mse_loss(
        out.requires_grad_(out.requires_grad), y.float()))


@case("head without graph", "graph", p.CUT)
def _():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.body, self.mid, self.head = nn.Linear(64, 4), nn.Linear(4, 4), nn.Linear(4, 10)

        def forward(self, x):
            with torch.no_grad():
                h = torch.relu(self.mid(torch.relu(self.body(x))))
            return self.head(h)
    return digits(Net(), adam(1e-2))


@case("weights as plain tensors in a list", "graph", p.UNTRAINED)
def _():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.inp, self.out = nn.Linear(64, 24), nn.Linear(24, 10)
            self.mid = [(0.02 * torch.randn(24, 24)).requires_grad_() for _ in range(3)]

        def forward(self, x):
            x = torch.tanh(self.inp(x))
            for w in self.mid:
                x = torch.tanh(x @ w)
            return self.out(x)
    return digits(Net(), adam())


@case("only the last layer in the optimizer", "graph", p.UNTRAINED)
def _():
    model = mlp(64, 6, 6, 6, 10, act=nn.Tanh)
    return model, F.cross_entropy, optim.Adam(model[-1].parameters(), lr=1e-2), None, X, Y, 32


@case("dropout .97", "options", p.STRONG_DROPOUT)
def _():
    return digits(mlp(64, 64, 64, 10, between=lambda n: [nn.Dropout(0.97)]), adam(1e-3))


@case("AdamW with decay 300", "options", p.STRONG_DECAY)
def _():
    return digits(mlp(64, 64, 10), lambda q: optim.AdamW(q, lr=2e-3, weight_decay=300.0))


@case("Adam at 1e-7", "options", p.SLOW)
def _():
    return digits(mlp(64, 64, 64, 10), adam(1e-7))


@case("SGD at 50", "options", p.FAST)
def _():
    return digits(mlp(64, 64, 64, 10), sgd(50.0))


@case("momentum .999", "options", p.FAST, p.SLOW, p.EXPLODING)
def _():
    return digits(mlp(64, 64, 64, 10), sgd(1.0, momentum=0.999))


@case("a warm-up of 1e6 steps", "options", p.SLOW)
def _():
    return digits(mlp(64, 64, 10), sgd(0.1), schedule=lambda o: optim.lr_scheduler.LambdaLR(o, lambda t: (t + 1) / 1e6))


@case("twenty tanh layers, default weights", "gradients", *VANISHING)
def _():
    return digits(mlp(64, *[40] * 20, 10, act=nn.Tanh), adam())


@case("CNN of sigmoids", "gradients", *VANISHING)
def _():
    layers = []
    for n_in in [1, *[16] * 6]:
        layers += [nn.Conv2d(n_in, 16, 3, padding=1), nn.Sigmoid()]
    return digits(nn.Sequential(*layers, nn.Flatten(), nn.Linear(1024, 10)), sgd(0.05), x=IMAGES)


@case("weights of variance 1", "gradients", p.EXPLODING, p.FAST)
def _():
    return digits(drawn(mlp(64, *[128] * 6, 10), lambda m: nn.init.normal_(m.weight)), adam())


@case("thirty residual blocks, no norm", "gradients", p.EXPLODING)
def _():
    return digits(drawn(Residual(30, norm=False), he), sgd(0.1))


@case("saturated tanh", "units", p.SATURATED)
def _():
    return digits(drawn(mlp(64, 64, 64, 64, 10, act=nn.Tanh), lambda m: nn.init.normal_(m.weight, 0, 3.0)), sgd(0.01))


@case("dead ReLUs", "units", p.DYING)
def _():
    model = mlp(64, 64, 64, 10)
    nn.init.constant_(model[2].bias, -100.0)
    return digits(model, adam())


@case("every weight 0.05", "units", p.SYMMETRIC)
def _():
    return digits(drawn(mlp(64, 32, 32, 10, act=nn.Tanh), lambda m: nn.init.constant_(m.weight, 0.05)), sgd(0.1))


@case("RNN, the first of 80 words", "time", p.TIME, *VANISHING)
def _():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.emb, self.rnn, self.fc = nn.Embedding(8, 16), nn.RNN(16, 32, batch_first=True), nn.Linear(32, 8)

        def forward(self, x):
            return self.fc(self.rnn(self.emb(x))[0][:, -1])
    return digits(Net(), adam(2e-3), F.cross_entropy, *recall(800, 80, at=0))


@case("pixels from 0 to 255", "data", p.SCALE)
def _():
    return digits(mlp(64, 64, 10), sgd(0.1), x=X * 255)


@case("inputs around 1000", "data", p.SCALE)
def _():
    return digits(mlp(64, 64, 10), adam(1e-3), x=X + 1000)


@case("targets of 1e6", "data", p.SCALE, p.SLOW)
def _():
    x, y = surface()
    return digits(mlp(5, 32, 1), adam(1e-3), F.mse_loss, x, 1e6 * y + 3e6)


@case("shuffled labels", "data", ELSEWHERE)
def _():
    return digits(mlp(64, 64, 10), adam(), y=Y[torch.as_tensor(np.random.default_rng(9).permutation(len(Y)))])


@case("a norm at 0", "nan", p.NAN)
def _():
    x = X.clone()
    x[::5] = 0.0

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Linear(64, 32, bias=False), nn.Linear(32, 10)

        def forward(self, x):
            h = self.a(x)
            return self.b(h / ((h * h).sum(1, keepdim=True).sqrt() + 1e-8))
    return digits(Net(), adam(), x=x)


@case("no activation, rings", "capacity", p.NO_NONLINEARITY)
def _():
    rng = np.random.default_rng(5)
    x = rng.normal(size=(800, 2)).astype("float32")
    return digits(nn.Sequential(nn.Linear(2, 32), nn.Linear(32, 32), nn.Linear(32, 2)), adam(1e-2), F.cross_entropy,
                  torch.as_tensor(x), torch.as_tensor((np.square(x).sum(1) > 1.4).astype("int64")))
