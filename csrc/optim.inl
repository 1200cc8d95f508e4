/* Optimizer updates of one parameter in place, for one dtype and ISA: elements first..last - 1. `cell` holds the
   options in the order of the optimizer's `ranges` (optim/optimizers.py), `step` how many steps this one makes it and
   what else is counted for it; what the options do not need is NULL. The option `maximize` is the last: it turns the
   gradient's sign. */
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
/* the momentum of step t of nadam: it grows towards beta1 */
static double nadam_momentum(double t, const double *cell)
{
    return cell[1] * (1 - 0.5 * LIBM_f64(pow)(0.96, t * cell[5]));
}
#endif
#define UPHILL(maximize) ((REAL)((maximize) ? -1 : 1))

static ptrdiff_t V(count_steps)(ptrdiff_t first, ptrdiff_t last, double *step, ptrdiff_t n)
{
    for (ptrdiff_t k = first; k < last; k++)
        step[k] += 1;
    return MGX_DONE;
}

/* of each parameter (t, the product of the momenta of all steps) */
static ptrdiff_t V(count_nadam)(ptrdiff_t first, ptrdiff_t last, const double *cell, double *step, ptrdiff_t n)
{
    for (ptrdiff_t k = first; k < last; k++) {
        step[2 * k] += 1;
        step[2 * k + 1] *= nadam_momentum(step[2 * k], cell);
    }
    return MGX_DONE;
}

/* of each parameter (t, rate and share of the mean at the step after this one, rate at this one) */
static ptrdiff_t V(count_asgd)(ptrdiff_t first, ptrdiff_t last, const double *cell, double *step, ptrdiff_t n)
{
    const double lr = cell[0], lambd = cell[1], alpha = cell[2], t0 = cell[3];
    for (ptrdiff_t k = first; k < last; k++) {
        double *own = step + 4 * k;
        own[3] = own[0] > 0 ? own[1] : lr;
        own[0] += 1;
        own[1] = lr / LIBM_f64(pow)(1 + lambd * lr * own[0], alpha);
        own[2] = own[0] - t0 > 1 ? 1 / (own[0] - t0) : 1;
    }
    return MGX_DONE;
}

/* v = momentum*v + (1 - dampening)*grad, at first v = grad;  w -= lr*v, or lr*(grad + momentum*v) with nesterov */
static ptrdiff_t V(sgd)(ptrdiff_t first, ptrdiff_t last, const REAL *restrict g, const double *cell, const double *step,
                        REAL *restrict w, REAL *restrict v, ptrdiff_t n)
{
    const REAL lr = (REAL)cell[0], momentum = (REAL)cell[1], decay = (REAL)cell[3];
    const REAL sign = UPHILL(cell[5]);
    const int ahead = cell[4] != 0;
    if (!v) {
        for (ptrdiff_t i = first; i < last; i++)
            w[i] -= lr * (sign * g[i] + decay * w[i]);
        return MGX_DONE;
    }
    const REAL share = (REAL)(*step > 1 ? 1 - cell[2] : 1);
    for (ptrdiff_t i = first; i < last; i++) {
        REAL grad = sign * g[i] + decay * w[i];
        v[i] = momentum * v[i] + share * grad;
        w[i] -= lr * (ahead ? grad + momentum * v[i] : v[i]);
    }
    return MGX_DONE;
}

/* s = alpha*s + (1 - alpha)*grad^2;  move = grad / (sqrt(s - m^2) + eps) with m, the running mean, if centered;
   v = momentum*v + move in place of it with momentum;  w -= lr*move */
