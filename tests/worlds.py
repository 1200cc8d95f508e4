"""Compiled functions in worlds that change between calls: ``python tests/worlds.py [--minutes N] [--seed S]``.

The rule that is tested: every call of a compiled function gives the results and leaves the effects of the call as it
is, to the last bit, or raises CaptureError and leaves the world as before the call or as the call as it is would. Of
ten calls that nothing is changed between, the function's body runs in two at most.

A case is a function, written as Python source from statements of the tables below, and phases: changes of the world
around it, then some calls. The source is run twice, with the function as it is and compiled, each time in a world of
its own; what differs first after some call is the failure. It is reduced and printed as a script of its own.

Every statement, change, argument and result belongs to a kind. ``--list-kinds`` names them, ``--kinds a,b`` allows
these alone (and what their changes are about), ``--without a,b`` leaves some out. A run tries each kind, then random
sets of them; kinds that failed together are not tried together again.
"""
import argparse
import ast
import copy                                     # noqa: F401  cases name it
import functools
import inspect
import itertools
import os
import pickle                                   # noqa: F401  cases name it
import random
import re
import sys
import threading
import time
import warnings
from collections import namedtuple
from contextvars import ContextVar              # noqa: F401  cases name it
from dataclasses import dataclass, fields, is_dataclass, replace
from types import SimpleNamespace

import hypothesis
import numpy as np
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.errors import NoSuchExample

import microgradx as mgx
from microgradx import Value, nn, optim, scalar
from microgradx.errors import CaptureError
from microgradx.nn import functional as F       # noqa: F401  cases name it

# ----- what a script needs: its source is printed with it ------------------------------------------------------------

HEAD = """import copy
import pickle
import random
import sys
import threading
from collections import namedtuple
from contextvars import ContextVar
from dataclasses import dataclass, fields, is_dataclass
from types import SimpleNamespace

import numpy as np

import microgradx as mgx
from microgradx import Value, nn, optim, scalar
from microgradx.errors import CaptureError
from microgradx.nn import functional as F
"""


def bits(o, name="", into=None):
    """{name: what it consists of}, so that == means equal to the last bit."""
    into = {} if into is None else into
    if isinstance(o, mgx.Tensor):
        bits(o.detach().numpy(), name, into)
        if o.is_leaf and o.requires_grad and o.grad is not None:
            bits(o.grad, f"{name}.grad", into)
    elif isinstance(o, Value):
        into[name] = (repr(o.data), repr(o.grad))
    elif isinstance(o, np.ndarray):
        into[name] = (o.dtype.str, o.shape, o.tobytes())
    elif isinstance(o, nn.Module):
        for kind, found in ("", o.named_parameters()), ("", o.named_buffers()):
            for part, tensor in found:
                bits(tensor, f"{name}.{part}{kind}", into)
        for key, other in vars(o).items():
            if not key.startswith("_") and not isinstance(other, (mgx.Tensor, nn.Module)):
                bits(other, f"{name}.{key}", into)
    elif isinstance(o, scalar.Module):
        bits(o.parameters(), name, into)
    elif isinstance(o, optim.Optimizer):
        for k, own in enumerate(o.state.values()):
            bits(dict(own), f"{name}.state[{k}]", into)
        for k, group in enumerate(o.param_groups):
            bits({key: option for key, option in group.items() if key != "params"}, f"{name}.group[{k}]", into)
    elif isinstance(o, np.random.Generator):
        into[name] = str(o.bit_generator.state)
    elif isinstance(o, dict):
        into[f"keys of {name}"] = list(o)
        for key, part in o.items():
            bits(part, f"{name}[{key!r}]" if name else key, into)
    elif isinstance(o, (list, tuple)):
        into[f"len({name})"] = len(o)
        for k, part in enumerate(o):
            bits(part, f"{name}[{k}]", into)
    elif is_dataclass(o) or isinstance(o, SimpleNamespace):
        for key in [f.name for f in fields(o)] if is_dataclass(o) else vars(o):
            bits(getattr(o, key), f"{name}.{key}", into)
    elif isinstance(o, (bool, int, float, str, type(None), np.generic)):
        into[name] = f"{type(o).__name__} {o!r}"
    return into


class Log:
    """What every call gave and left behind; the calls that are skipped leave the world as it is."""

    def __init__(self, skipped=()):
        self.calls, self.skipped, self.world, self.results, self.body = [], set(skipped), dict, [], []
        self.exact = True                       # are numbers compared to the last bit?
        self.ran = self.body.append             # counts the runs of the body, by a call that no compiler looks into

    def look(self):
        state = mgx.get_rng_state().tolist() if hasattr(mgx, "get_rng_state") else \
            mgx.random.generator().bit_generator.state
        modes = f"{mgx.is_grad_enabled()} {mgx.get_default_dtype()}"
        return bits(self.world()) | {"the shared generator": str(state), "modes": modes}

    def call(self, function, *args, **kwargs):
        one = SimpleNamespace(error=None, before=self.look() | bits([args, kwargs], "arguments"), given=None,
                              used=False)
        self.calls.append(one)
        runs = len(self.body)
        if len(self.calls) - 1 not in self.skipped:
            try:
                one.given = function(*args, **kwargs)
            except Exception as error:
                one.error = error
        one.runs = len(self.body) - runs
        one.result, one.after = bits(one.given, "result"), self.look() | bits([args, kwargs], "arguments")
        return one.given

    def use(self, act, *given):
        """Do with results of calls what anybody may do with them; not a call of the function itself."""
        self.call(act, *given)
        self.calls[-1].used = True

    def unchanged(self):
        """The last ten calls had nothing changed between them."""
        runs = sum(one.runs > 0 and one.error is None for one in [one for one in self.calls if not one.used][-10:])
        self.calls[-1].often = runs if runs > 2 else 0


def is_close(one, other):
    """Are two arrays, as `bits` has them, the same but for roundings?"""
    if not (isinstance(one, tuple) and isinstance(other, tuple) and len(one) == len(other) == 3 and
            one[:2] == other[:2]) or one[0][1] != "f":
        return False
    return np.allclose(*(np.frombuffer(o[2], o[0]) for o in (one, other)), rtol=1e-3, atol=1e-4, equal_nan=True)


def first_difference(eager, compiled, exact=True):
    """Where the second differs from the first, as text."""
    for name in [*eager, *(name for name in compiled if name not in eager)]:
        one, other = eager.get(name, "nothing"), compiled.get(name, "nothing")
        if one != other and (exact or not is_close(one, other)):
            one, other = ([*o, np.frombuffer(o[2], o[0]).tolist()] if isinstance(o, tuple) and len(o) == 3 else o
                          for o in (one, other))
            if isinstance(one, list) and isinstance(other, list) and len(one) == len(other) == 4:
                at = next((k for k in (0, 1) if one[k] != other[k]), None)
                if at is None:
                    k = next((k for k, (a, b) in enumerate(zip(one[3], other[3])) if repr(a) != repr(b)), 0)
                    name, one, other = f"{name}.flat[{k}]", one[3][k], other[3][k]
                else:
                    one, other = one[at], other[at]
            elif isinstance(one, list) and len(one) == 4 or isinstance(other, list) and len(other) == 4:
                one, other = (f"an array of {o[3]}" if isinstance(o, list) else o for o in (one, other))
            return f"{name} is {str(one)[:150]} eagerly, {str(other)[:150]} compiled"
    return None


def eager(function, **options):
    """The function as it is; like a compiled one, it takes arrays as the tensors that share their memory."""
    def call(*args, **kwargs):
        args = [mgx.from_numpy(o) if isinstance(o, np.ndarray) else o for o in args]
        kwargs = {name: mgx.from_numpy(o) if isinstance(o, np.ndarray) else o for name, o in kwargs.items()}
        return function(*args, **kwargs)
    return call


def graphs(o):
    """The tensors of a result that have a graph."""
    if isinstance(o, mgx.Tensor):
        return [o] if o.requires_grad else []
    parts = o.values() if isinstance(o, dict) else o if isinstance(o, (list, tuple)) else ()
    return [t for part in parts for t in graphs(part)]


def total(o):
    """A number that is made of all tensors of a result that have a graph."""
    return sum(((t * (k + 1.5)).sum() for k, t in enumerate(graphs(o))), mgx.zeros(()))


def in_thread(function, *args, **kwargs):
    """What ``function`` returns or raises, called in a thread of its own."""
    found = []

    def act():
        try:
            found.append((function(*args, **kwargs), None))
        except Exception as error:
            found.append((None, error))
    thread = threading.Thread(target=act)
    thread.start()
    thread.join()
    if found[0][1] is not None:
        raise found[0][1]
    return found[0][0]


def logged(run, compile, skipped):
    """(what the calls of ``run`` gave, the error that a change between them raised)."""
    random.seed(0)
    mgx.manual_seed(0)
    log = Log(skipped)
    log.look()                              # an error of the machine's own is none of the world's
    try:
        run(log, compile)
    except Exception as error:
        return log, repr(error)
    finally:
        mgx.set_grad_enabled(True)
        mgx.set_default_dtype("float32")
    return log, None


def difference(run, compile=mgx.compile):
    """(what kind of failure, words) of ``run(log, compile)`` with the function as it is and compiled, or None."""
    skipped = set()
    compiled, ended = logged(run, compile, skipped)
    while True:
        plain, other_end = logged(run, eager, skipped)
        for k, (one, other) in enumerate(zip(plain.calls, compiled.calls)):
            where = f"call {k}: "
            if k in skipped:
                if other.after != other.before:
                    return "half done", where + f"raised {other.error!r:.150}, but " + str(
                        first_difference(other.before, other.after)).replace("eagerly", "before").replace(
                            "compiled", "after")
                continue
            wrong = first_difference(one.after, other.after, plain.exact)
            if isinstance(other.error, CaptureError) and not isinstance(one.error, CaptureError):
                if wrong:
                    skipped.add(k)
                    break
                continue
            if other.error is not None and one.error is None:
                return "error", where + f"raised {type(other.error).__name__}: {other.error}"
            if one.error is not None and type(one.error) is not type(other.error):
                return "no error", where + f"eagerly {one.error!r:.150}, compiled {other.error!r:.150}"
            different = one.error is None and first_difference(one.result, other.result, plain.exact)
            if different:
                return "result", where + different
            if wrong and one.error is not None and one.used:
                return None                     # a pass that raises half-way leaves some gradients, others do not
            if wrong:
                return "effect" if one.error is None else "error effect", where + wrong
            if getattr(other, "often", 0):
                return "runs", where + f"the body ran in {other.often} of ten calls that nothing was changed between"
        else:
            break
    if ended != other_end:
        return "outside", f"after call {len(compiled.calls) - 1}: raised eagerly {other_end}, compiled {ended}"
    for k, (one, other) in enumerate(zip(plain.calls, compiled.calls)):
        if k not in skipped and one.error is None and other.error is None:
            wrong = first_difference(bits(one.given, "result"), bits(other.given, "result"), plain.exact)
            if wrong:
                return "kept result", f"call {k}, after all calls: " + wrong
    return None


