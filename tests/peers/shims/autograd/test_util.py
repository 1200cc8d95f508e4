"""Checks by differences, with the names and the tolerance of HIPS autograd."""
import itertools

import numpy as np
from autograd import traced

import microgradx as mgx
from microgradx import Tensor
from microgradx._core.trees import flatten, unflatten

EPS, NEAR = 1e-6, 1e-6
RNG = np.random.default_rng(0)


class WrongNumber(AssertionError):
    """A value or derivative that differs from what differences say."""


def leaves(x):
    if isinstance(x, dict):
        return [y for key in sorted(x) for y in leaves(x[key])]
    return [z for y in x for z in leaves(y)] if isinstance(x, (list, tuple)) else [x]


def number(y):
    return y.detach().numpy() if isinstance(y, Tensor) else np.asarray(y)


def close(a, b):
    return abs(a - b) < NEAR or abs(a - b) / abs(a + b) < NEAR


scalar_close = close


def check(f, xs, modes, order):
    """The derivatives of ``f`` by all of ``xs``, tensors."""
    ts = [x.detach().clone().requires_grad_() for x in xs]
    ys = leaves(f(*ts))
    if any(np.iscomplexobj(number(y)) for y in ys):
        raise NotImplementedError("complex numbers")
    us, vs = [RNG.normal(size=x.shape) for x in xs], [RNG.normal(size=number(y).shape) for y in ys]

    def moved(step):
        with mgx.no_grad():
            return [number(y) for y in leaves(f(*(x.detach() + step * u for x, u in zip(xs, us))))]

    difference = [(up - down) / EPS for up, down in zip(moved(EPS / 2), moved(-EPS / 2))]
    numeric = sum(float((d * v).sum()) for d, v in zip(difference, vs))
    total = sum(((y * Tensor(v)).sum() for y, v in zip(ys, vs) if isinstance(y, Tensor) and y.requires_grad),
                Tensor(0.0, dtype="float64"))
    found = mgx.autograd.grad(total, ts, allow_unused=True) if total.requires_grad else [None] * len(ts)
    exact = sum(float((number(g) * u).sum()) for g, u in zip(found, us) if g is not None)
    if not close(exact, numeric):
        raise WrongNumber(f"reverse, order {order} to go: {exact}, by differences {numeric}")
    if "fwd" in modes and all(isinstance(y, Tensor) for y in ys):
        _, forward = mgx.jvp(lambda *x: leaves(f(*x)), tuple(xs), tuple(map(Tensor, us)))
        exact = sum(float((number(d) * v).sum()) for d, v in zip(leaves(forward), vs))
        if not close(exact, numeric):
            raise WrongNumber(f"forward, order {order} to go: {exact}, by differences {numeric}")
    if order > 1 and total.requires_grad:
        def slope(*xs):
            xs = [x if x.requires_grad else x.clone().requires_grad_() for x in xs]
            with mgx.enable_grad():
                ys = leaves(f(*xs))
                total = sum((y * Tensor(v)).sum() for y, v in zip(ys, vs) if isinstance(y, Tensor) and y.requires_grad)
                found = mgx.autograd.grad(total, xs, create_graph=True, allow_unused=True)
            return [g for g in found if g is not None]
        check(slope, xs, modes, order - 1)


def check_grads(fun, argnum=0, modes=("fwd", "rev"), order=2):
    places = argnum if isinstance(argnum, (list, tuple)) else (argnum,)

    def call(*args, **kwargs):
        flat, structure = flatten([traced(args[k]) for k in places])

        def inner(*xs):
            full = list(args)
            for place, x in zip(places, unflatten(structure, iter(xs))):
                full[place] = x
            return fun(*full, **kwargs)
        check(inner, flat, modes, order)
    return call


def combo_check(fun, *options, **named):
    def call(*args, **kwargs):
        for values in itertools.product(*args):
            for chosen in itertools.product(*kwargs.values()):
                if not any(np.iscomplexobj(x) for x in leaves(list(values))):       # we have real numbers only
                    check_grads(fun, *options, **named)(*values, **dict(zip(kwargs, chosen)))
    return call


def check_vjp(f, x):
    check_grads(f, modes=["rev"], order=1)(x)


def check_jvp(f, x):
    check_grads(f, order=1)(x)


def check_equivalent(x, y):
    for a, b in zip(leaves(x), leaves(y), strict=True):
        if not np.allclose(number(a), number(b), 1e-5, 1e-5):
            raise WrongNumber(f"{a}, not {b}")
