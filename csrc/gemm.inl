/* c (m, n) = alpha a (m, k) b (k, n) + beta c, for one dtype and ISA: the sizes where BLAS is weak - small, ragged,
   one column. a and b have any strides, in elements; c has rows ldc apart.

   A tile of c stays in vector registers while it walks down k, one row of b and one column of a at a time
   (Goto and van de Geijn, 2008, without their packing of a: here it rests in the first cache). Rows of b are read
   where they lie; columns are first turned into a panel, by squares of 16 bytes. Ragged n: the last vector of a
   panel overlaps its neighbour, and a tile reads a row of c before it writes it, so nothing is added twice; an n
   below one vector is computed on the side, with zeros. What it takes is decided by sizes and strides alone, so
   that runs repeat to the last bit. */
#include "vectors.h"
#ifdef SHUFFLES
#if defined(__clang__)                          /* the sums below may fuse where the processor can */
#pragma clang fp contract(fast)
#else
#pragma GCC push_options
#pragma GCC optimize("fp-contract=fast")
#endif
typedef REAL VEC __attribute__((vector_size(BYTES), aligned(sizeof(REAL)), may_alias));
typedef REAL FEW __attribute__((vector_size(16), aligned(sizeof(REAL)), may_alias));
typedef int WORDS __attribute__((vector_size(BYTES), aligned(sizeof(REAL)), may_alias));
typedef int SIXTEEN __attribute__((vector_size(16), aligned(sizeof(REAL)), may_alias));

/* Whether this is as fast as OpenBLAS, measured on Zen 3: not where most lanes idle, where packing or writing c is
   all the work, or where a and b outgrow the caches. */
static int V(gemm_takes)(ptrdiff_t m, ptrdiff_t n, ptrdiff_t k, ptrdiff_t ai)
{
    double size = (double)m * n;
    if (size > (k <= 8 ? 3e4 : 1.3e5) || size * k > (sizeof(REAL) == 4 ? 7e6 : 2e6))
        return 0;
    if (n >= W)
        return k > 4 || n <= 96;
    if (k < 4)
        return m <= 64;
    return n > W / 2 || (ai == 1 && m >= 16) ? m <= 128 || k >= 16 : m <= 128 && k <= 64;
}

/* c (mr, nv vectors) = alpha a (mr, k) b (k, nv vectors) [+ c]; a[i, r] at a[i * ai + r * ak], rows of b bk apart;
   vector v of a row starts at v * W, the last one at b_last and c_last */
INLINE void V(gemm_tile)(const int mr, const int nv, ptrdiff_t k, const REAL *a, ptrdiff_t ai, ptrdiff_t ak,
                         const REAL *b, ptrdiff_t bk, ptrdiff_t b_last, REAL alpha, int add,
                         REAL *c, ptrdiff_t ldc, ptrdiff_t c_last)
{
    VEC sum[8][WIDEST] = {0};
    for (ptrdiff_t r = 0; r < k; r++, a += ak, b += bk)
        if (BYTES < 64 && nv > mr)                  /* the shorter side is kept, the longer passes by: 16 registers */
            UNROLL for (int v = 0; v < nv; v++)
                UNROLL for (int i = 0; i < mr; i++)
                    sum[i][v] += a[i * ai] * *(const VEC *)(b + (v < nv - 1 ? v * W : b_last));
        else {
            VEC row[WIDEST];
            UNROLL for (int v = 0; v < nv; v++) {
                row[v] = *(const VEC *)(b + (v < nv - 1 ? v * W : b_last));
                IN_REGISTER(row[v]);
            }
            UNROLL for (int i = 0; i < mr; i++)
                UNROLL for (int v = 0; v < nv; v++)
                    sum[i][v] += a[i * ai] * row[v];
        }
    UNROLL for (int i = 0; i < mr; i++, c += ldc) {
        UNROLL for (int v = 0; v < nv; v++) {
            sum[i][v] *= alpha;
            if (add)
                sum[i][v] += *(VEC *)(c + (v < nv - 1 ? v * W : c_last));
        }
        UNROLL for (int v = 0; v < nv; v++)
            *(VEC *)(c + (v < nv - 1 ? v * W : c_last)) = sum[i][v];
    }
}

/* the register budget, whatever the width of the panel: 12 sums of 16 registers, 24 of 32 */
static const int V(gemm_rows)[WIDEST + 1] = {0, 8, BYTES < 64 ? 6 : 8, BYTES < 64 ? 4 : 8, BYTES < 64 ? 3 : 6};