Pair = namedtuple("Pair", "left right")


@dataclass
class Options:
    factor: float = 2.0
    shift: object = None


class Helper:
    def scale(self, y):
        return y * 2.0


class Answering:
    def __init__(self):
        self.answers = {"scale": 2.0}

    def __getattr__(self, name):
        if name in self.__dict__["answers"]:
            return self.__dict__["answers"][name]
        raise AttributeError(name)


class Own(nn.Module):
    def __init__(self):
        self.gain = nn.Parameter(np.full(3, 1.5, "float32"))
        self.factor, self.mode, self.options, self.extra, self.lazy = 2.0, "plain", {"shift": 0.0}, None, None
        self.register_buffer("calls", mgx.zeros(1))

    def forward(self, y):
        self.calls += 1.0
        y = y * self.gain * self.factor + self.options["shift"]
        y = y.tanh() if self.mode == "tanh" else y
        y = y + self.extra if self.extra is not None else y
        return y * 2.0 if self.training else y


PARTS = [bits, Log, is_close, first_difference, eager, graphs, total, in_thread, logged, difference]
CLASSES = [Pair, Options, Helper, Answering, Own]
PAIR = 'Pair = namedtuple("Pair", "left right")\n'

# ----- kinds ----------------------------------------------------------------------------------------------------------

KINDS = {
    "captured": "a tensor of the closure is read",
    "parameter": "a parameter of the closure is read",
    "backward": "a backward pass inside",
    "clearing": "gradients are cleared inside, either way",
    "optimizer": "an optimizer steps inside",
    "clip": "gradients are clipped inside",
    "gradient read": "a gradient is read or scaled by hand inside",
    "gradient set": "changes: a gradient is set, filled or taken away",
    "shared gradient": "changes: two leaves have one gradient",
    "eager backward": "changes: a backward pass outside",
    "zero_grad outside": "changes: gradients are cleared outside, either way",
    "random": "draws from the shared generator",
    "seed": "changes: the shared generator is seeded, or drawn from",
    "generator": "draws from a generator of the closure",
    "generator changed": "changes: a generator is drawn from, rewound or replaced",
    "generator inside": "a generator or a seed made inside",
    "rewound inside": "a generator is rewound inside",
    "linear": "a Linear", "dropout": "a Dropout", "batch norm": "a BatchNorm1d", "layer norm": "a LayerNorm",
    "sequential": "a Sequential", "module list": "a ModuleList that the function loops over",
    "own module": "a module whose forward reads plain attributes, its training flag and counts in a buffer",
    "direct forward": "module.forward called without the module's call",
    "flag read": "the function itself reads module.training",
    "mode": "changes: eval() and train()",
    "attribute": "changes: a plain attribute of a module, or what is in it",
    "attribute inside": "a plain attribute of a module is set inside",
    "buffer": "changes: a buffer is written or replaced",
    "list changed": "changes: a ModuleList or Sequential grows",
    "parameter replaced": "changes: another parameter under the same name",
    "data": "changes: .data assigned, and writes in place",
    "rebound": "changes: a variable of the closure stands for another tensor",
    "closure number": "a number, a dict or an object of the closure, changed",
    "own name": "a variable of the function's own, named as a global that moves, is read by what is defined inside",
    "requires_grad": "changes: requires_grad off and on",
    "tensor hook": "changes: a hook on a parameter comes and goes",
    "module hook": "changes: hooks of modules come and go",
    "hook notes": "changes: hooks that add to a list",
    "hook inside": "a hook of a result", "module hook inside": "a hook of a module comes and goes inside",
    "group option": "changes: an option of a group",
    "group option inside": "an option of a group set inside",
    "group added": "changes: add_param_group",
    "loaded": "changes: load_state_dict of optimizers and modules",
    "scheduler": "changes: a scheduler steps",
    "scheduler inside": "a scheduler steps inside",
    "no_grad": "grad mode off around the call, off or read inside",
    "detect_nan": "detect_nan around the call or inside",
    "argument written": "arguments are written in place",
    "captured written": "tensors of the closure are written in place", "data inside": ".data assigned inside",
    "view": "views of arguments are read and written",
    "aliasing": "an argument that is a tensor of the closure, or given twice",
    "overlap": "NumPy arguments that overlap",
    "leaf argument": "an argument that is a parameter",
    "leaf inside": "a leaf is made inside, and gets a gradient that may not be read",
    "made lazily": "a parameter is made inside where there is none",
    "hidden method": "a method, and an attribute of the same name that comes and goes",
    "shapes": "arguments of other shapes", "dtypes": "arguments and parameters of double precision",
    "strides": "arguments that do not lie in order", "arrays": "NumPy arrays as arguments",
    "float": "a float argument", "float decides": "a float argument that decides", "integer": "an int argument",
    "flag": "a bool argument", "string": "a string argument", "none": "an argument that is None or a tensor",
    "keywords": "arguments by keyword",
    "containers": "nested lists and dicts as arguments", "namedtuple": "a namedtuple as argument",
    "dataclass": "a dataclass as argument, changed between calls", "namespace": "an object of no class of its own",
    "argument container": "a list or dict among the arguments that the function adds to",
    "closure container": "a list of the closure that the function adds to",
    "checkpoint": "mgx.checkpoint", "random checkpoint": "random numbers in a checkpoint",
    "generator checkpoint": "those of a generator of the closure",
    "host": "sorts, sums and indices, which run in NumPy",
    "transforms": "mgx.grad inside",
    "read": "a number is read of a tensor inside", "read caught": "the same, with any error caught",
    "raises": "the function itself raises for some arguments",
    "results": "results of several kinds", "gradient result": "the result is a gradient",
    "note": "a counter whose item or attribute may be gone",
    "graph asked": "the function asks for places in graphs",
    "class attribute": "an attribute of a class is read or left as it is inside",
    "class attribute set": "an attribute of a class is set, and may be used",
    "class attribute count": "an attribute of a class is counted, and used",
    "context": "a context variable", "kept elsewhere": "arguments are kept in objects and errors",
    "program": "another compiled function is called inside",
    "default": "an argument that may be left out",
    "method": "a compiled method, called of an object", "compiled module": "a module is compiled",
    "options": "mgx.compile with check=True, or without passes",
    "eager call": "changes: the function is called as it is",
    "answered attribute": "an attribute that __getattr__ answers for, and that comes and goes",
    "backward notes": "changes: hooks of backward passes that read gradients or keep them",
    "default dtype": "the default dtype counts", "mode left": "grad mode or the default dtype is switched inside",
    "module dict": "a ModuleDict, whose modules come and go",
    "parameter list": "a ParameterList, whose parameters come and go",
    "shared module": "one parameter in two modules",
    "recurrent": "an LSTM", "attention": "a MultiheadAttention", "embedding": "rows of a table",
    "averaged": "averages of parameters, inside and outside",
    "averaged inside": "an AveragedModel is updated inside, which reads how often it was",
    "lbfgs": "an LBFGS with its closure inside",
    "optimizer outside": "changes: an optimizer steps outside, over gradients of several calls",
    "closure outside": "changes: a result is what an LBFGS outside minimizes",
    "derivative by hand": "a Function", "gradient inside": "autograd.grad inside",
    "copied": "changes: a module, or what was compiled, is copied or pickled",
    "statistics": "changes: the statistics of a norm are reset, or not kept",
    "object written": "an object or a container among the arguments is changed by the function",
    "thread": "every other call comes from another thread",
    "argument graph": "an argument has a graph",
    "result backward": "the backward pass of a result", "results together": "one backward pass of two results",
    "results reversed": "backward passes of results, the last one first",
    "result twice": "two backward passes of a result",
    "written between": "a write before the backward pass of a result",
    "result gradient": "autograd.grad of a result", "result again": "the second derivative of a result",
    "result given": "a result is an argument of the next call",
}

