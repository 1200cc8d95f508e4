/* Softmax over the rows of x (m, n) and the cross-entropy built on it, for one dtype and ISA. */

/* max x; the nans are left to the sum, which they spoil anyway */
static REAL V(row_max)(ptrdiff_t n, const REAL *x)
{
    enum { LANES = 16 };
    REAL lane[LANES], best = x[0];
    if (n >= LANES) {
        memcpy(lane, x, sizeof lane);
        for (ptrdiff_t i = LANES; i < n; i += LANES) {
            const REAL *v = x + (i < n - LANES ? i : n - LANES);    /* the last ones overlap their neighbours */
            for (int w = 0; w < LANES; w++)
                lane[w] = v[w] > lane[w] ? v[w] : lane[w];
        }
        x = lane, n = LANES;
    }
    for (ptrdiff_t i = 1; i < n; i++)
        best = x[i] > best ? x[i] : best;
    return best;
}

/* y = exp(x - max x); returns max x, and the sum of y in *sum */
static REAL V(exp_row)(ptrdiff_t n, const REAL *restrict x, REAL *restrict y, REAL *sum)
{
    REAL top = V(row_max)(n, x);
    for (ptrdiff_t i = 0; i < n; i++)
        y[i] = V(exp)(x[i] - top);
    *sum = V(sum_contiguous)(n, (const char *)y);
    return top;
}

static void V(softmax)(ptrdiff_t m, ptrdiff_t n, int logarithm, const char *x_, char *y_)
{
    const REAL *x = (const REAL *)x_;
    REAL *y = (REAL *)y_;
    for (ptrdiff_t r = 0; r < m; r++, x += n, y += n) {
        REAL sum, top = V(exp_row)(n, x, y, &sum);
        if (logarithm) {
            REAL shift = V(log)(sum);
            for (ptrdiff_t i = 0; i < n; i++)
                y[i] = x[i] - top - shift;
        } else
            for (ptrdiff_t i = 0; i < n; i++)
                y[i] /= sum;
    }
}

/* dx = y (g - sum(g y)) for a softmax y, g - exp(y) sum(g) for its logarithm */
static void V(softmax_vjp)(ptrdiff_t m, ptrdiff_t n, int logarithm, const char *g_, const char *y_, char *dx_)
{
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
    const REAL *x = (const REAL *)x_;
    REAL *p = (REAL *)p_;
    double total = 0;
    for (ptrdiff_t r = 0; r < m; r++, x += n, p += n) {
        if (label[r] < 0 || label[r] >= n)
            return r;
        REAL sum, top = V(exp_row)(n, x, p, &sum);
        for (ptrdiff_t i = 0; i < n; i++)
            p[i] /= sum;
        total += (double)V(log)(sum) - ((double)x[label[r]] - (double)top);
    }
    *(REAL *)loss = (REAL)(total * scale);
    return -1;
}

static void V(cross_entropy_vjp)(ptrdiff_t m, ptrdiff_t n, double scale, const char *g, const char *p_,
                                 const int64_t *label, char *dx_)
{
    const REAL *restrict p = (const REAL *)p_;
    REAL *restrict dx = (REAL *)dx_;
    const REAL weight = *(const REAL *)g * (REAL)scale;
    for (ptrdiff_t i = 0; i < m * n; i++)
        dx[i] = weight * p[i];
    for (ptrdiff_t r = 0; r < m; r++)
        dx[r * n + label[r]] = weight * (p[r * n + label[r]] - 1);
}
