"""Recurrent layers: RNN, GRU, LSTM, and their cells, with torch's weights, names and order of gates."""
from __future__ import annotations

import functools
import math
import warnings
from typing import Any

import numpy as np

from microgradx._core.sequences import cells, recurrence
from microgradx._core.tensor import Tensor, concat, linear_, stack
from microgradx.errors import DTypeError, OptionError, ShapeError, described
from microgradx.names import make_public
from microgradx.nn import functional as F
from microgradx.nn import init
from microgradx.nn.layers import parameter, sizes_of
from microgradx.nn.module import Module
from microgradx.nn.utils.rnn import PackedSequence
from microgradx.random import generator
from microgradx.typing import DType, Seed

__all__ = ["GRU", "GRUCell", "LSTM", "LSTMCell", "RNN", "RNNCell"]


# ----- gates ---------------------------------------------------------------------------------------------------------

class _Gates(Module):
    """What a layer and its cell share: ``kind``, which step it is, ``gates``, the blocks of rows in a weight, how many
    tensors a ``state`` has, and the weights."""
    kind: str
    gates, states = 1, 1
    hidden_size: int

    def cell(self, ih: Tensor, hh: Tensor, state: list[Tensor]) -> list[Tensor]:
        """The next state, from the input's part ``ih`` and the state's part ``hh`` of the gates."""
        return cells[self.kind].step(ih, hh, state)[0]

    def reset_parameters(self, rng: Seed = None) -> None:
        """Draw all weights and biases as at the beginning: U(-1/sqrt(hidden), 1/sqrt(hidden))."""
        rng, limit = generator(rng), 1 / math.sqrt(self.hidden_size)
        for p in self.parameters():
            init.uniform_(p, -limit, limit, rng)

    def _add(self, suffix: str, input_size: int, bias: bool, dtype: DType) -> None:
        """The parameters of one layer and direction."""
        rows, widths = self.gates * self.hidden_size, {"ih": input_size, "hh": self.hidden_size}
        shapes: dict[str, Any] = {f"weight_{part}{suffix}": (rows, n) for part, n in widths.items()}
        for label, shape in (shapes | {f"bias_{part}{suffix}": rows for part in widths if bias}).items():
            setattr(self, label, parameter(shape, dtype))

    def _begin(self, state: Any, shape: tuple[int, ...], dtype: DType) -> list[Tensor]:
        """The state as a list of tensors, zeros if None."""
        if state is None:
            return [Tensor(np.zeros(shape, dtype))] * self.states
        tensors: list[Tensor] = [state] if self.states == 1 else list(state)
        for s in tensors:
            if not isinstance(s, Tensor):
                raise DTypeError(f"{type(self).__name__}: a state is a Tensor, not {described(s)}")
        if len(tensors) != self.states or any(s.shape != shape for s in tensors):
            raise ShapeError(f"{type(self).__name__}: a state has {self.states} of shape {shape}, not "
                             f"{[s.shape for s in tensors]}")
        return tensors


class _RNN(_Gates):
    nonlinearity = "tanh"

    @property
    def kind(self) -> str:                      # type: ignore[override]
        return self.nonlinearity

    def _choose(self, nonlinearity: str) -> None:
        if nonlinearity not in ("tanh", "relu"):
            raise OptionError(f"{type(self).__name__}: nonlinearity is 'tanh' or 'relu', not {nonlinearity!r}")
        self.nonlinearity = nonlinearity


class _GRU(_Gates):
    kind, gates = "gru", 3


class _LSTM(_Gates):
    kind, gates, states = "lstm", 4, 2


@functools.lru_cache(64)
def _as_tensor(counts: tuple[int, ...]) -> Tensor:
    return Tensor(np.array(counts, "int64"))


# ----- layers --------------------------------------------------------------------------------------------------------

