/* Softmax over the rows of x (m, n) and the cross-entropy built on it, for one dtype and ISA. */

/* max x; the nans are left to the sum, which they spoil anyway */
INLINE REAL V(row_max)(ptrdiff_t n, const REAL *x, const int is_long)
{
    enum { LANES = 16 };
    MGX_ASSERT(n > 0);
    REAL lane[LANES], best = x[0];
    if (n >= LANES) {
        memcpy(lane, x, sizeof lane);
        ALONG_IF(is_long, k, 1, (n + LANES - 1) / LANES) {
            const REAL *v = x + (k * LANES < n - LANES ? k * LANES : n - LANES);    /* the last ones overlap */
            for (int w = 0; w < LANES; w++)
                lane[w] = v[w] > lane[w] ? v[w] : lane[w];
        }
        UNROLL for (int half = LANES / 2; half; half /= 2)
            for (int w = 0; w < half; w++)
                lane[w] = lane[w + half] > lane[w] ? lane[w + half] : lane[w];
        return lane[0];
    }
    for (ptrdiff_t i = 1; i < n; i++)
        best = x[i] > best ? x[i] : best;
    return best;
}

/* y = exp(x - top), top = max x and the sum of y, for each of at most AT_ONCE rows: together, for short ones */
#define AT_ONCE 64
#define ROWS_AT(left) (n >= 1024 ? 1 : (left) < AT_ONCE ? (left) : AT_ONCE)
INLINE void V(exp_any_rows)(ptrdiff_t rows, ptrdiff_t n, const REAL *restrict x, REAL *restrict y, REAL *top, REAL *sum,
                            const int is_long)
{
    for (ptrdiff_t r = 0; r < rows; r++) {
        const REAL most = top[r] = V(row_max)(n, x + r * n, is_long);
        ALONG_IF(is_long, i, r * n, r * n + n)
            y[i] = x[i] - most;
    }
    ALONG_IF(is_long, i, 0, rows * n)
        y[i] = V(exp)(y[i]);
    for (ptrdiff_t r = 0; r < rows; r++)
        sum[r] = V(sum_contiguous)(n, (const char *)(y + r * n));
}

static void V(exp_rows)(ptrdiff_t rows, ptrdiff_t n, const REAL *x, REAL *y, REAL *top, REAL *sum)
{
    if (n > MGX_PIECE)
        V(exp_any_rows)(rows, n, x, y, top, sum, 1);
    else
        V(exp_any_rows)(rows, n, x, y, top, sum, 0);
}

INLINE void V(softmax_rows)(ptrdiff_t first, ptrdiff_t last, const REAL *x, REAL *y, ptrdiff_t n, const int logarithm,
                            const int is_long)
{
    REAL sum[AT_ONCE], top[AT_ONCE];
    x += first * n, y += first * n;
    for (ptrdiff_t r = first, rows; r < last; r += rows) {
        V(exp_rows)(rows = ROWS_AT(last - r), n, x, y, top, sum);
        for (ptrdiff_t k = 0; k < rows; k++, x += n, y += n) {
            const REAL shift = logarithm ? V(log)(sum[k]) : 0;
            ALONG_IF(is_long, i, 0, n)
                y[i] = logarithm ? x[i] - top[k] - shift : y[i] / sum[k];
        }
    }
}

static ptrdiff_t V(softmax)(ptrdiff_t first, ptrdiff_t last, const REAL *x, REAL *y, ptrdiff_t m, ptrdiff_t n)
{
    if (n > MGX_PIECE)
        V(softmax_rows)(first, last, x, y, n, 0, 1);
    else
        V(softmax_rows)(first, last, x, y, n, 0, 0);
    return MGX_DONE;
}

static ptrdiff_t V(log_softmax)(ptrdiff_t first, ptrdiff_t last, const REAL *x, REAL *y, ptrdiff_t m, ptrdiff_t n)
{
    if (n > MGX_PIECE)
        V(softmax_rows)(first, last, x, y, n, 1, 1);
    else
        V(softmax_rows)(first, last, x, y, n, 1, 0);
    return MGX_DONE;
}

