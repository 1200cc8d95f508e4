/* C (m, n) = alpha op(A) op(B) + beta C for the sizes where the BLAS at hand is weak: small, ragged, one column.
 *
 * The right-hand matrix is packed into panels of up to 32 columns and KC rows; a tile of C stays in vector
 * registers while it walks down the panel. A ragged last vector of a panel overlaps its neighbour: each tile
 * reads all its vectors of C before it writes one, so nothing is added twice. All matrices are row-major; beta
 * is 0 or 1. Chosen by a fixed rule of the sizes (see gemm below), so that runs repeat to the last bit.
 */
#include <stddef.h>
#include <string.h>

typedef float v8 __attribute__((vector_size(32)));
typedef float v8u __attribute__((vector_size(32), aligned(4), may_alias));
enum { KC = 128, NV_MAX = 4 };
#define INLINE static inline __attribute__((always_inline))

/* c (mr, 8 nv) += alpha a (mr, kc) panel (kc, 8 nv); a[i, k] at a[i * ai + k * ak]; vector v of a row at off[v] */
INLINE void tile(const int mr, const int nv, int kc, const float *a, ptrdiff_t ai, ptrdiff_t ak, const float *panel,
                 float alpha, int accumulate, float *c, ptrdiff_t ldc, const int *off)
{
    v8 sum[8][NV_MAX] = {0};
    for (int k = 0; k < kc; k++, a += ak, panel += 8 * nv)
#pragma GCC unroll 4
        for (int v = 0; v < nv; v++) {
            v8 b = *(const v8u *)(panel + 8 * v);
#pragma GCC unroll 8
            for (int i = 0; i < mr; i++)
                sum[i][v] += a[i * ai] * b;
        }
#pragma GCC unroll 8
    for (int i = 0; i < mr; i++) {
#pragma GCC unroll 4
        for (int v = 0; v < nv; v++) {
            sum[i][v] *= alpha;
            if (accumulate)
                sum[i][v] += *(v8u *)(c + i * ldc + off[v]);
        }
#pragma GCC unroll 4
        for (int v = 0; v < nv; v++)
            *(v8u *)(c + i * ldc + off[v]) = sum[i][v];
    }
}

/* The register budget: 12 sums of 8 floats, whatever the width of the panel. */
static const int rows_of[NV_MAX + 1] = {0, 8, 6, 4, 3};

static void any_tile(int mr, int nv, int kc, const float *a, ptrdiff_t ai, ptrdiff_t ak, const float *panel,
                     float alpha, int accumulate, float *c, ptrdiff_t ldc, const int *off)
{
#define CASE(MR, NV) case 8 * NV + MR - 1: tile(MR, NV, kc, a, ai, ak, panel, alpha, accumulate, c, ldc, off); break;
    switch (8 * nv + mr - 1) {
        CASE(1, 1) CASE(2, 1) CASE(3, 1) CASE(4, 1) CASE(5, 1) CASE(6, 1) CASE(7, 1) CASE(8, 1)
        CASE(1, 2) CASE(2, 2) CASE(3, 2) CASE(4, 2) CASE(5, 2) CASE(6, 2)
        CASE(1, 3) CASE(2, 3) CASE(3, 3) CASE(4, 3)
        CASE(1, 4) CASE(2, 4) CASE(3, 4)
    }
#undef CASE
}

/* to (8, 8), rows `step` apart, = transpose of from (8, 8), rows `ld` apart: pairs, then quads, then halves */
INLINE void transpose8(const float *from, ptrdiff_t ld, float *to, ptrdiff_t step)
{
    v8 x[8], y[8];
    for (int i = 0; i < 8; i++)
        x[i] = *(const v8u *)(from + i * ld);
    for (int i = 0; i < 8; i += 2) {
        y[i] = __builtin_shufflevector(x[i], x[i + 1], 0, 8, 2, 10, 4, 12, 6, 14);
        y[i + 1] = __builtin_shufflevector(x[i], x[i + 1], 1, 9, 3, 11, 5, 13, 7, 15);
    }
    for (int i = 0; i < 8; i += 4)
        for (int j = i; j < i + 2; j++) {
            x[j] = __builtin_shufflevector(y[j], y[j + 2], 0, 1, 8, 9, 4, 5, 12, 13);
            x[j + 2] = __builtin_shufflevector(y[j], y[j + 2], 2, 3, 10, 11, 6, 7, 14, 15);
        }
    for (int i = 0; i < 4; i++) {
        *(v8u *)(to + i * step) = __builtin_shufflevector(x[i], x[i + 4], 0, 1, 2, 3, 8, 9, 10, 11);
        *(v8u *)(to + (i + 4) * step) = __builtin_shufflevector(x[i], x[i + 4], 4, 5, 6, 7, 12, 13, 14, 15);
    }
}

/* to[r * step + j] = from[j * ld + r] for r < kc, j < 8; the last block overlaps its neighbour */
static void pack_transposed(int kc, const float *from, ptrdiff_t ld, float *to, ptrdiff_t step)
{
    for (int r = 0; kc >= 8 && r < kc; r += 8) {
        int start = r <= kc - 8 ? r : kc - 8;
        transpose8(from + start, ld, to + start * step, step);
    }
    for (int r = 0; kc < 8 && r < kc; r++)
        for (int j = 0; j < 8; j++)
            to[r * step + j] = from[j * ld + r];
}

/* n >= 8; b[k, j] at b[k * bk + j * bj], with bj 1 (B) or bk 1 (B transposed). */
static void small_gemm(int m, int n, int k, float alpha, const float *a, ptrdiff_t ai, ptrdiff_t ak, const float *b,
                       ptrdiff_t bk, ptrdiff_t bj, int accumulate, float *c)
{
    float panel[KC * 8 * NV_MAX] __attribute__((aligned(64)));
    for (int j0 = 0, width; j0 < n; j0 += width) {
        int left = n - j0;
        width = left <= 32 ? left : left < 40 ? 24 : 32;    /* never leave fewer than 8 columns */
        int nv = (width + 7) / 8, off[NV_MAX];
        for (int v = 0; v < nv; v++)
            off[v] = v < nv - 1 ? 8 * v : width - 8;
        for (int k0 = 0; k0 < k; k0 += KC) {
            int kc = k - k0 < KC ? k - k0 : KC;
            if (bj == 1) {
                for (int r = 0; r < kc; r++)
                    for (int v = 0; v < nv; v++)
                        *(v8 *)(panel + 8 * (r * nv + v)) = *(const v8u *)(b + (k0 + r) * bk + j0 + off[v]);
            } else {
                for (int v = 0; v < nv; v++)
                    pack_transposed(kc, b + (j0 + off[v]) * bj + k0, bj, panel + 8 * v, 8 * nv);
            }
            int tiles = (m + rows_of[nv] - 1) / rows_of[nv];
            for (int t = 0, i = 0; t < tiles; t++) {        /* rows shared out evenly: no thin last tile */
                int mr = m / tiles + (t < m % tiles);
                any_tile(mr, nv, kc, a + i * ai + k0 * ak, ai, ak, panel, alpha, accumulate || k0,
                         c + (ptrdiff_t)i * n + j0, n, off);
                i += mr;
            }
        }
    }
}

/* c (m) = a (m, k) b (k) */
static void matrix_vector(int m, int k, const float *restrict a, const float *restrict b, float *restrict c)
{
    for (int i = 0; i < m; i++, a += k) {
        float sum = 0.0f;
#pragma omp simd reduction(+ : sum)
        for (int j = 0; j < k; j++)
            sum += a[j] * b[j];
        c[i] = sum;
    }
}
