/* Along the middle axis of x (outer, n, inner): whether one holds, where the largest is, running sums, order. For one
   dtype and ISA. */

#ifndef SCAN                                    /* once for both dtypes */
#define SCAN
/* Is one of n bytes of a mask `wanted`, 0 or 1? It looks no further than the stretch with the first. */
INLINE int holds(ptrdiff_t n, const char *x, const int wanted)
{
    for (ptrdiff_t i = 0, walked = 0; i < n; i += STRETCH) {
        const ptrdiff_t end = n - i < STRETCH ? n : i + STRETCH;
        unsigned char found = 0;
        for (ptrdiff_t j = i; j < end; j++)
            found |= (x[j] != 0) == wanted;
        if (found || BREAKS_OFF(walked, STRETCH))
            return found;
    }
    return 0;
}

INLINE void holds_columns(ptrdiff_t n, ptrdiff_t count, ptrdiff_t inner, const char *x, char *restrict y,
                          const int wanted)
{
    memset(y, 0, count);
    ALONG(r, 0, n)
        for (ptrdiff_t w = 0; w < count; w++)
            y[w] |= (x[r * inner + w] != 0) == wanted;
}
#endif

static ptrdiff_t V(any)(ptrdiff_t first, ptrdiff_t last, const char *x, char *y, ptrdiff_t outer, ptrdiff_t n,
                        ptrdiff_t inner, int all)
{
    for (; inner == 1 && first < last; first++)
        y[first] = all ? !holds(n, x + first * n, 0) : holds(n, x + first * n, 1);
    EACH_STRIP(c) {
        const char *from = x + c.row * n * inner + c.first;
        char *to = y + c.row * inner + c.first;
        if (all)
            holds_columns(n, c.count, inner, from, to, 0);
        else
            holds_columns(n, c.count, inner, from, to, 1);
        for (ptrdiff_t w = 0; all && w < c.count; w++)
            to[w] = !to[w];
    }
    return MGX_DONE;
}

/* the place of the first largest s * x of n elements `stride` bytes apart, or of the first nan */
static ptrdiff_t V(place_strided)(ptrdiff_t n, const char *x, ptrdiff_t stride, const REAL s)
{
    REAL best = s * *(const REAL *)x;
    ptrdiff_t at = 0;
    ALONG(i, 1, best == best ? n : 0) {
        const REAL v = s * *(const REAL *)(x + i * stride);
        if (v != v)
            return i;
        if (v > best)
            best = v, at = i;
    }
    return at;
}

/* the first place of s * x = best, or if that is nan of a nan; n if there is none */
INLINE ptrdiff_t V(find)(ptrdiff_t n, const REAL *restrict x, const REAL s, const REAL best, const int nan)
{
    for (ptrdiff_t i = 0; i < n; i += WIDTH) {
        const ptrdiff_t end = n - i < WIDTH ? n : i + WIDTH;
        BITS found = 0;
        for (ptrdiff_t j = i; j < end; j++)
            found |= nan ? x[j] != x[j] : s * x[j] == best;
        for (ptrdiff_t j = i; found && j < end; j++)
            if (nan ? x[j] != x[j] : s * x[j] == best)
                return j;
    }
    return n;
}

/* the same as place_strided of n contiguous elements: a stretch is searched only if it has one that is larger than all
   before it */
static ptrdiff_t V(place)(ptrdiff_t n, const REAL *x, const REAL s)
{
    REAL best = s * x[0];
    ptrdiff_t at = 0;
    if (n < WIDTH)
        return V(place_strided)(n, (const char *)x, sizeof(REAL), s);
    for (ptrdiff_t i = 0, walked = 0; i < n && best == best; i += STRETCH) {
        const ptrdiff_t count = n - i < STRETCH ? n - i : STRETCH;
        const REAL top = V(largest)(count, x + i, s);
        if (top > best)
            best = top, at = i + V(find)(count, x + i, s, top, 0);
        else if (top != top)
            return i + V(find)(count, x + i, s, top, 1);
        if (BREAKS_OFF(walked, count))
            break;
    }
    return at;
}

/* and of columns that follow each other */
static void V(place_columns)(ptrdiff_t n, ptrdiff_t count, const char *x, ptrdiff_t stride, const REAL s, int64_t *at)
{
    for (ptrdiff_t width; count; count -= width, x += width * sizeof(REAL), at += width) {
        REAL best[MANY];
        width = count < MANY ? count : MANY;
        for (ptrdiff_t w = 0; w < width; w++)
            best[w] = s * ((const REAL *)x)[w], at[w] = 0;
        ALONG(r, 1, n)
            for (ptrdiff_t w = 0; w < width; w++) {
                const REAL v = s * ((const REAL *)(x + r * stride))[w];
                const int larger = v > best[w] || (v != v && best[w] == best[w]);
                at[w] = larger ? r : at[w];
                best[w] = larger ? v : best[w];
            }
    }
}

