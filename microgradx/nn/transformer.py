"""Transformers: layers of attention and two linear maps, with residuals and normalisation. Vaswani et al. (2017)."""
from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np

from microgradx._core.array import get_default_dtype
from microgradx._core.tensor import Tensor
from microgradx.creation import check_count, full
from microgradx.errors import OptionError, ShapeError, is_device
from microgradx.names import make_public
from microgradx.nn import functional as F
from microgradx.nn import init
from microgradx.nn.attention import MultiheadAttention
from microgradx.nn.containers import ModuleList
from microgradx.nn.layers import Dropout, Linear, sizes_of
from microgradx.nn.module import Module
from microgradx.nn.normalization import LayerNorm
from microgradx.random import generator
from microgradx.typing import Data, DType, Seed

__all__ = ["Transformer", "TransformerDecoder", "TransformerDecoderLayer", "TransformerEncoder",
           "TransformerEncoderLayer"]


class _Layer(Module):
    """What encoder and decoder layers share: the two linear maps, and a way to add what a part gives."""

    def _make(self, d_model: int, dim_feedforward: int, dropout: float, activation: str | Callable[[Tensor], Tensor],
              layer_norm_eps: float, norm_first: bool, bias: bool, parts: int, dtype: DType, rng: Seed) -> None:
        sizes_of(type(self).__name__, d_model, dim_feedforward, least=1)
        if isinstance(activation, str) and activation not in ("relu", "gelu"):
            raise OptionError(f"{type(self).__name__}: activation is 'relu', 'gelu' or a function, not {activation!r}")
        self.linear1 = Linear(d_model, dim_feedforward, bias, dtype, rng)
        self.dropout = Dropout(dropout, rng=rng)
        self.linear2 = Linear(dim_feedforward, d_model, bias, dtype, rng)
        self.norm_first = bool(norm_first)
        for k in range(1, parts + 1):
            setattr(self, f"norm{k}", LayerNorm(d_model, layer_norm_eps, True, bias, dtype))
        for k in range(1, parts + 1):
            setattr(self, f"dropout{k}", Dropout(dropout, rng=rng))
        self.activation: Any = getattr(F, activation) if isinstance(activation, str) else activation

    def _add(self, k: int, x: Tensor, part: Callable[[Tensor], Tensor]) -> Tensor:
        """x and what ``part`` makes of it, by the ``k``-th norm and dropout, the norm first or last."""
        norm, dropout = getattr(self, f"norm{k}"), getattr(self, f"dropout{k}")
        y: Tensor = x + dropout(part(norm(x))) if self.norm_first else norm(x + dropout(part(x)))
        return y

    def _feed(self, x: Tensor) -> Tensor:
        y: Tensor = self.linear2(self.dropout(self.activation(self.linear1(x))))
        return y


class TransformerEncoderLayer(_Layer):
    """Self-attention, then two linear maps with an ``activation`` between them; each added to its input.

    (T, m, d_model) -> (T, m, d_model); (m, T, d_model) with ``batch_first``. Layer normalisation comes last, or first
    with ``norm_first``. ``src_mask`` and ``src_key_padding_mask`` are ``MultiheadAttention``'s.

    >>> import microgradx as mgx
    >>> from microgradx import nn
    >>> layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
    >>> layer(mgx.zeros(3, 5, 8)).shape
    (3, 5, 8)
    """

    def __init__(self, d_model: int, nhead: int, dim_feedforward: int = 2048, dropout: float = 0.1,
                 activation: str | Callable[[Tensor], Tensor] = "relu", layer_norm_eps: float = 1e-5,
                 batch_first: bool = False, norm_first: bool = False, bias: bool = True, dtype: DType = None,
                 rng: Seed = None) -> None:
        rng = rng if rng is None else generator(rng)
        self.self_attn = MultiheadAttention(d_model, nhead, dropout, bias, batch_first=batch_first, dtype=dtype,
                                            rng=rng)
        self._make(d_model, dim_feedforward, dropout, activation, layer_norm_eps, norm_first, bias, 2, dtype, rng)

    def forward(self, src: Tensor, src_mask: Data | None = None, src_key_padding_mask: Data | None = None,
                is_causal: bool = False) -> Tensor:
        def attend(x: Tensor) -> Tensor:
            y: Tensor = self.self_attn(x, x, x, src_key_padding_mask, False, src_mask, is_causal=is_causal)[0]
            return y

        return self._add(2, self._add(1, src, attend), self._feed)


