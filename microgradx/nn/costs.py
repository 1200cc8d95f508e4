"""Costs: functions of an output and a target, torch's in name and meaning.

``reduction``: ``"mean"`` or ``"sum"`` over all terms, ``"none"`` keeps them. Output and target have one shape; what
broadcasts elsewhere is refused here, for (n,) against (n, 1) hides mistakes.
"""
from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from microgradx._core.creation import integers
from microgradx._core.launch import capturing, composite, compute
from microgradx._core.structured import KernelOperation, sum_of_squares
from microgradx._core.tensor import Tensor, cross_entropy_, tensor
from microgradx.errors import DTypeError, IndexError_, OptionError, ShapeError, described
from microgradx.names import make_public
from microgradx.typing import Data

__all__ = ["binary_cross_entropy", "binary_cross_entropy_with_logits", "cross_entropy", "gaussian_nll_loss",
           "hinge_loss", "huber_loss", "kl_div", "l1_loss", "mse_loss", "multi_margin_loss", "nll_loss",
           "poisson_nll_loss", "quadratic_cost", "smooth_l1_loss"]


REDUCTIONS = ("mean", "sum", "none")
KL_REDUCTIONS = ("batchmean", *REDUCTIONS)


def check_reduction(op: str, reduction: str, allowed: tuple[str, ...] = REDUCTIONS) -> None:
    """Raise ``OptionError`` for a reduction that is not allowed."""
    if not isinstance(reduction, str) or reduction not in allowed:
        shown = repr(reduction) if isinstance(reduction, str) else described(reduction)
        raise OptionError(f"{op}: reduction is {', '.join(map(repr, allowed[:-1]))} or {allowed[-1]!r}, not {shown}"
                          + ("; weights are given by name: weight=" if hasattr(reduction, "shape") else ""))


def reduced(op: str, terms: Tensor, reduction: str) -> Tensor:
    check_reduction(op, reduction)
    return terms if reduction == "none" else terms.mean() if reduction == "mean" else terms.sum()


def check_weight(op: str, weight: object) -> None:
    """Raise ``OptionError`` for the name of a reduction in the place of a weight."""
    if isinstance(weight, str):
        raise OptionError(f"{op}: a weight is a tensor, not {weight!r}; reduction={weight!r} is given by name")


def _weighted(op: str, terms: Tensor, weight: Data | None) -> Tensor:
    """``terms * weight``, where a weight is given; it broadcasts to the terms."""
    if weight is None:
        return terms
    check_weight(op, weight)
    product = terms * (weight if isinstance(weight, Tensor) else Tensor(weight, dtype=terms.dtype))
    if product.shape != terms.shape:
        raise ShapeError(f"{op}: a weight for terms {terms.shape} makes them {product.shape} "
                         f"({terms.shape} != {product.shape})")
    return product


def alike(op: str, p: Tensor, t: Data) -> Tensor:
    """``t`` as a tensor of the shape of ``p``."""
    try:
        if not isinstance(t, Tensor):
            t = Tensor(t, dtype=p.dtype)
        if p.shape != t.shape:
            raise ShapeError(f"{op}: prediction {p.shape} and target {t.shape} differ ({p.shape} != {t.shape})")
    except AttributeError:
        raise DTypeError(f"{op}: the prediction is a Tensor, not {described(p)}") from None
    return t


def _positive(op: str, name: str, value: float) -> None:
    if not (isinstance(value, (int, float)) and 0 < value < math.inf):
        raise OptionError(f"{op}: {name}={value!r} is not a finite number > 0")


# ----- regression ------------------------------------------------------------------------------------------------

def mse_loss(input: Tensor, target: Data, reduction: str = "mean") -> Tensor:
    """(p - t)^2, its mean over all elements. p is ``input``, t ``target``, of one shape.

    >>> import microgradx as mgx
    >>> from microgradx.nn import functional as F
    >>> F.mse_loss(mgx.Tensor([1.0, 2.0]), mgx.Tensor([0.0, 0.0])).item()
    2.5
    """
    return _squares("mse_loss", input - alike("mse_loss", input, target), reduction)


def _squares(op: str, off: Tensor, reduction: str) -> Tensor:
    """The squares, their mean or their sum, which is a number where a square may be none."""
    check_reduction(op, reduction)
    if reduction == "none":
        return off.square()
    return sum_of_squares(off, None, 1.0 if reduction == "sum" else off.size)


