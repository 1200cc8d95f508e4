"""Functions of functions: ``grad``, ``vjp``, ``jvp``, ``jacobian``, ``hessian``, ``hvp``, ``vmap``, after JAX.

They take a function of Tensors and give one. Arguments and results may be lists, tuples and dicts of Tensors, nested;
gradients come in the nesting of the argument. They compose in any order, work inside ``no_grad``, and change nobody's
``grad``. Where something else that the function reads requires a gradient, a parameter, say, the results have one too;
otherwise they have no graph. Each argument stands for itself: what the function reads from outside is a constant to it,
the same tensor included.

>>> import microgradx as mgx
>>> third = mgx.grad(mgx.grad(mgx.grad(lambda x: x ** 4)))
>>> third(2.0)
Tensor(48.)
"""
from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import wraps
from typing import Any, Concatenate, ParamSpec, TypeVar, overload

import numpy as np

from microgradx._core.generator import Drawn
from microgradx._core.graph import enable_grad, is_grad_enabled
from microgradx._core.tensor import Tensor, stack
from microgradx._core.trace import follow, gradients, sources, traced
from microgradx._core.trees import flatten, leaves_of, unflatten
from microgradx._core.value import Value
from microgradx._core.views import axis_of
from microgradx.errors import DTypeError, OptionError, ShapeError, described
from microgradx.names import make_public
from microgradx.random import generator, get_rng_state, set_rng_state
from microgradx.typing import Function

__all__ = ["grad", "hessian", "hvp", "jacobian", "jvp", "value_and_grad", "vjp", "vmap"]

P = ParamSpec("P")
X = TypeVar("X")


def floating(op: str, x: Any, what: str) -> Tensor:
    """``x`` as a float Tensor; ``what`` it is, for the message."""
    if isinstance(x, Value):
        raise DTypeError(f"{op}: {what} is a Value, which has first derivatives only: call backward() on the result "
                         "and read grad, or use Tensors")
    if isinstance(x, (float, np.floating, np.ndarray)):
        x = Tensor(x)
    if not isinstance(x, Tensor) or x.dtype.kind != "f":
        found = x.dtype if isinstance(x, Tensor) else repr(x) if isinstance(x, (int, str)) else described(x)
        raise DTypeError(f"{op}: {what} is a float Tensor, not {found}")
    return x


def _zeros(x: Tensor) -> Tensor:
    return Tensor(np.zeros(x.shape, x.dtype))


def _units(x: Tensor) -> Iterator[Tensor]:
    """For each element of ``x`` a tensor of its shape that is 1 there and 0 elsewhere."""
    for k in range(x.size):
        unit = np.zeros(x.size, x.dtype)
        unit[k] = 1
        yield Tensor(unit.reshape(x.shape))


