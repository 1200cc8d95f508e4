/* Attention: y = softmax(scale q k^T + mask) v, for one dtype and ISA, by tiles, so that no matrix of all scores is in
   memory. A tile of keys is packed once for many queries; each query has the largest score so far and the sum of the
   exponentials below it, and what it has read is scaled down when a larger one comes: Milakov and Gimelshein (2018),
   Dao et al. (2022). The backward pass makes the tiles once more from the largest score and the sum. Not from the
   logarithm of the sum: with the largest score added it would lose digits that exp brings back. What is later than a
   query in a causal one is not computed, but for the corner of a tile. */
#define ATTENTION_LOOP __attribute__((noinline)) static
#define LANES 16                                /* of sums and maxima, whatever the width of a vector */

/* s = scale s + mask for the first n numbers, -inf up to `wide`; gives the largest, leaving nans to the sum */
ATTENTION_LOOP REAL V(scale_scores)(ptrdiff_t n, ptrdiff_t wide, REAL scale, const REAL *restrict mask,
                                    REAL *restrict s)
{
    REAL lane[LANES];
    if (mask)
        for (ptrdiff_t j = 0; j < n; j++)
            s[j] = s[j] * scale + mask[j];
    else
        for (ptrdiff_t j = 0; j < n; j++)
            s[j] *= scale;
    for (ptrdiff_t j = n; j < wide; j++)
        s[j] = -LIBM(inf)();
    for (int w = 0; w < LANES; w++)
        lane[w] = -LIBM(inf)();
    for (ptrdiff_t j = 0; j < wide; j += LANES)
        for (int w = 0; w < LANES; w++)
            lane[w] = s[j + w] > lane[w] ? s[j + w] : lane[w];
    UNROLL for (int half = LANES / 2; half; half /= 2)
        for (int w = 0; w < half; w++)
            lane[w] = lane[w + half] > lane[w] ? lane[w + half] : lane[w];
    return lane[0];
}

/* s = exp(s - top) */
ATTENTION_LOOP void V(exp_scores)(ptrdiff_t n, REAL top, REAL *restrict s)
{
    for (ptrdiff_t j = 0; j < n; j++)
        s[j] = V(exp)(s[j] - top);
}

/* the sum of n numbers, a multiple of LANES */
ATTENTION_LOOP REAL V(sum_scores)(ptrdiff_t n, const REAL *restrict s)
{
    REAL lane[LANES] = {0};
    for (ptrdiff_t j = 0; j < n; j += LANES)
        for (int w = 0; w < LANES; w++)
            lane[w] += s[j + w];
    UNROLL for (int half = LANES / 2; half; half /= 2)
        for (int w = 0; w < half; w++)
            lane[w] += lane[w + half];
    return lane[0];
}

ATTENTION_LOOP void V(scale_row)(ptrdiff_t n, REAL scale, const REAL *x, REAL *y)
{
    for (ptrdiff_t j = 0; j < n; j++)
        y[j] = x[j] * scale;
}

/* p = exp(s - top) * inverse; ds = p * (dp - by) * scale over dp */
ATTENTION_LOOP void V(score_gradients)(ptrdiff_t n, REAL top, REAL inverse, REAL by, REAL scale, REAL *restrict s,
                                       REAL *restrict dp)
{
    for (ptrdiff_t j = 0; j < n; j++)
        s[j] = V(exp)(s[j] - top) * inverse;
    for (ptrdiff_t j = 0; j < n; j++)
        dp[j] = s[j] * (dp[j] - by) * scale;
}

/* the products of rows of x and y in the order of gemm_packed, to the bit, so that a query that reads one key alone
   gets exactly 0 for its score; several rows at once, for each is a chain of additions */
static void V(dots_as_gemm)(ptrdiff_t rows, ptrdiff_t n, const REAL *x, const REAL *y, REAL *dot)
{
    for (ptrdiff_t r = 0; r < rows; r += 8, x += 8 * n, y += 8 * n) {
        const int some = rows - r < 8 ? (int)(rows - r) : 8;
        for (ptrdiff_t j0 = 0; j0 == 0 || j0 < n; j0 += DEPTH) {
            REAL sum[8] = {0};
            for (ptrdiff_t j = j0; j < n && j < j0 + DEPTH; j++)
                for (int w = 0; w < some; w++)
                    sum[w] = sizeof(REAL) == 4 ? (REAL)FMAF(x[w * n + j], y[w * n + j], sum[w])
                                               : (REAL)FMA(x[w * n + j], y[w * n + j], sum[w]);
            for (int w = 0; w < some; w++)
                dot[r + w] = j0 ? sum[w] + dot[r + w] : sum[w];
        }
    }
}

