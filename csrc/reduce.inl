/* Reductions of x (outer, n, inner) over its middle axis, for one dtype and ISA.
   A sum is a fixed tree: WIDTH running sums, flushed every 64 additions into the next of four levels, so the
   error grows with log n and the bits do not depend on threads. One routine serves both directions: a long
   contiguous axis is read as rows of WIDTH elements. TERM tells what is summed up. */
#define WIDTH 32
#ifndef REDUCE                                  /* once for both dtypes */
#define REDUCE
/* Some columns of one of the outer rows: those of the panels that a piece has of it. Where there are panels to cut at,
   each has WIDTH columns, and the last one the rest too. */
typedef struct { ptrdiff_t row, first, count, panels; } strip;

static inline strip strip_from(ptrdiff_t panel, ptrdiff_t last, ptrdiff_t inner)
{
    const ptrdiff_t all = PANELS(inner);
    if (all == 1)
        return (strip){panel, 0, inner, 1};
    const ptrdiff_t k = panel % all, panels = last - panel < all - k ? last - panel : all - k;
    return (strip){panel / all, k * WIDTH, k + panels == all ? inner - k * WIDTH : panels * WIDTH, panels};
}

#define EACH_STRIP(c) \
    for (strip c = {0}; first < last && (c = strip_from(first, last, inner), 1); first += c.panels)

/* size * 2^exponent: a product that neither overflows nor vanishes on the way */
typedef struct { double size; ptrdiff_t exponent; } scaled;

static inline double mantissa(double x, ptrdiff_t *exponent)
{
    int k = 0;
    if (__builtin_fabs(x) > 0x1p-500 && __builtin_fabs(x) < 0x1p500)
        return x;                                   /* two of these have a product in the range of a double */
    x = __builtin_frexp(x, &k);
    *exponent += k;
    return x;
}

static inline scaled times(scaled a, double x)
{
    a.size *= mantissa(x, &a.exponent);
    a.size = mantissa(a.size, &a.exponent);
    return a;
}

static inline int is_power_of_2(double x)
{
    uint64_t bits;
    memcpy(&bits, &x, sizeof bits);
    return !(bits << 12) && x > 0x1p-100 && x < 0x1p100;
}

static inline double rounded(scaled a)
{
    if (a.exponent == 0)                            /* nearly always */
        return a.size;
    return __builtin_ldexp(a.size, a.exponent < -9999 ? -9999 : a.exponent > 9999 ? 9999 : (int)a.exponent);
}
#endif

#define SHORT 8                                   /* an axis of at most so many elements is short */
#define MANY 256                                /* results over a short axis that are made at a time */
#define STRETCH 1024                            /* elements of a long row that are looked at together */

/* what is summed up: elements, their squares, or the squares of their distances from the mean of their column */
#define ELEMENTS 0
#define SQUARES 1
#define DEVIATIONS 2
#define SQUARED(x) ((x) * (x))
#define TERM(x, mean) (what == ELEMENTS ? (x) : SQUARED(what == SQUARES ? (x) : (x) - (mean)))

/* sum[w] = sum over r of TERM(x[r][w]); w < width <= WIDTH, rows `stride` bytes apart, elements contiguous */
static inline __attribute__((always_inline))
void V(sum_run)(ptrdiff_t rows, const ptrdiff_t width, ptrdiff_t stride, const char *x, const REAL *mean,
                REAL *restrict sum, const int what)
{
    REAL lane[WIDTH] = {0};
    for (ptrdiff_t r = 0; r < rows; r++, x += stride)
        for (ptrdiff_t w = 0; w < width; w++)
            lane[w] += TERM(((const REAL *)x)[w], mean[w]);
    for (ptrdiff_t w = 0; w < width; w++)
        sum[w] = lane[w];
}

