"""Gradients for given tensors, derivatives by hand, and their check by finite differences: torch's ``autograd``.

``grad`` here is of results; ``mgx.grad`` makes a function of a function. ``custom_vjp`` and ``Function`` are two ways
to write one's own derivative; ``checkpoint`` computes a part twice instead of keeping it.
"""
from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from functools import update_wrapper
from typing import Any, ClassVar, TypeVar

import numpy as np
import numpy.typing as npt

from microgradx.autograd import functional as functional
from microgradx._core.effects import Effects
from microgradx._core.generator import Drawn
from microgradx._core.graph import enable_grad, is_grad_enabled, no_grad
from microgradx._core.launch import capturing
from microgradx._core.tensor import Tensor, concat, version_of
from microgradx._core.trace import custom, gradients, nodes_of, sources, traced, trail
from microgradx._core.trees import flatten, leaves_of, unflatten
from microgradx._core.debug.watch import detect_nan
from microgradx.errors import DTypeError, GradcheckError, GraphError, OptionError, ShapeError, described
from microgradx.names import make_public
from microgradx.random import randn
from microgradx.transforms import floating, jacobian, vjp

F = TypeVar("F", bound=Callable[..., Any])
__all__ = ["Function", "Variable", "checkpoint", "custom_vjp", "detect_anomaly", "enable_grad", "grad", "gradcheck",
           "gradgradcheck", "inference_mode", "is_grad_enabled", "no_grad", "set_detect_anomaly", "set_grad_enabled"]


def grad(outputs: Any, inputs: Any, grad_outputs: Any = None, retain_graph: bool | None = None,
         create_graph: bool = False, only_inputs: bool = True, allow_unused: bool | None = None, *,
         materialize_grads: bool = False) -> tuple[Tensor | None, ...]:
    """The gradients of ``outputs`` for ``inputs``, a tuple; no tensor's ``grad`` changes.

    Both are a Tensor or several, as a list or ``net.parameters()``; an input may be a leaf or a result on the way.
    ``grad_outputs`` are the gradients of the outputs, where these are not single numbers. ``retain_graph`` is
    ``create_graph`` unless given. An input that no output depends on raises ``GraphError``, or has None with
    ``allow_unused``, or zeros with ``materialize_grads``.

    >>> import microgradx as mgx
    >>> x = mgx.Tensor([1.0, 2.0], requires_grad=True)
    >>> mgx.autograd.grad((x ** 3).sum(), x)
    (Tensor([ 3., 12.]),)
    """
    if not only_inputs:
        raise OptionError("grad: gradients are of the inputs only; backward() is what adds to the grad of leaves")
    outputs, inputs = _several(outputs), _several(inputs)
    given = [None] * len(outputs) if grad_outputs is None else _several(grad_outputs)
    if len(given) != len(outputs):
        raise ShapeError(f"grad: {len(given)} grad_outputs for {len(outputs)} outputs")
    for x in outputs + inputs:
        floating("grad", x, "an output or input")
    retain_graph = create_graph if retain_graph is None else retain_graph
    found = gradients("grad", outputs, inputs, given, retain_graph, create_graph)
    if materialize_grads:
        return tuple(Tensor(np.zeros(x.shape, x.dtype)) if g is None else g for g, x in zip(found, inputs))
    unused = [k for k, g in enumerate(found) if g is None]
    if unused and not allow_unused:
        raise GraphError(f"grad: input {unused[0]} was not used for the outputs; pass allow_unused=True to have None "
                         "for it")
    return tuple(found)


def _several(tensors: Any) -> list[Any]:
    one = isinstance(tensors, (Tensor, str, bytes)) or not hasattr(tensors, "__iter__")
    return [tensors] if one else list(tensors)


# ----- modes, in torch's words ---------------------------------------------------------------------------------------

