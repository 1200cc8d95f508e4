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

/* y (outer, n, inner) += x (outer, m, inner). Many floats are summed in double, as a place that is named millions of
   times would stand still. */
static ptrdiff_t V(scatter_add)(ptrdiff_t first, ptrdiff_t last, char *scratch, const int64_t *at, const REAL *x,
                                REAL *y, ptrdiff_t outer, ptrdiff_t n, ptrdiff_t m, ptrdiff_t inner, int shared)
{
    const int rows = shared && inner > 1, drifts = m >= DRIFTING && sizeof(REAL) < sizeof(double);
    const ptrdiff_t count = inner > 1 ? inner : m;  /* of what is added by one loop */
    double *restrict sums = (double *)scratch;
    MGX_ASSERT(last <= outer);
    for (ptrdiff_t o = first, walked = 0; o < last; o++) {
        REAL *restrict to = y + o * n * inner;
        if (drifts)
            memset(sums, 0, n * inner * sizeof(double));
        for (ptrdiff_t r = 0; r < m && !BREAKS_OFF(walked, count); r += inner > 1 ? 1 : m) {
            const REAL *restrict from = x + (o * m + r) * inner;
            const int64_t *of = at + (shared ? r : (o * m + r) * inner);
            int64_t k = *of;
            if (!WITHIN(k, n))
                return of - at;
            for (ptrdiff_t i = 0; rows && !drifts && i < count; i++)
                to[k * inner + i] += from[i];
            for (ptrdiff_t i = 0; rows && drifts && i < count; i++)
                sums[k * inner + i] += from[i];
            for (ptrdiff_t i = 0; !rows && i < count; i++) {
                k = of[i];
                if (!WITHIN(k, n))
                    return of + i - at;
                const ptrdiff_t place = inner > 1 ? k * inner + i : k;
                if (drifts)
                    sums[place] += from[i];
                else
                    to[place] += from[i];
            }
        }
        for (ptrdiff_t i = 0; drifts && i < n * inner; i++)
            to[i] = sums[i] == 0 ? to[i] : (REAL)(to[i] + sums[i]);     /* a zero keeps its sign */
    }
    return MGX_DONE;
}
