"""Functions of tensors that nets are made of: the linear map, embedding, dropout, attention, and its neighbours'."""
from __future__ import annotations

import functools
import math
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from microgradx._core import generator as core
from microgradx._core.generator import Generator
from microgradx._core.launch import compute
from microgradx._core.sequences import attention
from microgradx._core.tensor import Tensor, as_tensor, linear_, stack
from microgradx.arrays import cosine_similarity as _cosine_similarity
from microgradx.arrays import glu as _glu
from microgradx.arrays import normalize as _normalize
from microgradx.arrays import pdist as _pdist
from microgradx.arrays.common import tensor
from microgradx.errors import DTypeError, IndexError_, OptionError, ShapeError
from microgradx.names import accept, make_public, missing
from microgradx.nn.activations import *
from microgradx.nn.activations import ACTIVATIONS as ACTIVATIONS
from microgradx.nn.convolution import adaptive_avg_pool1d as adaptive_avg_pool1d
from microgradx.nn.convolution import adaptive_avg_pool2d as adaptive_avg_pool2d
from microgradx.nn.convolution import adaptive_max_pool1d as adaptive_max_pool1d
from microgradx.nn.convolution import adaptive_max_pool2d as adaptive_max_pool2d
from microgradx.nn.convolution import avg_pool1d as avg_pool1d
from microgradx.nn.convolution import avg_pool2d as avg_pool2d
from microgradx.nn.convolution import conv1d as conv1d
from microgradx.nn.convolution import conv2d as conv2d
from microgradx.nn.convolution import conv_transpose1d as conv_transpose1d
from microgradx.nn.convolution import conv_transpose2d as conv_transpose2d
from microgradx.nn.convolution import max_pool1d as max_pool1d
from microgradx.nn.convolution import max_pool2d as max_pool2d
from microgradx.nn.costs import *
from microgradx.nn.margins import *
from microgradx.nn.normalization import batch_norm as batch_norm
from microgradx.nn.normalization import group_norm as group_norm
from microgradx.nn.normalization import instance_norm as instance_norm
from microgradx.nn.normalization import layer_norm as layer_norm
from microgradx.nn.normalization import local_response_norm as local_response_norm
from microgradx.nn.normalization import rms_norm as rms_norm
from microgradx.nn.padding import pad as pad
from microgradx.nn.resampling import affine_grid as affine_grid
from microgradx.nn.resampling import channel_shuffle as channel_shuffle
from microgradx.nn.resampling import fold as fold
from microgradx.nn.resampling import grid_sample as grid_sample
from microgradx.nn.resampling import interpolate as interpolate
from microgradx.nn.resampling import pixel_shuffle as pixel_shuffle
from microgradx.nn.resampling import pixel_unshuffle as pixel_unshuffle
from microgradx.nn.resampling import unfold as unfold
from microgradx.nn.resampling import upsample as upsample
from microgradx.nn.resampling import upsample_bilinear as upsample_bilinear
from microgradx.nn.resampling import upsample_nearest as upsample_nearest
from microgradx.random import generator, rand
from microgradx.typing import Data, DType, Seed

if not TYPE_CHECKING:           # a type checker goes by the imports, and can read no list that is not written out
    from microgradx.nn import activations, convolution, costs, margins, normalization, padding, resampling
    __all__ = [*activations.__all__, *costs.__all__, *margins.__all__, *convolution.FUNCTIONS,
               *normalization.FUNCTIONS, *padding.FUNCTIONS, *resampling.FUNCTIONS, "alpha_dropout", "bilinear",
               "cosine_similarity", "dropout", "dropout1d", "dropout2d", "dropout3d", "embedding", "embedding_bag",
               "feature_alpha_dropout", "glu", "gumbel_softmax", "linear", "normalize", "one_hot",
               "pairwise_distance", "pdist", "prelu", "rrelu", "scaled_dot_product_attention"]

    def __getattr__(name):
        raise AttributeError(missing(name, globals(), __name__))