def quadratic_cost(input: Tensor, target: Data, reduction: str = "mean") -> Tensor:
    """1/2 * sum over outputs of (p - t)^2, mean over rows: (m, n), (m, n) -> (). Nielsen, Neural Networks and Deep
    Learning (2015), eq. 6. The terms are the rows'; a vector is one row.

    >>> import microgradx as mgx
    >>> from microgradx.nn import functional as F
    >>> F.quadratic_cost(mgx.Tensor([[1.0, 2.0]]), mgx.Tensor([[0.0, 0.0]])).item()
    2.5
    """
    check_reduction("quadratic_cost", reduction)
    off = input - alike("quadratic_cost", input, target)
    if reduction == "none":
        return sum_of_squares(off, tuple(range(off.ndim > 1, off.ndim)), 2.0)
    rows = off.shape[0] if off.ndim > 1 and reduction == "mean" else 1
    return sum_of_squares(off, None, 2.0 * rows)


def l1_loss(input: Tensor, target: Data, reduction: str = "mean") -> Tensor:
    """|p - t|.

    >>> import microgradx as mgx
    >>> from microgradx.nn import functional as F
    >>> F.l1_loss(mgx.Tensor([1.0, -2.0]), mgx.Tensor([0.0, 0.0]), "none")
    Tensor([1., 2.])
    """
    return reduced("l1_loss", (input - alike("l1_loss", input, target)).abs(), reduction)


def huber_loss(input: Tensor, target: Data, reduction: str = "mean", delta: float = 1.0) -> Tensor:
    """(p - t)^2 / 2 where |p - t| <= delta, else delta (|p - t| - delta / 2). Huber (1964).

    >>> import microgradx as mgx
    >>> from microgradx.nn import functional as F
    >>> F.huber_loss(mgx.Tensor([1.0, -3.0]), mgx.Tensor([0.0, 0.0]), "none", delta=2.0)
    Tensor([0.5, 4. ])
    """
    _positive("huber_loss", "delta", delta)
    return reduced("huber_loss", _huber(input - alike("huber_loss", input, target), delta), reduction)


def _huber(off: Tensor, delta: float) -> Tensor:
    near = off.clip(-delta, delta)
    return near * (off - near * 0.5)


def smooth_l1_loss(input: Tensor, target: Data, reduction: str = "mean", beta: float = 1.0) -> Tensor:
    """(p - t)^2 / (2 beta) where |p - t| <= beta, else |p - t| - beta / 2; for beta = 0 the L1 loss. Girshick (2015).

    >>> import microgradx as mgx
    >>> from microgradx.nn import functional as F
    >>> F.smooth_l1_loss(mgx.Tensor([1.0, -3.0]), mgx.Tensor([0.0, 0.0]), "none", beta=2.0)
    Tensor([0.25, 2.  ])
    """
    if beta == 0:
        return l1_loss(input, target, reduction)
    _positive("smooth_l1_loss", "beta", beta)
    terms = _huber(input - alike("smooth_l1_loss", input, target), beta) / beta
    return reduced("smooth_l1_loss", terms, reduction)


def gaussian_nll_loss(input: Tensor, target: Data, var: Data, full: bool = False, eps: float = 1e-6,
                      reduction: str = "mean") -> Tensor:
    """(log(var) + (p - t)^2 / var) / 2: the negative logarithm of the density of t under a normal distribution.

    p is ``input``, t ``target``; ``var`` is a number or has the shape of p, lacks its last axis or has length 1 there.
    A variance below ``eps`` counts as ``eps``, and its gradient is as there, so it can grow again. ``full`` adds log(2
    pi) / 2. Nix and Weigend (1994).

    >>> import microgradx as mgx
    >>> from microgradx.nn import functional as F
    >>> F.gaussian_nll_loss(mgx.Tensor([2.0]), mgx.Tensor([0.0]), mgx.Tensor([1.0])).item()
    2.0
    """
    _positive("gaussian_nll_loss", "eps", eps)
    p, t = input, alike("gaussian_nll_loss", input, target)
    var = var if isinstance(var, Tensor) else Tensor(np.broadcast_to(np.asarray(var, p.dtype), p.shape)
                                                     if isinstance(var, (int, float)) else np.asarray(var, p.dtype))
    if p.ndim and var.shape == p.shape[:-1]:
        var = var.unsqueeze(-1)
    elif var.shape not in (p.shape, p.shape[:-1] + (1,)):
        raise ShapeError(f"gaussian_nll_loss: prediction {p.shape} and variance {var.shape} do not fit "
                         f"({p.shape} or {p.shape[:-1]} != {var.shape})")
    var = var.detach().clip(eps) + (var - var.detach())         # the second term is 0 and carries the gradient
    terms = (var.log() + ((p - t) / var.sqrt()).square()) * 0.5
    return reduced("gaussian_nll_loss", terms + 0.5 * math.log(2 * math.pi) if full else terms, reduction)


