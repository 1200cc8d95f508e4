/* Rows brought to mean 0 and variance 1, for one dtype and ISA. Without centring the mean counts as 0: then the
   variance is the mean square (Zhang and Sennrich, 2019). stats (3, m) keeps mean, variance and 1 / sqrt(variance +
   eps) of every row. */
#include "vectors.h"

/* total = the sum of TERM over i < n as a fixed tree: 32 running sums of at most 64 terms each, these in double.
   The running sums are vectors, for GCC leaves an array of them in memory; TERM(AT) reads p[i] as AT(p). */
#define LANES 32
#define BUNDLE V(norm_bundle)
typedef REAL BUNDLE __attribute__((vector_size(BYTES), aligned(sizeof(REAL)), may_alias));
#define MANY(p) (*(const BUNDLE *)((p) + i))
#define ONE(p) ((p)[i])
#define ROW_SUM(total, TERM) \
    double total = 0; \
    for (ptrdiff_t start = 0, end, i; start < n; start = end) { \
        if (start && start % MGX_PIECE == 0 && mgx_interrupted()) \
            break; \
        union { BUNDLE many[LANES / W]; REAL one[LANES]; } sum = {0}; \
        BUNDLE running[LANES / W] = {0}; \
        end = n - start < 64 * LANES ? n : start + 64 * LANES; \
        for (i = start; i + LANES <= end;) \
            UNROLL for (int k = 0; k < LANES / W; k++, i += W) \
                running[k] += TERM(MANY); \
        UNROLL for (int k = 0; k < LANES / W; k++) \
            sum.many[k] = running[k]; \
        for (int k = 0; i < end; i++, k++) \
            sum.one[k] += TERM(ONE); \
        UNROLL for (int half = LANES / 2; half; half /= 2) \
            for (int k = 0; k < half; k++) \
                sum.one[k] += sum.one[k + half]; \
        total += sum.one[0]; \
    }

/* A row whose squares, or distances from the mean, overflow or vanish. An element becomes (x * unit - level) /
   size, with a power of 2 for the unit, and sqrt(variance + eps) * unit for the size. */
typedef struct { double unit, level, size, squares; } V(extreme_row);
#define IS_EXTREME(variance, eps) (!((variance) < LARGEST && ((variance) > VANISHES || (eps) > VANISHES)))
#define UNIT_OF(e, x) (((x) * e.unit - e.level) / e.size)
static __attribute__((noinline)) V(extreme_row) V(extreme_row_of)(const REAL *x, ptrdiff_t n, int centred, double eps)
{
    V(extreme_row) e = {V(power_to_unit)(n, (const char *)x, sizeof(REAL), 0, 1), 0, 0, 0};
    for (int k = 0; k < 2 && centred; k++) {        /* again, by what the first has missed: exact if all are equal */
        double sum = 0;
        ALONG(i, 0, n)
            sum += x[i] * e.unit - e.level;
        e.level += sum / n;
    }
    ALONG(i, 0, n) {
        const double off = x[i] * e.unit - e.level;
        e.squares += off * off / n;
    }
    e.size = LIBM_f64(hypot)(LIBM_f64(sqrt)(e.squares), LIBM_f64(sqrt)(eps) * e.unit);
    return e;
}

/* y (m, n) = (x - mean) / sqrt(variance + eps) * w + b, n = c * repeat; w (k, c) and b (k, c) may be NULL */
static ptrdiff_t V(norm)(ptrdiff_t first, ptrdiff_t last, const REAL *restrict x, const REAL *restrict weights,
                         const REAL *restrict biases, REAL *restrict y, REAL *stats, ptrdiff_t m, ptrdiff_t k,
                         ptrdiff_t c, ptrdiff_t repeat, int centred, double eps)
{
    const ptrdiff_t n = c * repeat;
    x += first * n, y += first * n;
#define ELEMENT(AT) AT(x)
#define OFF(AT) ((AT(x) - mean) * (AT(x) - mean))
    for (ptrdiff_t r = first; r < last; r++, x += n, y += n) {
        const REAL *restrict w = weights ? weights + r % k * c : 0, *restrict b = biases ? biases + r % k * c : 0;
        REAL mean = 0;
        if (centred) {
            ROW_SUM(whole, ELEMENT)
            mean = (REAL)(whole / n);
        }
        ROW_SUM(squares, OFF)
        REAL variance = (REAL)(squares / n), scale = 1 / V(sqrt)(variance + (REAL)eps);
        const int is_extreme = IS_EXTREME(variance, eps);
        if (is_extreme) {
            const V(extreme_row) e = V(extreme_row_of)(x, n, centred, eps);
            ALONG(i, 0, n) {
                const double unit = UNIT_OF(e, x[i]) * (w ? w[i / repeat] : 1);
                y[i] = (REAL)(b ? unit + b[i / repeat] : unit);
            }
            mean = (REAL)(e.level / e.unit);
            variance = (REAL)(e.squares / e.unit / e.unit);
            scale = (REAL)(e.unit / e.size);
        }
        ALONG(i, 0, is_extreme || repeat > 1 ? 0 : n) {
            REAL unit = (x[i] - mean) * scale;
            unit = w ? unit * w[i] : unit;
            y[i] = b ? unit + b[i] : unit;
        }
        for (ptrdiff_t part = 0; part < (is_extreme || repeat == 1 ? 0 : c); part++) {
            const REAL weight = w ? w[part] : 1, bias = b ? b[part] : 0;
            ALONG(i, part * repeat, (part + 1) * repeat)
                y[i] = (x[i] - mean) * scale * weight + bias;
        }
        stats[r] = mean;
        stats[m + r] = variance;
        stats[2 * m + r] = scale;
    }
#undef ELEMENT
#undef OFF
    return MGX_DONE;
}

