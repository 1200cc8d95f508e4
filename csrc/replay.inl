/* Programs of scalar operations (kernels.h says what they are), for one ISA, in double.

   Sums of products are most of such a program, so they have loops of their own: 32 lanes of the sum stay in registers
   while its terms pass by. Everything else runs through the rows of the table. The gradient of a number is the sum
   over lanes; lane i adds to part i % MGX_PARTS, in the order of i, whatever the width of a register. */
extern const mgx_kernels PASTE(mgx_kernels, ISA);
#define TABLE PASTE(mgx_kernels, ISA)

#if defined(__AVX512F__)
#define WIDE 8
#elif defined(__AVX2__)
#define WIDE 4
#else
#define WIDE 2
#endif
#define BLOCK 32
#define ALWAYS static inline __attribute__((always_inline))
#define EACH(v, count) _Pragma("GCC unroll 16") for (int v = 0; v < count; v++)
typedef double wide __attribute__((vector_size(WIDE * sizeof(double)), may_alias));
typedef int64_t wide_mask __attribute__((vector_size(WIDE * sizeof(double)), may_alias));

ALWAYS double *lanes_of(double *rows, int32_t place) { return rows + (ptrdiff_t)~place * MGX_LANES; }

/* ----- sums of products ----- */

/* `count` registers of y from lane i on */
ALWAYS void terms(const mgx_tape *t, const mgx_step *s, ptrdiff_t i, const int count)
{
    const int32_t *p = t->place + s->first;
    wide sum[BLOCK / WIDE];
    EACH(v, count) sum[v] = (wide){0} - 0.0;                        /* -0.0 + x is x, whatever the sign of x */
    for (int32_t k = 0; k < s->count; k++, p += 2) {
        if (p[0] >= 0) {
            double product = t->scalar[p[0]] * t->scalar[p[1]];
            EACH(v, count) sum[v] += product;
            continue;
        }
        const wide *a = (const wide *)(lanes_of(t->row, p[0]) + i);
        if (p[1] >= 0) {
            double b = t->scalar[p[1]];
            EACH(v, count) sum[v] += a[v] * b;
        } else {
            const wide *b = (const wide *)(lanes_of(t->row, p[1]) + i);
            EACH(v, count) sum[v] += a[v] * b[v];
        }
    }
    wide *y = (wide *)(lanes_of(t->row, s->y) + i);
    EACH(v, count) y[v] = sum[v];
}

/* da = or += product, by mode */
ALWAYS void to_row(wide *da, const wide *product, int mode, const int count)
{
    if (mode == MGX_SETS)
        EACH(v, count) da[v] = product[v];
    else
        EACH(v, count) da[v] += product[v];
}

ALWAYS void to_parts(double *parts, const wide *product, const int count)
{
    wide *part = (wide *)parts;
    EACH(v, count) part[v % (MGX_PARTS / WIDE)] += product[v];
}

/* the row chain for each factor of each term: nothing in, nothing out */
ALWAYS void terms_vjp(const mgx_tape *t, const mgx_step *s, ptrdiff_t i, const int count)
{
    const int32_t *p = t->place + s->first;
    const uint8_t *mode = t->mode + s->first;
    const wide *dy = (const wide *)(lanes_of(t->drow, s->y) + i);
    wide g[BLOCK / WIDE], product[BLOCK / WIDE];
    wide_mask live[BLOCK / WIDE];
    EACH(v, count) g[v] = dy[v], live[v] = g[v] != 0;
    for (int32_t k = 0; k < 2 * s->count; k++) {
        int32_t place = p[k], other = p[k ^ 1];
        if (mode[k] == MGX_NOTHING)
            continue;
        if (other >= 0) {
            double b = t->scalar[other];
            EACH(v, count) product[v] = (wide)((wide_mask)(g[v] * b) & live[v]);
        } else {
            const wide *b = (const wide *)(lanes_of(t->row, other) + i);
            EACH(v, count) product[v] = (wide)((wide_mask)(g[v] * b[v]) & live[v]);
        }
        if (place >= 0)
            to_parts(t->parts + (ptrdiff_t)place * MGX_PARTS, product, count);
        else
            to_row((wide *)(lanes_of(t->drow, place) + i), product, mode[k], count);
    }
}

/* ----- rows of the table ----- */

/* The operands of s as rows, a number in a spare one; returns how many. */
static int operands(const mgx_tape *t, const mgx_step *s, ptrdiff_t lanes, char **x)
{
    int arity = mgx_table[s->op].arity;
    for (int k = 0; k < arity; k++) {
        int32_t place = t->place[s->first + k];
        double *row = place < 0 ? lanes_of(t->row, place) : t->spare + k * MGX_LANES;
        for (ptrdiff_t i = 0; place >= 0 && i < lanes; i++)
            row[i] = t->scalar[place];
        x[k] = (char *)row;
    }
    return arity;
}