# Statements: (kind, source). What a statement names (features, arguments) comes to be with it.
STATEMENTS = [
    (None, "y = y * 2.0"), (None, "y = y.tanh()"), (None, "y = y - y.mean(1, keepdims=True)"),
    ("captured", "y = y + c"), ("captured", "y = y * c.tanh()"),
    ("parameter", "y = y * w"), ("parameter", "y = y + v"),
    ("backward", "(y * w).square().sum().backward()"), ("backward", "(y * w * v).sum().backward()\ny = y.detach()"),
    ("backward", "loss = (y * w).sum()\nloss.backward(retain_graph=True)\nloss.backward()\ny = y.detach()"),
    ("clearing", "w.grad = None"), ("clearing", "sgd.zero_grad()"), ("clearing", "sgd.zero_grad(False)"),
    ("clearing", "if w.grad is not None:\n    w.grad.zero_()"),
    ("optimizer", "sgd.step()"), ("optimizer", "adam.step()"), ("optimizer", "momentum.step()"),
    ("optimizer", "rmsprop.step()"),
    ("optimizer", "sgd.zero_grad()\n(y * w).square().sum().backward()\nsgd.step()"),
    ("clip", "optim.clip_grad_norm_([w, v], 0.5)"), ("clip", "optim.clip_grad_value_([w], 0.1)"),
    ("clip", "y = y + optim.clip_grad_norm_([w], 0.5)"),
    ("gradient read", "if w.grad is not None:\n    y = y + w.grad"),
    ("gradient read", "if w.grad is not None:\n    w.grad *= 0.5"),
    ("gradient read", "if w.grad is not None:\n    with mgx.no_grad():\n        w -= 0.1 * w.grad"),
    ("random", "y = y + mgx.rand(3)"), ("random", "y = F.dropout(y, 0.5)"), ("random", "y = y * mgx.randn(3)"),
    ("generator", "y = y + mgx.rand(3, rng=rng)"), ("generator", "y = F.dropout(y, 0.5, rng=rng)"),
    ("generator inside", "y = y + mgx.rand(3, rng=np.random.default_rng(0))"),
    ("generator inside", "y = y + mgx.rand(3, rng=0)"),
    ("generator inside", "y = y + mgx.randn(3, rng=mgx.Generator(2))"),
    ("generator inside", "own_rng = np.random.default_rng(0)\n"
                         "y = y + mgx.rand(3, rng=own_rng) - mgx.rand(3, rng=own_rng)"),
    ("rewound inside", "own = np.random.default_rng(2)\nstate = own.bit_generator.state\ny = y + mgx.rand(3, rng=own)\n"
                       "own.bit_generator.state = state"),
    ("rewound inside", "mgx.manual_seed(3)\ny = y + mgx.rand(3)"),
    ("rewound inside", "state = mgx.get_rng_state()\ny = y + mgx.rand(3)\nmgx.set_rng_state(state)\n"
                       "y = y * mgx.rand(3)"),
    ("linear", "y = linear(y)"), ("dropout", "y = dropout(y)"), ("batch norm", "y = norm(y)"),
    ("layer norm", "y = layer_norm(y)"), ("sequential", "y = net(y)"),
    ("module list", "for block in blocks:\n    y = block(y)"), ("own module", "y = own(y)"),
    ("direct forward", "y = dropout.forward(y)"), ("direct forward", "y = norm.forward(y)"),
    ("flag read", "y = F.dropout(y, 0.5, training=linear.training)"),
    ("flag read", "if own.training:\n    y = y * 3.0"),
    ("attribute inside", "own.factor = own.factor + 1.0"), ("attribute inside", "own.extra = y.detach()"),
    ("closure number", "y = y * factor"), ("closure number", 'y = y * table["k"]'),
    ("closure number", "y = y * settings.k"), ("closure number", "y = y + settings.t"),
    ("own name", "shown = x\ny = y + [shown * s for s in (1.0, 2.0)][1]"),
    ("own name", "shown = x * 2.0\ny = y + (lambda s: shown * s)(2.0)"),
    ("hook inside", "t = y * w\nif t.requires_grad:\n    t.register_hook(lambda g: g * 3.0)\n    t.sum().backward()"),
    ("module hook inside", "handle = linear.register_forward_hook(lambda m, a, out: out * 2.0)\n"
                           "y = linear(y)\nhandle.remove()"),
    ("group option inside", 'sgd.param_groups[0]["lr"] = rate\nsgd.step()'),
    ("group added", "(y * late).sum().backward()\ny = y.detach()\nsgd.step()"),
    ("scheduler inside", "scheduler.step()"),
    ("no_grad", "with mgx.no_grad():\n    y = y * w"), ("no_grad", "if mgx.is_grad_enabled():\n    y = y * 2.0"),
    ("no_grad", "with mgx.enable_grad():\n    (y * w).sum().backward()"),
    ("detect_nan", "with mgx.detect_nan():\n    y = y.log()"), ("detect_nan", "y = y.log()"),
    ("argument written", "x += 1.0"), ("argument written", "x[0] = 2.0"),
    ("argument written", "x.copy_(y.detach() * 0.5)"), ("argument written", "x.zero_()"),
    ("captured written", "c += 1.0"), ("captured written", "c.copy_(y.detach().sum(0))"),
    ("captured written", "with mgx.no_grad():\n    w *= 0.9"), ("captured written", "w.data *= 0.9"),
    ("data inside", "w.data = w.data * 0.9"),
    ("view", "part = x[:1]\npart += 1.0"), ("view", "y = y + x[:1]"), ("view", "y = y.reshape(-1)[:3] + y"),
    ("aliasing", "y = y + kept"), ("aliasing", "kept += 1.0"), ("aliasing", "y = y + z"),
    ("overlap", "y = y + z"), ("overlap", "z *= 2.0"),
    ("leaf argument", "(x * x).sum().backward()\ny = y.detach()"),
    ("leaf inside", "t = y.detach().clone().requires_grad_()\n(t * t * w).sum().backward()"),
    ("leaf inside", "t = y.detach().clone().requires_grad_()\n(t * t * w).sum().backward()\ny = y + t.grad"),
    ("leaf inside", "t = y.detach().clone().requires_grad_()\n"
                    "g, = mgx.autograd.grad((t * t * w).sum(), [t], create_graph=True)\ng.square().sum().backward()"),
    ("made lazily", "if own.lazy is None:\n    own.lazy = nn.Parameter([1.0, 2.0, 3.0])\ny = y * own.lazy"),
    ("hidden method", "y = helper.scale(y)"), ("answered attribute", "y = y * answering.scale"),
    ("transforms", "y = y.detach() + mgx.vmap(lambda t: (t * c).tanh())(y.detach())"),
    ("float", "y = y * rate"), ("float", "y = y + (1.0 - rate) * 0.5"), ("float", "y = y + rate / 3.0"),
    ("float decides", "y = -y if rate > 1.0 else y"), ("float decides", "y = y * int(rate * 2)"),
    ("float decides", 'y = y * float(f"{rate:.1f}")'),
    ("integer", "for _ in range(n):\n    y = y * 0.5"), ("integer", "y = y * n"), ("integer", "y = y[:n + 1]"),
    ("flag", "y = -y if flag else y"), ("flag", "y = y * flag"), ("string", "y = getattr(y, mode)()"),
    ("none", "y = y + extra if extra is not None else -y"),
    ("containers", 'y = y * batch["factor"] + batch["rows"][-1]'),
    ("containers", 'for row in batch["rows"]:\n    y = y + row'), ("containers", 'batch["rows"][0] += 1.0'),
    ("namedtuple", "y = y * pair.left + pair.right"), ("namedtuple", "y = pair._replace(left=y).left + pair.right"),
    ("dataclass", "y = y * options.factor"),
    ("dataclass", "y = y + options.shift if options.shift is not None else y"),
    ("argument container", "record.append(y.detach())"), ("argument container", 'found["last"] = y.detach()'),
    ("argument container", "y = y * len(record)\nrecord.append(1)"),
    ("closure container", "journal.append(y.detach())"),
    ("closure container", "y = y * len(journal)\njournal.append(1)"),
    ("checkpoint", "y = mgx.checkpoint(lambda t: (t * w).tanh(), y)"),
    ("checkpoint", "mgx.checkpoint(lambda t: (t * w).tanh(), y).sum().backward()\ny = y.detach()"),
    ("checkpoint", "y = mgx.checkpoint(norm, y)"), ("checkpoint", "y = mgx.checkpoint(own, y)"),
    ("checkpoint", "mgx.checkpoint(own, y).sum().backward()\ny = y.detach()"),
    ("random checkpoint", "t = mgx.checkpoint(lambda t: F.dropout(t * w, 0.5), y)\nt.sum().backward()\ny = t.detach()"),
    ("generator checkpoint", "t = mgx.checkpoint(lambda t: F.dropout(t * w, 0.5, rng=rng), y)\nt.sum().backward()\n"
                             "y = t.detach()"),
    ("host", "y = y.cumsum(0)"), ("host", "y = y.sort(1).values"), ("host", "y = y[[0, 0]]"),
    ("host", "y = y * (y.argmax(1) == 1).reshape(-1, 1)"),
    ("transforms", "y = y.detach() + mgx.grad(lambda t: (t * t * t).sum())(y.detach())"),
    ("read", "if y.sum().item() > 0.0:\n    y = -y"), ("read", "y = y * float(y.detach().sum())"),
    ("read", "y = mgx.Tensor(y.detach().numpy() * 2)"),
    ("read caught", "try:\n    large = y.sum().item() > 0.0\n"
                    "except Exception:\n    large = False\ny = -y if large else y"),
    ("raises", 'if flag:\n    raise ValueError("flag")'), ("raises", "x += 1.0\ny = y + y[:, :2 if flag else 3]"),
    ("note", "try:\n    ticks[0] += 0\nexcept (IndexError, TypeError):\n    y = y * 5.0"),
    ("note", "try:\n    settings.ticks += 0\nexcept AttributeError:\n    y = y * 5.0"),
    ("note", 'settings.phase = "train"'), ("note", 'table["phase"] = "train"'),
    ("graph asked", "y = y * 3.0 if x.is_leaf else y"), ("graph asked", "y = y * 2.0 if x.requires_grad else y"),
    ("graph asked", "y = y * 3.0 if c.is_leaf else y"), ("graph asked", "y = y * 2.0 if c.requires_grad else y"),
    ("class attribute", "y = y * Kind.width"), ("class attribute set", "Kind.width = 2.0"),
    ("class attribute", "Kind.count += 0"), ("class attribute count", "Kind.count += 1\ny = y * Kind.count"),
    ("context", "y = y * context.get()"),
    ("kept elsewhere", 'shelf["last"] = SimpleNamespace(x=x, part=[x[:1]])'),
    ("kept elsewhere", 'shelf["error"] = ValueError(x, 2.0).args'),
    ("default", "y = y * last"), ("program", "y = inner(y)"), ("program", "y = inner(y.detach())"),
    ("program", "inner(y * w).sum().backward()"),
    ("default dtype", "y = y + mgx.ones(3).sum() + mgx.tensor(0.1)"), ("default dtype", "y = y * mgx.rand(3)"),
    ("mode left", "mgx.set_grad_enabled(False)"), ("mode left", 'mgx.set_default_dtype("float64")'),
    ("mode left", "with mgx.set_grad_enabled(False):\n    y = y * w"),
    ("module dict", 'for name in parts:\n    y = parts[name](y)'), ("module dict", 'y = parts["a"](y)'),
    ("module dict", 'y = parts["b"](y) if "b" in parts else y'),
    ("parameter list", "for p in weights:\n    y = y * p"), ("parameter list", "y = y + weights[0]"),
    ("shared module", "y = tied(linear(y))"),
    ("recurrent", "y = lstm(y.reshape(1, -1, 3))[0].reshape(-1, 3)"),
    ("attention", "y = attention(y, y, y, need_weights=False)[0]"),
    ("embedding", "y = y + embedding(places)"), ("embedding", "y = y + F.embedding(places, embedding.weight)"),
    ("averaged", "for e, p in zip(average.parameters(), linear.parameters()):\n"
                 "    e.data.mul_(0.9).add_(p.data, alpha=0.1)\ny = average(linear(y))"),
    ("averaged inside", "swa.update_parameters(linear)\ny = swa(linear(y))"), ("averaged", "y = linear(y) - swa(y)"),
    ("lbfgs", "def again():\n    lbfgs.zero_grad()\n    loss = (y.detach() * w).square().sum()\n    loss.backward()\n"
              "    return loss\n\n\nlbfgs.step(again)"),
    ("derivative by hand", "y = Cubed.apply(y)"), ("derivative by hand", "Cubed.apply(y * w).sum().backward()"),
    ("gradient inside", "y = y + mgx.autograd.grad((y.detach() * w).square().sum(), [w])[0]"),
    ("gradient inside", "g, = mgx.autograd.grad((y * w).square().sum(), [w], create_graph=True)\n"
                        "y = y + g.square().sum()"),
    ("clip", "optim.clip_grad_norm_(net.parameters(), 0.5)"),
    ("object written", "options.factor = options.factor + 1.0"), ("object written", "options.shift = y.detach()"),
    ("object written", 'batch["rows"].append(y[0].detach())'), ("object written", 'batch["rows"].reverse()'),
    ("object written", 'batch["factor"] = 3.0'), ("object written", "pair.left.mul_(2.0)"),
    ("rewound inside", "with mgx.fork_rng():\n    y = y + mgx.rand(3)"),
    ("transforms", "y = y + mgx.jvp(lambda t: t.tanh() * w, (c,), (mgx.ones(3, dtype=c.dtype),))[1]"),
    ("transforms", "y = y * mgx.hessian(lambda t: (t * t * t).sum())(c).sum()"),
    ("transforms", "y = y + mgx.grad(lambda t: (t * w).tanh().sum())(c)"),
    ("transforms", "y = y + mgx.hvp(lambda t: (t * t * t * w).sum(), (c,), (c,))[0]"),
    ("transforms", "value, pull = mgx.vjp(lambda t: t.tanh(), c)\ny = y + pull(value)[0]"),
]

