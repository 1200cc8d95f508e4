"""Functions of tensors that nets are made of: the linear map, embedding, dropout, attention, and its neighbours'."""
from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from microgradx._core import generator as core
from microgradx._core.generator import Generator
from microgradx._core.launch import compute
from microgradx._core.tensor import Tensor, linear_
from microgradx.arrays import cosine_similarity as cosine_similarity
from microgradx.arrays import glu as glu
from microgradx.arrays import normalize as normalize
from microgradx.creation import check_count, lengths
from microgradx.errors import DTypeError, IndexError_, OptionError, ShapeError, name_errors
from microgradx.nn.activations import *
from microgradx.nn.activations import ACTIVATIONS as ACTIVATIONS
from microgradx.nn.convolution import avg_pool2d as avg_pool2d
from microgradx.nn.convolution import conv1d as conv1d
from microgradx.nn.convolution import conv2d as conv2d
from microgradx.nn.convolution import max_pool2d as max_pool2d
from microgradx.nn.costs import *
from microgradx.nn.normalization import batch_norm as batch_norm
from microgradx.nn.normalization import group_norm as group_norm
from microgradx.nn.normalization import layer_norm as layer_norm
from microgradx.nn.normalization import rms_norm as rms_norm
from microgradx.random import generator, rand
from microgradx.typing import Data, DType, Seed

if not TYPE_CHECKING:           # a type checker goes by the imports, and can read no list that is not written out
    from microgradx.nn import activations, convolution, costs, normalization
    __all__ = [*activations.__all__, *costs.__all__, *convolution.FUNCTIONS, *normalization.FUNCTIONS,
               "cosine_similarity", "dropout", "embedding", "glu", "linear", "normalize", "one_hot", "prelu",
               "scaled_dot_product_attention"]


def prelu(x: Tensor, weight: Tensor) -> Tensor:
    """x where x > 0, else weight * x. ``weight`` holds one number, or one per index of axis 1 of ``x``."""
    if x.ndim == 0:
        weight = weight.reshape(())
    elif weight.size > 1 and x.ndim > 2:
        weight = weight.reshape(weight.size, *[1] * (x.ndim - 2))
    return x.prelu(weight)


def linear(x: Data, weight: Tensor, bias: Data | None = None) -> Tensor:
    """x @ weight^T + bias: (..., in), (out, in), (out,) -> (..., out).

    >>> import microgradx as mgx
    >>> from microgradx.nn import functional as F
    >>> F.linear(mgx.Tensor([[1.0, 2.0]]), mgx.Tensor([[3.0, 4.0]]), mgx.Tensor([0.5]))
    Tensor([[11.5]])
    """
    return linear_(x, weight, bias)


def one_hot(labels: Data, classes: int, dtype: DType = "float32") -> Tensor:
    """Rows of 0 with a 1 at the label: int (m,) -> (m, classes).

    >>> from microgradx.nn import functional as F
    >>> F.one_hot([2, 0], 3)
    Tensor([[0., 0., 1.],
            [1., 0., 0.]])
    """
    labels = labels if isinstance(labels, Tensor) else Tensor(labels)
    if labels.ndim != 1 or labels.size and labels.dtype.kind != "i":
        raise ShapeError(f"one_hot: labels are integers of shape (m,), not {labels.dtype} of shape {labels.shape}")
    count, = lengths("one_hot", (classes,), "the number of classes")
    check_count("one_hot", labels.size * count, f"in {labels.size} rows of {count} classes")
    return compute(_one_hot, labels, count, np.dtype(dtype))


def _one_hot(labels: npt.NDArray[np.int64], classes: int, dtype: DType) -> npt.NDArray[Any]:
    _within("one_hot", "label", "classes", labels, classes)
    return np.equal(labels[:, None], np.arange(classes)).astype(dtype)


def _within(op: str, what: str, of: str, numbers: npt.NDArray[np.int64], n: int) -> npt.NDArray[np.int64]:
    """The integers ``numbers``, which are all in 0..n-1."""
    if numbers.size and not 0 <= numbers.min() <= numbers.max() < n:
        at = tuple(map(int, np.argwhere((numbers < 0) | (numbers >= n))[0]))
        raise IndexError_(f"{op}: {what} {numbers[at]} at {list(at)} is not one of the {n} {of} (0..{n - 1})")
    return numbers


def _row_numbers(ids: npt.NDArray[np.int64], n: int) -> npt.NDArray[np.int64]:
    return _within("embedding", "id", "rows", ids, n)


def embedding(ids: Data, weight: Tensor, padding_idx: int | None = None) -> Tensor:
    """Row ``id`` of ``weight`` (count, width) for every id: integers (...) -> (..., width).

    The gradient of a row is the sum over its uses; the row ``padding_idx`` gets none. Raises ``DTypeError`` for ids
    that are no integers, ``IndexError_`` for one that is not in 0..count-1.

    >>> import microgradx as mgx
    >>> from microgradx.nn import functional as F
    >>> F.embedding([2, 0], mgx.Tensor([[1.0], [2.0], [3.0]]))
    Tensor([[3.],
            [1.]])
    """
    ids = ids if isinstance(ids, Tensor) else Tensor(ids)
    if ids.size and ids.dtype.kind != "i" or weight.ndim != 2:
        raise DTypeError(f"embedding: ids are integers and weight is (count, width), not {ids.dtype} and "
                         f"{weight.shape}")
    numbers = compute(_row_numbers, ids.astype("int64"), len(weight))
    rows = weight[numbers]
    if padding_idx is None:
        return rows
    return (numbers != padding_idx).unsqueeze(-1).where(rows, rows.detach())