def poisson_nll_loss(input: Tensor, target: Data, log_input: bool = True, full: bool = False, eps: float = 1e-8, *,
                     reduction: str = "mean") -> Tensor:
    """rate - t log(rate): the negative logarithm of the probability of t under a Poisson distribution, but for log(t!).

    ``input`` is the logarithm of the rate, or the rate r itself if not ``log_input``; then its logarithm is that of
    r + ``eps``. ``full`` adds Stirling's t log t - t + log(2 pi t) / 2 where t is above 1.

    >>> import microgradx as mgx
    >>> from microgradx.nn import functional as F
    >>> F.poisson_nll_loss(mgx.Tensor([0.0]), mgx.Tensor([3.0])).item()
    1.0
    """
    t = alike("poisson_nll_loss", input, target)
    terms = input.exp() - t * input if log_input else input - t * (input + eps).log()
    if full:
        large = t > 1
        known = large.where(t, 1.0)
        terms = terms + large.where(known * known.log() - known + 0.5 * (2 * math.pi * known).log(), 0.0)
    return reduced("poisson_nll_loss", terms, reduction)


# ----- two classes -----------------------------------------------------------------------------------------------

def binary_cross_entropy(input: Tensor, target: Data, weight: Data | None = None, *,
                         reduction: str = "mean") -> Tensor:
    """-(t log p + (1-t) log(1-p)) for probabilities p and targets t in 0..1; 0 log 0 is 0.

    As in torch a logarithm is at least -100, and the derivative is (p - t) / max(p (1 - p), 1e-12), so both stay finite
    where p is exactly 0 or 1 and wrong; from logits ``binary_cross_entropy_with_logits`` needs no such bounds.
    ``weight`` multiplies the terms. Raises ``OptionError`` for a p or t outside 0..1.

    >>> import microgradx as mgx
    >>> from microgradx.nn import functional as F
    >>> round(F.binary_cross_entropy(mgx.Tensor([0.5, 1.0]), mgx.Tensor([0.0, 1.0])).item(), 6)
    0.346574
    """
    p, t = input, alike("binary_cross_entropy", input, target)
    p, t = (x if x.dtype.kind == "f" else x.astype("float32") for x in (p, t))
    dtype = max(p.dtype, t.dtype)
    terms = _binary_cross_entropy(p.astype(dtype), t.astype(dtype))
    return reduced("binary_cross_entropy", _weighted("binary_cross_entropy", terms, weight), reduction)


@composite("binary_cross_entropy")
def _terms_in_operations(p: Tensor, t: Tensor, **sizes: int) -> Tensor:
    return (t - 1) * (-p).log1p().clip(-100) - t * p.log().clip(-100)


def _refuse_no_probability(at: int, p: Tensor, t: Tensor) -> None:
    for what, x in (("prediction", p), ("target", t)):
        number = x.detach().reshape(-1)[at].item()
        if not 0 <= number <= 1:
            value = np.dtype(x.dtype).type(number)
            raise OptionError(f"binary_cross_entropy: a {what} is {value}, not between 0 and 1; for logits there is "
                              "binary_cross_entropy_with_logits")


_binary_cross_entropy: Callable[..., Tensor] = KernelOperation(
    "binary_cross_entropy", lambda p, t: [(p.shape, p.dtype)], lambda p, t: ((p.size,), ()),
    [[lambda g, y, p, t: g * ((p - t) / (p * (1 - p)).clip(1e-12)),
      lambda g, y, p, t: g * ((-p).log1p().clip(-100) - p.log().clip(-100))]], _refuse_no_probability)