# What cannot be replayed by its nature: a run of the body at each call is no fault.
NOT_REPLAYED = {"rewound inside", "attribute inside", "closure container", "argument container", "read", "read caught",
                "scheduler inside", "group option inside", "raises", "generator inside", "aliasing", "overlap",
                "options", "method", "detect_nan", "module hook inside", "generator checkpoint", "namespace",
                "data inside", "class attribute count",
                "kept elsewhere", "lbfgs", "averaged inside", "object written", "result given", "mode left",
                "backward notes",
                "written between"}

# What is compiled.
FORMS = [
    (None, "compiled = compile(function)"),
    ("method", "class Holder:\n    step = compile(lambda self, *args, **kwargs: function(*args, **kwargs))\n\n\n"
               "compiled = Holder().step"),
    ("compiled module", "class Net(nn.Module):\n    def forward(self, *args, **kwargs):\n"
                        "        return function(*args, **kwargs)\n\n\ncompiled = compile(Net())"),
    ("options", "compiled = compile(function, check=True)"), ("options", "compiled = compile(function, passes=())"),
    ("options", 'compiled = compile(function, passes={"dead", "reuse"})'),
    ("thread", "step, turns = compile(function), []\n\n\ndef compiled(*args, **kwargs):\n    turns.append(1)\n"
               "    return in_thread(step, *args, **kwargs) if len(turns) % 2 else step(*args, **kwargs)"),
]

RESULTS = [
    (None, "y"), ("results", "y, x"), ("results", '{"y": y, "parts": [y[0], y[:, 1]], "name": "a"}'),
    ("results", "None"),
    ("results", "[y, y.T, y.sum()]"), ("results", "w"), ("results", "c, y"), ("results", "Pair(y, 2.5)"),
    ("results", "w[1:]"), ("results", "rate, y"), ("gradient result", "w.grad"), ("gradient result", "[v.grad, y]"),
]

# What a function finds around it: name -> [(kind, source)], of which one is drawn; {leaves} are the parameters there.
FEATURES = {
    "c": [(None, "c = mgx.Tensor([1.0, 2.0, -1.0])"), ("dtypes", 'c = mgx.Tensor([1.0, 2.0, -1.0], dtype="float64")')],
    "w": [(None, "w = nn.Parameter([0.5, -1.0, 2.0])"),
          ("dtypes", 'w = nn.Parameter([0.5, -1.0, 2.0], dtype="float64")')],
    "v": [(None, "v = nn.Parameter([1.0, 2.0, 3.0])"),
          ("dtypes", 'v = nn.Parameter([1.0, 2.0, 3.0], dtype="float64")')],
    "kept": [(None, "kept = mgx.ones(2, 3)")],
    "whole": [(None, 'whole = np.arange(12, dtype="float32").reshape(4, 3)')],
    "leaf": [(None, "leaf = nn.Parameter([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])")],
    "late": [(None, "late = nn.Parameter([1.0, 1.0, 1.0])")],
    "rng": [(None, "rng = np.random.default_rng(1)"), (None, "rng = mgx.Generator(1)")],
    "linear": [(None, "linear = nn.Linear(3, 3, rng=0)")],
    "dropout": [(None, "dropout = nn.Dropout(0.5)")],
    "norm": [(None, "norm = nn.BatchNorm1d(3)")],
    "layer_norm": [(None, "layer_norm = nn.LayerNorm(3)")],
    "net": [(None, "net = nn.Sequential(nn.Linear(3, 3, rng=1), nn.Tanh())"),
            (None, "net = nn.Sequential(nn.Linear(3, 3, rng=1), nn.Dropout(0.5), nn.BatchNorm1d(3))")],
    "blocks": [(None, "blocks = nn.ModuleList([nn.Linear(3, 3, rng=2)])")],
    "own": [(None, "own = Own()")],
    "helper": [(None, "helper = Helper()")],
    "answering": [(None, "answering = Answering()")],
    "factor": [(None, "factor = 2.0")],
    "table": [(None, 'table = {"k": 2.0}')],
    "settings": [(None, "settings = SimpleNamespace(k=2.0, t=mgx.ones(3))")],
    "journal": [(None, "journal = []")],
    "notes": [(None, "notes = []")],
    "box": [(None, "box = {}")],
    "ticks": [(None, "ticks = [0]")],
    "shelf": [(None, "shelf = {}")],
    "Kind": [(None, 'Kind = type("Kind", (), {"width": 2.0, "count": 1})')],
    "context": [(None, 'context = ContextVar("context", default=2.0)')],
    "shared_options": [(None, "shared_options = Options(2.0)")],
    "hook": [(None, "hook = None")],
    "inner": [(None, "inner = compile(lambda t: t.tanh() * 2.0)"),
              (None, "inner = compile(nn.Sequential(nn.Linear(3, 3, rng=5), nn.Dropout(0.5)))")],
    "Cubed": [(None, "class Cubed(mgx.autograd.Function):\n    factor = 3.0\n\n"
                     "    @staticmethod\n    def forward(ctx, t):\n        ctx.save_for_backward(t)\n"
                     "        return t * t * t\n\n"
                     "    @staticmethod\n    def backward(ctx, g):\n        t, = ctx.saved_tensors\n"
                     "        return g * t * t * Cubed.factor")],
    "parts": [(None, 'parts = nn.ModuleDict({"a": nn.Linear(3, 3, rng=4), "b": nn.Tanh()})')],
    "weights": [(None, "weights = nn.ParameterList([nn.Parameter([0.5, 1.5, -1.0])])")],
    "tied": [(None, "tied = nn.Linear(3, 3, rng=6)")],
    "lstm": [(None, "lstm = nn.LSTM(3, 3, rng=7)")],
    "attention": [(None, "attention = nn.MultiheadAttention(3, 1, rng=8)")],
    "embedding": [(None, "embedding = nn.Embedding(4, 3, rng=9)")],
    "average": [(None, "average = nn.Linear(3, 3, rng=0)")],
    "swa": [(None, "swa = optim.swa_utils.AveragedModel(nn.Linear(3, 3, rng=0))")],
    "lbfgs": [(None, "lbfgs = optim.LBFGS({leaves}, lr=0.1, max_iter=3)")],
    "plane": [(None, "plane = nn.Parameter([[0.5, -1.0, 2.0], [1.5, 0.5, -0.5]])")],
    "sgd": [(None, "sgd = optim.SGD({leaves}, lr=0.1)"),
            (None, 'sgd = optim.SGD([{{"params": [p], "lr": 0.1 + k}} for k, p in enumerate({leaves})], lr=0.5)')],
    "momentum": [(None, "momentum = optim.SGD({leaves}, lr=0.1, momentum=0.9, weight_decay=0.1)")],
    "adam": [(None, "adam = optim.Adam({leaves}, lr=0.01)"), (None, "adam = optim.AdamW({leaves}, lr=0.01)"),
             (None, "adam = optim.NAdam({leaves}, lr=0.01)"), (None, "adam = optim.RAdam({leaves}, lr=0.01)"),
             (None, "adam = optim.Adamax({leaves}, lr=0.01)")],
    "rmsprop": [(None, "rmsprop = optim.RMSprop({leaves}, lr=0.01, momentum=0.5)")],
    "saved": [(None, "saved = {{name: o.state_dict() for name, o in {optimizers}.items()}}")],
    "scheduler": [(None, "scheduler = optim.ExponentialLR({optimizer}, 0.5)"),
                  (None, "scheduler = optim.StepLR({optimizer}, 2)"),
                  (None, "scheduler = optim.OneCycleLR({optimizer}, 0.5, 40, cycle_momentum=False)"),
                  (None, "scheduler = optim.CosineAnnealingLR({optimizer}, 5)"),
                  (None, "scheduler = optim.LambdaLR({optimizer}, lambda n: 0.9 ** n)")],
}
LEAVES = {"w": "w", "v": "v", "leaf": "leaf", "linear": "*linear.parameters()", "norm": "*norm.parameters()",
          "layer_norm": "*layer_norm.parameters()", "net": "*net.parameters()", "blocks": "*blocks.parameters()",
          "own": "*own.parameters()", "parts": "*parts.parameters()", "weights": "*weights",
          "lstm": "*lstm.parameters()", "attention": "*attention.parameters()",
          "embedding": "*embedding.parameters()", "plane": "plane"}
OPTIMIZERS = ["sgd", "momentum", "adam", "rmsprop"]
OUTSIDE = {"hook", "notes", "saved", "scheduler", "shared_options"}        # made for a change alone

