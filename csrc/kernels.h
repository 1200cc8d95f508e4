/* The C contract: everything that the Cython core may call.
   Kernels never allocate and never fail; those that take indices return the first bad position. Sizes come
   first, outputs last. Strides are in bytes. No kernel knows Python, graphs or gradients. */
#ifndef MGX_KERNELS_H
#define MGX_KERNELS_H
#include <stddef.h>
#include <stdint.h>
#include "check.h"

enum { MGX_F32, MGX_F64, MGX_I64, MGX_BOOL };        /* dtypes; loops exist for the first two */
enum { MGX_MAXDIM = 8, MGX_MAXARGS = 6 };

/* one opcode per row of the table */
enum {
#define ROW(name) MGX_##name,
#define U(name, f, d, lo, hi, ulp, dulp) ROW(name)
#define D(name, f, d, lo, hi, ulp, dulp) ROW(name)
#define H(name, f, d, lo, hi, ulp, dulp) ROW(name)
#define B(name, f, da, db, lo, hi, ulp, dulp) ROW(name)
#define T(name, f, da, db, dc, lo, hi, ulp, dulp) ROW(name)
#define C(name, f, lo, hi) ROW(name)
#include "ops.def"
#undef ROW
#undef U
#undef D
#undef H
#undef B
#undef T
#undef C
    MGX_NROWS
};

/* the table as data: what Python reads */
typedef struct {
    const char *name, *kind, *forward, *derivative[3];
    int arity;
    double lo, hi, ulp, dulp;
} mgx_row;
extern const mgx_row mgx_table[MGX_NROWS];

/* one contiguous loop over n elements. p holds the operands in the order of the row, outputs last:
   forward  a [b [c]] y      forward_d  x y d      vjp[i]  g a [b [c]] y dx
   (in place of what the text of the derivative does not name: any n readable elements) */
typedef void (*mgx_loop)(ptrdiff_t n, char *const *p);
typedef struct { mgx_loop forward, forward_d, vjp[3]; } mgx_loops;

/* the scalar rule of a row: y, and d[i] for each bit of `needs` */
typedef void (*mgx_rule)(const double *v, int needs, double *y, double *d);

/* optimizers. A part is a parameter w beside its gradient g, n elements each; what its optimizer remembers of it, as
   large; and the number of its steps so far. An update runs over all parts of a group, in place, and counts the step */
typedef struct {
    ptrdiff_t n;
    const char *g;
    char *w, *state[3];
    double *step;
} mgx_part;
enum { MGX_SGD, MGX_RMSPROP, MGX_ADAGRAD, MGX_ADAM, MGX_ADAMW, MGX_NUPDATES };
typedef void (*mgx_update)(ptrdiff_t count, const mgx_part *part, const double *cell);

/* windows over planes of `size`, by axis; `before` is the padding ahead of the first element, `count` the outputs */
typedef struct { ptrdiff_t size[2], kernel[2], stride[2], dilation[2], before[2], count[2]; } mgx_windows;
/* A program of scalar operations, for many samples at once. An operand is a place: place p >= 0 is scalar[p], a number
   that all samples share; place p < 0 is row ~p, `lanes` doubles, one for each sample of a tile. A step computes
   place y from operands place[first] on, and is either
     op MGX_TERMS   y = place[0]*place[1] + place[2]*place[3] + ..., `count` products in this order; of a row and a
                    number the row comes first
     op -n          one of a run of n such steps, a layer: rows y and operands follow one another, of every product
                    the first factor is a row, the same in all of them, and the second a number
     a row          of the table; bit k of `count` says that operand k wants a gradient. Local derivatives follow y:
                    the scalar rule puts one per operand there, a D or H row one row
   In the backward pass mode[i] says what the gradient of operand i does to what is there. */
enum { MGX_TERMS = -1, MGX_LANES = 128, MGX_PARTS = 8 };
enum { MGX_NOTHING, MGX_SETS, MGX_ADDS };
typedef struct { int32_t op, y, first, count; } mgx_step;
typedef struct {
    ptrdiff_t lanes;                    /* up to MGX_LANES, a multiple of MGX_PARTS */
    const int32_t *place;
    const uint8_t *mode;
    double *number;                     /* for each place >= 0 the number there, while rows are written */
    double *scalar, *dscalar;           /* numbers and their gradients */
    double *row, *drow;                 /* the same by rows */
    double *spare;                      /* four rows */
    int careful;                        /* no gradient in, none out, even if a factor is inf or nan; else that shows */
} mgx_tape;

