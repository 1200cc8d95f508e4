"""What a compiled function can depend on and change, one test for each row of docs/capture.md; and its graph.

Two worlds are made alike. In one the function runs as it is, in the other compiled; results, arguments, errors and all
that remains are equal to the last bit after each of ten calls, and again after each change of the world.
"""
import asyncio
import collections
import contextlib
import contextvars
import copy
import functools
import gc
import json
import math
import os
import pickle
import random
import re
import subprocess
import sys
import threading
import types
import warnings
import weakref
from collections import namedtuple
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import worlds

import microgradx as mgx
from microgradx import nn, optim
from microgradx._core.array import allocated_bytes
from microgradx._core.trees import leaves_of
from microgradx.errors import CaptureError, CompileWarning, GraphError, NonFiniteError
from microgradx.nn import functional as F

PAGE = Path(__file__).resolve().parents[1] / "docs" / "capture.md"
Pair = namedtuple("Pair", "first second")


@dataclass
class Batch:
    x: mgx.Tensor
    scale: float


def bits(o):
    """What it consists of, so that == means equal to the last bit, and which tensors of it have a graph."""
    graphs = [(t.requires_grad, t.is_leaf) for t in leaves_of(o) if isinstance(t, mgx.Tensor)]
    return worlds.bits(o), graphs


def vector(k, n=3):
    return mgx.randn(n, rng=k)


def parameter(n=3, scale=1.0):
    return nn.Parameter(np.linspace(-1, 2, n).astype("float32") * scale)


class Twin(SimpleNamespace):
    """``function``; ``arguments(k)`` of call k; ``world()``: what remains; ``changes`` of the world; ``ran``: a list
    that grows by one in each run of the function's body."""

    def __init__(self, function, ran, world=list, arguments=lambda k: (vector(k),), changes=()):
        super().__init__(function=function, ran=ran, world=world, arguments=arguments, changes=changes)


def seed():
    mgx.manual_seed(0)
    random.seed(0)
    np.random.seed(0)


def random_states():
    return mgx.get_rng_state().tolist(), random.getstate(), repr(np.random.get_state())


def outcome(function, args):
    try:
        return bits(function(*args)), None
    except CaptureError:
        raise
    except Exception as error:
        return None, type(error)


def course(make, compile):
    """[what each call gave and left] and how often the body ran in each ten calls."""
    seed()
    twin = make()
    function, log, runs = compile(twin.function), [], []
    for change in (None, *twin.changes):
        if change is not None:
            change()
        before = len(twin.ran)
        for k in range(10):
            args = twin.arguments(k)
            log.append((outcome(function, args), bits(args), bits(twin.world()), random_states()))
        runs.append(len(twin.ran) - before)
    return log, runs


def as_it_is(function):
    def call(*args):
        return function(*[mgx.from_numpy(o) if isinstance(o, np.ndarray) else o for o in args])
    return call


def twins(make, **options):
    """How often the compiled function's body ran in each ten calls, if all else is as in the eager twin."""
    eager, _ = course(make, as_it_is)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CompileWarning)
        compiled, runs = course(make, lambda function: mgx.compile(function, **options))
    for k, (one, other) in enumerate(zip(eager, compiled, strict=True)):
        for what, a, b in zip(("result", "arguments", "world", "random states"), one, other, strict=True):
            assert a == b, f"{what} of call {k}"
    return runs


def replays(make, **options):
    """Each ten calls are replays but for two at most."""
    runs = twins(make, **options)
    assert all(n <= 2 for n in runs), runs


def runs_as_it_is(make):
    """And ``explain`` says so; the body runs at each call, in the first ten calls at least."""
    assert twins(make)[0] == 10
    twin = make()
    function = mgx.compile(twin.function)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CompileWarning)
        for k in range(4):
            function(*twin.arguments(k))
    assert "ran as it is" in function.explain()


# ----- arguments -----------------------------------------------------------------------------------------------------

def test_layouts_of_arguments():
    def make():
        ran, w, box = [], mgx.randn(4, 4, rng=1), [lambda x: x]
        def function(x):
            ran.append(1)
            return x @ w[:x.shape[1], :2].astype(x.dtype) + 1, x.T
        def to(f):
            return lambda: box.__setitem__(0, f)
        return Twin(function, ran, arguments=lambda k: (box[0](mgx.randn(4, 4, rng=k)),),
                    changes=[to(lambda x: x.T), to(lambda x: x[:2]), to(lambda x: x.astype("float64")),
                             to(lambda x: x[:, ::2]), to(lambda x: x[:0]), to(lambda x: x)])
    replays(make)


def test_numbers_that_move():
    def make():
        ran = []
        def function(x, r, s):
            ran.append(1)
            return x * r + (r - 2 * s) / 3, r
        return Twin(function, ran, arguments=lambda k: (vector(k), [0.1 * k, -0.0, 1e30][k % 3], float(k)))
    replays(make)


def test_numbers_that_decide():
    def make():
        ran, box = [], [0.5, 3, "tanh", True]
        def function(x, r, n, name, flag):
            ran.append(1)
            y = getattr(x, name)() * math.sqrt(r) + n
            return y.sum() if flag else y
        return Twin(function, ran, arguments=lambda k: (vector(k), *box),
                    changes=[lambda i=i, v=v: box.__setitem__(i, v) for i, v in
                             [(0, 0.25), (1, 4), (2, "exp"), (3, False), (0, np.float64(0.5)), (1, np.int64(4))]])
    replays(make)


def test_arguments_that_are_others_at_each_call():
    """None is captured, which is said once, with the argument's number."""
    step, w = mgx.compile(lambda x, rate: x * w * rate), parameter()
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always", CompileWarning)
        for k in range(40):
            assert bits(step(vector(k), k)) == bits(vector(k) * w * k)
    assert len(found) == 1 and "argument 1 is another one at each call" in str(found[0].message)
    assert "argument 1 is another one" in step.explain()
    step = mgx.compile(lambda x, n: x * n)
    with warnings.catch_warnings():
        warnings.simplefilter("error", CompileWarning)
        for k in range(60):
            step(vector(k), k % 3)


def test_containers_of_arguments():
    def make():
        ran = []
        def function(tree, pair, batch):
            ran.append(1)
            y = tree["a"][0] * tree["a"][1][0] + pair.first * pair.second + batch.x * batch.scale
            return {"y": [y, (y.sum(),)], "pair": Pair(y + 1, batch.scale), "batch": Batch(y * 2, 1.0)}
        return Twin(function, ran, arguments=lambda k: (
            {"a": [vector(k), (vector(k + 1), None)]}, Pair(vector(k), 0.1 * k), Batch(vector(k + 2), 0.2 * k)))
    replays(make)


def append(x, r, seen, notes, batch):
    seen.append((x * 2, [r, x]))


def put_first(x, r, seen, notes, batch):
    seen[0] = x


def empty(x, r, seen, notes, batch):
    seen.clear()
    notes.clear()


def note(x, r, seen, notes, batch):
    notes["x"], notes["seen"] = x, seen
    seen.insert(0, r * 2)


def set_field(x, r, seen, notes, batch):
    batch.x, batch.scale = x, r


def fail(x, r, seen, notes, batch):
    seen.append(x)
    x += 1
    raise KeyError("mine")


@pytest.mark.parametrize("change", [append, put_first, empty, note, set_field, fail])
def test_lists_that_the_function_changes(change):
    def make():
        w, ran = parameter(), []
        def function(x, r, seen, notes, batch):
            ran.append(1)
            w.data -= 0.1
            change(x, r, seen, notes, batch)
            return w * x
        return Twin(function, ran, lambda: [w], lambda k: (
            vector(k), 0.5 * k, [vector(5), "a"], {"y": vector(6)}, Batch(vector(7), 1.0)))
    if change is fail:
        assert twins(make) == [10]
    else:
        runs_as_it_is(make)


@pytest.mark.parametrize("x", [mgx.ones(3), np.ones(3)], ids=["tensor", "array"])
def test_arguments_put_into_lists_are_the_arguments(x):
    """Also in the call that is captured, which gets copies; and a NumPy array stays one."""
    y = np.zeros(2)
    step, seen = mgx.compile(lambda x, seen: seen.append(x)), [y]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CompileWarning)
        for k in range(4):
            step(x, seen)
            assert seen[0] is y and seen[-1] is x and len(seen) == k + 2


def test_arguments_compared_by_value():
    class Size:
        def __init__(self, n):
            self.n = n
        def __eq__(self, other):
            return type(other) is Size and self.n == other.n
        def __hash__(self):
            return hash(self.n)
    def make():
        ran, box = [], [2]
        def function(x, size, names, at):
            ran.append(1)
            return x[at.start:at.stop] * size.n + len(names)
        return Twin(function, ran, arguments=lambda k: (vector(k), Size(box[0]), frozenset("ab"), range(box[0])),
                    changes=[lambda: box.__setitem__(0, 3), lambda: box.__setitem__(0, 2)])
    replays(make)


def test_arguments_that_cannot_be_compared():
    def make():
        ran, one = [], SimpleNamespace(scale=1.0)
        def function(x, options):
            ran.append(1)
            options.scale += 0.5
            return x * options.scale
        return Twin(function, ran, lambda: one.scale, lambda k: (vector(k), one))
    runs_as_it_is(make)


def test_leaves_that_are_others_at_each_call():
    def make():
        ran, w = [], parameter()
        def function(x):
            ran.append(1)
            g, = mgx.autograd.grad((x * x * w).sum(), [x])
            return x + g.sign()
        return Twin(function, ran, lambda: w, lambda k: (vector(k).requires_grad_(),))
    twins(make)
    step = mgx.compile(make().function)
    with pytest.warns(CompileWarning, match="argument 0 is another one at each call; a leaf that requires a gradient"):
        kept = [vector(k).requires_grad_() for k in range(20)]
        for x in kept:
            step(x)
    def inside():
        twin = make()
        function = twin.function
        twin.function = lambda x: function(x.detach().requires_grad_())
        twin.arguments = lambda k: (vector(k),)
        return twin
    replays(inside)


def test_numpy_arrays():
    def make():
        ran = []
        def function(x, y):
            ran.append(1)
            y += x
            return x * y
        return Twin(function, ran, arguments=lambda k: (np.arange(3.0) + k, np.ones(6)[::2] * k))
    replays(make)


def test_arguments_that_are_one():
    def make():
        ran, one = [], [False]
        def function(x, y):
            ran.append(1)
            return x * y + y, x
        def arguments(k):
            x = vector(k)
            return (x, x) if one[0] else (x, vector(k + 1))
        return Twin(function, ran, arguments=arguments, changes=[lambda: one.__setitem__(0, True),
                                                                 lambda: one.__setitem__(0, False)])
    replays(make)


def test_overlapping_memory():
    def make(overlap=False):
        ran, box = [], [overlap]
        def function(x, y):
            ran.append(1)
            x += y
            x[0] = 1.0
            return x.sum()
        def arguments(k):
            a = np.arange(8.0) + k
            return (a[:6], a[2:]) if box[0] else (a[:6], a[2:] * 1)
        return Twin(function, ran, arguments=arguments, changes=[lambda: box.__setitem__(0, True),
                                                                 lambda: box.__setitem__(0, False)])
    runs = twins(make)
    assert runs[0] <= 2 and runs[1] == 10 and runs[2] <= 2
    w = parameter()
    def double(x):
        with mgx.no_grad():
            w.mul_(2.0)
        return x + w
    step = mgx.compile(double)
    for k in range(4):
        step(vector(k))
    before = w.numpy().copy()
    result = step(w.data)
    assert (w.numpy() == before * 2).all() and (result.numpy() == before * 4).all()
    assert "memory that arguments share" in step.explain()


def test_parameters_of_optimizers_as_arguments():
    """An optimizer writes to the tensors that it was given: an argument may be one of these, or a view of one."""
    for view in (lambda w: w.data, lambda w: w[:], lambda w: w[1:].detach()):
        def make(view=view):
            w, ran = parameter(), []
            opt = optim.SGD([w], lr=0.5)
            w.grad = mgx.ones(3)
            def function(x):
                ran.append(1)
                opt.step()
                return x
            return Twin(function, ran, lambda: [w], lambda k: (view(w) if k % 3 else vector(k, view(w).size),))
        twins(make)


def test_overlapping_memory_at_the_capture():
    """What the first call wrote to shared memory tells that no copy can stand for it: the calls run as they are."""
    def make():
        ran, a = [], np.arange(8.0)
        def function(x, y):
            ran.append(1)
            x += y
            return x.sum()
        return Twin(function, ran, lambda: [mgx.Tensor(a)], lambda k: (a[:6], a[2:]))
    assert twins(make) == [10]
    w = parameter()
    def function(x):
        x += 1
        with mgx.no_grad():
            w.mul_(2.0)
        return x + w
    step, before = mgx.compile(function), w.numpy().copy()
    for _ in range(4):
        assert (step(w.data).numpy() == 2 * (before + 1) * 2).all()
        before = w.numpy().copy()


