/* Recurrent layers: all steps of one layer in one direction, for one dtype and ISA.
   u is packed once and stays in a cache while every step multiplies the states by it; behind each product one loop over
   the gates makes the next states and, for the backward pass, the local derivatives. Those are computed from what does
   not cancel, as in the rows of ops.def: sigma' from both sides, never y (1 - y). */

/* The loops of one step of one sequence. They are functions of their own, and short, for the compiler reads `restrict`
   of parameters alone, and vectorises no loop over many arrays without it, nor one that asks the same question twice.
   */
#define STEP_LOOP __attribute__((noinline)) static void

/* z = the function of x + (z + b), d = its derivative there */
STEP_LOOP V(step_sigmoid)(ptrdiff_t n, const REAL *restrict x, REAL *restrict z, const REAL *restrict b,
                          REAL *restrict d)
{
    for (ptrdiff_t j = 0; j < n; j++) {
        const REAL p = x[j] + (z[j] + b[j]);
        z[j] = V(sigmoid)(p), d[j] = V(dsigmoid)(p);
    }
}

STEP_LOOP V(step_tanh)(ptrdiff_t n, const REAL *restrict x, REAL *restrict z, const REAL *restrict b, REAL *restrict d)
{
    for (ptrdiff_t j = 0; j < n; j++) {
        const REAL p = x[j] + (z[j] + b[j]);
        z[j] = V(tanh)(p), d[j] = V(sech2)(p);
    }
}

STEP_LOOP V(step_relu)(ptrdiff_t n, const REAL *restrict x, REAL *restrict z, const REAL *restrict b, REAL *restrict d)
{
    for (ptrdiff_t j = 0; j < n; j++) {
        const REAL p = x[j] + (z[j] + b[j]);
        z[j] = p <= 0 ? 0 : p, d[j] = p <= 0 ? 0 : 1;
    }
}

/* z = r and u of GRU, of which d has the derivatives, and U h for the third gate; s: the state; y: the result. 1 - u is
   u' / u where it would cancel. */
STEP_LOOP V(step_gru)(ptrdiff_t h, const REAL *restrict x, const REAL *restrict z, const REAL *restrict b,
                      REAL *restrict s, REAL *restrict y, REAL *restrict d)
{
    _Pragma("GCC ivdep")                /* the parts of z and of d are h apart */
    for (ptrdiff_t j = 0; j < h; j++) {
        const REAL r = z[j], u = z[h + j], m = z[2 * h + j] + b[j], p = x[j] + r * m, n = V(tanh)(p);
        const REAL rest = u < K(0.5) ? 1 - u : d[h + j] / u;
        d[j] *= m;
        d[h + j] *= s[j] - n;
        d[2 * h + j] = rest * V(sech2)(p);
        d[3 * h + j] = r;
        d[4 * h + j] = u;
        s[j] = y[j] = n + u * (s[j] - n);
    }
}

/* z = the gates of LSTM, of which d has the derivatives; s, c: the states; y: the result */
STEP_LOOP V(step_lstm)(ptrdiff_t h, const REAL *restrict z, REAL *restrict s, REAL *restrict c, REAL *restrict y,
                       REAL *restrict d)
{
    _Pragma("GCC ivdep")                /* the parts of z and of d are h apart */
    for (ptrdiff_t j = 0; j < h; j++) {
        const REAL i = z[j], f = z[h + j], g = z[2 * h + j], o = z[3 * h + j], next = f * c[j] + i * g;
        const REAL t = V(tanh)(next);
        d[j] *= g;
        d[h + j] *= c[j];
        d[2 * h + j] *= i;
        d[3 * h + j] *= t;
        d[4 * h + j] = o * V(sech2)(next);
        d[5 * h + j] = f;
        c[j] = next;
        s[j] = y[j] = o * t;
    }
}

STEP_LOOP V(step_add)(ptrdiff_t n, const REAL *restrict x, REAL *restrict y)
{
    for (ptrdiff_t j = 0; j < n; j++)
        y[j] += x[j];
}

/* dx = g times d, and g *= d: 0 where g is 0 */
STEP_LOOP V(step_chain)(ptrdiff_t n, const REAL *restrict g, const REAL *restrict d, REAL *restrict dx)
{
    for (ptrdiff_t j = 0; j < n; j++)
        dx[j] = mul_no_nan(g[j], d[j]);
}

STEP_LOOP V(step_chain_on)(ptrdiff_t n, REAL *restrict g, const REAL *restrict d)
{
    for (ptrdiff_t j = 0; j < n; j++)
        g[j] = mul_no_nan(g[j], d[j]);
}
#undef STEP_LOOP

/* the first step that has more sequences than the one before, `steps` if they do not come to all rows, or MGX_DONE */
static ptrdiff_t V(find_bad_count)(const int64_t *count, ptrdiff_t steps, ptrdiff_t m, ptrdiff_t rows)
{
    for (ptrdiff_t t = 0; t < steps; rows -= (ptrdiff_t)count[t++])
        if (count[t] < 0 || count[t] > (t ? count[t - 1] : m) || count[t] > rows)
            return t;
    return rows ? steps : MGX_DONE;
}

