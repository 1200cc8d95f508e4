"""Structured operations that compute: sums, maxima, matrix products, softmax, cross-entropy.

Each is one block: shapes, forward, vjp. A vjp is written in operations, with recording off unless the caller
of backward wants a graph: so it costs nothing extra, and every order of derivative follows.
"""
from libc.limits cimport INT_MAX
from libc.stdint cimport int64_t
from libc.string cimport memcpy

from microgradx._core.array cimport *
from microgradx._core.elementwise cimport apply, apply_into
from microgradx._core.graph cimport grad_enabled, pause_watching, set_grad_enabled, watching
from microgradx._core.kernels cimport *
from microgradx._core.launch cimport Call, compute_on_host, copy, fill, fill_integer, host, launch, put, put_at
from microgradx._core.views cimport *
from microgradx._core.debug.watch cimport check_clean, is_clean

import numpy as np

from microgradx._core.launch import by_parts, composite, run, stretches
from microgradx.errors import DTypeError, IndexError_, ShapeError


cdef Axes axes_of(str op, object axis, int ndim) except? -1:
    """None, an axis or a tuple of axes as a set of bits."""
    cdef Axes axes = 0, bit
    if axis is None:
        return all_axes(ndim)
    for a in axis if isinstance(axis, (tuple, list)) else (axis,):
        bit = <Axes> 1 << axis_of(op, a, ndim) & all_axes(ndim)
        if axes & bit:
            raise ShapeError(f"{op}: axis {a} is named twice in {axis!r}")
        axes |= bit
    return axes


cdef Array to_floating(str op, Array x):
    """Integers and masks take part in the default dtype."""
    return x if x.dtype_ <= MGX_F64 else convert(x, default_float)


# ----- reductions: how any set of axes becomes (outer, n, inner) ------------------------------------------------

cdef struct Layout:
    Py_ssize_t outer, n, inner
    Py_ssize_t strides[3]


cdef int in_memory(Array x, Axes axes, int *order) noexcept:
    """The axes of more than one element, and how many there are: those of longer strides first, as far as those that
    are kept stay in their order, and those that are reduced in theirs."""
    cdef int kept = 0, reduced = 0, count = 0, first
    cdef Py_ssize_t one, other
    while True:
        while kept < x.ndim and (axes >> kept & 1 or x.shape_[kept] == 1):
            kept += 1
        while reduced < x.ndim and (not axes >> reduced & 1 or x.shape_[reduced] == 1):
            reduced += 1
        first = min(kept, reduced)
        if first == x.ndim:
            return count
        if kept < x.ndim and reduced < x.ndim:
            one, other = abs(x.strides_[kept]), abs(x.strides_[reduced])
            if one and other and one != other:
                first = kept if one > other else reduced
        order[count] = first
        count += 1
        if first == kept:
            kept += 1
        else:
            reduced += 1


cdef Array lay_out(Array x, Axes axes, Layout *to):
    """``x``, or a copy with the reduced axes last, and the three strides by which it is walked."""
    cdef int d, at, group = 0, kept = 0
    cdef int order[MGX_MAXDIM]
    cdef Py_ssize_t length[3]
    cdef Py_ssize_t stride[3]
    cdef const Py_ssize_t *lengths = x.shape_
    cdef const Py_ssize_t *steps = x.strides_
    cdef bint reduced, one_walk = True
    for d in range(3):
        length[d], stride[d] = 1, 0
    for at in range(in_memory(x, axes, order)):         # group 0: kept, 1: reduced, 2: kept again
        d = order[at]
        reduced = axes >> d & 1
        if reduced != (group == 1):
            group += 1
            if group > 2:
                one_walk = False
                break
        if length[group] > 1 and stride[group] != steps[d] * lengths[d]:
            one_walk = False
            break
        length[group] *= lengths[d]
        stride[group] = steps[d]
    if one_walk and (length[2] == 1 or stride[2] == itemsize[x.dtype_]):
        to.outer, to.n, to.inner = length[0], length[1], length[2]
        for d in range(3):
            to.strides[d] = stride[d]
        return x
    for d in range(x.ndim):
        if not axes >> d & 1:
            order[kept] = d
            kept += 1
    to.n = 1
    for d in range(x.ndim):
        if axes >> d & 1:
            order[kept] = d
            kept += 1
            to.n *= x.shape_[d]
    x = permute(x, order)
    x = x if x.contiguous else apply(MGX_clone, x, None, None)
    to.outer, to.inner = x.size // to.n if to.n else 1, 1
    to.strides[0], to.strides[1], to.strides[2] = to.n * itemsize[x.dtype_], itemsize[x.dtype_], 0
    return x


cdef Array lay_out_unrecorded(Array x, Axes axes, Layout *to):
    """As lay_out, not recorded."""
    cdef bint mode = set_grad_enabled(False)
    try:
        return lay_out(x, axes, to)
    finally:
        set_grad_enabled(mode)


cdef Array empty_reduced(Array x, Axes axes, int dtype):
    """An array for the result, with the reduced axes kept as 1."""
    cdef Py_ssize_t shape[MGX_MAXDIM]
    cdef int d
    for d in range(x.ndim):
        shape[d] = 1 if axes >> d & 1 else x.shape_[d]
    return empty(dtype, x.ndim, shape)


cdef Array squeeze_axes(Array x, Axes axes):
    """A fresh result without the axes of length 1 that are named."""
    cdef Py_ssize_t shape[MGX_MAXDIM]
    cdef int d, ndim = 0
    if axes == 0:
        return x
    for d in range(x.ndim):
        if not axes >> d & 1:
            shape[ndim] = x.shape_[d]
            ndim += 1
    return unmark_view(reshape(x, ndim, shape))


cdef int SUM = kernel_row("sum"), AMAX = kernel_row("amax"), SQUARES = kernel_row("squares")
cdef int PROD = kernel_row("prod"), PROD_VJP = kernel_row("prod_vjp")
cdef int ANY = kernel_row("any"), ARGMAX = kernel_row("argmax"), CUMSUM = kernel_row("cumsum")
cdef int SORT = kernel_row("sort")


cdef int reduce(int row, Array source, const Layout *by, double factor, Array out) except -1:
    cdef Call call
    call.count = 0
    put(&call, source)
    put(&call, out)
    call.args.n[0], call.args.n[1], call.args.n[2] = by.outer, by.n, by.inner
    call.args.n[3], call.args.n[4], call.args.n[5] = by.strides[0], by.strides[1], by.strides[2]
    call.args.x[0] = factor
    launch(&call, row, source.dtype_)
    return 0