def test_overlapping_memory_that_a_capture_meets():
    """An argument that the function also has by another name, or a view of it: as it is, whichever call it comes in."""
    for view in (lambda c: c, lambda c: c[1:], lambda c: c.detach()):
        for at in range(5):
            results = []
            for compile in (lambda function: function, mgx.compile):
                c = mgx.ones(3)
                def function(x, c=c):
                    c.add_(1.0)
                    return (x * 2, x is c)
                step = compile(function)
                for k in range(6):
                    results.append(bits([*step(view(c) if k == at else vector(k)), c]))
            assert results[:6] == results[6:], at


# ----- gradients -----------------------------------------------------------------------------------------------------

def accumulating(*parameters):
    ran = []
    def function(x):
        ran.append(1)
        loss = sum((w * x).square().sum() for w in parameters)
        loss.backward()
        return loss
    return function, ran


def test_which_leaves_have_gradients():
    def make():
        w, v = parameter(), parameter(scale=2.0)
        function, ran = accumulating(w, v)
        def none(*leaves):
            def change():
                for leaf in leaves:
                    leaf.grad = None
            return change
        return Twin(function, ran, lambda: [w, v], changes=[none(w), none(v), none(w, v), none()])
    replays(make)


def test_where_gradients_lie():
    def make():
        w, v = parameter(), parameter(scale=2.0)
        function, ran = accumulating(w, v)
        own = mgx.zeros(12)
        def place(leaf, g):
            def change():
                leaf.grad = g()
            return change
        return Twin(function, ran, lambda: [w, v, own, w.grad],
                    changes=[place(w, lambda: mgx.ones(3)), place(v, lambda: own[3:6]), place(w, lambda: own[6:12:2])])
    replays(make)


def test_shared_gradients():
    def make():
        w, v = parameter(), parameter(scale=2.0)
        function, ran = accumulating(w, v)
        def share():
            w.grad = v.grad
        def part():
            w.grad = mgx.zeros(3)
        return Twin(function, ran, lambda: [w, v], changes=[share, part])
    replays(make)


def test_gradients_that_are_kept():
    """An older gradient that somebody holds is not written to by replays that replace it."""
    def make():
        w, kept, ran = parameter(), [], []
        def function(x):
            ran.append(1)
            w.grad = None
            (w * x).square().sum().backward()
        def arguments(k):
            kept.append(w.grad)
            return (vector(k),)
        return Twin(function, ran, lambda: [w, kept], arguments)
    replays(make)


def test_requires_grad():
    def make():
        w, v = parameter(), parameter(scale=2.0)
        ran = []
        def function(x):
            ran.append(1)
            y = (w * x).sum() + (v * x * x).sum()
            y.backward()
            return y
        def freeze(flag):
            def change():
                w.requires_grad = flag
                w.grad = None
            return change
        return Twin(function, ran, lambda: [w, v, w.grad], changes=[freeze(False), freeze(True)])
    replays(make)


def test_requires_grad_of_arguments():
    def make():
        ran, box = [], [False]
        def function(x):
            ran.append(1)
            return (x * x).sum(), x.requires_grad
        return Twin(function, ran, arguments=lambda k: (vector(k).requires_grad_(box[0]) * 2,),
                    changes=[lambda: box.__setitem__(0, True), lambda: box.__setitem__(0, False)])
    replays(make)


def test_places_in_graphs():
    """Of arguments and of tensors around: the function asks for them."""
    def make():
        w, ran, h, box = parameter(), [], mgx.ones(3), [lambda x: x]
        def function(x):
            ran.append(1)
            return x * (2.0 if x.is_leaf else 3.0), x.requires_grad, h.is_leaf, h.requires_grad
        def argument(make):
            return lambda: box.__setitem__(0, make)
        mode = mgx.no_grad()
        return Twin(function, ran, arguments=lambda k: (box[0](vector(k)),), changes=[
            argument(lambda x: w * x), mode.__enter__, lambda: mode.__exit__(None, None, None),
            argument(lambda x: x), lambda: h.mul_(w)])
    replays(make)
    def leaves():
        w, ran = parameter(), []
        def function(x):
            ran.append(1)
            return x * (2.0 if x.is_leaf else 3.0)
        return Twin(function, ran, arguments=lambda k: (vector(k).requires_grad_() if k % 2 else w * vector(k),))
    twins(leaves)
    def versions():
        ran, h = [], mgx.ones(3)
        def function(x):
            ran.append(1)
            x += 1
            return x.version, h.version
        def arguments(k):
            h.add_(1.0)
            return (vector(k).add_(1.0) if k > 4 else vector(k),)
        return Twin(function, ran, arguments=arguments)
    runs_as_it_is(versions)
    def gradients():
        w, ran = parameter(), []
        def function(x):
            ran.append(1)
            return x * (2.0 if x.grad is None else 3.0)
        def arguments(k):
            x = w * vector(k)
            x.retain_grad()
            if k > 5:
                x.sum().backward(retain_graph=True)
            return (x,)
        return Twin(function, ran, lambda: w.grad, arguments)
    runs_as_it_is(gradients)


def test_arrays_wrapped_inside():
    def make():
        ran, array = [], np.ones(3, "float32")
        def function(x):
            ran.append(1)
            return x * mgx.from_numpy(array)
        return Twin(function, ran, changes=[lambda: array.fill(2)])
    runs_as_it_is(make)


def test_grad_mode():
    def make():
        w, ran = parameter(), []
        def function(x):
            ran.append(1)
            with mgx.no_grad():
                z = w * 2
            return w * x + z, z
        mode = mgx.no_grad()
        return Twin(function, ran, lambda: [w], changes=[mode.__enter__, lambda: mode.__exit__(None, None, None)])
    replays(make)


def test_default_dtype():
    try:
        def make():
            ran = []
            def function(x):
                ran.append(1)
                return x * mgx.ones(3) + 0.1, mgx.tensor(0.1)
            mgx.set_default_dtype("float32")
            return Twin(function, ran, arguments=lambda k: (mgx.randn(3, rng=k, dtype="float32"),), changes=[
                lambda: mgx.set_default_dtype("float64"), lambda: mgx.set_default_dtype("float32")])
        replays(make)
    finally:
        mgx.set_default_dtype("float32")


@pytest.mark.parametrize("leave, modes", [
    (lambda: mgx.set_grad_enabled(False), (False, "float32")), (mgx.no_grad().__enter__, (False, "float32")),
    (lambda: mgx.set_default_dtype("float64"), (True, "float64"))])
def test_modes_that_are_left_switched(leave, modes):
    w = parameter()
    def function(x):
        y = x * w
        leave()
        return y
    step = mgx.compile(function)
    for k in range(4):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", CompileWarning)
                assert step(vector(k)).requires_grad
            assert (mgx.is_grad_enabled(), mgx.get_default_dtype()) == modes
        finally:
            mgx.set_grad_enabled(True)
            mgx.set_default_dtype("float32")
    assert "switched" in step.explain()


def test_hooks_of_tensors():
    def make():
        w = parameter()
        function, ran = accumulating(w)
        handles = []
        return Twin(function, ran, lambda: [w], changes=[
            lambda: handles.append(w.register_hook(lambda g: g * 3)), lambda: handles.pop().remove()])
    replays(make)


def test_hooks_of_modules():
    def make():
        net, ran, handles = nn.Sequential(nn.Linear(3, 3, rng=0), nn.Tanh()), [], []
        def function(x):
            ran.append(1)
            return net(x).sum()
        return Twin(function, ran, lambda: [net], lambda k: (mgx.randn(2, 3, rng=k),), [
            lambda: handles.append(net[0].register_forward_hook(lambda module, args, out: out * 2)),
            lambda: handles.append(net.register_forward_pre_hook(lambda module, args: (args[0] + 1,))),
            lambda: [handle.remove() for handle in handles]])
    replays(make)


def passing_through():
    """What a hook of a module, or a derivative by hand, may do in a backward pass: {name: (the factor by which it
    multiplies the gradient g, the module and all there is, are calls replayed?)}."""
    def decides(g, *_):
        return 2.0 if g.sum() > 10.0 else 0.5
    def logs(g, module, world):
        world.log.append(g.sum().item())
        return 1.0
    def keeps(g, module, world):
        world.log.append(g.clone())
        return 1.0
    def counts(g, module, world):
        world.count = world.count + 1
        return float(world.count)
    def averages(g, module, world):
        world.mean.mul_(0.5).add_(g.detach().mean(), alpha=0.5)
        return world.mean.clone()
    def sets(g, module, world):
        module.last = g.detach()
        return 1.0
    def raises(g, module, world):
        if g.sum().item() > 10.0:
            raise ValueError("too large")
        return 1.0
    def refuses(*_):
        raise ValueError("refused")
    def sets_gradient(g, module, world):
        module.bias.grad = g.detach().sum(0)
        return 1.0
    def draws_outside(g, module, world):
        return float(world.rng.random())
    return {"scales": (lambda *_: 2.0, True), "draws": (lambda g, *_: mgx.rand(3), True),
            "clips": (lambda g, *_: g.clip(-1, 1) / 2, True), "decides": (decides, False), "logs": (logs, False),
            "keeps": (keeps, False), "counts": (counts, False), "averages": (averages, False), "sets": (sets, False),
            "raises": (raises, False), "refuses": (refuses, False), "sets a gradient": (sets_gradient, False),
            "draws outside": (draws_outside, False)}


@pytest.mark.parametrize("name", passing_through())
@pytest.mark.parametrize("by", ["a hook", "a derivative by hand"])
def test_python_in_backward_passes(name, by):
    """The backward pass of a result is captured with gradients that are not those that will come: what its Python does
    with these leaves no trace, and where that is more than launches the calls run as they are."""
    factor, is_replayed = passing_through()[name]
    found = []
    for compile in (as_it_is, mgx.compile):
        seed()
        net = nn.Sequential(nn.Linear(3, 3, rng=0), nn.Tanh(), nn.Linear(3, 3, rng=1))
        world = SimpleNamespace(log=[], count=0, mean=mgx.zeros(3), rng=random.Random(0))
        if by == "a hook":
            net[2].register_full_backward_hook(
                lambda module, g_in, g_out, net=net, world=world: (g_in[0] * factor(g_out[0], net[2], world),))
            body = net
        else:
            through = by_hand(lambda ctx, g, net=net, world=world: g * factor(g, net[2], world))
            body = lambda x, net=net, through=through: net[2](through(net[1](net[0](x))))      # noqa: E731
        counting, ran = counted(lambda x, body=body: body(x).tanh())
        step, log = compile(counting), []
        for k in range(8):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", CompileWarning)
                y = step(mgx.randn(2, 3, rng=k))
            log.append((bits((y, net)), bits(vars(world)), random_states(), str(world.rng.getstate()[1][:9])))
            try:
                (y * k * 3).sum().backward()
            except ValueError as error:
                log.append(str(error))
            log.append((bits((y, net, getattr(net[2], "last", None))), bits(vars(world)), random_states()))
        found.append(log)
    assert found[0] == found[1]
    assert len(ran) == (2 if is_replayed else 8)


# ----- modules -------------------------------------------------------------------------------------------------------

class Block(nn.Module):
    def __init__(self):
        self.linear, self.norm, self.drop = nn.Linear(3, 3, rng=0), nn.BatchNorm1d(3), nn.Dropout(0.5)
        self.scale, self.parts, self.options = 1.5, nn.ModuleList([nn.Tanh(), nn.Sigmoid()]), {"power": 2}
        self.register_buffer("shift", mgx.ones(3))

    def forward(self, x):
        x = self.drop(self.norm(self.linear(x))) * self.scale + self.shift
        for part in self.parts:
            x = part(x)
        return x ** self.options["power"]


def of_block(use, *changes, train=False):
    def make():
        net, ran = Block(), []
        net.train(train)
        run = use(net)
        def function(x):
            ran.append(1)
            return run(x)
        return Twin(function, ran, lambda: [net, [*net.parameters()], [*net.buffers()]],
                    lambda k: (mgx.randn(4, 3, rng=k),), [lambda change=change: change(net) for change in changes])
    return make


def setting(name, value):
    return lambda net: setattr(net, name, value)


def test_modules_that_are_called():
    replays(of_block(lambda net: net, lambda net: net.train(), lambda net: net.eval(), setting("scale", 0.5),
                     lambda net: net.drop.__setattr__("p", 0.25), lambda net: net.norm.eval(),
                     lambda net: net.options.update(power=3)))


def test_modules_called_by_forward():
    replays(of_block(lambda net: net.forward, lambda net: net.train(), lambda net: net.eval(), setting("scale", 0.5),
                     lambda net: setattr(net.linear, "bias", nn.Parameter(np.ones(3, "float32")))))


def test_modules_that_are_only_read():
    def use(net):
        def run(x):
            y = F.linear(x, net.linear.weight) * net.scale if net.training else x + net.shift
            return y * len(net.parts) * net.options["power"] * getattr(net, "extra", 1.0)
        return run
    replays(of_block(use, lambda net: net.train(), setting("scale", 2.5), lambda net: net.options.update(power=3),
                     setting("extra", 4.0), lambda net: delattr(net, "extra")))