# Changes between calls: (kind, source).
CHANGES = [
    ("gradient set", "w.grad = None"), ("gradient set", "w.grad = mgx.Tensor(w.data * 0.0 + 1.0)"),
    ("gradient set", "v.grad = mgx.Tensor(v.data * 0.0 + 1.0)"), ("gradient set", "v.grad = None"),
    ("gradient set", "if w.grad is not None:\n    w.grad.fill_(3.0)"),
    ("gradient set", "leaf.grad = None"), ("gradient set", "linear.weight.grad = None"),
    ("shared gradient", "if w.dtype == v.dtype:\n    w.grad = v.grad = mgx.Tensor(w.data * 0.0 + 1.0)"),
    ("shared gradient", "if w.grad is not None and w.dtype == v.dtype:\n    v.grad = w.grad"),
    ("eager backward", "(w * 3.0).sum().backward()"), ("eager backward", "(v * v).sum().backward()"),
    ("eager backward", "linear(mgx.ones(1, 3)).sum().backward()"),
    ("zero_grad outside", "w.grad = None"), ("zero_grad outside", "sgd.zero_grad(False)"),
    ("zero_grad outside", "adam.zero_grad()"), ("zero_grad outside", "momentum.zero_grad()"),
    ("seed", "mgx.manual_seed(7)"), ("seed", "mgx.rand(2)"), ("seed", "mgx.manual_seed(0)"),
    ("generator changed", "mgx.rand(2, rng=rng)"), ("generator changed", "rng = np.random.default_rng(5)"),
    ("generator changed", "rng = mgx.Generator(5)"),
    ("mode", "dropout.eval()"), ("mode", "dropout.train()"), ("mode", "norm.eval()"), ("mode", "norm.train()"),
    ("mode", "net.eval()"), ("mode", "net.train()"), ("mode", "own.eval()"), ("mode", "own.train()"),
    ("mode", "linear.eval()"), ("mode", "net[1].training = False"), ("mode", "own.training = False"),
    ("attribute", "own.factor = 3.0"), ("attribute", 'own.mode = "tanh"'), ("attribute", 'own.options["shift"] = 2.0'),
    ("attribute", "own.extra = mgx.ones(3)"), ("attribute", "dropout.p = 0.9"), ("attribute", "norm.momentum = 0.5"),
    ("attribute", "norm.eps = 0.1"), ("attribute", "layer_norm.eps = 0.1"), ("attribute", "own.extra = None"),
    ("buffer", "norm.running_mean = mgx.ones(3)"), ("buffer", "norm.running_var.fill_(2.0)"),
    ("buffer", "own.calls = mgx.ones(1)"), ("buffer", "own.register_buffer('calls', mgx.ones(1))"),
    ("buffer", "norm.running_mean.data = mgx.ones(3)"),
    ("list changed", "blocks.append(nn.Linear(3, 3, rng=3))"), ("list changed", "blocks.append(nn.Dropout(0.5))"),
    ("list changed", "blocks.extend([nn.Tanh()])"), ("list changed", "net.append(nn.Tanh())"),
    ("parameter replaced", "linear.weight = nn.Parameter(np.eye(3, dtype='float32'))"),
    ("parameter replaced", "w = nn.Parameter([2.0, 2.0, 2.0])"),
    ("parameter replaced", "own.gain = nn.Parameter([2.0])"),
    ("parameter replaced", "net[0].bias = nn.Parameter([1.0, 1.0, 1.0])"), ("parameter replaced", "linear.bias = None"),
    ("parameter replaced", "net[0] = nn.Linear(3, 3, rng=9)"),
    ("parameter replaced", "linear = nn.Linear(3, 3, rng=9)"),
    ("data", "w.data = mgx.Tensor(w.data * 2.0)"), ("data", "w.data.fill_(2.0)"),
    ("data", "with mgx.no_grad():\n    w *= 2.0"), ("data", "c.data = mgx.Tensor(c * 2.0)"), ("data", "c += 1.0"),
    ("data", "linear.weight.data = np.eye(3, dtype='float32')"), ("data", "v.data = w.data"),
    ("data", "w.data = np.array([1.0, 2.0, 3.0])"), ("data", "c.data = w.data"), ("data", "c[0] = 7.0"),
    ("rebound", "c = mgx.Tensor([3.0, 3.0, 3.0])"), ("rebound", "c = c * 2.0"), ("rebound", "own = Own()"),
    ("rebound", "c = mgx.Tensor([3.0])"), ("rebound", "kept = mgx.zeros(2, 3)"), ("rebound", "dropout = nn.Identity()"),
    ("closure number", "factor = 3.0"), ("closure number", 'table["k"] = 3.0'), ("closure number", "settings.k = 3.0"),
    ("closure number", "settings.t = mgx.zeros(3)"), ("closure number", 'table = {"k": 4.0}'),
    ("requires_grad", "w.requires_grad_(False)"), ("requires_grad", "w.requires_grad_()"),
    ("requires_grad", "v.requires_grad_(False)"), ("requires_grad", "linear.requires_grad_(False)"),
    ("requires_grad", "c.requires_grad_()"), ("requires_grad", "linear.bias.requires_grad = False"),
    ("tensor hook", "hook = w.register_hook(lambda g: g * 2.0)"), ("tensor hook", "if hook:\n    hook.remove()"),
    ("tensor hook", "hook = v.register_hook(lambda g: g * 2.0)"),
    ("hook notes", "hook = w.register_hook(lambda g: notes.append(g.clone()))"),
    ("module hook", "hook = linear.register_forward_hook(lambda m, a, out: out * 2.0)"),
    ("module hook", "hook = dropout.register_forward_pre_hook(lambda m, a: (a[0] * 2.0,))"),
    ("module hook", "hook = own.register_forward_hook(lambda m, a, out: out * 2.0)"),
    ("module hook", "hook = net[0].register_forward_hook(lambda m, a, out: out * 2.0)"),
    ("module hook", "hook = linear.register_full_backward_hook(\n"
                    "    lambda m, a, out: (None if a[0] is None else a[0] * 2.0,))"),
    ("module hook", "if hook:\n    hook.remove()"),
    ("hook notes", "hook = linear.register_forward_hook(lambda m, a, out: notes.append(1))"),
    ("backward notes", "hook = linear.register_full_backward_hook(lambda m, a, out: notes.append(out[0].clone()))"),
    ("backward notes", "hook = own.register_full_backward_hook(\n"
                       "    lambda m, a, out: (a[0] * 2.0,) if a[0] is not None and a[0].sum() > 0.0 else None)"),
    ("backward notes", "hook = net.register_full_backward_hook(lambda m, a, out: setattr(m, 'last', out[0].sum()))"),
    ("group option", 'sgd.param_groups[0]["lr"] = 0.5'), ("group option", 'sgd.param_groups[0]["momentum"] = 0.9'),
    ("group option", 'adam.param_groups[0]["lr"] = 0.5'),
    ("group option", 'adam.param_groups[0]["betas"] = (0.5, 0.9)'),
    ("group option", 'momentum.param_groups[0]["momentum"] = 0.0'),
    ("group option", 'momentum.param_groups[0]["nesterov"] = True'),
    ("group option", 'sgd.param_groups[0]["weight_decay"] = 0.1'),
    ("group option", 'rmsprop.param_groups[0]["centered"] = True'),
    ("group added", "if all(late is not p for group in sgd.param_groups for p in group.params):\n"
                    "    sgd.add_param_group({'params': [late], 'lr': 0.5})"),
    ("loaded", 'adam.load_state_dict(saved["adam"])'), ("loaded", 'momentum.load_state_dict(saved["momentum"])'),
    ("loaded", 'sgd.load_state_dict(saved["sgd"])'),
    ("loaded", "linear.load_state_dict(nn.Linear(3, 3, rng=8).state_dict())"),
    ("loaded", "norm.load_state_dict(nn.BatchNorm1d(3).state_dict())"),
    ("note", "ticks[:] = []"), ("note", "ticks = None"), ("note", "ticks = [0]"), ("note", "settings.ticks = 0"),
    ("note", 'settings.phase = "test"'), ("note", 'table["phase"] = "test"'),
    ("graph asked", "c.requires_grad_()"), ("graph asked", "c = c * nn.Parameter([1.0, 2.0, 3.0])"),
    ("class attribute", "Kind.width = 3.0"), ("class attribute", 'Kind = type("Kind", (), {"width": 4.0, "count": 1})'),
    ("made lazily", "own.lazy = None"), ("hidden method", "helper.scale = lambda y: y * 5.0"),
    ("answered attribute", "answering.scale = 5.0"), ("answered attribute", 'vars(answering).pop("scale", None)'),
    ("answered attribute", 'answering.answers["scale"] = 4.0'), ("answered attribute", "answering = Answering()"),
    ("hidden method", 'vars(helper).pop("scale", None)'), ("hidden method", "helper = Helper()"),
    ("context", "context.set(3.0)"), ("context", "context.set(2.0)"),
    ("scheduler", "scheduler.step()"), ("eager call", "function(...)"), ("dtypes", "linear.double()"),
    ("dataclass", "shared_options.factor = 3.0"), ("dataclass", "shared_options.shift = mgx.ones(3)"),
    ("dataclass", "shared_options.shift = mgx.zeros(3)"),
    ("default dtype", 'mgx.set_default_dtype("float64")'), ("default dtype", 'mgx.set_default_dtype("float32")'),
    ("mode left", "mgx.set_grad_enabled(True)"), ("mode left", "mgx.set_grad_enabled(False)"),
    ("module dict", 'parts["b"] = nn.Dropout(0.5)'), ("module dict", 'parts["b"] = nn.Linear(3, 3, rng=11)'),
    ("module dict", 'if "b" in parts:\n    del parts["b"]'), ("module dict", 'parts.update({"c": nn.Sigmoid()})'),
    ("module dict", 'parts["a"] = parts.pop("a")'),
    ("parameter list", "weights.append(nn.Parameter([2.0, 2.0, 2.0]))"),
    ("parameter list", "weights[0] = nn.Parameter([3.0, 2.0, 1.0])"),
    ("list changed", "if len(blocks):\n    blocks[0] = nn.Tanh()"), ("list changed", "blocks.insert(0, nn.Tanh())"),
    ("list changed", "if len(blocks):\n    blocks.pop(-1)"), ("list changed", "if len(blocks):\n    del blocks[0]"),
    ("list changed", "net.insert(1, nn.Tanh())"),
    ("list changed", "net[0], net[1] = net[1], net[0]"),
    ("shared module", "tied.weight = linear.weight"), ("shared module", "tied.weight = nn.Parameter(mgx.eye(3))"),
    ("averaged", "swa.update_parameters(linear)"), ("averaged", "average.load_state_dict(linear.state_dict())"),
    ("averaged", "for e, p in zip(average.parameters(), linear.parameters()):\n"
                 "    e.data = 0.5 * e.data + 0.5 * p.data"),
    ("optimizer outside", "sgd.step()"), ("optimizer outside", "adam.step()"),
    ("optimizer outside", "momentum.step()\nmomentum.zero_grad()"),
    ("optimizer outside", "rmsprop.step()\nrmsprop.zero_grad(set_to_none=False)"),
    ("closure outside", "def again():\n    lbfgs.zero_grad()\n    loss = total(compiled(...)).square()\n"
                        "    if loss.requires_grad:\n        loss.backward()\n    return loss\n\n\nlbfgs.step(again)"),
    ("derivative by hand", "Cubed.factor = 2.0"), ("derivative by hand", "Cubed.factor = 3.0"),
    ("copied", "compiled = copy.deepcopy(compiled)"), ("copied", "net = pickle.loads(pickle.dumps(net))"),
    ("copied", "linear = copy.deepcopy(linear)"), ("copied", "own = copy.deepcopy(own)"),
    ("copied", "norm = copy.deepcopy(norm)"), ("copied", "inner = copy.deepcopy(inner)"),
    ("copied", "copy.deepcopy(net)"), ("copied", "pickle.dumps(linear)"),
    ("statistics", "norm.reset_running_stats()"), ("statistics", "norm.track_running_stats = False"),
    ("statistics", "norm.track_running_stats = True"), ("statistics", "norm.momentum = None"),
    ("dtypes", 'net.to("float64")'), ("dtypes", "norm.double()"), ("dtypes", 'own.to(dtype="float64")'),
    ("dtypes", "net.float()"), ("dtypes", "linear.float()"),
    ("generator changed", "if isinstance(rng, mgx.Generator):\n    rng.manual_seed(3)\nelse:\n"
                          "    rng.bit_generator.state = np.random.default_rng(3).bit_generator.state"),
    ("generator changed", "state = rng.bit_generator.state\nmgx.rand(2, rng=rng)\nrng.bit_generator.state = state"),
    ("module hook", "hook = net.register_full_backward_hook(\n"
                    "    lambda m, a, out: (None if a[0] is None else a[0] * 2.0,))"),
    ("module hook", "hook = own.register_full_backward_hook(lambda m, a, out: None)"),
    ("module hook", "hook = norm.register_forward_pre_hook(lambda m, a: (a[0] + 1.0,))"),
    ("requires_grad", "net.requires_grad_(False)"), ("requires_grad", "net.requires_grad_()"),
    ("loaded", "net.load_state_dict({name: t * 0.5 for name, t in net.state_dict().items()})"),
    ("tensor hook", "hook = w.register_hook(lambda g: None)"),
    ("data", "w.data = v.data"), ("data", "with mgx.no_grad():\n    w.copy_(v)"),
]

