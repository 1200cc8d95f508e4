"""What the tests of HIPS autograd import, on Tensors of ours: ``tests/peers/hips.py`` puts it before their package."""
from builtins import dict, isinstance, list, tuple  # noqa: F401, UP029  theirs are boxes, ours are Python's

import numpy as _np

import microgradx as mgx
from microgradx import Tensor


def traced(x):
    """Numbers and arrays as tensors of float64, also within lists, tuples and dicts."""
    if isinstance(x, (list, tuple)):
        return type(x)(map(traced, x))
    if isinstance(x, dict):
        return {key: traced(y) for key, y in x.items()}
    if isinstance(x, Tensor):
        return x
    if _np.iscomplexobj(x):
        raise NotImplementedError("complex numbers")
    x = _np.asarray(x)
    return Tensor(x, dtype=None if x.dtype == _np.float32 else "float64")


def _by(transform):
    def of(fun, argnum=0):
        several = isinstance(argnum, (list, tuple))
        places = tuple(argnum) if several else (argnum,)

        def call(*args, **kwargs):
            def inner(*xs):
                full = list(args)
                for place, x in zip(places, xs):
                    full[place] = x
                return fun(*full, **kwargs)
            return transform(inner, [traced(args[k]) for k in places], several)
        call.__name__ = f"{transform.__name__.strip('_')}_of_{getattr(fun, '__name__', 'it')}"
        return call
    return of


def _grad(f, xs, several):
    found = mgx.grad(f, tuple(range(len(xs))))(*xs)
    return found if several else found[0]


def _value_and_grad(f, xs, several):
    value, found = mgx.value_and_grad(f, tuple(range(len(xs))))(*xs)
    return value, found if several else found[0]


def _elementwise_grad(f, xs, several):
    y, pullback = mgx.vjp(f, *xs)
    found = pullback(mgx.ones_like(y))
    return found if several else found[0]


def _jacobian(f, xs, several):
    return mgx.jacobian(f)(*xs)


def _hessian(f, xs, several):
    return mgx.hessian(f)(*xs)


grad, value_and_grad, elementwise_grad = _by(_grad), _by(_value_and_grad), _by(_elementwise_grad)
jacobian, hessian = _by(_jacobian), _by(_hessian)


def make_vjp(fun, argnum=0):
    def call(*args):
        def inner(x):
            return fun(*args[:argnum], x, *args[argnum + 1:])
        y, pullback = mgx.vjp(inner, traced(args[argnum]))
        return (lambda g: pullback(traced(g))[0]), y
    return call


def make_jvp(fun, argnum=0):
    def call(*args):
        def inner(x):
            return fun(*args[:argnum], x, *args[argnum + 1:])
        return lambda v: mgx.jvp(inner, (traced(args[argnum]),), (traced(v),))
    return call


def make_hvp(fun, argnum=0):
    def call(*args):
        def inner(x):
            return fun(*args[:argnum], x, *args[argnum + 1:])
        return (lambda v: mgx.hvp(inner, (traced(args[argnum]),), (traced(v),))[0]), None
    return call


def tensor_jacobian_product(fun, argnum=0):
    def call(*args):
        *args, vector = args
        return make_vjp(fun, argnum)(*args)[0](vector)
    return call


vector_jacobian_product = tensor_jacobian_product
deriv = grad


def holomorphic_grad(*args):
    raise NotImplementedError("complex numbers")