def prelu(input: Tensor, weight: Tensor) -> Tensor:
    """x where x > 0, else weight * x. ``weight`` holds one number, or one per index of axis 1 of ``input``."""
    if input.ndim == 0:
        weight = weight.reshape(())
    elif weight.size > 1 and input.ndim > 2:
        weight = weight.reshape(weight.size, *[1] * (input.ndim - 2))
    return input.prelu(weight)


def rrelu(input: Tensor, lower: float = 1 / 8, upper: float = 1 / 3, training: bool = False, inplace: bool = False, *,
          rng: Seed = None) -> Tensor:
    """x where x >= 0, else x times a slope: drawn from U(lower, upper) for every element in ``training``, else their
    mean. Xu et al. (2015).

    >>> import microgradx as mgx
    >>> from microgradx.nn import functional as F
    >>> F.rrelu(mgx.Tensor([-8.0, 8.0]), 0.25, 0.75)
    Tensor([-4.,  8.])
    """
    if not lower <= upper:
        raise OptionError(f"rrelu: lower={lower} is above upper={upper}")
    x = input.clone() if inplace else input
    if training:
        slopes = rand(x.shape, rng=rng, dtype=x.dtype) * (upper - lower) + lower
        y = (x >= 0).where(x, x * slopes)
    else:
        y = x.leaky_relu((lower + upper) / 2)
    return input.copy_(y) if inplace else y


def linear(input: Data, weight: Tensor, bias: Data | None = None) -> Tensor:
    """x @ weight^T + bias: (..., in), (out, in), (out,) -> (..., out).

    >>> import microgradx as mgx
    >>> from microgradx.nn import functional as F
    >>> F.linear(mgx.Tensor([[1.0, 2.0]]), mgx.Tensor([[3.0, 4.0]]), mgx.Tensor([0.5]))
    Tensor([[11.5]])
    """
    return linear_(input, weight, bias)


def bilinear(input1: Data, input2: Data, weight: Tensor, bias: Data | None = None) -> Tensor:
    """input1^T weight[k] input2 + bias[k]: (..., n), (..., m), (out, n, m), (out,) -> (..., out).

    >>> import microgradx as mgx
    >>> from microgradx.nn import functional as F
    >>> F.bilinear(mgx.Tensor([[1.0, 2.0]]), mgx.Tensor([[3.0]]), mgx.ones(1, 2, 1))
    Tensor([[9.]])
    """
    a, b = tensor(input1), tensor(input2)
    if weight.ndim != 3 or a.ndim < 1 or a.shape[:-1] != b.shape[:-1] or weight.shape[1:] != (a.shape[-1], b.shape[-1]):
        raise ShapeError(f"bilinear: (..., n), (..., m) and a weight (out, n, m), not {a.shape}, {b.shape} and "
                         f"{weight.shape}")
    out, n, m = weight.shape
    rows = a @ weight.transpose(0, 1).reshape(n, out * m)
    y = (rows.reshape(*a.shape[:-1], out, m) @ b.unsqueeze(-1)).squeeze(-1)
    return y if bias is None else y + bias


# ----- rows by number ------------------------------------------------------------------------------------------------

def one_hot(tensor: Data, num_classes: int = -1, dtype: DType = "int64") -> Tensor:
    """Rows of 0 with a 1 at the label: int (...) -> (..., num_classes). -1: as many classes as the largest label needs.

    >>> from microgradx.nn import functional as F
    >>> F.one_hot([2, 0], 3)
    Tensor([[0, 0, 1],
            [1, 0, 0]], dtype=int64)
    """
    labels = as_tensor(tensor)
    if labels.size and labels.dtype.kind != "i":
        raise DTypeError(f"one_hot: labels are integers, not {labels.dtype}")
    if isinstance(num_classes, bool) or not isinstance(num_classes, (int, np.integer)) or not (
            num_classes > 0 or num_classes == -1 and labels.size):
        raise OptionError(f"one_hot: num_classes={num_classes!r} is not an integer > 0, or -1 with labels")
    return compute(_one_hot, labels, int(labels.max()) + 1 if num_classes == -1 else num_classes, np.dtype(dtype))