# Arguments: name -> [(kind, expression)], the first if nothing else is drawn. `k` counts the calls.
ARGUMENTS = {
    "x": [(None, "mgx.randn(2, 3, rng=k)"), ("shapes", "mgx.randn(4, 3, rng=k)"), ("shapes", "mgx.randn(1, 3, rng=k)"),
          ("shapes", "mgx.zeros(0, 3)"), ("dtypes", 'mgx.randn(2, 3, rng=k, dtype="float64")'),
          ("dtypes", "mgx.randint(3, size=(2, 3), rng=k)"), ("strides", "mgx.randn(3, 2, rng=k).T"),
          ("strides", "mgx.randn(4, 3, rng=k)[::2]"), ("strides", "mgx.randn(1, 3, rng=k).expand(2, 3)"),
          ("arrays", "mgx.randn(2, 3, rng=k).numpy()"), ("arrays", "np.arange(6.0).reshape(2, 3) * k"),
          ("arrays", "mgx.randn(3, 2, rng=k).numpy().T"),
          ("aliasing", "kept"), ("aliasing", "kept[:]"), ("overlap", "whole[:2]"), ("leaf argument", "leaf"),
          ("leaf argument", "nn.Parameter(mgx.randn(2, 3, rng=k))"), ("detect_nan", "-mgx.ones(2, 3)"),
          ("detect_nan", "mgx.ones(2, 3)"), ("no_grad", "leaf * 2.0"), ("aliasing", "kept.detach()"),
          ("argument graph", "plane * 2.0"), ("argument graph", "(plane * plane).tanh()"),
          ("aliasing", "plane[:]"), ("aliasing", "plane.detach()"),
          ("own name", 'globals().__setitem__("shown", mgx.randn(2, 3, rng=k)) or shown'),
          ("result given", "mgx.randn(2, 3, rng=k) if earlier is None or not graphs(earlier) else graphs(earlier)[0]")],
    "z": [(None, "mgx.randn(2, 3, rng=k + 50)"), ("aliasing", "kept"), ("aliasing", "kept[:]"),
          ("overlap", "whole[1:3]"),
          ("overlap", "whole[:2]"), ("overlap", "whole[::2]"), ("overlap", "whole[2:]"),
          ("argument graph", "plane * 3.0"), ("argument graph", "plane")],
    "rate": [(None, "0.5"), (None, "2.5"), (None, "0.1 * k"), (None, "-0.0"), (None, "np.float32(0.3)"),
             (None, 'float("nan")'), (None, "2"), (None, "True"), (None, "np.float64(0.3)")],
    "n": [(None, "1"), (None, "2"), (None, "0"), (None, "np.int64(2)"), (None, "True")],
    "flag": [(None, "False"), (None, "True"), (None, "1"), (None, "np.bool_(True)")],
    "mode": [(None, '"tanh"'), (None, '"exp"')],
    "extra": [(None, "None"), (None, "mgx.ones(3)"), (None, "2.0")],
    "batch": [(None, '{"factor": 2.0, "rows": [mgx.randn(3, rng=k)]}'),
              (None, '{"factor": 3.0, "rows": [mgx.ones(3)]}'),
              (None, '{"factor": 2.0, "rows": [mgx.ones(3), mgx.randn(3, rng=k)]}'),
              (None, '{"rows": [mgx.ones(3), 2.0], "factor": mgx.ones(1)}'),
              (None, '{"factor": 2, "rows": [mgx.randn(3, rng=k)]}'),
              ("overlap", '{"factor": 2.0, "rows": [mgx.from_numpy(whole[0]), mgx.from_numpy(whole)[0]]}'),
              ("argument graph", '{"factor": plane[0], "rows": [plane[1] * 2.0]}')],
    "places": [(None, "mgx.randint(4, size=(2,), rng=k)"), (None, "mgx.tensor([0])"), ("arrays", "np.array([1, 3])")],
    "pair": [(None, "Pair(mgx.ones(3), 2.0)"), (None, "Pair(mgx.zeros(3), 2.5)"),
             (None, "Pair(2.0, mgx.randn(3, rng=k))")],
    "options": [(None, "Options(2.0)"), (None, "Options(3.0)"), (None, "shared_options"),
                (None, "Options(2.0, mgx.randn(3, rng=k))"), ("namespace", "SimpleNamespace(factor=4.0, shift=None)")],
    "record": [(None, "notes"), (None, "[]")],
    "found": [(None, "box"), (None, "{}")],
    "last": [(None, ""), (None, "2.0"), (None, "3.0")],
}
DEFAULTS = {"last": "3.0"}

# What is done with the result r of a call, and with that of the call before it, or None.
AFTER = [
    ("result backward", "total(r).backward()"), ("result backward", "total(r).square().backward()"),
    ("result twice", "total(r).backward(retain_graph=True)\ntotal(r).backward()"),
    ("result twice", "total(r).backward()\ntotal(r).backward()"),
    ("results together", "(total(earlier) + total(r)).backward(retain_graph=True)"),
    ("results together", "(total(r) * total(earlier)).backward(retain_graph=True)"),
    ("results reversed", "if earlier is not None:\n    total(r).backward(retain_graph=True)\n"
                         "    total(earlier).backward(retain_graph=True)"),
    ("written between", "with mgx.no_grad():\n    w.mul_(2.0)\ntotal(r).backward()"),
    ("written between", "w.data = w.data * 2.0\ntotal(r).backward()"),
    ("written between", "c.add_(1.0)\ntotal(r).backward()"),
    ("written between", "linear.weight.data.mul_(0.5)\ntotal(r).backward()"),
    ("result gradient", "return mgx.autograd.grad(total(r), [w, v], allow_unused=True)"),
    ("result gradient", "return mgx.autograd.grad(total(r), list(linear.parameters()), allow_unused=True)"),
    ("result again", "g, = mgx.autograd.grad(total(r), [w], create_graph=True)\ng.square().sum().backward()"),
    ("result again", "return [mgx.autograd.grad(g.sum(), [plane], allow_unused=True) for g in\n"
                     "        mgx.autograd.grad(total(r), [plane], create_graph=True)]"),
    ("optimizer outside", "sgd.zero_grad()\ntotal(r).backward()\nsgd.step()"),
    ("optimizer outside", "total(r).backward()\nadam.step()\nadam.zero_grad()"),
]
ROUNDED = {"results together", "results reversed", "result twice", "result again"}     # sums in another order

AROUND = [("no_grad", "with mgx.no_grad():"), ("detect_nan", "with mgx.detect_nan():")]

# ----- the same for functions of Values -------------------------------------------------------------------------------

VALUE_KINDS = {
    "value leaf": "a Value of the closure is read", "value net": "a scalar.MLP is called",
    "value backward": "a backward pass inside", "value step": "parameters are changed inside",
    "value gradient read": "a gradient is read inside", "value zero": "gradients are cleared inside",
    "value data": "changes: data of Values is set", "value gradient set": "changes: gradients of Values are set",
    "value rebound": "changes: a variable of the closure stands for another Value or number",
    "value backward outside": "the result's backward pass", "value eager": "changes: a backward pass outside",
    "value float": "float arguments", "value list": "lists of floats as arguments",
    "value integer": "an int argument", "value string": "a string argument", "value none": "None among the arguments",
    "value keywords": "arguments by keyword", "value argument": "Values as arguments",
    "value mixed": "Values in lists, dicts and tuples", "value decides": "the function branches on a number",
    "value number": "a plain number or dict of the closure", "value results": "several results",
    "value read": "the function computes with .data", "value container": "a list that the function adds to",
    "value random": "Python's random numbers are drawn inside",
    "value no_grad": "grad mode off around the call",
}
VALUE_STATEMENTS = [
    (None, "y = y * 2.0"), (None, "y = y.tanh()"), (None, "y = y + 1.0"),
    ("value leaf", "y = y * a"), ("value leaf", "y = y + b ** 2"),
    ("value net", "y = y + net([y, 0.5])"), ("value net", "y = y + net([1.0, -1.0])"),
    ("value backward", "(y * a).backward()"), ("value backward", "(net([0.5, -1.0]) * a).backward()"),
    ("value step", "a.data -= 0.1 * a.grad"), ("value step", "for p in net.parameters():\n    p.data -= 0.1 * p.grad"),
    ("value step", "a.data = a.data * 0.5"),
    ("value gradient read", "y = y + a.grad"), ("value zero", "a.grad = 0.0"), ("value zero", "net.zero_grad()"),
    ("value float", "y = y * rate"), ("value float", "y = y + rate ** 2"),
    ("value list", "y = y + sum(w * a for w in xs)"), ("value list", "y = y + net(xs[:2])"),
    ("value list", "y = y * xs[0]"), ("value integer", "y = y * n"),
    ("value integer", "for _ in range(n):\n    y = y * a"),
    ("value string", "y = getattr(y, mode)()"), ("value none", "y = y + extra if extra is not None else -y"),
    ("value argument", "y = y * x * x"), ("value argument", "y = y * z"),
    ("value mixed", 'y = y * batch["left"] + batch["rows"][0]'),
    ("value decides", "y = -y if rate > 1.0 else y"), ("value decides", "y = y if y.data > 0.0 else -y"),
    ("value number", "y = y * factor"), ("value number", 'y = y * table["k"]'),
    ("value read", "y = y * a.data"), ("value read", "y = y + Value(a.data)"),
    ("value container", "record.append(1)"), ("value container", "journal.append(y.data)"),
    ("value random", "y = y * random.random()"),
]
VALUE_RESULTS = [(None, "y"), ("value results", "y, a"), ("value results", "[y, y * 2.0]"), ("value results", "None"),
                 ("value results", "y.data"), ("value results", "a.grad"), ("value results", '{"y": y, "n": 1}')]