cdef Array reduced(int row, Array x, Axes axes, double factor, double of_none):
    """What the row makes of the elements along ``axes``, which stay as 1; of no elements ``of_none``."""
    cdef Array out = empty_reduced(x, axes, x.dtype_), source
    cdef Layout by
    source = lay_out_unrecorded(x, axes, &by)
    if out.size and x.size:
        reduce(row, source, &by, factor, out)
    else:
        fill(out, of_none)
    return out


@composite("sum")
def _sum_composite(x, *, divisor, **sizes):
    return x.transpose(1, 2) @ type(x)(np.ones(x.shape[1], x.dtype)) / divisor


@composite("squares")
def _squares_composite(x, mean, *, divisor, root, **sizes):
    off = x if mean is None else x - mean.reshape(x.shape[0], 1, x.shape[2])
    unit = power_below(off, 1 << 1)
    y = (off / unit).square().sum(1, keepdims=True) / divisor
    return (y.sqrt() * unit if root else y * unit * unit).squeeze(1)


@composite("prod")
def _prod_composite(x, **sizes):
    whole = x[:, 0]
    for r in range(1, x.shape[1]):
        whole = whole * x[:, r]
    return whole


@composite("amax")
def _amax_composite(x, *, sign, **sizes):
    best = sign * x[:, 0]
    for r in range(1, x.shape[1]):
        best = best.maximum(sign * x[:, r])
    return sign * best


# ----- sum and expand: transposes of each other -----------------------------------------------------------------

cdef Array sum_kept(Array x, Axes axes, double divisor=1, const char *name=b"sum"):
    """The sum over ``axes``, which stay as 1, over ``divisor``; what errors and `grad_fn` call it."""
    cdef Array out = reduced(SUM, x, axes, divisor, 0 / divisor)
    record_structured(out, name, sum_vjp, (shape_of(x), divisor) if x.needs_grad else None, x)
    return out

cdef object sum_vjp(Node node, Array g, int i):
    cdef Py_ssize_t shape[MGX_MAXDIM]
    cdef int d
    wanted, divisor = node.args
    for d in range(len(wanted)):
        shape[d] = wanted[d]
    if divisor != 1.0:
        g = apply(MGX_div, g, divisor, None)
    return expand(g, len(wanted), shape)


cdef Array sum_axes(Array x, Axes axes, bint keepdims):
    cdef Array out = sum_kept(to_floating("sum", x), axes)
    return out if keepdims else squeeze_axes(out, axes)


cdef Array mean_axes(Array x, Axes axes, bint keepdims):
    cdef Array out = mean_kept(x, axes)
    return out if keepdims else squeeze_axes(out, axes)


cdef Array expand(Array x, int ndim, const Py_ssize_t *shape):
    """A view of ``x`` broadcast to ``shape``."""
    cdef Py_ssize_t strides[MGX_MAXDIM]
    cdef int d, skip = ndim - x.ndim
    cdef Array out
    if skip < 0:
        raise ShapeError(f"expand: shape {shape_of(x)} does not broadcast to "
                         f"{tuple([shape[i] for i in range(ndim)])} ({x.ndim} axes > {ndim})")
    for d in range(ndim):
        strides[d] = 0
        if d >= skip and x.shape_[d - skip] == shape[d]:
            strides[d] = x.strides_[d - skip]
        elif d >= skip and x.shape_[d - skip] != 1:
            raise ShapeError(f"expand: shape {shape_of(x)} does not broadcast to "
                             f"{tuple([shape[i] for i in range(ndim)])} ({x.shape_[d - skip]} != {shape[d]})")
    out = view_of(x, x.data, ndim, shape, strides)
    record_structured(out, b"expand", expand_vjp, shape_of(x) if x.needs_grad else None, x)
    return out

cdef object expand_vjp(Node node, Array g, int i):
    return sum_to_shape(g, node.args)


cdef Array sum_to(Array x, int ndim, const Py_ssize_t *shape):
    """The sum over what was broadcast from ``shape``."""
    cdef Axes axes = 0
    cdef int d, skip = x.ndim - ndim
    cdef Array out = x
    for d in range(x.ndim):
        if d < skip or (shape[d - skip] == 1 and x.shape_[d] != 1):
            axes |= <Axes> 1 << d
    if axes:
        out = sum_kept(x, axes)
    return unmark_view(reshape(out, ndim, shape)) if skip and axes else reshape(out, ndim, shape) if skip else out


cdef Array sum_to_shape(Array x, tuple shape_):
    cdef Py_ssize_t shape[MGX_MAXDIM]
    cdef int d
    for d in range(len(shape_)):
        shape[d] = shape_[d]
    return sum_to(x, len(shape_), shape)


# ----- amax, amin: the gradient is split evenly among ties --------------------------------------------------------

def _largest(x, axes):
    return np.max(x, axes, keepdims=True)


def _smallest(x, axes):
    return np.min(x, axes, keepdims=True)


cdef Array amax(Array x, Axes axes, bint keepdims, double sign):
    """The maximum over ``axes`` (sign 1) or the minimum (sign -1); a nan wins."""
    cdef Array out
    cdef Node node
    cdef str name = "amax" if sign > 0 else "amin"
    for d in range(x.ndim):
        if axes >> d & 1 and x.shape_[d] == 0:
            raise ShapeError(f"{name}: of no elements, shape {shape_of(x)} along axis {d}")
    if x.dtype_ > MGX_F64:
        out = compute_on_host(_largest if sign > 0 else _smallest,
                              (x, tuple([d for d in range(x.ndim) if axes >> d & 1])))
        return out if keepdims else squeeze_axes(out, axes)
    out = reduced(AMAX, x, axes, sign, 0.0)
    node = record_structured(out, b"amax", amax_vjp, axes, x)
    if node is not None:
        node.save(0, x)
        node.save(3, detached(out))
    return out if keepdims else squeeze_axes(out, axes)

cdef object amax_vjp(Node node, Array g, int i):
    cdef Array x = node.load(0), ties
    ties = convert(apply(MGX_eq, x, detached(node.load(3)), None), g.dtype_)
    ties = apply(MGX_div, ties, sum_kept(ties, node.args), None)
    return apply(MGX_mul, ties, g, None)


# ----- any, all, argmax, argmin: no gradient ----------------------------------------------------------------------

cdef Array any_axes(Array x, Axes axes, bint keepdims, bint all):
    """Whether an element over ``axes`` is not 0, or ``all``: whether none is 0."""
    cdef Array source, out
    cdef Layout by
    cdef Call call
    source = x if x.dtype_ == MGX_BOOL else apply(MGX_ne, x, 0, None)
    out = empty_reduced(source, axes, MGX_BOOL)
    if source.size:
        source = lay_out(as_contiguous(source), axes, &by)
        call.count = 0
        put(&call, source)
        put(&call, out)
        call.args.n[0], call.args.n[1], call.args.n[2], call.args.n[3] = by.outer, by.n, by.inner, all
        launch(&call, ANY, MGX_F64)
    else:
        fill_integer(out, all)
    return out if keepdims else squeeze_axes(out, axes)