def _one_hot(labels: npt.NDArray[np.int64], classes: int, dtype: DType) -> npt.NDArray[Any]:
    _within("one_hot", "label", "classes", labels, classes)
    return np.equal(labels[..., None], np.arange(classes)).astype(dtype)


def _within(op: str, what: str, of: str, numbers: npt.NDArray[np.int64], n: int) -> npt.NDArray[np.int64]:
    """The integers ``numbers``, which are all in 0..n-1."""
    if numbers.size and not 0 <= numbers.min() <= numbers.max() < n:
        at = tuple(map(int, np.argwhere((numbers < 0) | (numbers >= n))[0]))
        raise IndexError_(f"{op}: {what} {numbers[at]} at {list(at)} is not one of the {n} {of} (0..{n - 1})")
    return numbers


def _row_numbers(ids: npt.NDArray[np.int64], n: int) -> npt.NDArray[np.int64]:
    return _within("embedding", "id", "rows", ids, n)


def refuse_embedding_options(op: str, max_norm: float | None, scale_grad_by_freq: bool, sparse: bool) -> None:
    """Raise ``OptionError`` for what torch has and this library has not."""
    if max_norm is not None:
        raise OptionError(f"{op}: max_norm={max_norm!r} would change the weight while it is read; scale its rows "
                          "yourself, within no_grad()")
    if scale_grad_by_freq or sparse:
        name = "sparse" if sparse else "scale_grad_by_freq"
        raise OptionError(f"{op}: {name}=True is not supported; gradients are dense sums over all uses of a row")


def padding_row(op: str, padding_idx: int | None, n: int) -> int | None:
    """The row of ``n`` that ``padding_idx`` means, counted from 0."""
    if padding_idx is not None and not -n <= padding_idx < n:
        raise OptionError(f"{op}: padding_idx={padding_idx} is not one of the {n} rows")
    return padding_idx if padding_idx is None else padding_idx % n


def _ids(op: str, ids: Data, weight: Tensor) -> Tensor:
    """The ids as rows of ``weight``."""
    ids = ids if isinstance(ids, Tensor) else tensor(ids)
    if ids.size and ids.dtype.kind != "i" or weight.ndim != 2:
        raise DTypeError(f"{op}: ids are integers and weight is (num_embeddings, embedding_dim), not {ids.dtype} and "
                         f"{weight.shape}")
    return compute(_row_numbers, ids.astype("int64"), len(weight))


def embedding(input: Data, weight: Tensor, padding_idx: int | None = None, *, max_norm: float | None = None,
              scale_grad_by_freq: bool = False, sparse: bool = False) -> Tensor:
    """Row ``id`` of ``weight`` (num_embeddings, embedding_dim) for every id: integers (...) -> (..., embedding_dim).

    The gradient of a row is the sum over its uses; the row ``padding_idx`` gets none. Raises ``DTypeError`` for ids
    that are no integers, ``IndexError_`` for one that is not a row, ``OptionError`` for ``max_norm`` and the others.

    >>> import microgradx as mgx
    >>> from microgradx.nn import functional as F
    >>> F.embedding([2, 0], mgx.Tensor([[1.0], [2.0], [3.0]]))
    Tensor([[3.],
            [1.]])
    """
    if max_norm is not None or scale_grad_by_freq or sparse:
        refuse_embedding_options("embedding", max_norm, scale_grad_by_freq, sparse)
    numbers = _ids("embedding", input, weight)
    rows = weight[numbers]
    if padding_idx is None:
        return rows
    counted: Tensor = numbers.ne(padding_row("embedding", padding_idx, len(weight)))    # type: ignore[arg-type]
    return counted.unsqueeze(-1).where(rows, rows.detach())