__attribute__((noinline))
static void V(gemm_any_tile)(int mr, int nv, ptrdiff_t k, const REAL *a, ptrdiff_t ai, ptrdiff_t ak, const REAL *b,
                             ptrdiff_t bk, ptrdiff_t b_last, REAL alpha, int add, REAL *c, ptrdiff_t ldc,
                             ptrdiff_t c_last)
{
#define CASE(MR, NV) \
    case 8 * NV + MR - 1: V(gemm_tile)(MR, NV, k, a, ai, ak, b, bk, b_last, alpha, add, c, ldc, c_last); break;
    switch (8 * nv + mr - 1) {
        CASE(1, 1) CASE(2, 1) CASE(3, 1) CASE(4, 1) CASE(5, 1) CASE(6, 1) CASE(7, 1) CASE(8, 1)
        CASE(1, 2) CASE(2, 2) CASE(3, 2) CASE(4, 2) CASE(5, 2) CASE(6, 2)
        CASE(1, 3) CASE(2, 3) CASE(3, 3) CASE(4, 3)
        CASE(1, 4) CASE(2, 4) CASE(3, 4)
#if BYTES == 64
        CASE(7, 2) CASE(8, 2) CASE(5, 3) CASE(6, 3) CASE(7, 3) CASE(8, 3) CASE(4, 4) CASE(5, 4) CASE(6, 4)
#endif
    }
#undef CASE
}

/* to[r * step + j] = from[j * ld + r]; r < k, k >= SQUARE, j < W; the last squares overlap their neighbours */
INLINE void V(gemm_turn)(ptrdiff_t k, const REAL *from, ptrdiff_t ld, REAL *to, ptrdiff_t step)
{
    for (ptrdiff_t r0 = 0; r0 < k; r0 += SQUARE) {
        ptrdiff_t r = r0 < k - SQUARE ? r0 : k - SQUARE;
        WORDS row[SQUARE], next[SQUARE];
        UNROLL for (int i = 0; i < SQUARE; i++) {
#define LANE(lane) (*(const SIXTEEN *)(from + (lane * SQUARE + i) * ld + r))
            row[i] = LANES_OF(LANE);
        }
        UNROLL for (int half = SQUARE; half > 1; half /= 2) {       /* one riffle of the rows per bit of their number */
            UNROLL for (int i = 0; i < SQUARE / 2; i++) {
                WORDS x = row[i], y = row[i + SQUARE / 2];
                next[2 * i] = SQUARE == 4 ? RIFFLE(x, y, 0, NEXT, 1, NEXT + 1) : RIFFLE(x, y, 0, 1, NEXT, NEXT + 1);
                next[2 * i + 1] = SQUARE == 4 ? RIFFLE(x, y, 2, NEXT + 2, 3, NEXT + 3)
                                              : RIFFLE(x, y, 2, 3, NEXT + 2, NEXT + 3);
            }
            UNROLL for (int i = 0; i < SQUARE; i++)
                row[i] = next[i];
        }
        UNROLL for (int i = 0; i < SQUARE; i++)
            *(WORDS *)(to + (r + i) * step) = row[i];
    }
}

/* one vector of a panel, of the first W of the n columns of b (k, n), zeros beyond n: rows `step` apart */
static void V(gemm_pack_vector)(ptrdiff_t k, ptrdiff_t n, const REAL *b, ptrdiff_t bk, ptrdiff_t bj, REAL *to,
                                ptrdiff_t step)
{
    if (bk == 1 && k >= SQUARE && n >= W) {
        V(gemm_turn)(k, b, bj, to, step);
        return;
    }
    for (ptrdiff_t r = 0; r < k; r++) {
        int whole = bj == 1 && n >= W;
        *(VEC *)(to + r * step) = whole ? *(const VEC *)(b + r * bk) : (VEC){0};
        for (ptrdiff_t j = 0; !whole && j < W && j < n; j++)
            to[r * step + j] = b[r * bk + j * bj];
    }
}

/* panel (k, nv vectors) = b (k, n), zeros beyond n; vector v from column v * W on, the last from b_last on */
static void V(gemm_pack)(ptrdiff_t k, int nv, ptrdiff_t n, ptrdiff_t b_last, const REAL *b, ptrdiff_t bk, ptrdiff_t bj,
                         REAL *panel)
{
    for (int v = 0; v < nv; v++)
        V(gemm_pack_vector)(k, n, b + (v < nv - 1 ? v * W : b_last) * bj, bk, bj, panel + v * W, nv * W);
}

/* All panels of b (k, n), which many products read: zeros up to a whole vector. */
static void V(gemm_pack_all)(ptrdiff_t k, ptrdiff_t n, const REAL *b, ptrdiff_t bk, ptrdiff_t bj, REAL *panels)
{
    for (ptrdiff_t j = 0; j < n; j += WIDEST * W) {
        const int nv = n - j < WIDEST * W ? (n - j + W - 1) / W : WIDEST;
        for (int v = 0; v < nv; v++)
            V(gemm_pack_vector)(k, n - j - v * W, b + (j + v * W) * bj, bk, bj, panels + v * W, nv * W);
        panels += k * nv * W;
    }
}