@composite("any")
def _any_composite(x, *, all, **sizes):
    return (np.all if all else np.any)(x.numpy(), 1)


cdef Array argmax(Array x, Axes axes, bint keepdims, double sign):
    """Where the first largest element over ``axes`` is (sign 1), or the first smallest (sign -1); a nan wins. ``axes``
    are one, or all."""
    cdef Array out, source
    cdef Layout by
    out = empty_reduced(x, axes, MGX_I64)
    source = lay_out_unrecorded(x, axes, &by)
    if x.size:
        reduce(ARGMAX, source, &by, sign, out)
    return out if keepdims else squeeze_axes(out, axes)


@composite("argmax")
def _argmax_composite(x, *, sign, **sizes):
    return np.argmax(sign * x.numpy(), 1)


# ----- sums of squares, and their roots: var, std, the Euclidean norm -------------------------------------------------

cdef Array squares(const char *name, Array x, Axes axes, bint keepdims, double divisor, bint root, bint centred):
    """The sum of squares over ``axes``, of x or of its distances from the mean, over ``divisor``; or the root of that,
    whose gradient is 0 where it is 0. Squares and distances that are no numbers of the dtype do not matter."""
    cdef Array out, source, mean = None
    cdef Node node
    cdef Layout by
    cdef Call call
    cdef bint mode
    x = to_floating(name.decode(), x)
    out = empty_reduced(x, axes, x.dtype_)
    mode = set_grad_enabled(False)
    try:
        mean = mean_kept(x, axes) if centred else None
        source = lay_out(x, axes, &by)
        if out.size and x.size:
            call.count = 0
            put(&call, source)
            put(&call, mean)
            put(&call, out)
            call.args.n[0], call.args.n[1], call.args.n[2] = by.outer, by.n, by.inner
            call.args.n[3], call.args.n[4], call.args.n[5] = by.strides[0], by.strides[1], by.strides[2]
            call.args.n[6], call.args.x[0] = root, divisor
            launch(&call, SQUARES, source.dtype_)
        else:
            fill(out, 0 / divisor)
    finally:
        set_grad_enabled(mode)
    node = record_structured(out, name, squares_vjp, (axes, divisor, root), x)
    if node is not None:
        node.save(0, x)
        if centred:
            node.save(1, mean)
        if root:
            node.save(3, detached(out))
    return out if keepdims else squeeze_axes(out, axes)

cdef object squares_vjp(Node node, Array g, int i):
    """g * 2 (x - mean) / divisor, or with the root y g * (x - mean) / divisor / y: that the mean depends on x makes no
    difference, for the distances from it sum to 0."""
    cdef Array x = node.load(0), y, mean = None, half, zero = None
    cdef bint recorded = grad_enabled(), root
    cdef double divisor
    axes, divisor, root = node.args
    if node.saved[1] != NULL:
        mean = mean_kept(x, axes) if recorded else node.load(1)
    if not root:
        x = x if mean is None else apply(MGX_sub, x, mean, None)
        return apply(MGX_mul_no_nan, apply(MGX_div, g, divisor / 2, None), x, None)
    y = node.load(3)
    if recorded:
        zero = apply(MGX_eq, y, 0.0, None)
        y = detached(y)                         # y as a function of x
        y.node, y.needs_grad = node, True
        y = apply(MGX_where, zero, 1.0, y)
    else:                                       # the smallest number that is not 0 in place of 0, where x is 0 too
        y = apply(MGX_maximum, y, 2.0**-149 if y.dtype_ == MGX_F32 else 2.0**-1074, None)
    if mean is not None:                        # the difference might overflow; halves are exact here
        half = apply(MGX_where, apply(MGX_gt, detached(y), 1.0, None), 0.5, 1.0)
        half = convert(half, y.dtype_)
        x = apply(MGX_sub, apply(MGX_mul, x, half, None), apply(MGX_mul, mean, half, None), None)
        y = apply(MGX_mul, y, half, None)
    x = apply(MGX_div, x, y, None)
    if zero is not None:
        x = apply(MGX_where, zero, 0.0, x)
    return apply(MGX_mul, x, g if divisor == 1 else apply(MGX_div, g, divisor, None), None)


cdef Py_ssize_t count_reduced(Array x, Axes axes) noexcept:
    """How many elements are reduced to one."""
    cdef Py_ssize_t n = 1
    cdef int d
    for d in range(x.ndim):
        if axes >> d & 1:
            n *= x.shape_[d]
    return n


cdef Array mean_kept(Array x, Axes axes):
    """The mean over ``axes``, which stay as 1."""
    return sum_kept(x, axes, count_reduced(x, axes), b"mean")


cdef Array power_below(Array x, Axes axes):
    """A power of 2 of the size of the largest magnitude over ``axes``; no part of the graph."""
    cdef bint mode
    cdef double least, most
    cdef Array top
    x = to_floating("power_of", x)
    if x.size == 0:
        top = empty_reduced(x, axes, x.dtype_)
        fill(top, 1.0)
        return top
    # multiples and fractions of the power are numbers, too, and the squares of what is smaller do not vanish
    least, most = (-100.0, 120.0) if x.dtype_ == MGX_F32 else (-960.0, 1016.0)
    mode = set_grad_enabled(False)
    try:
        top = apply(MGX_neg, amax(x, axes, True, -1.0), None, None)
        top = apply(MGX_log2, apply(MGX_maximum, amax(x, axes, True, 1.0), top, None), None, None)
        return apply(MGX_exp2, apply(MGX_floor, apply(MGX_clip, top, least, most), None, None), None, None)
    finally:
        set_grad_enabled(mode)


def sum_of_squares(Array x not None, axis, double divisor):
    """The sum of x^2 over ``axis``, over ``divisor``."""
    return squares(b"square_sum", x, axes_of("sum", axis, x.ndim), False, divisor, False, False)


def power_of(Array x not None, axis):
    """A power of 2 of the size of the largest magnitude along ``axis``, which stays as 1; no part of the graph."""
    return power_below(x, axes_of("power_of", axis, x.ndim))


# ----- norms of other orders: (sum |x|^ord)^(1/ord) ----------------------------------------------------------------