def embedding_bag(input: Data, weight: Tensor, offsets: Data | None = None, mode: str = "mean",
                  per_sample_weights: Data | None = None, include_last_offset: bool = False,
                  padding_idx: int | None = None) -> Tensor:
    """Sum, mean or maximum (``mode``) of the rows of ``weight`` in each bag.

    ``input``: ids (m, n), a bag in each row; or (n,), of which bag k begins at ``offsets[k]`` and ends where the next
    begins; with ``include_last_offset`` the last number of ``offsets`` ends the last bag. ``per_sample_weights``, of
    the shape of ``input``, multiply the rows of a sum. Ids ``padding_idx`` do not count. An empty bag gives 0.

    >>> import microgradx as mgx
    >>> from microgradx.nn import functional as F
    >>> F.embedding_bag([0, 1, 2], mgx.Tensor([[1.0], [2.0], [4.0]]), [0, 2], mode="sum")
    Tensor([[3.],
            [4.]])
    """
    if mode not in ("sum", "mean", "max"):
        raise OptionError(f"embedding_bag: mode is 'sum', 'mean' or 'max', not {mode!r}")
    ids = _ids("embedding_bag", input, weight)
    if per_sample_weights is not None and mode != "sum":
        raise OptionError(f"embedding_bag: per_sample_weights go with mode='sum', not {mode!r}")
    if ids.ndim not in (1, 2) or (offsets is None) != (ids.ndim == 2):
        raise ShapeError(f"embedding_bag: ids (m, n), or (n,) with offsets, not {ids.shape} with"
                         + "out" * (offsets is None) + " offsets")
    if ids.ndim == 2:
        count, bags = ids.shape[0], Tensor(np.repeat(np.arange(ids.shape[0]), ids.shape[1]))
    else:
        starts = offsets if isinstance(offsets, Tensor) else Tensor(np.asarray(offsets, "int64"))
        count = len(starts) - bool(include_last_offset)
        bags = compute(_bags, starts, len(ids), include_last_offset)
    flat = ids.reshape(-1)
    rows = weight[flat]
    padding_idx = padding_row("embedding_bag", padding_idx, len(weight))
    counted = (flat == flat) if padding_idx is None else flat != padding_idx
    if mode == "max":
        return _largest(rows, bags, counted, count)
    if per_sample_weights is not None:
        rows = rows * _ids_weights(per_sample_weights, ids, rows).reshape(-1, 1)
    kept = counted.unsqueeze(-1).where(rows, 0.0)
    total = Tensor(np.zeros((count, weight.shape[1]), weight.dtype)).index_add(0, bags, kept)
    if mode == "sum":
        return total
    sizes = Tensor(np.zeros(count, weight.dtype)).index_add(0, bags, counted.astype(weight.dtype))
    return total / sizes.clip(1.0).unsqueeze(-1)


def _ids_weights(weights: Data, ids: Tensor, rows: Tensor) -> Tensor:
    weights = weights if isinstance(weights, Tensor) else Tensor(weights, dtype=rows.dtype)
    if weights.shape != ids.shape:
        raise ShapeError(f"embedding_bag: per_sample_weights {weights.shape} for ids {ids.shape} "
                         f"({weights.shape} != {ids.shape})")
    return weights


def _bags(starts: npt.NDArray[np.int64], n: int, last: bool) -> npt.NDArray[np.int64]:
    """The number of the bag of each of ``n`` ids."""
    if starts.ndim != 1 or not len(starts) or starts[0] != 0 or (np.diff(starts) < 0).any() or starts[-1] > n or (
            last and starts[-1] != n):
        raise OptionError(f"embedding_bag: offsets begin with 0, do not fall, and end within the {n} ids"
                          f"{', at their end' if last else ''}; they are {starts.tolist()}")
    return np.searchsorted(starts[:-1] if last else starts, np.arange(n), "right") - 1


