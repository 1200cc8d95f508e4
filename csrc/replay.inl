/* Programs of scalar operations (kernels.h says what they are), for one ISA, in double.

   Sums of products are most of such a program, so they have loops of their own, in which some registers of sums stay
   while terms pass by: 32 lanes of one sum, or eight registers of several in a run, which share every row and number
   that is loaded. Everything else runs through the rows of the table. The gradient of a number is a sum over lanes, in
   an order that does not depend on the width of a register. */
static const mgx_kernels *table;          /* of the chosen set: for the rows of the table */
#define TABLE (*table)

#define WIDE (BYTES / 8)
#define BLOCK (32 / WIDE)               /* registers of one sum */
#define PAIR (MGX_PARTS / WIDE)         /* registers of one of WIDE sums */
#define SUMS (WIDE * PAIR)
#ifdef __x86_64__
#define HOLD(x) __asm__("" : "+x"(x))   /* in a register: GCC would load it again for every use */
#else
#define HOLD(x)
#endif
#define ALWAYS static inline __attribute__((always_inline))
#define EACH(v, count) _Pragma("GCC unroll 16") for (int v = 0; v < count; v++)
typedef double wide __attribute__((vector_size(WIDE * sizeof(double)), may_alias));
typedef int64_t wide_mask __attribute__((vector_size(WIDE * sizeof(double)), may_alias));

/* the program's rows are whole registers, and a slot of a row is one */
ALWAYS int is_valid_program(const mgx_scalar_program *t)
{
    return t->lanes >= 0 && t->lanes <= MGX_LANES && t->lanes % MGX_PARTS == 0 && (uintptr_t)t->row % sizeof(wide) == 0
        && (uintptr_t)t->drow % sizeof(wide) == 0 && (uintptr_t)t->scratch % sizeof(wide) == 0;
}

#define AT(rows, slot) (t->rows + (ptrdiff_t)~(slot) * t->lanes)

/* lane i to part i % MGX_PARTS in the order of i, and those together */
ALWAYS double total(const wide *x, const int count)
{
    wide sum[PAIR];
    double part[MGX_PARTS];
    EACH(v, PAIR) sum[v] = x[v];
    EACH(v, count) if (v >= PAIR) sum[v % PAIR] += x[v];
    __builtin_memcpy(part, sum, sizeof part);
    return ((part[0] + part[4]) + (part[2] + part[6])) + ((part[1] + part[5]) + (part[3] + part[7]));
}

/* ----- sums of products ----- */

/* `count` registers from lane i on of y of each of `sums` steps of a run */
ALWAYS void terms(const mgx_scalar_program *t, const mgx_scalar_op *s, ptrdiff_t i, const int sums, const int count)
{
    const int32_t *p = t->operand + s->first;
    const double *number = t->number + s->first + 1;
    const ptrdiff_t next = 2 * s->count, lanes = t->lanes;
    wide sum[BLOCK > SUMS ? BLOCK : SUMS];
    EACH(v, sums * count) sum[v] = -(wide){0};                      /* -0.0 + x is x, whatever the sign of x */
    for (ptrdiff_t k = 0; k < next; k += 2) {
        if (sums == 1 && p[k] >= 0) {
            EACH(v, count) sum[v] += number[k - 1] * number[k];
            continue;
        }
        MGX_ASSERT(p[k] < 0);
        const wide *a = (const wide *)(AT(row, p[k]) + i);
        if (sums == 1 && p[k + 1] < 0) {
            const wide *b = (const wide *)(AT(row, p[k + 1]) + i);
            EACH(v, count) sum[v] += a[v] * b[v];
        } else
            EACH(j, sums) EACH(v, count) sum[j * count + v] += a[v] * number[j * next + k];
    }
    double *y = AT(row, s->y) + i;
    EACH(j, sums) EACH(v, count) ((wide *)(y + j * lanes))[v] = sum[j * count + v];
}

