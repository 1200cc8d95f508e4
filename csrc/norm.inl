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

/* mean, variance and 1 / sqrt(variance + eps) of one row whose squares overflow or vanish: by x times a power of 2 */
static __attribute__((noinline)) void V(norm_of_extremes)(const REAL *x, ptrdiff_t n, int centred, double eps, REAL *mean,
                                                          REAL *variance, REAL *scale)
{
    const double unit = V(power_to_unit)(n, (const char *)x, sizeof(REAL));
    double level = 0, squares = 0;
    ALONG(i, 0, centred ? n : 0)
        level += x[i] * unit / n;
    ALONG(i, 0, n)
        squares += (x[i] * unit - level) * (x[i] * unit - level) / n;
    *mean = (REAL)(level / unit);
    *variance = (REAL)(squares / unit / unit);
    *scale = (REAL)(unit / LIBM_f64(hypot)(LIBM_f64(sqrt)(squares), LIBM_f64(sqrt)(eps) * unit));
}

/* y (m, n) = (x - mean) / sqrt(variance + eps) * w + b; w (n), b (n) may be NULL */
static ptrdiff_t V(norm)(ptrdiff_t first, ptrdiff_t last, const REAL *restrict x, const REAL *restrict w,
                         const REAL *restrict b, REAL *restrict y, REAL *stats, ptrdiff_t m, ptrdiff_t n, int centred,
                         double eps)
{
    x += first * n, y += first * n;
#define ELEMENT(AT) AT(x)
#define OFF(AT) ((AT(x) - mean) * (AT(x) - mean))
    for (ptrdiff_t r = first; r < last; r++, x += n, y += n) {
        REAL mean = 0;
        if (centred) {
            ROW_SUM(whole, ELEMENT)
            mean = (REAL)(whole / n);
        }
        ROW_SUM(squares, OFF)
        REAL variance = (REAL)(squares / n), scale = 1 / V(sqrt)(variance + (REAL)eps);
        if (!(variance < LARGEST && (variance > VANISHES || eps > VANISHES)))
            V(norm_of_extremes)(x, n, centred, eps, &mean, &variance, &scale);
        ALONG(i, 0, n) {
            REAL unit = (x[i] - mean) * scale;
            unit = w ? unit * w[i] : unit;
            y[i] = b ? unit + b[i] : unit;
        }
        stats[r] = mean;
        stats[m + r] = variance;
        stats[2 * m + r] = scale;
    }
#undef ELEMENT
#undef OFF
    return MGX_DONE;
}

/* dx (m, n) for g (m, n): with u = the unit row and a = g w, dx = scale * (a - mean(a) - u mean(a u)) */
INLINE void V(norm_any_vjp)(ptrdiff_t first, ptrdiff_t last, ptrdiff_t m, ptrdiff_t n, int centred,
                            const REAL *restrict g, const REAL *restrict x, const REAL *restrict w, const REAL *stats,
                            REAL *restrict dx, const int weighted)
{
    g += first * n, x += first * n, dx += first * n;
#define A(AT) (weighted ? AT(g) * AT(w) : AT(g) * K(1))
#define MOMENT(AT) (A(AT) * ((AT(x) - mean) * scale))
    for (ptrdiff_t r = first; r < last; r++, g += n, x += n, dx += n) {
        const REAL mean = stats[r], scale = stats[2 * m + r];
        REAL level = 0;
        if (centred) {
            ROW_SUM(whole, A)
            level = (REAL)(whole / n);
        }
        ROW_SUM(moment, MOMENT)
        const REAL tilt = (REAL)(moment / n);
        ALONG(i, 0, n)
            dx[i] = scale * (A(ONE) - level - (x[i] - mean) * scale * tilt);
    }
#undef A
#undef MOMENT
}

static ptrdiff_t V(norm_vjp)(ptrdiff_t first, ptrdiff_t last, const REAL *g, const REAL *x, const REAL *w,
                             const REAL *stats, REAL *dx, ptrdiff_t m, ptrdiff_t n, int centred)
{
    if (w)
        V(norm_any_vjp)(first, last, m, n, centred, g, x, w, stats, dx, 1);
    else
        V(norm_any_vjp)(first, last, m, n, centred, g, x, 0, stats, dx, 0);
    return MGX_DONE;
}

/* part (ceil(m / 64), n) = g (m, n) times the unit rows, summed over 64 rows each; the caller sums the rest */
static ptrdiff_t V(norm_weight_vjp)(ptrdiff_t first, ptrdiff_t last, const REAL *restrict g, const REAL *restrict x,
                                    const REAL *restrict stats, REAL *parts, ptrdiff_t m, ptrdiff_t n)
{
    g += first * 64 * n, x += first * 64 * n;
    for (ptrdiff_t r = first * 64; r < last * 64 && r < m; r++, g += n, x += n) {
        const REAL mean = stats[r], scale = stats[2 * m + r];
        REAL *restrict part = parts + r / 64 * n;
        if (r % 64 == 0)
            memset(part, 0, n * sizeof(REAL));
        ALONG(i, 0, n)
            part[i] += g[i] * ((x[i] - mean) * scale);
    }
    return MGX_DONE;
}
#undef LANES
#undef BUNDLE
#undef MANY
#undef ONE
#undef ROW_SUM