class _Recurrent(_Gates):
    """What the layers share: the weights of every layer and direction, and the walk through time."""
    later = {"dropout": 0.0, "bidirectional": False, "suffixes": ("",), "rng": None}

    def _make(self, input_size: int, hidden_size: int, num_layers: int, bias: bool, batch_first: bool, dropout: float,
              bidirectional: bool, proj_size: int, dtype: DType, rng: Seed) -> None:
        name = type(self).__name__
        sizes_of(name, input_size, hidden_size, num_layers, least=1)
        if num_layers > 10_000:
            raise OptionError(f"{name}: num_layers={num_layers} is beyond 10,000")
        if proj_size:
            raise OptionError(f"{name}: proj_size={proj_size!r} is not supported; put a Linear behind the layer")
        self.input_size, self.hidden_size, self.num_layers = input_size, hidden_size, num_layers
        self.bias, self.batch_first, self.bidirectional = bool(bias), bool(batch_first), bool(bidirectional)
        self.dropout = F.probability(name, dropout)
        if dropout and num_layers == 1:
            warnings.warn(f"{name}: dropout={dropout} acts between layers, and there is one", UserWarning, 3)
        self.suffixes = ("", "_reverse")[:1 + self.bidirectional]
        for k in range(num_layers):
            for suffix in self.suffixes:
                self._add(f"_l{k}{suffix}", input_size if k == 0 else hidden_size * len(self.suffixes), bias, dtype)
        self.rng = rng if rng is None else generator(rng)
        self.reset_parameters(self.rng)

    def flatten_parameters(self) -> None:
        """Nothing to do: weights are used as they are."""

    def forward(self, input: Any, hx: Any = None) -> tuple[Any, Any]:
        """x (T, m, input) or (T, input), (m, T, input) with ``batch_first``, or a PackedSequence -> the last layer's
        states over time in the same layout, (..., hidden), or (..., 2 hidden) if ``bidirectional``, and the last state
        of every layer and direction (num_layers * directions, m, hidden): a pair (h, c) for LSTM.

        ``hx`` is what a former call gave, zeros if None.
        """
        if isinstance(input, PackedSequence):
            return self._packed(input, hx)
        name, x = type(self).__name__, input
        if not isinstance(x, Tensor):
            raise DTypeError(f"{name}: the input is a Tensor, not {described(x)}")
        if x.ndim not in (2, 3) or x.shape[-1] != self.input_size:
            raise ShapeError(f"{name}: the input is (T, m, {self.input_size}) or (T, {self.input_size}), not {x.shape}")
        time = 1 if self.batch_first and x.ndim == 3 else 0
        x = x.transpose(0, time)
        steps, *batch = x.shape[:-1]
        if not steps:
            raise ShapeError(f"{name}: an input of no steps, shape {input.shape}")
        m = batch[0] if batch else 1
        y, ends = self._layers(x.reshape(steps * m, self.input_size), (m,) * steps, hx, tuple(batch))
        y = y.reshape(steps, *batch, y.shape[-1]).transpose(0, time).clone()
        return y, ends[0] if self.states == 1 else tuple(ends)

    def _packed(self, x: PackedSequence, hx: Any) -> tuple[PackedSequence, Any]:
        if x.data.ndim != 2 or x.data.shape[-1] != self.input_size:
            raise ShapeError(f"{type(self).__name__}: the data of a PackedSequence are (n, {self.input_size}), not "
                             f"{x.data.shape}")
        counts = tuple(x.batch_sizes.tolist())
        if not counts or sum(counts) != len(x.data) or any(n < k for n, k in zip(counts, (*counts[1:], 0))):
            raise ShapeError(f"{type(self).__name__}: batch_sizes become smaller and come to the {len(x.data)} "
                             f"elements of the PackedSequence, not {list(counts)}")
        if hx is not None and x.sorted_indices is not None:
            parts = [s[:, x.sorted_indices] for s in ([hx] if self.states == 1 else hx)]
            hx = parts[0] if self.states == 1 else parts
        y, ends = self._layers(x.data, counts, hx, counts[:1])
        if x.unsorted_indices is not None:
            ends = [s[:, x.unsorted_indices] for s in ends]
        return x._replace(data=y.clone()), ends[0] if self.states == 1 else tuple(ends)

    def _layers(self, x: Tensor, counts: tuple[int, ...], hx: Any,
                batch: tuple[int, ...]) -> tuple[Tensor, list[Tensor]]:
        """The last layer's outputs, a row for each row of ``x``, and the last states of all layers and directions.
        Step t has the next ``counts[t]`` rows, which become fewer in a packed sequence."""
        ways, m, n, rows = len(self.suffixes), batch[0] if batch else 1, self.hidden_size, len(x)
        state = self._begin(hx, (self.num_layers * ways, *batch, n), x.dtype)
        state = [s.reshape(self.num_layers * ways, m, n) for s in state]
        last: list[list[Tensor]] = [[] for _ in state]
        for k in range(self.num_layers):
            if k and self.dropout and self.training:
                x = F.dropout(x, self.dropout, rng=self.rng)
            found = []
            for way, suffix in enumerate(self.suffixes):
                w, u = (getattr(self, f"weight_{part}_l{k}{suffix}") for part in ("ih", "hh"))
                b, c = (getattr(self, f"bias_{part}_l{k}{suffix}", None) for part in ("ih", "hh"))
                start = stack([s[k * ways + way] for s in state])
                out = recurrence(cells[self.kind], linear_(x, w, b), u, c, start, _as_tensor(counts), counts, way == 1)
                found.append(out[:rows])
                for i, ends in enumerate(last):
                    ends.append(out[rows + i * m:rows + (i + 1) * m])
            x = found[0] if ways == 1 else concat(found, -1)
        return x, [stack(ends).reshape(self.num_layers * ways, *batch, n) for ends in last]

    def extra_repr(self) -> str:
        shown = {"num_layers": 1, "bias": True, "batch_first": False, "dropout": 0.0, "bidirectional": False}
        return f"{self.input_size}, {self.hidden_size}" + "".join(
            f", {name}={getattr(self, name)}" for name, usual in shown.items() if getattr(self, name) != usual)


