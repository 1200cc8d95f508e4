/* Optimizer updates of n contiguous elements, in place, for one dtype and ISA. */

/* v = momentum*v + g + decay*w;  w -= lr*v.  Without momentum there is no v. */
static void V(sgd)(ptrdiff_t n, double lr_, double momentum_, double decay_, const char *g_, char *v_, char *w_)
{
    const REAL lr = (REAL)lr_, momentum = (REAL)momentum_, decay = (REAL)decay_;
    const REAL *restrict g = (const REAL *)g_;
    REAL *restrict v = (REAL *)v_, *restrict w = (REAL *)w_;
    if (v_)
        for (ptrdiff_t i = 0; i < n; i++) {
            v[i] = momentum * v[i] + (g[i] + decay * w[i]);
            w[i] -= lr * v[i];
        }
    else
        for (ptrdiff_t i = 0; i < n; i++)
            w[i] -= lr * (g[i] + decay * w[i]);
}

/* Kingma and Ba (2015), algorithm 1; correct1 = 1 - beta1^t, correct2 = 1 - beta2^t; decay is added to g */
static void V(adam)(ptrdiff_t n, double lr_, double beta1_, double beta2_, double eps_, double decay_,
                    double correct1, double correct2, const char *g_, char *m_, char *v_, char *w_)
{
    const REAL beta1 = (REAL)beta1_, beta2 = (REAL)beta2_, eps = (REAL)eps_, decay = (REAL)decay_;
    const REAL rest1 = (REAL)(1 - beta1_), rest2 = (REAL)(1 - beta2_);
    const REAL step = (REAL)(lr_ / correct1), root = (REAL)(1 / LIBM_f64(sqrt)(correct2));
    const REAL *restrict g = (const REAL *)g_;
    REAL *restrict m = (REAL *)m_, *restrict v = (REAL *)v_, *restrict w = (REAL *)w_;
    for (ptrdiff_t i = 0; i < n; i++) {
        REAL slope = g[i] + decay * w[i];
        m[i] = beta1 * m[i] + rest1 * slope;
        v[i] = beta2 * v[i] + rest2 * slope * slope;
        w[i] -= step * m[i] / (V(sqrt)(v[i]) * root + eps);
    }
}
