/* The C contract: everything that the Cython core may call.
   Kernels never allocate and never fail; those that take indices return the first bad position. Sizes come
   first, outputs last. Strides are in bytes. No kernel knows Python, graphs or gradients. */
#ifndef MGX_KERNELS_H
#define MGX_KERNELS_H
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include "check.h"

enum { MGX_F32, MGX_F64, MGX_I64, MGX_BOOL };        /* dtypes; loops exist for the first two */
enum { MGX_MAXDIM = 32, MGX_MAXARGS = 6 };          /* axes: as many as all functions of NumPy take */

/* one opcode per row of the table */
enum {
#define U(name, ...) MGX_##name,
#define D U
#define H U
#define B U
#define P U
#define T U
#define C U
#include "ops.def"
#undef U
#undef D
#undef H
#undef B
#undef P
#undef T
#undef C
    MGX_NROWS
};

/* the table as data: what Python reads */
typedef struct {
    const char *name, *kind, *forward, *derivative[3];
    int arity;
    double lo, hi, ulp, dulp;
    const char *doc;
} mgx_row;
extern const mgx_row mgx_table[MGX_NROWS];

/* one contiguous loop over n elements. p holds the operands in the order of the row, outputs last:
   forward  a [b [c]] y      forward_d  x y d      vjp[i]  g a [b [c]] y dx
   (in place of what the text of the derivative does not name: any n readable elements) */
typedef void (*mgx_loop)(ptrdiff_t n, char *const *p);
enum { MGX_FORWARD, MGX_FORWARD_D, MGX_VJP0, MGX_VJP1, MGX_VJP2, MGX_NPARTS };
typedef struct { mgx_loop part[MGX_NPARTS]; } mgx_loops;

/* the scalar rule of a row: y, and d[i] for each bit of `needs`; a derivative that is NONE is the nan of these bits */
typedef void (*mgx_rule)(const double *v, int needs, double *y, double *d);
#define MGX_NONE __builtin_nan("0x6e6f6e65")
static inline int mgx_is_none(double d)
{
    const double none = MGX_NONE;
    return d != d && !memcmp(&d, &none, sizeof d);
}
/* the gradient g times the derivative d; g is not 0 */
static inline double mgx_times(double d, double g)
{
    const double product = d * g;
    return product != product && mgx_is_none(d) ? 0 : product;
}

/* windows over planes of `size`, by axis; `before` is the padding ahead of the first element, `count` the outputs */
typedef struct { ptrdiff_t size[2], kernel[2], stride[2], dilation[2], before[2], count[2]; } mgx_windows;

/* the steps of recurrent layers */
enum { MGX_CELL_TANH, MGX_CELL_RELU, MGX_CELL_GRU, MGX_CELL_LSTM };

/* Structured kernels: what a row of kernels.def is called with. The operands, integers and numbers stand in the order
   of the row's lists. A kernel runs the pieces first..last - 1 of the axis that its row splits, with scratch memory
   where the row asks for some; it returns MGX_DONE, the first bad index (>= 0), or MGX_DECLINED: rather for BLAS, which
   nobody has set. */
enum { MGX_OPERANDS = 16, MGX_INTEGERS = 16, MGX_NUMBERS = 6 };
enum { MGX_DONE = -1, MGX_DECLINED = -2, MGX_NO_MEMORY = -3, MGX_INTERRUPTED = -4,
       MGX_LONG = -5 };
typedef struct { char *p[MGX_OPERANDS]; ptrdiff_t n[MGX_INTEGERS]; double x[MGX_NUMBERS]; } mgx_args;
typedef ptrdiff_t (*mgx_kernel)(const mgx_args *args, char *scratch, ptrdiff_t first, ptrdiff_t last);

enum {
#define KERNEL(name, ...) MGX_KERNEL_##name,
#include "kernels.def"
#undef KERNEL
    MGX_NKERNELS
};

/* a launch in numbers: the elements of each operand and the dtype of each (or that of the launch) */
enum { MGX_OF_LAUNCH = 8, MGX_OF_LAUNCH_STRIDED };
typedef struct {
    ptrdiff_t elements[MGX_OPERANDS], scratch;
    int type[MGX_OPERANDS], operands, first_update;
    double flops;
} mgx_measure;

/* the table as data: what Python reads, and what the door needs to cut a launch into pieces */
typedef struct {
    const char *name, *operation, *doc, *reads, *updates, *writes, *integers, *numbers, *split;
    int keeps_finite, steady;           /* steady: nothing interrupts it */
    ptrdiff_t (*cut)(const mgx_args *args, ptrdiff_t *work, ptrdiff_t *scratch);      /* the length of the axis */
    void (*measure)(const mgx_args *args, mgx_measure *to);
} mgx_kernel_row;
extern const mgx_kernel_row mgx_kernel_table[MGX_NKERNELS];
/* in a checked build: are sizes not negative, operands aligned, and what is written apart from all else? */
void mgx_check_launch(const mgx_kernel_row *row, const mgx_args *args, int dtype);