class TransformerDecoderLayer(_Layer):
    """Self-attention, attention to ``memory``, then two linear maps; each added to its input.

    ``tgt`` (T, m, d_model) and ``memory`` (S, m, d_model), the encoder's output -> (T, m, d_model); m comes first with
    ``batch_first``.

    >>> import microgradx as mgx
    >>> from microgradx import nn
    >>> layer = nn.TransformerDecoderLayer(8, 2, 16, batch_first=True)
    >>> layer(mgx.zeros(3, 5, 8), mgx.zeros(3, 4, 8)).shape
    (3, 5, 8)
    """

    def __init__(self, d_model: int, nhead: int, dim_feedforward: int = 2048, dropout: float = 0.1,
                 activation: str | Callable[[Tensor], Tensor] = "relu", layer_norm_eps: float = 1e-5,
                 batch_first: bool = False, norm_first: bool = False, bias: bool = True, dtype: DType = None,
                 rng: Seed = None) -> None:
        rng = rng if rng is None else generator(rng)
        self.self_attn, self.multihead_attn = (
            MultiheadAttention(d_model, nhead, dropout, bias, batch_first=batch_first, dtype=dtype, rng=rng)
            for _ in range(2))
        self._make(d_model, dim_feedforward, dropout, activation, layer_norm_eps, norm_first, bias, 3, dtype, rng)

    def forward(self, tgt: Tensor, memory: Tensor, tgt_mask: Data | None = None, memory_mask: Data | None = None,
                tgt_key_padding_mask: Data | None = None, memory_key_padding_mask: Data | None = None,
                tgt_is_causal: bool = False, memory_is_causal: bool = False) -> Tensor:
        def attend(x: Tensor) -> Tensor:
            y: Tensor = self.self_attn(x, x, x, tgt_key_padding_mask, False, tgt_mask, is_causal=tgt_is_causal)[0]
            return y

        def look_back(x: Tensor) -> Tensor:
            y: Tensor = self.multihead_attn(x, memory, memory, memory_key_padding_mask, False, memory_mask,
                                            is_causal=memory_is_causal)[0]
            return y

        return self._add(3, self._add(2, self._add(1, tgt, attend), look_back), self._feed)


class TransformerEncoder(Module):
    """``num_layers`` copies of ``encoder_layer``, one after the other, then ``norm`` if there is one.

    The copies begin with the same numbers. ``enable_nested_tensor`` and ``mask_check`` are torch's: they choose among
    ways to the same numbers.

    >>> import microgradx as mgx
    >>> from microgradx import nn
    >>> net = nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, 16), num_layers=2)
    >>> net(mgx.zeros(5, 3, 8)).shape
    (5, 3, 8)
    """

    def __init__(self, encoder_layer: Module, num_layers: int, norm: Module | None = None,
                 enable_nested_tensor: bool = True, mask_check: bool = True) -> None:
        sizes_of("TransformerEncoder", num_layers, least=1)
        self.layers = ModuleList(copy.deepcopy(encoder_layer) for _ in range(num_layers))
        self.num_layers, self.norm = num_layers, norm

    def forward(self, src: Tensor, mask: Data | None = None, src_key_padding_mask: Data | None = None,
                is_causal: bool | None = None) -> Tensor:
        x = src
        for layer in self.layers:
            x = layer(x, src_mask=mask, src_key_padding_mask=src_key_padding_mask, is_causal=bool(is_causal))
        return x if self.norm is None else self.norm(x)


class TransformerDecoder(Module):
    """``num_layers`` copies of ``decoder_layer``, one after the other, then ``norm`` if there is one."""

    def __init__(self, decoder_layer: Module, num_layers: int, norm: Module | None = None) -> None:
        sizes_of("TransformerDecoder", num_layers, least=1)
        self.layers = ModuleList(copy.deepcopy(decoder_layer) for _ in range(num_layers))
        self.num_layers, self.norm = num_layers, norm

    def forward(self, tgt: Tensor, memory: Tensor, tgt_mask: Data | None = None, memory_mask: Data | None = None,
                tgt_key_padding_mask: Data | None = None, memory_key_padding_mask: Data | None = None,
                tgt_is_causal: bool | None = None, memory_is_causal: bool = False) -> Tensor:
        x = tgt
        for layer in self.layers:
            x = layer(x, memory, tgt_mask=tgt_mask, memory_mask=memory_mask, tgt_key_padding_mask=tgt_key_padding_mask,
                      memory_key_padding_mask=memory_key_padding_mask, tgt_is_causal=bool(tgt_is_causal),
                      memory_is_causal=memory_is_causal)
        return x if self.norm is None else self.norm(x)


