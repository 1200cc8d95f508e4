"""Recurrent layers: RNN, GRU, LSTM, with torch's weights, names and order of gates."""
from __future__ import annotations

import math
from typing import Any

import numpy as np

from microgradx._core.tensor import Tensor, linear_, stack
from microgradx.errors import DTypeError, OptionError, ShapeError, described, name_errors
from microgradx.nn import init
from microgradx.nn.layers import parameter, sizes_of
from microgradx.nn.module import Module
from microgradx.random import generator
from microgradx.typing import DType, Seed

__all__ = ["GRU", "LSTM", "RNN"]


class _Recurrent(Module):
    """What recurrent layers share: the weights of every layer and the walk through time.

    A subclass gives the ``gates`` (blocks of rows in a weight), how many tensors a ``state`` has, and ``cell``.
    """
    gates, states = 1, 1

    def __init__(self, input_size: int, hidden_size: int, num_layers: int = 1, bias: bool = True,
                 batch_first: bool = False, dtype: DType = None, rng: Seed = None) -> None:
        name = type(self).__name__
        sizes_of(name, input_size, hidden_size, num_layers, least=1)
        self.input_size, self.hidden_size, self.num_layers = input_size, hidden_size, num_layers
        self.bias, self.batch_first = bool(bias), bool(batch_first)
        rng, limit = generator(rng), 1 / math.sqrt(hidden_size)
        for k in range(num_layers):
            rows, widths = self.gates * hidden_size, {"ih": input_size if k == 0 else hidden_size, "hh": hidden_size}
            shapes = {f"weight_{part}_l{k}": (rows, n) for part, n in widths.items()}
            for label, shape in (shapes | {f"bias_{part}_l{k}": rows for part in widths if bias}).items():
                setattr(self, label, init.uniform_(parameter(shape, dtype), -limit, limit, rng))

    def cell(self, ih: Tensor, hh: Tensor, state: list[Tensor]) -> list[Tensor]:
        """The next state, from the input's part ``ih`` and the state's part ``hh`` of the gates."""
        raise NotImplementedError

    def forward(self, x: Tensor, state: Any = None) -> tuple[Tensor, Any]:
        """x (T, m, input) or (T, input), (m, T, input) with ``batch_first`` -> the last layer's states over time in
        the same layout, and the last state of every layer (num_layers, m, hidden): a pair (h, c) for LSTM.

        ``state`` is what a former call gave, zeros if None.
        """
        name = type(self).__name__
        if not isinstance(x, Tensor):
            raise DTypeError(f"{name}: the input is a Tensor, not {described(x)}")
        if x.ndim not in (2, 3) or x.shape[-1] != self.input_size:
            raise ShapeError(f"{name}: the input is (T, m, {self.input_size}) or (T, {self.input_size}), not {x.shape}")
        time = 1 if self.batch_first and x.ndim == 3 else 0
        steps = [x[:, t] if time else x[t] for t in range(x.shape[time])]
        if not steps:
            raise ShapeError(f"{name}: an input of no steps, shape {x.shape}")
        shape = (self.num_layers, *steps[0].shape[:-1], self.hidden_size)
        state = self._start(name, state, shape, x.dtype)
        last: list[list[Tensor]] = []
        for k in range(self.num_layers):
            w, u = (getattr(self, f"weight_{part}_l{k}") for part in ("ih", "hh"))
            b, c = (getattr(self, f"bias_{part}_l{k}", None) for part in ("ih", "hh"))
            now = [s[k] for s in state]
            for t, step in enumerate(steps):
                now = self.cell(linear_(step, w, b), linear_(now[0], u, c), now)
                steps[t] = now[0]
            last.append(now)
        ends = [stack(parts) for parts in zip(*last)]
        return stack(steps, time), ends[0] if self.states == 1 else tuple(ends)

    def _start(self, name: str, state: Any, shape: tuple[int, ...], dtype: DType) -> list[Tensor]:
        if state is None:
            return [Tensor(np.zeros(shape, dtype))] * self.states
        tensors: list[Tensor] = [state] if self.states == 1 else list(state)
        if len(tensors) != self.states or any(s.shape != shape for s in tensors):
            raise ShapeError(f"{name}: a state has {self.states} of shape {shape}, not {[s.shape for s in tensors]}")
        return tensors

    def extra_repr(self) -> str:
        return (f"{self.input_size}, {self.hidden_size}" + f", num_layers={self.num_layers}" * (self.num_layers > 1)
                + ", bias=False" * (not self.bias) + ", batch_first=True" * self.batch_first)