static void operation(const mgx_tape *t, const mgx_step *s, ptrdiff_t lanes)
{
    const mgx_loops *loops = &TABLE.rows[MGX_F64][s->op];
    double *y = lanes_of(t->row, s->y);
    char *x[5];
    int arity = operands(t, s, lanes, x);
    x[arity] = (char *)y, x[arity + 1] = (char *)(y + MGX_LANES);
    (loops->forward_d && s->count ? loops->forward_d : loops->forward)(lanes, x);
}

static void operation_vjp(const mgx_tape *t, const mgx_step *s, ptrdiff_t lanes)
{
    const mgx_loops *loops = &TABLE.rows[MGX_F64][s->op];
    double *y = lanes_of(t->row, s->y), *spare = t->spare + 3 * MGX_LANES;
    char *x[6] = {(char *)lanes_of(t->drow, s->y)};
    int arity = s->count ? operands(t, s, lanes, x + 1) : 0;
    for (int k = 0; k < arity; k++) {
        int32_t place = t->place[s->first + k];
        int mode = t->mode[s->first + k];
        if (mode == MGX_NOTHING)
            continue;
        double *dx = place < 0 ? lanes_of(t->drow, place) : NULL, *to = mode == MGX_SETS ? dx : spare;
        if (loops->forward_d)
            TABLE.rows[MGX_F64][MGX_chain].forward(lanes, (char *[]){x[0], (char *)(y + MGX_LANES), (char *)to});
        else {
            x[arity + 1] = (char *)y, x[arity + 2] = (char *)to;
            loops->vjp[k](lanes, x);
        }
        for (ptrdiff_t i = 0; to == spare && i < lanes; i += WIDE)
            if (place < 0)
                to_row((wide *)(dx + i), (const wide *)(spare + i), MGX_ADDS, 1);
            else
                to_parts(t->parts + place * MGX_PARTS + i % MGX_PARTS, (const wide *)(spare + i), 1);
    }
}

/* ----- the four ways through a program ----- */

static void replay_rows(const mgx_tape *t, ptrdiff_t count, const mgx_step *s, ptrdiff_t lanes)
{
    for (const mgx_step *end = s + count; s < end; s++) {
        if (s->op != MGX_TERMS) {
            operation(t, s, lanes);
            continue;
        }
        ptrdiff_t i = 0;
        for (; i + BLOCK <= lanes; i += BLOCK)
            terms(t, s, i, BLOCK / WIDE);
        for (; i < lanes; i += MGX_PARTS)
            terms(t, s, i, MGX_PARTS / WIDE);
    }
}

static void replay_rows_vjp(const mgx_tape *t, ptrdiff_t count, const mgx_step *step, ptrdiff_t lanes)
{
    for (const mgx_step *s = step + count; s-- > step;) {
        if (s->op != MGX_TERMS) {
            operation_vjp(t, s, lanes);
            continue;
        }
        ptrdiff_t i = 0;
        for (; i + BLOCK <= lanes; i += BLOCK)
            terms_vjp(t, s, i, BLOCK / WIDE);
        for (; i < lanes; i += MGX_PARTS)
            terms_vjp(t, s, i, MGX_PARTS / WIDE);
    }
}

static void replay(const mgx_tape *t, ptrdiff_t count, const mgx_step *s)
{
    double *v = t->scalar;
    for (const mgx_step *end = s + count; s < end; s++) {
        const int32_t *p = t->place + s->first;
        if (s->op == MGX_TERMS) {
            double sum = -0.0;
            for (int32_t k = 0; k < 2 * s->count; k += 2)
                sum += v[p[k]] * v[p[k + 1]];
            v[s->y] = sum;
        } else {
            double x[3];
            for (int k = 0; k < mgx_table[s->op].arity; k++)
                x[k] = v[p[k]];
            TABLE.rules[s->op](x, s->count, v + s->y, v + s->y + 1);
        }
    }
}

static void replay_vjp(const mgx_tape *t, ptrdiff_t count, const mgx_step *step)
{
    const double *v = t->scalar;
    double *d = t->dscalar;
    for (const mgx_step *s = step + count; s-- > step;) {
        const int32_t *p = t->place + s->first;
        double g = d[s->y];
        if (g == 0)
            continue;
        if (s->op == MGX_TERMS)
            for (int32_t k = 0; k < 2 * s->count; k += 2) {
                d[p[k]] += v[p[k + 1]] * g;
                d[p[k + 1]] += v[p[k]] * g;
            }
        else
            for (int k = 0; k < mgx_table[s->op].arity; k++)
                if (s->count >> k & 1)
                    d[p[k]] += v[s->y + 1 + k] * g;
    }
}
#undef TABLE
#undef WIDE
#undef BLOCK
#undef ALWAYS
#undef EACH