def binary_cross_entropy_with_logits(input: Tensor, target: Data, weight: Data | None = None, *,
                                     reduction: str = "mean", pos_weight: Data | None = None) -> Tensor:
    """``binary_cross_entropy(sigmoid(z), t)``, as t softplus(-z) + (1-t) softplus(z).

    Nothing cancels, neither here nor in the derivative: a unit that is right and far saturated keeps its gradient
    -t sigmoid(-z) + (1-t) sigmoid(z), where sigmoid(z) - t is 0. ``weight`` multiplies the terms, ``pos_weight`` their
    part with t.

    >>> import microgradx as mgx
    >>> from microgradx.nn import functional as F
    >>> z = mgx.Tensor([60.0], requires_grad=True)
    >>> F.binary_cross_entropy_with_logits(z, mgx.Tensor([1.0])).backward()
    >>> z.grad
    Tensor([-8.756511e-27])
    """
    op = "binary_cross_entropy_with_logits"
    z, t = input, alike(op, input, target)
    terms = _weighted(op, t, pos_weight) * (-z).softplus() + (1 - t) * z.softplus()
    return reduced(op, _weighted(op, terms, weight), reduction)


def hinge_loss(input: Tensor, target: Data, reduction: str = "mean", margin: float = 1.0) -> Tensor:
    """max(0, margin - t p) for targets t of -1 and 1: the cost of a support vector machine.

    >>> import microgradx as mgx
    >>> from microgradx.nn import functional as F
    >>> F.hinge_loss(mgx.Tensor([0.5, 3.0]), mgx.Tensor([1.0, -1.0]), "none")
    Tensor([0.5, 4. ])
    """
    return reduced("hinge_loss", (margin - alike("hinge_loss", input, target) * input).relu(), reduction)


# ----- many classes: axis 1 of (m, n) or (m, n, ...) holds them ----------------------------------------------------

def _rows(op: str, x: Tensor) -> tuple[Tensor, tuple[int, ...]]:
    """``x`` as rows of n classes, and the shape that one number per row has."""
    x = x if isinstance(x, Tensor) else Tensor(x)
    if x.ndim < 2 or x.dtype.kind != "f":
        raise ShapeError(f"{op}: {x.dtype} of shape {x.shape}; floats (m, n) or (m, n, ...) have n classes on axis 1")
    shape = x.shape[:1] + x.shape[2:]
    return x if x.ndim == 2 else x.permute(0, *range(2, x.ndim), 1).reshape(math.prod(shape), x.shape[1]), shape


def _class_weights(op: str, weight: Data, rows: Tensor) -> Tensor:
    check_weight(op, weight)
    weight = (weight if isinstance(weight, Tensor) else Tensor(weight)).astype(rows.dtype)
    if weight.shape != rows.shape[1:]:
        raise ShapeError(f"{op}: class weights {weight.shape} for {rows.shape[1]} classes "
                         f"({weight.shape} != {rows.shape[1:]})")
    return weight


def _labelled(op: str, x: Tensor, target: Data, weight: Data | None = None,
              ignore_index: int | None = None) -> tuple[Tensor, Tensor, Tensor, tuple[int, ...]]:
    """``x`` as rows; their labels, 0 where ignored; what each row counts, 0 where ignored; the shape of the labels."""
    rows, shape = _rows(op, x)
    label = target if isinstance(target, Tensor) else Tensor(np.asarray(target))
    if label.shape != shape:
        raise ShapeError(f"{op}: logits {x.shape} and labels {label.shape} do not align ({shape} != {label.shape})")
    if label.dtype.kind != "i":
        raise DTypeError(f"{op}: labels are int64, not {label.dtype}")
    label = label.reshape(-1)
    counts = (label == label if ignore_index is None else label != ignore_index).astype(rows.dtype)
    label = compute(_classes, op, label, x.shape[1], ignore_index)
    if weight is not None:
        counts = counts * _class_weights(op, weight, rows)[label]
    return rows, label, counts, shape


def _classes(op: str, label: npt.NDArray[np.int64], n: int, ignored: int | None) -> npt.NDArray[np.int64]:
    """The labels, 0 for the ignored one."""
    bad = np.flatnonzero((label != ignored) & ((label < 0) | (label >= n)))
    if bad.size:
        raise IndexError_(f"{op}: label {label[bad[0]]} of row {bad[0]} is not one of the {n} classes "
                          f"(0..{n - 1})")
    return np.where(label == ignored, 0, label)


def _row(op: str, label: Data) -> Tensor:
    """The label of a single row, as that of a batch of one."""
    label = label if isinstance(label, Tensor) else Tensor(np.asarray(label))
    if label.ndim:
        raise ShapeError(f"{op}: one row has one label (), not labels of shape {label.shape}")
    return label.unsqueeze(0)