/* how many of the sequences from `low` on, up to `high`, step t has */
INLINE ptrdiff_t V(active)(const int64_t *count, ptrdiff_t t, ptrdiff_t low, ptrdiff_t high)
{
    const ptrdiff_t n = (ptrdiff_t)count[t];
    return n < low ? 0 : (n < high ? n : high) - low;
}

static void V(walk_steps)(ptrdiff_t low, ptrdiff_t high, REAL *panels, const REAL *x, const REAL *u, const REAL *b,
                          const int64_t *count, REAL *y, REAL *end, REAL *derivative, ptrdiff_t cell, ptrdiff_t steps,
                          ptrdiff_t m, ptrdiff_t h, ptrdiff_t rows, ptrdiff_t gates, ptrdiff_t kept, int reverse)
{
    const ptrdiff_t wide = WHOLE_VECTORS(gates * h);
    REAL *z = panels + h * wide, *unread = z + (SEQUENCES + 1) * wide;
    REAL *states = end + low * h, *memory = end + (m + low) * h;
    V(gemm_pack_all)(h, gates * h, u, 1, h, panels);
    for (ptrdiff_t k = 0, row = reverse ? rows : 0, walked = 0; k < steps; k++) {
        const ptrdiff_t t = reverse ? steps - 1 - k : k, n = V(active)(count, t, low, high);
        row -= reverse ? (ptrdiff_t)count[t] : 0;
        V(gemm_packed)(n, gates * h, h, states, h, 1, h, panels, gates * h, z, wide, 0);
        for (ptrdiff_t i = 0; i < n; i++) {
            const ptrdiff_t at = row + low + i;
            const REAL *xi = x + at * gates * h;
            REAL *zi = z + i * wide, *s = states + i * h, *yi = y + at * h;
            REAL *d = derivative ? derivative + at * kept * h : unread;
            if (cell == MGX_CELL_LSTM) {
                V(step_sigmoid)(2 * h, xi, zi, b, d);
                V(step_tanh)(h, xi + 2 * h, zi + 2 * h, b + 2 * h, d + 2 * h);
                V(step_sigmoid)(h, xi + 3 * h, zi + 3 * h, b + 3 * h, d + 3 * h);
                V(step_lstm)(h, zi, s, memory + i * h, yi, d);
            } else if (cell == MGX_CELL_GRU) {
                V(step_sigmoid)(2 * h, xi, zi, b, d);
                V(step_gru)(h, xi + 2 * h, zi, b + 2 * h, s, yi, d);
            } else {
                (cell == MGX_CELL_TANH ? V(step_tanh) : V(step_relu))(h, xi, zi, b, d);
                memcpy(s, zi, h * sizeof(REAL));
                memcpy(yi, zi, h * sizeof(REAL));
            }
        }
        row += reverse ? 0 : (ptrdiff_t)count[t];
        if (BREAKS_OFF(walked, n * gates * h * (h / 16 + 1)))
            break;
    }
}

static ptrdiff_t V(recurrence)(ptrdiff_t first, ptrdiff_t last, char *scratch, const REAL *x, const REAL *u,
                               const REAL *c, const REAL *start, const int64_t *count, REAL *y, REAL *end,
                               REAL *derivative, ptrdiff_t cell, ptrdiff_t steps, ptrdiff_t m, ptrdiff_t h,
                               ptrdiff_t rows, ptrdiff_t gates, ptrdiff_t states, ptrdiff_t kept, int reverse)
{
    REAL *panels = (REAL *)scratch, *none = panels + (h + SEQUENCES) * WHOLE_VECTORS(gates * h);
    const ptrdiff_t bad = V(find_bad_count)(count, steps, m, rows);
    if (bad != MGX_DONE)
        return bad;
    if (!c)
        memset(none, 0, gates * h * sizeof(REAL));
    for (ptrdiff_t low = first * SEQUENCES; low < last * SEQUENCES && low < m; low += SEQUENCES) {
        const ptrdiff_t high = low + SEQUENCES < m ? low + SEQUENCES : m;
        for (ptrdiff_t k = 0; k < states; k++)
            memcpy(end + (k * m + low) * h, start + (k * m + low) * h, (high - low) * h * sizeof(REAL));
        V(walk_steps)(low, high, panels, x, u, c ? c : none, count, y, end, derivative, cell, steps, m, h, rows, gates,
                      kept, reverse);
    }
    return MGX_DONE;
}