static ptrdiff_t V(argmax)(ptrdiff_t first, ptrdiff_t last, const char *x, int64_t *at, ptrdiff_t outer, ptrdiff_t n,
                           ptrdiff_t inner, const ptrdiff_t *strides, double sign)
{
    const REAL s = (REAL)sign;
    MGX_ASSERT(n > 0);
    if (inner == 1 && V(is_across)(n, inner, strides)) {
        V(place_columns)(n, last - first, x + first * strides[0], strides[1], s, at + first);
        return MGX_DONE;
    }
    for (; inner == 1 && first < last; first++) {
        const char *from = x + first * strides[0];
        at[first] = strides[1] == sizeof(REAL) ? V(place)(n, (const REAL *)from, s)
                                               : V(place_strided)(n, from, strides[1], s);
    }
    EACH_STRIP(c)
        V(place_columns)(n, c.count, x + c.row * strides[0] + c.first * strides[2], strides[1], s,
                         at + c.row * inner + c.first);
    return MGX_DONE;
}

/* Running sums from the first element on, or from the last: in doubles, for a float would stand still at 2^24 ones. */
static ptrdiff_t V(cumsum)(ptrdiff_t first, ptrdiff_t last, const REAL *restrict x, REAL *restrict y, ptrdiff_t outer,
                           ptrdiff_t n, ptrdiff_t inner, int reverse)
{
    for (; inner == 1 && first < last; first++) {
        const ptrdiff_t step = reverse ? -1 : 1;
        ptrdiff_t k = first * n + (reverse ? n - 1 : 0);
        double sum = 0;
        ALONG(i, 0, n) {
            sum += x[k];
            y[k] = (REAL)sum;
            k += step;
        }
    }
    EACH_STRIP(c)
        for (ptrdiff_t i = 0, width; i < c.count; i += width) {
            double sum[MANY] = {0};
            width = c.count - i < MANY ? c.count - i : MANY;
            ALONG(r, 0, n) {
                const ptrdiff_t k = (c.row * n + (reverse ? n - 1 - r : r)) * inner + c.first + i;
                for (ptrdiff_t w = 0; w < width; w++) {
                    sum[w] += x[k + w];
                    y[k + w] = (REAL)sum[w];
                }
            }
        }
    return MGX_DONE;
}

/* x in order, by keys whose order as integers is that of the elements: of few by insertion, of many by their digits,
   the lowest first. Both leave equal elements in their order. */
typedef struct { BITS key, at; } V(keyed);

static inline BITS V(key)(REAL x, int descending)
{
    const BITS top = (BITS)1 << (8 * sizeof(BITS) - 1);
    BITS bits;
    x += 0;                                         /* -0 is 0 */
    memcpy(&bits, &x, sizeof bits);
    bits = x != x ? ~(BITS)0 : bits & top ? ~bits : bits | top;
    return descending ? ~bits : bits;
}

static V(keyed) *V(sort_by_digits)(ptrdiff_t n, const REAL *x, ptrdiff_t stride, int descending, V(keyed) *from,
                                   V(keyed) *to)
{
    ptrdiff_t count[sizeof(BITS)][256] = {{0}};
    ALONG(i, 0, n) {
        const BITS key = V(key)(x[i * stride], descending);
        from[i] = (V(keyed)){key, (BITS)i};
        for (size_t d = 0; d < sizeof(BITS); d++)
            count[d][key >> 8 * d & 255]++;
    }
    for (size_t d = 0; d < sizeof(BITS); d++) {
        if (n > MGX_PIECE && mgx_interrupted())     /* then no count is whole */
            return NULL;
        if (count[d][from[0].key >> 8 * d & 255] == n)
            continue;
        for (ptrdiff_t k = 0, before = 0, own; k < 256; k++, before += own)
            own = count[d][k], count[d][k] = before;
        ALONG(i, 0, n)
            to[count[d][from[i].key >> 8 * d & 255]++] = from[i];
        V(keyed) *const sorted = to;
        to = from, from = sorted;
    }
    return n > MGX_PIECE && mgx_interrupted() ? NULL : from;
}

static V(keyed) *V(sort_by_insertion)(ptrdiff_t n, const REAL *x, ptrdiff_t stride, int descending, V(keyed) *to)
{
    for (ptrdiff_t i = 0, j; i < n; i++) {
        const BITS key = V(key)(x[i * stride], descending);
        for (j = i; j > 0 && to[j - 1].key > key; j--)
            to[j] = to[j - 1];
        to[j] = (V(keyed)){key, (BITS)i};
    }
    return to;
}

static ptrdiff_t V(sort)(ptrdiff_t first, ptrdiff_t last, char *scratch, const REAL *x, REAL *y, int64_t *place,
                         ptrdiff_t outer, ptrdiff_t n, ptrdiff_t inner, int descending)
{
    V(keyed) few[INSERTED];
    for (; first < last; first++) {
        const ptrdiff_t start = first / inner * n * inner + first % inner;
        const V(keyed) *sorted = n <= INSERTED
            ? V(sort_by_insertion)(n, x + start, inner, descending, few)
            : V(sort_by_digits)(n, x + start, inner, descending, (V(keyed) *)scratch, (V(keyed) *)scratch + n);
        if (!sorted)
            break;
        ALONG(i, 0, n) {
            place[start + i * inner] = sorted[i].at;
            y[start + i * inner] = x[start + (ptrdiff_t)sorted[i].at * inner];
        }
    }
    return MGX_DONE;
}
