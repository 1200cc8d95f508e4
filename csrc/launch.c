/* Runs one contiguous loop over strided, broadcast operands of any dtype.
   What the loop cannot read in place is gathered, converted and scattered through tiles that stay in the L1
   cache; so a row needs one loop, strided and contiguous results agree to the bit, and a scalar is a tile that
   is filled once. */
#include "kernels.h"
#include <string.h>

enum { TILE = 512,           /* elements; six operands of double fit the 32 KB of an L1 cache */
       WIDE = 64 };          /* rows at least this long are read in place, shorter ones are gathered together */

static const ptrdiff_t SIZE[] = {4, 8, 8, 1};

/* The first `one` bytes again and again, up to `all`: by copies that double. */
static void repeat(char *to, ptrdiff_t one, ptrdiff_t all)
{
    for (ptrdiff_t done = one; done < all; done *= 2)
        memcpy(to + done, to, done < all - done ? done : all - done);
}

/* to[i] = from[i]: n elements, strides in bytes */
#define CONVERT(TO, FROM, value) \
    for (ptrdiff_t i = 0; i < n; i++, to += ts, from += fs) { FROM v = *(const FROM *)from; *(TO *)to = (TO)(value); } \
    return
static void convert(ptrdiff_t n, int tt, char *to, ptrdiff_t ts, int ft, const char *from, ptrdiff_t fs)
{
    if (tt == ft && ts == SIZE[tt] && fs == ts) {
        memcpy(to, from, n * ts);
        return;
    }
    if (fs == 0 && ts == SIZE[tt] && n > 1) {   /* one element for all */
        convert(1, tt, to, ts, ft, from, SIZE[ft]);
        repeat(to, ts, n * ts);
        return;
    }
    switch (tt * 4 + ft) {
    case MGX_F32 * 4 + MGX_F32: CONVERT(float, float, v);
    case MGX_F32 * 4 + MGX_F64: CONVERT(float, double, v);
    case MGX_F32 * 4 + MGX_I64: CONVERT(float, int64_t, v);
    case MGX_F32 * 4 + MGX_BOOL: CONVERT(float, uint8_t, v != 0);
    case MGX_F64 * 4 + MGX_F32: CONVERT(double, float, v);
    case MGX_F64 * 4 + MGX_F64: CONVERT(double, double, v);
    case MGX_F64 * 4 + MGX_I64: CONVERT(double, int64_t, v);
    case MGX_F64 * 4 + MGX_BOOL: CONVERT(double, uint8_t, v != 0);
    case MGX_I64 * 4 + MGX_I64: CONVERT(int64_t, int64_t, v);
    case MGX_BOOL * 4 + MGX_F32: CONVERT(uint8_t, float, v != 0);
    case MGX_BOOL * 4 + MGX_F64: CONVERT(uint8_t, double, v != 0);
    case MGX_BOOL * 4 + MGX_BOOL: CONVERT(uint8_t, uint8_t, v != 0);
    }
}

/* Drop axes of length 1 and join neighbours that every operand walks as one. */
static void collapse(mgx_launch *l)
{
    int nd = 0, count = l->nin + l->nout;
    for (int d = 0; d < l->ndim; d++) {
        if (l->shape[d] == 1)
            continue;
        int joins = nd > 0;
        for (int k = 0; joins && k < count; k++)
            joins = l->operand[k].strides[nd - 1] == l->operand[k].strides[d] * l->shape[d];
        if (joins)
            l->shape[nd - 1] *= l->shape[d];
        else
            l->shape[nd++] = l->shape[d];
        for (int k = 0; k < count; k++)
            l->operand[k].strides[nd - 1] = l->operand[k].strides[d];
    }
    if (nd == 0) {
        l->shape[nd++] = 1;
        for (int k = 0; k < count; k++)
            l->operand[k].strides[0] = SIZE[l->operand[k].dtype];
    }
    l->ndim = nd;
}

static char *row(const mgx_launch *l, const mgx_operand *o, const ptrdiff_t *index)
{
    char *p = o->data;
    for (int d = 0; d < l->ndim - 1; d++)
        p += index[d] * o->strides[d];
    return p;
}