def test_children_of_modules():
    replays(of_block(lambda net: net, lambda net: net.parts.append(nn.ReLU()),
                     lambda net: setattr(net, "norm", nn.Identity()),
                     lambda net: net.parts.__setitem__(0, nn.Softplus())))


def test_buffers_of_modules():
    def fill(net):
        net.shift.fill_(3.0)
    replays(of_block(lambda net: net, fill, lambda net: setattr(net, "shift", mgx.zeros(3)), fill, train=True))


def test_an_attribute_replaced_at_every_call():
    class Cell(nn.Module):
        def __init__(self):
            self.h = mgx.zeros(3)
        def forward(self, x):
            self.h = self.h * 0.5 + x
            return self.h
    def make():
        net, ran = Cell(), []
        def function(x):
            ran.append(1)
            return net(x)
        return Twin(function, ran, lambda: [net, net.h])
    twins(make)
    step = mgx.compile(Cell())
    with pytest.warns(CompileWarning, match=r"captured 5 times in a row .*, because this changed: Cell\.h"):
        for k in range(12):
            step(vector(k))


def test_attributes_that_are_counted():
    class Counted(nn.Module):
        def __init__(self):
            self.calls, self.last = 0, None
        def forward(self, x):
            self.last = x * 2
            return self.last + 1
    def make():
        net, ran = Counted(), []
        def function(x):
            ran.append(1)
            return net(x)
        return Twin(function, ran, lambda: [net, net.last])
    replays(make)


def test_parameters_that_are_replaced():
    def replace(net):
        net.linear.weight = nn.Parameter(np.eye(3, dtype="float32"))
    def data(net):
        net.linear.weight.data = mgx.ones(3, 3)
    def write(net):
        with mgx.no_grad():
            net.linear.weight.mul_(2.0)
    def load(net):
        net.load_state_dict({name: t + t for name, t in net.state_dict().items()})
    replays(of_block(lambda net: net, replace, data, write, load))


def test_net_to():
    def make():
        net, ran, dtype = nn.Linear(3, 2, rng=0), [], ["float32"]
        def function(x):
            ran.append(1)
            net.zero_grad()
            loss = net(x).square().sum()
            loss.backward()
            return loss
        def to(name):
            def change():
                dtype[0] = name
                net.to(name)
            return change
        return Twin(function, ran, lambda: [*net.parameters()], lambda k: (mgx.randn(2, 3, rng=k, dtype=dtype[0]),),
                    [to("float64"), to("float32")])
    replays(make)


# ----- optimizers ----------------------------------------------------------------------------------------------------

def training(*changes, kind=lambda p: optim.SGD(p, lr=0.1, momentum=0.9), step=None):
    def make():
        net, ran = nn.Sequential(nn.Linear(3, 4, rng=0), nn.Tanh(), nn.Linear(4, 1, rng=1)), []
        o = kind([net[0].weight, net[0].bias])
        o.add_param_group({"params": [net[2].weight], "lr": 0.01})
        def function(x):
            ran.append(1)
            o.zero_grad()
            loss = net(x).square().mean()
            loss.backward()
            o.step()
            return loss
        kept = SimpleNamespace(o=o, net=net, saved=None, schedule=None)
        return Twin(function, ran, lambda: [net, o], lambda k: (mgx.randn(4, 3, rng=k),),
                    [lambda change=change: change(kept) for change in changes])
    return make


@pytest.mark.parametrize("kind", ["SGD", "RMSprop", "Adagrad", "Adam", "AdamW"])
def test_options_of_optimizers(kind):
    def option(name, value):
        return lambda kept: kept.o.param_groups[0].__setitem__(name, value)
    replays(training(option("lr", 0.05), option("weight_decay", 0.1),
                     lambda kept: kept.o.param_groups[1].update(lr=0.2), option("weight_decay", 0.0),
                     kind=lambda p: getattr(optim, kind)(p, lr=0.1)))


def test_groups_of_optimizers():
    replays(training(lambda kept: kept.o.add_param_group({"params": [kept.net[2].bias], "lr": 0.3}),
                     lambda kept: kept.o.param_groups.pop(1)))


def test_state_of_optimizers():
    def clear(kept):
        kept.o.state.clear()
    def write(kept):
        for own in kept.o.state.values():
            for s in own.values():
                s.fill_(0.5)
    replays(training(write, clear))
    replays(training(write, clear, kind=lambda p: optim.Adam(p, lr=0.1)))


def test_loaded_state_of_optimizers():
    def save(kept):
        kept.saved = copy.deepcopy(kept.o.state_dict())
    def load(kept):
        kept.o.load_state_dict(kept.saved)
    replays(training(save, load))
    replays(training(save, load, kind=lambda p: optim.Adam(p, lr=0.1)))


def test_schedules():
    def start(kept):
        kept.schedule = optim.lr_scheduler.ExponentialLR(kept.o, gamma=0.5)
    replays(training(start, lambda kept: kept.schedule.step(), lambda kept: kept.schedule.step()))


def test_schedules_inside():
    def make():
        w, ran = parameter(), []
        o = optim.SGD([w], lr=0.5)
        schedule = optim.lr_scheduler.ExponentialLR(o, gamma=0.9)
        def function(x):
            ran.append(1)
            o.zero_grad()
            (w * x).sum().backward()
            o.step()
            schedule.step()
        return Twin(function, ran, lambda: [w, o])
    twins(make)


# ----- random numbers ------------------------------------------------------------------------------------------------

def test_generators_of_ours():
    def make():
        rng, ran = mgx.Generator(3), []
        def function(x):
            ran.append(1)
            return F.dropout(x, 0.5) + mgx.rand(3, rng=rng) * mgx.randn(3)
        return Twin(function, ran, lambda: mgx.rand(2, rng=rng),
                    changes=[lambda: rng.manual_seed(5), lambda: mgx.manual_seed(1)])
    replays(make)


def test_generators_of_numpy():
    def make():
        rng, ran = np.random.default_rng(3), []
        def function(x):
            ran.append(1)
            return F.dropout(x, 0.5, rng=rng) + mgx.rand(3, rng=rng)
        def rewind():
            rng.bit_generator.state = np.random.default_rng(8).bit_generator.state
        return Twin(function, ran, lambda: rng, changes=[lambda: rng.random(), rewind])
    replays(make)


def test_generators_made_inside():
    def make():
        ran = []
        def function(x):
            ran.append(1)
            return x + mgx.rand(3, rng=0) + mgx.randn(3, rng=mgx.Generator(2))
        return Twin(function, ran)
    replays(make)
    def numpy():
        ran = []
        def function(x):
            ran.append(1)
            return x + mgx.rand(3, rng=np.random.default_rng(0))
        return Twin(function, ran)
    runs_as_it_is(numpy)


@pytest.mark.parametrize("draw", [lambda: random.random(), lambda: float(np.random.rand())], ids=["random", "numpy"])
def test_generators_of_python(draw):
    def make():
        ran = []
        def function(x):
            ran.append(1)
            return x * draw()
        return Twin(function, ran)
    runs_as_it_is(make)


def test_state_of_generators():
    def outside():
        ran, kept = [], []
        def function(x):
            ran.append(1)
            return x + mgx.rand(3)
        return Twin(function, ran, changes=[lambda: kept.append(mgx.get_rng_state()),
                                            lambda: mgx.set_rng_state(kept[0]), lambda: mgx.manual_seed(9)])
    replays(outside)
    def inside():
        ran = []
        def function(x):
            ran.append(1)
            state = mgx.get_rng_state()
            y = x + mgx.rand(3)
            mgx.set_rng_state(state)
            return y * mgx.rand(3)
        return Twin(function, ran)
    replays(inside)


def by_hand(backward):
    """A function with a derivative by hand, which saves what it was given."""
    class Square(mgx.autograd.Function):
        @staticmethod
        def forward(ctx, t):
            ctx.save_for_backward(t)
            return t * t
    Square.backward = staticmethod(backward)
    return Square.apply


def test_derivatives_by_hand():
    """Whether what was saved was written to since is no part of what a captured call depends on."""
    def make():
        w, ran = parameter(), []
        square = by_hand(lambda ctx, g: g * ctx.saved_tensors[0] * 3.0)
        def function(x):
            ran.append(1)
            (square(w) * square(x)).sum().backward()
            return square(x)
        return Twin(function, ran, lambda: [w])
    replays(make)
    square = by_hand(lambda ctx, g: g * ctx.saved_tensors[0] * 3.0)
    w, v = parameter(), parameter()
    eager, compiled = (lambda x: square(w) * square(x)), mgx.compile(lambda x: square(v) * square(x))
    for k in range(5):
        for graph in (False, True):
            eager(vector(k).requires_grad_(graph)).sum().backward()
            compiled(vector(k).requires_grad_(graph)).sum().backward()
            assert bits(w.grad) == bits(v.grad)


def test_checkpoint():
    def make():
        w, ran = parameter(), []
        def inner(x):
            return F.dropout((w * x).tanh(), 0.5)
        def function(x):
            ran.append(1)
            w.grad = None
            y = mgx.autograd.checkpoint(inner, x * w).sum()
            y.backward()
            return y
        return Twin(function, ran, lambda: [w])
    replays(make)


# ----- variables, control, errors ------------------------------------------------------------------------------------

def test_variables_of_enclosing_functions():
    def make():
        ran, w, scale = [], parameter(), 2.0
        net = nn.Linear(3, 3, rng=0)
        def inner(x):
            return x * w + scale
        def function(x):
            ran.append(1)
            return net(inner(x))
        def number():
            nonlocal scale
            scale = 3.0
        def tensor():
            nonlocal w
            w = parameter(scale=-2.0)
        def module():
            nonlocal net
            net = nn.Linear(3, 3, rng=5)
        return Twin(function, ran, lambda: [w, net], changes=[number, tensor, module])
    replays(make)


SCALE, WEIGHT = 2.0, mgx.Tensor([1.0, 2.0, 3.0])


def test_plain_globals(monkeypatch):
    def make():
        monkeypatch.undo()
        ran = []
        def function(x):
            ran.append(1)
            return x * SCALE + WEIGHT
        here = __name__
        return Twin(function, ran, changes=[lambda: monkeypatch.setattr(f"{here}.SCALE", 3.0),
                                            lambda: monkeypatch.setattr(f"{here}.WEIGHT", mgx.ones(3))])
    replays(make)
    monkeypatch.undo()


def test_detect_nan_around():
    def make():
        ran, watch = [], mgx.detect_nan()
        def function(x):
            ran.append(1)
            return (x.square() + 1).log()
        return Twin(function, ran, changes=[watch.__enter__, lambda: watch.__exit__(None, None, None)])
    runs = twins(make)
    assert runs[0] <= 2 and runs[2] <= 2
    step = mgx.compile(lambda x: x.log() * 2)
    for _ in range(4):
        step(mgx.ones(2))
    with mgx.detect_nan(), pytest.raises(NonFiniteError, match="log"):
        step(-mgx.ones(2))
    assert np.isnan(step(-mgx.ones(2)).numpy()).all()
    assert "ran as it is, 1 times" in step.explain()


def test_detect_nan_inside():
    def make():
        ran, sign = [], [1.0]
        def function(x):
            ran.append(1)
            with mgx.detect_nan():
                return x.log() * 2
        return Twin(function, ran, arguments=lambda k: (mgx.full((3,), sign[0] * (k + 1)),),
                    changes=[lambda: sign.__setitem__(0, -1.0)])
    twins(make)


def test_methods():
    ran = []
    class Model:
        def __init__(self, w):
            self.w = w
        @mgx.compile
        def step(self, x):
            ran.append(1)
            return (self.w * x).sum()
    class Layer(nn.Module):
        def __init__(self, k):
            self.w, self.scale = parameter(scale=k), 1.0
        @mgx.compile
        def forward(self, x):
            ran.append(1)
            return self.w * x * self.scale
    a, b = Layer(1.0), Layer(2.0)
    for scale in (1.0, 2.0):
        a.scale = scale
        before = len(ran)
        for k in range(10):
            for layer in (a, b):
                x = vector(k)
                assert bits(layer(x)) == bits(layer.w * x * layer.scale)
        assert len(ran) - before <= 4
    one, other = Model(parameter()), Model(parameter(scale=3.0))
    for k in range(10):
        for model in (one, other):
            assert bits(model.step(vector(k))) == bits((model.w * vector(k)).sum())
    assert "an argument of type Model, of which it cannot be told" in Model.step.explain()


def test_functions_that_run_later():
    @mgx.compile
    def parts(x):
        yield x * 2
        yield x * 3
    @mgx.compile
    async def later(x):
        return x * 2
    for k in range(4):
        x = vector(k)
        assert bits(list(parts(x))) == bits([x * 2, x * 3])
        assert bits(asyncio.run(later(x))) == bits(x * 2)
    assert "a generator function" in parts.explain() and "an async function" in later.explain()
    class Pair:
        def __init__(self, x):
            self.given, self.double = x, x * 2
    for function, parts, words in [(lambda x: (x * k for k in range(2)), list, "runs later; return a list"),
                                   (Pair, lambda pair: [pair.given, pair.double], "Pair that holds tensors")]:
        step = mgx.compile(function)
        step(vector(0))
        with pytest.warns(CompileWarning, match=words):
            assert bits(parts(step(vector(0)))) == bits(parts(function(vector(0))))
        assert bits(parts(step(vector(1)))) == bits(parts(function(vector(1))))