/* total[w] += the same, as a tree */
INLINE void V(total_rows)(ptrdiff_t rows, ptrdiff_t width, ptrdiff_t stride, const char *x, const REAL *mean,
                          REAL *total, const int what)
{
    REAL level[4][WIDTH] = {{0}};
    for (ptrdiff_t r = 0; r < rows; r += 64, x += 64 * stride) {
        if (r && r % (64 * 64) == 0 && mgx_interrupted())
            return;
        const ptrdiff_t run = rows - r < 64 ? rows - r : 64;
        switch (width) {                            /* widths that lie in registers */
        case WIDTH: V(sum_run)(run, WIDTH, stride, x, mean, level[0], what); break;
        case WIDTH / 2: V(sum_run)(run, WIDTH / 2, stride, x, mean, level[0], what); break;
        case WIDTH / 4: V(sum_run)(run, WIDTH / 4, stride, x, mean, level[0], what); break;
        default: V(sum_run)(run, width, stride, x, mean, level[0], what);
        }
        for (int k = 0; k < 3 && run == 64 && (r + 64) % ((ptrdiff_t)64 << 6 * k) == 0; k++)
            for (int w = 0; w < WIDTH; w++) {
                level[k + 1][w] += level[k][w];
                level[k][w] = 0;
            }
    }
    for (ptrdiff_t w = 0; w < width; w++)
        total[w] = (level[0][w] + level[1][w]) + (level[2][w] + level[3][w]);
}

static void V(sum_rows)(ptrdiff_t rows, ptrdiff_t width, ptrdiff_t stride, const char *x, REAL *total)
{
    V(total_rows)(rows, width, stride, x, 0, total, ELEMENTS);
}

static void V(sum_squared_rows)(ptrdiff_t rows, ptrdiff_t width, ptrdiff_t stride, const char *x, const REAL *mean,
                                REAL *total)
{
    if (mean)
        V(total_rows)(rows, width, stride, x, mean, total, DEVIATIONS);
    else
        V(total_rows)(rows, width, stride, x, 0, total, SQUARES);
}

/* the sum of TERM over n contiguous elements, which have one mean */
INLINE REAL V(total_contiguous)(ptrdiff_t n, const char *x, const REAL *mean, const int what)
{
    const REAL *restrict v = (const REAL *)x;
    REAL lane[WIDTH] = {0}, level[WIDTH];
    const REAL middle = what == DEVIATIONS ? *mean : 0;
    if (n < 64 * WIDTH)                             /* too short for a flush: the same sums without the levels */
        for (; n >= WIDTH; n -= WIDTH, v += WIDTH)
            for (int w = 0; w < WIDTH; w++)
                lane[w] += TERM(v[w], middle);
    else {
        for (int w = 0; what == DEVIATIONS && w < WIDTH; w++)
            level[w] = middle;
        if (what == ELEMENTS)
            V(sum_rows)(n / WIDTH, WIDTH, WIDTH * sizeof(REAL), x, lane);
        else
            V(sum_squared_rows)(n / WIDTH, WIDTH, WIDTH * sizeof(REAL), x, what == DEVIATIONS ? level : 0, lane);
        v += n / WIDTH * WIDTH, n %= WIDTH;
    }
    for (ptrdiff_t w = 0; w < n; w++)
        lane[w] += TERM(v[w], middle);
    UNROLL for (int half = WIDTH / 2; half; half /= 2)
        for (int w = 0; w < half; w++)
            lane[w] += lane[w + half];
    return lane[0];
}

static REAL V(sum_contiguous)(ptrdiff_t n, const char *x) { return V(total_contiguous)(n, x, 0, ELEMENTS); }
static REAL V(sum_squares)(ptrdiff_t n, const char *x) { return V(total_contiguous)(n, x, 0, SQUARES); }
static REAL V(sum_deviations)(ptrdiff_t n, const char *x, const REAL *mean)
{
    return V(total_contiguous)(n, x, mean, DEVIATIONS);
}

