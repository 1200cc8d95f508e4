/* Optimizer updates of many parameters in place, for one dtype and ISA. `cell` holds the options in the order of the
   optimizer's `ranges` (optim/optimizers.py); a part's state is NULL where the options need none. */

static inline int V(part_is_sound)(const mgx_part *p)
{
    const ptrdiff_t bytes = p->n * sizeof(REAL);
    int sound = p->n >= 0 && MGX_ALIGNED(p->g, REAL) && MGX_ALIGNED(p->w, REAL) && MGX_APART(p->g, bytes, p->w, bytes);
    for (int i = 0; i < 3; i++)
        sound = sound && (!p->state[i] || (MGX_APART(p->g, bytes, p->state[i], bytes) &&
                                           MGX_APART(p->w, bytes, p->state[i], bytes)));
    return sound;
}

/* v = momentum*v + (1 - dampening)*slope, at first v = slope;  w -= lr*v, or lr*(slope + momentum*v) with nesterov */
static void V(sgd)(ptrdiff_t count, const mgx_part *part, const double *cell)
{
    const REAL lr = (REAL)cell[0], momentum = (REAL)cell[1], decay = (REAL)cell[3];
    const int ahead = cell[4] != 0;
    for (const mgx_part *p = part; p < part + count; p++) {
        MGX_ASSERT(V(part_is_sound)(p));
        const REAL *restrict g = (const REAL *)p->g;
        REAL *restrict w = (REAL *)p->w, *restrict v = (REAL *)p->state[0];
        if (!v) {
            for (ptrdiff_t i = 0; i < p->n; i++)
                w[i] -= lr * (g[i] + decay * w[i]);
            continue;
        }
        const REAL share = (REAL)(p->step[0]++ > 0 ? 1 - cell[2] : 1);
        for (ptrdiff_t i = 0; i < p->n; i++) {
            REAL slope = g[i] + decay * w[i];
            v[i] = momentum * v[i] + share * slope;
            w[i] -= lr * (ahead ? slope + momentum * v[i] : v[i]);
        }
    }
}

/* s = alpha*s + (1 - alpha)*slope^2;  move = slope / (sqrt(s - m^2) + eps) with m, the running mean, if centered;
   v = momentum*v + move in place of it with momentum;  w -= lr*move */
static void V(rmsprop)(ptrdiff_t count, const mgx_part *part, const double *cell)
{
    const REAL lr = (REAL)cell[0], alpha = (REAL)cell[1], eps = (REAL)cell[2], decay = (REAL)cell[3];
    const REAL momentum = (REAL)cell[4], rest = (REAL)(1 - cell[1]);
    for (const mgx_part *p = part; p < part + count; p++) {
        MGX_ASSERT(V(part_is_sound)(p));
        const REAL *restrict g = (const REAL *)p->g;
        REAL *restrict w = (REAL *)p->w, *restrict s = (REAL *)p->state[0];
        REAL *restrict m = (REAL *)p->state[1], *restrict v = (REAL *)p->state[2];
        for (ptrdiff_t i = 0; i < p->n; i++) {
            REAL slope = g[i] + decay * w[i];
            REAL spread = s[i] = alpha * s[i] + rest * slope * slope;
            if (m) {
                m[i] += rest * (slope - m[i]);
                spread -= m[i] * m[i];
                spread = spread < 0 ? 0 : spread;       /* rounding must not make a root of less than nothing */
            }
            REAL move = slope / (sqrt(spread) + eps);
            if (v)
                move = v[i] = momentum * v[i] + move;
            w[i] -= lr * move;
        }
    }
}

/* s += slope^2;  w -= lr / (1 + (t - 1)*lr_decay) * slope / (sqrt(s) + eps) */
static void V(adagrad)(ptrdiff_t count, const mgx_part *part, const double *cell)
{
    const REAL decay = (REAL)cell[2], eps = (REAL)cell[4];
    for (const mgx_part *p = part; p < part + count; p++) {
        MGX_ASSERT(V(part_is_sound)(p));
        const REAL *restrict g = (const REAL *)p->g;
        REAL *restrict w = (REAL *)p->w, *restrict s = (REAL *)p->state[0];
        const REAL lr = (REAL)(cell[0] / (1 + p->step[0]++ * cell[1]));
        for (ptrdiff_t i = 0; i < p->n; i++) {
            REAL slope = g[i] + decay * w[i];
            s[i] += slope * slope;
            w[i] -= lr * slope / (sqrt(s[i]) + eps);
        }
    }
}

/* m, v = running means of slope and slope^2, freed of their start at 0 by 1 - beta^t;  w -= lr*m / (sqrt(v) + eps).
   The decay is added to the slope, or shrinks w by itself if decoupled. */
static inline void V(moments)(ptrdiff_t count, const mgx_part *part, const double *cell, int decoupled)
{
    const REAL beta1 = (REAL)cell[1], beta2 = (REAL)cell[2], eps = (REAL)cell[3];
    const REAL rest1 = (REAL)(1 - cell[1]), rest2 = (REAL)(1 - cell[2]);
    const REAL decay = decoupled ? 0 : (REAL)cell[4], keep = decoupled ? (REAL)(1 - cell[0] * cell[4]) : 1;
    double t = 0;
    REAL lr = 0, root = 0;
    for (const mgx_part *p = part; p < part + count; p++) {
        MGX_ASSERT(V(part_is_sound)(p));
        const REAL *restrict g = (const REAL *)p->g;
        REAL *restrict w = (REAL *)p->w, *restrict m = (REAL *)p->state[0], *restrict v = (REAL *)p->state[1];
        if (t != ++p->step[0]) {                        /* two powers, mostly once for all parts */
            t = p->step[0];
            lr = (REAL)(cell[0] / (1 - LIBM_f64(pow)(cell[1], t)));
            root = (REAL)(1 / LIBM_f64(sqrt)(1 - LIBM_f64(pow)(cell[2], t)));
        }
        for (ptrdiff_t i = 0; i < p->n; i++) {
            REAL slope = g[i] + decay * w[i];
            m[i] = beta1 * m[i] + rest1 * slope;
            v[i] = beta2 * v[i] + rest2 * slope * slope;
            w[i] = keep * w[i] - lr * m[i] / (sqrt(v[i]) * root + eps);
        }
    }
}

static void V(adam)(ptrdiff_t count, const mgx_part *part, const double *cell)
{
    V(moments)(count, part, cell, 0);
}

static void V(adamw)(ptrdiff_t count, const mgx_part *part, const double *cell)
{
    V(moments)(count, part, cell, 1);
}
