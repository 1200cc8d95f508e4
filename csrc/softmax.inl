/* Softmax over the rows of x (m, n) and the cross-entropy built on it, for one dtype and ISA. */

/* max x; the nans are left to the sum, which they spoil anyway */
static REAL V(row_max)(ptrdiff_t n, const REAL *x)
{
    MGX_ASSERT(n > 0 && MGX_ALIGNED(x, REAL));
    enum { LANES = 16 };
    REAL lane[LANES], best = x[0];
    if (n >= LANES) {
        memcpy(lane, x, sizeof lane);
        for (ptrdiff_t i = LANES; i < n; i += LANES) {
            const REAL *v = x + (i < n - LANES ? i : n - LANES);    /* the last ones overlap their neighbours */
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
#define ROWS_AT(r) (n >= 1024 ? 1 : m - (r) < AT_ONCE ? m - (r) : AT_ONCE)
static void V(exp_rows)(ptrdiff_t rows, ptrdiff_t n, const REAL *restrict x, REAL *restrict y, REAL *top, REAL *sum)
{
    MGX_ASSERT(rows <= AT_ONCE && MGX_ALIGNED(y, REAL));
    MGX_ASSERT(MGX_APART(x, rows * n * sizeof(REAL), y, rows * n * sizeof(REAL)));
    for (ptrdiff_t r = 0; r < rows; r++) {
        const REAL most = top[r] = V(row_max)(n, x + r * n);
        for (ptrdiff_t i = r * n; i < r * n + n; i++)
            y[i] = x[i] - most;
    }
    for (ptrdiff_t i = 0; i < rows * n; i++)
        y[i] = V(exp)(y[i]);
    for (ptrdiff_t r = 0; r < rows; r++)
        sum[r] = V(sum_contiguous)(n, (const char *)(y + r * n));
}

static void V(softmax)(ptrdiff_t m, ptrdiff_t n, int logarithm, const char *x_, char *y_)
{
    REAL sum[AT_ONCE], top[AT_ONCE];
    for (ptrdiff_t r = 0, rows; r < m; r += rows) {
        const REAL *x = (const REAL *)x_ + r * n;
        REAL *y = (REAL *)y_ + r * n;
        V(exp_rows)(rows = ROWS_AT(r), n, x, y, top, sum);
        for (ptrdiff_t k = 0; k < rows; k++, x += n, y += n) {
            const REAL shift = logarithm ? V(log)(sum[k]) : 0;
            for (ptrdiff_t i = 0; i < n; i++)
                y[i] = logarithm ? x[i] - top[k] - shift : y[i] / sum[k];
        }
    }
}

/* dx = y (g - sum(g y)) for a softmax y, g - exp(y) sum(g) for its logarithm */
static void V(softmax_vjp)(ptrdiff_t m, ptrdiff_t n, int logarithm, const char *g_, const char *y_, char *dx_)
{
    MGX_ASSERT(m >= 0 && n >= 0 && MGX_APART(g_, m * n * sizeof(REAL), dx_, m * n * sizeof(REAL)));
    MGX_ASSERT(MGX_APART(y_, m * n * sizeof(REAL), dx_, m * n * sizeof(REAL)));
    const REAL *restrict g = (const REAL *)g_, *restrict y = (const REAL *)y_;
    REAL *restrict dx = (REAL *)dx_;
    for (ptrdiff_t r = 0; r < m; r++, g += n, y += n, dx += n) {
        for (ptrdiff_t i = 0; i < n; i++)
            dx[i] = logarithm ? V(exp)(y[i]) : g[i] * y[i];
        REAL sum = V(sum_contiguous)(n, (const char *)(logarithm ? g : dx));
        for (ptrdiff_t i = 0; i < n; i++)
            dx[i] = logarithm ? g[i] - dx[i] * sum : y[i] * (g[i] - sum);
    }
}

static ptrdiff_t V(cross_entropy)(ptrdiff_t m, ptrdiff_t n, double scale, const char *x_, const int64_t *label,
                                  char *loss, char *p_)
{
    REAL sum[AT_ONCE], top[AT_ONCE];
    double total = 0;
    for (ptrdiff_t r = 0, rows; r < m; r += rows) {
        const REAL *x = (const REAL *)x_ + r * n;
        REAL *p = (REAL *)p_ + r * n;
        V(exp_rows)(rows = ROWS_AT(r), n, x, p, top, sum);
        for (ptrdiff_t k = 0; k < rows; k++, x += n, p += n) {
            if (label[r + k] < 0 || label[r + k] >= n)
                return r + k;
            for (ptrdiff_t i = 0; i < n; i++)
                p[i] /= sum[k];
            total += (double)V(log)(sum[k]) - ((double)x[label[r + k]] - (double)top[k]);
        }
    }
    *(REAL *)loss = (REAL)(total * scale);
    return -1;
}

static void V(cross_entropy_vjp)(ptrdiff_t m, ptrdiff_t n, double scale, const char *g, const char *p_,
                                 const int64_t *label, char *dx_)
{
    const REAL *restrict p = (const REAL *)p_;
    REAL *restrict dx = (REAL *)dx_;
    MGX_ASSERT(m >= 0 && n >= 0 && MGX_APART(p_, m * n * sizeof(REAL), dx_, m * n * sizeof(REAL)));
    const REAL weight = *(const REAL *)g * (REAL)scale;
    for (ptrdiff_t i = 0; i < m * n; i++)
        dx[i] = weight * p[i];
    for (ptrdiff_t r = 0; r < m; r++) {
        MGX_ASSERT(label[r] >= 0 && label[r] < n);
        dx[r * n + label[r]] = weight * (p[r * n + label[r]] - 1);
    }
}