def _row_terms(terms: Tensor, counts: Tensor, shape: tuple[int, ...], reduction: str) -> Tensor:
    """Row by row, their sum, or their sum over what the rows count."""
    if reduction == "none":
        return terms.reshape(shape)
    total = terms.sum()
    if reduction == "sum":
        return total
    none = counts.abs().sum() == 0                              # then the mean is nan, but no gradient comes from it
    return none.where(math.nan, total / none.where(1.0, counts.sum()))


def cross_entropy(input: Tensor, target: Data, weight: Data | None = None, *, ignore_index: int = -100,
                  reduction: str = "mean", label_smoothing: float = 0.0) -> Tensor:
    """log(sum(exp(logits))) - logits[label] per row, stable for any logits.

    ``input``, the logits, is (m, n), (m, n, ...) or (n,), n classes; ``target`` int64 (m,), (m, ...) or (), the labels,
    or floats as large as the logits, probabilities. ``weight`` (n,) weighs the classes; the mean of labels is the
    weighted one. Rows whose label is ``ignore_index`` do not count; if none counts, the mean is nan, its gradient 0.
    ``label_smoothing`` mixes that share of the uniform distribution into the target (Szegedy et al. 2016).

    Raises ``IndexError_`` for a label that is none of the n classes, ``DTypeError`` for labels that are not int64,
    ``ShapeError`` for what does not align, ``OptionError`` for a smoothing outside 0..1.

    >>> import microgradx as mgx
    >>> from microgradx.nn import functional as F
    >>> F.cross_entropy(mgx.Tensor([[1000.0, 0.0]]), [1]).item()
    1000.0
    >>> F.cross_entropy(mgx.Tensor([[1000.0, 0.0]]), mgx.Tensor([[0.5, 0.5]])).item()
    500.0
    """
    check_reduction("cross_entropy", reduction)
    target = target if isinstance(target, Tensor) else tensor(target)
    input = input if isinstance(input, Tensor) else Tensor(input)
    if type(ignore_index) is not int:
        ignore_index, = integers("cross_entropy", "ignore_index", ((ignore_index,),))
    plain = weight is None and not label_smoothing and target.dtype.kind != "f"
    if plain and ignore_index < 0 and input.ndim == 2 and reduction != "none":         # one launch
        try:
            return cross_entropy_(input, target, reduction == "mean")
        except IndexError_:
            if capturing() or not (np.asarray(target) == ignore_index).any():
                raise
    if input.ndim == 1:                                         # one row
        term = cross_entropy(input.unsqueeze(0), target.unsqueeze(0), weight, ignore_index=ignore_index,
                             reduction=reduction, label_smoothing=label_smoothing)
        return term.squeeze(0) if reduction == "none" else term
    if not (isinstance(label_smoothing, (int, float)) and 0 <= label_smoothing <= 1):
        raise OptionError(f"cross_entropy: label_smoothing={label_smoothing!r} is not a number in [0, 1]")
    if target.dtype.kind == "f":
        return _cross_entropy_of_shares(input, target, reduction, weight, label_smoothing)
    rows, label, counts, shape = _labelled("cross_entropy", input, target, weight, ignore_index)
    kept = target.reshape(-1) != ignore_index
    logp = kept.unsqueeze(1).where(rows, 0.0).log_softmax(1)        # whatever stands in rows that do not count
    terms = counts.mul_no_nan(-logp[np.arange(len(label)), label])
    if label_smoothing:
        every = -(logp if weight is None else logp * _class_weights("cross_entropy", weight, logp)).mean(1)
        terms = terms * (1 - label_smoothing) + kept.astype(logp.dtype).mul_no_nan(every) * label_smoothing
    return _row_terms(terms, counts, shape, reduction)


def _cross_entropy_of_shares(logits: Tensor, target: Tensor, reduction: str, weight: Data | None,
                             smoothing: float) -> Tensor:
    """The cross-entropy for probabilities. Its mean is over the rows, whatever they weigh."""
    if target.ndim != logits.ndim:
        raise DTypeError(f"cross_entropy: labels are int64, probabilities as many as logits {logits.shape}, not "
                         f"{target.dtype} of shape {target.shape}; astype('int64') makes labels of floats")
    target = alike("cross_entropy", logits, target)
    (rows, shape), (share, _) = _rows("cross_entropy", logits), _rows("cross_entropy", target)
    if smoothing:
        share = share * (1 - smoothing) + smoothing / rows.shape[1]
    if weight is not None:
        share = share * _class_weights("cross_entropy", weight, rows)
    terms = -share.mul_no_nan(rows.log_softmax(1)).sum(1)
    return reduced("cross_entropy", terms.reshape(shape), reduction)