def test_errors_that_the_function_swallows():
    def make():
        ran, w = [], parameter()
        def function(x):
            ran.append(1)
            try:
                x @ mgx.ones(7, 7)
            except mgx.errors.ShapeError:
                x = x + 1
            try:
                w * x / 0 + [][0]
            except IndexError:
                pass
            return x * w
        return Twin(function, ran, lambda: [w])
    replays(make)
    def reading(x):
        try:
            return x * x.sum().item()
        except Exception:
            return x
    step = mgx.compile(reading)
    step(vector(0))
    with pytest.warns(CompileWarning, match="item"):
        step(vector(0))
    for k in range(3):
        assert bits(step(vector(k))) == bits(reading(vector(k)))


def test_errors_that_the_function_raises():
    def make():
        ran, w = [], parameter()
        def function(x):
            ran.append(1)
            w.grad = None
            (w * x).sum().backward()
            if x.shape[0] > 3:
                raise KeyError("mine")
            return x * w
        shape = [(3,)]
        return Twin(function, ran, lambda: [w], lambda k: (mgx.randn(*shape[0], rng=k),),
                    [lambda: shape.__setitem__(0, (4, 3)), lambda: shape.__setitem__(0, (3,))])
    runs = twins(make)
    assert runs[0] <= 2 and runs[2] <= 2


@pytest.mark.parametrize("read", [lambda x: x.sum().item(), lambda x: bool(x.sum() > 0), lambda x: x.numpy().copy(),
                                  lambda x: x.tolist(), lambda x: x[x > 0],
                                  lambda x: x[int(x.argmax())] if x[0] > 1 else x])
def test_numbers_of_tensors_that_are_read(read):
    """The call goes on, whatever it has done to parameters and optimizers before it reads."""
    def make():
        w, ran = parameter(), []
        adam = optim.Adam([w], lr=0.1)
        def function(x):
            ran.append(1)
            adam.zero_grad()
            loss = (w * x).square().sum()
            loss.backward()
            adam.step()
            y = read(x * w)
            w.data += 1
            x += 1
            return loss, y
        return Twin(function, ran, lambda: [w, w.grad, adam.state_dict()])
    runs_as_it_is(make)
    twin = make()
    step = mgx.compile(twin.function)
    step(vector(0))
    with pytest.warns(CompileWarning, match=r"at .*test_capture\.py:\d+"):
        step(vector(0))


def test_data_that_the_function_assigns():
    """In place it is a write, which is replayed; another storage is met as it is."""
    def steps(assign):
        def make():
            w, ran = parameter(), []
            def function(x):
                ran.append(1)
                w.grad = None
                loss = (w * x).square().sum()
                loss.backward()
                assign(w, x)
                return loss
            return Twin(function, ran, lambda: [w, w.grad])
        return make
    def in_place(w, x):
        w.data -= 0.1 * w.grad
    def anew(w, x):
        w.data = w.data - 0.1 * w.grad
    def numbers(w, x):
        w.data = [1.0, 2.0, 3.0]
    def shared(w, x):
        w.data = x
    replays(steps(in_place))
    for assign in (anew, numbers, shared):
        runs_as_it_is(steps(assign))
    def of_an_argument():
        ran, w = [], parameter()
        def function(x):
            ran.append(1)
            y, z = x * 2, x + 1
            x.data, z.data = y, w
            return z
        return Twin(function, ran, lambda: [w])
    runs_as_it_is(of_an_argument)


def test_arguments_that_are_written_and_then_used():
    """Their gradient needs the numbers that were written."""
    def make():
        w, ran = parameter(), []
        def function(x):
            ran.append(1)
            x *= 2
            return w * x
        return Twin(function, ran, lambda: [w, w.grad])
    replays(make)
    w, results = parameter(), []
    def function(x):
        x *= 2
        return w * x
    for step in (function, mgx.compile(function)):
        for k in range(4):
            x, z, w.grad = vector(k), vector(k + 9), None
            (step(x).sum() + step(z).sum()).backward()      # each call has numbers of its own
            results.append(bits([x, z, w.grad]))
    assert results[:4] == results[4:]


# ----- what the function can reach -----------------------------------------------------------------------------------

SCALE, SHIFT, TABLE, act = 2.0, mgx.ones(3), {"k": 2.0}, mgx.tanh


def by_helper(x):
    return x * SCALE + SHIFT


class ByForward(nn.Module):
    def forward(self, x):
        return act(x) * SCALE * TABLE["k"]


class Settings:
    width, names = 2.0, ("a",)

    def __init__(self):
        self.scale, self.parts, self.unused = 2.0, [1.0, {"x": 3.0}], 0

    def __call__(self, x):
        return x * self.scale

    def scaled(self, x):
        return x * self.scale

    @property
    def double(self):
        return 2 * self.scale

    @staticmethod
    def fixed(x):
        return x * SCALE


def reaching():
    """{name: (a function of x, changes of what it reaches)}, all made anew."""
    module, settings, s, t, array = sys.modules[__name__], Settings(), 2.0, mgx.ones(3), np.ones(3, "float32")
    net, functions, deep = nn.Sequential(ByForward(), nn.Identity()), [lambda x: x * s], {"f": {"g": lambda x: x * s}}
    nets, hooked, module_with_function = [nn.Linear(3, 3, rng=0)], nn.Identity(), nn.Identity()
    hooked.register_forward_hook(lambda m, args, y: y * s)
    module_with_function.act = lambda x: x * s
    module_with_function.forward = lambda x: module_with_function.act(x)
    slots = namedtuple("Slots", "scale")(2.0)
    class WithSlots:
        __slots__ = ("scale",)
    slotted = WithSlots()
    slotted.scale = 2.0
    class Scaling:
        def scale(self, x):
            return x * 2
    scaled = Scaling()
    class Answering:
        def __init__(self):
            self.table = {"scale": 2.0}
        def __getattr__(self, name):
            if name in self.__dict__["table"]:
                return self.__dict__["table"][name]
            raise AttributeError(name)
    answering = Answering()
    context, weak = contextvars.ContextVar("scale", default=1.0), weakref.WeakKeyDictionary({settings: 2.0})
    view = memoryview(bytearray(b"ab"))
    def number(value):
        nonlocal s
        s = value
    def tensor(value):
        nonlocal t
        t = value
    def tuple_(value):
        nonlocal slots
        slots = value
    def keyword(x, *, factor=2.0, table={"k": 2.0}):        # noqa: B006
        return x * factor * table["k"]
    def one(x):
        return two(x)
    def two(x):
        return three(x)
    def three(x):
        return four(x)
    def four(x):
        return x * s + t
    @mgx.no_grad()
    def decorated(x):
        return x * s
    numbers = [lambda v=v: number(v) for v in (3.0, 2.0)]
    scale = [lambda v=v: setattr(module, "SCALE", v) for v in (3.0, 2.0)]
    attribute = [lambda v=v: setattr(settings, "scale", v) for v in (3.0, 2.0)]
    return {
        "a global": (lambda x: x * SCALE, scale),
        "a global function": (lambda x: by_helper(x), scale),
        "a global tensor": (lambda x: by_helper(x), [lambda v=v: setattr(module, "SHIFT", mgx.full((3,), v))
                                                     for v in (0.0, 1.0)]),
        "a global in a comprehension": (lambda x: sum([x * SCALE for _ in range(2)]), scale),
        "a global in an inner function": (lambda x: (lambda y: y * SCALE)(x), scale),
        "globals in forward": (lambda x: net(x), [*scale, lambda: TABLE.update(k=3.0), lambda: TABLE.update(k=2.0),
                                                  lambda: setattr(module, "act", mgx.sin),
                                                  lambda: setattr(module, "act", mgx.tanh)]),
        "a number of the closure": (lambda x: x * s, numbers),
        "a tensor of the closure": (lambda x: x * t, [lambda: tensor(mgx.zeros(3))]),
        "a method that an attribute hides": (lambda x: scaled.scale(x), [
            lambda: setattr(scaled, "scale", lambda x: x * 7), lambda: delattr(scaled, "scale")]),
        "an attribute that the class answers for": (lambda x: x * answering.scale, [
            lambda: setattr(answering, "scale", 7.0), lambda: delattr(answering, "scale"),
            lambda: answering.table.update(scale=3.0)]),
        "a tuple of the closure": (lambda x: x * slots.scale, [lambda: tuple_(slots._replace(scale=3.0))]),
        "an array of the closure": (lambda x: x * mgx.Tensor(array) + float(array[0]), [lambda: array.fill(3)]),
        "functions four deep": (lambda x: one(x), numbers),
        "functions in a list": (lambda x: functions[0](x), [*numbers, lambda: functions.insert(0, lambda x: x * 7)]),
        "functions in dicts": (lambda x: deep["f"]["g"](x), [*numbers, lambda: deep["f"].update(g=lambda x: x * 7)]),
        "a partial function": (functools.partial(four), numbers),
        "a decorated function": (lambda x: decorated(x), numbers),
        "a compiled function": (mgx.compile(four), numbers),
        "a gradient": (lambda x: mgx.grad(lambda v: four(v).sum())(x), numbers),
        "a hook of a module": (lambda x: hooked(x), numbers),
        "a function in a module": (lambda x: module_with_function.act(x), numbers),
        "defaults": (lambda x: keyword(x), [lambda: keyword.__kwdefaults__.update(factor=3.0),
                                            lambda: keyword.__kwdefaults__["table"].update(k=5.0)]),
        "nets in a list": (lambda x: nets[-1](x), [lambda: nets.append(nn.Linear(3, 3, rng=1)), nets.pop]),
        "an object that is called": (lambda x: settings(x), attribute),
        "a method": (lambda x: settings.scaled(x) + settings.double, attribute),
        "a static method": (lambda x: Settings.fixed(x), scale),
        "parts of an object": (lambda x: x * settings.parts[1]["x"], [lambda: settings.parts[1].update(x=4.0)]),
        "an attribute of a class": (lambda x: x * settings.width + len(Settings.names), [
            lambda: setattr(Settings, "width", 3.0), lambda: setattr(settings, "width", 5.0),
            lambda: setattr(Settings, "names", ("a", "b")), lambda: (setattr(Settings, "width", 2.0),
                                                                      setattr(Settings, "names", ("a",)))]),
        "an attribute by name": (lambda x: x * getattr(settings, "shift", 1.0),
                                 [lambda: setattr(settings, "shift", 2.0)]),
        "a context variable": (lambda x: x * context.get(), [lambda v=v: context.set(v) for v in (3.0, 2.0)]),
        "a dict with weak keys": (lambda x: x * weak[settings], [lambda: weak.__setitem__(settings, 3.0)]),
        "a view of bytes": (lambda x: x * view[0], [lambda: view.__setitem__(0, 5)]),
        "slots": (lambda x: x * slotted.scale, [lambda: setattr(slotted, "scale", 3.0)]),
    }


@pytest.mark.parametrize("name", reaching())
def test_what_the_function_reaches(name):
    def make():
        function, changes = reaching()[name]
        return Twin(function, [], changes=changes)
    saved = SCALE, SHIFT, dict(TABLE), act
    module = sys.modules[__name__]
    try:
        twins(make)
        function, changes = reaching()[name]
        ran = []
        def counting(x):
            ran.append(1)
            return function(x)
        step = mgx.compile(counting)
        for change in [None, *changes]:
            ran.clear()
            if change is not None:
                change()
            for k in range(10):
                step(vector(k))
            assert len(ran) <= 2
    finally:
        module.SCALE, module.SHIFT, module.act = saved[0], saved[1], saved[3]
        TABLE.update(saved[2])
        Settings.width, Settings.names = 2.0, ("a",)


def test_what_the_function_does_not_read():
    """Another attribute of an object, another key that nobody looks up: the call is replayed."""
    settings, ran, losses = Settings(), [], []
    def function(x):
        ran.append(1)
        return x * settings.scale
    step = mgx.compile(function)
    for k in range(10):
        losses.append(step(vector(k)))
        settings.unused += 1
        settings.other = losses
    assert len(ran) == 2