def _largest(rows: Tensor, bags: Tensor, counted: Tensor, count: int) -> Tensor:
    """The maxima of bags, 0 of empty ones. Which ids are in a bag is read from the numbers."""
    of, use = bags.numpy(), counted.numpy()
    return stack([rows[at].amax(0) if len(at) else Tensor(np.zeros(rows.shape[1], rows.dtype))
                  for at in (np.flatnonzero((of == k) & use) for k in range(count))])


# ----- dropout -------------------------------------------------------------------------------------------------------

def probability(op: str, p: float) -> float:
    """``p``, which is a number from 0 to 1."""
    if isinstance(p, (int, float, np.number)) and 0 <= p <= 1:
        return p
    raise OptionError(f"{op}: p={p!r} is not a probability, 0 <= p <= 1")


def dropout(input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False, *,
            rng: Seed = None) -> Tensor:
    """Each element 0 with probability ``p``, else divided by 1 - p; x itself if not ``training``.

    ``inplace``: written into x. ``rng``: a Generator, a seed, or None for the shared one. One seed drops the same
    elements in both dtypes. Nothing is kept for the derivative but the state of the generator, from which it finds the
    same elements once more.

    >>> import microgradx as mgx
    >>> from microgradx.nn import functional as F
    >>> F.dropout(mgx.Tensor([1.0, 1.0, 1.0, 1.0]), 0.5, rng=0)
    Tensor([0., 2., 0., 2.])
    """
    if not training or probability("dropout", p) == 0:
        return input
    source, x = generator(rng), input if isinstance(input, Tensor) else tensor(input)
    if inplace:
        return x.copy_(dropout(x.clone(), p, rng=source))
    if isinstance(source, Generator):
        return core.dropout(x, p, source)
    kept = rand(x.shape, rng=source) >= p
    return x * (kept.astype(x.dtype) * (1 / (1 - p) if p < 1 else 0.0))


def _channel_dropout(op: str, axes: dict[int, int], input: Tensor, p: float, training: bool, inplace: bool,
                     rng: Seed) -> Tensor:
    """Dropout of whole channels: a draw for each index of the first ``axes[x.ndim]`` axes of x."""
    x = input if isinstance(input, Tensor) else tensor(input)
    probability(op, p)
    if x.ndim not in axes:
        raise ShapeError(f"{op}: an input of {' or '.join(map(str, axes))} axes, not of shape {x.shape}")
    if not training or p == 0:
        return x
    ahead = axes[x.ndim]
    ones = Tensor(np.ones((*x.shape[:ahead], *[1] * (x.ndim - ahead)), x.dtype))
    y = (x.clone() if inplace else x) * dropout(ones, p, rng=rng)
    return x.copy_(y) if inplace else y


def dropout1d(input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False, *,
              rng: Seed = None) -> Tensor:
    """As ``dropout``, of whole channels of (m, channels, n) or (channels, n): Tompson et al. (2015)."""
    return _channel_dropout("dropout1d", {2: 1, 3: 2}, input, p, training, inplace, rng)


def dropout2d(input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False, *,
              rng: Seed = None) -> Tensor:
    """As ``dropout``, of whole channels of (m, channels, h, w): Tompson et al. (2015). Three axes are (m, channels,
    n), as in torch."""
    return _channel_dropout("dropout2d", {3: 2, 4: 2}, input, p, training, inplace, rng)


def dropout3d(input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False, *,
              rng: Seed = None) -> Tensor:
    """As ``dropout``, of whole channels of (m, channels, d, h, w) or (channels, d, h, w)."""
    return _channel_dropout("dropout3d", {4: 1, 5: 2}, input, p, training, inplace, rng)


ALPHA = -1.7580993408473766             # SELU far below 0: -scale * alpha of Klambauer et al. (2017)


def _alpha_dropout(op: str, input: Tensor, shape: tuple[int, ...], p: float, training: bool, inplace: bool,
                   rng: Seed) -> Tensor:
    """Elements become ``ALPHA`` where a draw of ``shape``, which broadcasts, says so; then mean and variance go
    back."""
    if not training or probability(op, p) == 0:
        return input
    if p == 1:
        y = input * 0.0
    else:
        scale = ((1 - p) * (1 + p * ALPHA**2))**-0.5
        kept = rand(shape, rng=rng) >= p
        y = kept.where(input.clone() if inplace else input, ALPHA) * scale - scale * p * ALPHA
    return input.copy_(y) if inplace else y