static ptrdiff_t V(rmsprop)(ptrdiff_t first, ptrdiff_t last, const REAL *restrict g, const double *cell,
                            REAL *restrict w, REAL *restrict s, REAL *restrict m, REAL *restrict v, ptrdiff_t n)
{
    const REAL lr = (REAL)cell[0], alpha = (REAL)cell[1], eps = (REAL)cell[2], decay = (REAL)cell[3];
    const REAL momentum = (REAL)cell[4], rest = (REAL)(1 - cell[1]), sign = UPHILL(cell[6]);
    for (ptrdiff_t i = first; i < last; i++) {
        REAL grad = sign * g[i] + decay * w[i];
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
static ptrdiff_t V(adagrad)(ptrdiff_t first, ptrdiff_t last, const REAL *restrict g, const double *cell,
                            const double *step, REAL *restrict w, REAL *restrict s, ptrdiff_t n)
{
    const REAL decay = (REAL)cell[2], eps = (REAL)cell[4], lr = (REAL)(cell[0] / (1 + (*step - 1) * cell[1]));
    const REAL sign = UPHILL(cell[5]);
    for (ptrdiff_t i = first; i < last; i++) {
        REAL grad = sign * g[i] + decay * w[i];
        s[i] += grad * grad;
        w[i] -= lr * grad / (sqrt(s[i]) + eps);
    }
    return MGX_DONE;
}

/* m, v = running means of grad and grad^2, freed of their start at 0 by 1 - beta^t;  w -= lr*m / (sqrt(v) + eps), with
   the largest v so far, u, in place of it for amsgrad. The decay is added to the grad, or shrinks w by itself if
   decoupled. */
static ptrdiff_t V(adam)(ptrdiff_t first, ptrdiff_t last, const REAL *restrict g, const double *cell,
                         const double *step, REAL *restrict w, REAL *restrict m, REAL *restrict v, REAL *restrict u,
                         ptrdiff_t n)
{
    const corrections c = bias_corrections(*step, cell[1], cell[2]);
    const int decoupled = cell[6] != 0;
    const REAL beta1 = (REAL)cell[1], beta2 = (REAL)cell[2], eps = (REAL)cell[3], sign = UPHILL(cell[7]);
    const REAL rest1 = (REAL)(1 - cell[1]), rest2 = (REAL)(1 - cell[2]);
    const REAL decay = decoupled ? 0 : (REAL)cell[4], keep = decoupled ? (REAL)(1 - cell[0] * cell[4]) : 1;
    const REAL lr = (REAL)(cell[0] / c.one), root = (REAL)(1 / LIBM_f64(sqrt)(c.two));
    if (!u) {
        for (ptrdiff_t i = first; i < last; i++) {
            REAL grad = sign * g[i] + decay * w[i];
            m[i] = beta1 * m[i] + rest1 * grad;
            v[i] = beta2 * v[i] + rest2 * grad * grad;
            w[i] = keep * w[i] - lr * m[i] / (sqrt(v[i]) * root + eps);
        }
        return MGX_DONE;
    }
    for (ptrdiff_t i = first; i < last; i++) {
        REAL grad = sign * g[i] + decay * w[i];
        m[i] = beta1 * m[i] + rest1 * grad;
        v[i] = beta2 * v[i] + rest2 * grad * grad;
        u[i] = u[i] > v[i] || u[i] != u[i] ? u[i] : v[i];
        w[i] = keep * w[i] - lr * m[i] / (sqrt(u[i]) * root + eps);
    }
    return MGX_DONE;
}

/* adam with the maximum u of beta2*u and |grad| + eps in place of the root of v */
static ptrdiff_t V(adamax)(ptrdiff_t first, ptrdiff_t last, const REAL *restrict g, const double *cell,
                           const double *step, REAL *restrict w, REAL *restrict m, REAL *restrict u, ptrdiff_t n)
{
    const corrections c = bias_corrections(*step, cell[1], cell[2]);
    const REAL beta1 = (REAL)cell[1], beta2 = (REAL)cell[2], eps = (REAL)cell[3], decay = (REAL)cell[4];
    const REAL rest1 = (REAL)(1 - cell[1]), lr = (REAL)(cell[0] / c.one), sign = UPHILL(cell[5]);
    for (ptrdiff_t i = first; i < last; i++) {
        REAL grad = sign * g[i] + decay * w[i];
        m[i] = beta1 * m[i] + rest1 * grad;
        REAL old = beta2 * u[i], now = (grad < 0 ? -grad : grad) + eps;
        u[i] = old > now || old != old ? old : now;
        w[i] -= lr * m[i] / u[i];
    }
    return MGX_DONE;
}

/* adam whose step mixes the gradient and the mean by the momenta of this step and of the next */
static ptrdiff_t V(nadam)(ptrdiff_t first, ptrdiff_t last, const REAL *restrict g, const double *cell,
                          const double *step, REAL *restrict w, REAL *restrict m, REAL *restrict v, ptrdiff_t n)
{
    const corrections c = bias_corrections(*step, cell[1], cell[2]);
    const double now = nadam_momentum(*step, cell), next = nadam_momentum(*step + 1, cell);
    const int decoupled = cell[6] != 0;
    const REAL beta1 = (REAL)cell[1], beta2 = (REAL)cell[2], eps = (REAL)cell[3], sign = UPHILL(cell[7]);
    const REAL rest1 = (REAL)(1 - cell[1]), rest2 = (REAL)(1 - cell[2]);
    const REAL decay = decoupled ? 0 : (REAL)cell[4], keep = decoupled ? (REAL)(1 - cell[0] * cell[4]) : 1;
    const REAL of_grad = (REAL)(cell[0] * (1 - now) / (1 - step[1])), root = (REAL)(1 / LIBM_f64(sqrt)(c.two));
    const REAL of_mean = (REAL)(cell[0] * next / (1 - step[1] * next));
    for (ptrdiff_t i = first; i < last; i++) {
        REAL grad = sign * g[i] + decay * w[i];
        m[i] = beta1 * m[i] + rest1 * grad;
        v[i] = beta2 * v[i] + rest2 * grad * grad;
        w[i] = keep * w[i] - (of_grad * grad + of_mean * m[i]) / (sqrt(v[i]) * root + eps);
    }
    return MGX_DONE;
}

/* adam whose step is lr*m while the variance of 1/sqrt(v) is not defined, and from then on
   lr*rect*m / (sqrt(v) + eps) */
static ptrdiff_t V(radam)(ptrdiff_t first, ptrdiff_t last, const REAL *restrict g, const double *cell,
                          const double *step, REAL *restrict w, REAL *restrict m, REAL *restrict v, ptrdiff_t n)
{
    const corrections c = bias_corrections(*step, cell[1], cell[2]);
    const double most = 2 / (1 - cell[2]) - 1, now = most - 2 * *step * (1 - c.two) / c.two;
    const double rect = now > 5 ? (now - 4) * (now - 2) * most / ((most - 4) * (most - 2) * now) : 0;
    const int decoupled = cell[5] != 0;
    const REAL beta1 = (REAL)cell[1], beta2 = (REAL)cell[2], eps = (REAL)cell[3], sign = UPHILL(cell[6]);
    const REAL rest1 = (REAL)(1 - cell[1]), rest2 = (REAL)(1 - cell[2]);
    const REAL decay = decoupled ? 0 : (REAL)cell[4], keep = decoupled ? (REAL)(1 - cell[0] * cell[4]) : 1;
    const REAL flat = now > 5 ? 0 : (REAL)(cell[0] / c.one);
    const REAL lr = (REAL)(cell[0] / c.one * LIBM_f64(sqrt)(rect * c.two));
    for (ptrdiff_t i = first; i < last; i++) {
        REAL grad = sign * g[i] + decay * w[i];
        m[i] = beta1 * m[i] + rest1 * grad;
        v[i] = beta2 * v[i] + rest2 * grad * grad;
        w[i] = keep * w[i] - m[i] * (flat + (lr > 0 ? lr / (sqrt(v[i]) + eps) : 0));
    }
    return MGX_DONE;
}

/* s = rho*s + (1 - rho)*grad^2;  move = sqrt(d + eps) / sqrt(s + eps) * grad;  d = rho*d + (1 - rho)*move^2; 
   w -= lr*move */
static ptrdiff_t V(adadelta)(ptrdiff_t first, ptrdiff_t last, const REAL *restrict g, const double *cell,
                             REAL *restrict w, REAL *restrict s, REAL *restrict d, ptrdiff_t n)
{
    const REAL lr = (REAL)cell[0], rho = (REAL)cell[1], rest = (REAL)(1 - cell[1]), eps = (REAL)cell[2];
    const REAL decay = (REAL)cell[3], sign = UPHILL(cell[4]);
    for (ptrdiff_t i = first; i < last; i++) {
        REAL grad = sign * g[i] + decay * w[i];
        s[i] = rho * s[i] + rest * grad * grad;
        REAL move = sqrt(d[i] + eps) / sqrt(s[i] + eps) * grad;
        d[i] = rho * d[i] + rest * move * move;
        w[i] -= lr * move;
    }
    return MGX_DONE;
}

/* w -= size * the sign of grad; a size starts at lr, grows where grad keeps its sign, shrinks where it turns, and w
   waits there */
static ptrdiff_t V(rprop)(ptrdiff_t first, ptrdiff_t last, const REAL *restrict g, const double *cell,
                          const double *step, REAL *restrict w, REAL *restrict before, REAL *restrict size,
                          ptrdiff_t n)
{
    const REAL shrink = (REAL)cell[1], grow = (REAL)cell[2], least = (REAL)cell[3], most = (REAL)cell[4];
    const REAL sign = UPHILL(cell[5]), lr = (REAL)cell[0];
    const int starts = *step <= 1;
    for (ptrdiff_t i = first; i < last; i++) {
        REAL grad = sign * g[i], turn = grad * before[i];
        REAL next = (starts ? lr : size[i]) * (turn > 0 ? grow : turn < 0 ? shrink : turn == 0 ? 1 : turn);
        next = next < least ? least : next > most ? most : next;
        grad = turn < 0 ? 0 : grad;
        size[i] = next;
        before[i] = grad;
        w[i] -= next * (grad > 0 ? 1 : grad < 0 ? -1 : grad);
    }
    return MGX_DONE;
}

/* w = (1 - lambd*rate)*w - rate*grad, and mean, the average of w from step t0 on */
static ptrdiff_t V(asgd)(ptrdiff_t first, ptrdiff_t last, const REAL *restrict g, const double *cell,
                         const double *step, REAL *restrict w, REAL *restrict mean, ptrdiff_t n)
{
    const double rate = step[3], past = *step - 1 - cell[3];
    const REAL keep = (REAL)(1 - cell[1] * rate), lr = (REAL)rate, decay = (REAL)cell[4], sign = UPHILL(cell[5]);
    const REAL share = (REAL)(past > 1 ? 1 / past : 1);
    for (ptrdiff_t i = first; i < last; i++) {
        REAL grad = sign * g[i] + decay * w[i];
        w[i] = keep * w[i] - lr * grad;
        mean[i] += share * (w[i] - mean[i]);
    }
    return MGX_DONE;
}