class Pass:
    """One run of ``fn`` with the arguments ``argnums`` traced, and the ways to go through its graph. ``chosen`` and
    ``value`` are the structures of these arguments and of what ``fn`` returned."""

    def __init__(self, op: str, fn: Function, args: Sequence[Any], kwargs: Mapping[str, Any], argnums: Sequence[int],
                 has_aux: bool = False) -> None:
        if not all(isinstance(k, int) and -len(args) <= k < len(args) for k in argnums):
            raise OptionError(f"{op}: argnums {argnums} of a call with {len(args)} positional arguments")
        self.op, args = op, list(args)
        leaves, self.chosen = flatten(tuple(args[k] for k in argnums))
        self.inputs = [traced(floating(op, x, "an argument")) for x in leaves]
        for k, part in zip(argnums, unflatten(self.chosen, iter(self.inputs)), strict=True):
            args[k] = part
        follow(self.inputs, True)
        try:
            with enable_grad():
                value = fn(*args, **kwargs)
        finally:
            follow(self.inputs, False)
        aux = None
        if has_aux:
            if not isinstance(value, tuple) or len(value) != 2:
                raise DTypeError(f"{op}: with has_aux the function returns (result, other things), not {value!r}")
            value, aux = value
        self.kind, (leaves, self.value), self.aux = type(value), flatten(value), flatten(aux)
        self.outputs = [floating(op, y, "what the function returns") for y in leaves]
        self.open = is_grad_enabled() and bool(sources(self.outputs, self.inputs))     # to derivatives from outside

    def result(self) -> Any:
        """What ``fn`` returned, with a graph if it leads anywhere."""
        return unflatten(self.value, map(self.released, self.outputs))

    def others(self) -> Any:
        """The other things that ``fn`` returned."""
        leaves, structure = self.aux
        return unflatten(structure, map(self.released, leaves))

    def released(self, y: Any) -> Any:
        return y.detach() if isinstance(y, Tensor) and y.requires_grad and not self.open else y

    def pull(self, cotangents: Iterable[Tensor | None], retain_graph: bool = True) -> list[Tensor]:
        """Gradients of the inputs from those of the outputs, of which None is 0."""
        live = [(y, g) for y, g in zip(self.outputs, cotangents, strict=True) if y.requires_grad and g is not None]
        record = is_grad_enabled() and (self.open or any(g.requires_grad for _, g in live))
        found = gradients(self.op, [y for y, _ in live], self.inputs, [g for _, g in live], retain_graph, record)
        return [_zeros(x) if g is None else g for g, x in zip(found, self.inputs, strict=True)]

    def pusher(self) -> Callable[[Iterable[Tensor | None]], list[Tensor]]:
        """A function that carries tangents of the inputs to the outputs.

        The pullback is linear in the cotangents, so its own pullback is the forward mode.
        """
        live = [y for y in self.outputs if y.requires_grad]
        seeds = [traced(_zeros(y)) for y in live]
        follow(seeds, True)
        try:
            with enable_grad():
                pulled = gradients(self.op, live, self.inputs, seeds, True, True)
        finally:
            follow(seeds, False)

        def push(tangents: Iterable[Tensor | None]) -> list[Tensor]:
            pairs = [(g, t) for g, t in zip(pulled, tangents, strict=True) if g is not None and g.requires_grad
                     and t is not None]
            record = is_grad_enabled() and (self.open or any(t.requires_grad for _, t in pairs))
            found = iter(gradients(self.op, [g for g, _ in pairs], seeds, [t for _, t in pairs], True, record))
            pushed = [next(found) if y.requires_grad else None for y in self.outputs]
            return [_zeros(y) if t is None else t for t, y in zip(pushed, self.outputs, strict=True)]
        return push

    def fitting(self, tree: Any, tensors: list[Tensor], what: str) -> list[Tensor]:
        """The leaves of ``tree``, one in the shape of each of ``tensors``."""
        leaves = leaves_of(tree)
        if len(leaves) != len(tensors):
            raise ShapeError(f"{self.op}: {len(leaves)} {what}s for {len(tensors)} tensors")
        leaves = [floating(self.op, leaf, f"a {what}") for leaf in leaves]
        for leaf, x in zip(leaves, tensors, strict=True):
            if leaf.shape != x.shape:
                raise ShapeError(f"{self.op}: a {what} of shape {leaf.shape} for a tensor of shape {x.shape}")
        return [leaf.astype(x.dtype) for leaf, x in zip(leaves, tensors, strict=True)]


def _numbers(op: str, argnums: int | tuple[int, ...]) -> tuple[tuple[int, ...], Function]:
    """``argnums`` as a tuple, and how its results are returned."""
    if isinstance(argnums, (tuple, list)):
        return tuple(argnums), tuple
    if isinstance(argnums, bool) or not isinstance(argnums, int):
        raise OptionError(f"{op}: argnums is an int or a tuple of them, not {argnums!r}")
    return (argnums,), lambda parts: parts[0]


@overload
def value_and_grad(fn: Callable[Concatenate[X, P], Tensor]) -> Callable[Concatenate[X, P], tuple[Tensor, X]]: ...
@overload
def value_and_grad(fn: Callable[P, Any], argnums: int | tuple[int, ...] = 0,
                   has_aux: bool = False) -> Callable[P, tuple[Any, Any]]: ...