/* Reductions of few elements. total[r] = the sum of TERM over a row of n: the tree of total_contiguous */
INLINE void V(total_short_rows)(ptrdiff_t rows, const ptrdiff_t n, ptrdiff_t stride, const char *x,
                                const REAL *restrict mean, REAL *restrict total, const int what)
{
    for (ptrdiff_t r = 0; r < rows; r++, x += stride) {
        REAL lane[SHORT] = {0};
        UNROLL for (ptrdiff_t w = 0; w < n; w++)
            lane[w] += TERM(((const REAL *)x)[w], mean[r]);
        UNROLL for (int half = SHORT / 2; half; half /= 2)
            UNROLL for (int w = 0; w < half; w++)
                lane[w] += lane[w + half];
        total[r] = lane[0];
    }
}

/* of the next results, MANY at most, of those that are left in a run of `left`: columns of x if `across`, else its
   rows */
INLINE ptrdiff_t V(total_few)(ptrdiff_t left, ptrdiff_t n, int across, ptrdiff_t stride, const char *x,
                              const REAL *mean, REAL *restrict total, const int what)
{
    const ptrdiff_t count = left < MANY ? left : MANY;
    if (across) {
        ptrdiff_t w = 0;
        for (; w + WIDTH <= count; w += WIDTH)
            V(sum_run)(n, WIDTH, stride, x + w * sizeof(REAL), mean ? mean + w : 0, total + w, what);
        V(sum_run)(n, count - w, stride, x + w * sizeof(REAL), mean ? mean + w : 0, total + w, what);
    } else
        switch (n) {
#define OF(k) case k: V(total_short_rows)(count, k, stride, x, mean, total, what); break;
            OF(2) OF(3) OF(4) OF(5) OF(6) OF(7) OF(8)
#undef OF
        }
    return count;
}

/* how many of the columns from i on the next run takes: the last ones overlap their neighbours, and i steps back */
INLINE ptrdiff_t V(run_width)(ptrdiff_t inner, ptrdiff_t *i)
{
    ptrdiff_t width = WIDTH / 4;
    while (width < inner - *i && 2 * width <= inner && width < WIDTH)
        width *= 2;
    width = width < inner ? width : inner;
    *i = *i < inner - width ? *i : inner - width;
    return width;
}

/* y, the sum of n elements over `divisor`; if that is inf or nan, once more where finite numbers do not overflow */
static REAL V(finite_sum)(REAL y, ptrdiff_t n, const char *x, ptrdiff_t stride, double divisor)
{
    if (y - y == 0)
        return y;
    const double unit = sizeof(REAL) == 4 ? 1 : 0x1p-100;
    double sum = 0, plain = 0, lost = 0;            /* Kahan (1965); with infinities the plain sum counts */
    ALONG(i, 0, n) {
        const double term = *(const REAL *)(x + i * stride) * unit, next = sum + (term - lost);
        lost = (next - sum) - (term - lost);
        sum = next, plain += term;
    }
    return (REAL)((plain - plain == 0 ? sum : plain) / divisor / unit);
}

/* total / divisor; a power of 2 is the faster product */
INLINE void V(divide_totals)(ptrdiff_t count, REAL *restrict total, double divisor)
{
    const REAL by = (REAL)divisor;
    if (by == 1)
        return;
    if (is_power_of_2(divisor)) {
        const REAL inverse = 1 / by;
        for (ptrdiff_t w = 0; w < count; w++)
            total[w] *= inverse;
    } else
        for (ptrdiff_t w = 0; w < count; w++)
            total[w] /= by;
}

/* `count` results over a short axis, `next` bytes of x apart */
static void V(sum_few)(ptrdiff_t count, ptrdiff_t n, int across, ptrdiff_t next, ptrdiff_t stride, const char *x,
                       REAL *restrict out, double divisor)
{
    for (ptrdiff_t done; count; count -= done, x += done * next, out += done) {
        int odd = 0;
        done = V(total_few)(count, n, across, across ? stride : next, x, 0, out, ELEMENTS);
        V(divide_totals)(done, out, divisor);
        for (ptrdiff_t w = 0; w < done; w++)
            odd |= !(out[w] - out[w] == 0);
        for (ptrdiff_t w = 0; w < done && odd; w++)
            out[w] = V(finite_sum)(out[w], n, x + w * next, stride, divisor);
    }
}

