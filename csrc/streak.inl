/* A streak: light operations, each on the result of the one before, for one dtype and ISA. Eight vectors stay in
   registers from the first operation to the last; whoever else reads a result on the way finds it in its place.
   The same expressions as the rows of the table, on vectors: results agree to the bit. */
#ifdef SHUFFLES                                 /* as in gemm.inl: its vectors, and compilers that have them */
#define EIGHT UNROLL for (int v = 0; v < 8; v++)
#define MASKED(mask, x) ((VEC)((MASK)(x) & (mask)))
#define MASK V(streak_mask)
typedef __typeof__((VEC){0} == (VEC){0}) MASK;

/* How many of the n elements were done: all whole blocks. */
static ptrdiff_t V(streak)(ptrdiff_t n, const mgx_op *op, char *const *place)
{
    const mgx_op *const stop = op + op->streak;
    ptrdiff_t i = 0;
    for (; i + 8 * W <= n; i += 8 * W) {
        VEC x[8];
        const VEC *from = (const VEC *)((const REAL *)place[op->from] + i);
        EIGHT x[v] = from[v];
        for (const mgx_op *o = op; o < stop; o++) {
            const VEC *with = (const VEC *)((const REAL *)place[o->with] + i);
            switch (o->code) {
            case MGX_LIGHT_ADD: EIGHT x[v] += with[v]; break;
            case MGX_LIGHT_SUB: EIGHT x[v] -= with[v]; break;
            case MGX_LIGHT_SUB_FROM: EIGHT x[v] = with[v] - x[v]; break;
            case MGX_LIGHT_MUL: EIGHT x[v] *= with[v]; break;
            case MGX_LIGHT_DIV: EIGHT x[v] /= with[v]; break;
            case MGX_LIGHT_DIV_INTO: EIGHT x[v] = with[v] / x[v]; break;
            case MGX_LIGHT_CHAIN: EIGHT x[v] = MASKED(x[v] != 0, x[v] * with[v]); break;
            case MGX_LIGHT_CHAIN_INTO: EIGHT x[v] = MASKED(with[v] != 0, with[v] * x[v]); break;
            case MGX_LIGHT_NEG: EIGHT x[v] = -x[v]; break;
            case MGX_LIGHT_SQUARE: EIGHT x[v] = x[v] * x[v]; break;
            case MGX_LIGHT_RELU: EIGHT x[v] = MASKED(~(x[v] <= 0), x[v]); break;
            }
            if (o->keep) {
                VEC *to = (VEC *)((REAL *)place[o->result] + i);
                EIGHT to[v] = x[v];
            }
        }
    }
    return i;
}
#undef EIGHT
#undef MASKED
#undef MASK
#else
static ptrdiff_t V(streak)(ptrdiff_t n, const mgx_op *op, char *const *place) { return 0; }
#endif