class set_grad_enabled:
    """Record operations in this thread, or not, from now on; as a context manager, until it is left.

    >>> import microgradx as mgx
    >>> w = mgx.Tensor([1.0], requires_grad=True)
    >>> with mgx.set_grad_enabled(False):
    ...     y = 2 * w
    >>> y.requires_grad, (2 * w).requires_grad
    (False, True)
    """

    def __init__(self, mode: bool) -> None:
        if not isinstance(mode, (bool, np.bool_)):
            raise OptionError(f"set_grad_enabled: True or False, not {mode!r}")
        self.mode: Any = (enable_grad if mode else no_grad)()
        self.mode.__enter__()

    def __enter__(self) -> None:
        """The mode is set already."""

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        self.mode.__exit__(kind, error, trace)

    def __call__(self, function: F) -> F:
        self.mode.__exit__(None, None, None)                # it is for the calls of the function, and not for now
        decorated: F = type(self.mode)()(function)
        return decorated


def inference_mode(mode: Any = True) -> Any:
    """``no_grad()``: torch's inference mode, which also leaves out versions, is no faster than that here.

    >>> import microgradx as mgx
    >>> @mgx.inference_mode()
    ... def predict(w):
    ...     return 2 * w
    >>> predict(mgx.Tensor([1.0], requires_grad=True)).requires_grad
    False
    """
    return no_grad(mode) if callable(mode) else (no_grad if mode else enable_grad)()


class set_detect_anomaly:
    """``mgx.detect_nan()``, or not, from now on; as a context manager, until it is left.

    >>> import microgradx as mgx
    >>> with mgx.autograd.set_detect_anomaly(True):
    ...     y = mgx.log(mgx.Tensor([-1.0]))             # doctest: +ELLIPSIS
    Traceback (most recent call last):
    microgradx.errors.NonFiniteError: log: made 1 nan ...
    """
    watch: ClassVar[detect_nan | None] = None

    def __init__(self, mode: bool, check_nan: bool = True) -> None:
        if not isinstance(mode, (bool, np.bool_)):
            raise OptionError(f"set_detect_anomaly: True or False, not {mode!r}")
        self.before = type(self).watch is not None
        self._set(bool(mode) and bool(check_nan))

    @classmethod
    def _set(cls, on: bool) -> None:
        if on and cls.watch is None:
            cls.watch = detect_nan()
            cls.watch.__enter__()
        elif not on and cls.watch is not None:
            cls.watch.__exit__(None, None, None)
            cls.watch = None

    def __enter__(self) -> None:
        """The mode is set already."""

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        self._set(self.before)


detect_anomaly = detect_nan


def Variable(data: Tensor, requires_grad: bool = False) -> Tensor:
    """The tensor: torch's wrapper of former times, which does nothing any more but set ``requires_grad``."""
    return data.requires_grad_() if requires_grad else data


# ----- derivatives by hand -------------------------------------------------------------------------------------------

def _tensors(leaves: list[Any]) -> list[Tensor]:
    """The float Tensors among the leaves, which a derivative by hand is for."""
    return [x for x in leaves if isinstance(x, Tensor) and x.dtype.kind == "f"]


def _attached(name: str, outputs: list[Tensor], operands: list[Any],
              backward: Callable[[list[Tensor]], list[Tensor | None]], given: Sequence[Tensor] = ()) -> list[Tensor]:
    """The Tensors ``outputs`` as made from ``operands``; ``backward(list of gradients)`` gives those of the operands.
    An output that is one of the tensors ``given`` is copied.

    Several are the parts of one flat tensor, so that ``backward`` has all their gradients at once.
    """
    if len(outputs) == 1:
        return [custom(name, outputs[0], operands, lambda g: backward([g]), given)]
    ends = np.cumsum([0] + [y.size for y in outputs])
    forms = [(y.shape, y.dtype) for y in outputs]               # not the outputs: they hold what made them

    def parts(flat: Tensor) -> list[Tensor]:
        return [flat[start:stop].reshape(shape).astype(dtype)
                for (shape, dtype), start, stop in zip(forms, ends, ends[1:], strict=False)]
    with no_grad():
        flat = concat([y.reshape(-1) for y in outputs]) if outputs else Tensor([])
    return parts(custom(name, flat, operands, lambda g: backward(parts(g))))


