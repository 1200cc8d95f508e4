"""What ``mgx.compile`` buys: the five training steps of ``bench_train``, replayed, against their floor in C and peers.

Besides the steps: a capture against eager steps (how many of them it costs), captures by their number of launches, the
most memory that eager and captured training have, one replay of one small addition called from Python, with more and
more variables whose values it compares, and ten elementwise operations in one pass against a copy.
"""
import functools

import numpy as np

from bench.bench_train import CONTENDERS, NETS, STEPS, checked, eager
from bench.common import Row


def by_replay(net):
    """Ours, compiled: STEPS steps of ``checked`` capture it and compare it with the oracle."""
    import microgradx as mgx
    step, params = eager(net, mgx, mgx.nn.functional, mgx.Tensor)
    return mgx.compile(step), params


def by_capture(net):
    """Ours, compiled again each time."""
    import microgradx as mgx
    step, params = eager(net, mgx, mgx.nn.functional, mgx.Tensor)
    return first_two_calls(mgx, step), params


def first_two_calls(mgx, step):
    """``step``, compiled and captured: an eager call and a capture each time."""
    def both():
        compiled = mgx.compile(step)
        compiled()
        return compiled()
    return both


def long_program(backward, captured, launches=100_000):
    """Launches over 100 elements: a chain of * and +, or tanh after tanh and its backward pass."""
    import microgradx as mgx
    x, w = mgx.ones(100), mgx.ones(100, requires_grad=True)

    def chain():
        y = x
        for _ in range(launches // 2):
            y = y * 0.999 + 0.001
        return y

    def tanhs():
        w.grad = None
        y = w * x
        for _ in range(launches // 2):
            y = y.tanh()
        y.sum().backward()
        return w.grad
    run = tanhs if backward else chain
    return first_two_calls(mgx, run) if captured else run


def most_bytes(net, captured):
    """The most bytes that arrays take during STEPS steps, the capture among them."""
    import microgradx as mgx
    from microgradx._core.array import allocated_bytes

    def run():
        step, _ = eager(net, mgx, mgx.nn.functional, mgx.Tensor)
        step = mgx.compile(step) if captured else step
        step()
        allocated_bytes(True)
        for _ in range(STEPS):
            step()
        return allocated_bytes()[1]
    return run


def guarded_addition(variables):
    """a + b of four elements, replayed, in a function that names so many variables around it, whose values a call
    compares."""
    import microgradx as mgx
    names = [f"v{k}" for k in range(variables)]
    source = "\n".join([*(f"{name} = {k}" for k, name in enumerate(names)), "def add(a, b):", "    if a is None:",
                        f"        return [{', '.join(names)}]", "    return a + b"])
    space = {}
    exec(source, space)
    a, b, add = mgx.ones(4), mgx.ones(4), mgx.compile(space["add"])
    return lambda: add(a, b)


def addition(compiled):
    """a + b of four elements."""
    import microgradx as mgx
    a, b = mgx.ones(4), mgx.ones(4)
    add = mgx.compile(lambda a, b: a + b) if compiled else lambda a, b: a + b
    return lambda: add(a, b)


def addition_by_torch():
    import torch
    a, b = torch.ones(4), torch.ones(4)
    return lambda: a + b


def addition_by_jax():
    import jax
    a, b = np.ones(4, np.float32), np.ones(4, np.float32)
    a, b, add = jax.numpy.asarray(a), jax.numpy.asarray(b), jax.jit(lambda a, b: a + b)
    return lambda: add(a, b).block_until_ready()


def ten(x):
    """Ten operations of + and *."""
    for _ in range(5):
        x = x * 1.01 + 0.5
    return x


def numbers(size=10_000_000):
    return np.random.default_rng(0).random(size, np.float32)


def ten_by_replay(fused):
    import microgradx as mgx
    passes = {"constants", "dead", "reuse"} | ({"fuse"} if fused else set())
    run, x = mgx.compile(ten, passes=passes), mgx.from_numpy(numbers())
    return lambda: run(x)


def ten_by_numpy():
    x = numbers()
    out = np.empty_like(x)

    def run():
        np.multiply(x, np.float32(1.01), out=out)
        np.add(out, np.float32(0.5), out=out)
        for _ in range(4):
            np.multiply(out, np.float32(1.01), out=out)
            np.add(out, np.float32(0.5), out=out)
        return out
    return run


def a_copy():
    x = numbers()
    out = np.empty_like(x)

    def run():
        np.copyto(out, x)
        return out
    return run


def ten_by_jax():
    import jax
    run, x = jax.jit(ten), jax.numpy.asarray(numbers())
    return lambda: run(x).block_until_ready()


def rows(quick):
    for net in NETS:
        build = {"microgradx replayed": by_replay, "microgradx eager": CONTENDERS["microgradx"],
                 **{name: CONTENDERS[name] for name in ("c", "torch", "jax")}}
        yield Row(net.name, {name: functools.partial(checked, net, make) for name, make in build.items()})
    for net in NETS:
        yield Row(f"first two calls of {net.name}", {
            "microgradx eager": functools.partial(checked, net, CONTENDERS["microgradx"]),
            "microgradx captured": functools.partial(checked, net, by_capture, steps=2)})
    for name, backward in (("chain", False), ("tanh, forward and backward", True)):
        yield Row(f"first two calls of 10^5 launches, {name}", {
            "microgradx eager": functools.partial(long_program, backward, False),
            "microgradx captured": functools.partial(long_program, backward, True)})
    for power in (3, 4) if quick else (3, 4, 6):
        yield Row(f"first two calls of 10^{power} launches, chain", {
            "microgradx eager": functools.partial(long_program, False, False, 10 ** power),
            "microgradx captured": functools.partial(long_program, False, True, 10 ** power)})
    for net in NETS:
        yield Row(f"most memory of {net.name}", {
            "microgradx captured": functools.partial(most_bytes, net, True),
            "microgradx eager": functools.partial(most_bytes, net, False)}, quantity="bytes", rtol=None)
    yield Row("a + b replayed, by the number of variables compared", {
        f"microgradx {count}": functools.partial(guarded_addition, count) for count in (0, 1, 5, 20, 100)})
    yield Row("a + b of 4 elements from Python", {
        "microgradx replayed": functools.partial(addition, True),
        "microgradx eager": functools.partial(addition, False),
        "torch": addition_by_torch, "jax": addition_by_jax})
    yield Row("10 operations of + and * over 10^7", {
        "microgradx replayed": functools.partial(ten_by_replay, True), "numpy copy": a_copy,
        "numpy out=": ten_by_numpy, "microgradx unfused": functools.partial(ten_by_replay, False), "jax": ten_by_jax},
              rtol=None)                        # a copy computes nothing
