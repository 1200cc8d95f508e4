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

static V(keyed) *V(order_by_digits)(ptrdiff_t n, V(keyed) *from, V(keyed) *to)
{
    ptrdiff_t count[sizeof(BITS)][256] = {{0}};
    ALONG(i, 0, n)
        for (size_t d = 0; d < sizeof(BITS); d++)
            count[d][from[i].key >> 8 * d & 255]++;
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

static V(keyed) *V(sort_by_digits)(ptrdiff_t n, const REAL *x, ptrdiff_t stride, int descending, V(keyed) *from,
                                   V(keyed) *to)
{
    ALONG(i, 0, n)
        from[i] = (V(keyed)){V(key)(x[i * stride], descending), (BITS)i};
    return V(order_by_digits)(n, from, to);
}

/* one more behind n that are in order */
static inline void V(insert)(ptrdiff_t n, V(keyed) *to, V(keyed) one)
{
    for (; n > 0 && to[n - 1].key > one.key; n--)
        to[n] = to[n - 1];
    to[n] = one;
}

static V(keyed) *V(sort_by_insertion)(ptrdiff_t n, const REAL *x, ptrdiff_t stride, int descending, V(keyed) *to)
{
    for (ptrdiff_t i = 0; i < n; i++)
        V(insert)(i, to, (V(keyed)){V(key)(x[i * stride], descending), (BITS)i});
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

/* the key of a rank among n, by their digits, the highest first: only those are kept that agree in the digits before */
static BITS V(key_of_rank)(ptrdiff_t n, const BITS *keys, ptrdiff_t rank, BITS *kept)
{
    BITS found = 0;
    for (int d = sizeof(BITS) - 1; d >= 0; d--) {
        if (n <= INSERTED) {
            for (ptrdiff_t i = 0, j; i < n; i++) {
                const BITS key = keys[i];
                for (j = i; j > 0 && kept[j - 1] > key; j--)
                    kept[j] = kept[j - 1];
                kept[j] = key;
            }
            return kept[rank];
        }
        ptrdiff_t count[256] = {0}, k = 0, own = 0;
        ALONG(i, 0, n)
            count[keys[i] >> 8 * d & 255]++;
        for (; k < 255 && rank >= count[k]; k++)
            rank -= count[k];
        found |= (BITS)k << 8 * d;
        ALONG(i, 0, n) {
            kept[own] = keys[i];
            own += (keys[i] >> 8 * d & 255) == (BITS)k;
        }
        keys = kept, n = own;
    }
    return found;
}

/* Where the elements of the ranks `rank` to rank + k - 1 are; for a negative rank the lower one in the middle: of all,
   a nan if there is one (MIDDLE), or of what is no nan (MIDDLE_OF_NUMBERS). Only keys from that of the first rank to
   that of the last are put in order. For the first few of many a bound suffices: the rank among runs' least keys. */
#define RUN 32
#define MIDDLE -1
#define MIDDLE_OF_NUMBERS -2
static ptrdiff_t V(select)(ptrdiff_t first, ptrdiff_t last, char *scratch, const REAL *x, int64_t *place,
                           ptrdiff_t outer, ptrdiff_t n, ptrdiff_t inner, ptrdiff_t rank, ptrdiff_t k, int descending)
{
    BITS *keys = (BITS *)scratch;
    V(keyed) *from = (V(keyed) *)(keys + n), *to = from + n;
    for (ptrdiff_t row = first; row < last && k > 0; row++) {
        const REAL *own = x + row / inner * n * inner + row % inner;    /* of one row or column */
        int64_t *out = place + row / inner * k * inner + row % inner;
        BITS low = 0, high, *runs = (BITS *)from;
        ptrdiff_t start = rank, many = 0, nans = 0, below = 0;
        if (inner == 1)
            ALONG(i, 0, n)
                keys[i] = V(key)(own[i], descending);
        else
            ALONG(i, 0, n)
                keys[i] = V(key)(own[i * inner], descending);
        if (rank < 0) {
            ALONG(i, 0, n)
                nans += keys[i] == (BITS)~(BITS)0;
            start = rank == MIDDLE && nans ? n - nans : nans < n ? (n - nans - 1) / 2 : 0;
        }
        if (start == 0 && k <= n / (2 * RUN)) {
            for (ptrdiff_t r = 0; r < n / RUN; r++) {
                BITS least = keys[r * RUN];
                for (ptrdiff_t i = r * RUN; i < r * RUN + RUN; i++)
                    least = keys[i] < least ? keys[i] : least;
                runs[r] = least;
            }
            high = V(key_of_rank)(n / RUN, runs, k - 1, runs);
        } else {
            high = V(key_of_rank)(n, keys, start + k - 1, runs);
            low = k == 1 ? high : start ? V(key_of_rank)(n, keys, start, runs) : 0;
        }
        ALONG(i, 0, n) {
            from[many] = (V(keyed)){keys[i], (BITS)i};
            many += keys[i] >= low && keys[i] <= high;
            below += keys[i] < low;
        }
        const V(keyed) *sorted = from;
        if (many > INSERTED && low < high)
            sorted = V(order_by_digits)(many, from, to);
        for (ptrdiff_t i = 1; many <= INSERTED && i < many; i++)
            V(insert)(i, from, from[i]);
        if (!sorted || (n > MGX_PIECE && mgx_interrupted()))    /* then nothing of this is whole */
            break;
        for (ptrdiff_t i = 0; i < k; i++)
            out[i * inner] = sorted[start - below + i].at;
    }
    return MGX_DONE;
}
#undef RUN
#undef MIDDLE
#undef MIDDLE_OF_NUMBERS
