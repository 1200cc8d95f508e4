"""Operations of nets over images and rows: convolution, pooling, normalisation.

Each is one block, as in ``structured``. What users call, with its arguments read and checked, is in
``nn/convolution.py`` and ``nn/normalization.py``: here images are contiguous (n, c, h, w), and pairs are (height,
width).
"""
from microgradx._core.array cimport *
from microgradx._core.elementwise cimport apply
from microgradx._core.graph cimport grad_enabled, set_watching, watching
from microgradx._core.kernels cimport *
from microgradx._core.launch cimport (check_sound, columns, copy, fill, gemm, norm, norm_vjp, norm_weight_vjp, pool_max,
                                      pool_sum, sound, uncolumns, unpool)
from microgradx._core.structured cimport sum_axes
from microgradx._core.views cimport contiguous, gather, reshape

from microgradx.errors import DTypeError, ShapeError


cdef class Windows:
    """How windows lie over images (n, c, h, w), and which channels a convolution joins."""
    cdef mgx_windows of
    cdef Py_ssize_t channels, filters, groups, taps, outputs

    cdef Array images(self, int kind, Py_ssize_t n):
        """For what the windows read."""
        cdef Py_ssize_t[4] shape = [n, self.channels, self.of.size[0], self.of.size[1]]
        return empty(kind, 4, shape)

    cdef Array results(self, int kind, Py_ssize_t n, Py_ssize_t channels):
        """For what they make."""
        cdef Py_ssize_t[4] shape = [n, channels, self.of.count[0], self.of.count[1]]
        return empty(kind, 4, shape)

    cdef Array weights(self, int kind):
        cdef Py_ssize_t[4] shape = [self.filters, self.channels // self.groups, self.of.kernel[0], self.of.kernel[1]]
        return empty(kind, 4, shape)

    cdef bint idle(self) noexcept:
        """Is every column the image itself, as for filters of 1x1?"""
        return self.taps == 1 and self.outputs == self.of.size[0] * self.of.size[1] and self.of.stride[0] == 1 \
            and self.of.stride[1] == 1 and self.of.before[0] == 0 and self.of.before[1] == 0


cdef Windows windows(str op, Array x, tuple kernel, tuple stride, tuple padding, tuple dilation):
    """Integers that are not negative, below 2^31; ``padding`` is ((before, after), (before, after))."""
    cdef Windows at = Windows.__new__(Windows)
    cdef Py_ssize_t room, reach
    cdef int d
    at.channels, at.groups = x.dims[1], 1
    for d in range(2):
        at.of.size[d], at.of.kernel[d], at.of.before[d] = x.dims[2 + d], kernel[d], padding[d][0]
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
    cdef char *image
    cdef char *col
    cdef char *weight
    cdef char *result
    x = None if wanted == X else contiguous(x)
    w = None if wanted == W else contiguous(w)
    if wanted == Y:
        images, bias = x.dims[0], y
        y = out = at.results(x.kind, images, at.filters)
    else:
        y = contiguous(y)
        images = y.dims[0]
        out = at.images(y.kind, images) if wanted == X else at.weights(y.kind)
    node = record_structured(out, b"convolution", third_vjp, (at, wanted), x, w, bias if wanted == Y else y)
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
    if bias is not None:
        copy(alias(bias, bias.data, bias.kind, 4, [1, bias.size, 1, 1], [0, bias.steps[0], 0, 0]), out)
    elif x.size == 0 or w.size == 0 or y.size == 0:
        fill(out, 0)
    if x.size == 0 or w.size == 0 or y.size == 0:
        return out
    size, k, m = itemsize[out.kind], at.channels // at.groups * at.taps, at.filters // at.groups
    cols = x if idle else empty(out.kind, 3, [at.channels, at.taps, p])
    for n in range(images):
        image = x.data + n * at.channels * at.of.size[0] * at.of.size[1] * size
        if wanted != X and not idle:
            columns(&at.of, at.channels, x, image, cols)
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
            uncolumns(&at.of, at.channels, p, cols, x, image)
    return out

cdef object third_vjp(Node node, Array g, int i):
    cdef list operand = [None, None, None]
    at, wanted = node.args
    if i == wanted:                             # the bias
        return sum_axes(sum_axes(g, 1 << 2 | 1 << 3, False, 1.0), 1, False, 1.0)
    operand[wanted] = g
    operand[X + W + Y - wanted - i] = node.load(X + W + Y - wanted - i)
    return third(at, i, operand[X], operand[W], operand[Y])


def convolution(str op, Array x, Array w, Array b, tuple stride, tuple padding, tuple dilation, Py_ssize_t groups):
    cdef Windows at
    cdef Array other, out
    cdef int mode
    for other in (w, b):
        if other is not None and (other.kind != x.kind or x.kind > MGX_F64):
            raise DTypeError(f"{op}: dtypes {dtype_of(x.kind)} and {dtype_of(other.kind)} do not mix; all are "
                             "float32 or all float64 (astype converts)")
    if w.dims[1] * groups != x.dims[1] or w.dims[0] % groups:
        raise ShapeError(f"{op}: {x.dims[1]} channels and weight {shape_of(w)} in {groups} groups do not fit "
                         + (f"({w.dims[1]} * {groups} != {x.dims[1]})" if w.dims[1] * groups != x.dims[1] else
                            f"({w.dims[0]} is no multiple of {groups})"))
    if b is not None and (b.ndim != 1 or b.dims[0] != w.dims[0]):
        raise ShapeError(f"{op}: weight {shape_of(w)} and bias {shape_of(b)} do not fit ({w.dims[0]} filters)")
    at = windows(op, x, (w.dims[2], w.dims[3]), stride, padding, dilation)
    at.filters, at.groups = w.dims[0], groups
    mode = set_watching(0)                      # not its products are to blame
    try:
        out = third(at, Y, x, w, b)
    finally:
        set_watching(mode)
    if watching:
        check_sound(out, op, x, w, not sound(b))
    return out


# ----- pooling: the sum, and the largest, of each window (n, c, h, w) -> (n, c, oh, ow) -----------------------------

cdef Array window_sum(Windows at, Array x):
    cdef Array out = at.results(x.kind, x.dims[0], at.channels)
    x = contiguous(x)
    pool_sum(&at.of, x.dims[0] * at.channels, x, out)
    record_structured(out, b"avg_pool", window_sum_vjp, at, x)
    return out

cdef object window_sum_vjp(Node node, Array g, int i):
    return window_spread(node.args, g)


cdef Array window_spread(Windows at, Array g):
    """The transpose of window_sum."""
    cdef Array out = at.images(g.kind, g.dims[0])
    g = contiguous(g)
    uncolumns(&at.of, g.dims[0] * at.channels, 0, g, out, out.data)
    record_structured(out, b"avg_pool", window_spread_vjp, at, g)
    return out

cdef object window_spread_vjp(Node node, Array g, int i):
    return window_sum(node.args, g)


cdef Array window_max(Windows at, Array x, Array place):
    cdef Array out = at.results(x.kind, x.dims[0], at.channels)
    cdef Py_ssize_t bad
    cdef Node node
    x = contiguous(x)
    bad = pool_max(&at.of, x.dims[0] * at.channels, x, out, place)
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
    cdef Array out = at.images(g.kind, g.dims[0])
    cdef Node node
    g = contiguous(g)
    unpool(g.dims[0] * at.channels, at.of.size[0] * at.of.size[1], at.outputs, g, place, out)
    node = record_structured(out, b"unpool", window_unpool_vjp, at, g)
    if node is not None:
        node.save(1, place)
    return out

cdef object window_unpool_vjp(Node node, Array g, int i):
    cdef Windows at = node.args
    cdef Array place = node.load(1)
    cdef Py_ssize_t planes = g.dims[0] * at.channels
    cdef Array taken = gather(reshape(g, 2, [planes, at.of.size[0] * at.of.size[1]]), 1,
                              reshape(place, 2, [planes, at.outputs]))
    return reshape(taken, 4, place.dims)


def pooling(str op, Array x, tuple kernel, tuple stride, tuple padding, tuple dilation):
    """The sums (``avg_pool``) of the windows; or the maxima (``max_pool``) and where each lies in its plane."""
    if x.kind > MGX_F64:
        raise DTypeError(f"{op}: of float32 or float64, not {dtype_of(x.kind)}")
    cdef Windows at = windows(op, x, kernel, stride, padding, dilation)
    if op.startswith("avg"):
        return window_sum(at, x)
    place = at.results(MGX_I64, x.dims[0], at.channels)
    return window_max(at, x, place), place


# ----- normalisation: every row of x (m, n) becomes (x - mean) / sqrt(variance + eps) * w (n) + b (n) ---------------

cdef Array normalize(Array x, Array w, Array b, bint centred, double eps, Array stats):
    """``stats`` (3, m) is filled: mean, variance, 1 / sqrt(variance + eps)."""
    cdef Array out
    cdef Node node
    x, w, b = contiguous(x), None if w is None else contiguous(w), None if b is None else contiguous(b)
    out = empty_like(x)
    if x.size:
        norm(x.dims[0], x.dims[1], centred, eps, x, w, b, out, stats)
    node = record_structured(out, b"norm", normalize_vjp, (centred, eps), x, w, b)
    if node is not None:
        node.save(0, x)
        if w is not None:
            node.save(1, w)
        node.save(3, stats)
    return out

cdef object normalize_vjp(Node node, Array g, int i):
    cdef Array x = node.load(0), w = None if node.saved[1] == NULL else node.load(1), stats = node.load(3), out
    cdef bint centred
    if i == 2:
        return column_sum(g)
    g = contiguous(g)
    centred, eps = node.args
    if grad_enabled():
        return recorded_vjp(x, w, g, i, centred, eps)
    if i == 0:
        out = empty_like(x)
        norm_vjp(x.dims[0], x.dims[1], centred, g, x, w, stats, out)
        return out
    out = empty(x.kind, 2, [(x.dims[0] + 63) // 64, x.dims[1]])
    norm_weight_vjp(x.dims[0], x.dims[1], g, x, stats, out)
    return column_sum(out)


cdef Array recorded_vjp(Array x, Array w, Array g, int i, bint centred, double eps):
    """With u the unit rows: for w the sum of g u; for x, with a = g w, (a - mean(a) - u mean(a u)) / deviation."""
    cdef Array off = apply(MGX_sub, x, row_mean(x), None) if centred else x, scale, unit, a, dx
    scale = apply(MGX_rsqrt, apply(MGX_add, row_mean(apply(MGX_square, off, None, None)), eps, None), None, None)
    unit = apply(MGX_mul, off, scale, None)
    if i == 1:
        return column_sum(apply(MGX_mul, g, unit, None))
    a = g if w is None else apply(MGX_mul, g, w, None)
    dx = apply(MGX_sub, a, apply(MGX_mul, unit, row_mean(apply(MGX_mul, a, unit, None)), None), None)
    return apply(MGX_mul, scale, apply(MGX_sub, dx, row_mean(a), None) if centred else dx, None)


cdef Array row_mean(Array x):
    return sum_axes(x, 1 << 1, True, 1.0 / x.dims[1] if x.dims[1] else float("nan"))


cdef Array column_sum(Array x):
    return sum_axes(x, 1 << 0, False, 1.0)


def normalization(Array x, Array w, Array b, Py_ssize_t n, bint centred, double eps):
    """(y, stats) for the rows of ``n`` elements that ``x`` consists of; w and b have ``n`` elements of its dtype."""
    cdef Py_ssize_t m = x.size // n if n else 0
    cdef Array stats = empty(x.kind, 2, [3, m]), out
    out = normalize(reshape(x, 2, [m, n]), None if w is None else reshape(w, 1, [n]),
                    None if b is None else reshape(b, 1, [n]), centred, eps, stats)
    return settled(reshape(out, x.ndim, x.dims)), stats
