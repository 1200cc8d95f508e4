/* Optimizer updates of one parameter in place, for one dtype and ISA: elements first..last - 1. `cell` holds the options in
   the order of the optimizer's `ranges` (optim/optimizers.py), `step` how many steps this one makes it; what the options do
   not need is NULL. */
#ifndef UPDATES                                 /* once for both dtypes */
#define UPDATES
/* 1 - beta1^t and 1 - beta2^t: two powers, mostly of the same numbers for all parameters of a step */
typedef struct { double t, beta1, beta2, one, two; } corrections;
static corrections bias_corrections(double t, double beta1, double beta2)
{
    static MGX_THREAD_LOCAL corrections last;
    if (last.t != t || last.beta1 != beta1 || last.beta2 != beta2)
        last = (corrections){t, beta1, beta2, 1 - LIBM_f64(pow)(beta1, t), 1 - LIBM_f64(pow)(beta2, t)};
    return last;
}
#endif

static ptrdiff_t V(count_steps)(ptrdiff_t first, ptrdiff_t last, double *step, ptrdiff_t n)
{
    for (ptrdiff_t k = first; k < last; k++)
        step[k] += 1;
    return MGX_DONE;
}

/* v = momentum*v + (1 - dampening)*grad, at first v = grad;  w -= lr*v, or lr*(grad + momentum*v) with nesterov */
static ptrdiff_t V(sgd)(ptrdiff_t first, ptrdiff_t last, const REAL *restrict g, const double *cell, const double *step,
                        REAL *restrict w, REAL *restrict v, ptrdiff_t n)
{
    const REAL lr = (REAL)cell[0], momentum = (REAL)cell[1], decay = (REAL)cell[3];
    const int ahead = cell[4] != 0;
    if (!v) {
        for (ptrdiff_t i = first; i < last; i++)
            w[i] -= lr * (g[i] + decay * w[i]);
        return MGX_DONE;
    }
    const REAL share = (REAL)(*step > 1 ? 1 - cell[2] : 1);
    for (ptrdiff_t i = first; i < last; i++) {
        REAL grad = g[i] + decay * w[i];
        v[i] = momentum * v[i] + share * grad;
        w[i] -= lr * (ahead ? grad + momentum * v[i] : v[i]);
    }
    return MGX_DONE;
}

/* s = alpha*s + (1 - alpha)*grad^2;  move = grad / (sqrt(s - m^2) + eps) with m, the running mean, if centered;
   v = momentum*v + move in place of it with momentum;  w -= lr*move */
static ptrdiff_t V(rmsprop)(ptrdiff_t first, ptrdiff_t last, const REAL *restrict g, const double *cell, REAL *restrict w,
                            REAL *restrict s, REAL *restrict m, REAL *restrict v, ptrdiff_t n)
{
    const REAL lr = (REAL)cell[0], alpha = (REAL)cell[1], eps = (REAL)cell[2], decay = (REAL)cell[3];
    const REAL momentum = (REAL)cell[4], rest = (REAL)(1 - cell[1]);
    for (ptrdiff_t i = first; i < last; i++) {
        REAL grad = g[i] + decay * w[i];
        REAL spread = s[i] = alpha * s[i] + rest * grad * grad;
        if (m) {
            m[i] += rest * (grad - m[i]);
            spread -= m[i] * m[i];
            spread = spread < 0 ? 0 : spread;       /* rounding must not make a root of less than nothing */
        }
        REAL move = grad / (sqrt(spread) + eps);
        if (v)
            move = v[i] = momentum * v[i] + move;
        w[i] -= lr * move;
    }
    return MGX_DONE;
}

/* s += grad^2;  w -= lr / (1 + (t - 1)*lr_decay) * grad / (sqrt(s) + eps) */
static ptrdiff_t V(adagrad)(ptrdiff_t first, ptrdiff_t last, const REAL *restrict g, const double *cell, const double *step,
                            REAL *restrict w, REAL *restrict s, ptrdiff_t n)
{
    const REAL decay = (REAL)cell[2], eps = (REAL)cell[4], lr = (REAL)(cell[0] / (1 + (*step - 1) * cell[1]));
    for (ptrdiff_t i = first; i < last; i++) {
        REAL grad = g[i] + decay * w[i];
        s[i] += grad * grad;
        w[i] -= lr * grad / (sqrt(s[i]) + eps);
    }
    return MGX_DONE;
}

/* m, v = running means of grad and grad^2, freed of their start at 0 by 1 - beta^t;  w -= lr*m / (sqrt(v) + eps).
   The decay is added to the grad, or shrinks w by itself if decoupled. */
INLINE void V(moments)(ptrdiff_t first, ptrdiff_t last, const REAL *restrict g, const double *cell, double t,
                       REAL *restrict w, REAL *restrict m, REAL *restrict v, const int decoupled)
{
    const corrections c = bias_corrections(t, cell[1], cell[2]);
    const REAL beta1 = (REAL)cell[1], beta2 = (REAL)cell[2], eps = (REAL)cell[3];
    const REAL rest1 = (REAL)(1 - cell[1]), rest2 = (REAL)(1 - cell[2]);
    const REAL decay = decoupled ? 0 : (REAL)cell[4], keep = decoupled ? (REAL)(1 - cell[0] * cell[4]) : 1;
    const REAL lr = (REAL)(cell[0] / c.one), root = (REAL)(1 / LIBM_f64(sqrt)(c.two));
    for (ptrdiff_t i = first; i < last; i++) {
        REAL grad = g[i] + decay * w[i];
        m[i] = beta1 * m[i] + rest1 * grad;
        v[i] = beta2 * v[i] + rest2 * grad * grad;
        w[i] = keep * w[i] - lr * m[i] / (sqrt(v[i]) * root + eps);
    }
}

static ptrdiff_t V(adam)(ptrdiff_t first, ptrdiff_t last, const REAL *g, const double *cell, const double *step, REAL *w,
                         REAL *m, REAL *v, ptrdiff_t n)
{
    V(moments)(first, last, g, cell, *step, w, m, v, 0);
    return MGX_DONE;
}

static ptrdiff_t V(adamw)(ptrdiff_t first, ptrdiff_t last, const REAL *g, const double *cell, const double *step, REAL *w,
                          REAL *m, REAL *v, ptrdiff_t n)
{
    V(moments)(first, last, g, cell, *step, w, m, v, 1);
    return MGX_DONE;
}
