/* A fused chain: light operations, each on the result of the one before, for one dtype and ISA. Eight vectors stay in
   registers from the first operation to the last; whoever else reads a result on the way finds it in its slot.
   The same expressions as the rows of the table, on vectors: results agree to the bit. */
#include "vectors.h"
#ifndef STREAM                                  /* a store past the caches, of whole vectors at their own alignment */
typedef float FLOATS __attribute__((vector_size(BYTES)));
#if defined(__clang__)
#define STREAM(to, x) __builtin_nontemporal_store(x, to)
#elif BYTES == 64
#define STREAM(to, x) __builtin_ia32_movntps512((float *)(to), (FLOATS)(x))
#elif BYTES == 32
#define STREAM(to, x) __builtin_ia32_movntps256((float *)(to), (FLOATS)(x))
#else
#define STREAM(to, x) (*(to) = (x))
#endif
#endif
#ifdef SHUFFLES                                 /* as in gemm.inl: its vectors, and compilers that have them */
#define EIGHT UNROLL for (int v = 0; v < 8; v++)
#define MASKED(mask, x) ((VEC)((MASK)(x) & (mask)))
#define MASK V(chain_mask)
typedef __typeof__((VEC){0} == (VEC){0}) MASK;

/* How many of the n elements were done: all whole blocks. From one operation to the next by computed jumps: a switch
   took as long as the operation. */
static ptrdiff_t V(fused_chain)(ptrdiff_t n, const mgx_op *op, char *const *slot)
{
    static const void *const label[] = {
        [MGX_LIGHT_NONE] = &&none, [MGX_LIGHT_ADD] = &&add, [MGX_LIGHT_SUB] = &&sub, [MGX_LIGHT_SUB_FROM] = &&sub_from,
        [MGX_LIGHT_MUL] = &&mul, [MGX_LIGHT_DIV] = &&div, [MGX_LIGHT_DIV_INTO] = &&div_into,
        [MGX_LIGHT_MUL_NO_NAN] = &&mul_no_nan, [MGX_LIGHT_MUL_NO_NAN_INTO] = &&mul_no_nan_into, [MGX_LIGHT_NEG] = &&neg,
        [MGX_LIGHT_SQUARE] = &&square, [MGX_LIGHT_RELU] = &&relu};
    struct { const void *label; char *slot; } code[2 * MGX_MAXOPS + 1], *end = code;
    MGX_ASSERT(n >= 0 && op->chain_length <= MGX_MAXOPS);
    for (const mgx_op *o = op; o < op + op->chain_length; o++) {
        MGX_ASSERT(o->code <= MGX_LIGHT_RELU && o->with < MGX_MAXSLOTS && o->result < MGX_MAXSLOTS);
        end->label = label[o->code], (end++)->slot = slot[o->with];
        if (o->keep)
            end->label = o->streams ? &&stream : &&keep, (end++)->slot = slot[o->result];
    }
    end->label = &&done;
    ptrdiff_t i = 0;
    for (; i + 8 * W <= n; i += 8 * W) {
        VEC x[8];
        const VEC *from = (const VEC *)((const REAL *)slot[op->from] + i);
        EIGHT x[v] = from[v];
        const __typeof__(code[0]) *c = code;
#define ONWARD goto *c->label
#define WITH ((const VEC *)((REAL *)(c++)->slot + i))
#define STEP(what, expression) what: { const VEC *with = WITH; (void)with; EIGHT x[v] = expression; } ONWARD
        ONWARD;
        STEP(add, x[v] + with[v]);
        STEP(sub, x[v] - with[v]);
        STEP(sub_from, with[v] - x[v]);
        STEP(mul, x[v] * with[v]);
        STEP(div, x[v] / with[v]);
        STEP(div_into, with[v] / x[v]);
        STEP(mul_no_nan, MASKED(x[v] != 0, x[v] * with[v]));
        STEP(mul_no_nan_into, MASKED(with[v] != 0, with[v] * x[v]));
        STEP(neg, -x[v]);
        STEP(square, x[v] * x[v]);
        STEP(relu, MASKED(~(x[v] <= 0), x[v]));
    none:
        c++;
        ONWARD;
    stream:
        if ((uintptr_t)((REAL *)c->slot + i) % BYTES == 0) {
            VEC *to = (VEC *)WITH;
            EIGHT STREAM(to + v, x[v]);
            ONWARD;
        }
    keep: {
            VEC *to = (VEC *)WITH;
            EIGHT to[v] = x[v];
        }
        ONWARD;
    done:;
    }
    return i;
}
#undef ONWARD
#undef WITH
#undef STEP
#undef EIGHT
#undef MASKED
#undef MASK
#else
static ptrdiff_t V(fused_chain)(ptrdiff_t n, const mgx_op *op, char *const *slot) { return 0; }
#endif