/* da = or += product, by mode */
ALWAYS void to_row(wide *da, const wide *product, int mode, const int count)
{
    if (mode == MGX_SETS)
        EACH(v, count) da[v] = product[v];
    else
        EACH(v, count) da[v] += product[v];
}

/* the row mul_no_nan for each factor of each term: nothing in, nothing out */
ALWAYS void terms_vjp(const mgx_scalar_program *t, const mgx_scalar_op *s, ptrdiff_t i, const int count)
{
    const int32_t *p = t->operand + s->first;
    const uint8_t *mode = t->mode + s->first;
    const wide *dy = (const wide *)(AT(drow, s->y) + i);
    wide g[BLOCK], product[BLOCK];
    wide_mask live[BLOCK];
    EACH(v, count) g[v] = dy[v], live[v] = g[v] != 0;
    for (int32_t k = 0; k < 2 * s->count; k++) {
        int32_t slot = p[k], other = p[k ^ 1];
        if (mode[k] == MGX_NOTHING)
            continue;
        if (other >= 0) {
            double b = t->number[s->first + (k ^ 1)];
            EACH(v, count) product[v] = (wide)((wide_mask)(g[v] * b) & live[v]);
        } else {
            const wide *b = (const wide *)(AT(row, other) + i);
            EACH(v, count) product[v] = (wide)((wide_mask)(g[v] * b[v]) & live[v]);
        }
        if (slot >= 0)
            t->dscalar[slot] += total(product, count);
        else
            to_row((wide *)(AT(drow, slot) + i), product, mode[k], count);
    }
}

/* ----- the gradient of a run, where no factor is inf or nan ----- */

/* Up to WIDE shared factors, from operand *k on, that have a gradient, the first again in place of missing ones, and
   how each is written: as by the last operation that does so. Returns how many. */
ALWAYS int choose_factors(const uint8_t *mode, ptrdiff_t next, int run, int32_t *k, int32_t *at, int32_t *modes)
{
    int n = 0;
    for (; *k < next && n < WIDE; *k += 2) {
        modes[n] = MGX_NOTHING;
        for (int j = run; j-- > 0 && modes[n] == MGX_NOTHING;)
            modes[n] = mode[j * next + *k];
        at[n] = *k;
        n += modes[n] != MGX_NOTHING;
    }
    for (int m = n; m < WIDE; m++)
        at[m] = at[0];
    return n;
}

/* of the factors that the steps share, WIDE at a time */
static void run_vjp_shared(const mgx_scalar_program *t, const mgx_scalar_op *s, int run)
{
    const int32_t *p = t->operand + s->first;
    const double *number = t->number + s->first + 1, *dy = AT(drow, s->y);
    const uint8_t *mode = t->mode + s->first;
    const ptrdiff_t next = 2 * s->count;
    int32_t k = 0, at[WIDE], modes[WIDE];
    for (int n; (n = choose_factors(mode, next, run, &k, at, modes));)
        for (ptrdiff_t i = 0; i < t->lanes; i += MGX_PARTS) {
            wide sum[SUMS];
            EACH(v, SUMS) sum[v] = (wide){0};
            for (int j = run; j-- > 0;) {
                const wide *g = (const wide *)(dy + j * t->lanes + i);
                EACH(m, WIDE) {
                    double b = number[j * next + at[m]];
                    EACH(v, PAIR) sum[m * PAIR + v] += g[v] * b;
                }
            }
            EACH(m, WIDE)
                if (m < n)
                    to_row((wide *)(AT(drow, p[at[m]]) + i), sum + m * PAIR, modes[m], PAIR);
        }
}