/* Are the results those of columns, which follow each other along x? and is their axis short? */
INLINE int V(is_across)(ptrdiff_t n, ptrdiff_t inner, const ptrdiff_t *strides)
{
    return inner > 1 || (strides[0] == sizeof(REAL) && (n == 1 || strides[1] != sizeof(REAL)));
}
INLINE int V(is_short)(ptrdiff_t n, ptrdiff_t inner, const ptrdiff_t *strides)
{
    return n > 0 && n <= SHORT && (V(is_across)(n, inner, strides) || (n > 1 && strides[1] == sizeof(REAL)));
}

static ptrdiff_t V(sum)(ptrdiff_t first, ptrdiff_t last, const char *x, REAL *out, ptrdiff_t outer, ptrdiff_t n,
                        ptrdiff_t inner, const ptrdiff_t *strides, double divisor)
{
    const int few = V(is_short)(n, inner, strides);
    if (few && inner == 1) {
        V(sum_few)(last - first, n, V(is_across)(n, inner, strides), strides[0], strides[1], x + first * strides[0],
                   out + first, divisor);
        return MGX_DONE;
    }
    for (; inner == 1 && strides[1] == sizeof(REAL) && first < last; first++) {
        const char *row = x + first * strides[0];
        out[first] = V(finite_sum)(V(sum_contiguous)(n, row) / (REAL)divisor, n, row, strides[1], divisor);
    }
    EACH_STRIP(c) {
        const char *from = x + c.row * strides[0] + c.first * strides[2];
        REAL *to = out + c.row * inner + c.first;
        if (few) {
            V(sum_few)(c.count, n, 1, strides[2], strides[1], from, to, divisor);
            continue;
        }
        for (ptrdiff_t i = 0, width; i < c.count; i += width) {
            REAL total[WIDTH] = {0};
            width = V(run_width)(c.count, &i);
            V(sum_rows)(n, width, strides[1], from + i * strides[2], total);
            V(divide_totals)(WIDTH, total, divisor);
            for (ptrdiff_t w = 0; w < width; w++)
                to[i + w] = V(finite_sum)(total[w], n, from + (i + w) * strides[2], strides[1], divisor);
        }
    }
    return MGX_DONE;
}

/* 2^k for which the largest magnitude of half * (x - mean) of n elements, `stride` bytes apart, is in [1/2, 1); 1 if
   that is 0, inf or nan */
static double V(power_to_unit)(ptrdiff_t n, const char *x, ptrdiff_t stride, double mean, double half)
{
    double top = 0;
    int exponent;
    ALONG(i, 0, n) {
        const double size = __builtin_fabs(*(const REAL *)(x + i * stride) * half - mean * half);
        top = size > top || size != size ? size : top;
    }
    if (!(top > 0 && top - top == 0))
        return 1;
    (void)__builtin_frexp(top, &exponent);
    return __builtin_ldexp(1, exponent < -1000 ? 1000 : -exponent);     /* and that is no overflow */
}

/* sum / divisor, or its root, of n elements whose sum of squares this is; where it has overflown or vanished, by halves
   of x - mean, because that itself could overflow, times a power of 2 */
#define LARGEST (sizeof(REAL) == 4 ? (REAL)__FLT_MAX__ : (REAL)__DBL_MAX__)
#define VANISHES (sizeof(REAL) == 4 ? (REAL)0x1p-100 : (REAL)0x1p-960)
static REAL V(of_squares)(REAL sum, ptrdiff_t n, const char *x, ptrdiff_t stride, const REAL *mean, double divisor,
                          int root)
{
    if (sum > VANISHES && sum < LARGEST)
        return (REAL)(root ? LIBM_f64(sqrt)(sum / divisor) : sum / divisor);
    const double middle = mean ? *mean : 0, half = sum < LARGEST ? 1 : 0.5;
    int any = stride != sizeof(REAL) || middle;
    ALONG(i, 0, any ? 0 : n)
        any |= ((const REAL *)x)[i] != 0;           /* zeros are common, so found fast */
    if (!any)
        return (REAL)(0 / divisor);
    const double unit = V(power_to_unit)(n, x, stride, middle, half);
    double squares = 0;
    ALONG(i, 0, n)
        squares += SQUARED((*(const REAL *)(x + i * stride) * half - middle * half) * unit);
    return (REAL)(root ? LIBM_f64(sqrt)(squares / divisor) / unit / half
                  : squares / divisor / unit / unit / half / half);
}