class Transformer(Module):
    """An encoder of ``src`` (S, m, d_model) and a decoder of ``tgt`` (T, m, d_model) that reads it -> (T, m, d_model).

    m comes first with ``batch_first``. Weights start as Glorot's uniform numbers.

    >>> import microgradx as mgx
    >>> from microgradx import nn
    >>> net = nn.Transformer(8, 2, 1, 1, 16, batch_first=True)
    >>> net(mgx.zeros(3, 4, 8), mgx.zeros(3, 5, 8)).shape
    (3, 5, 8)
    """

    def __init__(self, d_model: int = 512, nhead: int = 8, num_encoder_layers: int = 6, num_decoder_layers: int = 6,
                 dim_feedforward: int = 2048, dropout: float = 0.1,
                 activation: str | Callable[[Tensor], Tensor] = "relu", custom_encoder: Module | None = None,
                 custom_decoder: Module | None = None, layer_norm_eps: float = 1e-5, batch_first: bool = False,
                 norm_first: bool = False, bias: bool = True, dtype: DType = None, rng: Seed = None) -> None:
        rng = rng if rng is None else generator(rng)
        self.d_model, self.nhead, self.batch_first = d_model, nhead, bool(batch_first)
        options = (d_model, nhead, dim_feedforward, dropout, activation, layer_norm_eps, batch_first, norm_first, bias,
                   dtype, rng)
        norm = (d_model, layer_norm_eps, True, bias, dtype)
        self.encoder = custom_encoder if custom_encoder is not None else TransformerEncoder(
            TransformerEncoderLayer(*options), num_encoder_layers, LayerNorm(*norm))
        self.decoder = custom_decoder if custom_decoder is not None else TransformerDecoder(
            TransformerDecoderLayer(*options), num_decoder_layers, LayerNorm(*norm))
        for p in self.parameters():
            if p.ndim > 1:
                init.xavier_uniform_(p, rng=rng)

    def forward(self, src: Tensor, tgt: Tensor, src_mask: Data | None = None, tgt_mask: Data | None = None,
                memory_mask: Data | None = None, src_key_padding_mask: Data | None = None,
                tgt_key_padding_mask: Data | None = None, memory_key_padding_mask: Data | None = None,
                src_is_causal: bool | None = None, tgt_is_causal: bool | None = None,
                memory_is_causal: bool = False) -> Tensor:
        if src.ndim != tgt.ndim or src.shape[-1] != self.d_model or tgt.shape[-1] != self.d_model:
            raise ShapeError(f"Transformer: src and tgt have {self.d_model} features and as many axes, not {src.shape} "
                             f"and {tgt.shape}")
        memory = self.encoder(src, mask=src_mask, src_key_padding_mask=src_key_padding_mask, is_causal=src_is_causal)
        y: Tensor = self.decoder(tgt, memory, tgt_mask=tgt_mask, memory_mask=memory_mask,
                                 tgt_key_padding_mask=tgt_key_padding_mask,
                                 memory_key_padding_mask=memory_key_padding_mask, tgt_is_causal=tgt_is_causal,
                                 memory_is_causal=memory_is_causal)
        return y

    @staticmethod
    def generate_square_subsequent_mask(sz: int, device: Any = None, dtype: DType = None) -> Tensor:
        """A mask (sz, sz) of floats to be added: -inf where the key comes after the query, else 0.

        >>> from microgradx import nn
        >>> nn.Transformer.generate_square_subsequent_mask(2)
        Tensor([[  0., -inf],
                [  0.,   0.]])
        """
        sizes_of("generate_square_subsequent_mask", sz)
        check_count("generate_square_subsequent_mask", sz * sz, f"in {sz} rows")
        if device is not None and not is_device("generate_square_subsequent_mask", device):
            raise OptionError(f"generate_square_subsequent_mask: {device!r} is no device; there is 'cpu'")
        return full((sz, sz), -np.inf, dtype=dtype or get_default_dtype()).triu(1)


make_public(__name__)
