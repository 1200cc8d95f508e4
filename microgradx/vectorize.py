"""A program of Values, written for one sample, over all samples at once.

Tracing and replay are in ``_core.scalar.tape``; here are arrays in and out.
"""
from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from microgradx._core.scalar.tape import Tape
from microgradx._core.trees import flatten
from microgradx._core.value import Value
from microgradx.errors import DTypeError, OptionError, ShapeError
from microgradx.names import make_public
from microgradx.typing import Function

__all__ = ["Gradients", "vectorize"]

Floats: TypeAlias = npt.NDArray[np.float64]

FLOAT64 = np.dtype(np.float64)


class Gradients:
    """What ``value_and_grad`` found: ``parameters``, an array in the order of ``f.parameters``, and ``inputs``, one
    array per argument and shaped like it."""

    def __init__(self, parameters: Floats, inputs: list[Floats]) -> None:
        self.parameters, self.inputs = parameters, inputs

    def __repr__(self) -> str:
        return f"Gradients(parameters={self.parameters}, inputs={self.inputs})"


class vectorize:
    """``fn``, plain code over Values for one sample, as a function of arrays with a row per sample.

    ``fn`` takes what one sample consists of: for an argument of shape (rows, k) a list of k Values, for one of shape
    (rows,) a Value, for a number a Value that all samples share. It returns a Value, or a tuple or list of them, and
    may use any other Values, its parameters. It is called once, at the first call; from then on its operations run
    over up to 128 samples at a time, in double precision: neurons with the same inputs as one layer, operations side by
    side as one. Parameters' ``data`` is read again at every call.

    ``f(X, y)``                 the outputs, each an array (rows,)
    ``f.backward(X, y)``        the same, and adds to every parameter's ``grad`` the gradient of the first output's
                                sum over the rows, or with ``reduction="mean"`` of its mean
    ``f.value_and_grad(X, y)``  the outputs and ``Gradients``: as arrays, of parameters and of inputs
    ``f.parameters``            the Values that ``fn`` uses besides its arguments, known from the first call on

    What ``fn`` depends on besides Values is frozen at the first call: numbers, lengths of lists, random draws, which
    branch was taken. ``CaptureError`` where it would freeze a number of a sample or of a parameter (``x.data``,
    ``float(x)``, ``x > 0``, ``if x``), also if ``fn`` catches it, where it writes one or calls ``backward``, and for
    Values made with explicit local derivatives, which say nothing of how they were computed.
    ``ShapeError`` for arrays of different lengths, or of other widths than at the first call; ``DTypeError`` for what
    is not real numbers.

    Outputs are those of ``fn`` on each row, to the last bit; gradients are summed over rows, and over the uses of a
    row, in a fixed order. Gradients that are not all finite are computed a second time, more slowly, so that where no
    gradient arrives none leaves, even if a factor is inf or nan.

    >>> import microgradx as mgx
    >>> w, b = mgx.Value(2.0), mgx.Value(0.5)
    >>> loss = mgx.vectorize(lambda x, y: (w * x + b - y) ** 2, reduction="mean")
    >>> loss.backward([1.0, 2.0], [3.0, 4.0])
    array([0.25, 0.25])
    >>> w.grad, b.grad
    (0.5, 0.0)
    """

    def __init__(self, fn: Function, reduction: str = "sum") -> None:
        if not callable(fn):
            raise DTypeError(f"vectorize: a function, not {type(fn).__name__}")
        if reduction not in ("sum", "mean"):
            raise OptionError(f"vectorize: reduction is 'sum' or 'mean', not {reduction!r}")
        self.fn, self.reduction = fn, reduction
        self._tape: Tape | None = None
        self._widths: list[tuple[int, ...] | None] = []
        # the trace, the shapes of the last arguments, their rows
        self._last: tuple[Tape, list[tuple[int, ...] | None], int] | None = None

    def __call__(self, *arrays: Any) -> Any:
        return self._sweep(*self._prepare(arrays))

    def backward(self, *arrays: Any) -> Any:
        """The outputs; the gradient is added to the ``grad`` of the parameters."""
        return self._sweep(*self._prepare(arrays), True)

    def value_and_grad(self, *arrays: Any) -> Any:
        """The outputs and the ``Gradients`` of parameters and inputs, as arrays; no ``grad`` is touched.

        >>> import microgradx as mgx
        >>> f = mgx.vectorize(lambda x: mgx.sum(v * v for v in x))
        >>> f.value_and_grad([[1.0, 2.0], [3.0, 4.0]])
        (array([ 5., 25.]), Gradients(parameters=[], inputs=[array([[2., 4.],
               [6., 8.]])]))
        """
        tape, given, rows = self._prepare(arrays)
        found = Gradients(np.empty(len(tape.parameters)), [np.empty(a.shape) for a in given])
        return self._sweep(tape, given, rows, True, found.parameters, found.inputs), found

    @property
    def parameters(self) -> list[Value]:
        """The Values that ``fn`` uses besides its arguments."""
        if self._tape is None:
            raise OptionError("vectorize: parameters are known from the first call on")
        return list(self._tape.parameters)

    def _sweep(self, tape: Tape, given: Sequence[Floats], rows: int, backward: bool = False,
               parameters: Floats | None = None, inputs: list[Floats] | None = None) -> Any:
        outs = [np.empty(rows) for _ in tape.outputs]
        tape.sweep(given, rows, outs, backward, self.reduction == "mean", parameters, inputs)
        return tuple(outs) if tape.many else outs[0]

    def _prepare(self, arrays: tuple[Any, ...]) -> tuple[Tape, Sequence[Floats], int]:
        """The trace, which is made if there is none; the arguments as arrays of float64 that fit it and each other;
        and the number of rows."""
        shapes = [a.shape if type(a) is np.ndarray and a.dtype is FLOAT64 else None for a in arrays]
        if self._last is not None and self._last[1] == shapes:
            return self._last[0], arrays, self._last[2]
        given = [a if type(a) is np.ndarray and a.dtype is FLOAT64 and a.ndim <= 2 else _array(k, a)
                 for k, a in enumerate(arrays)]
        widths: list[tuple[int, ...] | None] = [a.shape[1:] if a.ndim else None for a in given]
        lengths = [len(a) for a in given if a.ndim]
        if not lengths:
            raise ShapeError("vectorize: no argument has rows; for single samples call the function itself, or "
                             "mgx.compile it")
        for length in lengths:
            if length != lengths[0]:
                raise ShapeError(f"vectorize: arguments of {lengths[0]} and {length} rows ({lengths[0]} != {length})")
        if self._tape is None:
            sample = tuple([None] * width[0] if width else None for width in widths)
            by_row = [width is not None for width in widths for _ in range(width[0] if width else 1)]
            self._tape, self._widths = Tape("vectorize", self.fn, flatten(sample)[1], by_row), widths
        if widths != self._widths:
            raise ShapeError(f"vectorize: a sample is {_described(widths)}, and was {_described(self._widths)} at the "
                             "first call; vectorize the function again for other samples")
        self._last = self._tape, [a.shape for a in given], lengths[0]
        return self._tape, given, lengths[0]


def _array(k: int, a: Any) -> Floats:
    try:
        array = np.asarray(a)
    except ValueError:
        raise ShapeError(f"vectorize: argument {k} has rows of different lengths") from None
    if array.dtype.kind not in "fiub":
        raise DTypeError(f"vectorize: argument {k} is an array of real numbers, not of {array.dtype}")
    if array.ndim > 2:
        raise ShapeError(f"vectorize: argument {k} has shape {array.shape}, not (rows,) or (rows, columns)")
    return np.asarray(array, np.float64)


def _described(widths: Iterable[tuple[int, ...] | None]) -> str:
    """What one sample consists of, in words."""
    return ", ".join("shared" if width is None else f"{width[0]} columns" if width else "a number" for width in widths)


make_public(__name__)