/* y = the sum of squares of x - mean / divisor, or its root, where that is a number of the dtype, even if squares and
   distances from the mean are none */
static void V(squares_few)(ptrdiff_t count, ptrdiff_t n, int across, ptrdiff_t next, ptrdiff_t stride, const char *x,
                           const REAL *mean, REAL *restrict out, int root, double divisor)
{
    for (ptrdiff_t done; count; count -= done, x += done * next, out += done, mean += mean ? done : 0) {
        int odd = 0;
        done = mean ? V(total_few)(count, n, across, across ? stride : next, x, mean, out, DEVIATIONS)
                    : V(total_few)(count, n, across, across ? stride : next, x, 0, out, SQUARES);
        for (ptrdiff_t w = 0; w < done; w++)
            odd |= !(out[w] > VANISHES) | !(out[w] < LARGEST);
        if (odd)
            for (ptrdiff_t w = 0; w < done; w++)
                out[w] = V(of_squares)(out[w], n, x + w * next, stride, mean ? mean + w : 0, divisor, root);
        else if (root && divisor == 1)
            for (ptrdiff_t w = 0; w < done; w++)
                out[w] = (REAL)LIBM_f64(sqrt)(out[w]);
        else if (root)
            for (ptrdiff_t w = 0; w < done; w++)
                out[w] = (REAL)LIBM_f64(sqrt)(out[w] / divisor);
        else
            for (ptrdiff_t w = 0; w < done; w++)
                out[w] = (REAL)(out[w] / divisor);
    }
}

static ptrdiff_t V(squares)(ptrdiff_t first, ptrdiff_t last, const char *x, const REAL *mean, REAL *out,
                            ptrdiff_t outer, ptrdiff_t n, ptrdiff_t inner, const ptrdiff_t *strides, int root,
                            double divisor)
{
    const int few = V(is_short)(n, inner, strides);
    if (few && inner == 1) {
        V(squares_few)(last - first, n, V(is_across)(n, inner, strides), strides[0], strides[1],
                       x + first * strides[0], mean ? mean + first : 0, out + first, root, divisor);
        return MGX_DONE;
    }
    for (; inner == 1 && strides[1] == sizeof(REAL) && first < last; first++) {
        const char *from = x + first * strides[0];
        const REAL *middle = mean ? mean + first : 0;
        const REAL sum = middle ? V(sum_deviations)(n, from, middle) : V(sum_squares)(n, from);
        out[first] = V(of_squares)(sum, n, from, strides[1], middle, divisor, root);
    }
    EACH_STRIP(c) {
        const char *from = x + c.row * strides[0] + c.first * strides[2];
        const REAL *middle = mean ? mean + c.row * inner + c.first : 0;
        REAL *to = out + c.row * inner + c.first;
        if (few) {
            V(squares_few)(c.count, n, 1, strides[2], strides[1], from, middle, to, root, divisor);
            continue;
        }
        for (ptrdiff_t i = 0, width; i < c.count; i += width) {
            REAL total[WIDTH] = {0};
            width = V(run_width)(c.count, &i);
            V(sum_squared_rows)(n, width, strides[1], from + i * strides[2], middle ? middle + i : 0, total);
            for (ptrdiff_t w = 0; w < width; w++)
                to[i + w] = V(of_squares)(total[w], n, from + (i + w) * strides[2], strides[1],
                                          middle ? middle + i + w : 0, divisor, root);
        }
    }
    return MGX_DONE;
}