def value_and_grad(fn: Function, argnums: int | tuple[int, ...] = 0, has_aux: bool = False) -> Function:
    """A function that returns (value, gradient) of ``fn``, which returns a single number.

    ``argnums`` names the positional argument, or a tuple of them, for a tuple of gradients. With ``has_aux`` ``fn``
    returns (number, other things), and the result is ((value, other things), gradient).

    >>> import microgradx as mgx
    >>> mgx.value_and_grad(lambda w, x: (w * x).sum(), argnums=(0, 1))(mgx.Tensor([2.0]), mgx.Tensor([3.0]))
    (Tensor(6.), (Tensor([3.]), Tensor([2.])))
    """
    numbers, packed = _numbers("grad", argnums)

    @wraps(fn)
    def both(*args: Any, **kwargs: Any) -> Any:
        run = Pass("grad", fn, args, kwargs, numbers, has_aux)
        if run.kind is not Tensor or run.outputs[0].size != 1:
            shown = f"shape {run.outputs[0].shape}" if run.kind is Tensor else run.kind.__name__
            raise ShapeError(f"grad: of a function that returns a single number, not {shown}; see vjp and jacobian")
        value, aux = run.result(), run.others() if has_aux else None
        found = run.pull([Tensor(np.ones(value.shape, value.dtype))], retain_graph=False)
        slopes = packed(unflatten(run.chosen, iter(found)))
        return ((value, aux), slopes) if has_aux else (value, slopes)
    return both


@overload
def grad(fn: Callable[Concatenate[X, P], Tensor]) -> Callable[Concatenate[X, P], X]: ...
@overload
def grad(fn: Callable[P, Tensor], argnums: int) -> Callable[P, Any]: ...
@overload
def grad(fn: Callable[P, Tensor], argnums: tuple[int, ...]) -> Callable[P, tuple[Any, ...]]: ...
@overload
def grad(fn: Callable[P, Any], argnums: int | tuple[int, ...] = 0, *,
         has_aux: bool) -> Callable[P, tuple[Any, Any]]: ...
def grad(fn: Function, argnums: int | tuple[int, ...] = 0, has_aux: bool = False) -> Function:
    """A function that returns the gradient of ``fn``, which returns a single number.

    ``argnums`` and ``has_aux`` as in ``value_and_grad``; with ``has_aux`` the result is (gradient, other things).
    Raises ``ShapeError`` if ``fn`` returns more than a number, ``DTypeError`` for arguments that are not floats.

    >>> import microgradx as mgx
    >>> mgx.grad(lambda net: (net["w"] * 3.0 + net["b"]).sum())({"w": mgx.Tensor([1.0, 2.0]), "b": mgx.Tensor(0.5)})
    {'w': Tensor([3., 3.]), 'b': Tensor(2.)}
    """
    both = value_and_grad(fn, argnums, has_aux)

    @wraps(fn)
    def gradient(*args: Any, **kwargs: Any) -> Any:
        value, slopes = both(*args, **kwargs)
        return (slopes, value[1]) if has_aux else slopes
    return gradient


def vjp(fn: Function, *primals: Any, has_aux: bool = False) -> tuple[Any, ...]:
    """(value, pullback): ``pullback(v)`` gives v^T J, a tuple with one gradient per primal.

    ``v`` has the nesting and the shapes of the value. The pullback may be called again and again. With ``has_aux``:
    (value, pullback, other things).

    >>> import microgradx as mgx
    >>> value, pullback = mgx.vjp(lambda x: x * x, mgx.Tensor([1.0, 2.0]))
    >>> pullback(mgx.Tensor([10.0, 1.0]))
    (Tensor([20.,  4.]),)
    """
    run = Pass("vjp", fn, primals, {}, range(len(primals)), has_aux)

    def pullback(cotangent: Any) -> Any:
        found = run.pull(run.fitting(cotangent, run.outputs, "cotangent"))
        return unflatten(run.chosen, iter(found))
    return (run.result(), pullback, run.others()) if has_aux else (run.result(), pullback)