/* The same backwards. dh and dc come to a step without its g, and leave it without what goes through u. */
static void V(walk_back)(ptrdiff_t low, ptrdiff_t high, REAL *panels, const REAL *g, const REAL *u,
                         const REAL *y, const REAL *start, const REAL *derivative, const int64_t *count, REAL *dx,
                         REAL *dz, REAL *before, REAL *dstart, ptrdiff_t cell, ptrdiff_t steps, ptrdiff_t m,
                         ptrdiff_t h, ptrdiff_t rows, ptrdiff_t gates, ptrdiff_t kept, int reverse)
{
    const ptrdiff_t wide = WHOLE_VECTORS(h);
    REAL *sum = panels + gates * h * wide, *dh = dstart + low * h, *dc = dstart + (m + low) * h;
    V(gemm_pack_all)(gates * h, h, u, h, 1, panels);
    for (ptrdiff_t k = 0, row = reverse ? 0 : rows, walked = 0; k < steps; k++) {
        const ptrdiff_t t = reverse ? k : steps - 1 - k, n = V(active)(count, t, low, high);
        row -= reverse ? 0 : (ptrdiff_t)count[t];
        const ptrdiff_t former = reverse ? row + (ptrdiff_t)count[t] : t ? row - (ptrdiff_t)count[t - 1] : 0;
        const ptrdiff_t had = k == steps - 1 ? 0 : V(active)(count, reverse ? t + 1 : t - 1, low, high);
        for (ptrdiff_t i = 0; i < n; i++) {
            const ptrdiff_t at = row + low + i;
            const REAL *d = derivative + at * kept * h;
            REAL *dhi = dh + i * h, *dci = dc + i * h, *dxi = dx + at * gates * h;
            V(step_add)(h, g + at * h, dhi);
            if (cell == MGX_CELL_LSTM) {
                V(step_chain)(h, dhi, d + 4 * h, dxi);
                V(step_add)(h, dxi, dci);
                for (int gate = 0; gate < 4; gate++)
                    V(step_chain)(h, gate < 3 ? dci : dhi, d + gate * h, dxi + gate * h);
                V(step_chain_on)(h, dci, d + 5 * h);
                memset(dhi, 0, h * sizeof(REAL));
            } else if (cell == MGX_CELL_GRU) {
                V(step_chain)(h, dhi, d + 2 * h, dxi + 2 * h);
                V(step_chain)(h, dhi, d + h, dxi + h);
                V(step_chain)(h, dxi + 2 * h, d, dxi);
                memcpy(dz + at * gates * h, dxi, 2 * h * sizeof(REAL));
                V(step_chain)(h, dxi + 2 * h, d + 3 * h, dz + (at * gates + 2) * h);
                V(step_chain_on)(h, dhi, d + 4 * h);
            } else {
                V(step_chain)(h, dhi, d, dxi);
                memset(dhi, 0, h * sizeof(REAL));
            }
            if (dz && cell != MGX_CELL_GRU)
                memcpy(dz + at * gates * h, dxi, gates * h * sizeof(REAL));
            memcpy(before + at * h, i < had ? y + (former + low + i) * h : start + (low + i) * h, h * sizeof(REAL));
        }
        const REAL *a = (cell == MGX_CELL_GRU ? dz : dx) + (row + low) * gates * h;
        V(gemm_packed)(n, h, gates * h, a, gates * h, 1, gates * h, panels, h, sum, wide, 0);
        for (ptrdiff_t i = 0; i < n; i++)
            V(step_add)(h, sum + i * wide, dh + i * h);
        row += reverse ? (ptrdiff_t)count[t] : 0;
        if (BREAKS_OFF(walked, n * gates * h * (h / 16 + 1)))
            break;
    }
}

static ptrdiff_t V(recurrence_vjp)(ptrdiff_t first, ptrdiff_t last, char *scratch, const REAL *g, const REAL *gend,
                                   const REAL *u, const REAL *y, const REAL *start, const REAL *derivative,
                                   const int64_t *count, REAL *dx, REAL *dz, REAL *before, REAL *dstart,
                                   ptrdiff_t cell, ptrdiff_t steps, ptrdiff_t m, ptrdiff_t h, ptrdiff_t rows,
                                   ptrdiff_t gates, ptrdiff_t states, ptrdiff_t kept, int reverse)
{
    const ptrdiff_t bad = V(find_bad_count)(count, steps, m, rows);
    if (bad != MGX_DONE || (cell == MGX_CELL_GRU && !dz))
        return bad != MGX_DONE ? bad : 0;
    for (ptrdiff_t low = first * SEQUENCES; low < last * SEQUENCES && low < m; low += SEQUENCES) {
        const ptrdiff_t high = low + SEQUENCES < m ? low + SEQUENCES : m;
        for (ptrdiff_t k = 0; k < states; k++)
            memcpy(dstart + (k * m + low) * h, gend + (k * m + low) * h, (high - low) * h * sizeof(REAL));
        V(walk_back)(low, high, (REAL *)scratch, g, u, y, start, derivative, count, dx, dz, before, dstart, cell, steps,
                     m, h, rows, gates, kept, reverse);
    }
    return MGX_DONE;
}