/* best[w] = s * the maximum of s * x over column w of `width`: the maximum for s = 1, the minimum for -1; a nan wins */
INLINE void V(extremes)(ptrdiff_t n, const ptrdiff_t width, const char *x, ptrdiff_t stride, REAL s,
                        REAL *restrict best, const int is_long)
{
    for (ptrdiff_t w = 0; w < width; w++)
        best[w] = s * ((const REAL *)x)[w];
    ALONG_IF(is_long, r, 1, n) {
        const REAL *restrict row = (const REAL *)(x + r * stride);
        for (ptrdiff_t w = 0; w < width; w++)
            best[w] = s * row[w] > best[w] || row[w] != row[w] ? s * row[w] : best[w];
    }
    for (ptrdiff_t w = 0; w < width; w++)
        best[w] *= s;
}

static void V(extreme_columns)(ptrdiff_t n, ptrdiff_t count, const char *x, ptrdiff_t stride, REAL s, REAL *best)
{
    for (ptrdiff_t width; count; count -= width, x += width * sizeof(REAL), best += width)
        V(extremes)(n, width = count < MANY ? count : MANY, x, stride, s, best, 1);
}

INLINE REAL V(extreme)(ptrdiff_t n, const char *x, ptrdiff_t stride, REAL s, const int is_long)
{
    REAL best;
    V(extremes)(n, 1, x, stride, s, &best, is_long);
    return best;
}

/* the largest s * x of n contiguous elements, at least one; a nan wins */
static REAL V(largest)(ptrdiff_t n, const REAL *restrict x, const REAL s)
{
    REAL top[WIDTH], best = s * x[0];
    BITS odd[WIDTH] = {0}, any = 0;
    ptrdiff_t i = 0;
    for (int w = 0; w < WIDTH; w++)
        top[w] = best;
    for (; n - i >= WIDTH; i += WIDTH)
        for (int w = 0; w < WIDTH; w++) {
            const REAL v = s * x[i + w];
            top[w] = v > top[w] ? v : top[w];
            odd[w] |= v != v;
        }
    for (; i < n; i++)
        best = s * x[i] > best || x[i] != x[i] ? s * x[i] : best;
    for (int w = 0; w < WIDTH; w++)
        any |= odd[w], best = top[w] > best ? top[w] : best;
    return any ? (REAL)__builtin_nan("") : best;
}

/* s times that, of a row that may be long */
static REAL V(extreme_of_row)(ptrdiff_t n, const REAL *x, const REAL s)
{
    REAL best = s * x[0];
    for (ptrdiff_t i = 0, walked = 0; i < n && !BREAKS_OFF(walked, STRETCH); i += STRETCH) {
        const REAL top = V(largest)(n - i < STRETCH ? n - i : STRETCH, x + i, s);
        best = top > best || top != top ? top : best;
    }
    return s * best;
}

static ptrdiff_t V(amax)(ptrdiff_t first, ptrdiff_t last, const char *x, REAL *out, ptrdiff_t outer, ptrdiff_t n,
                         ptrdiff_t inner, const ptrdiff_t *strides, double sign)
{
    const REAL s = (REAL)sign;
    MGX_ASSERT(n > 0);
    if (inner == 1 && V(is_across)(n, inner, strides)) {
        V(extreme_columns)(n, last - first, x + first * strides[0], strides[1], s, out + first);
        return MGX_DONE;
    }
    for (; inner == 1 && n >= WIDTH && strides[1] == sizeof(REAL) && first < last; first++)
        out[first] = V(extreme_of_row)(n, (const REAL *)(x + first * strides[0]), s);
    for (; inner == 1 && n <= MGX_PIECE && first < last; first++)
        out[first] = V(extreme)(n, x + first * strides[0], strides[1], s, 0);
    EACH_STRIP(c) {
        const char *from = x + c.row * strides[0] + c.first * strides[2];
        REAL *to = out + c.row * inner + c.first;
        if (inner == 1)
            *to = V(extreme)(n, from, strides[1], s, 1);
        else
            V(extreme_columns)(n, c.count, from, strides[1], s, to);
    }
    return MGX_DONE;
}

