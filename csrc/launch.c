/* Runs contiguous loops, one after the other, over strided, broadcast operands of any dtype.
   What a loop cannot read in place is gathered, converted and scattered through tiles that stay in the L1
   cache; so a row needs one loop, strided and contiguous results agree to the bit, and a scalar is a tile that
   is filled once. What one loop of a launch writes for another alone never leaves its tile. */
#include "kernels.h"
#include <stdlib.h>
#include <string.h>

enum { TILE = 4096,          /* bytes; six fit the 32 KB of an L1 cache */
       APART = TILE + 320,   /* from one tile to the next: equal low bits of their addresses would stall loads */
       LARGE = 1 << 24,      /* bytes of a result that nobody will find in a cache */
       WIDE = 64 };          /* rows at least this long are read in place, shorter ones are gathered together */
enum { DIRECT, PERIODIC, STAGED };  /* read as it lies; the same in every block; gathered for each block */

static const ptrdiff_t SIZE[] = {4, 8, 8, 1};

/* The first `one` bytes again and again, up to `all`: by copies that double. */
static void repeat(char *to, ptrdiff_t one, ptrdiff_t all)
{
    for (ptrdiff_t done = one; done < all; done *= 2)
        memcpy(to + done, to, done < all - done ? done : all - done);
}

/* to[i] = from[i]: n elements, strides in bytes */
#define FILL(TO) do { const TO v = *(TO *)to; for (ptrdiff_t i = 1; i < n; i++) ((TO *)to)[i] = v; return; } while (0)
#define CONVERT(TO, FROM, value) \
    if (ts == sizeof(TO) && fs == sizeof(FROM)) {       /* in vectors */ \
        TO *restrict y = (TO *)to; \
        const FROM *restrict x = (const FROM *)from; \
        for (ptrdiff_t i = 0; i < n; i++) { FROM v = x[i]; y[i] = (TO)(value); } \
        return; \
    } \
    for (ptrdiff_t i = 0; i < n; i++, to += ts, from += fs) { FROM v = *(const FROM *)from; *(TO *)to = (TO)(value); } \
    return