VALUE_FEATURES = {
    "a": [(None, "a = Value(1.5)")], "b": [(None, "b = Value(-0.5)")], "net": [(None, "net = scalar.MLP(2, [2, 1])")],
    "factor": [(None, "factor = 2.0")], "table": [(None, 'table = {"k": 2.0}')], "journal": [(None, "journal = []")],
    "notes": [(None, "notes = []")], "held": [(None, "held = Value(0.25)")],
}
VALUE_CHANGES = [
    ("value data", "a.data = 2.5"), ("value data", "b.data += 1.0"),
    ("value data", "for p in net.parameters():\n    p.data += 0.1"), ("value data", "net.parameters()[0].data = 0.0"),
    ("value data", "held.data = 4.0"),
    ("value gradient set", "a.grad = 0.0"), ("value gradient set", "a.grad = 3.0"),
    ("value gradient set", "net.zero_grad()"),
    ("value rebound", "a = Value(3.0)"), ("value rebound", "net = scalar.MLP(2, [2, 1])"),
    ("value rebound", "net.layers[0].neurons[0].b = Value(2.0)"), ("value rebound", "a = 2.0"),
    ("value number", "factor = 3.0"), ("value number", 'table["k"] = 3.0'),
    ("value eager", "(a * 2.0).backward()"), ("value eager", "net([1.0, 2.0]).backward()"),
]
VALUE_ARGUMENTS = {
    "x": [(None, "0.5 + k"), (None, "2"), ("value argument", "Value(0.5 + k)"), ("value argument", "held"),
          ("value argument", "held * 2.0"), (None, "-0.0"), (None, "0.5"), ("value float", "np.float64(0.3)")],
    "z": [(None, "Value(2.0)"), (None, "held"), (None, "3.0")],
    "rate": [(None, "0.5"), (None, "2.5"), (None, "0.1 * k"), (None, "True"), (None, "2")],
    "n": [(None, "1"), (None, "2"), (None, "0"), (None, "3")],
    "xs": [(None, "[1.0, 2.0]"), (None, "[0.5, 0.1 * k]"), (None, "[1.0, 2.0, 3.0]"), (None, "(1.0, 2.0)"),
           (None, "[1, 2]"), ("value mixed", "[Value(1.0), 2.0]")],
    "mode": [(None, '"tanh"'), (None, '"relu"'), (None, '"exp"')],
    "extra": [(None, "None"), (None, "1.0"), (None, "Value(1.0)")],
    "batch": [(None, '{"left": 2.0, "rows": [1.0]}'), (None, '{"left": 3.0, "rows": (0.1 * k, None)}'),
              (None, '{"left": Value(2.0), "rows": [held]}')],
    "record": [(None, "notes"), (None, "[]")],
}
VALUE_NOT_REPLAYED = {"value backward", "value zero", "value container", "value random", "value read", "value decides",
                      "value gradient read", "value results", "value string", "value step"}


@dataclass(frozen=True)
class Table:
    """What cases are made of."""
    kinds: dict
    statements: list
    results: list
    forms: list
    features: dict
    changes: list
    arguments: dict
    around: list
    keywords: str                   # the kind of arguments by keyword
    not_replayed: set
    start: str                      # of y
    leaves: dict
    after: list                     # what is done with the result of a call


TABLES = {
    "tensors": Table(KINDS, STATEMENTS, RESULTS, FORMS, FEATURES, CHANGES, ARGUMENTS, AROUND, "keywords", NOT_REPLAYED,
                     "y = x", LEAVES, AFTER),
    "values": Table(VALUE_KINDS, VALUE_STATEMENTS, VALUE_RESULTS, FORMS[:1],
                    VALUE_FEATURES, VALUE_CHANGES, VALUE_ARGUMENTS,
                    [("value no_grad", "with mgx.no_grad():")], "value keywords", VALUE_NOT_REPLAYED, "y = a * x", {},
                    [("value backward outside", "if isinstance(r, Value):\n    r.backward()")]),
}


# ----- cases ----------------------------------------------------------------------------------------------------------

@dataclass(frozen=True)
class Calls:
    """Changes of the world, then some calls."""
    changes: tuple                  # each here is a (kind, source)
    arguments: tuple                # ((name, (kind, expression)), ...): those that are not the first of their list
    count: int
    around: tuple | None
    after: tuple | None


@dataclass(frozen=True)
class Case:
    """A function and what happens around it."""
    table: str
    statements: tuple
    result: tuple
    form: tuple
    variants: tuple                 # ((feature, (kind, source)), ...): those that are not the first of their list
    keywords: bool
    phases: tuple

    def kinds(self):
        table, used = TABLES[self.table], self.features()
        found = {kind for kind, _ in (*self.statements, self.result, self.form)} | {
            chosen[0] for name, chosen in self.variants if name in used}
        found |= {table.keywords} if self.keywords else set()
        for phase in self.phases:
            found |= {kind for kind, _ in phase.changes} | {
                chosen[0] for name, chosen in phase.arguments if name in self.parameters()}
            found |= {pair[0] for pair in (phase.around, phase.after) if pair}
        return frozenset(found - {None})

    def sources(self):
        """Whatever in it belongs to a kind, as text."""
        used, given = self.features(), self.parameters()
        found = [*self.statements, self.result, self.form, *[chosen for name, chosen in self.variants if name in used]]
        for phase in self.phases:
            found += [*phase.changes, *[pair for pair in (phase.around, phase.after) if pair]]
            found += [(kind or name, source) for name, (kind, source) in phase.arguments if name in given]
        return frozenset(source for kind, source in found if kind) | ({"by keyword"} if self.keywords else set())

    def parameters(self):
        """The arguments of the function, in order."""
        sources = [TABLES[self.table].start, *(source for _, source in self.statements), self.result[1]]
        used = set().union(*map(names_in, sources))
        return [name for name in TABLES[self.table].arguments if name in used or name == "x"]

    def features(self, changes=True):
        """What stands around the function, in the order of the table."""
        table = TABLES[self.table]
        sources = [table.start, *(source for _, source in self.statements), self.result[1]]
        for phase in self.phases:
            sources += [self.expression(phase, name) for name in self.parameters()]
            sources += [source for _, source in phase.changes] if changes else []
            sources += [phase.after[1]] if phase.after else []
        used = set().union(*map(names_in, sources))
        if used & {"scheduler"} and not used & set(OPTIMIZERS):
            used.add("sgd")
        if used & set(OPTIMIZERS) and not used & set(table.leaves):
            used.add("w")
        return [name for name in table.features if name in used]

    def expression(self, phase, name):
        return dict(phase.arguments).get(name, TABLES[self.table].arguments[name][0])[1]

    def is_sound(self):
        """Are all changes of what the function knows, or of what is made for changes?"""
        allowed = set(self.features(changes=False)) | OUTSIDE
        optimizers = allowed & set(OPTIMIZERS)
        return all(names_in(source) & set(TABLES[self.table].features) <= allowed
                   and (optimizers or not names_in(source) & {"saved", "scheduler"})
                   for phase in self.phases for _, source in phase.changes)

    def keeps_results(self):
        """Is anything done with results of calls?"""
        given = [self.expression(phase, name) for phase in self.phases for name in self.parameters()]
        return any(phase.after for phase in self.phases) or any("earlier" in names_in(text) for text in given)

    def is_rounded(self):
        """May the last bits of a gradient differ, because it is a sum that is added in another order?"""
        afters = {phase.after[0] for phase in self.phases if phase.after}
        several = len(names_in(self.result[1])) > 1 or "[" in self.result[1]
        return bool(afters & ROUNDED) or several and bool(afters) or "closure outside" in self.kinds()

    def is_replayed(self, phase):
        """Does the phase consist of ten calls of which eight have to be replays?"""
        table, found = TABLES[self.table], self.kinds()
        given = [self.expression(phase, name) for name in self.parameters()]
        varying = any("k" in names_in(text) and "mgx." not in text and "np." not in text for text in given)
        goes_on = any("backward(" in source for _, source in self.statements) and any("plane" in text for text in given)
        return (phase.count == 10 and not found & table.not_replayed and phase.around is None
                and not varying and not goes_on
                and not any("Parameter(" in text or "leaf *" in text for text in given)
                and not any("notes.append" in source for other in self.phases for _, source in other.changes))

    def source(self):
        """``run(log, compile)`` as Python."""
        table, used = TABLES[self.table], self.features()
        optimizers = [name for name in OPTIMIZERS if name in used]
        words = {"leaves": "[" + ", ".join(table.leaves[name] for name in table.leaves if name in used) + "]",
                 "optimizer": (optimizers or ["sgd"])[0],
                 "optimizers": "{" + ", ".join(f'"{name}": {name}' for name in optimizers) + "}"}
        lines = []
        for name in used:
            text = dict(self.variants).get(name, table.features[name][0])[1]
            lines += (text.format(**words) if "{leaves}" in text or "{optimizer" in text else text).split("\n")
        shown = [name for name in used if name not in ("hook", "saved", "inner", "scheduler")]
        lines += ["log.world = lambda: dict(" + ", ".join(f"{name}={name}" for name in shown) + ")", "ran = log.ran"]
        body = "\n".join((table.start, *(source for _, source in self.statements)))
        assigned = sorted(assigned_in(body) & set(used))
        taken = [f"{name}={DEFAULTS[name]}" if name in DEFAULTS else name for name in self.parameters()]
        lines += ["", f"def function({', '.join(taken)}):"]
        lines += [f"    nonlocal {', '.join(assigned)}"] if assigned else []
        lines += ["    ran(1)", *("    " + line for line in body.split("\n")), f"    return {self.result[1]}", "",
                  *self.form[1].split("\n")]
        afters = {phase.after[1]: f"after{k}" for k, phase in enumerate(self.phases) if phase.after}
        for text, name in afters.items():
            lines += ["", f"def {name}(r, earlier):", *indented([text])]
        if self.is_rounded():
            lines.append("log.exact = False")
        lines += ["earlier = None", ""] if self.keeps_results() else [""]
        start = 0
        for phase in self.phases:
            given = [f"{name}={self.expression(phase, name)}" if self.keywords and name != "x" else
                     self.expression(phase, name) for name in self.parameters() if self.expression(phase, name)]
            for _, change in phase.changes:
                text = change.replace("(...)", f"({', '.join(given)})")
                lines += [f"k = {start}"] * ("k" in names_in(text)) + text.split("\n")
            call = f"log.call(compiled, {', '.join(given)})"
            inner = [f"r = {call}"] if self.keeps_results() else [call]
            if phase.after:
                inner.append(f"log.use({afters[phase.after[1]]}, r, earlier)")
            if self.keeps_results():
                inner.append("earlier = r")
            if phase.count == 1 and "k" in names_in(call):
                inner.insert(0, f"k = {start}")
            elif phase.count > 1:
                inner = [f"for k in range({start}, {start + phase.count}):", *indented(inner)]
            if phase.around:
                inner = [phase.around[1], *indented(inner)]
            lines += "\n".join(inner).split("\n")
            if self.is_replayed(phase):
                lines.append("log.unchanged()")
            start += phase.count
        return "def run(log, compile):\n" + "\n".join("    " + line if line else "" for line in lines) + "\n"


def indented(lines):
    return ["    " + line for text in lines for line in text.split("\n")]


@functools.lru_cache(None)
def names_in(source):
    """The variables that a source names."""
    return frozenset(node.id for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Name))