/* of the numbers: those of WIDE / 2 terms of two steps at a time */
static void run_vjp_numbers(const mgx_scalar_program *t, const mgx_scalar_op *s, int run)
{
    const int32_t *p = t->operand + s->first;
    const uint8_t *mode = t->mode + s->first;
    const double *dy = AT(drow, s->y), *x[WIDE / 2];
    const ptrdiff_t next = 2 * s->count;
    for (ptrdiff_t k = 0; k < next; k += WIDE) {
        EACH(m, WIDE / 2) x[m] = k + 2 * m < next ? AT(row, p[k + 2 * m]) : x[0];
        for (int j = 0; j < run; j += 2) {
            const double *g0 = dy + j * t->lanes, *g1 = j + 1 < run ? g0 + t->lanes : g0;
            wide sum[SUMS];
            EACH(v, SUMS) sum[v] = (wide){0};
            for (ptrdiff_t i = 0; i < t->lanes; i += MGX_PARTS)
                EACH(v, PAIR) {
                    wide a = ((const wide *)(g0 + i))[v], b = ((const wide *)(g1 + i))[v];
                    HOLD(a);
                    HOLD(b);
                    EACH(m, WIDE / 2) {
                        wide factor = ((const wide *)(x[m] + i))[v];
                        HOLD(factor);
                        sum[2 * m * PAIR + v] += a * factor;
                        sum[(2 * m + 1) * PAIR + v] += b * factor;
                    }
                }
            EACH(m, WIDE / 2) EACH(q, 2) {
                ptrdiff_t operand = (j + q) * next + k + 2 * m + 1;
                if (k + 2 * m < next && j + q < run && mode[operand] != MGX_NOTHING)
                    t->dscalar[p[operand]] += total(sum + (2 * m + q) * PAIR, PAIR);
            }
        }
    }
}

/* ----- rows of the table ----- */

/* The operands of s as rows, a number in a scratch row; returns how many. */
static int operands(const mgx_scalar_program *t, const mgx_scalar_op *s, char **x)
{
    MGX_ASSERT(s->op >= 0 && s->op < MGX_NROWS);
    int arity = mgx_table[s->op].arity;
    for (int k = 0; k < arity; k++) {
        int32_t slot = t->operand[s->first + k];
        double *row = slot < 0 ? AT(row, slot) : t->scratch + k * t->lanes;
        for (ptrdiff_t i = 0; slot >= 0 && i < t->lanes; i++)
            row[i] = t->scalar[slot];
        x[k] = (char *)row;
    }
    return arity;
}

/* How many steps, s and those after it, or before it if way is -1, do the same to rows that follow one another, none
   to what another of them has made: so many can be one. */
static int alike(const mgx_scalar_program *t, const mgx_scalar_op *s, ptrdiff_t most, int way)
{
    int n = 1;
    for (; n < most && s[way * n].op == s->op && s[way * n].y == s->y - way * n; n++) {
        const mgx_scalar_op *first = way > 0 ? s : s - n;
        for (int k = 0; k < mgx_table[s->op].arity; k++) {
            int32_t low = t->operand[first->first + k], high = t->operand[first[n].first + k];
            int mode = t->mode[first->first + k];
            if (low >= 0 || high != low - n || high <= first->y)
                return n;
            if (mode == MGX_ADDS || mode != t->mode[first[n].first + k])
                return n;
        }
    }
    return n;
}

static void operation(const mgx_scalar_program *t, const mgx_scalar_op *s, int n)
{
    const mgx_loops *loops = &TABLE.rows[MGX_F64][s->op];
    double *y = AT(row, s->y);
    char *x[5];
    int arity = operands(t, s, x);
    x[arity] = (char *)y, x[arity + 1] = (char *)(y + t->lanes);
    (loops->part[MGX_FORWARD_D] && s->count ? loops->part[MGX_FORWARD_D] : loops->part[MGX_FORWARD])(n * t->lanes, x);
}