/* dx (n) for g (n): with u = the unit row and a = g w, dx = slope * (a - mean(a) - u mean(a u)); the slope is scale,
   times w where that is one number for the whole row */
#define UNIT(AT) ((AT(x) - mean) * scale)
INLINE void V(norm_row_vjp)(ptrdiff_t n, int centred, const REAL *restrict g, const REAL *restrict x,
                            const REAL *restrict w, const REAL mean, const REAL scale, const REAL slope,
                            REAL *restrict dx, const int weighted)
{
#define A(AT) (weighted ? AT(g) * AT(w) : AT(g) * K(1))
#define MOMENT(AT) (A(AT) * UNIT(AT))
    REAL level = 0;
    if (centred) {
        ROW_SUM(whole, A)
        level = (REAL)(whole / n);
    }
    ROW_SUM(moment, MOMENT)
    const REAL tilt = (REAL)(moment / n);
    ALONG(i, 0, n)
        dx[i] = slope * (A(ONE) - level - UNIT(ONE) * tilt);
#undef A
#undef MOMENT
}

static void V(extreme_row_vjp)(ptrdiff_t n, ptrdiff_t repeat, int centred, double eps, const REAL *g, const REAL *x,
                               const REAL *w, REAL *dx)
{
    const V(extreme_row) e = V(extreme_row_of)(x, n, centred, eps);
    double level = 0, tilt = 0;
    ALONG(i, 0, n) {
        const double a = (double)g[i] * (w ? w[i / repeat] : 1) / n;
        level += centred ? a : 0;
        tilt += a * UNIT_OF(e, x[i]);
    }
    ALONG(i, 0, n)
        dx[i] = (REAL)(((double)g[i] * (w ? w[i / repeat] : 1) - level - UNIT_OF(e, x[i]) * tilt) / e.size * e.unit);
}

static ptrdiff_t V(norm_vjp)(ptrdiff_t first, ptrdiff_t last, void *scratch, const REAL *g, const REAL *x,
                             const REAL *weights, const REAL *stats, REAL *dx, ptrdiff_t m, ptrdiff_t k, ptrdiff_t c,
                             ptrdiff_t repeat, int centred, double eps)
{
    const ptrdiff_t n = c * repeat;
    g += first * n, x += first * n, dx += first * n;
    for (ptrdiff_t r = first; r < last; r++, g += n, x += n, dx += n) {
        const REAL mean = stats[r], scale = stats[2 * m + r], *w = weights ? weights + r % k * c : 0;
        if (IS_EXTREME(stats[m + r], eps))
            V(extreme_row_vjp)(n, repeat, centred, eps, g, x, w, dx);
        else if (w && repeat == 1)
            V(norm_row_vjp)(n, centred, g, x, w, mean, scale, scale, dx, 1);
        else if (w && c > 1) {
            REAL *restrict weighted = scratch;
            for (ptrdiff_t part = 0; part < c; part++)
                ALONG(i, part * repeat, (part + 1) * repeat)
                    weighted[i] = g[i] * w[part];
            V(norm_row_vjp)(n, centred, weighted, x, 0, mean, scale, scale, dx, 0);
        } else
            V(norm_row_vjp)(n, centred, g, x, 0, mean, scale, w ? scale * w[0] : scale, dx, 0);
    }
    return MGX_DONE;
}

/* the sum of g times the unit row */
static double V(norm_moment)(ptrdiff_t n, const REAL *restrict g, const REAL *restrict x, const REAL mean,
                             const REAL scale)
{
#define MOMENT(AT) (AT(g) * UNIT(AT))
    ROW_SUM(moment, MOMENT)
#undef MOMENT
    return moment;
}

/* part = g (m, n) times the unit rows: where all rows have the same n weights, summed over 64 rows each, (ceil(m / 64),
   n); otherwise over the elements that share a weight, (m, c). The caller sums the rest. */
static ptrdiff_t V(norm_weight_vjp)(ptrdiff_t first, ptrdiff_t last, const REAL *restrict g, const REAL *restrict x,
                                    const REAL *restrict stats, REAL *parts, ptrdiff_t m, ptrdiff_t k, ptrdiff_t c,
                                    ptrdiff_t repeat, int centred, double eps)
{
    const ptrdiff_t n = c * repeat;
    const int together = k == 1 && repeat == 1;
    g += first * 64 * n, x += first * 64 * n;
    for (ptrdiff_t r = first * 64; r < last * 64 && r < m; r++, g += n, x += n) {
        const REAL mean = stats[r], scale = stats[2 * m + r];
        const int is_extreme = IS_EXTREME(stats[m + r], eps);
        REAL *restrict part = parts + (together ? r / 64 : r) * c;
        if (r % 64 == 0 || !together)
            memset(part, 0, c * sizeof(REAL));
        if (is_extreme) {
            const V(extreme_row) e = V(extreme_row_of)(x, n, centred, eps);
            for (ptrdiff_t i = 0; i < c; i++) {
                double sum = 0;
                ALONG(j, i * repeat, (i + 1) * repeat)
                    sum += g[j] * UNIT_OF(e, x[j]);
                part[i] += (REAL)sum;
            }
        } else if (repeat == 1) {
            ALONG(i, 0, n)
                part[i] += g[i] * UNIT(ONE);
        } else
            for (ptrdiff_t i = 0; i < c; i++)
                part[i] = (REAL)V(norm_moment)(repeat, g + i * repeat, x + i * repeat, mean, scale);
    }
    return MGX_DONE;
}
#undef UNIT
#undef UNIT_OF
#undef IS_EXTREME
#undef LANES
#undef BUNDLE
#undef MANY
#undef ONE
#undef ROW_SUM