@functools.lru_cache(None)
def assigned_in(source):
    """The variables that a source assigns."""
    return frozenset(node.id for node in ast.walk(ast.parse(source))
                     if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store))


@st.composite
def cases(draw, name, kinds):
    """A case of these kinds."""
    table = TABLES[name]

    def of(pairs):
        return [pair for pair in pairs if pair[0] is None or pair[0] in kinds]

    own = [pair for pair in table.statements if pair[0] in kinds]
    statement = st.sampled_from(own * 3 + of(table.statements)) if own else st.sampled_from(of(table.statements))
    statements = tuple(draw(st.lists(statement, min_size=1, max_size=5)))
    result = draw(st.sampled_from([table.results[0]] * 2 + of(table.results)))
    form = draw(st.sampled_from(of(table.forms)))
    variants = tuple((feature, draw(st.sampled_from(of(choices)))) for feature, choices in table.features.items()
                     if len(of(choices)) > 1)
    case = Case(name, statements, result, form, variants, table.keywords in kinds and draw(st.booleans()), ())
    features = set(case.features()) | OUTSIDE
    optimizers = features & set(OPTIMIZERS)
    changes = [pair for pair in of(table.changes) if names_in(pair[1]) & set(table.features) <= features
               and (optimizers or not names_in(pair[1]) & {"saved", "scheduler"})]
    phases = []
    for k in range(draw(st.integers(1, 5))):
        found = tuple(draw(st.lists(st.sampled_from(changes), min_size=k > 0, max_size=2))) if changes else ()
        given = []
        for argument in case.parameters():
            choices = of(table.arguments[argument])
            if draw(st.integers(0, 2)):
                given.append((argument, draw(st.sampled_from(choices))))
            elif phases and argument in dict(phases[-1].arguments):
                given.append((argument, dict(phases[-1].arguments)[argument]))
        around = of(table.around)
        after = [pair for pair in of(table.after) if names_in(pair[1]) & set(table.features) <= features]
        phases.append(Calls(found, tuple(given), draw(st.sampled_from([3, 10, 2, 4] if k == 0 else [3, 1, 2, 10])),
                            draw(st.sampled_from([None, *around])) if around else None,
                            draw(st.sampled_from([None, *after])) if after else None))
    return replace(case, phases=tuple(phases))


def failure(case, compile=mgx.compile):
    """(what kind of failure, words), or None."""
    space = {}
    exec(code_of(case.source()), NAMESPACE, space)
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        return difference(space["run"], compile)


def code_of(source):
    return compile(source, "case.py", "exec")


NAMESPACE = globals()


def smaller(case):
    """The case with a part left out, or a simpler one in its place."""
    for k in range(len(case.phases)):
        if len(case.phases) > 1:
            yield replace(case, phases=case.phases[:k] + case.phases[k + 1:])
    for k in range(len(case.statements)):
        yield replace(case, statements=case.statements[:k] + case.statements[k + 1:])
    if case.result != TABLES[case.table].results[0]:
        yield replace(case, result=TABLES[case.table].results[0])
    if case.form != TABLES[case.table].forms[0]:
        yield replace(case, form=TABLES[case.table].forms[0])
    if case.keywords:
        yield replace(case, keywords=False)
    for k in range(len(case.variants)):
        yield replace(case, variants=case.variants[:k] + case.variants[k + 1:])
    for k, phase in enumerate(case.phases):
        others = [replace(phase, changes=phase.changes[:i] + phase.changes[i + 1:]) for i in range(len(phase.changes))]
        others += [replace(phase, arguments=phase.arguments[:i] + phase.arguments[i + 1:])
                   for i in range(len(phase.arguments))]
        others += [replace(phase, count=n) for n in (1, 2, 3) if n < phase.count]
        others += [replace(phase, around=None)] if phase.around else []
        others += [replace(phase, after=None)] if phase.after else []
        for other in others:
            yield replace(case, phases=(*case.phases[:k], other, *case.phases[k + 1:]))
    for k in range(1, len(case.phases)):
        one, other = case.phases[k - 1:k + 1]
        if not other.changes and one.arguments == other.arguments:
            yield replace(case, phases=(*case.phases[:k - 1], replace(one, count=one.count + other.count),
                                        *case.phases[k + 1:]))


def reduced(case, compile=mgx.compile):
    """The least case that fails in the same way, and its failure."""
    found = failure(case, compile)
    while True:
        for other in smaller(case):
            if other.is_sound():
                now = failure(other, compile)
                if now and now[0] == found[0]:
                    case, found = other, now
                    break
        else:
            return case, found


# ----- runs -----------------------------------------------------------------------------------------------------------

MAIN = """if __name__ == "__main__":
    found = difference(run)
    print(found or "no difference")
    sys.exit(found is not None)
"""


@dataclass
class Failure:
    """What failed, reduced."""
    case: Case
    what: str
    words: str
    seed: object

    def line(self):
        kinds = " + ".join(sorted(self.case.kinds())) or "nothing special"
        return f"{self.what:12} {kinds} (seed {self.seed}): {self.words}"

    def script(self):
        source = self.case.source()
        classes = [PAIR if part is Pair else inspect.getsource(part) for part in CLASSES
                   if re.search(rf"\b{part.__name__}\b", source)]
        helpers = [inspect.getsource(part) for part in PARTS]
        return "\n\n".join([f'"""{self.line()}"""\n{HEAD}', *classes, source,
                            "# ----- how it is compared " + "-" * 60 + "\n", *helpers,
                            MAIN])


def companions(name, kind, rng):
    """``kind``, and the kinds of statements that a change or an argument of this kind is about."""
    table, found = TABLES[name], {kind}
    changes = [source for other, source in table.changes if other == kind]
    own = [source for other, source in table.statements if other == kind]
    if changes and (not own or rng.random() < 0.5):
        for feature in sorted(names_in(rng.choice(changes)) & set(table.features) - OUTSIDE):
            kinds = sorted({other or "" for other, source in table.statements if feature in names_in(source)
                            and len(names_in(source) & set(table.features)) == 1} - {"", kind})
            kinds = kinds or sorted({other or "" for other, source in table.statements if feature in names_in(source)}
                                    - {""})
            if kinds:
                found.add(rng.choice(kinds))
    if kind == "scheduler":
        found.add("optimizer")
    if found & {"optimizer", "clip", "gradient read"}:
        found.add("backward")
    if kind in {other for other, _ in table.after} and name == "tensors":
        found.add(rng.choice(["parameter", "linear", "own module", "argument graph", "gradient inside"]))
    return found


def search(name, kinds, seed, examples, known=(), compile=mgx.compile, tried=lambda: None):
    """The first failure of a case of these ``kinds``, reduced, that has not all kinds, or all sources, of a ``known``
    one. ``tried`` is called for each case."""
    found = []

    def note(case):
        tried()
        marks = case.kinds() | case.sources()
        if any(other <= marks for other in known) or failure(case, compile) is None:
            return False
        found.append(case)
        return True
    try:
        hypothesis.find(cases(name, frozenset(kinds)), note, random=random.Random(seed), settings=settings(
            max_examples=examples, database=None, deadline=None, phases=[Phase.generate],
            suppress_health_check=list(HealthCheck)))
    except NoSuchExample:
        return None
    case, (what, words) = reduced(found[0], compile)
    return Failure(case, what, words, seed)


def rounds(kinds, without, seed):
    """(table, kind, kinds to draw from): each kind, three times, then random sets of them, without end."""
    rng = random.Random(seed)
    for turn in itertools.count():
        alone = [(name, kind) for name, table in TABLES.items() for kind in table.kinds if kind in kinds]
        rng.shuffle(alone)
        for name, kind in alone:
            found = companions(name, kind, rng)
            for other in rng.sample([k for n, k in alone if n == name], k=min(len(alone) // 8, rng.randint(1, 4))) \
                    if turn > 2 else ():
                found |= companions(name, other, rng)
            yield name, kind, found - without


def run(kinds, without=(), seed=0, minutes=None, count=None, examples=40, note=None, known=(), fine=False,
        compile=mgx.compile, tried=lambda: None):
    """Failures of ``kinds`` and what these are about, ``without`` some, in so many minutes or rounds; ``note`` is
    called with each. Once found, its kinds are not tried together any more; if ``fine``, only its statements and
    changes are not."""
    known, found, end = [frozenset(k) for k in known], [], time.monotonic() + 60 * (minutes or 1e9)
    for k, (name, kind, chosen) in enumerate(rounds(set(kinds) - set(without), set(without), seed)):
        if time.monotonic() > end or k == count:
            return found
        rng = random.Random(f"{seed} {k}")
        chosen = set(chosen)
        for other in known:
            if other <= chosen:
                chosen.discard(rng.choice(sorted(other - {kind}) or [kind]))
        one = search(name, chosen, f"{seed} {k}", examples, known, compile, tried)
        if one is not None:
            found.append(one)
            known.append(one.case.sources() if fine else one.case.kinds())
            if note:
                note(one)
            if not known[-1]:
                return found
    return found


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--minutes", type=float, default=1.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--examples", type=int, default=40, help="cases for each set of kinds")
    parser.add_argument("--kinds", help="these only, with a comma between")
    parser.add_argument("--without", default="", help="not these")
    parser.add_argument("--fine", action="store_true", help="go on with kinds that failed, with other statements")
    parser.add_argument("--scripts", help="a directory for the scripts, instead of printing them")
    parser.add_argument("--list-kinds", action="store_true")
    given = parser.parse_args(arguments)
    every = {kind: words for table in TABLES.values() for kind, words in table.kinds.items()}
    if given.list_kinds:
        for kind, words in every.items():
            print(f"{kind:24} {words}")
        return 0
    kinds = set(given.kinds.split(",")) if given.kinds else set(every)
    without = set(filter(None, given.without.split(",")))
    if (kinds | without) - set(every):
        parser.error(f"no such kinds: {sorted((kinds | without) - set(every))}; see --list-kinds")
    print(f"microgradx of {os.path.dirname(mgx.__file__)}, {len(kinds - without)} kinds", flush=True)
    cases = []
    found = run(kinds, without, given.seed, given.minutes, examples=given.examples, fine=given.fine,
                note=lambda one: print(one.line(), flush=True), tried=lambda: cases.append(1))
    for k, one in enumerate(found):
        if given.scripts:
            os.makedirs(given.scripts, exist_ok=True)
            name = "+".join(sorted(one.case.kinds())).replace(" ", "_") or "nothing"
            with open(os.path.join(given.scripts, f"{k:02}_{one.what.replace(' ', '_')}_{name[:80]}.py"), "w") as file:
                file.write(one.script())
        else:
            print("\n" + "#" * 100, one.script(), sep="\n")
    print(f"{len(found)} failures in {len(cases)} cases")
    return len(found) > 0


if __name__ == "__main__":
    sys.exit(main())