static void operation_vjp(const mgx_scalar_program *t, const mgx_scalar_op *s, int n)
{
    const mgx_loops *loops = &TABLE.rows[MGX_F64][s->op];
    double *y = AT(row, s->y), *scratch = t->scratch + 3 * t->lanes;
    char *x[6] = {(char *)AT(drow, s->y)};
    int arity = s->count ? operands(t, s, x + 1) : 0;
    for (int k = 0; k < arity; k++) {
        int32_t slot = t->operand[s->first + k];
        int mode = t->mode[s->first + k];
        if (mode == MGX_NOTHING)
            continue;
        double *dx = slot < 0 ? AT(drow, slot) : NULL, *to = mode == MGX_SETS ? dx : scratch;
        if (loops->part[MGX_FORWARD_D])
            TABLE.rows[MGX_F64][MGX_mul_no_nan].part[MGX_FORWARD](
                n * t->lanes, (char *[]){x[0], (char *)(y + t->lanes), (char *)to});
        else {
            x[arity + 1] = (char *)y, x[arity + 2] = (char *)to;
            loops->part[MGX_VJP0 + k](n * t->lanes, x);
        }
        for (ptrdiff_t i = 0; to == scratch && i < t->lanes; i += MGX_PARTS)
            if (slot < 0)
                to_row((wide *)(dx + i), (const wide *)(scratch + i), MGX_ADDS, PAIR);
            else
                t->dscalar[slot] += total((const wide *)(scratch + i), PAIR);
    }
}

/* ----- the four ways through a program ----- */

static void replay_rows(const mgx_scalar_program *t, ptrdiff_t count, const mgx_scalar_op *s)
{
    MGX_ASSERT(count >= 0 && is_valid_program(t));
    for (const mgx_scalar_op *end = s + count; s < end;) {
        if (s->op >= 0) {
            int n = alike(t, s, end - s, 1);
            operation(t, s, n);
            s += n;
            continue;
        }
        const mgx_scalar_op *last = s - s->op;
        for (; s + WIDE <= last; s += WIDE)
            for (ptrdiff_t i = 0; i < t->lanes; i += MGX_PARTS)
                terms(t, s, i, WIDE, PAIR);
        for (; s < last; s++) {
            ptrdiff_t i = 0;
            for (; i + BLOCK * WIDE <= t->lanes; i += BLOCK * WIDE)
                terms(t, s, i, 1, BLOCK);
            for (; i < t->lanes; i += MGX_PARTS)
                terms(t, s, i, 1, PAIR);
        }
    }
}

static void replay_rows_vjp(const mgx_scalar_program *t, ptrdiff_t count, const mgx_scalar_op *op)
{
    MGX_ASSERT(count >= 0 && is_valid_program(t));
    for (const mgx_scalar_op *s = op + count; s > op;) {
        s--;
        if (s->op >= 0) {
            int n = alike(t, s, s - op + 1, -1);
            s -= n - 1;
            operation_vjp(t, s, n);
        } else if (s->op == MGX_TERMS || t->no_nan) {
            ptrdiff_t i = 0;
            for (; i + BLOCK * WIDE <= t->lanes; i += BLOCK * WIDE)
                terms_vjp(t, s, i, BLOCK);
            for (; i < t->lanes; i += MGX_PARTS)
                terms_vjp(t, s, i, PAIR);
        } else {
            int run = -s->op;
            s -= run - 1;
            run_vjp_numbers(t, s, run);
            run_vjp_shared(t, s, run);
        }
    }
}

static void replay(const mgx_scalar_program *t, ptrdiff_t count, const mgx_scalar_op *s)
{
    double *v = t->scalar;
    for (const mgx_scalar_op *end = s + count; s < end; s++) {
        const int32_t *p = t->operand + s->first;
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

static void replay_vjp(const mgx_scalar_program *t, ptrdiff_t count, const mgx_scalar_op *op)
{
    const double *v = t->scalar;
    double *d = t->dscalar;
    for (const mgx_scalar_op *s = op + count; s > op;) {
        s--;
        const int32_t *p = t->operand + s->first;
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
                    d[p[k]] += mgx_times(v[s->y + 1 + k], g);
    }
}