def _by_hand(name: str, args: Sequence[Any], nodes: list[Any], value: Any, backward: Callable[..., Any]) -> Any:
    """``value``, with the derivative ``backward(gradients nested as value)``: one result per argument, None for 0.
    ``args`` holds the leaves of each argument and ``nodes`` those of its Tensors, as the forward call found them: it
    may have written to an argument, which then has another."""
    leaves, structure = flatten(value)

    def carried(cotangents: list[Tensor]) -> list[Tensor | None]:
        versions = [version_of(g) for g in cotangents]
        results = backward(unflatten(structure, iter(cotangents)))
        for g, version in zip(cotangents, versions, strict=True):
            if version_of(g) != version:
                raise GraphError(f"{name}: backward wrote into the gradient that it was given, of shape {g.shape}, and "
                                 "others may read that; write to a clone() of it")
        results = tuple(results) if isinstance(results, (list, tuple)) else (results,)
        if len(results) != len(args):
            raise ShapeError(f"{name}: backward returned {len(results)} gradients for {len(args)} arguments")
        found = []
        for k, (arg, result) in enumerate(zip(args, results, strict=True)):
            parts = [None] * len(arg) if result is None else leaves_of(result)
            if len(parts) != len(arg):
                raise ShapeError(f"{name}: backward returned {len(parts)} gradients for argument {k}, in which there "
                                 f"are {len(arg)} parts")
            found += [_fitting(name, x, g) for x, g in zip(arg, parts, strict=True) if _tensors([x])]
        return found
    outputs = [floating(name, y, "a result") for y in leaves]
    given = _tensors([x for arg in args for x in arg])
    return unflatten(structure, iter(_attached(name, outputs, nodes, carried, given)))


def _nodes(args: Sequence[Any]) -> list[Any]:
    """The nodes of the float Tensors among the leaves of all arguments."""
    return nodes_of(_tensors([x for arg in args for x in arg]))


def _fitting(name: str, x: Tensor, g: Any) -> Tensor | None:
    if g is None:
        return None
    if not isinstance(g, Tensor) or g.shape != x.shape:
        shown = f"shape {g.shape}" if isinstance(g, Tensor) else repr(g)
        raise ShapeError(f"{name}: backward returned a gradient of {shown} for an argument of shape {x.shape}")
    return g.astype(x.dtype)


class custom_vjp:
    """A function with a derivative by hand, as in JAX: a decorator.

    ``f.defvjp(forward, backward)``: ``forward(*args)`` returns (value, residuals), ``backward(residuals, g)`` one
    gradient per argument, None for 0. ``backward`` is written in Tensor operations; then second derivatives follow,
    for residuals are differentiated through ``forward``.

    >>> import microgradx as mgx
    >>> @mgx.custom_vjp
    ... def clip_gradient(x):
    ...     return x.clone()
    >>> clip_gradient.defvjp(lambda x: (x.clone(), None), lambda _, g: (g.clip(-1.0, 1.0),))
    >>> mgx.grad(lambda x: 10.0 * clip_gradient(x))(2.0)
    Tensor(1.)
    """

    def __init__(self, fn: Callable[..., Any]) -> None:
        self.fn = fn
        self.forward: Callable[..., Any] | None = None
        self.backward: Callable[..., Any] | None = None
        update_wrapper(self, fn)

    def defvjp(self, forward: Callable[..., Any], backward: Callable[..., Any]) -> None:
        """Give the derivative."""
        self.forward, self.backward = forward, backward

    def __call__(self, *args: Any) -> Any:
        name = getattr(self.fn, "__name__", "custom_vjp")
        forward, backward = self.forward, self.backward
        if forward is None or backward is None:
            raise OptionError(f"{name}: has no derivative yet; call {name}.defvjp(forward, backward)")
        leaves = [leaves_of(arg) for arg in args]
        if not (is_grad_enabled() and any(x.requires_grad for arg in leaves for x in _tensors(arg))):
            return self.fn(*args)
        nodes = _nodes(leaves)
        result = forward(*args)
        if not isinstance(result, tuple) or len(result) != 2:
            raise DTypeError(f"{name}: forward returns (value, residuals), not {result!r}")
        value, residuals = result
        return _by_hand(name, leaves, nodes, value, lambda g: backward(residuals, g))