/* A launch: loops, one after the other, over strided, broadcast operands of any dtype, inputs first.
   An operation takes its arguments from places: the operands of the launch, and after them tiles that hold what one
   operation writes for others alone. `streak` tells how many operations from this one on are light and each work on
   the result of the one before, so that it stays in registers: `code` is what they do to it with place `with`, and
   `keep` says that the result is written too, `streams` that it is too large to stay in a cache. */
enum { MGX_LIGHT_NONE, MGX_LIGHT_ADD, MGX_LIGHT_SUB, MGX_LIGHT_SUB_FROM, MGX_LIGHT_MUL, MGX_LIGHT_DIV,
       MGX_LIGHT_DIV_INTO, MGX_LIGHT_CHAIN, MGX_LIGHT_CHAIN_INTO, MGX_LIGHT_NEG, MGX_LIGHT_SQUARE, MGX_LIGHT_RELU };
enum { MGX_MAXOPERANDS = 16, MGX_MAXPLACES = 24, MGX_MAXOPS = 32 };
typedef struct {
    mgx_loop loop;
    const char *name;
    uint8_t arg[MGX_MAXARGS], result, streak, code, from, with, keep, streams;
} mgx_op;
typedef ptrdiff_t (*mgx_streak)(ptrdiff_t n, const mgx_op *op, char *const *place);     /* how many elements it did */
typedef struct {
    int dtype, absent;                  /* absent: what no loop names */
    ptrdiff_t strides[MGX_MAXDIM];
    double number;                      /* room for the operand that is one */
    int how, whole;
} mgx_operand;
typedef struct {
    int dtype, nin, nout, ndim, count, places, walks;
    ptrdiff_t shape[MGX_MAXDIM], rows, wide, high;
    mgx_streak streak;
    mgx_op op[MGX_MAXOPS];
    mgx_operand operand[MGX_MAXOPERANDS];
} mgx_launch;

