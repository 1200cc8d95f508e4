"""Costs of margins: they ask that one number is larger than another, or than a bound, by a margin.

``reduction`` is that of ``costs``: ``"mean"``, ``"sum"`` or ``"none"``. Where a pair or a triplet just
reaches its margin it still has a gradient, as torch's: of two equal numbers neither stays where it is.
"""
from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from microgradx._core.launch import compute
from microgradx._core.tensor import Tensor
from microgradx.arrays.common import floats
from microgradx.errors import DTypeError, IndexError_, OptionError, ShapeError
from microgradx.names import make_public
from microgradx.nn.costs import alike, check_weight, reduced
from microgradx.typing import Data

__all__ = ["cosine_embedding_loss", "hinge_embedding_loss", "margin_ranking_loss", "multilabel_margin_loss",
           "multilabel_soft_margin_loss", "soft_margin_loss", "triplet_margin_loss",
           "triplet_margin_with_distance_loss"]


def _signs(op: str, target: Data, dtype: npt.DTypeLike) -> Tensor:
    """A target of 1 and -1."""
    return target if isinstance(target, Tensor) else Tensor(target, dtype=dtype)


# ----- pairs and triplets --------------------------------------------------------------------------------------------

def margin_ranking_loss(input1: Tensor, input2: Tensor, target: Data, margin: float = 0.0, *,
                        reduction: str = "mean") -> Tensor:
    """max(0, margin - t (x1 - x2)): x1 is to be larger by ``margin`` where t is 1, x2 where t is -1.

    >>> import microgradx as mgx
    >>> from microgradx.nn import functional as F
    >>> F.margin_ranking_loss(mgx.Tensor([1.0, 3.0]), mgx.Tensor([2.0, 1.0]), [1.0, 1.0], reduction="none")
    Tensor([1., 0.])
    """
    if input1.shape != input2.shape:
        raise ShapeError(f"margin_ranking_loss: inputs {input1.shape} and {input2.shape} differ "
                         f"({input1.shape} != {input2.shape})")
    signs = _signs("margin_ranking_loss", target, input1.dtype)
    return reduced("margin_ranking_loss", (margin - signs * (input1 - input2)).clip(0.0), reduction)


def hinge_embedding_loss(input: Tensor, target: Data, margin: float = 1.0, *, reduction: str = "mean") -> Tensor:
    """x where the target is 1, max(0, margin - x) where it is -1, for distances x.

    >>> import microgradx as mgx
    >>> from microgradx.nn import functional as F
    >>> F.hinge_embedding_loss(mgx.Tensor([0.5, 0.25]), [1.0, -1.0], reduction="none")
    Tensor([0.5 , 0.75])
    """
    t = alike("hinge_embedding_loss", input, target)
    terms = (t == 1).where(0.0, (margin - input).clip(0.0)) + (t == -1).where(0.0, input)
    return reduced("hinge_embedding_loss", terms, reduction)


def cosine_embedding_loss(input1: Tensor, input2: Tensor, target: Data, margin: float = 0.0, *,
                          reduction: str = "mean") -> Tensor:
    """1 - cos where the target is 1, max(0, cos - margin) where it is -1: (m, n), (m, n), (m,); m may be missing.

    cos is the cosine of the angle between the rows, of which 1e-12 is added to the squared norms.

    >>> import microgradx as mgx
    >>> from microgradx.nn import functional as F
    >>> a, b = mgx.Tensor([[1.0, 0.0], [1.0, 0.0]]), mgx.Tensor([[2.0, 0.0], [0.0, 1.0]])
    >>> F.cosine_embedding_loss(a, b, [-1.0, 1.0], reduction="none")
    Tensor([1., 1.])
    """
    signs = _signs("cosine_embedding_loss", target, input1.dtype)
    if input1.shape != input2.shape or input1.ndim not in (1, 2) or signs.shape != input1.shape[:-1]:
        raise ShapeError(f"cosine_embedding_loss: (m, n), (m, n) and (m,), not {input1.shape}, {input2.shape} and "
                         f"{signs.shape}")
    ones = [x / x.norm(2, -1, True).hypot(Tensor(1e-6, dtype=x.dtype)) for x in map(floats, (input1, input2))]
    cosine = (ones[0] * ones[1]).sum(-1)
    terms = (signs == 1).where(1 - cosine, 0.0) + (signs == -1).where((cosine - margin).clip(0.0), 0.0)
    return reduced("cosine_embedding_loss", terms, reduction)


def triplet_margin_loss(anchor: Tensor, positive: Tensor, negative: Tensor, margin: float = 1.0, p: float = 2.0,
                        eps: float = 1e-6, swap: bool = False, *, reduction: str = "mean") -> Tensor:
    """max(0, margin + d(anchor, positive) - d(anchor, negative)): the positive is to be nearer by ``margin``.

    d is the norm of order ``p`` of the difference + ``eps`` along the last axis. ``swap``: the distance of positive and
    negative counts where it is the smaller one (Balntas et al. 2016). Schroff, Kalenichenko and Philbin (2015).

    >>> import microgradx as mgx
    >>> from microgradx.nn import functional as F
    >>> a, b, c = mgx.Tensor([[0.0]]), mgx.Tensor([[2.0]]), mgx.Tensor([[1.5]])
    >>> F.triplet_margin_loss(a, b, c).item()
    1.5
    """
    if not margin > 0:
        raise OptionError(f"triplet_margin_loss: margin={margin!r} is not a number > 0")
    return _triplets("triplet_margin_loss", anchor, positive, negative, lambda a, b: (a - b + eps).norm(p, -1), margin,
                     swap, reduction)