/* p[w] = the product of a column, for `width` columns. 0 if a product on the way is one that `times` would scale. */
static int V(prod_columns)(ptrdiff_t n, ptrdiff_t width, const char *x, ptrdiff_t stride, double *restrict p)
{
    int odd = 0;
    for (ptrdiff_t w = 0; w < width; w++)
        p[w] = 1;
    ALONG(r, 0, n) {
        const REAL *restrict row = (const REAL *)(x + r * stride);
        for (ptrdiff_t w = 0; w < width; w++) {
            p[w] *= row[w];
            odd |= !(__builtin_fabs(p[w]) > 0x1p-500) | !(__builtin_fabs(p[w]) < 0x1p500);
        }
    }
    return !odd;
}

/* the product of n contiguous elements, of each stretch by columns of WIDTH */
static scaled V(prod_of_row)(ptrdiff_t n, const REAL *x)
{
    scaled whole = {1, 0};
    double p[WIDTH];
    for (ptrdiff_t i = 0, walked = 0; i < n && !BREAKS_OFF(walked, STRETCH); i += STRETCH) {
        const ptrdiff_t end = n - i < STRETCH ? n : i + STRETCH, rows = (end - i) / WIDTH;
        ptrdiff_t j = i;
        if (V(prod_columns)(rows, WIDTH, (const char *)(x + i), WIDTH * sizeof(REAL), p)) {
            for (int w = 0; w < WIDTH; w++)
                whole = times(whole, p[w]);
            j += rows * WIDTH;
        }
        for (; j < end; j++)
            whole = times(whole, x[j]);
    }
    return whole;
}

static void V(prods)(ptrdiff_t count, ptrdiff_t n, const char *x, ptrdiff_t next, ptrdiff_t stride, REAL *restrict out)
{
    double p[MANY];
    for (ptrdiff_t width; count; count -= width, x += width * next, out += width) {
        width = next != sizeof(REAL) ? 1 : count < MANY ? count : MANY;
        const int plain = width > 1 && V(prod_columns)(n, width, x, stride, p);
        for (ptrdiff_t w = 0; w < width && !plain; w++) {
            const int in_order = stride == sizeof(REAL) && n > 2 * WIDTH;
            scaled whole = {1, 0};
            if (in_order)
                whole = V(prod_of_row)(n, (const REAL *)(x + w * next));
            ALONG(r, 0, in_order ? 0 : n)
                whole = times(whole, *(const REAL *)(x + w * next + r * stride));
            p[w] = rounded(whole);
        }
        for (ptrdiff_t w = 0; w < width; w++)
            out[w] = (REAL)p[w];
    }
}

/* y = the product */
static ptrdiff_t V(prod)(ptrdiff_t first, ptrdiff_t last, const char *x, REAL *out, ptrdiff_t outer, ptrdiff_t n,
                         ptrdiff_t inner, const ptrdiff_t *strides)
{
    if (inner == 1) {
        V(prods)(last - first, n, x + first * strides[0], strides[0], strides[1], out + first);
        return MGX_DONE;
    }
    EACH_STRIP(c)
        V(prods)(c.count, n, x + c.row * strides[0] + c.first * strides[2], strides[2], strides[1],
                 out + c.row * inner + c.first);
    return MGX_DONE;
}

/* dx (m, n) = g (m) times the product of the other elements of the row: the product of the finite ones that are not 0,
   divided by the element if it is among them, and what is left of zeros, infinities and nan without it. */