/* how many of the `n` keys from `key` on query t reads */
INLINE ptrdiff_t V(keys_read)(ptrdiff_t t, ptrdiff_t key, ptrdiff_t n, int causal)
{
    const ptrdiff_t most = t + 1 - key;
    return !causal || most > n ? n : most > 0 ? most : 0;
}

static ptrdiff_t V(attention)(ptrdiff_t first, ptrdiff_t last, char *scratch, const REAL *q, const REAL *k,
                              const REAL *v, const REAL *mask, REAL *y, REAL *sums, ptrdiff_t batch, ptrdiff_t t,
                              ptrdiff_t s, ptrdiff_t n, ptrdiff_t p, ptrdiff_t masks, ptrdiff_t high, ptrdiff_t each,
                              int causal, double scale)
{
    const ptrdiff_t wide = WHOLE_VECTORS(p), groups = (t + GROUP - 1) / GROUP;
    REAL *keys = (REAL *)scratch, *values = keys + n * KEYS, *scores = values + KEYS * wide;
    REAL *out = scores + QUERIES * KEYS, *top = out + GROUPED(t) * wide;
    REAL *total = top + GROUPED(t);
    for (ptrdiff_t piece = first, walked = 0; piece < last; piece++) {
        const ptrdiff_t b = piece / groups, from = piece % groups * GROUP, to = t - from < GROUP ? t : from + GROUP;
        const REAL *mine = mask ? mask + b / each % masks * high * s : NULL;
        memset(out, 0, (to - from) * wide * sizeof(REAL));
        for (ptrdiff_t i = 0; i < to - from; i++)
            top[i] = -LIBM(inf)(), total[i] = 0;
        for (ptrdiff_t key = 0; key < V(keys_read)(to - 1, 0, s, causal); key += KEYS) {
            const ptrdiff_t some = s - key < KEYS ? s - key : KEYS;
            V(gemm_pack_all)(n, some, k + (b * s + key) * n, 1, n, keys);
            V(gemm_pack_all)(some, p, v + (b * s + key) * p, p, 1, values);
            for (ptrdiff_t i = from; i < to; i += QUERIES) {
                const ptrdiff_t rows = to - i < QUERIES ? to - i : QUERIES;
                const ptrdiff_t most = V(keys_read)(i + rows - 1, key, some, causal), all = WHOLE_VECTORS(most);
                if (!most)
                    continue;
                V(gemm_packed)(rows, most, n, q + (b * t + i) * n, n, 1, n, keys, some, scores, KEYS, 0);
                for (ptrdiff_t r = 0; r < rows; r++) {
                    const ptrdiff_t at = i + r - from, count = V(keys_read)(i + r, key, most, causal);
                    REAL *row = scores + r * KEYS, larger, before = top[at];
                    const REAL *add = mine ? mine + (high > 1 ? (i + r) * s : 0) + key : NULL;
                    larger = V(scale_scores)(count, all, (REAL)scale, add, row);
                    larger = larger > before ? larger : before;
                    const REAL shift = larger == -LIBM(inf)() ? 0 : larger;         /* nothing is read so far: e^-inf */
                    V(exp_scores)(all, shift, row);
                    if (before != larger && before != -LIBM(inf)()) {
                        const REAL rest = V(exp)(before - shift);
                        total[at] *= rest;
                        V(scale_row)(wide, rest, out + at * wide, out + at * wide);
                    }
                    total[at] += V(sum_scores)(all, row);
                    top[at] = larger;
                }
                V(gemm_packed)(rows, p, most, scores, KEYS, 1, some, values, p, out + (i - from) * wide, wide, 1);
                if (BREAKS_OFF(walked, rows * most))
                    return MGX_DONE;
            }
        }
        for (ptrdiff_t i = from; i < to; i++) {
            const REAL sum = total[i - from], inverse = sum != 0 ? 1 / sum : s && !mask ? LIBM(nan)("") : 0;
            V(scale_row)(p, inverse, out + (i - from) * wide, y + (b * t + i) * p);
            sums[b * t + i] = inverse == 0 ? 0 : top[i - from];
            sums[(batch + b) * t + i] = inverse;
        }
    }
    return MGX_DONE;
}

/* The gradients of q, k and v for g, of one batch after the other: each tile of keys meets all queries, of which the
   packed rows, and the gradients so far, stay in memory. */
