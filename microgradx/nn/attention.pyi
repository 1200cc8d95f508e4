from typing import Any

from microgradx._core.tensor import Data, DType, Seed, Tensor
from microgradx.nn.module import Module

__all__ = ["MultiheadAttention"]

class MultiheadAttention(Module):
    def __init__(self, embed_dim: int, num_heads: int, dropout: float = 0.0, bias: bool = True, causal: bool = False,
                 dtype: DType = None, rng: Seed = None) -> None: ...
    def forward(self, query: Tensor, key: Data | None = None, value: Data | None = None, attn_mask: Data | None = None,
                need_weights: bool = False) -> Any: ...
    def extra_repr(self) -> str: ...