/* A program of scalar operations, for many samples at once. An operand is a slot: slot p >= 0 is scalar[p], a number
   that all samples share; slot p < 0 is row ~p, `lanes` doubles, one for each sample of a tile. An operation computes
   slot y from operand[first] on, and is either
     op MGX_TERMS   y = o[0]*o[1] + o[2]*o[3] + ..., where o is operand[first] on: `count` products in this
                    order; of a row and a number the row comes first
     op -n          one of a run of n such operations, a layer: rows y and operands follow one another, of every product
                    the first factor is a row, the same in all of them, and the second a number
     a row          of the table; bit k of `count` says that operand k wants a gradient. Local derivatives follow y:
                    the scalar rule puts one per operand there, a D or H row one row
   In the backward pass mode[i] says what the gradient of operand i does to what is there. */
enum { MGX_TERMS = -1, MGX_LANES = 128, MGX_PARTS = 8 };
enum { MGX_NOTHING, MGX_SETS, MGX_ADDS };
typedef struct { int32_t op, y, first, count; } mgx_scalar_op;
typedef struct {
    ptrdiff_t lanes;                    /* up to MGX_LANES, a multiple of MGX_PARTS */
    const int32_t *operand;
    const uint8_t *mode;
    double *number;                     /* for each slot >= 0 the number there, while rows are written */
    double *scalar, *dscalar;           /* numbers and their gradients */
    double *row, *drow;                 /* the same by rows */
    double *scratch;                    /* four rows */
    int no_nan;                         /* no gradient in, none out, even if a factor is inf or nan; else that shows */
} mgx_scalar_program;

/* Loops, one after the other, tile by tile over strided, broadcast operands of any dtype, inputs first.
   An operation takes its arguments from slots: the operands of the launch, and after them tiles that hold what one
   operation writes for others alone. `chain_length` tells how many operations from this one on are light and each work
   on the result of the one before, so that it stays in registers: `code` is what they do to it with slot `with`, and
   `keep` says that the result is written too, `streams` that it is too large to stay in a cache. */
enum { MGX_LIGHT_NONE, MGX_LIGHT_ADD, MGX_LIGHT_SUB, MGX_LIGHT_SUB_FROM, MGX_LIGHT_MUL, MGX_LIGHT_DIV,
       MGX_LIGHT_DIV_INTO, MGX_LIGHT_MUL_NO_NAN, MGX_LIGHT_MUL_NO_NAN_INTO, MGX_LIGHT_NEG, MGX_LIGHT_SQUARE,
       MGX_LIGHT_RELU };
enum { MGX_MAXOPERANDS = 16, MGX_MAXSLOTS = 24, MGX_MAXOPS = 32 };
typedef struct {
    mgx_loop loop;
    const char *name;
    uint8_t arg[MGX_MAXARGS], result, chain_length, code, from, with, keep, streams;
} mgx_op;
typedef ptrdiff_t (*mgx_fused_chain)(ptrdiff_t n, const mgx_op *op, char *const *slot);  /* how many elements it did */
typedef struct {
    int dtype, absent;                  /* absent: what no loop names */
    ptrdiff_t *strides;
    double number;                      /* room for the operand that is one */
    int access, contiguous;
} mgx_operand;
typedef struct {
    int dtype, nin, nout, ndim, count, slots, walks;
    ptrdiff_t *shape, rows, wide, high; /* room for `ndim` lengths, at least one; of each operand for as many strides */
    mgx_fused_chain fused_chain;
    mgx_op *op;                         /* `count` of them, up to MGX_MAXOPS */
    mgx_operand operand[MGX_MAXOPERANDS];       /* no more of them need exist than there are */
} mgx_tiles;

/* operations on Values besides the rows, and a recorded call of them: see segment.inl. A chain is a dot that additions
   made term by term, so gradients go from the last term to the first. `derivative` is stored as `operand` is; none is
   for mul, add and relu */
enum { MGX_LEAF = -1, MGX_MADE = -2, MGX_DOT = -3, MGX_SUM = -4, MGX_MEAN = -5, MGX_REPLAYED = -6, MGX_CHAIN = -7 };
typedef struct {
    int32_t numbers, leaves, nodes;
    int32_t stores;                     /* does any row write derivatives? */
    const int32_t *op, *first;          /* by node; where its operands begin, and one more */
    const int32_t *operand;             /* indices: of numbers below 0, of leaves from 0 on, then of nodes */
    const char *needs;                  /* by node: as `needs` of a rule */
    const int32_t *order, *alike;       /* the nodes level by level; how many from here on are of one level and kind */
} mgx_segment;

