"""Attention: every position reads a weighted mean of values, the weights by how queries and keys agree."""
from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from microgradx._core.tensor import Tensor, linear_
from microgradx.errors import OptionError, ShapeError, name_errors
from microgradx.nn import functional as F
from microgradx.nn import init
from microgradx.nn.layers import Linear, parameter, sizes_of
from microgradx.nn.module import Module
from microgradx.random import generator
from microgradx.typing import Data, DType, Seed

__all__ = ["MultiheadAttention"]


class MultiheadAttention(Module):
    """``num_heads`` attentions side by side: (..., T, embed_dim) -> (..., T, embed_dim). Vaswani et al. (2017).

    As torch's with ``batch_first=True``, whose weights load: ``in_proj_weight`` (3 embed_dim, embed_dim) and
    ``in_proj_bias`` make queries, keys and values, ``out_proj`` joins the heads. ``causal=True``: no position reads
    a later one. ``attn_mask`` of ``forward``: as torch's, True *forbids* a position to be read, floats are added to
    the scores. ``key`` and ``value`` are the query unless given. The result is the output alone; with
    ``need_weights=True`` a pair: the output and the weights (..., T, S), mean over heads. ``dropout`` drops weights.

    Raises ``OptionError`` if the heads do not divide ``embed_dim``, ``ShapeError`` for inputs that do not fit.

    >>> import numpy as np, microgradx as mgx
    >>> from microgradx import nn
    >>> layer = nn.MultiheadAttention(8, 2, causal=True, rng=0)
    >>> x = mgx.Tensor(np.ones((3, 5, 8), "float32"))
    >>> y, weights = layer(x, need_weights=True)
    >>> y.shape, weights.shape, weights.tolist()[0][1]
    ((3, 5, 8), (3, 5, 5), [0.5, 0.5, 0.0, 0.0, 0.0])
    """

    def __init__(self, embed_dim: int, num_heads: int, dropout: float = 0.0, bias: bool = True, causal: bool = False,
                 dtype: DType = None, rng: Seed = None) -> None:
        sizes_of("MultiheadAttention", embed_dim, num_heads, least=1)
        if embed_dim % num_heads:
            raise OptionError(f"MultiheadAttention: {num_heads} heads do not divide embed_dim={embed_dim}")
        self.embed_dim, self.num_heads, self.causal = embed_dim, num_heads, bool(causal)
        self.dropout = F.probability("MultiheadAttention", dropout)
        self.rng = rng if rng is None else generator(rng)
        self.in_proj_weight = init.xavier_uniform_(parameter((3 * embed_dim, embed_dim), dtype), rng=self.rng)
        self.in_proj_bias = init.zeros_(parameter(3 * embed_dim, dtype)) if bias else None
        self.out_proj = Linear(embed_dim, embed_dim, bias, dtype, self.rng)
        if self.out_proj.bias is not None:
            init.zeros_(self.out_proj.bias)

    def forward(self, query: Tensor, key: Tensor | None = None, value: Tensor | None = None,
                attn_mask: Data | None = None, need_weights: bool = False) -> Any:
        key = query if key is None else key
        value = key if value is None else value
        for x in (query, key, value):
            if x.ndim < 2 or x.shape[-1] != self.embed_dim or x.shape[:-2] != query.shape[:-2]:
                raise ShapeError(f"MultiheadAttention: inputs are (..., T, {self.embed_dim}) with equal leading axes, "
                                 f"not {query.shape}, {key.shape}, {value.shape}")
        q, k, v = self._project(query, key, value)
        weights = F.attention_weights(q, k, F.forbidden(attn_mask), self.causal)
        mixed = F.dropout(weights, self.dropout, self.training, self.rng) @ v       # (..., heads, T, n)
        y = self.out_proj(mixed.transpose(-2, -3).reshape(query.shape))
        return (y, weights.mean(-3)) if need_weights else y

    def _project(self, query: Tensor, key: Tensor, value: Tensor) -> Sequence[Tensor]:
        """q, k, v, each (..., heads, T, n)."""
        w, b, n, heads = self.in_proj_weight, self.in_proj_bias, self.embed_dim, self.num_heads
        if query is key is value:                       # one product in place of three
            x = linear_(query, w, b)
            x = x.reshape(*x.shape[:-1], 3, heads, n // heads).transpose(-2, -4)
            return x[..., 0, :, :], x[..., 1, :, :], x[..., 2, :, :]
        parts = [slice(k, k + n) for k in (0, n, 2 * n)]
        xs = [linear_(x, w[at], b if b is None else b[at]) for x, at in zip((query, key, value), parts)]
        return [x.reshape(*x.shape[:-1], heads, n // heads).transpose(-2, -3) for x in xs]

    def extra_repr(self) -> str:
        return f"{self.embed_dim}, {self.num_heads}" + ", causal=True" * self.causal


name_errors(__name__, "forward")