class Context:
    """What ``Function.forward`` leaves for ``backward``; any attribute may be set."""

    saved: Sequence[tuple[Any, int]] = ()         # (Tensor or None, its version)
    needs_input_grad: tuple[bool, ...] = ()

    def save_for_backward(self, *tensors: Any) -> None:
        """Keep tensors, or None; that they are not written to until ``backward`` is checked."""
        for x in tensors:
            if x is not None and not isinstance(x, Tensor):
                raise DTypeError(f"save_for_backward: a Tensor or None, not {described(x)}; other things are "
                                 "attributes, ctx.size = size")
        self.saved = [(x, 0 if x is None else version_of(x)) for x in tensors]

    @property
    def saved_tensors(self) -> tuple[Tensor, ...]:
        """The tensors that were kept, a tuple."""
        for k, (x, version) in enumerate(self.saved):
            if x is not None and version_of(x) != version:
                raise GraphError(f"backward: saved tensor {k} of shape {x.shape} was written to since (version "
                                 f"{version_of(x)}, saved {version}); write to a clone() instead")
        return tuple(x for x, _ in self.saved)


class Function:
    """A function with a derivative by hand, as in torch: a class with two static methods, called by ``apply``.

    ``forward(ctx, *args)`` returns a Tensor or a tuple of them; ``backward(ctx, *gradients)`` one gradient per
    argument, None for 0. ``ctx.needs_input_grad`` says which are read. Unlike in torch, what ``forward`` computes keeps
    its graph, so second derivatives go through whatever it saved.

    >>> import microgradx as mgx
    >>> class Exp(mgx.autograd.Function):
    ...     @staticmethod
    ...     def forward(ctx, x):
    ...         y = x.exp()
    ...         ctx.save_for_backward(y)
    ...         return y
    ...     @staticmethod
    ...     def backward(ctx, g):
    ...         return g * ctx.saved_tensors[0]
    >>> mgx.grad(mgx.grad(Exp.apply))(0.0)
    Tensor(1.)
    """

    @staticmethod                               # what type checkers let a subclass narrow
    def forward(*args: Any, **kwargs: Any) -> Any:
        raise NotImplementedError("Function: a subclass defines forward(ctx, *args)")

    @staticmethod
    def backward(*args: Any, **kwargs: Any) -> Any:
        raise NotImplementedError("Function: a subclass defines backward(ctx, *gradients)")

    @classmethod
    def apply(cls, *args: Any) -> Any:
        """forward(ctx, *args), with ``backward`` as its derivative."""
        ctx, leaves = Context(), [leaves_of(arg) for arg in args]
        ctx.needs_input_grad = tuple(any(x.requires_grad for x in _tensors(arg)) for arg in leaves)
        nodes = _nodes(leaves)
        value = cls.forward(ctx, *args)
        several = isinstance(value, (list, tuple))
        return _by_hand(cls.__name__, leaves, nodes, value,
                        lambda g: cls.backward(ctx, *g) if several else cls.backward(ctx, g))


# ----- computing twice instead of keeping ----------------------------------------------------------------------------

def _shown(forms: list[tuple[tuple[int, ...], np.dtype[Any]]]) -> str:
    return "of " + ", ".join(f"shape {shape} ({dtype})" for shape, dtype in forms) if forms else ""