def changing():
    """{name: (a function of x that changes what it reaches, what that is now)}, all made anew."""
    settings, seen, table, calls, queue = Settings(), [], {}, 0, collections.deque([mgx.ones(3)], maxlen=3)
    batches, rng, python, legacy = iter([vector(k) for k in range(40)]), np.random.default_rng(0), random.Random(0), \
        np.random.RandomState(0)
    h, rate, array = mgx.zeros(3), 1.0, np.zeros(1)
    net, weak = nn.Sequential(nn.Tanh()), weakref.ref(settings)
    net[0].register_forward_hook(lambda m, args, y: table.__setitem__("y", y.detach()))
    def carried(x):
        nonlocal h
        h = mgx.tanh(h + x)
        return h
    def decayed(x):
        nonlocal rate
        rate *= 0.5
        return x * rate
    def counted(x):
        nonlocal calls
        calls += 1
        return x / calls
    def noted(x):
        table["x"] = x
        table.setdefault("all", []).append(x)
        return x + 1
    def shifted(x):
        queue.append(x)
        return sum(queue)
    def stored(x):
        settings.last = x * 2
        return x
    def summed(x):
        array[0] += 1
        return x * float(array[0])
    return {
        "a tensor of the closure": (carried, lambda: h), "a rate": (decayed, lambda: rate),
        "a number": (counted, lambda: calls), "a dict": (noted, lambda: table),
        "a list": (lambda x: (seen.append(x), x * 2)[1], lambda: seen), "a deque": (shifted, lambda: list(queue)),
        "an attribute": (stored, lambda: settings.last), "an array": (summed, lambda: array),
        "by a hook": (lambda x: net(x), lambda: table),
        "an iterator": (lambda x: x * next(batches), lambda: None),
        "a generator of NumPy's": (lambda x: x * rng.uniform(), lambda: repr(rng.bit_generator.state)),
        "a generator of Python's": (lambda x: x * python.random(), lambda: python.getstate()),
        "a weak reference": (lambda x, kept=settings: x * weak().scale, lambda: None),
        "an old generator": (lambda x: x * float(legacy.rand()), lambda: repr(legacy.get_state())),
    }


@pytest.mark.parametrize("name", changing())
def test_what_the_function_changes_outside(name):
    def make():
        function, world = changing()[name]
        def counting(x):
            ran.append(1)
            return function(x)
        ran = []
        return Twin(counting, ran, world)
    assert twins(make) == [10]
    function, _ = changing()[name]
    step = mgx.compile(function)
    with pytest.warns(CompileWarning, match="runs as it is"):
        for _ in range(3):                  # one may be lazy, and change something at its first calls
            step(vector(0))


def settling():
    """Functions that change what is around them for some calls: {name: (function, a change that makes them do so once
    more, how many calls come after it, each time that it is made)}."""
    cache, table, state, calls, module = [], {}, SimpleNamespace(n=0, counts=True), 0, nn.Identity()
    module.w = None
    class Kind:
        width = 2.0
    def widened(x):
        Kind.width = 2.0
        return x * Kind.width
    def cached(x):
        if len(cache) < 4:
            cache.append(len(cache))
        return x * len(cache)
    def noted(x):
        table["n"] = min(table.get("n", 0) + 1, 5)
        return x * table["n"]
    def counted(x):
        if state.counts:
            state.n = state.n + 1
        return x * state.n
    def warmed_up(x):
        nonlocal calls
        calls = min(calls + 1, 6)
        return x * calls
    def made_once(x):
        if module.w is None:
            module.w = parameter()
        return x * module.w
    def exchange():
        nonlocal module
        module = nn.Identity()
        module.w = None
    def reset():
        Kind.width = 3.0
    def reset_calls():
        nonlocal calls
        calls = 0
    return {
        "a class attribute, reset once": (widened, reset, [1]),
        "a class attribute, reset before two captures": (widened, reset, [1] * 3),
        "a class attribute, reset before six calls": (widened, reset, [1] * 6),
        "a class attribute, reset before each second call": (widened, reset, [2] * 4),
        "a cache that fills": (cached, cache.clear, [5]), "a cache that is cleared": (cached, cache.clear, [5] * 3),
        "a dict": (noted, table.clear, [6] * 2), "a warm-up": (warmed_up, reset_calls, [7] * 2),
        "a parameter that is made when it is needed": (made_once, lambda: setattr(module, "w", None), [3] * 2),
        "a parameter that is made in another module": (made_once, exchange, [1, 0]),
        "a count that ends": (counted, lambda: setattr(state, "counts", not state.counts), [7] * 3)}


def counted(function):
    """``function``, and a list that grows by one in each run of it."""
    ran = []
    def counting(x):
        ran.append(1)
        return function(x)
    return counting, ran


@pytest.mark.parametrize("name", settling())
def test_what_stands_still_again(name):
    results, runs = [], []
    for compile in (as_it_is, mgx.compile):
        function, change, counts = settling()[name]
        counting, ran = counted(function)
        step = compile(counting)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", CompileWarning)
            found = [bits(step(vector(k))) for k in range(7)]
            for count in counts:
                change()
                found += [bits(step(vector(k))) for k in range(count)]
            before = len(ran)
            found += [bits(step(vector(k))) for k in range(10)]
        results.append(found)
        runs.append(len(ran) - before)
    assert results[0] == results[1]
    assert runs[1] <= 2


def deciding():
    """Functions in which what looks like a counter decides, and changes around them: {name: (function, changes)}."""
    n, position, sums, ema = 0, 0, {"loss": mgx.zeros(3)}, SimpleNamespace(decay=0.5, mean=mgx.zeros(3))
    class Ema:
        decay = 0.5
        def update(self, x):
            return x * self.decay
    class Ring:
        def __init__(self):
            self.at, self.kept = 0, [0.0, 0.0, 0.0]
        def add(self, x):
            self.kept[self.at % 3] = x
            self.at += 1
    average, ring, acc, total = Ema(), Ring(), [mgx.zeros(3), mgx.zeros(3)], 0.0
    last = None
    def chained(x):
        nonlocal n
        k = n = n + 1
        return x * k
    def keyed(x):
        acc[position] += x
        return x
    def move():
        nonlocal position
        position = 1
    def stored(x):
        nonlocal last
        last = x * 2
        return x
    def summed(x):
        nonlocal total
        total += x
        return x
    def reset():
        sums["loss"] = mgx.zeros(3)
    def accumulated(x):
        sums["loss"] += x
        return x
    def by_ring(x):
        ring.add(x * 2)
        return x
    def named(x):
        setattr(ema, "last", x * 2)                                 # noqa: B010
        return x
    return {
        "a chained assignment": (chained, [], lambda: n), "a key": (keyed, [move], lambda: acc),
        "only stored": (stored, [], lambda: last), "a sum from 0": (summed, [], lambda: total),
        "a sum that is reset": (accumulated, [reset], lambda: sums["loss"]),
        "a method called update": (lambda x: average.update(x), [lambda: setattr(average, "decay", 2.0)], lambda: None),
        "a method called add": (by_ring, [], lambda: ring.kept),
        "an attribute by name": (named, [], lambda: ema.last)}


@pytest.mark.parametrize("name", deciding())
def test_what_looks_like_a_counter(name):
    def make():
        function, changes, world = deciding()[name]
        return Twin(function, [], world, changes=changes)
    twins(make)


@pytest.mark.parametrize("write", [
    lambda x, w: x.mul_(2), lambda x, w: x.zero_(), lambda x, w: x.add_(w), lambda x, w: x.copy_(w),
    lambda x, w: x.__setitem__(0, w.sum()), lambda x, w: (x.mul_(2), x.sum().item())])
@pytest.mark.parametrize("graph", [True, False])
def test_arguments_with_graphs_that_are_written(write, graph):
    def run(compile):
        w, found = parameter(), []
        step = compile(lambda x: (write(x, w), (x * w).sum())[1])
        for k in range(5):
            a, w.grad = vector(k), None
            a.requires_grad_(graph)
            x = a * 1
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", CompileWarning)
                y = step(x)
            (y + x.sum()).backward()
            found.append(bits([y, x.detach(), a.grad, w.grad]))
        return found
    assert run(mgx.compile) == run(lambda function: function)


@pytest.mark.parametrize("result", [lambda x, r: lambda: x * 2, lambda x, r: functools.partial(mgx.add, x, 1.0),
                                    lambda x, r: {x.sum().item()}, lambda x, r: set(),
                                    lambda x, r: SimpleNamespace(r=r * 2), lambda x, r: collections.Counter("ab"),
                                    lambda x, r: x.abs, lambda x, r: lambda: r * 2])
def test_results_that_are_made_anew(result):
    step, kept = mgx.compile(result), []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CompileWarning)
        for k in range(5):
            kept.append((k, step(vector(k), 1.0 * k)))
    assert len({id(one) for _, one in kept}) == 5
    for k, one in kept:
        right = result(vector(k), 1.0 * k)
        assert worlds.bits(one() if callable(one) else one) == worlds.bits(right() if callable(right) else right)


def test_counters_and_logs():
    """What the function only writes to, and numbers and strings alone, is a note: the call is replayed."""
    calls, table, log, settings, names = 0, {}, [0], Settings(), set()
    def function(x):
        nonlocal calls
        calls += 1
        table["calls"] = 1
        log[0] += 1
        log.append("called")
        settings.unused += 1
        settings.done = True
        names.add("step")
        return x * 2
    step = mgx.compile(function)
    for k in range(10):
        assert step(vector(k)).tolist() == (vector(k) * 2).tolist()
    assert calls == log[0] == settings.unused == 2


def relying():
    """Functions whose notes rely on what is there, or do more than leave a constant, and a change of it."""
    table, row, settings, log, calls = {"n": 0}, [0], SimpleNamespace(calls=0), [], 0
    class Watched:
        width = 1.0
        def __init__(self):
            self.kept = [0]
        @property
        def calls(self):
            return self.kept[-1]
        @calls.setter
        def calls(self, n):
            self.kept.append(n)
    watched = Watched()
    def by_key(x):
        try:
            table["n"] += 1
        except KeyError:
            return x * 5
        return x
    def bump():
        row[0] += 1
    def by_helper(x):
        try:
            bump()
        except IndexError:
            return x * 5
        return x
    def suppressed(x):
        with contextlib.suppress(AttributeError):
            settings.calls += 1
            return x
        return x * 5
    def unhandled(x):
        table["n"] += 1
        return x
    def appended(x):
        log.append("called")
        return x
    def counted(x):
        nonlocal calls
        calls += 1
        return x
    def no_log():
        nonlocal log
        log = None
    def no_number():
        nonlocal calls
        calls = "none"
    def of_property(x):
        watched.calls += 1
        return x
    def of_class(x):
        Watched.width = 2.0
        return x
    return {
        "an item": (by_key, table.clear, list), "an item, in a helper": (by_helper, row.clear, list),
        "an attribute": (suppressed, lambda: delattr(settings, "calls"), list),
        "an item, not handled": (unhandled, table.clear, list), "a list": (appended, no_log, list),
        "a number": (counted, no_number, list), "a property": (of_property, list, lambda: watched.kept),
        "an attribute of a class": (of_class, lambda: setattr(Watched, "width", 1.0), lambda: Watched.width)}


@pytest.mark.parametrize("name", relying())
def test_notes_that_rely_on_what_is_there(name):
    def make():
        function, change, world = relying()[name]
        return Twin(function, [], world, changes=[change])
    twins(make)


def test_notes_that_replay():
    """A counter may have the name of a method, and a constant that is set is polled alone."""
    def make():
        ran, state, settings = [], {"phase": "none", "loss": 0.0}, SimpleNamespace(step=0, phase="none")
        w = parameter()
        sgd = optim.SGD([w], lr=0.1)
        def counting(function):
            @functools.wraps(function)
            def call(*args):
                call.calls += 1
                return function(*args)
            call.calls = 0
            return call
        @counting
        def loss(x):
            return (w * x).sum()
        def function(x):
            ran.append(1)
            state["phase"] = "train"
            settings.phase = "train"
            settings.step += 1
            sgd.zero_grad()
            loss(x).backward()
            sgd.step()
        return Twin(function, ran, lambda: [w, state, settings.phase], changes=[
            lambda: state.update(loss=1.0), lambda: state.update(phase="eval"),
            lambda: setattr(settings, "phase", "eval"), lambda: delattr(settings, "phase")])
    replays(make)
    def often():
        ran, settings, state = [], SimpleNamespace(phase="none"), {"done": False}
        class Shared:
            phase = "none"
        def function(x):
            ran.append(1)
            settings.phase = "train"
            Shared.phase = "train"
            if x.shape[0] > 3:
                state["done"] = True
            return x * 2
        def arguments(k):
            settings.phase = Shared.phase = "test"
            state["done"] = False
            return (mgx.randn(3 + k % 2, rng=k),)
        return Twin(function, ran, lambda: [settings.phase, Shared.phase, state], arguments)
    assert twins(often)[0] <= 4


# ----- what the call makes -------------------------------------------------------------------------------------------

def test_tensors_in_attributes():
    """A hidden state, kept as a tuple, list or dict, is another at every call; what was kept of earlier calls stays."""
    for keep in (lambda h, x: (h, x), lambda h, x: [h], lambda h, x: {"h": h, "n": [x * 2]}, lambda h, x: Pair(h, 0.5)):
        def make(keep=keep):
            net, ran, kept = nn.RNN(3, 4, rng=0), [], []
            net.state = None
            def function(x):
                ran.append(1)
                with mgx.no_grad():
                    _, h = net(x.reshape(1, 1, 3))
                net.state = keep(h, x)
                return h.sum()
            def world():
                kept.append(net.state)
                return kept
            return Twin(function, ran, world)
        replays(make)
    def others():
        net, ran, kept = nn.Identity(), [], []
        def function(x):
            ran.append(1)
            net.state = collections.deque([x * 2])
            return x
        return Twin(function, ran, lambda: kept.append(list(net.state)) or kept)
    runs_as_it_is(others)