def alpha_dropout(input: Tensor, p: float = 0.5, training: bool = False, inplace: bool = False, *,
                  rng: Seed = None) -> Tensor:
    """Dropout that keeps mean 0 and variance 1 behind SELU: Klambauer et al. (2017), section 3."""
    return _alpha_dropout("alpha_dropout", input, input.shape, p, training, inplace, rng)


def feature_alpha_dropout(input: Tensor, p: float = 0.5, training: bool = False, inplace: bool = False, *,
                          rng: Seed = None) -> Tensor:
    """As ``alpha_dropout``, of whole channels: one draw for each index of the first two axes."""
    if training and input.ndim < 2:
        raise ShapeError(f"feature_alpha_dropout: shape {input.shape} has no axis of channels")
    shape = (*input.shape[:2], *[1] * (input.ndim - 2))
    return _alpha_dropout("feature_alpha_dropout", input, shape, p, training, inplace, rng)


# ----- along an axis -------------------------------------------------------------------------------------------------

def glu(input: Tensor, dim: int = -1) -> Tensor:
    """a sigmoid(b), where a and b are the halves of x along the axis ``dim``. Dauphin et al. (2017), eq. 1.

    >>> import microgradx as mgx
    >>> from microgradx.nn import functional as F
    >>> F.glu(mgx.Tensor([4.0, 0.0]))
    Tensor([2.])
    """
    return _glu(input, dim)


def normalize(input: Tensor, p: float = 2.0, dim: int = 1, eps: float = 1e-12) -> Tensor:
    """x / max(norm of x, eps), the norm of order ``p`` along the axis ``dim``.

    >>> import microgradx as mgx
    >>> from microgradx.nn import functional as F
    >>> F.normalize(mgx.Tensor([[3.0, 4.0]]))
    Tensor([[0.6, 0.8]])
    """
    return _normalize(input, p, dim, eps)


def pdist(input: Tensor, p: float = 2.0) -> Tensor:
    """The distances of the pairs of rows of (m, n), in norms of order ``p``: ``mgx.pdist``."""
    return _pdist(input, p)


def cosine_similarity(x1: Tensor, x2: Data, dim: int = 1, eps: float = 1e-8) -> Tensor:
    """The cosine of the angle between x1 and x2, which broadcast, along the axis ``dim``; norms below ``eps`` count as
    eps."""
    return _cosine_similarity(x1, x2, dim, eps)


def pairwise_distance(x1: Tensor, x2: Data, p: float = 2.0, eps: float = 1e-6, keepdim: bool = False) -> Tensor:
    """The norm of order ``p`` of x1 - x2 + eps along the last axis: (..., n), (..., n) -> (...).

    >>> import microgradx as mgx
    >>> from microgradx.nn import functional as F
    >>> round(F.pairwise_distance(mgx.Tensor([[3.0, 4.0]]), mgx.Tensor([[0.0, 0.0]])).item(), 4)
    5.0
    """
    return (x1 - x2 + eps).norm(p, -1, keepdim)


def gumbel_softmax(logits: Tensor, tau: float = 1.0, hard: bool = False, dim: int = -1, *, rng: Seed = None) -> Tensor:
    """softmax((logits + g) / tau) along ``dim`` with draws g of the Gumbel distribution: a sample of a class as shares.

    ``hard``: the class itself, 0 and 1, with the gradient of the shares. Jang, Gu and Poole (2017), Maddison, Mnih and
    Teh (2017).

    >>> import microgradx as mgx
    >>> from microgradx.nn import functional as F
    >>> F.gumbel_softmax(mgx.Tensor([0.0, 100.0]), hard=True)
    Tensor([0., 1.])
    """
    if not tau > 0:
        raise OptionError(f"gumbel_softmax: tau={tau!r} is not a number > 0")
    tiny = float(np.finfo("float32").tiny)
    draws = -(-rand(logits.shape, rng=rng, dtype=logits.dtype).clip(tiny).log()).clip(tiny).log()
    shares = ((logits + draws) / tau).softmax(dim)
    if not hard:
        return shares
    one = one_hot(shares.argmax(dim), shares.shape[dim], dtype=shares.dtype).moveaxis(-1, dim)
    return one - shares.detach() + shares


