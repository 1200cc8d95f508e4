/* Triangular systems, Cholesky and LU factors of row-major matrices, for one dtype and ISA: by blocks of BLOCK rows, of
   which gemm does what lies outside of the blocks (Golub and Van Loan, Matrix Computations, 2013, chapters 3 and 4).
   Where BLAS is wanted and not there yet, a body declines and starts again from its operands. */
#ifndef BLOCK                                   /* once for both dtypes */
#define BLOCK 32
#define TILE 16                                 /* rows and columns that are turned together */
#define EACH_TILE(i, j, n) \
    for (ptrdiff_t i##_0 = 0; i##_0 < n; i##_0 += TILE) \
        for (ptrdiff_t j##_0 = 0; j##_0 <= i##_0; j##_0 += TILE) \
            for (ptrdiff_t i = i##_0; i < n && i < i##_0 + TILE; i++) \
                for (ptrdiff_t j = j##_0; j <= i && j < j##_0 + TILE; j++)
#endif

/* `width` columns of the rows of one block: x of op(t) x = x, from the first row on, or from the last */
INLINE void V(substitute_columns)(ptrdiff_t n, const ptrdiff_t width, const REAL *t, ptrdiff_t down, ptrdiff_t across,
                                  int from_last, int unit, REAL *x, ptrdiff_t ldx)
{
    for (ptrdiff_t k = 0; k < n; k++) {
        const ptrdiff_t i = from_last ? n - 1 - k : k, first = from_last ? i + 1 : 0;
        REAL sum[4 * W];
        for (ptrdiff_t w = 0; w < width; w++)
            sum[w] = x[i * ldx + w];
        for (ptrdiff_t j = first; j < first + k; j++)
            for (ptrdiff_t w = 0; w < width; w++)
                sum[w] -= t[i * down + j * across] * x[j * ldx + w];
        for (ptrdiff_t w = 0; w < width; w++)
            x[i * ldx + w] = unit ? sum[w] : sum[w] / t[i * down + i * across];
    }
}

static void V(substitute_block)(ptrdiff_t n, ptrdiff_t k, const REAL *t, ptrdiff_t down, ptrdiff_t across,
                                int from_last, int unit, REAL *x, ptrdiff_t ldx)
{
    for (ptrdiff_t j = 0; j < k;)
        if (k - j >= 4 * W) {
            V(substitute_columns)(n, 4 * W, t, down, across, from_last, unit, x + j, ldx);
            j += 4 * W;
        } else if (k - j >= 4) {
            V(substitute_columns)(n, 4, t, down, across, from_last, unit, x + j, ldx);
            j += 4;
        } else {
            V(substitute_columns)(n, 1, t, down, across, from_last, unit, x + j, ldx);
            j++;
        }
}

/* x (n, k) of op(t) x = x, t (n, n) triangular with rows ld apart */
static ptrdiff_t V(substitute)(ptrdiff_t n, ptrdiff_t k, const REAL *t, ptrdiff_t ld, int transposed, int upper,
                               int unit, REAL *x)
{
    const int from_last = upper != transposed;
    const ptrdiff_t down = transposed ? 1 : ld, across = transposed ? ld : 1;
    for (ptrdiff_t done = 0, size = 0, walked = 0; done < n && !BREAKS_OFF(walked, size * done * k); done += size) {
        size = n - done < BLOCK ? n - done : BLOCK;
        const ptrdiff_t at = from_last ? n - done - size : done, known = from_last ? at + size : 0;
        if (done && V(gemm)(t + at * down + known * across, x + known * k, x + at * k, transposed, 0, size, k, done,
                            ld, k, k, -1, 1) != MGX_DONE)
            return MGX_DECLINED;
        V(substitute_block)(size, k, t + at * (ld + 1), down, across, from_last, unit, x + at * k, k);
    }
    return MGX_DONE;
}

/* Is one of the numbers of a triangle inf or nan? */
static int V(odd_triangle)(ptrdiff_t n, const REAL *t, int upper, int unit)
{
    int odd = 0;
    for (ptrdiff_t i = 0; i < n; i++)
        for (ptrdiff_t j = upper ? i + unit : 0; j < (upper ? n : i + 1 - unit); j++)
            odd |= !(t[i * n + j] - t[i * n + j] == 0);
    return odd;
}

static void V(all_nan)(ptrdiff_t n, REAL *x)
{
    for (ptrdiff_t i = 0; i < n; i++)
        x[i] = (REAL)__builtin_nan("");
}

static ptrdiff_t V(solve_triangular)(ptrdiff_t first, ptrdiff_t last, const REAL *t, const REAL *b, REAL *x,
                                     ptrdiff_t batch, ptrdiff_t n, ptrdiff_t k, int transposed, int upper, int unit)
{
    MGX_ASSERT(last <= batch);
    for (ptrdiff_t m = first; m < last; m++) {
        const REAL *own = t + m * n * n;
        for (ptrdiff_t i = 0; i < n && !unit; i++)
            if (own[i * (n + 1)] == 0)
                return m;
        if (V(odd_triangle)(n, own, upper, unit)) {
            V(all_nan)(n * k, x + m * n * k);
            continue;
        }
        memcpy(x + m * n * k, b + m * n * k, n * k * sizeof(REAL));
        if (V(substitute)(n, k, own, n, transposed, upper, unit, x + m * n * k) != MGX_DONE)
            return MGX_DECLINED;
    }
    return MGX_DONE;
}

/* y (n, n) = the lower L of L L^T = (a + a^T) / 2. The rows of L^T are made in the upper triangle, along which vectors
   lie; 0 if the matrix is not positive definite */
static ptrdiff_t V(cholesky_one)(ptrdiff_t n, const REAL *a, REAL *y)
{
    int odd = 0;
    EACH_TILE(i, j, n) {
        y[j * n + i] = (a[i * n + j] + a[j * n + i]) / 2;
        odd |= !(y[j * n + i] - y[j * n + i] == 0);
    }
    if (odd) {
        V(all_nan)(n * n, y);
        return MGX_DONE;
    }
    for (ptrdiff_t start = 0, size = 0, walked = 0; start < n; start += size) {
        if (BREAKS_OFF(walked, size * start * (n - start)))
            return MGX_DONE;
        size = n - start < BLOCK ? n - start : BLOCK;
        if (start && V(gemm)(y + start, y + start, y + start * (n + 1), 1, 0, size, n - start, start, n, n, n, -1, 1)
                         != MGX_DONE)
            return MGX_DECLINED;
        for (ptrdiff_t i = start; i < start + size; i++) {
            REAL *restrict row = y + i * n;
            const REAL pivot = row[i];
            if (!(pivot > 0))
                return 0;
            const REAL root = V(sqrt)(pivot);
            for (ptrdiff_t j = i; j < n; j++)
                row[j] /= root;
            for (ptrdiff_t p = i + 1; p < start + size; p++) {
                REAL *restrict next = y + p * n;
                for (ptrdiff_t j = p; j < n; j++)
                    next[j] -= row[p] * row[j];
            }
        }
    }
    EACH_TILE(i, j, n) {
        y[i * n + j] = y[j * n + i];
        y[j * n + i] = i == j ? y[i * n + j] : 0;
    }
    return MGX_DONE;
}

static ptrdiff_t V(cholesky)(ptrdiff_t first, ptrdiff_t last, const REAL *a, REAL *y, ptrdiff_t batch, ptrdiff_t n)
{
    MGX_ASSERT(last <= batch);
    for (ptrdiff_t m = first; m < last; m++) {
        const ptrdiff_t done = V(cholesky_one)(n, a + m * n * n, y + m * n * n);
        if (done != MGX_DONE)
            return done == MGX_DECLINED ? done : m;
    }
    return MGX_DONE;
}

static void V(swap_rows)(ptrdiff_t n, REAL *restrict x, REAL *restrict y)
{
    for (ptrdiff_t j = 0; j < n; j++) {
        const REAL held = x[j];
        x[j] = y[j], y[j] = held;
    }
}

/* a (n, n) becomes L below the diagonal and U from it on; row i was exchanged with row pivot[i], a number that the
   dtype has. 0 if the matrix is singular */
static ptrdiff_t V(lu_one)(ptrdiff_t n, REAL *a, REAL *pivot)
{
    for (ptrdiff_t i = 0; i < n; i++)           /* all of them are read, too, of what breaks off */
        pivot[i] = (REAL)i;
    for (ptrdiff_t start = 0, size = 0, end, walked = 0; start < n; start = end) {
        if (BREAKS_OFF(walked, size * (n - start) * (n - start)))
            return MGX_DONE;
        size = n - start < BLOCK ? n - start : BLOCK, end = start + size;
        for (ptrdiff_t c = start; c < end; c++) {
            ptrdiff_t best = c;
            REAL row[BLOCK] = {0};              /* zeros in front, so that all rows are taken whole */
            for (ptrdiff_t r = c + 1; r < n; r++)
                best = abs(a[r * n + c]) > abs(a[best * n + c]) ? r : best;
            const REAL top = a[best * n + c];
            if (top == 0)
                return 0;
            pivot[c] = (REAL)best;
            if (best != c)
                V(swap_rows)(n, a + best * n, a + c * n);
            memcpy(row + c + 1 - start, a + c * n + c + 1, (end - c - 1) * sizeof(REAL));
            for (ptrdiff_t r = c + 1; r < n; r++) {
                REAL *restrict to = a + r * n + start;
                const REAL share = to[c - start] /= top;
                if (size == BLOCK)
                    for (ptrdiff_t j = 0; j < BLOCK; j++)
                        to[j] -= share * row[j];
                else
                    for (ptrdiff_t j = 0; j < size; j++)
                        to[j] -= share * row[j];
            }
        }
        V(substitute_block)(size, n - end, a + start * (n + 1), n, 1, 0, 1, a + start * n + end, n);
        if (end < n && V(gemm)(a + end * n + start, a + start * n + end, a + end * (n + 1), 0, 0, n - end, n - end,
                               size, n, n, n, -1, 1) != MGX_DONE)
            return MGX_DECLINED;
    }
    return MGX_DONE;
}

/* x (n, k) of op(a) x = x, by the factors of a */
static ptrdiff_t V(solve_by_factors)(ptrdiff_t n, ptrdiff_t k, const REAL *lu, int transposed, REAL *x)
{
    const REAL *pivot = lu + n * n;
    for (ptrdiff_t i = 0; i < n && !transposed; i++)
        if (pivot[i] != i)
            V(swap_rows)(k, x + i * k, x + (ptrdiff_t)pivot[i] * k);
    if (V(substitute)(n, k, lu, n, transposed, transposed, !transposed, x) != MGX_DONE
        || V(substitute)(n, k, lu, n, transposed, !transposed, transposed, x) != MGX_DONE)
        return MGX_DECLINED;
    for (ptrdiff_t i = n - 1; i >= 0 && transposed; i--)
        if (pivot[i] != i)
            V(swap_rows)(k, x + i * k, x + (ptrdiff_t)pivot[i] * k);
    return MGX_DONE;
}

static ptrdiff_t V(solve)(ptrdiff_t first, ptrdiff_t last, const REAL *a, const REAL *b, REAL *x, REAL *factors,
                          ptrdiff_t batch, ptrdiff_t n, ptrdiff_t k)
{
    MGX_ASSERT(last <= batch);
    for (ptrdiff_t m = first, done; m < last; m++) {
        REAL *lu = factors + m * (n + 1) * n;
        memcpy(lu, a + m * n * n, n * n * sizeof(REAL));
        if (V(odd_triangle)(n, lu, 0, 0) || V(odd_triangle)(n, lu, 1, 1)) {
            V(all_nan)((n + 1) * n, lu);
            V(all_nan)(n * k, x + m * n * k);
            continue;
        }
        memcpy(x + m * n * k, b + m * n * k, n * k * sizeof(REAL));
        if ((done = V(lu_one)(n, lu, lu + n * n)) != MGX_DONE)
            return done == MGX_DECLINED ? done : m;
        if (V(solve_by_factors)(n, k, lu, 0, x + m * n * k) != MGX_DONE)
            return MGX_DECLINED;
    }
    return MGX_DONE;
}

static ptrdiff_t V(solve_transposed)(ptrdiff_t first, ptrdiff_t last, const REAL *factors, const REAL *b, REAL *x,
                                     ptrdiff_t batch, ptrdiff_t n, ptrdiff_t k)
{
    MGX_ASSERT(last <= batch);
    for (ptrdiff_t m = first; m < last; m++) {
        const REAL *lu = factors + m * (n + 1) * n;
        if (n && lu[n * n] != lu[n * n]) {
            V(all_nan)(n * k, x + m * n * k);
            continue;
        }
        memcpy(x + m * n * k, b + m * n * k, n * k * sizeof(REAL));
        if (V(solve_by_factors)(n, k, lu, 1, x + m * n * k) != MGX_DONE)
            return MGX_DECLINED;
    }
    return MGX_DONE;
}