cdef Array power_norm(Array x, Axes axes, bint keepdims, double ord):
    """The norm of order ``ord``, which is none of 0, 1, 2 and the infinities, over ``axes``."""
    cdef Array size, unit, out
    cdef Node node
    cdef bint mode = set_grad_enabled(False)
    try:
        size = apply(MGX_abs, x, None, None)
        if x.size:                              # in units of what counts most, so that no power overflows
            unit = amax(size, axes, True, 1.0 if ord > 0 else -1.0)
            unit = apply(MGX_where, apply(MGX_eq, apply(MGX_div, unit, unit, None), 1.0, None), unit, 1.0)
            size = apply(MGX_div, size, unit, None)
        out = apply(MGX_pow, sum_kept(apply(MGX_pow, size, ord, None), axes), 1.0 / ord, None)
        if x.size:
            out = apply(MGX_mul, out, unit, None)
    finally:
        set_grad_enabled(mode)
    node = record_structured(out, b"norm", power_norm_vjp, ord, x)
    if node is not None:
        node.save(0, x)
        node.save(3, detached(out))
    return out if keepdims else squeeze_axes(out, axes)

cdef object power_norm_vjp(Node node, Array g, int i):
    """g * sign(x) * (|x| / y)^(ord - 1): no unit is left that could overflow."""
    cdef Array x = node.load(0), y = node.load(3), size, zero
    cdef double ord = node.args
    if grad_enabled():
        y = detached(y)                         # y as a function of x
        y.node, y.needs_grad = node, True
    size = apply(MGX_abs, x, None, None)
    zero = apply(MGX_eq, y if ord > 1 else apply(MGX_minimum, size, y, None), 0.0, None)
    size = apply(MGX_div, size, apply(MGX_where, zero, 1.0, y), None)
    size = apply(MGX_pow, apply(MGX_where, zero, 1.0, size), ord - 1, None)
    size = apply(MGX_mul, size, apply(MGX_sign, x, None, None), None)
    return apply(MGX_mul, apply(MGX_where, zero, 0.0, size), g, None)


# ----- prod: its gradient is the product of the others ------------------------------------------------------------

cdef Array prod(Array x, Axes axes, bint keepdims):
    """The product over ``axes``, in a range that nothing overflows or vanishes in on the way."""
    cdef Array out = reduced(PROD, x, axes, 1.0, 1.0)
    cdef Node node = record_structured(out, b"prod", prod_vjp, axes, x)
    if node is not None:
        node.save(0, x)
    return out if keepdims else squeeze_axes(out, axes)

cdef object prod_vjp(Node node, Array g, int i):
    cdef Array x = node.load(0), rows, dx
    cdef Axes axes = node.args
    cdef int order[MGX_MAXDIM]
    cdef int back[MGX_MAXDIM]
    cdef int d, last, k = 0
    cdef Py_ssize_t shape[2]
    cdef Call call
    if x.size == 0:
        return apply(MGX_clone, x, None, None)
    for last in range(2):                       # the reduced axes last
        for d in range(x.ndim):
            if <int> (axes >> d & 1) == last:
                order[k], back[d] = d, k
                k += 1
    shape[0], shape[1] = g.size, x.size // g.size
    x = permute(x, order)
    rows, g = contiguous(reshape(x, 2, shape)), contiguous(reshape(g, 1, shape))
    if grad_enabled():
        dx = _prod_vjp_composite(g, rows)
    else:
        dx = empty_like(rows)
        call.count = 0
        put(&call, g)
        put(&call, rows)
        put(&call, dx)
        call.args.n[0], call.args.n[1] = shape[0], shape[1]
        launch(&call, PROD_VJP, dx.dtype_)
    return permute(reshape(dx, x.ndim, x.shape_), back)


def _split(x):
    """(m, e) with x = m * 2^e, of which e has no graph: numbers from 1/2 to 2 that no product of two overflows."""
    size = x.detach().abs()
    e = ((size > 0) & (size < np.inf)).where(size.log2().round(), 0.0)
    low = (e * 0.5).floor()                     # in two steps, for 2^e itself may overflow
    return x * (-low).exp2() * (low - e).exp2(), e


def _others(m, e):
    """For each element m * 2^e of a row the product of the others, as such a pair, by halves."""
    half = m.shape[1] // 2
    if half == 0:
        return from_object(np.ones(m.shape, m.dtype), None, True), from_object(np.zeros(m.shape, m.dtype), None, True)
    a, b, rest = (slice(None), slice(half)), (slice(None), slice(half, 2 * half)), (slice(None), slice(2 * half, None))
    pairs, more = _split(m[a] * m[b])
    others, powers = _others(concat([pairs, m[rest]], 1), concat([more + e[a] + e[b], e[rest]], 1))
    first, second, left = others[a], powers[a], (slice(None), slice(half, None))
    to_a, of_a = _split(first * m[b])
    to_b, of_b = _split(first * m[a])
    return (concat([to_a, to_b, others[left]], 1),
            concat([of_a + second + e[b], of_b + second + e[a], powers[left]], 1))


@composite("prod_vjp")
def _prod_vjp_composite(g, x, **sizes):
    m, e = _others(*_split(x))
    low = (e * 0.5).floor()
    return (g.unsqueeze(1).mul_no_nan(low.exp2()) * m).mul_no_nan((e - low).exp2())


# ----- logsumexp: its gradient is a softmax, which infinite numbers share evenly ----------------------------------

cdef double[2] LARGEST = [np.finfo(np.float32).max, np.finfo(np.float64).max]


cdef Array logsumexp(Array x, Axes axes, bint keepdims):
    """log(sum(exp(x))) over ``axes``, shifted by the maximum so that nothing overflows."""
    cdef Array out, top, e, total
    cdef Node node
    cdef bint mode
    cdef double most
    x = to_floating("logsumexp", x)
    most = LARGEST[x.dtype_]
    if x.size == 0:
        return apply(MGX_log, sum_axes(x, axes, keepdims), None, None)
    mode = set_grad_enabled(False)
    try:
        top = amax(x, axes, True, 1.0)
        e = apply(MGX_clip, x, -most, most)
        apply_into(MGX_sub, e, apply(MGX_clip, top, -most, most))                   # never inf - inf
        e = apply(MGX_exp, e, None, None)
        total = sum_axes(e, axes, True)
        out = apply(MGX_add, apply(MGX_log, total, None, None), top, None)
    finally:
        set_grad_enabled(mode)
    node = record_structured(out, b"logsumexp", logsumexp_vjp, axes, x)
    if node is not None:
        node.save(0, x)
        node.save(1, e)
        node.save(2, total)
        node.save(3, detached(out))
    return out if keepdims else squeeze_axes(out, axes)

cdef object logsumexp_vjp(Node node, Array g, int i):
    cdef Array x = node.load(0), y = node.load(3)
    if not grad_enabled():
        return apply(MGX_mul, node.load(1), apply(MGX_div, g, node.load(2), None), None)
    y = detached(y)                             # y as a function of x
    y.node, y.needs_grad = node, True
    y = apply(MGX_where, apply(MGX_eq, x, y, None), 0.0, apply(MGX_sub, x, y, None))        # inf - inf is 0 here
    y = apply(MGX_exp, y, None, None)
    return apply(MGX_mul, apply(MGX_div, y, sum_kept(y, node.args), None), g, None)