def jvp(fn: Function, primals: Any, tangents: Any) -> tuple[Any, ...]:
    """(value, J v): forward mode, the vjp of the vjp. ``tangents`` is nested as ``primals``, a tuple.

    >>> import microgradx as mgx
    >>> mgx.jvp(lambda x: x * x, (mgx.Tensor([1.0, 2.0]),), (mgx.Tensor([10.0, 1.0]),))
    (Tensor([1., 4.]), Tensor([20.,  4.]))
    """
    run = Pass("jvp", fn, tuple(primals), {}, range(len(primals)))
    pushed = run.pusher()(run.fitting(tuple(tangents), run.inputs, "tangent"))
    return run.result(), unflatten(run.value, iter(pushed))


def jacobian(fn: Function, argnums: int | tuple[int, ...] = 0, mode: str = "reverse") -> Function:
    """A function that returns the Jacobian of ``fn``: all derivatives, of shape (\\*value, \\*argument).

    For nested values and arguments it is the nesting of the value, with that of the argument in each place.
    ``mode="reverse"`` takes one pass per element of the value, ``"forward"`` one per element of the argument.

    >>> import microgradx as mgx
    >>> mgx.jacobian(lambda x: x.outer(x).sum(0))(mgx.Tensor([1.0, 2.0]))
    Tensor([[4., 1.],
            [2., 5.]])
    """
    numbers, packed = _numbers("jacobian", argnums)
    if mode not in ("reverse", "forward"):
        raise OptionError(f"jacobian: mode is 'reverse' or 'forward', not {mode!r}")

    @wraps(fn)
    def derivative(*args: Any, **kwargs: Any) -> Any:
        run = Pass("jacobian", fn, args, kwargs, numbers)
        rows = (_by_rows if mode == "reverse" else _by_columns)(run)
        return unflatten(run.value, (packed(unflatten(run.chosen, iter(row))) for row in rows))
    return derivative


def _joined(parts: list[Tensor], axis: int, y: Tensor, x: Tensor) -> Tensor:
    """Rows or columns as the block of the Jacobian for ``y`` and ``x``."""
    shape = y.shape + x.shape
    if not parts:
        return Tensor(np.zeros(shape, x.dtype))
    return stack([part.reshape(-1) for part in parts], axis).reshape(shape)


def _by_rows(run: Pass) -> Iterator[list[Tensor]]:
    for k, y in enumerate(run.outputs):
        rows = [run.pull([unit if k == other else None for other in range(len(run.outputs))]) for unit in _units(y)]
        yield [_joined([row[i] for row in rows], 0, y, x) for i, x in enumerate(run.inputs)]


def _by_columns(run: Pass) -> Iterator[tuple[Tensor, ...]]:
    push, blocks = run.pusher(), []
    for i, x in enumerate(run.inputs):
        columns = [push([unit if i == other else None for other in range(len(run.inputs))]) for unit in _units(x)]
        blocks.append([_joined([column[k] for column in columns], -1, y, x) for k, y in enumerate(run.outputs)])
    return zip(*blocks, strict=True)


def hessian(fn: Function, argnums: int | tuple[int, ...] = 0) -> Function:
    """A function that returns all second derivatives of ``fn``, which returns a single number: the Jacobian of its
    gradient.

    >>> import microgradx as mgx
    >>> mgx.hessian(lambda x: x[0] ** 2 * x[1])(mgx.Tensor([1.0, 2.0]))
    Tensor([[4., 2.],
            [2., 0.]])
    """
    return jacobian(grad(fn, argnums), argnums)


def hvp(fn: Function, primals: Any, tangents: Any) -> Any:
    """H v, a tuple with one part per primal, in about the time of two gradients; H is never made.

    It is the pullback of the gradient, for H is symmetric (Pearlmutter, 1994, computes the same forwards).

    >>> import microgradx as mgx
    >>> mgx.hvp(lambda x: (x ** 3).sum(), (mgx.Tensor([1.0, 2.0]),), (mgx.Tensor([1.0, 0.5]),))
    (Tensor([6., 6.]),)
    """
    return vjp(grad(fn, tuple(range(len(primals)))), *primals)[1](tuple(tangents))