class Output:
    __slots__ = ("y",)

    def __init__(self, y):
        self.y = y


@pytest.mark.parametrize("wrap, parts", [
    (lambda y: collections.deque([y]), list), (lambda y: {y: 1}, list), (lambda y: {"y": y}.values(), list),
    (lambda y: SimpleNamespace(parts=[y]), lambda o: o.parts), (Output, lambda o: [o.y]),
    (lambda y: collections.defaultdict(list, {"a": [y]}), dict)])
def test_results_in_other_containers(wrap, parts):
    step = mgx.compile(lambda x: wrap(x * 2))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CompileWarning)
        results = [step(vector(k)) for k in range(6)]
    for k, result in enumerate(results):
        assert bits(parts(result)) == bits(parts(wrap(vector(k) * 2))) and type(result) is type(wrap(1))


class Slotted:
    __slots__ = ("parts",)

    def __init__(self, *parts):
        self.parts = parts


@pytest.mark.parametrize("wrap, parts", [
    (lambda *p: collections.OrderedDict(enumerate(p)), lambda o: o.values()), (Slotted, lambda o: o.parts),
    (lambda *p: Slotted([SimpleNamespace(p=p)]), lambda o: o.parts[0][0].p), (ValueError, lambda o: o.args),
    (functools.partial(functools.partial, max), lambda o: o.args), (lambda *p: lambda: p, lambda o: o()),
    (lambda *p: types.MappingProxyType({"p": p}), lambda o: o["p"]), (lambda *p: iter(p), list),
    (lambda *p: collections.UserDict(p=p), lambda o: o["p"]), (lambda *p: (o for o in p), list),
    (lambda *p: collections.defaultdict(list, p=p), lambda o: o["p"]),
    (lambda x, r, v: SimpleNamespace(p=(x.abs, r.hex, v)), lambda o: (o.p[0].__self__, o.p[1].__self__, o.p[2]))])
def test_arguments_in_what_is_kept(wrap, parts):
    """They are the caller's, whatever holds them, and views of them share their memory: also after the one call that
    was captured and runs as it is."""
    kept = []
    def returned(x, r):
        return wrap(x, r, x[1:])
    def stored(x, r):
        kept.append(wrap(x, r, x[1:]))
        return x.sum().item() and kept[-1]
    def raised(x, r):
        if kept:
            raise KeyError(wrap(x, r, x[1:]))
    for function in (returned, stored):
        step = mgx.compile(function)
        for k in range(4):
            x, r = vector(k), 0.5 + k
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", CompileWarning)
                one, number, view = parts(step(x, r))
            assert one is x and number is r
            view.fill_(7.0)
            assert x[1:].tolist() == [7.0, 7.0]
    if hasattr(wrap(vector(0), 0.5, vector(1)), "__next__"):
        return                                              # see the page's last row
    kept.clear()
    step, x, r = mgx.compile(raised), vector(0), 0.5
    step(x, r)
    kept.append(1)
    with pytest.raises(KeyError) as caught:
        step(x, r)
    one, number, view = parts(caught.value.args[0])
    assert one is x and number is r
    view.fill_(7.0)
    assert x[1:].tolist() == [7.0, 7.0]


def test_leaves_made_inside():
    def make():
        ran = []
        def function(x):
            ran.append(1)
            w = nn.Parameter(x * 2)
            (w * w).sum().backward()
            return w, w.grad
        return Twin(function, ran)
    runs_as_it_is(make)


def test_what_holds_itself():
    """A result, an argument that the function changes, an attribute: lists that are parts of themselves."""
    net = nn.Identity()
    def result(x, l):
        found = [x * 2]
        found.append(found)
        return found
    def argument(x, l):
        l.append([x * 2, l])
        return l
    def attribute(x, l):
        net.state = [x * 2]
        net.state.append({"all": net.state})
        return net.state
    for function, inner in ((result, lambda found: found[1]), (argument, lambda found: found[0][1]),
                            (attribute, lambda found: found[1]["all"])):
        step = mgx.compile(function)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", CompileWarning)
            for k in range(5):
                found = step(vector(k), [])
                assert inner(found) is found
                first = found[0][0] if function is argument else found[0]
                assert bits(first) == bits(vector(k) * 2)


def test_arguments_that_become_leaves():
    def run(compile):
        step, found = compile(lambda x: x.requires_grad_(True) * 2), []
        for k in range(5):
            x = vector(k)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", CompileWarning)
                step(x).sum().backward()
            found.append(bits([x, x.grad]))
        return found
    assert run(mgx.compile) == run(lambda function: function)


def test_leaves_made_for_the_call_alone():
    def kept_for_itself():
        ran = []
        def function(x):
            ran.append(1)
            w = nn.Parameter(mgx.zeros(3))
            adam = optim.Adam([w], lr=0.1)
            for _ in range(3):
                adam.zero_grad()
                (w - x).square().sum().backward()
                adam.step()
            return w.detach()
        return Twin(function, ran)
    replays(kept_for_itself)
    def with_gradients_that_nobody_reads():
        ran, w = [], parameter()
        def function(x):
            ran.append(1)
            v = x.clone().requires_grad_()
            g, = mgx.autograd.grad((v * v * w).sum(), [v], create_graph=True)
            loss = (g.norm() - 1).square()
            w.grad = None
            loss.backward()
            return loss
        return Twin(function, ran, lambda: [w, w.grad])
    replays(with_gradients_that_nobody_reads)
    step = mgx.compile(with_gradients_that_nobody_reads().function)
    for k in range(4):
        step(vector(k))
    assert "launches" in step.explain()                 # it runs them from what they wrote
    def copied():
        ran, net = [], nn.Linear(3, 2, rng=0)
        def function(x):
            ran.append(1)
            other = copy.deepcopy(net)
            sgd = optim.SGD(other.parameters(), lr=0.1, momentum=0.9)
            other(x).sum().backward()
            sgd.step()
            return other(x)
        return Twin(function, ran, net.state_dict)
    replays(copied)


def test_gradients_of_results():
    def make():
        w, ran = parameter(), []
        def function(x):
            ran.append(1)
            h = w * x
            h.retain_grad()
            h.square().sum().backward()
            return h, h.grad
        return Twin(function, ran, lambda: [w.grad])
    runs_as_it_is(make)


class AttrDict(dict):
    __getattr__ = dict.__getitem__


@dataclass
class Counted:
    x: mgx.Tensor

    def __post_init__(self):
        self.size = self.x.size


@pytest.mark.parametrize("make, use", [
    (AttrDict, lambda d: d.x * d["y"]), (collections.OrderedDict, lambda d: d["x"] * len(list(reversed(d)))),
    (lambda **d: collections.defaultdict(lambda: 2.0, d), lambda d: d["x"] * d["z"]),
    (lambda x, y: Counted(x), lambda d: d.x * d.size)])
def test_containers_of_other_classes(make, use):
    given = [make(x=vector(k), y=vector(k + 1)) for k in range(6)]
    step = mgx.compile(lambda d: (use(d), d))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CompileWarning)
        for d in given:
            y, same = step(d)
            assert bits(y) == bits(use(d)) and same is d


def test_what_asks_for_the_type_of_a_number():
    for use in (lambda x, r: x * (1.0 if type(r) is float else 2.0), lambda x, r: (x, json.dumps(r)),
                lambda x, r: x * {float: 2.0}[type(r)], lambda x, r: {r: x, "n": r},
                lambda x, r: (x * float(Decimal(r)), [r, {r: r}])):
        step = mgx.compile(use)
        for k in range(6):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", CompileWarning)
                found = step(vector(0), 0.5 + k)
            assert worlds.bits(found) == worlds.bits(use(vector(0), 0.5 + k))
            assert not isinstance(found, dict) or [type(key) for key in found] == [float, str]


def large():
    return mgx.zeros(1 << 16)                               # 256 kB


class Scaled(nn.Module):
    def __init__(self):
        self.w = nn.Parameter(np.ones(1 << 16, "float32"))

    def forward(self, x):
        return x * self.w


def replacing():
    """{name: (a function, its arguments besides x)}, and what replaces all that these use."""
    w, others, named, box, param = large(), [large(), 1], {"a": large()}, SimpleNamespace(t=large()), large()
    net, chain, holder, leaf = Scaled(), nn.Sequential(Scaled(), nn.Tanh()), [Scaled()], nn.Parameter(large())
    optimizer, hooked = optim.Adam(net.parameters()), nn.Parameter(large())
    inner = mgx.compile(lambda x: x + w)
    def bound():
        t = large()
        return lambda x: x + t
    function = bound()
    class Trainer:
        def __init__(self):
            self.net, self.me = Scaled(), self              # it refers to itself
            self.optimizer = optim.SGD(self.net.parameters(), lr=0.1)
        def step(self, x):
            return step(x, self.net, self.optimizer)
    trainer = Trainer()
    def step(x, net, optimizer):
        optimizer.zero_grad()
        loss = net(x).mean()
        loss.backward()
        optimizer.step()
        return loss
    def of_leaf(x):
        leaf.grad = None
        (x * leaf).sum().backward()
        return leaf.grad
    def of_hooked(x):
        hooked.grad = None
        (x * hooked).sum().backward()
        return hooked.grad
    def replace():
        nonlocal w, others, box, net, optimizer, function, trainer, leaf, hooked
        w, others, box, net, function, trainer = large(), [large(), 1], SimpleNamespace(t=large()), Scaled(), bound(), \
            Trainer()
        optimizer = optim.Adam(net.parameters())
        named["a"], holder[0], chain[0] = large(), Scaled(), Scaled()
        chain[0].w = nn.Parameter(large())
        leaf, hooked = nn.Parameter(large()), nn.Parameter(large())
        hooked.register_hook(lambda g, p=hooked: g * p.detach())
        param.data = large()
    return {
        "a tensor": (lambda x: x + w, list), "a list": (lambda x: x + others[0], list),
        "an item": (lambda x: x + named["a"], list), "an object": (lambda x: x + box.t, list),
        "a module": (lambda x: net(x), list), "a module of a Sequential": (lambda x: chain(x), list),
        "a module of a list": (lambda x: holder[0](x), list), "a function": (lambda x: function(x), list),
        "a leaf": (of_leaf, list), "a leaf with a hook": (of_hooked, list), "data": (lambda x: x + param, list),
        "a module and its optimizer": (lambda x: step(x, net, optimizer), list),
        "an object that holds itself": (lambda x: trainer.step(x), list),
        "a tensor of another compiled function": (lambda x: inner(x) * 2 + inner(x).sum(), list),
        "arguments": (step, lambda: [net, optimizer]), "a parameter as argument": (lambda x, p: x * p, lambda: [leaf]),
    }, replace


@pytest.mark.parametrize("name", replacing()[0])
@pytest.mark.parametrize("calls", [1, 3])
def test_what_was_replaced(name, calls):
    functions, replace = replacing()
    function, arguments = functions[name]
    step, x = mgx.compile(function), large()
    def replaced(times):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", CompileWarning)
            for _ in range(times):
                replace()
                for _ in range(calls):
                    step(x, *arguments())
        gc.collect()
        return allocated_bytes(True)[0] // x.nbytes
    first = replaced(2)
    assert replaced(20) <= first + 8                        # of one state there are at most four



def test_what_cannot_be_seen(monkeypatch):
    """The twins differ, and ``check=True`` finds it."""
    monkeypatch.setenv("SCALE", "1")
    class Plain(SimpleNamespace):
        """Attributes under names that the code does not have."""
        def __getitem__(self, name):
            return vars(self)[name]
    plain = Plain(scale=1.0)
    for call, change in [(lambda x: x * float(os.environ["SCALE"]), lambda: monkeypatch.setenv("SCALE", "2")),
                         (lambda x: x * sys.getrecursionlimit(),
                          lambda: monkeypatch.setattr(sys, "getrecursionlimit", lambda: 5)),
                         (lambda x: x * plain["sc" + "ale"], lambda: setattr(plain, "scale", 2.0))]:
        step = mgx.compile(call, check=True)
        for _ in range(4):
            step(mgx.ones(2))
        change()
        with pytest.raises(CaptureError, match="the result is not the same"):
            step(mgx.ones(2))


# ----- a compiled function is a node ---------------------------------------------------------------------------------

def nets(count=2, **options):
    """(net, the same compiled), made alike."""
    one, other = (nn.Sequential(nn.Linear(3, 4, rng=0), nn.Tanh(), nn.Linear(4, 2, rng=1)) for _ in range(2))
    return one, other, mgx.compile(other, **options)


def grads(net):
    return bits([p.grad for p in net.parameters()])


def batch(k):
    return mgx.randn(5, 3, rng=k)


def on_both(run, count=6, **options):
    """``run(net, k)`` with a net as it is and compiled: results and gradients are the same."""
    one, other, compiled = nets(**options)
    for k in range(count):
        assert bits(run(one, k)) == bits(run(compiled, k)), k
        assert grads(one) == grads(other), k
    assert len(compiled.programs) >= 1 and all(p.captured for p in compiled.programs)
    return compiled