# ----- cumsum ---------------------------------------------------------------------------------------------------

def _cumsum(out, x, axis):
    by_parts(_cumsum_part, out, x, axis, (axis,))


def _cumsum_part(out, x, axis):
    before, total = (slice(None),) * axis, None
    for part in stretches(x, axis):
        total = np.cumsum(x[part] if total is None else np.concatenate([total, x[part]], axis, dtype=np.int64), axis,
                          np.int64)
        out[part] = total if total.shape == x[part].shape else total[before + (slice(1, None),)]
        total = total[before + (slice(-1, None),)]


cdef void put_axis(Call *call, Array x, int axis) noexcept:
    """The lengths before, along and behind an axis of what lies in order."""
    cdef int d
    call.args.n[0], call.args.n[1], call.args.n[2] = 1, x.shape_[axis], 1
    for d in range(x.ndim):
        if d != axis:
            call.args.n[0 if d < axis else 2] *= x.shape_[d]


cdef Array cumsum(Array x, int axis, bint reverse=False):
    """The running sums along ``axis``; those from the end, of floats alone, if ``reverse``."""
    cdef Array out, source
    cdef Call call
    if x.ndim == 0:
        return as_point(cumsum(as_line(x), 0))
    out = empty(min(x.dtype_, MGX_I64), x.ndim, x.shape_)                      # of a mask counts
    if x.dtype_ > MGX_F64:
        host(_cumsum, (out,), (x, axis))
    elif x.size:
        source = as_contiguous(x)
        call.count = 0
        put(&call, source)
        put(&call, out)
        put_axis(&call, x, axis)
        call.args.n[3] = reverse
        launch(&call, CUMSUM, x.dtype_)
    record_structured(out, b"cumsum", cumsum_vjp, (axis, reverse), x)
    return out

cdef object cumsum_vjp(Node node, Array g, int i):
    axis, reverse = node.args
    return cumsum(g, axis, not reverse)


@composite("cumsum")
def _cumsum_composite(x, *, n, reverse, **sizes):
    rows = [x[:, r] for r in (range(n - 1, -1, -1) if reverse else range(n))]
    for r in range(1, n):
        rows[r] = rows[r] + rows[r - 1]
    return concat([row.unsqueeze(1) for row in (rows[::-1] if reverse else rows)], 1)


# ----- sort: its gradient goes where each element was ---------------------------------------------------------------

def sort_along(Array x not None, int axis, bint descending):
    """(values, places) of floats in order along ``axis``, of fewer than 2^32 elements."""
    cdef Array values = empty(x.dtype_, x.ndim, x.shape_), places = empty(MGX_I64, x.ndim, x.shape_)
    cdef Array source
    cdef Call call
    if x.size:
        source = as_contiguous(x)
        call.count = 0
        put(&call, source)
        put(&call, values)
        put(&call, places)
        put_axis(&call, x, axis)
        call.args.n[3] = descending
        launch(&call, SORT, x.dtype_)
    record_gather(values, b"sort", x, axis, places)
    return values, places


@composite("sort")
def _sort_composite(x, *, n, descending, **sizes):
    x = x.numpy()
    places = n - 1 - np.flip(np.argsort(np.flip(x, 1), 1, kind="stable"), 1) if descending else np.argsort(
        x, 1, kind="stable")
    return np.take_along_axis(x, places, 1), places


# ----- matmul: (..., m, k) @ (..., k, n) -> (..., m, n) -----------------------------------------------------------

cdef struct Matrix:             # how BLAS reads the last two axes
    Py_ssize_t lead
    bint transposed


cdef bint find_matrix_layout(Array x, Matrix *to) noexcept:
    """Rows or columns contiguous: then BLAS reads it in place."""
    cdef Py_ssize_t size = itemsize[x.dtype_]
    cdef Py_ssize_t m = x.shape_[x.ndim - 2], n = x.shape_[x.ndim - 1]
    cdef Py_ssize_t down = x.strides_[x.ndim - 2], across = x.strides_[x.ndim - 1]
    if (across == size or n == 1) and (down >= n * size and down % size == 0 or m == 1):
        to.transposed, to.lead = False, max(n, 1) if m == 1 else down // size
        return True
    if (down == size or m == 1) and (across >= m * size and across % size == 0 or n == 1):
        to.transposed, to.lead = True, max(m, 1) if n == 1 else across // size
        return True
    return False


cdef int GEMM = kernel_row("gemm")


cdef int gemm(bint ta, bint tb, Py_ssize_t m, Py_ssize_t n, Py_ssize_t k, double alpha,
              Array a, char *a_data, Py_ssize_t lda, Array b, char *b_data, Py_ssize_t ldb,
              double beta, Array c, char *c_data, Py_ssize_t ldc) except -1:
    """c (m, n) = alpha * op(a) op(b) + beta * c, row-major; op transposes where the flag says so. detect_nan looks at
    the whole operation that its products belong to."""
    cdef Call call
    if max(m, n, k, lda, ldb, ldc) > INT_MAX:
        raise ShapeError(f"matmul: ({m}, {k}) @ ({k}, {n}) is beyond the sizes of BLAS (2^31 - 1)")
    call.count = 0
    put_at(&call, a, a_data)
    put_at(&call, b, b_data)
    put_at(&call, c, c_data)
    call.args.n[0], call.args.n[1], call.args.n[2], call.args.n[3], call.args.n[4] = ta, tb, m, n, k
    call.args.n[5], call.args.n[6], call.args.n[7] = lda, ldb, ldc
    call.args.x[0], call.args.x[1] = alpha, beta
    launch(&call, GEMM, c.dtype_)
    return 0


@composite("gemm")
def _gemm_composite(a, b, c, *, ta, tb, alpha, beta, **sizes):
    a, b = a.transpose(0, 1) if ta else a, b.transpose(0, 1) if tb else b
    ab = alpha * (a.unsqueeze(2) * b.unsqueeze(0)).sum(1)
    return ab + beta * c if beta else ab