class RNN(_RNN, _Recurrent):
    """h' = tanh(W x + b + U h + c), or relu: Elman (1990). ``forward(x, h)`` gives (states over time, last states).

    Parameters of layer k are ``weight_ih_l{k}`` (hidden, input), ``weight_hh_l{k}`` (hidden, hidden),
    ``bias_ih_l{k}`` and ``bias_hh_l{k}`` (hidden,), all from U(-1/sqrt(hidden), 1/sqrt(hidden)); those of the way back
    of a ``bidirectional`` layer end in ``_reverse``. ``dropout`` acts between layers.

    >>> import microgradx as mgx
    >>> from microgradx import nn
    >>> y, h = nn.RNN(2, 4, num_layers=2)(mgx.Tensor([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]))
    >>> y.shape, h.shape
    ((3, 4), (2, 4))
    """

    def __init__(self, input_size: int, hidden_size: int, num_layers: int = 1, nonlinearity: str = "tanh",
                 bias: bool = True, batch_first: bool = False, dropout: float = 0.0, bidirectional: bool = False,
                 dtype: DType = None, rng: Seed = None) -> None:
        self._choose(nonlinearity)
        self._make(input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional, 0, dtype, rng)


class GRU(_GRU, _Recurrent):
    """h' = (1 - z) n + z h with n = tanh(W x + b + r (U h + c)), gates r and z: Cho et al. (2014).

    Layout and calls as ``RNN``; a weight stacks the rows of r, z, n.

    >>> import microgradx as mgx
    >>> from microgradx import nn
    >>> y, h = nn.GRU(2, 4)(mgx.Tensor([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]))
    >>> bool((y[-1] == h[0]).numpy().all())
    True
    """

    def __init__(self, input_size: int, hidden_size: int, num_layers: int = 1, bias: bool = True,
                 batch_first: bool = False, dropout: float = 0.0, bidirectional: bool = False, dtype: DType = None,
                 rng: Seed = None) -> None:
        self._make(input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional, 0, dtype, rng)