def _sample(y: Tensor) -> npt.NDArray[Any]:
    """Some of the numbers of ``y``, evenly spaced, as they are now; none while a call is captured, which reads none."""
    if capturing():
        return np.zeros(0)
    flat = y.detach().reshape(-1)
    return np.array(flat[::max(flat.size // 64, 1)].numpy(), np.float64)


def _differ(sample: npt.NDArray[Any], again: npt.NDArray[Any]) -> bool:
    """Are these samples of other numbers? Products of matrices may be rounded otherwise by other threads."""
    if sample.size != again.size:                               # one of the two runs was captured
        return False
    with np.errstate(all="ignore"):
        size = np.abs(sample[np.isfinite(sample)]).max(initial=0)
        return not np.allclose(again, sample, rtol=1e-3, atol=1e-3 * size, equal_nan=True)


def checkpoint(fn: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """fn(*args, **kwargs), of which nothing between arguments and results is kept: ``backward`` runs it once more.

    Less memory for more time (Chen et al., 2016, arXiv:1604.06174). The second run draws the same random numbers, from
    whichever generators ``fn`` draws, and begins with what the first one found in the tensors and the attributes of
    modules that ``fn`` writes to, such as the running statistics of a batch norm; after it they are as before it, so
    an effect counts once. Parameters that ``fn`` reads get their gradients; results with a graph of their own are
    handed to it as arguments.

    ``backward`` raises ``GraphError`` if a tensor that ``fn`` reads, but does not write to, was written to since, or if
    the second run goes another way than the first: other operations or sizes on the way, or other results, of which
    some numbers are compared. So Python's and NumPy's own random numbers, which are drawn again, are noticed.

    >>> import microgradx as mgx
    >>> mgx.grad(lambda x: mgx.checkpoint(lambda x: x.square().relu(), x))(3.0)
    Tensor(6.)
    """
    if not is_grad_enabled():
        return fn(*args, **kwargs)
    drawn, effects, (leaves, structure) = Drawn(), Effects(), flatten((args, kwargs))
    operands = _tensors(leaves)

    def run(linked: bool) -> tuple[list[Tensor], list[Tensor], Hashable]:
        """One run over inputs of their own: (inputs, the Tensors that fn returns, their nesting)."""
        inputs = [traced(x, linked) for x in operands]
        fresh = iter(inputs)
        args, kwargs = unflatten(structure, (next(fresh) if _tensors([x]) else x for x in leaves))
        with enable_grad():
            found, nesting = flatten(fn(*args, **kwargs))
        return inputs, [floating("checkpoint", y, "a result") for y in found], nesting

    with drawn, effects:
        inputs, outputs, nesting = run(False)
    closed_over, path = sources(outputs, inputs), trail(outputs, inputs)
    forms, samples = [(y.shape, y.dtype) for y in outputs], [_sample(y) for y in outputs]

    def backward(cotangents: list[Tensor]) -> list[Tensor | None]:
        effects.check()
        now, before = drawn.rewind(), effects.rewind()
        try:
            inputs, outputs, again = run(is_grad_enabled())
        finally:
            Effects.put_back(before)
            Drawn.put_back(now)
        found = [(y.shape, y.dtype) for y in outputs]
        if (again, found) != (nesting, forms):
            raise GraphError(f"checkpoint: the second run returned {len(found)} results {_shown(found)}, the first "
                             f"{len(forms)} results {_shown(forms)}")
        steps = trail(outputs, inputs)
        if steps is not None and path is not None and steps != path:
            raise GraphError(f"checkpoint: the second run went another way than the first ({path[0]} operations, then "
                             f"{steps[0]}, with other kinds or sizes); the function must do the same each time")
        if any(_differ(sample, _sample(y)) for sample, y in zip(samples, outputs, strict=True)):
            raise GraphError("checkpoint: the second run gave other numbers than the first; what it draws comes from a "
                             "generator of microgradx or is an argument")
        live = [(y, g) for y, g in zip(outputs, cotangents, strict=True) if y.requires_grad]
        return gradients("checkpoint", [y for y, _ in live], inputs + closed_over, [g for _, g in live], True,
                         is_grad_enabled())
    results = _attached("checkpoint", outputs, operands + closed_over, backward)
    inputs.clear()
    outputs.clear()                                         # and with them the graph of the first run
    effects.settle([x for x in leaves if isinstance(x, Tensor)], drawn.states())
    return unflatten(nesting, iter(results))


# ----- checks --------------------------------------------------------------------------------------------------------

def gradcheck(fn: Callable[..., Any], inputs: Any, *, eps: float = 1e-6, atol: float = 1e-5, rtol: float = 1e-3,
              raise_exception: bool = True) -> bool:
    """Whether the gradients of ``fn`` agree with central differences: |a - n| <= atol + rtol |n| in every entry.

    ``inputs`` is a Tensor or a tuple of arguments; those that are Tensors and require a gradient are checked, and are
    of float64. ``fn`` returns a Tensor or several. Names, tolerances and meaning are torch's. Raises
    ``GradcheckError``, which names output, input and entry, or returns False.

    >>> import microgradx as mgx
    >>> x = mgx.Tensor([0.5, 2.0], dtype="float64", requires_grad=True)
    >>> mgx.gradcheck(lambda x: x.sin() * x, x)
    True
    """
    inputs = tuple(_several(inputs))
    checked = tuple(k for k, x in enumerate(inputs) if isinstance(x, Tensor) and x.requires_grad)
    for k in checked:
        if inputs[k].dtype != np.float64:
            raise DTypeError(f"gradcheck: input {k} is of {inputs[k].dtype}; differences of {eps} need float64")
    if not checked:
        raise GraphError("gradcheck: no input requires a gradient")

    def parts(*args: Any) -> tuple[Any, ...]:
        return tuple(leaves_of(fn(*args)))
    with no_grad():
        claimed = jacobian(parts, checked)(*inputs)
        for i, k in enumerate(checked):
            measured = _differences(parts, inputs, k, eps)
            for j, (row, truth) in enumerate(zip(claimed, measured, strict=True)):
                found = row[i].numpy()
                wrong = ~(np.abs(found - truth) <= atol + rtol * np.abs(truth))
                if wrong.any() and raise_exception:
                    at = tuple(map(int, np.argwhere(wrong)[0]))
                    split = found.ndim - inputs[k].ndim
                    raise GradcheckError(
                        f"gradcheck: output {j} {at[:split]} for input {k} {at[split:]}: the gradient is "
                        f"{found[at]:.10g}, central differences give {truth[at]:.10g} (|difference| "
                        f"{abs(found[at] - truth[at]):.3g} > {atol + rtol * abs(truth[at]):.3g}; {wrong.sum()} of "
                        f"{wrong.size} entries)")
                if wrong.any():
                    return False
    return True


def _differences(fn: Callable[..., Any], inputs: Sequence[Any], k: int, eps: float) -> list[npt.NDArray[Any]]:
    """For each output of ``fn`` the central differences by every element of input ``k``: (*output, *input)."""
    x = inputs[k].numpy()
    ends = []
    for at in np.ndindex(x.shape):
        for step in eps, -eps:
            moved = x.copy()
            moved[at] += step
            ends.append([y.numpy() for y in fn(*inputs[:k], Tensor(moved), *inputs[k + 1:])])
    shapes = [y.shape for y in fn(*inputs)]
    return [np.stack([(more[j] - less[j]) / (2 * eps) for more, less in zip(ends[::2], ends[1::2], strict=True)] or
                     [np.zeros((*shape, 0))], -1).reshape(shape + x.shape) for j, shape in enumerate(shapes)]


def gradgradcheck(fn: Callable[..., Any], inputs: Any, grad_outputs: Any = None, *, eps: float = 1e-6,
                  atol: float = 1e-5, rtol: float = 1e-3, raise_exception: bool = True) -> bool:
    """As ``gradcheck``, of the gradients of ``fn``: second derivatives, and the dependence on ``grad_outputs``.

    ``grad_outputs`` are the gradients of the outputs, normal random numbers unless given.

    >>> import microgradx as mgx
    >>> x = mgx.Tensor([0.5, 2.0], dtype="float64", requires_grad=True)
    >>> mgx.gradgradcheck(lambda x: x.sin() * x, x)
    True
    """
    inputs = tuple(_several(inputs))
    with no_grad():
        outputs = [floating("gradgradcheck", y, "a result") for y in leaves_of(fn(*inputs))]
    given = _several(grad_outputs) if grad_outputs is not None else [
        randn(y.shape, rng=k, dtype="float64").astype(y.dtype) for k, y in enumerate(outputs)]
    given = [Tensor(g, requires_grad=True) for g in given]
    wanted = [k for k, x in enumerate(inputs) if isinstance(x, Tensor) and x.requires_grad]

    def pulled(*args: Any) -> Any:
        def parts(*chosen: Any) -> tuple[Any, ...]:
            replaced = dict(zip(wanted, chosen, strict=True))
            return tuple(leaves_of(fn(*(replaced.get(k, x) for k, x in enumerate(args[:len(inputs)])))))
        return vjp(parts, *(args[k] for k in wanted))[1](args[len(inputs):])
    return gradcheck(pulled, (*inputs, *given), eps=eps, atol=atol, rtol=rtol, raise_exception=raise_exception)


make_public(__name__)