static void advance(const mgx_launch *l, ptrdiff_t *index)
{
    for (int d = l->ndim - 2; d >= 0; d--) {
        if (++index[d] < l->shape[d])
            return;
        index[d] = 0;
    }
}

void mgx_run(mgx_launch *l)
{
    for (int d = 0; d < l->ndim; d++)
        if (l->shape[d] == 0)
            return;
    collapse(l);

    enum { DIRECT, PERIODIC, STAGED };  /* read as it lies; the same in every block; gathered for each block */
    const int last = l->ndim - 1, count = l->nin + l->nout;
    const ptrdiff_t n = l->shape[last], size = SIZE[l->dtype];
    ptrdiff_t rows = 1;
    for (int d = 0; d < last; d++)
        rows *= l->shape[d];

    /* how each operand is met; one block is `high` rows of `wide` elements */
    int how[MGX_MAXARGS], whole[MGX_MAXARGS], staged = 0, walks = 0;
    for (int k = 0; k < count; k++) {
        const mgx_operand *o = &l->operand[k];
        int rows_lie = o->dtype == l->dtype && o->strides[last] == size;
        int periodic = k < l->nin && (n <= TILE || o->strides[last] == 0);
        whole[k] = rows_lie;
        for (int d = 0; d < last; d++) {
            whole[k] = whole[k] && o->strides[d] == o->strides[d + 1] * l->shape[d + 1];
            periodic = periodic && o->strides[d] == 0;
        }
        how[k] = !o->data || whole[k] || (rows_lie && n >= WIDE) ? DIRECT : periodic ? PERIODIC : STAGED;
        staged |= how[k] != DIRECT;
        walks |= how[k] == STAGED || (how[k] == DIRECT && o->data && !whole[k]);
    }
    const ptrdiff_t wide = staged && n > TILE ? TILE : n;
    const ptrdiff_t high = last == 0 || n >= WIDE ? 1 : TILE / n;

    _Alignas(64) char tile[MGX_MAXARGS][TILE * sizeof(double)];
    char *p[MGX_MAXARGS];
    for (int k = 0; k < count; k++) {
        const mgx_operand *o = &l->operand[k];
        if (how[k] == PERIODIC) {
            convert(wide, l->dtype, tile[k], size, o->dtype, o->data, o->strides[last]);
            repeat(tile[k], wide * size, (high < rows ? high : rows) * wide * size);
        }
    }

    ptrdiff_t index[MGX_MAXDIM] = {0}, back[MGX_MAXDIM];
    for (ptrdiff_t r = 0; r < rows; r += high) {
        const ptrdiff_t block = rows - r < high ? rows - r : high;
        memcpy(back, index, sizeof back);
        for (ptrdiff_t s = 0; s < n; s += wide) {
            const ptrdiff_t m = n - s < wide ? n - s : wide;
            for (int k = 0; k < count; k++) {
                const mgx_operand *o = &l->operand[k];
                p[k] = !o->data ? p[0] : how[k] != DIRECT ? tile[k]
                     : (whole[k] ? o->data + r * n * size : row(l, o, index)) + s * size;
                if (how[k] != STAGED || k >= l->nin)
                    continue;
                memcpy(index, back, sizeof index);
                for (ptrdiff_t b = 0; b < block; b++, advance(l, index))
                    convert(m, l->dtype, tile[k] + b * m * size, size, o->dtype,
                            row(l, o, index) + s * o->strides[last], o->strides[last]);
                memcpy(index, back, sizeof index);
            }
            l->loop(block * m, p);
            for (int k = l->nin; k < count; k++) {
                const mgx_operand *o = &l->operand[k];
                if (how[k] != STAGED)
                    continue;
                memcpy(index, back, sizeof index);
                for (ptrdiff_t b = 0; b < block; b++, advance(l, index))
                    convert(m, o->dtype, row(l, o, index) + s * o->strides[last], o->strides[last],
                            l->dtype, tile[k] + b * m * size, size);
                memcpy(index, back, sizeof index);
            }
        }
        for (ptrdiff_t b = 0; walks && b < block; b++)
            advance(l, index);
    }
}