cdef Array product(Array a, Array b, bint ta, bint tb):
    """op(a) @ op(b) over the last two axes, leading axes broadcast; op transposes where the flag says so."""
    cdef Py_ssize_t shape[MGX_MAXDIM]
    cdef Py_ssize_t m, n, k, batch = 1, r
    cdef Py_ssize_t index_[MGX_MAXDIM]
    cdef int d, da, db, lead
    cdef bint paused
    cdef char *pa
    cdef char *pb
    cdef Matrix A, B
    cdef Array out
    cdef Node node
    m, k = a.shape_[a.ndim - 2 + ta], a.shape_[a.ndim - 1 - ta]
    n = b.shape_[b.ndim - 1 - tb]
    lead = max(a.ndim, b.ndim) - 2
    for d in range(lead):
        da, db = d - lead + a.ndim - 2, d - lead + b.ndim - 2
        shape[d] = 1 if da < 0 else a.shape_[da]
        if db >= 0 and b.shape_[db] != 1:
            if shape[d] != 1 and shape[d] != b.shape_[db]:
                raise ShapeError(f"matmul: leading axes of {shape_of(a)} and {shape_of(b)} do not broadcast "
                                 f"({shape[d]} != {b.shape_[db]})")
            shape[d] = b.shape_[db]
        batch *= shape[d]
        index_[d] = 0
    shape[lead], shape[lead + 1] = m, n
    out = empty(a.dtype_, lead + 2, shape)
    node = record_structured(out, b"matmul", product_vjp, (ta, tb) if ta or tb else None, a, b)
    if node is not None:
        node.save(0, a)                         # each is read by the other's vjp; both tell their shapes
        node.save(1, b)
    if out.size == 0:
        return out
    if k == 0:
        fill(out, 0)
        return out
    if batch > 1:                               # several launches: to all the same memory
        a, b = detached(a), detached(b)
    if not find_matrix_layout(a, &A):
        a = as_contiguous(a)
        find_matrix_layout(a, &A)
    if not find_matrix_layout(b, &B):
        b = as_contiguous(b)
        find_matrix_layout(b, &B)
    paused = pause_watching(True)               # the whole is examined
    try:
        for r in range(batch):
            pa, pb = a.data, b.data
            for d in range(lead):
                da, db = d - lead + a.ndim - 2, d - lead + b.ndim - 2
                if da >= 0 and a.shape_[da] != 1:
                    pa += index_[d] * a.strides_[da]
                if db >= 0 and b.shape_[db] != 1:
                    pb += index_[d] * b.strides_[db]
            gemm(ta != A.transposed, tb != B.transposed, m, n, k, 1.0, a, pa, A.lead, b, pb, B.lead,
                 0.0, out, out.data + r * m * n * itemsize[out.dtype_], n)
            for d in range(lead - 1, -1, -1):
                index_[d] += 1
                if index_[d] < shape[d]:
                    break
                index_[d] = 0
    finally:
        pause_watching(paused)
    if watching():
        check_clean(out, "matmul", a, b)
    return out

cdef object product_vjp(Node node, Array g, int i):
    cdef Array a = <Array> node.saved[0], b = <Array> node.saved[1], dx
    cdef bint ta = False, tb = False
    if node.args is not None:
        ta, tb = node.args
    if i == 0:                                  # op(a) (m, k) gets g (m, n) @ op(b)^T (n, k)
        b = node.load(1)
        dx = product(b, g, tb, True) if ta else product(g, b, False, not tb)
        return dx if same_shape(dx, a) else sum_to(dx, a.ndim, a.shape_)
    a = node.load(0)                            # op(b) (k, n) gets op(a)^T (k, m) @ g (m, n)
    dx = product(g, a, True, ta) if tb else product(a, g, not ta, False)
    return dx if same_shape(dx, b) else sum_to(dx, b.ndim, b.shape_)


cdef Array matmul(Array a, Array b):
    """As NumPy: 1-D operands are rows and columns that vanish from the result."""
    cdef Py_ssize_t shape[MGX_MAXDIM]
    cdef bint row = a.ndim == 1, column = b.ndim == 1
    cdef Array out
    cdef int d
    if a.ndim == 0 or b.ndim == 0:
        raise ShapeError(f"matmul: shapes {shape_of(a)} and {shape_of(b)}: a number has no rows; use *")
    if a.dtype_ != b.dtype_ and (a.dtype_ <= MGX_F64 or b.dtype_ <= MGX_F64):
        raise DTypeError(f"matmul: dtypes {dtype_of(a.dtype_)} and {dtype_of(b.dtype_)} do not mix; both are float32 "
                         "or both float64 (x.float() converts)")
    if a.shape_[a.ndim - 1] != b.shape_[0 if column else b.ndim - 2]:
        raise ShapeError(f"matmul: shapes {shape_of(a)} and {shape_of(b)} do not align "
                         f"({a.shape_[a.ndim - 1]} != {b.shape_[0 if column else b.ndim - 2]})")
    if a.dtype_ > MGX_F64:
        try:
            return compute_on_host(np.matmul, (a, b))
        except ValueError:
            raise ShapeError(f"matmul: leading axes of {shape_of(a)} and {shape_of(b)} do not broadcast") from None
    if row:
        shape[0], shape[1] = 1, a.shape_[0]
        a = reshape(a, 2, shape)
    if column:
        shape[0], shape[1] = b.shape_[0], 1
        b = reshape(b, 2, shape)
    if b.ndim == 2 and a.ndim > 2:              # one large product instead of many small ones
        shape[0], shape[1] = a.size // a.shape_[a.ndim - 1] if a.size else 0, a.shape_[a.ndim - 1]
        for d in range(a.ndim - 2):
            if a.size == 0:
                shape[0] = (shape[0] if d else 1) * a.shape_[d]
        if a.size == 0:
            shape[0] *= a.shape_[a.ndim - 2]
        out = product(reshape(a, 2, shape), b, False, False)
        memcpy(shape, a.shape_, a.ndim * sizeof(Py_ssize_t))
        shape[a.ndim - 1] = b.shape_[1]
        out = unmark_view(reshape(out, a.ndim, shape))
    else:
        out = product(a, b, False, False)
    if row:
        out = squeeze_axes(out, <Axes> 1 << (out.ndim - 2))
    return squeeze_axes(out, <Axes> 1 << (out.ndim - 1)) if column else out


# ----- linear: x (..., in) @ w (out, in)^T + b (out,) ------------------------------------------------------------