class RNN(_Recurrent):
    """h' = tanh(W x + b + U h + c), or relu: Elman (1990). ``forward(x, h)`` gives (states over time, last states).

    Parameters of layer k are ``weight_ih_l{k}`` (hidden, input), ``weight_hh_l{k}`` (hidden, hidden),
    ``bias_ih_l{k}`` and ``bias_hh_l{k}`` (hidden,), all from U(-1/sqrt(hidden), 1/sqrt(hidden)).

    >>> import microgradx as mgx
    >>> from microgradx import nn
    >>> y, h = nn.RNN(2, 4, num_layers=2)(mgx.Tensor([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]))
    >>> y.shape, h.shape
    ((3, 4), (2, 4))
    """

    def __init__(self, input_size: int, hidden_size: int, num_layers: int = 1, nonlinearity: str = "tanh",
                 bias: bool = True, batch_first: bool = False, dtype: DType = None, rng: Seed = None) -> None:
        if nonlinearity not in ("tanh", "relu"):
            raise OptionError(f"RNN: nonlinearity is 'tanh' or 'relu', not {nonlinearity!r}")
        self.nonlinearity = nonlinearity
        super().__init__(input_size, hidden_size, num_layers, bias, batch_first, dtype, rng)

    def cell(self, ih: Tensor, hh: Tensor, state: list[Tensor]) -> list[Tensor]:
        return [getattr(ih + hh, self.nonlinearity)()]

    def extra_repr(self) -> str:
        return super().extra_repr() + ", nonlinearity='relu'" * (self.nonlinearity == "relu")


class GRU(_Recurrent):
    """h' = (1 - z) n + z h with n = tanh(W x + b + r (U h + c)), gates r and z: Cho et al. (2014).

    Layout and calls as ``RNN``; a weight stacks the rows of r, z, n.

    >>> import microgradx as mgx
    >>> from microgradx import nn
    >>> y, h = nn.GRU(2, 4)(mgx.Tensor([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]))
    >>> bool((y[-1] == h[0]).numpy().all())
    True
    """
    gates = 3

    def cell(self, ih: Tensor, hh: Tensor, state: list[Tensor]) -> list[Tensor]:
        h, = state
        (r, z, n), (s, y, m) = (x.split(self.hidden_size, -1) for x in (ih, hh))
        n = (n + (r + s).sigmoid() * m).tanh()
        return [n + (z + y).sigmoid() * (h - n)]


class LSTM(_Recurrent):
    """c' = f c + i g, h' = o tanh(c') with gates i, f, o and g = tanh(...): Hochreiter and Schmidhuber (1997), with
    the forget gate of Gers et al. (2000).

    Layout and calls as ``RNN``; a weight stacks the rows of i, f, g, o; the state is the pair (h, c).

    >>> import microgradx as mgx
    >>> from microgradx import nn
    >>> y, (h, c) = nn.LSTM(2, 4)(mgx.Tensor([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]))
    >>> y.shape, h.shape, c.shape
    ((3, 4), (1, 4), (1, 4))
    """
    gates, states = 4, 2

    def cell(self, ih: Tensor, hh: Tensor, state: list[Tensor]) -> list[Tensor]:
        c = state[1]
        i, f, g, o = (ih + hh).split(self.hidden_size, -1)
        c = f.sigmoid() * c + i.sigmoid() * g.tanh()
        return [o.sigmoid() * c.tanh(), c]


name_errors(__name__, "forward")
