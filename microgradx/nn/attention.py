"""Attention: every position reads a weighted mean of values, the weights by how queries and keys agree."""
from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from microgradx._core.tensor import Tensor, concat, linear_
from microgradx.errors import OptionError, ShapeError
from microgradx.names import make_public
from microgradx.nn import functional as F
from microgradx.nn import init
from microgradx.nn.layers import Linear, parameter, sizes_of
from microgradx.nn.module import Module
from microgradx.random import generator
from microgradx.typing import Data, DType, Seed

__all__ = ["MultiheadAttention", "NonDynamicallyQuantizableLinear"]


class NonDynamicallyQuantizableLinear(Linear):
    """``Linear``, by the name that torch prints for the last layer of an attention."""


class MultiheadAttention(Module):
    """``num_heads`` attentions side by side. Vaswani et al. (2017).

    (T, m, embed_dim), (S, m, kdim), (S, m, vdim) -> the output (T, m, embed_dim) and the weights (m, T, S), the mean
    over the heads; with ``batch_first`` m comes first, and it may be missing. ``in_proj_weight`` (3 embed_dim,
    embed_dim) and ``in_proj_bias`` make queries, keys and values, or ``q_proj_weight``, ``k_proj_weight``,
    ``v_proj_weight`` where ``kdim`` or ``vdim`` differ; ``out_proj`` joins the heads. ``dropout`` drops weights in
    training. ``add_bias_kv`` adds a trained key and value, ``add_zero_attn`` ones of zeros, which all may read.

    ``forward(query, key, value, key_padding_mask=None, need_weights=True, attn_mask=None, average_attn_weights=True,
    is_causal=False)``: ``key_padding_mask`` (m, S) and ``attn_mask`` (T, S) or (m heads, T, S): True *forbids* a
    position to be read, floats are added to the scores. ``is_causal``: no position reads a later one. Without
    ``need_weights`` the second result is None; without ``average_attn_weights`` the weights are (m, heads, T, S).
    ``key`` and ``value`` are the query unless given.

    Raises ``OptionError`` if the heads do not divide ``embed_dim``, ``ShapeError`` for inputs that do not fit.

    >>> import numpy as np, microgradx as mgx
    >>> from microgradx import nn
    >>> layer = nn.MultiheadAttention(8, 2, batch_first=True, rng=0)
    >>> x = mgx.Tensor(np.ones((3, 5, 8), "float32"))
    >>> y, weights = layer(x, x, x, is_causal=True)
    >>> y.shape, weights.shape, weights.tolist()[0][1]
    ((3, 5, 8), (3, 5, 5), [0.5, 0.5, 0.0, 0.0, 0.0])
    """
    in_proj_weight: Tensor | None
    q_proj_weight: Tensor | None
    k_proj_weight: Tensor | None
    v_proj_weight: Tensor | None
    in_proj_bias: Tensor | None
    bias_k: Tensor | None
    bias_v: Tensor | None

    def __init__(self, embed_dim: int, num_heads: int, dropout: float = 0.0, bias: bool = True,
                 add_bias_kv: bool = False, add_zero_attn: bool = False, kdim: int | None = None,
                 vdim: int | None = None, batch_first: bool = False, dtype: DType = None, rng: Seed = None) -> None:
        kdim, vdim = embed_dim if kdim is None else kdim, embed_dim if vdim is None else vdim
        sizes_of("MultiheadAttention", embed_dim, num_heads, kdim, vdim, least=1)
        if embed_dim % num_heads:
            raise OptionError(f"MultiheadAttention: {num_heads} heads do not divide embed_dim={embed_dim}")
        self.embed_dim, self.num_heads, self.head_dim = embed_dim, num_heads, embed_dim // num_heads
        self.kdim, self.vdim, self.batch_first, self.add_zero_attn = kdim, vdim, bool(batch_first), bool(add_zero_attn)
        self.dropout = F.probability("MultiheadAttention", dropout)
        self.rng = rng if rng is None else generator(rng)
        one = kdim == vdim == embed_dim
        shapes = {"q": embed_dim, "k": kdim, "v": vdim}
        self.register_parameter("in_proj_weight", parameter((3 * embed_dim, embed_dim), dtype) if one else None)
        for part, n in shapes.items():
            self.register_parameter(f"{part}_proj_weight", None if one else parameter((embed_dim, n), dtype))
        self.register_parameter("in_proj_bias", parameter(3 * embed_dim, dtype) if bias else None)
        self.out_proj = NonDynamicallyQuantizableLinear(embed_dim, embed_dim, bias, dtype, self.rng)
        for part in ("k", "v"):
            self.register_parameter(f"bias_{part}", parameter((1, 1, embed_dim), dtype) if add_bias_kv else None)
        self.reset_parameters(self.rng)

    def reset_parameters(self, rng: Seed = None) -> None:
        """Draw the weights as at the beginning: Glorot's, biases 0; those of ``out_proj`` stay."""
        for weight in (self.in_proj_weight, self.q_proj_weight, self.k_proj_weight, self.v_proj_weight):
            if weight is not None:
                init.xavier_uniform_(weight, rng=rng)
        for bias in (self.in_proj_bias, self.out_proj.bias):
            if bias is not None:
                init.zeros_(bias)
        for extra in (self.bias_k, self.bias_v):
            if extra is not None:
                init.xavier_normal_(extra, rng=rng)

    def forward(self, query: Tensor, key: Tensor | None = None, value: Tensor | None = None,
                key_padding_mask: Data | None = None, need_weights: bool = True, attn_mask: Data | None = None,
                average_attn_weights: bool = True, is_causal: bool = False) -> tuple[Tensor, Tensor | None]:
        key = query if key is None else key
        value = key if value is None else value
        alone = query.ndim == 2
        for x, n in ((query, self.embed_dim), (key, self.kdim), (value, self.vdim)):
            if x.ndim not in (2, 3) or x.ndim != query.ndim or x.shape[-1] != n:
                raise ShapeError(f"MultiheadAttention: inputs are (T, m, {self.embed_dim}), (S, m, {self.kdim}), "
                                 f"(S, m, {self.vdim}), or without m, not {query.shape}, {key.shape}, {value.shape}")
        if alone:
            q, k, v = self._project(*self._same((query, key, value), lambda x: x.unsqueeze(0)))
        elif self.batch_first:
            q, k, v = self._project(query, key, value)
        else:
            q, k, v = self._project(*self._same((query, key, value), lambda x: x.transpose(0, 1)))
        m, t, s = q.shape[0], q.shape[-2], k.shape[-2]
        if k.shape[0] != m or v.shape[0] != m or v.shape[-2] != s:
            raise ShapeError(f"MultiheadAttention: inputs of one batch, keys as many as values, not {query.shape}, "
                             f"{key.shape}, {value.shape}")
        mask = self._mask(attn_mask, key_padding_mask, m, t, s, alone)
        more = self.add_zero_attn + (self.bias_k is not None)
        if more:
            if is_causal:
                mask, is_causal = _both(mask, Tensor(np.tril(np.ones((t, s), bool)))), False
            k, v, mask = self._extend(k, v, mask, more)
        if need_weights:
            weights = F.attention_weights(q, k, mask, is_causal)
            weights = F.dropout(weights, self.dropout, self.training, rng=self.rng)
            y = weights @ v
        else:
            y = F.scaled_dot_product_attention(q, k, v, mask, self.dropout if self.training else 0.0, is_causal,
                                               rng=self.rng)
        y = self.out_proj(y.transpose(-2, -3).reshape(m, t, self.embed_dim))                # (m, heads, T, n)
        y = y.squeeze(0) if alone else y if self.batch_first else y.transpose(0, 1)
        if not need_weights:
            return y, None
        weights = weights.mean(1) if average_attn_weights else weights
        return y, weights.squeeze(0) if alone else weights

    @staticmethod
    def _same(xs: tuple[Tensor, Tensor, Tensor], change: Callable[[Tensor], Tensor]) -> list[Tensor]:
        """The three changed, those that are one tensor once."""
        made = {id(x): change(x) for x in xs}
        return [made[id(x)] for x in xs]

    def _project(self, query: Tensor, key: Tensor, value: Tensor) -> Sequence[Tensor]:
        """q, k, v, each (m, heads, T, n)."""
        w, b, n, heads = self.in_proj_weight, self.in_proj_bias, self.embed_dim, self.num_heads
        if w is not None and query is key is value:     # one product in place of three
            x = linear_(query, w, b)
            x = x.reshape(*x.shape[:-1], 3, heads, n // heads).transpose(-2, -4)
            return x[..., 0, :, :], x[..., 1, :, :], x[..., 2, :, :]
        parts = [slice(k, k + n) for k in (0, n, 2 * n)]
        ws = [w[at] for at in parts] if w is not None else [self.q_proj_weight, self.k_proj_weight, self.v_proj_weight]
        xs = [linear_(x, u, b if b is None else b[at])          # type: ignore[arg-type]
              for x, u, at in zip((query, key, value), ws, parts)]
        return [x.reshape(*x.shape[:-1], heads, n // heads).transpose(-2, -3) for x in xs]

    def _mask(self, attn_mask: Data | None, key_padding_mask: Data | None, m: int, t: int, s: int,
              alone: bool) -> Tensor | None:
        """Both masks as one that broadcasts to (m, heads, T, S): bool, True allows, or floats to be added."""
        found = None
        if attn_mask is not None:
            mask = F.allowed(attn_mask)
            if mask.shape not in ((t, s), (m * self.num_heads, t, s)):
                raise ShapeError(f"MultiheadAttention: attn_mask is {(t, s)} or {(m * self.num_heads, t, s)}, not "
                                 f"{mask.shape}")
            found = mask if mask.ndim == 2 else mask.reshape(m, self.num_heads, t, s)
        if key_padding_mask is not None:
            mask = F.allowed(key_padding_mask)
            if mask.shape != ((s,) if alone else (m, s)):
                raise ShapeError(f"MultiheadAttention: key_padding_mask is {(s,) if alone else (m, s)}, not "
                                 f"{mask.shape}")
            found = _both(found, mask.reshape(m, 1, 1, s))
        return found

    def _extend(self, k: Tensor, v: Tensor, mask: Tensor | None, more: int) -> tuple[Tensor, Tensor, Tensor | None]:
        """Keys and values with the trained ones and with zeros, ``more`` of them, which every mask lets through."""
        m, heads, _, n = k.shape
        keys, values = [k], [v]
        for parts, bias in ((keys, self.bias_k), (values, self.bias_v)):
            if bias is not None:
                parts.append(bias.reshape(1, heads, 1, n).expand(m, heads, 1, n))
            if self.add_zero_attn:
                parts.append(Tensor(np.zeros((m, heads, 1, n), k.dtype)))
        if mask is not None:
            through = np.full((*mask.shape[:-1], more), mask.dtype.kind == "b", mask.dtype)
            mask = concat([mask, Tensor(through)], -1)
        return concat(keys, -2), concat(values, -2), mask


def _both(one: Tensor | None, other: Tensor) -> Tensor:
    """Two masks as one: what both allow, or the sum of what they add."""
    if one is None:
        return other
    if one.dtype.kind == other.dtype.kind == "b":
        return one & other
    dtype = one.dtype if one.dtype.kind == "f" else other.dtype
    added = [x if x.dtype.kind == "f" else x.where(Tensor(0.0, dtype=dtype), -np.inf) for x in (one, other)]
    return added[0] + added[1]


make_public(__name__)
