/* Windows over planes of (h, w), for one dtype and ISA: the columns that make a convolution a matrix product, and
   pooling. Tap (i, j) of the window of output (y, x) lies at row y * stride - before + i * dilation, and its column
   likewise; what lies outside the plane is padding. Every kernel walks down taps and output rows, so that the
   innermost loop runs along a row. */
#ifndef EACH_TAP                                /* once for both dtypes */
/* the outputs [first, last) whose tap lies inside the plane along one axis; output o reads o * stride + offset */
typedef struct { ptrdiff_t offset, first, last; } reach;

static reach inside(const mgx_windows *v, int axis, ptrdiff_t tap)
{
    ptrdiff_t offset = tap * v->dilation[axis] - v->before[axis], stride = v->stride[axis];
    ptrdiff_t first = offset < 0 ? (stride - 1 - offset) / stride : 0;
    ptrdiff_t last = offset < v->size[axis] ? (v->size[axis] - 1 - offset) / stride + 1 : 0;
    last = last < v->count[axis] ? last : v->count[axis];
    return (reach){offset, first < last ? first : last, last};
}

static inline int are_windows(const mgx_windows *v)
{
    int good = 1;
    for (int i = 0; i < 2; i++)
        good = good && v->size[i] >= 0 && v->kernel[i] >= 0 && v->count[i] >= 0 && v->stride[i] > 0
               && v->dilation[i] > 0;
    return good;
}

/* for every plane of x and out, every tap and every row of outputs that it reaches */
#define EACH_TAP(v) \
    MGX_ASSERT(are_windows(v)); \
    const int is_large = (v)->count[0] * (v)->count[1] > MGX_PIECE; \
    ptrdiff_t walked = 0; \
    for (ptrdiff_t p = first; p < last; p++) \
        for (ptrdiff_t i = 0; i < (v)->kernel[0]; i++) \
            for (ptrdiff_t j = 0; j < (v)->kernel[1]; j++)
#define EACH_ROW(rows) for (ptrdiff_t r = (rows).first; r < (rows).last && !(is_large && BREAKS_OFF(walked, wide)); r++)
#endif

/* cols (planes, kh, kw, oh, ow) = what lies under each tap of x (planes, h, w); 0 outside */
static ptrdiff_t V(columns)(ptrdiff_t first, ptrdiff_t last, const REAL *x, REAL *cols, const mgx_windows *v,
                            ptrdiff_t planes)
{
    const ptrdiff_t w = v->size[1], plane = v->size[0] * w, high = v->count[0], wide = v->count[1];
    const ptrdiff_t step = v->stride[1];
    REAL *restrict to = cols + first * v->kernel[0] * v->kernel[1] * high * wide;
    EACH_TAP(v) {
        const reach rows = inside(v, 0, i), across = inside(v, 1, j);
        memset(to, 0, rows.first * wide * sizeof(REAL));
        memset(to + rows.last * wide, 0, (high - rows.last) * wide * sizeof(REAL));
        EACH_ROW(rows) {
            const REAL *from = x + p * plane + (r * v->stride[0] + rows.offset) * w + across.offset;
            REAL *restrict row = to + r * wide;
            for (ptrdiff_t c = 0; c < across.first; c++)
                row[c] = 0;
            if (step == 1)
                memcpy(row + across.first, from + across.first, (across.last - across.first) * sizeof(REAL));
            else
                for (ptrdiff_t c = across.first; c < across.last; c++)
                    row[c] = from[c * step];
            for (ptrdiff_t c = across.last; c < wide; c++)
                row[c] = 0;
        }
        to += high * wide;
    }
    return MGX_DONE;
}

/* the transpose: x (planes, h, w) = the sum of what every tap of cols says of an element. A column is `spread`
   elements behind the one before, 0 where one serves all taps */