/* what one instruction set offers; every array is indexed by dtype */
typedef struct {
    const char *isa;
    mgx_loops rows[2][MGX_NROWS];
    mgx_rule rules[MGX_NROWS];
    mgx_streak streak[2];
    /* x (outer, n, inner) with byte strides -> y (outer, inner), contiguous; y = scale * sum */
    void (*sum[2])(ptrdiff_t outer, ptrdiff_t n, ptrdiff_t inner, const ptrdiff_t *strides,
                   double scale, const char *x, char *y);
    void (*max[2])(ptrdiff_t outer, ptrdiff_t n, ptrdiff_t inner, const ptrdiff_t *strides,
                   double sign, const char *x, char *y);
    /* 1 if none of n contiguous elements is inf or nan, else 0 */
    int (*finite[2])(ptrdiff_t n, const char *x);
    /* x (m, n) rows -> y (m, n); y = softmax or its logarithm */
    void (*softmax[2])(ptrdiff_t m, ptrdiff_t n, int logarithm, const char *x, char *y);
    /* its vjp: g, y (m, n) -> dx (m, n) */
    void (*softmax_vjp[2])(ptrdiff_t m, ptrdiff_t n, int logarithm, const char *g, const char *y, char *dx);
    /* y (rows, n) += x (m, n), row i of it at row at[i], which counts from the end where negative */
    ptrdiff_t (*add_rows[2])(ptrdiff_t m, ptrdiff_t n, ptrdiff_t rows, const int64_t *at, const char *x, char *y);
    /* logits (m, n), label (m,) -> loss (1,) = scale * sum of losses, p (m, n) = softmax */
    ptrdiff_t (*cross_entropy[2])(ptrdiff_t m, ptrdiff_t n, double scale, const char *x, const int64_t *label,
                                  char *loss, char *p);
    /* dx (m, n) = scale * g * (p - onehot(label)), g (1,) */
    void (*cross_entropy_vjp[2])(ptrdiff_t m, ptrdiff_t n, double scale, const char *g, const char *p,
                                 const int64_t *label, char *dx);
    mgx_update update[MGX_NUPDATES][2];
    /* c (m, n), rows ldc apart, = alpha a (m, k) b (k, n) + beta c; strides in elements; beta 0 does not read c.
       1 if it did that, 0 if the sizes are rather for BLAS or beta is neither 0 nor 1: then c is as it was */
    int (*gemm[2])(ptrdiff_t m, ptrdiff_t n, ptrdiff_t k, double alpha, const char *a, ptrdiff_t a_row, ptrdiff_t a_col,
                   const char *b, ptrdiff_t b_row, ptrdiff_t b_col, double beta, char *c, ptrdiff_t ldc);
    /* x (planes, h, w) -> cols (planes, kh, kw, oh, ow); its transpose, whose columns lie `spread` elements apart */
    void (*columns[2])(const mgx_windows *v, ptrdiff_t planes, const char *x, char *cols);
    void (*uncolumns[2])(const mgx_windows *v, ptrdiff_t planes, ptrdiff_t spread, const char *cols, char *x);
    /* x (planes, h, w) -> y (planes, oh, ow); at = the place in its plane of each maximum; g (planes, n) -> x */
    void (*pool_sum[2])(const mgx_windows *v, ptrdiff_t planes, const char *x, char *y);
    ptrdiff_t (*pool_max[2])(const mgx_windows *v, ptrdiff_t planes, const char *x, char *y, int64_t *at);
    void (*unpool[2])(ptrdiff_t planes, ptrdiff_t plane, ptrdiff_t n, const char *g, const int64_t *at, char *x);
    /* x (m, n) rows -> y (m, n), stats (3, m) = mean, variance, 1 / sqrt(variance + eps); dx; parts of dw */
    void (*norm[2])(ptrdiff_t m, ptrdiff_t n, int centred, double eps, const char *x, const char *w, const char *b,
                    char *y, char *stats);
    void (*norm_vjp[2])(ptrdiff_t m, ptrdiff_t n, int centred, const char *g, const char *x, const char *w,
                        const char *stats, char *dx);
    void (*norm_weight_vjp[2])(ptrdiff_t m, ptrdiff_t n, const char *g, const char *x, const char *stats, char *part);
    /* steps between numbers, once: adds to dscalar */
    void (*replay)(const mgx_tape *tape, ptrdiff_t count, const mgx_step *step);
    void (*replay_vjp)(const mgx_tape *tape, ptrdiff_t count, const mgx_step *step);
    /* steps that write rows: writes drow, adds to dscalar */
    void (*replay_rows)(const mgx_tape *tape, ptrdiff_t count, const mgx_step *step);
    void (*replay_rows_vjp)(const mgx_tape *tape, ptrdiff_t count, const mgx_step *step);
} mgx_kernels;

/* the best set for this processor, or the one that the environment variable MICROGRADX_ISA names;
   NULL if that names none that runs here. Read once. */
const mgx_kernels *mgx_dispatch(void);

/* threads: pieces 0 to `pieces` - 1 of some work, each once, in any order, here and in others of `mgx_threads` threads;
   a number above 0 sets how many, and what it was is returned */
typedef void (*mgx_piece)(void *what, ptrdiff_t i);
int mgx_threads(int count);
void mgx_parallel(ptrdiff_t pieces, mgx_piece piece, void *what);
enum { MGX_PIECE = 1 << 16,             /* elements of one piece */
       MGX_MUCH = 1 << 20 };            /* results of loops; fewer are not worth waking a thread: measured on Zen 3, where
                                           relu breaks even there and tanh gains 1.7 with two */

/* one loop over `count` operands of n elements that lie in order, by pieces */
void mgx_loop_over(mgx_loop loop, ptrdiff_t n, int dtype, int count, char *const *p);
void mgx_prepare(mgx_launch *launch);                                   /* once, before it is executed */
void mgx_execute(const mgx_launch *launch, char *const *data);          /* data: the first byte of every operand */
#endif
