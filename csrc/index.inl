/* What is picked from x (outer, n, inner), and added to it, at indices along its middle axis, for one dtype and ISA. at
   (outer, m, inner) has an index for each element or, if it is shared, one for each of m rows of `inner` elements; a
   negative one counts from the end. The result is the position in `at` of the first that is none of the n, or DONE. */

#ifndef WITHIN                                  /* once for both dtypes */
#define WITHIN(k, n) ((uint64_t)((k) += (k) < 0 ? (n) : 0) < (uint64_t)(n))
#endif

/* rows first to last - 1 of outer * m */
static ptrdiff_t V(gather)(ptrdiff_t first, ptrdiff_t last, const REAL *x, const int64_t *at, REAL *restrict y,
                           ptrdiff_t outer, ptrdiff_t n, ptrdiff_t m, ptrdiff_t inner, int shared)
{
    MGX_ASSERT(last <= outer * m);
    for (ptrdiff_t r = first, count; r < last; r += inner == 1 ? count : 1) {
        const REAL *own = x + r / m * n * inner;
        if (shared && inner > 1) {
            int64_t k = at[r % m];
            if (!WITHIN(k, n))
                return r % m;
            memcpy(y + r * inner, own + k * inner, inner * sizeof(REAL));
            continue;
        }
        const int64_t *from = at + (shared ? r % m : r * inner);
        count = inner > 1 ? inner : last - r < m - r % m ? last - r : m - r % m;   /* those that stay within `own` */
        for (ptrdiff_t i = 0; i < count; i++) {
            int64_t k = from[i];
            if (!WITHIN(k, n))
                return from + i - at;
            y[r * inner + i] = own[inner > 1 ? k * inner + i : k];
        }
    }
    return MGX_DONE;
}

/* y (outer, n, inner) += x (outer, m, inner) */
static ptrdiff_t V(scatter_add)(ptrdiff_t first, ptrdiff_t last, const int64_t *at, const REAL *x, REAL *y,
                                ptrdiff_t outer, ptrdiff_t n, ptrdiff_t m, ptrdiff_t inner, int shared)
{
    const int rows = shared && inner > 1;
    const ptrdiff_t count = inner > 1 ? inner : m;  /* of what is added by one loop */
    MGX_ASSERT(last <= outer);
    for (ptrdiff_t r = first * m, walked = 0; r < last * m && !BREAKS_OFF(walked, count); r += inner > 1 ? 1 : m) {
        REAL *restrict to = y + r / m * n * inner;
        const REAL *restrict from = x + r * inner;
        const int64_t *of = at + (shared ? r % m : r * inner);
        int64_t k = *of;
        if (!WITHIN(k, n))
            return of - at;
        for (ptrdiff_t i = 0; rows && i < count; i++)
            to[k * inner + i] += from[i];
        for (ptrdiff_t i = 0; !rows && i < count; i++) {
            k = of[i];
            if (!WITHIN(k, n))
                return of + i - at;
            to[inner > 1 ? k * inner + i : k] += from[i];
        }
    }
    return MGX_DONE;
}