static void convert(ptrdiff_t n, int tt, char *to, ptrdiff_t ts, int ft, const char *from, ptrdiff_t fs)
{
    if (tt == ft && ts == SIZE[tt] && fs == ts) {
        memcpy(to, from, n * ts);
        return;
    }
    if (fs == 0 && ts == SIZE[tt] && tt <= MGX_F64 && n > 1) {      /* one element for all */
        convert(1, tt, to, ts, ft, from, SIZE[ft]);
        if (tt == MGX_F32)
            FILL(float);
        FILL(double);
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

/* `rows` rows of n elements, row by row or, where rows are short and do not lie in order, column by column */
static void convert_rows(ptrdiff_t rows, ptrdiff_t n, int tt, char *to, ptrdiff_t tr, ptrdiff_t ts, int ft,
                         const char *from, ptrdiff_t fr, ptrdiff_t fs)
{
    const int by_columns = n < rows && (n < 8 || (fs != 0 && fs != SIZE[ft]));
    for (ptrdiff_t i = 0; i < (by_columns ? n : rows); i++)
        if (by_columns)
            convert(rows, tt, to + i * ts, tr, ft, from + i * fs, fr);
        else
            convert(n, tt, to + i * tr, ts, ft, from + i * fr, fs);
}

/* Drop axes of length 1 and join neighbours that every operand walks as one. */
static void collapse(mgx_tiles *l)
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

static char *row_address(const mgx_tiles *l, const mgx_operand *o, char *p, const ptrdiff_t *index)
{
    for (int d = 0; d < l->ndim - 1; d++)
        p += index[d] * o->strides[d];
    return p;
}

/* `run` rows on, of which all but the last are in one row of rows */
static void advance_index(const mgx_tiles *l, ptrdiff_t *index, ptrdiff_t run)
{
    for (int d = l->ndim - 2; d >= 0; d--, run = 1) {
        if ((index[d] += run) < l->shape[d])
            return;
        index[d] = 0;
    }
}

/* so many of the next rows, `most` at most, have one stride */
static ptrdiff_t rows_alike(const mgx_tiles *l, const ptrdiff_t *index, ptrdiff_t most)
{
    const int d = l->ndim - 2;
    return d < 0 || l->shape[d] - index[d] > most ? most : l->shape[d] - index[d];
}

/* How each operand is read or written: one block is `high` rows of `wide` elements. */
void mgx_prepare(mgx_tiles *l)
{
    collapse(l);
    const int last = l->ndim - 1;
    const ptrdiff_t n = l->shape[last], size = SIZE[l->dtype], tile = TILE / size;
    int staged = 0, walks = 0;
    l->rows = 1, l->walks = 0;
    for (int d = 0; d < last; d++)
        l->rows *= l->shape[d];
    for (int k = 0; k < l->nin + l->nout; k++) {
        mgx_operand *o = &l->operand[k];
        int rows_contiguous = o->dtype == l->dtype && o->strides[last] == size;
        int periodic = k < l->nin && (n <= tile || o->strides[last] == 0);
        o->contiguous = rows_contiguous;
        for (int d = 0; d < last; d++) {
            o->contiguous = o->contiguous && o->strides[d] == o->strides[d + 1] * l->shape[d + 1];
            periodic = periodic && o->strides[d] == 0;
        }
        o->access = o->absent || o->contiguous || (rows_contiguous && n >= WIDE) ? DIRECT
                    : periodic ? PERIODIC : STAGED;
        staged |= o->access != DIRECT;
        walks |= o->access == DIRECT && !o->contiguous && !o->absent;
        l->walks |= walks || o->access == STAGED;
    }
    for (int i = 0; i < l->count; i++) {
        int k = l->op[i].result;
        l->op[i].streams = k >= l->nin && k < l->nin + l->nout && l->operand[k].contiguous
                             && l->rows * n * size >= LARGE;
    }
    l->wide = (staged || l->count > 1) && n > tile ? tile : n;
    l->high = last == 0 || walks || n == 0 || n > tile ? 1 : tile / n;
}

/* The operations of one block of m elements. Runs of light ones go through registers as far as those are full. */
static void run_block(const mgx_tiles *l, ptrdiff_t m, char *const *p)
{
    const ptrdiff_t size = SIZE[l->dtype];
    for (int i = 0, run; i < l->count; i += run) {
        ptrdiff_t done = l->op[i].chain_length > 1 ? l->fused_chain(m, &l->op[i], p) : 0;
        run = l->op[i].chain_length > 1 ? l->op[i].chain_length : 1;
        for (int j = i; done < m && j < i + run; j++) {
            char *q[MGX_MAXARGS];
            for (int k = 0; k < MGX_MAXARGS; k++)
                q[k] = p[l->op[j].arg[k]] + done * size;
            l->op[j].loop(m - done, q);
        }
    }
}

/* Elements s0 to s1 of the rows from r0 to r1. `data` tells the first byte of every operand. */
static void execute(const mgx_tiles *l, char *const *data, ptrdiff_t r0, ptrdiff_t r1, ptrdiff_t s0, ptrdiff_t s1)
{
    const int last = l->ndim - 1, count = l->nin + l->nout;
    const ptrdiff_t n = l->shape[last], size = SIZE[l->dtype], wide = l->wide, high = l->high;
    _Alignas(64) char tiles[MGX_MAXSLOTS][APART];
    char *p[MGX_MAXSLOTS];
    for (int k = 0; k < l->slots; k++)
        p[k] = tiles[k];
    for (int k = 0; k < count; k++) {
        const mgx_operand *o = &l->operand[k];
        if (o->access == PERIODIC) {
            convert(wide, l->dtype, p[k], size, o->dtype, data[k], o->strides[last]);
            repeat(p[k], wide * size, (high < l->rows ? high : l->rows) * wide * size);
        }
    }
    ptrdiff_t index[MGX_MAXDIM], back[MGX_MAXDIM];
    const size_t indices = last * sizeof *index;
    for (ptrdiff_t d = last - 1, rest = r0; d >= 0; rest /= l->shape[d--])
        index[d] = rest % l->shape[d];
    for (ptrdiff_t r = r0; r < r1; r += high) {
        const ptrdiff_t block = r1 - r < high ? r1 - r : high;
        memcpy(back, index, indices);
        for (ptrdiff_t s = s0; s < s1; s += wide) {
            const ptrdiff_t m = s1 - s < wide ? s1 - s : wide;
            for (int k = 0; k < count; k++) {
                const mgx_operand *o = &l->operand[k];
                if (o->access == DIRECT)
                    p[k] = o->absent ? p[0]
                           : (o->contiguous ? data[k] + r * n * size : row_address(l, o, data[k], index)) + s * size;
                if (o->access != STAGED || k >= l->nin)
                    continue;
                memcpy(index, back, indices);
                for (ptrdiff_t b = 0, run; b < block; b += run, advance_index(l, index, run)) {
                    run = rows_alike(l, index, block - b);
                    convert_rows(run, m, l->dtype, p[k] + b * m * size, m * size, size, o->dtype,
                                 row_address(l, o, data[k], index) + s * o->strides[last],
                                 last ? o->strides[last - 1] : 0, o->strides[last]);
                }
                memcpy(index, back, indices);
            }
            run_block(l, block * m, p);
            for (int k = l->nin; k < count; k++) {
                const mgx_operand *o = &l->operand[k];
                if (o->access != STAGED)
                    continue;
                memcpy(index, back, indices);
                for (ptrdiff_t b = 0, run; b < block; b += run, advance_index(l, index, run)) {
                    run = rows_alike(l, index, block - b);
                    convert_rows(run, m, o->dtype, row_address(l, o, data[k], index) + s * o->strides[last],
                                 last ? o->strides[last - 1] : 0, o->strides[last], l->dtype, p[k] + b * m * size,
                                 m * size, size);
                }
                memcpy(index, back, indices);
            }
        }
        for (ptrdiff_t b = 0; l->walks && b < block; b++)
            advance_index(l, index, 1);
    }
}

/* A piece is some rows, or a part of one that is longer than a piece. */
typedef struct { const mgx_tiles *tiles; char *const *data; ptrdiff_t rows, parts; } TilesWork;

static void run_tiles_piece(void *what, ptrdiff_t i)
{
    const TilesWork *w = what;
    const ptrdiff_t rows = w->tiles->rows, n = w->tiles->shape[w->tiles->ndim - 1];
    const ptrdiff_t r = i / w->parts * w->rows, s = i % w->parts * MGX_PIECE;
    execute(w->tiles, w->data, r, r + w->rows < rows ? r + w->rows : rows, s, s + MGX_PIECE < n ? s + MGX_PIECE : n);
}

ptrdiff_t mgx_run_tiles(const mgx_tiles *l, char *const *data)
{
    const ptrdiff_t n = l->shape[l->ndim - 1];
    if (l->rows == 0 || n == 0)
        return MGX_DONE;
    if (l->rows * n * l->count < MGX_MUCH) {
        execute(l, data, 0, l->rows, 0, n);
        return MGX_DONE;
    }
    TilesWork w = {l, data, 1, (n + MGX_PIECE - 1) / MGX_PIECE};
    if (w.parts == 1)
        w.rows = (1 + MGX_PIECE / (l->high * n)) * l->high;                 /* whole blocks */
    return mgx_run_pieces((l->rows + w.rows - 1) / w.rows * w.parts, run_tiles_piece, &w, 1);
}

typedef struct { mgx_loop loop; ptrdiff_t n, size; int count; char *const *p; } LoopWork;

static void run_loop_piece(void *what, ptrdiff_t i)
{
    const LoopWork *w = what;
    const ptrdiff_t first = i * MGX_PIECE, m = w->n - first < MGX_PIECE ? w->n - first : MGX_PIECE;
    char *p[MGX_MAXARGS];
    for (int k = 0; k < w->count; k++)
        p[k] = w->p[k] + first * w->size;
    w->loop(m, p);
}

ptrdiff_t mgx_run_loop(mgx_loop loop, ptrdiff_t n, int dtype, int count, char *const *p)
{
    if (n < MGX_MUCH) {
        loop(n, p);
        return MGX_DONE;
    }
    LoopWork w = {loop, n, SIZE[dtype], count, p};
    return mgx_run_pieces((n + MGX_PIECE - 1) / MGX_PIECE, run_loop_piece, &w, 1);
}

/* ----- structured kernels: the pieces of the axis that the row splits */
typedef struct { mgx_kernel kernel; const mgx_args *args; ptrdiff_t axis, grain, scratch, bad; } KernelWork;

static void run_kernel_piece(void *what, ptrdiff_t i)
{
    KernelWork *w = what;
    const ptrdiff_t first = i * w->grain, last = first + w->grain < w->axis ? first + w->grain : w->axis;
    char *block = w->scratch ? malloc(w->scratch + 64) : NULL;
    ptrdiff_t bad = MGX_NO_MEMORY;
    if (block || !w->scratch)
        bad = w->kernel(w->args, block ? block + (-(uintptr_t)block & 63) : NULL, first, last);
    free(block);
    if (bad != MGX_DONE)
        mgx_note_first(&w->bad, bad);
}

static ptrdiff_t run_kernel(const mgx_kernel_row *row, mgx_kernel kernel, const mgx_args *args, const int is_short)
{
    ptrdiff_t work, scratch, axis = row->cut(args, &work, &scratch);
    if (axis * work < MGX_MUCH && !scratch)
        return kernel(args, NULL, 0, axis);
    if (is_short)
        return MGX_LONG;
    KernelWork w = {kernel, args, axis, work ? 1 + MGX_PIECE / work : axis, scratch, MGX_DONE};
    if (mgx_run_pieces((axis + w.grain - 1) / w.grain, run_kernel_piece, &w, !row->steady) != MGX_DONE)
        return MGX_INTERRUPTED;
    return w.bad;
}

ptrdiff_t mgx_run_kernel(const mgx_kernel_row *row, mgx_kernel kernel, const mgx_args *args)
{
    return run_kernel(row, kernel, args, 0);
}

ptrdiff_t mgx_run_short_kernel(const mgx_kernel_row *row, mgx_kernel kernel, const mgx_args *args)
{
    return run_kernel(row, kernel, args, 1);
}
