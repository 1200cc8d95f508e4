"""Capture: a function's launches, written down at one call and replayed in C at every later one."""
from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar, overload

from microgradx._core.capture.compiled import Compiled
from microgradx._core.capture.passes import PASSES
from microgradx._core.capture.program import Program
from microgradx.errors import DTypeError, OptionError
from microgradx.names import make_public
from microgradx.random import generator

__all__ = ["compile"]

P = ParamSpec("P")
Q = ParamSpec("Q")
S = TypeVar("S")
R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)


class CompiledFunction(Protocol[P, R_co]):
    """What ``compile`` makes of a function, for type checkers: it is called as the function is."""

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R_co: ...
    @overload
    def __get__(self, instance: None, owner: Any) -> CompiledFunction[P, R_co]: ...
    @overload
    def __get__(self: CompiledFunction[Concatenate[S, Q], R], instance: S, owner: Any) -> CompiledFunction[Q, R]: ...
    def explain(self) -> str: ...
    @property
    def programs(self) -> list[Program]: ...


class Compilable(Protocol):
    """A module: compiled it is what it was."""

    def __compiled__(self, compiled: Any) -> Any: ...


M = TypeVar("M", bound=Compilable)


@overload
def compile(function: M, *, passes: Iterable[str] = ..., check: bool = ..., cache_size: int = ...) -> M: ...
@overload
def compile(function: Callable[P, R], *, passes: Iterable[str] = ..., check: bool = ...,
            cache_size: int = ...) -> CompiledFunction[P, R]: ...
@overload
def compile(function: None = None, *, passes: Iterable[str] = ..., check: bool = ...,
            cache_size: int = ...) -> Callable[[Callable[P, R]], CompiledFunction[P, R]]: ...
def compile(function: Any = None, *, passes: Iterable[str] = PASSES, check: bool = False, cache_size: int = 16) -> Any:
    """``function``, faster: its launches are written down once and then run again without Python.

    For a function of tensors, arrays, numbers and nested containers of them: a net's forward pass, forward and
    backward, or a whole training step with the optimizer's update; for a method; for a module, ``mgx.compile(net)``,
    which is the net: it shares parameters, modes, attributes and hooks with it, and only calls are replayed. The first
    call with arguments of some shapes and dtypes runs as it is, the second is captured, later ones are replays, equal
    to the last bit. Parameters, gradients, buffers and optimizer state are shared with other code.

    What a call returns is new at every call. It has the graph that it would have: one node, whose backward pass was
    captured too and gives parameters and arguments their gradients. Each call leaves its own numbers for it, so several
    calls may come before one ``backward``, and a write to a parameter in between raises ``GraphError``.

    Floats among the arguments may change from call to call, and are as weak next to tensors as ever. Where one decides
    something that no launch can (``if rate > 0``, ``math.sqrt(rate)``, ``group["lr"] = rate``), and for integers,
    strings and flags, another value is captured again; an optimizer's rate is better set between the calls. Gradients
    left in ``.grad`` are memory that the next replay writes to: ``clone()`` what is kept.

    What else a call depends on (modes, attributes, options, hooks, which leaves have gradients, variables of enclosing
    functions) is noted while it is captured: if it changes, the call is captured again. The ``cache_size`` captured
    calls that were used last are kept. What a replay would not repeat runs as it is, without error: async and generator
    functions, functions that read numbers of a tensor (``item``, ``if``, a mask as an index), that assign another array
    to ``.data`` or change a list or dict among their arguments, arguments of which it cannot be told whether they have
    changed, Python's ``random``, arguments that share memory that is written, a call while the same one runs in another
    thread. ``CompileWarning`` says so where it concerns every call, with the line that reads a number, and where
    captures are wasted since something is another at each call; ``explain()`` tells what was captured, what it depends
    on, and why calls ran as they are. docs/capture.md has the whole list.

    With ``check=True`` every replay is followed by the call as it is, from the same arguments, parameters, gradients,
    buffers, optimizer state and generators of random numbers; what the second leaves behind stays. ``CaptureError``
    names the result, argument, gradient or state that differs in a bit, and by how much; of functions of Values, the
    result. Not seen is what the call writes and the program does not.

    A function that makes Values is recorded while it runs as it is, at the first call or, with floats among the
    arguments, the second one. A replay gives the numbers and, by ``backward``, the gradients of the call as it is; its
    result is one node over what it was made from, or where that would change an order of sums the same nodes again.
    Variables of the function's closure, the globals that it names, and lists, dicts and objects in these are compared
    at every call; not seen is what built-in functions and installed libraries keep, and what is printed. A function
    that reads or writes ``data`` or ``grad``, calls ``backward``, draws random numbers or changes what it can reach
    runs as it is, always; ``explain()`` says why.

    >>> import microgradx as mgx
    >>> from microgradx import nn, optim
    >>> net = nn.Sequential(nn.Linear(2, 3, rng=0), nn.Tanh(), nn.Linear(3, 1, rng=1))
    >>> sgd = optim.SGD(net.parameters(), lr=0.1)
    >>> @mgx.compile
    ... def step(x, y):
    ...     sgd.zero_grad()
    ...     loss = nn.functional.mse_loss(net(x), y)
    ...     loss.backward()
    ...     sgd.step()
    ...     return loss
    >>> x, y = mgx.Tensor([[0.0, 1.0], [1.0, 0.0]]), mgx.Tensor([[1.0], [-1.0]])
    >>> losses = [step(x, y).item() for _ in range(50)]
    >>> losses[-1] < 0.1 * losses[0]
    True
    """
    if function is None:
        return functools.partial(compile, passes=passes, check=check, cache_size=cache_size)
    if not callable(function):
        raise DTypeError(f"compile: a function, not {type(function).__name__}")
    unknown = set(passes) - set(PASSES)
    if unknown:
        raise OptionError(f"compile: no pass is called {sorted(unknown)}; there are {sorted(PASSES)}")
    if not isinstance(cache_size, int) or cache_size < 1:
        raise OptionError(f"compile: cache_size is an integer >= 1, not {cache_size!r}")
    compiled = Compiled(function, set(passes), generator if check else None, cache_size)
    return function.__compiled__(compiled) if hasattr(function, "__compiled__") else \
        functools.update_wrapper(compiled, function)


make_public(__name__)