def triplet_margin_with_distance_loss(anchor: Tensor, positive: Tensor, negative: Tensor, *,
                                      distance_function: Callable[[Tensor, Tensor], Tensor] | None = None,
                                      margin: float = 1.0, swap: bool = False, reduction: str = "mean") -> Tensor:
    """``triplet_margin_loss`` with a distance of yours, of two tensors, in place of the norm."""
    if not margin > 0:
        raise OptionError(f"triplet_margin_with_distance_loss: margin={margin!r} is not a number > 0")
    return _triplets("triplet_margin_with_distance_loss", anchor, positive, negative,
                     distance_function or (lambda a, b: (a - b + 1e-6).norm(2, -1)), margin, swap, reduction)


def _triplets(op: str, anchor: Tensor, positive: Tensor, negative: Tensor,
              distance: Callable[[Tensor, Tensor], Tensor], margin: float, swap: bool, reduction: str) -> Tensor:
    near, far = distance(anchor, positive), distance(anchor, negative)
    if swap:
        far = far.minimum(distance(positive, negative))
    return reduced(op, (margin + near - far).clip(0.0), reduction)


# ----- labels --------------------------------------------------------------------------------------------------------

def soft_margin_loss(input: Tensor, target: Data, *, reduction: str = "mean") -> Tensor:
    """log(1 + exp(-t x)) for targets t of 1 and -1.

    >>> import microgradx as mgx
    >>> from microgradx.nn import functional as F
    >>> round(F.soft_margin_loss(mgx.Tensor([0.0]), [1.0]).item(), 6)
    0.693147
    """
    t = alike("soft_margin_loss", input, target)
    return reduced("soft_margin_loss", (-t * input).softplus(), reduction)


def multilabel_soft_margin_loss(input: Tensor, target: Data, weight: Data | None = None, *,
                                reduction: str = "mean") -> Tensor:
    """The binary cross-entropy of every class from its logit, its mean over the classes: (m, n), (m, n) -> terms (m,).

    ``weight`` (n,) multiplies the classes'.
    """
    t = alike("multilabel_soft_margin_loss", input, target)
    terms = t * (-input).softplus() + (1 - t) * input.softplus()
    if weight is not None:
        check_weight("multilabel_soft_margin_loss", weight)
        terms = terms * (weight if isinstance(weight, Tensor) else Tensor(weight, dtype=terms.dtype))
    return reduced("multilabel_soft_margin_loss", terms.mean(-1), reduction)


def multilabel_margin_loss(input: Tensor, target: Data, *, reduction: str = "mean") -> Tensor:
    """1/n * sum over labels j and classes i that are no label of max(0, 1 - (x[j] - x[i])): (m, n) -> terms (m,).

    ``target``, integers of the shape of ``input``, has the labels of a row first; those from the first -1 on do not
    count.

    >>> import microgradx as mgx
    >>> from microgradx.nn import functional as F
    >>> F.multilabel_margin_loss(mgx.Tensor([[0.5, 1.0]]), [[1, -1]]).item()
    0.25
    """
    labels = target if isinstance(target, Tensor) else Tensor(np.asarray(target))
    if labels.shape != input.shape or input.ndim not in (1, 2):
        raise ShapeError(f"multilabel_margin_loss: (m, n) or (n,) and as many labels, not {input.shape} and "
                         f"{labels.shape} ({input.shape} != {labels.shape})")
    if labels.dtype.kind != "i":
        raise DTypeError(f"multilabel_margin_loss: labels are int64, not {labels.dtype}")
    chosen = compute(_chosen, labels)
    near = (1 - input.unsqueeze(-1) + input.unsqueeze(-2)).relu()               # of label j (rows) and class i
    counted = chosen.unsqueeze(-1) * (chosen == 0).astype("int64").unsqueeze(-2)
    return reduced("multilabel_margin_loss", (near * counted.astype(input.dtype)).sum(-1).mean(-1), reduction)


def _chosen(labels: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """How often each class is among the labels of a row, which end at the first -1."""
    n = labels.shape[-1]
    counted = np.logical_and.accumulate(labels != -1, -1)
    if (counted & ((labels < 0) | (labels >= n))).any():
        bad = labels[counted & ((labels < 0) | (labels >= n))][0]
        raise IndexError_(f"multilabel_margin_loss: label {bad} is not one of the {n} classes (0..{n - 1})")
    found: npt.NDArray[np.int64] = (np.where(counted, labels, -1)[..., None] == np.arange(n)).sum(-2)
    return found


make_public(__name__)
