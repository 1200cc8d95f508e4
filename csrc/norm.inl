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

/* y (m, n) = (x - mean) / sqrt(variance + eps) * w + b; w (n), b (n) may be NULL */
static void V(norm)(ptrdiff_t m, ptrdiff_t n, int centred, double eps, const char *x_, const char *w_, const char *b_,
                    char *y_, char *stats_)
{
    const REAL *restrict x = (const REAL *)x_, *restrict w = (const REAL *)w_, *restrict b = (const REAL *)b_;
    REAL *restrict y = (REAL *)y_, *stats = (REAL *)stats_;
    MGX_ASSERT(m >= 0 && n >= 0 && MGX_ALIGNED(x, REAL) && MGX_ALIGNED(y, REAL) && MGX_ALIGNED(stats, REAL));
    MGX_ASSERT(MGX_APART(x, m * n * sizeof(REAL), y, m * n * sizeof(REAL)));
    MGX_ASSERT(MGX_APART(w, w ? n * sizeof(REAL) : 0, y, m * n * sizeof(REAL)));
    MGX_ASSERT(MGX_APART(b, b ? n * sizeof(REAL) : 0, y, m * n * sizeof(REAL)));
#define ELEMENT(AT) AT(x)
#define OFF(AT) ((AT(x) - mean) * (AT(x) - mean))
    for (ptrdiff_t r = 0; r < m; r++, x += n, y += n) {
        REAL mean = 0;
        if (centred) {
            ROW_SUM(whole, ELEMENT)
            mean = (REAL)(whole / n);
        }
        ROW_SUM(squares, OFF)
        const REAL variance = (REAL)(squares / n), scale = 1 / V(sqrt)(variance + (REAL)eps);
        for (ptrdiff_t i = 0; i < n; i++) {
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
}

/* dx (m, n) for g (m, n): with u = the unit row and a = g w, dx = scale * (a - mean(a) - u mean(a u)) */
INLINE void V(norm_any_vjp)(ptrdiff_t m, ptrdiff_t n, int centred, const REAL *restrict g, const REAL *restrict x,
                            const REAL *restrict w, const REAL *stats, REAL *restrict dx, const int weighted)
{
    MGX_ASSERT(m >= 0 && n >= 0 && MGX_ALIGNED(g, REAL) && MGX_ALIGNED(x, REAL) && MGX_ALIGNED(dx, REAL));
    MGX_ASSERT(MGX_APART(g, m * n * sizeof(REAL), dx, m * n * sizeof(REAL)));
    MGX_ASSERT(MGX_APART(x, m * n * sizeof(REAL), dx, m * n * sizeof(REAL)));
#define A(AT) (weighted ? AT(g) * AT(w) : AT(g) * K(1))
#define MOMENT(AT) (A(AT) * ((AT(x) - mean) * scale))
    for (ptrdiff_t r = 0; r < m; r++, g += n, x += n, dx += n) {
        const REAL mean = stats[r], scale = stats[2 * m + r];
        REAL level = 0;
        if (centred) {
            ROW_SUM(whole, A)
            level = (REAL)(whole / n);
        }
        ROW_SUM(moment, MOMENT)
        const REAL tilt = (REAL)(moment / n);
        for (ptrdiff_t i = 0; i < n; i++)
            dx[i] = scale * (A(ONE) - level - (x[i] - mean) * scale * tilt);
    }
#undef A
#undef MOMENT
}

static void V(norm_vjp)(ptrdiff_t m, ptrdiff_t n, int centred, const char *g, const char *x, const char *w,
                        const char *stats, char *dx)
{
    if (w)
        V(norm_any_vjp)(m, n, centred, (const REAL *)g, (const REAL *)x, (const REAL *)w, (const REAL *)stats,
                        (REAL *)dx, 1);
    else
        V(norm_any_vjp)(m, n, centred, (const REAL *)g, (const REAL *)x, 0, (const REAL *)stats, (REAL *)dx, 0);
}

/* part (ceil(m / 64), n) = g (m, n) times the unit rows, summed over 64 rows each; the caller sums the rest */
static void V(norm_weight_vjp)(ptrdiff_t m, ptrdiff_t n, const char *g_, const char *x_, const char *stats_,
                               char *part_)
{
    const REAL *restrict g = (const REAL *)g_, *restrict x = (const REAL *)x_, *restrict stats = (const REAL *)stats_;
    MGX_ASSERT(m >= 0 && n >= 0 && MGX_ALIGNED(part_, REAL));
    for (ptrdiff_t r = 0; r < m; r++, g += n, x += n) {
        const REAL mean = stats[r], scale = stats[2 * m + r];
        REAL *restrict part = (REAL *)part_ + r / 64 * n;
        if (r % 64 == 0)
            memset(part, 0, n * sizeof(REAL));
        for (ptrdiff_t i = 0; i < n; i++)
            part[i] += g[i] * ((x[i] - mean) * scale);
    }
}
#undef LANES
#undef BUNDLE
#undef MANY
#undef ONE
#undef ROW_SUM