static ptrdiff_t V(prod_vjp)(ptrdiff_t first, ptrdiff_t last, const REAL *g, const REAL *x, REAL *dx, ptrdiff_t m,
                             ptrdiff_t n)
{
    x += first * n, dx += first * n;
    for (ptrdiff_t row = first; row < last; row++, x += n, dx += n) {
        scaled ordinary = times((scaled){1, 0}, g[row]);
        ptrdiff_t zeros = 0, infinite = 0, nan = 0;
        ALONG(i, 0, n) {
            zeros += x[i] == 0, infinite += __builtin_isinf(x[i]) != 0, nan += x[i] != x[i];
            ordinary = times(ordinary, x[i] - x[i] == 0 && x[i] != 0 ? x[i] : __builtin_copysign(1, x[i]));
        }
        ALONG(i, 0, n) {
            const int is_zero = x[i] == 0, is_infinite = __builtin_isinf(x[i]) != 0, is_nan = x[i] != x[i];
            scaled others = ordinary;
            if (is_zero || is_infinite || is_nan)
                others.size *= __builtin_copysign(1, x[i]);
            else {
                ptrdiff_t down = 0;
                others.size /= mantissa(x[i], &down);
                others.exponent -= down;
            }
            double d = rounded(others);
            if (zeros + infinite + nan > is_zero + is_infinite + is_nan)
                d = __builtin_copysign(1, d) * (zeros > is_zero ? 0. : 1.)
                    * (infinite > is_infinite ? __builtin_inf() : 1.) * (nan > is_nan ? __builtin_nan("") : 1.);
            dx[i] = g[row] == 0 ? 0 : (REAL)d;
        }
    }
    return MGX_DONE;
}

/* 1 if none of n contiguous elements is inf or nan. Those have all bits of the exponent set, so adding the lowest of
   them carries into the sign. */
static int V(all_finite)(ptrdiff_t n, const char *x)
{
    BITS carry = 0;
    for (ptrdiff_t i = 0; i < n; i++) {
        BITS bits;
        memcpy(&bits, x + i * sizeof(REAL), sizeof(REAL));
        carry |= (bits & ~((BITS)1 << (8 * sizeof(REAL) - 1))) + ((BITS)1 << MANTISSA);
    }
    return !(carry >> (8 * sizeof(REAL) - 1));
}

/* y[at[i]] += x[i] for m rows of n; at counts from the end where negative. The first that is none of the `rows`
   rows of y, or -1. Of many rows `lost` sums what each addition rounds off (Knuth, TAOCP 2, 4.2.2 theorem B), so that a
   row that is named millions of times does not stand still. */
static ptrdiff_t V(add_rows)(char *scratch, const int64_t *at, const REAL *restrict x, REAL *y_, ptrdiff_t m,
                             ptrdiff_t n, ptrdiff_t rows)
{
    REAL *restrict lost = (REAL *)scratch;
    const ptrdiff_t panel = m < DRIFTING || n < PANEL ? n : PANEL;
    for (ptrdiff_t from = 0, walked = 0; from < n; from += panel) {
        const ptrdiff_t width = n - from < panel ? n - from : panel;
        if (m >= DRIFTING)
            memset(lost, 0, rows * width * sizeof(REAL));
        for (ptrdiff_t i = 0; i < m && !BREAKS_OFF(walked, width); i++) {
            if (at[i] < -rows || at[i] >= rows)
                return i;
            const ptrdiff_t row = at[i] < 0 ? at[i] + rows : at[i];
            const REAL *restrict add = x + i * n + from;
            REAL *restrict y = y_ + row * n + from;
            if (m < DRIFTING)
                for (ptrdiff_t k = 0; k < width; k++)
                    y[k] += add[k];
            else
                for (ptrdiff_t k = 0; k < width; k++) {
                    const REAL sum = y[k] + add[k], added = sum - y[k];
                    lost[row * width + k] += (y[k] - (sum - added)) + (add[k] - added);
                    y[k] = sum;
                }
        }
        for (ptrdiff_t row = 0; row < rows && m >= DRIFTING && !BREAKS_OFF(walked, width); row++)
            for (ptrdiff_t k = 0; k < width; k++) {
                const REAL rest = lost[row * width + k];
                y_[row * n + from + k] += rest - rest == 0 ? rest : 0;      /* of an infinite sum nothing is lost */
            }
    }
    return MGX_DONE;
}

#include "scan.inl"
#undef WIDTH
#undef SHORT
#undef MANY
#undef STRETCH
#undef ELEMENTS
#undef SQUARES
#undef DEVIATIONS
#undef SQUARED
#undef TERM