/* dx = y (g - sum(g y)) for a softmax y, g - exp(y) sum(g) for its logarithm */
INLINE void V(softmax_rows_vjp)(ptrdiff_t first, ptrdiff_t last, const REAL *restrict g, const REAL *restrict y,
                                REAL *restrict dx, ptrdiff_t n, const int logarithm)
{
    g += first * n, y += first * n, dx += first * n;
    for (ptrdiff_t r = first; r < last; r++, g += n, y += n, dx += n) {
        ALONG(i, 0, n)
            dx[i] = logarithm ? V(exp)(y[i]) : g[i] * y[i];
        REAL sum = V(sum_contiguous)(n, (const char *)(logarithm ? g : dx));
        ALONG(i, 0, n)
            dx[i] = logarithm ? g[i] - dx[i] * sum : y[i] * (g[i] - sum);
    }
}

static ptrdiff_t V(softmax_vjp)(ptrdiff_t first, ptrdiff_t last, const REAL *g, const REAL *y, REAL *dx, ptrdiff_t m,
                                ptrdiff_t n)
{
    V(softmax_rows_vjp)(first, last, g, y, dx, n, 0);
    return MGX_DONE;
}

static ptrdiff_t V(log_softmax_vjp)(ptrdiff_t first, ptrdiff_t last, const REAL *g, const REAL *y, REAL *dx,
                                    ptrdiff_t m, ptrdiff_t n)
{
    V(softmax_rows_vjp)(first, last, g, y, dx, n, 1);
    return MGX_DONE;
}

static void V(divide)(ptrdiff_t n, REAL *restrict y, REAL by)
{
    ALONG(i, 0, n)
        y[i] /= by;
}

static ptrdiff_t V(cross_entropy)(const REAL *x, const int64_t *label, REAL *loss, REAL *p, ptrdiff_t m, ptrdiff_t n,
                                  double divisor)
{
    REAL sum[AT_ONCE], top[AT_ONCE];
    double total = 0;
    for (ptrdiff_t r = 0, walked = 0, rows; r < m; r += rows) {
        V(exp_rows)(rows = ROWS_AT(m - r), n, x, p, top, sum);
        if (BREAKS_OFF(walked, rows * n))
            break;
        for (ptrdiff_t k = 0; k < rows; k++, x += n, p += n) {
            if (label[r + k] < 0 || label[r + k] >= n)
                return r + k;
            V(divide)(n, p, sum[k]);
            total += (double)V(log)(sum[k]) - ((double)x[label[r + k]] - (double)top[k]);
        }
    }
    *loss = (REAL)(total / divisor);
    return MGX_DONE;
}

static ptrdiff_t V(cross_entropy_vjp)(ptrdiff_t first, ptrdiff_t last, const REAL *g, const REAL *restrict p,
                                      const int64_t *label, REAL *restrict dx, ptrdiff_t m, ptrdiff_t n, double divisor)
{
    const REAL weight = (REAL)(*g / divisor);
    ALONG(i, first * n, last * n)
        dx[i] = weight * p[i];
    for (ptrdiff_t r = first; r < last; r++) {
        MGX_ASSERT(label[r] >= 0 && label[r] < n);
        dx[r * n + label[r]] = weight * (p[r * n + label[r]] - 1);
    }
    return MGX_DONE;
}

/* y = -(t log p + (1 - t) log(1 - p)), each logarithm at least -100, so that it is finite for p = 0 and p = 1 */
static ptrdiff_t V(binary_cross_entropy)(ptrdiff_t first, ptrdiff_t last, const REAL *restrict p,
                                         const REAL *restrict t, REAL *restrict y, ptrdiff_t n)
{
    int outside = 0;
    for (ptrdiff_t i = first; i < last; i++) {
        const REAL log_p = V(log)(p[i]), log_rest = V(log1p)(-p[i]);
        outside |= (p[i] < 0) | (p[i] > 1) | (t[i] < 0) | (t[i] > 1);
        y[i] = (t[i] - 1) * (log_rest < -100 ? -100 : log_rest) - t[i] * (log_p < -100 ? -100 : log_p) + (REAL)0;
    }
    for (ptrdiff_t i = first; outside && i < last; i++)
        if ((p[i] < 0) | (p[i] > 1) | (t[i] < 0) | (t[i] > 1))
            return i;
    return MGX_DONE;
}