# ----- attention -------------------------------------------------------------------------------------------------

def scaled_dot_product_attention(query: Tensor, key: Tensor, value: Tensor, attn_mask: Data | None = None,
                                 dropout_p: float = 0.0, is_causal: bool = False, scale: float | None = None,
                                 enable_gqa: bool = False, *, rng: Seed = None) -> Tensor:
    """softmax(scale * q k^T) v: (..., T, n), (..., S, n), (..., S, m) -> (..., T, m). Vaswani et al. (2017), eq. 1.

    ``scale`` is 1/sqrt(n) unless given. ``attn_mask`` broadcasts to (..., T, S): True *allows* a key to be read (as
    torch's function, not its module), floats are added to the scores. ``is_causal``: query t reads keys 0..t. A
    query that may read no key, all of whose scores are -inf, reads 0, and no gradient comes from it. ``dropout_p``
    drops weights. Without it, and without a mask that wants a gradient, memory grows with T and S, not with T times S.
    ``enable_gqa``: several heads of queries share one of keys and values (axis -3). Raises
    ``OptionError`` for a mask of floats that are all 0 or 1, some of them 1: that is no mask to be added.

    >>> import microgradx as mgx
    >>> from microgradx.nn import functional as F
    >>> q = mgx.Tensor([[0.0], [0.0]])
    >>> F.scaled_dot_product_attention(q, q, mgx.Tensor([[2.0], [4.0]]), is_causal=True)
    Tensor([[2.],
            [3.]])
    """
    query = query if isinstance(query, Tensor) else tensor(query)
    if enable_gqa:
        heads = query.shape[-3]
        if heads % key.shape[-3] or heads % value.shape[-3]:
            raise ShapeError(f"attention: {heads} heads of queries are no multiple of those of keys and values, "
                             f"{key.shape[-3]} and {value.shape[-3]}")
        key, value = (x.repeat_interleave(heads // x.shape[-3], axis=-3) for x in (key, value))
    mask = _mask_to_be_added(attn_mask, query.dtype)
    joined = None if dropout_p else _join_batches(query, key, value, mask)
    if joined is None:
        weights = _weights(query, key, mask, is_causal, scale)
        return (weights if dropout_p == 0 else dropout(weights, dropout_p, rng=rng)) @ value
    if isinstance(scale, Tensor):
        query, scale = query * scale, 1.0
    lead, (t, n), (s, p) = joined, query.shape[-2:], value.shape[-2:]
    mask, each = (None, 1) if mask is None else _masks(mask, lead, t, s)
    q, k, v = (x.expand(*lead, *x.shape[-2:]).reshape(math.prod(lead), *x.shape[-2:]) for x in (query, key, value))
    y = attention(q, k, v, mask, each, bool(is_causal), n**-0.5 if scale is None else float(scale))
    return y.reshape(*lead, t, p)


_MANY_SCORES = 128 * 128            # of a head; fewer are faster in operations: measured on Zen 4


def _join_batches(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None) -> tuple[int, ...] | None:
    """The leading axes of an attention by tiles; None where a head has few scores, so that the operations are faster,
    where the mask wants a gradient, which they have, and where lengths or dtypes do not fit: they say what is wrong."""
    given = [x for x in (query, key, value, mask) if x is not None]
    if any(x.dtype != query.dtype or x.dtype.kind != "f" for x in given) or mask is not None and mask.requires_grad:
        return None
    if min(x.ndim for x in (query, key, value)) < 2 or query.shape[-1] != key.shape[-1]:
        return None
    if query.shape[-2] * key.shape[-2] < _MANY_SCORES:
        return None
    try:
        fits = key.shape[-2] == value.shape[-2] and (mask is None or np.broadcast_shapes(
            mask.shape[-2:], (query.shape[-2], key.shape[-2])) == (query.shape[-2], key.shape[-2]))
        return np.broadcast_shapes(*(x.shape[:-2] for x in given)) if fits and query.shape[-1] else None
    except ValueError:
        return None


def _masks(mask: Tensor, lead: tuple[int, ...], t: int, s: int) -> tuple[Tensor, int]:
    """The mask as (masks, t or 1, s), and for how many batches that follow one another each of them is."""
    high = t if mask.ndim > 1 and mask.shape[-2] != 1 else 1
    own = (1,) * (len(lead) - mask.ndim + 2) + mask.shape[:-2] if mask.ndim > 2 else (1,) * len(lead)
    varies = [d for d, n in enumerate(own) if n > 1]
    if varies and own[varies[0]:varies[-1] + 1] != lead[varies[0]:varies[-1] + 1]:
        own = lead
        varies = [0, len(lead) - 1]
    each = math.prod(lead[varies[-1] + 1:]) if varies else 1
    mask = mask.expand(*own, high, s)
    return mask.reshape(math.prod(own), high, s), each


def attention_weights(q: Tensor, k: Tensor, attn_mask: Data | None = None, is_causal: bool = False,
                      scale: float | None = None) -> Tensor:
    """softmax(scale * q k^T + masks): (..., T, S)."""
    q = q if isinstance(q, Tensor) else tensor(q)
    return _weights(q, k, _mask_to_be_added(attn_mask, q.dtype), is_causal, scale)


def _check_queries(q: Tensor, k: Tensor) -> None:
    if min(q.ndim, k.ndim) < 2 or q.shape[-1] != k.shape[-1]:
        raise ShapeError(f"attention: queries (..., T, n) and keys (..., S, n), not {q.shape} and {k.shape}")


def _mask_to_be_added(attn_mask: Data | None, dtype: DType) -> Tensor | None:
    """A mask as floats that are added to scores of ``dtype``."""
    if attn_mask is None:
        return None
    mask = attn_mask if isinstance(attn_mask, Tensor) else tensor(attn_mask)
    if mask.dtype.kind not in "bf":
        raise DTypeError(f"attention: a mask is bool or float, not {mask.dtype}")
    if mask.dtype.kind == "b":
        return mask.where(Tensor(0.0, dtype=dtype if np.dtype(dtype).kind == "f" else None), -np.inf)
    return mask if mask.requires_grad else compute(_to_be_added, mask)


def _weights(q: Tensor, k: Tensor, mask: Tensor | None, is_causal: bool, scale: float | None) -> Tensor:
    _check_queries(q, k)
    scores = (q * (q.shape[-1]**-0.5 if scale is None else scale)) @ k.mT
    if is_causal:
        scores = scores + _later(*scores.shape[-2:], scores.dtype)
    if mask is not None:
        scores = scores + mask
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


def allowed(mask: Data) -> Tensor:
    """A mask in which True forbids as one in which True allows; floats as they are."""
    mask = mask if isinstance(mask, Tensor) else tensor(mask)
    return mask.eq(0) if mask.dtype.kind == "b" else mask


def _closed(shut: npt.NDArray[np.bool_], dtype: DType) -> Tensor:
    """What to add to scores: -inf where ``shut``."""
    return Tensor(np.where(shut, -np.inf, 0.0).astype(dtype))


@functools.lru_cache(16)
def _later(t: int, s: int, dtype: DType) -> Tensor:
    """-inf for the keys behind the query."""
    return _closed(np.triu(np.ones((t, s), bool), 1), dtype)


make_public(__name__)