class LSTM(_LSTM, _Recurrent):
    """c' = f c + i g, h' = o tanh(c') with gates i, f, o and g = tanh(...): Hochreiter and Schmidhuber (1997), with
    the forget gate of Gers et al. (2000).

    Layout and calls as ``RNN``; a weight stacks the rows of i, f, g, o; the state is the pair (h, c). ``proj_size`` of
    torch is refused.

    >>> import microgradx as mgx
    >>> from microgradx import nn
    >>> y, (h, c) = nn.LSTM(2, 4)(mgx.Tensor([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]))
    >>> y.shape, h.shape, c.shape
    ((3, 4), (1, 4), (1, 4))
    """

    def __init__(self, input_size: int, hidden_size: int, num_layers: int = 1, bias: bool = True,
                 batch_first: bool = False, dropout: float = 0.0, bidirectional: bool = False, proj_size: int = 0,
                 dtype: DType = None, rng: Seed = None) -> None:
        self._make(input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional, proj_size, dtype,
                   rng)


# ----- cells ---------------------------------------------------------------------------------------------------------

class _Cell(_Gates):
    """One step of a layer: (m, input) or (input,), and a state, zeros if None -> the next state."""

    def _make(self, input_size: int, hidden_size: int, bias: bool, dtype: DType, rng: Seed) -> None:
        sizes_of(type(self).__name__, input_size, hidden_size, least=1)
        self.input_size, self.hidden_size, self.bias = input_size, hidden_size, bool(bias)
        self._add("", input_size, bias, dtype)
        self.reset_parameters(rng)

    def forward(self, input: Tensor, hx: Any = None) -> Any:
        if not isinstance(input, Tensor):
            raise DTypeError(f"{type(self).__name__}: the input is a Tensor, not {described(input)}")
        if input.ndim not in (1, 2) or input.shape[-1] != self.input_size:
            raise ShapeError(f"{type(self).__name__}: the input is (m, {self.input_size}) or ({self.input_size},), not "
                             f"{input.shape}")
        state = self._begin(hx, (*input.shape[:-1], self.hidden_size), input.dtype)
        w, u = (getattr(self, f"weight_{part}") for part in ("ih", "hh"))
        b, c = (getattr(self, f"bias_{part}", None) for part in ("ih", "hh"))
        after = self.cell(linear_(input, w, b), linear_(state[0], u, c), state)
        return after[0] if self.states == 1 else tuple(after)

    def extra_repr(self) -> str:
        return f"{self.input_size}, {self.hidden_size}" + ", bias=False" * (not self.bias)


class RNNCell(_RNN, _Cell):
    """One step of an ``RNN`` of one layer: ``forward(x, h)`` gives h'. The parameters are ``weight_ih``, ``weight_hh``,
    ``bias_ih``, ``bias_hh``.

    >>> import microgradx as mgx
    >>> from microgradx import nn
    >>> nn.RNNCell(2, 4)(mgx.Tensor([[1.0, 2.0]])).shape
    (1, 4)
    """

    def __init__(self, input_size: int, hidden_size: int, bias: bool = True, nonlinearity: str = "tanh",
                 dtype: DType = None, rng: Seed = None) -> None:
        self._choose(nonlinearity)
        self._make(input_size, hidden_size, bias, dtype, rng)

    def extra_repr(self) -> str:
        return super().extra_repr() + (f", nonlinearity={self.nonlinearity}" if self.nonlinearity != "tanh" else "")


class GRUCell(_GRU, _Cell):
    """One step of a ``GRU`` of one layer, as ``RNNCell``."""

    def __init__(self, input_size: int, hidden_size: int, bias: bool = True, dtype: DType = None,
                 rng: Seed = None) -> None:
        self._make(input_size, hidden_size, bias, dtype, rng)


class LSTMCell(_LSTM, _Cell):
    """One step of an ``LSTM`` of one layer: ``forward(x, (h, c))`` gives (h', c').

    >>> import microgradx as mgx
    >>> from microgradx import nn
    >>> h, c = nn.LSTMCell(2, 4)(mgx.Tensor([[1.0, 2.0]]))
    >>> h.shape, c.shape
    ((1, 4), (1, 4))
    """

    def __init__(self, input_size: int, hidden_size: int, bias: bool = True, dtype: DType = None,
                 rng: Seed = None) -> None:
        self._make(input_size, hidden_size, bias, dtype, rng)


make_public(__name__)