cdef Array linear(Array x, Array w, Array b):
    cdef Py_ssize_t shape[MGX_MAXDIM]
    cdef Py_ssize_t m, n, k
    cdef Matrix A, B
    cdef Array out, a
    cdef Node node
    cdef bint paused
    if w.ndim != 2 or x.ndim == 0 or x.shape_[x.ndim - 1] != w.shape_[1]:
        raise ShapeError(f"linear: shapes {shape_of(x)} and {shape_of(w)} do not align"
                         + (f" ({x.shape_[x.ndim - 1]} != {w.shape_[1]})" if w.ndim == 2 and x.ndim else ""))
    if x.dtype_ != w.dtype_ or x.dtype_ > MGX_F64 or (b is not None and b.dtype_ != x.dtype_):
        raise DTypeError(f"linear: dtypes {dtype_of(x.dtype_)}, {dtype_of(w.dtype_)}"
                         + (f", {dtype_of(b.dtype_)}" if b is not None else "") + " do not mix (x.float() converts)")
    if b is not None and (b.ndim != 1 or b.shape_[0] != w.shape_[0]):
        raise ShapeError(f"linear: weight {shape_of(w)} and bias {shape_of(b)} do not fit ({w.shape_[0]} outputs)")
    if x.ndim != 2:
        m = 1
        for d in range(x.ndim - 1):
            m *= x.shape_[d]
        shape[0], shape[1] = m, x.shape_[x.ndim - 1]
        out = linear(reshape(x, 2, shape), w, b)
        memcpy(shape, x.shape_, x.ndim * sizeof(Py_ssize_t))
        shape[x.ndim - 1] = w.shape_[0]
        return unmark_view(reshape(out, x.ndim, shape))
    m, n, k = x.shape_[0], w.shape_[0], w.shape_[1]
    shape[0], shape[1] = m, n
    out = empty(x.dtype_, 2, shape)
    node = record_structured(out, b"linear", linear_vjp, None, x, w, b)
    if node is not None:
        node.save(0, x)
        node.save(1, w)
    paused = pause_watching(True)               # the whole is examined
    try:
        if b is not None:
            copy(b, out)
        elif k == 0:
            fill(out, 0)
        if m == 0 or n == 0 or k == 0:
            return out
        a = x
        if not find_matrix_layout(a, &A):
            a = as_contiguous(a)
            find_matrix_layout(a, &A)
        if not find_matrix_layout(w, &B):
            w = as_contiguous(w)
            find_matrix_layout(w, &B)
        gemm(A.transposed, not B.transposed, m, n, k, 1.0, a, a.data, A.lead, w, w.data, B.lead,
             1.0 if b is not None else 0.0, out, out.data, n)
    finally:
        pause_watching(paused)
    if watching():
        check_clean(out, "linear", x, w, not is_clean(b))
    return out

cdef object linear_vjp(Node node, Array g, int i):
    if i == 0:                                  # (m, out) @ (out, in)
        return product(g, node.load(1), False, False)
    if i == 1:                                  # (m, out)^T @ (m, in)
        return product(g, node.load(0), True, False)
    return squeeze_axes(sum_kept(g, 1), 1)


# ----- softmax and log_softmax along one axis ----------------------------------------------------------------------

cdef int SOFTMAX = kernel_row("softmax"), LOG_SOFTMAX = kernel_row("log_softmax")
cdef int SOFTMAX_VJP = kernel_row("softmax_vjp"), LOG_SOFTMAX_VJP = kernel_row("log_softmax_vjp")


cdef int softmax_rows(int row, Array a, Array b, Array out) except -1:
    """One of the four over the last axis; ``b``: the second operand of a vjp."""
    cdef Call call
    cdef Py_ssize_t n = out.shape_[out.ndim - 1]
    call.count = 0
    put(&call, a)
    if b is not None:
        put(&call, b)
    put(&call, out)
    call.args.n[0], call.args.n[1] = out.size // n, n
    launch(&call, row, out.dtype_)
    return 0


@composite("softmax")
def _softmax_composite(x, **sizes):
    e = (x - x.amax(-1, keepdims=True)).exp()
    return e / e.sum(-1, keepdims=True)


@composite("log_softmax")
def _log_softmax_composite(x, **sizes):
    x = x - x.amax(-1, keepdims=True)
    return x - x.exp().sum(-1, keepdims=True).log()


@composite("softmax_vjp")
def _softmax_vjp_composite(g, y, **sizes):
    return y * (g - (g * y).sum(-1, keepdims=True))


@composite("log_softmax_vjp")
def _log_softmax_vjp_composite(g, y, **sizes):
    return g - y.exp() * g.sum(-1, keepdims=True)


cdef Array softmax_axis(Array x, int axis, bint logarithm):
    cdef int last, d
    cdef int order[MGX_MAXDIM]
    cdef Array out
    cdef Node node
    if x.ndim == 0:
        return as_point(softmax_axis(as_line(x), 0, logarithm))
    x = to_floating("softmax", x)
    last = x.ndim - 1
    if axis != last:                            # bring the axis to the end and back
        for d in range(x.ndim):
            order[d] = d
        order[axis], order[last] = last, axis
        return permute(softmax_axis(permute(x, order), last, logarithm), order)
    x = contiguous(x)
    out = empty_like(x)
    if x.size:
        softmax_rows(LOG_SOFTMAX if logarithm else SOFTMAX, x, None, out)
    node = record_structured(out, b"log_softmax" if logarithm else b"softmax", softmax_vjp, logarithm, x)
    if node is not None:
        node.save(3, detached(out))
    return out

cdef object softmax_vjp(Node node, Array g, int i):
    cdef bint logarithm = node.args
    cdef Array y = node.load(3), dx
    if not grad_enabled():
        dx = empty_like(y)
        if y.size:
            softmax_rows(LOG_SOFTMAX_VJP if logarithm else SOFTMAX_VJP, contiguous(g), y, dx)
        return dx
    y = detached(y)                             # y as a function of x
    y.node, y.needs_grad = node, True
    return (_log_softmax_vjp_composite if logarithm else _softmax_vjp_composite)(g, y)


# ----- cross-entropy: logits (m, n), label (m,) int64 -> the mean or sum of log(sum(exp(x))) - x[label] -----------

cdef int CROSS_ENTROPY = kernel_row("cross_entropy"), CROSS_ENTROPY_VJP = kernel_row("cross_entropy_vjp")


def _onehot(label, n, dtype):
    return (label[:, None] == np.arange(n)).astype(dtype)


@composite("cross_entropy")
def _cross_entropy_composite(x, label, *, divisor, **sizes):
    onehot = compute_on_host(_onehot, (label, x.shape[1], x.dtype))
    return (_log_softmax_composite(x) * onehot).sum() / -divisor, _softmax_composite(x)


@composite("cross_entropy_vjp")
def _cross_entropy_vjp_composite(g, p, label, *, divisor, **sizes):
    return (p - compute_on_host(_onehot, (label, p.shape[1], p.dtype))) * (g / divisor)


