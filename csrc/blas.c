/* The BLAS that whoever loads the kernels has found: two function pointers. It is column-major and so sees every matrix
   transposed: it is asked for c^T = op(b)^T op(a)^T. */
#include "kernels.h"

static mgx_sgemm sgemm;
static mgx_dgemm dgemm;

void mgx_set_blas(mgx_sgemm s, mgx_dgemm d)
{
    sgemm = s, dgemm = d;
}

#define PRODUCT(name, REAL, gemm) \
ptrdiff_t name(int ta, int tb, ptrdiff_t m, ptrdiff_t n, ptrdiff_t k, double alpha, const REAL *a, ptrdiff_t lda, \
               const REAL *b, ptrdiff_t ldb, double beta, REAL *c, ptrdiff_t ldc) \
{ \
    int M = (int)n, N = (int)m, K = (int)k, LDA = (int)ldb, LDB = (int)lda, LDC = (int)ldc; \
    REAL one = (REAL)alpha, two = (REAL)beta; \
    if (!gemm) \
        return MGX_DECLINED; \
    gemm(tb ? "T" : "N", ta ? "T" : "N", &M, &N, &K, &one, (REAL *)b, &LDA, (REAL *)a, &LDB, &two, c, &LDC); \
    return MGX_DONE; \
}
PRODUCT(mgx_blas_f32, float, sgemm)
PRODUCT(mgx_blas_f64, double, dgemm)