/* c (m, n) = a (m, k) b [+ c], where b are the first k of `depth` rows and the first n of `width` columns that were
   packed; a[i, r] at a[i * ai + r * ak]; rows of c are ldc apart and have room for whole panels. The bits of a row do
   not depend on m. */
static void V(gemm_packed)(ptrdiff_t m, ptrdiff_t n, ptrdiff_t k, const REAL *a, ptrdiff_t ai, ptrdiff_t ak,
                           ptrdiff_t depth, const REAL *panels, ptrdiff_t width, REAL *c, ptrdiff_t ldc, int add)
{
    for (ptrdiff_t j = 0; j < n; j += WIDEST * W) {
        const int nv = width - j < WIDEST * W ? (width - j + W - 1) / W : WIDEST;
        const ptrdiff_t tiles = (m + V(gemm_rows)[nv] - 1) / V(gemm_rows)[nv];
        for (ptrdiff_t r = 0; r == 0 || r < k; r += DEPTH) {
            const ptrdiff_t some = k - r < DEPTH ? k - r : DEPTH;
            for (ptrdiff_t t = 0, i = 0, mr; t < tiles; t++, i += mr) {
                mr = m / tiles + (t < m % tiles);
                V(gemm_any_tile)(mr, nv, some, a + i * ai + r * ak, ai, ak, panels + r * nv * W, nv * W, (nv - 1) * W,
                                 1, add || r, c + i * ldc + j, ldc, (nv - 1) * W);
            }
        }
        panels += depth * nv * W;
    }
}

/* c (mr, nr) = alpha a (mr, k) b (k, nr) [+ c] where rows of a and columns of b lie along k: so do the vectors, and
   nothing is turned */
INLINE void V(gemm_dots)(const int mr, const int nr, ptrdiff_t k, const REAL *a, ptrdiff_t ai, const REAL *b,
                         ptrdiff_t bj, REAL alpha, int add, REAL *c, ptrdiff_t ldc)
{
    VEC sum[4][3] = {0};
    ptrdiff_t whole = k - k % W;
    for (ptrdiff_t r = 0; r < whole; r += W)
        UNROLL for (int i = 0; i < mr; i++)
            UNROLL for (int j = 0; j < nr; j++)
                sum[i][j] += *(const VEC *)(a + i * ai + r) * *(const VEC *)(b + j * bj + r);
    UNROLL for (int i = 0; i < mr; i++)
        UNROLL for (int j = 0; j < nr; j++) {
            FEW few = {0};
            UNROLL for (int part = 0; part < W / SQUARE; part++)
                few += ((FEW *)&sum[i][j])[part];
            REAL dot = SQUARE == 4 ? (few[0] + few[1 % SQUARE]) + (few[2 % SQUARE] + few[3 % SQUARE]) : few[0] + few[1];
            for (ptrdiff_t r = whole; r < k; r++)
                dot += a[i * ai + r] * b[j * bj + r];
            dot *= alpha;
            c[i * ldc + j] = add ? c[i * ldc + j] + dot : dot;
        }
}

__attribute__((noinline))
static void V(gemm_any_dots)(int mr, int nr, ptrdiff_t k, const REAL *a, ptrdiff_t ai, const REAL *b, ptrdiff_t bj,
                             REAL alpha, int add, REAL *c, ptrdiff_t ldc)
{
#define CASE(MR, NR) case 4 * NR + MR - 1: V(gemm_dots)(MR, NR, k, a, ai, b, bj, alpha, add, c, ldc); break;
    switch (4 * nr + mr - 1) {
        CASE(1, 1) CASE(2, 1) CASE(3, 1) CASE(4, 1)
        CASE(1, 2) CASE(2, 2) CASE(3, 2) CASE(4, 2)
        CASE(1, 3) CASE(2, 3) CASE(3, 3) CASE(4, 3)
    }
#undef CASE
}