def probability(op: str, p: float) -> float:
    """``p``, which is a number from 0 to 1."""
    if isinstance(p, (int, float, np.number)) and 0 <= p <= 1:
        return p
    raise OptionError(f"{op}: p={p!r} is not a probability, 0 <= p <= 1")


def dropout(x: Tensor, p: float = 0.5, training: bool = True, rng: Seed = None) -> Tensor:
    """Each element 0 with probability ``p``, else divided by 1 - p; x itself if not ``training``.

    ``rng``: a Generator, a seed, or None for the shared one. One seed drops the same elements in both dtypes. Nothing
    is kept for the derivative but the state of the generator, from which it finds the same elements once more.

    >>> import microgradx as mgx
    >>> from microgradx.nn import functional as F
    >>> F.dropout(mgx.Tensor([1.0, 1.0, 1.0, 1.0]), 0.5, rng=0)
    Tensor([0., 2., 0., 2.])
    """
    if not training or probability("dropout", p) == 0:
        return x
    source, x = generator(rng), x if isinstance(x, Tensor) else Tensor(x)
    if isinstance(source, Generator):
        return core.dropout(x, p, source)
    kept = rand(x.shape, rng=source) >= p
    return x * (kept.astype(x.dtype) * (1 / (1 - p) if p < 1 else 0.0))


# ----- attention -------------------------------------------------------------------------------------------------

def scaled_dot_product_attention(q: Tensor, k: Tensor, v: Tensor, attn_mask: Data | None = None,
                                 is_causal: bool = False, scale: float | None = None) -> Tensor:
    """softmax(scale * q k^T) v: (..., T, n), (..., S, n), (..., S, m) -> (..., T, m). Vaswani et al. (2017), eq. 1.

    ``scale`` is 1/sqrt(n) unless given. ``attn_mask`` broadcasts to (..., T, S): True *allows* a key to be read (as
    torch's function, not its module), floats are added to the scores. ``is_causal``: query t reads keys 0..t. A
    query that may read no key, all of whose scores are -inf, reads 0, and no gradient comes from it. Raises
    ``OptionError`` for a mask of floats that are all 0 or 1, some of them 1: that is no mask to be added.

    >>> import microgradx as mgx
    >>> from microgradx.nn import functional as F
    >>> q = mgx.Tensor([[0.0], [0.0]])
    >>> F.scaled_dot_product_attention(q, q, mgx.Tensor([[2.0], [4.0]]), is_causal=True)
    Tensor([[2.],
            [3.]])
    """
    return attention_weights(q, k, attn_mask, is_causal, scale) @ v


def attention_weights(q: Tensor, k: Tensor, attn_mask: Data | None = None, is_causal: bool = False,
                      scale: float | None = None) -> Tensor:
    """softmax(scale * q k^T + masks): (..., T, S)."""
    q = q if isinstance(q, Tensor) else Tensor(q)
    if min(q.ndim, k.ndim) < 2 or q.shape[-1] != k.shape[-1]:
        raise ShapeError(f"attention: queries (..., T, n) and keys (..., S, n), not {q.shape} and {k.shape}")
    scores = (q * (q.shape[-1]**-0.5 if scale is None else scale)) @ k.mT
    if is_causal:
        scores = scores + _later(*scores.shape[-2:], scores.dtype)
    if attn_mask is not None:
        mask = attn_mask if isinstance(attn_mask, Tensor) else Tensor(attn_mask)
        if mask.dtype.kind not in "bf":
            raise DTypeError(f"attention: a mask is bool or float, not {mask.dtype}")
        scores = scores + (compute(_to_be_added, mask) if mask.dtype.kind == "f" and not mask.requires_grad else
                           mask if mask.dtype.kind == "f" else
                           mask.where(Tensor(0.0, dtype=scores.dtype), -np.inf))
        if scores.shape[-1]:
            shut = scores.detach().amax(-1, keepdims=True) == -np.inf
            return shut.where(0.0, shut.where(0.0, scores).softmax(-1))
    return scores.softmax(-1)


def _to_be_added(mask: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """The mask, which is one to add to scores and not one of 0 and 1 in place of a bool mask."""
    if (mask == 1).any() and ((mask == 1) | (mask == 0)).all():
        raise OptionError("attention: a float mask is added to the scores, and all numbers of this one are 0 or 1; "
                          "pass a bool mask (mask != 0), or a float mask with -inf where a key must not be read")
    return mask


def forbidden(mask: Data | None) -> Tensor | None:
    """A mask in which True forbids as one in which True allows; floats as they are."""
    mask = mask if mask is None or isinstance(mask, Tensor) else Tensor(mask)
    return mask if mask is None or mask.dtype.kind != "b" else mask == 0


def _closed(shut: npt.NDArray[np.bool_], dtype: DType) -> Tensor:
    """What to add to scores: -inf where ``shut``."""
    return Tensor(np.where(shut, -np.inf, 0.0).astype(dtype))


@functools.lru_cache(16)
def _later(t: int, s: int, dtype: DType) -> Tensor:
    """-inf for the keys behind the query."""
    return _closed(np.triu(np.ones((t, s), bool), 1), dtype)


name_errors(__name__, "linear", "dropout")