cdef Array cross_entropy_mean(Array x, Array label, bint mean):
    cdef Call call
    cdef Array loss, p, held
    cdef Py_ssize_t bad
    cdef Node node
    cdef double divisor = x.shape_[0] if mean else 1
    if x.ndim != 2 or label.ndim != 1 or x.shape_[0] != label.shape_[0]:
        raise ShapeError(f"cross_entropy: logits {shape_of(x)} and labels {shape_of(label)} do not align; "
                         "(m, n) and (m,) do")
    if label.dtype_ != MGX_I64 or x.dtype_ > MGX_F64:
        raise DTypeError(f"cross_entropy: logits are floats and labels int64, not {dtype_of(x.dtype_)} and "
                         f"{dtype_of(label.dtype_)}")
    held = empty_like(label)
    copy(label, held)                                               # as it is now, whatever is written later
    label = held
    x = contiguous(x)
    loss, p = empty(x.dtype_, 0, NULL), empty_like(x)
    call.count = 0
    put(&call, x)
    put(&call, label)
    put(&call, loss)
    put(&call, p)
    call.args.n[0], call.args.n[1], call.args.x[0] = x.shape_[0], x.shape_[1], divisor
    bad = launch(&call, CROSS_ENTROPY, x.dtype_)
    if bad >= 0:
        raise IndexError_(f"cross_entropy: label {(<int64_t *> label.data)[bad]} of row {bad} is not one of the "
                          f"{x.shape_[1]} classes")
    node = record_structured(loss, b"cross_entropy", cross_entropy_mean_vjp, divisor, x)
    if node is not None:
        node.save(0, x)
        node.save(1, label)
        node.save(2, p)
    return loss


cdef object cross_entropy_mean_vjp(Node node, Array g, int i):
    cdef Array dx, label = node.load(1), p = node.load(2)
    cdef Call call
    cdef double divisor = node.args
    if grad_enabled():
        return _cross_entropy_vjp_composite(g, softmax_axis(node.load(0), 1, False), label, divisor=divisor)
    dx = empty_like(p)
    call.count = 0
    put(&call, g)
    put(&call, p)
    put(&call, label)
    put(&call, dx)
    call.args.n[0], call.args.n[1], call.args.x[0] = p.shape_[0], p.shape_[1], divisor
    launch(&call, CROSS_ENTROPY_VJP, p.dtype_)
    return dx


# ----- operations written in Python: a kernel or NumPy computes, the gradient is written in operations ---------------

class Operation:
    """What `KernelOperation` and `HostOperation` share: results by their shapes, a node, and gradients in operations.

    Called as ``operation(*tensors, *options)`` with one or two tensors. ``results(*tensors, *options)`` gives (shape,
    dtype) of each of its one or two results and raises where operands do not fit. ``vjps[k][i](g, *results, *tensors,
    *options)`` is the gradient for tensor i, where ``g`` is that of result k; a result without such a row has none.
    With ``create_graph`` a vjp sees the results computed once more, as functions of the tensors.
    """

    def __init__(self, str name, results, vjps=()):
        self.name, self.results, self.vjps = lasting_name(name), results, vjps

    def compute(self, tuple outs, tuple xs, tuple options):
        """Write the results."""
        raise NotImplementedError

    def __call__(self, *args):
        cdef tuple xs = tuple([x for x in args if isinstance(x, Array)]), options = args[len(xs):]
        cdef bytes name = self.name
        cdef tuple outs = tuple([empty_of_shape(name.decode(), tuple(shape), dtype)
                                 for shape, dtype in self.results(*args)])
        cdef Node node
        cdef Array out
        cdef int i
        if not (1 <= len(xs) <= 2 and 1 <= len(outs) <= 2):
            raise ShapeError(f"{self.name.decode()}: {len(xs)} tensors give {len(outs)} results; such an operation has "
                             "one or two of each")
        self.compute(outs, xs, options)
        for out, row in zip(outs, self.vjps):
            if not row:
                continue
            if len(row) != len(xs):
                raise ShapeError(f"{self.name.decode()}: {len(row)} gradients for {len(xs)} tensors")
            node = record_structured(out, name, operation_vjp, (self, tuple(row), len(outs), options, name),
                                     xs[0], xs[1] if len(xs) == 2 else None)
            if node is not None:
                for i in range(len(xs)):
                    node.save(i, xs[i])
                for i in range(len(outs)):
                    node.save(2 + i, detached(outs[i]))
        return outs[0] if len(outs) == 1 else outs


class HostOperation(Operation):
    """An operation that NumPy carries out: ``forward(*results, *arrays, *options)`` writes the results.

    >>> import numpy as np
    >>> import microgradx as mgx
    >>> from microgradx._core.structured import HostOperation
    >>> sinc = HostOperation("sinc", lambda x: [(x.shape, x.dtype)], lambda out, x: np.copyto(out, np.sinc(x)),
    ...                      [[lambda g, y, x: g * ((np.pi * x).cos() - y) / x]])
    >>> x = mgx.Tensor(0.5, requires_grad=True)
    >>> sinc(x).backward()
    >>> round(x.grad.item(), 6)
    -1.27324
    """

    def __init__(self, str name, results, forward, vjps=()):
        super().__init__(name, results, vjps)
        self.forward = forward

    def compute(self, tuple outs, tuple xs, tuple options):
        host(self.forward, outs, xs + options)


class KernelOperation(Operation):
    """An operation that a row of ``csrc/kernels.def`` carries out: that of the same name, or ``row``.

    ``sizes(*tensors, *options)`` gives (integers, numbers) in the order of the row; its operands are the tensors, made
    contiguous, and then the results. A row that refuses some numbers has ``refuse(position, *tensors, *options)``,
    which raises for the first of them.

    >>> import microgradx as mgx
    >>> from microgradx._core.structured import KernelOperation
    >>> softmax = KernelOperation("softmax", lambda x: [(x.shape, x.dtype)], lambda x: (x.shape, ()),
    ...                           [[lambda g, y, x: y * (g - (g * y).sum(-1, keepdims=True))]])
    >>> x = mgx.zeros(1, 2, requires_grad=True)
    >>> softmax(x)[0, 0].backward()
    >>> x.grad
    Tensor([[ 0.25, -0.25]])
    """

    def __init__(self, str name, results, sizes, vjps=(), refuse=None, row=None):
        super().__init__(name, results, vjps)
        self.row, self.sizes, self.refuse = row or name, sizes, refuse
        kernel_row(self.row)

    def compute(self, tuple outs, tuple xs, tuple options):
        integers, numbers = self.sizes(*xs, *options)
        bad = run(self.row, *[x if (<Array> x).contiguous else contiguous(<Array> x) for x in xs], *outs,
                  integers=integers, numbers=numbers)
        if bad is not None:
            self.refuse(bad, *xs, *options)


cdef Array empty_of_shape(str op, tuple shape_, object dtype):
    cdef Py_ssize_t shape[MGX_MAXDIM]
    cdef int d
    check_ndim(op, len(shape_))
    for d in range(len(shape_)):
        shape[d] = shape_[d]
    return empty(dtype_code(dtype), len(shape_), shape)


cdef object operation_vjp(Node node, Array g, int i):
    cdef int j
    operation, row, count, options, _ = node.args
    xs = [node.load(j) for j in range(node.v.count)]
    if grad_enabled():
        ys = operation(*xs, *options)
        ys = ys if count == 2 else (ys,)
    else:
        ys = [node.load(2 + j) for j in range(<int> count)]
    return (<tuple> row)[i](g, *ys, *xs, *options)