static int V(gemm_small)(ptrdiff_t m, ptrdiff_t n, ptrdiff_t k, double alpha, const char *a_, ptrdiff_t ai,
                         ptrdiff_t ak, const char *b_, ptrdiff_t bk, ptrdiff_t bj, double beta, char *c_,
                         ptrdiff_t ldc)
{
    MGX_ASSERT(m >= 0 && n >= 0 && k >= 0 && (ldc >= n || m <= 1));
    MGX_ASSERT(MGX_ALIGNED(a_, REAL) && MGX_ALIGNED(b_, REAL) && MGX_ALIGNED(c_, REAL));
    const REAL *a = (const REAL *)a_, *b = (const REAL *)b_;
    REAL *c = (REAL *)c_, panel[DEPTH * WIDEST * W] __attribute__((aligned(64))), side[8 * W];
    if (n == 1 && ldc == 1 && m > 1)                /* one column: as one row, c^T = b^T a^T */
        return V(gemm_small)(1, m, k, alpha, b_, bj, bk, a_, ak, ai, beta, c_, m);
    if ((beta != 0 && beta != 1) || !V(gemm_takes)(m, n, k, ai))
        return 0;
    if (ak == 1 && bk == 1 && k >= 8 * W && m <= FLAT) {
        for (ptrdiff_t j = 0; j < n; j += 3)
            for (ptrdiff_t i = 0; i < m; i += 4)
                V(gemm_any_dots)(m - i < 4 ? m - i : 4, n - j < 3 ? n - j : 3, k, a + i * ai, ai, b + j * bj, bj,
                                 alpha, beta != 0, c + i * ldc + j, ldc);
        return 1;
    }
    for (ptrdiff_t j = 0, width; j < n; j += width) {
        ptrdiff_t left = n - j;
        width = left <= WIDEST * W ? left : left < (WIDEST + 1) * W ? (WIDEST - 1) * W : WIDEST * W;  /* W stay */
        int nv = (width + W - 1) / W;
        ptrdiff_t last = n < W ? 0 : width - W, tiles = (m + V(gemm_rows)[nv] - 1) / V(gemm_rows)[nv];
        for (ptrdiff_t r = 0; r == 0 || r < k; r += DEPTH) {
            ptrdiff_t depth = k - r < DEPTH ? k - r : DEPTH, lead = bk, b_last = last;
            const REAL *rows = b + r * bk + j * bj;
            if (bj != 1 || n < W || (tiles >= 8 && depth > DEPTH / 2)) {
                V(gemm_pack)(depth, nv, n, last, rows, bk, bj, panel);
                rows = panel, lead = nv * W, b_last = (nv - 1) * W;
            }
            for (ptrdiff_t t = 0, i = 0, mr; t < tiles; t++, i += mr) {
                mr = m / tiles + (t < m % tiles);   /* rows shared out evenly: no thin last tile */
                int add = beta != 0 || r, narrow = n < W;
                REAL *to = c + i * ldc + j;
                V(gemm_any_tile)(mr, nv, depth, a + i * ai + r * ak, ai, ak, rows, lead, b_last, alpha, add && !narrow,
                                 narrow ? side : to, narrow ? W : ldc, last);
                for (ptrdiff_t y = 0; narrow && y < n; y++)
                    for (ptrdiff_t x = 0; x < mr; x++)
                        to[x * ldc + y] = side[x * W + y] + (add ? to[x * ldc + y] : 0);
            }
        }
    }
    return 1;
}
#if defined(__clang__)
#pragma clang fp contract(off)
#else
#pragma GCC pop_options
#endif
#else
static int V(gemm_small)(ptrdiff_t m, ptrdiff_t n, ptrdiff_t k, double alpha, const char *a, ptrdiff_t ai, ptrdiff_t ak,
                   const char *b, ptrdiff_t bk, ptrdiff_t bj, double beta, char *c, ptrdiff_t ldc)
{
    return 0;
}

static void V(gemm_pack_all)(ptrdiff_t k, ptrdiff_t n, const REAL *b, ptrdiff_t bk, ptrdiff_t bj, REAL *panels)
{
    for (ptrdiff_t r = 0; r < k; r++)
        for (ptrdiff_t j = 0; j < n; j++)
            panels[r * n + j] = b[r * bk + j * bj];
}

static void V(gemm_packed)(ptrdiff_t m, ptrdiff_t n, ptrdiff_t k, const REAL *a, ptrdiff_t ai, ptrdiff_t ak,
                           ptrdiff_t depth, const REAL *panels, ptrdiff_t width, REAL *c, ptrdiff_t ldc, int add)
{
    for (ptrdiff_t i = 0; i < m; i++) {
        for (ptrdiff_t j = 0; !add && j < n; j++)
            c[i * ldc + j] = 0;
        for (ptrdiff_t r = 0; r < k; r++)
            for (ptrdiff_t j = 0; j < n; j++)
                c[i * ldc + j] += a[i * ai + r * ak] * panels[r * width + j];
    }
}
#endif

static ptrdiff_t V(gemm)(const REAL *a, const REAL *b, REAL *c, int ta, int tb, ptrdiff_t m, ptrdiff_t n, ptrdiff_t k,
                         ptrdiff_t lda, ptrdiff_t ldb, ptrdiff_t ldc, double alpha, double beta)
{
    if (V(gemm_small)(m, n, k, alpha, (const char *)a, ta ? 1 : lda, ta ? lda : 1, (const char *)b, tb ? 1 : ldb,
                      tb ? ldb : 1, beta, (char *)c, ldc))
        return MGX_DONE;
    return V(mgx_blas)(ta, tb, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc);
}