static ptrdiff_t V(attention_vjp)(ptrdiff_t first, ptrdiff_t last, char *scratch, const REAL *g, const REAL *q,
                                  const REAL *k, const REAL *v, const REAL *y, const REAL *sums, const REAL *mask,
                                  REAL *dq, REAL *dk, REAL *dv, ptrdiff_t batch, ptrdiff_t t, ptrdiff_t s, ptrdiff_t n,
                                  ptrdiff_t p, ptrdiff_t masks, ptrdiff_t high, ptrdiff_t each, int causal,
                                  double scale)
{
    const ptrdiff_t wide = WHOLE_VECTORS(n), high_p = WHOLE_VECTORS(p), whole = (t + QUERIES - 1) / QUERIES * QUERIES;
    REAL *keys = (REAL *)scratch, *values = keys + n * KEYS, *rows_of_k = values + p * KEYS;
    REAL *scores = rows_of_k + KEYS * wide, *ds = scores + QUERIES * KEYS, *dkeys = ds + QUERIES * KEYS;
    REAL *dvalues = dkeys + KEYS * wide, *by = dvalues + KEYS * high_p, *queries = by + whole;
    REAL *gs = queries + whole * wide, *dqueries = gs + whole * high_p;
    for (ptrdiff_t b = first, walked = 0; b < last; b++) {
        const REAL *mine = mask ? mask + b / each % masks * high * s : NULL;
        const REAL *qb = q + b * t * n, *gb = g + b * t * p, *yb = y + b * t * p;
        for (ptrdiff_t i = 0; i < t; i += QUERIES) {
            const ptrdiff_t rows = t - i < QUERIES ? t - i : QUERIES;
            V(gemm_pack_all)(rows, n, qb + i * n, n, 1, queries + i * wide);
            V(gemm_pack_all)(rows, p, gb + i * p, p, 1, gs + i * high_p);
            V(dots_as_gemm)(rows, p, gb + i * p, yb + i * p, by + i);
        }
        memset(dqueries, 0, whole * wide * sizeof(REAL));
        for (ptrdiff_t key = 0; key < s; key += KEYS) {
            const ptrdiff_t some = s - key < KEYS ? s - key : KEYS;
            V(gemm_pack_all)(n, some, k + (b * s + key) * n, 1, n, keys);
            V(gemm_pack_all)(p, some, v + (b * s + key) * p, 1, p, values);
            V(gemm_pack_all)(some, n, k + (b * s + key) * n, n, 1, rows_of_k);
            memset(dkeys, 0, KEYS * (wide + high_p) * sizeof(REAL));
            for (ptrdiff_t i = 0; i < t; i += QUERIES) {
                const ptrdiff_t rows = t - i < QUERIES ? t - i : QUERIES;
                const ptrdiff_t most = V(keys_read)(i + rows - 1, key, some, causal), all = WHOLE_VECTORS(most);
                if (!most)
                    continue;
                V(gemm_packed)(rows, most, n, qb + i * n, n, 1, n, keys, some, scores, KEYS, 0);
                V(gemm_packed)(rows, most, p, gb + i * p, p, 1, p, values, some, ds, KEYS, 0);
                for (ptrdiff_t r = 0; r < rows; r++) {
                    const ptrdiff_t at = b * t + i + r, count = V(keys_read)(i + r, key, most, causal);
                    const REAL *add = mine ? mine + (high > 1 ? (i + r) * s : 0) + key : NULL;
                    REAL *row = scores + r * KEYS, *drow = ds + r * KEYS;
                    V(scale_scores)(count, all, (REAL)scale, add, row);
                    V(score_gradients)(count, sums[at], sums[batch * t + at], by[i + r], (REAL)scale, row, drow);
                    memset(row + count, 0, (all - count) * sizeof(REAL));
                    memset(drow + count, 0, (all - count) * sizeof(REAL));
                }
                V(gemm_packed)(rows, n, most, ds, KEYS, 1, some, rows_of_k, n, dqueries + i * wide, wide, 1);
                V(gemm_packed)(most, n, rows, ds, 1, KEYS, rows, queries + i * wide, n, dkeys, wide, 1);
                V(gemm_packed)(most, p, rows, scores, 1, KEYS, rows, gs + i * high_p, p, dvalues, high_p, 1);
                if (BREAKS_OFF(walked, rows * most))
                    return MGX_DONE;
            }
            for (ptrdiff_t j = 0; j < some; j++) {
                memcpy(dk + (b * s + key + j) * n, dkeys + j * wide, n * sizeof(REAL));
                memcpy(dv + (b * s + key + j) * p, dvalues + j * high_p, p * sizeof(REAL));
            }
        }
        for (ptrdiff_t i = 0; i < t; i++)
            memcpy(dq + (b * t + i) * n, dqueries + i * wide, n * sizeof(REAL));
    }
    return MGX_DONE;
}
#undef ATTENTION_LOOP
#undef LANES
