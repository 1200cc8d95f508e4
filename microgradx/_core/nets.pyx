"""Operations of nets over images and rows: convolution, pooling, normalisation.

Each is one block, as in ``structured``. What users call, with its arguments read and checked, is in
``nn/convolution.py`` and ``nn/normalization.py``: here images are contiguous (n, c, h, w), and pairs are (height,
width).
"""
from libc.string cimport memcpy

from microgradx._core.array cimport *
from microgradx._core.graph cimport grad_enabled, pause_watching, watching
from microgradx._core.kernels cimport *
from microgradx._core.launch cimport Call, copy, fill, launch, put, put_at
from microgradx._core.structured cimport gemm, power_below, sum_axes
from microgradx._core.views cimport contiguous, gather, reshape
from microgradx._core.debug.watch cimport check_clean, is_clean

import numpy as np

from microgradx._core.launch import composite
from microgradx.errors import DTypeError, ShapeError


cdef class Windows:
    """How windows lie over images (n, c, h, w), and which channels a convolution joins."""
    cdef mgx_windows of
    cdef Py_ssize_t channels, filters, groups, taps, outputs

    cdef Array images(self, int dtype, Py_ssize_t n):
        """For what the windows read."""
        cdef Py_ssize_t[4] shape = [n, self.channels, self.of.size[0], self.of.size[1]]
        return empty(dtype, 4, shape)

    cdef Array results(self, int dtype, Py_ssize_t n, Py_ssize_t channels):
        """For what they make."""
        cdef Py_ssize_t[4] shape = [n, channels, self.of.count[0], self.of.count[1]]
        return empty(dtype, 4, shape)

    cdef Array weights(self, int dtype):
        cdef Py_ssize_t[4] shape = [self.filters, self.channels // self.groups, self.of.kernel[0], self.of.kernel[1]]
        return empty(dtype, 4, shape)

    cdef bint idle(self) noexcept:
        """Is every column the image itself, as for filters of 1x1?"""
        return self.taps == 1 and self.outputs == self.of.size[0] * self.of.size[1] and self.of.stride[0] == 1 \
            and self.of.stride[1] == 1 and self.of.before[0] == 0 and self.of.before[1] == 0


cdef Windows windows(str op, Array x, tuple kernel, tuple stride, tuple padding, tuple dilation):
    """Integers that are not negative, below 2^31; ``padding`` is ((before, after), (before, after))."""
    cdef Windows at = Windows.__new__(Windows)
    cdef Py_ssize_t room, reach
    cdef int d
    at.channels, at.groups = x.shape_[1], 1
    for d in range(2):
        at.of.size[d], at.of.kernel[d], at.of.before[d] = x.shape_[2 + d], kernel[d], padding[d][0]
        at.of.stride[d], at.of.dilation[d] = stride[d], dilation[d]
        if at.of.kernel[d] < 1:
            raise ShapeError(f"{op}: windows of {kernel} hold nothing")
        room, reach = at.of.size[d] + at.of.before[d] + padding[d][1], at.of.dilation[d] * (at.of.kernel[d] - 1) + 1
        if reach > room:
            raise ShapeError(f"{op}: windows of {kernel} that reach over {reach} elements do not fit shape "
                             f"{shape_of(x)} padded by {padding[d]} ({reach} > {room} along axis {d - 2})")
        at.of.count[d] = (room - reach) // at.of.stride[d] + 1
    if at.of.count[0] > PY_SSIZE_T_MAX // 16 // at.of.count[1]:
        raise MemoryError(f"{op}: {at.of.count[0]} by {at.of.count[1]} windows of one plane are too many")
    at.taps, at.outputs = at.of.kernel[0] * at.of.kernel[1], at.of.count[0] * at.of.count[1]
    return at


cdef int COLUMNS = kernel_row("columns"), UNCOLUMNS = kernel_row("uncolumns"), UNPOOL = kernel_row("unpool")
cdef int POOL_SUM = kernel_row("pool_sum"), POOL_MAX = kernel_row("pool_max")


cdef int over_windows(Call *call, const mgx_windows *of, Py_ssize_t planes) noexcept:
    """The integers of a launch over windows; the place of the next one."""
    memcpy(call.args.n, of, sizeof(mgx_windows))
    call.args.n[12] = planes
    return 13


def _tap_matrix(v):
    """0 and 1: which element (h, w) of a plane is under each tap (kh, kw) of each output (oh, ow). ``v``: the twelve
    integers of an mgx_windows."""
    size, kernel, stride, dilation, before, count = [tuple(v[k:k + 2]) for k in range(0, 12, 2)]
    found = np.zeros((*kernel, *count, *size))
    for i, j, y, x in np.ndindex(*kernel, *count):
        h, w = y * stride[0] - before[0] + i * dilation[0], x * stride[1] - before[1] + j * dilation[1]
        if 0 <= h < size[0] and 0 <= w < size[1]:
            found[i, j, y, x, h, w] = 1
    return found


@composite("columns")
def _columns_composite(x, *, v, planes, **sizes):
    m = _tap_matrix(v).astype(x.dtype)
    rows = m.reshape(np.prod(m.shape[:4]), -1).T.copy()
    return (x.reshape(planes, rows.shape[0]) @ type(x)(rows)).reshape(planes, *m.shape[:4])


@composite("uncolumns")
def _uncolumns_composite(cols, *, v, planes, spread, **sizes):
    m = _tap_matrix(v).astype(cols.dtype)
    if not spread:                              # one column for all taps
        m = m.sum((0, 1), keepdims=True)
    rows = m.reshape(np.prod(m.shape[:4]), -1)
    return (cols.reshape(planes, rows.shape[0]) @ type(cols)(rows)).reshape(planes, *m.shape[4:])


@composite("pool_sum")
def _pool_sum_composite(x, *, v, planes, **sizes):
    return _columns_composite(x, v=v, planes=planes).sum((1, 2))


@composite("pool_max")
def _pool_max_composite(x, *, v, planes, **sizes):
    m = _tap_matrix(v)
    places = m.reshape(m.shape[0] * m.shape[1], m.shape[2] * m.shape[3], -1)
    at = np.where(places.any(-1), places.argmax(-1), -1)                # (taps, outputs): the element, or none
    flat = x.reshape(planes, places.shape[2])
    numbers = np.where(at >= 0, np.asarray(flat.detach())[:, at], -np.inf)
    first = np.where(np.isnan(numbers), np.inf, numbers).argmax(1)      # (planes, outputs)
    index = np.take_along_axis(np.broadcast_to(at, numbers.shape), first[:, None], 1)[:, 0]
    return (flat.gather(1, type(x)(index)).reshape(planes, *m.shape[2:4]),
            type(x)(index.reshape(planes, *m.shape[2:4])))


@composite("unpool")
def _unpool_composite(g, at, *, plane, **sizes):
    onehot = (np.asarray(at)[:, :, None] == np.arange(plane)).astype(g.dtype)
    return (g.unsqueeze(2) * onehot).sum(1)


# ----- convolution: y (n, o, oh, ow) = the sum over taps of w (o, c / groups, kh, kw) times x (n, c, h, w) + b (o) ---
# The sum over all of y g is linear in each of x, w and y. So the gradient for any one of the three is the product of
# the other two, by the same routine, and every order of derivative follows from one vjp.

cdef enum: X, W, Y

cdef Array third(Windows at, int wanted, Array x, Array w, Array y):
    """The one of x, w, y that is ``wanted``, from the other two; where that is y, ``y`` is the bias or None."""
    cdef Py_ssize_t n, images, k, m, p = at.outputs, r, size
    cdef Array out, cols, bias = None
    cdef Node node
    cdef bint idle = at.idle()
    cdef Call call
    cdef tuple args = (at, wanted)              # made before anything is read
    cdef char *image
    cdef char *col
    cdef char *weight
    cdef char *result
    x = None if wanted == X else contiguous(x)
    w = None if wanted == W else contiguous(w)
    if wanted == Y:
        images, bias = x.shape_[0], y
        y = out = at.results(x.dtype_, images, at.filters)
    else:
        y = contiguous(y)
        images = y.shape_[0]
        out = at.images(y.dtype_, images) if wanted == X else at.weights(y.dtype_)
    node = record_structured(out, b"convolution", third_vjp, args, x, w, bias if wanted == Y else y)
    if node is not None:
        if wanted != X:
            node.save(X, x)
        if wanted != W:
            node.save(W, w)
        if wanted != Y:
            node.save(Y, y)
    if wanted == X:
        x = out
    elif wanted == W:
        w = out
    x, w, y = detached(x), detached(w), detached(y)             # several launches: to all the same memory
    if bias is not None:
        copy(alias(bias, bias.data, bias.dtype_, 4, [1, bias.size, 1, 1], [0, bias.strides_[0], 0, 0]), out)
    elif x.size == 0 or w.size == 0 or y.size == 0:
        fill(out, 0)
    if x.size == 0 or w.size == 0 or y.size == 0:
        return out
    size, k, m = itemsize[out.dtype_], at.channels // at.groups * at.taps, at.filters // at.groups
    cols = x if idle else empty(out.dtype_, 3, [at.channels, at.taps, p])
    for n in range(images):
        image = x.data + n * at.channels * at.of.size[0] * at.of.size[1] * size
        if wanted != X and not idle:
            call.count = 0
            put_at(&call, x, image)
            put(&call, cols)
            over_windows(&call, &at.of, at.channels)
            launch(&call, COLUMNS, x.dtype_)
        for r in range(at.groups):
            col = (image if idle else cols.data) + r * k * p * size
            weight = w.data + r * m * k * size
            result = y.data + (n * at.groups + r) * m * p * size
            if wanted == Y:
                gemm(False, False, m, p, k, 1.0, w, weight, k, cols, col, p, bias is not None, y, result, p)
            elif wanted == W:
                gemm(False, True, m, k, p, 1.0, y, result, p, cols, col, p, n > 0, w, weight, k)
            else:
                gemm(True, False, k, p, m, 1.0, w, weight, k, y, result, p, 0.0, cols, col, p)
        if wanted == X and not idle:
            call.count = 0
            put(&call, cols)
            put_at(&call, x, image)
            call.args.n[over_windows(&call, &at.of, at.channels)] = p
            launch(&call, UNCOLUMNS, x.dtype_)
    return out

cdef object third_vjp(Node node, Array g, int i):
    cdef list operand = [None, None, None]
    at, wanted = node.args
    if i == wanted:                             # the bias
        return sum_axes(sum_axes(g, 1 << 2 | 1 << 3, False), 1, False)
    operand[wanted] = g
    operand[X + W + Y - wanted - i] = node.load(X + W + Y - wanted - i)
    return third(at, i, operand[X], operand[W], operand[Y])


def convolution(str op, Array x not None, Array w not None, Array b, tuple stride, tuple padding, tuple dilation,
                Py_ssize_t groups):
    cdef Windows at
    cdef Array other, out
    cdef bint paused
    for other in (w, b):
        if other is not None and (other.dtype_ != x.dtype_ or x.dtype_ > MGX_F64):
            raise DTypeError(f"{op}: dtypes {dtype_of(x.dtype_)} and {dtype_of(other.dtype_)} do not mix; all are "
                             "float32 or all float64 (x.float() converts)")
    if w.shape_[1] * groups != x.shape_[1] or w.shape_[0] % groups:
        raise ShapeError(f"{op}: {x.shape_[1]} channels and weight {shape_of(w)} in {groups} groups do not fit "
                         + (f"({w.shape_[1]} * {groups} != {x.shape_[1]})" if w.shape_[1] * groups != x.shape_[1] else
                            f"({w.shape_[0]} is no multiple of {groups})"))
    if b is not None and (b.ndim != 1 or b.shape_[0] != w.shape_[0]):
        raise ShapeError(f"{op}: weight {shape_of(w)} and bias {shape_of(b)} do not fit ({w.shape_[0]} filters)")
    at = windows(op, x, (w.shape_[2], w.shape_[3]), stride, padding, dilation)
    at.filters, at.groups = w.shape_[0], groups
    paused = pause_watching(True)               # not its products are to blame
    try:
        out = third(at, Y, x, w, b)
    finally:
        pause_watching(paused)
    if watching():
        check_clean(out, op, x, w, not is_clean(b))
    return out


def transposed_convolution(str op, Array y not None, Array w not None, tuple size, tuple stride, tuple padding,
                           tuple dilation, Py_ssize_t groups):
    """The gradient of a convolution for images of ``size``, where ``y`` is the gradient of its results."""
    cdef Windows at
    cdef Array out
    cdef bint paused
    if w.dtype_ != y.dtype_ or y.dtype_ > MGX_F64:
        raise DTypeError(f"{op}: dtypes {dtype_of(y.dtype_)} and {dtype_of(w.dtype_)} do not mix; all are float32 or "
                         "all float64 (x.float() converts)")
    if w.shape_[0] != y.shape_[1] or w.shape_[0] % groups:
        raise ShapeError(f"{op}: {y.shape_[1]} channels and weight {shape_of(w)} in {groups} groups do not fit "
                         + (f"({w.shape_[0]} != {y.shape_[1]})" if w.shape_[0] != y.shape_[1] else
                            f"({w.shape_[0]} is no multiple of {groups})"))
    if min(size) < 1:
        raise ShapeError(f"{op}: shape {shape_of(y)} and weight {shape_of(w)}, padded by {padding}, leave images of "
                         f"{size}")
    at = windows(op, empty(y.dtype_, 4, [0, w.shape_[1] * groups, size[0], size[1]]), (w.shape_[2], w.shape_[3]),
                 stride, padding, dilation)
    at.filters, at.groups = w.shape_[0], groups
    paused = pause_watching(True)               # not its products are to blame
    try:
        out = third(at, X, None, w, y)
    finally:
        pause_watching(paused)
    if watching():
        check_clean(out, op, y, w)
    return out


# ----- pooling: the sum, and the largest, of each window (n, c, h, w) -> (n, c, oh, ow) -----------------------------

cdef Array window_sum(Windows at, Array x):
    cdef Array out = at.results(x.dtype_, x.shape_[0], at.channels)
    cdef Call call
    x = contiguous(x)
    call.count = 0
    put(&call, x)
    put(&call, out)
    over_windows(&call, &at.of, x.shape_[0] * at.channels)
    launch(&call, POOL_SUM, x.dtype_)
    record_structured(out, b"avg_pool", window_sum_vjp, at, x)
    return out

cdef object window_sum_vjp(Node node, Array g, int i):
    return window_spread(node.args, g)


cdef Array window_spread(Windows at, Array g):
    """The transpose of window_sum."""
    cdef Array out = at.images(g.dtype_, g.shape_[0])
    cdef Call call
    g = contiguous(g)
    call.count = 0
    put(&call, g)
    put(&call, out)
    call.args.n[over_windows(&call, &at.of, g.shape_[0] * at.channels)] = 0
    launch(&call, UNCOLUMNS, g.dtype_)
    record_structured(out, b"avg_pool", window_spread_vjp, at, g)
    return out

cdef object window_spread_vjp(Node node, Array g, int i):
    return window_sum(node.args, g)


cdef Array window_max(Windows at, Array x, Array place):
    cdef Array out = at.results(x.dtype_, x.shape_[0], at.channels)
    cdef Py_ssize_t bad
    cdef Node node
    cdef Call call
    x = contiguous(x)
    call.count = 0
    put(&call, x)
    put(&call, out)
    put(&call, place)
    over_windows(&call, &at.of, x.shape_[0] * at.channels)
    bad = launch(&call, POOL_MAX, x.dtype_)
    if bad >= 0:
        raise ShapeError(f"max_pool: shape {shape_of(x)}: window ({bad // at.of.count[1]}, {bad % at.of.count[1]}) "
                         "holds nothing but padding")
    node = record_structured(out, b"max_pool", window_max_vjp, at, x)
    if node is not None:
        node.save(1, place)
    return out

cdef object window_max_vjp(Node node, Array g, int i):
    return window_unpool(node.args, g, node.load(1))


cdef Array window_unpool(Windows at, Array g, Array place):
    """g at the places of the maxima: the transpose of taking what stands there."""
    cdef Array out = at.images(g.dtype_, g.shape_[0])
    cdef Node node
    cdef Call call
    g = contiguous(g)
    call.count = 0
    put(&call, g)
    put(&call, place)
    put(&call, out)
    call.args.n[0], call.args.n[1] = g.shape_[0] * at.channels, at.of.size[0] * at.of.size[1]
    call.args.n[2] = at.outputs
    launch(&call, UNPOOL, g.dtype_)
    node = record_structured(out, b"unpool", window_unpool_vjp, at, g)
    if node is not None:
        node.save(1, place)
    return out

cdef object window_unpool_vjp(Node node, Array g, int i):
    cdef Windows at = node.args
    cdef Array place = node.load(1)
    cdef Py_ssize_t planes = g.shape_[0] * at.channels
    cdef Array taken = gather(reshape(g, 2, [planes, at.of.size[0] * at.of.size[1]]), 1,
                              reshape(place, 2, [planes, at.outputs]))
    return reshape(taken, 4, place.shape_)


def pooling(str op, Array x not None, tuple kernel, tuple stride, tuple padding, tuple dilation):
    """The sums (``avg_pool``) of the windows; or the maxima (``max_pool``) and the position of each in its plane."""
    if x.dtype_ > MGX_F64:
        raise DTypeError(f"{op}: of float32 or float64, not {dtype_of(x.dtype_)}")
    cdef Windows at = windows(op, x, kernel, stride, padding, dilation)
    if op.startswith("avg"):
        return window_sum(at, x)
    place = at.results(MGX_I64, x.shape_[0], at.channels)
    return window_max(at, x, place), place


# ----- normalisation: every row of x (m, n) becomes (x - mean) / sqrt(variance + eps) * w + b -----------------------
# w and b are (k, c): row r takes their row r % k, each number of which stands for `repeat` = n / c elements in turn.
# Over the last axes k = repeat = 1; of c channels in each of k groups `repeat` is the size of an image; of a batch
# every channel is a row and c = 1.

cdef int NORM = kernel_row("norm"), NORM_VJP = kernel_row("norm_vjp"), NORM_WEIGHT_VJP = kernel_row("norm_weight_vjp")


cdef void put_rows(Call *call, Array x, Py_ssize_t k, Py_ssize_t c, bint centred, double eps):
    call.args.n[0], call.args.n[1], call.args.n[2], call.args.n[3] = x.shape_[0], k, c, x.shape_[1] // c
    call.args.n[4], call.args.x[0] = centred, eps


cdef Array normalize(Array x, Array w, Array b, Py_ssize_t k, Py_ssize_t c, bint centred, double eps, Array stats):
    """``stats`` (3, m) is filled: mean, variance, 1 / sqrt(variance + eps)."""
    cdef Array out
    cdef Node node
    cdef Call call
    x, w, b = contiguous(x), None if w is None else contiguous(w), None if b is None else contiguous(b)
    out = empty_like(x)
    if x.size:
        call.count = 0
        put(&call, x)
        put(&call, w)
        put(&call, b)
        put(&call, out)
        put(&call, stats)
        put_rows(&call, x, k, c, centred, eps)
        launch(&call, NORM, x.dtype_)
    node = record_structured(out, b"norm", normalize_vjp, (k, c, centred, eps), x, w, b)
    if node is not None:
        node.save(0, x)
        if w is not None:
            node.save(1, w)
        node.save(3, stats)
    return out

cdef object normalize_vjp(Node node, Array g, int i):
    cdef Array x = node.load(0), w = None if node.saved[1] == NULL else node.load(1), stats = node.load(3), out
    cdef Py_ssize_t k, c
    cdef bint centred
    cdef Call call
    k, c, centred, eps = node.args
    if i == 2:
        return _per_weight(g, k, c)
    g = contiguous(g)
    if grad_enabled():                          # what the stats are of, as functions of x
        units = _UnitRows(x, centred, eps)
        if i == 0:
            return units.divided(_normal_to(g if w is None else g * _along_rows(w, x), units.rows, centred))
        return _per_weight(g * units.rows, k, c)
    if not x.size:
        return empty_like(x) if i == 0 else _per_weight(g, k, c)
    call.count = 0
    put(&call, g)
    put(&call, x)
    put_rows(&call, x, k, c, centred, eps)
    if i == 0:
        out = empty_like(x)
        put(&call, w)
        put(&call, stats)
        put(&call, out)
        launch(&call, NORM_VJP, x.dtype_)
        return out
    out = empty(x.dtype_, 2, [(x.shape_[0] + 63) // 64 if k == 1 and c == x.shape_[1] else x.shape_[0], c])
    put(&call, stats)
    put(&call, out)
    launch(&call, NORM_WEIGHT_VJP, x.dtype_)
    return _per_weight(out, k, c)


def _along_rows(w, x):
    """The weights (k, c) as an array that x (m, n) can be multiplied by."""
    m, n = x.shape
    k, c = w.shape
    if k == 1 and c == n:
        return w
    return w.reshape(1, k, c, 1).broadcast_to((m // k, k, c, n // c if c else 0)).reshape(m, n)


cdef object _per_weight(Array t, Py_ssize_t k, Py_ssize_t c):
    """t, one for each element or for each row and weight, summed to (k, c)."""
    cdef Py_ssize_t m = t.shape_[0], n = t.shape_[1]
    if c != n:
        t = sum_axes(reshape(t, 3, [m, c, n // c if c else 0]), 1 << 2, False)
    return sum_axes(reshape(t, 3, [m // k, k, c]), 1 << 0, False)


class _UnitRows:
    """``rows``, of mean 0 and variance 1: the distances from the means over their `size`, which is kept as the product
    of three numbers, of which two have no graph, so that none of them overflows or vanishes."""
    def __init__(self, x, centred, eps):
        self.large = power_below(x, 1 << 1).maximum(eps**0.5)
        off = x / self.large
        self.mean = off.mean(1, keepdims=True) if centred else None
        off = off if self.mean is None else off - self.mean
        least = eps**0.5 / self.large
        self.small = power_below(off, 1 << 1).maximum(least)
        off = off / self.small
        self.variance = off.square().mean(1, keepdims=True)
        self.size = (self.variance + (least / self.small).square()).sqrt()
        self.rows = off / self.size

    def divided(self, t):
        return t / self.size / (self.small * self.large.maximum(1.0)) / self.large.minimum(1.0)

    def stats(self):
        unit = self.small * self.large
        mean = self.variance * 0 if self.mean is None else self.mean * self.large
        return [mean, self.variance * unit * unit, self.divided(1.0)]


def _normal_to(a, u, centred):
    """What is left of the rows of ``a`` without their parts along those of ``u``, and without their means."""
    rest = a - u * (a * u).mean(1, keepdims=True)
    return rest - a.mean(1, keepdims=True) if centred else rest


@composite("norm")
def _norm_composite(x, w, b, *, m, k, c, repeat, centred, eps, **sizes):
    x = x.reshape(m, c * repeat)
    w, b = [t if t is None else t.reshape(k, c) for t in (w, b)]
    units = _UnitRows(x, centred, eps)
    y = units.rows if w is None else units.rows * _along_rows(w, x)
    return y if b is None else y + _along_rows(b, x), units.stats()


def _rows_by_stats(x, stats):
    return (x - stats[0].reshape(-1, 1)) * stats[2].reshape(-1, 1)


@composite("norm_vjp")
def _norm_vjp_composite(g, x, w, stats, *, m, k, c, repeat, centred, eps, **sizes):
    g, x, w = g.reshape(m, c * repeat), x.reshape(m, c * repeat), w if w is None else w.reshape(k, c)
    g = g if w is None else g * _along_rows(w, x)
    return _normal_to(g, _rows_by_stats(x, stats), centred) * stats[2].reshape(-1, 1)


@composite("norm_weight_vjp")
def _norm_weight_vjp_composite(g, x, stats, *, m, k, c, repeat, **sizes):
    gu = g.reshape(m, c * repeat) * _rows_by_stats(x.reshape(m, c * repeat), stats)
    if k == 1 and repeat == 1:
        return [gu[first:first + 64].sum(0) for first in range(0, m, 64)]
    return gu.reshape(m, c, repeat).sum(2)


def normalization(Array x not None, Array w, Array b, Py_ssize_t n, Py_ssize_t k, Py_ssize_t c, bint centred,
                  double eps):
    """(y, stats) for the rows of ``n`` elements that ``x`` consists of; w and b have ``k * c`` elements of its dtype,
    row r takes the ``c`` from (r % k) * c on, each for the next n / c elements."""
    cdef Py_ssize_t m = x.size // n if n else 0
    cdef Array stats = empty(x.dtype_, 2, [3, m]), out
    out = normalize(reshape(x, 2, [m, n]), None if w is None else reshape(w, 2, [k, c]),
                    None if b is None else reshape(b, 2, [k, c]), k, c, centred, eps, stats)
    return unmark_view(reshape(out, x.ndim, x.shape_)), stats
