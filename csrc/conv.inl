/* Windows over planes of (h, w), for one dtype and ISA: the columns that make a convolution a matrix product, and
   pooling. Tap (i, j) of the window of output (y, x) lies at row y * stride - before + i * dilation, and its column
   likewise; what lies outside the plane is padding. Every kernel walks down taps and output rows, so that the
   innermost loop runs along a row. */
#ifndef WINDOWS                                 /* once for both dtypes */
#define WINDOWS
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

static inline int sound(const mgx_windows *v, ptrdiff_t planes)
{
    int good = planes >= 0;
    for (int i = 0; i < 2; i++)
        good = good && v->size[i] >= 0 && v->kernel[i] >= 0 && v->count[i] >= 0 && v->stride[i] > 0
            && v->dilation[i] > 0;
    return good;
}

/* for every plane of x and out, every tap and every row of outputs that it reaches */
#define EACH_TAP(v) \
    for (ptrdiff_t p = 0; p < planes; p++) \
        for (ptrdiff_t i = 0; i < (v)->kernel[0]; i++) \
            for (ptrdiff_t j = 0; j < (v)->kernel[1]; j++)
#define EACH_ROW(rows) for (ptrdiff_t r = (rows).first; r < (rows).last; r++)
#endif

/* cols (planes, kh, kw, oh, ow) = what lies under each tap of x (planes, h, w); 0 outside */
static void V(columns)(const mgx_windows *v, ptrdiff_t planes, const char *x_, char *cols_)
{
    const ptrdiff_t w = v->size[1], plane = v->size[0] * w, high = v->count[0], wide = v->count[1];
    const ptrdiff_t step = v->stride[1];
    MGX_ASSERT(sound(v, planes) && MGX_ALIGNED(x_, REAL) && MGX_ALIGNED(cols_, REAL));
    MGX_ASSERT(MGX_APART(x_, planes * plane * sizeof(REAL), cols_,
                         planes * v->kernel[0] * v->kernel[1] * high * wide * sizeof(REAL)));
    REAL *restrict to = (REAL *)cols_;
    EACH_TAP(v) {
        const reach rows = inside(v, 0, i), across = inside(v, 1, j);
        memset(to, 0, rows.first * wide * sizeof(REAL));
        memset(to + rows.last * wide, 0, (high - rows.last) * wide * sizeof(REAL));
        EACH_ROW(rows) {
            const REAL *from = (const REAL *)x_ + p * plane + (r * v->stride[0] + rows.offset) * w + across.offset;
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
}

/* the transpose: x (planes, h, w) = the sum of what every tap of cols says of an element. A column is `spread`
   elements behind the one before, 0 where one serves all taps */
static void V(uncolumns)(const mgx_windows *v, ptrdiff_t planes, ptrdiff_t spread, const char *cols_, char *x_)
{
    const ptrdiff_t w = v->size[1], plane = v->size[0] * w, wide = v->count[1], step = v->stride[1];
    const ptrdiff_t taps = v->kernel[0] * v->kernel[1], each = spread ? taps * spread : v->count[0] * wide;
    MGX_ASSERT(sound(v, planes) && spread >= 0 && MGX_ALIGNED(x_, REAL) && MGX_ALIGNED(cols_, REAL));
    MGX_ASSERT(MGX_APART(x_, planes * plane * sizeof(REAL), cols_, planes * each * sizeof(REAL)));
    memset(x_, 0, planes * plane * sizeof(REAL));
    EACH_TAP(v) {
        const reach rows = inside(v, 0, i), across = inside(v, 1, j);
        const REAL *from = (const REAL *)cols_ + p * each + (i * v->kernel[1] + j) * spread;
        EACH_ROW(rows) {
            const REAL *restrict row = from + r * wide;
            REAL *restrict to = (REAL *)x_ + p * plane + (r * v->stride[0] + rows.offset) * w + across.offset;
            if (step == 1)
                for (ptrdiff_t c = across.first; c < across.last; c++)
                    to[c] += row[c];
            else
                for (ptrdiff_t c = across.first; c < across.last; c++)
                    to[c * step] += row[c];
        }
    }
}

/* y (planes, oh, ow) = the sum over each window of x (planes, h, w) */
static void V(pool_sum)(const mgx_windows *v, ptrdiff_t planes, const char *x_, char *y_)
{
    const ptrdiff_t w = v->size[1], plane = v->size[0] * w, wide = v->count[1], step = v->stride[1];
    MGX_ASSERT(sound(v, planes) && MGX_ALIGNED(x_, REAL) && MGX_ALIGNED(y_, REAL));
    MGX_ASSERT(MGX_APART(x_, planes * plane * sizeof(REAL), y_, planes * v->count[0] * wide * sizeof(REAL)));
    memset(y_, 0, planes * v->count[0] * wide * sizeof(REAL));
    EACH_TAP(v) {
        const reach rows = inside(v, 0, i), across = inside(v, 1, j);
        EACH_ROW(rows) {
            const REAL *restrict from = (const REAL *)x_ + p * plane + (r * v->stride[0] + rows.offset) * w
                                        + across.offset;
            REAL *restrict row = (REAL *)y_ + (p * v->count[0] + r) * wide;
            for (ptrdiff_t c = across.first; c < across.last; c++)
                row[c] += from[c * step];
        }
    }
}

/* y (planes, oh, ow) = the largest of each window, at = its place in the plane: the first of equals; a nan wins.
   Returns the first window that holds nothing but padding, or -1 */
static ptrdiff_t V(pool_max)(const mgx_windows *v, ptrdiff_t planes, const char *x_, char *y_, int64_t *at)
{
    const ptrdiff_t w = v->size[1], plane = v->size[0] * w, wide = v->count[1], each = v->count[0] * wide;
    const ptrdiff_t step = v->stride[1];
    MGX_ASSERT(sound(v, planes) && MGX_ALIGNED(x_, REAL) && MGX_ALIGNED(y_, REAL) && MGX_ALIGNED(at, int64_t));
    MGX_ASSERT(MGX_APART(x_, planes * plane * sizeof(REAL), y_, planes * each * sizeof(REAL)));
    for (ptrdiff_t k = 0; k < planes * each; k++)
        at[k] = -1;
    EACH_TAP(v) {
        const reach rows = inside(v, 0, i), across = inside(v, 1, j);
        EACH_ROW(rows) {
            const ptrdiff_t start = (r * v->stride[0] + rows.offset) * w + across.offset;
            const REAL *restrict from = (const REAL *)x_ + p * plane + start;
            REAL *restrict best = (REAL *)y_ + p * each + r * wide;
            int64_t *restrict place = at + p * each + r * wide;
            for (ptrdiff_t c = across.first; c < across.last; c++) {
                REAL here = from[c * step];
                int wins = (here > best[c]) | (here != here) | (place[c] < 0);
                best[c] = wins ? here : best[c];
                place[c] = wins ? start + c * step : place[c];
            }
        }
    }
    for (ptrdiff_t k = 0; planes && k < each; k++)     /* all planes are alike */
        if (at[k] < 0)
            return k;
    return -1;
}

/* x (planes, h, w) = g (planes, n) added at the places that pool_max found */
static void V(unpool)(ptrdiff_t planes, ptrdiff_t plane, ptrdiff_t n, const char *g_, const int64_t *at, char *x_)
{
    const REAL *g = (const REAL *)g_;
    REAL *x = (REAL *)x_;
    MGX_ASSERT(planes >= 0 && plane >= 0 && n >= 0 && MGX_ALIGNED(g_, REAL) && MGX_ALIGNED(x_, REAL));
    memset(x, 0, planes * plane * sizeof(REAL));
    for (ptrdiff_t p = 0; p < planes; p++, g += n, at += n, x += plane)
        for (ptrdiff_t k = 0; k < n; k++) {
            MGX_ASSERT(at[k] >= 0 && at[k] < plane);
            x[at[k]] += g[k];
        }
}
