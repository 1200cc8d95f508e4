/* Reductions of x (outer, n, inner) over its middle axis, for one dtype and ISA.
   A sum is a fixed tree: WIDTH running sums, flushed every 64 additions into the next of four levels, so the
   error grows with log n and the bits do not depend on threads. One routine serves both directions: a long
   contiguous axis is read as rows of WIDTH elements. */
#define WIDTH 32

/* sum[w] = sum over r of x[r][w]; w < width <= WIDTH, rows `stride` bytes apart, elements contiguous */
static inline __attribute__((always_inline))
void V(sum_run)(ptrdiff_t rows, const ptrdiff_t width, ptrdiff_t stride, const char *x, REAL *restrict sum)
{
    REAL lane[WIDTH] = {0};
    for (ptrdiff_t r = 0; r < rows; r++, x += stride)
        for (ptrdiff_t w = 0; w < width; w++)
            lane[w] += ((const REAL *)x)[w];
    for (ptrdiff_t w = 0; w < width; w++)
        sum[w] = lane[w];
}

/* total[w] += the same, as a tree */
static void V(sum_rows)(ptrdiff_t rows, ptrdiff_t width, ptrdiff_t stride, const char *x, REAL *total)
{
    REAL level[4][WIDTH] = {{0}};
    for (ptrdiff_t r = 0; r < rows; r += 64, x += 64 * stride) {
        const ptrdiff_t run = rows - r < 64 ? rows - r : 64;
        switch (width) {                            /* widths that lie in registers */
        case WIDTH: V(sum_run)(run, WIDTH, stride, x, level[0]); break;
        case WIDTH / 2: V(sum_run)(run, WIDTH / 2, stride, x, level[0]); break;
        case WIDTH / 4: V(sum_run)(run, WIDTH / 4, stride, x, level[0]); break;
        default: V(sum_run)(run, width, stride, x, level[0]);
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

/* the sum of n contiguous elements */
static REAL V(sum_contiguous)(ptrdiff_t n, const char *x)
{
    const REAL *restrict v = (const REAL *)x;
    REAL lane[WIDTH] = {0};
    if (n < 64 * WIDTH)                             /* too short for a flush: the same sums without the levels */
        for (; n >= WIDTH; n -= WIDTH, v += WIDTH)
            for (int w = 0; w < WIDTH; w++)
                lane[w] += v[w];
    else {
        V(sum_rows)(n / WIDTH, WIDTH, WIDTH * sizeof(REAL), x, lane);
        v += n / WIDTH * WIDTH, n %= WIDTH;
    }
    for (ptrdiff_t w = 0; w < n; w++)
        lane[w] += v[w];
    UNROLL for (int half = WIDTH / 2; half; half /= 2)
        for (int w = 0; w < half; w++)
            lane[w] += lane[w + half];
    return lane[0];
}

static ptrdiff_t V(sum)(ptrdiff_t first, ptrdiff_t last, const char *x, REAL *out, ptrdiff_t outer, ptrdiff_t n,
                        ptrdiff_t inner, const ptrdiff_t *strides, double scale)
{
    x += first * strides[0], out += first * inner;
    for (ptrdiff_t o = first; o < last; o++, x += strides[0], out += inner) {
        if (inner == 1 && strides[1] == sizeof(REAL)) {
            out[0] = V(sum_contiguous)(n, x) * (REAL)scale;
            continue;
        }
        for (ptrdiff_t i = 0, width; i < inner; i += width) {
            REAL total[WIDTH] = {0};
            for (width = WIDTH / 4; width < inner - i && 2 * width <= inner && width < WIDTH; width *= 2)
                ;
            width = width < inner ? width : inner;
            i = i < inner - width ? i : inner - width;      /* the last columns overlap their neighbours */
            V(sum_rows)(n, width, strides[1], x + i * strides[2], total);
            for (ptrdiff_t w = 0; w < width; w++)
                out[i + w] = total[w] * (REAL)scale;
        }
    }
    return MGX_DONE;
}

/* y = sign * max(sign * x): the maximum for sign 1, the minimum for -1; a nan wins */
static ptrdiff_t V(amax)(ptrdiff_t first, ptrdiff_t last, const char *x, REAL *out, ptrdiff_t outer, ptrdiff_t n,
                         ptrdiff_t inner, const ptrdiff_t *strides, double sign)
{
    const REAL s = (REAL)sign;
    MGX_ASSERT(n > 0);
    x += first * strides[0], out += first * inner;
    for (ptrdiff_t o = first; o < last; o++, x += strides[0], out += inner)
        for (ptrdiff_t i = 0; i < inner; i++) {
            const char *column = x + i * strides[2];
            REAL best = s * *(const REAL *)column;
            for (ptrdiff_t r = 1; r < n; r++) {
                REAL v = s * *(const REAL *)(column + r * strides[1]);
                best = v > best || v != v ? v : best;
            }
            out[i] = s * best;
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
   rows of y, or -1 */
static ptrdiff_t V(add_rows)(const int64_t *at, const REAL *restrict x, REAL *y_, ptrdiff_t m, ptrdiff_t n, ptrdiff_t rows)
{
    for (ptrdiff_t i = 0; i < m; i++, x += n) {
        if (at[i] < -rows || at[i] >= rows)
            return i;
        REAL *restrict y = y_ + (at[i] < 0 ? at[i] + rows : at[i]) * n;
        for (ptrdiff_t k = 0; k < n; k++)
            y[k] += x[k];
    }
    return MGX_DONE;
}
#undef WIDTH
