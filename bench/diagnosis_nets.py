"""Nets of six families, of microgradx and of torch where it is installed, and faults that are planted into them.

``drawn(seed, k)`` gives a ``Spec``, half of them with a fault of ``FAULTS``; ``Training(spec, seed)`` builds it.
A fault is a change of the spec or of what was built, and the verdicts that name it; each family's come in turn. It says
nothing about whether the net trains: that is measured.
"""
import functools
import importlib.util
import math
from dataclasses import dataclass, field
from types import SimpleNamespace

import numpy as np

from microgradx import data
from microgradx.flow import prescriptions as p
from microgradx.flow.verdicts import ELSEWHERE, WRONG

FAMILIES = ("MLP", "convolutional", "recurrent", "transformer", "residual", "regression")
FRAMEWORKS = ("microgradx", "torch") if importlib.util.find_spec("torch") else ("microgradx",)
RATES = {"SGD": 0.1, "momentum": 0.02, "Adam": 3e-3}
VANISHING, GROWING = {p.BACKWARD, p.FORWARD}, {p.EXPLODING, p.SATURATED}


@functools.cache
def library(name):
    """A library in the words that both have."""
    if name == "torch":
        import torch
        torch.set_num_threads(1)
        return SimpleNamespace(name=name, framework=torch, nn=torch.nn, F=torch.nn.functional, optim=torch.optim,
                               seed=torch.manual_seed, tensor=torch.as_tensor, array=lambda t: t.detach().numpy())
    import microgradx as mgx
    return SimpleNamespace(name=name, framework=mgx, nn=mgx.nn, F=mgx.nn.functional, optim=mgx.optim,
                           seed=mgx.manual_seed, tensor=mgx.as_tensor, array=lambda t: np.asarray(t.detach()))


@dataclass
class Spec:
    """``gain``: n_in times the variance of the weights, None for the library's own; ``data``: by name;
    ``fault``: of FAULTS or None; ``number``: what a fault draws."""
    family: str
    framework: str
    activation: str = "ReLU"
    depth: int = 2
    width: int = 32
    gain: float | None = None
    norm: bool = False
    dropout: float = 0.0
    cell: str = "LSTM"
    optimizer: str = "Adam"
    rate: float = 3e-3
    options: dict = field(default_factory=dict)
    data: str = ""
    fault: str | None = None
    number: float = 0.0


# ----- data ----------------------------------------------------------------------------------------------------------

@functools.cache
def dataset(name):
    """(x, y, x of the test, y of the test)."""
    rng = np.random.default_rng(11)
    if name == "digits":
        return data.digits(split=True)
    if name == "rings":
        x = rng.normal(size=(1200, 2)).astype("float32")
        y = (np.square(x).sum(1) > 1.4).astype("int64")
    elif name == "surface":
        x = rng.normal(size=(1200, 5)).astype("float32")
        y = (np.sin(2 * x[:, :1]) + x[:, 1:2] * x[:, 2:3] + 0.1 * rng.normal(size=(1200, 1))).astype("float32")
    elif name == "imbalance":
        x, labels = data.digits()
        keep = np.concatenate([np.flatnonzero(labels != 3), np.flatnonzero(labels == 3)[:50]])
        x, y = x[keep], (labels[keep] == 3).astype("int64")
        order = rng.permutation(len(x))
        x, y = x[order], y[order]
    else:                                               # "recall 12 at 5": the word at a place of a sequence
        _, length, _, at = name.split()
        x = rng.integers(0, 8, (1200, int(length)))
        y = x[:, int(at)].copy()
    return x[:900], y[:900], x[900:], y[900:]


OWN_DATA = {"transformer": "recall 8 at 5", "regression": "surface"}
BALANCED_OF_ONE = ("rings", "imbalance", "recall")       # data that a net can get all of


# ----- nets ----------------------------------------------------------------------------------------------------------

def gain_of(activation):
    return {"ReLU": 2.0, "GELU": 2.0}.get(activation, 1.0)