/* what one instruction set offers; every array is indexed by dtype */
typedef struct {
    const char *isa;
    mgx_loops rows[2][MGX_NROWS];
    mgx_rule rules[MGX_NROWS];
    mgx_fused_chain fused_chain[2];
    mgx_kernel kernel[MGX_NKERNELS][2];
    /* 1 if none of n contiguous elements is inf or nan, else 0 */
    int (*all_finite[2])(ptrdiff_t n, const char *x);
    /* operations between numbers, once: adds to dscalar */
    void (*replay)(const mgx_scalar_program *program, ptrdiff_t count, const mgx_scalar_op *op);
    void (*replay_vjp)(const mgx_scalar_program *program, ptrdiff_t count, const mgx_scalar_op *op);
    /* operations that write rows: writes drow, adds to dscalar */
    void (*replay_rows)(const mgx_scalar_program *program, ptrdiff_t count, const mgx_scalar_op *op);
    void (*replay_rows_vjp)(const mgx_scalar_program *program, ptrdiff_t count, const mgx_scalar_op *op);
    void (*segment)(const mgx_segment *t, double *y, double *derivative);
    void (*segment_vjp)(const mgx_segment *t, const double *y, const double *derivative, double *g);
} mgx_kernels;

/* There are sets besides the baseline where a source can name them, and the compiler's library tells the processor.
   MGX_BASELINE leaves them out, for a quick build. */
#if defined(__x86_64__) && defined(__GNUC__) && !defined(MGX_BASELINE)
#define MGX_LEVELS
#endif

/* the best set for this processor, or the one that the environment variable MICROGRADX_ISA names;
   NULL if that names none that runs here. Read once. */
const mgx_kernels *mgx_dispatch(void);

/* Threads: pieces 0 to `pieces` - 1 of some work, each once, in any order, here and in others of `mgx_threads`
   threads; a number above 0 sets how many, and what it was is returned. If the work `polls`, the caller's thread calls
   `poll` every few milliseconds, which stops it by returning something else than 0, and is told whether no other thread
   takes part. MGX_DONE or MGX_INTERRUPTED. */
#if defined(_MSC_VER)
#define MGX_THREAD_LOCAL __declspec(thread)
#else
#define MGX_THREAD_LOCAL _Thread_local
#endif
typedef void (*mgx_piece)(void *what, ptrdiff_t i);
typedef int (*mgx_poll)(int alone);
int mgx_threads(int count);
void mgx_set_poll(mgx_poll poll);
ptrdiff_t mgx_run_pieces(ptrdiff_t pieces, mgx_piece piece, void *what, int polls);
void mgx_note_first(ptrdiff_t *first, ptrdiff_t bad);       /* the lowest of the bad indices that pieces meet */
/* Is the launch that this thread works for to stop? A kernel that walks long asks every MGX_PIECE elements or so, and
   breaks off: whoever runs the pieces knows, and nobody reads what it leaves. */
int mgx_interrupted(void);
int mgx_signalled(void);                /* the same between launches: has `poll` said stop? */
enum { MGX_PIECE = 1 << 16,             /* elements of one piece */
       MGX_MUCH = 1 << 20 };            /* elements; fewer are not worth waking a thread: measured on Zen 3, where relu
                                           breaks even there and tanh gains 1.7 with two */

/* what runs launches; each returns MGX_DONE, a bad index or another of the codes above */
ptrdiff_t mgx_run_kernel(const mgx_kernel_row *row, mgx_kernel kernel, const mgx_args *args);
ptrdiff_t mgx_run_short_kernel(const mgx_kernel_row *row, mgx_kernel kernel, const mgx_args *args);  /* or MGX_LONG */
ptrdiff_t mgx_run_loop(mgx_loop loop, ptrdiff_t n, int dtype, int count, char *const *p);  /* n elements, in order */
void mgx_prepare(mgx_tiles *tiles);                                     /* once, before it is run */
ptrdiff_t mgx_run_tiles(const mgx_tiles *tiles, char *const *data);     /* data: the first byte of every operand */

/* BLAS, column-major, for the products that gemm.inl declines; set once */
typedef void (*mgx_sgemm)(char *, char *, int *, int *, int *, float *, float *, int *, float *, int *, float *,
                          float *, int *);
typedef void (*mgx_dgemm)(char *, char *, int *, int *, int *, double *, double *, int *, double *, int *, double *,
                          double *, int *);
void mgx_set_blas(mgx_sgemm s, mgx_dgemm d);
ptrdiff_t mgx_blas_f32(int ta, int tb, ptrdiff_t m, ptrdiff_t n, ptrdiff_t k, double alpha, const float *a,
                       ptrdiff_t lda, const float *b, ptrdiff_t ldb, double beta, float *c, ptrdiff_t ldc);
ptrdiff_t mgx_blas_f64(int ta, int tb, ptrdiff_t m, ptrdiff_t n, ptrdiff_t k, double alpha, const double *a,
                       ptrdiff_t lda, const double *b, ptrdiff_t ldb, double beta, double *c, ptrdiff_t ldc);
#endif