def test_results_have_a_graph():
    def run(net, k):
        net.zero_grad()
        y = net(batch(k))
        y.square().sum().backward()
        return y, y.requires_grad, y.is_leaf
    assert len(on_both(run).programs) == 1


def test_a_sum_of_two_calls():
    def run(net, k):
        (net(batch(k)) + net(batch(k + 1)) * 2).square().sum().backward()
    on_both(run)


def test_two_calls_and_one_backward():
    """As in a GAN: the discriminator sees real and made samples before it is trained."""
    def make():
        g, d = nn.Linear(2, 3, rng=0), nn.Sequential(nn.Linear(3, 4, rng=1), nn.Tanh(), nn.Linear(4, 1, rng=2))
        return g, d, optim.Adam(g.parameters(), lr=0.1), optim.Adam(d.parameters(), lr=0.1)
    def train(g, d, parts, k):
        both, og, od = parts
        z, real = mgx.randn(6, 2, rng=k), mgx.randn(6, 3, rng=k + 50)
        made = g(z)
        od.zero_grad()
        loss = F.softplus(-d(real)).mean() + F.softplus(d(made.detach())).mean()
        loss.backward()
        od.step()
        og.zero_grad()
        other = F.softplus(-d(made)).mean()
        other.backward()
        og.step()
        return loss, other, [*both[0].parameters()], [*both[1].parameters()]
    (g, d, og, od), (cg, cd, cog, cod) = make(), make()
    compiled = mgx.compile(cg), mgx.compile(cd)
    for k in range(8):
        assert bits(train(g, d, ((g, d), og, od), k)) == bits(train(*compiled, ((cg, cd), cog, cod), k)), k
    assert len(compiled[0].programs) == 1


def test_backward_in_reverse_order():
    def run(net, k):
        losses = [net(batch(k + i)).square().sum() for i in range(3)]
        for loss in reversed(losses):
            loss.backward()
        return losses
    on_both(run)


@pytest.mark.parametrize("passes", [((0, 1), (2,)), ((2,), (0, 1)), ((2,), (1,)), ((0, 1, 2),), ((0,), (1,))])
def test_results_with_graphs_in_common(passes):
    """Those that share nothing with others are walked alone; a second pass through what is shared raises."""
    def run(compile):
        w, v, found = parameter(), parameter(scale=2.0), []
        def function(x):
            h = w * x
            return h.tanh(), h.exp(), (v * x).square()
        step = compile(function)
        for k in range(4):
            w.grad = v.grad = None
            results = step(vector(k))
            for numbers in passes:
                try:
                    sum(results[i].sum() for i in numbers).backward()
                except GraphError:
                    found.append("freed")
            found.append(bits([*results, w.grad, v.grad]))
        return found
    assert run(mgx.compile) == run(lambda function: function)


def test_retain_graph():
    def run(net, k):
        y = net(batch(k)).square().sum()
        y.backward(retain_graph=True)
        y.backward()
        with pytest.raises(GraphError):
            y.backward()
        return y
    on_both(run)


def test_the_graph_of_a_result_is_freed_by_a_backward_pass_inside():
    w, v = parameter(), parameter()
    def function(w):
        def call(x):
            loss = (w * x).square().sum()
            loss.backward()
            return loss, loss * 2
        return call
    eager, compiled = function(w), mgx.compile(function(v))
    for k in range(5):
        a, b = eager(vector(k)), compiled(vector(k))
        assert bits([a, w.grad]) == bits([b, v.grad])
        for results in (a, b):
            for result in results:
                with pytest.raises(GraphError):
                    result.backward()


def test_second_order():
    def run(net, k):
        net.zero_grad()
        x = batch(k).requires_grad_()
        y = net(x * 1)
        g, = mgx.autograd.grad(y.sum(), [x], create_graph=True)
        g.square().sum().backward()
        return y, g, x.grad
    on_both(run)


def test_a_check_counts_once():
    """With ``check=True`` the replay runs and then the function; what the replay did to attributes is taken back."""
    class Counted(nn.Module):
        def __init__(self):
            self.last, self.w = None, parameter()
        def forward(self, x):
            self.last = x.detach() * 2
            return (self.last * self.w).sum()
    one, other = Counted(), Counted()
    step = mgx.compile(lambda x: other(x), check=True)
    for k in range(5):
        assert bits(one(vector(k))) == bits(step(vector(k))) and bits(one.last) == bits(other.last)
    assert len(step.programs) == 1


def test_tensors_with_graphs_that_are_kept():
    """In an attribute: with a live graph the call runs as it is, with a freed one it replays."""
    class Keeps(nn.Module):
        def __init__(self):
            self.w, self.last = parameter(), None
        def forward(self, x):
            self.last = (self.w * x).tanh()
            return self.last.sum()
    def kept():
        net, ran = Keeps(), []
        def function(x):
            ran.append(1)
            return net(x)
        return Twin(function, ran, lambda: [net.last])
    assert twins(kept) == [10]
    one, other = Keeps(), Keeps()
    step = mgx.compile(lambda x: other(x))
    with pytest.warns(CompileWarning, match="keeps a tensor with a graph"):
        for k in range(5):                  # the attribute is part of an eager loss
            for net, call in ((one, one), (other, step)):
                net.w.grad = None
                (call(vector(k)) + net.last.square().sum()).backward()
            assert bits(one.w.grad) == bits(other.w.grad)
    def freed():
        net, ran = Keeps(), []
        def function(x):
            ran.append(1)
            net.w.grad = None
            net(x).backward()
        return Twin(function, ran, lambda: [net.w, net.last])
    replays(freed)


def test_a_generator_as_argument():
    def make():
        ran, rng = [], mgx.Generator(3)
        def function(x, rng):
            ran.append(1)
            return x + mgx.rand(3, rng=rng)
        return Twin(function, ran, lambda: [rng.get_state()], lambda k: (vector(k), rng))
    replays(make)


def test_gradients_of_one_result_of_several():
    """Also where the function cannot run once more: it drops out, and counts."""
    def run(compile):
        mgx.manual_seed(0)
        net = nn.Sequential(nn.Linear(3, 4, rng=0), nn.Dropout(0.5), nn.BatchNorm1d(4), nn.Linear(4, 2, rng=1))
        def function(x):
            y = net(x)
            return y.sum(0), {"z": y.square().mean(), "x": x * 2}
        step, found = compile(function), []
        for k in range(8):
            x = mgx.randn(5, 3, rng=k)
            y, rest = step(x)
            for p in net.parameters():
                p.grad = None
            (y.sum() if k % 2 else rest["z"]).backward()
            found.append(bits([y, rest, [p.grad for p in net.parameters()], list(net.buffers())]))
        return found
    assert run(lambda function: function) == run(mgx.compile)


def test_calls_that_would_run_once_more_in_another_world():
    """A second derivative needs the function again: it is refused where that would be another function by now."""
    s = 2.0
    w, net = nn.Parameter([1.0, 2.0]), nn.Dropout(0.0)
    class Scale(nn.Module):
        def forward(self, x):
            return net(w * x) * s * self.factor
    module = Scale()
    module.factor = 3.0
    def number():
        nonlocal s
        s = 5.0
    for change in (number, lambda: setattr(module, "factor", 7.0), net.eval):
        s, module.factor = 2.0, 3.0
        net.train()
        step = mgx.compile(lambda x: module(x).square().sum())
        for _ in range(3):
            y = step(mgx.ones(2))
        g, = mgx.autograd.grad(y, [w], create_graph=True)
        assert g.tolist() == [72, 144]
        y = step(mgx.ones(2))
        change()
        with pytest.raises(CaptureError, match="has changed since"):
            mgx.autograd.grad(y, [w], create_graph=True)


def test_writes_before_a_call_runs_once_more():
    w, x = nn.Parameter([1.0, 2.0]), mgx.ones(2)
    for write, error in [(lambda: w.data.mul_(3), GraphError), (lambda: x.add_(1), CaptureError)]:
        step = mgx.compile(lambda x: ((w * w).sum() * 2, (x + 1).sum()))
        for _ in range(3):
            y, z = step(x)
        write()
        with pytest.raises(error):
            mgx.autograd.grad(y, [w], create_graph=True)


def test_second_order_beside_first():
    """The function runs again for the second order, so where both orders meet in one gradient, three terms are added in
    another order: two roundings of their sum."""
    def run(net, k):
        net.zero_grad()
        x = batch(k).requires_grad_()
        y = net(x * 1)
        g, = mgx.autograd.grad(y.sum(), [x], create_graph=True)
        (g.square().sum() + y.sum()).backward()
        return y, g, x.grad
    one, other, compiled = nets()
    for k in range(6):
        (y, g, a), (z, h, b) = run(one, k), run(compiled, k)
        assert bits((y, g)) == bits((z, h))
        for p, q in [(a, b), *[(p.grad, q.grad) for p, q in zip(one.parameters(), other.parameters(), strict=True)]]:
            p, q = p.numpy(), q.numpy()
            assert (abs(p - q) <= 2 * np.finfo("f4").eps * abs(p).max()).all()


def test_gradients_that_depend_on_nothing():
    """Run once more, the function gives gradients a graph where the eager ones have one, and nowhere else."""
    def graphs(compile):
        w, found = parameter(), []
        step = compile(lambda x: (x * w, w.square()))
        for k in range(5):
            for x in (vector(k), vector(k).requires_grad_(), vector(k).requires_grad_() * 2):
                for one, inputs in [(y, [p, x]) for y in step(x) for p in [w]]:
                    for g in mgx.autograd.grad(one.sum(), [p for p in inputs if p.requires_grad], create_graph=True,
                                               allow_unused=True):
                        found.append(None if g is None else (g.requires_grad, g.is_leaf, bits(g)))
        return found
    assert graphs(as_it_is) == graphs(mgx.compile)


def test_second_order_is_refused_where_the_function_has_effects():
    memory, w = mgx.zeros(3), parameter()
    def function(x):
        memory.copy_(x)
        return (w * x).tanh()
    step = mgx.compile(function)
    for k in range(4):
        y = step(vector(k))
    with pytest.raises(CaptureError, match="function of a compiled call once more"):
        mgx.autograd.grad(y.sum(), [w], create_graph=True)
    assert (memory.numpy() == vector(3).numpy()).all()


def test_gradients_of_arguments():
    def run(net, k):
        x = batch(k).requires_grad_()
        z = x * 2
        y = net(z)
        y.square().sum().backward()
        return y, x.grad
    on_both(run)


SEVERAL = """
import numpy as np
import microgradx as mgx
from microgradx import nn
def make():
    w, v = nn.Parameter([1.0, 2.0, 3.0]), nn.Parameter([0.5, 0.25, 2.0])
    def function(x):
        y = (w * x).tanh()
        return {"y": y, "z": (y * v, w[1:]), "detached": y.detach(), "x": x}
    return function, [w, v]
uses = [lambda r: r["y"].sum(), lambda r: r["z"][0].square().sum(), lambda r: (r["y"] * r["z"][0]).sum(),
        lambda r: r["z"][1].sum() + r["y"].sum(), lambda r: r["y"].sum() + r["z"][0].sum() + r["z"][1].square().sum()]
(eager, one), (function, other) = make(), make()
compiled = mgx.compile(function)
for k in range(15):
    x = mgx.randn(3, rng=k)
    for f in eager, compiled:
        result = f(x)
        assert result["x"] is x and result["z"][1].requires_grad and not result["detached"].requires_grad
        uses[k % len(uses)](result).backward()
    for a, b in zip(one, other, strict=True):
        assert (a.grad is None) == (b.grad is None), k
        assert a.grad is None or a.grad.numpy().tobytes() == b.grad.numpy().tobytes(), k
"""


def run_apart(program):
    """In a process of its own, which a fault could end."""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True,
                          cwd=Path(mgx.__file__).parents[1])
    assert done.returncode == 0, done.stderr[-2000:]


def test_several_results():
    run_apart(SEVERAL)


def test_a_backward_pass_for_each_of_several_results():
    w, v = parameter(), parameter()
    def function(w):
        def call(x):
            y = w * x
            return y.exp(), y.tanh()
        return call
    eager, compiled = function(w), mgx.compile(function(v))
    for k in range(5):
        for part in (0, 1):
            a, b = eager(vector(k)), compiled(vector(k))
            a[part].sum().backward()
            b[part].sum().backward()
            assert bits(w.grad) == bits(v.grad), (k, part)


@pytest.mark.parametrize("what", ["parameter", "argument", "data"])
def test_a_write_between_call_and_backward_raises(what):
    w = parameter()
    step = mgx.compile(lambda x: (w * w * x).tanh().sum())
    for k in range(5):
        x = vector(k)
        y = step(x)
        if k == 4:
            with mgx.no_grad():
                (w if what == "parameter" else x if what == "argument" else w.data).mul_(2.0)
            with pytest.raises(GraphError, match="written to since"):
                y.backward()
        else:
            y.backward()