# ----- over a batch ----------------------------------------------------------------------------------------------

def vmap(fn: Function, in_axes: Any = 0, out_axes: Any = 0, *, randomness: str = "error") -> Function:
    """A function that does for each sample of a batch what ``fn`` does for one, and stacks what it returns.

    ``in_axes`` says along which axis of an argument the samples are: a number, or None for an argument that all of
    them share; one for all arguments, a tuple with one for each, or nested as these are. ``out_axes`` is where the
    samples are in the results. ``randomness`` is what random numbers the samples get: "different" ones, the "same",
    or "error", which refuses them. ``fn`` runs once for each sample, so the time is that of a loop.

    Raises ``ShapeError`` for batches of different lengths and for none, ``OptionError`` for axes that do not belong to
    the arguments. Source of the semantics: ``jax.vmap``, ``torch.func.vmap``.

    >>> import microgradx as mgx
    >>> mgx.vmap(lambda x, y: (x * y).sum(), in_axes=(0, None))(mgx.Tensor([[1, 2], [3, 4]]), mgx.Tensor([10, 1]))
    Tensor([12., 34.])
    """
    if randomness not in ("error", "different", "same"):
        raise OptionError(f"vmap: randomness is 'error', 'different' or 'same', not {randomness!r}")

    @wraps(fn)
    def batched(*args: Any, **kwargs: Any) -> Any:
        leaves, structure = flatten(args)
        axes = _axes_of_leaves("in_axes", in_axes, args)
        along = [None if axis is None else _axis_of_batch(leaf, axis) for leaf, axis in zip(leaves, axes, strict=True)]
        lengths = {leaf.shape[d] for leaf, d in zip(leaves, along) if d is not None}
        if len(lengths) != 1:
            raise ShapeError(f"vmap: the arguments have batches of {sorted(lengths)} samples" if lengths else
                             f"vmap: no argument has a batch: in_axes is {in_axes!r}")
        before, results = get_rng_state(), []
        for k in range(*lengths):
            if randomness == "same":
                set_rng_state(before)
            sample = (leaf if d is None else leaf[(slice(None),) * d + (k,)] for leaf, d in zip(leaves, along))
            with Drawn() as drawn:
                results.append(flatten(fn(*unflatten(structure, sample), **kwargs)))
            if randomness == "error" and drawn.has_drawn(generator()):
                raise OptionError("vmap: the function draws random numbers; randomness='different' or 'same' says "
                                  "which ones the samples get")
        if not results:
            raise ShapeError("vmap: a batch of 0 samples tells nothing of the results")
        form = results[0][1]
        columns = list(zip(*(found for found, _ in results)))
        places = _axes_of_leaves("out_axes", out_axes, unflatten(form, iter(range(len(columns)))), single=True)
        return unflatten(form, (stack(column, place) for column, place in zip(columns, places, strict=True)))
    return batched


def _axes_of_leaves(op: str, axes: Any, tree: Any, single: bool = False) -> list[Any]:
    """One axis for each leaf of ``tree``, by ``axes``: one for all, or nested as the tree or its first layers."""
    if axes is None or isinstance(axes, int):
        return [axes] * len(leaves_of(tree))
    parts = axes.items() if isinstance(axes, dict) else enumerate(axes)
    if not isinstance(tree, (tuple, list, dict)) or len(axes) != len(tree):
        raise OptionError(f"vmap: {op}={axes!r} is not nested as {'the results' if single else 'the arguments'} are")
    if isinstance(tree, dict):
        return [axis for key in tree for axis in _axes_of_leaves(op, axes[key], tree[key], single)]
    return [axis for at, part in parts for axis in _axes_of_leaves(op, part, tree[at], single)]


def _axis_of_batch(leaf: Any, axis: int) -> int:
    if not isinstance(leaf, Tensor):
        raise DTypeError(f"vmap: samples are along axis {axis} of a Tensor, not of {leaf!r}; in_axes=None shares it")
    return axis_of("vmap", axis, leaf.ndim)


make_public(__name__)