static ptrdiff_t V(uncolumns)(ptrdiff_t first, ptrdiff_t last, const REAL *cols, REAL *x, const mgx_windows *v,
                              ptrdiff_t planes, ptrdiff_t spread)
{
    const ptrdiff_t w = v->size[1], plane = v->size[0] * w, wide = v->count[1], step = v->stride[1];
    const ptrdiff_t taps = v->kernel[0] * v->kernel[1], each = spread ? taps * spread : v->count[0] * wide;
    ALONG(k, first * plane, last * plane)
        x[k] = 0;
    EACH_TAP(v) {
        const reach rows = inside(v, 0, i), across = inside(v, 1, j);
        const REAL *from = cols + p * each + (i * v->kernel[1] + j) * spread;
        EACH_ROW(rows) {
            const REAL *restrict row = from + r * wide;
            REAL *restrict to = x + p * plane + (r * v->stride[0] + rows.offset) * w + across.offset;
            if (step == 1)
                for (ptrdiff_t c = across.first; c < across.last; c++)
                    to[c] += row[c];
            else
                for (ptrdiff_t c = across.first; c < across.last; c++)
                    to[c * step] += row[c];
        }
    }
    return MGX_DONE;
}

/* y (planes, oh, ow) = the sum over each window of x (planes, h, w) */
static ptrdiff_t V(pool_sum)(ptrdiff_t first, ptrdiff_t last, const REAL *x, REAL *y, const mgx_windows *v,
                             ptrdiff_t planes)
{
    const ptrdiff_t w = v->size[1], plane = v->size[0] * w, wide = v->count[1], step = v->stride[1];
    ALONG(k, first * v->count[0] * wide, last * v->count[0] * wide)
        y[k] = 0;
    EACH_TAP(v) {
        const reach rows = inside(v, 0, i), across = inside(v, 1, j);
        EACH_ROW(rows) {
            const REAL *restrict from = x + p * plane + (r * v->stride[0] + rows.offset) * w + across.offset;
            REAL *restrict row = y + (p * v->count[0] + r) * wide;
            for (ptrdiff_t c = across.first; c < across.last; c++)
                row[c] += from[c * step];
        }
    }
    return MGX_DONE;
}

/* y (planes, oh, ow) = the largest of each window, at = its position in the plane: the first of equals; a nan wins.
   Returns the first window that holds nothing but padding, or -1 */
static ptrdiff_t V(pool_max)(ptrdiff_t first, ptrdiff_t last, const REAL *x, REAL *y, int64_t *at, const mgx_windows *v,
                             ptrdiff_t planes)
{
    const ptrdiff_t w = v->size[1], plane = v->size[0] * w, wide = v->count[1], each = v->count[0] * wide;
    const ptrdiff_t step = v->stride[1];
    ALONG(k, first * each, last * each)
        at[k] = -1;
    EACH_TAP(v) {
        const reach rows = inside(v, 0, i), across = inside(v, 1, j);
        EACH_ROW(rows) {
            const ptrdiff_t start = (r * v->stride[0] + rows.offset) * w + across.offset;
            const REAL *restrict from = x + p * plane + start;
            REAL *restrict best = y + p * each + r * wide;
            int64_t *restrict position = at + p * each + r * wide;
            for (ptrdiff_t c = across.first; c < across.last; c++) {
                REAL value = from[c * step];
                int wins = (value > best[c]) | (value != value) | (position[c] < 0);
                best[c] = wins ? value : best[c];
                position[c] = wins ? start + c * step : position[c];
            }
        }
    }
    for (ptrdiff_t k = 0; first < last && k < each; k++)    /* all planes are alike */
        if (at[first * each + k] < 0)
            return k;
    return MGX_DONE;
}

/* x (planes, h, w) = g (planes, n) added at the positions that pool_max found */
static ptrdiff_t V(unpool)(ptrdiff_t first, ptrdiff_t last, const REAL *g, const int64_t *at, REAL *x, ptrdiff_t planes,
                           ptrdiff_t plane, ptrdiff_t n)
{
    g += first * n, at += first * n, x += first * plane;
    ALONG(k, 0, (last - first) * plane)
        x[k] = 0;
    for (ptrdiff_t p = first; p < last; p++, g += n, at += n, x += plane)
        ALONG(k, 0, n) {
            MGX_ASSERT(at[k] >= 0 && at[k] < plane);
            x[at[k]] += g[k];
        }
    return MGX_DONE;
}