def build(lib, spec, inputs, outputs):
    """A model; its last layer is ``head``."""
    nn, act = lib.nn, lambda: getattr(lib.nn, spec.activation)()

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.make()

        def between(self, n, images=False):
            norm = [nn.BatchNorm2d(n) if images else nn.BatchNorm1d(n)] if spec.norm else []
            return [*norm, act(), *([nn.Dropout(spec.dropout)] if spec.dropout else [])]

    class Mlp(Net):
        def make(self):
            layers = []
            for n in [inputs, *[spec.width] * (spec.depth - 1)]:
                layers += [nn.Linear(n, spec.width), *self.between(spec.width)]
            self.body, self.head = nn.Sequential(*layers), nn.Linear(spec.width, outputs)

        def forward(self, x):
            return self.head(self.body(x))

    class Convolutional(Net):
        def make(self):
            width, layers = max(spec.width // 3, 4), []
            for k, n in enumerate([1, *[width] * (spec.depth - 1)]):
                layers += [nn.Conv2d(n, width, 3, padding=1), *self.between(width, True)]
                layers += [nn.MaxPool2d(2)] if k < 2 else []
            self.body, self.flat = nn.Sequential(*layers), nn.Flatten()
            self.head = nn.Linear(width * (4 if spec.depth > 1 else 16), outputs)

        def forward(self, x):
            return self.head(self.flat(self.body(x.reshape(-1, 1, 8, 8))))

    class Residual(Net):
        def make(self):
            self.inp, self.head = nn.Linear(inputs, spec.width), nn.Linear(spec.width, outputs)
            self.body = nn.ModuleList([nn.Sequential(
                *([nn.LayerNorm(spec.width)] if spec.norm else []), nn.Linear(spec.width, spec.width), act(),
                *([nn.Dropout(spec.dropout)] if spec.dropout else []), nn.Linear(spec.width, spec.width))
                for _ in range(spec.depth)])

        def forward(self, x):
            x = self.inp(x)
            for block in self.body:
                x = x + block(x)
            return self.head(x)

    class Recurrent(Net):
        def make(self):
            self.words = nn.Embedding(8, 8) if spec.data.startswith("recall") else None
            self.body = getattr(nn, spec.cell)(8, spec.width, batch_first=True)
            self.drop, self.head = nn.Dropout(spec.dropout), nn.Linear(spec.width, outputs)

        def forward(self, x):
            x = self.words(x) if self.words is not None else x.reshape(-1, 8, 8)
            return self.head(self.drop(self.body(x)[0][:, -1]))

    class Transformer(Net):
        def make(self):
            self.words = nn.Embedding(8, spec.width)
            self.places = nn.Parameter(lib.tensor(0.1 * np.random.default_rng(spec.depth).normal(
                size=(inputs, spec.width)).astype("float32")))
            self.body = nn.ModuleList([nn.TransformerEncoderLayer(
                spec.width, 4, 2 * spec.width, spec.dropout, batch_first=True, norm_first=spec.norm)
                for _ in range(spec.depth)])
            self.head = nn.Linear(spec.width, outputs)

        def forward(self, x):
            x = self.words(x) + self.places
            for layer in self.body:
                x = layer(x)
            return self.head(x.mean(1))

    return {"MLP": Mlp, "regression": Mlp, "convolutional": Convolutional, "residual": Residual,
            "recurrent": Recurrent, "transformer": Transformer}[spec.family]()


def layers(lib, model):
    return [m for m in model.modules() if isinstance(m, (lib.nn.Linear, lib.nn.Conv2d))]


def scale(lib, model, gain):
    """Draw the weights again, with n_in Var(W) = gain, and biases 0."""
    for m in layers(lib, model):
        lib.nn.init.normal_(m.weight, 0.0, math.sqrt(gain / math.prod(m.weight.shape[1:])))
        lib.nn.init.zeros_(m.bias)


class Training:
    """A model, its cost, its optimizer and its data, as a user's program has them."""

    def __init__(self, spec, seed):
        self.spec, self.lib = spec, library(spec.framework)
        self.lib.seed(seed)
        self.rng = np.random.default_rng(seed)
        self.schedule = None
        self.x, self.y, self.x_test, self.y_test = dataset(spec.data)
        words = not np.issubdtype(self.x.dtype, np.floating)
        outputs = 1 if self.y.dtype.kind == "f" else int(self.y.max()) + 1
        self.model = build(self.lib, spec, self.x.shape[1], outputs)
        if spec.gain is not None and not words:
            scale(self.lib, self.model, spec.gain)
        self.cost = self.lib.F.mse_loss if self.y.dtype.kind == "f" else self.lib.F.cross_entropy
        self.parameters = list(self.model.parameters())
        fault = FAULTS.get(spec.fault)
        if fault and fault.before:
            fault.before(self)
        kind = {"SGD": "SGD", "momentum": "SGD"}.get(spec.optimizer, spec.optimizer)
        options = spec.options | ({"momentum": 0.9} if spec.optimizer == "momentum" else {})
        self.optimizer = getattr(self.lib.optim, kind)(self.parameters, lr=spec.rate, **options)
        if fault and fault.after:
            fault.after(self)

    def batch(self, rows):
        return self.lib.tensor(self.x[rows]), self.lib.tensor(self.y[rows])

    def wrap(self, function):
        """A function of what the model gives, as a part of the model."""
        lib, inner = self.lib, self.model

        class Through(lib.nn.Module):
            def __init__(self):
                super().__init__()
                self.net = inner

            def forward(self, x):
                return function(self.net(x))
        self.model = Through()

    def change(self, lines):
        """Run the lines of a prescription behind the program, as its user would paste them."""
        lib, names = self.lib, {"model": self.model, "optimizer": self.optimizer, "loss_fn": self.cost,
                                "schedule": self.schedule}
        names |= {"torch" if lib.name == "torch" else "mgx": lib.framework, "nn": lib.nn, "optim": lib.optim}
        exec("\n".join(lines), names)
        self.model, self.optimizer = names["model"], names["optimizer"]
        self.cost, self.schedule = names["loss_fn"], names["schedule"]

    def score(self, steps, batch):
        """What it gets right of the test rows after the steps: the mean over the classes, or 1 - error / variance."""
        lib, rng = self.lib, np.random.default_rng(self.rng.integers(2**31))
        self.model.train()
        for step in range(steps):
            x, y = self.batch(rng.integers(0, len(self.x), batch))
            self.optimizer.zero_grad()
            loss = self.cost(self.model(x), y)
            if step % 25 == 0 and not math.isfinite(loss.item()) or not loss.requires_grad:
                return 0.0
            loss.backward()
            self.optimizer.step()
            if self.schedule is not None:
                self.schedule.step()
        self.model.eval()
        with lib.framework.no_grad():
            out = lib.array(self.model(lib.tensor(self.x_test)))
        if not np.isfinite(out).all():
            return 0.0
        y = self.y_test
        if y.dtype.kind == "f":
            return max(0.0, 1 - float(np.square(out.reshape(y.shape) - y).mean() / y.var()))
        hit = (out.argmax(1) if out.ndim > 1 else out) == y
        return float(np.mean([hit[y == c].mean() for c in np.unique(y)]))


# ----- faults --------------------------------------------------------------------------------------------------------

@dataclass(frozen=True)
class Fault:
    """``right``: the verdicts that name it; ``spec``: what of the spec is other, a dict or a function of rng that gives
    one; ``before``, ``after`` the optimizer is made: functions of the ``Training``."""
    right: set
    families: tuple = FAMILIES
    spec: object = None
    before: object = None
    after: object = None
    frameworks: tuple = ("microgradx", "torch")


DENSE, CLASSES = ("MLP", "convolutional", "regression"), FAMILIES[:5]
FLOATS = ("MLP", "convolutional", "recurrent", "residual", "regression")
SQUASHING = ("Tanh", "Sigmoid")


def _scaled_inputs(t):
    t.x, t.x_test = (a * t.spec.number if t.spec.number > 0 else a - t.spec.number for a in (t.x, t.x_test))
    t.x, t.x_test = t.x.astype("float32"), t.x_test.astype("float32")


def _targets(factor, shift):
    def before(t):
        t.y, t.y_test = (a * factor + shift for a in (t.y, t.y_test))
        t.y, t.y_test = t.y.astype("float32"), t.y_test.astype("float32")
    return before


def _shuffled(t):
    t.y = np.random.default_rng(3).permutation(t.y)


def _fill_bias(t):
    hidden = [m for m in layers(t.lib, t.model) if m is not t.model.head]
    t.lib.nn.init.constant_(hidden[min(int(t.spec.number), len(hidden) - 1)].bias, -100.0)


def _constant_weights(t):
    for m in layers(t.lib, t.model):
        t.lib.nn.init.constant_(m.weight, t.spec.number)


def _only_the_head(t):
    t.parameters = list(t.model.head.parameters())


def _unregistered(t):
    body = t.model.body
    del t.model.body
    t.model.body = [body]
    type(t.model).forward = lambda self, x: self.head(self.body[0](x))
    t.parameters = list(t.model.head.parameters())


def _detached(t):
    t.model.body.register_forward_hook(lambda module, args, out: out.detach())


def _wrong_derivative(t):
    class Wrong(t.lib.framework.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x * 1.0

        @staticmethod
        def backward(ctx, g):
            return g.abs()
    t.wrap(Wrong.apply)


def _infinite_slope(t):
    cost = t.cost
    t.cost = lambda out, y: cost(out, y) + ((0 * out)**2).sum().sqrt()


def _softmax(t):
    t.wrap(lambda z: t.lib.F.softmax(z, -1))


def _warm_up(t):
    t.schedule = t.lib.optim.lr_scheduler.LambdaLR(t.optimizer, lambda k: (k + 1) / 1e6)


def _negative(t):
    cost = t.cost
    t.cost = lambda out, y: -cost(out, y)


def _log_likelihood(t):
    t.cost = t.lib.F.nll_loss


def _broadcast(t):
    t.y = t.y[:, 0]
    t.cost = lambda out, y: ((out - y)**2).mean()


def _deep(gain):
    return lambda rng: {"gain": gain, "depth": int(rng.choice((8, 12, 16))), "norm": False,
                        "activation": str(rng.choice(("ReLU", "Tanh", "GELU")))}


FAULTS = {
    "weights too small": Fault(VANISHING, DENSE, _deep(0.15)),
    "the library's weights, deep": Fault(VANISHING, DENSE, lambda rng: _deep(None)(rng) | {"depth": 20}),
    "deep sigmoids": Fault(VANISHING, DENSE, lambda rng: {"activation": "Sigmoid", "depth": int(rng.choice((6, 9, 12))),
                                                         "gain": 1.0, "norm": False}),
    "weights too large": Fault(GROWING, DENSE, _deep(20.0)),
    "unscaled branches": Fault({p.EXPLODING}, ("residual",), lambda rng: {
        "depth": int(rng.choice((20, 30))), "norm": False, "gain": 2.0, "optimizer": "SGD", "rate": 0.1}),
    "saturated": Fault({p.SATURATED}, ("MLP", "regression"), lambda rng: {
        "activation": str(rng.choice(SQUASHING)), "gain": 300.0, "depth": 3, "norm": False}),
    "dead ReLUs": Fault({p.DYING}, DENSE, lambda rng: {"activation": "ReLU", "norm": False, "depth": 4,
                                                       "number": float(rng.integers(0, 3))}, _fill_bias),
    "equal weights": Fault({p.SYMMETRIC}, ("MLP", "regression"), lambda rng: {
        "activation": "Tanh", "norm": False, "number": float(rng.choice((0.0, 0.02, 0.05)))}, _constant_weights),
    "inputs out of scale": Fault({p.SCALE}, FLOATS, lambda rng: {
        "norm": False, "number": float(rng.choice((300.0, 3000.0, -1000.0)))}, _scaled_inputs),
    "targets out of scale": Fault({p.SCALE, p.SLOW}, ("regression",), None, _targets(1e4, 3e4)),
    "rate too large": Fault({p.FAST}, FAMILIES, lambda rng: (
        {"optimizer": "SGD", "rate": 100.0} if rng.random() < 0.5 else {"optimizer": "Adam", "rate": 3.0})),
    "rate too small": Fault({p.SLOW}, FAMILIES, lambda rng: (
        {"optimizer": "SGD", "rate": 1e-5} if rng.random() < 0.5 else {"optimizer": "Adam", "rate": 1e-7})),
    "a warm-up without end": Fault({p.SLOW}, FAMILIES, {"optimizer": "SGD", "rate": 0.1}, None, _warm_up),
    "weight decay": Fault({p.STRONG_DECAY}, FAMILIES, {"optimizer": "AdamW", "rate": 2e-3,
                                                       "options": {"weight_decay": 300.0}}),
    "dropout": Fault({p.STRONG_DROPOUT}, FAMILIES, {"dropout": 0.97}),
    "a rare class": Fault({p.IMBALANCE}, ("MLP", "convolutional"), {"data": "imbalance", "optimizer": "SGD",
                                                                   "rate": 0.005}),
    "no activation": Fault({p.NO_NONLINEARITY}, ("MLP", "regression"), {"activation": "Identity", "norm": False}),
    "the optimizer climbs": Fault({p.ASCENT}, FAMILIES, {"options": {"maximize": True}}),
    "the cost's sign": Fault({p.ENDLESS, p.ASCENT, WRONG}, FAMILIES, None, _negative),
    "labels shuffled": Fault({ELSEWHERE}, FAMILIES, None, _shuffled),
    "a cut": Fault({p.CUT}, ("MLP", "convolutional", "regression"), {"width": 12, "depth": 4}, _detached),
    "an infinite slope": Fault({p.NAN}, FAMILIES, None, _infinite_slope, None, ("torch",)),
    "nll_loss of logits": Fault({p.ENDLESS}, CLASSES, None, _log_likelihood),
    "rounded outputs": Fault({p.SILENT, p.CUT}, ("regression",), None, lambda t: t.wrap(
        lambda z: z.round())),
    "targets broadcast": Fault({p.PAIRING}, ("regression",), None, _broadcast),
    "softmax twice": Fault({p.PROBABILITIES}, CLASSES, {"optimizer": "SGD", "rate": 0.05}, _softmax),
    "tanh outputs": Fault({p.UNREACHABLE}, ("regression",), None, lambda t: (
        _targets(10.0, 20.0)(t), t.wrap(t.lib.framework.tanh))),
    "sigmoid outputs": Fault({p.UNREACHABLE}, ("regression",), None, lambda t: (
        _targets(1.0, -4.0)(t), t.wrap(t.lib.framework.sigmoid))),
    "only the head is trained": Fault({p.UNTRAINED}, ("MLP", "convolutional", "regression"), {"width": 12, "depth": 4},
                                      _only_the_head),
    "unregistered layers": Fault({p.UNTRAINED}, ("MLP", "regression"), {"width": 6, "depth": 4}, _unregistered),
    "too many steps": Fault({p.TIME, *VANISHING}, ("recurrent",), {"cell": "RNN", "data": "recall 60 at 0"}),
    "a wrong derivative": Fault({WRONG}, FAMILIES, None, _wrong_derivative)}


def drawn(seed, k):
    """Net k of a seed: the families and frameworks in turn, every other net with a fault, which come in turn, too."""
    rng = np.random.default_rng((seed, k))
    family, framework = FAMILIES[k // 2 % len(FAMILIES)], FRAMEWORKS[k // (2 * len(FAMILIES)) % len(FRAMEWORKS)]
    kind = str(rng.choice(tuple(RATES)))
    spec = Spec(family, framework, str(rng.choice(("ReLU", "Tanh", "GELU"))), int(rng.integers(1, 4)),
                int(rng.choice((24, 32, 48))), None, bool(rng.random() < 0.3), float(rng.choice((0.0, 0.0, 0.1))),
                str(rng.choice(("LSTM", "GRU"))), kind, RATES[kind] * float(rng.choice((0.5, 1.0, 2.0))))
    spec.data = OWN_DATA.get(family, "digits")
    spec.gain = gain_of(spec.activation)
    if family in ("MLP", "convolutional") and rng.random() < 0.3:
        spec.gain = None                                # shallow nets stand the library's own
    if family in ("transformer", "recurrent"):
        spec.optimizer, spec.rate = "Adam", RATES["Adam"] * float(rng.choice((1.0, 2.0)))
    if family == "residual":
        spec.norm = bool(rng.random() < 0.7)
    if k % 2:
        fits = [name for name, fault in FAULTS.items() if family in fault.families and framework in fault.frameworks]
        turn = seed + k // (2 * len(FAMILIES) * len(FRAMEWORKS))
        other = 5 * FAMILIES.index(family) + len(fits) // 2 * FRAMEWORKS.index(framework)
        spec.fault = fits[(turn + other) % len(fits)]
        change = FAULTS[spec.fault].spec
        for name, value in ((change(rng) if callable(change) else change) or {}).items():
            setattr(spec, name, value)
    if spec.fault == "no activation" and family == "MLP":
        spec.data = "rings"
    return spec