@pytest.mark.parametrize("what", ["parameter", "tensor", "argument"])
@pytest.mark.parametrize("function", [
    lambda x, w, c: (x * w * c * w * x).tanh(), lambda x, w, c: x[0] * w * c, lambda x, w, c: (w * 1.0, x * c),
    lambda x, w, c: ((x + w).tanh(), (w * c).exp()), lambda x, w, c: x @ mgx.outer(w, c)])
def test_other_data_between_call_and_backward(what, function):
    """A tensor is given other data: an error where the eager graph has saved the tensor itself, else the gradient of
    the numbers that the call computed with."""
    for change in range(2, 6):
        found = []
        for compile in (as_it_is, mgx.compile):
            w, c = parameter(), mgx.Tensor([1.0, 2.0, 3.0])
            step, log = compile(lambda x, w=w, c=c: function(x, w, c)), []
            for k in range(7):
                x = mgx.randn(2, 3, rng=k)
                y = step(x)
                if k == change:
                    tensor = {"parameter": w, "tensor": c, "argument": x}[what]
                    tensor.data = tensor.data * 2.0
                for part in y if isinstance(y, tuple) else [y]:
                    try:
                        part.sum().backward()
                    except GraphError:
                        log.append("refused")
                        w.grad = None
                        break
                log.append(bits((y, w)))
            found.append(log)
        assert found[0] == found[1], change


def test_a_result_may_be_written_to():
    """The gradient is that of the numbers that the call computed."""
    w, v = parameter(), parameter()
    compiled = mgx.compile(lambda x: (v * x).tanh())
    for k in range(5):
        (w * vector(k)).tanh().sum().backward()
        y = compiled(vector(k))
        if k > 1:                                       # earlier ones run as they are, and refuse it
            y.data.fill_(7.0)
        y.sum().backward()
        assert bits(w.grad) == bits(v.grad)


def test_results_with_graphs_of_their_own():
    """Each may be walked back from by itself; a second time raises, as eagerly, and so does what another has freed."""
    def function(w, u):
        return lambda x: ((w * x).exp(), u * 1, (w * u).sum())
    pairs = [(parameter(), parameter(scale=2.0)) for _ in range(2)]
    eager, compiled = function(*pairs[0]), mgx.compile(function(*pairs[1]))
    for k in range(5):
        a, b = eager(vector(k)), compiled(vector(k))
        for part in (1, 0, 2):
            a[part].sum().backward()
            b[part].sum().backward()
            assert bits([p.grad for p in pairs[0]]) == bits([p.grad for p in pairs[1]]), (k, part)
        for part in (0, 1, 2):
            for results in (a, b):
                with pytest.raises(GraphError, match="freed"):
                    results[part].sum().backward()


def test_results_whose_graphs_meet():
    def function(w):
        def call(x):
            y = (w * x).exp()
            return y * 2, y.tanh()
        return call
    w, v = parameter(), parameter()
    for call in (function(w), mgx.compile(function(v))):
        for k in range(4):
            one, other = call(vector(k))
            one.sum().backward(retain_graph=True)
            other.sum().backward()
            with pytest.raises(GraphError, match="freed"):
                one.sum().backward()
            one, other = call(vector(k))
            one.sum().backward()
            with pytest.raises(GraphError, match="freed"):
                other.sum().backward()
    assert bits(w.grad) == bits(v.grad)


def test_more_results_than_a_number_has_bits():
    def function(w):
        return lambda x: [w * x * (k + 1) for k in range(70)]
    w, v = parameter(), parameter()
    compiled = mgx.compile(function(v))
    for k in range(4):
        for call, p in ((function(w), w), (compiled, v)):
            p.grad = None
            sum(y.sum() for y in call(vector(k))).backward()
        assert bits(w.grad) == bits(v.grad)


def test_results_that_share_their_memory():
    w, v = parameter(), parameter()
    def function(w):
        def call(x):
            y = w * x
            return y, y[1:], y.reshape(3, 1)
        return call
    eager, compiled = function(w), mgx.compile(function(v))
    for k in range(6):
        a, b = eager(vector(k)), compiled(vector(k))
        assert bits(a) == bits(b)
        (a[k % 3].square().sum() + a[1].sum()).backward()
        (b[k % 3].square().sum() + b[1].sum()).backward()
        assert bits(w.grad) == bits(v.grad), k


def test_explain_between_call_and_backward():
    def run(net, k):
        y = net(batch(k))
        if hasattr(net, "explain"):
            assert "launches" in net.explain() or k < 2
        y.square().sum().backward()
        return y
    on_both(run)


HOST = """
import numpy as np
import microgradx as mgx
from microgradx import nn
function = lambda w, x: {expression}
one, other = (nn.Parameter(np.eye(3, dtype="float32") * 3) for _ in range(2))
compiled = mgx.compile(lambda x: function(other, x))
for k in range(6):
    x = mgx.randn(3, 3, rng=k) * 0.1
    (function(one, x) * function(one, x * 2)).sum().backward()
    (compiled(x) * compiled(x * 2)).sum().backward()
    assert one.grad.numpy().tobytes() == other.grad.numpy().tobytes(), k
"""


@pytest.mark.parametrize("expression", [
    "(w * x).cumsum(0)", "(w * x).cumsum(0).tanh()", "(w + x).sort(0).values", "mgx.linalg.inv(w + x)",
    "mgx.linalg.det(w + x) * x.cumsum(1)"])
def test_launches_on_the_host_in_a_backward_pass(expression):
    run_apart(HOST.replace("{expression}", expression))


def test_compiled_calls_in_several_threads():
    w = parameter(40)
    step = mgx.compile(lambda x: (w * x).exp().tanh())
    for k in range(4):
        step(vector(k, 40))
    wrong = []
    def work(start):
        for k in range(start, start + 200):
            x = vector(k, 40)
            y, expected = step(x), (w * x).exp().tanh()
            g, h = (mgx.autograd.grad(one.sum(), [w])[0] for one in (y, expected))
            if bits([y, g]) != bits([expected, h]):
                wrong.append(k)
    threads = [threading.Thread(target=work, args=(1000 * k,)) for k in range(3)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    assert not wrong


CAPTURING = """
import sys, threading, time, warnings
import microgradx as mgx
from microgradx import nn
warnings.simplefilter("ignore")
sys.setswitchinterval(1e-5)
net = nn.Sequential(nn.Linear(3, 8, rng=0), nn.Tanh(), nn.Linear(8, 3, rng=1))
given = [mgx.randn(n, 3, rng=n) for n in (1, 2, 5)]
expected = [net(x).tanh().numpy() for x in given]
gradients = [mgx.autograd.grad(net(x).tanh().sum(), [net[0].weight])[0].numpy() for x in given]
wrong = []
class Slow:                                 # what is looked at before a capture and a replay lets others run
    __slots__ = ("scale",)
    def __getattribute__(self, name):
        time.sleep(0.0002)
        return object.__getattribute__(self, name)
slow = Slow()
slow.scale = 1.0
for _ in range(10):
    step = mgx.compile(lambda x: net(x).tanh() * slow.scale)
    def work():
        try:
            for k in range(18):
                y = step(given[k % 3])
                g, = mgx.autograd.grad(y.sum(), [net[0].weight])
                if not ((y.numpy() == expected[k % 3]).all() and (g.numpy() == gradients[k % 3]).all()):
                    wrong.append(k)
        except Exception as error:
            wrong.append(error)
    threads = [threading.Thread(target=work) for _ in range(4)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
print(len(wrong), wrong[:3])
"""


def test_captures_in_several_threads():
    """One captures at a time: what others make meanwhile, and let go, is not its own."""
    done = subprocess.run([sys.executable, "-c", CAPTURING], capture_output=True, text=True)
    assert done.returncode == 0 and done.stdout == "0 []\n", done.stdout + done.stderr


def test_checked_calls_have_a_graph():
    def run(net, k):
        y, z = net(batch(k)), net(batch(k + 1))
        (y * z).sum().backward()
        return y, z
    on_both(run, check=True)


def test_a_graph_outlives_its_compiled_function():
    w, v = parameter(), parameter()
    def last():
        step = mgx.compile(lambda x: (w * x).exp())
        return [step(vector(k)) for k in range(4)][-1]
    y = last()
    gc.collect()
    y.sum().backward()
    (v * vector(3)).exp().sum().backward()
    assert bits(w.grad) == bits(v.grad)


def test_calls_that_are_dropped_leave_no_memory():
    _, other, compiled = nets()
    x = batch(0)
    for _ in range(100):
        compiled(x)
    gc.collect()
    before = allocated_bytes()[0]
    for _ in range(10_000):
        compiled(x)
    gc.collect()
    assert allocated_bytes()[0] - before <= 1024


def test_calls_with_and_without_gradients_take_turns():
    def run(net, k):
        with mgx.no_grad():
            a = net(batch(k))
        b = net(batch(k))
        b.sum().backward()
        return a, b, mgx.is_grad_enabled()
    assert len(on_both(run, count=8).programs) == 2


def test_checkpoint_in_the_graph_of_a_result():
    """The second run of the checkpoint, at the capture, leaves statistics and generators as the first one did."""
    found = []
    for compile in (as_it_is, mgx.compile):
        seed()
        net = nn.Sequential(worlds.Own(), nn.Linear(3, 3, rng=0), nn.BatchNorm1d(3), nn.Dropout(0.5))
        counting, ran = counted(lambda x, net=net: mgx.checkpoint(net, x).tanh())
        step, log = compile(counting), []
        for k in range(6):
            y = step(mgx.randn(4, 3, rng=k))
            log.append((bits((y, net)), random_states()))
            y.sum().backward()
            log.append((bits((y, net)), random_states()))
        found.append(log)
    assert found[0] == found[1] and len(ran) <= 2


def test_checkpoint_around_a_compiled_call():
    def run(net, k):
        x = batch(k).requires_grad_()
        y = mgx.autograd.checkpoint(lambda x: net(x) * 2, x)
        y.square().sum().backward()
        return y, x.grad
    on_both(run)


def test_a_compiled_call_inside_a_capture():
    one, other, compiled = nets()
    def step(net):
        def run(x):
            for p in other.parameters() if net is compiled else one.parameters():
                p.grad = None
            y = net(x)
            (y + net(x + 1)).square().sum().backward()
            return y
        return run
    eager, captured = step(one), mgx.compile(step(compiled))
    for k in range(8):
        if k in (1, 5):
            assert bits(one(batch(k))) == bits(compiled(batch(k)))
        assert bits(eager(batch(k))) == bits(captured(batch(k))) and grads(one) == grads(other), k
    assert len(captured.programs) >= 1


def double(x):
    return x * 2


class Holder(nn.Module):
    def __init__(self):
        self.inner = mgx.compile(nn.Linear(3, 2, rng=0))
        self.function = mgx.compile(double)

    def forward(self, x):
        return self.function(self.inner(x))


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda o: pickle.loads(pickle.dumps(o))], ids=["deepcopy", "pickle"])
def test_copies_of_modules_that_hold_compiled_functions(copied):
    net = Holder()
    for k in range(4):
        net(batch(k))
    other = copied(net)
    assert list(other.state_dict()) == list(net.state_dict()) == ["inner.weight", "inner.bias"]
    with mgx.no_grad():
        other.inner.weight.mul_(3.0)
    for k in range(6):
        for one in (net, other):
            expected = F.linear(batch(k), one.inner.weight, one.inner.bias) * 2
            assert bits(one(batch(k))) == bits(expected)
    assert len(other.inner.programs) == 1 == len(other.function.programs)


def test_a_compiled_module_is_the_net():
    one, other, compiled = nets()
    assert isinstance(compiled, nn.Sequential) and list(compiled.state_dict()) == list(other.state_dict())
    assert [*map(id, compiled.parameters())] == [*map(id, other.parameters())]
    compiled.eval()
    assert not other.training and not other[0].training
    o = optim.SGD(compiled.parameters(), lr=0.1), optim.SGD(one.parameters(), lr=0.1)
    one.eval()
    for k in range(6):
        for net, sgd in zip((compiled, one), o, strict=True):
            sgd.zero_grad()
            net(batch(k)).square().sum().backward()
            sgd.step()
        assert bits([*one.parameters()]) == bits([*other.parameters()])


def test_warnings_name_the_line_of_the_call():
    step = mgx.compile(lambda x: x * random.random())
    with pytest.warns(CompileWarning, match="it draws from Python's random") as caught:
        for k in range(3):
            step(vector(k))
    assert [Path(one.filename).name for one in caught] == ["test_capture.py"]


# ----- the page ------------------------------------------------------------------------------------------------------

def rows():
    return [line for line in PAGE.read_text().splitlines() if line.startswith("|") and "`test_" in line]


@pytest.mark.skipif(not PAGE.is_file(), reason="the tests run without the docs")
def test_the_page_names_the_tests_of_its_rows():
    named = [name for line in rows() for name in re.findall(r"`(test_\w+)`", line)]
    here = [name for name in globals() if name.startswith("test_")]
    first_part = here[:here.index("test_what_cannot_be_seen") + 1]
    assert sorted(named) == sorted(first_part)
    assert sum("may run as it is or be refused" in line for line in rows()) <= 8