def nll_loss(input: Tensor, target: Data, weight: Data | None = None, *, ignore_index: int = -100,
             reduction: str = "mean") -> Tensor:
    """-input[label] per row, for logarithms of probabilities (m, n) or (m, n, ...) and labels (m,) or (m, ...).

    One row may be (n,), with a label ().

    ``weight`` and ``ignore_index`` as in ``cross_entropy``, which is this after ``log_softmax(1)``.

    >>> import microgradx as mgx
    >>> from microgradx.nn import functional as F
    >>> F.nll_loss(mgx.Tensor([[-1.0, -3.0], [-2.0, -4.0]]), [0, 1], weight=mgx.Tensor([3.0, 1.0])).item()
    1.75
    """
    check_reduction("nll_loss", reduction)
    if input.ndim == 1:                                         # one row
        term = nll_loss(input.unsqueeze(0), _row("nll_loss", target), weight, ignore_index=ignore_index,
                        reduction=reduction)
        return term.squeeze(0) if reduction == "none" else term
    rows, label, counts, shape = _labelled("nll_loss", input, target, weight, ignore_index)
    return _row_terms(counts.mul_no_nan(-rows[np.arange(len(label)), label]), counts, shape, reduction)


def multi_margin_loss(input: Tensor, target: Data, p: float = 1, margin: float = 1.0, weight: Data | None = None, *,
                      reduction: str = "mean") -> Tensor:
    """1/n * sum over i != label of max(0, margin - x[label] + x[i])^p: (m, n) and labels (m,), mean over rows; or (n,)
    and a label ().

    ``p`` is 1 or 2; ``weight`` (n,) multiplies each row by its label's. Crammer and Singer (2001).

    >>> import microgradx as mgx
    >>> from microgradx.nn import functional as F
    >>> F.multi_margin_loss(mgx.Tensor([[1.0, 2.0, -3.0, -3.0]]), [0]).item()
    0.5
    """
    if p not in (1, 2):
        raise OptionError(f"multi_margin_loss: p={p!r} is not 1 or 2")
    if input.ndim == 1:                                         # one row
        term = multi_margin_loss(input.unsqueeze(0), _row("multi_margin_loss", target), p, margin, weight,
                                 reduction=reduction)
        return term.squeeze(0) if reduction == "none" else term
    rows, label, counts, shape = _labelled("multi_margin_loss", input, target, weight)
    each, others = np.arange(len(label)), np.ones(rows.shape, rows.dtype)
    others[each, label] = 0
    over = (rows - rows[each, label].unsqueeze(1) + margin).relu() * Tensor(others)
    terms = (over if p == 1 else over.square()).mean(1) * counts
    return reduced("multi_margin_loss", terms.reshape(shape), reduction)


def kl_div(input: Tensor, target: Data, reduction: str = "mean", log_target: bool = False) -> Tensor:
    """t (log t - logp), with logp = ``input`` and t = ``target``: the divergence of exp(logp) from the distribution t.

    With ``log_target`` the target is given as log t.
    ``"mean"`` is over all elements; the divergence is a sum over each distribution, and its mean over rows is
    ``reduction="batchmean"``. 0 log 0 is 0. Kullback and Leibler (1951).

    >>> import microgradx as mgx
    >>> from microgradx.nn import functional as F
    >>> round(F.kl_div(mgx.Tensor([[0.5, 0.5]]).log(), mgx.Tensor([[1.0, 0.0]]), "batchmean").item(), 6)
    0.693147
    """
    check_reduction("kl_div", reduction, KL_REDUCTIONS)
    logp, t = input, alike("kl_div", input, target)
    terms = t.exp().mul_no_nan(t - logp) if log_target else t.xlogy(t) - t.mul_no_nan(logp)
    if reduction == "batchmean":
        return terms.sum() / (logp.shape[0] if logp.ndim and logp.shape[0] else math.nan)
    return reduced("kl_div", terms, reduction)


make_public(__name__)
